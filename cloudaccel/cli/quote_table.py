"""A quote as a table for people: a line of context, numbered rows, and what is not shown."""

import argparse
from collections import Counter
from decimal import Decimal

from cloudaccel.api import quoting as api
from cloudaccel.api.quoting import AHEAD, age_text
from cloudaccel.catalog.schema import APART
from cloudaccel.cli import common
from cloudaccel.facts.names import short_name
from cloudaccel.model import Offer
from cloudaccel.model.verdict import ACCEPTED_RISK
from cloudaccel.output.columns import (
    COLUMNS,
    NO_DECIMALS,
    PER,
    PRICES,
    View,
    display_name,
    heading,
    money_columns,
    plain,
)

_PER_WORD = {"hour": "H", "month": "MONTH", "1000h": "1000H"}
_SIGN = {"USD": "$", "EUR": "€", "CNY": "¥"}

_MARKET_WORDS = {"on_demand": "on-demand", "capacity_block": "capacity-block", "flex_start": "flex"}
_APART_TEXT = dict(APART)
_WIDE = ("partition", "zone", "country", "vcpus", "memory_gib", "source", "id")


def render(
    answer: api.Quote, *, wide: bool, columns: tuple[str, ...] | None, per: str, arguments: argparse.Namespace
) -> str:
    """The text of the answer; empty when there is nothing to show."""
    if not answer.offers:
        return ""
    view = View(answer, PER[per])
    width = None if wide else common.screen_width()
    if width is not None:
        width = max(60, width)
    lines = [_context(answer), ""]
    notes: list[str] = []
    if columns:
        rows = [[_chosen(c, o, view, columns) for c in columns] for o in answer.offers]
        headings = [heading(c, per).upper() for c in columns]
        right = frozenset(i for i, c in enumerate(columns) if _is_number(c))
        lines += common.table(headings, rows, right, width)
    else:
        headings, right, rows = _standard(answer, view, per, wide)
        left_out: list[str] = []
        for name in ("AVAIL", "MARKET") if len(answer.query.markets) == 1 else ("AVAIL",):
            too_wide = width is not None and sum(common.column_widths(headings, rows)) + 2 * len(headings) > width
            if too_wide and name in headings:
                headings, right, rows = _without(name, headings, right, rows)
                left_out.append(name)
        if left_out:
            notes.append(f"{' and '.join(left_out)} would not fit here; -o wide shows everything.")
        lines += common.table(headings, rows, right, width, middle=True)
    if common.wants_color(arguments.no_color):
        lines[2] = f"\x1b[1m{lines[2]}\x1b[0m"
        lines = [line.replace(" STALE", " \x1b[33mSTALE\x1b[0m") for line in lines]
        dim = "\x1b[2m{}\x1b[0m"
    else:
        dim = "{}"
    lines += ["", *(line and dim.format(line) for line in (*_footer(answer, arguments, per), *notes))]
    return "\n".join(lines) + "\n"


def _chosen(column: str, offer: Offer, view: View, columns: tuple[str, ...]) -> str:
    """A cell of a column that the user named; a price in another currency than the heading's says which."""
    text = plain(COLUMNS[column](offer, view)) or "—"
    foreign = offer.price.currency != view.answer.query.currency and "currency" not in columns
    return f"{text} {offer.price.currency}" if foreign and column in PRICES and text != "—" else text


def _is_number(column: str) -> bool:
    return column.startswith(
        ("price", "list_price", "tax", "request_price", "memory", "vcpus", "count", "age", "upfront", "hosts", "nodes")
    )


def _context(answer: api.Quote) -> str:
    query = answer.query
    what = ", ".join(term.canonical or term.text for term in query.terms) or query.instance or "any accelerator"
    markets = ", ".join(f"{_market(market)}-{term}" if term else _market(market) for market, term in query.markets)
    words = [what, query.interconnect or "", query.place_text, markets if len(query.markets) < 4 else "any market"]
    words += [f"{query.currency} excl. tax", _catalog(answer), f"with {answer.adjusted}" if answer.adjusted else ""]
    return " · ".join(word for word in words if word)


def _market(market: str) -> str:
    return _MARKET_WORDS.get(market, market.replace("_", "-"))


