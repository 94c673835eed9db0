"""How sure the first option of a plan is: price age, sizing error and open rules, sampled with a seed.

Costs are linear in every input, so where an input flips the choice is solved and not searched; what a fact is worth is
the expected saving of knowing it before choosing (expected value of partial perfect information).
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from cloudaccel.errors import QueryError
from cloudaccel.model.certificate import Certificate, Fact, Flip
from cloudaccel.model.plan import Option, Plan
from cloudaccel.model.workload import Assumption, ServeDemand
from cloudaccel.workloads.serving import asked_output_per_s, machines_if_slower

# Price changes in the bundled history: offers seen over 30 days or more, a change is more than 0.1 %.
_HISTORY = (
    "bundled price history, 2022 to 2026: {} changes in {} offer-years; factors are the 5 %, 50 % and 95 % points"
)
_AS_OF = "2026-11-25"
DRIFT = {
    "on_demand": (0.0525, (0.542, 0.840, 1.193), _HISTORY.format("329", "6,270")),
    "spot": (0.650, (0.850, 1.050, 1.150), _HISTORY.format("2,111", "3,247")),
}
LEGAL_ODDS = 0.5  # that an open rule is settled in favour; nobody knows, so neither way is preferred
SAMPLES, SEED = 2000, 1
_FAR_DEARER = 5  # times the total of the first: no draw makes these win
_SETTLED = 400  # draws of one fact when its worth is worked out
_LEAST_WORTH = 0.005  # USD: below it nothing would be printed


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One option in the numbers that are drawn: `compute` USD scale with price and time, `other` does not.

    `speed` and `price` name the draws that it hangs on, `rules` the open rules.
    """

    option: Option
    label: str
    compute: float
    other: float
    likely_h: float | None
    setup_h: float
    speed: str
    price: str
    rules: tuple[str, ...]
    load: ServeDemand | None = None  # of serving, when machines follow from the speed

    def hours(self, slower: float) -> float:
        """Hours paid when the run takes `slower` times the likely estimate."""
        return float(self.option.hours) if self.likely_h is None else self.likely_h * slower + self.setup_h

    def cost(self, slower: float, dearer: float) -> float:
        """USD at these factors on time and price."""
        return self.compute * self._share(slower) * dearer + self.other

    def _share(self, slower: float) -> float:
        """How many times the machine-hours of the estimate it takes: more hours, or for a load more machines."""
        serving, there = self.option.fit.serving, self.option.offer.count
        if self.load is not None and serving is not None and there is not None:
            machines = machines_if_slower(self.load, serving, int(there), slower)
            return 1.0 if machines is None else machines / self.option.nodes
        fixed = self.likely_h is None or self.option.offer.term is not None
        return 1.0 if fixed else self.hours(slower) / self.hours(1.0)


class _Draws:
    """The distributions behind the names: a factor on the time of an accelerator, on the price of a seller."""

    def __init__(self, candidates: Sequence[_Candidate], today: date) -> None:
        self._of: dict[str, Callable[[random.Random], float]] = {}
        self.means: dict[str, float] = {}
        for c in candidates:
            self._of.setdefault(c.speed, _slower(c))
            self._of.setdefault(c.price, _dearer(c, today))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._of))

    def draw(self, name: str, generator: random.Random) -> float:
        """One draw of the factor `name`."""
        return self._of[name](generator)

    def settle(self, samples: int, seed: int) -> None:
        """Work out the mean of every factor."""
        for name in self.names:
            generator = random.Random(f"{seed} {name}")  # noqa: S311  (no secret hangs on it)
            self.means[name] = sum(self.draw(name, generator) for _ in range(samples)) / samples


def certify(
    plan: Plan, *, today: date, samples: int = SAMPLES, seed: int = SEED, legal_odds: float = LEGAL_ODDS
) -> Certificate:
    """The certificate of a plan's first option. The same plan, day and seed give the same certificate.

    Raises
    ------
    QueryError
        If the plan has no option with a known cost, is not ranked by cost, or an argument is out of range.
    """
    if plan.rank_by != "cost":
        raise QueryError(f"--certify judges costs, and this plan is ranked by {plan.rank_by}. Leave --rank out.")
    if samples < 1 or not 0 <= legal_odds <= 1:
        raise QueryError("--samples must be at least 1, and --legal-odds a share from 0 to 1.")
    candidates = _candidates(plan)
    if not candidates:
        raise QueryError("--certify: the plan has no option with a known cost, so nothing can be sampled.")
    draws = _Draws(candidates, today)
    draws.settle(_SETTLED, seed)
    won, kept, none = _sampled(plan, candidates, draws, samples, seed, legal_odds)
    rivals = sorted(((n / samples, c.label) for c, n in zip(candidates, won, strict=True) if n), reverse=True)
    return Certificate(
        first=candidates[0].label,
        samples=samples,
        seed=seed,
        chance_first=won[0] / samples,
        chance_within_limits=kept / samples,
        chance_none=none / samples,
        winners=tuple((label, share) for share, label in rivals),
        flips=tuple(_flips(plan, candidates)),
        facts=tuple(_facts(candidates, draws, seed, legal_odds)),
        assumptions=_assumptions(candidates, legal_odds),
        speed_sampled=candidates[0].likely_h is not None or candidates[0].load is not None,
    )


