"""The answer of ``GET /v1/offers``: a quote in pages, rendered once per question and catalog."""

import base64
import gzip
import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from cloudaccel.api import quoting
from cloudaccel.api.explaining import Explanation
from cloudaccel.catalog.session import Session
from cloudaccel.errors import QueryError
from cloudaccel.model import Offer, Query
from cloudaccel.output import quote_json
from cloudaccel.output.columns import View
from cloudaccel.output.explain_json import history_json
from cloudaccel.service.asked import Money, OfferFilters
from cloudaccel.service.problems import CursorOutdated
from cloudaccel.service.watch import Watched
from cloudaccel.settings import load_settings
from cloudaccel.untrusted import json_of

_CACHE_BYTES = 32 * 2**20
_ASKED = 4096  # addresses that are remembered as they were sent
_LEVEL = 1  # of compression: half the time of the usual 6, for a third more bytes
_MAX_OFFSET = 10_000_000  # far beyond any catalog; a cursor is text from outside


class Rendered(NamedTuple):
    """A finished answer: its bytes, the same compressed, and the entity tag of what they say."""

    body: bytes
    packed: bytes
    etag: str


_Key = tuple[str, date, str]


class OfferPages:
    """Renders pages of offers from one catalog and keeps the last ones; safe to use from several threads."""

    def __init__(
        self, catalog: str | Path | None = None, *, money: Money | None = None, cache_bytes: int = _CACHE_BYTES
    ) -> None:
        self._watched = Watched(catalog)
        self._money = money or Money()
        self._room = cache_bytes
        self._kept: OrderedDict[_Key, Rendered] = OrderedDict()
        self._asked: OrderedDict[bytes, str] = OrderedDict()  # address as it was sent -> question, for `again`
        self._fragments = Fragments()
        self._used = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the catalogs that nobody reads now; the next question opens another."""
        self._watched.close()

    def page(self, filters: OfferFilters, asked: bytes | None = None) -> Rendered:
        """The page that `filters` ask for; raises as `quote` does, and `CursorOutdated`.

        `asked` is the query as it was sent: `again` then knows it.
        """
        filters, today = self._money.of(filters), datetime.now(UTC).date()
        key = (self._watched.id(), today, filters.model_dump_json())
        with self._lock:
            if found := self._kept.get(key):
                self._kept.move_to_end(key)
        # What is laid over the catalog has ids of its own, and may change under the same one; so may a file of rates.
        kept = key[0] and not (filters.currency and load_settings()["fx_file"])
        rendered = found or self._rendered(filters, today, self._fragments if kept else None)
        # An overlay may be edited at any moment without a new catalog id: such answers are not kept.
        if kept:
            self._keep(key, rendered, asked)
        return rendered

    def again(self, asked: bytes) -> Rendered | None:
        """The answer to a query that was asked in the same letters before, if it is kept and still true."""
        question = self._asked.get(asked)
        if question is None:
            return None
        key = (self._watched.id(), datetime.now(UTC).date(), question)
        with self._lock:
            if found := self._kept.get(key):
                self._kept.move_to_end(key)
            return found

    def _rendered(self, filters: OfferFilters, today: date, fragments: "Fragments | None") -> Rendered:
        with self._watched.session() as session:
            return _render(answer(filters, session, today), filters.limit, fragments or Fragments())

    def _keep(self, key: _Key, rendered: Rendered, asked: bytes | None) -> None:
        with self._lock:
            if asked is not None:
                self._asked[asked] = key[2]
                while len(self._asked) > _ASKED:
                    self._asked.popitem(last=False)
            if key in self._kept:
                return  # kept before, or another thread was faster
            self._kept[key] = rendered
            self._used += _size(rendered)
            while self._used > self._room:
                _, dropped = self._kept.popitem(last=False)
                self._used -= _size(dropped)


def _size(rendered: Rendered) -> int:
    return len(rendered.body) + len(rendered.packed)


class Answer(NamedTuple):
    """A page of a quote: `quote` has its offers only; `next_cursor` None on the last page."""

    quote: quoting.Quote
    next_cursor: str | None


def answer(filters: OfferFilters, session: Session, today: date) -> Answer:
    """The page that `filters` ask for; raises as `quote` does, and `CursorOutdated`."""
    given: dict[str, Any] = filters.model_dump(exclude={"accelerator", "limit", "cursor"})
    digest = hashlib.sha256(filters.model_dump_json(exclude={"limit", "cursor"}).encode()).hexdigest()[:16]
    offset, seen_catalog = _read_cursor(filters.cursor, digest)
    found = quoting.quote_in(session, filters.accelerator, limit=offset + filters.limit, today=today, **given)
    if seen_catalog not in (None, found.catalog_id):
        raise CursorOutdated("the prices changed since the page before. Ask again without cursor.")
    shown = found.offers[offset:]
    ids = {offer.id for offer in shown}
    notices = tuple(notice for notice in found.notices if notice.offer is None or notice.offer in ids)
    end = offset + len(shown)
    following = _cursor(end, found.catalog_id, digest) if shown and end < found.total else None
    return Answer(replace(found, offers=shown, notices=notices), following)


def offer_answer(found: Explanation, today: date) -> dict[str, Any]:
    """An explained offer with the versions of its price, oldest first, as plain JSON values."""
    offer = found.offers[0]
    query = Query(markets=((offer.market, None),), currency=offer.price.currency)
    alone = quoting.Quote(
        query=query, offers=(offer,), total=1, hidden=(), notices=(), hints=(), examples={}, catalog_id="",
        catalog_as_of=None, catalog_until=None, today=today,
    )  # fmt: skip
    return {"offer": quote_json.offer_json(offer, View(alone)), "history": history_json(found.history)}


class Fragments:
    """Offers as JSON text, kept while the catalog and the day stay the same: most pages share most of their offers."""

    def __init__(self, most: int = 8192) -> None:
        self._most = most
        self._of: tuple[str, date] | None = None
        self._kept: dict[tuple[str, int, bool, bool, Decimal | None], bytes] = {}

    def text(self, offer: Offer, view: View) -> bytes:
        """One offer of an answer."""
        found = view.answer
        if self._of != (found.catalog_id, found.today):
            self._of, self._kept = (found.catalog_id, found.today), {}
        kept = self._kept
        # All that differs between two questions about one offer: machines asked for, the age that is too old, and the
        # currency that it is seen from, and the tax that is shown.
        key = (
            offer.id, found.nodes(offer), found.is_stale(offer), "other_currency" in offer.apart, found.tax_percent,
        )  # fmt: skip
        if key not in kept:
            if len(kept) >= self._most:
                kept.pop(next(iter(kept)), None)
            kept[key] = json.dumps(quote_json.offer_json(offer, view), ensure_ascii=False).encode()
        return kept[key]


def _render(answered: Answer, limit: int, fragments: Fragments) -> Rendered:
    found = answered.quote
    body = quote_json.envelope(replace(found, offers=()))
    body["complete"] = len(found.offers) == found.total
    body["next_cursor"] = answered.next_cursor
    body["query"]["limit"] = limit
    body["currency"]["fx"] = quote_json.rates_json(found)
    view = View(found)
    moment, body["generated_at"], body["offers"] = body["generated_at"], None, None
    head, _, tail = json.dumps(body, ensure_ascii=False).encode().partition(b'"offers": null')
    offers = b", ".join([fragments.text(offer, view) for offer in found.offers])
    said = b"".join((head, b'"offers": [', offers, b"]", tail))
    # Weak, since the same answer may travel compressed; without the moment, so that the same facts have the same tag.
    etag = f'W/"{hashlib.sha256(said).hexdigest()[:32]}"'
    whole = said.replace(b'"generated_at": null', f'"generated_at": {json.dumps(moment)}'.encode(), 1)
    return Rendered(whole, gzip.compress(whole, _LEVEL), etag)


def _cursor(offset: int, catalog_id: str, digest: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([offset, catalog_id, digest]).encode()).decode()


def _read_cursor(text: str | None, digest: str) -> tuple[int, str | None]:
    """Offers to skip, and the catalog that the page before came from; (0, None) without a cursor."""
    if text is None:
        return 0, None
    try:
        offset, catalog_id, question = json_of(base64.b64decode(text, altchars=b"-_", validate=True))
    except (ValueError, TypeError) as error:
        raise QueryError("cursor: not one of ours. Pass next_cursor of the page before, unchanged.") from error
    if type(offset) is not int or not 0 <= offset <= _MAX_OFFSET or not isinstance(catalog_id, str):
        raise QueryError("cursor: not one of ours. Pass next_cursor of the page before, unchanged.")
    if question != digest:
        raise QueryError("cursor: it belongs to another question. Keep the filters, or ask again without cursor.")
    return offset, catalog_id
