"""Writes a snapshot: the same rows give the same bytes, and a failed write leaves the old snapshot as it was."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path

from cloudaccel.catalog import rows as row_rules
from cloudaccel.catalog.container import MANIFEST
from cloudaccel.catalog.rows import Row
from cloudaccel.catalog.scratch import working
from cloudaccel.catalog.signing import SIGNATURE, Signer
from cloudaccel.catalog.snapshot import (
    FILE_NAME,
    KINDS,
    SCHEMA,
    Kind,
    Manifest,
    SnapshotFile,
    key_words,
    read_manifest,
)
from cloudaccel.errors import SnapshotCorrupt, SnapshotMissing, StorageError
from cloudaccel.model import Source

# Licences under which a list may be passed on without further duty than naming it; anything else goes to optional/.
FREE_LICENCES = frozenset(
    {"Apache-2.0", "MIT", "UPL-1.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "public price list"}
)
Tables = Mapping[str, list[Row]]
_WRITING = ".writing-"  # begins the name of a folder that one is written in


def is_optional(source: Source) -> bool:
    """True when the source's licence does not plainly allow passing on; its rows are kept in ``optional/``."""
    return source.licence not in FREE_LICENCES


def write_snapshot(
    target: Path,
    *,
    offers: Iterable[Row],
    history: Iterable[Row],
    sources: Iterable[Source],
    created_at: datetime,
    sign: Signer | None = None,
) -> Manifest:
    """Write a snapshot to `target`, a folder or a name that ends in ``.zip``, and return its manifest.

    The same rows give the same bytes. Everything is written beside the old files first; when that fails, they stay as
    they were. A zip file is replaced in one step; in a folder the manifest is replaced last, so that a reader that
    comes in between sees hashes that differ rather than a mixture. Files of the old snapshot that the new one no
    longer has are removed, others are left alone.

    Parameters
    ----------
    sources
        Only those that a row uses are written.
    created_at
        Aware time, written in UTC.
    sign
        Makes the signature of the manifest, written beside it; without one the snapshot is unsigned.

    Raises
    ------
    ValueError
        If a row breaks the format, or two rows have one key.
    StorageError
        If the place cannot be written.
    """
    if created_at.tzinfo is None:
        raise ValueError("created_at needs a time zone")
    by_id = {source.id: source for source in sources}
    tables = {"offers": list(offers), "history": list(history)}
    try:
        if target.suffix == ".zip":
            return _write_zip(target, tables, by_id, created_at, sign)
        return _write_folder(target, tables, by_id, created_at, sign)
    except OSError as error:
        raise StorageError(
            f"the snapshot cannot be written to {target}: {error.strerror or error}. "
            "Free some space or make the folder writable, or name another with --out."
        ) from error


def _write_folder(
    target: Path, tables: Tables, sources: Mapping[str, Source], created_at: datetime, sign: Signer | None
) -> Manifest:
    target.mkdir(parents=True, exist_ok=True)
    old = _old_paths(target)
    # Inside the target: it may be a mount point, across whose edge nothing can be renamed.
    with working(target, _WRITING) as staging:
        manifest = _write_files(staging, tables, sources, created_at)
        new = [file.path for file in manifest.files]
        _write_signature(staging, sign)
        (target / SIGNATURE).unlink(missing_ok=True)  # that of the old manifest
        for name in (*new, MANIFEST, *([SIGNATURE] if sign else ())):
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / name, place)
    for name in old - set(new):
        (target / name).unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or not there
            (target / name).parent.rmdir()
    return manifest


def _old_paths(target: Path) -> set[str]:
    try:
        return {file.path for file in read_manifest(target).files}
    except (SnapshotMissing, SnapshotCorrupt):
        return set()


