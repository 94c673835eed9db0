"""Prices over time for people: a line for each offer with its spread and a small picture, and when it changed."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from cloudaccel.catalog.history import PriceVersion
from cloudaccel.catalog.pricestats import PriceHistory
from cloudaccel.cli import common
from cloudaccel.model import Offer
from cloudaccel.output.columns import plain

_STEPS = "▁▂▃▄▅▆▇█"
_GAP = "·"
_CELLS = 30
_CHANGES = 6  # of one offer that a person is shown


def render(offers: Sequence[Offer], histories: Mapping[str, PriceHistory]) -> str:
    """The section after the table of offers; rows have the numbers of that table."""
    some = next(iter(histories.values()), None)
    if some is None:
        return ""
    rows = [_row(number, histories[offer.id]) for number, offer in enumerate(offers, 1)]
    headings = ["#", "LOW", "P50", "P95", "HIGH", "DAYS", "TREND"]
    table = common.table(headings, rows, frozenset({0, 1, 2, 3, 4, 5}), common.screen_width())
    days = len(some.series)
    span = f"{some.since} to {some.until}"
    title = f"Price per hour of the machine, {span}; DAYS of {days} on which a price was seen, {_GAP} where none was"
    lines = ["", title, "", *table]
    for number, offer in enumerate(offers, 1):
        lines += _changes(number, offer, histories[offer.id])
    return "\n".join(lines) + "\n"


def _row(number: int, history: PriceHistory) -> list[str]:
    spread = [plain(price) or "—" for price in (history.low, history.p50, history.p95, history.high)]
    return [str(number), *spread, str(history.days_known), sparkline(history.series)]


def sparkline(series: Sequence[Decimal | None], cells: int = _CELLS) -> str:
    """`series` in at most `cells` characters: each the last known price of its days, from the lowest to the highest."""
    known = [price for price in series if price is not None]
    if not known:
        return _GAP
    low, high = min(known), max(known)
    width = max(1, -(-len(series) // cells))
    parts = [series[start : start + width] for start in range(0, len(series), width)]
    last = [next((price for price in reversed(part) if price is not None), None) for part in parts]
    return "".join(_GAP if price is None else _step(price, low, high) for price in last)


def _step(price: Decimal, low: Decimal, high: Decimal) -> str:
    return _STEPS[3] if high == low else _STEPS[int((price - low) / (high - low) * (len(_STEPS) - 1))]


def _changes(number: int, offer: Offer, history: PriceHistory) -> Iterator[str]:
    moves = list(zip(history.changes, history.changes[1:], strict=False))
    if moves:
        yield f"\n{number}  {offer.provider} {offer.zone or offer.region} {offer.instance}"
    for before, after in moves[-_CHANGES:]:
        prices = f"{plain(before.amount) or '—'} → {plain(after.amount) or '—'}"
        yield f"   {after.from_at}  {prices}{_percent(before, after)}"
    if len(moves) > _CHANGES:
        yield f"   and {len(moves) - _CHANGES} before; --json has them all"


def _percent(before: PriceVersion, after: PriceVersion) -> str:
    if not before.amount or not after.amount:
        return ""
    return f" ({(after.amount / before.amount - 1) * 100:+.1f} %)"
