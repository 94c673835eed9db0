"""``quote --explain``: how names were read, where each price comes from, and what almost fitted."""

from cloudaccel.api import quoting as api
from cloudaccel.model import Offer
from cloudaccel.output.columns import display_name, part_text, plain


def render(answer: api.Quote) -> str:
    """Sections of plain text, one for each question a reader may ask."""
    lines = ["", "How names were read"]
    for term in answer.query.terms:
        lines.append(f"  {term.text} → {', '.join(term.accelerator_ids)}")
        if term.count is not None:
            lines.append(
                f"      {term.count}{' or more' if term.at_least else ''} on one machine, {term.nodes} machine(s)"
            )
        if term.note:
            lines.append(f"      {term.note}")
    lines += [
        "",
        "Order",
        "  cheapest per accelerator-hour; at the same price more host memory, more vCPUs, then by name",
    ]
    lines += ["", "Where the prices come from"]
    for number, offer in enumerate(answer.offers, 1):
        lines += _offer(number, offer)
        if answer.conversion is not None:
            lines += _listed(offer, answer)
    if answer.hidden:
        lines += ["", "Hidden, by the first filter that a row failed"]
        lines += hidden_lines(answer)
    return "\n".join(lines) + "\n"


def default_lines(answer: api.Quote) -> list[str]:
    """The filters that hold without being asked for, how many rows each one met, and what lifts it."""
    query = answer.query
    met = {h.reason: h.rows for h in answer.hidden}
    apart = [code for offer in answer.offers for code in offer.apart]
    lines: list[str] = []
    if query.markets == (("on_demand", None),):
        lines.append("  markets other than on-demand; --market any lifts it")
    if not query.allow_fraction:
        lines.append("  shares of an accelerator; --allow-fraction lifts it")
    counted = (
        (met.get("per_accelerator", 0), "priced per accelerator, with no machine named, where several are asked"),
        (met.get("not_sold", 0), "that have a price and are not sold in this market"),
        (apart.count("community"), "of community hosts: shown last, never ranked"),
        (apart.count("not_seen"), "that a source no longer lists: shown last, never ranked"),
        (apart.count("unknown_price"), "without a price: shown last; a disk that is paid apart is in no price"),
    )
    lines += [f"  {rows} {'offer' if rows == 1 else 'offers'} {words}" for rows, words in counted if rows]
    if not query.require_available:
        lines.append("  nothing by availability; --require-available leaves only what a source says can be had")
    return lines


def hidden_lines(answer: api.Quote) -> list[str]:
    """Each reason with the number of rows, and the cheapest of them."""
    lines: list[str] = []
    for h in answer.hidden:
        lines.append(f"  {h.rows:>6}  {h.text}  ({h.reason})")
        for offer in answer.examples.get(h.reason, ()):
            each = plain(offer.price_per_accelerator_hour) or "unknown"
            place = f"{offer.provider} {offer.zone or offer.region} {offer.instance}"
            lines.append(
                f"          {place}, {display_name(offer)}: {each} {offer.price.currency} per accelerator-hour"
            )
    return lines


def _listed(offer: Offer, answer: api.Quote) -> list[str]:
    """The list price of a converted offer, and the rate that it was converted by."""
    if answer.conversion is None or offer.id not in answer.conversion.listed:
        return []
    rates, listed = answer.conversion
    price = listed[offer.id]
    rate = rates.rate(price.currency, offer.price.currency)
    list_price = plain(price.amount) or "unknown"
    return [f"     listed {list_price} {price.currency} × {plain(rate)}, {rates.source} of {rates.as_of}"]


def _offer(number: int, offer: Offer) -> list[str]:
    price = offer.price
    place = f"{offer.provider} {offer.zone or offer.region} {offer.instance}"
    head = f"  {number}. {place}, {display_name(offer)}, {offer.market.replace('_', '-')}"
    lines = [f"{head}  [{offer.id}]"]
    lines.append(f"     {plain(price.amount) or 'unknown'} {price.currency} per hour ({price.status})")
    each = offer.price_per_accelerator_hour
    if each is not None and offer.count is not None and offer.count != 1:
        lines.append(f"     ÷ {offer.count} = {plain(each)} per accelerator-hour")
    lines += [f"     part {part_text(part)}" for part in price.parts]
    seen = price.as_of or "no date"
    if price.as_of_until:
        seen = f"between {price.as_of} and {price.as_of_until}"
    revision = f" @ {price.source.revision[:12]}" if price.source.revision else ""
    lines.append(f"     seen {seen}, in {price.source.name} {price.source.path}{revision} ({price.source.licence})")
    if price.note:
        lines.append(f"     {price.note}")
    if offer.apart:
        lines.append(f"     never ranked first: {', '.join(offer.apart)}")
    return lines
