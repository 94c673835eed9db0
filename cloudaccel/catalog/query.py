"""Questions to the catalog: the cheapest offers that match, how many there are, and what each filter hid.

A query is a union of *groups*, one per accelerator and commitment. Each group is a few ranges of the quote index, one
per market, so the cost follows the number of matches and not the size of the catalog.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from cloudaccel.catalog.offers import OFFER_SELECT, offer_from_row
from cloudaccel.catalog.schema import (
    APART_BIT,
    APART_MASK,
    NOT_SOLD,
    PER_ACCELERATOR,
    UNNAMED,
    accelerator_key,
    card_of,
)
from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.names import MEMORY_TOLERANCE, resolved_ids
from cloudaccel.model import Accelerator, AcceleratorTerm, Hidden, Offer, Query, QueryResult, to_nano

_ANY = AcceleratorTerm(text="", accelerator_ids=())
_RANKED_CURRENCY = "USD"  # the currency of offer.rank_price


class _Filter:
    """One condition. `sql` is true, false or NULL for a row; NULL hides it too: unknown satisfies nothing."""

    def __init__(self, reason: str, text: str, sql: str, params: tuple[object, ...] = ()) -> None:
        self.reason = reason
        self.text = text
        self.sql = sql
        self.params = params


class _Group:
    """An accelerator in some markets: `base` finds the rows, `size` narrows them to the right count, then `filters`."""

    def __init__(
        self,
        base: str,
        base_params: tuple[object, ...],
        size: str,
        filters: tuple[_Filter, ...],
        term: AcceleratorTerm,
        card: "_Card",
    ) -> None:
        self.base = base
        self.base_params = base_params
        self.size = size
        self.filters = filters
        self.rank = term.rank
        self.known = card.row is not None
        self.several = term.count is not None and term.count > 1

    def matching(self) -> tuple[str, tuple[object, ...]]:
        """The condition of a match, and its parameters."""
        conditions = (self.base, self.size, *(f"({f.sql})" for f in self.filters))
        return " AND ".join(conditions), (*self.base_params, *_params(self.filters))

    def per_accelerator(self) -> tuple[str, tuple[object, ...]]:
        """The condition of what would match, were it not sold by the single accelerator."""
        single = f"o.count = 1 AND o.flags & {PER_ACCELERATOR}"
        return " AND ".join((self.base, single, *(f"({f.sql})" for f in self.filters))), self.matching()[1]


def run_query(
    db: sqlite3.Connection,
    query: Query,
    accelerators: Mapping[str, Accelerator],
    made: dict[int, Offer] | None = None,
) -> QueryResult:
    """Answer `query` from one open catalog.

    `accelerators` is the accelerator table by id; the filters on memory, link and kind read it. `made` are offers of
    this catalog by row number, made for earlier questions; those of this one are added.

    Ranked rows come first, in the order of `query.sort`; then, while there is room under `query.limit`, rows that are
    never ranked first, with their reasons in `Offer.apart`. `total` counts both.
    """
    groups = list(_groups(db, query, accelerators))
    hidden: dict[str, Hidden] = {}
    total = sum(_count(db, group, hidden) for group in groups)
    made = {} if made is None else made
    if query.limit is None:
        found = [(group.rank, offer) for group in groups for offer in _all(db, group, query.currency)]
    elif query.sort == "price" and query.currency == _RANKED_CURRENCY:
        found = _cheapest(db, groups, query.limit, made)
    else:
        found = _first_in_order(db, groups, query, query.limit, made)
    key = SORTS[query.sort]
    found.sort(key=lambda pair: (bool(pair[1].apart), pair[0], key(pair[1])))
    offers = tuple(offer for _, offer in found[: query.limit])
    (catalog_id,) = db.execute("SELECT value FROM meta WHERE key = 'catalog_id'").fetchone()
    return QueryResult(offers=offers, total=total, hidden=tuple(hidden.values()), catalog_id=catalog_id)


def order_key(offer: Offer) -> tuple[object, ...]:
    """The one ordering: cheapest per accelerator-hour; at the same price the bigger host; then by name."""
    price = offer.price_per_accelerator_hour
    return (
        price is None, price or 0, -(offer.memory_gib or 0), -(offer.vcpus or 0), offer.provider, offer.region,
        offer.instance, offer.zone or "", offer.market, offer.term or "", offer.offering_class or "",
        offer.payment or "", offer.id,
    )  # fmt: skip


def _hourly_key(offer: Offer) -> tuple[object, ...]:
    return (offer.price.amount is None, offer.price.amount or 0, order_key(offer))


def _newest_key(offer: Offer) -> tuple[object, ...]:
    return (tuple(-ord(character) for character in offer.price.as_of or "0"), order_key(offer))


SORTS: Mapping[str, Callable[[Offer], tuple[object, ...]]] = {
    "price": order_key,
    "hourly": _hourly_key,
    "memory": lambda offer: (-(offer.total_memory_gib or 0), order_key(offer)),
    "age": _newest_key,
    "provider": lambda offer: (offer.provider, offer.region, order_key(offer)),
}


def _groups(db: sqlite3.Connection, query: Query, accelerators: Mapping[str, Accelerator]) -> Iterator[_Group]:
    place_filters = _place_filters(db, query)
    limited = _has_capacities(db)
    without = json.dumps(sorted(query.without))
    earlier: dict[str, list[str]] = {}
    for term in query.terms or (_ANY,):
        for card in _cards(db, query, term, accelerators):
            count = _count_condition(term, query)
            seen = earlier.setdefault(card.key, [])
            # A row that an earlier term of the expression has already matched is not counted or shown twice.
            own = " AND ".join((count, *(f"NOT ({other})" for other in seen)))
            seen.append(count)
            base, params = "o.current AND o.accelerator = ?", (card.key,)
            if query.without:
                base += " AND o.id NOT IN (SELECT value FROM json_each(?))"  # any number of ids in one parameter
                params = (*params, without)
            instance = term.instance or query.instance
            if instance:
                base += " AND o.shape IN (SELECT id FROM shape WHERE instance = ? COLLATE NOCASE)"
                params = (*params, instance)
            held = (_within_capacity(term),) if limited else ()
            filters = (
                *(() if card.asked else (_UNTOLD,)),
                *place_filters,
                *held,
                *_row_filters(query, term),
                *_fact_filters(query, card),
            )
            for commitment, markets in _by_commitment(query.markets).items():
                narrowed = f"{base} AND o.market IN ({','.join('?' * len(markets))})"
                narrowed += " AND o.term = ?" if commitment else ""
                values = (*params, *markets, commitment) if commitment else (*params, *markets)
                yield _Group(narrowed, values, own, filters, term, card)


class _Card(NamedTuple):
    """An accelerator of the catalog, `key` in its column: a row of the accelerator table, or a seller's own name.

    `could_be` are the rows that a seller's name leaves open (``H100`` of 80 GB: SXM or PCIe). `asked` is False where
    only some of them are asked for: then it is not known to be what is wanted, and is hidden with that reason.
    """

    key: str
    row: Accelerator | None
    could_be: tuple[Accelerator, ...]
    asked: bool = True


_UNTOLD = _Filter("form_unknown", "whose seller does not say which form or memory it is", "0")


def _cards(
    db: sqlite3.Connection, query: Query, term: AcceleratorTerm, accelerators: Mapping[str, Accelerator]
) -> Iterator[_Card]:
    for key in term.accelerator_ids or _all_ids(db, query):
        row = accelerators.get(key)
        yield _Card(key, row, (row,) if row else tuple(accelerators[i] for i in _could_be(key) if i in accelerators))
    asked = frozenset(term.accelerator_ids)
    for key in _unnamed(db) if asked else ():
        ids = _could_be(key)
        if not asked.isdisjoint(ids):
            yield _Card(key, None, tuple(accelerators[i] for i in ids if i in accelerators), asked.issuperset(ids))


def _unnamed(db: sqlite3.Connection) -> Iterator[str]:
    """The accelerators on offer that have no row in the table: one search of the index for each."""
    sql = "SELECT min(o.accelerator) FROM offer o WHERE o.current AND o.accelerator > ? AND o.accelerator < ?"
    key: str | None = UNNAMED
    while key is not None:
        (key,) = db.execute(sql, (key, chr(ord(UNNAMED) + 1))).fetchone()
        if key is not None:
            yield key


def could_be(offer: Offer) -> tuple[str, ...]:
    """The rows of the accelerator table that an offer is of, or may be of where its seller leaves that open."""
    if offer.accelerator_id:
        return (offer.accelerator_id,)
    return _could_be(accelerator_key(None, offer.accelerator_name, offer.accelerator_memory_gib, offer.count))


@lru_cache(maxsize=4096)
def _could_be(key: str) -> tuple[str, ...]:
    """The rows of the accelerator table that a seller's own name, with the memory that it states, may mean."""
    if not key.startswith(UNNAMED):
        return ()
    name, memory = card_of(key)
    return tuple(i for i in resolved_ids(name) if memory is None or _has_memory(i, memory))


