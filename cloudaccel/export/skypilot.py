"""A plan as a SkyPilot task, which may start on the plan's places in their order, and on no other."""

from typing import Any

from cloudaccel.export.naming import CHECK, YOURS, names, privacy, reached
from cloudaccel.export.text import as_yaml
from cloudaccel.model.deployment import Deployment, Exported, Site, open_end, terms_of_account

ENGINE = "skypilot"
IDLE_MINUTES = 10  # without work the machines are deleted after that; our choice


def task(plan: Deployment) -> Exported:
    """``skypilot.yaml``: ``sky launch -c NAME skypilot.yaml``. Raises `QueryError` for what it cannot start."""
    sites, left_out = reached(ENGINE, plan)
    run = f"sh -c '{CHECK}'"
    body = {
        "name": plan.name,
        "num_nodes": plan.nodes,
        "resources": {
            "disk_size": plan.disk_gib,
            "labels": {"managed-by": "skypilot", "cloudaccel-export": plan.name},
            "autostop": {"idle_minutes": IDLE_MINUTES, "down": True},
            "ordered": [_place(plan, site) for site in sites],
        },
        "run": (run if plan.lease_s is None else f"timeout {plan.lease_s} {run}"),
    }
    notes = (
        YOURS.replace("image and command are", "the command is"),
        *_end(plan),
        "SkyPilot pays what its own list says: it has no cap of price here",
        *privacy(ENGINE, *(site.provider for site in sites)),
        *terms_of_account(plan),
        *left_out,
    )
    return Exported(file="skypilot.yaml", text=as_yaml(body, notes=notes), warnings=notes)


def _place(plan: Deployment, site: Site) -> dict[str, Any]:
    cloud = names(ENGINE, "cloud")[site.provider]
    machine, _, attached = site.instance.partition("+")
    found: dict[str, Any] = {
        "infra": "/".join(part for part in (cloud, site.region, site.zone) if part),
        "instance_type": machine,
        "use_spot": site.market == "spot",
    }
    if attached:
        found["accelerators"] = {plan.family: plan.per_node}
    tier = names(ENGINE, "network").get(site.provider)
    if plan.nodes > 1 and tier:
        found["network_tier"] = tier
    return found


def _end(plan: Deployment) -> tuple[str, ...]:
    if plan.lease_s is None:
        return (open_end(f"'sky down {plan.name}'"),)
    end = f"work is stopped at the lease, and machines are deleted {IDLE_MINUTES} minutes after it"
    return (f"{end}; when SkyPilot's own process on them dies, only 'sky down' ends them",)
