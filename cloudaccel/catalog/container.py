"""Where the files of a snapshot are: a folder, or a zip file, each opened with suspicion."""

import io
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from cloudaccel.errors import ConfigError, SnapshotCorrupt, SnapshotMissing

MANIFEST = "manifest.json"
MAX_FILE = 512 * 1024 * 1024  # 2 M offers are about 450 MB
MAX_FILES = 2000
_MAX_TOTAL = 2 * MAX_FILE
_BLOCK = 256 * 1024
_ADVICE = "Fetch the snapshot again, or write a new one with: cloudaccel refresh --out FOLDER"


class Box:
    """A folder of files. `open` gives a binary stream, or SnapshotCorrupt when the manifest's file is not there.

    `ConfigError` where a file is there and this user may not read it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return os.path.lexists(self._folder / name)

    def open(self, name: str) -> IO[bytes]:
        path = self._folder / name
        try:
            # A link inside the folder must not make us read, and quote in an error, a file outside it.
            if not path.resolve(strict=True).is_relative_to(self._folder.resolve()):
                raise corrupt(name, "points outside the snapshot")
            if not path.is_file():
                raise corrupt(name, "is not a file")
            return path.open("rb")
        except FileNotFoundError as error:
            raise _absent(name, self._folder) from error
        except PermissionError as error:
            raise _closed(path, error) from error
        except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself, before Python 3.13
            raise corrupt(name, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error


class _ZipBox(Box):
    """A zip file, with bounds on what it may unpack to."""

    def __init__(self, path: Path) -> None:
        import zipfile  # 10 ms; folders do not need it

        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except PermissionError as error:
            raise _closed(path, error) from error
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise corrupt(path.name, f"is no readable zip file ({error})") from error
        entries = self._zip.infolist()
        names = {entry.filename for entry in entries}
        if len(names) != len(entries) or len(entries) > MAX_FILES:
            raise corrupt(path.name, f"has a name twice, or more than {MAX_FILES} files")
        if sum(entry.file_size for entry in entries) > _MAX_TOTAL:
            raise corrupt(path.name, f"would unpack to more than {_MAX_TOTAL} bytes")

    def has(self, name: str) -> bool:
        return name in self._zip.namelist()

    def open(self, name: str) -> IO[bytes]:
        try:
            stream = self._zip.open(name)
        except KeyError as error:
            raise _absent(name, self._folder) from error
        except (RuntimeError, NotImplementedError, OSError, ValueError) as error:
            raise corrupt(name, f"cannot be unpacked ({error})") from error
        return cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", _Guarded(stream, name)), _BLOCK))

    def close(self) -> None:
        self._zip.close()


class _Guarded(io.RawIOBase):
    """A zip member whose damage shows as SnapshotCorrupt."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        import zipfile
        import zlib

        try:
            data = self._stream.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            raise corrupt(self._name, f"is damaged ({error})") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def opened(path: Path) -> Generator[Box]:
    """The files of the snapshot at `path`; SnapshotMissing when nothing is there."""
    if path.is_dir():
        yield Box(path)
    elif path.is_file():
        box = _ZipBox(path)
        try:
            yield box
        finally:
            box.close()
    else:
        raise SnapshotMissing(f"no price snapshot at {path}. {_ADVICE}, or name another with --from")


def _closed(path: Path, error: OSError) -> ConfigError:
    """The error for a file that is there, and that this user may not read: it is not damaged."""
    return ConfigError(f"{path} cannot be read: {error.strerror}. Mend its mode, or name another.")


def _absent(name: str, place: Path) -> SnapshotMissing | SnapshotCorrupt:
    if name == MANIFEST:
        return SnapshotMissing(f"{place} is no price snapshot: it has no {MANIFEST}. {_ADVICE}")
    return corrupt(name, f"is in the manifest, but not in {place}")


def corrupt(file: str, what: str, *, line: int | None = None) -> SnapshotCorrupt:
    """The error for a fault of one file, with what to do about it."""
    where = f"{file}, line {line}" if line is not None else file
    return SnapshotCorrupt(f"price snapshot: {where}: {what}. {_ADVICE}")
