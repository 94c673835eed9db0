"""A look over the runs: what is ended, what is said, and what is left alone because nobody knows."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")

from cloudaccel.errors import AuthError, ConfigError, ProviderUnavailable
from cloudaccel.protocols import Provider
from cloudaccel.provision.journal import HoldLost, Journal
from cloudaccel.provision.launch import Launcher
from cloudaccel.provision.lease import extend
from cloudaccel.provision.standing import Standing
from cloudaccel.provision.teardown import Ender
from cloudaccel.provision.values import Run
from cloudaccel.provision.watching import Look, Watcher, exit_code
from cloudaccel.testing import crashes
from cloudaccel.testing.crashes import VirtualClock
from tests.small_cloud import HOUR_S, Cloud, World, small_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with small_world(tmp_path) as made:
        yield made


def kinds(look: Look) -> list[str]:
    return [notice.kind for notice in look.notices]


def test_what_runs_inside_its_lease_is_left_alone(world: World) -> None:
    world.start()
    world.pass_hours(1)
    assert kinds(world.look()) == []
    assert len(world.cloud.live()) == 2


def test_the_end_of_a_lease_is_said_before_and_kept(world: World) -> None:
    run = world.start(hours=4, total="40")
    world.pass_hours(3.6)
    (soon,) = world.look().notices
    assert soon.kind == "lease_soon"
    assert f"provision extend {run.id}" in soon.text
    world.pass_hours(0.5)
    (ended,) = world.look().notices
    assert (ended.kind, world.cloud.live()) == ("ended", [])
    assert "lease ended" in ended.text
    assert world.journal.run(run.id).state == "deleted"
    assert kinds(world.look()) == []


def test_a_later_lease_is_other_news(world: World) -> None:
    run = world.start(hours=4, total="40")
    world.pass_hours(3.6)
    first = world.look().notices[0].key
    extend(world.journal, run, HOUR_S)
    assert kinds(world.look()) == []
    world.pass_hours(1)
    assert world.look().notices[0].key != first


def test_a_machine_that_was_taken_back_ends_the_gang(world: World) -> None:
    """He would have paid for the other machine, which can do nothing alone."""
    world.start()
    world.pass_hours(1)
    world.cloud.change("m-0", state="terminated", interrupted=True, reason="SpotInstanceTermination")
    (ended,) = world.look().notices
    assert ended.kind == "ended"
    assert "interrupted: the cloud took m-0 back (SpotInstanceTermination)" in ended.text
    assert not world.cloud.live()


@pytest.mark.parametrize(
    "fault", [ProviderUnavailable("no answer.", provider="small"), AuthError("expired.", provider="small")]
)
def test_not_being_told_is_no_end(world: World, fault: Exception) -> None:
    run = world.start()
    world.pass_hours(1)
    world.cloud.fault = fault
    look = world.look()
    assert kinds(look) == ["unasked"]
    assert exit_code(look.notices) == 8
    world.cloud.fault = None
    assert kinds(world.look()) == []
    assert world.journal.run(run.id).state == "ready"


def test_an_empty_answer_to_other_credentials_proves_nothing(world: World) -> None:
    """He would have believed that the machines are gone, since the other account shows none."""
    run = world.start()
    world.pass_hours(1)
    world.cloud.who = "account-2"
    assert kinds(world.look()) == ["unasked"]
    world.pass_hours(4)
    look = world.look()
    assert kinds(look) == ["not_gone"]
    assert exit_code(look.notices) == 11
    assert world.journal.run(run.id).state == "ready"
    world.cloud.who = "account-1"
    assert kinds(world.look()) == ["ended"]


def test_what_does_not_end_is_named_until_it_does(world: World) -> None:
    world.start(hours=1)
    world.pass_hours(1.1)
    world.cloud.stuck = True
    look = world.look(wait_s=30)
    assert kinds(look) == ["not_gone"]
    assert any("m-0" in one for one in look.notices[0].may_bill)
    assert kinds(world.look(wait_s=30)) == ["not_gone"]
    world.cloud.stuck = False
    assert kinds(world.look()) == ["ended"]


def test_a_budget_is_not_passed_between_two_looks(world: World) -> None:
    run = world.start(hours=1, total="10")  # two USD an hour: its own deadline is at five hours
    extend(world.journal, run, 4 * HOUR_S)
    world.pass_hours(4.9)
    assert kinds(world.look(warn_s=0)) == []
    look = world.look(next_look_s=600)
    assert kinds(look) == ["ended"]
    assert "budget is used up" in look.notices[0].text


def test_what_failed_attempts_cost_counts(world: World) -> None:
    """He would have believed that the whole budget is left for the place where it ran in the end."""
    run = world.start(hours=5, total="10")
    world.journal.seen(run.id, "small", "here", [("machine", "m-earlier")])
    world.pass_hours(1)
    world.journal.gone(run.id, "machine", "m-earlier")
    (short,) = world.look().notices
    assert short.kind == "budget_short"
    assert "over 10.00" in short.text


def test_a_budget_without_a_price_is_said_to_be_no_guard(world: World) -> None:
    world.start(price=None, total="10")
    world.pass_hours(1)
    assert kinds(world.look()) == ["budget_unknown"]
    assert len(world.cloud.live()) == 2


def test_a_run_that_is_taken_meanwhile_is_left_to_who_took_it(world: World) -> None:
    """Of a person who extends and a watcher that ends, only the first to write acts."""
    run = world.start(hours=1, total="40")
    world.pass_hours(1.1)
    journal = _Between(world.journal, lambda: extend(world.journal, world.journal.run(run.id), HOUR_S))
    look = Watcher(journal, world.load, world.clock, workers=1).look()  # pyright: ignore[reportArgumentType]
    assert kinds(look) == []
    assert len(world.cloud.live()) == 2
    stale = world.journal.run(run.id)
    world.journal.let_go(world.journal.take(stale))
    with pytest.raises(HoldLost):
        extend(world.journal, stale, HOUR_S)


class _Between:
    """The journal, where somebody acts just before a claim."""

    def __init__(self, journal: Journal, act: Callable[[], object]) -> None:
        self._journal, self._act = journal, act

    def __getattr__(self, name: str) -> Any:
        if name == "claim":
            self._act()
        return getattr(self._journal, name)


def test_a_launch_whose_process_is_gone_ends_after_a_while(world: World) -> None:
    run = world.start()
    held = world.journal.take(run)
    world.journal.let_go(world.journal.update(held, state="creating"))
    assert kinds(world.look()) == []
    world.pass_hours(0.6)
    assert kinds(world.look()) == ["ended"]
    assert not world.cloud.live()


def test_many_runs_are_looked_at_side_by_side(world: World) -> None:
    for _ in range(6):
        world.start(hours=1)
    world.pass_hours(2)
    look = Watcher(world.journal, world.load, world.clock, workers=4).look()
    assert kinds(look) == ["ended"] * 6
    assert not world.cloud.live()


def test_idle_machines_are_said_and_ended_when_that_was_asked(world: World) -> None:
    run = world.start(hours=9, end_idle_s=2 * HOUR_S)
    world.pass_hours(3)
    world.say(busy_h=1)
    assert kinds(world.look()) == ["idle"]
    assert world.journal.run(run.id).idle_since is not None
    world.say(use="80", busy_h=0)
    assert kinds(world.look()) == []
    assert world.journal.run(run.id).idle_since is None
    world.say(busy_h=2.1)
    look = world.look()
    assert kinds(look) == ["idle", "ended"]
    assert "nothing was computed since" in look.notices[1].text


@pytest.mark.parametrize("said", [{"age_s": 1200}, {"use": "-"}, {"age_s": -600}, None])
def test_use_that_is_not_known_is_no_idleness(world: World, said: dict[str, Any] | None) -> None:
    """He would have lost a job that computed all the time, on a machine that could not say so."""
    world.start(hours=9, end_idle_s=HOUR_S)
    world.pass_hours(5)
    if said is not None:
        world.say(busy_h=5, **said)
    assert kinds(world.look()) == ["use_unknown"]
    assert len(world.cloud.live()) == 2


def test_one_machine_that_computes_keeps_the_gang(world: World) -> None:
    world.start(hours=9, end_idle_s=HOUR_S)
    world.pass_hours(5)
    world.say(busy_h=5)
    idle = world.cloud.consoles["m-0"]
    world.say(use="97")
    world.cloud.consoles["m-0"] = idle
    assert kinds(world.look()) == []


def test_accelerators_that_do_not_answer_are_said(world: World) -> None:
    world.start(hours=9, cards="8")
    world.pass_hours(0.5)
    world.say(use="50", cards="7")
    (notice,) = world.look().notices
    assert (notice.kind, notice.text[:6]) == ("unhealthy", "7 of 8")


def test_an_announced_interruption_is_passed_on(world: World) -> None:
    world.start()
    world.say(use="50", notice="yes")
    assert kinds(world.look()) == ["interruption_soon"]


def test_a_run_that_should_restart_goes_on_with_what_is_left(world: World) -> None:
    run = world.start(hours=4, total="20", on_interruption="restart")
    world.pass_hours(1)
    world.cloud.change("m-0", state="terminated", interrupted=True)
    look = world.look()
    assert kinds(look) == ["ended", "restarted"]
    (new,) = world.journal.runs(states=("ready",))
    assert new.id in look.notices[1].text
    assert len(world.cloud.live()) == 2
    assert new.spec.limits.max_total is not None
    assert Decimal("17.9") < new.spec.limits.max_total < Decimal("18.1")  # two machines for an hour are paid
    assert 2.9 * HOUR_S < new.spec.lease_s < 3 * HOUR_S
    assert new.deadline_at is not None
    assert run.deadline_at is not None
    assert new.deadline_at <= run.deadline_at


def test_a_restart_without_capacity_leaves_nothing(world: World) -> None:
    world.start(on_interruption="restart")
    world.pass_hours(1)
    world.cloud.change("m-0", state="terminated", interrupted=True)
    world.cloud.full = True
    assert kinds(world.look()) == ["ended", "not_restarted"]
    assert not world.cloud.live()


def _taken_back(folder: Path) -> tuple[crashes.World, Cloud, VirtualClock, Run]:
    """A run that is to be started again, and of which the cloud has just taken a machine back."""
    clock, cloud = VirtualClock(), Cloud()
    small = crashes.open_world(folder, cast(Provider, cloud), clock)
    world = World(small.journal(), cloud, cast(Any, clock))
    run = world.start(total="20", on_interruption="restart")
    clock.sleep(HOUR_S)
    cloud.change("m-0", state="terminated", interrupted=True)
    return small, cloud, clock, run


@pytest.mark.parametrize("pause_s", [0, 2400])
def test_killed_at_any_edge_a_restart_comes_once(tmp_path: Path, pause_s: int) -> None:
    """He would have believed that his job goes on elsewhere, while the watcher had died between ending and starting."""
    for at in range(1000):
        folder = tmp_path / str(at)
        folder.mkdir()
        world, cloud, clock, run = _taken_back(folder)
        fuse = crashes.Fuse(at)
        with suppress(crashes.Killed):
            world.watch(fuse)
        clock.sleep(pause_s)
        world.watch()
        world.watch()
        journal = world.journal()
        (ready,) = journal.runs(states=("ready",))
        edge = fuse.edges[-1]
        assert ready.spec.restart_of == run.id, edge
        assert journal.run(run.id).state == "deleted", edge
        assert sorted(cloud.live()) == sorted(r.id for r in journal.resources(ready.id, live=True)), edge
        assert len(cloud.live()) == 2, edge
        assert ready.lease_until is not None
        assert run.lease_until is not None
        assert ready.lease_until <= run.lease_until, edge
        assert ready.spec.limits.max_total is not None
        assert ready.spec.limits.max_total <= 18, edge
        world.close()
        if not fuse.dead:
            assert at > 30
            return


def test_a_restart_is_called_off_by_down(world: World) -> None:
    """He would have ended his run, and the watcher would have started it again."""
    run = world.start(on_interruption="restart")
    world.pass_hours(1)
    world.cloud.change("m-0", state="terminated", interrupted=True)
    watcher = world.watcher(limits=_unreadable)
    look = watcher.look()
    assert kinds(look) == ["ended", "not_restarted"]
    assert "tried again at the next look" in look.notices[1].text
    assert world.journal.run(run.id).state == "interrupted"
    held = world.journal.take(world.journal.run(run.id))
    assert Ender(world.journal, world.load, world.clock).end(held).run.state == "deleted"
    assert kinds(world.look()) == []
    assert not world.cloud.live()


def _unreadable() -> Standing:
    raise ConfigError("limits are in two currencies.")


def test_a_restart_is_under_the_standing_limits(world: World) -> None:
    """The watcher would have started what no person may."""
    world.start(on_interruption="restart")
    world.pass_hours(1)
    world.cloud.change("m-0", state="terminated", interrupted=True)
    look = world.look(limits=lambda: Standing(max_hourly=Decimal(1)))
    assert kinds(look) == ["ended", "not_restarted"]
    assert "max_hourly" in look.notices[1].text
    assert not world.cloud.live()


def test_what_was_taken_back_is_not_counted_beside_its_restart(world: World) -> None:
    world.start(on_interruption="restart")
    world.pass_hours(1)
    world.cloud.change("m-0", state="terminated", interrupted=True)
    assert kinds(world.look(limits=lambda: Standing(max_hourly_user=Decimal(2)))) == ["ended", "restarted"]


def test_a_restart_counts_for_the_same_person_and_project(world: World) -> None:
    """A project's budget would not have known of it, and its people would not have seen it."""
    spec = world.spec(on_interruption="restart")
    begun = world.journal.open_run(spec, principal="ada", project="vision")
    Launcher(world.journal, world.load, world.clock).up(spec, resume=begun)
    world.pass_hours(1)
    world.cloud.change("m-0", state="terminated", interrupted=True)
    world.look()
    (new,) = world.journal.runs(states=("ready",))
    assert (new.principal, new.project) == ("ada", "vision")


