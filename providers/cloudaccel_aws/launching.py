"""The text of a RunInstances call, as a pure function of a prepared request."""

import base64
import ipaddress
from typing import Any, cast

from cloudaccel.errors import RequestInvalid
from cloudaccel.protocols import InstanceRequest

TAGGED = ("instance", "volume", "network-interface")
_MAX_USER_DATA = 16_384

MARKETS = ("on_demand", "spot", "capacity_block")


def run_instances(request: InstanceRequest) -> dict[str, Any]:
    """Parameters of RunInstances: all machines or none, closed to the outside, ending by themselves.

    `request.settled` has ``image``, ``disks`` (device to GiB, the root first), ``subnet``, ``group``,
    ``placement_group`` and ``efa``.
    """
    if len(request.user_data.encode()) > _MAX_USER_DATA:
        raise _invalid("InvalidUserData.Malformed", f"user data is over {_MAX_USER_DATA} bytes")
    tags = tag_list(request)
    parameters: dict[str, Any] = {
        "ClientToken": request.token,
        "ImageId": request.settled["image"],
        "InstanceType": request.instance_type,
        "MinCount": request.count,
        "MaxCount": request.count,
        "UserData": base64.b64encode(request.user_data.encode()).decode(),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
        "BlockDeviceMappings": _disks(request),
        "NetworkInterfaces": _interfaces(request),
        "Placement": _placement(request),
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in _tagged(request)],
        **_market(request),
    }
    if request.key_name:
        parameters["KeyName"] = request.key_name
    return parameters


def tag_list(request: InstanceRequest) -> list[dict[str, str]]:
    """The tags in EC2's form, with a name for the console."""
    return [{"Key": k, "Value": v} for k, v in sorted({**request.tags, "Name": request.name}.items())]


def ingress(request: InstanceRequest) -> list[dict[str, Any]]:
    """Inbound rules for port 22 from the sources that were named. The world is refused.

    Raises
    ------
    RequestInvalid
        If a source is no network, or wider than a /8 (IPv6: /32).
    """
    rules: list[dict[str, Any]] = []
    for text in request.ssh_cidrs:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise _invalid("ssh_cidr", f"{text!r} is no network: {error}") from error
        if network.prefixlen < (8 if network.version == 4 else 32):
            raise _invalid("ssh_cidr", f"{text} is (half) the world; name the network that you come from")
        key, field = ("IpRanges", "CidrIp") if network.version == 4 else ("Ipv6Ranges", "CidrIpv6")
        rules.append({"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, key: [{field: str(network)}]})
    return rules


def terms(request: InstanceRequest) -> tuple[str, ...]:
    """What `run_instances` asks for, for people."""
    cards = int(cast(int, request.settled.get("efa") or 0))
    network = [f"{cards} EFA interfaces on each machine."] if cards else []
    near = ["One cluster placement group for all machines."] if request.settled.get("placement_group") else []
    return (
        f"Image {request.settled['image']}.",
        *network,
        *near,
        f"No public address; inbound: {_open_to(request)}.",
        "Disks are encrypted and deleted with their machine; instance metadata needs a token (IMDSv2).",
    )


def _open_to(request: InstanceRequest) -> str:
    return f"port 22 from {', '.join(request.ssh_cidrs)}" if request.ssh_cidrs else "nothing"


def _disks(request: InstanceRequest) -> list[dict[str, Any]]:
    """Every disk of the image, so that none keeps a setting of its own: encrypted, and gone with its machine."""
    always = {"DeleteOnTermination": True, "Encrypted": True, "VolumeType": "gp3"}
    sizes = dict(cast("dict[str, int]", request.settled["disks"]))
    root = next(iter(sizes))
    sizes[root] = max(sizes[root], request.disk_gib or 0)
    return [{"DeviceName": device, "Ebs": {**always, "VolumeSize": gib}} for device, gib in sizes.items()]


def _interfaces(request: InstanceRequest) -> list[dict[str, Any]]:
    """One plain interface, or, for several machines of a type with EFA, all that its network cards carry.

    Card 0 has the addresses (``efa``); the others carry only EFA traffic (``efa-only``, device index 1), as for p5.
    """
    common = {"SubnetId": request.settled["subnet"], "Groups": [request.settled["group"]], "DeleteOnTermination": True}
    efa = int(cast(int, request.settled.get("efa") or 0))
    first: dict[str, Any] = {**common, "DeviceIndex": 0, "AssociatePublicIpAddress": False}
    if efa == 0:
        return [first]
    first |= {"InterfaceType": "efa", "NetworkCardIndex": 0}
    if efa > 1:
        del first["AssociatePublicIpAddress"]  # refused beside further interfaces, which never get a public address
    more = [
        {**common, "DeviceIndex": 1, "NetworkCardIndex": card, "InterfaceType": "efa-only"} for card in range(1, efa)
    ]
    return [first, *more]


def _placement(request: InstanceRequest) -> dict[str, Any]:
    placement: dict[str, Any] = {"AvailabilityZone": request.zone}
    if request.settled.get("placement_group"):
        placement["GroupName"] = request.name
    return placement


def _tagged(request: InstanceRequest) -> tuple[str, ...]:
    return (*TAGGED, "spot-instances-request") if request.market == "spot" else TAGGED


def _market(request: InstanceRequest) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if request.market == "spot":
        spot = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        options["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": spot}
    elif request.market == "capacity_block":
        if request.reservation_id is None:
            raise _invalid(
                "reservation", "a capacity block is used by the id of one that you have: --reservation cr-..."
            )
        options["InstanceMarketOptions"] = {"MarketType": "capacity-block"}
    elif request.market not in MARKETS:
        raise _invalid("market", f"machines are not started in the market {request.market} from here")
    if request.reservation_id is not None:
        target = {"CapacityReservationTarget": {"CapacityReservationId": request.reservation_id}}
        options["CapacityReservationSpecification"] = target
    else:
        # Nothing that somebody else reserved is used up by a machine that happens to match it.
        options["CapacityReservationSpecification"] = {"CapacityReservationPreference": "none"}
    return options


def _invalid(code: str, text: str) -> RequestInvalid:
    return RequestInvalid(f"aws: {text}.", provider="aws", operation="RunInstances", code=code)
