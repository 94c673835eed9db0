"""Calling a provider: which failures are worth the same call again, and for how long."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn, TypeVar

from cloudaccel.errors import (
    AuthError,
    Conflict,
    OutcomeUnknown,
    PolicyDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
)
from cloudaccel.protocols import Instance, InstanceRequest, Instances, Provider, Resource
from cloudaccel.provision.clock import Backoff
from cloudaccel.provision.waiting import Waits

T = TypeVar("T")
PATIENCE_S = 120.0
AGAIN = (RateLimited, ProviderUnavailable, OutcomeUnknown)  # worth the same call again; it may have run
# What a replay may answer without saying whether the first call ran.
_SAYS_NOTHING = (RateLimited, ProviderUnavailable, OutcomeUnknown, AuthError, PolicyDenied, Conflict, RequestInvalid)


class Calls:
    """Calls with the same reaction everywhere. `patience_s` bounds the repeating of one call."""

    def __init__(self, waits: Waits, rng: random.Random | None = None, patience_s: float = PATIENCE_S) -> None:
        self.waits = waits
        self.clock = waits.clock
        self.rng = rng
        self.patience_s = patience_s

    def read(self, call: Callable[[], T], *, longer_s: float = 0.0, what: str = "the cloud to answer") -> T:
        """The answer of a call that may be sent any number of times; `longer_s` is added to the patience."""
        until = self.clock.now() + timedelta(seconds=self.patience_s + longer_s)
        backoff = Backoff(1, 30, self.rng)
        while True:
            try:
                with self.waits.answer(what):
                    return call()
            except AGAIN as error:
                wait = backoff.next_s()
                if self.clock.now() + timedelta(seconds=wait) > until:
                    raise
                self.waits.pause(wait, f"{what}, asked again: {' '.join(str(error).split())}", until)

    def prepare(self, instances: Instances, request: InstanceRequest) -> tuple[InstanceRequest, tuple[Resource, ...]]:
        """`request` with its groups; asked again until the answer is definite, or a listing must have shown them.

        Raises
        ------
        OutcomeUnknown, RateLimited, ProviderUnavailable
            If patience ran out and groups may exist, also when an earlier answer was none and this one is a refusal.
            Every other error means that none do.
        """
        asked = 0

        def prepare() -> tuple[InstanceRequest, tuple[Resource, ...]]:
            nonlocal asked
            asked += 1
            return instances.prepare(request)

        try:
            return self.read(prepare, longer_s=instances.consistency_s, what=f"{request.provider} to make groups")
        except AGAIN:
            raise
        except ProviderError as error:
            _give_up(error, asked > 1, "groups")

    def create(
        self, instances: Instances, request: InstanceRequest, *, uncertain: bool,
        sending: Callable[[], None] = lambda: None,
    ) -> tuple[Instance, ...]:  # fmt: skip
        """The machines of `request`; sent again, same token, until the answer is definite.

        `uncertain`: an earlier call with this token may have run, so that a refusal now proves nothing about it.
        `sending` is called each time before the call is sent.

        Raises
        ------
        OutcomeUnknown
            If patience ran out and machines may exist. Every other error means that none do.
        """
        until = self.clock.now() + timedelta(seconds=self.patience_s)
        backoff = Backoff(1, 30, self.rng)
        what = f"{request.provider} to start {request.count} × {request.instance_type} in {request.zone}"
        while True:
            sending()
            try:
                with self.waits.answer(what):
                    return instances.create(request)
            except _SAYS_NOTHING as error:
                uncertain = uncertain or isinstance(error, OutcomeUnknown)
                wait = backoff.next_s()
                if not isinstance(error, AGAIN) or self.clock.now() + timedelta(seconds=wait) > until:
                    _give_up(error, uncertain, "machines")
                self.waits.pause(wait, f"{what}, asked again: {' '.join(str(error).split())}", until)


def _give_up(error: ProviderError, uncertain: bool, what: str) -> NoReturn:
    if not uncertain or isinstance(error, OutcomeUnknown):
        raise error
    raise OutcomeUnknown(
        f"{error} An earlier answer to the same call was lost, so {what} may exist.",
        provider=error.provider, operation=error.operation, code=error.raw_code,
    ) from error  # fmt: skip


def machines(provider: Provider) -> Instances:
    """The provider's ability to start machines. Raises `RequestInvalid` when it has none."""
    if provider.instances is None:
        raise RequestInvalid(
            f"{provider.name}: starting machines is not built for this provider. Its prices are in 'cloudaccel quote'.",
            provider=provider.name, operation="create", code="not_built",
        )  # fmt: skip
    return provider.instances
