"""Sizing of training: does it fit, in which parallel shape, and how many hours it takes."""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import (
    UNKNOWN_MACHINE,
    Assumption,
    Fit,
    Machine,
    ModelShape,
    Parallelism,
    PublishedRun,
    Reason,
    Workload,
)
from cloudaccel.workloads.flops import QLORA_SLOWDOWN, flops_per_token
from cloudaccel.workloads.links import SLOW_LINKS, slow_link_gb_per_s
from cloudaccel.workloads.memory import GIB, Parts, Trial, available_gib, memory_of_parts, platform, sizes
from cloudaccel.workloads.priors import Prior, prior, question
from cloudaccel.workloads.runs import CALIBRATED_ERROR, RECOMPUTE_FACTOR, Run, bf16_peak, goodput_prior
from cloudaccel.workloads.shapes import (
    Found,
    Limit,
    Room,
    Step,
    Waits,
    batch_sequences,
    cutting_cost,
    grow_micro_batch,
    least_gib,
    search,
    waits,
)

# Share of the memory that an estimate may fill and still be called "fits"; above it "tight", above the whole "no".
# The rest covers the error of the estimate: LoRA and full within 8 % of published peaks, QLoRA within 25 %.
FITS_SHARE = {"full": 0.90, "dpo": 0.90, "lora": 0.90, "qlora": 0.80}
TIGHT_SHARE = {"full": 1.0, "dpo": 1.0, "lora": 1.0, "qlora": 1.05}
FITS_SHARE_WIDE = 0.80  # platforms whose overhead is a guess
# Where everything is sharded and gathered again, the allocator loses more to fragments: 15 % on average, up to 33 %, in
# fine-tuning of eight models on A100 (GMLake, arXiv:2401.08156; 2026-11-27). 70B by LoRA on 16 cards of 23 GB, which
# fills 0.88 of them on paper, was reported not to run (lm-sys/FastChat#2322).
FITS_SHARE_SHARDED = 0.85
# Where no source gives the network between machines: that of plain cloud machines without a fabric, 100 Gbit/s for
# eight accelerators with a fast link and 25 for cards on PCIe; a fabric has 400 to 3,200 (machine_networks.csv). Our
# judgement, 2026-11-27: a plan must not rest on a fabric that nobody promised.
ASSUMED_GBIT_PER_ACCELERATOR = 12.5
ASSUMED_GBIT_SLOW_LINK = 25.0
# From here on a network is a fabric such as the published runs had (A100: 200, H100: 400 for each; 2026-11-27): what
# they waited for it is in their rates, and is not counted again.
FABRIC_GBIT_PER_ACCELERATOR = 200.0
_AS_OF = "2026-11-25"


class Speed(NamedTuple):
    """Expected speed: the three numbers, and the factors of the interval around the hours."""

    step_mfu: float
    goodput: float
    low: float  # factor of the hours
    high: float  # factor of the hours
    assumptions: tuple[Assumption, ...]
    nearest: tuple[PublishedRun, ...]
    slower: float = 1.0  # times that the likely speed was divided by


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
    conservative: bool = False  # take the upper end of the hours for the likely ones

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
    machine: Machine = UNKNOWN_MACHINE,
    conservative: bool = False,
) -> Fit:
    """The best feasible shape, its memory and its hours; see `cloudaccel.workloads.size` for the parameters."""
    network = machine.network_gbit_per_s if nodes > 1 else None
    case = Case(workload, model, accelerator, per_node, nodes, measured, mfu, network, conservative)
    return _sized(case, measured, mfu, network)


# Machines that differ only in their host are one case. What is shown as given comes apart: 1 and 1.0 are two answers.
@lru_cache(maxsize=2048, typed=True)
def _sized(case: Case, *_shown: float | None) -> Fit:
    workload, model, accelerator = case.workload, case.model, case.accelerator
    available = available_gib(accelerator)
    if available is None:
        return Fit(
            verdict="no", reasons=(Reason("memory_unknown", f"no source gives the memory of {accelerator.name}"),)
        )
    room = _room(case)
    limit = _fits_limit(workload, accelerator, available)
    fitting, least = search(workload, model, room, limit)
    if fitting is not None:
        grown = grow_micro_batch(workload, model, accelerator.kind, fitting, limit)
        return _timed(case, grown, room, limit, available)
    last = _tight_limit(workload, available)
    if last.holds(least):
        tight, _ = search(workload, model, room, last)
        return _timed(case, tight or least, room, last, available, verdict="tight")
    return _too_big(case, least, available)


