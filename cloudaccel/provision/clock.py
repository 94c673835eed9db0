"""Time as an argument: what is now, how to wait, and a little randomness for the waiting."""

import random
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        time.sleep(max(seconds, 0))


class Backoff:
    """Waiting times that double from `first_s` to `longest_s`, each shortened by up to a half at random."""

    def __init__(self, first_s: float, longest_s: float, rng: random.Random | None = None) -> None:
        self._next = first_s
        self._longest = longest_s
        self._rng = rng or random.Random()  # noqa: S311  # spreads retries, guards nothing

    def next_s(self) -> float:
        """The next waiting time, seconds."""
        wait = self._next * (1 - self._rng.random() / 2)
        self._next = min(self._next * 2, self._longest)
        return wait
