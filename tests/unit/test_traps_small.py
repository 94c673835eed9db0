"""What price catalogs have got wrong of small sellers and marketplaces, each once for every reader that could.

The number in a test's name is that of the trap; the docstring says what a user would have believed.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cloudaccel import registry
from cloudaccel.api.renewing import renew_prices
from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.names import resolve
from cloudaccel.model import Offer
from cloudaccel.protocols import Scope
from cloudaccel.testing.cloud import FakeCloud, Reply
from cloudaccel_lambda.prices import LambdaPrices
from cloudaccel_oci.prices import OciPrices
from cloudaccel_skypilot.prices import BASE_URL, WANTED, CudoPrices
from tests.support import Canned, run
from tests.unit.test_prices_small import DROPLET, VULTR, droplets, flavors, hosts, runpods, verdas, vultrs

pytestmark = pytest.mark.network  # lists are read over HTTP from 127.0.0.1
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
L40S = {"description": "8x L40S 48GB", "number_of_gpus": 8}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "DIGITALOCEAN_ACCESS_TOKEN",
        "HYPERSTACK_API_KEY",
        "VERDA_CLIENT_ID",
        "VERDA_CLIENT_SECRET",
        "LAMBDA_API_KEY",
    ):
        monkeypatch.setenv(
            name,
            {
                "HYPERSTACK_API_KEY": "canary-hs",
                "VERDA_CLIENT_ID": "canary-id",
                "VERDA_CLIENT_SECRET": "canary-secret",
            }.get(name, "canary-do"),
        )
    monkeypatch.setenv(WANTED, "yes")


def lambdas(
    *, cents: object = 2399, gpu: str = "H100 (80 GB SXM5)", regions: tuple[str, ...] = ("us-east-1",)
) -> list[Offer]:
    kind = {"gpu_description": gpu, "price_cents_per_hour": cents, "specs": {"vcpus": 1, "memory_gib": 1, "gpus": 8}}
    entry = {"instance_type": kind, "regions_with_capacity_available": [{"name": name} for name in regions]}
    prices = LambdaPrices(Canned(json.dumps({"data": {"gpu_8x": entry}}).encode()), now=lambda: NOW)
    return list(prices.offers(Scope(provider="lambda", partition="lambda")))


def ocis(value: object = 10, name: str = "GPU - X1") -> list[Offer]:
    local = [{"currencyCode": "USD", "prices": [{"model": "PAY_AS_YOU_GO", "value": value}]}]
    item = {"partNumber": "B1", "displayName": name, "metricName": "GPU Per Hour", "currencyCodeLocalizations": local}
    prices = OciPrices(Canned(json.dumps({"items": [item]}).encode()), now=lambda: NOW)
    return list(prices.offers(Scope(provider="oci", partition="oc1")))


def hosted(price: object = 1, name: str = "H100") -> list[Offer]:
    body = f"InstanceType,AcceleratorName,AcceleratorCount,Region,Price,SpotPrice\nbox,{name},8,r,{price},\n"
    prices = CudoPrices(Canned(body.encode()), now=lambda: NOW)
    return list(prices.offers(Scope(provider="cudo", partition="cudo")))


# Each reader with a price of the given value, on demand.
PRICED: Mapping[str, Callable[[Any], list[Offer]]] = {
    "digitalocean": lambda value: droplets(price_hourly=value),
    "hosted": lambda value: hosted("" if value is None else value),
    "hyperstack": lambda value: flavors({"value": value}),
    "lambda": lambda value: lambdas(cents=value),
    "oci": ocis,
    "runpod": lambda value: runpods(securePrice=value, communityPrice=value),
    "vast-ai": lambda value: hosts(dph_base=value),
    "verda": lambda value: verdas(price_per_hour=value),
    "vultr": lambda value: vultrs(hourly_cost=value),
}
# Each reader with an accelerator of the given name.
NAMED: Mapping[str, Callable[[str], list[Offer]]] = {
    "digitalocean": lambda name: droplets(gpu_info={"count": 8, "vram": {"amount": 640, "unit": "gib"}, "model": name}),
    "hosted": lambda name: hosted(name=name),
    "hyperstack": lambda name: flavors({"name": name}, gpu=name),
    "lambda": lambda name: lambdas(gpu=name),
    "oci": lambda name: ocis(name=name),
    "runpod": lambda name: runpods(id=name, displayName=name),
    "vast-ai": lambda name: hosts(gpu_name=name),
    "verda": lambda name: verdas(gpu={"description": f"8x {name}", "number_of_gpus": 8}),
    "vultr": lambda name: vultrs(gpu_type=name),
}


@pytest.mark.parametrize("reader", PRICED)
@pytest.mark.parametrize("value", [0, None])
def test_trap_59_89_a_price_of_0_or_none_is_unknown_and_never_cheapest(reader: str, value: object) -> None:
    """IBM's rows at 0.0 made it the cheapest cloud there is."""
    found = [offer for offer in PRICED[reader](value) if offer.market == "on_demand"]
    assert found
    assert {(o.price.amount, o.price.status, o.apart[0]) for o in found} == {(None, "unknown", "unknown_price")}


