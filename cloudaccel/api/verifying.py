"""`refresh --verify`: whether the prices here are still those that were written, and by whom they were signed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloudaccel import settings
from cloudaccel.catalog import checksums, snapshot, store
from cloudaccel.catalog.signing import Signature
from cloudaccel.errors import ConfigError, SnapshotCorrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What became of checking one store of prices.

    Attributes
    ----------
    what
        ``catalog``: the file that answers come from; ``bundled``: the snapshot that ships with the product;
        ``snapshot``: the one that was named.
    faults
        What is wrong, each in a few words; empty when every checksum agrees.
    signature
        ``proved``, ``unsigned``, ``unchecked``, ``stranger`` or ``wrong``; None for a catalog, which is made here and
        not signed. `signed_by`: the short name of the key, or empty.
    """

    what: str
    path: Path
    catalog_id: str | None
    offers: int
    faults: tuple[str, ...]
    signature: str | None = None
    signed_by: str = ""


def verify_prices(catalog: str | Path | None = None, *, trusted_key: str | Path | None = None) -> tuple[Verified, ...]:
    """Check every checksum of the catalog in use and of the bundled snapshot, or of `catalog` alone; nothing is mended.

    Parameters
    ----------
    trusted_key
        File of public keys (PEM) that are believed; else the setting ``trusted_key``.

    Raises
    ------
    SnapshotMissing
        If `catalog` is not there.
    ConfigError
        If the keys cannot be read, or `catalog` is a price file, which carries no checksum.
    """
    trusted = trusted_keys(trusted_key)
    named = str(catalog or settings.load_settings()["catalog"])
    if named:
        return (_named(Path(named), trusted),)
    return tuple(_stored(trusted))


def trusted_keys(named: str | Path | None) -> Path | None:
    """The file of public keys that are believed: `named`, else the setting; None when there is none."""
    text = str(named or settings.load_settings()["trusted_key"])
    return Path(text) if text else None


def _stored(trusted: Path | None) -> Iterator[Verified]:
    cache, bundled = settings.cache_dir(), store.bundled_snapshot()
    for path in (cache / "catalog.sqlite", store.bundled_catalog_path(cache, bundled)):
        if path.exists():
            yield _catalog(path)
            break
    yield _snapshot("bundled", bundled, trusted)


def _named(path: Path, trusted: Path | None) -> Verified:
    if path.suffix.lower() == ".csv":
        raise ConfigError(f"--verify: {path} is a price file, which carries no checksum. Name a catalog or snapshot.")
    if path.is_file() and path.suffix.lower() != ".zip":
        return _catalog(path)
    return _snapshot("snapshot", path, trusted)


def _catalog(path: Path) -> Verified:
    try:
        opened = store.open_catalog(str(path), path.parent)
    except SnapshotCorrupt:
        fault = "it is not a catalog of this version, or is cut short or damaged"
        return Verified(what="catalog", path=path, catalog_id=None, offers=0, faults=(fault,))
    try:
        faults = checksums.catalog_faults(opened.db, opened.meta)
        offers = 0 if faults else int(opened.db.execute("SELECT COALESCE(sum(rows), 0) FROM segment").fetchone()[0])
        return Verified(
            what="catalog", path=path, catalog_id=opened.meta["catalog_id"], offers=offers, faults=faults
        )  # fmt: skip
    finally:
        opened.close()


def _snapshot(what: str, path: Path, trusted: Path | None) -> Verified:
    signature = Signature("wrong")
    try:
        signature = snapshot.signature(path, trusted)
        manifest = snapshot.verify(path)
    except SnapshotCorrupt as error:
        faults: tuple[str, ...] = (str(error),)
        offers = 0
    else:
        faults = ()
        offers = sum(file.rows for file in manifest.files if file.kind == "offers")
    if signature.state in ("wrong", "stranger"):
        faults = (*faults, signature.words())
    return Verified(
        what=what, path=path, catalog_id=None, offers=offers, faults=faults,
        signature=signature.state, signed_by=signature.key,
    )  # fmt: skip
