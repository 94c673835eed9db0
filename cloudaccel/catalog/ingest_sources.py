"""Sources of price tables: an id for every file that was read, with its revision and licence."""

import os
import re
from functools import cache

from cloudaccel.catalog.ingest_notes import DATA_FOLDER
from cloudaccel.catalog.snapshot_write import is_optional
from cloudaccel.facts.loader import read_table
from cloudaccel.model import Source

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+\Z")
_UNKNOWN_LICENCE = "unknown"


class Sources:
    """Hands out one `Source` for each (repository, path, revision), and remembers them."""

    def __init__(self) -> None:
        self._by_origin: dict[tuple[str, str, str], Source] = {}
        self._ids: dict[str, tuple[str, str, str]] = {}

    def of(self, repository: str, path: str, revision: str) -> Source:
        """The source of a row. A repository without a known licence is "unknown", and so kept apart."""
        origin = (repository, path, revision)
        found = self._by_origin.get(origin)
        if found is None:
            found = Source(
                id=self._free_id(origin),
                name=repository or "public source (repository not recorded)",
                path=path,
                revision=revision or None,
                licence=licences().get(repository, _UNKNOWN_LICENCE),
                url=_url(repository, path, revision),
            )
            self._by_origin[origin] = found
        return found

    def stricter(self, first: Source, second: Source) -> Source:
        """Of two sources that one row is made from, the one with the narrower licence; else the first."""
        return second if is_optional(second) and not is_optional(first) else first

    def all(self) -> tuple[Source, ...]:
        """Every source handed out, by id."""
        return tuple(sorted(self._by_origin.values(), key=lambda source: source.id))

    def _free_id(self, origin: tuple[str, str, str]) -> str:
        repository, path, revision = origin
        stem = re.sub(r"\.\w+\Z", "", path)
        short = f"{repository.rsplit('/', 1)[-1]}{'@' + revision[:7] if revision else ''}"
        tail = "/".join(stem.split("/")[-2:])
        for text in (f"{short}/{tail}", f"{short}/{stem}", f"{repository}@{revision}/{path}"):
            name = re.sub(r"[^\w.@/-]+", "-", text).strip("/-")
            if self._ids.setdefault(name, origin) == origin:
                return name
        raise AssertionError(f"two sources are called {repository} {path} {revision}")


@cache
def licences() -> dict[str, str]:
    """Licence by repository, as its licence file or README states it."""
    columns = ("repository", "licence", "as_of")
    rows = read_table(os.path.join(DATA_FOLDER, "source_licences.csv"), columns)
    return {row["repository"]: row["licence"] for row in rows}


def _url(repository: str, path: str, revision: str) -> str | None:
    if not _REPOSITORY.match(repository):
        return None
    if revision and path and "*" not in path:
        return f"https://github.com/{repository}/blob/{revision}/{path}"
    return f"https://github.com/{repository}"
