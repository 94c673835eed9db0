"""Every route of the service under made-up requests: whatever is asked, no answer is a 500."""

from typing import Any

import hypothesis
import pytest

from cloudaccel.service.app import create_app

schemathesis: Any = pytest.importorskip("schemathesis", reason="needs the package schemathesis")
pytestmark = pytest.mark.slow
_EXAMPLES = 30
_SLOW_IS_FINE: Any = list(hypothesis.HealthCheck)

schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(hosts=("*",)))


@schema.parametrize()
@hypothesis.settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=_SLOW_IS_FINE)
def test_no_request_is_answered_500(case: Any) -> None:
    answer = case.call()
    assert answer.status_code < 500 or answer.status_code == 503, f"{answer.status_code}: {answer.text}"
    if answer.status_code >= 400:
        assert answer.headers["content-type"][0].startswith("application/problem+json")
