"""Error codes of AWS as our errors: the table errors.csv, and the codes that mean two things."""

from functools import cache

from cloudaccel.errors import ProviderError
from cloudaccel.facts.failures import Verdict, by_status, error_of, read_table

NAME = "aws"


@cache
def table() -> dict[str, Verdict]:
    """Code to verdict, from errors.csv."""
    return read_table("cloudaccel_aws", "errors.csv")


def from_answer(operation: str, code: str, message: str, status: int) -> ProviderError:
    """Our error for AWS's code. A code that the table lacks is judged by its HTTP status: 5xx may have run."""
    verdict = table().get(code) or by_status(status)
    if code == "UnauthorizedOperation" and "explicit deny" in message.lower():
        verdict = verdict._replace(kind="policy")
    if code == "VcpuLimitExceeded" and "limit of 0" in message.lower():
        verdict = verdict._replace(ttl_s=3600)  # a quota of nothing is not soon raised
    rights = "the policy in deploy/aws/"
    return error_of(verdict, provider=NAME, rights=rights, operation=operation, code=code, message=message)
