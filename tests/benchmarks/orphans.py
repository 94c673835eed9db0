"""What crashes leave behind: ``python -m tests.benchmarks.orphans --histories 10000 --jobs 2``. Goal: nothing.

One history is one account and one installation: processes that start, end, sweep or watch, each killed at a random edge
(a write of the journal, before or after a call that changes the cloud), with random listing lag, slow endings, lost
answers, refusals, pauses, and machines that the cloud takes back, which half of the runs want started again elsewhere.
Then one process is left alone: it takes everything down, or starts it again and then takes it down, or sweeps after the
lease, or watches at once and after the lease. The real SDK runs on the fake in this process, under a clock of its own.
A history follows from its number and its cloud, so that one that fails can be run alone:
``--cloud azure --first 4711 --histories 1``.

An orphan is anything that the fake still has when that process says that all is gone.
"""

import argparse
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cloudaccel.provision.values import ON_INTERRUPTION, OVER, Run, Spec
from cloudaccel.testing.crashes import BETWEEN_S, LEASE_S, Fuse, Killed, VirtualClock, World, open_world
from tests.clouds import NAMES, simulated

PAUSES_S = (0.0, 1.0, 30.0, 900.0)
MOST_CRASHES = 3
HISTORIES_PER_JOURNAL = 50  # then a new installation, so that the journal stays small
HISTORIES_PER_PART = 50  # that one process plays before it takes the next ones


@dataclass
class Count:
    """What came of some histories. `bad`: number of the history and what was wrong with it."""

    histories: int = 0
    crashes: int = 0
    machines: int = 0
    restarts: int = 0
    orphans: int = 0
    bad: list[str] = field(default_factory=list[str])

    def add(self, other: "Count") -> None:
        """Both together."""
        self.histories += other.histories
        self.crashes += other.crashes
        self.machines += other.machines
        self.restarts += other.restarts
        self.orphans += other.orphans
        self.bad += other.bad


