"""How fast a quote is, as ratios in one run: ``python -m tests.benchmarks.quote [--rows 20000,2000000] [--runs 15]``.

Ratios travel between machines, milliseconds do not. Each line names its goal; nothing here asserts, since a
stopwatch on a shared machine proves nothing: the plain tests count query steps and imports instead.
"""

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from cloudaccel.api.quoting import build_query
from cloudaccel.catalog.query import run_query
from cloudaccel.catalog.session import accelerator_table, open_session
from tests.benchmarks.measure import environment, met, peak_mib, wall_s
from tests.benchmarks.synthetic import make_catalog

QUESTION = ("quote", "H100-SXM:8", "--residency", "EU", "--market", "spot", "--limit", "10")
MiB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="20000,2000000", help="sizes of the generated catalogs")
    parser.add_argument("--runs", type=int, default=15, help="runs of each command; the median counts")
    arguments = parser.parse_args(argv)
    sizes = [int(size) for size in arguments.rows.split(",")]
    with tempfile.TemporaryDirectory(prefix="cloudaccel-bench-") as folder:
        _report(Path(folder), sizes, arguments.runs)
    return 0


def _report(folder: Path, sizes: Sequence[int], runs: int) -> None:
    env = environment(folder)
    catalogs = {size: folder / f"{size}.sqlite" for size in sizes}
    for size, path in catalogs.items():
        started = time.perf_counter()
        make_catalog(path, size)
        print(f"made {size:,} offers, {path.stat().st_size / MiB:,.0f} MiB, in {time.perf_counter() - started:.1f} s")
    print(f"\nmedian of {runs} runs, interleaved; python -c pass = 1\n")
    commands = {
        "pass": [sys.executable, "-c", "pass"],
        "bundled --json": _cloudaccel("quote", "H100:8", "--json"),
        "bundled table": _cloudaccel("quote", "H100:8"),
        **{
            f"{size:,} offers --json": _cloudaccel("--catalog", str(path), *QUESTION, "--json")
            for size, path in catalogs.items()
        },
    }
    walls, peaks = _commands(commands, env, runs)
    base = walls["pass"]
    goals = {"bundled --json": "G1 ≤ 8", "bundled table": "G1 ≤ 12"}
    for name, wall in walls.items():
        print(f"{name:<28} {wall * 1000:8.1f} ms  {wall / base:6.2f} ×  {peaks[name]:5.0f} MiB  {goals.get(name, '')}")
    most = max(peaks.values())
    print(f"\nG12 peak memory of a quote: {most:.0f} MiB (goal ≤ 32) {met(most <= 32)}")
    if len(sizes) > 1:
        growth = walls[f"{sizes[-1]:,} offers --json"] / walls[f"{sizes[0]:,} offers --json"]
        print(f"G4 growth {sizes[0]:,} → {sizes[-1]:,} offers: {growth:.2f} × (goal ≤ 1.3)")
    for size, path in catalogs.items():
        print(f"G5 query in process, {size:,} offers: {query_in_process(path) * 1000:.2f} ms (goal ≤ 1 at 2,000,000)")
    print(f"G14 modules that a quote must not load: {', '.join(_heavy_modules(env)) or 'none'} (goal: none)")


def _cloudaccel(*words: str) -> list[str]:
    return [sys.executable, "-m", "cloudaccel", *words]


def _commands(
    commands: dict[str, list[str]], env: dict[str, str], runs: int
) -> tuple[dict[str, float], dict[str, float]]:
    walls: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        wall_s(command, env)  # warm: byte code, page cache, the built catalog
    for _ in range(runs):
        for name, command in commands.items():
            walls[name].append(wall_s(command, env))
    peaks = {name: peak_mib(command, env) for name, command in commands.items()}
    return {name: statistics.median(times) for name, times in walls.items()}, peaks


def query_in_process(path: Path) -> float:
    """Median seconds of the question in process."""
    with open_session(path) as session:
        query = build_query(session, "H100-SXM:8", residency="EU", market="spot", limit=10)
    table = accelerator_table()
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as db:
        return _median(lambda: run_query(db, query, table))


def _median(call: Callable[[], object], runs: int = 51) -> float:
    times: list[float] = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _heavy_modules(env: dict[str, str]) -> list[str]:
    probe = (
        "import sys; from cloudaccel.cli import main; main(['quote','H100:8','--json']);"
        "print('|'.join(sys.modules), file=sys.stderr)"
    )
    out = subprocess.run([sys.executable, "-c", probe], env=env, check=True, capture_output=True, text=True)
    heavy = {
        "boto3",
        "google",
        "azure",
        "numpy",
        "pandas",
        "pyarrow",
        "polars",
        "duckdb",
        "pydantic",
        "rich",
        "sqlalchemy",
    }
    return sorted(heavy & {name.partition(".")[0] for name in out.stderr.splitlines()[-1].split("|")})


if __name__ == "__main__":
    sys.exit(main())
