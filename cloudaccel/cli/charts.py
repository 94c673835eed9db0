"""Charts of comparisons and roadmaps, drawn by matplotlib: as SVG inside a page, or as one PNG.

Only who asks for a chart loads matplotlib. No window is opened, and the same answer gives the same picture.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from cloudaccel.errors import ConfigError, StorageError
from cloudaccel.model.decision import Comparison, Swing, Way
from cloudaccel.model.roadmap import Roadmap

INSTALL = "pip install 'cloudaccel[charts]'"
COLOURS = ("#2f6fb3", "#b7561f", "#2f8a57", "#8a4fa8", "#93751a", "#6b7785", "#c2416b", "#3a8f96")
INK, LINE = "#3c4654", "#d5dbe3"
_WIDTH = 8.0  # inches; a page of A4 less its margins is 7.1, to which the page scales it
_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "cloudaccel", "font.size": 9, "font.family": "sans-serif",
    "axes.edgecolor": LINE, "axes.labelcolor": INK, "axes.titlesize": 10, "axes.titlelocation": "left",
    "axes.titleweight": "bold", "axes.titlecolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": LINE,
    "axes.axisbelow": True, "legend.frameon": False, "figure.facecolor": "white",
}  # fmt: skip
Points = Sequence[tuple[Decimal, Decimal]]
Mark = tuple[float, float, str]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: a title, how high it is in inches, and what draws it on axes."""

    title: str
    height: float
    draw: Callable[[Any], None]


def is_installed() -> bool:
    """Whether charts can be drawn."""
    try:
        import_module("matplotlib")
    except ImportError:
        return False
    return True


def svg(panel: Panel) -> str:
    """The chart as SVG for a page: text stays text, nothing is referred to outside."""
    with _drawn([panel], titles=False) as figure:
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    found = out.getvalue()
    found = found[found.index("<svg") :]
    found = re.sub(r"<metadata>.*?</metadata>", "", found, flags=re.DOTALL)
    found = re.sub(r' (xmlns(:xlink)?|version|width|height|id)="(http[^"]*|[^"]*pt|1\.1|[A-Za-z0-9.]+_\d+)"', "", found)
    return found.replace("<svg", f'<svg role="img" aria-label="{escape(panel.title)}"', 1)


def write_png(panels: Sequence[Panel], path: str | Path) -> None:
    """Every chart under one another, as one picture.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    StorageError
        If the file cannot be written.
    """
    with _drawn(panels, titles=True) as figure:
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=150, metadata={"Software": None})
    try:
        Path(path).write_bytes(out.getvalue())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}. Name another place.") from error


class _drawn:  # noqa: N801  (a context manager, used as a function)
    """A figure with a chart for each panel, in our style while it is open."""

    def __init__(self, panels: Sequence[Panel], *, titles: bool) -> None:
        try:
            library, figures = import_module("matplotlib"), import_module("matplotlib.figure")
        except ImportError as error:
            raise ConfigError(f"a chart needs a library that is not installed ({error}). {INSTALL}.") from error
        self._style = library.rc_context(_STYLE)
        self._figures, self._panels, self._titles = figures, panels, titles

    def __enter__(self) -> Any:
        self._style.__enter__()
        heights = [panel.height for panel in self._panels]
        figure = self._figures.Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
        axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)
        for panel, (ax,) in zip(self._panels, axes, strict=True):
            panel.draw(ax)
            if self._titles:
                ax.set_title(panel.title)
        for artist in figure.findobj():
            artist.set_clip_on(False)  # a clip is a reference by address, which a page must not have
        return figure

    def __exit__(self, *error: object) -> None:
        self._style.__exit__(*error)


# -- a comparison ------------------------------------------------------------------------------------------------------


def of_comparison(found: Comparison) -> list[Panel]:
    """Totals by part; cost over tokens; an owned accelerator-hour over use; what moves it: those that say something."""
    panels: list[Panel] = []
    priced = [way for way in found.ways if way.total is not None]
    if priced:
        title = f"Total over {found.months:f} months, {found.currency}"
        panels.append(Panel(title, 0.9 + 0.4 * len(priced), lambda ax: _totals(ax, found, priced)))
    if found.volumes:
        panels.append(Panel("Cost of a month over tokens", 3.2, lambda ax: _volumes(ax, found)))
    for way in found.ways:
        if way.label in found.curves:
            title = f"{way.label}: an accelerator-hour over use"
            panels.append(Panel(title, 3.0, lambda ax, way=way: _use(ax, found, way)))
    if found.swings:
        swings = found.swings[:12]
        panels.append(Panel("What moves it, per month", 0.8 + 0.28 * len(swings), lambda ax: _tornado(ax, swings)))
    return panels


