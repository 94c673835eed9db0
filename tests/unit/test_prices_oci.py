"""Oracle's price list: parts times accelerators, the same in every commercial region."""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.errors import MalformedResponse
from cloudaccel.model import Offer
from cloudaccel.protocols import Scope
from cloudaccel_oci.prices import OciPrices
from tests.support import Canned

ROOT = Path(__file__).parents[2]
SAMPLE = (ROOT / "tests/golden/prices/oci_gpu_2023.json").read_bytes()
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SCOPE = Scope(provider="oci", partition="oc1")


def offers(body: bytes, *, currency: str = "USD") -> list[Offer]:
    return list(OciPrices(Canned(body), currency=currency, now=lambda: NOW).offers(SCOPE))


def product(*values: object, part: str = "B98415", currency: str = "USD") -> bytes:
    """One part, assembled."""
    prices = [{"model": "PAY_AS_YOU_GO", "value": value} for value in values]
    local = [{"currencyCode": currency, "prices": prices}]
    item = {
        "partNumber": part,
        "displayName": "GPU - X1",
        "metricName": "GPU Per Hour",
        "currencyCodeLocalizations": local,
    }
    return json.dumps({"items": [item]}).encode()


def test_every_price_of_the_sample_is_that_of_the_snapshot() -> None:
    with (ROOT / "pricing_cache/optional/oci.csv").open(encoding="utf-8", newline="") as file:
        known = {
            r["instance"]: Decimal(r["price_per_hour"]) for r in csv.DictReader(file) if r["market"] == "on_demand"
        }
    found = {offer.instance: offer for offer in offers(SAMPLE)}
    assert len(found) == 12
    assert {name: offer.price.amount for name, offer in found.items()} == {name: known[name] for name in found}
    eight = found["BM.GPU.H100.8"]
    assert (eight.price.amount, eight.count, eight.price_per_accelerator_hour) == (80, 8, 10)
    assert eight.price.parts[0].sku == "B98415"


def test_a_free_tier_is_no_price_and_two_prices_are_none() -> None:
    assert offers(product(0, 10))[0].price.amount == 80
    assert offers(product(0))[0].apart == ("unknown_price",)
    assert offers(product(9, 10))[0].price.amount is None


def test_another_currency_is_no_price_in_this_one() -> None:
    assert offers(product(10, currency="EUR"))[0].price.amount is None
    (euro,) = offers(product(10, currency="EUR"), currency="EUR")
    assert (euro.price.amount, euro.price.currency) == (80, "EUR")


def test_a_part_without_a_known_shape_is_one_accelerator_of_unknown_make() -> None:
    (offer,) = offers(product(6, part="B99999"))
    assert (offer.sold_per, offer.accelerator_id, offer.price.amount, offer.count) == ("accelerator", None, 6, None)


def test_other_realms_and_regions_are_not_in_the_list() -> None:
    prices = OciPrices(Canned(SAMPLE), now=lambda: NOW)
    assert list(prices.offers(Scope(provider="oci", partition="oc2"))) == []
    assert list(prices.offers(Scope(provider="oci", partition="oc1", region="eu-frankfurt-1"))) == []


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"items": [1]}', product(-1), product(True), product("x")])
def test_a_hostile_answer_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedResponse, match="Prices stay as they were"):
        offers(body)
