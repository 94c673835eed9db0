"""The places where a run may start, as they are asked before anything is created there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from cloudaccel.errors import (
    CapacityUnavailable,
    CloudAccelError,
    LimitExceeded,
    ProviderError,
    QuotaExceeded,
    RequestInvalid,
)
from cloudaccel.facts import places
from cloudaccel.protocols import InstanceRequest, Instances, Provider, Quota, Way
from cloudaccel.provision import identity, money, userdata
from cloudaccel.provision.calls import Calls, machines
from cloudaccel.provision.clock import Clock
from cloudaccel.provision.skew import Clocks
from cloudaccel.provision.values import Candidate, Limits, Run, Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One provider, ready to be asked: its abilities and the account that it is asked for."""

    provider: Provider
    instances: Instances
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a launch would do at one place; nothing was created to find out.

    `problem` is the error that would stop it there, None when nothing is known to. `quota` None: not known; `needed` is
    what the request counts as in the quota's unit, None when not known or not asked. `terms` is
    what the provider says of its machines: image, network, what is open; empty when it came to no request. `ways`
    into and out of the machines, as the network stands.
    """

    candidate: Candidate
    zones: tuple[str, ...]
    account: str | None
    deadline: datetime
    quota: Quota | None
    request: InstanceRequest | None
    problem: CloudAccelError | None
    terms: tuple[str, ...] = ()
    ways: tuple[Way, ...] = ()
    needed: Decimal | None = None


class Places:
    """What is known of the providers and their places in one launch. `load` gives a provider by name."""

    def __init__(self, load: Callable[[str], Provider], clock: Clock, calls: Calls) -> None:
        self._load = load
        self._clock = clock
        self._calls = calls
        self._clouds: dict[str, Cloud] = {}
        self._clocks = Clocks(load, calls)

    def known(self, provider: str) -> Cloud | None:
        """The provider, if it has been asked and its credentials work."""
        return self._clouds.get(provider)

    def zones(self, spec: Spec, candidate: Candidate) -> Sequence[str]:
        """Zones to try, in order. Raises `LimitExceeded` or `CapacityUnavailable` (not offered there)."""
        money.check_limits(candidate, spec.limits, spec.lease_s)
        cloud = self.cloud(candidate)
        zones = self._calls.read(lambda: cloud.instances.zones(candidate.instance, candidate.region, candidate.zone))
        if not zones:
            raise CapacityUnavailable(
                f"{candidate.instance} is not offered in {candidate.zone or candidate.region}{_apart(candidate)}.",
                provider=candidate.provider, operation="zones", code="not_offered",
            )  # fmt: skip
        return zones

    def cloud(self, candidate: Candidate) -> Cloud:
        """The candidate's provider, with the account that its credentials belong to."""
        if candidate.provider not in self._clouds:
            provider = self._load(candidate.provider)
            instances = machines(provider)
            account = self._calls.read(lambda: instances.account(region=candidate.region))
            self._clouds[candidate.provider] = Cloud(provider=provider, instances=instances, account=account)
        return self._clouds[candidate.provider]

    def check_clock(self, candidate: Candidate) -> None:
        """Refuse to begin by a clock that is far from the cloud's: a lease and a deadline would be as wrong.

        Raises
        ------
        RequestInvalid
            With both times.
        """
        skew = self._clocks.at(candidate.provider, candidate.region)
        if skew.is_off:
            raise RequestInvalid(
                f"{skew.text} Nothing is started by it: lease and deadline of the machines would be as wrong.",
                provider=candidate.provider, operation="clock", code="clock",
            )  # fmt: skip

    def check_quota(self, cloud: Cloud, candidate: Candidate, spec: Spec) -> Quota | None:
        """The quota, None when it is not known. Raises `QuotaExceeded` when it is, and too small."""
        if spec.options.reservation_id is not None:
            return None
        quota, needed = read_quota(cloud.provider, candidate)
        if quota is not None and needed is not None and needed > quota.remaining:
            raise QuotaExceeded(
                f"{quota_text(quota, needed, candidate.region)} Ask for more, or try another market or region.",
                provider=candidate.provider, operation="quota", code=quota.code, scope="family", ttl_s=0,
            )  # fmt: skip
        return quota

    def preview(self, spec: Spec) -> tuple[Preview, ...]:
        """What `up` would do at each place, first to last. Creates nothing, and keeps no journal."""
        return tuple(self._preview(spec, candidate) for candidate in spec.candidates)

    def _preview(self, spec: Spec, candidate: Candidate) -> Preview:
        now = self._clock.now()
        until = money.deadline(candidate, spec.limits, spec.lease_s, now)
        bare = Preview(
            candidate=candidate, zones=(), account=None, deadline=until, quota=None, request=None, problem=None
        )  # fmt: skip
        try:
            money.check_limits(candidate, spec.limits, spec.lease_s)
            money.check_window(spec.limits, now)
            cloud = self.cloud(candidate)
            bare = replace(bare, account=cloud.account)
            zones = tuple(self.zones(spec, candidate))
            quota, needed = read_quota(cloud.provider, candidate)
            bare = replace(bare, zones=zones, quota=quota, needed=needed)
            self.check_clock(candidate)
            self.check_quota(cloud, candidate, spec)
            sample = sample_request(spec, candidate, zones[0], now, announced=cloud.instances.announced)
            request = cloud.instances.settle(sample)
            cloud.instances.rehearse(request)
            access = cloud.instances.access
            ways = () if access is None else tuple(access.preflight(request))
            return replace(bare, request=request, terms=tuple(cloud.instances.terms(request)), ways=ways)
        except (ProviderError, LimitExceeded) as error:
            return replace(bare, problem=error)


