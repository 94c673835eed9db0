"""Runs as tables for people. Unknown is a dash. Their JSON: `cloudaccel.output.runs`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from cloudaccel import registry
from cloudaccel.cli import common
from cloudaccel.cli.provision_money import Asked, lines_of, together
from cloudaccel.cost.lines import CURRENCY
from cloudaccel.output.runs import moment
from cloudaccel.protocols import Way
from cloudaccel.provision import money
from cloudaccel.provision.cost import Cost
from cloudaccel.provision.places import Preview, quota_text
from cloudaccel.provision.reap import Finding
from cloudaccel.provision.values import Attempt, Candidate, Operation, Run, Spec, Tracked


def span(seconds: float) -> str:
    """``11 h 46 m``, ``3 m``, ``12 d 05 h``; negative is ``over``."""
    if seconds < 0:
        return "over"
    minutes = int(seconds // 60)
    if minutes >= 48 * 60:
        return f"{minutes // 1440} d {minutes % 1440 // 60:02} h"
    return f"{minutes // 60} h {minutes % 60:02} m" if minutes >= 60 else f"{minutes} m"


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
    held_until = spec.limits.end_by
    if held_until is not None:
        lines[0] = (
            f"Price 0.00 {currency}/h more: reservation {spec.options.reservation_id} is paid whether it is used or "
            f"not. Lease until {min(lease_end, deadline):%Y-%m-%d %H:%MZ}, inside its window."
        )
    elif spec.options.reservation_id is not None:
        lines.append(
            f"Taken from reservation {spec.options.reservation_id}, which bills this price whether used or not: while "
            "it is open these machines add 0.00 to it. The limits count the price in full."
        )
    if spec.limits.max_total is not None and deadline > lease_end + timedelta(minutes=1):
        lines.append(f"--max-total {money.amount(spec.limits.max_total)} leaves room to extend the lease until then.")
    return lines


def _ending(spec: Spec, at: str) -> str:
    """What is promised of the end. Without the consent nothing starts where a cloud keeps no deadline."""
    kept = {registry.keeps_deadline(c.provider, c.instance) for c in spec.candidates}
    runs_on = "run on and bill, beyond this worst case, until 'provision down' or 'provision reap --yes' ends them"
    if kept == {True}:
        return f"The machines switch themselves off and are deleted at {at}, whether or not this program still runs."
    if not spec.options.accept_no_deadline:
        rest = f"; others are deleted at {at}" if True in kept else ""
        return f"Where a cloud ends no machine by itself, none is started without --accept-no-deadline{rest}."
    if True not in kept:
        return f"No cloud ends these machines by itself (--accept-no-deadline): they {runs_on}."
    kept_at = f"A cloud that keeps deadlines deletes the machines at {at}"
    return f"{kept_at}; in any other (--accept-no-deadline) they {runs_on}."


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
    lines += [_way(way) for way in preview.ways]
    return lines


def _way(way: Way) -> str:
    """``Way in: Session Manager, by Default Host Management.``; one that is closed, or not known, says so first."""
    state = {"open": "", "closed": "none by ", "unknown": "not known, "}[way.state]
    return f"Way {way.direction}: {state}{way.name}{f': {way.why}' if way.why else ''}."


def _preview_line(number: int, preview: Preview) -> str:
    c = preview.candidate
    zones = ", ".join(preview.zones) or c.zone or "-"
    price = money.amount(c.request_price_per_hour)
    state = f"{preview.problem.code}: {preview.problem}" if preview.problem else "permitted"
    place = f"{c.provider} {c.region} {c.what} {c.market.replace('_', '-')}"
    return f"  {number}. {place}  {price} {c.currency}/h  zones {zones}\n     {state}"


# -- a launch ----------------------------------------------------------------------------------------------------------


def attempt_line(number: int, attempt: Attempt) -> str:
    """One line of the attempt log."""
    c = attempt.candidate
    place = f"{c.provider} {attempt.zone or c.region} {c.instance} {c.market.replace('_', '-')}"
    detail = attempt.detail
    if attempt.outcome == "created":
        detail = f"{money.amount(c.request_price_per_hour)} {c.currency}/h  {attempt.detail}"
    return f"{number:>3}  {place:<44}  {attempt.outcome:<11}  {detail}"


# -- runs --------------------------------------------------------------------------------------------------------------

_HEADINGS = ("RUN", "PROVIDER", "REGION", "WHAT", "MARKET", "STATE", "BILLING", "{}/H", "SPENT", "LEASE", "IDLE")


def state_of(run: Run, abandoned: bool) -> str:
    """The state in a word for people; an unfinished run whose process is gone is ``unfinished``."""
    return "unfinished" if abandoned else run.state.replace("_", "-")


def list_text(rows: Sequence[tuple[Run, str, str, Cost]], now: datetime) -> str:
    """The table of ``provision list``."""
    if not rows:
        return "No run is open. 'cloudaccel provision list --all' shows those that ended.\n"
    currencies = {run.currency for run, *_ in rows if run.currency}
    one = currencies.pop() if len(currencies) == 1 else None
    headings = [heading.format(one or "PRICE") for heading in _HEADINGS]
    cells = [_list_row(run, state, bills, spent, now, one is None) for run, state, bills, spent in rows]
    return "\n".join(common.table(headings, cells, frozenset({7, 8, 9, 10}), common.screen_width())) + "\n"


def _list_row(run: Run, state: str, bills: str, spent: Cost, now: datetime, named: bool) -> tuple[str, ...]:
    """`named`: money names its currency, since the heading does not."""
    currency = f" {run.currency}" if named and run.currency else ""
    lease = "—" if run.lease_until is None or run.ended_at else span((run.lease_until - now).total_seconds())
    idle = "—" if run.idle_since is None else span((now - run.idle_since).total_seconds())
    accelerators = (
        f"{run.accelerator_count} × {run.accelerator}" if run.accelerator_count else run.instance or run.spec.asked
    )
    name = f"{run.nodes} × {accelerators}" if run.nodes > 1 else accelerators
    return (
        run.id, run.provider or "—", run.zone or run.region or "—", name, (run.market or "—").replace("_", "-"), state,
        bills, money.amount(run.request_price_per_hour) + currency,
        money.amount(spent.total) + currency if spent.lines else "—", lease, idle,
    )  # fmt: skip


def cost_text(costs: Sequence[Cost], asked: Asked) -> str:
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
        lines += lines_of(cost.total, run.currency or CURRENCY, asked)
        if run.catalog_id:
            lines.append(
                f"  price of {run.price_as_of or 'an unknown day'}, catalog {run.catalog_id[:19]}, frozen at launch"
            )
    lines += together(costs, asked)
    lines.append("Machines at list prices excl. tax; snapshots, addresses and traffic are not in it.")
    return "\n".join(lines) + "\n"


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
    lines += [f"  note      {'; '.join(run.note.splitlines())}"] if run.note else []
    lines += [f"  before    run {run.spec.restart_of}, which the cloud took back"] if run.spec.restart_of else []
    if run.state == "interrupted":
        lines.append("  next      'provision watch' starts it again elsewhere; 'provision down' calls that off")
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


def finding_line(finding: Finding, deleted: bool) -> str:
    """One line of ``provision reap``."""
    if finding.kind == "unasked":
        word = "NOT ASKED"
    elif finding.kind == "clock":
        word = "CLOCK IS WRONG"
    elif not finding.ours:
        word = "left alone"
    elif deleted:
        word = "gone" if finding.gone else "NOT GONE"
    else:
        word = "would be ended"
    place = f"{finding.provider} {finding.region or ''}".strip()
    return f"  {finding.kind:<11} {finding.what:<36} {place:<20} {word}  {finding.detail}".rstrip()
