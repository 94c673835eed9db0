"""Killed at any edge, no slice and no request is left in the TPU API: the real SDK on the fake, with lag and queue."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from cloudaccel.protocols import Provider
from cloudaccel.provision.values import Candidate
from cloudaccel.testing.crashes import CrashContract, VirtualClock, spec_for
from tests.clouds import simulated

if TYPE_CHECKING:
    from cloudaccel_gcp.fake import FakeGcp


@pytest.mark.network
class TestTpuCrashes(CrashContract):
    """A fresh fake in this process. Requests wait for a minute, and take 20 s to end."""

    fake: "FakeGcp"
    adapter: Provider
    edges: ClassVar = {"up": 28, "down": 26}

    @pytest.fixture(autouse=True)
    def _cloud(self) -> None:
        for module in ("google.cloud.tpu_v2", "sqlalchemy"):
            pytest.importorskip(module)
        self.clock = VirtualClock()
        cloud = simulated("gcp", self.clock)
        cloud.fake.lag_s, cloud.fake.ending_s, cloud.fake.tpu.queue_s = 8, 20, 60
        self.fake, self.adapter = cloud.fake, cloud.provider

    def provider(self) -> Provider:
        return self.adapter

    def candidate(self) -> Candidate:
        return Candidate(
            provider="gcp", partition="gcp", region="us-central1", zone=None, instance="v5litepod-8",
            accelerator_id="google-tpu-v5e", accelerator_count="8", nodes=2, market="on_demand",
            price_per_hour=Decimal("9.60"), currency="USD", price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip

    def live(self) -> list[tuple[str, str]]:
        return [(thing["kind"], thing["id"]) for thing in self.fake.live()]

    def test_no_capacity_moves_to_the_next_zone_and_leaves_no_request_behind(self, tmp_path: Path) -> None:
        """A request left in the queue starts, and bills, when nobody thinks of it any more."""
        self.fake.tpu.capacity["v5litepod-8", "us-central1-a"] = 0
        world = self.world(tmp_path)
        outcome = world.up(spec_for([self.candidate()]))
        assert outcome.exit_code == 0, outcome.reason
        assert {zone for zone, _ in self.fake.tpu.queued} == {"us-central1-b"}
        assert [a.outcome for a in outcome.attempts] == ["capacity", "created"]
        assert not world.down()
        assert not self.live()

    def test_a_spot_slice_that_is_taken_back_is_ended_by_the_watch(self, tmp_path: Path) -> None:
        """A queued resource that was suspended stayed, and the run counted on."""
        world = self.world(tmp_path)
        assert world.up(spec_for([replace(self.candidate(), market="spot")])).exit_code == 0
        self.fake.interrupt(next(iter(self._machines())))
        world.watch()
        assert not self.live()
        (run,) = world.journal().runs()
        assert "interrupt" in run.note or run.state in ("deleted", "failed")
