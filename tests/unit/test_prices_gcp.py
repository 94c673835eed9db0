"""Google's billing catalog: machines put together from their parts. ``trap_NN`` names the mistake kept out."""

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import pytest

from cloudaccel.catalog.web import decoded
from cloudaccel.errors import MalformedResponse
from cloudaccel.model import Offer
from cloudaccel.protocols import Scope
from cloudaccel_gcp.prices import BASE_URL, GcpPrices, machine_types, offers_of_skus, skus_of_page
from tests.support import Canned

GOLDEN = Path(__file__).parents[1] / "golden/prices"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SCOPE = Scope(provider="gcp", partition="gcp", region="us-central1")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDACCEL_GCP_API_KEY", "canary-7c")


def sku(text: str, price: str, *, usage: str = "OnDemand", unit: str = "h", currency: str = "USD") -> dict[str, object]:
    """One SKU of us-central1, assembled."""
    whole, _, rest = price.partition(".")
    rate = {"currencyCode": currency, "units": whole, "nanos": int(rest.ljust(9, "0"))}
    expression = {"usageUnit": unit, "tieredRates": [{"startUsageAmount": 0, "unitPrice": rate}]}
    return {
        "skuId": text[:20],
        "description": text,
        "category": {"usageType": usage},
        "serviceRegions": ["us-central1"],
        "pricingInfo": [{"effectiveTime": "2026-01-01T00:00:00Z", "pricingExpression": expression}],
    }


GPU = sku("Nvidia H100 80GB GPU running in Americas", "9.5")
CORE = sku("A3 Instance Core running in Americas", "0.03")
RAM = sku("A3 Instance Ram running in Americas", "0.003", unit="GiBy.h")
SSD = sku("SSD backed Local Storage", "0.073", unit="GiBy.mo")
EIGHT = 8 * Decimal("9.5") + 208 * Decimal("0.03") + 1872 * Decimal("0.003") + 6000 * Decimal("0.0001")


def offers(*skus: Mapping[str, object]) -> dict[tuple[str, str, str | None], Offer]:
    return {(o.instance, o.market, o.term): o for o in offers_of_skus(skus, now=NOW)}


def eight(*skus: Mapping[str, object]) -> Offer:
    return offers(*skus)["a3-highgpu-8g", "on_demand", None]


def test_the_real_page_gives_the_price_of_the_snapshot() -> None:
    body = (GOLDEN / "gcp_a100_2023.json").read_bytes()
    page = decoded(body)
    assert isinstance(page, Mapping)
    found = list(offers_of_skus(skus_of_page(page), now=NOW, region="us-central1"))
    prices = {offer.instance: offer.price.amount for offer in found}
    # pricing_cache/gcp.csv, 2026-07-30: 3.673385. The parts have not moved since 2023.
    assert prices["a2-highgpu-1g"] == Decimal("3.673385")
    assert sorted(prices) == ["a2-highgpu-1g", "a2-highgpu-2g", "a2-highgpu-4g", "a2-highgpu-8g", "a2-megagpu-16g"]
    (small,) = [offer for offer in found if offer.instance == "a2-highgpu-1g"]
    assert [(part.name, part.amount) for part in small.price.parts] == [
        ("vCPU", Decimal("0.379332")),
        ("memory GiB", Decimal("0.360145")),
        ("A100", Decimal("2.933908")),
    ]
    assert sum(part.amount or 0 for part in small.price.parts) == small.price.amount


def test_traps_31_32_36_a_machine_is_all_its_parts_with_its_local_disks() -> None:
    offer = eight(GPU, CORE, RAM, SSD)
    assert offer.price.amount is not None
    assert offer.price.amount.quantize(Decimal("1e-6")) == EIGHT.quantize(Decimal("1e-6"))
    assert [part.name for part in offer.price.parts] == ["vCPU", "memory GiB", "H100", "local disk GiB"]


@pytest.mark.parametrize("left_out", [1, 2, 3])
def test_trap_54_a_missing_part_leaves_the_machine_without_a_price(left_out: int) -> None:
    parts = [GPU, CORE, RAM, SSD]
    del parts[left_out]
    offer = eight(*parts)
    assert (offer.price.amount, offer.apart) == (None, ("unknown_price",))
    assert "no price of" in offer.price.note


