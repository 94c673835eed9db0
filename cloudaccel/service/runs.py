"""Runs for people who are signed in: inside a project's budget, agreed to by a second person, and written down.

A request names a lock. Only what is asked is taken from it: price, image and verdict are found again from the catalog
and the rules of now, and what it states about the organisation does not count. The work itself goes on in threads; when
the process dies, the next look of any replica goes on with it, as with every run of the journal.
"""

import hashlib
import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from pydantic import Field

from cloudaccel import registry, state, units
from cloudaccel.access import audit
from cloudaccel.access.people import NotAllowed, Principal, checked_project, is_local
from cloudaccel.access.projects import Project, Projects
from cloudaccel.api.starting import Where, check_startable, places_of_lock
from cloudaccel.errors import CloudAccelError, ConfigError, LimitExceeded, QueryError, UnknownName
from cloudaccel.output.runs import candidate_json
from cloudaccel.protocols import Provider
from cloudaccel.provision import lease, money, standing
from cloudaccel.provision.clock import Clock, SystemClock
from cloudaccel.provision.cost import cost
from cloudaccel.provision.journal import HoldLost, Journal
from cloudaccel.provision.launch import Launcher
from cloudaccel.provision.lock import parse_lock
from cloudaccel.provision.teardown import Ender
from cloudaccel.provision.values import OVER, UNFINISHED, Limits, Options, Run, Spec
from cloudaccel.service.asked import Body, Text
from cloudaccel.service.guard import Busy, known_packs

_LOG = logging.getLogger("cloudaccel.service")
_LEASE = "4h"
_APPROVAL_LASTS = timedelta(hours=24)
_MOST_AT_ONCE = 32  # launches and endings of one process
_LOOK_EVERY_S = 60.0


class Repeated(QueryError):
    """The same key was used for another request."""

    code = "idempotency_key_reused"
    status = 422


class NotThere(UnknownName):
    """There is none with that id that the caller may see."""

    code = "not_found"
    status = 404


class Settled(QueryError):
    """It was decided already, or too late."""

    code = "already_decided"
    status = 409


class RunRequest(Body):
    """A lock of ``cloudaccel plan``, and the limits of its run. The list ``considered`` may be left out."""

    lock: dict[str, Any] = Field(description="the JSON of plan.lock.json; prices and verdicts in it are found again")
    max_total: Text | None = Field(default=None, description="what it may cost (default: the budget in the lock)")
    max_hourly: Text | None = Field(default=None, description="for all machines, per hour")
    lease: Text | None = Field(default=None, description="how long it is wanted (default: the plan's hours, or 4h)")
    project: Text | None = Field(default=None, description="must be the one of your token, when given")
    key_name: Text | None = Field(default=None, description="key pair that the cloud has already")
    ssh_cidr: list[Text] = Field(default=[], max_length=8, description="networks that may reach port 22")


class ExtendRequest(Body):
    """Until when the lease lasts. Asked twice, it ends at the same time."""

    until: datetime = Field(description="with its offset: 2026-12-01T18:00:00Z")


