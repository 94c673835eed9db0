"""The audit log: who did what, appended only, each row holding the hash of the one before it.

A change or a gap in the middle breaks the chain. That rows are missing at its end shows only to who kept the last hash
elsewhere: the log of the service has it with every row.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cloudaccel import state

_FIELDS = ("number", "at", "principal", "project", "action", "subject", "outcome", "detail", "request_id")
_FIRST = "0" * 64
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that somebody did, or was refused. `outcome` is ``done``, ``refused`` or ``failed``."""

    principal: str
    action: str
    subject: str
    project: str = ""
    outcome: str = "done"
    detail: Mapping[str, Any] | None = None
    request_id: str = ""


def append(db: sa.Connection, entry: Entry, now: datetime) -> str:
    """Write `entry` in the transaction of `db`, so that it is there exactly when what it tells is. Returns its hash.

    Transactions that write are one at a time on every database (`cloudaccel.state`), which orders the chain.
    """
    last = db.execute(sa.select(state.audit.c.number, state.audit.c.hash).order_by(state.audit.c.number.desc())).first()
    number, before = (1, _FIRST) if last is None else (last.number + 1, last.hash)
    row: dict[str, Any] = {
        "number": number, "at": state.utc_text(now), "principal": entry.principal, "project": entry.project,
        "action": entry.action, "subject": entry.subject[:255], "outcome": entry.outcome,
        "detail": json.dumps(entry.detail or {}, sort_keys=True, ensure_ascii=False, default=str),
        "request_id": entry.request_id,
    }  # fmt: skip
    row["hash"] = _hash(before, row)
    db.execute(state.audit.insert().values(**row))
    return row["hash"]


def note(engine: sa.Engine, entry: Entry, now: datetime) -> str:
    """`append` in a transaction of its own."""
    with engine.begin() as db:
        return append(db, entry, now)


def entries(engine: sa.Engine, *, before: int | None = None, limit: int | None = 100) -> tuple[Mapping[str, Any], ...]:
    """Rows as plain JSON values, newest first (`limit` None: all); only those with a number below `before`."""
    query = sa.select(state.audit).order_by(state.audit.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(state.audit.c.number < before)
    with engine.connect() as db:
        rows = db.execute(query).mappings().all()
    return tuple({**row, "detail": json.loads(row["detail"])} for row in rows)


def broken_at(engine: sa.Engine) -> int | None:
    """Number of the first row that is not what was written, or follows a gap; None: the chain is whole."""
    before = _FIRST
    for expected, row in enumerate(_in_order(engine), start=1):
        if row["number"] != expected or row["hash"] != _hash(before, row):
            return expected
        before = row["hash"]
    return None


def _in_order(engine: sa.Engine) -> Iterator[Mapping[str, Any]]:
    last = 0
    while True:
        query = sa.select(state.audit).where(state.audit.c.number > last).order_by(state.audit.c.number)
        with engine.connect() as db:
            rows = db.execute(query.limit(_AT_ONCE)).mappings().all()
        yield from rows  # type: ignore[misc]  # a RowMapping has the columns' names as keys
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1]["number"]


def _hash(before: str, row: Mapping[str, Any]) -> str:
    said = json.dumps([before, *(row[name] for name in _FIELDS)], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()
