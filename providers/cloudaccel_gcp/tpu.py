"""TPU slices: queued resources of the TPU API, and the nodes that they bring.

One create asks for all slices of a run at once. A slice's id is ``zone/tpu/node``; its node, and the queued resource
that brought it, are one thing here: it is gone when both are. While a request waits in the queue the slice is pending,
since it may start, and bill, at any moment. The TPU API ends nothing by itself at a deadline, so nothing is started
unless the request accepts (`accept_no_deadline`) that only this program, run again, ends it.
"""

import csv
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, cast

from cloudaccel.errors import (
    CapacityUnavailable,
    Conflict,
    InstanceNotFound,
    OutcomeUnknown,
    PolicyDenied,
    ProviderError,
    RequestInvalid,
)
from cloudaccel.protocols import Instance, InstanceRequest, Resource
from cloudaccel_gcp.failures import from_answer
from cloudaccel_gcp.launching import TOKEN_LABEL, invalid, metadata, names
from cloudaccel_gcp.launching import labels as labels_of
from cloudaccel_gcp.sdk import Sdk, rows

QUEUE_S = 600  # for so long a request may wait: what does not run 15 minutes after it was sent is taken down
PATIENCE_S = 600.0
RIGHTS = (
    "tpu.nodes.create", "tpu.nodes.delete", "tpu.nodes.get", "tpu.nodes.list", "tpu.operations.get",
    "tpu.queuedResources.create", "tpu.queuedResources.delete", "tpu.queuedResources.get", "tpu.queuedResources.list",
)  # fmt: skip
_SLICE = re.compile(r"(v\d+[a-z]*)-\d+")  # v4-8, v5litepod-8, v6e-16: accelerator types of the TPU API
_MARK = "/tpu/"
# States of a queued resource without nodes in use, and of a node of an active one (TPU API v2, 2026-09).
_QUEUED = {
    "SUSPENDING": "stopping", "DELETING": "stopping", "SUSPENDED": "stopped", "FAILED": "stopped",
}  # fmt: skip
_NODE = {
    "READY": "running", "DELETING": "stopping", "STOPPING": "stopping", "HIDING": "stopping", "STOPPED": "stopped",
    "PREEMPTED": "stopped", "TERMINATED": "stopped", "HIDDEN": "stopped", "UNKNOWN": "stopped",
}  # fmt: skip
_FREE = ("FAILED", "SUSPENDED")  # nothing bills, and nothing will
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Slice:
    """One slice as a listing shows it. `queued` None: a node that no queued resource has."""

    zone: str
    node: str
    queued: Found | None
    spec: Mapping[str, Any]

    @property
    def tags(self) -> dict[str, str]:
        labels: Mapping[str, Any] = self.spec.get("labels") or {}
        return {key: str(value) for key, value in labels.items()}


def is_slice(instance_type: str) -> bool:
    """Whether it is an accelerator type of the TPU API, and no machine type."""
    return _SLICE.fullmatch(instance_type) is not None


def owns(instance_id: str) -> bool:
    """Whether the id is a slice's."""
    return _MARK in instance_id


@cache
def runtimes() -> dict[str, str]:
    """Runtime version by TPU generation, from tpu_runtimes.csv."""
    text = files("cloudaccel_gcp").joinpath("data/tpu_runtimes.csv").read_text(encoding="utf-8")
    return {row["generation"]: row["runtime_version"] for row in csv.DictReader(text.splitlines())}


def refused(instance_type: str, market: str) -> str | None:
    """Why slices of that type are not started in that market; None: they may be. Asks nobody."""
    generation = instance_type.rpartition("-")[0]
    if generation not in runtimes():
        return f"no runtime version is known for TPU {generation}, and newer ones start in Kubernetes clusters only"
    if market not in ("on_demand", "spot"):
        return f"TPU slices are started on demand and as spot, not in the market {market}"
    return None


