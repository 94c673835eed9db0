"""A plan as a Karpenter NodePool and EC2NodeClass: machines that come for its pods and go when they are done."""

from typing import Any

import yaml

from cloudaccel.errors import QueryError
from cloudaccel.model.deployment import Deployment, Exported, check_market

RESOURCES = {"gpu": "nvidia.com/gpu", "neuron": "aws.amazon.com/neurondevice", "hpu": "habana.ai/gaudi"}
CLUSTER = "REPLACE-WITH-CLUSTER-NAME"


def export(plan: Deployment) -> Exported:
    """``karpenter.yaml``: only the plan's type, in its regions, no more accelerators than it needs."""
    check_market(plan)
    documents = (_node_class(plan), _node_pool(plan))
    text = yaml.safe_dump_all(documents, sort_keys=False, width=120, explicit_start=True)
    return Exported(file="karpenter.yaml", text=str(text), warnings=_warnings(plan))


def _node_class(plan: Deployment) -> dict[str, Any]:
    disk = {"encrypted": True, "deleteOnTermination": True, "volumeType": "gp3", "volumeSize": f"{plan.disk_gib}Gi"}
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": plan.name},
        "spec": {
            "role": f"KarpenterNodeRole-{CLUSTER}",
            "amiSelectorTerms": [{"alias": "al2023@latest"}],
            "subnetSelectorTerms": _discovered(),
            "securityGroupSelectorTerms": _discovered(),
            "associatePublicIPAddress": False,
            "metadataOptions": {
                "httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1,
                "httpProtocolIPv6": "disabled",
            },
            "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": disk}],
            "tags": {"managed-by": "karpenter", "cloudaccel-export": plan.name},
        },
    }  # fmt: skip


def _discovered() -> list[dict[str, Any]]:
    return [{"tags": {"karpenter.sh/discovery": CLUSTER}}]


def _node_pool(plan: Deployment) -> dict[str, Any]:
    resource = resource_name(plan)
    spec: dict[str, Any] = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": plan.name},
        "requirements": requirements(plan),
        "taints": [{"key": resource, "effect": "NoSchedule"}],
    }
    if plan.lease_s is not None:
        spec |= {"expireAfter": f"{plan.lease_s}s", "terminationGracePeriod": "10m"}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": plan.name},
        "spec": {
            "template": {"metadata": {"labels": {"cloudaccel-export": plan.name}}, "spec": spec},
            "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "5m"},
            "limits": {resource: str(plan.per_node * plan.nodes)},
        },
    }


def requirements(plan: Deployment) -> list[dict[str, Any]]:
    """The type, the regions and zones, and how capacity is paid; a cluster has one region, which must be among them."""
    ours = [site for site in plan.sites if site.provider == plan.site.provider and site.instance == plan.site.instance]
    values = {
        "node.kubernetes.io/instance-type": [plan.site.instance],
        "karpenter.sh/capacity-type": ["spot" if plan.site.market == "spot" else "on-demand"],
        "topology.kubernetes.io/region": sorted({site.region for site in ours}),
    }
    return [{"key": key, "operator": "In", "values": value} for key, value in values.items()]


def resource_name(plan: Deployment) -> str:
    """The resource that Karpenter counts for the plan's accelerators."""
    if plan.kind not in RESOURCES:
        raise QueryError(f"Karpenter's name for {plan.family} ({plan.kind}) is not known. Take another --export.")
    return RESOURCES[plan.kind] if plan.vendor != "amd" else "amd.com/gpu"


def _warnings(plan: Deployment) -> tuple[str, ...]:
    found = [f"put the name of your cluster in place of {CLUSTER}; its region must be among those of the plan"]
    if plan.lease_s is None:
        found.append("no deadline: nodes stay while pods are on them; --lease sets one")
    else:
        found.append("a node ends at the lease, and Karpenter starts another while pods want one: end the job as well")
    return tuple(found)
