"""How the accelerators of one machine reach each other, where that is slow: over PCIe."""

from cloudaccel.model.accelerator import Accelerator

# Of these nobody may expect more than PCIe: a bridge joins pairs, and sellers do not say whether it is there.
SLOW_LINKS = frozenset({None, "pcie", "nvlink-bridge"})
# Bus bandwidth of an all-reduce over 4 to 8 cards that meet over PCIe, GB/s: NVIDIA/nccl#841 (A100 PCIe, generation 4)
# and #1639 (RTX 5090, generation 5), 2025-03; generation 3 by its lanes, half of 4. Faster links are in the rates.
PCIE_ALL_REDUCE_GB_PER_S = {"PCIe3": 10.5, "PCIe4": 21.0, "PCIe5": 28.0}
# Cards with a bridge meet over the PCIe of their generation beyond the pair: NVLink 2 is of Turing, 3 of Ampere, 4 of
# Hopper; bridges of Infinity Fabric are of MI50 to MI210, on generation 4 (makers' data sheets, 2026-11).
_BRIDGED = {
    "NVLink2 bridge": "PCIe3",
    "NVLink3 bridge": "PCIe4",
    "NVLink4 bridge": "PCIe5",
    "Infinity Fabric bridge": "PCIe4",
}


def slow_link_gb_per_s(accelerator: Accelerator) -> float | None:
    """Bus bandwidth of an all-reduce in one machine, GB/s, where cards meet over PCIe; None: fast, or nobody knows."""
    if accelerator.link not in SLOW_LINKS:
        return None
    name = accelerator.interconnect or ""
    return PCIE_ALL_REDUCE_GB_PER_S.get(_BRIDGED.get(name, name))
