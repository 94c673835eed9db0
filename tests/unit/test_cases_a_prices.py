"""Prices that were wrong for somebody once; each test is named after the case in the tracker."""

from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.api.quoting import Quote, cost_of, quote
from tests.support import HEADER, column, hidden, names, offers_of, price_file, run


def test_u01_host_and_accelerator_rows_are_one_price(tmp_path: Path) -> None:
    header = "provider,region,instance,accelerator,count,market,hourly,currency,as_of,source,part"
    path = price_file(
        tmp_path,
        "gcp,us-central1,a2-highgpu-1g,A100-40GB-SXM,1,on-demand,3.11,USD,2026-07-01,list,accelerator",
        "gcp,us-central1,a2-highgpu-1g,,,on-demand,0.94,USD,2026-07-01,list,host",
        header=header,
    )
    answer = run("--catalog", str(path), "quote", "A100-40GB:1", "--provider", "gcp", "--json")
    (offer,) = answer.json["offers"]
    assert offer["price"]["price_per_hour"] == "4.05"
    parts = {part["name"]: part["price_per_hour"] for part in offer["price"]["parts"]}
    assert parts == {"accelerator": "3.11", "host": "0.94"}
    assert "4.05" in run("--catalog", str(path), "quote", "A100-40GB:1", "--explain").out


def test_u01_a_missing_part_makes_the_price_unknown(tmp_path: Path) -> None:
    header = "provider,region,instance,accelerator,count,market,hourly,currency,as_of,part"
    path = price_file(
        tmp_path,
        "gcp,us-central1,a2-highgpu-1g,A100-40GB-SXM,1,on-demand,3.11,USD,2026-07-01,accelerator",
        "gcp,us-central1,a2-highgpu-1g,,,on-demand,,USD,2026-07-01,host",
        header=header,
    )
    (offer,) = quote("A100-40GB:1", catalog=path).offers
    assert offer.price.amount is None


def test_u02_spot_dearer_than_on_demand_is_no_saving(tmp_path: Path) -> None:
    path = price_file(
        tmp_path,
        "runpod,US,,a40,A40,1,48,9,spot,0.49,USD,2026-07-01,hand",
        "runpod,US,,a40,A40,1,48,9,on-demand,0.44,USD,2026-07-01,hand",
    )
    answer = quote("A40", market="any", catalog=path)
    assert [o.market for o in answer.offers] == ["on_demand", "spot"]
    assert [n.code for n in answer.notices] == ["spot_not_cheaper"]
    said = "runpod US a40: spot 0.49 (seen 2026-07-01, in prices.csv) is not below on-demand 0.44: no saving."
    assert answer.notices[0].text == said


def test_u03_an_old_price_is_marked_and_strict_ends_with_6(tmp_path: Path) -> None:
    path = price_file(tmp_path, "runpod,US,,pod,H100-PCIe,1,80,16,on-demand,4.49,USD,2020-01-01,table")
    answer = run("--catalog", str(path), "quote", "H100", "--max-age", "24h", "--strict")
    assert answer.code == 6
    assert "STALE" in answer.out
    assert "4.49" in answer.out
    assert "H100-PCIe" in answer.out
    assert run("--catalog", str(path), "quote", "H100", "--max-age", "24h").code == 0
    vague = price_file(tmp_path, "runpod,US,,pod,H100,1,80,16,on-demand,4.49,USD,2026-07-01,table", name="vague.csv")
    said = run("--catalog", str(vague), "quote", "H100", "--json").json["offers"][0]["price"]["note"]
    assert "'H100' is taken as nvidia-h100-sxm-80gb, and may be nvidia-h100-pcie-80gb" in said


