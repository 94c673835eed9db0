"""Spot prices by zone and Capacity Blocks, through boto3's own shapes: each call and answer is checked against them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.errors import AuthError, ConfigError
from cloudaccel.model import Offer, identified
from cloudaccel_aws import account, offered
from cloudaccel_aws.pricefile import instances
from cloudaccel_aws.sdk import Sdk

botocore = pytest.importorskip("botocore.session")
GOLDEN = Path(__file__).parents[1] / "golden/prices/aws_capacity_blocks_p4d_2025-02.json"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TYPES = ("g6.xlarge", "p5.48xlarge")


class Session:
    """A boto3 session that answers from `pages`, by operation: what is asked and answered has EC2's own shape."""

    def __init__(self, pages: Mapping[str, Sequence[Any]]) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        usual: dict[str, Sequence[Any]] = {
            "DescribeRegions": [{"Regions": [{"RegionName": "us-east-1"}, {"RegionName": "us-east-2"}]}],
            "DescribeAvailabilityZones": [{"AvailabilityZones": [{"ZoneName": "us-east-2a", "ZoneId": "use2-az1"}]}],
            "DescribeSpotPriceHistory": [{"SpotPriceHistory": []}],
        }
        self.pages = {**usual, **pages}
        self.model: Any = botocore.get_session().get_service_model("ec2")

    def client(self, service: str, *, region_name: str, config: Any) -> Any:
        assert (service, config.retries["total_max_attempts"]) == ("ec2", account.ATTEMPTS)
        session = self

        class Client:
            def _make_api_call(self, operation: str, parameters: dict[str, Any]) -> Any:
                return session.answer(region_name, operation, parameters)

        return Client()

    def answer(self, region: str, operation: str, parameters: dict[str, Any]) -> Any:
        from botocore.exceptions import ClientError
        from botocore.validate import ParamValidator

        self.asked.append((region, operation, dict(parameters)))
        shapes = self.model.operation_model(operation)
        assert not ParamValidator().validate(parameters, shapes.input_shape).has_errors()
        page = self.pages[operation][int(parameters.get("NextToken", 0))]
        if isinstance(page, str):
            raise ClientError({"Error": {"Code": page, "Message": "no"}}, operation)
        assert not ParamValidator().validate(page, shapes.output_shape).has_errors()
        return page


def spot(price: str, zone: str = "use2-az1", *, ago: timedelta = DAY, product: str = "Linux/UNIX") -> dict[str, Any]:
    return {
        "InstanceType": "p5.48xlarge", "AvailabilityZone": "us-east-2x", "AvailabilityZoneId": zone,
        "ProductDescription": product, "SpotPrice": price, "Timestamp": NOW - ago,
    }  # fmt: skip


def block(fee: str, hours: int = 24, minutes: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "CapacityBlockOfferingId": "cb-1", "InstanceType": "p5.48xlarge", "AvailabilityZone": "us-east-2a",
        "InstanceCount": 1, "StartDate": NOW + DAY, "CapacityBlockDurationHours": hours,
        "CapacityBlockDurationMinutes": minutes, "UpfrontFee": fee, "CurrencyCode": "USD", **fields,
    }  # fmt: skip


def read(pages: Mapping[str, Sequence[Any]], region: str = "us-east-2", blocks: Sequence[str] = ()) -> list[Offer]:
    return list(account.offers(Sdk(Session(pages), attempts=account.ATTEMPTS), region, TYPES, blocks, NOW))


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(account.HOME, "us-east-1")


def test_no_account_is_asked_unless_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(account.HOME)
    session = Session({})
    assert not account.is_asked(Sdk(session), "us-east-2")
    assert session.asked == []


def test_a_home_that_is_no_region_is_told_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(account.HOME, "yes please")
    with pytest.raises(ConfigError, match="CLOUDACCEL_AWS_ACCOUNT_PRICES: 'yes please'"):
        account.home()


