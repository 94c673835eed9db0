"""The accelerator expression: grammar, counts, needs, and one clear message for each mistake."""

from fractions import Fraction

import pytest

from cloudaccel.errors import NothingFits, QueryError, UnknownName
from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.expressions import format_term, parse_expression
from cloudaccel.facts.names import InstanceFacts
from cloudaccel.model import AcceleratorTerm


def one(text: str) -> AcceleratorTerm:
    (term,) = parse_expression(text)
    return term


def lookup(name: str) -> InstanceFacts | None:
    known = InstanceFacts(accelerator_id="nvidia-h100-sxm-80gb", count=Fraction(8), instance="p5.48xlarge")
    return known if name.lower() == "p5.48xlarge" else None


@pytest.mark.parametrize(
    ("text", "count", "at_least", "nodes", "canonical"),
    [
        ("H100-SXM", None, False, 1, "H100-SXM"),
        ("h100-sxm:8", 8, False, 1, "H100-SXM:8"),
        ("H100-SXM:8+", 8, True, 1, "H100-SXM:8+"),
        ("H100-SXM:8x2", 8, False, 2, "H100-SXM:8x2"),
        (" H100 SXM : 8 × 2 ", 8, False, 2, "H100-SXM:8x2"),
        ("H100-SXM:8+x2", 8, True, 2, "H100-SXM:8+x2"),
        ("A100-80GB:8", 8, False, 1, "A100-80GB:8"),
        ("A100-pcie:2", 2, False, 1, "A100-PCIE:2"),
        ("A10:1/6", Fraction(1, 6), False, 1, "A10:1/6"),
        ("A10:0.5", Fraction(1, 2), False, 1, "A10:1/2"),
        ("A10:2/2", 1, False, 1, "A10:1"),
        ("L4:0.15", Fraction(3, 20), False, 1, "L4:3/20"),
        ("v5p-8", 4, False, 1, "TPUv5p:4"),
        ("v5p-8x2", 4, False, 2, "TPUv5p:4x2"),
        ("v5p:8", 8, False, 1, "TPUv5p:8"),
        ("v5p-8:4", 4, False, 1, "TPUv5p:4"),
        ("tpu-v5e:8", 8, False, 1, "TPUv5e:8"),
        ("v5litepod-64", 64, False, 1, "TPUv5e:64"),
        ("trn2:16", 16, False, 1, "Trainium2:16"),
        ("trn2.48xlarge", 16, False, 1, "trn2.48xlarge"),
        ("trn2.48xlarge x 2", 16, False, 2, "trn2.48xlarge:16x2"),
        ("RTX6000:2", 2, False, 1, "RTX6000:2"),
        ("Gaudi:8", 8, False, 1, "Gaudi:8"),
        ("gpu:H100:8", 8, False, 1, "H100:8"),
        ("nvidia:H100:8", 8, False, 1, "H100:8"),
        ("A100 MIG 1g.10gb", Fraction(1, 7), False, 1, "A100:1/7"),
    ],
)
def test_terms(text: str, count: Fraction | None, at_least: bool, nodes: int, canonical: str) -> None:
    term = one(text)
    assert (term.count, term.at_least, term.nodes, term.canonical) == (count, at_least, nodes, canonical)
    assert term.text == text.strip()
    assert format_term(term) == canonical


def test_any_of_and_in_order() -> None:
    terms = parse_expression("H100, H200 > A100-80GB:8")
    assert [(term.canonical, term.rank) for term in terms] == [("H100", 0), ("H200", 0), ("A100-80GB:8", 1)]


def test_a_need_takes_nominal_memory() -> None:
    term = one("80GB+:8")
    assert (term.min_memory_gib, term.min_reported_memory_gib, term.count) == (80, None, 8)
    assert {"nvidia-a100-pcie-80gb", "nvidia-h100-sxm-80gb", "google-tpu-v5p"} <= set(term.accelerator_ids)
    assert all((by_id(name).memory_gib or 0) >= 80 for name in term.accelerator_ids)
    assert one("80+").accelerator_ids == term.accelerator_ids
    assert one("80+").canonical == "80GB+"


