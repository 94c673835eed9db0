"""SkyPilot's hosted catalogs: as a source at second hand, and beside our own prices. Files are assembled."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from cloudaccel import registry
from cloudaccel.errors import AuthError, MalformedResponse
from cloudaccel.facts.hosted import hosted_rows
from cloudaccel.model import Offer
from cloudaccel.protocols import Prices, Scope
from cloudaccel.testing.cloud import FakeCloud
from cloudaccel.testing.prices import PricesContract
from cloudaccel_skypilot.prices import WANTED, CudoPrices
from tests.support import Canned, run

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
# The layout of schema v8, and of one of its generators (skypilot-org/skypilot, fetch_nebius.py, 2026).
HEADER = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice"
INFO = "\"{'Gpus': [{'Name': 'H100', 'Count': 8, 'MemoryInfo': {'SizeInMiB': 80}}], 'TotalGpuMemoryInMiB': 640}\""
H100 = f"gpu-h100-sxm_8gpu-128vcpu-1600gb,H100,8.0,128,1600,23.60,eu-north1,{INFO},10.00"
HOST = "cpu-d3_4vcpu-16gb,,0,4,16,0.0992,eu-north1,,"
FREE = f"gpu-gb300_4gpu,GB300,4,64,800,0.00,us-central1,{INFO},"


def text(*rows: str, header: str = HEADER) -> str:
    return "\n".join((header, *rows)) + "\n"


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WANTED, "yes")


@pytest.mark.network
class TestHosted(PricesContract):
    def prices(self) -> Prices:
        return CudoPrices()

    def serve(self, cloud: FakeCloud) -> None:
        cloud.serve("", text(HOST, H100, FREE).encode())


def offers(body: str) -> list[Offer]:
    prices = CudoPrices(Canned(body.encode()), now=lambda: NOW)
    return list(prices.offers(Scope(provider="cudo", partition="cudo")))


def test_a_price_at_second_hand_says_so_and_is_dated_by_an_interval() -> None:
    """A file without a date, read today, must not pass for prices of today."""
    on_demand, spot = offers(text(H100))
    assert (on_demand.price.amount, spot.price.amount, spot.market) == (Decimal("23.60"), 10, "spot")
    assert (on_demand.price.as_of, on_demand.price.as_of_until) == ("2025-11-01", "2026-11-27")
    assert (on_demand.price.source.name, on_demand.price.source.licence) == (
        "SkyPilot's hosted catalog", "licence file not seen",
    )  # fmt: skip


def test_the_form_comes_from_the_type_and_the_memory_from_the_table() -> None:
    """`SizeInMiB` is 80 for 80 GB in one file, the memory of all GPUs in another."""
    offer = offers(text(H100))[0]
    assert (offer.accelerator_id, offer.count, offer.accelerator_memory_gib) == ("nvidia-h100-sxm-80gb", 8, 80)
    plain = offers(text("box-8,H100,8,1,1,20,eu-north1,,"))[0]
    assert (plain.accelerator_id, plain.accelerator_name) == (None, "H100")


@pytest.mark.parametrize(
    ("name", "instance", "known"),
    [
        ("H100-80G-PCIe-NVLink", "n3-H100x8-NVLink", "nvidia-h100-pcie-80gb"),
        ("H100-80G-SXM5", "n3-H100-SXM5x8", "nvidia-h100-sxm-80gb"),
        ("H100", "8x_H100_192V_1600G", None),
        ("RTX5090", "1x14v119g", "nvidia-rtx-5090"),
    ],
)
def test_names_of_other_clouds_are_read_as_far_as_they_say(name: str, instance: str, known: str | None) -> None:
    (offer,) = offers(text(f"{instance},{name},8,1,1,1,r,,"))
    assert offer.accelerator_id == known


def test_a_namesake_is_not_the_company_that_we_know(tmp_path: Path) -> None:
    """Yotta Labs' prices in the United States would have been those of Yotta Data Services in India."""
    (tmp_path / "yotta").mkdir()
    (tmp_path / "yotta/vms.csv").write_text(text(H100), encoding="utf-8")
    answer = run("refresh", "--compare", str(tmp_path))
    assert (answer.code, "has no folder with a vms.csv" in answer.err) == (2, True)
    assert "yotta" not in registry.price_lists()


def test_trap_87_a_price_of_0_is_none() -> None:
    (offer,) = offers(text(FREE))
    assert (offer.price.amount, offer.apart) == (None, ("unknown_price",))


def test_trap_31_a_host_without_its_accelerator_is_no_offer() -> None:
    assert offers(text(HOST)) == []


def test_it_is_read_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WANTED)
    with pytest.raises(AuthError, match=f"Set {WANTED}=yes") as refused:
        offers(text(H100))
    assert refused.value.raw_code == "no-key"


