"""A plan as the request that makes a SageMaker HyperPod cluster beside your EKS cluster."""

import csv
import json
from pathlib import Path
from typing import Any

from cloudaccel.errors import QueryError
from cloudaccel.model.deployment import Deployment, Exported, check_market, left_out, terms_of_account

TYPES = Path(__file__).parent / "data" / "cluster_types.csv"
ACCOUNT = "000000000000"
BUCKET = "s3://REPLACE-WITH-YOUR-BUCKET/lifecycle"


def export(plan: Deployment) -> Exported:
    """``hyperpod.json``: ``aws sagemaker create-cluster --region … --cli-input-json file://hyperpod.json``.

    Raises `QueryError` for capacity that is bought beforehand, and for a type that a cluster cannot have.
    """
    check_market(plan)
    group: dict[str, Any] = {
        "InstanceGroupName": "work",
        "InstanceType": _type(plan),
        "InstanceCount": plan.nodes,
        "LifeCycleConfig": {"SourceS3Uri": BUCKET, "OnCreate": "on_create.sh"},
        "ExecutionRole": _arn(plan, "iam", "role/REPLACE-WITH-EXECUTION-ROLE"),
        "InstanceStorageConfigs": [{"EbsVolumeConfig": {"VolumeSizeInGB": plan.disk_gib}}],
        "KubernetesConfig": {"Labels": {"cloudaccel-export": plan.name}},
    }
    if plan.site.market == "spot":
        group["CapacityRequirements"] = {"Spot": {}}
    body = {
        "ClusterName": plan.name,
        "Orchestrator": {"Eks": {"ClusterArn": _arn(plan, "eks", "cluster/REPLACE-WITH-CLUSTER-NAME")}},
        "InstanceGroups": [group],
        "VpcConfig": {
            "SecurityGroupIds": ["sg-REPLACE-WITH-CLOSED-GROUP"],
            "Subnets": ["subnet-REPLACE-WITH-PRIVATE-SUBNET"],
        },
        "Tags": [
            {"Key": "managed-by", "Value": "hyperpod"},
            {"Key": "cloudaccel-export", "Value": plan.name},
        ],
    }
    return Exported(file="hyperpod.json", text=json.dumps(body, indent=2) + "\n", warnings=_warnings(plan))


def _type(plan: Deployment) -> str:
    """SageMaker's name of the machine. Raises `QueryError` when a cluster has no such type."""
    name = f"ml.{plan.site.instance}"
    with TYPES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if name not in {row["type"] for row in rows}:
        raise QueryError(
            f"SageMaker HyperPod has no {name} ({rows[0]['source']}, {rows[0]['as_of']}). Plan with --instance for "
            "another type, or take --export parallelcluster or terraform."
        )
    return name


def _arn(plan: Deployment, service: str, rest: str) -> str:
    region = "" if service == "iam" else plan.site.region
    return f"arn:{plan.site.partition}:{service}:{region}:{ACCOUNT}:{rest}"


def _warnings(plan: Deployment) -> tuple[str, ...]:
    site = plan.site
    zone = site.zone or f"one zone that has {site.instance}"
    at = f"--region {site.region}"
    yours = f"EKS cluster, role, bucket, start-up script, a group without inbound rules, a private subnet in {zone}"
    end = f"'aws sagemaker delete-cluster {at} --cluster-name {plan.name}'"
    return (
        f"put yours in place of account {ACCOUNT} and of every REPLACE: {yours}",
        f"the file names no region: 'aws sagemaker create-cluster {at} --cli-input-json file://hyperpod.json'",
        f"SageMaker's price of ml.{site.instance} is its own, not the plan's, which is EC2's; EKS is paid as well",
        f"no deadline: HyperPod ends no cluster by itself, whatever the lease: {end}",
        "disks are encrypted with AWS's key; VolumeKmsKeyId names your own",
        *terms_of_account(plan),
        *left_out(plan),
    )
