"""The lines of a bill for one run of one offer."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from cloudaccel.model import HOURS_PER_MONTH, Offer
from cloudaccel.model.plan import CostLine
from cloudaccel.model.workload import Assumption

# Prices of what goes with a machine, where the catalog has none. Each can be set by its flag.
DISK_PRICE = Assumption(
    "disk_price_per_gb_month", "0.08", "USD per GB and month",
    "list price of general-purpose SSD volumes as quoted in skypilot-org/skypilot#1644; no price list loaded",
    "2026-11-25", "--disk-price",
)  # fmt: skip
TRANSFER_PRICE = Assumption(
    "transfer_price_per_gb", "0.09", "USD per GB",
    "list price of egress to the internet as quoted in pangeo-data/pangeo#628; no price list loaded",
    "2026-11-25", "--transfer-price",
)  # fmt: skip
SETUP_HOURS = Assumption(
    "setup_h", "0.75", "h", "estimate for start, load, warm-up and saving; nobody measured it", "2026-11-25", "--setup"
)
DEFAULTS = (DISK_PRICE, TRANSFER_PRICE, SETUP_HOURS)
CURRENCY = "USD"  # of every sum: offers in another currency are ranked only with a rate, and none is loaded
_TERM_HOURS = {"y": 8760, "m": HOURS_PER_MONTH, "d": 24, "h": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBasis:
    """What the bill is for. Prices are in USD, sizes in decimal GB; None leaves the line out.

    `disk_gb` is of each machine: whoever starts several gives each its disk.
    """

    hours: Decimal
    nodes: int
    disk_gb: Decimal | None = None
    disk_price: Decimal = Decimal(str(DISK_PRICE.value))
    transfer_gb: Decimal | None = None
    transfer_price: Decimal = Decimal(str(TRANSFER_PRICE.value))


def cost_lines(offer: Offer, basis: CostBasis) -> tuple[CostLine, ...]:
    """Compute, disk and transfer of one run.

    A commitment is paid in whole terms: a run of a day on a one-year reservation costs the year, and one of 13 months
    two. So is a capacity block.
    """
    quantity = machine_hours(offer.term, basis)
    compute = _line(f"{basis.nodes} × {offer.instance}", quantity, "machine-hours", offer.price.amount)
    return (compute, *lines_beside(basis))


def held_lines(offer: Offer, basis: CostBasis, reservation_id: str) -> tuple[CostLine, ...]:
    """The same on machines of a reservation, which is paid, used or not: their hours cost nothing more."""
    name = f"{basis.nodes} × {offer.instance} held in {reservation_id}"
    return (_line(name, basis.hours * basis.nodes, "machine-hours", Decimal(0)), *lines_beside(basis))


def lines_beside(basis: CostBasis) -> tuple[CostLine, ...]:
    """Disk and transfer: what is paid beside the machines, whoever sells them."""
    lines: list[CostLine] = []
    if basis.disk_gb:
        # Rounded where nobody can see it, so that the factors that are printed multiply to the amount that is printed.
        gb_months = basis.disk_gb * basis.nodes * basis.hours / HOURS_PER_MONTH
        name = "disk" if basis.nodes == 1 else f"disks of {basis.nodes} machines"
        quantity = gb_months.quantize(Decimal("0.0001"), rounding=ROUND_CEILING)
        lines.append(_line(name, quantity, "GB-months", basis.disk_price))
    if basis.transfer_gb:
        lines.append(_line("data transfer", basis.transfer_gb, "GB", basis.transfer_price))
    return tuple(lines)


def machine_hours(term: str | None, basis: CostBasis) -> Decimal:
    """Hours that are paid, times machines."""
    return _paid_hours(term, basis.hours) * basis.nodes


def total_of(lines: Sequence[CostLine]) -> Decimal | None:
    """The sum of the lines; None as soon as one is unknown."""
    amounts = [line.amount for line in lines]
    return None if None in amounts else sum((a for a in amounts if a is not None), Decimal(0))


def _line(name: str, quantity: Decimal, unit: str, unit_price: Decimal | None) -> CostLine:
    return CostLine(name, quantity, unit, unit_price, None if unit_price is None else quantity * unit_price)


def term_hours(term: str) -> Decimal:
    """Hours of a commitment's term, such as ``1y`` or ``6m``."""
    return Decimal(int(term[:-1]) * _TERM_HOURS[term[-1]])


def _paid_hours(term: str | None, hours: Decimal) -> Decimal:
    if term is None:
        return hours
    whole = term_hours(term)
    return (hours / whole).to_integral_value(rounding=ROUND_CEILING) * whole
