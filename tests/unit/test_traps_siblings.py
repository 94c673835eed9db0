"""Known traps once more, for the lists that are read beside the one in which each was found.

Azure China's sheet, SageMaker's list, AWS's savings plans and AWS's list in yuan have the shape of a list that is
proved elsewhere, and are other code. The number in a test's name is that of the trap.
"""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.model import Offer
from cloudaccel_azure.prices import AzurePrices
from tests.unit.test_prices_aws import BEIJING, adapter, plan, plans, row, sagemaker, serve, text
from tests.unit.test_prices_azure import CHINA, sheet

pytestmark = pytest.mark.network  # lists are read over HTTP from 127.0.0.1
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SHEET = Path(__file__).parents[1] / "golden/prices/azure_china_2026.csv"


def chinese(*changes: dict[str, str]) -> list[Offer]:
    """Offers of a sheet with one line for each of `changes` to an on-demand H100 for Linux at 30 yuan."""
    with SHEET.open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    plain = dict.fromkeys(columns, "") | {
        "currencyCode": "CNY", "tierMinimumUnits": "0.0", "retailPrice": "30", "unitPrice": "30",
        "armRegionName": "chinanorth3", "effectiveStartDate": "2026-01-01T00:00:00Z", "meterName": "NC40ads H100 v5",
        "productName": "Virtual Machines NCads H100 v5 Series", "skuName": "NC40ads H100 v5",
        "serviceName": "Virtual Machines", "serviceFamily": "Compute", "unitOfMeasure": "1 Hour",
        "type": "Consumption", "isPrimaryMeterRegion": "True", "armSkuName": "Standard_NC40ads_H100_v5",
    }  # fmt: skip
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain | change for change in changes)
    return list(AzurePrices(sheet(out.getvalue().encode()), now=lambda: NOW).offers(CHINA))


@pytest.mark.parametrize(
    "change",
    [
        {"productName": "Virtual Machines NCads H100 v5 Series Windows"},
        {"productName": "Virtual Machines NCads H100 v5 Series Win"},
        {"productName": "NCads H100 v5 Series Cloud Services"},
        {"productName": "NCads H100 v5 Dedicated Host"},
        {"meterName": "NC40ads H100 v5 Low Priority", "skuName": "NC40ads H100 v5 Low Priority"},
        {"type": "DevTestConsumption"},
        {"isPrimaryMeterRegion": "False"},
        {"tierMinimumUnits": "100"},
        {"serviceName": "Azure Kubernetes Service"},
    ],
)
def test_traps_60_61_63_65_chinas_sheet_keeps_other_systems_products_and_rates_apart(change: dict[str, str]) -> None:
    """A Windows machine, a cloud service or a rate for subscribers stood as the price of the Linux machine in China."""
    (offer,) = chinese({}, {"retailPrice": "7", "unitPrice": "7", **change})
    assert (offer.market, offer.price.amount, offer.price.currency) == ("on_demand", Decimal(30), "CNY")


@pytest.mark.parametrize("order", [1, -1])
def test_traps_59_62_chinas_sheet_has_no_free_machine_and_chooses_no_price_of_two(order: int) -> None:
    """A line at 0 was the cheapest machine of all; of two prices the later line won, whichever that was."""
    nothing = {"retailPrice": "0", "unitPrice": "0"}
    (offer,) = chinese(*[{}, nothing][::order])
    assert offer.price.amount == 30
    (offer,) = chinese(nothing)
    assert (offer.price.amount, offer.price.status) == (None, "unknown")
    (offer,) = chinese(*[{}, {"retailPrice": "31", "unitPrice": "31"}][::order])
    assert offer.price.amount is None
    (offer,) = chinese(*[{}, {"retailPrice": "31", "effectiveStartDate": "2026-02-01T00:00:00Z"}][::order])
    assert offer.price.amount == 31


def test_traps_64_74_a_reservation_of_china_is_a_total_and_a_region_has_one_name() -> None:
    """262,800 yuan for a year stood as the price of an hour, in a region that no other list calls so."""
    (offer,) = chinese(
        {"type": "Reservation", "term": "1 Year", "retailPrice": "262800", "unitPrice": "262800"}
        | {"armRegionName": "ChinaNorth3"}
    )
    assert (offer.market, offer.term, offer.price.amount, offer.region) == (
        "reserved",
        "1y",
        Decimal(30),
        "chinanorth3",
    )
    (offer,) = chinese({"type": "Reservation", "retailPrice": "262800", "unitPrice": "262800"})
    assert offer.price.amount is None


def training(price: str, effective: str = "2026-09-01", sku: str = "S", kind: str = "OnDemand") -> str:
    line = f'"{sku}","T","","{kind}","","{effective}","0","Inf","Hrs","{price}","USD","","","","AWS Region",'
    return line + '"EU-Train:ml.g5.2xlarge","","us-east-1",""'


@pytest.mark.parametrize("order", [1, -1])
def test_traps_01_03_sagemaker_has_no_free_machine_and_chooses_no_price_of_two(order: int) -> None:
    """A managed machine at 0.00 was the cheapest of its kind; or the lower of two prices was taken for the price."""
    (offer,) = sagemaker(*[training("1.5"), training("0", sku="Z")][::order])
    assert offer.price.amount == Decimal("1.5")
    (offer,) = sagemaker(training("0"))
    assert (offer.price.amount, offer.price.status) == (None, "unknown")
    (offer,) = sagemaker(*[training("1.5"), training("1.6", sku="Z")][::order])
    assert offer.price.amount is None
    (offer,) = sagemaker(*[training("1.5"), training("1.6", "2026-09-02", sku="Z")][::order])
    assert offer.price.amount == Decimal("1.6")


@pytest.mark.parametrize("order", [1, -1])
def test_traps_01_03_a_savings_plan_is_never_free_and_of_two_rates_none_is_chosen(order: int) -> None:
    """A rate of 0 made a commitment cost nothing an hour."""
    assert [offer.price.amount for offer in plans(plan(DiscountedRate="0"))] == [None]
    (offer,) = plans(*[plan(), plan(SKU="B", DiscountedRate="41")][::order])
    assert offer.price.amount is None


@pytest.mark.parametrize("order", [1, -1])
def test_traps_01_21_a_block_at_zero_is_no_price_in_yuan_either(order: int) -> None:
    """China's rows at 0 yuan won over the price, as the ones at 0 dollars did."""
    from cloudaccel.testing.cloud import FakeCloud

    region = {"Region_Code": "cn-north-1", "Currency": "CNY"}
    lines = [row(PricePerUnit="400", **region), row(PricePerUnit="0", SKU="Z", MarketOption="CapacityBlock", **region)]
    with FakeCloud() as cloud:
        serve(cloud, {"cn-north-1": text(*lines[::order])}, part="cn")
        found = list(adapter(cloud).offers(BEIJING))
    assert [(offer.price.amount, offer.price.currency) for offer in found if offer.price.amount] == [
        (Decimal(400), "CNY")
    ]
