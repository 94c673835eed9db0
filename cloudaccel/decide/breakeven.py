"""Where two costs are equal: bisection on the costs themselves, so that no second formula can disagree with them."""

from collections.abc import Callable
from decimal import Decimal

from cloudaccel.cost.npv import payback_hours
from cloudaccel.cost.owned import CAPITAL, HOURS_PER_YEAR, capex_of, monthly_lines, per_accelerator_hour
from cloudaccel.decide.options import TRAINED
from cloudaccel.decide.ways import MILLION, Candidate
from cloudaccel.model import HOURS_PER_MONTH
from cloudaccel.model.decision import BreakEven, total_of_lines

Function = Callable[[Decimal], Decimal]
_TOLERANCE = Decimal("1e-12")
_MOST_STEPS = 400  # multiples of a capacity that are looked at before "never" is said
_JUST_ABOVE = Decimal("1.000000000001")


def find_root(f: Function, low: Decimal, high: Decimal) -> Decimal | None:
    """A point between `low` and `high` where `f` changes sign, to 1e-12 of the interval; None when it does not.

    `f` must be continuous there. An end at which `f` is 0 is a root.
    """
    at_low, at_high = f(low), f(high)
    if at_low == 0:
        return low
    if at_high == 0:
        return high
    if (at_low > 0) == (at_high > 0):
        return None
    width = (high - low) * _TOLERANCE
    while high - low > width:
        middle = (low + high) / 2
        if (f(middle) > 0) == (at_low > 0):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def break_even_use(cost_per_month: Decimal, accelerators: int, rent: Decimal) -> Decimal | None:
    """Share of hours at which an owned accelerator-hour costs `rent`; None: never, not even at full use."""
    least = Decimal("1e-9")
    return find_root(lambda use: per_accelerator_hour(cost_per_month, accelerators, use) - rent, least, Decimal(1))


def owned_against_rent(candidate: Candidate, rent: Decimal, named: str, copies: int = 1) -> BreakEven | None:
    """The use at which owning so many copies costs what a rent does; None where no cost of owning is known."""
    machines = candidate.owned
    if machines is None or candidate.unknown is not None or machines.counted == "marginal":
        return None
    month = total_of_lines(candidate.for_copies(monthly_lines(machines, candidate.likely()), copies))
    if month is None:
        return None
    use = break_even_use(month, machines.accelerators * copies, rent)
    full = per_accelerator_hour(month, machines.accelerators * copies)
    text = f"{use * 100:.0f} % use" if use is not None else f"never: {full:.2f} per accelerator-hour at full use"
    return BreakEven(candidate.label, named, "use", use, rent, text)


def payback(candidate: Candidate, rent: Decimal, named: str, copies: int = 1) -> BreakEven | None:
    """Hours of full use after which the price of the machines is earned back: capex / (rent - running cost).

    Simple payback, without interest or resale, as makers of servers publish it.
    """
    machines = candidate.owned
    if machines is None or candidate.unknown is not None:
        return None
    values = candidate.likely()
    capex, lines = capex_of(machines, values), monthly_lines(machines, values)
    running = total_of_lines(candidate.for_copies(tuple(x for x in lines if x.name not in CAPITAL), copies))
    if capex is None or running is None:
        return None
    hourly, rented = running / HOURS_PER_MONTH, rent * machines.accelerators * copies
    hours = payback_hours(capex * copies, rent_per_hour=rented, opex_per_hour=hourly)
    text = f"never: running costs {hourly:,.2f} per hour, the rent {rented:,.2f}"
    if hours is not None:
        text = f"{hours:,.0f} h ({hours / HOURS_PER_YEAR * 12:.1f} months)"
        if "years" in values and hours > values["years"] * HOURS_PER_YEAR:
            text += " after its life"
    return BreakEven(candidate.label, named, "hours", hours, rent, text)


