"""Prices of the bundled catalog that are known from elsewhere: a change here is a change of facts, not of code."""

from decimal import Decimal

import pytest

from cloudaccel.api.explaining import explain
from cloudaccel.api.quoting import quote

KNOWN = [
    ("p5.48xlarge", "us-east-1", "on-demand", "55.04"),
    ("p5.48xlarge", "us-gov-west-1", "on-demand", "66.048"),
    ("p4d.24xlarge", "us-east-1", "on-demand", "21.957642"),
    ("trn1.32xlarge", "us-east-1", "on-demand", "21.5"),
    ("trn2.48xlarge", "us-east-2", "on-demand", "85.964"),
    ("inf2.48xlarge", "us-east-1", "on-demand", "12.98127"),
    ("dl1.24xlarge", "us-east-1", "on-demand", "13.10904"),
    ("a3-highgpu-8g", "us-central1", "on-demand", "88.4899999"),
    ("a3-highgpu-8g", "us-central1", "reserved-1y", "61.38367214"),
    ("a3-highgpu-8g", "us-central1", "reserved-3y", "38.86438111"),
    ("a3-highgpu-8g", "us-central1", "spot", "50.60954082"),
    ("a2-highgpu-1g", "us-central1", "on-demand", "3.673385"),
    ("v5litepod-8", "us-west4", "on-demand", "9.6"),
    ("v5p-8", "us-east5", "on-demand", "16.8"),
    ("v6e-8", "us-east5", "on-demand", "21.6"),
    ("v6e-8", "europe-west4", "on-demand", "23.76"),
    ("g2-standard-4", "us-central1", "on-demand", "0.70683226"),
    ("Standard_ND96isr_H100_v5", "eastus", "on-demand", "98.32"),
    ("Standard_ND96isr_MI300X_v5", "swedencentral", "on-demand", "67.2"),
    ("Standard_NC24ads_A100_v4", "eastus", "on-demand", "3.673"),
]


@pytest.mark.parametrize(("instance", "region", "market", "price"), KNOWN)
def test_a_known_price(instance: str, region: str, market: str, price: str) -> None:
    found = [
        o for o in quote(instance=instance, region=region, market=market).offers if o.price.status != "quarantined"
    ]
    assert {o.price.amount for o in found} == {Decimal(price)}
    assert all(o.price.source.name and o.price.as_of for o in found)


def test_trainium2_is_sixteen_chips() -> None:
    found = quote("trn2:16", market="any").offers
    assert {o.instance for o in found} == {"trn2.48xlarge"}
    assert all(o.accelerator_memory_gib == 96 for o in found)


def test_the_p5_price_cut_is_in_the_history() -> None:
    offer = quote(instance="p5.48xlarge", region="us-east-1").offers[0]
    versions = {v.amount: v for v in explain(offer.id).history}
    assert versions[Decimal("98.32")].until_at == "2025-06-04"
    assert versions[Decimal("55.04")].from_at == "2025-06-05"


def test_a_google_machine_has_its_gpus_in_the_price() -> None:
    (offer,) = quote("T4:1", region="us-central1", limit=1, provider="gcp").offers
    parts = {part.name: part.amount for part in offer.price.parts}
    assert len(parts) == 2
    assert offer.price.amount == sum(amount for amount in parts.values() if amount is not None)


def test_every_row_says_where_it_is_from_and_when() -> None:
    found = quote(
        kind=["gpu", "tpu", "neuron", "hpu", "npu", "media", "fpga"], market="any", allow_fraction=True, limit=None
    )
    assert found.total == len(found.offers)
    assert found.total > 15_000
    for offer in found.offers:
        assert offer.price.source.name != "unknown"
        assert offer.price.as_of or "undated" in offer.apart


def test_never_first_rows_never_are() -> None:
    for family in ("H100", "A100", "H200", "B200", "T4", "L4", "L40S", "V100", "MI300X", "TPUv5e", "Trainium1"):
        offers = quote(family, market="any", limit=None).offers
        states = [bool(o.apart) for o in offers]
        assert states == sorted(states), family
        prices = [o.price_per_accelerator_hour for o in offers if not o.apart]
        assert prices == sorted(p for p in prices if p is not None), family
