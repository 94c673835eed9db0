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
from cloudaccel.errors import MalformedResponse, RequestInvalid
from cloudaccel.model import Offer
from cloudaccel.protocols import Scope
from cloudaccel_azure import china
from cloudaccel_azure.offered import WANTED, Subscription
from cloudaccel_azure.offered import of as subscription_of
from cloudaccel_azure.prices import BASE_URL, PAGE, AzurePrices, items_of_page, offers_of_items, sizes
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


def test_government_is_a_partition_of_its_own() -> None:
    body = page([item(armRegionName="usgovvirginia", retailPrice=1), item(retailPrice=2)])
    prices = AzurePrices(Canned(body), now=lambda: NOW)

    def amounts(partition: str) -> list[Decimal | None]:
        return [o.price.amount for o in prices.offers(Scope(provider="azure", partition=partition))]

    assert (amounts("azure-gov"), amounts("azure-public")) == ([Decimal(1)], [Decimal(2)])


def test_every_size_of_the_table_says_what_the_snapshot_says() -> None:
    assert len(sizes()) == 97
    assert sizes()["standard_nc80adis_h100_v5"].count == 2


CHINA = Scope(provider="azure", partition="azure-china")


def sheet(body: bytes, link: str = f"{china.FILES}/2026/AzureRetailPrices.csv?sv=1&sig=a%2Bb%3D") -> Canned:
    def fetch(url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        if url == china.BASE_URL:
            return json.dumps({"DownloadUrl": link, "LastRefreshedAt": "2026-11-01T00:00:00Z"}).encode()
        assert (url, query) == (link.partition("?")[0], {"sv": "1", "sig": "a+b="})
        assert headers  # so that the signature is not noted with the address
        return body

    return Canned(fetch)


def test_u88_china_has_a_sheet_of_its_own_in_its_own_currency() -> None:
    """Azure's list has no China: readers found it empty, took that for 'not sold', or put CNY beside USD."""
    body = (GOLDEN / "azure_china_2026.csv").read_bytes()
    for text in (body, b"\xef\xbb\xbf" + body):
        found = list(AzurePrices(sheet(text), now=lambda: NOW).offers(CHINA))
        assert {(offer.market, offer.term): offer.price.amount for offer in found} == {
            ("on_demand", None): Decimal("6.10"), ("savings_plan", "1y"): Decimal("4.60"),
            ("reserved", "1y"): Decimal(5),
        }  # fmt: skip
        assert {(o.partition, o.region, o.country, o.operator_country, o.price.currency) for o in found} == {
            ("azure-china", "chinaeast2", "CN", "CN", "CNY")
        }
        assert {o.price.source.name for o in found} == {"Azure China price sheet"}


@pytest.mark.parametrize("link", ["https://evil.example/x.csv", f"{china.FILES}/../x.csv", "", None, 7])
def test_no_answer_sends_us_to_another_host_for_the_sheet(link: object) -> None:
    body = json.dumps({"DownloadUrl": link}).encode()
    with pytest.raises(MalformedResponse, match="DownloadUrl"):
        list(AzurePrices(Canned(body), now=lambda: NOW).offers(CHINA))


@pytest.mark.parametrize("body", [b"", b"<html>", b"a,b\n1,2\n", b"currencyCode,armSkuName\nCNY,Standard_NC6\n"])
def test_a_sheet_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedResponse, match="no column"):
        list(AzurePrices(sheet(body), now=lambda: NOW).offers(CHINA))


def test_half_a_line_of_the_sheet_refuses_it() -> None:
    body = (GOLDEN / "azure_china_2026.csv").read_bytes()
    cut = body[: body.index(b"4.60,4.60,chinaeast2") + 12]
    with pytest.raises(MalformedResponse, match="fields"):
        list(AzurePrices(sheet(cut), now=lambda: NOW).offers(CHINA))


def test_trap_66_a_spot_price_keeps_its_source_and_its_day() -> None:
    (offer,) = offers(item(meterName="ND96isrH100v5 Spot", effectiveStartDate="2026-09-01T00:00:00Z"))
    assert (offer.price.source.name, offer.price.as_of) == ("Azure Retail Prices", "2026-11-25")
    assert offer.price.effective_at == "2026-09-01T00:00:00Z"


def test_traps_70_71_72_the_newer_families_are_known_by_form_memory_and_maker() -> None:
    """H100 NVL passed for H100, and MI300X, H200, V620 and V710 for nothing, or for NVIDIA's."""
    known = {name: shape.accelerator_id for name, shape in sizes().items()}
    assert known["standard_nc40ads_h100_v5"] == "nvidia-h100-nvl-94gb"
    assert known["standard_nd96isr_h100_v5"] == "nvidia-h100-sxm-80gb"
    assert known["standard_nd96isr_h200_v5"] == "nvidia-h200-sxm"
    assert known["standard_nd96isr_mi300x_v5"] == "amd-mi300x"
    assert known["standard_nd128isr_ndr_gb200_v6"] == "nvidia-gb200"
    assert {known["standard_ng32ads_v620_v1"], known["standard_nv24ads_v710_v5"]} == {"amd-v620", "amd-v710"}


