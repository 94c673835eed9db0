"""Prices of other currencies turned into one, in a copy of the catalog: what ranks them then is what they cost."""

import sqlite3
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from cloudaccel.catalog.schema import APART_BIT, APART_MASK, NOT_SOLD
from cloudaccel.model import from_nano
from cloudaccel.model.money import to_nano

RateOf = Callable[[str], Decimal | None]
_NANO = Decimal("1E-9")
_ROWS = (
    "SELECT o.oid, o.amount, o.upfront, o.currency, o.flags, o.note, s.count FROM offer o "
    "JOIN shape s ON s.id = o.shape WHERE o.current AND o.amount IS NOT NULL AND o.currency <> ?"
)


def convert(copy: sqlite3.Connection, wanted: str, rate_of: RateOf, words: str) -> None:
    """Turn every current price into `wanted`, where `rate_of` its currency is known; others stay, never ranked first.

    The list price stays readable: as a part of the price (amount times rate), and in the note with `words`, which say
    whose rates of which day these are.
    """
    changes: list[tuple[object, ...]] = []
    for oid, amount, upfront, currency, flags, note, count in copy.execute(_ROWS, (wanted,)).fetchall():
        rate = rate_of(currency)
        if rate is None:
            continue
        listed = from_nano(amount) or Decimal(0)
        paid = to_nano(max((listed * rate).quantize(_NANO, rounding=ROUND_HALF_EVEN), _NANO))
        once = None if upfront is None else to_nano((from_nano(upfront) or Decimal(0)) * rate)
        left = flags & ~APART_BIT["other_currency"]
        exact = Fraction(count) if count else None
        ranked = None if left & (APART_MASK | NOT_SOLD) or not exact or paid is None else (
            paid * exact.denominator // exact.numerator
        )  # fmt: skip
        said = "; ".join(filter(None, (f"list {listed:f} {currency} × {rate:f} ({words})", note)))
        changes.append((paid, once, wanted, left, ranked, f"listed {currency}={listed:f}*{rate:f}", said, oid))
    copy.executemany(
        "UPDATE offer SET amount = ?, upfront = ?, currency = ?, flags = ?, rank_price = ?, parts = ?, note = ? "
        "WHERE oid = ?",
        changes,
    )
