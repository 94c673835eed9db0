"""A quote as the versioned JSON envelope. Money is text, unknown is null."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudaccel.api import quoting as api
from cloudaccel.model import Offer, PricePart, Query
from cloudaccel.model.quarantine import quarantine_reason
from cloudaccel.model.verdict import DISCLAIMER
from cloudaccel.output.columns import COLUMNS, View, accelerator_of, listed_price, plain, times

if TYPE_CHECKING:
    from cloudaccel.catalog.pricestats import PriceHistory
    from cloudaccel.cost.disk import Disk

SCHEMA = "cloudaccel/v1"


def render(answer: api.Quote, per: str, histories: "Mapping[str, PriceHistory] | None" = None) -> str:
    """The envelope as JSON."""
    body = envelope(answer, per)
    if histories:
        from cloudaccel.output.explain_json import price_history_json

        for offer in body["offers"]:
            offer["history"] = price_history_json(histories[offer["id"]])
    # Indented for eyes only: the encoder in C, ten times as fast, writes no indentation.
    return json.dumps(body, ensure_ascii=False, indent=1 if sys.stdout.isatty() else None) + "\n"


def envelope(answer: api.Quote, per: str = "hour") -> dict[str, Any]:
    """The answer as plain JSON values; docs/reference/json.md describes each."""
    view = View(answer)
    return {
        "schema": SCHEMA,
        "kind": "quote",
        "generated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "complete": len(answer.offers) == answer.total,
        "total": answer.total,
        "catalog": {
            "id": answer.catalog_id,
            "as_of": answer.catalog_as_of,
            "as_of_until": answer.catalog_until,
            "adjusted": answer.adjusted,
        },
        "query": _query(answer.query),
        "currency": {"code": answer.query.currency, "fx": rates_json(answer)},
        "tax": "excluded",
        **({} if answer.tax_percent is None else {"tax_percent": plain(answer.tax_percent)}),
        **({} if answer.disk is None else {"beside": _beside(answer.disk, answer.machines)}),
        "offers": [offer_json(offer, view, per) for offer in answer.offers],
        "hidden": [{"reason": h.reason, "count": h.rows, "text": h.text} for h in answer.hidden],
        "warnings": [{"code": n.code, "text": n.text, "offer": n.offer} for n in answer.notices],
        "hints": list(answer.hints),
        "policy": _policy(answer),
    }


def _beside(disk: "Disk", machines: Sequence[int]) -> list[dict[str, Any]]:
    """What each machine pays for beside its price; null where no source has a price."""
    from cloudaccel.cost.lines import DISK_PRICE

    unknown = {"price_per_month": None, "price_per_hour": None, "status": "unknown"}
    return [
        {
            "name": "disk", "size_gb": plain(disk.size_gb), "price_per_gb_month": plain(disk.price_per_gb_month),
            "price_per_month": money(disk.price_per_month), "price_per_hour": money(disk.price_per_hour),
            "of_request": [
                {"machines": n, "price_per_month": money(disk.of(n).price_per_month),
                 "price_per_hour": money(disk.of(n).price_per_hour)}
                for n in machines
            ],
            "currency": disk.currency, "status": "estimated", "source": DISK_PRICE.source, "as_of": DISK_PRICE.as_of,
        },
        {"name": "snapshots", **unknown},
        {"name": "static_address", **unknown},
    ]  # fmt: skip


def rates_json(answer: api.Quote) -> list[dict[str, Any]]:
    """The rates that offers of the answer were converted by; ``USDEUR``: euros for one US dollar."""
    if answer.conversion is None:
        return []
    rates, listed = answer.conversion
    wanted = answer.query.currency
    currencies = sorted({listed[offer.id].currency for offer in answer.offers if offer.id in listed})
    return [
        {
            "pair": f"{currency}{wanted}",
            "rate": money(rates.rate(currency, wanted)),
            "as_of": rates.as_of.isoformat(),
            "source": rates.source,
        }
        for currency in currencies
    ]


def _policy(answer: api.Quote) -> dict[str, Any] | None:
    """By what was judged: packs with their digests, and the verdict of each offer that is shown; null when by none."""
    judged = answer.judged
    if judged is None:
        return None
    unknown = judged.cheapest_unknown
    return {
        "packs": {name: digest for name, _version, digest in judged.judge.identities},
        "verdicts": {
            offer.id: {"state": verdict.state, "rules": list(verdict.deciding)}
            for offer in answer.offers
            if (verdict := judged.verdicts[offer.id])
        },
        "cheapest": None if judged.cheapest is None else judged.cheapest.id,
        "cheapest_unknown": None
        if unknown is None
        else {"offer": unknown.id, "asks": list(judged.verdicts[unknown.id].asks)},
        "disclaimer": DISCLAIMER,
    }


def _query(query: Query) -> dict[str, Any]:
    return {
        "accelerators": [term.canonical or term.text for term in query.terms],
        "instance": query.instance,
        "markets": [f"{market}-{term}" if term else market for market, term in query.markets],
        "providers": sorted({provider for provider, _ in query.providers}),
        "regions": sorted({*query.regions, *(zone.name for zone in query.zones)}),
        "place": query.place_text or None,
        "interconnect": query.interconnect,
        "sort": query.sort,
        "limit": query.limit,
    }


def offer_json(offer: Offer, view: View, per: str = "hour") -> dict[str, Any]:
    """One offer as plain JSON values."""
    return {
        "id": offer.id,
        "provider": offer.provider,
        "partition": offer.partition,
        "region": offer.region,
        "zone": offer.zone,
        "country": offer.country,
        "operator_country": offer.operator_country,
        "service": offer.service,
        "instance": offer.instance,
        "accelerator": _accelerator(offer),
        "hosts": offer.hosts,
        "nodes": view.answer.nodes(offer),
        "sold_per": offer.sold_per,
        "vcpus": offer.vcpus,
        "memory_gib": offer.memory_gib,
        "market": {
            "type": offer.market,
            "term": offer.term,
            "payment": offer.payment,
            "class": offer.offering_class,
        },
        "price": _price(offer, view, per),
        "availability": {"state": offer.availability.state, "last_seen": offer.availability.last_seen},
        "stale": view.answer.is_stale(offer),
        "apart": list(offer.apart),
    }


def _accelerator(offer: Offer) -> dict[str, Any]:
    row = accelerator_of(offer)
    count = offer.count
    return {
        "id": offer.accelerator_id,
        "name": offer.accelerator_name,
        "kind": row.kind if row else None,
        "count": None if count is None else int(count) if count.denominator == 1 else round(float(count), 4),
        "fraction": str(count) if count is not None and count < 1 else None,
        "count_unit": row.unit if row else None,
        "memory_gib_each": offer.accelerator_memory_gib,
        "memory_gib_total": offer.total_memory_gib,
        "interconnect": row.link if row else None,
    }


def _price(offer: Offer, view: View, per: str) -> dict[str, Any]:
    price = offer.price
    age = api.age_days(offer, view.answer.today)
    fields: dict[str, Any] = {
        "price_per_hour": money(price.amount),
        "price_per_accelerator_hour": money(offer.price_per_accelerator_hour),
        "request_price_per_hour": money(times(price.amount, view.answer.nodes(offer))),
        "upfront": money(price.upfront),
        "currency": price.currency,
        "tax": "excluded",
        "status": price.status,
        "as_of": price.as_of,
        "as_of_until": price.as_of_until,
        "effective_at": price.effective_at,
        "age_days": age[0] if age else None,
        "parts": [_part(part) for part in price.parts],
        "source": {
            "name": price.source.name,
            "path": price.source.path,
            "revision": price.source.revision,
            "licence": price.source.licence,
            "url": price.source.url,
        },
        "note": price.note or None,
        "quarantine": quarantine_reason(price.status, price.note),
    }
    if view.answer.conversion is not None:
        listed = listed_price(offer, view)
        fields["listed"] = {"price_per_hour": money(listed.amount), "currency": listed.currency}
        fields["converted"] = offer.id in view.answer.conversion.listed
    if view.answer.tax_percent is not None:
        hourly = View(view.answer)
        fields["tax_per_hour"] = money(COLUMNS["tax"](offer, hourly))
        fields["price_with_tax_per_hour"] = money(COLUMNS["price_with_tax"](offer, hourly))
    if per != "hour":
        fields[f"price_per_{per}"] = money(times(price.amount, 730 if per == "month" else 1000))
    return fields


def _part(part: PricePart) -> dict[str, Any]:
    return {
        "name": part.name,
        "quantity": plain(part.quantity),
        "unit_price": money(part.unit_price),
        "price_per_hour": money(part.amount),
    }


def money(amount: Any) -> str | None:
    """Money as text, so that no reader rounds it; None for unknown."""
    return None if amount is None else plain(amount)
