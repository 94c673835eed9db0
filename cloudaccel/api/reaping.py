"""The hourly look for what no run has: it is told, and where an administrator wants it, ended once it is overdue."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cloudaccel.access import audit
from cloudaccel.api import alerting
from cloudaccel.provision.clock import Clock
from cloudaccel.provision.reap import Finding, Reaper, in_order

if TYPE_CHECKING:
    from cloudaccel.jobs.alerts import Alerts

_LOG = logging.getLogger("cloudaccel.jobs")
_WHO = "service"  # in the audit log, where everybody else is a person, a program or local:…


def reap_once(
    reaper: Reaper, alerts: "Alerts", engine: Any, clock: Clock, still: Callable[[], None], *, ends: bool
) -> None:
    """Look once. `ends`: remove what has this installation's tag, no run, and a deadline that is over; else only tell.

    Each removal is in the audit log before it is asked for, and again with what came of it. `still` is asked before
    each, and may raise that another process looks now.
    """
    for found in in_order(reaper.reconcile(reaper.places())):
        if found.kind == "clock":
            text = f"{found.provider} {found.region}: {found.detail} Until then nothing is ended for being overdue."
            _LOG.warning("reap: %s", text)
            facts = {"news": found.kind, "provider": found.provider, "gone": False}
            alerting.tell(alerts, "runs", f"clock {found.provider} {clock.now():%Y-%m-%d}", text, facts)
        if not found.ours:
            continue
        if ends and found.is_overdue(clock.now()):
            still()
            _note(engine, clock, "reap.begin", found)
            found = reaper.remove(found, as_overdue=True)  # noqa: PLW2901 - the same thing, after it
            _note(engine, clock, "reap.end", found, outcome="done" if found.gone else "failed")
        _LOG.warning("reap: %s", _text(found))
        key = f"{found.kind} {found.provider} {found.what}{' gone' if found.gone else ''}"
        facts = {"news": found.kind, "provider": found.provider, "gone": found.gone}
        alerting.tell(alerts, "runs", key, _text(found), facts)


def _text(found: Finding) -> str:
    what = f"{found.provider} {found.region}: {found.what} has our tag and no run ({found.kind})."
    if found.gone:
        return f"{what} Its deadline was over, and it was removed, with proof."
    why = f" ({found.detail})" if found.detail else ""
    return f"{what} It may be billing{why}: 'cloudaccel provision reap --reconcile' shows it, --yes ends it."


def _note(engine: Any, clock: Clock, action: str, found: Finding, *, outcome: str = "done") -> None:
    detail = {
        "what": found.what, "provider": found.provider, "region": found.region, "run": found.run, "said": found.detail,
    }  # fmt: skip
    entry = audit.Entry(
        principal=_WHO, action=action, subject=f"{found.provider} {found.what}", outcome=outcome, detail=detail
    )
    audit.note(engine, entry, clock.now())
