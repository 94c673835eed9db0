"""One replica for the tests of leases: ``python -m tests.contract.replica URL FILE TTL_S EVERY_S [HELD]``.

Does the job ``test`` until it is stopped. A line for each step goes to FILE: process, step, token. The work takes no
time, or for as long as there is a file HELD.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cloudaccel import state
from cloudaccel.errors import CloudAccelError
from cloudaccel.jobs.leases import Leases
from cloudaccel.jobs.runner import Job, run_jobs
from cloudaccel.jobs.schedule import Schedule


def main() -> None:
    """Run until SIGTERM."""
    url, file, ttl_s, every_s = sys.argv[1], Path(sys.argv[2]), *map(float, sys.argv[3:5])
    held = Path(sys.argv[5]) if sys.argv[5:] else None
    stop = threading.Event()

    def end(_number: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    with state.opened(url) as engine:
        _take_turns(Leases(engine, ttl_s=ttl_s), file, every_s, held, stop)


def _take_turns(leases: Leases, file: Path, every_s: float, held: Path | None, stop: threading.Event) -> None:
    def say(step: str) -> None:
        token = next((job.token for job in leases.jobs()), 0)
        line = f"{os.getpid()} {step} {token}\n".encode()
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line)  # one write: lines of several processes do not mix
        os.close(descriptor)

    def work(still: Callable[[], None]) -> None:
        say("begun")
        while held is not None and held.exists():
            time.sleep(0.02)
        still()
        say("written")

    def told(_job: str, error: CloudAccelError | None) -> None:
        if error is not None:
            say(error.code)

    schedule = Schedule(text=f"{every_s} s", interval_s=every_s, jitter_s=0)
    run_jobs(leases, [Job(name="test", schedule=schedule, work=work)], stop, told=told, tick_s=0.1)


if __name__ == "__main__":
    main()
