"""`keep_fresh`: refresh prices for ever, as one process of this machine, or of all that share a database."""

import json
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from cloudaccel import settings
from cloudaccel.api.renewing import Renewed, check_reading, renew_prices
from cloudaccel.catalog.locking import locked
from cloudaccel.catalog.notebook import Notebook
from cloudaccel.errors import CloudAccelError, QueryError
from cloudaccel.files import replace_text
from cloudaccel.jobs import parse_schedule, run_forever
from cloudaccel.jobs.schedule import Schedule, first_run
from cloudaccel.untrusted import json_of

_LOCK = "schedule.lock"
_STATE = "schedule.json"
_TRIES = 5  # `schedule_status` holds the lock for a moment too
_UNREADABLE = (CloudAccelError, OSError, ValueError, KeyError, TypeError, OverflowError)  # a note that is none


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleStatus:
    """Who keeps prices fresh. `next_at` is ISO; None while somebody is at work.

    `process` is the one on this machine, or None where several share a database: `owner` is then who is at work now,
    and `error` why the last run failed.
    """

    schedule: str
    next_at: str | None
    process: int | None
    owner: str | None = None
    error: str | None = None


def keep_fresh(
    schedule: str,
    providers: Sequence[str] = (),
    *,
    stop: threading.Event,
    told: Callable[[Renewed | CloudAccelError], None],
) -> None:
    """Refresh as `schedule` says until `stop` is set; each outcome is given to `told`, a failure too.

    Where ``CLOUDACCEL_DATABASE_URL`` is set, any number of processes may do this: each due time has one doer, and when
    that is killed or frozen, another takes over and the first writes nothing more.

    Raises
    ------
    QueryError
        If `schedule` cannot be read, or another process already does this for the same catalog.
    ConfigError
        If APScheduler is missing, which a line of cron needs, or no price list can be read (`check_reading`).
    """
    asked = parse_schedule(schedule)
    check_reading()
    if os.environ.get("CLOUDACCEL_DATABASE_URL"):
        _keep_fresh_together(asked, providers, stop, told)
        return
    cache = settings.cache_dir()

    def work() -> None:
        try:
            told(renew_prices(providers))
        except CloudAccelError as error:  # a full disk or a setting: may be mended before the next run
            told(error)

    def planned(moment: datetime | None) -> None:
        _write(cache / _STATE, asked.text, moment)

    for _ in range(_TRIES):
        with locked(cache / _LOCK, wait=False) as held:
            if held:
                try:
                    (cache / _STATE).unlink(missing_ok=True)  # of one that was killed
                    first_at = first_run(asked, _last(cache), datetime.now(UTC))
                    run_forever(work, asked, stop, first_at=first_at, planned=planned)
                finally:
                    with suppress(OSError):
                        (cache / _STATE).unlink()
                return
        stop.wait(0.1)
    raise QueryError("another process already refreshes this catalog on a schedule; see refresh --status.")


def _keep_fresh_together(
    asked: Schedule,
    providers: Sequence[str],
    stop: threading.Event,
    told: Callable[[Renewed | CloudAccelError], None],
) -> None:
    """The same as one of several processes on a state store."""
    from cloudaccel import state  # SQLAlchemy, only for who shares a database
    from cloudaccel.jobs.leases import Leases
    from cloudaccel.jobs.runner import Job, run_jobs

    def work(still: Callable[[], None]) -> None:
        told(renew_prices(providers, still=still))

    def failed(_job: str, error: CloudAccelError | None) -> None:
        if error is not None:
            told(error)

    with state.opened() as engine:
        run_jobs(Leases(engine), [Job(name="refresh", schedule=asked, work=work)], stop, told=failed)


def schedule_status() -> ScheduleStatus | None:
    """Who refreshes on a schedule, here or on the database that is set; None: nobody, or it does not answer."""
    if os.environ.get("CLOUDACCEL_DATABASE_URL"):
        with suppress(CloudAccelError):
            return _status_together()
        return None
    cache = settings.cache_dir()
    if not os.path.isfile(cache / _LOCK):  # unlike Path.is_file, False where we may not look
        return None
    with suppress(*_UNREADABLE), locked(cache / _LOCK, wait=False, shared=True) as free:
        if not free:
            data = cast("dict[str, Any]", json_of((cache / _STATE).read_bytes()))
            next_at = data["next_at"] and datetime.fromisoformat(data["next_at"]).isoformat()
            return ScheduleStatus(schedule=str(data["schedule"]), next_at=next_at, process=int(data["process"]))
    return None


def _status_together() -> ScheduleStatus | None:
    from cloudaccel import state  # SQLAlchemy, only for who shares a database
    from cloudaccel.jobs.leases import Leases

    with state.opened() as engine:
        job = next((job for job in Leases(engine).jobs() if job.job == "refresh"), None)
    if job is None:
        return None
    owner = job.owner and job.owner.rpartition(":")[0]
    next_at = None if job.owner or job.next_at is None else job.next_at.isoformat(timespec="seconds")
    return ScheduleStatus(schedule=job.schedule, next_at=next_at, process=None, owner=owner, error=job.error)


def _last(cache: Path) -> datetime | None:
    tried = [note["tried_at"] for note in Notebook(cache).entries().values()]
    return datetime.fromisoformat(max(tried)) if tried else None


def _write(path: Path, schedule: str, moment: datetime | None) -> None:
    state = {
        "schedule": schedule, "process": os.getpid(),
        "next_at": None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    with suppress(OSError):  # for show only: a full disk must not end the schedule
        replace_text(path, json.dumps(state))
