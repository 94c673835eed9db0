"""Runs for people who are signed in: inside a project's budget, agreed to by a second person, and written down.

A request names a lock. Only what is asked is taken from it: price, image and verdict are found again from the catalog
and the rules of now, and what it states about the organisation does not count. The work goes on in threads: `work`.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from cloudaccel import registry, state
from cloudaccel.access import audit
from cloudaccel.access.people import NotAllowed, Principal, checked_project
from cloudaccel.access.projects import Project, Projects
from cloudaccel.errors import CloudAccelError, LimitExceeded, QueryError
from cloudaccel.output.runs import candidate_json
from cloudaccel.protocols import Provider
from cloudaccel.provision import lease, money, standing
from cloudaccel.provision.clock import Clock, SystemClock
from cloudaccel.provision.cost import cost
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.values import OVER, Run, Spec
from cloudaccel.service.approvals import Approvals, NotThere, Settled
from cloudaccel.service.guard import known_packs
from cloudaccel.service.run_request import DecideRequest, RunRequest, spec_of
from cloudaccel.service.work import Work

_LOG = logging.getLogger("cloudaccel.service")


class Repeated(QueryError):
    """The same key was used for another request."""

    code = "idempotency_key_reused"
    status = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of a request: a ``run`` or an ``approval``, by id. `again`: it had been asked before."""

    kind: str
    id: str
    again: bool = False