def test_an_ending_that_needs_two_looks_still_restarts(world: World) -> None:
    run = world.start(on_interruption="restart")
    world.pass_hours(1)
    world.cloud.change("m-0", state="terminated", interrupted=True)
    world.cloud.stuck = True
    assert kinds(world.look(wait_s=30)) == ["not_gone"]
    assert world.journal.run(run.id).note.startswith("interrupted: the cloud took m-0 back")
    world.cloud.stuck = False
    assert kinds(world.look()) == ["ended", "restarted"]


def test_the_account_is_asked_for_once_a_look(world: World) -> None:
    for _ in range(3):
        world.start()
    world.cloud.asked = 0
    world.look()
    assert world.cloud.asked == 1


def test_only_an_interruption_restarts(world: World) -> None:
    """A machine that somebody ended on purpose must not come back by itself."""
    world.start(on_interruption="restart")
    world.pass_hours(1)
    world.cloud.change("m-0", state="terminated")
    assert kinds(world.look()) == ["ended"]


def test_a_lease_that_is_nearly_over_is_not_restarted(world: World) -> None:
    world.start(hours=2, on_interruption="restart")
    world.pass_hours(1.9)
    world.cloud.change("m-0", state="terminated", interrupted=True)
    assert kinds(world.look()) == ["ended", "not_restarted"]


