"""How far the estimates are from what people published: `python -m tests.benchmarks.accuracy`.

Every row is predicted without itself (leave-one-out). ``--write`` renews the intervals that the product shows.
"""

import argparse
import csv
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.loader import numbered_rows, table_path
from cloudaccel.facts.models import models, resolve_model
from cloudaccel.model.workload import Parallelism, ServeDemand, Workload
from cloudaccel.workloads import priors, serving
from cloudaccel.workloads.memory import GIB, gpt_activation_bytes, training_memory
from cloudaccel.workloads.priors import DEFAULT_CEILING, Question, precision_gain, prior
from cloudaccel.workloads.runs import UNKNOWN_COUNT, Run, runs, same_kind_of_precision, use_of

TAIL = 0.10  # on each side of the interval
BORROWED_WIDTH = 2.0  # what nobody published for that accelerator: the interval twice as wide, in logarithms
NAMED = ("GPT-3 175B", "MT-NLG 530B", "PaLM 540B", "BLOOM-176B", "OPT-175B", "LLaMA-", "BloombergGPT", "DeepSeek-V3")

# GiB of activations of the first stage, arXiv:2205.05198 figure 1 as profiled (docs/explanation/sizing.md):
# sizes, then with tensor parallelism alone, and with sequence parallelism and selective recomputation.
ACTIVATIONS = (
    ("22B", {"hidden": 6144, "heads": 64, "layers": 48, "pp": 1, "micro_batch": 4, "chunks": 1}, 59.25, 9.56),
    ("175B", {"hidden": 12288, "heads": 96, "layers": 96, "pp": 8, "micro_batch": 1, "chunks": 3}, 66.84, 12.35),
    ("530B", {"hidden": 20480, "heads": 128, "layers": 105, "pp": 35, "micro_batch": 1, "chunks": 3}, 114.02, 23.08),
    ("1T", {"hidden": 25600, "heads": 160, "layers": 128, "pp": 64, "micro_batch": 1, "chunks": 1}, 131.25, 26.56),
)
# Peak GB of fine-tunes on one card, Lightning-AI/litgpt tutorials/resource-tables.md (micro-batch 1, 1,304 tokens, rank
# 8).
PEAKS = (
    ("meta-llama/Llama-2-7b-hf", "lora", 21.30),
    ("meta-llama/Llama-2-13b-hf", "lora", 38.12),
    ("meta-llama/Llama-2-7b-hf", "qlora", 13.84),
    ("meta-llama/Llama-2-13b-hf", "qlora", 22.55),
)


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of one set of predictions, signed: predicted over published, less 1."""

    name: str
    values: tuple[float, ...]

    def within(self, limit: float) -> float:
        """Share of the rows whose error is at most `limit`."""
        return sum(abs(value) <= limit for value in self.values) / len(self.values)

    @property
    def middle(self) -> float:
        """Median of the absolute error."""
        return median(abs(value) for value in self.values)

    def line(self) -> str:
        """One line for the report."""
        shares = "  ".join(f"<={limit:.0%} {self.within(limit):4.0%}" for limit in (0.12, 0.15, 0.20, 0.25, 0.35, 0.50))
        bias = median(self.values)
        return f"{self.name:44} n={len(self.values):3}  median {self.middle:6.1%}  {shares}  bias {bias:+.0%}"


def asked(run: Run, *, stack: bool = False) -> Question:
    """The question that a published run would have put."""
    accelerator, use = by_id(run.accelerator_id), use_of(run.accelerator_id)
    precision = same_kind_of_precision(run.precision)
    whole = run.kind == "full"
    return Question(
        group=run.group,
        moe=run.moe,
        precision=precision,
        method="pretrain" if whole else run.method,
        params_active=run.params_active,
        accelerators=run.accelerators or UNKNOWN_COUNT,
        sequence_tokens=run.sequence_tokens,
        stack=run.stack if stack else "",
        whole=whole,
        ceiling=(use.matmul_ceiling or DEFAULT_CEILING) * precision_gain(accelerator, precision),
    )


def whole_runs() -> list[Run]:
    """Runs with hours, all of them."""
    return [run for run in runs() if run.kind == "full" and run.use]


def vouched(run: Run) -> bool:
    """Whether other rows of its accelerator speak for a run: its prior is not borrowed from other accelerators."""
    return prior(asked(run), [x for x in runs() if x is not run]).flag != "borrowed"


def step_rows() -> list[Run]:
    """Steps with a published rate."""
    return [run for run in runs() if run.kind != "full" and run.use]


def family(run: Run) -> str:
    """What publishes several runs together: the name up to the size."""
    return run.name.split("-")[0].split(" ")[0].rstrip("0123456789.")


def predict(run: Run, evidence: Sequence[Run], *, stack: bool = False) -> float:
    """Predicted over published hours of a whole run (or published over predicted rate of a step), less 1."""
    return (run.use or 0.0) / prior(asked(run, stack=stack), evidence).use - 1


def leave_one_out(rows: Iterable[Run], name: str, *, stack: bool = False, families: bool = False) -> Errors:
    """Errors of `rows`, each predicted from all others, or from other families only."""
    everything = runs()
    errors: list[float] = []
    for run in rows:
        others = [x for x in everything if x is not run and not (families and family(x) == family(run))]
        errors.append(predict(run, others, stack=stack))
    return Errors(name, tuple(errors))


def interval(errors: Errors) -> tuple[float, float]:
    """Factors of `use` that 8 of 10 rows lie within, with the finite-sample correction of conformal prediction."""
    ratios = sorted(1 + value for value in errors.values)
    last = len(ratios) - 1
    high = min(last, math.ceil((len(ratios) + 1) * (1 - TAIL)) - 1)
    return ratios[max(0, last - high)], ratios[high]


def coverage(errors: Errors) -> float:
    """Share of rows inside the interval that the other rows give."""
    inside = 0
    for index, value in enumerate(errors.values):
        low, high = interval(Errors("", errors.values[:index] + errors.values[index + 1 :]))
        inside += low <= 1 + value <= high
    return inside / len(errors.values)


def calibrated(name: str, test: Callable[[Run], bool]) -> Errors:
    """Hours from a published step rate and the product's goodput, against published hours, of the runs that pass."""
    found = [run for run in whole_runs() if run.reported_step_mfu and run.wall_mfu and test(run)]
    return Errors(name, tuple((r.wall_mfu or 0) / ((r.reported_step_mfu or 1) * r.goodput) - 1 for r in found))


