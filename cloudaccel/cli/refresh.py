"""``cloudaccel refresh``: carry prices in and out, and show what the catalog holds."""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

from cloudaccel.api import refreshing as api
from cloudaccel.cli import common
from cloudaccel.errors import QueryError

EXAMPLES = """\
  cloudaccel refresh --status                      what the catalog holds, and how old it is
  cloudaccel refresh --from snap.zip               take in a snapshot that was carried here
  cloudaccel refresh --out snap.zip                write the catalog in use as a snapshot
  cloudaccel refresh --from tables/ --out snap/    turn price tables into a snapshot
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser("refresh", "Update the prices, or carry them into a closed network.", EXAMPLES)
    p.add_argument(
        "--from", dest="source", metavar="PATH", help="a snapshot (folder or .zip), or a folder of price tables"
    )
    p.add_argument(
        "--out", metavar="PATH", help="write a snapshot to this folder or .zip instead of the user's catalog"
    )
    p.add_argument("--status", action="store_true", help="what the catalog holds, by provider")
    p.add_argument("--strict", action="store_true", help="exit 6 when rows were refused")
    common.add_output(p, ("table", "json"))
    return p


def run(a: argparse.Namespace) -> int:
    """Refresh, or show the status."""
    if a.status and (a.source or a.out):
        raise QueryError("--status only shows; leave --from and --out out, or leave --status out.")
    if a.status:
        return _show_status(api.status(a.catalog), a)
    done = api.refresh(a.source, out=a.out, catalog=a.catalog)
    refused = sum((done.report or {}).get("refused", {}).values())
    if a.output == "json":
        _json({"kind": "refresh", **asdict(done), "source": _text(done.source), "target": str(done.target)})
    else:
        common.write(_sentence(done))
        for line in _report_lines(done.report or {}):
            common.note(line, quiet=a.quiet)
    return 6 if a.strict and refused else 0


def _sentence(done: api.Refreshed) -> str:
    source = f"{done.source}: " if done.source else ""
    identity = f", catalog {done.catalog_id[:19]}" if done.catalog_id else ""
    return f"{source}{done.offers:,} offers and {done.history:,} price versions written to {done.target}{identity}\n"


def _report_lines(report: dict[str, Any]) -> list[str]:
    refused: dict[str, int] = report.get("refused") or {}
    skipped: dict[str, str] = report.get("skipped") or {}
    return [
        *(f"note: {report[key]} offers {words}." for key, words in _WORDS.items() if report.get(key)),
        *(f"warning: {count} rows refused: {reason}." for reason, count in refused.items()),
        *(f"note: {file} left out: {reason}." for file, reason in skipped.items()),
    ]


_WORDS = {
    "quarantined": "have a price that must not be used (quarantined)",
    "unknown": "have no known price",
    "intervals": "are dated by an interval",
    "undated": "have no date",
}


def _show_status(status: api.Status, a: argparse.Namespace) -> int:
    today = datetime.now(UTC).date()
    if a.output == "json":
        _json({"kind": "status", **asdict(status), "path": _text(status.path)})
        return 0
    where = status.path or "memory"
    common.write(f"catalog {status.catalog_id[:19]} in {where}, from {status.built_from}\n\n")
    rows = [
        [
            p.provider,
            str(p.regions),
            f"{p.offers:,}",
            f"{p.unpriced:,}",
            p.as_of or "—",
            p.as_of_until or "—",
            _age(p, today),
        ]
        for p in status.providers
    ]
    headings = ["PROVIDER", "REGIONS", "OFFERS", "UNPRICED", "OLDEST", "NEWEST", "NEWEST AGE"]
    common.write("\n".join(common.table(headings, rows, frozenset({1, 2, 3, 6}), common.screen_width())) + "\n")
    total = sum(p.offers for p in status.providers)
    common.write(f"\n{total:,} offers of {len(status.providers)} providers.\n")
    for warning in status.warnings:
        common.note(f"warning: {warning}", quiet=a.quiet)
    return 0


def _age(p: api.ProviderStatus, today: date) -> str:
    newest = p.as_of_until or p.as_of
    return f"{(today - date.fromisoformat(newest)).days} d" if newest else "?"


def _text(path: object) -> str | None:
    return None if path is None else str(path)


def _json(body: dict[str, Any]) -> None:
    indent = 1 if sys.stdout.isatty() else None
    common.write_data(json.dumps({"schema": "cloudaccel/v1", **body}, ensure_ascii=False, indent=indent) + "\n")
