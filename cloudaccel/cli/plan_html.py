"""A plan as one page of HTML: no network, no script, prints on A4."""

from decimal import Decimal
from html import escape

from cloudaccel.cli.columns import plain
from cloudaccel.cli.plan_table import what
from cloudaccel.model.plan import Option, Plan
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
.compute{fill:var(--bar)}.other{fill:var(--other)}svg{width:100%;height:auto}
@media print{body{margin:0;max-width:none;font-size:11px}h2{break-after:avoid}tr{break-inside:avoid}}
"""


def render(plan: Plan) -> str:
    """The page. Everything in it comes from the plan; text is escaped."""
    shown = [*plan.options, *plan.near[: max(0, 5 - len(plan.options))]]
    body = [
        f"<h1>{escape(_title(plan))}</h1>",
        f'<p class="soft">{escape(_subtitle(plan))}</p>',
        "<h2>Options</h2>",
        _table(
            ["", "Option", "Hardware", "Market", "Time", "Compute", "Other", "Total (USD)", "Verdict"],
            [_row(number, option) for number, option in enumerate(shown, 1)],
            numeric={4, 5, 6, 7},
        ),
        "<h2>What they cost</h2>",
        _bars([option for option in shown if option.total is not None]),
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
        words.append(f"{workload.tokens:.4g} tokens")
    if workload.deadline_s is not None:
        words.append(f"deadline {duration(Decimal(str(workload.deadline_s / 3600)))}")
    if workload.budget is not None:
        words.append(f"budget {workload.budget:,} {workload.budget_currency}")
    return " · ".join([*words, f"catalog {plan.catalog_id[:19]}", f"{plan.evaluated:,} candidates"])


def _row(number: int, option: Option) -> list[str]:
    offer, compute = option.offer, option.lines[0].amount
    other = None if option.total is None or compute is None else option.total - compute
    verdict = "; ".join(text for _, text in option.blocked) or f"{option.fit.verdict}, {option.channel}"
    return [
        "·" if option.blocked else str(number), f"{offer.provider} {offer.region} {offer.instance}", what(option),
        offer.market.replace("_", "-"), duration(option.hours), _money(compute), _money(other), _money(option.total),
        verdict,
    ]  # fmt: skip


def _money(amount: Decimal | None) -> str:
    return "—" if amount is None else f"{amount:,.2f}"


def _table(headings: list[str], rows: list[list[str]], numeric: set[int]) -> str:
    def cells(tag: str, values: list[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if i in numeric else ''}>{escape(value)}</{tag}>" for i, value in enumerate(values)
        )

    lines = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', headings)}</tr></thead><tbody>{lines}</tbody></table>"


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
    label = "Total cost of each option in USD: compute, then disk and transfer"
    return f'<svg viewBox="0 0 920 {len(options) * height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


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
