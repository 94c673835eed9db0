"""What an export writes down: machines, where they may stand, and how long they may live. No price is taken from it."""

from dataclasses import dataclass
from decimal import Decimal

from cloudaccel.errors import QueryError

# A lease is the high estimate of the run, start-up and saving included, with this margin, and half an hour beside.
_LEASE_MARGIN = Decimal("1.2")
_LEASE_SPARE_H = Decimal("0.5")


def lease_h(high_hours: Decimal) -> Decimal:
    """Hours that machines may live for a run that takes `high_hours` at most, start-up included."""
    return high_hours * _LEASE_MARGIN + _LEASE_SPARE_H


def with_start_up(high: Decimal, likely: Decimal | None, machine_hours: Decimal | None) -> Decimal:
    """The high estimate of a lock with the start-up that its hours leave out and the chosen machine's hours have.

    A run of minutes would else be ended while it still loads: 45 minutes of start-up are more than its margin.
    """
    if likely is None or machine_hours is None:
        return high
    return high + max(Decimal(0), machine_hours - likely)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One place that the plan allows, in the seller's own words. `zone` None: any zone of the region.

    `priced_zone` is the zone whose price the plan has, where no name of it is everybody's; else empty.
    """

    provider: str
    partition: str
    region: str
    zone: str | None
    country: str | None
    instance: str
    market: str
    priced_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """`nodes` machines of one kind, at the first of `sites` that has them.

    Attributes
    ----------
    name
        A DNS label that follows from the plan, so that the same plan has the same names.
    sites
        The chosen place first, then the places that the plan may move to.
    accelerator_id, family, vendor, kind, memory_gib
        The accelerator of every site, as the hardware table has it; `per_node` how many a machine has.
    lease_s
        How long the machines may live; None when the work has no end (serving).
    disk_gib
        Size of the root disk.
    price_per_hour, currency
        Of one machine when the plan was made; only for comments and price caps.
    packs
        Ids of the packs that its places were judged by.
    """

    name: str
    sites: tuple[Site, ...]
    nodes: int
    accelerator_id: str
    family: str
    vendor: str
    kind: str
    memory_gib: float | None
    per_node: int
    lease_s: int | None
    disk_gib: int
    price_per_hour: Decimal | None
    currency: str
    packs: tuple[str, ...] = ()

    @property
    def site(self) -> Site:
        """The chosen place."""
        return self.sites[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A file for another engine: its usual name, its text, and what it cannot promise."""

    file: str
    text: str
    warnings: tuple[str, ...] = ()


def regions_of(plan: Deployment) -> tuple[str, ...]:
    """Regions of the chosen provider that the plan may use, sorted."""
    return tuple(sorted({site.region for site in plan.sites if site.provider == plan.site.provider}))


def whole_plan_warnings(plan: Deployment) -> tuple[str, ...]:
    """What a guardrail at one provider cannot promise for the plan as a whole."""
    others = sorted({site.provider for site in plan.sites} - {plan.site.provider})
    warnings = [f"judged by {', '.join(plan.packs)} on the facts given; not legal advice"] if plan.packs else []
    if others:
        warnings.append(f"the plan may move to {', '.join(others)}, which this does not bind")
    return tuple(warnings)


def check_market(
    plan: Deployment, markets: tuple[str, ...] = ("on_demand", "spot", "reserved", "savings_plan")
) -> None:
    """Refuse what a file cannot start. Raises `QueryError` for capacity that is bought beforehand."""
    if plan.site.market not in markets:
        raise QueryError(
            f"an export cannot start {plan.site.market}: it needs the id of capacity that you have. "
            "Use 'cloudaccel provision up --reservation', or plan with --market on-demand or spot."
        )


def terms_of_account(plan: Deployment) -> tuple[str, ...]:
    """A note when the plan's price is one that only an account with a commitment pays."""
    if plan.site.market in ("reserved", "savings_plan"):
        return ("the reserved price is a discount of your account: this file buys no commitment",)
    return ()


def open_end(ends: str) -> str:
    """The note of a plan without a lease; `ends` is the command that ends its machines."""
    return f"no deadline: work without an end (serving) runs until {ends}; --lease sets one"


def left_out(plan: Deployment) -> tuple[str, ...]:
    """A note on the places that a file for one region cannot name."""
    here = (plan.site.provider, plan.site.region)
    others = sorted({f"{s.provider} {s.region}" for s in plan.sites if (s.provider, s.region) != here})
    return (f"one region only; left out: {', '.join(others)}",) if others else ()
