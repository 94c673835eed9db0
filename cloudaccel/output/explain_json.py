"""What a name means, and what prices were over time, as plain JSON values."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from cloudaccel.api import explaining as api
from cloudaccel.catalog.history import PriceVersion
from cloudaccel.catalog.pricestats import PriceHistory
from cloudaccel.model import Accelerator
from cloudaccel.output.columns import plain
from cloudaccel.workloads.portability import features_of


def explanation_json(e: api.Explanation) -> dict[str, Any]:
    """What a name means as plain JSON values."""
    return {
        "name": e.name,
        "count": None if e.count is None else str(e.count),
        "hosts": e.hosts,
        "instance": e.instance,
        "memory_gib_share": e.memory_gib,
        "virtualized": e.virtualized,
        "note": e.note or None,
        "spelling": e.spelling,
        "spellings": dict(e.spellings),
        "accelerators": [{**accelerator_json(a), "features": _features_json(a)} for a in e.accelerators],
        "offers": [
            {
                "id": o.id, "provider": o.provider, "region": o.region, "zone": o.zone, "instance": o.instance,
                "market": o.market, "price_per_hour": plain(o.price.amount) or None, "currency": o.price.currency,
                "as_of": o.price.as_of, "as_of_until": o.price.as_of_until, "source": o.price.source.name,
            }
            for o in e.offers
        ],
        "history": history_json(e.history),
    }  # fmt: skip


def history_json(versions: Sequence[PriceVersion]) -> list[dict[str, Any]]:
    """Versions of a price as plain JSON values."""
    return [
        {"from": v.from_at, "until": v.until_at, "price_per_hour": plain(v.amount) or None, "source": v.source}
        for v in versions
    ]


def _features_json(accelerator: Accelerator) -> list[dict[str, Any]]:
    """What is known to run on it, or not to; an answer of null is unknown."""
    return [
        {"name": name, "answer": known.answer, "reason": known.reason, "source": known.source or None,
         "as_of": known.as_of or None}
        for name, known in features_of(accelerator)
    ]  # fmt: skip


def accelerator_json(accelerator: Accelerator) -> dict[str, Any]:
    """One row of the accelerator table as plain JSON values."""
    values = {field.name: getattr(accelerator, field.name) for field in fields(accelerator)}
    peaks = {k.removeprefix("peak_tflops_"): values.pop(k) for k in list(values) if k.startswith("peak_tflops_")}
    return {**values, "peak_tflops": peaks}


def price_history_json(history: PriceHistory) -> dict[str, Any]:
    """One history as plain JSON values; docs/reference/json.md describes each."""
    return {
        "from": history.since.isoformat(),
        "until": history.until.isoformat(),
        "days_known": history.days_known,
        "low": plain(history.low) or None,
        "p50": plain(history.p50) or None,
        "p95": plain(history.p95) or None,
        "high": plain(history.high) or None,
        "series": [plain(price) or None for price in history.series],
        "changes": [
            {"from": v.from_at, "until": v.until_at, "price_per_hour": plain(v.amount) or None, "source": v.source}
            for v in history.changes
        ],
    }
