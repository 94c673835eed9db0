"""Runs as tables for people and as the versioned JSON envelope. Money is text in JSON, unknown is null or a dash."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cloudaccel.cli import common
from cloudaccel.model.money import from_nano, to_nano
from cloudaccel.protocols import Quota
from cloudaccel.provision import money
from cloudaccel.provision.cost import Cost
from cloudaccel.provision.places import Preview, quota_text
from cloudaccel.provision.reap import Finding
from cloudaccel.provision.values import Attempt, Candidate, Operation, Outcome, Run, Spec, Tracked

_BILLING = {"leak_suspected": "maybe", "deleting": "maybe"}


def emit(kind: str, body: dict[str, Any]) -> None:
    """Print one JSON envelope."""
    envelope = {"schema": "cloudaccel/v1", "kind": kind, **body}
    common.write(json.dumps(envelope, ensure_ascii=False, indent=1 if sys.stdout.isatty() else None) + "\n")


def span(seconds: float) -> str:
    """``11 h 46 m``, ``3 m``; negative is ``over``."""
    if seconds < 0:
        return "over"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02} m" if minutes >= 60 else f"{minutes} m"


def moment(at: datetime | None) -> str | None:
    """ISO text in whole seconds."""
    return None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")


def plain(amount: Decimal | None) -> str | None:
    """Money as JSON text, rounded to the ninth decimal."""
    value = from_nano(to_nano(amount))
    return None if value is None else str(value)


# -- before a launch ---------------------------------------------------------------------------------------------------


def what(candidate: Candidate) -> str:
    """``1 × p5.48xlarge (8 × nvidia-h100-sxm-80gb)``."""
    inside = f" ({candidate.accelerator_count} × {candidate.accelerator_id})" if candidate.accelerator_count else ""
    return f"{candidate.what}{inside}"


def promise(spec: Spec, candidate: Candidate, deadline: datetime, now: datetime) -> list[str]:
    """What a launch at the first place means: price, lease, deadline, worst case."""
    currency = candidate.currency
    lease_end = now + timedelta(seconds=spec.lease_s)
    worst = money.worst_case(candidate, deadline, now)
    seen = candidate.price_as_of or "an unknown day"
    price = f"{money.amount(candidate.request_price_per_hour)} {currency}/h"
    lines = [
        (
            f"Price {price} for all machines, list price of {seen}, "
            f"excl. tax. Lease {span(spec.lease_s)}, until {lease_end:%Y-%m-%d %H:%MZ}."
        ),
        (
            f"Worst case: {money.amount(worst)} {currency} + disks and traffic (not priced). "
            f"{_ending(spec, f'{deadline:%Y-%m-%d %H:%MZ}')}"
        ),
    ]
    if spec.options.reservation_id is not None:
        lines.append(
            f"Taken from reservation {spec.options.reservation_id}, which bills this price whether used or not: while "
            "it is open these machines add 0.00 to it. The limits count the price in full."
        )
    if spec.limits.max_total is not None and deadline > lease_end + timedelta(minutes=1):
        lines.append(f"--max-total {money.amount(spec.limits.max_total)} leaves room to extend the lease until then.")
    return lines


def _ending(spec: Spec, at: str) -> str:
    """What is promised of the end. Without the consent nothing starts where a cloud keeps no deadline."""
    if spec.options.accept_no_deadline:
        return (
            f"A cloud that keeps deadlines deletes the machines at {at}; in any other (--accept-no-deadline) they run "
            "on and bill, beyond this worst case, until 'provision down' or 'provision reap --yes' ends them."
        )
    return f"The machines switch themselves off and are deleted at {at}, whether or not this program still runs."


def preview_text(spec: Spec, previews: Sequence[Preview], said: dict[str, Decimal], now: datetime) -> str:
    """The text of ``--dry-run``."""
    first = next((p for p in previews if p.problem is None), previews[0])
    c = first.candidate
    place = c.region if c.zone is None else c.zone
    held = f" in reservation {spec.options.reservation_id}" if spec.options.reservation_id else ""
    lines = [f"Would create {what(c)} in {c.provider} {place}, {c.market.replace('_', '-')}{held}."]
    lines += promise(spec, c, first.deadline, now)
    if c.offer_id in said:
        lines.append(
            f"Price per machine now {money.amount(c.price_per_hour)}, in the plan {money.amount(said[c.offer_id])}."
        )
    lines += _evidence(first)
    lines += ["", f"Places, tried in this order ({len(previews)}):"]
    for number, preview in enumerate(previews, 1):
        lines.append(_preview_line(number, preview))
    return "\n".join([*lines, "", "Nothing was created.", ""])


def _evidence(preview: Preview) -> list[str]:
    lines: list[str] = []
    q = preview.quota
    if q is not None:
        lines.append(
            f"Q{quota_text(q, preview.needed, preview.candidate.region)[1:]} Capacity cannot be known beforehand."
        )
    else:
        lines.append("Quota: not known.")
    if preview.account is not None:
        lines.append(f"Account {preview.account}.")
    lines += preview.terms
    return lines


def _preview_line(number: int, preview: Preview) -> str:
    c = preview.candidate
    zones = ", ".join(preview.zones) or "-"
    price = money.amount(c.request_price_per_hour)
    state = f"{preview.problem.code}: {preview.problem}" if preview.problem else "permitted"
    place = f"{c.provider} {c.region} {c.what} {c.market.replace('_', '-')}"
    return f"  {number}. {place}  {price} {c.currency}/h  zones {zones}\n     {state}"


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
                "problem": None if p.problem is None else {"code": p.problem.code, "message": str(p.problem)},
            }
            for p in previews
        ],
    }  # fmt: skip


def _quota_json(quota: Quota | None, needed: Decimal | None) -> dict[str, Any] | None:
    if quota is None:
        return None
    return {
        "code": quota.code, "name": quota.name, "remaining": str(quota.remaining), "limit": str(quota.limit),
        "unit": quota.unit, "needed": None if needed is None else str(needed),
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


# -- a launch ----------------------------------------------------------------------------------------------------------


def attempt_line(number: int, attempt: Attempt) -> str:
    """One line of the attempt log."""
    c = attempt.candidate
    place = f"{c.provider} {attempt.zone or c.region} {c.instance} {c.market.replace('_', '-')}"
    detail = attempt.detail
    if attempt.outcome == "created":
        detail = f"{money.amount(c.request_price_per_hour)} {c.currency}/h  {attempt.detail}"
    return f"{number:>3}  {place:<44}  {attempt.outcome:<11}  {detail}"


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


# -- runs --------------------------------------------------------------------------------------------------------------

_HEADINGS = ("RUN", "PROVIDER", "REGION", "WHAT", "MARKET", "STATE", "BILLING", "CUR/H", "SPENT", "LEASE", "IDLE")


def state_of(run: Run, abandoned: bool) -> str:
    """The state in a word for people; an unfinished run whose process is gone is ``unfinished``."""
    return "unfinished" if abandoned else run.state.replace("_", "-")


def billing(run: Run, live: int, lost: int) -> str:
    """``yes``: machines are known to exist. ``maybe``: nobody knows. ``no``: proof that there is nothing."""
    if run.state in _BILLING or lost:
        return "maybe"
    return "yes" if live else "no"


def list_text(rows: Sequence[tuple[Run, str, str, Cost]], now: datetime) -> str:
    """The table of ``provision list``."""
    if not rows:
        return "No run is open. 'cloudaccel provision list --all' shows those that ended.\n"
    cells = [_list_row(run, state, bills, spent, now) for run, state, bills, spent in rows]
    return "\n".join(common.table(_HEADINGS, cells, frozenset({7, 8, 9, 10}), common.screen_width())) + "\n"


def _list_row(run: Run, state: str, bills: str, spent: Cost, now: datetime) -> tuple[str, ...]:
    lease = "—" if run.lease_until is None or run.ended_at else span((run.lease_until - now).total_seconds())
    idle = "—" if run.idle_since is None else span((now - run.idle_since).total_seconds())
    accelerators = (
        f"{run.accelerator_count} × {run.accelerator}" if run.accelerator_count else run.instance or run.spec.asked
    )
    name = f"{run.nodes} × {accelerators}" if run.nodes > 1 else accelerators
    return (
        run.id, run.provider or "—", run.zone or run.region or "—", name, (run.market or "—").replace("_", "-"), state,
        bills, money.amount(run.request_price_per_hour), money.amount(spent.total) if spent.lines else "—", lease, idle,
    )  # fmt: skip


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
        "created_at": moment(run.created_at),
        "launched_at": moment(run.launched_at),
        "lease_until": moment(run.lease_until),
        "deadline_at": moment(run.deadline_at),
        "ended_at": moment(run.ended_at),
        "idle_since": moment(run.idle_since),
        "note": run.note or None,
        **({"spent": plain(spent.total)} if spent is not None else {}),
        **({"billing": bills} if bills is not None else {}),
    }


def cost_text(costs: Sequence[Cost]) -> str:
    """Lines of ``provision cost``: hours × price for each machine."""
    lines: list[str] = []
    for cost in costs:
        run = cost.run
        place = f"{run.provider} {run.zone}" if run.provider else "never started"
        lines.append(f"run {run.id}  {place}  {run.instance or run.spec.asked}  {run.currency or ''}")
        for line in cost.lines:
            ended = "" if line.ended_at else "  (running)"
            price = money.amount(line.price_per_hour)
            lines.append(f"  {line.id:<22} {line.hours:>10.4f} h × {price:>8} = {money.amount(line.amount):>10}{ended}")
        lines.append(f"  {'total':<22} {'':>22}   {money.amount(cost.total):>10}")
        if run.catalog_id:
            lines.append(
                f"  price of {run.price_as_of or 'an unknown day'}, catalog {run.catalog_id[:19]}, frozen at launch"
            )
    lines.append("Machines only, list prices excl. tax; disks, addresses and traffic are not in it.")
    return "\n".join(lines) + "\n"


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


def show_text(
    run: Run, state: str, operations: Sequence[Operation], resources: Sequence[Tracked], live: Sequence[str]
) -> str:
    """The text of ``provision show``."""
    lines = [
        f"run {run.id}  {state}  asked: {run.spec.asked}",
        f"  where     {run.provider or '—'} {run.zone or ''}  account {run.account or '—'}",
        f"  what      {run.nodes} × {run.instance or '—'}  {(run.market or '—').replace('_', '-')}",
        f"  price     {money.amount(run.request_price_per_hour)} {run.currency or ''}/h of {run.price_as_of or '—'}",
        f"  lease     until {moment(run.lease_until) or '—'}; switches itself off at {moment(run.deadline_at) or '—'}",
    ]
    lines += [f"  note      {run.note}"] if run.note else []
    lines += ["attempts"]
    for o in operations:
        said = (
            f"{o.error_code}: {o.message}"
            if o.error_code and o.error_code not in (o.message or "")
            else o.message or ""
        )
        lines.append(f"  {o.attempt}  {o.provider} {o.zone}  {o.state}  token {o.token}  {said}".rstrip())
    lines += ["resources"]
    lines += [f"  {r.kind:<16} {r.id:<24} {r.region}  {r.state}" for r in resources]
    return "\n".join([*lines, *live]) + "\n"


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


def finding_line(finding: Finding, deleted: bool) -> str:
    """One line of ``provision reap``."""
    if not finding.ours:
        word = "left alone"
    elif deleted:
        word = "gone" if finding.gone else "NOT GONE"
    else:
        word = "would be ended"
    place = f"{finding.provider} {finding.region or ''}".strip()
    return f"  {finding.kind:<11} {finding.what:<36} {place:<20} {word}  {finding.detail}".rstrip()


def finding_json(finding: Finding) -> dict[str, Any]:
    """One finding as plain JSON values."""
    return {
        "kind": finding.kind, "what": finding.what, "run": finding.run, "provider": finding.provider,
        "region": finding.region, "ours": finding.ours, "gone": finding.gone, "detail": finding.detail or None,
    }  # fmt: skip