@pytest.mark.parametrize(
    "body",
    ["", "<html>", text("a,H100,x,1,1,1,r,,"), text("a,H100,1,1,1,-1,r,,"), text("a,H100,1,1,1,1,,,"),
     text(H100, header=HEADER.replace("SpotPrice", "Spot"))],
)  # fmt: skip
def test_a_file_that_cannot_be_understood_is_refused(body: str) -> None:
    with pytest.raises(MalformedResponse, match="Prices stay as they were"):
        offers(body)


def test_a_list_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudaccel.facts.listing.MOST_OFFERS", 3)
    rows = [f"box-{number},L4,1,1,1,1,r,," for number in range(4)]
    assert len(offers(text(*rows[:3]))) == 3
    with pytest.raises(MalformedResponse, match="more than 3 offers"):
        offers(text(*rows))


def test_trap_67_a_share_is_exact_and_no_share_is_guessed() -> None:
    header = "InstanceType,AcceleratorName,AcceleratorCount,Region,Price,SpotPrice"
    counts = [
        row.count
        for row in hosted_rows(text("a,A10,0.167,r,1,", "b,A10,0.5,r,1,", "c,A10,,r,1,", header=header).splitlines())
    ]
    assert counts == [Fraction(1, 6), Fraction(1, 2), None]


# -- beside our own ----------------------------------------------------------------------------------------------------


@pytest.fixture
def ours(tmp_path: Path) -> str:
    """Our prices: two types of Nebius."""
    file = tmp_path / "prices.csv"
    file.write_text(
        "provider,region,zone,instance,accel_raw,count,mem_gb_each,vcpu,market,hourly,currency,as_of,source\n"
        "nebius,eu-north1,,gpu-h100-sxm_8gpu-128vcpu-1600gb,nvidia-h100-sxm-80gb,8,80,128,on_demand,31.2,USD,2026-11-20,own\n"
        "nebius,eu-north1,,gpu-h200-sxm_8gpu,nvidia-h200-sxm,8,141,128,on_demand,28.00,USD,2026-11-20,own\n"
        "nebius,eu-west1,,gpu-h200-sxm_8gpu,nvidia-h200-sxm,8,141,128,on_demand,28.00,USD,2026-11-20,own\n",
        encoding="utf-8",
    )
    return str(file)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Their file, and one of a cloud that we do not know."""
    rows = (H100, "gpu-h200-sxm_8gpu,H200,8,128,1600,28.01,eu-north1,,11.60", FREE)
    for cloud in ("nebius", "nobody"):
        (tmp_path / "v8" / cloud).mkdir(parents=True)
        (tmp_path / "v8" / cloud / "vms.csv").write_text(text(*rows), encoding="utf-8")
    return tmp_path / "v8"


def test_what_differs_is_listed_and_a_cent_is_no_difference(ours: str, theirs: Path) -> None:
    answer = run("refresh", "--compare", str(theirs), "--catalog", ours)
    assert answer.code == 0
    head, line = answer.out.splitlines()
    assert head.startswith("nebius: 2 compared, 1 equal, 1 differ; 1 only here, 2 only there")
    assert line == ("  eu-north1 gpu-h100-sxm_8gpu-128vcpu-1600gb on-demand  here 31.2 (2026-11-20), there 23.60 USD/h")
    assert run("refresh", "--compare", str(theirs), "--catalog", ours, "--strict").code == 6


def test_all_of_it_is_in_the_json(ours: str, theirs: Path) -> None:
    (one,) = run("refresh", "nebius", "--compare", str(theirs / "nebius/vms.csv"), "--catalog", ours, "--json").json[
        "providers"
    ]
    assert [(d["here"], d["there"]) for d in one["differences"]] == [("31.2", "23.60")]
    assert [d["region"] for d in one["only_here"]] == ["eu-west1"]
    assert sorted(d["market"] for d in one["only_there"]) == ["spot", "spot"]
    json.dumps(one)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--compare", "{v8}/nebius/vms.csv"), "name the one provider"),
        (("--compare", "{v8}/nowhere"), "has no folder with a vms.csv"),
        (("aws", "--compare", "{v8}"), "has no folder with a vms.csv of aws"),
        (("--compare", "{v8}", "--diff"), "--compare only shows"),
        (("nebius", "--compare", "{ours}"), "cannot be compared: no column"),
    ],
)
def test_what_cannot_be_compared_is_said(ours: str, theirs: Path, words: tuple[str, ...], said: str) -> None:
    answer = run("refresh", *(word.format(v8=theirs, ours=ours) for word in words))
    assert answer.code == 2
    assert said in answer.err
