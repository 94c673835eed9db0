"""From a seller's price list to offers: what every adapter must do the same way.

Being read over the core's web, reading an amount of money, and making an offer whose identity is the catalog's.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import ClassVar, Self

from cloudaccel.errors import AuthError, MalformedResponse, UnknownName
from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.names import MEMORY_TOLERANCE, resolve
from cloudaccel.facts.places import country_of, region
from cloudaccel.model import Availability, Offer, Price, PricePart, Source, identified
from cloudaccel.model.quarantine import WORDS
from cloudaccel.protocols import Json, Scope, Web

# No machine on any list costs as much: the dearest row of the 2026-06 snapshot is 216 USD per hour.
MAX_PER_HOUR = Decimal(100_000)
# An amount is kept to the nano-unit, the finest unit that any list uses.
NANO_UNIT = Decimal("1e-9")
ANYWHERE = "global"  # the region of what a list names no region for: sold out everywhere, or sold without one
MOST_PAGES = 200  # the longest of these lists has a few
MOST_OFFERS = 200_000  # of a list of lines, which is held whole; the longest known, a market, has some 10,000
_MOST_ACCELERATORS = 64  # in one machine; what says more counts something else


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a machine holds. `accelerator_id` None: no table names it; `count` None: nobody says how many."""

    instance: str
    accelerator_id: str | None
    accelerator_name: str
    count: Fraction | None
    accelerator_memory_gib: float | None = None
    vcpus: float | None = None
    memory_gib: float | None = None
    sold_per: str = "instance"
    hosts: int | None = 1
    service: str = "vm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which conditions it is sold; words of `Offer.market`, `term`, `payment` and `offering_class`."""

    market: str = "on_demand"
    term: str | None = None
    payment: str | None = None
    offering_class: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and by whom it is sold."""

    provider: str
    partition: str
    region: str
    zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One price as a list states it. `amount` None: the list names it without a price; `note` then says why."""

    amount: Decimal | None
    currency: str
    observed_at: datetime
    source: Source
    effective_at: str | None = None
    parts: tuple[PricePart, ...] = ()
    note: str = ""
    estimated: bool = False
    seen_since: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a price list: what is sold, for how much, on which terms, and in which regions.

    `amount` is per hour, None where the list names the thing without a price. No region is region `ANYWHERE`: the list
    has none, or nobody has it free now, which leaves its price as it is. `observed_at` None is the time of reading.
    `estimated`: what will be paid follows from the amount and is not the amount, as of a bid. `seen_since`: the list
    has no date, and the price was seen at some time between that day and the reading.
    """

    shape: Shape
    amount: Decimal | None
    regions: Sequence[str] = ()
    terms: Terms = Terms()
    currency: str = "USD"
    observed_at: datetime | None = None
    parts: tuple[PricePart, ...] = ()
    note: str = ""
    estimated: bool = False
    seen_since: date | None = None


class PriceList:
    """What every reader of a price list is made of: where it asks, the web it asks through, a currency and a clock.

    A reader adds `offers`, and `scopes` unless it is one list of one partition; it is then a
    `cloudaccel.protocols.Prices`.
    """

    provider: ClassVar[str]
    operation: ClassVar[str]  # what its errors call the call
    sources: ClassVar[tuple[str, ...]]  # its first address is the one that `page` asks by default

    def __init__(
        self, web: Web | None = None, *, currency: str = "USD", now: Callable[[], datetime] | None = None
    ) -> None:
        self._web = web
        self._currency = currency
        self._now = now or (lambda: datetime.now(UTC))

    def over(self, web: Web) -> Self:
        """The same list, read through `web`."""
        return type(self)(web, currency=self._currency, now=self._now)

    def scopes(self) -> Sequence[Scope]:
        """One list of all regions."""
        return (Scope(provider=self.provider, partition=self.provider),)

    @property
    def web(self) -> Web:
        """What it asks through. Raises `RuntimeError` before `over`."""
        if self._web is None:
            raise RuntimeError(f"{self.provider}: read the price list with over(web)")
        return self._web

    def page(
        self,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Json = None,
        *,
        url: str | None = None,
    ) -> Mapping[str, object]:
        """The JSON object that `url` (or the first source) answers; a `body` goes by POST. Raises `ProviderError`."""
        with self.web.ask(url or self.sources[0], query=query, headers=headers, body=body) as answer:
            return mapping(answer.json(), provider=self.provider, operation=self.operation, what="the page")

    def mapping(self, value: object, what: str) -> Mapping[str, object]:
        """`value` as a JSON object. Raises `MalformedResponse` naming `what`."""
        return mapping(value, provider=self.provider, operation=self.operation, what=what[:60])

    def sequence(self, value: object, what: str) -> list[object]:
        """`value` as a JSON array. Raises `MalformedResponse` naming `what`."""
        return sequence(value, provider=self.provider, operation=self.operation, what=what[:60])

    def money(self, value: object, what: str) -> Decimal | None:
        """`value` as `amount` reads it. Raises `MalformedResponse` naming `what`."""
        try:
            return amount(value)
        except ValueError as error:
            raise self.malformed(f"{what[:60]}: {error}") from None

    def malformed(self, fact: str) -> MalformedResponse:
        """The error for an answer that does not have the documented shape."""
        return malformed(self.provider, self.operation, fact)


class LineList(PriceList, ABC):
    """A price list of lines, in one partition and from one source: say `source`, and `lines`; the rest is here."""

    source: ClassVar[Source]
    partition: ClassVar[str | None] = None  # None: named as the provider is

    def scopes(self) -> Sequence[Scope]:
        """One list of all regions."""
        return (Scope(provider=self.provider, partition=self.partition or self.provider),)

    @abstractmethod
    def lines(self) -> Iterator[Line]:
        """Every line, as the list has them: what is sold out or has no price included. Raises `ProviderError`."""

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of `scope`, one for each region of a line.

        A line that comes twice, as when a list moves on while its pages are read, is one offer. Two lines of one offer
        whose prices disagree leave it without any, in whatever order they come.

        Raises
        ------
        ProviderError
            As soon as the list cannot be had, or has not the documented shape.
        """
        if scope.partition != (self.partition or self.provider):
            return
        found: dict[str, Offer] = {}
        for line in self.lines():
            for region_name in dict.fromkeys(line.regions) or (ANYWHERE,):
                if scope.region in (None, region_name):
                    offer = self._offer(
                        line, Place(provider=self.provider, partition=scope.partition, region=region_name)
                    )
                    found[offer.id] = _settled(found.get(offer.id, offer), offer)
            if len(found) > MOST_OFFERS:
                raise self.malformed(f"more than {MOST_OFFERS} offers")
        yield from found.values()

    def _offer(self, line: Line, place: Place) -> Offer:
        listed = Listed(
            amount=line.amount, currency=line.currency, observed_at=line.observed_at or self._now(),
            source=self.source, parts=line.parts, note=line.note, estimated=line.estimated,
            seen_since=line.seen_since,
        )  # fmt: skip
        return make_offer(place, line.shape, line.terms, listed)

    def pages(
        self,
        following: Callable[[Mapping[str, object], int], Mapping[str, str] | None],
        query: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Mapping[str, object]]:
        """Every page of the first source. `following` says from a page, and the number of the next one (2 …), what to
        ask besides `query` for that one; None when there is none.
        """
        more: Mapping[str, str] | None = {}
        for number in range(2, MOST_PAGES + 2):
            page = self.page({**query, **more}, headers)
            yield page
            more = following(page, number)
            if more is None:
                return
        raise self.malformed("the pages do not end")

    def mappings(self, value: object, what: str) -> Iterator[Mapping[str, object]]:
        """`value` as a JSON array of objects. Raises `MalformedResponse` naming `what`."""
        for entry in self.sequence(value, what):
            yield self.mapping(entry, f"one of {what}")

    def texts(self, value: object, what: str) -> tuple[str, ...]:
        """`value` as a JSON array of names, the empty ones left out. Raises `MalformedResponse` naming `what`."""
        return tuple(str(name) for name in self.sequence(value, what) if name)


