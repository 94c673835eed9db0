"""Amazon's price list of EC2: from lines to offers. A test is named after the mistake it keeps out (``trap_NN``)."""

import csv
import io
import re
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from cloudaccel.catalog.web import Connection, HttpWeb
from cloudaccel.errors import MalformedResponse
from cloudaccel.facts.accelerators import by_id
from cloudaccel.model import Offer
from cloudaccel.protocols import Prices, Scope
from cloudaccel.testing.cloud import FakeCloud
from cloudaccel.testing.prices import QUICK, PricesContract
from cloudaccel_aws import account, offered
from cloudaccel_aws.pricefile import OfferFile, instances
from cloudaccel_aws.prices import CHINA, GLOBAL, AwsPrices
from cloudaccel_aws.savings import HOME as SAVINGS
from cloudaccel_aws.sieve import Proved, Sieve
from tests.support import CannedAnswer

pytestmark = pytest.mark.network  # the list is read over HTTP from 127.0.0.1
GOLDEN = Path(__file__).parents[1] / "golden/prices/aws_ec2_us-east-1_2025-04.csv"
SAGEMAKER = Path(__file__).parents[1] / "golden/prices/aws_sagemaker_2026-10.csv"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
VIRGINIA = Scope(provider="aws", partition="aws", region="us-east-1")
BEIJING = Scope(provider="aws", partition="aws-cn")
PLAN_COLUMNS = [
    "SKU", "RateCode", "Unit", "EffectiveDate", "DiscountedRate", "Currency", "DiscountedSKU", "DiscountedServiceCode",
    "DiscountedUsageType", "DiscountedOperation", "PurchaseOption", "LeaseContractLength", "LeaseContractLengthUnit",
    "ServiceCode", "UsageType", "Operation", "Description", "Instance Family", "Location", "Location Type",
    "Granularity", "Product Family", "DiscountedRegionCode", "DiscountedInstanceType",
]  # fmt: skip
PREAMBLE = ('"FormatVersion","v1.0"', '"Version","20260801000000"', '"OfferCode","AmazonEC2"')


def row(**fields: str) -> dict[str, str]:
    """One line, assembled: a Linux machine with eight H100, on demand. A field is given with ``_`` for a space."""
    return {
        "SKU": "S1",
        "OfferTermCode": "JRTCKXETXF",
        "TermType": "OnDemand",
        "EffectiveDate": "2026-01-01",
        "Unit": "Hrs",
        "PricePerUnit": "55.0400000000",
        "Currency": "USD",
        "LeaseContractLength": "",
        "PurchaseOption": "",
        "OfferingClass": "",
        "Product Family": "Compute Instance",
        "Instance Type": "p5.48xlarge",
        "Instance Family": "GPU instance",
        "vCPU": "192",
        "Memory": "2048 GiB",
        "Tenancy": "Shared",
        "Operating System": "Linux",
        "License Model": "No License required",
        "operation": "RunInstances",
        "CapacityStatus": "Used",
        "GPU": "8",
        "MarketOption": "OnDemand",
        "Pre Installed S/W": "NA",
        "Region Code": "us-east-1",
    } | {name.replace("_", " "): value for name, value in fields.items()}


def reserved(unit: str, price: str, payment: str = "No Upfront", **fields: str) -> dict[str, str]:
    named = {
        "TermType": "Reserved",
        "OfferTermCode": payment,
        "LeaseContractLength": "1yr",
        "OfferingClass": "standard",
    }
    return row(Unit=unit, PricePerUnit=price, PurchaseOption=payment, **named) | fields


