"""``plan --quota-report``: what each option counts against the account's quotas, and the text to ask for more."""

import argparse
import json
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from cloudaccel.api import quotas, quoting
from cloudaccel.api.quotas import Counted, Given, number
from cloudaccel.cli import answers, common
from cloudaccel.errors import NothingFits
from cloudaccel.model.plan import Plan
from cloudaccel.protocols import QuotaLine


def add(p: argparse.ArgumentParser) -> None:
    """The flags."""
    q = p.add_argument_group("quotas")
    q.add_argument(
        "--quota-report", action="store_true",
        help="what each option counts against your quotas, what is left, and the text to ask for more; "
        "with --accel alone, without a job, of what is on offer",
    )  # fmt: skip
    q.add_argument(
        "--quota", action="append", metavar="FILE",
        help="plan within the limits of a saved report (--quota-report --json), or within PROVIDER:REGION:CODE=LIMIT; "
        "no account is asked; may be repeated",
    )  # fmt: skip


def without_job(a: argparse.Namespace) -> int:
    """The report of what is on offer for ``--accel``; exit 3 when that is nothing."""
    answer = quoting.quote(
        a.accel, provider=a.provider, region=a.region, country=a.country, residency=a.residency,
        market=a.market or "on-demand", interconnect=a.interconnect, limit=a.limit, price_file=a.price_file,
        catalog=a.catalog,
    )  # fmt: skip
    if not answer.offers:
        raise NothingFits(f"nothing on offer satisfies this request. {' '.join(answer.hints[:2])}".strip())
    given = quotas.read_given(a.quota or ())
    _write(a, quotas.report([(offer, answer.nodes(offer)) for offer in answer.offers], given), given)
    return 0


def of_plan(found: Plan, a: argparse.Namespace) -> None:
    """The report of a plan's options."""
    given = quotas.read_given(a.quota or ())
    wanted = [(offer, option.nodes) for option in found.options for offer in (option.offer, *option.also)]
    _write(a, quotas.report(wanted, given), given)


def _write(a: argparse.Namespace, report: Sequence[Counted], given: Given | None) -> None:
    if a.output == "json":
        body = quotas.report_json(report, datetime.now(UTC))
        answers.write_text(a, json.dumps(body, ensure_ascii=False, indent=1) + "\n")
    else:
        common.write(render(report, given))


def render(report: Sequence[Counted], given: Given | None) -> str:
    """The report for people."""
    whose = "your accounts, asked now" if given is None else given.source
    reasons = list(dict.fromkeys(line.why for counted in report for line in counted.lines if line.why))
    lines = [f"Quotas   limits of {whose}; ? is not known", ""]
    for position, counted in enumerate(report, 1):
        place = f"{counted.provider} {counted.region}, {counted.market.replace('_', '-')}"
        lines.append(f"{position:>3}  {counted.what}, {place}")
        for line in counted.lines:
            lines += _wrapped(_words(line, reasons), "     ", "       ")
        if not counted.lines:
            lines.append("     quotas of this provider are not known here: ask it")
    lines += ["", "Not known"] if reasons else []
    for number_of, why in enumerate(reasons, 1):
        lines += _wrapped(f"[{number_of}] {why}", "  ", "      ")
    asked = list(quotas.requests(report))
    lines += ["", "To hand to the seller"] if asked else []
    for counted, _, text in asked:
        lines += _wrapped(f"{counted.provider}: {text}", "  ", "    ")
    return "\n".join(lines) + "\n"


def _wrapped(text: str, first: str, others: str) -> Iterator[str]:
    width = common.screen_width() or 0
    if width < 40:
        yield first + text
        return
    yield from textwrap.wrap(text, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)


def _words(line: QuotaLine, reasons: Sequence[str]) -> str:
    code = f" ({line.code})" if line.code and line.code not in line.name else ""
    where = "" if line.region else ", over all regions"
    figures = f"needs {number(line.needed)} {line.unit}".rstrip() if line.needed is not None else "needs ?"
    if line.limit is None or line.used is None:
        why = f" [{reasons.index(line.why) + 1}]" if line.why else ""
        return f"{line.name}{code}{where}: {figures}, limit ?{why}"
    left = max(line.limit - line.used, line.limit * 0)
    verdict = {True: "enough", False: f"too little, ask for {number(line.wanted)}", None: "not known whether enough"}
    return f"{line.name}{code}{where}: {figures}, {number(left)} of {number(line.limit)} left: {verdict[line.enough]}"
