"""Which places a failure rules out: an error's scope as keys of the block list."""

from cloudaccel.errors import ProviderError
from cloudaccel.provision.values import Candidate


def key(
    error: ProviderError, account: str, candidate: Candidate, zone: str, family: str, reservation: str | None = None
) -> str:
    """The key that `error` blocks."""
    keys = scopes(account, candidate, zone, family, reservation)
    return keys.get(error.scope) or keys["offering"]


def scopes(
    account: str, candidate: Candidate, zone: str, family: str, reservation: str | None = None
) -> dict[str, str]:
    """Scope word to key, for every scope that this place lies in. A quota counts by region, family and market.

    Capacity held under a reservation is its own: that it is used up says nothing of the open market, nor the reverse.
    """
    held = f"/reservation/{reservation}" if reservation else ""
    cloud = f"{candidate.provider}/{account}"
    region = f"{cloud}/{candidate.region}"
    return {
        "provider": cloud,
        "region": region,
        "zone": f"{region}/{zone}{held}",
        "family": f"{region}/family/{family}/{candidate.market}{held}",
        "offering": f"{region}/{zone}/{candidate.instance}/{candidate.market}{held}",
    }