def test_trap_33_whole_units_count() -> None:
    gpu = sku("Nvidia L4 GPU attached to nothing", "2.25")
    assert offers(gpu) == {}
    found = offers(sku("Nvidia Tesla K80 GPU running in Americas", "2.25"))
    assert found["attach/Nvidia Tesla K80 GPU", "on_demand", None].price.amount == Decimal("2.25")


def test_trap_35_an_unknown_accelerator_is_shown_and_never_free() -> None:
    (offer,) = offers(sku("Nvidia R200 288GB GPU running in Americas", "0")).values()
    assert (offer.accelerator_id, offer.price.amount, offer.sold_per) == (None, None, "accelerator")


def test_trap_37_memory_per_gb_is_turned_into_gib() -> None:
    per_gb = sku("A3 Instance Ram running in Americas", "0.003", unit="GBy.h")
    memory = eight(GPU, CORE, per_gb, SSD).price.parts[1]
    assert memory.amount == Decimal("6.030134084")  # 1872 x 0.003 x 1.073741824


def test_trap_39_mega_takes_cores_of_a3plus() -> None:
    mega = sku("Nvidia H100 80GB Mega GPU running in Americas", "9.5")
    offer = offers(mega, CORE, RAM, SSD)["a3-megagpu-8g", "on_demand", None]
    assert offer.price.amount is None
    plus = [
        sku("A3Plus Instance Core running in Americas", "0.03"),
        RAM | {"description": "A3Plus Instance Ram running in"},
    ]
    assert offers(mega, SSD, *plus)["a3-megagpu-8g", "on_demand", None].price.status == "unknown"
    plus[1] = sku("A3Plus Instance Ram running in Americas", "0.003", unit="GiBy.h")
    assert offers(mega, SSD, *plus)["a3-megagpu-8g", "on_demand", None].price.status == "exact"


def test_trap_41_spot_may_be_said_in_the_description_alone() -> None:
    found = offers(sku("Nvidia L4 GPU attached to Spot Preemptible VMs running in Americas", "0.2"))
    assert {market for _, market, _ in found} == {"spot"}


@pytest.mark.parametrize(
    "text", ["DWS Defined Duration Nvidia H100 80GB GPU running in", "Reserved Nvidia H100 80GB GPU in"]
)
def test_trap_42_other_ways_to_buy_are_not_on_demand(text: str) -> None:
    """A card at 4.20 for those who wait stood as 9.80 on demand in a public catalogue; a reserved one stands at 0."""
    assert not [key for key in offers(sku(text, "4.2")) if key[1] == "on_demand"]


def test_trap_44_a_commitment_is_never_on_demand() -> None:
    text = "Commitment v1: Nvidia H100 80GB GPU in Americas for 1 Year"
    assert offers(sku(text, "6")) == {}
    found = offers(sku(text, "6", usage="Commit1Yr"))
    assert {(market, term) for _, market, term in found} == {("reserved", "1y")}


def test_trap_50_a_workstation_licence_is_not_the_accelerator() -> None:
    assert offers(sku("Nvidia L4 vWS GPU running in Americas", "0.9")) == {}


def test_trap_52_two_prices_of_one_part_are_a_dispute_in_any_order() -> None:
    other = sku("A3 Instance Core running in Americas", "0.01")
    for cores in permutations([CORE, other, CORE]):
        assert eight(GPU, *cores, RAM, SSD).price.amount is None


def test_trap_59_a_part_at_zero_is_no_second_opinion() -> None:
    free = sku("A3 Instance Core running in Americas", "0")
    for cores in permutations([CORE, free]):
        assert eight(GPU, *cores, RAM, SSD).price.status == "exact"


def test_trap_55_the_free_tier_is_not_the_price() -> None:
    def rate(nanos: int) -> dict[str, object]:
        return {"unitPrice": {"currencyCode": "USD", "units": "0", "nanos": nanos}}

    expression = {"usageUnit": "h", "tieredRates": [rate(0), rate(500_000_000)]}
    tiered = GPU | {"pricingInfo": [{"pricingExpression": expression}]}
    assert eight(tiered, CORE, RAM, SSD).price.parts[2].unit_price == Decimal("0.5")