def _fits_limit(workload: Workload, accelerator: Accelerator, available: float) -> Limit:
    wide = FITS_SHARE_WIDE if platform(accelerator.kind).activation_factor > 1 else 1.0
    share = min(FITS_SHARE[workload.method], wide)
    return Limit(available * share, available * min(share, FITS_SHARE_SHARDED))


def _tight_limit(workload: Workload, available: float) -> Limit:
    last = available * TIGHT_SHARE[workload.method]
    return Limit(last, last)


def _too_big(case: Case, least: Found, available: float) -> Fit:
    need, name = least.peak, case.accelerator.family
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
    """The methods that need less and would fit here."""
    workload = case.workload
    if workload.task != "finetune" or workload.parallel == "ddp":
        return []
    held = {"lora": 2.0, "qlora": platform(case.accelerator.kind).qlora_bytes}
    smaller = {"full": ("lora", "qlora"), "dpo": ("lora", "qlora"), "lora": ("qlora",)}.get(workload.method, ())
    fitting: list[str] = []
    for name in smaller:
        if held[name] * case.model.params / case.total / GIB < available:  # else no search is needed
            other = replace(workload, method=name)
            need = least_gib(other, case.model, case.accelerator.kind, case.per_node, case.nodes)
            fitting += [name] if need <= _tight_limit(other, available).gib else []
    return [Reason("method_hint", f"{' or '.join(fitting)} would fit")] if fitting else []


def _timed(case: Case, found: Found, room: Room, limit: Limit, available: float, verdict: str = "fits") -> Fit:
    shape = found.shape
    reasons = (
        *_tight_reasons(verdict, found.parts, available),
        *_cut_reasons(case, shape),
        *_step_reasons(case, shape),
    )
    notes = (*_memory_assumptions(case.accelerator), *_batch_assumption(case.workload, case.total))
    recompute = RECOMPUTE_FACTOR[shape.recompute]
    speed = _speed(case, recompute)
    if speed is None:
        what = "32-bit rate" if case.workload.precision == "fp32" else "dense peak"
        text = f"no source gives the {what} of {case.accelerator.name}: no hours"
        reasons = (*reasons, Reason("speed_unknown", text))
        speed = Speed(0.0, 0.0, 1.0, 1.0, (), ())
    if case.conservative:
        notes, speed = (*notes, _slowest_note(speed)), _slowest(speed)
    machine = _flop_per_s(case, speed)
    delay = _delay(case, room, shape, limit)
    wait = delay.waits
    notes = (*notes, *_network_assumption(case, room), *_link_assumption(case, room))
    rate = case.total * machine * speed.goodput / (wait.factor * delay.cutting)
    hours = case.flops / rate / 3600.0 if rate else None
    reasons = (*reasons, *_wait_reasons(case, shape, delay, hours))
    if case.network is None:  # it may be a fabric
        speed = speed._replace(low=speed.low / delay.network)
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
        network_stretch=wait.network,
        link_stretch=wait.link,
        pipeline_stretch=wait.pipeline,
        cutting_stretch=delay.cutting,
        assumptions=(*notes, *speed.assumptions),
        nearest_runs=speed.nearest,
    )


def _slowest(speed: Speed) -> Speed:
    """The speed with the upper end of its hours for the likely one."""
    return speed._replace(step_mfu=speed.step_mfu / speed.high, slower=speed.high, low=speed.low / speed.high, high=1.0)


def _slowest_note(speed: Speed) -> Assumption:
    source = "asked for: the upper end of the estimate in place of the likely hours"
    return Assumption("conservative", round(speed.high, 3), "times the likely hours", source, "", "user")


def _flop_per_s(case: Case, speed: Speed) -> float:
    """Of one accelerator in a step; 0: nobody knows. A measured rate needs no peak."""
    peak = bf16_peak(case.accelerator)
    if peak is None:
        return (case.measured or 0.0) * case.flops_per_token / speed.slower
    return speed.step_mfu * peak * 1e12


_TOLD_STRETCH = 1.05  # less is within the noise of the priors


def _network_gbit(case: Case) -> float:
    """Of one machine: as known, else what a machine without a fabric has."""
    if case.network is not None:
        return case.network
    if case.accelerator.link in SLOW_LINKS:
        return ASSUMED_GBIT_SLOW_LINK
    return ASSUMED_GBIT_PER_ACCELERATOR * case.per_node


