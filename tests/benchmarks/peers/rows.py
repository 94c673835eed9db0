"""The rows of one of our catalogs as the files that gpuhunt and SkyPilot read."""

import csv
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

# What gpuhunt 0.1.34 loads from files; all must exist.
GPUHUNT_PROVIDERS = ("aws", "azure", "verda", "gcp", "lambdalabs", "nebius", "oci", "runpod", "cloudrift")
_GPUHUNT_FIELDS = (
    "instance_name", "location", "price", "cpu", "memory", "gpu_count", "gpu_name", "gpu_memory", "spot", "disk_size",
    "gpu_vendor", "flags", "cpu_arch", "provider_data",
)  # fmt: skip
# Of SkyPilot 0.14.1, whose catalogs are of version 8.
SKY_CATALOGS = Path(".sky/catalogs/v8")
_SKY_FIELDS = (
    "InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "GpuInfo", "Price", "SpotPrice",
    "Region", "AvailabilityZone", "Generation", "Arch", "LocalDiskType", "LocalDiskSize", "NVMeSizes", "NumLocalDisks",
    "LocalSSDs",
)  # fmt: skip
_SELECT = """
    SELECT s.instance, s.accelerator_name, CAST(s.count AS INTEGER), s.accelerator_memory_gib, s.vcpus, s.memory_gib,
           p.region, o.zone, o.market, o.amount / 1e9
    FROM offer o JOIN shape s ON s.id = o.shape JOIN place p ON p.id = o.place
    WHERE o.current AND o.amount IS NOT NULL AND o.currency = 'USD' AND o.market IN ('on_demand', 'spot')
          AND CAST(s.count AS INTEGER) >= 1 AND s.sold_per = 'instance'
"""


class Row(NamedTuple):
    """One price per hour, USD, of a machine; memory in GiB."""

    instance: str
    accelerator: str
    accelerators: int
    accelerator_memory: float | None
    vcpus: float | None
    memory: float | None
    region: str
    zone: str | None
    market: str
    price: float


def rows(catalog: Path) -> Iterator[Row]:
    """On-demand and spot prices of whole machines; an accelerator's name is its family's first word, as peers have."""
    with sqlite3.connect(f"file:{catalog}?mode=ro&immutable=1", uri=True) as db:
        for values in db.execute(_SELECT):
            row = Row(*values)
            yield row._replace(accelerator=row.accelerator.partition("-")[0])
    db.close()


def write_gpuhunt(catalog: Path, folder: Path) -> int:
    """Make `folder` what ``GPUHUNT_CATALOG_URL=file://…`` names: all rows are of the first provider. Their number."""
    number = 0
    for provider in GPUHUNT_PROVIDERS:
        (folder / provider / "1").mkdir(parents=True)
        (folder / provider / "version").write_text("1")
        table = folder / f"{provider}.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_GPUHUNT_FIELDS)
            for row in rows(catalog) if provider == GPUHUNT_PROVIDERS[0] else ():
                number += 1
                writer.writerow(_gpuhunt_row(row))
        with zipfile.ZipFile(folder / provider / "1/catalog.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(table, table.name)
        table.unlink()
    return number


def _gpuhunt_row(row: Row) -> tuple[object, ...]:
    size = (int(row.vcpus or 1), row.memory or 1, row.accelerators, row.accelerator, row.accelerator_memory or "")
    return (row.instance, row.zone or row.region, row.price, *size, row.market == "spot", "", "nvidia", "", "x86", "{}")


def write_sky(catalog: Path, home: Path) -> int:
    """Make `home` a home in which SkyPilot finds its catalogs: all rows are AWS's. Their number.

    Its format has one row of a type in a zone, with both prices: of several prices of ours there, the lowest.
    """
    base = home / SKY_CATALOGS
    number = 0
    for cloud in ("aws", "common"):
        (base / cloud).mkdir(parents=True)
    with (base / "aws/vms.csv").open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] = csv.DictWriter(file, _SKY_FIELDS)
        writer.writeheader()
        for prices in _by_place(catalog).values():
            number += 1
            writer.writerow(_sky_row(prices))
    (base / "aws/images.csv").write_text(
        "Tag,Region,OS,OSVersion,ImageId,CreationDate\n"
        + "".join(f"skypilot:gpu-ubuntu-2204,{r},ubuntu,22.04,ami-0,2026-01-01\n" for r in _regions(catalog))
    )
    (base / "aws/instance_quota_mapping.csv").write_text("InstanceType,SpotInstanceCode,OnDemandInstanceCode\n")
    (base / "common/accelerators.csv").write_text(
        "AcceleratorName,Clouds\n" + "".join(f"{name},AWS\n" for name in sorted({r.accelerator for r in rows(catalog)}))
    )
    return number


def _regions(catalog: Path) -> list[str]:
    return sorted({row.region for row in rows(catalog)})


def _by_place(catalog: Path) -> dict[tuple[str, str], dict[str, Row]]:
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows(catalog):
        prices = found.setdefault((row.instance, row.region), {})
        if row.market not in prices or row.price < prices[row.market].price:
            prices[row.market] = row
    return found


def _sky_row(prices: Mapping[str, Row]) -> dict[str, object]:
    row = next(iter(prices.values()))
    mib = int((row.accelerator_memory or 0) * 1024)
    gpu = f"{{'Name': '{row.accelerator}', 'Count': {row.accelerators}, 'MemoryInfo': {{'SizeInMiB': {mib}}}}}"
    return {
        "InstanceType": row.instance, "AcceleratorName": row.accelerator, "AcceleratorCount": row.accelerators,
        "vCPUs": row.vcpus, "MemoryGiB": row.memory,
        "GpuInfo": f"{{'Gpus': [{gpu}], 'TotalGpuMemoryInMiB': {mib * row.accelerators}}}",
        "Price": prices["on_demand"].price if "on_demand" in prices else "",
        "SpotPrice": prices["spot"].price if "spot" in prices else "",
        "Region": row.region, "AvailabilityZone": f"{row.region}a",
    }  # fmt: skip
