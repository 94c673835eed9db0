"""One look over every run, for whoever comes round again: what must end is ended, what must be known is said.

A look asks the cloud what lives; not being told is never taken for an end. Runs that a living process holds are left to
it, and two watchers at once do no harm: a run is claimed before anything is decided about it.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloudaccel.errors import AuthError, CloudAccelError, InstanceNotFound
from cloudaccel.protocols import Instance, Provider
from cloudaccel.provision import money
from cloudaccel.provision.calls import Calls, machines
from cloudaccel.provision.clock import Clock
from cloudaccel.provision.cost import cost
from cloudaccel.provision.journal import HoldLost, Journal
from cloudaccel.provision.lease import RUNNING
from cloudaccel.provision.teardown import Ender
from cloudaccel.provision.values import UNFINISHED, Run, Tracked

WARN_S = 1800.0
ABANDONED = timedelta(minutes=30)  # for so long the same words may still go on with a run whose process is gone
_UNPROVED = ("deleting", "leak_suspected", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One piece of news about a run.

    Attributes
    ----------
    kind
        ``ended`` (all of it, with proof), ``not_gone`` (may still bill), ``lease_soon``, ``budget_short`` (the lease
        costs more than is left), ``budget_unknown`` (no price, so no guard), ``unasked`` (the cloud did not say).
    text
        One sentence for people.
    key
        The same key is the same news, at every look; a later lease or another reason is another key.
    may_bill
        Ids of what may still exist; only with ``not_gone``.
    """

    kind: str
    run: str
    text: str
    key: str
    may_bill: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found: how many runs it looked at, those that are left to a process at work, and the news."""

    at: datetime
    looked: int
    held: int
    notices: tuple[Notice, ...]


class Watcher:
    """Looks over runs. `load` gives a provider by name.

    `warn_s`: how long before the end of a lease that is said. `next_look_s`: when the next look comes, so that a budget
    is not passed in between. `workers`: runs that are looked at side by side. `wait_s` bounds one ending.
    """

    def __init__(
        self,
        journal: Journal,
        load: Callable[[str], Provider],
        clock: Clock,
        *,
        warn_s: float = WARN_S,
        next_look_s: float = 0.0,
        workers: int = 4,
        wait_s: float = 900.0,
    ) -> None:
        self._journal = journal
        self._load = load
        self._clock = clock
        self._warn = timedelta(seconds=warn_s)
        self._next_look_s = next_look_s
        self._workers = workers
        self._ender = Ender(journal, load, clock, wait_s=wait_s)
        self._calls = Calls(clock, patience_s=10)

    def look(self) -> Look:
        """One look at every run that is not over. What fails for one run is news of it and keeps no other waiting."""
        at = self._clock.now()
        open_runs = self._journal.runs(states=(*UNFINISHED, *RUNNING, "deleting", "leak_suspected"))
        free = sorted((r for r in open_runs if self._journal.is_free(r)), key=lambda r: r.lease_until or r.created_at)
        if self._workers > 1 and len(free) > 1:
            with ThreadPoolExecutor(max_workers=self._workers) as pool:
                found = list(pool.map(self._look_at, free))
        else:
            found = [self._look_at(run) for run in free]
        notices = tuple(notice for some in found for notice in some)
        return Look(at=at, looked=len(free), held=len(open_runs) - len(free), notices=notices)

    # -- one run ------------------------------------------------------------------------------------------------------

    def _look_at(self, run: Run) -> list[Notice]:
        now = self._clock.now()
        reason = self._over(run, now)
        notices: list[Notice] = []
        if reason is None and run.state in RUNNING:
            try:
                reason = self._lost(run)
            except CloudAccelError as error:
                notices.append(_unasked(run, error))
        if reason is not None:
            return [*notices, *self._end(run, reason)]
        return [*notices, *self._warnings(run, now)]

    def _over(self, run: Run, now: datetime) -> str | None:
        """Why the run must end, as far as the journal knows; None: no reason."""
        if run.state in _UNPROVED:
            return run.note or "its removal is not proved yet"
        if run.state in RUNNING and run.lease_until is not None and run.lease_until <= now:
            return f"its lease ended at {run.lease_until:%Y-%m-%d %H:%MZ}"
        if run.state in UNFINISHED and (run.held_until or run.created_at) + ABANDONED <= now:
            return "its launch was not finished, and the process is gone"
        return self._spent(run, now)

    def _spent(self, run: Run, now: datetime) -> str | None:
        """Whether the budget is used up before the next look: all attempts count, at the price of their launch."""
        limit, hourly = run.spec.limits.max_total, run.request_price_per_hour
        spent = cost(self._journal, run, now).total
        if run.state not in RUNNING or limit is None or hourly is None or spent is None:
            return None
        if spent + hourly * money.hours(self._next_look_s) < limit:
            return None
        return f"its budget is used up: {money.amount(spent)} of {money.amount(limit)} {run.currency}"

    def _lost(self, run: Run) -> str | None:
        """Why the run cannot go on: a machine of it has ended. None: all of them live, or may be too new to show."""
        for tracked in self._journal.resources(run.id, live=True):
            if tracked.kind == "machine":
                reason = self._ended(run, tracked)
                if reason is not None:
                    return reason
        return None

    def _ended(self, run: Run, tracked: Tracked) -> str | None:
        instances = machines(self._load(tracked.provider))
        account = self._calls.read(lambda: instances.account(region=tracked.region))
        if run.account not in (None, account):  # another account shows none of our machines, and that proves nothing
            raise AuthError(
                f"the run is in account {run.account}, and the credentials are of {account}.",
                provider=tracked.provider, operation="account", code="other_account",
            )  # fmt: skip
        try:
            found = self._calls.read(lambda: instances.get(tracked.id, region=tracked.region))
        except InstanceNotFound:
            shown = tracked.first_seen_at + timedelta(seconds=instances.consistency_s)
            return None if self._clock.now() < shown else f"{tracked.id} is not there any more"
        return _why_ended(found, run, self._clock.now())

    def _end(self, run: Run, reason: str) -> Iterable[Notice]:
        held = self._journal.claim(run)
        if held is None:
            return
        try:
            ending = self._ender.end(held, note=reason)
        except HoldLost:
            return
        except CloudAccelError as error:
            yield _not_gone(run, reason, self._ender.may_bill(run) or ("unknown",), [str(error)])
            return
        finally:
            self._journal.let_go(held)
        if ending.remaining:
            yield _not_gone(run, reason, ending.remaining, ending.problems)
            return
        spent = cost(self._journal, ending.run, self._clock.now())
        total = f", spent {money.amount(spent.total)} {ending.run.currency or ''}".rstrip() if spent.lines else ""
        yield Notice(kind="ended", run=run.id, text=f"Ended, with proof: {reason}{total}.", key=f"ended:{run.id}")

    # -- what goes on -------------------------------------------------------------------------------------------------

    def _warnings(self, run: Run, now: datetime) -> Iterable[Notice]:
        if run.state not in RUNNING or run.lease_until is None:
            return
        key = f"{run.id}:{run.lease_until:%Y-%m-%dT%H:%MZ}"
        if run.lease_until - now <= self._warn:
            minutes = int((run.lease_until - now).total_seconds() // 60)
            more = f"provision extend {run.id} 1h" if _can_extend(run) else "its deadline leaves no room to extend it"
            text = f"Ends in {minutes} min, at {run.lease_until:%H:%MZ} ({more})."
            yield Notice(kind="lease_soon", run=run.id, text=text, key=f"lease_soon:{key}")
        yield from self._budget(run, run.lease_until, now, key)

    def _budget(self, run: Run, lease_until: datetime, now: datetime, key: str) -> Iterable[Notice]:
        limit, hourly = run.spec.limits.max_total, run.request_price_per_hour
        if limit is None:
            return
        spent = cost(self._journal, run, now).total
        if hourly is None or spent is None:
            text = "A budget was given, and the price is unknown: nothing can be kept inside it. End it by hand."
            yield Notice(kind="budget_unknown", run=run.id, text=text, key=f"budget_unknown:{run.id}")
            return
        committed = hourly * money.hours((lease_until - now).total_seconds())
        if spent + committed > limit and hourly > 0:
            at = now + timedelta(hours=float((limit - spent) / hourly))
            text = (
                f"Spent {money.amount(spent)}, and {money.amount(committed)} {run.currency} more until its lease ends: "
                f"over {money.amount(limit)}. It is ended at {at:%Y-%m-%d %H:%MZ}."
            )
            yield Notice(kind="budget_short", run=run.id, text=text, key=f"budget_short:{key}")


def exit_code(notices: Sequence[Notice]) -> int:
    """11 when something may still bill, 8 when a cloud did not answer, else 0."""
    kinds = {notice.kind for notice in notices}
    return 11 if "not_gone" in kinds else 8 if "unasked" in kinds else 0


def _why_ended(found: Instance, run: Run, now: datetime) -> str | None:
    if found.state in ("pending", "running"):
        return None
    said = f" ({found.reason})" if found.reason else ""
    if found.interrupted:
        return f"interrupted: the cloud took {found.id} back{said}"
    if run.deadline_at is not None and run.deadline_at <= now:
        return f"{found.id} has switched itself off at its deadline"
    return f"{found.id} is {found.state}, and not by this program{said}"


def _can_extend(run: Run) -> bool:
    return run.deadline_at is not None and run.lease_until is not None and run.deadline_at > run.lease_until


def _unasked(run: Run, error: CloudAccelError) -> Notice:
    return Notice(
        kind="unasked", run=run.id, key=f"unasked:{run.id}:{error.code}",
        text=f"What lives is not known: {error} It was taken neither for running nor for gone.",
    )  # fmt: skip


def _not_gone(run: Run, reason: str, remaining: Sequence[str], problems: Sequence[str]) -> Notice:
    why = f" {'; '.join(problems)}" if problems else ""
    return Notice(
        kind="not_gone", run=run.id, key=f"not_gone:{run.id}", may_bill=tuple(remaining),
        text=f"MAY STILL BE BILLING, and should have ended ({reason}): {'; '.join(remaining)}.{why}",
    )  # fmt: skip


__all__ = ["WARN_S", "Look", "Notice", "Watcher", "exit_code"]
