"""What must hold when the process is killed: at each write of the journal and each call that changes a cloud.

A `Fuse` lets a process die at one edge: from there on nothing it does reaches the journal or the cloud, not even what
stands in a ``finally``, which is what SIGKILL leaves. Time is a `VirtualClock`, so that a listing may lag by minutes.
"""

import random
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, cast

import sqlalchemy as sa
from sqlalchemy import event

from cloudaccel import state
from cloudaccel.errors import LimitExceeded
from cloudaccel.protocols import Instances, Provider, Quotas
from cloudaccel.provision import lease
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.launch import Launcher
from cloudaccel.provision.reap import Reaper, in_order
from cloudaccel.provision.standing import Standing
from cloudaccel.provision.teardown import Ender
from cloudaccel.provision.values import OVER, Candidate, Limits, Options, Outcome, Spec
from cloudaccel.provision.watching import Watcher

_WRITES = (
    "install_id", "open_run", "take", "update", "renew", "let_go", "intend", "prepared", "sending", "settled", "seen",
    "gone", "block",
)  # fmt: skip
_CALLS = ("prepare", "create", "delete", "remove")
LEASE_S = 3600.0
BETWEEN_S = 7200.0  # from one killed process to the next history: until clouds show nothing any more of the last one


class Killed(BaseException):
    """The process is dead. Nothing but a test catches it."""


@dataclass
class VirtualClock:
    """Time that passes only when somebody waits."""

    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Aware, UTC."""
        return self.at

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.at += timedelta(seconds=max(seconds, 0))

    def seconds(self) -> float:
        """The same time as a number, for a fake."""
        return self.at.timestamp()


@dataclass
class Fuse:
    """Counts edges, and kills at the one numbered `at`, or at the first that follows `after`; neither: never."""

    at: int | None = None
    after: str = ""  # a write of the journal or a call to the cloud, such as ``create``
    dead: bool = False
    edges: list[str] = field(default_factory=list[str])

    def edge(self, name: str) -> None:
        """One point where the process may die. Raises `Killed` there and ever after."""
        if not self.dead:
            if self.after and self.edges and self.edges[-1].endswith(f" {self.after}"):
                self.at = len(self.edges)
            self.edges.append(name)
            self.dead = self.at == len(self.edges) - 1
        if self.dead:
            raise Killed(name)


class _Mortal:
    """`thing`, whose methods `names` have an edge before (and `after`); a dead process calls none of its methods.

    After a write of the journal is before whatever comes next, so that only calls to the cloud need an edge after.
    """

    def __init__(self, thing: object, names: Iterable[str], fuse: Fuse, *, after: bool) -> None:
        self._thing, self._names, self._fuse, self._after = thing, frozenset(names), fuse, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if not callable(found):
            return found
        call = cast(Callable[..., Any], found)
        return self._edged(name, call) if name in self._names else self._alive(name, call)

    def _edged(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def edged(*values: Any, **named: Any) -> Any:
            self._fuse.edge(f"before {name}")
            answer = call(*values, **named)
            if self._after:
                self._fuse.edge(f"after {name}")
            return answer

        return edged

    def _alive(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def alive(*values: Any, **named: Any) -> Any:
            if self._fuse.dead:
                raise Killed(name)
            return call(*values, **named)

        return alive


class _MortalProvider:
    def __init__(self, provider: Provider, fuse: Fuse) -> None:
        self._provider = provider
        self._instances = cast(Instances, _Mortal(provider.instances, _CALLS, fuse, after=True))

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def quotas(self) -> Quotas | None:
        return self._provider.quotas

    @property
    def instances(self) -> Instances | None:
        return self._instances


class World:
    """One installation and one account: each method is a process of its own, which a `Fuse` may kill."""

    def __init__(self, engine: sa.Engine, provider: Provider, clock: VirtualClock, *, seed: int = 0) -> None:
        self._engine, self._provider, self._clock = engine, provider, clock
        self._rng = random.Random(seed)  # noqa: S311 - spreads retries

    def journal(self, fuse: Fuse | None = None) -> Journal:
        """The journal, as a process with that fuse sees it."""
        journal = Journal(self._engine, self._clock)
        return journal if fuse is None else cast(Journal, _Mortal(journal, _WRITES, fuse, after=False))

    def up(self, spec: Spec, fuse: Fuse | None = None) -> Outcome:
        """Start `spec`, or go on with what a killed process left of it."""
        journal = self.journal(fuse)
        launcher = Launcher(journal, self._loader(fuse), self._clock, rng=self._rng)
        return launcher.up(spec, resume=journal.abandoned(spec))

    def down(self, fuse: Fuse | None = None) -> tuple[str, ...]:
        """End every run. What is left without proof of its end."""
        journal = self.journal(fuse)
        ender = Ender(journal, self._loader(fuse), self._clock, rng=self._rng)
        left: list[str] = []
        unproved = {resource.run for resource in journal.resources(live=True)}
        for run in journal.runs():
            if run.state in OVER and run.id not in unproved:
                continue
            held = journal.take(run)
            left += ender.end(held).remaining
            journal.let_go(held)
        return tuple(left)

    def reap(self, fuse: Fuse | None = None) -> tuple[str, ...]:
        """Remove all that a sweep finds, twice looked. What is left without proof of its end."""
        journal = self.journal(fuse)
        reaper = Reaper(journal, self._loader(fuse), self._clock, rng=self._rng)
        done = [reaper.remove(finding) for finding in reaper.runs()]
        done += [reaper.remove(finding) for finding in in_order(reaper.reconcile(reaper.places()))]
        return tuple(finding.what for finding in done if finding.ours and not finding.gone)

    def watch(self, fuse: Fuse | None = None) -> None:
        """One look of a scheduler at every run."""
        journal, load = self.journal(fuse), self._loader(fuse)
        Watcher(journal, load, self._clock, workers=1, limits=Standing, rng=self._rng).look()

    def extend(self, seconds: float, fuse: Fuse | None = None) -> None:
        """Want every run that runs for longer, where its deadline allows."""
        journal = self.journal(fuse)
        for run in journal.runs(states=("ready",)):
            with suppress(LimitExceeded):
                lease.extend(journal, run, seconds)

    def close(self) -> None:
        """Close the journal's file."""
        self._engine.dispose()

    def _loader(self, fuse: Fuse | None) -> Callable[[str], Provider]:
        provider = self._provider if fuse is None else _MortalProvider(self._provider, fuse)
        return lambda _: provider


