"""Run by an interpreter that has SkyPilot: list and optimize, print times as JSON. Imports nothing of this project."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false
# The peer is in the other interpreter only, so there are no types of it here.

import json
import statistics
import sys
import time


def main(name: str, count: int) -> None:
    """Seconds to import, for the first and the next listings and for one optimization; rows, candidates, cheapest."""
    begun = time.perf_counter()
    import sky
    import sky.check
    import sky.clouds
    from sky import catalog
    from sky.optimizer import Optimizer

    imported = time.perf_counter()
    times, listed = [], {}
    for _ in range(4):
        started = time.perf_counter()
        listed = catalog.list_accelerators(True, f"^{name}$", None, count, clouds=["aws"], all_regions=True)
        times.append(time.perf_counter() - started)
    found = listed.get(name, [])
    clouds = [sky.clouds.AWS()]
    sky.check.get_cached_enabled_clouds_or_refresh = lambda *_, **__: clouds  # no account is asked
    task = sky.Task(run="true")
    task.set_resources({sky.Resources(accelerators=f"{name}:{count}", use_spot=spot) for spot in (False, True)})
    with sky.Dag() as dag:
        dag.add(task)
    started = time.perf_counter()
    Optimizer.optimize(dag, quiet=True)
    optimized = time.perf_counter() - started
    answer = {
        "import_s": imported - begun, "first_s": times[0], "query_s": statistics.median(times[1:]),
        "rows": len(found), "optimize_s": optimized,
        "candidates": sum(not _nan(row.price) for row in found) + sum(not _nan(row.spot_price) for row in found),
    }  # fmt: skip
    print(json.dumps(answer))


def _nan(value: float) -> bool:
    return value != value


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
