"""Who does a job that comes round: one row for each in the state store, claimed by one process at a time.

A claim is a lease with a fencing token. The process that does the job renews it; when that process is killed or frozen,
the lease runs out and another one claims the row with a higher token. What the old one still wants to write is refused,
since `Leases.hold` knows its token no more. Time is that of the database, so that clocks need not agree.
"""

import os
import socket
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from cloudaccel import state
from cloudaccel.errors import CloudAccelError, StorageError

TTL_S = 30.0  # after so long without a sign of life, another process may take the job over
_AHEAD = timedelta(minutes=5)  # a time that far in the future was written under a clock that was ahead

_LONG = timedelta(days=1)  # less than that is waited for, and not asked about at every turn
_WITH_JITTER = 1.1  # an interval is planned longer by up to a twentieth


class LeaseLost(CloudAccelError):
    """Another process does this job now; what this one has not written yet must stay unwritten."""

    code = "lease_lost"
    exit_code = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to do a job once, until the lease is lost. `started_at` is the database's time."""

    job: str
    token: int
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What the store knows of a job. `owner` None: nobody is at it; times are None before the first run."""

    job: str
    schedule: str
    owner: str | None
    token: int
    next_at: datetime | None
    started_at: datetime | None
    ok_at: datetime | None
    error: str | None


def _planned_anew(last: str | None, schedule: str, first: "First", now: datetime) -> dict[str, Any]:
    """When it is due by `schedule`; a start under a clock that was ahead counts as none."""
    started = state.parse_utc(last) if last else None
    known = started if started is None or started <= now + _AHEAD else None
    planned = {"schedule": schedule, "next_at": state.utc_text(first(known, now))}
    return planned if known == started else {**planned, "started_at": None}


def _is_ahead(row: Any, first: "First", now: datetime) -> bool:
    """Whether the row was written under a clock that was ahead: as begun, or planned later than the schedule can."""
    if (row["started_at"] or "") > state.utc_text(now + _AHEAD):
        return True
    planned = state.parse_utc(row["next_at"])
    if planned - now < _LONG:
        return False
    return planned - now > (first(now, now) - now) * _WITH_JITTER + _AHEAD


First = Callable[[datetime | None, datetime], datetime]


class Leases:
    """Claims of one process on the jobs of a state store.

    `owner` is for people, and need not be unique. `now` stands in for the database's clock in tests.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        ttl_s: float = TTL_S,
        owner: str | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._engine = engine
        self._ttl = timedelta(seconds=ttl_s)
        self._owner = f"{owner or f'{socket.gethostname()}:{os.getpid()}'}:{uuid.uuid4().hex[:8]}"
        self._clock = now
        self.ttl_s = ttl_s

    def claim(self, job: str, schedule: str, first: First) -> Claim | None:
        """The right to do `job` now; None when it is not due, or somebody is at it.

        `first` says when a job is due whose row is new, or was planned by another schedule: from the start of its last
        run (None: never) and the time of now.
        """
        row = state.job
        with self._begin() as db:
            now = self._now(db)
            found = db.execute(sa.select(row).where(row.c.name == job)).mappings().first()
            if found is None:
                db.execute(
                    row.insert().values(name=job, schedule=schedule, token=0, next_at=state.utc_text(first(None, now)))
                )
                found = db.execute(sa.select(row).where(row.c.name == job)).mappings().one()
            elif found["schedule"] != schedule or _is_ahead(found, first, now):
                planned = _planned_anew(found["started_at"], schedule, first, now)
                db.execute(row.update().where(row.c.name == job).values(**planned))
                found = {**found, **planned}
            text = state.utc_text(now)
            if found["next_at"] > text or self._is_held(found["lease_until"], now):
                return None
            token = int(found["token"]) + 1
            db.execute(
                row.update()
                .where(row.c.name == job)
                .values(owner=self._owner, token=token, started_at=text, lease_until=state.utc_text(now + self._ttl))
            )
        return Claim(job=job, token=token, started_at=now)

    def hold(self, claim: Claim) -> None:
        """Keep the claim for another `ttl_s` seconds from now: what must be written may be written at once.

        Raises
        ------
        LeaseLost
            If another process has claimed the job since.
        """
        with self._begin() as db:
            until = state.utc_text(self._now(db) + self._ttl)
            self._mine(db, claim, lease_until=until)

    def done(self, claim: Claim, next_at: datetime, error: str | None = None) -> None:
        """Write how it ended, and when it is due next; `error` None: well. Raises `LeaseLost`."""
        with self._begin() as db:
            ended = {"ok_at": state.utc_text(self._now(db))} if error is None else {}
            self._mine(db, claim, owner=None, lease_until=None, next_at=state.utc_text(next_at), error=error, **ended)

    def jobs(self) -> tuple[JobState, ...]:
        """Every job of the store, by name."""
        with self._begin() as db:
            now = self._now(db)
            rows = db.execute(sa.select(state.job).order_by(state.job.c.name)).mappings().all()
        return tuple(
            JobState(
                job=row["name"], schedule=row["schedule"], token=row["token"], error=row["error"],
                owner=row["owner"] if self._is_held(row["lease_until"], now) else None,
                **{name: row[name] and state.parse_utc(row[name]) for name in ("next_at", "started_at", "ok_at")},
            )
            for row in rows
        )  # fmt: skip

    def now(self) -> datetime:
        """The time that leases go by."""
        with self._begin() as db:
            return self._now(db)

    def _is_held(self, until: str | None, now: datetime) -> bool:
        return until is not None and state.utc_text(now) < until <= state.utc_text(now + max(self._ttl, _AHEAD))

    @contextmanager
    def _begin(self) -> Generator[sa.Connection]:
        try:
            with self._engine.begin() as db:
                yield db
        except (exc.OperationalError, exc.InterfaceError) as error:
            raise StorageError(f"the state store does not answer: {error.orig}. No job is begun without it.") from error

    def _mine(self, db: sa.Connection, claim: Claim, **values: str | None) -> None:
        row = state.job
        mine = sa.and_(row.c.name == claim.job, row.c.token == claim.token, row.c.owner == self._owner)
        if not db.execute(row.update().where(mine).values(**values)).rowcount:
            raise LeaseLost(f"another process has taken the job {claim.job!r} over, and this one writes nothing more.")

    def _now(self, db: sa.Connection) -> datetime:
        if self._clock is not None:
            return self._clock()
        if db.dialect.name == "postgresql":
            found: datetime = db.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
            return found.astimezone(UTC)
        return datetime.now(UTC)
