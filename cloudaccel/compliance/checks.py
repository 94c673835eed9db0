"""The closed set of checks: each answers T, F, U or NA for a case, says why, and what would settle an unknown."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import cast

from cloudaccel.compliance import export_control
from cloudaccel.compliance.case import Answer, Case, graded, weakest
from cloudaccel.compliance.kleene import Truth, both, either, negate, truth
from cloudaccel.compliance.packs import Check
from cloudaccel.compliance.placement import NO_ACCELERATOR
from cloudaccel.compliance.tables import NEGATIVE, POSITIVE, REFUTING, Attestation, Fact, Owner, Registry
from cloudaccel.errors import UnknownName
from cloudaccel.facts import accelerators, places
from cloudaccel.model.verdict import Evidence

_IN_PROGRESS_DAYS = 365  # an announced audit that is not over within a year says nothing any more
_DEFAULT_EXPIRY_DAYS = 400
_GRADE_ORDER = ("A", "user", "B", "C")


def ask(check: Check, case: Case) -> Answer:
    """The answer of a check, combinations included."""
    return _CHECKS[check.name](check, case)


def _words(check: Check, name: str) -> tuple[str, ...]:
    return cast(tuple[str, ...], check.arguments.get(name, ()))


def _word(check: Check, name: str, default: str = "") -> str:
    return cast(str, check.arguments.get(name, default))


def _number(check: Check, name: str) -> float | None:
    return cast(float | None, check.arguments.get(name))


# -- combinations ------------------------------------------------------------------------------------------------------


def _joined(answers: Sequence[Answer], value: Truth) -> Answer:
    decisive = [a for a in answers if a.value == value] or list(answers)
    evidence = tuple(dict.fromkeys(e for a in decisive for e in a.evidence))
    asks = tuple(dict.fromkeys(need for a in answers if a.value == "U" for need in a.asks)) if value == "U" else ()
    return Answer(value, "; ".join(dict.fromkeys(a.why for a in decisive if a.why)), evidence, asks)


def _all_of(check: Check, case: Case) -> Answer:
    answers = [ask(part, case) for part in check.of]
    return _joined(answers, both(a.value for a in answers))


def _any_of(check: Check, case: Case) -> Answer:
    answers = [ask(part, case) for part in check.of]
    value = either(a.value for a in answers)
    return next(a for a in answers if a.value == "T") if value == "T" else _joined(answers, value)


def _not(check: Check, case: Case) -> Answer:
    answer = ask(check.of[0], case)
    return Answer(negate(answer.value), f"not: {answer.why}", answer.evidence, answer.asks)


# -- where, and whose --------------------------------------------------------------------------------------------------


def _location(check: Check, case: Case) -> Answer:
    answers: list[Answer] = []
    places: dict[tuple[str, Evidence], list[str]] = {}  # roles that stand in one country by one fact are one answer
    for role in (*_words(check, "roles"), *(r for r in _words(check, "if_stated") if case.countries(r) is not None)):
        countries = case.countries(role)
        if countries is None:
            answers.append(Answer("U", f"country of {role} is not known", (), _role_asks(role)))
        elif not countries:
            answers.append(Answer("T", f"no {role} elsewhere"))
        for code in countries or ():
            places.setdefault((code, case.country_evidence(role, code)), []).append(role)
    for (code, shown), roles in places.items():
        named = ", ".join(roles)
        answer = _within(check, case, f"{named} in {code}", code, replace(shown, fact=f"{named} {shown.fact}"))
        answers.append(_settled_by(_word(check, "settled_by"), case, answer))
    return _joined(answers, both(a.value for a in answers))


def _settled_by(need: str, case: Case, answer: Answer) -> Answer:
    """The answer, or the statement that settles what a country alone leaves open."""
    if not need or answer.value != "U":
        return answer
    return case.statement(need) or answer._replace(asks=(need,))


def _role_asks(role: str) -> tuple[str, ...]:
    return () if role == "processing" else (f"{role}=COUNTRIES",)


def _within(check: Check, case: Case, what: str, code: str, shown: Evidence) -> Answer:
    """Whether a country is in the groups of ``in``, or in none of those of ``not_in``."""
    inside = "in" in check.arguments
    names = _words(check, "in" if inside else "not_in")
    found = [case.member(code, name) for name in names]
    value = _membership(found, shown.grade, outside=not inside)
    if inside and value == "T":  # the groups that it is in; that it is not in the others settles nothing
        names, found = zip(*((n, f) for n, f in zip(names, found, strict=True) if f[0]), strict=True)
    evidence = (
        shown,
        *(fact.evidence(f"{code} as {n}") for n, (_, fact) in zip(names, found, strict=True) if fact.as_of),
    )
    listed = ", ".join(names)
    if inside:
        return Answer(value, f"{what}: {_IN[value]} {listed}", evidence)
    value = negate(value)
    return Answer(value, f"{what}: {_IN[negate(value)]} {listed}", evidence)


_IN = {"T": "in", "F": "not in", "U": "not known whether in", "NA": "not asked whether in"}


def _membership(found: Sequence[tuple[bool | None, Fact]], grade: str, *, outside: bool) -> Truth:
    """Kleene "or" over groups, as far as the evidence goes.

    What makes a rule true needs better evidence than what makes it false: for ``not_in`` (`outside`) that is being in
    none of the groups, for ``in`` being in one.
    """

    def enough(fact: Fact, known: bool) -> bool:
        return graded(known is not outside, weakest((grade, fact.grade))) != "U"

    values: list[Truth] = [truth(known if known is not None and enough(fact, known) else None) for known, fact in found]
    return either(values)


def _parent_country(check: Check, case: Case) -> Answer:
    roles = _words(check, "roles") or ("seat", "ultimate")
    if case.owned is None:
        return Answer("U", "whether the place is your own is not known")
    if case.owned:
        return _own_parent(check, case)
    chain = _chain(case)
    links = [owner for owner in chain or () if owner.role in roles]
    if not any(owner.role == "ultimate" for owner in links) and "ultimate" in roles:
        return Answer("U", f"who owns {case.party or 'the seller'} is not known")
    answers = [_link(check, case, owner) for owner in links]
    if _independent_hosts(case):
        answers.append(Answer("U", "machines belong to independent hosts that are not named"))
    return _joined(answers, both(a.value for a in answers))


def _own_parent(check: Check, case: Case) -> Answer:
    code = case.circumstances.organisation.headquarters
    if code is None:
        return Answer("U", "country of your ultimate parent is not given", (), ("headquarters=COUNTRY",))
    shown = Evidence(fact="headquarters", value=code, source="stated", as_of=None, grade="user")
    return _within(check, case, f"own place, parent in {code}", code, shown)


def _link(check: Check, case: Case, owner: Owner) -> Answer:
    what = f"{'ultimate parent' if owner.role == 'ultimate' else owner.role} {owner.holder}"
    if owner.country is None:
        return Answer("U", f"{what}: country not known", (owner.fact.evidence(what),))
    return _within(check, case, f"{what} ({owner.country})", owner.country, owner.fact.evidence(what))


def _chain(case: Case) -> tuple[Owner, ...] | None:
    provider = case.placement.provider
    return None if provider is None else case.tables.chain(provider, case.placement.partition)


def _independent_hosts(case: Case) -> bool:
    tier, seller = case.placement.tier, places.providers().get(case.placement.provider or "")
    if tier is None or tier == "community":
        return True
    return tier != "secure" and seller is not None and seller.kind == "marketplace"


def _ownership(check: Check, case: Case) -> Answer:
    """Shares held from outside the groups: each at most ``max_individual`` percent, together ``max_collective``."""
    if case.owned is not False:
        return Answer("U", "shares are not known")
    holders = [owner for owner in _chain(case) or () if owner.role == "holder"]
    evidence = tuple(owner.fact.evidence(f"share of {owner.holder}") for owner in holders)
    control = [owner for owner in _chain(case) or () if owner.role == "ultimate"]
    inside = [_link(check, case, owner) for owner in control]
    if both(a.value for a in inside) == "F":
        return _joined(inside, "F")
    if not holders or any(owner.max_percent is None for owner in holders) or both(a.value for a in inside) != "T":
        return Answer("U", "shares of other holders are not known", evidence)
    shares = [owner.max_percent or 0.0 for owner in holders if _outside(case, check, owner)]
    fits = max(shares, default=0.0) <= (_number(check, "max_individual") or 100) and sum(shares) <= (
        _number(check, "max_collective") or 100
    )
    grade = weakest(owner.fact.grade for owner in holders)
    value = "T" if fits and _reaches(grade, _word(check, "min_grade", "B")) else "U"
    return Answer(value, f"known holders from outside: at most {sum(shares):g} % together", evidence)


def _outside(case: Case, check: Check, owner: Owner) -> bool:
    code = owner.country
    return code is None or not any(case.member(code, name)[0] for name in _words(check, "in"))


def _reaches(grade: str, minimum: str) -> bool:
    return grade in _GRADE_ORDER and _GRADE_ORDER.index(grade) <= _GRADE_ORDER.index(minimum)


def _partition(check: Check, case: Case) -> Answer:
    name = case.placement.partition
    if name is None:
        return Answer("U", "which part of the seller it is, is not known")
    return Answer(truth(name in _words(check, "in")), f"partition {name}, allowed: {', '.join(_words(check, 'in'))}")


def _deployment(check: Check, case: Case) -> Answer:
    return _listed(check, "deployment", case.placement.deployment)


def _listed(check: Check, what: str, value: str | None, *also: str) -> Answer:
    if value is None:
        return Answer("U", f"{what} is not known")
    inside = "in" in check.arguments
    listed = any(
        v.casefold() == w.casefold() for w in _words(check, "in" if inside else "not_in") for v in (value, *also)
    )
    names = ", ".join(_words(check, "in" if inside else "not_in"))
    return Answer(truth(listed == inside), f"{what} {value}, {'allowed' if inside else 'excluded'}: {names}")


def _accelerator(check: Check, case: Case) -> Answer:
    name = case.placement.accelerator
    if name is None or name == NO_ACCELERATOR:
        return _listed(check, "accelerator", name)
    try:
        return _listed(check, "accelerator", name, accelerators.by_id(name).family)
    except UnknownName:
        return Answer("U", f"no row for accelerator {name}")


# -- what is held, signed or stated ------------------------------------------------------------------------------------


def _attestation(check: Check, case: Case) -> Answer:
    needed, any_one = _words(check, "all"), _words(check, "any")
    answers = [_held(check, case, name) for name in needed or any_one]
    value = both(a.value for a in answers) if needed else either(a.value for a in answers)
    return _joined(answers, value)


def _held(check: Check, case: Case, name: str) -> Answer:
    provider = case.placement.provider
    if provider is None or case.party is None:
        return Answer("U", f"{name}: who sells it is not known")
    found = case.tables.attestations.get((provider, name), ())
    rows: list[tuple[Attestation, Truth]] = [(row, _applies(row, case)) for row in found]
    registry = case.tables.registries.get(name)
    today = case.circumstances.today
    signs: list[tuple[Attestation, Truth, Truth | None]] = [
        (row, where, _sign(row, check, registry, today)) for row, where in rows if where != "F"
    ]
    shown = tuple(row.fact.evidence(f"attestation {name}{_scope(row)}") for row, _, _ in signs)
    need = f"evidence:{name}:{case.party}"
    value = _settled([(where, sign) for _, where, sign in signs])
    if value == "U" and not any(sign for _, _, sign in signs):
        absent = _absent(name, registry, case)
        if absent is not None:
            return absent
    if value == "F":
        return Answer("F", f"{name}: {', '.join(sorted({r.status for r, _, s in signs if s == 'F'}))}", shown)
    if value == "T":
        return Answer("T", f"{name} held, by dated evidence", shown)
    return case.statement(need) or Answer("U", f"{name}: {_doubt(signs)}", shown, (need,))


def _settled(signs: Sequence[tuple[Truth, Truth | None]]) -> Truth:
    """Evidence for and against: one kind only, and nothing that might speak against it, or it stays unknown."""
    sure: set[Truth] = {sign for where, sign in signs if where == "T" and sign}
    perhaps: set[Truth] = {sign for where, sign in signs if where == "U" and sign}
    if len(sure) != 1 or (perhaps - sure):
        return "U"
    return next(iter(sure))


def _doubt(signs: Sequence[tuple[Attestation, Truth, Truth | None]]) -> str:
    if not signs:
        return "nothing recorded for this place and service"
    if {sign for _, _, sign in signs} >= {"T", "F"}:
        return "the evidence conflicts"
    row = signs[0][0]
    return f"{row.status}, grade {row.fact.grade}, {row.fact.as_of or 'undated'}: not enough"


def _scope(row: Attestation) -> str:
    return f" ({'|'.join(row.services) or 'all services'}, {'|'.join(row.scope) or row.partition})"


def _applies(row: Attestation, case: Case) -> Truth:
    """Whether a row is about this place and service."""
    here = case.placement
    partition = truth(None if here.partition is None else here.partition == row.partition)
    service = truth(None if here.service is None else here.service in row.services) if row.services else "T"
    scope = either(_in_scope(entry, case) for entry in row.scope) if row.scope else "T"
    return both((partition, service, scope))


def _in_scope(entry: str, case: Case) -> Truth:
    kind, _, name = entry.rpartition(":")
    here = case.placement
    value = {"country": here.country, "tier": here.tier}.get(kind, here.region)
    return truth(None if value is None else value == name)


def _sign(row: Attestation, check: Check, registry: Registry | None, today: date) -> Truth | None:
    """T: it is held; F: it is not; None: the row settles neither (claim, low grade, undated, stale, other variant)."""
    age = _age_days(row.fact, today)
    expiry = registry.expire_age_days if registry else _DEFAULT_EXPIRY_DAYS
    if age is None:
        return None
    if row.status in NEGATIVE:
        limit = min(expiry, _IN_PROGRESS_DAYS) if row.status == "in_progress" else expiry
        return "F" if row.fact.grade in REFUTING and age <= limit else None
    variant, level = _word(check, "variant"), _number(check, "min_level")
    good = (
        row.status in POSITIVE and row.status != "claimed" and _reaches(row.fact.grade, _word(check, "min_grade", "B"))
    )
    fits = (not variant or row.variant == variant) and (level is None or (row.level is not None and row.level >= level))
    return "T" if good and fits and age <= expiry else None


def _age_days(fact: Fact, today: date) -> int | None:
    return None if fact.as_of is None else (today - date.fromisoformat(fact.as_of)).days


def _absent(name: str, registry: Registry | None, case: Case) -> Answer | None:
    """The answer that follows from not being on a list that names all holders; None when nothing follows.

    A row for another service or place of the same part shows that the list knows it: then absence proves nothing.
    """
    if registry is None or not registry.closed_world or registry.fact.grade not in REFUTING:
        return None
    shown = (registry.fact.evidence(f"registry of {name}"),)
    if not registry.adopted:
        return Answer("F", f"{name}: the scheme is not adopted, nobody can hold it", shown)
    age = _age_days(Fact("", "", registry.snapshot_as_of, "A"), case.circumstances.today)
    if age is None or age > registry.expire_age_days or case.placement.partition is None or case.owned is not False:
        return None
    rows = case.tables.attestations.get((case.placement.provider or "", name), ())
    if any(row.partition == case.placement.partition and row.status in POSITIVE for row in rows):
        return None
    return Answer("F", f"{name}: not on the {registry.registry} of {registry.snapshot_as_of}", shown)


def _not_status(check: Check, case: Case) -> Answer:
    """Whether the seller rules the use out. A row of any grade but U shows that it does not; no row shows nothing."""
    name, barred = _word(check, "attestation"), _words(check, "status")
    provider = case.placement.provider
    if provider is None:
        return Answer("U", f"{name}: who sells it is not known")
    rows = [(r, _applies(r, case)) for r in case.tables.attestations.get((provider, name), ())]
    shown = tuple(r.fact.evidence(f"{name}{_scope(r)}") for r, where in rows if where != "F")
    against = [(r, where) for r, where in rows if r.status in barred and where != "F" and r.fact.grade in REFUTING]
    if any(where == "T" for _, where in against):
        return Answer("F", f"{name}: {against[0][0].status} here", shown)
    allowed = any(where == "T" and r.status not in barred and r.fact.grade != "U" for r, where in rows)
    if against or not allowed:
        return Answer("U", f"{name}: not recorded whether it is ruled out here", shown)
    return Answer("T", f"{name}: not ruled out by the seller", shown)


def _stated(check: Check, case: Case) -> Answer:
    need = _word(check, "need")
    if "{provider}" in need:
        if case.party is None:
            return Answer("U", f"{need.partition(':')[0]}: with whom it would have to be is not known")
        need = need.replace("{provider}", case.party)
    return case.statement(need) or Answer("U", f"{need} is not stated", (), (need,))


# -- export control, thresholds, duties --------------------------------------------------------------------------------


def _ear_destination(check: Check, case: Case) -> Answer:
    return export_control.destination(case, _word(check, "list"))


def _ear_hq(check: Check, case: Case) -> Answer:
    return export_control.headquarters(case, _word(check, "list"))


def _threshold(check: Check, case: Case) -> Answer:
    fact = _word(check, "fact")
    work = case.circumstances.workload
    value = {"workload.training_flop": work.training_flop, "workload.tuning_flop": work.tuning_flop}[fact]
    if value is None:
        return Answer("U", f"{fact} is not given", (), (f"{fact}=NUMBER",))
    above, at_least = _number(check, "gt"), _number(check, "gte")
    reached = value > above if above is not None else value >= (at_least or 0)
    limit = above if above is not None else at_least
    return Answer(truth(reached), f"{fact} {value:.3g}, threshold {limit:.3g}")


def _disclose(_check: Check, _case: Case) -> Answer:
    return Answer("T", "to be done by whoever runs the work")


_CHECKS: dict[str, Callable[[Check, Case], Answer]] = {
    "all_of": _all_of,
    "any_of": _any_of,
    "not": _not,
    "location": _location,
    "parent_country": _parent_country,
    "ownership": _ownership,
    "partition": _partition,
    "deployment": _deployment,
    "accelerator": _accelerator,
    "attestation": _attestation,
    "not_status": _not_status,
    "contract": _stated,
    "personnel": _stated,
    "capability": _stated,
    "ear_destination": _ear_destination,
    "ear_hq": _ear_hq,
    "threshold": _threshold,
    "disclose": _disclose,
}

# What of a placement a check looks at: offers that agree in it share its answer.
_SEEN: dict[str, tuple[str, ...]] = {
    "location": ("whereabouts",),
    "parent_country": ("provider", "partition", "tier", "deployment"),
    "ownership": ("provider", "partition", "tier", "deployment"),
    "partition": ("partition",),
    "deployment": ("deployment",),
    "accelerator": ("accelerator",),
    "attestation": ("provider", "partition", "region", "country", "tier", "service", "deployment"),
    "not_status": ("provider", "partition", "region", "country", "tier", "service"),
    "contract": ("provider", "partition", "deployment"),
    "personnel": ("provider", "partition", "deployment"),
    "capability": ("provider", "partition", "deployment"),
    "ear_destination": ("country", "accelerator"),
    "ear_hq": ("accelerator", "deployment"),
}


def fields_seen(check: Check) -> frozenset[str]:
    """Names of the fields of `Placement`, roles aside, that the answer of a check can depend on."""
    parts: Iterable[frozenset[str]] = (fields_seen(part) for part in check.of)
    return frozenset(_SEEN.get(check.name, ())).union(*parts)
