"""One question's view of the catalog: the open file, the user's overlay over it, and mending when it is damaged."""

import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from cloudaccel import settings
from cloudaccel.catalog import store
from cloudaccel.catalog.query import (
    EXAMPLES,
    SORTS,
    could_be,
    hidden_examples,
    on_demand_not_above,
    order_key,
    ranked_counts,
    run_query,
)
from cloudaccel.catalog.rows import Row
from cloudaccel.facts import accelerators
from cloudaccel.facts.names import InstanceFacts
from cloudaccel.model import Accelerator, Hidden, Offer, Query, QueryResult, Source

T = TypeVar("T")
_MOST_KEPT = 8192  # offers that an open session remembers; a page of a service shares most of its offers with others


class Session:
    """An open catalog with an optional overlay. Reading methods mend a damaged cache once and ask again.

    `replaced` are ids of the catalog's offers that the overlay stands in for; `warnings` are for stderr; `fx_file` is
    the setting of that name.
    """

    def __init__(self, catalog: store.Catalog, cache: Path) -> None:
        self.catalog = catalog
        self.cache = cache
        self.overlay: store.Catalog | None = None
        self.replaced: frozenset[str] = frozenset()
        self.warnings = list(catalog.warnings)
        self.said: list[str] = []  # how something of the question was read
        self.fx_file = ""
        self.max_age = ""  # of the settings, for questions that name none
        self._again: Callable[[store.Catalog], store.Catalog] = lambda mended: mended
        self._laid: tuple[list[Row], list[Source]] = ([], [])
        self._made: dict[int, Offer] = {}
        self._beside: dict[str, int | None] = {}

    def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """The answer of `question`, asked of the catalog; a damaged cache is built again and asked once more."""
        try:
            return question(self.catalog.db)
        except sqlite3.DatabaseError as error:
            if not store.is_damage(error):
                raise
            self.catalog = store.mend(self.catalog, self.cache)
            self.catalog = self._again(self.catalog)
            self._made, self._beside = {}, {}
            self.warnings.extend(self.catalog.warnings)
            return question(self.catalog.db)

    def adjust(self, path: Path, day: date) -> None:
        """Answer with the adjustments and commitments of `path` from now on, also when the catalog has to be mended."""
        from cloudaccel.catalog.adjust import adjusted  # only where somebody negotiated something

        self._again = lambda catalog: adjusted(catalog, path, self.cache, day)
        self.catalog = self._again(self.catalog)
        self.warnings = list(self.catalog.warnings)

    def note_laid(self, rows: list[Row], sources: list[Source]) -> None:
        """Remember the overlay's rows for `read_laid`."""
        self._laid = rows, sources

    def read_laid(
        self, question: Callable[[sqlite3.Connection], T], change: Callable[[sqlite3.Connection], None] | None = None
    ) -> T:
        """As `read`, of one catalog in which the overlay's offers stand in place of those that they replace.

        `change` may write into it first: it is a copy then.
        """
        if self.overlay is None and change is None:
            return self.read(question)
        from cloudaccel.catalog.overlay import merged

        with closing(self.read(lambda db: merged(db, *self._laid, self.replaced))) as db:
            if change is not None:
                change(db)
            return question(db)

    def query(self, query: Query) -> QueryResult:
        """Offers of the catalog and the overlay in one order."""
        table = accelerator_table()
        if len(self._made) > _MOST_KEPT:
            self._made.clear()
        asked = replace(query, without=self.replaced) if self.replaced else query
        listed = self.read(lambda db: run_query(db, asked, table, self._made))
        if self.overlay is None:
            return listed
        own = run_query(self.overlay.db, query, table)
        return _merged(query, listed, own)

    def ranked_counts(self, query: Query) -> set[Fraction]:
        """The numbers of accelerators, 1 or more, of every match that can be ranked."""
        table = accelerator_table()
        found = self.read(lambda db: ranked_counts(db, replace(query, without=self.replaced), table))
        return found | (ranked_counts(self.overlay.db, query, table) if self.overlay else set())

    def hidden_examples(self, query: Query) -> dict[str, list[Offer]]:
        """The cheapest few offers that each filter hid, by reason."""
        table = accelerator_table()
        found = self.read(lambda db: hidden_examples(db, replace(query, without=self.replaced), table))
        if self.overlay is not None:
            for reason, offers in hidden_examples(self.overlay.db, query, table).items():
                found[reason] = sorted([*found.get(reason, ()), *offers], key=order_key)[:EXAMPLES]
        return found

    def on_demand_beside(self, spot: Sequence[str]) -> dict[str, int]:
        """Of spot offers that are not cheaper: nano-units of the on-demand price of the same thing there, by id."""
        if len(self._beside) > _MOST_KEPT:
            self._beside.clear()
        if new := [offer_id for offer_id in spot if offer_id not in self._beside]:
            found = self.read(lambda db: on_demand_not_above(db, new))
            self._beside.update((offer_id, found.get(offer_id)) for offer_id in new)
        return {offer_id: price for offer_id in spot if (price := self._beside[offer_id]) is not None}

    def instance(self, name: str) -> InstanceFacts | None:
        """What the catalog knows of an instance type; None when it has none of that name."""
        for catalog in filter(None, (self.overlay, self.catalog)):
            found = _instance(catalog.db, name)
            if found is not None:
                return found
        return None


