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
from cloudaccel.protocols import Instance, InstanceRequest, Instances, Provider
from cloudaccel.provision.clock import Backoff, Clock

T = TypeVar("T")
PATIENCE_S = 120.0
AGAIN = (RateLimited, ProviderUnavailable, OutcomeUnknown)  # worth the same call again; it may have run
# What a replay may answer without saying whether the first call ran.
_SAYS_NOTHING = (RateLimited, ProviderUnavailable, OutcomeUnknown, AuthError, PolicyDenied, Conflict, RequestInvalid)


class Calls:
    """Calls with the same reaction everywhere. `patience_s` bounds the repeating of one call."""

    def __init__(self, clock: Clock, rng: random.Random | None = None, patience_s: float = PATIENCE_S) -> None:
        self.clock = clock
        self.rng = rng
        self.patience_s = patience_s

    def read(self, call: Callable[[], T], *, longer_s: float = 0.0) -> T:
        """The answer of a call that may be sent any number of times; `longer_s` is added to the patience."""
        until = self.clock.now() + timedelta(seconds=self.patience_s + longer_s)
        backoff = Backoff(1, 30, self.rng)
        while True:
            try:
                return call()
            except AGAIN:
                wait = backoff.next_s()
                if self.clock.now() + timedelta(seconds=wait) > until:
                    raise
                self.clock.sleep(wait)

    def create(self, instances: Instances, request: InstanceRequest, *, uncertain: bool) -> tuple[Instance, ...]:
        """The machines of `request`; sent again, same token, until the answer is definite.

        `uncertain`: an earlier call with this token may have run, so that a refusal now proves nothing about it.

        Raises
        ------
        OutcomeUnknown
            If patience ran out and machines may exist. Every other error means that none do.
        """
        until = self.clock.now() + timedelta(seconds=self.patience_s)
        backoff = Backoff(1, 30, self.rng)
        while True:
            try:
                return instances.create(request)
            except _SAYS_NOTHING as error:
                uncertain = uncertain or isinstance(error, OutcomeUnknown)
                wait = backoff.next_s()
                if not isinstance(error, AGAIN) or self.clock.now() + timedelta(seconds=wait) > until:
                    _give_up(error, uncertain)
                self.clock.sleep(wait)


def _give_up(error: ProviderError, uncertain: bool) -> NoReturn:
    if not uncertain or isinstance(error, OutcomeUnknown):
        raise error
    raise OutcomeUnknown(
        f"{error} An earlier answer to the same call was lost, so machines may exist.",
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
