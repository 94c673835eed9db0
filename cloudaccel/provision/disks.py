"""What a run costs beside its machines: disks and static addresses, paid until they are gone, whatever runs."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from cloudaccel.model.offer import HOURS_PER_MONTH
from cloudaccel.provision import money
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.values import Run, Tracked


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressLine:
    """One static address, paid for `hours` at a price that no source has. `ended_at` None: it is there."""

    id: str
    hours: Decimal
    ended_at: datetime | None


def address_lines(journal: Journal, run: Run, now: datetime) -> tuple[AddressLine, ...]:
    """Every static address that was seen of the run."""
    found = [r for r in journal.resources(run.id) if r.kind == "address"]
    return tuple(AddressLine(id=r.id, hours=_hours(r, now), ended_at=r.gone_at) for r in found)


def disk_lines(journal: Journal, run: Run, now: datetime, price_per_gib_month: Decimal) -> tuple[DiskLine, ...]:
    """Every disk that was seen of the run, at one estimated price; its size is the one that was asked for."""
    size = run.spec.options.disk_gib
    found: list[DiskLine] = []
    for disk in journal.resources(run.id):
        if disk.kind != "disk":
            continue
        spent = _hours(disk, now)
        amount = None if size is None else size * price_per_gib_month * spent / HOURS_PER_MONTH
        found.append(
            DiskLine(
                id=disk.id, size_gib=size, hours=spent, price_per_gib_month=price_per_gib_month, amount=amount,
                ended_at=disk.gone_at,
            )
        )  # fmt: skip
    return tuple(found)


def _hours(tracked: Tracked, now: datetime) -> Decimal:
    return money.hours(max(((tracked.gone_at or now) - tracked.first_seen_at).total_seconds(), 0))
