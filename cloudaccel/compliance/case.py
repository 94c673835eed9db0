"""One case: a placement under given circumstances, and what the tables say about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from cloudaccel.compliance.circumstances import Assertion, Circumstances
from cloudaccel.compliance.kleene import Truth
from cloudaccel.compliance.packs import Pack
from cloudaccel.compliance.placement import OWNED, Placement
from cloudaccel.compliance.tables import REFUTING, SATISFYING, Fact, Tables
from cloudaccel.facts import places
from cloudaccel.model.verdict import Evidence

_BY_STRENGTH = ("A", "user", "B", "C", "D", "U")


class Answer(NamedTuple):
    """What a check says: value, reason, the facts used, and what would settle an unknown."""

    value: Truth
    why: str
    evidence: tuple[Evidence, ...] = ()
    asks: tuple[str, ...] = ()


def weakest(grades: Iterable[str]) -> str:
    """The weakest of some grades; A when there are none."""
    return max(grades, key=_BY_STRENGTH.index, default="A")


def graded(value: bool | None, grade: str) -> Truth:
    """T or F as far as evidence of that grade goes, else U."""
    if value is None:
        return "U"
    if value:
        return "T" if grade in SATISFYING else "U"
    return "F" if grade in REFUTING else "U"


@dataclass(frozen=True)
class Case:
    """A placement, the pack whose rule is asked, and everything that is known."""

    placement: Placement
    circumstances: Circumstances
    asserted: Mapping[str, Assertion]
    tables: Tables
    pack: Pack

    @cached_property
    def owned(self) -> bool | None:
        """Whether the place is the organisation's own; None when the deployment is not known."""
        deployment = self.placement.deployment
        return None if deployment is None else deployment in OWNED

    @cached_property
    def party(self) -> str | None:
        """Whom a contract would be with: the seller, or that part of it which has its own contracts; None: not known.

        A signature for the public part of a seller says nothing about its government or China part.
        """
        provider, partition = self.placement.provider, self.placement.partition
        if self.owned:
            return provider
        if provider is None or partition is None:
            return None
        part = places.partitions().get(partition)
        plain = partition == provider if part is None else part.kind == "commercial"
        return provider if plain else partition

    def countries(self, role: str) -> tuple[str, ...] | None:
        """Countries of a role: the placement's own statement, then the workload's, then the organisation's users."""
        if role not in self.placement.roles:
            if role in self.circumstances.workload.roles:
                return self.circumstances.workload.roles[role]
            if role == "users":
                return self.circumstances.organisation.users
        return self.placement.countries(role)

    def country_evidence(self, role: str, code: str) -> Evidence:
        """Why a role is taken to be in a country."""
        here = self.placement
        row = places.regions().get((here.provider or "", here.region or ""))
        if role == "users" or role in here.roles or role in self.circumstances.workload.roles or row is None:
            return Evidence(fact="country", value=code, source="stated", as_of=None, grade="user")
        return Evidence(fact="country", value=code, source=row.source, as_of=row.as_of, grade="B")

    def statement(self, need: str) -> Answer | None:
        """The answer of a statement of the user, or None when there is none that holds."""
        found = self.asserted.get(need)
        if found is None:
            return None
        until = f", until {found.until}" if found.until else ""
        source = found.evidence or found.note or "stated without evidence"
        shown = Evidence(
            fact=need, value="yes", source=source, as_of=found.on.isoformat() if found.on else None, grade="user"
        )
        return Answer("T", f"{need}: on your statement{f' ({found.by})' if found.by else ''}{until}", (shown,))

    def member(self, code: str, group: str) -> tuple[bool | None, Fact]:
        """Whether a country belongs to a group (or is that country), and by which fact; None when not settled."""
        rule = self.pack.groups.get(group)
        if rule is None:
            return code == group, Fact(code, "ISO 3166-1", None, "A")
        if code in rule.countries:
            return True, Fact(code, f"listed in {group}", self.pack.as_of, "A")
        if not rule.topic:
            return False, Fact(code, f"not listed in {group}", self.pack.as_of, "A")
        fact = self.tables.country(code, rule.topic)
        if fact is None:
            return None, Fact("not known", f"no row {rule.topic} for {code}", None, "U")
        values = fact.value.split("|")
        if any(value in rule.unsure for value in values):
            return None, fact
        return any(value in rule.equals for value in values), fact
