"""What is remembered of every run, written before anything is asked of a cloud.

Facts (a machine exists, it is gone) are always written. Decisions (next state, send this call) are written only by the
process that holds the run: each carries the fence that it got when it took the run, and a stale one is refused.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import sqlalchemy as sa

from cloudaccel import state
from cloudaccel.errors import CloudAccelError, ProviderError, UnknownName
from cloudaccel.protocols import InstanceRequest
from cloudaccel.provision import identity
from cloudaccel.provision.clock import Clock
from cloudaccel.provision.values import UNFINISHED, Operation, Run, Spec, Tracked, spec_from_json, spec_to_json

GROUP_KINDS = ("placement_group", "security_group")  # named by us: the same name may exist again after its end
HOLD = timedelta(minutes=5)  # renewed about every minute by whoever is at work; a process that died holds no longer
_CLOCKS_DIFFER = timedelta(minutes=5)  # between machines; beyond that a hold means nothing either
_LONGEST_BLOCK = timedelta(days=2)  # no adapter says more than a day
_RUN_TIMES = ("created_at", "launched_at", "lease_until", "deadline_at", "ended_at", "idle_since", "held_until")
_OPERATION_TIMES = ("created_at", "sent_at", "last_sent_at", "ended_at")


class HoldLost(CloudAccelError):
    """Another process has taken this run over; this one must leave it alone."""

    code = "hold_lost"
    exit_code = 8


class Journal:
    """The tables of `cloudaccel.state`, as the questions and answers of a run. One transaction per method."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # -- the installation ---------------------------------------------------------------------------------------------

    def install_id(self) -> str:
        """Id of this installation, made once; it is in the tags of everything that is created."""
        with self._engine.begin() as db:
            found = db.execute(sa.select(state.install.c.id).order_by(state.install.c.created_at)).scalar()
            if found is None:
                found = str(uuid.uuid4())
                db.execute(state.install.insert().values(id=found, created_at=self._now()))
        return found

    # -- runs ---------------------------------------------------------------------------------------------------------

    def open_run(
        self,
        spec: Spec,
        *,
        principal: str | None = None,
        project: str | None = None,
        beside: Callable[[sa.Connection, str], None] = lambda _db, _run: None,
    ) -> Run:
        """A new run, held by this process.

        `principal` asked for it, for `project`. `beside` writes in the same transaction, given the id; what it raises
        leaves no run.
        """
        run_id = uuid.uuid4().hex[:8]
        text = _dump(spec_to_json(spec))
        with self._engine.begin() as db:
            db.execute(
                state.run.insert().values(
                    id=run_id,
                    state="planned",
                    spec=text,
                    spec_hash=_request_hash(spec),
                    nodes=spec.nodes,
                    owner=spec.options.owner,
                    principal=principal,
                    project=project,
                    created_at=self._after_all(db),
                    fence=1,
                    **self._hold(),
                )
            )
            beside(db, run_id)
        return self.run(run_id)

    def _after_all(self, db: sa.Connection) -> str:
        """Now, or just after the newest run where another machine's clock is ahead, so that runs keep their order."""
        now = self._clock.now()
        newest = db.execute(sa.select(sa.func.max(state.run.c.created_at))).scalar()
        if newest is None or not now <= state.parse_utc(newest) < now + _CLOCKS_DIFFER:
            return state.utc_text(now)
        return state.utc_text(state.parse_utc(newest) + timedelta(microseconds=1))

    def run(self, run_id: str) -> Run:
        """The run with that id, or whose id begins so. Raises `UnknownName`, also when several do."""
        runs = state.run
        with self._engine.begin() as db:
            rows = db.execute(sa.select(runs).where(runs.c.id.startswith(run_id, autoescape=True))).mappings().all()
        exact = [row for row in rows if row["id"] == run_id] or rows
        if len(exact) != 1 or not run_id:
            words = "no run" if not exact else "several runs"
            raise UnknownName(
                f"{words} {run_id!r}. 'cloudaccel provision list --all' shows them.",
                choices=[row["id"] for row in exact],
            )
        return _run(exact[0])

    def runs(self, *, states: Iterable[str] | None = None) -> tuple[Run, ...]:
        """Runs in `states` (all when None), oldest first."""
        query = sa.select(state.run).order_by(state.run.c.created_at, state.run.c.id)
        if states is not None:
            query = query.where(state.run.c.state.in_(tuple(states)))
        with self._engine.begin() as db:
            return tuple(_run(row) for row in db.execute(query).mappings())

    def abandoned(self, spec: Spec) -> Run | None:
        """An unfinished run that was asked for in the same words and whose process is gone; None when there is none."""
        # A hold of a time to come may be that of a living process, whose clock or ours is wrong: it is not taken over.
        return next((run for run in self._alike(spec, UNFINISHED) if self.is_free(run, believing=True)), None)

    def not_gone(self, spec: Spec) -> tuple[Run, ...]:
        """Runs that were asked for in the same words, are to end, and are not proved gone: they may still bill."""
        return self._alike(spec, ("deleting", "leak_suspected"))

    def _alike(self, spec: Spec, states: Sequence[str]) -> tuple[Run, ...]:
        query = sa.select(state.run).where(
            state.run.c.spec_hash == _request_hash(spec), state.run.c.state.in_(tuple(states))
        )
        with self._engine.begin() as db:
            return tuple(_run(row) for row in db.execute(query.order_by(state.run.c.created_at)).mappings())

    def is_free(self, run: Run, *, believing: bool = False) -> bool:
        """Whether no living process holds the run.

        A hold for longer than any is written was written by a clock that was ahead: nobody else would look at the run
        for years. It counts only when `believing`; who asks the cloud for its time before deciding need not.
        """
        if run.holder is None or run.held_until is None or run.holder == identity.holder():
            return True
        now = self._clock.now()
        longest = run.held_until if believing else now + HOLD + _CLOCKS_DIFFER
        return not now < run.held_until <= longest or identity.holder_is_dead(run.holder)

    def take(self, run: Run) -> Run:
        """Hold the run from now on; whoever held it before can decide nothing any more."""
        here = state.run.c.id == run.id
        with self._engine.begin() as db:
            db.execute(state.run.update().where(here).values(fence=state.run.c.fence + 1, **self._hold()))
            return _run(db.execute(sa.select(state.run).where(here)).mappings().one())

    def claim(self, run: Run) -> Run | None:
        """Hold the run as it was read; None when somebody has taken it since, so that of two watchers one acts."""
        mine = sa.and_(state.run.c.id == run.id, state.run.c.fence == run.fence)
        with self._engine.begin() as db:
            if not db.execute(state.run.update().where(mine).values(fence=run.fence + 1, **self._hold())).rowcount:
                return None
            return _run(db.execute(sa.select(state.run).where(state.run.c.id == run.id)).mappings().one())

    def update(self, run: Run, **values: Any) -> Run:
        """Write a decision and hold on; the run as it is then, under the same fence. Raises `HoldLost`."""
        changed = {key: _cell(value) for key, value in values.items()}
        with self._engine.begin() as db:
            self._guard(db, run, **changed, **self._hold())
            return _run(db.execute(sa.select(state.run).where(state.run.c.id == run.id)).mappings().one())

    def renew(self, run: Run) -> Run:
        """Hold the run for as long again; the run as it is now. Raises `HoldLost`."""
        return self.update(run)

    def note_idle(self, run: Run, since: datetime | None) -> None:
        """Write since when the run has been idle, None: it is not, or nobody knows. A fact, so it needs no hold."""
        with self._engine.begin() as db:
            db.execute(state.run.update().where(state.run.c.id == run.id).values(idle_since=_cell(since)))

    def let_go(self, run: Run) -> None:
        """Hold the run no longer; nothing happens when it is already somebody else's."""
        mine = sa.and_(state.run.c.id == run.id, state.run.c.fence == run.fence)
        with self._engine.begin() as db:
            db.execute(state.run.update().where(mine).values(holder=None, held_until=None))

    # -- create calls -------------------------------------------------------------------------------------------------

    def intend(self, run: Run, attempt: int, candidate: int, request: InstanceRequest) -> None:
        """Write what is going to be sent, before anything is sent."""
        with self._engine.begin() as db:
            self._guard(db, run, state="creating", **self._hold())
            db.execute(
                state.operation.insert().values(
                    token=request.token,
                    run=run.id,
                    attempt=attempt,
                    candidate=candidate,
                    provider=request.provider,
                    region=request.region,
                    zone=request.zone,
                    request=_dump(request_to_json(request)),
                    state="intent",
                    created_at=self._now(),
                )
            )

    def prepared(self, run: Run, request: InstanceRequest) -> None:
        """Write the request again, now that its groups have names; it has not been sent yet."""
        with self._engine.begin() as db:
            self._guard(db, run, **self._hold())
            here = sa.and_(state.operation.c.token == request.token, state.operation.c.state == "intent")
            db.execute(state.operation.update().where(here).values(request=_dump(request_to_json(request))))

    def sending(self, run: Run, token: str) -> None:
        """Write that the call is about to be sent, for the first time or again: from here on, it may have run."""
        now, sent = self._now(), state.operation.c.sent_at
        with self._engine.begin() as db:
            self._guard(db, run, **self._hold())
            here = state.operation.c.token == token
            values = {"state": "sent", "sent_at": sa.func.coalesce(sent, now), "last_sent_at": now}
            db.execute(state.operation.update().where(here).values(**values))

    def settled(self, token: str, outcome: str, error: ProviderError | None = None) -> None:
        """Write what became of a call: ``done``, ``failed`` or ``absent``."""
        values: dict[str, Any] = {"state": outcome, "ended_at": self._now()}
        if error is not None:
            values |= {"error": error.code, "error_code": error.raw_code, "message": str(error)}
        with self._engine.begin() as db:
            db.execute(state.operation.update().where(state.operation.c.token == token).values(**values))

    def operations(self, run_id: str | None = None, *, states: Sequence[str] | None = None) -> tuple[Operation, ...]:
        """Create calls of a run (of all runs when None), in the order in which they were meant."""
        query = sa.select(state.operation).order_by(state.operation.c.created_at, state.operation.c.attempt)
        if run_id is not None:
            query = query.where(state.operation.c.run == run_id)
        if states is not None:
            query = query.where(state.operation.c.state.in_(states))
        with self._engine.begin() as db:
            return tuple(_operation(row) for row in db.execute(query).mappings())

    # -- resources ----------------------------------------------------------------------------------------------------

    def seen(
        self, run_id: str, provider: str, region: str, found: Iterable[tuple[str, str]], token: str | None = None
    ) -> None:
        """Write that these exist: pairs of kind and id. A fact, so it needs no hold; known ones stay as they are.

        Only a group that was gone is live again: another attempt of the run has made it again under its name.
        """
        with self._engine.begin() as db:
            for kind, identifier in found:
                key = (
                    (state.resource.c.run == run_id)
                    & (state.resource.c.kind == kind)
                    & (state.resource.c.id == identifier)
                )
                if kind in GROUP_KINDS:
                    again = {"state": "live", "gone_at": None, "first_seen_at": self._now()}
                    db.execute(state.resource.update().where(key, state.resource.c.state == "gone").values(**again))
                if db.execute(sa.select(state.resource.c.id).where(key)).first() is None:
                    db.execute(
                        state.resource.insert().values(
                            run=run_id,
                            kind=kind,
                            id=identifier,
                            provider=provider,
                            region=region,
                            state="live",
                            token=token,
                            first_seen_at=self._now(),
                        )
                    )

    def gone(self, run_id: str, kind: str, identifier: str) -> None:
        """Write that there is proof that it no longer exists."""
        key = (state.resource.c.run == run_id) & (state.resource.c.kind == kind) & (state.resource.c.id == identifier)
        with self._engine.begin() as db:
            db.execute(
                state.resource.update()
                .where(key, state.resource.c.state == "live")
                .values(state="gone", gone_at=self._now())
            )

    def resources(self, run_id: str | None = None, *, live: bool = False) -> tuple[Tracked, ...]:
        """What a run (None: any run) has made, oldest first; only what may still exist when `live`."""
        query = sa.select(state.resource).order_by(state.resource.c.first_seen_at, state.resource.c.id)
        if run_id is not None:
            query = query.where(state.resource.c.run == run_id)
        if live:
            query = query.where(state.resource.c.state == "live")
        with self._engine.begin() as db:
            return tuple(_tracked(row) for row in db.execute(query).mappings())

    # -- blocks -------------------------------------------------------------------------------------------------------

    def block(self, scope: str, error: ProviderError) -> None:
        """Remember for `error.ttl_s` seconds that `scope` is not worth asking."""
        if error.ttl_s <= 0:
            return
        until = state.utc_text(self._clock.now() + timedelta(seconds=error.ttl_s))
        values = {"error": error.code, "error_code": error.raw_code, "message": str(error), "until": until}
        with self._engine.begin() as db:
            done = db.execute(state.block.update().where(state.block.c.scope == scope).values(**values))
            if not done.rowcount:
                db.execute(state.block.insert().values(scope=scope, **values))

    def blocked(self, scopes: Sequence[str]) -> tuple[str, str, str, datetime] | None:
        """The longest block on any of `scopes` that still holds: error, code, message, until. None: free."""
        longest = state.utc_text(self._clock.now() + _LONGEST_BLOCK)  # a later one is of a clock that was ahead
        held = state.block.c.until.between(self._now(), longest)
        here = sa.and_(state.block.c.scope.in_(scopes), held)
        with self._engine.begin() as db:
            row = db.execute(sa.select(state.block).where(here).order_by(state.block.c.until.desc())).mappings().first()
        return None if row is None else (row["error"], row["error_code"], row["message"], state.parse_utc(row["until"]))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _now(self) -> str:
        return state.utc_text(self._clock.now())

    def _hold(self) -> dict[str, str]:
        return {"holder": identity.holder(), "held_until": state.utc_text(self._clock.now() + HOLD)}

    def _guard(self, db: sa.Connection, run: Run, **values: Any) -> None:
        mine = sa.and_(state.run.c.id == run.id, state.run.c.fence == run.fence)
        if not db.execute(state.run.update().where(mine).values(**values)).rowcount:
            raise HoldLost(f"run {run.id} was taken over by another process. See 'cloudaccel provision show {run.id}'.")