def test_u04_an_unknown_price_is_null_and_last(tmp_path: Path) -> None:
    path = price_file(
        tmp_path,
        "azure,eastus,,Standard_NC40ads_H100_v5,H100-NVL,1,94,40,on-demand,,USD,2026-07-01,list",
        "azure,eastus,,Standard_NC80adis_H100_v5,H100-NVL,1,94,80,on-demand,9.5,USD,2026-07-01,list",
        "azure,westus,,zero,H100-NVL,1,94,80,on-demand,0,USD,2026-07-01,list",
    )
    offers = run("--catalog", str(path), "quote", "H100", "--sort", "price", "--json").json["offers"]
    assert column(offers, "price", "price_per_hour") == ["9.5", None, None]
    assert column(offers, "price", "status") == ["exact", "unknown", "unknown"]
    table = run("--catalog", str(path), "quote", "H100").out
    assert "—" in table
    assert "0.00" not in table


def test_u07_chips_are_multiplied_and_unpriced_zones_come_last(tmp_path: Path) -> None:
    path = price_file(
        tmp_path,
        "gcp,us-east5,,v6e-256,v6e,256,32,,on-demand,691.20,USD,2026-07-01,list",
        "gcp,europe-west4,,v6e-256,v6e,256,32,,on-demand,760.32,USD,2026-07-01,list",
        "gcp,asia-northeast1,,v6e-256,v6e,256,32,,on-demand,,USD,2026-07-01,list",
    )
    answer = quote("tpu-v6e:256", catalog=path)
    assert [o.price.amount for o in answer.offers] == [Decimal("691.2"), Decimal("760.32"), None]
    assert answer.offers[0].price_per_accelerator_hour == Decimal("2.7")


def test_u08_spot_is_ranked_by_spot(tmp_path: Path) -> None:
    prices = (("x", "on-demand", "3.0"), ("x", "spot", "1.5"), ("y", "on-demand", "2.8"), ("y", "spot", "1.9"))
    rows = [f"aws,us-east-1,,{name},T4,1,16,4,{market},{price},USD,2026-07-01,l" for name, market, price in prices]
    path = price_file(tmp_path, *rows)
    assert offers_of(path, "T4", market="spot") == ["x", "y"]
    assert offers_of(path, "T4", market="on-demand") == ["y", "x"]


def test_u10_bundled_parts_add_up_to_the_real_price(tmp_path: Path) -> None:
    header = "provider,region,instance,accelerator,count,market,hourly,currency,as_of,part"
    rows = [
        f"gcp,{region},a2-ultragpu-8g,A100-80GB-SXM,8,spot,{gpu},USD,2026-07-01,accelerators\n"
        f"gcp,{region},a2-ultragpu-8g,,,spot,{host},USD,2026-07-01,host\n"
        f"gcp,{region},a2-ultragpu-8g,,,spot,{ssd},USD,2026-07-01,local-ssd"
        for region, gpu, host, ssd in (
            ("europe-west4", "12.00", "2.845", "0.255"),
            ("us-east4", "13.00", "2.909", "0.251"),
            ("us-central1", "13.10", "2.988", "0.232"),
        )
    ]
    path = price_file(tmp_path, *rows, header=header)
    answer = quote("A100-80GB:8", provider="gcp", market="spot", catalog=path)
    assert [o.price.amount for o in answer.offers] == [Decimal("15.10"), Decimal("16.16"), Decimal("16.32")]


def test_u11_an_unknown_family_is_unknown_and_named(tmp_path: Path) -> None:
    path = price_file(tmp_path, "gcp,us-central1,,a9-foogpu-8g,FooGPU 9000,8,,208,on-demand,,USD,2026-07-01,list")
    answer = run("--catalog", str(path), "quote", "--instance", "a9-foogpu-8g", "--strict", "--json")
    assert answer.code == 6
    assert answer.json["offers"][0]["price"]["price_per_hour"] is None
    assert "FooGPU 9000" in answer.err
    priced = price_file(tmp_path, "gcp,us-east4,,a9-foogpu-8g,,,,96,on-demand,40,USD,2026-07-01,list", name="b.csv")
    answer = run("--catalog", str(priced), "quote", "--instance", "a9-foogpu-8g", "--strict")
    assert answer.code == 6
    assert "a9-foogpu-8g: no source names its accelerator" in answer.err


