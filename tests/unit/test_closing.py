"""Whoever opens a database closes it: nothing is left to the collector, on any version of Python."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.catalog import load, store
from cloudaccel.catalog.session import open_session
from cloudaccel.errors import CloudAccelError
from tests.support import price_file, run


class Opened:
    """Every connection to SQLite that was opened since, of which none may be open at the end."""

    def __init__(self) -> None:
        self.all: list[sqlite3.Connection] = []

    def open(self) -> list[sqlite3.Connection]:
        """Those that are open still."""
        return [connection for connection in self.all if _is_open(connection)]


def _is_open(connection: sqlite3.Connection) -> bool:
    try:
        _ = connection.total_changes
    except sqlite3.ProgrammingError:
        return False
    return True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    made = Opened()
    original: Callable[..., sqlite3.Connection] = sqlite3.connect

    def connect(*given: Any, **named: Any) -> sqlite3.Connection:
        made.all.append(original(*given, **named))
        return made.all[-1]

    monkeypatch.setattr(sqlite3, "connect", connect)
    monkeypatch.setattr("sqlite3.dbapi2.connect", connect)
    return made


@pytest.mark.parametrize(
    "words",
    [
        ["quote", "H100:8"],
        ["quote", "H100:8", "--max-hourly", "0.01"],
        ["quote", "no-such-thing"],
        ["explain", "H100"],
        ["plan", "--model", "llama-3.1-8b", "--task", "finetune", "--tokens", "1e6"],
        ["refresh", "--status"],
        ["refresh", "--out", "snapshot"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_verbs_close_the_catalog(words: list[str], opened: Opened, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    run(*words)
    assert opened.all
    assert not opened.open()


@pytest.mark.parametrize(
    "words",
    [
        ["token", "create", "ann@example.org"],
        ["token", "create", "ann@example.org", "--expires", "9999d"],
        ["token", "list"],
        ["token", "revoke", "00000000"],
        ["token", "project"],
        ["token", "audit"],
        ["alert", "add", "--on", "runs", "--to", "https://hooks.example.org/x"],
        ["alert", "list"],
        ["alert", "remove", "no-such"],
        ["alert", "retry"],
        ["provision", "list"],
        ["provision", "show", "00000000"],
        ["provision", "cost"],
        ["provision", "extend", "00000000", "1h"],
        ["provision", "down", "00000000", "--yes"],
        ["provision", "reap"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_verbs_close_the_state_store(words: list[str], opened: Opened) -> None:
    pytest.importorskip("sqlalchemy")
    run(*words)
    assert opened.all
    assert not opened.open()


@pytest.mark.parametrize("text", ["percent = -100", "percent = 1\naccelerator = 'XXL9'"])
@pytest.mark.parametrize("own", [True, False])
def test_adjustments_that_cannot_be_leave_nothing_open(
    text: str, own: bool, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "n.toml").write_text(f"[[adjustment]]\nname = 'a'\n{text}\n", encoding="utf-8")
    monkeypatch.setenv("CLOUDACCEL_ADJUSTMENTS", str(tmp_path / "n.toml"))
    named = price_file(tmp_path, "lambda,us-east-1,,x,H100,8,,,,49,,2026-09-01,") if own else None
    with pytest.raises(CloudAccelError), open_session(named):
        pass
    assert opened.all
    assert not opened.open()


def test_a_snapshot_that_cannot_be_read_leaves_nothing_open(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CloudAccelError):
        load.build_in_memory([tmp_path])
    assert opened.all
    assert not opened.open()


def test_a_damaged_catalog_is_closed_before_it_is_mended(opened: Opened, tmp_path: Path) -> None:
    with closing(store.open_catalog(None, tmp_path)) as catalog:
        path = catalog.path
    assert path is not None
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3] + bytes(len(data) - len(data) // 3))
    with suppress(CloudAccelError), closing(store.open_catalog(None, tmp_path)) as found:
        assert found.meta
    assert not opened.open()


def test_the_python_api_warns_of_nothing(tmp_path: Path) -> None:
    """The user would have seen the library's warnings among their own, or their program end where they are errors."""
    program = """
import cloudaccel
assert cloudaccel.quote("H100:8").offers
assert cloudaccel.explain("H100")
try:
    cloudaccel.quote("no-such-thing")
except cloudaccel.CloudAccelError:
    pass
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program], capture_output=True, text=True, timeout=120,
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


# -- the service -------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(opened: Opened) -> Iterator[Any]:
    for name in ("fastapi", "httpx2"):
        pytest.importorskip(name)
    from starlette.testclient import TestClient

    from cloudaccel.service.app import create_app

    with TestClient(create_app(), base_url="http://localhost") as client:
        yield client
    assert opened.all
    assert not opened.open()


def test_the_service_keeps_as_many_catalogs_open_as_are_asked_at_once(service: Any, opened: Opened) -> None:
    for number in range(4):
        assert service.get("/v1/offers", params={"limit": number + 1}).status_code == 200
    assert len(opened.open()) == 1
    with ThreadPoolExecutor(8) as many:
        asked = [many.submit(service.get, "/v1/offers", params={"limit": number}) for number in range(5, 60)]
        assert {one.result().status_code for one in asked} == {200}
    assert 1 <= len(opened.open()) <= 2


def test_what_is_read_in_one_thread_may_be_closed_in_another(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cache cannot be written the catalog lives in memory, and was made by a thread that is long gone."""
    pytest.importorskip("fastapi")
    from cloudaccel.service.watch import Watched

    def to_memory(_where: str | None, _cache: Path) -> store.Catalog:
        return load.build_rows_in_memory([], [], built_from="test")

    monkeypatch.setattr(store, "open_catalog", to_memory)
    watched = Watched(None)

    def ask() -> None:
        with watched.session() as session:
            assert session.catalog.path is None

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    assert len(opened.open()) == 1
    watched.close()
    assert not opened.open()


def test_a_service_with_tokens_and_runs_closes_the_state_store(opened: Opened) -> None:
    for name in ("fastapi", "httpx2", "sqlalchemy"):
        pytest.importorskip(name)
    from starlette.testclient import TestClient

    from cloudaccel.cli.serve import make_app

    before = threading.active_count()
    app = make_app(
        quiet=True, ways=frozenset({"token"}), issuer=None, packs=(), jobs=True, currency=None, tax=None, catalog=None
    )
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/offers", headers={"Authorization": "Bearer x"}).status_code == 401
        assert opened.open()
    assert not opened.open()
    assert threading.active_count() <= before + 1  # the test client's own
