"""`refresh`: carry prices in and out, and say what the catalog holds; only a snapshot's address opens a connection."""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudaccel import settings
from cloudaccel.api.verifying import trusted_keys
from cloudaccel.catalog import carried, load, snapshot, store
from cloudaccel.catalog.container import MANIFEST
from cloudaccel.catalog.download import download, is_address, shown
from cloudaccel.catalog.locking import locked
from cloudaccel.catalog.scratch import scratch, tidy
from cloudaccel.catalog.signing import Signer, signer_of
from cloudaccel.catalog.snapshot_write import write_snapshot
from cloudaccel.errors import ConfigError, QueryError, SnapshotCorrupt, SnapshotMissing
from cloudaccel.model.quarantine import quarantine_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStatus:
    """What the catalog holds of one provider. Dates are ISO; `as_of` is the oldest price, `as_of_until` the newest.

    `quarantined` counts the prices that are held back, by the code of why (`cloudaccel.model.quarantine`).
    """

    provider: str
    regions: int
    offers: int
    unpriced: int
    as_of: str | None
    as_of_until: str | None
    sources: int
    quarantined: Mapping[str, int] = field(default_factory=dict[str, int])


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
    """What a refresh did: what was read, where it was written, and, for price tables, the report of the ingest.

    `signature` says what that of the snapshot read is worth: ``proved``, ``unsigned``, ``unchecked`` (no trusted key is
    given); None when no snapshot was read. `signed_by` is the short name of the key. `unchanged`: the address has the
    snapshot still that the catalog in use was made of; nothing was sent or written.
    """

    source: Path | str | None
    target: Path
    catalog_id: str | None
    offers: int
    history: int
    report: dict[str, Any] | None
    signature: str | None = None
    signed_by: str = ""
    unchanged: bool = False


def refresh(
    source: str | Path | None = None,
    *,
    out: str | Path | None = None,
    catalog: str | Path | None = None,
    trusted_key: str | Path | None = None,
    verify: bool = False,
    sign_with: str | None = None,
) -> Refreshed:
    """Take prices from `source` (a snapshot, or a folder of price tables) into the user's catalog, or write to `out`.

    Without `source`, the catalog in use (`catalog`, when one is named) is written to `out`. The user's catalog is
    replaced in one step or not at all. `source` may be the address of a snapshot's ``.zip`` (https).

    Parameters
    ----------
    trusted_key
        File of public keys (PEM); else the setting ``trusted_key``. With one, only snapshots that it signed are taken.
    verify
        Insist on such a proof: without a trusted key nothing is taken.
    sign_with
        Sign the snapshot written to `out` with this private key (PEM): a file, or ``env:NAME``.

    Raises
    ------
    SnapshotMissing, SnapshotCorrupt
        If `source` is not there, or is damaged. Nothing was changed.
    ConfigError
        If `source` may not be read, or is nothing that holds prices. Nothing was changed.
    StorageError
        If the target cannot be written, or may not be read by this user and would be lost. Nothing was changed.
    """
    if source is None and out is None:
        raise QueryError("refresh: pass --from a snapshot, or --out. Live prices: cloudaccel.renew_prices().")
    if sign_with and not out:
        raise QueryError("--sign-with signs the snapshot that --out writes. Give --out, or leave --sign-with out.")
    sign = signer_of(sign_with) if sign_with else None
    tidy(settings.cache_dir())
    if source is None:
        if verify:
            raise QueryError("--verify proves what --from takes in, or alone what is stored. Leave --out out.")
        return _export(Path(out or ""), catalog, sign)
    if catalog is not None:
        raise QueryError("--catalog names what to answer from, and --from changes the user's catalog. Leave one out.")
    trusted = trusted_keys(trusted_key)
    if verify and trusted is None:
        raise ConfigError(
            "--verify: no key is trusted, and hashes that travel with the data prove nothing. Name the publisher's "
            "public key with --trusted-key FILE or CLOUDACCEL_TRUSTED_KEY, or leave --verify out."
        )
    if is_address(str(source)):
        return _from_address(str(source), Path(out) if out else None, trusted, sign)
    folder = Path(source)
    if not folder.exists():
        raise SnapshotMissing(f"--from {folder}: there is no such file or folder. Check the path.")
    if folder.suffix == ".zip" or (folder / MANIFEST).is_file():
        return _from_snapshot(folder, Path(out) if out else None, trusted, sign)
    if not folder.is_dir():
        raise ConfigError(
            f"--from {folder}: it is neither a snapshot (a folder or a .zip) nor a folder of price tables. "
            "Prices of one file: quote --price-file."
        )
    if trusted is not None:
        raise SnapshotCorrupt(
            f"--from {folder}: a key is trusted, and price tables are not signed. Take in a signed snapshot, or run "
            "without the setting trusted_key."
        )
    return _from_tables(folder, Path(out) if out else None, sign)


