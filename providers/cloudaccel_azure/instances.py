"""Virtual machines in one resource group, and the disks, interfaces and security groups that go with them.

Azure has no deadline of its own for a machine: a machine that switches itself off still bills. So nothing is started
unless the request accepts (`accept_no_deadline`) that only this program, run again, ends it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, cast

from cloudaccel.errors import (
    AuthError,
    CapacityUnavailable,
    Conflict,
    InstanceNotFound,
    OutcomeUnknown,
    PolicyDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
)
from cloudaccel.protocols import Access, Instance, InstanceRequest, Resource, Trial
from cloudaccel_azure.access import AzureAccess
from cloudaccel_azure.failures import from_answer
from cloudaccel_azure.launching import (
    GROUP_PREFIX,
    RUN_TAG,
    TOKEN_TAG,
    availability_set,
    machine,
    names,
    names_of,
    needs_set,
    rights,
    security_group,
    terms,
)
from cloudaccel_azure.sdk import Sdk
from cloudaccel_azure.skus import Skus, capabilities

PATIENCE_S = 900.0
_TRIAL = Trial(
    instance_type="Standard_D2s_v5", region="eastus", price_bound=Decimal("0.20"), currency="USD", as_of="2025-10",
    source="twice the list price known of it, 0.096 USD/h, not read anew", keeps_no_deadline=True,
)  # fmt: skip
_ANNOUNCED = (
    "curl -sf -m 2 --noproxy '*' -H 'Metadata: true' "
    "'http://169.254.169.254/metadata/scheduledevents?api-version=2020-07-01' | grep -o Preempt"
)
# Azure marketplace, not tried on a real account: drivers and InfiniBand are in the first.
_GPU_IMAGE = {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2204", "version": "latest"}
_PLAIN_IMAGE = {
    "publisher": "Canonical", "offer": "0001-com-ubuntu-server-jammy", "sku": "22_04-lts-gen2", "version": "latest",
}  # fmt: skip
_POWER = {"running": "running", "starting": "pending", "stopping": "stopping", "deallocating": "stopping"}
_LOG_MINUTES = 5
CONSOLE_CHARS = 65_536  # as much as other clouds give
_UNDECIDED = (OutcomeUnknown, RateLimited, ProviderUnavailable)  # the same call again decides
_PASSING = (Conflict, RateLimited, ProviderUnavailable)  # what asking again may mend
Found = dict[str, Any]


class AzureInstances:
    """Machines of one resource group, in every region of the subscription."""

    def __init__(
        self, sdk: Sdk, skus: Skus, *, consistency_s: float,
        monotonic: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._sdk = sdk
        self._monotonic = monotonic
        self._sleep = sleep
        self._consistency_s = consistency_s
        self._skus = skus

    @property
    def consistency_s(self) -> float:
        """For how long after a create a read by name may still not show it, seconds."""
        return self._consistency_s

    @property
    def gang(self) -> bool:
        """Machines are created one by one; all are deleted again when one fails."""
        return False

    @property
    def real(self) -> bool:
        """Whether no endpoint stands in for the cloud."""
        return self._sdk.real

    @property
    def trial(self) -> Trial | None:
        """The cheapest plain machine."""
        return _TRIAL

    @property
    def access(self) -> Access | None:
        """What the account's network leaves open."""
        return AzureAccess(self._sdk)

    @property
    def announced(self) -> str:
        """The machine's scheduled events, which tell half a minute before a spot machine is taken back."""
        return _ANNOUNCED

    # -- where and as whom --------------------------------------------------------------------------------------------

    def keeps_deadline(self, instance_type: str) -> bool:  # noqa: ARG002
        """A machine that powers itself off still bills."""
        return False

    def refusal(self, instance_type: str, market: str, count: int) -> str | None:  # noqa: ARG002
        """Markets that are another cloud's."""
        if market == "capacity_block":
            return "there are no capacity blocks here; name a capacity reservation group"
        return None if market in ("on_demand", "spot") else f"machines are not started in the market {market} from here"

    def account(self, *, region: str) -> str:
        """The subscription's id, once its usage in `region` could be read with the credentials."""
        self._sdk.pages("compute.usage.list", region)
        return self._sdk.subscription

    def time(self, *, region: str) -> datetime | None:
        """The ``Date`` of the answer to a listing of usage there."""
        return self._sdk.time(region)

    def regions(self, *, region: str) -> Sequence[str]:
        """Regions that sell machines to the subscription; asked of `region` only, which is therefore all."""
        return [region] if self._skus.all(region) else []

    def zones(self, instance_type: str, region: str, zone: str | None = None) -> Sequence[str]:
        """Zones ``region-N`` that offer the size; the region itself where it has no zones; `zone` as it is."""
        if zone is not None:
            return [zone]
        sku = self._skus.of(instance_type, region)
        if sku is None:
            return []
        places = _rows(sku.get("locationInfo"))
        closed = {z for r in _rows(sku.get("restrictions")) for z in _row(r.get("restrictionInfo")).get("zones") or ()}
        zones = sorted(str(z) for place in places for z in place.get("zones") or () if z not in closed)
        return [f"{region}-{zone}" for zone in zones] or [region]

    # -- before the call ----------------------------------------------------------------------------------------------

    def settle(self, request: InstanceRequest) -> InstanceRequest:
        """With image, subnet and an SSH key."""
        if not request.accept_no_deadline:
            raise PolicyDenied(  # of this cloud only: another place may do
                "azure: nothing ends a machine there when this program is gone, and one that switches itself off still "
                "bills. Add --accept-no-deadline to accept that, and let 'cloudaccel provision reap --yes' run again "
                "and again.",
                provider="azure", operation="settle", code="no_deadline", scope="provider",
            )  # fmt: skip
        security_group(request)  # refuses early
        if request.image:
            image: Any = {"id": request.image}
        else:
            image = _GPU_IMAGE if request.instance_type.startswith("Standard_N") else _PLAIN_IMAGE
        subnet = self._subnet(request.region)
        sku = self._skus.of(request.instance_type, request.region) or {}
        rdma = capabilities(sku).get("RdmaEnabled") == "True"
        settled = {**request.settled, "image": image, "subnet": subnet, "key": self._key(request), "rdma": rdma}
        return replace(request, settled=settled)

    def rehearse(self, request: InstanceRequest) -> None:
        """Azure has no dry run: checked are that the request can be said, and the caller's rights in the group.

        Raises
        ------
        AuthError
            If actions that a launch needs are not allowed, by name. Where the rights cannot be read they are not known.
        """
        stand_in = replace(request, settled={**request.settled, "group": "none-yet"})
        machine(stand_in, names(request)[0])
        try:
            granted = self._sdk.pages("authorization.permissions.list_for_resource_group", self._sdk.group)
        except ProviderError:
            return
        missing = [right for right in rights(request) if not any(allows(one, right) for one in granted)]
        if missing:
            raise AuthError(
                f"azure: in resource group {self._sdk.group} the credentials lack {', '.join(missing)}; "
                "deploy/azure/role.json is the least role.",
                provider="azure", operation="permissions", code="AuthorizationFailed", scope="provider",
            )  # fmt: skip

    def terms(self, request: InstanceRequest) -> Sequence[str]:
        """Image, network, what is open and what protects it."""
        return terms(request)

    def prepare(self, request: InstanceRequest) -> tuple[InstanceRequest, tuple[Resource, ...]]:
        """With a security group of the run's own, and an availability set where InfiniBand needs one."""
        group, name = self._sdk.group, request.name
        where = "network.network_security_groups"
        self._sdk.call(f"{where}.begin_create_or_update", group, name, security_group(request), polling=False)
        found = self._until_settled(f"{where}.get", group, name)
        made = Resource(
            kind="security_group", id=name, region=request.region, state="live", tags=request.tags, bills=False
        )
        settled = {**request.settled, "group": str(found["id"])}
        if not needs_set(request):
            return replace(request, settled=settled), (made,)
        near = self._set(request, made)
        settled = {**settled, "set": str(near["id"])}
        return replace(request, settled=settled), (made, replace(made, kind="placement_group"))

    # -- machines -----------------------------------------------------------------------------------------------------

    def create(self, request: InstanceRequest) -> tuple[Instance, ...]:
        """One PUT for each machine, only where none has its name; all deleted again when one fails."""
        try:
            for name in names(request):
                self._put(request, name)
            return tuple(self._made(request, name) for name in names(request))
        except OutcomeUnknown:
            raise
        except ProviderError as error:
            self._undo(request, error)
            raise

    def find(self, token: str, *, region: str) -> tuple[Instance, ...]:
        """Machines of `token`, by the names that follow from it: no listing that lags."""
        found: list[Instance] = []
        for name in names_of(token):
            with suppress(InstanceNotFound):
                machine = self._view(name)
                if _row(machine.get("tags")).get(TOKEN_TAG) == token:
                    found.append(_instance(machine, region))
        return tuple(found)

    def get(self, instance_id: str, *, region: str) -> Instance:
        """The machine now."""
        return _instance(self._view(instance_id), region)

    def console(self, instance_id: str, *, region: str) -> str | None:  # noqa: ARG002  # the group knows where it is
        """The end of the boot diagnostics' serial log, which Azure keeps behind an address for a few minutes."""
        try:
            found = self._sdk.call(
                "compute.virtual_machines.retrieve_boot_diagnostics_data", self._sdk.group, instance_id,
                sas_uri_expiration_time_in_minutes=_LOG_MINUTES,
            )  # fmt: skip
        except Conflict:  # a machine that was made without, or that has not written yet
            return None
        address = str(found.get("serialConsoleLogBlobUri") or "")
        text = self._sdk.text_at(address) if address else None
        return text[-CONSOLE_CHARS:] if text else None

    def delete(self, instance_id: str, *, region: str) -> None:  # noqa: ARG002  # the group knows where it is
        """Begin to delete the machine, and with it what has the delete option. Raises `InstanceNotFound`."""
        self._view(instance_id)  # a delete of nothing is no error there
        self._sdk.call("compute.virtual_machines.begin_delete", self._sdk.group, instance_id, polling=False)

    def resources(self, *, tags: Mapping[str, str], region: str) -> Iterator[Resource]:
        """Everything of the group in `region` that carries `tags`; a run's groups also before a listing has them."""
        seen: set[tuple[str, str]] = set()
        for kind, found in self._everything(tags, region):
            carried = {str(k): str(v) for k, v in _row(found.get("tags")).items()}
            here = str(found.get("location", "")).replace(" ", "").lower() == region
            new = (kind, str(found["name"])) not in seen
            if here and new and all(k in carried and v in ("*", carried[k]) for k, v in tags.items()):
                seen.add((kind, str(found["name"])))
                state = str(_row(found.get("properties")).get("provisioningState", "live"))
                bills = kind in ("machine", "disk", "address")
                yield Resource(kind=kind, id=str(found["name"]), region=region, state=state, tags=carried, bills=bills)

    def _everything(self, tags: Mapping[str, str], region: str) -> Iterator[tuple[str, Found]]:
        """Kind and text of all that listings show, and of the groups that follow from the name of one run."""
        for path, kind in _LISTINGS:
            for found in self._sdk.pages(path, self._sdk.group):
                yield kind, found
        run = tags.get(RUN_TAG, "*")
        for kind in ("placement_group", "security_group") if run != "*" else ():
            with suppress(InstanceNotFound):
                yield kind, self._sdk.call(f"{_PATHS[kind]}.get", self._sdk.group, f"{GROUP_PREFIX}{run}-{region}")

    def remove(self, resource: Resource) -> None:
        """Delete what is no machine. `Conflict` while something uses it, or while it is being deleted."""
        if resource.kind not in _PATHS:
            raise _not_found(resource.id)
        path = _PATHS[resource.kind]
        self._sdk.call(f"{path}.get", self._sdk.group, resource.id)
        if resource.kind == "placement_group":
            self._sdk.call(f"{path}.delete", self._sdk.group, resource.id)
            return
        self._sdk.call(f"{path}.begin_delete", self._sdk.group, resource.id, polling=False)

    # -- inside: groups -----------------------------------------------------------------------------------------------

    def _set(self, request: InstanceRequest, made: Resource) -> Found:
        """The run's availability set; where that is refused, what was `made` for it before goes as well."""
        where = "compute.availability_sets.create_or_update"
        try:
            return self._sdk.call(where, self._sdk.group, request.name, availability_set(request))
        except _UNDECIDED:
            raise
        except ProviderError as error:
            self._undo_group(made, error)
            raise

    def _undo_group(self, made: Resource, error: ProviderError) -> None:
        """Ask for the end of a group, which had been read, until it is gone; `error` is why."""
        began, wait_s = self._monotonic(), 0.1
        while self._monotonic() <= began + PATIENCE_S:
            try:
                self.remove(made)
            except InstanceNotFound:
                return
            except Conflict:
                pass
            except ProviderError as left:
                raise _group_left(made, error, left.raw_code) from error
            self._sleep(wait_s)
            wait_s = min(wait_s * 2, 10)
        raise _group_left(made, error, "it would not go") from error

    # -- inside: machines ---------------------------------------------------------------------------------------------

    def _put(self, request: InstanceRequest, name: str) -> None:
        try:
            self._sdk.call(
                "compute.virtual_machines.begin_create_or_update", self._sdk.group, name, machine(request, name),
                polling=False, headers={"If-None-Match": "*"},
            )  # fmt: skip
        except InstanceNotFound as error:  # of an image, a subnet, a reservation
            raise RequestInvalid(str(error), provider="azure", operation="create", code=error.raw_code) from error
        except Conflict as error:
            if error.raw_code != "PreconditionFailed":
                raise
            found = self._view(name)
            if _row(found.get("tags")).get(TOKEN_TAG) != request.token:
                raise

    def _made(self, request: InstanceRequest, name: str) -> Instance:
        """The machine once Azure has decided about it. Raises what it failed with."""
        found = self._until_settled("compute.virtual_machines.get", self._sdk.group, name, expand="instanceView")
        if _row(found.get("properties")).get("provisioningState") == "Succeeded":
            return _instance(found, request.region)
        for status in _statuses(found):
            parts = str(status.get("code", "")).split("/")
            if parts[:2] == ["ProvisioningState", "failed"] and len(parts) > 2:
                raise from_answer("create", parts[2], str(status.get("message", "")), 409)
        raise from_answer("create", "failed", f"{name} failed without a reason", 409)

    def _undo(self, request: InstanceRequest, error: ProviderError) -> None:
        """Delete all machines of the request, and see them gone: what failed stays there, and may bill."""
        began = self._monotonic()
        waiting, wait_s = set(names(request)), 0.1
        while True:
            for name in sorted(waiting):
                try:
                    self._delete_own(name, request.token)
                except InstanceNotFound:
                    if self._monotonic() - began >= self._consistency_s:  # until then a read may not show it yet
                        waiting.discard(name)
                except _PASSING:
                    continue
                except ProviderError as second:
                    raise _unsure(request, f"{error} Then: {second}") from second
            if not waiting:
                return
            if self._monotonic() > began + PATIENCE_S:
                raise _unsure(request, f"{error} {', '.join(sorted(waiting))} would not go") from error
            self._sleep(wait_s)
            wait_s = min(wait_s * 2, 10)

    def _delete_own(self, name: str, token: str) -> None:
        """Begin to delete a machine of `token`; one of the same name that is not ours stays, and is not found."""
        found = self._view(name)
        if _row(found.get("tags")).get(TOKEN_TAG) != token:
            raise _not_found(name)
        if _state(found) == "stopping":
            return
        self._sdk.call("compute.virtual_machines.begin_delete", self._sdk.group, name, polling=False)

    def _until_settled(self, path: str, *names_of_it: str, **more: Any) -> Found:
        """A resource once it is no longer being made."""
        began = self._monotonic()
        wait = 0.1
        while True:
            found: Found = {}
            try:
                found = self._sdk.call(path, *names_of_it, **more)
            except InstanceNotFound as error:
                if self._monotonic() - began >= self._consistency_s:  # until then a read may not show it yet
                    raise from_answer(
                        "create", "AllocationFailed", f"{names_of_it[-1]} was made and is gone", 409
                    ) from error
            except ProviderError as error:
                raise OutcomeUnknown(
                    f"azure: nobody knows what {names_of_it[-1]} became: {error}",
                    provider="azure", operation="create", code=error.raw_code,
                ) from error  # fmt: skip
            if _row(found.get("properties")).get("provisioningState") in ("Succeeded", "Failed", "Canceled"):
                return found
            if self._monotonic() > began + PATIENCE_S:
                raise OutcomeUnknown(
                    f"azure: {names_of_it[-1]} is still being made.",
                    provider="azure",
                    operation="create",
                    code="timeout",
                )
            self._sleep(wait)
            wait = min(wait * 2, 10)

    def _view(self, name: str) -> Found:
        return self._sdk.call("compute.virtual_machines.get", self._sdk.group, name, expand="instanceView")

    def _subnet(self, region: str) -> str:
        """The subnet named ``cloudaccel`` or ``default`` of a network of the group in `region`. Nothing is made."""
        for network in self._sdk.pages("network.virtual_networks.list", self._sdk.group):
            if str(network.get("location", "")).replace(" ", "").lower() != region:
                continue
            by_name = {str(s.get("name")): s for s in _rows(_row(network.get("properties")).get("subnets"))}
            subnet = by_name.get("cloudaccel") or by_name.get("default")
            if subnet is not None:
                return str(subnet["id"])
        raise CapacityUnavailable(
            f"azure: no network of {self._sdk.group} in {region} has a subnet named cloudaccel or default.",
            provider="azure", operation="virtual_networks.list", code="no_subnet", scope="region", ttl_s=30,
        )  # fmt: skip

    def _key(self, request: InstanceRequest) -> str:
        """The named public key of the group, or one whose private half nobody has: a machine must have one."""
        if request.key_name:
            found = self._sdk.call("compute.ssh_public_keys.get", self._sdk.group, request.key_name)
            return str(_row(found.get("properties")).get("publicKey"))
        return _nobodys_key()


