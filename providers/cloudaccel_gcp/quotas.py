"""Regional GPU quotas of Compute Engine."""

import csv
from decimal import Decimal
from functools import cache
from importlib.resources import files

from cloudaccel.protocols import Quota
from cloudaccel_gcp.sdk import Sdk, rows

# GPUs of g2-standard-N by its vCPUs (Compute Engine: G2 machine types, read 2026-07-30); the others say it in the name.
_G2 = {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}


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
        """What regions.get says of the family's GPUs; None where it has no such quota."""
        row = table().get(family)
        if row is None:
            return None
        metric = f"PREEMPTIBLE_{row['metric']}" if market == "spot" else row["metric"]
        found = self._sdk.call("Regions", "get", project=self._sdk.project, region=region)
        for quota in rows(found.get("quotas")):
            if quota.get("metric") == metric:
                limit, used = (Decimal(str(quota.get(key, 0))) for key in ("limit", "usage"))
                return Quota(name=metric, code=metric, limit=limit, used=used, unit=row["unit"])
        return None

    def needed(self, instance_type: str, count: int, region: str) -> Decimal | None:
        """GPUs of `count` machines, by the type's name."""
        gpus = accelerators(instance_type)
        return None if gpus is None or not region else Decimal(gpus * count)


def accelerators(instance_type: str) -> int | None:
    """GPUs of one machine, as its type's name says; None: it does not."""
    family, _, last = instance_type.rpartition("-")
    if family == "g2-standard" and last.isdigit():
        return _G2.get(int(last))
    return int(last[:-1]) if last.endswith("g") and last[:-1].isdigit() else None
