"""Price lists of the small sellers; every answer is assembled from the documented shape."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from cloudaccel.errors import AuthError, MalformedResponse
from cloudaccel.facts.listing import PriceList
from cloudaccel.model import Offer
from cloudaccel.protocols import Prices, Scope
from cloudaccel.testing.cloud import Asked, FakeCloud, Reply, Route
from cloudaccel.testing.prices import PricesContract
from cloudaccel_digitalocean.prices import DigitalOceanPrices
from cloudaccel_hyperstack.prices import HyperstackPrices
from cloudaccel_runpod.prices import RunpodPrices
from cloudaccel_vast.prices import VastPrices
from cloudaccel_verda.prices import VerdaPrices
from cloudaccel_vultr.prices import VultrPrices

pytestmark = pytest.mark.network  # lists are read over HTTP from 127.0.0.1
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)

RUNPOD: Mapping[str, Any] = {
    "id": "NVIDIA H100 80GB HBM3", "displayName": "H100 SXM", "memoryInGb": 80, "secureCloud": True,
    "communityCloud": True, "securePrice": 2.99, "communityPrice": 2.69, "secureSpotPrice": 1.75,
    "communitySpotPrice": None,
}  # fmt: skip
DROPLET: Mapping[str, Any] = {
    "slug": "gpu-h100x8-640gb", "memory": 1966080, "vcpus": 160, "price_monthly": 17796.48, "price_hourly": 23.92,
    "regions": ["nyc1", "tor1"], "available": True,
    "gpu_info": {"count": 8, "vram": {"amount": 640, "unit": "gib"}, "model": "nvidia_h100"},
}  # fmt: skip
FLAVOR: Mapping[str, Any] = {
    "id": 97, "name": "n3-H100-SXM5x8", "region_name": "CANADA-1", "cpu": 192, "ram": 1800.0, "disk": 100,
    "ephemeral": 32000, "gpu": "H100-80G-SXM5", "gpu_count": 8, "stock_available": False, "features": {},
}  # fmt: skip
PRICEBOOK: Mapping[str, Any] = {
    "id": 10, "name": "H100-80G-SXM5", "value": "2.4", "original_value": "2.4", "discount_applied": False,
    "start_time": None, "end_time": None,
}  # fmt: skip
LISTED = {"value": "2.4"}
VERDA: Mapping[str, Any] = {
    "cpu": {"number_of_cores": 176}, "currency": "usd",
    "gpu": {"description": "8x B300 SXM6 262GB", "number_of_gpus": 8},
    "gpu_memory": {"size_in_gigabytes": 2096}, "instance_type": "8B300.240V", "memory": {"size_in_gigabytes": 2200},
    "price_per_hour": "55.92", "spot_price": "19.60",
}  # fmt: skip
VULTR: Mapping[str, Any] = {
    "id": "vcg-a16-2c-8g-2vram", "vcpu_count": 2, "ram": 8192, "hourly_cost": 0.059, "type": "vcg",
    "locations": ["ewr", "fra"], "gpu_vram_gb": 2, "gpu_type": "NVIDIA_A16",
}  # fmt: skip
VAST: Mapping[str, Any] = {
    "id": 12345678, "host_id": 55555, "machine_id": 88888, "gpu_name": "H100 SXM", "num_gpus": 4, "gpu_frac": 0.5,
    "gpu_ram": 81559, "cpu_cores": 128, "cpu_cores_effective": 64, "cpu_ram": 1048576, "dph_base": 7.2,
    "dph_total": 7.3, "min_bid": 3.6, "storage_cost": 0.2, "geolocation": "Sweden, SE", "verification": "verified",
    "reliability2": 0.99871, "rentable": True, "rented": False, "is_bid": False, "disk_space": 2048.5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITALOCEAN_ACCESS_TOKEN", "canary-do")
    monkeypatch.setenv("HYPERSTACK_API_KEY", "canary-hs")
    monkeypatch.setenv("VERDA_CLIENT_ID", "canary-id")
    monkeypatch.setenv("VERDA_CLIENT_SECRET", "canary-secret")


def reply(value: object) -> Reply:
    return Reply(body=json.dumps(value).encode())


def runpod(cloud: FakeCloud, *kinds: Mapping[str, Any]) -> None:
    cloud.serve_json("", {"data": {"gpuTypes": list(kinds)}})


def digitalocean(cloud: FakeCloud, *kinds: Mapping[str, Any]) -> None:
    """Two pages; the second is the last. A size without an accelerator is beside them."""

    def route(asked: Asked) -> Reply:
        if asked.headers.get("authorization") != "Bearer canary-do":
            return Reply(status=401)
        if asked.query.get("page") == "1":
            plain = {"slug": "s-1vcpu-512mb-10gb", "memory": 512, "price_hourly": 0.00595, "regions": ["ams3"]}
            return reply({"sizes": [plain, *kinds[:1]], "links": {"pages": {"next": "https://evil.example/?page=2"}}})
        return reply({"sizes": list(kinds[1:]), "links": None})

    cloud.serve("", route)


def verda(cloud: FakeCloud, *kinds: Mapping[str, Any], free: Mapping[str, list[str]] | None = None) -> None:
    def guarded(answer: object) -> Route:
        def route(asked: Asked) -> Reply:
            return reply(answer) if asked.headers.get("authorization") == "Bearer canary-token" else Reply(status=401)

        return route

    def token(asked: Asked) -> Reply:
        sent = json.loads(asked.body)
        right = (sent["client_id"], sent["client_secret"]) == ("canary-id", "canary-secret")
        return reply({"access_token": "canary-token"}) if right else Reply(status=401)

    places = [{"location_code": code, "availabilities": names} for code, names in (free or {}).items()]
    cloud.serve("/oauth2/token", token)
    cloud.serve("/instance-types", guarded(list(kinds)))
    cloud.serve(
        "/instance-availability",
        lambda asked: guarded(places if asked.query["is_spot"] == "false" else [])(asked),
    )


def hyperstack(cloud: FakeCloud, *kinds: Mapping[str, Any], book: tuple[Mapping[str, Any], ...] = (PRICEBOOK,)) -> None:
    """The flavors in groups by region, and the pricebook, which is a bare list with every resource in it."""

    def guarded(body: object) -> Route:
        return lambda asked: reply(body) if asked.headers.get("api_key") == "canary-hs" else Reply(status=401)

    groups = [{"gpu": kind["gpu"], "region_name": kind["region_name"], "flavors": [kind]} for kind in kinds]
    none = {"gpu": "", "region_name": "NORWAY-1", "flavors": [{**FLAVOR, "name": "n1-cpu-small", "gpu": ""}]}
    cloud.serve("/core/flavors", guarded({"status": True, "message": "", "data": [*groups, none]}))
    cloud.serve("/pricebook", guarded([{**PRICEBOOK, "name": "vCPU", "value": "0E-9"}, *book]))


def vultr(cloud: FakeCloud, *kinds: Mapping[str, Any]) -> None:
    def route(asked: Asked) -> Reply:
        if not asked.query.get("cursor"):
            return reply({"plans": list(kinds[:1]), "meta": {"total": 2, "links": {"next": "bmV4dA==", "prev": ""}}})
        return reply({"plans": list(kinds[1:]), "meta": {"total": 2, "links": {"next": "", "prev": "x"}}})

    cloud.serve("", route)


def vast(cloud: FakeCloud, *kinds: Mapping[str, Any], cut: int = 2) -> None:
    """Two offers a page at most, whatever is asked for, which is how the market's server answers."""

    def route(asked: Asked) -> Reply:
        query = json.loads(asked.query["q"])
        assert (query["verified"], query["order"]) == ({"eq": True}, [["id", "asc"]])
        return reply({"offers": [kind for kind in kinds if kind["id"] > query["id"]["gt"]][:cut]})

    cloud.serve("", route)


