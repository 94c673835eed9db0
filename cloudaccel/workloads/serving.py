"""Sizing of serving: does it fit, how fast is a replica, how many carry the load.

Prefill is bound by computation, decoding by bandwidth until the batch is large (docs/explanation/sizing.md).
Three shares of the hardware's peaks per software stack, from ``serving_rates.csv``, each with its source.
"""

import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

from cloudaccel.facts.loader import numbered_rows
from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import (
    Assumption,
    Fit,
    Memory,
    ModelShape,
    Parallelism,
    Reason,
    ServeDemand,
    Serving,
    Workload,
)
from cloudaccel.workloads.links import PCIE_ALL_REDUCE_GB_PER_S
from cloudaccel.workloads.memory import GIB, available_gib
from cloudaccel.workloads.runs import CALIBRATED_ERROR, bf16_peak

# Bytes per weight, scales included: NVFP4, MXFP4 and AWQ keep about 0.56 (docs/explanation/sizing.md).
WEIGHT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.56, "int4": 0.56}
USABLE_SHARE = 0.90  # engines leave a tenth to contexts and buffers (vLLM gpu_memory_utilization, default 0.9)
# The free part moves with what the engine's profiling run meets: vllm-project/vllm#10517, 2.89 to 3.81 GiB of 24.
MARGIN_SHARE = 0.025
MAX_BATCH = 2048  # sequences in flight, the engines' own limit in the tables that the rates come from
MAX_REPLICA_SHAPES = 5  # that are timed; larger ones only add machines
COMMUNICATION_GB = 3.5  # per accelerator of a replica that spans several, for buffers (aiconfigurator)


class Rates(NamedTuple):
    """Shares of the peaks that a stack reaches, and seconds that it adds per layer and step."""

    stack: str
    prefill: float
    decode: float
    bandwidth: float
    moe_share: float
    fp4_share: float
    layer_s_one: float
    layer_s_many: float
    low: float
    high: float
    source: str
    as_of: str


@cache
def _rates() -> dict[tuple[str, str], Rates]:
    found: dict[tuple[str, str], Rates] = {}
    for _line, row in numbered_rows("serving_rates.csv"):
        numbers = [float(row[name]) for name in Rates._fields[1:10]]
        found[(row["stack"], row["kind"])] = Rates._make([row["stack"], *numbers, row["source"], row["as_of"]])
    return found


def rates_of(stack: str | None, kind: str) -> Rates:
    """Rates of a stack on a kind of accelerator; without a stack, or with an unknown one, the kind's usual one."""
    table = _rates()
    if stack and (stack, kind) in table:
        return table[(stack, kind)]
    usual = {"gpu": "vllm", "tpu": "jax", "neuron": "neuronx", "hpu": "optimum-habana"}
    return table[(usual.get(kind, "vllm"), kind if kind in usual else "gpu")]


class Cache(NamedTuple):
    """Bytes of the key-value cache: per token that stays for ever, and at most per sequence for windows and states."""

    per_token: float
    window_per_token: float
    window: int


@lru_cache(maxsize=512)
def kv_cache(model: ModelShape, element_bytes: float = 2.0) -> Cache:
    """The cache of a model by attention kind: MHA, GQA, MLA, sliding windows, hybrids.

    Windows add `window_per_token` for the last `window` tokens of each sequence. A hybrid's constant state is small and
    left out.
    """
    if model.attention == "mla":
        return Cache(model.layers * (model.latent_dim + model.latent_rope_dim) * element_bytes, 0.0, 0)
    layer = 2.0 * model.kv_heads * model.head_dim * element_bytes
    if model.attention in ("sliding", "hybrid"):
        narrow = layer * (model.layers - model.full_layers) if model.window else 0.0
        return Cache(layer * model.full_layers, narrow, model.window)
    return Cache(layer * model.layers, 0.0, 0)


def cache_bytes(kv: Cache, tokens: float) -> float:
    """Bytes of one sequence of that many tokens."""
    return kv.per_token * tokens + kv.window_per_token * min(tokens, kv.window)


