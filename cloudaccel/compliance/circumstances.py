"""What only the user can say: about the work, the organisation, contracts signed and risks accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from types import MappingProxyType

from cloudaccel.errors import QueryError
from cloudaccel.facts import places


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadFacts:
    """Facts about the work. None is "not said", which no rule takes for "none"; an empty tuple is a statement.

    Attributes
    ----------
    data_classes
        Such as ``personal_eu``, ``phi_us``, ``bulk_us_sensitive``; () for none of them.
    training_flop
        Operations of the whole training run, about 6 x parameters x tokens.
    tuning_flop
        Operations of a run that adapts a model that somebody else trained.
    acquisition
        ``rent`` or ``buy``; None: renting, unless the place is owned, where hardware is bought.
    roles
        Where data, keys or people are, if not beside the machines: role -> countries.
    """

    data_classes: tuple[str, ...] | None = None
    training_flop: float | None = None
    tuning_flop: float | None = None
    acquisition: str | None = None
    roles: Mapping[str, tuple[str, ...] | None] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationFacts:
    """Facts about the organisation, asked once. None is "not said".

    Attributes
    ----------
    headquarters
        Country of the ultimate parent of whoever buys or rents (ISO 3166-1 alpha-2).
    sector
        Such as ``bank``, ``health``, ``public``.
    users
        Countries of those who use the machines from afar; () when nobody is outside the countries of the placement.
    """

    headquarters: str | None = None
    sector: str | None = None
    users: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """A statement of the user: ``baa:SELLER``, ``license:bis``, ``evidence:fr-hds:SELLER``, ``legal_opinion:RULE``.

    It satisfies only the rule that asks for it, and only from `on` to `until`.
    """

    need: str
    by: str = ""
    on: date | None = None
    until: date | None = None
    evidence: str = ""
    note: str = ""

    def holds(self, today: date) -> bool:
        """Whether it may be relied on that day; the last day counts."""
        return (self.on is None or self.on <= today) and (self.until is None or today <= self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A rule whose unknown somebody accepts as a risk, for a reason, until a day. It never lifts a failed rule."""

    rule: str
    reason: str
    by: str
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """All that a verdict depends on besides place, packs and tables. `today` is an argument, never the clock."""

    workload: WorkloadFacts = field(default_factory=WorkloadFacts)
    organisation: OrganisationFacts = field(default_factory=OrganisationFacts)
    assertions: tuple[Assertion, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    today: date = field(default_factory=lambda: datetime.now(UTC).date())


def organisation_facts(settings: Mapping[str, str]) -> OrganisationFacts:
    """The organisation's facts from settings: ``headquarters``, ``sector``, ``users`` (empty or absent: not said).

    ``users`` is a list of countries, or ``none``.

    Raises
    ------
    UnknownName
        If a country has no such name.
    """
    headquarters = settings.get("headquarters") or None
    users = settings.get("users") or None
    return OrganisationFacts(
        headquarters=one_country(headquarters) if headquarters else None,
        sector=settings.get("sector") or None,
        users=None if users is None else countries_of(users),
    )


def one_country(text: str) -> str:
    """ISO code of one country.

    Raises
    ------
    QueryError
        If `text` names several (``EU``), or none.
    """
    found = places.resolve_countries(text)
    if len(found) != 1:
        raise QueryError(f"headquarters: {text!r} is {len(found)} countries; name the one of the ultimate parent.")
    return next(iter(found))


def countries_of(text: str) -> tuple[str, ...]:
    """ISO codes of a list of countries, sorted; () for ``none``."""
    return () if text.strip().lower() == "none" else tuple(sorted(places.resolve_countries(text)))


def needs(assertions: Sequence[Assertion], today: date) -> Mapping[str, Assertion]:
    """Assertions that hold on `today`, by what they state; of two, the one that holds longer."""
    valid = (a for a in assertions if a.holds(today))
    return {a.need: a for a in sorted(valid, key=lambda a: a.until or date.max)}
