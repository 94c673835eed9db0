"""The file of what an organisation negotiated: adjustments in order, and commitments that end somewhere (TOML).

docs/how-to/own-prices.md is the format. The file is only ever read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from cloudaccel import units
from cloudaccel.errors import ConfigError, QueryError, UnknownName
from cloudaccel.facts import names, places
from cloudaccel.model import MARKETS

MAX_BYTES = 1 << 20
_NAME = re.compile(r"[^;=*\x00-\x1f\x7f]{1,60}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Offers that something is for; empty means all. `accelerators` are ids, `instances` in lower case."""

    providers: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    accelerators: frozenset[str] = frozenset()
    instances: frozenset[str] = frozenset()
    markets: frozenset[str] = frozenset()

    def holds(self, provider: str, region: str, accelerator: str, instance: str, market: str) -> bool:
        """Whether it is for an offer with these fields of the catalog."""
        return (
            (not self.providers or provider in self.providers)
            and (not self.regions or region.lower() in self.regions)
            and (not self.accelerators or accelerator in self.accelerators)
            and (not self.instances or instance.lower() in self.instances)
            and market in self.markets
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """One step from the list price: `percent` of the price so far, or `amount` per machine and hour in `currency`."""

    name: str
    where: Where
    percent: Decimal | None = None
    amount: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """Machines that are committed to at `amount` per machine and hour: as many as `machines`, and no more."""

    name: str
    where: Where
    machines: int
    amount: Decimal
    currency: str
    until: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds on one day, in the order of the file; `resting` are names of what does not hold on it."""

    adjustments: tuple[Adjustment, ...]
    commitments: tuple[Commitment, ...]
    resting: tuple[str, ...]


def read_adjustments(path: Path, content: bytes, day: date) -> Terms:
    """The adjustments and commitments of `content`, the bytes of `path`, that hold on `day`.

    Raises
    ------
    ConfigError
        If it is not TOML, has an unknown key, or a value that cannot be; says which entry.
    """
    top = _toml(path, content)
    _known(str(path), top, {"adjustment", "commitment"})
    found: dict[str, list[Any]] = {"adjustment": [], "commitment": []}
    resting: list[str] = []
    for kind, make in (("adjustment", _adjustment), ("commitment", _commitment)):
        for number, entry in enumerate(_entries(path, top, kind), start=1):
            where = f"{path}: {kind} {number}"
            name = entry.get("name")
            if not isinstance(name, str) or not _NAME.match(name):
                raise ConfigError(
                    f"{where}: name must be 1 to 60 characters without ; = *. It is shown with each price."
                )
            made = make(f"{where} ({name})", name, entry)
            if _holds(f"{where} ({name})", entry, day):
                found[kind].append(made)
            else:
                resting.append(name)
    if not found["adjustment"] and not found["commitment"] and not resting:
        raise ConfigError(
            f"{path}: it has no [[adjustment]] and no [[commitment]]. Write one, or leave the setting out."
        )
    return Terms(
        adjustments=tuple(found["adjustment"]), commitments=tuple(found["commitment"]), resting=tuple(resting)
    )  # fmt: skip


def _toml(path: Path, content: bytes) -> dict[str, Any]:
    import tomllib  # only when there is a file

    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: it is larger than {MAX_BYTES} bytes.")
    try:
        return tomllib.loads(content.decode("utf-8-sig"), parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error


def _entries(path: Path, top: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    entries = top.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in cast("list[object]", entries)):
        raise ConfigError(f"{path}: write each {kind} under its own [[{kind}]].")
    return cast("list[dict[str, Any]]", entries)


def _known(where: str, entry: Mapping[str, Any], keys: set[str]) -> None:
    if unknown := sorted(set(entry) - keys):
        raise ConfigError(f"{where}: unknown key {', '.join(map(repr, unknown))}. Known: {', '.join(sorted(keys))}.")


_PLACE = {"provider", "region", "accelerator", "instance", "market"}
_COMMON = {"name", "from", "until", *_PLACE}


def _adjustment(where: str, name: str, entry: Mapping[str, Any]) -> Adjustment:
    _known(where, entry, {*_COMMON, "percent", "per_machine_hour"})
    if ("percent" in entry) == ("per_machine_hour" in entry):
        raise ConfigError(f"{where}: give either percent = -12 or per_machine_hour = '0.12 USD'.")
    reach = _where(where, entry, [m for m in MARKETS if m != "owned"])
    if "percent" in entry:
        return Adjustment(name=name, where=reach, percent=_percent(where, entry["percent"]))
    amount, currency = _money(where, "per_machine_hour", entry["per_machine_hour"])
    return Adjustment(name=name, where=reach, amount=amount, currency=currency)


def _commitment(where: str, name: str, entry: Mapping[str, Any]) -> Commitment:
    _known(where, entry, {*_COMMON, "machines", "price_per_hour"})
    for key in ("provider", "instance", "machines", "price_per_hour"):
        if key not in entry:
            raise ConfigError(f"{where}: {key} is missing. A commitment is for machines of one type at one price.")
    machines = entry["machines"]
    if not isinstance(machines, int) or isinstance(machines, bool) or not 1 <= machines <= 1_000_000:
        raise ConfigError(f"{where}: machines must be a whole number from 1, not {machines!r}.")
    amount, currency = _money(where, "price_per_hour", entry["price_per_hour"])
    if amount <= 0:
        raise ConfigError(f"{where}: price_per_hour must be above 0: what was paid is spread over the hours.")
    until = _day(where, entry, "until")
    reach = _where(where, entry, ["on_demand"])
    return Commitment(
        name=name, where=reach, machines=machines, amount=amount, currency=currency, until=until
    )  # fmt: skip


def _where(where: str, entry: Mapping[str, Any], markets: Sequence[str]) -> Where:
    def words(key: str) -> list[str]:
        value = entry.get(key, [])
        listed: list[object] = cast("list[object]", value) if isinstance(value, list) else [value]
        if (key in entry and not listed) or not all(isinstance(word, str) and word.strip() for word in listed):
            raise ConfigError(f"{where}: {key} must be a word or a list of words.")
        return [str(word).strip() for word in listed]

    named = [word.lower().replace("-", "_") for word in words("market")]
    if wrong := [market for market in named if market not in MARKETS]:
        raise ConfigError(f"{where}: market {wrong[0]!r} is none of {', '.join(m.replace('_', '-') for m in MARKETS)}.")
    try:
        providers = frozenset(places.resolve_provider(word) for word in words("provider"))
        ids = frozenset(i for word in words("accelerator") for i in names.resolve(word).accelerator_ids)
    except UnknownName as error:
        raise ConfigError(f"{where}: {error}") from None
    return Where(
        providers=providers, regions=frozenset(word.lower() for word in words("region")), accelerators=ids,
        instances=frozenset(word.lower() for word in words("instance")), markets=frozenset(named or markets),
    )  # fmt: skip


def _percent(where: str, value: object) -> Decimal:
    number = Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else Decimal("NaN")
    if not number.is_finite() or not -100 < number <= 1000 or not number:
        raise ConfigError(f"{where}: percent must be a number above -100 and up to 1000, such as -12.5.")
    return number


def _money(where: str, key: str, value: object) -> tuple[Decimal, str]:
    sign = -1 if isinstance(value, str) and value.lstrip().startswith("-") else 1
    try:
        amount, currency = units.parse_money(str(value).strip().lstrip("-"), key)
    except QueryError as error:
        raise ConfigError(f"{where}: {error}") from None
    if not currency:
        raise ConfigError(f"{where}: {key} needs its currency, as in '0.12 USD'.")
    return sign * amount, currency


def _holds(where: str, entry: Mapping[str, Any], day: date) -> bool:
    begins, ends = _day(where, entry, "from"), _day(where, entry, "until")
    if begins and ends and begins > ends:
        raise ConfigError(f"{where}: from {begins} is after until {ends}.")
    return (begins is None or begins <= day) and (ends is None or day <= ends)


def _day(where: str, entry: Mapping[str, Any], key: str) -> date | None:
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ConfigError(f"{where}: {key} must be a day without quotes, such as {key} = 2027-06-30.")
    return value