def open_world(folder: Path, provider: Provider, clock: VirtualClock, *, seed: int = 0) -> World:
    """A world whose journal is a new file in `folder`; only processes die, so nothing waits for the disk."""
    file = folder / f"state-{seed}.db"
    file.write_bytes(_new_journal())
    engine = state.open_state(f"sqlite:///{file}")
    engine.dispose()
    event.listen(engine, "connect", _hasty)
    return World(engine, provider, clock, seed=seed)


@cache
def _new_journal() -> bytes:
    """A file with the newest schema and nothing in it: to make one takes half a second."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.db"
        state.open_state(f"sqlite:///{file}").dispose()
        return file.read_bytes()


def _hasty(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF").close()


def spec_for(candidates: Sequence[Candidate], *, limits: Limits | None = None, lease_s: float = LEASE_S) -> Spec:
    """A run that may start at any of `candidates`."""
    return Spec(
        asked="crash", candidates=tuple(candidates), limits=limits or Limits(allow_unpriced=True), lease_s=lease_s,
        options=Options(accept_no_deadline=True, ssh_cidrs=("203.0.113.7/32",)),  # so that every cloud makes a group
    )  # fmt: skip


class CrashContract:
    """Killed at any edge, a run ends with the wanted machines only, and with none after `down`.

    Answer the hooks with a fake whose time is `clock` and whose listings lag behind, and make it empty for each test.
    `edges` are the fewest points at which a start and an ending have to be killed; fewer mean that a fuse is missing.
    """

    clock: VirtualClock
    edges: ClassVar[Mapping[str, int]] = {"up": 20, "down": 20}

    def setup_method(self) -> None:
        """No world yet."""
        self._worlds: list[World] = []

    def teardown_method(self) -> None:
        """Close the worlds of the test."""
        for world in self._worlds:
            world.close()

    def world(self, folder: Path) -> World:
        """A new world over a new `provider`, which is closed after the test."""
        self._worlds.append(open_world(folder, self.provider(), self.clock))
        return self._worlds[-1]

    @abstractmethod
    def provider(self) -> Provider:
        """A new adapter, as a new process has it."""

    @abstractmethod
    def candidate(self) -> Candidate:
        """A place for two machines."""

    @abstractmethod
    def live(self) -> list[tuple[str, str]]:
        """Kind and id of all that lives in the account, machines, disks, interfaces and groups, without any lag."""

    def _machines(self) -> set[str]:
        return {identifier for kind, identifier in self.live() if kind == "machine"}

    def _each_edge(self, folder: Path, prepare: Callable[[World], object], work: str) -> Iterator[tuple[str, World]]:
        """One world, in which a process has just been killed at the next edge of `work`; empty it each time."""
        world = self.world(folder)
        for at in range(1000):
            self.clock.sleep(BETWEEN_S)
            prepare(world)
            fuse = Fuse(at)
            try:
                world.up(spec_for([self.candidate()]), fuse) if work == "up" else world.down(fuse)
            except Killed as edge:
                yield f"{at}: {edge}", world
                continue
            assert at >= self.edges[work], f"only {at} edges of {work}"
            world.down()
            return

    def test_killed_while_starting_then_started_again(self, tmp_path: Path) -> None:
        """The same command again gives the two machines that were wanted, and no third."""
        for edge, world in self._each_edge(tmp_path, lambda _: None, "up"):
            outcome = world.up(spec_for([self.candidate()]))
            runs = [run for run in world.journal().runs() if run.state == "ready"]
            known = {r.id for r in world.journal().resources(live=True) if r.kind == "machine"}
            assert outcome.exit_code == 0, (edge, outcome.reason)
            assert self._machines() == known, edge
            assert len(known) == 2 * len(runs), edge
            assert not world.down(), edge
            assert not self.live(), edge

    def test_killed_while_starting_then_taken_down(self, tmp_path: Path) -> None:
        """Whatever was started when the process died is found and gone."""
        for edge, world in self._each_edge(tmp_path, lambda _: None, "up"):
            assert not world.down(), edge
            assert not self.live(), edge

    def test_killed_while_starting_then_reaped(self, tmp_path: Path) -> None:
        """The sweeper finds what nobody asks for any more. A run that was ready is ended at the end of its lease."""
        for edge, world in self._each_edge(tmp_path, lambda _: None, "up"):
            self.clock.sleep(LEASE_S)
            assert not world.reap(), edge
            assert not self.live(), edge

    def test_killed_while_taking_down(self, tmp_path: Path) -> None:
        """An interrupted ending is ended by the next one."""
        for edge, world in self._each_edge(tmp_path, lambda w: w.up(spec_for([self.candidate()])), "down"):
            assert not world.down(), edge
            assert not self.live(), edge


__all__ = ["CrashContract", "Fuse", "Killed", "VirtualClock", "World", "open_world", "spec_for"]
