"""Starting a run: walk the given places in order, with limits and blocks checked again at each; journal first.

Capacity and quota move on; credentials and policy end that cloud; a wrong request ends the run; everything else sends
the same call with the same token again. While nobody knows whether a call ran, nothing else is sent.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import NoReturn

from cloudaccel.errors import (
    AuthError,
    CapacityUnavailable,
    CloudAccelError,
    Conflict,
    InstanceNotFound,
    LimitExceeded,
    MalformedResponse,
    OutcomeUnknown,
    PolicyDenied,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestInvalid,
)
from cloudaccel.protocols import Instance, InstanceRequest, Provider
from cloudaccel.provision import blocks, money
from cloudaccel.provision.calls import AGAIN, PATIENCE_S, Calls
from cloudaccel.provision.clock import Backoff, Clock
from cloudaccel.provision.cost import cost
from cloudaccel.provision.journal import Journal, request_from_json
from cloudaccel.provision.places import Cloud, Places, build_request, family_of
from cloudaccel.provision.standing import Guard, Standing
from cloudaccel.provision.teardown import Ender, may_bill
from cloudaccel.provision.values import Attempt, Candidate, Limits, Operation, Outcome, Run, Spec
from cloudaccel.provision.waiting import Say, Waits, in_silence

START_S = 900.0  # a machine that is not running by then is taken down again
REPLAY_S = 24 * 3600.0  # for how long a token certainly still means the same call
_STOPS_CLOUD = (AuthError, PolicyDenied)
_STOPS_RUN = (RequestInvalid, Conflict, MalformedResponse, OutcomeUnknown)
NEXT_ROUND = "capacity, to be asked for again at every place"  # what is waited for between two rounds of places
_PATIENCE = ("capacity", "blocked", "throttled", "unavailable")  # what waiting may mend


_Start = Callable[[], tuple[Run, tuple[Instance, ...]]]


class PlacementViolated(LimitExceeded):
    """The machines stand somewhere else than was asked and allowed."""

    code = "placement"


class Launcher:
    """Starts one run. `load` gives a provider by name; `log` gets each attempt as it ends; `say`: see `Waits`."""

    def __init__(
        self,
        journal: Journal,
        load: Callable[[str], Provider],
        clock: Clock,
        *,
        rng: random.Random | None = None,
        log: Callable[[Attempt], None] = lambda _: None,
        patience_s: float | None = None,
        start_s: float = START_S,
        standing: Standing | None = None,
        say: Say = in_silence,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._rng = rng
        self._waits = Waits(clock, say)
        self._calls = Calls(self._waits, rng, PATIENCE_S if patience_s is None else patience_s)
        self._ender = Ender(journal, load, clock, rng=rng, say=say)
        self._log = log
        self._start_s = start_s
        self._standing = standing or Standing()
        self._places = Places(load, clock, self._calls)
        self._attempts: list[Attempt] = []
        self._stopped: set[str] = set()
        self._reservation: str | None = None

    # -- the whole run ------------------------------------------------------------------------------------------------

    def up(self, spec: Spec, *, wait_s: float = 0.0, resume: Run | None = None) -> Outcome:
        """Start a run, or go on with one; it either runs in the end or everything of it is removed.

        `wait_s`: for how long to go round again when all that is missing is capacity. A `KeyboardInterrupt` ends what
        was begun; a second one leaves it, for `teardown`.

        Raises
        ------
        HoldLost
            If another process has taken the run over, such as one that ends it: nothing more is sent.
        """
        run = self._journal.take(resume) if resume else self._journal.open_run(spec)
        self._reservation = run.spec.options.reservation_id
        try:
            with self._waits.keeping(lambda: self._journal.renew(run)):
                return self._walk(run, self._clock.now() + timedelta(seconds=wait_s))
        except KeyboardInterrupt:
            return self._fail(self._journal.renew(run), "interrupted", stopped=True)
        finally:
            self._journal.let_go(run)

    def _walk(self, run: Run, until: datetime) -> Outcome:
        backoff = Backoff(20, 120, self._rng)
        pending = self._pending(run)
        while True:
            started = pending if pending is not None else self._round(run)
            for place in started:
                try:
                    run, machines_now = place()
                    return self._ready(run, machines_now)
                except CloudAccelError as error:
                    if isinstance(error, (*_STOPS_RUN, PlacementViolated)):
                        return self._fail(self._journal.renew(run), str(error))
                    if not isinstance(error, ProviderError | LimitExceeded):
                        raise
            if pending is not None:
                pending = None
                continue
            wait = backoff.next_s()
            if not self._worth_waiting() or self._clock.now() + timedelta(seconds=wait) > until:
                return self._fail(
                    self._journal.renew(run), self._attempts[-1].detail if self._attempts else "no place to try"
                )
            self._waits.pause(wait, NEXT_ROUND, until)

    def _worth_waiting(self) -> bool:
        return any(attempt.outcome in _PATIENCE for attempt in self._attempts)

    def _pending(self, run: Run) -> list[_Start] | None:
        """What a process before us left in the middle: a call that was meant, sent or answered."""
        operations = self._journal.operations(run.id)
        if not operations or operations[-1].state not in ("intent", "sent", "done"):
            return None
        last = operations[-1]
        if last.state == "done" and not any(
            r.token == last.token and r.state == "live" for r in self._journal.resources(run.id)
        ):
            return None
        return [partial(self._resume, run, last)]

    def _round(self, run: Run) -> Iterator[_Start]:
        self._stopped.clear()
        for index, candidate in enumerate(run.spec.candidates):
            if candidate.provider in self._stopped:
                continue
            try:
                zones = self._places.zones(run.spec, candidate)
            except (ProviderError, LimitExceeded) as error:
                yield partial(self._refuse, candidate, error)
                continue
            for zone in zones:
                if self._stopped.intersection(self._stops(candidate)):
                    break
                yield partial(self._try, run, index, candidate, zone)

    def _refuse(self, candidate: Candidate, error: CloudAccelError) -> NoReturn:
        self._record(candidate, candidate.zone or "", error)
        raise error

    def _try(self, run: Run, index: int, candidate: Candidate, zone: str) -> tuple[Run, tuple[Instance, ...]]:
        try:
            return self._start(self._journal.renew(run), index, candidate, zone)
        except (ProviderError, LimitExceeded) as error:
            self._record(candidate, zone, error)
            raise

    # -- one place ----------------------------------------------------------------------------------------------------

    def _checked_limits(self, run: Run, candidate: Candidate) -> Limits:
        """What the caller allows less what the run has spent. Raises `LimitExceeded`, also of the limits that stand."""
        spec, limits = run.spec, self._left(run)
        try:
            money.check_limits(candidate, limits, spec.lease_s)
        except LimitExceeded as error:
            if limits == spec.limits:
                raise
            raise LimitExceeded(
                f"{error} The rest went, or may have gone, to machines that this run had before."
            ) from error
        Guard(self._standing, self._journal, self._clock.now(), run.id).check(spec, candidate)
        money.check_window(limits, self._clock.now())
        return limits

    def _start(self, run: Run, index: int, candidate: Candidate, zone: str) -> tuple[Run, tuple[Instance, ...]]:
        spec = run.spec
        limits = self._checked_limits(run, candidate)
        cloud = self._places.cloud(candidate)
        self._refuse_blocked(cloud, candidate, zone)
        self._places.check_clock(candidate)
        self._places.check_quota(cloud, candidate, spec)
        attempt = len(self._journal.operations(run.id)) + 1
        request = build_request(
            run, candidate, zone, attempt, self._journal.install_id(), self._clock.now(), limits,
            announced=cloud.instances.announced,
        )  # fmt: skip
        request = self._calls.read(lambda: cloud.instances.settle(request))
        self._journal.intend(run, attempt, index, request)
        return self._send(run, index, request, cloud, uncertain=False)

    def _left(self, run: Run) -> Limits:
        """The limits, with what machines of earlier attempts cost, or may have cost, taken off `max_total`."""
        limits = run.spec.limits
        if limits.max_total is None:
            return limits
        spent = cost(self._journal, run, self._clock.now()).total or Decimal(0)
        for operation in self._journal.operations(run.id, states=("absent",)):
            spent += _unseen_cost(run.spec.candidates[operation.candidate], operation)
        return replace(limits, max_total=max(limits.max_total - spent, Decimal(0))) if spent else limits

    def _send(
        self, run: Run, index: int, request: InstanceRequest, cloud: Cloud, *, uncertain: bool
    ) -> tuple[Run, tuple[Instance, ...]]:
        token = request.token
        preparing = not uncertain
        try:
            if preparing:
                request, groups = self._calls.prepare(cloud.instances, request)
                self._journal.seen(run.id, request.provider, request.region, [(g.kind, g.id) for g in groups])
                self._journal.prepared(run, request)
                preparing = False
            created = self._calls.create(
                cloud.instances, request, uncertain=uncertain, sending=lambda: self._journal.sending(run, token)
            )
        except OutcomeUnknown:
            raise
        except ProviderError as error:
            if not (preparing and isinstance(error, AGAIN)):  # else an ending looks for what was made
                self._journal.settled(token, "failed", error)
            raise
        return self._created(run, index, request, cloud, created)

    def _created(
        self, run: Run, index: int, request: InstanceRequest, cloud: Cloud, created: tuple[Instance, ...]
    ) -> tuple[Run, tuple[Instance, ...]]:
        for machine in created:
            self._journal.seen(
                run.id, request.provider, request.region, [("machine", machine.id), *machine.attached], request.token
            )
        self._journal.settled(request.token, "done")
        run = self._freeze(run, index, request, cloud)
        return self._verify(run, request, cloud, [machine.id for machine in created])

    def _freeze(self, run: Run, index: int, request: InstanceRequest, cloud: Cloud) -> Run:
        """Write what was started at which price, once and for all."""
        c = run.spec.candidates[index]
        operation = next(o for o in self._journal.operations(run.id) if o.token == request.token)
        began = operation.sent_at or self._clock.now()
        lease = min(operation.created_at + timedelta(seconds=run.spec.lease_s), request.deadline)
        return self._journal.update(
            run, state="verifying", provider=c.provider, account=cloud.account, region=request.region,
            zone=request.zone,
            instance=c.instance, accelerator=c.accelerator_id, accelerator_count=c.accelerator_count, market=c.market,
            price_per_hour=c.price_per_hour, currency=c.currency, price_as_of=c.price_as_of, offer_id=c.offer_id,
            catalog_id=c.catalog_id, nodes=c.nodes, ended_at=None,
            launched_at=began, lease_until=lease, deadline_at=request.deadline,
        )  # fmt: skip

    def _verify(
        self, run: Run, request: InstanceRequest, cloud: Cloud, ids: Sequence[str]
    ) -> tuple[Run, tuple[Instance, ...]]:
        """Wait until all machines run, and check where they are; what fails is taken down before the next place."""
        try:
            running = tuple(self._running(run, request, cloud, identifier) for identifier in ids)
        except CapacityUnavailable as error:
            ending = self._ender.end(run, final_state="creating")
            self._journal.settled(request.token, "failed", error)
            if ending.remaining:
                raise OutcomeUnknown(
                    f"{error} What was started there is not proved gone.",
                    provider=request.provider, operation="verify", code=error.raw_code,
                ) from error  # fmt: skip
            raise
        wrong = next((m for m in running if m.region != request.region or m.zone not in (None, request.zone)), None)
        if wrong is not None:
            raise PlacementViolated(
                f"asked for {request.zone}, got {wrong.zone or wrong.region}: {wrong.id} is where nobody allowed it."
            )
        return self._journal.renew(run), running

    def _running(self, run: Run, request: InstanceRequest, cloud: Cloud, identifier: str) -> Instance:
        until = self._clock.now() + timedelta(seconds=self._start_s)
        backoff = Backoff(1, 10, self._rng)
        while True:
            try:
                machine = self._calls.read(lambda: cloud.instances.get(identifier, region=request.region))
                self._journal.seen(run.id, request.provider, request.region, machine.attached, request.token)
                if machine.state == "running":
                    return machine
                if machine.state != "pending":
                    raise _ended_early(request, machine)
            except InstanceNotFound:
                pass  # not yet
            if self._clock.now() >= until:
                raise CapacityUnavailable(
                    f"{identifier} was not running after {self._start_s:.0f} s.",
                    provider=request.provider, operation="verify", code="not_started",
                )  # fmt: skip
            self._waits.pause(backoff.next_s(), f"{identifier} to run", until)

    def _resume(self, run: Run, operation: Operation) -> tuple[Run, tuple[Instance, ...]]:
        """Go on where a process before us stopped: exactly the same request, or a look at what it made."""
        candidate = run.spec.candidates[operation.candidate]
        try:
            cloud = self._places.cloud(candidate)
            request = request_from_json(operation.request)
            if request.deadline <= self._clock.now():
                self._end_stale(run, operation, request)
            if operation.state == "done":
                ids = self._machines_of(run, request.token)
                run = self._freeze(run, operation.candidate, request, cloud)
                return self._verify(run, request, cloud, ids)
            sent = operation.state == "sent"
            if sent and (self._clock.now() - (operation.sent_at or self._clock.now())).total_seconds() > REPLAY_S:
                raise OutcomeUnknown(
                    f"the call of {operation.sent_at:%Y-%m-%d %H:%M}Z is too old to send again.",
                    provider=request.provider, operation="create", code="too_old",
                )  # fmt: skip
            return self._send(run, operation.candidate, request, cloud, uncertain=sent)
        except (ProviderError, LimitExceeded) as error:
            self._record(candidate, operation.zone, error)
            raise

    def _end_stale(self, run: Run, operation: Operation, request: InstanceRequest) -> NoReturn:
        """End what is left of a call whose machines should be gone by now; what follows is asked anew."""
        text = f"what was begun at {operation.created_at:%Y-%m-%d %H:%MZ} was to end at {request.deadline:%H:%MZ}"
        ending = self._ender.end(run, final_state="creating")
        if ending.remaining:
            raise OutcomeUnknown(
                f"{text}, and is not proved gone.", provider=request.provider, operation="resume", code="stale"
            )
        raise CapacityUnavailable(
            f"{text}: it is gone.", provider=request.provider, operation="resume", code="stale", ttl_s=0
        )

    def _refuse_blocked(self, cloud: Cloud, candidate: Candidate, zone: str) -> None:
        family = family_of(cloud.provider, candidate)
        scopes = blocks.scopes(cloud.account, candidate, zone, family, self._reservation)
        found = self._journal.blocked(tuple(scopes.values()))
        if found is not None:
            error, code, message, until = found
            kind = QuotaExceeded if error == "quota" else CapacityUnavailable
            raise kind(
                f"not asked again before {until:%Y-%m-%d %H:%M:%S}Z: {message}",
                provider=candidate.provider, operation="blocked", code=code,
            )  # fmt: skip

    def _machines_of(self, run: Run, token: str) -> list[str]:
        live = self._journal.resources(run.id, live=True)
        return [r.id for r in live if r.kind == "machine" and r.token == token]

    # -- the end ------------------------------------------------------------------------------------------------------

    def _record(self, candidate: Candidate, zone: str, error: CloudAccelError) -> None:
        """One line of the attempt log; a block, when the error is worth remembering; and what is not asked any more."""
        outcome = error.code
        if isinstance(error, ProviderError):
            if error.operation == "blocked":
                outcome = "blocked"
            cloud = self._places.known(candidate.provider)
            if cloud is not None and error.operation != "blocked":
                family = family_of(cloud.provider, candidate)
                self._journal.block(blocks.key(error, cloud.account, candidate, zone, family, self._reservation), error)
            everywhere, region, quota = self._stops(candidate)
            if isinstance(error, _STOPS_CLOUD):
                self._stopped.add(everywhere)
            if isinstance(error, RateLimited | ProviderUnavailable) or error.scope == "region":
                self._stopped.add(region)
            if isinstance(error, QuotaExceeded):
                self._stopped.add(quota)
        self._note(Attempt(candidate=candidate, zone=zone, outcome=outcome, detail=_said(error)))

    def _stops(self, candidate: Candidate) -> tuple[str, str, str]:
        """What may be stopped for this round: the cloud, the region, and what shares the candidate's quota there."""
        cloud = self._places.known(candidate.provider)
        family = candidate.instance if cloud is None else family_of(cloud.provider, candidate)
        region = f"{candidate.provider}/{candidate.region}"
        return candidate.provider, region, f"{region}/{family}/{candidate.market}"

    def _note(self, attempt: Attempt) -> None:
        self._attempts.append(attempt)
        self._log(attempt)

    def _ready(self, run: Run, running: tuple[Instance, ...]) -> Outcome:
        index = next(o.candidate for o in reversed(self._journal.operations(run.id)) if o.state == "done")
        detail = ", ".join(machine.id for machine in running)
        self._note(Attempt(candidate=run.spec.candidates[index], zone=run.zone or "", outcome="created", detail=detail))
        run = self._journal.update(run, state="ready")
        for provider, region in dict.fromkeys((o.provider, o.region) for o in self._journal.operations(run.id)):
            if (provider, region) != (run.provider, run.region):
                self._ender.clear_region(run, provider, region)
        return Outcome(run=run, attempts=tuple(self._attempts), exit_code=0, reason="")

    def _fail(self, run: Run, reason: str, *, stopped: bool = False) -> Outcome:
        """Remove everything, and say so only with proof."""
        made = [r for r in self._journal.resources(run.id) if r.kind == "machine"]
        try:
            ending = self._ender.end(run, final_state="failed", note=reason[:2000])
            run, remaining = ending.run, ending.remaining
        except ProviderError as error:
            remaining = may_bill(self._journal, run)
            run = self._journal.update(
                run, state="leak_suspected" if remaining else "failed", note=f"{reason}\n{error}"[:2000]
            )
        code = 11 if remaining else _exit_code([a.outcome for a in self._attempts], bool(made), stopped)
        return Outcome(run=run, attempts=tuple(self._attempts), exit_code=code, reason=reason, may_bill=remaining)


