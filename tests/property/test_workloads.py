"""Properties of sizing that hold for every workload."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudaccel.facts.accelerators import all_accelerators
from cloudaccel.facts.models import models
from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import Fit, ModelShape, ServeDemand, Workload
from cloudaccel.workloads import size

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
