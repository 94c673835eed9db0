"""Killed at any edge, nothing is left on Google Cloud: the real SDK on the fake, whose listings lag by 8 s."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from cloudaccel.protocols import Provider
from cloudaccel.provision.values import Candidate, Limits
from cloudaccel.testing.crashes import LEASE_S, CrashContract, Fuse, Killed, VirtualClock, spec_for
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

    def test_u95_the_cap_of_a_run_holds_over_all_of_its_attempts(self, tmp_path: Path) -> None:
        """Machines of a killed process cost the whole of --max-total, and the next process had it once more."""
        hourly = self.candidate().request_price_per_hour
        assert hourly is not None
        limits = Limits(max_total=hourly * 2)
        spec = spec_for([self.candidate()], limits=limits)
        world = self.world(tmp_path)
        with pytest.raises(Killed):
            world.up(spec, Fuse(after="create"))
        self.clock.sleep(3 * LEASE_S)
        assert not self._machines()  # they have ended themselves
        outcome = world.up(spec)
        assert outcome.exit_code == 10, outcome.reason
        assert "had before" in outcome.reason
        assert not self.live()

    def test_what_was_begun_and_should_have_ended_by_now_is_begun_anew(self, tmp_path: Path) -> None:
        """The old request, sent again, is refused for its deadline, and the run would have failed with that."""
        world = self.world(tmp_path)
        with pytest.raises(Killed):
            world.up(spec_for([self.candidate()]), Fuse(after="sending"))
        self.clock.sleep(2 * LEASE_S)
        outcome = world.up(spec_for([self.candidate()]))
        assert outcome.exit_code == 0, outcome.reason
        assert len(self._machines()) == 2
        assert not world.down()

    def candidate(self) -> Candidate:
        return Candidate(
            provider="gcp", partition="gcp", region="us-central1", zone=None, instance="g2-standard-4",
            accelerator_id="nvidia-l4-24gb", accelerator_count="1", nodes=2, market="on_demand",
            price_per_hour=Decimal("0.70"), currency="USD", price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip

    def live(self) -> list[tuple[str, str]]:
        return [(thing["kind"], thing["id"]) for thing in self.fake.live()]
