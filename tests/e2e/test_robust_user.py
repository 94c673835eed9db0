"""Another user, who may not read or write what is there: one message, the documented exit code, and nothing moved."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support import PATIENCE_S, run

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv"
)


@cache
def may_import(*packages: str) -> bool:
    """Whether nobody may read the packages of this environment."""
    command = [*AS_NOBODY, sys.executable, "-B", "-c", f"import {', '.join(packages)}"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S, cwd=Path(__file__).parents[2])
    return done.returncode == 0


class Place:
    """A cache, a state folder and a configuration of root's, and the program as nobody runs it on them."""

    def __init__(self, folder: Path, built: Path) -> None:
        self.folder, self.cache, self.data = folder, folder / "cache", folder / "data"
        shutil.copytree(built, self.cache)
        self.data.mkdir()
        self.env = {
            **os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"),
            "CLOUDACCEL_CACHE_DIR": str(self.cache), "CLOUDACCEL_DATA_DIR": str(self.data),
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def modes(self, folder: Path, own: int, files: int) -> None:
        for path in folder.iterdir():
            path.chmod(files)
        folder.chmod(own)

    def ask(self, *words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [*AS_NOBODY, sys.executable, "-m", "cloudaccel", *words], env=self.env, capture_output=True, text=True,
            check=False, timeout=PATIENCE_S, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def place(built_cache: Path) -> Iterator[Place]:
    """In a folder that everybody may enter, unlike those of pytest."""
    assert run("quote", "H100", "--limit", "1").code == 0
    folder = Path(tempfile.mkdtemp(prefix="cloudaccel-user-"))
    folder.chmod(0o755)
    found = Place(folder, built_cache)
    try:
        if not may_import("cloudaccel", "platformdirs"):
            pytest.skip("another user may not run this interpreter or read this checkout here")
        yield found
    finally:
        shutil.rmtree(folder)


def refreshed(place: Place) -> Path:
    (built,) = place.cache.glob("bundled-*.sqlite")
    return Path(shutil.copy(built, place.cache / "catalog.sqlite"))


@pytest.mark.parametrize("words", [("quote", "H100:8"), ("refresh", "--status"), ("doctor",)])
def test_a_cache_that_may_not_be_entered(place: Place, words: tuple[str, ...]) -> None:
    place.modes(place.cache, 0o700, 0o600)
    code, out, err = place.ask(*words)
    assert (code, bool(out)) == (0, True), err
    assert "Answering from memory" in err + out


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_refreshed_catalog_of_another_is_not_damaged_and_stays(place: Place, mode: int) -> None:
    """A colleague's prices would have been put aside as damaged by whoever may not read them."""
    path = refreshed(place)
    place.modes(place.cache, mode, 0o600)
    code, out, err = place.ask("quote", "H100:8")
    assert (code, bool(out)) == (0, True), err
    assert "may not be read by this user" in err
    assert "damaged" not in err
    assert path.exists()
    code, _, err = place.ask("--catalog", str(path), "quote", "H100:8")
    assert (code, err.count("\n"), "may not be read" in err) == (2, 1, True), err


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_cache_that_may_not_be_written_is_said_by_a_refresh(place: Place, mode: int) -> None:
    snapshot = place.folder / "snap.zip"
    assert run("refresh", "--out", str(snapshot)).code == 0
    snapshot.chmod(0o644)
    place.modes(place.cache, mode, 0o644)
    code, _, err = place.ask("refresh", "--from", str(snapshot))
    assert (code, err.count("\n"), "cannot be written: Permission denied" in err) == (2, 1, True), err
    snapshot.chmod(0o600)
    code, _, err = place.ask("refresh", "--from", str(snapshot))
    assert (code, err.count("\n"), "Permission denied" in err) == (2, 1, True), err


def test_a_refreshed_catalog_that_may_not_be_read_is_not_replaced(place: Place) -> None:
    """A refresh began with the prices that ship, put its own in the place of a colleague's, and theirs were lost."""
    snapshot = place.folder / "snap.zip"
    assert run("refresh", "--out", str(snapshot)).code == 0
    snapshot.chmod(0o644)
    path = refreshed(place)
    before = path.read_bytes()
    place.modes(place.cache, 0o777, 0o644)
    path.chmod(0o600)
    for words in (("refresh", "oci"), ("refresh", "--from", str(snapshot))):
        code, _, err = place.ask(*words)
        assert (code, err.count("\n"), "is not replaced" in err) == (2, 1, True), err
    assert path.read_bytes() == before
    assert not list(place.cache.glob("*.damaged"))
    assert place.ask("refresh", "--out", str(place.folder / "closed"))[0] == 2  # its folder is not this user's
    path.unlink()
    assert place.ask("refresh", "--from", str(snapshot))[0] == 0


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_snapshot_that_may_not_be_read_is_not_called_damaged(place: Place, kind: str) -> None:
    """He would have fetched it again, and that was not what was wrong."""
    snapshot = place.folder / ("snap.zip" if kind == "zip" else "snap")
    assert run("refresh", "--out", str(snapshot)).code == 0
    closed = snapshot if kind == "zip" else snapshot / "manifest.json"
    closed.chmod(0o600)
    place.modes(place.cache, 0o777, 0o644)
    for words in (("--catalog", str(snapshot), "quote", "H100"), ("refresh", "--from", str(snapshot))):
        code, _, err = place.ask(*words)
        assert (code, err.count("\n"), "cannot be read: Permission denied" in err) == (2, 1, True), err


@pytest.mark.parametrize(("folder", "file"), [(0o700, 0o644), (0o755, 0o600), (0o777, 0o644)])
def test_a_journal_that_may_not_be_written(
    place: Place, folder: int, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He would have believed that nothing runs, had an empty journal been made beside it."""
    pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")
    if not may_import("sqlalchemy"):
        pytest.skip("another user may not read sqlalchemy here")
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(place.data))
    assert run("provision", "list").code == 0
    place.modes(place.data, folder, file)
    before = sorted(place.data.iterdir())
    for words in (("provision", "list"), ("alert", "list")):
        code, _, err = place.ask(*words)
        assert (code, err.count("\n"), "cannot be written" in err) == (2, 1, True), err
    assert sorted(place.data.iterdir()) == before


def test_a_configuration_that_may_not_be_read(place: Place) -> None:
    """A file that was named is needed; one in another's home is not this user's, and doctor does not call it read."""
    path = place.folder / "config" / "cloudaccel" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('max_age = "30d"\n')
    place.modes(path.parent, 0o755, 0o600)
    for words in (("--config", str(path), "quote", "H100:8"), ("--profile", "work", "quote", "H100:8")):
        code, _, err = place.ask(*words)
        assert (code, err.count("\n"), "cannot be read: Permission denied" in err) == (2, 1, True), err
    for mode in (0o755, 0o700):
        path.parent.chmod(mode)
        code, out, err = place.ask("doctor")
        assert (code, "not for this user to read" in out) == (0, True), err


@pytest.mark.parametrize(
    "words",
    [
        ("quote", "H100", "--price-file", "FILE"), ("--catalog", "FILE", "quote", "H100"), ("plan", "FILE"),
        ("verify", "FILE"), ("policy", "verify", "FILE"), ("quote", "H100", "--policy", "FILE"), ("roadmap", "FILE"),
        ("refresh", "--from", "FILE"), ("compare", "--inventory", "FILE"), ("refresh", "--verify", "--from", "FILE"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_file_that_may_not_be_read(place: Place, words: tuple[str, ...], where: str) -> None:
    closed = place.folder / "closed"
    closed.mkdir()
    path = closed / "mine.csv"
    path.write_text("mine")
    path.chmod(0o600 if where == "file" else 0o644)
    closed.chmod(0o755 if where == "file" else 0o700)
    code, _, err = place.ask(*(str(path) if word == "FILE" else word for word in words))
    assert code in (2, 5, 6), err
    assert err.count("\n") == 1, err