def request_to_json(request: InstanceRequest) -> dict[str, Any]:
    """A request as plain JSON values."""
    values = {name: getattr(request, name) for name in InstanceRequest.__dataclass_fields__}
    return {
        **values,
        "deadline": state.utc_text(request.deadline),
        "tags": dict(request.tags),
        "settled": dict(request.settled),
    }


def request_from_json(data: Mapping[str, Any]) -> InstanceRequest:
    """The request of `request_to_json`'s values, so that a replay sends exactly it."""
    values: dict[str, Any] = {
        **data,
        "deadline": state.parse_utc(data["deadline"]),
        "ssh_cidrs": tuple(data["ssh_cidrs"]),
    }
    return InstanceRequest(**values)


def _request_hash(spec: Spec) -> str:
    """What makes two requests the same: places, machines and options, but not prices, which move."""
    import hashlib

    bare = replace(
        spec,
        candidates=tuple(replace(c, price_per_hour=None, price_as_of=None, catalog_id="") for c in spec.candidates),
    )
    return hashlib.sha256(_dump(spec_to_json(bare)).encode()).hexdigest()


def _dump(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return state.utc_text(value)
    return str(value) if isinstance(value, Decimal) else value


def _times(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {k: state.parse_utc(v) if k in names and v is not None else v for k, v in row.items()}


def _run(row: sa.RowMapping) -> Run:
    values = _times(cast(Mapping[str, Any], row), _RUN_TIMES)
    del values["spec_hash"]
    values["spec"] = spec_from_json(json.loads(values["spec"]))
    values["price_per_hour"] = None if values["price_per_hour"] is None else Decimal(values["price_per_hour"])
    values["note"] = values["note"] or ""
    return Run(**values)


def _operation(row: sa.RowMapping) -> Operation:
    values = _times(cast(Mapping[str, Any], row), _OPERATION_TIMES)
    return Operation(**{**values, "request": json.loads(values["request"])})


def _tracked(row: sa.RowMapping) -> Tracked:
    return Tracked(**_times(cast(Mapping[str, Any], row), ("first_seen_at", "gone_at")))
