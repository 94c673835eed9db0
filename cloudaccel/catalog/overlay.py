"""The user's own prices over the catalog: they replace the list price they name, or stand alone."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from cloudaccel.catalog.export import offer_rows
from cloudaccel.catalog.rows import Row
from cloudaccel.catalog.store import closed_on_error
from cloudaccel.model import Source

_TAKEN = ("price_per_hour", "currency", "status", "as_of", "source", "parts")


def lay_over(db: sqlite3.Connection, rows: Iterable[Row], name: str) -> tuple[list[Row], frozenset[str]]:
    """The overlay's offers, completed from the catalog, and the keys of the catalog's offers that they replace.

    A row that names a provider and an instance type replaces every current offer of that market with the same region
    and zone, or in any region when it names none. What the row leaves open (accelerator, count, host) comes from the
    offer that it replaces.
    """
    laid: list[Row] = []
    replaced: set[str] = set()
    # What says more goes first: a price for one region is not covered by one for every region.
    for row in sorted(rows, key=_said, reverse=True):
        matches = _matches(db, row)
        if not matches:
            laid.append(row)
        for identity, listed in matches:
            if identity not in replaced:
                replaced.add(identity)
                laid.append(_completed(row, listed, name))
    return laid, frozenset(replaced)


def merged(
    db: sqlite3.Connection, rows: Iterable[Row], sources: Iterable[Source], replaced: frozenset[str]
) -> sqlite3.Connection:
    """A copy of the catalog in memory, for the caller to close.

    The overlay's `rows` stand in it in place of the offers `replaced`.
    """
    from cloudaccel.catalog.load import builder_of

    with closed_on_error(sqlite3.connect(":memory:")) as copy:
        db.backup(copy)
        builder = builder_of(copy)
        builder.add_sources(sources)
        builder.stand_in(rows, replaced)
        return copy


def _said(row: Mapping[str, str]) -> int:
    return sum(bool(row[column]) for column in ("zone", "term", "payment")) + (row["region"] != "global")


def _matches(db: sqlite3.Connection, row: Mapping[str, str]) -> Sequence[tuple[str, Row]]:
    where = "o.current AND p.provider = ? AND s.instance = ? COLLATE NOCASE AND o.market = ?"
    params = [row["provider"], row["instance"], row["market"]]
    wanted = (
        ("p.region", row["region"]),
        ("o.zone", row["zone"]),
        ("o.term", row["term"]),
        ("o.payment", row["payment"]),
    )
    for column, value in wanted:
        if value and (column, value) != ("p.region", "global"):
            where += f" AND {column} = ?"
            params.append(value)
    ids = db.execute(
        "SELECT o.id FROM offer o JOIN place p ON p.id = o.place JOIN shape s ON s.id = o.shape "
        f"WHERE {where} ORDER BY o.id",
        params,
    ).fetchall()
    return [(identity, next(offer_rows(db, "o.id = ?", (identity,)))) for (identity,) in ids]


def _completed(row: Row, listed: Row, name: str) -> Row:
    price = f"{listed['price_per_hour'] or 'unknown'} {listed['currency']}"
    note = f"price from overlay {name}; list {price} of {listed['as_of'] or 'an unknown day'}"
    taken = {column: row[column] for column in _TAKEN}
    return {
        **listed,
        **taken,
        "as_of_until": "",
        "effective_at": "",
        "note": "; ".join(filter(None, (note, row["note"]))),
    }
