"""What holds for every row of the prices that ship, however they are renewed: one row that breaks it is a wrong price.

Nothing here knows a price. Each test compares rows with each other, or with what the product knows of accelerators,
machines and places.
"""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from statistics import median

import pytest

from cloudaccel.catalog import store
from cloudaccel.catalog.guard import SPOT_ABOVE
from cloudaccel.catalog.ingest_cards import named_card
from cloudaccel.catalog.ingest_history import strays
from cloudaccel.catalog.rows import Row
from cloudaccel.catalog.snapshot import iter_history, iter_offers, read_manifest
from cloudaccel.facts import places
from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.loader import read_table
from tests.support import run

ROOT = Path(__file__).parents[2]
SHAPE = ("accelerator_id", "accelerator_name", "count", "accelerator_memory_gib", "hosts", "vcpus", "memory_gib")
# The band of one accelerator's price about the median of its kind: the widest that is true is a V100 on spot for a
# twenty-fifth, and one card in a machine of 64 vCPUs for seven times.
LEAST, MOST = Decimal("0.03"), Decimal(10)
# More of one accelerator in one machine costs at most so much more or less each, where vCPUs and memory come with it.
# A price of eight that is taken for one, or of one for eight, is 8 times off.
ALIKE = Decimal("1.7")


@cache
def every_row() -> tuple[Row, ...]:
    folder = store.bundled_snapshot()
    return tuple(iter_offers(folder, read_manifest(folder)))


def priced(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["price_per_hour"]]


def each(row: Row) -> Decimal:
    count = Fraction(row["count"])
    return Decimal(row["price_per_hour"]) * count.denominator / count.numerator


def words(row: Row) -> str:
    names = ("provider", "region", "zone", "instance", "market", "term", "offering_class", "price_per_hour")
    return " ".join(row[name] for name in names if row[name])


def test_no_date_is_later_than_the_day_on_which_they_were_put_together() -> None:
    made = read_manifest(store.bundled_snapshot()).created_at
    for row in every_row():
        dates = (row["as_of"], row["as_of_until"], row["last_seen"], row["effective_at"])
        assert max(dates) <= made, words(row)
        assert row["as_of"], words(row)
        assert row["as_of"] <= (row["as_of_until"] or row["as_of"]), words(row)


def test_every_place_is_known_and_a_zone_has_the_country_that_it_stands_in() -> None:
    for row in {(row["provider"], row["region"], row["zone"]): row for row in every_row()}.values():
        found = places.region(row["provider"], row["region"])
        assert found is not None, words(row)
        assert (found.name, found.partition) == (row["region"], row["partition"]), words(row)
        zone = places.zone(row["provider"], row["zone"])
        assert zone is None or zone.region == row["region"], words(row)
        own = places.country_of(row["provider"], row["region"], None)
        assert not row["zone"] or places.country_of(row["provider"], row["region"], row["zone"]) or not own, words(row)


def test_one_machine_is_the_same_machine_wherever_it_is_sold() -> None:
    """The same name with another count of accelerators in one region: one of the two prices is of another machine."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in every_row():
        for name in SHAPE:
            if row[name]:
                found[row["provider"], row["instance"].lower(), name].add(row[name])
    several = {key: values for key, values in found.items() if len(values) > 1}
    # Its list has two sizes of host memory for eight H100, 1,800 GB in Canada and 960 GB in the United States.
    assert several.items() <= {("hyperstack", "n3-h100-sxm5x8", "memory_gib"): {"1800", "960"}}.items()


def test_the_machines_are_those_of_the_readers_tables() -> None:
    """A list that is read tomorrow would call the machine otherwise, and every price of it would be a new offer."""
    tables = {
        "aws": ("providers/cloudaccel_aws/data/instances.csv", "instance"),
        "azure": ("providers/cloudaccel_azure/data/sizes.csv", "size"),
        "gcp": ("providers/cloudaccel_gcp/data/machine_types.csv", "machine_type"),
        "oci": ("providers/cloudaccel_oci/data/shapes.csv", "shape"),
    }
    for provider, (path, key) in tables.items():
        known = {row[key]: row for row in read_table(str(ROOT / path))}
        own = {row["instance"]: row for row in every_row() if row["provider"] == provider}
        assert own.keys() & known.keys(), provider
        for name in own.keys() & known.keys():
            for column in ("accelerator_id", "count", "vcpus", "memory_gib"):
                assert own[name][column] == known[name][column], (name, column)


def test_traps_70_72_92_a_card_is_named_where_it_is_known_and_only_there() -> None:
    """U03: an "H100" of no stated form was sold as SXM, and cards that the table had were in no answer at all."""
    for row in every_row():
        whole = row["count"] and Fraction(row["count"]) >= 1
        found = named_card(row["accelerator_name"], row["accelerator_memory_gib"]) if whole else None
        if not row["accelerator_id"]:
            assert found is None or "not stated" in row["note"], f"{words(row)}: it is {found and found.id}"
            continue
        card = by_id(row["accelerator_id"])
        memory = float(row["accelerator_memory_gib"] or card.memory_gib or 0)
        share = float(Fraction(row["count"])) if row["count"] and not whole else 1.0
        assert not row["count"] or memory == pytest.approx((card.memory_gib or 0) * share, rel=0.001), words(row)


def test_one_seller_calls_one_card_by_one_name() -> None:
    """U03: Hyperstack's bridged cards stood as SXM in one row and as PCIe in another, at one price."""
    for row in (row for row in every_row() if row["provider"] == "hyperstack" and "nvlink" in row["instance"].lower()):
        assert row["accelerator_id"] in ("nvidia-a100-pcie-80gb", "nvidia-h100-pcie-80gb"), words(row)


