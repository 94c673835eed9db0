"""The text of a virtual machine and of its security group, as pure functions of a prepared request."""

import base64
import ipaddress
from typing import Any, cast

from cloudaccel.errors import RequestInvalid
from cloudaccel.protocols import InstanceRequest

TOKEN_TAG = "cloudaccel-token"  # noqa: S105
NETWORK_API = "2022-11-01"  # the network version that machines make their own interfaces with (Azure compute models)
USER = "cloudaccel"
RUN_TAG = "cloudaccel-run"
GROUP_PREFIX = (
    "cloudaccel-"  # a run's groups are named with it, the run and the region; a test holds it to the core's own names
)
# Azure: permissions of virtual machines and of networks, as the role that is shipped has them.
_RIGHTS = (
    "Microsoft.Compute/disks/write", "Microsoft.Compute/virtualMachines/delete",
    "Microsoft.Compute/virtualMachines/read", "Microsoft.Compute/virtualMachines/write",
    "Microsoft.Network/networkInterfaces/join/action",
    "Microsoft.Network/networkInterfaces/write", "Microsoft.Network/networkSecurityGroups/join/action",
    "Microsoft.Network/networkSecurityGroups/read", "Microsoft.Network/networkSecurityGroups/write",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
)  # fmt: skip
_MOST_NAMES = 8  # a gang has at most 8 machines


def names_of(token: str) -> tuple[str, ...]:
    """Every name that machines of `token` may have."""
    return tuple(f"ca-{token.replace('-', '')[:48]}-{n}" for n in range(_MOST_NAMES))


def names(request: InstanceRequest) -> tuple[str, ...]:
    """Names of the machines; they follow from the token, so that the same call can never make others."""
    return names_of(request.token)[: request.count]


def tags(request: InstanceRequest) -> dict[str, str]:
    """The run's tags and its token."""
    return {**request.tags, TOKEN_TAG: request.token}


def machine(request: InstanceRequest, name: str) -> dict[str, Any]:
    """Body of one machine; its disk and interface go with it, and it has no public address.

    `request.settled` has ``subnet``, ``image``, ``key`` (an SSH public key) and ``group`` (the security group's id).
    """
    if len(request.user_data.encode()) > 65_535:  # bytes before encoding (Azure: custom data)
        raise invalid("customData", "user data is over 65535 bytes")
    body: dict[str, Any] = {
        "location": request.region,
        "tags": tags(request),
        "properties": {
            "hardwareProfile": {"vmSize": request.instance_type},
            "storageProfile": {"imageReference": request.settled["image"], "osDisk": _disk(request, name)},
            "osProfile": _system(request, name),
            "networkProfile": {
                "networkApiVersion": NETWORK_API,
                "networkInterfaceConfigurations": [_interface(request, name)],
            },
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},  # storage of Azure's own: the serial log
            **_market(request),
        },
    }
    if request.settled.get("set"):
        body["properties"]["availabilitySet"] = {"id": request.settled["set"]}  # which stands in no zone
    elif request.zone != request.region:
        body["zones"] = [request.zone.rpartition("-")[2]]
    return body


def rights(request: InstanceRequest) -> tuple[str, ...]:
    """Actions that a launch and its end need in the group; the whole role is deploy/azure/role.json."""
    held = ("Microsoft.Compute/capacityReservationGroups/deploy/action",) if request.reservation_id else ()
    near = ("Microsoft.Compute/availabilitySets/write",) if needs_set(request) else ()
    return (*_RIGHTS, *held, *near)


def needs_set(request: InstanceRequest) -> bool:
    """Whether the machines reach each other over InfiniBand only inside one availability set.

    Neither spot machines nor capacity reservations go with a set (Azure: availability sets; not tried on an account).
    """
    plain = request.market == "on_demand" and request.reservation_id is None
    return bool(request.settled.get("rdma")) and request.count > 1 and plain


def availability_set(request: InstanceRequest) -> dict[str, Any]:
    """Body of the run's availability set: one fault domain, since the machines are wanted near to each other."""
    properties = {"platformFaultDomainCount": 1, "platformUpdateDomainCount": 1}
    return {"location": request.region, "tags": tags(request), "sku": {"name": "Aligned"}, "properties": properties}


