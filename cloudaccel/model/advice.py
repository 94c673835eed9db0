"""Questions, rules and the answer of ``advise``."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from cloudaccel.model.shown import Shown
from cloudaccel.model.verdict import Finding

# Ways of getting the model, simplest first, and of getting the machines: ties go to the simpler way.
MODEL_WAYS = {
    "api": "call an API, with good prompts",
    "rag": "an open model, with your documents looked up beside it",
    "lora": "an open model, adapted with LoRA",
    "finetune": "an open model, fully fine-tuned",
    "adapt": "an open model, pretrained further on your corpus, then tuned",
    "pretrain": "a model of your own, from scratch",
}
MACHINE_WAYS = {
    "on-demand": "rent by the hour",
    "managed": "a managed service",
    "spot": "rent what may be taken back (spot)",
    "reserved": "commit for a year or more",
    "own": "own the machines",
}
DECISIONS: Mapping[str, Mapping[str, str]] = {"model": MODEL_WAYS, "machines": MACHINE_WAYS}


class Condition(NamedTuple):
    """``name op value``; unknown when the answer is."""

    name: str
    op: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something that is asked. `kind` is ``word`` (one of `words`) or ``number``; `default` is used and said."""

    name: str
    kind: str
    unit: str
    words: tuple[str, ...]
    question: str
    default: str
    source: str
    as_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceRule:
    """What follows for `way` when all conditions hold: ``forbid``, or points for or against it."""

    id: str
    decision: str
    when: tuple[Condition, ...]
    way: str
    points: int
    forbids: bool
    reason: str
    ask: str
    source: str
    as_of: str
    verified: bool


class Choice(NamedTuple):
    """A way with its points, and the rules that spoke for and against it; `forbidden` when one rules it out."""

    way: str
    text: str
    points: int
    forbidden: bool
    rules: tuple[AdviceRule, ...]


class Flip(NamedTuple):
    """An answer that would change the recommendation: of which decision, and to what."""

    question: str
    answer: str
    decision: str
    way: str


class Derived(NamedTuple):
    """An answer that rules give, which holds whatever the user answers (`given`); `by` are the findings behind it."""

    question: str
    answer: str
    given: str | None
    why: str
    by: tuple[Finding, ...]

    @property
    def conflict(self) -> bool:
        """Whether the user answers otherwise."""
        return self.given not in (None, self.answer)


class ModelFit(NamedTuple):
    """An open model that can be adapted, with what its licence says."""

    id: str
    params_b: Decimal
    context: int
    licence: str
    commercial_use: str


class Bill(NamedTuple):
    """What the API takes a month, in USD, with its factors, and what the machines would that serve the same."""

    tokens: Decimal
    price_per_million: Decimal
    amount: Decimal
    machines: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The answer. `choices` hold each decision's ways, best first; `open` are questions whose answer would matter.

    `bill` is the sum behind the rules on volume, None where tokens or price are not known; `shown` is the currency in
    which money is shown beside USD. `derived` are answers that rules of compliance give, which hold against those of
    the user; `notes` is what those rules say beside it.
    """

    answers: Mapping[str, str]
    choices: Mapping[str, tuple[Choice, ...]]
    flips: tuple[Flip, ...]
    open: tuple[Question, ...]
    models: tuple[ModelFit, ...]
    assumed: tuple[Question, ...]
    next_steps: tuple[str, ...]
    bill: Bill | None = None
    shown: Shown | None = None
    derived: tuple[Derived, ...] = ()
    notes: tuple[str, ...] = ()

    def best(self, decision: str) -> Choice | None:
        """The way that is recommended; None when every one is ruled out."""
        first = self.choices[decision][0]
        return None if first.forbidden else first
