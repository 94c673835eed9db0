"""Whether a catalog still holds what was put into it: the hash of each provider-region, and the id over all of them."""

import sqlite3
from collections.abc import Iterable, Mapping

from cloudaccel.catalog.build import root_hash, segment_hash, segments
from cloudaccel.catalog.export import offer_rows

_MOST = 5  # faults that are named; the rest is counted


def catalog_faults(db: sqlite3.Connection, meta: Mapping[str, str]) -> tuple[str, ...]:
    """What is wrong with an open catalog, each in a few words; empty when every checksum agrees.

    Every current offer is checked. Price versions of the past have no checksum: SQLite's own check of the file's
    structure, of which each page of them is part, is all that vouches for them.
    """
    try:
        broken = [text for (text,) in db.execute(f"PRAGMA integrity_check({_MOST})") if text != "ok"]
        return tuple(_few(broken or _differences(db, meta)))
    except (sqlite3.DatabaseError, ValueError, OverflowError, ArithmeticError) as error:
        return (f"it cannot be read ({type(error).__name__}: {error})",)


def _differences(db: sqlite3.Connection, meta: Mapping[str, str]) -> list[str]:
    known: dict[tuple[str, str, str], tuple[str, int]] = {
        (provider, partition, region): (digest, rows)
        for provider, partition, region, digest, rows in db.execute(
            "SELECT provider, partition, region, hash, rows FROM segment"
        )
    }
    faults: list[str] = []
    if root_hash(known[place][0] for place in sorted(known)) != meta["catalog_id"]:
        faults.append("the list of checksums is not that of its catalog id")
    rows = offer_rows(db, "o.current ORDER BY p.provider, p.partition, p.region")
    for place, members in segments(rows):
        digest, count = known.pop(place, ("", 0))
        if digest != segment_hash(members):
            words = " ".join(dict.fromkeys(place))
            faults.append(f"{words}: {len(members)} offers, not the {count} that its checksum is of")
    faults += [f"{' '.join(dict.fromkeys(place))}: its {n} offers are missing" for place, (_, n) in known.items() if n]
    return faults


def _few(faults: list[str]) -> Iterable[str]:
    yield from faults[:_MOST]
    if len(faults) > _MOST:
        yield f"and {len(faults) - _MOST} more"


__all__ = ["catalog_faults"]
