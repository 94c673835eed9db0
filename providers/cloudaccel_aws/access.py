"""Ways into and out of a machine in a VPC: Session Manager, and what its subnet's routes lead to. Opens nothing."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudaccel.errors import ProviderError
from cloudaccel.protocols import InstanceRequest, Way
from cloudaccel_aws.sdk import Sdk

_SESSION = "Session Manager"
_SETTING = "/ssm/managed-instance/default-ec2-instance-management-role"
# Without a way out, Systems Manager is reached only through these (Systems Manager user guide: VPC endpoints, 2026-09).
_SESSION_ENDPOINTS = ("ssm", "ssmmessages", "ec2messages")
# USD by the hour and by the GB of a NAT gateway. Source: aws.amazon.com/vpc/pricing, whose example is of that region,
# as transcribed on that day by the repository api-evangelist/amazon-vpc (plans/amazon-vpc-plans-pricing.yml).
_NAT_PRICES = {"us-east-2": ("0.045", "0.045")}
_NAT_AS_OF = "2026-09-20"
_NO_ROLE = (
    "the machine has no role, so Systems Manager knows it only where Default Host Management is on (an administrator: "
    "aws ssm update-service-setting --region {region} --setting-id {setting} --setting-value "
    "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole)"
)


class AwsAccess:
    """What the account's network allows, read and never changed."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    @property
    def login(self) -> str:
        """The user of the accelerator images, which are Ubuntu."""
        return "ubuntu"

    def ways_in(
        self, instance_id: str, *, region: str, command: str | None = None, identity: str | None = None  # noqa: ARG002
    ) -> Sequence[Way]:  # fmt: skip
        """A session, if Systems Manager hears of the machine."""
        return (_asked(_SESSION, "in", lambda: self._session(instance_id, region, command)),)

    def preflight(self, request: InstanceRequest) -> Sequence[Way]:
        """Whether a session could be opened, and where the subnet's routes lead."""
        region = request.region
        out = [_asked("the internet", "out", lambda: self._way_out(request))]
        out += _listed("endpoints", lambda: self._endpoints(request))
        return (_asked(_SESSION, "in", lambda: self._session_setting(region)), *out)

    # -- in -----------------------------------------------------------------------------------------------------------

    def _session(self, instance_id: str, region: str, command: str | None) -> Way:
        wanted = [{"Key": "InstanceIds", "Values": [instance_id]}]
        answer = self._sdk.call("ssm", region, "DescribeInstanceInformation", Filters=wanted)
        known = next(iter(answer.get("InstanceInformationList", ())), None)
        if known is None:
            return _closed(_SESSION, _NO_ROLE.format(region=region, setting=_SETTING))
        if known.get("PingStatus") != "Online":
            return _closed(_SESSION, f"the agent on the machine is {known.get('PingStatus')}: it may have no way out")
        argv = ("aws", "ssm", "start-session", "--region", region, "--target", instance_id)
        if command is not None:
            run = ("--document-name", "AWS-StartInteractiveCommand", "--parameters", json.dumps({"command": [command]}))
            argv = (*argv, *run)
        return Way(name=_SESSION, direction="in", state="open", argv=argv)

    def _session_setting(self, region: str) -> Way:
        found = self._sdk.call("ssm", region, "GetServiceSetting", SettingId=_SETTING).get("ServiceSetting", {})
        if str(found.get("SettingValue") or "$None") == "$None":
            return _closed(_SESSION, _NO_ROLE.format(region=region, setting=_SETTING))
        return Way(name=_SESSION, direction="in", state="open", why="by Default Host Management")

    # -- out ----------------------------------------------------------------------------------------------------------

    def _way_out(self, request: InstanceRequest) -> Way:
        where = "the internet"
        route = next(iter(self._default_routes(request)), None)
        if route is None:
            return Way(name=where, direction="out", state="closed", why="the subnet has no default route")
        if route.get("NatGatewayId"):
            nat = route["NatGatewayId"]
            why = f"through {nat}, which bills {_nat_price(request.region)}: not in the worst case"
            return Way(name=where, direction="out", state="open", why=why)
        if str(route.get("GatewayId", "")).startswith("igw-"):
            why = f"the route leads to {route['GatewayId']}, which serves only public addresses; machines get none"
            return Way(name=where, direction="out", state="closed", why=f"{why}. Use a subnet behind a NAT gateway")
        target = next((str(v) for k, v in route.items() if k.endswith("Id") and v), "a target of its own")
        return Way(name=where, direction="out", state="unknown", why=f"the route leads to {target}")

    def _default_routes(self, request: InstanceRequest) -> Iterator[Mapping[str, Any]]:
        """The active default route of the subnet's table; without one of its own, the VPC's main table counts."""
        subnet, vpc = str(request.settled["subnet"]), str(request.settled["vpc"])
        tables = self._sdk.pages(
            "ec2", request.region, "DescribeRouteTables", "RouteTables", Filters=[{"Name": "vpc-id", "Values": [vpc]}]
        )
        own = [t for t in tables if any(a.get("SubnetId") == subnet for a in t.get("Associations", ()))]
        main = [t for t in tables if any(a.get("Main") for a in t.get("Associations", ()))]
        for table in (own or main)[:1]:
            for route in table.get("Routes", ()):
                if route.get("DestinationCidrBlock") == "0.0.0.0/0" and route.get("State", "active") == "active":
                    yield route

    def _endpoints(self, request: InstanceRequest) -> Iterator[Way]:
        vpc = [{"Name": "vpc-id", "Values": [str(request.settled["vpc"])]}]
        found = self._sdk.pages("ec2", request.region, "DescribeVpcEndpoints", "VpcEndpoints", Filters=vpc)
        names = {str(e.get("ServiceName", "")).rpartition(".")[2] for e in found if e.get("State") != "deleted"}
        if "s3" in names:
            yield Way(name="S3", direction="out", state="open", why="through an endpoint of the VPC")
        if names.issuperset(_SESSION_ENDPOINTS):
            yield Way(name="Systems Manager", direction="out", state="open", why="through endpoints of the VPC")


def _closed(name: str, why: str) -> Way:
    return Way(name=name, direction="in", state="closed", why=why)


def _asked(name: str, direction: str, ask: Any) -> Way:
    """What `ask` finds; a refusal to say is no answer."""
    try:
        found: Way = ask()
    except ProviderError as error:
        return Way(name=name, direction=direction, state="unknown", why=error.raw_code or str(error))
    return found


def _listed(name: str, ask: Any) -> list[Way]:
    try:
        return list(ask())
    except ProviderError as error:
        return [Way(name=name, direction="out", state="unknown", why=error.raw_code or str(error))]


def _nat_price(region: str) -> str:
    known = _NAT_PRICES.get(region)
    if known is None:
        return "by the hour and by the GB, at a price that is not known here"
    return f"{known[0]} USD by the hour, run or no run, and {known[1]} USD by the GB (list price of {_NAT_AS_OF})"
