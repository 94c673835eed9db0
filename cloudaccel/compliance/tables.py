"""The facts that rules read: law of countries, who owns whom, attestations, export figures; each with source and grade.

The tables lie in ``cloudaccel/facts``; a folder of the user's own tables of the same names goes over them row by row. A
fact is looked up under one key, so that each can be masked by itself: no answer may get better when a fact is missing.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import TypeVar

from cloudaccel.errors import ConfigError
from cloudaccel.facts import places
from cloudaccel.facts.loader import numbered_rows, table_path
from cloudaccel.model.verdict import Evidence

_Value = TypeVar("_Value")

GRADES = ("A", "B", "C", "D", "U", "user")
SATISFYING = frozenset({"A", "B", "user"})  # may make a rule true
REFUTING = frozenset({"A", "B", "C", "user"})  # may make it false
POSITIVE = frozenset({"authorized", "certified", "qualified", "attested", "assessed", "eligible", "claimed"})
NEGATIVE = frozenset({"not_held", "not_available", "in_progress"})
_STATUSES = POSITIVE | NEGATIVE | {"unverified"}

_ATTESTATION_COLUMNS = (
    "provider", "partition", "services", "scope", "attestation", "status", "variant", "level", "source", "as_of",
    "grade", "note",
)  # fmt: skip
_REGISTRY_COLUMNS = (
    "attestation", "registry", "closed_world", "adopted", "snapshot_as_of", "warn_age_days", "expire_age_days",
    "how_to_refresh", "source", "as_of", "grade", "note",
)  # fmt: skip
_OWNER_COLUMNS = (
    "provider", "partition", "role", "holder", "country", "max_percent", "source", "as_of", "grade", "note",
)  # fmt: skip
_LAW_COLUMNS = ("code", "topic", "value", "source", "as_of", "grade", "note")
_SILICON_COLUMNS = ("accelerator_id", "fact", "value", "source", "as_of", "grade", "note")
_EFFECT_COLUMNS = ("provider", "partition", "pack", "effect", "percent", "detail", "source", "as_of", "grade")


@dataclass(frozen=True, slots=True)
class Fact:
    """One cell with its provenance; `as_of` is None for an undated source."""

    value: str
    source: str
    as_of: str | None
    grade: str
    note: str = ""

    def evidence(self, name: str) -> Evidence:
        """The fact as a rule cites it."""
        return Evidence(fact=name, value=self.value, source=self.source, as_of=self.as_of, grade=self.grade)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What a seller holds, or does not, for some services in some places.

    `scope` holds regions, ``country:XX`` or ``tier:community``; empty for all places. So with `services`.
    """

    provider: str
    partition: str
    services: tuple[str, ...]
    scope: tuple[str, ...]
    attestation: str
    variant: str
    level: float | None
    fact: Fact

    @property
    def status(self) -> str:
        """``certified``, ``not_held``, ``claimed`` …"""
        return self.fact.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """How an attestation can be looked up. Closed world: who is not on the list does not hold it.

    `adopted` is false for a scheme that does not exist yet; `snapshot_as_of` is None when the list was not read.
    """

    attestation: str
    registry: str
    closed_world: bool
    adopted: bool
    snapshot_as_of: str | None
    warn_age_days: int
    expire_age_days: int
    fact: Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One link of the chain of owners: ``seat``, ``ultimate`` or ``holder``; country and percent may be unknown."""

    role: str
    holder: str
    country: str | None
    max_percent: float | None
    fact: Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a regime adds to the price of a seller; `percent` None: something, not known how much."""

    provider: str
    partition: str
    pack: str
    effect: str
    percent: str | None
    detail: str
    fact: Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """All tables, by the keys that rules look up."""

    law: Mapping[tuple[str, str], Fact]
    attestations: Mapping[tuple[str, str], tuple[Attestation, ...]]
    registries: Mapping[str, Registry]
    owners: Mapping[tuple[str, str], tuple[Owner, ...]]
    silicon: Mapping[tuple[str, str], Fact]
    effects: tuple[Effect, ...] = ()

    def country(self, code: str, topic: str) -> Fact | None:
        """What the law table says about a country; topics ``eu`` and ``eea`` come from the table of countries."""
        if topic in ("eu", "eea"):
            row = places.countries().get(code)
            if row is None:
                return None
            return Fact("yes" if getattr(row, topic) else "no", row.source, None, "A")
        return self.law.get((code, topic))

    def chain(self, provider: str, partition: str | None) -> tuple[Owner, ...] | None:
        """Owners of a partition, else of its provider; None when nothing is known, or not which partition it is."""
        if partition is None:
            return None
        return self.owners.get((provider, partition)) or self.owners.get((provider, "*"))


@cache
def shipped_tables() -> Tables:
    """The tables of the product."""
    return load_tables()


