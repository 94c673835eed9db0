"""What hardware is on offer: every shape that somebody sells, with its offers gathered into price classes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from cloudaccel.catalog.query import RankedRow, capacities, load_offers, not_planned_on, ranked_rows
from cloudaccel.facts.machines import network_gbit_per_s
from cloudaccel.model import Accelerator, AcceleratorTerm, Offer, Query, from_nano
from cloudaccel.model.plan import MOST_MACHINES, STARTABLE, Judgement
from cloudaccel.model.workload import Machine, Workload
from cloudaccel.planner.reasons import LEFT_OUT, POLICY, Rejections, policy_words
from cloudaccel.planner.request import Context, Request

CLASSES_PER_SHAPE = 8  # price classes of one shape, market and term that become options, the cheapest


NO_END = 1 << 62


class PriceClass:
    """Offers of one seller at one price, with one verdict: for a plan they differ only in where they are."""

    __slots__ = ("against", "amount", "judgement", "market", "most", "place", "rate", "rows", "term", "transfer")

    def __init__(self, row: RankedRow, judgement: Judgement, transfer: bool, most: int = NO_END) -> None:
        self.most = most  # machines that there are: of a commitment as many as were committed to
        self.rows = [row]
        self.judgement = judgement
        self.transfer = transfer  # whether the data has to be brought there
        self.against = 0 if judgement.allowed else POLICY
        self.amount = from_nano(row.amount) or Decimal(0)
        self.rate = self.amount * (1 + sum(share for _, share in judgement.surcharges))
        self.market = row.market
        self.term = row.term or None
        self.place = (row.provider, row.region, row.instance, row.zone)  # breaks ties between equal costs

    @property
    def oid(self) -> int:
        """Row number of the offer that stands for the class."""
        return self.rows[0].oid


@dataclass(frozen=True, slots=True)
class Hardware:
    """One machine shape on sale: the accelerator, how many, in what kind of machine, and who sells it at what price."""

    accelerator: Accelerator
    count: int
    machine: Machine
    classes: Sequence[PriceClass]
    offers: int  # behind the classes


def hardware_on_offer(request: Request, context: Context, rejections: Rejections) -> list[Hardware]:
    """Every hardware shape that somebody sells, with its price classes, cheapest for its peak first."""
    by_shape: dict[tuple[str, float, Machine], list[RankedRow]] = {}
    every, ends = _rows(request, context, rejections)
    verdicts = _verdicts(context, every)
    for row in every:
        shape = (
            row.accelerator,
            row.size,
            Machine(network_gbit_per_s(row.provider, row.instance), row.host_memory_gib),
        )
        if shape in by_shape:
            by_shape[shape].append(row)
        else:
            by_shape[shape] = [row]
    found: list[tuple[float, Hardware]] = []
    for (identity, size, machine), rows in by_shape.items():
        accelerator = context.accelerators[identity]
        _count_refused(rows, verdicts, rejections)
        classes = _price_classes(request, ends, rows, verdicts)
        if classes and size == int(size):
            peak = accelerator.peak_tflops_bf16_dense or accelerator.peak_tflops_fp16_dense or 1.0
            hardware = Hardware(accelerator, int(size), machine, classes, sum(len(c.rows) for c in classes))
            found.append((classes[0].rows[0].amount / (peak * size), hardware))
    found.sort(key=lambda pair: (pair[0], pair[1].accelerator.id, pair[1].count, pair[1].classes[0].place))
    return [hardware for _, hardware in found]


def _rows(request: Request, context: Context, rejections: Rejections) -> tuple[list[RankedRow], Mapping[int, int]]:
    """The rows that the query finds, and of how many machines there are at most, by row number.

    When only what can be started is wanted, or a quota is given: without those that it leaves out, which are counted.
    """
    ends = capacities(context.db)
    query = _query_of(request, context)
    rows = list(ranked_rows(context.db, query, context.accelerators))
    if request.held is not None:
        rows = [row for row in rows if row.oid == request.held.oid]
    else:
        _count_left_out(not_planned_on(context.db, query, context.accelerators), rejections)
    if not request.startable_only and context.most is None:
        return rows, ends
    offers = load_offers(context.db, (row.oid for row in rows))
    most: dict[int, int] = {}
    for oid, offer in offers.items():
        most[oid] = min(_most_startable(request, context, offer), ends.get(oid, NO_END))
        quota = None if context.most is None else context.most(offer)
        if quota is not None and most[oid]:
            most[oid] = min(most[oid], quota)
            if not quota:
                rejections.add("quota", "offer", f"{offer.provider} {offer.region} {offer.instance}", "not one machine")
    return [row for row in rows if most[row.oid]], {**ends, **most}


def _count_left_out(counts: tuple[int, int, int], rejections: Rejections) -> None:
    """Count the offers that no plan is made on: what a quote shows must not be missing here without a word."""
    words = (
        ("priced per accelerator", "no machine is named to plan on"),
        ("accelerator not known", "its seller does not say which form or memory it is, or no table has it"),
        ("last in quote", "no usable price, not seen for sale, on community hosts, or in another currency"),
    )
    for count, reason, (name, text) in zip(counts, LEFT_OUT, words, strict=True):
        if count:
            rejections.add(reason, "offer", name, text)
            rejections.more(reason, "offer", count - 1)


def _most_startable(request: Request, context: Context, offer: Offer) -> int:
    """How many machines of an offer one run can start, when only such are wanted."""
    channel = context.channel
    if not request.startable_only or channel is None:
        return NO_END
    return next((n for n in (MOST_MACHINES, 1) if channel(offer, n) == STARTABLE), 0)


def _query_of(request: Request, context: Context) -> Query:
    """The request's query; one that names no accelerator asks for everything that trains or serves models."""
    if request.query.terms:
        return request.query
    ids = tuple(a.id for a in context.accelerators.values() if a.kind in ("gpu", "tpu", "neuron", "hpu"))
    return replace(request.query, terms=(AcceleratorTerm(text="", accelerator_ids=ids),))