def api_key(provider: str, *names: str) -> str:
    """The key in the first of the environment variables `names` that is set. Raises `AuthError`, code ``no-key``."""
    for name in names:
        if key := os.environ.get(name, "").strip():
            if not (key.isascii() and key.isprintable()):
                raise AuthError(
                    f"{provider}: {name} holds characters that no key has. Set it again.",
                    provider=provider, operation="prices", code="bad-key",
                )  # fmt: skip
            return key
    raise AuthError(
        f"{provider}: its price list needs an API key. Set {names[0]}.",
        provider=provider, operation="prices", code="no-key",
    )  # fmt: skip


def mapping(value: object, *, provider: str, operation: str, what: str) -> Mapping[str, object]:
    """`value` as a JSON object. Raises `MalformedResponse` naming `what`."""
    if not isinstance(value, dict):
        raise malformed(provider, operation, f"{what} is {type(value).__name__}, not an object")
    return value  # pyright: ignore[reportUnknownVariableType]


def sequence(value: object, *, provider: str, operation: str, what: str) -> list[object]:
    """`value` as a JSON array. Raises `MalformedResponse` naming `what`."""
    if not isinstance(value, list):
        raise malformed(provider, operation, f"{what} is {type(value).__name__}, not a list")
    return value  # pyright: ignore[reportUnknownVariableType]


def text(item: Mapping[str, object], name: str) -> str:
    """The text of a field, "" where it is missing or no text."""
    value = item.get(name)
    return value if isinstance(value, str) else ""


