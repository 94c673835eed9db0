"""Properties of sizing that hold for every workload."""

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudaccel.facts.accelerators import all_accelerators
from cloudaccel.facts.models import models
from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import Fit, Machine, ModelShape, Parallelism, ServeDemand, Workload
from cloudaccel.workloads import size
from cloudaccel.workloads.memory import training_memory
from cloudaccel.workloads.shapes import least_gib

ORDER = {"no": 0, "tight": 1, "fits": 2}
TIMED = [a for a in all_accelerators() if a.memory_gib and (a.peak_tflops_bf16_dense or a.peak_tflops_fp16_dense)]

accelerators = st.sampled_from(TIMED)
shapes = st.sampled_from(list(models().values()))
machines = st.tuples(st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([1, 2, 4, 16]))
methods = st.sampled_from(["full", "lora", "qlora", "dpo"])
sequences = st.sampled_from([512, 4096, 32_768])


def fitted(job: Workload, model: ModelShape, chip: Accelerator, machine: tuple[int, int]) -> Fit:
    return size(job, model, chip, per_node=machine[0], nodes=machine[1])


def with_memory(chip: Accelerator, gib: float) -> Accelerator:
    return replace(chip, memory_gib=gib, memory_mib_seen=None)


@settings(max_examples=60, deadline=None)
@given(accelerators, shapes, machines, methods, sequences)
def test_parts_add_up_and_nothing_is_negative(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], method: str, sequence: int
) -> None:
    job = Workload(task="finetune", model="", method=method, tokens=1e9, sequence_tokens=sequence)
    fit = fitted(job, model, chip, machine)
    assert fit.memory is not None
    assert abs(sum(value for _name, value in fit.memory.parts) - fit.memory.step_gib) < 1e-9 * fit.memory.step_gib
    assert all(value >= 0 for _name, value in fit.memory.parts)
    assert fit.shape is not None
    shape = fit.shape
    if fit.verdict != "no":
        assert shape.tp * shape.pp * shape.cp * shape.dp == machine[0] * machine[1]
        assert machine[0] % shape.tp == 0
        # evenly, or on GPUs with embedding and output counted as a layer each (arXiv:2407.21783, section 3.3.2)
        assert 0 in (model.layers % shape.pp, (model.layers + 2) % shape.pp if chip.kind == "gpu" else 1)
        assert model.heads % shape.tp == 0
    else:
        assert fit.reasons


@settings(max_examples=60, deadline=None)
@given(accelerators, shapes, machines, methods, sequences, st.floats(1, 4))
def test_more_memory_never_turns_a_fit_into_a_no(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], method: str, sequence: int, factor: float
) -> None:
    job = Workload(task="finetune", model="", method=method, tokens=1e9, sequence_tokens=sequence)
    memory = chip.memory_gib or 16.0
    less = fitted(job, model, with_memory(chip, memory), machine)
    more = fitted(job, model, with_memory(chip, memory * factor), machine)
    assert ORDER[more.verdict] >= ORDER[less.verdict]


@settings(max_examples=60, deadline=None)
@given(accelerators, shapes, machines, st.floats(1e6, 1e13), st.floats(1.01, 100))
def test_more_tokens_take_more_hours(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], tokens: float, factor: float
) -> None:
    job = Workload(task="finetune", model="", method="lora", tokens=tokens)
    fit, longer = fitted(job, model, chip, machine), fitted(replace(job, tokens=tokens * factor), model, chip, machine)
    assert fit.verdict == longer.verdict
    if fit.hours_likely is not None and longer.hours_likely is not None:
        assert longer.hours_likely > fit.hours_likely
        assert fit.hours_low is not None
        assert fit.hours_high is not None
        assert fit.hours_low <= fit.hours_likely <= fit.hours_high


