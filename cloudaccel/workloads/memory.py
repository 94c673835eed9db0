"""Memory of one accelerator in training, by parallel shape: what stays, what a step adds, and the peaks.

Sources: ZeRO (arXiv:1910.02054) for states, Megatron (arXiv:2205.05198, equations 1 to 6) for activations of a GPT
block, NVIDIA's published NeMo configurations for a gated block (docs/explanation/sizing.md). All in bytes until
the end.
"""

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from cloudaccel.facts.loader import numbered_rows
from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import Memory, ModelShape, Parallelism, Workload

GIB = 2.0**30
_GB_IN_GIB = 1e9 / GIB

# Bytes per trained parameter beside its 16-bit weight: gradients in BF16, and Adam's FP32 master copy and two moments
# (arXiv:1910.02054, section 3.1).
GRADIENT_BYTES = 2.0
OPTIMIZER_BYTES = 12.0
# In FP32 gradients are as wide as the weights, which are their own master copy.
GRADIENT_BYTES_FP32 = 4.0
OPTIMIZER_BYTES_FP32 = 8.0
LORA_MATRICES = 7  # q, k, v, o and the three of a gated feed-forward layer

# A cloud's API sometimes gives the memory of a whole machine as that of one unit; a reading further from the nominal
# figure than this is not believed.
_PLAUSIBLE = (0.8, 1.05)
# Cards on PCIe keep part of their GDDR memory for error correction: A10G, L4 and L40S report 0.93 of the nominal figure
# (accelerators.csv, 2026-11). Used where nobody reports what the driver sees.
PCIE_SHARE = 0.93


@dataclass(frozen=True, slots=True)
class Platform:
    """Memory that a platform's software takes beside tensors; GB are decimal, as published."""

    overhead_gb_single: float
    overhead_gb_group: float
    activation_factor: float
    qlora_bytes: float
    source: str


@cache
def platform(kind: str) -> Platform:
    """Overheads of an accelerator kind (``gpu``, ``tpu``, ``neuron``, ``hpu``); an unknown kind counts as ``gpu``."""
    rows = {row["kind"]: row for _line, row in numbered_rows("platform_memory.csv")}
    row = rows.get(kind, rows["gpu"])
    return Platform(
        float(row["overhead_gb_single"]),
        float(row["overhead_gb_group"]),
        float(row["activation_factor"]),
        float(row["qlora_byte_factor"]),
        row["source"],
    )


def available_gib(accelerator: Accelerator) -> float | None:
    """Memory of one unit: as reported by the driver, else nominal less error correction; None: unknown."""
    nominal, seen = accelerator.memory_gib, accelerator.memory_mib_seen
    if nominal is None:
        return seen / 1024 if seen else None
    if seen and _PLAUSIBLE[0] <= seen / 1024 / nominal <= _PLAUSIBLE[1]:
        return seen / 1024
    return nominal * (PCIE_SHARE if accelerator.link == "pcie" else 1.0)


class Sizes(NamedTuple):
    """Sizes of a model for one method, worked out once: parameters, and activation bytes per token and layer."""

    dense: float  # parameters outside routed experts
    experts: float  # parameters of routed experts
    trained: float  # parameters that get gradients (all, or the adapters)
    ends: float  # parameters of embedding and head
    layer: float  # parameters of the largest layer outside routed experts
    expert_layer: float  # parameters of the routed experts of one layer
    act_kept: float  # bytes per token and layer, nothing recomputed, sequence-parallel
    act_block: float  # bytes per token and layer, everything recomputed
    quantised: bool
    full: bool  # all parameters are trained


@lru_cache(maxsize=256)
def sizes(model: ModelShape, method: str, lora_rank: int) -> Sizes:
    """The sizes of `model` when trained by `method`. Parameters are scaled so that they add up to the stated count."""
    matrices = 3 if model.gated else 2
    moe_layers = model.layers - model.dense_layers if model.experts else 0
    experts = float(moe_layers * model.experts * matrices * model.hidden * model.expert_ffn)
    experts = min(experts, model.params)
    dense = model.params - experts
    ends = model.hidden * model.vocab * (1.0 if model.tied_embeddings else 2.0)
    full = method in ("full", "dpo")
    return Sizes(
        dense=dense,
        experts=experts,
        trained=model.params if full else lora_parameters(model, lora_rank),
        ends=min(ends, dense),
        layer=max(dense - ends, 0.0) / model.layers,
        expert_layer=experts / moe_layers if moe_layers else 0.0,
        act_kept=activation_bytes(model, adapters=not full),
        act_block=2.0 * model.hidden,
        quantised=method == "qlora",
        full=full,
    )


class Saved(NamedTuple):
    """Sizes on disk in GB (10**9 bytes): a checkpoint to go on from, and the model that comes out, in 16 bits."""

    checkpoint_gb: float
    model_gb: float


