"""Where it can be had: each region as a dot on a map, and the same as a list for who reads with ears or keyboard."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from markupsafe import Markup

from cloudaccel.catalog.query import RankedRow, load_offers, ranked_rows
from cloudaccel.catalog.session import Session, accelerator_table
from cloudaccel.compliance import Judge, placement_of
from cloudaccel.facts import places
from cloudaccel.model import Offer, Query
from cloudaccel.model.verdict import ACCEPTED_RISK, COMPLIANT, NON_COMPLIANT
from cloudaccel.service.page_table import money

_WIDTH, _HEIGHT, _NORTH = 720, 290, 85  # the frame of static/land.svg: two units to the degree, from 85° north
_LARGEST, _SMALLEST = 8.0, 3.0
ALLOWED, FORBIDDEN, UNKNOWN = "allowed", "forbidden", "unknown"
_CARBON = (100, 300, 500)  # g CO2e/kWh, edges of the four shades


class Spot(NamedTuple):
    """One region: the cheapest accelerator-hour there, whether it is allowed, and the grid's carbon."""

    provider: str
    region: str
    country: str
    price: str
    state: str
    carbon: str


class Map(NamedTuple):
    """The picture, its list, and how many regions have no coordinates."""

    picture: Markup
    spots: tuple[Spot, ...]
    unplaced: int


def make_map(
    session: Session, query: Query, judge: Judge | None, *, carbon: bool, offers: Iterable[Offer] | None = None
) -> Map:
    """The regions with a ranked offer for `query`, wherever they are; its place filter colours them.

    `offers` are those of the question in every place, where their prices were converted; None: they are read.
    """
    found = _cheapest_by_region(session, replace(query, countries=None)) if offers is None else _first(offers)
    best = [offer for offer in found if not offer.apart]
    best.sort(key=lambda offer: offer.price_per_accelerator_hour or 0)
    spots = tuple(_spot(offer, query, judge) for offer in best)
    dots: list[Markup] = []
    for offer, spot in zip(best, spots, strict=True):
        place = places.region(offer.provider, offer.region)
        if place is not None and place.latitude is not None and place.longitude is not None:
            share = float((best[0].price_per_accelerator_hour or 0) / (offer.price_per_accelerator_hour or 1))
            css = _shade(place.carbon_g_per_kwh) if carbon else spot.state
            dots.append(_dot(place.longitude, place.latitude, _SMALLEST + (_LARGEST - _SMALLEST) * share, css, spot))
    label = f"Map of {len(dots)} regions; the list below has the same figures."
    picture = Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">'
        '<image href="/static/land.svg" width="{}" height="{}"/>{}</svg>'
    ).format(_WIDTH, _HEIGHT, label, _WIDTH, _HEIGHT, Markup("").join(reversed(dots)))
    return Map(picture, spots, len(spots) - len(dots))


def _cheapest_by_region(session: Session, query: Query) -> list[Offer]:
    table = accelerator_table()
    own = session.overlay
    listed = session.read(lambda db: _best(ranked_rows(db, replace(query, without=session.replaced), table)))
    offers = list(session.read(lambda db: load_offers(db, listed)).values())
    if own is not None:
        offers += load_offers(own.db, _best(ranked_rows(own.db, query, table))).values()
    return offers


def _first(offers: Iterable[Offer]) -> list[Offer]:
    """The first offer of each region, of offers that are in the order of price."""
    best: dict[tuple[str, str], Offer] = {}
    for offer in offers:
        best.setdefault((offer.provider, offer.region), offer)
    return list(best.values())


def _best(rows: Iterable[RankedRow]) -> list[int]:
    """The row number of the cheapest accelerator-hour of each region."""
    best: dict[tuple[str, str], tuple[Fraction, int]] = {}
    for row in rows:
        price = Fraction(row.amount) / Fraction(row.size).limit_denominator(1000)
        key = (row.provider, row.region)
        if key not in best or (price, row.oid) < best[key]:
            best[key] = price, row.oid
    return [oid for _, oid in best.values()]


def _spot(offer: Offer, query: Query, judge: Judge | None) -> Spot:
    place = places.region(offer.provider, offer.region)
    grams = None if place is None else place.carbon_g_per_kwh
    price = money(offer.price_per_accelerator_hour, offer.price.currency, query.currency)
    carbon = (
        "unknown" if grams is None or place is None else f"{grams:g} g/kWh ({place.carbon_scope or 'scope not stated'})"
    )
    return Spot(offer.provider, offer.region, offer.country or "unknown", price, _state(offer, query, judge), carbon)


def _state(offer: Offer, query: Query, judge: Judge | None) -> str:
    """Filter and rules together: what either forbids is forbidden, what either does not know is unknown."""
    states = {ALLOWED}
    if query.countries is not None:
        states.add(UNKNOWN if offer.country is None else ALLOWED if offer.country in query.countries else FORBIDDEN)
    if judge is not None:
        said = judge.verdict(placement_of(offer)).state
        states.add(FORBIDDEN if said == NON_COMPLIANT else ALLOWED if said in (COMPLIANT, ACCEPTED_RISK) else UNKNOWN)
    return next(state for state in (FORBIDDEN, UNKNOWN, ALLOWED) if state in states)


def _shade(grams: float | None) -> str:
    return "unknown" if grams is None else f"k{sum(grams > edge for edge in _CARBON)}"


def _dot(longitude: float, latitude: float, radius: float, css: str, spot: Spot) -> Markup:
    x, y = round((longitude + 180) * 2, 1), round((_NORTH - latitude) * 2, 1)
    words = f"{spot.provider} {spot.region}: from {spot.price}, {spot.state}, {spot.carbon}"
    return Markup('<circle class="spot {}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
        css, x, y, round(radius, 1), words
    )


__all__ = ["Map", "Spot", "make_map"]
