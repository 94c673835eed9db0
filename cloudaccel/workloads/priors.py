"""How busy accelerators get, learnt from published runs: a prior with its class, rows, date and interval.

A prior is of `use`: model FLOPs per second over the dense BF16 peak, times the recompute factor, downtime left out. So
the three things that make a run slow (a busy step, recomputation, downtime) stay three numbers.

Whole runs: the median of the smallest class that has rows enough. Steps: the three nearest rows of the smallest class
that has three (two of the stack that is named), by model size, accelerators and sequence length. A full fine-tune does
the step of pre-training, so their rows speak for each other. An interval is never narrower than the rows that it stands
on. Nothing is fitted: a class is left by leaving out rows, never by moving a number.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import nsmallest
from statistics import median

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.loader import numbered_rows
from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import ModelShape, Workload
from cloudaccel.workloads.flops import QLORA_SLOWDOWN
from cloudaccel.workloads.links import SLOW_LINKS
from cloudaccel.workloads.runs import Run, bf16_peak, runs, same_kind_of_precision, scale_of, use_of

MIN_ROWS = 2  # of a class of whole runs, or of steps of one stack
NEAREST = 3  # steps that a step prior is made of
SMALL_PARAMETERS = 25e9  # below it, published H100 hours imply about half the MFU (docs/explanation/sizing.md)
DEFAULT_CEILING = 0.80  # share of the peak that a big matrix product reaches, where nobody measured: H100's
# An 8-bit step over a 16-bit one on the same chip: torchtitan 1.26 to 1.28 (8B), Megatron-Bridge guide 1.2 to 1.5,
# about 1.4 at 70B (docs/explanation/sizing.md, 2026-08). Used only where a class has rows of the other kind
# alone.
FAST_PRECISION_GAIN = 1.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a prior is asked for. `whole` asks for runs of days to months, else for the rate of a step."""

    group: str
    moe: bool
    precision: str
    method: str
    params_active: float
    accelerators: int
    sequence_tokens: int
    stack: str
    whole: bool
    ceiling: float  # of `use`, in units of the BF16 peak

    @property
    def small(self) -> bool:
        """Whether the model is of the smaller kind."""
        return self.params_active < SMALL_PARAMETERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """An expectation of `use` with its interval (8 of 10 published runs lie inside it) and where it comes from."""

    use: float
    low: float
    high: float
    rows: int
    level: str
    years: tuple[int, int]
    nearest: tuple[Run, ...]
    flag: str = ""
    qlora_converted: bool = False  # whether rows of other methods stand for QLoRA
    over_slow_links: bool = False  # whether rows of several cards over PCIe are in it, whose waits it then contains


def question(workload: Workload, model: ModelShape, accelerator: Accelerator, accelerators: int) -> Question:
    """The question that a workload puts to the runs table."""
    use = use_of(accelerator.id)
    precision = same_kind_of_precision(workload.precision)
    whole = workload.task in ("pretrain", "continued_pretrain")
    return Question(
        group=use.group if use.group in _groups() else "other",
        moe=model.experts > 0,
        precision=precision,
        method="pretrain" if whole else workload.method,
        params_active=model.params_active,
        accelerators=accelerators,
        sequence_tokens=workload.sequence_tokens,
        stack=workload.stack or "",
        whole=whole,
        ceiling=(use.matmul_ceiling or DEFAULT_CEILING) * precision_gain(accelerator, precision),
    )


def precision_gain(accelerator: Accelerator, precision: str) -> float:
    """Peak of `precision` over the BF16 peak; 1 where the table has no such peak (FP4 counts as twice FP8)."""
    peak, fp8 = bf16_peak(accelerator), accelerator.peak_tflops_fp8_dense
    if not peak or not fp8 or precision not in ("fp8", "int8", "fp4"):
        return 1.0
    return fp8 / peak * (2.0 if precision == "fp4" else 1.0)


def prior(asked: Question, evidence: Sequence[Run] | None = None) -> Prior:
    """What to expect.

    Parameters
    ----------
    evidence
        Rows that may be used; None takes the whole table. Validation leaves out the row that it predicts.
    """
    if evidence is None:
        return _prior_of_all(asked)
    return _prior(asked, tuple(run for run in evidence if run.use))


@cache
def _usable() -> tuple[Run, ...]:
    return tuple(run for run in runs() if run.use)


@cache
def _groups() -> frozenset[str]:
    """Groups that any run speaks for; all other accelerators ask the same question, and are answered once."""
    return frozenset(run.group for run in _usable())


@cache
def _prior_of_all(asked: Question) -> Prior:
    return _prior(asked, _usable())


