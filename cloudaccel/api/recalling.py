"""`price_histories`: what offers cost over the last days."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from cloudaccel import units
from cloudaccel.catalog.history import versions
from cloudaccel.catalog.pricestats import PriceHistory, price_history
from cloudaccel.catalog.session import open_session
from cloudaccel.errors import QueryError
from cloudaccel.model import Offer

LONGEST_DAYS = 3660
_DAY_S = 86_400


def price_histories(
    offers: Sequence[Offer],
    span: str = "90d",
    *,
    catalog: str | Path | None = None,
    price_file: str | Path | None = None,
    today: date | None = None,
) -> Mapping[str, PriceHistory]:
    """The prices of `offers` by id, over the last `span` (``30d``, ``12w``) of days up to `today`.

    Only days on which a source was read are known: the catalog has as many as were published and refreshed.

    Raises
    ------
    QueryError
        If `span` cannot be read, or is less than a day or more than ten years.
    """
    days = units.parse_duration_s(span, "--history") / _DAY_S
    if not 1 <= days <= LONGEST_DAYS:
        raise QueryError(f"--history: {span!r} must be from 1d to {LONGEST_DAYS}d.")
    until = today or datetime.now(UTC).date()
    since = until - timedelta(days=int(days) - 1)
    with open_session(catalog, price_file) as session:
        found: dict[str, PriceHistory] = {}
        for offer in offers:
            known = versions(session.overlay.db, offer.id) if session.overlay else ()
            known = known or session.read(lambda db, identity=offer.id: versions(db, identity))
            found[offer.id] = price_history(known, since, until)
    return found
