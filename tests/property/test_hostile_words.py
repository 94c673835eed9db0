"""Words that anybody may send, at random: expressions, quotas, queries, headers, cursors; answered or refused."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import hypothesis
import pytest
from fastapi.testclient import TestClient
from hypothesis import strategies as st

from cloudaccel.service.app import create_app
from cloudaccel.service.asked import OfferFilters
from tests.property.test_hostile_files import EXAMPLES, NASTY, holds
from tests.support import run

SHORT = tuple(word for word in NASTY if len(word) < 500)
PIECES = ("H100", "h100-sxm", "A100-80GB", "v5p-8", "v6e", "p5.48xlarge", "MI300X", "gpu:80GB+", "nvidia:", ":8", "x2",
          "+", ":1/2", ":8+", ",", " ", "*", "~", "1/", "GB", "/", "-", "(", ")", "|",
          "é", "\u0661", "\u2028", "99999999999")  # fmt: skip
expressions = st.lists(st.sampled_from(PIECES + SHORT) | st.text(max_size=6), max_size=6).map("".join)
questions = hypothesis.settings(
    max_examples=EXAMPLES * 10, deadline=None,
    suppress_health_check=(hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow),
)  # fmt: skip


@pytest.mark.parametrize("words", [("quote", "--json"), ("explain", "--json")])
@questions
@hypothesis.given(expression=expressions)
def test_any_accelerator_expression_is_read_or_refused(words: tuple[str, ...], expression: str) -> None:
    """One that is read half would be answered with the prices of another machine."""
    verb, *flags = words
    answer = run(verb, *flags, "--", expression)
    holds(answer, expression)
    if answer.code == 0:
        assert answer.json["kind"]


@questions
@hypothesis.given(name=st.sampled_from(("aws:us-west-2:L-DB2E81BA=", "aws::x=", "aws:x:", "")), limit=expressions)
def test_any_quota_in_words_is_read_or_refused(name: str, limit: str) -> None:
    words = ("plan", "--quota-report", "--accel", "V100:8", "--provider", "aws")
    holds(run(*words, f"--quota={name}{limit}"), limit)


# -- over HTTP -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(built_cache: Path) -> Iterator[TestClient]:
    """The service on the bundled prices, whatever settings an earlier command left in the environment."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("CLOUDACCEL_")]:
                patch.delenv(name)
            patch.setenv("CLOUDACCEL_CACHE_DIR", str(built_cache))
            made = TestClient(create_app(), base_url="http://localhost", raise_server_exceptions=False)
            client = stack.enter_context(made)
        yield client


def answered(service: TestClient, path: str, params: list[tuple[str, str]], headers: dict[str, bytes]) -> None:
    """Ask, and check that what comes back is an answer, or a refusal in the documented form."""
    sent = [(name.encode(), value) for name, value in headers.items() if value]
    answer = service.get(f"{path}?{urlencode(params)}", headers=sent)
    assert answer.status_code in (200, 304, 400, 404, 406, 410, 422), (answer.text, params, headers)
    if answer.status_code == 304:
        assert answer.content == b""
        assert b"*" in headers["If-None-Match"] or answer.headers["etag"][3:-1].encode() in headers["If-None-Match"]
    elif answer.status_code != 200 and path.startswith("/v1"):
        body = answer.json()
        assert body["status"] == answer.status_code
        assert 10 < len(body["detail"]) < 5000
        assert "Traceback" not in answer.text
    elif path.startswith("/v1"):
        json.loads(answer.text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


names = st.sampled_from(sorted(OfferFilters.model_fields)) | st.text(max_size=8)
values = expressions | st.sampled_from(("1", "8", "any", "EU", "DE", "aws", "USD", "2.5", "30d", "price", "true", "50"))
pairs = st.lists(st.tuples(names, values), max_size=4)
headers = st.binary(max_size=40).map(lambda b: bytes(c for c in b if c > 31 and c != 127).strip()) | st.sampled_from(
    (
        b"*",
        b'W/"',
        b'"a","b"',
        b"application/json;q=nan",
        b"text/html;q=1e999,*/*",
        b"," * 500,
        b"a/b;" * 100,
        b'"' * 99,
    )
)


@questions
@hypothesis.given(params=pairs, accept=headers, tag=headers, page=st.sampled_from(("/v1/offers", "/", "/v1/providers")))
def test_any_query_and_headers_are_answered_or_refused(
    service: TestClient, params: list[tuple[str, str]], accept: bytes, tag: bytes, page: str
) -> None:
    answered(service, page, params, {"Accept": accept, "If-None-Match": tag})


@pytest.fixture
def cursor(service: TestClient) -> str:
    found = service.get("/v1/offers", params={"accelerator": "H100:8", "limit": 5}).json()["next_cursor"]
    assert found
    return found


inner = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9), st.lists, max_leaves=5
)


@questions
@hypothesis.given(at=st.integers(0, 300), other=st.text(max_size=5), made=inner, how=st.integers(0, 2))
def test_any_cursor_is_that_of_the_page_before_or_refused(
    service: TestClient, cursor: str, at: int, other: str, made: object, how: int
) -> None:
    """A cursor that is read half would have left out offers, cheap ones too, and nobody had seen it."""
    changed = cursor[: at % len(cursor)] + other + cursor[at % len(cursor) + 1 :]
    sent = (changed, base64.urlsafe_b64encode(json.dumps(made).encode()).decode(), other)[how]
    question = {"accelerator": "H100:8", "limit": 5}
    answer = service.get("/v1/offers", params={**question, "cursor": sent})
    if sent == cursor:
        assert answer.status_code == 200
    elif answer.status_code == 200:
        assert (
            answer.json()
            == service.get("/v1/offers", params={**question, **({"cursor": cursor} if sent else {})}).json()
        )
    else:
        assert answer.status_code in (400, 410, 422), (answer.text, sent)