class TestRunpod(PricesContract):
    def prices(self) -> Prices:
        return RunpodPrices()

    def serve(self, cloud: FakeCloud) -> None:
        runpod(cloud, RUNPOD)


class TestDigitalOcean(PricesContract):
    def prices(self) -> Prices:
        return DigitalOceanPrices()

    def serve(self, cloud: FakeCloud) -> None:
        digitalocean(cloud, DROPLET, {**DROPLET, "slug": "gpu-l40s", "regions": []})


class TestHyperstack(PricesContract):
    def prices(self) -> Prices:
        return HyperstackPrices()

    def serve(self, cloud: FakeCloud) -> None:
        hyperstack(cloud, FLAVOR, {**FLAVOR, "name": "n3-L40x1", "gpu": "L40", "gpu_count": 1})


class TestVerda(PricesContract):
    def prices(self) -> Prices:
        return VerdaPrices()

    def serve(self, cloud: FakeCloud) -> None:
        verda(cloud, VERDA, free={"FIN-01": ["8B300.240V", "CPU.4V.16G"], "FIN-03": ["8B300.240V"]})


class TestVultr(PricesContract):
    def prices(self) -> Prices:
        return VultrPrices()

    def serve(self, cloud: FakeCloud) -> None:
        vultr(cloud, VULTR, {**VULTR, "id": "vcg-a40", "gpu_type": "NVIDIA_A40", "gpu_vram_gb": 48})


