"""What is to be done (a workload), the model it is done with, and how it fits on accelerators.

Memory is in GiB (2**30 bytes) per accelerator, time in hours or seconds, rates in tokens per second.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

TASKS = ("pretrain", "continued_pretrain", "finetune", "serve")
METHODS = ("full", "lora", "qlora", "dpo")
PRECISIONS = ("bf16", "fp16", "fp32", "fp8", "int8", "fp4", "int4")
VERDICTS = ("fits", "tight", "no")


class Reason(NamedTuple):
    """Why a verdict is what it is: a stable code (``mem_per_accel``) and a sentence for people."""

    code: str
    text: str


class Machine(NamedTuple):
    """What a machine has beside its accelerators; None: no source says.

    Attributes
    ----------
    network_gbit_per_s
        To other machines, one direction.
    host_memory_gib
        Memory of the host.
    """

    network_gbit_per_s: float | None = None
    host_memory_gib: float | None = None


UNKNOWN_MACHINE = Machine()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The arithmetic of one transformer, enough for its FLOPs, its memory and its key-value cache.

    Attributes
    ----------
    params, params_active
        Parameters in all, and those one token meets (equal unless there are experts). Absolute numbers, not billions.
    layers, hidden, heads, kv_heads, head_dim, ffn, vocab, context
        As in a ``config.json``; `ffn` is the width of the dense feed-forward layer, `context` in tokens.
    experts, top_k, shared_experts, expert_ffn, dense_layers
        Mixture of experts: routed experts, those met per token, those always met, their width, and how many layers are
        dense. `experts` 0 means none.
    attention
        ``mha``, ``gqa``, ``mla``, ``sliding`` or ``hybrid`` (most layers keep a constant state instead of a cache).
    full_layers
        Layers whose cache grows with the whole context; the others see `window` tokens (0: a constant state).
    latent_dim, latent_rope_dim, value_dim
        MLA: width of the compressed cache, its rotary part, and the width of a value head; `head_dim` is that of
        queries and keys, rotary part included.
    query_rank
        MLA: width that queries are compressed to; 0 when they are not.
    gated
        Three feed-forward matrices (SwiGLU) instead of two.
    arithmetic
        ``ok`` when the count recomputed from the shape is within 2.5 % of the stated one (active: 20 %, since makers
        count embeddings differently), ``off`` when it is not, ``unchecked`` when the shape is not that of a plain
        transformer, ``guessed`` when only a parameter count was given and the shape is made up to match.
    """

    id: str
    family: str
    architecture: str  # class of the reference implementation: LlamaForCausalLM; empty when unknown
    params: float
    params_active: float
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    experts: int = 0
    top_k: int = 0
    shared_experts: int = 0
    expert_ffn: int = 0
    dense_layers: int = 0
    tied_embeddings: bool = False
    gated: bool = True
    attention: str = "gqa"
    window: int = 0
    full_layers: int = 0
    latent_dim: int = 0
    latent_rope_dim: int = 0
    value_dim: int = 0
    query_rank: int = 0
    licence: str = ""
    commercial_use: str = ""  # yes, no, conditions; empty when unknown
    arithmetic: str = "ok"
    source: str = ""
    as_of: str = ""
    note: str = ""
    published: str = ""  # number format of its weights where they are smaller than 16 bits; empty when not known


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeDemand:
    """What is asked of a deployment. None means that the caller did not say.

    `utilisation` is the share of its capacity that a running replica is used at; `hours_on_per_month` is how long the
    machines run at all. They are two inputs: an idle night costs nothing when the machines are off.
    """

    requests_per_s: float | None = None
    tokens_per_month: float | None = None
    input_tokens: int = 1024
    output_tokens: int = 256
    cached_share: float = 0.0  # share of the input tokens that a prefix cache answers
    ttft_s: float | None = None  # time to first token, target
    tpot_s: float | None = None  # time per output token, target
    context: int | None = None  # longest sequence to admit, tokens
    concurrency: int | None = None  # requests in flight
    utilisation: float = 0.5
    kv_precision: str = "bf16"  # of the key-value cache
    prefill_chunk_tokens: int | None = None  # tokens prefilled at once; None: the whole context, safe with any engine
    hours_on_per_month: float = 730.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is to be done with a model. Checked once in construction; sizes and times carry their unit in the name.

    Attributes
    ----------
    task, method
        One of `TASKS`; `method` of `METHODS` counts for ``finetune`` and is ``full`` for the other tasks.
    model
        Name in the registry, or a label when the shape was given by hand.
    tokens
        Tokens processed, epochs included; None for serving.
    batch_sequences
        Global batch in sequences of `sequence_tokens`; None lets the sizing choose.
    stack
        Software that runs it (``megatron``, ``fsdp``, ``deepspeed``, ``vllm`` …); it moves cost up to four-fold.
    parallel
        ``ddp`` when the stack replicates the model on every card; None leaves the choice open.
    recompute
        ``none``, ``selective`` or ``full`` activation recomputation; None leaves the choice open.
    requires
        Features that must be there: ``bf16``, ``fp8``, ``flash-attn``, ``bitsandbytes`` …
    policy
        Pairs of filters on places, packs to judge by and what they ask (``residency``, ``EU``).
    """

    task: str
    model: str
    method: str = "full"
    precision: str = "bf16"
    tokens: float | None = None
    sequence_tokens: int = 4096
    batch_sequences: int | None = None
    stack: str | None = None
    parallel: str | None = None
    recompute: str | None = None
    lora_rank: int = 16
    requires: tuple[str, ...] = ()
    deadline_s: float | None = None
    budget: Decimal | None = None
    budget_currency: str = "USD"
    disk_gb: float | None = None
    data_gb: float | None = None
    data_place: str | None = None
    cores: int | None = None  # accelerator cores asked for by number (NeuronCores)
    policy: tuple[tuple[str, str], ...] = ()
    serve: ServeDemand | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("task", TASKS), ("method", METHODS), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {', '.join(allowed)}")
        if self.task == "serve" and self.serve is None:
            raise ValueError("a serve workload needs its demand (serve=ServeDemand(...))")
        if self.task != "serve" and (self.tokens is None or not self.tokens > 0):
            raise ValueError(f"{self.task} needs tokens above 0")
        if self.sequence_tokens < 1:
            raise ValueError("sequence_tokens must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallelism:
    """How a model is cut over `tp * pp * cp * dp` accelerators. `ep` is taken out of tp, cp and dp, not added to them.

    `zero` is the stage of ZeRO (3 equals full FSDP) over the data-parallel group; `micro_batch` in sequences;
    `accumulation` is micro-batches per replica and step.
    """

    tp: int = 1
    pp: int = 1
    cp: int = 1
    ep: int = 1
    dp: int = 1
    zero: int = 0
    micro_batch: int = 1
    accumulation: int = 1
    recompute: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of one accelerator, the fullest one. `parts` add up to `step_gib`.

    Attributes
    ----------
    parts
        Name and GiB: weights, gradients, optimizer, activations, logits, gathered, workspace, overhead, kv_cache.
    step_gib, checkpoint_gib, load_gib
        Peaks: the working step, gathering a checkpoint, and loading the model.
    available_gib
        What the driver reports for the card, or its nominal memory when nobody measured it.
    """

    parts: tuple[tuple[str, float], ...]
    step_gib: float
    checkpoint_gib: float
    load_gib: float
    available_gib: float

    @property
    def peak_gib(self) -> float:
        """The highest of the three peaks."""
        return max(self.step_gib, self.checkpoint_gib, self.load_gib)


