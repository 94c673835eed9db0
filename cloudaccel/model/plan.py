"""What a plan is made of: options with their cost lines, the rejected with reasons, and every assumption."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from operator import mul
from typing import Any, NamedTuple

from cloudaccel.model.offer import Offer
from cloudaccel.model.shown import Shown
from cloudaccel.model.workload import Assumption, Fit, ModelShape, Workload

STARTABLE, EXPORT_ONLY, QUOTE_ONLY = "startable", "export-only", "quote-only"  # channels of an option
MOST_MACHINES = 8  # that one run of ``cloudaccel provision`` starts, all of one type


class CostLine(NamedTuple):
    """`quantity` x `unit_price` = `amount`, all in one currency. None: nobody says what it costs."""

    name: str
    quantity: Decimal
    unit: str
    unit_price: Decimal | None
    amount: Decimal | None


class Judgement(NamedTuple):
    """What the rules say of an offer: state (None: none was asked), deciding rules, and what would settle an unknown.

    ``unanswered`` is unknown only because a fact about the organisation was not given, and no pack was named: it is
    ranked, with its question. Any other unknown is not. `surcharges` are what a regime adds to the bill: the pack, and
    a share of the compute.
    """

    state: str | None = None
    rules: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    surcharges: tuple[tuple[str, Decimal], ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether nothing stands against it."""
        return self.state not in ("non_compliant", "unknown")


class Duty(NamedTuple):
    """What the law asks of whoever runs the work; no duty changes a verdict. `effect` is ``oblige`` or ``advise``."""

    rule: str
    effect: str
    text: str
    cite: str


class LeftOut(NamedTuple):
    """What is in no total of a plan, and the flag of ``plan`` that brings it in; None where none does."""

    what: str
    flag: str | None = None


class Energy(NamedTuple):
    """What a run draws, and what that emits: every factor of the two products.

    `load` is the share of rated power drawn, `scope` what `g_per_kwh` (grams of CO2e) is the average of.
    """

    accelerator_hours: float
    rated_kw: float
    load: float
    pue: float
    g_per_kwh: float
    scope: str
    load_source: str = ""
    pue_source: str = ""

    @property
    def kwh(self) -> float:
        """Energy at the meter."""
        return self.accelerator_hours * self.rated_kw * self.load * self.pue

    @property
    def kg(self) -> float:
        """Kilograms of CO2e."""
        return self.kwh * self.g_per_kwh / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way of doing the workload: an offer on so many machines, with its time, cost and judgement.

    Attributes
    ----------
    hours
        Machine hours of the run, start-up included; for serving the hours switched on in a month.
    also
        Other offers of the same seller at the same price, in other regions or zones.
    total
        Sum of the amounts of `lines`; None as soon as one of them is unknown.
    blocked
        Why this is no answer as it stands (``deadline``, ``budget``, ``policy``), with a sentence; empty when it is.
    verdict, rules, asks
        State of the policy verdict (`Judgement.state`), ids of the rules that decided it, and what would settle it.
    energy
        What the run draws and emits; None when a factor is unknown.
    channel
        How it is got: `STARTABLE` (``cloudaccel provision`` starts it), `EXPORT_ONLY` (``plan --export`` can write it
        for another engine) or `QUOTE_ONLY` (order it at the seller).
    """

    offer: Offer
    nodes: int
    fit: Fit
    hours: Decimal
    lines: tuple[CostLine, ...]
    total: Decimal | None
    also: tuple[Offer, ...] = ()
    blocked: tuple[tuple[str, str], ...] = ()
    verdict: str | None = None
    rules: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    energy: Energy | None = None
    channel: str = QUOTE_ONLY

    @property
    def carbon_kg(self) -> float | None:
        """Kilograms of CO2e of the run; None when a factor is unknown."""
        return None if self.energy is None else self.energy.kg

    @property
    def startable(self) -> bool:
        """Whether ``cloudaccel provision`` can start it."""
        return self.channel == STARTABLE

    @property
    def accelerators(self) -> int:
        """Accelerators in all."""
        return int(self.offer.count or 0) * self.nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Capacity that the user holds and has paid for: an hour in it costs nothing more, until its window ends.

    Attributes
    ----------
    start, end
        When the window begins and ends, UTC.
    machines
        How many it holds.
    sunk_per_hour, sunk
        What was paid for all of them, by the hour of the window and in all; None: not known. Part of no total.
    source
        Where the sunk figure is from, or why there is none.
    """

    id: str
    start: datetime
    end: datetime
    machines: int
    sunk_per_hour: Decimal | None
    sunk: Decimal | None
    currency: str
    source: str

    @property
    def hours(self) -> Decimal:
        """How long the window is, to a millionth of an hour."""
        seconds = Decimal(str((self.end - self.start).total_seconds()))
        return (seconds / 3600).quantize(Decimal("0.000001")).normalize()


