"""A plan written down for other engines: pure functions from a `Deployment` to the text of a file.

Engines that span clouds are here, and what they call each cloud is data (``names.csv``). What belongs to one cloud is
written by that cloud's provider package and found by the registry.
"""

from cloudaccel import registry
from cloudaccel.errors import UnknownName
from cloudaccel.export.reading import deployment_of
from cloudaccel.model.deployment import Deployment, Exported


def names() -> tuple[str, ...]:
    """Names of all exports, sorted."""
    return tuple(sorted({"jobset", "kubernetes", *(name for name, _ in registry.exports())}))


def export(name: str, deployment: Deployment) -> Exported:
    """The file of export `name` for `deployment`.

    Raises
    ------
    UnknownName
        If there is no such export, or none for the cloud of the plan.
    QueryError
        If the engine cannot express the plan.
    """
    if name == "kubernetes":
        from cloudaccel.export.kubernetes import job

        return job(deployment)
    if name == "jobset":
        from cloudaccel.export.kubernetes import jobset

        return jobset(deployment)
    if name not in names():
        raise UnknownName(f"--export: {name!r} is none of {', '.join(names())}.", choices=names())
    provider = deployment.site.provider
    have = tuple(sorted(p for n, p in registry.exports() if n == name))
    if provider not in have:
        raise UnknownName(
            f"--export {name} is written for {', '.join(have)}; the plan is for {provider}. Plan with --provider "
            f"{have[0]}, or take another of {', '.join(names())}.",
            choices=have,
        )
    return registry.exporter(name, provider)(deployment)


__all__ = ["deployment_of", "export", "names"]
