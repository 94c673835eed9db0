"""Prices over time: what is known of which day, and what is made of it."""

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.catalog.compact import compact, keep_days
from cloudaccel.catalog.history import PriceVersion
from cloudaccel.catalog.pricestats import price_history
from cloudaccel.cli.history_table import sparkline
from tests.support import run

FIRST = date(2026, 11, 1)


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).isoformat()


def seen(*prices: str) -> Iterator[PriceVersion]:
    for number, price in enumerate(prices):
        yield PriceVersion(day(number), day(number), Decimal(price), "list")


def test_u74_thirty_days_give_exact_percentiles() -> None:
    """Is it stable or lucky? A mean of known and unknown days would have looked calm."""
    history = price_history(list(seen(*(str(n) for n in range(30, 0, -1)))), FIRST, FIRST + timedelta(days=29))
    assert (history.low, history.p50, history.p95, history.high) == (1, 15, 29, 30)
    assert history.days_known == 30


def test_u74_a_day_that_nobody_saw_is_unknown_and_counts_nowhere() -> None:
    versions = [
        PriceVersion(day(0), day(2), Decimal(10), "list"),
        PriceVersion(day(8), day(9), Decimal(20), "list"),
        PriceVersion(day(5), day(6), None, "list"),
    ]
    history = price_history(versions, FIRST, FIRST + timedelta(days=9))
    assert history.series == (10, 10, 10, None, None, None, None, None, 20, 20)
    assert (history.days_known, history.p50, history.p95) == (5, 10, 20)


def test_a_version_that_began_before_the_span_still_holds_in_it() -> None:
    history = price_history([PriceVersion("2025-01-01", day(1), Decimal(7), "list")], FIRST, FIRST + timedelta(days=2))
    assert history.series == (7, 7, None)
    assert [v.from_at for v in history.changes] == ["2025-01-01"]


def test_nothing_known_is_no_number() -> None:
    history = price_history([], FIRST, FIRST)
    assert (history.low, history.p50, history.days_known, sparkline(history.series)) == (None, None, 0, "·")


@pytest.mark.parametrize(
    ("prices", "picture"),
    [((1, 2, 8, None), "▁▂█·"), ((5, 5), "▄▄"), (tuple(range(1, 61)), None)],
)
def test_the_picture_shows_steps_and_gaps(prices: tuple[int | None, ...], picture: str | None) -> None:
    drawn = sparkline([None if p is None else Decimal(p) for p in prices])
    assert drawn == picture if picture else len(drawn) == 30


def test_a_quote_shows_what_it_cost(tmp_path: Path) -> None:
    words = ["quote", "--instance", "p5.48xlarge", "--region", "us-east-1", "--history", "3000d"]
    answer = run(*words)
    assert answer.code == 0
    assert "P95" in answer.out
    assert "→" in answer.out
    offer = run(*words, "--json").json["offers"][0]
    history = offer["history"]
    assert len(history["series"]) == 3000
    assert history["low"] is not None
    assert Decimal(history["low"]) < Decimal(history["high"])
    assert len(history["changes"]) >= 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--history", "90"], "no duration"),
        (["--history", "1h"], "from 1d to"),
        (["--history", "99999d"], "from 1d to"),
        (["--history", "9d", "--csv"], "--history has no columns"),
    ],
)
def test_a_span_that_cannot_be_is_said(words: list[str], said: str) -> None:
    answer = run("quote", "H100:8", *words)
    assert answer.code == 2
    assert said in answer.err


@contextmanager
def past(*spans: tuple[str, str, int]) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE price_version(oid, from_at, until_at, amount, source, PRIMARY KEY(oid, from_at))")
        db.executemany("INSERT INTO price_version VALUES (1,?,?,?,'s')", spans)
        yield db


def test_old_prices_are_thinned_to_one_a_month_and_the_last_is_never_lost() -> None:
    spans = (
        ("2024-01-01", "2024-01-05", 1), ("2024-01-06", "2024-01-20", 2), ("2024-01-21", "2024-02-02", 3),
        ("2024-02-03", "2024-02-20", 4), ("2025-10-01", "2025-10-02", 5), ("2025-10-03", "2025-10-04", 6),
    )  # fmt: skip
    with past(*spans) as db:
        assert compact(db, 90, date(2025, 11, 1)) == 2  # 1 before 2, 3 before 4: the last of its month stays
        assert [row[0] for row in db.execute("SELECT amount FROM price_version ORDER BY from_at")] == [2, 4, 5, 6]
        assert compact(db, 90, date(2025, 11, 1)) == 0  # once is enough
    with past(("2020-05-01", "2020-05-01", 1), ("2020-05-02", "2020-05-02", 2)) as only:
        assert compact(only, 90, date(2025, 11, 1)) == 1
        assert only.execute("SELECT amount FROM price_version").fetchall() == [(2,)]


@pytest.mark.parametrize("text", ["89", "-1", "x", "1e3", "99999", "９０", "90 days"])
def test_a_policy_that_cannot_be_is_refused_before_anybody_is_asked(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDACCEL_HISTORY_DAYS", text)
    answer = run("refresh", "oci")
    assert answer.code == 2
    assert "history_days" in answer.err


def test_no_policy_keeps_everything() -> None:
    assert (keep_days(""), keep_days("400")) == (None, 400)
