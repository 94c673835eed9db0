"""A quote with rules: what they leave, what each of them hid, and what would settle the cheapest that is unknown."""

from collections.abc import Iterator
from dataclasses import replace

from cloudaccel.api.judging import Judged, Rules, judge_by, judge_offers
from cloudaccel.api.quoting import Notice, Quote
from cloudaccel.catalog.query import EXAMPLES
from cloudaccel.compliance import conflicts
from cloudaccel.model import Hidden, Offer
from cloudaccel.model.verdict import UNKNOWN

_WORDS = {True: "not known under {}", False: "not allowed by {}"}


def judged_quote(whole: Quote, rules: Rules, limit: int | None) -> Quote:
    """`whole`, a quote of everything, with what `rules` leave of it: the first `limit` offers.

    Raises
    ------
    QueryError, ConfigError
        If the rules cannot be read.
    """
    judge = judge_by(rules, today=whole.today)
    judged = judge_offers(judge, whole.offers)
    hidden = {f"policy:{rule}:{state}": (_words(rule, state), offers) for (rule, state), offers in _most(judged)}
    shown = judged.allowed[:limit]
    ids = {offer.id for offer in shown}
    warnings = (Notice(code="policy", text=text) for text in judge.warnings)
    return replace(
        whole,
        query=replace(whole.query, limit=limit),
        offers=shown,
        total=len(judged.allowed),
        hidden=(*whole.hidden, *(Hidden(code, len(offers), text) for code, (text, offers) in hidden.items())),
        notices=(*(n for n in whole.notices if n.offer is None or n.offer in ids), *warnings),
        examples={**whole.examples, **{code: offers[:EXAMPLES] for code, (_, offers) in hidden.items()}},
        hints=tuple(_hints(judged)) if whole.total else whole.hints,
        judged=judged,
    )


def _most(judged: Judged) -> list[tuple[tuple[str, str], tuple[Offer, ...]]]:
    """What was left out, the largest part first."""
    return sorted(judged.excluded.items(), key=lambda item: (-len(item[1]), item[0]))


def _words(rule: str, state: str) -> str:
    return _WORDS[state == UNKNOWN].format(rule)


def _hints(judged: Judged) -> Iterator[str]:
    """What would settle the cheapest that is only unknown, and so make it one of the answers."""
    if not judged.allowed:
        for one, other in conflicts(list(judged.verdicts.values())):
            yield f"{one} and {other} leave no place together that is known to satisfy both; each alone leaves some"
    offer = judged.cheapest_unknown
    if offer is None:
        return
    asks = judged.verdicts[offer.id].asks
    price = offer.price_per_accelerator_hour
    cost = "price unknown" if price is None else f"{price:.4g} {offer.price.currency} per accelerator-hour"
    settle = f"would settle it: {', '.join(asks)}" if asks else "no statement of yours would settle it"
    yield f"{offer.provider} {offer.region} {offer.instance} is unknown, {cost}; {settle}"
