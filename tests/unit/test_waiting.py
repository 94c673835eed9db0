"""Waiting: it is told, it keeps the hold, and what is taken over meanwhile is left alone."""

import argparse
import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")

from cloudaccel.cli import common, provision_end
from cloudaccel.cli.provision_wait import Rounds
from cloudaccel.cli.provision_wait import waiting as waiting_line
from cloudaccel.errors import OutcomeUnknown, QuotaExceeded
from cloudaccel.provision import identity, waiting
from cloudaccel.provision.clock import SystemClock
from cloudaccel.provision.journal import HOLD, HoldLost
from cloudaccel.provision.launch import NEXT_ROUND, Launcher
from cloudaccel.provision.teardown import Ender
from cloudaccel.provision.values import Attempt, Run
from cloudaccel.provision.waiting import Waits
from cloudaccel.testing.crashes import Killed, VirtualClock
from tests.small_cloud import World, small_world
from tests.support import PATIENCE_S

Told = list[tuple[str, datetime | None]]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with small_world(tmp_path) as made:
        yield made


def ender(world: World, told: Told | None = None) -> Ender:
    heard: Told = [] if told is None else told
    return Ender(world.journal, world.load, world.clock, say=lambda w, u: heard.append((w, u)))


def test_a_short_wait_is_not_worth_a_word() -> None:
    told: Told = []
    waits = Waits(VirtualClock(), lambda w, u: told.append((w, u)))
    waits.pause(1.5, "a thing")
    assert not told
    waits.pause(1.5, "a thing")
    assert told == [("a thing", None)]
    waits.pause(1.5, "another")
    assert len(told) == 1


def test_a_long_answer_is_told_and_keeps_the_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """He would have believed that it hangs, and another process that it is dead, while a cloud took its time."""
    monkeypatch.setattr(waiting, "SAID_AFTER_S", 0.01)
    monkeypatch.setattr(waiting, "KEEP_EVERY_S", 0.01)
    told: Told = []
    kept = threading.Event()
    waits = Waits(SystemClock(), lambda w, u: told.append((w, u)))
    with waits.keeping(kept.set), waits.answer("a cloud to answer"):
        assert kept.wait(PATIENCE_S)
    assert told == [("a cloud to answer", None)]


def test_a_lost_answer_is_waited_for_aloud(world: World) -> None:
    """He would have believed that it hangs, for as long as a listing may lag."""
    told: Told = []
    run = world.start()
    request = world.journal.operations(run.id)[0]
    held = world.journal.take(run)
    world.journal.sending(held, request.token)
    world.cloud.tokens.clear()  # no listing shows what the call made
    assert not ender(world, told).end(held).remaining
    assert told
    assert {what for what, _ in told} == {"machines of a lost answer to show in here"}
    assert all(until is not None and until > world.clock.at - timedelta(minutes=2) for _, until in told)


def test_what_does_not_end_is_waited_for_aloud(world: World) -> None:
    told: Told = []
    held = world.journal.take(world.start())
    world.cloud.stuck = True
    assert ender(world, told).end(held).remaining
    assert {what for what, _ in told} == {"machines m-0, m-1 to end"}


