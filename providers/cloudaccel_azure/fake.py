"""A small Azure on this machine, to try ``provision`` without an account.

``python -m cloudaccel_azure.fake --port 5557``, then set what it prints. Loopback only; everything is forgotten when it
ends. Bodies of machines are read strictly with the field names of the SDK's models. It has creates that fail later and
leave the machine behind, If-None-Match, answers that are lost, scripted errors, capacity by zone, and slow endings.

Not imitated: roles, throttling by rate, network traffic, prices, templates, other resource groups, paging.
"""

import importlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from cloudaccel.testing.cloud import Asked
from cloudaccel.testing.fakes import IN_PROCESS, Answer, Body, Life, RestFake, Server, in_process, serve_forever

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = "fake-group"
SECRET = "key-of-a-serial-log"  # noqa: S105 - a canary: no output may have it
_LOGS = "/serial-logs/"
# size → vCPUs, family of the quota, InfiniBand (Azure VM sizes)
SIZES = {
    "Standard_NC4as_T4_v3": (4, "Standard NCASv3_T4 Family", False),
    "Standard_NC8as_T4_v3": (8, "Standard NCASv3_T4 Family", False),
    "Standard_NC24ads_A100_v4": (24, "standardNCADSA100v4Family", False),
    "Standard_ND96isr_H100_v5": (96, "standardNDSH100v5Family", True),
    "Standard_D2s_v5": (2, "standardDSv5Family", False),
}
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


