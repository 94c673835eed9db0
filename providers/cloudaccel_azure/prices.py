"""Azure's Retail Prices, and China's price sheet: every size with an accelerator, on demand, spot and committed.

The list needs no account. It has no field for accelerators, so ``data/sizes.csv`` says what a size holds; a size of the
N families that the table lacks is offered with its price and an unknown accelerator, never dropped and never guessed.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from urllib.parse import parse_qsl, urlsplit

from cloudaccel.errors import RequestInvalid
from cloudaccel.facts.listing import (
    Listed,
    Place,
    PriceList,
    Shape,
    Terms,
    amount,
    make_offer,
    malformed,
    mapping,
    per_hour,
    sequence,
    text,
)
from cloudaccel.facts.loader import read_table
from cloudaccel.model import Offer, Source
from cloudaccel.protocols import Scope
from cloudaccel_azure import china, offered

PROVIDER = "azure"
OPERATION = "retail/prices"
# learn.microsoft.com/rest/api/cost-management/retail-prices, version of 2023-01-01; the endpoint itself was not called.
BASE_URL = "https://prices.azure.com/api/retail/prices"
API_VERSION = "2023-01-01-preview"
_CHINA = "azure-china"
_PARTITIONS = ("azure-public", "azure-gov", _CHINA)
_GOV = "usgov"  # how the names of the US government's regions begin
PAGE = 1_000  # items of a page at most
MAX_PAGES = 2_000  # of 1,000 items: one region has about 27 (westus, 2026-08)
_HOURS_OF_TERM = {"1 Year": 8_760, "3 Years": 26_280, "5 Years": 43_800}
_SHORT_TERM = {"1 Year": "1y", "3 Years": "3y", "5 Years": "5y"}
_ACCELERATED = re.compile(r"Standard_N[A-Z]", re.IGNORECASE)
_WINDOWS = re.compile(r"\bWin(dows)?\b", re.IGNORECASE)
_OTHER_PRODUCT = re.compile(r"Cloud ?Services|Dedicated", re.IGNORECASE)
_NOT_FOR_SALE = re.compile(r"\bExpired\b", re.IGNORECASE)
_SOURCE = Source(
    id="azure-retail-prices", name="Azure Retail Prices", path="api/retail/prices", revision=API_VERSION,
    licence="public price list", url=BASE_URL,
)  # fmt: skip


_SHEET = Source(
    id="azure-china-price-sheet", name="Azure China price sheet", path="retailpricesasync", revision=china.API_VERSION,
    licence="public price list", url=china.BASE_URL,
)  # fmt: skip


class AzurePrices(PriceList):
    """The public price lists: one of the partitions ``azure-public`` and ``azure-gov``, and China's."""

    provider = PROVIDER
    operation = OPERATION
    sources = (BASE_URL, china.BASE_URL, china.FILES)

    def scopes(self) -> Sequence[Scope]:
        """Each partition as a whole: a new region needs no new version of this program."""
        return tuple(Scope(provider=PROVIDER, partition=partition) for partition in _PARTITIONS)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of `scope`, in one region of it or in all.

        Raises
        ------
        MalformedResponse
            If a page has not the documented shape, or pages never end.
        """
        if scope.partition not in _PARTITIONS:
            return
        sheet = scope.partition == _CHINA
        items = china.items(self.web) if sheet else self._items(scope)
        account = offered.of(scope.partition)
        found = offers_of_items(items, now=self._now(), region=scope.region, source=_SHEET if sheet else _SOURCE)
        for offer in found:
            if offer.partition == scope.partition:
                yield account.seen(offer, self._now()) if account else offer

    def _items(self, scope: Scope) -> Iterator[Mapping[str, object]]:
        query: Mapping[str, str] | None = _first_query(scope, self._currency)
        seen: set[str] = set()
        read = 0
        while query is not None:
            if (place := str(sorted(query.items()))) in seen or len(seen) >= MAX_PAGES:
                raise self.malformed("the pages do not end")
            seen.add(place)
            page = self._page_of(query, read)
            if page is None:
                return
            for item in items_of_page(page):
                read += 1
                yield item
            query = _next_query(page)

    def _page_of(self, query: Mapping[str, str], read: int) -> Mapping[str, object] | None:
        """A page; None where a list that ends with a full page names one more, which is refused (seen in 2026-08)."""
        try:
            return self.page(query)
        except RequestInvalid as error:
            if error.raw_code == "400" and read and read % PAGE == 0 and query.get("$skip") == str(read):
                return None
            raise


def _first_query(scope: Scope, currency: str) -> Mapping[str, str]:
    where = "serviceName eq 'Virtual Machines' and contains(armSkuName, 'Standard_N')"
    if scope.region is not None:
        where += f" and armRegionName eq '{scope.region}'"
    elif scope.partition == "azure-gov":
        where += f" and contains(armRegionName, '{_GOV}')"
    return {
        "api-version": API_VERSION, "currencyCode": f"'{currency}'", "meterRegion": "'primary'", "$filter": where,
    }  # fmt: skip


def _next_query(page: Mapping[str, object]) -> Mapping[str, str] | None:
    """The query of the next page. Only the query is taken: no list sends us to another host, and a mirror stays one."""
    link = page.get("NextPageLink")
    if link is None or link == "":
        return None
    try:
        query = dict(parse_qsl(urlsplit(link).query)) if isinstance(link, str) else {}
    except ValueError:
        query = {}
    if not query:
        raise malformed(PROVIDER, OPERATION, "NextPageLink is no address of a page")
    return query


def items_of_page(page: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The items of one decoded page. Raises `MalformedResponse`."""
    for item in sequence(page.get("Items"), provider=PROVIDER, operation=OPERATION, what="Items"):
        yield mapping(item, provider=PROVIDER, operation=OPERATION, what="an item")


