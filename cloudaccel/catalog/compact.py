"""Past prices that nobody needs day by day any more: after so many days, one a month is kept of each offer."""

import sqlite3
from datetime import date, timedelta

from cloudaccel.errors import ConfigError

LEAST_DAYS = 90  # what a quote's history shows by default has to be whole


def keep_days(text: str) -> int | None:
    """The setting ``history_days``; None: every price is kept for ever.

    Raises
    ------
    ConfigError
        If it is no number of days, or too few.
    """
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not LEAST_DAYS <= int(text) <= 36_500:
        raise ConfigError(f"history_days: {text[:40]!r} is no number of days from {LEAST_DAYS} to 36500.")
    return int(text)


def compact(db: sqlite3.Connection, days: int, today: date) -> int:
    """Thin out the prices last seen more than `days` before `today`; returns how many were dropped.

    Of each offer and month the last one stays, and the newest of all: what an offer cost last is never lost. Nothing is
    averaged or stretched: every price that is left was really seen on its days, and the days of the others are unknown.
    """
    before = (today - timedelta(days=days)).isoformat()
    gone = db.execute(
        "DELETE FROM price_version AS v WHERE v.until_at < ? AND EXISTS (SELECT 1 FROM price_version n "
        "WHERE n.oid = v.oid AND n.from_at > v.from_at AND substr(n.until_at, 1, 7) = substr(v.until_at, 1, 7))",
        (before,),
    )
    return gone.rowcount