def _prior(asked: Question, evidence: Sequence[Run]) -> Prior:
    found, level, flag = (_of_whole_runs if asked.whole else _of_steps)(asked, evidence)
    use, rows = found
    kind = "borrowed" if flag else "whole" if asked.whole else "step"
    low, high = intervals()[kind]
    years = [run.year for run in rows if run.year]
    use = min(use, asked.ceiling)
    shown = [] if asked.whole else [_converted(asked, run) for run in rows[:NEAREST]]
    return Prior(
        use=use,
        low=min(use * low, *shown) if shown else use * low,
        high=min(max(use * high, *shown) if shown else use * high, asked.ceiling),
        rows=len(rows),
        level=level,
        years=(min(years), max(years)) if years else (0, 0),
        nearest=nearest_runs(asked, evidence),
        flag=flag,
        qlora_converted=asked.method == "qlora" and any(run.method != "qlora" for run in rows),
        over_slow_links=any(_over_slow_links(run) for run in rows),
    )


def _over_slow_links(run: Run) -> bool:
    return (run.accelerators or 1) > 1 and bool(run.accelerator_id) and by_id(run.accelerator_id).link in SLOW_LINKS


Found = tuple[tuple[float, Sequence[Run]], str, str]
Level = tuple[str, Callable[[Run], bool]]


def _of_whole_runs(asked: Question, evidence: Sequence[Run]) -> Found:
    whole = [run for run in evidence if run.kind == "full"]
    own = [run for run in whole if run.group == asked.group and run.moe == asked.moe]
    same = [run for run in own if same_kind_of_precision(run.precision) == asked.precision]
    size = "small" if asked.small else "large"
    kind = f"{asked.group}, {'experts' if asked.moe else 'dense'}"
    sized = [run for run in same if (run.params_active < SMALL_PARAMETERS) == asked.small]
    for level, rows in ((f"{kind}, {asked.precision}, {size}", sized), (f"{kind}, {asked.precision}", same)):
        if len(rows) >= MIN_ROWS:
            return (_middle(rows), rows), level, ""
    other = [run for run in own if (run.params_active < SMALL_PARAMETERS) == asked.small]
    if len(other) >= MIN_ROWS and asked.precision != "bf16":
        middle = median(_converted(asked, run) for run in other)
        return (middle, other), f"{kind}, {size}, other precisions converted", "extrapolated"
    from_steps = _whole_from_steps(asked, evidence, whole)
    if from_steps is not None:
        return from_steps, f"{kind}, {asked.precision}, from its steps", "extrapolated"
    if len(own) >= MIN_ROWS:
        return (_middle(own), own), f"{kind}, any precision", "extrapolated"
    foreign = [run for run in whole if run not in own]
    others = [run for run in foreign if run.moe == asked.moe] or foreign or own
    if own:  # one run is better than none, and less than a class: it counts as much as all others together
        between = math.sqrt((own[0].use or 1.0) * _middle(others))
        return (between, own), f"{kind}, one run, halfway to other accelerators", "borrowed"
    return (_middle(others), others), "other accelerators", "borrowed"


def _middle(rows: Sequence[Run]) -> float:
    return median(run.use for run in rows if run.use)


def _whole_from_steps(
    asked: Question, evidence: Sequence[Run], whole: Sequence[Run]
) -> tuple[float, Sequence[Run]] | None:
    """Whole runs where only steps are published: the steps, times what whole runs keep of them elsewhere."""
    steps = [run for run in evidence if run.kind == "step" and run.method == "pretrain"]
    rows = [
        run
        for run in steps
        if (run.group, run.moe, same_kind_of_precision(run.precision)) == (asked.group, asked.moe, asked.precision)
    ]
    if not rows:
        return None
    return _middle(rows) * _kept(whole, steps), rows


def _kept(whole: Sequence[Run], steps: Sequence[Run]) -> float:
    """Median over accelerators of whole-run use over step use, dense 16-bit runs; 1 when nothing can be compared."""

    def by_group(rows: Sequence[Run]) -> dict[str, list[Run]]:
        grouped: dict[str, list[Run]] = {}
        for run in rows:
            if not run.moe and same_kind_of_precision(run.precision) == "bf16":
                grouped.setdefault(run.group, []).append(run)
        return grouped

    short = by_group(steps)
    ratios = [_middle(rows) / _middle(short[group]) for group, rows in by_group(whole).items() if group in short]
    return min(1.0, median(ratios)) if ratios else 1.0


def _of_steps(asked: Question, evidence: Sequence[Run]) -> Found:
    steps = [run for run in evidence if run.kind != "full" and run.moe == asked.moe]
    own = [run for run in steps if run.group == asked.group]
    levels: tuple[Level, ...] = (
        ("same method, precision and stack", lambda run: _alike(asked, run) and run.stack == asked.stack),
        ("same method and stack", lambda run: _same_method(asked, run) and run.stack == asked.stack),
        ("same method and precision", lambda run: _alike(asked, run)),
        ("same method", lambda run: _same_method(asked, run)),
        ("same precision", lambda run: same_kind_of_precision(run.precision) == asked.precision),
        ("any step", lambda run: run.kind != "full"),
    )
    classes = [(level, [run for run in own if test(run)]) for level, test in levels[0 if asked.stack else 2 :]]
    known = [found for found in classes if found[1]]
    if known:
        level, rows = next((found for found in known if _enough(*found)), known[0])
        exact = "method" in level and "precision" in level and _enough(level, rows)
        return _nearest_mean(asked, rows), f"{asked.group}, {level}", "" if exact else "extrapolated"
    alike = [run for run in steps if _alike(asked, run)] or steps
    return _between(asked, evidence, alike), "other accelerators", "borrowed"


