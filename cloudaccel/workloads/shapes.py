"""The search for a parallel shape: of those that a machine allows, the one with the best expected time that fits.

A published MFU already contains the cost of a usual shape, so the hours do not pay it again: only what a shape costs
over the one that a fast network would have allowed.
"""

import math
from collections.abc import Callable, Iterator
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
# Chunks per pipeline stage that divide the bubble, and multiply what is sent. A chunk is a layer or more, and there are
# as many micro-batches as stages (arXiv:2104.04473, section 2.2); published recipes have 2 to 20 chunks (2026-08).
_CHUNKS = (1, 2, 4, 8)
# Share of a step that a pipeline of the published runs stands idle, which their rates contain: BLOOM 12 stages and 128
# micro-batches, 0.09; MT-NLG 35 and 240, 0.14; Llama-3.1-405B 16 and 16 in chunks, 0.12 (2026-11-27).
USUAL_BUBBLE = 0.10
# Tokens that a rank of context parallelism keeps at least: recipes cut 8,192 in two (8B and 405B, NeMo, 2026-08) and
# 131,072 in sixteen (arXiv:2407.21783, table 4).
LEAST_CONTEXT = 4_096
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
    flops_per_link_byte: float = 0.0  # that it does while it passes a byte to its neighbour; 0: the link is fast


