"""Area D of the collected cases: does it fit in memory."""

from math import isclose

import pytest

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.models import resolve_model
from cloudaccel.model.workload import Fit, Machine, ServeDemand, Workload
from cloudaccel.workloads import size

A100, H100, H200 = "nvidia-a100-sxm-80gb", "nvidia-h100-sxm-80gb", "nvidia-h200-sxm"


def tuned(model: str, method: str, accelerator: str, count: int, *, nodes: int = 1, **more: object) -> Fit:
    job = Workload(task="finetune", model=model, method=method, tokens=1e8, **more)  # pyright: ignore[reportArgumentType]
    return size(job, resolve_model(model), by_id(accelerator), per_node=count, nodes=nodes)


def served(
    model: str, accelerator: str, count: int, *, nodes: int = 1, precision: str = "fp8", context: int | None = None
) -> Fit:
    job = Workload(task="serve", model=model, precision=precision, serve=ServeDemand(context=context))
    return size(job, resolve_model(model), by_id(accelerator), per_node=count, nodes=nodes)


@pytest.mark.parametrize("count", [4, 8])
def test_u38_total_memory_never_stands_in_for_memory_of_one_card(count: int) -> None:
    """Believed wrongly: eight cards of 24 GB hold what needs 48 GB on one."""
    fit = tuned("llama-3-70b", "qlora", "nvidia-a10g", count, parallel="ddp", sequence_tokens=1024)
    assert fit.verdict == "no"
    assert fit.reasons[0].code == "mem_per_accel"
    assert fit.memory is not None
    assert fit.memory.peak_gib >= 44  # 48 GB

    on_48 = tuned("llama-3-70b", "qlora", "nvidia-rtx-a6000", count, parallel="ddp", sequence_tokens=512)
    assert on_48.verdict in ("tight", "fits")


def test_u39_full_fine_tuning_of_70b_needs_more_than_eight_cards() -> None:
    """Believed wrongly: 640 GB are enough to fine-tune 70B in full."""
    eight = tuned("llama-2-70b", "full", A100, 8)
    assert eight.verdict == "no"
    assert ("method_hint", "lora or qlora would fit") in [tuple(reason) for reason in eight.reasons]
    assert tuned("llama-2-70b", "full", A100, 8, nodes=4).verdict == "fits"
    smallest = next(n for n in range(1, 9) if tuned("llama-2-70b", "full", A100, 8, nodes=n).verdict != "no")
    assert smallest >= 2


def test_u40_lora_on_sixteen_a10_is_judged_card_by_card() -> None:
    """Believed wrongly: 368 GB in all hold 140 GB of weights with room to spare."""
    fit = tuned("llama-2-70b", "lora", "nvidia-a10", 16, sequence_tokens=2048)
    assert fit.memory is not None
    assert fit.memory.available_gib < 23  # of 24 nominal, less error correction
    assert fit.verdict == "tight" or "shape_assumed" in [reason.code for reason in fit.reasons]
    sharded = tuned("llama-2-70b", "lora", "nvidia-a10", 16, sequence_tokens=2048, stack="fsdp")
    assert sharded.verdict == "tight"
    assert sharded.reasons[0].code == "mem_tight"
    assert tuned("llama-2-70b", "lora", "nvidia-a10", 16, sequence_tokens=2048, parallel="ddp").verdict == "no"


def test_u41_lower_bound_and_three_peaks() -> None:
    """Believed wrongly: 70B can be tuned in 8 to 16 GB, and saving needs no more than a step."""
    fit = tuned("llama-2-70b", "qlora", A100, 1, sequence_tokens=512)
    assert fit.memory is not None
    parts = dict(fit.memory.parts)
    assert parts["weights"] * 2**30 / 1e9 >= 35
    assert fit.memory.step_gib > 0
    assert fit.memory.checkpoint_gib > 0
    assert fit.memory.load_gib > 0
    assert tuned("llama-2-70b", "qlora", "nvidia-l4", 1).verdict == "no"


