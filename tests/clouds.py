"""The three clouds as simulations: the real SDK on the fake in this process, under a clock of its own."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from cloudaccel.protocols import Provider
from cloudaccel.provision.identity import TAG_RUN
from cloudaccel.provision.values import Candidate, Limits, Spec
from cloudaccel.testing.crashes import VirtualClock, spec_for
from cloudaccel.testing.fakes import IN_PROCESS

NAMES = ("aws", "azure", "gcp")
ENDINGS_S = (0.0, 40.0)
READ_LAGS_S = (0.0, 4.0)  # of reads by name, on Azure; the adapter allows for 5


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that exists in an account. `run` is in its tags, empty where it has none."""

    kind: str
    id: str
    run: str


@dataclass(kw_only=True)
class Simulated:
    """One account. `lags_s`: listings may lag by one of these, all shorter than the adapter allows for.

    `refusals` and `lost` are calls that fail in a random way: arguments of the fake's `Fault`, and names of calls.
    """

    name: str
    clock: VirtualClock
    fake: Any
    provider: Provider
    places: tuple[tuple[str, str | None], ...]
    instance: str
    lags_s: tuple[float, ...]
    refusals: tuple[dict[str, Any], ...]
    lost: tuple[str, ...]
    fault: Callable[..., Any]
    things: Callable[[], list[Thing]]
    empty: Callable[[], None]
    take_back: Callable[[str], None]
    price_per_hour: Decimal = Decimal("1.006")
    markets: tuple[str, ...] = ("on_demand", "on_demand", "spot")
    ends_machines: bool = True  # by itself, at their deadline
    edges: int = 25  # about as many as an undisturbed process has; a fuse beyond kills nobody

    def slow(self, rng: random.Random) -> None:
        """Let listings lag and endings take a while, as long as the adapter allows for."""
        self.fake.lag_s, self.fake.ending_s = rng.choice(self.lags_s), rng.choice(ENDINGS_S)
        if self.name == "azure":
            self.fake.read_lag_s = rng.choice(READ_LAGS_S)

    def spec(self, rng: random.Random, *, limits: Limits | None = None, lease_s: float = 3600.0) -> Spec:
        """One, two or four machines, at one of two places."""
        nodes, market = rng.choice((1, 2, 2, 4)), rng.choice(self.markets)
        chosen = rng.sample(self.places, min(2, len(self.places)))
        return spec_for(
            [self.candidate(place, nodes, market) for place in chosen], limits=limits, lease_s=lease_s
        )  # fmt: skip

    def candidate(self, place: tuple[str, str | None], nodes: int, market: str) -> Candidate:
        """So many machines at `place`."""
        region, zone = place
        return Candidate(
            provider=self.name, partition=self.name, region=region, zone=zone, instance=self.instance,
            accelerator_id=None, accelerator_count=None, nodes=nodes, market=market,
            price_per_hour=self.price_per_hour, currency="USD", price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip

    def faults(self, rng: random.Random) -> list[Any]:
        """None, one or two things that go wrong."""
        found: list[Any] = []
        if rng.random() < 0.4:
            found.append(self.fault(**rng.choice(self.refusals), times=rng.choice((1, 2, 9))))
        if rng.random() < 0.4:
            found.append(self.fault(action=rng.choice(self.lost), lost=True, times=rng.choice((1, 2, 9))))
        return found

    def lived_s(self, run: str) -> float:
        """For how long all machines of a run together have lived, seconds."""
        now = self.fake.now()
        self.fake.settle()
        return sum(life.seconds(now) for life in self.fake.lives.values() if life.tags.get(TAG_RUN) == run)

    def machines(self) -> dict[str, str]:
        """Machines that live, and the runs in their tags."""
        return {thing.id: thing.run for thing in self.things() if thing.kind == "machine"}


def simulated(name: str, clock: VirtualClock) -> Simulated:
    """An empty account of `name`. There is one account of AWS in a process: an older one is emptied."""
    return {"aws": _aws, "azure": _azure, "gcp": _gcp, "tpu": _tpu}[name](clock)


def _aws(clock: VirtualClock) -> Simulated:
    from cloudaccel_aws import AwsProvider
    from cloudaccel_aws.fake import FakeAws, Fault

    fake = FakeAws(now=clock.now)
    fake.forget()
    refusals = (
        ("RunInstances", "InsufficientInstanceCapacity", 500), ("RunInstances", "VcpuLimitExceeded", 400),
        ("RunInstances", "RequestLimitExceeded", 503), ("RunInstances", "InternalError", 500),
        ("RunInstances", "UnauthorizedOperation", 403), ("CreateSecurityGroup", "UnauthorizedOperation", 403),
        ("CreateSecurityGroup", "SecurityGroupLimitExceeded", 400),
        ("AuthorizeSecurityGroupIngress", "UnauthorizedOperation", 403),
        ("CreatePlacementGroup", "UnauthorizedOperation", 403), ("TerminateInstances", "InternalError", 500),
        ("DescribeInstances", "RequestLimitExceeded", 503),
    )  # fmt: skip
    return Simulated(
        name="aws", clock=clock, fake=fake, provider=AwsProvider(session=fake.session()), instance="g5.xlarge",
        places=(("us-east-1", "us-east-1a"), ("us-east-1", "us-east-1b"), ("us-west-2", "us-west-2a")),
        lags_s=(0.0, 8.0, 60.0, 240.0),
        refusals=tuple({"action": action, "code": code, "status": status} for action, code, status in refusals),
        lost=(
            "RunInstances", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "CreatePlacementGroup",
            "TerminateInstances", "DeleteSecurityGroup", "DeletePlacementGroup",
        ),
        fault=Fault, things=lambda: _things(fake.live()), empty=fake.forget, take_back=fake.interrupt, edges=45,
    )  # fmt: skip


def _gcp(clock: VirtualClock) -> Simulated:
    from cloudaccel_gcp import GcpProvider
    from cloudaccel_gcp.fake import FakeGcp, Fault

    fake = FakeGcp(now=clock.now)
    failing = {"in_operation": True}
    refusals: tuple[dict[str, Any], ...] = (
        *(
            {"action": f"instances.{how}", "code": code, "status": status, **later}
            for how in ("insert", "bulkInsert")
            for code, status, later in (
                ("ZONE_RESOURCE_POOL_EXHAUSTED", 503, failing), ("QUOTA_EXCEEDED", 403, failing),
                ("quotaExceeded", 403, {}), ("rateLimitExceeded", 403, {}), ("backendError", 503, {}),
                ("forbidden", 403, {}),
            )
        ),
        {"action": "firewalls.insert", "code": "forbidden", "status": 403},
        {"action": "firewalls.insert", "code": "backendError", "status": 503},
        {"action": "firewalls.insert", "code": "INTERNAL_ERROR", "status": 500, **failing},
        {"action": "instances.delete", "code": "backendError", "status": 503},
        {"action": "instances.get", "code": "rateLimitExceeded", "status": 403},
        {"action": "instances.list", "code": "backendError", "status": 503},
        {"action": "zoneOperations.wait", "code": "backendError", "status": 503},
    )  # fmt: skip
    provider = GcpProvider(
        endpoint=IN_PROCESS, dress=fake.dress, monotonic=clock.seconds, sleep=clock.sleep, now=clock.now
    )
    return Simulated(
        name="gcp", clock=clock, fake=fake, provider=provider,
        places=(("us-central1", "us-central1-a"), ("us-central1", "us-central1-b"), ("us-east4", "us-east4-a")),
        instance="g2-standard-4", lags_s=(0.0, 8.0, 30.0, 50.0), refusals=refusals,
        lost=(
            "instances.insert", "instances.bulkInsert", "firewalls.insert", "instances.delete", "firewalls.delete",
            "zoneOperations.wait", "globalOperations.wait",
        ),
        fault=Fault, things=lambda: _things_of_gcp(fake), empty=fake.forget, take_back=fake.interrupt,
    )  # fmt: skip


def _tpu(clock: VirtualClock) -> Simulated:
    """Google Cloud, of which slices are asked: requests wait for a minute, and only this program ends them."""
    cloud = _gcp(clock)
    cloud.fake.tpu.queue_s = 60
    create, failing = "queuedResources.create", {"in_operation": True}
    refusals: tuple[dict[str, Any], ...] = (
        {"action": create, "code": "RESOURCE_EXHAUSTED", "message": "no more capacity in the zone", **failing},
        {"action": create, "code": "RESOURCE_EXHAUSTED", "message": "Quota limit exceeded", "status": 429},
        {"action": create, "code": "UNAVAILABLE", "status": 503},
        {"action": create, "code": "PERMISSION_DENIED", "status": 403},
        {"action": "queuedResources.get", "code": "UNAVAILABLE", "status": 503},
        {"action": "queuedResources.list", "code": "RESOURCE_EXHAUSTED", "message": "quota per minute", "status": 429},
        {"action": "queuedResources.delete", "code": "FAILED_PRECONDITION", "status": 400},
        {"action": "queuedResources.delete", "code": "INTERNAL", "status": 500},
        {"action": "operations.get", "code": "UNAVAILABLE", "status": 503},
        {"action": "firewalls.insert", "code": "backendError", "status": 503},
    )
    return replace(
        cloud, instance="v5litepod-8", refusals=refusals, price_per_hour=Decimal("9.60"), ends_machines=False,
        lost=(create, "queuedResources.delete", "operations.get", "firewalls.insert", "firewalls.delete"),
    )  # fmt: skip


def _azure(clock: VirtualClock) -> Simulated:
    from cloudaccel_azure import AzureProvider
    from cloudaccel_azure.fake import GROUP, SUBSCRIPTION, FakeAzure, Fault

    fake = FakeAzure(now=clock.now)
    fake.quotas |= dict.fromkeys(("cores", "lowPriorityCores", "standardNDSH100v5Family"), 100_000)
    provider = AzureProvider(
        transport=fake.transport(), subscription=SUBSCRIPTION, group=GROUP, monotonic=clock.seconds, sleep=clock.sleep
    )
    machine, group, near = "PUT virtualMachines", "PUT networkSecurityGroups", "PUT availabilitySets"
    refusals: tuple[dict[str, Any], ...] = (
        {"action": machine, "code": "ZonalAllocationFailed", "later": True},
        {"action": machine, "code": "OperationNotAllowed", "message": "exceeding approved Cores quota"},
        {"action": machine, "code": "TooManyRequests", "status": 429},
        {"action": machine, "code": "InternalServerError", "status": 500},
        {"action": machine, "code": "AuthorizationFailed", "status": 403},
        {"action": group, "code": "AuthorizationFailed", "status": 403},
        {"action": group, "code": "TooManyRequests", "status": 429},
        {"action": near, "code": "AuthorizationFailed", "status": 403},
        {"action": near, "code": "InternalServerError", "status": 500},
        {"action": "DELETE virtualMachines", "code": "InternalServerError", "status": 500},
        {"action": "GET virtualMachines", "code": "TooManyRequests", "status": 429},
        {"action": "GET networkSecurityGroups", "code": "TooManyRequests", "status": 429},
    )  # fmt: skip
    return Simulated(
        name="azure", clock=clock, fake=fake, provider=provider, instance="Standard_ND96isr_H100_v5",
        places=(("eastus", "eastus-1"), ("eastus", "eastus-2")),
        lags_s=(0.0, 8.0, 60.0, 240.0), refusals=refusals,
        lost=(
            machine, group, near, "DELETE virtualMachines", "DELETE networkSecurityGroups", "DELETE availabilitySets",
        ),
        fault=Fault, things=lambda: _things_of_azure(fake), empty=fake.forget, take_back=fake.evict,
        ends_machines=False,
    )  # fmt: skip


def _things(live: list[dict[str, Any]]) -> list[Thing]:
    return [Thing(thing["kind"], thing["id"], str(thing["tags"].get(TAG_RUN, ""))) for thing in live]


def _things_of_gcp(fake: Any) -> list[Thing]:
    from cloudaccel_gcp.launching import described

    rules = {thing["id"]: described(thing["body"].get("description", "")) for thing in fake.live()}
    return [Thing(t.kind, t.id, t.run or rules[t.id].get(TAG_RUN, "")) for t in _things(fake.live())]


def _things_of_azure(fake: Any) -> list[Thing]:
    words = {"virtualMachines": "machine", "availabilitySets": "placement_group", "disks": "disk",
             "networkInterfaces": "interface", "networkSecurityGroups": "security_group"}  # fmt: skip
    return [
        Thing(words[kind], name, str(fake.things[kind, name].get("tags", {}).get(TAG_RUN, "")))
        for kind, name in fake.live()
    ]