def security_group(request: InstanceRequest) -> dict[str, Any]:
    """Body of the run's security group: nothing from outside but port 22 from the sources that were named.

    Raises
    ------
    RequestInvalid
        If a source is no network, or wider than a /8 (IPv6: /32).
    """
    sources = [_network(text) for text in request.ssh_cidrs]
    rule = {
        "name": "ssh",
        "properties": {
            "priority": 1000, "direction": "Inbound", "access": "Allow", "protocol": "Tcp",
            "sourceAddressPrefixes": sources, "sourcePortRange": "*", "destinationAddressPrefix": "*",
            "destinationPortRange": "22",
        },
    }  # fmt: skip
    rules = [rule] if sources else []
    return {"location": request.region, "tags": tags(request), "properties": {"securityRules": rules}}


def terms(request: InstanceRequest) -> tuple[str, ...]:
    """What `machine` asks for, for people."""
    image = cast("dict[str, str]", request.settled["image"])
    named = image.get("id") or ":".join(image[key] for key in ("publisher", "offer", "sku", "version"))
    inbound = f", and port 22 from {', '.join(request.ssh_cidrs)}" if request.ssh_cidrs else ""
    near = ["One availability set for all machines, which InfiniBand needs."] if needs_set(request) else []
    return (
        f"Image {named}.",
        *near,
        f"No public address; inbound: only from inside the network{inbound}.",
        "Disks are deleted with their machine, and encrypted with Azure's keys; no password, one SSH key.",
        "Azure ends no machine by itself: it runs and bills until it is taken down.",
    )


def invalid(code: str, text: str) -> RequestInvalid:
    """The caller asked for what cannot be sent."""
    return RequestInvalid(f"azure: {text}.", provider="azure", operation="create", code=code)


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise invalid("ssh_cidr", f"{text!r} is no network: {error}") from error
    if network.prefixlen < (8 if network.version == 4 else 32):
        raise invalid("ssh_cidr", f"{text} is (half) the world; name the network that you come from")
    return str(network)


def _disk(request: InstanceRequest, name: str) -> dict[str, Any]:
    disk: dict[str, Any] = {
        "name": f"{name}-os",
        "createOption": "FromImage",
        "deleteOption": "Delete",
        "managedDisk": {"storageAccountType": "Premium_LRS"},
    }
    return {**disk, "diskSizeGB": request.disk_gib} if request.disk_gib else disk


def _system(request: InstanceRequest, name: str) -> dict[str, Any]:
    key = {"path": f"/home/{USER}/.ssh/authorized_keys", "keyData": request.settled["key"]}
    return {
        "computerName": name,
        "adminUsername": USER,
        "customData": base64.b64encode(request.user_data.encode()).decode(),
        "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": {"publicKeys": [key]}},
    }


def _interface(request: InstanceRequest, name: str) -> dict[str, Any]:
    address = {"name": "ip", "properties": {"primary": True, "subnet": {"id": request.settled["subnet"]}}}
    properties = {
        "primary": True,
        "deleteOption": "Delete",
        "networkSecurityGroup": {"id": request.settled["group"]},
        "ipConfigurations": [address],
    }
    return {"name": f"{name}-nic", "properties": properties, "tags": tags(request)}


def _market(request: InstanceRequest) -> dict[str, Any]:
    if request.market == "spot":
        if request.reservation_id is not None:
            raise invalid("reservation", "a capacity reservation does not go with spot")
        # -1: evicted for capacity only, and never dearer than on demand.
        most = -1 if request.max_price_per_hour is None else float(request.max_price_per_hour)  # the API has a double
        return {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": most}}
    if request.market == "capacity_block":
        raise invalid("market", "there are no capacity blocks here; name a capacity reservation group")
    if request.market != "on_demand":
        raise invalid("market", f"machines are not started in the market {request.market} from here")
    if request.reservation_id is None:
        return {"priority": "Regular"}
    if "/capacityreservationgroups/" not in request.reservation_id.lower():
        raise invalid(
            "reservation", f"{request.reservation_id!r} is no id of a capacity reservation group, such as "
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/capacityReservationGroups/NAME",
        )  # fmt: skip
    group = {"id": request.reservation_id}
    return {"priority": "Regular", "capacityReservation": {"capacityReservationGroup": cast(Any, group)}}
