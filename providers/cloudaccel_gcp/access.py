"""Ways into and out of a machine in a network: the tunnel of Identity-Aware Proxy, and Cloud NAT. Opens nothing."""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from cloudaccel.errors import ProviderError
from cloudaccel.protocols import InstanceRequest, Way
from cloudaccel_gcp import tpu
from cloudaccel_gcp.sdk import Sdk, rows

IAP = ipaddress.IPv4Network(
    "35.235.240.0/20"
)  # where tunnels come from (Identity-Aware Proxy: TCP forwarding, 2026-09)
_TUNNEL = "IAP tunnel"
_CLOSED = (
    f"no rule of network {{network}} lets {IAP} reach port 22; whoever owns the network can add one, and nothing "
    "here does"
)


class GcpAccess:
    """What the project's networks allow, read and never changed."""

    def __init__(self, sdk: Sdk, slices: tpu.Slices) -> None:
        self._sdk = sdk
        self._slices = slices

    @property
    def login(self) -> str:
        """None: OS Login gives everybody a user of their own, and gcloud knows it."""
        return ""

    def ways_in(
        self, instance_id: str, *, region: str, command: str | None = None, identity: str | None = None  # noqa: ARG002
    ) -> Sequence[Way]:  # fmt: skip
        """A tunnel, if the network lets it in."""
        zone, _, name = instance_id.partition("/")
        project, is_slice = self._sdk.project, tpu.owns(instance_id)
        tool = ("tpus", "tpu-vm", "ssh", name.removeprefix("tpu/")) if is_slice else ("ssh", name)
        argv = ("gcloud", "compute", *tool, "--zone", zone, "--project", project, "--tunnel-through-iap")
        argv = argv if command is None else (*argv, f"--command={command}")

        def find() -> Way:
            if is_slice:
                network, tags = self._slices.network(instance_id)
                return self._tunnel(network, tags, argv)
            machine = self._sdk.call("Instances", "get", project=project, zone=zone, instance=name)
            cards = rows(machine.get("network_interfaces"))
            said = cast("dict[str, Any]", machine.get("tags") or {})
            tags = [str(tag) for tag in said.get("items") or ()]
            return self._tunnel(str(cards[0].get("network")) if cards else "", tags, argv)

        return (_asked(_TUNNEL, "in", find),)

    def preflight(self, request: InstanceRequest) -> Sequence[Way]:
        """Whether a tunnel could come in, and whether the subnet has a NAT."""
        network = str(request.settled["network"])
        return (
            _asked(_TUNNEL, "in", lambda: self._tunnel(network, (request.name,), ())),
            _asked("the internet", "out", lambda: self._way_out(request)),
        )

    # -- inside -------------------------------------------------------------------------------------------------------

    def _tunnel(self, network: str, tags: Sequence[str], argv: tuple[str, ...]) -> Way:
        for rule in self._sdk.pages("Firewalls", "list", project=self._sdk.project):
            if str(rule.get("network")) == network and _lets_in(rule, tags):
                return Way(name=_TUNNEL, direction="in", state="open", argv=argv, why=f"by rule {rule['name']}")
        why = _CLOSED.format(network=network.rpartition("/")[2])
        return Way(name=_TUNNEL, direction="in", state="closed", why=why)

    def _way_out(self, request: InstanceRequest) -> Way:
        where, subnet = "the internet", str(request.settled["subnet"])
        network = str(request.settled["network"])
        for router in self._sdk.pages("Routers", "list", project=self._sdk.project, region=request.region):
            for nat in rows(router.get("nats")) if str(router.get("network")) == network else ():
                named = [str(s.get("name")) for s in rows(nat.get("subnetworks"))]
                if nat.get("source_subnetwork_ip_ranges_to_nat") != "LIST_OF_SUBNETWORKS" or subnet in named:
                    why = (
                        f"through Cloud NAT {nat['name']}, which bills by the hour and by the GB: not in the worst case"
                    )
                    return Way(name=where, direction="out", state="open", why=why)
        why = "no Cloud NAT serves the subnet, and machines get no public address"
        return Way(name=where, direction="out", state="closed", why=why)


def _lets_in(rule: Mapping[str, Any], tags: Sequence[str]) -> bool:
    """Whether the rule lets tunnels reach port 22 of machines with `tags`. Rules that deny are not weighed."""
    if rule.get("direction") != "INGRESS" or rule.get("disabled"):
        return False
    targets = list(rule.get("target_tags") or ())
    if (targets and not set(targets) & set(tags)) or rule.get("target_service_accounts"):
        return False
    ports = any(_reaches_ssh(allowed) for allowed in rows(rule.get("allowed")))
    return ports and any(_covers(str(source)) for source in rule.get("source_ranges") or ())


def _reaches_ssh(allowed: Mapping[str, Any]) -> bool:
    if str(allowed.get("I_p_protocol")) not in ("tcp", "6", "all"):
        return False
    ports = [str(port).partition("-") for port in allowed.get("ports") or ("0-65535",)]
    return any(int(low) <= 22 <= int(high or low) for low, _, high in ports)


def _covers(source: str) -> bool:
    try:
        network = ipaddress.ip_network(source)
    except ValueError:
        return False
    return isinstance(network, ipaddress.IPv4Network) and IAP.subnet_of(network)


def _asked(name: str, direction: str, ask: Callable[[], Way]) -> Way:
    """What `ask` finds; a refusal to say is no answer."""
    try:
        return ask()
    except ProviderError as error:
        return Way(name=name, direction=direction, state="unknown", why=error.raw_code or str(error))