def _candidates(plan: Plan) -> list[_Candidate]:
    """The first option, then every other that a draw could bring to the front."""
    best = plan.best
    if best is None or best.total is None:
        return []
    setup = next((float(a.value) for a in plan.assumptions if a.name == "setup_h"), 0.0)
    seen: set[tuple[str, int]] = set()
    found: list[_Candidate] = []
    for option in (*plan.options, *plan.near, *plan.considered):
        key = (option.offer.id, option.nodes)
        total = option.total
        if key in seen or total is None or total > _FAR_DEARER * best.total or option.verdict == "non_compliant":
            continue
        seen.add(key)
        found.append(_candidate(option, total, setup, plan.workload.serve))
    return found


def _candidate(option: Option, total: Decimal, setup: float, serve: ServeDemand | None) -> _Candidate:
    offer, compute = option.offer, float(option.lines[0].amount or 0)
    likely = option.fit.hours_likely
    return _Candidate(
        option=option,
        label=f"{offer.provider} {offer.region} {offer.instance} ×{option.nodes}",
        compute=compute,
        other=float(total) - compute,
        likely_h=likely,
        setup_h=setup,
        speed=f"speed of {offer.accelerator_id}",
        price=f"price of {offer.accelerator_id} at {offer.provider} ({offer.market.replace('_', '-')})",
        rules=option.rules if option.verdict == "unknown" else (),
        load=serve if serve is not None and asked_output_per_s(serve) is not None and option.fit.serving else None,
    )


def _slower(c: _Candidate) -> Callable[[random.Random], float]:
    """Factor on the time: triangular over the range of the estimate, one draw for an accelerator in every size."""
    fit, serving = c.option.fit, c.option.fit.serving
    if c.load is not None and serving is not None:
        fastest = serving.output_tokens_per_s / serving.output_tokens_per_s_high
        slowest = serving.output_tokens_per_s / serving.output_tokens_per_s_low
        return lambda generator: generator.triangular(fastest, slowest, 1.0)
    if fit.hours_likely is None or fit.hours_low is None or fit.hours_high is None:
        return lambda _: 1.0
    low, high = fit.hours_low / fit.hours_likely, fit.hours_high / fit.hours_likely
    return lambda generator: generator.triangular(low, high, 1.0)


def _dearer(c: _Candidate, today: date) -> Callable[[random.Random], float]:
    """Factor on the price: it changed since it was seen with the odds of its age, and then by as much as others did."""
    offer = c.option.offer
    rate, (low, middle, high), _ = DRIFT["spot" if offer.market == "spot" else "on_demand"]
    if offer.price.as_of is None:
        odds = 1.0  # undated: nothing says that it still holds
    else:
        years = max(0, (today - date.fromisoformat(offer.price.as_of[:10])).days) / 365.25
        odds = 1 - (1 - min(rate, 0.999)) ** years
    return lambda generator: generator.triangular(low, high, middle) if generator.random() < odds else 1.0


def _sampled(
    plan: Plan, candidates: Sequence[_Candidate], draws: _Draws, samples: int, seed: int, odds: float
) -> tuple[list[int], int, int]:
    """Draws that each candidate won, those in which the first kept its limits, and those that nothing survived."""
    generator = random.Random(seed)  # noqa: S311  (no secret hangs on it)
    rules = sorted({rule for c in candidates for rule in c.rules})
    won, kept, none = [0] * len(candidates), 0, 0
    for _ in range(samples):
        factor = {name: draws.draw(name, generator) for name in draws.names}
        granted = {rule for rule in rules if generator.random() < odds}
        costs = [_cost_within(plan, c, factor, granted) for c in candidates]
        kept += costs[0] is not None
        left = [(cost, n) for n, cost in enumerate(costs) if cost is not None]
        if left:
            won[min(left)[1]] += 1
        else:
            none += 1
    return won, kept, none


def _cost_within(plan: Plan, c: _Candidate, factor: Mapping[str, float], granted: set[str]) -> float | None:
    """What it costs in this draw; None when it breaks a limit or a rule is not settled for it."""
    slower, dearer = factor[c.speed], factor[c.price]
    deadline, budget = plan.workload.deadline_s, plan.workload.budget
    late = deadline is not None and plan.workload.serve is None and c.hours(slower) * 3600 > deadline
    cost = c.cost(slower, dearer)
    over = budget is not None and cost > budget
    open_rules = c.option.verdict == "unknown" and not (c.rules and granted.issuperset(c.rules))
    return None if late or over or open_rules else cost


