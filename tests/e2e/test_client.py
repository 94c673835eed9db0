"""The Python client against the real service, and against what is none."""

import gzip
import http.server
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import cloudaccel as ca
from cloudaccel.api.pulling import pull_catalog
from cloudaccel.catalog import renew
from cloudaccel.catalog.session import open_session
from cloudaccel.client import Client, Filters, PricesChanged
from cloudaccel.errors import (
    AuthError,
    ConfigError,
    Conflict,
    LimitExceeded,
    MalformedResponse,
    PricingError,
    ProviderUnavailable,
    QueryError,
    RateLimited,
    SnapshotCorrupt,
    UnknownName,
)
from cloudaccel.model import Offer
from cloudaccel.protocols import Scope
from tests.support import PATIENCE_S, own_env, until

pytest.importorskip("fastapi", reason="needs cloudaccel[service]")
pytestmark = [pytest.mark.network, pytest.mark.slow]
ROW = "provider,instance,accelerator,count,price_per_hour,as_of\n" + "".join(
    f"mine,box{n},H100-SXM,8,{{}}{n},2026-09-01\n" for n in range(5)
)


@contextmanager
def serving(*words: str, env: dict[str, str] | None = None) -> Generator[str]:
    command = [sys.executable, "-m", "cloudaccel", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env or {**os.environ})
    assert process.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
    try:
        assert found
        yield found.group()
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        process.stderr.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving("serve", "--port", "0", "-q", env=own_env(tmp_path_factory.mktemp("cache"))) as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as made:
        yield made


def unsourced(offer: Offer) -> Offer:
    """The offer without the snapshot's own key of its source, which travels by its name."""
    return replace(offer, price=replace(offer.price, source=offer.price.source._replace(id="")))


def test_offers_over_http_are_those_of_quote_in_any_size_of_page(client: Client) -> None:
    wanted = [unsourced(o) for o in ca.quote("H100", market="any", limit=1000).offers]
    assert len(wanted) > 100
    for page in (500, 37):
        got = [unsourced(o) for o in client.offers("H100", market=["any"], page=page)][: len(wanted)]
        assert got == wanted


def test_a_share_of_an_accelerator_keeps_its_exact_size(client: Client) -> None:
    wanted = ca.quote("A10", allow_fraction=True, limit=1000).offers
    got = list(client.offers("A10", allow_fraction=True))
    assert [o.count for o in got] == [o.count for o in wanted]
    assert any(o.count is not None and o.count < 1 for o in got)


def test_filters_are_those_of_the_service() -> None:
    from cloudaccel.service.asked import OfferQuestion

    assert Filters.__annotations__.keys() == OfferQuestion.model_fields.keys() - {"accelerator"}


def test_a_page_says_what_was_hidden_and_how_old_it_is(client: Client) -> None:
    page = client.page("H100:8", residency="EU", limit=3, max_price=Decimal("9.5"))
    assert len(page.offers) == 3
    assert page.total > 3
    assert page.hidden
    assert page.catalog_id
    assert page.next_cursor


def test_the_other_verbs(client: Client) -> None:
    offer = next(client.offers("H100:8"))
    assert client.history(offer.id)[offer.id]
    job = {"task": "finetune", "method": "lora", "model": "llama-3-8b", "tokens": "50e6"}
    lock = client.plan(job)
    assert lock["chosen"]["price"]["price_per_hour"]
    assert client.compare(["rent:H100:8", "rent:A100-80GB:8"], hours="100")["kind"] == "compare"
    assert client.advise({"own-data": "no"})["kind"] == "advise"
    assert client.explain("p5.48xlarge")
    assert {row["id"] for row in client.providers()} >= {"aws"}
    assert all(row["provider"] == "aws" for row in client.regions("aws"))
    assert client.catalog()["catalog"]["id"]


Ask = Callable[[Client], object]


