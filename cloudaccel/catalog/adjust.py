"""What is paid instead of the list price: a catalog of its own, made from the user's once for each file of adjustments.

A price and its place in the order are then answered by the same index as list prices are. Each step is a part of the
price, so that parts add up to it. Overlays stay on top: they are never adjusted.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from cloudaccel.catalog import store
from cloudaccel.catalog.adjust_file import Adjustment, Commitment, Terms, read_adjustments
from cloudaccel.catalog.build import publishing
from cloudaccel.catalog.export import offer_rows
from cloudaccel.catalog.schema import APART_BIT, APART_MASK, NOT_SOLD, SCHEMA_VERSION
from cloudaccel.errors import ConfigError, StorageError
from cloudaccel.model import from_nano, offer_id
from cloudaccel.model.money import to_nano

_NANO = Decimal("1E-9")
_KEPT_S = 86_400  # a derived catalog that nobody has opened newly for a day is removed at the next build
_VERSION = "1"  # of the arithmetic below


def adjusted(base: store.Catalog, path: Path, cache: Path, day: date) -> store.Catalog:
    """`base` with the adjustments and commitments of `path` that hold on `day`; kept in `cache` where that is possible.

    `base` is closed, unless this raises.

    Raises
    ------
    ConfigError
        If the file cannot be read, or would make a price nothing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"adjustments {path} cannot be read: {error.strerror}. Check the path.") from error
    if base.path is None or base.path.parent != cache:
        return _in_memory(base, path, content, day)
    stamp = "\x1f".join((_VERSION, str(SCHEMA_VERSION), base.meta["catalog_id"], str(base.path), str(path), str(day)))
    key = hashlib.sha256(stamp.encode() + b"\x1f" + content).hexdigest()[:16]
    target = cache / f"adjusted-{key}.sqlite"
    found = store.open_file(target)
    if found is None:
        try:
            _sweep(cache)
            with publishing(target, start_from=base.path) as db:
                apply(db, base.meta, path, content, day)
        except StorageError:
            return _in_memory(base, path, content, day)
        found = store.open_file(target)
    if found is None:
        return _in_memory(base, path, content, day)
    base.close()
    return _with_warnings(found, base.warnings)


def _in_memory(base: store.Catalog, path: Path, content: bytes, day: date) -> store.Catalog:
    with store.closed_on_error(sqlite3.connect(":memory:", check_same_thread=False)) as db:  # see store.open_file
        base.db.backup(db)
        apply(db, base.meta, path, content, day)
        found = store.Catalog(db, None, dict(db.execute("SELECT key, value FROM meta")))
    base.close()
    return _with_warnings(found, base.warnings)


def _with_warnings(catalog: store.Catalog, before: Sequence[str]) -> store.Catalog:
    own: list[str] = json.loads(catalog.meta["adjusted_warnings"])
    return store.Catalog(catalog.db, catalog.path, catalog.meta, (*before, *own), catalog.version)


