"""Locks of every kind that an export meets."""

from typing import Any

from cloudaccel.catalog.session import accelerator_table
from cloudaccel.export import deployment_of, export


def option(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "offer_id": "0123456789abcdef", "provider": "aws", "partition": "aws", "region": "eu-north-1", "zone": None,
        "country": "SE", "instance": "p5.48xlarge", "accelerator": {"id": "nvidia-h100-sxm-80gb", "count": "8"},
        "nodes": 1, "market": {"type": "on_demand", "term": None},
        "price": {"price_per_hour": "55.04", "currency": "USD"},
    }  # fmt: skip
    return {**base, **changes}


def lock(*, high: float | None = 10.0, disk: str | None = None, failover: Any = (), **changes: Any) -> dict[str, Any]:
    return {
        "schema": "cloudaccel-lock/1", "catalog_id": "sha256:00", "chosen": option(**changes),
        "failover": [option(**{**changes, **other}) for other in failover], "hours": {"high": high},
        "request": {"job": {"disk": disk} if disk else {}},
    }  # fmt: skip


T4: dict[str, Any] = {
    "provider": "gcp",
    "partition": "gcp",
    "region": "europe-west4",
    "accelerator": {"id": "nvidia-t4", "count": "1"},
}
TRN: dict[str, Any] = {"instance": "trn1.32xlarge", "accelerator": {"id": "aws-trainium1", "count": "16"}}
A100: dict[str, Any] = {**T4, "accelerator": {"id": "nvidia-a100-sxm-40gb", "count": "8"}}
PLANS: dict[str, dict[str, Any]] = {
    "one": lock(),
    "gang": lock(
        nodes=4, disk="1TB", failover=[{"region": "eu-west-1"}, {"region": "eu-north-1", "zone": "eu-north-1b"}]
    ),
    "spot": lock(market={"type": "spot"}, instance="g6e.12xlarge", accelerator={"id": "nvidia-l40s", "count": "4"}),
    "serving": lock(high=None, instance="g5g.xlarge", accelerator={"id": "nvidia-t4g", "count": "1"}),
    "neuron": lock(**TRN),
    "elsewhere": lock(
        **A100,
        instance="a2-highgpu-8g",
        nodes=2,
        zone="europe-west4-a",
        market={"type": "spot"},
    ),
    "blue": lock(
        provider="azure",
        partition="azure-public",
        region="westeurope",
        country="NL",
        instance="Standard_ND96isr_H100_v5",
        failover=[{"region": "francecentral"}, {"provider": "aws", "partition": "aws", "region": "eu-west-1"}],
    ),
    "fabric": lock(
        high=100.0,
        nodes=2,
        provider="azure",
        partition="azure-public",
        region="westeurope",
        country="NL",
        instance="Standard_ND96isr_H100_v5",
        failover=[{"region": "francecentral"}],
    ),
    "blue-spot": lock(
        nodes=2,
        provider="azure",
        partition="azure-public",
        region="westeurope",
        zone="westeurope-2",
        country="NL",
        instance="Standard_ND96isr_H100_v5",
        market={"type": "spot"},
    ),
    "attached": lock(instance="n1-standard-4+nvidia-tesla-t4x1", **T4),
}


def written(name: str, plan: str) -> str:
    return export(name, deployment_of(PLANS[plan], accelerator_table())).text