def asked(ask: Ask, kind: type[Exception], said: str) -> tuple[Ask, type[Exception], str]:
    return ask, kind, said


@pytest.mark.parametrize(
    ("ask", "kind", "said"),
    [
        asked(lambda c: c.page("H1000"), UnknownName, "H1000"),
        asked(lambda c: c.page("H100", market="free"), QueryError, "market"),
        asked(lambda c: c.page("H100", limit=0), QueryError, "limit"),
        asked(lambda c: c.page("H100", cursor="x"), QueryError, "cursor"),
        asked(lambda c: c.page("H100", sort="colour"), QueryError, "colour"),
        asked(lambda c: c.explain("nothing-like-that"), UnknownName, "nothing-like-that"),
        asked(lambda c: c.explain("../../etc/passwd"), UnknownName, "."),
        asked(lambda c: c.history("0123456789abcdef"), UnknownName, "0123456789abcdef"),
        asked(lambda c: c.plan({"task": "finetune", "model": "/etc/passwd"}), UnknownName, "."),
        asked(lambda c: c.compare(["borrow:H100"]), QueryError, "borrow"),
    ],
)
def test_what_the_service_refuses_is_our_own_error(client: Client, ask: Ask, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=re.escape(said)):
        ask(client)


def test_choices_come_along(client: Client) -> None:
    with pytest.raises(UnknownName) as raised:
        client.page("H1000")
    assert "H100" in " ".join(raised.value.choices)


def test_prices_that_change_between_two_pages_are_not_mixed(tmp_path: Path) -> None:
    """The user would have believed a list of which one half is of yesterday."""
    prices = tmp_path / "prices.csv"
    prices.write_text(ROW.format(*"44444"), encoding="utf-8")
    with serving("--catalog", str(prices), "serve", "--port", "0", "-q") as address, Client(address) as client:
        offers = client.offers("H100:8", page=2)
        next(offers)
        prices.write_text(ROW.format(*"55555"), encoding="utf-8")
        with pytest.raises(PricesChanged):
            list(offers)


def test_from_several_threads(client: Client) -> None:
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(client.page("H100:8").total)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(got) == 8
    assert len(set(got)) == 1


# -- what is no service, or is in trouble ------------------------------------------------------------------------------


Given = tuple[int, bytes, dict[str, str]]


class Fake:
    """Answers with what it was given, one after the other; the last one again and again."""

    def __init__(self, *answers: Given) -> None:
        self.asked: list[dict[str, str]] = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fake.asked.append(dict(self.headers))
                status, body, headers = answers[min(len(fake.asked), len(answers)) - 1]
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def fake(*answers: Given) -> Generator[Fake]:
    made = Fake(*answers)
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()


OK: Given = (200, json.dumps({"providers": [{"id": "aws"}]}).encode(), {})
NOTHING: Given = (0, b"", {})
NO_HEADERS: dict[str, str] = {}


def problem(status: int, code: str, **headers: str) -> Given:
    return status, json.dumps({"code": code, "detail": f"said {code}"}).encode(), headers


@pytest.mark.parametrize(
    "trouble",
    [NOTHING, problem(503, "busy"), problem(429, "rate_limited"), (502, b"<html>", NO_HEADERS), (504, b"", NO_HEADERS)],
)
def test_trouble_that_passes_is_not_seen(trouble: Given) -> None:
    waits: list[float] = []
    with fake(trouble, trouble, OK) as made, Client(made.address, sleep=waits.append) as client:
        assert client.providers() == [{"id": "aws"}]
    assert len(made.asked) == 3
    assert len(waits) == 2
    assert 0 < waits[0] < 0.5


def test_the_service_says_when_to_come_again() -> None:
    waits: list[float] = []
    busy = problem(503, "busy", **{"Retry-After": "2"})
    with fake(busy, OK) as made, Client(made.address, sleep=waits.append) as client:
        client.providers()
    assert 1 <= waits[0] <= 2


