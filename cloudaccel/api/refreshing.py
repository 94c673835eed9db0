"""`refresh`: carry prices in and out, and say what the catalog holds. No network is used here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudaccel import settings
from cloudaccel.catalog import load, snapshot, store
from cloudaccel.catalog.container import MANIFEST
from cloudaccel.catalog.snapshot_write import write_snapshot
from cloudaccel.errors import QueryError, SnapshotMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStatus:
    """What the catalog holds of one provider. Dates are ISO; `as_of` is the oldest price, `as_of_until` the newest."""

    provider: str
    regions: int
    offers: int
    unpriced: int
    as_of: str | None
    as_of_until: str | None
    sources: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListStatus:
    """How reading one price list last went. `ok_at` None: never yet; `error` is empty when it went well.

    `held` counts prices that moved too far and have not been seen on another day.
    """

    scope: str
    tried_at: str
    ok_at: str | None
    error: str
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The catalog in use: its file (None: in memory), its id, each provider's part, and how its lists were read."""

    path: Path | None
    catalog_id: str
    built_from: str
    providers: tuple[ProviderStatus, ...]
    warnings: tuple[str, ...]
    lists: tuple[ListStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a refresh did: what was read, where it was written, and, for price tables, the report of the ingest."""

    source: Path | None
    target: Path
    catalog_id: str | None
    offers: int
    history: int
    report: dict[str, Any] | None


def refresh(
    source: str | Path | None = None, *, out: str | Path | None = None, catalog: str | Path | None = None
) -> Refreshed:
    """Take prices from `source` (a snapshot, or a folder of price tables) into the user's catalog, or write to `out`.

    Without `source`, the catalog in use (`catalog`, when one is named) is written to `out`. The user's catalog is
    replaced in one step or not at all.

    Raises
    ------
    SnapshotMissing, SnapshotCorrupt
        If `source` is not there, or is damaged. Nothing was changed.
    StorageError
        If the target cannot be written. Nothing was changed.
    """
    if source is None and out is None:
        raise QueryError("refresh: pass --from a snapshot, or --out. Live prices: cloudaccel.renew_prices().")
    if source is None:
        return _export(Path(out or ""), catalog)
    if catalog is not None:
        raise QueryError("--catalog names what to answer from, and --from changes the user's catalog. Leave one out.")
    folder = Path(source)
    if not folder.exists():
        raise SnapshotMissing(f"--from {folder}: there is no such file or folder. Check the path.")
    if folder.suffix == ".zip" or (folder / MANIFEST).is_file():
        return _from_snapshot(folder, Path(out) if out else None)
    return _from_tables(folder, Path(out) if out else None)


def status(catalog: str | Path | None = None) -> Status:
    """What the catalog in use holds, by provider."""
    opened = _open(catalog)
    try:
        rows = opened.db.execute(
            "SELECT g.provider, count(*), sum(g.rows), min(g.as_of), max(COALESCE(g.as_of_until, g.as_of)) "
            "FROM segment g GROUP BY 1 ORDER BY 1"
        ).fetchall()
        extra = {
            provider: (unpriced, sources)
            for provider, unpriced, sources in opened.db.execute(
                "SELECT p.provider, sum(o.amount IS NULL), count(DISTINCT o.source) FROM offer o "
                "JOIN place p ON p.id = o.place WHERE o.current GROUP BY 1"
            )
        }
        providers = tuple(
            ProviderStatus(
                provider=provider, regions=regions, offers=offers, as_of=as_of, as_of_until=until,
                unpriced=extra.get(provider, (0, 0))[0], sources=extra.get(provider, (0, 0))[1],
            )
            for provider, regions, offers, as_of, until in rows
        )  # fmt: skip
        return Status(
            path=opened.path, catalog_id=opened.meta["catalog_id"], built_from=opened.meta["built_from"],
            providers=providers, warnings=opened.warnings, lists=_lists(),
        )  # fmt: skip
    finally:
        opened.close()


def _lists() -> tuple[ListStatus, ...]:
    from cloudaccel.catalog.notebook import Notebook

    return tuple(
        ListStatus(
            scope=scope, tried_at=note["tried_at"], ok_at=note["ok_at"], error=note["error"], held=len(note["held"])
        )
        for scope, note in sorted(Notebook(settings.cache_dir()).entries().items())
    )


def _open(catalog: str | Path | None) -> store.Catalog:
    named = str(catalog or settings.load_settings()["catalog"]) or None
    return store.open_catalog(named, settings.cache_dir())


def _export(out: Path, catalog: str | Path | None) -> Refreshed:
    opened = _open(catalog)
    identity = opened.meta["catalog_id"]
    return _refreshed(None, out, identity, export_snapshot(opened, out))


def export_snapshot(opened: store.Catalog, out: Path) -> snapshot.Manifest:
    """Write what `opened` holds as a snapshot, and close it."""
    from cloudaccel.catalog.export import history_rows, offer_rows, sources

    try:
        db = opened.db
        return write_snapshot(
            out, offers=offer_rows(db), history=history_rows(db), sources=sources(db), created_at=_now()
        )
    finally:
        opened.close()


def _from_snapshot(folder: Path, out: Path | None) -> Refreshed:
    manifest = snapshot.verify(folder)
    if out is None:
        return _install(folder, [folder], manifest, None)
    written = write_snapshot(
        out,
        offers=snapshot.iter_offers(folder, manifest),
        history=snapshot.iter_history(folder, manifest),
        sources=manifest.sources,
        created_at=datetime.fromisoformat(manifest.created_at),
    )
    return _refreshed(folder, out, None, written)


def _from_tables(folder: Path, out: Path | None) -> Refreshed:
    from cloudaccel.catalog.ingest import ingest

    found = ingest(folder)
    report: dict[str, Any] = found.report.as_dict()
    if not found.offers:
        raise SnapshotMissing(
            f"--from {folder}: it has neither a {MANIFEST} nor a price table with offers. "
            "See docs/reference/snapshot.md and docs/reference/price-tables.md."
        )
    if out is not None:
        written = write_snapshot(
            out, offers=found.offers, history=found.history, sources=found.sources, created_at=_now()
        )
        return _refreshed(folder, out, None, written, report)
    import tempfile

    with tempfile.TemporaryDirectory(prefix="cloudaccel-") as temporary:
        snapshot_folder = Path(temporary) / "snapshot"
        written = write_snapshot(
            snapshot_folder, offers=found.offers, history=found.history, sources=found.sources, created_at=_now()
        )
        return _install(folder, [snapshot_folder], written, report)


def _install(
    source: Path, folders: list[Path], manifest: snapshot.Manifest, report: dict[str, Any] | None
) -> Refreshed:
    """Build the user's catalog of the bundled snapshot with the new one over it."""
    target = settings.cache_dir() / "catalog.sqlite"
    catalog_id = load.build_file(target, [store.bundled_snapshot(), *folders], built_from=str(source.absolute()))
    return _refreshed(source, target, catalog_id, manifest, report)


def _refreshed(
    source: Path | None,
    target: Path,
    catalog_id: str | None,
    manifest: snapshot.Manifest,
    report: dict[str, Any] | None = None,
) -> Refreshed:
    return Refreshed(
        source=source,
        target=target,
        catalog_id=catalog_id,
        offers=_rows(manifest.files, "offers"),
        history=_rows(manifest.files, "history"),
        report=report,
    )


def _rows(files: Iterable[snapshot.SnapshotFile], kind: str) -> int:
    return sum(file.rows for file in files if file.kind == kind)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
