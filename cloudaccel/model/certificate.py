"""How sure a plan is: the chance of its first option, where the choice flips, and what each fact is worth."""

from dataclasses import dataclass
from typing import NamedTuple

from cloudaccel.model.workload import Assumption


class Flip(NamedTuple):
    """`value` is what is assumed, `at` where the choice changes, both in `unit`; `to` is what is chosen then."""

    name: str
    value: float
    at: float
    unit: str
    to: str


class Fact(NamedTuple):
    """`saving` is what knowing it before choosing is expected to save, USD; `how` says how to know it."""

    name: str
    saving: float
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Chances are shares of the draws, 0 to 1.

    Attributes
    ----------
    chance_first
        That the first option of the plan is the cheapest one that keeps every limit.
    chance_within_limits
        That the first option keeps deadline and budget.
    chance_none
        That nothing does.
    winners
        Who was first, and how often, most often first.
    facts
        What is worth knowing, dearest first; empty when no single fact would change the choice.
    speed_sampled
        False for serving without a load: no cost hangs on its speed, so only prices and rules are drawn.
    """

    first: str
    samples: int
    seed: int
    chance_first: float
    chance_within_limits: float
    chance_none: float
    winners: tuple[tuple[str, float], ...]
    flips: tuple[Flip, ...]
    facts: tuple[Fact, ...]
    assumptions: tuple[Assumption, ...]
    speed_sampled: bool
