"""Hardware facts that were wrong for somebody once, as far as a quote shows them."""

from fractions import Fraction
from pathlib import Path

import pytest

from cloudaccel.api.explaining import explain
from cloudaccel.api.quoting import quote
from tests.support import column, names, offers_of, price_file, run


def test_u30_total_memory_finds_the_big_machines(tmp_path: Path) -> None:
    path = price_file(
        tmp_path,
        "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on-demand,55.04,USD,2026-07-01,l",
        "aws,us-east-1,,p5e.48xlarge,H200-SXM,8,141,192,on-demand,63.3,USD,2026-07-01,l",
        "aws,us-east-1,,g6e.12xlarge,L40S,4,48,48,on-demand,10.5,USD,2026-07-01,l",
        "aws,us-east-1,,g6e.48xlarge,L40S,8,48,192,on-demand,30.1,USD,2026-07-01,l",
    )
    assert offers_of(path, min_total_mem=640, provider="aws") == ["p5.48xlarge", "p5e.48xlarge"]
    totals = {o.instance: o.total_memory_gib for o in quote(kind="gpu", catalog=path).offers}
    assert totals == {"p5.48xlarge": 640, "p5e.48xlarge": 1128, "g6e.12xlarge": 192, "g6e.48xlarge": 384}


def test_u31_p3_16xlarge_has_eight() -> None:
    found = explain("p3.16xlarge")
    assert found.count == 8
    assert [a.id for a in found.accelerators] == ["nvidia-v100-sxm2-16gb"]


def test_u32_eight_in_a_machine_and_twelve_in_none() -> None:
    (eastus,) = quote(instance="Standard_ND96isr_H100_v5", region="eastus").offers
    assert eastus.count == 8
    answer = run("quote", "H100:12", "--provider", "azure")
    assert answer.code == 3
    assert "2 nodes of 8 (16 in all) would do: H100:8x2; 3 nodes of 4 would do: H100:4x3" in run("quote", "H100:12").err
    twice = run("quote", "H100:16", "--provider", "azure")
    assert "2 nodes of 8 would do: H100:8x2" in twice.err


FRACTIONS = (
    "azure,westus,,Standard_NV6ads_A10_v5,A10,1/6,4,6,on-demand,0.454,USD,2026-07-01,l",
    "azure,westus,,Standard_NV36ads_A10_v5,A10,1,24,36,on-demand,3.2,USD,2026-07-01,l",
)


def test_u34_a_sixth_is_not_a_whole_card(tmp_path: Path) -> None:
    path = price_file(tmp_path, *FRACTIONS)
    assert offers_of(path, "A10:1") == ["Standard_NV36ads_A10_v5"]
    assert offers_of(path, "A10") == ["Standard_NV36ads_A10_v5"]
    answer = quote("A10", allow_fraction=True, min_mem=4, catalog=path)
    shares = {o.instance: o.count for o in answer.offers}
    assert shares["Standard_NV6ads_A10_v5"] == Fraction(1, 6)
    assert "Standard_NV6ads_A10_v5" not in offers_of(path, "A10", allow_fraction=True, min_mem=24)
    offers = run("--catalog", str(path), "quote", "A10", "--allow-fraction", "--json").json["offers"]
    assert "1/6" in column(offers, "accelerator", "fraction")


def test_u35_an_eighth_has_a_price_per_whole_accelerator(tmp_path: Path) -> None:
    path = price_file(tmp_path, "aws,us-east-1,,g6f.large,L4,0.125,2.8,2,on-demand,0.2,USD,2026-07-01,l")
    (offer,) = quote("L4", allow_fraction=True, catalog=path).offers
    assert offer.count == Fraction(1, 8)
    assert offer.price_per_accelerator_hour is not None
    assert float(offer.price_per_accelerator_hour) == pytest.approx(1.6)  # pyright: ignore[reportUnknownMemberType]


def test_u36_each_and_total_are_two_filters(tmp_path: Path) -> None:
    path = price_file(
        tmp_path,
        "aws,us-east-1,,four-small,A10G,4,24,48,on-demand,5,USD,2026-07-01,l",
        "aws,us-east-1,,one-big,L40S,1,48,16,on-demand,2,USD,2026-07-01,l",
    )
    assert offers_of(path, kind="gpu", min_mem=48) == ["one-big"]
    assert offers_of(path, kind="gpu", min_total_mem=96) == ["four-small"]


def test_u37_the_host_memory_filter_is_obeyed(tmp_path: Path) -> None:
    header = "provider,region,instance,accelerator,count,vcpus,memory_gib,market,hourly,currency,as_of"
    path = price_file(
        tmp_path,
        "nebius,eu-north1,gpu-l40s-a_1gpu-8vcpu-32gb,L40S,1,8,32,on-demand,1.55,USD,2026-07-01",
        "nebius,eu-north1,gpu-l40s-a_1gpu-16vcpu-64gb,L40S,1,16,64,on-demand,1.747,USD,2026-07-01",
        "nebius,eu-north1,gpu-l40s-a_1gpu-24vcpu-96gb,L40S,1,24,96,on-demand,1.945,USD,2026-07-01",
        "nebius,eu-north1,unknown-host,L40S,1,,,on-demand,1.0,USD,2026-07-01",
        header=header,
    )
    answer = quote("L40S:1", host_mem="64+", catalog=path)
    assert names(answer)[0] == "gpu-l40s-a_1gpu-16vcpu-64gb"
    assert "unknown-host" not in names(answer)
    assert quote("L40S:1", host_mem=512, catalog=path).total == 0


def test_u28_neuron_is_never_a_gpu(tmp_path: Path) -> None:
    path = price_file(
        tmp_path,
        "aws,us-east-1,,inf2.8xlarge,Inferentia2,1,32,32,on-demand,1.97,USD,2026-07-01,l",
        "aws,us-east-1,,g6e.xlarge,L40S,1,48,4,on-demand,1.86,USD,2026-07-01,l",
    )
    assert offers_of(path, kind="gpu", min_mem=32, provider="aws") == ["g6e.xlarge"]
    assert offers_of(path, kind="neuron", provider="aws") == ["inf2.8xlarge"]


def test_u23_a_family_shows_its_variants_side_by_side(tmp_path: Path) -> None:
    path = price_file(
        tmp_path,
        "runpod,US,,sxm,H100-SXM,8,80,,on-demand,34.4,USD,2026-07-01,l",
        "runpod,US,,nvl,H100-NVL,8,94,,on-demand,32,USD,2026-07-01,l",
        "runpod,US,,pcie,H100-PCIe,8,80,,on-demand,29,USD,2026-07-01,l",
    )
    answer = run("--catalog", str(path), "quote", "H100:8")
    assert [o.instance for o in quote("H100:8", catalog=path).offers] == ["pcie", "nvl", "sxm"]
    assert '"H100" covers' in answer.out
    assert "3.62" in answer.out  # 3.625 each


def test_u26_gb200_is_no_b200(tmp_path: Path) -> None:
    path = price_file(tmp_path, "azure,eastus,,ND128,GB200,4,186,128,on-demand,108,USD,2026-07-01,l")
    answer = run("--catalog", str(path), "quote", "B200")
    assert answer.code == 3
    assert "GB200" in answer.err
