"""The page at ``/``: one question as a sentence, answered with a table, a card and panels, all made on the server."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from jinja2 import Environment, FileSystemLoader, select_autoescape

from cloudaccel import __version__
from cloudaccel.api import quoting
from cloudaccel.catalog.history import offer_by_id, versions
from cloudaccel.catalog.session import Session, accelerator_table, open_session
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.facts.models import models
from cloudaccel.model import Offer
from cloudaccel.output import quote_csv
from cloudaccel.output.columns import DEFAULT_COLUMNS
from cloudaccel.service import page_card, page_history, page_map, page_owning, page_sizing, page_table
from cloudaccel.service.asked import Money, OfferFilters, without_flags
from cloudaccel.service.offers import answer
from cloudaccel.service.page_query import PageQuery, parse
from cloudaccel.service.routes import seller_dates

_HERE = Path(__file__).parent
_STATIC = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "land.svg": "image/svg+xml",
    "icon.svg": "image/svg+xml",
}
_SEARCHED = 200  # cheapest offers among which the card looks for one that the rules allow
# Nothing from elsewhere, nothing inline: what an offer's name or note says can never run here.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_AREAS = ("EU", "EEA", "Europe", "North America", "Asia", "US", "DE", "FR", "GB", "CA", "JP", "IN")
_CURRENCIES = ("EUR", "CNY", "INR")  # beside the dollar, those that sellers list in
_MARKETS = ("on-demand", "spot", "reserved-1y", "reserved-3y", "capacity-block", "flex", "any")
_RENTS = {"on demand": "on-demand", "1 year": "reserved-1y", "3 years": "reserved-3y", "spot": "spot"}


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=select_autoescape(default=True), trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """All that the answer part of the page shows."""

    quote: quoting.Quote
    next_cursor: str | None
    rows: list[page_table.Row]
    card: page_card.Card
    map: page_map.Map
    history: page_history.Chart
    sized: list[page_sizing.Sized]
    sizing_error: str
    owning: page_owning.Panel | None
    sellers: list[tuple[str, int, str, str]]
    sources: list[tuple[str, str]]


def add_page(app: FastAPI, catalog: str | Path | None, money: Money) -> None:
    """The page, its files, and its table as a download."""

    def page(request: Request) -> Response:
        """The page for people; its address holds the whole question."""
        status, body = _render(request.query_params.multi_items(), catalog, money)
        headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}
        return HTMLResponse(body, status_code=status, headers=headers)

    def table_csv(request: Request) -> Response:
        """The offers of the page as CSV: the same rows in the same order."""
        query = money.of(parse(request.query_params.multi_items()))
        with open_session(catalog) as session:
            found = answer(query.offers(), session, datetime.now(UTC).date()).quote
        text = quote_csv.render(found, DEFAULT_COLUMNS, "hour")
        headers = {"Content-Disposition": 'attachment; filename="offers.csv"'}
        return PlainTextResponse(text, media_type="text/csv", headers=headers)

    def static(name: str) -> Response:
        """A file of the page."""
        if name not in _STATIC:
            raise HTTPException(404, "no such file of the page")
        headers = {"Cache-Control": "public, max-age=86400", "Content-Security-Policy": PAGE_POLICY}
        return FileResponse(_HERE / "static" / name, media_type=_STATIC[name], headers=headers)

    app.get("/", include_in_schema=False)(page)
    app.get("/offers.csv", include_in_schema=False)(table_csv)
    app.get("/static/{name}", include_in_schema=False)(static)


@cache
def _stamp() -> str:
    """Part of the addresses of the page's files: it changes when they do, so that no browser keeps old ones."""
    digest = hashlib.sha256(b"".join((_HERE / "static" / name).read_bytes() for name in sorted(_STATIC)))
    return digest.hexdigest()[:12]


def _render(pairs: Sequence[tuple[str, str]], catalog: str | Path | None, money: Money) -> tuple[int, str]:
    query, found, fault, choices = PageQuery(), None, "", ()
    try:
        query = money.of(parse(pairs))
        found = _answered(query, catalog)
    except (QueryError, ConfigError) as error:
        fault, choices = without_flags(str(error)), error.choices
    text = _templates().get_template("page.html").render(
        q=query, found=found, fault=fault, choices=choices, version=__version__, stamp=_stamp(),
        currencies=_currencies(query, money), own_currency=bool(money.currency), **_words(),
    )  # fmt: skip
    return (400 if fault else 200), text


def _currencies(query: PageQuery, money: Money) -> list[str]:
    """What the form offers: the currencies of lists, and those that the service or the question names."""
    named = (code.upper() for code in (money.currency, query.currency) if code)
    return list(dict.fromkeys(("USD", *named, *_CURRENCIES)))


@cache
def _words() -> dict[str, Any]:
    """The choices of the form; none depends on the question."""
    return {
        "areas": _AREAS, "markets": _MARKETS, "columns": page_table.COLUMNS,
        "standard": page_table.STANDARD, "windows": page_history.WINDOWS,
        "methods": page_sizing.METHODS, "own_fields": page_owning.FIELDS, "packs": page_card.packs_on_offer(),
        "of_money": page_table.OF_MONEY,
        "models": sorted(models()), "families": sorted({row.family for row in accelerator_table().values()}),
    }  # fmt: skip


