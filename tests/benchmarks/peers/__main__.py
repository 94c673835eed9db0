"""This program beside its peers: ``python -m tests.benchmarks.peers --peers PYTHON [--rows 100000]``.

PYTHON is an interpreter of an environment that has them: ``pip install gpuhunt skypilot llm-analysis``. Each
peer reads the same rows, made from one generated catalog, and answers the same question; who is not installed is said
to be missing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import environment, median_wall_s, peak_mib
from tests.benchmarks.peers import sizing
from tests.benchmarks.peers.rows import write_gpuhunt, write_sky
from tests.benchmarks.plan import planned_in_process
from tests.benchmarks.quote import query_in_process
from tests.benchmarks.synthetic import make_catalog

HERE = Path(__file__).parent
NAME, COUNT = "H100", 8
QUESTION = ("quote", f"{NAME}:{COUNT}", "--market", "spot", "--json")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", required=True, metavar="PYTHON", help="interpreter that has the peers installed")
    parser.add_argument("--sizing-peer", metavar="PYTHON", help="one that has llm-analysis (default: that of --peers)")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the generated catalog (100000)")
    parser.add_argument("--runs", type=int, default=9, help="runs of each whole command; the median counts")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="cloudaccel-peers-") as folder:
        _report(Path(folder), asked.peers, asked.rows, asked.runs)
    sizing.report(asked.sizing_peer or asked.peers)
    return 0


def _report(folder: Path, peers: str, offers: int, runs: int) -> None:
    catalog, env = folder / "catalog.sqlite", environment(folder)
    make_catalog(catalog, offers * 5 // 2)  # of five markets, the peers have two
    ours = [sys.executable, "-m", "cloudaccel", "--catalog", str(catalog), *QUESTION]
    cold, query = median_wall_s(ours, env, runs), query_in_process(catalog)
    plan_s, evaluated = planned_in_process()
    found = json.loads(subprocess.run(ours, env=env, check=True, capture_output=True, text=True).stdout)
    print(f"{offers * 5 // 2:,} offers, {offers:,} of them on demand or spot")
    print(f"the question: {COUNT} {NAME} on one machine, spot, every region")
    print(f"{'':<34}{'seconds':>12}{'ratio':>10}")
    _line("cloudaccel quote, whole process", cold, None, f"{peak_mib(ours, env):.0f} MiB")
    _line("cloudaccel query in process", query, None)
    _line(f"cloudaccel plan, {evaluated:,} candidates", plan_s, None, f"{plan_s / evaluated * 1e6:.1f} µs each")
    _gpuhunt(folder / "gpuhunt", catalog, peers, cold, query, runs)
    _sky(folder / "home", catalog, peers, cold, query, plan_s / evaluated)
    print(f"cloudaccel answers with {found['total']} rows; its cheapest: {_cheapest(found)}")


def _gpuhunt(folder: Path, catalog: Path, peers: str, cold: float, query: float, runs: int) -> None:
    number = write_gpuhunt(catalog, folder)
    env = {**os.environ, "GPUHUNT_CATALOG_URL": folder.as_uri()}
    command = [peers, str(HERE / "ask_gpuhunt.py"), NAME, str(COUNT)]
    answer = _ask(command, env)
    if answer is None:
        return
    wall, peak = median_wall_s([*command, "once"], env, min(runs, 5)), peak_mib([*command, "once"], env)
    _line(f"gpuhunt load and query, {number:,} rows", wall, wall / cold, f"G2 ≥ 15; {peak:.0f} MiB")
    _line("gpuhunt query in process", answer["query_s"], answer["query_s"] / query, "G5 ≥ 200")
    print(f"gpuhunt answers with {answer['rows']:.0f} rows; its cheapest: {answer['cheapest']}")


def _sky(home: Path, catalog: Path, peers: str, cold: float, query: float, each: float) -> None:
    number = write_sky(catalog, home)
    env = {**os.environ, "HOME": str(home), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    answer = _ask([peers, str(HERE / "ask_sky.py"), NAME, str(COUNT)], env)
    if answer is None:
        return
    _line("SkyPilot import", answer["import_s"], answer["import_s"] / cold, "G3 ≥ 40")
    first = answer["import_s"] + answer["first_s"]
    _line(f"SkyPilot import and list, {number:,} rows", first, first / cold, "G3 ≥ 50")
    _line("SkyPilot list in process", answer["query_s"], answer["query_s"] / query)
    per = answer["optimize_s"] / answer["candidates"]
    _line(f"SkyPilot optimizer, {answer['candidates']:.0f} candidates", answer["optimize_s"], per / each,
          f"a candidate: {per * 1e3:.1f} ms; G9 ≥ 70")  # fmt: skip


def _ask(command: Sequence[str], env: Mapping[str, str]) -> dict[str, float] | None:
    done = subprocess.run(command, check=False, env=dict(env), capture_output=True, text=True)
    if done.returncode:
        print(f"{Path(command[1]).stem}: missing or failed: {done.stderr.strip()[-300:]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def _line(what: str, seconds: float, ratio: float | None, note: str = "") -> None:
    print(f"{what:<34}{seconds:>12.5f}{'' if ratio is None else f'{ratio:,.1f} ×':>12}  {note}")


def _cheapest(found: Mapping[str, Any]) -> str:
    return found["offers"][0]["price"]["price_per_hour"] if found["offers"] else "none"


if __name__ == "__main__":
    sys.exit(main())
