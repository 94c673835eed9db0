"""How fast a plan is, as ratios in one run: ``python -m tests.benchmarks.plan``. Goals: 0.5 µs a candidate, 64 MiB."""

import random
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from cloudaccel.catalog.session import accelerator_table, open_session
from cloudaccel.model import Accelerator, Query
from cloudaccel.model.plan import Plan
from cloudaccel.model.workload import Fit, Machine, Workload
from cloudaccel.planner.hardware import Hardware, hardware_on_offer
from cloudaccel.planner.join import Field, sized
from cloudaccel.planner.plan import make_plan
from cloudaccel.planner.reasons import Rejections
from cloudaccel.planner.request import NODE_STEPS, Context, Request
from cloudaccel.workloads import resolve_model, size
from tests.benchmarks.measure import environment, median_wall_s, met, peak_mib

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
    print(f"plan, whole process     {wall * 1000:8.1f} ms  {wall / base:6.2f} ×")
    print(f"peak memory of it       {peak:8.0f} MiB (G12 ≤ 64) {met(peak <= 64)}")
    _print_parts()
    for points, goal in ((40_000, 30), (100_000, 100)):
        print(f"Pareto of {points:>9,} points {_pareto(points) * 1000:8.1f} ms (G10 ≤ {goal} on the design's machine)")
    return 0


def _request() -> Request:
    model = resolve_model("llama-3-70b")
    workload = Workload(
        task="finetune", method="lora", model=model.id, tokens=200e6, deadline_s=86400.0, budget=Decimal(3000)
    )
    return Request(workload=workload, model=model, query=Query(limit=None))


def _context(db: sqlite3.Connection, request: Request) -> Context:
    def sizer(accelerator: Accelerator, per_node: int, nodes: int, machine: Machine) -> Fit:
        return size(request.workload, request.model, accelerator, per_node=per_node, nodes=nodes, machine=machine)

    return Context(db, accelerator_table(), sizer)


def _planned() -> Plan:
    request = _request()
    with open_session() as session:
        return make_plan(request, _context(session.catalog.db, request))


def planned_in_process() -> tuple[float, int]:
    """Seconds of one plan, and how many candidates it looked at."""
    return _median(_planned), _planned().evaluated


def _print_parts() -> None:
    """The four parts of a plan, each by what it is done for. A candidate is an offer joined to a sized shape."""
    request, whole = _request(), _median(_planned)
    with open_session() as session:
        context = _context(session.catalog.db, request)
        offered = hardware_on_offer(request, context, Rejections())
        sizes = [(h, n, context.size(h.accelerator, h.count, n, h.machine)) for h in offered for n in NODE_STEPS[:12]]
        fitting = [(h, n, fit) for h, n, fit in sizes if fit.verdict != "no"]
        plan = make_plan(request, context)
        finding = _median(lambda: hardware_on_offer(request, context, Rejections()))
        sizing = _median(lambda: [context.size(h.accelerator, h.count, n, h.machine) for h, n, _ in sizes])
        joining = _median(lambda: _joined(request, context, fitting))
        planning = _median(lambda: make_plan(request, context))
    offers, candidates = sum(h.offers for h in offered), sum(h.offers for h, *_ in fitting)
    each = planning / plan.evaluated
    print(f"plan in process         {whole * 1000:8.1f} ms, {plan.evaluated:,} candidates; {each * 1e6:.2f} µs each")
    for name, seconds, count, of in (
        ("  finding what is sold", finding, offers, "offer kept"),
        ("  sizing", sizing, len(sizes), "shape"),
        ("  joining and ordering", joining, candidates, "candidate (G9 ≤ 0.5)"),
    ):
        print(f"{name:<24}{seconds * 1000:8.1f} ms, {count:>6,}: {seconds / count * 1e6:5.2f} µs for each {of}")
    print(f"  asked once for each shape, not for each candidate: {candidates / len(sizes):.1f} × fewer questions")


def _joined(request: Request, context: Context, fitting: Sequence[tuple[Hardware, int, Fit]]) -> object:
    field = Field(request, context)
    for hardware, nodes, fit in fitting:
        shape = sized(request, hardware, nodes, fit)
        if shape is not None:
            field.add(shape)
    return field.ordered()


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
