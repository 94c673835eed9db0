"""The planner: hardware shapes are sized once, then joined to the offers that sell them.

What fits and how long it takes depends on the shape (accelerator, how many, on how many machines) and not on who sells
it, so the costly question is asked once for each shape and the cheap one, the price, once for each offer.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal
from itertools import islice
from typing import Any

from cloudaccel.catalog.query import RankedRow, load_offers, ranked_rows
from cloudaccel.cost import CostBasis, cost_lines, total_of
from cloudaccel.model import Accelerator, AcceleratorTerm, Offer, Query
from cloudaccel.model.plan import Energy, Option, Plan, Rejected
from cloudaccel.model.workload import Assumption, Fit, ModelShape, Workload

Sizer = Callable[[Accelerator, int, int], Fit]
Judge = Callable[[Sequence[Offer]], Sequence[tuple[str | None, tuple[str, ...]]]]

# Machines of one shape that are tried. Real clusters are sold in these steps; the last is 16,384 accelerators of eight.
NODE_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
CLASSES_PER_SHAPE = 8  # price classes of one shape that become options, the cheapest
_SECONDS_PER_HOUR = 3600
_SHORT_H = 0.25  # below this, start-up is longer than the run, and more machines are only more start-ups
_WASTEFUL = 1.5  # machine-hours over the least seen: scaling has broken down
_FAR_DEARER = 3  # times the cheapest answer so far: no table shows it, and no limit but a deadline asks for it
_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the planner is asked.

    Attributes
    ----------
    query
        Filters over the catalog; its terms narrow the hardware (none: everything that trains or serves).
    max_nodes
        Most machines to consider.
    rank_by
        ``cost``, ``time`` or ``carbon``.
    setup_h
        Hours of start, load and saving that are paid beside the run.
    startable_only
        Leave out what no provider package can start.
    """

    workload: Workload
    model: ModelShape
    query: Query
    rank_by: str = "cost"
    max_nodes: int = NODE_STEPS[-1]
    setup_h: Decimal = Decimal("0.75")
    disk_price: Decimal = Decimal("0.08")
    transfer_price: Decimal = Decimal("0.09")
    limit: int = 10
    startable_only: bool = False
    assumptions: tuple[Assumption, ...] = ()
    described: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Context:
    """What the planner asks others: the catalog, the sizing, the rules, and whether a provider can start machines."""

    def __init__(
        self,
        db: sqlite3.Connection,
        accelerators: Mapping[str, Accelerator],
        size: Sizer,
        judge: Judge | None = None,
        startable: Callable[[Offer], bool] | None = None,
        energy: Callable[[Offer, Accelerator, int, Decimal], Energy | None] | None = None,
    ) -> None:
        self.db = db
        self.accelerators = accelerators
        self.size = size
        self.judge = judge
        self.startable = startable
        self.energy = energy


def make_plan(request: Request, context: Context) -> Plan:
    """The plan for one workload over one catalog. Infeasible is an answer: no options, and the reasons counted."""
    rejections = _Rejections()
    options: list[Option] = []
    cheapest: Decimal | None = None
    evaluated = 0
    for accelerator, count, classes in _hardware_on_offer(request, context, rejections):
        for nodes, fit in _node_counts(request, context, accelerator, count, rejections):
            evaluated += sum(len(c.rows) for c in classes)
            found = list(_options(request, context, accelerator, nodes, fit, classes))
            options.extend(found)
            for option in found:
                if not option.blocked and option.total is not None and (cheapest is None or option.total < cheapest):
                    cheapest = option.total
            if _overpriced(found, cheapest):
                break
    return _plan(request, context, options, rejections, evaluated)


def _overpriced(found: Sequence[Option], cheapest: Decimal | None) -> bool:
    """Whether even the first of `found`, which meets the deadline, costs so much that more machines are no option."""
    if cheapest is None or not found or any(reason == "deadline" for reason, _ in found[0].blocked):
        return False
    total = found[0].total
    return total is not None and total > _FAR_DEARER * cheapest


