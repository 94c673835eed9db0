"""Hours of published runs by llm-analysis, by the bare formula, and by this program; each without itself."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.loader import numbered_rows, table_path
from cloudaccel.workloads.runs import RECOMPUTE_FACTOR, RUNS_TABLE, Run, runs
from tests.benchmarks.accuracy import predict, whole_runs


def report(peers: str) -> None:
    """Print the errors over the dense runs with a known width, side by side."""
    hidden = {row["name"]: row["hidden"] for _, row in numbered_rows(table_path(RUNS_TABLE))}
    asked = [run for run in whole_runs() if hidden[run.name] and not run.moe]
    # What its user has to know: how busy others kept the units, on any accelerator.
    busy = [median(x.use for x in whole_runs() if x is not run and x.use) for run in asked]
    found = _hours(peers, asked, [int(hidden[run.name]) for run in asked], busy)
    if found is None:
        return
    published = [run.accelerator_hours or 0.0 for run in asked]
    formula = [_formula(run, share) for run, share in zip(asked, busy, strict=True)]
    everything = runs()
    ours = [predict(run, [x for x in everything if x is not run]) for run in asked]
    print(f"{len(asked)} dense published runs, each without itself; relative error of the accelerator-hours")
    _line("llm-analysis, median use of the others", [a / b - 1 for a, b in zip(found, published, strict=True) if a])
    _line("6 N D over peak times that use", [a / b - 1 for a, b in zip(formula, published, strict=True)])
    _line("cloudaccel", ours)


def _hours(peers: str, asked: Sequence[Run], hidden: Sequence[int], busy: Sequence[float]) -> list[float | None] | None:
    rows = [_row(run, width, share) for run, width, share in zip(asked, hidden, busy, strict=True)]
    command = [peers, str(Path(__file__).with_name("ask_llm_analysis.py"))]
    done = subprocess.run(command, input=json.dumps(rows), check=False, capture_output=True, text=True)
    if done.returncode:
        print(f"llm-analysis: missing or failed: {done.stderr.strip()[-300:]}")
        return None
    return json.loads(done.stdout)


def _row(run: Run, hidden: int, busy: float) -> dict[str, object]:
    card = by_id(run.accelerator_id)
    return {
        "name": run.name, "params": run.params, "hidden": hidden, "tokens": int(run.tokens or 0),
        "sequence": run.sequence_tokens, "recompute": run.recompute, "peak_tflops": _peak(run),
        "memory_gb": card.memory_gib, "bandwidth": card.memory_bandwidth_gb_per_s, "efficiency": busy * run.goodput,
    }  # fmt: skip


def _peak(run: Run) -> float:
    card = by_id(run.accelerator_id)
    return card.peak_tflops_bf16_dense or card.peak_tflops_fp16_dense or 0.0


def _formula(run: Run, busy: float) -> float:
    peak = _peak(run) * 1e12
    work = 6 * run.params * (run.tokens or 0) * RECOMPUTE_FACTOR.get(run.recompute, 1.0)
    return work / (peak * busy * run.goodput) / 3600


def _line(what: str, errors: Sequence[float]) -> None:
    sizes = sorted(map(abs, errors))
    shares = "  ".join(
        f"<={limit:.0%} {sum(x <= limit for x in sizes) / len(sizes):4.0%}" for limit in (0.15, 0.25, 0.35)
    )
    print(f"{what:<40} n={len(sizes):3}  median {median(sizes):6.1%}  {shares}  worst {sizes[-1]:.0%}")
