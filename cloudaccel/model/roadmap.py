"""Demand over months, the options that can carry it, and the answer of ``roadmap``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from cloudaccel.model.shown import Shown
from cloudaccel.model.verdict import Verdict

KINDS = ("rent", "commit", "buy")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoadOption:
    """One way of having machines over the months.

    Attributes
    ----------
    serves
        Workload -> units of its demand that one machine carries.
    price_per_hour
        Of one machine, when rented or committed, at the start of the horizon.
    price, running_per_month
        Of one machine that is bought, and what it costs a month while it is kept (power, room, staff, maintenance).
    decline
        Yearly fall of what is paid for a start later in the horizon.
    term_months
        How long a commitment binds; for a purchase its life.
    lead_months
        From order to use.
    residual
        Share of the price that a bought machine is worth at the end of its life.
    sell_early
        Share of its worth on that line that a sale before the end of its life brings; None: it is kept to the end.
    kw
        Power it draws at one's own site; 0 when it stands elsewhere.
    limit
        Most machines at a time; None: no limit.
    from_month
        First month of use, counted from 0 (a generation that is not sold yet).
    switching
        Paid once for each machine that is newly taken up.
    have, have_months
        Machines that are there at the start, and for how many months more they last or bind.
    resale
        What one of those is sold for now; falls by `decline`.
    people_per_month
        What of `running_per_month` is people, by a table that has few for many machines; 0 when somebody gave the sum.
    verdict
        What the rules say of its place; None: nothing was judged.
    """

    name: str
    kind: str
    serves: Mapping[str, Decimal]
    price_per_hour: Decimal = Decimal(0)
    price: Decimal = Decimal(0)
    running_per_month: Decimal = Decimal(0)
    decline: Decimal = Decimal(0)
    term_months: int = 1
    lead_months: int = 0
    residual: Decimal = Decimal(0)
    sell_early: Decimal | None = None
    kw: Decimal = Decimal(0)
    limit: int | None = None
    from_month: int = 0
    switching: Decimal = Decimal(0)
    have: int = 0
    have_months: int = 0
    resale: Decimal = Decimal(0)
    people_per_month: Decimal = Decimal(0)
    source: str = ""
    verdict: Verdict | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: kind {self.kind!r} is none of {', '.join(KINDS)}")
        if not self.serves or any(units <= 0 for units in self.serves.values()):
            raise ValueError(f"{self.name}: what it serves must be above 0")
        if self.term_months < 1 or min(self.lead_months, self.from_month, self.have, self.have_months) < 0:
            raise ValueError(f"{self.name}: months and machines cannot be below 0, a term not below 1")
        if self.have and self.kind != "rent" and not self.have_months:
            raise ValueError(f"{self.name}: {self.have} machines are there, and for how many months (have-months)?")
        if not 0 <= self.decline < 1 or not 0 <= self.residual <= 1 or not 0 <= (self.sell_early or 0) <= 1:
            raise ValueError(f"{self.name}: decline, residual and sell-early are shares")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoadCase:
    """What a roadmap is asked.

    `demand` is workload -> units wanted, one figure a month (accelerators in use, averaged over the month, or whatever
    `RoadOption.serves` counts in). `site_kw` and `budget_per_quarter` None: no limit. `least_people` is what the people
    of a site cost a month at least, however few its machines; 0 when no option has people of the table.
    """

    start: str
    demand: Mapping[str, tuple[Decimal, ...]]
    options: tuple[RoadOption, ...]
    site_kw: Decimal | None = None
    budget_per_quarter: Decimal | None = None
    currency: str = "USD"
    least_people: Decimal = Decimal(0)
    assumptions: tuple[tuple[str, str, str], ...] = ()  # name, value with unit, source and date

    def __post_init__(self) -> None:
        lengths = {len(series) for series in self.demand.values()}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError("every workload needs a demand for each month, and as many months as the others")
        if len({option.name for option in self.options}) != len(self.options):
            raise ValueError("two options have the same name")

    @property
    def months(self) -> int:
        """Length of the horizon."""
        return len(next(iter(self.demand.values())))


class Action(NamedTuple):
    """Something to do at the start of a month (0 is the first): ``commit``, ``buy`` (order) or ``retire``.

    `bought` is the month in which a machine that is retired was ordered; None: it was there before the start.
    """

    month: int
    verb: str
    option: str
    machines: int
    arrives: int
    amount: Decimal
    bought: int | None = None


class Month(NamedTuple):
    """One month of the plan. Machines by option that are there, hours rented by option and workload, money out."""

    month: int
    machines: Mapping[str, int]
    rented_hours: Mapping[str, int]
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Roadmap:
    """The answer.

    Attributes
    ----------
    status
        ``optimal`` (gap within the tolerance), ``feasible`` (a plan with a proven gap), ``infeasible``, or
        ``no answer`` (the solver gave up).
    total
        Recomputed in Decimal from the actions and hours; None when there is no plan.
    bound
        No plan can cost less: the solver's proven lower bound, in floating point.
    gap
        ``(total - bound) / total``; None without a plan.
    beyond
        What commitments cost after the horizon, not in `total`.
    worth
        What machines are still worth when the horizon ends: the money out, less this, is `total`.
    people_beyond
        What the people of a site cost at least, beyond those that `total` counts by the machine.
    without_buying
        What a plan that buys nothing costs, as the first answer has it; None where buying brings no such people.
    shown
        How the total is shown beside itself; None: not.
    limits
        What holds the plan back, or why there is none, as sentences.
    stages
        Name, seconds, total and gap of each stage: the LP with rounding, then the solver.
    left_out
        Options that the rules do not show to be allowed, each with the reason, as a sentence.
    by_rules
        There is no plan, and without the rules there is one.
    """

    status: str
    case: RoadCase
    total: Decimal | None = None
    bound: float | None = None
    gap: float | None = None
    beyond: Decimal = Decimal(0)
    worth: Decimal = Decimal(0)
    people_beyond: Decimal = Decimal(0)
    without_buying: Decimal | None = None
    shown: Shown | None = None
    actions: tuple[Action, ...] = ()
    months: tuple[Month, ...] = ()
    limits: tuple[str, ...] = ()
    stages: tuple[tuple[str, float, float, float], ...] = field(default=())
    left_out: tuple[str, ...] = ()
    by_rules: bool = False

    @property
    def money_out(self) -> Decimal:
        """All that is paid in the horizon, less what machines are sold for in it."""
        return sum((month.cost for month in self.months), Decimal(0))
