"""A comparison as one page of HTML: tables and charts in plain SVG, no network, no script, prints on A4."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape

from cloudaccel.cli.compare_table import formula, verdict_lines, way_rows
from cloudaccel.model.decision import Comparison, Estimate, Swing, Way

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d5dbe3;--page:#fff;
  --c0:#2f6fb3;--c1:#b7561f;--c2:#2f8a57;--c3:#8a4fa8;--c4:#93751a}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa7b6;--line:#38424f;--page:#14181e;
  --c0:#6aa7e6;--c1:#e39a6c;--c2:#6cc495;--c3:#c596dd;--c4:#d3b75c}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);
  max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}p.soft,td.soft{color:var(--soft)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
td+td,th+th{text-align:right;font-variant-numeric:tabular-nums}td.left{text-align:left}
text{fill:var(--ink);font:13px system-ui,sans-serif}text.soft{fill:var(--soft)}svg{width:100%;height:auto}
.axis{stroke:var(--line)}path{fill:none;stroke-width:2.2}pre{white-space:pre-wrap;font-size:12px}
@media print{body{margin:0;max-width:none;font-size:11px}h2{break-after:avoid}tr,svg{break-inside:avoid}}
"""
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 330, 80, 210, 14, 44
Points = Sequence[tuple[Decimal, Decimal]]


def render(found: Comparison) -> str:
    """The page. Everything in it comes from the comparison; text is escaped."""
    title = f"Compared at {found.demand_text}"
    body = [f"<h1>{escape(title)}</h1>", f'<p class="soft">{found.currency}, tax excluded, list prices.</p>']
    headings, rows = way_rows(found)
    body.append(_table(headings, rows))
    body += [f"<p>{escape(line)}</p>" for line in verdict_lines(found)]
    if found.volumes:
        body += ["<h2>Cost of a month over tokens</h2>", _volumes(found)]
    for way in found.ways:
        if way.label in found.curves:
            body += [f"<h2>{escape(way.label)}: an accelerator-hour over use</h2>", _use(found, way)]
    if found.swings:
        body += ["<h2>What moves it</h2>", _tornado(found.swings[:12])]
    body += ["<h2>Every factor</h2>", *(_formulas(way) for way in found.ways)]
    body += ["<h2>Assumptions</h2>", _assumptions(found)]
    left = [f"{way.label}: {', '.join(way.not_counted)}" for way in found.ways if way.not_counted]
    body.append(f'<p class="soft">Not counted. {escape("; ".join([*left, *found.not_counted]))}.</p>')
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    lines = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


# -- charts ------------------------------------------------------------------------------------------------------------


def _volumes(found: Comparison) -> str:
    marks = [
        (b.at, _height_at(found.volumes[b.second], b.at), f"{b.at / 1_000_000_000:.2f} B")
        for b in found.break_evens
        if b.unit == "tokens/month" and b.at is not None and b.second in found.volumes
    ]
    return _lines(found.volumes, marks, across="tokens per month, billions", up="USD a month", unit=Decimal("1e9"))


def _use(found: Comparison, way: Way) -> str:
    series: dict[str, Points] = {way.label: found.curves[way.label]}
    marks: list[tuple[Decimal, Decimal, str]] = []
    for b in found.break_evens:
        if b.first == way.label and b.unit == "use" and b.rent is not None:
            series[f"rent {b.rent:.2f}"] = ((Decimal("0.05"), b.rent), (Decimal(1), b.rent))
            if b.at is not None and b.at >= Decimal("0.05"):
                marks.append((b.at, b.rent, f"{b.at * 100:.0f} %"))
    most = max((y for label, points in series.items() if label != way.label for _, y in points), default=None)
    top = None if most is None else max(most * Decimal("1.4"), min(y for _, y in found.curves[way.label]) * 2)
    return _lines(series, marks, across="use, % of hours", up="USD an hour", unit=Decimal("0.01"), top=top)


def _height_at(points: Points, x: Decimal) -> Decimal:
    return min(points, key=lambda point: abs(point[0] - x))[1]


