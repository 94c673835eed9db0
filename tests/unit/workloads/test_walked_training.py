"""What an engineer would not have believed of a plan to train, kind by kind."""

from math import isclose

import pytest

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.models import resolve_model
from cloudaccel.model.workload import Fit, Machine, Parallelism, Workload
from cloudaccel.workloads import size
from cloudaccel.workloads.memory import training_memory

H100, A6000, RTX4090 = "nvidia-h100-sxm-80gb", "nvidia-rtx-a6000", "nvidia-rtx-4090"


def tuned(model: str, chip: str, count: int, *, nodes: int = 1, gbit: float | None = None, **more: object) -> Fit:
    job = Workload(**{"task": "finetune", "model": model, "tokens": 1e9} | more)  # pyright: ignore[reportArgumentType]
    machine = Machine(network_gbit_per_s=gbit)
    return size(job, resolve_model(model), by_id(chip), per_node=count, nodes=nodes, machine=machine)


def codes(fit: Fit) -> list[str]:
    return [reason.code for reason in fit.reasons]


def hours(fit: Fit) -> float:
    assert fit.hours_likely is not None
    return fit.hours_likely


def test_a_pipeline_that_is_mostly_empty_is_no_speed() -> None:
    """Believed wrongly: 768 cards in 64 stages are 768 times one card, with ten micro-batches to fill them."""
    few = tuned("llama-3.1-405b", A6000, 2, nodes=384)
    many = tuned("llama-3.1-405b", A6000, 2, nodes=384, batch_sequences=4096)
    assert few.shape is not None
    assert few.shape.pp > few.shape.accumulation
    assert "pipeline" in codes(few)
    assert few.pipeline_stretch > 3
    assert hours(few) > 2 * hours(many)


def test_a_rate_of_your_own_has_its_pipeline_in_it() -> None:
    fit = tuned("llama-3-70b", A6000, 8, method="lora", batch_sequences=1)
    job = Workload(task="finetune", method="lora", model="", tokens=1e9, batch_sequences=1)
    own = size(job, resolve_model("llama-3-70b"), by_id(A6000), per_node=8, nodes=1, measured=100.0)
    assert fit.link_stretch > 1
    assert (own.link_stretch, own.pipeline_stretch, own.network_stretch) == (1, 1, 1)
    assert isclose(hours(own), 1e9 / (100 * 8 * 0.97) / 3600)


def test_cards_over_pcie_wait_for_each_other() -> None:
    """Believed wrongly: eight cards without a fast link share each layer as eight with one do."""
    fit = tuned("llama-3-70b", A6000, 8, method="lora", batch_sequences=1)
    assert fit.shape is not None
    assert fit.shape.tp == 8
    assert 1.4 < fit.link_stretch < 2.5
    assert "link" in codes(fit)
    assert next(a for a in fit.assumptions if a.name == "link_gb_per_s").value == 21
    fast = tuned("llama-3-70b", "nvidia-a100-sxm-80gb", 8, method="lora", batch_sequences=1)
    assert fast.link_stretch == 1
    assert tuned("llama-3-8b", A6000, 1, method="lora").link_stretch == 1


def test_rates_of_runs_over_pcie_have_its_waits_in_them() -> None:
    """L40S runs were published on machines of several cards over PCIe; to count the wait again would be twice."""
    assert tuned("llama-2-70b", "nvidia-l40s", 8, method="lora").link_stretch == 1


def test_experts_are_gathered_too() -> None:
    """Believed wrongly: full sharding of a model with experts brings its attention together alone."""
    model, chip = resolve_model("deepseek-v3"), by_id(H100)
    job = Workload(task="finetune", method="lora", model="", tokens=1e9)
    every = training_memory(job, model, chip, Parallelism(dp=64, zero=3))
    apart = training_memory(job, model, chip, Parallelism(dp=64, zero=3, ep=64))
    experts = model.experts * 3 * model.hidden * model.expert_ffn * 2 * 2 / 2**30  # two layers, 16 bits
    assert dict(every.parts)["gathered"] - dict(apart.parts)["gathered"] == pytest.approx(experts, rel=0.01)


def test_a_hint_names_what_really_fits() -> None:
    """Believed wrongly: smaller weights help where the activations of a long sequence are what is too much."""
    long = tuned("llama-3.1-8b", H100, 1, method="lora", sequence_tokens=131_072)
    assert long.verdict == "no"
    assert "method_hint" not in codes(long)
    short = tuned("llama-3-70b", H100, 1, method="lora")
    assert [reason.text for reason in short.reasons if reason.code == "method_hint"] == ["qlora would fit"]
    assert tuned("llama-3-70b", H100, 1, method="qlora").verdict != "no"


def test_32_bits_have_no_hours_of_16() -> None:
    """Believed wrongly: training in FP32 is as fast as in BF16."""
    wide = tuned("llama-3-8b", H100, 8, precision="fp32")
    assert wide.hours_likely is None
    assert "speed_unknown" in codes(wide)
    model, chip, shape = resolve_model("llama-3-8b"), by_id(H100), Parallelism()
    jobs = [Workload(task="finetune", model="", tokens=1e9, precision=name) for name in ("fp32", "bf16")]
    full, half = (dict(training_memory(job, model, chip, shape).parts) for job in jobs)
    states = ("weights", "gradients", "optimizer")
    assert sum(full[name] for name in states) == pytest.approx(sum(half[name] for name in states))  # 16 bytes each way
    assert full["activations"] == 2 * half["activations"]


