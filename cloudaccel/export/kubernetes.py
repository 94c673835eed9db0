"""A plan as a Kubernetes Job or JobSet, placed by the labels that every managed Kubernetes puts on its machines."""

from typing import Any

from cloudaccel.errors import QueryError
from cloudaccel.export.naming import CHECK, IMAGE, YOURS, names
from cloudaccel.export.text import as_yaml
from cloudaccel.model.deployment import Deployment, Exported

ENGINE = "kubernetes"
PORT = 29500  # the rendezvous port that torchrun uses unless told otherwise
KEEP_S = 3600  # a finished job and its logs stay for an hour
_NODES_STAY = "the job ends by itself, its machines do not: the cluster must have an autoscaler that removes idle nodes"


def job(plan: Deployment) -> Exported:
    """One Job; for several machines an indexed one, with a service so that they find each other by name."""
    documents: list[dict[str, Any]] = []
    spec: dict[str, Any] = {**_limits(plan), "template": {"metadata": _labels(plan), "spec": _pod(plan)}}
    if plan.nodes > 1:
        documents.append(_service(plan))
        spec |= {"completionMode": "Indexed", "completions": plan.nodes, "parallelism": plan.nodes}
        spec["template"]["spec"]["subdomain"] = plan.name
    documents.append({"apiVersion": "batch/v1", "kind": "Job", "metadata": _meta(plan), "spec": spec})
    return Exported(file="job.yaml", text=as_yaml(*documents), warnings=_warnings(plan))


def jobset(plan: Deployment) -> Exported:
    """One JobSet, whose machines start together and end together."""
    inner: dict[str, Any] = {
        **_limits(plan), "completionMode": "Indexed", "completions": plan.nodes, "parallelism": plan.nodes,
        "template": {"metadata": _labels(plan), "spec": _pod(plan)},
    }  # fmt: skip
    del inner["ttlSecondsAfterFinished"]
    body: dict[str, Any] = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": _meta(plan),
        "spec": {
            "failurePolicy": {"maxRestarts": 0},
            "network": {"enableDNSHostnames": True},
            "ttlSecondsAfterFinished": KEEP_S,
            "replicatedJobs": [{"name": "workers", "replicas": 1, "template": {"spec": inner}}],
        },
    }
    return Exported(file="jobset.yaml", text=as_yaml(body), warnings=_warnings(plan))


def _meta(plan: Deployment) -> dict[str, Any]:
    return {"name": plan.name, **_labels(plan)}


def _labels(plan: Deployment) -> dict[str, Any]:
    return {"labels": {"app.kubernetes.io/name": plan.name, "app.kubernetes.io/managed-by": "cloudaccel"}}


def _limits(plan: Deployment) -> dict[str, Any]:
    limits: dict[str, Any] = {"backoffLimit": 0, "ttlSecondsAfterFinished": KEEP_S}
    return limits if plan.lease_s is None else {**limits, "activeDeadlineSeconds": plan.lease_s}


def _pod(plan: Deployment) -> dict[str, Any]:
    resources = {resource_name(plan): str(plan.per_node)}
    container: dict[str, Any] = {
        "name": "work",
        "image": IMAGE,
        "command": ["/bin/sh", "-c", CHECK],
        "resources": {"limits": resources, "requests": resources},
        "securityContext": {"allowPrivilegeEscalation": False, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    if plan.nodes > 1:
        container["ports"] = [{"containerPort": PORT, "name": "rendezvous"}]
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "nodeSelector": _selector(plan),
        "tolerations": [{"key": resource_name(plan), "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [container],
    }


def _service(plan: Deployment) -> dict[str, Any]:
    name = {"app.kubernetes.io/name": plan.name}
    ports = [{"name": "rendezvous", "port": PORT}]
    spec: dict[str, Any] = {"clusterIP": "None", "selector": name, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(plan), "spec": spec}


def _selector(plan: Deployment) -> dict[str, str]:
    site = plan.site
    found = {
        "node.kubernetes.io/instance-type": site.instance.partition("+")[0],  # a GPU that is attached to a host
        "topology.kubernetes.io/region": site.region,
    }
    if site.zone:
        found["topology.kubernetes.io/zone"] = site.zone
    gpu_label, gpu = names(ENGINE, "gpu-label").get(site.provider), _gpu_name(plan)
    if gpu_label and gpu:
        found[gpu_label] = gpu
    label = names(ENGINE, "spot").get(site.provider)
    if site.market == "spot" and label:
        key, _, value = label.partition("=")
        found[key] = value
    return found


def _gpu_name(plan: Deployment) -> str | None:
    """The cloud's own name of the GPU: as attached to a host, or by the machine's series; None when not known."""
    host, _, attached = plan.site.instance.partition("+")
    if attached:
        return attached.rpartition("x")[0] or None
    return names(ENGINE, "gpu").get(f"{plan.site.provider}/{host.rpartition('-')[0]}")


def resource_name(plan: Deployment) -> str:
    """The name by which Kubernetes counts the plan's accelerators. Raises `QueryError` where none is known."""
    known = names(ENGINE, "resource")
    found = known.get(f"{plan.vendor}-{plan.kind}") or known.get(plan.vendor)
    if found is None:
        raise QueryError(
            f"no Kubernetes resource is known for {plan.family} ({plan.kind}): TPU slices need a topology that a plan "
            "does not have. Plan with --accel for other hardware, or take another --export."
        )
    return found


def _warnings(plan: Deployment) -> tuple[str, ...]:
    found = [YOURS, _NODES_STAY]
    if plan.lease_s is None:
        found.append("no deadline: work without an end (serving) runs until you delete it; --lease sets one")
    if plan.site.market == "spot" and plan.site.provider not in names(ENGINE, "spot"):
        found.append(f"the label of spot machines on {plan.site.provider} is not known: the job may land on others")
    label = names(ENGINE, "gpu-label").get(plan.site.provider)
    if label and _gpu_name(plan) is None:
        found.append(f"the value of {label} for {plan.site.instance} is not known: add it if your cluster asks")
    return tuple(found)
