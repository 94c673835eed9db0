"""What a provider can do, as small protocols joined by composition; an ability that is missing is ``None``.

Adapters translate and nothing more: page, map, raise our errors. Retries, deadlines, failover and the journal wrap them
from the core. Everything here is plain and synchronous; building a provider makes no network call.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeAlias

from cloudaccel.model import Offer

# What JSON can hold. A journal keeps requests as JSON, so a request may hold nothing else.
Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

# Kinds of resources, in the order in which they can be removed.
RESOURCE_KINDS = ("machine", "spot_request", "disk", "address", "interface", "placement_group", "security_group")
MACHINE_STATES = ("pending", "running", "stopping", "stopped", "terminated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which offers to read: a provider's partition, and one region or (None) all."""

    provider: str
    partition: str
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What an account may still start: `remaining` of `limit` in `unit`; `name` and `code` are the cloud's own."""

    name: str
    code: str
    limit: Decimal
    used: Decimal
    unit: str

    @property
    def remaining(self) -> Decimal:
        """`limit` less `used`, at least 0."""
        return max(self.limit - self.used, Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaLine:
    """One quota that counts some machines: what they count as, and what the account has of it.

    Attributes
    ----------
    name, code
        The cloud's words, and what tells this quota from others of the region whoever asks.
    region
        Where it counts; empty: everywhere.
    needed, limit, used
        In `unit`; None: not known, never 0.
    why
        Why `limit` is not known.
    """

    name: str
    code: str
    unit: str
    region: str
    needed: Decimal | None = None
    limit: Decimal | None = None
    used: Decimal | None = None
    why: str = ""

    @property
    def enough(self) -> bool | None:
        """Whether what is left is enough; None: not known."""
        if self.needed is None or self.limit is None or self.used is None:
            return None
        return self.needed <= self.limit - self.used

    @property
    def wanted(self) -> Decimal | None:
        """The limit that would do; None: not known, or it does."""
        if self.needed is None or self.used is None or self.enough is not False:
            return None
        return self.used + self.needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """Machines of one type, as a catalog describes them. `vcpus`, `accelerators`: of one machine; None: not known."""

    instance_type: str
    count: int
    region: str
    market: str
    vcpus: Decimal | None = None
    accelerators: Decimal | None = None

    @property
    def all_vcpus(self) -> Decimal | None:
        """Of all machines."""
        return None if self.vcpus is None else self.vcpus * self.count

    @property
    def all_accelerators(self) -> Decimal | None:
        """Of all machines."""
        return None if self.accelerators is None else self.accelerators * self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRequest:
    """Everything that one create call needs. The journal keeps it, and a replay sends exactly it.

    Attributes
    ----------
    token
        Same token, same machines. At most 64 ASCII characters.
    name
        Name of the run, for names of groups: letters, digits and hyphens.
    zone
        All `count` machines start there.
    market
        ``on_demand``, ``spot``, ``capacity_block`` or ``flex_start`` (it waits for capacity, and runs for a set time).
    reservation_id
        Capacity that is already held; nothing is ever bought.
    deadline
        The machine switches itself off and is deleted then, whoever is watching.
    disk_gib
        Size of the root disk; None takes the image's.
    ssh_cidrs
        Sources that may reach port 22; empty: no inbound rule at all.
    max_price_per_hour
        Of one machine, as text, in USD: a spot machine dearer than that is not started, and ends, where a cloud can.
    accept_no_deadline
        Whether to start where the cloud cannot end a machine by itself at `deadline`.
    settled
        What `Instances.settle` found (image, subnet, interfaces), in the cloud's own words; empty before. Only the
        adapter reads it; `Instances.terms` says it to people.
    """

    token: str
    name: str
    provider: str
    region: str
    zone: str
    instance_type: str
    count: int
    market: str = "on_demand"
    reservation_id: str | None = None
    deadline: datetime
    disk_gib: int | None = None
    user_data: str = ""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    ssh_cidrs: tuple[str, ...] = ()
    image: str | None = None
    key_name: str | None = None
    max_price_per_hour: str | None = None
    accept_no_deadline: bool = False
    settled: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 8:
            raise ValueError(f"a gang has 1 to 8 machines, not {self.count}")
        if not 0 < len(self.token) <= 64 or not self.token.isascii():
            raise ValueError("a token has 1 to 64 ASCII characters")
        if self.deadline.tzinfo is None:
            raise ValueError("a deadline needs a time zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One machine as the cloud describes it now.

    `attached` are ids of what lives and dies with it: pairs of kind (see `RESOURCE_KINDS`) and id.
    `reason` is the cloud's own word for why it ended; `interrupted` whether the cloud took it back.
    """

    id: str
    region: str
    zone: str | None
    state: str
    instance_type: str
    market: str = "on_demand"
    launched_at: datetime | None = None
    private_address: str | None = None
    public_address: str | None = None
    attached: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    interrupted: bool = False

    def __post_init__(self) -> None:
        if self.state not in MACHINE_STATES:
            raise ValueError(f"{self.state!r} is no state of a machine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The cheapest plain machine of a cloud, which a self-test starts.

    `price_bound`: more than it costs per hour, so that a limit holds; a bound and no price. `keeps_no_deadline`: the
    cloud ends no machine by itself.
    """

    instance_type: str
    region: str
    price_bound: Decimal
    currency: str
    as_of: str
    source: str
    keeps_no_deadline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way into a machine or out of it, as the account's network stands.

    Attributes
    ----------
    direction
        ``in`` or ``out``.
    state
        ``open`` as far as the account can tell, ``closed``, or ``unknown``: it could not be read.
    why
        Through what it goes, or what stands in the way.
    argv
        Program and arguments that take an open way in; empty where there is no machine yet.
    """

    name: str
    direction: str
    state: str
    why: str = ""
    argv: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.direction not in ("in", "out") or self.state not in ("open", "closed", "unknown"):
            raise ValueError(f"no way goes {self.direction!r} and is {self.state!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One thing in an account that carries our tags. `bills` is False only where the cloud charges nothing."""

    kind: str
    id: str
    region: str
    state: str
    tags: Mapping[str, str]
    bills: bool

    def __post_init__(self) -> None:
        if self.kind not in RESOURCE_KINDS:
            raise ValueError(f"{self.kind!r} is no kind of resource")


class Answer(Protocol):
    """What a source answered, to be read once; `ProviderError` when it breaks off or is too long."""

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, unpacked: for files of any size."""
        ...

    def blocks(self) -> Iterator[bytes]:
        """The body in pieces of whole lines, some hundred at once: for files that are searched faster than split."""
        ...

    def picked(self, pick: Callable[[bytes], Iterable[bytes]]) -> Iterator[bytes]:
        """The lines that `pick` finds in each of the `blocks`.

        A file that was left half read goes on there: the lines that were found then come first, and `pick` is not asked
        about their blocks again. What it learns from a block it must be able to learn from the lines that it picks.
        """
        ...

    def lines(self) -> Iterator[str]:
        """The body's lines without their ends, as UTF-8."""
        ...

    def json(self) -> Json:
        """The body as JSON. Raises `MalformedResponse` for anything else; numbers with a point are `Decimal`."""
        ...


class Web(Protocol):
    """How an adapter reaches its sources. Retries, deadlines, proxies, mirrors and limits are the core's and within."""

    def ask(
        self,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> AbstractContextManager[Answer]:
        """Ask `url`, by POST when there is a `body` (sent as JSON), else by GET; the answer is closed on leaving.

        Write the address as its owner publishes it: a mirror is put in its place inside. Keys go into `headers`, never
        into the address.

        Raises
        ------
        ProviderError
            After the last try; `AuthError` for 401 and 403, `RateLimited`, `ProviderUnavailable`, `RequestInvalid`.
        """
        ...


class Prices(Protocol):
    """Price lists as offers. An adapter pages and translates; it filters, keeps and repeats nothing."""

    @property
    def sources(self) -> Sequence[str]:
        """Addresses below which all its calls go (``https://host/path``); empty when it needs no network."""
        ...

    def over(self, web: Web) -> "Prices":
        """The same price lists, read through `web`. Asks nobody."""
        ...

    def scopes(self) -> Sequence[Scope]:
        """What can be read, each apart from the others: one failing empties no other. May ask the network."""
        ...

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of `scope` as they are read, sold-out ones included.

        Raises
        ------
        ProviderError
            As soon as a page cannot be had or understood: part of a price list must never look like the whole.
        """
        ...


class Quotas(Protocol):
    """What an account may still start."""

    def family(self, instance_type: str) -> str:
        """The group of types that share one quota. Asks nobody."""
        ...

    def remaining(self, region: str, family: str, market: str) -> Quota | None:
        """What is left of the quota of `family` there; None: the cloud does not say."""
        ...

    def needed(self, instance_type: str, count: int, region: str) -> Decimal | None:
        """What `count` machines count as, in the unit of the quota; None: not known."""
        ...

    def lines(self, sold: Sold, *, ask: bool) -> Sequence[QuotaLine]:
        """Every quota that counts these machines. Without `ask` nobody is asked, and no limit is known.

        The same quota has the same code either way. Raises `ProviderError` when it cannot be asked.
        """
        ...


class Access(Protocol):
    """How machines are reached. It reads the network, and never changes it: no port is opened, no rule is added."""

    @property
    def login(self) -> str:
        """User of the cloud's images for plain ssh; empty where there is no such one."""
        ...

    def ways_in(
        self, instance_id: str, *, region: str, command: str | None = None, identity: str | None = None
    ) -> Sequence[Way]:
        """Ways to a shell on a machine that runs, or to one `command` there, best first; `identity`: a private key."""
        ...

    def preflight(self, request: InstanceRequest) -> Sequence[Way]:
        """Ways into and out of the machines that a settled request would make."""
        ...


class Instances(Protocol):
    """Machines, and what comes and goes with them. Every method raises `ProviderError` and nothing else."""

    @property
    def consistency_s(self) -> float:
        """For how long after a create a listing may still not show it, seconds."""
        ...

    @property
    def gang(self) -> bool:
        """Whether one create starts all machines or none."""
        ...

    @property
    def real(self) -> bool:
        """Whether calls go to the cloud itself, and not to an endpoint that stands in for it."""
        ...

    @property
    def trial(self) -> Trial | None:
        """What a self-test starts, or None."""
        ...

    @property
    def access(self) -> Access | None:
        """How machines are reached, or None."""
        ...

    @property
    def announced(self) -> str:
        """Shell command that prints something on a machine once the cloud has announced that it takes it back.

        Empty where a machine is not told. It needs no rights and nothing but the machine's own metadata address.
        """
        ...

    def keeps_deadline(self, instance_type: str) -> bool:
        """Whether machines of the type end at their deadline although nobody is left to end them. Asks nobody."""
        ...

    def refusal(self, instance_type: str, market: str, count: int) -> str | None:
        """Why `count` machines of the type are never started in the market; None: they may be. Asks nobody."""
        ...

    def account(self, *, region: str) -> str:
        """Id of the account that the credentials belong to; only `region` is asked."""
        ...

    def time(self, *, region: str) -> datetime | None:
        """What time it is by the cloud's own clock, asked of `region` now, also when it refuses us; None: not said.

        Nothing is ended for being late, and nothing started, by a clock that is far from it.
        """
        ...

    def regions(self, *, region: str) -> Sequence[str]:
        """Regions that the account may use; only `region` is asked."""
        ...

    def zones(self, instance_type: str, region: str, zone: str | None = None) -> Sequence[str]:
        """Zones of `region` that offer the type, by name and in the cloud's order; empty: not offered there.

        With `zone`, those of them that it means: the name or id of one, or what a price list calls a group of them.
        """
        ...

    def settle(self, request: InstanceRequest) -> InstanceRequest:
        """The request with image, subnet and interfaces looked up: a replay needs no second look. Reads only."""
        ...

    def rehearse(self, request: InstanceRequest) -> None:
        """Ask whether a settled request would be permitted. Creates nothing, and says nothing about capacity."""
        ...

    def terms(self, request: InstanceRequest) -> Sequence[str]:
        """What a settled request means there, one sentence each: image, network, what is open. Asks nobody."""
        ...

    def prepare(self, request: InstanceRequest) -> tuple[InstanceRequest, tuple[Resource, ...]]:
        """Make the groups that the machines need; the same name gives the same groups. The request then names them.

        Raises
        ------
        OutcomeUnknown, RateLimited, ProviderUnavailable
            If groups may exist; the same call again makes them known. After any other error none is left.
        """
        ...

    def create(self, request: InstanceRequest) -> tuple[Instance, ...]:
        """Start `count` machines or none; the same prepared request gives the same machines."""
        ...

    def find(self, token: str, *, region: str) -> tuple[Instance, ...]:
        """Machines that were created with `token`, ended ones included while the cloud still shows them."""
        ...

    def get(self, instance_id: str, *, region: str) -> Instance:
        """The machine now. Raises `InstanceNotFound`."""
        ...

    def console(self, instance_id: str, *, region: str) -> str | None:
        """The end of what the machine wrote to its serial console; None: there is no such thing there, or not yet."""
        ...

    def delete(self, instance_id: str, *, region: str) -> None:
        """Begin to end the machine. Raises `InstanceNotFound` once it is gone."""
        ...

    def resources(self, *, tags: Mapping[str, str], region: str) -> Iterator[Resource]:
        """Everything in `region` that carries `tags` (value ``*``: any): machines, disks, addresses, groups."""
        ...

    def remove(self, resource: Resource) -> None:
        """Delete what is no machine. Raises `InstanceNotFound` once it is gone, `Conflict` while something uses it."""
        ...


class Provider(Protocol):
    """One cloud where machines are. Building one makes no network call. Its price list is a `Prices` of its own."""

    @property
    def name(self) -> str:
        """The entry-point name."""
        ...

    @property
    def quotas(self) -> Quotas | None:
        """Quotas, or None."""
        ...

    @property
    def instances(self) -> Instances | None:
        """Machines, or None."""
        ...


def http_time(header: str | None) -> datetime | None:
    """The time in a ``Date`` header (RFC 9110, section 6.6.1), UTC; None: there is none that can be read."""
    try:
        said = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)


__all__ = [
    "MACHINE_STATES",
    "RESOURCE_KINDS",
    "Access",
    "Answer",
    "Instance",
    "InstanceRequest",
    "Instances",
    "Json",
    "Prices",
    "Provider",
    "Quota",
    "QuotaLine",
    "Quotas",
    "Resource",
    "Scope",
    "Sold",
    "Trial",
    "Way",
    "Web",
    "http_time",
]
