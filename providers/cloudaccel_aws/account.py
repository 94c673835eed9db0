"""What only an account is told: spot prices of each zone, and what a Capacity Block of a day costs.

Read only when the environment variable `HOME` names a region whose endpoint the credentials may ask; boto3 is imported
then. Zones are told by their id, since their names differ between accounts.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from cloudaccel.errors import ConfigError, RequestInvalid
from cloudaccel.facts.listing import NANO_UNIT, Listed, Place, Shape, Terms, amount, make_offer, malformed
from cloudaccel.model import Offer, Source
from cloudaccel_aws.pricefile import PROVIDER, REGION, instances, partition_of, unknown_shape
from cloudaccel_aws.sdk import Sdk

HOME = "CLOUDACCEL_AWS_ACCOUNT_PRICES"
ATTEMPTS = 5  # calls that only read are repeated by boto3, with its own waits
BLOCK_HOURS = 24  # the shortest block; longer ones cost other fees
# Accounts of before 2013 see one description, later ones the other, and some see both.
_LINUX = ("Linux/UNIX", "Linux/UNIX (Amazon VPC)")
_SPOT = Source(
    id="aws-spot-history", name="EC2 spot price history", path="DescribeSpotPriceHistory", revision=None,
    licence="the seller's own API", url=None,
)  # fmt: skip
_BLOCKS = Source(
    id="aws-capacity-blocks", name="EC2 Capacity Block offerings", path="DescribeCapacityBlockOfferings",
    revision=None, licence="the seller's own API", url=None,
)  # fmt: skip

Answer = Mapping[str, Any]


def home() -> str | None:
    """The region to ask first, or None: nobody wants an account to be asked. Raises `ConfigError`."""
    named = os.environ.get(HOME, "").strip()
    if named and not REGION.fullmatch(named):
        raise ConfigError(
            f"{HOME}: {named[:40]!r} is no region of AWS. Name one that your credentials may ask: us-east-1."
        )
    return named or None


def is_asked(sdk: Sdk, region: str) -> bool:
    """Whether the account may be asked about `region`: somebody wants it, and the account uses the region."""
    first = home()
    return first is not None and region in _regions(sdk, first)


def offers(sdk: Sdk, region: str, types: Iterable[str], blocks: Iterable[str], now: datetime) -> Iterator[Offer]:
    """Offers of `region`: spot of `types`, and blocks of those that the price list has as Capacity Blocks.

    Ask `is_asked` before. Raises `ProviderError`.
    """
    ids = _zone_ids(sdk, region)
    yield from _spot(sdk, region, sorted(types), ids, now)
    for instance in sorted(blocks):
        yield from _blocks(sdk, region, instance, ids, now)


def _regions(sdk: Sdk, first: str) -> frozenset[str]:
    found = sdk.pages("ec2", first, "DescribeRegions", "Regions")  # the ones that the account has switched on
    return frozenset(str(entry["RegionName"]) for entry in found)


def _zone_ids(sdk: Sdk, region: str) -> Mapping[str, str]:
    found = sdk.pages("ec2", region, "DescribeAvailabilityZones", "AvailabilityZones")
    return {str(entry["ZoneName"]): str(entry["ZoneId"]) for entry in found}


def _spot(sdk: Sdk, region: str, types: list[str], ids: Mapping[str, str], now: datetime) -> Iterator[Offer]:
    if not types:
        return
    rows = sdk.pages(
        "ec2", region, "DescribeSpotPriceHistory", "SpotPriceHistory",
        InstanceTypes=types, ProductDescriptions=list(_LINUX), StartTime=now,
    )  # fmt: skip
    newest: dict[tuple[str, str], Answer] = {}
    for row in rows:  # the pages hold zones in any order: each adds, none replaces what another said
        key = (str(row["InstanceType"]), _zone(row, ids))
        known = newest.get(key)
        if known is None or _age(row) > _age(known):
            newest[key] = row
    for (instance, zone), row in sorted(newest.items()):
        listed = Listed(
            amount=_money(row.get("SpotPrice"), instance), currency="USD", observed_at=now, source=_SPOT,
            effective_at=row["Timestamp"].date().isoformat(),
        )  # fmt: skip
        yield make_offer(_place(region, zone), _shape(instance), Terms(market="spot"), listed)


def _age(row: Answer) -> tuple[datetime, bool]:
    return row["Timestamp"], row.get("ProductDescription") == _LINUX[0]


def _blocks(sdk: Sdk, region: str, instance: str, ids: Mapping[str, str], now: datetime) -> Iterator[Offer]:
    """The cheapest block of a day in each zone; its price is the fee spread over its hours."""
    try:
        found = sdk.pages(
            "ec2", region, "DescribeCapacityBlockOfferings", "CapacityBlockOfferings",
            InstanceType=instance, InstanceCount=1, CapacityDurationHours=BLOCK_HOURS,
        )  # fmt: skip
    except RequestInvalid:
        return  # there are no blocks of this type there
    cheapest: dict[tuple[str, str], tuple[Decimal, Answer]] = {}
    for part in (part for offering in found for part in _parts(offering)):
        key = (str(part.get("InstanceType") or instance), _zone(part, ids))
        rate = _rate(part, instance)
        if rate is not None and (key not in cheapest or rate < cheapest[key][0]):
            cheapest[key] = (rate, part)
    for (kind, zone), (rate, part) in sorted(cheapest.items(), key=lambda pair: pair[0]):
        listed = Listed(
            amount=rate, currency=str(part.get("CurrencyCode") or "USD"), observed_at=now, source=_BLOCKS,
            note=f"{_hours(part):f} h from {part['StartDate']:%Y-%m-%d %H:%M} UTC, the cheapest of a day there",
        )  # fmt: skip
        offer = make_offer(_place(region, zone), _shape(kind), Terms(market="capacity_block"), listed)
        yield replace(offer, price=replace(offer.price, upfront=_fee(part, instance)))


def _parts(offering: Answer) -> Iterator[Answer]:
    """The block, or its segments: they may stand in several zones, be of several types, and have a fee each."""
    segments: list[Answer] = offering.get("CapacityBlockOfferingSegments") or []
    yield from segments if len(segments) > 1 else [offering]


def _rate(part: Answer, instance: str) -> Decimal | None:
    fee, hours = _fee(part, instance), _hours(part)
    return (fee / hours).quantize(NANO_UNIT) if fee and hours else None


def _fee(part: Answer, instance: str) -> Decimal | None:
    """The fee for one machine; the list has it for all."""
    total = _money(part.get("UpfrontFee"), instance)
    return total / int(part.get("InstanceCount") or 1) if total else None


def _hours(part: Answer) -> Decimal:
    """Whole hours and, apart, minutes."""
    return (
        int(part.get("CapacityBlockDurationHours") or 0)
        + Decimal(int(part.get("CapacityBlockDurationMinutes") or 0)) / 60
    )


def _zone(row: Answer, ids: Mapping[str, str]) -> str:
    name = str(row.get("AvailabilityZone") or "")
    return str(row.get("AvailabilityZoneId") or "") or ids.get(name, name)


def _money(value: object, instance: str) -> Decimal | None:
    try:
        return amount(value)
    except ValueError as error:
        raise malformed(PROVIDER, "spot and block prices", f"{instance[:60]}: {error}") from None


def _place(region: str, zone: str) -> Place:
    return Place(provider=PROVIDER, partition=partition_of(region), region=region, zone=zone or None)


def _shape(instance: str) -> Shape:
    return instances().get(instance) or unknown_shape(instance)


__all__ = ["ATTEMPTS", "HOME", "home", "offers"]
