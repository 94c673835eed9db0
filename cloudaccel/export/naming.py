"""What other engines call things, and which of a plan's places they reach. Data: ``names.csv``."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from cloudaccel.errors import QueryError
from cloudaccel.facts.loader import read_table
from cloudaccel.facts.places import partitions
from cloudaccel.model.deployment import Deployment, Site, check_market

NAMES = Path(__file__).with_name("names.csv")
NOWHERE = "global"  # the region of a list that names none
# A first run that proves the devices are there; the work itself is the user's.
IMAGE = "ubuntu:24.04"
CHECK = "ls -d /dev/nvidia[0-9]* /dev/kfd /dev/neuron[0-9]* /dev/accel/* 2>/dev/null | grep ."
YOURS = "image and command are a check of the devices: put your own in their place"


@cache
def names(engine: str, kind: str) -> Mapping[str, str]:
    """Values of one kind that `engine` has, by key."""
    return {
        row["key"]: row["value"] for row in read_table(str(NAMES)) if (row["engine"], row["kind"]) == (engine, kind)
    }


def reaches(engine: str, provider: str, partition: str, region: str) -> bool:
    """Whether `engine` starts machines there: the public part of a cloud that it knows, in a region with a name."""
    if provider not in names(engine, "cloud") or region == NOWHERE:
        return False
    known = partitions().get(partition)
    return partition == provider if known is None else known.kind == "commercial"


def reached(engine: str, plan: Deployment) -> tuple[tuple[Site, ...], tuple[str, ...]]:
    """Places of the plan that `engine` reaches, the chosen one first, and a note on those that are left out.

    Raises `QueryError` when it does not reach the chosen one, or that cannot be started from a file.
    """
    check_market(plan)
    sites = tuple(site for site in plan.sites if reaches(engine, site.provider, site.partition, site.region))
    if plan.site not in sites:
        clouds = ", ".join(sorted(names(engine, "cloud")))
        raise QueryError(
            f"--export {engine} does not reach {plan.site.provider} {plan.site.region} ({plan.site.partition}): it is "
            f"written for regions with a name of {clouds}. Plan with --provider, or take another --export."
        )
    if plan.kind == "tpu":
        raise QueryError(f"no {engine} file is written for {plan.family} yet. Plan with --accel for a GPU.")
    left = sorted({f"{site.provider} {site.region}" for site in plan.sites if site not in sites})
    return sites, ((f"left out, since {engine} does not reach it: {', '.join(left)}",) if left else ())


def privacy(engine: str, *providers: str) -> tuple[str, ...]:
    """What the engine keeps in a configuration of its own: whether machines have a public address."""
    known = names(engine, "private")
    return tuple(
        f"machines on {name} have a public address unless the configuration of {engine} for it says "
        + (known.get(name) or "otherwise, which is not known here")
        for name in sorted(set(providers))
    )
