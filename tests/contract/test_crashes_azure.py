"""Killed at any edge, nothing is left on Azure: the real SDK against the fake, whose listings lag by 8 seconds."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

import pytest

from cloudaccel.protocols import Provider
from cloudaccel.provision.values import Candidate
from cloudaccel.testing.crashes import CrashContract, VirtualClock

if TYPE_CHECKING:
    from cloudaccel_azure.fake import FakeAzure


@pytest.mark.network
class TestAzureCrashes(CrashContract):
    """A fresh fake on loopback."""

    fake: "FakeAzure"
    adapter: Provider | None = None
    edges: ClassVar = {"up": 18, "down": 33}

    @pytest.fixture(autouse=True)
    def _cloud(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for module in ("azure.mgmt.compute", "azure.mgmt.network", "sqlalchemy"):
            pytest.importorskip(module)
        from cloudaccel_azure.fake import GROUP, SUBSCRIPTION, FakeAzure, Server

        self.clock = VirtualClock()
        self.fake = FakeAzure(lag_s=8, now=self.clock.now)
        with Server(self.fake) as server:
            monkeypatch.setenv("CLOUDACCEL_AZURE_ENDPOINT", server.url)
            monkeypatch.setenv("CLOUDACCEL_AZURE_RESOURCE_GROUP", GROUP)
            monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)
            yield

    def provider(self) -> Provider:
        from cloudaccel_azure import provider

        if self.adapter is None:  # clients take a while to make, and keep nothing between calls
            self.adapter = provider()
        return self.adapter

    def candidate(self) -> Candidate:
        return Candidate(
            provider="azure", partition="azure", region="eastus", zone=None, instance="Standard_NC4as_T4_v3",
            accelerator_id="nvidia-t4-16gb", accelerator_count="1", nodes=2, market="on_demand",
            price_per_hour=Decimal("0.526"), currency="USD", price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip

    def live(self) -> list[tuple[str, str]]:
        return [("machine" if kind == "virtualMachines" else kind, name) for kind, name in self.fake.live()]
