"""What is for sale: an offer, its price, and where the price comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

HOURS_PER_MONTH = 730  # the convention of the AWS, Azure and Google Cloud calculators

MARKETS = ("on_demand", "spot", "reserved", "savings_plan", "capacity_block", "flex_start", "owned")
PRICE_STATUSES = ("exact", "estimated", "upper_bound", "unknown", "quarantined")
AVAILABILITIES = ("offered", "listed", "not_seen", "not_sold")
# What tells one offer from another: who sells what, where and how. Prices and dates are not part of it.
OFFER_KEY = (
    "provider", "partition", "region", "zone", "service", "instance", "accelerator_id", "accelerator_name", "market",
    "term", "payment", "offering_class", "currency",
)  # fmt: skip


class Source(NamedTuple):
    """Where a figure was read: a document's name, the path inside it, its revision, its licence."""

    id: str
    name: str
    path: str
    revision: str | None
    licence: str
    url: str | None


class PricePart(NamedTuple):
    """One named part of a price: `quantity` x `unit_price` = `amount`, per hour."""

    name: str
    quantity: Decimal
    unit_price: Decimal | None
    amount: Decimal | None
    sku: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Price per hour of the whole instance, tax excluded. `amount` None means unknown, never 0.

    Attributes
    ----------
    amount
        Per hour, in `currency`, with any upfront payment left out.
    upfront
        Paid once at the start of the term; None when the source does not say. For a capacity block, whose price is one
        fee, `amount` is that fee spread over the hours of the block: it is not to be added again.
    as_of, as_of_until
        ISO dates. The price was seen on `as_of`, or, when `as_of_until` is given, at some time between the two:
        its age counts from `as_of`. None only for rows that no source dates.
    """

    amount: Decimal | None
    currency: str
    status: str
    as_of: str | None
    as_of_until: str | None
    source: Source
    upfront: Decimal | None = None
    effective_at: str | None = None
    parts: tuple[PricePart, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if (self.amount is None) != (self.status in ("unknown", "quarantined")):
            raise ValueError(f"a price of status {self.status!r} cannot have amount {self.amount}")
        if self.amount is not None and self.amount <= 0:
            raise ValueError("a price must be above 0; an unknown price has no amount")


class Availability(NamedTuple):
    """What is known about getting it: `state` is one of `AVAILABILITIES`; `last_seen` an ISO date or None.

    ``offered``: a source says that it is sold there. ``listed``: only a price list names it. ``not_seen``: priced, but
    a source that lists what is sold there does not have it. ``not_sold``: priced, but not sold in this market.
    """

    state: str
    last_seen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One thing that can be had: instance type x place x market, with its price.

    Attributes
    ----------
    id
        16 hex digits from the key (who, where, what, how): the same over refreshes and machines.
    accelerator_id
        Row of the accelerator table; None when the table has no such row (see `accelerator_name`).
    accelerator_name
        What the source calls it.
    count
        Accelerators in one purchase, exact (1/6 of an A10 is ``Fraction(1, 6)``); None when no source says.
    accelerator_memory_gib
        Nominal memory of one accelerator, or of the share when `count` is below 1.
    hosts
        Machines in one purchase (a 64-chip TPU v5e slice has 16); None when unknown.
    sold_per
        ``instance``: the price is for the machine. ``accelerator``: the seller quotes one accelerator and does not
        name the machine; such a price is never multiplied into one.
    service
        ``vm``, ``bare-metal``, ``hosting``, ``serverless``, ``marketplace`` ...
    term
        ``1y``, ``3y`` or None; `payment` ``no_upfront``, ``partial_upfront``, ``all_upfront``, ``monthly`` or
        None; `offering_class` ``standard``, ``convertible``, ``compute``, ``ec2_instance``, ``sagemaker``,
        ``committed_use``, ``calendar``, ``community``, ``secure`` … or None.
    apart
        Why this row is never ranked first: names such as ``unknown_price`` (all of them in
        ``cloudaccel.catalog.schema.APART``); empty for a ranked row.
    """

    id: str
    provider: str
    partition: str
    region: str
    zone: str | None
    country: str | None
    operator_country: str | None
    service: str
    instance: str
    accelerator_id: str | None
    accelerator_name: str
    count: Fraction | None
    accelerator_memory_gib: float | None
    hosts: int | None
    sold_per: str
    vcpus: float | None
    memory_gib: float | None
    market: str
    term: str | None
    payment: str | None
    offering_class: str | None
    price: Price
    availability: Availability
    apart: tuple[str, ...] = ()

    @property
    def price_per_accelerator_hour(self) -> Decimal | None:
        """`price.amount` over `count`, in the price's currency; None when either is unknown."""
        if self.price.amount is None or not self.count:
            return None
        return self.price.amount * self.count.denominator / self.count.numerator

    @property
    def total_memory_gib(self) -> float | None:
        """Nominal accelerator memory of the whole offer; for a share, the share's memory."""
        if self.accelerator_memory_gib is None or self.count is None:
            return None
        return self.accelerator_memory_gib * max(1.0, float(self.count))


def offer_id(row: Mapping[str, str]) -> str:
    """16 hex digits from the columns of `OFFER_KEY`, an empty text for what does not apply."""
    import hashlib  # a quote reads ids and makes none

    key = "\x1f".join(row[field] for field in OFFER_KEY)
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def identified(offer: Offer) -> Offer:
    """`offer` with the id that follows from its key: how an adapter finishes an offer."""
    own = {field: getattr(offer, field) or "" for field in OFFER_KEY if field != "currency"}
    return replace(offer, id=offer_id({**own, "currency": offer.price.currency}))
