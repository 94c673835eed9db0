"""A small Azure on this machine, to try ``provision`` without an account.

``python -m cloudaccel_azure.fake --port 5557``, then set what it prints. Loopback only; everything is forgotten when it
ends. Bodies of machines are read strictly with the field names of the SDK's models. It has creates that fail later and
leave the machine behind, If-None-Match, answers that are lost, scripted errors, capacity by zone, and slow endings.

Not imitated: roles, throttling by rate, network traffic, prices, templates, other resource groups, paging.
"""

import argparse
import importlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import urlsplit

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = "fake-group"
# size → vCPUs, family of the quota, InfiniBand (Azure VM sizes)
SIZES = {
    "Standard_NC4as_T4_v3": (4, "Standard NCASv3_T4 Family", False),
    "Standard_NC8as_T4_v3": (8, "Standard NCASv3_T4 Family", False),
    "Standard_NC24ads_A100_v4": (24, "standardNCADSA100v4Family", False),
    "Standard_ND96isr_H100_v5": (96, "standardNDSH100v5Family", True),
    "Standard_D2s_v5": (2, "standardDSv5Family", False),
}
Body = dict[str, Any]
_MODEL = re.compile(r"_models\.(\w+)")


@dataclass
class Fault:
    """What goes wrong with the next `times` calls of `action`, such as ``PUT virtualMachines``.

    `later`: the call is taken, and what it makes fails. `lost`: the call runs, and its answer never arrives.
    """

    action: str
    code: str = ""
    status: int = 409
    message: str = "scripted"
    times: int = 1
    lost: bool = False
    later: bool = False


@dataclass
class Call:
    """One request that was served."""

    action: str
    name: str
    body: Body


