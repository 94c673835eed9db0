"""Sized hardware joined to what it is sold for, and put in order.

Thousands of pairs are looked at and a few are shown, so a pair is a plain tuple that sorts by itself. Options are made
of the few.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from itertools import chain

from cloudaccel.catalog.query import load_offers
from cloudaccel.cost import CostBasis, lines_beside, machine_hours, total_of
from cloudaccel.model.workload import Fit
from cloudaccel.planner.hardware import Hardware, PriceClass
from cloudaccel.planner.reasons import BUDGET, DEADLINE
from cloudaccel.planner.request import Context, Request

_SECONDS_PER_HOUR = 3600
_FAR_DEARER = 3  # times the cheapest answer so far: no table shows it, and no limit but a deadline asks for it


_NOTHING = {False: Decimal(0), True: Decimal(0)}


class Sized:
    """One hardware shape on so many machines, with the time it takes and what it costs beside the machines."""

    __slots__ = ("beside", "fit", "group", "hardware", "hours", "machines")

    def __init__(self, request: Request, hardware: Hardware, machines: int, fit: Fit, hours: Decimal) -> None:
        self.hardware = hardware
        self.machines = machines
        self.fit = fit
        self.hours = hours
        self.beside = _NOTHING
        if request.workload.disk_gb or request.workload.data_gb:
            self.beside = {t: total_of(lines_beside(self.basis(request, t))) or Decimal(0) for t in (False, True)}
        self.group = 0  # number of (hardware, machines), set by `Field`

    def basis(self, request: Request, transfer: bool) -> CostBasis:
        """What the bill is for; with `transfer`, the data is brought in."""
        return CostBasis(
            hours=self.hours,
            nodes=self.machines,
            disk_gb=_decimal(request.workload.disk_gb),
            disk_price=request.disk_price,
            transfer_gb=_decimal(request.workload.data_gb) if transfer else None,
            transfer_price=request.transfer_price,
        )


# Rank as a float, total, hours, machines, place, serial number: a whole order, in which of two equals the one of fewer
# machines comes first. Then what was joined, and the bits of
# what is against it. Rounding to a float never turns an order round; where floats are equal, the total decides.
Pair = tuple[float, Decimal, Decimal, int, tuple[str, str, str, str], int, Sized, PriceClass, int]


class Field:
    """All pairs of one plan, by the number of limits that they break."""

    def __init__(self, request: Request, context: Context) -> None:
        self._request = request
        self._deadline = deadline_h(request)
        self._context = context
        self._broken: tuple[list[Pair], ...] = ([], [], [], [])
        self._cheapest: Decimal | None = None
        self._serial = 0
        self._groups: dict[tuple[str, int, int], int] = {}

    def add(self, sized: Sized) -> bool:
        """Join `sized` to its prices. False: it costs so much that more machines are no option."""
        hardware, hours, machines = sized.hardware, sized.hours, sized.machines
        late = DEADLINE if self._deadline is not None and hours > self._deadline else 0
        key = (hardware.accelerator.id, hardware.count, machines)
        sized.group = self._groups.setdefault(key, len(self._groups))
        request = self._request
        budget, broken = request.workload.budget, self._broken
        beside = None if sized.beside is _NOTHING else sized.beside
        rank, serial, cheapest = self._rank(sized), self._serial, self._cheapest
        run, least = hours * machines, None
        for c in hardware.classes:
            if machines > c.most:
                continue
            if request.held is not None:
                total = sized.beside[c.transfer]
            else:
                paid = run if c.term is None else machine_hours(c.term, sized.basis(request, c.transfer))
                total = paid * c.rate if beside is None else paid * c.rate + beside[c.transfer]
            against = c.against | late
            if budget is not None and total > budget:
                against |= BUDGET
            serial += 1
            by = float(total) if rank is None else rank(c)
            broken[against.bit_count()].append((by, total, hours, machines, c.place, serial, sized, c, against))
            least = total if least is None or total < least else least
            if not against and (cheapest is None or total < cheapest):
                cheapest = total
        self._serial, self._cheapest = serial, cheapest
        return bool(late) or least is None or cheapest is None or least <= _FAR_DEARER * cheapest

    def _rank(self, sized: Sized) -> Callable[[PriceClass], float] | None:
        """What a class of `sized` is ranked by before its cost; None: by its cost."""
        if self._request.rank_by == "cost":
            return None
        if self._request.rank_by == "time":
            hours = float(sized.hours)
            return lambda _: hours
        return lambda c: self._carbon_kg(sized, c)

    def _carbon_kg(self, sized: Sized, price_class: PriceClass) -> float:
        context = self._context
        if context.energy is None:
            return math.inf
        offer = load_offers(context.db, [price_class.oid])[price_class.oid]
        energy = context.energy(offer, sized.hardware.accelerator, sized.machines, sized.hours)
        return math.inf if energy is None else energy.kg

    def ordered(self) -> tuple[list[Pair], list[Pair], list[Pair]]:
        """The pairs in order: those that break no limit, those that do (fewest first), and the best of each kind.

        A kind is a shape, a number of machines, a judgement and a place of the data: its best is enough to prove that
        no other comes before.
        """
        for pairs in self._broken:
            pairs.sort()
        return self._broken[0], list(chain(*self._broken[1:])), list(_best_of_each(self._broken))


def _best_of_each(broken: Iterable[list[Pair]]) -> Iterator[Pair]:
    seen: set[tuple[int, int, bool]] = set()
    for pair in sorted(chain(*broken)):
        sized, price_class, against = pair[6:]
        kind = (sized.group, against, price_class.transfer)
        if kind not in seen:
            seen.add(kind)
            yield pair


def sized(request: Request, hardware: Hardware, nodes: int, fit: Fit) -> Sized | None:
    """The machines and hours of `fit` on `nodes` machines; None when nobody knows how long it takes."""
    serve = request.workload.serve
    if serve is not None:
        on = Decimal(str(serve.hours_on_per_month))
        return Sized(request, hardware, nodes, fit, on)
    if fit.hours_likely is None:
        return None
    return Sized(request, hardware, nodes, fit, _hours(fit.hours_likely, request.setup_h))


@lru_cache(maxsize=4096)  # machines that differ only in their host take the same time
def _hours(run_h: float, setup_h: Decimal) -> Decimal:
    """Upwards, in ten-thousandths: finer than any estimate, exact to multiply, never cheaper for being cut in two."""
    return (Decimal(str(run_h)) + setup_h).quantize(Decimal("0.0001"), rounding=ROUND_CEILING)


def deadline_h(request: Request) -> Decimal | None:
    """Hours until the deadline; None: there is none, or it is a service that goes on."""
    workload = request.workload
    if workload.deadline_s is None or workload.serve is not None:
        return None
    return Decimal(str(workload.deadline_s)) / _SECONDS_PER_HOUR


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))
