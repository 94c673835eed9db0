"""The one client of price sources, against a fake on this machine: what it repeats, refuses, and never says."""

import gzip
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cloudaccel.catalog.spool import Shared
from cloudaccel.catalog.web import Connection, HttpWeb, Limits
from cloudaccel.errors import (
    AuthError,
    MalformedResponse,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
)
from cloudaccel.testing.cloud import FakeCloud, Reply
from tests.support import run

pytestmark = pytest.mark.network
HOME = "https://prices.acme.example"
CANARY = "canary-5f1b"
SMALL = Limits(tries=3, backoff_s=0, longest_wait_s=1, body_bytes=1 << 20, json_bytes=1 << 12, line_bytes=1 << 10)


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud(hang_s=5) as fake:
        fake.serve_json("/list", {"price": 1})
        yield fake


def web_of(cloud: FakeCloud, limits: Limits = SMALL) -> HttpWeb:
    return HttpWeb("acme", Connection(mirrors={HOME: cloud.url}), limits)


def read(web: HttpWeb, path: str = "/list", **headers: str) -> object:
    with web.ask(HOME + path, query={"sig": CANARY}, headers=headers) as answer:
        return answer.json()


def test_a_mirror_takes_the_place_of_the_published_address(cloud: FakeCloud) -> None:
    cloud.serve_json("/v2/x", 7)
    mirrors = {HOME: "http://127.0.0.1:9", HOME + "/v2": cloud.url + "/v2"}
    with HttpWeb("acme", Connection(mirrors=mirrors), SMALL).ask(HOME + "/v2/x") as answer:
        assert answer.json() == 7


def test_a_mirror_is_not_taken_for_a_longer_name(cloud: FakeCloud) -> None:
    cloud.serve_json("/list", 7)
    web = HttpWeb("acme", Connection(mirrors={cloud.url: "http://127.0.0.1:9"}), SMALL)
    with web.ask(cloud.url.replace("127.0.0.1", "localhost") + "/list") as answer:
        assert answer.json() == 7


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_fault_is_tried_again(cloud: FakeCloud, status: int) -> None:
    cloud.then(Reply(status=status, headers={"Retry-After": "0"}), Reply(status=status))
    assert read(web_of(cloud)) == {"price": 1}
    assert len(cloud.asked) == 3


@pytest.mark.parametrize(
    ("status", "kind", "calls"),
    [(401, AuthError, 1), (403, AuthError, 1), (404, RequestInvalid, 1), (429, RateLimited, 3)],
)
def test_a_lasting_fault_is_an_error_of_ours(
    cloud: FakeCloud, status: int, kind: type[ProviderError], calls: int
) -> None:
    cloud.then(*[Reply(status=status)] * 3)
    with pytest.raises(kind, match=str(status)):
        read(web_of(cloud))
    assert len(cloud.asked) == calls


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(body=b'{"price": 1}' * 9, fault="cut"), ProviderUnavailable),
        (Reply(body=b'{"price": 1}' * 9, fault="hang"), ProviderUnavailable),
        (Reply(fault="html"), MalformedResponse),
        (Reply(body=b""), MalformedResponse),
        (Reply(body=b'{"price": NaN}'), MalformedResponse),
        (Reply(body=b"[" * 4000), MalformedResponse),
        (Reply(body=b"9" * 5000), MalformedResponse),
        (Reply(body=b'"\xff"'), MalformedResponse),
        (Reply(body=b"[1e99999999999999999999]"), MalformedResponse),
        (Reply(body=gzip.compress(b" " * 5_000_000), headers={"Content-Encoding": "gzip"}), MalformedResponse),
        (Reply(body=b"no gzip", headers={"Content-Encoding": "gzip"}), MalformedResponse),
    ],
    ids=["cut", "hang", "html", "empty", "nan", "deep", "long", "text", "exponent", "bomb", "gzip"],
)
def test_a_bad_answer_is_refused_whole(cloud: FakeCloud, reply: Reply, kind: type[ProviderError]) -> None:
    cloud.then(reply)
    limits = replace(SMALL, tries=1, silence_s=0.3) if reply.fault == "hang" else SMALL
    with pytest.raises(kind, match=r"Prices stay as they were|Nothing of it is used"):
        read(web_of(cloud, limits))


