"""Compute Engine: machines, and the disks, addresses and firewall rules that come and go with them.

A machine's id is ``zone/name``; the name follows from the token, so an id is never used again for another machine. TPU
slices are the TPU API's (`tpu.Slices`), and are handed on.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from cloudaccel.errors import (
    AuthError,
    CapacityUnavailable,
    ConfigError,
    Conflict,
    InstanceNotFound,
    ProviderError,
    RequestInvalid,
)
from cloudaccel.protocols import Access, Instance, InstanceRequest, Json, Resource, Trial
from cloudaccel_gcp import tpu
from cloudaccel_gcp.access import GcpAccess
from cloudaccel_gcp.launching import (
    TOKEN_LABEL,
    bulk_insert,
    described,
    firewall,
    flex_is_stale,
    flex_seconds,
    insert,
    invalid,
    names,
    refused,
    terms,
)
from cloudaccel_gcp.sdk import Sdk, raise_failed, rows

# A stopped machine (TERMINATED) still exists, and its disks bill: only "not there" is gone.
_STATES = {
    "PROVISIONING": "pending",
    "STAGING": "pending",
    "REPAIRING": "pending",
    "RUNNING": "running",
    "PENDING_STOP": "stopping",
    "STOPPING": "stopping",
    "SUSPENDING": "stopping",
    "DEPROVISIONING": "stopping",
    "TERMINATED": "stopped",
    "SUSPENDED": "stopped",
}
# What one launch and its end need (IAM permissions reference, 2026-09); the whole role is deploy/gcp/role.yaml.
_RIGHTS = (
    "compute.disks.create", "compute.instances.create", "compute.instances.delete", "compute.instances.get",
    "compute.instances.list", "compute.instances.setLabels", "compute.instances.setMetadata", "compute.subnetworks.use",
    "compute.zoneOperations.get",
)  # fmt: skip
_RIGHTS_OF_RULES = ("compute.firewalls.create", "compute.firewalls.delete", "compute.networks.updatePolicy")
_PREEMPTED = "compute.instances.preempted"
SMALLEST_DISK_GIB = 10
_RUN = "cloudaccel-run"  # the label that names one run
CONSOLE_BYTES = 65_536  # a negative start counts from the end (Compute Engine API, getSerialPortOutput)
_TRIAL = Trial(
    instance_type="e2-standard-2", region="us-central1", price_bound=Decimal("0.15"), currency="USD", as_of="2025-10",
    source="twice the list price known of it, 0.067 USD/h, not read anew",
)  # fmt: skip
_ANNOUNCED = (
    "curl -sf -m 2 -H 'Metadata-Flavor: Google' "
    "http://metadata.google.internal/computeMetadata/v1/instance/preempted | grep -x TRUE"
)


class GcpInstances:
    """Compute Engine in every region of the project."""

    def __init__(self, sdk: Sdk, slices: tpu.Slices, *, consistency_s: float, now: Callable[[], datetime]) -> None:
        self._now = now
        self._sdk = sdk
        self._slices = slices
        self._consistency_s = consistency_s

    @property
    def consistency_s(self) -> float:
        """For how long after a create a listing may still not show it, seconds."""
        return self._consistency_s

    @property
    def gang(self) -> bool:
        """A bulk insert with a minimum count starts all or none."""
        return True

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
        return GcpAccess(self._sdk, self._slices)

    @property
    def announced(self) -> str:
        """The instance's own metadata, which tells half a minute before a spot machine is taken back."""
        return _ANNOUNCED

    # -- where and as whom --------------------------------------------------------------------------------------------

    def keeps_deadline(self, instance_type: str) -> bool:
        """Compute Engine deletes machines at a set time; the TPU API does no such thing."""
        return not tpu.is_slice(instance_type)

    def refusal(self, instance_type: str, market: str, count: int) -> str | None:
        """What is sold and cannot be asked for as a machine: hosts with cards, slices of clusters, flex-start gangs."""
        if tpu.is_slice(instance_type):
            return tpu.refused(instance_type, market)
        return refused(instance_type, market, count)

    def account(self, *, region: str) -> str:  # noqa: ARG002  # the zone or the project says it
        """The project's id, which is global: no region is asked."""
        return str(self._sdk.call("Projects", "get", project=self._sdk.project)["name"])

    def time(self, *, region: str) -> datetime | None:  # noqa: ARG002  # the project is asked, which is global
        """The ``Date`` of the answer to a read of the project."""
        return self._sdk.time()

    def regions(self, *, region: str) -> Sequence[str]:  # noqa: ARG002  # the zone or the project says it
        """Regions of the project."""
        return sorted(str(found["name"]) for found in self._sdk.pages("Regions", "list", project=self._sdk.project))

    def zones(self, instance_type: str, region: str, zone: str | None = None) -> Sequence[str]:
        """Zones that offer the type; `zone` as it is, since prices name zones as Compute Engine does."""
        if zone is not None:
            return [zone]
        if tpu.is_slice(instance_type):
            return self._slices.zones(instance_type, self._zones(region))
        return [found for found in self._zones(region) if self._shape(found, instance_type) is not None]

    # -- before the call ----------------------------------------------------------------------------------------------

    def settle(self, request: InstanceRequest) -> InstanceRequest:
        """With the image's own link, its size, and a subnet of the region."""
        if request.key_name:
            raise invalid("key_name", "there are no key pairs here; whoever has the OS Login role may come in")
        subnet = self._subnet(request.region)
        settled: dict[str, Json] = {"subnet": str(subnet["self_link"]), "network": str(subnet["network"])}
        firewall(replace(request, settled=settled))  # refuses early
        if tpu.is_slice(request.instance_type):
            return self._slices.settle(replace(request, settled=settled))
        why = refused(request.instance_type, request.market, request.count)
        if why is not None:
            raise invalid("market", why)
        if request.market == "flex_start":
            settled["run_s"] = flex_seconds(request, self._now())
        shape = self._shape(request.zone, request.instance_type)
        if shape is None:
            raise CapacityUnavailable(
                f"gcp: {request.instance_type} is not offered in {request.zone}.",
                provider="gcp", operation="machineTypes.get", code="not_offered", ttl_s=82_800,
            )  # fmt: skip
        image = self._image(request.image or image_for(shape))
        size = max(int(image.get("disk_size_gb") or 0), SMALLEST_DISK_GIB)
        return replace(request, settled={**settled, "image": str(image["self_link"]), "disk_gib": size})

    def rehearse(self, request: InstanceRequest) -> None:
        """Google Cloud has no dry run: checked are that the request can be said, and the caller's permissions.

        Raises
        ------
        AuthError
            If permissions that a launch needs are missing, by name.
        """
        rights = _RIGHTS
        if tpu.is_slice(request.instance_type):
            tpu.queued_resource(request, request.zone)
            rights = tpu.RIGHTS
        else:
            bulk_insert(request) if request.count > 1 else insert(request)
        wanted = [*rights, *(_RIGHTS_OF_RULES if request.ssh_cidrs else ())]
        granted = self._sdk.granted(wanted)
        missing = [] if granted is None else [right for right in wanted if right not in granted]
        if missing:
            raise AuthError(
                f"gcp: in project {self._sdk.project} the credentials lack {', '.join(missing)}; "
                "deploy/gcp/role.yaml is the least role.",
                provider="gcp", operation="testIamPermissions", code="IAM_PERMISSION_DENIED", scope="provider",
            )  # fmt: skip

    def terms(self, request: InstanceRequest) -> Sequence[str]:
        """Image, network, what is open and what protects it."""
        return tpu.terms(request) if tpu.is_slice(request.instance_type) else terms(request)

    def prepare(self, request: InstanceRequest) -> tuple[InstanceRequest, tuple[Resource, ...]]:
        """With a firewall rule of the run's own, if sources were named that may reach port 22."""
        rule = firewall(request)
        if rule is None:
            return request, ()
        try:
            sent = self._sdk.call("Firewalls", "insert_unary", project=self._sdk.project, firewall_resource=rule)
            done = self._sdk.finished(sent)
            if done.get("error"):
                raise_failed("firewalls.insert", done)
        except Conflict as error:
            if error.raw_code not in ("alreadyExists", "RESOURCE_ALREADY_EXISTS"):
                raise
        made = Resource(
            kind="security_group", id=request.name, region=request.region, state="live", tags=request.tags, bills=False
        )
        return request, (made,)

    # -- machines -----------------------------------------------------------------------------------------------------

    def create(self, request: InstanceRequest) -> tuple[Instance, ...]:
        """One insert, or one bulk insert; its operation is waited for, since only that says whether it worked."""
        if tpu.is_slice(request.instance_type):
            return self._slices.create(request)
        if request.market == "flex_start" and flex_is_stale(request, self._now()):
            return self._begun(request)
        where = {"project": self._sdk.project, "zone": request.zone, "request_id": request.token}
        try:
            if request.count == 1:
                sent = self._sdk.call("Instances", "insert_unary", **where, instance_resource=insert(request))
            else:
                body = bulk_insert(request)
                sent = self._sdk.call(
                    "Instances", "bulk_insert_unary", **where, bulk_insert_instance_resource_resource=body
                )  # fmt: skip
        except InstanceNotFound as error:  # of an image, a subnet, a reservation: nothing was made
            raise RequestInvalid(str(error), provider="gcp", operation="insert", code=error.raw_code) from error
        except Conflict:
            found = self.find(request.token, region=request.region)
            if len(found) != request.count:
                raise
            return found
        done = self._sdk.finished(sent)
        if done.get("error"):
            raise_failed("insert", done)
        return tuple(self._created(request, name) for name in names(request))

    def find(self, token: str, *, region: str) -> tuple[Instance, ...]:
        """Machines that carry `token`; those that ended are not listed any more."""
        wanted = f"labels.{TOKEN_LABEL}={token}"
        zones = self._zones(region)
        machines = tuple(
            _machine(found, region, zone)
            for zone in zones
            for found in self._sdk.pages("Instances", "list", project=self._sdk.project, zone=zone, filter=wanted)
        )
        return machines or self._slices.find(token, region, zones)

    def get(self, instance_id: str, *, region: str) -> Instance:
        """The machine now; one whose deletion Google reports as done is ``terminated``, with the reason."""
        if tpu.owns(instance_id):
            return self._slices.get(instance_id, region)
        zone, name = _split(instance_id)
        try:
            found = self._sdk.call("Instances", "get", project=self._sdk.project, zone=zone, instance=name)
        except InstanceNotFound:
            return self._ended(instance_id, region)
        return _machine(found, region, zone)

    def console(self, instance_id: str, *, region: str) -> str | None:  # noqa: ARG002  # the zone says it
        """The newest part of serial port 1, written to whether or not it can be typed into; a slice has none."""
        if tpu.owns(instance_id):
            return None
        zone, name = _split(instance_id)
        answer = self._sdk.call(
            "Instances", "get_serial_port_output", project=self._sdk.project, zone=zone, instance=name,
            port=1, start=-CONSOLE_BYTES,
        )  # fmt: skip
        return str(answer["contents"]) if answer.get("contents") else None

    def delete(self, instance_id: str, *, region: str) -> None:  # noqa: ARG002  # the zone or the project says it
        """Begin to delete; `get` tells when it is done."""
        if tpu.owns(instance_id):
            self._slices.delete(instance_id)
            return
        zone, name = _split(instance_id)
        self._sdk.call("Instances", "delete_unary", project=self._sdk.project, zone=zone, instance=name)

    def resources(self, *, tags: Mapping[str, str], region: str) -> Iterator[Resource]:
        """Everything in `region` that carries `tags`."""
        wanted = " AND ".join(
            f"labels.{key}:*" if value == "*" else f"labels.{key}={value}" for key, value in tags.items()
        )
        project, zones = self._sdk.project, self._zones(region)
        for zone in zones:
            for found in self._sdk.pages("Instances", "list", project=project, zone=zone, filter=wanted):
                state = _STATES.get(str(found.get("status")), "pending")
                yield _resource("machine", f"{zone}/{found['name']}", region, state, found)
            for found in self._sdk.pages("Disks", "list", project=project, zone=zone, filter=wanted):
                yield _resource("disk", f"{zone}/{found['name']}", region, str(found.get("status", "live")), found)
        for found in self._sdk.pages("Addresses", "list", project=project, region=region, filter=wanted):
            yield _resource("address", str(found["name"]), region, str(found.get("status", "live")), found)
        yield from self._slices_with(tags, region, zones)
        yield from self._rules(tags, region)

    def remove(self, resource: Resource) -> None:
        """Delete a disk, address or firewall rule."""
        project = self._sdk.project
        if resource.kind == "disk":
            zone, name = _split(resource.id)
            self._sdk.call("Disks", "delete_unary", project=project, zone=zone, disk=name)
        elif resource.kind == "address":
            self._sdk.call("Addresses", "delete_unary", project=project, region=resource.region, address=resource.id)
        elif resource.kind == "security_group":
            self._sdk.call("Firewalls", "delete_unary", project=project, firewall=resource.id)
        else:
            raise _not_found(resource.id)  # nothing of that kind is ever made here

    # -- inside -------------------------------------------------------------------------------------------------------

    def _begun(self, request: InstanceRequest) -> tuple[Instance, ...]:
        """The machine of an old flex-start request; sent now, one would outlive its deadline, so none is made."""
        try:
            machine = self.get(f"{request.zone}/{names(request)[0]}", region=request.region)
        except InstanceNotFound:
            raise CapacityUnavailable(
                "gcp: the flex-start request is too old to be sent: its machine would outlive the deadline.",
                provider="gcp", operation="insert", code="stale", ttl_s=0,
            ) from None  # fmt: skip
        return (machine,)

    def _created(self, request: InstanceRequest, name: str) -> Instance:
        identifier = f"{request.zone}/{name}"
        try:
            machine = self.get(identifier, region=request.region)
        except InstanceNotFound:
            machine = None
        if machine is None or machine.state == "terminated":
            raise CapacityUnavailable(
                f"gcp: {identifier} was made and is gone ({machine.reason if machine else 'no reason given'}).",
                provider="gcp", operation="insert", code="gone_again", ttl_s=180,
            )  # fmt: skip
        return machine

    def _ended(self, instance_id: str, region: str) -> Instance:
        """Proof of an end from the zone's log of operations. Raises `InstanceNotFound` when it has none."""
        zone, name = _split(instance_id)
        wanted = f'targetLink eq ".*/instances/{name}"'
        log = self._sdk.pages("ZoneOperations", "list", project=self._sdk.project, zone=zone, filter=wanted)
        ends = [o for o in log if o.get("operation_type") in ("delete", _PREEMPTED) and o.get("status") == "DONE"]
        proved = [
            o for o in ends if not o.get("error") and str(o.get("target_link", "")).endswith(f"/instances/{name}")
        ]
        if not proved:
            raise _not_found(instance_id)
        interrupted = any(o["operation_type"] == _PREEMPTED for o in proved)
        return Instance(
            id=instance_id, region=region, zone=zone, state="terminated", instance_type="",
            market="spot" if interrupted else "on_demand", reason=_PREEMPTED if interrupted else "delete",
            interrupted=interrupted,
        )  # fmt: skip

    def _slices_with(self, tags: Mapping[str, str], region: str, zones: list[str]) -> Sequence[Resource]:
        """TPU slices. Of one run whoever cannot list any has made none: its journal, or its token, would say so."""
        try:
            return tuple(self._slices.resources(tags, region, zones))
        except (AuthError, ConfigError):  # no right, or no google-cloud-tpu
            if tags.get(_RUN, "*") == "*":
                raise
            return ()

    def _zones(self, region: str) -> list[str]:
        found = self._sdk.call("Regions", "get", project=self._sdk.project, region=region)
        return sorted(str(link).rpartition("/")[2] for link in found.get("zones") or ())

    def _shape(self, zone: str, instance_type: str) -> dict[str, Any] | None:
        try:
            return self._sdk.call(
                "MachineTypes", "get", project=self._sdk.project, zone=zone, machine_type=instance_type
            )  # fmt: skip
        except InstanceNotFound:
            return None

    def _subnet(self, region: str) -> dict[str, Any]:
        """The subnet named ``cloudaccel``, else the default one. Nothing is made."""
        found = self._sdk.pages("Subnetworks", "list", project=self._sdk.project, region=region)
        by_name = {str(subnet["name"]): subnet for subnet in found}
        subnet = by_name.get("cloudaccel") or by_name.get("default")
        if subnet is None:
            raise CapacityUnavailable(
                f"gcp: {region} has no subnet named cloudaccel or default.",
                provider="gcp", operation="subnetworks.list", code="no_subnet", scope="region", ttl_s=30,
            )  # fmt: skip
        return subnet

    def _image(self, image: str) -> dict[str, Any]:
        parts = image.split("/")
        project = parts[parts.index("projects") + 1] if "projects" in parts[:-1] else self._sdk.project
        try:
            if "family" in parts[:-1]:
                return self._sdk.call("Images", "get_from_family", project=project, family=parts[-1])
            return self._sdk.call("Images", "get", project=project, image=parts[-1])
        except InstanceNotFound as error:
            raise invalid("no_image", f"no image {image}; name one with --image projects/P/global/images/I") from error

    def _rules(self, tags: Mapping[str, str], region: str) -> Iterator[Resource]:
        for rule in self._sdk.pages("Firewalls", "list", project=self._sdk.project):
            said = described(str(rule.get("description", "")))
            ours = said.get("cloudaccel-region") == region
            if ours and all(key in said and value in ("*", said[key]) for key, value in tags.items()):
                yield _resource("security_group", str(rule["name"]), region, "live", {"labels": said}, bills=False)


