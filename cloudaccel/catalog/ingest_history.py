"""Past prices become price versions: what cost how much from which day to which day."""

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation

from cloudaccel.catalog.guard import MOST_MOVED, MOST_MOVED_ELSE
from cloudaccel.catalog.ingest_rows import RowRefusedError, offer_row, plain
from cloudaccel.catalog.ingest_sources import Sources
from cloudaccel.catalog.rows import HISTORY_COLUMNS, OFFER_KEY, Row
from cloudaccel.facts import places
from cloudaccel.facts.accelerators import all_accelerators

_SHAPE = ("service", "accelerator_id", "accelerator_name", "count")


class KnownInstances:
    """What the current offers say about an instance type, so that its past prices get the same key."""

    def __init__(self, offers: Iterable[Row]) -> None:
        self._shapes: dict[tuple[str, str], dict[str, str]] = {}
        for row in offers:
            shape = {column: row[column] for column in _SHAPE}
            self._shapes.setdefault((row["provider"], row["instance"]), shape)

    def shape(self, provider: str, instance: str) -> Mapping[str, str]:
        """Service, accelerator and count of an instance type; a retired type has only the service."""
        return self._shapes.get((provider, instance), {"service": "vm"})


def changes(
    table: Mapping[str, str], known: KnownInstances, sources: Sources, *, first: str, last: str, price: str
) -> Row:
    """The version in one row of a table of changes; `first`, `last` and `price` name its columns.

    Raises
    ------
    RowRefusedError
        If the region is in no table of places, or the price is not above 0.
    """
    repository = (table["source_repo"], table["source_path"], table.get("source_commit", ""))
    row = _version(table["provider"], table["region"], table["instance_type"], known)
    row |= {
        "market": table["price_kind"],
        "currency": table.get("currency", "USD"),
        "price_per_hour": _price(table[price]),
        "from_at": table[first][:10],
        "until_at": table[last][:10],
        "source": sources.of(*repository).id,
    }
    return row


def strays(history: Iterable[Row]) -> frozenset[int]:
    """`id` of each version that is further from the ones before and after it than prices move.

    A list that named another machine's price for a month, and then the old one again, was wrong and not cheap.
    """
    by_offer: dict[tuple[str, ...], list[Row]] = {}
    for row in history:
        if row["market"] not in MOST_MOVED:  # what moves freely may come back
            by_offer.setdefault(tuple(row[column] for column in OFFER_KEY), []).append(row)
    found: set[int] = set()
    for rows in by_offer.values():
        rows.sort(key=lambda row: row["from_at"])
        for before, row, after in zip(rows, rows[1:], rows[2:], strict=False):
            low, high = sorted(Decimal(other["price_per_hour"]) for other in (before, after))
            price = Decimal(row["price_per_hour"])
            if price * MOST_MOVED_ELSE < low or price > high * MOST_MOVED_ELSE:
                found.add(id(row))
    return frozenset(found)


def superseded(table: Mapping[str, str], sources: Sources) -> Row:
    """The version of one row in the columns of a price table, valid on the day of its date.

    Raises
    ------
    RowRefusedError
        As `offer_row`, or if the row has no date or no price.
    """
    return _version_of(offer_row({**table, "notes": ""}, sources), table["notes"])


def _version_of(offer: Row, note: str) -> Row:
    """The price of an offer as a version of the day on which it was seen."""
    if not offer["as_of"] or not offer["price_per_hour"]:
        raise RowRefusedError("a past price without a date or an amount")
    row = {column: offer.get(column, "") for column in HISTORY_COLUMNS}
    row |= {"from_at": offer["as_of"], "until_at": offer["as_of"], "note": note}
    return row


def per_chip(table: Mapping[str, str], sources: Sources) -> Iterator[Row]:
    """Versions, on demand and spot, of a price that is quoted for one chip; the instance is the family's name.

    Raises
    ------
    RowRefusedError
        If the source itself says that its units are mixed, or the family is not in the accelerator table.
    """
    if "mixes units" in table["note"]:
        raise RowRefusedError("the source mixes units")
    family = re.sub(r"\s+(?:pod|device)\Z", "", table["tpu"]).replace(" ", "")
    found = [item for item in all_accelerators() if item.family.casefold() == family.casefold()]
    if len(found) != 1:
        raise RowRefusedError("accelerator family not in the table")
    for market, column in (("on_demand", "on_demand_usd_per_chip_hour"), ("spot", "spot_usd")):
        row = _version(table["provider"], table["region"], table["tpu"], KnownInstances(()))
        row |= {
            "accelerator_id": found[0].id,
            "accelerator_name": found[0].family,
            "count": "1",
            "market": market,
            "currency": "USD",
            "price_per_hour": _price(table[column]),
            "from_at": table["as_of"],
            "until_at": table["as_of"],
            "source": sources.of(table["source_repo"], table["source_path"], table["source_commit"]).id,
            "note": "per chip",
        }
        yield row


def _version(provider: str, region: str, instance: str, known: KnownInstances) -> Row:
    place = places.region(provider, region)
    if place is None:
        raise RowRefusedError("region not in the table of places")
    row: Row = dict.fromkeys(HISTORY_COLUMNS, "")
    row |= {"provider": place.provider, "partition": place.partition, "region": place.name, "instance": instance}
    row |= known.shape(place.provider, instance)
    return row


def _price(text: str) -> str:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise RowRefusedError("price is no number") from None
    if not amount.is_finite() or amount <= 0:
        raise RowRefusedError("price is not above 0")
    return plain(amount)
