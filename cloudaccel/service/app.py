"""The application: routes, and what every answer carries (request id, security headers, entity tags)."""

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Query, Request, Response
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse

from cloudaccel import __version__
from cloudaccel.api.explaining import explain
from cloudaccel.catalog.session import open_session
from cloudaccel.errors import UnknownName
from cloudaccel.facts.accelerators import all_accelerators
from cloudaccel.output.explain_json import accelerator_json, explanation_json
from cloudaccel.output.quote_json import SCHEMA
from cloudaccel.service import problems
from cloudaccel.service.around import Around
from cloudaccel.service.asked import Money, OfferFilters
from cloudaccel.service.doors import Doors, SignIn
from cloudaccel.service.metrics import TEXT, Figures
from cloudaccel.service.offers import OfferPages, offer_answer
from cloudaccel.service.page import add_page
from cloudaccel.service.repeated import Repeated, answer_of, has_tag
from cloudaccel.service.routes import add_tables, add_verbs, seller_dates

if TYPE_CHECKING:
    from cloudaccel.service.runs import Runs
    from cloudaccel.service.stored import Stored

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_OFFER_ID = re.compile(r"[0-9a-f]{16}")
_COMPRESS_FROM_BYTES = 1024
_PAGES_AT_ONCE = 2  # more threads take the interpreter from each other: the slowest answers get slower, none faster


