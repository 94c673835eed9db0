"""Compute Engine passes the suite of every cloud, through the real SDK against the fake."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cloudaccel.protocols import InstanceRequest, Instances
from cloudaccel.testing.instances import InstancesContract
from tests.loopback import on_loopback
from tests.one_clock import OneClock

if TYPE_CHECKING:
    from cloudaccel_gcp.fake import FakeGcp


@pytest.mark.network
class TestGcpInstances(InstancesContract):
    """A fresh fake on loopback."""

    fake: "FakeGcp"

    @pytest.fixture(autouse=True)
    def _cloud(self, monkeypatch: pytest.MonkeyPatch, clock: OneClock) -> Iterator[None]:
        with on_loopback("gcp", monkeypatch, now=clock.now) as self.fake:
            yield

    def instances(self) -> Instances:
        from cloudaccel_gcp import provider

        found = provider().instances
        assert found is not None
        return found

    def request(self) -> InstanceRequest:
        return InstanceRequest(
            token=str(uuid.uuid5(uuid.NAMESPACE_OID, "contract")),  # request ids are uuids there
            name="contract",
            provider="gcp",
            region="us-central1",
            zone="us-central1-a",
            instance_type="g2-standard-4",
            count=2,
            deadline=datetime.now(UTC) + timedelta(hours=1),
            tags={"cloudaccel-install": "contract", "cloudaccel-run": "contract"},
        )

    def fault(self, kind: str) -> None:
        from cloudaccel_gcp.fake import Fault

        codes = {"capacity": "ZONE_RESOURCE_POOL_EXHAUSTED", "quota": "QUOTA_EXCEEDED", "lost": ""}
        self.fake.faults.append(
            Fault("instances.bulkInsert", code=codes[kind], lost=kind == "lost", in_operation=kind != "lost")
        )
