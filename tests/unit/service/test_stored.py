"""Figures of the state store in Prometheus' format: what the reader of a board would otherwise believe."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from cloudaccel import state
from cloudaccel.jobs.alerts import MOST_ATTEMPTS, Alerts
from cloudaccel.jobs.leases import Leases
from cloudaccel.jobs.outbound import NotDelivered
from cloudaccel.service.app import create_app
from cloudaccel.service.stored import Stored
from tests.unit.service.test_runs import World

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
# What https://prometheus.io/docs/practices/naming/ and promtool ask of names (read 2026-11-27).
_NAME = re.compile(r"cloudaccel(_[a-z0-9]+)+")
_NOT_BASE = re.compile(r"_(ms|milliseconds|minutes|hours|kb|mb|gb|percent)$")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    made = state.open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield made
    made.dispose()


def figures(text: str) -> dict[tuple[str, str], float]:
    """Value by name and the one label that matters."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shown(engine: Any) -> dict[tuple[str, str], float]:
    with TestClient(create_app(stored=Stored(engine)), base_url="http://localhost") as client:
        return figures(client.get("/metrics").text)


def test_jobs_tell_their_last_and_next_run_and_how_it_ended(engine: Any) -> None:
    """A job that failed, or that nobody does any more, must not look like one that is well."""
    at = [NOW]
    leases = Leases(engine, now=lambda: at[0])
    for job, error in (("refresh", None), ("reap", "no answer")):
        claim = leases.claim(job, "6h", lambda _last, now: now)
        assert claim is not None
        at[0] += timedelta(minutes=1)
        leases.done(claim, NOW + timedelta(hours=6), error)
    assert leases.claim("watch", "1m", lambda _last, now: now) is not None
    assert leases.claim("alerts", "1m", lambda _last, now: now + timedelta(hours=1)) is None
    found = shown(engine)
    assert found["cloudaccel_state_store_up", ""] == 1
    assert found["cloudaccel_job_started_timestamp_seconds", "refresh"] == NOW.timestamp()
    assert found["cloudaccel_job_succeeded_timestamp_seconds", "refresh"] == NOW.timestamp() + 60
    assert found["cloudaccel_job_next_timestamp_seconds", "refresh"] == NOW.timestamp() + 6 * 3600
    assert (found["cloudaccel_job_failed", "refresh"], found["cloudaccel_job_failed", "reap"]) == (0, 1)
    assert ("cloudaccel_job_succeeded_timestamp_seconds", "reap") not in found  # it never was, which is not 1970
    assert ("cloudaccel_job_failed", "watch") not in found
    assert ("cloudaccel_job_started_timestamp_seconds", "alerts") not in found
    assert (found["cloudaccel_job_claims_total", "watch"], found["cloudaccel_job_claims_total", "alerts"]) == (1, 0)


def test_a_process_that_is_gone_holds_no_job(engine: Any) -> None:
    leases = Leases(engine)
    assert leases.claim("watch", "1m", lambda _last, now: now) is not None
    assert shown(engine)["cloudaccel_job_held", "watch"] == 1
    with engine.begin() as db:
        db.execute(state.job.update().values(lease_until=state.utc_text(NOW - timedelta(days=900))))
    assert shown(engine)["cloudaccel_job_held", "watch"] == 0


def test_messages_that_never_arrived_are_seen(engine: Any) -> None:
    """He would have believed that nothing happened, when it was told to an address that takes nothing."""
    at = [NOW]
    alerts = Alerts(engine, now=lambda: at[0])
    alert = alerts.add("runs", {}, "https://nobody.example", "json")
    assert alerts.tell(alert, "one", {"text": "a run is over"})
    assert shown(engine)["cloudaccel_messages", "waiting"] == 1

    def away(*_: Any) -> None:
        raise NotDelivered("nobody answers")

    for _ in range(MOST_ATTEMPTS):
        alerts.deliver(away)
        at[0] += timedelta(days=1)
    found = shown(engine)
    assert {name: found["cloudaccel_messages", name] for name in ("waiting", "sent", "dead")} == {
        "waiting": 0, "sent": 0, "dead": 1,
    }  # fmt: skip


def test_a_store_that_does_not_answer_takes_no_other_figure_away(engine: Any) -> None:
    """Without any figure, a board cannot tell a service without its database from one that is gone."""
    with engine.begin() as db:
        db.exec_driver_sql("DROP TABLE job")
    found = shown(engine)
    assert found["cloudaccel_state_store_up", ""] == 0
    assert found["cloudaccel_price_rows", "aws"] > 0
    assert not [name for name, _ in found if name.startswith(("cloudaccel_job", "cloudaccel_messages"))]


def test_a_run_past_its_lease_is_counted(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.started()
    assert figures(world.ask("GET", "/metrics", "reader").text)["cloudaccel_runs_past_lease", ""] == 0
    world.clock.at += timedelta(hours=3)
    assert figures(world.ask("GET", "/metrics", "reader").text)["cloudaccel_runs_past_lease", ""] == 1
    world.client.close()
    world.engine.dispose()


def test_every_figure_is_named_and_described_as_prometheus_asks(tmp_path: Path) -> None:
    """What a linter of the format would find: text, type, base units, and counters alone that end with _total."""
    world = World(tmp_path)
    world.started()
    assert Leases(world.engine).claim("watch", "1m", lambda _last, now: now) is not None
    text = world.ask("GET", "/metrics", "reader").text
    names: list[str] = []
    for family in text_string_to_metric_families(text):
        names.append(family.name)
        assert family.documentation
        assert not family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram"), family
        assert _NAME.fullmatch(family.name), family.name
        assert not _NOT_BASE.search(family.name), family.name
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_info")), family.name
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter" and "_created" not in sample.name)
            assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in sample.labels), sample
            assert not math.isnan(sample.value)
        seen = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(seen) == len(set(seen)), family.name
    assert len(names) == len(set(names))
    assert {"cloudaccel_requests", "cloudaccel_price_age_days", "cloudaccel_job_failed", "cloudaccel_runs"} <= set(
        names
    )
    world.client.close()
    world.engine.dispose()


def test_the_stricter_format_takes_them_too(engine: Any) -> None:
    registry = CollectorRegistry()
    registry.register(Stored(engine))
    assert Leases(engine).claim("watch", "1m", lambda _last, now: now) is not None
    written: Any = import_module("prometheus_client.openmetrics.exposition")  # neither has types
    read: Any = import_module("prometheus_client.openmetrics.parser")
    text = written.generate_latest(registry).decode()
    assert {family.name for family in read.text_string_to_metric_families(text)} >= {"cloudaccel_job_claims"}
