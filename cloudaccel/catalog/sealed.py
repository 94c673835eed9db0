"""JSON notes of our own with a checksum: what a disk, a kill or a hand has changed counts as not written."""

import hashlib
import json
from pathlib import Path
from typing import Any, cast

from cloudaccel.untrusted import json_of

_MOST_BYTES = 64 << 20


def sealed(note: object) -> str:
    """The text of a note, with its checksum."""
    return json.dumps({"sha256": _sum(note), "note": note}, indent=1, sort_keys=True)


def unsealed(path: Path) -> Any:
    """The note at `path`; None where there is none, or it is not as it was written."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        found: object = json_of(path.read_bytes())
        note = cast("dict[str, object]", found) if isinstance(found, dict) else {}
        return note["note"] if note["sha256"] == _sum(note["note"]) else None
    except (OSError, ValueError, KeyError, RecursionError):
        return None


def _sum(note: object) -> str:
    return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()


__all__ = ["sealed", "unsealed"]