def offers_of_items(
    items: Iterable[Mapping[str, object]], *, now: datetime, region: str | None = None, source: Source = _SOURCE
) -> Iterator[Offer]:
    """Offers of Linux virtual machines with accelerators among `items`.

    Of several prices of one offer the newest that is in force at `now` holds; two that disagree and began on the same
    day quarantine the price. Keeps one offer of each key, not the items.

    Raises
    ------
    MalformedResponse
        If an item of a machine with accelerators has a price that is no amount of money.
    """
    found: dict[str, Offer] = {}
    for item in items:
        if not _is_linux_machine(item) or region not in (None, _region(item)):
            continue
        if (effective := _moment(text(item, "effectiveStartDate"))) > now.strftime("%Y-%m-%dT%H:%M:%SZ"):
            continue
        for terms, per_hour_amount, note in _prices(item):
            offer = _offer(item, terms, _listed(item, per_hour_amount, effective, note, now, source))
            found[offer.id] = _newer(found.get(offer.id), offer)
    yield from found.values()


def _is_linux_machine(item: Mapping[str, object]) -> bool:
    product, names = text(item, "productName"), f"{text(item, 'skuName')} {text(item, 'meterName')}"
    return (
        _ACCELERATED.match(text(item, "armSkuName")) is not None
        and bool(text(item, "armRegionName"))
        # DevTestConsumption is a rate for subscribers.
        and item.get("type") in ("Consumption", "Reservation", "SavingsPlanConsumption")
        and item.get("isPrimaryMeterRegion") is not False  # else a second copy under another billing region
        and text(item, "serviceName") in ("", "Virtual Machines")
        and not _WINDOWS.search(product)
        and not _OTHER_PRODUCT.search(product)
        and not _NOT_FOR_SALE.search(names)
        and "Low Priority" not in names  # for Batch only
        and item.get("tierMinimumUnits", 0) == 0
    )


def _prices(item: Mapping[str, object]) -> Iterator[tuple[Terms, Decimal | None, str]]:
    if item.get("type") == "Reservation":
        yield _reservation(item)
        return
    if item.get("type") == "SavingsPlanConsumption":  # a row of its own, in China
        terms = Terms(market="savings_plan", term=_SHORT_TERM.get(text(item, "reservationTerm")), payment="monthly")
        price, note = _hourly(item, item.get("retailPrice"))
        yield (terms, price, note) if terms.term else (terms, None, "the list does not say for which term the plan is")
        return
    spot = any(text(item, name).endswith(" Spot") for name in ("skuName", "meterName"))
    yield Terms(market="spot" if spot else "on_demand"), *_hourly(item, item.get("retailPrice", item.get("unitPrice")))
    plans = item.get("savingsPlan")
    for entry in sequence(plans, provider=PROVIDER, operation=OPERATION, what="savingsPlan") if plans else ():
        plan = mapping(entry, provider=PROVIDER, operation=OPERATION, what="a savings plan")
        term = _SHORT_TERM.get(text(plan, "term"))
        if term is not None:
            # Paid by the month or at once, at the same price.
            yield Terms(market="savings_plan", term=term, payment="monthly"), *_hourly(item, plan.get("unitPrice"))


