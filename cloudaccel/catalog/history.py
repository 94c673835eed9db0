"""Prices over time: the versions of one offer, and the price on a day."""

import sqlite3
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from cloudaccel.catalog.offers import OFFER_SELECT, offer_from_row
from cloudaccel.model import Offer, from_nano


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """One price and the days (ISO) on which it was first and last observed. `amount` None: it was seen unpriced."""

    from_at: str
    until_at: str
    amount: Decimal | None
    source: str


def versions(db: sqlite3.Connection, offer_id: str) -> tuple[PriceVersion, ...]:
    """Every known price of an offer, oldest first; empty when the offer is unknown."""
    rows = db.execute(
        "SELECT v.from_at, v.until_at, v.amount, COALESCE(r.name, v.source) FROM price_version v "
        "JOIN offer o ON o.oid = v.oid LEFT JOIN source r ON r.key = v.source WHERE o.id = ? ORDER BY v.from_at",
        (offer_id,),
    )
    return tuple(PriceVersion(start, end, from_nano(amount), source) for start, end, amount, source in rows)


def price_on(db: sqlite3.Connection, offer_id: str, day: date) -> PriceVersion | None:
    """The version that held on `day`: the newest first observed by then. None before the first observation."""
    row = db.execute(
        "SELECT v.from_at, v.until_at, v.amount, v.source FROM price_version v JOIN offer o ON o.oid = v.oid "
        "WHERE o.id = ? AND v.from_at <= ? ORDER BY v.from_at DESC LIMIT 1",
        (offer_id, day.isoformat()),
    ).fetchone()
    return None if row is None else PriceVersion(row[0], row[1], from_nano(row[2]), row[3])


def offer_by_id(db: sqlite3.Connection, offer_id: str) -> Offer | None:
    """One offer, current or past; None when no offer has that id."""
    row = db.execute(f"{OFFER_SELECT} WHERE o.id = ?", (offer_id,)).fetchone()
    return None if row is None else offer_from_row(row)