class FakeAzure(RestFake):
    """The state of one resource group. A listing lags by `lag_s`; a read by name does so by `read_lag_s`."""

    def __init__(
        self, *, lag_s: float = 0.0, ending_s: float = 0.0, read_lag_s: float = 0.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        super().__init__(lag_s=lag_s, ending_s=ending_s, now=now)
        self.read_lag_s = read_lag_s
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.capacity: dict[tuple[str, str], int] = {}  # (size, zone number) → machines left; absent: as many as asked
        self.quotas: dict[str, int] = {"cores": 1000, "lowPriorityCores": 1000}  # by name; a family absent: 1000
        self.bastions: list[Body] = []
        self.granted: list[Body] | None = [{"actions": ["*"], "notActions": []}]  # None: nobody may read them
        self.consoles: dict[str, str] = {}  # name of a machine → what it wrote to its serial console
        self._born: dict[tuple[str, str], datetime] = {}
        self.things: dict[tuple[str, str], Body] = {}  # (type, name) → resource
        self._ending: dict[str, datetime] = {}

    def live(self) -> list[tuple[str, str]]:
        """Type and name of everything that exists."""
        with self.lock:
            self.settle()
            return sorted(self.things)

    def evict(self, name: str) -> None:
        """Take a spot machine back: it is deleted, with what goes with it."""
        with self.lock:
            self._remove(name)

    def forget(self) -> None:
        """Empty the group."""
        with self.lock:
            for known in (self.things, self.lives, self._born, self._ending):
                known.clear()

    def transport(self) -> Any:
        """A transport of azure-core that asks here without a socket."""
        import requests
        from azure.core.pipeline.transport import RequestsTransport

        return RequestsTransport(session=in_process(self, requests.Session()), session_owner=False)

    def serve(self, asked: Asked) -> Answer:
        """Serve one call."""
        with self.lock:
            self.settle()
            if asked.path.startswith(_LOGS):
                right = asked.query.get("sig") == SECRET
                return Answer(200 if right else 403, self.consoles.get(asked.path.removeprefix(_LOGS), ""))
            kind, name = _what(asked.path)
            action = f"{asked.method} {kind}"
            body = cast(Body, json.loads(asked.body)) if asked.body else {}
            self.calls.append(Call(action, name, body))
            fault = next((f for f in self.faults if f.action == action and f.times > 0), None)
            if fault is not None:
                fault.times -= 1
                if not fault.lost and not fault.later:
                    return Answer(*_error(fault.status, fault.code, fault.message))
            status, answer = self._answer(asked.method, kind, name, body, asked.headers, fault)
            return Answer(status, answer, fault is not None and fault.lost)

    def _answer(
        self, method: str, kind: str, name: str, body: Body, headers: Mapping[str, str], fault: Fault | None
    ) -> tuple[int, Body]:
        if kind == "permissions":
            return (
                (200, {"value": self.granted}) if self.granted is not None else _error(403, "AuthorizationFailed", "")
            )
        if kind == "retrieveBootDiagnosticsData":
            return self._log_address(name, headers)
        if kind == "bastionHosts":
            return 200, {"value": self.bastions}
        if kind in ("usages", "skus", "virtualNetworks"):
            return 200, {"value": self._usages() if kind == "usages" else _fixed(kind)}
        if method == "GET" and not name:
            return 200, {"value": self._listed(kind)}
        found = self.things.get((kind, name))
        if method == "GET":
            found = None if self._young(kind, name, self.read_lag_s) else found
            return (200, self._view(name, found)) if found else _error(404, "ResourceNotFound", f"no {name}")
        if method == "DELETE":
            return self._delete(kind, name)
        if found is not None and headers.get("if-none-match") == "*":
            return _error(412, "PreconditionFailed", f"{name} exists")
        wrong = _unknown(body, *_MODELS[kind])
        if wrong:
            return _error(400, "InvalidRequestContent", f"no such field: {wrong}")
        self._make(kind, name, body, fault)
        return (200 if kind == "availabilitySets" else 201), self.things[kind, name]

    def _log_address(self, name: str, headers: Mapping[str, str]) -> tuple[int, Body]:
        """Where a machine's serial log is for a few minutes, with the key to it in the address."""
        found = self.things.get(("virtualMachines", name))
        if found is None:
            return _error(404, "ResourceNotFound", f"no {name}")
        if not found["properties"].get("diagnosticsProfile", {}).get("bootDiagnostics", {}).get("enabled"):
            return _error(409, "OperationNotAllowed", "boot diagnostics is not enabled")
        base = f"http://{headers['host']}" if "host" in headers else IN_PROCESS
        return 200, {"serialConsoleLogBlobUri": f"{base}{_LOGS}{name}?sig={SECRET}"}

    def _make(self, kind: str, name: str, body: Body, fault: Fault | None) -> None:
        made = {**body, "id": _id(kind, name), "name": name, "type": kind}
        made["properties"] = {**body["properties"], "provisioningState": "Succeeded"}
        if (kind, name) not in self.things:  # what is only changed shows all the while
            self._born[kind, name] = self.now()
        self.things[kind, name] = made
        if kind == "virtualMachines":
            self.lives[name] = Life(self.now(), cast("dict[str, str]", made.get("tags") or {}))
            self._make_machine(name, made, fault)

    def _make_machine(self, name: str, made: Body, fault: Fault | None) -> None:
        """With its disk and interface. One that fails stays where it is, as in the real cloud."""
        properties = made["properties"]
        disk = properties["storageProfile"]["osDisk"]
        card = properties["networkProfile"]["networkInterfaceConfigurations"][0]
        for kind, named in (("disks", disk["name"]), ("networkInterfaces", card["name"])):
            self._born[kind, named] = self.now()
            thing = {"id": _id(kind, named), "name": named, "location": made["location"], "tags": made["tags"]}
            self.things[kind, named] = {**thing, "properties": {"provisioningState": "Succeeded"}}
        group = card["properties"]["networkSecurityGroup"]
        self.things["networkInterfaces", card["name"]]["properties"]["networkSecurityGroup"] = group
        own = self.things["networkInterfaces", card["name"]]["properties"]
        own["ipConfigurations"] = card["properties"]["ipConfigurations"]
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
        return [t for (k, name), t in self.things.items() if k == kind and not self._young(k, name, self.lag_s)]

    def _young(self, kind: str, name: str, lag_s: float) -> bool:
        """Whether it is younger than `lag_s`."""
        born = self._born.get((kind, name))
        return born is not None and (self.now() - born).total_seconds() < lag_s

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
            self._ending.setdefault(name, self.now() + timedelta(seconds=self.ending_s))
        elif kind == "virtualMachines":
            self._remove(name)
        elif kind in ("disks", "networkInterfaces") and ("virtualMachines", name.rpartition("-")[0]) in self.things:
            return _error(409, "OperationNotAllowed", f"{name} is attached")
        elif kind == "availabilitySets" and self._used_by("virtualMachines", "availabilitySet", name):
            return _error(409, "OperationNotAllowed", f"{name} has machines")
        elif kind == "networkSecurityGroups" and self._used_by("networkInterfaces", "networkSecurityGroup", name):
            return _error(400, "InUseNetworkSecurityGroupCannotBeDeleted", f"{name} is in use")
        else:
            del self.things[kind, name]
        return (200 if kind == "availabilitySets" else 202), {}

    def _used_by(self, kind: str, field: str, name: str) -> bool:
        """Whether something of `kind` names it in `field`."""
        users = [cast(Body, thing["properties"].get(field) or {}) for (k, _), thing in self.things.items() if k == kind]
        return any(str(user.get("id", "")).endswith(f"/{name}") for user in users)

    def _remove(self, name: str) -> None:
        self.ended(name, self._ending.pop(name, None))
        for kind, ending in (("virtualMachines", ""), ("disks", "-os"), ("networkInterfaces", "-nic")):
            self.things.pop((kind, name + ending), None)

    def settle(self) -> None:
        """End the machines whose slow ending is over. Azure knows no other time."""
        for name, until in list(self._ending.items()):
            if self.now() >= until:
                self._remove(name)


def _what(path: str) -> tuple[str, str]:
    """Type and name at the end of a path: ``…/virtualMachines/ca-1`` or ``…/virtualMachines``."""
    parts = path.strip("/").split("/")
    after = parts[parts.index("providers") + 2 :] if "providers" in parts else parts[-1:]
    if len(after) > 2 and after[2] == "retrieveBootDiagnosticsData":
        return after[2], after[1]
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


def _error(status: int, code: str, message: str) -> tuple[int, Body]:
    return status, {"error": {"code": code, "message": message}}


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


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted."""
    exports = [
        f"CLOUDACCEL_AZURE_ENDPOINT={{url}} CLOUDACCEL_AZURE_RESOURCE_GROUP={GROUP}",
        f"AZURE_SUBSCRIPTION_ID={SUBSCRIPTION}",
    ]
    return serve_forever("cloudaccel_azure.fake", __doc__, 5557, lambda lag_s: FakeAzure(lag_s=lag_s), exports, argv)


__all__ = ["GROUP", "SECRET", "SUBSCRIPTION", "Call", "FakeAzure", "Fault", "Server", "main"]

if __name__ == "__main__":
    sys.exit(main())