def _unseen_cost(candidate: Candidate, operation: Operation) -> Decimal:
    """What machines may have cost that were looked for only when they had switched themselves off; 0 when in time."""
    deadline, hourly = request_from_json(operation.request).deadline, candidate.request_price_per_hour
    if operation.sent_at is None or operation.ended_at is None or operation.ended_at < deadline or hourly is None:
        return Decimal(0)
    return hourly * money.hours((deadline - operation.sent_at).total_seconds())


def _said(error: CloudAccelError) -> str:
    code = error.raw_code if isinstance(error, ProviderError) else ""
    return f"{code}: {error}" if code and code not in str(error) else str(error)


def _ended_early(request: InstanceRequest, machine: Instance) -> CapacityUnavailable:
    return CapacityUnavailable(
        f"{machine.id} ended before it ran: {machine.reason or machine.state}.",
        provider=request.provider, operation="verify", code=machine.reason or "ended", ttl_s=180,
    )  # fmt: skip


def _exit_code(outcomes: Sequence[str], made: bool, stopped: bool) -> int:
    """10: nothing is left. 4, 7, 8: nothing was made, for limits, permissions or the network alone."""
    words = set(outcomes)
    if "placement" in words:
        return 4
    if made or stopped or not words:
        return 10
    for code, reasons in ((4, {"limit"}), (7, {"quota", "credentials", "denied"}), (8, {"throttled", "unavailable"})):
        if words - {"limit"} <= reasons or words <= reasons:
            return code
    return 10
