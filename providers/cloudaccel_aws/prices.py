"""Amazon's public price list of EC2: on demand and reserved, of every region, GovCloud's and China's.

No account is needed. The list is a file of some hundred megabytes by region: it is read line by line and never held.
What a type holds stands in ``data/instances.csv``, because the list's own columns are wrong for fractions and know no
Neuron devices; an accelerated type that the table lacks is offered with an unknown accelerator.
"""

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache

from cloudaccel.facts import places
from cloudaccel.facts.listing import Listed, Place, PriceList, Shape, Terms, amount, make_offer, malformed, mapping
from cloudaccel.facts.loader import read_table
from cloudaccel.model import Offer, Source
from cloudaccel.protocols import Scope

PROVIDER = "aws"
OPERATION = "price list"
# docs.aws.amazon.com/awsaccountbilling/latest/aboutv2 (price list bulk API), read 2026-11; the hosts were not called.
GLOBAL = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws"
CHINA = "https://pricing.cn-north-1.amazonaws.com.cn/offers/v1.0/cn"
_REGION = re.compile(r"(?P<region>[a-z]{2,4}(?:-[a-z]+){1,2}-\d+)(?:-(?P<zone>[a-z0-9-]+))?")
_MONEY_CODE = re.compile("[A-Z]{3}")
# A line without one of these is of no machine with accelerators; what passes is looked at field by field.
_ACCELERATED = re.compile(r'"(?:GPU|Machine Learning|Media Accel|(?:p|g|gr|inf|trn|dl|vt)\d)').search
_ACCELERATED_TYPE = re.compile(r"(?:p|g|gr|inf|trn|dl|vt)\d")
_ACCELERATED_FAMILY = ("GPU", "Machine Learning", "Media Accel")
_PAYMENTS = {"No Upfront": "no_upfront", "Partial Upfront": "partial_upfront", "All Upfront": "all_upfront"}
_TERM = re.compile(r"(\d) ?yr")
_PRICED = (("OnDemand", "Hrs"), ("Reserved", "Hrs"), ("Reserved", "Quantity"))
_COLUMNS = {
    "sku": "SKU", "offer": "OfferTermCode", "kind": "TermType", "effective": "EffectiveDate", "unit": "Unit",
    "price": "PricePerUnit", "currency": "Currency", "length": "LeaseContractLength", "payment": "PurchaseOption",
    "class": "OfferingClass", "product": "Product Family", "instance": "Instance Type", "family": "Instance Family",
    "vcpus": "vCPU", "memory": "Memory", "tenancy": "Tenancy", "system": "Operating System",
    "licence": "License Model", "operation": "operation", "capacity": "CapacityStatus", "software": "Pre Installed S/W",
    "region": "Region Code", "market": "MarketOption",
}  # fmt: skip
_OPTIONAL = ("market",)  # in the list since Capacity Blocks are
# What a row must say to be Linux without extras on capacity that is used; "" where the column does not apply.
_PLAIN = {
    "system": ("Linux",),
    "licence": ("No License required", ""),
    "software": ("NA", ""),
    "capacity": ("Used",),
    "operation": ("RunInstances", ""),
}

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Rate:
    """One price of one offer: an hourly part, and for some reservations a part that is paid at the start."""

    effective: str
    sku: str
    hourly: Decimal | None = None
    upfront: Decimal | None = None


@dataclass(frozen=True, slots=True)
class _Key:
    region: str
    zone: str | None
    shape: Shape
    terms: Terms
    currency: str
    shared: bool  # not on hardware of one's own: the way a machine starts unless asked otherwise