def _enough(level: str, rows: Sequence[Run]) -> bool:
    return len(rows) >= (MIN_ROWS if "stack" in level else NEAREST)


def _between(asked: Question, evidence: Sequence[Run], others: Sequence[Run]) -> tuple[float, Sequence[Run]]:
    """What steps of other accelerators say; where whole runs of the accelerator are known, halfway to those."""
    whole = [run for run in evidence if run.kind == "full" and run.use]
    own = [run for run in whole if run.group == asked.group and run.moe == asked.moe]
    middle = median(_converted(asked, run) for run in others)
    if not own:
        return middle, others
    steps = [run for run in evidence if run.kind == "step" and run.method == "pretrain"]
    return math.sqrt(_middle(own) / _kept(whole, steps) * middle), [*own, *others]


_FULL_STEP = frozenset({"full", "pretrain"})  # all weights are trained: 6 FLOPs for each parameter and token


def _same_method(asked: Question, run: Run) -> bool:
    return run.method == asked.method or _FULL_STEP.issuperset((run.method, asked.method))


def _alike(asked: Question, run: Run) -> bool:
    return _same_method(asked, run) and same_kind_of_precision(run.precision) == asked.precision


def _nearest(asked: Question, rows: Sequence[Run]) -> list[tuple[float, Run]]:
    """The nearest rows with their distance: method and model size count most. The weights are round numbers."""
    far = [_distance(asked, run) for run in rows]
    return [(far[i], rows[i]) for i in nsmallest(NEAREST, range(len(rows)), key=far.__getitem__)]


def _distance(asked: Question, run: Run) -> float:
    size, count, length = scale_of(asked.params_active, asked.accelerators, asked.sequence_tokens)
    apart = abs(run.scale[0] - size) + 0.5 * abs(run.scale[1] - count) + 0.5 * abs(run.scale[2] - length)
    if asked.whole:
        return apart
    other_precision = same_kind_of_precision(run.precision) != asked.precision
    return apart + 0.5 * other_precision + 1.0 * (not _same_method(asked, run))


def _nearest_mean(asked: Question, rows: Sequence[Run]) -> tuple[float, Sequence[Run]]:
    """Mean of the logarithm of `use` over the nearest rows, the nearer the heavier, in the precision that is asked."""
    nearest = _nearest(asked, rows)
    weights = [1 / (distance + 0.3) for distance, _run in nearest]
    logs = [math.log(_converted(asked, run)) for _distance, run in nearest]
    mean = math.exp(sum(w * x for w, x in zip(weights, logs, strict=True)) / sum(weights))
    return mean, [run for _distance, run in nearest]


def _converted(asked: Question, run: Run) -> float:
    """`use` of a run, were it in the precision and by the method that is asked."""
    fast, wanted = (same_kind_of_precision(p) != "bf16" for p in (run.precision, asked.precision))
    gain = 1.0 if fast == wanted else FAST_PRECISION_GAIN if wanted else 1 / FAST_PRECISION_GAIN
    if "qlora" in (run.method, asked.method) and run.method != asked.method:
        gain *= QLORA_SLOWDOWN if run.method == "qlora" else 1 / QLORA_SLOWDOWN
    return (run.use or 1.0) * gain


def nearest_runs(asked: Question, evidence: Sequence[Run]) -> tuple[Run, ...]:
    """The three published runs most like this one, for saying "your plan resembles"."""
    kind = "full" if asked.whole else "step"
    pool = [run for run in evidence if run.kind == kind and run.moe == asked.moe]
    same = [run for run in pool if run.group == asked.group]
    return tuple(run for _distance, run in _nearest(asked, same if len(same) >= NEAREST else pool))


@cache
def intervals() -> dict[str, tuple[float, float]]:
    """Factors of the interval around a prior by kind of prior: ``whole``, ``step``, ``borrowed``.

    Leave-one-out residuals of the runs table, 10th and 90th percentile with the finite-sample correction of conformal
    prediction; written by ``python -m tests.benchmarks.accuracy --write`` and checked by a test.
    """
    columns = ("kind", "low", "high", "rows", "made_by", "as_of")
    return {
        row["kind"]: (float(row["low"]), float(row["high"]))
        for _line, row in numbered_rows("prior_intervals.csv", columns)
    }
