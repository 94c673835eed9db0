"""The snapshot: dated price rows as plain CSV files with a manifest, written whole and read with suspicion.

docs/reference/snapshot.md is the format. A snapshot may come from a stranger or from a bad disk, so the reader
checks every hash and every row, holds one line at a time, and says file, line and fault when it stops.
"""

import csv
import heapq
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from cloudaccel.catalog import rows as row_rules
from cloudaccel.catalog.container import MANIFEST, MAX_FILE, MAX_FILES, Box, corrupt, opened
from cloudaccel.catalog.rows import HISTORY_COLUMNS, HISTORY_KEY, OFFER_COLUMNS, OFFER_KEY, Key, Row
from cloudaccel.model import Source

if TYPE_CHECKING:
    from cloudaccel.catalog.signing import Signature

__all__ = [
    "HISTORY_COLUMNS",
    "HISTORY_KEY",
    "OFFER_COLUMNS",
    "OFFER_KEY",
    "SCHEMA",
    "Manifest",
    "Row",
    "SnapshotFile",
    "iter_history",
    "iter_offers",
    "read_manifest",
    "signature",
    "verify",
]

SCHEMA = "cloudaccel-snapshot/1"
MAX_LINE = 64 * 1024
MAX_MANIFEST = 8 * 1024 * 1024
_BLOCK = 256 * 1024

