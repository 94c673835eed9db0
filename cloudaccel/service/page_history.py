"""Prices over time: steps where a price was observed, gaps where nobody looked, a band from the median to 95 %."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from markupsafe import Markup

from cloudaccel.catalog.history import PriceVersion
from cloudaccel.service import svg

WINDOWS = ("30", "90", "365", "all")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 260, 64, 16, 12, 34
_CURVES = 5  # colours that tell lines apart


class Chart(NamedTuple):
    """The picture, a line of words for each offer (colour, name, what was seen), and how to read it."""

    picture: Markup | None
    legend: tuple[tuple[str, str, str], ...]
    note: str


def chart(named: Mapping[str, Sequence[PriceVersion]], window: str, today: date, currency: str) -> Chart:
    """The chart of some offers' prices per machine-hour; `window` is one of `WINDOWS`, in days."""
    first_wanted = None if window == "all" else today - timedelta(days=int(window))
    seen = {name: _within(versions, first_wanted, today) for name, versions in named.items()}
    drawn = {name: versions for name, versions in seen.items() if versions}
    legend = tuple((f"c{i % _CURVES}", name, _words(versions)) for i, (name, versions) in enumerate(seen.items()))
    if not drawn:
        return Chart(None, legend, "No price of these was observed in this time.")
    first = min(start for versions in drawn.values() for start, _, _ in versions)
    highest = svg.nice_ceiling(max(float(amount) for versions in drawn.values() for _, _, amount in versions))
    frame = svg.Frame(
        _WIDTH,
        _HEIGHT,
        _LEFT,
        _RIGHT,
        _TOP,
        _BOTTOM,
        (first_wanted or first).toordinal(),
        today.toordinal(),
        0.0,
        highest,
    )
    lines = [line for i, name in enumerate(seen) for line in _steps(frame, seen[name], f"c{i % _CURVES}")]
    band = _band(frame, next(iter(drawn.values()))) if len(drawn) == 1 else Markup("")
    label = "Price per machine-hour over time: " + "; ".join(f"{name}, {words}" for _, name, words in legend)
    note = f"{currency} per machine-hour. A line is drawn only over days on which the price was seen; a dot is one day."
    if band:
        note += " The band goes from the median of the observed days to their 95th percentile."
    return Chart(svg.picture(frame, label, band, svg.axes(frame, _days(frame)), *lines), legend, note)


Seen = tuple[date, date, Decimal]


def _within(versions: Sequence[PriceVersion], first: date | None, today: date) -> list[Seen]:
    found: list[Seen] = []
    for version in versions:
        start, end = date.fromisoformat(version.from_at[:10]), date.fromisoformat(version.until_at[:10])
        start, end = max(start, first or start), min(end, today)
        if version.amount is not None and start <= end:
            found.append((start, end, version.amount))
    return found


def _words(versions: Sequence[Seen]) -> str:
    if not versions:
        return "not seen"
    amounts = [amount for _, _, amount in versions]
    spread = f"{min(amounts):f}" if min(amounts) == max(amounts) else f"{min(amounts):f} to {max(amounts):f}"
    return f"{spread}, seen {versions[0][0]} to {versions[-1][1]}"


def _days(frame: svg.Frame) -> list[tuple[float, str]]:
    span = frame.last - frame.first
    return [
        (day, date.fromordinal(int(day)).isoformat())
        for day in (frame.first + span * i / 4 for i in (0.35, 1.5, 2.6, 3.7))
    ]


def _steps(frame: svg.Frame, versions: Sequence[Seen], css: str) -> list[Markup]:
    """A level line for each observed price; upright where the next was seen the day after, a gap otherwise."""
    parts: list[Markup] = []
    for i, (start, end, amount) in enumerate(versions):
        y = frame.y(float(amount))
        points = [(frame.x(start.toordinal()), y), (frame.x(end.toordinal()), y)]
        following = versions[i + 1] if i + 1 < len(versions) else None
        if following and (following[0] - end).days <= 1:
            points += [
                (frame.x(following[0].toordinal()), y),
                (frame.x(following[0].toordinal()), frame.y(float(following[2]))),
            ]
        if start == end:
            parts.append(
                Markup('<circle class="dot {}" cx="{}" cy="{}" r="3.5"/>').format(
                    css, round(points[0][0], 1), round(y, 1)
                )
            )
        if len(points) > 2 or start != end:
            parts.append(svg.path(points, css))
    return parts


def _band(frame: svg.Frame, versions: Sequence[Seen]) -> Markup:
    """From the median to the 95th percentile of one offer's price, each weighed by the days that it was seen on."""
    days = sorted((amount, (end - start).days + 1) for start, end, amount in versions)
    if len({amount for amount, _ in days}) < 2:
        return Markup("")
    middle, high = (frame.y(float(_share(days, share))) for share in (0.5, 0.95))
    x, width = frame.left, frame.width - frame.left - frame.right
    return Markup('<rect class="band" x="{}" y="{}" width="{}" height="{}"/>').format(
        x, round(high, 1), width, max(1.0, round(middle - high, 1))
    )


def _share(days: Sequence[tuple[Decimal, int]], share: float) -> Decimal:
    """The price that `share` of the observed days were not above."""
    wanted = share * sum(number for _, number in days)
    passed = 0
    for amount, number in days:
        passed += number
        if passed >= wanted:
            return amount
    return days[-1][0]