def _room(case: Case) -> Room:
    """The hardware, with the FLOPs that one accelerator does while a byte passes; 0: nothing is waited for.

    A rate or an MFU of the caller's contains the waits already, and so do the rates of published runs over a fabric, or
    over the PCIe of the same cards.
    """
    chip, peak = case.accelerator, bf16_peak(case.accelerator)
    room = Room(chip.kind, chip.link in SLOW_LINKS, case.per_node, case.nodes)
    if peak is None or case.measured is not None or case.mfu is not None or case.total == 1:
        return room
    found = prior(question(case.workload, case.model, chip, case.total))
    gbit, link = _network_gbit(case), slow_link_gb_per_s(chip)
    fabric = case.nodes == 1 or gbit >= FABRIC_GBIT_PER_ACCELERATOR * case.per_node
    fast = case.per_node == 1 or link is None or found.over_slow_links
    return room._replace(
        flops_per_byte=0.0 if fabric else _rounded(found.use * peak * 1e3 / (gbit / 8)),
        flops_per_link_byte=0.0 if fast or link is None else _rounded(found.use * peak * 1e3 / link),
    )


def _rounded(exact: float) -> float:
    return float(f"{exact:.2e}")  # one search for what is practically the same


class Delay(NamedTuple):
    """What lengthens the hours of a shape, each a factor.

    `cutting` times the waits is never less than on a faster network: the shapes are in the order of both.
    """

    waits: Waits
    cutting: float = 1.0  # what the shape costs over the one of a fast network; below 1 where it recomputes instead
    network: float = 1.0  # hours over those on a fast network, in the shape that is best there


def _delay(case: Case, room: Room, shape: Trial, limit: Limit) -> Delay:
    if case.measured is not None or case.mfu is not None:
        return Delay(Waits())
    wait = _waits(case, room, shape)
    if not room.flops_per_byte:
        return Delay(wait)
    fast = room._replace(flops_per_byte=0.0)
    best = search(case.workload, case.model, fast, limit)[0]
    if best is None:
        return Delay(wait, 1.0, max(wait.network, wait.link) / wait.link)
    cutting = cutting_cost(shape, fast) / cutting_cost(best.shape, fast)
    there = RECOMPUTE_FACTOR[best.shape.recompute] * _waits(case, fast, best.shape).factor
    return Delay(wait, cutting, RECOMPUTE_FACTOR[shape.recompute] * wait.factor * cutting / there)


def _waits(case: Case, room: Room, shape: Trial) -> Waits:
    size = sizes(case.model, case.workload.method, case.workload.lora_rank)
    return waits(Step(case.workload, case.model, size, room, shape, case.flops_per_token))


def _wait_reasons(case: Case, shape: Trial, delay: Delay, hours: float | None) -> tuple[Reason, ...]:
    found: list[Reason] = []
    wait = delay.waits
    if delay.network >= _TOLD_STRETCH:
        found.append(_network_reason(case, delay.network, hours))
    if wait.link >= _TOLD_STRETCH:
        found.append(Reason("link", f"cards that meet over PCIe slow it {wait.link:.1f} times"))
    if wait.pipeline >= _TOLD_STRETCH:
        text = f"{shape.pp} pipeline stages with {shape.accumulation} micro-batches stand idle: {wait.pipeline:.1f}"
        found.append(Reason("pipeline", f"{text} times the hours of a full pipeline"))
    return tuple(found)


def _link_assumption(case: Case, room: Room) -> tuple[Assumption, ...]:
    link = slow_link_gb_per_s(case.accelerator)
    if not room.flops_per_link_byte or link is None:
        return ()
    source = "all-reduce over PCIe as measured: NVIDIA/nccl#841, #1639"
    return (Assumption("link_gb_per_s", link, "GB/s between the cards of a machine", source, "2026-11-27"),)


def _network_assumption(case: Case, room: Room) -> tuple[Assumption, ...]:
    if case.nodes <= 1 or (not room.flops_per_byte and case.network is None):
        return ()
    known = case.network is not None
    source = "machine_networks.csv" if known else "no source gives it: what a machine without a fabric has"
    flag = "" if known else "assumed"
    return (Assumption("network_gbit_per_s", _network_gbit(case), "Gbit/s of a machine", source, "2026-11-27", flag),)


def _network_reason(case: Case, slow: float, hours: float | None) -> Reason:
    """That a step waits for the network, and what it would take if it did not."""
    text = f"{_network_gbit(case):g} Gbit/s between machines slow it {slow:.1f} times"
    if case.network is not None:
        return Reason("network", text)
    fast = f"; {hours / slow:,.3g} h with a fast fabric" if hours else ""
    return Reason(
        "network_unknown", f"network unknown, {text.replace('machines slow', 'machines assumed: slows')}{fast}"
    )


