"""Error codes of AWS as our errors: the table errors.csv, and what is not an answer at all."""

import csv
from functools import cache
from importlib.resources import files

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

NAME = "aws"
_CLASSES: dict[str, type[ProviderError]] = {
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
_NEXT = {
    "auth": "Check the credentials and the policy in deploy/aws/.",
    "quota": "Ask for a higher quota, or try another region or market.",
}


@cache
def table() -> dict[str, tuple[str, str, int]]:
    """Code to class, scope and time to live in seconds, from errors.csv."""
    text = files("cloudaccel_aws").joinpath("errors.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["code"]: (row["class"], row["scope"], int(row["ttl_s"])) for row in rows}


def from_answer(operation: str, code: str, message: str, status: int) -> ProviderError:
    """Our error for AWS's code. A code that the table lacks is judged by its HTTP status: 5xx may have run."""
    kind, scope, ttl_s = table().get(code) or ("ambiguous" if status >= 500 else "request", "offering", 0)
    if code == "UnauthorizedOperation" and "explicit deny" in message.lower():
        kind = "policy"
    if code == "VcpuLimitExceeded" and "limit of 0" in message.lower():
        ttl_s = 3600  # a quota of nothing is not soon raised
    text = f"{NAME}: {operation}: {code}: {message.strip()}"
    if kind in _NEXT:
        text = f"{text} {_NEXT[kind]}"
    return _CLASSES[kind](text, provider=NAME, operation=operation, code=code, scope=scope, ttl_s=ttl_s)
