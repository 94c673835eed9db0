"""Keeps what an unfinished reading of a price list has read, so that the next one goes on where it broke off.

Beside the catalog, by provider and place: whole pages, and of files that are searched in blocks the lines that were
found with the place reached. Nothing here is a price yet: the next reading takes it as if it had just been sent, reads
the rest, and only a list that is whole is judged and stored. It is gone once a list was read whole.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from cloudaccel import __version__
from cloudaccel.catalog.locking import locked
from cloudaccel.errors import CloudAccelError
from cloudaccel.protocols import Scope
from cloudaccel.untrusted import json_of

FOLDER = "unfinished"
LONGEST_S = 3600  # after which a list is read from its start: it is as of its reading, and page tokens run out
MOST_BYTES = 512 << 20  # of one list; what comes after that is not kept
STEP_BYTES = 4 << 20  # of a file between two notes of how far it was read
_BEGUN = "begun"


@dataclass(frozen=True, slots=True)
class Page:
    """One whole answer, and what tells the next version from it (see `cloudaccel.catalog.web.Asked`)."""

    body: bytes
    condition: str
    validator: str


class Spool:
    """What was read of one list since `begun`. One process and one thread at a time has it.

    A disk that is full or refuses ends the keeping, and never the reading. `used`: something was taken from it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._room = MOST_BYTES - sum(path.stat().st_size for path in folder.iterdir())
        self.used = False

    def page(self, key: str) -> Page | None:
        """The page of a call, or None. One that is not as it was written counts as none."""
        try:
            head, _, body = (self._folder / f"{key}.page").read_bytes().partition(b"\n")
            told = _head(head)
            if told["sha256"] != hashlib.sha256(body).hexdigest():
                return None
            found = Page(body, str(told["condition"]), str(told["validator"]))
        except (OSError, ValueError, KeyError):
            return None
        self.used = True
        return found

    def keep(self, key: str, page: Page) -> None:
        """Keep the page of a call."""
        self._room -= len(page.body)
        if self._room < 0:
            return
        head = {"sha256": hashlib.sha256(page.body).hexdigest(), "condition": page.condition}
        head["validator"] = page.validator
        with suppress(OSError):
            new = self._folder / f"{key}.new"
            new.write_bytes(json.dumps(head).encode() + b"\n" + page.body)
            new.replace(self._folder / f"{key}.page")

    def part(self, key: str) -> "Part | None":
        """How far a file was read that is searched in blocks, or None when none of it is kept."""
        part = Part.read(self._folder / f"{key}.part", self._take)
        self.used = self.used or part is not None
        return part

    def begin(self, key: str, condition: str, validator: str) -> "Part":
        """A file that is read from its start."""
        return Part.begin(self._folder / f"{key}.part", condition, validator, self._take)

    def _take(self, size: int) -> bool:
        self._room -= size
        return self._room >= 0

    def is_kept(self) -> bool:
        """Whether anything is in it."""
        return any(_kept(self._folder))

    def clear(self) -> None:
        """Forget all of it."""
        for path in _kept(self._folder):
            _remove_one(path)
        self._room = MOST_BYTES
        self.used = False

    def end(self) -> None:
        """The list was read whole, or nothing of it was: no trace is left."""
        _remove(self._folder)


@dataclass(slots=True)
class Part:
    """The lines that were found in the first `at` bytes of a file of the version `validator`.

    Notes follow each other in one file; each carries a checksum over itself and those before it, and one that is not
    whole ends what is believed.
    """

    path: Path
    condition: str
    validator: str
    room: Callable[[int], bool]
    at: int = 0
    lines: list[bytes] = field(default_factory=list[bytes])
    _chain: str = ""
    _new: list[bytes] = field(default_factory=list[bytes])
    _ahead: int = 0
    _on: bool = True

    @classmethod
    def begin(cls, path: Path, condition: str, validator: str, room: Callable[[int], bool]) -> "Part":
        """One of which nothing was read."""
        part = cls(path, condition, validator, room)
        head = json.dumps({"condition": condition, "validator": validator}).encode()
        part._chain = hashlib.sha256(head).hexdigest()
        try:
            path.write_bytes(head + b"\n")
        except OSError:
            part._on = False
        return part

    @classmethod
    def read(cls, path: Path, room: Callable[[int], bool]) -> "Part | None":
        """What is kept at `path`, cut to what is whole; None when that is nothing."""
        try:
            with path.open("r+b") as file:
                head = file.readline().rstrip(b"\n")
                told = _head(head)
                part = cls(path, str(told["condition"]), str(told["validator"]), room)
                part._chain = hashlib.sha256(head).hexdigest()
                good = file.tell()
                while part._note(file.readline(), file.read):
                    good = file.tell()
                file.truncate(good)
        except (OSError, ValueError, KeyError):
            return None
        return part if part.at else None

    def _note(self, head: bytes, read: Callable[[int], bytes]) -> bool:
        try:
            told = _head(head)
            body = read(min(max(int(told["bytes"]), 0), MOST_BYTES))
            at, chain = int(told["at"]), str(told["sha256"])
        except (ValueError, KeyError, TypeError, OverflowError):
            return False
        if _link(self._chain, at, body) != chain or read(1) != b"\n":
            return False
        self.at, self._chain = at, chain
        self.lines += body.split(b"\n") if body else []
        return True

    def add(self, size: int, found: Sequence[bytes]) -> None:
        """A block of `size` bytes was read, and `found` are its lines that are wanted."""
        self._ahead += size
        self._new += found
        if not self._on or self._ahead < STEP_BYTES:
            return
        body = b"\n".join(self._new)
        self.at += self._ahead
        self._chain = _link(self._chain, self.at, body)
        head = json.dumps({"at": self.at, "bytes": len(body), "sha256": self._chain}).encode()
        try:
            self._on = self.room(len(head) + len(body))
            if self._on:
                with self.path.open("ab") as file:
                    file.write(head + b"\n" + body + b"\n")
        except OSError:
            self._on = False
        self._new, self._ahead = [], 0


