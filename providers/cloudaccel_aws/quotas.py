"""Service Quotas: vCPUs by family and market, and what runs already counts against them."""

import csv
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from cloudaccel.protocols import Quota, QuotaLine, Sold
from cloudaccel_aws.sdk import Sdk

_KEEP_S = 300  # Service Quotas throttles early, and a quota changes over days


@cache
def table() -> dict[tuple[str, str], dict[str, str]]:
    """Rows of quotas.csv by market and family prefix."""
    text = files("cloudaccel_aws").joinpath("quotas.csv").read_text(encoding="utf-8")
    return {(row["market"], row["prefix"]): row for row in csv.DictReader(text.splitlines())}


def family(instance_type: str) -> str:
    """The letters that a type begins with: p for p5.48xlarge, trn for trn1.32xlarge."""
    found = re.match(r"[a-z]+?(?=\d|-|\.)", instance_type)
    return found.group() if found else instance_type


class AwsQuotas:
    """Quotas of the account."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        self._limits: dict[tuple[str, str], tuple[float, Decimal]] = {}
        self._vcpus: dict[str, Decimal] = {}
        self._lock = threading.Lock()

    def family(self, instance_type: str) -> str:
        """The group of types that share one quota. Asks nobody."""
        return family(instance_type)

    def remaining(self, region: str, family: str, market: str) -> Quota | None:
        """What is left of the quota of `family` there; None: there is none such."""
        row = table().get((market, family))
        if row is None:
            return None
        limit = self._limit(region, row["code"])
        used = self._used(region, row["code"], market)
        return Quota(name=row["name"], code=row["code"], limit=limit, used=used, unit=row["unit"])

    def needed(self, instance_type: str, count: int, region: str) -> Decimal | None:
        """vCPUs of `count` machines."""
        with self._lock:
            known = self._vcpus.get(instance_type)
        if known is None:
            answer = self._sdk.call("ec2", region, "DescribeInstanceTypes", InstanceTypes=[instance_type])
            described: list[dict[str, Any]] = answer.get("InstanceTypes") or [{}]
            vcpus = described[0].get("VCpuInfo", {}).get("DefaultVCpus")
            if vcpus is None:
                return None
            known = Decimal(vcpus)
            with self._lock:
                self._vcpus[instance_type] = known
        return known * count

    def lines(self, sold: Sold, *, ask: bool) -> Sequence[QuotaLine]:
        """The one quota of the family in the region, in vCPUs."""
        row = table().get((sold.market, family(sold.instance_type)))
        if row is None:
            named = f"the quota of {family(sold.instance_type)} as {sold.market.replace('_', '-')}"
            return (QuotaLine(name=named, code="", unit="vCPU", region=sold.region, why="its code is not known here"),)
        line = QuotaLine(
            name=row["name"], code=row["code"], unit=row["unit"], region=sold.region, needed=sold.all_vcpus
        )
        if not ask:
            return (line,)
        limit = self._limit(sold.region, row["code"])
        return (replace(line, limit=limit, used=self._used(sold.region, row["code"], sold.market)),)

    def _limit(self, region: str, code: str) -> Decimal:
        with self._lock:
            kept = self._limits.get((region, code))
        if kept is not None and time.monotonic() - kept[0] < _KEEP_S:
            return kept[1]
        answer = self._sdk.call("service-quotas", region, "GetServiceQuota", ServiceCode="ec2", QuotaCode=code)
        limit = Decimal(str(answer["Quota"]["Value"]))
        with self._lock:
            self._limits[region, code] = (time.monotonic(), limit)
        return limit

    def _used(self, region: str, code: str, market: str) -> Decimal:
        states = {"Name": "instance-state-name", "Values": ["pending", "running"]}
        used = Decimal(0)
        for reservation in self._sdk.pages("ec2", region, "DescribeInstances", "Reservations", Filters=[states]):
            for machine in reservation.get("Instances", ()):
                row = table().get((market, family(machine["InstanceType"])))
                if row is not None and row["code"] == code and _market(machine) == market:
                    used += self.needed(machine["InstanceType"], 1, region) or 0
        return used


def _market(machine: dict[str, Any]) -> str:
    return {"spot": "spot", "capacity-block": "capacity_block"}.get(machine.get("InstanceLifecycle", ""), "on_demand")
