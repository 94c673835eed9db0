"""A comparison as one page of HTML: tables, charts, every factor and its source."""

from html import escape

from cloudaccel.cli import charts
from cloudaccel.cli.compare_table import note_lines, shown_note, verdict_lines, way_rows
from cloudaccel.cli.page import drawn, page, table
from cloudaccel.model.decision import Comparison, Estimate, Way
from cloudaccel.output.compare_json import formula


def render(found: Comparison) -> str:
    """The page. Everything in it comes from the comparison; text is escaped."""
    title = f"Compared at {found.demand_text}"
    body = [f'<p class="soft">{found.currency}, tax excluded, list prices.</p>', table(*way_rows(found))]
    body += [f"<p>{escape(line)}</p>" for line in (*shown_note(found), *verdict_lines(found))]
    body += [f'<p class="soft">{escape(line)}</p>' for line in note_lines(found)]
    body += drawn(charts.of_comparison(found))
    body += ["<h2>Every factor</h2>", *(_formulas(way) for way in found.ways)]
    body += ["<h2>Assumptions</h2>", _assumptions(found)]
    left = [f"{way.label}: {', '.join(way.not_counted)}" for way in found.ways if way.not_counted]
    body.append(f'<p class="soft">Not counted. {escape("; ".join([*left, *found.not_counted]))}.</p>')
    return page(title, body)


def _formulas(way: Way) -> str:
    first = list(way.years[0].lines) if way.years and len(way.years[0].lines) > 1 else []
    lines = [f"at first, {line.name}: {formula(line)}" for line in first]
    lines += [f"{line.name}: {formula(line)}" for line in way.lines]
    lines += [f"once, {line.name}: {formula(line)}" for line in way.once]
    return f"<h3>{escape(way.label)}</h3><pre>{escape(chr(10).join(lines))}</pre>"


def _assumptions(found: Comparison) -> str:
    rows = "".join(_assumption(way.label, e) for way in found.ways for e in way.inputs.values())
    return f"<table class=left><tr><th>Way</th><th>Name</th><th>Value</th><th>Source</th></tr>{rows}</table>"


def _assumption(label: str, e: Estimate) -> str:
    span = f" ({e.low:f} to {e.high:f})" if e.is_range else ""
    state = "" if e.verified else " (not verified)"
    cells = (label, e.name, f"{e.likely:f} {e.unit}{span}", f"{e.source}, {e.as_of}{state}")
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
