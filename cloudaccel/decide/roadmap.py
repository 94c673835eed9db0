"""Demand by month → what to rent, commit to, buy and retire: an LP bound with rounding first, then HiGHS refines.

The model is docs/explanation/owning.md, "The months ahead". Amounts go to the solver in thousands of the currency, as
floats; what is reported is recomputed in `Decimal` from whole machines and whole hours.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from itertools import product

from cloudaccel.decide.judged import judged_reasons, judged_words, may_be_chosen
from cloudaccel.decide.road_model import CENT, Model, Solution, build
from cloudaccel.decide.road_prices import (
    beyond_horizon,
    cash_of,
    commit_cost,
    early_cost,
    early_sale,
    hour_price,
    keep_value,
    month_fee,
    purchase_cost,
    worth_at_end,
)
from cloudaccel.model import HOURS_PER_MONTH
from cloudaccel.model.roadmap import Action, Month, RoadCase, Roadmap, RoadOption

OPTIMAL_GAP = 1e-4
_ROUNDINGS: tuple[str, ...] = ("floor", "round", "ceil")


def roadmap(
    case: RoadCase, *, seconds: float = 60.0, good_enough: float = OPTIMAL_GAP, clock: Callable[[], float]
) -> Roadmap:
    """The cheapest plan found in the time, with its proven gap; of what the rules allow, where options were judged.

    Parameters
    ----------
    seconds
        For the solver; 0: the rounded LP only.
    good_enough
        Gap (share of the total) at which the search stops.
    clock
        Seconds that only rise, such as ``time.monotonic``.
    """
    allowed = _allowed(case)
    if allowed == case:
        return _with_other(_planned(case, seconds, good_enough, clock), good_enough, clock)
    left_out = tuple(_left_out(case))
    found = _with_other(_planned(allowed, seconds, good_enough, clock), good_enough, clock)
    if found.status != "infeasible" or build(case).solve(relaxed=True).values is None:
        return replace(found, left_out=left_out)
    reason = "the rules are too tight: with the options that they leave out there is a plan."
    return replace(found, left_out=left_out, by_rules=True, limits=(reason, *found.limits))


def _with_other(found: Roadmap, good_enough: float, clock: Callable[[], float]) -> Roadmap:
    """With what it would cost to buy nothing, where buying brings people that the total does not hold."""
    kept = tuple(o for o in found.case.options if o.kind != "buy" or o.have)
    if not found.people_beyond or not kept:
        return found
    nothing = tuple(replace(o, limit=o.have) if o.kind == "buy" else o for o in kept)
    other = _planned(replace(found.case, options=nothing), 0, good_enough, clock)
    return replace(found, without_buying=other.total)


def _allowed(case: RoadCase) -> RoadCase:
    return replace(case, options=tuple(o for o in case.options if may_be_chosen(o.verdict)))


def _left_out(case: RoadCase) -> Iterator[str]:
    for option in case.options:
        if option.verdict is not None and not may_be_chosen(option.verdict):
            there = ""
            if option.have:
                there = f" {option.have} are there: what they cost until they are given up is not in the total."
            yield f"{option.name}: {judged_words(option.verdict)}, {judged_reasons(option.verdict)}.{there}"


def _planned(case: RoadCase, seconds: float, good_enough: float, clock: Callable[[], float]) -> Roadmap:
    started = clock()
    model = build(case)
    relaxed = model.solve(relaxed=True)
    if relaxed.values is None:
        if relaxed.status != "infeasible":
            return Roadmap(status="no answer", case=case, limits=(relaxed.message,))
        return Roadmap(status="infeasible", case=case, limits=tuple(why_infeasible(case)))
    bound = relaxed.bound
    best = _rounded(model, relaxed)
    stages = [_stage("LP and rounding", clock() - started, best, bound)]
    if seconds > 0 and (best is None or _gap(best.objective, bound) > good_enough):
        refined = model.solve(relaxed=False, seconds=seconds, gap=good_enough)
        bound = max(bound, refined.bound)
        if refined.values is not None and (best is None or refined.objective < best.objective):
            best = refined
        stages.append(_stage("HiGHS", clock() - started, best, bound))
    if best is None:
        # A plan with fractions of machines exists and no whole one was found: that is not proof that there is none.
        message = "no plan of whole machines was found in the time; raise --seconds"
        return Roadmap(status="no answer", case=case, bound=bound * 1000, limits=(message,), stages=tuple(stages))
    return _read(case, model, best, bound, relaxed, tuple(stages))


def _gap(objective: float, bound: float) -> float:
    return max(0.0, (objective - bound) / max(abs(objective), 1e-9))


def _stage(name: str, seconds: float, best: Solution | None, bound: float) -> tuple[str, float, float, float]:
    if best is None:
        return name, seconds, float("nan"), float("nan")
    return name, seconds, best.objective * 1000, _gap(best.objective, bound)


def _rounded(model: Model, relaxed: Solution) -> Solution | None:
    """The best of the plans that come from rounding the machines of the LP and renting what is then missing."""
    best: Solution | None = None
    for how, sell in product(_ROUNDINGS, (False, True) if model.sells else (False,)):
        found = model.solve(relaxed=True, fixed=model.rounded(relaxed, how, sell=sell))
        if found.values is not None and (best is None or found.objective < best.objective):
            best = found
    return best


# -- reading the answer ------------------------------------------------------------------------------------------------


def _read(
    case: RoadCase,
    model: Model,
    best: Solution,
    bound: float,
    relaxed: Solution,
    stages: tuple[tuple[str, float, float, float], ...],
) -> Roadmap:
    actions = tuple(_actions(case, model, best))
    months = tuple(_months(case, model, best, actions))
    worth = _worth_at_end(case, actions) + _kept_worth(model, best)
    total = sum((month.cost for month in months), Decimal(0)) - worth
    lower = bound * 1000 + float(model.constant)
    gap = _gap(float(total), lower)
    return Roadmap(
        status="optimal" if _gap(best.objective, bound) <= OPTIMAL_GAP * 1.01 else "feasible",
        case=case, total=total, bound=lower, gap=gap, actions=actions, months=months, stages=stages,
        beyond=sum((_beyond(case, a) for a in actions), Decimal(0)), worth=worth,
        people_beyond=sum((_people_beyond(case, m) for m in months), Decimal(0)),
        limits=tuple(model.what_binds(relaxed)),
    )  # fmt: skip


def _actions(case: RoadCase, model: Model, best: Solution) -> list[Action]:
    actions: list[Action] = []
    sold = model.sold(best)
    for (name, month), machines in model.starts(best).items():
        option = model.option(name)
        cost = commit_cost if option.kind == "commit" else purchase_cost
        amount = cost(option, month, case.months) * machines
        for (other, start, when), count in sold.items():
            if (other, start) == (name, month):
                until = early_cost(option, start, when) + early_sale(option, start, when)
                amount += (until - purchase_cost(option, start, case.months)) * count
        actions.append(Action(month, option.kind, name, machines, month + option.lead_months, amount))
    for (name, start, month), machines in sold.items():
        value = early_sale(model.option(name), start, month) * machines
        actions.append(Action(month, "retire", name, machines, month, -value, start))
    for (name, month), machines in model.retired(best).items():
        value = keep_value(model.option(name), month) * machines
        actions.append(Action(month, "retire", name, machines, month, -value))
    return sorted(actions, key=lambda a: (a.month, a.verb, a.option))


def _months(case: RoadCase, model: Model, best: Solution, actions: Sequence[Action]) -> list[Month]:
    rented = model.rented(best)
    kept = model.kept(best)
    months: list[Month] = []
    for t in range(case.months):
        machines = machines_at(case, actions, kept, t)
        hours: dict[str, int] = {}
        cost = Decimal(0)
        for (name, workload, month), amount in rented.items():
            if month == t and amount > CENT:
                whole = int((Decimal(str(amount)) * HOURS_PER_MONTH).to_integral_value(rounding=ROUND_CEILING))
                key = f"{name} for {workload}" if workload else name
                hours[key] = hours.get(key, 0) + whole
                cost += whole * hour_price(model.option(name), t)
        cost += model.switching_at(best, t)
        cost += sum((_cash(case, model, action, t) for action in actions), Decimal(0))
        cost += sum((_upkeep(model.option(n)) * c for (n, m), c in kept.items() if m == t), Decimal(0))
        months.append(Month(t, machines, hours, cost))
    return months


def machines_at(
    case: RoadCase, actions: Sequence[Action], kept: Mapping[tuple[str, int], int], month: int
) -> dict[str, int]:
    """Machines that can be used in a month, by option: started and not ended, and those kept from before."""
    by_name = {option.name: option for option in case.options}
    there: dict[str, int] = {}
    for action in actions:
        option = by_name[action.option]
        arrived = action.arrives if action.verb != "retire" else (action.bought or 0) + option.lead_months
        if (action.verb == "retire" and action.bought is None) or not (
            action.arrives <= month < arrived + option.term_months
        ):
            continue
        change = -action.machines if action.verb == "retire" else action.machines
        there[action.option] = there.get(action.option, 0) + change
    there = {name: count for name, count in there.items() if count}
    for (name, when), count in kept.items():
        if when == month and count:
            there[name] = there.get(name, 0) + count
    return there


def _cash(case: RoadCase, model: Model, action: Action, month: int) -> Decimal:
    """Money that an action takes in a month: the price when ordered, then its upkeep; or the commitment's fee."""
    option = model.option(action.option)
    if action.verb == "retire":
        spared = Decimal(0)
        if (
            action.bought is not None
            and action.month <= month < action.bought + option.lead_months + option.term_months
        ):
            spared = option.running_per_month * action.machines
        return (action.amount if action.month == month else Decimal(0)) - spared
    return cash_of(option, action.month, month, case.months) * action.machines