@contextmanager
def open_session(
    catalog: str | Path | None = None, price_file: str | Path | None = None, *, today: date | None = None
) -> Generator[Session]:
    """Open the catalog (`catalog`, else the settings, else the user's own) and lay the price file over it.

    The adjustments of the settings that hold on `today` (None: the clock's day, UTC) come between the two.
    """
    configured = settings.load_settings()
    cache = settings.cache_dir()
    named = str(catalog or configured["catalog"]) or None
    session = Session(store.open_catalog(named, cache), cache)
    session.fx_file = configured["fx_file"]
    session.max_age = configured["max_age"]
    try:
        if configured["adjustments"]:
            session.adjust(Path(configured["adjustments"]), today or datetime.now(UTC).date())
        own = price_file or configured["price_file"]
        if own:
            _lay_over(session, Path(own))
        yield session
    finally:
        session.catalog.close()
        if session.overlay is not None:
            session.overlay.close()


@contextmanager
def own_session(path: Path, text: str, countries: Mapping[str, str]) -> Generator[Session]:
    """The machines of an inventory as the whole catalog: `text` is a price file, `countries` are those of the sites."""
    from cloudaccel.catalog.load import build_rows_in_memory
    from cloudaccel.catalog.pricefile import read_price_file

    rows, sources, _ = read_price_file(path, text)
    catalog = build_rows_in_memory(rows, sources, built_from=str(path), countries=countries)
    try:
        yield Session(catalog, settings.cache_dir())
    finally:
        catalog.close()


def accelerator_table() -> dict[str, Accelerator]:
    """The accelerator table by id."""
    return {accelerator.id: accelerator for accelerator in accelerators.all_accelerators()}


def _lay_over(session: Session, path: Path) -> None:
    from cloudaccel.catalog.load import build_rows_in_memory
    from cloudaccel.catalog.overlay import lay_over
    from cloudaccel.catalog.pricefile import read_price_file

    rows, sources, warnings = read_price_file(path)
    laid, session.replaced = session.read(lambda db: lay_over(db, rows, str(path)))
    session.overlay = build_rows_in_memory(laid, sources, built_from=str(path))
    session.warnings.extend(warnings)
    session.note_laid(laid, sources)


def _merged(query: Query, listed: QueryResult, own: QueryResult) -> QueryResult:
    ranks = {i: term.rank for term in reversed(query.terms) for i in term.accelerator_ids}

    def key(offer: Offer) -> tuple[object, ...]:
        rank = min((ranks[i] for i in could_be(offer) if i in ranks), default=0)
        return bool(offer.apart), rank, SORTS[query.sort](offer)

    hidden: dict[str, Hidden] = {h.reason: h for h in listed.hidden}
    for h in own.hidden:
        before = hidden.get(h.reason)
        hidden[h.reason] = Hidden(h.reason, h.rows + (before.rows if before else 0), h.text)
    offers = sorted((*listed.offers, *own.offers), key=key)[: query.limit]
    return listed._replace(offers=tuple(offers), total=listed.total + own.total, hidden=tuple(hidden.values()))


def _instance(db: sqlite3.Connection, name: str) -> InstanceFacts | None:
    found = db.execute(
        "SELECT accelerator, count, hosts, instance FROM shape WHERE instance = ? COLLATE NOCASE "
        "ORDER BY accelerator_id IS NULL LIMIT 1",
        (name,),
    ).fetchone()
    if found is None:
        return None
    accelerator, count, hosts, instance = found
    return InstanceFacts(accelerator, Fraction(count) if count else None, hosts, instance)