class AwsPrices(PriceList):
    """The bulk price list of EC2."""

    provider = PROVIDER
    operation = OPERATION
    sources = (GLOBAL, CHINA)

    def scopes(self) -> Sequence[Scope]:
        """Every region of the index, and China as one: its list stands on hosts of its own, out of reach for some."""
        found = {place.group("region") for code in self._index(GLOBAL) if (place := _REGION.fullmatch(code))}
        return (
            *(Scope(provider=PROVIDER, partition=_partition(region), region=region) for region in sorted(found)),
            Scope(provider=PROVIDER, partition="aws-cn"),
        )

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of a region with its local zones.

        Raises
        ------
        ProviderError
            If a file cannot be had, or has not the documented shape.
        """
        home = CHINA if scope.partition == "aws-cn" else GLOBAL
        rates = _Rates(self._now())
        for code, path in self._index(home).items():
            place = _REGION.fullmatch(code)
            if place and scope.region in (None, place.group("region")):
                self._read(home, path, scope, rates)
        yield from rates.offers(scope)

    def _read(self, home: str, path: str, scope: Scope, rates: "_Rates") -> None:
        with self.web.ask(f"{home}/{path}") as answer:
            file = OfferFile(answer.lines())
            for row in file.rows():
                place = _REGION.fullmatch(row["region"])
                if place and scope.region in (None, place.group("region")):
                    rates.add(row, place)
            rates.versions.add(file.version)

    def _index(self, home: str) -> Mapping[str, str]:
        """Regions and zones of the list with the path of their file, as its index says today."""
        with self.web.ask(f"{home}/AmazonEC2/current/region_index.json") as answer:
            page = mapping(answer.json(), provider=PROVIDER, operation=OPERATION, what="the index")
        regions = mapping(page.get("regions"), provider=PROVIDER, operation=OPERATION, what="regions")
        if not regions:
            raise malformed(PROVIDER, OPERATION, "the index has no regions")
        return {code: _path(code, entry, home) for code, entry in sorted(regions.items())}


class OfferFile:
    """A price list of EC2 as CSV: a few lines about itself, a header, and a line for each price."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.version = ""

    def rows(self) -> Iterator[Row]:
        """Prices of Linux on machines with accelerators, in file order. Raises `MalformedResponse`."""
        places = self._header()
        for line in self._lines:
            if _ACCELERATED(line) and '"Linux"' in line:
                row = self._row(line, places)
                if _is_plain(row):
                    yield row

    def _header(self) -> Mapping[str, int]:
        """Where each column stands. Found by its first name: the number of lines before it is not promised."""
        for number, line in enumerate(self._lines):
            cells = _cells(line)
            if cells[:1] == ["SKU"]:
                return _columns(cells)
            if cells[:1] == ["Version"] and len(cells) > 1:
                self.version = cells[1][:40]
            if number > 20:
                break
        raise malformed(PROVIDER, OPERATION, "no line begins with SKU")

    def _row(self, line: str, places: Mapping[str, int]) -> Row:
        cells = _cells(line)
        try:
            return {name: cells[place] if place >= 0 else "" for name, place in places.items()}
        except IndexError:
            raise malformed(PROVIDER, OPERATION, f"a line of {len(cells)} fields: {line[:60]}") from None


