"""``cloudaccel quote``: prices and facts of accelerators."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cloudaccel.api import quoting as api
from cloudaccel.cli import common, flags
from cloudaccel.errors import QueryError
from cloudaccel.output.columns import ALIASES, COLUMNS, DEFAULT_COLUMNS, PER, money_columns

if TYPE_CHECKING:
    from cloudaccel.catalog.pricestats import PriceHistory

EXAMPLES = """\
  cloudaccel quote H100:8                                  exactly eight, in one machine
  cloudaccel quote H100-SXM:8x2 --market any               two machines of eight, every way of paying
  cloudaccel quote H100:8 --residency EU --interconnect nvlink
  cloudaccel quote 80GB+:8 --max-price 3                   by need: any with 80 GB or more, at most 3 USD each
  cloudaccel quote tpu-v5e:8                               TPUs and Neuron are counted in chips
  cloudaccel quote --instance p5.48xlarge --market any
  cloudaccel quote H100-SXM:8 --history 90d                what they cost over the last 90 days
  cloudaccel quote H100 --residency EU --operator-jurisdiction EU
  cloudaccel quote H100:8 --policy org-no-us-parent --headquarters FR --users none
  cloudaccel quote L40S --currency EUR --tax 19%                   lists in euros first; --fx-file converts the others
  cloudaccel quote H100,MI300X --csv --columns provider,region,accelerator,price_per_hour > quote.csv
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser(
        "quote",
        "Prices and facts of accelerators, cheapest per accelerator-hour first. Needs no account and no network.",
        EXAMPLES,
    )
    p.add_argument(
        "accelerators",
        nargs="*",
        metavar="ACCEL",
        help="such as H100:8, A100-80GB:8x2, 80GB+:8, v5p-8; several mean any of them, A>B in that order",
    )
    f = p.add_argument_group("filters")
    f.add_argument("--instance", metavar="TYPE", help="one instance type instead of an accelerator")
    f.add_argument("--kind", action="append", metavar="KIND", help=f"kind of accelerator: {', '.join(api.KINDS)}")
    f.add_argument("--gpu", action="append_const", const="gpu", dest="kind", help="same as --kind gpu")
    flags.add_places(f)
    flags.add(f, "--market")
    f.add_argument("--min-mem", metavar="SIZE", help="memory of each accelerator, nominal GB")
    f.add_argument("--min-total-mem", metavar="SIZE", help="accelerator memory of the machine, nominal GB")
    f.add_argument("--host-mem", metavar="SIZE", help="memory of the host")
    f.add_argument("--vcpu", metavar="N", help="vCPUs of the host")
    flags.add(f, "--interconnect", f": {', '.join(api.LINKS)}", choices=api.LINKS)
    f.add_argument("--max-price", metavar="MONEY", help="per accelerator-hour; or that of another: 'od(g4dn.xlarge)'")
    flags.add(f, "--max-hourly", "; or that of another: 'spot(p5.48xlarge)'")
    flags.add(f, "--max-age", "; they are marked STALE")
    flags.add(f, "--require-available")
    f.add_argument("--allow-fraction", action="store_true", help="include shares of an accelerator")
    flags.add(f, "--price-file")
    flags.add(f, "--currency", "; without them, prices of that currency come first")
    flags.add(f, "--fx-file")
    flags.add(f, "--tax")
    flags.add(f, "--disk", ": what it costs is shown")
    flags.add(f, "--strict", " when a shown price is stale, or no row has a price")
    common.add_rules(p)
    common.add_output(p, ("table", "wide", "json", "csv", "yaml"))
    _add_view(p)
    return p


def _add_view(p: argparse.ArgumentParser) -> None:
    v = p.add_argument_group("view")
    v.add_argument(
        "--sort", default="price", metavar="BY", help="price (per accelerator, default), hourly, memory, age, provider"
    )
    flags.add(v, "--limit", f" (default {api.DEFAULT_LIMIT})", default=api.DEFAULT_LIMIT)
    v.add_argument("--history", metavar="TIME", help="what each offer cost over so many days: 30d, 90d, 26w")
    v.add_argument("--columns", metavar="A,B", help=f"of: {', '.join(COLUMNS)}")
    v.add_argument("--per", choices=tuple(PER), default="hour", help="time that prices are for; a month is 730 h")
    flags.add(v, "--explain", ", and how names were read")
    v.add_argument("--show-hidden", action="store_true", help="list what was hidden, by reason")
    v.add_argument(
        "--show-filtered", action="store_true", help="also say what is left out by default, and how to lift it"
    )


