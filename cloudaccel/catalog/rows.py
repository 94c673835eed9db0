"""What a row of a snapshot must look like: its columns, its key, and the check that every row passes.

Checks answer with the fault in words, or None. Values that occurred before are remembered, so that a row of familiar
values costs a few set look-ups.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from operator import itemgetter

from cloudaccel.model.money import MAX_AMOUNT
from cloudaccel.model.offer import AVAILABILITIES, MARKETS, OFFER_KEY, PRICE_STATUSES

Row = dict[str, str]
Key = Callable[[Row], tuple[str, ...]]
Check = Callable[[str], str | None]

OFFER_COLUMNS = (
    "provider", "partition", "region", "zone", "service", "instance", "accelerator_id", "accelerator_name", "count",
    "accelerator_memory_gib", "hosts", "sold_per", "vcpus", "memory_gib", "market", "term", "payment",
    "offering_class", "price_per_hour", "currency", "upfront", "status", "parts", "availability", "last_seen",
    "as_of", "as_of_until", "effective_at", "source", "note",
)  # fmt: skip
HISTORY_COLUMNS = (
    "provider", "partition", "region", "zone", "service", "instance", "accelerator_id", "accelerator_name", "count",
    "market", "term", "payment", "offering_class", "currency", "price_per_hour", "from_at", "until_at", "source",
    "note",
)  # fmt: skip
HISTORY_KEY = (*OFFER_KEY, "from_at")

_TOGETHER = (
    (
        "provider", "partition", "region", "zone", "market", "term", "payment", "offering_class", "currency", "status",
        "availability", "last_seen", "as_of", "as_of_until", "effective_at", "source", "note", "until_at",
    ),
    (
        "service", "instance", "accelerator_id", "accelerator_name", "count", "accelerator_memory_gib", "hosts",
        "sold_per", "vcpus", "memory_gib",
    ),
)  # fmt: skip

_AMOUNT = re.compile(r"\d{1,10}(?:\.\d{1,12})?\Z", re.ASCII)
_COUNT = re.compile(r"[1-9]\d{0,6}(?:/[1-9]\d{0,3})?\Z", re.ASCII)
_WHOLE = re.compile(r"[1-9]\d{0,6}\Z", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_TERM = re.compile(r"[1-9]\d{0,4}[ymdh]\Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_PART = re.compile(r"([^;=*]+)=(\d+(?:\.\d+)?)\*(\d+(?:\.\d+)?|\?)\Z", re.ASCII)
_REMEMBERED = 8192  # combinations that a group remembers as good; further ones are checked every time
_ROUNDING = Decimal("0.000001")


def date_fault(text: str) -> str | None:
    """What is wrong with `text` as an ISO date; empty is no fault."""
    if not text:
        return None
    try:
        if _DATE.match(text):
            date.fromisoformat(text)
            return None
    except ValueError:
        pass
    return f"{text!r} is not a date such as 2026-07-30"


def amount_fault(text: str) -> str | None:
    """What is wrong with `text` as a price per hour above 0; empty is no fault."""
    if not text:
        return None
    whole, _, decimals = text.partition(".")
    # The file keeps nine decimals: less is nothing there.
    if _AMOUNT.match(text) and (whole + decimals[:9]).strip("0"):
        return None if int(whole) < MAX_AMOUNT else f"{text!r} is not an amount below {MAX_AMOUNT}"
    return f"{text[:40]!r} is not an amount above 0"


def parts_fault(parts: str, price: str) -> str | None:
    """What is wrong with a `parts` column: a piece that is no ``name=quantity*unit_price``, or a sum unlike `price`."""
    total = Decimal(0)
    complete = True
    for piece in parts.split(";"):
        match = _PART.match(piece)
        if not match:
            return f"part {piece!r} is not name=quantity*unit_price"
        if match[3] == "?":
            complete = False
        else:
            total += Decimal(match[2]) * Decimal(match[3])
    if complete and price and abs(total - Decimal(price)) > _ROUNDING:
        return f"the parts add up to {total}, the price is {price}"
    if not complete and price:
        return "a part has no price, yet the whole has one"
    return None


def offer_checker() -> Callable[[Row], str | None]:
    """A check for offer rows; make one for each file, it remembers values."""
    groups = _groups(_OFFER_CHECKS)

    def check(row: Row) -> str | None:
        fault = _first_fault(groups, row)
        if fault is not None:
            return fault
        if (row["status"] in ("unknown", "quarantined")) == bool(row["price_per_hour"]):
            return f"status {row['status']} with price {row['price_per_hour'] or 'empty'}"
        if row["as_of_until"] and not "" < row["as_of"] < row["as_of_until"]:
            return f"as_of_until {row['as_of_until']} is not after as_of {row['as_of'] or 'empty'}"
        if row["parts"]:
            return parts_fault(row["parts"], row["price_per_hour"])
        return None

    return check


def history_checker() -> Callable[[Row], str | None]:
    """A check for history rows; make one for each file, it remembers values."""
    groups = _groups(_HISTORY_CHECKS)

    def check(row: Row) -> str | None:
        fault = _first_fault(groups, row)
        if fault is None and row["until_at"] < row["from_at"]:
            fault = f"until_at {row['until_at']} is before from_at {row['from_at']}"
        return fault

    return check


def span(kind: str, rows: Iterable[Mapping[str, str]]) -> tuple[str | None, str | None]:
    """First and last date of the rows of one file; None when no row has a date."""
    first, last = ("as_of", "as_of_until") if kind == "offers" else ("from_at", "until_at")
    pairs = [(row[first], row[last] or row[first]) for row in rows if row[first]]
    if not pairs:
        return None, None
    return min(start for start, _ in pairs), max(end for _, end in pairs)


@dataclass(frozen=True, slots=True)
class _Group:
    """Columns whose values come together again and again: a combination seen before is good without a second look."""

    get: Callable[[Row], object]
    checks: tuple[tuple[str, Check], ...]
    seen: set[object]


def _groups(checks: Mapping[str, Check]) -> tuple[_Group, ...]:
    together = [
        *(tuple(column for column in group if column in checks) for group in _TOGETHER),
        *((column,) for column in checks if not any(column in group for group in _TOGETHER)),
    ]
    return tuple(
        _Group(itemgetter(*columns), tuple((column, checks[column]) for column in columns), set())
        for columns in together
    )


def _first_fault(groups: tuple[_Group, ...], row: Row) -> str | None:
    for group in groups:
        values = group.get(row)
        if values not in group.seen:
            for column, check in group.checks:
                if fault := check(row[column]):
                    return f"{column}: {fault}"
            if len(group.seen) < _REMEMBERED:
                group.seen.add(values)
    return None


def _text(value: str) -> str | None:
    # Control characters would reach a terminal; the bound keeps one row from filling a screen.
    if not value.isprintable():
        return "has characters that cannot be printed"
    return "is longer than 2000 characters" if len(value) > 2000 else None


def _filled(value: str) -> str | None:
    return _text(value) if value else "is empty"


def _one_of(*values: str) -> Check:
    allowed = frozenset(values)
    return lambda value: None if value in allowed else f"{value[:40]!r} is none of {', '.join(sorted(allowed))}"


def _matches(pattern: re.Pattern[str], what: str) -> Check:
    return lambda value: None if not value or pattern.match(value) else f"{value[:40]!r} is not {what}"


def _count(value: str) -> str | None:
    if not value or (_COUNT.match(value) and str(Fraction(value)) == value):
        return None
    return f"{value[:40]!r} is not a count such as 8 or 1/6"


def _moment(value: str) -> str | None:
    if not value:
        return None
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return f"{value[:40]!r} is not an ISO date or time"
    return _text(value)


def _needed(check: Check) -> Check:
    return lambda value: check(value) if value else "is empty"


_KEY_CHECKS: dict[str, Check] = {
    "provider": _filled,
    "partition": _filled,
    "region": _filled,
    "zone": _text,
    "service": _filled,
    "instance": _filled,
    "accelerator_id": _text,
    "accelerator_name": _text,
    "market": _one_of(*MARKETS),
    "term": _matches(_TERM, "a term such as 1y or 24h"),
    "payment": _text,
    "offering_class": _text,
    "currency": _needed(_matches(_CURRENCY, "a currency code such as USD")),
    "count": _count,
    "source": _filled,
    "note": _text,
}
_OFFER_CHECKS: dict[str, Check] = {
    **_KEY_CHECKS,
    "accelerator_name": _filled,
    "accelerator_memory_gib": amount_fault,
    "hosts": _matches(_WHOLE, "a whole number"),
    "sold_per": _one_of("instance", "accelerator"),
    "vcpus": amount_fault,
    "memory_gib": amount_fault,
    "price_per_hour": amount_fault,
    "upfront": amount_fault,
    "status": _one_of(*PRICE_STATUSES),
    "parts": _text,
    "availability": _one_of(*AVAILABILITIES),
    "last_seen": date_fault,
    "as_of": date_fault,
    "as_of_until": date_fault,
    "effective_at": _moment,
}
_HISTORY_CHECKS: dict[str, Check] = {
    **_KEY_CHECKS,
    "price_per_hour": _needed(amount_fault),
    "from_at": _needed(date_fault),
    "until_at": _needed(date_fault),
}