class _PriceClass:
    """Offers of one seller at one price, with one verdict: for a plan they differ only in where they are."""

    def __init__(self, rows: list[RankedRow], verdict: str | None, rules: tuple[str, ...], transfer: bool) -> None:
        self.rows = rows
        self.verdict = verdict
        self.rules = rules
        self.transfer = transfer
        self.offer: Offer  # of the first row, set when it is known which classes are looked at

    @property
    def allowed(self) -> bool:
        return self.verdict not in ("non_compliant", "unknown")


def _hardware_on_offer(
    request: Request, context: Context, rejections: "_Rejections"
) -> list[tuple[Accelerator, int, list[_PriceClass]]]:
    """Every hardware shape that somebody sells, with its price classes, cheapest for its peak first."""
    by_shape: dict[tuple[str, float], list[RankedRow]] = {}
    for row in _rows(request, context):
        by_shape.setdefault((row.accelerator, row.size), []).append(row)
    shapes: list[tuple[float, Accelerator, int, list[_PriceClass]]] = []
    for (identity, size), rows in by_shape.items():
        accelerator = context.accelerators[identity]
        classes = _price_classes(request, context, rows, rejections)
        if classes and size == int(size):
            peak = accelerator.peak_tflops_bf16_dense or accelerator.peak_tflops_fp16_dense or 1.0
            shapes.append((classes[0].rows[0].amount / (peak * size), accelerator, int(size), classes))
    shapes.sort(key=lambda shape: (shape[0], shape[1].id, shape[2]))
    offers = load_offers(context.db, (c.rows[0].oid for *_, classes in shapes for c in classes))
    for *_, classes in shapes:
        for price_class in classes:
            price_class.offer = offers[price_class.rows[0].oid]
    return [(accelerator, count, classes) for _, accelerator, count, classes in shapes]


def _rows(request: Request, context: Context) -> list[RankedRow]:
    """The rows that the query finds, without those that cannot be started when only such are wanted."""
    rows = list(ranked_rows(context.db, _query_of(request, context), context.accelerators))
    startable = context.startable
    if not request.startable_only or startable is None:
        return rows
    offers = load_offers(context.db, (row.oid for row in rows))
    return [row for row in rows if startable(offers[row.oid])]


def _query_of(request: Request, context: Context) -> Query:
    """The request's query; one that names no accelerator asks for everything that trains or serves models."""
    if request.query.terms:
        return request.query
    ids = tuple(a.id for a in context.accelerators.values() if a.kind in ("gpu", "tpu", "neuron", "hpu"))
    return replace(request.query, terms=(AcceleratorTerm(text="", accelerator_ids=ids),))


def _price_classes(
    request: Request, context: Context, rows: Sequence[RankedRow], rejections: "_Rejections"
) -> list[_PriceClass]:
    verdicts = _verdicts(context, rows, rejections)
    classes: dict[tuple[object, ...], _PriceClass] = {}
    for row in sorted(rows, key=lambda row: (row.amount, row.provider, row.region, row.instance, row.zone or "")):
        state, rules = verdicts.get(row.oid, (None, ()))
        transfer = _needs_transfer(request.workload, row.provider, row.region)
        place = row.region if request.rank_by == "carbon" else None
        key = (row.provider, row.amount, row.market, row.term, state, transfer, place)
        if key in classes:
            classes[key].rows.append(row)
        else:
            classes[key] = _PriceClass([row], state, rules, transfer)
    # The cheapest that are allowed, and the cheapest of the others: what a rule costs is part of the answer.
    ordered = list(classes.values())
    most = len(ordered) if request.rank_by == "carbon" else CLASSES_PER_SHAPE
    forbidden = [c for c in ordered if not c.allowed]
    return [c for c in ordered if c.allowed][:most] + forbidden[:1]


