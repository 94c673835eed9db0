"""Policy packs as values: rules with their checks, read strictly."""

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `cite` says where the requirement stands; a rule without it is refused.

    Attributes
    ----------
    interpretive
        The text leaves room: a legal opinion may override the reading.
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
    unless_deployment: tuple[str, ...] = ()


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
        Groups of countries that the rules name, resolved when the pack is read.
    extends
        Ids of packs whose rules it tightens.
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
    summary: str = ""
    digest: str = ""
