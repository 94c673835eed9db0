"""Sizing of training: does it fit, in which parallel shape, and how many hours it takes."""

from functools import lru_cache
from typing import NamedTuple

from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import Assumption, Fit, ModelShape, Parallelism, PublishedRun, Reason, Workload
from cloudaccel.workloads.flops import QLORA_SLOWDOWN, flops_per_token
from cloudaccel.workloads.memory import GIB, Parts, Trial, available_gib, memory_of_parts, platform, sizes
from cloudaccel.workloads.priors import Prior, prior, question
from cloudaccel.workloads.runs import RECOMPUTE_FACTOR, Run, bf16_peak, goodput_prior
from cloudaccel.workloads.shapes import Found, Room, batch_sequences, grow_micro_batch, search

# Share of the memory that an estimate may fill and still be called "fits"; above it "tight", above the whole "no".
# The rest covers the error of the estimate: LoRA and full within 8 % of published peaks, QLoRA within 25 %.
FITS_SHARE = {"full": 0.90, "dpo": 0.90, "lora": 0.90, "qlora": 0.80}
TIGHT_SHARE = {"full": 1.0, "dpo": 1.0, "lora": 1.0, "qlora": 1.05}
SLOW_LINKS = frozenset({None, "pcie", "nvlink-bridge"})
FITS_SHARE_WIDE = 0.80  # platforms whose overhead is a guess
CALIBRATED_ERROR = 0.12  # 9 of 11 runs within it, docs/explanation/sizing.md
_AS_OF = "2026-11-25"


class Speed(NamedTuple):
    """Expected speed: the three numbers, and the factors of the interval around the hours."""

    step_mfu: float
    goodput: float
    low: float  # factor of the hours
    high: float  # factor of the hours
    assumptions: tuple[Assumption, ...]
    nearest: tuple[PublishedRun, ...]


class Case(NamedTuple):
    """What is to be sized, in one value."""

    workload: Workload
    model: ModelShape
    accelerator: Accelerator
    per_node: int
    nodes: int
    measured: float | None
    mfu: float | None
    network: float | None  # Gbit/s of one machine, one direction

    @property
    def total(self) -> int:
        """Accelerators in all."""
        return self.per_node * self.nodes

    @property
    def flops(self) -> float:
        """FLOPs of the run."""
        return self.flops_per_token * (self.workload.tokens or 0.0)

    @property
    def flops_per_token(self) -> float:
        """FLOPs of one token."""
        return flops_per_token(self.model, self.workload.sequence_tokens, self.workload.method)


def size_training(
    workload: Workload,
    model: ModelShape,
    accelerator: Accelerator,
    *,
    per_node: int,
    nodes: int,
    measured: float | None = None,
    mfu: float | None = None,
    inter_node_gbit_per_s: float | None = None,
) -> Fit:
    """The best feasible shape, its memory and its hours; see `cloudaccel.workloads.size` for the parameters."""
    case = Case(workload, model, accelerator, per_node, nodes, measured, mfu, inter_node_gbit_per_s)
    available = available_gib(accelerator)
    if available is None:
        return Fit(
            verdict="no", reasons=(Reason("memory_unknown", f"no source gives the memory of {accelerator.name}"),)
        )
    room = Room(accelerator.kind, accelerator.link in SLOW_LINKS, per_node, nodes)
    limit = available * _fits_share(workload, accelerator)
    fitting, least = search(workload, model, room, limit)
    if fitting is not None:
        grown = grow_micro_batch(workload, model, accelerator.kind, fitting, limit)
        return _timed(case, grown, "fits", available)
    last = available * TIGHT_SHARE[workload.method]
    if least.parts.peak <= last:
        tight, _ = search(workload, model, room, last)
        return _timed(case, tight or least, "tight", available)
    return _too_big(case, least, available)


def _fits_share(workload: Workload, accelerator: Accelerator) -> float:
    share = FITS_SHARE[workload.method]
    return min(share, FITS_SHARE_WIDE) if platform(accelerator.kind).activation_factor > 1 else share


