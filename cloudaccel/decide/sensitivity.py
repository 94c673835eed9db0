"""What a cost depends on: one input at a time from low to high (tornado), and all at once (Monte Carlo with a seed)."""

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal

from cloudaccel.decide.breakeven import find_root
from cloudaccel.decide.ways import Candidate
from cloudaccel.model.decision import Estimate, Spread, Swing


def swings(candidates: Sequence[Candidate], tokens: Decimal | None) -> tuple[Swing, ...]:
    """Every input that has a range, taken to both ends with the others likely, widest swing first."""
    base = {c.label: c.cost(c.likely(), tokens) for c in candidates}
    known = {label: cost for label, cost in base.items() if cost is not None}
    found: list[Swing] = []
    for candidate in candidates:
        if candidate.label not in known:
            continue
        for name, estimate in candidate.inputs.items():
            if estimate.is_range:
                found.append(_swing(candidate, name, estimate, known, tokens))
    return tuple(sorted((s for s in found if s.size), key=lambda s: -s.size))


def _swing(
    candidate: Candidate,
    name: str,
    estimate: Estimate,
    known: Mapping[str, Decimal],
    tokens: Decimal | None,
) -> Swing:
    likely = candidate.likely()
    low = candidate.cost({**likely, name: estimate.low}, tokens) or Decimal(0)
    high = candidate.cost({**likely, name: estimate.high}, tokens) or Decimal(0)
    first = min(known, key=lambda label: known[label])
    flips = any(min(k := {**known, candidate.label: v}, key=lambda label: k[label]) != first for v in (low, high))
    at = _flip_point(candidate, name, estimate, known, tokens) if flips else None
    return Swing(candidate.label, name, estimate.low, estimate.high, low, high, flips, at)


def _flip_point(
    candidate: Candidate,
    name: str,
    estimate: Estimate,
    known: Mapping[str, Decimal],
    tokens: Decimal | None,
) -> Decimal | None:
    """The value of the input at which the way costs what the cheapest of the others does."""
    others = [cost for label, cost in known.items() if label != candidate.label]
    if not others:
        return None
    rival, likely = min(others), candidate.likely()

    def difference(value: Decimal) -> Decimal:
        return (candidate.cost({**likely, name: value}, tokens) or Decimal(0)) - rival

    found = find_root(difference, estimate.low, estimate.high)
    return found if found is not None and abs(difference(found)) < rival / 1000 else None


def monte_carlo(
    candidates: Sequence[Candidate], tokens: Decimal | None, *, samples: int, seed: int
) -> tuple[Spread, ...]:
    """Costs per month over `samples` draws of every ranged input (triangular over low, likely, high).

    The same seed gives the same draws.

    An input of the same name and range in several ways is drawn once for all: the electricity is the same.
    """
    generator = random.Random(seed)  # noqa: S311  (no secret hangs on it)
    priced = [c for c in candidates if c.cost(c.likely(), tokens) is not None]
    if not priced:
        return ()
    draws: dict[str, list[Decimal]] = {c.label: [] for c in priced}
    won: dict[str, int] = dict.fromkeys(draws, 0)
    for _ in range(samples):
        drawn: dict[Estimate, Decimal] = {}
        costs: dict[str, Decimal] = {}
        for c in priced:
            values = {name: _draw(estimate, drawn, generator) for name, estimate in c.inputs.items()}
            costs[c.label] = c.cost(values, tokens) or Decimal(0)
            draws[c.label].append(costs[c.label])
        won[min(costs, key=lambda label: costs[label])] += 1
    return tuple(_spread(label, sorted(costs), won[label] / samples) for label, costs in draws.items())


def _draw(estimate: Estimate, drawn: dict[Estimate, Decimal], generator: random.Random) -> Decimal:
    if not estimate.is_range:
        return estimate.likely
    if estimate not in drawn:
        value = generator.triangular(float(estimate.low), float(estimate.high), float(estimate.likely))
        drawn[estimate] = min(max(Decimal(str(round(value, 9))), estimate.low), estimate.high)
    return drawn[estimate]


def _spread(label: str, costs: Sequence[Decimal], cheapest: float) -> Spread:
    def at(share: float) -> Decimal:
        return costs[min(len(costs) - 1, int(share * len(costs)))]

    return Spread(label, at(0.1), at(0.5), at(0.9), cheapest)
