"""Area E of the collected cases: hours and MFU."""

from math import isclose

import pytest

from cloudaccel.facts.accelerators import all_accelerators, by_id
from cloudaccel.facts.models import resolve_model
from cloudaccel.model.workload import Machine, Workload
from cloudaccel.workloads import size
from cloudaccel.workloads.flops import flops_per_token, implied_mfu
from cloudaccel.workloads.given_model import model_from_parameters
from cloudaccel.workloads.runs import bf16_peak


def test_u47_peaks_are_dense() -> None:
    """Believed wrongly: 1,979 TFLOPS is the peak of an H100, and 420 are 21 % of it."""
    assert bf16_peak(by_id("nvidia-h100-sxm-80gb")) == 989
    assert bf16_peak(by_id("nvidia-h100-pcie-80gb")) == 756
    assert bf16_peak(by_id("nvidia-a100-sxm-80gb")) == 312
    assert isclose(implied_mfu(420e12 * 3600, 1, 989), 0.4247, abs_tol=1e-4)
    sparse = {1979.0, 1513.0, 624.0}
    assert not {bf16_peak(a) for a in all_accelerators()} & sparse


def test_u48_seven_billion_on_a_trillion_tokens() -> None:
    """Believed wrongly: 7B on 1T tokens takes what a page says of 10B."""
    job = Workload(task="pretrain", model="", tokens=1e12)
    fit = size(job, model_from_parameters(7e9), by_id("nvidia-a100-sxm-80gb"), per_node=8, nodes=8, mfu=0.40)
    assert fit.hours_likely is not None
    assert isclose(fit.hours_likely * 64, 9.35e4, rel_tol=0.02)
    assert isclose(fit.flops or 0, 4.2e22, rel_tol=1e-6)


def test_u48_llama_2_is_the_check() -> None:
    """Believed wrongly: a formula alone is close enough."""
    job = Workload(task="pretrain", model="", tokens=1e12)
    fit = size(job, resolve_model("llama-2-7b"), by_id("nvidia-a100-sxm-80gb"), per_node=8, nodes=8)
    assert fit.hours_likely is not None
    assert isclose(fit.hours_likely * 64, 92_160, rel_tol=0.25)


def test_u49_active_parameters_count_six_times() -> None:
    """Believed wrongly: training is 2ND, and 7 % of the peak is reached."""
    model = model_from_parameters(671e9, 37e9)
    assert flops_per_token(model, 4096) == 6 * 37e9
    assert isclose(implied_mfu(6 * 37e9 * 14.8e12, 2.79e6, 1513), 0.216, abs_tol=0.001)


@pytest.mark.parametrize(("method", "factor"), [("full", 6), ("lora", 4), ("qlora", 4), ("dpo", 8)])
def test_flops_by_method(method: str, factor: int) -> None:
    assert flops_per_token(model_from_parameters(7e9), 4096, method) == factor * 7e9


def test_attention_term_follows_windows_and_latent_attention() -> None:
    llama = resolve_model("llama-3-70b")
    assert isclose(flops_per_token(llama, 8192) / (6 * llama.params), 1.152, abs_tol=0.01)
    gemma = resolve_model("gemma-3-27b")
    far = flops_per_token(gemma, 131_072) - flops_per_token(gemma, 65_536)
    assert isclose(far, 12 * 32 * 128 * gemma.full_layers * 65_536, rel_tol=1e-6)
    deepseek = resolve_model("deepseek-v3")
    extra = flops_per_token(deepseek, 4096) - 6 * deepseek.params_active
    assert isclose(extra, 12 * 128 * 160 * 61 * 4096, rel_tol=1e-6)


def test_measured_rate_replaces_the_prior() -> None:
    job = Workload(task="finetune", method="lora", model="", tokens=25.2e6, sequence_tokens=8192)
    model, chip = resolve_model("llama-2-70b"), by_id("nvidia-h100-sxm-80gb")
    fit = size(job, model, chip, per_node=8, nodes=1, measured=2000.0)
    assert fit.hours_likely is not None
    assert fit.hours_low is not None
    assert isclose(fit.hours_likely, 25.2e6 / (2000 * 8 * 0.97) / 3600, rel_tol=1e-6)
    assert isclose(fit.hours_low, 0.88 * fit.hours_likely, rel_tol=1e-6)
    assert [a.flag for a in fit.assumptions if a.name == "tokens_per_s_per_accelerator"] == ["user"]


