"""A quote in one currency: rows of other currencies converted by the user's rates, and ranked among the rest."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from cloudaccel.api.quoting import Notice, Quote
from cloudaccel.catalog.query import EXAMPLES, SORTS
from cloudaccel.cost.currency import Rates, converted_price
from cloudaccel.errors import QueryError
from cloudaccel.model import Hidden, Offer, Price, Query

_OLD_DAYS = 7  # rates are published each working day; the longest closing, Easter, is 4 days


class Conversion(NamedTuple):
    """By which rates offers were converted; `listed` has the price of each converted offer as its source lists it."""

    rates: Rates
    listed: dict[str, Price]


def check_currency(rates: Rates, wanted: str) -> None:
    """Refuse a currency that the rates lack.

    Raises
    ------
    QueryError
        If there is no rate for `wanted`.
    """
    if wanted not in rates.per_euro:
        known = ", ".join(sorted(rates.per_euro))
        raise QueryError(f"--currency: {rates.source} of {rates.as_of} has no rate for {wanted}. It has {known}.")


def converted_quote(whole: Quote, rates: Rates, asked: Query, *, show_hidden: bool) -> Quote:
    """`whole`, a quote of everything without limits in money, in the currency of `asked` and within its limits.

    With `show_hidden` a few rows above a limit are kept. A row in a currency without a rate stays as it is, never
    ranked first.
    """
    listed: dict[str, Price] = {}
    offers = [_converted(offer, asked.currency, rates, listed) for offer in whole.offers]
    hidden, examples = list(whole.hidden), dict(whole.examples)
    for flag, is_within in _limits(whole, asked):
        out = [offer for offer in offers if not is_within(offer)]
        if out:
            offers = [offer for offer in offers if is_within(offer)]
            hidden.append(Hidden(flag, len(out), f"above --{flag.replace('_', '-')}, or without a price"))
            examples[flag] = sorted(out, key=SORTS["price"])[:EXAMPLES]
    key = SORTS[asked.sort]
    offers.sort(key=lambda offer: (bool(offer.apart), whole.rank(offer), key(offer)))
    shown = tuple(offers[: asked.limit])
    ids = {offer.id for offer in shown}
    return replace(
        whole,
        query=asked,
        offers=shown,
        total=len(offers),
        hidden=tuple(hidden),
        examples=examples if show_hidden else {},
        notices=(*(n for n in whole.notices if n.offer is None or n.offer in ids), *_notices(rates, whole)),
        conversion=Conversion(rates, listed),
    )


def _converted(offer: Offer, wanted: str, rates: Rates, listed: dict[str, Price]) -> Offer:
    rate = None if offer.price.currency == wanted else rates.rate(offer.price.currency, wanted)
    if rate is None:
        return offer
    listed[offer.id] = offer.price
    apart = tuple(code for code in offer.apart if code != "other_currency")
    return replace(offer, price=converted_price(offer.price, wanted, rate), apart=apart)


def _limits(whole: Quote, asked: Query) -> list[tuple[str, Callable[[Offer], bool]]]:
    limits: list[tuple[str, Callable[[Offer], bool]]] = []
    most, hourly = asked.max_price, asked.max_hourly

    def cheap(offer: Offer) -> bool:
        each = offer.price_per_accelerator_hour
        return offer.price.currency == asked.currency and each is not None and most is not None and each <= most

    def affordable(offer: Offer) -> bool:
        amount = offer.price.amount
        own = offer.price.currency == asked.currency
        return own and amount is not None and hourly is not None and amount * whole.nodes(offer) <= hourly

    if most is not None:
        limits.append(("max_price", cheap))
    if hourly is not None:
        limits.append(("max_hourly", affordable))
    return limits


def _notices(rates: Rates, whole: Quote) -> list[Notice]:
    days = (whole.today - rates.as_of).days
    if 0 <= days <= _OLD_DAYS:
        return []
    age = f"{days} days old" if days > 0 else f"of a day after today ({whole.today})"
    return [Notice(code="fx", text=f"{rates.source} are of {rates.as_of}, {age}: converted prices are as old.")]
