"""The one door: does this workload fit on this hardware shape, and how long does it take."""

from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import UNKNOWN_MACHINE, Fit, Machine, ModelShape, Workload
from cloudaccel.workloads.host import with_host
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
    machine: Machine = UNKNOWN_MACHINE,
    conservative: bool = False,
) -> Fit:
    """How `workload` runs on `nodes` machines with `per_node` accelerators each.

    Parameters
    ----------
    per_node
        Accelerators in one machine, joined by its fast link.
    measured
        Tokens per second and accelerator that the caller measured (of output, for serving); it replaces the prior.
    mfu
        Step MFU (share of the dense peak, 0..1) to assume instead of the prior.
    machine
        Network and host memory of one machine. An unknown network is taken for one without a fabric, and said to be; an
        unknown host is not checked, and said not to be.
    conservative
        Of a run, take the upper end of the hours for the likely ones.
    """
    if per_node < 1 or nodes < 1:
        raise ValueError("per_node and nodes must be at least 1")
    if workload.task == "serve":
        fit = size_serving(workload, model, accelerator, per_node=per_node, nodes=nodes, measured=measured)
    else:
        fit = size_training(
            workload,
            model,
            accelerator,
            per_node=per_node,
            nodes=nodes,
            measured=measured,
            mfu=mfu,
            machine=machine,
            conservative=conservative,
        )
    return with_host(fit, workload, model, accelerator, per_node, machine.host_memory_gib)