def test_parts_in_two_currencies_do_not_add_up() -> None:
    euro = sku("A3 Instance Core running in Americas", "0.03", currency="EUR")
    assert "one currency" in eight(GPU, euro, RAM, SSD).price.note


def test_trap_46_every_page_is_followed_and_pages_must_end() -> None:
    asked: list[Mapping[str, str]] = []

    def fetch(url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        assert headers == {"X-Goog-Api-Key": "canary-7c"}
        asked.append(dict(query))
        if url != BASE_URL:
            return b'{"skus": []}'
        last = len(asked) == 2
        return json.dumps(
            {"skus": [CORE, RAM, SSD] if last else [GPU], "nextPageToken": "" if last else "a/b"}
        ).encode()

    found = list(GcpPrices(Canned(fetch), now=lambda: NOW).offers(SCOPE))
    assert len(found) == 4
    assert [query.get("pageToken") for query in asked] == [None, "a/b", None, None]
    assert "canary" not in str(asked)
    endless = GcpPrices(Canned(b'{"skus": [], "nextPageToken": "a"}'), now=lambda: NOW)
    with pytest.raises(MalformedResponse, match="do not end"):
        list(endless.offers(SCOPE))


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"skus": [{}]}', b'{"skus": [1]}', b'{"skus": [NaN]}'])
def test_a_page_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedResponse, match="Prices stay as they were"):
        list(GcpPrices(Canned(body), now=lambda: NOW).offers(SCOPE))


def test_a_negative_rate_is_refused() -> None:
    bad = sku("Nvidia L4 GPU running in Americas", "-1.0")
    with pytest.raises(MalformedResponse, match="Nvidia L4"):
        offers(bad)


def g4(unit_gpu: str = "2.0", *, spot: bool = False) -> list[dict[str, object]]:
    spots = ("attached to Spot Preemptible VMs running", "Spot Preemptible ", "Preemptible")
    how = spots if spot else ("running", "", "OnDemand")
    return [
        sku(f"RTX 6000 96GB {how[0]} in Iowa", unit_gpu, usage=how[2]),
        sku(f"{how[1]}G4 Instance Core running in Iowa", "0.03", usage=how[2]),
        sku(f"{how[1]}G4 Instance Ram running in Iowa", "0.00587", usage=how[2], unit="GiBy.h"),
    ]


def test_trap_49_a_part_of_an_rtx_pro_6000_is_priced_as_that_part() -> None:
    """The smallest machine was once priced as a whole card with a whole machine: three times what it costs."""
    found = {offer.instance: offer for offer in offers(*g4()).values()}
    assert len(found) == 7
    small, one = found["g4-standard-6"], found["g4-standard-48"]
    assert (small.count, small.accelerator_memory_gib) == (Fraction(1, 8), 12)
    assert small.price.amount == 2 / Decimal(8) + 6 * Decimal("0.03") + 22 * Decimal("0.00587")
    assert (one.count, one.accelerator_id) == (1, "nvidia-rtx-pro-6000-server")
    assert one.price.amount == 2 + 48 * Decimal("0.03") + 180 * Decimal("0.00587")


def test_a_card_without_its_maker_in_the_name_is_spot_too_and_a_new_one_is_shown() -> None:
    spot = offers(*g4("0.8", spot=True))
    assert ("g4-standard-384", "spot", None) in spot
    new = offers(sku("B300 288GB GPU running in Iowa", "9"))
    assert new["attach/B300 288GB GPU", "on_demand", None].price.amount == 9


def chips(found: Mapping[tuple[str, str, str | None], Offer]) -> dict[tuple[str, str, str | None], Offer]:
    """Those of `found` that are sold by the accelerator."""
    return {key: offer for key, offer in found.items() if offer.sold_per == "accelerator"}


def tpu(text: str, price: str, usage: str = "OnDemand") -> dict[str, object]:
    return sku(text, price, usage=usage) | {"category": {"usageType": usage, "resourceGroup": "TPU"}}