def test_u98_a_machine_that_is_stopped_still_bills_and_is_ended(world: World) -> None:
    """He would have believed that a stopped machine costs nothing, while its disk, and in some clouds it too, bills."""
    run = world.start()
    world.pass_hours(1)
    world.cloud.change("m-0", state="stopped")
    assert [r.state for r in world.journal.resources(run.id)] == ["live", "live"]
    look = world.look()
    assert kinds(look) == ["ended"]
    assert "m-0 is stopped, and not by this program" in look.notices[0].text
    assert not world.cloud.live()


# -- the clock ---------------------------------------------------------------------------------------------------------


def test_a_cloud_that_does_not_say_its_time_leaves_the_clock_alone_to_decide_and_that_is_said(world: World) -> None:
    run = world.start(hours=4)
    world.cloud.says = None
    world.pass_hours(4.1)
    (ended,) = world.look().notices
    assert (ended.kind, world.cloud.live()) == ("ended", [])
    assert "by this machine's clock alone: small did not say what time it is" in ended.text
    assert "clock alone" in world.journal.run(run.id).note


class _Older:
    """A stranger's adapter that was written before anybody asked for the time."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.name, self.quotas, self.instances = cloud.name, None, self

    def __getattr__(self, name: str) -> Any:
        if name == "time":
            raise AttributeError(name)
        return getattr(self._cloud, name)


def test_an_adapter_without_the_time_is_one_that_does_not_say_it(world: World) -> None:
    world.start(hours=4)
    world.pass_hours(4.1)
    older = cast(Provider, _Older(world.cloud))
    look = Watcher(world.journal, lambda _: older, world.clock, workers=1, limits=Standing).look()
    assert kinds(look) == ["ended"]
    assert "clock alone" in look.notices[0].text


@pytest.mark.parametrize("ahead", [False, True])
def test_a_wrong_clock_ends_no_idle_run_and_spends_no_budget(world: World, ahead: bool) -> None:
    world.start(hours=14, total="30", cards="8", end_idle_s=3600.0)
    world.pass_hours(2)
    world.say(busy_h=0)
    true = world.clock.at
    world.cloud.says = lambda: true
    world.clock.at += timedelta(hours=30 if ahead else -30)
    assert kinds(world.look()) == ["clock"]
    assert len(world.cloud.live()) == 2
    world.clock.at = true
    assert kinds(world.look()) == []


def test_a_restart_is_not_given_up_by_a_wrong_clock(world: World) -> None:
    """Too little was left of its lease, by a clock that was ahead, and what the cloud took back never came again."""
    run = world.start(on_interruption="restart")
    world.pass_hours(1)
    held = world.journal.take(run)
    world.journal.let_go(world.journal.update(held, state="interrupted"))
    true = world.clock.at
    world.cloud.says = lambda: true
    world.clock.at += timedelta(hours=30)
    assert kinds(world.look()) == ["clock"]
    world.clock.at = true
    assert world.journal.run(run.id).state == "interrupted"


def test_a_hold_of_a_clock_that_was_ahead_hides_no_run_for_years(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process died, its hold ends in ten years, and no watcher of another machine would have looked at the run."""
    run = world.start(hours=4)
    monkeypatch.setattr("cloudaccel.provision.identity.holder", lambda: "another-host:1")
    true, world.clock.at = world.clock.at, world.clock.at + timedelta(days=3650)
    world.journal.take(run)
    world.clock.at = true
    monkeypatch.undo()
    world.pass_hours(4.1)
    assert kinds(world.look()) == ["ended"]


def test_a_block_of_a_clock_that_was_ahead_blocks_nothing_for_years(world: World) -> None:
    true, world.clock.at = world.clock.at, world.clock.at + timedelta(days=3650)
    world.journal.block("small/here", ProviderUnavailable("full.", provider="small", ttl_s=3600))
    assert world.journal.blocked(["small/here"])
    world.clock.at = true
    assert world.journal.blocked(["small/here"]) is None
