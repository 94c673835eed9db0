"""Runs of several replicas on one PostgreSQL: once for each key, and nothing lost when the database is restarted."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import running

pytest.importorskip("sqlalchemy", reason="needs cloudaccel[service]")

from cloudaccel.access import audit
from cloudaccel.protocols import Instance, InstanceRequest
from tests.small_cloud import Cloud
from tests.unit.service.test_runs import World

pytestmark = [pytest.mark.network, pytest.mark.slow]
RUNS = 24


class Gang(Cloud):
    """The small cloud, which answers the same token with the same machines, as every cloud does."""

    def __init__(self) -> None:
        super().__init__()
        self._by_token: dict[str, tuple[Instance, ...]] = {}
        self._lock = threading.Lock()

    def create(self, request: InstanceRequest) -> tuple[Instance, ...]:
        with self._lock:
            if request.token not in self._by_token:
                self._by_token[request.token] = super().create(request)
            return self._by_token[request.token]

    def find(self, token: str, *, region: str) -> tuple[Instance, ...]:  # noqa: ARG002 - as every cloud is asked
        return self._by_token.get(token, ())


def _insistent(world: World, number: int) -> tuple[str, int]:
    """Ask until there is an answer that is not "come again": the id of the run, and how often it was 503."""
    busy = 0
    while True:
        answer = world.start(key=f"key-number-{number}", max_total="4 USD")
        if answer.status_code == 202:
            return str(answer.json()["run"]["id"]), busy
        assert answer.status_code == 503, answer.text
        busy += 1
        time.sleep(0.05)


def test_database_restarted_under_load_loses_nothing(tmp_path: Path) -> None:
    """Killed as if its power had gone, while two replicas start runs: each key has one run, each run one machine."""
    with running() as server:
        one = World(tmp_path, server.fresh())
        other = World(tmp_path, one.engine.url.render_as_string(hide_password=False))
        other.people = one.people
        one.cloud = other.cloud = Gang()
        stop = threading.Event()

        def restarts() -> None:
            for _ in range(3):
                time.sleep(0.4)
                server.stop("immediate")
                server.start()
            stop.set()

        trouble = threading.Thread(target=restarts)
        trouble.start()
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(_insistent, (one, other)[n % 2], n) for n in range(RUNS)]
            answers: list[Any] = [done.result() for done in asked]
        trouble.join()
        assert stop.is_set()
        _finished(one, other)
        ids = {run for run, _ in answers}
        runs = {run.id: run for run in one.runs.journal.runs()}
        assert len(ids) == RUNS
        assert set(runs) == ids
        assert {run.state for run in runs.values()} == {"ready"}
        assert len(one.cloud.live()) == RUNS
        assert audit.broken_at(one.engine) is None
        started = [e for e in audit.entries(one.engine, limit=500) if e["action"] == "run.start"]
        assert sorted(e["subject"] for e in started) == sorted(ids)
        for world in (one, other):
            world.client.close()
            world.engine.dispose()


def _finished(*worlds: World) -> None:
    """Let replicas go on with what was broken off, as their looks do every minute."""
    for _ in range(20):
        for world in worlds:
            world.runs.work.settle()
            world.clock.sleep(600)  # a hold that nobody renews is over
            world.runs.work.look()
            world.runs.work.settle()
        if all(run.state == "ready" for run in worlds[0].runs.journal.runs()):
            return
