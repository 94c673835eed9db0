"""``cloudaccel roadmap``: demand by month → when to rent, commit, buy and retire."""

import argparse
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from cloudaccel.api import deciding as api
from cloudaccel.cli import answers, common, flags
from cloudaccel.decide.judged import duty_lines
from cloudaccel.errors import QueryError
from cloudaccel.model.roadmap import Roadmap
from cloudaccel.output.columns import amount_in, plain

EXAMPLES = """\
  cloudaccel roadmap roadmap.yaml
  cloudaccel roadmap roadmap.yaml --seconds 0           the first answer, with its proven gap
  cloudaccel roadmap roadmap.yaml --json
"""
_BARS = "▁▂▃▄▅▆▇█"


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser("roadmap", "Demand by month: when to rent, commit, buy and retire.", EXAMPLES)
    p.add_argument("file", metavar="FILE", help="roadmap.yaml or .json: docs/how-to/own-hardware.md has its keys")
    p.add_argument("--seconds", type=float, default=60.0, metavar="N", help="for the solver (default 60; 0: LP only)")
    p.add_argument("--gap", type=float, default=0.0001, metavar="SHARE", help="gap at which it stops (default 0.0001)")
    flags.add(p, "--price-file")
    common.add_money(p)
    common.add_pictures(p)
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Plan and show; exit 0, 3 when there is no plan, or 4 when the rules alone leave none."""
    if a.seconds < 0 or not 0 <= a.gap < 1:
        raise QueryError("--seconds must be 0 or more, --gap a share below 1.")
    with _quiet_solver():
        found = api.roadmap(
            a.file, seconds=a.seconds, gap=a.gap, price_file=a.price_file, catalog=a.catalog,
            currency=a.currency, fx_file=a.fx_file, tax=a.tax,
        )  # fmt: skip
    if a.html:
        from cloudaccel.cli.roadmap_html import render as render_page

        common.save(a.html, render_page(found))
    if a.png:
        from cloudaccel.cli import charts

        charts.write_png(charts.of_roadmap(found), a.png)
    answers.write_text(a, _json(found)) if a.output == "json" else common.write(render(found))
    common.warn_of((option.verdict for option in found.case.options), quiet=a.quiet)
    if found.total is not None:
        return 0
    return 4 if found.by_rules else 3


@contextmanager
def _quiet_solver() -> Generator[None]:
    """Sends what the solver's C++ prints by itself to stderr: stdout is for the answer. (HiGHS in scipy 1.17 does.)"""
    common.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def render(found: Roadmap) -> str:
    """The text of the answer."""
    case = found.case
    lines = [f"{case.start} · {case.months} months · {case.currency} excl. tax · {found.status}", ""]
    if found.total is None:
        return "\n".join([*lines, *verdict_lines(found), *left_out(found)]) + "\n"
    lines += [f"Demand    {name:<12} {spark(series)}  up to {max(series):,g}" for name, series in case.demand.items()]
    lines += [f"Money     {'out a month':<12} {spark([m.cost for m in found.months])}", "", *_actions(found), ""]
    headings, rows = month_rows(found)
    lines += [*common.table(headings, rows, frozenset({0, 3}), None), "", *verdict_lines(found)]
    lines += left_out(found)
    lines += [
        f"Stage     {name}: {s:.2f} s, {total:,.2f}, gap {gap * 100:.2f} %" for name, s, total, gap in found.stages
    ]
    lines += [f"Assumed   {name}: {value} ({source})" for name, value, source in case.assumptions]
    return "\n".join(lines) + "\n"


def left_out(found: Roadmap) -> list[str]:
    """What the rules leave out, and by which packs."""
    lines = [f"Left out  {text}" for text in found.left_out]
    judged = next((option.verdict for option in found.case.options if option.verdict is not None), None)
    if judged is not None:
        lines.append(f"Judged by {judged.judged_by}. {judged.disclaimer}")
        lines += dict.fromkeys(text for o in found.case.options if o.verdict for text in duty_lines(o.verdict))
    return lines


def verdict_lines(found: Roadmap) -> list[str]:
    """The total with its proof and what holds it back; or that there is no plan, and why."""
    if found.total is None:
        return [
            "There is no plan." if found.status == "infeasible" else "No answer.",
            *(f"  {t}" for t in found.limits),
        ]
    proof = f"no plan can cost less than {found.bound or 0:,.2f} (gap {100 * (found.gap or 0):.2f} %)"
    lines = [f"Total {found.total:,.2f} {found.case.currency}; {proof}.", *_in_other_money(found)]
    if found.worth:
        worth = f"{found.worth:,.2f} that machines are still worth when the horizon ends"
        lines.append(f"It is {found.money_out:,.2f} paid, less {worth}.")
    if found.beyond:
        lines.append(f"Commitments run on after the horizon: {found.beyond:,.2f} more, not in the total.")
    if found.people_beyond:
        lines.append(
            f"A site has people for {found.case.least_people:,.2f} a month at least, however few its machines: "
            f"{found.people_beyond:,.2f} more, not in the total.{_other(found)}"
        )
    return [*lines, f"Not counted: {_NOT_COUNTED}.", *(f"Limits    {text}" for text in found.limits)]


