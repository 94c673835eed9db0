"""One look over every run, for whoever comes round again: what must end is ended, what must be known is said.

A look asks the cloud what lives; not being told is never taken for an end. Runs that a living process holds are left to
it, and two watchers at once do no harm: a run is claimed before anything is decided about it.
"""

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from cloudaccel.errors import AuthError, CloudAccelError, InstanceNotFound, ProviderError
from cloudaccel.protocols import Instance, Instances, Provider
from cloudaccel.provision import money, standing
from cloudaccel.provision.calls import Calls, machines
from cloudaccel.provision.clock import Clock
from cloudaccel.provision.cost import cost
from cloudaccel.provision.journal import HoldLost, Journal
from cloudaccel.provision.launch import Launcher
from cloudaccel.provision.lease import RUNNING
from cloudaccel.provision.reports import Report, idle_since, read_report
from cloudaccel.provision.skew import Clocks, Skew
from cloudaccel.provision.standing import Standing
from cloudaccel.provision.teardown import WAIT_S, Ender, may_bill
from cloudaccel.provision.values import UNFINISHED, Run, Spec, Tracked
from cloudaccel.provision.waiting import Say, Waits, in_silence
from cloudaccel.units import counted

WARN_S = 1800.0
IDLE_SAID = timedelta(minutes=30)
BOOTED = timedelta(minutes=15)  # by then a machine has written its first report
RESTART_LEAST_S = 900.0  # a lease of less is over before a machine has done anything
ABANDONED = timedelta(minutes=30)  # for so long the same words may still go on with a run whose process is gone
_INTERRUPTED = "interrupted:"
_LEFT = "its launch was not finished, and the process is gone"
_UNPROVED = ("deleting", "leak_suspected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One piece of news about a run.

    Attributes
    ----------
    kind
        ``clock`` (this machine's is far from the cloud's, so that nothing was decided), ``ended`` (all of it, with
        proof), ``not_gone`` (may still bill), ``lease_soon``, ``budget_short`` (the lease costs more than is left),
        ``budget_unknown`` (no price, so no guard), ``unasked`` (the cloud did not say), ``idle``, ``use_unknown`` (it
        should end when idle, and use is not reported), ``unhealthy`` (accelerators do not answer),
        ``interruption_soon`` (announced by the cloud), ``restarted``, ``not_restarted``.
    text
        One sentence for people.
    key
        The same key is the same news, at every look; a later lease or another reason is another key.
    may_bill
        Ids of what may still exist; only with ``not_gone`` and ``clock``.
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
    `say`: see `Waits`.
    `limits`: those that stand, also for what is started again.
    """

    def __init__(
        self,
        journal: Journal,
        load: Callable[[str], Provider],
        clock: Clock,
        *,
        warn_s: float = WARN_S,
        next_look_s: float = 0.0,
        limits: Callable[[], Standing] = standing.of_settings,
        workers: int = 4,
        wait_s: float = WAIT_S,
        say: Say = in_silence,
        rng: random.Random | None = None,
    ) -> None:
        self._journal = journal
        self._load = load
        self._clock = clock
        self._warn = timedelta(seconds=warn_s)
        self._next_look_s = next_look_s
        self._limits = limits
        self._workers = workers
        self._wait_s = wait_s
        self._say = say
        self._rng = rng
        self._calls = Calls(Waits(clock, say), rng, patience_s=10)

    def look(self) -> Look:
        """One look at every run that is not over. What fails for one run is news of it and keeps no other waiting."""
        at = self._clock.now()
        accounts, clocks = _Accounts(self._calls), Clocks(self._load, self._calls)
        open_runs = self._journal.runs(states=(*UNFINISHED, *RUNNING, *_UNPROVED, "interrupted"))
        free = sorted((r for r in open_runs if self._journal.is_free(r)), key=lambda r: r.lease_until or r.created_at)
        if self._workers > 1 and len(free) > 1:
            with ThreadPoolExecutor(max_workers=self._workers) as pool:
                found = list(pool.map(partial(self._look_at, accounts=accounts, clocks=clocks), free))
        else:
            found = [self._look_at(run, accounts, clocks) for run in free]
        notices = tuple(notice for some in found for notice in some)
        return Look(at=at, looked=len(free), held=len(open_runs) - len(free), notices=notices)

    # -- one run ------------------------------------------------------------------------------------------------------

    def _look_at(self, run: Run, accounts: "_Accounts", clocks: Clocks) -> list[Notice]:
        now = self._clock.now()
        # What is to be gone already is late by no clock.
        skew = None if run.state in _UNPROVED else clocks.of(run, self._journal)
        if skew is not None and skew.is_off:
            return [self._not_judged(run, skew)]
        if run.state == "interrupted":
            return list(self._again(run))
        alone = _alone(skew)
        reason = self._over(run, now)
        if reason is not None:
            reason += alone
        notices: list[Notice] = []
        if reason is None and run.state in RUNNING:
            try:
                reason, reports = self._ask(run, accounts)
                if reason is None:
                    notices += self._reported(run, reports, now)
                    idle = self._idle(run, reports, now)
                    reason = None if idle is None else idle + alone
            except CloudAccelError as error:
                notices.append(_unasked(run, error))
        if reason is not None:
            return [*notices, *self._end(run, reason)]
        return [*notices, *self._warnings(run, now)]

    def _not_judged(self, run: Run, skew: Skew) -> Notice:
        """That nothing was decided, since that takes a clock; whether the run is over by the cloud's."""
        late = run.state in RUNNING and run.lease_until is not None and run.lease_until <= (skew.there or skew.here)
        over = f" By {skew.provider}'s its lease is over: provision down {run.id}." if late else ""
        return Notice(
            kind="clock", run=run.id, may_bill=may_bill(self._journal, run),
            key=f"clock:{run.id}:{skew.there or skew.here:%Y-%m-%d}",
            text=f"{skew.text} Until then nothing of it is ended or started again for a time that has come.{over}",
        )  # fmt: skip

    def _over(self, run: Run, now: datetime) -> str | None:
        """Why the run must end, as far as the journal knows; None: no reason."""
        if run.state in _UNPROVED:
            return run.note.partition("\n")[0] or "its removal is not proved yet"
        if run.state in RUNNING and run.lease_until is not None and run.lease_until <= now:
            return f"its lease ended at {run.lease_until:%Y-%m-%d %H:%MZ}"
        if run.state in UNFINISHED and (run.held_until or run.created_at) + ABANDONED <= now:
            return None if self._is_restart(run) else _LEFT
        return self._spent(run, now)

    def _is_restart(self, run: Run) -> bool:
        """Whether it was begun for a run that still waits to be started again: that one's look decides about it."""
        before = run.spec.restart_of
        return before is not None and self._journal.run(before).state == "interrupted"

    def _spent(self, run: Run, now: datetime) -> str | None:
        """Whether the budget is used up before the next look: all attempts count, at the price of their launch."""
        limit, hourly = run.spec.limits.max_total, run.request_price_per_hour
        spent = cost(self._journal, run, now).total
        if run.state not in RUNNING or limit is None or hourly is None or spent is None:
            return None
        if spent + hourly * money.hours(self._next_look_s) < limit:
            return None
        return f"its budget is used up: {money.amount(spent)} of {money.amount(limit)} {run.currency}"

    def _ask(self, run: Run, accounts: "_Accounts") -> tuple[str | None, list[Report | None]]:
        """Why the run cannot go on, a machine of it having ended, and the machines' reports.

        None: all of them live, or may be too new to show.
        """
        reports: list[Report | None] = []
        for tracked in self._journal.resources(run.id, live=True):
            if tracked.kind == "machine":
                instances = machines(self._load(tracked.provider))
                accounts.check(run, tracked, instances)
                reason = self._ended(run, tracked, instances)
                if reason is not None:
                    return reason, []
                reports.append(self._report(tracked, instances))
        return None, reports

    def _report(self, tracked: Tracked, instances: Instances) -> Report | None:
        try:
            console = self._calls.read(lambda: instances.console(tracked.id, region=tracked.region))
        except ProviderError:
            return None  # its use is then not known, which is all that a report is for
        return read_report(console, self._clock.now())

    def _idle(self, run: Run, reports: Sequence[Report | None], now: datetime) -> str | None:
        """Why the run must end, if it should when nothing is computed. Use that is not known is no idleness."""
        since, most = idle_since(reports), run.spec.options.end_idle_s
        if since != run.idle_since:
            self._journal.note_idle(run, since)
        if since is None or most is None or (now - since).total_seconds() < most:
            return None
        return f"nothing was computed since {since:%Y-%m-%d %H:%MZ}"

    def _ended(self, run: Run, tracked: Tracked, instances: Instances) -> str | None:
        try:
            found = self._calls.read(lambda: instances.get(tracked.id, region=tracked.region))
        except InstanceNotFound:
            shown, now = tracked.first_seen_at + timedelta(seconds=instances.consistency_s), self._clock.now()
            return None if tracked.first_seen_at <= now < shown else f"{tracked.id} is not there any more"
        return _why_ended(found, run, self._clock.now())

    def _end(self, run: Run, reason: str) -> Iterable[Notice]:
        held = self._journal.claim(run)
        if held is None:
            return
        again = reason.startswith(_INTERRUPTED) and run.spec.options.on_interruption == "restart"
        try:
            ender = self._ender()
            ending = ender.end(held, note=reason, final_state="interrupted" if again else "deleted")
        except HoldLost:
            return
        except CloudAccelError as error:
            yield _not_gone(run, reason, may_bill(self._journal, run) or ("unknown",), [str(error)])
            return
        finally:
            self._journal.let_go(held)
        if ending.remaining:
            yield _not_gone(run, reason, ending.remaining, ending.problems)
            return
        spent = cost(self._journal, ending.run, self._clock.now())
        total = f", spent {money.amount(spent.total)} {ending.run.currency or ''}".rstrip() if spent.lines else ""
        yield Notice(kind="ended", run=run.id, text=f"Ended, with proof: {reason}{total}.", key=f"ended:{run.id}")
        if again:
            yield from self._again(ending.run)

    def _ender(self) -> Ender:
        """One for each run, since several are ended side by side."""
        return Ender(self._journal, self._load, self._clock, rng=self._rng, wait_s=self._wait_s, say=self._say)

    # -- starting again -----------------------------------------------------------------------------------------------

    def _again(self, run: Run) -> Iterable[Notice]:
        """Start an interrupted run again, or go on with that: whatever dies in between, one other run comes of it."""
        held = self._journal.claim(run)
        if held is None:
            return
        try:
            yield from self._restart(held)
        except HoldLost:
            return  # it, or what was begun for it, was taken by whoever ends it
        except CloudAccelError as error:
            yield self._not_restarted(run, f"Not started again yet, and tried again at the next look: {error}")
        finally:
            self._journal.let_go(held)

    def _restart(self, run: Run) -> Iterable[Notice]:
        """As a new run, in another place first, for what is left of lease and budget."""
        begun = [other for other in self._journal.runs() if other.spec.restart_of == run.id]
        if any(other.state in UNFINISHED and not self._journal.is_free(other) for other in begun):
            return  # a process is at it
        for other in [other for other in begun if other.state in UNFINISHED]:
            yield from self._clear(other)
        begun = [self._journal.run(other.id) for other in begun]
        if any(other.state in (*UNFINISHED, *_UNPROVED) for other in begun):
            return  # what becomes of it is not known yet
        done = next((other for other in begun if other.state != "failed"), None)
        if done is not None:
            self._journal.update(run, state="deleted")
            yield _goes_on(run, done)
            return
        yield from self._launch(run, begun)

    def _clear(self, begun: Run) -> Iterable[Notice]:
        """End what a process that died had begun: a new one is counted from now, not from then."""
        held = self._journal.claim(begun)
        if held is None:
            return
        try:
            ender = self._ender()
            ending = ender.end(held, note=_LEFT, final_state="failed")
        finally:
            self._journal.let_go(held)
        if ending.remaining:
            yield _not_gone(begun, _LEFT, ending.remaining, ending.problems)

    def _launch(self, run: Run, failed: Sequence[Run]) -> Iterable[Notice]:
        now = self._clock.now()
        left_s = (run.lease_until - now).total_seconds() if run.lease_until else 0.0
        spec = _rest(run, left_s, _total([cost(self._journal, one, now).total for one in (run, *failed)]))
        if spec is None:
            self._journal.update(run, state="deleted")
            text = f"Not started again: too little is left of its lease ({max(left_s, 0) // 60:.0f} min) or budget."
            yield self._not_restarted(run, text)
            return
        launcher = Launcher(
            self._journal, self._load, self._clock, rng=self._rng, standing=self._limits(), say=self._say
        )  # fmt: skip
        begun = self._journal.open_run(spec, principal=run.principal, project=run.project)
        outcome = launcher.up(spec, resume=begun)
        self._journal.update(run, state="deleted")
        if outcome.exit_code == 0:
            yield _goes_on(run, outcome.run)
        elif outcome.may_bill:
            yield _not_gone(begun, f"restart of {run.id} failed", outcome.may_bill, [outcome.reason])
        else:
            text = f"Could not be started again (run {begun.id}), and nothing of it is left: {outcome.reason}"
            yield self._not_restarted(run, text)

    def _not_restarted(self, run: Run, text: str) -> Notice:
        return Notice(kind="not_restarted", run=run.id, text=text, key=f"not_restarted:{run.id}")

    # -- what goes on -------------------------------------------------------------------------------------------------

    def _reported(self, run: Run, reports: Sequence[Report | None], now: datetime) -> Iterable[Notice]:
        """What the machines say of themselves."""
        if any(report is not None and report.notice for report in reports):
            text = "The cloud has announced that it takes a machine back within minutes: save what must not be lost."
            yield Notice(kind="interruption_soon", run=run.id, text=text, key=f"interruption_soon:{run.id}")
        if run.launched_at is None or now < run.launched_at + BOOTED:
            return
        wanted = _whole(run.accelerator_count)
        short = [r for r in reports if r is not None and wanted and (r.accelerators or 0) < wanted]
        if short:
            where = counted(len(short), "machine")
            text = f"{short[0].accelerators or 'None'} of {wanted} accelerators answer on {where}."
            yield Notice(kind="unhealthy", run=run.id, text=text, key=f"unhealthy:{run.id}")
        since = idle_since(reports)
        if since is not None and now - since >= IDLE_SAID:
            price = f" at {money.amount(run.request_price_per_hour)} {run.currency or ''}/h".rstrip()
            text = f"Nothing was computed since {since:%Y-%m-%d %H:%MZ}{price}: provision down {run.id}"
            yield Notice(kind="idle", run=run.id, text=text, key=f"idle:{run.id}:{since:%Y-%m-%dT%H:%M}")
        if run.spec.options.end_idle_s is not None and any(r is None or r.use_percent is None for r in reports):
            text = "It should end when idle, and its machines do not say how busy they are: it is not ended for that."
            yield Notice(kind="use_unknown", run=run.id, text=text, key=f"use_unknown:{run.id}")

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
    """11 when something may still bill (whatever a wrong clock leaves running too), 8 for a silent cloud, else 0."""
    kinds = {notice.kind for notice in notices}
    return 11 if kinds & {"not_gone", "clock"} else 8 if "unasked" in kinds else 0


def _alone(skew: Skew | None) -> str:
    """What is added to why a run ends where no cloud's clock could be asked."""
    if skew is None or skew.there is not None:
        return ""
    return f", by this machine's clock alone: {skew.provider} did not say what time it is"


def _why_ended(found: Instance, run: Run, now: datetime) -> str | None:
    if found.state in ("pending", "running"):
        return None
    said = f" ({found.reason})" if found.reason else ""
    if found.interrupted:
        return f"{_INTERRUPTED} the cloud took {found.id} back{said}"
    if run.deadline_at is not None and run.deadline_at <= now:
        return f"{found.id} has switched itself off at its deadline"
    return f"{found.id} is {found.state}, and not by this program{said}"


def _rest(run: Run, left_s: float, spent: Decimal | None) -> Spec | None:
    """What is left of the run's request, the place that took it back last; None: too little to start anything."""
    spec, limits = run.spec, run.spec.limits
    if limits.max_total is not None and spent is not None:
        limits = replace(limits, max_total=limits.max_total - spent)
    if left_s < RESTART_LEAST_S or (limits.max_total is not None and limits.max_total <= 0):
        return None
    taken = (run.provider, run.region, run.instance, run.market)
    order = sorted(spec.candidates, key=lambda c: (c.provider, c.region, c.instance, c.market) == taken)
    lease_s = float(int(left_s))
    return replace(spec, candidates=tuple(order), limits=limits, lease_s=lease_s, restart_of=run.id)


def _total(parts: Sequence[Decimal | None]) -> Decimal | None:
    known = [part for part in parts if part is not None]
    return sum(known, Decimal(0)) if len(known) == len(parts) else None


def _goes_on(run: Run, other: Run) -> Notice:
    where = f"in {other.provider} {other.zone}, for what was left of lease and budget"
    return Notice(
        kind="restarted", run=run.id, text=f"Goes on as run {other.id} {where}.", key=f"restarted:{run.id}"
    )  # fmt: skip


class _Accounts:
    """Whose the credentials are, asked once a look for each provider and region; also that it was not said."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], str | CloudAccelError] = {}

    def check(self, run: Run, tracked: Tracked, instances: Instances) -> None:
        """Raises `AuthError` in another account: it shows none of the run's machines, and that proves nothing."""
        account = self._of(tracked, instances)
        if isinstance(account, CloudAccelError):
            raise account
        if run.account not in (None, account):
            raise AuthError(
                f"the run is in account {run.account}, and the credentials are of {account}.",
                provider=tracked.provider, operation="account", code="other_account",
            )  # fmt: skip

    def _of(self, tracked: Tracked, instances: Instances) -> str | CloudAccelError:
        key = (tracked.provider, tracked.region)
        with self._lock:
            if key not in self._said:
                try:
                    self._said[key] = self._calls.read(lambda: instances.account(region=tracked.region))
                except CloudAccelError as error:
                    self._said[key] = error
            return self._said[key]


def _whole(count: str | None) -> int | None:
    return int(count) if count is not None and count.isdecimal() else None


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
