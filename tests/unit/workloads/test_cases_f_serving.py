"""Area F of the collected cases, the serving part: cost of tokens."""

from decimal import Decimal
from math import isclose

import pytest

from cloudaccel.errors import QueryError
from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.models import resolve_model
from cloudaccel.model.workload import ServeDemand, Workload
from cloudaccel.workloads import size
from cloudaccel.workloads.serving import asked_output_per_s, kv_cache
from cloudaccel.workloads.serving_cost import TokenUsage, cost_per_million, token_costs


def test_u53_utilisation_is_a_factor_of_the_price() -> None:
    """Believed wrongly: a token costs the same on an idle machine."""
    assert isclose(cost_per_million(Decimal("2.50"), 700, 1.0), Decimal("0.992"), abs_tol=0.001)
    assert isclose(cost_per_million(Decimal("2.50"), 700, 0.1), Decimal("9.92"), abs_tol=0.01)


@pytest.mark.parametrize(("rate", "utilisation"), [(0, 0.5), (700, 0), (700, 1.5)])
def test_u53_nothing_is_invented(rate: float, utilisation: float) -> None:
    """Believed wrongly: a throughput that nobody gave has some default."""
    with pytest.raises(QueryError):
        cost_per_million(Decimal(1), rate, utilisation)


def test_u53_hours_on_and_utilisation_are_two_inputs() -> None:
    """Believed wrongly: half the hours on is the same as half the use."""
    always = ServeDemand(tokens_per_month=1e9)
    nights_off = ServeDemand(tokens_per_month=1e9, hours_on_per_month=365)
    first, second = asked_output_per_s(always), asked_output_per_s(nights_off)
    assert first is not None
    assert isclose(second or 0, 2 * first, rel_tol=1e-6)
    assert ServeDemand(tokens_per_month=1e9, utilisation=0.1).hours_on_per_month == always.hours_on_per_month


def test_u58_token_classes_partition_the_input() -> None:
    """Believed wrongly: cached tokens come on top of the input."""
    usage = TokenUsage(input=1000, cache_read=983, cache_write=17)
    assert usage.billed == 1000
    assert usage.uncached + usage.cache_read == usage.input
    with pytest.raises(QueryError, match="part of"):
        TokenUsage(input=1000, cache_read=983, cache_write=18)


def test_u58_costs_of_the_classes_add_up_to_the_rent() -> None:
    """Believed wrongly: costs by class may add up to something else than the rent."""
    demand = ServeDemand(input_tokens=2000, output_tokens=500, cached_share=0.4, utilisation=0.5)
    job = Workload(task="serve", model="", precision="fp8", serve=demand)
    model, chip = resolve_model("llama-3.1-70b"), by_id("nvidia-h100-sxm-80gb")
    serving = size(job, model, chip, per_node=8, nodes=1).serving
    assert serving is not None
    costs = token_costs(Decimal(20), serving, demand)
    uncached = Decimal(2000) * Decimal("0.6")
    classes = costs.input * uncached + costs.cached_input * (2000 - uncached) + costs.output * 500
    assert isclose(classes, (costs.total - costs.idle) * 2500, rel_tol=1e-6)
    assert isclose(costs.idle, costs.total / 2, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        ("llama-3-8b", 131_072),
        ("llama-3-70b", 327_680),
        ("llama-2-7b", 524_288),
        ("qwen3-235b-a22b", 192_512),
        ("deepseek-v3", 70_272),
        ("gpt-oss-120b", 36_864),  # half of its layers; the others add 128 tokens at most
        ("qwen3.5-397b-a17b", 30_720),
    ],
)
def test_cache_by_attention_kind(name: str, bytes_per_token: int) -> None:
    assert kv_cache(resolve_model(name)).per_token == bytes_per_token


def test_load_decides_replicas_and_says_when_machines_are_too_few() -> None:
    model, chip = resolve_model("llama-3.1-8b"), by_id("nvidia-h100-sxm-80gb")
    small = Workload(task="serve", model="", precision="fp8", serve=ServeDemand(requests_per_s=1.0))
    fit = size(small, model, chip, per_node=8, nodes=1)
    assert fit.serving is not None
    assert fit.serving.replicas == 1
    huge = Workload(task="serve", model="", precision="fp8", serve=ServeDemand(requests_per_s=1e5))
    assert size(huge, model, chip, per_node=8, nodes=1).reasons[0].code == "load"


def test_latency_targets_bind() -> None:
    model, chip = resolve_model("llama-3.1-70b"), by_id("nvidia-h100-sxm-80gb")

    def fit(**demand: float) -> tuple[str, float, float]:
        job = Workload(task="serve", model="", precision="fp8", serve=ServeDemand(**demand))  # pyright: ignore[reportArgumentType]
        found = size(job, model, chip, per_node=8, nodes=1)
        assert found.serving is not None
        return found.verdict, found.serving.output_tokens_per_s, found.serving.tpot_s

    free, bound = fit(), fit(tpot_s=0.02)
    assert bound[2] <= 0.02 < free[2]
    assert bound[1] < free[1]
    assert fit(tpot_s=0.0001)[0] == "no"
    assert fit(ttft_s=0.0001)[0] == "no"