FILE_NAME = re.compile(r"(?:[a-z0-9_-]+/)*[a-z0-9][a-z0-9_.-]*\.csv\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFile:
    """One file of the manifest. The dates span its rows; None when no row has one."""

    path: str
    kind: str
    provider: str
    optional: bool
    rows: int
    sha256: str
    as_of: str | None
    as_of_until: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a snapshot says about itself: when it was made, from which sources, and its files."""

    created_at: str
    sources: tuple[Source, ...]
    files: tuple[SnapshotFile, ...]

    def providers(self) -> tuple[str, ...]:
        """Providers that have current offers, in order."""
        return tuple(sorted({file.provider for file in self.files if file.kind == "offers"}))


def read_manifest(path: Path) -> Manifest:
    """The manifest of the snapshot at `path`, a folder or a zip file; no price file is opened.

    Raises
    ------
    SnapshotMissing
        If there is nothing at `path`, or no manifest in it.
    SnapshotCorrupt
        If the manifest cannot be understood or names a file outside the snapshot.
    """
    with opened(path) as box:
        text = _manifest_bytes(box)
    try:
        data: object = json.loads(text.decode("utf-8"))
        return _manifest(data)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise corrupt(MANIFEST, f"cannot be read ({type(error).__name__}: {error})") from error


def _manifest_bytes(box: Box) -> bytes:
    with box.open(MANIFEST) as stream:
        text = stream.read(MAX_MANIFEST + 1)
    if len(text) > MAX_MANIFEST:
        raise corrupt(MANIFEST, f"is larger than {MAX_MANIFEST} bytes")
    return text


def signature(path: Path, trusted: Path | None) -> "Signature":
    """What the signature of the snapshot at `path` is worth; `trusted` is a file of public keys.

    Raises
    ------
    SnapshotMissing, SnapshotCorrupt
        As `read_manifest` does.
    ConfigError
        As `cloudaccel.catalog.signing.check` does.
    """
    from cloudaccel.catalog.signing import MAX_SIGNATURE, SIGNATURE, check

    with opened(path) as box:
        manifest = _manifest_bytes(box)
        if not box.has(SIGNATURE):
            return check(manifest, None, trusted)
        with box.open(SIGNATURE) as stream:
            return check(manifest, stream.read(MAX_SIGNATURE), trusted)


def verify(path: Path) -> Manifest:
    """Check every hash, every row and every count of the snapshot at `path`, and return its manifest.

    Hashes that travel with the data prove that nothing was damaged, not who wrote it.

    Raises
    ------
    SnapshotMissing, SnapshotCorrupt
        As `read_manifest` and `iter_offers` do.
    """
    manifest = read_manifest(path)
    for rows in (iter_offers(path, manifest), iter_history(path, manifest)):
        for _ in rows:
            pass
    return manifest


def iter_offers(path: Path, manifest: Manifest, *, provider: str | None = None, optional: bool = True) -> Iterator[Row]:
    """Every offer row, or those of one provider, checked and in key order: a region's rows come one after another.

    `optional` False leaves out the sources of ``optional/``. A file's hash is checked before its first row is given.

    Raises
    ------
    SnapshotCorrupt
        If a file is missing, is not what the manifest says, or has a row that breaks the format.
    """
    files = _wanted(manifest, "offers", provider, optional)
    yield from _rows(path, manifest, "offers", files)


def iter_history(
    path: Path, manifest: Manifest, *, provider: str | None = None, optional: bool = True
) -> Iterator[Row]:
    """Every price version, checked, in key order and then by date; otherwise as `iter_offers`."""
    files = _wanted(manifest, "history", provider, optional)
    yield from _rows(path, manifest, "history", files)


@dataclass(frozen=True, slots=True)
class Kind:
    """What sets the two kinds of file apart: columns, sort key, and a maker of row checks."""

    columns: tuple[str, ...]
    key: Key
    checker: Callable[[], Callable[[Row], str | None]]


KINDS = {
    "offers": Kind(OFFER_COLUMNS, itemgetter(*OFFER_KEY), row_rules.offer_checker),
    "history": Kind(HISTORY_COLUMNS, itemgetter(*HISTORY_KEY), row_rules.history_checker),
}


def _wanted(manifest: Manifest, kind: str, provider: str | None, optional: bool) -> list[SnapshotFile]:
    return [
        file
        for file in manifest.files
        if file.kind == kind and provider in (None, file.provider) and (optional or not file.optional)
    ]


def _rows(path: Path, manifest: Manifest, kind: str, files: Sequence[SnapshotFile]) -> Iterator[Row]:
    by_provider: dict[str, list[SnapshotFile]] = {}
    for file in files:
        by_provider.setdefault(file.provider, []).append(file)
    known = frozenset(source.id for source in manifest.sources)
    with opened(path) as box:
        for _, members in sorted(by_provider.items()):
            streams = [_file_rows(box, file, known) for file in members]
            if len(streams) == 1:
                yield from streams[0]
            else:
                yield from _merged(streams, KINDS[kind].key, members)


def _merged(streams: Sequence[Iterator[Row]], key: Key, files: Sequence[SnapshotFile]) -> Iterator[Row]:
    before: tuple[str, ...] = ()
    for row in heapq.merge(*streams, key=key):
        if key(row) == before:
            raise corrupt(" and ".join(file.path for file in files), f"both have a row for {key_words(before)}")
        before = key(row)
        yield row


def _file_rows(box: Box, file: SnapshotFile, known: frozenset[str]) -> Iterator[Row]:
    _check_hash(box, file)
    kind = KINDS[file.kind]
    check = kind.checker()
    key = kind.key
    before: tuple[str, ...] = ()
    number = 1
    for number, row in _records(box, file.path, kind.columns):
        fault = check(row)
        if fault is None and row["source"] not in known:
            fault = f"source {row['source']!r} is not in the manifest"
        if fault is None and row["provider"] != file.provider:
            fault = f"provider {row['provider']!r} does not belong into the file of {file.provider!r}"
        this = key(row)
        if fault is None and this <= before:
            fault = f"{key_words(this)} {'occurs twice' if this == before else 'is out of order'}"
        if fault is not None:
            raise corrupt(file.path, fault, line=number)
        before = this
        yield row
    if number - 1 != file.rows:
        raise corrupt(file.path, f"has {number - 1} rows, the manifest says {file.rows}")


def _records(box: Box, path: str, columns: tuple[str, ...]) -> Iterator[tuple[int, Row]]:
    """Line number and row of each line after the header."""
    with box.open(path) as stream:
        reader = csv.reader(_lines(stream, path), strict=True)
        number = 0
        try:
            for number, cells in enumerate(reader, start=1):
                if reader.line_num != number:
                    raise corrupt(path, "a quoted cell runs over the end of the line", line=number)
                if number == 1:
                    _check_header(cells, columns, path)
                elif len(cells) != len(columns):
                    raise corrupt(path, f"has {len(cells)} cells instead of {len(columns)}", line=number)
                else:
                    yield number, dict(zip(columns, cells, strict=True))
        except csv.Error as error:
            raise corrupt(path, f"is not well-formed CSV ({error})", line=number + 1) from error
        if number == 0:
            raise corrupt(path, "is empty")


def _lines(stream: IO[bytes], path: str) -> Iterator[str]:
    """Decoded lines, none longer than `MAX_LINE`."""
    number = 0
    while raw := stream.readline(MAX_LINE + 1):
        number += 1
        if len(raw) > MAX_LINE:
            raise corrupt(path, f"is longer than {MAX_LINE} bytes", line=number)
        if not raw.endswith(b"\n"):
            raise corrupt(path, "has no line end: the file was cut short", line=number)
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise corrupt(path, f"is not UTF-8 ({error.reason} at byte {error.start})", line=number) from error


def _check_header(cells: Sequence[str], columns: tuple[str, ...], path: str) -> None:
    if tuple(cells) == columns:
        return
    if cells and cells[0].startswith("\ufeff"):
        raise corrupt(path, "starts with a byte order mark: save it as UTF-8 without one", line=1)
    odd = sorted(set(cells) ^ set(columns))
    what = f"these columns are missing or not known: {', '.join(odd)[:300]}" if odd else "the columns are out of order"
    raise corrupt(path, what, line=1)


def _check_hash(box: Box, file: SnapshotFile) -> None:
    import hashlib  # readers of the manifest alone do not pay for it

    digest = hashlib.sha256()
    size = 0
    with box.open(file.path) as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > MAX_FILE:
                raise corrupt(file.path, f"is larger than {MAX_FILE} bytes")
            digest.update(block)
    if digest.hexdigest() != file.sha256:
        raise corrupt(file.path, f"is not the file that the manifest names ({size} bytes, sha256 differs)")


def _manifest(data: object) -> Manifest:
    top = _mapping(data)
    if top.get("schema") != SCHEMA:
        raise ValueError(f"schema is {top.get('schema')!r}, this version reads {SCHEMA!r}")
    sources = tuple(
        Source(
            id=name,
            name=_text(entry, "name"),
            path=_text(entry, "path"),
            revision=_text(entry, "revision") or None,
            licence=_text(entry, "licence"),
            url=_text(entry, "url") or None,
        )
        for name, entry in ((name, _mapping(value)) for name, value in _mapping(top["sources"]).items())
    )
    files = tuple(_snapshot_file(_mapping(entry)) for entry in _sequence(top["files"]))
    if len({file.path for file in files}) != len(files) or len(files) > MAX_FILES:
        raise ValueError(f"files are named twice, or more than {MAX_FILES}")
    created_at = _text(top, "created_at")
    if datetime.fromisoformat(created_at).tzinfo is None:
        raise ValueError("created_at has no time zone")
    return Manifest(created_at=created_at, sources=sources, files=files)


def _snapshot_file(entry: Mapping[str, object]) -> SnapshotFile:
    path, kind, rows, optional = _text(entry, "path"), _text(entry, "kind"), entry["rows"], entry["optional"]
    if not FILE_NAME.match(path) or ".." in path:
        raise ValueError(f"file path {path!r} is not allowed")
    if kind not in KINDS:
        raise ValueError(f"file kind {kind!r} is not known")
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0 or not isinstance(optional, bool):
        raise ValueError(f"rows or optional of {path} are not a number and a truth value")
    sha256 = _text(entry, "sha256")
    if not _SHA256.match(sha256):
        raise ValueError(f"sha256 of {path} is not 64 hex digits")
    as_of, until = _text(entry, "as_of"), _text(entry, "as_of_until")
    for date in (as_of, until):
        if fault := row_rules.date_fault(date):
            raise ValueError(f"{path}: {fault}")
    return SnapshotFile(
        path=path,
        kind=kind,
        provider=_text(entry, "provider"),
        optional=optional,
        rows=rows,
        sha256=sha256,
        as_of=as_of or None,
        as_of_until=until or None,
    )


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("an object was expected")
    return cast("dict[str, object]", value)


def _sequence(value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    return cast("list[object]", value)


def _text(entry: Mapping[str, object], key: str) -> str:
    value = entry[key]
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError(f"{key} is no plain text")
    return value


def key_words(key: tuple[str, ...]) -> str:
    """A key as it stands in a message."""
    return " ".join(part for part in key if part)