def _price_classes(
    request: Request, ends: Mapping[int, int], rows: list[RankedRow], verdicts: Mapping[int, Judgement]
) -> list[PriceClass]:
    by_place = request.rank_by == "carbon"  # the grid differs from region to region
    moved = request.workload.data_gb and request.workload.data_place
    classes: dict[tuple[object, ...], PriceClass] = {}
    rows.sort()
    for row in rows:
        judgement = verdicts.get(row.oid, _NOT_JUDGED)
        transfer = bool(moved) and _needs_transfer(request.workload, row.provider, row.region)
        key = (
            row.provider,
            row.amount,
            row.market,
            row.term,
            judgement.state,
            transfer,
            row.region if by_place else None,
            ends.get(row.oid, NO_END),
        )
        if key in classes:
            classes[key].rows.append(row)
        else:
            classes[key] = PriceClass(row, judgement, transfer, key[-1])
    return list(_cheapest(classes.values(), len(classes) if by_place else CLASSES_PER_SHAPE))


def _cheapest(classes: Iterable[PriceClass], most: int) -> Iterator[PriceClass]:
    """The cheapest that are allowed, and the first of each other verdict: what a rule costs is part of the answer.

    A price by the hour says who is cheaper only among those that pay the same beside it, and for the same term.
    """
    seen = Counter[tuple[object, ...]]()
    for c in classes:
        judgement = c.judgement
        kind = (c.market, c.term, c.transfer, judgement.surcharges, judgement.state if c.against else None, c.most)
        seen[kind] += 1
        if seen[kind] <= (1 if c.against else most):
            yield c


_NOT_JUDGED = Judgement()


def _verdicts(context: Context, rows: Sequence[RankedRow]) -> Mapping[int, Judgement]:
    """What the rules say of each row, by row number; empty when no rule was asked for."""
    if context.judge is None:
        return {}
    # Rules ask for the place, the market and the hardware, not for the price: one offer answers for all alike.
    alike: dict[tuple[object, ...], list[int]] = {}
    for row in rows:
        alike.setdefault(_judged_by(row), []).append(row.oid)
    offers = load_offers(context.db, (oids[0] for oids in alike.values()))
    judged = dict(zip(offers, context.judge(list(offers.values())), strict=True))
    return {oid: judged[oids[0]] for oids in alike.values() for oid in oids}


def _judged_by(row: RankedRow) -> tuple[object, ...]:
    """What tells two rows apart for a rule: all that a placement is made from."""
    return row.place, row.service, row.accelerator, row.accelerator_name, row.market, row.offering_class


def _count_refused(rows: Iterable[RankedRow], verdicts: Mapping[int, Judgement], rejections: Rejections) -> None:
    for row in rows if verdicts else ():
        judgement = verdicts[row.oid]
        if not judgement.allowed:
            rejections.add("policy", "offer", f"{row.provider} {row.region}", policy_words(judgement))


def _needs_transfer(workload: Workload, provider: str, region: str) -> bool:
    """Whether the data has to be brought in. Data without a place is taken to be where it is needed."""
    return workload.data_place not in (f"{provider}:{region}", provider)
