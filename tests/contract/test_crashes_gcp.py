"""Killed at any edge, nothing is left on Google Cloud: the real SDK on the fake, whose listings lag by 8 s."""

from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

import pytest

from cloudaccel.protocols import Provider
from cloudaccel.provision.values import Candidate
from cloudaccel.testing.crashes import CrashContract, VirtualClock
from tests.clouds import simulated

if TYPE_CHECKING:
    from cloudaccel_gcp.fake import FakeGcp


@pytest.mark.network
class TestGcpCrashes(CrashContract):
    """A fresh fake in this process."""

    fake: "FakeGcp"
    adapter: Provider
    edges: ClassVar = {"up": 18, "down": 24}

    @pytest.fixture(autouse=True)
    def _cloud(self) -> None:
        for module in ("google.cloud.compute_v1", "sqlalchemy"):
            pytest.importorskip(module)
        self.clock = VirtualClock()
        cloud = simulated("gcp", self.clock)
        cloud.fake.lag_s = 8
        self.fake, self.adapter = cloud.fake, cloud.provider

    def provider(self) -> Provider:
        return self.adapter

    def candidate(self) -> Candidate:
        return Candidate(
            provider="gcp", partition="gcp", region="us-central1", zone=None, instance="g2-standard-4",
            accelerator_id="nvidia-l4-24gb", accelerator_count="1", nodes=2, market="on_demand",
            price_per_hour=Decimal("0.70"), currency="USD", price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip

    def live(self) -> list[tuple[str, str]]:
        return [(thing["kind"], thing["id"]) for thing in self.fake.live()]