def test_traps_43_44_45_a_tpu_of_v5_and_newer_is_sold_by_the_chip() -> None:
    found = offers(
        tpu("TpuV5e chip hour in Iowa", "1.2"),
        tpu("Preemptible TpuV5e chip hour in Iowa", "0.4"),  # Google calls this use OnDemand
        tpu("Commitment v1: TpuV5e in Iowa for 1 Year", "0.84", "Commit1Yr"),
        tpu("DWS Calendar Mode TpuV5e in Iowa", "0.9"),
        tpu("TpuV6e in Iowa", "2.7"),
        tpu("TpuV8x in Iowa", "11"),
    )
    slice_ = found["v5litepod-16", "on_demand", None]
    assert (slice_.price.amount, slice_.count, slice_.hosts) == (Decimal("19.2"), 16, 4)
    assert found["v6e-8", "on_demand", None].price.amount == Decimal("21.6")
    found = chips(found)
    assert {key: (offer.accelerator_id, offer.price.amount) for key, offer in found.items()} == {
        ("tpu-v5e", "on_demand", None): ("google-tpu-v5e", Decimal("1.2")),
        ("tpu-v5e", "spot", None): ("google-tpu-v5e", Decimal("0.4")),
        ("tpu-v5e", "reserved", "1y"): ("google-tpu-v5e", Decimal("0.84")),
        ("tpu-v5e", "capacity_block", None): ("google-tpu-v5e", Decimal("0.9")),
        ("tpu-v6e", "on_demand", None): ("google-tpu-v6e", Decimal("2.7")),
        ("tpu-v8x", "on_demand", None): (None, Decimal(11)),
    }
    assert {(offer.sold_per, offer.count, offer.hosts) for offer in found.values()} == {("accelerator", 1, None)}


def test_a_tpu_elsewhere_in_a_description_is_no_tpu() -> None:
    assert offers(sku("Network egress for TpuV5e in Iowa", "0.1")) == {}


def ways() -> dict[tuple[str, str, str, str | None], Offer]:
    page = decoded((GOLDEN / "gcp_ways_2025-08_to_2026-08.json").read_bytes())
    assert isinstance(page, Mapping)
    return {(o.service, o.instance, o.market, o.term): o for o in offers_of_skus(skus_of_page(page), now=NOW)}


def test_a_machine_that_waits_for_capacity_is_priced_as_google_billed_it() -> None:
    """The bill of 2025-08 was 38.32 USD per hour; on demand the same machine costs 88.49."""
    offer = ways()["vm", "a3-highgpu-8g", "flex_start", None]
    assert offer.price.amount == Decimal("38.320038247")
    assert [part.name for part in offer.price.parts] == ["vCPU", "memory GiB", "H100", "local disk GiB"]


def test_vertex_ai_bills_its_own_parts_or_the_machine_and_a_fee() -> None:
    """Machine and fee together were 51.495 on the bill of 2025-08, without the boot disk; the fee alone is no price."""
    found = ways()
    assert found["vertex-training", "a3-highgpu-8g", "on_demand", None].price.amount == Decimal("101.007352")
    assert found["vertex-training", "a3-highgpu-8g", "flex_start", None].price.amount == Decimal("51.494999847")
    assert found["vertex-prediction", "a3-highgpu-1g", "on_demand", None].price.amount == Decimal("12.625919")
    fee = found["vertex-training", "a3-highgpu-8g", "flex_start", None].price.parts[4:]
    assert [part.name for part in fee] == ["fee for vCPU", "fee for memory GiB", "fee for H100"]


def test_trap_40_a_slice_is_the_whole_machine_and_each_way_to_buy_it_has_its_price() -> None:
    """B200 at 90.22 stood as on demand in a public catalogue: it is the price in the calendar, a third less."""
    found = {key[2:]: offer.price.amount for key, offer in ways().items() if key[1] == "a4-highgpu-8g"}
    assert found == {
        ("on_demand", None): Decimal("128.88"), ("capacity_block", None): Decimal("90.216"),
        ("flex_start", None): Decimal("64.44"), ("reserved", "1y"): Decimal("88.9272"),
        ("reserved", "3y"): Decimal("56.7072"), ("spot", None): Decimal("39.6336"),
    }  # fmt: skip


