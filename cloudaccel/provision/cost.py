"""What a run has cost, from what was written at its launch: no later catalog changes it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from cloudaccel.provision import money
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.values import Run, Tracked


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One machine: `hours` x `price_per_hour` = `amount`; None when the price is unknown. `ended_at` None: it is."""

    id: str
    began_at: datetime
    ended_at: datetime | None
    hours: Decimal
    price_per_hour: Decimal | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of a run's machines until now; `total` None when any price is unknown. Disks and traffic are not in it."""

    run: Run
    lines: tuple[CostLine, ...]
    total: Decimal | None


def cost(journal: Journal, run: Run, now: datetime) -> Cost:
    """Every machine that the run ever had, attempts that failed included, at the price frozen for its place.

    A machine counts from when its call was first sent, which is before anybody saw it.
    """
    operations = journal.operations(run.id)
    prices = {o.token: run.spec.candidates[o.candidate].price_per_hour for o in operations}
    sent = {o.token: o.sent_at for o in operations}
    machines = [r for r in journal.resources(run.id) if r.kind == "machine"]
    lines = tuple(
        _line(r, sent.get(r.token or "") or r.first_seen_at, prices.get(r.token or "", run.price_per_hour), run, now)
        for r in machines
    )
    amounts = [line.amount for line in lines]
    total = None if any(a is None for a in amounts) else sum((a for a in amounts if a is not None), Decimal(0))
    return Cost(run=run, lines=lines, total=total)


def _line(tracked: Tracked, began: datetime, price: Decimal | None, run: Run, now: datetime) -> CostLine:
    end = tracked.gone_at or now
    if run.deadline_at is not None:
        end = min(end, run.deadline_at) if tracked.gone_at is None and run.state == "ready" else end
    spent = money.hours(max((end - began).total_seconds(), 0))
    return CostLine(
        id=tracked.id,
        began_at=began,
        ended_at=tracked.gone_at,
        hours=spent,
        price_per_hour=price,
        amount=None if price is None else price * spent,
    )
