"""Nebius's billing calculator, through its own SDK against a gRPC server on this machine. Every answer is assembled."""

from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, cast

import grpc
import pytest

from cloudaccel.errors import AuthError, ConfigError, MalformedResponse, ProviderError
from cloudaccel.model import Offer
from cloudaccel.protocols import Prices, Scope
from cloudaccel.testing.cloud import FakeCloud
from cloudaccel.testing.prices import PricesContract
from cloudaccel_nebius.prices import PROJECTS, TOKEN, NebiusPrices
from cloudaccel_nebius.sdk import ENDPOINT_ENV, api
from tests.support import run

pytestmark = pytest.mark.network  # a server on 127.0.0.1
REGIONS = {"project-e00a": "eu-north1", "project-e00b": "eu-north1", "project-u00a": "us-central1"}
EIGHT = "8gpu-128vcpu-1600gb"
Key = tuple[str, str, bool]
v1, v1alpha1, v2, common = api("compute.v1"), api("billing.v1alpha1"), api("iam.v2"), api("common.v1")


class Nebius(grpc.GenericRpcHandler):
    """Projects, platforms and a calculator. `costs`: by platform, preset and whether it is preemptible."""

    def __init__(self) -> None:
        self.costs: dict[Key, str | None] = {
            ("gpu-h100-sxm", EIGHT, False): "23.6", ("gpu-h100-sxm", EIGHT, True): "10.000000001",
            ("gpu-l40s-a", "1gpu-8vcpu-32gb", False): "1.55", ("gpu-gb300", "4gpu", False): "0",
        }  # fmt: skip
        self.memory = {"gpu-h100-sxm": 80, "gpu-l40s-a": 48, "gpu-gb300": 288, "cpu-d3": 0}
        self.asked: list[str] = []
        self.fault: tuple[str, grpc.StatusCode] | None = None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = str(handler_call_details.method).rpartition("/")[2]
        sent = dict(cast("Any", handler_call_details.invocation_metadata)).get("authorization")

        def answer(raw: bytes, context: grpc.ServicerContext) -> Any:
            self.asked.append(method)
            if sent != "Bearer canary-nb":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")
            if self.fault and self.fault[0] == method:
                context.abort(self.fault[1], "as the test wants")
            return getattr(self, f"_{method.lower()}")(raw, context)

        def written(message: Any) -> bytes:
            return message.SerializeToString()

        return cast("Any", grpc).unary_unary_rpc_method_handler(answer, response_serializer=written)

    def _get(self, raw: bytes, _: Any) -> Any:
        project = v2.GetProjectRequest.FromString(raw).id
        return v2.Project(metadata=common.ResourceMetadata(id=project), spec=v2.ProjectSpec(region=REGIONS[project]))

    def _list(self, raw: bytes, _: Any) -> Any:
        """One platform a page."""
        names, token = list(self.memory), v1.ListPlatformsRequest.FromString(raw).page_token
        place = int(token or 0)
        presets = {preset for platform, preset, _ in self.costs if platform == names[place]} or {"4vcpu-16gb"}
        platform = v1.Platform(
            metadata=common.ResourceMetadata(name=names[place]),
            spec=v1.PlatformSpec(
                gpu_memory_gigabytes=self.memory[names[place]], presets=[self._preset(name) for name in presets]
            ),
        )
        after = str(place + 1) if place + 1 < len(names) else ""
        return v1.ListPlatformsResponse(items=[platform], next_page_token=after)

    def _preset(self, name: str) -> Any:
        gpus = int(name.partition("gpu")[0]) if "gpu" in name else 0
        held = v1.PresetResources(gpu_count=gpus, vcpu_count=16 * gpus or 4, memory_gibibytes=200 * gpus or 16)
        return v1.Preset(name=name, resources=held)

    def _estimate(self, raw: bytes, context: grpc.ServicerContext) -> Any:
        wanted = v1alpha1.EstimateRequest.FromString(raw).resource_spec.compute_instance_spec
        assert wanted is not None
        held = wanted.spec.resources
        key = (str(held.platform), str(held.preset), bool(wanted.spec.preemptible.on_preemption))
        if key not in self.costs:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not sold so")
        cost = self.costs[key]
        total = v1alpha1.GeneralTotalCost(total=v1alpha1.CostBreakdown(cost=cost or ""))
        hourly = v1alpha1.ResourceGroupCost(general=total) if cost is not None else v1alpha1.ResourceGroupCost()
        return v1alpha1.EstimateResponse(hourly_cost=hourly)


