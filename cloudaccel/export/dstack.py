"""A plan as a fleet and a task of dstack: machines of its type that come with the task, in its regions."""

from typing import Any

from cloudaccel.errors import QueryError
from cloudaccel.export.naming import CHECK, IMAGE, YOURS, names, privacy, reached
from cloudaccel.export.text import as_yaml
from cloudaccel.model.deployment import Deployment, Exported, Site, open_end, terms_of_account

ENGINE = "dstack"
IDLE = "10m"  # without work the machines are deleted after that; our choice
VENDORS = ("amd", "intel", "nvidia", "tenstorrent")  # dstack documentation: resources, 2026-11


def fleet(plan: Deployment) -> Exported:
    """``fleet.dstack.yml``: from no machine to those of the plan, kept near each other."""
    body: dict[str, Any] = {
        "type": "fleet",
        "name": plan.name,
        # From nought: a fleet of a fixed size starts at once, and keeps what is idle.
        "nodes": f"0..{plan.nodes}",
    }
    if plan.nodes > 1:
        body["placement"] = "cluster"
    rest, notes = _limits(plan)
    end = f"no deadline in a fleet: that of the task ends the work, and idle machines go {IDLE} after it"
    notes = (end if plan.lease_s else open_end("'dstack fleet delete'"), *notes)
    return Exported(file="fleet.dstack.yml", text=as_yaml({**body, **rest}, notes=notes), warnings=notes)


def task(plan: Deployment) -> Exported:
    """``task.dstack.yml``, which runs on the fleet of the same name."""
    body: dict[str, Any] = {"type": "task", "name": plan.name, "fleets": [plan.name]}
    if plan.nodes > 1:
        body["nodes"] = plan.nodes
    body |= {"image": IMAGE, "commands": [CHECK]}
    rest, notes = _limits(plan)
    if plan.lease_s is not None:
        body["max_duration"] = f"{plan.lease_s}s"
    end = "the lease counts from when the work runs; pulling the image comes before" if plan.lease_s else ""
    notes = (
        YOURS,
        end or open_end(f"'dstack stop {plan.name}'"),
        "write the fleet first: --export dstack-fleet",
        *notes,
    )
    return Exported(file="task.dstack.yml", text=as_yaml({**body, **rest}, notes=notes), warnings=notes)


def _limits(plan: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What both say of where, what and at which price, and notes on it."""
    if plan.vendor not in VENDORS:
        raise QueryError(f"dstack runs no {plan.family} ({plan.vendor}). Plan with --accel for a GPU.")
    sites, _ = reached(ENGINE, plan)
    # Its lists of clouds, regions and types are crossed with each other: one cloud and type, or places would slip in.
    same = [site for site in sites if _alike(site) == _alike(plan.site)]
    machine, _, attached = plan.site.instance.partition("+")
    gpu = {"vendor": plan.vendor, **({"name": plan.family} if attached else {}), "count": plan.per_node}
    found: dict[str, Any] = {
        "resources": {"gpu": gpu, "disk": f"{plan.disk_gib}GB.."},
        "backends": [names(ENGINE, "cloud")[plan.site.provider]],
        "regions": sorted({site.region for site in same}),
    }
    if all(site.zone for site in same):
        found["availability_zones"] = sorted({str(site.zone) for site in same})
    found |= {
        "instance_types": [machine],
        "spot_policy": "spot" if plan.site.market == "spot" else "on-demand",
        "idle_duration": IDLE,
        "tags": {"managed-by": "dstack", "cloudaccel-export": plan.name},
    }
    others = sorted({f"{site.provider} {site.region} {site.instance}" for site in plan.sites if site not in same})
    left = (f"one cloud, type and market only; left out: {', '.join(others)}",) if others else ()
    cap, said = _cap(plan)
    return {**found, **cap}, (*said, *privacy(ENGINE, plan.site.provider), *terms_of_account(plan), *left)


def _alike(site: Site) -> tuple[str, str, str]:
    return site.provider, site.instance, site.market


def _cap(plan: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The plan's own price of a machine-hour as the most that is paid; dstack knows dollars alone."""
    if plan.price_per_hour is None or plan.currency != "USD" or plan.price_per_hour == 0:
        return {}, ("no cap of price: the plan has no price in USD",)
    cap = float(plan.price_per_hour)  # YAML has no decimals
    return {"max_price": cap}, (f"nothing starts above the plan's price, {plan.price_per_hour} USD per machine-hour",)
