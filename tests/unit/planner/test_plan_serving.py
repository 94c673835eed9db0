"""Machines that serve: as few as carry the load, and none whose speed nobody knows."""

import itertools
import json
import math
from decimal import Decimal
from typing import Any

import pytest

from cloudaccel.catalog.load import build_rows_in_memory
from cloudaccel.catalog.rows import Row
from cloudaccel.catalog.session import accelerator_table
from cloudaccel.cli import main
from cloudaccel.facts.models import resolve_model
from cloudaccel.model import Accelerator, Query, Source
from cloudaccel.model.plan import Plan
from cloudaccel.model.workload import Fit, Machine, ServeDemand, Workload
from cloudaccel.planner.plan import make_plan
from cloudaccel.planner.request import Context, Request
from cloudaccel.workloads import size
from tests.unit.planner.test_plan import row

H100, L4, UNKNOWN = "nvidia-h100-sxm-80gb", "nvidia-l4", "nvidia-rtx-a4000"
JOB = ["plan", "--task", "serve", "--model", "llama-3.1-8b", "--requests-per-s", "20", "--lock", "-"]


def planned(rows: list[Row], model_name: str = "llama-3.1-8b", **demand: float) -> Plan:
    source = Source(id="t", name="t", path="", revision=None, licence="MIT", url=None)
    catalog = build_rows_in_memory(rows, [source], built_from="test")
    model = resolve_model(model_name)
    serve = ServeDemand(**demand)  # pyright: ignore[reportArgumentType]
    workload = Workload(task="serve", model=model.id, serve=serve)

    def sizer(accelerator: Accelerator, per_node: int, nodes: int, machine: Machine) -> Fit:
        return size(workload, model, accelerator, per_node=per_node, nodes=nodes, machine=machine)

    request = Request(workload=workload, model=model, query=Query(), setup_h=Decimal(0))
    return make_plan(request, Context(catalog.db, accelerator_table(), sizer))