def text(*rows: Mapping[str, str], preamble: tuple[str, ...] = PREAMBLE) -> bytes:
    out = io.StringIO()
    out.writelines(line + "\n" for line in preamble)
    writer = csv.DictWriter(out, list(row()), quoting=csv.QUOTE_ALL, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def serve(cloud: FakeCloud, files: Mapping[str, bytes], part: str = "aws", root: str = "/offers/v1.0") -> None:
    """The index and the files of `part`, under the paths that are left when a mirror has taken `root`'s place."""
    regions = {
        code: {"regionCode": code, "currentVersionUrl": f"{root}/{part}/AmazonEC2/20260801000000/{code}/index.json"}
        for code in files
    }
    cloud.serve_json(f"/{part}/AmazonEC2/current/region_index.json", {"formatVersion": "v1.0", "regions": regions})
    for code, body in files.items():
        cloud.serve(f"/{part}/AmazonEC2/20260801000000/{code}/index.csv", body)
    serve_plans(cloud, dict.fromkeys(files, plan_text()))
    cloud.serve_json(f"/{part}/index.json", {"offers": {}})


def serve_sagemaker(cloud: FakeCloud, files: Mapping[str, bytes], part: str = "aws") -> None:
    """The list of lists that names SageMaker, its index and its files."""
    home = f"/offers/v1.0/{part}/AmazonSageMaker"
    named = {"currentRegionIndexUrl": f"{home}/current/region_index.json"}
    cloud.serve_json(f"/{part}/index.json", {"offers": {"AmazonSageMaker": named}})
    regions = {code: {"currentVersionUrl": f"{home}/2026/{code}/index.json"} for code in files}
    cloud.serve_json(f"/{part}/AmazonSageMaker/current/region_index.json", {"regions": regions})
    for code, body in files.items():
        cloud.serve(f"/{part}/AmazonSageMaker/2026/{code}/index.csv", body)


def plan(**fields: str) -> dict[str, str]:
    """One rate, assembled in the layout of 2025-09: an hour of eight H100 under a plan of one year."""
    known = {
        "SKU": "2JT7", "Unit": "Hrs", "EffectiveDate": "2026-01-05T18:51:13Z", "DiscountedRate": "40.1",
        "Currency": "USD", "DiscountedSKU": "23PW",
        "DiscountedServiceCode": "AmazonEC2", "DiscountedUsageType": "BoxUsage:p5.48xlarge",
        "DiscountedOperation": "RunInstances", "PurchaseOption": "No Upfront", "LeaseContractLength": "1",
        "LeaseContractLengthUnit": "year", "Product Family": "ComputeSavingsPlans", "DiscountedRegionCode": "us-east-1",
        "DiscountedInstanceType": "p5.48xlarge",
    }  # fmt: skip
    return dict.fromkeys(PLAN_COLUMNS, "") | known | fields


def plan_text(*rows: Mapping[str, str]) -> bytes:
    lines = ["FormatVersion,v1.0", "Version,20250911184447", ",".join(PLAN_COLUMNS)]
    return "\n".join([*lines, *(",".join(line.values()) for line in rows)]).encode()


def serve_plans(cloud: FakeCloud, files: Mapping[str, bytes]) -> None:
    """Plans of EC2 from `files`, and plans of SageMaker without a rate."""
    for name, served in (
        ("AWSComputeSavingsPlan", files),
        ("AWSMachineLearningSavingsPlans", dict.fromkeys(files, plan_text())),
    ):
        serve_plan(cloud, name, served)


def serve_plan(cloud: FakeCloud, name: str, files: Mapping[str, bytes]) -> None:
    regions = [
        {"regionCode": code, "versionUrl": f"/savingsPlan/v1.0/aws/{name}/2025/{code}/index.json"} for code in files
    ]
    cloud.serve_json(f"/plans/{name}/current/region_index.json", {"regions": regions})
    for code, body in files.items():
        cloud.serve(f"/plans/{name}/2025/{code}/index.csv", body)


def plans(*rows: Mapping[str, str]) -> list[Offer]:
    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": text()})
        serve_plans(cloud, {"us-east-1": plan_text(*rows)})
        return list(adapter(cloud).offers(VIRGINIA))


def adapter(cloud: FakeCloud) -> Prices:
    mirrors = {GLOBAL: f"{cloud.url}/aws", CHINA: f"{cloud.url}/cn", SAVINGS: f"{cloud.url}/plans"}
    return AwsPrices(now=lambda: NOW).over(HttpWeb("aws", Connection(mirrors=mirrors), QUICK))


def offers(*rows: Mapping[str, str], scope: Scope = VIRGINIA) -> list[Offer]:
    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": text(*rows)})
        return list(adapter(cloud).offers(scope))


class TestAws(PricesContract):
    def prices(self) -> Prices:
        return AwsPrices(now=lambda: NOW)

    def web(self, cloud: FakeCloud) -> HttpWeb:
        mirrors = {GLOBAL: f"{cloud.url}/aws", CHINA: f"{cloud.url}/cn", SAVINGS: f"{cloud.url}/plans"}
        return HttpWeb("contract", Connection(mirrors=mirrors), QUICK)

    def serve(self, cloud: FakeCloud) -> None:
        serve(cloud, {"cn-north-1": text(row(Region_Code="cn-north-1", Currency="CNY"))}, part="cn")
        serve(cloud, {"us-east-1": GOLDEN.read_bytes(), "us-gov-west-1": text(row(Region_Code="us-gov-west-1"))})
        serve_plans(cloud, {"us-east-1": plan_text(plan(), plan(LeaseContractLength="3"))})
        serve_sagemaker(cloud, {"us-east-1": SAGEMAKER.read_bytes()})


def golden() -> list[Offer]:
    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": GOLDEN.read_bytes()})
        return list(adapter(cloud).offers(VIRGINIA))


def test_the_golden_file_gives_what_stands_in_it() -> None:
    found = golden()
    on_demand = {offer.instance: offer.price.amount for offer in found if offer.market == "on_demand"}
    assert on_demand == {
        "dl1.24xlarge": Decimal("13.10904"), "g5.12xlarge": Decimal("5.672"), "g6.xlarge": Decimal("0.8048"),
        "inf2.48xlarge": Decimal("12.98127"), "p4d.24xlarge": Decimal("32.7726"), "p5.48xlarge": Decimal("98.32"),
        "trn1.32xlarge": Decimal("21.5"), "vt1.3xlarge": Decimal("0.65"),
    }  # fmt: skip
    source = found[0].price.source
    assert (source.name, source.revision) == ("AWS price list (EC2)", "20250404224122")


def test_no_price_of_the_golden_file_disagrees_with_the_snapshot() -> None:
    """Where both state a price of the same day; the list of 2025-04 is older than the cut of P4 and P5 in 2025-06."""
    with open(Path(__file__).parents[2] / "pricing_cache/aws.csv", encoding="utf-8", newline="") as file:
        known = {
            (line["instance"], line["market"], line["term"], line["offering_class"]): Decimal(line["price_per_hour"])
            for line in csv.DictReader(file)
            if line["region"] == "us-east-1" and line["price_per_hour"] and not line["zone"]
        }
    differ = {
        offer.instance
        for offer in golden()
        for key in [(offer.instance, offer.market, offer.term or "", offer.offering_class or "")]
        if key in known and known[key] != offer.price.amount
    }
    assert differ <= {"p4d.24xlarge", "p5.48xlarge"}


@pytest.mark.parametrize("order", [1, -1])
def test_trap_01_a_capacity_block_row_at_zero_is_no_price(order: int) -> None:
    rows = [row(), row(SKU="S2", MarketOption="CapacityBlock", PricePerUnit="0.0000000000")][::order]
    (offer,) = offers(*rows)
    assert (offer.market, offer.price.amount, offer.price.note) == ("on_demand", Decimal("55.04"), "")


def test_trap_02_a_type_sold_by_reservation_alone_is_shown_without_a_price() -> None:
    (offer,) = offers(row(Instance_Type="p5e.48xlarge", MarketOption="CapacityBlock", PricePerUnit="0"))
    assert (offer.instance, offer.market, offer.price.status) == ("p5e.48xlarge", "on_demand", "unknown")
    assert (offer.price.amount, offer.apart) == (None, ("unknown_price",))
    assert "Capacity Block" in offer.price.note


@pytest.mark.parametrize("order", [1, -1])
def test_trap_03_two_prices_of_one_offer_choose_none_but_zero_is_no_opinion(order: int) -> None:
    both = [row(), row(SKU="S2", PricePerUnit="50")][::order]
    (offer,) = offers(*both)
    assert (offer.price.amount, offer.price.status) == (None, "quarantined")
    assert offer.price.note == "the list states 50 and 55.04"
    (offer,) = offers(*[row(), row(SKU="S2", PricePerUnit="0")][::order])
    assert offer.price.amount == Decimal("55.04")


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_dates_the_newest_in_force_holds(order: int) -> None:
    old, future = row(SKU="S2", EffectiveDate="2025-01-01", PricePerUnit="98.32"), row(EffectiveDate="2027-01-01")
    (offer,) = offers(*[row(), old, future | {"SKU": "S3", "PricePerUnit": "1"}][::order])
    assert (offer.price.amount, offer.price.effective_at) == (Decimal("55.04"), "2026-01-01")


@pytest.mark.parametrize(
    "fields",
    [
        {"Operating System": "Windows", "License Model": "Bring your own license"},
        {"License Model": "Bring your own license"},
        {"Pre Installed S/W": "SQL Web", "operation": "RunInstances:0200"},
        {"operation": "RunInstances:0010"},
        {"Tenancy": "Host"},
        {"Tenancy": "Dedicated"},
        {"CapacityStatus": "UnusedCapacityReservation"},
        {"CapacityStatus": "AllocatedCapacityReservation"},
        {"Unit": "Quantity"},
        {"TermType": "Reserved", "MarketOption": "Other"},
    ],
)
def test_trap_04_06_other_licences_software_tenancies_and_idle_capacity_are_other_things(
    fields: dict[str, str],
) -> None:
    assert offers(row() | fields) == []


def test_trap_05_bare_metal_is_priced_though_its_rows_are_dedicated() -> None:
    metal = {"Instance Type": "g4dn.metal", "Product Family": "Compute Instance (bare metal)"}
    dedicated = row() | metal | {"Tenancy": "Dedicated", "PricePerUnit": "8.61"}
    (offer,) = offers(dedicated)
    assert (offer.service, offer.count, offer.price.amount) == ("bare-metal", 8, Decimal("8.61"))
    (offer,) = offers(dedicated, row() | metal | {"SKU": "S2", "PricePerUnit": "7.824"})
    assert offer.price.amount == Decimal("7.824")


@pytest.mark.parametrize("lines", [0, 5, 9])
def test_trap_07_the_header_is_found_by_its_name_and_columns_by_theirs(lines: int) -> None:
    preamble = tuple(f'"Note {number}","x"' for number in range(lines))
    body = text(row(), preamble=preamble).decode().splitlines()
    turned = [",".join(f'"{cell}"' for cell in reversed(next(csv.reader([line])))) for line in body[lines + 1 :]]
    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": text(row(), preamble=preamble)})
        assert len(list(adapter(cloud).offers(VIRGINIA))) == 1
        head = ",".join(f'"{cell}"' for cell in ["SKU", *reversed(next(csv.reader([body[lines]])))])
        serve(cloud, {"us-east-1": "\n".join([*preamble, head, *('"S1",' + line for line in turned)]).encode()})
        assert len(list(adapter(cloud).offers(VIRGINIA))) == 1


def test_trap_08_13_memory_is_the_models_not_what_a_column_says() -> None:
    for type_, gib in (("g6.xlarge", 24), ("trn2.48xlarge", 96), ("p5.48xlarge", 80)):
        (offer,) = offers(row(Instance_Type=type_, **{"GPU Memory": "524288 MB"}))
        assert offer.accelerator_memory_gib == gib


def test_trap_09_10_a_fraction_of_an_accelerator_is_exact() -> None:
    (offer,) = offers(row(Instance_Type="g6f.large", GPU="0.125", PricePerUnit="0.2"))
    assert (offer.count, offer.accelerator_memory_gib) == (Fraction(1, 8), 3)
    assert offer.price_per_accelerator_hour == Decimal("1.6")


def test_trap_14_29_neuron_devices_are_counted_as_devices() -> None:
    rows = [
        row(SKU=name, Instance_Type=name, Instance_Family="Machine Learning ASIC Instances", GPU="")
        for name in ("inf1.xlarge", "inf2.48xlarge", "trn1.32xlarge", "trn2.48xlarge")
    ]
    found = {offer.instance: (offer.accelerator_id, offer.count) for offer in offers(*rows)}
    assert found == {
        "inf1.xlarge": ("aws-inferentia1", 1), "inf2.48xlarge": ("aws-inferentia2", 12),
        "trn1.32xlarge": ("aws-trainium1", 16), "trn2.48xlarge": ("aws-trainium2", 16),
    }  # fmt: skip


def test_an_account_is_asked_for_the_types_of_the_list_and_for_blocks_of_those_sold_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, ...]] = []

    def offers_of(_: object, region: str, types: Iterable[str], blocks: Iterable[str], now: datetime) -> list[Offer]:
        asked.append((region, sorted(types), sorted(blocks), now))
        return []

    monkeypatch.setattr(account, "offers", offers_of)

    def ask(_: object, region: str, types: Iterable[str], now: datetime) -> offered.Offered:
        assert set(types) == {"p5.48xlarge", "p5e.48xlarge"}
        return offered.Offered(region, {}, {}, now)

    def is_asked(_: object, region: str) -> bool:
        return account.home() == region

    monkeypatch.setattr(account, "is_asked", is_asked)
    monkeypatch.setattr(offered, "ask", ask)
    rows = [row(), row(SKU="S2", Instance_Type="p5e.48xlarge", MarketOption="CapacityBlock", PricePerUnit="0")]
    offers(*rows)
    assert asked == []
    monkeypatch.setenv(account.HOME, "us-east-1")
    offers(*rows)
    assert asked == [("us-east-1", ["p5.48xlarge", "p5e.48xlarge"], ["p5e.48xlarge"], NOW)]


