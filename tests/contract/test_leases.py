"""Jobs on every database: one doer for each due time, takeover from the dead and the frozen, late writes refused."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.synthetic import make_catalog
from tests.postgres import Postgres, running
from tests.support import PATIENCE_S, until

sa: Any = pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")

from cloudaccel import state  # noqa: E402 - after the skip
from cloudaccel.api import scheduling  # noqa: E402
from cloudaccel.catalog import renew  # noqa: E402
from cloudaccel.errors import StorageError  # noqa: E402
from cloudaccel.jobs.leases import Claim, LeaseLost, Leases  # noqa: E402

pytestmark = [pytest.mark.network, pytest.mark.slow]
START = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    return request.getfixturevalue("server").fresh()


class Time:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def two(url: str, clock: Time) -> Iterator[tuple[Leases, Leases]]:
    engines = [state.open_state(url) for _ in range(2)]
    yield Leases(engines[0], now=clock), Leases(engines[1], now=clock)
    for engine in engines:
        engine.dispose()


def at_once(_last: datetime | None, now: datetime) -> datetime:
    return now


def claimed(leases: Leases, schedule: str = "1h", first: Callable[..., datetime] = at_once) -> Claim:
    found = leases.claim("work", schedule, first)
    assert found is not None
    return found


def test_a_due_time_has_one_doer(two: tuple[Leases, Leases], clock: Time) -> None:
    one, other = two
    claim = claimed(one)
    assert other.claim("work", "1h", at_once) is None
    assert one.claim("work", "1h", at_once) is None  # nor twice by the same process
    one.done(claim, START + HOUR)
    assert other.claim("work", "1h", at_once) is None
    clock.now += HOUR
    assert claimed(other).token == claim.token + 1


def test_who_is_silent_for_too_long_is_replaced_and_writes_nothing_more(
    two: tuple[Leases, Leases], clock: Time
) -> None:
    one, other = two
    old = claimed(one)
    clock.now += timedelta(seconds=29)
    one.hold(old)
    clock.now += timedelta(seconds=29)
    assert other.claim("work", "1h", at_once) is None  # it was alive a moment ago
    clock.now += timedelta(seconds=2)
    new = claimed(other)
    with pytest.raises(LeaseLost):
        one.hold(old)
    with pytest.raises(LeaseLost):
        one.done(old, START)
    other.done(new, clock.now + HOUR)
    (job,) = other.jobs()
    assert (job.token, job.owner, job.next_at) == (new.token, None, clock.now + HOUR)


def test_another_schedule_plans_anew_from_the_last_run(two: tuple[Leases, Leases], clock: Time) -> None:
    one, _ = two
    one.done(claimed(one), START + 24 * HOUR)
    clock.now += HOUR
    seen: list[datetime | None] = []

    def first(last: datetime | None, now: datetime) -> datetime:
        seen.append(last)
        return now

    claimed(one, "30m", first)
    assert seen == [START]


def test_a_run_that_failed_is_written_with_its_reason(two: tuple[Leases, Leases]) -> None:
    one, other = two
    one.done(claimed(one), START + HOUR, "the seller did not answer")
    (job,) = other.jobs()
    assert (job.error, job.ok_at, job.started_at) == ("the seller did not answer", None, START)


def test_a_store_that_is_away_is_said_as_our_error(server: Postgres) -> None:
    engine = state.open_state(server.fresh())
    leases = Leases(engine)
    engine.dispose()
    server.stop("immediate")
    try:
        with pytest.raises(StorageError, match="does not answer"):
            leases.claim("work", "1h", at_once)
    finally:
        server.start()
        engine.dispose()


# -- real processes on a real PostgreSQL -------------------------------------------------------------------------------


@contextmanager
def replicas(url: str, file: Path, number: int, *more: float | Path) -> Generator[list[subprocess.Popen[bytes]]]:
    command = [sys.executable, "-m", "tests.contract.replica", url, str(file), *map(str, more)]
    with ExitStack() as stack:
        started = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(number)]
        for process in started:
            stack.callback(process.wait, PATIENCE_S)
            stack.callback(process.kill)
        yield started


def lines(file: Path) -> list[tuple[int, str, int]]:
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [(int(pid), step, int(token)) for pid, step, token in map(str.split, text.splitlines())]


def test_three_replicas_do_each_job_once(server: Postgres, tmp_path: Path) -> None:
    file = tmp_path / "steps"
    with replicas(server.fresh(), file, 3, 30.0, 0.5) as started:
        until(lambda: sum(step == "written" for _, step, _ in lines(file)) >= 10)
        for process in started:
            process.terminate()
        assert [process.wait(PATIENCE_S) for process in started] == [0, 0, 0]
    tokens = [token for _, step, token in lines(file) if step == "written"]
    assert tokens == list(range(1, len(tokens) + 1))  # every due time once, in order, by whichever replica
    assert [step for _, step, _ in lines(file)] == ["begun", "written"] * len(tokens)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_leader_that_is_killed_or_frozen_is_replaced_and_its_late_write_refused(
    server: Postgres, tmp_path: Path, number: signal.Signals
) -> None:
    file, held, ttl_s = tmp_path / "steps", tmp_path / "held", 5.0
    held.touch()
    with replicas(server.fresh(), file, 3, ttl_s, 3600.0, held):
        leader, _, token = until(lambda: lines(file))[0]
        os.kill(leader, number)
        # The next due time is an hour away: who begins within this wait took the job over.
        successor, _, later = until(lambda: [line for line in lines(file) if line[1] == "begun"][1:])[0]
        assert (successor != leader, later) == (True, token + 1)
        held.unlink()
        until(lambda: [line for line in lines(file) if line[:2] == (successor, "written")])
        if number == signal.SIGSTOP:
            os.kill(leader, signal.SIGCONT)
            until(lambda: [line for line in lines(file) if line[:2] == (leader, "lease_lost")])
        assert not [line for line in lines(file) if line[:2] == (leader, "written")]


# -- refresh -----------------------------------------------------------------------------------------------------------


def test_a_refresh_that_lost_its_lease_leaves_the_catalog_as_it_is(tmp_path: Path) -> None:
    """The user would have believed the older prices of a machine that slept to be the newer ones."""
    target = tmp_path / "catalog.sqlite"
    make_catalog(target, 50)
    before = target.read_bytes()

    def lost() -> None:
        raise LeaseLost("another process has taken the job over.")

    with pytest.raises(LeaseLost):
        renew.publish(target, target, {}, [], "test", lost)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.sqlite"]


def test_schedules_that_share_a_database_refresh_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDACCEL_DATABASE_URL", url)
    asked: list[Callable[[], None]] = []
    stop = threading.Event()

    def renewed(_providers: Any, still: Callable[[], None]) -> Any:
        still()
        asked.append(still)
        return "done"

    monkeypatch.setattr(scheduling, "renew_prices", renewed)
    told: list[Any] = []
    threads = [
        threading.Thread(target=lambda: scheduling.keep_fresh("1h", stop=stop, told=told.append)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    until(lambda: told)
    time.sleep(1.5)  # a look of each, at least
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert told == ["done"]
    assert len(asked) == 1
    found = scheduling.schedule_status()
    assert found is not None
    assert (found.schedule, found.process, found.owner, found.error) == ("1h", None, None, None)
    assert found.next_at is not None
