"""What Amazon's price files have in common: CSV below a few lines about themselves, and one offer from many lines.

What a type holds stands in ``data/instances.csv``, because the lists' own columns are wrong for fractions and know no
Neuron devices; an accelerated type that the table lacks is offered with an unknown accelerator.
"""

import csv
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache

from cloudaccel.facts import places
from cloudaccel.facts.listing import Listed, Place, Shape, Terms, amount, make_offer, malformed, mapping
from cloudaccel.facts.loader import read_table
from cloudaccel.model import Offer, Source
from cloudaccel.protocols import Answer, Scope, Web
from cloudaccel_aws.sieve import Proved, Sieve

PROVIDER = "aws"
OPERATION = "price list"
# A region, or a Local or Wavelength Zone below one.
REGION = re.compile(r"(?P<region>[a-z]{2,4}(?:-[a-z]+){1,2}-\d+)(?:-(?P<zone>[a-z0-9-]+))?")
# How names of types with accelerators begin, for rows that name no family.
ACCELERATED_TYPE = r"(?:p|g|gr|inf|trn|dl|vt)\d"
PAYMENTS = {"No Upfront": "no_upfront", "Partial Upfront": "partial_upfront", "All Upfront": "all_upfront"}
_HEAD_LINES = 22  # within which the titles are
_MONEY_CODE = re.compile("[A-Z]{3}")

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rate:
    """One price of one offer: an hourly part, and for some reservations a part that is paid at the start."""

    effective: str
    hourly: Decimal | None = None
    upfront: Decimal | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """What an offer is known by. `shared`: not on hardware of one's own, the way a machine starts unless asked."""

    region: str
    zone: str | None
    shape: Shape
    terms: Terms
    currency: str
    shared: bool = True


class OfferFile:
    """A price file as CSV: a few lines about itself, a header, and a line for each price. `version` is its own word.

    `columns`: our name of each column that is read, and the file's; those of `optional` may be missing. `quick` may
    give a faster sieve than `sieve` for a file with these titles of columns.
    """

    def __init__(
        self,
        columns: Mapping[str, str],
        sieve: Sieve,
        *,
        optional: tuple[str, ...] = (),
        quick: Callable[[Sequence[str]], Sieve | None] = lambda _: None,
    ) -> None:
        self._names = columns
        self._sieve = sieve
        self._optional = optional
        self._quick = quick
        self._head = 0
        self._titles: list[str] = []
        self._through = Proved(sieve, None)
        self._last = b""
        self.version = ""

    def rows(self, answer: Answer) -> Iterator[Row]:
        """The lines that are let through, as rows in file order. Raises `MalformedResponse`."""
        columns: Mapping[str, int] = {}
        for line in map(_text, answer.picked(self._pick)):
            if columns:
                yield self._row(line, columns)
            elif self._is_titles(line):
                columns = self._columns(self._titles)
        if not columns:
            raise malformed(PROVIDER, OPERATION, "no line begins with SKU")
        end = _cells(_text(self._last.rstrip().rpartition(b"\n")[2]))
        if end and len(end) < len(self._titles):  # cut within a line that perhaps nobody looked at
            raise malformed(PROVIDER, OPERATION, f"the last line has {len(end)} of {len(self._titles)} fields")

    def _pick(self, block: bytes) -> Iterator[bytes]:
        """The lines up to the titles, and those after it that are let through."""
        start = 0
        while not self._titles and start < len(block):
            end = block.find(b"\n", start) + 1 or len(block)
            line = block[start:end].rstrip(b"\n")
            start, self._head = end, self._head + 1
            if not self._is_titles(_text(line)) and self._head > _HEAD_LINES:
                raise malformed(PROVIDER, OPERATION, "no line begins with SKU")
            yield line
        self._last = block
        yield from self._through.lines(block[start:])

    def _is_titles(self, line: str) -> bool:
        """Found by their first: the number of lines before them is not promised."""
        cells = _cells(line)
        if cells[:1] == ["Version"] and len(cells) > 1:
            self.version = cells[1][:40]
        if cells[:1] != ["SKU"]:
            return False
        if not self._titles:
            self._titles, self._through = cells, Proved(self._sieve, self._quick(cells))
        return True

    def _row(self, line: str, columns: Mapping[str, int]) -> Row:
        cells = _cells(line)
        try:
            return {name: cells[place] if place >= 0 else "" for name, place in columns.items()}
        except IndexError:
            raise malformed(PROVIDER, OPERATION, f"a line of {len(cells)} fields: {line[:60]}") from None

    def _columns(self, header: list[str]) -> Mapping[str, int]:
        lacking = [title for name, title in self._names.items() if title not in header and name not in self._optional]
        if lacking:
            raise malformed(PROVIDER, OPERATION, f"no column {', '.join(lacking)}")
        return {name: header.index(title) if title in header else -1 for name, title in self._names.items()}


