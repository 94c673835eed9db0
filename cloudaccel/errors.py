"""The errors of cloudaccel, and the exit code that each becomes.

    CloudAccelError
      ConfigError  QueryError                 the caller can mend the request
        AmbiguousName  UnknownName
      PricingError
        SnapshotMissing  SnapshotStale  SnapshotCorrupt
      ProviderError(provider, operation, code) what a cloud answered, or did not
        CapacityUnavailable  QuotaExceeded  AuthError  PolicyDenied  RequestInvalid  RateLimited
        ProviderUnavailable  OutcomeUnknown  Conflict  InstanceNotFound  MalformedResponse
      LimitExceeded                           a limit of the caller's own
      StorageError                            disk full, read-only folder

A message has three parts: what failed, the facts, and what to do next.
"""

from collections.abc import Sequence

_MOST = 4000  # signs of a message: what it quotes may be a line of megabytes


class CloudAccelError(Exception):
    """Anything this program raises on purpose. `code` names the kind in JSON; `exit_code` is the process's."""

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, choices: Sequence[str] = ()) -> None:
        super().__init__(message if len(message) <= _MOST else f"{message[: _MOST // 2]} … {message[-_MOST // 4 :]}")
        self.choices = tuple(choices)


class ConfigError(CloudAccelError):
    """Settings or an input file cannot be used as they are."""

    code = "config"
    exit_code = 2


class QueryError(CloudAccelError):
    """The request is malformed: a wrong unit, a negative count, flags that contradict each other."""

    code = "usage"
    exit_code = 2


class NothingFits(CloudAccelError):
    """The request is well formed, and nothing satisfies it."""

    code = "nothing_fits"
    exit_code = 3


class UnknownName(QueryError):
    """No accelerator, instance type, provider or region has that name. `choices` are the nearest known ones."""

    code = "unknown_name"
    exit_code = 5


class AmbiguousName(QueryError):
    """The name covers several things, and the verb needs one. `choices` are those things."""

    code = "ambiguous_accelerator"
    exit_code = 5


class PricingError(CloudAccelError):
    """Prices cannot be given."""

    code = "pricing"
    exit_code = 6


class SnapshotMissing(PricingError):
    """There is no snapshot or catalog where one was expected."""

    code = "snapshot_missing"


class SnapshotStale(PricingError):
    """Data is older than the limit, and ``--strict`` was given."""

    code = "stale"


class SnapshotCorrupt(PricingError):
    """A snapshot or catalog is damaged, cut short, or not what its manifest says."""

    code = "snapshot_corrupt"


class StorageError(CloudAccelError):
    """Something cannot be written: disk full, folder read-only."""

    code = "storage"
    exit_code = 2


class LimitExceeded(CloudAccelError):
    """A limit that the caller set (money, places, policy) forbids it. Exact equality is allowed."""

    code = "limit"
    exit_code = 4


class ProviderError(CloudAccelError):
    """A cloud refused, failed or did not answer.

    Attributes
    ----------
    provider, operation
        Who was asked for what: the entry-point name, and the cloud's own name of the call.
    raw_code
        The cloud's own code, never translated: what its support asks for.
    scope
        What a retry elsewhere must avoid: ``offering`` (type, zone and market), ``reservation``, ``zone`` (a full
        subnet), ``family`` (a quota: region, family and market), ``region`` or ``provider``.
    ttl_s
        For how long that is worth remembering, seconds.
    """

    code = "provider"
    exit_code = 8

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        operation: str = "",
        code: str = "",
        scope: str = "offering",
        ttl_s: int = 0,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.operation = operation
        self.raw_code = code
        self.scope = scope
        self.ttl_s = ttl_s


class CapacityUnavailable(ProviderError):
    """No capacity there now, or the type is not offered there: the next place may have it."""

    code = "capacity"
    exit_code = 10


class QuotaExceeded(ProviderError):
    """A quota of the account is too small. Waiting does not help; another family, market or region may."""

    code = "quota"
    exit_code = 7


class AuthError(ProviderError):
    """Credentials are missing, wrong, expired, or lack a permission."""

    code = "credentials"
    exit_code = 7


class PolicyDenied(ProviderError):
    """The organisation's or the account's own rules forbid it."""

    code = "denied"
    exit_code = 7


class RequestInvalid(ProviderError):
    """The request is wrong and would be refused everywhere."""

    code = "request"
    exit_code = 2


class RateLimited(ProviderError):
    """Too many calls; the same request may be sent again later."""

    code = "throttled"


class ProviderUnavailable(ProviderError):
    """The request certainly did not run: no connection, or a refusal of service. May be sent again."""

    code = "unavailable"


class OutcomeUnknown(ProviderError):
    """The request may have run: the answer was lost, or is an internal error. Only the same token may be sent again."""

    code = "unknown_outcome"
    exit_code = 11


class Conflict(ProviderError):
    """Something else is in the way: a dependency, a state, or a token used with other parameters."""

    code = "conflict"


class InstanceNotFound(ProviderError):
    """There is no such machine or resource, or not any more, or not yet."""

    code = "not_found"
    exit_code = 5


class MalformedResponse(ProviderError):
    """The answer does not have the shape that was agreed."""

    code = "malformed"