class TestVast(PricesContract):
    def prices(self) -> Prices:
        return VastPrices()

    def serve(self, cloud: FakeCloud) -> None:
        vast(cloud, *({**VAST, "id": number} for number in (7, 8, 11)))


def read(
    suite: PricesContract, kind: type[PriceList], serve: Any, *kinds: Mapping[str, Any], **more: Any
) -> list[Offer]:
    with FakeCloud() as cloud:
        serve(cloud, *kinds, **more)
        prices: Any = kind(suite.web(cloud), now=lambda: NOW)
        (scope,) = prices.scopes()
        return list(prices.offers(scope))


def runpods(**fields: object) -> list[Offer]:
    return read(TestRunpod(), RunpodPrices, runpod, {**RUNPOD, **fields})


def droplets(**fields: object) -> list[Offer]:
    return read(TestDigitalOcean(), DigitalOceanPrices, digitalocean, {**DROPLET, **fields})


def flavors(*book: Mapping[str, Any], **fields: object) -> list[Offer]:
    entries = tuple({**PRICEBOOK, **entry} for entry in book or ({},))
    return read(TestHyperstack(), HyperstackPrices, hyperstack, {**FLAVOR, **fields}, book=entries)


def verdas(free: Mapping[str, list[str]] | None = None, **fields: object) -> list[Offer]:
    return read(TestVerda(), VerdaPrices, verda, {**VERDA, **fields}, free=free)


def vultrs(**fields: object) -> list[Offer]:
    return read(TestVultr(), VultrPrices, vultr, {**VULTR, **fields})


def hosts(*offers: Mapping[str, Any], **fields: object) -> list[Offer]:
    return read(TestVast(), VastPrices, vast, *({**VAST, **offer, **fields} for offer in offers or ({},)))


def test_trap_78_79_runpods_price_and_bid_are_of_one_accelerator_in_a_named_tier() -> None:
    found = {(offer.market, offer.offering_class): offer.price.amount for offer in runpods()}
    assert found == {
        ("on_demand", "secure"): Decimal("2.99"), ("spot", "secure"): Decimal("1.75"),
        ("on_demand", "community"): Decimal("2.69"),
    }  # fmt: skip
    assert {(offer.sold_per, offer.count, offer.hosts) for offer in runpods()} == {("accelerator", 1, None)}
    assert {offer.accelerator_id for offer in runpods()} == {"nvidia-h100-sxm-80gb"}


def test_a_tier_that_does_not_have_it_sells_nothing_and_one_without_a_price_has_none() -> None:
    found = runpods(communityCloud=False, securePrice=0, secureSpotPrice=0)
    assert [(offer.offering_class, offer.market, offer.price.amount) for offer in found] == [
        ("secure", "on_demand", None)
    ]


def test_trap_80_runpods_memory_is_in_gb() -> None:
    found = runpods(id="NVIDIA X9", displayName="X9", memoryInGb=48)
    assert {(offer.accelerator_id, offer.accelerator_name, offer.accelerator_memory_gib) for offer in found} == {
        (None, "X9", 48.0)
    }


def test_an_answer_of_errors_is_refused() -> None:
    with FakeCloud() as cloud:
        cloud.serve_json("", {"errors": [{"message": "no"}]})
        prices = RunpodPrices(TestRunpod().web(cloud))
        with pytest.raises(MalformedResponse, match="data"):
            list(prices.offers(Scope(provider="runpod", partition="runpod")))


def test_a_droplet_is_the_whole_machine_in_each_region() -> None:
    found = droplets()
    assert [(o.region, o.price.amount, o.count, o.accelerator_id, o.memory_gib) for o in found] == [
        (region, Decimal("23.92"), 8, "nvidia-h100-sxm-80gb", 1920) for region in ("nyc1", "tor1")
    ]


def test_trap_90_a_size_that_no_region_has_keeps_its_price() -> None:
    (offer,) = droplets(regions=[])
    assert (offer.region, offer.price.amount, offer.country) == ("global", Decimal("23.92"), None)


def test_a_model_that_no_table_has_is_told_with_the_memory_of_one() -> None:
    gpu = {"count": 4, "vram": {"amount": 512, "unit": "gib"}, "model": "nvidia_q7"}
    offer = droplets(gpu_info=gpu)[0]
    assert (offer.accelerator_id, offer.accelerator_name, offer.accelerator_memory_gib) == (None, "nvidia_q7", 128.0)