class DecideRequest(Body):
    """What the second person says."""

    approve: bool
    note: Text = ""


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
        self._load = load
        self._clock = clock or SystemClock()
        self.journal = Journal(engine, self._clock)
        self.projects = Projects(engine, self._clock.now)
        self._at_work: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
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
            spec = self._spec(body, who)
            most = self._checked(spec, project)
        except CloudAccelError as error:
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

    def _spec(self, body: RunRequest, who: Principal) -> Spec:
        from cloudaccel.api.judging import Rules  # the tables of facts, only for who starts something

        lock = parse_lock(_without_statements(body.lock), "lock")
        total, currency = units.parse_money(body.max_total, "max_total") if body.max_total else (lock.budget, None)
        hourly, other = units.parse_money(body.max_hourly, "max_hourly") if body.max_hourly else (None, None)
        currency = currency or lock.currency
        if total is None:
            raise QueryError("max_total: every run has a budget, and neither the request nor the lock gives one.")
        if other not in (None, currency):
            raise QueryError("max_total and max_hourly are in two currencies; none is converted.")
        try:
            places = places_of_lock(lock, Rules(packs=self._packs), Where(catalog=self._catalog), {})
        except ConfigError as error:  # of the caller's own lock
            raise QueryError(str(error)) from error
        start_from, start_by, end_by = lock.window
        spec = Spec(
            asked=f"a lock over HTTP, catalog {str(lock.body.get('catalog_id', ''))[:19]}", candidates=tuple(places),
            limits=Limits(
                max_total=total, max_hourly=hourly, currency=currency, start_from=start_from, start_by=start_by,
                end_by=end_by,
            ),
            # Where a cloud keeps no deadline of its own, the watch of the service ends the run.
            options=Options(
                owner=who.name, reservation_id=lock.reservation_id, ssh_cidrs=tuple(body.ssh_cidr),
                key_name=body.key_name, accept_no_deadline=True,
            ),
            lease_s=units.parse_duration_s(body.lease or _LEASE, "lease") if body.lease or not lock.lease_s
            else lock.lease_s,
        )  # fmt: skip
        if spec.lease_s > money.LONGEST.total_seconds():
            raise QueryError(f"lease: at most {money.LONGEST.days} days. Extend it, or take a longer budget.")
        check_startable(spec)
        return spec

    def _checked(self, spec: Spec, project: Project) -> Decimal:
        """What the run may cost at most, when that and one of its places are inside all limits."""
        most = cast(Decimal, spec.limits.max_total)
        if spec.limits.currency != project.currency:
            raise LimitExceeded(
                f"the run is in {spec.limits.currency}, the budget of {project.name} in {project.currency}; "
                "none is converted."
            )
        refusals: list[LimitExceeded] = []
        for candidate in spec.candidates:
            try:
                money.check_limits(candidate, spec.limits, spec.lease_s)
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
        self._room_for_work()
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
        self._work(run.id, lambda: self._launch(run))
        return Asked(kind="run", id=run.id)

    # -- the second person --------------------------------------------------------------------------------------------

    def _wait(self, body: RunRequest, spec: Spec, who: Principal, key: str, digest: str, request_id: str) -> Asked:
        approval_id, now = uuid.uuid4().hex[:8], self._clock.now()
        kept = {"body": body.model_dump(mode="json"), "places": [candidate_json(c) for c in spec.candidates]}
        values = {
            "id": approval_id, "state": "waiting", "principal": who.name, "project": who.project,
            "request": json.dumps(kept, ensure_ascii=False), "most": str(spec.limits.max_total),
            "currency": spec.limits.currency, "created_at": state.utc_text(now),
            "expires_at": state.utc_text(now + _APPROVAL_LASTS),
        }  # fmt: skip
        with self._engine.begin() as db:
            if (before := _asked_before(db, who, key, digest)) is not None:
                return before
            db.execute(state.approval.insert().values(**values))
            self._keep_key(db, who, key, digest, "approval", approval_id)
            detail = {"most": values["most"], "currency": values["currency"]}
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
        row = self._approval(approval_id, who)
        if who.is_same_person(row["principal"]):
            self._note(
                who, "approval.decide", approval_id, request_id, outcome="refused", detail={"why": "same person"}
            )
            raise NotAllowed("a second person has to agree, and it was you who asked.")
        if not (who.may("admin") or who.may("provision")):
            raise NotAllowed("to approve needs the scope provision in this project, or admin.")
        if row["state"] != "waiting":
            raise Settled(f"approval {approval_id} is {row['state']} already.")
        if not body.approve:
            with self._engine.begin() as db:
                self._settle(db, row, "refused", who, body.note)
                self._append(db, who, "approval.refuse", approval_id, request_id, detail={"for": row["principal"]})
            return self.approval(approval_id, who)
        kept = json.loads(row["request"])
        asker = Principal(name=row["principal"], project=row["project"], scopes=frozenset({"provision"}))
        spec = self._spec(RunRequest(**kept["body"]), asker)
        self._checked(spec, self.projects.get(row["project"]))

        def beside(db: sa.Connection, run_id: str) -> None:
            self._settle(db, row, "approved", who, body.note, run_id)
            self._append(
                db, who, "approval.approve", approval_id, request_id, detail={"for": row["principal"], "run": run_id}
            )

        self._start(spec, asker, request_id, beside=beside)
        return self.approval(approval_id, who)

    def _settle(
        self, db: sa.Connection, row: Mapping[str, Any], to: str, who: Principal, note: str, run: str | None = None
    ) -> None:
        now = state.utc_text(self._clock.now())
        here = sa.and_(
            state.approval.c.id == row["id"], state.approval.c.state == "waiting", state.approval.c.expires_at > now
        )
        values = {"state": to, "decided_at": now, "decided_by": who.name, "note": note, "run": run}
        if not db.execute(state.approval.update().where(here).values(**values)).rowcount:
            raise Settled(f"approval {row['id']} was decided by somebody else in the meantime, or is over. Ask again.")

    def approvals(self, who: Principal) -> list[Mapping[str, Any]]:
        """What waits and what was decided, of the caller's project; of all with the scope admin. Newest first."""
        query = sa.select(state.approval).order_by(state.approval.c.created_at.desc()).limit(200)
        if not who.may("admin"):
            query = query.where(state.approval.c.project == who.project)
        with self._engine.connect() as db:
            return [self._approval_json(row) for row in db.execute(query).mappings()]

    def approval(self, approval_id: str, who: Principal) -> Mapping[str, Any]:
        """One of them. Raises `NotThere`."""
        return self._approval_json(self._approval(approval_id, who))

    def _approval(self, approval_id: str, who: Principal) -> Mapping[str, Any]:
        with self._engine.connect() as db:
            row = db.execute(sa.select(state.approval).where(state.approval.c.id == approval_id)).mappings().first()
        if row is None or not (who.may("admin") or row["project"] == who.project):
            raise NotThere("no approval with that id waits in your project.")
        found = dict(cast(Mapping[str, Any], row))
        if found["state"] == "waiting" and found["expires_at"] <= state.utc_text(self._clock.now()):
            found["state"] = "expired"
        return found

    def _approval_json(self, row: Any) -> Mapping[str, Any]:
        over = row["state"] == "waiting" and row["expires_at"] <= state.utc_text(self._clock.now())
        return {
            "id": row["id"], "state": "expired" if over else row["state"], "principal": row["principal"],
            "project": row["project"], "most": row["most"], "currency": row["currency"],
            "created_at": row["created_at"], "expires_at": row["expires_at"], "decided_at": row["decided_at"],
            "decided_by": row["decided_by"], "note": row["note"] or None, "run": row["run"],
            "places": json.loads(row["request"])["places"],
        }  # fmt: skip

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
        self._room_for_work()
        self._note(who, "run.down", run.id, request_id)
        held = self.journal.update(self.journal.take(run), state="deleting")
        self._work(f"{run.id} down", lambda: self._end(held))
        return held

    # -- the work -----------------------------------------------------------------------------------------------------

    def keep(self, every_s: float = _LOOK_EVERY_S) -> threading.Thread:
        """Go on with launches that a dead process left, for as long as this one lives. What must end, a watch ends."""

        def always() -> None:
            while True:
                try:
                    self.look()
                except Exception:  # the boundary of the thread: one bad look must not be the last
                    _LOG.exception("a look over the runs failed")
                self._clock.sleep(every_s)

        thread = threading.Thread(target=always, name="runs", daemon=True)
        thread.start()
        return thread

    def look(self) -> None:
        """One look for launches that nobody is at work on."""
        for run in self.journal.runs(states=UNFINISHED):
            ours = run.principal is not None and not is_local(run.principal)  # a local one waits for its person
            if ours and run.id not in self._at_work and self.journal.is_free(run):
                claimed = self.journal.claim(run)
                if claimed is not None:
                    self._work(run.id, lambda r=claimed: self._launch(r))

    def _launch(self, run: Run) -> None:
        launcher = Launcher(self.journal, self._load, self._clock, standing=standing.of_settings())
        outcome = launcher.up(run.spec, resume=run)
        said = "running" if outcome.exit_code == 0 else outcome.reason
        _LOG.info("run %s: %s", run.id, said)

    def _end(self, held: Run) -> None:
        try:
            Ender(self.journal, self._load, self._clock).end(held, note="ended over HTTP")
        finally:
            self.journal.let_go(self.journal.run(held.id))

    def _work(self, name: str, work: Callable[[], None]) -> None:
        def working() -> None:
            try:
                work()
            except HoldLost:
                pass  # somebody else has taken the run, and goes on with it
            except Exception:  # the boundary of the thread: the journal has what was done, and the next look goes on
                _LOG.exception("%s", name)
            finally:
                with self._lock:
                    self._at_work.pop(name, None)

        # Not waited for at the end of the process: whenever it dies, the journal knows all that was sent.
        thread = threading.Thread(target=working, name=f"run {name}", daemon=True)
        with self._lock:
            self._at_work[name] = thread
        thread.start()

    def settle(self, timeout_s: float = 60.0) -> None:
        """Wait until no thread is at work; for tests."""
        for thread in list(self._at_work.values()):
            thread.join(timeout_s)

    def _room_for_work(self) -> None:
        if len(self._at_work) >= _MOST_AT_ONCE:
            raise Busy("too many runs are being started and ended. Ask again in a few seconds.")

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


def _without_statements(lock: Mapping[str, Any]) -> Mapping[str, Any]:
    """The lock without what its author states about the organisation, and with packs that are no files."""
    request = lock.get("request")
    rules = cast(dict[str, Any], request).get("rules") if isinstance(request, dict) else None
    if not isinstance(rules, dict):
        raise QueryError("lock: request.rules must be an object. Make it again with 'cloudaccel plan'.")
    given = cast(dict[str, Any], rules)
    packs: Any = given.get("packs") or []
    if not isinstance(packs, list) or not all(isinstance(name, str) for name in cast(list[Any], packs)):
        raise QueryError("lock: request.rules.packs must be a list of names.")
    known_packs(cast(list[str], packs))
    bare: dict[str, Any] = {
        **given,
        "stated": [],
    }  # its file of statements does not count either: `gate_of_lock` leaves it out
    return {**lock, "request": {**cast(dict[str, Any], request), "rules": bare}}


__all__ = ["Asked", "DecideRequest", "ExtendRequest", "NotThere", "Repeated", "RunRequest", "Runs", "Settled"]