def _has_memory(accelerator_id: str, memory_gb: float) -> bool:
    own = by_id(accelerator_id).memory_gib
    return own is None or abs(own - memory_gb) <= own * MEMORY_TOLERANCE


def _has_capacities(db: sqlite3.Connection) -> bool:
    """Whether the catalog has offers that end somewhere: those of commitments."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'capacity'").fetchone() is not None


def _within_capacity(term: AcceleratorTerm) -> _Filter:
    sql = f"COALESCE((SELECT machines FROM capacity WHERE capacity.oid = o.oid), {term.nodes}) >= {term.nodes}"
    return _Filter("commitment", "of commitments for fewer machines than asked", sql)


def capacities(db: sqlite3.Connection) -> dict[int, int]:
    """Machines that each offer of a commitment has, by its row number; what is not there has no end."""
    return dict(db.execute("SELECT oid, machines FROM capacity")) if _has_capacities(db) else {}


def _by_commitment(markets: Iterable[tuple[str, str | None]]) -> Mapping[str | None, list[str]]:
    """Markets by the term that is asked of them: one statement reads them all, where one for each took most of its time
    to begin."""
    found: dict[str | None, list[str]] = {}
    for market, commitment in markets:
        found.setdefault(commitment, []).append(market)
    return found


def _all_ids(db: sqlite3.Connection, query: Query) -> Sequence[str]:
    if query.instance:
        found = db.execute(
            "SELECT DISTINCT accelerator FROM shape WHERE instance = ? COLLATE NOCASE", (query.instance,)
        )
    else:
        found = db.execute("SELECT DISTINCT accelerator FROM shape ORDER BY 1")
    return [row[0] for row in found]


def _count_condition(term: AcceleratorTerm, query: Query) -> str:
    if term.count is not None:
        # A double of an exact rational: the same division gave the number in the file.
        return f"o.count {'>=' if term.at_least else '='} {float(term.count)!r}"
    return "(o.count > 0 OR o.count IS NULL)" if query.allow_fraction else "(o.count >= 1 OR o.count IS NULL)"


def _place_filters(db: sqlite3.Connection, query: Query) -> tuple[_Filter, ...]:
    if not (query.providers or query.regions or query.zones) and query.countries is None:
        return ()
    places = db.execute("SELECT id, provider, lower(region), country, partition FROM place").fetchall()
    filters: list[_Filter] = []
    if query.providers:
        ids = [p[0] for p in places if (p[1], p[4]) in query.providers]
        filters.append(_in_places("provider", "from other providers", ids))
    if query.regions or query.zones:
        wanted = {region.lower() for region in query.regions}
        inside = _in_places("region", "in other regions", [p[0] for p in places if p[2] in wanted])
        filters.append(_or_in_zones(inside, query, places) if query.zones else inside)
    if query.countries is not None:
        unknown = [p[0] for p in places if p[3] is None]
        if unknown:
            ids = ",".join(map(str, unknown))
            filters.append(_Filter("country_unknown", "where no source names the country", f"o.place NOT IN ({ids})"))
        inside = [p[0] for p in places if p[3] in query.countries]
        filters.append(_in_places("residency", f"outside {query.place_text or 'the countries asked for'}", inside))
    return tuple(filters)


def _or_in_zones(inside: _Filter, query: Query, places: Sequence[tuple[int, str, str, str, str]]) -> _Filter:
    around = {(zone.provider, zone.region.lower()) for zone in query.zones if zone.region}
    whole = [p[0] for p in places if (p[1], p[2]) in around]
    names = json.dumps(sorted({zone.name for zone in query.zones}))
    sql = f"{inside.sql} OR o.zone COLLATE NOCASE IN (SELECT value FROM json_each(?))"
    sql += f" OR (o.zone IS NULL AND o.place IN ({','.join(map(str, whole))}))" if whole else ""
    return _Filter("region", "in other regions and zones", sql, (names,))


def _in_places(reason: str, text: str, ids: Sequence[int]) -> _Filter:
    return _Filter(reason, text, f"o.place IN ({','.join(map(str, ids))})")


def _row_filters(query: Query, term: AcceleratorTerm) -> Iterator[_Filter]:
    shape = "(SELECT {} FROM shape WHERE id = o.shape)"
    yield _Filter("not_sold", "priced, but not sold in this market", f"NOT o.flags & {NOT_SOLD}")
    if query.min_host_mem_gb is not None:
        sql = f"{shape.format('memory_gib')} >= ?"
        yield _Filter("host_mem", "with less or unknown host memory", sql, (query.min_host_mem_gb,))
    if query.min_vcpus is not None:
        sql = f"{shape.format('vcpus')} >= ?"
        yield _Filter("vcpus", "with fewer or unknown vCPUs", sql, (query.min_vcpus,))
    if query.require_available:
        yield _Filter("availability", "that no source says can be had", "o.availability = 'offered'")
    yield from _money_filters(query, term)


def _money_filters(query: Query, term: AcceleratorTerm) -> Iterator[_Filter]:
    """Limits in money; a row without a price, or in another currency, is over every limit."""
    if query.max_price is not None:
        # Only rows without a rank have to be looked up; the others are answered by the index.
        exact = "o.currency = ? AND o.amount <= ? * o.count"
        ranked = f"CASE WHEN o.rank_price IS NULL THEN {exact} ELSE o.rank_price <= ? END"
        limit = to_nano(query.max_price)
        sql, params = (
            (ranked, (query.currency, limit, limit))
            if query.currency == _RANKED_CURRENCY
            else (exact, (query.currency, limit))
        )
        yield _Filter("max_price", "above --max-price, or without a price", sql, params)
    if query.max_hourly is not None:
        sql, params = "o.currency = ? AND o.amount * ? <= ?", (query.currency, term.nodes, to_nano(query.max_hourly))
        yield _Filter("max_hourly", "above --max-hourly, or without a price", sql, params)


def _fact_filters(query: Query, card: _Card) -> Iterator[_Filter]:
    """Filters that the accelerator table decides for a whole group: for each row that the accelerator may be."""
    accelerator = card.row
    memory = accelerator.memory_gib if accelerator else None
    if query.kinds:
        kinds = {row.kind for row in card.could_be}
        yield _Filter("kind", "of another kind", str(int(bool(kinds) and kinds <= set(query.kinds))))
    if query.interconnect not in (None, "any"):
        linked = {row.link for row in card.could_be} == {query.interconnect}
        yield _Filter("interconnect", f"without {query.interconnect}", str(int(linked)))
    # Of an accelerator that the table does not have, only the offer itself says how much memory it has.
    said = "(SELECT accelerator_memory_gib FROM shape WHERE id = o.shape)"
    if query.min_mem_gb is not None:
        enough = f"{said} >= ?" if accelerator is None else str(int(memory is not None and memory >= query.min_mem_gb))
        sql = f"CASE WHEN o.count < 1 THEN {said} >= ? ELSE {enough} END"
        params = (query.min_mem_gb,) * sql.count("?")
        yield _Filter("min_mem", "with less or unknown memory per accelerator", sql, params)
    if query.min_total_mem_gb is not None:
        sql = f"o.count * {said if accelerator is None else memory or 'NULL'} >= ?"
        yield _Filter("min_total_mem", "with less or unknown memory in total", sql, (query.min_total_mem_gb,))


def _count(db: sqlite3.Connection, group: _Group, hidden: dict[str, Hidden]) -> int:
    """Number of matches in `group`; what its filters hid is added to `hidden`, under the first that failed.

    One pass over the index counts what is left after each filter; grouping by the reason takes twice the time.
    """
    passed = (" AND ".join(f"({f.sql})" for f in group.filters[: n + 1]) for n in range(len(group.filters)))
    sums = "".join(f", COALESCE(sum({condition}), 0)" for condition in passed)
    sql = f"SELECT count(*){sums} FROM offer o WHERE {group.base} AND {group.size}"
    params = tuple(param for n in range(len(group.filters)) for param in _params(group.filters[: n + 1]))
    counted: tuple[int, ...] = db.execute(sql, (*params, *group.base_params)).fetchone()
    for failed, before, after in zip(group.filters, counted, counted[1:], strict=False):
        _hide(hidden, failed, before - after)
    if group.several:
        # Prices of one accelerator are never multiplied into a machine; they are counted so that nobody misses them.
        where, params = group.per_accelerator()
        _hide(hidden, _PER_ACCELERATOR, db.execute(f"SELECT count(*) FROM offer o WHERE {where}", params).fetchone()[0])
    return counted[-1]


def _params(filters: Sequence[_Filter]) -> tuple[object, ...]:
    return tuple(param for f in filters for param in f.params)


def _hide(hidden: dict[str, Hidden], failed: _Filter, number: int) -> None:
    if number:
        before = hidden.get(failed.reason)
        hidden[failed.reason] = Hidden(failed.reason, number + (before.rows if before else 0), failed.text)


_PER_ACCELERATOR = _Filter("per_accelerator", "priced per accelerator, with no machine named", "")


def _cheapest(
    db: sqlite3.Connection, groups: Sequence[_Group], limit: int, made: dict[int, Offer]
) -> list[tuple[int, Offer]]:
    """The rows up to the `limit`-th price, ties included; and apart rows while there is room."""
    ranked = list(_first_rows(db, groups, limit))
    made.update(load_offers(db, [oid for _, oid in ranked if oid not in made]))
    found = [(rank, made[oid]) for rank, oid in ranked]
    room = limit - len(found)
    for group in groups if room > 0 else ():
        where, params = group.matching()
        rows = db.execute(
            f"{OFFER_SELECT} WHERE {where} AND o.rank_price IS NULL ORDER BY {_ORDER} LIMIT {room}", params
        )
        found.extend((group.rank, offer_from_row(row)) for row in rows)
    return found


def _first_rows(db: sqlite3.Connection, groups: Sequence[_Group], limit: int) -> Iterator[tuple[int, int]]:
    """Rank and row number of the ranked rows up to the `limit`-th price, from the index alone: no offer is made."""
    for rank in sorted({group.rank for group in groups}):
        own = [(group, _lowest(db, group, limit)) for group in groups if group.rank == rank]
        prices = sorted(price for _, rows in own for price, _ in rows)[:limit]
        for group, rows in own:
            yield from ((rank, oid) for price, oid in rows if price <= prices[-1])
            if len(rows) == limit and rows[-1][0] == prices[-1]:
                # More rows may have that price, and the index does not know which of them come first.
                read = {oid for _, oid in rows}
                more = _lowest(db, group, -1, exactly=prices[-1])
                yield from ((rank, oid) for _, oid in more if oid not in read)
        limit -= len(prices)
        if limit <= 0:
            return


def _lowest(db: sqlite3.Connection, group: _Group, limit: int, exactly: int | None = None) -> list[tuple[int, int]]:
    """Rank price and row number of the cheapest rows of a group, or of those at one price."""
    where, params = group.matching()
    which = "IS NOT NULL" if exactly is None else f"= {exactly:d}"
    sql = f"SELECT o.rank_price, o.oid FROM offer o WHERE {where} AND o.rank_price {which}"
    return db.execute(f"{sql} ORDER BY o.rank_price LIMIT {limit:d}", params).fetchall()


# `order_key` in SQL, and what goes before it in each of `SORTS`. None of it is NULL, so that Python orders rows alike.
_ORDER_KEY = (
    "o.amount IS NULL OR COALESCE(o.count, 0) = 0", "COALESCE(o.amount / o.count, 0)", "-COALESCE(s.memory_gib, 0)",
    "-COALESCE(s.vcpus, 0)", "p.provider", "p.region", "s.instance", "COALESCE(o.zone, '')", "o.market",
    "COALESCE(o.term, '')", "COALESCE(o.offering_class, '')", "COALESCE(o.payment, '')", "o.id",
)  # fmt: skip
_SORT_KEYS: Mapping[str, tuple[str, ...]] = {
    "price": (),
    "hourly": ("o.amount IS NULL", "COALESCE(o.amount, 0)"),
    "memory": ("-COALESCE(s.accelerator_memory_gib * max(1.0, o.count), 0)",),
    "age": ("-CAST(replace(COALESCE(o.as_of, '0'), '-', '') AS INTEGER)",),
    "provider": ("p.provider", "p.region"),
}
_ORDER = ", ".join(_ORDER_KEY)
_APART_BUT_FOR_CURRENCY = APART_MASK & ~APART_BIT["other_currency"]


def _first_in_order(
    db: sqlite3.Connection, groups: Sequence[_Group], query: Query, limit: int, made: dict[int, Offer]
) -> list[tuple[int, Offer]]:
    """The first rows in an order that the index does not have: every match is compared, and those shown are made."""
    keys = (*_SORT_KEYS[query.sort], *_ORDER_KEY)
    apart = f"o.flags & {_APART_BUT_FOR_CURRENCY} OR o.currency <> ?"
    select = (
        f"SELECT ({apart}) <> 0, {', '.join(keys)}, o.oid FROM offer o JOIN place p ON p.id = o.place "
        "JOIN shape s ON s.id = o.shape WHERE "
    )
    order = ", ".join(str(n + 1) for n in range(len(keys) + 1))
    rows: list[tuple[tuple[object, ...], int, int]] = []
    for group in groups:
        where, params = group.matching()
        found = db.execute(f"{select}{where} ORDER BY {order} LIMIT {limit:d}", (query.currency, *params))
        rows += [((row[0], group.rank, *row[1:-1]), group.rank, row[-1]) for row in found]
    rows.sort()
    del rows[limit:]
    made.update(load_offers(db, [oid for _, _, oid in rows if oid not in made]))
    return [(rank, _in_currency(made[oid], query.currency)) for _, rank, oid in rows]


def _all(db: sqlite3.Connection, group: _Group, currency: str) -> Iterator[Offer]:
    where, params = group.matching()
    for row in db.execute(f"{OFFER_SELECT} WHERE {where}", params):
        yield _in_currency(offer_from_row(row), currency)


def _in_currency(offer: Offer, currency: str) -> Offer:
    """The offer as seen from `currency`: rows of that currency are ranked, rows of others are apart."""
    if currency == _RANKED_CURRENCY:
        return offer
    reasons = tuple(code for code in offer.apart if code != "other_currency")
    if offer.price.currency != currency:
        reasons = (*reasons, "other_currency")
    return replace(offer, apart=reasons)


class RankedRow(NamedTuple):
    """What a planner has to know of an offer before it is worth making one: who sells it where, and for how much.

    Rows sort by price, then by place. No zone, term or class is "".
    """

    amount: int  # nano-units per hour of the whole machine
    provider: str
    region: str
    instance: str
    zone: str
    market: str
    term: str
    oid: int
    place: int  # row number of the seller's region
    offering_class: str
    accelerator: str
    size: float  # accelerators in one machine
    host_memory_gib: float | None
    service: str
    accelerator_name: str  # as the seller calls it


def ranked_rows(db: sqlite3.Connection, query: Query, accelerators: Mapping[str, Accelerator]) -> Iterator[RankedRow]:
    """Every match that can be ranked, of a known accelerator in a named machine, in no order.

    It takes a twentieth of the time of making offers.
    """
    select = (
        "SELECT o.amount, p.provider, p.region, s.instance, COALESCE(o.zone, ''), o.market, COALESCE(o.term, ''), "
        "o.oid, o.place, COALESCE(o.offering_class, ''), o.accelerator, o.count, s.memory_gib, s.service, "
        "s.accelerator_name "
        "FROM offer o JOIN place p ON p.id = o.place JOIN shape s ON s.id = o.shape"
    )
    for group in _groups(db, query, accelerators):
        if not group.known:
            continue  # no job is sized on what has no figures
        where, params = group.matching()
        machine = f"o.rank_price IS NOT NULL AND NOT o.flags & {PER_ACCELERATOR}"
        yield from map(RankedRow._make, db.execute(f"{select} WHERE {where} AND {machine}", params))


def not_planned_on(
    db: sqlite3.Connection, query: Query, accelerators: Mapping[str, Accelerator]
) -> tuple[int, int, int]:
    """How many matches `ranked_rows` leaves out: those that name no machine, those whose seller does not say which
    accelerator it is, and those that are never ranked."""
    single = unknown = apart = 0
    for group in _groups(db, query, accelerators):
        where, params = group.matching()
        sql = (
            f"SELECT COUNT(*) FILTER (WHERE o.rank_price IS NOT NULL AND o.flags & {PER_ACCELERATOR}), "
            f"COUNT(*) FILTER (WHERE o.rank_price IS NOT NULL AND NOT o.flags & {PER_ACCELERATOR}), "
            f"COUNT(*) FILTER (WHERE o.rank_price IS NULL) FROM offer o WHERE {where}"
        )
        found = db.execute(sql, params).fetchone()
        single, apart = single + found[0], apart + found[2]
        unknown += 0 if group.known else found[1]
    return single, unknown, apart


def load_offers(db: sqlite3.Connection, oids: Iterable[int]) -> dict[int, Offer]:
    """Offers by row number."""
    wanted = list(oids)
    found: dict[int, Offer] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        sql = OFFER_SELECT.replace("SELECT", "SELECT o.oid,", 1) + f" WHERE o.oid IN ({','.join('?' * len(some))})"
        found.update((row[0], offer_from_row(row[1:])) for row in db.execute(sql, some))
    return found


_AT_ONCE = 500  # SQLite takes 999 parameters in its oldest builds


def ranked_counts(db: sqlite3.Connection, query: Query, accelerators: Mapping[str, Accelerator]) -> set[Fraction]:
    """The numbers of accelerators, 1 or more, of every match that can be ranked."""
    found: set[Fraction] = set()
    for group in _groups(db, query, accelerators):
        where, params = group.matching()
        sql = f"SELECT DISTINCT o.count FROM offer o WHERE {where} AND o.rank_price IS NOT NULL AND o.count >= 1"
        found.update(Fraction(count) for (count,) in db.execute(sql, params))
    return found


EXAMPLES = 3  # hidden offers that are shown for each reason


def hidden_examples(
    db: sqlite3.Connection, query: Query, accelerators: Mapping[str, Accelerator]
) -> dict[str, list[Offer]]:
    """The cheapest offers that each filter hid, by the first filter that they failed; a few for each reason."""
    found: dict[str, list[Offer]] = {}
    for group in _groups(db, query, accelerators):
        passed: list[str] = []
        for n, failed in enumerate(group.filters):
            where = " AND ".join([group.base, group.size, *passed, f"NOT COALESCE(({failed.sql}), 0)"])
            params = (*group.base_params, *_params(group.filters[: n + 1]))
            order = "ORDER BY o.rank_price IS NULL, o.rank_price"
            rows = db.execute(f"{OFFER_SELECT} WHERE {where} {order} LIMIT {EXAMPLES}", params)
            found.setdefault(failed.reason, []).extend(offer_from_row(row) for row in rows)
            passed.append(f"({failed.sql})")
        if group.several:
            where, params = group.per_accelerator()
            order = "ORDER BY o.rank_price IS NULL, o.rank_price"
            rows = db.execute(f"{OFFER_SELECT} WHERE {where} {order} LIMIT {EXAMPLES}", params)
            found.setdefault(_PER_ACCELERATOR.reason, []).extend(offer_from_row(row) for row in rows)
    return {reason: sorted(offers, key=order_key)[:EXAMPLES] for reason, offers in found.items() if offers}


def on_demand_not_above(db: sqlite3.Connection, offer_ids: Sequence[str]) -> dict[str, int]:
    """Of spot offers that are not cheaper: nano-units of the on-demand price of the same shape and place, by id."""
    found: dict[str, int] = {}
    for start in range(0, len(offer_ids), _AT_ONCE):
        some = offer_ids[start : start + _AT_ONCE]
        sql = (
            # The index of quotes bounds the search to one accelerator, market and count; that of places would not.
            "SELECT a.id, min(b.amount) FROM offer a CROSS JOIN offer b INDEXED BY ix_quote ON b.current "
            "AND b.accelerator = a.accelerator AND b.market = 'on_demand' AND b.count = a.count AND b.place = a.place "
            "AND b.shape = a.shape AND b.currency = a.currency "
            f"WHERE a.id IN ({','.join('?' * len(some))}) AND b.amount <= a.amount GROUP BY a.id"
        )
        found.update(db.execute(sql, some).fetchall())
    return found