def amount(value: object) -> Decimal | None:
    """The amount of money in a JSON number or a decimal text; None for 0, "" and null, which are no prices.

    Raises
    ------
    ValueError
        If it is negative, not finite, no number, or a truth value.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError(f"{str(value)[:40]!r} is not an amount of money")
    try:
        number = Decimal(value)
    except (InvalidOperation, ValueError):
        raise ValueError(f"{str(value)[:40]!r} is not an amount of money") from None
    if not number.is_finite() or number < 0:
        raise ValueError(f"{str(value)[:40]} is not an amount of money")
    return number or None


def size(value: object) -> float | None:
    """A count or an amount of memory; None for what is none: 0, a text, null, a number beyond any machine."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return float(value) if 0 < value < 100_000_000 else None


def count_of(value: object) -> Fraction | None:
    """How many accelerators a machine has; None for what is no such number: 0, a text, more than any machine has."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST_ACCELERATORS:
        return None
    return Fraction(value)


def one_accelerator(raw: str, memory_gb: float | None = None) -> str | None:
    """The one row of the accelerator table that `raw` means; None where it means several, or none.

    A card whose memory is another than its maker's (an RTX 4090 with 48 GB) is none: `memory_gb` is that of one.
    """
    try:
        found = resolve(raw, memory_gb=memory_gb).accelerator_ids
    except UnknownName:
        return None
    if len(found) != 1:
        return None
    own = by_id(found[0]).memory_gib
    other = memory_gb is not None and own is not None and abs(memory_gb - own) > own * MEMORY_TOLERANCE
    return None if other else found[0]


def per_hour(total: Decimal, hours: int) -> Decimal:
    """`total` for `hours`, per hour, to the nano-unit."""
    return (total / hours).quantize(NANO_UNIT)


def make_offer(place: Place, shape: Shape, terms: Terms, listed: Listed) -> Offer:
    """The offer. A price above `MAX_PER_HOUR` is quarantined with its reason, never shown as a price."""
    found = region(place.provider, place.region)
    price = _price(listed)
    apart = [
        code for code, holds in (("unknown_price", price.amount is None), ("unknown_count", not shape.count)) if holds
    ]
    offer = Offer(
        id="", provider=place.provider, partition=place.partition, region=place.region, zone=place.zone,
        country=country_of(place.provider, place.region, place.zone),
        operator_country=found.operator_country if found else None,
        service=shape.service, instance=shape.instance, accelerator_id=shape.accelerator_id,
        accelerator_name=shape.accelerator_name, count=shape.count,
        accelerator_memory_gib=_memory(shape), hosts=shape.hosts, sold_per=shape.sold_per,
        vcpus=shape.vcpus, memory_gib=shape.memory_gib,
        market=terms.market, term=terms.term, payment=terms.payment, offering_class=terms.offering_class,
        price=price, availability=Availability("listed"), apart=tuple(apart),
    )  # fmt: skip
    return identified(offer)


def _settled(one: Offer, other: Offer) -> Offer:
    """`one`, without a price when `other`, the same offer, has another."""
    if one.price.amount == other.price.amount:
        return one
    note = "the list has two prices of it that disagree"
    price = replace(one.price, amount=None, status="unknown", parts=(), note=note)
    return replace(one, price=price, apart=("unknown_price", *(code for code in one.apart if code != "unknown_price")))


def _price(listed: Listed) -> Price:
    known, status, note = listed.amount, "estimated" if listed.estimated else "exact", listed.note
    if known is None:
        status, note = "unknown", note or "the list names it without a price"
    elif known > MAX_PER_HOUR:
        known, status, note = None, "quarantined", WORDS["above_maximum"].format(known=known, most=MAX_PER_HOUR)
    return Price(
        amount=known, currency=listed.currency, status=status,
        as_of=(listed.seen_since or listed.observed_at.date()).isoformat(),
        as_of_until=listed.observed_at.date().isoformat() if listed.seen_since else None,
        source=listed.source, effective_at=listed.effective_at, parts=listed.parts if known else (),
        note=note,
    )  # fmt: skip


def _memory(shape: Shape) -> float | None:
    if shape.accelerator_memory_gib is not None or shape.accelerator_id is None:
        return shape.accelerator_memory_gib
    return by_id(shape.accelerator_id).memory_gib if shape.count and shape.count >= 1 else None


def malformed(provider: str, operation: str, fact: str) -> MalformedResponse:
    """The error for an answer that does not have the documented shape; `fact` says what was found."""
    return MalformedResponse(
        f"{provider}: the answer to {operation} cannot be read: {fact}. Look at the address of the price list"
        " (a proxy or a mirror may answer in its place). Prices stay as they were.",
        provider=provider, operation=operation, scope="provider",
    )  # fmt: skip