class Slices:
    """TPU slices of the project. `monotonic`, `sleep`: time to wait by, in seconds."""

    def __init__(
        self, sdk: Sdk, *, monotonic: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._sdk = sdk
        self._monotonic = monotonic
        self._sleep = sleep

    # -- before the call ----------------------------------------------------------------------------------------------

    def zones(self, instance_type: str, zones: list[str]) -> list[str]:
        """Those of `zones` where the type is offered."""
        return [zone for zone in self._served(zones) if self._offers(zone, instance_type)]

    def settle(self, request: InstanceRequest) -> InstanceRequest:
        """With the runtime version, once nothing stands against it; `request.settled` has the subnet already."""
        if not request.accept_no_deadline:
            raise PolicyDenied(
                "gcp: nothing ends a TPU slice there when this program is gone: the TPU API has no deadline. Add "
                "--accept-no-deadline to accept that, and let 'cloudaccel provision reap --yes' run again and again.",
                provider="gcp", operation="settle", code="no_deadline",
            )  # fmt: skip
        why = refused(request.instance_type, request.market)
        if why is not None:
            raise invalid("market", why)
        if request.reservation_id is not None:
            raise invalid("reservation", "reserved TPU capacity is not used from here; start without --reservation")
        if request.disk_gib is not None:
            raise invalid("disk", "the boot disk of a TPU machine has one size; start without --disk")
        if not self._offers(request.zone, request.instance_type):
            raise CapacityUnavailable(
                f"gcp: {request.instance_type} is not offered in {request.zone}.",
                provider="gcp", operation="acceleratorTypes.get", code="not_offered", ttl_s=82_800,
            )  # fmt: skip
        runtime = request.image or runtimes()[request.instance_type.rpartition("-")[0]]
        if self._there("get_runtime_version", f"{self._place(request.zone)}/runtimeVersions/{runtime}") is None:
            raise invalid("no_image", f"{request.zone} has no TPU runtime version {runtime}; name one with --image")
        return replace(request, settled={**request.settled, "runtime": runtime})

    # -- slices -------------------------------------------------------------------------------------------------------

    def create(self, request: InstanceRequest) -> tuple[Instance, ...]:
        """One queued resource for all slices; what it was refused with leaves none."""
        where = self._place(request.zone)
        body = queued_resource(request, where)
        try:
            sent = self._sdk.call(
                "Tpu", "create_queued_resource", parent=where, queued_resource_id=_queue_of(names(request)[0]),
                queued_resource=body, request_id=request.token,
            )  # fmt: skip
        except InstanceNotFound as error:  # of a network, of the place itself: nothing was made
            raise RequestInvalid(str(error), provider="gcp", operation="create", code=error.raw_code) from error
        except Conflict:
            found = self._queued(request.zone, _queue_of(names(request)[0]))
            if found is None or _labels(found).get(TOKEN_LABEL) != request.token:
                raise
            return self._made(request)
        failed = self._finished(sent)
        if failed is not None:
            self._undo(request, failed)
            raise failed
        return self._made(request)

    def found(self, zones: list[str], tags: Mapping[str, str]) -> Iterator[tuple[str, _Slice]]:
        """Zone and slice of all that carry `tags` (value ``*``: any)."""
        for zone in self._served(zones):
            for found in self._listed(zone):
                if all(key in found.tags and value in ("*", found.tags[key]) for key, value in tags.items()):
                    yield zone, found

    def find(self, token: str, region: str, zones: list[str]) -> tuple[Instance, ...]:
        """Slices that carry `token`, waiting ones included."""
        machines: list[Instance] = []
        for zone, found in self.found(zones, {TOKEN_LABEL: token}):
            with suppress(InstanceNotFound):  # it ended meanwhile
                machines.append(self.get(f"{zone}{_MARK}{found.node}", region))
        return tuple(machines)

    def resources(self, tags: Mapping[str, str], region: str, zones: list[str]) -> Iterator[Resource]:
        """All that carry `tags`, as resources."""
        for zone, found in self.found(zones, tags):
            state = "running" if found.queued is None else _state(found.queued)
            yield Resource(
                kind="machine", id=f"{zone}{_MARK}{found.node}", region=region,
                state=_QUEUED.get(state, "pending" if found.queued is not None and state != "ACTIVE" else "running"),
                tags=found.tags, bills=state not in _FREE,
            )  # fmt: skip

    def get(self, instance_id: str, region: str) -> Instance:
        """The slice now. Raises `InstanceNotFound` once neither its node nor its queued resource is there."""
        zone, _, node = instance_id.partition(_MARK)
        queued = self._queued(zone, _queue_of(node))
        waits = queued is not None and _state(queued) not in ("ACTIVE", "SUSPENDING", "DELETING", *_FREE)
        found = None if waits else self._there("get_node", f"{self._place(zone)}/nodes/{node}")
        if queued is None and found is None:
            raise InstanceNotFound(
                f"gcp: {instance_id} is not there.", provider="gcp", operation="get", code="notFound"
            )
        return _instance(instance_id, zone, region, queued, found)

    def delete(self, instance_id: str) -> None:
        """Begin to end the slice, and with it the others of its request. Raises `InstanceNotFound` once it is gone."""
        zone, _, node = instance_id.partition(_MARK)
        queued = self._queued(zone, _queue_of(node))
        if queued is None:
            self._sdk.call("Tpu", "delete_node", name=f"{self._place(zone)}/nodes/{node}")
        elif _state(queued) != "DELETING":
            with suppress(Conflict):  # not now, as while it is being made: whoever ends it asks again
                name = f"{self._place(zone)}/queuedResources/{_queue_of(node)}"
                self._sdk.call("Tpu", "delete_queued_resource", name=name, force=True)

    def network(self, instance_id: str) -> tuple[str, list[str]]:
        """Network and network tags of the slice's node. Raises `InstanceNotFound`."""
        zone, _, node = instance_id.partition(_MARK)
        found = self._sdk.call("Tpu", "get_node", name=f"{self._place(zone)}/nodes/{node}")
        card: Mapping[str, Any] = found.get("network_config") or {}
        return str(card.get("network", "")), [str(tag) for tag in found.get("tags") or ()]

    # -- inside -------------------------------------------------------------------------------------------------------

    def _place(self, zone: str) -> str:
        return f"projects/{self._sdk.project}/locations/{zone}"

    def _served(self, zones: list[str]) -> list[str]:
        """Those of `zones` where the project may have TPUs; none where the TPU API is off."""
        try:
            served = self._sdk.locations()
        except PolicyDenied as error:
            if error.raw_code != "SERVICE_DISABLED":
                raise
            return []
        return [zone for zone in zones if zone in served]

    def _offers(self, zone: str, instance_type: str) -> bool:
        return self._there("get_accelerator_type", f"{self._place(zone)}/acceleratorTypes/{instance_type}") is not None

    def _there(self, method: str, name: str) -> Found | None:
        try:
            return self._sdk.call("Tpu", method, name=name)
        except InstanceNotFound:
            return None

    def _queued(self, zone: str, name: str) -> Found | None:
        return self._there("get_queued_resource", f"{self._place(zone)}/queuedResources/{name}")

    def _listed(self, zone: str) -> Iterator[_Slice]:
        parent, seen = self._place(zone), set[str]()
        for queued in self._sdk.pages("Tpu", "list_queued_resources", parent=parent):
            for node, spec in _nodes_of(queued):
                seen.add(node)
                yield _Slice(zone, node, queued, spec)
        for node in self._sdk.pages("Tpu", "list_nodes", parent=parent):
            name = str(node["name"]).rpartition("/")[2]
            if name not in seen:
                yield _Slice(zone, name, None, node)

    def _made(self, request: InstanceRequest) -> tuple[Instance, ...]:
        """The slices just asked for, which wait; one that a read does not show yet does so too."""
        return tuple(
            Instance(
                id=f"{request.zone}{_MARK}{node}", region=request.region, zone=request.zone, state="pending",
                instance_type=request.instance_type, market=request.market,
            )
            for node in names(request)
        )  # fmt: skip

    def _finished(self, operation: Found) -> ProviderError | None:
        """What the operation failed with, once it is done. Raises `OutcomeUnknown` if that could not be seen."""
        began, wait_s = self._monotonic(), 0.5
        while not operation["done"]:
            if self._monotonic() > began + PATIENCE_S:
                raise OutcomeUnknown(
                    f"gcp: {operation['name']} is not done.", provider="gcp", operation="wait", code="TIMEOUT"
                )
            try:
                operation = self._sdk.call("Tpu", "get_operation", name=operation["name"])
            except ProviderError as error:
                raise OutcomeUnknown(
                    f"gcp: nobody knows how {operation['name']} ended: {error}",
                    provider="gcp", operation="wait", code=error.raw_code,
                ) from error  # fmt: skip
            if not operation["done"]:
                self._sleep(wait_s)
                wait_s = min(wait_s * 2, 10)
        error = operation["error"]
        return None if error is None else from_answer("create", error["code"], error["message"], 400)

    def _undo(self, request: InstanceRequest, error: ProviderError) -> None:
        """See that a request whose operation failed left nothing in the queue. Raises `OutcomeUnknown` if it may."""
        began, wait_s = self._monotonic(), 0.5
        first = f"{request.zone}{_MARK}{names(request)[0]}"
        try:
            while self._monotonic() <= began + PATIENCE_S:
                self.delete(first)
                self._sleep(wait_s)
                wait_s = min(wait_s * 2, 10)
        except InstanceNotFound:
            return
        except ProviderError as left:
            error = left
        raise OutcomeUnknown(
            f"{error} Its request may still be in the queue.", provider="gcp", operation="create", code=error.raw_code
        ) from error


def queued_resource(request: InstanceRequest, where: str) -> Found:
    """Body of queuedResources.create: all slices of a settled request, closed to the outside.

    `request.settled` has ``runtime``, ``network`` and ``subnet``; `where` is ``projects/P/locations/Z``.
    """
    node = {
        "accelerator_type": request.instance_type,
        "runtime_version": request.settled["runtime"],
        "description": request.name,
        "labels": labels_of(request),
        "tags": [request.name],
        "metadata": metadata(request),
        "network_config": {
            "network": request.settled["network"],
            "subnetwork": request.settled["subnet"],
            "enable_external_ips": False,
        },
        "shielded_instance_config": {"enable_secure_boot": True},
    }
    queue = _queue_of(names(request)[0])
    named: Found = {"node_id": names(request)[0]}
    if request.count > 1:  # their names are made of the prefix and a number from 0
        named = {"multislice_params": {"node_count": request.count, "node_id_prefix": queue}}
    body: Found = {
        "tpu": {"node_spec": [{"parent": where, **named, "node": node}]},
        "queueing_policy": {"valid_until_duration": {"seconds": QUEUE_S}},
    }
    return {**body, "spot": {}} if request.market == "spot" else body


def terms(request: InstanceRequest) -> tuple[str, ...]:
    """What `queued_resource` asks for, for people."""
    inbound = f", and port 22 from {', '.join(request.ssh_cidrs)}" if request.ssh_cidrs else ""
    network = str(request.settled["network"]).rpartition("/")[2]
    return (
        f"A queued resource of the TPU API with runtime version {request.settled['runtime']}.",
        f"It waits for capacity for up to {QUEUE_S // 60} minutes, and costs nothing while it waits.",
        "Nothing ends it there by itself: only this program, run again, does.",
        f"No public address; inbound: what the rules of network {network} let in{inbound}.",
        "Its identity is the project's default service account: a TPU machine has one. OS Login only; secure boot.",
    )


def _queue_of(node: str) -> str:
    """Name of the queued resource that brings a node: the node's without its number."""
    return node.rpartition("-")[0]


def _state(queued: Mapping[str, Any]) -> str:
    said: Mapping[str, Any] = queued.get("state") or {}
    return str(said.get("state", ""))


def _specs(queued: Mapping[str, Any]) -> list[Found]:
    said: Mapping[str, Any] = queued.get("tpu") or {}
    return rows(said.get("node_spec"))


def _labels(queued: Mapping[str, Any]) -> Mapping[str, str]:
    none: Found = {}
    return next(((spec.get("node") or none).get("labels") or none for spec in _specs(queued)), none)


def _nodes_of(queued: Mapping[str, Any]) -> Iterator[tuple[str, Found]]:
    """Names and texts of the nodes that a queued resource asks for."""
    for spec in _specs(queued):
        node = cast(Found, spec.get("node") or {})
        many = cast(Found, spec.get("multislice_params") or {})
        if many.get("node_count"):
            prefix = many.get("node_id_prefix") or str(queued["name"]).rpartition("/")[2]
            yield from ((f"{prefix}-{n}", node) for n in range(int(many["node_count"])))
        else:
            yield str(spec.get("node_id", "")), node


def _instance(
    instance_id: str, zone: str, region: str, queued: Mapping[str, Any] | None, node: Mapping[str, Any] | None
) -> Instance:
    """One slice, from what is there of it: a queued resource, a node, or both."""
    said = "" if queued is None else _state(queued)
    state = _QUEUED.get(said, "pending")
    if node is not None and said in ("", "ACTIVE"):
        state = _NODE.get(str(node.get("state")), "pending")
    none: Found = {}
    spec = node or (none if queued is None else next((text for _, text in _nodes_of(queued)), none))
    ends = rows(none if node is None else node.get("network_endpoints"))
    created = None if node is None else node.get("create_time")
    spot = queued is not None and queued.get("spot") is not None
    return Instance(
        id=instance_id, region=region, zone=zone, state=state, instance_type=str(spec.get("accelerator_type", "")),
        market="spot" if spot or (spec.get("scheduling_config") or none).get("spot") else "on_demand",
        launched_at=datetime.fromisoformat(str(created)) if created else None,
        private_address=next((str(end["ip_address"]) for end in ends if end.get("ip_address")), None),
        reason=_reason(queued), interrupted=spot and (_by_service(queued) or spec.get("state") == "PREEMPTED"),
    )  # fmt: skip


def _by_service(queued: Mapping[str, Any] | None) -> bool:
    """Whether the service, and not the user, took the slices of a request back."""
    said: Mapping[str, Any] = (queued or {}).get("state") or {}
    return said.get("state") in ("SUSPENDING", "SUSPENDED") and said.get("state_initiator") == "SERVICE"


def _reason(queued: Mapping[str, Any] | None) -> str:
    """The cloud's own word for why a request did not come to run, or runs no more."""
    said: Mapping[str, Any] = (queued or {}).get("state") or {}
    failed: Mapping[str, Any] = said.get("failed_data") or {}
    error: Mapping[str, Any] = failed.get("error") or {}
    if said.get("state") in _FREE:
        return f"queued resource {said['state']}: {error.get('message') or 'no reason given'}"
    return ""


__all__ = ["QUEUE_S", "RIGHTS", "Slices", "is_slice", "owns", "queued_resource", "refused", "runtimes", "terms"]
