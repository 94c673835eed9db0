"""The accelerator: one row of the hardware table."""

from dataclasses import dataclass


# Rows are made once, so identity is equality; leaving the generated comparison out saves a millisecond of import.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Accelerator:
    """One model of accelerator, as a cloud counts it. None means that no source states the figure.

    Peaks are dense; a figure with 2:4 sparsity is never stored as a peak.

    Attributes
    ----------
    id
        ``vendor-model[-form][-memory]`` in lower case: ``nvidia-h100-sxm-80gb``, ``google-tpu-v5p``.
    family
        What people type: ``H100``, ``TPUv5p``. Several ids may share it.
    kind
        ``gpu``, ``tpu``, ``neuron``, ``hpu``, ``npu``, ``fpga`` or ``media``.
    form
        ``sxm``, ``pcie``, ``oam``, ``superchip``, ``pod``, ``chip`` or ``socket``.
    status
        ``ga``, ``legacy``, ``china`` (export variant) or ``announced``.
    unit
        What is counted: ``gpu``, ``chip``, ``card`` or ``package``. TPU and Neuron counts are chips.
    units_per_board
        Units on one board (A16: 4, GB200: 2).
    memory_gib
        Nominal memory of one unit, the number in its name (80 for H100 80GB).
    memory_mib_seen
        Memory the driver or the cloud's API reports for one unit.
    link
        ``nvlink`` (NVSwitch or direct mesh), ``nvlink-bridge``, ``infinity-fabric``, ``ici``, ``neuronlink``,
        ``roce``, ``xelink``, ``pcie``: the class that ``--interconnect`` filters on; `interconnect` has the details.
    tdp_scope
        What `tdp_w` covers, in the source's word.
    derived_from
        Id of the accelerator it is an export variant of, else None.
    confidence
        ``agree`` (two sources or more), ``single``, ``conflict`` (see `note`), ``derived`` or ``price-list``.
    """

    id: str
    family: str
    vendor: str
    kind: str
    name: str
    architecture: str | None
    form: str | None
    status: str
    unit: str
    units_per_board: int
    memory_gib: float | None
    memory_mib_seen: int | None
    peak_tflops_bf16_dense: float | None
    peak_tflops_fp16_dense: float | None
    peak_tflops_fp8_dense: float | None
    memory_bandwidth_gb_per_s: float | None
    tdp_w: float | None
    tdp_scope: str | None
    interconnect: str | None
    interconnect_gb_per_s: float | None
    link: str | None
    runtime_id: str | None
    derived_from: str | None
    aliases: tuple[str, ...]
    confidence: str
    note: str
    source: str
    as_of: str

    def __post_init__(self) -> None:
        if not self.id or not self.family or not self.source:
            raise ValueError(f"accelerator {self.id or '?'}: id, family and source must be given")
        if self.units_per_board < 1:
            raise ValueError(f"accelerator {self.id}: units_per_board must be at least 1")
        for name in ("memory_gib", "peak_tflops_bf16_dense", "memory_bandwidth_gb_per_s", "tdp_w"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"accelerator {self.id}: {name} must be above 0, or empty when unknown")
