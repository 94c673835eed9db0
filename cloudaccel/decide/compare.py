"""Ways side by side: totals, per unit, load, commitment, where they break even, and what that hangs on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal

from cloudaccel.cost.npv import discount_factor
from cloudaccel.cost.owned import CAPITAL, Owned, Values, cost_by_year, facility_of, per_accelerator_hour, residual_of
from cloudaccel.decide import breakeven, sensitivity
from cloudaccel.decide.judged import may_be_chosen
from cloudaccel.decide.ways import MILLION, Candidate
from cloudaccel.model import HOURS_PER_MONTH
from cloudaccel.model.decision import BreakEven, Comparison, Estimate, Facility, Line, Way, YearCost, total_of_lines
from cloudaccel.model.unknown import Unknown

CURVE_STEPS = 20
VOLUME_STEPS = 120
_JUST_AFTER = Decimal("1.000001")  # of a volume that fills a copy: there the next one is paid
_MONTHS_PER_YEAR = Decimal(12)


def compare(
    candidates: Sequence[Candidate],
    *,
    tokens_per_month: Decimal | None,
    demand_text: str,
    months: Decimal,
    rents: Sequence[Decimal] = (),
    with_swings: bool = False,
    samples: int = 0,
    seed: int = 0,
    notes: Sequence[str] = (),
    shared: Sequence[Estimate] = (),
) -> Comparison:
    """The ways costed at one demand, with the points at which the answer changes.

    Parameters
    ----------
    rents
        Prices per accelerator-hour to compare owning with, beside those of the options.
    samples
        Draws for the spread of each way; 0: none.
    """
    ways = tuple(_way(c, tokens_per_month, months) for c in candidates)
    vm = next((w for w in ways if w.kind in ("vm", "rent") and w.per_month), None)
    ways = tuple(_with_premium(way, vm) for way in ways)
    rivals = [c.serves for c in candidates] if any(c.serves for c in candidates) else [True] * len(candidates)
    ranked = sorted((way.total, i) for i, way in enumerate(ways) if way.total is not None and rivals[i])
    allowed = [c for c, rival in zip(candidates, rivals, strict=True) if rival and may_be_chosen(c.verdict)]
    volumes = _volumes(candidates, tokens_per_month)
    return Comparison(
        demand_text=demand_text,
        tokens_per_month=tokens_per_month,
        currency="USD",
        months=months,
        ways=ways,
        cheapest=next((i for _, i in ranked if may_be_chosen(ways[i].verdict)), None),
        without_rules=ranked[0][1] if ranked else None,
        break_evens=tuple(_break_evens(candidates, rents, tokens_per_month)),
        curves={c.label: curve for c in candidates if (curve := _curve(c, tokens_per_month))},
        volumes=volumes,
        leaders=_leaders({c.label: volumes[c.label] for c in allowed if c.label in volumes}),
        shared=tuple(shared),
        swings=sensitivity.swings(allowed, tokens_per_month) if with_swings else (),
        spreads=sensitivity.monte_carlo(allowed, tokens_per_month, samples=samples, seed=seed) if samples else (),
        seed=seed if samples else None,
        not_counted=_not_counted(candidates),
        notes=tuple(notes),
    )


def _way(c: Candidate, demanded: Decimal | None, months: Decimal) -> Way:
    values = c.likely()
    tokens = c.own_tokens if c.own_tokens is not None else demanded
    lines, once = c.lines(values, tokens), c.paid_once(values, tokens)
    month = None if c.unknown is not None else total_of_lines(lines)
    paid = total_of_lines(once)
    unknown = c.unknown
    if unknown is None and (month is None or paid is None):
        unknown = _missing(lines, once)
    capacity, copies = c.capacity(values), c.copies(values, tokens)
    load = tokens / (capacity * copies) if tokens is not None and capacity else None
    made = tokens if tokens is not None else capacity * c.use if capacity and c.use else None
    machines = None if c.unknown is not None else c.owned
    total = None if month is None or paid is None or unknown is not None else month * months + paid
    all_in = None if total is None else total / months  # with what is paid once, spread over the horizon
    return Way(
        kind=c.kind, label=c.label, lines=lines, once=once, per_month=month if lines else None, unknown=unknown,
        total=total, money_out=_money_out(c, values, copies, months, total),
        per_million=all_in / made * MILLION if all_in is not None and made and lines else None,
        idle_per_month=month * (1 - load) if month is not None and load is not None else None,
        load=load, copies=copies, capacity_tokens_per_month=capacity, accelerators=c.accelerators,
        per_accelerator_hour=_per_hour(c, values, copies), use=c.use, commitment=c.commitment(copies),
        lead_time=c.lead_time, inputs=c.inputs, years=_years(c, values, copies) if machines else (),
        facility=_facility(machines, values, copies) if machines else None,
        not_counted=c.not_counted, notes=(*c.notes, *_bound_beyond(c, values, copies, months)), verdict=c.verdict,
    )  # fmt: skip


def _per_hour(c: Candidate, values: Values, copies: int) -> Decimal | None:
    """Of an accelerator at full use: what is owned without the people beside it, as a rent is without them."""
    if c.owned is None or c.owned.counted != "full":
        return c.rent_per_accelerator_hour
    month = None if c.unknown is not None else total_of_lines(_machines_only(c, values, copies))
    return None if month is None else per_accelerator_hour(month, c.owned.accelerators * copies)


def _machines_only(c: Candidate, values: Values, copies: int) -> tuple[Line, ...]:
    return tuple(line for line in c.for_copies(c.monthly(values, None), copies) if line.name not in c.beside)


def _years(c: Candidate, values: Values, copies: int) -> tuple[YearCost, ...]:
    """Money out by year for so many copies of what is owned."""
    found: list[YearCost] = []
    for year in cost_by_year(c.owned, values) if c.owned else ():
        lines = c.for_copies(year.lines, copies)
        total = total_of_lines(lines) or Decimal(0)
        found.append(
            YearCost(year.year, lines, total, total * discount_factor(values.get("wacc", Decimal(0)), year.year))
        )
    return tuple(found)


def _facility(machines: Owned, values: Values, copies: int) -> Facility | None:
    all_of_them = replace(machines, systems=machines.systems * copies)
    drawn = {**values, "kw": values["kw"] * copies} if "kw" in values else values
    return facility_of(all_of_them, values["rack_kw"], drawn)


def _money_out(c: Candidate, values: Values, copies: int, months: Decimal, total: Decimal | None) -> Decimal | None:
    """What has been paid when the horizon ends: of what is owned, its price at the start and not by the month.

    Machines whose life ends before the horizon are sold for their residual, and bought again at the same price.
    """
    capex = next((y.total for y in _years(c, values, copies) if y.year == 0), Decimal(0)) if c.owned else Decimal(0)
    if total is None or c.owned is None or not capex or c.owned.counted != "full":
        return total
    lives = months / (values["years"] * _MONTHS_PER_YEAR)
    bought, sold = int(lives.to_integral_value(rounding=ROUND_CEILING)), int(lives)
    spread = sum((x.amount or Decimal(0) for x in c.lines(values, None) if x.name in CAPITAL), Decimal(0))
    once_each = capex * bought - residual_of(c.owned, values) * copies * sold
    return total - spread * copies * months + once_each


def _bound_beyond(c: Candidate, values: Values, copies: int, months: Decimal) -> Iterator[str]:
    """What a commitment, or what is owned, goes on for when the horizon ends before it."""
    if c.term_hours is not None and (left := c.term_hours - months * HOURS_PER_MONTH) > 0:
        rest = values["price"] * left * copies
        yield f"bound for {left / HOURS_PER_MONTH:.4g} months after the horizon: {rest:,.2f} more, in no total"
    if (
        c.owned is not None
        and c.owned.counted == "full"
        and "years" in values
        and "capital" in {line.name for line in c.monthly(values, None)}
        and months < (life := values["years"] * _MONTHS_PER_YEAR)
    ):
        yield f"bought for {life:f} months: the total has {months:f} of them, so it holds if they stay in use after it"


def _missing(lines: tuple[Line, ...], once: tuple[Line, ...]) -> Unknown:
    names = [line.name for line in (*lines, *once) if line.amount is None]
    units = [f.unit for line in (*lines, *once) for f in line.factors if f.value is None]
    return Unknown(f"{', '.join(names)}: nobody has said the {', '.join(units)}", "give it in the option")


def _with_premium(way: Way, vm: Way | None) -> Way:
    """What a managed service adds to the raw machine: per month and as a share."""
    if way.kind != "managed" or vm is None or way.per_month is None or not vm.per_month:
        return way
    added = way.per_month - vm.per_month
    return replace(way, premium=(added, added / vm.per_month))


def _break_evens(
    candidates: Sequence[Candidate], rents: Sequence[Decimal], demanded: Decimal | None
) -> Iterator[BreakEven]:
    for i, one in enumerate(candidates):
        for other in candidates[i + 1 :]:
            found = breakeven.in_tokens(one, other) or breakeven.trained_against_api(one, other)
            if found is not None:
                yield found
    named = _rents(candidates, rents)
    for c in candidates:
        copies = c.copies(c.likely(), demanded)
        for rent, label in named.items():
            use, hours = breakeven.owned_against_rent, breakeven.payback
            for found in (use(c, rent, label, copies), hours(c, rent, label, copies)):
                if found is not None:
                    yield found


def _rents(candidates: Sequence[Candidate], rents: Sequence[Decimal]) -> Mapping[Decimal, str]:
    """Rents per accelerator-hour, cheapest first, each with the way that has it."""
    named = {rent: f"a rent of {rent:.2f}" for rent in rents}
    for c in candidates:
        if c.rent_per_accelerator_hour and c.kind in ("rent", "vm") and c.unknown is None:
            named[c.rent_per_accelerator_hour] = c.label
    return dict(sorted(named.items()))


def _curve(c: Candidate, demanded: Decimal | None) -> tuple[tuple[Decimal, Decimal], ...]:
    """Cost of a delivered accelerator-hour over use: pairs of share and USD, for what is owned."""
    if c.owned is None or c.owned.counted != "full":
        return ()
    full = _per_hour(c, c.likely(), c.copies(c.likely(), demanded))
    if full is None:
        return ()
    return tuple((use, full / use) for use in (Decimal(i) / CURVE_STEPS for i in range(1, CURVE_STEPS + 1)))


def _volumes(
    candidates: Sequence[Candidate], demanded: Decimal | None
) -> Mapping[str, tuple[tuple[Decimal, Decimal], ...]]:
    """A month's cost of each way that makes tokens, from little to more than any break-even; empty without a demand."""
    able = [c for c in candidates if c.unknown is None and (c.kind == "api" or c.capacity(c.likely()))]
    capacities = [c.capacity(c.likely()) or Decimal(0) for c in able]
    if demanded is None or not any(capacities):
        return {}
    most = max(*capacities, demanded) * Decimal("1.2")
    tokens = {most * i / VOLUME_STEPS for i in range(1, VOLUME_STEPS + 1)}
    for capacity in filter(None, capacities):  # both sides of each step, where another copy is taken
        full = [capacity * k for k in range(1, min(VOLUME_STEPS, int(most / capacity)) + 1)]
        tokens.update(t * side for t in full for side in (Decimal(1), _JUST_AFTER))
    found = {
        c.label: tuple((t, cost) for t in sorted(tokens) if (cost := c.cost(c.likely(), t)) is not None) for c in able
    }
    return {label: points for label, points in found.items() if points}