@dataclass(frozen=True, slots=True)
class Rejected:
    """What was left out for one reason: how many of which unit, and the first of them as examples.

    `unit` is what `count` counts: ``hardware shape`` (an accelerator and how many in a machine: it cannot do the job),
    ``offer`` (a rule forbids it, or no plan is made on such), ``option`` (an offer on so many machines: it misses a
    limit) or ``expression`` (accelerators that were named, and that nobody sells so).
    """

    reason: str
    count: int
    examples: tuple[str, ...]
    unit: str

    @property
    def counted(self) -> str:
        """The count with its unit: ``3 hardware shapes``."""
        return f"{self.count:,} {self.unit}{'' if self.count == 1 else 's'}"


class Relaxation(NamedTuple):
    """A change that was tried, and gives an answer, or a cheaper one.

    `reasons` are the limits that it lifts, `change` the keys of the job (or the filters) with their new values, ""
    where it is left out, and `text` says both and what one gets.
    """

    reasons: tuple[str, ...]
    change: tuple[tuple[str, str], ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The answer of ``plan``: `options` are answers, best first; `near` are not quite, nearest first.

    `relaxations` say what would make it feasible or cheaper, each tried before it is said. `considered` is the best of
    each hardware shape, number of machines and judgement: what the first was measured against. `without_rules` is what
    would come first if the rules allowed it, `if_settled` the first that only an unknown keeps out: None when neither
    comes before the first option.
    """

    workload: Workload
    model: ModelShape
    rank_by: str
    options: tuple[Option, ...]
    near: tuple[Option, ...]
    rejected: tuple[Rejected, ...]
    relaxations: tuple[Relaxation, ...]
    assumptions: tuple[Assumption, ...]
    evaluated: int
    catalog_id: str
    pack_digests: Mapping[str, str] = field(default_factory=dict[str, str])
    packs_idle: tuple[str, ...] = ()  # those of them that do not apply, or require nothing of a place
    duties: tuple[Duty, ...] = ()  # that arise at the first option
    request: Mapping[str, Any] = field(default_factory=dict[str, Any])
    considered: tuple[Option, ...] = ()
    no_public_cloud: tuple[str, ...] = ()  # packs that leave none, when no machines of one's own were planned on
    to_buy: bool = False  # the options are machines that can be bought, at the hourly cost of owning them at full use
    unpriced: tuple[str, ...] = ()  # machines of the inventory whose hour has no known cost, and why
    conflicts: tuple[tuple[str, str], ...] = ()  # packs that leave no place together, though each leaves some
    without_rules: Option | None = None
    if_settled: Option | None = None
    shown: Shown | None = None  # how sums are shown beside themselves; the sums are in the offers' currency
    warnings: tuple[str, ...] = ()  # what was asked and did nothing
    reservation: Reservation | None = None  # in which the run is planned; its machines are the only option

    @property
    def best(self) -> Option | None:
        """The first option; None when nothing is feasible."""
        return self.options[0] if self.options else None

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is in no total, so that nobody thinks it was; empty when there is no option."""
        if self.best is None:
            return ()
        spot = LeftOut("interruptions of spot (work that is done again, hours without a machine)")
        return (
            *((spot,) if self.best.offer.market == "spot" else ()),
            *(() if self.workload.disk_gb else (LeftOut("disks", "--disk"),)),
            *(() if self.workload.data_gb else (LeftOut("transfer of data", "--data"),)),
            LeftOut("people"),
            LeftOut("tax"),
        )

    @property
    def rules_cost(self) -> Decimal | None:
        """What the rules cost: the first option less what would come first without them; None: nothing, or unknown."""
        best, other = self.best, self.without_rules
        if best is None or other is None or best.total is None or other.total is None:
            return None
        return best.total - other.total

    def pareto(self) -> tuple[Option, ...]:
        """Options that no other beats in both cost and time, cheapest first."""
        front: list[Option] = []
        fastest: Decimal | None = None
        for option in sorted(_perhaps_unbeaten(self.options), key=lambda o: (o.total or 0, o.hours)):
            if fastest is None or option.hours < fastest:
                front.append(option)
                fastest = option.hours
        return tuple(front)


def _perhaps_unbeaten(options: Sequence[Option]) -> Iterator[Option]:
    """The priced options that one good one does not certainly beat: a pass without sorting, most often to a handful.

    Rounding to a float never turns an order round, so what is less as a float is less; ties are left to the caller.
    """
    priced = [o for o in options if o.total is not None]
    totals = [float(o.total or 0) for o in priced]
    hours = [float(o.hours) for o in priced]
    if priced:
        _, total, hour = min(zip(map(mul, totals, hours), totals, hours, strict=True))
        yield from (o for o, t, h in zip(priced, totals, hours, strict=True) if t <= total or h <= hour)
