"""``plan.lock.json``: the plan as a file. The same inputs give the same bytes, and it replays without the catalog."""

import json
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

from cloudaccel.model.plan import CostLine, Option, Plan, Reservation
from cloudaccel.model.workload import Fit
from cloudaccel.workloads.memory import saved

SCHEMA = "cloudaccel-lock/1"
# Columns of `considered`, the proof that nothing comes before the choice; '-' is unknown, lists have commas.
CONSIDERED = (
    "offer_id", "provider", "region", "accelerator_id", "count", "machines", "verdict", "hours", "machine_hours",
    "price_per_hour", "other", "total", "carbon_kg", "policy", "blocked",
)  # fmt: skip


def lock_text(plan: Plan) -> str:
    """The lock of a plan, as JSON with sorted keys. It has no time in it: the catalog id says what it rests on."""
    return json.dumps(lock(plan), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def lock(plan: Plan) -> dict[str, Any]:
    """The lock as plain values: what was asked, what was chosen, what comes next, and every number behind it."""
    best = plan.best
    workload = plan.workload
    return {
        "schema": SCHEMA,
        "catalog_id": plan.catalog_id,
        "request": dict(plan.request),
        "rank_by": plan.rank_by,
        "model": {
            "id": plan.model.id, "params": plan.model.params, "params_active": plan.model.params_active,
            "licence": plan.model.licence, "commercial_use": plan.model.commercial_use,
        },
        "chosen": option_json(best) if best else None,
        "failover": [option_json(option) for option in _failover(plan)],
        "options": [option_json(option) for option in plan.options],
        "near": [option_json(option) for option in plan.near],
        "rejected": [
            {"reason": r.reason, "count": r.count, "unit": r.unit, "examples": list(r.examples)} for r in plan.rejected
        ],
        "hours": _hours(best.fit) if best else None,
        "saves": _saves(plan) if workload.serve is None else None,
        "limits": {
            "budget": None if workload.budget is None else _money(workload.budget),
            "currency": workload.budget_currency,
            "deadline_s": workload.deadline_s,
        },
        "shown": _shown(plan) if plan.shown else None,
        "reservation": _reservation(plan.reservation) if plan.reservation else None,
        "assumptions": [{**asdict(a), "value": str(a.value)} for a in plan.assumptions],
        "packs": dict(plan.pack_digests),
        "duties": [duty._asdict() for duty in plan.duties],
        "rules_cost": {
            "difference": _money(plan.rules_cost),
            "without_rules": option_json(plan.without_rules) if plan.without_rules else None,
            "if_settled": option_json(plan.if_settled) if plan.if_settled else None,
        },
        "relaxations": [relaxation.text for relaxation in plan.relaxations],
        "warnings": list(plan.warnings),
        "left_out": [left._asdict() for left in plan.left_out],
        "evaluated": plan.evaluated,
        "considered": {"columns": " ".join(CONSIDERED), "rows": [_considered(option) for option in plan.considered]},
    }  # fmt: skip


def _saves(plan: Plan) -> dict[str, float]:
    return {name: round(size, 2) for name, size in saved(plan.workload, plan.model)._asdict().items()}


def _shown(plan: Plan) -> dict[str, Any] | None:
    """In what else the totals were shown, by offer and machines; nothing else in the lock rests on it."""
    shown = plan.shown
    if shown is None:
        return None
    totals = [{"offer_id": o.offer.id, "nodes": o.nodes, **shown.of(o.total)} for o in plan.options]
    return {**shown.plain(), "totals": totals}


def _reservation(held: Reservation) -> dict[str, Any]:
    return {
        "id": held.id, "start": held.start.isoformat(), "end": held.end.isoformat(), "hours": _money(held.hours),
        "machines": held.machines, "sunk_per_hour": _money(held.sunk_per_hour), "sunk": _money(held.sunk),
        "currency": held.currency, "source": held.source,
    }  # fmt: skip


def _failover(plan: Plan) -> list[Option]:
    """Other places of the same shape and machine count, so that a launch can move without a new plan."""
    best = plan.best
    if best is None:
        return []
    same = [o for o in plan.options if (o.offer.accelerator_id, o.offer.count, o.nodes) == _shape_of(best)]
    return [replace(o, offer=offer, also=()) for o in same for offer in (o.offer, *o.also) if offer is not best.offer]


def _shape_of(option: Option) -> tuple[object, ...]:
    return option.offer.accelerator_id, option.offer.count, option.nodes


def option_json(option: Option) -> dict[str, Any]:
    """One option as plain values; money is text, unknown is null."""
    offer, price = option.offer, option.offer.price
    return {
        "offer_id": offer.id, "provider": offer.provider, "partition": offer.partition, "region": offer.region,
        "zone": offer.zone, "country": offer.country, "instance": offer.instance, "service": offer.service,
        "class": offer.offering_class,
        "accelerator": {"id": offer.accelerator_id, "count": None if offer.count is None else str(offer.count)},
        "nodes": option.nodes,
        "also": [offer.id for offer in option.also],
        "market": {"type": offer.market, "term": offer.term},
        "price": {
            "price_per_hour": _money(price.amount), "currency": price.currency, "status": price.status,
            "as_of": price.as_of, "as_of_until": price.as_of_until,
            "source": {"name": price.source.name, "path": price.source.path, "revision": price.source.revision},
        },
        "availability": {"state": offer.availability.state, "last_seen": offer.availability.last_seen},
        "hours": _money(option.hours),
        "lines": [_line(line) for line in option.lines],
        "total": _money(option.total),
        "fit": {
            "verdict": option.fit.verdict, "memory_gib": _memory(option.fit), "shape": _shape(option.fit),
            "serving": _serving(option.fit), "speed": _speed(option.fit),
            "reasons": [{"code": reason.code, "text": reason.text} for reason in option.fit.reasons],
        },
        "blocked": [{"reason": reason, "text": text} for reason, text in option.blocked],
        "policy": {"state": option.verdict, "rules": list(option.rules), "asks": list(option.asks)},
        "carbon_kg": None if option.carbon_kg is None else round(option.carbon_kg, 1),
        "startable": option.startable,
        "channel": option.channel,
    }  # fmt: skip


def _serving(fit: Fit) -> dict[str, Any] | None:
    """Rates and latencies of one replica, and how many there are; None for training and for an unknown speed."""
    serving = fit.serving
    if serving is None or not serving.batch:
        return None
    return {
        "replicas": serving.replicas, "accelerators_per_replica": serving.accelerators_per_replica,
        "output_tokens_per_s": round(serving.output_tokens_per_s, 1),
        "output_tokens_per_s_low": round(serving.output_tokens_per_s_low, 1),
        "output_tokens_per_s_high": round(serving.output_tokens_per_s_high, 1),
        "requests_at_once": serving.batch, "ttft_s": round(serving.ttft_s, 4), "tpot_s": round(serving.tpot_s, 5),
        "kv_tokens": serving.kv_tokens, "max_context": serving.max_context,
    }  # fmt: skip


def _speed(fit: Fit) -> dict[str, float | None] | None:
    """What the hours of a run are made of; None for serving, and where nobody knows them."""
    if fit.hours_likely is None:
        return None
    return {
        "tokens_per_s": _round(fit.tokens_per_s), "step_mfu": _round(fit.step_mfu),
        "recompute_factor": _round(fit.recompute_factor), "goodput": _round(fit.goodput),
        "network_stretch": _round(fit.network_stretch), "link_stretch": _round(fit.link_stretch),
        "pipeline_stretch": _round(fit.pipeline_stretch), "cutting_stretch": _round(fit.cutting_stretch),
    }  # fmt: skip


def _considered(option: Option) -> str:
    """One row of the proof: enough to sum its total again, and to see whether a limit forbids it."""
    offer, compute = option.offer, option.lines[0]
    other = None if option.total is None or compute.amount is None else option.total - compute.amount
    carbon = None if option.carbon_kg is None else format(option.carbon_kg, ".1f")
    values = (
        offer.id, offer.provider, offer.region, offer.accelerator_id, offer.count, option.nodes, option.fit.verdict,
        _money(option.hours), _money(compute.quantity), _money(compute.unit_price), _money(other),
        _money(option.total), carbon, option.verdict, ",".join(reason for reason, _ in option.blocked),
    )  # fmt: skip
    return " ".join("-" if value in (None, "") else str(value).replace(" ", "_") for value in values)


def _line(line: CostLine) -> dict[str, Any]:
    return {
        "name": line.name, "quantity": _money(line.quantity), "unit": line.unit,
        "unit_price": _money(line.unit_price), "amount": _money(line.amount),
    }  # fmt: skip


def _money(amount: Decimal | None) -> str | None:
    if amount is None:
        return None
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _hours(fit: Fit) -> dict[str, float | None]:
    return {"low": _round(fit.hours_low), "likely": _round(fit.hours_likely), "high": _round(fit.hours_high)}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _memory(fit: Fit) -> dict[str, float] | None:
    if fit.memory is None:
        return None
    peaks = {"step": fit.memory.step_gib, "checkpoint": fit.memory.checkpoint_gib, "load": fit.memory.load_gib}
    return {name: round(value, 2) for name, value in {**peaks, "available": fit.memory.available_gib}.items()}


def _shape(fit: Fit) -> dict[str, Any] | None:
    shape = fit.shape
    if shape is None:
        return None
    return {
        "tp": shape.tp, "pp": shape.pp, "cp": shape.cp, "ep": shape.ep, "dp": shape.dp, "zero": shape.zero,
        "micro_batch": shape.micro_batch, "accumulation": shape.accumulation, "recompute": shape.recompute,
    }  # fmt: skip
