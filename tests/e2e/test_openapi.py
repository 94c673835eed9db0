"""Every route of the service under made-up requests: whatever is asked, no answer is a 500."""

import atexit
import shutil
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import hypothesis
import pytest

from cloudaccel import state
from cloudaccel.access.people import SCOPES
from cloudaccel.access.projects import Projects
from cloudaccel.access.tokens import Tokens
from cloudaccel.errors import UnknownName
from cloudaccel.service.app import create_app
from cloudaccel.service.doors import SignIn
from cloudaccel.service.runs import Runs

schemathesis: Any = pytest.importorskip("schemathesis", reason="needs the package schemathesis")
pytestmark = pytest.mark.slow
_EXAMPLES = 30
_SLOW_IS_FINE: Any = list(hypothesis.HealthCheck)

schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(hosts=("*",)))


def _asking() -> tuple[Any, dict[str, str]]:
    """A service that asks for tokens and starts machines at no cloud, and the token of who may do everything."""
    folder = tempfile.mkdtemp(prefix="cloudaccel-openapi")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    engine = state.open_state(f"sqlite:///{folder}/state.db")
    atexit.register(engine.dispose)
    tokens = Tokens(engine, lambda: datetime.now(UTC))
    secret, _ = tokens.create("ann", frozenset(SCOPES), project="p", lasts_s=86_400, by="test")
    Projects(engine, lambda: datetime.now(UTC)).put("p", Decimal(10), Decimal(5), "USD", by="test")
    app = create_app(hosts=("*",), sign_in=SignIn(tokens), runs=Runs(engine, load=_no_cloud))
    return app, {"Authorization": f"Bearer {secret}"}


def _no_cloud(name: str) -> Any:
    raise UnknownName(f"no provider {name!r}")


asking, HEADERS = _asking()
signed_in = schemathesis.openapi.from_asgi("/openapi.json", asking, headers=HEADERS)


@schema.parametrize()
@hypothesis.settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=_SLOW_IS_FINE)
def test_no_request_is_answered_500(case: Any) -> None:
    answer = case.call()
    assert answer.status_code < 500 or answer.status_code == 503, f"{answer.status_code}: {answer.text}"
    if answer.status_code >= 400:
        assert answer.headers["content-type"][0].startswith("application/problem+json")


@signed_in.parametrize()
@hypothesis.settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=_SLOW_IS_FINE)
def test_no_request_of_who_is_signed_in_is_answered_500(case: Any) -> None:
    answer = case.call(headers=HEADERS)
    assert answer.status_code < 500 or answer.status_code == 503, f"{answer.status_code}: {answer.text}"
    if answer.status_code >= 400:
        assert answer.headers["content-type"][0].startswith("application/problem+json")


@signed_in.parametrize()
@hypothesis.settings(max_examples=5, deadline=None, suppress_health_check=_SLOW_IS_FINE)
def test_nobody_gets_anything_but_a_refusal(case: Any) -> None:
    answer = case.call(headers={})
    assert answer.status_code in (401, 413) or case.path in ("/healthz", "/readyz"), answer.text
