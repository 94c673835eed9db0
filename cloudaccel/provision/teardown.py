"""Ending a run: every machine, disk, address and group, each until there is proof that it is gone.

Proof for a machine is the cloud saying "terminated", or "no such machine" once it has been seen or the time in which a
listing may lag is over. An answer that was lost is settled by looking for its token, never by creating again.
"""

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from cloudaccel.errors import AuthError, Conflict, InstanceNotFound, ProviderError
from cloudaccel.protocols import RESOURCE_KINDS, Instance, Instances, Provider, Resource
from cloudaccel.provision import identity
from cloudaccel.provision.calls import AGAIN, Calls, machines
from cloudaccel.provision.clock import Backoff, Clock
from cloudaccel.provision.journal import Journal, request_from_json
from cloudaccel.provision.skew import Clocks
from cloudaccel.provision.values import OVER, Ending, Operation, Run, Tracked
from cloudaccel.provision.waiting import Say, Waits, in_silence

WAIT_S = 900.0


class Ender:
    """Ends runs, one after the other. `load` gives a provider by name; `wait_s` bounds one ending.

    `say`: see `Waits`.
    """

    def __init__(
        self,
        journal: Journal,
        load: Callable[[str], Provider],
        clock: Clock,
        *,
        rng: random.Random | None = None,
        wait_s: float = WAIT_S,
        say: Say = in_silence,
    ) -> None:
        self._journal = journal
        self._load = load
        self._clock = clock
        self._rng = rng
        self._waits = Waits(clock, say)
        self._calls = Calls(self._waits, rng)
        self._wait_s = wait_s
        self._began, self._clocks = clock.now(), Clocks(load, self._calls)

    def end(self, run: Run, *, final_state: str = "deleted", note: str = "") -> Ending:
        """Delete everything of `run`. The run must be held (`Journal.take`); a run that is over stays as it is.

        Raises
        ------
        AuthError
            If the credentials are of another account than the run's: nothing was touched.
        HoldLost
            If another process has taken the run over, which then ends it or has a reason not to.
        """
        if run.state in OVER and not self._journal.resources(run.id, live=True):
            return Ending(run=run, remaining=(), problems=())
        with self._waits.keeping(lambda: self._journal.renew(run)):
            return self._end(run, final_state, note)

    def _end(self, run: Run, final_state: str, note: str) -> Ending:
        self._same_account(run)
        run = self._journal.update(run, state="deleting", note=note)
        until = self._clock.now() + timedelta(seconds=self._wait_s)
        problems: list[str] = []
        for provider, region in self._places(run):
            try:
                self._clear(run, machines(self._load(provider)), provider, region, until)
            except ProviderError as error:
                problems.append(f"{region}: {error}")
        return self._conclude(run, final_state, note, problems)

    def clear_region(self, run: Run, provider: str, region: str) -> None:
        """Delete what a failed attempt left in a region where the run has no machine."""
        until = self._clock.now() + timedelta(seconds=self._wait_s)
        with self._waits.keeping(lambda: self._journal.renew(run)):
            self._clear(run, machines(self._load(provider)), provider, region, until)

    # -- one place ----------------------------------------------------------------------------------------------------

    def _clear(self, run: Run, instances: Instances, provider: str, region: str, until: datetime) -> None:
        self._began, self._clocks = self._clock.now(), Clocks(self._load, self._calls)
        for operation in self._journal.operations(run.id, states=("intent", "sent")):
            if (operation.provider, operation.region) == (provider, region):
                self._settle(run, instances, operation, until)
        self._list(run, instances, provider, region)
        here = [r for r in self._journal.resources(run.id, live=True) if (r.provider, r.region) == (provider, region)]
        self._end_machines(run, instances, [r for r in here if r.kind == "machine"], until)
        self._list(run, instances, provider, region)
        here = [r for r in self._journal.resources(run.id, live=True) if (r.provider, r.region) == (provider, region)]
        for tracked in sorted((r for r in here if r.kind != "machine"), key=lambda r: RESOURCE_KINDS.index(r.kind)):
            self._remove(run, instances, tracked, until)

    def _shown(self, made_at: datetime, instances: Instances, provider: str, region: str) -> datetime:
        """When every listing shows what was made at `made_at`, by this clock.

        Counted from the start of this clearing where the clock was set since, as far as that can be told: it is far
        from the cloud's now, or `made_at` is still to come.
        """
        if made_at > self._clock.now() or self._clocks.at(provider, region).is_off:
            made_at = self._began
        return made_at + timedelta(seconds=instances.consistency_s)

    def _settle(self, run: Run, instances: Instances, operation: Operation, until: datetime) -> None:
        """Find out whether a call ran: look for its token for as long as a listing may lag."""
        if operation.state == "intent" or operation.sent_at is None:
            self._regroup(run, instances, operation)
            self._journal.settled(operation.token, "failed")  # it was never sent
            return
        sent_at = operation.last_sent_at or operation.sent_at
        window = self._shown(sent_at, instances, operation.provider, operation.region)
        backoff = Backoff(1, 10, self._rng)
        while True:
            found = self._calls.read(lambda: instances.find(operation.token, region=operation.region))
            if found:
                self._note(run, operation.provider, found, operation.token)
                self._journal.settled(operation.token, "done")
                return
            if self._clock.now() >= window:
                self._journal.settled(operation.token, "absent")
                return
            if self._clock.now() >= until:
                return
            self._waits.pause(backoff.next_s(), f"machines of a lost answer to show in {operation.region}", window)

    def _regroup(self, run: Run, instances: Instances, operation: Operation) -> None:
        """Learn which groups were made for a call that was never sent, by making them again under the same name.

        The process may have died after it made them and before it wrote so, and a listing may not show them yet. Where
        making them is refused now, the listing is waited for: it may not have been refused then.
        """
        request = request_from_json(operation.request)
        try:
            _, groups = self._calls.prepare(instances, request)
        except AGAIN:
            raise
        except ProviderError as error:
            sure = self._clock.now() + timedelta(seconds=instances.consistency_s)
            what = f"groups to show in {operation.region}, if there are any, since they could not be asked for: {error}"
            self._waits.pause(instances.consistency_s, what, sure)
            return
        self._journal.seen(run.id, operation.provider, operation.region, [(g.kind, g.id) for g in groups])

    def _note(self, run: Run, provider: str, found: Iterable[Instance], token: str | None = None) -> None:
        for machine in found:
            known = [("machine", machine.id), *machine.attached]
            self._journal.seen(run.id, provider, machine.region, known, token)

    def _list(self, run: Run, instances: Instances, provider: str, region: str) -> None:
        tags = {identity.TAG_INSTALL: self._journal.install_id(), identity.TAG_RUN: run.id}
        for resource in self._calls.read(lambda: tuple(instances.resources(tags=tags, region=region))):
            if resource.state != "terminated":
                self._journal.seen(run.id, provider, region, [(resource.kind, resource.id)])

    def _end_machines(self, run: Run, instances: Instances, tracked: list[Tracked], until: datetime) -> None:
        waiting = list(tracked)
        backoff = Backoff(1, 10, self._rng)
        while waiting:
            waiting = [machine for machine in waiting if not self._ended(run, instances, machine)]
            if waiting and self._clock.now() >= until:
                return
            if waiting:
                what = f"machine{'s' if len(waiting) > 1 else ''} {', '.join(m.id for m in waiting)} to end"
                self._waits.pause(backoff.next_s(), what, until)

    def _ended(self, run: Run, instances: Instances, tracked: Tracked) -> bool:
        """Whether there is proof that the machine is gone; asks for its end when there is none."""
        try:
            machine = self._calls.read(lambda: instances.get(tracked.id, region=tracked.region))
            self._note(run, tracked.provider, [machine], tracked.token)
            if machine.state == "terminated":
                self._journal.gone(run.id, "machine", tracked.id)
                return True
            if machine.state != "stopping":
                self._calls.read(lambda: instances.delete(tracked.id, region=tracked.region))
            return False
        except InstanceNotFound:
            return self._not_found(run, instances, tracked)

    def _not_found(self, run: Run, instances: Instances, tracked: Tracked) -> bool:
        """A machine that is not listed: not yet, while a listing may lag; after that, not any more."""
        if self._clock.now() < self._shown(tracked.first_seen_at, instances, tracked.provider, tracked.region):
            with suppress(ProviderError):  # an end may be asked for before a listing shows the machine
                instances.delete(tracked.id, region=tracked.region)
            return False
        self._journal.gone(run.id, "machine", tracked.id)
        return True

    def _remove(self, run: Run, instances: Instances, tracked: Tracked, until: datetime) -> None:
        resource = Resource(kind=tracked.kind, id=tracked.id, region=tracked.region, state="live", tags={}, bills=True)
        backoff = Backoff(1, 10, self._rng)
        asked = False
        named = f"{tracked.kind.replace('_', ' ')} {tracked.id}"
        while True:
            what, at_most = f"{named} to go", until
            try:
                self._calls.read(lambda: instances.remove(resource))
                asked = True
            except InstanceNotFound:
                certain = self._shown(tracked.first_seen_at, instances, tracked.provider, tracked.region)
                lags = self._clock.now() < certain
                what, at_most = f"listings to be sure of {named}, which they may not show yet", min(certain, until)
                if asked or not lags or tracked.kind in ("disk", "interface"):
                    # Ours to see means it existed; disks and interfaces go with their machine, whose end is proved.
                    self._journal.gone(run.id, tracked.kind, tracked.id)
                    return
            except Conflict:
                pass  # something still uses it, which ends by itself
            if self._clock.now() >= until:
                return
            self._waits.pause(backoff.next_s(), what, at_most)

    # -- the whole run ------------------------------------------------------------------------------------------------

    def _places(self, run: Run) -> tuple[tuple[str, str], ...]:
        used = [(o.provider, o.region) for o in self._journal.operations(run.id)]
        used += [(r.provider, r.region) for r in self._journal.resources(run.id)]
        return tuple(dict.fromkeys(used))

    def _same_account(self, run: Run) -> None:
        if run.account is None or run.provider is None or not self._places(run):
            return
        region = run.region or self._places(run)[0][1]
        instances = machines(self._load(run.provider))
        account = self._calls.read(lambda: instances.account(region=region))
        if account != run.account:
            left = ", ".join(may_bill(self._journal, run)) or "unknown"
            raise AuthError(
                f"run {run.id} is in account {run.account}, and the credentials are of {account}: nothing was touched. "
                f"Use those of {run.account}. May still be billing: {left}.",
                provider=run.provider, operation="delete", code="other_account",
            )  # fmt: skip

    def _conclude(self, run: Run, final_state: str, note: str, problems: list[str]) -> Ending:
        remaining = may_bill(self._journal, run)
        if remaining or problems:
            note = "\n".join(line for line in (note, *problems) if line)[:2000]  # why, then what stands in the way
            run = self._journal.update(run, state="leak_suspected", note=note)
            return Ending(run=run, remaining=remaining or tuple(problems), problems=tuple(problems))
        run = self._journal.update(run, state=final_state, ended_at=self._clock.now(), note=note)
        return Ending(run=run, remaining=(), problems=())


def may_bill(journal: Journal, run: Run) -> tuple[str, ...]:
    """What may exist of a run, for people: live resources, and calls whose outcome nobody knows."""
    live = [f"{r.kind} {r.id} ({r.region})" for r in journal.resources(run.id, live=True)]
    lost = journal.operations(run.id, states=("sent",))
    return (*live, *(f"unknown outcome of token {o.token} ({o.region})" for o in lost))
