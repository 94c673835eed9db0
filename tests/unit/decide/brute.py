"""The cheapest roadmap by trying everything, written from the page on owning and from nothing of the solver's code.

One workload. Every bundle of machines of every option and month is tried, each machine with every month in which it
could be sold; what is then missing is rented at the cheapest price of the month. Plain floats, which the figures of the
solver are compared with to a tolerance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

from cloudaccel.model.roadmap import RoadCase, RoadOption

HOURS = 730.0


@dataclass(frozen=True, slots=True)
class Bundle:
    """Some machines started together: their cost in the horizon, and by month how many are there and what is paid."""

    cost: float
    there: tuple[int, ...]
    cash: tuple[float, ...]


@dataclass(slots=True)
class Search:
    """Depth first over one bundle for each slot; a partial cost above the best so far is not followed."""

    case: RoadCase
    slots: Sequence[tuple[RoadOption, Sequence[Bundle]]]
    best: float | None = None
    rents: list[float] = field(default_factory=list[float])

    def run(self) -> float | None:
        months = self.case.months
        rents = [o for o in self.case.options if o.kind == "rent"]
        for t in range(months):
            able = [HOURS * price(float(o.price_per_hour), o, t) / units(o) for o in rents if t >= o.from_month]
            self.rents.append(min(able, default=float("inf")))
        self._next(0, 0.0, [])
        return self.best

    def _next(self, at: int, cost: float, chosen: list[tuple[RoadOption, Bundle]]) -> None:
        if self.best is not None and cost >= self.best and all(b.cost >= 0 for _, bs in self.slots[at:] for b in bs):
            return
        if at == len(self.slots):
            self._close(cost, chosen)
            return
        option, bundles = self.slots[at]
        for bundle in bundles:
            self._next(at + 1, cost + bundle.cost, [*chosen, (option, bundle)])

    def _close(self, cost: float, chosen: list[tuple[RoadOption, Bundle]]) -> None:
        case = self.case
        paid = 0.0
        for t in range(case.months):
            by_option: dict[str, int] = {}
            for option, bundle in chosen:
                by_option[option.name] = by_option.get(option.name, 0) + bundle.there[t]
            limits = {o.name: o.limit for o in case.options if o.limit is not None}
            if any(by_option.get(name, 0) > limit for name, limit in limits.items()):
                return
            kw = sum(float(o.kw) * b.there[t] for o, b in chosen)
            if case.site_kw is not None and kw > float(case.site_kw) + 1e-9:
                return
            missing = max(0.0, float(case.demand["w"][t]) - sum(units(o) * b.there[t] for o, b in chosen))
            rented = missing * self.rents[t] if missing else 0.0
            cost += rented
            paid += rented + sum(b.cash[t] for _, b in chosen)
            if t % 3 == 2 or t == case.months - 1:
                if case.budget_per_quarter is not None and paid > float(case.budget_per_quarter) + 1e-6:
                    return
                paid = 0.0
        if cost < float("inf") and (self.best is None or cost < self.best):
            self.best = cost


def units(option: RoadOption) -> float:
    return float(option.serves["w"])


def price(first: float, option: RoadOption, month: int) -> float:
    return first * (1 - float(option.decline)) ** (month / 12)


def bundles(case: RoadCase, option: RoadOption, start: int, most: int) -> Iterator[Bundle]:
    """Up to `most` machines ordered in a month, each kept to its end or sold in some month before."""
    months, arrives = case.months, start + option.lead_months
    end = min(arrives + option.term_months, months)
    sales: list[int | None] = [None]
    if option.kind == "buy" and option.sell_early is not None:
        sales += range(arrives + 1, end)
    for number in range(most + 1):
        for leave in combinations_with_replacement(range(len(sales)), number):
            yield together(months, [single(option, start, arrives, end, sales[i], months) for i in leave])


def together(months: int, each: Sequence[Bundle]) -> Bundle:
    return Bundle(
        sum(b.cost for b in each), tuple(sum(b.there[t] for b in each) for t in range(months)),
        tuple(sum(b.cash[t] for b in each) for t in range(months)),
    )  # fmt: skip


def single(option: RoadOption, start: int, arrives: int, end: int, sale: int | None, months: int) -> Bundle:
    there = [int(arrives <= t < (end if sale is None else sale)) for t in range(months)]
    cash = [0.0] * months
    cash[start] += float(option.switching)
    if option.kind == "commit":
        fee = HOURS * price(float(option.price_per_hour), option, start)
        cash = [c + fee * n for c, n in zip(cash, there, strict=True)]
        return Bundle(sum(cash), tuple(there), tuple(cash))
    paid = price(float(option.price), option, start)
    cash[start] += paid
    cash = [c + float(option.running_per_month) * n for c, n in zip(cash, there, strict=True)]
    worth = paid - paid * (1 - float(option.residual)) * sum(there) / option.term_months
    if sale is not None:
        cash[sale] -= worth * float(option.sell_early or 0)
        return Bundle(sum(cash), tuple(there), tuple(cash))
    return Bundle(sum(cash) - worth, tuple(there), tuple(cash))


def kept(case: RoadCase, option: RoadOption) -> Iterator[Bundle]:
    """Machines from before the start: each is sold in some month, or stays as long as it can."""
    months, last = case.months, min(option.have_months, case.months)
    if option.kind == "commit":
        fee = HOURS * float(option.price_per_hour)
        there = [option.have * (t < last) for t in range(months)]
        yield Bundle(sum(fee * n for n in there), tuple(there), tuple(fee * n for n in there))
        return
    for leave in combinations_with_replacement(range(last + 1), option.have):
        there = [sum(t < month for month in leave) for t in range(months)]
        cash = [float(option.running_per_month) * n for n in there]
        brings = sum(price(float(option.resale), option, month) for month in leave)
        # What is sold counts in the total and, as it has no buyer yet, not in the money of a quarter.
        yield Bundle(sum(cash) - brings, tuple(there), tuple(cash))


def brute_force(case: RoadCase, most: int) -> float | None:
    """Cost of the cheapest plan with at most `most` machines of an option ordered in a month; None: there is none."""
    slots: list[tuple[RoadOption, Sequence[Bundle]]] = [(o, list(kept(case, o))) for o in case.options if o.have]
    for option in case.options:
        if option.kind != "rent":
            for start in range(case.months):
                arrives = start + option.lead_months
                if option.from_month <= arrives < case.months:
                    slots.append((option, list(bundles(case, option, start, most))))
    return Search(case, slots).run()
