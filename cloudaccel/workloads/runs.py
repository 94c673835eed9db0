"""Published training runs, as evidence: what hours and what step rates people really got."""

import math
from dataclasses import dataclass
from functools import cache

from cloudaccel.errors import ConfigError
from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.loader import numbered_rows, table_path
from cloudaccel.model.accelerator import Accelerator
from cloudaccel.workloads.flops import PER_PARAMETER

RUNS_TABLE = "training_runs.csv"

# Hardware FLOPs over model FLOPs. Full recomputation repeats the forward pass: 8 / 6. Partial: PaLM, whose paper gives
# both figures (57.8 % and 46.2 %). Selective: 1.02 to 1.05 (arXiv:2205.05198), within the noise of the priors.
RECOMPUTE_FACTOR = {"none": 1.0, "": 1.0, "selective": 1.0, "partial": 1.25, "full": 4.0 / 3.0}

# Share of wall-clock time that trains, by accelerators: single machine, to 256, to 4,096, beyond. Llama-3.1-405B: more
# than 0.90 on 16,384; BLOOM and OPT below (docs/explanation/sizing.md, 2026-11). Checkpoints are asynchronous.
_GOODPUT = ((8, 0.97), (256, 0.95), (4096, 0.92))
GOODPUT_BEYOND = 0.90
UNKNOWN_COUNT = 1024  # accelerators of a big published run that does not say how many
CALIBRATED_ERROR = 0.12  # of a measured rate: 9 of 11 runs within it, docs/explanation/sizing.md


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One published run or step. `step_mfu` is model FLOPs per step over the dense BF16 peak, recomputation not
    counted.

    Attributes
    ----------
    scale
        Logarithms of active parameters, accelerators (8 when not said) and sequence tokens: what nearness is judged by.
    kind
        ``full`` (hours of a whole run), ``step`` (rate of a step), ``finetune`` (memory, sometimes a rate).
    wall_mfu
        What the hours imply, everything included; None unless `kind` is full.
    step_mfu, reported_step_mfu
        Of a step. For whole runs `step_mfu` is what the hours imply less downtime, and the reported figure stands
        apart.
    use
        `step_mfu` times the recompute factor: how busy the matrix units were. The priors are made of it.
    """

    name: str
    kind: str
    method: str
    scale: tuple[float, float, float]
    year: int | None
    params: float
    params_active: float
    moe: bool
    sequence_tokens: int
    tokens: float | None
    accelerator_id: str
    group: str
    accelerators: int | None
    accelerator_hours: float | None
    wall_mfu: float | None
    step_mfu: float | None
    reported_step_mfu: float | None
    use: float | None
    precision: str
    recompute: str
    goodput: float
    downtime: str  # why the hours contain none; empty when they do
    stack: str
    flops: float | None
    peak_memory_gb: float | None
    source: str
    as_of: str
    note: str


def goodput_prior(accelerators: int) -> float:
    """Share of wall-clock time that trains, for a run of that size."""
    return next((share for limit, share in _GOODPUT if accelerators <= limit), GOODPUT_BEYOND)


def bf16_peak(accelerator: Accelerator) -> float | None:
    """Dense peak in TFLOP/s that all MFU figures here refer to: BF16, or FP16 where there is no BF16."""
    return accelerator.peak_tflops_bf16_dense or accelerator.peak_tflops_fp16_dense


@dataclass(frozen=True, slots=True)
class Use:
    """What is known of using an accelerator: whose runs speak for it, and its measured matmul ceiling."""

    group: str
    matmul_ceiling: float | None
    source: str


@cache
def _uses() -> dict[str, Use]:
    columns = ("accelerator_id", "group", "matmul_ceiling", "source", "as_of", "note")
    return {
        row["accelerator_id"]: Use(row["group"], _number(row["matmul_ceiling"]), row["source"])
        for _line, row in numbered_rows("accelerator_use.csv", columns)
    }


def use_of(accelerator_id: str) -> Use:
    """Group and ceiling of an accelerator; one nobody wrote about is a group of its own."""
    return _uses().get(accelerator_id) or Use(accelerator_id, None, "")


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _run(row: dict[str, str]) -> Run:
    accelerator_id = row["accelerator_id"]
    peak = bf16_peak(by_id(accelerator_id)) if accelerator_id else None
    count = int(row["accelerators"]) if row["accelerators"] else None
    goodput = 1.0 if row["downtime"] else goodput_prior(count or UNKNOWN_COUNT)
    flops, wall = _wall(row, peak)
    rate = _number(row["step_tflops"])
    reported = rate / peak if rate and peak else None
    step = wall / goodput if wall else reported
    return Run(
        name=row["name"],
        kind=row["kind"],
        method=row["method"],
        scale=scale_of(float(row["params_active_b"]) * 1e9, count or 8, int(row["sequence_tokens"] or 2048)),
        year=int(row["year"]) if row["year"] else None,
        params=float(row["params_b"]) * 1e9,
        params_active=float(row["params_active_b"]) * 1e9,
        moe=row["moe"] == "y",
        sequence_tokens=int(row["sequence_tokens"] or 2048),
        tokens=(_number(row["tokens_b"]) or 0) * 1e9 or None,
        accelerator_id=accelerator_id,
        group=use_of(accelerator_id).group,
        accelerators=count,
        accelerator_hours=_number(row["accelerator_hours"]),
        wall_mfu=wall,
        step_mfu=step,
        reported_step_mfu=reported,
        use=step * RECOMPUTE_FACTOR[row["recompute"]] if step else None,
        precision=row["precision"],
        recompute=row["recompute"],
        goodput=goodput,
        downtime=row["downtime"],
        stack=row["stack"],
        flops=flops,
        peak_memory_gb=_number(row["peak_memory_gb"]),
        source=row["source"],
        as_of=row["as_of"],
        note=row["note"],
    )


def scale_of(params_active: float, accelerators: int, sequence_tokens: int) -> tuple[float, float, float]:
    """Logarithms of the three sizes by which runs are near or far."""
    return math.log(params_active), math.log(accelerators), math.log(sequence_tokens)


def _wall(row: dict[str, str], peak: float | None) -> tuple[float | None, float | None]:
    """FLOPs of a whole run and the MFU that its hours imply."""
    tokens, hours = _number(row["tokens_b"]), _number(row["accelerator_hours"])
    if row["kind"] != "full" or not tokens or not hours or not peak:
        return None, None
    k = PER_PARAMETER["full"]
    width = 12 * float(row["layers"] or 0) * float(row["hidden"] or 0) * float(row["sequence_tokens"] or 2048)
    flops = (k * float(row["params_active_b"]) * 1e9 + width) * tokens * 1e9
    return flops, flops / (hours * 3600 * peak * 1e12)


def load_runs(table: str = RUNS_TABLE) -> tuple[Run, ...]:
    """All rows, read and checked anew.

    Raises
    ------
    ConfigError
        If a cell is wrong, with file and line.
    """
    found: list[Run] = []
    for line, row in numbered_rows(table):
        try:
            found.append(_run(row))
        except (ValueError, KeyError) as error:
            raise ConfigError(f"{table_path(table)}, line {line}: {error}") from error
    return tuple(found)


@cache
def runs() -> tuple[Run, ...]:
    """All published runs of the table, in its order."""
    return load_runs()


def same_kind_of_precision(precision: str) -> str:
    """``bf16`` for 16-bit formats; 8 and 4-bit formats are classes of their own, since their steps are faster."""
    return "bf16" if precision in ("bf16", "fp16", "fp32") else precision
