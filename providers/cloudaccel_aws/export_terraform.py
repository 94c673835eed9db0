"""A plan as Terraform or OpenTofu JSON for EC2: closed to the outside, encrypted, tagged, and ending by itself."""

import csv
import json
import re
from pathlib import Path
from typing import Any

from cloudaccel.errors import QueryError
from cloudaccel.model.deployment import Deployment, Exported, check_market, open_end, terms_of_account

IMAGES = Path(__file__).with_name("images.csv")
_CLOCK = (
    "machines end themselves at the lease by their own clock (shutdown = terminate). Empty the rest with 'terraform "
    "destroy'; a machine that fails before cloud-init runs ends only by it as well"
)

# The end is fixed at the first boot and kept, so that a restart does not lose it.
_USER_DATA = """\
#cloud-config
bootcmd:
  - - sh
    - -c
    - >-
      mkdir -p /var/lib/cloudaccel; f=/var/lib/cloudaccel/end;
      [ -s $f ] || echo $(( $(date +%s) + {lease_s} )) > $f;
      left=$(( ($(cat $f) - $(date +%s)) / 60 )); [ $left -ge 1 ] || left=1; shutdown -P +$left
"""


def export(plan: Deployment) -> Exported:
    """``main.tf.json`` with the machines, their group and, for several, a placement group.

    Raises `QueryError` for capacity that is bought beforehand, which needs the id of what you have.
    """
    check_market(plan)
    body: dict[str, Any] = {
        "//": f"Written by cloudaccel for {plan.nodes} x {plan.site.instance} in {plan.site.region}.",
        "terraform": {
            "required_version": ">= 1.5",
            "required_providers": {"aws": {"source": "hashicorp/aws", "version": ">= 5.80, < 7.0"}},
        },
        "provider": {"aws": {"region": plan.site.region, "default_tags": {"tags": tags(plan)}}},
        "variable": _variables(plan),
        "data": _data(plan),
        "resource": _resources(plan),
        "output": {"instance_ids": {"value": "${aws_instance.machine[*].id}"}},
    }
    return Exported(file="main.tf.json", text=json.dumps(body, indent=2) + "\n", warnings=_warnings(plan))


def tags(plan: Deployment) -> dict[str, str]:
    """Tags of everything; not those of ``cloudaccel provision``, whose sweeper must leave these machines alone."""
    return {"managed-by": "terraform", "cloudaccel-export": plan.name}


def architecture(instance: str) -> str:
    """``arm64`` for a Graviton or Grace host, else ``x86_64``; EC2's names: a g after the generation, or -gb."""
    family = instance.partition(".")[0]
    return "arm64" if re.match(r"[a-z]+\d+[a-z]*g[a-z]*(-|$)", family) or "-gb" in family else "x86_64"


def image_parameter(plan: Deployment) -> str:
    """The SSM parameter that names the newest image with drivers for the plan's accelerators."""
    kind = "neuron" if plan.kind == "neuron" else "gpu"
    with IMAGES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (row["kind"], row["arch"]) == (kind, architecture(plan.site.instance)):
                return row["parameter"]
    raise QueryError(f"no image with drivers is known for {plan.site.instance} ({plan.kind}).")