def test_a_region_that_the_account_does_not_use_is_not_asked() -> None:
    session = Session({})
    assert not account.is_asked(Sdk(session, attempts=account.ATTEMPTS), "af-south-1")
    assert account.is_asked(Sdk(session, attempts=account.ATTEMPTS), "us-east-2")
    assert {(region, operation) for region, operation, _ in session.asked} == {("us-east-1", "DescribeRegions")}


def test_trap_18_28_pages_add_zones_and_zones_are_told_by_id() -> None:
    pages = [
        {"SpotPriceHistory": [spot("20.1"), spot("21.5", "use2-az2")], "NextToken": "1"},
        {"SpotPriceHistory": [spot("22.7", "use2-az3"), spot("25", "use2-az2", ago=5 * DAY)], "NextToken": ""},
    ]
    found = read({"DescribeSpotPriceHistory": pages})
    assert {offer.zone: offer.price.amount for offer in found} == {
        "use2-az1": Decimal("20.1"), "use2-az2": Decimal("21.5"), "use2-az3": Decimal("22.7"),
    }  # fmt: skip
    assert {(offer.market, offer.region, offer.accelerator_id, offer.price.effective_at) for offer in found} == {
        ("spot", "us-east-2", "nvidia-h100-sxm-80gb", "2026-11-24")
    }


def test_trap_19_both_descriptions_of_linux_are_asked_for_and_the_newest_price_holds() -> None:
    old, new = spot("30", ago=3 * DAY), spot("20", product="Linux/UNIX (Amazon VPC)")
    session = Session({"DescribeSpotPriceHistory": [{"SpotPriceHistory": [old, new]}]})
    (offer,) = account.offers(Sdk(session, attempts=account.ATTEMPTS), "us-east-2", TYPES, (), NOW)
    assert offer.price.amount == Decimal(20)
    asked = session.asked[-1][2]
    assert (asked["ProductDescriptions"], asked["InstanceTypes"], asked["StartTime"]) == (
        ["Linux/UNIX", "Linux/UNIX (Amazon VPC)"], list(TYPES), NOW,
    )  # fmt: skip


def test_the_price_of_a_block_is_its_fee_over_machines_hours_and_minutes() -> None:
    """A block of 18 h 30 min for two machines at 3,000 USD would have looked like 162.16 or 166.67 USD per hour."""
    pages = [{"CapacityBlockOfferings": [block("3000", 18, 30, InstanceCount=2)]}]
    (offer,) = read({"DescribeCapacityBlockOfferings": pages}, blocks=["p5.48xlarge"])
    assert (offer.market, offer.zone) == ("capacity_block", "use2-az1")
    assert (offer.price.amount, offer.price.upfront) == (Decimal("81.081081081"), Decimal(1500))
    assert "18.5 h from 2026-11-26 12:00 UTC" in offer.price.note


def test_the_real_answer_of_2025_gives_the_cheapest_block_of_the_zone() -> None:
    """The three offerings cost 11.79, 12 and 11.88 USD per hour; the durations are not the day that was asked for."""
    page = json.loads(GOLDEN.read_text())
    for entry in page["CapacityBlockOfferings"]:
        entry["StartDate"] = datetime.fromisoformat(entry["StartDate"])
    (offer,) = read({"DescribeCapacityBlockOfferings": [page]}, blocks=["p4d.24xlarge"])
    assert (offer.instance, offer.zone, offer.price.amount) == ("p4d.24xlarge", "use2-az1", Decimal("11.791666667"))
    assert offer.price.upfront == Decimal(283)


def test_segments_of_a_block_are_priced_each_in_its_own_zone() -> None:
    parts = [
        block("480", AvailabilityZoneId="use2-az1"),
        block("960", AvailabilityZoneId="use2-az3", InstanceType="p5en.48xlarge"),
    ]
    for part in parts:
        del part["CapacityBlockOfferingId"]
    pages = [{"CapacityBlockOfferings": [block("1440", 48, CapacityBlockOfferingSegments=parts)]}]
    found = read({"DescribeCapacityBlockOfferings": pages}, blocks=["p5.48xlarge"])
    assert [(offer.instance, offer.zone, offer.price.amount) for offer in found] == [
        ("p5.48xlarge", "use2-az1", Decimal(20)), ("p5en.48xlarge", "use2-az3", Decimal(40)),
    ]  # fmt: skip