@settings(max_examples=60, deadline=None)
@given(accelerators, shapes, machines, st.integers(64, 100_000), st.floats(1, 4))
def test_serving_more_memory_holds_more(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], context: int, factor: float
) -> None:
    job = Workload(task="serve", model="", serve=ServeDemand(context=context))
    memory = chip.memory_gib or 16.0
    less = fitted(job, model, with_memory(chip, memory), machine)
    more = fitted(job, model, with_memory(chip, memory * factor), machine)
    assert ORDER[more.verdict] >= ORDER[less.verdict]
    for fit in (less, more):
        assert fit.memory is not None
        assert abs(sum(value for _name, value in fit.memory.parts) - fit.memory.step_gib) < 1e-6
        if fit.serving is not None and fit.verdict == "fits":
            assert fit.serving.max_context >= 1
            assert fit.serving.output_tokens_per_s_low <= fit.serving.output_tokens_per_s


GPUS = [a for a in TIMED if a.kind == "gpu"]
gpus = st.sampled_from(GPUS)
wide = st.tuples(st.sampled_from([1, 2, 4, 8]), st.sampled_from([2, 4, 16]))
tasks = st.sampled_from([("pretrain", "full"), ("finetune", "full"), ("finetune", "lora"), ("finetune", "qlora")])


@settings(max_examples=60, deadline=None)
@given(accelerators, shapes, machines, tasks, st.sampled_from([2.0, 3.0, 1000.0]))
def test_twice_the_tokens_are_twice_the_hours(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], task: tuple[str, str], factor: float
) -> None:
    job = Workload(task=task[0], method=task[1], model="", tokens=1e9)
    once, more = fitted(job, model, chip, machine), fitted(replace(job, tokens=1e9 * factor), model, chip, machine)
    assert once.shape == more.shape
    assert (once.hours_likely is None) == (more.hours_likely is None)
    if once.hours_likely is not None and more.hours_likely is not None:
        assert math.isclose(more.hours_likely, factor * once.hours_likely, rel_tol=1e-9)


@settings(max_examples=80, deadline=None)
@given(gpus, shapes, wide, tasks, st.sampled_from([(10.0, 100.0), (25.0, 400.0), (100.0, 3200.0)]))
def test_a_faster_network_is_never_slower(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], task: tuple[str, str], gbit: tuple[float, float]
) -> None:
    job = Workload(task=task[0], method=task[1], model="", tokens=1e9)
    thin, fast = (
        size(job, model, chip, per_node=machine[0], nodes=machine[1], machine=Machine(network_gbit_per_s=one))
        for one in gbit
    )
    assert thin.verdict == fast.verdict
    if thin.hours_likely is not None and fast.hours_likely is not None:
        assert fast.hours_likely <= thin.hours_likely * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(accelerators, shapes, st.sampled_from([512, 4096]), st.sampled_from([(1, 0), (8, 1), (8, 3)]))
def test_adapters_need_no_more_than_all_weights_and_four_bits_no_more_than_sixteen(
    chip: Accelerator, model: ModelShape, sequence: int, data: tuple[int, int]
) -> None:
    cut = Parallelism(dp=data[0], zero=data[1], recompute="full")
    kept: list[float] = []
    for method in ("full", "lora", "qlora"):
        job = Workload(task="finetune", method=method, model="", tokens=1e9, sequence_tokens=sequence)
        parts = dict(training_memory(job, model, chip, cut).parts)
        kept.append(sum(parts.get(name, 0.0) for name in ("weights", "gradients", "optimizer")))
    assert kept[2] <= kept[1] <= kept[0]


@settings(max_examples=60, deadline=None)
@given(gpus, shapes, wide, st.sampled_from([2, 4]))
def test_more_machines_do_not_train_for_less(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], factor: int
) -> None:
    """Machine-hours fall only where more memory ends waits, recomputation (a third) or cutting (a tenth)."""
    job = Workload(task="pretrain", model="", tokens=1e9)
    few, many = fitted(job, model, chip, machine), fitted(job, model, chip, (machine[0], machine[1] * factor))
    if few.hours_likely is None or many.hours_likely is None:
        return
    waited = max(few.network_stretch, few.link_stretch) * few.pipeline_stretch
    assert factor * many.hours_likely >= few.hours_likely / waited / (4 / 3) / 1.1


