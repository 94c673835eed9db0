"""Builds the catalog file: offers and price versions go in, one immutable SQLite file comes out.

A build never touches the file that readers use: it works on a copy beside it and renames it when it is whole, so
readers never wait, never see half, and need no lock.
"""

import hashlib
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from itertools import groupby
from pathlib import Path

from cloudaccel.catalog.rows import OFFER_COLUMNS
from cloudaccel.catalog.schema import (
    APART_BIT,
    APART_MASK,
    DDL,
    INDEXES,
    NOT_SOLD,
    PER_ACCELERATOR,
    SCHEMA_VERSION,
    accelerator_key,
)
from cloudaccel.catalog.store import version_of
from cloudaccel.errors import StorageError
from cloudaccel.files import UNFINISHED
from cloudaccel.model import Source, offer_id
from cloudaccel.model.money import from_nano, parse_amount, to_nano

_LEFT_OVER_S = 86_400
_INSERT_OFFER = f"INSERT INTO offer VALUES (?,?{',?' * 24})"

CountryOf = Callable[[str, str, str | None], str | None]
OperatorCountryOf = Callable[[str, str], str | None]


class Builder:
    """Fills the tables of one open catalog. Call `add_offers` by provider-region, then `add_history`, then `finish`."""

    def __init__(self, db: sqlite3.Connection, country_of: CountryOf, operator_country_of: OperatorCountryOf) -> None:
        self._db = db
        self._country_of = country_of
        self._operator_country_of = operator_country_of
        self._places: dict[tuple[str, str, str, str | None], int] = {}
        self._shapes: dict[tuple[object, ...], int] = {}
        # What this builder put there needs no query. What was there before is asked for row by row: a refresh changes a
        # region of some hundred offers, and reading the ids of all others took most of its time.
        self._oids: dict[str, int] = {}
        self._versioned: set[int] = set()
        self._was_empty = db.execute("SELECT 1 FROM offer LIMIT 1").fetchone() is None
        self._counts: dict[str, Fraction | None] = {"": None}
        for place in db.execute("SELECT provider, partition, region, country, id FROM place"):
            self._places[place[:4]] = place[4]
        for shape in db.execute("SELECT * FROM shape"):
            self._shapes[shape[1:]] = shape[0]

    def add_sources(self, sources: Iterable[Source]) -> None:
        """Record where rows come from; a source already known is replaced."""
        self._db.executemany(
            "INSERT OR REPLACE INTO source VALUES (?,?,?,?,?,?)",
            ((s.id, s.name, s.path, s.revision, s.licence, s.url) for s in sources),
        )

    def replace_segment(self, segment: tuple[str, str, str], rows: Sequence[Mapping[str, str]]) -> bool:
        """Put `rows` in place of what the catalog has for one (provider, partition, region).

        False when nothing changed. Offers that are gone stay with their history, no longer current.
        """
        digest = segment_hash(rows)
        known = self._db.execute("SELECT hash FROM segment WHERE (provider, partition, region) = (?,?,?)", segment)
        if known.fetchone() == (digest,):
            return False
        self._db.execute(
            "UPDATE offer SET current = 0, rank_price = NULL WHERE current AND place IN "
            "(SELECT id FROM place WHERE (provider, partition, region) = (?,?,?))",
            segment,
        )
        for row in rows:
            self._put_offer(row, current=True)
        dates = sorted(row["as_of"] for row in rows if row["as_of"])
        until = max((row["as_of_until"] or row["as_of"] for row in rows), default="")
        self._db.execute(
            "INSERT OR REPLACE INTO segment VALUES (?,?,?,?,?,?,?)",
            (*segment, digest, len(rows), dates[0] if dates else None, until or None),
        )
        return True

    def stand_in(self, rows: Iterable[Mapping[str, str]], replaced: Iterable[str]) -> None:
        """Put `rows` in place of the offers with the ids `replaced`; segments stay as they are."""
        self._db.executemany("UPDATE offer SET current = 0, rank_price = NULL WHERE id = ?", ((i,) for i in replaced))
        for row in rows:
            self._put_offer(row, current=True)

    def add_history(self, rows: Iterable[Mapping[str, str]]) -> int:
        """Record past price versions; an offer that is no longer sold gets a row that is not current."""
        added = 0
        for row in rows:
            offer = {field: row.get(field, "") for field in OFFER_COLUMNS}
            oid = self._oid(offer_id(offer)) or self._put_offer(_past(offer), current=False)
            amount = to_nano(parse_amount(row["price_per_hour"]))
            self._put_version(oid, row["from_at"], row["until_at"] or row["from_at"], amount, row["source"])
            added += 1
        return added

    def finish(self, *, built_from: str) -> str:
        """Write the catalog id and the indexes; returns the id."""
        hashes = self._db.execute("SELECT hash FROM segment ORDER BY provider, partition, region")
        catalog_id = root_hash(digest for (digest,) in hashes)
        as_of, until = self._db.execute("SELECT min(as_of), max(as_of_until) FROM segment").fetchone()
        meta = {
            "schema": str(SCHEMA_VERSION), "catalog_id": catalog_id, "built_from": built_from,
            "as_of": as_of or "", "as_of_until": until or "",
        }  # fmt: skip
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", meta.items())
        self._db.executescript(INDEXES)
        self._db.execute("ANALYZE")
        return catalog_id

    def _put_offer(self, row: Mapping[str, str], *, current: bool) -> int:
        identity = offer_id(row)
        count = self._count(row)
        amount = to_nano(parse_amount(row["price_per_hour"])) if row["status"] != "quarantined" else None
        flags = _flags(row, count, amount)
        rank_price = None
        if current and not flags & (APART_MASK | NOT_SOLD) and amount is not None and count:
            rank_price = amount * count.denominator // count.numerator
        values = (
            int(current), self._place(row), self._shape(row), row["zone"] or None, self._key(row), row["market"],
            float(count) if count is not None else None, rank_price, amount, row["currency"],
            to_nano(parse_amount(row["upfront"])), row["status"], row["term"] or None, row["payment"] or None,
            row["offering_class"] or None, row["parts"] or None, row["availability"], row["last_seen"] or None,
            row["as_of"] or None, row["as_of_until"] or None, row["effective_at"] or None, row["source"],
            row["note"] or None, flags,
        )  # fmt: skip
        known = self._oid(identity)
        if known is not None:
            self._db.execute("DELETE FROM offer WHERE oid = ?", (known,))
        cursor = self._db.execute(_INSERT_OFFER, (known, identity, *values))
        oid = known or cursor.lastrowid
        assert oid is not None  # noqa: S101 - sqlite3 sets it after every INSERT
        self._oids[identity] = oid
        if current and row["as_of"]:
            self._put_version(oid, row["as_of"], row["as_of_until"] or row["as_of"], amount, row["source"])
        return oid

    def _oid(self, identity: str) -> int | None:
        """The row of an offer that is there already."""
        if identity in self._oids or self._was_empty:
            return self._oids.get(identity)
        found = self._db.execute("SELECT oid FROM offer WHERE id = ?", (identity,)).fetchone()
        if found is not None:
            self._oids[identity] = found[0]
        return self._oids.get(identity)

    def _put_version(self, oid: int, from_at: str, until_at: str, amount: int | None, source: str) -> None:
        """Add one observation; versions of the same amount that touch or overlap become one."""
        before = None
        if oid in self._versioned or not self._was_empty:
            before = self._db.execute(
                "SELECT from_at, until_at, amount FROM price_version WHERE oid = ? AND from_at <= ? "
                "ORDER BY from_at DESC LIMIT 1",
                (oid, from_at),
            ).fetchone()
        if before and before[2] == amount:
            self._db.execute(
                "UPDATE price_version SET until_at = max(until_at, ?) WHERE oid = ? AND from_at = ?",
                (until_at, oid, before[0]),
            )
            return
        self._versioned.add(oid)
        self._db.execute(
            "INSERT OR REPLACE INTO price_version VALUES (?,?,?,?,?)", (oid, from_at, until_at, amount, source)
        )

    def _place(self, row: Mapping[str, str]) -> int:
        country = self._country_of(row["provider"], row["region"], row["zone"] or None)
        key = (row["provider"], row["partition"], row["region"], country)
        if key not in self._places:
            operator_country = self._operator_country_of(row["provider"], row["region"])
            cursor = self._db.execute("INSERT INTO place VALUES (NULL,?,?,?,?,?)", (*key, operator_country))
            assert cursor.lastrowid is not None  # noqa: S101
            self._places[key] = cursor.lastrowid
        return self._places[key]

    def _shape(self, row: Mapping[str, str]) -> int:
        key = (
            row["provider"], row["service"], row["instance"], self._key(row), row["accelerator_id"] or None,
            row["accelerator_name"], row["count"] or None, _real(row["accelerator_memory_gib"]),
            int(row["hosts"]) if row["hosts"] else None, row["sold_per"], _real(row["vcpus"]), _real(row["memory_gib"]),
        )  # fmt: skip
        if key not in self._shapes:
            cursor = self._db.execute("INSERT INTO shape VALUES (NULL,?,?,?,?,?,?,?,?,?,?,?,?)", key)
            assert cursor.lastrowid is not None  # noqa: S101
            self._shapes[key] = cursor.lastrowid
        return self._shapes[key]

    def _key(self, row: Mapping[str, str]) -> str:
        memory = _real(row["accelerator_memory_gib"])
        return accelerator_key(row["accelerator_id"], row["accelerator_name"], memory, self._count(row))

    def _count(self, row: Mapping[str, str]) -> Fraction | None:
        if row["count"] not in self._counts:
            self._counts[row["count"]] = Fraction(row["count"])
        return self._counts[row["count"]]


