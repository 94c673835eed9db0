"""Which catalog answers now, and open files for many requests: others are opened only when one is published."""

import os
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cloudaccel import settings
from cloudaccel.catalog.session import Session, open_session
from cloudaccel.catalog.store import bundled_snapshot

_Mark = tuple[str, int, int, int]
Marks = tuple[_Mark | None, ...]


class Watched:
    """The catalog that `open_session` would open. A published file is never written again, only replaced as a whole.

    As many stay open as were asked at once; `close` closes them, and whoever asks later opens another.
    """

    def __init__(self, catalog: str | Path | None) -> None:
        self._catalog = catalog
        self._config = settings.config_path()
        self._configured = _mark(self._config)
        self._paths = _paths(catalog)
        self._dated = bool(settings.load_settings()["adjustments"])
        self._seen: tuple[Marks, str] | None = None
        self._idle: list[_Held] = []
        self._lock = threading.Lock()

    def id(self) -> str:
        """Id of the catalog; "" when a price file lies over it, which may be edited at any moment."""
        marks = self._marks()
        if marks is None:
            return ""
        seen = self._seen
        if seen is not None and seen[0] == marks:
            return seen[1]
        with self.session() as session:
            found = session.catalog.meta["catalog_id"]
        # What was replaced while it was being read is read again at the next request.
        if self._marks() == marks:
            self._seen = marks, found
        return found

    @contextmanager
    def session(self) -> Generator[Session]:
        """An open catalog, nobody else's while entered: statements that were asked before need not be compiled again.

        Raises
        ------
        PricingError
            If there is no usable catalog.
        """
        marks = self._marks()
        if marks is None:
            with open_session(self._catalog) as session:
                yield session
            return
        held = self._taken(marks) or _Held(marks, self._catalog)
        try:
            yield held.session
        finally:
            if held.session.catalog is held.catalog:
                with self._lock:
                    self._idle.append(held)
            else:  # it has mended itself
                held.close()

    def close(self) -> None:
        """Close what nobody asks now."""
        with self._lock:
            idle, self._idle = self._idle, []
        for held in idle:
            held.close()

    def _taken(self, marks: Marks) -> "_Held | None":
        """The one that was used last, which has the most in its memory; those of another file are closed."""
        with self._lock:
            outdated = [held for held in self._idle if held.marks != marks]
            self._idle = [held for held in self._idle if held.marks == marks]
            found = self._idle.pop() if self._idle else None
        for held in outdated:
            held.close()
        return found

    def _marks(self) -> Marks | None:
        """What tells one published file from another; None for what is read anew each time."""
        configured = _mark(self._config)
        if configured != self._configured:
            self._paths, self._configured = _paths(self._catalog), configured
            self._dated = bool(settings.load_settings()["adjustments"])
        if self._paths is None:
            return None
        marks = tuple(map(_mark, self._paths))
        if not any(marks):
            return None
        # A discount begins and ends with a day, whatever file is published.
        return (*marks, (str(datetime.now(UTC).date()), 0, 0, 0)) if self._dated else marks


class _Held:
    """An open session until `close`."""

    def __init__(self, marks: Marks, catalog: str | Path | None) -> None:
        self._stack = ExitStack()
        self.marks = marks
        self.session = self._stack.enter_context(open_session(catalog))
        self.catalog = self.session.catalog

    def close(self) -> None:
        self._stack.close()


def _paths(catalog: str | Path | None) -> tuple[Path, ...] | None:
    """Files that are replaced when other prices are published; None when a file may be edited in its place."""
    configured = settings.load_settings()
    if configured["price_file"]:
        return None
    named = str(catalog or configured["catalog"])
    own = [Path(configured["adjustments"])] if configured["adjustments"] else []
    if not named:
        return settings.cache_dir() / "catalog.sqlite", bundled_snapshot() / "manifest.json", *own
    path = Path(named)
    return None if path.suffix.lower() in (".csv", ".zip") or not path.is_file() else (path, *own)


def _mark(path: Path) -> _Mark | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return str(path), found.st_ino, found.st_mtime_ns, found.st_size