def _write_zip(
    target: Path, tables: Tables, sources: Mapping[str, Source], created_at: datetime, sign: Signer | None
) -> Manifest:
    import zipfile

    target.parent.mkdir(parents=True, exist_ok=True)
    with working(target.parent, f".{target.name}{_WRITING}") as staging:
        folder = staging / "files"
        manifest = _write_files(folder, tables, sources, created_at)
        _write_signature(folder, sign)
        packed = staging / target.name
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name in (MANIFEST, *([SIGNATURE] if sign else ()), *(file.path for file in manifest.files)):
                # A fixed time and mode: the same rows give the same bytes.
                info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                archive.writestr(info, (folder / name).read_bytes())
        _sync(packed)
        os.replace(packed, target)
    return manifest


def _write_files(folder: Path, tables: Tables, sources: Mapping[str, Source], created_at: datetime) -> Manifest:
    files: list[SnapshotFile] = []
    used: set[str] = set()
    for kind, rows in tables.items():
        groups: dict[tuple[bool, str], list[Row]] = {}
        for row in rows:
            source = sources.get(row["source"])
            if source is None:
                raise ValueError(f"source {row['source']!r} of {row['provider']} {row['instance']} is not described")
            used.add(source.id)
            groups.setdefault((is_optional(source), row["provider"]), []).append(row)
        files += [
            _write_file(folder, kind, provider, optional, groups[optional, provider])
            for optional, provider in sorted(groups)
        ]
    manifest = Manifest(
        created_at=created_at.astimezone(UTC).isoformat(timespec="seconds"),
        sources=tuple(sources[name] for name in sorted(used)),
        files=tuple(sorted(files, key=lambda file: file.path)),
    )
    _write_text(folder / MANIFEST, _manifest_json(manifest))
    return manifest


def _write_file(folder: Path, kind: str, provider: str, optional: bool, rows: list[Row]) -> SnapshotFile:
    import hashlib

    form = KINDS[kind]
    path = "/".join(
        part
        for part in ("optional" if optional else "", "history" if kind == "history" else "", f"{provider}.csv")
        if part
    )
    if not FILE_NAME.match(path):
        raise ValueError(f"provider {provider!r} cannot be the name of a file")
    ordered = sorted(rows, key=form.key)
    _check_before_writing(ordered, form)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(form.columns)
    writer.writerows(itemgetter(*form.columns)(row) for row in ordered)
    content = text.getvalue()
    _write_text(folder / path, content)
    starts, ends = row_rules.span(kind, ordered)
    return SnapshotFile(
        path=path,
        kind=kind,
        provider=provider,
        optional=optional,
        rows=len(ordered),
        sha256=hashlib.sha256(content.encode("utf-8")).hexdigest(),
        as_of=starts,
        as_of_until=ends,
    )


def _check_before_writing(ordered: Sequence[Row], form: Kind) -> None:
    check = form.checker()
    before: tuple[str, ...] = ()
    for row in ordered:
        fault = check(row)
        if fault is None and form.key(row) == before:
            fault = "occurs twice"
        if fault is not None:
            raise ValueError(f"{key_words(form.key(row))}: {fault}")
        before = form.key(row)


def _manifest_json(manifest: Manifest) -> str:
    data = {
        "schema": SCHEMA,
        "created_at": manifest.created_at,
        "sources": {
            s.id: {"name": s.name, "path": s.path, "revision": s.revision, "licence": s.licence, "url": s.url}
            for s in manifest.sources
        },
        "files": [
            {
                "path": f.path,
                "kind": f.kind,
                "provider": f.provider,
                "optional": f.optional,
                "rows": f.rows,
                "sha256": f.sha256,
                "as_of": f.as_of,
                "as_of_until": f.as_of_until,
            }
            for f in manifest.files
        ],
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _write_signature(folder: Path, sign: Signer | None) -> None:
    if sign is not None:
        (folder / SIGNATURE).write_bytes(sign((folder / MANIFEST).read_bytes()))
        _sync(folder / SIGNATURE)


def _write_text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8"))
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
