"""A clock that was set back by a year or forward by ten: no age is below zero, and nothing passes for fresh in silence.

The program is started under libfaketime, which Debian has as ``faketime``; its own waiting goes by the true clock.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloudaccel import state
from cloudaccel.access.tokens import Tokens
from cloudaccel.catalog.notebook import Notebook
from cloudaccel.errors import QueryError
from cloudaccel.jobs.alerts import Alerts, Message
from cloudaccel.jobs.leases import Leases
from cloudaccel.jobs.schedule import first_due, first_run, parse_schedule, run_forever
from cloudaccel.protocols import Scope
from cloudaccel.service.app import _too_old  # pyright: ignore[reportPrivateUsage]
from cloudaccel.testing.cloud import FakeCloud
from tests.e2e.test_refresh_live import cache, cloud, products
from tests.support import PATIENCE_S

__all__ = ["cache", "cloud"]  # fixtures
BACK, AHEAD = "-1y", "+10y"
NOW = datetime(2026, 11, 27, 6, tzinfo=UTC)
YEARS = timedelta(days=3650)
shifted = pytest.mark.skipif(shutil.which("faketime") is None, reason="needs faketime (Debian: apt install faketime)")


def under(clock: str, *words: str) -> tuple[int, str, str]:
    """Run one command at another time; "" is now."""
    before = ["faketime", "-f", clock] if clock else []
    done = subprocess.run(
        [*before, sys.executable, "-m", "cloudaccel", *words], env={**os.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert " -1" not in done.stdout
    return done.returncode, done.stdout, done.stderr


@shifted
@pytest.mark.network
def test_a_clock_that_is_behind_is_said_and_gives_no_age_below_zero(cloud: FakeCloud, cache: Path) -> None:
    """He would have believed prices of next year to be of today."""
    assert cloud.url
    code, out, _ = under(BACK, "quote", "H100:8", "--json")
    prices = [offer["price"] for offer in json.loads(out)["offers"]]
    ahead = [price for price in prices if price["as_of"] > (datetime.now(UTC) - timedelta(days=364)).date().isoformat()]
    assert (code, {price["age_days"] for price in ahead}) == (0, {None})
    for words in (("quote", "H100:8", "--max-age", "30d"), ("refresh", "--status"), ("refresh", "oci")):
        code, out, err = under(BACK, *words)
        assert (code, "Check the clock" in err) == (0, True), (words, err)
        assert "(0 d old)" not in out
        assert " 0 d" not in out
        assert "ahead" in out or words == ("refresh", "oci")
    code, out, _ = under(BACK, "doctor")
    assert (code, "Set this machine's clock" in out) == (6, True)
    assert not list(cache.glob("*.damaged"))
    code, out, _ = under("", "quote", "H100:8", "--provider", "oci", "--json", "--max-age", "30d")
    (offer,) = json.loads(out)["offers"]
    assert (code, offer["price"]["as_of"][:10] < datetime.now(UTC).date().isoformat()) == (0, True)


@shifted
@pytest.mark.network
def test_a_clock_that_was_ahead_is_said_until_it_is_mended(cloud: FakeCloud, cache: Path) -> None:
    assert cache.exists()
    code, out, _ = under(AHEAD, "quote", "H100:8", "--provider", "oci", "--max-age", "30d")
    assert (code, "STALE" in out) == (0, True)
    cloud.serve("/oci/", products(B98415=11))
    assert under(AHEAD, "refresh", "oci")[0] == 0
    for words in (("quote", "H100:8", "--provider", "oci"), ("refresh", "--status")):
        code, out, err = under("", *words)
        assert (code, "Check the clock" in err) == (0, True), (words, err)
        assert "(0 d old)" not in out
    assert under("", "refresh", "oci")[0] == 0  # asked again though it was "taken in ten years"
    code, out, err = under("", "quote", "H100:8", "--provider", "oci")
    assert (code, "Check the clock" in err) == (0, False), err


def test_readiness_does_not_call_prices_of_tomorrow_fresh() -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert "Check this machine's clock" in (_too_old(tomorrow, 30) or "")
    assert _too_old(datetime.now(UTC).date().isoformat(), 30) is None


def test_a_price_held_under_a_clock_that_was_ahead_is_not_held_for_ten_years(tmp_path: Path) -> None:
    scope, notes = Scope(provider="acme", partition="acme"), Notebook(tmp_path)
    notes.note(scope, NOW + YEARS, held={"a": "1"})
    assert notes.confirmed(scope, NOW) == {}
    notes.note(scope, NOW, held={"a": "1"})
    assert notes.confirmed(scope, NOW + timedelta(hours=19)) == {}
    assert notes.confirmed(scope, NOW + timedelta(hours=21)) == {"a": "1"}


# -- what is planned -----------------------------------------------------------------------------------------------


def test_a_run_of_next_year_does_not_put_off_the_next_one() -> None:
    assert first_run(parse_schedule("6h"), NOW + YEARS, NOW) == NOW


def test_a_clock_that_is_set_back_while_a_schedule_waits_makes_no_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices would have stood still for a year, and the schedule said that it was at work."""
    times = iter([NOW] * 4)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # noqa: ARG003
            return next(times, NOW - timedelta(days=365))

    monkeypatch.setattr("cloudaccel.jobs.schedule.datetime", Clock)
    stop, planned = threading.Event(), list[datetime | None]()

    def told(due: datetime | None) -> None:
        planned.append(due)
        if due is not None and due < NOW:
            stop.set()

    run_forever(lambda: None, parse_schedule("1h"), stop, first_at=NOW + timedelta(hours=1), planned=told)
    assert planned[0] == NOW + timedelta(hours=1)
    assert planned[1] is not None
    assert planned[1] <= NOW - timedelta(days=365) + timedelta(hours=1.1)


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        """The time of now."""
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[state.sa.Engine]:
    engine = state.open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield engine
    engine.dispose()