def _verdicts(
    context: Context, rows: Sequence[RankedRow], rejections: "_Rejections"
) -> dict[int, tuple[str | None, tuple[str, ...]]]:
    """What the rules say of each row, by row number; empty when no rule was asked for."""
    if context.judge is None:
        return {}
    offers = load_offers(context.db, (row.oid for row in rows))
    verdicts = dict(zip(offers, context.judge(list(offers.values())), strict=True))
    for oid, (state, rules) in verdicts.items():
        if state in ("non_compliant", "unknown"):
            name = f"{offers[oid].provider} {offers[oid].region}"
            rejections.add("policy", "offer", name, _policy_words(state, rules))
    return verdicts


def _policy_words(state: str, rules: Sequence[str]) -> str:
    return f"{state.replace('_', ' ')}: {', '.join(rules) or 'no rule named'}"


def _node_counts(
    request: Request, context: Context, accelerator: Accelerator, count: int, rejections: "_Rejections"
) -> Iterator[tuple[int, Fit]]:
    """Numbers of machines that fit, from the fewest up, until more of them only cost more and the deadline is met.

    Where the walk ends does not depend on the deadline unless it is still missed: a tighter limit then only ever adds
    dearer sizes, and can never find a cheaper plan that a looser one overlooked.
    """
    asked = [t.nodes for t in request.query.terms if t.nodes > 1 and accelerator.id in t.accelerator_ids]
    steps = asked or [n for n in NODE_STEPS if n <= request.max_nodes]
    fits: list[tuple[int, Fit]] = []
    refused: Fit | None = None
    for nodes in steps:
        fit = context.size(accelerator, count, nodes)
        if fit.verdict != "no":
            fits.append((nodes, fit))
            yield nodes, fit
            if _enough(request, fits):
                break
        else:
            refused = refused or fit
            if fits or _hopeless(fit):
                break
    if not fits and refused is not None and refused.reasons:
        reason = refused.reasons[0]
        rejections.add(reason.code, "hardware shape", f"{accelerator.family}:{count}", reason.text)


# Reasons that more machines do not cure.
_HOPELESS = frozenset(
    {"portability", "unsupported", "feature", "arch_unsupported", "no_peak", "speed_unknown", "cores", "licence"}
)


def _hopeless(fit: Fit) -> bool:
    return bool(fit.reasons) and fit.reasons[0].code in _HOPELESS


def _enough(request: Request, fits: Sequence[tuple[int, Fit]]) -> bool:
    hours = fits[-1][1].hours_likely
    if hours is None:
        return True
    deadline_s = request.workload.deadline_s
    if deadline_s is not None and (hours + float(request.setup_h)) * _SECONDS_PER_HOUR > deadline_s:
        return False
    machine_hours = [n * fit.hours_likely for n, fit in fits if fit.hours_likely is not None]
    return hours < _SHORT_H or machine_hours[-1] > _WASTEFUL * min(machine_hours)


def _options(
    request: Request,
    context: Context,
    accelerator: Accelerator,
    nodes: int,
    fit: Fit,
    classes: Sequence[_PriceClass],
) -> Iterator[Option]:
    machines, hours = _machines_and_hours(request, fit, nodes, classes[0].offer)
    if hours is None:
        return
    bases = {transfer: _basis(request, hours, machines, transfer) for transfer in {c.transfer for c in classes}}
    late = _late(request.workload, hours)
    for c in classes:
        lines = cost_lines(c.offer, bases[c.transfer])
        total = total_of(lines)
        yield Option(
            offer=c.offer,
            same_price=tuple(row.oid for row in c.rows[1:]),
            nodes=machines,
            fit=fit,
            hours=hours,
            lines=lines,
            total=total,
            blocked=(*_policy(c), *late, *_over_budget(request.workload, total)),
            verdict=c.verdict,
            rules=c.rules,
            energy=context.energy(c.offer, accelerator, machines, hours) if context.energy else None,
            startable=context.startable is not None and context.startable(c.offer),
        )


def _basis(request: Request, hours: Decimal, machines: int, transfer: bool) -> CostBasis:
    return CostBasis(
        hours=hours,
        nodes=machines,
        disk_gb=_decimal(request.workload.disk_gb),
        disk_price=request.disk_price,
        transfer_gb=_decimal(request.workload.data_gb) if transfer else None,
        transfer_price=request.transfer_price,
    )


