"""Reading names: whole tokens, most specific first, and the data files behind it."""

from fractions import Fraction

import pytest

from cloudaccel.errors import UnknownName
from cloudaccel.facts.accelerators import all_accelerators, by_id, families
from cloudaccel.facts.loader import read_table
from cloudaccel.facts.names import InstanceFacts, lookalikes, provider_spelling, resolve, resolved_ids, short_name


@pytest.mark.parametrize(
    ("raw", "accelerator_id"),
    [
        ("H100-SXM", "nvidia-h100-sxm-80gb"),
        ("H100 PCIe", "nvidia-h100-pcie-80gb"),
        ("H100-NVL", "nvidia-h100-nvl-94gb"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-sxm-80gb"),
        ("NVIDIA-H100-80GB-HBM3", "nvidia-h100-sxm-80gb"),
        ("NVIDIA A100 80GB PCIe", "nvidia-a100-pcie-80gb"),
        ("Tesla V100-SXM2-32GB", "nvidia-v100-sxm2-32gb"),
        ("Tesla T4", "nvidia-t4"),
        ("NVIDIA GeForce RTX 4090", "nvidia-rtx-4090"),
        ("Quadro RTX 6000", "nvidia-quadro-rtx-6000"),
        ("NVIDIA RTX 6000 Ada Generation", "nvidia-rtx-6000-ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "nvidia-rtx-pro-6000-server"),
        ("RTX 6000 96GB", "nvidia-rtx-pro-6000-server"),
        ("RTX3060-8GB", "nvidia-rtx-3060-8gb"),
        ("B300 262GB", "nvidia-b300-sxm"),
        ("AMD Instinct MI300X OAM", "amd-mi300x"),
        ("amd:MI300X", "amd-mi300x"),
        ("Radeon Pro V520", "amd-v520"),
        ("Habana Gaudi HL-205", "intel-gaudi1"),
        ("Xilinx U30", "amd-alveo-u30"),
        ("nvidia-tesla-t4", "nvidia-t4"),
        ("nvidia-a100-80gb", "nvidia-a100-sxm-80gb"),
        ("nvidia-h100-mega-80gb", "nvidia-h100-sxm-80gb"),
        ("Trillium", "google-tpu-v6e"),
        ("Ironwood", "google-tpu-v7x"),
        ("trn3", "aws-trainium3"),
        ("inf1", "aws-inferentia1"),
        ("Trainium", "aws-trainium1"),
        ("google-tpu-v5p", "google-tpu-v5p"),
    ],
)
def test_one_card(raw: str, accelerator_id: str) -> None:
    assert resolve(raw).accelerator_ids == (accelerator_id,)


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        ("A100-80GB", ("nvidia-a100-sxm-80gb", "nvidia-a100-pcie-80gb")),
        ("nvidia:A100-80GB", ("nvidia-a100-sxm-80gb", "nvidia-a100-pcie-80gb")),
        ("A100-SXM", ("nvidia-a100-sxm-80gb", "nvidia-a100-sxm-40gb")),
        ("NVIDIA H200", ("nvidia-h200-sxm", "nvidia-h200-nvl")),
        ("v100 16gb", ("nvidia-v100-sxm2-16gb", "nvidia-v100-pcie-16gb")),
        ("Gaudi", ("intel-gaudi1", "intel-gaudi2", "intel-gaudi3")),
        ("GH200", ("nvidia-gh200-144gb", "nvidia-gh200-96gb")),
    ],
)
def test_a_family_stays_a_family(raw: str, ids: tuple[str, ...]) -> None:
    assert resolve(raw).accelerator_ids == ids


@pytest.mark.parametrize("raw", ["RTX-PRO-6000", "RTXPRO6000", "RTX PRO 6000", "rtx_pro_6000"])
def test_case_and_separators_do_not_matter(raw: str) -> None:
    assert resolve(raw).accelerator_ids == tuple(a.id for a in families()["RTXPRO6000"])


def test_rtx6000_is_three_cards() -> None:
    found = resolve("RTX6000")
    assert {by_id(name).family for name in found.accelerator_ids} == {"QuadroRTX6000", "RTX6000Ada", "RTXPRO6000"}
    assert "three cards" in found.note
    assert resolve("RTX6000-48GB").accelerator_ids == ("nvidia-rtx-6000-ada",)


@pytest.mark.parametrize(
    "raw", ["", "GPU", "RTX 4090 Laptop GPU", "Tesla V100-FHHL-16GB", "A100-SXM-96GB", "H100X", "AMD H100", "v5p-24"]
)
def test_no_guessing(raw: str) -> None:
    with pytest.raises(UnknownName):
        resolve(raw)


def test_the_error_offers_what_is_near() -> None:
    for raw, choices in (
        ("MI300", ("MI300X", "MI300A")),
        ("v5p-24", ("v5p-16", "v5p-32")),
        ("H100-SXM-40GB", ("H100-SXM", "H100-NVL", "H100-PCIE", "H100-SXM-94GB")),
        ("4090", ("RTX4090",)),
    ):
        with pytest.raises(UnknownName) as caught:
            resolve(raw)
        assert caught.value.choices[: len(choices)] == choices
        assert caught.value.exit_code == 5


def test_memory_from_another_column_narrows_a_family() -> None:
    assert resolve("A100", memory_gb=40).accelerator_ids == ("nvidia-a100-sxm-40gb", "nvidia-a100-pcie-40gb")
    assert resolve("A100-SXM4", memory_gb=80).accelerator_ids == ("nvidia-a100-sxm-80gb",)
    assert resolve("L4", memory_gb=22.35).accelerator_ids == ("nvidia-l4",)
    with pytest.raises(UnknownName):
        resolve("A100", memory_gb=24)


