"""What Compute Engine tells a project: in which zones a machine type is offered, and which types are new.

Read only when the environment variable `WANTED` is set; google-cloud-compute is imported then. A price is no proof that
a machine is sold in a region: the catalog has prices of A2 in regions that never had one.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from cloudaccel.facts.listing import Listed, Place, Shape, Terms, make_offer, one_accelerator
from cloudaccel.model import Availability, Offer, Source
from cloudaccel_gcp.sdk import Sdk, rows

WANTED = "CLOUDACCEL_GCP_ACCOUNT_PRICES"
# Names of the series that come with accelerators: A2 … A4X, G2, G4, and of TPUs ct5lp … tpu7x.
_FILTER = 'name eq "(a|g|ct|tpu)[0-9].*"'
_TPU = ("ct", "tpu")  # their price is the chips', which the catalog has
_SOURCE = Source(
    id="gcp-machine-types", name="Compute Engine machine types", path="machineTypes.aggregatedList", revision="v1",
    licence="the seller's own API", url=None,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offered:
    """Machine types by region, as the project sees them. `asked`: regions all of whose zones answered."""

    regions: Mapping[str, Mapping[str, Shape]]
    asked: frozenset[str]
    now: datetime

    def seen(self, offer: Offer) -> Offer:
        """`offer` with what is known of its machine type there; what is no machine of a type, as it is."""
        if offer.service != "vm" or offer.sold_per != "instance" or offer.availability.state == "not_sold":
            return offer
        if offer.instance in self.regions.get(offer.region, {}):
            return replace(offer, availability=Availability("offered", self.now.date().isoformat()))
        if offer.region not in self.asked or not offer.vcpus or "+" in offer.instance:
            return offer  # a zone that did not answer may have it; a slice, and a host with cards, is no machine type
        return replace(offer, availability=Availability("not_seen"), apart=(*offer.apart, "not_seen"))

    def unpriced(self, priced: Collection[tuple[str, str]], region: str | None) -> Iterator[Offer]:
        """Types with accelerators of which no price is known in a region (none of `priced`, region and type)."""
        for place, types in sorted(self.regions.items()):
            for name, shape in sorted(types.items()):
                if (place, name) in priced or name.startswith(_TPU) or region not in (None, place):
                    continue
                where = Place(provider="gcp", partition="gcp", region=place)
                note = "Compute Engine offers it, the catalog has no price that this version can put together"
                listed = Listed(amount=None, currency="USD", observed_at=self.now, source=_SOURCE, note=note)
                yield self.seen(make_offer(where, shape, Terms(), listed))


def ask(sdk: Sdk, now: datetime) -> Offered:
    """Every machine type with accelerators that the project sees. Raises `ProviderError`.

    A zone that cannot answer leaves its region unasked, and no other.
    """
    found = sdk.by_zone(
        "MachineTypes", "aggregated_list", project=sdk.project, filter=_FILTER
    )  # fmt: skip
    regions: dict[str, dict[str, Shape]] = {}
    silent: set[str] = set()
    for zone, answers in found.items():
        region = zone.rpartition("-")[0]
        types = regions.setdefault(region, {})
        for answer in answers:
            if _failed(answer):
                silent.add(region)
            for machine in rows(answer.get("machine_types")):
                if shape := shape_of(machine):
                    types[shape.instance] = shape
    return Offered(regions, frozenset(regions.keys() - silent), now)


def wanted() -> bool:
    """Whether somebody wants a project to be asked."""
    return bool(os.environ.get(WANTED, "").strip())


def _failed(answer: Mapping[str, Any]) -> bool:
    """Whether a zone says that it could not answer; that it has none is an answer."""
    return answer.get("warning", {}).get("code", "NO_RESULTS_ON_PAGE") != "NO_RESULTS_ON_PAGE"


def shape_of(machine: Mapping[str, Any]) -> Shape | None:
    """What a type holds; None without accelerators, and for one that Google is about to withdraw."""
    held = rows(machine.get("accelerators"))
    state = machine.get("deprecated", {}).get("state", "")
    if not held or state in ("OBSOLETE", "DELETED"):
        return None
    kinds = {str(one.get("guest_accelerator_type", "")) for one in held}
    name = kinds.pop() if len(kinds) == 1 else "several"
    count = sum(int(one.get("guest_accelerator_count", 0)) for one in held)
    return Shape(
        instance=str(machine["name"]), accelerator_id=one_accelerator(name), accelerator_name=name,
        count=Fraction(count) if count and name != "several" else None,
        vcpus=float(machine.get("guest_cpus", 0)) or None, memory_gib=int(machine.get("memory_mb", 0)) / 1024 or None,
    )  # fmt: skip


__all__ = ["WANTED", "Offered", "ask", "shape_of", "wanted"]