def _variables(plan: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = {
        "subnet_id": {
            "type": "string",
            "description": f"A private subnet of {plan.site.region} in a zone with {plan.site.instance}.",
        },
        "instance_profile": {
            "type": "string",
            "default": None,
            "description": "Instance profile, such as one lets Session Manager in; it needs no inbound port.",
        },
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
    return found


def _data(plan: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = {
        "aws_subnet": {"chosen": {"id": "${var.subnet_id}"}},
        "aws_ssm_parameter": {"image": {"name": image_parameter(plan)}},
    }
    if plan.nodes > 1:
        found["aws_ec2_instance_type"] = {"chosen": {"instance_type": plan.site.instance}}
    return found


def _resources(plan: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = {
        "aws_security_group": {"machines": _group(plan)},
        "aws_launch_template": {"machine": _template(plan)},
        "aws_instance": {"machine": _instance(plan)},
    }
    if plan.nodes > 1:
        found["aws_placement_group"] = {"machines": {"name": plan.name, "strategy": "cluster"}}
        # Machines of one gang talk to each other over EFA, which needs the group itself in both directions.
        rule = {
            "security_group_id": "${aws_security_group.machines.id}",
            "referenced_security_group_id": "${aws_security_group.machines.id}",
            "ip_protocol": "-1",
        }
        found["aws_vpc_security_group_ingress_rule"] = {"gang": rule}
        found["aws_vpc_security_group_egress_rule"] = {"gang": rule}
    found.setdefault("aws_vpc_security_group_ingress_rule", {})["ssh"] = {
        "for_each": "${toset(var.ssh_cidrs)}",
        "security_group_id": "${aws_security_group.machines.id}",
        "cidr_ipv4": '${strcontains(each.value, ":") ? null : each.value}',
        "cidr_ipv6": '${strcontains(each.value, ":") ? each.value : null}',
        "ip_protocol": "tcp",
        "from_port": 22,
        "to_port": 22,
    }
    found.setdefault("aws_vpc_security_group_egress_rule", {})["out"] = {
        "security_group_id": "${aws_security_group.machines.id}",
        "description": "Outbound only: packages, data and the logs of the run.",
        "cidr_ipv4": "0.0.0.0/0",
        "ip_protocol": "-1",
    }
    return found


def _group(plan: Deployment) -> dict[str, Any]:
    return {
        "name": plan.name,
        "description": "Machines of one plan",
        "vpc_id": "${data.aws_subnet.chosen.vpc_id}",
        "revoke_rules_on_delete": True,
    }


def _template(plan: Deployment) -> dict[str, Any]:
    """Interfaces: one, or, for a gang of a type with EFA, one on every network card."""
    # Null, and not absent, for a type without EFA: `try` would hand the null on.
    cards = "data.aws_ec2_instance_type.chosen.efa_maximum_interfaces"
    number = f"coalesce({cards}, 1)" if plan.nodes > 1 else "1"
    content: dict[str, Any] = {
        "subnet_id": "${var.subnet_id}",
        "security_groups": ["${aws_security_group.machines.id}"],
        "delete_on_termination": True,
        "device_index": "${network_interfaces.value == 0 ? 0 : 1}",
        "network_card_index": "${network_interfaces.value}",
        "associate_public_ip_address": "${" + f'{number} > 1 ? null : "false"' + "}",
    }
    if plan.nodes > 1:
        efa = "coalesce(data.aws_ec2_instance_type.chosen.efa_supported, false)"
        content["interface_type"] = "${" + f'{efa} ? (network_interfaces.value == 0 ? "efa" : "efa-only") : null' + "}"
    return {
        "name": plan.name,
        "dynamic": {"network_interfaces": {"for_each": "${range(" + number + ")}", "content": content}},
    }


def _instance(plan: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = {
        "count": plan.nodes,
        "ami": "${data.aws_ssm_parameter.image.value}",
        "instance_type": plan.site.instance,
        "iam_instance_profile": "${var.instance_profile}",
        "launch_template": {"id": "${aws_launch_template.machine.id}", "version": "$Latest"},
        "instance_initiated_shutdown_behavior": "terminate",
        "metadata_options": {"http_tokens": "required", "http_endpoint": "enabled", "http_put_response_hop_limit": 1},
        "root_block_device": {
            "encrypted": True,
            "delete_on_termination": True,
            "volume_type": "gp3",
            "volume_size": plan.disk_gib,
        },
        "volume_tags": {**tags(plan), "Name": plan.name},
        "tags": {"Name": plan.name},
        "lifecycle": {"ignore_changes": ["ami"]},  # a newer image must not replace a machine that is at work
    }
    if plan.nodes > 1:
        found["placement_group"] = "${aws_placement_group.machines.name}"
    if plan.lease_s is not None:
        found["user_data"] = _USER_DATA.format(lease_s=plan.lease_s)
    if plan.site.market == "spot":
        spot = {"spot_instance_type": "one-time", "instance_interruption_behavior": "terminate"}
        found["instance_market_options"] = {"market_type": "spot", "spot_options": spot}
    return found


def _warnings(plan: Deployment) -> tuple[str, ...]:
    return (open_end("'terraform destroy'") if plan.lease_s is None else _CLOCK, *terms_of_account(plan))