class Replica(NamedTuple):
    """One replica on `cards` accelerators: memory in bytes of all of them together."""

    cards: int
    tp: int
    pp: int
    weights: float
    workspace: float
    communication: float
    kv_room: float
    kv_margin: float


class Speed(NamedTuple):
    """Rates of one replica: output and input tokens per second, batch, and times of a request in seconds."""

    output_per_s: float
    input_per_s: float
    batch: int
    ttft_s: float
    tpot_s: float
    prefill_share: float  # of the time of a batch

    def in_time(self, demand: ServeDemand) -> bool:
        """Whether both latency targets are met, of those that are set."""
        late_first = demand.ttft_s is not None and self.ttft_s > demand.ttft_s
        return not late_first and (demand.tpot_s is None or self.tpot_s <= demand.tpot_s)


class Case(NamedTuple):
    """What is to be sized, in one value."""

    workload: Workload
    model: ModelShape
    demand: ServeDemand
    accelerator: Accelerator
    available: float  # GiB of one accelerator
    per_node: int
    nodes: int
    rates: Rates
    kv: Cache
    measured: float | None = None  # output tokens per second and accelerator

    @property
    def total(self) -> int:
        """Accelerators in all."""
        return self.per_node * self.nodes

    def machines(self, replica: Replica, speed: Speed | None) -> int:
        """Machines that carry the load with replicas like this one; of one replica when no load is stated."""
        replicas = (_replicas(self.demand, speed.output_per_s) if speed else None) or 1
        return machines_of(replicas, replica.cards, self.per_node)


def size_serving(
    workload: Workload,
    model: ModelShape,
    accelerator: Accelerator,
    *,
    per_node: int,
    nodes: int,
    measured: float | None = None,
) -> Fit:
    """The best replica on these machines, and how many carry the load.

    Of the replicas that hold the weights and one sequence of the longest context, it is the one with the most output
    per accelerator that meets the latency targets. `measured` output tokens per second and accelerator replace the rate
    that is estimated; latencies and memory stay estimates.
    """
    case = case_of(workload, model, accelerator, per_node=per_node, nodes=nodes)
    if case is None:
        unknown = Reason("memory_unknown", f"no source gives the memory of {accelerator.name}")
        return Fit(verdict="no", reasons=(unknown,))
    if measured is not None:
        rates = case.rates._replace(low=1 - CALIBRATED_ERROR, high=1 + CALIBRATED_ERROR)
        case = case._replace(measured=measured, rates=rates)
    chosen, verdict, speed = _choose(case)
    return _no(case, chosen) if verdict == "no" else _sized(case, chosen, verdict, speed)


def case_of(
    workload: Workload, model: ModelShape, accelerator: Accelerator, *, per_node: int, nodes: int
) -> Case | None:
    """The question with all that it needs looked up; None when the accelerator's memory is unknown."""
    demand = workload.serve or ServeDemand()
    available = available_gib(accelerator)
    if available is None:
        return None
    rates = rates_of(workload.stack, accelerator.kind)
    kv = kv_cache(model, WEIGHT_BYTES[demand.kv_precision])
    return Case(workload, model, demand, accelerator, available, per_node, nodes, rates, kv)


def longest_context(demand: ServeDemand) -> int:
    """Tokens of the longest sequence to admit: as asked, else input and output together."""
    return demand.context or demand.input_tokens + demand.output_tokens


def _choose(case: Case) -> tuple[Replica, str, Speed | None]:
    """The best replica that fits, else the best that is tight, else the largest that was tried."""
    need = cache_bytes(case.kv, longest_context(case.demand)) * max(1, case.demand.concurrency or 1)
    tried = [replica_of(case, tp, pp) for tp, pp in _replica_shapes(case.model, case.per_node, case.nodes)]
    for verdict, sign in (("fits", -1), ("tight", 1)):
        holding = [replica for replica in tried if replica.kv_room + sign * replica.kv_margin >= need]
        if holding:
            inside = [replica for replica in holding if replica.pp == 1]
            holding = inside or holding  # a pipeline makes room, and no token faster: only for what needs the room
            timed = [(replica, replica_speed(case, replica)) for replica in holding[:MAX_REPLICA_SHAPES]]
            best, speed = max(timed, key=lambda pair: _worth(case, *pair))
            return best, verdict, speed
    return tried[-1], "no", None


