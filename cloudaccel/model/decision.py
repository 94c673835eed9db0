"""What a decision is made of: numbers with their range and source, lines with every factor, and the ways compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from cloudaccel.model.shown import Shown
from cloudaccel.model.unknown import Unknown
from cloudaccel.model.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number that a decision rests on.

    Attributes
    ----------
    low, likely, high
        In `unit`; equal when nobody knows a range.
    verified
        Whether somebody looked the source up; False is said wherever the number is used.
    change
        The word that sets it: ``wacc=`` inside an option, or a flag.
    given
        True when the caller said it.
    """

    name: str
    low: Decimal
    likely: Decimal
    high: Decimal
    unit: str
    source: str
    as_of: str
    verified: bool
    change: str = ""
    given: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.likely <= self.high:
            raise ValueError(f"{self.name}: {self.low} to {self.likely} to {self.high} does not rise")

    @property
    def is_range(self) -> bool:
        """Whether low and high differ."""
        return self.low != self.high


class Factor(NamedTuple):
    """One factor of a line: multiplied, or divided by when `divide` is set. None: nobody has said it."""

    value: Decimal | None
    unit: str
    divide: bool = False


class Line(NamedTuple):
    """A part of a cost: `amount` is the product of `factors`, None as soon as one of them is unknown."""

    name: str
    factors: tuple[Factor, ...]

    @property
    def amount(self) -> Decimal | None:
        """The product, in the comparison's currency."""
        product = Decimal(1)
        for factor in self.factors:
            if factor.value is None:
                return None
            product = product / factor.value if factor.divide else product * factor.value
        return product


def total_of_lines(lines: tuple[Line, ...]) -> Decimal | None:
    """The sum of the amounts; None as soon as one is unknown."""
    total = Decimal(0)
    for line in lines:
        amount = line.amount
        if amount is None:
            return None
        total += amount
    return total


class YearCost(NamedTuple):
    """Money that goes out in one year (0: at the start), and what it is worth at the start. Negative: comes in."""

    year: int
    lines: tuple[Line, ...]
    total: Decimal
    discounted: Decimal


class Facility(NamedTuple):
    """What owned machines ask of a room. Heat is what the machines give off.

    `racks` is None when one system draws more than a rack of `rack_kw` gives.

    `kwh_per_year` is at the meter, cooling included; `electricity_per_year` None when no tariff is known, `g_per_kwh`
    and `carbon_kg_per_year` (CO2e) when nobody says what a kWh emits there.
    """

    systems: int
    servers_cost: Decimal | None
    it_kw: Decimal
    site_kw: Decimal
    heat_btu_per_h: Decimal
    cooling_tons: Decimal
    systems_per_rack: int
    racks: int | None
    cooling: str
    kwh_per_year: Decimal
    rack_kw: Decimal
    electricity_per_year: Decimal | None
    g_per_kwh: Decimal | None = None
    carbon_kg_per_year: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of getting the work done, costed.

    Attributes
    ----------
    lines, per_month
        Per month of 730 hours at the demand that was given, for `copies` of what the option names.
    once
        Paid once: data, people, a training run.
    total
        Over the horizon: once + per month x months.
    money_out
        What has been paid when the horizon ends: the same, but for what is owned, which is paid at the start.
    per_million
        Of the total over the horizon, what is paid once included.
    use
        Share of the hours that was stated; None: not stated.
    load
        Share of its capacity that the demand uses; None when it has no capacity or there is no demand.
    copies
        How many times the option's machines the demand needs, 1 or more.
    per_accelerator_hour
        At full use; at use u it is this over u.
    unknown
        What is missing, and what would settle it; the way then has no total.
    verdict
        What the rules say of its place; None: nothing was judged.
    """

    kind: str
    label: str
    lines: tuple[Line, ...]
    once: tuple[Line, ...]
    per_month: Decimal | None
    total: Decimal | None
    per_million: Decimal | None
    idle_per_month: Decimal | None = None
    load: Decimal | None = None
    copies: int = 1
    capacity_tokens_per_month: Decimal | None = None
    accelerators: int | None = None
    per_accelerator_hour: Decimal | None = None
    commitment: str = "none"
    lead_time: str = "minutes"
    money_out: Decimal | None = None
    use: Decimal | None = None
    premium: tuple[Decimal, Decimal] | None = None
    unknown: Unknown | None = None
    inputs: Mapping[str, Estimate] = field(default_factory=dict[str, Estimate])
    years: tuple[YearCost, ...] = ()
    facility: Facility | None = None
    not_counted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    verdict: Verdict | None = None


class BreakEven(NamedTuple):
    """Where two ways cost the same.

    `at` is in `unit` (tokens per month, share of use, hours); None means never, for the reason in `text`. `rent` is the
    price per accelerator-hour that it was compared with, None when neither is a rent.
    """

    first: str
    second: str
    unit: str
    at: Decimal | None
    rent: Decimal | None
    text: str


class Swing(NamedTuple):
    """How one input moves a way's cost: at its low and its high end, all others likely.

    `flips`: at one of the ends another way is cheapest; `flips_at` is the value at which they change places, None when
    the cost jumps over it.
    """

    way: str
    name: str
    low: Decimal
    high: Decimal
    cost_at_low: Decimal
    cost_at_high: Decimal
    flips: bool
    flips_at: Decimal | None = None

    @property
    def size(self) -> Decimal:
        """Distance between the two costs."""
        return abs(self.cost_at_high - self.cost_at_low)


class Spread(NamedTuple):
    """A way's cost per month over the draws: 10th, 50th and 90th percentile, and the share in which it is cheapest."""

    way: str
    p10: Decimal
    p50: Decimal
    p90: Decimal
    cheapest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The answer of ``compare``. `cheapest` is the index of the cheapest way that may be chosen; None: there is none.

    `without_rules` is the same without the rules, and `cheapest` where nothing was judged.

    `leaders` is who is cheapest from which volume on, as pairs of tokens per month and label; empty without volumes.
    `shared` are the numbers that every way rests on.

    `curves` are an owned accelerator-hour over use, `volumes` a month's cost over tokens per month; by way.
    """

    demand_text: str
    tokens_per_month: Decimal | None
    currency: str
    months: Decimal
    ways: tuple[Way, ...]
    cheapest: int | None
    without_rules: int | None
    break_evens: tuple[BreakEven, ...]
    curves: Mapping[str, tuple[tuple[Decimal, Decimal], ...]]
    volumes: Mapping[str, tuple[tuple[Decimal, Decimal], ...]] = field(default_factory=dict[str, Any])
    leaders: tuple[tuple[Decimal, str], ...] = ()
    shared: tuple[Estimate, ...] = ()
    swings: tuple[Swing, ...] = ()
    spreads: tuple[Spread, ...] = ()
    seed: int | None = None
    shown: Shown | None = None  # how sums are shown beside themselves
    not_counted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
