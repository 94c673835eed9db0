"""Leases: extending one inside its deadline, and ending what is over."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from cloudaccel.errors import InstanceNotFound, LimitExceeded, ProviderError, QueryError
from cloudaccel.protocols import Provider
from cloudaccel.provision import money
from cloudaccel.provision.calls import Calls, machines
from cloudaccel.provision.clock import Clock
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.teardown import Ender
from cloudaccel.provision.values import Ending, Run

RUNNING = ("verifying", "ready", "interrupted")


def extend(journal: Journal, run: Run, seconds: float) -> Run:
    """The run with its lease `seconds` longer.

    Raises
    ------
    QueryError
        If the run is not running.
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
    changed = journal.update(journal.take(run), lease_until=until)
    journal.let_go(changed)
    return journal.run(run.id)


def due(runs: Iterable[Run], now: datetime) -> tuple[Run, ...]:
    """Running runs whose lease is over."""
    return tuple(r for r in runs if r.state in RUNNING and r.lease_until is not None and r.lease_until <= now)


def over_budget(runs: Iterable[Run], now: datetime) -> tuple[Run, ...]:
    """Running runs that have cost as much as their `max_total` by now, at the price of their launch."""
    found: list[Run] = []
    for run in runs:
        limit, hourly = run.spec.limits.max_total, run.request_price_per_hour
        if run.state not in RUNNING or limit is None or hourly is None or run.launched_at is None:
            continue
        if hourly * money.hours((now - run.launched_at).total_seconds()) >= limit:
            found.append(run)
    return tuple(found)


def watch(journal: Journal, load: Callable[[str], Provider], clock: Clock) -> tuple[Ending, ...]:
    """One look at every run, for a scheduler: end what is over its lease or budget, and clean up what was taken back.

    Runs that another process holds are left to it. A run whose end is not proved stays ``leak_suspected`` and is tried
    again at the next look.
    """
    ender = Ender(journal, load, clock)
    runs = [run for run in journal.runs(states=(*RUNNING, "deleting", "leak_suspected")) if journal.is_free(run)]
    now = clock.now()
    reasons = {run.id: "lease over" for run in due(runs, now)} | {
        run.id: "budget used up" for run in over_budget(runs, now)
    }
    reasons |= {
        run.id: run.note or "removal not proved yet" for run in runs if run.state in ("deleting", "leak_suspected")
    }
    for run in runs:
        if run.id not in reasons and _taken_back(run, journal, load, clock):
            journal.update(journal.take(run), state="interrupted")
            reasons[run.id] = "interrupted: the cloud took a machine back"
    endings: list[Ending] = []
    for identifier, reason in reasons.items():
        held = journal.take(journal.run(identifier))
        try:
            endings.append(ender.end(held, note=reason))
        except ProviderError as error:
            endings.append(Ending(run=held, remaining=ender.may_bill(held), problems=(str(error),)))
        finally:
            journal.let_go(held)
    return tuple(endings)


def _taken_back(run: Run, journal: Journal, load: Callable[[str], Provider], clock: Clock) -> bool:
    """Whether a machine of the run has ended without us asking for it. Not being told is not an end."""
    calls = Calls(clock, patience_s=10)
    for tracked in journal.resources(run.id, live=True):
        if tracked.kind != "machine":
            continue
        try:
            instances = machines(load(tracked.provider))
            found = calls.read(lambda i=instances, t=tracked: i.get(t.id, region=t.region))
        except InstanceNotFound:
            if clock.now() >= tracked.first_seen_at + timedelta(minutes=10):
                return True
            continue
        except ProviderError:
            continue
        if found.state in ("terminated", "stopped"):
            return True
    return False