def test_trap_51_u67_what_is_priced_but_not_sold_on_demand_says_so() -> None:
    """A plan for eight B200 on demand would never have started: Google sells them in every other way."""
    found = ways()
    states = {key[2]: offer.availability.state for key, offer in found.items() if key[1] == "a4-highgpu-8g"}
    assert states.pop("on_demand") == "not_sold"
    assert set(states.values()) == {"listed"}
    assert found["vertex-training", "a3-highgpu-1g", "on_demand", None].availability.state == "not_sold"
    assert found["vertex-prediction", "a3-highgpu-1g", "on_demand", None].availability.state == "listed"
    assert eight(GPU, CORE, RAM, SSD).availability.state == "listed"


def test_traps_41_42_43_each_way_to_buy_a_tpu_has_its_price_and_none_is_taken_for_another() -> None:
    """Three of six SKUs of one chip in one region are OnDemand to Google; the cheapest is half the price."""
    found = {key[2:]: offer.price.amount for key, offer in ways().items() if key[1] == "tpu-v6e"}
    assert found == {
        ("on_demand", None): Decimal("2.7"), ("flex_start", None): Decimal("1.35"), ("spot", None): Decimal("1.4033"),
        ("capacity_block", None): Decimal("1.89"), ("reserved", "1y"): Decimal("1.89"),
    }  # fmt: skip


def test_traps_45_48_a_tpu_of_v2_to_v4_is_sold_by_eight_cores_which_are_four_chips() -> None:
    """The snapshot has v2-8 at 4.50, v2-32 at 24, v4-8 at 12.88: read by the core they would cost a fourth."""
    device = ways()["vm", "v2-8", "on_demand", None]
    assert (device.count, device.hosts, device.price.amount) == (4, 1, Decimal("4.5"))
    found = offers(tpu("Tpu-v2 Pod in Iowa", "6"), tpu("Tpu-v4 Pod in Iowa", "12.88"), tpu("Tpu-v3 in Iowa", "8"))
    prices = {key[0]: (o.accelerator_id, o.count, o.price.amount) for key, o in found.items()}
    assert prices["tpu-v2-pod"] == ("google-tpu-v2", 1, Decimal("1.5"))
    assert prices["tpu-v4"] == ("google-tpu-v4", 1, Decimal("3.22"))
    assert {name: prices[name][1:] for name in ("v2-32", "v4-8", "v3-8")} == {
        "v2-32": (16, Decimal(24)), "v4-8": (4, Decimal("12.88")), "v3-8": (4, Decimal(8)),
    }  # fmt: skip
    assert not {"v2-8", "v3-32"} & prices.keys()


def test_trap_38_a_new_spelling_of_a_name_is_the_same_accelerator() -> None:
    """Of H100 Mega the catalog has three spellings at once; two of them would have had no price."""
    hosts = [sku("A3Plus Instance Core running in Iowa", "0.03"),
             sku("A3Plus Instance Ram running in Iowa", "0.003", unit="GiBy.h")]  # fmt: skip
    for text in ("Nvidia H100 80GB Plus GPU", "Nvidia H100 Mega 80GB GPU", "Nvidia H100 80GB Mega GPU"):
        found = offers(sku(f"{text} running in Americas", "10.3"), *hosts, SSD)
        assert found["a3-megagpu-8g", "on_demand", None].price.status == "exact", text


def test_an_a3_ultra_has_its_own_hosts_whichever_way_they_are_written() -> None:
    gpu = sku("H200 141GB GPU running in Americas", "9.31174")
    for series in ("A3Ultra", "A3 Ultra"):
        core, ram = f"{series} Instance Core running in Iowa", f"{series} Instance Ram running in Iowa"
        found = offers(gpu, sku(core, "0.025"), sku(ram, "0.002", unit="GiBy.h"), CORE, RAM, SSD)
        offer = found["a3-ultragpu-8g", "on_demand", None]
        assert (offer.price.amount, offer.availability.state) == (Decimal("87.19792"), "not_sold")


MACHINES = {machine.shape.instance: machine for found in machine_types().values() for machine in found}


