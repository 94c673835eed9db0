"""The rules that flags stand for: who may operate the place (``--operator-jurisdiction``), what must be held."""

from collections.abc import Sequence
from typing import Any

from cloudaccel.compliance.packs import Pack
from cloudaccel.compliance.schema import parse_pack
from cloudaccel.compliance.tables import shipped_tables
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.facts import places

OPERATOR = "operator-jurisdiction"
CERTIFICATES = "require-cert"


def flag_packs(operator_jurisdiction: str | None, require_cert: Sequence[str]) -> tuple[Pack, ...]:
    """Packs of the organisation's own wishes, as flags say them; none for a flag that was not given.

    Raises
    ------
    UnknownName
        If no country, group or attestation has such a name.
    """
    packs: list[Pack] = []
    if operator_jurisdiction is not None:
        packs.append(_operator(operator_jurisdiction))
    if require_cert:
        packs.append(_certificates(require_cert))
    return tuple(packs)


def _operator(text: str) -> Pack:
    codes = sorted(places.resolve_countries(text))
    if not codes:
        raise QueryError("--operator-jurisdiction: the value is empty. Name a country, or EU, EEA.")
    name = text.strip().upper()
    member = name if name in codes else f"({name})"  # a group of its own, that no country is mistaken for
    rule = {
        "id": OPERATOR, "effect": "require", "cite": "your own wish: --operator-jurisdiction",
        "check": "parent_country", "roles": ["seat", "ultimate"], "in": [member],
        "unless_deployment": ["on_prem", "air_gapped"],
        "remedy": f"take a seller that is seated in, and owned from, {name}",
    }  # fmt: skip
    groups = {} if member == name else {member: {"countries": codes}}
    return _pack(OPERATOR, f"Operated and owned from {name}", "sovereignty", [rule], groups)


def _certificates(names: Sequence[str]) -> Pack:
    known = sorted({*shipped_tables().registries, *(name for _, name in shipped_tables().attestations)})
    unknown = [name for name in names if name not in known]
    if unknown:
        import difflib

        near = tuple(difflib.get_close_matches(unknown[0], known, n=3, cutoff=0.4))
        raise UnknownName(
            f"--require-cert: nothing is known of {unknown[0]!r}. Known: {', '.join(known)}.", choices=near
        )
    rules = [
        {
            "id": f"{CERTIFICATES}/{name}", "effect": "require", "cite": "your own wish: --require-cert",
            "check": "attestation", "all": [name], "unless_deployment": ["on_prem", "air_gapped"],
            "remedy": f"ask the seller for a dated document, then state evidence:{name}:SELLER",
        }
        for name in dict.fromkeys(names)
    ]  # fmt: skip
    return _pack(CERTIFICATES, f"Holds {', '.join(names)}", "certification", rules, {})


def _pack(name: str, title: str, kind: str, rules: list[dict[str, Any]], groups: dict[str, Any]) -> Pack:
    body = {
        "id": name, "title": title, "version": "1", "status": "organisation", "kind": kind,
        "jurisdiction": "organisation", "as_of": "2026-11-27", "review_by": "9999-12-31", "sources": ["command line"],
        "rules": rules, "groups": groups,
    }  # fmt: skip
    return parse_pack(body, f"--{name}")