@cache
def _images() -> dict[tuple[str, str], str]:
    text = files("cloudaccel_gcp").joinpath("data/images.csv").read_text(encoding="utf-8")
    return {(row["kind"], row["arch"]): row["image"] for row in csv.DictReader(text.splitlines())}


def image_for(shape: Mapping[str, Any]) -> str:
    """The image of images.csv for a machine type, by whether it has GPUs and by its architecture."""
    kind = "gpu" if shape.get("accelerators") else "none"
    arch = str(shape.get("architecture") or "X86_64")
    if (kind, arch) not in _images():
        raise invalid("no_image", f"no image is known for {shape.get('name')} ({kind}, {arch}); name one with --image")
    return _images()[kind, arch]


def _split(identifier: str) -> tuple[str, str]:
    zone, slash, name = identifier.partition("/")
    if not slash:
        raise _not_found(identifier)
    return zone, name


def _machine(found: Mapping[str, Any], region: str, zone: str) -> Instance:
    zone = str(found.get("zone") or zone).rpartition("/")[2]
    none: dict[str, Any] = {}
    card = next(iter(rows(found.get("network_interfaces"))), none)
    public = [str(a["nat_i_p"]) for a in rows(card.get("access_configs")) if a.get("nat_i_p")]
    scheduling: Mapping[str, Any] = found.get("scheduling") or {}
    markets = {"SPOT": "spot", "RESERVATION_BOUND": "capacity_block", "FLEX_START": "flex_start"}
    created = found.get("creation_timestamp")
    return Instance(
        id=f"{zone}/{found['name']}",
        region=region if zone.startswith(region) else zone.rpartition("-")[0],
        zone=zone,
        state=_STATES.get(str(found.get("status")), "pending"),
        instance_type=str(found.get("machine_type", "")).rpartition("/")[2],
        market=markets.get(str(scheduling.get("provisioning_model")), "on_demand"),
        launched_at=datetime.fromisoformat(str(created)) if created else None,
        private_address=card.get("network_i_p"),
        public_address=next(iter(public), None),
        attached=tuple(
            ("disk", f"{zone}/{str(disk['source']).rpartition('/')[2]}")
            for disk in rows(found.get("disks"))
            if disk.get("source")
        ),
    )


def _resource(
    kind: str, identifier: str, region: str, state: str, found: Mapping[str, Any], *, bills: bool = True
) -> Resource:
    labels: Mapping[str, Any] = found.get("labels") or {}
    tags = {key: str(value) for key, value in labels.items()}
    return Resource(kind=kind, id=identifier, region=region, state=state, tags=tags, bills=bills)


def _not_found(identifier: str) -> ProviderError:
    return InstanceNotFound(f"gcp: {identifier} is not there.", provider="gcp", operation="get", code="notFound")
