"""Published cases of names read wrongly, as far as a quote or an explanation shows them."""

import re
from pathlib import Path

from cloudaccel.api.explaining import explain
from cloudaccel.api.quoting import quote
from tests.support import column, price_file, run


def test_u16_the_drivers_name_is_read_whole() -> None:
    """https://github.com/MakazhanAlpamys/Soup/issues/831"""
    assert [a.id for a in explain("NVIDIA RTX A4000").accelerators] == ["nvidia-rtx-a4000"]
    assert [a.id for a in explain("NVIDIA A100-SXM4-80GB").accelerators] == ["nvidia-a100-sxm-80gb"]
    assert run("explain", "RTX A1000 Laptop GPU").code == 5
    assert run("explain", "A100X").code == 5


def test_u17_a_tpu_by_any_name_and_in_the_sellers_words() -> None:
    """https://github.com/dstackai/gpuhunt/issues/95"""
    answer = run("explain", "v5e", "v5litepod-8", "tpu-v5-lite-podslice", "--provider", "gcp", "--json")
    for name in answer.json["names"]:
        assert column(name["accelerators"], "id") == ["google-tpu-v5e"]
        assert name["spelling"] == "v5litepod"
    assert [name["count"] for name in answer.json["names"]] == [None, "8", None]


def test_u18_a_slice_costs_its_chips(tmp_path: Path) -> None:
    """https://github.com/GoogleCloudPlatform/cluster-toolkit/issues/6128"""
    path = price_file(tmp_path, "gcp,us-east5,,v5p-8,v5p,4,95,,on-demand,16.8,USD,2026-07-01,list")
    (offer,) = run("--catalog", str(path), "quote", "tpu-v5p-8", "--json").json["offers"]
    assert (offer["accelerator"]["count"], offer["accelerator"]["count_unit"], offer["nodes"]) == (4, "chip", 1)
    assert offer["price"]["price_per_accelerator_hour"] == "4.2"


def test_u19_chips_and_hosts_are_explained() -> None:
    """https://github.com/marin-community/levanter/pull/1202"""
    named = run("explain", "v4-2048", "v5litepod-64", "v5litepod-2", "v6e-8", "--json").json["names"]
    assert [(name["count"], name["hosts"]) for name in named] == [("1024", 256), ("64", 16), ("2", 1), ("8", 1)]


def test_u21_trainium_is_quoted_by_the_chip() -> None:
    """https://github.com/ai-dynamo/nixl/pull/1994"""
    offers = run("quote", "trn2:16", "--market", "any", "--json").json["offers"]
    assert {offer["instance"] for offer in offers} == {"trn2.48xlarge"}
    for offer in offers:
        assert (offer["accelerator"]["count"], offer["accelerator"]["count_unit"]) == (16, "chip")
    assert "1 chip" in run("explain", "trn2.3xlarge").out


def test_u23_a_card_whose_form_is_not_stated_is_its_family_and_nothing_narrower() -> None:
    """He would have believed that each H100 of a market is an SXM one; or that Civo sells no A100 at all."""
    every = quote("H100", market="any", limit=None)
    open_ = [offer for offer in every.offers if offer.accelerator_id is None]
    assert {offer.provider for offer in open_} >= {"akash", "spheron"}
    assert all(offer.price_per_accelerator_hour for offer in open_ if not offer.apart)
    narrow = quote("H100-SXM", market="any", limit=None)
    assert all(offer.accelerator_id for offer in narrow.offers)
    hidden = {h.reason: h.rows for h in narrow.hidden}
    assert hidden["form_unknown"] == len(open_)
    assert not [h for h in quote("H200-NVL", market="spot").hidden if h.reason == "kind"]
    told = run("quote", "H100-SXM", "--market", "any", "--limit", "1").out
    assert f"{len(open_)} whose seller does not say which form or memory it is" in told
    said = run("quote", "H100", "--provider", "spheron", "--market", "any")
    assert "its seller says 'H100', which is H100-SXM or H100-PCIE" in said.err


def test_u23_an_offer_of_an_open_card_is_explained_by_all_that_it_may_be() -> None:
    """He would have read of eight accelerators of no name."""
    (offer,) = quote("A100:8", provider="civo", limit=1).offers
    found = explain(offer.id)
    assert len(found.accelerators) == 2
    assert found.note.startswith("its seller says 'A100', ")
    known = explain(quote("H100-SXM:8", limit=1).offers[0].id)
    assert (len(known.accelerators), known.note) == (1, "")