def saved(workload: Workload, model: ModelShape) -> Saved:
    """What a run writes: of what is trained, 16-bit weights and the states of Adam (arXiv:1910.02054, section 3)."""
    trained = sizes(model, workload.method, workload.lora_rank).trained
    return Saved(trained * (2.0 + OPTIMIZER_BYTES) / 1e9, model.params * 2.0 / 1e9)


def lora_parameters(model: ModelShape, rank: int) -> float:
    """Adapter parameters: rank * (inputs + outputs) of every linear matrix outside routed experts."""
    wide, narrow = model.heads * model.head_dim, model.kv_heads * model.head_dim
    h, ffn = model.hidden, model.ffn or model.expert_ffn
    attention = (h + wide) + 2 * (h + narrow) + (wide + h)
    feed_forward = (3 if model.gated else 2) * (h + ffn)
    return float(rank * model.layers * (attention + feed_forward))


def activation_bytes(model: ModelShape, *, adapters: bool) -> float:
    """Bytes that one token leaves in one layer for the backward pass, attention fused, nothing recomputed.

    GPT block: 34 h. Gated block: 12 h + 6 ffn, of which the attention half scales with the width of the heads. With
    adapters on every matrix, 16 h + 8 ffn: inputs of frozen matrices are kept as well (docs/explanation/sizing.md).
    """
    h, wide = model.hidden, model.heads * model.head_dim
    routed = model.top_k + model.shared_experts
    ffn = routed * model.expert_ffn if model.experts else model.ffn
    if not model.gated and not model.experts:
        return 34.0 * h
    attention = 6.0 * h + 6.0 * wide
    if adapters:
        return attention * 16 / 12 + 8.0 * ffn
    return attention + 6.0 * ffn + (4.0 * model.top_k * h if model.experts else 0.0)


def gpt_activation_bytes(
    *,
    sequence: int,
    micro_batch: int,
    hidden: int,
    heads: int,
    layers: int,
    tp: int,
    pp: int,
    chunks: int,
    recompute: str,
) -> float:
    """Activation bytes of the first pipeline stage of a GPT model with plain attention.

    Parameters
    ----------
    chunks
        Interleaved chunks per stage; 1 is plain 1F1B.
    recompute
        ``no_sp`` (tensor parallel only), ``none`` (with sequence parallelism), ``selective`` or ``full``.

    Source: arXiv:2205.05198, table 2 and equations 1, 4, 5 and 6.
    """
    tokens = float(sequence * micro_batch * hidden)
    scores = 5.0 * heads * sequence / hidden
    per_layer = {
        "no_sp": tokens * (10 + 24 / tp + scores / tp),
        "none": tokens / tp * (34 + scores),
        "selective": tokens * 34 / tp,
        "full": tokens * 2,
    }[recompute]
    in_flight = 1 + (pp - 1) / (pp * chunks) if chunks > 1 else 1.0
    return per_layer * layers * in_flight


def training_memory(workload: Workload, model: ModelShape, accelerator: Accelerator, shape: Parallelism) -> Memory:
    """Memory of the fullest accelerator of `shape`. The parts add up to the peak of a step."""
    parts = training_parts(sizes(model, workload.method, workload.lora_rank), model, workload, accelerator.kind, shape)
    return memory_of_parts(parts, available_gib(accelerator) or 0.0)


class Trial(NamedTuple):
    """A parallel shape while it is tried; the fields of `Parallelism`, in a lighter value."""

    tp: int = 1
    pp: int = 1
    cp: int = 1
    ep: int = 1
    dp: int = 1
    zero: int = 0
    micro_batch: int = 1
    accumulation: int = 1
    recompute: str = "none"