def test_u12_a_second_source_that_disagrees_is_shown(tmp_path: Path) -> None:
    path = price_file(
        tmp_path,
        "azure,westus,,Standard_NV6,M60,1,8,6,spot,0.016806,USD,2021-03-01,retail-api",
        "azure,westus,,Standard_NV6,M60,1,8,6,spot,0.11160,USD,2021-03-01,portal",
    )
    answer = run("--catalog", str(path), "quote", "M60", "--market", "spot", "--explain")
    assert "0.016806" in answer.out
    assert "retail-api" in answer.out
    assert "the newer of two prices counts, of the same day the dearer" in answer.out
    (offer,) = quote("M60", market="spot", catalog=path).offers
    assert offer.price.amount == Decimal("0.1116")  # on the same day the worse one counts


def test_u15_every_figure_has_a_unit(tmp_path: Path) -> None:
    path = price_file(tmp_path, "aws,us-east-1,,g4dn.xlarge,T4,1,16,4,on-demand,0.526,USD,2026-07-01,l")
    lines = run("--catalog", str(path), "quote", "T4").out.splitlines()
    assert "USD excl. tax" in lines[0]
    assert "$/ACCEL-H" in lines[2]
    assert "$/H" in lines[2]
    assert "AGE" in lines[2]


def test_u99_at_one_price_the_bigger_host_is_first(tmp_path: Path) -> None:
    header = "provider,region,instance,accelerator,count,vcpus,memory_gib,market,hourly,currency,as_of"
    path = price_file(
        tmp_path,
        "vast,US,small,RTX4090,1,8,45,on-demand,0.16,USD,2026-07-01",
        "vast,US,big,RTX4090,1,12,125,on-demand,0.16,USD,2026-07-01",
        header=header,
    )
    assert offers_of(path, "RTX4090") == ["big", "small"]


def test_u99_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [f"vast,US,,i{n},RTX4090,1,24,8,on-demand,{n + 1},USD,2026-07-01,l" for n in range(30)]
    answer = run("--catalog", str(price_file(tmp_path, *rows)), "quote", "RTX4090", "--limit", "3")
    assert "3 of 30 offers shown" in answer.out


def test_u67_markets_that_exist_are_named_when_on_demand_does_not(tmp_path: Path) -> None:
    header = "provider,region,instance,accelerator,count,market,hourly,currency,as_of,availability"
    path = price_file(
        tmp_path,
        "gcp,us-central1,a4-highgpu-8g,B200,8,on-demand,90.2,USD,2026-07-01,not_sold",
        "gcp,us-central1,a4-highgpu-8g,B200,8,spot,32.6,USD,2026-07-01,listed",
        header=header,
    )
    answer = run("--catalog", str(path), "quote", "B200", "--provider", "gcp", "--market", "on-demand")
    assert answer.code == 3
    assert "--market spot" in answer.err
    assert "not sold in this market" in answer.err


def test_u70_two_one_year_prices_are_two_labelled_rows(tmp_path: Path) -> None:
    header = "provider,region,instance,accelerator,count,market,payment,offering_class,hourly,currency,as_of"
    path = price_file(
        tmp_path,
        "aws,us-east-1,p4de.24xlarge,A100-80GB-SXM,8,reserved-1y,no_upfront,standard,30.26,USD,2026-07-01",
        "aws,us-east-1,p4de.24xlarge,A100-80GB-SXM,8,reserved-1y,all_upfront,savings,25.21,USD,2026-07-01",
        header=header,
    )
    answer = run("--catalog", str(path), "quote", "A100-80GB:8", "--market", "reserved-1y")
    assert "reserved 1y standard no-upfront" in answer.out
    assert "reserved 1y savings all-upfront" in answer.out
    assert quote("A100-80GB:8", market="reserved-3y", catalog=path).total == 0


