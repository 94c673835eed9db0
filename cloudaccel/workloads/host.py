"""Memory of the host: what loading, data, checkpoints and compilers need beside the accelerators' own."""

from dataclasses import replace
from typing import NamedTuple

from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import Assumption, Fit, ModelShape, Reason, Workload
from cloudaccel.workloads.memory import GIB

# A compiler keeps the weights and its own copy on the host: aws-neuron/neuronx-distributed#53, Llama-3.1-8B (15 GiB)
# killed on a host of 32 GiB.
_COMPILED_KINDS = frozenset({"neuron"})
_COMPILE_COPIES = 2.0
_COMPILE_GIB = 8.0
# System, and for each accelerator one training process with the workers that feed it; our judgement, 2026-11-27.
_SYSTEM_GIB = 4.0
_PROCESS_GIB = 4.0
_UNKNOWN = Assumption("host_memory_gib", "not checked", "", "no source gives the memory of the host", "", "assumed")


class Need(NamedTuple):
    """One use of host memory: the reason's code, GiB of one machine, and what it is."""

    code: str
    gib: float
    text: str


def with_host(
    fit: Fit, workload: Workload, model: ModelShape, accelerator: Accelerator, per_node: int, host_gib: float | None
) -> Fit:
    """The fit, made tight with the reason when the host of a machine is too small; one that is unknown is said."""
    if fit.verdict == "no":
        return fit
    if host_gib is None:
        return replace(fit, assumptions=(*fit.assumptions, _UNKNOWN))
    short = [need for need in _needs(fit, workload, model, accelerator, per_node) if need.gib > host_gib]
    if not short:
        return fit
    reasons = tuple(Reason(n.code, f"{n.text.format(need=n.gib, has=host_gib)}") for n in short)
    return replace(fit, verdict="tight", reasons=(*fit.reasons, *reasons))


def _needs(fit: Fit, workload: Workload, model: ModelShape, accelerator: Accelerator, per_node: int) -> list[Need]:
    weights = 2.0 * model.params / GIB
    found: list[Need] = []
    if accelerator.kind in _COMPILED_KINDS:
        text = "compiling needs about {need:.0f} GiB of host memory, there are {has:.0f}: compile elsewhere"
        found.append(Need("host_mem_for_compile", _COMPILE_COPIES * weights + _COMPILE_GIB, text))
    if workload.task == "serve" or fit.shape is None:
        return found  # engines read weights from the page cache, which gives way
    base = _SYSTEM_GIB + _PROCESS_GIB * per_node
    text = "processes and data loading need about {need:.0f} GiB of host memory, there are {has:.0f}: fewer workers"
    found.append(Need("host_mem", base, text))
    cut = fit.shape.tp * fit.shape.pp > 1 or fit.shape.zero == 3
    if workload.task != "pretrain" and cut:
        text = "loading a whole 16-bit copy needs {need:.0f} GiB of host memory, there are {has:.0f}: load by shards"
        found.append(Need("host_mem_for_load", base + weights, text))
    text = "staging a checkpoint needs {need:.0f} GiB of host memory, there are {has:.0f}: checkpoints will block"
    found.append(Need("host_mem_for_checkpoint", base + _staged_gib(fit, per_node), text))
    return found


def _staged_gib(fit: Fit, per_node: int) -> float:
    """GiB of trained states that one machine copies to its host, so that a checkpoint does not stop the step.

    The optimizer's states hold the weights too (FP32). Copies of the same shard are saved once.
    """
    shape, parts = fit.shape, dict(fit.memory.parts) if fit.memory else {}
    if shape is None:
        return 0.0
    each = parts.get("optimizer", 0.0)
    sharded = shape.zero >= 1 or shape.dp * shape.cp == 1
    return each * (per_node if sharded else min(per_node, shape.tp * shape.pp))