def test_a_need_covers_what_computes_and_can_be_bought() -> None:
    rows = [by_id(name) for name in one("8GB+").accelerator_ids]
    assert {row.kind for row in rows} == {"gpu", "tpu", "neuron", "hpu"}
    assert all(row.status != "announced" for row in rows)
    assert one("fpga:64GB+").accelerator_ids == ("amd-alveo-u250",)


def test_a_need_in_gib_takes_reported_memory() -> None:
    term = one("24GiB+")
    assert (term.min_memory_gib, term.min_reported_memory_gib) == (None, 24)
    assert "nvidia-l4" not in term.accelerator_ids
    assert "nvidia-l4" in one("24GB+").accelerator_ids
    assert "aws-trainium2" not in one("128GiB+").accelerator_ids


def test_a_vendor_narrows_a_need() -> None:
    term = one("amd:128GB+:8")
    assert {by_id(name).vendor for name in term.accelerator_ids} == {"amd"}
    assert term.canonical == "amd:128GB+:8"
    assert one("hpu:96GB+").accelerator_ids == ("intel-gaudi3", "intel-gaudi2")


def test_machines_of_the_catalog() -> None:
    for text, nodes, canonical in (
        ("p5.48xlarge", 1, "p5.48xlarge"),
        ("P5.48xlargex2", 2, "p5.48xlarge:8x2"),
        ("p5.48xlarge:8x2", 2, "p5.48xlarge:8x2"),
    ):
        (term,) = parse_expression(text, lookup)
        assert (term.count, term.nodes, term.instance) == (8, nodes, "p5.48xlarge")
        assert term.canonical == canonical
    with pytest.raises(UnknownName):
        parse_expression("p5.48xlarge")


def test_the_reading_of_a_slice_is_told() -> None:
    assert one("v5p-8").note == "v5p-8 is 4 chips on 1 host: the suffix counts TensorCores, two per chip"
    assert one("v6e-4x4").note.startswith("4 times v6e-4; ")
    assert one("H100:8").note == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "missing"),
        ("H100,,A100", "missing"),
        ("H100>", "missing"),
        ("H100:", "not an accelerator term"),
        (":8", "not an accelerator term"),
        ("H100:8:2", "not an accelerator term"),
        ("H100:0", "'0' is not a count"),
        ("H100:-1", "'-1' is not a count"),
        ("H100:eight", "is not a count"),
        ("H100:1/0", "is not a count"),
        ("H100:1e3", "is not a count"),
        ("H100:0.0", "is not a count"),
        ("H100:1.2.3", "is not a count"),
        ("H100:٣", "is not a count"),
        ("H100:99999999", "is not a count"),
        ("H100:8x", "is not a number of machines"),
        ("H100:8x0", "is not a number of machines"),
        ("H100:1.5", "only a part of one"),
        ("H100:7/6", "only a part of one"),
        ("8xH100", "Write H100:8"),
        ("8 x H100 PCIe", "Write H100 PCIe:8"),
        ("H100x8", "H100:8x8"),
        ("v5p-8:8", "two counts"),
        ("v5p-8:4+", "two counts"),
        ("80GB", "Write 80GB+"),
        ("80TB+", "GB or GiB"),
        ("0GB+", "GB or GiB"),
        ("H100+", "a count"),
    ],
)
def test_mistakes_get_one_clear_message(text: str, words: str) -> None:
    with pytest.raises(QueryError, match=words.replace("+", r"\+")) as caught:
        parse_expression(text)
    assert caught.value.exit_code == 2


def test_unknown_names() -> None:
    for text, choice in (("H10O:8", "H100"), ("MI300x8", "MI300X"), ("amd:H100", "H100-SXM"), ("4090", "RTX4090")):
        with pytest.raises(UnknownName) as caught:
            parse_expression(text)
        assert choice in caught.value.choices


def test_nothing_has_that_memory() -> None:
    with pytest.raises(NothingFits, match="the most is 288 GB"):
        parse_expression("9000GB+")


def test_format_needs_a_name_for_just_these_rows() -> None:
    with pytest.raises(ValueError, match="no name covers"):
        format_term(AcceleratorTerm(text="", accelerator_ids=("nvidia-l4", "nvidia-t4")))
    assert one("RTX6000-48Q").canonical == "RTX6000-48Q"
