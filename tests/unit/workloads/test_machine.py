"""What a machine has beside its accelerators: network and host memory, known, thin, small and unknown."""

import pytest

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.loader import read_table
from cloudaccel.facts.machines import network_gbit_per_s
from cloudaccel.facts.models import resolve_model
from cloudaccel.model.workload import Fit, Machine, Workload
from cloudaccel.workloads import size
from cloudaccel.workloads.launch import launch

A100 = "nvidia-a100-sxm-80gb"


def tuned(method: str, host_gib: float | None, *, count: int = 8, nodes: int = 4) -> Fit:
    job = Workload(task="finetune", method=method, model="", tokens=1e8, sequence_tokens=2048, stack="megatron")
    machine = Machine(1600, host_gib)
    return size(job, resolve_model("llama-2-70b"), by_id(A100), per_node=count, nodes=nodes, machine=machine)


def codes(fit: Fit) -> list[str]:
    return [reason.code for reason in fit.reasons]


def test_networks_are_sourced_and_dated() -> None:
    for row in read_table("machine_networks.csv"):
        assert row["source"]
        assert row["as_of"] >= "2026"
        assert float(row["gbit_per_s"]) > 0
    assert network_gbit_per_s("nobody", "some-machine") is None


def test_a_small_host_makes_it_tight_and_says_for_what() -> None:
    """Believed wrongly: what fits on the cards loads and saves on any host."""
    assert codes(tuned("full", 2048)) == []
    small = tuned("full", 160)
    assert small.verdict == "tight"
    assert codes(small) == ["host_mem_for_load", "host_mem_for_checkpoint"]
    assert "host_mem" in codes(tuned("full", 24))


def test_an_adapter_stages_little() -> None:
    assert "host_mem_for_checkpoint" not in codes(tuned("lora", 200, nodes=1))


def test_an_unknown_host_is_said_not_to_be_checked() -> None:
    fit = tuned("full", None)
    assert codes(fit) == []
    assert ("host_memory_gib", "not checked") in [(a.name, a.value) for a in fit.assumptions]


def test_a_checkpoint_of_one_machine_is_all_states_of_its_cards() -> None:
    text = next(r.text for r in tuned("full", 64).reasons if r.code == "host_mem_for_checkpoint")
    assert "staging a checkpoint needs" in text
    need = float(text.split("needs ")[1].split(" GiB")[0])
    assert need == pytest.approx(69e9 * 12 / 4 / 2**30 + 36, rel=0.02)  # a quarter of Adam's states, and processes


def test_a_caller_s_rate_contains_the_wait_already() -> None:
    job = Workload(task="finetune", method="full", model="", tokens=1e9, sequence_tokens=2048, stack="fsdp")
    model, chip = resolve_model("llama-2-70b"), by_id(A100)
    thin, wide = (
        size(job, model, chip, per_node=8, nodes=8, measured=800.0, machine=Machine(gbit)) for gbit in (25, 1600)
    )
    assert thin.hours_likely == wide.hours_likely


def test_layers_divide_with_embedding_and_output_as_a_layer_each() -> None:
    """Llama-3.1-405B has 126 layers and was trained in 16 stages."""
    job = Workload(task="pretrain", model="", tokens=15e12, sequence_tokens=8192, batch_sequences=512)
    model, chip = resolve_model("llama-3.1-405b"), by_id("nvidia-h100-sxm-80gb")
    fit = size(job, model, chip, per_node=8, nodes=512, machine=Machine(400))
    assert fit.shape is not None
    assert fit.shape.pp > 2
    assert (model.layers + 2) % fit.shape.pp == 0
    text = launch("megatron", job, model, fit, per_node=8)
    assert "--account-for-embedding-in-pipeline-split" in text
    assert "--account-for-loss-in-pipeline-split" in text


def test_a_machine_alone_is_the_same_on_every_network() -> None:
    job = Workload(task="finetune", method="lora", model="", tokens=1e8)
    model, chip = resolve_model("llama-3-8b"), by_id(A100)
    one, other = (size(job, model, chip, per_node=8, nodes=1, machine=Machine(gbit, 512)) for gbit in (25, None))
    assert one == other


def test_what_was_asked_before_does_not_change_how_a_number_is_shown() -> None:
    job = Workload(task="finetune", method="lora", model="", tokens=1e8)
    model, chip = resolve_model("llama-3-8b"), by_id(A100)
    for mfu in (1, 1.0):
        fit = size(job, model, chip, per_node=8, nodes=1, mfu=mfu, machine=Machine(None, 512))
        assert [repr(a.value) for a in fit.assumptions if a.name == "wall_mfu"] == [repr(mfu)]
