"""The loop that keeps a schedule: what is due, what was missed, and how it ends."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from cloudaccel.errors import QueryError
from cloudaccel.jobs import Schedule, parse_schedule, run_forever
from cloudaccel.jobs.schedule import first_run

NOW = datetime(2026, 11, 27, 6, tzinfo=UTC)
FAST = Schedule(text="fast", interval_s=0.1, jitter_s=0)


def test_words_become_intervals_and_cron() -> None:
    assert parse_schedule("6h").interval_s == 21_600
    assert parse_schedule(" 15 6 * * 1-5 ") == Schedule(text="15 6 * * 1-5", interval_s=None, jitter_s=60)


@pytest.mark.parametrize("text", ["", "6", "59s", "400d", "x 6 * * *", "* * * *"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="--schedule"):
        parse_schedule(text)


def test_the_first_run_is_now_unless_one_was_made_just_before() -> None:
    hour = parse_schedule("1h")
    assert first_run(hour, None, NOW) == NOW
    assert first_run(hour, NOW - timedelta(minutes=10), NOW) == NOW + timedelta(minutes=50)
    assert first_run(hour, NOW - timedelta(days=9), NOW) == NOW
    assert first_run(parse_schedule("0 6 * * *"), None, NOW) is None


def test_runs_follow_one_another_and_never_overlap() -> None:
    stop, at_once, most, runs = threading.Event(), [0], [0], [0]

    def work() -> None:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.25)  # longer than the interval
        at_once[0] -= 1
        runs[0] += 1
        if runs[0] == 3:
            stop.set()

    planned: list[datetime | None] = []
    run_forever(work, FAST, stop, planned=planned.append)
    assert most == [1]
    assert runs[0] >= 3
    assert planned[0] is not None
    assert planned[-1] is None


def test_what_is_under_way_is_finished() -> None:
    stop, done = threading.Event(), threading.Event()

    def work() -> None:
        stop.set()
        time.sleep(1.5)
        done.set()

    run_forever(work, FAST, stop)
    assert done.is_set()


def test_a_bug_ends_the_loop_and_is_raised() -> None:
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_forever(work, FAST, threading.Event())