def _worth(case: Case, replica: Replica, speed: Speed | None) -> tuple[bool, int, int, float]:
    """Order of replicas: those in time first, then the fewest machines and accelerators, then output of each."""
    machines = case.machines(replica, speed)
    if speed is None:
        return False, -machines, -replica.cards, 0.0
    needed = (_replicas(case.demand, speed.output_per_s) or 0) * replica.cards
    return speed.in_time(case.demand), -machines, -needed, speed.output_per_s / replica.cards


def _replicas(demand: ServeDemand, output_per_s: float) -> int | None:
    """Replicas that carry the load at the stated utilisation; None when no load is stated."""
    asked = asked_output_per_s(demand)
    if asked is None:
        return None
    return max(1, math.ceil(asked / (output_per_s * demand.utilisation) - 1e-9))


def machines_of(replicas: int, cards: int, per_node: int) -> int:
    """Machines of `per_node` accelerators for replicas of `cards` each: several in one, or one over several."""
    if cards > per_node:
        return replicas * -(-cards // per_node)
    return -(-replicas // (per_node // cards))


def machines_if_slower(demand: ServeDemand, serving: Serving, per_node: int, slower: float) -> int | None:
    """Machines that carry the load when a replica makes `slower` times less than estimated; None without a load."""
    replicas = _replicas(demand, serving.output_tokens_per_s / slower) if serving.output_tokens_per_s else None
    return None if replicas is None else machines_of(replicas, serving.accelerators_per_replica, per_node)


@lru_cache(maxsize=1024)
def _replica_shapes(model: ModelShape, per_node: int, nodes: int) -> tuple[tuple[int, int], ...]:
    """Tensor parallel inside a machine by powers of two, then whole machines in a pipeline; smallest first."""
    inside = [tp for tp in (1, 2, 4, 8, 16) if tp <= per_node and per_node % tp == 0 and model.heads % tp == 0]
    widest = max(inside)
    across = [(widest, pp) for pp in range(2, min(nodes * per_node // widest, 16) + 1)]
    return (*((tp, 1) for tp in inside), *across)


def replica_of(case: Case, tp: int, pp: int) -> Replica:
    """Memory of a replica. Tensor parallelism beyond the key-value heads keeps copies of the cache."""
    cards, model, demand = tp * pp, case.model, case.demand
    usable = case.available * GIB * USABLE_SHARE * cards
    weights = model.params * WEIGHT_BYTES[case.workload.precision]
    chunk = min(longest_context(demand), demand.prefill_chunk_tokens or longest_context(demand))
    workspace = chunk * prefill_bytes_per_token(model, tp) * cards
    communication = COMMUNICATION_GB * 1e9 * (cards if cards > 1 and workspace < COMMUNICATION_GB * 1e9 else 0)
    copies = max(1, tp // model.kv_heads) if model.attention != "mla" else tp
    room = (usable - weights - workspace - communication) / copies
    margin = case.available * GIB * MARGIN_SHARE * cards / copies
    return Replica(cards, tp, pp, weights, workspace, communication, room, margin)


def prefill_bytes_per_token(model: ModelShape, tp: int) -> float:
    """Working memory of one accelerator per token that is prefilled at once: four hidden vectors and the gated layer.

    Checked against vllm-project/vllm#6746 (405B on 8 H100 keeps 79,392 tokens) and #10517 (8B on one RTX 3090).
    """
    routed = (model.top_k + model.shared_experts) * model.expert_ffn if model.experts else model.ffn
    return 2.0 * (4.0 * model.hidden + 3.0 * max(routed, model.ffn if model.dense_layers else 0) / tp)


def _no(case: Case, tried: Replica) -> Fit:
    context, available = longest_context(case.demand), case.available
    holds = max(0.0, tried.kv_room)
    if tried.weights > available * GIB * USABLE_SHARE * tried.cards:
        each = tried.weights / tried.cards / GIB
        name = case.accelerator.family
        text = f"weights need {each:.1f} GiB on each of {tried.cards}, {name} has {available:.1f} GiB"
        reason = Reason("mem_per_accel", text)
    else:
        tokens = int(holds / case.kv.per_token) if case.kv.per_token else 0
        text = f"weights fit, but the cache holds {tokens:,} tokens and {context:,} are asked for"
        reason = Reason("kv_cache", text)
    return Fit(
        verdict="no",
        reasons=(reason,),
        shape=Parallelism(tp=tried.tp, pp=tried.pp),
        memory=_memory(tried, available, min(holds, cache_bytes(case.kv, context))),
        assumptions=_assumptions(case.workload, case.demand, case.accelerator),
    )


def _memory(replica: Replica, available: float, cache_used: float) -> Memory:
    parts = (
        ("weights", replica.weights / replica.cards / GIB),
        ("activations", replica.workspace / replica.cards / GIB),
        ("overhead", replica.communication / replica.cards / GIB),
        ("kv_cache", cache_used / replica.cards / GIB),
    )
    step = sum(value for _name, value in parts)
    load = replica.weights / replica.cards / GIB
    return Memory(parts=parts, step_gib=step, checkpoint_gib=0.0, load_gib=load, available_gib=available)


def _sized(case: Case, replica: Replica, verdict: str, speed: Speed | None) -> Fit:
    demand, total = case.demand, case.total
    serving = _serving(case, replica, speed)
    missed = _missed(case, replica, speed, serving)
    hints = () if verdict == "fits" else (_tight_cache(case, serving),)
    if speed is None and not missed:
        text = f"no source gives peak and bandwidth of {case.accelerator.name}"
        hints = (*hints, Reason("speed_unknown", text))
    used = (speed.batch if speed else 1) * cache_bytes(case.kv, longest_context(demand))
    return Fit(
        verdict="no" if missed else verdict,
        reasons=(*missed, *hints),
        shape=Parallelism(tp=replica.tp, pp=replica.pp, dp=max(1, total // replica.cards)),
        memory=_memory(replica, case.available, max(0.0, min(replica.kv_room, used))),
        tokens_per_s=speed.output_per_s * (total // replica.cards) if speed else None,
        serving=serving,
        assumptions=(*_assumptions(case.workload, demand, case.accelerator), *_measured(case)),
    )


def _tight_cache(case: Case, serving: Serving) -> Reason:
    most = 2 * serving.kv_tokens - serving.kv_tokens_low  # as far above the likely figure as the safe one is below
    holds, wanted = f"{serving.kv_tokens_low:,} to {most:,} tokens", longest_context(case.demand)
    at_once = case.demand.concurrency or 1
    asked = f"{wanted:,}" if at_once == 1 else f"{at_once} × {wanted:,}"
    return Reason("kv_tight", f"the cache holds {holds}, and {asked} are asked for: within the error of the estimate")


def _measured(case: Case) -> tuple[Assumption, ...]:
    if case.measured is None:
        return ()
    unit, source = "output tokens/s an accelerator", "measured by the caller"
    return (Assumption("measured", case.measured, unit, source, "", "user"),)


def _missed(case: Case, replica: Replica, speed: Speed | None, serving: Serving) -> tuple[Reason, ...]:
    """Targets that these machines miss, latency and the load; with an unknown speed nobody can say that they do not."""
    found: list[Reason] = []
    demand = case.demand
    if speed is None and (asked_output_per_s(demand), demand.ttft_s, demand.tpot_s) != (None, None, None):
        text = f"no source gives peak and bandwidth of {case.accelerator.name}: whether it carries this is not known"
        found.append(Reason("speed_unknown", text))
    if speed and demand.ttft_s is not None and speed.ttft_s > demand.ttft_s:
        found.append(Reason("ttft", f"first token after {speed.ttft_s:.2f} s, {demand.ttft_s:.2f} s is asked for"))
    if speed and demand.tpot_s is not None and speed.tpot_s > demand.tpot_s:
        text = f"{speed.tpot_s:.3f} s per token even alone, {demand.tpot_s:.3f} s is asked for"
        found.append(Reason("tpot", text))
    if serving.replicas is not None and serving.replicas > case.total // replica.cards:
        text = f"the load needs {serving.accelerators} accelerators, these are {case.total}"
        found.append(Reason("load", text))
    return tuple(found)


def _serving(case: Case, replica: Replica, speed: Speed | None) -> Serving:
    demand, kv = case.demand, case.kv
    output = speed.output_per_s if speed else 0.0
    replicas = _replicas(demand, speed.output_per_s) if speed else None
    tokens = int(max(0.0, replica.kv_room) / kv.per_token) if kv.per_token else 0
    safe = int(max(0.0, replica.kv_room - replica.kv_margin) / kv.per_token) if kv.per_token else 0
    return Serving(
        accelerators_per_replica=replica.cards,
        replicas=replicas,
        machines=case.machines(replica, speed),
        accelerators=replicas * replica.cards if replicas is not None else None,
        output_tokens_per_s=output,
        output_tokens_per_s_low=output * case.rates.low,
        output_tokens_per_s_high=output * case.rates.high,
        input_tokens_per_s=speed.input_per_s if speed else 0.0,
        batch=speed.batch if speed else 0,
        prefill_share=speed.prefill_share if speed else 0.0,
        ttft_s=speed.ttft_s if speed else 0.0,
        tpot_s=speed.tpot_s if speed else 0.0,
        kv_bytes_per_token=kv.per_token,
        kv_tokens=tokens,
        kv_tokens_low=safe,
        max_context=safe,
    )


def asked_output_per_s(demand: ServeDemand) -> float | None:
    """Mean output tokens per second while the machines are on; None when no load is stated."""
    if demand.requests_per_s is not None:
        return demand.requests_per_s * demand.output_tokens
    if demand.tokens_per_month is None:
        return None
    share = demand.output_tokens / (demand.input_tokens + demand.output_tokens)
    return demand.tokens_per_month * share / (demand.hours_on_per_month * 3600.0)


def replica_speed(case: Case, replica: Replica) -> Speed | None:
    """Rates of a replica at the largest batch that memory and latency allow; None when peak or bandwidth is unknown.

    A request of I input and O output tokens: prefill 2 N I + 2 L h I² FLOPs (causal), then O steps of a batch B, each
    bound by reading the weights and B caches, or by 2 N B FLOPs, whichever is slower. The stages of a pipeline work one
    after the other: a token takes as long as on the accelerators of one stage, and as many micro-batches as there are
    stages are under way at once. What passes between stages (a hidden vector a token) is left out: it is small.
    """
    peaks = _peaks(case, replica.tp)
    if peaks is None:
        return None
    compute, prefill, bandwidth = peaks
    model, demand, rates = case.model, case.demand, case.rates
    inputs = demand.input_tokens * (1.0 - demand.cached_share)
    resident = cache_bytes(case.kv, demand.input_tokens + demand.output_tokens / 2)
    wide = model.heads * model.head_dim
    exchange = _exchange_s(case, replica.tp)
    ttft = (2.0 * model.params_active * inputs + 2.0 * model.layers * wide * inputs * demand.input_tokens) / prefill
    ttft += exchange * inputs
    added = model.layers * (rates.layer_s_one if replica.cards == 1 else rates.layer_s_many)
    most = max(1, min(MAX_BATCH, int(replica.kv_room / resident))) if resident else MAX_BATCH
    if demand.concurrency is not None:
        most = min(most, demand.concurrency)

    def step(batch: int) -> float:
        each = -(-batch // replica.pp)
        read = _weights_read(case.workload, model, each) + each * resident
        return max(read / bandwidth, 2.0 * model.params_active * each / compute) + added + exchange * each

    batch = _batch_within(step, most, demand.tpot_s)
    tpot = step(batch)
    prefills = batch * ttft / replica.pp
    seconds = prefills + demand.output_tokens * tpot
    output = batch * demand.output_tokens / seconds if case.measured is None else case.measured * replica.cards
    return Speed(output, output * demand.input_tokens / demand.output_tokens, batch, ttft, tpot, prefills / seconds)


def _exchange_s(case: Case, tp: int) -> float:
    """Seconds that one token's two all-reduces per layer take where cards meet over PCIe; else in the stack's rates."""
    rate = PCIE_ALL_REDUCE_GB_PER_S.get(case.accelerator.interconnect or "")
    if tp == 1 or rate is None:
        return 0.0
    vector = 2.0 * case.model.hidden
    return 2.0 * case.model.layers * 2.0 * (tp - 1) / tp * vector / (rate * 1e9)


def _batch_within(step: Callable[[int], float], most: int, limit: float | None) -> int:
    """The largest batch up to `most` whose step stays within `limit` seconds; 1 when none does."""
    if limit is None or step(most) <= limit:
        return most
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if step(middle) <= limit else (low, middle - 1)
    return low


def _peaks(case: Case, cards: int) -> tuple[float, float, float] | None:
    """FLOP/s of decoding and of prefill, and bytes per second, of the `cards` of one stage."""
    accelerator, rates, precision = case.accelerator, case.rates, case.workload.precision
    peak, bandwidth = bf16_peak(accelerator), accelerator.memory_bandwidth_gb_per_s
    fast = accelerator.peak_tflops_fp8_dense
    if fast and precision in ("fp8", "int8", "fp4"):
        peak = fast * (2.0 * rates.fp4_share if precision == "fp4" else 1.0)
    if not peak or not bandwidth:
        return None
    share = rates.moe_share if case.model.experts else 1.0
    flops = peak * 1e12 * cards * share
    return flops * rates.decode, flops * rates.prefill, bandwidth * 1e9 * rates.bandwidth * cards * share


def _weights_read(workload: Workload, model: ModelShape, batch: int) -> float:
    """Bytes of weights that one step reads; a large batch meets every expert."""
    each = WEIGHT_BYTES[workload.precision]
    if not model.experts:
        return model.params * each
    matrices = 3 if model.gated else 2
    routed = (model.layers - model.dense_layers) * model.experts * matrices * model.hidden * model.expert_ffn
    met = 1.0 - (1.0 - model.top_k / model.experts) ** batch
    return (model.params - routed * (1.0 - met)) * each


@lru_cache(maxsize=256)
def _assumptions(workload: Workload, demand: ServeDemand, accelerator: Accelerator) -> tuple[Assumption, ...]:
    rates = rates_of(workload.stack, accelerator.kind)
    chunk = demand.prefill_chunk_tokens
    flag = "" if rates.stack == "tensorrt-llm" else "extrapolated"
    given = "input of the caller or default"
    return (
        Assumption("input_tokens", demand.input_tokens, "a request", f"{given} 1024", ""),
        Assumption("output_tokens", demand.output_tokens, "a request", f"{given} 256", ""),
        Assumption("prefill_share", rates.prefill, "of dense peak", rates.source, rates.as_of, flag),
        Assumption("decode_share", rates.decode, "of dense peak", rates.source, rates.as_of, flag),
        Assumption("bandwidth_share", rates.bandwidth, "of peak", rates.source, rates.as_of, flag),
        Assumption("utilisation", demand.utilisation, "of capacity", "input of the caller or default 0.5", ""),
        Assumption("hours_on_per_month", demand.hours_on_per_month, "h", "input of the caller or default 730", ""),
        Assumption("kv_precision", demand.kv_precision, "", "input of the caller or default bf16", ""),
        Assumption("prefill_chunk", chunk or longest_context(demand), "tokens", "whole context unless chunked", ""),
    )
