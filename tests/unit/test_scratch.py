"""Folders to work in: gone with their process, or swept by the next one."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.catalog.scratch import ROOM, scratch, working
from cloudaccel.testing.cloud import FakeCloud, Reply
from tests.support import run, standing_still, until

KEY = """\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


def test_nothing_is_left_of_a_folder_that_was_let_go(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        (folder / "a").write_text("x")
        assert folder.parent == tmp_path / ROOM
    assert not list(tmp_path.iterdir())


def test_folders_of_the_living_are_left_alone(tmp_path: Path) -> None:
    with scratch(tmp_path) as one, scratch(tmp_path) as other:
        assert one != other
        assert one.exists()


def test_many_at_once_each_have_one_of_their_own(tmp_path: Path) -> None:
    """One that was swept before it was locked would have been worked in by nobody, or by two."""
    faults: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(30):
                with scratch(tmp_path) as folder:
                    (folder / "mine").write_text(str(threading.get_ident()))
                    assert (folder / "mine").read_text() == str(threading.get_ident())
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert not (tmp_path / ROOM).exists()


def test_a_link_in_the_room_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "kept").write_text("x")
    (tmp_path / ROOM).mkdir()
    (tmp_path / ROOM / "link").symlink_to(mine)
    with scratch(tmp_path):
        pass
    assert [path.name for path in mine.iterdir()] == ["kept"]


def test_a_cache_that_is_a_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("mine")
    with scratch(tmp_path / "cache") as folder:
        assert folder.is_dir()
        assert folder.parent != tmp_path / "cache"
    assert not folder.exists()


def _killed(words: list[str], env: dict[str, str], room: Path, prefix: str) -> None:
    """Run, and kill as soon as there is anything in `room` that begins with `prefix`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cloudaccel", *words], env={**os.environ, **env}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: any(room.glob(f"{prefix}*")) or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.network
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_refresh_that_was_killed_leaves_nothing_once_another_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one that was killed left a whole snapshot in /tmp, for ever."""
    cache, temporary, key = tmp_path / "cache", tmp_path / "tmp", tmp_path / "key.pem"
    temporary.mkdir()
    key.write_text(KEY)
    env = {"CLOUDACCEL_CACHE_DIR": str(cache), "TMPDIR": str(temporary), "NO_PROXY": "*"}
    with FakeCloud() as cloud:
        cloud.serve("/s.zip", lambda _: Reply(body=b"PK" * 5000, fault="hang"))
        words = ["refresh", "--from", f"{cloud.url}/s.zip", "--trusted-key", str(key)]
        _killed(words, env, cache / ROOM, "")
    assert len(list((cache / ROOM).iterdir())) == 1
    assert not list(temporary.iterdir())
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert run("refresh", "--out", str(tmp_path / "snap")).code == 0
    assert not (cache / ROOM).exists()
    assert not list(temporary.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("target", ["snap", "snap.zip"])
def test_a_snapshot_whose_writing_was_killed_is_swept_by_the_next_one(tmp_path: Path, target: str) -> None:
    out = tmp_path / "out" / target
    out.parent.mkdir()
    room, prefix = (out, ".writing-") if target == "snap" else (out.parent, f".{target}.writing-")
    with standing_still("refresh", "--out", str(out), at="cloudaccel.catalog.snapshot_write._sync") as refresh:
        refresh.kill()
    assert list(room.glob(f"{prefix}*"))
    assert run("refresh", "--out", str(out)).code == 0
    assert not list(room.glob(".*"))


def test_a_room_that_another_closes_as_it_is_entered_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two at once, one could not keep what it had read: the other, the last to leave, took the folder along."""
    room = tmp_path / "room"
    make: Any = tempfile.mkdtemp
    closed: list[Path] = []

    def late(**how: Any) -> str:
        if not closed:
            closed.append(room)
            room.rmdir()
        return str(make(**how))

    monkeypatch.setattr(tempfile, "mkdtemp", late)
    with working(room) as folder:
        assert folder.parent == room
    assert closed


def test_what_the_caller_raises_is_raised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="mine"), working(tmp_path / "room"):
        raise OSError("mine")
    assert not list((tmp_path / "room").iterdir())
