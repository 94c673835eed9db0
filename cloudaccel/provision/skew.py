"""Whether this machine's clock can be believed, by the clouds' own: before anything ends for being late, or starts.

An account where every lease is over because a clock was set ahead looks like one where they really are. Clouds say what
time it is in every answer. Where one does not, this machine's clock decides alone, and that is said with what it ended:
wrong clocks are rare, and a machine that nobody ends bills for ever.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloudaccel.errors import CloudAccelError
from cloudaccel.protocols import Provider
from cloudaccel.provision.calls import Calls, machines
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.values import Run

BOUND = timedelta(minutes=5)  # what AWS lets a signature be off by, and far more than an answer takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """This machine's clock beside a cloud's. `there` None: the cloud does not say, or did not answer."""

    provider: str
    here: datetime
    there: datetime | None

    @property
    def is_off(self) -> bool:
        """Whether the two differ by more than `BOUND`; False where the cloud's time is not known."""
        return self.there is not None and abs(self.here - self.there) > BOUND

    @property
    def text(self) -> str:
        """Both times and what to do, in sentences; empty unless they are too far apart."""
        if self.there is None or not self.is_off:
            return ""
        off_s = (self.here - self.there).total_seconds()
        way = "ahead of" if off_s > 0 else "behind"
        return (
            f"This machine's clock says {self.here:%Y-%m-%d %H:%M:%SZ} and {self.provider} says "
            f"{self.there:%Y-%m-%d %H:%M:%SZ}: it is {_span(abs(off_s))} {way} it. Set the clock (timedatectl "
            "set-ntp true, or what your system has for it)."
        )


class Clocks:
    """Compares with each cloud once; made anew for each look, since a clock may be set in between."""

    def __init__(self, load: Callable[[str], Provider], calls: Calls) -> None:
        self._load = load
        self._calls = calls
        self._lock = threading.Lock()
        self._found: dict[str, Skew] = {}

    def at(self, provider: str, region: str) -> Skew:
        """How far this machine's clock is from the provider's, asked of `region`."""
        with self._lock:
            if provider not in self._found:
                self._found[provider] = self._compared(provider, region)
            return self._found[provider]

    def of(self, run: Run, journal: Journal) -> Skew | None:
        """The same by a cloud that the run has used; None: it has asked nothing of any."""
        used = [(o.provider, o.region) for o in journal.operations(run.id)]
        return self.at(*used[-1]) if used else None

    def _compared(self, provider: str, region: str) -> Skew:
        there: datetime | None = None
        before = self._calls.clock.now()
        with suppress(CloudAccelError):  # nobody answers: then nothing can be ended either, and that is said there
            instances = machines(self._load(provider))
            ask = getattr(instances, "time", None)  # an adapter may have been written before anybody asked
            there = None if ask is None else self._calls.read(lambda: ask(region=region))
        after = self._calls.clock.now()
        # The answer was written in between: only what lies outside of that is the clocks' own.
        here = after if there is None else min(max(there, before), after)
        return Skew(provider=provider, here=here, there=there)


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds / 60:.0f} min"


__all__ = ["BOUND", "Clocks", "Skew"]