@pytest.mark.parametrize("reader", NAMED)
def test_trap_35_81_a_family_that_no_table_knows_keeps_its_whole_name_and_its_price(reader: str) -> None:
    """A new family was dropped, or sold at 0; and stripping "RTX " as letters made TX9 of RTX TX9."""
    found = NAMED[reader]("RTX TX9")
    assert {(offer.accelerator_id, offer.accelerator_name) for offer in found} == {(None, "RTX TX9")}
    assert all(offer.price.amount for offer in found if offer.market == "on_demand")


@pytest.mark.parametrize(
    ("offers", "known"),
    [
        (lambda: runpods(id="NVIDIA H100 NVL", displayName="H100 NVL", memoryInGb=94), "nvidia-h100-nvl-94gb"),
        (lambda: runpods(id="NVIDIA H100 PCIe", displayName="H100 PCIe"), "nvidia-h100-pcie-80gb"),
        (lambda: hosts(gpu_name="H100 NVL", gpu_ram=95830), "nvidia-h100-nvl-94gb"),
        (lambda: hosts(gpu_name="A100 SXM4", gpu_ram=40960), "nvidia-a100-sxm-40gb"),
        (lambda: hosts(gpu_name="A100 SXM4", gpu_ram=81920), "nvidia-a100-sxm-80gb"),
        (lambda: lambdas(gpu="A100 (40 GB PCIe)"), "nvidia-a100-pcie-40gb"),
        (lambda: lambdas(gpu="H100"), None),
        (lambda: hosted(name="A100"), None),
        (lambda: verdas(gpu=L40S, gpu_memory={"size_in_gigabytes": 384}), "nvidia-l40s"),
    ],
)  # fmt: skip
def test_trap_70_72_88_92_form_and_memory_stay_with_the_name(
    offers: Callable[[], list[Offer]], known: str | None
) -> None:
    """An NVL card was sold as an SXM one, a 40 GB card as one of 80, an L40S as an L40."""
    assert {offer.accelerator_id for offer in offers()} == {known}


def test_trap_03_62_73_a_line_that_comes_twice_is_one_offer_and_two_prices_are_none() -> None:
    """Pages moved while they were read: a size came twice, and the later or the lower price won."""
    page = {"sizes": [DROPLET, DROPLET], "links": None}
    assert _sizes(page) == {("nyc1", Decimal("23.92")), ("tor1", Decimal("23.92"))}
    for prices in ((23.92, 11.0), (11.0, 23.92), (23.92, 11.0, 23.92)):
        page = {"sizes": [{**DROPLET, "price_hourly": price} for price in prices], "links": None}
        assert _sizes(page) == {("nyc1", None), ("tor1", None)}


