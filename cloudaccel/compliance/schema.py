"""The strict reader of packs: every key is known, every value has the type that its key asks for, or it is refused."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, cast

from cloudaccel.compliance.packs import EFFECTS, STATUSES, Check, Group, Pack, Rule, Threshold
from cloudaccel.compliance.placement import DEPLOYMENTS, ROLES
from cloudaccel.errors import ConfigError
from cloudaccel.facts import places

SCHEMA = "cloudaccel.policy/2"
APPLIES = ("data.classes", "organisation.sector")
KINDS = ("residency", "sector", "government", "export_control", "sanctions", "certification", "sovereignty", "ai",
         "organisation")  # fmt: skip
COMBINATIONS = ("all_of", "any_of", "not")
_STATED = ("contract", "personnel", "capability", "attestation")

# Check -> its arguments; a name with "!" must be there. "in" and "not_in" are one choice.
CHECKS: Mapping[str, tuple[str, ...]] = {
    "all_of": (),
    "any_of": (),
    "not": (),
    "location": ("roles!", "if_stated", "in", "not_in", "settled_by"),
    "parent_country": ("roles", "in", "not_in"),
    "ownership": ("in!", "max_individual", "max_collective", "min_grade"),
    "partition": ("in!",),
    "deployment": ("in", "not_in"),
    "accelerator": ("in", "not_in"),
    "attestation": ("all", "any", "variant", "min_level", "min_grade"),
    "not_status": ("attestation!", "status!"),
    "contract": ("need!",),
    "personnel": ("need!",),
    "capability": ("need!",),
    "ear_destination": ("list!",),
    "ear_hq": ("list!",),
    "threshold": ("fact!", "gt", "gte"),
    "disclose": (),
}
_ONE_OF = (("in", "not_in"), ("all", "any"), ("gt", "gte"))
_LISTS = frozenset({"roles", "if_stated", "in", "not_in", "all", "any", "status"})
_NUMBERS = frozenset({"max_individual", "max_collective", "min_level", "gt", "gte"})
_RULE_KEYS = frozenset({"id", "effect", "cite", "text", "remedy", "interpretive", "replaces", "unless_deployment"})
_PACK_KEYS = frozenset(
    {"schema", "id", "title", "version", "status", "kind", "jurisdiction", "as_of", "review_by", "sources", "rules",
     "effective_from", "effective_to", "expires", "forbids_public_cloud", "always_on", "applies_if", "extends",
     "groups", "control_lists", "summary"}
)  # fmt: skip
_MUST = ("id", "title", "version", "status", "kind", "jurisdiction", "as_of", "review_by", "sources", "rules")
_PARAGRAPH_KEYS = frozenset({"paragraph", "tpp_min", "tpp_below", "density_min", "density_below"})


class _Reader:
    """Reads values and says where a wrong one stands."""

    def __init__(self, name: str) -> None:
        self.name = name

    def wrong(self, where: str, text: str) -> ConfigError:
        return ConfigError(f"{self.name}: {where}: {text}")

    def mapping(self, value: object, where: str, known: frozenset[str] | None = None) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self.wrong(where, "a mapping of keys and values is wanted.")
        found = {str(key): item for key, item in cast(Mapping[Any, Any], value).items()}
        unknown = sorted(set(found) - known) if known is not None else []
        if unknown:
            raise self.wrong(where, f"unknown key {', '.join(unknown)}. Known: {', '.join(sorted(known or ()))}.")
        return found

    def text(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            raise self.wrong(where, f"a text is wanted, not {value!r}. Put it in quotes.")
        return value

    def day(self, value: object, where: str) -> str | None:
        if value is None:
            return None
        text = self.text(value, where)
        try:
            date.fromisoformat(text)
        except ValueError:
            raise self.wrong(where, f"{text!r} is no date. Write it as 2026-11-25.") from None
        return text

    def flag(self, value: object, where: str) -> bool:
        if not isinstance(value, bool):
            raise self.wrong(where, f"true or false is wanted, not {value!r}.")
        return value

    def number(self, value: object, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(where, f"a number is wanted, not {value!r}.")
        return float(value)

    def words(self, value: object, where: str, allowed: Sequence[str] | None = None) -> tuple[str, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise self.wrong(where, f"a list is wanted, not {value!r}. Write it as [{value}].")
        found = tuple(self.text(item, where) for item in cast(Sequence[object], value))
        odd = [word for word in found if allowed is not None and word not in allowed]
        if odd:
            raise self.wrong(where, f"{', '.join(odd)} is none of {', '.join(allowed or ())}.")
        return found

    def choice(self, value: object, where: str, allowed: Sequence[str]) -> str:
        return self.words([value], where, allowed)[0]


def parse_pack(data: object, name: str, shared: Mapping[str, object] | None = None) -> Pack:
    """A pack from plain values, as YAML or JSON has them.

    Parameters
    ----------
    name
        File or id, for messages.
    shared
        Groups of countries that every pack may name, as plain values; the pack's own go over them.

    Raises
    ------
    ConfigError
        If anything is unknown, missing or of another type. Nothing is skipped or guessed.
    """
    read = _Reader(name)
    body = read.mapping(data, "pack", _PACK_KEYS)
    missing = [key for key in _MUST if key not in body]
    if missing:
        raise read.wrong("pack", f"{', '.join(missing)} is missing.")
    groups = {
        key: _group(read, value, f"groups.{key}")
        for key, value in {**(shared or {}), **read.mapping(body.get("groups", {}), "groups")}.items()
    }
    lists = read.mapping(body.get("control_lists", {}), "control_lists")
    days = {key: read.day(body.get(key), key) for key in _DAYS}
    if days["as_of"] is None or days["review_by"] is None:
        raise read.wrong("pack", "as_of and review_by must be dates.")
    rules = tuple(_rule(read, rule, groups, lists) for rule in _list(read, body["rules"], "rules"))
    _once(read, [rule.id for rule in rules])
    pack = Pack(
        id=read.text(body["id"], "id"),
        title=read.text(body["title"], "title"),
        version=read.text(body["version"], "version"),
        status=read.choice(body["status"], "status", STATUSES),
        kind=read.choice(body["kind"], "kind", KINDS),
        jurisdiction=read.text(body["jurisdiction"], "jurisdiction"),
        as_of=days["as_of"],
        review_by=days["review_by"],
        effective_from=days["effective_from"],
        effective_to=days["effective_to"],
        expires=days["expires"],
        sources=read.words(body["sources"], "sources"),
        rules=rules,
        forbids_public_cloud=read.flag(body.get("forbids_public_cloud", False), "forbids_public_cloud"),
        always_on=read.flag(body.get("always_on", False), "always_on"),
        applies_if=_applies(read, body.get("applies_if", {})),
        extends=read.words(body.get("extends", []), "extends"),
        groups={key: groups[key] for key in sorted(_named(rules) & set(groups))},
        control_lists={key: _paragraphs(read, value, key) for key, value in lists.items()},
        summary=read.text(body.get("summary", ""), "summary"),
        digest=digest_of(body, {key: (shared or {})[key] for key in sorted(_named(rules) & set(shared or {}))}),
    )
    if not pack.sources:
        raise read.wrong("sources", "a pack names at least one source.")
    if any(rule.replaces for rule in rules) and pack.status != "organisation":
        raise read.wrong("rules", "only a pack of status organisation may replace a reading (replaces).")
    return pack


_DAYS = ("as_of", "review_by", "effective_from", "effective_to", "expires")


def digest_of(body: Mapping[str, object], shared: Mapping[str, object]) -> str:
    """SHA-256 of a pack's canonical JSON, with the shared groups that it names."""
    text = json.dumps({"pack": body, "groups": shared}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _list(read: _Reader, value: object, where: str) -> list[object]:
    if not isinstance(value, list) or not value:
        raise read.wrong(where, "a list with at least one entry is wanted.")
    return cast(list[object], value)


def _once(read: _Reader, ids: Sequence[str]) -> None:
    twice = sorted({rule for rule in ids if ids.count(rule) > 1})
    if twice:
        raise read.wrong("rules", f"{', '.join(twice)} is there twice.")


def _applies(read: _Reader, value: object) -> dict[str, tuple[str, ...]]:
    body = read.mapping(value, "applies_if", frozenset(APPLIES))
    return {key: read.words(words, f"applies_if.{key}") for key, words in body.items()}


def _group(read: _Reader, value: object, where: str) -> Group:
    body = read.mapping(value, where, frozenset({"countries", "topic", "equals", "unsure"}))
    countries = read.words(body.get("countries", []), where, tuple(places.countries()))
    topic = read.text(body.get("topic", ""), where)
    equals = read.words(body.get("equals", []), where)
    if bool(topic) != bool(equals) or not (countries or topic):
        raise read.wrong(where, "name countries, or a topic with the values that it must equal.")
    return Group(countries=countries, topic=topic, equals=equals, unsure=read.words(body.get("unsure", []), where))


def _paragraphs(read: _Reader, value: object, where: str) -> tuple[Threshold, ...]:
    found: list[Threshold] = []
    for item in _list(read, value, where):
        body = read.mapping(item, where, _PARAGRAPH_KEYS)
        bounds = {key: read.number(body[key], f"{where}.{key}") for key in body if key != "paragraph"}
        found.append(Threshold(paragraph=read.text(body.get("paragraph"), where), **bounds))
    return tuple(found)


def _rule(read: _Reader, value: object, groups: Mapping[str, Group], lists: Mapping[str, object]) -> Rule:
    body = read.mapping(value, "rule")
    where = read.text(body.get("id"), "rule id")
    own = {key: body[key] for key in body if key in _RULE_KEYS}
    cite = read.text(own.get("cite"), f"{where}.cite") if "cite" in own else ""
    if not cite.strip():
        raise read.wrong(where, "a rule without cite is not read: say where the requirement stands.")
    rest = {key: item for key, item in body.items() if key not in _RULE_KEYS}
    return Rule(
        id=where,
        check=_check(read, rest, where, groups, lists),
        effect=read.choice(own.get("effect"), f"{where}.effect", EFFECTS),
        cite=cite,
        text=read.text(own.get("text", ""), f"{where}.text"),
        remedy=read.text(own.get("remedy", ""), f"{where}.remedy"),
        interpretive=read.flag(own.get("interpretive", False), f"{where}.interpretive"),
        replaces=read.text(own.get("replaces", ""), f"{where}.replaces"),
        unless_deployment=read.words(own.get("unless_deployment", []), f"{where}.unless_deployment", DEPLOYMENTS),
    )


def _check(
    read: _Reader, body: Mapping[str, Any], where: str, groups: Mapping[str, Group], lists: Mapping[str, object]
) -> Check:
    name = read.choice(body.get("check"), f"{where}.check", tuple(CHECKS))
    wanted = {argument.rstrip("!") for argument in CHECKS[name]}
    combined = name in COMBINATIONS
    unknown = sorted(set(body) - wanted - {"check"} - ({"of"} if combined else set[str]()))
    if unknown:
        raise read.wrong(where, f"unknown key {', '.join(unknown)} for check {name}.")
    missing = [a.rstrip("!") for a in CHECKS[name] if a.endswith("!") and a.rstrip("!") not in body]
    if missing:
        raise read.wrong(where, f"check {name} needs {', '.join(missing)}.")
    for pair in _ONE_OF:
        if set(pair) <= wanted and sum(key in body for key in pair) != 1:
            raise read.wrong(where, f"check {name} needs one of {' and '.join(pair)}.")
    of: tuple[Check, ...] = ()
    if combined:
        parts = _list(read, body.get("of"), f"{where}.of")
        of = tuple(_check(read, read.mapping(part, where), where, groups, lists) for part in parts)
        _sound(read, name, of, where)
    arguments = {key: _argument(read, name, key, body[key], where, groups, lists) for key in sorted(wanted & set(body))}
    return Check(name=name, arguments=arguments, of=of)


def _sound(read: _Reader, name: str, of: Sequence[Check], where: str) -> None:
    """A statement of the user may only ever help: "not" over one would make a signature a fault."""
    if name == "not" and len(of) != 1:
        raise read.wrong(where, "check not takes one check.")
    if name == "not" and _mentions(of[0]) & {*_STATED, "ear_destination", "ear_hq"}:
        raise read.wrong(where, "check not cannot stand over what a statement of the user may satisfy.")


def _mentions(check: Check) -> set[str]:
    return {check.name, *(("contract",) if "settled_by" in check.arguments else ())}.union(
        *(_mentions(part) for part in check.of)
    )


def _argument(
    read: _Reader, check: str, key: str, value: object, where: str, groups: Mapping[str, Group],
    lists: Mapping[str, object],
) -> object:  # fmt: skip
    at = f"{where}.{key}"
    if key in _NUMBERS:
        return read.number(value, at)
    if key not in _LISTS:
        return read.choice(value, at, _CHOICES[key](lists)) if key in _CHOICES else read.text(value, at)
    allowed: Sequence[str] | None = None
    if key in ("roles", "if_stated"):
        allowed = ROLES if check == "location" else ("seat", "ultimate", "holder")
    elif key in ("in", "not_in"):
        allowed = _members(check, groups)
    return read.words(value, at, allowed)


def _members(check: str, groups: Mapping[str, Group]) -> tuple[str, ...] | None:
    if check in ("location", "parent_country", "ownership"):
        return (*groups, *places.countries())
    if check == "partition":
        return (*places.partitions(), *places.providers())
    return DEPLOYMENTS if check == "deployment" else None


_CHOICES: Mapping[str, Callable[[Mapping[str, object]], Sequence[str]]] = {
    "list": tuple,
    "fact": lambda _: ("workload.training_flop", "workload.tuning_flop"),
    "min_grade": lambda _: ("A", "user", "B"),  # what is weaker can never satisfy a rule
}


def _named(rules: Sequence[Rule]) -> set[str]:
    """Every word after in and not_in: the groups among them belong to the pack."""
    found: set[str] = set()
    for check in (check for rule in rules for check in rule.check.walk()):
        for key in ("in", "not_in"):
            found.update(cast(tuple[str, ...], check.arguments.get(key, ())))
    return found
