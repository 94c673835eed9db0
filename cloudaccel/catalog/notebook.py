"""What refreshes remember between each other: when each list was last read, why not, and prices not believed yet.

A file of its own beside the catalog: losing it loses no price, so one that is not as it was written counts as empty.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cloudaccel.catalog.sealed import sealed, unsealed
from cloudaccel.errors import StorageError
from cloudaccel.files import replace_text
from cloudaccel.protocols import Scope

NAME = "refresh.json"
_SCHEMA = 2
_ANOTHER_DAY = timedelta(hours=20)  # a daily refresh is never exactly a day later


class Notebook:
    """Notes by scope. Times are aware UTC."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        found: Any = unsealed(self._path) or {}
        self._scopes: dict[str, Mapping[str, Any]] = found["scopes"] if found.get("schema") == _SCHEMA else {}

    def entry(self, scope: Scope) -> Mapping[str, Any]:
        """The note on `scope`: ``tried_at``, ``ok_at``, ``error``, ``held``, ``asked``; empty when there is none.

        ``asked``: what answered when the list was last taken, the sources of its rows and their number.
        """
        return self._scopes.get(_key(scope), {})

    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        """Every note, by ``provider partition region``."""
        return self._scopes

    def confirmed(self, scope: Scope, now: datetime) -> dict[str, str]:
        """Amounts by offer id that were first seen at least `_ANOTHER_DAY` ago and not believed then."""
        held = self.entry(scope).get("held", {})
        return {i: amount for i, (amount, since) in held.items() if now - datetime.fromisoformat(since) >= _ANOTHER_DAY}

    def note(
        self,
        scope: Scope,
        now: datetime,
        *,
        error: str = "",
        held: Mapping[str, str] | None = None,
        asked: Mapping[str, Any] | None = None,
    ) -> None:
        """Put down how reading `scope` went. A failed reading says nothing about prices that are held back."""
        old = self.entry(scope)
        before = old.get("held", {})
        kept = before
        if held is not None:
            kept = {i: _first_seen(before.get(i), a, now) for i, a in held.items()}
        self._scopes[_key(scope)] = {
            "tried_at": now.isoformat(), "ok_at": old.get("ok_at") if error else now.isoformat(),
            "error": error, "held": kept, "asked": old.get("asked", {}) if asked is None else asked,
        }  # fmt: skip

    def save(self) -> None:
        """Write it, whole or not at all. Raises `StorageError`."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self._path, sealed({"schema": _SCHEMA, "scopes": self._scopes}), lasting=True)
        except OSError as error:
            raise StorageError(
                f"notes of the refresh cannot be written to {self._path}: {error.strerror or error}. Free some space, "
                "make the folder writable, remove what is in the file's place, or name another folder with "
                "CLOUDACCEL_CACHE_DIR."
            ) from error


def _first_seen(before: Sequence[str] | None, amount: str, now: datetime) -> list[str]:
    """The amount and when it was first seen; one from the future was noted under a clock that was wrong."""
    if before is not None and before[0] == amount and datetime.fromisoformat(before[1]) <= now:
        return list(before)
    return [amount, now.isoformat()]


def _key(scope: Scope) -> str:
    return f"{scope.provider} {scope.partition} {scope.region or '*'}"