def _catalog(answer: api.Quote) -> str:
    from datetime import date

    if answer.catalog_until is None:
        return "catalog undated"
    days = (answer.today - date.fromisoformat(answer.catalog_until)).days
    return f"catalog {answer.catalog_until} ({f'{days} d old' if days >= 0 else AHEAD})"


def _standard(answer: api.Quote, view: View, per: str, wide: bool) -> tuple[list[str], frozenset[int], list[list[str]]]:
    several_markets = len(answer.query.markets) > 1 or any(o.term or o.offering_class for o in answer.offers)
    several_counts = len({o.count for o in answer.offers}) > 1
    nodes = max(answer.nodes(o) for o in answer.offers)
    sign = _SIGN.get(answer.query.currency, answer.query.currency)
    unit = _PER_WORD[per]
    headings = ["#", "PROVIDER", "REGION", "INSTANCE", "ACCELERATOR"]
    right = {0}
    if several_counts:
        headings.append("×N")
    right.add(len(headings))
    headings.append(f"{sign}/ACCEL-{unit}")
    right.add(len(headings))
    headings.append(f"{sign}/{unit}" + (f" ×{nodes}" if nodes > 1 else ""))
    if several_markets:
        headings.append("MARKET")
    headings.append("AVAIL")
    right.add(len(headings))
    headings.append("AGE")
    if wide:
        headings += [heading(name, per).upper() for name in (*money_columns(answer), *_WIDE)]
    rows: list[list[str]] = []
    sold_as = {(o.provider, o.instance, o.service) for o in answer.offers}
    several = Counter((provider, instance) for provider, instance, _ in sold_as)
    for number, offer in enumerate(answer.offers, 1):
        row = ["·" if offer.apart else str(number), offer.provider, offer.zone or offer.region]
        # One type that is sold as several services has a row for each: they must not look the same.
        row.append(offer.instance + (f" {offer.service}" if several[offer.provider, offer.instance] > 1 else ""))
        row.append(display_name(offer))
        if several_counts:
            row.append("?" if offer.count is None else str(offer.count))
        row += [_money(COLUMNS["price_per_accelerator"](offer, view), offer, answer)]
        row += [_money(COLUMNS["request_price"](offer, view), offer, answer)]
        if several_markets:
            row.append(_market_words(offer))
        row += [_availability(offer), _age(offer, answer)]
        if wide:
            row += [plain(COLUMNS[name](offer, view)) or "—" for name in (*money_columns(answer), *_WIDE)]
        rows.append(row)
    return headings, frozenset(right), rows


def _without(
    heading: str, headings: list[str], right: frozenset[int], rows: list[list[str]]
) -> tuple[list[str], frozenset[int], list[list[str]]]:
    """The table without one column: on a narrow screen the rest is then still readable."""
    at = headings.index(heading)
    kept = [i for i in range(len(headings)) if i != at]
    moved = frozenset(i - (i > at) for i in right)
    return [headings[i] for i in kept], moved, [[row[i] for i in kept] for row in rows]


def _money(value: object, offer: Offer, answer: api.Quote) -> str:
    if not isinstance(value, Decimal):
        return "—"
    whole = 0 if offer.price.currency in NO_DECIMALS else 2
    places = whole if value >= 1 else 4
    text = f"{value:,.{places}f}"
    if places == 4:
        text = text[:-2] + text[-2:].rstrip("0")
    mark = {"estimated": "~", "upper_bound": "≤"}.get(offer.price.status, "")
    if answer.conversion is not None and offer.id in answer.conversion.listed:
        mark = f"≈{mark}"
    currency = "" if offer.price.currency == answer.query.currency else f" {offer.price.currency}"
    return f"{mark}{text}{currency}"


def _market_words(offer: Offer) -> str:
    details = [offer.term, offer.offering_class, (offer.payment or "").replace("_", "-")]
    return " ".join(filter(None, [_market(offer.market), *details]))


def _availability(offer: Offer) -> str:
    state = {"not_seen": "not seen", "not_sold": "not sold"}.get(offer.availability.state, offer.availability.state)
    return f"{state} {offer.availability.last_seen}" if offer.availability.last_seen else state


