"""Error codes of Azure as our errors: the table data/errors.csv, and what is not an answer at all."""

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

NAME = "azure"
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
_BY_STATUS = {401: "auth", 403: "auth", 404: "gone", 409: "conflict", 412: "conflict", 429: "throttle"}
_NEXT = {
    "auth": "Check the credentials and the role that the account has.",
    "quota": "Ask for a higher quota, or try another region or market.",
}


@cache
def table() -> dict[str, tuple[str, str, int]]:
    """Code to class, scope and time to live in seconds, from errors.csv."""
    text = files("cloudaccel_azure").joinpath("data/errors.csv").read_text(encoding="utf-8")
    return {row["code"]: (row["class"], row["scope"], int(row["ttl_s"])) for row in csv.DictReader(text.splitlines())}


def from_answer(operation: str, code: str, message: str, status: int) -> ProviderError:
    """Our error for Azure's code. A code that the table lacks is judged by its HTTP status: 5xx may have run."""
    kind, scope, ttl_s = table().get(code) or _by_status(status)
    if code == "OperationNotAllowed":
        # One code for a quota that is used up and for a state in which the call is refused.
        kind, scope, ttl_s = ("quota", "family", 600) if "quota" in message.lower() else ("conflict", "offering", 0)
    text = f"{NAME}: {operation}: {code}: {message.strip()}"
    if kind in _NEXT:
        text = f"{text} {_NEXT[kind]}"
    return _CLASSES[kind](text, provider=NAME, operation=operation, code=code, scope=scope, ttl_s=ttl_s)


def _by_status(status: int) -> tuple[str, str, int]:
    kind = "ambiguous" if status >= 500 else _BY_STATUS.get(status, "request")
    return kind, "provider" if kind == "auth" else "offering", 0
