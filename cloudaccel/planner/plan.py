"""The planner: hardware shapes are sized once, then joined to the offers that sell them.

What fits and how long it takes depends on the shape (accelerator, how many, on how many machines) and not on who sells
it, so the costly question is asked once for each shape and the cheap one, the price, once for each offer.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from cloudaccel.catalog.query import load_offers
from cloudaccel.cost import cost_lines, held_lines, total_of
from cloudaccel.model import Offer
from cloudaccel.model.plan import QUOTE_ONLY, CostLine, Judgement, Option, Plan
from cloudaccel.model.workload import Fit
from cloudaccel.planner.hardware import Hardware, hardware_on_offer
from cloudaccel.planner.join import Field, Pair, sized
from cloudaccel.planner.limits import against, count_blocked, relaxations
from cloudaccel.planner.reasons import POLICY, Rejections
from cloudaccel.planner.request import NODE_STEPS, Context, Request

_SECONDS_PER_HOUR = 3600
_SHORT_H = 0.25  # below this, start-up is longer than the run, and more machines are only more start-ups
_WASTEFUL = 1.5  # machine-hours over the least seen: scaling has broken down
_NEAR = 5  # options that miss a limit, the nearest


def make_plan(request: Request, context: Context) -> Plan:
    """The plan for one workload over one catalog. Infeasible is an answer: no options, and the reasons counted."""
    rejections = Rejections()
    field = Field(request, context)
    evaluated = 0
    for hardware in hardware_on_offer(request, context, rejections):
        for nodes, fit in _node_counts(request, context, hardware, rejections):
            evaluated += hardware.offers
            shape = sized(request, hardware, nodes, fit)
            if shape is None:
                rejections.add("speed_unknown", "hardware shape", _shape_name(hardware), _no_hours(fit))
            elif not field.add(shape):
                break
    return _plan(request, context, field, rejections, evaluated)


def _node_counts(
    request: Request, context: Context, hardware: Hardware, rejections: Rejections
) -> Iterator[tuple[int, Fit]]:
    """Numbers of machines that fit, from the fewest up, until more of them only cost more and the deadline is met.

    Where the walk ends does not depend on the deadline unless it is still missed: a tighter limit then only ever adds
    dearer sizes, and can never find a cheaper plan that a looser one overlooked.
    """
    accelerator, count = hardware.accelerator, hardware.count
    asked = [t.nodes for t in request.query.terms if t.nodes > 1 and accelerator.id in t.accelerator_ids]
    steps = asked or [n for n in NODE_STEPS if n <= request.max_nodes]
    thin = _thin(request, hardware)
    if thin is not None:
        steps = [n for n in steps if n == 1]
    serving = request.workload.serve is not None
    walk = _serving_steps(context, hardware, steps[-1]) if serving and not asked and steps else iter(steps)
    fits: list[tuple[int, Fit]] = []
    refused: Fit | None = None
    for nodes in walk:
        fit = context.size(accelerator, count, nodes, hardware.machine)
        if fit.verdict != "no":
            fits.append((nodes, fit))
            yield nodes, fit
            if _enough(request, fits):
                break
        else:
            refused = fit if serving else refused or fit
            if fits or _hopeless(fit):
                break
    if fits:
        return
    if thin is not None and not (refused is not None and _hopeless(refused)):
        rejections.add("network", "hardware shape", _shape_name(hardware), thin)
    elif refused is not None and refused.reasons:
        reason = refused.reasons[0]
        hints = (reason.text, *(r.text for r in refused.reasons[1:] if r.code == "method_hint"))
        rejections.add(reason.code, "hardware shape", _shape_name(hardware), "; ".join(hints))


def _shape_name(hardware: Hardware) -> str:
    return f"{hardware.accelerator.name}:{hardware.count}"


def _no_hours(fit: Fit) -> str:
    """Why nobody knows how long a run takes that fits, and what tells it."""
    why = next((reason.text for reason in fit.reasons if reason.code == "speed_unknown"), "no source tells its speed")
    return f"it fits; {why}. --measured N, of a short run, tells them"


def _serving_steps(context: Context, hardware: Hardware, most: int) -> Iterator[int]:
    """One machine, which may do; then, when that is not enough, the fewest that carry the load, up to `most`."""
    yield 1
    if most > 1:
        serving = context.size(hardware.accelerator, hardware.count, most, hardware.machine).serving
        needed = most if serving is None else min(most, serving.machines)
        if needed > 1:
            yield needed


def _thin(request: Request, hardware: Hardware) -> str | None:
    """Why several machines of this hardware are not wanted: their network is below what was asked for, or unknown."""
    least, there = request.inter_node_gbit_per_s, hardware.machine.network_gbit_per_s
    if least is None or (there is not None and there >= least):
        return None
    has = "no source says what is" if there is None else f"{there:g} Gbit/s are"
    return f"{has} between its machines, and --inter-node asks for {least:g}"


# Reasons that more machines do not cure.
_HOPELESS = frozenset(
    {"portability", "unsupported", "feature", "arch_unsupported", "no_peak", "speed_unknown", "cores", "licence"}
)


def _hopeless(fit: Fit) -> bool:
    return bool(fit.reasons) and fit.reasons[0].code in _HOPELESS


def _enough(request: Request, fits: Sequence[tuple[int, Fit]]) -> bool:
    hours = fits[-1][1].hours_likely
    if hours is None:
        return fits[-1][1].verdict == "fits"
    deadline_s = request.workload.deadline_s
    if deadline_s is not None and (hours + float(request.setup_h)) * _SECONDS_PER_HOUR > deadline_s:
        return False
    machine_hours = [n * fit.hours_likely for n, fit in fits if fit.hours_likely is not None]
    return hours < _SHORT_H or machine_hours[-1] > _WASTEFUL * min(machine_hours)


def _plan(request: Request, context: Context, field: Field, rejections: Rejections, evaluated: int) -> Plan:
    feasible, blocked, considered = field.ordered()
    count_blocked(request, blocked, rejections)
    shown, near = list(_distinct(feasible, request.limit)), list(_distinct(blocked, _NEAR))
    ruled_out = [_first_ruled_out(feasible, blocked, states) for states in (("non_compliant", "unknown"), ("unknown",))]
    built = _Builder(request, context, chain(shown, near), [*considered, *filter(None, ruled_out)])
    first = (feasible or blocked)[:1]
    return Plan(
        workload=request.workload,
        model=request.model,
        rank_by=request.rank_by,
        options=tuple(built.option(pair, also=True) for pair in shown),
        near=tuple(built.option(pair, also=True) for pair in near),
        rejected=rejections.counted(),
        # Nothing lengthens a window, and no other machine is held.
        relaxations=tuple(relaxations(request, feasible, blocked)) if request.held is None else (),
        assumptions=(*(first[0][6].fit.assumptions if first else ()), *request.assumptions),
        evaluated=evaluated,
        catalog_id=context.db.execute("SELECT value FROM meta WHERE key = 'catalog_id'").fetchone()[0],
        request=request.described,
        considered=tuple(built.option(pair) for pair in considered),
        without_rules=built.option(ruled_out[0]) if ruled_out[0] else None,
        if_settled=built.option(ruled_out[1]) if ruled_out[1] else None,
        reservation=None if request.held is None else request.held.reservation,
        warnings=tuple(context.warnings()),
    )


def _first_ruled_out(feasible: Sequence[Pair], blocked: Sequence[Pair], states: tuple[str, ...]) -> Pair | None:
    """The first pair that rules alone keep out, with one of those verdicts, if it would come before every answer."""
    first = next((p for p in blocked if p[8] == POLICY and p[7].judgement.state in states), None)
    return None if first is None or (feasible and feasible[0] < first) else first


def _distinct(pairs: Iterable[Pair], limit: int) -> Iterator[Pair]:
    """The best of each (seller, accelerator, market, region): a list of one thing in twelve sizes helps nobody."""
    seen: set[tuple[object, ...]] = set()

    def new(pair: Pair) -> bool:
        row = pair[7].rows[0]
        key = (row.provider, row.accelerator, row.market, row.term, row.region)
        return not (key in seen or seen.add(key))

    return islice(filter(new, pairs), limit)


class _Builder:
    """Makes options of pairs, with the offers of all of them loaded at once."""

    def __init__(self, request: Request, context: Context, shown: Iterable[Pair], others: Iterable[Pair]) -> None:
        self._request = request
        self._context = context
        wanted = {row.oid for pair in shown for row in pair[7].rows} | {pair[7].oid for pair in others}
        self._offers: dict[int, Offer] = load_offers(context.db, sorted(wanted))

    def option(self, pair: Pair, *, also: bool = False) -> Option:
        """The option of a pair; with `also`, the other places that sell the same at the same price."""
        _, _, hours, machines, _, _, shape, price_class, _ = pair
        context, offer = self._context, self._offers[price_class.oid]
        judgement = price_class.judgement
        held = self._request.held
        basis = shape.basis(self._request, price_class.transfer)
        lines = cost_lines(offer, basis) if held is None else held_lines(offer, basis, held.reservation.id)
        lines = (*lines, *_surcharges(judgement, lines[0]))
        return Option(
            offer=offer,
            also=tuple(self._offers[row.oid] for row in price_class.rows[1:]) if also else (),
            nodes=machines,
            fit=shape.fit,
            hours=hours,
            lines=lines,
            total=total_of(lines),
            blocked=tuple(against(self._request, pair)),
            verdict=judgement.state,
            rules=judgement.rules,
            asks=judgement.asks,
            energy=context.energy(offer, shape.hardware.accelerator, machines, hours) if context.energy else None,
            channel=context.channel(offer, machines) if context.channel else QUOTE_ONLY,
        )


def _surcharges(judgement: Judgement, compute: CostLine) -> Iterator[CostLine]:
    """What regimes add to the bill, each a line of its own."""
    amount = compute.amount
    for pack, share in judgement.surcharges:
        added = None if amount is None else share * amount
        yield CostLine(f"surcharge for {pack}", share, "share of compute", amount, added)