def test_trap_73_a_page_that_repeats_items_adds_none_and_the_end_of_full_pages_is_the_end() -> None:
    """Pages are cut by position in a list that moves: the same items come twice, and one page more is named."""
    asked: list[str] = []

    def fetch(url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        asked.append(query.get("$skip", ""))
        if query.get("$skip") == str(PAGE):
            raise RequestInvalid("azure: 400", provider="azure", operation="prices", code="400")
        many = [item(retailPrice=98.32)] * (PAGE - 1)
        return page([*many, item(armSkuName="Standard_NC4as_T4_v3", retailPrice=0.5)], f"https://x/?$skip={PAGE}")

    found = list(AzurePrices(Canned(fetch), now=lambda: NOW).offers(SCOPE))
    assert ([offer.instance for offer in found], asked) == (
        ["Standard_ND96isr_H100_v5", "Standard_NC4as_T4_v3"], ["", str(PAGE)],
    )  # fmt: skip


def test_a_page_that_is_refused_in_the_middle_is_no_end() -> None:
    def fetch(url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        if "$skip" in query:
            raise RequestInvalid("azure: 400", provider="azure", operation="prices", code="400")
        return page([item(retailPrice=98.32)], "https://x/?$skip=1")

    with pytest.raises(RequestInvalid):
        list(AzurePrices(Canned(fetch), now=lambda: NOW).offers(SCOPE))


def test_trap_74_the_name_of_a_region_is_one_however_it_is_written() -> None:
    (offer,) = offers(item(armRegionName="EastUS"), item())
    assert (offer.region, offer.country) == ("eastus", "US")
    assert len(list(offers_of_items([item(armRegionName="EastUS")], now=NOW, region="eastus"))) == 1


def test_trap_76_what_has_no_price_has_none_and_is_never_first() -> None:
    (offer,) = offers(item(retailPrice=None))
    assert (offer.price.amount, offer.price.status, offer.apart) == (None, "unknown", ("unknown_price",))


def test_trap_77_a_page_is_read_as_utf_8() -> None:
    body = page([item(retailPrice=1, productName="Virtual Machines NDsr H100 v5 Series é中")])
    assert len(list(AzurePrices(Canned(body), now=lambda: NOW).offers(SCOPE))) == 1


class Told:
    """Sizes as Azure tells a subscription of them (the shape of ``skus.list`` in samples of 2025-06 and 2025-10)."""

    def __init__(self, *skus: dict[str, object]) -> None:
        self.skus = list(skus)
        self.asked: list[str] = []

    def machines(self, region: str) -> list[dict[str, object]]:
        self.asked.append(region)
        return self.skus


def told_of(name: str, restriction: str = "", **capabilities: str) -> dict[str, object]:
    restrictions = [{"type": restriction, "values": ["eastus"], "reasonCode": "NotAvailableForSubscription"}]
    said = [{"name": key, "value": value} for key, value in capabilities.items()]
    return {"name": name, "restrictions": restrictions if restriction else [], "capabilities": said}


def test_a_size_that_the_subscription_may_not_start_is_not_seen_there() -> None:
    """Half of the regions that price an ND size give it to no new subscription: the plan would have failed there."""
    told = Told(told_of("Standard_ND96isr_H100_v5"), told_of("Standard_NC4as_T4_v3", "Location"),
                told_of("Standard_NV36ads_A10_v5", "Zone"))  # fmt: skip
    subscription = Subscription(told)
    sizes_ = ("Standard_ND96isr_H100_v5", "Standard_NC4as_T4_v3", "Standard_NV36ads_A10_v5", "Standard_NC24ads_A100_v4")
    found = [subscription.seen(offer, NOW) for offer in offers(*(item(armSkuName=size) for size in sizes_))]
    states = [offer.availability.state for offer in found]
    assert states == ["offered", "not_seen", "offered", "not_seen"]
    assert (found[0].availability.last_seen, found[1].apart) == ("2026-11-25", ("not_seen",))
    assert told.asked == ["eastus"]


def test_traps_67_69_75_a_count_is_taken_from_azure_where_the_table_has_none_and_a_share_never() -> None:
    """Azure says 1 of a sixth of an A10 as well; and of a constrained size the vCPUs of the whole machine."""
    rtx, new = "Standard_NC144ds_xl_RTXPRO6000BSE_v6", "Standard_ND128is_MI455X_v7"
    told = Told(
        told_of(rtx, GPUs="2"), told_of(new, GPUs="4", vCPUs="128", vCPUsAvailable="96", MemoryGB="1900"),
        told_of("Standard_NV6ads_A10_v5", GPUs="1"), told_of("Standard_NV2ads_B10_v9", GPUs="1"),
    )  # fmt: skip
    names = (rtx, new, "Standard_NV6ads_A10_v5", "Standard_NV2ads_B10_v9")
    found = [Subscription(told).seen(o, NOW) for o in offers(*(item(armSkuName=name) for name in names))]
    assert [offer.count for offer in found] == [2, 4, Fraction(1, 6), None]
    assert (found[0].accelerator_memory_gib, found[1].vcpus, found[1].memory_gib) == (96, 96, 1900)
    assert (found[1].apart, found[3].apart) == ((), ("unknown_count",))


def test_no_subscription_is_asked_unless_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WANTED, raising=False)
    assert subscription_of("azure-public") is None
    monkeypatch.setenv(WANTED, "1")
    assert subscription_of("azure-public") is not None
    assert subscription_of("azure-gov") is None


@pytest.mark.network
def test_a_subscription_is_asked_through_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fields have other names in the SDK's own objects than on the wire: by those, nothing was ever offered."""
    pytest.importorskip("azure.mgmt.compute")
    from cloudaccel_azure.fake import SUBSCRIPTION, FakeAzure, Server

    with Server(FakeAzure()) as server:
        monkeypatch.setenv("CLOUDACCEL_AZURE_ENDPOINT", server.url)
        monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)
        monkeypatch.setenv(WANTED, "1")
        body = page([item(retailPrice=98.32), item(armSkuName="Standard_NC6s_v3", retailPrice=3)])
        found = AzurePrices(Canned(body), now=lambda: NOW).offers(SCOPE)
        assert {offer.instance: offer.availability.state for offer in found} == {
            "Standard_ND96isr_H100_v5": "offered", "Standard_NC6s_v3": "not_seen",
        }  # fmt: skip
