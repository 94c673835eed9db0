"""A plan written down for other engines: pure functions from a `Deployment` to the text of a file.

Engines that span clouds are here, and what they call each cloud is data (``names.csv``). What belongs to one cloud is
written by that cloud's provider package and found by the registry.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

from cloudaccel import registry
from cloudaccel.errors import UnknownName
from cloudaccel.export import naming
from cloudaccel.model import Accelerator
from cloudaccel.model.deployment import Deployment, Exported

# Engines that span clouds, and the module and function that write for them.
_SPANNING = {
    "dstack": ("cloudaccel.export.dstack", "task"),
    "dstack-fleet": ("cloudaccel.export.dstack", "fleet"),
    "jobset": ("cloudaccel.export.kubernetes", "jobset"),
    "kubernetes": ("cloudaccel.export.kubernetes", "job"),
    "skypilot": ("cloudaccel.export.skypilot", "task"),
}
_STARTING = ("dstack", "skypilot")  # those that start machines; Kubernetes needs a cluster that has them


def names() -> tuple[str, ...]:
    """Names of all exports, sorted."""
    return tuple(sorted({*_SPANNING, *(name for name, _ in registry.exports())}))


def starting(provider: str, partition: str, region: str) -> tuple[str, ...]:
    """Names of the exports that can start machines there, sorted; what a guardrail or a cluster holds is none."""
    spanning = [name for name in _STARTING if naming.reaches(name, provider, partition, region)]
    own = [name for name, cloud in registry.exports() if cloud == provider and name != "guardrail"]
    return tuple(sorted({*spanning, *own}))


def deployment_of(
    data: Mapping[str, Any], accelerators: Mapping[str, Accelerator], *, lease_s: float | None = None
) -> Deployment:
    """What the lock `data` chose. `lease_s` overrules the lease that follows from its high estimate.

    Raises `QueryError` when it is no lock, chose nothing, or has a value that cannot be.
    """
    # A plan asks this package only for `starting`, and must not load pydantic (80 ms) for it.
    from cloudaccel.export import reading

    return reading.deployment_of(data, accelerators, lease_s=lease_s)


def export(name: str, deployment: Deployment) -> Exported:
    """The file of export `name` for `deployment`.

    Raises
    ------
    UnknownName
        If there is no such export, or none for the cloud of the plan.
    QueryError
        If the engine cannot express the plan.
    """
    found = _exported(name, deployment)
    unnamed = sorted({site.priced_zone for site in deployment.sites if site.priced_zone})
    return replace(found, warnings=(*found.warnings, *map(_no_name_of, unnamed)))


def _no_name_of(zone: str) -> str:
    return f"the price is that of zone {zone}, which each account calls otherwise: the file names the region alone"


def _exported(name: str, deployment: Deployment) -> Exported:
    if name in _SPANNING:
        module, function = _SPANNING[name]
        return cast("Callable[[Deployment], Exported]", getattr(import_module(module), function))(deployment)
    if name not in names():
        raise UnknownName(f"--export: {name!r} is none of {', '.join(names())}.", choices=names())
    site = deployment.site
    have = tuple(sorted(p for n, p in registry.exports() if n == name))
    if site.provider not in have:
        others = ", ".join(starting(site.provider, site.partition, site.region)) or "none that starts machines there"
        raise UnknownName(
            f"--export {name} is written for {', '.join(have)}; the plan is for {site.provider} {site.region}. "
            f"Plan with --provider {have[0]}, or take another --export ({others})."
        )
    return registry.exporter(name, site.provider)(deployment)


__all__ = ["deployment_of", "export", "names", "starting"]
