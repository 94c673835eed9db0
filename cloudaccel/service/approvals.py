"""Runs that wait for a second person: who may agree to them, for how long, and what was decided."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa

from cloudaccel import state
from cloudaccel.access.people import NotAllowed, Principal
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.provision.values import Limits
from cloudaccel.service.run_request import DecideRequest, RunRequest

_LASTS = timedelta(hours=24)


class NotThere(UnknownName):
    """There is none with that id that the caller may see."""

    code = "not_found"
    status = 404


class Settled(QueryError):
    """It was decided already, or too late."""

    code = "already_decided"
    status = 409


class Approvals:
    """The approvals of one installation. What writes is given the transaction that it belongs to."""

    def __init__(self, engine: sa.Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def ask(
        self, db: sa.Connection, body: RunRequest, places: Sequence[Mapping[str, Any]], limits: Limits, who: Principal
    ) -> str:
        """Let a request wait; the id of its approval."""
        approval_id, now = uuid.uuid4().hex[:8], self._now()
        kept = {"body": body.model_dump(mode="json"), "places": list(places)}
        values = {
            "id": approval_id, "state": "waiting", "principal": who.name, "project": who.project,
            "request": json.dumps(kept, ensure_ascii=False), "most": str(limits.max_total),
            "currency": limits.currency, "created_at": state.utc_text(now), "expires_at": state.utc_text(now + _LASTS),
        }  # fmt: skip
        db.execute(state.approval.insert().values(**values))
        return approval_id

    def to_decide(self, approval_id: str, body: DecideRequest, who: Principal) -> Mapping[str, Any]:
        """The row, which waits, or on which the same person has said the same before.

        Raises
        ------
        NotAllowed
            If it is the same person who asked, or one without a scope for it.
        Settled
            If it was decided already or is too old.
        NotThere
            If there is none with that id that the caller may see.
        """
        row = self._row(approval_id, who)
        if who.is_same_person(row["principal"]):
            raise NotAllowed("a second person has to agree, and it was you who asked.")
        if not (who.may("admin") or who.may("provision")):
            raise NotAllowed("to approve needs the scope provision in this project, or admin.")
        said = "approved" if body.approve else "refused"
        again = row["state"] == said and who.is_same_person(row["decided_by"])
        if row["state"] != "waiting" and not again:
            raise Settled(f"approval {approval_id} is {row['state']} already.")
        return row

    def settle(
        self, db: sa.Connection, row: Mapping[str, Any], to: str, who: Principal, note: str, run: str | None = None
    ) -> None:
        """Write what was decided, if it still waits. Raises `Settled`."""
        now = state.utc_text(self._now())
        here = sa.and_(
            state.approval.c.id == row["id"], state.approval.c.state == "waiting", state.approval.c.expires_at > now
        )
        values = {"state": to, "decided_at": now, "decided_by": who.name, "note": note, "run": run}
        if not db.execute(state.approval.update().where(here).values(**values)).rowcount:
            raise Settled(f"approval {row['id']} was decided by somebody else in the meantime, or is over. Ask again.")

    def all(self, who: Principal) -> list[Mapping[str, Any]]:
        """What waits and what was decided, of the caller's project; of all with the scope admin. Newest first."""
        query = sa.select(state.approval).order_by(state.approval.c.created_at.desc()).limit(200)
        if not who.may("admin"):
            query = query.where(state.approval.c.project == who.project)
        with self._engine.connect() as db:
            return [self._json(row) for row in db.execute(query).mappings()]

    def get(self, approval_id: str, who: Principal) -> Mapping[str, Any]:
        """One of them. Raises `NotThere`."""
        return self._json(self._row(approval_id, who))

    def _row(self, approval_id: str, who: Principal) -> Mapping[str, Any]:
        with self._engine.connect() as db:
            row = db.execute(sa.select(state.approval).where(state.approval.c.id == approval_id)).mappings().first()
        if row is None or not (who.may("admin") or row["project"] == who.project):
            raise NotThere("no approval with that id waits in your project.")
        found = dict(cast(Mapping[str, Any], row))
        if found["state"] == "waiting" and found["expires_at"] <= state.utc_text(self._now()):
            found["state"] = "expired"
        return found

    def _json(self, row: Any) -> Mapping[str, Any]:
        over = row["state"] == "waiting" and row["expires_at"] <= state.utc_text(self._now())
        return {
            "id": row["id"], "state": "expired" if over else row["state"], "principal": row["principal"],
            "project": row["project"], "most": row["most"], "currency": row["currency"],
            "created_at": row["created_at"], "expires_at": row["expires_at"], "decided_at": row["decided_at"],
            "decided_by": row["decided_by"], "note": row["note"] or None, "run": row["run"],
            "places": json.loads(row["request"])["places"],
        }  # fmt: skip