def _real(text: str) -> float | None:
    return float(text) if text else None


def _past(offer: Mapping[str, str]) -> dict[str, str]:
    return {**offer, "status": "exact", "availability": "listed", "sold_per": "instance", "price_per_hour": ""}


def _flags(row: Mapping[str, str], count: Fraction | None, amount: int | None) -> int:
    apart = (
        ("unknown_price", amount is None),
        ("unknown_count", not count),
        ("undated", not row["as_of"]),
        ("not_seen", row["availability"] == "not_seen"),
        ("community", row["offering_class"] == "community"),
        ("other_currency", row["currency"] != "USD"),
        ("upfront", bool(row["upfront"]) and row["market"] != "capacity_block"),  # a block's fee is in its hours
    )
    flags = sum(APART_BIT[code] for code, holds in apart if holds)
    flags |= NOT_SOLD if row["availability"] == "not_sold" else 0
    return flags | (PER_ACCELERATOR if row["sold_per"] == "accelerator" else 0)


def segment_hash(rows: Sequence[Mapping[str, str]]) -> str:
    """What tells one set of rows of a segment from another, in whatever order they come.

    Nor does it matter how a number is written: a catalog keeps 2.5 where a list said 2.50, and its checksum has to be
    found again from what it keeps.
    """
    digest = hashlib.sha256()
    for line in sorted("\x1f".join(_as_kept(field, row[field]) for field in OFFER_COLUMNS) for row in rows):
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