def allows(permission: Mapping[str, Any], action: str) -> bool:
    """Whether a set of allowed and excluded actions, with ``*`` for anything in them, allows an action."""

    def named(key: str) -> bool:
        patterns: Sequence[str] = permission.get(key) or ()
        return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)

    return named("actions") and not named("not_actions")


@cache
def _nobodys_key() -> str:
    """A public key whose private half was never kept."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    text = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return text.decode()


_PATHS = {
    "disk": "compute.disks",
    "interface": "network.network_interfaces",
    "address": "network.public_ip_addresses",
    "placement_group": "compute.availability_sets",
    "security_group": "network.network_security_groups",
}
_LISTINGS = (
    ("compute.virtual_machines.list", "machine"),
    ("compute.disks.list_by_resource_group", "disk"),
    ("network.network_interfaces.list", "interface"),
    ("network.public_ip_addresses.list", "address"),
    ("compute.availability_sets.list", "placement_group"),
    ("network.network_security_groups.list", "security_group"),
)


def _rows(value: Any) -> list[Found]:
    return cast("list[Found]", [*value] if value else [])


def _row(value: Any) -> Found:
    return cast("Found", value or {})


def _statuses(found: Found) -> list[Found]:
    return _rows(_row(_row(found.get("properties")).get("instanceView")).get("statuses"))


def _state(found: Found) -> str:
    made = str(_row(found.get("properties")).get("provisioningState"))
    if made == "Deleting":
        return "stopping"
    power = next((str(s["code"]) for s in _statuses(found) if str(s.get("code", "")).startswith("PowerState/")), "")
    if not power:
        return "stopped" if made == "Failed" else "pending"
    return _POWER.get(power.partition("/")[2], "stopped")


def _instance(found: Found, region: str) -> Instance:
    properties = _row(found.get("properties"))
    zones = cast("list[str]", found.get("zones") or [])
    location = str(found.get("location") or region).replace(" ", "").lower()
    disk = _row(_row(_row(properties.get("storageProfile")).get("osDisk")))
    cards = _rows(_row(properties.get("networkProfile")).get("networkInterfaces"))
    return Instance(
        id=str(found["name"]),
        region=location,
        zone=f"{location}-{zones[0]}" if zones else None if properties.get("availabilitySet") else location,
        state=_state(found),
        instance_type=str(_row(properties.get("hardwareProfile")).get("vmSize", "")),
        market="spot" if properties.get("priority") == "Spot" else "on_demand",
        attached=(
            *((("disk", str(disk["name"])),) if disk.get("name") else ()),
            *(("interface", str(card["id"]).rpartition("/")[2]) for card in cards if card.get("id")),
        ),
    )


def _unsure(request: InstanceRequest, text: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"azure: {text}", provider="azure", operation="create", code=request.token[:8])


def _group_left(made: Resource, error: ProviderError, why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"{error} Made before that, and not removed yet: {made.id} ({why}).",
        provider="azure", operation=error.operation, code=error.raw_code,
    )  # fmt: skip


def _not_found(identifier: str) -> ProviderError:
    return InstanceNotFound(f"azure: {identifier} is not there.", provider="azure", operation="get", code="NotFound")


__all__ = ["AzureInstances"]
