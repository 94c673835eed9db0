"""Which card a row of a price table is of, where its table says more than the seller did: ``data/card_rules.csv``.

A table has one column for the row of the accelerator table, so whoever writes it has to choose, also where the seller
wrote ``A100``. A rule takes such a choice back, or puts the right card in its place. What is then left open stays open:
the offer carries the seller's name, and is found by the family and by nothing narrower.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from cloudaccel.catalog.ingest_notes import DATA_FOLDER
from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.listing import one_accelerator
from cloudaccel.facts.loader import read_table
from cloudaccel.model import Accelerator

_COLUMNS = ("provider", "instance", "becomes", "memory", "say", "why", "source", "seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRule:
    """What the seller really said of its card.

    Attributes
    ----------
    becomes
        The card that it is; None where the seller leaves that open.
    memory_unsaid
        True where the memory in the table was chosen too.
    say
        The remark for the offer.
    """

    instance: re.Pattern[str]
    becomes: Accelerator | None
    memory_unsaid: bool
    say: str


def card_rule(table: Mapping[str, str]) -> CardRule | None:
    """The rule for one row of a price table; None where its card is what the seller said."""
    rules = _rules().get(table["provider"], ())
    return next((rule for rule in rules if rule.instance.search(table["instance_type"])), None)


def named_card(name: str, memory_gib: str) -> Accelerator | None:
    """The one card that a row without an id names, with the memory of one; None where it is several or none."""
    found = one_accelerator(name, float(memory_gib) if memory_gib else None)
    return by_id(found) if found else None


@cache
def _rules() -> Mapping[str, tuple[CardRule, ...]]:
    found: dict[str, tuple[CardRule, ...]] = {}
    for row in read_table(os.path.join(DATA_FOLDER, "card_rules.csv"), _COLUMNS):
        rule = CardRule(
            instance=re.compile(row["instance"]), becomes=by_id(row["becomes"]) if row["becomes"] else None,
            memory_unsaid=row["memory"] == "unsaid", say=row["say"],
        )  # fmt: skip
        found[row["provider"]] = (*found.get(row["provider"], ()), rule)
    return found