class Runs:
    """The runs of one installation, over its journal.

    `packs` are asked of every run beside those of its lock. `load` gives a provider by name.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        catalog: str | Path | None = None,
        packs: Sequence[str] = (),
        load: Callable[[str], Provider] = registry.load,
        clock: Clock | None = None,
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._packs = known_packs(packs)
        self._clock = clock or SystemClock()
        self.journal = Journal(engine, self._clock)
        self.projects = Projects(engine, self._clock.now)
        self.approvals = Approvals(engine, self._clock.now)
        self.work = Work(self.journal, load, self._clock)
        self._over: dict[str, Decimal | None] = {}

    # -- asking -------------------------------------------------------------------------------------------------------

    def ask(self, body: RunRequest, who: Principal, key: str, request_id: str = "") -> Asked:
        """Start the run, or ask a second person; the same key gives the same run again, and starts nothing.

        Raises
        ------
        NotAllowed
            If the project is not the caller's.
        LimitExceeded
            If it is over a budget, or the rules do not allow it.
        QueryError, NothingFits
            If the lock or a limit cannot be read, or nothing in it is on offer.
        """
        digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
        with self._engine.connect() as db:
            before = _asked_before(db, who, key, digest)
        if before is not None:
            return before
        try:
            project = self._project(body, who)
            spec = spec_of(body, who, catalog=self._catalog, packs=self._packs)
            most = self._checked(spec, project)
        except CloudAccelError as error:
            with self._engine.connect() as db:  # the same request, sent twice at once, is refused for itself by then
                before = _asked_before(db, who, key, digest)
            if before is not None:
                return before
            detail = {"code": error.code, "why": str(error)[:500]}
            self._note(who, "run.ask", "", request_id, outcome="refused", detail=detail)
            raise
        if project.approve_above is not None and most > project.approve_above:
            return self._wait(body, spec, who, key, digest, request_id)
        return self._start(spec, who, request_id, key=key, digest=digest)

    def _project(self, body: RunRequest, who: Principal) -> Project:
        if not who.project:
            raise NotAllowed("your token names no project, and every run belongs to one. Ask for a token that does.")
        if body.project is not None and body.project != who.project:
            raise NotAllowed(f"project: your token is for {who.project}, not for {body.project[:63]}.")
        return self.projects.get(checked_project(who.project))

    def _checked(self, spec: Spec, project: Project) -> Decimal:
        """What the run may cost at most, when that and one of its places are inside all limits."""
        most = cast(Decimal, spec.limits.max_total)
        if spec.limits.currency != project.currency:
            raise LimitExceeded(
                f"the run is in {spec.limits.currency}, the budget of {project.name} in {project.currency}; "
                "none is converted."
            )
        refusals: list[LimitExceeded] = []
        guard = standing.Guard(standing.of_settings(), self.journal, self._clock.now())
        for candidate in spec.candidates:
            try:
                money.check_limits(candidate, spec.limits, spec.lease_s)
                guard.check(spec, candidate)  # and at each place again, when it is about to start there
            except LimitExceeded as error:
                refusals.append(error)
        if len(refusals) == len(spec.candidates):
            raise refusals[0]
        with self._engine.connect() as db:
            _check_room(db, project, most, self._ended(project.name))
        return most

    def _start(
        self,
        spec: Spec,
        who: Principal,
        request_id: str,
        *,
        key: str = "",
        digest: str = "",
        beside: Callable[[sa.Connection, str], None] = lambda _db, _run: None,
    ) -> Asked:
        """Write the run with all that belongs to it in one transaction, and let a thread start it."""
        self.work.check_room()
        project = self.projects.get(who.project)
        ended = self._ended(project.name)
        most = cast(Decimal, spec.limits.max_total)

        def together(db: sa.Connection, run_id: str) -> None:
            if key and (before := _asked_before(db, who, key, digest)) is not None:
                raise _Again(before)
            _check_room(db, project, most, ended, but=run_id)
            if key:
                self._keep_key(db, who, key, digest, "run", run_id)
            detail = {"most": str(most), "currency": project.currency, "first": candidate_json(spec.candidates[0])}
            self._append(db, who, "run.start", run_id, request_id, detail=detail)
            beside(db, run_id)

        try:
            run = self.journal.open_run(spec, principal=who.name, project=project.name, beside=together)
        except _Again as again:
            return again.asked
        self.work.launch(run)
        return Asked(kind="run", id=run.id)

    # -- the second person --------------------------------------------------------------------------------------------

    def _wait(self, body: RunRequest, spec: Spec, who: Principal, key: str, digest: str, request_id: str) -> Asked:
        places = [candidate_json(c) for c in spec.candidates]
        with self._engine.begin() as db:
            if (before := _asked_before(db, who, key, digest)) is not None:
                return before
            approval_id = self.approvals.ask(db, body, places, spec.limits, who)
            self._keep_key(db, who, key, digest, "approval", approval_id)
            detail = {"most": str(spec.limits.max_total), "currency": spec.limits.currency}
            self._append(db, who, "approval.ask", approval_id, request_id, detail=detail)
        return Asked(kind="approval", id=approval_id)

    def decide(self, approval_id: str, body: DecideRequest, who: Principal, request_id: str = "") -> Mapping[str, Any]:
        """The approval after a second person has said yes, which starts the run, or no.

        Raises
        ------
        NotAllowed
            If it is the same person, or one of another project without the scope admin.
        Settled
            If it was decided already or is too old.
        NotThere
            If there is none with that id that the caller may see.
        """
        try:
            row = self.approvals.to_decide(approval_id, body, who)
        except NotAllowed as error:
            detail = {"why": str(error)}
            self._note(who, "approval.decide", approval_id, request_id, outcome="refused", detail=detail)
            raise
        try:
            self._decide(row, body, who, request_id)
        except (Settled, LimitExceeded):
            # Said twice at once by the same person: the other time it was done.
            if self.approvals.to_decide(approval_id, body, who)["state"] == "waiting":
                raise
        return self.approvals.get(approval_id, who)

    def _decide(self, row: Mapping[str, Any], body: DecideRequest, who: Principal, request_id: str) -> None:
        if row["state"] != "waiting":
            return  # the answer was lost, and the same is said again
        if not body.approve:
            with self._engine.begin() as db:
                self.approvals.settle(db, row, "refused", who, body.note)
                self._append(db, who, "approval.refuse", row["id"], request_id, detail={"for": row["principal"]})
            return
        kept = json.loads(row["request"])
        asker = Principal(name=row["principal"], project=row["project"], scopes=frozenset({"provision"}))
        spec = spec_of(RunRequest(**kept["body"]), asker, catalog=self._catalog, packs=self._packs)
        self._checked(spec, self.projects.get(row["project"]))

        def beside(db: sa.Connection, run_id: str) -> None:
            self.approvals.settle(db, row, "approved", who, body.note, run_id)
            detail = {"for": row["principal"], "run": run_id}
            self._append(db, who, "approval.approve", row["id"], request_id, detail=detail)

        self._start(spec, asker, request_id, beside=beside)

    # -- what there is ------------------------------------------------------------------------------------------------

    def run(self, run_id: str, who: Principal) -> Run:
        """A run of the caller's project, or any with the scope admin, by its whole id. Raises `NotThere`."""
        run = next((r for r in self.runs(who) if r.id == run_id), None)
        if run is None:
            raise NotThere(f"no run {run_id[:16]!r} in your project.")
        return run

    def runs(self, who: Principal) -> list[Run]:
        """The runs of the caller's project, oldest first; of all with the scope admin."""
        return [run for run in self.journal.runs() if who.may("admin") or run.project == who.project]

    def extend(self, run_id: str, until: datetime, who: Principal, request_id: str = "") -> Run:
        """The run with its lease until then, inside its deadline; an earlier time changes nothing.

        Raises
        ------
        QueryError
            If the time has no offset, or the run is not running.
        LimitExceeded
            If it is past the deadline, which its budget has set.
        """
        run = self.run(run_id, who)
        if until.tzinfo is None:
            raise QueryError("until: say the offset, such as 2026-12-01T18:00:00Z.")
        more_s = 0.0 if run.lease_until is None else (until - run.lease_until).total_seconds()
        if run.lease_until is not None and more_s <= 0:
            return run
        extended = lease.extend(self.journal, run, more_s)
        self._note(who, "run.extend", run.id, request_id, detail={"until": until.isoformat()})
        return extended

    def down(self, run_id: str, who: Principal, request_id: str = "") -> Run:
        """End the run: it is taken from whoever is at work on it, and a thread removes everything and proves it."""
        run = self.run(run_id, who)
        if run.state in OVER and not self.journal.resources(run.id, live=True):
            return run
        self.work.check_room()
        self._note(who, "run.down", run.id, request_id)
        held = self.journal.update(self.journal.take(run), state="deleting")
        self.work.end(held)
        return held

    # -- money and the log --------------------------------------------------------------------------------------------

    def spent(self) -> Iterator[tuple[Run, Decimal | None, bool]]:
        """Each run, what it has cost until now (None: unknown), and whether something of it may exist and bill."""
        now = self._clock.now()
        live = {resource.run for resource in self.journal.resources(live=True)}
        for run in self.journal.runs():
            is_over = run.state in OVER and run.id not in live
            total = self._over[run.id] if run.id in self._over and is_over else cost(self.journal, run, now).total
            if is_over:
                self._over[run.id] = total  # nothing changes it any more
            yield run, total, run.id in live

    def _ended(self, project: str) -> Mapping[str, Decimal]:
        """What the project's runs that are over, with proof, have cost; one whose price is unknown is left out."""
        return {
            run.id: total for run, total, lives in self.spent()
            if run.project == project and run.state in OVER and not lives and total is not None
        }  # fmt: skip

    def audit_log(self, before: int | None, limit: int) -> tuple[tuple[Mapping[str, Any], ...], int | None]:
        """Rows of the audit log, newest first, and the number of the first that was changed (None: none)."""
        return audit.entries(self._engine, before=before, limit=limit), audit.broken_at(self._engine)

    def _keep_key(self, db: sa.Connection, who: Principal, key: str, digest: str, kind: str, found: str) -> None:
        now = state.utc_text(self._clock.now())
        values = {"principal": who.name, "key": key, "digest": digest, "kind": kind, "id": found, "created_at": now}
        db.execute(state.idempotency.insert().values(**values))

    def _append(
        self, db: sa.Connection, who: Principal, action: str, subject: str, request_id: str, **more: Any
    ) -> None:
        entry = audit.Entry(
            principal=who.name, project=who.project, action=action, subject=subject, request_id=request_id, **more
        )
        _LOG.info("audit %s %s %s", action, subject, audit.append(db, entry, self._clock.now()))

    def _note(self, who: Principal, action: str, subject: str, request_id: str, **more: Any) -> None:
        with self._engine.begin() as db:
            self._append(db, who, action, subject, request_id, **more)