def test_a_licence_is_told_apart() -> None:
    found = resolve("nvidia-l4-vws")
    assert found.accelerator_ids == ("nvidia-l4",)
    assert found.licence == "vws"
    assert "licence" in found.note


def test_mig_profiles_are_shares() -> None:
    found = resolve("NVIDIA-A100-SXM4-80GB-MIG-3g.40gb")
    assert found.accelerator_ids == ("nvidia-a100-sxm-80gb",)
    assert (found.count, found.memory_gib) == (Fraction(3, 7), 40)
    assert resolve("A30 MIG 1g.6gb").count == Fraction(1, 4)
    assert len(resolve("A100 MIG 1g.10gb").accelerator_ids) == 4
    for raw in ("T4 MIG 1g.5gb", "A30 MIG 5g.6gb", "A100 MIG 1g.100gb"):
        with pytest.raises(UnknownName):
            resolve(raw)


def test_vgpu_profiles_are_shares_of_memory() -> None:
    found = resolve("NVIDIA A10-8Q")
    assert found.accelerator_ids == ("nvidia-a10",)
    assert (found.memory_gib, found.virtualized, found.count) == (8, True, None)
    with pytest.raises(UnknownName):
        resolve("A10-48Q")


def test_machine_types_of_tpus() -> None:
    for raw, accelerator_id, chips in (
        ("ct5lp-hightpu-4t", "google-tpu-v5e", 4),
        ("ct5p-hightpu-4t", "google-tpu-v5p", 4),
        ("ct6e-standard-8t", "google-tpu-v6e", 8),
        ("tpu7x-standard-4t", "google-tpu-v7x", 4),
        ("tpu7x-8", "google-tpu-v7x", 4),
    ):
        found = resolve(raw)
        assert found.accelerator_ids == (accelerator_id,)
        assert (found.count, found.hosts, found.instance) == (chips, 1, None)


def test_the_catalog_is_asked_last() -> None:
    asked: list[str] = []

    def lookup(name: str) -> InstanceFacts | None:
        asked.append(name)
        known = InstanceFacts(accelerator_id="nvidia-h100-sxm-80gb", count=Fraction(8), instance="p5.48xlarge")
        return known if name == "P5.48xlarge" else None

    found = resolve(" P5.48xlarge ", instance_lookup=lookup)
    assert found.accelerator_ids == ("nvidia-h100-sxm-80gb",)
    assert (found.count, found.hosts, found.instance) == (8, 1, "p5.48xlarge")
    resolve("H100", instance_lookup=lookup)
    with pytest.raises(UnknownName):
        resolve("p9.large", instance_lookup=lookup)
    assert asked == ["P5.48xlarge", "p9.large"]


def test_an_announced_accelerator_says_so() -> None:
    assert "announced" in resolve("Rubin").note
    assert resolve("H100").note == ""


def test_every_row_has_a_short_name_that_leads_back() -> None:
    for accelerator in all_accelerators():
        assert resolved_ids(short_name(accelerator.id)) == (accelerator.id,)
    assert short_name("google-tpu-v5p") == "TPUv5p"
    assert short_name("nvidia-h100-sxm-80gb") == "H100-SXM"
    assert short_name("nvidia-a100-pcie-40gb") == "A100-PCIE-40GB"


def test_no_alias_means_two_things() -> None:
    for accelerator in all_accelerators():
        for alias in accelerator.aliases:
            assert resolved_ids(alias) == (accelerator.id,), alias


def test_data_files_name_known_rows() -> None:
    ids = {accelerator.id for accelerator in all_accelerators()}
    spellings = list(read_table("spellings.csv"))
    machines = list(read_table("instance_names.csv"))
    names = list(read_table("names.csv"))
    assert {row["accelerator_id"] for row in spellings + machines} <= ids
    for row in names:
        assert row["source"]
        if row["kind"] == "group":
            assert set(row["target"].split("|")) <= ids
        elif row["kind"] in ("lookalike", "mig"):
            assert row["name"] in families()
    assert all(row["source"] and row["as_of"] for row in spellings + machines)


def test_a_spelling_that_resolves_has_one_meaning() -> None:
    meanings: dict[str, set[str]] = {}
    for row in read_table("spellings.csv"):
        if row["resolves"] == "yes":
            meanings.setdefault(row["spelling"], set()).add(row["accelerator_id"])
    assert all(len(ids) == 1 for ids in meanings.values())
    machines = [name for row in read_table("instance_names.csv") for name in row["names"].split("|")]
    assert len(machines) == len(set(machines))


def test_provider_spelling_is_data_or_unknown() -> None:
    assert provider_spelling("nvidia-h100-sxm-80gb", "gcp") == "nvidia-h100-80gb"
    assert provider_spelling("nvidia-a100-sxm-40gb", "gcp", "gke") == "nvidia-tesla-a100"
    assert provider_spelling("nvidia-h100-sxm-80gb", "runpod") == "NVIDIA H100 80GB HBM3"
    assert provider_spelling("nvidia-l4", "gcp") == "nvidia-l4"
    assert provider_spelling("amd-mi300x", "gcp") is None


def test_lookalikes_are_explained() -> None:
    assert lookalikes("B200")[0][0] == "GB200"
    assert lookalikes("RTX5090") == ()
