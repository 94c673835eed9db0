"""The search for a parallel shape: of those that a machine allows, the one with the best expected time that fits.

Penalties only rank shapes: a published MFU already contains the cost of a usual shape, so the hours do not pay it
again.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from cloudaccel.model.workload import ModelShape, Workload
from cloudaccel.workloads.flops import flops_per_token
from cloudaccel.workloads.memory import GIB, Parts, Sizes, Trial, fixed_bytes, sizes, training_parts
from cloudaccel.workloads.runs import RECOMPUTE_FACTOR

# Time of a step over one without that kind of cutting; our judgement from arXiv:2104.04473, figures 13 to 15, and the
# order of decisions in NVIDIA's guide (docs/explanation/sizing.md, 2026-08).
_TENSOR_COST = {1: 1.0, 2: 1.02, 4: 1.05, 8: 1.10}
_TENSOR_COST_SLOW_LINK = {1: 1.0, 2: 1.15, 4: 1.35, 8: 1.7}
_PIPELINE_COST = 1.02  # for every doubling, beside the bubble
_CONTEXT_COST = 1.03  # for every doubling
_EXPERT_COST_ACROSS = 1.05  # expert parallel beyond one machine
_FULL_SHARD_COST = 1.03
_INTERLEAVE = 2  # chunks per pipeline stage that divide the bubble; usual recipes have 2 to 12
LONG_SEQUENCE = 16_384  # tokens from which context parallelism is tried (Megatron-Bridge guide)
# ZeRO stages worth trying: 2 saves little over 1 and costs as much as 3. NeuronX Distributed has 1 only (2026-11).
_STAGES = {"neuron": (1,)}
# States above the limit by this factor cannot be made to fit, not even tightly (1 / 0.80, and 5 % for QLoRA).
_HOPELESS = 1.35
_DEGREES = (1, 2, 4, 8, 16, 32, 64)
# Sequences in one step when the caller does not say: 4M tokens for pre-training (70B class, 2023), else a small batch.
PRETRAIN_BATCH_TOKENS = 4_194_304
# And on thousands of accelerators: 16.8M tokens on 16,384 (Llama-3.1-405B, arXiv:2407.21783), 3.9M on 3,360 (MT-NLG,
# arXiv:2201.11990); 2026-11-27.
PRETRAIN_TOKENS_PER_ACCELERATOR = 1024
FINETUNE_BATCH_SEQUENCES = 64
DATA_PARALLEL_STACKS = frozenset({"fsdp", "deepspeed", "ddp"})  # shard over data-parallel ranks only, as usually run


class Cut(NamedTuple):
    """One way of cutting, with the time it costs at least."""

    cost: float
    tp: int
    pp: int
    cp: int
    ep: int


class Found(NamedTuple):
    """A shape with its memory and its relative time."""

    cost: float
    shape: Trial
    parts: Parts
    peak: float  # GiB, of `parts`


class Room(NamedTuple):
    """The hardware as the search sees it."""

    kind: str
    slow_link: bool  # accelerators of one machine meet over PCIe or Ethernet
    per_node: int
    nodes: int
    flops_per_byte: float = 0.0  # that one accelerator does while its machine sends a byte to another; 0: never waits


def batch_sequences(workload: Workload, accelerators: int = 1) -> int:
    """Sequences in one step: as asked, else a usual batch for the task and the number of accelerators."""
    if workload.batch_sequences is not None:
        return workload.batch_sequences
    if workload.task in ("pretrain", "continued_pretrain"):
        tokens = max(PRETRAIN_BATCH_TOKENS, PRETRAIN_TOKENS_PER_ACCELERATOR * accelerators)
        return max(1, tokens // workload.sequence_tokens)
    return FINETUNE_BATCH_SEQUENCES


def network_stretch(
    workload: Workload, model: ModelShape, size: Sizes, room: Room, shape: Trial, flops_per_token: float
) -> float:
    """How many times the network between machines stretches a step, at least 1; all of it can overlap with computation.

    Per step a machine sends, for each part of the model that it holds, the gradients twice in 16 bits (ring all-reduce;
    arXiv:1910.02054, section 7), and under full sharding the weights twice for every micro-batch; at the edge of a
    pipeline stage the activations there and back; and with experts spread over machines the tokens to their experts and
    back, forward and backward. Ranks are laid out tensor, context, data, pipeline, from the inside out.
    """
    if room.nodes <= 1 or not room.flops_per_byte:
        return 1.0
    cut = shape.tp * shape.pp
    tokens = shape.micro_batch * shape.accumulation * workload.sequence_tokens / shape.cp
    copies = room.per_node / shape.tp  # model parts side by side in one machine
    sent = 0.0
    if shape.tp * shape.cp * shape.dp > room.per_node and shape.dp * shape.cp > 1:
        held = min(1.0, room.per_node / shape.ep)  # of the experts, in one machine
        whole = size.dense + size.experts * held
        trained = whole if size.full else size.trained
        sent += 4.0 * trained / shape.pp
        if shape.zero == 3:
            sent += 4.0 * whole / shape.pp * shape.accumulation
    if shape.pp > 1:
        sent += 4.0 * model.hidden * tokens * copies * _INTERLEAVE
    if shape.ep > room.per_node:
        away = 1 - room.per_node / shape.ep
        sent += 8.0 * model.top_k * model.hidden * tokens * copies * model.layers / shape.pp * away
    flops = tokens * flops_per_token / cut
    return max(1.0, sent * room.flops_per_byte / (flops * RECOMPUTE_FACTOR[shape.recompute]))


@lru_cache(maxsize=4096)
def cuts(model: ModelShape, room: Room, long: bool) -> tuple[Cut, ...]:
    """All ways of cutting that divide evenly, the cheapest first. Tensor parallel stays inside a machine."""
    total = room.per_node * room.nodes
    found = [
        Cut(_cut_cost(tp, pp, cp, ep, room), tp, pp, cp, ep)
        for tp in _divisors(room.per_node, 8, model.heads)
        for pp in _pipelines(total // tp, model.layers, room.kind)
        for cp in (_divisors(total // (tp * pp), 16, 0) if long else (1,))
        for ep in _expert_degrees(model, total // pp, room.per_node)
    ]
    return tuple(sorted(found))


def _divisors(number: int, limit: int, other: int) -> tuple[int, ...]:
    """Powers of two up to `limit` that divide `number`, and `other` unless that is 0."""
    return tuple(d for d in _DEGREES if d <= limit and number % d == 0 and (other == 0 or other % d == 0))


def _pipelines(number: int, layers: int, kind: str) -> tuple[int, ...]:
    """Pipeline degrees: layers divide evenly, or do so with embedding and output counted as a layer each.

    The latter is how 126 layers were cut into 16 stages (arXiv:2407.21783, section 3.3.2; 2026-11-27); the software of
    TPUs and Trainium cuts evenly only.
    """
    whole = _divisors(number, 64, 0)
    return tuple(pp for pp in whole if layers % pp == 0 or (kind == "gpu" and pp <= layers and (layers + 2) % pp == 0))


def _expert_degrees(model: ModelShape, group: int, per_node: int) -> tuple[int, ...]:
    """Expert-parallel degrees worth trying: none, the most that a machine holds, the most there is."""
    if not model.experts:
        return (1,)
    degrees = _divisors(group, 64, model.experts)
    inside = max(d for d in degrees if d <= per_node)
    return tuple(sorted({1, inside, degrees[-1]}))


def _cut_cost(tp: int, pp: int, cp: int, ep: int, room: Room) -> float:
    doublings = pp.bit_length() - 1, cp.bit_length() - 1
    across = _EXPERT_COST_ACROSS if ep > room.per_node else 1.0
    tensor = (_TENSOR_COST_SLOW_LINK if room.slow_link else _TENSOR_COST)[tp]
    return tensor * _PIPELINE_COST ** doublings[0] * _CONTEXT_COST ** doublings[1] * across


class Task(NamedTuple):
    """What is looked for, in one value."""

    workload: Workload
    model: ModelShape
    room: Room
    size: Sizes
    batch: int
    limit_gib: float
    parts: Callable[[Trial], tuple[Parts, float]]
    flops_per_token: float


@lru_cache(maxsize=16)
def _parts_on(workload: Workload, model: ModelShape, kind: str) -> Callable[[Trial], tuple[Parts, float]]:
    """The memory of a shape and its peak, worked out once: it is the same on every accelerator of a kind."""
    size = sizes(model, workload.method, workload.lora_rank)

    @lru_cache(maxsize=4096)
    def parts(shape: Trial) -> tuple[Parts, float]:
        found = training_parts(size, model, workload, kind, shape)
        return found, found.peak

    return parts


@lru_cache(maxsize=8192)
def search(workload: Workload, model: ModelShape, room: Room, limit_gib: float) -> tuple[Found | None, Found]:
    """The best shape within `limit_gib` per accelerator (None: there is none), and the one with the least memory."""
    size = sizes(model, workload.method, workload.lora_rank)
    total = room.per_node * room.nodes
    task = Task(
        workload,
        model,
        room,
        size,
        max(batch_sequences(workload, total), 1),
        limit_gib,
        _parts_on(workload, model, room.kind),
        flops_per_token(model, workload.sequence_tokens, workload.method),
    )
    allowed = _allowed(workload, model, room)
    if _states_gib(size, workload, room) > limit_gib * _HOPELESS:
        allowed = allowed[-1:]  # nothing can fit; one shape, cut as far as possible, says how far off it is
    best: Found | None = None
    least: Found | None = None
    most = _most_replicas(task, allowed, total)
    for cut in allowed:
        if best is not None and cut.cost >= best.cost:
            break
        data = total // (cut.tp * cut.pp * cut.cp)
        if data > most:
            continue
        found, smallest = _of_cut(task, cut, data)
        if least is None or smallest.peak < least.peak:
            least = smallest
        if found is not None and (best is None or found.cost < best.cost):
            best = found
    if least is None:  # the batch is smaller than any division: one replica cut as far as it goes
        shape = Trial(dp=total, zero=3, recompute="full")
        least = Found(1.0, shape, *task.parts(shape))
    return best, least


def _most_replicas(task: Task, allowed: tuple[Cut, ...], total: int) -> int:
    """Replicas that have a sequence each. A batch that the caller did not give grows when no cut is deep enough."""
    if task.workload.batch_sequences is not None:
        return task.batch
    fewest = min(total // (cut.tp * cut.pp * cut.cp) for cut in allowed)
    return max(task.batch, fewest) if task.workload.task != "finetune" else total


def _of_cut(task: Task, cut: Cut, data: int) -> tuple[Found | None, Found]:
    """The fastest setting of a cut that fits, and its smallest. Full recomputation needs least, so it goes first."""
    ways = (task.workload.recompute,) if task.workload.recompute else ("full", "none")
    tried = _settings(task, cut, data, ways[0])
    smallest = min(tried, key=_peak)
    fits = [found for found in tried if found.peak <= task.limit_gib]
    if fits and len(ways) > 1:
        fits = [f for f in _settings(task, cut, data, ways[1]) if f.peak <= task.limit_gib] or fits
    return (fits[0] if fits else None), smallest


def _peak(found: Found) -> float:
    return found.peak


def _states_gib(size: Sizes, workload: Workload, room: Room) -> float:
    """GiB per accelerator that no shape can go below: the states spread evenly over all of them."""
    whole = Trial(zero=0, recompute="full")
    if workload.parallel == "ddp":
        return 0.0
    held = fixed_bytes(size, workload, room.kind, whole) / GIB
    return held / (room.per_node * room.nodes)


def _allowed(workload: Workload, model: ModelShape, room: Room) -> tuple[Cut, ...]:
    if workload.parallel == "ddp":
        return (Cut(1.0, 1, 1, 1, 1),)
    every = cuts(model, room, workload.sequence_tokens >= LONG_SEQUENCE)
    if workload.stack in DATA_PARALLEL_STACKS:
        return tuple(cut for cut in every if cut.tp == cut.pp == 1)
    return every


def _settings(task: Task, cut: Cut, data: int, recompute: str) -> list[Found]:
    """The cut with each sharding stage, the fastest first."""
    steps = max(1, task.batch // data)
    bubble = (cut.pp - 1) / (_INTERLEAVE * steps) if cut.pp > 1 else 0.0
    alone = task.workload.parallel == "ddp" or data * cut.cp == 1
    kind = task.room.kind
    cost = cut.cost * (1 + bubble) * RECOMPUTE_FACTOR[recompute]
    found: list[Found] = []
    for zero in (0,) if alone else _STAGES.get(kind, (1, 3)):
        shape = Trial(cut.tp, cut.pp, cut.cp, cut.ep, data, zero, 1, steps, recompute)
        one = Found(cost * (_FULL_SHARD_COST if zero == 3 else 1.0), shape, *task.parts(shape))
        found.append(_waiting(task, one))
    return found if len(found) == 1 else sorted(found, key=_cost)


def _cost(found: Found) -> float:
    return found.cost


def _stretch(task: Task, shape: Trial) -> float:
    return network_stretch(task.workload, task.model, task.size, task.room, shape, task.flops_per_token)


def _waiting(task: Task, found: Found) -> Found:
    """The same with the wait for the network in its cost; a larger micro-batch, where there is room, waits less."""
    if not task.room.flops_per_byte:
        return found
    stretch = _stretch(task, found.shape)
    if stretch > 1 and found.shape.zero == 3 and found.peak <= task.limit_gib:
        found = grow_micro_batch(task.workload, task.model, task.room.kind, found, task.limit_gib)
        stretch = _stretch(task, found.shape)
    return Found(found.cost * stretch, found.shape, found.parts, found.peak) if stretch > 1 else found


def grow_micro_batch(workload: Workload, model: ModelShape, kind: str, found: Found, limit_gib: float) -> Found:
    """The same shape with the largest micro-batch (1, 2, 4, 8) that fits and still fills the pipeline."""
    parts_of = _parts_on(workload, model, kind)
    shape, best = found.shape, found
    if shape.micro_batch > 1:
        return found  # it has grown already, to wait less for the network
    for micro in (2, 4, 8):
        if shape.accumulation % micro or shape.accumulation // micro < shape.pp:
            break
        grown = shape._replace(micro_batch=micro, accumulation=shape.accumulation // micro)
        parts, peak = parts_of(grown)
        if peak > limit_gib:
            break
        best = Found(found.cost, grown, parts, peak)
    return best
