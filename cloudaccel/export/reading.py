"""From the text of a lock to a `Deployment`. A lock is an untrusted file: names are checked, prices are only shown."""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from cloudaccel import units
from cloudaccel.errors import QueryError
from cloudaccel.facts import places
from cloudaccel.model import Accelerator
from cloudaccel.model.deployment import Deployment, Site, lease_h, with_start_up

SCHEMA = "cloudaccel-lock/1"
DISK_GIB = 200  # root disk when the job names none: an image with drivers and room for one model; our choice
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/+ -]{0,127}$")]
Amount = Annotated[Decimal, Field(ge=0, lt=10**9)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Market(_Part):
    type: Name


class _Accelerator(_Part):
    id: Name
    count: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}(/[0-9]{1,6})?$")]


class _Price(_Part):
    price_per_hour: Amount | None = None
    currency: Name = "USD"


class _Option(_Part):
    offer_id: Name
    provider: Name
    partition: Name
    region: Name
    zone: Name | None = None
    country: Name | None = None
    instance: Name
    nodes: Annotated[int, Field(ge=1, le=100_000)]
    accelerator: _Accelerator
    market: _Market
    hours: Amount | None = None
    price: _Price = _Price()


class _Hours(_Part):
    likely: Amount | None = None
    high: Amount | None = None


class _Job(_Part):
    disk: Name | None = None


class _Request(_Part):
    job: _Job = _Job()


class _Lock(_Part):
    schema_: Annotated[str, Field(alias="schema")]
    catalog_id: Name
    chosen: _Option
    failover: Annotated[list[_Option], Field(max_length=1000)] = []
    hours: _Hours | None = None
    request: _Request = _Request()
    packs: Annotated[dict[Name, Name], Field(max_length=1000)] = {}


def deployment_of(
    data: Mapping[str, Any], accelerators: Mapping[str, Accelerator], *, lease_s: float | None = None
) -> Deployment:
    """What the lock `data` chose. `lease_s` overrules the lease that follows from its high estimate.

    Raises `QueryError` when it is no lock, chose nothing, or has a value that cannot be.
    """
    lock = _parsed(data)
    best = lock.chosen
    accelerator = accelerators.get(best.accelerator.id)
    if accelerator is None:
        raise QueryError(f"the lock names an unknown accelerator, {best.accelerator.id!r}. Plan again.")
    if "/" in best.accelerator.count:
        raise QueryError(
            f"{best.instance} has a share of an accelerator ({best.accelerator.count}): no engine takes that. "
            "Plan with --accel for whole ones."
        )
    key = f"{lock.catalog_id} {best.offer_id} {best.nodes}"
    return Deployment(
        name=f"cloudaccel-{hashlib.sha256(key.encode()).hexdigest()[:8]}",
        sites=tuple(dict.fromkeys(_site(option) for option in (best, *lock.failover) if _alike(option, best))),
        nodes=best.nodes,
        accelerator_id=accelerator.id,
        family=accelerator.family,
        vendor=accelerator.vendor,
        kind=accelerator.kind,
        memory_gib=accelerator.memory_gib,
        per_node=int(best.accelerator.count),
        lease_s=_lease_s(lock, lease_s),
        disk_gib=_disk_gib(lock),
        price_per_hour=best.price.price_per_hour,
        currency=best.price.currency,
        packs=tuple(sorted(lock.packs)),
    )


def _parsed(data: Mapping[str, Any]) -> _Lock:
    if data.get("schema") != SCHEMA:
        raise QueryError(f"this is no lock of schema {SCHEMA}. Make one with 'cloudaccel plan'.")
    if data.get("chosen") is None:
        raise QueryError("the plan chose nothing, so there is nothing to export.")
    if data.get("reservation") is not None:
        raise QueryError(
            "the plan is for machines of a reservation that you hold, which no export can name: what it starts would "
            "be paid again. Use 'cloudaccel provision up' with the lock, or plan without --reservation."
        )
    try:
        return _Lock.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise QueryError(f"the lock cannot be used: {where}: {first['msg']}. Make it again.") from error


def _alike(option: _Option, best: _Option) -> bool:
    """The same machines as the chosen ones: a file has one number of them."""
    return (option.accelerator, option.nodes) == (best.accelerator, best.nodes)


def _site(option: _Option) -> Site:
    zone = places.zone_name(option.provider, option.zone) if option.zone else None
    return Site(
        provider=option.provider, partition=option.partition, region=option.region, zone=zone,
        country=option.country, instance=option.instance, market=option.market.type.replace("-", "_"),
        priced_zone="" if zone else option.zone or "",
    )  # fmt: skip


def _lease_s(lock: _Lock, given: float | None) -> int | None:
    if given is not None:
        return int(given)
    if lock.hours is None or lock.hours.high is None:
        return None
    return int(lease_h(with_start_up(lock.hours.high, lock.hours.likely, lock.chosen.hours)) * 3600)


def _disk_gib(lock: _Lock) -> int:
    """The job's disk in GiB, rounded up, and at least the default."""
    if lock.request.job.disk is None:
        return DISK_GIB
    size, binary = units.parse_size(lock.request.job.disk, "disk")
    gib = size if binary else size * 10**9 / 2**30
    return max(DISK_GIB, -int(-gib // 1))