def create_app(
    catalog: str | Path | None = None,
    *,
    max_age_days: float | None = None,
    hosts: tuple[str, ...] = LOOPBACK_NAMES,
    rate: float | None = None,
    money: Money | None = None,
    sign_in: SignIn | None = None,
    runs: "Runs | None" = None,
    stored: "Stored | None" = None,
    closing: Callable[[], object] = lambda: None,
) -> FastAPI:
    """The service over one catalog.

    Parameters
    ----------
    catalog
        As ``--catalog``; None: the settings, else the user's own.
    max_age_days
        Age of the prices from which ``/readyz`` says no; None: never.
    hosts
        Names that a request may call this machine by, ``*`` for all. A page of a stranger that points its own name
        at loopback gets nothing.
    rate
        Requests a second that one address may make; None: any number.
    money
        Currency and tax of answers to questions that name none; None: US dollars without tax.
    sign_in
        Who is let in, and where (`cloudaccel.service.doors.NEEDS`); None: everybody, who then only reads.
    runs
        Where machines are started, by who is signed in; None: there are no such routes.
    stored
        Figures of the state store for ``/metrics``; None: there is none, or nobody uses it.
    closing
        Called once the last request is answered: closes what was opened for `sign_in`, `runs` and `stored`.
    """
    money = money or Money()
    pages = OfferPages(catalog, money=money)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            pages.close()
            closing()

    # The interactive pages of FastAPI load scripts from a CDN, which a closed network has not.
    app = FastAPI(title="cloudaccel", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    problems.install(app)
    app.add_middleware(GZipMiddleware, minimum_size=_COMPRESS_FROM_BYTES)
    app.add_middleware(Repeated, pages=pages)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(Doors, sign_in=sign_in)
    figures = Figures()
    app.add_middleware(Around, figures=figures, rate=rate)
    _add_prices(app, catalog, pages)
    add_verbs(app, catalog, money)
    add_tables(app, catalog)
    _add_figures(app, catalog, figures)
    if runs is not None:
        from cloudaccel.service.run_routes import add_runs  # the journal and all that starts machines

        add_runs(app, runs)
    if stored is not None:
        figures.watch_store(stored)
    _add_health(app, catalog, max_age_days)
    add_page(app, catalog, money)
    return app


def _add_prices(app: FastAPI, catalog: str | Path | None, pages: OfferPages) -> None:
    turns = CapacityLimiter(_PAGES_AT_ONCE)

    async def offers(request: Request, filters: Annotated[OfferFilters, Query()]) -> Response:
        """Offers, cheapest per accelerator-hour first: the JSON of ``cloudaccel quote``, in pages."""
        asked = request.scope["query_string"]
        rendered = await run_sync(pages.page, filters, asked, limiter=turns)
        status, headers, body = answer_of(rendered, dict(request.scope["headers"]))
        answer = Response(body, status_code=status)
        answer.raw_headers = headers
        return answer

    def offer(offer_id: str, request: Request) -> Response:
        """One offer by its id: the parts and the source of its price, and every price it had."""
        try:
            found = explain(offer_id, catalog=catalog) if _OFFER_ID.fullmatch(offer_id) else None
        except UnknownName:
            found = None
        if found is None:
            return problems.problem(request, 404, "unknown_offer", f"no offer of this catalog has the id {offer_id!r}.")
        return JSONResponse({"schema": SCHEMA, "kind": "offer", **offer_answer(found, datetime.now(UTC).date())})

    def accelerators(request: Request) -> Response:
        """Every accelerator that is known, with the source and the date of its facts."""
        body, etag = _all_accelerators()
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if has_tag(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    def accelerator(name: str, request: Request) -> Response:
        """What a name means: an id, a family, a cloud's spelling, or an instance type."""
        try:
            found = explain(name, catalog=catalog)
        except UnknownName as error:
            return problems.problem(request, 404, error.code, str(error), choices=error.choices)
        return JSONResponse({"schema": SCHEMA, "kind": "explain", "names": [explanation_json(found)]})

    app.get("/v1/offers", response_class=JSONResponse)(offers)
    app.get("/v1/offers/{offer_id}", response_class=JSONResponse)(offer)
    app.get("/v1/accelerators", response_class=JSONResponse)(accelerators)
    app.get("/v1/accelerators/{name}", response_class=JSONResponse)(accelerator)


@cache
def _all_accelerators() -> tuple[bytes, str]:
    """The table as JSON, and its entity tag; it changes with the version of the package only."""
    rows = [accelerator_json(row) for row in all_accelerators()]
    body = json.dumps({"schema": SCHEMA, "kind": "accelerators", "accelerators": rows}, ensure_ascii=False).encode()
    return body, f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'


def _add_health(app: FastAPI, catalog: str | Path | None, max_age_days: float | None) -> None:
    def healthz() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    def readyz() -> Response:
        """Whether prices can be given, and are young enough."""
        with open_session(catalog) as session:
            meta = session.catalog.meta
        as_of = meta["as_of"] or None
        reason = _too_old(as_of, max_age_days)
        body = {
            "status": "unready" if reason else "ready", "reason": reason,
            "catalog": {"id": meta["catalog_id"], "as_of": as_of, "as_of_until": meta["as_of_until"] or None},
        }  # fmt: skip
        return JSONResponse(body, status_code=503 if reason else 200)

    app.get("/healthz")(healthz)
    app.get("/readyz", response_class=JSONResponse)(readyz)


def _add_figures(app: FastAPI, catalog: str | Path | None, figures: Figures) -> None:
    def dates() -> dict[str, tuple[int, str | None, str | None]]:
        with open_session(catalog) as session:
            return seller_dates(session)

    def quarantined() -> int:
        sql = "SELECT count(*) FROM offer WHERE current AND status = 'quarantined'"
        with open_session(catalog) as session:
            return session.read(lambda db: db.execute(sql).fetchone()[0])

    def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(figures.text(), media_type=TEXT)

    figures.watch(dates, quarantined)
    app.get("/metrics", response_class=PlainTextResponse)(metrics)


def _too_old(as_of: str | None, max_age_days: float | None) -> str | None:
    if max_age_days is None:
        return None
    if as_of is None:
        return "the prices have no date. Run cloudaccel refresh, or serve without --max-age."
    age = (datetime.now(UTC).date() - date.fromisoformat(as_of[:10])).days
    if age < 0:
        return f"the oldest prices are of {as_of[:10]}, after today. Check this machine's clock."
    if age <= max_age_days:
        return None
    return f"the oldest prices are {age} days old, and --max-age allows {max_age_days:g}. Run cloudaccel refresh."
