"""What a price in a table really is, where its source names another way to buy: rules in ``data/price_rules.csv``.

A broker reads a seller's list by words in descriptions, and a new word is read wrongly. A rule is of one price of one
accelerator to the last digit, so that it holds for that mistake alone and ends when the source mends it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from cloudaccel.catalog.ingest_notes import DATA_FOLDER
from cloudaccel.facts.loader import read_table

_COLUMNS = ("provider", "instance", "price_kind", "each", "becomes", "say", "why", "source", "seen")
_PRICE, _COUNT = re.compile(r"\d{1,9}(?:\.\d{1,12})?", re.ASCII), re.compile(r"\d{1,6}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRule:
    """One price that its source calls wrongly, or may.

    Attributes
    ----------
    each
        The price of one accelerator, USD per hour.
    becomes
        The price kind that it is; empty where that is not proved, and then only `say` is added.
    say
        The remark for the offer.
    """

    provider: str
    instance: re.Pattern[str]
    price_kind: str
    each: Decimal
    becomes: str
    say: str


def price_rule(table: Mapping[str, str]) -> PriceRule | None:
    """The rule for one row of a price table; None when there is none, or the row has no price or no count."""
    named = _rules().get((table["provider"], table["price_kind"]), ())
    rules = [rule for rule in named if rule.instance.search(table["instance_type"])]
    price, count = table["price_usd_per_hour"], table["accelerator_count"]
    if not rules or not _PRICE.fullmatch(price) or not _COUNT.fullmatch(count):
        return None
    return next((rule for rule in rules if rule.each * int(count) == Decimal(price)), None)


@cache
def _rules() -> Mapping[tuple[str, str], tuple[PriceRule, ...]]:
    found: dict[tuple[str, str], tuple[PriceRule, ...]] = {}
    for row in read_table(os.path.join(DATA_FOLDER, "price_rules.csv"), _COLUMNS):
        rule = PriceRule(
            provider=row["provider"], instance=re.compile(row["instance"]), price_kind=row["price_kind"],
            each=Decimal(row["each"]), becomes=row["becomes"], say=row["say"],
        )  # fmt: skip
        key = (rule.provider, rule.price_kind)
        found[key] = (*found.get(key, ()), rule)
    return found
