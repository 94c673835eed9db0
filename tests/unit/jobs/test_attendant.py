"""What attends to a service's own work ends with it, at whatever moment that is told to end."""

import threading
from typing import Any

import pytest

from cloudaccel.api.attending import Tasks
from cloudaccel.cli import attendant
from cloudaccel.jobs import runner
from cloudaccel.jobs.runner import Job, run_jobs
from cloudaccel.jobs.schedule import parse_schedule
from tests.support import PATIENCE_S, until

NOTHING = Tasks(source="http://127.0.0.1:9")


class Interrupted(threading.Thread):
    """A thread whose starter gets a signal as soon as it runs."""

    def start(self) -> None:
        super().start()
        raise KeyboardInterrupt


def test_a_signal_while_it_begins_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service would have answered nobody and never ended: its thread was not told to."""
    told: list[bool] = []

    def keep(_tasks: Tasks, _catalog: str | None, _quiet: bool, stop: threading.Event) -> None:
        told.append(stop.wait(PATIENCE_S))

    monkeypatch.setattr(attendant, "_keep", keep)
    monkeypatch.setattr(threading, "Thread", Interrupted)
    with pytest.raises(KeyboardInterrupt), attendant.attending(NOTHING, catalog=None, quiet=True):
        pytest.fail("it went on")
    assert told == [True]


def test_ctrl_c_while_jobs_run_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of the user's own would have hung after Ctrl-C, its jobs still at work."""
    looked = threading.Event()

    def look(*_: Any) -> float:
        looked.set()
        return PATIENCE_S

    def told(_job: str, _error: object) -> None:
        """Nobody is told."""

    stop, leases = threading.Event(), object()
    monkeypatch.setattr(runner, "_one_look", look)
    monkeypatch.setattr(threading, "Thread", Interrupted)
    job = Job(name="test", schedule=parse_schedule("1h"), work=lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(leases, [job], stop, told=told)  # pyright: ignore[reportArgumentType]
    assert stop.is_set()
    until(lambda: not any(thread.name == "job test" for thread in threading.enumerate()))