def _flips(plan: Plan, candidates: Sequence[_Candidate]) -> list[Flip]:
    """For every input of the first and of its nearest rival: the value at which the choice changes."""
    first, rest = candidates[0], [c for c in candidates[1:] if not c.option.blocked]
    flips: list[Flip] = []
    own = float(first.option.offer.price.amount or 0)
    others = [c for c in rest if c.price != first.price]
    if others and first.compute:
        rival = min(others, key=lambda c: c.cost(1, 1))
        at = (rival.cost(1, 1) - first.other) / first.compute
        flips.append(Flip(f"price of {first.label}", own, own * at, "USD per machine-hour", rival.label))
        theirs = float(rival.option.offer.price.amount or 0)
        back = (first.cost(1, 1) - rival.other) / rival.compute if rival.compute else 0.0
        if back > 0:
            flips.append(Flip(f"price of {rival.label}", theirs, theirs * back, "USD per machine-hour", rival.label))
    flips += _speed_flips(plan, first, rest)
    return flips


def _speed_flips(plan: Plan, first: _Candidate, rest: Sequence[_Candidate]) -> list[Flip]:
    """Hours of the first at which another accelerator is cheaper, and at which the deadline is missed."""
    if first.likely_h is None:
        return []
    flips: list[Flip] = []
    others = [c for c in rest if c.speed != first.speed]
    if others and first.compute and first.option.offer.term is None:
        rival = min(others, key=lambda c: c.cost(1, 1))
        at = (rival.cost(1, 1) - first.other) / first.compute * first.hours(1) - first.setup_h
        flips.append(Flip(f"run time of {first.label}", first.likely_h, at, "h", rival.label))
    if plan.workload.deadline_s is not None:
        limit = plan.workload.deadline_s / 3600 - first.setup_h
        flips.append(Flip(f"run time of {first.label}", first.likely_h, limit, "h", "the deadline is missed"))
    return flips


def _facts(candidates: Sequence[_Candidate], draws: _Draws, seed: int, odds: float) -> list[Fact]:
    """What knowing each fact before choosing is expected to save, dearest first, without those that save nothing."""
    usable = [c for c in candidates if not c.option.blocked]
    best = min(_expected(c, draws.means) for c in usable)
    worth: list[Fact] = []
    for name in draws.names:
        if not any(name in (c.speed, c.price) for c in usable):
            continue
        generator = random.Random(f"{seed} worth of {name}")  # noqa: S311  (no secret hangs on it)
        values = [draws.draw(name, generator) for _ in range(_SETTLED)]
        # Choosing after the fact against the same draws of not choosing: the noise of the draws cancels out.
        costs = [[_expected(c, {**draws.means, name: value}) for c in usable] for value in values]
        stay = min(sum(column) / len(values) for column in zip(*costs, strict=True))
        saving = stay - sum(min(row) for row in costs) / len(values)
        worth.append(Fact(name, saving, _how(name)))
    for rules in sorted({c.rules for c in candidates if c.rules}):
        opened = [c for c in candidates if c.rules == rules and all(r == "policy" for r, _ in c.option.blocked)]
        gain = best - min((_expected(c, draws.means) for c in opened), default=best)
        text = ", ".join(rules)
        worth.append(Fact(f"rule {text}", max(0.0, gain) * odds ** len(rules), f"settle {text}"))
    return sorted((fact for fact in worth if fact.saving > _LEAST_WORTH), key=lambda fact: (-fact.saving, fact.name))


def _expected(c: _Candidate, factor: Mapping[str, float]) -> float:
    return c.cost(factor[c.speed], factor[c.price])


def _how(name: str) -> str:
    kind, _, what = name.partition(" of ")
    if kind == "speed":
        return f"measure fifty steps on {what}: cloudaccel calibrate, then plan --measured"
    return f"ask for the price of {what}, and lay it over the catalog: plan --price-file"


def _assumptions(candidates: Sequence[_Candidate], odds: float) -> tuple[Assumption, ...]:
    """What the draws rest on, with sources."""
    markets = sorted({"spot" if c.option.offer.market == "spot" else "on_demand" for c in candidates})
    found: list[Assumption] = []
    for market in markets:
        rate, (low, middle, high), source = DRIFT[market]
        word = market.replace("_", "-")
        found.append(Assumption(f"price changes, {word}", str(rate), "per offer and year", source, _AS_OF, ""))
        found.append(
            Assumption(f"size of a change, {word}", f"{low}/{middle}/{high}", "of the old price", source, _AS_OF, "")
        )
    if any(c.rules for c in candidates):
        source = "no source: neither way is preferred"
        found.append(Assumption("legal odds", str(odds), "per open rule", source, _AS_OF, "--legal-odds"))
    return tuple(found)
