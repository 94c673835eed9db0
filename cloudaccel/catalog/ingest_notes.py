"""What the notes of a price table say about a row, read with the rules in ``data/note_rules.csv``.

Price tables tell in words what has no column of its own: that the price is for one accelerator, that the host costs
extra, that a spot price is a guess. Each rule is a pattern, what it means and why; the code here knows no seller.
"""

import calendar
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from cloudaccel.errors import ConfigError
from cloudaccel.facts.loader import read_table

DATA_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
_COLUMNS = ("pattern", "instance", "action", "value", "keep", "why")
_FIELDS = ("sold_per", "class", "service", "status", "availability", "upfront", "term", "share_memory_gib", "since")
_ACTIONS = (*_FIELDS, "none", "say", "span", "host_unpriced", "quarantine", "other_card")


@dataclass(slots=True)
class Reading:
    """What the rules found in one row. `fields` are snapshot columns, and ``class``, ``share_memory_gib``, ``since``.

    Attributes
    ----------
    note
        What is left to tell a person.
    span
        First and last day between which the price was valid, as ISO dates; None when the note gives none.
    host_unpriced
        True when the price covers the accelerator alone.
    quarantine
        Why the price must not be used; empty when it may be.
    former
        True when the quarantined price was the price on its day.
    other_card
        True when the card is not the one that the accelerator table describes.
    """

    note: str
    fields: dict[str, str] = field(default_factory=dict[str, str])
    span: tuple[str, str] | None = None
    host_unpriced: bool = False
    quarantine: str = ""
    former: bool = False
    other_card: bool = False


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str] | None
    instance: re.Pattern[str] | None
    action: str
    value: str
    keep: bool
    why: str


@cache
def read_notes(note: str, instance: str) -> Reading:
    """Apply every rule, in order, to the note and instance name of one row. The result is shared: do not change it."""
    reading = Reading(note=note)
    for rule in _rules():
        if rule.instance is not None and not rule.instance.search(instance):
            continue
        match = rule.pattern.search(note) if rule.pattern is not None else re.match("", "")
        if match is None:
            continue
        _act(reading, rule, match)
        if not rule.keep and rule.pattern is not None:
            replacement = rule.value if rule.action == "say" else ""
            reading.note = reading.note.replace(match[0], replacement)
    reading.note = _tidy(reading.note)
    return reading


def month_span(first: str, last: str) -> tuple[str, str]:
    """ISO dates of the first day of month `first` and the last day of month `last`, both ``2025-11``."""
    year, month = (int(part) for part in last.split("-"))
    return f"{first}-01", f"{last}-{calendar.monthrange(year, month)[1]:02d}"


def _act(reading: Reading, rule: _Rule, match: re.Match[str]) -> None:
    if rule.action in _FIELDS:
        reading.fields[rule.action] = match.expand(rule.value)
    elif rule.action == "span":
        first, _, last = match.expand(rule.value).partition("..")
        reading.span = month_span(first, last)
    elif rule.action == "host_unpriced":
        reading.host_unpriced = True
    elif rule.action == "quarantine":
        reading.quarantine = rule.why
        reading.former = rule.value == "former"
    elif rule.action == "other_card":
        reading.other_card = True


def _tidy(note: str) -> str:
    pieces = (piece.strip() for piece in note.replace("\n", " ").split(";"))
    return "; ".join(piece for piece in pieces if piece)


@cache
def _rules() -> Sequence[_Rule]:
    rules: list[_Rule] = []
    for row in read_table(os.path.join(DATA_FOLDER, "note_rules.csv"), _COLUMNS):
        if row["action"] not in _ACTIONS or row["keep"] not in ("y", "n"):
            raise ConfigError(f"note_rules.csv: action {row['action']!r} or keep {row['keep']!r} is not known")
        rules.append(
            _Rule(
                pattern=re.compile(row["pattern"]) if row["pattern"] else None,
                instance=re.compile(row["instance"]) if row["instance"] else None,
                action=row["action"],
                value=row["value"],
                keep=row["keep"] == "y",
                why=row["why"],
            )
        )
    return tuple(rules)
