"""The accelerator table: every model that a price or a plan can name.

Each row of ``accelerators.csv`` has its source, date and grade. A figure that no source states stays empty; peaks are
dense. Rows of grade ``price-list`` were added because somebody sells them: only name and memory are known.
"""

from collections.abc import Mapping
from functools import cache

from cloudaccel.errors import ConfigError, UnknownName
from cloudaccel.facts.loader import numbered_rows, table_path
from cloudaccel.model import Accelerator

ACCELERATORS_TABLE = "accelerators.csv"

_ALLOWED = {
    "kind": frozenset({"gpu", "tpu", "neuron", "hpu", "npu", "fpga", "media"}),
    "form": frozenset({"sxm", "pcie", "oam", "superchip", "pod", "chip", "socket", ""}),
    "status": frozenset({"ga", "legacy", "china", "announced"}),
    "unit": frozenset({"gpu", "chip", "card", "package"}),
    "link": frozenset(
        {"nvlink", "nvlink-bridge", "infinity-fabric", "ici", "neuronlink", "roce", "xelink", "pcie", ""}
    ),
    "confidence": frozenset({"agree", "single", "conflict", "derived", "price-list"}),
}


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _accelerator(row: dict[str, str]) -> Accelerator:
    for column, words in _ALLOWED.items():
        if row[column] not in words:
            raise ValueError(f"{column} {row[column]!r} is none of {', '.join(sorted(words))}")
    seen = row["memory_mib_seen"]
    return Accelerator(
        id=row["id"],
        family=row["family"],
        vendor=row["vendor"],
        kind=row["kind"],
        name=row["name"],
        architecture=row["architecture"] or None,
        form=row["form"] or None,
        status=row["status"],
        unit=row["unit"],
        units_per_board=int(row["units_per_board"]),
        memory_gib=_number(row["memory_gib"]),
        memory_mib_seen=int(seen) if seen else None,
        peak_tflops_bf16_dense=_number(row["peak_tflops_bf16_dense"]),
        peak_tflops_fp16_dense=_number(row["peak_tflops_fp16_dense"]),
        peak_tflops_fp8_dense=_number(row["peak_tflops_fp8_dense"]),
        memory_bandwidth_gb_per_s=_number(row["memory_bandwidth_gb_per_s"]),
        tdp_w=_number(row["tdp_w"]),
        tdp_scope=row["tdp_scope"] or None,
        interconnect=row["interconnect"] or None,
        interconnect_gb_per_s=_number(row["interconnect_gb_per_s"]),
        link=row["link"] or None,
        runtime_id=row["runtime_id"] or None,
        derived_from=row["derived_from"] or None,
        aliases=tuple(row["aliases"].split("|")) if row["aliases"] else (),
        confidence=row["confidence"],
        note=row["note"],
        source=row["source"],
        as_of=row["as_of"],
    )


def load_accelerators(table: str = ACCELERATORS_TABLE) -> dict[str, Accelerator]:
    """Accelerators by id, in table order, read and checked anew.

    Raises
    ------
    ConfigError
        If a cell is wrong, an id comes twice, or `derived_from` names no row; with file and line.
    """
    found: dict[str, Accelerator] = {}
    for line, row in numbered_rows(table, tuple(Accelerator.__slots__)):
        try:
            accelerator = _accelerator(row)
        except ValueError as error:
            raise ConfigError(f"{table_path(table)}, line {line}: {error}") from error
        if accelerator.id in found:
            raise ConfigError(f"{table_path(table)}, line {line}: {accelerator.id} is there twice")
        found[accelerator.id] = accelerator
    for accelerator in found.values():
        if accelerator.derived_from is not None and accelerator.derived_from not in found:
            raise ConfigError(
                f"{table_path(table)}: {accelerator.id} is derived from {accelerator.derived_from}, no row"
            )
    return found


@cache
def _by_id() -> dict[str, Accelerator]:
    return load_accelerators()


def all_accelerators() -> tuple[Accelerator, ...]:
    """The whole table, in its order (newest first within a maker)."""
    return tuple(_by_id().values())


def by_id(accelerator_id: str) -> Accelerator:
    """The row of that id.

    Raises
    ------
    UnknownName
        If there is none. Names that people type are read by `cloudaccel.facts.names.resolve`.
    """
    try:
        return _by_id()[accelerator_id]
    except KeyError:
        raise UnknownName(
            f"no accelerator has the id {accelerator_id!r}. Ids look like nvidia-h100-sxm-80gb."
        ) from None


@cache
def families() -> Mapping[str, tuple[Accelerator, ...]]:
    """Accelerators by family (``H100``: SXM, NVL, PCIe …), in table order. Read it, never change it."""
    grouped: dict[str, list[Accelerator]] = {}
    for accelerator in _by_id().values():
        grouped.setdefault(accelerator.family, []).append(accelerator)
    return {family: tuple(members) for family, members in grouped.items()}