def _totals(ax: Any, found: Comparison, ways: Sequence[Way]) -> None:
    """A bar for each way, of its parts over the horizon; what is sold again counts below 0."""
    parts = [_parts(way, found.months) for way in ways]
    names = _told(parts)
    labels = [_short(way.label) for way in ways]
    right, left = [0.0] * len(ways), [0.0] * len(ways)
    for number, name in enumerate(names):
        for row in range(len(ways)):
            amount = sum(v for part, v in parts[row].items() if (part if part in names else _REST) == name)
            base = right if amount >= 0 else left
            first = name if row == 0 else None
            ax.barh(row, amount, left=base[row], color=COLOURS[number % 8], label=first, height=0.62)
            base[row] += amount
    for row, way in enumerate(ways):
        ax.annotate(f"{way.total:,.0f}", (right[row], row), xytext=(4, 0), textcoords="offset points", va="center")
    ax.set_yticks(range(len(ways)), labels)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    _thousands(ax.xaxis)
    ax.set_xlim(min(left) * 1.05, max(max(right) * 1.16, 1.0))
    if len(names) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=6, fontsize=8)


_REST = "all other"


def _parts(way: Way, months: Decimal) -> dict[str, float]:
    """What each line of a way comes to over the horizon."""
    found: dict[str, float] = {}
    for lines, times in ((way.lines, months), (way.once, Decimal(1))):
        for line in lines:
            found[line.name] = found.get(line.name, 0.0) + float((line.amount or 0) * times)
    return found