def test_less_than_a_step_is_said() -> None:
    """Believed wrongly: a thousand short examples fill steps of 64 sequences of 4,096 tokens."""
    fit = tuned("llama-3-8b", H100, 8, tokens=1e5)
    assert "few_steps" in codes(fit)
    assert "few_steps" not in codes(tuned("llama-3-8b", H100, 8, tokens=1e5, batch_sequences=4, sequence_tokens=512))


def test_a_gaming_card_has_all_its_memory() -> None:
    """Believed wrongly: a GeForce keeps a part of its memory for error correction, as cards of data centres do."""
    seen = [tuned("llama-3.2-1b", chip, 1).memory for chip in (RTX4090, "nvidia-rtx-5090", "nvidia-t4")]
    assert [memory and round(memory.available_gib, 1) for memory in seen] == [24.0, 31.8, 15.0]
    assert tuned("llama-3.2-1b", RTX4090, 1, task="pretrain", tokens=20e9).verdict == "tight"


def test_a_sequence_is_not_cut_to_crumbs() -> None:
    """Believed wrongly: context parallelism of sixteen is for any length."""
    fit = tuned("llama-3.1-405b", H100, 8, nodes=512, gbit=400, task="pretrain", tokens=15e12, sequence_tokens=8192)
    assert fit.shape is not None
    assert fit.shape.cp <= 2
    short = tuned("llama-3.1-405b", H100, 8, nodes=512, gbit=400, task="pretrain", tokens=15e12)
    assert short.shape is not None
    assert short.shape.cp == 1


def use_of(fit: Fit) -> tuple[float, str]:
    told = next(a for a in fit.assumptions if a.name == "use")
    return float(told.value), told.flag


def test_a_full_fine_tune_is_the_step_of_pre_training() -> None:
    """Believed wrongly: 8B is tuned at 55 % of the peak of an H100, as one run of 405B was, where it trains at 40 %."""
    fit = tuned("llama-3-8b", H100, 8)
    assert 0.35 < (fit.step_mfu or 0) < 0.50
    assert "without a year" not in next(a.source for a in fit.assumptions if a.name == "use")


def test_two_runs_of_one_stack_are_not_what_to_expect_of_any() -> None:
    """Believed wrongly: LoRA reaches 20 % of an H100, within a fifth; two runs of plain DeepSpeed did."""
    some = tuned("llama-3-70b", H100, 8, method="lora")
    named = tuned("llama-3-70b", H100, 8, method="lora", stack="deepspeed")
    tuned_stack = tuned("llama-3-70b", H100, 8, method="lora", stack="megatron")
    assert use_of(named)[0] < use_of(some)[0] < use_of(tuned_stack)[0]
    assert use_of(some)[1] == "extrapolated"
    assert some.hours_low is not None
    assert some.hours_high is not None
    assert some.hours_high / some.hours_low > 2.5


def test_eight_bits_are_not_two_and_a_half_times_as_fast() -> None:
    """Believed wrongly: an 8B run takes 40 % of the hours in FP8; published gains are 1.2 to 1.5."""
    fast, plain = (tuned("llama-3-8b", H100, 8, task="pretrain", precision=name) for name in ("fp8", "bf16"))
    assert 1.2 < hours(plain) / hours(fast) < 1.5


def test_a_v100_is_not_as_busy_as_an_h100() -> None:
    """Believed wrongly: a chip without fused attention, whose one run reached 0.2, is used as the newest are."""
    assert use_of(tuned("llama-2-13b", "nvidia-v100-sxm2-32gb", 8, precision="fp16"))[0] < 0.45


def test_rows_of_qlora_are_not_slowed_twice() -> None:
    """Believed wrongly: a rate that was measured of QLoRA is divided by QLoRA's slowdown again."""
    fit = tuned("llama-2-70b", A6000, 1, method="qlora", sequence_tokens=512)
    assert (fit.step_mfu or 0) * (fit.recompute_factor or 0) == pytest.approx(use_of(fit)[0], abs=1e-3)
    assert "qlora_slowdown" not in [a.name for a in fit.assumptions]
    assert "qlora_slowdown" in [a.name for a in tuned("llama-3-8b", H100, 1, method="qlora").assumptions]


def test_a_batch_that_does_not_divide_is_said() -> None:
    """Believed wrongly: 64 sequences a step are asked for, so 64 are trained, on 24 replicas too."""
    fit = tuned("llama-3-8b", H100, 8, nodes=3, gbit=3200, batch_sequences=64)
    assert fit.shape is not None
    assert fit.shape.dp == 24
    assert [r.text for r in fit.reasons if r.code == "batch"] == [
        "48 sequences a step and not 64: 24 replicas of 2 each"
    ]
    assert "batch" not in codes(tuned("llama-3-8b", H100, 8, nodes=2, gbit=3200, batch_sequences=64))