@settings(max_examples=60, deadline=None)
@given(gpus, shapes, machines, tasks, st.sampled_from([1, 3, 8, 64, 1000, 4096]))
def test_the_batch_is_what_was_asked_or_is_said(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], task: tuple[str, str], batch: int
) -> None:
    job = Workload(task=task[0], method=task[1], model="", tokens=1e9, batch_sequences=batch)
    fit = fitted(job, model, chip, machine)
    if fit.verdict == "no":
        return
    assert fit.shape is not None
    made = fit.shape.dp * fit.shape.micro_batch * fit.shape.accumulation
    assert made == batch or "batch" in [reason.code for reason in fit.reasons]


@settings(max_examples=60, deadline=None)
@given(gpus, shapes, machines, tasks)
def test_the_high_end_is_the_likely_one_of_a_careful_plan(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], task: tuple[str, str]
) -> None:
    job = Workload(task=task[0], method=task[1], model="", tokens=1e9)
    fit = fitted(job, model, chip, machine)
    careful = size(job, model, chip, per_node=machine[0], nodes=machine[1], conservative=True)
    assert careful.verdict == fit.verdict
    if fit.hours_high is not None and careful.hours_likely is not None and careful.hours_high is not None:
        assert math.isclose(careful.hours_likely, fit.hours_high, rel_tol=1e-6)
        assert math.isclose(careful.hours_high, fit.hours_high, rel_tol=1e-6)


@settings(max_examples=60, deadline=None)
@given(gpus, shapes, wide, tasks, st.sampled_from([10.0, 100.0, 3200.0]))
def test_the_factors_of_the_hours_multiply_to_them(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], task: tuple[str, str], gbit: float
) -> None:
    job = Workload(task=task[0], method=task[1], model="", tokens=1e9)
    network = Machine(network_gbit_per_s=gbit)
    fit = size(job, model, chip, per_node=machine[0], nodes=machine[1], machine=network)
    peak = chip.peak_tflops_bf16_dense or chip.peak_tflops_fp16_dense
    if not (fit.hours_likely and fit.flops and fit.step_mfu and fit.goodput and peak):
        return
    rate = machine[0] * machine[1] * peak * 1e12 * fit.step_mfu * fit.goodput
    stretch = max(fit.network_stretch, fit.link_stretch) * fit.pipeline_stretch * fit.cutting_stretch
    assert math.isclose(fit.hours_likely, fit.flops / rate * stretch / 3600, rel_tol=1e-6)


@settings(max_examples=60, deadline=None)
@given(accelerators, shapes, machines, sequences, st.sampled_from([1, 64]))
def test_lora_needs_no_more_than_full_and_qlora_no_more_than_lora(
    chip: Accelerator, model: ModelShape, machine: tuple[int, int], sequence: int, batch: int
) -> None:
    job = Workload(task="finetune", model="", tokens=1e9, sequence_tokens=sequence, batch_sequences=batch)
    full, lora, qlora = (replace(job, method=name) for name in ("full", "lora", "qlora"))
    least = [least_gib(one, model, chip.kind, *machine) for one in (qlora, lora, full)]
    assert least == sorted(least)
    fits = [fitted(one, model, chip, machine).verdict != "no" for one in (qlora, lora, full)]
    assert fits == sorted(fits, reverse=True)


@settings(max_examples=60, deadline=None)
@given(accelerators, shapes, machines, st.floats(0.1, 100), st.sampled_from([None, 0.01, 0.06]), st.floats(1, 4))
def test_more_memory_never_ends_a_service(
    chip: Accelerator,
    model: ModelShape,
    machine: tuple[int, int],
    rate: float,
    tpot_s: float | None,
    factor: float,
) -> None:
    demand = ServeDemand(requests_per_s=rate, tpot_s=tpot_s)
    job, memory = Workload(task="serve", model="", serve=demand), chip.memory_gib or 16.0
    less, more = (fitted(job, model, with_memory(chip, gib), machine) for gib in (memory, memory * factor))
    if less.verdict != "no" and less.shape is not None and more.shape is not None and less.shape.pp > more.shape.pp:
        return  # one machine holds the model now: no pipeline over machines, though one may have carried more
    assert ORDER[more.verdict] >= ORDER[less.verdict]
