"""A limit in money that is the price of another offer: ``od(g4dn.xlarge)``, ``spot(p5.48xlarge)``."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cloudaccel.catalog.session import Session
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.model import Query

_OF = re.compile(r"\s*(od|on-demand|spot)\(\s*([^()\s]+)\s*\)\s*\Z", re.IGNORECASE)
_MARKETS = {"od": "on_demand", "on-demand": "on_demand", "spot": "spot"}


Place = Mapping[str, Any]  # of a `Query`: providers, regions, countries


def limits_of(
    session: Session, max_price: str | Decimal | None, max_hourly: str | Decimal | None, place: Place
) -> tuple[str | Decimal | None, str | Decimal | None]:
    """Both limits as amounts; `place` is where the other offer is looked for.

    Raises
    ------
    QueryError
        If that offer has no known price: an unknown limit is no limit. `UnknownName` if there is no such type.
    """
    return (
        _limit_of(session, "--max-price", max_price, place, each=True),
        _limit_of(session, "--max-hourly", max_hourly, place, each=False),
    )


def _limit_of(
    session: Session, flag: str, value: str | Decimal | None, place: Place, *, each: bool
) -> str | Decimal | None:
    """`value`, or the cheapest price of the instance type that it names; what it was is noted for the reader."""
    found = _OF.match(value) if isinstance(value, str) else None
    if found is None:
        return value
    market, instance = _MARKETS[found[1].lower()], found[2]
    if session.instance(instance) is None:
        raise UnknownName(f"{flag}: no instance type is called {instance!r} in this catalog.")
    asked = Query(instance=instance, markets=((market, None),), limit=1, allow_fraction=True, **place)
    best = next((offer for offer in session.query(asked).offers if not offer.apart), None)
    amount = None if best is None else best.price_per_accelerator_hour if each else best.price.amount
    if best is None or amount is None:
        raise QueryError(
            f"{flag} {value}: no {market.replace('_', '-')} price of {instance} is known within these filters, "
            "so there is no limit. Name another instance type, or a number."
        )
    unit = "accelerator-hour" if each else "hour"
    session.said.append(
        f"{flag} {value} is {amount.normalize():f} {best.price.currency} per {unit}: {best.provider} {best.region}, "
        f"{best.price.as_of or 'undated'}."
    )
    return f"{amount.normalize():f} {best.price.currency}"
