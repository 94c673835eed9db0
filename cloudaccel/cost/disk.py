"""What a disk costs beside its machine: from its making until it is gone, also while the machine is stopped."""

from dataclasses import dataclass, replace
from decimal import Decimal

from cloudaccel import units
from cloudaccel.cost.lines import CURRENCY, DISK_PRICE
from cloudaccel.errors import QueryError
from cloudaccel.model import HOURS_PER_MONTH

_LARGEST_GB = 1_000_000  # a petabyte; beyond that a typing mistake is likelier


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk of `size_gb` (decimal) at an estimated price in USD per GB and month of 730 hours."""

    size_gb: Decimal
    price_per_gb_month: Decimal

    @property
    def price_per_month(self) -> Decimal:
        """In USD, whether the machine runs or not."""
        return self.size_gb * self.price_per_gb_month

    @property
    def price_per_hour(self) -> Decimal:
        """In USD."""
        return self.price_per_month / HOURS_PER_MONTH

    def of(self, machines: int) -> "Disk":
        """The disks of so many machines, each with its own, as one of their size together."""
        return replace(self, size_gb=self.size_gb * machines)

    @property
    def currency(self) -> str:
        """Of both."""
        return CURRENCY


def disk_of(text: str) -> Disk:
    """The disk of a size in words (``500GB``, ``500GiB``). Raises `QueryError` when it is none."""
    size, binary = units.parse_size(text, "--disk")
    size_gb = Decimal(str(size)) * (Decimal(2**30) / 10**9 if binary else 1)
    if not 0 < size_gb <= _LARGEST_GB:
        raise QueryError(f"--disk {text}: a disk has more than 0 GB, and at most {_LARGEST_GB} GB.")
    return Disk(size_gb=size_gb, price_per_gb_month=Decimal(str(DISK_PRICE.value)))
