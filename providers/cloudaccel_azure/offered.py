"""What Azure tells a subscription of its sizes: where it may start them, and how many accelerators a size has.

Read only when the environment variable `WANTED` is set, for the subscription of ``AZURE_SUBSCRIPTION_ID``; the SDK is
imported then. A price is no proof that a size may be started: many regions list sizes that no new subscription gets.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from typing import Any, Protocol

from cloudaccel.facts.accelerators import by_id
from cloudaccel.model import Availability, Offer
from cloudaccel_azure.sdk import Sdk
from cloudaccel_azure.skus import Skus, capabilities

WANTED = "CLOUDACCEL_AZURE_ACCOUNT_PRICES"
_PARTITION = "azure-public"  # the only one whose endpoints the SDK is pointed at


class Machines(Protocol):
    """What tells of a region's sizes."""

    def machines(self, region: str) -> list[dict[str, Any]]:
        """Rows of machine sizes."""
        ...


class Subscription:
    """Sizes as one subscription may use them; each region is asked once."""

    def __init__(self, skus: Machines) -> None:
        self._skus = skus
        self._sizes: dict[str, Mapping[str, Mapping[str, Any]]] = {}

    def seen(self, offer: Offer, now: datetime) -> Offer:
        """`offer` with what Azure says of its size in its region. Raises `ProviderError`."""
        sku = self._in(offer.region).get(offer.instance.lower())
        if sku is None or _is_withheld(sku):
            return replace(offer, availability=Availability("not_seen"), apart=(*offer.apart, "not_seen"))
        return replace(
            _counted(offer, capabilities(dict(sku))), availability=Availability("offered", f"{now:%Y-%m-%d}")
        )

    def _in(self, region: str) -> Mapping[str, Mapping[str, Any]]:
        if region not in self._sizes:
            self._sizes[region] = {str(sku.get("name", "")).lower(): sku for sku in self._skus.machines(region)}
        return self._sizes[region]


def of(partition: str) -> Subscription | None:
    """The subscription to ask; None: nobody wants one asked, or it has no right in `partition`."""
    if partition != _PARTITION or not os.environ.get(WANTED, "").strip():
        return None
    return Subscription(Skus(Sdk()))


def _is_withheld(sku: Mapping[str, Any]) -> bool:
    """Whether the subscription may not start it anywhere in the region."""
    return any(restriction.get("type") == "Location" for restriction in sku.get("restrictions") or ())


def _counted(offer: Offer, said: Mapping[str, str]) -> Offer:
    """Count, vCPUs and memory from what Azure says, where the table has none.

    A count of 1 is not taken: Azure says 1 of a sixth of an A10 too. Of sizes with fewer vCPUs for the same machine
    (``E64-16s``) those that are there count.
    """
    vcpus, memory = _number(said.get("vCPUsAvailable") or said.get("vCPUs")), _number(said.get("MemoryGB"))
    offer = replace(offer, vcpus=offer.vcpus or vcpus, memory_gib=offer.memory_gib or memory)
    gpus = said.get("GPUs", "")
    if offer.count or not gpus.isdecimal() or int(gpus) < 2:
        return offer
    known = by_id(offer.accelerator_id).memory_gib if offer.accelerator_id else None
    return replace(
        offer, count=Fraction(int(gpus)), hosts=1, accelerator_memory_gib=offer.accelerator_memory_gib or known,
        apart=tuple(code for code in offer.apart if code != "unknown_count"),
    )  # fmt: skip


def _number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if 0 < found < 1_000_000 else None


__all__ = ["WANTED", "Subscription", "of"]
