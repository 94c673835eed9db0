"""Amazon SageMaker: the machines of EC2 rented through a service, each at a price for what it is used for.

What an hour is for stands in the usage type alone (``USE1-Host:ml.g6e.2xlarge``): the list's columns for hardware are
empty or say other things for the same type from use to use, so a type holds what the EC2 type of that name holds.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from cloudaccel.facts.listing import Shape, Terms
from cloudaccel.model import Offer, Source
from cloudaccel.protocols import Scope, Web
from cloudaccel_aws.pricefile import (
    ACCELERATED_TYPE,
    Key,
    OfferFile,
    Rates,
    Row,
    currency_of,
    index_of,
    instances,
    place_in,
    price_of,
    region_files,
    unknown_shape,
)
from cloudaccel_aws.sieve import Sieve

SERVICE = "AmazonSageMaker"
# Uses that a job or an endpoint has (usage types in price lists of 2026-09: Host, AsyncInf, Train, Cluster). Notebooks,
# Studio and processing are no place to train or serve; ServerlessTraining and ReservedCluster are sold otherwise.
_SERVICES = {
    "Host": "sagemaker-hosting",
    "AsyncInf": "sagemaker-async-inference",
    "Train": "sagemaker-training",
    "Cluster": "sagemaker-hyperpod",
}
_USAGE = re.compile(rf"(?:[A-Z0-9]+-)?({'|'.join(_SERVICES)}):ml\.({ACCELERATED_TYPE}[a-z0-9-]*\.[a-z0-9-]+)")
_SIEVE = Sieve(re.compile(rf":ml\.{ACCELERATED_TYPE}".encode()))
# Columns that every service's file has (a list of 2026-01); what SageMaker adds to them is not needed.
_COLUMNS = {
    "sku": "SKU", "offer": "OfferTermCode", "kind": "TermType", "effective": "EffectiveDate", "unit": "Unit",
    "price": "PricePerUnit", "currency": "Currency", "instance": "usageType", "region": "Region Code",
    "located": "Location Type",
}  # fmt: skip
_SOURCE = Source(
    id="aws-price-list-sagemaker", name="AWS price list (SageMaker)", path=SERVICE, revision=None,
    licence="public price list", url="https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws",
)  # fmt: skip


def offers(web: Web, home: str, scope: Scope, now: datetime) -> Iterator[Offer]:
    """Offers of SageMaker in `scope`; none where the lists below `home` have no SageMaker. Raises `ProviderError`."""
    index = index_of(web, home, SERVICE)
    if index is None:
        return
    rates = Rates(now, _SOURCE)
    for code, path in region_files(web, home, index).items():
        if place_in(code, scope):
            _read(web, f"{home}/{path}", scope, rates)
    yield from rates.offers(scope)


def shape_of(usage: str) -> Shape | None:
    """What is rented under a usage type; None for what is no machine with accelerators to train or serve on."""
    found = _USAGE.fullmatch(usage)
    if not found:
        return None
    use, instance = found.groups()
    shape = instances().get(instance) or unknown_shape(instance)
    return replace(shape, instance=f"ml.{instance}", service=_SERVICES[use])


def _read(web: Web, url: str, scope: Scope, rates: Rates) -> None:
    with web.ask(url) as answer:
        file = OfferFile(_COLUMNS, _SIEVE, optional=("located",))
        for row in file.rows(answer):
            place, shape = place_in(row["region"], scope), shape_of(row["instance"])
            if place and shape and _is_plain(row):
                key = Key(
                    place.group("region"), row["region"] if place.group("zone") else None, shape, Terms(),
                    currency_of(row),
                )  # fmt: skip
                rates.add(key, row, price_of(row))
        rates.versions.add(file.version)


def _is_plain(row: Row) -> bool:
    """By the hour as it is used, in the region itself and not on a rack in a customer's rooms."""
    return row["kind"] == "OnDemand" and row["unit"] == "Hrs" and row["located"] in ("AWS Region", "")


__all__ = ["SERVICE", "offers", "shape_of"]