@pytest.mark.parametrize(
    ("accelerator", "count", "load"), list(itertools.product((H100, L4), (1, 4, 8), (0.5, 20.0, 200.0, 400.0)))
)
def test_a_load_gets_the_fewest_machines_that_carry_it(accelerator: str, count: int, load: float) -> None:
    """Believed wrongly: replicas are counted for each machine of the largest fleet tried, 11,264 cards for one load."""
    best = planned([row("m", accelerator, count, "8")], requests_per_s=load).best
    assert best is not None
    chip, model = accelerator_table()[accelerator], resolve_model("llama-3.1-8b")
    job = Workload(task="serve", model="", serve=ServeDemand(requests_per_s=load))
    if best.nodes > 1:
        assert size(job, model, chip, per_node=count, nodes=best.nodes - 1).verdict == "no"
    serving = size(job, model, chip, per_node=count, nodes=best.nodes).serving
    assert serving is not None
    assert serving.replicas is not None
    assert serving.replicas * serving.output_tokens_per_s * 0.5 >= load * 256 * (1 - 1e-9)
    assert best.nodes == math.ceil(serving.replicas / (count // serving.accelerators_per_replica))


def test_an_unknown_speed_carries_no_load() -> None:
    """Believed wrongly: a card whose peak no source gives serves any load on one machine, and so is the cheapest."""
    plan = planned([row("cheap", UNKNOWN, 2, "0.15"), row("known", H100, 1, "3", region="r2")], requests_per_s=5.0)
    assert [option.offer.instance for option in plan.options] == ["known"]
    assert "speed_unknown" in [rejected.reason for rejected in plan.rejected]
    alone = planned([row("cheap", UNKNOWN, 2, "0.15")])  # whether it holds the model is known
    assert [option.offer.instance for option in alone.options] == ["cheap"]


def test_a_pipeline_makes_room_and_no_token_faster() -> None:
    """Believed wrongly: twelve machines in a pipeline make a token twelve times as fast as one."""
    chip, model = accelerator_table()[H100], resolve_model("llama-3.1-70b")
    job = Workload(task="serve", model="", serve=ServeDemand(concurrency=1))
    across = size(job, model, chip, per_node=1, nodes=2).serving
    inside = size(job, model, chip, per_node=2, nodes=1).serving
    assert across is not None
    assert inside is not None
    assert across.accelerators_per_replica == inside.accelerators_per_replica == 2
    assert across.tpot_s > 1.8 * inside.tpot_s
    assert across.ttft_s > 1.8 * inside.ttft_s


def test_a_model_that_one_machine_holds_is_not_cut_over_two() -> None:
    plan = planned([row("m", H100, 1, "3")], requests_per_s=50.0)
    assert plan.best is not None
    assert plan.best.fit.shape is not None
    assert plan.best.fit.shape.pp == 1


def test_tensor_parallelism_over_pcie_costs_time() -> None:
    """Believed wrongly: cards that meet over PCIe share a layer as fast as over NVLink."""
    model = resolve_model("llama-3.1-70b")
    job = Workload(task="serve", model="", precision="fp8", serve=ServeDemand())
    card = accelerator_table()["nvidia-l40s"]
    serving = size(job, model, card, per_node=8, nodes=1).serving
    assert serving is not None
    compute_s = 2 * model.params * 1024 / (card.peak_tflops_fp8_dense or 0) / 1e12 / 0.5
    assert serving.ttft_s > 1.3 * compute_s / serving.accelerators_per_replica


def test_the_load_the_latency_and_the_cost_of_a_token_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Believed wrongly: a price of machines says what serving costs, whatever they serve."""
    assert main([*JOB, "--accel", "H100-SXM:8", "--explain"]) == 0
    text = capsys.readouterr().out
    for words in ("20 requests/s · 1,024 tokens in and 256 out", "Serves   ", "1ST TOKEN", "$/MTOK", "one replica: "):
        assert words in text
    assert "--ttft, --tpot" in text
    assert main([*JOB, "--accel", "H100-SXM:8", "--json"]) == 0
    option = json.loads(capsys.readouterr().out)["options"][0]
    serving = option["fit"]["serving"]
    tokens = 20 * 1280 * 730 * 3600
    assert f"a million tokens, in and out: {Decimal(option['total']) / tokens * 1_000_000:,.3f}" in text
    assert serving["replicas"] * serving["output_tokens_per_s"] >= 2 * 20 * 256


def test_a_measured_rate_replaces_the_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    """Believed wrongly: what was measured changes nothing in a plan for serving."""
    job = [*JOB, "--accel", "H100-SXM:8", "--json"]
    assert main(job) == 0
    estimated = json.loads(capsys.readouterr().out)["options"][0]["fit"]["serving"]
    assert main([*job, "--measured", "100"]) == 0
    measured = json.loads(capsys.readouterr().out)["options"][0]["fit"]["serving"]
    assert measured["output_tokens_per_s"] == 100 * measured["accelerators_per_replica"]
    assert measured["replicas"] > estimated["replicas"]
    assert measured["ttft_s"] == estimated["ttft_s"]
    assert main([*job[:-1], "--measured", "100", "--explain"]) == 0
    text = capsys.readouterr().out
    assert f"one replica: {measured['accelerators_per_replica']} accelerators × 100 measured = " in text
    assert "of time at work -" not in text
    assert main([*job, "--mfu", "0.4"]) == 2
    assert "--measured" in capsys.readouterr().err


def test_a_certificate_draws_the_speed_of_serving(capsys: pytest.CaptureFixture[str]) -> None:
    """Believed wrongly: a fleet sized by an estimate is sure to be the cheapest."""
    answers: list[dict[str, Any]] = []
    for load in (["--requests-per-s", "20"], ["--concurrency", "4"]):
        words = ["plan", "--task", "serve", "--model", "llama-3.1-8b", *load, "--lock", "-", "--certify", "--json"]
        assert main([*words, "--provider", "aws", "--headquarters", "DE", "--users", "none"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["certificate"])
    assert [answer["speed_sampled"] for answer in answers] == [True, False]
    assert any(fact["name"].startswith("speed of") for fact in answers[0]["facts"])


def test_a_pipeline_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Believed wrongly: five machines of one card each serve like one machine with five."""
    job = ["plan", "--task", "serve", "--model", "llama-3-70b", "--accel", "H100-SXM:1", "--lock", "-"]
    assert main(job) == 0
    assert " accelerators in a pipeline of " in capsys.readouterr().out