def test_u82_listed_is_not_for_sale(tmp_path: Path) -> None:
    header = "provider,region,instance,accelerator,count,market,hourly,currency,as_of,availability,last_seen_available"
    path = price_file(
        tmp_path,
        "ovh,gra,h100-380,H100-PCIe,1,on-demand,2.8,EUR,2026-07-01,listed,",
        "aws,us-east-1,p5.4xlarge,H100-SXM,1,on-demand,6.88,USD,2026-07-01,offered,2026-06-30",
        header=header,
    )
    answer = quote("H100", require_available=True, catalog=path)
    assert names(answer) == ["p5.4xlarge"]
    assert hidden(answer) == {"availability": 1}
    assert "offered 2026-06-30" in run("--catalog", str(path), "quote", "H100").out


def test_u107_no_price_is_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    assert cost_of("ml.brandnew") is None
    assert "no source has a price of ml.brandnew" in caplog.text


def test_u69_commitments_of_another_kind_stay_apart(tmp_path: Path) -> None:
    header = "provider,region,instance,accelerator,count,market,payment,offering_class,hourly,currency,as_of"
    path = price_file(
        tmp_path,
        "gcp,us-central1,a3-highgpu-8g,H100-SXM,8,reserved-1y,,resource,61.38,USD,2026-07-01",
        "gcp,us-central1,a3-highgpu-8g,H100-SXM,8,reserved-3y,,resource,38.86,USD,2026-07-01",
        "aws,us-east-1,p5.48xlarge,H100-SXM,8,reserved-1y,no_upfront,convertible,48,USD,2026-07-01",
        "aws,us-east-1,p5.48xlarge,H100-SXM,8,reserved-1y,no_upfront,standard,43,USD,2026-07-01",
        "aws,us-east-1,p5.48xlarge,H100-SXM,8,savings-plan-1y,no_upfront,,44,USD,2026-07-01",
        header=header,
    )
    answer = run(
        "--catalog", str(path), "quote", "H100-SXM:8", "--market", "reserved-1y,reserved-3y", "--csv",
        "--columns", "market,term,payment,class,price",
    )  # fmt: skip
    assert answer.out.splitlines()[1:] == [
        "reserved,3y,,resource,38.86",
        "reserved,1y,no_upfront,standard,43",
        "reserved,1y,no_upfront,convertible,48",
        "reserved,1y,,resource,61.38",
    ]
    assert offers_of(path, "H100-SXM:8", market="savings-plan-1y") == ["p5.48xlarge"]
    assert offers_of(path, "H100-SXM:8", market="savings-plan-3y") == []


def test_u120_the_users_price_is_on_top_and_visible(tmp_path: Path) -> None:
    catalog = price_file(tmp_path, "aws,us-east-1,,g5.xlarge,A10G,1,24,4,on-demand,3.20,USD,2026-07-01,list")
    overlay = price_file(
        tmp_path, "aws,g5.xlarge,on-demand,2.10,USD", header="provider,instance,market,hourly,currency", name="own.csv"
    )
    before = overlay.read_bytes()
    answer = run("--catalog", str(catalog), "quote", "A10G:1", "--price-file", str(overlay), "--explain")
    assert "2.10" in answer.out
    assert f"price from overlay {overlay}; list 3.2 USD of 2026-07-01" in answer.out
    found = quote("A10G:1", catalog=catalog, price_file=overlay)
    assert [o.price.amount for o in found.offers] == [Decimal("2.1")]
    assert found.offers[0].vcpus == 4  # what the overlay leaves open comes from the list
    assert overlay.read_bytes() == before


def test_u120_a_refresh_leaves_the_users_prices_on_top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(tmp_path / "cache"))
    overlay = price_file(
        tmp_path, "aws,us-east-1,p5.48xlarge,on-demand,41.20,USD,2026-09-01",
        header="provider,region,instance,market,hourly,currency,as_of", name="own.csv",
    )  # fmt: skip
    monkeypatch.setenv("CLOUDACCEL_PRICE_FILE", str(overlay))
    before = overlay.read_bytes()

    def cheapest() -> Decimal | None:
        return quote(instance="p5.48xlarge", region="us-east-1").offers[0].price.amount

    assert cheapest() == Decimal("41.2")
    assert run("refresh", "--out", str(tmp_path / "snap.zip")).code == 0
    assert run("refresh", "--from", str(tmp_path / "snap.zip")).code == 0
    assert (tmp_path / "cache" / "catalog.sqlite").exists()
    assert cheapest() == Decimal("41.2")
    assert overlay.read_bytes() == before