def test_nobody_takes_over_an_ending_that_lives(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ending may wait for a quarter of an hour, and is held for five minutes at a time."""
    run = world.start()
    held = world.journal.take(run)
    world.cloud.stuck = True
    free: list[bool] = []

    def slept(_until: datetime) -> None:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(identity, "holder", lambda: "elsewhere:1")
            free.append(world.journal.is_free(world.journal.run(run.id)))

    world.clock.slept = slept
    began = world.clock.at
    assert ender(world).end(held).remaining
    assert world.clock.at - began > 2 * HOLD
    assert len(free) > 20
    assert not any(free)


def test_an_ending_whose_process_died_is_taken_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.start()
    held = world.journal.take(run)
    world.cloud.stuck = True
    began = world.clock.at

    def die(at: datetime) -> None:
        if at - began > timedelta(minutes=6):
            raise Killed

    world.clock.slept = die
    with pytest.raises(Killed):
        ender(world).end(held)
    world.clock.slept = None
    monkeypatch.setattr(identity, "holder", lambda: "elsewhere:1")
    assert world.look().held == 1
    world.clock.sleep(HOLD.total_seconds())
    world.cloud.stuck = False
    assert [notice.kind for notice in world.look().notices] == ["ended"]
    assert not world.cloud.live()


def _ends_run(world: World, run: Run) -> None:
    held = world.journal.take(run)
    assert not ender(world).end(held).remaining
    world.journal.let_go(held)


def test_a_launch_that_waits_starts_nothing_once_its_run_was_ended(world: World) -> None:
    """He would have believed "GONE, verified", and the launch in the other window would have started machines."""
    world.cloud.full = True
    spec = world.spec()
    run = world.journal.open_run(spec)

    def meanwhile(_at: datetime) -> None:
        world.clock.slept = None
        _ends_run(world, world.journal.run(run.id))
        world.cloud.full = False

    world.clock.slept = meanwhile
    with pytest.raises(HoldLost):
        Launcher(world.journal, world.load, world.clock).up(spec, wait_s=3600, resume=run)
    assert not world.cloud.machines
    assert world.journal.run(run.id).state == "deleted"


def test_who_lost_a_run_does_not_let_it_go_for_another(world: World) -> None:
    """The other would have lost its hold while at work, and a third would have come in between."""
    world.cloud.full = True
    spec = world.spec()
    run = world.journal.open_run(spec)

    def meanwhile(_at: datetime) -> None:
        world.clock.slept = None
        world.journal.take(world.journal.run(run.id))

    world.clock.slept = meanwhile
    with pytest.raises(HoldLost):
        Launcher(world.journal, world.load, world.clock).up(spec, wait_s=3600, resume=run)
    assert world.journal.run(run.id).holder is not None


def test_the_fence_of_another_is_never_taken_for_ones_own(world: World) -> None:
    run = world.start()
    mine = world.journal.take(run)
    world.journal.take(run)
    with pytest.raises(HoldLost):
        world.journal.renew(mine)
    with pytest.raises(HoldLost):
        ender(world).end(mine)
    assert len(world.cloud.live()) == 2


def test_a_first_ctrl_c_ends_what_was_begun_and_a_second_leaves_it(world: World) -> None:
    """He would have waited with no way out, or been told that nothing is left."""
    world.cloud.stuck = True
    spec = world.spec()
    stopped: list[datetime] = []

    def stop(at: datetime) -> None:
        stopped.append(at)
        raise KeyboardInterrupt

    world.cloud.starts_as = "pending"
    world.clock.slept = stop
    with pytest.raises(KeyboardInterrupt):
        Launcher(world.journal, world.load, world.clock).up(spec)
    (run,) = world.journal.runs()
    assert len(stopped) == 2
    assert (run.state, run.holder) == ("deleting", None)


def test_patience_with_a_cloud_is_told(world: World) -> None:
    told: Told = []
    lost = OutcomeUnknown("no answer.", provider="small")
    world.cloud.faults_of_create = [lost, lost, lost]
    launcher = Launcher(world.journal, world.load, world.clock, say=lambda w, u: told.append((w, u)))
    assert launcher.up(world.spec()).exit_code == 0
    assert "small to start 2 × big in here-a, asked again: no answer." in {what for what, _ in told}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_one_line_is_renewed_on_a_terminal_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    until = datetime(2026, 1, 1, 10, tzinfo=UTC)
    with waiting_line(quiet=False) as line:
        line.say("a machine to end " * 9, until)
        line.say("a machine to end " * 9, until)
        line.note("1  done")
    first, *_ = screen.getvalue().removeprefix("\r\x1b[K").split("\r\x1b[K")
    assert first.startswith("waiting, until 10:00:00Z at most, for a machine to end")
    assert len(first) == 79
    assert "\n" not in first
    assert screen.getvalue().endswith("\r\x1b[K1  done\n")


def test_a_wait_is_said_once_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting_line(quiet=False) as line:
        line.say("m-0 to run", None)
        line.say("m-0 to run", None)
        line.say("m-0\nto end", None)
    assert capsys.readouterr().err == "waiting for m-0 to run\nwaiting for m-0 to end\n"
    with waiting_line(quiet=True) as line:
        line.say("m-0 to run", None)
    assert capsys.readouterr().err == ""


def test_a_round_in_which_nothing_changed_is_one_line(world: World) -> None:
    """Thirty places, asked every half minute for an hour, filled the screen with what had been said before."""
    lines: list[str] = []
    rounds = Rounds(lines.append)

    def say(what: str, _until: datetime | None) -> None:
        if what == NEXT_ROUND:
            rounds.over()

    world.cloud.full = True
    moments: list[datetime] = []

    def slept(at: datetime) -> None:
        moments.append(at)
        if len(moments) == 12:
            world.cloud.faults_of_create = [QuotaExceeded("none left.", provider="small")]
        world.cloud.full = len(moments) < 20

    world.clock.slept = slept
    outcome = Launcher(world.journal, world.load, world.clock, log=rounds.attempt, say=say).up(
        world.spec(), wait_s=7200
    )
    rounds.over()
    assert outcome.exit_code == 0
    told = ["as before" if "as before" in line else line.split()[5] for line in lines]
    changes = [word for word, before in zip(told, [None, *told], strict=False) if word != before]
    assert changes == ["capacity", "as before", "quota", "capacity", "as before", "created"]
    assert lines[1].split() == ["2", "1", "place", "is", "as", "before"]
    assert len(outcome.attempts) == len(lines), "one place: a line a round"


def test_that_a_place_is_not_asked_again_yet_is_said_once(world: World) -> None:
    """Its answer after that, the same as before, is no news either; another time until which it waits is."""
    lines: list[str] = []
    rounds = Rounds(lines.append)
    candidate = world.spec().candidates[0]
    said = [("capacity", "full."), ("blocked", "until 10:00"), ("capacity", "full."), ("blocked", "until 10:00"),
            ("blocked", "until 11:00"), ("quota", "none.")]  # fmt: skip
    for outcome, detail in said:
        for zone in ("a", "b"):
            rounds.attempt(Attempt(candidate=candidate, zone=zone, outcome=outcome, detail=detail))
        rounds.over()
    words = [line.split(maxsplit=1)[1] for line in lines]
    assert [w for w in words if "as before" in w] == ["2 places are as before"] * 2
    assert sum("full." in w for w in words) == sum("10:00" in w for w in words) == sum("11:00" in w for w in words) == 2


def test_what_an_ending_would_do_is_said_and_nothing_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There was no way to see what ``down --all`` would end but to let it."""
    run = world.start()

    def unasked(_name: str) -> NoReturn:
        raise AssertionError("a cloud was asked")

    def down(*words: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        provision_end.add_down(parser)
        common.add_output(parser)
        return provision_end.down(parser.parse_args(words), world.journal, unasked), capsys.readouterr().out

    monkeypatch.setattr("sys.stdin", io.StringIO())
    for words in ([run.id], ["--all"]):
        code, out = down(*words, "--dry-run")
        assert code == 0
        assert f"run {run.id}  ready, would be ended: machine m-0 (here); machine m-1 (here)" in out
        assert "no cloud was asked, nothing was ended, and nothing is proved" in out
    code, out = down("--all", "--dry-run", "--json")
    (one,) = json.loads(out)["runs"]
    assert (one["run"], one["over"], one["would_end"]) == (run.id, False, ["machine m-0 (here)", "machine m-1 (here)"])
    assert json.loads(out)["dry_run"] is True
    assert world.journal.run(run.id).state == run.state
    assert len(world.cloud.live()) == 2
    _ends_run(world, run)
    assert "it is over" in down(run.id, "--dry-run")[1]
    assert "No run is open" in down("--all", "--dry-run")[1]