def test_pages_that_do_not_end_are_refused() -> None:
    with FakeCloud() as cloud:
        page: Mapping[str, Any] = {"sizes": [], "links": {"pages": {"next": "x"}}}
        cloud.serve_json("", page)
        prices = DigitalOceanPrices(TestDigitalOcean().web(cloud))
        with pytest.raises(MalformedResponse, match="do not end"):
            list(prices.offers(Scope(provider="digitalocean", partition="digitalocean")))


def test_trap_88_verdas_memory_is_of_the_whole_machine_and_262_gb_is_the_b300() -> None:
    found = verdas(free={"FIN-01": ["8B300.240V"]})
    assert [(o.market, o.region, o.price.amount, o.accelerator_id, o.count) for o in found] == [
        ("on_demand", "FIN-01", Decimal("55.92"), "nvidia-b300-sxm", 8),
        ("spot", "global", Decimal("19.60"), "nvidia-b300-sxm", 8),
    ]


def test_a_machine_without_accelerators_or_without_a_bid_is_left_out() -> None:
    assert verdas(gpu={"description": "", "number_of_gpus": 0}) == []
    assert [offer.market for offer in verdas(spot_price="0")] == ["on_demand"]


@pytest.mark.parametrize("fields", [{"currency": None}, {"price_per_hour": "free"}, {"price_per_hour": "-1"}])
def test_a_type_that_cannot_be_understood_refuses_the_list(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse):
        verdas(**fields)


def test_a_key_that_is_not_set_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERDA_CLIENT_SECRET")
    with pytest.raises(AuthError, match="VERDA_CLIENT_SECRET") as refused:
        verdas()
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "count", "memory"),
    [
        ({}, Fraction(1, 8), 2.0),
        ({"gpu_type": "NVIDIA_A16", "gpu_vram_gb": 64}, Fraction(4), 16),
        ({"gpu_type": "NVIDIA_A40", "gpu_vram_gb": 24}, Fraction(1, 2), 24.0),
        ({"gpu_type": "NVIDIA_A100", "gpu_vram_gb": 80}, Fraction(1), 80),
        ({"gpu_type": "NVIDIA_A40", "gpu_vram_gb": 75}, None, None),
        ({"gpu_type": "NVIDIA_Q7", "gpu_vram_gb": 80}, None, None),
    ],
)
def test_a_plan_has_as_many_accelerators_as_its_memory_says(
    fields: dict[str, object], count: Fraction | None, memory: float | None
) -> None:
    offer = vultrs(**fields)[0]
    assert (offer.count, offer.accelerator_memory_gib) == (count, memory)
    assert offer.price.amount == Decimal("0.059")


def test_a_flavor_costs_what_its_accelerators_cost_in_the_pricebook() -> None:
    """Sold out is not unpriced; and the price of one accelerator is not that of eight."""
    (offer,) = flavors()
    assert (offer.instance, offer.region, offer.market) == ("n3-H100-SXM5x8", "CANADA-1", "on_demand")
    assert (offer.accelerator_id, offer.count) == ("nvidia-h100-sxm-80gb", 8)
    assert (offer.vcpus, offer.memory_gib) == (192, 1800)
    assert offer.price.amount == Decimal("19.2")  # what the price page of 2026-05 makes of eight
    assert [tuple(part)[:4] for part in offer.price.parts] == [
        ("H100-80G-SXM5", 8, Decimal("2.4"), Decimal("19.2"))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gpu", "known", "market"),
    [
        ("H100-80G-PCIe", "nvidia-h100-pcie-80gb", "on_demand"),
        ("H100-80G-PCIe-NVLink", "nvidia-h100-pcie-80gb", "on_demand"),
        ("H100-80G-PCIe-spot", "nvidia-h100-pcie-80gb", "spot"),
        ("A100-80G-SXM4", "nvidia-a100-sxm-80gb", "on_demand"),
        ("H200-141G-SXM5", "nvidia-h200-sxm", "on_demand"),
        ("L40", "nvidia-l40", "on_demand"),
        ("RTX-A6000-spot", "nvidia-rtx-a6000", "spot"),
        ("B900-SXM", None, "on_demand"),
    ],
)
def test_a_card_of_hyperstack_is_told_by_form_and_memory_and_spot_by_its_name(
    gpu: str, known: str | None, market: str
) -> None:
    (offer,) = flavors({"name": gpu}, gpu=gpu)
    assert (offer.accelerator_id, offer.market, offer.price.amount) == (known, market, Decimal("19.2"))


def test_a_discount_of_the_account_is_not_the_list_price() -> None:
    """Who shares his catalog would have shared what was granted to him alone."""
    (offer,) = flavors({"value": "1.2", "original_value": "2.4", "discount_applied": True})
    assert offer.price.amount == Decimal("19.2")