class Rates:
    """All prices of one scope, until it is known which of them hold."""

    def __init__(self, now: datetime, source: Source) -> None:
        self._now = now
        self._source = source
        self._found: dict[Key, dict[tuple[str, str], Rate]] = {}
        self.versions: set[str] = set()

    def add(self, key: Key, row: Row, price: Decimal | None, *, upfront: bool = False, note: str = "") -> None:
        """Take one price: rows of one `sku` and `offer` make one rate. What is not in force yet is left.

        `note` says why a price is 0.
        """
        if row["effective"] > self._now.strftime("%Y-%m-%dT%H:%M:%SZ"):
            return
        rates = self._found.setdefault(key, {})
        one = (row["sku"], row["offer"])
        rate = rates.get(one) or Rate(row["effective"], note=note)
        rates[one] = replace(rate, upfront=price) if upfront else replace(rate, hourly=price)

    @property
    def types(self) -> frozenset[str]:
        """Names of the types that have a price or are named without one."""
        return frozenset(key.shape.instance for key in self._found)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of `scope`, one of each key; two prices of one day that disagree leave it without any."""
        for key, rates in self._found.items():
            if not key.shared and replace(key, shared=True) in self._found:
                continue
            place = Place(provider=PROVIDER, partition=partition_of(key.region), region=key.region, zone=key.zone)
            if place.partition == scope.partition:
                yield self._offer(place, key, list(rates.values()))

    def _offer(self, place: Place, key: Key, rates: list[Rate]) -> Offer:
        # A rate of 0 beside a price is a row of another kind, not a second opinion.
        rates = [rate for rate in rates if rate.hourly or rate.upfront] or rates[:1]
        newest = max(rate.effective for rate in rates)
        rates = [rate for rate in rates if rate.effective == newest]
        prices = {(rate.hourly, rate.upfront) for rate in rates}
        note = _note(rates[0])
        if len(prices) > 1:
            note = "the list states " + " and ".join(sorted({_said(rate) for rate in rates}))
        listed = Listed(
            amount=rates[0].hourly if len(prices) == 1 else None, currency=key.currency, observed_at=self._now,
            source=self._source._replace(revision=max(self.versions) or None), effective_at=newest or None, note=note,
        )  # fmt: skip
        offer = make_offer(place, key.shape, key.terms, listed)
        if len(prices) > 1:
            return replace(offer, price=replace(offer.price, status="quarantined"))
        return replace(offer, price=replace(offer.price, upfront=rates[0].upfront))


def _note(rate: Rate) -> str:
    if rate.hourly is None and rate.upfront:
        return "all of it is paid at the start"
    return "" if rate.hourly else rate.note


def _said(rate: Rate) -> str:
    per_hour = f"{rate.hourly.normalize():f}" if rate.hourly else "0"
    return per_hour + (f" with {rate.upfront.normalize():f} at the start" if rate.upfront else "")


def price_of(row: Row) -> Decimal | None:
    """The price of a row with `price` and `instance`; None for 0. Raises `MalformedResponse`."""
    try:
        return amount(row["price"])
    except ValueError as error:
        raise malformed(PROVIDER, OPERATION, f"{row['instance'][:60]}: {error}") from None


def currency_of(row: Row) -> str:
    """The currency of a row. Raises `MalformedResponse`."""
    if not _MONEY_CODE.fullmatch(row["currency"]):
        raise malformed(PROVIDER, OPERATION, f"{row['instance'][:60]}: no currency")
    return row["currency"]


def place_in(code: str, scope: Scope) -> re.Match[str] | None:
    """`code` as a region or a zone of `scope`; None when it is elsewhere, or no place."""
    place = REGION.fullmatch(code)
    return place if place and scope.region in (None, place.group("region")) else None


def unknown_shape(instance: str, *, vcpus: str = "", memory: str = "", metal: bool = False) -> Shape:
    """A type that the table lacks: nothing is guessed from its name but what to call it."""
    return Shape(
        instance=instance, accelerator_id=None, accelerator_name=instance.partition(".")[0], count=None,
        vcpus=_number(vcpus), memory_gib=_number(memory.removesuffix(" GiB")),
        service="bare-metal" if metal else "vm",
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


def partition_of(region: str) -> str:
    """The partition of a region; one that no table knows yet is of the commercial one."""
    found = places.region(PROVIDER, region)
    return found.partition if found else PROVIDER


def _text(line: bytes) -> str:
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise malformed(PROVIDER, OPERATION, "a line is no UTF-8") from None


def _cells(line: str) -> list[str]:
    return next(iter(csv.reader((line,))), list[str]())


def path_below(home: str, code: str, url: object, *, suffix: str = ".csv") -> str:
    """The path of a file below `home`. Only a path below it is taken: no index sends us to another host."""
    below = "/" + home.split("/", 3)[3] + "/"
    if not isinstance(url, str) or not url.startswith(below) or not url.endswith(".json") or ".." in url:
        raise malformed(PROVIDER, OPERATION, f"{code[:40]} has no address of a file")
    return url.removeprefix(below).removesuffix(".json") + suffix


def region_files(web: Web, home: str, index: str) -> Mapping[str, str]:
    """Paths below `home` of the files of regions and zones, as the `index` of one service says today."""
    regions = mapping(
        _page(web, f"{home}/{index}").get("regions"), provider=PROVIDER, operation=OPERATION, what="regions"
    )
    if not regions:
        raise malformed(PROVIDER, OPERATION, "the index has no regions")
    return {
        code: path_below(home, code, _field(code, entry, "currentVersionUrl"))
        for code, entry in sorted(regions.items())
    }


def index_of(web: Web, home: str, service: str) -> str | None:
    """Path below `home` of the index of `service`; None where the list of lists does not have it."""
    offers = mapping(
        _page(web, f"{home}/index.json").get("offers"), provider=PROVIDER, operation=OPERATION, what="offers"
    )
    if service not in offers:
        return None
    return path_below(home, service, _field(service, offers[service], "currentRegionIndexUrl"), suffix=".json")


def _page(web: Web, url: str) -> Mapping[str, object]:
    with web.ask(url) as answer:
        return mapping(answer.json(), provider=PROVIDER, operation=OPERATION, what="the index")


def _field(code: str, entry: object, name: str) -> object:
    return mapping(entry, provider=PROVIDER, operation=OPERATION, what=code[:40]).get(name)


__all__ = [
    "ACCELERATED_TYPE",
    "OPERATION",
    "PAYMENTS",
    "PROVIDER",
    "REGION",
    "Key",
    "OfferFile",
    "Rate",
    "Rates",
    "Row",
    "currency_of",
    "index_of",
    "instances",
    "partition_of",
    "path_below",
    "place_in",
    "price_of",
    "region_files",
    "unknown_shape",
]
