"""Nebius's shapes with accelerators, on demand and preemptible, as its billing calculator estimates each.

There is no price list: every preset of every platform that a project sees is put to the calculator, twice. That takes a
token and the ids of projects, one in each region that counts. Disks are no part of an estimate.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

from cloudaccel.errors import AuthError
from cloudaccel.facts.listing import Line, LineList, Shape, Terms, api_key, count_of, one_accelerator, size
from cloudaccel.model import Source
from cloudaccel_nebius.sdk import NAME, Sdk

# github.com/nebius/api (billing/v1alpha1, compute/v1, iam/v2) as the package nebius 0.6.29 has it, read 2026-11-27.
# The service itself was not called.
TOKEN = "NEBIUS_IAM_TOKEN"  # noqa: S105  # the name of an environment variable, Nebius's own
PROJECTS = "CLOUDACCEL_NEBIUS_PROJECTS"  # ids, commas between them
_MARKETS = {"on_demand": False, "spot": True}
_HOST = re.compile(r"-[a-z]$")  # gpu-l40s-a and -d are one card on hosts of two makers
_NOTE = "estimate of the billing calculator, which names no currency: Nebius's price page is in USD"


class NebiusPrices(LineList):
    """What the calculator says, which needs a token (`TOKEN`) and projects (`PROJECTS`)."""

    provider = NAME
    operation = "Estimate"
    sources = ()  # asked through the SDK, by gRPC
    source = Source(
        id="nebius-calculator", name="Nebius billing calculator", path="nebius.billing.v1alpha1.CalculatorService",
        revision="v1alpha1", licence="the seller's own API", url=None,
    )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every shape with accelerators in the region of each project; what is not sold as spot has no such line."""
        token, projects = api_key(NAME, TOKEN), _projects()
        read = set[str]()
        with Sdk(token) as sdk:
            for project in projects:
                region = sdk.region(project)
                if region not in read:
                    read.add(region)
                    for platform in sdk.platforms(project):
                        yield from self._lines(sdk, project, region, platform)

    def _lines(self, sdk: Sdk, project: str, region: str, platform: Any) -> Iterator[Line]:
        name = str(platform.metadata.name)
        for preset in platform.spec.presets:
            if not preset.resources.gpu_count:
                continue
            shape = _shape(name, platform.spec.gpu_memory_gigabytes, preset)
            for market, preemptible in _MARKETS.items():
                said = sdk.estimate(project, name, str(preset.name), preemptible=preemptible)
                amount = self.money(said, shape.instance)
                if amount is not None or market != "spot":
                    note = _NOTE if amount is not None else "the calculator has no price of it"
                    yield Line(shape=shape, amount=amount, regions=(region,), terms=Terms(market=market), note=note)


def _projects() -> tuple[str, ...]:
    found = tuple(dict.fromkeys(word for word in re.split(r"[,\s]+", os.environ.get(PROJECTS, "")) if word))
    if not found:
        raise AuthError(
            f"nebius: prices are estimates for a project. Set {PROJECTS} to the ids of one project in each region.",
            provider=NAME, operation="prices", code="no-key",
        )  # fmt: skip
    return found


def _shape(platform: str, memory_gb: int, preset: Any) -> Shape:
    card = _HOST.sub("", platform.removeprefix("gpu-"))
    known = one_accelerator(card.replace("-", " "), float(memory_gb) if memory_gb else None)
    return Shape(
        instance=f"{platform}_{preset.name}"[:120],
        accelerator_id=known,
        accelerator_name=card.upper()[:80],
        count=count_of(int(preset.resources.gpu_count)),
        accelerator_memory_gib=None if known else size(int(memory_gb)),
        vcpus=size(int(preset.resources.vcpu_count)),
        memory_gib=size(int(preset.resources.memory_gibibytes)),
    )


__all__ = ["PROJECTS", "TOKEN", "NebiusPrices"]