def test_u120_an_overlay_row_of_its_own_is_one_more_offer(tmp_path: Path) -> None:
    catalog = price_file(tmp_path, "aws,us-east-1,,g5.xlarge,A10G,1,24,4,on-demand,3.20,USD,2026-07-01,list")
    overlay = price_file(
        tmp_path, "own,rack-1,RTX3090,1,0.33,USD,2026-07-01,node_type=perf",
        header="provider,region,accelerator,count,hourly_usd,currency,as_of,label", name="own.csv",
    )  # fmt: skip
    (offer,) = quote("RTX3090", provider="own", catalog=catalog, price_file=overlay).offers
    assert offer.price.amount == Decimal("0.33")


def test_u64_a_monthly_price_is_divided_by_730(tmp_path: Path) -> None:
    header = "provider,region,instance,accelerator,count,market,hourly_usd,monthly_usd,as_of"
    path = price_file(
        tmp_path,
        "own,a,hourly,L40S,1,on-demand,1,,2026-07-01",
        "own,b,monthly,L40S,1,on-demand,,730,2026-07-01",
        header=header,
    )
    assert [o.price.amount for o in quote("L40S", catalog=path).offers] == [Decimal(1), Decimal(1)]


@pytest.mark.parametrize("place", [("--region", "chinanorth3"), ("--provider", "azure-cn")])
def test_u88_a_part_of_a_seller_without_a_price_list_is_unknown_and_not_empty(place: tuple[str, str]) -> None:
    """He would have believed that Azure in China sells none: its list is another one, which nobody carried in."""
    answer = run("quote", "H100", *place)
    assert answer.code == 6
    assert "no source of this catalog has any price of azure-china" in answer.err
    assert "nothing on offer" not in answer.err
    warning = run("quote", "H100", *place, "--json").json["warnings"][-1]
    assert warning["code"] == "no_price_source"
    # A part that has prices, and none of this, is another matter.
    assert run("quote", "MI300X", "--provider", "aws").code == 3


def test_u88_yuan_and_dollars_of_one_machine_are_two_offers(tmp_path: Path) -> None:
    """He would have believed that a machine costs 20 dollars in China, or that it is the cheapest at 20 yuan."""
    path = price_file(
        tmp_path,
        "aws,cn-north-1,,g4dn.xlarge,T4,1,16,4,on-demand,3.7,CNY,2026-07-01,l",
        "aws,us-east-1,,g4dn.xlarge,T4,1,16,4,on-demand,0.526,USD,2026-07-01,l",
    )
    found = quote("T4", catalog=path).offers
    assert [(o.price.currency, o.partition) for o in found] == [("USD", "aws"), ("CNY", "aws-cn")]
    assert found[1].apart == ("other_currency",)


def test_u72_spot_is_taken_only_below_a_price(tmp_path: Path) -> None:
    """He would have believed that spot of a bigger machine saves, where it costs more than the small one on demand."""
    path = price_file(
        tmp_path,
        "aws,us-east-1,,g4dn.xlarge,T4,1,16,4,on-demand,0.526,USD,2026-07-01,l",
        "aws,us-east-1,,g4dn.2xlarge,T4,1,16,8,spot,0.40,USD,2026-07-01,l",
        "aws,us-east-1,,g4dn.4xlarge,T4,1,16,16,spot,0.70,USD,2026-07-01,l",
    )
    answer = quote("T4", market="on-demand,spot", max_hourly="0.526", catalog=path)
    assert names(answer) == ["g4dn.2xlarge", "g4dn.xlarge"]
    assert hidden(answer) == {"max_hourly": 1}


