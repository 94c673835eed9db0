"""Killed at any edge, nothing is left on EC2: the real SDK on the fake, whose listings lag by 8 s."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudaccel.protocols import Provider
from cloudaccel.provision.values import Candidate
from cloudaccel.testing.crashes import LEASE_S, CrashContract, Fuse, Killed, VirtualClock, spec_for

if TYPE_CHECKING:
    from cloudaccel_aws.fake import FakeAws


@pytest.mark.network
class TestAwsCrashes(CrashContract):
    """The fake in this process, emptied before each test."""

    fake: "FakeAws"
    adapter: Provider

    @pytest.fixture(autouse=True)
    def _cloud(self) -> None:
        for module in ("boto3", "moto", "sqlalchemy"):
            pytest.importorskip(module)
        from cloudaccel_aws import AwsProvider
        from cloudaccel_aws.fake import FakeAws

        self.clock = VirtualClock()
        self.fake = FakeAws(lag_s=8, now=self.clock.now)
        self.fake.forget()  # the fake's machines are kept by moto, for the whole process
        # Clients take a while to make, and keep nothing between calls.
        self.adapter = AwsProvider(session=self.fake.session())

    def provider(self) -> Provider:
        return self.adapter

    def candidate(self) -> Candidate:
        return Candidate(
            provider="aws", partition="aws", region="us-east-1", zone="us-east-1a", instance="g5.xlarge",
            accelerator_id="nvidia-a10g-24gb", accelerator_count="1", nodes=2, market="on_demand",
            price_per_hour=Decimal("1.006"), currency="USD", price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip

    def live(self) -> list[tuple[str, str]]:
        return [(thing["kind"], thing["id"]) for thing in self.fake.live()]

    @pytest.mark.parametrize(
        "step", ["AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "CreatePlacementGroup"]
    )
    def test_groups_half_made_without_permission_are_gone_at_once(self, tmp_path: Path, step: str) -> None:
        """The listing does not show the group yet, and nothing else would remember that it was made."""
        world = self.world(tmp_path)
        self.fake.faults.append(self._fault(step, code="UnauthorizedOperation", status=403, times=99))
        assert world.up(spec_for([self.candidate()])).exit_code == 7
        assert not self.live()

    @pytest.mark.parametrize("step", ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "CreatePlacementGroup"])
    def test_groups_whose_answers_are_lost_are_found(self, tmp_path: Path, step: str) -> None:
        """Lost answers while the groups are made, until patience is over: all is gone, or said not to be proved so."""
        world = self.world(tmp_path)
        fault = self._fault(step, lost=True, times=999)
        self.fake.faults.append(fault)
        outcome = world.up(spec_for([self.candidate()]))
        assert outcome.exit_code == 11, outcome.reason
        fault.times = 0
        assert not world.down()
        assert not self.live()

    @pytest.mark.parametrize("lag_s", [8, 240])
    def test_u95_a_group_whose_answer_was_lost_is_found_though_making_it_is_refused_now(
        self, tmp_path: Path, lag_s: float
    ) -> None:
        """Nobody would believe in that group: no answer told of it, no listing shows it, and the replay is refused."""
        world = self.world(tmp_path)
        self.fake.lag_s = lag_s
        self.fake.faults.append(self._fault("CreateSecurityGroup", lost=True))
        self.fake.faults.append(
            self._fault("CreateSecurityGroup", code="UnauthorizedOperation", status=403, times=99)
        )  # fmt: skip
        outcome = world.up(spec_for([self.candidate()]))
        assert outcome.exit_code != 0
        assert not self.live()
        assert not outcome.may_bill

    def test_u95_a_killed_process_and_a_right_that_was_taken_away_leave_no_group(self, tmp_path: Path) -> None:
        """The group was made, its maker died, and whoever takes it down may make none: it is listed later."""
        world = self.world(tmp_path)
        self.fake.lag_s = 240
        with pytest.raises(Killed):
            world.up(spec_for([self.candidate()]), Fuse(after="prepare"))
        assert [kind for kind, _ in self.live() if kind == "security_group"]
        self.fake.faults.append(
            self._fault("CreateSecurityGroup", code="UnauthorizedOperation", status=403, times=99)
        )  # fmt: skip
        assert not world.down()
        assert not self.live()

    def test_u95_a_call_that_is_sent_again_is_looked_for_from_then_on(self, tmp_path: Path) -> None:
        """A second process sends the call long after it was meant, and dies. The listing lags: it seemed never made."""
        world = self.world(tmp_path)
        self.fake.lag_s = 240
        with pytest.raises(Killed):
            world.up(spec_for([self.candidate()]), Fuse(after="sending"))
        self.clock.sleep(1200)
        with pytest.raises(Killed):
            world.up(spec_for([self.candidate()]), Fuse(after="create"))
        assert len(self._machines()) == 2
        assert not world.down()
        assert not self.live()

    def test_what_was_begun_and_should_have_ended_by_now_is_begun_anew(self, tmp_path: Path) -> None:
        """The machines of an old request would switch themselves off at once, and be reported as started."""
        world = self.world(tmp_path)
        with pytest.raises(Killed):
            world.up(spec_for([self.candidate()]), Fuse(after="sending"))
        self.clock.sleep(2 * LEASE_S)
        outcome = world.up(spec_for([self.candidate()]))
        assert outcome.exit_code == 0, outcome.reason
        assert outcome.run.deadline_at is not None
        assert outcome.run.deadline_at > self.clock.now()
        assert len(self._machines()) == 2
        assert not world.down()

    def _fault(self, action: str, **values: Any) -> Any:
        from cloudaccel_aws.fake import Fault

        return Fault(action, **values)
