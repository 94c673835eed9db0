"""Finding what nobody ended: runs past their lease, calls that nobody knows the outcome of, and things with our tags
that the journal does not know. It looks; it deletes only when told to; and it never touches another's."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cloudaccel.errors import Conflict, InstanceNotFound, ProviderError
from cloudaccel.protocols import RESOURCE_KINDS, Instances, Provider, Resource
from cloudaccel.provision import identity, lease
from cloudaccel.provision.calls import Calls, machines
from cloudaccel.provision.clock import Backoff, Clock
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.skew import Clocks, Skew
from cloudaccel.provision.teardown import Ender
from cloudaccel.provision.values import OVER, UNFINISHED, Run
from cloudaccel.provision.waiting import Say, Waits, in_silence

GRACE = timedelta(minutes=15)  # after its deadline a machine that ends itself may still be at it
TOMBSTONE = timedelta(hours=24)  # for so long a call that seems not to have run is looked for again
WAIT_S = 600.0
_LATE = ("lease_over", "abandoned")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to end, or to leave alone.

    `kind`: ``lease_over``, ``abandoned`` (its process is gone), ``unproved`` (a removal), ``orphan`` (ours, and no run
    that lives has it), ``foreign`` (another installation's), ``unasked`` (a region did not answer), ``clock`` (this
    machine's is far from the cloud's). `gone` after a deletion: True with proof. `region` and `resource` are None for
    whole runs.
    """

    kind: str
    what: str
    run: str | None
    provider: str
    region: str | None
    resource: Resource | None = None
    gone: bool = False
    detail: str = ""

    @property
    def ours(self) -> bool:
        """Whether it may be deleted."""
        return self.kind not in ("foreign", "unasked", "clock")

    def is_overdue(self, now: datetime) -> bool:
        """Whether it is a thing of no run, and the deadline in its own tag is over: no run can still be meant by it."""
        if self.kind != "orphan" or self.resource is None:
            return False
        ends = _ends_at(self.resource)
        return ends is not None and ends + GRACE.total_seconds() <= now.timestamp()


