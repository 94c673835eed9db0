"""What EC2 itself says of its types: in which zones of a region each is offered, and what a new one holds.

Only an account is told. A price is no proof that a type is sold there, and a type without a price may well be.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.listing import Listed, Place, Shape, Terms, make_offer, one_accelerator
from cloudaccel.model import Availability, Offer, Source, identified
from cloudaccel_aws.pricefile import ACCELERATED_TYPE, PROVIDER, instances, partition_of, unknown_shape
from cloudaccel_aws.sdk import Sdk

_ACCELERATED = re.compile(ACCELERATED_TYPE)
_MOST_NAMES = 200  # values of one filter (EC2 API reference: Filter, read 2026-07)
# A share is of at most so many parts (today's smallest is an eighth): floats become the fraction that they mean.
_MOST_PARTS = 64
_MEBI_IN_GB = 1024**2 / 1e9  # EC2 states decimal gigabytes of some models as MiB: 24 GB of an L4 as 22,888
_SOURCE = Source(
    id="aws-ec2-offerings", name="EC2 instance type offerings", path="DescribeInstanceTypeOfferings", revision=None,
    licence="the seller's own API", url=None,
)  # fmt: skip

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Offered:
    """Zone ids by type of one region, and what types hold that no table of ours has."""

    region: str
    zones: Mapping[str, frozenset[str]]
    described: Mapping[str, Shape]
    now: datetime

    @property
    def types(self) -> frozenset[str]:
        """Names of the types that are offered and are called as those with accelerators are."""
        return frozenset(name for name in self.zones if _ACCELERATED.match(name))

    def seen(self, offer: Offer) -> Offer:
        """`offer` with what EC2 says of its type and place; one of another service, or of a local zone, as it is."""
        if offer.service not in ("vm", "bare-metal"):
            return offer
        if offer.accelerator_id is None and (shape := self.described.get(offer.instance)):
            offer = _with_shape(offer, shape)
        zones = self.zones.get(offer.instance, frozenset())
        if offer.zone is None:
            sold = bool(zones)
        elif any(offer.zone in others for others in self.zones.values()):
            sold = offer.zone in zones
        else:
            return offer  # zones that the account has not switched on are in no answer
        if sold:
            return replace(offer, availability=Availability("offered", self.now.date().isoformat()))
        return replace(offer, availability=Availability("not_seen"), apart=(*offer.apart, "not_seen"))

    def unpriced(self, priced: Iterable[str]) -> Iterator[Offer]:
        """Types with accelerators that the region offers and that none of `priced` is, without a price."""
        place = Place(provider=PROVIDER, partition=partition_of(self.region), region=self.region)
        listed = Listed(
            amount=None, currency="USD", observed_at=self.now, source=_SOURCE,
            note="EC2 offers it, the price list has no price of it",
        )  # fmt: skip
        for instance in sorted(self.types - set(priced)):
            shape = instances().get(instance) or self.described.get(instance)
            if shape:
                yield self.seen(make_offer(place, shape, Terms(), listed))


def ask(sdk: Sdk, region: str, types: Iterable[str], now: datetime) -> Offered:
    """What `region` offers, and what those types, and `types`, hold where no table has them. Raises `ProviderError`."""
    rows = sdk.pages(
        "ec2", region, "DescribeInstanceTypeOfferings", "InstanceTypeOfferings", LocationType="availability-zone-id"
    )
    zones: dict[str, set[str]] = {}
    for row in rows:  # each page adds zones; none replaces what another said
        zones.setdefault(str(row["InstanceType"]), set()).add(str(row["Location"]))
    new = sorted({*types, *(name for name in zones if _ACCELERATED.match(name))} - instances().keys())
    described: dict[str, Shape] = {}
    for start in range(0, len(new), _MOST_NAMES):
        names = {"Name": "instance-type", "Values": new[start : start + _MOST_NAMES]}
        for answer in sdk.pages("ec2", region, "DescribeInstanceTypes", "InstanceTypes", Filters=[names]):
            if shape := shape_of(answer):
                described[shape.instance] = shape
    return Offered(region, {name: frozenset(found) for name, found in zones.items()}, described, now)


def shape_of(answer: Answer) -> Shape | None:
    """What a type holds, as ``DescribeInstanceTypes`` says it; None without accelerators.

    Of Neuron machines the devices are counted, not their cores. The memory is the model's, since EC2 states some wrong
    (a Trainium2 with 512 GiB); without a model it is what EC2 states.
    """
    devices = _devices(answer)
    if not devices:
        return None
    name = str(devices[0].get("Name") or "")
    mib = devices[0].get("MemoryInfo", {}).get("SizeInMiB")
    counts = [_count(device) for device in devices]
    one_kind = len({str(device.get("Name")) for device in devices}) == 1
    count = sum(counts, Fraction(0)) if one_kind else Fraction(0)
    plain = unknown_shape(
        str(answer["InstanceType"]), vcpus=str(answer.get("VCpuInfo", {}).get("DefaultVCpus") or ""),
        memory=str(answer.get("MemoryInfo", {}).get("SizeInMiB", 0) / 1024), metal=bool(answer.get("BareMetal")),
    )  # fmt: skip
    model = one_accelerator(name, mib * _MEBI_IN_GB if mib and count >= 1 else None) if one_kind else None
    nominal = by_id(model).memory_gib if model else None
    stated = round(mib / 1024, 2) if mib else None
    return replace(
        plain, accelerator_id=model, accelerator_name=name or plain.accelerator_name, count=count or None,
        accelerator_memory_gib=nominal * float(min(count, 1)) if nominal and count else stated,
    )  # fmt: skip


def _devices(answer: Answer) -> list[Answer]:
    """Its accelerators. Inferentia is listed twice, as a Neuron device and as an inference accelerator."""
    for info, key in (
        ("GpuInfo", "Gpus"), ("NeuronInfo", "NeuronDevices"), ("InferenceAcceleratorInfo", "Accelerators"),
        ("MediaAcceleratorInfo", "Accelerators"),
    ):  # fmt: skip
        if found := answer.get(info, {}).get(key):
            return found
    return []


def _count(device: Answer) -> Fraction:
    """How many; of a share, the part that it is: EC2 says ``Count`` 0 (or 1) there, and the part apart."""
    logical, part = device.get("LogicalGpuCount"), device.get("GpuPartitionSize")
    if logical and part:
        return int(logical) * Fraction(part).limit_denominator(_MOST_PARTS)
    return Fraction(int(device.get("Count") or 0))


def _with_shape(offer: Offer, shape: Shape) -> Offer:
    apart = tuple(code for code in offer.apart if code != "unknown_count" or not shape.count)
    return identified(
        replace(
            offer, accelerator_id=shape.accelerator_id, accelerator_name=shape.accelerator_name, count=shape.count,
            accelerator_memory_gib=shape.accelerator_memory_gib, vcpus=shape.vcpus or offer.vcpus,
            memory_gib=shape.memory_gib or offer.memory_gib, apart=apart,
        )
    )  # fmt: skip


__all__ = ["Offered", "ask", "shape_of"]