def test_trap_16_a_part_of_a_rack_is_counted_as_its_machine() -> None:
    (offer,) = offers(row(Instance_Type="p6e-gb200.36xlarge"))
    assert (offer.accelerator_id, offer.count, offer.hosts) == ("nvidia-gb200", 4, 1)


def test_trap_21_22_china_is_in_its_own_currency_and_govcloud_in_its_own_partition() -> None:
    with FakeCloud() as cloud:
        serve(cloud, {"cn-north-1": text(row(Region_Code="cn-north-1", Currency="CNY", PricePerUnit="300"))}, part="cn")
        serve(cloud, {"us-gov-west-1": text(row(Region_Code="us-gov-west-1"))})
        (offer,) = adapter(cloud).offers(BEIJING)
        assert (offer.partition, offer.region, offer.price.currency) == ("aws-cn", "cn-north-1", "CNY")
        assert (offer.country, offer.operator_country) == ("CN", "CN")
        government, china = adapter(cloud).scopes()
        assert (government.partition, government.region, china) == ("aws-us-gov", "us-gov-west-1", BEIJING)
        (offer,) = adapter(cloud).offers(government)
        assert (offer.partition, offer.price.currency) == ("aws-us-gov", "USD")


def test_trap_23_odd_members_of_an_index_are_no_regions_and_a_sovereign_region_is_its_own_partition() -> None:
    with FakeCloud() as cloud:
        serve(cloud, {"eusc-de-east-1": b"", "aws-cn-other": b"", "us-east-1": b""})
        scopes = [(scope.partition, scope.region) for scope in adapter(cloud).scopes()]
    assert scopes == [("aws-eusc", "eusc-de-east-1"), ("aws", "us-east-1"), ("aws-cn", None)]


