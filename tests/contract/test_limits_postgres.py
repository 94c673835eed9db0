"""Two replicas on one PostgreSQL, asked at the same moment for more than a limit allows: only what fits starts."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Postgres, running
from tests.support import PATIENCE_S

pytest.importorskip("fastapi", reason="needs cloudaccel[service]")

from cloudaccel.protocols import InstanceRequest
from tests.contract.test_runs_postgres import Gang
from tests.unit.service.test_runs import World, lock

pytestmark = [pytest.mark.network, pytest.mark.slow]
EACH = 3  # requests at once at each of the two replicas
LEASE_H = 2
HOURLY = Decimal(str(lock()["chosen"]["price"]["price_per_hour"])) * int(lock()["chosen"]["nodes"])
MOST = HOURLY * LEASE_H
# Limit -> what it is called in the settings, and how much of it one request takes. A project's is no setting.
TAKES = {
    "user": ("CLOUDACCEL_MAX_HOURLY_USER", HOURLY),
    "month": ("CLOUDACCEL_MAX_MONTHLY", MOST),
    "request": ("CLOUDACCEL_MAX_HOURLY", HOURLY),
    "project": ("", MOST),
}
PAIRS = [(binds, also) for binds in TAKES for also in TAKES if binds != also]


class Slow(Gang):
    """What lies between the look at the limits and the call takes a while, as at a real cloud."""

    def settle(self, request: InstanceRequest) -> InstanceRequest:
        time.sleep(0.1)
        return request


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running() as started:
        yield started


class Pair:
    """Two replicas of one service, with one cloud."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        self.one = World(folder, server.fresh())
        self.other = World(folder, self.one.engine.url.render_as_string(hide_password=False))
        self.other.people = self.one.people
        self.one.cloud = self.other.cloud = Slow()
        self.limit("project", Decimal(10_000))

    def limit(self, name: str, amount: Decimal, patch: pytest.MonkeyPatch | None = None) -> None:
        if patch is None or name == "project":
            self.one.runs.projects.put("vision", amount, None, "USD", by="test")
        else:
            patch.setenv(TAKES[name][0], f"{amount} USD")

    def ask_at_once(self, *, one_user: bool) -> list[tuple[int, str]]:
        """Status and the words of each answer; returns when every launch is over."""
        ready = threading.Barrier(2 * EACH)

        def ask(number: int) -> tuple[int, str]:
            world = (self.one, self.other)[number % 2]
            who = "alice" if one_user or number % 2 else "bob"
            ready.wait(PATIENCE_S)
            answer = world.start(who, f"key-number-{number}", max_total=f"{MOST} USD", lease=f"{LEASE_H}h")
            return answer.status_code, answer.text

        with ThreadPoolExecutor(2 * EACH) as pool:
            answers = list(pool.map(ask, range(2 * EACH)))
        for world in (self.one, self.other):
            world.runs.work.settle()
        return answers

    def ready(self) -> list[Any]:
        return [run for run in self.one.runs.journal.runs() if run.state == "ready"]

    def close(self) -> None:
        for world in (self.one, self.other):
            world.client.close()
            world.engine.dispose()


@pytest.fixture
def pair(server: Postgres, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(server, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("binds", "also"), PAIRS)
def test_u93_requests_that_together_pass_a_limit_do_not_both_start(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, binds: str, also: str
) -> None:
    """One limit lets one of six start, another stands beside it that would let all: he would have paid for six."""
    exact = 1 if binds != "request" else Decimal("0.99")  # nothing can share the limit of one request
    pair.limit(binds, TAKES[binds][1] * exact, monkeypatch)
    pair.limit(also, TAKES[also][1] * 2 * EACH, monkeypatch)
    answers = pair.ask_at_once(one_user="user" in (binds, also))
    wanted = 0 if binds == "request" else 1
    assert len(pair.ready()) == wanted, answers
    assert len(pair.one.cloud.live()) == wanted
    assert {status for status, _ in answers} <= {202, 403}
    over = {"project": "over its budget", "user": "max_hourly_user", "month": "max_monthly", "request": "max_hourly "}
    assert all(over[binds] in text for status, text in answers if status == 403), answers


@pytest.mark.parametrize("tight", ["user", "month", "project"])
def test_u93_what_fits_starts_to_the_last_cent(pair: Pair, monkeypatch: pytest.MonkeyPatch, tight: str) -> None:
    """A guard that refuses both of two that fit is another limit than the one that was set."""
    for name in TAKES:
        pair.limit(name, TAKES[name][1] * (2 if name == tight else 2 * EACH), monkeypatch)
    pair.limit("request", HOURLY, monkeypatch)
    pair.ask_at_once(one_user=tight == "user")
    assert len(pair.ready()) == 2
    assert len(pair.one.cloud.live()) == 2


@pytest.mark.parametrize("seconds", [-20, 20])
def test_u93_clocks_of_replicas_that_differ_let_no_second_one_in(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """Of two that begin at once the older counts: by two clocks, each was older, or neither."""
    pair.other.clock.at += timedelta(seconds=seconds)
    pair.limit("user", HOURLY, monkeypatch)
    pair.ask_at_once(one_user=True)
    assert len(pair.ready()) == 1
    created = [run.created_at for run in pair.one.runs.journal.runs()]
    assert len(set(created)) == len(created)


def test_u93_all_limits_at_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TAKES:
        pair.limit(name, TAKES[name][1], monkeypatch)
    pair.ask_at_once(one_user=True)
    assert len(pair.ready()) == 1
