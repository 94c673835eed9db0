"""Ways and months under rules: the place that an option has, and what may be recommended."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from cloudaccel.decide.options import OptionSpec
from cloudaccel.errors import UnknownName
from cloudaccel.facts import places
from cloudaccel.model import Offer
from cloudaccel.model.verdict import ACCEPTED_RISK, COMPLIANT, Verdict

if TYPE_CHECKING:
    from cloudaccel.compliance import Judge, Placement

# Operations of a training run (None: no training, or not known) -> packs made ready for it.
JudgeFor = Callable[[float | None], "Judge"]
OWN = "own"  # the seller of owned machines in the table of places


def may_be_chosen(verdict: Verdict | None) -> bool:
    """Whether a way may be recommended: nothing judged it, or its rules are satisfied. Unknown is not satisfied."""
    return verdict is None or verdict.state in (COMPLIANT, ACCEPTED_RISK)


def judge_for(make: JudgeFor) -> JudgeFor:
    """The same judges, each made once."""
    return lru_cache(maxsize=32)(make)


def verdict_of_option(
    judge: JudgeFor, spec: OptionSpec, ids: frozenset[str], country: str | None, offer: Offer | None
) -> Verdict:
    """What the rules say of an option: of the offer that was found, else of the place that it names.

    Parameters
    ----------
    country
        Where owned machines stand; of other ways it says nothing.
    """
    from cloudaccel.compliance import placement_of  # heavy tables, only for who asks to be judged

    placement = placement_of(offer) if offer is not None else named_place(spec, ids, country)
    return judge(training_flop(spec)).verdict(placement)


def training_flop(spec: OptionSpec) -> float | None:
    """Operations of a pre-training whose size is given, 6 x parameters x tokens; None where nobody says."""
    params, tokens = spec.likely("params"), spec.likely("tokens")
    if spec.kind != "pretrain" or params is None or tokens is None:
        return None
    return 6.0 * float(params) * float(tokens)


def named_place(spec: OptionSpec, ids: frozenset[str], country: str | None) -> "Placement":
    """The place that the words of an option name; what they leave open is unknown."""
    from cloudaccel.compliance import Placement  # heavy tables, only for who asks to be judged
    from cloudaccel.compliance.placement import deployment_of

    accelerator = next(iter(ids)) if len(ids) == 1 else None
    if spec.kind == "own":
        return Placement(
            provider=OWN, partition=OWN, region=None, country=_country(spec.words.get("country") or country),
            deployment="on_prem", service="gpu", accelerator=accelerator,
        )  # fmt: skip
    provider = _provider(spec.place or spec.words.get("provider", ""))
    region = places.region(provider, spec.words["region"]) if provider and "region" in spec.words else None
    partition = region.partition if region else None
    return Placement(
        provider=provider, partition=partition,
        region=region.name if region else None,
        country=region.country if region else _country(spec.words.get("country")),
        deployment=deployment_of(provider, partition or "") if provider else None,
        service="ml_service" if spec.kind in ("api", "managed") else "gpu",
        accelerator=accelerator,
    )  # fmt: skip


def _provider(name: str) -> str | None:
    try:
        return places.resolve_provider(name) if name else None
    except UnknownName:
        return None


def _country(name: str | None) -> str | None:
    """ISO code of one country; None for none, for several, and for what the table does not know (a state's tariff)."""
    try:
        found = places.resolve_countries(name) if name else frozenset[str]()
    except UnknownName:
        return None
    return next(iter(found)) if len(found) == 1 else None


def judged_words(verdict: Verdict) -> str:
    """A cell: ``satisfied``, ``NOT allowed``, or ``unknown``, with what decides."""
    if verdict.state == COMPLIANT:
        return "satisfied"
    if verdict.state == ACCEPTED_RISK:
        return "risk accepted"
    return "NOT allowed" if verdict.failed else "unknown"


def judged_reasons(verdict: Verdict) -> str:
    """Why it is not satisfied, and what would settle or mend it."""
    reasons = [f"{f.rule}: {f.why} [{f.cite}]" for f in verdict.failed or verdict.unknown]
    settle = list(dict.fromkeys(f.remedy for f in verdict.failed or verdict.unknown if f.remedy))
    if not verdict.failed and verdict.asks:
        settle.append(f"state --stated {', '.join(verdict.asks)}")
    return "; ".join(reasons) + (f". To settle it: {'; '.join(settle)}" if settle else "")


def duty_lines(verdict: Verdict) -> list[str]:
    """What the rules ask of whoever runs the work; no duty forbids a place."""
    return [f"{'Duty' if f.effect == 'oblige' else 'Advice'} {f.rule}: {f.why} [{f.cite}]" for f in verdict.obligations]


__all__ = [
    "JudgeFor", "duty_lines", "judge_for", "judged_reasons", "judged_words", "may_be_chosen", "named_place",
    "training_flop", "verdict_of_option",
]  # fmt: skip
