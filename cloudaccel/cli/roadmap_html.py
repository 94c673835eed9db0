"""A roadmap as one page of HTML: what to do when, charts by month, the proof, what it rests on."""

from html import escape

from cloudaccel.cli import charts
from cloudaccel.cli.page import drawn, page, table
from cloudaccel.cli.roadmap import action_rows, left_out, month_rows, verdict_lines
from cloudaccel.model.roadmap import Roadmap


def render(found: Roadmap) -> str:
    """The page. Everything in it comes from the roadmap; text is escaped."""
    case = found.case
    body = [f'<p class="soft">{case.months} months from {escape(case.start)}, {case.currency}, tax excluded.</p>']
    body += [f"<p>{escape(line)}</p>" for line in verdict_lines(found)]
    if found.actions:
        body += ["<h2>What to do</h2>", table(*action_rows(found))]
    body += drawn(charts.of_roadmap(found))
    if found.months:
        body += ["<h2>Month by month</h2>", table(*month_rows(found))]
    body += [f'<p class="soft">{escape(line)}</p>' for line in left_out(found)]
    if case.assumptions:
        body += ["<h2>Assumptions</h2>", table(["Name", "Value", "Source"], case.assumptions)]
    return page(f"Roadmap from {case.start}", body)
