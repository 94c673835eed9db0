"""Ways into and out of a machine in a virtual network: Bastion, and a NAT gateway. Opens nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from cloudaccel.errors import ProviderError
from cloudaccel.protocols import InstanceRequest, Way
from cloudaccel_azure.launching import USER
from cloudaccel_azure.sdk import Sdk

_BASTION = "Bastion"
Found = Mapping[str, Any]


class AzureAccess:
    """What the networks of the resource group allow, read and never changed."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    @property
    def login(self) -> str:
        """The user whom every machine is made with."""
        return USER

    def ways_in(
        self, instance_id: str, *, region: str, command: str | None = None, identity: str | None = None  # noqa: ARG002
    ) -> Sequence[Way]:  # fmt: skip
        """A Bastion of the machine's network that takes tunnels of the command line."""
        return (_asked(_BASTION, "in", lambda: self._through(instance_id, command, identity)),)

    def preflight(self, request: InstanceRequest) -> Sequence[Way]:
        """Whether the subnet's network has a Bastion, and the subnet a NAT gateway."""
        subnet = str(request.settled["subnet"])
        return (
            _asked(_BASTION, "in", lambda: self._bastion(subnet)),
            _asked("the internet", "out", lambda: self._way_out(subnet)),
        )

    # -- inside -------------------------------------------------------------------------------------------------------

    def _through(self, instance_id: str, command: str | None, identity: str | None) -> Way:
        group = self._sdk.group
        machine = self._sdk.call("compute.virtual_machines.get", group, instance_id)
        card = _name_of(_rows(_row(machine, "properties", "networkProfile").get("networkInterfaces"))[0])
        interface = self._sdk.call("network.network_interfaces.get", group, card)
        addresses = _rows(_row(interface, "properties").get("ipConfigurations"))
        found = self._bastion(str(_row(addresses[0], "properties", "subnet").get("id")))
        if found.state != "open":
            return found
        if command is not None:
            return Way(name=_BASTION, direction="in", state="closed", why="it opens a shell and runs no single command")
        if identity is None:
            return Way(name=_BASTION, direction="in", state="closed", why="name your private key: --identity FILE")
        argv = (
            "az", "network", "bastion", "ssh", "--name", found.why, "--resource-group", group,
            "--target-resource-id", str(machine["id"]), "--auth-type", "ssh-key", "--username", USER,
            "--ssh-key", identity,
        )  # fmt: skip
        return Way(name=f"{_BASTION} {found.why}", direction="in", state="open", argv=argv)

    def _bastion(self, subnet: str) -> Way:
        network = subnet.rpartition("/subnets/")[0].lower()
        for host in self._sdk.pages("network.bastion_hosts.list_by_resource_group", self._sdk.group):
            properties = _row(host, "properties")
            places = [str(_row(c, "properties", "subnet").get("id")) for c in _rows(properties.get("ipConfigurations"))]
            if not any(place.lower().startswith(f"{network}/") for place in places):
                continue
            if not properties.get("enableTunneling"):
                why = f"{host['name']} takes no tunnels of the command line (native client support is off)"
                return Way(name=_BASTION, direction="in", state="closed", why=why)
            return Way(name=_BASTION, direction="in", state="open", why=str(host["name"]))
        why = f"no Bastion in the network {network.rpartition('/')[2]} of group {self._sdk.group}"
        return Way(name=_BASTION, direction="in", state="closed", why=why)

    def _way_out(self, subnet: str) -> Way:
        where = "the internet"
        network, name = subnet.rpartition("/subnets/")[0], subnet.rpartition("/")[2]
        for found in self._sdk.pages("network.virtual_networks.list", self._sdk.group):
            for part in _rows(_row(found, "properties").get("subnets")) if str(found.get("id")) == network else ():
                gateway = str(_row(part, "properties", "natGateway").get("id") or "").rpartition("/")[2]
                if part.get("name") == name and gateway:
                    why = f"through NAT gateway {gateway}, which bills by the hour and by the GB: not in the worst case"
                    return Way(name=where, direction="out", state="open", why=why)
        # Networks made before 31 March 2026 still give machines an address of Azure's own for going out
        # (Azure: default outbound access); which kind this is cannot be read from it.
        why = "the subnet has no NAT gateway; older networks let machines out all the same"
        return Way(name=where, direction="out", state="unknown", why=why)


def _row(value: Any, *keys: str) -> Found:
    for key in keys:
        value = cast(Found, value or {}).get(key)
    return cast(Found, value or {})


def _rows(value: Any) -> list[Found]:
    return cast("list[Found]", list(value or ()))


def _name_of(reference: Found) -> str:
    return str(reference.get("id", "")).rpartition("/")[2]


def _asked(name: str, direction: str, ask: Callable[[], Way]) -> Way:
    """What `ask` finds; a refusal to say is no answer."""
    try:
        return ask()
    except ProviderError as error:
        return Way(name=name, direction=direction, state="unknown", why=error.raw_code or str(error))