def _machines_and_hours(request: Request, fit: Fit, nodes: int, offer: Offer) -> tuple[int, Decimal | None]:
    if request.workload.serve is not None:
        on = Decimal(str(request.workload.serve.hours_on_per_month))
        replicas = fit.serving.replicas if fit.serving and fit.serving.replicas else 1
        if fit.serving is None:
            return nodes, on
        per_machine = max(1, int(offer.count or 1) // fit.serving.accelerators_per_replica)
        return max(nodes, -(-replicas // per_machine) if nodes == 1 else replicas * nodes), on
    if fit.hours_likely is None:
        return nodes, None
    # Upwards, in ten-thousandths: finer than any estimate, exact to multiply, and never cheaper for being cut in two.
    hours = (Decimal(str(fit.hours_likely)) + request.setup_h).quantize(Decimal("0.0001"), rounding=ROUND_CEILING)
    return nodes, hours


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _needs_transfer(workload: Workload, provider: str, region: str) -> bool:
    """Whether the data has to be brought in. Data without a place is taken to be where it is needed."""
    if not workload.data_gb or not workload.data_place:
        return False
    return workload.data_place not in (f"{provider}:{region}", provider)


def _plan(request: Request, context: Context, options: list[Option], rejections: "_Rejections", evaluated: int) -> Plan:
    key = RANKS[request.rank_by]
    feasible = sorted((o for o in options if not o.blocked), key=key)
    blocked = sorted((o for o in options if o.blocked), key=lambda o: (len(o.blocked), key(o)))
    for option in blocked:
        reason, text = option.blocked[0]
        if reason != "policy":  # those were counted by offer
            rejections.add(reason, "option", _name(option), text)
    return Plan(
        workload=request.workload,
        model=request.model,
        rank_by=request.rank_by,
        options=_shown(context, _distinct(feasible), request.limit),
        near=_shown(context, _distinct(blocked), 5),
        rejected=rejections.counted(),
        relaxations=tuple(_relaxations(request, feasible, blocked)),
        assumptions=_assumptions(request, feasible or blocked),
        evaluated=evaluated,
        catalog_id=context.db.execute("SELECT value FROM meta WHERE key = 'catalog_id'").fetchone()[0],
        request=request.described,
        considered=tuple(_best_of_each(sorted(options, key=key))),
    )


def _best_of_each(ordered: Sequence[Option]) -> Iterator[Option]:
    """The first of each (shape, machines, judgement, place of the data): enough to prove that no other comes before."""
    seen: set[tuple[object, ...]] = set()
    for option in ordered:
        reasons = tuple(reason for reason, _ in option.blocked)
        shape = (option.offer.accelerator_id, option.offer.count, option.nodes, reasons, len(option.lines))
        if shape not in seen:
            seen.add(shape)
            yield option


# What is against an option, in the order in which it is said: a rule, the deadline, the budget.


def _policy(price_class: _PriceClass) -> Iterator[tuple[str, str]]:
    if price_class.verdict in ("non_compliant", "unknown"):
        yield "policy", _policy_words(price_class.verdict, price_class.rules)


def _late(workload: Workload, hours: Decimal) -> tuple[tuple[str, str], ...]:
    if workload.deadline_s is None or workload.serve is not None:
        return ()
    late = hours - Decimal(str(workload.deadline_s)) / _SECONDS_PER_HOUR
    return (("deadline", f"misses the deadline by {duration(late)}"),) if late > 0 else ()


def _over_budget(workload: Workload, total: Decimal | None) -> Iterator[tuple[str, str]]:
    if workload.budget is None:
        return
    if total is None:
        yield "budget", "cost unknown, so no budget can be kept"
    elif total > workload.budget:
        yield "budget", f"over budget by {total - workload.budget:,.2f} {workload.budget_currency}"


def duration(hours: Decimal) -> str:
    """Hours as people say them: ``7 min``, ``9.2 h``, ``21 d``."""
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 100 else f"{hours / 24:.1f} d"


def _cost_key(option: Option) -> tuple[object, ...]:
    o = option.offer
    return (
        option.total is None,
        option.total or 0,
        option.hours,
        o.provider,
        o.region,
        o.instance,
        o.zone or "",
        option.nodes,
    )


def _time_key(option: Option) -> tuple[object, ...]:
    return (option.hours, _cost_key(option))


def _carbon_key(option: Option) -> tuple[object, ...]:
    return (option.carbon_kg is None, option.carbon_kg or 0, _cost_key(option))


RANKS: Mapping[str, Callable[[Option], tuple[object, ...]]] = {
    "cost": _cost_key,
    "time": _time_key,
    "carbon": _carbon_key,
}


def _distinct(options: Sequence[Option]) -> Iterator[Option]:
    """The best of each (seller, accelerator, market, machines): a list of one thing in twelve sizes helps nobody."""
    seen: set[tuple[object, ...]] = set()
    for option in options:
        offer = option.offer
        key = (offer.provider, offer.accelerator_id, offer.market, offer.term, offer.region)
        if key not in seen:
            seen.add(key)
            yield option


def _shown(context: Context, options: Iterator[Option], limit: int) -> tuple[Option, ...]:
    """The first options, with the other places that sell the same at the same price."""
    shown = tuple(islice(options, limit))
    others = load_offers(context.db, {oid for option in shown for oid in option.same_price})
    return tuple(
        replace(option, also=tuple(others[oid] for oid in option.same_price), same_price=()) for option in shown
    )


def _name(option: Option) -> str:
    offer = option.offer
    return f"{offer.provider} {offer.region} {offer.instance}" + (f" ×{option.nodes}" if option.nodes > 1 else "")


def _relaxations(request: Request, feasible: Sequence[Option], blocked: Sequence[Option]) -> Iterator[str]:
    """The nearest change of one limit that gives an answer, or a cheaper one."""
    best = feasible[0].total if feasible else None
    for reason in ("budget", "deadline", "policy"):
        single = [o for o in blocked if [b[0] for b in o.blocked] == [reason] and o.total is not None]
        if not single:
            continue
        nearest = min(single, key=lambda o: o.hours if reason == "deadline" else o.total or 0)
        if best is not None and (nearest.total is None or nearest.total >= best):
            continue
        change = _relaxed(request.workload, nearest, reason)
        cost = f"{nearest.total:,.2f} {nearest.offer.price.currency}"
        yield f"{change}: {_name(nearest)} for {cost} in {duration(nearest.hours)}"


def _relaxed(workload: Workload, option: Option, reason: str) -> str:
    if reason == "budget" and workload.budget is not None and option.total is not None:
        return f"+{option.total - workload.budget:,.2f} {workload.budget_currency} of budget"
    if reason == "deadline" and workload.deadline_s is not None:
        return f"+{duration(option.hours - Decimal(str(workload.deadline_s)) / _SECONDS_PER_HOUR)} of time"
    return f"if {option.blocked[0][1]} were settled"


def _assumptions(request: Request, options: Sequence[Option]) -> tuple[Assumption, ...]:
    sizing = options[0].fit.assumptions if options else ()
    return (*sizing, *request.assumptions)


class _Rejections:
    """Reasons with the number of hardware shapes, offers or options that each turned away: one unit to a count."""

    def __init__(self) -> None:
        self._examples: dict[tuple[str, str], list[str]] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, reason: str, unit: str, name: str, text: str) -> None:
        key = (reason, unit)
        self._counts[key] = self._counts.get(key, 0) + 1
        examples = self._examples.setdefault(key, [])
        if len(examples) < _EXAMPLES:
            examples.append(f"{name} ({text})")

    def counted(self) -> tuple[Rejected, ...]:
        ordered = sorted(self._counts.items(), key=lambda item: -item[1])
        return tuple(Rejected(key[0], count, tuple(self._examples[key]), key[1]) for key, count in ordered)
