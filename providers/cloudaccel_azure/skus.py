"""Sizes as a subscription may use them, and the vCPU quotas that count them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

from cloudaccel.protocols import Quota, QuotaLine, Sold
from cloudaccel_azure.sdk import Sdk

Found = dict[str, Any]
_VCPUS = re.compile(r"^(Standard_[A-Z]+)\d+")
_SPOT = "lowPriorityCores"
_REGION = "cores"


class Skus:
    """Sizes of each region, read once."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        self._known: dict[str, list[Found]] = {}

    def all(self, region: str) -> list[Found]:
        """Every row of the region, disks and the like included."""
        if region not in self._known:
            self._known[region] = self._sdk.pages("compute.resource_skus.list", filter=f"location eq '{region}'")
        return self._known[region]

    def machines(self, region: str) -> list[Found]:
        """Rows of machine sizes."""
        return [sku for sku in self.all(region) if sku.get("resourceType") == "virtualMachines"]

    def of(self, instance_type: str, region: str) -> Found | None:
        """The row of a size that the subscription may use somewhere in the region; None: it may not."""
        for sku in self.machines(region):
            if sku.get("name") == instance_type:
                restrictions = cast("list[Found]", sku.get("restrictions") or [])
                return None if any(r.get("type") == "Location" for r in restrictions) else sku
        return None


class AzureQuotas:
    """vCPUs that a subscription may still start: of a family of sizes, and of the whole region."""

    def __init__(self, sdk: Sdk, skus: Skus) -> None:
        self._sdk = sdk
        self._skus = skus

    def family(self, instance_type: str) -> str:
        """``Standard_NC*as_T4_v3`` of ``Standard_NC4as_T4_v3``: sizes that differ in their vCPUs only."""
        return _VCPUS.sub(r"\1*", instance_type)

    def remaining(self, region: str, family: str, market: str) -> Quota | None:
        """The quota that has least left of those that count the family; None where Azure names none of them."""
        named = {self._family_of(sku) for sku in self._skus.machines(region) if self._is_of(sku, family)}
        wanted = {_SPOT.lower()} if market == "spot" else {*named, _REGION}
        found = [_quota(row) for row in self._sdk.pages("compute.usage.list", region)]
        counted = [quota for quota in found if quota.code.lower() in wanted]
        return min(counted, key=lambda quota: quota.remaining, default=None)

    def needed(self, instance_type: str, count: int, region: str) -> Decimal | None:
        """vCPUs of `count` machines; None: Azure does not say how many the size has."""
        each = capabilities(self._skus.of(instance_type, region) or {}).get("vCPUs")
        return Decimal(each) * count if each else None

    def lines(self, sold: Sold, *, ask: bool) -> Sequence[QuotaLine]:
        """The vCPUs of the family and of the region; of spot, those of all spot machines there."""
        family = self.family(sold.instance_type)
        spot = sold.market == "spot"
        codes = {_SPOT: "spot vCPUs"} if spot else {family: f"vCPUs of {family}", _REGION: "regional vCPUs"}
        found = [
            QuotaLine(name=name, code=code, unit="vCPU", region=sold.region, needed=sold.all_vcpus)
            for code, name in codes.items()
        ]
        if not ask:
            return found
        named = {self._family_of(sku) for sku in self._skus.machines(sold.region) if self._is_of(sku, family)}
        usages = {q.code.lower(): q for q in map(_quota, self._sdk.pages("compute.usage.list", sold.region))}
        rows = {family: next((usages[name] for name in sorted(named) if name in usages), None)}
        return [_with(line, rows.get(line.code) or usages.get(line.code.lower())) for line in found]

    def _is_of(self, sku: Found, family: str) -> bool:
        return self.family(str(sku.get("name", ""))) == family

    @staticmethod
    def _family_of(sku: Found) -> str:
        return str(sku.get("family", "")).lower()


def _with(line: QuotaLine, quota: Quota | None) -> QuotaLine:
    if quota is None:
        return replace(line, why="Azure does not say")
    return replace(line, name=f"{line.name} ({quota.code})", limit=quota.limit, used=quota.used)


def capabilities(sku: Mapping[str, Any]) -> dict[str, str]:
    """What Azure says of a size, by name: ``vCPUs``, ``RdmaEnabled``, …"""
    listed = cast("list[Found]", sku.get("capabilities") or [])
    return {str(pair.get("name")): str(pair.get("value")) for pair in listed}


def _quota(row: Found) -> Quota:
    name = cast(Found, row.get("name") or {})
    code = str(name.get("value", ""))
    limit, used = (Decimal(str(row.get(key) or 0)) for key in ("limit", "currentValue"))
    return Quota(name=str(name.get("localizedValue") or code), code=code, limit=limit, used=used, unit="vCPU")