def test_a_type_without_blocks_there_is_none_and_a_refused_call_is_an_error() -> None:
    assert read({"DescribeCapacityBlockOfferings": ["InvalidParameterValue"]}, blocks=["g6.xlarge"]) == []
    with pytest.raises(AuthError):
        read({"DescribeSpotPriceHistory": ["AuthFailure"]})


def described(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((GOLDEN.parent / file).read_text())["InstanceTypes"]
    return found


TYPES_OF_EC2 = described("aws_instance_types_2026-08.json")


@pytest.mark.parametrize("answer", TYPES_OF_EC2, ids=lambda answer: str(answer["InstanceType"]))
def test_traps_08_to_15_what_ec2_says_of_a_type_is_what_the_table_says(answer: dict[str, Any]) -> None:
    """Counts of cores, whole cards for shares, 22 GiB for an L4 or 512 for a Trainium2 would have stood in a plan."""
    known = instances()[answer["InstanceType"]]
    found = offered.shape_of(answer)
    assert found is not None
    assert (found.count, found.vcpus, found.memory_gib) == (known.count, known.vcpus, known.memory_gib)
    # Of P3, P4 and P5 the name alone leaves the form open, and what is not said is not guessed.
    assert found.accelerator_id in (known.accelerator_id, None) or known.accelerator_id is None
    if found.accelerator_id and known.accelerator_memory_gib:
        assert found.accelerator_memory_gib == pytest.approx(known.accelerator_memory_gib, rel=0.001)


def test_trap_11_a_type_without_accelerators_has_none() -> None:
    assert offered.shape_of({"InstanceType": "g9.metal", "VCpuInfo": {"DefaultVCpus": 4}}) is None


def test_trap_12_the_tables_name_stands_where_ec2s_is_wrong() -> None:
    """EC2 once called the accelerator of a p5e NVIDIA: a query for H200 would have missed it."""
    wrong = next(answer for answer in TYPES_OF_EC2 if answer["InstanceType"] == "p5e.48xlarge")
    wrong = json.loads(json.dumps(wrong))
    wrong["GpuInfo"]["Gpus"][0]["Name"] = "NVIDIA"
    pages = offerings({"p5e.48xlarge": ["use2-az1"]}) | {"DescribeInstanceTypes": [{"InstanceTypes": [wrong]}]}
    (offer,) = told(pages).unpriced(())
    assert (offer.accelerator_id, offer.accelerator_name) == ("nvidia-h200-sxm", "H200")


def offerings(zones: Mapping[str, Sequence[str]]) -> dict[str, Sequence[Any]]:
    """One page of `zones` for each type, as EC2 spreads them over pages."""
    pages = [
        {
            "InstanceTypeOfferings": [
                {"InstanceType": name, "LocationType": "availability-zone-id", "Location": zone} for zone in found
            ],
            "NextToken": str(number) if number < len(zones) else "",
        }
        for number, (name, found) in enumerate(zones.items(), 1)
    ]
    return {"DescribeInstanceTypeOfferings": pages or [{"InstanceTypeOfferings": []}]}


def told(pages: Mapping[str, Sequence[Any]], types: Sequence[str] = ()) -> offered.Offered:
    usual: dict[str, Sequence[Any]] = {"DescribeInstanceTypes": [{"InstanceTypes": []}]}
    return offered.ask(Sdk(Session({**usual, **pages}), attempts=account.ATTEMPTS), "us-east-2", types, NOW)


def test_a_priced_type_that_the_region_does_not_offer_is_not_seen_there() -> None:
    """A price stands in the list of regions where the type was never sold: the plan would have asked for it in vain."""
    (dear,) = read({"DescribeSpotPriceHistory": [{"SpotPriceHistory": [spot("20")]}]})
    here = told(offerings({"p5.48xlarge": ["use2-az1"], "g6.xlarge": ["use2-az2"]}))
    assert here.seen(dear).availability == ("offered", "2026-11-25")
    elsewhere = told(offerings({"p5.48xlarge": ["use2-az2"], "g6.xlarge": ["use2-az1"]}))
    assert (elsewhere.seen(dear).availability.state, elsewhere.seen(dear).apart) == ("not_seen", ("not_seen",))
    unasked = told(offerings({"p5.48xlarge": ["use2-az2"]}))
    assert unasked.seen(dear).availability.state == "listed"


def test_trap_02_a_type_that_is_offered_without_a_list_price_is_shown_without_one() -> None:
    found = list(told(offerings({"p5e.48xlarge": ["use2-az1"], "m7i.large": ["use2-az1"]})).unpriced(["p5.48xlarge"]))
    assert [(offer.instance, offer.price.amount, offer.availability.state) for offer in found] == [
        ("p5e.48xlarge", None, "offered")
    ]
    assert "no price of it" in found[0].price.note


def test_a_new_type_is_described_by_ec2_and_only_such_types_are_asked_for() -> None:
    """The table of this version ends; the type after it would have had an unknown count for ever."""
    new = {
        "InstanceType": "g9f.large", "VCpuInfo": {"DefaultVCpus": 2}, "MemoryInfo": {"SizeInMiB": 8192},
        "GpuInfo": {"Gpus": [{"Name": "L4", "Count": 0, "LogicalGpuCount": 1, "GpuPartitionSize": 0.125}]},
    }  # fmt: skip
    session = Session(offerings({"g9f.large": ["use2-az1"]}) | {"DescribeInstanceTypes": [{"InstanceTypes": [new]}]})
    here = offered.ask(Sdk(session, attempts=account.ATTEMPTS), "us-east-2", TYPES, NOW)
    assert session.asked[-1][2] == {"Filters": [{"Name": "instance-type", "Values": ["g9f.large"]}]}
    pages = {"DescribeSpotPriceHistory": [{"SpotPriceHistory": [spot("0.1") | {"InstanceType": "g9f.large"}]}]}
    (bare,) = read(pages)
    offer = here.seen(bare)
    assert (bare.count, offer.count, offer.accelerator_id) == (None, Fraction(1, 8), "nvidia-l4")
    assert (offer.accelerator_memory_gib, offer.vcpus, offer.memory_gib) == (3, 2, 8)
    assert (offer.apart, identified(offer).id) == ((), offer.id)


def test_trap_15_a_device_whose_memory_ec2_leaves_out_has_its_models() -> None:
    known = next(answer for answer in TYPES_OF_EC2 if answer["InstanceType"] == "inf1.24xlarge")
    (device,) = known["NeuronInfo"]["NeuronDevices"]
    bare = {name: value for name, value in device.items() if name != "MemoryInfo"}
    found = offered.shape_of({**known, "NeuronInfo": {"NeuronDevices": [bare]}})
    assert found is not None
    assert (found.accelerator_id, found.count, found.accelerator_memory_gib) == ("aws-inferentia1", 16, 8)


def test_trap_30_one_odd_type_is_unknown_and_the_region_is_read() -> None:
    """A type with two kinds of accelerators once failed the whole region."""
    two = {"GpuInfo": {"Gpus": [{"Name": "L4", "Count": 1}, {"Name": "T4", "Count": 2}]}, "InstanceType": "g9x.large"}
    pages = offerings({"g9x.large": ["use2-az1"], "p5e.48xlarge": ["use2-az1"]})
    here = told(pages | {"DescribeInstanceTypes": [{"InstanceTypes": [two]}]})
    found = {offer.instance: (offer.accelerator_id, offer.count) for offer in here.unpriced(())}
    assert found == {"g9x.large": (None, None), "p5e.48xlarge": ("nvidia-h200-sxm", 8)}
