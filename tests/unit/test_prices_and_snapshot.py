"""Prices that the readers make of the kept samples, beside those that ship: what differs is known, and explained.

docs/explanation/price-sources.md says why of each difference. One that is not named here fails.
"""

import csv
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

from cloudaccel.catalog.web import decoded
from cloudaccel.model import Offer
from cloudaccel_azure.prices import items_of_page, offers_of_items
from cloudaccel_gcp.prices import offers_of_skus, skus_of_page

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/prices"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
Key = tuple[str, ...]


@cache
def shipped(provider: str) -> Mapping[Key, frozenset[Decimal]]:
    """Prices of the snapshot by region, service, instance and terms; several where zones differ."""
    found: dict[Key, set[Decimal]] = {}
    for path in (ROOT / f"pricing_cache/{provider}.csv", ROOT / f"pricing_cache/optional/{provider}.csv"):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["price_per_hour"]:
                    key = tuple(
                        row[name] for name in ("region", "service", "instance", "market", "term", "offering_class")
                    )
                    found.setdefault(key, set()).add(Decimal(row["price_per_hour"]))
    return {key: frozenset(prices) for key, prices in found.items()}


def compared(provider: str, offers: Iterable[Offer]) -> tuple[int, dict[Key, tuple[Decimal, ...]]]:
    """How many prices are the snapshot's to a millionth, and those that are not: read, then shipped."""
    same, differ = 0, dict[Key, tuple[Decimal, ...]]()
    for offer in offers:
        key = (offer.region, offer.service, offer.instance, offer.market, offer.term or "", offer.offering_class or "")
        known, read = shipped(provider).get(key), offer.price.amount
        if known is None or read is None:
            continue
        if all(abs(price - read) < Decimal("1e-6") for price in known):
            same += 1
        else:
            differ[key] = (read.normalize(), *sorted(known))
    return same, differ


def page(name: str) -> Mapping[str, object]:
    found = decoded((GOLDEN / name).read_bytes())
    assert isinstance(found, Mapping)
    return found


def test_googles_sample_of_2023_has_the_prices_that_ship() -> None:
    assert compared("gcp", offers_of_skus(skus_of_page(page("gcp_a100_2023.json")), now=NOW)) == (15, {})


def test_what_ships_of_googles_newest_is_known_to_differ() -> None:
    """The calendar's price of A4 once shipped as if it were on demand, and flex-start's of v6e as spot."""
    found = list(offers_of_skus(skus_of_page(page("gcp_ways_2025-08_to_2026-08.json")), now=NOW))
    same, differ = compared("gcp", found)
    assert same == 18  # a device of v2, eight slices of v6e on demand and in flex-start, A4 in the calendar
    a4 = ("us-central1", "vm", "a4-highgpu-8g", "spot", "", "")
    assert differ == {a4: (Decimal("39.6336"), Decimal("32.6064"))}


def test_azures_capture_of_2026_has_the_prices_that_ship() -> None:
    offers = offers_of_items(items_of_page(page("azure_h100_eastus_2026-09-16.json")), now=NOW)
    assert compared("azure", offers) == (2, {})


def test_what_ships_is_what_second_sources_say_but_for_a_cut_that_is_known() -> None:
    """AWS made P4 and P5 cheaper in June 2025: what a page of April 2025 says of them is history."""
    with open(GOLDEN / "price_points_2025-04_to_2026-03.csv", encoding="utf-8", newline="") as file:
        points = list(csv.DictReader(file))
    own = {name: _on_demand(name) for name in {point["provider"] for point in points}}
    differ = {
        (point["provider"], point["region"], point["instance"])
        for point in points
        if own[point["provider"]][point["region"], point["zone"], point["instance"]] != Decimal(point["price_per_hour"])
    }
    assert len(points) == 135
    assert differ == {
        ("aws", "us-east-1", name) for name in ("p4d.24xlarge", "p4de.24xlarge", "p5.48xlarge", "p5en.48xlarge")
    } | {("aws", "us-gov-west-1", name) for name in ("p4d.24xlarge", "p5.48xlarge")}


def _on_demand(provider: str) -> Mapping[Key, Decimal]:
    found: dict[Key, Decimal] = {}
    for path in (ROOT / f"pricing_cache/{provider}.csv", ROOT / f"pricing_cache/optional/{provider}.csv"):
        if path.exists():
            with open(path, encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    if row["market"] == "on_demand" and row["price_per_hour"]:
                        found[row["region"], row["zone"], row["instance"]] = Decimal(row["price_per_hour"])
    return found
