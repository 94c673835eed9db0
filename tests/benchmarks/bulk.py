"""A region's price file of any size, read over HTTP: ``python -m tests.benchmarks.bulk [--mib 400] [--runs 15]``.

The file has the real layout: real lines, repeated under other types, systems and tenancies, so that one line in some
thirty thousand is kept. Goals: at most 1.1 times ``gzip -dc`` of the same file, and at most 64 MiB whatever its size.
"""

import argparse
import gzip
import json
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.benchmarks.measure import environment, median_cpu_s, met, paired_wall_s, peak_mib

SAMPLE = Path(__file__).parents[1] / "golden/prices/aws_ec2_us-east-1_2025-04.csv"
TYPES = ("m5.large", "c6i.2xlarge", "r7g.24xlarge", "m7i.xlarge", "x2iedn.4xlarge", "t3.large")
SYSTEMS = (("Windows", "RunInstances:0002"), ("RHEL", "RunInstances:0010"), ("Linux", "RunInstances:0004"))
READ = """
import sys, tempfile
from pathlib import Path
from cloudaccel.catalog.spool import spooled
from cloudaccel.catalog.web import Connection, HttpWeb
from cloudaccel.protocols import Scope
from cloudaccel_aws.prices import GLOBAL, AwsPrices
from cloudaccel_aws.savings import HOME
scope = Scope(provider="aws", partition="aws", region="us-east-1")
to = Connection(mirrors={GLOBAL: sys.argv[1] + "/aws", HOME: sys.argv[1] + "/plans"})
with tempfile.TemporaryDirectory() as folder, spooled(Path(folder), scope) as spool:
    found = list(AwsPrices().over(HttpWeb("aws", to, spool=spool)).offers(scope))
    spool.end()
assert len(found) == int(sys.argv[2]), f"{len(found)} offers"
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Say nothing."""


def main() -> int:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=400)
    parser.add_argument("--runs", type=int, default=15)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudaccel-bulk-") as name:
        folder = Path(name)
        lines = build(folder, a.mib << 20)
        packed = folder / "packed.gz"
        with gzip.open(packed, "wb", compresslevel=1) as file, open(price_file(folder), "rb") as plain:
            while block := plain.read(1 << 20):
                file.write(block)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        read = [sys.executable, "-c", READ, f"http://127.0.0.1:{server.server_port}", str(kept())]
        unpacking = ["gzip", "-dc", str(packed)]
        base, took = paired_wall_s(unpacking, read, environment(), a.runs)
        unpack, work = (median_cpu_s(command, environment(), a.runs) for command in (unpacking, read))
        peak = peak_mib(read, environment())
        server.shutdown()
    print(f"{a.mib} MiB, {lines:,} lines, {kept()} offers")
    print(f"gzip -dc of the file   {base:7.2f} s   1.00 ×")
    print(f"read over HTTP         {took:7.2f} s  {took / base:5.2f} ×   (goal ≤ 1.1 ×) {met(took <= 1.1 * base)}")
    share = work / unpack
    print(f"processor time         {work:7.2f} s  {share:5.2f} ×   of {unpack:.2f} s {met(share <= 1.1)}")
    print(f"peak memory            {peak:7.1f} MiB        (goal ≤ 64 MiB) {met(peak <= 64)}")
    return 0


def build(folder: Path, size: int) -> int:
    """Write the index and a file of `size` bytes; returns its lines."""
    lines = SAMPLE.read_text().splitlines(keepends=True)
    code = "/offers/v1.0/aws/AmazonEC2/1/us-east-1/index.json"
    plans = {"regionCode": "af-south-1", "versionUrl": "/savingsPlan/v1.0/aws/AWSComputeSavingsPlan/1/x/index.json"}
    _write(folder / "aws/AmazonEC2/current/region_index.json", {"regions": {"us-east-1": {"currentVersionUrl": code}}})
    _write(folder / "aws/index.json", {"offers": {}})
    for name in ("AWSComputeSavingsPlan", "AWSMachineLearningSavingsPlans"):
        _write(folder / f"plans/{name}/current/region_index.json", {"regions": [plans]})
    price_file(folder).parent.mkdir(parents=True, exist_ok=True)
    others = list(_others(lines[6:]))
    block = "".join(others)
    count = len(lines)
    with open(price_file(folder), "w", encoding="utf-8") as file:
        file.writelines(lines)
        for _ in range(max(1, size // len(block))):
            file.write(block)
            count += len(others)
    return count


def price_file(folder: Path) -> Path:
    """Where the file is served from."""
    return folder / "aws/AmazonEC2/1/us-east-1/index.csv"


def kept() -> int:
    """Offers in the sample: one of each line."""
    return len(SAMPLE.read_text().splitlines()) - 6


def _others(lines: list[str]) -> list[str]:
    """Lines that are left out: types without accelerators as Linux, all types under other systems."""
    found: list[str] = []
    for line in lines:
        instance = line.split('"Compute Instance","AmazonEC2",')[1].split(",")[2].strip('"')
        plain = line.replace("GPU instance", "General purpose").replace("Machine Learning ASIC Instances", "Storage")
        found += [plain.replace(instance, kind).replace("Media Accelerator", "Compute") for kind in TYPES]
        found += [line.replace('"Linux"', f'"{s}"').replace('"RunInstances"', f'"{o}"') for s, o in SYSTEMS]
    return found


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


if __name__ == "__main__":
    sys.exit(main())