class Account:
    """An account on the fake, and installations that use it one after the other."""

    def __init__(self, cloud: str, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.cloud = simulated(cloud, self.clock)
        self._number = 0
        self._world: World | None = None

    def world(self) -> World:
        """The installation of the next history; the account is empty, and nobody remembers the last one."""
        self.clock.sleep(BETWEEN_S)
        self.cloud.fake.faults.clear()
        self.cloud.fake.calls.clear()
        if self.cloud.things():
            self.cloud.empty()
            self.close()
        if self._world is None or self._number % HISTORIES_PER_JOURNAL == 0:
            self.cloud.empty()
            self.close()
            self._world = open_world(self.folder, self.cloud.provider, self.clock, seed=self._number)
        self._number += 1
        return self._world

    def close(self) -> None:
        """Close the journal of the last installation."""
        if self._world is not None:
            self._world.close()
        self._world = None


def history(number: int, account: Account) -> Count:
    """One history."""
    rng = random.Random(number)  # noqa: S311 - a simulation
    world = account.world()
    account.cloud.slow(rng)
    spec = account.cloud.spec(rng)
    spec = replace(spec, options=replace(spec.options, on_interruption=rng.choice(ON_INTERRUPTION)))
    count = Count(histories=1)
    known = {run.id for run in world.journal().runs()}
    steps = ["up", *(rng.choice(("up", "down", "reap", "watch", "watch")) for _ in range(rng.randrange(MOST_CRASHES)))]
    for step, following in zip(steps, [*steps[1:], ""], strict=True):
        if step == "watch" and (machines := sorted(account.cloud.machines())):
            account.cloud.take_back(rng.choice(machines))
        account.cloud.fake.faults[:] = account.cloud.faults(rng)
        try:
            # What is to be taken back mostly comes to run.
            edges = account.cloud.edges * (4 if following == "watch" else 1)
            _do(world, step, spec, Fuse(rng.randrange(edges)))
        except Killed:
            count.crashes += 1
        account.clock.sleep(rng.choice(PAUSES_S))
    account.cloud.fake.faults.clear()
    before = len(account.cloud.machines())
    problem = _recover(rng.choice(("down", "up", "reap", "watch")), world, spec, account)
    again = [run for run in world.journal().runs() if run.id not in known and run.spec.restart_of]
    count.restarts = sum(run.launched_at is not None for run in again)
    problem += _twice(again)
    count.machines = max(before, len(account.cloud.machines()))
    left = account.cloud.things()
    count.orphans = len(left)
    if left or problem:
        things = ", ".join(f"{thing.kind} {thing.id}" for thing in left)
        count.bad.append(
            f"{account.cloud.name} history {number} ({' '.join(steps)}): {problem} left: {things or 'nothing'}"
        )
    return count


def _twice(restarts: Sequence[Run]) -> str:
    """Which run was started again twice, and both ran."""
    ran = [run.spec.restart_of for run in restarts if run.state in ("ready", "deleted") and run.launched_at is not None]
    twice = sorted({before for before in ran if before and ran.count(before) > 1})
    return f"started again twice: {', '.join(twice)}." if twice else ""


def _recover(way: str, world: World, spec: Spec, account: Account) -> str:
    """What the last process does, undisturbed. What is wrong with it, if anything."""
    if way == "reap":
        account.clock.sleep(LEASE_S)
        left = world.reap()
        return f"reap could not prove {left}." if left else ""
    if way == "watch":
        world.watch()  # what waits to be started again is started now
        account.clock.sleep(LEASE_S)
        world.watch()
        return ""
    problem = ""
    if way == "up":
        account.clock.sleep(BETWEEN_S)  # blocks are over
        outcome = world.up(spec)
        open_runs = {run.id for run in world.journal().runs() if run.state not in OVER}
        unknown = [i for i, run in account.cloud.machines().items() if run not in open_runs]
        if outcome.exit_code or unknown:
            problem = f"up again: exit {outcome.exit_code} ({outcome.reason[:200]}); unknown: {unknown or 'none'}."
    left = world.down()
    return f"{problem} down could not prove {left}." if left else problem


def _do(world: World, step: str, spec: Spec, fuse: Fuse) -> None:
    if step == "up":
        world.up(spec, fuse)
    elif step == "down":
        world.down(fuse)
    elif step == "watch":
        world.watch(fuse)
    else:
        world.reap(fuse)


# -- running them ------------------------------------------------------------------------------------------------------


def run(cloud: str, numbers: Sequence[int]) -> Count:
    """All of `numbers` on one cloud, one after the other."""
    count = Count()
    with _folder() as folder, closing(Account(cloud, folder)) as account:
        for number in numbers:
            count.add(history(number, account))
    return count


def _part(task: tuple[str, Sequence[int]]) -> tuple[str, Count]:
    return task[0], run(*task)


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
    parser.add_argument("--histories", type=int, default=300, metavar="N", help="of each cloud (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first one")
    parser.add_argument("--cloud", choices=(*NAMES, "tpu"), action="append", help="only this one; may be given again")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    a = parser.parse_args(argv)
    numbers = range(a.first, a.first + a.histories)
    clouds: Sequence[str] = a.cloud or NAMES
    parts = [numbers[i : i + HISTORIES_PER_PART] for i in range(0, len(numbers), HISTORIES_PER_PART)]
    counts = {cloud: Count() for cloud in clouds}
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(a.jobs) as pool:
        for cloud, part in pool.imap_unordered(_part, [(cloud, part) for part in parts for cloud in clouds]):
            counts[cloud].add(part)
            total = _total(counts)
            sys.stderr.write(f"\r{total.histories} histories, {total.orphans} orphans")
            sys.stderr.flush()
    sys.stderr.write("\n")
    total = _total(counts)
    for text in total.bad[:50]:
        print(text)
    print(f"histories {a.first} to {a.first + a.histories - 1} of each cloud, {time.monotonic() - began:,.0f} s")
    print("cloud   histories  crashes  machines  restarts  orphans  per 1,000 crashes  ended wrong")
    for cloud, count in {**counts, "all": total}.items():
        print(
            f"{cloud:<6} {count.histories:>10,} {count.crashes:>8,} {count.machines:>9,} {count.restarts:>9,} "
            f"{count.orphans:>8,} {1000 * count.orphans / max(count.crashes, 1):>18.1f} {len(count.bad):>12,}"
        )
    return 1 if total.bad else 0


def _total(counts: Mapping[str, Count]) -> Count:
    total = Count()
    for count in counts.values():
        total.add(count)
    return total


if __name__ == "__main__":
    sys.exit(main())
