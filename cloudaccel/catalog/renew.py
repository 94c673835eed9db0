"""Puts judged price lists into the catalog: on a copy beside the file in use, and only when something changed."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cloudaccel.catalog.build import publishing, segment_hash
from cloudaccel.catalog.export import offer_rows
from cloudaccel.catalog.guard import Segment
from cloudaccel.catalog.load import builder_of
from cloudaccel.catalog.rows import Row
from cloudaccel.model import Source, from_nano
from cloudaccel.protocols import Scope

_HERE = "(p.provider, p.partition) = (?, ?) AND (? IS NULL OR p.region = ?)"


def current_rows(db: sqlite3.Connection, scope: Scope) -> list[Row]:
    """Every current row of `scope`."""
    return list(offer_rows(db, f"o.current AND {_HERE}", _values(scope)))


def believed(db: sqlite3.Connection, scope: Scope) -> dict[str, str]:
    """The last known amount of each current offer of `scope` that has none now, by offer id."""
    found = db.execute(
        "SELECT o.id, v.amount FROM offer o JOIN place p ON p.id = o.place JOIN price_version v ON v.oid = o.oid "
        f"WHERE o.current AND o.amount IS NULL AND v.amount IS NOT NULL AND {_HERE} ORDER BY v.from_at",
        _values(scope),
    )
    return {identity: format(from_nano(amount) or 0, "f") for identity, amount in found}


def differing(db: sqlite3.Connection, segments: Mapping[Segment, Sequence[Row]]) -> dict[Segment, Sequence[Row]]:
    """Those of `segments` that the catalog does not hold exactly so, dates included."""
    known = {
        (p, q, r): digest for p, q, r, digest in db.execute("SELECT provider, partition, region, hash FROM segment")
    }
    return {segment: rows for segment, rows in segments.items() if known.get(segment) != segment_hash(rows)}


def publish(
    target: Path,
    current: Path,
    segments: Mapping[Segment, Sequence[Row]],
    sources: Iterable[Source],
    built_from: str,
    still: Callable[[], None] = lambda: None,
    *,
    thin: Callable[[sqlite3.Connection], object] = lambda _: None,
) -> str:
    """Write `current` with `segments` replaced to `target`, in one step; returns the catalog id.

    `still` is asked when all is ready to be put in place; what it raises leaves `target` as it was. `thin` may drop
    past prices from the new file.

    Raises
    ------
    StorageError
        If it cannot be written, or another process put its own in place meanwhile; `target` is as it was.
    """
    with publishing(target, start_from=current, alone=True) as db:
        builder = builder_of(db)
        builder.add_sources(sources)
        for segment, rows in segments.items():
            builder.replace_segment(segment, rows)
        thin(db)
        catalog_id = builder.finish(built_from=built_from)
        still()
        return catalog_id


def _values(scope: Scope) -> tuple[str | None, ...]:
    return scope.provider, scope.partition, scope.region, scope.region


__all__ = ["believed", "current_rows", "differing", "publish"]
