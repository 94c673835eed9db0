"""What is asked: accelerator terms and filters, and the answer with what was hidden and why."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from cloudaccel.model.offer import Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorTerm:
    """One term of an accelerator expression, resolved: any of `accelerator_ids`, that many, on that many nodes.

    Attributes
    ----------
    text
        The term as it was typed.
    accelerator_ids
        Rows of the accelerator table that satisfy it, in table order.
    count
        Accelerators per node (exact rational); None when any whole count will do.
    at_least
        True for ``H100:8+``: `count` or more.
    nodes
        Machines of that shape, 1 or more.
    min_memory_gib, min_reported_memory_gib
        From ``80GB+`` (nominal memory) and ``80GiB+`` (memory that the driver reports).
    instance
        Instance type when a vendor's machine name was typed (``trn2.48xlarge``); it then narrows the offers.
    canonical
        The term in one spelling, for messages: ``H100-SXM:8x2``, ``TPUv5p:4``.
    note
        One sentence on how the name was read, empty when it is plain.
    rank
        0 for terms that are equal; rises along ``A>B``.
    """

    text: str
    accelerator_ids: tuple[str, ...]
    count: Fraction | None = None
    at_least: bool = False
    nodes: int = 1
    min_memory_gib: float | None = None
    min_reported_memory_gib: float | None = None
    instance: str | None = None
    canonical: str = ""
    note: str = ""
    rank: int = 0


class PlaceZone(NamedTuple):
    """A zone that is asked for by its own name.

    `region` is that of (`provider`, region) whose prices hold in the zone too; empty where the zone has only its own.
    """

    name: str
    provider: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """Filters over the catalog. Empty means no filter; every filter only ever removes rows.

    Memory is nominal GB as in ``--min-mem``; `max_price` is per accelerator-hour, `max_hourly` per whole request and
    hour, both in `currency`. `markets` are pairs of market and commitment term (None: any term). `countries` is a
    resolved set of ISO codes (None: no place filter).
    """

    terms: tuple[AcceleratorTerm, ...] = ()
    providers: frozenset[tuple[str, str]] = frozenset()  # (provider, partition)
    regions: frozenset[str] = frozenset()
    zones: frozenset[PlaceZone] = frozenset()  # beside the regions: a place is in one of them or the other
    countries: frozenset[str] | None = None
    place_text: str = ""  # what the caller named, for messages: EU
    markets: tuple[tuple[str, str | None], ...] = (("on_demand", None),)
    kinds: frozenset[str] = frozenset()
    instance: str | None = None
    min_mem_gb: float | None = None
    min_total_mem_gb: float | None = None
    min_host_mem_gb: float | None = None
    min_vcpus: float | None = None
    interconnect: str | None = None
    max_price: Decimal | None = None
    max_hourly: Decimal | None = None
    max_age_days: float | None = None
    require_available: bool = False
    allow_fraction: bool = False
    without: frozenset[str] = frozenset()  # ids of offers that an overlay replaces
    currency: str = "USD"
    sort: str = "price"
    limit: int | None = 20


class Hidden(NamedTuple):
    """How many rows one filter hid. `reason` is a stable code, `text` the words for people."""

    reason: str
    rows: int
    text: str


class QueryResult(NamedTuple):
    """Offers in rank order (`apart` rows last), the number that matched, and what was hidden, by reason."""

    offers: tuple[Offer, ...]
    total: int
    hidden: tuple[Hidden, ...]
    catalog_id: str
