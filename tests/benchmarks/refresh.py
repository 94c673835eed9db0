"""What a refresh costs: ``python -m tests.benchmarks.refresh [--runs 3]``; calls, work beside waiting, peak memory.

The three large sellers are on this machine and send pages of the real size, or every region's file. Goals: AWS at most
25 calls, Azure at most 60; at half a second a call at most 5 % of the time is work; at most 128 MiB at the peak.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloudaccel.testing.cloud import Asked, FakeCloud, Reply
from cloudaccel_aws.prices import CHINA, GLOBAL
from cloudaccel_aws.savings import HOME
from cloudaccel_azure import china
from cloudaccel_azure.prices import BASE_URL as AZURE
from cloudaccel_gcp.prices import BASE_URL as GCP
from cloudaccel_gcp.prices import TPU_URL, VERTEX_URL
from tests.benchmarks.bulk import SAMPLE
from tests.benchmarks.measure import environment, median_cpu_s, met, peak_mib

GOLDEN = SAMPLE.parent
A_CALL_S = 0.5
PLACES = Path(__file__).parents[2] / "cloudaccel/facts/places.csv"
AZURE_PAGES = 20  # of 1,000 items each: machines of the series N in every region have some 15,000
GCP_PAGES = 6  # of 5,000 SKUs: Compute Engine has some 30,000


@dataclass(frozen=True, slots=True)
class Goal:
    """At most so many calls; None where none was set."""

    provider: str
    calls: int | None


GOALS = (Goal("aws", 25), Goal("azure", 60), Goal("gcp", None))


def main() -> int:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudaccel-refresh-") as name, FakeCloud() as cloud:
        _serve(cloud)
        where = {GLOBAL: "/aws", HOME: "/plans", AZURE: "/azure", GCP: "/gcp", TPU_URL: "/tpu", VERTEX_URL: "/vertex"}
        where |= dict.fromkeys((CHINA, china.BASE_URL, china.FILES), "/nothing")
        env = environment(Path(name)) | {
            "CLOUDACCEL_MIRRORS": ",".join(f"{url}={cloud.url}{path}" for url, path in where.items()),
            "CLOUDACCEL_GCP_API_KEY": "none-is-looked-at",
        }
        for goal in GOALS:
            command = [sys.executable, "-m", "cloudaccel", "refresh", goal.provider, "--accept", "--quiet"]
            cloud.asked.clear()
            peak = peak_mib(command, env)
            calls = len(cloud.asked)
            work = median_cpu_s(command, env, a.runs)
            share = work / (calls * A_CALL_S + work)
            told = f"(goal ≤ {goal.calls}) {met(calls <= goal.calls)}" if goal.calls else "(no goal)"
            print(f"{goal.provider:<6} {calls:5d} calls {told}")
            print(
                f"       {work:5.2f} s of work, {share:5.1%} at {A_CALL_S} s a call (goal ≤ 5 %) {met(share <= 0.05)}"
            )
            print(f"       {peak:5.0f} MiB at the peak (goal ≤ 128 MiB) {met(peak <= 128)}")
    return 0


def _serve(cloud: FakeCloud) -> None:
    _serve_aws(cloud)
    items = json.loads((GOLDEN / "azure_westus_2026.json").read_text())["Items"]
    skus = json.loads((GOLDEN / "gcp_a100_2023.json").read_text())["skus"]
    regions = [f"region{number}" for number in range(60)]

    def azure(number: int) -> bytes:
        page = [{**items[i % len(items)], "armRegionName": regions[(number * 3 + i // 333) % 60]} for i in range(1000)]
        following = f"{AZURE}?$skip={number + 1}" if number + 1 < AZURE_PAGES else None
        return json.dumps({"Items": page, "NextPageLink": following}).encode()

    def google(number: int) -> bytes:
        page = [{**skus[i % len(skus)], "skuId": f"{number}-{i}"} if i >= len(skus) else skus[i] for i in range(5000)]
        page[len(skus) :] = [{**sku, "description": "Storage of something else"} for sku in page[len(skus) :]]
        return json.dumps({"skus": page, "nextPageToken": str(number + 1) if number + 1 < GCP_PAGES else ""}).encode()

    cloud.serve("/azure", _pages("$skip", azure))
    cloud.serve("/gcp", _pages("pageToken", google))
    for path in ("/tpu", "/vertex"):
        cloud.serve_json(path, {"skus": []})


def _pages(query: str, page: Callable[[int], bytes]) -> Callable[[Asked], Reply]:
    made: dict[int, bytes] = {}

    def route(asked: Asked) -> Reply:
        if "armRegionName" in asked.query.get("$filter", ""):  # Azure's other partition, which has none here
            return Reply(body=b'{"Items": []}')
        number = int(asked.query.get(query, "0"))
        if number not in made:
            made[number] = page(number)
        return Reply(body=made[number])

    return route


def _serve_aws(cloud: FakeCloud) -> None:
    regions = [line.split(",")[2] for line in PLACES.read_text().splitlines() if line.startswith("aws,aws,")]
    sample = SAMPLE.read_bytes()
    kinds = {"AmazonEC2": "/aws/AmazonEC2/current/region_index.json"}
    cloud.serve_json("/aws/index.json", {"offers": {}})
    for service, index in kinds.items():
        named = {r: {"currentVersionUrl": f"/offers/v1.0/aws/{service}/1/{r}/index.json"} for r in regions}
        cloud.serve_json(index, {"regions": named})
        for region in regions:
            cloud.serve(f"/aws/{service}/1/{region}/index.csv", sample.replace(b"us-east-1", region.encode()))
    plans = {"regionCode": "none-such-1", "versionUrl": "/savingsPlan/v1.0/aws/AWSComputeSavingsPlan/1/x/index.json"}
    for name in ("AWSComputeSavingsPlan", "AWSMachineLearningSavingsPlans"):
        cloud.serve_json(f"/plans/{name}/current/region_index.json", {"regions": [plans]})


if __name__ == "__main__":
    sys.exit(main())