def run(a: argparse.Namespace) -> int:
    """Quote, show, and say by the exit code how it went: 0, 3 nothing, 4 rules leave nothing, 6 stale (strict)."""
    if not any((a.accelerators, a.instance, a.kind, a.min_mem, a.min_total_mem, a.provider)):
        raise QueryError(
            "name an accelerator, such as 'cloudaccel quote H100:8', or filter by --instance, --kind or --min-mem."
        )
    columns = _columns(a.columns)
    if a.history is not None and a.output == "csv":
        raise QueryError("--history has no columns; leave --csv out, or take --json for the series of each offer.")
    expression = ",".join(a.accelerators) if a.accelerators else None
    answer = api.quote(
        expression, instance=a.instance, kind=a.kind, provider=a.provider, region=a.region,
        country=a.country, residency=a.residency, market=a.market or "on-demand", min_mem=a.min_mem,
        min_total_mem=a.min_total_mem, host_mem=a.host_mem, vcpu=a.vcpu, interconnect=a.interconnect,
        max_price=a.max_price, max_hourly=a.max_hourly, max_age=a.max_age, require_available=a.require_available,
        allow_fraction=a.allow_fraction, currency=a.currency, sort=a.sort, limit=a.limit,
        price_file=a.price_file, catalog=a.catalog, show_hidden=a.show_hidden or a.show_filtered or a.explain,
        rules=common.asked_rules(a),
        fx_file=a.fx_file, tax=a.tax, disk=a.disk,
    )  # fmt: skip
    if a.history is not None and answer.conversion is not None:
        raise QueryError("--history is of list prices, which are not converted. Leave --currency and --fx-file out.")
    histories = _histories(answer, a)
    _show(answer, a, columns, histories)
    return _exit_code(answer, a.strict)


def _histories(answer: api.Quote, a: argparse.Namespace) -> "Mapping[str, PriceHistory]":
    if a.history is None:
        return {}
    from cloudaccel.api.recalling import price_histories  # only when asked for

    return price_histories(
        answer.offers, a.history, catalog=a.catalog, price_file=a.price_file, today=answer.today
    )  # fmt: skip


def _show(
    answer: api.Quote, a: argparse.Namespace, columns: tuple[str, ...] | None, histories: "Mapping[str, PriceHistory]"
) -> None:
    if a.output == "json":
        from cloudaccel.cli import answers
        from cloudaccel.output import quote_json

        answers.write_text(a, quote_json.render(answer, a.per, histories))
    elif a.output == "csv":
        from cloudaccel.output import quote_csv

        common.write_data(quote_csv.render(answer, columns or (*DEFAULT_COLUMNS, *money_columns(answer)), a.per))
    else:
        from cloudaccel.cli import quote_table

        common.write(quote_table.render(answer, wide=a.output == "wide", columns=columns, per=a.per, arguments=a))
        if histories:
            from cloudaccel.cli import history_table

            common.write(history_table.render(answer.offers, histories))
    if a.explain:
        from cloudaccel.cli import quote_explain

        text = quote_explain.render(answer)
        common.write(text) if a.output in ("table", "wide") else common.note(text)
    _notes(answer, a)


def _notes(answer: api.Quote, a: argparse.Namespace) -> None:
    for code in dict.fromkeys(notice.code for notice in answer.notices):
        texts = [notice.text for notice in answer.notices if notice.code == code]
        kind = "note" if code in ("name", "zone_apart") else "warning"
        for text in texts[:_ALIKE]:
            common.note(f"{kind}: {text}", quiet=a.quiet)
        if len(texts) > _ALIKE:
            common.note(f"{kind}: {len(texts) - _ALIKE} more like this; --json has them all.", quiet=a.quiet)
    if _mixes_currencies(answer, a):
        common.note("note: prices are in several currencies; add the column currency.", quiet=a.quiet)
    if len(answer.offers) < answer.total and a.output not in ("table", "wide"):
        common.note(f"note: {len(answer.offers)} of {answer.total} offers; --limit all for the rest.", quiet=a.quiet)
    if not answer.total and not _is_unpriced(answer):
        ruled_out = answer.judged is not None and answer.judged.verdicts
        common.note(
            f"error: {'the rules leave nothing of what is' if ruled_out else 'nothing'} on offer"
            f"{'' if ruled_out else ' satisfies this request'}."
        )
        for hidden in answer.hidden:
            common.note(f"  hidden: {hidden.rows} {hidden.text}")
        for hint in answer.hints:
            common.note(f"  try: {hint}")


_ALIKE = 3  # warnings of one kind that a person is shown


def _mixes_currencies(answer: api.Quote, a: argparse.Namespace) -> bool:
    chosen = _columns(a.columns) if a.output == "csv" and a.columns is not None else None
    return bool(chosen) and "currency" not in chosen and any("other_currency" in o.apart for o in answer.offers)


def _is_unpriced(answer: api.Quote) -> bool:
    """Whether no source covers what was asked about, so that nothing can be said of what is on offer."""
    return any(notice.code == "no_price_source" for notice in answer.notices)


def _exit_code(answer: api.Quote, strict: bool) -> int:
    if not answer.total and _is_unpriced(answer):
        return 6
    if not answer.total:
        # Something was on offer, and the rules leave none of it: another matter than nothing being on offer.
        return 4 if answer.judged is not None and answer.judged.verdicts else 3
    if strict and (
        any(answer.is_stale(o) for o in answer.offers)
        or all(o.price_per_accelerator_hour is None for o in answer.offers)
    ):
        return 6
    return 0


def _columns(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    words = (name.strip().lower() for name in text.split(",") if name.strip())
    names = tuple(ALIASES.get(word, word) for word in words)
    unknown = [name for name in names if name not in COLUMNS]
    if not names:
        raise QueryError(f"--columns: the value is empty. Columns: {', '.join(COLUMNS)}.")
    if unknown:
        raise QueryError(f"--columns: {', '.join(unknown)} is unknown. Columns: {', '.join(COLUMNS)}.")
    return names
