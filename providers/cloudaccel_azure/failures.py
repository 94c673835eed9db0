"""Error codes of Azure as our errors: the table data/errors.csv, and the code that means two things."""

from functools import cache

from cloudaccel.errors import ProviderError
from cloudaccel.facts.failures import Verdict, by_status, error_of, read_table

NAME = "azure"


@cache
def table() -> dict[str, Verdict]:
    """Code to verdict, from errors.csv."""
    return read_table("cloudaccel_azure", "data/errors.csv")


def from_answer(operation: str, code: str, message: str, status: int) -> ProviderError:
    """Our error for Azure's code. A code that the table lacks is judged by its HTTP status: 5xx may have run."""
    verdict = table().get(code) or by_status(status)
    if code == "OperationNotAllowed":
        # One code for a quota that is used up and for a state in which the call is refused.
        used_up = "quota" in message.lower()
        verdict = Verdict("quota", "family", 600) if used_up else Verdict("conflict", "offering", 0)
    rights = "the role in deploy/azure/"
    return error_of(verdict, provider=NAME, rights=rights, operation=operation, code=code, message=message)