class Shared:
    """Small pages that were read within one refresh: an index is asked for once, whatever number of lists it names."""

    MOST_BYTES = 256 << 10  # of one page; long ones are of one list alone
    MOST_PAGES = 64

    def __init__(self) -> None:
        self._pages: dict[str, Page] = {}

    def page(self, key: str) -> Page | None:
        """The page of a call, or None."""
        return self._pages.get(key)

    def keep(self, key: str, page: Page) -> None:
        """Keep the page of a call. Threads may do so at once."""
        if len(page.body) <= self.MOST_BYTES and len(self._pages) < self.MOST_PAGES:
            self._pages[key] = page


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where the answer of one call is kept. `part`: it goes on from there. `whole`: it was sent as it is, unpacked."""

    spool: Spool | None
    shared: Shared | None
    key: str
    condition: str
    validator: str
    whole: bool
    part: Part | None = None

    def page(self, body: bytes) -> None:
        """Keep a whole answer."""
        for place in filter(None, (self.spool, self.shared)):
            place.keep(self.key, Page(body, self.condition, self.validator))

    def reached(self) -> Part | None:
        """Where notes of how far a file was read go; None where nobody could say that the rest is of the same file."""
        if self.part is not None or self.spool is None or not self.whole or not is_strong(self.validator):
            return self.part
        return self.spool.begin(self.key, self.condition, self.validator)


def is_strong(validator: str) -> bool:
    """Whether it tells files apart byte by byte, as a part of one must be (RFC 9110, 13.1.5)."""
    return bool(validator) and not validator.startswith("W/")


def key_of(address: str, headers: Mapping[str, str]) -> str:
    """The name under which the answer of one call is kept: another key asks for another list."""
    return hashlib.sha256(json.dumps([address, sorted(headers.items())]).encode()).hexdigest()[:40]


@contextmanager
def spooled(cache: Path, scope: Scope, clock: Callable[[], float] = time.time) -> Generator[Spool | None]:
    """What is kept of `scope`; None while another process reads it, or where nothing can be kept."""
    name = hashlib.sha256(f"{__version__} {scope}".encode()).hexdigest()[:24]
    folder = cache / FOLDER / name
    with ExitStack() as stack:
        spool = None
        with suppress(OSError, CloudAccelError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if stack.enter_context(locked(folder / "lock", wait=False)):
                spool = _current(folder, clock())
        try:
            yield spool
        finally:
            if spool is not None and not spool.is_kept():
                spool.end()


def sweep(cache: Path, clock: Callable[[], float] = time.time) -> None:
    """Remove what readings left behind that nobody will go on with."""
    for folder in _folders(cache / FOLDER):
        with suppress(OSError, CloudAccelError), locked(folder / "lock", wait=False) as free:
            if free and not _is_young(folder, clock()):
                _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()  # the last one takes the room along


def _remove_one(path: Path) -> None:
    with suppress(OSError):  # what stays is taken only where it is as it was written
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _kept(folder: Path) -> list[Path]:
    with suppress(OSError):
        return [path for path in folder.iterdir() if path.suffix in (".page", ".part", ".new")]
    return []


def _folders(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from [path for path in folder.iterdir() if path.is_dir()]


def _current(folder: Path, now: float) -> Spool:
    spool = Spool(folder)
    if not _is_young(folder, now):
        spool.clear()
        (folder / _BEGUN).write_text(str(int(now)), encoding="ascii")
    return spool


def _is_young(folder: Path, now: float) -> bool:
    """Whether what is kept is of the same day (UTC) and not older than `LONGEST_S`."""
    try:
        begun = int((folder / _BEGUN).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    return 0 <= now - begun <= LONGEST_S and begun // 86_400 == int(now) // 86_400


def _link(before: str, at: int, body: bytes) -> str:
    return hashlib.sha256(f"{before} {at}\n".encode() + body).hexdigest()


def _head(line: bytes) -> dict[str, Any]:
    found: object = json_of(line)
    if not isinstance(found, dict):
        raise ValueError("no note")
    return cast("dict[str, Any]", found)


__all__ = ["FOLDER", "LONGEST_S", "Keeping", "Page", "Part", "Shared", "Spool", "key_of", "spooled", "sweep"]