def _told(parts: Sequence[Mapping[str, float]]) -> list[str]:
    """Names of the lines that get a colour of their own: where there are more than colours, the rest share one."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    if len(names) <= len(COLOURS):
        return names
    largest = sorted(names, key=lambda name: -max(abs(part.get(name, 0.0)) for part in parts))[: len(COLOURS) - 1]
    return [*(name for name in names if name in largest), _REST]


def _volumes(ax: Any, found: Comparison) -> None:
    marks: list[Mark] = []
    for b in found.break_evens:
        if b.unit == "tokens/month" and b.at is not None and b.second in found.volumes:
            height = min(found.volumes[b.second], key=lambda point, at=b.at: abs(point[0] - at))[1]
            marks.append((float(b.at) / 1e9, float(height), f"{b.at / 1_000_000_000:.2f} B"))
    _lines(ax, found.volumes, marks, scale=1e9)
    ax.set_xlabel("tokens per month, billions")
    ax.set_ylabel(f"{found.currency} a month")


def _use(ax: Any, found: Comparison, way: Way) -> None:
    curve = found.curves[way.label]
    series: dict[str, Points] = {way.label: curve}
    marks: list[Mark] = []
    for b in found.break_evens:
        if b.first == way.label and b.unit == "use" and b.rent is not None:
            series[f"rent {b.rent:.2f}"] = ((Decimal("0.05"), b.rent), (Decimal(1), b.rent))
            if b.at is not None and b.at >= Decimal("0.05"):
                marks.append((float(b.at) * 100, float(b.rent), f"{b.at * 100:.0f} %"))
    rents = [y for label, points in series.items() if label != way.label for _, y in points]
    top = max(max(rents) * Decimal("1.4"), min(y for _, y in curve) * 2) if rents else None
    _lines(ax, series, marks, scale=0.01, top=top)
    ax.set_xlabel("use, % of hours")
    ax.set_ylabel(f"{found.currency} an hour")


def _lines(
    ax: Any, series: Mapping[str, Points], marks: Sequence[Mark], *, scale: float, top: Decimal | None = None
) -> None:
    """A line for each series; `marks` are crossing points with their words. What is above `top` is left out."""
    for number, (label, points) in enumerate(series.items()):
        seen = [(float(x) / scale, float(y)) for x, y in points if top is None or y <= top]
        if seen:
            ax.plot(*zip(*seen, strict=True), color=COLOURS[number % 8], label=_short(label), linewidth=1.8)
    for x, y, words in marks:
        if top is None or y <= top:
            ax.plot([x], [y], "o", color=INK, markersize=5)
            ax.annotate(words, (x, y), xytext=(-5, 7), textcoords="offset points", ha="right")
    ax.set_ylim(0, None if top is None else float(top))
    ax.set_xlim(0, None)
    _thousands(ax.yaxis)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _tornado(ax: Any, swings: Sequence[Swing]) -> None:
    """A bar for each input, from its cost at the low end to that at the high end, widest first."""
    for row, s in enumerate(swings):
        low, high = sorted((float(s.cost_at_low), float(s.cost_at_high)))
        ax.barh(row, high - low, left=low, color=COLOURS[1 if s.flips else 0], height=0.6)
        words = f"{low:,.0f} to {high:,.0f}{': turns' if s.flips else ''}"
        ax.annotate(words, (high, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_yticks(range(len(swings)), [f"{_short(s.way, 24)}: {s.name} {s.low:g} to {s.high:g}" for s in swings])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    _thousands(ax.xaxis)
    left, right = ax.get_xlim()
    ax.set_xlim(left - (right - left) * 0.02, right + (right - left) * 0.45)


# -- a roadmap ---------------------------------------------------------------------------------------------------------


def of_roadmap(found: Roadmap) -> list[Panel]:
    """Demand by workload, machines by option (rented hours as machines), money out: month by month."""
    panels = [Panel("Demand", 1.9, lambda ax: _demand(ax, found))]
    if found.months:
        panels.append(Panel("Machines: owned, committed, rented", 2.8, lambda ax: _machines(ax, found)))
        panels.append(Panel(f"Money out, {found.case.currency} a month", 2.2, lambda ax: _money(ax, found)))
    return panels


def _demand(ax: Any, found: Roadmap) -> None:
    months = range(1, found.case.months + 1)
    for number, (name, series) in enumerate(found.case.demand.items()):
        ax.step(months, [float(v) for v in series], where="mid", color=COLOURS[number % 8], label=_short(name))
    _by_month(ax, found)


def _machines(ax: Any, found: Roadmap) -> None:
    rented: list[dict[str, float]] = []
    for month in found.months:
        hours: dict[str, float] = {}
        for key, count in month.rented_hours.items():
            name = key.split(" for ")[0]
            hours[name] = hours.get(name, 0.0) + count / 730
        rented.append(hours)
    base = [0.0] * len(found.months)
    number = 0
    for option in found.case.options:
        there = [float(m.machines.get(option.name, 0)) + r.get(option.name, 0.0)
                 for m, r in zip(found.months, rented, strict=True)]  # fmt: skip
        if any(there):
            _bars(ax, there, base, COLOURS[number % 8], f"{_short(option.name)} ({option.kind})")
            base = [a + b for a, b in zip(base, there, strict=True)]
            number += 1
    _by_month(ax, found)


def _money(ax: Any, found: Roadmap) -> None:
    _bars(ax, [float(m.cost) for m in found.months], [0.0] * len(found.months), COLOURS[0], None)
    ax.axhline(0, color=INK, linewidth=0.8)
    _by_month(ax, found)


def _bars(ax: Any, heights: Sequence[float], base: Sequence[float], colour: str, label: str | None) -> None:
    ax.bar(range(1, len(heights) + 1), heights, bottom=base, color=colour, label=label, width=0.85)


def _by_month(ax: Any, found: Roadmap) -> None:
    ax.set_xlim(0.4, found.case.months + 0.6)
    ax.set_xlabel(f"month, from {found.case.start}")
    ax.grid(axis="x", visible=False)
    ax.xaxis.get_major_locator().set_params(integer=True)
    _thousands(ax.yaxis)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


# -- words -------------------------------------------------------------------------------------------------------------


def _thousands(axis: Any) -> None:
    def tick(value: float, _position: int | None) -> str:
        return f"{value:,.10g}"

    axis.set_major_formatter(tick)


def _short(label: str, most: int = 30) -> str:
    """A label that leaves room for the chart; dollars are no formulas."""
    text = label if len(label) <= most else f"{label[: most - 1]}…"
    return text.replace("$", r"\$")
