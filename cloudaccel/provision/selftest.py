"""Proof on an account, rather than in tests, that runs start once, end in time, and leave nothing.

Each step starts one machine of the cheapest plain type and ends it with proof. The record says whether a real cloud
answered or a fake one, and when.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from cloudaccel import __version__
from cloudaccel.errors import CloudAccelError, InstanceNotFound, LimitExceeded, OutcomeUnknown, RequestInvalid
from cloudaccel.protocols import Instance, InstanceRequest, Instances, Provider, Quotas, Trial
from cloudaccel.provision import identity, money
from cloudaccel.provision.calls import Calls, machines
from cloudaccel.provision.clock import Clock
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.launch import Launcher
from cloudaccel.provision.proofs import Record, Step
from cloudaccel.provision.teardown import Ender
from cloudaccel.provision.values import OVER, Candidate, Limits, Options, Outcome, Run, Spec
from cloudaccel.provision.waiting import Say, Waits, in_silence
from cloudaccel.provision.watching import Watcher

LEASE_S = 900.0  # of the machines that are ended at once; a limit for when they are not
SHORT_LEASE_S = 240.0  # longer than a machine takes to start
LATE_S = 600.0  # how long after its deadline a machine may still be ending itself


class SelfTest:
    """Runs the steps. `wait_s`: how long a deadline is waited for at most, beyond itself. `say`: see `Waits`."""

    def __init__(
        self, journal: Journal, provider: Provider, clock: Clock, *, region: str | None = None,
        log: Callable[[Step], None] = lambda _: None, short_lease_s: float = SHORT_LEASE_S, wait_s: float = LATE_S,
        say: Say = in_silence,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._provider = provider
        self._clock = clock
        self._instances = machines(provider)
        self._trial = _trial(self._instances, provider.name)
        self._region = region or self._trial.region
        self._log = log
        self._short_lease_s = short_lease_s
        self._wait_s = wait_s
        self._say = say
        self._waits = Waits(clock, say)
        self._runs: list[Run] = []

    @property
    def most(self) -> Decimal:
        """What all machines together may cost at most, in the currency of the trial: each for its whole lease."""
        seconds = 2 * LEASE_S + 2 * self._short_lease_s + self._wait_s
        return self._trial.price_bound * money.hours(seconds)

    @property
    def trial(self) -> Trial:
        """What is started."""
        return self._trial

    @property
    def region(self) -> str:
        """Where."""
        return self._region

    def run(self) -> Record:
        """All steps, one after the other; whatever happens, all that was started is ended."""
        began = self._clock.now()
        steps: list[Step] = []
        try:
            for name, work in self._work():
                steps.append(self._step(name, work))
                self._log(steps[-1])
                if steps[-1].state == "failed" and name == "create":
                    break  # what cannot be started proves nothing more
        except KeyboardInterrupt:
            steps.append(Step(name="interrupted", state="failed", detail="by Ctrl-C or a signal", seconds=0))
        finally:
            left = self._end_all()
        return Record(
            provider=self._provider.name, real=self._instances.real, region=self._region,
            instance=self._trial.instance_type, version=__version__, began_at=began.isoformat(timespec="seconds"),
            steps=tuple(steps), most=str(self.most), currency=self._trial.currency, may_bill=left,
        )  # fmt: skip

    def _work(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "create", self._create
        yield "lost_answer", self._lost_answer
        yield "lease", self._lease
        yield "deadline", self._deadline
        yield "teardown", self._teardown

    def _step(self, name: str, work: Callable[[], str]) -> Step:
        began = self._clock.now()
        try:
            state, detail = "ok", work()
        except _Skipped as skipped:
            state, detail = "skipped", str(skipped)
        except CloudAccelError as error:
            state, detail = "failed", str(error)
        return Step(name=name, state=state, detail=detail, seconds=(self._clock.now() - began).total_seconds())

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _create(self) -> str:
        run = self._up(self._provider, LEASE_S)
        (machine,) = self._seen(run)
        self._end(run)
        return f"{machine} ran, was listed by its tags, and is proved gone"

    def _lost_answer(self) -> str:
        """The first answer is thrown away, as when a connection breaks: the replay must give the same machine."""
        losing = _Losing(self._provider)
        run = self._up(losing, LEASE_S)
        found = self._seen(run)
        self._end(run)
        if not losing.lost or len(found) != 1:
            raise LimitExceeded(f"the answer of one call was lost, and {len(found)} machines were there: {found}")
        return f"the answer was lost, the same call sent again, and there was one machine: {found[0]}"

    def _lease(self) -> str:
        run = self._up(self._provider, self._short_lease_s)
        self._sleep_until(run.lease_until, "lease")
        look = Watcher(self._journal, lambda _: self._provider, self._clock, workers=1, say=self._say).look()
        said = [notice for notice in look.notices if notice.run == run.id]
        if [notice.kind for notice in said] != ["ended"]:
            raise LimitExceeded(f"a look after its lease ended it not: {'; '.join(n.text for n in said) or 'no word'}")
        return said[0].text

    def _deadline(self) -> str:
        """Nobody ends the machine: it must end itself."""
        if not self._instances.real:
            raise _Skipped("no time passes for the machines of a fake cloud")
        if self._trial.keeps_no_deadline:
            raise _Skipped("this cloud ends no machine by itself")
        run = self._up(self._provider, self._short_lease_s)
        self._sleep_until(run.deadline_at, "deadline")
        until = self._clock.now() + timedelta(seconds=self._wait_s)
        while (state := self._state(run)) not in ("terminated", "gone"):
            if self._clock.now() > until:
                raise LimitExceeded(f"the machine is {state} {self._wait_s:.0f} s after its deadline")
            self._waits.pause(15, "the machine to end itself", until)
        self._end(run)
        return "with nobody watching, the machine ended itself"

    def _teardown(self) -> str:
        """Nothing with the tags of these runs is listed any more."""
        left = [found for run in self._runs for found in self._seen(run, machines_only=False)]
        if left:
            raise LimitExceeded(f"still listed: {', '.join(left)}")
        return f"nothing of {len(self._runs)} runs is listed any more: machines, disks, interfaces, addresses, groups"

    # -- inside -------------------------------------------------------------------------------------------------------

    def _up(self, provider: Provider, lease_s: float) -> Run:
        spec = self._spec(lease_s)
        outcome: Outcome = Launcher(self._journal, lambda _: provider, self._clock, say=self._say).up(spec)
        self._runs.append(outcome.run)
        if outcome.reason == "interrupted":
            raise KeyboardInterrupt
        if outcome.exit_code:
            raise _failure(outcome)
        return outcome.run

    def _spec(self, lease_s: float) -> Spec:
        trial = self._trial
        candidate = Candidate(
            provider=self._provider.name, partition=self._provider.name, region=self._region, zone=None,
            instance=trial.instance_type, accelerator_id=None, accelerator_count=None, nodes=1, market="on_demand",
            price_per_hour=trial.price_bound, currency=trial.currency, price_as_of=trial.as_of, offer_id="",
            catalog_id="",
        )  # fmt: skip
        limits = Limits(max_total=None, currency=trial.currency, regions=(self._region,))
        options = Options(owner="selftest", accept_no_deadline=True)
        return Spec(asked="selftest", candidates=(candidate,), limits=limits, options=options, lease_s=lease_s)

    def _seen(self, run: Run, *, machines_only: bool = True) -> list[str]:
        """What the cloud lists with the run's tags and has not ended; it may lag."""
        tags = {identity.TAG_INSTALL: self._journal.install_id(), identity.TAG_RUN: run.id}
        until = self._clock.now() + timedelta(seconds=self._instances.consistency_s)
        calls = Calls(self._waits)
        while True:
            found = [
                f"{r.kind} {r.id}"
                for r in calls.read(lambda: tuple(self._instances.resources(tags=tags, region=self._region)))
                if r.state != "terminated" and (r.kind == "machine" or not machines_only)
            ]
            if bool(found) is machines_only or self._clock.now() > until:
                return found
            self._waits.pause(5, "listings to be sure", until)

    def _state(self, run: Run) -> str:
        (tracked,) = [r for r in self._journal.resources(run.id) if r.kind == "machine"]
        with suppress(InstanceNotFound):
            return Calls(self._waits).read(lambda: self._instances.get(tracked.id, region=tracked.region)).state
        return "gone"

    def _sleep_until(self, moment: datetime | None, which: str) -> None:
        if moment is not None:
            left_s = (moment - self._clock.now()).total_seconds() + 1
            self._waits.pause(left_s, f"the {which} of the machine to be over", moment)

    def _end(self, run: Run) -> None:
        held = self._journal.take(self._journal.run(run.id))
        try:
            ender = Ender(self._journal, lambda _: self._provider, self._clock, say=self._say)
            ending = ender.end(held, note="self-test")
        finally:
            self._journal.let_go(held)
        if ending.remaining:
            raise OutcomeUnknown(f"not proved gone: {'; '.join(ending.remaining)}", provider=self._provider.name)

    def _end_all(self) -> tuple[str, ...]:
        left: list[str] = []
        for run in self._runs:
            now = self._journal.run(run.id)
            if now.state in OVER and not self._journal.resources(run.id, live=True):
                continue
            try:
                self._end(now)
            except CloudAccelError as error:
                left.append(f"run {run.id}: {error}")
        return tuple(left)


class _Skipped(Exception):
    pass


def _trial(instances: Instances, name: str) -> Trial:
    if instances.trial is None:
        raise RequestInvalid(f"{name}: no self-test is built for this provider.", provider=name, code="not_built")
    return instances.trial


def _failure(outcome: Outcome) -> CloudAccelError:
    error = CloudAccelError(outcome.reason)
    error.exit_code = outcome.exit_code
    return error


class _Losing:
    """The provider, of which the answer of the first create call never arrives."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.lost = False

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def quotas(self) -> Quotas | None:
        return self._provider.quotas

    @property
    def instances(self) -> Instances | None:
        return cast(Instances, self)

    def create(self, request: InstanceRequest) -> tuple[Instance, ...]:
        made = machines(self._provider).create(request)
        if self.lost:
            return made
        self.lost = True
        raise OutcomeUnknown(
            "the self-test threw the answer away.", provider=self.name, operation="create", code="selftest"
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(machines(self._provider), name)


__all__ = ["SelfTest"]
