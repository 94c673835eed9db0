"""The card of the page: the cheapest offer that the rules allow, why it is that one, and what was cheaper."""

from dataclasses import dataclass
from decimal import Decimal

from cloudaccel.api.judging import Rules, judge_by
from cloudaccel.api.quoting import Quote, age_days, age_text
from cloudaccel.compliance import Judge, placement_of, shipped_packs
from cloudaccel.compliance.packs import NOT_LAW_YET
from cloudaccel.model import Offer
from cloudaccel.model.verdict import ACCEPTED_RISK, COMPLIANT, DISCLAIMER, Verdict
from cloudaccel.output.columns import display_name
from cloudaccel.service.guard import known_packs
from cloudaccel.service.page_table import money

_SHOWN = 4  # cheaper ones that are named; the others are counted
_ALLOWED = (COMPLIANT, ACCEPTED_RISK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the card says. `offer` None: nothing that was looked at is allowed, and `why` says so."""

    offer: Offer | None
    name: str
    price: str
    why: tuple[str, ...]
    cheaper: tuple[str, ...]
    more: int
    note: str


def packs_on_offer() -> list[tuple[str, str]]:
    """Ids and titles of the packs that are in force."""
    return [(pack.id, pack.title) for pack in shipped_packs().values() if pack.status not in NOT_LAW_YET]


def judge_of(packs: tuple[str, ...], headquarters: str | None, users: str | None) -> Judge | None:
    """A judge by packs of the product; None when none is named. A file of this machine is no pack here.

    Raises
    ------
    UnknownName
        If no pack that ships with the product has such an id.
    """
    if not packs:
        return None
    return judge_by(Rules(packs=known_packs(packs), headquarters=headquarters, users=users))


def make_card(answer: Quote, judge: Judge | None) -> Card:
    """The card of an answer; `answer` has its offers in order and examples of what the filters hid."""
    ranked = [offer for offer in answer.offers if not offer.apart]
    verdicts = [None if judge is None else judge.verdict(placement_of(offer)) for offer in ranked]
    at = next((i for i, v in enumerate(verdicts) if v is None or v.state in _ALLOWED), None)
    best = None if at is None else ranked[at]
    cheaper = _forbidden(ranked[:at], verdicts) + _hidden(answer, best)
    return Card(
        offer=best,
        name=""
        if best is None
        else f"{best.provider} {best.zone or best.region} {best.instance}, {display_name(best)}",
        price="" if best is None else money(best.price_per_accelerator_hour, best.price.currency, best.price.currency),
        why=tuple(_why(answer, ranked, at, None if at is None else verdicts[at])),
        cheaper=tuple(cheaper[:_SHOWN]),
        more=max(0, len(cheaper) - _SHOWN),
        note="" if judge is None else DISCLAIMER,
    )


def _aged(offer: Offer, answer: Quote) -> str:
    if age_days(offer, answer.today) is None:
        return "dated after today" if offer.price.as_of else "of no date"
    return f"{age_text(offer, answer.today)} old"


def _why(answer: Quote, ranked: list[Offer], at: int | None, verdict: Verdict | None) -> list[str]:
    if at is None:
        if not ranked:
            return ["No offer with a usable price matches.", *answer.hints]
        return [f"None of the {len(ranked)} cheapest offers is compliant. What decides is named below."]
    best = ranked[at]
    each, hourly = best.price_per_accelerator_hour, best.price.amount
    total = (
        f"the cheapest of {answer.total:,} offers"
        if verdict is None
        else f"the cheapest compliant of {answer.total:,} offers"
    )
    said = [f"It is {total} per accelerator-hour{_next(ranked[at + 1 :], each)}."]
    sum_text = f"{money(hourly, best.price.currency)} an hour ÷ {best.count} accelerators"
    said.append(
        f"The price is {sum_text if best.count != 1 else 'for one accelerator'}, {best.price.status}, "
        f"{_aged(best, answer)}, from {best.price.source.name}."
    )
    if verdict is None:
        said.append("No rules were asked: choose them under “Rules” to see what is allowed.")
    else:
        said.append(
            f"{len(verdict.satisfied)} requirements are satisfied, by {', '.join(p for p, _, _ in verdict.packs)}."
        )
    return said


def _next(others: list[Offer], each: Decimal | None) -> str:
    dearer = next((o for o in others if o.price_per_accelerator_hour != each), None)
    price = None if dearer is None else dearer.price_per_accelerator_hour
    if dearer is None or price is None or not each:
        return ""
    more = (price / each - 1) * 100
    return f"; the next price is {money(price, dearer.price.currency)} (+{more:.0f} %, {dearer.provider})"


def _forbidden(ranked: list[Offer], verdicts: list[Verdict | None]) -> list[str]:
    lines: list[str] = []
    for offer, verdict in zip(ranked, verdicts, strict=False):
        if verdict is not None:
            state = "not decided" if verdict.state == "unknown" else "not allowed"
            lines.append(f"{_named(offer)}: {state} by {', '.join(verdict.deciding[:3])}")
    return list(dict.fromkeys(lines))


def _hidden(answer: Quote, best: Offer | None) -> list[str]:
    """Examples of hidden offers that would be cheaper than the best, with the filter that hid them."""
    limit = None if best is None else best.price_per_accelerator_hour
    words = {h.reason: h.text for h in answer.hidden}
    found: list[tuple[Decimal, str]] = []
    for reason, offers in answer.examples.items():
        for offer in offers:
            price = offer.price_per_accelerator_hour
            comparable = best is None or offer.price.currency == best.price.currency
            if price is not None and not offer.apart and comparable and (limit is None or price < limit):
                found.append((price, f"{_named(offer)}: hidden, {words.get(reason, reason)}"))
    return [text for _, text in sorted(found)]


def _named(offer: Offer) -> str:
    price = money(offer.price_per_accelerator_hour, offer.price.currency)
    return f"{price} at {offer.provider} {offer.zone or offer.region} {offer.instance}"
