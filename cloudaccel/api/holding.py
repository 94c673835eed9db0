"""Capacity that the user holds: its window, the machine of the catalog that it is, and what was paid for it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cloudaccel import units
from cloudaccel.catalog.query import RankedRow, load_offers, ranked_rows
from cloudaccel.cost.lines import CURRENCY
from cloudaccel.errors import QueryError
from cloudaccel.model import Query
from cloudaccel.model.plan import Reservation
from cloudaccel.planner.request import Context, Held, Request

_ID = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._:/()-]{0,511}")  # some are the whole path of a resource
_EXAMPLE = "2027-01-10T11:30Z/24h"
_MARKETS = ("on_demand", "capacity_block")  # what a reservation can hold
_SHOWN = 4
_EXACT = Decimal("0.000001")  # of an hourly figure that follows from a sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What the user `said` of a reservation; `left_s` are the seconds of its window that are still to come."""

    id: str
    start: datetime
    end: datetime
    left_s: float
    paid: Decimal | None
    said: Mapping[str, str]


def read_holding(
    reservation: str | None, window: str | None, paid: str | Decimal | None, *, now: datetime | None, owned: bool
) -> Holding | None:
    """What the three flags say; None without a reservation. `now` None is the clock's.

    Raises
    ------
    QueryError
        If one is missing or cannot be read.
    """
    if reservation is None:
        if window is not None or paid is not None:
            raise QueryError("--window and --paid go with --reservation ID.")
        return None
    if owned:
        raise QueryError("--inventory plans on machines that you own, --reservation on such that you rent: name one.")
    if not _ID.fullmatch(reservation):
        raise QueryError(f"--reservation: {reservation!r} is no id of a reservation. Copy it from your provider.")
    if window is None:
        raise QueryError(f"--reservation {reservation}: from when until when is it yours? Say --window {_EXAMPLE}.")
    start, end = _window(window)
    seconds = (end - start).total_seconds()
    left = min(seconds, max(0.0, (end - (now or datetime.now(UTC))).total_seconds()))
    if left < seconds:
        left -= left % 60  # what has begun is counted in whole minutes, so that two plans at once are the same
    said = {"reservation": reservation, "window": window} | ({} if paid is None else {"paid": str(paid)})
    return Holding(id=reservation, start=start, end=end, left_s=left, paid=_paid(paid), said=said)


def _window(text: str) -> tuple[datetime, datetime]:
    begin, slash, length = text.strip().partition("/")
    try:
        start = datetime.fromisoformat(begin)
    except ValueError:
        start = None
    if start is None or not slash:
        raise QueryError(f"--window: {text!r} is no window. Write its start and its length: {_EXAMPLE}.")
    if start.tzinfo is None:
        raise QueryError(f"--window: {begin!r} does not say in which time zone. Write Z for UTC: {_EXAMPLE}.")
    seconds = units.parse_duration_s(length, "--window")
    try:
        start = start.astimezone(UTC)
        end = start + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise QueryError(f"--window: {text!r} is outside the calendar. Write it as {_EXAMPLE}.") from None
    if seconds < 60:
        raise QueryError(f"--window: {length} is below a minute. Write it as {_EXAMPLE}.")
    return start, end


def _paid(paid: str | Decimal | None) -> Decimal | None:
    if paid is None:
        return None
    amount, currency = units.parse_money(str(paid), "--paid")
    if (currency or CURRENCY) != CURRENCY:
        raise QueryError(f"--paid: it is in {currency}, and no exchange rate is loaded. Write it in {CURRENCY}.")
    return amount


def hold(request: Request, context: Context, holding: Holding) -> Request:
    """`request` on the held machines alone, until the window ends.

    Raises
    ------
    QueryError
        If the catalog has no such machine, what is asked for could be more than one, or the job is a service.
    """
    query, workload = request.query, request.workload
    if workload.serve is not None:
        raise QueryError(
            "--reservation plans a run that ends within its window; a service goes on. Plan it without the reservation."
        )
    if not query.terms:
        raise QueryError(f"--reservation {holding.id}: name the machine that it holds with --accel, and its --region.")
    if not {market for market, _ in query.markets} <= set(_MARKETS):
        raise QueryError(f"--reservation {holding.id}: it holds on-demand machines, or is a --market capacity-block.")
    row = _machine(sorted(ranked_rows(context.db, query, context.accelerators)), holding.id)
    bare = Reservation(
        id=holding.id, start=holding.start, end=holding.end, machines=query.terms[0].nodes, sunk_per_hour=None,
        sunk=None, currency=CURRENCY, source="",
    )  # fmt: skip
    if holding.paid is None:
        reservation = _as_blocks_cost(bare, context, query, row)
    else:
        each = (holding.paid / bare.hours).quantize(_EXACT)
        reservation = replace(bare, sunk=holding.paid, sunk_per_hour=each, source="as you said with --paid")
    held = Held(reservation, row.oid, Decimal(str(holding.left_s)) / 3600)
    until = holding.left_s if workload.deadline_s is None else min(workload.deadline_s, holding.left_s)
    return replace(request, held=held, max_nodes=bare.machines, workload=replace(workload, deadline_s=until))


def _machine(rows: list[RankedRow], identity: str) -> RankedRow:
    """The one machine in one region that the rows are of."""
    places = sorted({f"{row.provider} {row.region} {row.instance}" for row in rows})
    if not places:
        raise QueryError(
            f"--reservation {identity}: the catalog has no such machine there. See 'cloudaccel quote' for what it has, "
            "or lay your own over it with --price-file."
        )
    if len(places) > 1:
        shown = ", ".join(places[:_SHOWN]) + (" …" if len(places) > _SHOWN else "")
        raise QueryError(
            f"--reservation {identity}: it holds one machine type in one region, and {len(places)} answer to what was "
            f"said: {shown}. Name one with --accel, --provider and --region."
        )
    return rows[0]


def _as_blocks_cost(held: Reservation, context: Context, query: Query, row: RankedRow) -> Reservation:
    """`held` with what the capacity block that is most alike costs; unknown when the catalog has none."""
    blocks = Query(
        terms=query.terms, providers=query.providers, without=query.without, markets=(("capacity_block", None),)
    )
    place = (row.provider, row.region, row.instance)
    found = ranked_rows(context.db, blocks, context.accelerators)
    rows = [b for b in found if (b.provider, b.region, b.instance) == place]
    offers = load_offers(context.db, (b.oid for b in rows)).values()
    priced = [(o, o.price.amount) for o in offers if o.price.amount is not None]
    if not priced:
        unknown = f"the catalog has no capacity block of {row.instance} in {row.region}; say it with --paid"
        return replace(held, source=unknown)
    offer, amount = min(priced, key=lambda o: (abs(_term_h(o[0].term) - held.hours), o[1], o[0].id))
    each = amount * held.machines
    said = f"as a block of {offer.term or 'unknown length'} cost on {offer.price.as_of}: {offer.price.source.name}"
    total = each * held.hours
    if offer.price.upfront is not None and _term_h(offer.term) == held.hours:
        total = offer.price.upfront * held.machines  # the fee itself, which the price by the hour only rounds
    return replace(held, sunk_per_hour=each, sunk=total, source=said)


def _term_h(term: str | None) -> Decimal:
    """Hours of a block's term, such as ``24h``; 0 when it has none."""
    return Decimal(term[:-1]) if term and term.endswith("h") else Decimal(0)
