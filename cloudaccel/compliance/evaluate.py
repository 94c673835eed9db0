"""Packs x placement -> verdict."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import chain, combinations
from operator import attrgetter
from typing import NamedTuple, cast

from cloudaccel.compliance.case import Answer, Case
from cloudaccel.compliance.checks import ask, fields_seen
from cloudaccel.compliance.circumstances import (
    Assertion,
    Circumstances,
    OrganisationFacts,
    Waiver,
    WorkloadFacts,
    needs,
)
from cloudaccel.compliance.kleene import Truth, both, given, negate, truth
from cloudaccel.compliance.packs import Check, Pack, Rule
from cloudaccel.compliance.placement import Placement, placement_of
from cloudaccel.compliance.tables import Tables, shipped_tables
from cloudaccel.errors import ConfigError
from cloudaccel.model import Offer
from cloudaccel.model.verdict import ACCEPTED_RISK, COMPLIANT, NON_COMPLIANT, UNKNOWN, Finding, Verdict

_Key = Callable[[Placement], object]


class _Ready:
    """One rule with its pack, what of a placement it can see, and its answers so far."""

    def __init__(self, pack: Pack, rule: Rule, applies: Answer) -> None:
        self.pack = pack
        self.rule = rule
        self.applies = applies
        names = set(fields_seen(rule.check))
        if rule.unless_deployment:
            names.add("deployment")
        self.fields = tuple(sorted(names))


class _Answers(NamedTuple):
    """What some rules say of a place, the values of those required and open, and whether any was accepted."""

    findings: list[Finding]
    open: frozenset[str]
    accepted: bool


class _Alike:
    """Rules that see the same fields of a placement, by their places in the verdict, and their answers so far."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        self.key: _Key = attrgetter(*fields) if fields else lambda _: None
        self.rules: list[_Ready] = []
        self.answers: dict[object, _Answers] = {}


