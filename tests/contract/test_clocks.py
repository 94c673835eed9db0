"""A clock that lies, on each cloud: nothing is ended for being late by it, and nothing is started by it.

The real SDK on the fake in this process, whose answers carry the cloud's own time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cloudaccel.errors import ProviderError
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.reap import Finding, Reaper
from cloudaccel.provision.standing import Standing
from cloudaccel.provision.watching import Look, Watcher, exit_code
from cloudaccel.testing.crashes import Fuse, Killed, VirtualClock, World, open_world
from tests.clouds import Simulated, simulated

pytestmark = pytest.mark.network  # importing an SDK tries a socket
HOUR, YEARS = timedelta(hours=1), timedelta(days=3650)
CLOUDS = {"aws": "moto", "azure": "azure.mgmt.compute", "gcp": "google.cloud.compute_v1"}
THROUGH_RESTART = ("interrupted", "deleted")


@dataclass
class Lies:
    """A clock that is `off` from the one that passes."""

    true: VirtualClock
    off: timedelta = timedelta()

    def now(self) -> datetime:
        """Aware, UTC, and wrong."""
        return self.true.now() + self.off

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.true.sleep(seconds)


@dataclass
class Place:
    """An account with one run of an hour in it, and this machine's clock."""

    cloud: Simulated
    clock: Lies
    world: World
    journal: Journal

    def look(self) -> Look:
        """One look of a watcher."""
        return Watcher(self.journal, lambda _: self.cloud.provider, self.clock, workers=1, limits=Standing).look()

    def kinds(self) -> set[str]:
        """Of the news of one look."""
        return {notice.kind for notice in self.look().notices}

    def reaper(self) -> Reaper:
        """Who looks for what nobody ended."""
        return Reaper(self.journal, lambda _: self.cloud.provider, self.clock)


