"""Rules over places: which packs there are, what they say about a place, and a judge for the planner."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

from cloudaccel.compliance import (
    Assertion,
    Circumstances,
    Judge,
    OrganisationFacts,
    Pack,
    Placement,
    WorkloadFacts,
    load_packs,
    organisation_facts,
    placement_of,
    vocabulary,
    with_always_on,
)
from cloudaccel.compliance.from_flags import flag_packs
from cloudaccel.compliance.placement import NO_ACCELERATOR, deployment_of, service_of
from cloudaccel.compliance.statements import Stated, latest_day, read_statements, stated_of, stated_roles, to_json
from cloudaccel.compliance.tables import SATISFYING
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.facts import expressions, places
from cloudaccel.model import Offer
from cloudaccel.model.plan import Judgement
from cloudaccel.model.verdict import ACCEPTED_RISK, COMPLIANT, NON_COMPLIANT, UNKNOWN, Verdict
from cloudaccel.settings import load_settings, statements_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What to judge by: packs (ids or files) and what the user states. None is "not said", ``none`` is a statement.

    Attributes
    ----------
    headquarters, sector, users
        Country of the ultimate parent; such as ``bank``; countries of the users, or ``none`` outside those of the work.
    data
        Classes of data, such as ``personal_eu``, or ``none``.
    stated
        Statements such as ``baa:SELLER``: they satisfy the rule that asks for them, and nothing else. Or where a role
        of the data is: ``storage=DE,FR``, ``keys=none``.
    operator_jurisdiction, require_cert
        Country or group that the seller must be seated in and owned from; attestations that it must hold.
    file
        What the file of statements holds; None: it is read from where the settings say.
    always
        Also judge by the packs that are always on (export control, sanctions, the AI Act's duty).
    """

    packs: tuple[str, ...] = ()
    headquarters: str | None = None
    sector: str | None = None
    users: str | None = None
    data: tuple[str, ...] | None = None
    stated: tuple[str, ...] = ()
    allow_status: tuple[str, ...] = ()
    operator_jurisdiction: str | None = None
    require_cert: tuple[str, ...] = ()
    always: bool = True
    file: Stated | None = None

    def loaded(self) -> tuple[Pack, ...]:
        """The packs, those that flags stand for, and those that are always on."""
        named = load_packs(self.packs, allow_status=self.allow_status)
        packs = (*named, *flag_packs(self.operator_jurisdiction, self.require_cert))
        return with_always_on(packs) if self.always else packs

    @property
    def named(self) -> bool:
        """Whether somebody asked for a rule, beyond those that are always on."""
        return bool(self.packs or self.operator_jurisdiction or self.require_cert)

    def completed(self, policy: Mapping[str, str]) -> "Rules":
        """The same with what the `policy` of a job says: its packs are added, its facts fill what was not said."""
        said: dict[str, Any] = {}
        for name, field in _OF_JOB.items():
            own = getattr(self, field)
            if name in policy and (not own or field in _RESTRICTING):
                words = tuple(word.strip() for word in policy[name].split(","))
                said[field] = tuple(dict.fromkeys((*(own or ()), *words))) if field in _SEVERAL else policy[name]
        return replace(self, **said)

    def settled(self) -> "Rules":
        """The same, with what was not said taken from the settings (headquarters, sector, users)."""
        own = load_settings()
        return replace(
            self,
            headquarters=self.headquarters or own["headquarters"] or None,
            sector=self.sector or own["sector"] or None,
            users=self.users or own["users"] or None,
            file=read_statements(statements_path()) if self.file is None else self.file,
        )

    def plain(self) -> dict[str, Any]:
        """The same as JSON values, for a lock; `rules_of_lock` reads them."""
        return {**asdict(self), "file": to_json(self.file or Stated())}

    def organisation(self) -> OrganisationFacts:
        """The facts about the organisation."""
        given = {"headquarters": self.headquarters, "sector": self.sector, "users": self.users}
        return organisation_facts({name: value for name, value in given.items() if value})


# Key under `policy` of a job -> field.
_OF_JOB = {
    "packs": "packs", "headquarters": "headquarters", "users": "users", "sector": "sector", "data-class": "data",
    "stated": "stated", "operator-jurisdiction": "operator_jurisdiction", "require-cert": "require_cert",
    "allow-status": "allow_status",
}  # fmt: skip
_SEVERAL = frozenset({"packs", "data", "stated", "require_cert", "allow_status"})
_RESTRICTING = frozenset({"packs", "require_cert"})  # a flag never lifts a rule of the job