_AMOUNTS = frozenset({"price_per_hour", "upfront"})
_DECIMALS = 10  # characters from the point on that a catalog keeps
_SIZES = frozenset({"accelerator_memory_gib", "vcpus", "memory_gib"})


def _as_kept(field: str, text: str) -> str:
    """A cell as the catalog gives it back."""
    if field in _AMOUNTS and "." in text:
        if len(text) - text.index(".") > _DECIMALS:
            text = format(from_nano(to_nano(parse_amount(text))) or 0, "f")
        return text.rstrip("0").rstrip(".")
    return f"{float(text):.10g}" if field in _SIZES and text else text


def root_hash(hashes: Iterable[str]) -> str:
    """The catalog id: the hash over those of its segments, which are in the order of their names."""
    return "sha256:" + hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def segments(rows: Iterable[Mapping[str, str]]) -> Iterator[tuple[tuple[str, str, str], list[Mapping[str, str]]]]:
    """Group rows by (provider, partition, region); rows of one segment must follow one another."""
    for key, group in groupby(rows, key=lambda row: (row["provider"], row["partition"], row["region"])):
        yield key, list(group)


@contextmanager
def publishing(target: Path, *, start_from: Path | None = None, alone: bool = False) -> Generator[sqlite3.Connection]:
    """A connection to a new file beside `target`, which takes its place, whole and synced, when the block ends well.

    When the block raises, `target` stays as it was. `start_from` is copied first, for a change of some segments. With
    `alone`, a file that somebody else put at `target` since then stays: what is built here does not know of it.

    Raises
    ------
    StorageError
        If the folder cannot be written, the disk is full, or, with `alone`, another file is at `target` now.
    """
    temporary = _temporary_beside(target)
    before = version_of(target)
    try:
        if start_from is not None:
            _copy(start_from, temporary)
        with closing(sqlite3.connect(temporary)) as db:
            # The file is private until it is renamed: a journal would only be a second copy of it.
            db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;")
            db.execute("BEGIN")
            if start_from is None:
                for statement in DDL.split(";"):
                    db.execute(statement)
            yield db
            if db.in_transaction:
                db.execute("COMMIT")
        _sync(temporary)
        if alone and version_of(target) != before:
            raise StorageError(
                f"{target} was replaced by another process while this one stood still. What this one had read is older "
                "and was not written. Refresh again."
            )
        _replace(temporary, target)
    except (OSError, sqlite3.OperationalError) as error:
        raise _storage_error(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _temporary_beside(target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=UNFINISHED, suffix=".sqlite")
    except OSError as error:
        raise _storage_error(target, error) from error
    os.close(handle)
    return Path(name)


def _sweep(folder: Path) -> None:
    """Remove what builds that were killed left behind; a younger file may belong to a build that is under way."""
    for left_over in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError):
            if time.time() - left_over.stat().st_mtime > _LEFT_OVER_S:
                left_over.unlink()


def _copy(source: Path, target: Path) -> None:
    import shutil  # 5 ms, and only a refresh copies

    shutil.copyfile(source, target)


def _sync(temporary: Path) -> None:
    descriptor = os.open(temporary, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.chmod(0o644)


def _replace(temporary: Path, target: Path) -> None:
    os.replace(temporary, target)
    if sys.platform != "win32":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _storage_error(target: Path, error: Exception) -> StorageError:
    return StorageError(
        f"the catalog cannot be written to {target}: {error}. "
        "Free some space or make the folder writable, or name another with CLOUDACCEL_CACHE_DIR."
    )
