"""Launch configurations for a sized shape: pure functions from workload, model and fit to text.

What a plan assumed is what these write: parallel degrees, sharding stage, micro-batch, recomputation, precision. Paths
of data and weights are left as ``$NAMES`` for the user to set. Options checked against the projects' documentation of
2026-11: DeepSpeed ``config-json``, Megatron-LM ``arguments.py``, torchrun, vLLM ``engine_args``, MaxText ``base.yml``,
NeuronX Distributed ``neuronx_distributed_config``.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cloudaccel.errors import QueryError
from cloudaccel.model.workload import Fit, ModelShape, Parallelism, Workload


class Setup(NamedTuple):
    """What is launched: the job, its model, how it fits, and the accelerators of one machine."""

    workload: Workload
    model: ModelShape
    fit: Fit
    shape: Parallelism
    per_node: int

    @property
    def global_batch(self) -> int:
        """Sequences of one step."""
        return self.shape.dp * self.shape.micro_batch * self.shape.accumulation


Writer = Callable[[Setup], str]
GRADIENT_CLIP = 1.0
VLLM_MEMORY_SHARE = 0.90


def launch(target: str, workload: Workload, model: ModelShape, fit: Fit, *, per_node: int) -> str:
    """The text of one launch configuration.

    Parameters
    ----------
    target
        ``deepspeed``, ``megatron``, ``fsdp``, ``vllm``, ``maxtext`` or ``neuronx``.
    per_node
        Accelerators of one machine.

    Raises
    ------
    QueryError
        If the target is unknown, does not do the task, or the fit has no shape.
    """
    writer = WRITERS.get(target)
    if writer is None:
        raise QueryError(f"launch: {target!r} is none of {', '.join(WRITERS)}.", choices=tuple(WRITERS))
    if fit.shape is None:
        raise QueryError("launch: nothing fits, so there is no shape to write down.")
    if (workload.task == "serve") != (target == "vllm"):
        raise QueryError(f"launch: {target} is not for {workload.task}.")
    return writer(Setup(workload, model, fit, fit.shape, per_node))


def deepspeed(setup: Setup) -> str:
    """DeepSpeed's JSON: batch, ZeRO stage, precision, activation checkpointing."""
    workload, shape = setup.workload, setup.shape
    if shape.pp * shape.cp > 1:
        raise QueryError(
            f"launch: {shape.pp} pipeline stages and context parallel {shape.cp} are more than DeepSpeed's JSON "
            "can say. Plan with --stack deepspeed, or launch with megatron."
        )
    zero: dict[str, Any] = {"stage": shape.zero, "overlap_comm": True, "contiguous_gradients": True}
    if shape.zero == 3:
        zero |= {
            "stage3_max_live_parameters": 1_000_000_000,
            "stage3_prefetch_bucket_size": 50_000_000,
            "stage3_gather_16bit_weights_on_model_save": False,  # gathering is the peak that kills runs at their end
        }
    config: dict[str, Any] = {
        "train_batch_size": setup.global_batch,
        "train_micro_batch_size_per_gpu": shape.micro_batch,
        "gradient_accumulation_steps": shape.accumulation,
        "gradient_clipping": GRADIENT_CLIP,
        "bf16": {"enabled": workload.precision in ("bf16", "fp8")},
        "fp16": {"enabled": workload.precision == "fp16"},
        "zero_optimization": zero,
    }
    if shape.tp > 1:
        config["tensor_parallel"] = {"autotp_size": shape.tp}
    if shape.recompute == "full":
        config["activation_checkpointing"] = {"partition_activations": True, "contiguous_memory_optimization": False}
    return json.dumps(config, indent=2) + "\n"


