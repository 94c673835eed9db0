"""What an organisation really paid per machine and hour, from FOCUS cost and usage rows (FOCUS 1.0 to 1.3).

The price is EffectiveCost over PricingQuantity: after negotiated discounts, with what was paid for commitments spread
over the hours that used them. Each row is either in a price or counted with the reason why not; nothing is left out
silently.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cloudaccel.catalog.focus_rows import Charge
from cloudaccel.errors import UnknownName
from cloudaccel.facts import places
from cloudaccel.model.money import from_nano, to_nano

Amount = Annotated[Decimal, Field(gt=-(10**12), lt=10**12)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An instance type with accelerators, as the catalog knows it."""

    provider: str
    instance: str
    accelerator: str
    count: str
    vcpus: str
    memory_gib: str


Machines = Mapping[tuple[str, str], Machine]  # by provider and instance type in lower case


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PriceKey:
    """What one price is of. `payment` is ``amortised`` where a commitment pays."""

    provider: str
    region: str
    instance: str
    market: str
    payment: str
    currency: str


@dataclass(slots=True)
class Paid:
    """What was paid for one `PriceKey`: money, hours, the list price of the same hours (None: not all say it), days."""

    machine: Machine
    first: date
    last: date
    cost: Decimal = Decimal(0)
    hours: Decimal = Decimal(0)
    listed: Decimal | None = Decimal(0)
    rows: int = 0

    def per_hour(self) -> Decimal | None:
        """Money per machine and hour, to the nine decimals of a catalog; None where it would be nothing."""
        return from_nano(to_nano(self.cost / self.hours)) or None


@dataclass(slots=True)
class Skipped:
    """Rows without a price: how many, and the effective cost that stands in them by currency."""

    rows: int = 0
    cost: dict[str, Decimal] = field(default_factory=dict[str, Decimal])


@dataclass(slots=True)
class Reading:
    """What rows became: prices, and the rest by reason. `rows` is the number of both together."""

    paid: dict[PriceKey, Paid] = field(default_factory=dict[PriceKey, Paid])
    skipped: dict[str, Skipped] = field(default_factory=dict[str, Skipped])
    rows: int = 0


def _with_z(text: str) -> str:
    return f"{text.removesuffix(' UTC')}Z" if text.endswith(" UTC") else text  # as one big warehouse writes it


