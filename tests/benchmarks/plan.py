"""How fast a plan is, as ratios in one run: ``python -m tests.benchmarks.plan``. Goals: 0.5 µs a candidate, 64 MiB."""

import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from cloudaccel.catalog.session import accelerator_table, open_session
from cloudaccel.model import Query
from cloudaccel.model.plan import Plan
from cloudaccel.model.workload import Workload
from cloudaccel.planner.plan import Context, Request, make_plan
from cloudaccel.workloads import resolve_model, size
from tests.benchmarks.measure import environment, median_wall_s, peak_mib

JOB = [
    *("plan", "--task", "finetune", "--method", "lora", "--model", "llama-3-70b", "--tokens", "200e6"),
    *("--deadline", "24h", "--lock", "-", "--json"),
]


def main() -> int:
    """Measure, and print one table."""
    env = environment()
    command = [sys.executable, "-m", "cloudaccel", *JOB]
    base = median_wall_s([sys.executable, "-c", "pass"], env, 9)
    wall = median_wall_s(command, env, 9)
    print(f"python -c pass          {base * 1000:8.1f} ms    1.00 ×")
    peak = peak_mib(command, env)
    print(f"plan, whole process     {wall * 1000:8.1f} ms  {wall / base:6.2f} ×   {peak:.0f} MiB (G12 ≤ 64)")
    once, evaluated = _in_process()
    each = once / evaluated * 1e6
    print(f"plan in process         {once * 1000:8.1f} ms, {evaluated:,} candidates: {each:.2f} µs each (G9 ≤ 0.5)")
    for points, goal in ((40_000, 30), (100_000, 100)):
        print(f"Pareto of {points:>9,} points {_pareto(points) * 1000:8.1f} ms (G10 ≤ {goal} on the design's machine)")
    return 0


def _in_process() -> tuple[float, int]:
    return _median(_planned), _planned().evaluated


def _planned() -> Plan:
    model = resolve_model("llama-3-70b")
    workload = Workload(
        task="finetune", method="lora", model=model.id, tokens=200e6, deadline_s=86400.0, budget=Decimal(3000)
    )
    table = accelerator_table()
    with open_session() as session:
        context = Context(session.catalog.db, table, lambda a, n, k: size(workload, model, a, per_node=n, nodes=k))
        return make_plan(Request(workload=workload, model=model, query=Query(limit=None)), context)


def _pareto(points: int) -> float:
    """Seconds of ``Plan.pareto()`` itself over so many options of random cost and time."""
    rng = random.Random(7)  # noqa: S311 - not a secret
    found = _planned()
    assert found.best is not None
    options = tuple(
        replace(found.best, total=Decimal(rng.randrange(10**9)) / 10_000, hours=Decimal(rng.randrange(10**7)) / 10_000)
        for _ in range(points)
    )
    return _median(replace(found, options=options).pareto)


def _median(call: Callable[[], object], runs: int = 7) -> float:
    times: list[float] = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
