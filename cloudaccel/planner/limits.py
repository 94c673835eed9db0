"""The limits that a pair breaks, in words, and the nearest change that would lift them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, Decimal

from cloudaccel.cost.lines import CURRENCY
from cloudaccel.model.plan import Relaxation
from cloudaccel.planner.join import Pair, deadline_h
from cloudaccel.planner.reasons import BUDGET, DEADLINE, EXAMPLES, POLICY, REASONS, Rejections, duration, policy_words
from cloudaccel.planner.request import Request


def count_blocked(request: Request, blocked: Sequence[Pair], rejections: Rejections) -> None:
    """Count every pair under the first thing against it, with the first of them as examples."""
    counts = Counter(pair[8] & -pair[8] for pair in blocked)
    counts.pop(POLICY, None)  # those were counted by offer
    examples = dict.fromkeys(counts, 0)
    for pair in blocked:
        bit = pair[8] & -pair[8]
        if examples.get(bit, EXAMPLES) < EXAMPLES:
            examples[bit] += 1
            rejections.add(REASONS[bit], "option", _name(pair), next(against(request, pair))[1])
        elif all(seen == EXAMPLES for seen in examples.values()):
            break
    for bit, count in counts.items():
        rejections.more(REASONS[bit], "option", count - examples[bit])


def against(request: Request, pair: Pair) -> Iterator[tuple[str, str]]:
    """What is against a pair, with a sentence: a rule, the deadline, the budget."""
    _, total, hours, _, _, _, _, price_class, bits = pair
    workload = request.workload
    if bits & POLICY:
        yield "policy", policy_words(price_class.judgement)
    if bits & DEADLINE:
        yield "deadline", _late(request, hours)
    if bits & BUDGET:
        yield "budget", f"over budget by {total - (workload.budget or 0):,.2f} {workload.budget_currency}"


def _late(request: Request, hours: Decimal) -> str:
    """The sentence of a run that is too long, for the deadline or for the window of the reservation."""
    deadline, held = deadline_h(request) or Decimal(0), request.held
    if held is None or deadline < held.left_h:
        return f"misses the deadline by {duration(hours - deadline)}"
    reservation = held.reservation
    end = f"{reservation.end:%Y-%m-%d %H:%M} UTC"
    if not held.left_h:
        return f"the window of {reservation.id} ended {end}"
    return f"needs {duration(hours)}, and the window of {reservation.id} has {duration(held.left_h)}, until {end}"


def _name(pair: Pair) -> str:
    machines, (provider, region, instance, _) = pair[3:5]
    return f"{provider} {region} {instance}" + (f" ×{machines}" if machines > 1 else "")


def relaxations(request: Request, feasible: Sequence[Pair], blocked: Sequence[Pair]) -> Iterator[Relaxation]:
    """The nearest change of one limit that gives an answer, or a cheaper one; of both when one is not enough."""
    best = feasible[0][1] if feasible else None
    found = 0
    for bits in (BUDGET, DEADLINE, BUDGET | DEADLINE):
        if bits == BUDGET | DEADLINE and (found or feasible):
            return
        those = [pair for pair in blocked if pair[8] == bits]
        if not those:
            continue
        found += 1
        nearest = min(those, key=lambda pair: pair[2] if bits == DEADLINE else pair[1])
        _, total, hours, *_ = nearest
        if best is None or total < best:
            changes = list(_changes(request, nearest))
            words = " and ".join(words for words, _, _ in changes)
            yield Relaxation(
                reasons=tuple(reason for reason, _ in against(request, nearest)),
                change=tuple((key, value) for _, key, value in changes),
                text=f"{words}: {_name(nearest)} for {total:,.2f} {CURRENCY} in {duration(hours)}",
            )


def _changes(request: Request, pair: Pair) -> Iterator[tuple[str, str, str]]:
    """What lifts each limit that a pair breaks: in words, as a key of the job, and its new value, rounded upwards."""
    _, total, hours, *_, bits = pair
    workload, deadline = request.workload, deadline_h(request)
    if bits & BUDGET and workload.budget is not None:
        value = total.quantize(_CENT, rounding=ROUND_CEILING)
        new = f"{value} {workload.budget_currency}"
        yield f"+{value - workload.budget:,.2f} {workload.budget_currency} of budget (--budget '{new}')", "budget", new
    if bits & DEADLINE and deadline is not None:
        minutes = (hours * 60).to_integral_value(rounding=ROUND_CEILING)
        new = f"{minutes}m" if minutes < 60 else f"{(hours * 10).to_integral_value(rounding=ROUND_CEILING) / 10}h"
        yield f"+{duration(hours - deadline)} of time (--deadline {new})", "deadline", new


_CENT = Decimal("0.01")
