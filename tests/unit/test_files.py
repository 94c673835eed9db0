"""Files that other processes read."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cloudaccel.files import UNFINISHED, replace_text
from tests.support import PATIENCE_S


def test_a_reader_sees_the_old_or_the_new_and_never_half(tmp_path: Path) -> None:
    """A reader in the wrong millisecond would have said that nobody refreshes on a schedule."""
    place = tmp_path / "state.json"
    replace_text(place, json.dumps([0] * 5_000))
    done = threading.Event()

    def write() -> None:
        for number in range(300):
            replace_text(place, json.dumps([number] * 5_000))
        done.set()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while not done.is_set():
        assert len(set(json.loads(place.read_text(encoding="utf-8")))) == 1
    for writer in writers:
        writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "plan.lock.json"
    replace_text(place, "old")
    with pytest.raises(UnicodeEncodeError):
        replace_text(place, "new \udc80")
    assert place.read_text(encoding="utf-8") == "old"
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))


@pytest.mark.skipif(sys.platform == "win32", reason="permissions and pipes of Unix")
def test_permissions_links_and_pipes_stay_what_they_are(tmp_path: Path) -> None:
    """A link would have become a file, and as root the terminal's own device would have been replaced."""
    place = tmp_path / "statements.json"
    replace_text(place, "old")
    place.chmod(0o640)
    replace_text(place, "new")
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    link = tmp_path / "link"
    link.symlink_to(place)
    replace_text(link, "through")
    assert link.is_symlink()
    assert place.read_text(encoding="utf-8") == "through"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        replace_text(pipe, "said")
        assert reader.communicate(timeout=PATIENCE_S)[0] == b"said"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
