"""From a row of the catalog file to an `Offer`."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from cloudaccel.catalog.schema import apart_codes
from cloudaccel.model import Availability, Offer, Price, PricePart, Source, from_nano

OFFER_SELECT = """\
SELECT o.id, p.provider, p.partition, p.region, o.zone, p.country, p.operator_country, s.service, s.instance,
    s.accelerator_id, s.accelerator_name, s.count, s.accelerator_memory_gib, s.hosts, s.sold_per, s.vcpus, s.memory_gib,
    o.market, o.term, o.payment, o.offering_class, o.availability, o.last_seen, o.flags,
    o.amount, o.currency, o.status, o.as_of, o.as_of_until, o.upfront, o.effective_at, o.parts, o.note,
    r.key, r.name, r.path, r.revision, r.licence, r.url
FROM offer o JOIN place p ON p.id = o.place JOIN shape s ON s.id = o.shape LEFT JOIN source r ON r.key = o.source
"""


@lru_cache(maxsize=2048)  # a service is asked for the same cheap rows again and again; an offer never changes
def offer_from_row(row: tuple[Any, ...]) -> Offer:
    """One `Offer` from a row of `OFFER_SELECT`."""
    (
        identity, provider, partition, region, zone, country, operator_country, service, instance,
        accelerator_id, accelerator_name, count, accelerator_memory_gib, hosts, sold_per, vcpus, memory_gib,
        market, term, payment, offering_class, availability, last_seen, flags,
        amount, currency, status, as_of, as_of_until, upfront, effective_at, parts, note, *source,
    ) = row  # fmt: skip
    price = Price(
        amount=from_nano(amount), currency=currency, status=status, as_of=as_of, as_of_until=as_of_until,
        upfront=from_nano(upfront), effective_at=effective_at, parts=parse_parts(parts), note=note or "",
        source=_source(source),
    )  # fmt: skip
    return Offer(
        id=identity, provider=provider, partition=partition, region=region, zone=zone, country=country,
        operator_country=operator_country, service=service, instance=instance, accelerator_id=accelerator_id,
        accelerator_name=accelerator_name, count=Fraction(count) if count else None,
        accelerator_memory_gib=accelerator_memory_gib, hosts=hosts, sold_per=sold_per, vcpus=vcpus,
        memory_gib=memory_gib, market=market, term=term, payment=payment, offering_class=offering_class,
        price=price, availability=Availability(state=availability, last_seen=last_seen), apart=apart_codes(flags),
    )  # fmt: skip


def _source(fields: Sequence[str | None]) -> Source:
    key, name, path, revision, licence, url = fields
    return Source(
        id=key or "?", name=name or "unknown", path=path or "", revision=revision, licence=licence or "unknown", url=url
    )


def parse_parts(text: str | None) -> tuple[PricePart, ...]:
    """Parts from their column: ``name=quantity*unit_price`` joined by ``;``, with ``?`` for an unknown unit price."""
    return tuple(_part(piece) for piece in (text or "").split(";") if piece)


def _part(piece: str) -> PricePart:
    name, _, product = piece.rpartition("=")
    quantity_text, _, unit_text = product.partition("*")
    quantity = Decimal(quantity_text)
    unit_price = None if unit_text == "?" else Decimal(unit_text)
    amount = None if unit_price is None else quantity * unit_price
    return PricePart(name=name, quantity=quantity, unit_price=unit_price, amount=amount)


def row_of(offer: Offer) -> dict[str, str]:
    """`offer` as a row of the snapshot format: the way back from `offer_from_row`."""
    price = offer.price
    values: dict[str, object] = {
        "provider": offer.provider, "partition": offer.partition, "region": offer.region, "zone": offer.zone,
        "service": offer.service, "instance": offer.instance, "accelerator_id": offer.accelerator_id,
        "accelerator_name": offer.accelerator_name, "count": offer.count,
        "accelerator_memory_gib": offer.accelerator_memory_gib, "hosts": offer.hosts, "sold_per": offer.sold_per,
        "vcpus": offer.vcpus, "memory_gib": offer.memory_gib, "market": offer.market, "term": offer.term,
        "payment": offer.payment, "offering_class": offer.offering_class, "price_per_hour": price.amount,
        "currency": price.currency, "upfront": price.upfront, "status": price.status, "parts": _parts_text(price.parts),
        "availability": offer.availability.state, "last_seen": offer.availability.last_seen, "as_of": price.as_of,
        "as_of_until": price.as_of_until, "effective_at": price.effective_at, "source": price.source.id,
        "note": price.note,
    }  # fmt: skip
    return {column: _plain(value) for column, value in values.items()}


def _parts_text(parts: Sequence[PricePart]) -> str:
    return ";".join(
        f"{part.name}={part.quantity:f}*{'?' if part.unit_price is None else format(part.unit_price, 'f')}"
        for part in parts
    )


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    return f"{value:.10g}" if isinstance(value, float) else str(value)
