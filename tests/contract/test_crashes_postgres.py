"""Killed at any edge with its journal in PostgreSQL, nothing is left either: its transactions are others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.protocols import Provider
from cloudaccel.testing import crashes
from tests.contract import test_crashes_gcp as on_sqlite
from tests.postgres import Postgres, running

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running() as started:
        yield started


class TestCrashesOnPostgres(on_sqlite.TestGcpCrashes):
    """The suite of one cloud, each world with a new database."""

    @pytest.fixture(autouse=True)
    def _database(self, server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        from cloudaccel import state
        from tests.contract.test_journal import fresh

        engines: list[Any] = []

        def open_world(_: Path, provider: Provider, clock: crashes.VirtualClock, *, seed: int = 0) -> crashes.World:
            engines.append(state.open_state(fresh(server)))
            return crashes.World(engines[-1], provider, clock, seed=seed)

        monkeypatch.setattr(crashes, "open_world", open_world)
        yield
        for engine in engines:
            engine.dispose()
