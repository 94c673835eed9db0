"""Waiting that is told and that keeps its hold: nobody sits before a silent screen, or loses a run while at work on it.

A pause renews the hold of whoever pauses. A call that is long in coming back is waited for by a thread beside it, which
does the same: one call may follow a cloud's operation for a quarter of an hour.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import datetime

from cloudaccel.errors import CloudAccelError
from cloudaccel.provision.clock import Clock, SystemClock

SAID_AFTER_S = 2.0  # shorter waits are not worth a word
KEEP_EVERY_S = 60.0  # well inside the time for which a run is held

Say = Callable[[str, datetime | None], None]
"""Gets what is waited for (``2 machines to end``), and until when at the latest; None: until it is answered."""


def in_silence(_what: str, _until: datetime | None) -> None:
    """A `Say` for where nobody listens."""


class Waits:
    """The waiting of one piece of work, in one thread. `say` is told, again at each pause, of waits of 2 s and more."""

    def __init__(self, clock: Clock, say: Say = in_silence) -> None:
        self.clock = clock
        self._say = say
        self._keep: Callable[[], object] = lambda: None
        self._kept_at = self._since = clock.now()
        self._what = ""

    @contextmanager
    def keeping(self, keep: Callable[[], object]) -> Generator[None]:
        """Call `keep` about every minute of waiting; what it raises ends the wait."""
        before, self._keep, self._kept_at = self._keep, keep, self.clock.now()
        try:
            yield
        finally:
            self._keep = before

    def pause(self, seconds: float, what: str, until: datetime | None = None) -> None:
        """Let `seconds` pass, waiting for `what`."""
        now = self.clock.now()
        if what != self._what:
            self._what, self._since = what, now
        if (now - self._since).total_seconds() + seconds >= SAID_AFTER_S:
            self._say(what, until)
        left_s = seconds
        while left_s > 0:
            part_s = min(left_s, KEEP_EVERY_S)
            self.clock.sleep(part_s)
            left_s -= part_s
            if (self.clock.now() - self._kept_at).total_seconds() >= KEEP_EVERY_S:
                self._keep()
                self._kept_at = self.clock.now()

    @contextmanager
    def answer(self, what: str) -> Generator[None]:
        """Around one call: says what it waits for when that is long, and keeps the hold meanwhile."""
        if not isinstance(self.clock, SystemClock):  # under any other, no time passes while a call is answered
            yield
            return
        answered = threading.Event()
        threading.Thread(target=self._attend, args=(what, answered), name="waiting", daemon=True).start()
        try:
            yield
        finally:
            answered.set()

    def _attend(self, what: str, answered: threading.Event) -> None:
        if answered.wait(SAID_AFTER_S):
            return
        self._say(what, None)
        while not answered.wait(KEEP_EVERY_S):
            with suppress(CloudAccelError):  # a hold that is lost is met at the next decision, by whoever decides
                self._keep()