def _sweep(cache: Path) -> None:
    for old in cache.glob("adjusted-*.sqlite"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _KEPT_S:
                old.unlink()


_OFFERS = """\
SELECT o.oid, p.provider, p.region, o.accelerator, s.instance, o.market, o.currency, o.amount, s.count, s.hosts,
    s.sold_per, o.parts, o.rank_price, o.note
FROM offer o JOIN place p ON p.id = o.place JOIN shape s ON s.id = o.shape WHERE o.current AND o.amount IS NOT NULL
"""


def apply(db: sqlite3.Connection, meta: Any, path: Path, content: bytes, day: date) -> None:
    """Change the prices of an open catalog by the file's `content`, and put its commitments in."""
    terms = read_adjustments(path, content, day)
    warnings: list[str] = []
    db.execute("CREATE TABLE capacity(oid INTEGER PRIMARY KEY, machines INTEGER NOT NULL)")
    committed = [(c, _matches(db, c)) for c in terms.commitments]  # of list prices, before they change
    changes = [change for row in db.execute(_OFFERS) if (change := _changed(terms, path.name, row, warnings))]
    db.executemany("UPDATE offer SET amount = ?, rank_price = ?, parts = ?, note = ? WHERE oid = ?", changes)
    for commitment, oids in committed:
        if not oids:
            warnings.append(f"{path.name}: commitment {commitment.name!r} matches nothing in the catalog")
        for oid in oids:
            _commit(db, commitment, oid, path.name)
    active = [a.name for a in terms.adjustments] + [c.name for c in terms.commitments]
    identity = hashlib.sha256("\x1f".join((meta["catalog_id"], *active)).encode() + content).hexdigest()
    counted = [f"{text}{_times(warnings.count(text))}." for text in dict.fromkeys(warnings)]
    if terms.resting:
        counted.append(f"{path.name}: begins later or has ended: {', '.join(terms.resting)[:200]}.")
    numbers = ((len(terms.adjustments), "adjustment"), (len(terms.commitments), "commitment"))
    held = " and ".join(f"{n} {word}" + ("s" if n != 1 else "") for n, word in numbers if n)
    said = f"{held or 'nothing'} of {path.name}"
    values = {"catalog_id": f"sha256:{identity}", "adjusted": said, "adjusted_warnings": json.dumps(counted)}
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", values.items())
    db.commit()


def _times(number: int) -> str:
    return f" ({number} of them)" if number > 1 else ""


def _changed(terms: Terms, file: str, row: tuple[Any, ...], warnings: list[str]) -> tuple[Any, ...] | None:
    """Values of the UPDATE for one offer; None when nothing is for it."""
    (oid, provider, region, accelerator, instance, market, currency, amount, count, hosts, sold_per, parts, rank,
     note) = row  # fmt: skip
    steps = [a for a in terms.adjustments if a.where.holds(provider, region, accelerator, instance, market)]
    if not steps:
        return None
    listed = price = from_nano(amount) or Decimal(0)
    pieces = [parts or f"list=1*{listed:f}"]
    for step in steps:
        piece, delta = _step(step, price, currency, hosts or 1, sold_per, file, warnings)
        price += delta
        if price <= 0:
            raise ConfigError(f"{file}: {step.name!r} makes the price of {provider} {region} {instance} {price:f}.")
        pieces += [piece] if piece else []
    if price == listed and len(pieces) == 1:
        return None
    nano = to_nano(price)
    said = f"adjusted by {file}; list {listed:f} {currency}"
    return nano, _ranked(nano, count, rank is not None), ";".join(pieces), "; ".join(filter(None, (said, note))), oid


def _step(
    step: Adjustment, price: Decimal, currency: str, hosts: int, sold_per: str, file: str, warnings: list[str]
) -> tuple[str, Decimal]:
    if step.percent is not None:
        delta = (price * step.percent / 100).quantize(_NANO, rounding=ROUND_HALF_EVEN).normalize()
        return f"{step.name} {step.percent:+f}%=1*{delta:f}", delta
    if step.currency != currency:
        warnings.append(f"{file}: {step.name!r} in {step.currency} is not added to offers in {currency}")
        return "", Decimal(0)
    if sold_per != "instance":
        warnings.append(f"{file}: {step.name!r} per machine is not added to offers per accelerator")
        return "", Decimal(0)
    each = step.amount or Decimal(0)
    return f"{step.name}={hosts}*{each:f}", each * hosts


def _ranked(nano: int | None, count: str | None, ranked: bool) -> int | None:
    if not ranked or nano is None or not count:
        return None
    exact = Fraction(count)
    return nano * exact.denominator // exact.numerator


def _matches(db: sqlite3.Connection, commitment: Commitment) -> list[int]:
    rows = db.execute(
        "SELECT o.oid, p.provider, p.region, o.accelerator, s.instance, o.market, o.zone FROM offer o "
        "JOIN place p ON p.id = o.place JOIN shape s ON s.id = o.shape WHERE o.current AND s.sold_per = 'instance'"
    )
    found = [row for row in rows if commitment.where.holds(*row[1:6])]
    regional = {row[2] for row in found if row[6] is None}  # a zone of its own price is another place
    return [row[0] for row in found if row[6] is None or row[2] not in regional]


def _commit(db: sqlite3.Connection, commitment: Commitment, oid: int, file: str) -> None:
    """Put the committed machines beside the offer `oid`: another offer, with a price and an end of its own."""
    listed = next(offer_rows(db, "o.oid = ?", (oid,)))
    columns = [name for _, name, *_ in db.execute("PRAGMA table_info(offer)")]
    values = dict(zip(columns, db.execute("SELECT * FROM offer WHERE oid = ?", (oid,)).fetchone(), strict=True))
    nano = to_nano(commitment.amount)
    flags = values["flags"] & ~(APART_BIT["unknown_price"] | APART_BIT["other_currency"])
    flags |= APART_BIT["other_currency"] if commitment.currency != "USD" else 0
    kind = f"commitment {commitment.name}"
    until = f" until {commitment.until}" if commitment.until else ""
    now = f"{listed['price_per_hour'] or 'unknown'} {listed['currency']}"
    values |= {
        "oid": None, "id": offer_id({**listed, "offering_class": kind, "currency": commitment.currency}),
        "amount": nano, "currency": commitment.currency, "status": "exact", "flags": flags, "offering_class": kind,
        "rank_price": _ranked(nano, listed["count"], not flags & (APART_MASK | NOT_SOLD)),
        "parts": f"{kind}=1*{commitment.amount:f}",
        "note": f"{commitment.machines} machines committed{until} by {file}; without it {now}",
    }  # fmt: skip
    cursor = db.execute(f"INSERT INTO offer VALUES ({','.join('?' * len(values))})", tuple(values.values()))
    db.execute("INSERT INTO capacity VALUES (?,?)", (cursor.lastrowid, commitment.machines))
