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