def _other(found: Roadmap) -> str:
    """What it costs to buy nothing, and which of both is less with the people of a site."""
    if found.without_buying is None or found.total is None:
        return ""
    least = found.total + found.people_beyond
    than = "less" if found.without_buying < least else "more"
    return f" Without buying it is {found.without_buying:,.2f}: {than} than the {least:,.2f} with them."


_NOT_COUNTED = "interest, people beside what is rented, storage and transfer of data, interruptions of spot, tax"


def _in_other_money(found: Roadmap) -> list[str]:
    """The total in the currency that was asked for, and the tax on it."""
    shown, code = found.shown, found.case.currency
    if shown is None:
        return []
    amount, tax, lines = shown.amount(found.total), shown.tax(found.total), list[str]()
    if shown.source is not None:
        rate = f"1 {code} = {plain(shown.rate)} {shown.currency}, {shown.source} of {shown.as_of}"
        lines.append(f"In {shown.currency}: {amount_in(amount, shown.currency)}, at {rate}.")
    if tax is not None and amount is not None:
        both = f"{amount_in(tax, shown.currency)}, with it {amount_in(amount + tax, shown.currency)}"
        lines.append(f"Tax of {plain(shown.tax_percent)}% (as you state), {shown.currency}: {both}; in no other sum.")
    return lines


def spark(series: Any) -> str:
    """A line of bars, one a month, as high as its share of the highest."""
    most = max(series) or 1
    return "".join(_BARS[min(7, int(8 * value / most))] for value in series)


def _actions(found: Roadmap) -> list[str]:
    headings, rows = action_rows(found)
    return common.table(headings, rows, frozenset({0, 4}), None) if rows else ["Nothing to commit to or buy: rent."]


def action_rows(found: Roadmap) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of what is to be done."""
    rows = [
        [
            f"{a.month + 1}",
            a.verb,
            f"{a.machines} × {a.option}" + ("" if a.bought is None else f" of month {a.bought + 1}"),
            "" if a.arrives == a.month else f"month {a.arrives + 1}",
            f"{a.amount:,.2f}",
        ]
        for a in found.actions
    ]
    return ["MONTH", "DO", "WHAT", "THERE FROM", "COST IN THE HORIZON"], rows


def month_rows(found: Roadmap) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the months: machines that are there, hours rented, money out."""
    rows = [
        [f"{m.month + 1}", ", ".join(f"{n} × {o}" for o, n in m.machines.items()) or "—",
         ", ".join(f"{h:,} h {o}" for o, h in m.rented_hours.items()) or "—", f"{m.cost:,.2f}"]
        for m in found.months
    ]  # fmt: skip
    return ["MONTH", "THERE", "RENTED", "MONEY OUT"], rows


def _json(found: Roadmap) -> str:
    body: dict[str, Any] = {
        "schema": "cloudaccel/v1",
        "kind": "roadmap",
        "status": found.status,
        "currency": {"code": found.case.currency, "fx": []},
        "tax": "excluded",
        "shown": None if found.shown is None else {**found.shown.plain(), "total": found.shown.of(found.total)},
        "total": None if found.total is None else f"{found.total:f}",
        "money_out": None if found.total is None else f"{found.money_out:f}",
        "worth": f"{found.worth:f}",
        "people_beyond": f"{found.people_beyond:f}",
        "without_buying": None if found.without_buying is None else f"{found.without_buying:f}",
        "not_counted": _NOT_COUNTED.split(", "),
        "bound": found.bound,
        "gap": found.gap,
        "beyond": f"{found.beyond:f}",
        "actions": [{**a._asdict(), "amount": f"{a.amount:f}"} for a in found.actions],
        "months": [{**m._asdict(), "cost": f"{m.cost:f}"} for m in found.months],
        "limits": list(found.limits),
        "rules": [
            {
                "option": o.name,
                "state": o.verdict.state,
                "deciding": list(o.verdict.deciding),
                "asks": list(o.verdict.asks),
                "packs": [list(pack) for pack in o.verdict.packs],
            }
            for o in found.case.options
            if o.verdict is not None
        ],
        "stages": [dict(zip(("name", "seconds", "total", "gap"), stage, strict=True)) for stage in found.stages],
        "assumptions": [dict(zip(("name", "value", "source"), a, strict=True)) for a in found.case.assumptions],
    }
    return json.dumps(body, ensure_ascii=False, indent=1) + "\n"