def batch_sequences(workload: Workload, accelerators: int = 1) -> int:
    """Sequences in one step: as asked, else a usual batch for the task and the number of accelerators."""
    if workload.batch_sequences is not None:
        return workload.batch_sequences
    if workload.task in ("pretrain", "continued_pretrain"):
        tokens = max(PRETRAIN_BATCH_TOKENS, PRETRAIN_TOKENS_PER_ACCELERATOR * accelerators)
        return max(1, tokens // workload.sequence_tokens)
    return FINETUNE_BATCH_SEQUENCES


class Step(NamedTuple):
    """One step of one shape, in one value."""

    workload: Workload
    model: ModelShape
    size: Sizes
    room: Room
    shape: Trial
    flops_per_token: float

    @property
    def tokens(self) -> float:
        """Tokens that one rank works on."""
        shape = self.shape
        return shape.micro_batch * shape.accumulation * self.workload.sequence_tokens / shape.cp

    @property
    def flops(self) -> float:
        """FLOPs of one accelerator, what is computed again included."""
        shape = self.shape
        return self.tokens * self.flops_per_token / (shape.tp * shape.pp) * RECOMPUTE_FACTOR[shape.recompute]


class Waits(NamedTuple):
    """How many times waiting for network and link stretches a step, each at least 1, and the bubble of its pipeline."""

    network: float = 1.0
    link: float = 1.0
    bubble: float = 0.0  # time that a pipeline stands idle over the time that it works

    @property
    def pipeline(self) -> float:
        """How many times a pipeline with few micro-batches stretches a step over a usual one, at least 1."""
        return max(1.0, (1 + self.bubble) / (1 + USUAL_BUBBLE))

    @property
    def factor(self) -> float:
        """All of it: network and link are waited for at the same time, the pipeline stands idle beside them."""
        return max(self.network, self.link) * self.pipeline


def waits(step: Step) -> Waits:
    """What a step waits for, with the number of chunks per pipeline stage that waits least."""
    shape, link = step.shape, link_stretch(step)
    if shape.pp == 1:
        return Waits(network_stretch(step, 1), link)
    most = step.model.layers // shape.pp if shape.accumulation >= shape.pp else 1
    return min(
        (
            Waits(network_stretch(step, chunks), link, (shape.pp - 1) / (chunks * shape.accumulation))
            for chunks in _CHUNKS
            if chunks <= most or chunks == 1
        ),
        key=_factor,
    )


def _factor(found: Waits) -> tuple[float, float]:
    return found.factor, found.bubble


def network_stretch(step: Step, chunks: int) -> float:
    """How many times the network between machines stretches a step, at least 1; all of it can overlap with computation.

    Per step a machine sends, for each part of the model that it holds, the gradients twice in 16 bits (ring all-reduce;
    arXiv:1910.02054, section 7), and under full sharding the weights twice for every micro-batch; at the edge of a
    pipeline stage the activations there and back; and with experts spread over machines the tokens to their experts and
    back, forward and backward. Ranks are laid out tensor, context, data, pipeline, from the inside out.
    """
    model, size, room, shape = step.model, step.size, step.room, step.shape
    if room.nodes <= 1 or not room.flops_per_byte:
        return 1.0
    tokens = step.tokens
    copies = room.per_node / shape.tp  # model parts side by side in one machine
    sent = 0.0
    if shape.tp * shape.cp * shape.dp > room.per_node and shape.dp * shape.cp > 1:
        held = min(1.0, room.per_node / shape.ep)  # of the experts, in one machine
        whole = size.dense + size.experts * held
        trained = whole if size.full else size.trained
        sent += 4.0 * trained / shape.pp
        if shape.zero == 3:
            sent += 2.0 * _gathered_bytes(size) * whole / shape.pp * shape.accumulation
    if shape.pp > 1:
        sent += 4.0 * model.hidden * tokens * copies * chunks
    if shape.ep > room.per_node:
        away = 1 - room.per_node / shape.ep
        sent += 8.0 * model.top_k * model.hidden * tokens * copies * model.layers / shape.pp * away
    return max(1.0, sent * room.flops_per_byte / step.flops)


def _gathered_bytes(size: Sizes) -> float:
    """Bytes of a weight as full sharding passes it round: 16 bits, or about four of QLoRA's."""
    return 0.56 if size.quantised else 2.0


def link_stretch(step: Step) -> float:
    """How many times the link inside a machine stretches a step where cards meet over PCIe, at least 1.

    Gradients, and weights under full sharding, pass while something is computed. The all-reduces of tensor parallelism
    (two forward and two backward per layer; two more when the forward pass is repeated; arXiv:1909.08053, section 3)
    and the tokens on their way to experts are waited for.
    """
    model, size, room, shape = step.model, step.size, step.room, step.shape
    if not room.flops_per_link_byte or room.per_node == 1:
        return 1.0
    inside = min(shape.dp * shape.cp, room.per_node // shape.tp)
    beside = held = 0.0
    if inside > 1:
        held = (size.dense / shape.tp + size.experts / shape.ep) / shape.pp
        trained = held if size.full else size.trained / (shape.tp * shape.pp)
        gathered = 2.0 * _gathered_bytes(size) * held * shape.accumulation if shape.zero == 3 else 0.0
        beside = (4.0 * trained + gathered) * (1 - 1 / inside)
    vectors = 2.0 * model.hidden * step.tokens * model.layers / shape.pp  # bytes of one exchange in all layers
    reduces = 6 if shape.recompute == "full" else 4
    waited = reduces * vectors * 2 * (1 - 1 / shape.tp)
    if shape.ep > 1:
        waited += 4.0 * model.top_k * vectors / shape.tp * (1 - 1 / min(shape.ep, room.per_node))
    each = room.flops_per_link_byte / step.flops
    return max(1.0, beside * each) + waited * each


@lru_cache(maxsize=4096)
def cuts(model: ModelShape, room: Room, contexts: int) -> tuple[Cut, ...]:
    """All ways of cutting that divide evenly, the cheapest first. Tensor parallel stays inside a machine.

    Parameters
    ----------
    contexts
        Parts that a sequence may be cut into.
    """
    total = room.per_node * room.nodes
    found = [
        Cut(_cut_cost(tp, pp, cp, ep, room), tp, pp, cp, ep)
        for tp in _divisors(room.per_node, 8, model.heads)
        for pp in _pipelines(total // tp, model.layers, room.kind)
        for cp in _divisors(total // (tp * pp), contexts, 0)
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
    judged = room.slow_link and not room.flops_per_link_byte  # else the wait is worked out
    tensor = (_TENSOR_COST_SLOW_LINK if judged else _TENSOR_COST)[tp]
    return tensor * _PIPELINE_COST ** doublings[0] * _CONTEXT_COST ** doublings[1] * across


def _sharding_cost(zero: int) -> float:
    return _FULL_SHARD_COST if zero == 3 else 1.0


def cutting_cost(shape: Trial, room: Room) -> float:
    """Time of a step over one that is cut in no way, waits and recomputation left out."""
    return _cut_cost(shape.tp, shape.pp, shape.cp, shape.ep, room) * _sharding_cost(shape.zero)


class Limit(NamedTuple):
    """GiB of one accelerator that a shape may take: any, and one that shards everything (ZeRO 3)."""

    gib: float
    sharded_gib: float

    def holds(self, found: Found) -> bool:
        """Whether the shape stays within it."""
        return found.peak <= (self.sharded_gib if found.shape.zero == 3 else self.gib)


class Task(NamedTuple):
    """What is looked for, in one value."""

    workload: Workload
    model: ModelShape
    room: Room
    size: Sizes
    batch: int
    limit: Limit
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


def search(workload: Workload, model: ModelShape, room: Room, limit: Limit) -> tuple[Found | None, Found]:
    """The best shape within `limit` per accelerator (None: there is none), and the one with the least memory.

    The latter counts only where there is no best one.
    """
    fast = room._replace(flops_per_byte=0.0)
    best, least = _searched(workload, model, fast, limit)
    if best is None or not room.flops_per_byte:
        return best, least  # what fits is no question of the network
    task = _task(workload, model, room, limit)
    here, there = _waits(task, best.shape), _waits(task._replace(room=fast), best.shape)
    if here.factor <= there.factor:
        return best, least  # what does not wait for the network stays the best
    cost = cutting_cost(best.shape, room) * RECOMPUTE_FACTOR[best.shape.recompute] * here.factor
    return _searched(workload, model, room, limit, _rounded_up(cost))[0] or best, least


def _rounded_up(cost: float) -> float:
    """So that a shape of that very cost is still found."""
    return cost * (1 + 1e-9)


def _task(workload: Workload, model: ModelShape, room: Room, limit: Limit) -> Task:
    return Task(
        workload,
        model,
        room,
        sizes(model, workload.method, workload.lora_rank),
        max(batch_sequences(workload, room.per_node * room.nodes), 1),
        limit,
        _parts_on(workload, model, room.kind),
        flops_per_token(model, workload.sequence_tokens, workload.method),
    )


@lru_cache(maxsize=8192)
def _searched(
    workload: Workload, model: ModelShape, room: Room, limit: Limit, bound: float = math.inf
) -> tuple[Found | None, Found]:
    """What `search` finds, of what costs less than `bound`."""
    task = _task(workload, model, room, limit)
    allowed = _allowed(workload, model, room)
    if _states_gib(task.size, workload, room) > limit.gib * _HOPELESS:
        allowed = allowed[-1:]  # nothing can fit; one shape, cut as far as possible, says how far off it is
    best: Found | None = None
    least: Found | None = None
    for cut, data in _divided(task, allowed):
        if cut.cost >= bound:
            break
        found, smallest = _of_cut(task, cut, data, bound)
        if smallest is not None and (least is None or smallest.peak < least.peak):
            least = smallest
        if found is not None and found.cost < bound:
            best, bound = found, found.cost
    return best, least or _uncut(task)


def _divided(task: Task, allowed: tuple[Cut, ...]) -> Iterator[tuple[Cut, int]]:
    """Cuts with their replicas, where each of those has a sequence."""
    total = task.room.per_node * task.room.nodes
    most = _most_replicas(task, allowed, total)
    for cut in allowed:
        data = total // (cut.tp * cut.pp * cut.cp)
        if data <= most:
            yield cut, data


def _uncut(task: Task) -> Found:
    """One replica as small as it gets, where the batch is smaller than any division."""
    shape = Trial(dp=task.room.per_node * task.room.nodes, zero=3, recompute="full")
    return Found(1.0, shape, *task.parts(shape))


@lru_cache(maxsize=4096)
def least_gib(workload: Workload, model: ModelShape, kind: str, per_node: int, nodes: int) -> float:
    """GiB of one accelerator in the shape that needs least, whatever its speed."""
    room = Room(kind, False, per_node, nodes)
    task = _task(workload, model, room, Limit(0.0, 0.0))
    recompute = workload.recompute or "full"
    peaks = [
        found.peak
        for cut, data in _divided(task, _allowed(workload, model, room))
        for found in _settings(task, cut, data, recompute, 0.0)
    ]
    return min(peaks, default=_uncut(task).peak)


def _most_replicas(task: Task, allowed: tuple[Cut, ...], total: int) -> int:
    """Replicas that have a sequence each. A batch that the caller did not give grows when no cut is deep enough."""
    if task.workload.batch_sequences is not None:
        return task.batch
    fewest = min(total // (cut.tp * cut.pp * cut.cp) for cut in allowed)
    return max(task.batch, fewest) if task.workload.task != "finetune" else total


def _of_cut(task: Task, cut: Cut, data: int, bound: float) -> tuple[Found | None, Found | None]:
    """The fastest setting of a cut that fits, and, until one was found (`bound` is finite), its smallest.

    Full recomputation needs least, so it tells whether any fits. The cost of one that does not fit, or is no better
    than `bound`, leaves out its waits.
    """
    asked = task.workload.recompute
    if asked is None and bound < math.inf:
        kept = _fitting(task, _settings(task, cut, data, "none", bound))
        if kept or cut.cost * RECOMPUTE_FACTOR["full"] >= bound:
            return (kept[0] if kept else None), None
    tried = _settings(task, cut, data, asked or "full", bound)
    fits = _fitting(task, tried)
    if fits and asked is None and bound == math.inf:
        fits = _fitting(task, _settings(task, cut, data, "none", bound)) or fits
    return (fits[0] if fits else None), min(tried, key=_peak)


def _fitting(task: Task, tried: list[Found]) -> list[Found]:
    return [found for found in tried if task.limit.holds(found)]


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
    every = cuts(model, room, max(1, min(16, workload.sequence_tokens // LEAST_CONTEXT)))
    if workload.stack in DATA_PARALLEL_STACKS:
        return tuple(cut for cut in every if cut.tp == cut.pp == 1)
    return every


def _settings(task: Task, cut: Cut, data: int, recompute: str, bound: float) -> list[Found]:
    """The cut with each sharding stage, the fastest first."""
    steps = max(1, task.batch // data)
    alone = task.workload.parallel == "ddp" or data * cut.cp == 1
    kind = task.room.kind
    cost = cut.cost * RECOMPUTE_FACTOR[recompute]
    found: list[Found] = []
    for zero in (0,) if alone else _STAGES.get(kind, (1, 3)):
        shape = Trial(cut.tp, cut.pp, cut.cp, cut.ep, data, zero, 1, steps, recompute)
        one = Found(cost * _sharding_cost(zero), shape, *task.parts(shape))
        found.append(_waiting(task, one) if one.cost < bound and task.limit.holds(one) else one)
    return found if len(found) == 1 else sorted(found, key=_cost)


def _cost(found: Found) -> float:
    return found.cost


def _waits(task: Task, shape: Trial) -> Waits:
    return waits(Step(task.workload, task.model, task.size, task.room, shape, task.flops_per_token))


def _waiting(task: Task, found: Found) -> Found:
    """A shape that fits, with its waits in its cost; under full sharding a larger micro-batch may wait less."""
    if found.shape.pp == 1 and not task.room.flops_per_byte and not task.room.flops_per_link_byte:
        return found
    wait = _waits(task, found.shape)
    if max(wait.network, wait.link) > 1 and found.shape.zero == 3:
        found = grow_micro_batch(task.workload, task.model, task.room.kind, found, task.limit)
        wait = _waits(task, found.shape)
    return found._replace(cost=found.cost * wait.factor) if wait.factor > 1 else found


def grow_micro_batch(workload: Workload, model: ModelShape, kind: str, found: Found, limit: Limit) -> Found:
    """The same shape with the largest micro-batch (1, 2, 4, 8) that fits and still fills the pipeline."""
    parts_of = _parts_on(workload, model, kind)
    shape, best = found.shape, found
    fewest = (shape.pp - 1) / USUAL_BUBBLE if shape.pp > 1 else 1  # whatever the chunks
    if shape.micro_batch > 1:
        return found  # it has grown already, to wait less for the network
    for micro in (2, 4, 8):
        if shape.accumulation % micro or shape.accumulation // micro < fewest:
            break
        grown = shape._replace(micro_batch=micro, accumulation=shape.accumulation // micro)
        larger = Found(found.cost, grown, *parts_of(grown))
        if not limit.holds(larger):
            break
        best = larger
    return best
