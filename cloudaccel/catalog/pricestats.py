"""One offer's price over a span of days: each day's price where it is known, its spread, and when it changed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from cloudaccel.catalog.history import PriceVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceHistory:
    """Prices per hour from `since` to `until`, both included, in the offer's currency.

    Attributes
    ----------
    series
        One price a day. None: nobody saw one that day, which is not the same as the price before it.
    low, p50, p95, high
        Over the days that are known, by nearest rank: each is a price that was really asked. None when no day is known.
    changes
        The versions that touch the span, oldest first.
    """

    since: date
    until: date
    series: tuple[Decimal | None, ...]
    changes: tuple[PriceVersion, ...]

    @property
    def days_known(self) -> int:
        """Days with a price."""
        return sum(price is not None for price in self.series)

    @property
    def low(self) -> Decimal | None:
        """The lowest price."""
        return self.at(0)

    @property
    def p50(self) -> Decimal | None:
        """The median."""
        return self.at(50)

    @property
    def p95(self) -> Decimal | None:
        """The price that 95 % of the known days did not exceed."""
        return self.at(95)

    @property
    def high(self) -> Decimal | None:
        """The highest price."""
        return self.at(100)

    def at(self, percent: int) -> Decimal | None:
        """The lowest price that at least `percent` % of the known days did not exceed."""
        known = sorted(price for price in self.series if price is not None)
        return known[max(math.ceil(len(known) * percent / 100) - 1, 0)] if known else None


def price_history(versions: Sequence[PriceVersion], since: date, until: date) -> PriceHistory:
    """The days from `since` to `until` of an offer with these versions, oldest first."""
    touching = tuple(v for v in versions if v.from_at <= until.isoformat() and v.until_at >= since.isoformat())
    series: list[Decimal | None] = []
    for number in range((until - since).days + 1):
        day = (since + timedelta(days=number)).isoformat()
        holding = [v for v in touching if v.from_at <= day <= v.until_at]
        series.append(holding[-1].amount if holding else None)
    return PriceHistory(since=since, until=until, series=tuple(series), changes=touching)
