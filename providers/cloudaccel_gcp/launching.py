"""The text of an insert or bulk insert, as a pure function of a prepared request."""

import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cloudaccel.errors import RequestInvalid
from cloudaccel.protocols import InstanceRequest

TOKEN_LABEL = "cloudaccel-token"  # noqa: S105
_MAX_USER_DATA = 262_144  # bytes of one metadata value (Compute Engine: VM metadata limits)
_HYPERDISK_ONLY = ("a3-ultragpu", "a4-", "a4x-", "g4-")  # Compute Engine: Hyperdisk machine series support, 2026-07
_DESCRIBED = "cloudaccel "
_MODELS = {
    "on_demand": "STANDARD", "spot": "SPOT", "capacity_block": "RESERVATION_BOUND", "flex_start": "FLEX_START",
}  # fmt: skip
# Flex-start runs for at most seven days (docs.cloud.google.com/vertex-ai/docs/predictions/use-flex-start-vms, stored
# copy read 2026-11-27). NOT VERIFIED, no page was at hand: that it runs for ten minutes at least, waits between 90 s
# and two hours, and is had of machine types with their accelerators, A4X and G4 excepted.
FLEX_WAIT_S = 480  # less than the ten minutes for which an operation is followed
_FLEX_RUN_S = (600, 7 * 24 * 3600)
_FLEX_LATE_S = 300  # from settling a request to the last try of sending it
_FLEX_SERIES = ("a2-", "a3-", "a4-", "g2-")
_IN_CLUSTERS = ("ct", "tpu")  # machine types of TPUs: for clusters of Google Kubernetes Engine alone


def names(request: InstanceRequest) -> tuple[str, ...]:
    """Names of the machines; they follow from the token, so that the same call can never make others."""
    whole = request.token.replace("-", "")  # a uuid: a part of it would be another token's too, once in a while
    return tuple(f"{request.name[:27]}-{whole[:32]}-{n}" for n in range(request.count))


def labels(request: InstanceRequest) -> dict[str, str]:
    """The run's tags and its token, as labels."""
    return {**request.tags, TOKEN_LABEL: request.token}


def insert(request: InstanceRequest) -> dict[str, Any]:
    """Body of instances.insert: one machine."""
    zone = f"zones/{request.zone}"
    body = properties(request, f"{zone}/diskTypes/")
    if request.market == "flex_start":
        body["params"] = {"request_valid_for_duration": {"seconds": FLEX_WAIT_S}}
    return {**body, "name": names(request)[0], "machine_type": f"{zone}/machineTypes/{request.instance_type}"}


def bulk_insert(request: InstanceRequest) -> dict[str, Any]:
    """Body of instances.bulkInsert: all machines or none."""
    why = refused(request.instance_type, request.market, request.count)
    if why is not None:
        raise invalid("market", why)
    body = {**properties(request, ""), "machine_type": request.instance_type}
    return {
        "count": request.count,
        "min_count": request.count,
        "per_instance_properties": {name: {"name": name} for name in names(request)},
        "instance_properties": body,
    }


def properties(request: InstanceRequest, disk_types: str) -> dict[str, Any]:
    """What both bodies share: closed to the outside, no identity of its own, ending by itself.

    `request.settled` has ``image``, ``disk_gib`` and ``subnet``.
    """
    return {
        "labels": labels(request),
        "description": request.name,
        "tags": {"items": [request.name]},
        "can_ip_forward": False,
        "disks": [_disk(request, disk_types)],
        "network_interfaces": [_interface(request)],
        "metadata": {"items": [{"key": k, "value": v} for k, v in metadata(request).items()]},
        "service_accounts": [],  # whoever gets into the machine gets nothing of the project with it
        "scheduling": _scheduling(request),
        "reservation_affinity": _reservation(request),
        "shielded_instance_config": {
            "enable_secure_boot": True,
            "enable_vtpm": True,
            "enable_integrity_monitoring": True,
        },
    }


def firewall(request: InstanceRequest) -> dict[str, Any] | None:
    """The rule that lets the named sources reach port 22 of the run's machines; None: nobody was named.

    Firewall rules have no labels, so the tags are written into the description.

    Raises
    ------
    RequestInvalid
        If a source is no network, or wider than a /8 (IPv6: /32).
    """
    sources = [_network(text) for text in request.ssh_cidrs]
    if not sources:
        return None
    return {
        "name": request.name,
        "description": describe({**request.tags, "cloudaccel-region": request.region}),
        "network": request.settled["network"],
        "direction": "INGRESS",
        "source_ranges": sources,
        "target_tags": [request.name],
        "allowed": [{"I_p_protocol": "tcp", "ports": ["22"]}],
    }


def refused(instance_type: str, market: str, count: int) -> str | None:
    """Why machines of that type are not started in that market; None: they may be. Asks nobody."""
    if "+" in instance_type:
        return f"{instance_type} is a host with cards attached; machines are started of one type"
    if instance_type.startswith(_IN_CLUSTERS):
        return f"{instance_type} is started in clusters of Google Kubernetes Engine only"
    if market not in _MODELS:
        return f"machines are not started in the market {market} from here"
    if market == "flex_start" and count > 1:
        return "flex-start is asked for one machine at a time; several would need a managed group, which is not built"
    if market == "flex_start" and not instance_type.startswith(_FLEX_SERIES):
        return f"there is no flex-start of {instance_type}"
    return None


