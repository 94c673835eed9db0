"""What ``provision`` waits for, on stderr: one line that is renewed on a terminal, a line for each wait elsewhere."""

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

from cloudaccel.cli import common

_CLEAR = "\r\x1b[K"


class WaitLine:
    """Shows waits, and takes the line away before anything else is written. `quiet`: nothing is shown."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._renews = sys.stderr.isatty()
        self._shown = ""

    def say(self, what: str, until: datetime | None) -> None:
        """Wait for `what`, until then at the latest; None: until it is answered."""
        if self._quiet:
            return
        most = "" if until is None else f", until {until:%H:%M:%S}Z at most,"
        text = f"waiting{most} for {' '.join(what.split())}"
        if self._renews:
            common.write(_CLEAR + text[: _columns() - 1], sys.stderr)
            sys.stderr.flush()
        elif what != self._shown:  # the same wait is said once where lines stay
            common.note(text[:300])
        self._shown = what

    def clear(self) -> None:
        """Take the line away; the next wait is a new one."""
        if self._renews and self._shown:
            common.write(_CLEAR, sys.stderr)
            sys.stderr.flush()
        self._shown = ""

    def note(self, text: str) -> None:
        """One line that stays."""
        self.clear()
        common.note(text, quiet=self._quiet)


@contextmanager
def waiting(*, quiet: bool) -> Generator[WaitLine]:
    """A line for the waits of one piece of work."""
    line = WaitLine(quiet=quiet)
    try:
        yield line
    finally:
        line.clear()


@contextmanager
def stoppable(said: str) -> Generator[None]:
    """Let a polite end (SIGTERM) do what Ctrl-C does, and say at once that it was heard: `said`.

    Where the shell has told us to ignore Ctrl-C, as for what it runs in the background, it stays ignored.
    """

    def stop(_signal: int, _frame: object) -> None:
        clear = _CLEAR if sys.stderr.isatty() else ""
        os.write(2, f"{clear}{said}\n".encode())  # no Python stream: this may interrupt another write to it
        raise KeyboardInterrupt

    caught = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 80