def in_tokens(one: Candidate, other: Candidate) -> BreakEven | None:
    """The volume at which the way that is dearer at little volume becomes the cheaper one; None if not comparable."""
    if one.unknown is not None or other.unknown is not None or one.own_tokens or other.own_tokens:
        return None
    capacities = [c for c in (one.capacity(one.likely()), other.capacity(other.likely())) if c]
    if not capacities or any(c.kind != "api" and c.capacity(c.likely()) is None for c in (one, other)):
        return None
    small = min(capacities) * Decimal("1e-6")
    if one.cost(one.likely(), small) is None or other.cost(other.likely(), small) is None:
        return None
    first = _difference(one, other, small)
    if first == 0:  # the same at little volume: that is no break-even, the first volume at which they differ is
        later = (_difference(one, other, point * _JUST_ABOVE) for point in _points(capacities))
        parted = next((difference for difference in later if difference), None)
        if parted is None:
            return None
        first = -parted
    if first > 0:
        one, other = other, one
    at = _first_crossing(one, other, capacities)
    rent = next((c.rent_per_accelerator_hour for c in (one, other) if c.rent_per_accelerator_hour), None)
    return BreakEven(one.label, other.label, "tokens/month", at, rent, _volume_text(one, other, at))


def trained_against_api(one: Candidate, other: Candidate) -> BreakEven | None:
    """The volume from which a model of one's own, trained and served for a fixed sum, costs less than an API.

    None where it is not such a pair, or the model costs less at any volume. Whether what serves it carries the volume
    is not known here, which the text says.
    """
    api, run = sorted((one, other), key=lambda c: c.kind != "api")
    if api.kind != "api" or run.kind not in TRAINED or not run.serves or api.unknown is not None:
        return None
    fixed, least = run.cost(run.likely(), None), api.cost(api.likely(), Decimal(0))
    more = api.cost(api.likely(), MILLION)
    if fixed is None or least is None or more is None or more <= least or fixed <= least:
        return None
    at = (fixed - least) / (more - least) * MILLION
    text = f"{at / 1_000_000_000:.2f} B tokens/month, if what serve= pays for carries them"
    return BreakEven(api.label, run.label, "tokens/month", at, None, text)


def _difference(one: Candidate, other: Candidate, tokens: Decimal) -> Decimal:
    first, second = one.cost(one.likely(), tokens), other.cost(other.likely(), tokens)
    if first is None or second is None:
        raise ValueError("a cost that is compared is unknown")
    return first - second


def _first_crossing(one: Candidate, other: Candidate, capacities: list[Decimal]) -> Decimal | None:
    """Smallest volume at which `one`, cheaper at first, costs as much as `other`.

    Costs are straight between multiples of a capacity and step up after them, when another copy is needed.
    """
    start = min(capacities) * Decimal("1e-6")
    apart = _difference(one, other, start) != 0
    for end in _points(capacities):
        at_start, at_end = _difference(one, other, start), _difference(one, other, end)
        if at_start > 0 or (apart and at_start == 0):
            return start
        if at_end > 0 or (apart and at_end == 0):
            return find_root(lambda x: _difference(one, other, x), start, end)
        apart = apart or at_end != 0
        start = end * _JUST_ABOVE
    return None


def _points(capacities: list[Decimal]) -> list[Decimal]:
    """Volumes after which another copy of something is needed, rising."""
    points = sorted({capacity * k for capacity in capacities for k in range(1, _MOST_STEPS + 1)})
    return [p for p in points if p <= max(capacities) * _MOST_STEPS][:_MOST_STEPS]


def _volume_text(one: Candidate, other: Candidate, at: Decimal | None) -> str:
    if at is None:
        full: list[str] = []
        sizes = [candidate.capacity(candidate.likely()) for candidate in (one, other)]
        for candidate, capacity in zip((one, other), sizes, strict=True):
            tokens = capacity or next(filter(None, sizes), MILLION)  # of an API as many as the other makes when full
            cost = candidate.cost(candidate.likely(), tokens)
            if cost is not None:
                full.append(f"{candidate.label} {cost / tokens * MILLION:.2f}")
        return f"never: per million tokens when full, {', '.join(full)}"
    text = f"{at / 1_000_000_000:.2f} B tokens/month"
    values = other.likely()
    capacity = other.capacity(values)
    if capacity is not None:
        copies = other.copies(values, at)
        load = at / (capacity * copies) * 100
        text += f" ({load:.0f} % load of {other.label}{f' x{copies}' if copies > 1 else ''}"
        text += ": too close to full, plan one more)" if load >= 85 else ")"
    return text


__all__ = ["break_even_use", "find_root", "in_tokens", "owned_against_rent", "payback", "trained_against_api"]