def _worth_at_end(case: RoadCase, actions: Sequence[Action]) -> Decimal:
    """What bought machines are worth when the horizon ends: it is not spent."""
    by_name = {option.name: option for option in case.options}
    worth = Decimal(0)
    for a in actions:
        if a.verb == "buy":
            worth += worth_at_end(by_name[a.option], a.month, case.months) * a.machines
        elif a.verb == "retire" and a.bought is not None:
            worth -= worth_at_end(by_name[a.option], a.bought, case.months) * a.machines
    return worth


def _upkeep(option: RoadOption) -> Decimal:
    """What a machine from before the start costs a month: the fee that binds, or its running cost."""
    return month_fee(option, 0) if option.kind == "commit" else option.running_per_month


def _kept_worth(model: Model, best: Solution) -> Decimal:
    """What machines from before are worth when the horizon, or their life inside it, ends."""
    worth = Decimal(0)
    for (name, month), count in model.kept(best).items():
        option = model.option(name)
        if month + 1 == min(option.have_months, model.case.months):
            worth += keep_value(option, month + 1) * count
    return worth


def _beyond(case: RoadCase, action: Action) -> Decimal:
    option = next(o for o in case.options if o.name == action.option)
    if action.verb != "commit":
        return Decimal(0)
    return beyond_horizon(option, action.month, case.months) * action.machines


