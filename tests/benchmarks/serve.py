"""Load on the service: ``python -m tests.benchmarks.serve`` (needs the program wrk, or the address of its copy in WRK).

Everything stays on loopback and ends by itself. A row for each question: requests a second, and the 50th and 99th
percentile of the time to answer; each answer has 100 offers.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

SECONDS = 8
QUESTION = "/v1/offers?accelerator=H100&market=any"
GOALS = {"repeated": 1000.0, "distinct": 500.0}  # requests a second, on two cores that nothing else uses
_DISTINCT = """\
local n = 0
request = function()
  n = n + 1
  return wrk.format("GET", "{question}&max_price=" .. (30 + n / 1000))
end
"""


def main() -> int:
    """Measure and print; exit 1 when an answer is not 200, 3 when wrk is missing. A missed goal is shown."""
    wrk = os.environ.get("WRK") or shutil.which("wrk")
    if wrk is None:
        sys.stderr.write("needs wrk (apt-get install wrk), or its path in WRK\n")
        return 3
    command = [sys.executable, "-m", "cloudaccel", "serve", "--port", "0", "--quiet"]
    served = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert served.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", served.stderr.readline())
        assert found, "the service does not start"
        return _measure(wrk, found.group(), served.pid)
    finally:
        served.send_signal(signal.SIGTERM)
        served.wait(30)


def _measure(wrk: str, address: str, pid: int) -> int:
    before = _resident_mib(pid)
    with urllib.request.urlopen(address + QUESTION, timeout=30) as answer:  # noqa: S310
        assert len(answer.read()) > 10_000
    failed = False
    print(f"{'question':<10} {'requests/s':>10} {'goal':>6} {'p50 ms':>8} {'p99 ms':>8}")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "distinct.lua"
        script.write_text(_DISTINCT.replace("{question}", QUESTION), encoding="utf-8")
        for name, connections, extra in (("repeated", 16, []), ("distinct", 8, ["-s", str(script)])):
            rate, p50, p99, bad = _run(wrk, address + QUESTION, connections, extra)
            print(f"{name:<10} {rate:>10,.0f} {GOALS[name]:>6,.0f} {p50:>8.1f} {p99:>8.1f}")
            failed |= bad
    time.sleep(0.5)
    print(f"resident: {before:.0f} MiB at the start, {_resident_mib(pid):.0f} MiB at the end")
    return 1 if failed else 0


def _run(wrk: str, url: str, connections: int, extra: list[str]) -> tuple[float, float, float, bool]:
    command = [wrk, "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-H", "Accept-Encoding: gzip", *extra, url]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS + 30).stdout
    rate = float(_part(r"Requests/sec:\s+([\d.]+)", text))
    return rate, _ms(text, "50%"), _ms(text, "99%"), "Non-2xx" in text or "Socket errors" in text


def _ms(text: str, percentile: str) -> float:
    found = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)", text)
    assert found, text
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]


def _part(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, text
    return found.group(1)


def _resident_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return float("nan")
    return int(_part(r"VmRSS:\s+(\d+)", status)) / 1024


if __name__ == "__main__":
    sys.exit(main())