def derived(run: Run) -> bool:
    """Whether hours and rate come from one figure, so that their agreement proves nothing."""
    return "rate" in run.downtime


def activations() -> Errors:
    """The activation formula against the published figures."""
    errors: list[float] = []
    for _name, sizes, plain, selective in ACTIVATIONS:
        for recompute, published in (("no_sp", plain), ("selective", selective)):
            got = gpt_activation_bytes(sequence=2048, tp=8, recompute=recompute, **sizes)
            errors.append(got / GIB / published - 1)
    return Errors("memory: activations", tuple(errors))


def peak_memory(method: str) -> Errors:
    """Peaks of LoRA or QLoRA on one card."""
    card = by_id("nvidia-a100-sxm-40gb")
    errors: list[float] = []
    for name, how, published in PEAKS:
        if how == method:
            job = Workload(task="finetune", model=name, method=how, tokens=1e6, sequence_tokens=1304, lora_rank=8)
            memory = training_memory(job, resolve_model(name), card, Parallelism())
            errors.append(memory.step_gib * GIB / 1e9 / published - 1)
    return Errors(f"memory: {method} peak", tuple(errors))


@dataclass(frozen=True, slots=True)
class Served:
    """One published serving rate and ours."""

    row: dict[str, str]
    error: float
    dense: bool