class _Usage(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    EffectiveCost: Amount
    PricingQuantity: Amount
    ChargePeriodStart: Annotated[datetime, BeforeValidator(_with_z)]
    BillingCurrency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    RegionId: Annotated[str, Field(pattern=r"^[\w .-]{1,64}$")]


def read_charges(rows: Iterable[Charge | None], machines: Machines) -> Reading:
    """Add up `rows`; `machines` are the instance types that have accelerators."""
    found = Reading()
    finder = _Finder(machines)
    for row in rows:
        found.rows += 1
        reason = UNREADABLE + "the line has another number of cells" if row is None else _take(found, finder, row)
        if reason:
            skipped = found.skipped.setdefault(reason, Skipped())
            skipped.rows += 1
            _add_cost(skipped, row or {})
    for key in [key for key, paid in found.paid.items() if paid.hours <= 0 or not (paid.per_hour() or 0) > 0]:
        _give_up(found, key)
    return found


UNREADABLE = "cannot be read: "
_UNPRICED = "usage that adds up to no cost or no hours"


def _give_up(found: Reading, key: PriceKey) -> None:
    paid = found.paid.pop(key)
    skipped = found.skipped.setdefault(_UNPRICED, Skipped())
    skipped.rows += paid.rows
    skipped.cost[key.currency] = skipped.cost.get(key.currency, Decimal(0)) + paid.cost


def _take(found: Reading, finder: "_Finder", row: Charge) -> str:
    """Put a row to its price, or say why not."""
    if reason := _not_usage(row):
        return reason
    machine = finder.machine(row)
    if isinstance(machine, str):
        return machine
    try:
        usage = _Usage.model_validate(row)
    except ValidationError as error:
        fields = sorted({str(part["loc"][0]) for part in error.errors(include_url=False, include_input=False)})
        return f"{UNREADABLE}{', '.join(fields)}"
    hours = _hours(row["PricingUnit"])
    market = _market(row)
    if reason := _not_priced(row, usage, hours, market):
        return reason
    place = places.region(machine.provider, usage.RegionId)
    key = PriceKey(
        provider=machine.provider, region=place.name if place else usage.RegionId, instance=machine.instance,
        market=market, payment="amortised" if market in _COMMITTED.values() else "", currency=usage.BillingCurrency,
    )  # fmt: skip
    day = usage.ChargePeriodStart.date()
    paid = found.paid.setdefault(key, Paid(machine, day, day))
    paid.first, paid.last = min(paid.first, day), max(paid.last, day)
    paid.cost += usage.EffectiveCost
    paid.hours += usage.PricingQuantity * hours
    listed = _decimal(row.get("ListCost", ""))
    paid.listed = None if paid.listed is None or listed is None else paid.listed + listed
    paid.rows += 1
    return ""


_CATEGORIES = {
    "credit": "credits", "tax": "tax", "purchase": "purchases, such as a commitment's own payment",
    "adjustment": "adjustments",
}  # fmt: skip


def _not_usage(row: Charge) -> str:
    category = row["ChargeCategory"].strip().casefold()
    if category != "usage":
        return _CATEGORIES.get(category, f"{UNREADABLE}ChargeCategory")
    if row.get("ChargeClass", "").strip().casefold() == "correction":
        return "corrections of an earlier period"
    if row.get("CommitmentDiscountStatus", "").strip().casefold() == "unused":
        return "unused hours of a commitment"
    if row.get("CapacityReservationStatus", "").strip().casefold() == "unused":
        return "unused hours of a capacity reservation"
    return ""


def _not_priced(row: Charge, usage: _Usage, hours: Decimal, market: str) -> str:
    if not hours:
        return "not billed by time"
    if not market:
        return "a pricing category that names no market"
    if (usage.EffectiveCost < 0) != (usage.PricingQuantity < 0) and usage.EffectiveCost:
        return "refunds without hours" if usage.EffectiveCost < 0 else "a cost for negative hours"
    if not usage.PricingQuantity or not usage.EffectiveCost:
        return "free of charge, or without hours"
    if _OTHER_GOODS.search(_words(row)):
        return "with an operating system's licence, or on a dedicated host"
    return ""


_UNIT = re.compile(r"(?:(\d{1,6}) )?(hour|hr|h|minute|min|second|sec|s|day)s?\Z", re.IGNORECASE)
_HOURS = {"h": Decimal(1), "m": Decimal(1) / 60, "s": Decimal(1) / 3600, "d": Decimal(24)}


def _hours(unit: str) -> Decimal:
    """Hours in one pricing unit (``Hours``, ``10 Hours``, ``Seconds``); 0 when the unit is none of time alone."""
    found = _UNIT.match(unit.strip())
    return Decimal(found[1] or 1) * _HOURS[found[2][0].lower()] if found else Decimal(0)


_COMMITTED = {"usage": "reserved", "spend": "savings-plan"}  # by CommitmentDiscountCategory


def _market(row: Charge) -> str:
    category = row["PricingCategory"].strip().casefold()
    if category == "committed":
        return _COMMITTED.get(row.get("CommitmentDiscountCategory", "").strip().casefold(), "")
    return {"standard": "on-demand", "dynamic": "spot"}.get(category, "")


# Charges of the same instance type that are no price of the bare machine.
_OTHER_GOODS = re.compile(r"\b(windows|rhel|red hat|suse|sles|sql server|dedicated)\b", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9][\w.-]*")
_SAYS_TYPE = ("SkuPriceDetails", "SkuMeter", "ChargeDescription", "ResourceType")
_SELLERS_OWN = re.compile(r"x_.*(usage_?type|instance|sku|machine|meter)", re.IGNORECASE)  # FOCUS: x_ is the seller's
_REMEMBERED = 50_000


def _words(row: Charge) -> str:
    return " ".join(row.get(column, "") for column in (*_SAYS_TYPE, "x_UsageType", "x_Operation"))


class _Finder:
    """Which machine a row is of: the one instance type of its seller that stands in its descriptions."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self._known: dict[tuple[str, ...], Machine | str] = {}
        self._columns: tuple[str, ...] | None = None

    def machine(self, row: Charge) -> Machine | str:
        """The machine, or why there is none."""
        if self._columns is None:
            self._columns = tuple(name for name in row if name in _SAYS_TYPE or _SELLERS_OWN.match(name))
        seller = row.get("ServiceProviderName") or row.get("ProviderName") or ""
        texts = (seller, *(row.get(column, "") for column in self._columns))
        if texts not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[texts] = self._find(*texts)
        return self._known[texts]

    def _find(self, seller: str, *texts: str) -> Machine | str:
        try:
            provider = places.resolve_provider(seller)
        except UnknownName:
            return "of a seller that no table knows"
        found = {m.instance: m for m in self._named(provider, texts)}
        if not found:
            return "not of an instance type with accelerators that the catalog knows"
        return next(iter(found.values())) if len(found) == 1 else "names more than one instance type"

    def _named(self, provider: str, texts: Iterable[str]) -> Iterator[Machine]:
        for token in _TOKEN.findall(" ".join(texts)):
            machine = self._machines.get((provider, token.rstrip(".").lower()))
            if machine is not None:
                yield machine


def _add_cost(skipped: Skipped, row: Charge) -> None:
    cost, currency = _decimal(row.get("EffectiveCost", "")), row.get("BillingCurrency", "")[:3]
    if cost and currency:
        skipped.cost[currency] = skipped.cost.get(currency, Decimal(0)) + cost


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except ArithmeticError:
        return None
    return number if number.is_finite() and abs(number) < 10**12 else None
