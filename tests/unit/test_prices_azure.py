"""Azure's retail price list: from pages to offers. A test is named after the mistake it keeps out (``trap_NN``)."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import pytest

from cloudaccel.catalog.build import offer_id
from cloudaccel.catalog.web import decoded
from cloudaccel.errors import MalformedResponse
from cloudaccel.model import Offer
from cloudaccel.protocols import Scope
from cloudaccel_azure.prices import BASE_URL, AzurePrices, items_of_page, offers_of_items, sizes
from tests.support import Canned

GOLDEN = Path(__file__).parents[1] / "golden/prices"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SCOPE = Scope(provider="azure", partition="azure-public", region="eastus")


def item(**fields: object) -> dict[str, object]:
    """One item, assembled: a Linux machine with eight H100, on demand."""
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": Decimal(0),
        "retailPrice": Decimal("98.32"),
        "armRegionName": "eastus",
        "effectiveStartDate": "2026-01-01T00:00:00Z",
        "meterName": "ND96isrH100v5",
        "skuName": "ND96isrH100v5",
        "productName": "Virtual Machines NDsr H100 v5 Series",
        "serviceName": "Virtual Machines",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": "Standard_ND96isr_H100_v5",
    } | fields


def offers(*items: Mapping[str, object]) -> list[Offer]:
    return list(offers_of_items(items, now=NOW))


def page(items: list[dict[str, object]], following: str | None = None) -> bytes:
    return json.dumps({"Items": items, "NextPageLink": following}, default=float).encode()


def golden(name: str) -> list[Offer]:
    body = (GOLDEN / name).read_bytes()
    page = decoded(body)
    assert isinstance(page, Mapping)
    return list(offers_of_items(items_of_page(page), now=NOW))


def test_the_h100_capture_gives_the_linux_price_and_spot() -> None:
    found = {offer.market: offer for offer in golden("azure_h100_eastus_2026-09-16.json")}
    assert {market: offer.price.amount for market, offer in found.items()} == {
        "on_demand": Decimal("98.32"), "spot": Decimal("18.169536"),
    }  # fmt: skip
    offer = found["on_demand"]
    assert (offer.accelerator_id, offer.count, offer.country) == ("nvidia-h100-sxm-80gb", Fraction(8), "US")
    assert offer.price_per_accelerator_hour == Decimal("12.29")
    assert offer.price.source.name == "Azure Retail Prices"


def test_of_36_real_items_the_one_linux_machine_with_accelerators_is_kept() -> None:
    (offer,) = golden("azure_westus_2026.json")
    assert (offer.instance, offer.market, offer.price.amount) == ("Standard_NV24s_v2", "spot", Decimal("0.567151"))
    assert (offer.accelerator_id, offer.count) == ("nvidia-m60", 4)


def test_the_identity_is_the_catalogs() -> None:
    (offer,) = offers(item())
    fields = ("service", "instance", "accelerator_id", "accelerator_name", "market", "provider", "partition", "region")
    row = {name: getattr(offer, name) or "" for name in fields}
    row |= {"zone": "", "term": "", "payment": "", "offering_class": "", "currency": "USD"}
    assert offer.id == offer_id(row)


@pytest.mark.parametrize("order", [1, -1])
def test_trap_59_a_row_of_zero_is_no_price(order: int) -> None:
    rows = [item(retailPrice=0), item()][::order]
    assert [offer.price.amount for offer in offers(*rows)] == [Decimal("98.32")]
    (alone,) = offers(item(retailPrice=0))
    assert (alone.price.amount, alone.price.status, alone.apart) == (None, "unknown", ("unknown_price",))


@pytest.mark.parametrize("product", ["NCCadsv5 Series Win", "Virtual Machines NDsr H100 v5 Series Windows"])
def test_trap_60_windows_is_not_linux(product: str) -> None:
    assert offers(item(productName=product)) == []


@pytest.mark.parametrize("product", ["NCv3 Series Cloud Services", "CloudServices NC", "NC Series Dedicated Host"])
def test_trap_61_other_products_share_the_name_of_a_size(product: str) -> None:
    assert offers(item(productName=product)) == []
    assert offers(item(serviceName="HDInsight")) == []


def test_trap_62_two_prices_are_a_dispute_in_any_order_and_the_newest_holds() -> None:
    for rows in permutations([item(), item(retailPrice=Decimal(5)), item(), item(retailPrice=0)]):
        (offer,) = offers(*rows)
        assert (offer.price.amount, offer.price.status) == (None, "quarantined")
        assert "both" in offer.price.note
    newer = item(retailPrice=Decimal(90), effectiveStartDate="2026-06-01T00:00:00Z")
    future = item(retailPrice=Decimal(80), effectiveStartDate="2027-01-01T00:00:00Z")
    for rows in ([item(), newer, future], [future, newer, item()]):
        assert [offer.price.amount for offer in offers(*rows)] == [Decimal(90)]


def test_trap_63_spot_low_priority_and_expired_are_apart() -> None:
    assert [offer.market for offer in offers(item(meterName="ND96isrH100v5 Spot"))] == ["spot"]
    assert [offer.market for offer in offers(item(skuName="ND96isrH100v5 Spot"))] == ["spot"]
    assert offers(item(meterName="ND96isrH100v5 Low Priority")) == []
    assert offers(item(meterName="NC6 - Expired")) == []


@pytest.mark.parametrize(("term", "short", "hours"), [("1 Year", "1y", 8760), ("3 Years", "3y", 26280)])
def test_trap_64_a_reservation_is_priced_for_its_term(term: str, short: str, hours: int) -> None:
    (offer,) = offers(item(type="Reservation", reservationTerm=term, retailPrice=Decimal(hours) * 60))
    assert (offer.market, offer.term, offer.price.amount) == ("reserved", short, Decimal(60))


def test_trap_64_without_its_term_a_reservation_has_no_price() -> None:
    (offer,) = offers(item(type="Reservation", retailPrice=Decimal(25007)))
    assert (offer.price.amount, offer.term) == (None, None)


def test_trap_65_a_rate_for_subscribers_is_not_the_list_price() -> None:
    assert offers(item(type="DevTestConsumption")) == []


@pytest.mark.parametrize(
    ("size", "count", "accelerator"),
    [
        ("Standard_NV6ads_A10_v5", "1/6", "nvidia-a10"),  # trap 67
        ("Standard_NV12ads_A10_v5", "1/3", "nvidia-a10"),
        ("Standard_NV4ads_V710_v5", "1/6", "amd-v710"),  # trap 68
        ("Standard_NG8ads_V620_v1", "1/4", "amd-v620"),
        ("Standard_NV4as_v4", "1/8", "amd-mi25"),
        ("Standard_ND96isr_H100_v5", "8", "nvidia-h100-sxm-80gb"),  # trap 69
        ("Standard_ND96isr_MI300X_v5", "8", "amd-mi300x"),
        ("standard_nc40ads_h100_v5", "1", "nvidia-h100-nvl-94gb"),
    ],
)
def test_traps_67_68_69_counts_are_exact_and_never_read_from_a_name(size: str, count: str, accelerator: str) -> None:
    (offer,) = offers(item(armSkuName=size))
    assert (offer.count, offer.accelerator_id) == (Fraction(count), accelerator)


def test_a_family_that_no_table_names_is_shown_with_an_unknown_accelerator() -> None:
    (offer,) = offers(item(armSkuName="Standard_ND128is_MI455X_v7"))
    assert (offer.accelerator_id, offer.accelerator_name, offer.count) == (None, "MI455X", None)
    assert offer.apart == ("unknown_count",)


def test_savings_plans_are_offers_of_their_own() -> None:
    plans = [{"unitPrice": Decimal(70), "term": "1 Year"}, {"unitPrice": Decimal(50), "term": "3 Years"}]
    found = [(offer.market, offer.term, offer.price.amount) for offer in offers(item(savingsPlan=plans))]
    assert found == [
        ("on_demand", None, Decimal("98.32")), ("savings_plan", "1y", Decimal(70)), ("savings_plan", "3y", Decimal(50)),
    ]  # fmt: skip


def test_another_unit_tier_or_billing_region_is_no_price_per_hour() -> None:
    assert offers(item(unitOfMeasure="1/Month"))[0].price.amount is None
    assert offers(item(tierMinimumUnits=Decimal(10))) == []
    assert offers(item(isPrimaryMeterRegion=False)) == []


def test_the_currency_of_the_list_is_kept() -> None:
    (offer,) = offers(item(currencyCode="EUR"))
    assert offer.price.currency == "EUR"
    with pytest.raises(MalformedResponse, match="currency"):
        offers(item(currencyCode=None))


@pytest.mark.parametrize("bad", [-1, True, "abc", Decimal("NaN"), Decimal("Infinity"), [1]])
def test_what_is_no_amount_of_money_is_refused(bad: object) -> None:
    with pytest.raises(MalformedResponse, match="Standard_ND96isr_H100_v5"):
        offers(item(retailPrice=bad))


def test_a_huge_price_is_quarantined() -> None:
    (offer,) = offers(item(retailPrice=Decimal("1e30")))
    assert (offer.price.status, offer.price.amount) == ("quarantined", None)


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'{"Items": 3}', b'{"Items": [3]}', b'{"Items": [{"n": NaN}]}', b"[" * 100_000, b"\xff"],
)
def test_a_page_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedResponse, match="Prices stay as they were"):
        list(AzurePrices(Canned(body), now=lambda: NOW).offers(SCOPE))


def test_pages_are_followed_on_the_configured_host_only() -> None:
    asked: list[tuple[str, Mapping[str, str]]] = []

    def fetch(url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        asked.append((url, query))
        if len(asked) == 1:
            return page([item(retailPrice=98.32)], "https://elsewhere.example:443/other?$skip=1000")
        return page([item(armSkuName="Standard_NC4as_T4_v3", retailPrice=0.5)])

    found = list(AzurePrices(Canned(fetch), now=lambda: NOW).offers(SCOPE))
    assert [offer.price.amount for offer in found] == [Decimal("98.32"), Decimal("0.5")]
    assert asked[1] == (BASE_URL, {"$skip": "1000"})
    assert asked[0][1]["meterRegion"] == "'primary'"
    assert "armRegionName eq 'eastus'" in asked[0][1]["$filter"]


def test_pages_that_never_end_are_refused() -> None:
    with pytest.raises(MalformedResponse, match="do not end"):
        list(AzurePrices(Canned(page([], "http://x/?a=1")), now=lambda: NOW).offers(SCOPE))


def test_government_is_a_partition_of_its_own_and_china_is_not_in_the_list() -> None:
    body = page([item(armRegionName="usgovvirginia", retailPrice=1), item(retailPrice=2)])
    prices = AzurePrices(Canned(body), now=lambda: NOW)

    def amounts(partition: str) -> list[Decimal | None]:
        return [o.price.amount for o in prices.offers(Scope(provider="azure", partition=partition))]

    assert (amounts("azure-gov"), amounts("azure-public")) == ([Decimal(1)], [Decimal(2)])
    assert amounts("azure-china") == []


def test_every_size_of_the_table_says_what_the_snapshot_says() -> None:
    assert len(sizes()) == 97
    assert sizes()["standard_nc80adis_h100_v5"].count == 2
