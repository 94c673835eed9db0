"""A plan as one page of HTML: no network, no script, prints on A4."""

from collections.abc import Collection
from decimal import Decimal
from html import escape

from cloudaccel.cli.plan_serving import load_words
from cloudaccel.cli.plan_table import (
    figures_of,
    holding_lines,
    left_out_lines,
    market_words,
    place,
    rules_lines,
    tokens_words,
    verdict_words,
    what,
)
from cloudaccel.model.plan import Option, Plan
from cloudaccel.output.columns import plain
from cloudaccel.planner.reasons import duration

_STYLE = """
:root{color-scheme:light dark;
  --ink:#1c2430;--soft:#5b6675;--line:#d5dbe3;--bar:#2f6fb3;--other:#b7791f;--page:#fff}
@media (prefers-color-scheme:dark){:root{
  --ink:#e6eaf0;--soft:#9aa7b6;--line:#38424f;--bar:#6aa7e6;--other:#e0a95a;--page:#14181e}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);
  max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}p.soft,td.soft{color:var(--soft)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
th{font-weight:600}td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
text{fill:var(--ink);font:13px system-ui,sans-serif}
td.w{white-space:nowrap}table.options{font-size:13px}
.compute{fill:var(--bar)}.other{fill:var(--other)}svg{width:100%;height:auto}
.axis{stroke:var(--line);fill:none}.front{stroke:var(--bar);fill:none;stroke-width:2}.soft{fill:var(--soft)}
@page{size:A4;margin:14mm}
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--bar:#2f6fb3;--other:#b7791f;--page:#fff}
  body{margin:0;max-width:none;font-size:11px;padding:0}table.options{font-size:9px}th,td{padding:.2rem .4rem}
  h2{break-after:avoid}tr,svg{break-inside:avoid}.compute,.other{print-color-adjust:exact}}
"""


