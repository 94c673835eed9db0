"""The other read-only verbs over HTTP: plan, compare, advise, history, places and the catalog."""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from cloudaccel.api.explaining import explain
from cloudaccel.catalog.session import Session, open_session
from cloudaccel.errors import QueryError, SnapshotMissing
from cloudaccel.facts import places
from cloudaccel.output.explain_json import history_json
from cloudaccel.output.quote_json import SCHEMA
from cloudaccel.service.asked import (
    AdviseRequest,
    CompareRequest,
    Money,
    PlanRequest,
    Text,
    Texts,
    advise_text,
    compare_text,
    plan_text,
)
from cloudaccel.service.guard import Heavy
from cloudaccel.service.repeated import has_tag

_PIECE = 1 << 20
_TIMES = 5  # a catalog is replaced every few minutes at most
_AT_ONCE = 4  # plans and comparisons; more are told to come again


def add_verbs(app: FastAPI, catalog: str | Path | None, money: Money) -> None:
    """The verbs that reckon: each takes JSON and answers with the JSON of the command line."""
    heavy = Heavy(_AT_ONCE)

    def plan(body: PlanRequest) -> Response:
        """The lock of the cheapest plan for a job; ``chosen`` is null when nothing fits, and says why."""
        with heavy:
            return Response(plan_text(money.of(body), catalog), media_type="application/json")

    def compare(body: CompareRequest) -> Response:
        """Ways of getting the same result, costed side by side."""
        with heavy:
            return Response(compare_text(money.of(body), catalog), media_type="application/json")

    def advise(body: AdviseRequest) -> Response:
        """Call an API, adapt an open model or build one; rent or own: what the rules recommend."""
        return Response(advise_text(money.of(body)), media_type="application/json")

    app.post("/v1/plan", response_class=JSONResponse)(plan)
    app.post("/v1/compare", response_class=JSONResponse)(compare)
    app.post("/v1/advise", response_class=JSONResponse)(advise)


def add_tables(app: FastAPI, catalog: str | Path | None) -> None:
    """What the catalog and the tables hold: sellers, regions, dates, and prices over time."""

    def providers() -> dict[str, Any]:
        """Every seller with rows in the catalog or in the tables, and the dates of its prices."""
        with open_session(catalog) as session:
            return _envelope(session, "providers", providers=_sellers(session))

    def regions(provider: Annotated[Text | None, Query(description="one seller")] = None) -> dict[str, Any]:
        """Every region of the tables: where it stands, who runs it, the carbon of its grid, and the source of that."""
        seller = None if provider is None else places.resolve_provider(provider)
        rows = [_region(row) for row in places.regions().values() if seller in (None, row.provider)]
        with open_session(catalog) as session:
            return _envelope(session, "regions", regions=rows)

    def catalog_state() -> dict[str, Any]:
        """Which catalog answers, how old each seller's prices are, and which sources it was made from."""
        with open_session(catalog) as session:
            sql = "SELECT name, path, revision, licence, url FROM source ORDER BY name, path"
            names = ("name", "path", "revision", "licence", "url")
            sources = [
                dict(zip(names, row, strict=True)) for row in session.read(lambda db: db.execute(sql).fetchall())
            ]
            return _envelope(session, "catalog", providers=_sellers(session), sources=sources)

    def catalog_file(request: Request) -> Response:
        """The file that answers come from, without prices of one's own; its entity tag is the id of the catalog."""
        file, catalog_id = _opened_file(catalog)
        headers = {"ETag": f'"{catalog_id}"', "Cache-Control": "no-cache"}
        if has_tag(request.headers.get("if-none-match", ""), headers["ETag"]):
            file.close()
            return Response(status_code=304, headers=headers)
        headers |= {"Content-Length": str(os.fstat(file.fileno()).st_size), "Content-Encoding": "identity"}
        return StreamingResponse(_pieces(file), media_type="application/vnd.sqlite3", headers=headers)

    def history(offer: Annotated[Texts, Query(min_length=1, max_length=20, description="ids of offers")]) -> Any:
        """Every known price of some offers, oldest first; between two of them nobody looked."""
        found: list[dict[str, Any]] = []
        for offer_id in dict.fromkeys(offer):
            if len(offer_id) != 16 or not set(offer_id) <= set("0123456789abcdef"):
                raise QueryError(f"offer: {offer_id!r} is no id of an offer. /v1/offers has them.")
            one = explain(offer_id, catalog=catalog)
            price = one.offers[0].price
            found.append({"offer": offer_id, "currency": price.currency, "versions": history_json(one.history)})
        with open_session(catalog) as session:
            return _envelope(session, "history", histories=found)

    app.get("/v1/providers")(providers)
    app.get("/v1/regions")(regions)
    app.get("/v1/catalog")(catalog_state)
    app.get("/v1/catalog/file", response_class=StreamingResponse)(catalog_file)
    app.get("/v1/history")(history)


