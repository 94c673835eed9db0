"""Zones in a quote: what a table shows as the place of an offer can be asked for, and a zone apart says that it is."""

from pathlib import Path

from cloudaccel.api.quoting import quote
from tests.support import run


def test_u84_a_zone_that_a_table_shows_can_be_asked_for() -> None:
    """He would have been told that no region is called us-east-1-atl-1, which the table before had just shown him."""
    for name in ("us-east-1-atl-1", "US-East-1-ATL-1", "us-east-1-atl-1a", "use1-atl1-az1"):
        found = quote("T4", region=name, limit=None)
        assert {(o.region, o.zone) for o in found.offers} == {("us-east-1", "us-east-1-atl-1")}, name
    both = quote("T4", region="us-east-1-atl-1,eu-west-1", limit=None).offers
    assert {o.zone or o.region for o in both} == {"us-east-1-atl-1", "eu-west-1"}


def test_u84_a_zone_of_the_region_has_the_prices_of_the_region_and_a_zone_apart_has_not() -> None:
    """He would have believed that Santiago costs what Virginia does; or that a zone of Virginia sells spot alone."""
    inside = quote("H100:8", region="use1-az6", market="any", limit=None).offers
    assert {o.zone for o in inside} == {None, "use1-az6"}
    assert {o.region for o in inside} == {"us-east-1"}
    apart = quote("T4", region="us-east-1-scl-1", market="any", limit=None).offers
    assert {(o.zone, o.country) for o in apart} == {("us-east-1-scl-1", "CL")}
    google = quote("TPUv5e", region="us-central1-a", market="any", limit=None).offers
    assert {o.zone for o in google} == {"us-central1-a"}


def test_u84_a_word_that_is_no_place_is_refused_with_what_is_near() -> None:
    answer = run("quote", "T4", "--region", "us-east-1-zzz")
    assert answer.code == 5
    assert "no region is called 'us-east-1-zzz'" in answer.err


def test_a_zone_apart_says_where_it_stands_and_that_an_account_has_to_enable_it() -> None:
    """He would have planned on the cheapest H100 of us-east-1, which no account has that did not ask for Atlanta."""
    answer = run("quote", "H100:8", "--region", "us-east-1", "--market", "spot")
    assert "note: use1-atl2-az1 (Atlanta, US): apart from the data centres of the region; an account has" in answer.err
    codes = [w["code"] for w in run("quote", "T4", "--country", "MA", "--json").json["warnings"]]
    assert "zone_apart" in codes
    assert "zone_apart" not in [
        w["code"] for w in run("quote", "T4", "--region", "us-east-2", "--json").json["warnings"]
    ]


def test_json_says_which_places_were_asked_for() -> None:
    answer = run("quote", "T4", "--region", "us-east-1-scl-1,eu-west-1", "--json").json
    assert {"us-east-1-scl-1", "eu-west-1"} <= set(answer["query"]["regions"])


def test_u88_a_region_or_zone_of_which_no_source_has_a_price_is_unknown_and_not_empty() -> None:
    """He would have believed that AWS sells no T4 in Ningxia or Buenos Aires: no list of theirs was ever read."""
    for place in ("cn-northwest-1", "us-east-1-bue-1", "us-east-1-bue-1a"):
        answer = run("quote", "T4", "--region", place)
        assert answer.code == 6, place
        assert f"no source of this catalog has any price of {place.removesuffix('a')}:" in answer.err
    assert run("quote", "MI300X", "--region", "us-east-1").code == 3  # of which there are prices, and none of this
    assert run("quote", "MI300X", "--region", "us-east-1-scl-1").code == 3
    assert run("quote", "T4", "--region", "us-east-1", "--provider", "azure").code == 3  # not a region of theirs


def test_a_plan_says_in_which_zone_its_price_is_and_that_it_stands_apart(tmp_path: Path) -> None:
    """He would have planned on us-east-1 at a price that only Atlanta has, for accounts that asked for Atlanta."""
    words = ("--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "20e6", "--accel")
    place = ("H100-SXM:8", "--provider", "aws", "--region", "us-east-1", "--market", "spot")
    answer = run("plan", *words, *place, "--lock", str(tmp_path / "plan.json"))
    assert answer.code == 0, answer.err
    assert "1  aws use1-atl2-az1 p5.48xlarge" in answer.out
    assert "Note     1: use1-atl2-az1 (Atlanta, US): apart from the data centres of the region" in answer.out
