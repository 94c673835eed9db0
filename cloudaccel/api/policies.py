"""Questions about rules: what to ask whom, what a new version of a pack changes, and what was stated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal

from cloudaccel.api.judging import Rules, judge_by, judge_offers
from cloudaccel.api.quoting import quote
from cloudaccel.compliance import Check, Pack, Rule, load_packs
from cloudaccel.model import Offer
from cloudaccel.model.verdict import UNKNOWN

_ANY_STATUS = ("draft", "proposed", "not_enforced", "withdrawn")


@dataclass(frozen=True, slots=True)
class Question:
    """A statement that could change the cheapest choice.

    Attributes
    ----------
    need
        As ``policy assert`` takes it, or ``NAME=…`` for a fact that a flag or the configuration file gives.
    offer
        The cheapest offer that it would help to allow; `with_others` are needed beside it, or instead of it.
    rules
        The rules that ask for it.
    saves
        Per accelerator-hour, less than the cheapest that is allowed now; None: nothing is allowed now.
    """

    need: str
    offer: Offer
    with_others: tuple[str, ...]
    rules: tuple[str, ...]
    saves: Decimal | None


def questions(
    expression: str, rules: Rules, *, catalog: str | None = None, price_file: str | None = None
) -> tuple[Question, ...]:
    """The statements that could change the cheapest choice of an accelerator expression, best first; no others."""
    whole = quote(expression, limit=None, catalog=catalog, price_file=price_file)
    judged = judge_offers(judge_by(rules, today=whole.today), [o for o in whole.offers if not o.apart])
    best = judged.allowed[0] if judged.allowed else None
    limit = best.price_per_accelerator_hour if best else None
    found: dict[str, Question] = {}
    for offer in whole.offers:
        verdict, price = judged.verdicts.get(offer.id), offer.price_per_accelerator_hour
        if verdict is None or verdict.state != UNKNOWN or price is None or (limit is not None and price >= limit):
            continue
        if not all(finding.asks for finding in verdict.unknown):
            continue  # one of its unknowns cannot be settled by anything that you say
        for need in verdict.asks:
            others = tuple(other for other in verdict.asks if other != need)
            saves = None if limit is None else limit - price
            asking = tuple(finding.rule for finding in verdict.unknown if need in finding.asks)
            found.setdefault(need, Question(need, offer, others, asking, saves))
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two packs: ids of rules that are new, gone, or say something else (and in which fields).

    `verdicts` counts offers by (state before, state after), where it changes; `offers` are examples.
    """

    old: Pack
    new: Pack
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    verdicts: Mapping[tuple[str, str], tuple[Offer, ...]]

    @property
    def same(self) -> bool:
        """Whether nothing differs but perhaps the words around the rules."""
        return not (self.added or self.removed or self.changed)


def difference(
    old: str, new: str, rules: Rules, *, expression: str | None = None, catalog: str | None = None,
    price_file: str | None = None,
) -> Difference:  # fmt: skip
    """What pack `new` (an id or a file) changes over `old`, and for which offers of `expression` a verdict changes."""
    offers = () if expression is None else quote(
        expression, limit=None, market="any", catalog=catalog, price_file=price_file
    ).offers  # fmt: skip
    (before, *_), (after, *_) = (load_packs([name], allow_status=_ANY_STATUS) for name in (old, new))
    was, is_now = ({rule.id: rule for rule in pack.rules} for pack in (before, after))
    return Difference(
        before,
        after,
        tuple(sorted(set(is_now) - set(was))),
        tuple(sorted(set(was) - set(is_now))),
        {name: d for name in sorted(set(was) & set(is_now)) if (d := _differing(was[name], is_now[name]))},
        _changes(old, new, rules, offers),
    )


def _differing(old: Rule, new: Rule) -> tuple[str, ...]:
    names = (field.name for field in fields(Rule))
    return tuple(n for n in names if _comparable(getattr(old, n)) != _comparable(getattr(new, n)))


def _comparable(value: object) -> object:
    if isinstance(value, Check):
        return value.name, dict(value.arguments), [_comparable(part) for part in value.of]
    return value


def _changes(old: str, new: str, rules: Rules, offers: Sequence[Offer]) -> Mapping[tuple[str, str], tuple[Offer, ...]]:
    before, after = (_states(name, rules, offers) for name in (old, new))
    found: dict[tuple[str, str], tuple[Offer, ...]] = {}
    for offer in offers:
        pair = before[offer.id], after[offer.id]
        if pair[0] != pair[1]:
            found[pair] = (*found.get(pair, ()), offer)
    return found


def _states(name: str, rules: Rules, offers: Sequence[Offer]) -> Mapping[str, str]:
    from dataclasses import replace

    judge = judge_by(replace(rules, packs=(name,), allow_status=_ANY_STATUS))
    return {identity: verdict.state for identity, verdict in judge_offers(judge, offers).verdicts.items()}
