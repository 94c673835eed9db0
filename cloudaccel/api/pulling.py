"""`pull_catalog`: take the catalog of another service, whole and checked, when it is another one than ours."""

import os
from contextlib import closing
from pathlib import Path

from cloudaccel import settings
from cloudaccel.catalog import store
from cloudaccel.catalog.checksums import catalog_faults
from cloudaccel.catalog.locking import locked
from cloudaccel.catalog.scratch import ROOM, working
from cloudaccel.client import Client
from cloudaccel.errors import SnapshotCorrupt, StorageError


def pull_catalog(service: Client) -> str | None:
    """Put the catalog of `service` into the place of the user's own; its id, or None when it is the one we have.

    Raises
    ------
    ProviderError
        If the service does not answer, or has no file to give.
    SnapshotCorrupt
        If what came is not the catalog that was announced, or a checksum in it is wrong; ours stays.
    StorageError
        If it cannot be kept.
    """
    cache = settings.cache_dir()
    with closing(store.open_catalog(None, cache)) as ours:
        known = ours.meta["catalog_id"]
    try:
        with working(cache / ROOM) as folder:
            new = folder / "catalog.sqlite"
            found = service.catalog_file(new, known)
            if found is None:
                return None
            _check(new, found)
            # A refresh under way here would start from one file and replace another.
            with locked(cache / "refresh.lock"):
                store.check_ours(cache / "catalog.sqlite")
                os.replace(new, cache / "catalog.sqlite")
            return found
    except OSError as error:
        raise StorageError(f"the catalog cannot be kept in {cache}: {error.strerror}. Free the folder.") from error


def _check(file: Path, announced: str) -> None:
    with closing(store.open_catalog(str(file), file.parent)) as opened:
        faults = catalog_faults(opened.db, opened.meta)
        if opened.meta["catalog_id"] != announced:
            faults = (*faults, "it is not the catalog that was announced")
    if faults:
        raise SnapshotCorrupt(f"the catalog that was pulled is damaged: {'; '.join(faults)}. Ours stays.")