@dataclass(frozen=True, slots=True)
class Assumption:
    """One number that a result rests on. `flag` is empty, or a word of warning (``extrapolated``, ``user``)."""

    name: str
    value: float | str
    unit: str
    source: str
    as_of: str
    flag: str = ""


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """A run somebody published: for saying "your plan resembles this one"."""

    name: str
    accelerator_id: str
    accelerators: int | None
    accelerator_hours: float | None
    wall_mfu: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A deployment that carries a load. Rates are of output tokens unless the name says otherwise.

    Attributes
    ----------
    accelerators_per_replica, replicas, accelerators
        `replicas` carry the demand at the stated utilisation; None when no demand was given.
    machines
        For all replicas, or for one when no demand was given.
    output_tokens_per_s
        One replica at its best batch within the latency target.
    batch
        Sequences in flight in one replica.
    prefill_share
        Of the time of a batch that its prefills take; the rest makes tokens.
    kv_tokens_low, kv_tokens
        Tokens that the cache of one replica holds: with a safety margin, and without.
    """

    accelerators_per_replica: int
    replicas: int | None
    machines: int
    accelerators: int | None
    output_tokens_per_s: float
    output_tokens_per_s_low: float
    output_tokens_per_s_high: float
    input_tokens_per_s: float
    batch: int
    prefill_share: float
    ttft_s: float
    tpot_s: float
    kv_bytes_per_token: float
    kv_tokens: int
    kv_tokens_low: int
    max_context: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether and how a workload fits on one hardware shape (accelerator x per node x nodes).

    Attributes
    ----------
    verdict
        ``fits``, ``tight`` (within the error of the estimate) or ``no``.
    reasons
        For ``no`` and ``tight``: what is in the way, first the decisive one. May carry hints for ``fits``.
    hours_low, hours_likely, hours_high
        Wall-clock hours of a training run; None for serving, and when nothing is known of the accelerator's speed.
    tokens_per_s
        Training tokens per second of the whole shape, goodput included; for serving see `serving`.
    step_mfu, recompute_factor, goodput
        The three numbers behind the hours; None for serving. `step_mfu` is of the model's FLOPs alone, so what is
        computed again is in it already.
    network_stretch, link_stretch, pipeline_stretch
        How many times a step is stretched, each at least 1: by waiting for the network between machines, for the link
        inside a machine where cards meet over PCIe, and by a pipeline with few micro-batches. The longer of the first
        two counts, times the third.
    cutting_stretch
        How many times the parallel shape makes a step costlier than the one that a fast network would have allowed;
        below 1 where it computes again instead. Times those above.
    """

    verdict: str
    reasons: tuple[Reason, ...] = ()
    shape: Parallelism | None = None
    memory: Memory | None = None
    hours_low: float | None = None
    hours_likely: float | None = None
    hours_high: float | None = None
    flops: float | None = None
    tokens_per_s: float | None = None
    step_mfu: float | None = None
    recompute_factor: float | None = None
    goodput: float | None = None
    network_stretch: float = 1.0
    link_stretch: float = 1.0
    pipeline_stretch: float = 1.0
    cutting_stretch: float = 1.0
    serving: Serving | None = None
    assumptions: tuple[Assumption, ...] = ()
    nearest_runs: tuple[PublishedRun, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Support:
    """Whether an accelerator can run a workload's software. `answer` None means that no source says.

    What is unknown is not offered by default.
    """

    answer: bool | None
    code: str
    reason: str
    source: str = ""
    as_of: str = ""
