"""Which places a failure rules out: an error's scope as keys of the block list."""

from cloudaccel.errors import ProviderError
from cloudaccel.provision.values import Candidate


def key(error: ProviderError, account: str, candidate: Candidate, zone: str, family: str) -> str:
    """The key that `error` blocks."""
    return (
        scopes(account, candidate, zone, family).get(error.scope)
        or scopes(account, candidate, zone, family)["offering"]
    )


def scopes(account: str, candidate: Candidate, zone: str, family: str) -> dict[str, str]:
    """Scope word to key, for every scope that this place lies in. A quota counts by region, family and market."""
    cloud = f"{candidate.provider}/{account}"
    region = f"{cloud}/{candidate.region}"
    return {
        "provider": cloud,
        "region": region,
        "zone": f"{region}/{zone}",
        "family": f"{region}/family/{family}/{candidate.market}",
        "offering": f"{region}/{zone}/{candidate.instance}/{candidate.market}",
    }
