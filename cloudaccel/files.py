"""Files that other processes read: each is replaced in one step, so that nobody sees half of one."""

import errno
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

UNFINISHED = ".building-"  # how the name of a file begins that is not yet in its place


def replace_text(path: Path, text: str, *, lasting: bool = False) -> None:
    """Write `text` (as UTF-8) to the file at `path`, whole or not at all; the old file's permissions stay.

    With `lasting`, it is on the disk when this returns. What is no plain file (a link, a pipe, a terminal) is written
    where it is; a link that leads to itself gives way.

    Raises
    ------
    OSError
        If it cannot be written; the old file is then as it was.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        try:
            path.write_text(text, encoding="utf-8", newline="")
            return
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
    unfinished = path.with_name(f"{UNFINISHED}{os.getpid()}-{threading.get_ident()}-{path.name}")
    try:
        with open(unfinished, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            if stat.S_ISREG(old := path.lstat().st_mode):
                unfinished.chmod(stat.S_IMODE(old))
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


__all__ = ["UNFINISHED", "replace_text"]
