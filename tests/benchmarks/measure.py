"""Measuring whole commands: wall time as a median, peak memory of the only child."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

_PEAK = (
    "import resource,subprocess,sys;"
    "subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL,check=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def environment(folder: Path | None = None) -> dict[str, str]:
    """This environment without settings of ours, and with byte code written, as it is after an installation."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CLOUDACCEL_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    folder = folder or Path(tempfile.gettempdir()) / "cloudaccel-bench"
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "pyc"), "CLOUDACCEL_CACHE_DIR": str(folder / "cache")}


def wall_s(command: Sequence[str], env: dict[str, str]) -> float:
    """Seconds that one run of `command` takes. It must succeed."""
    started = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def median_wall_s(command: Sequence[str], env: dict[str, str], runs: int) -> float:
    """Median of `runs`, after one that warms caches and byte code."""
    wall_s(command, env)
    return statistics.median(wall_s(command, env) for _ in range(runs))


def paired_wall_s(first: Sequence[str], second: Sequence[str], env: dict[str, str], runs: int) -> tuple[float, float]:
    """Median seconds of both, and of `second` as that of `first` times the median ratio: taken in turn, side by side.

    What else the machine does then meets both alike.
    """
    wall_s(first, env)
    wall_s(second, env)
    pairs = [(wall_s(first, env), wall_s(second, env)) for _ in range(runs)]
    base = statistics.median(one for one, _ in pairs)
    return base, base * statistics.median(other / one for one, other in pairs)


_CPU = (
    "import resource,subprocess,sys;"
    "subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL,check=True);"
    "r=resource.getrusage(resource.RUSAGE_CHILDREN);print(r.ru_utime+r.ru_stime)"
)


def median_cpu_s(command: Sequence[str], env: dict[str, str], runs: int) -> float:
    """Median processor time of `runs`, user and system: what other work on the machine changes least."""
    asked = [sys.executable, "-c", _CPU, *command]
    done = [subprocess.run(asked, env=env, check=True, capture_output=True, text=True) for _ in range(runs)]
    return statistics.median(float(one.stdout) for one in done)


def peak_mib(command: Sequence[str], env: dict[str, str]) -> float:
    """Peak memory of `command` in MiB."""
    asked = [sys.executable, "-c", _PEAK, *command]
    out = subprocess.run(asked, env=env, check=True, capture_output=True, text=True)
    return int(out.stdout) / 1024


def met(reached: bool) -> str:
    """What is said beside a goal."""
    return "met" if reached else "NOT MET"
