"""What a new price list may change, and what it may not: judged without a clock, a file or a network."""

import json
import re

import pytest

from cloudaccel.catalog.guard import judge
from cloudaccel.catalog.rows import OFFER_COLUMNS, Row
from cloudaccel.cli import main
from cloudaccel.model import offer_id
from cloudaccel.model.quarantine import WORDS, quarantine_reason


def row(instance: str = "a8", price: str = "16", **fields: str) -> Row:
    base = {
        "provider": "acme", "partition": "acme", "region": "north", "service": "vm", "instance": instance,
        "accelerator_id": "nvidia-h100-sxm-80gb", "accelerator_name": "H100", "count": "8", "market": "on_demand",
        "price_per_hour": price, "currency": "USD", "status": "exact" if price else "unknown",
        "availability": "listed", "as_of": "2026-11-27", "source": "acme-list", "sold_per": "instance",
    }  # fmt: skip
    return {**dict.fromkeys(OFFER_COLUMNS, ""), **base, **fields}


def many(count: int, price: str = "16") -> list[Row]:
    return [row(f"a{number}", price) for number in range(count)]


NORTH = ("acme", "acme", "north")


def test_a_new_price_takes_the_place_of_the_old() -> None:
    judged = judge([row(price="16")], [row(price="20")])
    assert judged.segments[NORTH][0]["price_per_hour"] == "20"
    assert [(c.before or {})["price_per_hour"] for c in judged.changes] == ["16"]


def test_the_same_list_changes_nothing_however_its_numbers_are_written() -> None:
    assert judge([row(price="16.0")], [row(price="16")]).changes == []


def test_a_price_that_moved_too_far_has_no_amount_until_it_is_confirmed() -> None:
    """Else one poisoned row (0.16 for a machine of 16) would be everybody's cheapest offer."""
    old, new = [row(price="16")], [row(price="0.16")]
    judged = judge(old, new)
    (held,) = judged.segments[NORTH]
    assert (held["status"], held["price_per_hour"]) == ("quarantined", "")
    assert held["note"] == "0.16 is not believed yet: it was 16, and prices move by 3 times at most"
    assert judged.held == {offer_id(new[0]): "0.16"}
    # The row without an amount does not make the next list believable: the last believed amount still counts.
    known = {offer_id(new[0]): "16"}
    assert judge([held], new, known=known).held == judged.held
    assert judge([held], new, known=known, confirmed=judged.held).segments[NORTH] == new
    assert judge(old, new, believe=True).segments[NORTH] == new


def test_trap_20_spot_may_be_dearer_than_on_demand_but_not_many_times() -> None:
    od = row(price="16")
    assert not judge([od], [od, row(market="spot", price="17")]).held
    assert judge([od], [od, row(market="spot", price="160")]).held


def test_a_list_that_shrank_is_refused_and_the_old_rows_stay() -> None:
    """Half a page that parses must not empty a cloud."""
    judged = judge(many(20), many(9))
    assert judged.refused == "the list shrank from 20 to 9 offers"
    assert not judged.segments
    assert judge(many(20), []).refused == "the list is empty"


def test_a_region_that_sells_none_and_never_did_is_no_failure() -> None:
    """A cloud has regions without accelerators: each refresh would have called its list half read."""
    judged = judge([], [])
    assert (judged.refused, judged.segments, judged.changes) == ("", {}, [])
    assert judge(many(20), many(9), believe=True).changes[-1].after is None


def test_a_list_whose_prices_moved_all_at_once_is_refused() -> None:
    """A list in cents, or in another currency under the same name."""
    assert judge(many(20), many(20, "1600")).refused == "20 of 20 prices moved too far at once"


def test_a_first_list_that_misses_most_of_what_is_known_is_refused() -> None:
    other = [{**r, "source": "snapshot"} for r in many(20)]
    judged = judge(other, many(2))
    assert judged.refused == "the list misses 18 of 20 known offers of the accelerators that it names"


def test_a_first_list_with_names_of_its_own_is_not_compared_by_name() -> None:
    """Else the first list of a seller whom others price per accelerator would be refused for ever."""
    others = [row(f"x{number}", sold_per="accelerator") for number in range(20)]
    assert judge(others, [row("a8", source="own")]).refused == ""
    elsewhere = [row(f"x{number}") for number in range(20)]
    assert judge(elsewhere, [row("a8", source="own")]).refused == ""
    assert "misses 20 of 21" in judge([*elsewhere, row("a8")], [row("a8", source="own")]).refused