def served() -> list[Served]:
    """All serving rows that the accelerator table has figures for."""
    found: list[Served] = []
    for _line, row in numbered_rows("inference_runs.csv"):
        rate = _served_rate(row)
        if rate is not None:
            published = float(row["output_tokens_per_s"])
            found.append(Served(row, rate / published - 1, not models()[row["model"]].experts))
    return found


def _served_rate(row: dict[str, str]) -> float | None:
    """Our rate for the row's machine, cut as the row says, or into the replicas that we would choose."""
    model, accelerator, job = models()[row["model"]], by_id(row["accelerator_id"]), _served_job(row)
    count = int(row["accelerators"])
    if job.precision in _FAST and not accelerator.peak_tflops_fp8_dense:
        return None
    if row["tp"] or row["batch"]:
        return _replica_rate(row, None)
    per_node = min(count, 8)
    fit = serving.size_serving(job, model, accelerator, per_node=per_node, nodes=max(1, count // per_node))
    return fit.tokens_per_s if fit.verdict != "no" else None


_FAST = ("fp8", "fp4", "int4")


def _served_job(row: dict[str, str]) -> Workload:
    demand = ServeDemand(
        input_tokens=int(row["input_tokens"]),
        output_tokens=int(row["output_tokens"]),
        concurrency=int(row["batch"]) if row["batch"] else None,
        kv_precision="fp8" if row["precision"] in _FAST else "bf16",
        prefill_chunk_tokens=2048,
    )
    return Workload(task="serve", model=row["model"], precision=row["precision"], stack=row["stack"], serve=demand)


def _replica_rate(row: dict[str, str], shares: tuple[float, float, float] | None) -> float | None:
    """Rate of one replica over all accelerators of the row, with other `shares` than the table's when given."""
    model, accelerator, count = models()[row["model"]], by_id(row["accelerator_id"]), int(row["accelerators"])
    case = serving.case_of(_served_job(row), model, accelerator, per_node=count, nodes=1)
    if case is None:
        return None
    if shares is not None:
        prefill, decode, bandwidth = shares
        case = case._replace(rates=case.rates._replace(prefill=prefill, decode=decode, bandwidth=bandwidth))
    speed = serving.replica_speed(case, serving.replica_of(case, count, 1))
    return speed.output_per_s if speed else None


HOPPER = ("nvidia-h100-sxm-80gb", "nvidia-h200-sxm")
TABLES = "TensorRT-LLM v1.0"


def half_by_half(rows: Sequence[Served]) -> Errors:
    """Dense Hopper rows of the tables, each half predicted by the three shares that suit the other half best."""
    found = [
        s.row for s in rows if s.dense and s.row["accelerator_id"] in HOPPER and s.row["software"].startswith(TABLES)
    ]
    halves: tuple[list[dict[str, str]], list[dict[str, str]]] = ([], [])
    for row in found:
        key = ",".join(row[name] for name in ("model", "accelerator_id", "input_tokens", "output_tokens"))
        halves[zlib.crc32(key.encode()) % 2].append(row)
    errors: list[float] = []
    for chosen, other in (halves, halves[::-1]):
        grid = [(p / 20, d / 20, b / 20) for p in range(6, 17, 2) for d in range(3, 11, 2) for b in range(8, 19, 2)]
        best = min(grid, key=lambda shares: sum(abs(math.log(1 + e)) for e in _errors(chosen, shares)))
        errors += _errors(other, best)
    return Errors("  shares chosen on the other half", tuple(errors))


def _errors(rows: Sequence[dict[str, str]], shares: tuple[float, float, float]) -> tuple[float, ...]:
    return tuple((_replica_rate(row, shares) or 0.0) / float(row["output_tokens_per_s"]) - 1 for row in rows)


def serving_sets(rows: Sequence[Served]) -> list[Errors]:
    """Serving errors by the sets of the bars."""

    def pick(name: str, test: Callable[[Served], bool]) -> Errors | None:
        values = tuple(served.error for served in rows if test(served))
        return Errors(name, values) if values else None

    sets = [
        pick(
            "serving: TRT-LLM v1.0, Hopper, dense",
            lambda s: s.row["software"].startswith(TABLES) and s.row["accelerator_id"] in HOPPER and s.dense,
        ),
        pick(
            "serving: TRT-LLM v1.0, Hopper, experts",
            lambda s: s.row["software"].startswith(TABLES) and s.row["accelerator_id"] in HOPPER and not s.dense,
        ),
        pick(
            "serving: TRT-LLM v1.0, Blackwell",
            lambda s: s.row["software"].startswith(TABLES) and s.row["accelerator_id"] not in HOPPER,
        ),
        pick("serving: MLPerf offline", lambda s: s.row["scenario"] == "MLPerf Offline"),
        pick("serving: static batches, Gaudi", lambda s: s.row["stack"] == "optimum-habana"),
        pick("serving: Neuron", lambda s: s.row["stack"] == "neuronx"),
        pick("serving: static batches, A100/H100 of 2023", lambda s: "v0." in s.row["software"]),
    ]
    return [found for found in sets if found is not None]


@dataclass(frozen=True, slots=True)
class Measured:
    """All sets of errors, worked out once."""

    whole: Errors
    vouched: Errors
    families: Errors
    stacks: Errors
    calibrated: Errors
    no_downtime: Errors
    one_figure: Errors
    steps: Errors
    step_stacks: Errors
    activations: Errors
    lora: Errors
    qlora: Errors
    dense: Errors
    halves: Errors
    others: tuple[Errors, ...]

    def sets(self) -> list[Errors]:
        """In the order of the report."""
        *first, others = (getattr(self, name) for name in self.__slots__)
        return [*first, *others]


def measure() -> Measured:
    """Everything that the report shows."""
    rows = served()
    dense, *others = serving_sets(rows)
    return Measured(
        leave_one_out(whole_runs(), "hours from a prior"),
        leave_one_out([run for run in whole_runs() if vouched(run)], "  accelerators that other runs speak for"),
        leave_one_out(whole_runs(), "  without anything of the same family", families=True),
        leave_one_out([run for run in whole_runs() if run.stack], "hours, stack named", stack=True),
        calibrated("calibrated by a published step", lambda run: not derived(run)),
        calibrated("  hours that leave downtime out", lambda run: bool(run.downtime) and not derived(run)),
        calibrated("  hours and rate from one figure (no proof)", derived),
        leave_one_out(step_rows(), "step rate from a prior"),
        leave_one_out(step_rows(), "step rate, stack named", stack=True),
        activations(),
        peak_memory("lora"),
        peak_memory("qlora"),
        dense,
        half_by_half(rows),
        tuple(others),
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """One thing that must hold: `value` at least `limit`, or at most when `most`."""

    name: str
    value: float
    limit: float
    most: bool = False

    @property
    def met(self) -> bool:
        """Whether it holds."""
        return self.value <= self.limit if self.most else self.value >= self.limit

    def line(self) -> str:
        """One line for the report."""
        sign = "<=" if self.most else ">="
        return f"{self.name:60} {self.value:6.1%} {sign} {self.limit:4.0%}  {'met' if self.met else 'NOT MET'}"


def bars(found: Measured) -> list[Bar]:
    """What the estimates are held to."""
    whole, steps = found.whole, found.steps

    def worst(errors: Errors) -> float:
        return max(abs(value) for value in errors.values)

    return [
        Bar("hours from a prior: median", whole.middle, 0.16, most=True),
        Bar("hours from a prior: within 25 %", whole.within(0.25), 0.75),
        Bar("hours from a prior: within 35 %", whole.within(0.35), 0.90),
        Bar("hours, accelerators that other runs speak for: within 35 %", found.vouched.within(0.35), 0.90),
        Bar("hours from a prior: inside the interval shown", coverage(whole), 0.80),
        Bar("hours, stack named: within 15 %", found.stacks.within(0.15), 0.60),
        Bar("hours, calibrated, downtime left out: within 12 %", found.no_downtime.within(0.12), 0.90),
        Bar("step rate: within 20 %", steps.within(0.20), 0.80),
        Bar("step rate: inside the interval shown", coverage(steps), 0.80),
        Bar("memory, activations: worst", worst(found.activations), 0.02, most=True),
        Bar("memory, LoRA peak: worst", worst(found.lora), 0.08, most=True),
        Bar("memory, QLoRA peak: worst", worst(found.qlora), 0.25, most=True),
        Bar("serving, dense models on Hopper: median", found.dense.middle, 0.15, most=True),
        Bar("serving, dense models on Hopper: within 25 %", found.dense.within(0.25), 0.80),
        Bar("serving, shares from the other half: median", found.halves.middle, 0.15, most=True),
        Bar("serving, shares from the other half: within 25 %", found.halves.within(0.25), 0.80),
        *(Bar(f"{errors.name}: median", errors.middle, 0.30, most=True) for errors in found.others),
    ]


def report() -> list[str]:
    """All lines."""
    found = measure()
    lines = ["Error of the estimates: predicted over published, each row predicted without itself.", ""]
    lines += [errors.line() for errors in found.sets()]
    for name, errors in (("hours", found.whole), ("steps", found.steps)):
        low, high = interval(errors)
        lines.append(
            f"interval of {name}: use x {low:.2f} to {high:.2f}; covers {coverage(errors):.0%} of rows left out"
        )
    lines += ["", "Bars:", *(f"  {bar.line()}" for bar in bars(found))]
    return [*lines, "", "Named runs:", *named_lines()]


def named_lines() -> list[str]:
    """Predicted and published hours of the runs that the bars name."""
    everything = runs()
    lines: list[str] = []
    for run in everything:
        if run.kind != "full" or not run.name.startswith(NAMED) or run.accelerator_hours is None:
            continue
        found = prior(asked(run), [x for x in everything if x is not run])
        hours = run.accelerator_hours * (run.use or 0.0) / found.use
        inside = "inside" if found.low <= (run.use or 0.0) <= found.high else "OUTSIDE"
        error = hours / run.accelerator_hours - 1
        lines.append(
            f"  {run.name:30} {hours:12,.0f} h predicted, {run.accelerator_hours:12,.0f} published, {error:+5.0%}, "
            f"{inside} its interval ({found.level}, {found.rows} rows)"
        )
    return lines


def write_intervals() -> None:
    """Renews ``prior_intervals.csv`` from the leave-one-out residuals."""
    rows: list[list[object]] = []
    for kind, found in (("whole", whole_runs()), ("step", step_rows())):
        low, high = interval(leave_one_out(found, kind))
        rows.append([kind, f"{low:.3f}", f"{high:.3f}", len(found)])
    low, high = (float(str(value)) for value in rows[0][1:3])
    rows.append(["borrowed", f"{low**BORROWED_WIDTH:.3f}", f"{high**BORROWED_WIDTH:.3f}", 0])
    date = max(run.as_of for run in runs())
    with Path(table_path("prior_intervals.csv")).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kind", "low", "high", "rows", "made_by", "as_of"])
        writer.writerows([*row, "python -m tests.benchmarks.accuracy --write", date] for row in rows)


DOCUMENT = Path(__file__).parents[2] / "docs/explanation/accuracy.md"
_BEGIN, _END = "<!-- report -->\n", "<!-- end of report -->"


def document(text: str) -> str:
    """The page with the report of today in its place."""
    before, _, rest = text.partition(_BEGIN)
    _old, _, after = rest.partition(_END)
    lines = "\n".join(report())
    return f"{before}{_BEGIN}```text\n{lines}\n```\n{_END}{after}"


def main() -> None:
    """Prints the report, or renews the intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew prior_intervals.csv and the page in docs")
    if parser.parse_args().write:
        write_intervals()
        priors.intervals.cache_clear()
        DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    print("\n".join(report()))


if __name__ == "__main__":
    main()
