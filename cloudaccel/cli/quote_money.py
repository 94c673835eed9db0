"""Lines under a table of quotes: by which rates prices were converted, and the tax that comes on top."""

from decimal import Decimal

from cloudaccel.api import quoting as api
from cloudaccel.cost.currency import tax_on
from cloudaccel.output.columns import NO_DECIMALS, PER, plain, times


def money_lines(answer: api.Quote, per: str) -> list[str]:
    """What was converted with which rate of which day, the tax on the first price, and what a disk costs beside it."""
    return [*_rates(answer), *_tax(answer, per), *_disk(answer)]


def _disk(answer: api.Quote) -> list[str]:
    if answer.disk is None:
        return []
    from cloudaccel.cost.lines import DISK_PRICE

    disk = answer.disk
    size, each = plain(disk.size_gb), plain(disk.price_per_gb_month)
    per_month, per_hour = f"{disk.price_per_month:,.2f}", f"{disk.price_per_hour:,.4f}"
    several = [(n, disk.of(n)) for n in answer.machines if n > 1]
    return [
        f"Disk of each machine, in no price here: {size} GB × {each} = {per_month} {disk.currency} a month",
        f"  ({per_hour}/h), also while it is stopped. Estimated: {DISK_PRICE.source} ({DISK_PRICE.as_of}).",
        *(
            f"  The disks of {n} machines: {n} × {per_month} = {all_of.price_per_month:,.2f} {disk.currency} a month "
            f"({all_of.price_per_hour:,.4f}/h)."
            for n, all_of in several
        ),
        "  Snapshots and static addresses: price not known.",
    ]


def _rates(answer: api.Quote) -> list[str]:
    if answer.conversion is None:
        return []
    rates, listed = answer.conversion
    wanted = answer.query.currency
    currencies = sorted({listed[offer.id].currency for offer in answer.offers if offer.id in listed})
    if not currencies:
        return []
    words = ", ".join(f"1 {currency} = {plain(rates.rate(currency, wanted))} {wanted}" for currency in currencies)
    return [f"≈ converted: {words}.", f"  {rates.source} of {rates.as_of}."]


def _tax(answer: api.Quote, per: str) -> list[str]:
    percent = answer.tax_percent
    if percent is None:
        return []
    first = answer.offers[0]
    price = times(first.price.amount, PER[per] * answer.nodes(first))
    tax = tax_on(price, percent)
    if price is None or tax is None:
        return [f"Tax of {plain(percent)}% (as you state) is not in these prices."]
    currency = first.price.currency
    places = Decimal(1) if currency in NO_DECIMALS and price >= 1 else Decimal("0.0001")
    # The sum is that of the figures shown, so that it can be redone by eye.
    shown, shown_tax = price.quantize(places), tax.quantize(places)
    return [
        f"Tax of {plain(percent)}% (as you state) is not in these prices.",
        f"  The first: {shown:,f} + {shown_tax:,f} tax = {shown + shown_tax:,f} {currency} per {per}.",
    ]
