"""Reads ``roadmap.yaml`` (or .json): demand by month, options, limits. Unknown keys are refused."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from cloudaccel.cost.owned import capex_of, running_per_month
from cloudaccel.decide.judged import JudgeFor, verdict_of_option
from cloudaccel.decide.options import OptionSpec, parse_option, parse_rates
from cloudaccel.decide.owning import Place, named_accelerators, owned_case
from cloudaccel.decide.ways import Found, PriceFinder
from cloudaccel.errors import ConfigError
from cloudaccel.facts.owned import owning
from cloudaccel.model.roadmap import KINDS, RoadCase, RoadOption
from cloudaccel.model.unknown import Unknown
from cloudaccel.model.verdict import Verdict
from cloudaccel.untrusted import check_yaml, json_of

INSTALL = "pip install 'cloudaccel[plan]'"
MAX_BYTES = 1_000_000
MAX_MONTHS = 120
_TOP = ("start", "demand", "options", "site-kw", "budget-per-quarter", "country", "fx", "policy")
# Numbers of an option, with the field that each sets.
_NUMBERS = {
    "price": "", "decline": "decline", "term": "term_months", "life": "term_months", "lead": "lead_months",
    "residual": "residual", "running": "running_per_month", "kw": "kw", "limit": "limit", "from": "from_month",
    "switching": "switching", "have": "have", "have-months": "have_months", "resale": "resale", "accelerators": "",
    "sell-early": "sell_early",
}  # fmt: skip
_WORDS = ("name", "speed", "market", "region", "residency", "provider", *KINDS)
_ALL = ("name", "speed", "price", "decline", "limit", "from", "lead", "switching", "have", "accelerators")
_LOOKED_UP = ("market", "region", "residency", "provider")
# What each kind takes: a key that would be ignored is refused.
_TAKES = {
    "rent": ("rent", *_ALL, *_LOOKED_UP),
    "commit": ("commit", "term", "have-months", *_ALL, *_LOOKED_UP),
    "buy": ("buy", "term", "life", "running", "kw", "residual", "have-months", "resale", "sell-early", *_ALL),
}
# Keys of ``policy``, named as the flags are, and which of them are lists.
POLICY = (
    "packs", "headquarters", "users", "sector", "data-class", "stated", "allow-status", "operator-jurisdiction",
    "require-cert",
)  # fmt: skip
_LISTS = ("packs", "data-class", "stated", "allow-status", "require-cert")
MOST = Decimal("1e15")
_WHOLE = ("term_months", "lead_months", "limit", "from_month", "have", "have_months")
_REPEATED = re.compile(r"^([0-9.eE+]+)\s*(?:[*x]\s*(\d+))?$")
Assumption = tuple[str, str, str]
# The rules of a file -> a judge by them, and a finder of prices that looks for what they allow.
Judging = Callable[[Mapping[str, Any]], tuple[JudgeFor, PriceFinder]]


@dataclass(slots=True)
class _Reading:
    """What every option of a file is read with."""

    workloads: tuple[str, ...]
    find_price: PriceFinder
    judge: JudgeFor | None
    place: Place
    today: str
    assumptions: list[Assumption] = field(default_factory=list[Assumption])


def read_case(
    path: Path, find_price: PriceFinder, *, today: str, judging: Judging | None = None, more_rates: Place | None = None
) -> RoadCase:
    """The case in a file.

    Raises
    ------
    ConfigError
        If the file cannot be read or something in it cannot be used; the message names the file.
    """
    try:
        return parse_case(_load(path), find_price, today=today, judging=judging, more_rates=more_rates)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}", choices=error.choices) from error


def parse_case(
    given: Mapping[str, Any],
    find_price: PriceFinder,
    *,
    today: str,
    judging: Judging | None = None,
    more_rates: Place | None = None,
) -> RoadCase:
    """The case in a mapping with the keys of ``roadmap.yaml``; values may be text or numbers.

    `judging` makes a judge of its ``policy``; without it a file with one is refused. `more_rates` has the rates of
    other currencies where the file has no ``fx``.
    """
    keys = _known(given, _TOP, "roadmap")
    for needed in ("demand", "options"):
        if needed not in keys:
            raise ConfigError(f"{needed} is missing. {_WHERE}")
    demand = {name: _series(name, value) for name, value in _mapping("demand", keys["demand"]).items()}
    rates = parse_rates("fx", str(keys["fx"]) if "fx" in keys else None)
    where = str(keys["country"]) if "country" in keys else None
    place = Place(country=where, rates=rates) if rates or more_rates is None else replace(more_rates, country=where)
    judge, find_price = _judged(keys["policy"], judging) if "policy" in keys else (None, find_price)
    reading = _Reading(tuple(demand), find_price, judge, place, today)
    rows = cast(Sequence[Any], keys["options"]) if isinstance(keys["options"], list | tuple) else ()
    options = tuple(_option(_mapping("options", row), reading) for row in rows)
    if not options:
        raise ConfigError("options: at least one, such as {name: od, rent: 'H100-SXM:8'}.")
    try:
        return RoadCase(
            start=str(keys.get("start", "month 1")), demand=demand, options=options,
            site_kw=_maybe("site-kw", keys), budget_per_quarter=_maybe("budget-per-quarter", keys),
            least_people=_least_people() if any(o.people_per_month for o in options) else Decimal(0),
            assumptions=tuple(dict.fromkeys(reading.assumptions)),
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(f"{error}.") from error


_WHERE = "docs/how-to/own-hardware.md has the keys, docs/tutorial/build-tune-or-call.md an example."


def _least_people() -> Decimal:
    table = owning()
    return table["staff_minimum_fte"].likely * table["fte_cost"].likely / 12


# -- values ------------------------------------------------------------------------------------------------------------


def _known(given: Mapping[str, Any], allowed: Sequence[str], where: str) -> dict[str, Any]:
    keys = {str(key).strip().lower().replace("_", "-"): value for key, value in given.items() if value is not None}
    for key in keys:
        if key not in allowed:
            near = get_close_matches(key, allowed, 1)
            hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(allowed)}."
            raise ConfigError(f"{where}: unknown key {key!r}.{hint}", choices=near)
    return keys


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise ConfigError(f"{where}: {value!r} is no mapping.")
    return {str(key): content for key, content in cast(dict[Any, Any], value).items()}


def _number(where: str, value: Any) -> Decimal:
    text = str(value).strip().replace("_", "").removesuffix("/y").removesuffix("/h").removesuffix("/month")
    share = text.endswith("%")
    try:
        number = Decimal(text.rstrip("%").strip())
    except InvalidOperation:
        raise ConfigError(f"{where}: {value!r} is no number.") from None
    if not number.is_finite() or not 0 <= number <= MOST:
        raise ConfigError(f"{where}: {value!r} must be between 0 and {MOST:.0e}.")
    return number / 100 if share else number


def _maybe(key: str, keys: Mapping[str, Any]) -> Decimal | None:
    return _number(key, keys[key]) if key in keys else None


def _series(name: str, value: Any) -> tuple[Decimal, ...]:
    """Demand by month: a list, ``0*3, 64*9``, or ``{from: 8, growth: 5%, months: 24}``."""
    where = f"demand of {name}"
    if isinstance(value, dict):
        keys = _known(cast(dict[str, Any], value), ("from", "growth", "months"), where)
        months = int(_number(where, keys.get("months", 0)))
        growth = _number(where, keys.get("growth", 0))
        if not 1 <= months <= MAX_MONTHS or "from" not in keys:
            raise ConfigError(f"{where}: from and months (1 to {MAX_MONTHS}) are needed.")
        first = _number(where, keys["from"])
        return tuple((first * (1 + growth) ** t).quantize(Decimal("0.001")) for t in range(months))
    words = cast(list[Any], value if isinstance(value, list) else str(value).split(","))
    series: list[Decimal] = []
    for word in words:
        match = _REPEATED.match(str(word).strip())
        if match is None:
            raise ConfigError(f"{where}: {word!r} is no figure. Write 64, or 64*9 for nine months of 64.")
        series += [_number(where, match.group(1))] * int(match.group(2) or 1)
    if len(series) > MAX_MONTHS:
        raise ConfigError(f"{where}: {len(series)} months are more than {MAX_MONTHS}.")
    return tuple(series)


def _judged(policy: Any, judging: Judging | None) -> tuple[JudgeFor, PriceFinder]:
    """A judge by ``policy: [packs]``, or by ``policy: {packs: …, headquarters: …}``: the flags of ``--policy``."""
    if judging is None:
        raise ConfigError("policy: nothing here can judge places.")
    rules = cast(dict[str, Any], policy) if isinstance(policy, dict) else {"packs": policy}
    keys = _known(rules, POLICY, "policy")
    read = {key: _words(value) if key in _LISTS else str(value) for key, value in keys.items()}
    empty = [key for key, value in read.items() if not value]
    if empty or not read:  # a variable that is not set must not lift a rule
        raise ConfigError(f"policy: {empty[0] if empty else 'it'} is empty. Name packs of 'cloudaccel policy list'.")
    return judging(read)


def _words(value: Any) -> tuple[str, ...]:
    words = cast(list[Any], value) if isinstance(value, list) else str(value).split(",")
    return tuple(str(word).strip() for word in words if str(word).strip())


def _option(row: dict[str, Any], reading: _Reading) -> RoadOption:
    keys = _known(row, (*_WORDS, *_NUMBERS), "option")
    kinds = [kind for kind in KINDS if kind in keys]
    if len(kinds) != 1:
        raise ConfigError(f"option {keys.get('name', '?')}: say one of rent:, commit: or buy:, and what.")
    kind, what = kinds[0], str(keys[kinds[0]])
    ignored = [key for key in keys if key not in _TAKES[kind]]
    if ignored:
        raise ConfigError(f"option {keys.get('name', what)}: {kind} takes no {ignored[0]}.")
    name = str(keys.get("name", f"{kind} {what}"))
    fields: dict[str, Any] = {}
    for key, target in _NUMBERS.items():
        if key in keys and target:
            number = _number(f"option {name}, {key}", keys[key])
            if target in _WHOLE and number != int(number):
                raise ConfigError(f"option {name}, {key}: {keys[key]!r} must be a whole number.")
            fields[target] = int(number) if target in _WHOLE else number
    maker = _bought if kind == "buy" else _rented
    accelerators = maker(kind, name, what, keys, fields, reading)
    if "decline" not in fields:
        fall = owning()["rent_decline"]
        fields["decline"] = fall.likely
        reading.assumptions.append(
            _said("decline", f"{fall.likely} per year (decline=)", fall.source, fall.as_of, fall.verified)
        )
    fields["serves"] = _serves(name, keys, reading.workloads, accelerators)
    try:
        return RoadOption(name=name, kind=kind, **fields)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"option {name}: {error}.") from error


def _said(name: str, value: str, source: str, as_of: str, verified: bool) -> Assumption:
    return name, value, f"{source}, {as_of}{'' if verified else ', NOT VERIFIED'}"


def _serves(name: str, keys: Mapping[str, Any], workloads: tuple[str, ...], accelerators: int) -> dict[str, Decimal]:
    """Units of demand that one machine carries: its accelerators, times a relative speed for each workload."""
    if "speed" not in keys:
        return dict.fromkeys(workloads, Decimal(accelerators))
    speeds = _known(_mapping(f"option {name}, speed", keys["speed"]), workloads, f"option {name}, speed")
    return {w: _number(f"option {name}, speed", s) * accelerators for w, s in speeds.items() if _number(name, s) > 0}


def _rented(kind: str, name: str, what: str, keys: Mapping[str, Any], fields: dict[str, Any], reading: _Reading) -> int:
    said = f"@{keys['provider']}" if "provider" in keys else ""
    words = [f"rent:{what}{said}", *(f"{k}={keys[k]}" for k in ("market", "region", "residency") if k in keys)]
    accelerators = int(_number(name, keys["accelerators"])) if "accelerators" in keys else 0
    if kind == "commit" and "term_months" not in fields:
        raise ConfigError(f"option {name}: a commitment needs its term in months: term: 12.")
    if "price" in keys:
        fields["price_per_hour"] = _number(f"option {name}, price", keys["price"])
        fields["source"] = "given by you"
        ids, count = named_accelerators(what)
        fields["verdict"] = _verdict(parse_option(",".join(words), today=reading.today), ids, None, reading)
        return accelerators or count
    spec = parse_option(",".join(words), today=reading.today)
    found = reading.find_price(spec)
    if isinstance(found, Unknown):
        raise ConfigError(f"option {name}: {found.reason}. Give price: per machine and hour ({found.how_to_settle}).")
    fields["price_per_hour"], fields["source"] = found.price.likely, found.price.source
    fields["verdict"] = _verdict(spec, found.accelerator_ids, found, reading)
    reading.assumptions.append(_of_found(name, found))
    return accelerators or found.accelerators or 1


def _verdict(spec: OptionSpec, ids: frozenset[str], found: Found | None, reading: _Reading) -> Verdict | None:
    if reading.judge is None:
        return None
    return verdict_of_option(reading.judge, spec, ids, reading.place.country, found.offer if found else None)


def _of_found(name: str, found: Found) -> Assumption:
    return _said(f"price of {name}", f"{found.price.likely} USD/h", found.price.source, found.price.as_of, True)


def _bought(
    _kind: str, name: str, what: str, keys: Mapping[str, Any], fields: dict[str, Any], reading: _Reading
) -> int:
    """A purchase, filled from the table of owned hardware and the cost of owning where the file is silent."""
    table = owning()
    staff = table["fte_cost"].likely / table["machines_per_fte"].likely
    # What it costs to run is given: then no tariff is looked up, and none can be missing.
    place = Place() if "running_per_month" in fields else reading.place
    if "running_per_month" not in fields:
        fields["people_per_month"] = staff / 12
    spec = parse_option(f"own:{what},staff={staff:f}/y", today=reading.today)
    case = owned_case(spec, place, "full")
    if case.unknown is not None:
        raise ConfigError(f"option {name}: {case.unknown.reason}. To settle it: {case.unknown.how_to_settle}.")
    fields["verdict"] = _verdict(spec, case.accelerator_ids, None, reading)
    inputs = case.owned.inputs
    capex, running = capex_of(case.owned), running_per_month(case.owned)
    fill: list[tuple[str, Any, str, str]] = [
        ("price", capex, "USD each, with spares", "server"), ("running_per_month", running, "USD/month", "maintenance"),
        ("kw", inputs["kw"].likely if "kw" in inputs else Decimal(0), "kW", "kw"),
        ("residual", table["residual"].likely, "of the price", "residual"),
        ("term_months", int(table["years"].likely * 12), "months", "years"),
        ("lead_months", round(table["lead_time_weeks"].likely * 12 / 52), "months", "lead_time_weeks"),
    ]  # fmt: skip
    if "price" in keys:
        fields["price"] = _number(f"option {name}, price", keys["price"])
    for target, value, unit, source in fill:
        if target not in fields and value is not None:
            fields[target] = value
            row = inputs.get(source) or table[source]
            shown = f"{value:,.2f}" if isinstance(value, Decimal) else str(value)
            reading.assumptions.append(
                _said(f"{target} of {name}", f"{shown} {unit}", row.source, row.as_of, row.verified)
            )
    return int(_number(name, keys["accelerators"])) if "accelerators" in keys else case.owned.accelerators


# -- files -------------------------------------------------------------------------------------------------------------


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"larger than {MAX_BYTES:,} bytes, which no roadmap is.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    read: Callable[[str], Any] = json_of if path.suffix.lower() == ".json" else _yaml
    try:
        loaded = read(text)
    except ValueError as error:
        raise ConfigError(f"not readable as {path.suffix or 'YAML'} ({error}).") from error
    if isinstance(loaded, dict) and loaded:
        return _mapping("roadmap", loaded)
    raise ConfigError(f"no roadmap. It is 'key: value' lines, with demand and options. {_WHERE}")


def _yaml(text: str) -> Any:
    try:
        import yaml  # heavy, and only files in YAML need it
    except ImportError:
        raise ConfigError(f"reading YAML needs a library. {INSTALL}, or write the roadmap as JSON.") from None
    try:
        check_yaml(text)
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  (text, lists and mappings only)
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML ({error}).") from error