def render(plan: Plan) -> str:
    """The page. Everything in it comes from the plan; text is escaped."""
    shown = [*plan.options, *plan.near[: max(0, 5 - len(plan.options))]]
    training = plan.workload.serve is None
    figures = ("Time", "Compute", "Other") if training else ("First token", "Each further", "USD per M tokens")
    body = [
        f"<h1>{escape(_title(plan))}</h1>",
        f'<p class="soft">{escape(_subtitle(plan))}</p>',
        "<h2>Options</h2>",
        _table(
            ["", "Option", "Hardware", "Market", *figures, "Total (USD)" if training else "A month (USD)", "Verdict"],
            [_row(plan, number, option) for number, option in enumerate(shown, 1)],
            numeric={4, 5, 6, 7},
            whole={2, 3},
            name="options",
        ),
        _notes(plan),
        "<h2>What they cost</h2>",
        _bars([option for option in shown if option.total is not None]),
        *_time_and_cost(plan),
    ]
    if plan.best is not None:
        body += ["<h2>The sum of option 1</h2>", _sum(plan.best)]
    if plan.rejected:
        rows = [[r.reason, r.counted, "; ".join(r.examples)] for r in plan.rejected]
        body += ["<h2>Rejected</h2>", _table(["Reason", "Number", "First of them"], rows, numeric={1})]
    assumed = [[a.name, str(a.value), a.unit, f"{a.source}, {a.as_of}", a.flag] for a in plan.assumptions]
    body += ["<h2>Assumptions</h2>", _table(["Name", "Value", "Unit", "Source", "Flag"], assumed, numeric={1})]
    body.append('<p class="soft">List prices without tax. Check with the provider before spending money.</p>')
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>{escape(_title(plan))}</title><style>{_STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _title(plan: Plan) -> str:
    workload = plan.workload
    method = f" ({workload.method})" if workload.task == "finetune" else ""
    return f"{workload.task}{method} of {plan.model.id or workload.model or 'a model'}"


def _subtitle(plan: Plan) -> str:
    workload = plan.workload
    words = [f"{plan.model.params / 1e9:.4g} B parameters", workload.precision]
    if workload.tokens is not None:
        words.append(tokens_words(workload.tokens))
    if workload.serve is not None:
        words.append(load_words(workload.serve))
    if workload.deadline_s is not None:
        words.append(f"deadline {duration(Decimal(str(workload.deadline_s / 3600)))}")
    if workload.budget is not None:
        words.append(f"budget {workload.budget:,} {workload.budget_currency}")
    return " · ".join([*words, f"catalog {plan.catalog_id[:19]}", f"{plan.evaluated:,} candidates"])


def _row(plan: Plan, number: int, option: Option) -> list[str]:
    return [
        "·" if option.blocked else str(number), place(option), what(option),
        market_words(option, plan), *figures_of(option, plan), _money(option.total),
        verdict_words(option, number, plan),
    ]  # fmt: skip


def _notes(plan: Plan) -> str:
    """What would help, what the rules say, and the licence: each a sentence under the options."""
    notes = [" ".join(line.split()) + "." for line in holding_lines(plan)]
    notes += [f"Or {relaxation.text}." for relaxation in plan.relaxations]
    notes += [" ".join(line.split()) + "." for line in (*rules_lines(plan), *left_out_lines(plan))]
    if plan.model.commercial_use and plan.model.commercial_use != "yes":
        notes.append(f"Licence {plan.model.licence}: commercial use {plan.model.commercial_use}.")
    return "".join(f"<p class=soft>{escape(note)}</p>" for note in notes)


def _money(amount: Decimal | None) -> str:
    return "—" if amount is None else f"{amount:,.2f}"


def _table(
    headings: list[str],
    rows: list[list[str]],
    numeric: set[int],
    whole: Collection[int] = (),
    name: str = "",
) -> str:
    """A table; columns in `numeric` stand to the right, those in `whole` are not broken."""

    def cells(tag: str, values: list[str]) -> str:
        kinds = ["n" if i in numeric else "w" if i in whole else "" for i in range(len(values))]
        return "".join(
            f"<{tag}{f' class={kind}' if kind else ''}>{escape(value)}</{tag}>"
            for kind, value in zip(kinds, values, strict=True)
        )

    lines = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', headings)}</tr></thead>"
    return f"<table{f' class={name}' if name else ''}>{head}<tbody>{lines}</tbody></table>"


def _bars(options: list[Option]) -> str:
    """Horizontal bars, compute and the rest, to one scale from 0."""
    if not options:
        return "<p>No option has a known cost.</p>"
    longest = max(float(option.total or 0) for option in options) or 1.0
    height, parts = 26, list[str]()
    for n, option in enumerate(options):
        compute = float(option.lines[0].amount or 0) / longest * 560
        other = (float(option.total or 0) - float(option.lines[0].amount or 0)) / longest * 560
        y, name = n * height, escape(f"{option.offer.provider} {what(option)}")
        parts.append(
            f'<text x="0" y="{y + 17}">{name}</text>'
            f'<rect class="compute" x="260" y="{y + 4}" width="{compute:.1f}" height="16"/>'
            f'<rect class="other" x="{260 + compute:.1f}" y="{y + 4}" width="{other:.1f}" height="16"/>'
            f'<text x="{268 + compute + other:.1f}" y="{y + 17}">{_money(option.total)}</text>'
        )
    label = "Total cost of each option in USD: compute, then disk, transfer and surcharges"
    y = len(options) * height + 8
    legend = (
        f'<rect class="compute" x="260" y="{y}" width="14" height="12"/><text x="280" y="{y + 11}">compute</text>'
        f'<rect class="other" x="360" y="{y}" width="14" height="12"/>'
        f'<text x="380" y="{y + 11}">disk, transfer, surcharges</text><text x="620" y="{y + 11}">total in USD</text>'
    )
    return f'<svg viewBox="0 0 920 {y + 18}" role="img" aria-label="{label}">{"".join(parts)}{legend}</svg>'


_READ = "Numbers are those of the table, of a cluster its first. No option beats those on the line in time and in cost."
_CLOSE = 16  # units of the drawing: nearer, two numbers cannot be read


def _time_and_cost(plan: Plan) -> list[str]:
    """Every option by its hours and its cost, with those that no other beats in both joined by steps."""
    options = [o for o in plan.options if o.total is not None]
    front = plan.pareto()
    if len(front) < 2:
        return []
    longest = max(float(o.hours) for o in options) or 1.0
    dearest = max(float(o.total or 0) for o in options) or 1.0

    def at(option: Option) -> tuple[float, float]:
        return 60 + float(option.hours) / longest * 800, 260 - float(option.total or 0) / dearest * 235

    dots, named = "", list[tuple[float, float]]()
    for number, (x, y) in enumerate(map(at, options), 1):
        dots += f'<circle class="compute" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        if not any(abs(x - u) < _CLOSE and abs(y - v) < _CLOSE for u, v in named):  # of a cluster, the first
            dots += f'<text x="{x + 8:.1f}" y="{y - 6:.1f}">{number}</text>'
            named.append((x, y))
    points = [at(o) for o in front]  # cheapest first, so from the right to the left and up
    steps = f"M{points[0][0]:.1f} {points[0][1]:.1f}" + "".join(f"V{y:.1f}H{x:.1f}" for x, y in points[1:])
    marks = (
        '<path class="axis" d="M60 15V260H880"/>'
        '<text class="soft" x="54" y="264" text-anchor="end">0</text>'
        f'<text class="soft" x="54" y="29" text-anchor="end">{dearest:,.0f}</text>'
        f'<text class="soft" x="860" y="280" text-anchor="middle">{duration(Decimal(str(longest)))}</text>'
        '<text class="soft" x="64" y="12">total in USD</text>'
        '<text class="soft" x="420" y="280" text-anchor="middle">time until done</text>'
    )
    label = "Total cost and time of each option; the steps join those that no other option beats in both"
    return [
        "<h2>Cheaper is slower</h2>",
        f'<svg viewBox="0 0 920 290" role="img" aria-label="{label}">{marks}',
        f'<path class="front" d="{steps}"/>{dots}</svg>',
        f"<p class=soft>{_READ}</p>",
    ]


def _sum(option: Option) -> str:
    rows = [
        [line.name, plain(line.quantity), line.unit, plain(line.unit_price) or "unknown", _money(line.amount)]
        for line in option.lines
    ]
    rows.append(["total", "", "", "", _money(option.total)])
    price = option.offer.price
    seen = f"between {price.as_of} and {price.as_of_until}" if price.as_of_until else price.as_of
    table = _table(["", "Quantity", "Unit", "Unit price (USD)", "Amount (USD)"], rows, numeric={1, 3, 4})
    source = f"{price.source.name} {price.source.path}"
    return table + f'<p class="soft">Price seen {escape(str(seen))} in {escape(source)}.</p>'