def test_trap_24_one_region_that_fails_fails_alone() -> None:
    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": text(row()), "us-west-2": b"<html>"})
        prices = adapter(cloud)
        assert len(list(prices.offers(VIRGINIA))) == 1
        with pytest.raises(MalformedResponse, match="no line begins with SKU"):
            list(prices.offers(Scope(provider="aws", partition="aws", region="us-west-2")))


def test_trap_25_26_a_new_region_and_a_new_family_are_seen_on_the_day_they_are_listed() -> None:
    with FakeCloud() as cloud:
        new = row(Region_Code="sa-west-9", Instance_Type="p9.48xlarge", GPU="8")
        asic = row(SKU="S2", Region_Code="sa-west-9", Instance_Type="q1.large", Instance_Family="GPU instance")
        serve(cloud, {"sa-west-9": text(new, asic)})
        prices = adapter(cloud)
        found = {offer.instance: offer for offer in prices.offers(prices.scopes()[0])}
    offer = found["p9.48xlarge"]
    assert (offer.accelerator_id, offer.accelerator_name, offer.count, offer.country) == (None, "p9", None, None)
    assert (offer.price.amount, offer.apart, offer.vcpus) == (Decimal("55.04"), ("unknown_count",), 192)
    assert found["q1.large"].accelerator_name == "q1"


