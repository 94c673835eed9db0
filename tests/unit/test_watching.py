"""A look over the runs: what is ended, what is said, and what is left alone because nobody knows."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")

from cloudaccel.errors import AuthError, ProviderUnavailable
from cloudaccel.provision.journal import HoldLost, Journal
from cloudaccel.provision.lease import extend
from cloudaccel.provision.watching import Look, Watcher, exit_code
from tests.small_cloud import HOUR_S, World, small_world


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
