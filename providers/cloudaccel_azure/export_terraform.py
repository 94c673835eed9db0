"""A plan as Terraform or OpenTofu JSON for Azure: one resource group of its own, closed to the outside, and tagged."""

import json
import re
from typing import Any

from cloudaccel.errors import QueryError
from cloudaccel.model.deployment import Deployment, Exported, check_market, left_out, open_end, terms_of_account

# Names of the partitions as the provider's `environment` has them (azurerm provider documentation, 2026-11).
ENVIRONMENTS = {"azure-public": "public", "azure-china": "china", "azure-gov": "usgovernment"}
IMAGE = {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2204", "version": "latest"}  # with GPU drivers
DAY_S = 86_400
# An r among the small letters is InfiniBand (Azure: virtual machine size naming conventions, 2026-11).
_RDMA = re.compile(r"Standard_N[A-Z]+\d+[a-z]*r[a-z]*_")
_FREED = (
    "Azure's daily shutdown frees the machines at the lease, and at that time of every day; their disks are paid until "
    "'terraform destroy'"
)
_TOO_LONG = (
    "no deadline: Azure ends no machine by itself, and its daily shutdown cannot wait for a lease of a day or more; "
    "'terraform destroy' ends them"
)
_GROUP = {
    "resource_group_name": "${azurerm_resource_group.run.name}",
    "location": "${azurerm_resource_group.run.location}",
}


def export(plan: Deployment) -> Exported:
    """``main.tf.json`` with the machines and their group.

    Raises `QueryError` for capacity that is bought beforehand, and for a part of Azure that is not known.
    """
    check_market(plan)
    if plan.site.partition not in ENVIRONMENTS:
        raise QueryError(f"no Terraform is written for {plan.site.partition}. Take another --export.")
    provider = {
        "subscription_id": "${var.subscription_id}",
        "environment": ENVIRONMENTS[plan.site.partition],
        "features": {"virtual_machine": {"delete_os_disk_on_deletion": True}},
    }
    body: dict[str, Any] = {
        "//": f"Written by cloudaccel for {plan.nodes} x {plan.site.instance} in {plan.site.region}.",
        "terraform": {
            "required_version": ">= 1.5",
            "required_providers": {"azurerm": {"source": "hashicorp/azurerm", "version": ">= 4.0, < 5.0"}},
        },
        "provider": {"azurerm": provider},
        "variable": _variables(plan),
        "resource": _resources(plan),
        "output": {"instance_ids": {"value": "${azurerm_linux_virtual_machine.machine[*].id}"}},
    }
    return Exported(file="main.tf.json", text=json.dumps(body, indent=2) + "\n", warnings=_warnings(plan))


def needs_set(plan: Deployment) -> bool:
    """Whether the machines reach each other over InfiniBand only inside one availability set, where spot cannot be."""
    return plan.nodes > 1 and plan.site.market != "spot" and _RDMA.match(plan.site.instance) is not None


def can_end(plan: Deployment) -> bool:
    """Whether Azure's daily shutdown can be the deadline: the lease must end before it comes round again."""
    return plan.lease_s is not None and plan.lease_s < DAY_S


def _variables(plan: Deployment) -> dict[str, Any]:
    return {
        "subscription_id": {"type": "string", "description": "Id of the subscription."},
        "subnet_id": {
            "type": "string",
            "description": f"Id of a private subnet in {plan.site.region}, with a way out (NAT gateway).",
        },
        "ssh_public_key": {
            "type": "string",
            "description": "Public key of the user cloudaccel: Azure wants one, or a password.",
        },
        "ssh_cidrs": {
            "type": "list(string)",
            "default": [],
            "description": "Networks that may reach port 22. Empty: no rule for it; the subnet's own network may.",
            "validation": {
                "condition": '${alltrue([for c in var.ssh_cidrs : can(cidrhost(c, 0)) && tonumber(split("/", c)[1]) '
                '>= (strcontains(c, ":") ? 32 : 8)])}',
                "error_message": "Name the networks that you come from; (half) the world is refused.",
            },
        },
    }


def _resources(plan: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = {
        "azurerm_resource_group": {"run": {"name": plan.name, "location": plan.site.region, "tags": _tags(plan)}},
        "azurerm_network_security_group": {"machines": {"name": plan.name, **_GROUP, "tags": _tags(plan)}},
        "azurerm_network_security_rule": {"ssh": _ssh()},
        "azurerm_network_interface": {"machine": _interface(plan)},
        "azurerm_network_interface_security_group_association": {
            "machine": {
                "count": plan.nodes,
                "network_interface_id": "${azurerm_network_interface.machine[count.index].id}",
                "network_security_group_id": "${azurerm_network_security_group.machines.id}",
            }
        },
        "azurerm_linux_virtual_machine": {"machine": _machine(plan)},
    }
    if needs_set(plan):
        domains = {"platform_fault_domain_count": 1, "platform_update_domain_count": 1}
        found["azurerm_availability_set"] = {
            "machines": {"name": plan.name, **_GROUP, **domains, "managed": True, "tags": _tags(plan)}
        }
    if can_end(plan):
        found["azurerm_dev_test_global_vm_shutdown_schedule"] = {"machine": _end(plan)}
    return found


def _ssh() -> dict[str, Any]:
    return {
        "count": "${length(var.ssh_cidrs) > 0 ? 1 : 0}",
        "name": "ssh",
        "resource_group_name": _GROUP["resource_group_name"],
        "network_security_group_name": "${azurerm_network_security_group.machines.name}",
        "priority": 1000,
        "direction": "Inbound",
        "access": "Allow",
        "protocol": "Tcp",
        "source_address_prefixes": "${var.ssh_cidrs}",
        "source_port_range": "*",
        "destination_address_prefix": "*",
        "destination_port_range": "22",
    }


def _interface(plan: Deployment) -> dict[str, Any]:
    return {
        "count": plan.nodes,
        "name": f"{plan.name}-${{count.index}}",
        **_GROUP,
        # Without a public address of its own.
        "ip_configuration": {
            "name": "ip",
            "subnet_id": "${var.subnet_id}",
            "private_ip_address_allocation": "Dynamic",
        },
        "tags": _tags(plan),
    }


def _machine(plan: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = {
        "count": plan.nodes,
        "name": f"{plan.name}-${{count.index}}",
        **_GROUP,
        "size": plan.site.instance,
        "network_interface_ids": ["${azurerm_network_interface.machine[count.index].id}"],
        "admin_username": "cloudaccel",
        "admin_ssh_key": {"username": "cloudaccel", "public_key": "${var.ssh_public_key}"},
        "disable_password_authentication": True,
        "os_disk": {
            "caching": "ReadWrite", "storage_account_type": "Premium_LRS", "disk_size_gb": plan.disk_gib,
        },
        "source_image_reference": IMAGE,
        "tags": _tags(plan),
        # Nothing is there to see that the interface was not closed before the machine started.
        "depends_on": ["azurerm_network_interface_security_group_association.machine"],
    }  # fmt: skip
    if plan.site.market == "spot":
        # -1: evicted for capacity only, and never dearer than on demand.
        found |= {"priority": "Spot", "eviction_policy": "Delete", "max_bid_price": -1}
    if needs_set(plan):
        found["availability_set_id"] = "${azurerm_availability_set.machines.id}"
    elif plan.site.zone:
        found["zone"] = plan.site.zone.rpartition("-")[2]
    return found


def _end(plan: Deployment) -> dict[str, Any]:
    return {
        "count": plan.nodes,
        "virtual_machine_id": "${azurerm_linux_virtual_machine.machine[count.index].id}",
        "location": _GROUP["location"],
        "daily_recurrence_time": f'${{formatdate("hhmm", timeadd(plantimestamp(), "{plan.lease_s}s"))}}',
        "timezone": "UTC",
        "notification_settings": {"enabled": False},
        "tags": _tags(plan),
        "lifecycle": {"ignore_changes": ["daily_recurrence_time"]},  # a later apply must not move the end
    }


def _tags(plan: Deployment) -> dict[str, str]:
    """Tags of everything; not those of ``cloudaccel provision``, whose sweeper must leave these machines alone."""
    return {"managed-by": "terraform", "cloudaccel-export": plan.name}


def _warnings(plan: Deployment) -> tuple[str, ...]:
    if can_end(plan):
        end = _FREED
    elif plan.lease_s is None:
        end = open_end("'terraform destroy'")
    else:
        end = _TOO_LONG
    near = (
        ("without an availability set, which spot machines cannot have, InfiniBand does not join them",)
        if plan.nodes > 1 and plan.site.market == "spot" and _RDMA.match(plan.site.instance)
        else ()
    )
    image = () if plan.vendor == "nvidia" else (f"the image has NVIDIA's drivers: name one for {plan.family}",)
    return (
        end,
        "disks are encrypted with Azure's keys",
        *image,
        *near,
        *terms_of_account(plan),
        *left_out(plan),
    )
