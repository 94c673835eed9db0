"""``cloudaccel prices import``: the organisation's own prices out of its bills, as a price file."""

import argparse
import os
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from cloudaccel.api.importing import Imported, SkippedRows, import_focus, imported_text, unreadable
from cloudaccel.cli import answers, common, flags
from cloudaccel.errors import QueryError

EXAMPLES = """\
  cloudaccel prices import --focus october.csv                         the price file, to read
  cloudaccel prices import --focus october.parquet --out prices.csv    and then: quote H100 --price-file prices.csv
  cloudaccel prices import --focus a.csv.gz b.csv.gz --json            with every row that is in no price, and why
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser("prices", "Your own prices out of your bills (FinOps FOCUS), as a price file.", EXAMPLES)
    p.add_argument("action", choices=("import",), help="what to do")
    p.add_argument(
        "--focus", nargs="+", metavar="FILE", required=True,
        help="FOCUS 1.x cost and usage: .csv, .csv.gz or .parquet; several are added up",
    )  # fmt: skip
    p.add_argument("--out", metavar="PATH", help="write the price file here instead of to stdout")
    p.add_argument("--replace", action="store_true", help="write --out over a file that is there already")
    flags.add(p, "--strict", " when a row could not be read")
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Read the bills and write the prices."""
    if a.out and os.path.exists(a.out) and not a.replace:
        raise QueryError(f"--out {a.out}: it is there already. Name another file, or pass --replace to write over it.")
    done = import_focus(a.focus, catalog=a.catalog)
    if a.out:
        common.save(a.out, imported_text(done))
    if a.output == "json":
        answers.write(a, "prices", _body(done, a.out))
    else:
        common.write(_written(done, a.out) if a.out else imported_text(done))
    for line in _counts(done):
        common.note(line, quiet=a.quiet)
    return 6 if a.strict and any(unreadable(done)) else 0


def _written(done: Imported, out: str) -> str:
    rows = [
        [p.row["provider"], p.row["region"], p.row["instance"], p.row["market"],
         f"{Decimal(p.row['price_per_hour']):,.4f} {p.row['currency']}", f"{p.hours:,.0f}",
         "—" if p.under_list is None else f"{p.under_list:+.1%}"]
        for p in done.prices
    ]  # fmt: skip
    headings = ["PROVIDER", "REGION", "INSTANCE", "MARKET", "PER HOUR", "HOURS", "UNDER LIST"]
    lines = common.table(headings, rows, frozenset({4, 5, 6}), common.screen_width())
    many = f"{len(done.prices)} price{'s' if len(done.prices) != 1 else ''}"
    return "\n".join([*lines, "", f"{many} written to {Path(out)}. Use them: --price-file {out}", ""])


def _counts(done: Imported) -> list[str]:
    lines = [f"note: {done.used:,} of {done.rows:,} rows are in a price; the others:"]
    return [*lines, *(f"  {skipped.rows:>9,}  {skipped.reason}{_money(skipped)}" for skipped in done.skipped)]


def _money(skipped: SkippedRows) -> str:
    sums = ", ".join(f"{amount:,.2f} {currency}" for currency, amount in sorted(skipped.cost.items()))
    return f" ({sums})" if sums else ""


def _body(done: Imported, out: str | None) -> dict[str, Any]:
    prices = [
        {
            **p.row, "hours": str(p.hours), "cost": str(p.cost), "first": p.first.isoformat(),
            "last": p.last.isoformat(), "under_list": None if p.under_list is None else f"{p.under_list:.6f}",
        }
        for p in done.prices
    ]  # fmt: skip
    skipped = [{**asdict(s), "cost": {k: str(v) for k, v in s.cost.items()}} for s in done.skipped]
    return {
        "target": out, "rows": done.rows, "used": done.used,
        "prices": prices, "skipped": skipped,
    }  # fmt: skip
