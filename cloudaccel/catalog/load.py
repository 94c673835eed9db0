"""From snapshots and price rows to a catalog, in a file or in memory."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cloudaccel.catalog import snapshot
from cloudaccel.catalog.build import Builder, publishing, segments
from cloudaccel.catalog.schema import DDL
from cloudaccel.catalog.store import Catalog, closed_on_error
from cloudaccel.facts import places
from cloudaccel.model import Source


def build_file(target: Path, folders: Sequence[Path], *, built_from: str = "the bundled snapshot") -> str:
    """Publish at `target` the catalog of the snapshots in `folders`, later over earlier; returns the catalog id."""
    with publishing(target) as db:
        return _fill(db, folders, built_from)


def build_in_memory(folders: Sequence[Path]) -> Catalog:
    """The same catalog without a file."""
    with closed_on_error(_connected()) as db:
        db.executescript(DDL)
        _fill(db, folders, ";".join(str(folder) for folder in folders))
        return _catalog(db)


def build_rows_in_memory(
    rows: Iterable[Mapping[str, str]],
    sources: Iterable[Source],
    *,
    built_from: str,
    countries: Mapping[str, str] | None = None,
) -> Catalog:
    """A catalog of a few rows in the columns of the snapshot's offers; `countries` by region, for sites in no table."""
    with closed_on_error(_connected()) as db:
        db.executescript(DDL)
        builder = builder_of(db)
        if countries is not None:
            builder = Builder(db, lambda _provider, region, _zone: countries.get(region), _operator_country)
        builder.add_sources(sources)
        _put_segments(builder, rows)
        builder.finish(built_from=built_from)
        return _catalog(db)


def _connected() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", check_same_thread=False)  # see store.open_file


def _catalog(db: sqlite3.Connection) -> Catalog:
    return Catalog(db, None, dict(db.execute("SELECT key, value FROM meta")))


def builder_of(db: sqlite3.Connection) -> Builder:
    """A builder for `db` that knows places and countries."""
    return Builder(db, places.country_of, _operator_country)


def _fill(db: sqlite3.Connection, folders: Sequence[Path], built_from: str) -> str:
    builder = builder_of(db)
    for folder in folders:
        manifest = snapshot.read_manifest(folder)
        builder.add_sources(manifest.sources)
        # History first: the version of a current offer then extends what the history already says.
        builder.add_history(snapshot.iter_history(folder, manifest))
        for segment, rows in segments(snapshot.iter_offers(folder, manifest)):
            builder.replace_segment(segment, rows)
    return builder.finish(built_from=built_from)


def _put_segments(builder: Builder, rows: Iterable[Mapping[str, str]]) -> None:
    ordered = sorted(rows, key=lambda row: (row["provider"], row["partition"], row["region"]))
    for segment, members in segments(ordered):
        builder.replace_segment(segment, members)


def _operator_country(provider: str, region: str) -> str | None:
    place = places.region(provider, region)
    if place is not None:
        return place.operator_country
    seller = places.providers().get(provider)
    return seller.operator_country if seller else None