@pytest.fixture(params=CLOUDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    for module in ("sqlalchemy", CLOUDS[request.param]):
        pytest.importorskip(module)
    true = VirtualClock()
    cloud = simulated(request.param, true)
    clock = Lies(true)
    world = open_world(tmp_path, cloud.provider, clock)  # pyright: ignore[reportArgumentType] - all it asks is the time
    cloud_at = cloud.places[0]
    outcome = world.up(_spec(cloud))
    assert (outcome.exit_code, cloud_at[0]) == (0, outcome.run.region)
    yield Place(cloud, clock, world, world.journal())
    cloud.empty()
    world.close()


def _spec(cloud: Simulated):
    from cloudaccel.testing.crashes import spec_for

    return spec_for([cloud.candidate(cloud.places[0], 1, "on_demand")], lease_s=3600.0)


@pytest.mark.parametrize("off", [HOUR + timedelta(minutes=1), YEARS, -YEARS, -HOUR])
def test_u96_a_wrong_clock_ends_nothing_and_says_so(place: Place, off: timedelta) -> None:
    """Every lease was over on a machine whose clock was set ahead: the watcher ended all that ran, and was believed."""
    place.clock.off = off
    (notice,) = place.look().notices
    assert notice.kind == "clock"
    assert ("ahead of" if off > timedelta() else "behind") in notice.text
    for moment in (place.clock.now(), place.clock.true.now()):
        assert f"{moment:%Y-%m-%d %H:%M:%SZ}" in notice.text
    assert "Set the clock" in notice.text
    assert notice.may_bill
    assert exit_code([notice]) == 11
    assert len(place.cloud.machines()) == 1
    place.clock.off = timedelta()
    assert "clock" not in place.kinds()
    assert len(place.cloud.machines()) == 1


def test_a_clock_that_is_behind_says_what_is_over_by_the_clouds(place: Place) -> None:
    """He would have believed that the lease ends his machine: by this clock it never comes."""
    place.clock.true.sleep(1800)
    place.clock.off = -YEARS
    assert "is over" not in place.look().notices[0].text
    if place.cloud.ends_machines:
        return  # by then the machine has ended itself
    place.clock.true.sleep(2000)
    (notice,) = place.look().notices
    assert f"By {place.cloud.name}'s its lease is over" in notice.text
    place.clock.off = timedelta()
    assert place.kinds() == {"ended"}
    assert not place.cloud.machines()


def test_a_clock_that_is_a_little_off_ends_what_is_over(place: Place) -> None:
    place.clock.off = timedelta(minutes=4)
    place.clock.true.sleep(3500)
    assert place.kinds() == {"ended"}
    assert not place.cloud.machines()


def test_a_sweep_by_a_wrong_clock_removes_nothing(place: Place) -> None:
    """What an administrator lets end once it is overdue was all overdue, ten years ahead."""
    place.clock.off = YEARS
    (finding,) = place.reaper().runs()
    assert finding.kind == "lease_over"
    done = place.reaper().remove(finding)
    assert not done.gone
    assert "Set the clock" in done.detail
    (warned,) = [f for f in place.reaper().reconcile(place.reaper().places()) if f.kind == "clock"]
    assert not warned.ours
    assert not place.reaper().remove(_orphan(place), as_overdue=True).gone
    assert len(place.cloud.machines()) == 1
    place.clock.off = timedelta()
    assert place.reaper().remove(_orphan(place), as_overdue=True).gone
    assert not place.cloud.machines()


def _orphan(place: Place) -> Finding:
    """The machine, as if no run had it."""
    (run,) = place.journal.runs()
    region = run.region or ""
    instances = place.cloud.provider.instances
    assert instances is not None
    (found,) = [
        r for r in instances.resources(tags={"cloudaccel-run": run.id}, region=region) if r.kind == "machine"
    ]  # fmt: skip
    return Finding(
        kind="orphan", what=found.id, run=run.id, provider=place.cloud.name, region=region, resource=found
    )  # fmt: skip


@pytest.mark.parametrize("off", [HOUR, -YEARS])
def test_nothing_is_started_by_a_wrong_clock(place: Place, off: timedelta) -> None:
    """Its deadline would have been ten years away, or over before it ran."""
    place.clock.off = off
    outcome = place.world.up(_spec(place.cloud))
    assert outcome.exit_code == 10
    assert "Nothing is started by it" in outcome.reason
    assert len(place.cloud.machines()) == 1


def test_the_time_is_known_of_a_cloud_that_refuses(place: Place) -> None:
    """A clock that is wrong by an hour makes signatures that AWS refuses: why, he would not have been told."""
    action, code = {
        "aws": ("GetCallerIdentity", "SignatureDoesNotMatch"), "azure": ("GET usages", "AuthorizationFailed"),
        "gcp": ("projects.get", "forbidden"),
    }[place.cloud.name]  # fmt: skip
    place.cloud.fake.faults.append(place.cloud.fault(action=action, code=code, status=403, times=99))
    instances = place.cloud.provider.instances
    assert instances is not None
    region = place.cloud.places[0][0]
    with pytest.raises(ProviderError):
        instances.account(region=region)
    said = instances.time(region=region)
    assert said is not None
    assert abs(said - place.clock.true.now()) < timedelta(seconds=2)


def _not_said(_: object, *, region: str) -> None:
    """The time of a cloud that says none."""


@pytest.mark.parametrize("off", [HOUR, -YEARS, YEARS])
@pytest.mark.parametrize("then", [True, False])
def test_a_clock_that_was_set_proves_nothing_gone(
    place: Place, off: timedelta, then: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process died as its machine began, and by a clock that was set an hour ahead every listing had to show it: it
    was called gone. What was seen by a clock that was ahead `then` was not proved gone for as long."""
    assert not place.world.down()
    place.cloud.fake.lag_s = place.cloud.lags_s[-1]
    place.clock.off = off if then else timedelta()
    if then:  # as an adapter would let it begin that does not say its time
        monkeypatch.setattr(type(place.cloud.provider.instances), "time", _not_said)
    with pytest.raises(Killed):
        place.world.up(_spec(place.cloud), Fuse(after="create"))
    monkeypatch.undo()
    place.clock.off = timedelta() if then else off
    assert not place.world.down()
    place.clock.true.sleep(600)
    assert not place.cloud.machines()
