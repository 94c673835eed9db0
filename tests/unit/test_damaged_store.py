"""What is stored and damaged: one message and no stack trace, and the file stays as it is, for it may be mended."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support import run

pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")

from cloudaccel import settings, state
from cloudaccel.errors import StorageError

VERBS = (
    ("provision", "list"),
    ("provision", "watch", "--once"),
    ("provision", "down", "--all", "--yes"),
    ("alert", "list"),
)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path))
    state.open_state().dispose()
    path = settings.data_dir() / "state.db"
    for beside in tmp_path.glob("state.db-*"):
        beside.unlink()
    return path


@pytest.mark.parametrize("words", VERBS)
@pytest.mark.parametrize("damage", ["cut", "garbage", "text"])
def test_a_damaged_journal_is_said_and_kept(journal: Path, words: tuple[str, ...], damage: str) -> None:
    """He would have believed that nothing runs, had an empty journal taken its place."""
    whole = journal.read_bytes()
    broken = {"cut": whole[: len(whole) // 2], "garbage": os.urandom(5000), "text": b"mine" * 500}[damage]
    journal.write_bytes(broken)
    answer = run(*words)
    assert (answer.code, answer.err.count("\n")) == (2, 1), answer
    assert "is damaged" in answer.err
    assert "reap --reconcile" in answer.err
    assert journal.read_bytes() == broken


@pytest.mark.parametrize("words", VERBS)
def test_a_folder_in_place_of_the_journal_is_said(journal: Path, words: tuple[str, ...]) -> None:
    journal.unlink()
    journal.mkdir()
    answer = run(*words)
    assert (answer.code, answer.err.count("\n")) == (2, 1), answer
    assert "cannot be written" in answer.err


def test_a_full_disk_under_the_journal_is_said(journal: Path) -> None:
    engine = state.open_state()
    with engine.connect() as db:
        db.exec_driver_sql("PRAGMA max_page_count = 1")
        with pytest.raises(StorageError, match=r"cannot be written.*full"):
            db.exec_driver_sql("CREATE TABLE more AS SELECT zeroblob(10000000) AS x")
    engine.dispose()
    assert run("provision", "list").code == 0
    assert journal.exists()


def test_the_status_of_a_damaged_catalog_is_that_of_a_mended_one(
    tmp_path: Path, built_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("quote", "H100").code == 0  # it is built
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(tmp_path / "own"))
    shutil.copytree(built_cache, tmp_path / "own")
    (path,) = (tmp_path / "own").glob("bundled-*.sqlite")
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + os.urandom(len(whole) - 8192))
    answer = run("refresh", "--status")
    assert answer.code == 0, answer.err
    assert "offers of" in answer.out


CANARY = "canary-77"


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("CLOUDACCEL_DATABASE_URL", f"postgresql+psycopg://u:{CANARY}@h:port/x", ("provision", "list")),
        ("CLOUDACCEL_DATABASE_URL", f"postgresql+psycopg://u:{CANARY}@[::1/x", ("alert", "list")),
        ("CLOUDACCEL_DATABASE_URL", f"u:{CANARY}@h", ("provision", "list")),
        ("CLOUDACCEL_MIRRORS", f"http://u:{CANARY}@h", ("refresh", "oci")),
        ("CLOUDACCEL_MIRRORS", f"x=u:{CANARY}@h", ("refresh", "oci")),
    ],
)
def test_an_address_that_cannot_be_is_said_without_its_password(
    setting: str, value: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address holds a password: it must not be in a message that somebody pastes into a ticket."""
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv(setting, value)
    answer = run(*words)
    assert (answer.code, answer.err.count("\n")) == (2, 1), answer
    assert CANARY not in answer.out + answer.err
