"""Regional GPU quotas of Compute Engine."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from cloudaccel.protocols import Quota, QuotaLine, Sold
from cloudaccel_gcp.sdk import Sdk, rows

# GPUs of g2-standard-N by its vCPUs (Compute Engine: G2 machine types, read 2026-07-30); the others say it in the name.
_G2 = {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}

_ALL_REGIONS = "GPUS_ALL_REGIONS"  # the project's second quota, over all families (Compute Engine: GPU quota)

# What Google may end counts apart, as preemptible. Of flex-start only Vertex AI says so
# (docs.cloud.google.com/vertex-ai/docs/predictions/use-flex-start-vms, stored copy read 2026-11-27).
_APART = ("spot", "flex_start")


@cache
def table() -> dict[str, dict[str, str]]:
    """Rows of quotas.csv by the beginning of the type's name."""
    text = files("cloudaccel_gcp").joinpath("data/quotas.csv").read_text(encoding="utf-8")
    return {row["prefix"]: row for row in csv.DictReader(text.splitlines())}


class GcpQuotas:
    """GPUs that the project may still start in a region."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    def family(self, instance_type: str) -> str:
        """``a3-highgpu`` of ``a3-highgpu-8g``."""
        return instance_type.rpartition("-")[0] or instance_type

    def remaining(self, region: str, family: str, market: str) -> Quota | None:
        """Of the family's quota in the region and that of all GPUs everywhere, what has least left; None: not said."""
        row = table().get(family)
        if row is None or not row["metric"]:
            return None
        apart = market in _APART
        metric = f"PREEMPTIBLE_{row['metric']}" if apart else row["metric"]
        project = self._sdk.project
        there = self._sdk.call("Regions", "get", project=project, region=region)
        counted = _named(there, metric, row["unit"])
        if not apart:
            everywhere = self._sdk.call("Projects", "get", project=project)
            counted += _named(everywhere, _ALL_REGIONS, row["unit"])
        return min(counted, key=lambda quota: quota.remaining, default=None)

    def needed(self, instance_type: str, count: int, region: str) -> Decimal | None:
        """GPUs of `count` machines, by the type's name."""
        gpus = accelerators(instance_type)
        return None if gpus is None or not region else Decimal(gpus * count)

    def lines(self, sold: Sold, *, ask: bool) -> Sequence[QuotaLine]:
        """The family's quota in the region, and that of all GPUs everywhere, which spot does not count against."""
        row = table().get(self.family(sold.instance_type))
        gpus = sold.all_accelerators
        if row is None:
            named = f"the quota of {self.family(sold.instance_type)}"
            return (QuotaLine(name=named, code="", unit="", region=sold.region, why="its name is not known here"),)
        apart = sold.market in _APART
        metric = f"PREEMPTIBLE_{row['metric']}" if apart and row["metric"] else row["metric"]
        why = "" if metric else "Cloud Quotas has it, which is not read here"
        code = metric or row["quota"]
        found = [QuotaLine(name=code, code=code, unit=row["unit"], region=sold.region, needed=gpus, why=why)]
        if not apart:
            found.append(QuotaLine(name=_ALL_REGIONS, code=_ALL_REGIONS, unit=row["unit"], region="", needed=gpus))
        if not ask:
            return found
        project = self._sdk.project
        there = self._sdk.call("Regions", "get", project=project, region=sold.region)
        everywhere = {} if apart else self._sdk.call("Projects", "get", project=project)
        known = {q.code: q for q in (*_named(there, metric, ""), *_named(everywhere, _ALL_REGIONS, ""))}
        return [_with(line, known.get(line.code)) for line in found]


def _with(line: QuotaLine, quota: Quota | None) -> QuotaLine:
    if quota is None:
        return line if line.why else replace(line, why="Google does not say")
    return replace(line, limit=quota.limit, used=quota.used)


def _named(found: dict[str, Any], metric: str, unit: str) -> list[Quota]:
    """The quotas of that name in a region or project."""
    return [
        Quota(
            name=metric, code=metric, unit=unit,
            limit=Decimal(str(quota.get("limit", 0))), used=Decimal(str(quota.get("usage", 0))),
        )
        for quota in rows(found.get("quotas"))
        if quota.get("metric") == metric
    ]  # fmt: skip


def accelerators(instance_type: str) -> int | None:
    """GPUs of one machine, as its type's name says; None: it does not."""
    family, _, last = instance_type.rpartition("-")
    if family == "g2-standard" and last.isdecimal():
        return _G2.get(int(last))
    return int(last[:-1]) if last.endswith("g") and last[:-1].isdecimal() else None
