"""How fast rules are: 10,000 places by 25 packs, ``python -m tests.benchmarks.policy``. Goal: 1 s, tables loaded."""

import random
import sys
import time
from dataclasses import replace

from cloudaccel.compliance import Circumstances, Judge, Pack, Placement, shipped_packs
from cloudaccel.compliance.placement import deployment_of
from cloudaccel.compliance.tables import shipped_tables
from cloudaccel.facts import accelerators, places
from tests.benchmarks.measure import environment, median_wall_s

PLACES = 10_000
PACKS = 25


def main() -> int:
    """Measure, and print one table."""
    base = median_wall_s([sys.executable, "-c", "pass"], environment(), 5)
    shipped_tables()
    packs, found = _packs(), _places()
    start = time.perf_counter()
    judge = Judge(packs, Circumstances())
    states = {judge.verdict(place).state for place in found}
    took = time.perf_counter() - start
    print(f"python -c pass                 {base * 1000:8.1f} ms    1.00 ×")
    print(
        f"{PLACES:,} places × {len(packs)} packs      {took * 1000:8.1f} ms  {took / base:6.2f} ×   (goal ≤ 1,000 ms)"
    )
    print(f"verdicts kept {len(judge.known):,}, states {', '.join(sorted(states))}")
    return 0


def _packs() -> tuple[Pack, ...]:
    """The packs that ship, and as many copies under other names as it takes."""
    packs = list(shipped_packs().values())
    for number in range(PACKS - len(packs)):
        pack = packs[number]
        rules = tuple(replace(rule, id=f"{rule.id}-copy") for rule in pack.rules)
        packs.append(replace(pack, id=f"{pack.id}-copy", rules=rules))
    return tuple(packs)


def _places() -> list[Placement]:
    rng = random.Random(7)  # noqa: S311 - not a secret
    regions = list(places.regions().values())
    ids = [a.id for a in accelerators.all_accelerators()]
    chosen = rng.choices(regions, k=PLACES)
    return [
        Placement(
            provider=r.provider,
            partition=r.partition,
            region=r.name,
            country=r.country,
            deployment=deployment_of(r.provider, r.partition),
            service="gpu",
            accelerator=rng.choice(ids),
        )
        for r in chosen
    ]


if __name__ == "__main__":
    sys.exit(main())
