"""Random interleavings of starts, ends, sweeps, crashes, faults, lag and time: what must hold after each of them.

``CLOUDACCEL_TEST_EXAMPLES=500 pytest tests/property/test_provision.py`` looks deeper than the usual run does.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

for module in ("sqlalchemy", "boto3", "moto", "azure.mgmt.compute", "azure.mgmt.network", "google.cloud.compute_v1"):
    pytest.importorskip(module)

from cloudaccel.provision.money import hours  # noqa: E402 - after the skips
from cloudaccel.provision.values import OVER, Limits  # noqa: E402
from cloudaccel.testing.crashes import BETWEEN_S, LEASE_S, Fuse, Killed, VirtualClock, open_world, spec_for  # noqa: E402
from tests.clouds import ENDINGS_S, READ_LAGS_S, Simulated, simulated  # noqa: E402

pytestmark = [pytest.mark.network, pytest.mark.slow]  # importing the SDKs tries a socket

EXAMPLES = int(os.environ.get("CLOUDACCEL_TEST_EXAMPLES", "0"))
HOURS_PAID = Decimal(2)  # of all machines: what `max_total` allows for
_FUSES = st.none() | st.integers(min_value=0, max_value=40)
_TIMES = st.sampled_from((1, 2, 9))


@cache
def _account(name: str) -> Simulated:
    """One for all examples: the clients of an SDK take a while to make."""
    return simulated(name, VirtualClock())


class Provisioning(RuleBasedStateMachine):
    """One installation and one account; each rule is a process of its own, or something that happens to the cloud."""

    name: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.cloud = _account(self.name)
        self.clock = self.cloud.clock
        self.clock.sleep(BETWEEN_S)
        self.cloud.empty()
        self.cloud.fake.faults.clear()
        self.cloud.fake.calls.clear()
        self.folder = Path(tempfile.mkdtemp())
        self.world = open_world(self.folder, self.cloud.provider, self.clock)

    @initialize(lag=st.data())
    def begin(self, lag: Any) -> None:
        """Listings and endings are slow from the start, or not."""
        self._slow(lag)

    # -- processes ----------------------------------------------------------------------------------------------------

    @rule(nodes=st.sampled_from((1, 2)), spot=st.booleans(), again=st.booleans(), first=st.integers(0, 1), fuse=_FUSES)
    def up(self, nodes: int, spot: bool, again: bool, first: int, fuse: int | None) -> None:
        """Start two kinds of request in either order of two places, or go on with one; some are to be restarted."""
        places = (self.cloud.places[first], self.cloud.places[-1 - first])
        candidates = [self.cloud.candidate(place, nodes, "spot" if spot else "on_demand") for place in places]
        limits = Limits(max_total=self.cloud.price_per_hour * nodes * HOURS_PAID)
        spec = replace(spec_for(candidates, limits=limits), asked="up")
        if again:
            spec = replace(spec, options=replace(spec.options, on_interruption="restart"))
        with suppress(Killed):
            self.world.up(spec, _fuse(fuse))

    @rule(fuse=_FUSES)
    def down(self, fuse: int | None) -> None:
        """End all."""
        with suppress(Killed):
            self.world.down(_fuse(fuse))

    @rule(fuse=_FUSES)
    def reap(self, fuse: int | None) -> None:
        """Sweep."""
        with suppress(Killed):
            self.world.reap(_fuse(fuse))

    @rule(fuse=_FUSES)
    def watch(self, fuse: int | None) -> None:
        """One look of the scheduler."""
        with suppress(Killed):
            self.world.watch(_fuse(fuse))

    @rule(minutes=st.sampled_from((10, 50, 90)), fuse=_FUSES)
    def extend(self, minutes: int, fuse: int | None) -> None:
        """Every run that runs is wanted for longer."""
        with suppress(Killed):
            self.world.extend(minutes * 60.0, _fuse(fuse))

    # -- the cloud ----------------------------------------------------------------------------------------------------

    @rule(data=st.data(), times=_TIMES)
    def refuse(self, data: Any, times: int) -> None:
        """Some call fails the next times."""
        self.cloud.fake.faults.append(self.cloud.fault(**data.draw(st.sampled_from(self.cloud.refusals)), times=times))

    @rule(data=st.data(), times=_TIMES)
    def lose(self, data: Any, times: int) -> None:
        """Some answer is lost the next times."""
        action = data.draw(st.sampled_from(self.cloud.lost))
        self.cloud.fake.faults.append(self.cloud.fault(action=action, lost=True, times=times))

    @rule(data=st.data())
    def take_back(self, data: Any) -> None:
        """The cloud ends a machine."""
        machines = sorted(self.cloud.machines())
        if machines:
            self.cloud.take_back(data.draw(st.sampled_from(machines)))

    @rule()
    def mend(self) -> None:
        """All works again."""
        self.cloud.fake.faults.clear()

    @rule(data=st.data())
    def lag(self, data: Any) -> None:
        """Listings and endings take another time from now on."""
        self._slow(data)

    @rule(seconds=st.sampled_from((1.0, 30.0, 400.0, LEASE_S / 2, LEASE_S, 2 * LEASE_S)))
    def wait(self, seconds: float) -> None:
        """Nothing happens for a while."""
        self.clock.sleep(seconds)

    # -- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_lives_that_nobody_will_end(self) -> None:
        """What exists is live in the journal, or is of a run that is not over: whoever ends or sweeps finds it."""
        journal = self.world.journal()
        known = {(thing.kind, thing.id) for thing in journal.resources(live=True)}
        coming = {run.id for run in journal.runs() if run.state not in OVER}
        lost = [t for t in self.cloud.things() if (t.kind, t.id) not in known and t.run not in coming]
        assert not lost, lost

    @invariant()
    def no_run_costs_more_than_it_may(self) -> None:
        """Also when nobody looks: the machines end themselves. Azure's do not, and are started only where that is
        accepted."""
        if not self.cloud.ends_machines:
            return
        runs = self.world.journal().runs()
        for run in runs:
            limit = run.spec.limits.max_total
            assert limit is not None
            seconds = self.cloud.lived_s(run.id) + sum(
                self.cloud.lived_s(other.id) for other in runs if other.spec.restart_of == run.id
            )
            assert self.cloud.price_per_hour * hours(seconds) <= limit, (run.id, seconds)

    @invariant()
    def a_run_is_restarted_as_one(self) -> None:
        """Whatever dies in between, never as two that run."""
        runs = self.world.journal().runs(states=("verifying", "ready"))
        again = [run.spec.restart_of for run in runs if run.spec.restart_of]
        assert len(again) == len(set(again)), again

    def teardown(self) -> None:
        """Left alone, one process takes all down, and a sweep finds nothing more."""
        try:
            self.cloud.fake.faults.clear()
            assert not self.world.down()
            self.clock.sleep(BETWEEN_S)
            assert not self.world.reap()
            assert not self.cloud.things()
        finally:
            self.world.close()
            shutil.rmtree(self.folder)

    def _slow(self, data: Any) -> None:
        fake = self.cloud.fake
        fake.lag_s = data.draw(st.sampled_from(self.cloud.lags_s))
        fake.ending_s = data.draw(st.sampled_from(ENDINGS_S))
        if self.name == "azure":
            fake.read_lag_s = data.draw(st.sampled_from(READ_LAGS_S))


def _fuse(at: int | None) -> Fuse | None:
    return None if at is None else Fuse(at)


class _Aws(Provisioning):
    name = "aws"


class _Azure(Provisioning):
    name = "azure"


class _Gcp(Provisioning):
    name = "gcp"


TestAws = _Aws.TestCase
TestAws.settings = settings(max_examples=EXAMPLES or 7, stateful_step_count=12)
TestAzure = _Azure.TestCase
TestAzure.settings = settings(max_examples=EXAMPLES or 15, stateful_step_count=15)
TestGcp = _Gcp.TestCase
TestGcp.settings = settings(max_examples=EXAMPLES or 15, stateful_step_count=15)