def _apart(candidate: Candidate) -> str:
    zone = places.zone(candidate.provider, candidate.zone) if candidate.zone else None
    return ", or the account has not enabled that zone" if zone is not None else ""


def build_request(
    run: Run, candidate: Candidate, zone: str, attempt: int, install: str, now: datetime, limits: Limits, *,
    announced: str = "",
) -> InstanceRequest:  # fmt: skip
    """The request of one attempt within `limits`; all in it follows from journal, clock and the cloud's own command."""
    token = identity.create_token(install, run.id, attempt, zone, candidate)
    until = money.deadline(candidate, limits, run.spec.lease_s, now)
    return _request(run.spec, candidate, zone, until, token=token, run=run.id, install=install, announced=announced)


def sample_request(
    spec: Spec, candidate: Candidate, zone: str, now: datetime, *, announced: str = ""
) -> InstanceRequest:
    """A request as `up` would send it, for a run that does not exist: what a rehearsal sends."""
    until, name = money.deadline(candidate, spec.limits, spec.lease_s, now), "rehearsal"
    return _request(spec, candidate, zone, until, token=name, run=name, install=name, announced=announced)


def _request(
    spec: Spec, candidate: Candidate, zone: str, until: datetime, *, token: str, run: str, install: str, announced: str
) -> InstanceRequest:
    o = spec.options
    return InstanceRequest(
        token=token, name=identity.group_name(run, candidate.region), provider=candidate.provider,
        region=candidate.region, zone=zone, instance_type=candidate.instance, count=candidate.nodes,
        market=candidate.market, reservation_id=o.reservation_id, deadline=until, disk_gib=o.disk_gib,
        ssh_cidrs=o.ssh_cidrs, image=o.image, key_name=o.key_name,
        max_price_per_hour=money.most_per_machine(candidate, spec.limits), accept_no_deadline=o.accept_no_deadline,
        user_data=userdata.user_data(run, until, announced=announced, ssh_key=o.ssh_key),
        tags=identity.tags(install, run, until, o.owner),
    )  # fmt: skip


def read_quota(provider: Provider, candidate: Candidate) -> tuple[Quota | None, Decimal | None]:
    """The quota and what the request counts as; None for what the cloud does not say, or could not be asked."""
    quotas = provider.quotas
    if quotas is None:
        return None, None
    try:
        quota = quotas.remaining(candidate.region, quotas.family(candidate.instance), candidate.market)
        return quota, quotas.needed(candidate.instance, candidate.nodes, candidate.region)
    except ProviderError:
        return None, None  # not being told is not the same as having none


def quota_text(quota: Quota, needed: Decimal | None, region: str) -> str:
    """``quota Running On-Demand P instances (L-417A185B) in us-east-1: needs 96 vCPU, 32 of 32 left.``"""
    asked = "not known what this counts as" if needed is None else f"needs {_whole(needed)} {quota.unit}"
    left = f"{_whole(quota.remaining)} of {_whole(quota.limit)}{f' {quota.unit}' if needed is None else ''} left"
    return f"quota {quota.name} ({quota.code}) in {region}: {asked}, {left}."


def _whole(value: Decimal) -> str:
    return f"{value.normalize():f}"  # clouds write 4096.0 vCPU


def family_of(provider: Provider, candidate: Candidate) -> str:
    """The group of types that the candidate's quota counts."""
    return candidate.instance if provider.quotas is None else provider.quotas.family(candidate.instance)