def _answered(query: PageQuery, catalog: str | Path | None) -> Answered:
    today = datetime.now(UTC).date()
    filters = query.offers()
    judge = page_card.judge_of(tuple(query.policy), query.headquarters, query.users)
    looked = _asked(filters, catalog, today, limit=_SEARCHED, show_hidden=True)
    card = page_card.make_card(looked, judge)
    with open_session(catalog) as session:
        page = answer(filters, session, today)
        everywhere = None
        if page.quote.conversion is not None:
            everywhere = _asked(filters, catalog, today, limit=None, country=[], residency=None).offers
        shown_map = page_map.make_map(session, looked.query, judge, carbon=query.layer == "carbon", offers=everywhere)
        history = _history(session, query, page.quote, card, today)
        sellers, sources = _sellers(session), _sources(session)
    sized, sizing_error = _sized(query, page.quote.offers)
    return Answered(
        quote=page.quote, next_cursor=page.next_cursor, rows=page_table.rows(page.quote, query.columns), card=card,
        map=shown_map, history=history, sized=sized, sizing_error=sizing_error,
        owning=_owning(query, card, catalog, today), sellers=sellers, sources=sources,
    )  # fmt: skip


def _asked(
    filters: OfferFilters, catalog: str | Path | None, today: date, *, show_hidden: bool = False, **changed: Any
) -> quoting.Quote:
    """The same question in the order of price, with `changed` filters."""
    given = filters.model_dump(exclude={"accelerator", "limit", "cursor"})
    wanted: dict[str, Any] = {**given, "sort": "price", **changed}
    return quoting.quote(filters.accelerator, catalog=catalog, today=today, show_hidden=show_hidden, **wanted)


def _history(
    session: Session, query: PageQuery, found: quoting.Quote, card: page_card.Card, today: date
) -> page_history.Chart:
    """The prices of the rows that were picked, else of the card's offer."""
    ids = query.pick or ([card.offer.id] if card.offer else [o.id for o in found.offers[:1]])
    named: dict[str, Any] = {}
    currency = found.query.currency
    for offer_id in ids:
        overlay = session.overlay
        for db_of in [overlay.db] if overlay else []:
            if (own := offer_by_id(db_of, offer_id)) is not None:
                named[_name(own)] = versions(db_of, offer_id)
        offer = session.read(lambda db, i=offer_id: offer_by_id(db, i))
        if offer is not None and _name(offer) not in named:
            currency = offer.price.currency
            named[_name(offer)] = session.read(lambda db, i=offer_id: versions(db, i))
    return page_history.chart(named, query.days, today, currency)


def _name(offer: Offer) -> str:
    how = " ".join(filter(None, (offer.market, offer.term, offer.payment))).replace("_", "-")
    return f"{offer.provider} {offer.zone or offer.region} {offer.instance} {how}"


def _sized(query: PageQuery, offers: Sequence[Offer]) -> tuple[list[page_sizing.Sized], str]:
    """The sizing box; a field that cannot be read says so there, and leaves the rest of the page standing."""
    if not query.model:
        return [], ""
    try:
        return page_sizing.sized(offers, query.model, query.method, query.context), ""
    except (QueryError, ConfigError) as error:
        near = f" Nearest: {', '.join(error.choices)}." if error.choices else ""
        return [], without_flags(str(error)) + near


def _owning(
    query: PageQuery, card: page_card.Card, catalog: str | Path | None, today: date
) -> page_owning.Panel | None:
    """The break-even panel for the card's accelerators, against the cheapest rent of each market."""
    if card.offer is None or query.accelerator is None:
        return None
    # The panel reckons in dollars; a limit in money is of the question's currency.
    plain: dict[str, Any] = {"currency": None, "max_price": None, "max_hourly": None} if query.currency else {}
    filters, rents = query.offers(), dict[str, Decimal]()
    for name, market in _RENTS.items():
        best = next(iter(_asked(filters, catalog, today, market=market, limit=1, **plain).offers), None)
        price = None if best is None or best.apart else best.price_per_accelerator_hour
        if best is not None and price is not None and best.price.currency == "USD":
            rents[name] = price
    try:
        return page_owning.panel(card.offer, rents, query.owning) if rents else None
    except (QueryError, ConfigError) as error:
        return page_owning.Panel(None, (without_flags(str(error)),), ())


def _sellers(session: Session) -> list[tuple[str, int, str, str]]:
    """Each seller with the number of its rows, and its oldest and newest date."""
    found = sorted(seller_dates(session).items())
    return [(name, rows, first or "undated", last or "undated") for name, (rows, first, last) in found]


def _sources(session: Session) -> list[tuple[str, str]]:
    """Names and licences of the sources."""
    return session.read(lambda db: db.execute("SELECT DISTINCT name, licence FROM source ORDER BY 1, 2").fetchall())