def load_tables(overlay: Path | None = None) -> Tables:
    """The product's tables, with the tables of the folder `overlay` laid over them row by row.

    Raises
    ------
    ConfigError
        If a row is wrong: unknown grade or status, no source, a bad date. Nothing is skipped.
    """
    rows = _Rows(overlay)
    law = rows.keyed("country_law.csv", _LAW_COLUMNS, ("code", "topic"), _fact)
    silicon = rows.keyed("export_control.csv", _SILICON_COLUMNS, ("accelerator_id", "fact"), _fact)
    key = ("provider", "partition", "services", "scope", "attestation", "variant")
    attestations = rows.keyed("attestations.csv", _ATTESTATION_COLUMNS, key, _attestation)
    registries = rows.keyed("registries.csv", _REGISTRY_COLUMNS, ("attestation",), _registry)
    owners = rows.keyed("ownership.csv", _OWNER_COLUMNS, ("provider", "partition", "role", "holder"), _owner)
    effects = rows.keyed("price_effects.csv", _EFFECT_COLUMNS, ("provider", "partition", "pack", "effect"), _effect)
    return Tables(
        law={(code, topic): fact for (code, topic), fact in law.items()},
        attestations=_grouped(((a.provider, a.attestation), a) for a in attestations.values()),
        registries={r.attestation: r for r in registries.values()},
        owners=_grouped(((key[0], key[1]), owner) for key, owner in owners.items()),
        silicon={(accelerator, name): fact for (accelerator, name), fact in silicon.items()},
        effects=tuple(effects.values()),
    )


def _grouped(pairs: Iterable[tuple[tuple[str, str], _Value]]) -> dict[tuple[str, str], tuple[_Value, ...]]:
    found: dict[tuple[str, str], tuple[_Value, ...]] = {}
    for key, value in pairs:
        found[key] = (*found.get(key, ()), value)
    return found


class _Rows:
    """Reads a table and the user's rows for it; an error names file and line."""

    def __init__(self, overlay: Path | None) -> None:
        self.overlay = overlay

    def keyed(
        self, name: str, columns: Sequence[str], key: Sequence[str], parse: Callable[[dict[str, str]], _Value]
    ) -> dict[tuple[str, ...], _Value]:
        found: dict[tuple[str, ...], _Value] = {}
        for path, rows in self._sources(name, columns):
            seen: set[tuple[str, ...]] = set()
            for line, row in rows:
                at = tuple(row[column] for column in key)
                if at in seen:
                    raise ConfigError(f"{path}, line {line}: {', '.join(at)} is there twice.")
                seen.add(at)
                try:
                    found[at] = parse(row)
                except ValueError as error:
                    raise ConfigError(f"{path}, line {line}: {error}. Mend the row.") from error
        return found

    def _sources(self, name: str, columns: Sequence[str]) -> Iterator[tuple[str, Iterator[tuple[int, dict[str, str]]]]]:
        yield table_path(name), numbered_rows(name, columns)
        if self.overlay is not None and (self.overlay / name).is_file():
            path = self.overlay / name
            yield str(path), _user_rows(path, columns)


def _user_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a user's table; spreadsheets add a byte order mark and CRLF, and both are fine."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if sorted(reader.fieldnames or ()) != sorted(columns):
            raise ConfigError(f"{path}, line 1: the columns must be {', '.join(columns)}.")
        for row in reader:
            if None in row or None in row.values():
                raise ConfigError(f"{path}, line {reader.line_num}: another number of cells than the header has.")
            yield reader.line_num, row


def _fact(row: dict[str, str]) -> Fact:
    return _provenance(row, row["value"])


def _provenance(row: dict[str, str], value: str) -> Fact:
    grade, as_of, source = row["grade"], row["as_of"], row["source"]
    if grade not in GRADES:
        raise ValueError(f"grade {grade!r} is none of {', '.join(GRADES)}")
    if not source:
        raise ValueError("a fact without source")
    if as_of:
        date.fromisoformat(as_of)
    return Fact(value, source, as_of or None, grade, row.get("note", ""))


def _attestation(row: dict[str, str]) -> Attestation:
    if row["status"] not in _STATUSES:
        raise ValueError(f"status {row['status']!r} is none of {', '.join(sorted(_STATUSES))}")
    return Attestation(
        provider=row["provider"],
        partition=row["partition"],
        services=_listed(row["services"]),
        scope=_listed(row["scope"]),
        attestation=row["attestation"],
        variant=row["variant"],
        level=float(row["level"]) if row["level"] else None,
        fact=_provenance(row, row["status"]),
    )


def _registry(row: dict[str, str]) -> Registry:
    return Registry(
        attestation=row["attestation"],
        registry=row["registry"],
        closed_world=_flag(row["closed_world"]),
        adopted=_flag(row["adopted"]),
        snapshot_as_of=row["snapshot_as_of"] or None,
        warn_age_days=int(row["warn_age_days"]),
        expire_age_days=int(row["expire_age_days"]),
        fact=_provenance(row, row["registry"]),
    )


def _owner(row: dict[str, str]) -> Owner:
    if row["role"] not in ("seat", "ultimate", "holder"):
        raise ValueError(f"role {row['role']!r} is none of seat, ultimate, holder")
    percent = float(row["max_percent"]) if row["max_percent"] else None
    return Owner(
        role=row["role"],
        holder=row["holder"],
        country=row["country"] or None,
        max_percent=percent,
        fact=_provenance(row, row["country"] or "not known"),
    )


def _effect(row: dict[str, str]) -> Effect:
    return Effect(
        provider=row["provider"],
        partition=row["partition"],
        pack=row["pack"],
        effect=row["effect"],
        percent=row["percent"] or None,
        detail=row["detail"],
        fact=_provenance(row, row["percent"] or row["effect"]),
    )


def _listed(cell: str) -> tuple[str, ...]:
    return () if cell in ("", "*") else tuple(cell.split("|"))


def _flag(cell: str) -> bool:
    if cell not in ("y", "n"):
        raise ValueError(f"{cell!r} is neither y nor n")
    return cell == "y"