def _too_big(case: Case, least: Found, available: float) -> Fit:
    need, name = least.parts.peak, case.accelerator.family
    text = f"{need:.1f} GiB needed on each of {case.total}, {name} has {available:.1f} GiB"
    return Fit(
        verdict="no",
        reasons=(Reason("mem_per_accel", text), *_cheaper_methods(case, available)),
        shape=Parallelism(**least.shape._asdict()),
        memory=memory_of_parts(least.parts, available),
        flops=case.flops,
        assumptions=_memory_assumptions(case.accelerator),
    )


def _cheaper_methods(case: Case, available: float) -> list[Reason]:
    """Hints at methods that would fit, by a lower bound of memory: weights shared out, and 30 % for the rest."""
    workload = case.workload
    if workload.task != "finetune" or workload.parallel == "ddp":
        return []
    held = {"lora": 2.0, "qlora": platform(case.accelerator.kind).qlora_bytes}
    smaller = {"full": ("lora", "qlora"), "dpo": ("lora", "qlora"), "lora": ("qlora",)}.get(workload.method, ())
    fitting = [name for name in smaller if held[name] * case.model.params / case.total / GIB < 0.7 * available]
    return [Reason("method_hint", f"{' or '.join(fitting)} would fit")] if fitting else []


def _timed(case: Case, found: Found, verdict: str, available: float) -> Fit:
    shape = found.shape
    reasons = (*_tight_reasons(verdict, found.parts, available), *_cut_reasons(case, shape))
    notes = (*_memory_assumptions(case.accelerator), *_batch_assumption(case.workload))
    recompute = RECOMPUTE_FACTOR[shape.recompute]
    speed = _speed(case, recompute)
    if speed is None:
        text = f"no source gives the dense peak of {case.accelerator.name}: no hours"
        reasons = (*reasons, Reason("speed_unknown", text))
        speed = Speed(0.0, 0.0, 1.0, 1.0, (), ())
    machine = speed.step_mfu * (bf16_peak(case.accelerator) or 0.0) * 1e12
    slow = _starved(case, found, machine)
    if slow > 1:
        reasons = (*reasons, Reason("network", f"the network between machines slows it {slow:.1f} times"))
    rate = case.total * machine * speed.goodput / slow
    hours = case.flops / rate / 3600.0 if rate else None
    return Fit(
        verdict=verdict,
        reasons=reasons,
        shape=Parallelism(**shape._asdict()),
        memory=memory_of_parts(found.parts, available),
        hours_low=hours and hours * speed.low,
        hours_likely=hours,
        hours_high=hours and hours * speed.high,
        flops=case.flops,
        tokens_per_s=rate / case.flops_per_token if rate else None,
        step_mfu=speed.step_mfu or None,
        recompute_factor=recompute,
        goodput=speed.goodput or None,
        assumptions=(*notes, *speed.assumptions),
        nearest_runs=speed.nearest,
    )


def _cut_reasons(case: Case, shape: Trial) -> tuple[Reason, ...]:
    """Names the assumption that a fine-tune rests on when its layers must be cut: usual stacks only shard."""
    if case.workload.task != "finetune" or shape.tp * shape.pp == 1 or case.workload.stack is not None:
        return ()
    text = f"assumes a stack that cuts layers (tensor {shape.tp}, pipeline {shape.pp}); plain FSDP or ZeRO only shards"
    return (Reason("shape_assumed", text),)


def _tight_reasons(verdict: str, parts: Parts, available: float) -> tuple[Reason, ...]:
    if verdict != "tight":
        return ()
    text = f"{parts.peak:.1f} of {available:.1f} GiB on each: within the error of the estimate"
    return (Reason("mem_tight", text),)


def _speed(case: Case, recompute: float) -> Speed | None:
    """Three ways, the first that is given: a measured rate, an MFU of the caller's, the prior. None: peak unknown."""
    peak = bf16_peak(case.accelerator)
    if peak is None:
        return None
    if case.measured is not None:
        return _measured(case, peak, case.measured)
    if case.mfu is not None:
        note = Assumption("wall_mfu", case.mfu, "of dense peak", "given by the caller, downtime included", "", "user")
        return Speed(case.mfu, 1.0, 1.0, 1.0, (note,), ())
    found = prior(question(case.workload, case.model, case.accelerator, case.total))
    slow = QLORA_SLOWDOWN if case.workload.method == "qlora" and "same method" not in found.level else 1.0
    step, goodput = found.use / recompute / slow, goodput_prior(case.total)
    notes = _speed_assumptions(step, goodput, recompute, _told(found, peak))
    return Speed(step, goodput, found.use / found.high, found.use / found.low, notes, _published(found.nearest))


