"""A comparison as the versioned JSON envelope. Money is text, unknown is null."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cloudaccel.model.decision import Comparison, Factor, Line, Way
from cloudaccel.model.verdict import Verdict
from cloudaccel.output.columns import plain

if TYPE_CHECKING:
    from cloudaccel.api.deciding import PricedMachine

SCHEMA = "cloudaccel/v1"


def text(found: Comparison) -> str:
    """The envelope of a comparison, with every line's factors and every input's source."""
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "compare",
        "generated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "demand": {"text": found.demand_text, "tokens_per_month": found.tokens_per_month},
        "months": found.months,
        "currency": {"code": found.currency, "fx": []},
        "tax": "excluded",
        "shown": None if found.shown is None else found.shown.plain(),
        "ways": [{**_way(way), **_way_shown(way, found)} for way in found.ways],
        "cheapest": None if found.cheapest is None else found.ways[found.cheapest].label,
        "break_evens": [b._asdict() for b in found.break_evens],
        "shared": [asdict(estimate) for estimate in found.shared],
        "cheapest_by_volume": [{"from_tokens_per_month": at, "way": label} for at, label in found.leaders],
        "curves": {label: [{"use": use, "per_accelerator_hour": c} for use, c in points]
                   for label, points in found.curves.items()},
        "sensitivity": [s._asdict() for s in found.swings],
        "monte_carlo": {"seed": found.seed, "ways": [s._asdict() for s in found.spreads]} if found.spreads else None,
        "not_counted": list(found.not_counted),
    }  # fmt: skip
    return json.dumps(body, ensure_ascii=False, default=_plain, indent=1) + "\n"


def _way_shown(way: Way, found: Comparison) -> dict[str, Any]:
    """Month and total in the currency that was asked for, and the tax on them."""
    shown = found.shown
    if shown is None:
        return {}
    return {"shown": {"per_month": shown.of(way.per_month), "total": shown.of(way.total)}}


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    raise TypeError(f"{type(value).__name__} is no JSON")


def _way(way: Way) -> dict[str, Any]:
    plain = {
        name: getattr(way, name)
        for name in (
            "kind", "label", "per_month", "total", "money_out", "per_million", "idle_per_month", "load", "copies",
            "capacity_tokens_per_month", "accelerators", "per_accelerator_hour", "use", "commitment",
            "lead_time",
        )
    }  # fmt: skip
    return {
        **plain,
        "premium": None if way.premium is None else {"per_month": way.premium[0], "share": way.premium[1]},
        "unknown": None if way.unknown is None else asdict(way.unknown),
        "lines": [_line(line) for line in way.lines],
        "once": [_line(line) for line in way.once],
        "inputs": [asdict(estimate) for estimate in way.inputs.values()],
        "years": [{"year": y.year, "total": y.total, "discounted": y.discounted} for y in way.years],
        "facility": None if way.facility is None else way.facility._asdict(),
        "not_counted": list(way.not_counted),
        "notes": list(way.notes),
        "rules": None if way.verdict is None else _rules(way.verdict),
    }


def inventory_json(priced: "Sequence[PricedMachine]") -> list[dict[str, Any]]:
    """Machines of an inventory; money is text in `currency`, null where no price is known. `from`: who says it."""
    return [
        {
            "machine": one.offer.instance, "region": one.offer.region, "accelerator": one.offer.accelerator_name,
            "count": None if one.offer.count is None else int(one.offer.count),
            "price_per_hour": _money(one.offer.price.amount),
            "price_per_accelerator_hour": _money(one.offer.price_per_accelerator_hour),
            "currency": one.offer.price.currency, "from": one.said,
        }
        for one in priced
    ]  # fmt: skip


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _rules(verdict: Verdict) -> dict[str, Any]:
    return {
        "place": verdict.placement, "state": verdict.state, "deciding": list(verdict.deciding),
        "asks": list(verdict.asks), "warnings": list(verdict.warnings), "packs": [list(pack) for pack in verdict.packs],
        "findings": [{"rule": f.rule, "value": f.value, "why": f.why, "cite": f.cite, "remedy": f.remedy}
                     for f in verdict.findings if f.value != "NA"],
    }  # fmt: skip


def _line(line: Line) -> dict[str, Any]:
    return {"name": line.name, "factors": [f._asdict() for f in line.factors], "amount": line.amount}


def formula(line: Line) -> str:
    """The line with its numbers put in: ``10.2 kW × 1.3 PUE × 730 h × 0.15 USD/kWh = 1,451.970000``."""
    text = ""
    for i, factor in enumerate(line.factors):
        sign = "" if i == 0 else " ÷ " if factor.divide else " × "
        text += f"{sign}{_factor(factor)}"
    return f"{text} = {'unknown' if line.amount is None else f'{line.amount:,.6f}'}"


def _factor(factor: Factor) -> str:
    value = "?" if factor.value is None else f"{factor.value.normalize():,f}"
    return f"{value} {factor.unit}".strip()