def status(catalog: str | Path | None = None) -> Status:
    """What the catalog in use holds, by provider."""
    opened = _open(catalog)
    try:
        return _held(opened)
    except sqlite3.DatabaseError as error:
        if not store.is_damage(error):
            raise
        opened = store.mend(opened, settings.cache_dir())
        return _held(opened)
    finally:
        opened.close()


def _held(opened: store.Catalog) -> Status:
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
    held = _quarantined(opened)
    providers = tuple(
        ProviderStatus(
            provider=provider, regions=regions, offers=offers, as_of=as_of, as_of_until=until,
            unpriced=extra.get(provider, (0, 0))[0], sources=extra.get(provider, (0, 0))[1],
            quarantined=held.get(provider, {}),
        )
        for provider, regions, offers, as_of, until in rows
    )  # fmt: skip
    late = store.clock_warning(opened.meta["as_of_until"], datetime.now(UTC).date().isoformat())
    return Status(
        path=opened.path, catalog_id=opened.meta["catalog_id"], built_from=opened.meta["built_from"],
        providers=providers, lists=_lists(),
        warnings=(*opened.warnings, late) if late else opened.warnings,
    )  # fmt: skip


def _quarantined(opened: store.Catalog) -> Mapping[str, Mapping[str, int]]:
    """Provider -> code of why a price is held back -> how many are."""
    found: dict[str, dict[str, int]] = {}
    for provider, note in opened.db.execute(
        "SELECT p.provider, o.note FROM offer o JOIN place p ON p.id = o.place "
        "WHERE o.current AND o.status = 'quarantined'"
    ):
        code = quarantine_reason("quarantined", note or "") or ""
        found.setdefault(provider, {})[code] = found.get(provider, {}).get(code, 0) + 1
    return found


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


def _export(out: Path, catalog: str | Path | None, sign: Signer | None) -> Refreshed:
    opened = _open(catalog)
    identity = opened.meta["catalog_id"]
    return _refreshed(None, out, identity, export_snapshot(opened, out, sign))


def export_snapshot(opened: store.Catalog, out: Path, sign: Signer | None = None) -> snapshot.Manifest:
    """Write what `opened` holds as a snapshot, signed by `sign`, and close it."""
    from cloudaccel.catalog.export import history_rows, offer_rows, sources

    try:
        db = opened.db
        return write_snapshot(
            out, offers=offer_rows(db), history=history_rows(db), sources=sources(db), created_at=_now(), sign=sign
        )
    finally:
        opened.close()


