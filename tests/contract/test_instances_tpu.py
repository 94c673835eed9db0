"""TPU slices pass the suite of every cloud's machines, through the real SDK against the fake."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cloudaccel.errors import (
    AuthError,
    CapacityUnavailable,
    InstanceNotFound,
    RequestInvalid,
)
from cloudaccel.protocols import InstanceRequest, Instances
from cloudaccel.testing.instances import InstancesContract
from tests.loopback import on_loopback
from tests.one_clock import OneClock

if TYPE_CHECKING:
    from cloudaccel_gcp.fake import FakeGcp


@pytest.mark.network
class TestTpuInstances(InstancesContract):
    """A fresh fake on loopback. An ending takes a moment, as it does there: the slices of one request end together."""

    fake: "FakeGcp"

    @pytest.fixture(autouse=True)
    def _cloud(self, monkeypatch: pytest.MonkeyPatch, clock: OneClock) -> Iterator[None]:
        with on_loopback("gcp", monkeypatch, now=clock.now, ending_s=0.5) as self.fake:
            yield

    def instances(self) -> Instances:
        from cloudaccel_gcp import provider

        found = provider().instances
        assert found is not None
        return found

    def request(self) -> InstanceRequest:
        return InstanceRequest(
            token=str(uuid.uuid5(uuid.NAMESPACE_OID, "contract")), name="contract", provider="gcp",
            region="us-central1", zone="us-central1-a", instance_type="v5litepod-8", count=2,
            deadline=datetime.now(UTC) + timedelta(hours=1), accept_no_deadline=True,
            tags={"cloudaccel-install": "contract", "cloudaccel-run": "contract"},
        )  # fmt: skip

    def fault(self, kind: str) -> None:
        from cloudaccel_gcp.fake import Fault

        said = {"quota": "Quota limit 'TPUV5sLitepodPerProjectPerZone' has been exceeded. Limit: 0 in zone."}
        self.fake.faults.append(
            Fault(
                "queuedResources.create", code="" if kind == "lost" else "RESOURCE_EXHAUSTED", lost=kind == "lost",
                message=said.get(kind, "There is no more capacity in the zone"), in_operation=kind != "lost",
            )
        )  # fmt: skip

    def test_what_waits_in_the_queue_is_pending_and_ends_when_it_is_asked_to(self) -> None:
        """A request that waits was taken for nothing; it would have started, and billed, hours later."""
        self.fake.tpu.capacity["v5litepod-8", "us-central1-a"] = 0
        cloud = self.instances()
        made = cloud.create(self._ready(cloud))
        assert {cloud.get(m.id, region=m.region).state for m in made} == {"pending"}
        assert len(self._live(cloud, self.request())) == 2
        cloud.delete(made[0].id, region="us-central1")
        self.fake.advance(1)
        assert not self.fake.live()

    def test_a_request_that_expired_says_so_and_costs_nothing(self) -> None:
        self.fake.tpu.capacity["v5litepod-8", "us-central1-a"] = 0
        cloud = self.instances()
        made = cloud.create(self._ready(cloud))
        self.fake.advance(3600)
        machine = cloud.get(made[0].id, region="us-central1")
        assert machine.state == "stopped"
        assert "no capacity in time" in machine.reason
        (one, _) = cloud.resources(tags=self.request().tags, region="us-central1")
        assert not one.bills

    def test_a_slice_that_is_taken_back_is_told_from_one_that_was_ended(self) -> None:
        cloud = self.instances()
        made = cloud.create(self._ready(cloud, replace(self.request(), market="spot")))
        assert not cloud.get(made[0].id, region="us-central1").interrupted
        self.fake.interrupt(made[0].id)
        machine = cloud.get(made[0].id, region="us-central1")
        assert machine.interrupted
        assert machine.market == "spot"

    def test_a_node_that_outlives_its_request_is_found_and_ended(self) -> None:
        """That the queued resource was gone would have been taken for the end of the slices."""
        cloud = self.instances()
        made = cloud.create(self._ready(cloud))
        self.fake.tpu.queued.clear()
        assert cloud.get(made[0].id, region="us-central1").state == "running"
        assert len(self._live(cloud, self.request())) == 2
        for machine in made:
            cloud.delete(machine.id, region="us-central1")
            with pytest.raises(InstanceNotFound):
                cloud.get(machine.id, region="us-central1")

    def test_what_cannot_be_had_is_said_before_anything_is_sent(self) -> None:
        cloud = self.instances()
        for change, error in (
            ({"instance_type": "v5litepod-3"}, CapacityUnavailable), ({"image": "v9"}, RequestInvalid),
            ({"instance_type": "v7x-8"}, RequestInvalid), ({"reservation_id": "r"}, RequestInvalid),
            ({"disk_gib": 500}, RequestInvalid), ({"market": "capacity_block"}, RequestInvalid),
        ):  # fmt: skip
            with pytest.raises(error):
                cloud.settle(replace(self.request(), **change))
        assert not [c for c in self.fake.calls if c.action.endswith("create")]

    def test_a_project_without_the_tpu_api_has_no_slices_and_loses_nothing_else(self) -> None:
        """Whoever never used TPUs could not have ended a GPU machine any more."""
        self.fake.tpu.off = True
        cloud = self.instances()
        assert not cloud.zones("v5litepod-8", "us-central1")
        assert not list(cloud.resources(tags={"cloudaccel-managed": "*"}, region="us-central1"))

    def test_a_sweep_that_may_not_list_slices_says_so(self) -> None:
        """ "Nothing is left over" would have been said of what nobody was allowed to look at."""
        from cloudaccel_gcp.fake import Fault

        self.fake.faults.append(Fault("locations.list", code="PERMISSION_DENIED", status=403, times=9))
        cloud = self.instances()
        assert not list(cloud.resources(tags=self.request().tags, region="us-central1")), "a run made none"
        with pytest.raises(AuthError):
            list(cloud.resources(tags={"cloudaccel-managed": "true"}, region="us-central1"))