class FakeAzure:
    """The state of one resource group. Attributes may be set at any time; calls are served one at a time."""

    def __init__(
        self, *, lag_s: float = 0.0, ending_s: float = 0.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self.ending_s = ending_s
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.capacity: dict[tuple[str, str], int] = {}  # (size, zone number) → machines left; absent: as many as asked
        self.quotas: dict[str, int] = {"cores": 1000, "lowPriorityCores": 1000}  # by name; a family absent: 1000
        self.lag_s = lag_s  # for how long a listing does not show what is new; a read by name does
        self._born: dict[tuple[str, str], float] = {}
        self.things: dict[tuple[str, str], Body] = {}  # (type, name) → resource
        self._ending: dict[str, float] = {}
        self.lock = threading.RLock()

    def live(self) -> list[tuple[str, str]]:
        """Type and name of everything that exists."""
        with self.lock:
            self._settle()
            return sorted(self.things)

    def evict(self, name: str) -> None:
        """Take a spot machine back: it is deleted, with what goes with it."""
        with self.lock:
            self._remove(name)

    def serve(self, method: str, target: str, data: bytes, headers: dict[str, str]) -> tuple[int, Body, bool]:
        """Status, JSON answer, and whether the answer is to be lost."""
        with self.lock:
            self._settle()
            path = urlsplit(target).path
            kind, name = _what(path)
            body = cast(Body, json.loads(data)) if data else {}
            self.calls.append(Call(f"{method} {kind}", name, body))
            fault = next((f for f in self.faults if f.action == f"{method} {kind}" and f.times > 0), None)
            if fault is not None:
                fault.times -= 1
                if not fault.lost and not fault.later:
                    return _error(fault.status, fault.code, fault.message)
            status, answer = self._answer(method, kind, name, body, headers, fault)
            return status, answer, fault is not None and fault.lost

    def _answer(
        self, method: str, kind: str, name: str, body: Body, headers: dict[str, str], fault: Fault | None
    ) -> tuple[int, Body]:
        if kind in ("usages", "skus", "virtualNetworks"):
            return 200, {"value": self._usages() if kind == "usages" else _fixed(kind)}
        if method == "GET" and not name:
            return 200, {"value": self._listed(kind)}
        found = self.things.get((kind, name))
        if method == "GET":
            return (200, self._view(name, found)) if found else _error(404, "ResourceNotFound", f"no {name}")[:2]
        if method == "DELETE":
            return self._delete(kind, name)
        if found is not None and headers.get("if-none-match") == "*":
            return _error(412, "PreconditionFailed", f"{name} exists")[:2]
        wrong = _unknown(body, *_MODELS[kind])
        if wrong:
            return _error(400, "InvalidRequestContent", f"no such field: {wrong}")[:2]
        self._make(kind, name, body, fault)
        return (200 if kind == "availabilitySets" else 201), self.things[kind, name]

    def _make(self, kind: str, name: str, body: Body, fault: Fault | None) -> None:
        made = {**body, "id": _id(kind, name), "name": name, "type": kind}
        made["properties"] = {**body["properties"], "provisioningState": "Succeeded"}
        self.things[kind, name] = made
        self._born[kind, name] = self._monotonic()
        if kind == "virtualMachines":
            self._make_machine(name, made, fault)

    def _make_machine(self, name: str, made: Body, fault: Fault | None) -> None:
        """With its disk and interface. One that fails stays where it is, as in the real cloud."""
        properties = made["properties"]
        disk = properties["storageProfile"]["osDisk"]
        card = properties["networkProfile"]["networkInterfaceConfigurations"][0]
        for kind, named in (("disks", disk["name"]), ("networkInterfaces", card["name"])):
            self._born[kind, named] = self._monotonic()
            thing = {"id": _id(kind, named), "name": named, "location": made["location"], "tags": made["tags"]}
            self.things[kind, named] = {**thing, "properties": {"provisioningState": "Succeeded"}}
        group = card["properties"]["networkSecurityGroup"]
        self.things["networkInterfaces", card["name"]]["properties"]["networkSecurityGroup"] = group
        properties["networkProfile"] = {"networkInterfaces": [{"id": _id("networkInterfaces", card["name"])}]}
        properties["osProfile"].pop("customData", None)
        statuses = [{"code": "ProvisioningState/succeeded"}, {"code": "PowerState/running"}]
        key = (properties["hardwareProfile"]["vmSize"], str(made.get("zones", ["-"])[0]))
        left = self.capacity.get(key)
        code = fault.code if fault is not None and fault.later else "ZonalAllocationFailed" if left == 0 else ""
        if left:
            self.capacity[key] = left - 1
        if code:
            properties["provisioningState"] = "Failed"
            statuses = [{"code": f"ProvisioningState/failed/{code}", "message": fault.message if fault else "no room"}]
        properties["instanceView"] = {"statuses": statuses}

    def _listed(self, kind: str) -> list[Body]:
        """What a listing shows: nothing that is younger than `lag_s`."""
        seen = self._monotonic() - self.lag_s
        return [thing for (k, name), thing in self.things.items() if k == kind and self._born.get((k, name), 0) <= seen]

    def _usages(self) -> list[Body]:
        """Quotas with the vCPUs of the machines that exist."""
        used: dict[str, int] = {}
        for (kind, _), thing in self.things.items():
            if kind == "virtualMachines":
                vcpus, family, _ib = SIZES[thing["properties"]["hardwareProfile"]["vmSize"]]
                counted = ["lowPriorityCores"] if thing["properties"]["priority"] == "Spot" else ["cores", family]
                for name in counted:
                    used[name] = used.get(name, 0) + vcpus
        families = {family for _, family, _ in SIZES.values()}
        return [
            {"unit": "Count", "currentValue": used.get(n, 0), "limit": self.quotas.get(n, 1000), "name": {"value": n}}
            for n in sorted({*families, *self.quotas})
        ]

    def _view(self, name: str, found: Body) -> Body:
        if name not in self._ending:
            return found
        return {**found, "properties": {**found["properties"], "provisioningState": "Deleting"}}

    def _delete(self, kind: str, name: str) -> tuple[int, Body]:
        if (kind, name) not in self.things:
            return 204, {}
        if kind == "virtualMachines" and self.ending_s > 0:
            self._ending.setdefault(name, self._monotonic() + self.ending_s)
        elif kind == "virtualMachines":
            self._remove(name)
        elif kind in ("disks", "networkInterfaces") and ("virtualMachines", name.rpartition("-")[0]) in self.things:
            return _error(409, "OperationNotAllowed", f"{name} is attached")[:2]
        elif kind == "availabilitySets" and self._used_by("virtualMachines", "availabilitySet", name):
            return _error(409, "OperationNotAllowed", f"{name} has machines")[:2]
        elif kind == "networkSecurityGroups" and self._used_by("networkInterfaces", "networkSecurityGroup", name):
            return _error(400, "InUseNetworkSecurityGroupCannotBeDeleted", f"{name} is in use")[:2]
        else:
            del self.things[kind, name]
        return (200 if kind == "availabilitySets" else 202), {}

    def _used_by(self, kind: str, field: str, name: str) -> bool:
        """Whether something of `kind` names it in `field`."""
        users = [cast(Body, thing["properties"].get(field) or {}) for (k, _), thing in self.things.items() if k == kind]
        return any(str(user.get("id", "")).endswith(f"/{name}") for user in users)

    def _remove(self, name: str) -> None:
        self._ending.pop(name, None)
        for kind, ending in (("virtualMachines", ""), ("disks", "-os"), ("networkInterfaces", "-nic")):
            self.things.pop((kind, name + ending), None)

    def _settle(self) -> None:
        for name, until in list(self._ending.items()):
            if self._monotonic() >= until:
                self._remove(name)


def _what(path: str) -> tuple[str, str]:
    """Type and name at the end of a path: ``…/virtualMachines/ca-1`` or ``…/virtualMachines``."""
    parts = path.strip("/").split("/")
    after = parts[parts.index("providers") + 2 :] if "providers" in parts else parts[-1:]
    if after[0] == "locations":
        return after[-1], ""
    return after[0], after[1] if len(after) > 1 else ""


def _id(kind: str, name: str) -> str:
    service = "Compute" if kind in ("virtualMachines", "disks", "availabilitySets") else "Network"
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.{service}/{kind}/{name}"


def _fixed(kind: str) -> list[Body]:
    if kind == "skus":
        place = {"location": "eastus", "zones": ["1", "2"]}
        return [
            {
                "resourceType": "virtualMachines", "name": size, "family": family, "locationInfo": [place],
                "restrictions": [],
                "capabilities": [
                    {"name": "vCPUs", "value": str(vcpus)}, {"name": "RdmaEnabled", "value": str(infiniband)},
                ],
            }
            for size, (vcpus, family, infiniband) in SIZES.items()
        ]  # fmt: skip
    subnet = {"name": "default", "id": f"{_id('virtualNetworks', 'net')}/subnets/default"}
    return [{"name": "net", "id": _id(kind, "net"), "location": "eastus", "properties": {"subnets": [subnet]}}]


def _error(status: int, code: str, message: str) -> tuple[int, Body, bool]:
    return status, {"error": {"code": code, "message": message}}, False


_MODELS = {
    "virtualMachines": ("compute", "VirtualMachine"),
    "availabilitySets": ("compute", "AvailabilitySet"),
    "networkSecurityGroups": ("network", "NetworkSecurityGroup"),
}


def _unknown(value: Any, service: str, model: str) -> str:
    """The first field of `value` that the SDK's model does not have; empty: all are known."""
    models = importlib.import_module(f"azure.mgmt.{service}.models")
    kind: Any = getattr(models, model)
    if isinstance(value, list):
        return next((wrong for item in cast("list[Any]", value) if (wrong := _unknown(item, service, model))), "")
    if not isinstance(value, dict) or not hasattr(kind, "_attr_to_rest_field"):
        return ""
    kind({})  # fills the table of fields
    fields = {field._rest_name: attribute for attribute, field in kind._attr_to_rest_field.items()}
    hints: dict[str, Any] = {
        k: v for base in reversed(kind.__mro__) for k, v in getattr(base, "__annotations__", {}).items()
    }
    for key, inner in cast("dict[str, Any]", value).items():
        if key not in fields:
            return f"{model}.{key}"
        named = _MODEL.search(str(hints.get(fields[key], "")))
        wrong = _unknown(inner, service, named.group(1)) if named and "dict[" not in str(hints.get(fields[key])) else ""
        if wrong:
            return wrong
    return ""


class Server:
    """`FakeAzure` on a loopback port, in a thread. As a context manager it is up inside the block."""

    def __init__(self, fake: FakeAzure, port: int = 0) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each answer waits 40 ms for the packet before it to be confirmed

            def _any(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {key.lower(): value for key, value in self.headers.items()}
                status, body, lost = fake.serve(self.command, self.path, data, headers)
                if lost:
                    self.close_connection = True
                    return
                text = b"" if status == 204 else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_DELETE = _any  # noqa: N815  # names that http.server looks for

            def log_message(self, *_: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                """Say nothing."""

        self.fake = fake
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m cloudaccel_azure.fake", description=__doc__)
    parser.add_argument("--port", type=int, default=5557, help="port on 127.0.0.1 (default 5557)")
    arguments = parser.parse_args(argv)
    try:
        server = Server(FakeAzure(), arguments.port)
    except OSError as error:
        sys.stderr.write(
            f"error: port {arguments.port} cannot be used: {error.strerror}. Choose another with --port.\n"
        )
        return 2
    with server, suppress(KeyboardInterrupt):
        sys.stdout.write(
            f"A fake cloud is on {server.url}; nothing in it is real or costs anything. In another terminal:\n"
            f"  export CLOUDACCEL_AZURE_ENDPOINT={server.url} CLOUDACCEL_AZURE_RESOURCE_GROUP={GROUP}\n"
            f"  export AZURE_SUBSCRIPTION_ID={SUBSCRIPTION}\n"
        )
        sys.stdout.flush()
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