def _cut_reasons(case: Case, shape: Trial) -> tuple[Reason, ...]:
    """Names the assumption that a fine-tune rests on when its layers must be cut: usual stacks only shard."""
    if case.workload.task != "finetune" or shape.tp * shape.pp == 1 or case.workload.stack is not None:
        return ()
    text = f"assumes a stack that cuts layers (tensor {shape.tp}, pipeline {shape.pp}); plain FSDP or ZeRO only shards"
    return (Reason("shape_assumed", text),)


FEWEST_STEPS = 10  # under which a plan says how few there are: no schedule of a learning rate is that short


def _step_reasons(case: Case, shape: Trial) -> tuple[Reason, ...]:
    """That the batch that was asked for does not divide over the replicas, and that the data make few steps of it."""
    workload = case.workload
    batch = batch_sequences(workload, case.total)
    made = shape.dp * shape.micro_batch * shape.accumulation
    if workload.batch_sequences is not None and made != batch:
        text = f"{made:,} sequences a step and not {batch:,}: {shape.dp} replicas of {made // shape.dp} each"
        return (Reason("batch", text),)
    steps = (workload.tokens or 0.0) / (batch * workload.sequence_tokens)
    if steps >= FEWEST_STEPS:
        return ()
    made = f"{batch:,} sequences of {workload.sequence_tokens:,} tokens"
    return (Reason("few_steps", f"the tokens make {steps:.2g} steps of {made}: --batch and --seq set them"),)


def _tight_reasons(verdict: str, parts: Parts, available: float) -> tuple[Reason, ...]:
    if verdict != "tight":
        return ()
    text = f"{parts.peak:.1f} of {available:.1f} GiB on each: within the error of the estimate"
    return (Reason("mem_tight", text),)


def _speed(case: Case, recompute: float) -> Speed | None:
    """Three ways, the first that is given: a measured rate, an MFU of the caller's, the prior. None: peak unknown."""
    peak = bf16_peak(case.accelerator)
    if case.measured is not None:
        return _measured(case, peak, case.measured)
    if peak is None or (case.workload.precision == "fp32" and case.mfu is None):
        return None  # 32-bit steps take two to sixteen times as long, by chip and by what the software allows itself
    if case.mfu is not None:
        note = Assumption("wall_mfu", case.mfu, "of dense peak", "given by the caller, downtime included", "", "user")
        return Speed(case.mfu, 1.0, 1.0, 1.0, (note,), ())
    found = prior(question(case.workload, case.model, case.accelerator, case.total))
    step, goodput = found.use / recompute, goodput_prior(case.total)
    notes = _speed_assumptions(step, goodput, recompute, _told(found, peak))
    if found.qlora_converted:
        notes = (*notes, _QLORA_NOTE)
    return Speed(step, goodput, found.use / found.high, found.use / found.low, notes, _published(found.nearest))


def _measured(case: Case, peak: float | None, measured: float) -> Speed:
    """A measured step rate replaces the prior; what is left open is downtime. Its MFU is 0 where no peak is known."""
    step = 0.0 if peak is None else measured * case.flops_per_token / (peak * 1e12)
    goodput = goodput_prior(case.total)
    note = Assumption("tokens_per_s_per_accelerator", measured, "tokens/s", "measured by the caller", "", "user")
    return Speed(step, goodput, 1 - CALIBRATED_ERROR, 1 + CALIBRATED_ERROR, (note, _goodput_note(goodput)), ())


@lru_cache(maxsize=1024)
def _told(found: Prior, peak: float) -> Assumption:
    first, last = found.years
    when = f"of {first} to {last}" if first else "without a year"
    source = f"{found.rows} published runs {when} ({found.level}); table training_runs.csv"
    return Assumption("use", round(found.use, 4), f"of {peak:g} TFLOP/s dense", source, _AS_OF, found.flag)


_STEP_WORDS = "use over recompute_factor"
_QLORA_NOTE = Assumption(
    "qlora_slowdown", QLORA_SLOWDOWN, "of rows by other methods, in use",
    "litgpt on A100 and A10G, torchtune on RTX 4090; docs/explanation/sizing.md", _AS_OF,
)  # fmt: skip


@lru_cache(maxsize=1024)
def _speed_assumptions(step_mfu: float, goodput: float, recompute: float, use: Assumption) -> tuple[Assumption, ...]:
    return (
        use,
        Assumption("step_mfu", round(step_mfu, 4), "of dense peak", _STEP_WORDS, _AS_OF, use.flag),
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
def _batch_assumption(workload: Workload, accelerators: int) -> tuple[Assumption, ...]:
    if workload.batch_sequences is not None:
        return ()
    return (
        Assumption(
            "batch_sequences",
            batch_sequences(workload, accelerators),
            "sequences",
            "usual for the task",
            _AS_OF,
            "assumed",
        ),
    )
