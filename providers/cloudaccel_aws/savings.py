"""Amazon's savings plans: what an hour of each type uses up of a promised spend, by term and payment.

The rate is the same thing for every way to pay: what is paid at the start is a part of the commitment, not of the rate.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from cloudaccel.facts.listing import Shape, Terms, malformed, mapping, sequence
from cloudaccel.model import Offer, Source
from cloudaccel.protocols import Scope, Web
from cloudaccel_aws import sagemaker
from cloudaccel_aws.pricefile import (
    ACCELERATED_TYPE,
    PAYMENTS,
    PROVIDER,
    Key,
    OfferFile,
    Rates,
    Row,
    currency_of,
    instances,
    path_below,
    place_in,
    price_of,
    unknown_shape,
)
from cloudaccel_aws.sieve import Sieve

OPERATION = "savings plans"
# docs.aws.amazon.com/awsaccountbilling/latest/aboutv2 (savings plan offer files); columns as in a file of 2025-09-11.
HOME = "https://pricing.us-east-1.amazonaws.com/savingsPlan/v1.0/aws"
_PLANS = ("AWSComputeSavingsPlan", "AWSMachineLearningSavingsPlans")  # of EC2, and of SageMaker
_COLUMNS = {
    "sku": "DiscountedSKU", "offer": "SKU", "effective": "EffectiveDate", "unit": "Unit", "price": "DiscountedRate",
    "currency": "Currency", "service": "DiscountedServiceCode", "usage": "DiscountedUsageType",
    "operation": "DiscountedOperation", "payment": "PurchaseOption", "length": "LeaseContractLength",
    "length_unit": "LeaseContractLengthUnit", "product": "Product Family", "region": "DiscountedRegionCode",
    "instance": "DiscountedInstanceType",
}  # fmt: skip
# Hours of a shared machine in use; UnusedBox and DedicatedUsage are others.
_SIEVE = Sieve(re.compile(f"(?:BoxUsage:|:ml\\.){ACCELERATED_TYPE}".encode()))
_CLASSES = {
    "EC2InstanceSavingsPlans": "ec2_instance", "ComputeSavingsPlans": "compute", "SageMakerSavingsPlans": "sagemaker",
}  # fmt: skip
_SOURCE = Source(
    id="aws-savings-plans", name="AWS savings plans", path="savingsPlan/v1.0/aws", revision=None,
    licence="public price list", url=HOME,
)  # fmt: skip


def offers(web: Web, scope: Scope, now: datetime) -> Iterator[Offer]:
    """Savings plan rates of the machines with accelerators in `scope`. Raises `ProviderError`."""
    rates = Rates(now, _SOURCE)
    for plan in _PLANS:
        for code, path in _index(web, plan).items():
            if place_in(code, scope):
                _read(web, f"{HOME}/{path}", scope, rates)
    yield from rates.offers(scope)


def _index(web: Web, plan: str) -> Mapping[str, str]:
    with web.ask(f"{HOME}/{plan}/current/region_index.json") as answer:
        page = mapping(answer.json(), provider=PROVIDER, operation=OPERATION, what="the index")
    found: dict[str, str] = {}
    for entry in sequence(page.get("regions"), provider=PROVIDER, operation=OPERATION, what="regions"):
        region = mapping(entry, provider=PROVIDER, operation=OPERATION, what="a region")
        code = str(region.get("regionCode"))
        found[code] = path_below(HOME, code, region.get("versionUrl"))
    if not found:
        raise malformed(PROVIDER, OPERATION, "the index has no regions")
    return dict(sorted(found.items()))


def _read(web: Web, url: str, scope: Scope, rates: Rates) -> None:
    with web.ask(url) as answer:
        file = OfferFile(_COLUMNS, _SIEVE)
        for row in file.rows(answer):
            place, shape = place_in(row["region"], scope), _shape(row)
            if place and shape:
                key = Key(
                    place.group("region"), row["region"] if place.group("zone") else None, shape, _terms(row),
                    currency_of(row),
                )  # fmt: skip
                rates.add(key, row, price_of(row))
        rates.versions.add(file.version)


def _shape(row: Row) -> Shape | None:
    """What the hour is of: Linux without licences on a shared machine in use, or a machine of SageMaker; None: else."""
    if row["unit"] != "Hrs":
        return None
    if row["service"] == sagemaker.SERVICE:
        return sagemaker.shape_of(row["usage"])
    plain = row["service"] == "AmazonEC2" and row["operation"] == "RunInstances"
    if not plain or not row["usage"].endswith(f"BoxUsage:{row['instance']}"):
        return None
    return instances().get(row["instance"]) or unknown_shape(row["instance"])


def _terms(row: Row) -> Terms:
    known = row["payment"] in PAYMENTS and row["product"] in _CLASSES
    if not known or row["length_unit"] != "year" or not row["length"].isdecimal():
        raise malformed(PROVIDER, OPERATION, f"a plan {row['product'][:40]!r} for {row['length'][:20]!r}")
    return Terms(
        market="savings_plan", term=f"{row['length']}y", payment=PAYMENTS[row["payment"]],
        offering_class=_CLASSES[row["product"]],
    )  # fmt: skip


__all__ = ["HOME", "offers"]
