"""Azure machines pass the suite of every cloud, through the real SDK against the fake."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cloudaccel.protocols import InstanceRequest, Instances
from cloudaccel.testing.instances import InstancesContract
from tests.loopback import on_loopback
from tests.one_clock import OneClock

if TYPE_CHECKING:
    from cloudaccel_azure.fake import FakeAzure


@pytest.mark.network
class TestAzureInstances(InstancesContract):
    """A fresh fake on loopback."""

    fake: "FakeAzure"

    @pytest.fixture(autouse=True)
    def _cloud(self, monkeypatch: pytest.MonkeyPatch, clock: OneClock) -> Iterator[None]:
        with on_loopback("azure", monkeypatch, now=clock.now) as self.fake:
            yield

    def instances(self) -> Instances:
        from cloudaccel_azure import provider

        found = provider().instances
        assert found is not None
        return found

    def request(self) -> InstanceRequest:
        return InstanceRequest(
            token="contract-token-1",  # noqa: S106 - an idempotency token, no secret
            name="contract",
            provider="azure",
            region="eastus",
            zone="eastus-1",
            instance_type="Standard_NC4as_T4_v3",
            count=2,
            deadline=datetime.now(UTC) + timedelta(hours=1),
            tags={"cloudaccel-install": "contract", "cloudaccel-run": "contract"},
            accept_no_deadline=True,
        )

    def fault(self, kind: str) -> None:
        from cloudaccel_azure.fake import Fault

        code, message = {
            "capacity": ("ZonalAllocationFailed", "no room"),
            "quota": ("OperationNotAllowed", "exceeding approved Cores quota"),
            "lost": ("", ""),
        }[kind]
        later = kind == "capacity"  # decided after the call was taken, as there
        self.fake.faults.append(
            Fault("PUT virtualMachines", code=code, message=message, lost=kind == "lost", later=later)
        )
