"""What crashes leave behind: ``python -m tests.benchmarks.orphans --histories 10000 --jobs 2``. Goal: nothing.

One history is one account and one installation: processes that start, end or sweep, each killed at a random edge (a
write of the journal, before or after a call that changes the cloud), with random listing lag, slow endings, lost
answers, refusals and pauses. Then one process is left alone: it takes everything down, or starts it again and then
takes it down, or sweeps after the lease. The real SDK runs on the fake in this process, under a clock of its own.
A history follows from its number, so that one that fails can be run alone: ``--first 4711 --histories 1``.

An orphan is anything that the fake still has when that process says that all is gone.
"""

import argparse
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from cloudaccel.provision.identity import TAG_RUN
from cloudaccel.provision.values import OVER, Candidate, Spec
from cloudaccel.testing.crashes import BETWEEN_S, LEASE_S, Fuse, Killed, VirtualClock, World, open_world, spec_for

LAGS_S = (0.0, 8.0, 60.0, 240.0)  # below the 300 s for which the adapter believes no listing
ENDINGS_S = (0.0, 40.0)
PAUSES_S = (0.0, 1.0, 30.0, 900.0)
PLACES = (("us-east-1", "us-east-1a"), ("us-east-1", "us-east-1b"), ("us-west-2", "us-west-2a"))
MOST_CRASHES = 3
EDGES = {"up": 45, "down": 45, "reap": 45}  # about as many as an undisturbed one has; a fuse beyond kills nobody
HISTORIES_PER_JOURNAL = 50  # then a new installation, so that the journal stays small
_REFUSALS = (
    ("RunInstances", "InsufficientInstanceCapacity", 500),
    ("RunInstances", "VcpuLimitExceeded", 400),
    ("RunInstances", "RequestLimitExceeded", 503),
    ("RunInstances", "InternalError", 500),
    ("RunInstances", "UnauthorizedOperation", 403),
    ("CreateSecurityGroup", "UnauthorizedOperation", 403),
    ("AuthorizeSecurityGroupIngress", "UnauthorizedOperation", 403),
    ("CreatePlacementGroup", "UnauthorizedOperation", 403),
    ("TerminateInstances", "InternalError", 500),
    ("DescribeInstances", "RequestLimitExceeded", 503),
)
_LOST = (
    "RunInstances", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "CreatePlacementGroup",
    "TerminateInstances", "DeleteSecurityGroup", "DeletePlacementGroup",
)  # fmt: skip


@dataclass
class Count:
    """What came of some histories. `bad`: number of the history and what was wrong with it."""

    histories: int = 0
    crashes: int = 0
    machines: int = 0
    orphans: int = 0
    bad: list[str] = field(default_factory=list[str])

    def add(self, other: "Count") -> None:
        """Both together."""
        self.histories += other.histories
        self.crashes += other.crashes
        self.machines += other.machines
        self.orphans += other.orphans
        self.bad += other.bad


class Account:
    """An account on the fake, and installations that use it one after the other."""

    def __init__(self, folder: Path) -> None:
        from cloudaccel_aws import AwsProvider
        from cloudaccel_aws.fake import FakeAws

        self.folder = folder
        self.clock = VirtualClock()
        self.fake = FakeAws(monotonic=self.clock.seconds)
        self.fake.forget()
        self.provider = AwsProvider(session=self.fake.session())
        self._number = 0
        self._world: World | None = None

    def world(self) -> World:
        """The installation of the next history; the account is empty, and nobody remembers the last one."""
        self.clock.sleep(BETWEEN_S)
        self.fake.faults.clear()
        self.fake.calls.clear()
        if self.fake.live():
            self.fake.forget()
            self._world = None
        if self._world is None or self._number % HISTORIES_PER_JOURNAL == 0:
            self._world = open_world(self.folder, self.provider, self.clock, seed=self._number)
        self._number += 1
        return self._world

    def machines(self) -> dict[str, str]:
        """Machines that live, and the runs in their tags."""
        machines = [thing for thing in self.fake.live() if thing["kind"] == "machine"]
        return {str(thing["id"]): thing["tags"].get(TAG_RUN, "") for thing in machines}