class _Again(Exception):
    """Somebody sent the same request at the same moment, and was first."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self.asked = asked


def _asked_before(db: sa.Connection, who: Principal, key: str, digest: str) -> Asked | None:
    here = sa.and_(state.idempotency.c.principal == who.name, state.idempotency.c.key == key)
    row = db.execute(sa.select(state.idempotency).where(here)).first()
    if row is None:
        return None
    if row.digest != digest:
        raise Repeated("Idempotency-Key: this key was used for another request. Take a new one for each.")
    return Asked(kind=row.kind, id=row.id, again=True)


def _check_room(
    db: sa.Connection, project: Project, most: Decimal, ended: Mapping[str, Decimal], *, but: str = ""
) -> None:
    """Refuse what does not fit in the budget beside the other runs: those that are over at what they cost, others at
    what they may cost at most. One without a limit of its own, or in another currency, leaves no room."""
    rows = db.execute(sa.select(state.run.c.id, state.run.c.spec).where(state.run.c.project == project.name)).all()
    taken = Decimal(0)
    for row in rows:
        if row.id == but:
            continue
        limits: Mapping[str, Any] = json.loads(row.spec)["limits"]
        if row.id in ended:
            taken += ended[row.id]
        elif limits["max_total"] is None or limits["currency"] != project.currency:
            raise LimitExceeded(
                f"project {project.name}: run {row.id} has no limit in {project.currency}, so what is left of the "
                "budget is not known. End it first."
            )
        else:
            taken += Decimal(limits["max_total"])
    if taken + most > project.budget:
        raise LimitExceeded(
            f"project {project.name}: {money.amount(most)} {project.currency} more is over its budget: "
            f"{money.amount(taken)} of {money.amount(project.budget)} is spent or promised."
        )


__all__ = ["Asked", "Repeated", "Runs"]