@pytest.fixture(autouse=True)
def nebius(monkeypatch: pytest.MonkeyPatch) -> Generator[Nebius]:
    fake = Nebius()
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((fake,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv(ENDPOINT_ENV, f"127.0.0.1:{port}")
    monkeypatch.setenv(TOKEN, "canary-nb")
    monkeypatch.setenv(PROJECTS, "project-e00a")
    yield fake
    server.stop(0)


class TestContract(PricesContract):
    def prices(self) -> Prices:
        return NebiusPrices()

    def serve(self, cloud: FakeCloud) -> None:
        """Nothing: the server of this module answers."""


def offers() -> list[Offer]:
    return list(NebiusPrices().offers(Scope(provider="nebius", partition="nebius")))


def by_shape() -> Mapping[tuple[str, str], Offer]:
    return {(offer.instance, offer.market): offer for offer in offers()}


def test_every_shape_with_accelerators_costs_what_the_calculator_says(nebius: Nebius) -> None:
    found = by_shape()
    offer = found[f"gpu-h100-sxm_{EIGHT}", "on_demand"]
    assert (offer.region, offer.accelerator_id, offer.count) == ("eu-north1", "nvidia-h100-sxm-80gb", 8)
    assert (offer.vcpus, offer.memory_gib, offer.country) == (128, 1600, "FI")
    assert (offer.price.amount, offer.price.currency) == (Decimal("23.6"), "USD")
    assert "names no currency" in offer.price.note
    assert found[f"gpu-h100-sxm_{EIGHT}", "spot"].price.amount == Decimal("10.000000001")
    assert found["gpu-l40s-a_1gpu-8vcpu-32gb", "on_demand"].accelerator_id == "nvidia-l40s"
    assert nebius.asked == ["Get", "List", "Estimate", "Estimate", "List", "Estimate", "Estimate", "List", "Estimate",
                            "Estimate", "List"]  # fmt: skip  # a host without accelerators is not put to the calculator


def test_trap_87_what_the_calculator_says_at_0_or_not_at_all_has_no_price_and_no_spot(nebius: Nebius) -> None:
    """A GB300 at 0.00 was the cheapest machine of all."""
    for cost in ("0", "", None):
        nebius.costs["gpu-gb300", "4gpu", False] = cost
        found = by_shape()
        assert found["gpu-gb300_4gpu", "on_demand"].price.amount is None
        assert ("gpu-gb300_4gpu", "spot") not in found
    del nebius.costs["gpu-h100-sxm", EIGHT, False]  # refused
    assert by_shape()[f"gpu-h100-sxm_{EIGHT}", "on_demand"].price.status == "unknown"


def test_one_project_of_a_region_is_enough(nebius: Nebius, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROJECTS, "project-e00a, project-e00b,project-u00a project-e00a")
    found = offers()
    assert {offer.region for offer in found} == {"eu-north1", "us-central1"}
    assert len(found) == len({offer.id for offer in found})
    assert nebius.asked.count("Get") == 3


@pytest.mark.parametrize("call", ["Get", "List", "Estimate"])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, AuthError),
        (grpc.StatusCode.INTERNAL, ProviderError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ProviderError),
    ],
)
def test_a_call_that_fails_is_an_error_and_never_a_shorter_list(
    nebius: Nebius, call: str, status: grpc.StatusCode, error: type[ProviderError]
) -> None:
    nebius.fault = (call, status)
    with pytest.raises(error, match=status.name):
        offers()


def test_a_cost_that_is_no_amount_refuses_the_answer(nebius: Nebius) -> None:
    for cost in ("-1", "NaN", "cheap"):
        nebius.costs["gpu-h100-sxm", EIGHT, False] = cost
        with pytest.raises(MalformedResponse):
            offers()


@pytest.mark.parametrize("name", [TOKEN, PROJECTS])
def test_without_a_token_or_a_project_nobody_is_asked(
    nebius: Nebius, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(AuthError, match=name) as refused:
        offers()
    assert (refused.value.raw_code, nebius.asked) == ("no-key", [])


def test_a_token_that_is_not_taken_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "canary-other")
    with pytest.raises(AuthError, match="Renew NEBIUS_IAM_TOKEN") as refused:
        offers()
    assert "canary" not in str(refused.value)


def test_only_a_fake_on_this_machine_is_asked_without_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT_ENV, "nebius.example.org:443")
    with pytest.raises(ConfigError, match="not on this machine"):
        offers()


def test_refresh_takes_them_and_says_so(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(tmp_path))
    taken = run("refresh", "nebius", "--accept")
    assert taken.code == 0, taken.err
    found = run("quote", "H100:8", "--provider", "nebius", "--json").json["offers"]
    assert found[0]["price"]["source"]["name"] == "Nebius billing calculator"
