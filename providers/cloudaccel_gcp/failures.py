"""Error codes of Google Cloud as our errors: the table data/errors.csv, and the quota that holds everywhere."""

from functools import cache

from cloudaccel.errors import ProviderError
from cloudaccel.facts.failures import Verdict, by_status, error_of, read_table

NAME = "gcp"
_WHOLE_PROJECT = "GPUS_ALL_REGIONS"


@cache
def table() -> dict[str, Verdict]:
    """Code to verdict, from errors.csv."""
    return read_table("cloudaccel_gcp", "data/errors.csv")


def from_answer(operation: str, code: str, message: str, status: int) -> ProviderError:
    """Our error for Google's code. A code that the table lacks is judged by its HTTP status: 5xx may have run."""
    verdict = table().get(_told_apart(code, message)) or by_status(status)
    if verdict.kind == "quota" and _WHOLE_PROJECT in message:
        verdict = verdict._replace(scope="provider")  # one quota over all regions: no other place helps
    rights = "the role in deploy/gcp/"
    return error_of(verdict, provider=NAME, rights=rights, operation=operation, code=code, message=message)


def _told_apart(code: str, message: str) -> str:
    """The code, told apart where one stands for several: the TPU API says one word for capacity, quota and rate."""
    if code != "RESOURCE_EXHAUSTED" or "quota" not in message.lower():
        return code
    return "rateLimitExceeded" if "per minute" in message.lower() else "QUOTA_EXCEEDED"
