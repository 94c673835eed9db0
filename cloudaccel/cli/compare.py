"""``cloudaccel compare``: ways of getting the same result side by side, with what each number rests on."""

import argparse

from cloudaccel.api import deciding as api
from cloudaccel.cli import answers, common, compare_table, flags
from cloudaccel.errors import QueryError

EXAMPLES = """\
  cloudaccel compare --demand 400M-tokens/month --option api:price=0.90/Mtok --option rent:H100-SXM:8,throughput=6000tok/s --option own:8xH100
  cloudaccel compare --option own:8xH100,capex=379500,residual=20%,years=3,kw=10.2,kwh=0.15 --rents 2.19,3.00,6.88
  cloudaccel compare --option own:dgx-a100-320gb,systems=500 --country US --explain
  cloudaccel compare --option rent:H100-SXM:8 --option own:8xH100 --country FR --policy eu-gdpr --headquarters FR --users none
  cloudaccel compare --option rent:H100-SXM:8 --option own:8xH100 --sensitivity --samples 2000 --seed 1
"""  # noqa: E501  (a command is typed on one line)
MOST_TOKENS = 10_000_000


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser(
        "compare", "Ways of getting the same result side by side: API, rent, managed service, own, train.", EXAMPLES
    )
    o = p.add_argument_group("what is compared")
    o.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="WAY",
        help="kind:what@provider,key=value,… with kind api, rent, vm, managed, own, pretrain, adapt, finetune or lora; "
        "repeat it. Keys and units: docs/reference/compare.md",
    )
    o.add_argument("--demand", metavar="TOKENS", help="what is wanted: 400M-tokens/month")
    o.add_argument("--hours", metavar="N", help="hours a month that rented machines are on (default 730)")
    o.add_argument("--years", default="1", metavar="N", help="horizon of the totals (default 1)")
    flags.add(o, "--model", "; sizes machines that state no throughput")
    flags.add(o, "--dtype", " (default bf16)")
    flags.add(o, "--input-tokens", " (default 1024)", type=flags.count)
    flags.add(o, "--output-tokens", " (default 256)", type=flags.count)
    o.add_argument("--mix", metavar="SHARES", help="in=0.7,cached=0.2,out=0.1: shares of the tokens, adding up to 1")
    a = p.add_argument_group("assumptions")
    a.add_argument("--rents", default="", metavar="PRICES", help="rents per accelerator-hour to set owning against")
    a.add_argument("--people", metavar="MONEY", help="people beside every way: 5000/month, 60000/y")
    a.add_argument("--data-work", metavar="MONEY", help="data work beside every way, paid once")
    flags.add(a, "--country", "; of those that you own: the electricity tariff", action="store")
    a.add_argument("--fx", metavar="RATES", help="EURUSD=1.10: dollars for one euro; nothing is converted without")
    a.add_argument(
        "--counted", default="full", metavar="WHAT",
        help="of owning: full (default), or marginal: power of machines that are there",
    )  # fmt: skip
    common.add_rules(p)
    v = p.add_argument_group("answer")
    v.add_argument("--sensitivity", action="store_true", help="what each input moves, widest first")
    flags.add(v, "--samples", " of all ranges at once (default none)", default=0)
    flags.add(v, "--seed", " (default 0)", default=0)
    flags.add(v, "--explain", ", and every line with its factors")
    flags.add(v, "--price-file")
    flags.add(v, "--inventory", ": shown with what they cost per hour")
    v.add_argument("--write-prices", metavar="CSV", help="with --inventory: write them as a price file for quote, plan")
    common.add_money(p)
    common.add_pictures(p)
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Compare and show; exit 0, 3 when no way has a known cost, 4 when the rules allow none of those that have."""
    if a.inventory:
        return _inventory(a)
    if not 0 <= a.samples <= 1_000_000:
        raise QueryError(f"--samples: {a.samples} must be between 0 and 1,000,000.")
    if any(n is not None and not 1 <= n <= MOST_TOKENS for n in (a.input_tokens, a.output_tokens)):
        raise QueryError(f"--input-tokens, --output-tokens: a request has between 1 and {MOST_TOKENS:,} of each.")
    found = api.compare(
        a.option, demand=a.demand, hours=a.hours, years=a.years, model=a.model, dtype=a.dtype, mix=a.mix, rents=a.rents,
        people=a.people, data_work=a.data_work, country=a.country, fx=a.fx, counted=a.counted,
        sensitivity=a.sensitivity, samples=a.samples, seed=a.seed, price_file=a.price_file, catalog=a.catalog,
        rules=common.asked_rules(a), input_tokens=a.input_tokens, output_tokens=a.output_tokens,
        currency=a.currency, fx_file=a.fx_file, tax=a.tax,
    )  # fmt: skip
    if a.html:
        from cloudaccel.cli.compare_html import render

        common.save(a.html, render(found))
    if a.png:
        from cloudaccel.cli import charts

        panels = charts.of_comparison(found)
        if panels:
            charts.write_png(panels, a.png)
        else:
            common.note(f"{a.png} was not written: no way has a known cost, so there is nothing to draw.")
    if a.output == "json":
        from cloudaccel.output.compare_json import text

        answers.write_text(a, text(found))
    else:
        common.write(compare_table.render(found, explain=a.explain))
    common.warn_of((way.verdict for way in found.ways), quiet=a.quiet)
    if found.cheapest is not None:
        return 0
    return 3 if found.without_rules is None else 4


def _inventory(a: argparse.Namespace) -> int:
    priced = api.price_inventory(a.inventory, country=a.country, fx=a.fx)
    if a.output == "json":
        from cloudaccel.output.compare_json import inventory_json

        answers.write(a, "compare.inventory", {"machines": inventory_json(priced)})
    else:
        common.write(compare_table.inventory(priced))
    if a.write_prices:
        common.save(a.write_prices, api.price_file_text(priced))
    return 0
