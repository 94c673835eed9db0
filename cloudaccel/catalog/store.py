"""Where the catalog is, opening it, and mending it when it is damaged.

The user's catalog is a cache of the bundled snapshot, named after that snapshot's content, until ``refresh`` writes
``catalog.sqlite`` beside it, which then goes first. Everything here can be deleted and comes back by itself.
"""

import os
import sqlite3
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cloudaccel.catalog.schema import SCHEMA_VERSION
from cloudaccel.errors import SnapshotCorrupt, SnapshotMissing, StorageError

_HEADER = b"SQLite format 3\x00"
Version = tuple[int, int, int]
META = frozenset({"schema", "catalog_id", "built_from", "as_of", "as_of_until"})  # keys of the table meta


class Catalog:
    """An open catalog. `path` is None when it lives in memory; `warnings` are for stderr, each one sentence.

    `version` tells its file from another one at that path.
    """

    def __init__(
        self, db: sqlite3.Connection, path: Path | None, meta: Mapping[str, str], warnings: tuple[str, ...] = (),
        version: "Version | None" = None,
    ) -> None:  # fmt: skip
        self.db = db
        self.path = path
        self.meta = meta
        self.warnings = warnings
        self.version = version

    def close(self) -> None:
        """Close the file."""
        self.db.close()


