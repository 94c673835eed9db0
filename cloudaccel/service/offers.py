"""The answer of ``GET /v1/offers``: a quote in pages, rendered once per question and catalog."""

import base64
import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from cloudaccel.api import quoting
from cloudaccel.api.explaining import Explanation
from cloudaccel.catalog.session import open_session
from cloudaccel.cli import quote_json
from cloudaccel.cli.columns import View
from cloudaccel.cli.explain import history_json
from cloudaccel.errors import QueryError
from cloudaccel.model import Query
from cloudaccel.service.problems import CursorOutdated

MAX_PAGE = 500
_CACHE_BYTES = 32 * 2**20
_MAX_OFFSET = 10_000_000  # far beyond any catalog; a cursor is text from outside

Text = Annotated[str, Field(max_length=200)]
Texts = Annotated[list[Text], Field(max_length=50)]


class OfferFilters(BaseModel):
    """The filters of ``cloudaccel quote``, with underscores; lists may be repeated or have commas."""

    model_config = ConfigDict(extra="forbid")

    accelerator: Text | None = Field(default=None, description="such as H100:8, A100-80GB:8x2, 80GB+:8")
    instance: Text | None = Field(default=None, description="one instance type instead of an accelerator")
    kind: Texts = Field(default=[], description="kind of accelerator: gpu, tpu, neuron, hpu")
    provider: Texts = Field(default=[], description="seller")
    region: Texts = Field(default=[], description="the provider's own name of a region")
    country: Texts = Field(default=[], description="country of the region: a code or a name")
    residency: Text | None = Field(
        default=None, description="EU, EEA, a continent, or countries; unknown places are hidden"
    )
    market: Texts = Field(
        default=["on-demand"], description="on-demand, spot, reserved-1y, capacity-block, flex, any …"
    )
    min_mem: Text | None = Field(default=None, description="memory of each accelerator, nominal GB")
    min_total_mem: Text | None = Field(default=None, description="accelerator memory of the machine, nominal GB")
    host_mem: Text | None = Field(default=None, description="memory of the host")
    vcpu: Text | None = Field(default=None, description="vCPUs of the host")
    interconnect: Text | None = Field(default=None, description=f"one of {', '.join(quoting.LINKS)}")
    max_price: Text | None = Field(default=None, description="per accelerator-hour")
    max_hourly: Text | None = Field(default=None, description="per hour for the whole request")
    max_age: Text | None = Field(default=None, description="mark older prices as stale: 24h, 30d")
    require_available: bool = Field(default=False, description="only what a source says is really sold there")
    allow_fraction: bool = Field(default=False, description="include shares of an accelerator")
    currency: Text | None = Field(default=None, description="rank rows of that list currency; nothing is converted")
    sort: Text = Field(default="price", description="price, hourly, memory, age, provider")
    limit: int = Field(default=100, ge=1, le=MAX_PAGE, description="offers on a page")
    cursor: Annotated[str, Field(max_length=400)] | None = Field(
        default=None, description="next_cursor of the page before"
    )


class Rendered(NamedTuple):
    """A finished answer: its bytes, and the entity tag of what they say."""

    body: bytes
    etag: str


class OfferPages:
    """Renders pages of offers from one catalog and keeps the last ones; safe to use from several threads."""

    def __init__(self, catalog: str | Path | None = None, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._catalog = catalog
        self._room = cache_bytes
        self._kept: OrderedDict[tuple[str, date, str], Rendered] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    def page(self, filters: OfferFilters) -> Rendered:
        """The page that `filters` ask for; raises as `quote` does, and `CursorOutdated`."""
        today = datetime.now(UTC).date()
        key = (self._catalog_id(), today, filters.model_dump_json())
        with self._lock:
            if found := self._kept.get(key):
                self._kept.move_to_end(key)
                return found
        rendered = _render(filters, self._catalog, today)
        # An overlay may be edited at any moment without a new catalog id: such answers are not kept.
        if key[0]:
            self._keep(key, rendered)
        return rendered

    def _catalog_id(self) -> str:
        """Id of the catalog that answers now; "" when a price file lies over it."""
        with open_session(self._catalog) as session:
            return "" if session.overlay is not None else session.catalog.meta["catalog_id"]

    def _keep(self, key: tuple[str, date, str], rendered: Rendered) -> None:
        with self._lock:
            if key in self._kept:
                return  # another thread was faster
            self._kept[key] = rendered
            self._used += len(rendered.body)
            while self._used > self._room:
                _, dropped = self._kept.popitem(last=False)
                self._used -= len(dropped.body)


class Answer(NamedTuple):
    """A page of a quote: `quote` has its offers only; `next_cursor` None on the last page."""

    quote: quoting.Quote
    next_cursor: str | None


def answer(filters: OfferFilters, catalog: str | Path | None, today: date) -> Answer:
    """The page that `filters` ask for; raises as `quote` does, and `CursorOutdated`."""
    given: dict[str, Any] = filters.model_dump(exclude={"accelerator", "limit", "cursor"})
    digest = hashlib.sha256(filters.model_dump_json(exclude={"limit", "cursor"}).encode()).hexdigest()[:16]
    offset, seen_catalog = _read_cursor(filters.cursor, digest)
    found = quoting.quote(filters.accelerator, limit=offset + filters.limit, catalog=catalog, today=today, **given)
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


def _render(filters: OfferFilters, catalog: str | Path | None, today: date) -> Rendered:
    found, following = answer(filters, catalog, today)
    body = quote_json.envelope(found)
    body["next_cursor"] = following
    body["query"]["limit"] = filters.limit
    said = json.dumps({**body, "generated_at": None}, ensure_ascii=False).encode()
    # Weak, since the same answer may travel compressed; without the moment, so that the same facts have the same tag.
    etag = f'W/"{hashlib.sha256(said).hexdigest()[:32]}"'
    return Rendered(json.dumps(body, ensure_ascii=False).encode(), etag)


def _cursor(offset: int, catalog_id: str, digest: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([offset, catalog_id, digest]).encode()).decode()


def _read_cursor(text: str | None, digest: str) -> tuple[int, str | None]:
    """Offers to skip, and the catalog that the page before came from; (0, None) without a cursor."""
    if text is None:
        return 0, None
    try:
        offset, catalog_id, question = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
    except (ValueError, TypeError) as error:
        raise QueryError("cursor: not one of ours. Pass next_cursor of the page before, unchanged.") from error
    if type(offset) is not int or not 0 <= offset <= _MAX_OFFSET or not isinstance(catalog_id, str):
        raise QueryError("cursor: not one of ours. Pass next_cursor of the page before, unchanged.")
    if question != digest:
        raise QueryError("cursor: it belongs to another question. Keep the filters, or ask again without cursor.")
    return offset, catalog_id
