"""The one door: does this workload fit on this hardware shape, and how long does it take."""

from dataclasses import replace

from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import Fit, ModelShape, Reason, Workload
from cloudaccel.workloads.memory import GIB
from cloudaccel.workloads.serving import size_serving
from cloudaccel.workloads.training import size_training


def size(
    workload: Workload,
    model: ModelShape,
    accelerator: Accelerator,
    *,
    per_node: int,
    nodes: int,
    measured: float | None = None,
    mfu: float | None = None,
    inter_node_gbit_per_s: float | None = None,
    host_memory_gib: float | None = None,
) -> Fit:
    """How `workload` runs on `nodes` machines with `per_node` accelerators each.

    Parameters
    ----------
    per_node
        Accelerators in one machine, joined by its fast link.
    measured
        Tokens per second and accelerator that the caller measured; it replaces the prior.
    mfu
        Step MFU (share of the dense peak, 0..1) to assume instead of the prior.
    inter_node_gbit_per_s
        Network of one machine, one direction; None assumes a machine without a fabric, and says so.
    host_memory_gib
        Memory of one machine's host, for the checks of loading and compiling; None skips them.
    """
    if per_node < 1 or nodes < 1:
        raise ValueError("per_node and nodes must be at least 1")
    if workload.task == "serve":
        fit = size_serving(workload, model, accelerator, per_node=per_node, nodes=nodes)
        return _with_host(fit, model, accelerator, host_memory_gib)
    fit = size_training(
        workload,
        model,
        accelerator,
        per_node=per_node,
        nodes=nodes,
        measured=measured,
        mfu=mfu,
        inter_node_gbit_per_s=inter_node_gbit_per_s,
    )
    return _with_host(fit, model, accelerator, host_memory_gib)


# A compiler keeps the weights and its own copy on the host: aws-neuron/neuronx-distributed#53, Llama-3.1-8B (15 GiB)
# killed on a host of 32 GiB.
_COMPILED_KINDS = frozenset({"neuron"})
_COMPILE_COPIES = 2.0
_COMPILE_GIB = 8.0


def _with_host(fit: Fit, model: ModelShape, accelerator: Accelerator, host_memory_gib: float | None) -> Fit:
    """Adds a warning when loading and compiling would not fit into the host's memory."""
    if host_memory_gib is None or fit.verdict == "no" or accelerator.kind not in _COMPILED_KINDS:
        return fit
    need = _COMPILE_COPIES * 2.0 * model.params / GIB + _COMPILE_GIB
    if need <= host_memory_gib:
        return fit
    text = f"compiling needs about {need:.0f} GiB of host memory, there are {host_memory_gib:.0f}: compile elsewhere"
    return replace(fit, verdict="tight", reasons=(*fit.reasons, Reason("host_mem_for_compile", text)))