@pytest.mark.parametrize("ended", [True, False])
def test_a_lease_and_a_plan_of_a_clock_that_was_ahead_hold_nobody_up(
    engine: state.sa.Engine, clock: Clock, ended: bool
) -> None:
    def first(last: datetime | None, now: datetime) -> datetime:
        return first_run(parse_schedule("1h"), last, now) or now

    leases, other = Leases(engine, now=clock), Leases(engine, now=clock)
    clock.at = NOW + YEARS
    claim = leases.claim("refresh", "1h", first)
    assert claim is not None
    if ended:
        leases.done(claim, clock.at + timedelta(hours=1))
    clock.at = NOW
    assert other.jobs()[0].owner is None
    taken = other.claim("refresh", "1h", first)
    assert taken is not None
    assert taken.token == claim.token + 1
    assert leases.claim("refresh", "1h", first) is None


def test_a_message_that_was_planned_under_a_clock_ahead_is_sent_once(engine: state.sa.Engine, clock: Clock) -> None:
    alerts = Alerts(engine, clock)
    alert = alerts.add("runs", {}, "https://hooks.example.org/x", "plain")
    clock.at = NOW + YEARS
    assert alerts.tell(alert, "run 1", {})
    clock.at = NOW
    assert not alerts.tell(alert, "run 1", {})
    sent: list[str] = []

    def send(_alert: object, message: Message, /) -> None:
        sent.append(message.id)

    assert (alerts.deliver(send), alerts.deliver(send), len(sent)) == (1, 0, 1)


def test_a_token_that_was_over_is_not_valid_again_by_a_clock_that_was_set_back(
    engine: state.sa.Engine, clock: Clock
) -> None:
    """A token of a colleague who had left worked again, since the machine came up with the clock of last week."""
    tokens = Tokens(engine, clock)
    short, _ = tokens.create("ada", frozenset({"read"}), project="default", lasts_s=86_400, by="me")
    long, other = tokens.create("bob", frozenset({"read"}), project="default", lasts_s=30 * 86_400, by="me")
    clock.at = NOW + timedelta(days=7)
    assert tokens.principal(short) is None
    assert tokens.principal(long) is not None
    clock.at = NOW
    assert tokens.principal(short) is None
    assert [token.state(tokens.now()) for token in tokens.all()] == ["expired", "valid"]
    assert tokens.principal(long) is not None
    with pytest.raises(QueryError, match=f"token {other.id} was used"):
        tokens.create("eve", frozenset({"read"}), project="default", lasts_s=86_400, by="me")
    tokens.revoke(other.id, "me")  # the clock was ahead then, and somebody says so
    assert tokens.principal(short) is not None