def flex_seconds(request: InstanceRequest, now: datetime) -> int:
    """For how long a flex-start machine may run, so that it is gone at the deadline however long it waited, seconds."""
    seconds = int((request.deadline - now).total_seconds()) - FLEX_WAIT_S
    if not _FLEX_RUN_S[0] <= seconds <= _FLEX_RUN_S[1]:
        raise invalid(
            "lease", "a flex-start machine runs for ten minutes to seven days, and may wait for eight minutes before; "
            "choose a --lease from 20m to 7d",
        )  # fmt: skip
    if request.reservation_id is not None:
        raise invalid("reservation", "flex-start takes no reservation; start without --reservation")
    return seconds


def flex_is_stale(request: InstanceRequest, now: datetime) -> bool:
    """Whether a machine that is asked for only now could run past the deadline: its end counts from its start."""
    left_s = (request.deadline - now).total_seconds()
    return int(str(request.settled["run_s"])) + FLEX_WAIT_S > left_s + _FLEX_LATE_S


def terms(request: InstanceRequest) -> tuple[str, ...]:
    """What `insert` asks for, for people."""
    image = str(request.settled["image"]).partition("/projects/")[2] or str(request.settled["image"])
    inbound = f", and port 22 from {', '.join(request.ssh_cidrs)}" if request.ssh_cidrs else ""
    network = str(request.settled["network"]).rpartition("/")[2]
    waits: tuple[str, ...] = ()
    if request.market == "flex_start":
        hours = int(str(request.settled["run_s"])) / 3600
        waits = (
            f"Flex-start: it waits for capacity for up to {FLEX_WAIT_S // 60} minutes.",
            f"Once it runs, Google deletes it after {hours:.1f} h, so that it is gone at its deadline in any case.",
        )
    return (
        *waits,
        f"Image {image}.",
        f"No public address; inbound: what the rules of network {network} let in{inbound}.",
        "Disks are deleted with their machine, and encrypted with Google's keys.",
        "No service account; OS Login only; secure boot, vTPM and integrity monitoring are on.",
    )


def describe(tags: Mapping[str, str]) -> str:
    """Tags as the text of a description."""
    return _DESCRIBED + " ".join(f"{key}={value}" for key, value in sorted(tags.items()))


def described(text: str) -> dict[str, str]:
    """The tags in a description; empty if it is not ours."""
    if not text.startswith(_DESCRIBED):
        return {}
    return dict(re.findall(r"(\S+?)=(\S*)", text.removeprefix(_DESCRIBED)))


def invalid(code: str, text: str) -> RequestInvalid:
    """The caller asked for what cannot be sent."""
    return RequestInvalid(f"gcp: {text}.", provider="gcp", operation="insert", code=code)


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise invalid("ssh_cidr", f"{text!r} is no network: {error}") from error
    if network.prefixlen < (8 if network.version == 4 else 32):
        raise invalid("ssh_cidr", f"{text} is (half) the world; name the network that you come from")
    return str(network)


def _disk(request: InstanceRequest, disk_types: str) -> dict[str, Any]:
    kind = "hyperdisk-balanced" if request.instance_type.startswith(_HYPERDISK_ONLY) else "pd-balanced"
    return {
        "boot": True,
        "auto_delete": True,
        "initialize_params": {
            "source_image": request.settled["image"],
            "disk_size_gb": max(int(str(request.settled["disk_gib"])), request.disk_gib or 0),
            "disk_type": disk_types + kind,
            "labels": labels(request),
        },
    }


def _interface(request: InstanceRequest) -> dict[str, Any]:
    """Without an access configuration there is no public address."""
    return {"subnetwork": request.settled["subnet"], "nic_type": "GVNIC", "stack_type": "IPV4_ONLY"}


def metadata(request: InstanceRequest) -> dict[str, str]:
    """What a machine is told: how one comes in, and the text that it starts with."""
    if len(request.user_data.encode()) > _MAX_USER_DATA:
        raise invalid("metadata", f"user data is over {_MAX_USER_DATA} bytes")
    said = {"enable-oslogin": "TRUE", "block-project-ssh-keys": "TRUE", "serial-port-enable": "FALSE"}
    return {**said, "user-data": request.user_data} if request.user_data else said


def _scheduling(request: InstanceRequest) -> dict[str, Any]:
    """Deleted at the deadline by Google, whoever is watching: a time of day, so that a replay says the same."""
    model = _MODELS.get(request.market)
    if model is None:
        raise invalid("market", f"machines are not started in the market {request.market} from here")
    if model == "RESERVATION_BOUND" and request.reservation_id is None:
        raise invalid("reservation", "held capacity is used by the name of a reservation that you have: --reservation")
    if model == "FLEX_START":  # takes no time of day; what it may run for was settled, so that a replay says the same
        end: dict[str, Any] = {"max_run_duration": {"seconds": int(str(request.settled["run_s"]))}}
    else:
        end = {"termination_time": request.deadline.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {
        "provisioning_model": model,
        "instance_termination_action": "DELETE",
        **end,
        "automatic_restart": False,
        "on_host_maintenance": "TERMINATE",
    }


def _reservation(request: InstanceRequest) -> dict[str, Any]:
    if request.reservation_id is None:
        # Nothing that somebody else reserved is used up by a machine that happens to match it.
        return {"consume_reservation_type": "NO_RESERVATION"}
    return {
        "consume_reservation_type": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": [request.reservation_id],
    }
