"""What refreshes remember between each other: when each list was last read, why not, and prices not believed yet.

A file of its own beside the catalog: losing it loses no price, so a damaged one counts as empty.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from cloudaccel.errors import StorageError
from cloudaccel.protocols import Scope

NAME = "refresh.json"
_FIELDS = {"tried_at", "ok_at", "error", "held", "asked"}
_BYTES = 64 << 20
_ANOTHER_DAY = timedelta(hours=20)  # a daily refresh is never exactly a day later


class Notebook:
    """Notes by scope. Times are aware UTC."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._scopes = _read(self._path)

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
            kept = {i: before[i] if before.get(i, ("",))[0] == a else [a, now.isoformat()] for i, a in held.items()}
        self._scopes[_key(scope)] = {
            "tried_at": now.isoformat(), "ok_at": old.get("ok_at") if error else now.isoformat(),
            "error": error, "held": kept, "asked": old.get("asked", {}) if asked is None else asked,
        }  # fmt: skip

    def save(self) -> None:
        """Write it, whole or not at all. Raises `StorageError`."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".building-", suffix=".json")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"schema": 1, "scopes": self._scopes}, file, indent=1, sort_keys=True)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self._path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)
                raise
        except OSError as error:
            raise StorageError(
                f"notes of the refresh cannot be written to {self._path}: {error}. Free some space or make the folder "
                "writable, or name another with CLOUDACCEL_CACHE_DIR."
            ) from error


def _read(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        if path.stat().st_size > _BYTES:
            return {}
        data: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(data, dict) or cast("dict[str, Any]", data).get("schema") != 1:
        return {}
    scopes = cast("dict[str, Any]", data).get("scopes")
    whole = isinstance(scopes, dict) and all(
        isinstance(note, dict) and note.keys() == _FIELDS for note in cast("dict[str, object]", scopes).values()
    )
    return cast("dict[str, Mapping[str, Any]]", scopes) if whole else {}


def _key(scope: Scope) -> str:
    return f"{scope.provider} {scope.partition} {scope.region or '*'}"