def _age(offer: Offer, answer: api.Quote) -> str:
    text = age_text(offer, answer.today)
    return f"{text} STALE" if answer.is_stale(offer) else text


def _footer(answer: api.Quote, arguments: argparse.Namespace, per: str) -> list[str]:
    shown = len(answer.offers)
    lines = [
        f"{shown} of {answer.total} offers shown; --limit all for the rest."
        if shown < answer.total
        else f"{shown} offers."
    ]
    if shown == 1 and answer.total == 1:
        lines = ["1 offer."]
    if answer.hidden:
        hidden = ", ".join(f"{h.rows} {h.text}" for h in answer.hidden)
        lines[0] += f" Hidden: {hidden}."
    lines += _footnotes(answer, per)
    filtered = getattr(arguments, "show_filtered", False)
    if (getattr(arguments, "show_hidden", False) or filtered) and answer.hidden:
        from cloudaccel.cli.quote_explain import hidden_lines

        lines += ["", "Hidden, by the first filter that a row failed, cheapest first", *hidden_lines(answer)]
    if filtered:
        from cloudaccel.cli.quote_explain import default_lines

        lines += ["", "Left out or set apart although nobody asked", *default_lines(answer)]
    return lines


def _footnotes(answer: api.Quote, per: str) -> list[str]:
    lines: list[str] = []
    reasons = {code for offer in answer.offers for code in offer.apart}
    if reasons:
        words = "; ".join(_APART_TEXT[code] for code in _APART_TEXT if code in reasons)
        lines.append(f"· never ranked first: {words}.")
    if any(o.price.status == "estimated" for o in answer.offers):
        lines.append("~ estimated, see --explain.")
    between = next((o for o in answer.offers if o.price.as_of_until), None)
    if between is not None:
        age = _age(between, answer).removesuffix(" STALE")
        lines.append(f"Age {age}: the source has no date, the price was seen at some time between.")
    if answer.conversion is not None or answer.tax_percent is not None or answer.disk is not None:
        from cloudaccel.cli.quote_money import money_lines

        lines += money_lines(answer, per)
    if any(o.sold_per == "accelerator" for o in answer.offers):
        lines.append("Some sellers quote one accelerator and name no machine; the host may cost extra.")
    lines += _families(answer)
    return [*lines, *_rules(answer)]


def _rules(answer: api.Quote) -> list[str]:
    """By what was judged, and what it costs; or that export control and sanctions were not asked about at all."""
    judged = answer.judged
    if judged is None:
        return ["Not assessed: export control, sanctions, any other rule; --policy names packs that are."]
    names = ", ".join(pack.id for pack in judged.judge.requiring)
    lines = [f"Rules of {names} satisfied on the facts given; not legal advice. --explain says why others are not."]
    risky = sum(judged.verdicts[offer.id].state == ACCEPTED_RISK for offer in answer.offers)
    if risky:
        lines.append(f"{risky} of those shown rest on a risk that was accepted, not on a rule that is satisfied.")
    best, cheapest = answer.offers[0], judged.cheapest
    price, least = best.price_per_accelerator_hour, cheapest.price_per_accelerator_hour if cheapest else None
    if cheapest is not None and price is not None and least is not None and cheapest.id != best.id and not best.apart:
        lines.append(
            f"The rules cost {_money(price - least, best, answer)} {answer.query.currency} per accelerator-hour: "
            f"{cheapest.provider} {cheapest.region} has {_money(least, cheapest, answer)}."
        )
    return [*lines, *(f"{hint}." for hint in answer.hints)]


def _families(answer: api.Quote) -> list[str]:
    """What a family name covers, all of it: a variant that nobody sells here is one too."""
    lines: list[str] = []
    for term in answer.query.terms:
        if 1 < len(term.accelerator_ids) <= _MANY_VARIANTS and term.min_memory_gib is None:
            variants = ", ".join(short_name(i).replace("-PCIE", "-PCIe") for i in term.accelerator_ids)
            lines.append(f'"{term.text.partition(":")[0]}" covers {variants}; name one to narrow it.')
    return lines


_MANY_VARIANTS = 8
