"""Killed at any edge, nothing is left on EC2: the real SDK against the fake, whose listings lag by 8 seconds."""

import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cloudaccel.protocols import Provider
from cloudaccel.provision.values import Candidate
from cloudaccel.testing.crashes import CrashContract, VirtualClock

if TYPE_CHECKING:
    from cloudaccel_aws.fake import FakeAws


@pytest.mark.network
class TestAwsCrashes(CrashContract):
    """The fake on loopback, emptied before each test."""

    fake: "FakeAws"
    adapter: Provider | None = None

    @pytest.fixture(autouse=True)
    def _cloud(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for module in ("boto3", "moto", "sqlalchemy"):
            pytest.importorskip(module)
        from cloudaccel_aws.fake import FakeAws, Server

        self.clock = VirtualClock()
        self.fake = FakeAws(lag_s=8, monotonic=self.clock.seconds)
        with Server(self.fake) as server:
            reset = urllib.request.Request(f"{server.url}/moto-api/reset", method="POST")  # noqa: S310 - our own server
            urllib.request.urlopen(reset).close()  # noqa: S310
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY000000")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret-value")
            yield

    def provider(self) -> Provider:
        from cloudaccel_aws import provider

        if self.adapter is None:  # a client takes 50 ms to make, and keeps nothing between calls
            self.adapter = provider()
        return self.adapter

    def candidate(self) -> Candidate:
        return Candidate(
            provider="aws", partition="aws", region="us-east-1", zone="us-east-1a", instance="g5.xlarge",
            accelerator_id="nvidia-a10g-24gb", accelerator_count="1", nodes=2, market="on_demand",
            price_per_hour=Decimal("1.006"), currency="USD", price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip

    def live(self) -> list[tuple[str, str]]:
        return [(thing["kind"], thing["id"]) for thing in self.fake.live()]
