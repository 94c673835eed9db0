"""The file of what you stated: contracts signed, licences held, risks accepted; each with a last day. Never shipped."""

import json
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, cast

from cloudaccel.catalog.locking import locked
from cloudaccel.compliance.circumstances import Assertion, Waiver, countries_of
from cloudaccel.compliance.placement import ROLES
from cloudaccel.errors import ConfigError, QueryError, StorageError
from cloudaccel.files import replace_text
from cloudaccel.untrusted import json_of

SCHEMA = "cloudaccel.statements/1"
# The place itself says where processing is, and the users have a fact of their own.
STATED_ROLES = tuple(role for role in ROLES if role not in ("processing", "users"))
_NEED = re.compile(r"^[a-z][a-z0-9_.-]*(:[A-Za-z0-9][A-Za-z0-9_./-]*)*$")
_STATEMENT = ("need", "by", "on", "until", "evidence", "note")
_WAIVER = ("rule", "reason", "by", "until")
_DAYS = ("on", "until")


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file of statements holds, in the order in which it was stated."""

    statements: tuple[Assertion, ...] = ()
    waivers: tuple[Waiver, ...] = ()


def read_statements(path: Path) -> Stated:
    """What the file at `path` states; nothing when there is no file.

    Raises
    ------
    ConfigError
        If it cannot be read, or an entry is not what it must be. Nothing is skipped.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return Stated()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Mend it, or remove it.") from error
    try:
        return stated_of(json_of(text))
    except (ValueError, KeyError, TypeError, QueryError) as error:
        raise ConfigError(f"{path} is no file of statements ({error}). Mend it, or remove it.") from error


def stated_of(body: object) -> Stated:
    """The same from plain JSON values. Raises `ValueError` or `QueryError`."""
    if not isinstance(body, dict):
        raise ValueError("an object is wanted")
    data = cast(dict[str, Any], body)
    if data.get("schema") != SCHEMA or set(data) - {"schema", "statements", "accept_unknown"}:
        raise ValueError(f"schema {SCHEMA} with statements and accept_unknown is wanted")
    return Stated(
        tuple(_statement(entry) for entry in _entries(data.get("statements"), _STATEMENT)),
        tuple(_waiver(entry) for entry in _entries(data.get("accept_unknown"), _WAIVER)),
    )


def to_json(stated: Stated) -> dict[str, Any]:
    """What `stated_of` reads."""
    return {
        "schema": SCHEMA,
        "statements": [_plain(asdict(entry)) for entry in stated.statements],
        "accept_unknown": [_plain(asdict(entry)) for entry in stated.waivers],
    }


def change_statements(path: Path, change: Callable[[Stated], Stated], *, now: datetime, login: str = "") -> Stated:
    """Read, change and write the file at `path` as one step, and note in the log beside it what became otherwise.

    Two that change it at once come one after the other, and neither loses what the other stated.

    Raises
    ------
    ConfigError, StorageError, QueryError
        If it cannot be read or written, or `change` raises.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    try:
        lock = path.with_name(f".{path.name}.lock")
        with locked(lock):
            _same_rights(path, lock)
            before = read_statements(path)
            after = change(before)
            _note(path, before, after, now, login)
            write_statements(path, after)
    except StorageError as error:
        raise StorageError(f"{path} cannot be written ({error.__cause__}). Name another with --statements.") from error
    return after


def write_statements(path: Path, stated: Stated) -> None:
    """Replace the file at `path` in one step, so that nobody reads half of it; its rights stay what they were.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(to_json(stated), ensure_ascii=False, indent=1) + "\n", lasting=True)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}. Name another with --statements.") from error