def _from_address(url: str, out: Path | None, trusted: Path | None, sign: Signer | None) -> Refreshed:
    from cloudaccel.api.renewing import connection_of

    if url.startswith("http://") and trusted is None:
        raise ConfigError(
            f"--from {shown(url)}: anybody on the way can change what plain http sends. Use https, or name the "
            "publisher's public key with --trusted-key FILE."
        )
    last = _last_carried(url, trusted) if out is None else None
    with scratch(settings.cache_dir()) as folder:
        file = folder / "snapshot.zip"
        known = last.asked(url) if last else None
        noted = download(url, file, connection_of(settings.load_settings()), known=known)
        if noted is None and last is not None:
            return Refreshed(
                source=shown(url), target=settings.cache_dir() / "catalog.sqlite", catalog_id=last.catalog_id,
                offers=last.offers, history=last.history, report=None, signature=last.signature,
                signed_by=last.signed_by, unchanged=True,
            )  # fmt: skip
        done = _from_snapshot(file, out, trusted, sign, name=shown(url))
    if noted is not None and noted.validator and done.catalog_id is not None:
        made = carried.Carried(
            address=carried.hash_of(url), condition=noted.condition, validator=noted.validator,
            trusted=_trusted_hash(trusted), bundled=_bundled(), catalog_id=done.catalog_id, offers=done.offers,
            history=done.history, signature=done.signature or "", signed_by=done.signed_by,
        )  # fmt: skip
        carried.write(settings.cache_dir(), made)
    return done


def _last_carried(url: str, trusted: Path | None) -> carried.Carried | None:
    """What was taken in last, where it is of this address and these keys, and still the catalog in use."""
    last = carried.read(settings.cache_dir())
    if last is None or (last.address, last.trusted, last.bundled) != (
        carried.hash_of(url), _trusted_hash(trusted), _bundled(),
    ):  # fmt: skip
        return None
    opened = store.open_catalog(None, settings.cache_dir())
    try:
        return last if opened.meta["catalog_id"] == last.catalog_id else None
    finally:
        opened.close()


def _trusted_hash(trusted: Path | None) -> str:
    return carried.hash_of(trusted.read_text(encoding="utf-8")) if trusted else ""


def _bundled() -> str:
    return store.bundled_catalog_path(settings.cache_dir(), store.bundled_snapshot()).name


def _from_snapshot(
    folder: Path, out: Path | None, trusted: Path | None, sign: Signer | None, *, name: str = ""
) -> Refreshed:
    signature = snapshot.signature(folder, trusted)
    wanted = ("proved",) if trusted is not None else ("unsigned", "unchecked")
    if signature.state not in wanted:
        raise SnapshotCorrupt(
            f"--from {name or folder}: the snapshot is not taken: {signature.words()}. Nothing was changed. Fetch it "
            "again, or ask its publisher for a signed one or for their key."
        )
    manifest = snapshot.verify(folder)
    if out is None:
        done = _install(name or folder, [folder], manifest, None)
    else:
        written = write_snapshot(
            out,
            offers=snapshot.iter_offers(folder, manifest),
            history=snapshot.iter_history(folder, manifest),
            sources=manifest.sources,
            created_at=datetime.fromisoformat(manifest.created_at),
            sign=sign,
        )
        done = _refreshed(name or folder, out, None, written)
    return replace(done, signature=signature.state, signed_by=signature.key)


def _from_tables(folder: Path, out: Path | None, sign: Signer | None) -> Refreshed:
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
            out, offers=found.offers, history=found.history, sources=found.sources, created_at=_now(), sign=sign
        )
        return _refreshed(folder, out, None, written, report)
    with scratch(settings.cache_dir()) as working:
        snapshot_folder = working / "snapshot"
        written = write_snapshot(
            snapshot_folder, offers=found.offers, history=found.history, sources=found.sources, created_at=_now()
        )
        return _install(folder, [snapshot_folder], written, report)


def _install(
    source: Path | str, folders: list[Path], manifest: snapshot.Manifest, report: dict[str, Any] | None
) -> Refreshed:
    """Build the user's catalog of the bundled snapshot with the new one over it."""
    cache = settings.cache_dir()
    target = cache / "catalog.sqlite"
    # A refresh of the sellers' lists under way here would start from one file and replace another.
    with locked(cache / "refresh.lock"):
        store.check_ours(target)
        catalog_id = load.build_file(
            target,
            [store.bundled_snapshot(), *folders],
            built_from=source if isinstance(source, str) else str(source.absolute()),
        )
    return _refreshed(source, target, catalog_id, manifest, report)


def _refreshed(
    source: Path | str | None,
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
