"""One clock for a fake cloud and for every program that asks it: whoever waits lets time pass for all.

It is the machine's clock, ahead by all that anybody has waited for. How far is kept in a file, so that programs of
their own share it too: started as ``python tests/one_clock.py provision up …``, with the file in `VARIABLE`. Time that
passes by itself goes on as ever, so that nothing stands still while threads and processes race.
"""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from cloudaccel.catalog.locking import locked
from cloudaccel.files import replace_text
from cloudaccel.provision.clock import SystemClock

VARIABLE = "TESTS_CLOCK"
PROGRAM = (sys.executable, str(Path(__file__).resolve()))  # instead of ``python -m cloudaccel``

Replace = Callable[[object, str, object], None]


class OneClock:
    """The clock whose lead, in seconds, is in `file`; one that is not there is made."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = file.with_name(f"{file.name}.lock")

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._lead(0))

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._lead(max(seconds, 0))

    def seconds(self) -> float:
        """Seconds that only rise."""
        return time.monotonic() + self._lead(0)

    def _lead(self, more_s: float) -> float:
        with locked(self._lock):
            lead_s = float(self._file.read_text(encoding="utf-8")) if self._file.exists() else 0.0
            if more_s:
                replace_text(self._file, repr(lead_s + more_s))  # whole, also where the program is killed
        return lead_s + more_s


def keep(clock: OneClock, replace: Replace) -> None:
    """Let `SystemClock`, and the adapters that wait by themselves, go by `clock`; `replace` is as `setattr`."""
    replace(SystemClock, "now", staticmethod(clock.now))
    replace(SystemClock, "sleep", staticmethod(clock.sleep))
    times = {"monotonic": clock.seconds, "sleep": clock.sleep, "now": clock.now}
    for adapter in _adapters():
        defaults = cast("dict[str, Any]", adapter.__init__.__kwdefaults__)
        replace(adapter.__init__, "__kwdefaults__", defaults | {k: v for k, v in times.items() if k in defaults})


def _adapters() -> tuple[Any, ...]:
    from cloudaccel_azure import AzureProvider
    from cloudaccel_gcp import GcpProvider

    return AzureProvider, GcpProvider


def _main() -> int:
    sys.path.pop(0)  # this folder, whose names are not for the program
    keep(OneClock(Path(os.environ[VARIABLE])), setattr)
    from cloudaccel.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(_main())
