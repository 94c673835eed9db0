"""EC2 passes the suite of every cloud, through the real SDK against the fake."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cloudaccel.protocols import InstanceRequest, Instances
from cloudaccel.testing.instances import InstancesContract
from tests.loopback import on_loopback
from tests.one_clock import OneClock

if TYPE_CHECKING:
    from cloudaccel_aws.fake import FakeAws


@pytest.mark.network
class TestAwsInstances(InstancesContract):
    """The fake on loopback, emptied before each test."""

    fake: "FakeAws"

    @pytest.fixture(autouse=True)
    def _cloud(self, monkeypatch: pytest.MonkeyPatch, clock: OneClock) -> Iterator[None]:
        with on_loopback("aws", monkeypatch, now=clock.now) as self.fake:
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
