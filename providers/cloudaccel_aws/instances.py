"""EC2: machines, and the disks, interfaces, addresses and groups that come and go with them."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from cloudaccel.errors import (
    CapacityUnavailable,
    InstanceNotFound,
    MalformedResponse,
    OutcomeUnknown,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
)
from cloudaccel.protocols import Access, Instance, InstanceRequest, Json, Resource, Trial
from cloudaccel_aws.access import AwsAccess
from cloudaccel_aws.launching import MARKETS, ingress, run_instances, tag_list, terms
from cloudaccel_aws.sdk import Sdk

_STATES = {
    "pending": "pending",
    "running": "running",
    "shutting-down": "stopping",
    "stopping": "stopping",
    "stopped": "stopped",
}
SMALLEST_DISK_GIB = 8
_META = "http://169.254.169.254/latest"
_TRIAL = Trial(
    instance_type="t3.micro", region="us-east-1", price_bound=Decimal("0.02"), currency="USD", as_of="2025-10",
    source="twice the list price known of it, 0.0104 USD/h, not read anew",
)  # fmt: skip
_ANNOUNCED = (
    f"t=$(curl -sf -m 2 -X PUT {_META}/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60') && "
    f'curl -sf -m 2 -H "X-aws-ec2-metadata-token: $t" {_META}/meta-data/spot/instance-action'
)
_UNDECIDED = (OutcomeUnknown, ProviderUnavailable, RateLimited)  # the same call again decides
_INTERRUPTED = ("Server.SpotInstanceTermination", "Server.SpotInstanceShutdown")


class AwsInstances:
    """EC2 in every region of the account."""

    def __init__(self, sdk: Sdk, *, consistency_s: float) -> None:
        self._sdk = sdk
        self._consistency_s = consistency_s

    @property
    def consistency_s(self) -> float:
        """For how long after a create a listing may still not show it, seconds."""
        return self._consistency_s

    @property
    def gang(self) -> bool:
        """MinCount = MaxCount starts all or none."""
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
        return AwsAccess(self._sdk)

    @property
    def announced(self) -> str:
        """The instance's own metadata, which has the notice two minutes before a spot machine is taken back."""
        return _ANNOUNCED

    # -- where and as whom --------------------------------------------------------------------------------------------

    def keeps_deadline(self, instance_type: str) -> bool:  # noqa: ARG002
        """A machine powers itself off, and that terminates it."""
        return True

    def refusal(self, instance_type: str, market: str, count: int) -> str | None:  # noqa: ARG002
        """Markets that are another cloud's."""
        return None if market in MARKETS else f"machines are not started in the market {market} from here"

    def account(self, *, region: str) -> str:
        """The account number."""
        return str(self._sdk.call("sts", region, "GetCallerIdentity")["Account"])

    def time(self, *, region: str) -> datetime | None:
        """The ``Date`` of STS there."""
        return self._sdk.time(region)

    def regions(self, *, region: str) -> Sequence[str]:
        """Regions that are enabled for the account."""
        answer = self._sdk.call("ec2", region, "DescribeRegions")
        return sorted(str(found["RegionName"]) for found in answer.get("Regions", ()))

    def zones(self, instance_type: str, region: str, zone: str | None = None) -> Sequence[str]:
        """Zones that offer the type, by name: those that `zone` means, which price lists write as an id or a group."""
        offers = self._sdk.pages(
            "ec2", region, "DescribeInstanceTypeOfferings", "InstanceTypeOfferings",
            LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [instance_type]}],
        )  # fmt: skip
        names = sorted(str(offer["Location"]) for offer in offers)
        if zone is None or zone in names:
            return names if zone is None else [zone]
        # Names are the account's own: use1-az6 is another letter in each. A zone that it has not enabled has none.
        known = self._sdk.pages("ec2", region, "DescribeAvailabilityZones", "AvailabilityZones")
        meant = {str(z["ZoneName"]) for z in known if zone in (z.get("ZoneId"), z.get("GroupName"))}
        return [name for name in names if name in meant]

    # -- before the call ----------------------------------------------------------------------------------------------

    def settle(self, request: InstanceRequest) -> InstanceRequest:
        """With image id, its root device, a subnet of the zone, and the number of EFA interfaces."""
        ingress(request)  # refuses early
        region = request.region
        if request.reservation_id is not None:
            self._reservation(request, request.reservation_id)
        described = self._sdk.call("ec2", region, "DescribeInstanceTypes", InstanceTypes=[request.instance_type])
        shape: dict[str, Any] = described["InstanceTypes"][0]
        image = request.image or self._image(region, shape)
        subnet = self._subnet(request)
        settled: dict[str, Json] = {
            "image": image,
            "disks": self._disks(region, image),
            "subnet": str(subnet["SubnetId"]),
            "vpc": str(subnet["VpcId"]),
            "efa": _efa(shape) if request.count > 1 else 0,
            "placement_group": request.count > 1 and request.market != "capacity_block",
        }
        return replace(request, settled=settled)

    def rehearse(self, request: InstanceRequest) -> None:
        """RunInstances with DryRun: permission only. The group does not exist yet, so the VPC's own stands in."""
        found = self._groups(request.region, [{"Name": "vpc-id", "Values": [str(request.settled["vpc"])]}])
        stand_in = next((g["GroupId"] for g in found if g["GroupName"] == "default"), "sg-0")
        settled = {**request.settled, "group": str(stand_in), "placement_group": False}
        parameters = run_instances(replace(request, settled=settled))
        try:
            self._sdk.call("ec2", request.region, "RunInstances", DryRun=True, **parameters)
        except ProviderError as error:
            if error.raw_code != "DryRunOperation":
                raise

    def terms(self, request: InstanceRequest) -> Sequence[str]:
        """Image, network, what is open and what protects it."""
        return terms(request)

    def prepare(self, request: InstanceRequest) -> tuple[InstanceRequest, tuple[Resource, ...]]:
        """With a security group of the run's own, and a cluster placement group when there are several machines."""
        made: list[Resource] = []
        group = self._security_group(request)
        made.append(_group_of(request, "security_group", group))
        try:
            self._rules(request, group)
            if request.settled.get("placement_group"):
                self._placement_group(request)
                made.append(_group_of(request, "placement_group", request.name))
        except _UNDECIDED:
            raise
        except ProviderError as error:
            self._undo(made, error)
            raise
        return replace(request, settled={**request.settled, "group": group}), tuple(made)

    # -- machines -----------------------------------------------------------------------------------------------------

    def create(self, request: InstanceRequest) -> tuple[Instance, ...]:
        """RunInstances, once."""
        answer = self._sdk.call("ec2", request.region, "RunInstances", **run_instances(request))
        machines = tuple(_machine(found, request.region) for found in answer.get("Instances", ()))
        if len(machines) != request.count:
            ids = ", ".join(machine.id for machine in machines) or "none"
            raise MalformedResponse(
                f"aws: asked for {request.count} machines, was told of {ids}.",
                provider="aws", operation="RunInstances", code="count",
            )  # fmt: skip
        return machines

    def find(self, token: str, *, region: str) -> tuple[Instance, ...]:
        """Machines that were created with `token`."""
        return tuple(self._describe(region, Filters=[{"Name": "client-token", "Values": [token]}]))

    def get(self, instance_id: str, *, region: str) -> Instance:
        """The machine now."""
        found = next(iter(self._describe(region, InstanceIds=[instance_id])), None)
        if found is None:
            raise _not_found("DescribeInstances", instance_id)
        return found

    def console(self, instance_id: str, *, region: str) -> str | None:
        """GetConsoleOutput of now, which only Nitro machines give."""
        try:
            answer = self._sdk.call("ec2", region, "GetConsoleOutput", InstanceId=instance_id, Latest=True)
        except RequestInvalid:
            return None
        return str(answer["Output"]) if answer.get("Output") else None  # decoded by the SDK

    def delete(self, instance_id: str, *, region: str) -> None:
        """TerminateInstances; a machine that has ended already counts as gone."""
        answer = self._sdk.call("ec2", region, "TerminateInstances", InstanceIds=[instance_id])
        changes = answer.get("TerminatingInstances", ())
        if changes and all(change.get("PreviousState", {}).get("Name") == "terminated" for change in changes):
            raise _not_found("TerminateInstances", instance_id)

    def resources(self, *, tags: Mapping[str, str], region: str) -> Iterator[Resource]:
        """Everything in `region` that carries `tags`; ended machines included while EC2 shows them."""
        filters = [_tag_filter(key, value) for key, value in tags.items()]
        for machine in self._reservations(region, Filters=filters):
            state = _STATES.get(machine["State"]["Name"], "terminated")
            yield _resource("machine", machine["InstanceId"], region, state, machine, bills=state != "terminated")
        for operation, key, kind, name in _LISTINGS:
            for found in self._list(region, operation, key, filters):
                yield _resource(
                    kind,
                    str(found[name]),
                    region,
                    str(found.get("State", "live")),
                    found,
                    bills=kind in ("disk", "address"),
                )

    def remove(self, resource: Resource) -> None:
        """Delete a disk, interface, address or group. A disk on its way out is `Conflict` until it is gone."""
        operation, parameter = _REMOVALS[resource.kind]
        value: Any = [resource.id] if parameter.endswith("Ids") else resource.id
        self._sdk.call("ec2", resource.region, operation, **{parameter: value})

    # -- inside -------------------------------------------------------------------------------------------------------

    def _reservation(self, request: InstanceRequest, identifier: str) -> None:
        """Refuse a reservation that is not active, or ends before the machines do."""
        answer = self._sdk.call(
            "ec2", request.region, "DescribeCapacityReservations", CapacityReservationIds=[identifier]
        )  # fmt: skip
        found = next(iter(answer.get("CapacityReservations", ())), None)
        state, ends = (None, None) if found is None else (str(found.get("State")), found.get("EndDate"))
        if found is None or state not in ("active", "scheduled", "None"):
            raise RequestInvalid(
                f"aws: reservation {identifier} is {state or 'not there'} in {request.region}.",
                provider="aws", operation="DescribeCapacityReservations", code="reservation",
            )  # fmt: skip
        if ends is not None and ends < request.deadline:
            raise RequestInvalid(
                f"aws: reservation {identifier} ends {ends:%Y-%m-%d %H:%MZ}, before the machines do "
                f"({request.deadline:%Y-%m-%d %H:%MZ}). Give a --lease, and a --max-total, that fit.",
                provider="aws", operation="DescribeCapacityReservations", code="reservation_ends",
            )  # fmt: skip

    def _image(self, region: str, shape: Mapping[str, Any]) -> str:
        kind = "gpu" if shape.get("GpuInfo") else "neuron" if shape.get("NeuronInfo") else "none"
        arch = next(iter(shape.get("ProcessorInfo", {}).get("SupportedArchitectures", ())), "x86_64")
        parameter = image_parameters().get((kind, arch))
        if parameter is None:
            raise RequestInvalid(
                f"aws: no image is known for {shape.get('InstanceType')} ({kind}, {arch}). "
                "Name one with --image ami-...",
                provider="aws", operation="GetParameter", code="no_image",
            )  # fmt: skip
        return str(self._sdk.call("ssm", region, "GetParameter", Name=parameter)["Parameter"]["Value"])

    def _disks(self, region: str, image: str) -> dict[str, int]:
        """Device to GiB of every disk that the image brings, the root first."""
        found = self._sdk.call("ec2", region, "DescribeImages", ImageIds=[image]).get("Images", ())
        if not found:
            raise RequestInvalid(
                f"aws: no image {image} in {region}.", provider="aws", operation="DescribeImages", code="no_image"
            )
        root = str(found[0].get("RootDeviceName") or "/dev/sda1")
        mapped = [m for m in found[0].get("BlockDeviceMappings", ()) if "Ebs" in m]
        sizes = {str(m["DeviceName"]): int(m["Ebs"].get("VolumeSize") or SMALLEST_DISK_GIB) for m in mapped}
        return {root: sizes.pop(root, SMALLEST_DISK_GIB), **sizes}

    def _subnet(self, request: InstanceRequest) -> dict[str, Any]:
        """A subnet of the zone: one of ours by tag, else the default one. Nothing is made."""
        where = {"Name": "availability-zone", "Values": [request.zone]}
        found = self._sdk.pages("ec2", request.region, "DescribeSubnets", "Subnets", Filters=[where])
        marked = [s for s in found if any(tag["Key"] == "cloudaccel-subnet" for tag in s.get("Tags", ()))]
        usable = marked or [s for s in found if s.get("DefaultForAz")]
        if not usable:
            raise CapacityUnavailable(
                f"aws: {request.zone} has no default subnet and none tagged cloudaccel-subnet.",
                provider="aws", operation="DescribeSubnets", code="no_subnet", scope="zone", ttl_s=30,
            )  # fmt: skip
        return max(usable, key=lambda s: int(s.get("AvailableIpAddressCount", 0)))

    def _groups(self, region: str, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self._sdk.pages("ec2", region, "DescribeSecurityGroups", "SecurityGroups", Filters=filters)

    def _security_group(self, request: InstanceRequest) -> str:
        """The run's own group, made or found by name: without a token, the name is what makes the call repeatable."""
        vpc = str(request.settled["vpc"])
        try:
            group = str(
                self._sdk.call(
                    "ec2", request.region, "CreateSecurityGroup", GroupName=request.name, VpcId=vpc,
                    Description="cloudaccel run; closed to the outside",
                    TagSpecifications=_tagged("security-group", request),
                )["GroupId"]
            )  # fmt: skip
        except ProviderError as error:
            if error.raw_code != "InvalidGroup.Duplicate":
                raise
            wanted = [{"Name": "group-name", "Values": [request.name]}, {"Name": "vpc-id", "Values": [vpc]}]
            found = self._groups(request.region, wanted)
            if not found:
                raise _unseen("DescribeSecurityGroups", request.name) from error
            group = str(found[0]["GroupId"])
        return group

    def _undo(self, made: Sequence[Resource], error: ProviderError) -> None:
        """Remove groups that are of no use, `error` being why."""
        for resource in made:
            try:
                self.remove(resource)
            except ProviderError as left:
                raise OutcomeUnknown(
                    f"{error} Made before that, and not removed yet: {resource.id} ({left.raw_code}).",
                    provider="aws", operation=error.operation, code=error.raw_code,
                ) from error  # fmt: skip

    def _rules(self, request: InstanceRequest, group: str) -> None:
        inside = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
        inbound = ingress(request)
        if request.count > 1:  # EFA traffic needs the group as its own source and target
            self._authorize(request.region, "AuthorizeSecurityGroupIngress", group, [inside])
            self._authorize(request.region, "AuthorizeSecurityGroupEgress", group, [inside])
        if inbound:
            self._authorize(request.region, "AuthorizeSecurityGroupIngress", group, inbound)

    def _authorize(self, region: str, operation: str, group: str, rules: list[dict[str, Any]]) -> None:
        try:
            self._sdk.call("ec2", region, operation, GroupId=group, IpPermissions=rules)
        except ProviderError as error:
            if error.raw_code != "InvalidPermission.Duplicate":
                raise

    def _placement_group(self, request: InstanceRequest) -> None:
        try:
            self._sdk.call(
                "ec2", request.region, "CreatePlacementGroup", GroupName=request.name, Strategy="cluster",
                TagSpecifications=_tagged("placement-group", request),
            )  # fmt: skip
        except ProviderError as error:
            if error.raw_code != "InvalidPlacementGroup.Duplicate":
                raise

    def _list(self, region: str, operation: str, key: str, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self._sdk.pages("ec2", region, operation, key, Filters=filters)

    def _reservations(self, region: str, **query: Any) -> Iterator[dict[str, Any]]:
        for reservation in self._sdk.pages("ec2", region, "DescribeInstances", "Reservations", **query):
            yield from reservation.get("Instances", ())

    def _describe(self, region: str, **query: Any) -> Iterator[Instance]:
        for found in self._reservations(region, **query):
            yield _machine(found, region)


_LISTINGS = (
    ("DescribeVolumes", "Volumes", "disk", "VolumeId"),
    ("DescribeAddresses", "Addresses", "address", "AllocationId"),
    ("DescribeNetworkInterfaces", "NetworkInterfaces", "interface", "NetworkInterfaceId"),
    ("DescribePlacementGroups", "PlacementGroups", "placement_group", "GroupName"),
    ("DescribeSecurityGroups", "SecurityGroups", "security_group", "GroupId"),
)
_REMOVALS = {
    "spot_request": ("CancelSpotInstanceRequests", "SpotInstanceRequestIds"),
    "disk": ("DeleteVolume", "VolumeId"),
    "address": ("ReleaseAddress", "AllocationId"),
    "interface": ("DeleteNetworkInterface", "NetworkInterfaceId"),
    "placement_group": ("DeletePlacementGroup", "GroupName"),
    "security_group": ("DeleteSecurityGroup", "GroupId"),
}


@cache
def image_parameters() -> dict[tuple[str, str], str]:
    """Parameter names of images.csv by kind of accelerator and architecture."""
    text = files("cloudaccel_aws").joinpath("images.csv").read_text(encoding="utf-8")
    return {(row["kind"], row["arch"]): row["parameter"] for row in csv.DictReader(text.splitlines())}


def _efa(shape: Mapping[str, Any]) -> int:
    network = shape.get("NetworkInfo", {})
    if not network.get("EfaSupported"):
        return 0
    return int(network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 1))


def _group_of(request: InstanceRequest, kind: str, identifier: str) -> Resource:
    return Resource(
        kind=kind, id=identifier, region=request.region, state="live", tags=request.tags, bills=False
    )  # fmt: skip


def _tagged(kind: str, request: InstanceRequest) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": tag_list(request)}]


def _tag_filter(key: str, value: str) -> dict[str, Any]:
    if value == "*":
        return {"Name": "tag-key", "Values": [key]}
    return {"Name": f"tag:{key}", "Values": [value]}


def _machine(found: Mapping[str, Any], region: str) -> Instance:
    zone = found.get("Placement", {}).get("AvailabilityZone")
    reason = str(found.get("StateReason", {}).get("Code", "") or "")
    disks = [
        ("disk", str(m["Ebs"]["VolumeId"]))
        for m in found.get("BlockDeviceMappings", ())
        if m.get("Ebs", {}).get("VolumeId")
    ]
    cards = [
        ("interface", str(n["NetworkInterfaceId"]))
        for n in found.get("NetworkInterfaces", ())
        if n.get("NetworkInterfaceId")
    ]
    request = found.get("SpotInstanceRequestId")
    lifecycle = {"spot": "spot", "capacity-block": "capacity_block"}
    return Instance(
        id=str(found["InstanceId"]),
        region=region if zone is None or zone.startswith(region) else zone,
        zone=zone,
        state=_STATES.get(found.get("State", {}).get("Name", ""), "terminated"),
        instance_type=str(found.get("InstanceType", "")),
        market=lifecycle.get(found.get("InstanceLifecycle", ""), "on_demand"),
        launched_at=found.get("LaunchTime"),
        private_address=found.get("PrivateIpAddress"),
        public_address=found.get("PublicIpAddress"),
        attached=(*disks, *cards, *([("spot_request", str(request))] if request else [])),
        reason=reason,
        interrupted=reason in _INTERRUPTED,
    )


def _resource(
    kind: str, identifier: str, region: str, state: str, found: Mapping[str, Any], *, bills: bool
) -> Resource:
    tags = found.get("Tags") or found.get("TagSet") or ()
    return Resource(
        kind=kind, id=identifier, region=region, state=state, tags={t["Key"]: t["Value"] for t in tags}, bills=bills
    )  # fmt: skip


def _not_found(operation: str, identifier: str) -> InstanceNotFound:
    return InstanceNotFound(f"aws: {identifier} is not there.", provider="aws", operation=operation, code="NotFound")


def _unseen(operation: str, name: str) -> ProviderError:
    return ProviderUnavailable(
        f"aws: group {name} exists and is not listed yet.", provider="aws", operation=operation, code="lagging"
    )
