"""The price table of the page: each cell as people read it; what is unknown says so."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from cloudaccel.api.quoting import Quote, age_days, age_text
from cloudaccel.catalog.schema import APART
from cloudaccel.cost.currency import tax_on
from cloudaccel.facts import places
from cloudaccel.model import Offer
from cloudaccel.output.columns import NO_DECIMALS, accelerator_of, display_name, plain

UNKNOWN = "unknown"
_WHOLE_FROM = 100  # of a currency without decimals, from which none are shown
_APART = dict(APART)
_FRESH_DAYS, _OLD_DAYS = 30, 365  # colours of an age; the figure itself is always beside them


class Cell(NamedTuple):
    """The words of one cell, what the pointer shows over it, and its style."""

    text: str
    title: str = ""
    css: str = ""


class Column(NamedTuple):
    """A column: heading, whether it is a number, the order that its heading leads to, and what fills it.

    `standard`: shown unless others are chosen; `narrow`: then also on a telephone, where not all have room.
    """

    name: str
    heading: str
    number: bool
    sort: str | None
    cell: Callable[[Offer, Quote], Cell]
    standard: bool = True
    narrow: bool = False


def money(amount: Decimal | None, currency: str, heading: str = "") -> str:
    """An amount with its currency, where that is not the one of the heading."""
    if amount is None:
        return UNKNOWN
    if currency in NO_DECIMALS and amount >= _WHOLE_FROM:
        text = f"{amount:,.0f}"
    else:
        whole, _dot, cents = f"{amount:,.4f}".rstrip("0").partition(".")
        text = f"{whole}.{cents.ljust(2, '0')}"
    return text + ("" if currency == heading else f" {currency}")


def country_title(code: str | None) -> str:
    """The name of a country; empty for one that is not known."""
    country = places.countries().get(code or "")
    return country.name if country else ""


def _age(offer: Offer, answer: Quote) -> Cell:
    age = age_days(offer, answer.today)
    css = "old" if age is None or age[0] > _OLD_DAYS else "fresh" if age[0] <= _FRESH_DAYS else "aging"
    price = offer.price
    seen = f"seen {price.as_of}" + (f" to {price.as_of_until}" if price.as_of_until else "")
    text = age_text(offer, answer.today, undated="no date") + (" STALE" if answer.is_stale(offer) else "")
    return Cell(text, f"{seen if price.as_of else 'no source dates it'}, in {price.source.name}", css)


def _region(offer: Offer, _: Quote) -> Cell:
    return Cell(offer.zone or offer.region, offer.partition if offer.partition != offer.provider else "", "keep")


def _country(offer: Offer, _: Quote) -> Cell:
    return Cell(offer.country or UNKNOWN, country_title(offer.country), "" if offer.country else "unknown")


def _operator(offer: Offer, _: Quote) -> Cell:
    code = offer.operator_country
    return Cell(code or UNKNOWN, country_title(code), "" if code else "unknown")


def _count(offer: Offer, _: Quote) -> Cell:
    return Cell(UNKNOWN if offer.count is None else str(offer.count), css="unknown" if offer.count is None else "")


def _memory(offer: Offer, _: Quote) -> Cell:
    each, total = offer.accelerator_memory_gib, offer.total_memory_gib
    if each is None:
        return Cell(UNKNOWN, css="unknown")
    return Cell(f"{each:g}" if total is None or total == each else f"{each:g} / {total:g}")


def _each(offer: Offer, answer: Quote) -> Cell:
    amount = offer.price_per_accelerator_hour
    shown = money(amount, offer.price.currency, answer.query.currency)
    return Cell(shown, offer.price.note, "unknown" if amount is None else "strong")


def _hourly(offer: Offer, answer: Quote) -> Cell:
    nodes = answer.nodes(offer)
    text = money(offer.price.amount, offer.price.currency, answer.query.currency)
    css = "unknown" if offer.price.amount is None else ""
    return Cell(text, f"one of {nodes} machines" if nodes > 1 else f"price {offer.price.status}", css)


def _with_tax(offer: Offer, answer: Quote) -> Cell:
    percent, price = answer.tax_percent, offer.price
    tax = None if percent is None else tax_on(price.amount, percent)
    if price.amount is None or tax is None:
        return Cell(UNKNOWN, css="unknown")
    shown = money(price.amount + tax, price.currency, answer.query.currency)
    return Cell(shown, f"of it {money(tax, price.currency)} tax, {plain(percent)} % as you stated it")


def _market(offer: Offer, _: Quote) -> Cell:
    return Cell(
        " ".join(filter(None, (offer.market, offer.term))).replace("_", "-"),
        (offer.payment or "").replace("_", " "),
        "keep",
    )


def _instance(offer: Offer, _: Quote) -> Cell:
    return Cell(offer.instance or UNKNOWN, css="long")


def _availability(offer: Offer, _: Quote) -> Cell:
    seen = offer.availability.last_seen
    return Cell(offer.availability.state.replace("_", " "), f"last seen {seen}" if seen else "")


def _plain(field: str) -> Callable[[Offer, Quote], Cell]:
    return lambda offer, _: Cell(plain(getattr(offer, field)) or UNKNOWN)


def _accelerator(offer: Offer, _: Quote) -> Cell:
    return Cell(display_name(offer), offer.accelerator_id or "", "keep")


def _source(offer: Offer, _: Quote) -> Cell:
    return Cell(offer.price.source.name, offer.price.source.path)


def _link(offer: Offer, _: Quote) -> Cell:
    row = accelerator_of(offer)
    return Cell((row.link if row else None) or UNKNOWN)


COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("provider", "Provider", False, "provider", _plain("provider"), narrow=True),
        Column("region", "Region", False, None, _region, narrow=True),
        Column("country", "Country", False, None, _country),
        Column("accelerator", "Accelerator", False, None, _accelerator, narrow=True),
        Column("count", "Count", True, None, _count),
        Column("each", "Accelerator-hour", True, "price", _each, narrow=True),
        Column("hourly", "Machine-hour", True, "hourly", _hourly),
        Column("taxed", "With tax", True, None, _with_tax, False),
        Column("memory", "GB each / all", True, "memory", _memory),
        Column("market", "Market", False, None, _market),
        Column("instance", "Instance", False, None, _instance),
        Column("availability", "Availability", False, None, _availability),
        Column("age", "Price age", True, "age", _age, narrow=True),
        Column("operator", "Operator from", False, None, _operator),
        Column("vcpus", "vCPUs", True, None, _plain("vcpus"), False),
        Column("host", "Host memory, GiB", True, None, _plain("memory_gib"), False),
        Column("link", "Interconnect", False, None, _link, False),
        Column("service", "Service", False, None, _plain("service"), False),
        Column("source", "Source", False, None, _source, False),
    )
}
OF_MONEY = frozenset({"each", "hourly", "taxed"})  # the heading names the currency of the question
STANDARD = tuple(name for name, column in COLUMNS.items() if column.standard)


class Row(NamedTuple):
    """One offer: its cells, and why it is never ranked first, if it is not."""

    id: str
    name: str
    cells: tuple[Cell, ...]
    apart: str


def rows(answer: Quote, columns: tuple[str, ...]) -> list[Row]:
    """The rows of a page of offers."""
    return [
        Row(
            offer.id,
            f"{offer.provider} {offer.zone or offer.region} {offer.instance}",
            tuple(COLUMNS[name].cell(offer, answer) for name in columns),
            "; ".join(_APART.get(code, code) for code in offer.apart),
        )
        for offer in answer.offers
    ]