def test_a_local_zone_is_a_zone_of_its_region_wherever_its_file_stands() -> None:
    with FakeCloud() as cloud:
        zone = row(Region_Code="us-west-2-lax-1", Instance_Type="g4dn.2xlarge", PricePerUnit="0.904")
        serve(cloud, {"us-west-2": text(row(Region_Code="us-west-2")), "us-west-2-lax-1": text(zone)})
        prices = adapter(cloud)
        (scope, _) = prices.scopes()
        found = {offer.zone: offer.instance for offer in prices.offers(scope)}
    assert found == {None: "p5.48xlarge", "us-west-2-lax-1": "g4dn.2xlarge"}


def test_a_reservation_keeps_what_is_paid_at_the_start_apart() -> None:
    found = {
        offer.payment: (offer.price.amount, offer.price.upfront, offer.term, offer.offering_class)
        for offer in offers(
            reserved("Hrs", "30"),
            reserved("Hrs", "15.5", "Partial Upfront"),
            reserved("Quantity", "130000", "Partial Upfront"),
            reserved("Quantity", "250000", "All Upfront"),
            reserved("Hrs", "0.0000000000", "All Upfront"),
        )
    }
    assert found == {
        "no_upfront": (Decimal(30), None, "1y", "standard"),
        "partial_upfront": (Decimal("15.5"), Decimal(130000), "1y", "standard"),
        "all_upfront": (None, Decimal(250000), "1y", "standard"),
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"PricePerUnit": "-1"}, "not an amount"),
        ({"PricePerUnit": "NaN"}, "not an amount"),
        ({"PricePerUnit": "free"}, "not an amount"),
        ({"Currency": ""}, "no currency"),
        ({"TermType": "Reserved", "LeaseContractLength": "always"}, "a reservation for"),
    ],
)
def test_a_line_that_cannot_be_understood_refuses_the_file(fields: dict[str, str], said: str) -> None:
    with pytest.raises(MalformedResponse, match=said):
        offers(row() | fields)