def test_the_price_of_one_accelerator_is_of_its_kind() -> None:
    kinds: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in priced(every_row()):
        if row["count"] and row["service"] != "marketplace":  # where a host asks what it likes
            card = row["accelerator_id"] or row["accelerator_name"]
            kinds[card, row["market"], row["term"], row["currency"]].append(row)
    for rows in kinds.values():
        middle = median(each(row) for row in rows)
        for row in rows:
            assert LEAST < each(row) / middle < MOST, f"{words(row)}: {each(row):.4g} each, median {middle:.4g}"


def test_machines_of_more_accelerators_cost_as_many_times_more() -> None:
    """A price for a machine of eight that was read as the price of one, or the reverse, is eight times off."""
    alike: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    names = ("provider", "region", "zone", "service", "market", "term", "offering_class", "currency", "accelerator_id")
    for row in priced(every_row()):
        # Spot and retired promotions are priced by what is left; marketplaces by whoever offers.
        listed = row["market"] != "spot" and row["sold_per"] == "instance" and row["offering_class"] != "promo"
        if listed and row["count"] and row["vcpus"] and row["memory_gib"]:
            alike[tuple(row[name] for name in names)].append(row)
    for rows in alike.values():
        for one in rows:
            for other in rows:
                if _same_host(one, other):
                    assert each(one) <= each(other) * ALIKE, f"{words(one)} beside {words(other)}"


def _same_host(one: Row, other: Row) -> bool:
    def apart(column: str) -> float:
        ratio = float(one[column]) / float(other[column]) * float(Fraction(other["count"]) / Fraction(one["count"]))
        return max(ratio, 1 / ratio)

    return apart("vcpus") <= 1.4 and apart("memory_gib") <= 1.6


def test_a_commitment_is_cheaper_than_none_and_a_longer_one_than_a_shorter() -> None:
    """What costs more is no offer: such a price was right once, and is quarantined."""
    on_demand, committed = _by_market()
    for key, rows in committed.items():
        for row in rows:
            listed = on_demand.get(key)
            assert listed is None or Decimal(row["price_per_hour"]) < listed, f"{words(row)}: on demand {listed}"
            for longer in rows:
                same = all(longer[name] == row[name] for name in ("payment", "offering_class"))
                if same and (row["term"], longer["term"]) == ("1y", "3y"):
                    assert Decimal(longer["price_per_hour"]) <= Decimal(row["price_per_hour"]), words(longer)


def _by_market() -> tuple[dict[tuple[str, ...], Decimal], dict[tuple[str, ...], list[Row]]]:
    on_demand: dict[tuple[str, ...], Decimal] = {}
    committed: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in priced(every_row()):
        names = ("provider", "region", "zone", "service", "instance", "accelerator_id", "currency")
        key = tuple(row[name] for name in names)
        if row["market"] == "on_demand" and row["offering_class"] != "promo":
            on_demand[key] = min(on_demand.get(key, Decimal("Infinity")), Decimal(row["price_per_hour"]))
        elif row["market"] in ("reserved", "savings_plan"):
            committed[key].append(row)
    return on_demand, committed


def test_trap_20_spot_is_never_many_times_dearer_than_on_demand() -> None:
    """It may be dearer, and a quote says where it is; at many times the price it is the price of something else."""
    listed: dict[tuple[str, ...], list[Decimal]] = defaultdict(list)
    names = ("provider", "region", "service", "instance", "accelerator_id", "currency")
    rows = [row for row in priced(every_row()) if row["offering_class"] not in ("promo", "community", "secure")]
    for row in rows:
        if row["market"] == "on_demand":
            listed[tuple(row[name] for name in names)].append(Decimal(row["price_per_hour"]))
    for row in rows:
        beside = listed.get(tuple(row[name] for name in names))
        if row["market"] == "spot" and beside:
            assert Decimal(row["price_per_hour"]) <= max(beside) * SPOT_ABOVE, words(row)


def test_traps_45_48_a_slice_costs_its_chips_at_one_price_each() -> None:
    """v5p-8 was four chips at the price of eight, or eight at that of one: in a zone a chip has one price.

    Two for v2 and v3, which are sold by the device of four chips and by the chip of a pod.
    """
    chips: dict[tuple[str, ...], set[Decimal]] = defaultdict(set)
    for row in priced(every_row()):
        if row["accelerator_id"].startswith("google-tpu"):
            chips[row["accelerator_id"], row["region"], row["zone"], row["market"]].add(round(each(row), 4))
    for (card, *_), prices in chips.items():
        assert len(prices) <= (2 if card in ("google-tpu-v2", "google-tpu-v3") else 1), (card, prices)
        assert max(prices) < min(prices) * Decimal("1.3"), (card, prices)


def test_no_past_price_is_far_from_those_before_and_after_it() -> None:
    folder = store.bundled_snapshot()
    assert not strays(list(iter_history(folder, read_manifest(folder))))


def test_money_is_that_of_the_place() -> None:
    for row in every_row():
        china = row["partition"].endswith("-cn") or row["partition"].endswith("-china")
        assert not china or row["currency"] == "CNY", words(row)
        assert row["currency"] != "CNY" or row["provider"] in ("aws", "alibaba"), words(row)


def test_whatever_is_in_the_prices_is_found_by_the_name_of_its_accelerator() -> None:
    """30 offers of U250 and 72 of U30 were there, and "no seller in this catalog lists" them."""
    asked = {row["accelerator_name"] for row in every_row() if "modified" not in row["accelerator_name"]}
    total = 0
    for name in sorted(asked):
        answer = run("quote", name, "--market", "any", "--allow-fraction", "--json", "--limit", "1")
        assert answer.code == 0, (name, answer.err)
        total += answer.json["total"]
    assert total > 15_000