def test_three_numbers_and_three_runs_are_shown() -> None:
    job = Workload(task="pretrain", model="", tokens=15e12, sequence_tokens=8192)
    chip = by_id("nvidia-h100-sxm-80gb")
    fit = size(job, resolve_model("llama-3.1-405b"), chip, per_node=8, nodes=2048)
    assert fit.step_mfu is not None
    assert fit.goodput == 0.90
    assert fit.recompute_factor == 1.0
    assert "Llama-3.1-405B" in [run.name for run in fit.nearest_runs]
    assert len(fit.nearest_runs) == 3
    told = next(a for a in fit.assumptions if a.name == "use")
    assert "published runs" in told.source
    assert told.as_of


def test_unknown_peak_gives_no_hours_and_says_so() -> None:
    job = Workload(task="finetune", method="lora", model="", tokens=1e6, sequence_tokens=512)
    fit = size(job, resolve_model("llama-3.2-1b"), by_id("nvidia-rtx-a4000"), per_node=1, nodes=1)
    assert fit.verdict == "fits"
    assert fit.hours_likely is None
    assert "speed_unknown" in [reason.code for reason in fit.reasons]


def test_thin_network_is_counted() -> None:
    job = Workload(task="finetune", method="full", model="", tokens=1e9, sequence_tokens=2048, stack="fsdp")
    model, chip = resolve_model("llama-2-70b"), by_id("nvidia-a100-sxm-80gb")
    wide = size(job, model, chip, per_node=8, nodes=8, machine=Machine(1600))
    thin = size(job, model, chip, per_node=8, nodes=8, machine=Machine(25))
    assert wide.hours_likely is not None
    assert thin.hours_likely is not None
    assert thin.hours_likely > 2 * wide.hours_likely
    assert "network" in [reason.code for reason in thin.reasons]


def test_free_to_cut_a_thin_network_is_worked_around() -> None:
    """Believed wrongly: more machines on a thin network are as fast; they are only if layers are cut to send less."""
    job = Workload(task="finetune", method="full", model="", tokens=1e9, sequence_tokens=2048)
    model, chip = resolve_model("llama-2-70b"), by_id("nvidia-a100-sxm-80gb")
    wide = size(job, model, chip, per_node=8, nodes=8, machine=Machine(1600))
    thin = size(job, model, chip, per_node=8, nodes=8, machine=Machine(25))
    assert wide.shape is not None
    assert thin.shape is not None
    assert (wide.shape.zero, wide.shape.pp) == (3, 1)
    assert thin.shape.pp > 1
    assert "shape_assumed" in [reason.code for reason in thin.reasons]


def test_unknown_network_is_said_and_not_taken_for_a_fabric() -> None:
    """Believed wrongly: a machine whose network nobody states trains as fast in eights as one with a fabric."""
    job = Workload(task="finetune", method="full", model="", tokens=1e9, sequence_tokens=2048, stack="fsdp")
    model, chip = resolve_model("llama-2-70b"), by_id("nvidia-a100-sxm-80gb")
    fabric = size(job, model, chip, per_node=8, nodes=8, machine=Machine(1600))
    unknown = size(job, model, chip, per_node=8, nodes=8)
    assert fabric.hours_likely is not None
    assert fabric.hours_low is not None
    assert unknown.hours_likely is not None
    assert unknown.hours_low is not None
    assert unknown.hours_likely > 1.5 * fabric.hours_likely
    assert isclose(unknown.hours_low, fabric.hours_low, rel_tol=0.05)
    assert "network_unknown" in [reason.code for reason in unknown.reasons]
    assumed = next(a for a in unknown.assumptions if a.name == "network_gbit_per_s")
    assert (assumed.value, assumed.flag) == (100, "assumed")
    alone = size(job, resolve_model("llama-2-7b"), chip, per_node=8, nodes=1)
    assert "network_gbit_per_s" not in [a.name for a in alone.assumptions]