U72 = (
    "aws,us-east-1,,g4dn.xlarge,T4,1,16,4,on-demand,0.526,USD,2026-07-01,l",
    "aws,eu-west-1,,g4dn.xlarge,T4,1,16,4,on-demand,0.587,USD,2026-07-01,l",
    "aws,us-east-1,,g4dn.2xlarge,T4,1,16,8,spot,0.40,USD,2026-07-01,l",
    "aws,us-east-1,,g4dn.4xlarge,T4,1,16,16,spot,0.55,USD,2026-07-01,l",
    "aws,us-east-1,,g4dn.12xlarge,T4,4,16,48,spot,2.0,USD,2026-07-01,l",
)


def test_u72_a_limit_may_be_the_price_of_another_offer(tmp_path: Path) -> None:
    """He would have believed that 0.55 is below the small machine's price, which it is only in another region."""
    path = price_file(tmp_path, *U72)

    def here(max_price: str | None = None, max_hourly: str | None = None) -> Quote:
        return quote("T4", market="on-demand,spot", region="us-east-1", catalog=path, max_price=max_price,
                     max_hourly=max_hourly)  # fmt: skip

    answer = here(max_price="od(g4dn.xlarge)")
    assert names(answer) == ["g4dn.2xlarge", "g4dn.12xlarge", "g4dn.xlarge"]  # 0.40, 0.50 and 0.526 an accelerator
    assert hidden(answer)["max_price"] == 1
    assert any("is 0.526 USD per accelerator-hour: aws us-east-1" in n.text for n in answer.notices)
    whole = here(max_hourly="On-Demand( G4DN.xlarge )")
    assert names(whole) == ["g4dn.2xlarge", "g4dn.xlarge"]
    assert names(here(max_price="spot(g4dn.2xlarge)")) == ["g4dn.2xlarge"]
    said = run("--catalog", str(path), "quote", "T4", "--market", "any", "--max-price", "od(g4dn.xlarge)")
    assert said.code == 0, said.err
    assert "--max-price od(g4dn.xlarge) is 0.526 USD" in said.err


@pytest.mark.parametrize(
    ("limit", "code"), [("od(g4dn.2xlarge)", 2), ("od(g4dn.9xlarge)", 5), ("od()", 2), ("block(g4dn.xlarge)", 2)]
)
def test_u72_a_limit_that_nobody_knows_is_no_limit(tmp_path: Path, limit: str, code: int) -> None:
    """He would have believed that everything is below a price that does not exist."""
    answer = run("--catalog", str(price_file(tmp_path, *U72)), "quote", "T4", "--max-price", limit)
    assert answer.code == code, answer.err
    assert answer.out == ""


def test_u76_what_is_left_out_by_default_is_said_and_can_be_lifted(tmp_path: Path) -> None:
    """He would have believed that 0.43 is the cheapest there is, since nobody said what was filtered."""
    path = price_file(
        tmp_path,
        "runpod,global,,secure,RTX4090,1,24,6,on-demand,0.43,USD,2026-07-01,l,secure",
        "runpod,global,,host,RTX4090,1,24,6,on-demand,0.30,USD,2026-07-01,l,community",
        "runpod,global,,bid,RTX4090,1,24,6,spot,0.20,USD,2026-07-01,l,secure",
        "runpod,global,,third,RTX4090,1/3,8,6,on-demand,0.15,USD,2026-07-01,l,secure",
        header=f"{HEADER},offering_class",
    )
    said = run("--catalog", str(path), "quote", "RTX4090", "--show-filtered").out
    assert "1 offer of community hosts: shown last, never ranked" in said
    assert "markets other than on-demand; --market any lifts it" in said
    assert "shares of an accelerator; --allow-fraction lifts it" in said
    lifted = run("--catalog", str(path), "quote", "RTX4090", "--show-filtered", "--market", "any", "--allow-fraction")
    assert "lifts it" not in lifted.out
    assert "0.15" in lifted.out