def test_what_another_source_said_stays_and_is_marked_where_the_list_lacks_it() -> None:
    """Never 'gone' without proof: the list may not cover everything that the snapshot has."""
    other = [
        row("a8", "15", source="snapshot", payment="monthly"),  # the same machine, said in another way
        row("a9", "17", source="snapshot"),
        row("t1", "9", source="snapshot", accelerator_id="google-tpu-v5p"),
        row("a8", "8", source="snapshot", market="spot"),
    ]
    judged = judge(other, [row("a8", "16")])
    found = {(r["instance"], r["market"]): (r["price_per_hour"], r["availability"]) for r in judged.segments[NORTH]}
    assert found == {
        ("a8", "on_demand"): ("16", "listed"), ("a9", "on_demand"): ("17", "not_seen"),
        ("t1", "on_demand"): ("9", "listed"), ("a8", "spot"): ("8", "listed"),
    }  # fmt: skip


def test_what_its_own_list_no_longer_has_is_gone_but_a_region_that_vanished_is_only_not_seen() -> None:
    old = [row("a1"), row("a2"), row("a1", region="south")]
    judged = judge(old, [row("a1")])
    assert [r["instance"] for r in judged.segments[NORTH]] == ["a1"]
    assert [r["availability"] for r in judged.segments["acme", "acme", "south"]] == ["not_seen"]


def test_an_accelerator_that_no_table_knows_is_named() -> None:
    assert judge([], [row(accelerator_id="", accelerator_name="Z9")]).unknown_accelerators == ("Z9",)


def test_u06_a_bid_floor_is_not_taken_for_a_price() -> None:
    """He would have believed that a B200 is to be had for a cent: a new offer has no last price to be judged by."""
    peers = [
        row(f"b{n}", "27.6", region=f"r{n}", accelerator_id="nvidia-b200", accelerator_name="B200") for n in range(6)
    ]
    floor = row("new", "0.08", accelerator_id="nvidia-b200", accelerator_name="B200")
    judged = judge(peers, [*peers, floor])
    assert judged.held == {offer_id(floor): "0.08"}
    (held,) = judged.segments[NORTH]
    assert (held["status"], held["price_per_hour"]) == ("quarantined", "")
    assert held["note"] == "0.08 is not believed yet: 0.01 per accelerator, where 3.45 is the median of its kind"
    assert quarantine_reason(held["status"], held["note"]) == "outlier_low"
    assert not judge(peers, [*peers, floor], believe=True).held
    assert not judge(peers, [*peers, {**floor, "price_per_hour": "1.5"}]).held
    assert not judge(peers[:4], [*peers[:4], floor]).held
    # A bid floor of spot is judged among spot prices, and a share of a card by the whole card's price.
    assert not judge(peers, [*peers, {**floor, "market": "spot"}]).held
    assert not judge(peers, [*peers, {**floor, "count": "1/8", "price_per_hour": "0.43"}]).held


@pytest.mark.parametrize(
    ("note", "code"),
    [
        ("0.16 is not believed yet: it was 16, and prices move by 3 times at most", "price_moved"),
        ("9 is not believed yet: on demand costs 2", "spot_above_on_demand"),
        ("99999999 per hour is above 100000", "above_maximum"),
        ("a local zone; quarantined: another row says 3.1, this one said nothing", "rows_disagree"),
        ("quarantined: read before the price cut of June; the price was 98.32 USD", "source_noted"),
        ("somebody's own words", "other"),
    ],
)
def test_u06_why_a_price_is_held_back_has_a_code(note: str, code: str) -> None:
    """A program that watches what is held back would have parsed a sentence, and broken with its next wording."""
    assert quarantine_reason("quarantined", note) == code
    assert quarantine_reason("exact", note) is None


def test_u06_every_code_is_written_and_read_by_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    """`refresh --status` said that prices were unpriced, and not which were held back, or why."""
    for code, words in WORDS.items():
        assert quarantine_reason("quarantined", re.sub(r"{\w+}", "1.5", words)) == code
    assert main(["refresh", "--status", "--json"]) == 0
    held = {p["provider"]: p["quarantined"] for p in json.loads(capsys.readouterr().out)["providers"]}
    assert held["aws"]["source_noted"] > 100
    assert main(["refresh", "--status"]) == 0
    assert f"aws: prices in quarantine: {held['aws']['source_noted']} source_noted" in capsys.readouterr().out
    assert main(["quote", "H100", "--provider", "aws", "--limit", "all", "--json"]) == 0
    offers = json.loads(capsys.readouterr().out)["offers"]
    assert {(o["price"]["status"] == "quarantined", o["price"]["quarantine"]) for o in offers} == {
        (False, None), (True, "source_noted"),
    }  # fmt: skip