@contextmanager
def closed_on_error(db: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """`db`, closed only when the block raises: until then whoever fills it owns it, afterwards whoever gets it."""
    try:
        yield db
    except BaseException:
        db.close()
        raise


def clock_warning(newest: str | None, today: str) -> str | None:
    """What to say where prices are dated after today (both ISO, UTC): the clock is behind, or was ahead once."""
    if not newest or newest <= today:
        return None
    return f"prices are dated up to {newest}, after today ({today}): ages cannot be told. Check the clock."


def bundled_snapshot() -> Path:
    """The snapshot that ships with the product: inside the package in a wheel, ``pricing_cache/`` in a checkout.

    Raises
    ------
    SnapshotMissing
        If neither is there.
    """
    package = Path(__file__).parent.parent
    for folder in (package / "_bundled", package.parent / "pricing_cache"):
        if (folder / "manifest.json").is_file():
            return folder
    raise SnapshotMissing(
        "this installation carries no prices (no bundled manifest.json). Install cloudaccel again, or pass --catalog."
    )


def open_catalog(where: str | None, cache: Path) -> Catalog:
    """Open the catalog named by `where` (file, snapshot folder, ``.zip``, price file), else the user's own in `cache`.

    Raises
    ------
    SnapshotMissing, SnapshotCorrupt
        If `where` does not exist, or is damaged. The user's own catalog is rebuilt instead.
    """
    if where:
        return _open_named(Path(where))
    refreshed = cache / "catalog.sqlite"
    while (version := version_of(refreshed)) is not None:
        catalog = open_file(refreshed)
        if catalog is not None:
            return catalog
        if version_of(refreshed) == version and not os.access(refreshed, os.R_OK):
            words = f"the refreshed catalog {refreshed} may not be read by this user, so its prices are left out."
            return _with_warning(_open_bundled(cache), f"{words} Mend its mode, or set CLOUDACCEL_CACHE_DIR.")
        aside = _set_aside(refreshed, version)
        if aside is not None:
            words = f"the refreshed catalog was damaged and is kept as {aside}; run cloudaccel refresh."
            return _with_warning(_open_bundled(cache), words)
    return _open_bundled(cache)


def version_of(path: Path) -> Version | None:
    """What tells the file at `path` from another one; None where there is none. No published file is ever changed."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def check_ours(refreshed: Path) -> None:
    """Refuse to replace a refreshed catalog that this user may not read: nobody knows which prices would be lost.

    Raises
    ------
    StorageError
        If it is there and may not be read.
    """
    if os.path.exists(refreshed) and not os.access(refreshed, os.R_OK):
        raise StorageError(
            f"the refreshed catalog {refreshed} may not be read by this user, and is not replaced: its prices would be "
            "lost. Mend its mode, move it away, or set CLOUDACCEL_CACHE_DIR."
        )


def bundled_catalog_path(cache: Path, snapshot: Path) -> Path:
    """Where the catalog built from `snapshot` is kept. The name changes whenever the snapshot or the schema does."""
    stamp = zlib.crc32((snapshot / "manifest.json").read_bytes())
    return cache / f"bundled-{SCHEMA_VERSION}-{stamp:08x}.sqlite"


def _open_bundled(cache: Path) -> Catalog:
    snapshot = bundled_snapshot()
    path = bundled_catalog_path(cache, snapshot)
    catalog = open_file(path)
    if catalog is not None:
        return catalog
    from cloudaccel.catalog.load import build_file, build_in_memory  # once per installation

    try:
        build_file(path, [snapshot])
    except StorageError as error:
        return _with_warning(build_in_memory([snapshot]), f"{error} Answering from memory.")
    catalog = open_file(path)
    if catalog is None:
        raise SnapshotCorrupt(f"the catalog just built at {path} cannot be read back. Check the disk.")
    return catalog


def _open_named(path: Path) -> Catalog:
    if not os.path.exists(path):
        raise SnapshotMissing(f"--catalog {path}: there is no such file or folder. Check the path.")
    if path.is_file() and path.suffix.lower() not in (".csv", ".zip"):
        catalog = open_file(path)
        if catalog is None and not os.access(path, os.R_OK):
            raise StorageError(f"--catalog {path} may not be read by this user. Mend its mode, or name another.")
        if catalog is None:
            raise SnapshotCorrupt(
                f"--catalog {path} is not a catalog of this version, or is damaged. "
                "Pass a catalog file, a snapshot folder or .zip, or a price file (.csv)."
            )
        return catalog
    if path.suffix.lower() == ".csv":
        from cloudaccel.catalog.load import build_rows_in_memory
        from cloudaccel.catalog.pricefile import read_price_file

        rows, sources, warnings = read_price_file(path)
        catalog = build_rows_in_memory(rows, sources, built_from=str(path))
        return Catalog(catalog.db, None, catalog.meta, tuple(warnings))
    from cloudaccel.catalog.load import build_in_memory

    return build_in_memory([path])


def open_file(path: Path) -> Catalog | None:
    """The catalog at `path`, or None when it is missing, damaged, cut short, or of another schema."""
    version = _whole(path)
    if version is None:
        return None
    # immutable: nobody ever writes into a published file, so no lock is needed and a read-only folder will do.
    # One thread at a time uses it: a service lends it to whichever thread answers, and closes it from its own.
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        opened = sqlite3.connect(address, uri=True, check_same_thread=False)
    except sqlite3.OperationalError:  # another process has put it aside since
        return None
    with closed_on_error(opened) as db:
        try:
            meta = dict(db.execute("SELECT key, value FROM meta"))
        except sqlite3.DatabaseError:
            meta = {}
    if meta.get("schema") != str(SCHEMA_VERSION) or not meta.keys() >= META:
        db.close()
        return None
    return Catalog(db, path, meta, version=version)


def _whole(path: Path) -> Version | None:
    """The file, where it is as long as its header says; SQLite itself would notice only when it meets the gap."""
    version = version_of(path)
    try:
        with path.open("rb") as file:
            header = file.read(100)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return None
    page_size = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    length = pages * (65536 if page_size == 1 else page_size)
    return version if len(header) == 100 and header.startswith(_HEADER) and size == length else None


_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})


def is_damage(error: sqlite3.Error) -> bool:
    """Whether `error` tells of a damaged file, and not of a wrong question (which a rebuilt file answers no better)."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return False
    return code & 0xFF in _DAMAGE or str(error).startswith("no such ")  # the upper bits only say where


def mend(catalog: Catalog, cache: Path) -> Catalog:
    """Open the user's catalog anew after a read failed: the damaged file is put aside and built again.

    Raises
    ------
    SnapshotCorrupt
        If `catalog` is not in the user's cache: what the user named is never replaced.
    """
    catalog.close()
    if catalog.path is None or catalog.path.parent != cache:
        raise SnapshotCorrupt(f"the catalog {catalog.path or 'in memory'} is damaged. Build it again, or name another.")
    aside = _set_aside(catalog.path, catalog.version)
    if aside is None:
        words = "the catalog was damaged; another one is in its place by now."
        return _with_warning(open_catalog(None, cache), words)
    if aside == catalog.path:
        from cloudaccel.catalog.load import build_in_memory

        words = f"the catalog {aside} is damaged and cannot be replaced. Answering from memory."
        return _with_warning(build_in_memory([bundled_snapshot()]), words)
    return _with_warning(open_catalog(None, cache), f"the catalog was damaged and has been built again (old: {aside}).")


def _set_aside(path: Path, version: Version | None) -> Path | None:
    """Where the damaged file is now: beside its old place, or still there when the folder cannot be written.

    None: another one is at `path`, which somebody has put there since the damage was seen.
    """
    aside = path.with_suffix(".damaged")
    if version_of(path) not in (version, None):
        return None
    try:
        path.replace(aside)
    except FileNotFoundError:
        return aside  # another process has seen the damage too
    except OSError:
        return path
    return aside


def _with_warning(catalog: Catalog, warning: str) -> Catalog:
    return Catalog(catalog.db, catalog.path, catalog.meta, (*catalog.warnings, warning), catalog.version)
