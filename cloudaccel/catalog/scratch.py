"""Folders to work in that do not outlive their process for long: what one that was killed left, the next one removes.

A folder holds a lock for as long as its process lives, however that ends; one whose lock is free is nobody's.
"""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cloudaccel.catalog.locking import locked
from cloudaccel.errors import StorageError

ROOM = "working"
_LOCK = ".lock"
_TRIES = 5


@contextmanager
def scratch(cache: Path) -> Generator[Path]:
    """A new folder in the user's cache, gone afterwards; in the system's own place where the cache is read-only."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(working(cache / ROOM))
        except (OSError, StorageError):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cloudaccel-")))
        yield folder
    _close(cache / ROOM)


def tidy(cache: Path) -> None:
    """Remove what processes that were killed left in the user's cache."""
    sweep(cache / ROOM)
    _close(cache / ROOM)


@contextmanager
def working(room: Path, prefix: str = "") -> Generator[Path]:
    """A new folder in `room`, whose name begins with `prefix`, gone afterwards; older ones so named are swept first.

    Raises OSError or `StorageError` where it cannot be made.
    """
    sweep(room, prefix)
    for _ in range(_TRIES):
        room.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                folder = Path(tempfile.mkdtemp(dir=room, prefix=prefix))
            except FileNotFoundError:  # another one, which was the last, has just closed the room
                continue
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(locked(folder / _LOCK))
            if (folder / _LOCK).exists():  # else another one took it for left over, before it was locked
                yield folder
                return
    raise StorageError(f"no folder to work in can be made in {room}. Free the folder.")


def sweep(room: Path, prefix: str = "") -> None:
    """Remove the folders of processes that are gone."""
    with suppress(OSError):
        for folder in [path for path in room.iterdir() if path.name.startswith(prefix)]:
            if folder.is_symlink() or not folder.is_dir():
                continue
            with suppress(OSError, StorageError), locked(folder / _LOCK, wait=False) as free:
                if free:
                    shutil.rmtree(folder, ignore_errors=True)


def _close(room: Path) -> None:
    with suppress(OSError):
        room.rmdir()  # the last one takes the room along


__all__ = ["ROOM", "scratch", "sweep", "tidy", "working"]
