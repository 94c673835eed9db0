"""Run by an interpreter that has gpuhunt: load, ask, print times as JSON. Imports nothing of this project."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# The peer is in the other interpreter only, so there are no types of it here.

import json
import statistics
import sys
import time


def main(name: str, count: int, times_asked: int) -> None:
    """Seconds to import, to load and per query; how many rows answer and the cheapest, USD per hour."""
    begun = time.perf_counter()
    from gpuhunt import Catalog

    imported = time.perf_counter()
    catalog = Catalog(auto_reload=False)
    catalog.load()
    loaded = time.perf_counter()
    times, found = [], []
    for _ in range(times_asked):
        started = time.perf_counter()
        found = catalog.query(provider="aws", gpu_name=name, min_gpu_count=count, max_gpu_count=count, spot=True)
        times.append(time.perf_counter() - started)
    answer = {
        "import_s": imported - begun, "load_s": loaded - imported, "query_s": statistics.median(times),
        "rows": len(found), "cheapest": min((item.price for item in found), default=None),
    }  # fmt: skip
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), 1 if sys.argv[3:] == ["once"] else 7)
