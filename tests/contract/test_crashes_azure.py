"""Killed at any edge, nothing is left on Azure: the real SDK on the fake, whose listings lag by 8 seconds."""

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
    from cloudaccel_azure.fake import FakeAzure


@pytest.mark.network
class TestAzureCrashes(CrashContract):
    """A fresh fake in this process."""

    fake: "FakeAzure"
    adapter: Provider
    edges: ClassVar = {"up": 18, "down": 33}

    @pytest.fixture(autouse=True)
    def _cloud(self) -> None:
        for module in ("azure.mgmt.compute", "azure.mgmt.network", "sqlalchemy"):
            pytest.importorskip(module)
        self.clock = VirtualClock()
        cloud = simulated("azure", self.clock)
        cloud.fake.lag_s = 8
        self.fake, self.adapter = cloud.fake, cloud.provider

    def test_u95_what_a_read_does_not_show_yet_is_not_gone(self, tmp_path: Path) -> None:
        """A machine that could not be read yet was taken for one that Azure had refused: it ran on, known to nobody."""
        world = self.world(tmp_path)
        self.fake.read_lag_s = 4
        outcome = world.up(spec_for([self.candidate()]))
        assert outcome.exit_code == 0, outcome.reason
        assert len(self._machines()) == 2
        assert not world.down()
        assert not self.live()

    def test_u95_machines_of_a_gang_that_failed_are_ended_though_no_read_shows_them_yet(self, tmp_path: Path) -> None:
        """The first was made and the second refused: that the first could not be read was taken for its end."""
        from cloudaccel_azure.fake import Fault

        world = self.world(tmp_path)
        self.fake.read_lag_s = 4
        self.fake.faults.append(Fault("PUT virtualMachines", code="", lost=True))
        self.fake.faults.append(Fault("PUT virtualMachines", code="AuthorizationFailed", status=403, times=99))
        assert world.up(spec_for([self.candidate()])).exit_code != 0
        assert not world.down()
        assert not self.live()

    def test_u95_a_security_group_goes_when_the_availability_set_is_refused(self, tmp_path: Path) -> None:
        """Groups half made were reported as none, and the first of them stayed."""
        from cloudaccel_azure.fake import Fault

        world = self.world(tmp_path)
        self.fake.read_lag_s = 4
        self.fake.faults.append(Fault("PUT availabilitySets", code="AuthorizationFailed", status=403, times=99))
        near = replace(self.candidate(), instance="Standard_ND96isr_H100_v5")
        assert world.up(spec_for([near])).exit_code == 7
        assert not self.live()

    def provider(self) -> Provider:
        return self.adapter

    def candidate(self) -> Candidate:
        return Candidate(
            provider="azure", partition="azure", region="eastus", zone=None, instance="Standard_NC4as_T4_v3",
            accelerator_id="nvidia-t4-16gb", accelerator_count="1", nodes=2, market="on_demand",
            price_per_hour=Decimal("0.526"), currency="USD", price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip

    def live(self) -> list[tuple[str, str]]:
        return [("machine" if kind == "virtualMachines" else kind, name) for kind, name in self.fake.live()]
