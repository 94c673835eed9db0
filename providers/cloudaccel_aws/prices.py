"""Amazon's public price lists of EC2 and SageMaker: on demand, reserved, savings plans; GovCloud's and China's too.

No account is needed. A list is a file of some hundred megabytes by region: it is read line by line and never held.
"""

import re
from collections.abc import Iterator, Sequence

from cloudaccel.facts.listing import PriceList, Shape, Terms, malformed
from cloudaccel.model import Offer, Source
from cloudaccel.protocols import Scope
from cloudaccel_aws import account, offered, sagemaker, savings
from cloudaccel_aws.pricefile import (
    ACCELERATED_TYPE,
    OPERATION,
    PAYMENTS,
    PROVIDER,
    REGION,
    Key,
    OfferFile,
    Rates,
    Row,
    currency_of,
    instances,
    partition_of,
    place_in,
    price_of,
    region_files,
    unknown_shape,
)
from cloudaccel_aws.sdk import Sdk
from cloudaccel_aws.sieve import Sieve

# docs.aws.amazon.com/awsaccountbilling/latest/aboutv2 (price list bulk API), read 2026-11; the hosts were not called.
GLOBAL = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws"
CHINA = "https://pricing.cn-north-1.amazonaws.com.cn/offers/v1.0/cn"
INDEX = "AmazonEC2/current/region_index.json"
_ACCELERATED_TYPE = re.compile(ACCELERATED_TYPE)
_ACCELERATED_FAMILY = ("GPU", "Machine Learning", "Media Accel")
# A line without one of these is of no machine with accelerators, and one without the words of `_PLAIN` of none that is
# plain Linux in use; an operation with a number is Linux with extras.
_FAMILIES = "|".join(_ACCELERATED_FAMILY)
_ACCELERATED = re.compile(f'"(?:{_FAMILIES}|{ACCELERATED_TYPE})'.encode())
_PLAIN_WORDS = (b'"Linux"', b'"Used"')
_EXTRAS = b'"RunInstances:'
_SIEVE = Sieve(_ACCELERATED, _PLAIN_WORDS, _EXTRAS)
# The same where columns stand as they do in every list seen (2023 to 2026): found by the one word that each line has.
_ORDER = ["serviceCode", "Location", "Location Type", "Instance Type", "Current Generation", "Instance Family"]
_CELL = r'(?:"[^"\n]*")?'
_QUICK = Sieve(
    re.compile(f'"AmazonEC2",{_CELL},{_CELL},"(?:{ACCELERATED_TYPE}|[^"\n]*",{_CELL},"(?:{_FAMILIES}))'.encode()),
    _PLAIN_WORDS, _EXTRAS,
)  # fmt: skip
_TERM = re.compile(r"(\d) ?yr")
_PRICED = (("OnDemand", "Hrs"), ("Reserved", "Hrs"), ("Reserved", "Quantity"))
_COLUMNS = {
    "sku": "SKU", "offer": "OfferTermCode", "kind": "TermType", "effective": "EffectiveDate", "unit": "Unit",
    "price": "PricePerUnit", "currency": "Currency", "length": "LeaseContractLength", "payment": "PurchaseOption",
    "class": "OfferingClass", "product": "Product Family", "instance": "Instance Type", "family": "Instance Family",
    "vcpus": "vCPU", "memory": "Memory", "tenancy": "Tenancy", "system": "Operating System",
    "licence": "License Model", "operation": "operation", "capacity": "CapacityStatus", "software": "Pre Installed S/W",
    "region": "Region Code", "market": "MarketOption", "located": "Location Type",
}  # fmt: skip
_OPTIONAL = ("market", "located")  # the market is in the list since Capacity Blocks are
_OUTPOSTS = "AWS Outposts"  # a rack in the customer's own rooms, under the code of a region
# What a row must say to be Linux without extras on capacity that is used; "" where the column does not apply.
_PLAIN = {
    "system": ("Linux",),
    "licence": ("No License required", ""),
    "software": ("NA", ""),
    "capacity": ("Used",),
    "operation": ("RunInstances", ""),
}

_BLOCKS = "sold by Capacity Block alone: each block has its own price"
_SOURCE = Source(
    id="aws-price-list", name="AWS price list (EC2)", path="AmazonEC2", revision=None, licence="public price list",
    url=GLOBAL,
)  # fmt: skip


