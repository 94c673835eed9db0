"""What is judged: a place that work, data, keys and people would have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cloudaccel.facts import places
from cloudaccel.model import Offer

ROLES = ("processing", "storage", "checkpoints", "backup", "logs", "keys", "support", "control_plane", "users")
DEPLOYMENTS = (
    "public_cloud", "gov_cloud", "gov_secret", "sovereign", "dedicated_region", "private_local", "on_prem",
    "air_gapped",
)  # fmt: skip
OWNED = ("on_prem", "air_gapped")
NO_ACCELERATOR = "none"

# The plan itself keeps these where the machines are, unless it is told otherwise; the rest is never assumed.
_FOLLOWS_PROCESSING = ("storage", "checkpoints", "backup")
_BY_PARTITION = {
    "commercial": "public_cloud",
    "china": "public_cloud",
    "government": "gov_cloud",
    "classified": "gov_secret",
    "sovereign": "sovereign",
    "dedicated_or_alloy": "dedicated_region",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One place, as the rules see it. None is unknown; it is never a default.

    Attributes
    ----------
    provider, partition
        Names of ``facts/providers.csv`` and ``facts/partitions.csv``.
    tier
        ``secure`` or ``community`` where a seller has both; "" where it has neither; None when not said.
    deployment
        One of `DEPLOYMENTS`.
    service
        ``compute``, ``gpu`` or ``ml_service`` (a managed service).
    accelerator
        Row of the accelerator table, `NO_ACCELERATOR` for none, None when not known.
    accelerator_name
        What the seller calls it.
    roles
        Role -> countries (ISO 3166-1 alpha-2); None when not known. A role that is missing follows processing for
        what a plan keeps beside the machines (storage, checkpoints, backup), and is unknown otherwise.
    """

    provider: str | None
    partition: str | None
    region: str | None
    country: str | None
    tier: str | None = ""
    deployment: str | None = None
    service: str | None = None
    accelerator: str | None = None
    accelerator_name: str = ""
    roles: Mapping[str, tuple[str, ...] | None] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def whereabouts(self) -> tuple[str | None, str, str | None]:
        """Country, and the source and date of it: all that a rule about places sees of a region."""
        row = places.regions().get((self.provider or "", self.region or ""))
        return (self.country, "", None) if row is None else (self.country, row.source, row.as_of)

    def countries(self, role: str) -> tuple[str, ...] | None:
        """Countries of a role, or None when not known; () is a statement: there are none."""
        if role in self.roles:
            return self.roles[role]
        if role == "processing" or role in _FOLLOWS_PROCESSING:
            return (self.country,) if self.country else None
        return None

    @property
    def assumed_roles(self) -> tuple[str, ...]:
        """Roles that were taken to stand where processing does."""
        return tuple(role for role in _FOLLOWS_PROCESSING if role not in self.roles)

    def __str__(self) -> str:
        parts = (self.provider, self.partition if self.partition != self.provider else "", self.region or self.country)
        return "/".join(part for part in parts if part) or "place not known"


def placement_of(offer: Offer) -> Placement:
    """The placement of an offer: what the catalog and the tables of places say about it."""
    accelerator = offer.accelerator_id
    return Placement(
        provider=offer.provider,
        partition=offer.partition,
        region=offer.region,
        country=offer.country,
        tier=offer.offering_class if offer.offering_class in ("secure", "community") else "",
        deployment=deployment_of(offer.provider, offer.partition, offer.market),
        service=service_of(offer.service, accelerator),
        accelerator=accelerator,
        accelerator_name=offer.accelerator_name,
    )


def deployment_of(provider: str, partition: str, market: str = "on_demand") -> str | None:
    """One of `DEPLOYMENTS`, or None when the tables do not say."""
    if market == "owned":
        return "on_prem"
    part = places.partitions().get(partition)
    if part is not None:
        return _BY_PARTITION.get(part.kind)
    seller = places.providers().get(provider)
    if seller is None:
        return None
    return "on_prem" if seller.kind == "owned" else "public_cloud"


def service_of(service: str, accelerator: str | None) -> str:
    """``ml_service`` for what a seller manages (serverless, hosting), else ``gpu`` or ``compute``."""
    plain = service in ("vm", "bare-metal", "marketplace", "owned")
    if not plain:
        return "ml_service"
    return "compute" if accelerator == NO_ACCELERATOR else "gpu"