def test_a_file_without_a_column_or_with_half_a_line_is_refused() -> None:
    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": text(row()).replace(b'"Tenancy"', b'"Tenure"')})
        with pytest.raises(MalformedResponse, match="no column Tenancy"):
            list(adapter(cloud).offers(VIRGINIA))
        serve(cloud, {"us-east-1": text(row()).rstrip()[:-60]})
        with pytest.raises(MalformedResponse, match="fields"):
            list(adapter(cloud).offers(VIRGINIA))
        other = row(Instance_Type="m5.large", Instance_Family="General")
        serve(cloud, {"us-east-1": text(row(), other).rstrip()[:-60]})
        with pytest.raises(MalformedResponse, match="last line"):
            list(adapter(cloud).offers(VIRGINIA))


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/offers/v1.0/aws/x.json", "/offers/v1.0/aws/../../x.json", "/offers/v1.0/cn/x.json", 7],
)
def test_an_index_sends_us_nowhere_else(url: object) -> None:
    with FakeCloud() as cloud:
        index = {"regions": {"us-east-1": {"regionCode": "us-east-1", "currentVersionUrl": url}}}
        cloud.serve_json("/aws/AmazonEC2/current/region_index.json", index)
        with pytest.raises(MalformedResponse, match="no address"):
            adapter(cloud).scopes()


def test_every_row_of_the_table_names_an_accelerator_that_exists() -> None:
    unknown = [shape.instance for shape in instances().values() if shape.accelerator_id is None]
    assert unknown == []
    for shape in instances().values():
        assert shape.accelerator_id is None or by_id(shape.accelerator_id).id == shape.accelerator_id


def test_a_savings_plan_is_told_by_kind_term_and_payment() -> None:
    whole = {"Product Family": "EC2InstanceSavingsPlans", "DiscountedRate": "36.9"}
    found = {
        (offer.market, offer.offering_class, offer.term, offer.payment): (offer.price.amount, offer.price.upfront)
        for offer in plans(
            plan(),
            plan(SKU="B", PurchaseOption="All Upfront", DiscountedRate="37.5"),
            plan(SKU="C", LeaseContractLength="3", DiscountedRate="28.5"),
            plan(SKU="D", **whole),
        )
    }
    assert found == {
        ("savings_plan", "compute", "1y", "no_upfront"): (Decimal("40.1"), None),
        ("savings_plan", "compute", "1y", "all_upfront"): (Decimal("37.5"), None),
        ("savings_plan", "compute", "3y", "no_upfront"): (Decimal("28.5"), None),
        ("savings_plan", "ec2_instance", "1y", "no_upfront"): (Decimal("36.9"), None),
    }


def test_a_plan_of_a_zone_is_the_zones_and_one_offer_is_on_demand_and_in_a_plan_alike() -> None:
    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": text(row())})
        zone = {"DiscountedRegionCode": "us-east-1-atl-2", "DiscountedUsageType": "ATL2-BoxUsage:p5.48xlarge"}
        serve_plans(cloud, {"us-east-1": plan_text(plan()), "us-east-1-atl-2": plan_text(plan(**zone))})
        found = list(adapter(cloud).offers(VIRGINIA))
    assert [(offer.market, offer.zone, offer.accelerator_id, offer.count) for offer in found] == [
        ("on_demand", None, "nvidia-h100-sxm-80gb", 8),
        ("savings_plan", None, "nvidia-h100-sxm-80gb", 8),
        ("savings_plan", "us-east-1-atl-2", "nvidia-h100-sxm-80gb", 8),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"DiscountedUsageType": "UnusedBox:p5.48xlarge"},
        {"DiscountedUsageType": "DedicatedUsage:p5.48xlarge"},
        {"DiscountedOperation": "RunInstances:0002"},
        {"DiscountedServiceCode": "AmazonECS"},
        {"DiscountedInstanceType": "m5.large", "DiscountedUsageType": "BoxUsage:m5.large"},
        {"EffectiveDate": "2027-01-01T00:00:00Z"},
    ],
)
def test_rates_of_other_things_are_left_out(fields: dict[str, str]) -> None:
    assert plans(plan() | fields) == []


def test_a_plan_of_a_new_kind_refuses_the_file() -> None:
    with pytest.raises(MalformedResponse, match="MagicSavingsPlans"):
        plans(plan(**{"Product Family": "MagicSavingsPlans"}))