def test_u23_a_filter_holds_for_an_open_card_only_when_it_holds_for_each_that_it_may_be() -> None:
    """He would have believed that a card is linked by NVLink because one of two that it may be is."""
    found = {
        link: [o for o in quote("A100", market="any", interconnect=link, limit=None).offers if o.accelerator_id is None]
        for link in ("nvlink", "nvlink-bridge")
    }
    assert found == {"nvlink": [], "nvlink-bridge": []}
    gpus = quote("A100", market="any", kind=["gpu"], limit=None)
    assert gpus.total == quote("A100", market="any", limit=None).total
    big = quote("A100", market="any", min_mem="80GB", limit=None).offers
    assert {o.accelerator_memory_gib for o in big if o.accelerator_id is None} == {80}


def test_u24_the_sellers_spelling_comes_from_a_table() -> None:
    """https://github.com/skypilot-org/skypilot/issues/9769"""
    assert explain("RTX-PRO-6000", provider="gcp").spelling == "nvidia-rtx-pro-6000"
    assert "nvidia-rtx-pro-6000" in run("explain", "RTX-PRO-6000", "--provider", "gcp").out
    assert explain("GB202").accelerators == explain("RTX-PRO-6000").accelerators
    assert run("explain", "RTX-PRO-6000", "--provider", "acme").code == 5  # no seller's name is passed over


def test_u25_a_near_miss_is_named() -> None:
    """https://github.com/ibm-cloud-docs/vpc/issues/203"""
    answer = run("quote", "L4Os", "--json")
    assert (answer.code, answer.json["error"]["choices"]) == (5, ["L40S", "L40", "L4"])
    assert answer.err.lower().count("did you mean") == 1


def test_u26_lookalikes_are_named_only_when_nothing_else_helps(tmp_path: Path) -> None:
    """https://github.com/ray-project/ray/pull/65009"""
    path = price_file(
        tmp_path,
        "azure,eastus,,ND128,GB200,4,186,128,on-demand,108,USD,2026-07-01,l",
        "gcp,us-central1,,a4-highgpu-8g,B200,8,180,224,spot,32.6,USD,2026-07-01,l",
    )
    assert "--market spot: 1 offers" in run("--catalog", str(path), "quote", "B200").err
    assert "GB200" not in run("--catalog", str(path), "quote", "B200").err
    (offer,) = quote("GB200", catalog=path).offers
    assert offer.accelerator_id != "nvidia-b200-sxm-180gb"


def test_u27_a_vgpu_profile_is_a_share_of_its_card() -> None:
    """https://github.com/huggingface/text-generation-inference/issues/3243"""
    found = explain("NVIDIA L40-48Q")
    assert ([a.id for a in found.accelerators], found.memory_gib, found.virtualized) == (["nvidia-l40"], 48, True)


def test_u29_an_export_variant_is_a_card_of_its_own() -> None:
    """https://github.com/OpenRLHF/OpenRLHF/pull/298"""
    out = run("explain", "A800").out
    assert "export variant of nvidia-a100-sxm-80gb" in out
    assert "400 GB/s" in out


def test_an_accelerator_that_nobody_lists_is_said_to_be_and_the_nearest_named() -> None:
    """Believed wrongly: nothing on offer means that a filter was too narrow."""
    answer = quote("MI325X:8")
    assert not answer.total
    assert answer.hints[-1].endswith("no seller in this catalog lists MI325X")
    assert answer.hints[0].startswith("MI3")
    assert not any("no seller" in hint for hint in quote("H100:8", max_price="0.1").hints)


def test_u104_what_runs_on_it_has_source_and_date() -> None:
    """He would have believed a frozen no of 2023: bitsandbytes came to MI300X later."""
    said = run("explain", "MI300X").out
    assert "runs       bf16, fp8, flash-attn, bitsandbytes; unknown: fp4" in said
    assert re.search(r"bitsandbytes: official since 0\.50; .*\(huggingface\.co.*, 2026-11-25\)", said)
    body = run("explain", "V100-SXM2-16GB", "--json").json
    features = {f["name"]: f for f in body["names"][0]["accelerators"][0]["features"]}
    assert (features["bf16"]["answer"], features["bitsandbytes"]["answer"]) == (False, True)
    assert all(f["source"] and f["as_of"] for f in features.values() if f["answer"] is not None)
