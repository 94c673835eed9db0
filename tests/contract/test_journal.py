"""What the journal must keep on every database: one writer at a time, fences, facts that stay, a schema both ways."""

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Postgres, running
from tests.support import PATIENCE_S

sa: Any = pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")

from cloudaccel import state  # noqa: E402 - after the skip
from cloudaccel.errors import ConfigError, QuotaExceeded, StorageError  # noqa: E402
from cloudaccel.provision.journal import HoldLost, Journal  # noqa: E402
from cloudaccel.provision.values import Candidate  # noqa: E402
from cloudaccel.testing.crashes import VirtualClock, spec_for  # noqa: E402

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    server: Postgres = request.getfixturevalue("server")
    return server.fresh()


_opened: list[Any] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Every engine that a test opened is closed after it."""
    yield
    while _opened:
        _opened.pop().dispose()
    gc.collect()  # what is left open is this test's fault, not that of a later one


def opened(url: str) -> Any:
    """An engine on the state store."""
    _opened.append(state.open_state(url))
    return _opened[-1]


def journal(url: str) -> Journal:
    """A journal with an engine of its own, as another replica has it."""
    return Journal(opened(url), VirtualClock())


def spec() -> Any:
    """A request for one machine of the fake cloud."""
    place = Candidate(
        provider="fake", partition="fake", region="here", zone="here-a", instance="big", accelerator_id=None,
        accelerator_count=None, nodes=1, market="on_demand", price_per_hour=Decimal(1), currency="USD",
        price_as_of=None, offer_id="", catalog_id="",
    )  # fmt: skip
    return spec_for([place])


def test_replicas_that_start_together_agree_on_schema_and_installation(url: str) -> None:
    """Two ids would make each replica take the other's machines for a stranger's, and leave them running."""
    ready = threading.Barrier(6)

    def start(_: int) -> str:
        ready.wait(PATIENCE_S)
        return journal(url).install_id()

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(start, range(6)))) == 1


def test_of_two_that_take_a_run_only_the_last_decides(url: str) -> None:
    one, two = journal(url), journal(url)
    run = one.open_run(spec())
    mine = one.take(run)
    theirs = two.take(run)
    assert theirs.fence == mine.fence + 1
    with pytest.raises(HoldLost):
        one.update(mine, state="ready")
    assert two.update(theirs, state="ready").state == "ready"


def test_many_that_take_a_run_at_once_get_fences_of_their_own(url: str) -> None:
    first = journal(url)
    run = first.open_run(spec())
    others = [journal(url) for _ in range(4)]

    def take(number: int) -> list[int]:
        return [others[number].take(run).fence for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(4)))
    assert first.run(run.id).fence == run.fence + 20


def test_facts_written_twice_at_once_are_one_fact(url: str) -> None:
    first = journal(url)
    run = first.open_run(spec())
    replicas = [journal(url) for _ in range(4)]
    things = [("machine", f"i-{n}") for n in range(20)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(replica.seen, run.id, "fake", "here", things) for replica in replicas]:
            done.result()
    assert sorted(r.id for r in first.resources(run.id, live=True)) == sorted(i for _, i in things)
    error = QuotaExceeded("none left", provider="fake", operation="create", code="Quota", ttl_s=60)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(replica.block, "fake/here", error) for replica in replicas]:
            done.result()
    assert first.blocked(["fake/here"]) is not None


def test_groups_live_again_and_machines_do_not(url: str) -> None:
    kept = journal(url)
    run = kept.open_run(spec())
    things = [("placement_group", "cloudaccel-1"), ("machine", "i-1")]
    kept.seen(run.id, "fake", "here", things)
    for kind, identifier in things:
        kept.gone(run.id, kind, identifier)
    kept.seen(run.id, "fake", "here", things)
    assert [(r.kind, r.id) for r in kept.resources(run.id, live=True)] == things[:1]


def test_schema_goes_down_and_up_again(url: str) -> None:
    from alembic import command
    from alembic.config import Config

    engine = opened(url)
    config = Config()
    config.set_main_option("script_location", str(Path(state.__file__).with_name("migrations")))

    def move(how: Any, target: str) -> None:
        with engine.begin() as db:
            config.attributes["connection"] = db
            how(config, target)

    run = journal(url).open_run(spec())
    journal(url).seen(run.id, "fake", "here", [("machine", "i-1")])
    for _ in range(2):  # a run and what it made stay, however often the schema moves over them
        move(command.downgrade, "0001")
        assert "audit" not in sa.inspect(engine).get_table_names()
        move(command.upgrade, "head")
    assert [(r.id, r.principal) for r in journal(url).runs()] == [(run.id, None)]
    assert [r.id for r in journal(url).resources(run.id, live=True)] == ["i-1"]
    move(command.downgrade, "base")
    move(command.upgrade, "head")
    assert set(state.metadata.tables) <= set(sa.inspect(engine).get_table_names())
    assert journal(url).runs() == ()


def test_the_audit_log_takes_nothing_back(url: str) -> None:
    """Who can reach the table through this program can neither change what it says nor empty it."""
    engine = opened(url)
    row = dict.fromkeys(state.audit.c.keys(), "x") | {"number": 1}
    with engine.begin() as db:
        db.execute(state.audit.insert().values(**row))
    for statement in (state.audit.update().values(principal="y"), state.audit.delete()):
        with pytest.raises(sa.exc.DBAPIError, match="append only"), engine.begin() as db:
            db.execute(statement)
    with engine.begin() as db:
        assert db.execute(sa.select(state.audit.c.principal)).scalars().all() == ["x"]


def test_tables_are_those_that_the_migrations_make(url: str) -> None:
    """A column that only one of the two has would be missed on the first use, in the middle of a run."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with opened(url).connect() as db:
        assert compare_metadata(MigrationContext.configure(db), state.metadata) == []


def test_newer_schema_is_refused(url: str) -> None:
    with opened(url).begin() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="newer"):
        state.open_state(url)


def test_what_was_written_survives_a_database_that_lost_its_power() -> None:
    with running() as server:
        kept = journal(server.fresh())
        run = kept.open_run(spec())
        kept.seen(run.id, "fake", "here", [("machine", "i-1")])
        server.stop("immediate")
        server.start()
        assert kept.run(run.id).state == "planned"
        assert [r.id for r in kept.resources(run.id, live=True)] == ["i-1"]


def test_database_that_does_not_answer_is_said_without_its_address() -> None:
    """An address holds a password: it must not be in a message that somebody pastes into a ticket."""
    pytest.importorskip("psycopg", reason="needs cloudaccel[postgres]")
    with pytest.raises(StorageError) as caught:
        state.open_state("postgresql+psycopg://somebody:canary-5@127.0.0.1:9/none")
    assert "canary-5" not in str(caught.value)


def test_frozen_replica_is_put_out_of_its_transaction(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_LOCK_WAIT_S", 1)
    url = server.fresh()
    frozen, other = opened(url), journal(url)
    with frozen.connect() as db:
        db.begin()  # holds the lock, and does nothing more
        raw = db.connection.driver_connection
        run = None
        for _ in range(5):
            try:
                run = other.open_run(spec())
                break
            except sa.exc.OperationalError:
                continue
        assert run is not None
        with pytest.raises(sa.exc.DBAPIError, match="idle-in-transaction"):
            db.execute(sa.text("SELECT 1"))
        raw.close()
        db.invalidate()