def test_lines_are_streamed_and_bounded(cloud: FakeCloud) -> None:
    cloud.serve("/csv", b"a,b\r\n1,2\nlast")
    with web_of(cloud).ask(HOME + "/csv") as answer:
        assert list(answer.lines()) == ["a,b", "1,2", "last"]
    cloud.serve("/csv", b"x" * 200_000)
    with web_of(cloud).ask(HOME + "/csv") as answer, pytest.raises(MalformedResponse, match="line of more"):
        list(answer.lines())


def test_an_answer_that_never_ends_is_cut_at_its_deadline(cloud: FakeCloud) -> None:
    ticks = iter(range(0, 10_000, 600))
    cloud.serve("/csv", b"line\n" * 100_000)
    web = HttpWeb("acme", Connection(mirrors={HOME: cloud.url}), Limits(), now=lambda: next(ticks))
    with web.ask(HOME + "/csv") as answer, pytest.raises(ProviderUnavailable, match="longer than 900 s"):
        list(answer.lines())


@pytest.mark.parametrize("fault", ["cut", "html", "reset"])
def test_no_message_says_a_key(cloud: FakeCloud, fault: str) -> None:
    cloud.then(*[Reply(body=b"[1, 2, 3]", fault=fault)] * 3)
    with pytest.raises(ProviderError) as caught:
        read(web_of(cloud), Authorization=f"Bearer {CANARY}")
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__
    assert cloud.asked[0].headers["authorization"].endswith(CANARY)


def test_a_body_is_posted_as_json(cloud: FakeCloud) -> None:
    with web_of(cloud).ask(HOME + "/list", body={"query": "{ gpus }"}) as answer:
        answer.json()
    assert (cloud.asked[0].method, cloud.asked[0].body) == ("POST", b'{"query": "{ gpus }"}')


def test_a_source_that_drips_is_left_at_the_deadline(cloud: FakeCloud) -> None:
    cloud.then(Reply(body=b'"' + b"x" * 2000, fault="drip"))
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable, match=r"longer than 0\.4 s"):
        read(web_of(cloud, Limits(tries=1, deadline_s=0.4)))
    assert time.monotonic() - began < 30  # all of it would take 100 s


def test_an_index_is_asked_for_once_in_one_refresh_and_a_long_page_by_each(cloud: FakeCloud) -> None:
    """Thirty-six regions whose files stand in one index: he would have waited for it thirty-six times."""
    shared = Shared()
    for path, body in (("/index", b'{"a": 1}'), ("/page", b'["' + b"x" * Shared.MOST_BYTES + b'"]')):
        cloud.serve_file(path, body, '"v1"')
    for _ in range(3):
        web = HttpWeb("acme", Connection(mirrors={HOME: cloud.url}), shared=shared)
        for path in ("/index", "/page"):
            with web.ask(HOME + path) as answer:
                answer.json()
        assert [one.validator for one in web.asked] == ['"v1"', '"v1"']
        with web.ask(HOME + "/index", body={}) as answer:
            answer.json()
    paths = [(asked.method, asked.path) for asked in cloud.asked]
    assert paths.count(("GET", "/index")) == 1
    assert paths.count(("GET", "/page")) == paths.count(("POST", "/index")) == 3


def test_without_its_library_a_refresh_says_so_once_for_all_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_name: str) -> None:
        return None

    monkeypatch.setattr("cloudaccel.catalog.web.find_spec", absent)
    answer = run("refresh")
    assert answer.code == 2
    assert answer.err.startswith("error: prices are read with urllib3.")
    assert answer.err.count("pip install 'cloudaccel[refresh]'") == 1
