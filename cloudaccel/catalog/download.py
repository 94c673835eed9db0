"""Brings a published snapshot from an address into a file, bounded in size and time; what it says is judged later."""

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from cloudaccel.catalog.container import MAX_FILE
from cloudaccel.catalog.web import Asked, Connection, HttpWeb, Limits
from cloudaccel.errors import StorageError

_LIMITS = Limits(body_bytes=MAX_FILE)


def is_address(text: str) -> bool:
    """Whether `text` is an address on the network and not a path."""
    return text.startswith(("https://", "http://"))


def shown(url: str) -> str:
    """An address without user, password and query, which may be keys."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def download(
    url: str, target: Path, connection: Connection, limits: Limits = _LIMITS, *, known: Asked | None = None
) -> Asked | None:
    """Write what `url` answers to `target`; returns what tells the next version from it.

    None, and nothing written, where the owner says that it is still the one that is `known`.

    Raises
    ------
    ProviderError
        If it does not answer, answers too much, or breaks off; nothing is at `target` then.
    StorageError
        If it cannot be written.
    """
    with HttpWeb("snapshot", connection, limits) as web:
        if known is not None and web.unchanged((known,)):
            return None
        try:
            with target.open("wb") as file, web.ask(url) as answer:
                for chunk in answer.chunks():
                    file.write(chunk)
        except OSError as error:
            _remove(target)
            raise StorageError(
                f"the snapshot cannot be kept in {target.parent}: {error.strerror}. Free some space."
            ) from error
        except BaseException:
            _remove(target)
            raise
        return web.asked[-1]


def _remove(target: Path) -> None:
    with suppress(OSError):
        os.unlink(target)