def test_memory_does_not_grow_with_the_file() -> None:
    """Read whole, this list would be 60 MB; the user's refresh would need what no small machine has."""
    golden_lines = GOLDEN.read_text().splitlines()
    other = golden_lines[6].replace('"Linux"', '"Windows"').replace('"RunInstances"', '"RunInstances:0002"')

    class Endless(CannedAnswer):
        def picked(self, pick: Callable[[bytes], Iterable[bytes]]) -> Iterator[bytes]:
            yield from pick("\n".join([*golden_lines, ""]).encode())
            for _ in range(1000):
                yield from pick((other + "\n").encode() * 100)

    tracemalloc.start()
    try:
        read = sum(1 for _ in OfferFile({"sku": "SKU"}, Sieve(re.compile(b'"Linux"'))).rows(Endless(b"")))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == 23
    assert peak < 1 << 20


def test_a_file_with_its_columns_in_another_order_gives_the_same_offers() -> None:
    """The quick search stands on where columns are: moved, every price would be gone without a word."""
    rows = list(csv.reader(GOLDEN.read_text().splitlines()))
    head, titles, lines = rows[:5], rows[5], rows[6:]

    def amounts(cloud: FakeCloud) -> dict[str, Decimal | None]:
        return {offer.id: offer.price.amount for offer in adapter(cloud).offers(VIRGINIA)}

    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": GOLDEN.read_bytes()})
        expected = amounts(cloud)
    assert len(expected) == len(lines)
    for order in (titles, titles[:0:-1], sorted(titles)):
        moved = io.StringIO()
        writer = csv.writer(moved, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows(head)
        kept = list(dict.fromkeys(["SKU", *order]))
        writer.writerow(kept)
        writer.writerows([row[titles.index(title)] for title in kept] for row in lines)
        with FakeCloud() as cloud:
            serve(cloud, {"us-east-1": moved.getvalue().encode()})
            assert amounts(cloud) == expected


def test_lines_that_the_quick_search_does_not_find_make_the_slow_one_go_on() -> None:
    """Titles may stand where they did and cells be written another way; nobody would miss what is skipped."""
    slow, quick = Sieve(re.compile(b"gpu")), Sieve(re.compile(b",gpu"))
    agreed = Proved(slow, quick)
    for _ in range(Proved.PROOF):
        assert list(agreed.lines(b"1,gpu\n2,cpu\n")) == [b"1,gpu"]
    assert list(agreed.lines(b"1,gpu\n3;gpu\n")) == [b"1,gpu"]
    differing = Proved(slow, quick)
    for _ in range(Proved.PROOF):
        assert list(differing.lines(b"1,gpu\r\n2,cpu\n3;gpu")) == [b"1,gpu", b"3;gpu"]


def test_a_line_passes_once_and_only_with_every_word() -> None:
    sieve = Sieve(re.compile(b"gpu"), (b"linux",), b"extra")
    block = b"gpu gpu linux\ngpu\nlinux gpu extra\nlinux\nlinux,gpu"
    assert list(sieve.lines(block)) == [b"gpu gpu linux", b"linux,gpu"]
    assert list(sieve.lines(b"")) == []


def sagemaker(*lines: str, body: bytes = b"") -> list[Offer]:
    """Offers of SageMaker in the golden file, or in its head followed by `lines`."""
    head = SAGEMAKER.read_text().splitlines()[:6]
    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": text()})
        serve_sagemaker(cloud, {"us-east-1": body or "\n".join([*head, *lines]).encode()})
        return list(adapter(cloud).offers(VIRGINIA))


def test_sagemaker_sells_one_type_at_a_price_for_each_use() -> None:
    """The reader would have taken a managed machine for the plain one, a quarter cheaper, or a notebook for a job."""
    found = {(offer.service, offer.instance): offer for offer in sagemaker(body=SAGEMAKER.read_bytes())}
    assert {key: offer.price.amount for key, offer in found.items()} == {
        ("sagemaker-hosting", "ml.g6e.2xlarge"): Decimal("2.8026"),
        ("sagemaker-async-inference", "ml.g6e.2xlarge"): Decimal("2.8026"),
        ("sagemaker-training", "ml.g5.2xlarge"): Decimal("1.515"),
        ("sagemaker-hyperpod", "ml.g5.8xlarge"): Decimal("3.06"),
    }
    offer = found["sagemaker-hosting", "ml.g6e.2xlarge"]
    assert (offer.accelerator_id, offer.count, offer.vcpus, offer.memory_gib) == ("nvidia-l40s", 1, 8, 64)
    assert (offer.price.source.name, offer.price.source.revision) == ("AWS price list (SageMaker)", "20260920025606")


def test_sagemaker_prices_are_those_of_the_snapshot() -> None:
    with open(Path(__file__).parents[2] / "pricing_cache/optional/aws.csv", encoding="utf-8", newline="") as file:
        known = {
            (line["service"], line["instance"]): Decimal(line["price_per_hour"])
            for line in csv.DictReader(file)
            if line["service"].startswith("sagemaker")
        }
    read = {(offer.service, offer.instance): offer.price.amount for offer in sagemaker(body=SAGEMAKER.read_bytes())}
    assert len(known) == 2
    assert {key: read[key] for key in known} == known


def test_a_new_type_of_sagemaker_is_shown_and_a_rack_at_a_customers_is_not() -> None:
    line = '"S","T","","OnDemand","","2026-09-01","0","Inf","Hrs","{}","USD","","","","{}","EU-Train:ml.{}","",'
    line += '"us-east-1",""'
    (offer,) = sagemaker(
        line.format("70", "AWS Region", "p9.48xlarge"), line.format("60", "AWS Outposts", "g5.2xlarge")
    )
    assert (offer.instance, offer.accelerator_id, offer.price.amount) == ("ml.p9.48xlarge", None, Decimal(70))


def test_a_savings_plan_of_sagemaker_is_no_plan_of_ec2() -> None:
    rate = plan(
        DiscountedServiceCode="AmazonSageMaker", DiscountedUsageType="USE1-Train:ml.g5.2xlarge", DiscountedRate="1.1",
        DiscountedOperation="RunInstance", DiscountedInstanceType="ml.g5.2xlarge-Training",
    ) | {"Product Family": "SageMakerSavingsPlans"}  # fmt: skip
    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": text()})
        serve_plan(cloud, "AWSMachineLearningSavingsPlans", {"us-east-1": plan_text(rate)})
        (offer,) = adapter(cloud).offers(VIRGINIA)
    assert (offer.service, offer.instance, offer.offering_class) == ("sagemaker-training", "ml.g5.2xlarge", "sagemaker")
    assert (offer.market, offer.term, offer.price.amount) == ("savings_plan", "1y", Decimal("1.1"))


def test_a_rack_at_a_customers_is_no_machine_of_the_region() -> None:
    """Its rows carry the region's code and prices of their own, so the region's machine would have lost its price."""
    rows = [
        row() | {"Location Type": "AWS Region"},
        row(SKU="S2", PricePerUnit="9") | {"Location Type": "AWS Outposts"},
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with FakeCloud() as cloud:
        serve(cloud, {"us-east-1": out.getvalue().encode()})
        (offer,) = adapter(cloud).offers(VIRGINIA)
    assert offer.price.amount == Decimal("55.04")


def test_trap_17_a_machine_has_no_figures_of_its_own_for_its_accelerator() -> None:
    """Typed by hand beside each machine, memory and capability drift from the model's; here they are the model's."""
    for shape in instances().values():
        if shape.accelerator_id and shape.count:
            nominal = by_id(shape.accelerator_id).memory_gib
            assert nominal, shape.instance
            assert shape.accelerator_memory_gib == pytest.approx(nominal * min(shape.count, 1)), shape.instance


def test_trap_27_an_accelerator_is_its_makers_whatever_the_column_is_called() -> None:
    makers = {
        name: by_id(offer.accelerator_id or "").vendor
        for name in ("trn1.32xlarge", "inf2.48xlarge", "dl1.24xlarge", "g4ad.xlarge", "p5.48xlarge", "dl2q.24xlarge")
        for offer in offers(row(Instance_Type=name))
    }
    assert makers == {
        "trn1.32xlarge": "aws", "inf2.48xlarge": "aws", "dl1.24xlarge": "intel", "g4ad.xlarge": "amd",
        "p5.48xlarge": "nvidia", "dl2q.24xlarge": "qualcomm",
    }  # fmt: skip


def test_u88_sagemaker_of_china_is_in_yuan_and_a_list_of_lists_without_it_has_none() -> None:
    """Beside the prices in USD it would have looked seven times as dear, or, read from the wrong hosts, not sold."""
    head = SAGEMAKER.read_text().splitlines()[:6]
    line = '"S","T","","OnDemand","","2026-09-01","0","Inf","Hrs","30","CNY","","","","AWS Region",'
    line += '"CNN1-Train:ml.g5.2xlarge","",'
    with FakeCloud() as cloud:
        serve(cloud, {"cn-north-1": text()}, part="cn")
        assert list(adapter(cloud).offers(BEIJING)) == []
        serve_sagemaker(cloud, {"cn-north-1": "\n".join([*head, line + '"cn-north-1",""']).encode()}, part="cn")
        (offer,) = adapter(cloud).offers(BEIJING)
    assert (offer.partition, offer.service, offer.instance) == ("aws-cn", "sagemaker-training", "ml.g5.2xlarge")
    assert (offer.price.amount, offer.price.currency, offer.country) == (Decimal(30), "CNY", "CN")
