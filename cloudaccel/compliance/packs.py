"""Policy packs as values: rules with their checks, read strictly."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

STATUSES = ("in_force", "proposed", "draft", "not_enforced", "withdrawn", "organisation")
NOT_LAW_YET = ("proposed", "draft", "not_enforced", "withdrawn")  # refused unless asked for
EFFECTS = ("require", "oblige", "advise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One test of the closed set (`cloudaccel.compliance.schema.CHECKS`) with its arguments; `of` for combinations."""

    name: str
    arguments: Mapping[str, object]
    of: "tuple[Check, ...]" = ()

    def walk(self) -> "Iterator[Check]":
        """This check and all within it."""
        checks: list[Check] = [self]
        while checks:
            check = checks.pop()
            yield check
            checks.extend(check.of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `cite` says where the requirement stands; a rule without it is refused.

    Attributes
    ----------
    interpretive
        The text leaves room: a legal opinion may override the reading.
    replaces
        Id of the interpretive rule of another pack that this one, the organisation's own reading, stands for.
    unless_deployment
        Deployments that the rule does not concern (attestations of a seller, where there is no seller).
    """

    id: str
    check: Check
    effect: str
    cite: str
    text: str = ""
    remedy: str = ""
    interpretive: bool = False
    replaces: str = ""
    unless_deployment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of countries: those named, and those whose legal fact `topic` has one of the values `equals`.

    For a country with one of the values `unsure` the country alone does not settle the membership.
    """

    countries: tuple[str, ...] = ()
    topic: str = ""
    equals: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One paragraph of a control list: it is met when every bound that is given is met.

    `tpp` is total processing performance, the dense rate in 10^12 operations per second x bits of an operand, the
    highest over the widths of operand; `density` is tpp per mm2 of die.
    """

    paragraph: str
    tpp_min: float | None = None
    tpp_below: float | None = None
    density_min: float | None = None
    density_below: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A set of rules read from one law, scheme or policy of an organisation.

    Attributes
    ----------
    effective_from, effective_to, as_of, review_by, expires
        ISO dates. Past `review_by` each verdict carries a warning; past `expires` nothing is satisfied any more.
    applies_if
        Fact -> values that make the pack apply; empty: always.
    groups
        Groups of countries that the rules name, by name.
    control_lists
        Lists of thresholds that the rules of export control name.
    extends
        Ids of packs that are judged with it; its rules come on top of theirs, so they can only tighten.
    digest
        SHA-256 of the pack's canonical JSON.
    """

    id: str
    title: str
    version: str
    status: str
    kind: str
    jurisdiction: str
    as_of: str
    review_by: str
    sources: tuple[str, ...]
    rules: tuple[Rule, ...]
    effective_from: str | None = None
    effective_to: str | None = None
    expires: str | None = None
    forbids_public_cloud: bool = False
    always_on: bool = False
    applies_if: Mapping[str, tuple[str, ...]]
    extends: tuple[str, ...] = ()
    groups: Mapping[str, Group]
    control_lists: Mapping[str, tuple[Threshold, ...]]
    summary: str = ""
    digest: str = ""
