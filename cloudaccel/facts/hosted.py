"""Rows of the CSV files that SkyPilot's hosted catalogs are made of (``<cloud>/vms.csv``, schema v5 to v8).

A row is one instance type in one region or zone, with a price on demand and a spot price, USD per hour of the whole
machine. What is not believed: the memory in ``GpuInfo``, which is that of one GPU in some files, of all in others, and
in gigabytes under the name of megabytes in one (read on 2026-11-27 at skypilot-org/skypilot-catalog@01acdfd4).
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from cloudaccel.facts.listing import amount, one_accelerator

NEEDED = frozenset({"InstanceType", "AcceleratorName", "AcceleratorCount", "Region", "Price", "SpotPrice"})
_FORMS = ("sxm", "pcie", "nvl")
# Folders called as a provider of ours is, that are another company's: Yotta Labs there, Yotta Data Services here.
NAMESAKES = frozenset({"yotta"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedRow:
    """One row with an accelerator and an instance type. None is what the file leaves empty, or states as 0."""

    instance: str
    region: str
    zone: str | None
    accelerator_id: str | None
    accelerator_name: str
    count: Fraction | None
    vcpus: float | None
    memory_gib: float | None
    prices: Mapping[str, Decimal | None]  # by market: on_demand, spot


def hosted_rows(lines: Iterable[str]) -> Iterator[HostedRow]:
    """The rows with accelerators; a host without one is not priced whole there, and is left out.

    Raises
    ------
    ValueError
        If it is not such a file, or a cell is not what its column says.
    """
    reader = csv.DictReader(lines)
    if missing := NEEDED - set(reader.fieldnames or ()):
        raise ValueError(f"no column {', '.join(sorted(missing))}")
    try:
        for row in reader:
            if row["InstanceType"] and row["AcceleratorName"]:
                yield _row(row)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None


def _row(row: Mapping[str, str | None]) -> HostedRow:
    instance, name = (row["InstanceType"] or "")[:120], (row["AcceleratorName"] or "")[:80]
    return HostedRow(
        instance=instance,
        region=_text(row, "Region"),
        zone=row.get("AvailabilityZone") or None,
        accelerator_id=_accelerator(name, instance),
        accelerator_name=name,
        count=_count(row["AcceleratorCount"]),
        vcpus=_number(row.get("vCPUs")),
        memory_gib=_number(row.get("MemoryGiB")),
        prices={"on_demand": amount(row["Price"]), "spot": amount(row["SpotPrice"])},
    )


def _text(row: Mapping[str, str | None], column: str) -> str:
    if not row[column]:
        raise ValueError(f"no {column}")
    return str(row[column])[:80]


def _accelerator(name: str, instance: str) -> str | None:
    """The file has families (H100); the type of the machine may say the form (``gpu-h100-sxm_8gpu…``)."""
    name = name.removesuffix("-NVLink")  # a bridge between PCIe cards, not another card
    forms = [form for form in _FORMS if form in instance.lower()]
    return one_accelerator(name) or (one_accelerator(f"{name} {forms[0]}") if len(forms) == 1 else None)


def _count(text: str | None) -> Fraction | None:
    number = _number(text)
    found = Fraction(number).limit_denominator(64) if number else None
    # 0.167 is meant to be a sixth; what is near no such share is not guessed.
    return found if found and number and abs(float(found) - number) < 0.001 else None


def _number(text: str | None) -> float | None:
    try:
        number = Decimal(text) if text else Decimal(0)
    except InvalidOperation:
        raise ValueError(f"{str(text)[:40]!r} is no number") from None
    return float(number) if number.is_finite() and 0 < number < 1_000_000 else None


__all__ = ["NAMESAKES", "HostedRow", "hosted_rows"]