@pytest.mark.parametrize(
    ("answer", "kind", "times"),
    [
        (problem(429, "rate_limited"), RateLimited, 3),
        (problem(503, "busy"), ProviderUnavailable, 3),
        (NOTHING, ProviderUnavailable, 3),
        (problem(401, "unauthenticated"), AuthError, 1),
        (problem(403, "forbidden"), AuthError, 1),
        (problem(403, "limit"), LimitExceeded, 1),
        (problem(409, "conflict"), Conflict, 1),
        (problem(500, "error"), ProviderUnavailable, 1),
        ((404, b"<html>not here</html>", NO_HEADERS), MalformedResponse, 1),
        ((200, b"<html>a portal</html>", NO_HEADERS), MalformedResponse, 1),
        ((200, b"[1, 2]", NO_HEADERS), MalformedResponse, 1),
        ((302, b"", {"Location": "http://169.254.169.254/"}), MalformedResponse, 1),
    ],
)
def test_trouble_that_stays_is_our_error(answer: Given, kind: type[Exception], times: int) -> None:
    with fake(answer) as made, Client(made.address, tries=3, sleep=lambda _: None) as client:
        with pytest.raises(kind):
            client.providers()
        assert len(made.asked) == times


def test_an_answer_that_unpacks_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudaccel.client._MOST_BYTES", 1_000_000)
    bomb: Given = (200, gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"})
    with fake(bomb) as made, Client(made.address, tries=1) as client, pytest.raises(ProviderUnavailable):
        client.providers()


def test_a_run_that_is_asked_for_twice_has_one_key() -> None:
    """The user would have believed that one run was started, and paid for two."""
    run: Given = (202, json.dumps({"kind": "run", "run": {"id": "7f3a"}}).encode(), {})
    with fake(NOTHING, problem(503, "busy"), run) as made, Client(made.address, sleep=lambda _: None) as client:
        assert client.start({"schema": "cloudaccel-lock/1"})["run"]["id"] == "7f3a"
        client.start({"schema": "cloudaccel-lock/1"})
        client.start({"schema": "cloudaccel-lock/1"}, key="mine-1234")
    keys = [headers["Idempotency-Key"] for headers in made.asked]
    assert len(set(keys[:3])) == 1
    assert keys[3] not in keys[:3]
    assert keys[4] == "mine-1234"


def test_a_lease_needs_a_time_with_its_offset() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(QueryError, match="offset"):
        client.extend("7f3a", datetime(2026, 12, 1))  # noqa: DTZ001 - that is what is refused


def test_a_silent_service_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        client = Client(f"http://127.0.0.1:{port}", timeout_s=0.2, tries=2, sleep=lambda _: None)
        with pytest.raises(ProviderUnavailable, match="did not answer 2 times"):
            client.providers()
        client.close()


def test_a_token_travels_in_a_header_and_never_in_the_clear() -> None:
    with fake(OK) as made, Client(made.address, token="cloudaccel_x") as client:  # noqa: S106
        client.providers()
    assert made.asked[0]["Authorization"] == "Bearer cloudaccel_x"
    with pytest.raises(ConfigError, match="in the clear"):
        Client("http://prices.example.org", token="cloudaccel_x")  # noqa: S106


@pytest.mark.parametrize(
    "address", ["prices.example.org", "ftp://x", "https://", "https://u:p@x.org", "https://x.org?a=1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        Client(address)


# -- replicas pull the catalog -----------------------------------------------------------------------------------------


def publish(folder: Path, price: str) -> str:
    """Other prices of one seller in the catalog of `folder`, as a refresh leaves it; the id of the catalog."""
    with open_session() as session:
        rows = renew.current_rows(session.catalog.db, Scope(provider="lambda", partition="lambda"))
        segments: dict[Any, list[dict[str, str]]] = {}
        for row in rows:
            other = {**row, "price_per_hour": price, "parts": ""} if row["price_per_hour"] else row
            segments.setdefault((row["provider"], row["partition"], row["region"]), []).append(other)
        assert session.catalog.path is not None
        folder.mkdir(exist_ok=True)
        return renew.publish(folder / "catalog.sqlite", session.catalog.path, segments, [], "test")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(tmp_path / "own"))
    return tmp_path / "own"


def test_a_replica_takes_the_catalog_of_another_and_asks_by_its_tag(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    first = publish(source, "7.77")
    with monkeypatch.context() as there:
        there.setenv("CLOUDACCEL_CACHE_DIR", str(source))
        service = serving("serve", "--port", "0", "-q")
        address = service.__enter__()
    try:
        with Client(address) as client:
            assert pull_catalog(client) == first
            assert (own_cache / "catalog.sqlite").read_bytes() == (source / "catalog.sqlite").read_bytes()
            assert str(ca.quote(provider="lambda", limit=1).offers[0].price.amount) == "7.77"
            assert pull_catalog(client) is None  # the tag is known, so that no file is sent
            second = publish(source, "8.88")
            assert pull_catalog(client) == second
            assert client.catalog_file(tmp_path / "again", second) is None
    finally:
        service.__exit__(None, None, None)
    assert sorted(path.suffix for path in own_cache.iterdir() if "pulled" in path.name) == []


def test_a_service_that_pulls_answers_from_the_new_catalog_without_a_restart(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    wanted = publish(source, "7.77")
    with monkeypatch.context() as there:
        there.setenv("CLOUDACCEL_CACHE_DIR", str(source))
        leader = serving("serve", "--port", "0", "-q")
        address = leader.__enter__()
    try:
        with serving("serve", "--port", "0", "-q", "--catalog-from", address) as own, Client(own) as client:
            until(lambda: client.catalog()["catalog"]["id"] == wanted)
            page = client.page("H100", provider="lambda", market="any")
            assert {str(o.price.amount) for o in page.offers} == {"7.77"}
    finally:
        leader.__exit__(None, None, None)


@pytest.mark.parametrize("kind", ["cut", "changed", "another", "no catalog"])
def test_a_catalog_that_is_not_what_was_announced_is_not_taken(tmp_path: Path, own_cache: Path, kind: str) -> None:
    """The user would have believed prices that somebody on the way had changed."""
    announced = publish(tmp_path / "source", "7.77")
    file = (tmp_path / "source" / "catalog.sqlite").read_bytes()
    if kind == "cut":
        file = file[:-4096]
    elif kind == "changed":
        db = sqlite3.connect(tmp_path / "source" / "catalog.sqlite")
        db.execute("UPDATE offer SET amount = amount / 2, rank_price = rank_price / 2 WHERE amount IS NOT NULL")
        db.commit()
        db.close()
        file = (tmp_path / "source" / "catalog.sqlite").read_bytes()
    elif kind == "another":
        announced = "sha256:" + "0" * 64
    else:
        file = b"<html>a portal</html>"
    with fake((200, file, {"ETag": f'"{announced}"'})) as made, Client(made.address) as client:  # noqa: SIM117
        with pytest.raises(SnapshotCorrupt):
            pull_catalog(client)
    assert not (own_cache / "catalog.sqlite").exists()
    assert not list(own_cache.glob("pulled*"))


def test_own_prices_are_never_given_away(tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(ROW.format(*"44444"), encoding="utf-8")
    with serving("--catalog", str(prices), "serve", "--port", "0", "-q") as address, Client(address) as client:  # noqa: SIM117
        with pytest.raises(PricingError):
            client.catalog_file(tmp_path / "file")


def test_a_name_that_is_not_known_is_trouble_of_the_network_not_of_the_disk(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr("socket.create_connection", unknown)
    with pytest.raises(ProviderUnavailable, match="Name or service"):
        pull_catalog(Client("https://nowhere.example.org"))
