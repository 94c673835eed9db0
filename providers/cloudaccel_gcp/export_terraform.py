"""A plan as Terraform or OpenTofu JSON for Compute Engine: closed to the outside, labelled, deleted at its deadline."""

import csv
import json
import re
from pathlib import Path
from typing import Any

from cloudaccel.errors import QueryError
from cloudaccel.model.deployment import Deployment, Exported, check_market, open_end, terms_of_account

IMAGES = Path(__file__).parent / "data" / "images.csv"
MODELS = {"on_demand": "STANDARD", "reserved": "STANDARD", "spot": "SPOT", "flex_start": "FLEX_START"}
_HYPERDISK_ONLY = ("a3-ultragpu", "a4-", "a4x-", "g4-")  # Compute Engine: Hyperdisk machine series support, 2026-07
_ARM = ("a4x-", "c4a-", "t2a-", "n4a-")  # Compute Engine: Arm machine series, 2026-07
_ATTACHED = re.compile(r"(?P<host>[a-z0-9-]+)\+(?P<gpu>nvidia-[a-z0-9-]+)x(?P<count>\d+)")
_REST = "Google deletes the machines at the lease; 'terraform destroy' removes what is left (a firewall rule)"


def export(plan: Deployment) -> Exported:
    """``main.tf.json`` with the machines and, when sources are named, a rule for SSH.

    Raises `QueryError` for what is bought beforehand, and for TPUs, which are no machine types.
    """
    check_market(plan, tuple(MODELS))
    if plan.kind != "gpu":
        raise QueryError(f"no Terraform is written for {plan.family} on gcp yet. Plan with --accel for a GPU.")
    body: dict[str, Any] = {
        "//": f"Written by cloudaccel for {plan.nodes} x {plan.site.instance} in {plan.site.region}.",
        "terraform": {
            "required_version": ">= 1.5",
            "required_providers": {"google": {"source": "hashicorp/google", "version": ">= 6.0, < 8.0"}},
        },
        "provider": {"google": {"project": "${var.project}", "region": plan.site.region}},
        "variable": _variables(plan),
        "resource": {
            "google_compute_instance": {"machine": _instance(plan)},
            "google_compute_firewall": {"ssh": _firewall(plan)},
        },
        "output": {"instance_ids": {"value": "${google_compute_instance.machine[*].instance_id}"}},
    }
    end = open_end("'terraform destroy'") if plan.lease_s is None else _REST
    warnings = (end, *terms_of_account(plan))
    return Exported(file="main.tf.json", text=json.dumps(body, indent=2) + "\n", warnings=warnings)


def _variables(plan: Deployment) -> dict[str, Any]:
    zone: dict[str, Any] = {"type": "string", "description": f"A zone of {plan.site.region} with {plan.site.instance}."}
    if plan.site.zone:
        zone["default"] = plan.site.zone
    return {
        "project": {"type": "string", "description": "Id of the project."},
        "zone": {
            **zone,
            "validation": {
                "condition": '${startswith(var.zone, "' + plan.site.region + '-")}',
                "error_message": f"The plan is for {plan.site.region}.",
            },
        },
        "network": {"type": "string", "description": "The network of the subnetwork."},
        "subnetwork": {"type": "string", "description": f"A subnetwork of {plan.site.region}, with a way out (NAT)."},
        "ssh_cidrs": {
            "type": "list(string)",
            "default": [],
            "description": "Networks that may reach port 22. Empty: no inbound rule at all.",
            "validation": {
                "condition": '${alltrue([for c in var.ssh_cidrs : can(cidrhost(c, 0)) && tonumber(split("/", c)[1]) '
                '>= (strcontains(c, ":") ? 32 : 8)])}',
                "error_message": "Name the networks that you come from; (half) the world is refused.",
            },
        },
    }


def _instance(plan: Deployment) -> dict[str, Any]:
    found = _ATTACHED.fullmatch(plan.site.instance)
    machine_type = found["host"] if found else plan.site.instance
    body: dict[str, Any] = {
        "count": plan.nodes,
        "name": f"{plan.name}-${{count.index}}",
        "machine_type": machine_type,
        "zone": "${var.zone}",
        "labels": _labels(plan),
        "tags": [plan.name],
        "can_ip_forward": False,
        "boot_disk": _disk(plan, machine_type),
        # Without an access configuration there is no public address.
        "network_interface": {"subnetwork": "${var.subnetwork}", "nic_type": "GVNIC", "stack_type": "IPV4_ONLY"},
        "metadata": {"enable-oslogin": "TRUE", "block-project-ssh-keys": "TRUE", "serial-port-enable": "FALSE"},
        "scheduling": _scheduling(plan),
        "shielded_instance_config": {
            "enable_secure_boot": True, "enable_vtpm": True, "enable_integrity_monitoring": True,
        },
        # Nothing that somebody else reserved is used up by a machine that happens to match it.
        "reservation_affinity": {"type": "NO_RESERVATION"},
        "lifecycle": {"ignore_changes": ["boot_disk[0].initialize_params[0].image"]},
    }  # fmt: skip
    if found:
        body["guest_accelerator"] = {"type": found["gpu"], "count": int(found["count"])}
    return body


def _disk(plan: Deployment, machine_type: str) -> dict[str, Any]:
    kind = "hyperdisk-balanced" if machine_type.startswith(_HYPERDISK_ONLY) else "pd-balanced"
    parameters = {
        "image": _image(machine_type), "size": plan.disk_gib, "type": kind, "labels": _labels(plan),
    }  # fmt: skip
    return {"auto_delete": True, "initialize_params": parameters}


def _image(machine_type: str) -> str:
    architecture = "ARM64" if machine_type.startswith(_ARM) else "X86_64"
    with IMAGES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (row["kind"], row["arch"]) == ("gpu", architecture):
                return row["image"]
    raise QueryError(f"no image with drivers is known for {machine_type}.")


def _scheduling(plan: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = {
        "provisioning_model": MODELS[plan.site.market],
        "preemptible": plan.site.market == "spot",
        "automatic_restart": False,
        "on_host_maintenance": "TERMINATE",
    }
    if plan.site.market == "spot" or plan.lease_s is not None:
        found["instance_termination_action"] = "DELETE"
    if plan.lease_s is not None:
        found["max_run_duration"] = {"seconds": plan.lease_s}
    return found


def _firewall(plan: Deployment) -> dict[str, Any]:
    return {
        "count": "${length(var.ssh_cidrs) > 0 ? 1 : 0}",
        "name": plan.name,
        "network": "${var.network}",
        "direction": "INGRESS",
        "source_ranges": "${var.ssh_cidrs}",
        "target_tags": [plan.name],
        "allow": {"protocol": "tcp", "ports": ["22"]},
    }


def _labels(plan: Deployment) -> dict[str, str]:
    """Labels of everything; not those of ``cloudaccel provision``, whose sweeper must leave these machines alone."""
    return {"managed-by": "terraform", "cloudaccel-export": plan.name}
