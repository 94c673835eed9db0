"""Disks and static addresses in ``provision cost``: apart from the machines, whose price is known."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from cloudaccel.cost.lines import DISK_PRICE
from cloudaccel.output.runs import moment
from cloudaccel.provision import money
from cloudaccel.provision.disks import AddressLine, DiskLine


def text(disks: Mapping[str, Sequence[DiskLine]], price: Decimal, estimated: bool) -> str:
    """One line a disk, and the sum of those whose size is known; nothing when no disk was ever seen."""
    lines = [(run, line) for run, of_run in disks.items() for line in of_run]
    if not lines:
        return ""
    source = f"estimated: {DISK_PRICE.source}, {DISK_PRICE.as_of}" if estimated else "yours"
    found = [f"Disks, paid until they are gone, also while nothing runs; {price} USD per GiB and month ({source})"]
    for run, line in lines:
        size = "size not known" if line.size_gib is None else f"{line.size_gib} GiB"
        ended = "" if line.ended_at else "  (is there)"
        amount = money.amount(line.amount)
        found.append(f"  {run}  {line.id:<22} {line.hours:>10.4f} h × {size:>14} = {amount:>10}{ended}")
    known = [line.amount for _, line in lines if line.amount is not None]
    missing = len(lines) - len(known)
    tail = f"  ({missing} of unknown size not in it: only what --disk asked for is known)" if missing else ""
    return "\n".join(found) + f"\n  {'total':<10}{'':>42} {money.amount(sum(known, Decimal(0))):>14}{tail}\n"


def addresses_text(addresses: Mapping[str, Sequence[AddressLine]]) -> str:
    """One line an address; nothing when none was ever seen."""
    lines = [(run, line) for run, of_run in addresses.items() for line in of_run]
    if not lines:
        return ""
    found = ["Static addresses, paid until they are released, also while nothing runs; price not known, in no sum"]
    for run, line in lines:
        ended = "" if line.ended_at else "  (is there)"
        found.append(f"  {run}  {line.id:<22} {line.hours:>10.4f} h × {'price':>14} = {'not known':>10}{ended}")
    return "\n".join(found) + "\n"


def addresses_json(lines: Sequence[AddressLine]) -> list[dict[str, Any]]:
    """Addresses of one run as plain JSON values; `price_per_hour` and `amount` are null, since no source has them."""
    return [
        {
            "address": line.id,
            "hours": str(round(line.hours, 6)),
            "price_per_hour": None,
            "amount": None,
            "ended_at": moment(line.ended_at),
        }
        for line in lines
    ]


def to_json(lines: Sequence[DiskLine]) -> list[dict[str, Any]]:
    """Disks of one run as plain JSON values."""
    return [
        {
            "disk": line.id,
            "size_gib": line.size_gib,
            "hours": str(round(line.hours, 6)),
            "price_per_gib_month": str(line.price_per_gib_month),
            "amount": None if line.amount is None else str(round(line.amount, 6)),
            "ended_at": None if line.ended_at is None else line.ended_at.isoformat().replace("+00:00", "Z"),
        }
        for line in lines
    ]
