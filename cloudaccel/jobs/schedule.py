"""A schedule in words (``6h``, or five fields of cron in UTC), and a loop that keeps it."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloudaccel import units
from cloudaccel.errors import ConfigError, QueryError

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger  # pyright: ignore[reportMissingTypeStubs]

SHORTEST_S = 60  # sellers' lists change daily to hourly; more often would only be a burden to them
_JITTER_PART = 0.05  # of an interval: many installations must not ask at the same second
_CRON_JITTER_S = 60
_SET_BACK = timedelta(minutes=1)  # less is a clock that was only put right


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`text` as it was given; `interval_s` None for cron."""

    text: str
    interval_s: float | None
    jitter_s: int


def parse_schedule(text: str) -> Schedule:
    """The schedule in `text`: a duration of a minute or more, or cron fields ``minute hour day month weekday`` in UTC.

    Raises
    ------
    QueryError
        If it is neither.
    ConfigError
        If APScheduler is not installed.
    """
    words = text.split()
    if len(words) == 5:
        schedule = Schedule(text=" ".join(words), interval_s=None, jitter_s=_CRON_JITTER_S)
        try:
            trigger(schedule)
        except ValueError as error:
            raise QueryError(f"--schedule: {text!r} is no cron line ({error}). Write it as '15 6 * * *'.") from None
        return schedule
    seconds = units.parse_duration_s(text, "--schedule")
    if not SHORTEST_S <= seconds <= 366 * 86_400:
        raise QueryError(f"--schedule: {text!r} must be from 1m to 366d, or five fields of cron.")
    return Schedule(text=text.strip(), interval_s=seconds, jitter_s=int(seconds * _JITTER_PART))


def trigger(schedule: Schedule) -> "BaseTrigger":
    """APScheduler's trigger of `schedule`. Raises ValueError for a cron line that cannot be."""
    try:
        from apscheduler.triggers.cron import CronTrigger  # pyright: ignore[reportMissingTypeStubs]
        from apscheduler.triggers.interval import IntervalTrigger  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise ConfigError("--schedule needs APScheduler. Install it: pip install 'cloudaccel[refresh]'.") from error
    if schedule.interval_s is None:
        made: Any = CronTrigger.from_crontab(schedule.text, timezone=UTC)  # pyright: ignore[reportUnknownMemberType]
        made.jitter = schedule.jitter_s
        return made
    return IntervalTrigger(seconds=schedule.interval_s, jitter=schedule.jitter_s or None, timezone=UTC)  # pyright: ignore[reportArgumentType]


def run_forever(
    work: Callable[[], None],
    schedule: Schedule,
    stop: threading.Event,
    *,
    first_at: datetime | None = None,
    planned: Callable[[datetime | None], None] = lambda _: None,
) -> None:
    """Do `work` as `schedule` says until `stop` is set; then what is under way is finished, and nothing begun.

    Runs that were missed (the machine slept) become one. `first_at` None: as the schedule says. `planned` is told the
    time of the next run before it is waited for, None while one is under way and at the end. What `work` raises ends
    the loop and is raised here.
    """
    due = first_at or _fire(schedule, datetime.now(UTC))
    try:
        while True:
            planned(due)
            # By the clock and a second at most: a machine that sleeps, or a clock that is set, makes no long wait.
            seen = datetime.now(UTC)
            while (left := (due - datetime.now(UTC)).total_seconds()) > 0 and not stop.wait(min(left, 1.0)):
                if (now := datetime.now(UTC)) < seen - _SET_BACK:
                    due = next_due(schedule, now, now)
                    planned(due)
                seen = now
            if stop.is_set():
                return
            planned(None)
            started = datetime.now(UTC)
            work()
            due = next_due(schedule, started, datetime.now(UTC))
    finally:
        planned(None)


def first_run(schedule: Schedule, last_at: datetime | None, now: datetime) -> datetime | None:
    """When to begin: at once, unless `last_at` is so near that a program that is started over and over would ask again.

    None: as the schedule says.
    """
    if schedule.interval_s is None:
        return None
    if last_at is None or last_at > now:  # noted under a clock that was ahead: it says nothing of when to ask again
        return now
    return max(now, last_at + timedelta(seconds=schedule.interval_s))


def first_due(schedule: Schedule, last_at: datetime | None, now: datetime) -> datetime:
    """When a job is due that was never planned by this schedule; `last_at` is when it was last begun."""
    return first_run(schedule, last_at, now) or _fire(schedule, now)


def next_due(schedule: Schedule, started_at: datetime, now: datetime) -> datetime:
    """When a job is due that was begun at `started_at` and is over now. What was missed meanwhile becomes one run."""
    if schedule.interval_s is None:
        return _fire(schedule, now)
    jitter = random.uniform(0, schedule.jitter_s)  # noqa: S311 - spreads load, guards nothing
    return max(now, started_at + timedelta(seconds=schedule.interval_s + jitter))


def _fire(schedule: Schedule, now: datetime) -> datetime:
    found: Any = trigger(schedule).get_next_fire_time(None, now)  # pyright: ignore[reportUnknownMemberType]
    if found is None:
        raise QueryError(f"--schedule: {schedule.text!r} never comes.")
    return found
