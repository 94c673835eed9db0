"""From the catalog back to rows of the snapshot format."""

import sqlite3
from collections.abc import Iterator

from cloudaccel.catalog.rows import HISTORY_COLUMNS, OFFER_COLUMNS, Row
from cloudaccel.model import Source, from_nano

_OFFERS = """\
SELECT p.provider, p.partition, p.region, o.zone, s.service, s.instance, s.accelerator_id, s.accelerator_name, s.count,
    s.accelerator_memory_gib, s.hosts, s.sold_per, s.vcpus, s.memory_gib, o.market, o.term, o.payment,
    o.offering_class, o.amount, o.currency, o.upfront, o.status, o.parts, o.availability, o.last_seen, o.as_of,
    o.as_of_until, o.effective_at, o.source, o.note
FROM offer o JOIN place p ON p.id = o.place JOIN shape s ON s.id = o.shape
"""
_HISTORY = """\
SELECT p.provider, p.partition, p.region, o.zone, s.service, s.instance, s.accelerator_id, s.accelerator_name, s.count,
    o.market, o.term, o.payment, o.offering_class, o.currency, v.amount, v.from_at, v.until_at, v.source, ''
FROM price_version v JOIN offer o ON o.oid = v.oid JOIN place p ON p.id = o.place JOIN shape s ON s.id = o.shape
WHERE v.amount IS NOT NULL
"""
_MONEY = frozenset({"price_per_hour", "upfront"})


def offer_rows(db: sqlite3.Connection, where: str = "o.current", params: tuple[object, ...] = ()) -> Iterator[Row]:
    """Offers that meet `where` (over ``o`` offer, ``p`` place, ``s`` shape), as rows of `OFFER_COLUMNS`."""
    for values in db.execute(f"{_OFFERS} WHERE {where}", params):
        yield _row(OFFER_COLUMNS, values)


def history_rows(db: sqlite3.Connection) -> Iterator[Row]:
    """Every known price version, as rows of `HISTORY_COLUMNS`."""
    for values in db.execute(_HISTORY):
        yield _row(HISTORY_COLUMNS, values)


def _row(columns: tuple[str, ...], values: tuple[object, ...]) -> Row:
    return {column: _text(column, value) for column, value in zip(columns, values, strict=True)}


def _text(column: str, value: object) -> str:
    if value is None:
        return ""
    if column in _MONEY and isinstance(value, int):
        return format(from_nano(value) or 0, "f")
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def sources(db: sqlite3.Connection) -> Iterator[Source]:
    """Every source that a row may name."""
    for key, name, path, revision, licence, url in db.execute(
        "SELECT key, name, path, revision, licence, url FROM source"
    ):
        yield Source(id=key, name=name, path=path, revision=revision, licence=licence, url=url)
