"""What the rules say about one placement, and on what evidence. A reading of dated facts, never legal advice."""

from dataclasses import dataclass
from functools import cached_property

COMPLIANT = "compliant"
NON_COMPLIANT = "non_compliant"
UNKNOWN = "unknown"
ACCEPTED_RISK = "accepted_risk"
VERDICT_STATES = (NON_COMPLIANT, UNKNOWN, ACCEPTED_RISK, COMPLIANT)  # from worst to best

DISCLAIMER = "A reading of dated facts by the rules of the packs named; not legal advice."


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One fact that a rule used.

    Attributes
    ----------
    fact
        Its name: ``aws/eu-west-3 country``, ``attestation de-bsi-c5``.
    grade
        ``A`` registry or text of the law, ``B`` the provider's own dated document, ``C`` secondary source,
        ``D`` compilation without citation, ``U`` memory, ``user`` what the user stated. Only A, B and user can satisfy.
    as_of
        ISO date, or None when the source is undated.
    """

    fact: str
    value: str
    source: str
    as_of: str | None
    grade: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one rule of one pack says.

    Attributes
    ----------
    value
        ``T`` satisfied on the facts given, ``F`` not satisfied, ``U`` not decidable yet, ``NA`` does not apply.
        For a duty, ``T`` means that it arises.
    effect
        ``require`` counts for the verdict; ``oblige`` and ``advise`` are duties and advice and never change it.
    asks
        Statements that would settle a ``U``, as ``policy assert`` takes them. Each may be enough only with the others.
    accepted
        Who accepted a ``U``, or overrode a contested reading, and why; empty when nobody did.
    """

    rule: str
    pack: str
    value: str
    effect: str
    why: str
    cite: str
    remedy: str = ""
    evidence: tuple[Evidence, ...] = ()
    asks: tuple[str, ...] = ()
    accepted: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The rules of all packs taken together, for one placement.

    Attributes
    ----------
    state
        One of `VERDICT_STATES`. `UNKNOWN` is never to be treated as `COMPLIANT`.
    packs
        (id, version, digest) of each pack; a plan is bound to them.
    idle
        Ids of those packs that do not apply, or require nothing of a place: they satisfy nothing and forbid nothing.
    assumptions
        What was taken for granted because nobody said otherwise ("storage stands where processing does").
    """

    state: str
    placement: str
    findings: tuple[Finding, ...]
    packs: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    disclaimer: str = DISCLAIMER

    @cached_property
    def failed(self) -> tuple[Finding, ...]:
        """Requirements that are not satisfied, waived ones left out."""
        return self._required("F")

    @cached_property
    def unknown(self) -> tuple[Finding, ...]:
        """Requirements that cannot be decided yet, accepted ones left out."""
        return self._required("U")

    @cached_property
    def satisfied(self) -> tuple[Finding, ...]:
        """Requirements that are satisfied on the facts given."""
        return self._required("T")

    @cached_property
    def accepted(self) -> tuple[Finding, ...]:
        """Requirements that somebody accepted as a risk, or overrode by a legal opinion."""
        return tuple(f for f in self.findings if f.accepted)

    @cached_property
    def obligations(self) -> tuple[Finding, ...]:
        """Duties that arise; they never change the verdict."""
        return tuple(f for f in self.findings if f.effect != "require" and f.value == "T")

    @cached_property
    def judged_by(self) -> str:
        """The packs that require something here, each with its version, in words."""
        return ", ".join(f"{pack} {version}" for pack, version, _digest in self.packs if pack not in self.idle)

    @cached_property
    def deciding(self) -> tuple[str, ...]:
        """Ids of the rules that make the verdict what it is; empty when compliant."""
        return tuple(f.rule for f in self.failed or self.unknown or self.accepted)

    @cached_property
    def asks(self) -> tuple[str, ...]:
        """All statements that would have to be made to settle what is unknown, each once."""
        return tuple(dict.fromkeys(ask for f in self.unknown for ask in f.asks))

    def _required(self, value: str) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.effect == "require" and f.value == value and not f.accepted)
