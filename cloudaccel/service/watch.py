"""Which catalog answers now: its id is read once for each file that is published, not once for each request."""

import os
import threading
from pathlib import Path

from cloudaccel import settings
from cloudaccel.catalog.session import open_session
from cloudaccel.catalog.store import bundled_snapshot

_Mark = tuple[str, int, int, int]


class Watched:
    """The catalog that `open_session` would open. A published file is never written again, only replaced as a whole."""

    def __init__(self, catalog: str | Path | None) -> None:
        self._catalog = catalog
        self._seen: tuple[tuple[_Mark | None, ...], str] | None = None
        self._lock = threading.Lock()

    def id(self) -> str:
        """Id of the catalog; "" when a price file lies over it, which may be edited at any moment."""
        marks = self._marks()
        seen = self._seen
        if seen is not None and marks is not None and seen[0] == marks:
            return seen[1]
        with open_session(self._catalog) as session:
            found = "" if session.overlay is not None else session.catalog.meta["catalog_id"]
        # What was replaced while it was being read is read again at the next request.
        if marks is not None and found and self._marks() == marks:
            with self._lock:
                self._seen = marks, found
        return found

    def _marks(self) -> tuple[_Mark | None, ...] | None:
        """What tells one published file from another; None for what is read anew each time."""
        configured = settings.load_settings()
        if configured["price_file"]:
            return None
        named = str(self._catalog or configured["catalog"])
        if not named:
            refreshed = settings.cache_dir() / "catalog.sqlite"
            return _mark(refreshed), _mark(bundled_snapshot() / "manifest.json")
        path = Path(named)
        if path.suffix.lower() in (".csv", ".zip") or not path.is_file():
            return None
        return (_mark(path),)


def _mark(path: Path) -> _Mark | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return str(path), found.st_ino, found.st_mtime_ns, found.st_size
