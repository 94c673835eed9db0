"""The TPU API of the fake: queued resources, the nodes that they bring, and what a zone offers.

Bodies are read strictly through the messages of google-cloud-tpu. A request waits `queue_s` seconds, or for ever while
its zone has no capacity; it fails when it may wait no longer; an ending takes the fake's `ending_s`.

Not imitated: IAM, resetting, stopping and starting of nodes, data disks, paging.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

Body = dict[str, Any]
LOCATIONS = ("us-central1-a", "us-central1-b", "us-east4-a", "europe-west4-b")
_TYPE = re.compile(r"(v5litepod|v5p|v6e)-(1|4|8|16|32|64|128|256)")
_RUNTIMES = ("v2-alpha-tpuv5-lite", "v2-alpha-tpuv5", "v2-alpha-tpuv6e")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[a-z][-_a-z0-9]{0,62}=[-_a-z0-9]{0,63}")
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


class Refused(Exception):
    """A call that is answered with an error: HTTP status, google.rpc code, message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message

    @property
    def body(self) -> Body:
        """As the TPU API writes it."""
        return {"error": {"code": self.status, "message": self.message, "status": self.code}}


class FakeTpu:
    """The TPUs of one project. `account` tells the time, lags and endings; `project` is its id."""

    def __init__(self, account: Any, project: str) -> None:
        self._account = account
        self._project = project
        self.queue_s = 0.0
        self.capacity: dict[tuple[str, str], int] = {}  # (type, zone) → slices left; absent: as many as you like
        self.off = False  # the API is not enabled in the project
        self.queued: dict[tuple[str, str], Body] = {}
        self.nodes: dict[tuple[str, str], Body] = {}
        self._operations: dict[str, Body] = {}  # what they end with
        self._told: dict[str, Body] = {}  # and are told as at first
        self._by_request: dict[str, tuple[str, str]] = {}
        self._born: dict[tuple[str, str], datetime] = {}
        self._ending: dict[tuple[str, str], datetime] = {}

    def forget(self) -> None:
        """Have nothing."""
        for known in (
            self.queued,
            self.nodes,
            self._operations,
            self._told,
            self._by_request,
            self._born,
            self._ending,
        ):
            known.clear()

    def live(self) -> list[tuple[str, Body]]:
        """Id and text of every slice that is there, or is asked for."""
        asked = [(f"{z}/tpu/{node}", spec) for (z, _), body in self.queued.items() for node, spec in _nodes(body)]
        alone = [(f"{z}/tpu/{node}", body) for (z, node), body in self.nodes.items()]
        return [*asked, *(pair for pair in alone if pair[0] not in dict(asked))]

    def interrupt(self, zone: str, node: str) -> None:
        """Take the spot slices of a request back."""
        key = (zone, node.rpartition("-")[0])
        self._drop_nodes(key)
        self.queued[key]["state"] = {"state": "SUSPENDED", "stateInitiator": "SERVICE", "suspendedData": {}}

    # -- time ---------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let requests come to their nodes, fail, or go, as time has it."""
        now = self._account.now()
        for key, until in list(self._ending.items()):
            if now >= until:
                self._gone(key, until)
        for key, body in self.queued.items():
            if body["state"]["state"] == "WAITING_FOR_RESOURCES":
                self._serve_queue(key, body, now)

    def _serve_queue(self, key: tuple[str, str], body: Body, now: datetime) -> None:
        waited = (now - self._born[key]).total_seconds()
        wanted = _nodes(body)
        place = (wanted[0][1]["acceleratorType"], key[0])
        left = self.capacity.get(place)
        if waited >= self.queue_s and (left is None or left >= len(wanted)):
            if left is not None:
                self.capacity[place] = left - len(wanted)
            self._bring(key, body, now)
        elif waited >= float(str(body["queueingPolicy"]["validUntilDuration"]).rstrip("s")):
            error = {"code": 8, "message": "the request expired: no capacity in time"}
            body["state"] = {"state": "FAILED", "failedData": {"error": error}, "stateInitiator": "SERVICE"}

    def _bring(self, key: tuple[str, str], body: Body, now: datetime) -> None:
        body["state"] = {"state": "ACTIVE", "activeData": {}}
        for n, (node, spec) in enumerate(_nodes(body)):
            self.nodes[key[0], node] = {
                **spec, "name": self._path(key[0], "nodes", node), "state": "READY", "id": str(len(self.nodes) + n + 1),
                "createTime": now.isoformat(), "queuedResource": body["name"],
                "networkEndpoints": [{"ipAddress": f"10.130.0.{n + 2}", "port": 8470}],
            }  # fmt: skip
            self._born[key[0], node] = now
            self._account.began(f"{key[0]}/tpu/{node}", spec.get("labels", {}))

    def _gone(self, key: tuple[str, str], at: datetime | None = None) -> None:
        self._drop_nodes(key, at)
        self._ending.pop(key, None)
        self.queued.pop(key, None)

    def _drop_nodes(self, key: tuple[str, str], at: datetime | None = None) -> None:
        for node, _ in _nodes(self.queued[key]):
            self.nodes.pop((key[0], node), None)
            self._account.ended(f"{key[0]}/tpu/{node}", at)

    # -- calls --------------------------------------------------------------------------------------------------------

    def serve(self, action: str, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """Answer one call; `failing` is the scripted failure of its operation, or None. Raises `Refused`."""
        if self.off:
            raise Refused(
                403, "SERVICE_DISABLED", "Cloud TPU API has not been used in project before or it is disabled"
            )
        return HANDLERS[action](self, where, query, data, failing)

    def on_locations(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """Zones that have TPUs."""
        return {"locations": [{"locationId": z, "name": f"projects/{self._project}/locations/{z}"} for z in LOCATIONS]}

    def on_type(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """One accelerator type."""
        if where["zone"] not in LOCATIONS or not _TYPE.fullmatch(where["name"]):
            raise Refused(404, "NOT_FOUND", f"no accelerator type {where['name']} in {where['zone']}")
        return {"name": self._path(where["zone"], "acceleratorTypes", where["name"]), "type": where["name"]}

    def on_runtime(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """One runtime version."""
        if where["name"] not in _RUNTIMES:
            raise Refused(404, "NOT_FOUND", f"no runtime version {where['name']}")
        return {"name": self._path(where["zone"], "runtimeVersions", where["name"]), "version": where["name"]}

    def on_create(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """A request for the queue; the same request id again gives the operation that it gave."""
        request, text = query.get("requestId", ""), json.dumps([where, json.loads(data)], sort_keys=True)
        if not _UUID.fullmatch(request):
            raise Refused(400, "INVALID_ARGUMENT", f"requestId {request!r} is no UUID")
        if request in self._by_request:
            before, operation = self._by_request[request]
            if before != text:
                raise Refused(400, "INVALID_ARGUMENT", "the request id was used with another request")
            return self._told[operation]
        body = _strict(data)
        key = (where["zone"], query.get("queuedResourceId", ""))
        self._check(key, body)
        operation = self._operation(key[0], failing)
        self._by_request[request] = (text, str(operation["name"]))
        if failing is None:
            body["name"] = self._path(key[0], "queuedResources", key[1])
            body["state"] = {"state": "WAITING_FOR_RESOURCES"}
            self.queued[key] = body
            self._born[key] = self._account.now()
            self.settle()
        return operation

    def on_queued(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """One request."""
        found = self.queued.get((where["zone"], where["name"]))
        if found is None:
            raise Refused(404, "NOT_FOUND", f"no queued resource {where['name']}")
        return found

    def on_all_queued(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """Requests of a zone; the youngest may be missing."""
        return {"queuedResources": self._seen(self.queued, where["zone"])}

    def on_delete(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """Delete a request, and with force its nodes."""
        key, found = (where["zone"], where["name"]), self.on_queued(where, query, data, failing)
        state = found["state"]["state"]
        if state == "DELETING" or (query.get("force") != "true" and state not in ("ACCEPTED", "FAILED", "SUSPENDED")):
            raise Refused(400, "FAILED_PRECONDITION", f"cannot delete a queued resource that is {state}")
        if self._account.ending_s > 0:
            found["state"] = {"state": "DELETING", "deletingData": {}}
            self._ending[key] = self._account.now() + timedelta(seconds=self._account.ending_s)
        else:
            self._gone(key)
        return self._operation(key[0], None)

    def on_node(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """One node."""
        found = self.nodes.get((where["zone"], where["name"]))
        if found is None:
            raise Refused(404, "NOT_FOUND", f"no node {where['name']}")
        return (
            {**found, "state": "DELETING"}
            if (where["zone"], where["name"].rpartition("-")[0]) in self._ending
            else found
        )

    def on_nodes(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """Nodes of a zone; the youngest may be missing."""
        return {"nodes": self._seen(self.nodes, where["zone"])}

    def on_node_delete(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """Delete a node that no request holds."""
        self.on_node(where, query, data, failing)
        if (where["zone"], where["name"].rpartition("-")[0]) in self.queued:
            raise Refused(400, "FAILED_PRECONDITION", "delete the queued resource of the node")
        del self.nodes[where["zone"], where["name"]]
        self._account.ended(f"{where['zone']}/tpu/{where['name']}")
        return self._operation(where["zone"], None)

    def on_operation(self, where: dict[str, str], query: dict[str, str], data: bytes, failing: Any) -> Body:
        """An operation, which is done by now."""
        name = self._path(where["zone"], "operations", where["name"])
        if name not in self._operations:
            raise Refused(404, "NOT_FOUND", f"no operation {where['name']}")
        return {**self._told[name], "done": True, **self._operations[name]}

    # -- inside -------------------------------------------------------------------------------------------------------

    def _path(self, zone: str, kind: str, name: str) -> str:
        return f"projects/{self._project}/locations/{zone}/{kind}/{name}"

    def _seen(self, things: dict[tuple[str, str], Body], zone: str) -> list[Body]:
        now, lag_s = self._account.now(), self._account.lag_s
        return [
            body for key, body in things.items()
            if key[0] == zone and (now - self._born[key]).total_seconds() >= lag_s
        ]  # fmt: skip

    def _operation(self, zone: str, failing: Any) -> Body:
        from google.rpc import code_pb2  # pyright: ignore[reportMissingTypeStubs]

        name = self._path(zone, "operations", f"operation-{len(self._operations) + 1}")
        then: Body = {}
        if failing is not None:
            code: Any = code_pb2.Code
            then = {"error": {"code": code.Value(failing.code), "message": failing.message}}
        kind = "type.googleapis.com/google.cloud.tpu.v2.OperationMetadata"
        self._operations[name] = then
        self._told[name] = {"name": name, "metadata": {"@type": kind, "apiVersion": "v2"}, "done": False}
        return self._told[name]

    def _check(self, key: tuple[str, str], body: Body) -> None:
        """What the real cloud checks before it takes a request."""
        if key in self.queued:
            raise Refused(409, "ALREADY_EXISTS", f"queued resource {key[1]} already exists")
        for node, spec in _nodes(body):
            where = {"zone": key[0], "name": str(spec.get("acceleratorType"))}
            self.on_type(where, {}, b"", None)
            self.on_runtime({**where, "name": str(spec.get("runtimeVersion"))}, {}, b"", None)
            if not _NAME.fullmatch(node) or not _NAME.fullmatch(key[1]):
                raise Refused(400, "INVALID_ARGUMENT", f"{node} is no name")
            wrong = [f"{k}={v}" for k, v in spec.get("labels", {}).items() if not _LABEL.fullmatch(f"{k}={v}")]
            if wrong:
                raise Refused(400, "INVALID_ARGUMENT", f"invalid label {wrong[0]}")
        if any((key[0], node) in self.nodes for node, _ in _nodes(body)):
            raise Refused(409, "ALREADY_EXISTS", "a node of that name already exists")


def _nodes(body: Body) -> list[tuple[str, Body]]:
    """Names and texts of the nodes that a request asks for."""
    (spec,) = body["tpu"]["nodeSpec"]
    many = spec.get("multisliceParams")
    if many is None:
        return [(spec["nodeId"], spec["node"])]
    return [(f"{many['nodeIdPrefix']}-{n}", spec["node"]) for n in range(many["nodeCount"])]


def _strict(data: bytes) -> Body:
    from google.cloud import tpu_v2

    message: Any = tpu_v2.QueuedResource
    try:
        message.from_json(data, ignore_unknown_fields=False)
        return json.loads(data)
    except Exception as error:
        raise Refused(400, "INVALID_ARGUMENT", f"Invalid JSON payload received: {error}") from error


_Handler = Callable[[FakeTpu, dict[str, str], dict[str, str], bytes, Any], Body]
_ZONE = "/v2/projects/[^/]+/locations/(?P<zone>[^/]+)"
ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", "/v2/projects/[^/]+/locations", "locations.list"),
    ("GET", _ZONE + "/acceleratorTypes/(?P<name>[^/]+)", "acceleratorTypes.get"),
    ("GET", _ZONE + "/runtimeVersions/(?P<name>[^/]+)", "runtimeVersions.get"),
    ("GET", _ZONE + "/queuedResources", "queuedResources.list"),
    ("POST", _ZONE + "/queuedResources", "queuedResources.create"),
    ("GET", _ZONE + "/queuedResources/(?P<name>[^/]+)", "queuedResources.get"),
    ("DELETE", _ZONE + "/queuedResources/(?P<name>[^/]+)", "queuedResources.delete"),
    ("GET", _ZONE + "/nodes", "nodes.list"),
    ("GET", _ZONE + "/nodes/(?P<name>[^/]+)", "nodes.get"),
    ("DELETE", _ZONE + "/nodes/(?P<name>[^/]+)", "nodes.delete"),
    ("GET", _ZONE + "/operations/(?P<name>[^/]+)", "operations.get"),
)
HANDLERS: dict[str, _Handler] = {
    "locations.list": FakeTpu.on_locations,
    "acceleratorTypes.get": FakeTpu.on_type,
    "runtimeVersions.get": FakeTpu.on_runtime,
    "queuedResources.list": FakeTpu.on_all_queued,
    "queuedResources.create": FakeTpu.on_create,
    "queuedResources.get": FakeTpu.on_queued,
    "queuedResources.delete": FakeTpu.on_delete,
    "nodes.list": FakeTpu.on_nodes,
    "nodes.get": FakeTpu.on_node,
    "nodes.delete": FakeTpu.on_node_delete,
    "operations.get": FakeTpu.on_operation,
}

__all__ = ["LOCATIONS", "FakeTpu", "Refused"]
