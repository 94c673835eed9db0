"""Area N of the collected cases, and U22: what runs where, as dated facts."""

from dataclasses import replace

import pytest

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.loader import read_table
from cloudaccel.facts.models import resolve_model
from cloudaccel.model.workload import ServeDemand, Workload
from cloudaccel.workloads import supports
from cloudaccel.workloads.portability import core_count, feature_support, holds

LORA = Workload(task="finetune", method="lora", model="", tokens=1e6, requires=("bf16", "flash-attn"))
SERVE = Workload(task="serve", model="", serve=ServeDemand())


@pytest.mark.parametrize("cores", [3, 4, 24, 33])
def test_u22_refused_counts_name_the_allowed_set(cores: int) -> None:
    """Believed wrongly: any number of cores of a machine can work together."""
    answer = core_count(cores, by_id("aws-trainium1"))
    assert answer.answer is False
    assert answer.code == "core_count"
    assert "1, 2, 8, 16 or a multiple of 32" in answer.reason


@pytest.mark.parametrize("cores", [1, 2, 8, 16, 32, 64])
def test_u22_allowed_counts(cores: int) -> None:
    """Believed wrongly: any number of cores of a machine can work together."""
    assert core_count(cores, by_id("aws-trainium1")).answer is True
    job = replace(LORA, requires=(), cores=cores)
    assert supports(job, by_id("aws-trainium1"), resolve_model("llama-3-8b")).answer is True


def test_u102_no_entry_means_unknown_and_a_no_has_its_source() -> None:
    """Believed wrongly: the cheap accelerator runs every model."""
    minimax = replace(resolve_model("llama-3-8b"), architecture="MiniMaxText01ForCausalLM")
    answer = supports(SERVE, by_id("aws-trainium2"), minimax)
    assert (answer.answer, answer.code) == (False, "arch_unsupported")
    assert answer.source == "aws-neuron/aws-neuron-sdk#1355"
    assert supports(SERVE, by_id("aws-trainium2"), resolve_model("opt-66b")).answer is False
    unheard = replace(minimax, architecture="NeverHeardOfForCausalLM")
    unknown = supports(SERVE, by_id("aws-trainium2"), unheard)
    assert unknown.answer is None
    assert unknown.reason.startswith("no source says")
    assert supports(SERVE, by_id("nvidia-h100-sxm-80gb"), unheard).answer is True


@pytest.mark.parametrize("name", ["nvidia-v100-sxm2-32gb", "nvidia-t4", "nvidia-rtx-2080-ti"])
def test_u103_before_ampere_neither_bf16_nor_flash_attention(name: str) -> None:
    """Believed wrongly: the cheapest card runs what a newer one does."""
    assert supports(LORA, by_id(name)).answer is False
    assert feature_support("flash-attn", by_id(name)).answer is False
    assert feature_support("bf16", by_id(name)).answer is False


def test_u103_a10g_has_both() -> None:
    """Believed wrongly: the cheapest card runs what a newer one does."""
    assert supports(LORA, by_id("nvidia-a10g"), resolve_model("llama-3-8b")).answer is True


def test_u104_support_is_dated_and_sourced() -> None:
    """Believed wrongly: what did not work in 2023 does not work."""
    answer = feature_support("bitsandbytes", by_id("amd-mi300x"))
    assert answer.answer is True
    assert "0.48" in answer.reason
    assert answer.source
    assert answer.as_of >= "2026"
    job = Workload(task="finetune", method="qlora", model="", tokens=1e6)
    assert supports(job, by_id("google-tpu-v5p")).answer is False


def test_u105_flash_attention_on_gaudi_is_a_matter_of_the_model() -> None:
    """Believed wrongly: a feature is there for every model or for none."""
    answer = feature_support("flash_attention", by_id("intel-gaudi2"))
    assert answer.answer is None
    assert "optimum-habana" in answer.source


def test_u42_no_fp8_on_a100() -> None:
    """Believed wrongly: FP8 weights run as FP8 on every card."""
    job = replace(SERVE, precision="fp8")
    assert supports(job, by_id("nvidia-a100-sxm-80gb")).answer is False
    assert supports(job, by_id("nvidia-h200-sxm")).answer is True


def test_every_fact_has_source_date_and_a_condition_that_can_be_read() -> None:
    chip = by_id("nvidia-h100-sxm-80gb")
    for row in read_table("portability.csv"):
        assert row["source"], row
        assert row["as_of"], row
        assert row["answer"] == "yes" or row["reason"], row
        holds(row["where"], chip)
