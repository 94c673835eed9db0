"""Published cases of names read wrongly; each test bears the number of its case."""

import pytest

from cloudaccel.errors import UnknownName
from cloudaccel.facts.accelerators import by_id, families
from cloudaccel.facts.expressions import parse_expression
from cloudaccel.facts.names import lookalikes, provider_spelling, resolve


def test_u16_whole_tokens_only() -> None:
    """https://github.com/MakazhanAlpamys/Soup/issues/831"""
    assert resolve("NVIDIA RTX A4000").accelerator_ids == ("nvidia-rtx-a4000",)
    assert by_id("nvidia-rtx-a4000").memory_gib == 16
    assert resolve("NVIDIA A100-SXM4-80GB").accelerator_ids == ("nvidia-a100-sxm-80gb",)
    for name in ("RTX A1000 Laptop GPU", "A100X"):
        with pytest.raises(UnknownName) as caught:
            resolve(name)
        assert caught.value.exit_code == 5


def test_u17_three_spellings_of_one_tpu() -> None:
    """https://github.com/dstackai/gpuhunt/issues/95"""
    for name in ("v5e", "v5litepod", "tpu-v5-lite-podslice", "tpu-v5e", "TPUv5e"):
        assert resolve(name).accelerator_ids == ("google-tpu-v5e",)
        assert resolve(name).count is None
    assert resolve("v5litepod-8").accelerator_ids == ("google-tpu-v5e",)
    assert resolve("v5litepod-8").count == 8
    assert provider_spelling("google-tpu-v5e", "gcp") == "v5litepod"
    assert provider_spelling("google-tpu-v5e", "gcp", "gke") == "tpu-v5-lite-podslice"


@pytest.mark.parametrize("name", ["v5p-8", "tpu-v5p-8"])
def test_u18_v5p_8_is_four_chips_on_one_host(name: str) -> None:
    """https://github.com/GoogleCloudPlatform/cluster-toolkit/issues/6128"""
    (term,) = parse_expression(name)
    assert (term.accelerator_ids, term.count, term.nodes) == (("google-tpu-v5p",), 4, 1)
    assert resolve(name).hosts == 1
    assert by_id("google-tpu-v5p").unit == "chip"


@pytest.mark.parametrize(
    ("name", "chips", "hosts"),
    [("v4-2048", 1024, 256), ("v5litepod-64", 64, 16), ("v5litepod-2", 2, 1), ("v6e-8", 8, 1)],
)
def test_u19_chips_and_hosts_from_a_table(name: str, chips: int, hosts: int) -> None:
    """https://github.com/marin-community/levanter/pull/1202"""
    found = resolve(name)
    assert (found.count, found.hosts) == (chips, hosts)


def test_u21_neuron_counts_chips() -> None:
    """https://github.com/ai-dynamo/nixl/pull/1994"""
    assert resolve("trn1.32xlarge").count == 16
    assert resolve("trn2.48xlarge").count == 16
    assert resolve("trn2.3xlarge").count == 1
    assert "4 logical cores" in resolve("trn2.3xlarge").note
    (term,) = parse_expression("trn2:16")
    assert (term.accelerator_ids, term.count, term.instance) == (("aws-trainium2",), 16, None)
    (machine,) = parse_expression("trn2.48xlarge")
    assert (machine.count, machine.instance) == (16, "trn2.48xlarge")


def test_u23_a_bare_name_is_all_its_variants() -> None:
    """https://github.com/gradients-ai/G.O.D/pull/1366"""
    (term,) = parse_expression("H100:8")
    assert {"nvidia-h100-sxm-80gb", "nvidia-h100-pcie-80gb", "nvidia-h100-nvl-94gb"} <= set(term.accelerator_ids)
    assert term.accelerator_ids == tuple(accelerator.id for accelerator in families()["H100"])


def test_u24_spelling_comes_from_a_table() -> None:
    """https://github.com/skypilot-org/skypilot/issues/9769"""
    assert provider_spelling("nvidia-rtx-pro-6000-server", "gcp") == "nvidia-rtx-pro-6000"
    assert resolve("nvidia-rtx-pro-6000").accelerator_ids == ("nvidia-rtx-pro-6000-server",)
    assert resolve("GB202").accelerator_ids == resolve("RTX-PRO-6000").accelerator_ids


def test_u25_letter_o_for_zero() -> None:
    """https://github.com/ibm-cloud-docs/vpc/issues/203"""
    with pytest.raises(UnknownName) as caught:
        parse_expression("L4Os")
    assert caught.value.choices == ("L40S", "L40", "L4")
    assert len({resolve(name).accelerator_ids for name in ("L4", "L40", "L40S")}) == 3


def test_u26_gb200_is_not_b200() -> None:
    """https://github.com/ray-project/ray/pull/65009"""
    assert not set(resolve("GB200").accelerator_ids) & set(resolve("B200").accelerator_ids)
    family, hint = lookalikes("B200")[0]
    assert family == "GB200"
    assert "Arm" in hint


def test_u27_vgpu_profile() -> None:
    """https://github.com/huggingface/text-generation-inference/issues/3243"""
    for name in ("NVIDIA L40-48Q", "nvidia-l40-48q"):
        found = resolve(name)
        assert found.accelerator_ids == ("nvidia-l40",)
        assert (found.memory_gib, found.virtualized) == (48, True)


def test_u28_gpu_never_means_neuron() -> None:
    """https://github.com/vantage-sh/ec2instances.info/issues/753"""
    (term,) = parse_expression("gpu:32GB+")
    assert all(by_id(name).kind == "gpu" for name in term.accelerator_ids)
    (anything,) = parse_expression("32GB+")
    assert "aws-inferentia2" in anything.accelerator_ids
    with pytest.raises(UnknownName):
        parse_expression("gpu:inf2")


def test_u29_export_variants_are_not_corrected() -> None:
    """https://github.com/OpenRLHF/OpenRLHF/pull/298"""
    (a800,) = resolve("A800").accelerator_ids
    assert by_id(a800).derived_from == "nvidia-a100-sxm-80gb"
    assert by_id(a800).interconnect_gb_per_s == 400
    assert all(by_id(name).derived_from for name in resolve("H20").accelerator_ids + resolve("H800").accelerator_ids)


def test_u34_a_sixth_is_exact() -> None:
    """https://github.com/skypilot-org/skypilot/issues/3708"""
    shares = [parse_expression(text)[0].count for text in ("A10:1/6", "A10:0.1667", "A10:0.167")]
    assert [str(share) for share in shares] == ["1/6"] * 3
    assert parse_expression("A10:1")[0].count == 1


def test_u47_dense_peaks() -> None:
    """https://github.com/NVIDIA/Megatron-LM/issues/1565"""
    assert by_id("nvidia-h200-sxm").peak_tflops_bf16_dense == 989
    assert by_id(resolve("H100-PCIE").accelerator_ids[0]).peak_tflops_bf16_dense == 756
