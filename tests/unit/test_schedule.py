"""The loop that keeps a schedule: what is due, what was missed, and how it ends."""

import json
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloudaccel.api import scheduling
from cloudaccel.catalog.locking import locked
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


# -- who keeps it, as another process sees it --------------------------------------------------------------------------


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a keeper that was killed has left; the folder."""
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(tmp_path))
    (tmp_path / "schedule.lock").touch()
    left = {"schedule": "6h", "process": 7, "next_at": None}
    (tmp_path / "schedule.json").write_text(json.dumps(left), encoding="utf-8")
    return tmp_path


@pytest.mark.skipif(not hasattr(scheduling.os, "fork"), reason="a lock on Windows is held alone")
def test_two_that_look_at_once_take_each_other_for_no_keeper(killed: Path) -> None:
    """Each would have believed that the process which was killed still keeps the prices fresh."""
    with locked(killed / "schedule.lock", wait=False, shared=True) as free:
        assert free
        assert scheduling.schedule_status() is None
    with locked(killed / "schedule.lock", wait=False):
        kept = scheduling.schedule_status()
        assert kept is not None
        assert kept.process == 7


def test_a_keeper_that_begins_while_somebody_looks_begins_and_shows_nobody_else(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He would have been told that another process already does it, by his own question who does."""
    look = ExitStack()
    shown: list[object] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            look.close()
            return super().wait(timeout and 0)

    def kept(*_: object, **__: object) -> None:
        shown.append(scheduling.schedule_status())

    monkeypatch.setattr(scheduling, "run_forever", kept)
    with look:
        look.enter_context(locked(killed / "schedule.lock", wait=False, shared=True))
        scheduling.keep_fresh("6h", stop=Stop(), told=shown.append)
    assert shown == [None]
