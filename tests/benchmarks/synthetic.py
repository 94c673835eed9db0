"""Catalogs of any size with the real schema, made in seconds: for measuring growth, never for prices."""

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from cloudaccel.catalog.build import publishing
from cloudaccel.catalog.schema import INDEXES, SCHEMA_VERSION
from cloudaccel.facts.accelerators import all_accelerators
from cloudaccel.model import Accelerator

COUNTRIES = ("US", "DE", "FR", "SE", "NL", "IE", "JP", "GB", "BR", "IN", "SG", "AU", "CA", "CH")
MARKETS = ("on_demand", "spot", "reserved", "savings_plan", "flex_start")
COUNTS = (1, 2, 4, 8)
REGIONS = 270
_ROW = "INSERT INTO offer VALUES (NULL" + ",?" * 25 + ")"


def make_catalog(path: Path, offers: int, *, seed: int = 7) -> None:
    """Write a catalog of `offers` current offers over 270 regions and five markets to `path`."""
    with publishing(path) as db:
        shapes = _shapes(db)
        places = _places(db)
        db.execute("INSERT INTO source VALUES ('synthetic', 'synthetic', '', NULL, 'none', NULL)")
        db.executemany(_ROW, _rows(offers, shapes, places, random.Random(seed)))  # noqa: S311 - not a secret
        db.executemany(
            "INSERT INTO meta VALUES (?,?)",
            [("schema", str(SCHEMA_VERSION)), ("catalog_id", f"synthetic-{offers}"), ("as_of", "2026-01-01"),
             ("as_of_until", "2026-01-01"), ("built_from", "synthetic")],
        )  # fmt: skip
        db.executescript(INDEXES)
        db.execute("ANALYZE")


def _shapes(db: sqlite3.Connection) -> list[tuple[int, Accelerator, int]]:
    chosen = [a for a in all_accelerators() if a.kind in ("gpu", "tpu", "neuron")][:40]
    shapes: list[tuple[int, Accelerator, int]] = []
    for accelerator in chosen:
        for count in COUNTS:
            name = f"{accelerator.family.lower()}-{count}"
            memory, cpus = accelerator.memory_gib, count * 16.0
            cursor = db.execute(
                "INSERT INTO shape VALUES (NULL,?,?,?,?,?,?,?,?,?,?,?,?)",
                ("acme", "vm", name, accelerator.id, accelerator.id, accelerator.family, str(count), memory, 1,
                 "instance", cpus, cpus * 8),
            )  # fmt: skip
            shapes.append((cursor.lastrowid or 0, accelerator, count))
    return shapes


def _places(db: sqlite3.Connection) -> list[int]:
    ids: list[int] = []
    for number in range(REGIONS):
        country = COUNTRIES[number % len(COUNTRIES)]
        cursor = db.execute(
            "INSERT INTO place VALUES (NULL,?,?,?,?,?)", ("acme", "acme", f"region-{number}", country, "US")
        )
        ids.append(cursor.lastrowid or 0)
    return ids


def _rows(
    offers: int, shapes: list[tuple[int, Accelerator, int]], places: list[int], rng: random.Random
) -> Iterator[tuple[object, ...]]:
    for number in range(offers):
        shape, accelerator, count = shapes[rng.randrange(len(shapes))]
        market = MARKETS[rng.randrange(len(MARKETS))]
        each = rng.randrange(100_000_000, 12_000_000_000)
        yield (
            f"{number:016x}", 1, places[rng.randrange(len(places))], shape, f"zone-{number}", accelerator.id, market,
            float(count), each, each * count, "USD", None, "exact", None, None, None, None, "listed", None,
            "2026-01-01", None, None, "synthetic", None, 0,
        )  # fmt: skip
