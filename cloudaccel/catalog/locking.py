"""A lock between processes on one machine. It ends with the process that holds it, however that ends."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cloudaccel.errors import StorageError


@contextmanager
def locked(path: Path, *, wait: bool = True, shared: bool = False) -> Generator[bool]:
    """Hold the lock at `path` while entered; gives whether it is held, which without `wait` it may not be.

    `shared`: together with others that hold it so, which Windows does not have.

    Raises
    ------
    StorageError
        If the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}. Make the folder writable, remove what is in the "
            "file's place, or name another folder with CLOUDACCEL_CACHE_DIR."
        ) from error
    try:
        yield _lock(descriptor, wait, shared)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, wait: bool, shared: bool) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
