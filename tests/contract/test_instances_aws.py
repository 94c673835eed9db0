"""EC2 passes the suite of every cloud, through the real SDK against the fake."""

import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cloudaccel.protocols import InstanceRequest, Instances
from cloudaccel.testing.instances import InstancesContract

if TYPE_CHECKING:
    from cloudaccel_aws.fake import FakeAws


@pytest.mark.network
class TestAwsInstances(InstancesContract):
    """The fake on loopback, emptied before each test."""

    fake: "FakeAws"

    @pytest.fixture(autouse=True)
    def _cloud(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for module in ("boto3", "moto"):
            pytest.importorskip(module)
        from cloudaccel_aws.fake import FakeAws, Server

        self.fake = FakeAws()
        with Server(self.fake) as server:
            reset = urllib.request.Request(f"{server.url}/moto-api/reset", method="POST")  # noqa: S310 - our own server
            urllib.request.urlopen(reset).close()  # noqa: S310
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY000000")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret-value")
            yield

    def instances(self) -> Instances:
        from cloudaccel_aws import provider

        found = provider().instances
        assert found is not None
        return found

    def request(self) -> InstanceRequest:
        return InstanceRequest(
            token="contract-token-1",  # noqa: S106 - an idempotency token, no secret
            name="contract",
            provider="aws",
            region="us-east-1",
            zone="us-east-1a",
            instance_type="g5.xlarge",
            count=2,
            deadline=datetime.now(UTC) + timedelta(hours=1),
            tags={"cloudaccel-install": "contract", "cloudaccel-run": "contract"},
        )

    def fault(self, kind: str) -> None:
        from cloudaccel_aws.fake import Fault

        codes = {"capacity": "InsufficientInstanceCapacity", "quota": "VcpuLimitExceeded", "lost": ""}
        self.fake.faults.append(Fault("RunInstances", code=codes[kind], lost=kind == "lost"))
