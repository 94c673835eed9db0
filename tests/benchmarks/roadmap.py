"""G11: a roadmap of 36 months, 200 options and 5 workloads. ``python -m tests.benchmarks.roadmap``.

First answer (LP and rounding) in 1.5 s with a proven gap of at most 5 %; refined by HiGHS to 1 % in 60 s.
"""

import argparse
import random
import resource
import sys
import time
from decimal import Decimal

from cloudaccel.decide.roadmap import roadmap
from cloudaccel.model.roadmap import RoadCase, RoadOption

MONTHS, OPTIONS, WORKLOADS = 36, 200, 5
FIRST_S, FIRST_GAP, REFINED_S, REFINED_GAP = 1.5, 0.05, 60.0, 0.01


def synthetic(seed: int, *, months: int = MONTHS, options: int = OPTIONS, workloads: int = WORKLOADS) -> RoadCase:
    """A case of that size: 12 kinds of accelerator with speeds of their own for each workload, 60 % rents, site power,
    lead times, falling prices and growing demand with campaigns.
    """
    r = random.Random(seed)  # noqa: S311
    names = [f"w{i}" for i in range(workloads)]
    kinds = [(f"acc{k}", r.uniform(0.4, 3.0), [r.uniform(0.6, 1.4) for _ in names]) for k in range(12)]
    made = [_option(r, i, kinds[i % len(kinds)], names) for i in range(options)]
    demand = {name: tuple(_demand(r, months)) for name in names}
    return RoadCase(start="2027-01", demand=demand, options=tuple(made), site_kw=Decimal(600))


def _demand(r: random.Random, months: int) -> list[Decimal]:
    base, growth = r.uniform(20, 120), r.uniform(0.0, 0.06)
    campaign = r.randrange(months)
    return [
        Decimal(str(round(base * (1 + growth) ** t + (150 if campaign <= t < campaign + 4 else 0), 1)))
        for t in range(months)
    ]


def _option(r: random.Random, number: int, kind: tuple[str, float, list[float]], names: list[str]) -> RoadOption:
    name, power, speeds = kind
    size = r.choice([4, 8, 8, 8, 16])
    serves = {n: Decimal(str(round(size * power * s, 3))) for n, s in zip(names, speeds, strict=True)}
    hourly = size * power * r.uniform(2.0, 4.0)
    decline = Decimal(str(round(r.uniform(0.05, 0.2), 2)))
    roll = number % 10
    if roll < 6:
        limit = r.randrange(2, 30) if roll == 0 else None
        return RoadOption(
            name=f"{name}-rent-{number}", kind="rent", serves=serves, price_per_hour=_money(hourly), decline=decline,
            limit=limit, from_month=r.choice([0, 0, 0, 6, 12]),
        )  # fmt: skip
    if roll < 9:
        term = r.choice([12, 12, 36])
        share = 0.7 if term == 12 else 0.5
        return RoadOption(
            name=f"{name}-commit-{number}", kind="commit", serves=serves, price_per_hour=_money(hourly * share),
            decline=decline, term_months=term, from_month=r.choice([0, 0, 9]),
        )  # fmt: skip
    price = size * power * 28_000 * r.uniform(0.8, 1.2)
    return RoadOption(
        name=f"{name}-buy-{number}", kind="buy", serves=serves, price=_money(price),
        running_per_month=_money(price * 0.015), term_months=48, lead_months=r.choice([3, 6, 9]), decline=decline,
        residual=Decimal("0.15"), kw=_money(size * 1.3),
    )  # fmt: skip


def _money(amount: float) -> Decimal:
    return Decimal(str(round(amount, 2)))


def main() -> int:
    """Print a line for each seed; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=REFINED_S)
    a = parser.parse_args()
    roadmap(
        synthetic(0, months=2, options=3, workloads=1), seconds=0, clock=time.monotonic
    )  # the import is not the plan
    missed = 0
    for seed in range(a.seeds):
        case = synthetic(seed)
        started = time.monotonic()
        first = roadmap(case, seconds=0, clock=time.monotonic)
        first_s = time.monotonic() - started
        refined = roadmap(case, seconds=a.seconds, good_enough=REFINED_GAP, clock=time.monotonic)
        refined_s = time.monotonic() - started - first_s
        ok = first_s <= FIRST_S and (first.gap or 0) <= FIRST_GAP and (refined.gap or 0) <= REFINED_GAP + 1e-6
        missed += not ok
        sys.stdout.write(
            f"seed {seed}: first {first_s:.2f} s gap {100 * (first.gap or 0):.2f} %, refined {refined_s:.2f} s gap "
            f"{100 * (refined.gap or 0):.2f} %, total {refined.total:,.0f} {'ok' if ok else 'MISSED'}\n"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"peak {peak:.0f} MiB (goal 1024)\n")
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