class Judge:
    """Packs made ready for many placements: a rule is asked once for all that it cannot tell apart.

    Raises
    ------
    ConfigError
        If two packs have a rule of one id, or a rule replaces one that is not there or leaves no room.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        circumstances: Circumstances,
        tables: Tables | None = None,
        *,
        warnings: Sequence[str] = (),
    ) -> None:
        self.packs = tuple(packs)
        self.circumstances = circumstances
        self.tables = tables or shipped_tables()
        self.asserted = needs(circumstances.assertions, circumstances.today)
        self.waivers = _valid_waivers(circumstances)
        self.identities = tuple((pack.id, pack.version, pack.digest) for pack in packs)
        replaced = _replaced(packs)
        self.ready = sorted(_ready(packs, replaced, circumstances), key=lambda r: (r.pack.id, r.rule.id))
        idle = {one.pack.id: one.applies.why for one in self.ready if one.applies.value == "F"}
        self.warnings = (
            *(text for pack in packs for text in _warnings(pack, circumstances.today)),
            *(f"pack {name} does not apply ({why}): nothing was judged by it" for name, why in idle.items()),
            *(f"pack {p.id} has duties only: it requires nothing of a place" for p in packs if _only_duties(p)),
            *warnings,
        )
        self.alike = _grouped(self.ready)
        # Findings come group by group; this is where each of them, in the order of `ready`, is then found.
        grouped = {id(one): number for number, one in enumerate(chain(*(group.rules for group in self.alike)))}
        self.places = [grouped[id(one)] for one in self.ready]
        fields = tuple(sorted({name for ready in self.ready for name in ready.fields}))
        self.key: _Key = attrgetter(*fields) if fields else lambda _: None
        self.known: dict[object, Verdict] = {}
        located = [
            c for one in self.ready if one.applies.value != "F" for c in one.rule.check.walk() if c.name == "location"
        ]
        self.uses_storage = bool(located)
        self.trusted = tuple(dict.fromkeys(role for check in located for role in _if_stated(check)))
        self.applying = tuple(pack for pack in packs if pack.id not in idle)
        self.requiring = tuple(pack for pack in self.applying if any(rule.effect == "require" for rule in pack.rules))
        required = {pack.id for pack in self.requiring}
        self.idle = tuple(pack.id for pack in packs if pack.id not in required)

    def verdict(self, placement: Placement) -> Verdict:
        """What the packs say about one placement."""
        if placement.roles:
            return self._verdict(placement, keep=False)
        key = self.key(placement)
        known = self.known.get(key)
        if known is None:
            known = self.known[key] = self._verdict(placement, keep=True)
        name = str(placement)
        return known if known.placement == name else replace(known, placement=name)

    def _verdict(self, placement: Placement, *, keep: bool) -> Verdict:
        found: list[Finding] = []
        values: frozenset[str] = frozenset()
        accepted = False
        for group in self.alike:
            answers = self._answers(group, placement, keep)
            found += answers.findings
            values |= answers.open
            accepted = accepted or answers.accepted
        findings = tuple(map(found.__getitem__, self.places))
        return Verdict(
            state=_state(values, accepted),
            placement=str(placement),
            findings=findings,
            packs=self.identities,
            warnings=self.warnings,
            assumptions=tuple(self._assumed(placement)),
            idle=self.idle,
        )

    def _assumed(self, placement: Placement) -> Iterator[str]:
        stated = {*placement.roles, *self.circumstances.workload.roles}
        beside = [role for role in placement.assumed_roles if self.uses_storage and role not in stated]
        if beside:
            yield f"{', '.join(beside)} stand where processing does"
        unseen = [role for role in self.trusted if role not in stated]
        if unseen:
            yield f"{', '.join(unseen)} see none of the data elsewhere (--stated {unseen[0]}=COUNTRIES says otherwise)"

    def _answers(self, group: _Alike, placement: Placement, keep: bool) -> _Answers:
        key = group.key(placement)
        found = group.answers.get(key) if keep else None
        if found is None:
            found = _answers([self._asked(ready, placement) for ready in group.rules])
            if keep:
                group.answers[key] = found
        return found

    def _asked(self, ready: _Ready, placement: Placement) -> Finding:
        rule, pack = ready.rule, ready.pack
        case = Case(placement, self.circumstances, self.asserted, self.tables, pack)
        answer = ask(rule.check, case)
        value, why, asks = answer.value, answer.why, answer.asks
        if rule.effect != "require" and rule.text and value == "T":
            why = rule.text if rule.check.name == "disclose" else f"{rule.text} ({why})"
        if rule.unless_deployment:
            value = given(negate(_excused(rule, placement)), value)
        if ready.applies.value != "T":
            value = _if_applies(ready.applies.value, value, rule.effect)
            if value == "U":
                why, asks = f"{ready.applies.why}; {why}", (*ready.applies.asks, *asks)
        if pack.expires is not None and self.circumstances.today > date.fromisoformat(pack.expires) and value == "T":
            value, why = "U", f"the pack expired on {pack.expires}: {why}"
        if value == "F" and rule.id in self.waivers:
            why = f"{why}; a risk is accepted only of what is unknown: that of {self.waivers[rule.id].by} lifts nothing"
        return Finding(
            rule=rule.id,
            pack=pack.id,
            value=value,
            effect=rule.effect,
            why=why,
            cite=rule.cite,
            remedy=rule.remedy,
            evidence=answer.evidence,
            asks=asks if value == "U" else (),
            accepted=self._accepted(rule, value),
        )

    def _accepted(self, rule: Rule, value: Truth) -> str:
        if rule.effect != "require" or value not in ("F", "U"):
            return ""
        opinion = self.asserted.get(f"legal_opinion:{rule.id}")
        if opinion is not None and rule.interpretive:
            return f"overridden by a legal opinion ({opinion.by or 'nobody named'}; {opinion.evidence or opinion.note})"
        waiver = self.waivers.get(rule.id)
        if waiver is not None and value == "U":
            return f"risk accepted by {waiver.by} until {waiver.until}: {waiver.reason}"
        return ""


def evaluate(
    packs: Sequence[Pack], placement: Placement, circumstances: Circumstances, tables: Tables | None = None
) -> Verdict:
    """What `packs` say about one placement, on the facts given."""
    return Judge(packs, circumstances, tables).verdict(placement)


def judge(
    offers: Sequence[Offer],
    packs: Sequence[Pack],
    workload: WorkloadFacts,
    organisation: OrganisationFacts,
    assertions: Sequence[Assertion] = (),
    *,
    waivers: Sequence[Waiver] = (),
    today: date,
) -> list[Verdict]:
    """One verdict for each offer, in order; what the rules cannot tell apart is asked once."""
    circumstances = Circumstances(
        workload=workload,
        organisation=organisation,
        assertions=tuple(assertions),
        waivers=tuple(waivers),
        today=today,
    )
    ready = Judge(packs, circumstances)
    return [ready.verdict(placement_of(offer)) for offer in offers]


def conflicts(verdicts: Sequence[Verdict]) -> tuple[tuple[str, str], ...]:
    """Pairs of packs that leave no place together, though each of them alone leaves some; open verdicts aside."""
    failing = [{f.pack for f in verdict.failed} for verdict in verdicts if verdict.state != UNKNOWN]
    packs = sorted(set[str]().union(*failing)) if failing else []
    some = [pack for pack in packs if any(pack not in failed for failed in failing)]
    return tuple(pair for pair in combinations(some, 2) if all(failed & set(pair) for failed in failing))


def _ready(packs: Sequence[Pack], replaced: frozenset[str], circumstances: Circumstances) -> Iterator[_Ready]:
    seen: set[str] = set()
    for pack in packs:
        applies = _applies(pack, circumstances)
        for rule in pack.rules:
            if rule.id in seen:
                raise ConfigError(f"pack {pack.id}: rule {rule.id} is in another pack too. Give it an id of its own.")
            seen.add(rule.id)
            if rule.id not in replaced:
                yield _Ready(pack, rule, applies)


def _grouped(ready: Sequence[_Ready]) -> tuple[_Alike, ...]:
    groups: dict[tuple[str, ...], _Alike] = {}
    for one in ready:
        groups.setdefault(one.fields, _Alike(one.fields)).rules.append(one)
    return tuple(groups.values())


def _replaced(packs: Sequence[Pack]) -> frozenset[str]:
    """Rules that a pack of the organisation stands its own reading for; only a reading may be replaced, not a rule."""
    by_id = {rule.id: rule for pack in packs for rule in pack.rules}
    found: set[str] = set()
    for pack in packs:
        for rule in pack.rules:
            if not rule.replaces:
                continue
            old = by_id.get(rule.replaces)
            if old is None or not old.interpretive:
                what = "is in none of the packs" if old is None else "leaves no room (it is not marked interpretive)"
                raise ConfigError(f"pack {pack.id}: {rule.id} replaces {rule.replaces}, which {what}. Only add rules.")
            found.add(rule.replaces)
    return frozenset(found)


_ASKED = {"data.classes": "data-class=NAME", "organisation.sector": "sector=NAME"}


def _applies(pack: Pack, circumstances: Circumstances) -> Answer:
    """Whether the pack applies; not known as soon as a fact that decides it was not given."""
    answers: list[Answer] = []
    for name, values in pack.applies_if.items():
        said = _facts(circumstances)[name]
        if said is None:
            answers.append(Answer("U", f"whether {pack.id} applies depends on {name}", (), (_ASKED[name],)))
        else:
            answers.append(
                Answer(truth(any(value in said for value in values)), f"{name}: {', '.join(said) or 'none'}")
            )
    value = both(a.value for a in answers) if answers else "T"
    decisive = [a for a in answers if a.value == value]
    asks = tuple(need for a in decisive for need in a.asks)
    return Answer(value, "; ".join(a.why for a in decisive), (), asks)


def _facts(circumstances: Circumstances) -> Mapping[str, tuple[str, ...] | None]:
    sector = circumstances.organisation.sector
    return {
        "data.classes": circumstances.workload.data_classes,
        "organisation.sector": None if sector is None else (sector,),
    }


def _if_applies(applies: Truth, value: Truth, effect: str) -> Truth:
    if effect != "require" and applies == "U" and value == "T":
        return "U"  # a duty arises only where its pack is known to apply
    return given(applies, value)


def _excused(rule: Rule, placement: Placement) -> Truth:
    deployment = placement.deployment
    return truth(None if deployment is None else deployment in rule.unless_deployment)


def _answers(findings: list[Finding]) -> _Answers:
    required = [f for f in findings if f.effect == "require"]
    values = frozenset(f.value for f in required if not f.accepted)
    return _Answers(findings, values, any(f.accepted for f in required))


def _state(values: frozenset[str], accepted: bool) -> str:
    if "F" in values:
        return NON_COMPLIANT
    if "U" in values:
        return UNKNOWN
    return ACCEPTED_RISK if accepted else COMPLIANT


def _only_duties(pack: Pack) -> bool:
    """Whether a pack that somebody named can be satisfied by any place, so that "satisfied" says nothing."""
    return not pack.always_on and all(rule.effect != "require" for rule in pack.rules)


def _if_stated(check: Check) -> tuple[str, ...]:
    return cast(tuple[str, ...], check.arguments.get("if_stated", ()))


def _valid_waivers(circumstances: Circumstances) -> dict[str, Waiver]:
    return {waiver.rule: waiver for waiver in circumstances.waivers if circumstances.today <= waiver.until}


def _warnings(pack: Pack, today: date) -> Iterator[str]:
    if today > date.fromisoformat(pack.review_by):
        yield f"pack {pack.id} {pack.version} was to be reviewed by {pack.review_by}: the law may have changed."
    if pack.expires is not None and today > date.fromisoformat(pack.expires):
        yield f"pack {pack.id} {pack.version} expired on {pack.expires}: nothing counts as satisfied any more."
    if pack.effective_from is not None and today < date.fromisoformat(pack.effective_from):
        yield f"pack {pack.id} is in force only from {pack.effective_from}; it was judged all the same."
    if pack.effective_to is not None and today > date.fromisoformat(pack.effective_to):
        yield f"pack {pack.id} was in force until {pack.effective_to}; it was judged all the same."
    if pack.status not in ("in_force", "organisation"):
        yield f"pack {pack.id} is {pack.status.replace('_', ' ')}, not law in force."
