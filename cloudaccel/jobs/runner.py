"""Does jobs when they are due, as one of several processes on the same state store: each due time has one doer."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloudaccel.errors import CloudAccelError
from cloudaccel.jobs.leases import Claim, LeaseLost, Leases
from cloudaccel.jobs.schedule import Schedule, first_due, next_due

TICK_S = 1.0
_AWAY_S = 5.0  # from one try to the next while the state store does not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something that comes round. `work` gets a function to call right before it writes: that raises `LeaseLost`."""

    name: str
    schedule: Schedule
    work: Callable[[Callable[[], None]], None]


Told = Callable[[str, CloudAccelError | None], None]


def run_jobs(leases: Leases, jobs: Sequence[Job], stop: threading.Event, *, told: Told, tick_s: float = TICK_S) -> None:
    """Do every job when it is due and nobody else is at it, until `stop` is set; work under way is finished.

    `told` hears of each run: the name of the job, and the error that it ended with or None. What is no
    `CloudAccelError` ends the process' part in all jobs, and is raised here.
    """
    broken: list[BaseException] = []

    def keep(job: Job) -> None:
        try:
            while not stop.is_set():
                stop.wait(_one_look(leases, job, told, tick_s))
        except BaseException as error:
            broken.append(error)
            stop.set()

    threads = [threading.Thread(target=keep, args=(job,), name=f"job {job.name}") for job in jobs]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # a wait without an end would keep signals from being seen on some systems
                thread.join(1.0)
    except BaseException:  # Ctrl-C: the threads would go on, and the program never end
        stop.set()
        raise
    if broken:
        raise broken[0]


def _one_look(leases: Leases, job: Job, told: Told, tick_s: float) -> float:
    """Do the job if it is due; seconds until the next look."""
    try:
        claim = leases.claim(job.name, job.schedule.text, lambda last, now: first_due(job.schedule, last, now))
    except CloudAccelError as error:
        told(job.name, error)
        return _AWAY_S
    if claim is not None:
        _do(leases, job, claim, told)
    return tick_s


def _do(leases: Leases, job: Job, claim: Claim, told: Told) -> None:
    ended = threading.Event()
    beat = threading.Thread(target=_keep_alive, args=(leases, claim, ended), daemon=True)
    beat.start()
    error: CloudAccelError | None = None
    try:
        job.work(lambda: leases.hold(claim))
    except CloudAccelError as failed:
        error = failed
    finally:
        ended.set()
        beat.join()
    try:
        if not isinstance(error, LeaseLost):
            leases.done(
                claim, next_due(job.schedule, claim.started_at, leases.now()), None if error is None else str(error)
            )
    except CloudAccelError as failed:
        error = failed
    told(job.name, error)


def _keep_alive(leases: Leases, claim: Claim, ended: threading.Event) -> None:
    """Renew the claim while the work goes on. A lost one is left alone; the work learns of it before it writes."""
    while not ended.wait(leases.ttl_s / 3):
        try:
            leases.hold(claim)
        except LeaseLost:
            return
        except CloudAccelError:
            continue
