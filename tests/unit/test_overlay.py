"""The user's own prices over the catalog: what they replace, what they leave open, and what they never touch."""

from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.api.explaining import explain
from cloudaccel.api.quoting import quote
from tests.support import price_file, run

LIST = [
    f"aws,{region},,g5.xlarge,A10G,1,24,4,{market},{price},USD,2026-07-01,list"
    for region, market, price in (
        ("us-east-1", "on-demand", "3.20"),
        ("eu-west-1", "on-demand", "3.60"),
        ("us-east-1", "spot", "1.10"),
    )
]


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return price_file(tmp_path, *LIST)


def own(folder: Path, header: str, *rows: str) -> Path:
    return price_file(folder, *rows, header=header, name="own.csv")


def prices(catalog: Path, overlay: Path, market: str = "any") -> dict[tuple[str, str], Decimal | None]:
    found = quote("A10G", market=market, catalog=catalog, price_file=overlay, limit=None).offers
    return {(o.region, o.market): o.price.amount for o in found}


def test_a_row_without_a_region_is_for_every_region_of_its_market(tmp_path: Path, catalog: Path) -> None:
    overlay = own(tmp_path, "provider,instance,hourly,as_of", "aws,g5.xlarge,2.10,2026-08-01")
    assert prices(catalog, overlay) == {
        ("us-east-1", "on_demand"): Decimal("2.1"),
        ("eu-west-1", "on_demand"): Decimal("2.1"),
        ("us-east-1", "spot"): Decimal("1.1"),
    }


@pytest.mark.parametrize("turned", [False, True])
def test_a_row_for_one_region_goes_before_one_for_all(tmp_path: Path, catalog: Path, turned: bool) -> None:
    rows = ["aws,,g5.xlarge,2.10,2026-08-01", "aws,eu-west-1,g5.xlarge,2.50,2026-08-01"]
    overlay = own(tmp_path, "provider,region,instance,hourly,as_of", *(reversed(rows) if turned else rows))
    found = prices(catalog, overlay, "on-demand")
    assert found == {("us-east-1", "on_demand"): Decimal("2.1"), ("eu-west-1", "on_demand"): Decimal("2.5")}


def test_the_name_of_an_instance_is_read_in_any_case(tmp_path: Path, catalog: Path) -> None:
    overlay = own(tmp_path, "provider,region,instance,hourly,as_of", "AWS,us-east-1,G5.XLARGE,2,2026-08-01")
    assert prices(catalog, overlay, "on-demand")["us-east-1", "on_demand"] == Decimal(2)


def test_what_is_hidden_is_counted_and_shown_with_the_users_price(tmp_path: Path, catalog: Path) -> None:
    overlay = own(tmp_path, "provider,instance,hourly,as_of", "aws,g5.xlarge,2.10,2026-08-01")
    answer = quote("A10G", max_price="2", catalog=catalog, price_file=overlay, show_hidden=True)
    assert [(h.reason, h.rows) for h in answer.hidden] == [("max_price", 2)]
    assert {o.price.amount for o in answer.examples["max_price"]} == {Decimal("2.1")}


def test_an_id_of_the_list_explains_the_users_price(tmp_path: Path, catalog: Path) -> None:
    overlay = own(tmp_path, "provider,region,instance,hourly,as_of", "aws,us-east-1,g5.xlarge,2.10,2026-08-01")
    (offer,) = quote("A10G", region="us-east-1", catalog=catalog, price_file=overlay).offers
    assert explain(offer.id, catalog=catalog, price_file=overlay).offers[0].price.amount == Decimal("2.1")
    assert explain(offer.id, catalog=catalog).offers[0].price.amount == Decimal("3.2")


def test_a_limit_counts_both(tmp_path: Path, catalog: Path) -> None:
    overlay = own(tmp_path, "provider,accelerator,count,label,hourly,as_of", "own,A10G,1,rack,0.50,2026-08-01")
    answer = quote("A10G", catalog=catalog, price_file=overlay, limit=2)
    assert [o.instance for o in answer.offers] == ["rack", "g5.xlarge"]
    assert answer.total == 3


def test_an_overlay_may_replace_everything(tmp_path: Path) -> None:
    listed = quote(kind=["gpu"], market="on-demand", limit=None).offers
    pairs = dict.fromkeys((o.provider, o.instance) for o in listed)
    overlay = own(tmp_path, "provider,instance,hourly,as_of", *(f"{p},{i},7,2026-08-01" for p, i in pairs))
    answer = quote(kind=["gpu"], market="on-demand", limit=None, price_file=overlay)
    assert len(pairs) > 500
    assert {o.price.amount for o in answer.offers} == {Decimal(7)}
    assert answer.total == len(listed)


def test_the_settings_name_an_overlay(tmp_path: Path, catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = own(tmp_path, "provider,instance,hourly,as_of", "aws,g5.xlarge,2.10,2026-08-01")
    config = tmp_path / "config.toml"
    config.write_text(f"price_file = '{overlay}'\n", encoding="utf-8")
    out = run("--config", str(config), "--catalog", str(catalog), "quote", "A10G", "--csv", "--columns", "price").out
    assert out.splitlines()[1:] == ["2.1", "2.1"]
    monkeypatch.delenv("CLOUDACCEL_CONFIG", raising=False)
