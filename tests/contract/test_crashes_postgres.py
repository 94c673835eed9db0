"""Killed at any edge with its journal in PostgreSQL, nothing is left either: its transactions are others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.protocols import Provider
from cloudaccel.testing import crashes
from tests.contract import test_crashes_aws, test_crashes_azure, test_crashes_gcp
from tests.postgres import Postgres, running

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def schema(server: Postgres) -> str:
    """The name of a database with the newest schema and nothing in it: making one takes half a second, a copy less."""
    from cloudaccel import state

    address = server.fresh()
    state.open_state(address).dispose()
    return address.rpartition("/")[2]


class OnPostgres:
    """The suite of a cloud, each world with a database of its own."""

    @pytest.fixture(autouse=True)
    def _database(self, server: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        from cloudaccel import state

        engines: list[Any] = []

        def open_world(_: Path, provider: Provider, clock: crashes.VirtualClock, *, seed: int = 0) -> crashes.World:
            engines.append(state.open_state(server.fresh(schema)))  # closed with its world
            return crashes.World(engines[-1], provider, clock, seed=seed)

        monkeypatch.setattr(crashes, "open_world", open_world)
        yield
        assert engines
        assert {engine.dialect.name for engine in engines} == {"postgresql"}


class TestAwsOnPostgres(OnPostgres, test_crashes_aws.TestAwsCrashes):
    """AWS."""


class TestAzureOnPostgres(OnPostgres, test_crashes_azure.TestAzureCrashes):
    """Azure."""


class TestGcpOnPostgres(OnPostgres, test_crashes_gcp.TestGcpCrashes):
    """Google Cloud."""