def _reservation(item: Mapping[str, object]) -> tuple[Terms, Decimal | None, str]:
    """A reservation's price is the total of its term, though the unit of measure says one hour."""
    term = text(item, "reservationTerm")
    terms = Terms(market="reserved", term=_SHORT_TERM.get(term), payment="monthly")
    total = _amount(item, item.get("retailPrice", item.get("unitPrice")))
    if term not in _HOURS_OF_TERM:
        return terms, None, "the list does not say for which term the reservation is"
    return terms, per_hour(total, _HOURS_OF_TERM[term]) if total else None, f"{total} for the whole term"


def _hourly(item: Mapping[str, object], value: object) -> tuple[Decimal | None, str]:
    if (unit := text(item, "unitOfMeasure")) != "1 Hour":
        return None, f"priced per {unit[:20] or 'unknown unit'}, not per hour"
    return _amount(item, value), ""


def _amount(item: Mapping[str, object], value: object) -> Decimal | None:
    try:
        return amount(value)
    except ValueError as error:
        raise malformed(PROVIDER, OPERATION, f"{text(item, 'armSkuName')[:60]}: {error}") from None


def _listed(
    item: Mapping[str, object], price: Decimal | None, effective: str, note: str, now: datetime, source: Source
) -> Listed:
    currency = text(item, "currencyCode")
    if not re.fullmatch("[A-Z]{3}", currency):
        raise malformed(PROVIDER, OPERATION, f"{text(item, 'armSkuName')[:60]}: no currency")
    return Listed(
        amount=price, currency=currency, observed_at=now, source=source, effective_at=effective or None, note=note
    )


def _moment(text: str) -> str:
    """An ISO date or time, "" for anything else: nobody says how the sheet of China writes them."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return ""
    return text


def _region(item: Mapping[str, object]) -> str:
    """The region as the other interfaces spell it: lists write ``WestUS3`` now and then."""
    return text(item, "armRegionName").lower()


def partition_of(region: str) -> str:
    """The partition of a region, by its name: the US government's, China's, or everybody's."""
    return "azure-gov" if region.startswith(_GOV) else _CHINA if region.startswith("china") else "azure-public"


def _offer(item: Mapping[str, object], terms: Terms, listed: Listed) -> Offer:
    region = _region(item)
    place = Place(provider=PROVIDER, partition=partition_of(region), region=region)
    size = text(item, "armSkuName")
    return make_offer(place, sizes().get(size.lower()) or _unknown_size(size), terms, listed)


def _newer(one: Offer | None, other: Offer) -> Offer:
    if one is None:
        return other
    first, second = one.price.effective_at or "", other.price.effective_at or ""
    if first != second:
        return one if first > second else other
    for offer in (one, other):  # a dispute is settled by no third row, in whatever order they come
        if offer.price.status == "quarantined":
            return offer
    # A row of 0 stands beside the price of some sizes: it is no second opinion.
    if one.price.amount is None or other.price.amount in (None, one.price.amount):
        return other if one.price.amount is None else one
    return _disputed(one, other)


def _disputed(one: Offer, other: Offer) -> Offer:
    note = f"the list states both {one.price.amount} and {other.price.amount}"
    price = replace(one.price, amount=None, status="quarantined", note=note)
    return replace(one, price=price, apart=("unknown_price", *one.apart))


def _unknown_size(size: str) -> Shape:
    # Standard_ND96isr_H100_v5 → H100: the name of the accelerator where the size says it, else the whole size.
    words = re.sub(r"_v\d+$", "", size).split("_")
    name = words[-1] if len(words) > 2 else size
    return Shape(instance=size, accelerator_id=None, accelerator_name=name, count=None)


@cache
def sizes() -> Mapping[str, Shape]:
    """What each size holds, by its name in lower case: the list writes ``Standard_`` and ``standard_``."""
    table = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "sizes.csv")
    return {row["size"].lower(): _shape(row) for row in read_table(table)}


def _shape(row: Mapping[str, str]) -> Shape:
    return Shape(
        instance=row["size"],
        accelerator_id=row["accelerator_id"] or None,
        accelerator_name=row["accelerator_name"],
        count=Fraction(row["count"]) if row["count"] else None,
        accelerator_memory_gib=float(row["accelerator_memory_gib"]) if row["accelerator_memory_gib"] else None,
        vcpus=float(row["vcpus"]) if row["vcpus"] else None,
        memory_gib=float(row["memory_gib"]) if row["memory_gib"] else None,
        hosts=1 if row["count"] else None,
    )


__all__ = ["BASE_URL", "AzurePrices", "items_of_page", "offers_of_items", "partition_of", "sizes"]
