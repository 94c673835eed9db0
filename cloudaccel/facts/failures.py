"""A provider's error code as one of our errors: the table that an adapter ships, and what every such error says."""

import csv
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from cloudaccel.errors import (
    AuthError,
    CapacityUnavailable,
    Conflict,
    InstanceNotFound,
    OutcomeUnknown,
    PolicyDenied,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    RequestInvalid,
)

KINDS: Mapping[str, type[ProviderError]] = {
    "capacity": CapacityUnavailable,
    "quota": QuotaExceeded,
    "auth": AuthError,
    "policy": PolicyDenied,
    "request": RequestInvalid,
    "throttle": RateLimited,
    "ambiguous": OutcomeUnknown,
    "conflict": Conflict,
    "gone": InstanceNotFound,
}
_BY_STATUS = {401: "auth", 403: "auth", 409: "conflict", 412: "conflict", 429: "throttle"}


class Verdict(NamedTuple):
    """What an error means: its `kind` (see `KINDS`), where it holds, and for how many seconds nobody need ask again."""

    kind: str
    scope: str = "offering"
    ttl_s: int = 0


def read_table(package: str, path: str) -> dict[str, Verdict]:
    """Code to verdict, from a CSV of `package` with the columns code, class, scope and ttl_s."""
    rows = csv.DictReader(files(package).joinpath(path).read_text(encoding="utf-8").splitlines())
    return {row["code"]: Verdict(row["class"], row["scope"], int(row["ttl_s"])) for row in rows}


def by_status(status: int) -> Verdict:
    """The verdict on a code that the table lacks, by its HTTP status: 5xx may have run.

    A 404 proves no end: a proxy answers so too. That something is gone, each cloud says in a code of its own.
    """
    kind = "ambiguous" if status >= 500 else _BY_STATUS.get(status, "request")
    return Verdict(kind, "provider" if kind == "auth" else "offering")


def error_of(verdict: Verdict, *, provider: str, rights: str, operation: str, code: str, message: str) -> ProviderError:
    """Our error, with what to do next; `rights` says where the rights that an account needs are written."""
    advice = {
        "auth": f" Check the credentials and {rights}.",
        "quota": " Ask for a higher quota, or try another region or market.",
    }
    text = f"{provider}: {operation}: {code}: {message.strip()}{advice.get(verdict.kind, '')}"
    return KINDS[verdict.kind](
        text, provider=provider, operation=operation, code=code, scope=verdict.scope, ttl_s=verdict.ttl_s
    )