class Reaper:
    """Looks for leftovers. `adopt`: ids of other installations whose things count as ours (a lost journal).

    `say`: see `Waits`.
    """

    def __init__(
        self, journal: Journal, load: Callable[[str], Provider], clock: Clock, *, adopt: Iterable[str] = (),
        say: Say = in_silence, rng: random.Random | None = None,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._load = load
        self._clock = clock
        self._say = say
        self._waits = Waits(clock, say)
        self._rng = rng
        self._calls = Calls(self._waits, rng, patience_s=30)
        self._clocks = Clocks(load, self._calls)
        self._ours = {journal.install_id(), *adopt}

    def runs(self) -> tuple[Finding, ...]:
        """Runs that should have ended, from the journal alone."""
        now = self._clock.now()
        free = [run for run in self._journal.runs() if self._journal.is_free(run)]
        found = [
            self._of_run("lease_over", r, f"lease ended {r.lease_until:%Y-%m-%d %H:%MZ}") for r in lease.due(free, now)
        ]
        found += [
            self._of_run("abandoned", r, "its process is gone")
            for r in free
            if r.state in UNFINISHED and r not in lease.due(free, now)
        ]
        found += [
            self._of_run("unproved", r, r.note)
            for r in free
            if r.state in ("leak_suspected", "deleting") and r not in lease.due(free, now)
        ]
        return tuple(found)

    def places(self) -> tuple[tuple[str, str], ...]:
        """Providers and regions that any run ever used."""
        return tuple(dict.fromkeys((o.provider, o.region) for o in self._journal.operations()))

    def reconcile(self, places: Iterable[tuple[str, str]]) -> tuple[Finding, ...]:
        """What the clouds have with our tags and no living run of the journal has; plus calls to look for again."""
        findings: list[Finding] = []
        for provider, region in places:
            try:
                skew = self._clocks.at(provider, region)
                if skew.is_off:
                    findings.append(
                        Finding(kind="clock", what=region, run=None, provider=provider, region=region, detail=skew.text)
                    )
                findings += self._look(provider, machines(self._load(provider)), region)
            except ProviderError as error:
                detail = " ".join(str(error).split())[:300]  # a proxy's page in the place of an answer has many lines
                findings.append(
                    Finding(kind="unasked", what=region, run=None, provider=provider, region=region, detail=detail)
                )
        return tuple(findings)

    def remove(self, finding: Finding, *, as_overdue: bool = False) -> Finding:
        """End it. `gone` in the result is said only with proof.

        What is to end since a time has come (`as_overdue` too) stays, by a clock that is far from the cloud's.
        """
        if not finding.ours:
            return finding
        skew = self._skew(finding) if as_overdue or finding.kind in _LATE else None
        if skew is not None and skew.is_off:
            return replace(finding, detail=f"not ended by a clock that is wrong. {skew.text}")
        if finding.resource is not None:
            return self._remove_resource(finding, finding.resource)
        held = self._journal.take(self._journal.run(finding.run or ""))
        ender = Ender(self._journal, self._load, self._clock, rng=self._rng, say=self._say)
        try:
            ending = ender.end(held, note=finding.detail)
            return replace(finding, gone=not ending.remaining, detail="; ".join(ending.remaining))
        except ProviderError as error:
            return replace(finding, detail=str(error))
        finally:
            self._journal.let_go(held)

    def _skew(self, finding: Finding) -> Skew | None:
        if finding.resource is not None:
            return self._clocks.at(finding.provider, finding.resource.region)
        return self._clocks.of(self._journal.run(finding.run or ""), self._journal)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _of_run(self, kind: str, run: Run, detail: str) -> Finding:
        what = f"run {run.id} ({run.nodes} x {run.instance or '?'})"
        return Finding(kind=kind, what=what, run=run.id, provider=run.provider or "", region=run.region, detail=detail)

    def _look(self, provider: str, instances: Instances, region: str) -> Iterator[Finding]:
        states = {run.id: run for run in self._journal.runs()}
        for resource in self._calls.read(
            lambda: tuple(instances.resources(tags={identity.TAG_MANAGED: "true"}, region=region))
        ):
            if resource.state == "terminated":
                continue
            kind = self._judge(resource, states)
            if kind is not None:
                yield Finding(
                    kind=kind, what=f"{resource.kind} {resource.id}", run=resource.tags.get(identity.TAG_RUN),
                    provider=provider, region=region, resource=resource, detail=self._detail(kind, resource),
                )  # fmt: skip
        yield from self._tombstones(provider, instances, region)

    def _detail(self, kind: str, resource: Resource) -> str:
        expiry = _expiry(resource, self._clock.now())
        if kind != "foreign":
            return expiry
        return f"{expiry}, of installation {resource.tags.get(identity.TAG_INSTALL) or 'unknown'}".removeprefix(", ")

    def _judge(self, resource: Resource, runs: Mapping[str, Run]) -> str | None:
        """What the resource is to us; None when a run that lives has it."""
        if resource.tags.get(identity.TAG_INSTALL) not in self._ours:
            return "foreign"
        run = runs.get(resource.tags.get(identity.TAG_RUN, ""))
        if run is not None and run.state not in OVER:
            return None
        return "orphan"

    def _tombstones(self, provider: str, instances: Instances, region: str) -> Iterator[Finding]:
        for operation in self._journal.operations(states=("absent",)):
            sent = operation.last_sent_at or operation.sent_at
            recent = sent is not None and self._clock.now() - sent < TOMBSTONE
            if (operation.provider, operation.region) != (provider, region) or not recent:
                continue
            for machine in self._calls.read(lambda o=operation: instances.find(o.token, region=region)):
                if machine.state != "terminated":
                    self._journal.seen(
                        operation.run, provider, region, [("machine", machine.id), *machine.attached], operation.token
                    )
                    resource = Resource(
                        kind="machine", id=machine.id, region=region, state=machine.state, tags={}, bills=True
                    )
                    yield Finding(
                        kind="orphan", what=f"machine {machine.id}", run=operation.run, provider=provider,
                        region=region, resource=resource, detail="a lost answer, found by its token",
                    )  # fmt: skip

    def _remove_resource(self, finding: Finding, resource: Resource) -> Finding:
        instances = machines(self._load(finding.provider))
        until = self._clock.now() + timedelta(seconds=WAIT_S)
        backoff = Backoff(1, 10, self._rng)
        while True:
            try:
                if self._try(instances, resource):
                    if finding.run is not None:
                        self._journal.gone(finding.run, resource.kind, resource.id)
                    return replace(finding, gone=True, detail="")
            except Conflict:
                pass
            except ProviderError as error:
                return replace(finding, detail=str(error))
            if self._clock.now() >= until:
                return replace(finding, detail="not gone yet")
            self._waits.pause(backoff.next_s(), f"{finding.what} to go", until)

    def _try(self, instances: Instances, resource: Resource) -> bool:
        """Ask for the end; True when there is proof of it. A listing has shown it, so "not found" is proof."""
        try:
            if resource.kind != "machine":
                self._calls.read(lambda: instances.remove(resource))
                return False
            if self._calls.read(lambda: instances.get(resource.id, region=resource.region)).state == "terminated":
                return True
            self._calls.read(lambda: instances.delete(resource.id, region=resource.region))
            return False
        except InstanceNotFound:
            return True


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Runs first, then resources in the order in which they can be removed."""
    return sorted(findings, key=lambda f: -1 if f.resource is None else RESOURCE_KINDS.index(f.resource.kind))


def _expiry(resource: Resource, now: datetime) -> str:
    ends = _ends_at(resource)
    if ends is None:
        return ""
    left = ends - int(now.timestamp())
    return f"expires in {left // 60} min" if left > 0 else f"overdue by {-left // 60} min"


def _ends_at(resource: Resource) -> int | None:
    """The deadline in its tag, seconds since 1970; None where there is none that can be read."""
    text = resource.tags.get(identity.TAG_EXPIRES, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None