class _Rates:
    """All prices of one scope, until it is known which of them hold."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._found: dict[_Key, dict[tuple[str, str], _Rate]] = {}
        self.versions: set[str] = set()

    def add(self, row: Row, place: re.Match[str]) -> None:
        if row["effective"] > self._now.strftime("%Y-%m-%dT%H:%M:%SZ"):
            return
        key = _Key(
            place.group("region"), row["region"] if place.group("zone") else None, _shape(row), _terms(row),
            _currency(row), row["tenancy"] == "Shared",
        )  # fmt: skip
        rates = self._found.setdefault(key, {})
        one = (row["sku"], row["offer"])
        rates[one] = _with(rates.get(one) or _Rate(row["effective"], row["sku"]), row, key.terms)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        for key, rates in self._found.items():
            if not key.shared and replace(key, shared=True) in self._found:
                continue
            place = Place(provider=PROVIDER, partition=_partition(key.region), region=key.region, zone=key.zone)
            if place.partition == scope.partition:
                yield self._offer(place, key, list(rates.values()))

    def _offer(self, place: Place, key: _Key, rates: list[_Rate]) -> Offer:
        newest = max(rate.effective for rate in rates)
        # A rate of 0 beside a price is a row of another kind, not a second opinion.
        rates = [rate for rate in rates if rate.effective == newest]
        rates = [rate for rate in rates if rate.hourly or rate.upfront] or rates[:1]
        prices = {(rate.hourly, rate.upfront) for rate in rates}
        note = _note(key.terms, rates[0])
        if len(prices) > 1:
            note = "the list states " + " and ".join(sorted({_said(rate) for rate in rates}))
        listed = Listed(
            amount=rates[0].hourly if len(prices) == 1 else None, currency=key.currency, observed_at=self._now,
            source=self._source(), effective_at=newest or None, note=note,
        )  # fmt: skip
        offer = make_offer(place, key.shape, key.terms, listed)
        if len(prices) > 1:
            return replace(offer, price=replace(offer.price, status="quarantined"))
        return replace(offer, price=replace(offer.price, upfront=rates[0].upfront))

    def _source(self) -> Source:
        return Source(
            id="aws-price-list", name="AWS price list (EC2)", path="AmazonEC2", revision=max(self.versions) or None,
            licence="public price list", url=GLOBAL,
        )  # fmt: skip


def _is_plain(row: Row) -> bool:
    return (
        _is_accelerated(row)
        and all(row[name] in allowed for name, allowed in _PLAIN.items())
        and (row["kind"], row["unit"]) in _PRICED
        and row["market"] in ("OnDemand", "CapacityBlock", "")
        and (row["tenancy"] == "Shared" or (row["tenancy"] == "Dedicated" and _is_metal(row)))
    )


def _is_accelerated(row: Row) -> bool:
    return row["family"].startswith(_ACCELERATED_FAMILY) or bool(_ACCELERATED_TYPE.match(row["instance"]))


def _is_metal(row: Row) -> bool:
    return row["product"] == "Compute Instance (bare metal)"


def _terms(row: Row) -> Terms:
    if row["market"] == "CapacityBlock":
        return Terms(market="capacity_block")
    if row["kind"] == "OnDemand":
        return Terms()
    years = _TERM.fullmatch(row["length"])
    if not years or row["payment"] not in _PAYMENTS:
        raise malformed(PROVIDER, OPERATION, f"a reservation for {row['length'][:20]!r}, paid {row['payment'][:20]!r}")
    return Terms(
        market="reserved", term=f"{years.group(1)}y", payment=_PAYMENTS[row["payment"]],
        offering_class=row["class"].lower() or None,
    )  # fmt: skip


def _with(rate: _Rate, row: Row, terms: Terms) -> _Rate:
    """`rate` with the part that `row` states."""
    try:
        price = amount(row["price"])
    except ValueError as error:
        raise malformed(PROVIDER, OPERATION, f"{row['instance'][:60]}: {error}") from None
    if row["unit"] == "Quantity":
        return replace(rate, upfront=price) if terms.market == "reserved" else rate
    return replace(rate, hourly=price)


def _note(terms: Terms, rate: _Rate) -> str:
    if terms.market == "capacity_block":
        return "each block has its own price; ask for offerings with credentials"
    if rate.hourly is None and rate.upfront:
        return "all of it is paid at the start"
    return ""


def _said(rate: _Rate) -> str:
    per_hour = f"{rate.hourly.normalize():f}" if rate.hourly else "0"
    return per_hour + (f" with {rate.upfront.normalize():f} at the start" if rate.upfront else "")


def _currency(row: Row) -> str:
    if not _MONEY_CODE.fullmatch(row["currency"]):
        raise malformed(PROVIDER, OPERATION, f"{row['instance'][:60]}: no currency")
    return row["currency"]


def _shape(row: Row) -> Shape:
    known = instances().get(row["instance"])
    if known:
        return known
    return Shape(
        instance=row["instance"], accelerator_id=None, accelerator_name=row["instance"].partition(".")[0], count=None,
        vcpus=_number(row["vcpus"]), memory_gib=_number(row["memory"].removesuffix(" GiB")),
        service="bare-metal" if _is_metal(row) else "vm",
    )  # fmt: skip


@cache
def instances() -> Mapping[str, Shape]:
    """What each type holds, by its name. Fractions are exact; Neuron devices are devices, not cores."""
    table = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "instances.csv")
    return {row["instance"]: _known(row) for row in read_table(table)}


def _known(row: Row) -> Shape:
    return Shape(
        instance=row["instance"],
        accelerator_id=row["accelerator_id"] or None,
        accelerator_name=row["accelerator_name"],
        count=Fraction(row["count"]),
        accelerator_memory_gib=_number(row["accelerator_memory_gib"]),
        vcpus=_number(row["vcpus"]),
        memory_gib=_number(row["memory_gib"]),
        service=row["service"],
    )


def _number(text: str) -> float | None:
    try:
        number = float(text.replace(",", ""))
    except ValueError:
        return None
    return number if 0 < number < 1_000_000 else None


def _path(code: str, entry: object, home: str) -> str:
    """The path of a file below `home`. Only a path below it is taken: no index sends us to another host."""
    place = mapping(entry, provider=PROVIDER, operation=OPERATION, what=f"the region {code[:40]}")
    url, below = place.get("currentVersionUrl"), home[home.index("/offers/") :] + "/"
    if not isinstance(url, str) or not url.startswith(below) or not url.endswith(".json") or ".." in url:
        raise malformed(PROVIDER, OPERATION, f"the region {code[:40]} has no address of a file")
    return url.removeprefix(below).removesuffix(".json") + ".csv"


def _partition(region: str) -> str:
    found = places.region(PROVIDER, region)
    return found.partition if found else PROVIDER


def _columns(header: list[str]) -> Mapping[str, int]:
    lacking = [title for name, title in _COLUMNS.items() if title not in header and name not in _OPTIONAL]
    if lacking:
        raise malformed(PROVIDER, OPERATION, f"no column {', '.join(lacking)}")
    return {name: header.index(title) if title in header else -1 for name, title in _COLUMNS.items()}


def _cells(line: str) -> list[str]:
    return next(iter(csv.reader((line,))), list[str]())


__all__ = ["CHINA", "GLOBAL", "AwsPrices", "OfferFile", "instances"]
