"""The hourly look for leftovers: told by default; ended only where it is proved ours, of no run, and overdue."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")

from cloudaccel import state
from cloudaccel.access import audit
from cloudaccel.api.reaping import reap_once
from cloudaccel.cli import main
from cloudaccel.errors import CloudAccelError
from cloudaccel.jobs.alerts import Alerts
from cloudaccel.jobs.leases import LeaseLost
from cloudaccel.protocols import Instance, Resource
from cloudaccel.provision.identity import TAG_EXPIRES, TAG_INSTALL, TAG_RUN
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.reap import Reaper
from cloudaccel.provision.values import Candidate, Limits, Options, Spec
from tests.small_cloud import Cloud

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
PLACE = Candidate(
    provider="small", partition="small", region="r-1", zone=None, instance="x", accelerator_id=None,
    accelerator_count=None, nodes=1, market="on_demand", price_per_hour=Decimal(1), currency="USD", price_as_of=None,
    offer_id="", catalog_id="",
)  # fmt: skip


class Clock:
    def now(self) -> datetime:
        return NOW

    def sleep(self, seconds: float) -> None:
        """Takes no time."""


@dataclass
class Littered(Cloud):
    """A cloud with machines that nobody asked for, each with tags."""

    tags: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])

    def leave(self, name: str, **tags: str) -> None:
        self.machines[name] = Instance(id=name, region="r-1", zone="r-1-a", state="running", instance_type="x")
        self.tags[name] = tags

    def resources(self, *, tags: Mapping[str, str], region: str) -> Iterator[Resource]:  # noqa: ARG002 - as asked
        for machine in self.machines.values():
            yield Resource(
                kind="machine", id=machine.id, region=region, state=machine.state, tags=self.tags[machine.id],
                bills=True,
            )  # fmt: skip

    def left(self) -> set[str]:
        return {machine.id for machine in self.machines.values() if machine.state != "terminated"}


class World:
    """A journal with one run that lives, and what lies about in its account."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.cloud = engine, Littered()
        self.journal = Journal(engine, Clock())
        self.alerts = Alerts(engine, now=lambda: NOW)
        self.alerts.add("runs", {}, "https://hooks.example/x", "json")
        spec = Spec(asked="x", candidates=(PLACE,), limits=Limits(), options=Options(owner="ann"), lease_s=3600)
        self.run = self.journal.open_run(spec).id
        past, ours = str(int((NOW - timedelta(hours=1)).timestamp())), self.journal.install_id()
        soon = str(int((NOW - timedelta(minutes=14)).timestamp()))  # a machine that ends itself is at it just now
        self.cloud.leave("overdue", **tagged(ours, "gone-run", past))
        self.cloud.leave("at-it", **tagged(ours, "gone-run", soon))
        self.cloud.leave("no-deadline", **tagged(ours, "gone-run", ""))
        self.cloud.leave("odd-deadline", **tagged(ours, "gone-run", "-1"))
        self.cloud.leave("another's", **tagged("another", "gone-run", past))
        self.cloud.leave("nobody's", **tagged("", "", past))
        self.cloud.leave("running", **tagged(ours, self.run, past))

    def look(self, *, ends: bool, still: Any = lambda: None) -> None:
        reaper = Reaper(self.journal, lambda _: self.cloud, Clock())
        reaper.places = lambda: (("small", "r-1"),)  # type: ignore[method-assign]
        reap_once(reaper, self.alerts, self.engine, Clock(), still, ends=ends)

    def log(self) -> list[tuple[str, str, str]]:
        return [(e["action"], e["subject"], e["outcome"]) for e in reversed(audit.entries(self.engine))]


def tagged(install: str, run: str, expires: str) -> dict[str, str]:
    return {TAG_INSTALL: install, TAG_RUN: run, TAG_EXPIRES: expires}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    engine = state.open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield World(engine)
    engine.dispose()


ALL = {"overdue", "at-it", "no-deadline", "odd-deadline", "another's", "nobody's", "running"}
TOLD = {"overdue", "at-it", "no-deadline", "odd-deadline"}


def test_by_default_leftovers_are_told_and_nothing_is_ended(world: World) -> None:
    for _ in range(2):
        world.look(ends=False)
    assert world.cloud.left() == ALL
    texts = [message.body for message in world.alerts.messages()]
    assert len(texts) == len(TOLD)  # once, however often it is looked
    assert all(any(f"machine {name} " in text for text in texts) for name in TOLD)
    assert world.log() == []


def test_where_it_is_wanted_only_what_is_ours_of_no_run_and_overdue_is_ended(world: World) -> None:
    """He would have lost another's machine, or one of a run that still computes."""
    world.look(ends=True)
    assert world.cloud.left() == ALL - {"overdue"}
    assert world.log() == [
        ("reap.begin", "small machine overdue", "done"), ("reap.end", "small machine overdue", "done"),
    ]  # fmt: skip
    assert audit.broken_at(world.engine) is None
    said = [message.body for message in world.alerts.messages() if "machine overdue" in message.body]
    assert len(said) == 1
    assert "removed, with proof" in said[0]
    world.look(ends=True)
    assert len(world.log()) == 2


def test_what_does_not_go_is_told_as_that(world: World) -> None:
    """He would have believed that what was asked to end has ended, while it bills on."""
    world.cloud.stuck = True
    clock = iter(NOW + timedelta(minutes=n) for n in range(1000))
    reaper = Reaper(world.journal, lambda _: world.cloud, Ticking(clock))
    reaper.places = lambda: (("small", "r-1"),)  # type: ignore[method-assign]
    reap_once(reaper, world.alerts, world.engine, Clock(), lambda: None, ends=True)
    assert "overdue" in world.cloud.left()
    assert world.log()[-1] == ("reap.end", "small machine overdue", "failed")
    (said,) = [message.body for message in world.alerts.messages() if "machine overdue" in message.body]
    assert "may be billing (not gone yet)" in said


@dataclass
class Ticking:
    times: Iterator[datetime]

    def now(self) -> datetime:
        return next(self.times)

    def sleep(self, seconds: float) -> None:
        """The next look is later by itself."""


def test_a_process_that_was_replaced_ends_nothing_more(world: World) -> None:
    """Frozen while it looked, it would end by a list of an hour ago what belongs to somebody by now."""

    def lost() -> None:
        raise LeaseLost("another process does this job now.")

    with pytest.raises(CloudAccelError):
        world.look(ends=True, still=lost)
    assert world.cloud.left() == ALL
    assert world.log() == []


def test_a_deadline_of_nonsense_is_none(world: World) -> None:
    for text in ("", "soon", "1e3", "-5", "٣", "9" * 400, " 1"):
        reaper = Reaper(world.journal, lambda _: world.cloud, Clock())
        world.cloud.tags["overdue"] = tagged(world.journal.install_id(), "gone-run", text)
        (found,) = [f for f in reaper.reconcile([("small", "r-1")]) if f.what == "machine overdue"]
        assert found.ours
        assert not found.is_overdue(NOW), text
        assert not replace(found, resource=None).is_overdue(NOW)


def test_the_flag_needs_runs_that_are_watched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "0", "--reap"]) == 2
    assert "--watch" in capsys.readouterr().err
