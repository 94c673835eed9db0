"""Rules over places: which packs there are, what they say about a place, and a judge for the planner."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

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
    with_always_on,
)
from cloudaccel.compliance.placement import NO_ACCELERATOR, deployment_of, service_of
from cloudaccel.errors import UnknownName
from cloudaccel.facts import expressions, places
from cloudaccel.model import Offer
from cloudaccel.model.verdict import Verdict


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
        Statements such as ``baa:SELLER``: they satisfy the rule that asks for them, and nothing else.
    """

    packs: tuple[str, ...] = ()
    headquarters: str | None = None
    sector: str | None = None
    users: str | None = None
    data: tuple[str, ...] | None = None
    stated: tuple[str, ...] = ()
    allow_status: tuple[str, ...] = ()

    def loaded(self) -> tuple[Pack, ...]:
        """The packs, and those that are always on."""
        return with_always_on(load_packs(self.packs, allow_status=self.allow_status))

    def organisation(self) -> OrganisationFacts:
        """The facts about the organisation."""
        given = {"headquarters": self.headquarters, "sector": self.sector, "users": self.users}
        return organisation_facts({name: value for name, value in given.items() if value})


def judge_by(rules: Rules, *, training_flop: float | None = None, today: date | None = None) -> Judge:
    """The packs made ready for any number of places; `today` is the clock's day (UTC) when not given."""
    data = rules.data
    work = WorkloadFacts(
        data_classes=None if data is None else tuple(word for word in data if word != "none"),
        training_flop=training_flop,
    )
    around = Circumstances(
        workload=work,
        organisation=rules.organisation(),
        assertions=tuple(Assertion(need=need, note="on the command line") for need in rules.stated),
        today=today or datetime.now(UTC).date(),
    )
    return Judge(rules.loaded(), around)


def explain_place(judge: Judge, place: str, accelerator: str | None = None) -> Verdict:
    """What the rules say of ``PROVIDER:REGION`` with an accelerator (an expression, or ``none``; None: not said).

    Raises
    ------
    UnknownName
        If the tables know no such seller, region or accelerator.
    """
    seller, _, name = place.partition(":")
    provider = places.resolve_provider(seller)
    found = places.region(provider, name)
    if found is None:
        raise UnknownName(f"{provider} has no region {name!r} in the tables. Write the place as PROVIDER:REGION.")
    item = _accelerator(accelerator)
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


def _accelerator(text: str | None) -> str | None:
    if text is None or text == NO_ACCELERATOR:
        return text
    ids = {identity for term in expressions.parse_expression(text) for identity in term.accelerator_ids}
    return ids.pop() if len(ids) == 1 else None  # several that the rules may tell apart: not known which


def row_judge(judge: Judge) -> Callable[[Sequence[Offer]], list[tuple[str | None, tuple[str, ...]]]]:
    """The judge as the planner asks it: state and deciding rules of each offer."""

    def judged(offers: Sequence[Offer]) -> list[tuple[str | None, tuple[str, ...]]]:
        verdicts = (judge.verdict(placement_of(offer)) for offer in offers)
        return [(verdict.state, verdict.deciding) for verdict in verdicts]

    return judged
