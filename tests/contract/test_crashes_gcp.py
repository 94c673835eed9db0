"""Killed at any edge, nothing is left on Google Cloud: the real SDK against the fake, whose listings lag by 8 s."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

import pytest

from cloudaccel.protocols import Provider
from cloudaccel.provision.values import Candidate
from cloudaccel.testing.crashes import CrashContract, VirtualClock

if TYPE_CHECKING:
    from cloudaccel_gcp.fake import FakeGcp


@pytest.mark.network
class TestGcpCrashes(CrashContract):
    """A fresh fake on loopback."""

    fake: "FakeGcp"
    adapter: Provider | None = None
    edges: ClassVar = {"up": 18, "down": 24}

    @pytest.fixture(autouse=True)
    def _cloud(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for module in ("google.cloud.compute_v1", "sqlalchemy"):
            pytest.importorskip(module)
        from cloudaccel_gcp.fake import FakeGcp, Server

        self.clock = VirtualClock()
        self.fake = FakeGcp(lag_s=8, now=self.clock.now)
        with Server(self.fake) as server:
            monkeypatch.setenv("CLOUDACCEL_GCP_ENDPOINT", server.url)
            monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
            yield

    def provider(self) -> Provider:
        from cloudaccel_gcp import provider

        if self.adapter is None:  # clients take a while to make, and keep nothing between calls
            self.adapter = provider()
        return self.adapter

    def candidate(self) -> Candidate:
        return Candidate(
            provider="gcp", partition="gcp", region="us-central1", zone=None, instance="g2-standard-4",
            accelerator_id="nvidia-l4-24gb", accelerator_count="1", nodes=2, market="on_demand",
            price_per_hour=Decimal("0.70"), currency="USD", price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip

    def live(self) -> list[tuple[str, str]]:
        return [(thing["kind"], thing["id"]) for thing in self.fake.live()]