def _sizes(page: Mapping[str, Any]) -> set[tuple[str, Decimal | None]]:
    from cloudaccel_digitalocean.prices import DigitalOceanPrices

    prices = DigitalOceanPrices(Canned(json.dumps(page).encode()), now=lambda: NOW)
    found = list(prices.offers(Scope(provider="digitalocean", partition="digitalocean")))
    assert len(found) == 2
    return {(offer.region, offer.price.amount) for offer in found}


def test_trap_85_a_market_of_bid_floors_is_no_price_list() -> None:
    """Mithril's `minimum_price_cents` is a floor of bids; it was shown as what a machine costs."""
    assert "mithril" not in registry.price_lists()
    bids = [offer for offer in hosts() if offer.market == "spot"]
    assert {(offer.price.status, offer.price.note.split(";")[0]) for offer in bids} == {("estimated", "the lowest bid")}


def test_trap_86_a_price_that_floats_is_not_the_fixed_one() -> None:
    """DataCrunch states both for a type; the floating one of today was kept for good."""
    found = verdas(dynamic_price="12.00", max_dynamic_price="99.00", free={"FIN-01": ["8B300.240V"]})
    assert [offer.price.amount for offer in found if offer.market == "on_demand"] == [Decimal("55.92")]


def test_trap_90_sold_out_is_not_for_sale_everywhere() -> None:
    """Every type was listed in every region."""
    assert [offer.region for offer in lambdas(regions=())] == ["global"]
    assert [offer.region for offer in lambdas(regions=("us-east-1",))] == ["us-east-1"]


def test_trap_91_a_price_of_a_month_is_not_one_of_an_hour() -> None:
    """Hourly and monthly prices stood in one column."""
    assert {o.price.amount for o in droplets(price_hourly=None, price_monthly=17796.48)} == {None}
    assert {o.price.amount for o in vultrs(hourly_cost=None, monthly_cost=VULTR["hourly_cost"] * 730)} == {None}
    assert {
        o.price.amount
        for o in runpods(securePrice=None, oneMonthPrice=2.2, communityCloud=False)
        if o.market == "on_demand"
    } == {None}


def test_trap_93_where_a_host_limits_calls_a_mirror_answers_and_else_the_old_prices_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub's limit for raw files left users without any price."""
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(tmp_path))
    url = f"{BASE_URL}/jarvislabs/vms.csv"
    with FakeCloud() as cloud:
        monkeypatch.setenv("CLOUDACCEL_MIRRORS", f"{url}={cloud.url}/v8")
        cloud.serve("/v8", lambda _: Reply(status=404))
        (failed,) = renew_prices(["jarvis-labs"], now=NOW).providers
        assert (failed.status, bool(failed.kept_as_of)) == ("failed", True)
        assert run("quote", "H100-SXM", "--provider", "jarvis-labs", "--json").json["offers"]
        cloud.serve("/v8", _eight())
        assert renew_prices(["jarvis-labs"], now=NOW, believe=True).providers[0].status == "ok"
    found = run("quote", "H100-SXM:8", "--provider", "jarvis-labs", "--json").json["offers"]
    (offer,) = [offer for offer in found if offer["instance"] == "new"]
    assert offer["price"]["source"]["name"] == "SkyPilot's hosted catalog"


def _eight() -> bytes:
    header = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice"
    return f"{header}\nnew,H100,8,128,1600,24.80,IN2,,\n".encode()


def test_trap_94_figures_are_dense_and_of_one_card() -> None:
    """Twice the speed (sparse), or that of a pair of cards, was written for one."""
    assert by_id("nvidia-h200-sxm").peak_tflops_bf16_dense == pytest.approx(989, rel=0.01)
    assert by_id("nvidia-h100-nvl-94gb").peak_tflops_bf16_dense == pytest.approx(835, rel=0.01)
    assert by_id("nvidia-a40").peak_tflops_bf16_dense == pytest.approx(149.7, rel=0.01)
    assert resolve("A10G").accelerator_ids != resolve("A10").accelerator_ids