class AwsPrices(PriceList):
    """The bulk price lists of EC2, of SageMaker and of savings plans."""

    provider = PROVIDER
    operation = OPERATION
    sources = (GLOBAL, CHINA, savings.HOME)

    def scopes(self) -> Sequence[Scope]:
        """Every region of the index, and China as one: its list stands on hosts of its own, out of reach for some."""
        found = {
            place.group("region") for code in region_files(self.web, GLOBAL, INDEX) if (place := REGION.fullmatch(code))
        }
        return (
            *(Scope(provider=PROVIDER, partition=partition_of(region), region=region) for region in sorted(found)),
            Scope(provider=PROVIDER, partition="aws-cn"),
        )

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of a region with its local zones.

        Raises
        ------
        ProviderError
            If a file cannot be had, or has not the documented shape.
        """
        home = CHINA if scope.partition == "aws-cn" else GLOBAL
        rates, blocks = Rates(self._now(), _SOURCE), set[str]()
        for code, path in region_files(self.web, home, INDEX).items():
            if place_in(code, scope):
                self._read(f"{home}/{path}", scope, rates, blocks)
        sdk = Sdk(attempts=account.ATTEMPTS) if scope.region else None
        if sdk is None or scope.region is None or not account.is_asked(sdk, scope.region):
            yield from self._listed(home, scope, rates)
            return
        told = offered.ask(sdk, scope.region, rates.types, self._now())
        yield from map(told.seen, self._listed(home, scope, rates))
        yield from told.unpriced(rates.types)
        yield from map(told.seen, account.offers(sdk, scope.region, rates.types | told.types, blocks, self._now()))

    def _listed(self, home: str, scope: Scope, rates: Rates) -> Iterator[Offer]:
        """Offers of every public list: `rates` of EC2, SageMaker, and savings plans (China's hosts have none)."""
        yield from rates.offers(scope)
        yield from sagemaker.offers(self.web, home, scope, self._now())
        if home == GLOBAL:
            yield from savings.offers(self.web, scope, self._now())

    def _read(self, url: str, scope: Scope, rates: Rates, blocks: set[str]) -> None:
        with self.web.ask(url) as answer:
            file = OfferFile(_COLUMNS, _SIEVE, optional=_OPTIONAL, quick=_quick)
            for row in file.rows(answer):
                if _is_plain(row) and (place := place_in(row["region"], scope)):
                    key = Key(
                        place.group("region"), row["region"] if place.group("zone") else None, _shape(row),
                        _terms(row), currency_of(row), row["tenancy"] == "Shared",
                    )  # fmt: skip
                    if row["market"] == "CapacityBlock":
                        blocks.add(row["instance"])
                    note = _BLOCKS if row["market"] == "CapacityBlock" else ""
                    rates.add(key, row, price_of(row), upfront=row["unit"] == "Quantity", note=note)
            rates.versions.add(file.version)


def _quick(titles: Sequence[str]) -> Sieve | None:
    """The quick sieve, for a file whose columns stand in the order that it knows."""
    at = titles.index(_ORDER[0]) if _ORDER[0] in titles else 0
    return _QUICK if list(titles[at : at + len(_ORDER)]) == _ORDER else None


def _is_plain(row: Row) -> bool:
    return (
        _is_accelerated(row)
        and all(row[name] in allowed for name, allowed in _PLAIN.items())
        and (row["kind"], row["unit"]) in _PRICED
        and row["market"] in ("OnDemand", "CapacityBlock", "")
        and row["located"] != _OUTPOSTS
        and (row["tenancy"] == "Shared" or (row["tenancy"] == "Dedicated" and _is_metal(row)))
    )


def _is_accelerated(row: Row) -> bool:
    return row["family"].startswith(_ACCELERATED_FAMILY) or bool(_ACCELERATED_TYPE.match(row["instance"]))


def _is_metal(row: Row) -> bool:
    return row["product"] == "Compute Instance (bare metal)"


def _terms(row: Row) -> Terms:
    if row["kind"] == "OnDemand":
        return Terms()
    years = _TERM.fullmatch(row["length"])
    if not years or row["payment"] not in PAYMENTS:
        raise malformed(PROVIDER, OPERATION, f"a reservation for {row['length'][:20]!r}, paid {row['payment'][:20]!r}")
    return Terms(
        market="reserved", term=f"{years.group(1)}y", payment=PAYMENTS[row["payment"]],
        offering_class=row["class"].lower() or None,
    )  # fmt: skip


def _shape(row: Row) -> Shape:
    known = instances().get(row["instance"])
    return known or unknown_shape(row["instance"], vcpus=row["vcpus"], memory=row["memory"], metal=_is_metal(row))


__all__ = ["CHINA", "GLOBAL", "AwsPrices"]
