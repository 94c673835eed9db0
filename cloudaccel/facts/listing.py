"""From a seller's price list to offers: what every adapter must do the same way.

Reading a page with bounded memory, reading an amount of money, and making an offer whose identity is the catalog's.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from cloudaccel.errors import MalformedResponse
from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.places import country_of, region
from cloudaccel.model import Availability, Offer, Price, PricePart, Source

# The largest page seen is Google's, 5,000 SKUs in about 8 MB; a page above this is not a price list.
MAX_PAGE_BYTES = 32 * 1024 * 1024
# No machine on any list costs as much: the dearest row of the 2026-06 snapshot is 216 USD per hour.
MAX_PER_HOUR = Decimal(100_000)
# An amount is kept to the nano-unit, the finest unit that any list uses.
NANO_UNIT = Decimal("1e-9")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a machine holds. `accelerator_id` None: no table names it; `count` None: nobody says how many."""

    instance: str
    accelerator_id: str | None
    accelerator_name: str
    count: Fraction | None
    accelerator_memory_gib: float | None = None
    vcpus: float | None = None
    memory_gib: float | None = None
    sold_per: str = "instance"
    hosts: int | None = 1
    service: str = "vm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which conditions it is sold; words of `Offer.market`, `term`, `payment` and `offering_class`."""

    market: str = "on_demand"
    term: str | None = None
    payment: str | None = None
    offering_class: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and by whom it is sold."""

    provider: str
    partition: str
    region: str
    zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One price as a list states it. `amount` None: the list names it without a price; `note` then says why."""

    amount: Decimal | None
    currency: str
    observed_at: datetime
    source: Source
    effective_at: str | None = None
    parts: tuple[PricePart, ...] = ()
    note: str = ""


def decode(body: bytes, *, provider: str, operation: str) -> Mapping[str, object]:
    """The JSON object in `body`, numbers as `int` and `Decimal`.

    Raises
    ------
    MalformedResponse
        If the page is larger than `MAX_PAGE_BYTES`, is not one JSON object in UTF-8, nests too deep, or holds NaN.
    """
    if len(body) > MAX_PAGE_BYTES:
        raise malformed(provider, operation, f"a page of {len(body)} bytes, the most is {MAX_PAGE_BYTES}")
    try:
        found: object = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
    except RecursionError:
        raise malformed(provider, operation, "the JSON nests too deep") from None
    except (ValueError, InvalidOperation) as error:
        raise malformed(provider, operation, f"no JSON price list ({str(error)[:80]})") from None
    return mapping(found, provider=provider, operation=operation, what="the page")


def mapping(value: object, *, provider: str, operation: str, what: str) -> Mapping[str, object]:
    """`value` as a JSON object. Raises `MalformedResponse` naming `what`."""
    if not isinstance(value, dict):
        raise malformed(provider, operation, f"{what} is {type(value).__name__}, not an object")
    return value  # pyright: ignore[reportUnknownVariableType]


def sequence(value: object, *, provider: str, operation: str, what: str) -> list[object]:
    """`value` as a JSON array. Raises `MalformedResponse` naming `what`."""
    if not isinstance(value, list):
        raise malformed(provider, operation, f"{what} is {type(value).__name__}, not a list")
    return value  # pyright: ignore[reportUnknownVariableType]


def amount(value: object) -> Decimal | None:
    """The amount of money in a JSON number or a decimal text; None for 0, "" and null, which are no prices.

    Raises
    ------
    ValueError
        If it is negative, not finite, no number, or a truth value.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError(f"{str(value)[:40]!r} is not an amount of money")
    try:
        number = Decimal(value)
    except (InvalidOperation, ValueError):
        raise ValueError(f"{str(value)[:40]!r} is not an amount of money") from None
    if not number.is_finite() or number < 0:
        raise ValueError(f"{str(value)[:40]} is not an amount of money")
    return number or None


def per_hour(total: Decimal, hours: int) -> Decimal:
    """`total` for `hours`, per hour, to the nano-unit."""
    return (total / hours).quantize(NANO_UNIT)


def offer_id(place: Place, shape: Shape, terms: Terms, currency: str) -> str:
    """The catalog's identity of an offer: 16 hex digits from who, where, what and how."""
    key = (
        place.provider, place.partition, place.region, place.zone, shape.service, shape.instance, shape.accelerator_id,
        shape.accelerator_name, terms.market, terms.term, terms.payment, terms.offering_class, currency,
    )  # fmt: skip
    return hashlib.blake2b("\x1f".join(part or "" for part in key).encode(), digest_size=8).hexdigest()


def make_offer(place: Place, shape: Shape, terms: Terms, listed: Listed) -> Offer:
    """The offer. A price above `MAX_PER_HOUR` is quarantined with its reason, never shown as a price."""
    found = region(place.provider, place.region)
    price = _price(listed)
    apart = [
        code for code, holds in (("unknown_price", price.amount is None), ("unknown_count", not shape.count)) if holds
    ]
    return Offer(
        id=offer_id(place, shape, terms, listed.currency),
        provider=place.provider, partition=place.partition, region=place.region, zone=place.zone,
        country=country_of(place.provider, place.region, place.zone),
        operator_country=found.operator_country if found else None,
        service=shape.service, instance=shape.instance, accelerator_id=shape.accelerator_id,
        accelerator_name=shape.accelerator_name, count=shape.count,
        accelerator_memory_gib=_memory(shape), hosts=shape.hosts, sold_per=shape.sold_per,
        vcpus=shape.vcpus, memory_gib=shape.memory_gib,
        market=terms.market, term=terms.term, payment=terms.payment, offering_class=terms.offering_class,
        price=price, availability=Availability("listed"), apart=tuple(apart),
    )  # fmt: skip


def _price(listed: Listed) -> Price:
    known, status, note = listed.amount, "exact", listed.note
    if known is None:
        status, note = "unknown", note or "the list names it without a price"
    elif known > MAX_PER_HOUR:
        known, status, note = None, "quarantined", f"{known} per hour is above {MAX_PER_HOUR}"
    return Price(
        amount=known, currency=listed.currency, status=status, as_of=listed.observed_at.date().isoformat(),
        as_of_until=None, source=listed.source, effective_at=listed.effective_at, parts=listed.parts if known else (),
        note=note,
    )  # fmt: skip


def _memory(shape: Shape) -> float | None:
    if shape.accelerator_memory_gib is not None or shape.accelerator_id is None:
        return shape.accelerator_memory_gib
    return by_id(shape.accelerator_id).memory_gib if shape.count and shape.count >= 1 else None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number")


def malformed(provider: str, operation: str, fact: str) -> MalformedResponse:
    """The error for an answer that does not have the documented shape; `fact` says what was found."""
    return MalformedResponse(
        f"{provider}: the answer to {operation} cannot be read: {fact}. Look at the address of the price list"
        " (a proxy or a mirror may answer in its place); prices stay as they were.",
        provider=provider, operation=operation, scope="provider",
    )  # fmt: skip
