"""Launch configurations against golden files. Renew them with ``UPDATE_GOLDEN=1 pytest tests/unit/workloads``."""

import json
import os
from pathlib import Path

import pytest

from cloudaccel.errors import QueryError
from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.models import resolve_model
from cloudaccel.model.workload import Fit, Machine, ServeDemand, Workload
from cloudaccel.workloads import size
from cloudaccel.workloads.launch import WRITERS, launch

GOLDEN = Path(__file__).parent / "golden"
PRETRAIN = Workload(task="pretrain", model="", tokens=1e12, sequence_tokens=8192)
SERVE = Workload(task="serve", model="", precision="fp8", serve=ServeDemand(context=32_768, kv_precision="fp8"))
CASES = (
    ("deepspeed", PRETRAIN, "llama-3.1-70b", "nvidia-h100-sxm-80gb", 8, 16),
    ("megatron", PRETRAIN, "llama-3.1-70b", "nvidia-h100-sxm-80gb", 8, 16),
    ("fsdp", PRETRAIN, "llama-3.1-70b", "nvidia-h100-sxm-80gb", 8, 16),
    ("maxtext", PRETRAIN, "mixtral-8x7b", "google-tpu-v5p", 4, 32),
    ("neuronx", PRETRAIN, "llama-3-8b", "aws-trainium1", 16, 4),
    ("vllm", SERVE, "deepseek-r1", "nvidia-h200-sxm", 8, 1),
)


def fitted(job: Workload, model: str, chip: str, per_node: int, nodes: int) -> Fit:
    fabric = 3200.0 if chip.startswith("nvidia") else 800.0
    return size(job, resolve_model(model), by_id(chip), per_node=per_node, nodes=nodes, machine=Machine(fabric))


@pytest.mark.parametrize(("target", "job", "model", "chip", "per_node", "nodes"), CASES, ids=lambda v: str(v)[:12])
def test_golden(target: str, job: Workload, model: str, chip: str, per_node: int, nodes: int) -> None:
    fit = fitted(job, model, chip, per_node, nodes)
    text = launch(target, job, resolve_model(model), fit, per_node=per_node)
    golden = GOLDEN / f"{target}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_batch_of_deepspeed_is_the_product_that_it_checks_itself() -> None:
    fit = fitted(PRETRAIN, "llama-3.1-70b", "nvidia-h100-sxm-80gb", 8, 16)
    assert fit.shape is not None
    config = json.loads(launch("deepspeed", PRETRAIN, resolve_model("llama-3.1-70b"), fit, per_node=8))
    product = config["train_micro_batch_size_per_gpu"] * config["gradient_accumulation_steps"] * fit.shape.dp
    assert config["train_batch_size"] == product


def test_refusals() -> None:
    model = resolve_model("llama-3.1-8b")
    fit = fitted(PRETRAIN, "llama-3.1-8b", "nvidia-h100-sxm-80gb", 8, 1)
    with pytest.raises(QueryError, match="none of"):
        launch("slurm", PRETRAIN, model, fit, per_node=8)
    with pytest.raises(QueryError, match="not for"):
        launch("vllm", PRETRAIN, model, fit, per_node=8)
    with pytest.raises(QueryError, match="nothing fits"):
        launch("fsdp", PRETRAIN, model, Fit(verdict="no"), per_node=8)


def test_every_target_has_a_golden_file() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(WRITERS)


# What DeepSpeed's configuration reader takes (docs "DeepSpeed Configuration JSON", 2026-11), as far as we write it.
DEEPSPEED_SCHEMA: dict[str, object] = {
    "train_batch_size": int,
    "train_micro_batch_size_per_gpu": int,
    "gradient_accumulation_steps": int,
    "gradient_clipping": float,
    "bf16": {"enabled": bool},
    "fp16": {"enabled": bool},
    "zero_optimization": {
        "stage": int,
        "overlap_comm": bool,
        "contiguous_gradients": bool,
        "stage3_max_live_parameters": int,
        "stage3_prefetch_bucket_size": int,
        "stage3_gather_16bit_weights_on_model_save": bool,
    },
    "tensor_parallel": {"autotp_size": int},
    "activation_checkpointing": {"partition_activations": bool, "contiguous_memory_optimization": bool},
}


def conform(found: object, schema: object, at: str) -> None:
    if not isinstance(schema, dict):
        assert type(found) is schema, at
        return
    assert isinstance(found, dict), at
    for key, value in found.items():  # pyright: ignore[reportUnknownVariableType]
        assert key in schema, f"{at}.{key}"
        conform(value, schema[key], f"{at}.{key}")  # pyright: ignore[reportUnknownArgumentType]


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp8"])
@pytest.mark.parametrize(("model", "nodes"), [("llama-3-8b", 1), ("llama-3.1-70b", 16), ("mixtral-8x7b", 4)])
def test_deepspeed_follows_its_schema(model: str, nodes: int, precision: str) -> None:
    job = Workload(task="pretrain", model="", tokens=1e12, sequence_tokens=4096, stack="deepspeed", precision=precision)
    fit = fitted(job, model, "nvidia-h100-sxm-80gb", 8, nodes)
    config = json.loads(launch("deepspeed", job, resolve_model(model), fit, per_node=8))
    conform(config, DEEPSPEED_SCHEMA, "config")
    assert config["bf16"]["enabled"] != config["fp16"]["enabled"]
    assert config["zero_optimization"]["stage"] in (0, 1, 2, 3)


def test_deepspeed_refuses_a_shape_that_it_cannot_say() -> None:
    job = Workload(task="finetune", model="", method="full", tokens=1e9, sequence_tokens=2048)
    model, chip = resolve_model("llama-2-70b"), by_id("nvidia-a100-sxm-80gb")
    fit = size(job, model, chip, per_node=8, nodes=8, machine=Machine(25))
    assert fit.shape is not None
    assert fit.shape.pp > 1
    with pytest.raises(QueryError, match="pipeline stages"):
        launch("deepspeed", job, model, fit, per_node=8)


def test_megatron_is_given_all_sizes_of_latent_attention() -> None:
    fit = fitted(PRETRAIN, "deepseek-v3", "nvidia-h100-sxm-80gb", 8, 256)
    text = launch("megatron", PRETRAIN, resolve_model("deepseek-v3"), fit, per_node=8)
    for option in (
        "q-lora-rank 1536",
        "kv-lora-rank 512",
        "qk-head-dim 128",
        "qk-pos-emb-head-dim 64",
        "v-head-dim 128",
    ):
        assert f"--{option}" in text
