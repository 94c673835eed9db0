"""Runs as plain JSON values: the same from the command line and over HTTP. Money is text, unknown is null."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from cloudaccel.model.money import from_nano, to_nano
from cloudaccel.protocols import Quota
from cloudaccel.provision import money
from cloudaccel.provision.cost import Cost
from cloudaccel.provision.places import Preview
from cloudaccel.provision.reap import Finding
from cloudaccel.provision.values import Candidate, Operation, Outcome, Run, Spec, Tracked

_BILLING = {"leak_suspected": "maybe", "deleting": "maybe"}


def moment(at: datetime | None) -> str | None:
    """ISO text in whole seconds."""
    return None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")


def plain(amount: Decimal | None) -> str | None:
    """Money as JSON text, rounded to the ninth decimal."""
    value = from_nano(to_nano(amount))
    return None if value is None else str(value)


def preview_json(spec: Spec, previews: Sequence[Preview], now: datetime) -> dict[str, Any]:
    """The body of ``--dry-run --json``."""
    return {
        "created": False,
        "lease_s": spec.lease_s,
        "reservation": spec.options.reservation_id,
        "places": [
            {
                **candidate_json(p.candidate),
                "zones": list(p.zones),
                "account": p.account,
                "deadline_at": moment(p.deadline),
                "worst_case": plain(money.worst_case(p.candidate, p.deadline, now)),
                "quota": _quota_json(p.quota, p.needed),
                "terms": list(p.terms),
                "ways": [{"name": w.name, "direction": w.direction, "state": w.state, "why": w.why} for w in p.ways],
                "problem": None if p.problem is None else {"code": p.problem.code, "message": str(p.problem)},
            }
            for p in previews
        ],
    }  # fmt: skip


def candidate_json(c: Candidate) -> dict[str, Any]:
    """One place as plain JSON values."""
    return {
        "provider": c.provider,
        "partition": c.partition,
        "region": c.region,
        "zone": c.zone,
        "instance": c.instance,
        "accelerator": {"id": c.accelerator_id, "count": c.accelerator_count},
        "nodes": c.nodes,
        "market": c.market,
        "price": {
            "price_per_hour": plain(c.price_per_hour),
            "request_price_per_hour": plain(c.request_price_per_hour),
            "currency": c.currency,
            "as_of": c.price_as_of,
        },
        "offer_id": c.offer_id,
        "catalog_id": c.catalog_id,
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """The body of ``up --json``."""
    return {
        "run": run_json(outcome.run),
        "exit": outcome.exit_code,
        "reason": outcome.reason or None,
        "may_still_bill": list(outcome.may_bill),
        "attempts": [
            {**candidate_json(a.candidate), "zone": a.zone or None, "outcome": a.outcome, "detail": a.detail}
            for a in outcome.attempts
        ],
    }


def billing(run: Run, live: int, lost: int) -> str:
    """``yes``: machines are known to exist. ``maybe``: nobody knows. ``no``: proof that there is nothing."""
    if run.state in _BILLING or lost:
        return "maybe"
    return "yes" if live else "no"


def run_json(run: Run, spent: Cost | None = None, bills: str | None = None) -> dict[str, Any]:
    """One run as plain JSON values."""
    return {
        "id": run.id,
        "state": run.state,
        "asked": run.spec.asked,
        "provider": run.provider,
        "account": run.account,
        "region": run.region,
        "zone": run.zone,
        "instance": run.instance,
        "accelerator": {"id": run.accelerator, "count": run.accelerator_count},
        "nodes": run.nodes,
        "market": run.market,
        "price": {
            "price_per_hour": plain(run.price_per_hour),
            "request_price_per_hour": plain(run.request_price_per_hour),
            "currency": run.currency,
            "as_of": run.price_as_of,
        },
        "offer_id": run.offer_id,
        "catalog_id": run.catalog_id,
        "owner": run.owner,
        "principal": run.principal,
        "project": run.project,
        "budget": {"amount": plain(run.spec.limits.max_total), "currency": run.spec.limits.currency},
        "created_at": moment(run.created_at),
        "launched_at": moment(run.launched_at),
        "lease_until": moment(run.lease_until),
        "deadline_at": moment(run.deadline_at),
        "ended_at": moment(run.ended_at),
        "idle_since": moment(run.idle_since),
        "note": run.note or None,
        "restart_of": run.spec.restart_of,
        **({"spent": plain(spent.total)} if spent is not None else {}),
        **({"billing": bills} if bills is not None else {}),
    }


def cost_json(cost: Cost) -> dict[str, Any]:
    """One run's cost as plain JSON values."""
    return {
        "run": cost.run.id,
        "currency": cost.run.currency,
        "catalog_id": cost.run.catalog_id,
        "total": plain(cost.total),
        "lines": [
            {
                "machine": line.id, "began_at": moment(line.began_at), "ended_at": moment(line.ended_at),
                "hours": str(round(line.hours, 6)), "price_per_hour": plain(line.price_per_hour),
                "amount": plain(line.amount),
            }
            for line in cost.lines
        ],
    }  # fmt: skip


def show_json(run: Run, operations: Sequence[Operation], resources: Sequence[Tracked]) -> dict[str, Any]:
    """The body of ``show --json``."""
    return {
        "run": run_json(run),
        "attempts": [
            {
                "attempt": o.attempt, "region": o.region, "zone": o.zone, "state": o.state, "token": o.token,
                "error": o.error, "code": o.error_code, "message": o.message,
            }
            for o in operations
        ],
        "resources": [
            {"kind": r.kind, "id": r.id, "region": r.region, "state": r.state, "gone_at": moment(r.gone_at)}
            for r in resources
        ],
    }  # fmt: skip


def finding_json(finding: Finding) -> dict[str, Any]:
    """One finding as plain JSON values."""
    return {
        "kind": finding.kind, "what": finding.what, "run": finding.run, "provider": finding.provider,
        "region": finding.region, "ours": finding.ours, "gone": finding.gone, "detail": finding.detail or None,
    }  # fmt: skip


def _quota_json(quota: Quota | None, needed: Decimal | None) -> dict[str, Any] | None:
    if quota is None:
        return None
    return {
        "code": quota.code, "name": quota.name, "remaining": str(quota.remaining), "limit": str(quota.limit),
        "unit": quota.unit, "needed": None if needed is None else str(needed),
    }  # fmt: skip