@pytest.mark.parametrize(
    ("book", "amount"),
    [
        (({"end_time": "2026-11-24T00:00:00Z"},), None),  # over
        (({"start_time": "2027-01-01T00:00:00"},), None),  # not yet
        (({"value": "9", "end_time": "2026-11-24T00:00:00Z"}, LISTED), "19.2"),
        ((LISTED, LISTED), "19.2"),
        ((LISTED, {"value": "9"}), None),  # two prices in force: neither
        ((LISTED, {"value": "9"}, LISTED), None),
        (({"name": "H100-80G-PCIe"},), None),
        (({"value": "0E-9"},), None),
    ],
)
def test_of_the_pricebook_what_is_in_force_counts_and_two_prices_are_none(
    book: tuple[Mapping[str, Any], ...], amount: str | None
) -> None:
    assert [offer.price.amount for offer in flavors(*book)] == [Decimal(amount) if amount else None]


def test_a_flavor_without_a_count_has_no_price() -> None:
    (offer,) = flavors(gpu_count=None)
    assert (offer.count, offer.price.amount, offer.apart) == (None, None, ("unknown_price", "unknown_count"))


@pytest.mark.parametrize("entry", [{"value": "cheap"}, {"value": -1}, {"start_time": "soon"}])
def test_a_pricebook_that_cannot_be_read_refuses_the_answer(entry: Mapping[str, Any]) -> None:
    with pytest.raises(MalformedResponse):
        flavors(entry)


def test_a_free_plan_is_no_price() -> None:
    assert {offer.price.amount for offer in vultrs(hourly_cost=0)} == {None}


def test_trap_83_every_host_of_the_market_is_an_offer_with_its_id_whatever_a_page_is_cut_to() -> None:
    """A median, or the first page, is a price at which nobody rents."""
    found = hosts(*({"id": number, "dph_base": number} for number in (3, 5, 6, 9, 12)))
    assert [(o.instance, o.price.amount) for o in found if o.market == "on_demand"] == [
        ("offer-3", 3), ("offer-5", 5), ("offer-6", 6), ("offer-9", 9), ("offer-12", 12)
    ]  # fmt: skip


def test_a_market_price_says_its_host_and_a_bid_is_an_estimate() -> None:
    asked, bid = hosts()
    assert (asked.region, asked.country, asked.count, asked.accelerator_id) == ("SE", "SE", 4, "nvidia-h100-sxm-80gb")
    assert (asked.price.amount, asked.price.status, asked.offering_class) == (Decimal("7.2"), "exact", "marketplace")
    assert (asked.vcpus, asked.memory_gib) == (64, 512)
    assert "verified host 55555, reliability 0.9987" in asked.price.note
    assert (bid.market, bid.price.amount, bid.price.status) == ("spot", Decimal("3.6"), "estimated")
    assert bid.price.note.startswith("the lowest bid; a higher one ends the machine")


def test_trap_82_the_disk_of_a_host_is_said_and_is_no_part_of_the_price() -> None:
    """`dph_total` has some disk in it, and no two sellers' prices would compare."""
    assert hosts()[0].price.note.endswith("disk apart, 0.2 USD per GB and month")


def test_trap_84_what_a_host_does_not_say_is_unknown() -> None:
    silent = {"cpu_cores": None, "cpu_ram": None, "geolocation": None, "reliability2": None, "storage_cost": None}
    (offer,) = hosts(**silent, min_bid=0, dph_base=0, verification="deverified")
    assert (offer.vcpus, offer.memory_gib, offer.region, offer.country) == (64, None, "global", None)
    assert (offer.price.amount, offer.offering_class) == (None, "community")
    assert offer.price.note == "deverified host 55555"


def test_a_card_with_more_memory_than_its_maker_gave_it_is_not_that_card() -> None:
    offer = hosts(gpu_name="RTX 4090", gpu_ram=49140)[0]
    assert (offer.accelerator_id, offer.accelerator_name) == (None, "RTX 4090")
    assert offer.accelerator_memory_gib == pytest.approx(48, abs=0.1)
    assert hosts(gpu_name="RTX 4090", gpu_ram=24564)[0].accelerator_id == "nvidia-rtx-4090"
    assert hosts(gpu_name="H200", gpu_ram=143771)[0].accelerator_id == "nvidia-h200-sxm"
    assert hosts(gpu_name="H200", gpu_ram=81559)[0].accelerator_id is None


def test_hosts_out_of_order_would_leave_some_out_and_are_refused() -> None:
    with pytest.raises(MalformedResponse, match="where ids rise"):
        hosts({"id": 9}, {"id": 3})
