"""Charts as SVG text: scales, ticks, axes. No style is inline: the page forbids that, and classes carry the colours."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup


class Frame(NamedTuple):
    """The drawing area, in units of the view box, and the values at its edges; `low` to `high` goes upwards."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    first: float
    last: float
    low: float
    high: float

    def x(self, value: float) -> float:
        """Where `value` is from the left."""
        span = (self.last - self.first) or 1.0
        return self.left + (value - self.first) / span * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Where `value` is from the top; beyond the edges it stays on them."""
        inside = min(max((value - self.low) / ((self.high - self.low) or 1.0), 0.0), 1.0)
        return self.height - self.bottom - inside * (self.height - self.top - self.bottom)


def nice_ceiling(value: float) -> float:
    """The first of 1, 2, 2.5, 5, 10 x 10^n that is not below `value`."""
    if value <= 0:
        return 1.0
    step = 10 ** math.floor(math.log10(value))
    return next(factor * step for factor in (1, 2, 2.5, 5, 10) if factor * step >= value * 0.999999)


def axes(frame: Frame, across: Sequence[tuple[float, str]], *, steps: int = 4) -> Markup:
    """Lines and words of both axes; `across` are the values and words along the bottom."""
    parts: list[Markup] = []
    for i in range(steps + 1):
        value = frame.low + (frame.high - frame.low) * i / steps
        y = round(frame.y(value), 1)
        parts.append(
            Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/><text class="end" x="{}" y="{}">{}</text>')
            .format(frame.left, frame.width - frame.right, y, y, frame.left - 8, y + 4, f"{value:,.4g}")
        )  # fmt: skip
    for value, words in across:
        parts.append(
            Markup('<text class="mid" x="{}" y="{}">{}</text>').format(
                round(frame.x(value), 1), frame.height - frame.bottom + 20, words
            )
        )
    return Markup("").join(parts)


def path(points: Sequence[tuple[float, float]], css: str) -> Markup:
    """A line through `points`, in units of the view box."""
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return Markup('<path class="{}" d="{}"/>').format(css, d)


def picture(frame: Frame, label: str, *parts: Markup) -> Markup:
    """The whole picture; `label` says it to who cannot see it."""
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        frame.width, frame.height, label, Markup("").join(parts)
    )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """`heights` moved apart so that labels of `gap` do not lie over each other; the order stays."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = list(heights)
    for before, after in pairwise(order):
        placed[after] = max(placed[after], placed[before] + gap)
    return placed
