"""The smallest cloud there can be, and a journal and a clock to go with it: for what is about the runs alone."""

# ruff: noqa: ARG002 - the small cloud takes what every cloud is asked with

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudaccel import state
from cloudaccel.errors import CapacityUnavailable, InstanceNotFound
from cloudaccel.protocols import Instance, InstanceRequest, Quotas, Resource
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.launch import Launcher
from cloudaccel.provision.standing import Standing
from cloudaccel.provision.values import Candidate, Limits, Options, Run, Spec
from cloudaccel.provision.watching import Look, Watcher
from cloudaccel.testing.crashes import VirtualClock

if TYPE_CHECKING:
    from cloudaccel.protocols import Instances

HOUR_S = 3600.0


@dataclass
class Cloud:
    """The smallest cloud: machines by id, and a fault that each question meets."""

    machines: dict[str, Instance] = field(default_factory=dict[str, Instance])
    who: str = "account-1"
    fault: Exception | None = None
    stuck: bool = False
    name: str = "small"
    quotas: Quotas | None = None
    consistency_s: float = 60.0
    announced: str = ""
    access: None = None
    real: bool = False
    trial: None = None
    consoles: dict[str, str] = field(default_factory=dict[str, str])
    full: bool = False
    starts_as: str = "running"
    tokens: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    asked: int = 0  # how often whose the credentials are
    faults_of_create: list[Exception] = field(default_factory=list[Exception])
    gang: bool = True
    says: Callable[[], datetime] | None = None  # what time it is there; None: not said

    @property
    def instances(self) -> "Instances":
        return self

    def refusal(self, instance_type: str, market: str, count: int) -> str | None:
        return None

    def keeps_deadline(self, instance_type: str) -> bool:
        return True

    def account(self, *, region: str) -> str:
        self.asked += 1
        self._meet()
        return self.who

    def time(self, *, region: str) -> datetime | None:
        return None if self.says is None else self.says()

    def regions(self, *, region: str) -> Sequence[str]:
        return (region,)

    def zones(self, instance_type: str, region: str, zone: str | None = None) -> Sequence[str]:
        return (zone or f"{region}-a",)

    def settle(self, request: InstanceRequest) -> InstanceRequest:
        return request

    def rehearse(self, request: InstanceRequest) -> None:
        """Permitted."""

    def terms(self, request: InstanceRequest) -> Sequence[str]:
        return ()

    def prepare(self, request: InstanceRequest) -> tuple[InstanceRequest, tuple[Resource, ...]]:
        return request, ()

    def create(self, request: InstanceRequest) -> tuple[Instance, ...]:
        if self.faults_of_create:
            raise self.faults_of_create.pop(0)
        if self.full:
            raise CapacityUnavailable("full.", provider="small")
        if request.token in self.tokens:
            return self.find(request.token, region=request.region)
        made = [
            Instance(id=f"m-{len(self.machines) + i}", region=request.region, zone=request.zone, state=self.starts_as,
                     instance_type=request.instance_type)
            for i in range(request.count)
        ]  # fmt: skip
        self.machines |= {machine.id: machine for machine in made}
        self.tokens[request.token] = [machine.id for machine in made]
        return tuple(made)

    def find(self, token: str, *, region: str) -> tuple[Instance, ...]:
        return tuple(self.machines[machine] for machine in self.tokens.get(token, ()))

    def get(self, instance_id: str, *, region: str) -> Instance:
        self._meet()
        if self.who != "account-1" or instance_id not in self.machines:
            raise InstanceNotFound(f"no {instance_id}.", provider="small")
        return self.machines[instance_id]

    def console(self, instance_id: str, *, region: str) -> str | None:
        return self.consoles.get(instance_id)

    def delete(self, instance_id: str, *, region: str) -> None:
        self._meet()
        if not self.stuck:
            self.change(instance_id, state="terminated")

    def resources(self, *, tags: Mapping[str, str], region: str) -> Iterator[Resource]:
        return iter(())

    def remove(self, resource: Resource) -> None:
        raise InstanceNotFound("gone.", provider="small")

    def change(self, instance_id: str, **values: Any) -> None:
        self.machines[instance_id] = replace(self.machines[instance_id], **values)

    def live(self) -> list[str]:
        return [m.id for m in self.machines.values() if m.state == "running"]

    def _meet(self) -> None:
        if self.fault is not None:
            raise self.fault


@dataclass
class World:
    """A journal, a cloud and a clock; `start` brings up a run of two machines at 1 USD each."""

    journal: Journal
    cloud: Cloud
    clock: "Sleeps"

    def spec(
        self, *, hours: float = 4, price: str | None = "1", total: str | None = None, cards: str | None = None,
        **options: Any,
    ) -> Spec:  # fmt: skip
        """Two machines, in the only place."""
        candidate = Candidate(
            provider="small", partition="small", region="here", zone="here-a", instance="big", accelerator_id=None,
            accelerator_count=cards, nodes=2, market="spot", price_per_hour=Decimal(price) if price else None,
            currency="USD", price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip
        limits = Limits(max_total=Decimal(total) if total else None, allow_unpriced=True)
        return Spec(
            asked="big",
            candidates=(candidate,),
            limits=limits,
            options=Options(owner="o", **options),
            lease_s=hours * HOUR_S,
        )

    def start(self, **wanted: Any) -> Run:
        """A run of `spec` that runs."""
        outcome = Launcher(self.journal, self.load, self.clock).up(self.spec(**wanted))
        assert outcome.exit_code == 0
        return outcome.run

    def say(self, *, use: str = "0", busy_h: float = 0, cards: str = "8", notice: str = "no", age_s: int = 30) -> None:
        """Let every machine that runs report; `busy_h`: hours since it last computed."""
        now = int(self.clock.at.timestamp())
        line = f"cloudaccel-report 1 at={now - age_s} accelerators={cards} use={use} busy={now - int(busy_h * 3600)}"
        for machine in self.cloud.live():
            self.cloud.consoles[machine] = f"[ 1.0] kernel\r\n{line} notice={notice}\r\n"

    def load(self, name: str) -> Cloud:
        return self.cloud

    def watcher(self, limits: Callable[[], Standing] = Standing, **options: Any) -> Watcher:
        return Watcher(self.journal, self.load, self.clock, workers=1, limits=limits, **options)

    def look(self, **options: Any) -> Look:
        return self.watcher(**options).look()

    def pass_hours(self, hours: float) -> None:
        self.clock.sleep(hours * HOUR_S)


@dataclass
class Sleeps(VirtualClock):
    """Calls `slept` with the time after each wait: what happens meanwhile."""

    slept: Callable[[datetime], None] | None = None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.slept is not None:
            self.slept(self.at)


@contextmanager
def small_world(folder: Path) -> Generator[World]:
    """A new one, whose journal is a file in `folder`."""
    clock = Sleeps()
    with state.opened(f"sqlite:///{folder / 'state.db'}") as engine:
        yield World(Journal(engine, clock), Cloud(says=clock.now), clock)
