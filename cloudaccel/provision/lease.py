"""Leases: extending one inside its deadline, and which are over."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from cloudaccel.errors import LimitExceeded, QueryError
from cloudaccel.provision.journal import HoldLost, Journal
from cloudaccel.provision.values import Run

RUNNING = ("verifying", "ready")


def extend(journal: Journal, run: Run, seconds: float) -> Run:
    """The run with its lease `seconds` longer.

    Raises
    ------
    QueryError
        If the run is not running.
    HoldLost
        If another process has taken the run since it was read, such as one that ends it.
    LimitExceeded
        If that is past the deadline, which the machines carry since their launch and nobody can move.
    """
    if run.state != "ready" or run.lease_until is None or run.deadline_at is None:
        raise QueryError(f"run {run.id} is {run.state}: only a running one has a lease to extend.")
    until = run.lease_until + timedelta(seconds=seconds)
    if until > run.deadline_at:
        raise LimitExceeded(
            f"run {run.id} switches itself off at {run.deadline_at:%Y-%m-%d %H:%MZ}, fixed at its launch: no lease can "
            f"end later. Start it with a higher --max-total to have room."
        )
    held = journal.claim(run)
    if held is None:
        raise HoldLost(f"run {run.id} is being changed by another process; see 'cloudaccel provision show {run.id}'.")
    journal.let_go(journal.update(held, lease_until=until))
    return journal.run(run.id)


def due(runs: Iterable[Run], now: datetime) -> tuple[Run, ...]:
    """Running runs whose lease is over."""
    return tuple(r for r in runs if r.state in RUNNING and r.lease_until is not None and r.lease_until <= now)
