"""Area M, the network between machines: a fabric is asked for, and an unknown network is never one."""

import pytest

from cloudaccel.api import planning
from cloudaccel.errors import QueryError
from cloudaccel.facts.machines import network_gbit_per_s
from cloudaccel.units import parse_gbit_per_s
from tests.support import run

JOB = {"task": "pretrain", "model": "llama-3-8b", "tokens": 10e9}
WORDS = ("plan", "--task", "pretrain", "--model", "llama-3-8b", "--tokens", "10e9", "--lock", "-")


def test_u100_nvlink_is_inside_one_machine_of_sxm() -> None:
    """Eight GPUs with NVLink were taken for eight anywhere: NVLink ends at the machine, and PCIe cards have none."""
    found = planning.plan(JOB, accelerators="H100:8", interconnect="nvlink", max_nodes=1, options=60)
    assert found.options
    assert {(o.nodes, o.offer.accelerator_id) for o in found.options} == {(1, "nvidia-h100-sxm-80gb")}


def test_u100_several_machines_only_with_the_network_that_was_asked_for() -> None:
    """Two machines over a thin network were slower than one, at twice the price."""
    found = planning.plan(JOB, accelerators="H100:8x2", inter_node="400Gbps+", options=60)
    assert found.options
    for option in found.options:
        assert (network_gbit_per_s(option.offer.provider, option.offer.instance) or 0) >= 400
    (refused,) = [r for r in found.rejected if r.reason == "network"]
    assert "no source says what is between its machines, and --inter-node asks for 400" in refused.examples[0]
    free = planning.plan(JOB, accelerators="H100:8x2", options=60)
    assert any(network_gbit_per_s(o.offer.provider, o.offer.instance) is None for o in free.options)


def test_u100_one_machine_needs_no_network_between_machines() -> None:
    """A machine alone would be refused for a network that it does not use."""
    found = planning.plan(JOB, accelerators="H100:8", inter_node=3200, provider="lambda", options=60)
    assert {o.nodes for o in found.options} == {1}
    assert found.request["inter_node"] == 3200


def test_u100_what_no_machine_has_is_named_with_what_to_lift() -> None:
    """An empty answer without a word sends the reader to another seller, who has it no more."""
    found = planning.plan(JOB, accelerators="H100:8x2", inter_node="100Tbps")
    assert found.best is None
    assert any(r.text.startswith("without --inter-node: ") for r in found.relaxations)


def test_u100_the_plan_says_both_speeds() -> None:
    """900 GB/s inside and 400 Gbit/s between are two figures of two units: 18 times apart."""
    out = run(*WORDS, "--accel", "H100-SXM:8x2", "--provider", "aws").out
    assert "Links    inside a machine: nvlink 900 GB/s; between machines: 3200 Gbit/s\n" in out
    other = run(*WORDS, "--accel", "H100-SXM:8x2", "--provider", "lambda").out
    assert "between machines: not known, and taken for a thin network\n" in other
    assert "Links" not in run(*WORDS, "--accel", "H100:8", "--max-nodes", "1").out


@pytest.mark.parametrize(
    ("text", "gbit"),
    [("400", 400), ("400Gbps", 400), ("400 Gbit/s", 400), ("400gb/s+", 400), ("3.2Tbps", 3200), (100.0, 100)],
)
def test_a_speed_is_read_in_bits(text: str | float, gbit: float) -> None:
    assert parse_gbit_per_s(text, "--inter-node") == gbit


@pytest.mark.parametrize("text", ["400GB/s", "400GBps", "fast", "", "-1", "0", "1e400", "nan"])
def test_u100_bytes_are_no_bits(text: str) -> None:
    """400 GB/s read as 400 Gbit/s is an eighth of what was meant."""
    with pytest.raises(QueryError, match="no speed of a network"):
        parse_gbit_per_s(text, "--inter-node")
