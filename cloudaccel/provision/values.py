"""What a run is: places where it may start, limits, and what became of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

# A run's way: planned → creating → verifying → ready → deleting → deleted. `failed` made nothing or removed everything;
# `interrupted` was taken back by the cloud, is proved gone, and waits to be started again elsewhere.
STATES = ("planned", "creating", "verifying", "ready", "interrupted", "deleting", "deleted", "failed", "leak_suspected")
UNFINISHED = ("planned", "creating", "verifying")
OVER = ("deleted", "failed")
ENDED = (*OVER, "interrupted")  # proved gone; what was interrupted is still to be started again, as another run
ON_INTERRUPTION = ("end", "restart")
MARKETS = (
    "on_demand",
    "spot",
    "capacity_block",
    "flex_start",
)  # what can be started; commitments are paid, not started


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One place where the run may start, with the price of one machine there as the catalog has it now.

    `zone` None: any zone of the region that offers the type. `price_per_hour` None: unknown, never 0.
    """

    provider: str
    partition: str
    region: str
    zone: str | None
    instance: str
    accelerator_id: str | None
    accelerator_count: str | None
    nodes: int
    market: str
    price_per_hour: Decimal | None
    currency: str
    price_as_of: str | None
    offer_id: str
    catalog_id: str

    @property
    def request_price_per_hour(self) -> Decimal | None:
        """All machines together, per hour."""
        return None if self.price_per_hour is None else self.price_per_hour * self.nodes

    @property
    def what(self) -> str:
        """For people: ``2 × p5.48xlarge``."""
        return f"{self.nodes} × {self.instance}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the caller allows; equality is allowed. `regions` None: any region of the candidates.

    `start_from`, `start_by`, `end_by` (ISO, UTC): when a run in held capacity may start, so that it also ends in it,
    and when its machines must be gone. None: at any time.
    """

    max_hourly: Decimal | None = None
    max_total: Decimal | None = None
    currency: str = "USD"
    allow_unpriced: bool = False
    regions: tuple[str, ...] | None = None
    start_from: str | None = None
    start_by: str | None = None
    end_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a teardown ended. `remaining` names what may still exist and bill: ``machine i-1 (region)``; empty: proof."""

    run: "Run"
    remaining: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the machines are made and kept; every default is the closed one.

    `ssh_key`: a public key that is let in. `end_idle_s`: end the run when nothing was computed for so long; None: no.
    `on_interruption`: ``end``, or ``restart`` in the next place, for what is left of lease and budget.
    """

    owner: str = ""
    reservation_id: str | None = None
    image: str | None = None
    disk_gib: int | None = None
    ssh_cidrs: tuple[str, ...] = ()
    key_name: str | None = None
    accept_no_deadline: bool = False
    ssh_key: str | None = None
    end_idle_s: float | None = None
    on_interruption: str = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Everything that a run was asked for; the journal keeps it, and a resume starts from it.

    `lease_s`: for how long the run is wanted. `asked`: the caller's own words. `restart_of`: id of the run that
    the cloud took back and that goes on as this one.
    """

    asked: str
    candidates: tuple[Candidate, ...]
    limits: Limits
    options: Options
    lease_s: float
    restart_of: str | None = None

    @property
    def nodes(self) -> int:
        """Machines, 1 to 8."""
        return self.candidates[0].nodes if self.candidates else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row of the journal."""

    id: str
    state: str
    spec: Spec
    provider: str | None
    account: str | None
    region: str | None
    zone: str | None
    instance: str | None
    accelerator: str | None
    accelerator_count: str | None
    nodes: int
    market: str | None
    price_per_hour: Decimal | None
    currency: str | None
    price_as_of: str | None
    offer_id: str | None
    catalog_id: str | None
    owner: str
    created_at: datetime
    launched_at: datetime | None
    lease_until: datetime | None
    deadline_at: datetime | None
    ended_at: datetime | None
    note: str
    idle_since: datetime | None
    holder: str | None
    held_until: datetime | None
    fence: int
    principal: str | None = None  # who asked for it; None: not written down
    project: str | None = None

    @property
    def request_price_per_hour(self) -> Decimal | None:
        """All machines together, per hour, as frozen at launch."""
        return None if self.price_per_hour is None else self.price_per_hour * self.nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One create call: what is sent, and what is known of it. It may be sent again, so that it has two times."""

    token: str
    run: str
    attempt: int
    candidate: int
    provider: str
    region: str
    zone: str
    request: Mapping[str, Any]
    state: str
    error: str | None
    error_code: str | None
    message: str | None
    created_at: datetime
    sent_at: datetime | None
    last_sent_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """One resource that the journal knows. `state` is ``live`` until there is proof that it is gone."""

    run: str
    kind: str
    id: str
    provider: str
    region: str
    state: str
    token: str | None
    first_seen_at: datetime
    gone_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One line of the attempt log: where, what came of it, and the cloud's own words."""

    candidate: Candidate
    zone: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a launch ended: the run, each attempt, the exit code, and ids that may still be billing."""

    run: Run
    attempts: tuple[Attempt, ...]
    exit_code: int
    reason: str
    may_bill: tuple[str, ...] = ()


def spec_to_json(spec: Spec) -> dict[str, Any]:
    """The spec as plain JSON values; money as text."""
    return {
        "asked": spec.asked,
        "lease_s": spec.lease_s,
        "candidates": [_plain(asdict(c)) for c in spec.candidates],
        "limits": _plain(asdict(spec.limits)),
        "options": _plain(asdict(spec.options)),
        **({"restart_of": spec.restart_of} if spec.restart_of else {}),
    }


def spec_from_json(data: Mapping[str, Any]) -> Spec:
    """The spec of `spec_to_json`'s values."""
    limits = dict(data["limits"])
    regions = limits["regions"]
    limits["regions"] = None if regions is None else tuple(regions)
    options = dict(data["options"])
    options["ssh_cidrs"] = tuple(options["ssh_cidrs"])
    return Spec(
        asked=data["asked"],
        lease_s=data["lease_s"],
        candidates=tuple(Candidate(**_money(c, "price_per_hour")) for c in data["candidates"]),
        limits=Limits(**_money(limits, "max_hourly", "max_total")),
        options=Options(**options),
        restart_of=data.get("restart_of"),
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Decimal) else value for key, value in values.items()}


def _money(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {k: Decimal(v) if k in keys and v is not None else v for k, v in values.items()}
