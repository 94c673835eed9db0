"""What is known of machines beside their accelerators: the network between them."""

from functools import cache

from cloudaccel.errors import ConfigError
from cloudaccel.facts.loader import numbered_rows, table_path

NETWORKS_TABLE = "machine_networks.csv"


@cache
def _networks() -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    columns = ("provider", "instances", "gbit_per_s", "note", "source", "as_of")
    for line, row in numbered_rows(NETWORKS_TABLE, columns):
        if not row["source"] or not row["as_of"] or float(row["gbit_per_s"]) <= 0:
            raise ConfigError(f"{table_path(NETWORKS_TABLE)}, line {line}: figure, source or date is missing")
        for instance in row["instances"].split("|"):
            found[(row["provider"], instance)] = float(row["gbit_per_s"])
    return found


def network_gbit_per_s(provider: str, instance: str) -> float | None:
    """Gbit/s that one machine of the type exchanges with others, one direction; None where no source says."""
    return _networks().get((provider, instance))
