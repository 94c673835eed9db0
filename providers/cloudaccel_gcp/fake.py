"""A small Compute Engine on this machine, to try ``provision`` without an account.

``python -m cloudaccel_gcp.fake --port 5556``, then set ``CLOUDACCEL_GCP_ENDPOINT`` to its address. Loopback only;
everything is forgotten when it ends. Bodies are read strictly with the field names of the API itself, through the
messages of google-cloud-compute. It has request ids, operations that fail, names that are taken, answers that are lost,
scripted errors, listings that lag, slow endings, disks that are left over, quotas, capacity by zone, machines that
are taken back, and machines that Google deletes at their termination time.

TPU slices are in `fake_tpu`, and served beside.

Not imitated: IAM, throttling by rate, network traffic, prices, managed groups, resource policies, paging.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cloudaccel.testing.cloud import Asked
from cloudaccel.testing.fakes import IN_PROCESS, Answer, Body, Life, RestFake, Server, in_process, serve_forever
from cloudaccel_gcp import fake_tpu

PROJECT = "fake-project"
_ROOT = "https://www.googleapis.com/compute/v1"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"[a-z][-_a-z0-9]{0,62}")
_LABEL_VALUE = re.compile(r"[-_a-z0-9]{0,63}")
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_ZONES = {"us-central1": "abc", "us-east4": "abc", "europe-west4": "abc", "asia-southeast1": "abc"}
_TYPES = {"g2-standard": "nvidia-l4", "a2-highgpu": "nvidia-tesla-a100", "a2-ultragpu": "nvidia-a100-80gb",
          "a3-highgpu": "nvidia-h100-80gb", "a3-megagpu": "nvidia-h100-mega-80gb", "e2-standard": ""}  # fmt: skip
_QUOTAS = ("NVIDIA_L4_GPUS", "NVIDIA_A100_GPUS", "NVIDIA_A100_80GB_GPUS", "NVIDIA_H100_GPUS", "NVIDIA_H100_MEGA_GPUS")


class _Refused(Exception):
    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.message = status, reason, message


@dataclass
class Fault:
    """What goes wrong with the next `times` calls of `action`, such as ``instances.insert``.

    `in_operation`: the call is taken, and its operation fails. `lost`: the call runs, and its answer never arrives.
    `zone`: only there.
    """

    action: str
    code: str = ""
    status: int = 400
    message: str = "scripted"
    times: int = 1
    lost: bool = False
    in_operation: bool = False
    zone: str = ""


@dataclass
class Call:
    """One request that was served: what it was, where, and its query and body."""

    action: str
    zone: str
    query: dict[str, str]
    body: Body = field(default_factory=dict[str, Any])


class FakeGcp(RestFake):
    """The state of one project."""

    def __init__(
        self, *, lag_s: float = 0.0, ending_s: float = 0.0, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(lag_s=lag_s, ending_s=ending_s, now=now)
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.quotas: dict[str, float] = {}
        self.capacity: dict[tuple[str, str], int] = {}  # (type, zone) → machines left; absent: as many as you like
        self.reservations: dict[str, dict[str, Any]] = {}
        self.withheld: set[str] = set()  # permissions that the caller lacks, as testIamPermissions tells
        self.rules: list[Body] = []  # the network's own firewall rules, which no run made
        self.routers: list[Body] = []
        self.consoles: dict[str, str] = {}  # name of a machine → what it wrote to its serial console
        self.stray_disks = False  # a boot disk outlives its machine, as when auto-delete was lost
        self.instances: dict[tuple[str, str], Body] = {}
        self.disks: dict[tuple[str, str], Body] = {}
        self.firewalls: dict[str, Body] = {}
        self.operations: dict[str, Body] = {}
        self._by_request: dict[str, tuple[str, str]] = {}
        self._born: dict[tuple[str, str], datetime] = {}
        self._ending: dict[tuple[str, str], datetime] = {}
        self._count = 0
        self._failing: Fault | None = None
        self.tpu = fake_tpu.FakeTpu(self, PROJECT)

    # -- for tests ----------------------------------------------------------------------------------------------------

    def live(self) -> list[dict[str, Any]]:
        """Everything that exists: kind, id, labels."""
        with self.lock:
            self.settle()
            found = [("machine", f"{z}/{n}", b) for (z, n), b in self.instances.items()]
            found += [("disk", f"{z}/{n}", b) for (z, n), b in self.disks.items()]
            found += [("security_group", n, b) for n, b in self.firewalls.items()]
            found += [("machine", identifier, body) for identifier, body in self.tpu.live()]
            return [{"kind": kind, "id": i, "tags": body.get("labels", {}), "body": body} for kind, i, body in found]

    def interrupt(self, identifier: str) -> None:
        """Take a spot machine back."""
        with self.lock:
            zone, _, name = identifier.partition("/")
            if name.startswith("tpu/"):
                self.tpu.interrupt(zone, name.removeprefix("tpu/"))
                return
            self._operation("compute.instances.preempted", zone, f"zones/{zone}/instances/{name}")
            self._remove((zone, name))

    def began(self, identifier: str, labels: dict[str, str]) -> None:
        """Note that a TPU slice lives from now on."""
        self.lives[identifier] = Life(self.now(), labels)

    def forget(self) -> None:
        """Empty the project."""
        with self.lock:
            for known in (self.instances, self.disks, self.firewalls, self.operations, self.lives, self._by_request,
                          self._born, self._ending):  # fmt: skip
                known.clear()
            self.tpu.forget()

    def reserve(self, name: str, instance_type: str, zone: str, count: int) -> None:
        """Hold capacity under a name."""
        self.reservations[name] = {"type": instance_type, "zone": zone, "left": count}

    def dress(self, client: Any) -> None:
        """Let a client of google-cloud-compute, made for the address `IN_PROCESS`, ask here without a socket."""
        in_process(self, client.transport._session)

    # -- serving ------------------------------------------------------------------------------------------------------

    def serve(self, asked: Asked) -> Answer:
        """Serve one call."""
        with self.lock:
            self.settle()
            try:
                if asked.path.startswith("/v2/"):
                    return self._route_tpu(asked.method, asked.path, dict(asked.query), asked.body)
                return self._route(asked.method, asked.path, asked.query, asked.body)
            except fake_tpu.Refused as refused:
                return Answer(refused.status, refused.body)
            except _Refused as refused:
                error = {"domain": "global", "reason": refused.reason, "message": refused.message}
                answer = {"code": refused.status, "message": refused.message, "errors": [error]}
                return Answer(refused.status, {"error": answer})

    def _route(self, method: str, path: str, query: Mapping[str, str], data: bytes) -> Answer:
        if method == "POST" and path.endswith(":testIamPermissions"):  # of another API, which has no role of its own
            asked = json.loads(data)["permissions"]
            return Answer(200, {"permissions": [right for right in asked if right not in self.withheld]})
        for verb, pattern, action, handler in _ROUTES:
            found = re.fullmatch(f"/compute/v1/projects/(?P<project>[^/]+){pattern}", path)
            if verb != method or found is None:
                continue
            where = found.groupdict(default="")
            call = Call(action, where.get("zone", ""), dict(query))
            self.calls.append(call)
            fault = self._fault(call)
            if fault is not None and not fault.lost and not fault.in_operation:
                raise _Refused(fault.status, fault.code, fault.message)
            call.body = _strict(action, data)
            self._failing = fault if fault is not None and fault.in_operation else None
            return Answer(200, handler(self, where, call.query, call.body), fault is not None and fault.lost)
        raise _Refused(404, "notFound", f"{method} {path} is not imitated")

    def _route_tpu(self, method: str, path: str, query: dict[str, str], data: bytes) -> Answer:
        for verb, pattern, action in fake_tpu.ROUTES:
            found = re.fullmatch(pattern, path)
            if verb != method or found is None:
                continue
            where = found.groupdict(default="")
            call = Call(action, where.get("zone", ""), query, json.loads(data) if data else {})
            self.calls.append(call)
            fault = self._fault(call)
            if fault is not None and not fault.lost and not fault.in_operation:
                raise fake_tpu.Refused(fault.status, fault.code, fault.message)
            failing = fault if fault is not None and fault.in_operation else None
            return Answer(200, self.tpu.serve(action, where, query, data, failing), fault is not None and fault.lost)
        raise fake_tpu.Refused(404, "NOT_FOUND", f"{method} {path} is not imitated")

    def _fault(self, call: Call) -> Fault | None:
        for fault in self.faults:
            if fault.action == call.action and fault.times > 0 and fault.zone in ("", call.zone):
                fault.times -= 1
                return fault
        return None

    def settle(self) -> None:
        """End the machines whose slow ending, or whose time, is over."""
        now = self.now()
        for key, until in list(self._ending.items()):
            if now >= until:
                self._remove(key, until)
        for (zone, name), body in list(self.instances.items()):
            end = _end(body)
            if end and end <= now:
                self._operation("delete", zone, f"zones/{zone}/instances/{name}")
                self._remove((zone, name), end)
        self.tpu.settle()

    # -- operations ---------------------------------------------------------------------------------------------------

    def _operation(self, kind: str, zone: str, target: str, error: tuple[str, str, int] | None = None) -> Body:
        self._count += 1
        name = f"operation-{self._count}"
        operation: Body = {
            "id": str(1000 + self._count), "name": name, "operationType": kind, "status": "DONE", "progress": 100,
            "targetLink": f"{_ROOT}/projects/{PROJECT}/{target}", "selfLink": f"{_ROOT}/operations/{name}",
        }  # fmt: skip
        if zone:
            operation["zone"] = f"{_ROOT}/projects/{PROJECT}/zones/{zone}"
        if error is not None:
            code, message, status = error
            operation |= {"error": {"errors": [{"code": code, "message": message}]}, "httpErrorStatusCode": status}
        self.operations[name] = operation
        return operation

    def _pending(self, operation: Body) -> Body:
        """As it is told at first: not done yet."""
        told = {key: value for key, value in operation.items() if key not in ("error", "httpErrorStatusCode")}
        return {**told, "status": "RUNNING", "progress": 0}

    def on_operation(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """An operation as it is now."""
        operation = self.operations.get(where["name"])
        if operation is None:
            raise _Refused(404, "notFound", f"no operation {where['name']}")
        key = (where.get("zone", ""), str(operation["targetLink"]).rpartition("/")[2])
        return self._pending(operation) if operation["operationType"] == "delete" and key in self._ending else operation

    def on_operations(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """Operations of a zone; the filter on the target is understood."""
        wanted = re.fullmatch(r'targetLink eq "\.\*(?P<end>[^"]+)"', query.get("filter", ""))
        if wanted is None:
            raise _Refused(400, "invalid", f"filter {query.get('filter')!r} is not understood")
        here = [o for o in self.operations.values() if str(o.get("zone", "")).endswith(f"/{where['zone']}")]
        told = [self.on_operation({**where, "name": str(o["name"])}, query, body) for o in here]
        return {"items": [o for o in told if str(o["targetLink"]).endswith(wanted["end"])]}

    # -- places -------------------------------------------------------------------------------------------------------

    def on_project(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """The project."""
        used = sum(bool(_metric(b)) and not _metric(b).startswith("PREEMPTIBLE") for b in self.instances.values())
        limit = self.quotas.get("GPUS_ALL_REGIONS", 64.0)
        quota = {"metric": "GPUS_ALL_REGIONS", "limit": limit, "usage": float(used)}
        return {"name": where["project"], "id": "1", "quotas": [quota]}

    def on_regions(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """All regions."""
        return {"items": [{"name": region, "id": "1"} for region in _ZONES]}

    def on_region(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """One region, with its zones and quotas."""
        region = where["region"]
        if region not in _ZONES:
            raise _Refused(404, "notFound", f"no region {region}")
        quotas = [
            {"metric": m, "limit": self.quotas.get(m, 64.0), "usage": self._used(region, m)}
            for name in _QUOTAS for m in (name, f"PREEMPTIBLE_{name}")
        ]  # fmt: skip
        zones = [f"{_ROOT}/projects/{PROJECT}/zones/{region}-{letter}" for letter in _ZONES[region]]
        return {"name": region, "id": "1", "zones": zones, "quotas": quotas}

    def _used(self, region: str, metric: str) -> float:
        return float(sum(_metric(b) == metric for (z, _), b in self.instances.items() if z.startswith(region)))

    def on_routers(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """The routers of a region, with their NATs."""
        return {"items": self.routers}

    def on_machine_type(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """One machine type."""
        kind = next((v for k, v in _TYPES.items() if where["name"].startswith(f"{k}-")), None)
        if kind is None or where["zone"][-1:] == "c":  # zone c of the fake has none of them
            raise _Refused(404, "notFound", f"no machine type {where['name']} in {where['zone']}")
        cards = [{"guestAcceleratorType": kind, "guestAcceleratorCount": 1}] if kind else []
        return {"name": where["name"], "id": "1", "architecture": "X86_64", "accelerators": cards}

    def on_subnets(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """The default subnet."""
        base = f"{_ROOT}/projects/{PROJECT}"
        network = f"{base}/global/networks/default"
        link = f"{base}/regions/{where['region']}/subnetworks/default"
        return {"items": [{"name": "default", "id": "1", "selfLink": link, "network": network}]}

    def on_image(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """An image, or the newest of a family."""
        name = where["name"]
        if name.startswith("missing"):
            raise _Refused(404, "notFound", f"no image {name}")
        link = f"{_ROOT}/projects/{where['project']}/global/images/{name}"
        return {"name": name, "id": "1", "diskSizeGb": "20", "selfLink": link}

    def on_console(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """The end of a machine's serial console."""
        text = self.consoles.get(where["name"], "")
        start = int(query.get("start", "0"))
        return {"contents": text[start:] if start < 0 else text, "next": str(len(text)), "start": "0"}

    # -- machines -----------------------------------------------------------------------------------------------------

    def on_insert(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """One machine."""
        kind = body["machineType"].rpartition("/")[2]
        return self._make(where["zone"], query, body, kind, [body["name"]], body)

    def on_bulk_insert(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """All machines or none."""
        names = [str(said["name"]) for said in body["perInstanceProperties"].values()]
        if not int(body["count"]) == int(body["minCount"]) == len(names):
            raise _Refused(400, "invalid", "count, minCount and the names differ: some machines could be missing")
        inner = body["instanceProperties"]
        return self._make(where["zone"], query, inner, inner["machineType"], names, body)

    def _make(self, zone: str, query: dict[str, str], body: Body, kind: str, names: list[str], said: Body) -> Body:
        request, text = query.get("requestId", ""), json.dumps([zone, said], sort_keys=True)
        if not _UUID.fullmatch(request):
            raise _Refused(400, "invalid", f"requestId {request!r} is no UUID")
        if request in self._by_request:
            before, operation = self._by_request[request]
            if before != text:
                raise _Refused(400, "invalid", "the request id was used with another request")
            return self._pending(self.operations[operation])
        _check(body, names, self.now())
        self._refuse(zone, kind, body, names)
        error = self._error(zone, kind, body, len(names))
        action = "bulkInsert" if "count" in said else "insert"
        operation = self._operation(action, zone, f"zones/{zone}/instances/{names[0]}", error)
        self._by_request[request] = (text, str(operation["name"]))
        if error is None:
            for name in names:
                self._add(zone, name, kind, body)
        return self._pending(operation)

    def _refuse(self, zone: str, kind: str, body: Body, names: list[str]) -> None:
        if any((zone, name) in self.instances for name in names):
            raise _Refused(409, "alreadyExists", f"The resource '{names[0]}' already exists")
        metric = _metric({**body, "machineType": kind})
        region = zone.rpartition("-")[0]
        if metric and self._used(region, metric) + len(names) > self.quotas.get(metric, 64.0):
            raise _Refused(403, "quotaExceeded", f"Quota '{metric}' exceeded in region {region}.")

    def _error(self, zone: str, kind: str, body: Body, count: int) -> tuple[str, str, int] | None:
        if self._failing is not None:
            return self._failing.code, self._failing.message, self._failing.status
        affinity = body.get("reservationAffinity", {})
        if affinity.get("consumeReservationType") == "SPECIFIC_RESERVATION":
            held = self.reservations.get(affinity["values"][0])
            if held is None or (held["type"], held["zone"]) != (kind, zone) or held["left"] < count:
                return "RESERVATION_CAPACITY_EXCEEDED", "the reservation has not enough capacity", 400
            held["left"] -= count
            return None
        left = self.capacity.get((kind, zone))
        if left is not None and left < count:
            return "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", f"{zone} has not enough {kind}", 503
        if left is not None:
            self.capacity[kind, zone] = left - count
        return None

    def _add(self, zone: str, name: str, kind: str, body: Body) -> None:
        base = f"{_ROOT}/projects/{PROJECT}/zones/{zone}"
        self._count += 1
        made = body["disks"][0]
        tags = made["initializeParams"].get("labels", {})
        self.disks[zone, name] = {"name": name, "id": str(self._count), "status": "READY", "labels": tags}
        card = {**body["networkInterfaces"][0], "networkIP": f"10.128.0.{self._count % 250 + 2}"}
        card["network"] = f"{_ROOT}/projects/{PROJECT}/global/networks/default"
        self.instances[zone, name] = {
            **{k: v for k, v in body.items() if k not in ("name", "minCpuPlatform")}, "name": name,
            "id": str(self._count), "zone": base, "status": "RUNNING", "machineType": f"{base}/machineTypes/{kind}",
            "creationTimestamp": self.now().isoformat(), "networkInterfaces": [card],
            "disks": [{"boot": True, "autoDelete": made.get("autoDelete", False), "source": f"{base}/disks/{name}"}],
        }  # fmt: skip
        self._born[zone, name] = self.now()
        self.lives[f"{zone}/{name}"] = Life(self.now(), body.get("labels", {}))

    def _remove(self, key: tuple[str, str], at: datetime | None = None) -> None:
        self._ending.pop(key, None)
        self.ended("/".join(key), at)
        body = self.instances.pop(key, None)
        if body is None:
            return
        if body["disks"][0]["autoDelete"] and not self.stray_disks:
            self.disks.pop(key, None)

    def _young(self, key: tuple[str, str]) -> bool:
        """Whether a listing does not show it yet: a machine and its disk share zone and name, a rule has no zone."""
        return key in self._born and (self.now() - self._born[key]).total_seconds() < self.lag_s

    def on_instance(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """One machine."""
        key = (where["zone"], where["name"])
        if key not in self.instances:
            raise _Refused(404, "notFound", f"The resource 'zones/{key[0]}/instances/{key[1]}' was not found")
        found = self.instances[key]
        return {**found, "status": "STOPPING"} if key in self._ending else found

    def on_instances(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """Machines of a zone; the youngest may be missing."""
        seen = [key for key in self.instances if key[0] == where["zone"] and not self._young(key)]
        return _listed([self.on_instance({**where, "name": name}, {}, {}) for _, name in seen], query)

    def on_delete(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """Begin to delete a machine."""
        key = (where["zone"], where["name"])
        self.on_instance(where, query, body)
        operation = self._operation("delete", key[0], f"zones/{key[0]}/instances/{key[1]}")
        if self.ending_s > 0:
            self._ending.setdefault(key, self.now() + timedelta(seconds=self.ending_s))
        else:
            self._remove(key)
        return self._pending(operation)

    # -- what goes with machines --------------------------------------------------------------------------------------

    def on_disks(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """Disks of a zone."""
        here = {key: disk for key, disk in self.disks.items() if key[0] == where["zone"] and not self._young(key)}
        return _listed([*here.values()], query)

    def on_disk_delete(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """Delete a disk that nothing uses."""
        key = (where["zone"], where["name"])
        if key not in self.disks:
            raise _Refused(404, "notFound", f"no disk {key[1]}")
        if key in self.instances:
            raise _Refused(400, "resourceInUseByAnotherResource", f"disk {key[1]} is in use")
        del self.disks[key]
        return self._operation("delete", key[0], f"zones/{key[0]}/disks/{key[1]}")

    def on_addresses(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """There are none."""
        return {"items": []}

    def on_firewalls(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """All rules."""
        made = [rule for name, rule in self.firewalls.items() if not self._young(("", name))]
        return {"items": [*made, *self.rules]}

    def on_firewall_insert(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """A rule. One that lets the world in fails here, which the real cloud would allow."""
        name = body["name"]
        if not _NAME.fullmatch(name) or not body.get("sourceRanges") or "0.0.0.0/0" in body["sourceRanges"]:
            raise _Refused(400, "invalid", "no name, no sources, or the whole world")
        if name in self.firewalls:
            raise _Refused(409, "alreadyExists", f"The resource '{name}' already exists")
        self._count += 1
        self.firewalls[name] = {**body, "id": str(self._count)}
        self._born["", name] = self.now()
        return self._pending(self._operation("insert", "", f"global/firewalls/{name}"))

    def on_firewall_delete(self, where: dict[str, str], query: dict[str, str], body: Body) -> Body:
        """Delete a rule."""
        if self.firewalls.pop(where["name"], None) is None:
            raise _Refused(404, "notFound", f"no firewall rule {where['name']}")
        return self._operation("delete", "", f"global/firewalls/{where['name']}")


_ZONE = "/zones/(?P<zone>[^/]+)"
_Handler = Callable[[FakeGcp, dict[str, str], dict[str, str], Body], Body]
_ROUTES: tuple[tuple[str, str, str, _Handler], ...] = (
    ("GET", "", "projects.get", FakeGcp.on_project),
    ("GET", "/regions", "regions.list", FakeGcp.on_regions),
    ("GET", "/regions/(?P<region>[^/]+)", "regions.get", FakeGcp.on_region),
    ("GET", "/regions/(?P<region>[^/]+)/subnetworks", "subnetworks.list", FakeGcp.on_subnets),
    ("GET", "/regions/(?P<region>[^/]+)/addresses", "addresses.list", FakeGcp.on_addresses),
    ("GET", "/regions/(?P<region>[^/]+)/routers", "routers.list", FakeGcp.on_routers),
    ("GET", _ZONE + "/machineTypes/(?P<name>[^/]+)", "machineTypes.get", FakeGcp.on_machine_type),
    ("GET", "/global/images/family/(?P<name>[^/]+)", "images.getFromFamily", FakeGcp.on_image),
    ("GET", "/global/images/(?P<name>[^/]+)", "images.get", FakeGcp.on_image),
    ("GET", _ZONE + "/instances", "instances.list", FakeGcp.on_instances),
    ("POST", _ZONE + "/instances", "instances.insert", FakeGcp.on_insert),
    ("POST", _ZONE + "/instances/bulkInsert", "instances.bulkInsert", FakeGcp.on_bulk_insert),
    ("GET", _ZONE + "/instances/(?P<name>[^/]+)", "instances.get", FakeGcp.on_instance),
    ("GET", _ZONE + "/instances/(?P<name>[^/]+)/serialPort", "instances.getSerialPortOutput", FakeGcp.on_console),
    ("DELETE", _ZONE + "/instances/(?P<name>[^/]+)", "instances.delete", FakeGcp.on_delete),
    ("GET", _ZONE + "/disks", "disks.list", FakeGcp.on_disks),
    ("DELETE", _ZONE + "/disks/(?P<name>[^/]+)", "disks.delete", FakeGcp.on_disk_delete),
    ("GET", _ZONE + "/operations", "zoneOperations.list", FakeGcp.on_operations),
    ("POST", _ZONE + "/operations/(?P<name>[^/]+)/wait", "zoneOperations.wait", FakeGcp.on_operation),
    ("POST", "/global/operations/(?P<name>[^/]+)/wait", "globalOperations.wait", FakeGcp.on_operation),
    ("GET", "/global/firewalls", "firewalls.list", FakeGcp.on_firewalls),
    ("POST", "/global/firewalls", "firewalls.insert", FakeGcp.on_firewall_insert),
    ("DELETE", "/global/firewalls/(?P<name>[^/]+)", "firewalls.delete", FakeGcp.on_firewall_delete),
)
_BODIES = {
    "instances.insert": "Instance",
    "instances.bulkInsert": "BulkInsertInstanceResource",
    "firewalls.insert": "Firewall",
}


def _strict(action: str, data: bytes) -> Body:
    """The body as JSON, with every field one that the API has."""
    if action not in _BODIES:
        return {}
    from google.cloud import compute_v1

    message: Any = getattr(compute_v1, _BODIES[action])
    try:
        message.from_json(data, ignore_unknown_fields=False)
        return json.loads(data)
    except Exception as error:
        raise _Refused(400, "invalid", f"Invalid JSON payload received: {error}") from error


def _check(body: Body, names: list[str], now: datetime) -> None:
    """What the real cloud checks before it takes a request."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise _Refused(400, "invalid", f"Invalid value for field 'resource.name': '{name}'")
    for labels in (body.get("labels", {}), *(d["initializeParams"].get("labels", {}) for d in body["disks"])):
        for key, value in labels.items():
            if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
                raise _Refused(400, "invalid", f"Invalid label {key}={value}")
    end = body.get("scheduling", {}).get("terminationTime")
    if end and datetime.fromisoformat(end) <= now:
        raise _Refused(400, "invalid", "terminationTime is in the past")
    if body.get("scheduling", {}).get("provisioningModel") == "FLEX_START":
        _check_flex(body)


def _end(body: Body) -> datetime | None:
    """When Google deletes the machine, by its time of day or by how long it may run."""
    scheduling = body.get("scheduling", {})
    if scheduling.get("maxRunDuration"):
        seconds = int(scheduling["maxRunDuration"]["seconds"])
        return datetime.fromisoformat(body["creationTimestamp"]) + timedelta(seconds=seconds)
    end = scheduling.get("terminationTime")
    return datetime.fromisoformat(end) if end else None


def _check_flex(body: Body) -> None:
    """What flex-start asks of a request beyond others."""
    scheduling = body.get("scheduling", {})
    run_s = int(scheduling.get("maxRunDuration", {}).get("seconds", 0))
    wait_s = int(body.get("params", {}).get("requestValidForDuration", {}).get("seconds", 0))
    held = body.get("reservationAffinity", {}).get("consumeReservationType")
    if not 600 <= run_s <= 604_800 or not 90 <= wait_s <= 7200 or scheduling.get("terminationTime"):
        raise _Refused(400, "invalid", "flex-start needs maxRunDuration and requestValidForDuration, and no other end")
    if scheduling.get("instanceTerminationAction") != "DELETE" or held != "NO_RESERVATION":
        raise _Refused(400, "invalid", "flex-start: wrong termination action or reservation affinity")


def _metric(body: Body) -> str:
    kind = str(body["machineType"]).rpartition("/")[2]
    prefixes = {"g2-standard": 0, "a2-highgpu": 1, "a2-ultragpu": 2, "a3-highgpu": 3, "a3-megagpu": 4}
    found = next((_QUOTAS[n] for p, n in prefixes.items() if kind.startswith(p)), "")
    spot = body.get("scheduling", {}).get("provisioningModel") in ("SPOT", "FLEX_START")
    return f"PREEMPTIBLE_{found}" if found and spot else found


def _listed(items: list[Body], query: dict[str, str]) -> Body:
    """The items that a filter on labels lets through; any other filter is refused rather than ignored."""
    for term in query.get("filter", "").split(" AND ") if query.get("filter") else ():
        found = re.fullmatch(r"labels\.([-_a-z0-9]+)(=([-_a-z0-9]*)|:\*)", term)
        if found is None:
            raise _Refused(400, "invalid", f"filter {term!r} is not understood")
        key, value = found[1], found[3]
        items = [i for i in items if key in i.get("labels", {}) and value in (None, i["labels"][key])]
    return {"items": items}


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted."""
    return serve_forever(
        "cloudaccel_gcp.fake",
        __doc__,
        5556,
        lambda lag_s: FakeGcp(lag_s=lag_s),
        ["CLOUDACCEL_GCP_ENDPOINT={url}"],
        argv,
    )


__all__ = ["IN_PROCESS", "PROJECT", "Call", "FakeGcp", "Fault", "Server", "main"]

if __name__ == "__main__":
    sys.exit(main())
