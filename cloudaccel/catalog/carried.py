"""What was taken in last from an address, so that the same is not sent and built again.

A file beside the catalog. It says nothing that cannot be had again: damaged, or of another catalog, it counts as none.
"""

import hashlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from cloudaccel.catalog.sealed import sealed, unsealed
from cloudaccel.catalog.web import Asked
from cloudaccel.files import replace_text

_NAME = "carried.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A snapshot that was taken in: what tells its next version from it, and the catalog that was made of it.

    `address` is a hash, since an address may hold a key; `trusted` one of the keys that were trusted ("" for none).
    """

    address: str
    condition: str
    validator: str
    trusted: str
    bundled: str
    catalog_id: str
    offers: int
    history: int
    signature: str
    signed_by: str

    def asked(self, url: str) -> Asked:
        """The call that was answered."""
        return Asked(url, self.condition, self.validator)


def hash_of(text: str) -> str:
    """What stands for `text` in the note."""
    return hashlib.sha256(text.encode()).hexdigest()


def read(cache: Path) -> Carried | None:
    """What was taken in last; None when nothing is noted."""
    found = unsealed(cache / _NAME)
    with suppress(TypeError):  # of another version of this program
        return Carried(**cast("dict[str, Any]", found)) if isinstance(found, dict) else None
    return None


def write(cache: Path, carried: Carried) -> None:
    """Note it; where that fails, the next time takes longer."""
    with suppress(OSError):
        replace_text(cache / _NAME, sealed(asdict(carried)))


__all__ = ["Carried", "hash_of", "read", "write"]