def _opened_file(catalog: str | Path | None) -> tuple[BinaryIO, str]:
    """The catalog's file, open, and its id. One that is replaced meanwhile goes on to be readable, so they agree.

    Raises
    ------
    PricingError
        If the catalog is no file: one of prices in memory.
    """
    for _ in range(_TIMES):
        with open_session(catalog) as session:
            path, catalog_id = session.catalog.path, session.catalog.meta["catalog_id"]
        if path is None:
            break
        file = path.open("rb")
        with open_session(catalog) as session:
            if session.catalog.meta["catalog_id"] == catalog_id:
                return file, catalog_id
        file.close()
    raise SnapshotMissing("the catalog is not kept in a file, so that it cannot be given away.")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        yield from iter(lambda: file.read(_PIECE), b"")


def _envelope(session: Session, kind: str, **content: Any) -> dict[str, Any]:
    meta = session.catalog.meta
    stamp = {"id": meta["catalog_id"], "as_of": meta["as_of"] or None, "as_of_until": meta["as_of_until"] or None}
    return {"schema": SCHEMA, "kind": kind, "catalog": stamp, **content}


def _sellers(session: Session) -> list[dict[str, Any]]:
    today = datetime.now(UTC).date()
    dates = seller_dates(session)
    return [_seller(name, dates.get(name), today) for name in sorted({*dates, *places.providers()})]


def seller_dates(session: Session) -> dict[str, tuple[int, str | None, str | None]]:
    """By seller: rows in the catalog, and the oldest and the newest date of its prices (ISO; None: undated)."""
    sql = "SELECT provider, sum(rows), min(as_of), max(COALESCE(as_of_until, as_of)) FROM segment GROUP BY provider"
    return {
        row[0]: (row[1], row[2] or None, row[3] or None) for row in session.read(lambda db: db.execute(sql).fetchall())
    }


def _seller(name: str, dates: tuple[int, str | None, str | None] | None, today: date) -> dict[str, Any]:
    row = places.providers().get(name)
    rows, first, last = dates or (0, None, None)
    return {
        "id": name,
        "title": row.title if row else None,
        "operator": row.operator if row else None,
        "operator_country": row.operator_country if row else None,
        "kind": row.kind if row else None,
        "source": row.source if row else None,
        "rows": rows,
        "as_of": first,
        "as_of_until": last,
        "age_days": None if first is None or first[:10] > today.isoformat() else _days(first, today),
    }


def _days(first: str, today: date) -> int:
    return (today - date.fromisoformat(first[:10])).days


_REGION = ("provider", "partition", "name", "title", "country", "city", "operator", "operator_country", "latitude",
           "longitude", "carbon_g_per_kwh", "carbon_scope", "pue", "source", "as_of", "note")  # fmt: skip


def _region(row: Any) -> Mapping[str, Any]:
    return {name: getattr(row, name) if getattr(row, name) != "" else None for name in _REGION}