def _same_rights(path: Path, other: str | Path) -> None:
    """Give a file beside that of the statements its mode and group; where there is none yet, nothing."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    with suppress(PermissionError):  # a colleague's file: it has the rights that the colleague gave it
        if hasattr(os, "chown"):
            os.chown(other, -1, old.st_gid)
        os.chmod(other, stat.S_IMODE(old.st_mode))


# -- the log -----------------------------------------------------------------------------------------------------------


def log_path(path: Path) -> Path:
    """Where it is noted who stated or withdrew what in the file at `path`, and when: one JSON object a line."""
    return path.with_name(f"{path.name}.log")


def read_log(path: Path) -> tuple[Mapping[str, Any], ...]:
    """What was noted of the file at `path`, oldest first. Raises `ConfigError` for a line that cannot be read."""
    log = log_path(Path(os.path.realpath(path)))
    try:
        return tuple(_noted(line) for line in log.read_text(encoding="utf-8").splitlines())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{log} cannot be read: {error}. Mend it, or move it away.") from error


def _noted(line: str) -> Mapping[str, Any]:
    entry = json_of(line)
    if not isinstance(entry, dict):
        raise ValueError(f"a line is no note: {line[:60]!r}")
    note = cast(dict[str, Any], entry)
    datetime.fromisoformat(note["at"])
    texts = (note["action"], note["name"], note["login"])
    if not all(isinstance(text, str) for text in texts) or not isinstance(note.get("new", note.get("old")), dict):
        raise ValueError(f"a line is no note: {line[:60]!r}")
    return note


def latest_day(path: Path) -> date | None:
    """The day of the last note: the day of now is not before it, whatever a clock says that was set back.

    A log that cannot be read says nothing here; `read_log` refuses it.
    """
    with suppress(ConfigError):
        return max((datetime.fromisoformat(line["at"]).date() for line in read_log(path)), default=None)
    return None


def _note(path: Path, before: Stated, after: Stated, now: datetime, login: str) -> None:
    """Append what differs, before the file itself changes: a note without the change is better than none for one."""
    old, new = ({**_named(stated)} for stated in (before, after))
    lines: list[str] = []
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) == new.get(name):
            continue
        action = "withdrawn" if name not in new else "replaced" if name in old else "stated"
        entry = {"at": now.isoformat(timespec="seconds"), "login": login, "action": action, "name": name}
        entry |= {key: _plain(asdict(found[name])) for key, found in (("old", old), ("new", new)) if name in found}
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    log = log_path(path)
    try:
        with log.open("a", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        _same_rights(path, log)
    except OSError as error:
        raise StorageError(f"{log} cannot be written: {error.strerror}.") from error


def _named(stated: Stated) -> dict[str, Assertion | Waiver]:
    entries: list[tuple[str, Assertion | Waiver]] = [(s.need, s) for s in stated.statements]
    return dict([*entries, *((f"unknown {w.rule}", w) for w in stated.waivers)])


# -- entries -----------------------------------------------------------------------------------------------------------


def with_statement(stated: Stated, entry: Assertion | Waiver) -> Stated:
    """`stated` with one more entry; an older one on the same matter goes."""
    if isinstance(entry, Assertion):
        return Stated((*(s for s in stated.statements if s.need != entry.need), entry), stated.waivers)
    return Stated(stated.statements, (*(w for w in stated.waivers if w.rule != entry.rule), entry))


def without(stated: Stated, name: str) -> Stated:
    """`stated` without what was stated on `name`, a need or a rule.

    Raises
    ------
    QueryError
        If nothing was.
    """
    left = Stated(
        tuple(s for s in stated.statements if s.need != name), tuple(w for w in stated.waivers if w.rule != name)
    )
    if left == stated:
        raise QueryError(f"--withdraw: nothing was stated on {name!r}. 'cloudaccel policy assert' lists what was.")
    return left


def checked_need(text: str) -> str:
    """`text`, when it has the form of a statement: ``baa:SELLER``, ``license:bis``. Raises `QueryError`."""
    if not _NEED.match(text):
        raise QueryError(f"{text!r} is no statement. Write it as 'policy explain' asks for it, such as dpa:SELLER.")
    return text


def stated_roles(words: Sequence[str]) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """Where roles are, of statements such as ``storage=DE,FR`` or ``keys=none``, and the other statements, checked.

    Raises
    ------
    QueryError, UnknownName
        If one is no statement, names no role that can be stated, or a country that there is not.
    """
    roles: dict[str, tuple[str, ...]] = {}
    needs: list[str] = []
    for word in words:
        role, is_role, countries = word.partition("=")
        if not is_role:
            needs.append(checked_need(word))
            continue
        if role not in STATED_ROLES:
            known = ", ".join(STATED_ROLES)
            raise QueryError(f"--stated {word}: {role!r} is no role that can be stated. Name one of {known}.")
        if not countries.strip():
            raise QueryError(f"--stated {word}: name countries, such as {role}=DE,FR, or {role}=none.")
        roles[role] = tuple(sorted({*roles.get(role, ()), *countries_of(countries)}))
    return roles, tuple(needs)


def _entries(value: object, known: Sequence[str]) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise ValueError("a list is wanted")
    found: list[Mapping[str, Any]] = []
    for entry in cast(list[object], value):
        if not isinstance(entry, dict):
            raise ValueError("an entry is no object")
        body = cast(dict[str, Any], entry)
        if set(body) - set(known) or not all(isinstance(item, str | None) for item in body.values()):
            raise ValueError(f"an entry has other keys than {', '.join(known)}, or a value that is no text")
        found.append({key: date.fromisoformat(item) if key in _DAYS and item else item for key, item in body.items()})
    return found


def _statement(entry: Mapping[str, Any]) -> Assertion:
    words: dict[str, Any] = {**entry, "need": checked_need(entry["need"])}
    return Assertion(**words)


def _waiver(entry: Mapping[str, Any]) -> Waiver:
    if not isinstance(entry["until"], date) or not entry["reason"] or not entry["by"]:
        raise ValueError(f"the risk accepted of {entry['rule']} needs reason, by and until")
    return Waiver(**entry)


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item.isoformat() if isinstance(item, date) else item for key, item in entry.items()}