def _measured(case: Case, peak: float, measured: float) -> Speed:
    """A measured step rate replaces the prior; what is left open is downtime."""
    step = measured * case.flops_per_token / (peak * 1e12)
    goodput = goodput_prior(case.total)
    note = Assumption("tokens_per_s_per_accelerator", measured, "tokens/s", "measured by the caller", "", "user")
    return Speed(step, goodput, 1 - CALIBRATED_ERROR, 1 + CALIBRATED_ERROR, (note, _goodput_note(goodput)), ())


@lru_cache(maxsize=1024)
def _told(found: Prior, peak: float) -> Assumption:
    first, last = found.years
    source = f"{found.rows} published runs of {first} to {last} ({found.level}); table training_runs.csv"
    return Assumption("use", round(found.use, 4), f"of {peak:g} TFLOP/s dense", source, _AS_OF, found.flag)


@lru_cache(maxsize=1024)
def _speed_assumptions(step_mfu: float, goodput: float, recompute: float, use: Assumption) -> tuple[Assumption, ...]:
    return (
        use,
        Assumption("step_mfu", round(step_mfu, 4), "of dense peak", "use over recompute factor", _AS_OF, use.flag),
        Assumption("recompute_factor", round(recompute, 3), "", "arXiv:2205.05198", _AS_OF),
        _goodput_note(goodput),
    )


def _goodput_note(goodput: float) -> Assumption:
    source = "share of time that trains, by size of the run; docs/explanation/sizing.md"
    return Assumption("goodput", goodput, "of wall clock", source, _AS_OF)


@lru_cache(maxsize=512)
def _published(found: tuple[Run, ...]) -> tuple[PublishedRun, ...]:
    return tuple(
        PublishedRun(
            run.name,
            run.accelerator_id,
            run.accelerators,
            run.accelerator_hours,
            run.wall_mfu or run.step_mfu or 0.0,
            run.source,
        )
        for run in found
    )


@lru_cache(maxsize=256)
def _memory_assumptions(accelerator: Accelerator) -> tuple[Assumption, ...]:
    soft = platform(accelerator.kind)
    seen = available_gib(accelerator)
    origin = "reported by the driver" if seen != accelerator.memory_gib else "nominal memory of the card"
    guessed = "assumed" if soft.activation_factor > 1 else ""
    return (
        Assumption("memory_gib", seen or 0.0, "GiB", origin, accelerator.as_of),
        Assumption("overhead_gb", soft.overhead_gb_group, "GB", soft.source, _AS_OF, guessed),
        Assumption("activation_factor", soft.activation_factor, "", soft.source, _AS_OF, guessed),
    )


@lru_cache(maxsize=256)
def _batch_assumption(workload: Workload) -> tuple[Assumption, ...]:
    if workload.batch_sequences is not None:
        return ()
    return (
        Assumption("batch_sequences", batch_sequences(workload), "sequences", "usual for the task", _AS_OF, "assumed"),
    )


def _starved(case: Case, found: Found, flops_per_s: float) -> float:
    """How many times the network between machines stretches a step, 1 when it keeps up or is not known.

    Per step each machine moves the gradients of its part of the model (twice 2 bytes, ring all-reduce), and under full
    sharding the weights twice per micro-batch; all of it can overlap with the computation.
    """
    if case.nodes <= 1 or not case.network or flops_per_s <= 0:
        return 1.0
    shape = found.shape
    size = sizes(case.model, case.workload.method, case.workload.lora_rank)
    cut = shape.tp * shape.pp
    moved = 4.0 * size.trained / cut
    if shape.zero == 3:
        moved += 4.0 * (size.dense + size.experts) / cut * shape.accumulation
    tokens = shape.micro_batch * shape.accumulation * case.workload.sequence_tokens / shape.cp
    compute = tokens * case.flops_per_token / cut / flops_per_s
    return max(1.0, moved / (case.network / 8 * 1e9) / compute)
