"""Whether rules leave any machines of others: an answer that ``advise`` need not ask for, with what it rests on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date

from cloudaccel.api.judging import ALLOWED, Rules, judge_by
from cloudaccel.compliance import Placement
from cloudaccel.compliance.placement import OWNED, deployment_of
from cloudaccel.facts import places
from cloudaccel.model.advice import Derived
from cloudaccel.model.verdict import NON_COMPLIANT, UNKNOWN, Finding, Verdict

QUESTION = "cloud-allowed"
_SHOWN = 3


def cloud_allowed(
    rules: Rules, residency: str | None, given: str | None, *, today: date | None = None
) -> tuple[Derived | None, tuple[str, ...]]:
    """``no`` where the rules forbid every place of others in the tables, else None; and what they say beside it.

    That the rules named forbid none is no ``yes``: others may, so the question stays open then.

    Parameters
    ----------
    residency
        Area in which the places have to stand; None: anywhere. A place of unknown country is left out.
    given
        What the user answers; where it is not what was derived, it is kept beside it.

    Raises
    ------
    QueryError, ConfigError
        If the rules or the area cannot be read.
    """
    judge = judge_by(rules, today=today)
    area = None if residency is None else places.resolve_countries(residency)
    asked = [place for place in _others() if area is None or place.country in area]
    verdicts = [judge.verdict(place) for place in asked]
    if not judge.requiring:
        return None, judge.warnings
    within = "" if residency is None else f" in {residency}"
    if not verdicts:
        return None, (*judge.warnings, f"{QUESTION}: the tables have no place of others{within}: left open")
    failed = Counter(finding.rule for verdict in verdicts for finding in verdict.failed)
    if all(verdict.state == NON_COMPLIANT for verdict in verdicts):
        named = [rule for rule, _ in failed.most_common()]
        everywhere = [rule for rule in named if failed[rule] == len(verdicts)] or named[:_SHOWN]
        first: dict[str, Finding] = {}
        for finding in (finding for verdict in verdicts for finding in verdict.failed):
            first.setdefault(finding.rule, finding)
        by = tuple(first[rule] for rule in everywhere)
        where = f"none of {len(verdicts)} places of others in the tables{within} is allowed"
        return Derived(QUESTION, "no", given, where, by), judge.warnings
    return None, (*judge.warnings, f"{QUESTION}: {_left(verdicts, within)}")


def _left(verdicts: Sequence[Verdict], within: str) -> str:
    """What the rules leave, in words, where they do not forbid every place."""
    allowed = sum(verdict.state in ALLOWED for verdict in verdicts)
    if allowed:
        return f"{allowed} of {len(verdicts)} places of others{within} are allowed; say no if another rule forbids"
    unknown = [verdict.asks for verdict in verdicts if verdict.state == UNKNOWN]
    asks = [ask for ask in unknown[0] if all(ask in others for others in unknown)]
    settle = f" (each asks for {', '.join(asks)})" if asks else ""
    counted = f"of {len(verdicts)} places of others{within} none is shown to be allowed, {len(unknown)} are open"
    return f"not known: {counted}{settle}"


def _others() -> Iterator[Placement]:
    """Every place of the tables where machines of others stand: each region, and sellers of whom none is known."""
    regions = places.regions().values()
    for one in regions:
        place = _placement(one.provider, one.partition, one.name, one.country)
        if place.deployment not in OWNED:
            yield place
    known = {one.provider for one in regions}
    for name in places.providers():
        place = _placement(name, None, None, None)
        if name not in known and place.deployment not in OWNED:
            yield place


def _placement(provider: str, partition: str | None, region: str | None, country: str | None) -> Placement:
    return Placement(
        provider=provider, partition=partition, region=region, country=country,
        deployment=deployment_of(provider, partition or ""),
    )  # fmt: skip