@pytest.mark.parametrize("name", MACHINES)
def test_traps_32_34_every_machine_of_the_table_is_all_its_parts_and_none_is_without_its_accelerators(
    name: str,
) -> None:
    """Whole families were priced as hosts without accelerators, at a tenth of what they cost, or not at all."""
    machine = MACHINES[name]
    gpu = sku(f"{machine.gpu} running in Iowa", "3")
    series = f"{machine.series} Predefined" if machine.series == "N1" else machine.series
    hosts = [
        sku(f"{series} Instance Core running in Iowa", "0.03"),
        sku(f"{series} Instance Ram running in Iowa", "0.003", unit="GiBy.h"),
    ]
    parts = [*(hosts if machine.series else []), SSD]
    offer = offers(gpu, *parts)[name, "on_demand", None]
    least = 3 * Decimal(machine.shape.count.numerator) / machine.shape.count.denominator if machine.shape.count else 0
    assert offer.price.amount is not None
    assert offer.price.amount >= least
    assert offers(*parts) == {}


def test_trap_47_what_one_region_has_no_price_of_has_none_from_another() -> None:
    """A chip at 0 in a new region was given the price of an old one: a number that nobody listed."""
    priced = tpu("TpuV6e running in Columbus", "2.7") | {"serviceRegions": ["us-east5"]}
    free = tpu("TpuV6e running in Dallas", "0") | {"serviceRegions": ["us-south1"]}
    found = {o.region: o.price for o in offers_of_skus([priced, free], now=NOW) if o.instance == "tpu-v6e"}
    assert {region: price.amount for region, price in found.items()} == {"us-east5": Decimal("2.7"), "us-south1": None}
    assert found["us-south1"].status == "unknown"


def test_trap_53_a_part_is_of_its_own_series_alone() -> None:
    """By a part of its name the core of an M3, or of a sole tenant, once priced another machine."""
    for other in ("A3Plus Instance Core running in Iowa", "A3 Sole Tenancy Instance Core running in Iowa",
                  "M3 Instance Core running in A3 Iowa", "A33 Instance Core running in Iowa"):  # fmt: skip
        assert eight(GPU, sku(other, "0.03"), RAM, SSD).price.amount is None, other


def test_trap_56_no_spot_price_is_made_of_a_price_on_demand() -> None:
    found = offers(GPU, CORE, RAM, SSD)
    assert {offer.market for offer in found.values()} == {"on_demand"}
    assert {offer.price.status for offer in found.values()} == {"exact"}


def test_an_attached_accelerator_is_priced_with_each_host_that_may_carry_it() -> None:
    """Alone at 0.35 a T4 looked like the cheapest machine; the smallest that carries it costs more than half again."""
    found = offers(
        sku("Nvidia Tesla T4 GPU running in Americas", "0.35"),
        sku("N1 Predefined Instance Core running in Americas", "0.031611"),
        sku("N1 Predefined Instance Ram running in Americas", "0.004237", unit="GiBy.h"),
        sku("Commitment v1: Nvidia Tesla T4 GPU in Americas for 1 Year", "0.22", usage="Commit1Yr"),
        sku("Commitment v1: Cpu in Americas for 1 Year", "0.019915", usage="Commit1Yr"),
        sku("Commitment v1: Ram in Americas for 1 Year", "0.002669", usage="Commit1Yr", unit="GiBy.h"),
    )
    offer = found["n1-standard-4+nvidia-tesla-t4x1", "on_demand", None]
    assert (offer.price.amount, offer.accelerator_id, offer.count) == (Decimal("0.539999"), "nvidia-t4", 1)
    assert found["n1-highmem-16+nvidia-tesla-t4x4", "on_demand", None].price.amount == Decimal("2.346424")
    assert found["n1-standard-4+nvidia-tesla-t4x1", "reserved", "1y"].price.status == "exact"
    assert "n1-highmem-96+nvidia-tesla-t4x1" not in {key[0] for key in found}


def test_the_hosts_that_are_put_together_are_those_that_ship() -> None:
    with open(Path(__file__).parents[2] / "pricing_cache/optional/gcp.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["instance"].startswith("n1-")]
    shipped = {
        (r["instance"], r["accelerator_id"], r["count"], float(r["vcpus"]), float(r["memory_gib"])) for r in rows
    }
    made = {
        (s.instance, s.accelerator_id, str(s.count), s.vcpus, s.memory_gib)
        for s in (machine.shape for machine in MACHINES.values())
        if s.instance.startswith("n1-")
    }
    assert made == shipped