def megatron(setup: Setup) -> str:
    """Arguments of Megatron-LM's ``pretrain_gpt.py``, behind torchrun."""
    workload, model, shape = setup.workload, setup.model, setup.shape
    options: dict[str, Any] = {
        "num-layers": model.layers,
        "hidden-size": model.hidden,
        "ffn-hidden-size": model.ffn or model.expert_ffn,
        "num-attention-heads": model.heads,
        "seq-length": workload.sequence_tokens,
        "max-position-embeddings": max(model.context, workload.sequence_tokens),
        "tensor-model-parallel-size": shape.tp,
        "pipeline-model-parallel-size": shape.pp,
        "context-parallel-size": shape.cp,
        "micro-batch-size": shape.micro_batch,
        "global-batch-size": setup.global_batch,
        "train-samples": int((workload.tokens or 0) // workload.sequence_tokens),
        "clip-grad": GRADIENT_CLIP,
        "fp16" if workload.precision == "fp16" else "bf16": None,
        "use-flash-attn": None,
    }
    options |= _megatron_model(model, shape)
    if model.layers % shape.pp:  # embedding and output then count as a layer each
        options |= {"account-for-embedding-in-pipeline-split": None, "account-for-loss-in-pipeline-split": None}
    if shape.tp > 1:
        options["sequence-parallel"] = None
    if shape.zero == 3:
        options |= {"use-megatron-fsdp": None, "data-parallel-sharding-strategy": "optim_grads_params"}
        options |= {"no-gradient-accumulation-fusion": None, "ckpt-format": "fsdp_dtensor"}
    if shape.zero:
        options["use-distributed-optimizer"] = None
    if workload.precision == "fp8":
        options["fp8-format"] = "hybrid"
    if shape.recompute == "full":
        options |= {"recompute-granularity": "full", "recompute-method": "uniform", "recompute-num-layers": 1}
    return _command(_torchrun(setup), "pretrain_gpt.py", options)


def _megatron_model(model: ModelShape, shape: Parallelism) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if model.kv_heads != model.heads and model.attention != "mla":
        options |= {"group-query-attention": None, "num-query-groups": model.kv_heads}
    if model.attention == "mla":
        options |= {
            "multi-latent-attention": None,
            "kv-lora-rank": model.latent_dim,
            "qk-head-dim": model.head_dim - model.latent_rope_dim,
            "qk-pos-emb-head-dim": model.latent_rope_dim,
            "v-head-dim": model.value_dim,
        }
        if model.query_rank:
            options["q-lora-rank"] = model.query_rank
    if model.gated:
        options |= {"swiglu": None, "normalization": "RMSNorm", "position-embedding-type": "rope"}
    if not model.tied_embeddings:
        options["untie-embeddings-and-output-weights"] = None
    if model.experts:
        options |= {
            "num-experts": model.experts,
            "moe-router-topk": model.top_k,
            "moe-ffn-hidden-size": model.expert_ffn,
            "expert-model-parallel-size": shape.ep,
        }
    return options


def fsdp(setup: Setup) -> str:
    """torchrun with torchtitan's flags, which drive FSDP2 (``fully_shard``)."""
    workload, shape = setup.workload, setup.shape
    replicate = shape.dp if shape.zero == 0 else 1  # FSDP2 has no stage of its own for optimizer states alone
    options: dict[str, Any] = {
        "training.seq_len": workload.sequence_tokens,
        "training.local_batch_size": shape.micro_batch,
        "training.global_batch_size": setup.global_batch,
        "training.steps": max(1, int((workload.tokens or 0) // (workload.sequence_tokens * setup.global_batch))),
        "training.max_norm": GRADIENT_CLIP,
        "training.mixed_precision_param": "float16" if workload.precision == "fp16" else "bfloat16",
        "parallelism.data_parallel_shard_degree": shape.dp // replicate,
        "parallelism.data_parallel_replicate_degree": replicate,
        "parallelism.tensor_parallel_degree": shape.tp,
        "parallelism.pipeline_parallel_degree": shape.pp,
        "parallelism.context_parallel_degree": shape.cp,
        "parallelism.expert_parallel_degree": shape.ep,
        "activation_checkpoint.mode": shape.recompute,
    }
    return _command(_torchrun(setup), "-m torchtitan.train", options)


def vllm(setup: Setup) -> str:
    """``vllm serve`` for one replica."""
    model, shape, demand, serving = setup.model, setup.shape, setup.workload.serve, setup.fit.serving
    options: dict[str, Any] = {
        "tensor-parallel-size": shape.tp,
        "pipeline-parallel-size": shape.pp,
        "gpu-memory-utilization": VLLM_MEMORY_SHARE,
    }
    if demand is not None:
        options["max-model-len"] = demand.context or demand.input_tokens + demand.output_tokens
        if demand.kv_precision == "fp8":
            options["kv-cache-dtype"] = "fp8"
    if serving is not None and serving.batch:
        options["max-num-seqs"] = serving.batch
    if setup.workload.precision == "fp8":
        options["quantization"] = "fp8"
    else:
        options["dtype"] = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}.get(
            setup.workload.precision, "auto"
        )
    if model.experts and shape.tp > 1:
        options["enable-expert-parallel"] = None
    return _command("", f"vllm serve {model.id or '$MODEL'}", options)


def maxtext(setup: Setup) -> str:
    """Overrides of MaxText's ``base.yml``. FSDP takes the chips that tensor and context parallelism leave."""
    model, shape = setup.model, setup.shape
    lines: dict[str, Any] = {
        "base_emb_dim": model.hidden,
        "base_num_query_heads": model.heads,
        "base_num_kv_heads": model.kv_heads,
        "base_mlp_dim": model.ffn or model.expert_ffn,
        "base_num_decoder_layers": model.layers,
        "head_dim": model.head_dim,
        "vocab_size": model.vocab,
        "max_target_length": setup.workload.sequence_tokens,
        "per_device_batch_size": shape.micro_batch / (shape.tp * shape.pp * shape.cp),
        "gradient_accumulation_steps": shape.accumulation,
        "ici_fsdp_parallelism": -1,
        "ici_tensor_parallelism": shape.tp,
        "ici_context_parallelism": shape.cp,
        "ici_pipeline_parallelism": shape.pp,
        "ici_expert_parallelism": shape.ep,
        "remat_policy": "full" if shape.recompute == "full" else "minimal",
        "dtype": "bfloat16",
        "gradient_clipping_threshold": GRADIENT_CLIP,
    }
    if model.experts:
        lines |= {
            "num_experts": model.experts,
            "num_experts_per_tok": model.top_k,
            "base_moe_mlp_dim": model.expert_ffn,
        }
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


def neuronx(setup: Setup) -> str:
    """The arguments of ``neuronx_distributed_config``. Degrees count accelerators; the runtime counts their cores."""
    shape = setup.shape
    config: dict[str, Any] = {
        "tensor_parallel_size": shape.tp,
        "pipeline_parallel_size": shape.pp,
        "expert_parallel_size": shape.ep,
        "context_parallel_size": shape.cp,
        "optimizer_config": {
            "zero_one_enabled": shape.zero >= 1,
            "grad_clipping": True,
            "max_grad_norm": GRADIENT_CLIP,
        },
        "sequence_parallel": shape.tp > 1,
        "activation_checkpoint_config": "full" if shape.recompute == "full" else None,
        "pipeline_config": {"num_microbatches": shape.accumulation} if shape.pp > 1 else None,
    }
    return json.dumps({key: value for key, value in config.items() if value is not None}, indent=2) + "\n"


def _torchrun(setup: Setup) -> str:
    shape = setup.shape
    nodes = max(1, shape.dp * shape.tp * shape.pp * shape.cp // setup.per_node)
    where = "--standalone" if nodes == 1 else "--rdzv-backend=c10d --rdzv-endpoint=$HEAD_NODE:29500 --rdzv-id=$RUN_ID"
    return f"torchrun --nnodes={nodes} --nproc-per-node={setup.per_node} {where}"


def _command(before: str, what: str, options: Mapping[str, Any]) -> str:
    """One command over several lines, an option on each."""
    words = [f"--{name}" if value is None else f"--{name} {value}" for name, value in options.items()]
    return " \\\n  ".join([f"{before} {what}".strip(), *words]) + "\n"


WRITERS: dict[str, Writer] = {
    "deepspeed": deepspeed,
    "megatron": megatron,
    "fsdp": fsdp,
    "vllm": vllm,
    "maxtext": maxtext,
    "neuronx": neuronx,
}