class Parts(NamedTuple):
    """GiB of one accelerator in training. `saving` and `loading` come on top of what stays, at their time."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    gathered: float
    overhead: float
    saving: float
    loading: float

    @property
    def step(self) -> float:
        """The peak of a step."""
        return (
            self.weights
            + self.gradients
            + self.optimizer
            + self.activations
            + self.logits
            + self.gathered
            + self.overhead
        )

    @property
    def peak(self) -> float:
        """The highest of the three peaks."""
        kept = self.weights + self.gradients + self.optimizer + self.overhead
        return max(self.step, kept + self.saving, self.weights + self.overhead + self.loading)


_NAMES = Parts._fields[:7]


def memory_of_parts(parts: Parts, available: float) -> Memory:
    """The value that is shown, from the sums of the search."""
    named = tuple((name, value) for name, value in zip(_NAMES, parts, strict=False) if value)
    kept = parts.weights + parts.gradients + parts.optimizer + parts.overhead
    return Memory(
        parts=named,
        step_gib=sum(value for _name, value in named),
        checkpoint_gib=kept + parts.saving,
        load_gib=parts.weights + parts.overhead + parts.loading,
        available_gib=available,
    )


def training_parts(size: Sizes, model: ModelShape, workload: Workload, kind: str, shape: Parallelism | Trial) -> Parts:
    """Memory by part. Hot: called for every parallel shape that is tried."""
    soft = platform(kind)
    tp, pp, data = shape.tp, shape.pp, shape.dp * shape.cp
    weights, gradients, optimizer = _states(size, workload, soft, shape)
    tokens = shape.micro_batch * workload.sequence_tokens / shape.cp
    wide = 2.0 if workload.precision == "fp32" else 1.0
    activations = _activations(size, model, shape, tokens) * soft.activation_factor * wide
    logits = 6.0 * model.vocab * tokens / tp  # FP32 logits and their BF16 gradients
    if pp > 1:  # the last stage has one micro-batch in flight, so its logits hide behind the first stage's activations
        logits = max(0.0, logits + activations / min(pp, shape.accumulation) - activations)
    unit = max(size.layer, size.ends / 2) / tp
    gathered = _gathered(size, workload, soft, shape)
    loading = 2.0 * size.layer / tp if size.quantised else 0.0
    alone = tp * pp * data == 1
    overhead = (soft.overhead_gb_single if alone else soft.overhead_gb_group) * _GB_IN_GIB
    return Parts(
        weights / GIB,
        gradients / GIB,
        optimizer / GIB,
        activations / GIB,
        logits / GIB,
        gathered / GIB,
        overhead,
        4.0 * unit / GIB if tp * pp * data > 1 and shape.zero == 3 else 0.0,
        loading / GIB,
    )


def _weight_bytes(size: Sizes, precision: str, soft: Platform) -> float:
    """Bytes per parameter of the weights that the step reads; ends stay in 16 bits under QLoRA."""
    if not size.quantised:
        return 4.0 if precision == "fp32" else 2.0
    linear = size.dense + size.experts - size.ends
    return (soft.qlora_bytes * linear + 2.0 * size.ends) / (size.dense + size.experts)


def _states(size: Sizes, workload: Workload, soft: Platform, shape: Parallelism | Trial) -> tuple[float, float, float]:
    """Bytes of weights, gradients and optimizer states, each divided over the group that its stage shards it over."""
    data = shape.dp * shape.cp
    dense = size.dense / (shape.tp * shape.pp)
    experts = size.experts / (shape.ep * shape.pp)
    # Of what is sharded: dense parts over the data-parallel group, experts over their own, smaller one.
    spread = dense / data + experts / max(1, data * shape.tp // shape.ep)
    whole = dense + experts
    weights = _weight_bytes(size, workload.precision, soft) * (spread if shape.zero == 3 else whole)
    if workload.method == "dpo":
        weights *= 2.0  # the frozen reference model
    if not size.full:
        whole = size.trained / (shape.tp * shape.pp)
        spread = whole / data
        weights += 2.0 * whole
    wide = workload.precision == "fp32" and size.full
    gradients = (GRADIENT_BYTES_FP32 if wide else GRADIENT_BYTES) * (spread if shape.zero >= 2 else whole)
    optimizer = (OPTIMIZER_BYTES_FP32 if wide else OPTIMIZER_BYTES) * (spread if shape.zero >= 1 else whole)
    return weights, gradients, optimizer


def _gathered(size: Sizes, workload: Workload, soft: Platform, shape: Parallelism | Trial) -> float:
    """Bytes of what full sharding brings together for a step: two layers and the ends, with the experts of a layer."""
    data, ways = shape.dp * shape.cp, shape.tp
    if shape.zero != 3 or data == 1:
        return 0.0
    found = 2.0 * (2 * size.layer + size.ends) / ways
    if data * ways > shape.ep:  # experts lie on several accelerators each
        found += 2 * _weight_bytes(size, workload.precision, soft) * size.expert_layer / shape.ep
    return found


def fixed_bytes(size: Sizes, workload: Workload, kind: str, shape: Parallelism | Trial) -> float:
    """Bytes of all states of one accelerator, activations left out."""
    return sum(_states(size, workload, platform(kind), shape))


def _activations(size: Sizes, model: ModelShape, shape: Parallelism | Trial, tokens: float) -> float:
    """Bytes on the first pipeline stage, which holds a micro-batch for every stage (1F1B)."""
    layers = math.ceil(model.layers / shape.pp) * min(shape.pp, shape.accumulation)
    kept = size.act_kept * tokens / shape.tp
    if shape.recompute == "full":
        return layers * size.act_block * tokens / shape.tp + kept  # one layer at a time is worked out again
    return layers * kept
