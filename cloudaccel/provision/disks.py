"""What the disks of a run cost beside its machines: from their making until they are gone, also while nothing runs."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from cloudaccel.model.offer import HOURS_PER_MONTH
from cloudaccel.provision import money
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.values import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLine:
    """One disk: `size_gib` x `price_per_gib_month` x `hours` / 730 = `amount`; None where the size is not known here.

    `ended_at` None: it is there, and paid.
    """

    id: str
    size_gib: int | None
    hours: Decimal
    price_per_gib_month: Decimal
    amount: Decimal | None
    ended_at: datetime | None


def disk_lines(journal: Journal, run: Run, now: datetime, price_per_gib_month: Decimal) -> tuple[DiskLine, ...]:
    """Every disk that was seen of the run, at one estimated price; its size is the one that was asked for."""
    size = run.spec.options.disk_gib
    found: list[DiskLine] = []
    for disk in journal.resources(run.id):
        if disk.kind != "disk":
            continue
        spent = money.hours(max(((disk.gone_at or now) - disk.first_seen_at).total_seconds(), 0))
        amount = None if size is None else size * price_per_gib_month * spent / HOURS_PER_MONTH
        found.append(
            DiskLine(
                id=disk.id, size_gib=size, hours=spent, price_per_gib_month=price_per_gib_month, amount=amount,
                ended_at=disk.gone_at,
            )
        )  # fmt: skip
    return tuple(found)
