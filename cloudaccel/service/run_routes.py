"""Runs over HTTP, where ``serve --enable-provision`` says so: ask, look, extend, end, approve; and the audit log."""

from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError

from cloudaccel.access.people import NotSignedIn, Principal
from cloudaccel.output.quote_json import SCHEMA
from cloudaccel.output.runs import billing, run_json, show_json
from cloudaccel.provision.cost import cost
from cloudaccel.provision.values import OVER, Run
from cloudaccel.service import problems
from cloudaccel.service.run_request import DecideRequest, ExtendRequest, RunRequest
from cloudaccel.service.runs import Runs

_MOST_ROWS = 500
Key = Annotated[
    str, Header(alias="Idempotency-Key", min_length=8, max_length=128, pattern=r"^[A-Za-z0-9._:-]+$",
                description="a new one for each run; the same one again gives the same run and starts nothing")
]  # fmt: skip


def add_runs(app: FastAPI, runs: Runs) -> None:
    """The routes that start and end machines, and those that watch over them."""
    _add_asking(app, runs)
    _add_looking(app, runs)
    _add_approvals(app, runs)
    app.add_exception_handler(DBAPIError, _away)


def _add_asking(app: FastAPI, runs: Runs) -> None:
    def ask(body: RunRequest, key: Key, request: Request) -> Response:
        """Start the run of a lock, or ask a second person when it may cost more than the project lets one decide."""
        who = _who(request)
        asked = runs.ask(body, who, key, request.state.request_id)
        if asked.kind == "run":
            answer = _answer("run", 202, run=_run(runs, runs.run(asked.id, who)))
        else:
            answer = _answer("approval", 202, approval=runs.approvals.get(asked.id, who))
        if asked.again:
            answer.headers["Idempotency-Replayed"] = "true"
        return answer

    def extend(run_id: str, body: ExtendRequest, request: Request) -> Response:
        """Make the lease longer, inside the deadline that the budget has set at the launch."""
        run = runs.extend(run_id, body.until, _who(request), request.state.request_id)
        return _answer("run", run=_run(runs, run))

    def down(run_id: str, request: Request) -> Response:
        """End the run. The answer comes at once; ``deleted`` is said only when all of it is proved gone."""
        run = runs.down(run_id, _who(request), request.state.request_id)
        return _answer("run", 202, run=_run(runs, run))

    app.post("/v1/runs", response_class=JSONResponse, status_code=202)(ask)
    app.post("/v1/runs/{run_id}/extend", response_class=JSONResponse)(extend)
    app.post("/v1/runs/{run_id}/down", response_class=JSONResponse, status_code=202)(down)


def _add_looking(app: FastAPI, runs: Runs) -> None:
    def listed(
        request: Request,
        all: Annotated[bool, Query(description="also runs that are over")] = False,  # noqa: A002 - its name over HTTP
        limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    ) -> Response:
        """The runs of your project, newest first; of every project with the scope admin."""
        found = [run for run in runs.runs(_who(request)) if all or run.state not in OVER]
        shown = [_run(runs, run) for run in reversed(found[-limit:])]
        return _answer("run.list", total=len(found), runs=shown)

    def show(run_id: str, request: Request) -> Response:
        """One run: attempts, resources, cost."""
        run = runs.run(run_id, _who(request))
        body = show_json(run, runs.journal.operations(run.id), runs.journal.resources(run.id))
        return _answer("run.show", run=_run(runs, run), attempts=body["attempts"], resources=body["resources"])

    def audit_log(
        request: Request,
        before: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="only rows with a lower number")] = None,
        limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    ) -> Response:
        """Who did what, newest first, and the first row that was changed (null: the chain is whole)."""
        _who(request)
        rows, broken = runs.audit_log(before, limit)
        following = rows[-1]["number"] if len(rows) == limit and rows[-1]["number"] > 1 else None
        return _answer("audit", broken_at=broken, entries=list(rows), next_before=following)

    app.get("/v1/runs", response_class=JSONResponse)(listed)
    app.get("/v1/runs/{run_id}", response_class=JSONResponse)(show)
    app.get("/v1/audit", response_class=JSONResponse)(audit_log)


def _add_approvals(app: FastAPI, runs: Runs) -> None:
    def approvals(request: Request) -> Response:
        """What waits for a second person in your project, and what was decided."""
        return _answer("approval.list", approvals=runs.approvals.all(_who(request)))

    def approval(approval_id: str, request: Request) -> Response:
        """One of them, with the places where the run may start."""
        return _answer("approval", approval=runs.approvals.get(approval_id, _who(request)))

    def decide(approval_id: str, body: DecideRequest, request: Request) -> Response:
        """Agree, which starts the run, or refuse. Never by the person who asked."""
        decided = runs.decide(approval_id, body, _who(request), request.state.request_id)
        return _answer("approval", approval=decided)

    app.get("/v1/approvals", response_class=JSONResponse)(approvals)
    app.get("/v1/approvals/{approval_id}", response_class=JSONResponse)(approval)
    app.post("/v1/approvals/{approval_id}", response_class=JSONResponse)(decide)


def _who(request: Request) -> Principal:
    found = getattr(request.state, "principal", None)
    if not isinstance(found, Principal):  # no route here is reached without a sign-in; if one were, it does nothing
        raise NotSignedIn("nobody is signed in.")
    return found


def _run(runs: Runs, run: Run) -> dict[str, Any]:
    from cloudaccel.provision.clock import SystemClock

    live = [r for r in runs.journal.resources(run.id, live=True) if r.kind == "machine"]
    lost = runs.journal.operations(run.id, states=("sent",))
    return run_json(run, cost(runs.journal, run, SystemClock().now()), billing(run, len(live), len(lost)))


def _answer(kind: str, status: int = 200, **content: Any) -> JSONResponse:
    body = {"schema": SCHEMA, "kind": kind, **content}
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store"})


async def _away(request: Request, error: Exception) -> Response:
    """The database does not answer, or has put us out: nothing was done, and the same key may be sent again."""
    problems.log_of(request, error)
    answer = problems.problem(request, 503, "busy", "the journal does not answer now. Send the same request again.")
    answer.headers["Retry-After"] = "2"
    return answer