def judge_by(
    rules: Rules, *, training_flop: float | None = None, tuning_flop: float | None = None, today: date | None = None
) -> Judge:
    """The packs made ready for any number of places; `today` is the clock's day (UTC) when not given."""
    sector = rules.sector  # as it was said of this question, which the settings are not
    rules = rules.settled()
    packs, stated = rules.loaded(), rules.file or Stated()
    data = None if rules.data is None else vocabulary.data_classes(rules.data, packs)
    roles, words = stated_roles(rules.stated)
    needs = [vocabulary.canonical_need(word, packs) for word in words]
    day = today or datetime.now(UTC).date()
    seen = latest_day(statements_path()) if today is None else None
    late = (
        [f"the clock says {day}, but something was stated on {seen}: judged as of then"] if seen and seen > day else []
    )
    day = max(day, seen or day)
    work = WorkloadFacts(
        data_classes=data,
        training_flop=training_flop,
        tuning_flop=tuning_flop,
        roles=roles,
    )
    around = Circumstances(
        workload=work,
        organisation=rules.organisation(),
        assertions=(
            *(replace(entry, need=vocabulary.canonical_need(entry.need, packs)) for entry in stated.statements),
            *(Assertion(need=need, note="on the command line") for need in needs),
        ),
        waivers=stated.waivers,
        today=day,
    )
    unread = sector and not any(vocabulary.SECTOR in pack.applies_if for pack in packs)
    late += [f"sector {sector} counts for nothing here: no pack judged by asks for one"] if unread else []
    notes = (*late, *vocabulary.unheard(needs, packs), *vocabulary.not_asked(data, rules.sector, packs))
    return Judge(packs, around, warnings=notes)


def rules_of_lock(body: Mapping[str, Any]) -> Rules:
    """The rules that a plan was made by, from its lock. A lock is an untrusted file: what is odd in it is refused.

    Raises
    ------
    ValueError, TypeError, KeyError
        If it is not what `Rules.plain` writes.
    """
    given: dict[str, Any] = {
        key: tuple(cast(list[str], value)) if isinstance(value, list) else value for key, value in body.items()
    }
    given["file"] = stated_of(body["file"])
    return Rules(**given)


def explain_place(judge: Judge, place: str, accelerator: str | None = None) -> Verdict:
    """What the rules say of ``PROVIDER:REGION`` with an accelerator (an expression, or ``none``; None: not said).

    Of machines of one's own the place is ``own:COUNTRY``.

    Raises
    ------
    UnknownName
        If the tables know no such seller, region or accelerator.
    """
    seller, _, name = place.partition(":")
    provider = places.resolve_provider(seller)
    item = _accelerator(accelerator)
    if places.providers()[provider].kind == "owned":
        return judge.verdict(_own_place(provider, name, item))
    found = places.region(provider, name)
    if found is None and sum(seller == provider for seller, _ in places.regions()) <= 1:  # none, or "global"
        return judge.verdict(_in_country(provider, name, item))
    if found is None:
        raise _no_region(provider, name)
    return judge.verdict(
        Placement(
            provider=provider,
            partition=found.partition,
            region=found.name,
            country=found.country,
            deployment=deployment_of(provider, found.partition),
            service=None if item is None else service_of("vm", item),
            accelerator=item,
        )
    )


def _in_country(provider: str, name: str, item: str | None) -> Placement:
    """A place of a seller whose regions no table has: by its country, with the region not known."""
    parts = places.resolve_partitions(provider)
    partition = next(iter(parts))[1] if len(parts) == 1 else None
    try:
        countries = places.resolve_countries(name) if name else frozenset[str]()
    except UnknownName:
        countries = frozenset[str]()
    if len(countries) != 1:
        raise UnknownName(
            f"the tables have no region {name!r} of {provider}. Name the country instead, such as {provider}:FR."
        )
    return Placement(
        provider=provider, partition=partition, region=None, country=next(iter(countries)),
        deployment=deployment_of(provider, partition or ""),
        service=None if item is None else service_of("vm", item), accelerator=item,
    )  # fmt: skip


def _own_place(provider: str, name: str, item: str | None) -> Placement:
    countries = places.resolve_countries(name) if name else frozenset[str]()
    if len(countries) != 1:
        raise QueryError(f"{provider}:{name}: say in which country machines of your own stand, such as {provider}:DE.")
    return Placement(
        provider=provider, partition=provider, region=None, country=next(iter(countries)),
        deployment=deployment_of(provider, provider), service=None if item is None else service_of("owned", item),
        accelerator=item,
    )  # fmt: skip


