"""The one door: does this workload fit on this hardware shape, and how long does it take."""

from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import Fit, ModelShape, Workload


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
        Network of one machine, one direction; None takes the class's usual network and says so.
    host_memory_gib
        Memory of one machine's host, for the checks of loading and compiling; None skips them.
    """
    raise NotImplementedError  # the skeleton of the interface; the next commits fill it
