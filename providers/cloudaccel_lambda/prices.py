"""Lambda's instance types: price in cents per hour of the machine, and the regions that have one free now.

The list needs an API key. A type with no free machine keeps its price: sold out is not unpriced.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from cloudaccel.errors import UnknownName
from cloudaccel.facts.listing import (
    Listed,
    Place,
    PriceList,
    Shape,
    Terms,
    amount,
    api_key,
    make_offer,
    malformed,
    mapping,
    sequence,
)
from cloudaccel.facts.names import resolve
from cloudaccel.model import Offer, Source
from cloudaccel.protocols import Scope

PROVIDER = "lambda"
OPERATION = "instance-types"
# As dstackai/gpuhunt@3584151 (2026-08-19) calls it; the endpoint itself was not called.
BASE_URL = "https://cloud.lambdalabs.com/api/v1/instance-types"
KEY = "LAMBDA_API_KEY"  # the environment variable
ANYWHERE = "global"
_SOURCE = Source(
    id="lambda-instance-types", name="Lambda instance types", path="api/v1/instance-types", revision="v1",
    licence="the seller's own API", url=BASE_URL,
)  # fmt: skip


class LambdaPrices(PriceList):
    """The list of instance types, which needs an API key (`KEY`)."""

    provider = PROVIDER
    operation = OPERATION
    sources = (BASE_URL,)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of `scope`; a type that is free nowhere is offered in region ``global``.

        Raises
        ------
        MalformedResponse
            If the answer has not the documented shape.
        """
        if scope.partition != PROVIDER:
            return
        page = self.page(headers={"Authorization": f"Bearer {api_key(PROVIDER, KEY)}"})
        for offer in offers_of_page(page, self._now()):
            if scope.region in (None, offer.region):
                yield offer


def offers_of_page(page: Mapping[str, object], now: datetime) -> Iterator[Offer]:
    """Offers of the types with accelerators. Raises `MalformedResponse`."""
    for name, value in _object(page.get("data"), "data").items():
        entry = _object(value, name)
        kind = _object(entry.get("instance_type"), "instance_type")
        specs = _object(kind.get("specs"), "specs")
        if specs.get("gpus") == 0:
            continue
        shape = _shape(name, kind, specs)
        listed = Listed(amount=_dollars(name, kind), currency="USD", observed_at=now, source=_SOURCE)
        for region in _regions(entry) or (ANYWHERE,):
            yield make_offer(Place(provider=PROVIDER, partition=PROVIDER, region=region), shape, Terms(), listed)


def _dollars(name: str, kind: Mapping[str, object]) -> Decimal | None:
    try:
        cents = amount(kind.get("price_cents_per_hour"))
    except ValueError as error:
        raise malformed(PROVIDER, OPERATION, f"{name[:60]}: {error}") from None
    return cents / 100 if cents else None


def _regions(entry: Mapping[str, object]) -> tuple[str, ...]:
    regions = sequence(
        entry.get("regions_with_capacity_available", []), provider=PROVIDER, operation=OPERATION, what="regions"
    )
    names = (_object(region, "a region").get("name") for region in regions)
    return tuple(name for name in names if isinstance(name, str) and name)


def _shape(name: str, kind: Mapping[str, object], specs: Mapping[str, object]) -> Shape:
    raw = kind.get("gpu_description")
    raw = raw if isinstance(raw, str) and raw else name
    gpus = specs.get("gpus")
    return Shape(
        instance=name,
        accelerator_id=_accelerator(raw),
        accelerator_name=raw[:80],
        count=Fraction(gpus) if isinstance(gpus, int) and 0 < gpus <= 64 else None,
        vcpus=_number(specs.get("vcpus")),
        memory_gib=_number(specs.get("memory_gib")),
    )


def _accelerator(raw: str) -> str | None:
    """The one row that the name means; None where it means several, or none."""
    # "H100 (80 GB SXM5)" → "H100 80GB SXM5"
    plain = re.sub(r"\((\d+) GB", r"\1GB", raw).rstrip(")")
    try:
        found = resolve(plain).accelerator_ids
    except UnknownName:
        return None
    return found[0] if len(found) == 1 else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | Decimal) and 0 < value < 1_000_000 else None


def _object(value: object, what: str) -> Mapping[str, object]:
    return mapping(value, provider=PROVIDER, operation=OPERATION, what=what[:60])


__all__ = ["BASE_URL", "LambdaPrices", "offers_of_page"]
