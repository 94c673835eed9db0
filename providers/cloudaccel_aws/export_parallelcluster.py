"""A plan as the configuration of an AWS ParallelCluster 3: a Slurm queue whose machines come and go with its jobs."""

from typing import Any

import yaml

from cloudaccel.facts.machines import network_gbit_per_s
from cloudaccel.model.deployment import Deployment, Exported, check_market, left_out, open_end, terms_of_account

SUBNET = "subnet-replacewithyourid"  # of the form that ParallelCluster takes
HEAD = "REPLACE-WITH-HEAD-NODE-TYPE"
NOBODY = "127.0.0.1/32"  # without sources, ParallelCluster opens port 22 of the head node to the world
IDLE_MINUTES = 10  # without a job a machine goes after that; ParallelCluster's default
FABRIC_GBIT = (
    400  # types with less between machines are left without EFA; the least of a fabric in machine_networks.csv
)

_DISK = {"VolumeType": "gp3", "Encrypted": True}


def export(plan: Deployment) -> Exported:
    """``parallelcluster.yaml``: ``pcluster create-cluster -n NAME -c parallelcluster.yaml``.

    Raises `QueryError` for capacity that is bought beforehand.
    """
    check_market(plan)
    body = {
        "Region": plan.site.region,
        "Image": {"Os": "ubuntu2204"},
        "Imds": {"ImdsSupport": "v2.0"},
        "HeadNode": _head(plan),
        "Scheduling": {
            "Scheduler": "slurm",
            "SlurmSettings": {"ScaledownIdletime": IDLE_MINUTES},
            "SlurmQueues": [_queue(plan)],
        },
        "Tags": [
            {"Key": "managed-by", "Value": "parallelcluster"},
            {"Key": "cloudaccel-export", "Value": plan.name},
        ],
    }
    text = yaml.safe_dump(body, sort_keys=False, width=120)
    return Exported(file="parallelcluster.yaml", text=str(text), warnings=_warnings(plan))


def _head(plan: Deployment) -> dict[str, Any]:
    policy = f"arn:{plan.site.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
    return {
        "InstanceType": HEAD,
        "Networking": {"SubnetId": SUBNET, "ElasticIp": False},
        "Ssh": {"AllowedIps": NOBODY},
        "LocalStorage": {"RootVolume": {**_DISK, "DeleteOnTermination": True}},
        "Iam": {"AdditionalIamPolicies": [{"Policy": policy}]},
        "Imds": {"Secured": True},
    }


def _queue(plan: Deployment) -> dict[str, Any]:
    machines: dict[str, Any] = {
        "Name": "work",
        "InstanceType": plan.site.instance,
        "MinCount": 0,
        "MaxCount": plan.nodes,
    }
    if plan.nodes > 1 and _has_fabric(plan):
        machines["Efa"] = {"Enabled": True}
    queue: dict[str, Any] = {
        "Name": "work",
        "CapacityType": "SPOT" if plan.site.market == "spot" else "ONDEMAND",
        "ComputeSettings": {"LocalStorage": {"RootVolume": _disk(plan)}},
        "Networking": {
            "SubnetIds": [SUBNET],
            "AssignPublicIp": False,
            "PlacementGroup": {"Enabled": plan.nodes > 1},
        },
        "ComputeResources": [machines],
    }
    if plan.lease_s is not None:
        queue["CustomSlurmSettings"] = {"MaxTime": clock(plan.lease_s)}
    return queue


def clock(seconds: int) -> str:
    """Slurm's hours:minutes:seconds."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _disk(plan: Deployment) -> dict[str, Any]:
    return {"Size": plan.disk_gib, **_DISK}


def _has_fabric(plan: Deployment) -> bool | None:
    """Whether machines of the type are joined by a fabric, which is EFA; None when no source tells."""
    network = network_gbit_per_s("aws", plan.site.instance)
    return None if network is None else network >= FABRIC_GBIT


def _warnings(plan: Deployment) -> tuple[str, ...]:
    zone = f" in {plan.site.zone}" if plan.site.zone else f" in a zone with {plan.site.instance}"
    head = "the head node, its disk and CloudWatch are paid as well, and not in the plan"
    found = [
        f"put a private subnet{zone} in place of {SUBNET}, and the type of the head node in place of {HEAD}; {head}",
        f"port 22 of the head node is open to nobody ({NOBODY}): use Session Manager, or put your network there",
    ]
    if plan.lease_s is None:
        found.append(open_end("'pcluster delete-cluster'"))
    else:
        found.append(
            f"Slurm ends a job at the lease, and machines go {IDLE_MINUTES} minutes after; the head node stays until "
            "'pcluster delete-cluster'"
        )
    if plan.nodes > 1 and _has_fabric(plan) is None:
        found.append(f"whether {plan.site.instance} has EFA is not known here: set Efa.Enabled if it has")
    return (*found, *terms_of_account(plan), *left_out(plan))