def test_u42_deepseek_r1_where_it_fits_and_where_not() -> None:
    """Believed wrongly: eight cards of 80 GB hold the whole of DeepSeek-R1."""
    assert served("deepseek-r1", H200, 8).verdict == "fits"
    assert served("deepseek-r1", "amd-mi300x", 8).verdict == "fits"
    assert served("deepseek-r1", H100, 8, nodes=2).verdict == "fits"
    assert served("deepseek-r1", H100, 8).reasons[0].code == "mem_per_accel"
    assert served("deepseek-r1", A100, 8, precision="bf16").reasons[0].code == "mem_per_accel"
    assert served("deepseek-r1", A100, 8, nodes=4, precision="bf16").verdict == "fits"


def test_u44_the_model_fits_and_its_context_does_not() -> None:
    """Believed wrongly: a model that loads serves its longest context."""
    fit = served("llama-3.1-405b", H100, 8, context=131_072)
    assert fit.verdict == "no"
    assert fit.reasons[0].code == "kv_cache"
    assert served("llama-3.1-405b", H100, 8, context=65_536).verdict == "fits"
    assert served("llama-3.1-405b", H200, 8, context=131_072).verdict == "fits"


def test_u44_bytes_of_the_cache() -> None:
    """Believed wrongly: the cache of 405B costs nothing worth counting."""
    fit = served("llama-3.1-405b", H200, 8)
    assert fit.serving is not None
    assert fit.serving.kv_bytes_per_token == 516_096


def test_u45_a_range_and_a_margin() -> None:
    """Believed wrongly: the free memory is one number, and 29k tokens fit or do not."""
    fit = served("llama-3.1-8b", "nvidia-rtx-3090", 1, precision="bf16", context=29_000)
    assert fit.verdict == "tight"
    assert fit.serving is not None
    assert fit.serving.kv_bytes_per_token == 131_072
    assert 22_000 <= fit.serving.kv_tokens_low < fit.serving.kv_tokens <= 31_200
    assert served("llama-3.1-8b", "nvidia-rtx-3090", 1, precision="bf16", context=20_000).verdict == "fits"


def test_u46_host_memory_for_compiling() -> None:
    """Believed wrongly: device memory is all that can run out."""
    job = Workload(task="serve", model="llama-3.1-8b", serve=ServeDemand())
    model, chip = resolve_model("llama-3.1-8b"), by_id("aws-trainium1")
    small = size(job, model, chip, per_node=1, nodes=1, machine=Machine(host_memory_gib=32))
    assert "host_mem_for_compile" in [reason.code for reason in small.reasons]
    assert small.verdict == "tight"
    big = size(job, model, chip, per_node=1, nodes=1, machine=Machine(host_memory_gib=512))
    assert "host_mem_for_compile" not in [reason.code for reason in big.reasons]


def test_u105_gaudi_carries_an_overhead_of_its_own() -> None:
    """Believed wrongly: more memory holds a larger batch on every platform."""
    on_gaudi = tuned("llama-3-8b", "lora", "intel-gaudi2", 1, sequence_tokens=1024, recompute="none")
    on_cuda = tuned("llama-3-8b", "lora", A100, 1, sequence_tokens=1024, recompute="none")
    assert on_gaudi.memory is not None
    assert on_cuda.memory is not None
    assert on_gaudi.shape is not None
    assert on_cuda.shape is not None
    each = [
        dict(fit.memory.parts)["activations"] / fit.shape.micro_batch  # pyright: ignore[reportOptionalMemberAccess]
        for fit in (on_gaudi, on_cuda)
    ]
    assert isclose(each[0], 1.5 * each[1], rel_tol=1e-6)
    factor = next(a for a in on_gaudi.assumptions if a.name == "activation_factor")
    assert (factor.value, factor.flag) == (1.5, "assumed")


def test_memory_of_a_whole_machine_is_not_believed_of_one_chip() -> None:
    fit = tuned("llama-3-8b", "lora", "aws-trainium2", 1)
    assert fit.memory is not None
    assert fit.memory.available_gib == 96  # the table's source says 512 GiB seen
