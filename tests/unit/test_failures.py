"""Error codes that no table has are judged by their HTTP status, alike for every cloud."""

from importlib import import_module
from typing import Any

import pytest

from cloudaccel.errors import AuthError, Conflict, InstanceNotFound, OutcomeUnknown, RateLimited, RequestInvalid

CLOUDS = ("aws", "azure", "gcp")


def judged(cloud: str, code: str, status: int) -> Any:
    return import_module(f"cloudaccel_{cloud}.failures").from_answer("get", code, "said", status)


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RequestInvalid), (401, AuthError), (403, AuthError), (409, Conflict), (429, RateLimited),
     (502, OutcomeUnknown)],
)  # fmt: skip
def test_a_code_that_nobody_knows_is_judged_by_its_status(cloud: str, status: int, kind: type[Exception]) -> None:
    """Refused credentials of AWS looked like a wrong request, and the same was asked of the next place."""
    assert type(judged(cloud, "NewToUs", status)) is kind


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("code", ["", "404", "NewToUs"])
def test_a_404_that_is_not_the_clouds_own_proves_no_end(cloud: str, code: str) -> None:
    """A proxy that answers 404 to everything was the proof that a machine which bills is gone."""
    assert type(judged(cloud, code, 404)) is RequestInvalid


@pytest.mark.parametrize(
    ("cloud", "code"), [("aws", "InvalidInstanceID.NotFound"), ("azure", "ResourceNotFound"), ("gcp", "notFound")]
)
def test_what_the_cloud_itself_says_is_gone_is_gone(cloud: str, code: str) -> None:
    assert type(judged(cloud, code, 404)) is InstanceNotFound