def test_a_run_that_ended_under_a_clock_ahead_does_not_put_off_the_next_one(
    engine: state.sa.Engine, clock: Clock
) -> None:
    """The clock jumped while the lists were read, and prices would have stood still for ten years."""

    def first(last: datetime | None, now: datetime) -> datetime:
        return first_run(parse_schedule("6h"), last, now) or now

    leases = Leases(engine, now=clock)
    claim = leases.claim("refresh", "6h", first)
    assert claim is not None
    clock.at = NOW + YEARS
    leases.done(claim, clock.at + timedelta(hours=6))
    clock.at = NOW + timedelta(minutes=1)
    assert leases.claim("refresh", "6h", first) is None
    assert leases.jobs()[0].next_at == NOW + timedelta(hours=6)
    clock.at = NOW + timedelta(hours=6, minutes=1)
    assert leases.claim("refresh", "6h", first) is not None


@pytest.mark.parametrize("words", ["7d", "0 6 * * 1"])
def test_a_plan_of_next_week_stays_as_it_is(engine: state.sa.Engine, clock: Clock, words: str) -> None:
    schedule = parse_schedule(words)

    def first(last: datetime | None, now: datetime) -> datetime:
        return first_due(schedule, last, now)

    leases = Leases(engine, now=clock)
    leases.claim("refresh", words, first)
    planned = leases.jobs()[0].next_at
    for _ in range(5):
        clock.at += timedelta(minutes=1)
        leases.claim("refresh", words, first)
    assert words == "7d" or leases.jobs()[0].next_at == planned


def test_what_was_told_is_not_told_again_after_a_clock_that_was_ahead(engine: state.sa.Engine, clock: Clock) -> None:
    """All that was sent looked older than is remembered, and every alert came a second time."""
    alerts = Alerts(engine, clock)
    alert = alerts.add("runs", {}, "https://hooks.example.org/x", "plain")
    assert alerts.tell(alert, "run 1", {})
    for at in (NOW, NOW + YEARS, NOW, NOW - YEARS):
        clock.at = at
        alerts.deliver(lambda _alert, _message: None)
        assert not alerts.tell(alert, "run 1", {})


def test_only_the_last_messages_are_remembered_for_good(
    engine: state.sa.Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudaccel.jobs.alerts._KEPT", 2)
    alerts = Alerts(engine, clock)
    alert = alerts.add("runs", {}, "https://hooks.example.org/x", "plain")
    for number in range(5):
        clock.at = NOW + timedelta(hours=number)
        assert alerts.tell(alert, f"run {number}", {})
    alerts.deliver(lambda _alert, _message: None)
    assert len(alerts.messages("sent")) == 5
    clock.at = NOW + timedelta(days=91)
    alerts.deliver(lambda _alert, _message: None)
    assert len(alerts.messages("sent")) in (2, 3)


def test_a_token_is_over_by_the_clock_and_comes_back_with_it(engine: state.sa.Engine, clock: Clock) -> None:
    tokens = Tokens(engine, clock)
    secret, token = tokens.create("ada", frozenset({"read"}), project="default", lasts_s=86_400, by="me")
    clock.at = NOW + YEARS
    assert (tokens.principal(secret), token.state(clock.at)) == (None, "expired")
    clock.at = NOW
    assert tokens.principal(secret) is not None
    tokens.revoke(token.id, "me")
    for at in (NOW - timedelta(days=365), NOW + YEARS):
        clock.at = at
        assert (tokens.principal(secret), tokens.get(token.id).state(at)) == (None, "revoked")