def _no_region(provider: str, name: str) -> UnknownName:
    """The refusal, with the regions that are meant most likely as choices."""
    import difflib  # only for a name that is unknown

    known = sorted(region for seller, region in places.regions() if seller == provider)
    text = f"{provider} has no region {name!r} in the tables, which have {len(known)}. Write it as PROVIDER:REGION."
    return UnknownName(text, choices=difflib.get_close_matches(name, known, n=8, cutoff=0.3) or known)


def _accelerator(text: str | None) -> str | None:
    if text is None or text == NO_ACCELERATOR:
        return text
    ids = {identity for term in expressions.parse_expression(text) for identity in term.accelerator_ids}
    return ids.pop() if len(ids) == 1 else None  # several that the rules may tell apart: not known which


def row_judge(judge: Judge, *, named: bool = True) -> Callable[[Sequence[Offer]], list[Judgement]]:
    """The judge as the planner asks it. Without a pack that was `named`, an open question about the organisation is
    no reason not to rank (``unanswered``); with one, every unknown is.
    """

    def judged(offers: Sequence[Offer]) -> list[Judgement]:
        return [
            judgement_of(
                judge.verdict(placement_of(offer)), named=named, surcharges=surcharges(offer.provider, offer.partition)
            )
            for offer in offers
        ]

    surcharges = _surcharges(judge)
    return judged


def judgement_of(verdict: Verdict, *, named: bool, surcharges: tuple[tuple[str, Decimal], ...] = ()) -> Judgement:
    """A verdict as the planner takes it; see `row_judge` for `named`."""
    asked_only = all(f.asks and all(ask in _ORGANISATION for ask in f.asks) for f in verdict.unknown)
    state = UNANSWERED if verdict.state == UNKNOWN and not named and asked_only else verdict.state
    return Judgement(state, verdict.deciding, verdict.asks, surcharges)


UNANSWERED = "unanswered"
_ORGANISATION = frozenset({"headquarters=COUNTRY", "users=COUNTRIES"})


def _surcharges(judge: Judge) -> Callable[[str, str], tuple[tuple[str, Decimal], ...]]:
    """What the regimes that are judged by add to the bill of a seller, as shares of its compute."""
    rates: dict[tuple[str, str], tuple[tuple[str, Decimal], ...]] = {}
    packs = {pack.id for pack in judge.packs}
    for effect in judge.tables.effects:
        known = effect.fact.grade in SATISFYING and effect.percent is not None
        if effect.effect == "surcharge" and effect.pack in packs and known:
            key, share = (effect.provider, effect.partition), Decimal(effect.percent or 0) / 100
            rates[key] = (*rates.get(key, ()), (effect.pack, share)) if share else rates.get(key, ())
    return lambda provider, partition: rates.get((provider, partition), ())


ALLOWED = (COMPLIANT, ACCEPTED_RISK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the rules leave of a list of offers.

    Attributes
    ----------
    allowed
        Offers on which every rule is satisfied on the facts given, in the order in which they came.
    verdicts
        By offer id.
    excluded
        Why others are left out: deciding rule and state -> offers, cheapest first.
    cheapest
        The first of all that can be ranked, rules or not; what the rules cost is the difference to the first allowed.
    cheapest_unknown
        The first of those that only a fact or a statement keeps out, when it comes before the first allowed.
    """

    judge: Judge
    allowed: tuple[Offer, ...]
    verdicts: Mapping[str, Verdict]
    excluded: Mapping[tuple[str, str], tuple[Offer, ...]]
    cheapest: Offer | None
    cheapest_unknown: Offer | None


def judge_offers(judge: Judge, offers: Sequence[Offer]) -> Judged:
    """Judge offers that are ranked already, best first."""
    verdicts = {offer.id: judge.verdict(placement_of(offer)) for offer in offers}
    excluded: dict[tuple[str, str], list[Offer]] = {}
    for offer in offers:
        verdict = verdicts[offer.id]
        if verdict.state not in ALLOWED:
            excluded.setdefault((verdict.deciding[0], verdict.state), []).append(offer)
    ranked = [offer for offer in offers if not offer.apart]
    first = next((n for n, offer in enumerate(ranked) if verdicts[offer.id].state in ALLOWED), len(ranked))
    before = (o for o in ranked[:first] if verdicts[o.id].state != NON_COMPLIANT)
    return Judged(
        judge=judge,
        allowed=tuple(offer for offer in offers if verdicts[offer.id].state in ALLOWED),
        verdicts=verdicts,
        excluded={key: tuple(found) for key, found in excluded.items()},
        cheapest=ranked[0] if ranked else None,
        cheapest_unknown=next(before, None),
    )