def history(number: int, account: Account) -> Count:
    """One history."""
    rng = random.Random(number)  # noqa: S311 - a simulation
    world = account.world()
    account.fake.lag_s, account.fake.ending_s = rng.choice(LAGS_S), rng.choice(ENDINGS_S)
    spec = _spec(rng)
    count = Count(histories=1)
    steps = ["up", *(rng.choice(("up", "down", "reap")) for _ in range(rng.randrange(MOST_CRASHES)))]
    for step in steps:
        account.fake.faults[:] = _faults(rng)
        try:
            _do(world, step, spec, Fuse(rng.randrange(EDGES[step])))
        except Killed:
            count.crashes += 1
        account.clock.sleep(rng.choice(PAUSES_S))
    account.fake.faults.clear()
    before = len(account.machines())
    problem = _recover(rng.choice(("down", "up", "reap")), world, spec, account)
    count.machines = max(before, len(account.machines()))
    left = account.fake.live()
    count.orphans = len(left)
    if left or problem:
        things = ", ".join(f"{thing['kind']} {thing['id']}" for thing in left)
        count.bad.append(f"history {number} ({' '.join(steps)}): {problem} left: {things or 'nothing'}")
    return count


def _recover(way: str, world: World, spec: Spec, account: Account) -> str:
    """What the last process does, undisturbed. What is wrong with it, if anything."""
    if way == "reap":
        account.clock.sleep(LEASE_S)
        left = world.reap()
        return f"reap could not prove {left}." if left else ""
    if way == "up":
        account.clock.sleep(BETWEEN_S)  # blocks are over
        outcome = world.up(spec)
        open_runs = {run.id for run in world.journal().runs() if run.state not in OVER}
        unknown = [i for i, run in account.machines().items() if run not in open_runs]
        if outcome.exit_code or unknown:
            return f"up again: exit {outcome.exit_code}, {unknown or 'none'} that no open run has."
    left = world.down()
    return f"down could not prove {left}." if left else ""


def _do(world: World, step: str, spec: Spec, fuse: Fuse) -> None:
    if step == "up":
        world.up(spec, fuse)
    elif step == "down":
        world.down(fuse)
    else:
        world.reap(fuse)


def _spec(rng: random.Random) -> Spec:
    nodes = rng.choice((1, 2, 2, 4))
    market = rng.choice(("on_demand", "on_demand", "spot"))
    places = [
        Candidate(
            provider="aws", partition="aws", region=region, zone=zone, instance="g5.xlarge", accelerator_id=None,
            accelerator_count=None, nodes=nodes, market=market, price_per_hour=Decimal("1.006"), currency="USD",
            price_as_of=None, offer_id="", catalog_id="",
        )
        for region, zone in rng.sample(PLACES, 2)
    ]  # fmt: skip
    return spec_for(places)


def _faults(rng: random.Random) -> list[Any]:
    from cloudaccel_aws.fake import Fault

    faults: list[Any] = []
    if rng.random() < 0.4:
        action, code, status = rng.choice(_REFUSALS)
        faults.append(Fault(action, code=code, status=status, times=rng.choice((1, 2, 9))))
    if rng.random() < 0.4:
        faults.append(Fault(rng.choice(_LOST), lost=True, times=rng.choice((1, 2, 9))))
    return faults


# -- running them ------------------------------------------------------------------------------------------------------


def run(numbers: Sequence[int]) -> Count:
    """All of `numbers`, one after the other."""
    count = Count()
    with _folder() as folder:
        account = Account(folder)
        for number in numbers:
            count.add(history(number, account))
    return count


@contextmanager
def _folder() -> Generator[Path]:
    """For journals: in memory where the system has such a place."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.orphans", description=__doc__)
    parser.add_argument("--histories", type=int, default=1000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first one")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    a = parser.parse_args(argv)
    numbers = range(a.first, a.first + a.histories)
    parts = [numbers[i : i + 100] for i in range(0, len(numbers), 100)]
    began, total = time.monotonic(), Count()
    with multiprocessing.get_context("spawn").Pool(a.jobs) as pool:
        for part in pool.imap_unordered(run, parts):
            total.add(part)
            sys.stderr.write(f"\r{total.histories} histories, {total.orphans} orphans")
            sys.stderr.flush()
    sys.stderr.write("\n")
    for text in total.bad[:20]:
        print(text)
    per = 1000 * total.orphans / total.crashes if total.crashes else 0
    print(
        f"{total.histories:,} histories, {total.crashes:,} crashes, {total.machines:,} machines found again and ended, "
        f"{time.monotonic() - began:,.0f} s"
    )
    print(f"orphans {total.orphans}  per 1,000 crashes {per:.1f}  histories that ended wrong {len(total.bad)}")
    return 1 if total.bad else 0


if __name__ == "__main__":
    sys.exit(main())