def _people_beyond(case: RoadCase, month: Month) -> Decimal:
    """What the people of a site cost at least in a month, beyond those that the machines there are counted with."""
    people = {option.name: option.people_per_month for option in case.options if option.people_per_month}
    counted = [people[name] * count for name, count in month.machines.items() if name in people]
    return max(case.least_people - sum(counted, Decimal(0)), Decimal(0)) if counted else Decimal(0)


# -- why there is no plan ----------------------------------------------------------------------------------------------


def why_infeasible(case: RoadCase) -> list[str]:
    """Which limit, taken away alone, would leave a plan, and by how much it is too small; else what is not carried."""
    reasons: list[str] = []
    looser = {
        "site power": replace(case, site_kw=None),
        "the budget per quarter": replace(case, budget_per_quarter=None),
        "the limits on machines": replace(case, options=tuple(replace(o, limit=None) for o in case.options)),
        "lead times": replace(case, options=tuple(replace(o, lead_months=0, from_month=0) for o in case.options)),
    }
    for what, other in looser.items():
        if other != case and build(other).solve(relaxed=True).values is not None:
            reasons.append(f"{what} is too tight: without it there is a plan{_how_much(case, what)}.")
    missing = build(case, elastic="demand").solve(relaxed=True)
    if missing.values is not None:
        model = build(case, elastic="demand")
        reasons += [
            f"month {month + 1}: {amount:,.1f} units of {workload} have nothing to run on."
            for (workload, month), amount in model.slack(missing).items()
            if amount > CENT
        ][:4]
    return reasons or ["no single limit explains it: several are too tight together."]


def _how_much(case: RoadCase, what: str) -> str:
    kind = {"site power": "power", "the budget per quarter": "budget"}.get(what)
    if kind is None:
        return ""
    model = build(case, elastic=kind)
    found = model.solve(relaxed=True)
    if found.values is None:
        return ""
    (where, most) = max(model.slack(found).items(), key=lambda item: item[1])
    if kind == "power":
        return f", with {most:,.0f} kW more than {case.site_kw:,.0f} in month {where[1] + 1}"
    return f", with {most * 1000:,.0f} {case.currency} more in quarter {where[1] + 1}"


__all__ = ["OPTIMAL_GAP", "machines_at", "roadmap", "why_infeasible"]