def _leaders(volumes: Mapping[str, Sequence[tuple[Decimal, Decimal]]]) -> tuple[tuple[Decimal, str], ...]:
    """Who is cheapest from which volume on. Between two points of `volumes` every cost is a straight line."""
    series = list(volumes.items())
    if len(series) < 2 or any(len(points) != len(series[0][1]) for _, points in series):
        return ()
    found: list[tuple[Decimal, str]] = []
    for i, (right, _) in enumerate(series[0][1]):
        left = series[0][1][i - 1][0] if i else right
        before = i if right <= left * _JUST_AFTER else i - 1  # over a step only what comes after it counts
        ends = {label: (points[before][1], points[i][1]) for label, points in series}
        for at, label in _turns(left, right, ends):
            if not found or found[-1][1] != label:
                found.append((at if found else Decimal(0), label))
    return tuple(found)


def _turns(left: Decimal, right: Decimal, ends: Mapping[str, tuple[Decimal, Decimal]]) -> Iterator[tuple[Decimal, str]]:
    """The cheapest of straight lines between `left` and `right`, each from where it becomes so."""

    def cost(label: str, share: Decimal) -> Decimal:
        low, high = ends[label]
        return low + (high - low) * share

    share = Decimal(0)
    label = min(ends, key=lambda name: ends[name])  # at equal costs the one that rises least
    yield left, label
    while True:
        crossings: list[tuple[Decimal, Decimal, str]] = []
        for other in ends:
            ahead, behind = cost(other, share) - cost(label, share), ends[other][1] - ends[label][1]
            if behind < 0 <= ahead:
                crossings.append((share + (1 - share) * ahead / (ahead - behind), behind, other))
        if not crossings:
            return
        share, _, label = min(crossings)
        yield left + (right - left) * share, label


def _not_counted(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """What no way counts, so that nobody thinks it was."""
    have = {name for c in candidates for name in c.inputs}
    left: list[str] = []
    if not have & {"people", "staff", "labour", "ops"}:
        left.append("people: evaluation, on-call (--people)")
    if "data" not in have:
        left.append("data work (--data-work)")
    falling = " but decline=" if "decline" in have else ""
    left.append(f"storage and transfer of data, tax, changes of prices over the horizon{falling}")
    return tuple(left)


__all__ = ["compare"]
