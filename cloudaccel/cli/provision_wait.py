"""What ``provision`` waits for, on stderr: one line that is renewed on a terminal, a line for each wait elsewhere."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime

from cloudaccel.cli import common, provision_render
from cloudaccel.provision.values import Attempt

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


class Rounds:
    """The attempt log of ``up --wait``: a place that answers as before is counted, not told again."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._said: dict[tuple[str, ...], tuple[str, str]] = {}
        self._asked = self._same = 0

    def attempt(self, attempt: Attempt) -> None:
        """Tell of one place, unless it says what it said last; that it is not asked again yet is said once beside."""
        self._asked += 1
        c, now = attempt.candidate, (attempt.outcome, attempt.detail)
        kind = "blocked" if attempt.outcome == "blocked" else "answer"
        place = (c.provider, attempt.zone or c.region, c.instance, c.market, kind)
        if self._said.get(place) == now:
            self._same += 1
            return
        self._said[place] = now
        if attempt.outcome == "created":
            self.over()
        self._note(provision_render.attempt_line(self._asked, attempt))

    def over(self) -> None:
        """The round is over: say how many places are as they were."""
        if self._same:
            word = "place is" if self._same == 1 else "places are"
            self._note(f"{self._asked:>3}  {self._same} {word} as before")
        self._same = 0


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
