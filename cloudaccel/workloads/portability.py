"""Which accelerators run which software, as dated facts."""

from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import ModelShape, Support, Workload


def supports(workload: Workload, accelerator: Accelerator, model: ModelShape | None = None) -> Support:
    """Whether `accelerator` can run the workload's software: yes, no, or no source says (then `answer` is None)."""
    raise NotImplementedError  # the skeleton of the interface; the next commits fill it