def _lines(
    series: Mapping[str, Points],
    marks: Sequence[tuple[Decimal, Decimal, str]],
    *,
    across: str,
    up: str,
    unit: Decimal,
    top: Decimal | None = None,
) -> str:
    """A line for each series, labelled at its end; `marks` are crossing points with their words."""
    widest = max(x for points in series.values() for x, _ in points)
    highest = top or max(y for points in series.values() for _, y in points) or Decimal(1)

    def place(x: Decimal, y: Decimal) -> tuple[float, float]:
        inside = float(min(y, highest) / highest)
        return (
            _LEFT + float(x / widest) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - inside * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [_axes(widest / unit, highest, across, up)]
    taken: list[float] = []
    for number, (label, points) in enumerate(series.items()):
        seen = [(x, y) for x, y in points if y <= highest]
        if not seen:
            continue
        spots = [place(x, y) for x, y in seen]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
        colour = f"var(--c{number % 5})"
        parts.append(f'<path d="{path}" style="stroke:{colour}"/>')
        height = _free(spots[-1][1], taken)
        parts.append(
            f'<text x="{spots[-1][0] + 6:.0f}" y="{height + 4:.0f}" style="fill:{colour}">{escape(label)}</text>'
        )
    for x, y, words in marks:
        if x > widest or y > highest:
            continue
        cx, cy = place(x, y)
        parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="4.5" fill="var(--ink)"/>')
        parts.append(f'<text x="{cx + 7:.0f}" y="{cy - 8:.0f}">{escape(words)}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'


def _free(height: float, taken: list[float]) -> float:
    """A place for a label near `height` that no other label has."""
    while any(abs(height - other) < 16 for other in taken):
        height -= 16
    taken.append(height)
    return height


def _axes(widest: Decimal, highest: Decimal, across: str, up: str) -> str:
    parts: list[str] = []
    for i in range(5):
        y = _HEIGHT - _BOTTOM - i / 4 * (_HEIGHT - _TOP - _BOTTOM)
        x = _LEFT + i / 4 * (_WIDTH - _LEFT - _RIGHT)
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.0f}" y2="{y:.0f}"/>')
        parts.append(
            f'<text class="soft" x="{_LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{_tick(highest * i / 4)}</text>'
        )
        parts.append(
            f'<text class="soft" x="{x:.0f}" y="{_HEIGHT - 26}" text-anchor="middle">{_tick(widest * i / 4)}</text>'
        )
    parts.append(f'<text class="soft" x="{_LEFT}" y="{_HEIGHT - 6}">{escape(across)} →   ↑ {escape(up)}</text>')
    return "".join(parts)


def _tick(value: Decimal) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{float(value):.3g}"


def _tornado(swings: Sequence[Swing]) -> str:
    """A bar for each input, from its cost at the low end to that at the high end, widest first."""
    costs = [c for s in swings for c in (s.cost_at_low, s.cost_at_high)]
    low, span = min(costs), (max(costs) - min(costs)) or Decimal(1)
    parts: list[str] = []
    for row, s in enumerate(swings):
        y = 8 + row * 26
        ends = sorted((s.cost_at_low, s.cost_at_high))
        x, width = (float((value - base) / span) * 380 for value, base in ((ends[0], low), (ends[1], ends[0])))
        words = f"{s.way}: {s.name} {s.low:g} to {s.high:g}"
        parts.append(f'<text x="290" y="{y + 13}" text-anchor="end">{escape(words)}</text>')
        parts.append(f'<rect x="{300 + x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="16" fill="var(--c0)"/>')
        tail = f"{ends[0]:,.0f} to {ends[1]:,.0f}{', another way wins' if s.flips else ''}"
        parts.append(f'<text class="soft" x="{306 + x + width:.0f}" y="{y + 13}">{escape(tail)}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {16 + 26 * len(swings)}" role="img">{"".join(parts)}</svg>'


# -- what it rests on --------------------------------------------------------------------------------------------------


def _formulas(way: Way) -> str:
    first = list(way.years[0].lines) if way.years and len(way.years[0].lines) > 1 else []
    lines = [f"at first, {line.name}: {formula(line)}" for line in first]
    lines += [f"{line.name}: {formula(line)}" for line in way.lines]
    lines += [f"once, {line.name}: {formula(line)}" for line in way.once]
    return f"<h3>{escape(way.label)}</h3><pre>{escape(chr(10).join(lines))}</pre>"


def _assumptions(found: Comparison) -> str:
    rows = "".join(_assumption(way.label, e) for way in found.ways for e in way.inputs.values())
    return f"<table><tr><th>Way</th><th>Name</th><th>Value</th><th>Source</th></tr>{rows}</table>"


def _assumption(label: str, e: Estimate) -> str:
    span = f" ({e.low:f} to {e.high:f})" if e.is_range else ""
    state = "" if e.verified else " (not verified)"
    cells = (label, e.name, f"{e.likely:f} {e.unit}{span}", f"{e.source}, {e.as_of}{state}")
    return "<tr>" + "".join(f'<td class="left">{escape(cell)}</td>' for cell in cells) + "</tr>"
