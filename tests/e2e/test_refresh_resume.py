"""A refresh that is killed or cut within a list: the next one goes on there, and the catalog never holds half of it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from cloudaccel.catalog import store
from cloudaccel.catalog.renew import current_rows
from cloudaccel.catalog.spool import FOLDER
from cloudaccel.protocols import Scope
from cloudaccel.testing.cloud import Asked, FakeCloud, Reply
from cloudaccel_aws.prices import CHINA, GLOBAL
from cloudaccel_aws.savings import HOME
from cloudaccel_azure import china
from cloudaccel_azure.prices import BASE_URL as AZURE
from cloudaccel_gcp.prices import BASE_URL as GCP
from cloudaccel_gcp.prices import TPU_URL, VERTEX_URL
from tests.benchmarks import bulk
from tests.e2e.test_refresh_live import HANG_S, cache
from tests.support import run, until

__all__ = ["cache"]  # a fixture
pytestmark = [pytest.mark.network, pytest.mark.slow]
PAGES = 40
CUT = 30  # the page at which it is killed
TABLE = "/aws/AmazonEC2/1/us-east-1/index.csv"
PARTITIONS = ("aws", "gcp", "azure-public")
SIZES = ("ND96isr_H100_v5", "ND96asr_v4", "NC24ads_A100_v4", "NC96ads_A100_v4")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    """The three large sellers on this machine."""
    monkeypatch.setenv("CLOUDACCEL_GCP_API_KEY", "canary-8d11fe20")
    with FakeCloud(hang_s=HANG_S) as fake:
        paths = {GLOBAL: "/aws", HOME: "/plans", AZURE: "/azure", GCP: "/gcp", TPU_URL: "/tpu", VERTEX_URL: "/vertex"}
        paths |= dict.fromkeys((CHINA, china.BASE_URL, china.FILES), "/nothing")
        monkeypatch.setenv("CLOUDACCEL_MIRRORS", ",".join(f"{url}={fake.url}{at}" for url, at in paths.items()))
        yield fake


def killed(fake: FakeCloud, provider: str, is_there: Callable[[], bool]) -> None:
    """Refresh, and kill it for good as soon as `is_there`."""
    command = [sys.executable, "-m", "cloudaccel", "refresh", provider, "--accept"]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as refresh:
        try:
            until(lambda: is_there() or refresh.poll() is not None)
            assert refresh.poll() is None
        finally:
            refresh.kill()
    fake.asked.clear()


def current(cache: Path, provider: str) -> Sequence[Mapping[str, str]]:
    """Every current offer of `provider` in the catalog."""
    opened = store.open_catalog(None, cache)
    try:
        rows = [
            row for where in PARTITIONS for row in current_rows(opened.db, Scope(provider=provider, partition=where))
        ]
    finally:
        opened.close()
    return sorted(rows, key=lambda row: sorted(row.items()))


def pages(query: str, hang: list[int], page: Callable[[int], bytes]) -> Callable[[Asked], Reply]:
    """Pages that name the next one by `query`; the one in `hang` is sent half, once."""

    def route(asked: Asked) -> Reply:
        if "armRegionName" in asked.query.get("$filter", ""):  # Azure's other partition, which has none
            return Reply(body=b'{"Items": []}')
        number = int(asked.query.get(query, "0").removeprefix("token-"))
        if number in hang:
            hang.remove(number)
            return Reply(body=page(number), fault="hang")
        return Reply(body=page(number))

    return route


def azure(number: int) -> bytes:
    item = {
        "currencyCode": "USD", "tierMinimumUnits": 0, "retailPrice": 5 + number, "armRegionName": "eastus",
        "effectiveStartDate": "2026-01-01T00:00:00Z", "meterName": f"{SIZES[number % 4]} m{number}",
        "skuName": f"{SIZES[number % 4]}", "productName": "Virtual Machines NDsr H100 v5 Series",
        "serviceName": "Virtual Machines", "unitOfMeasure": "1 Hour", "type": "Consumption",
        "isPrimaryMeterRegion": True, "armSkuName": f"Standard_{SIZES[number % 4]}",
    }  # fmt: skip
    item["armRegionName"] = ("eastus", "westus", "westeurope", "uksouth", "japaneast")[number % 5]
    following = f"{AZURE}?$skip={number + 1}" if number + 1 < PAGES else None
    return json.dumps({"Items": [item], "NextPageLink": following}).encode()


def test_azure_goes_on_at_the_page_where_it_was_killed(fake: FakeCloud, cache: Path) -> None:
    before = current(cache, "azure")
    fake.serve("/azure", pages("$skip", [CUT], azure))
    killed(fake, "azure", lambda: any(asked.query.get("$skip") == str(CUT) for asked in fake.asked))
    assert current(cache, "azure") == before
    assert run("refresh", "azure", "--accept").code == 0
    asked = [int(a.query["$skip"]) for a in fake.asked if a.path == "/azure" and "$skip" in a.query]
    assert asked == list(range(CUT, PAGES))
    resumed = current(cache, "azure")
    assert resumed != before
    assert not (cache / FOLDER).exists()
    assert run("refresh", "azure", "--accept").code == 0
    assert current(cache, "azure") == resumed  # read from its start, it is the same


def google(number: int) -> bytes:
    rate = {"currencyCode": "USD", "units": str(5 + number), "nanos": 0}
    expression = {"usageUnit": "h", "tieredRates": [{"startUsageAmount": 0, "unitPrice": rate}]}
    sku = {
        "skuId": f"S{number}", "description": "Nvidia Tesla T4 GPU running in Americas",
        "category": {"usageType": "OnDemand"}, "serviceRegions": [f"us-east{number}"],
        "pricingInfo": [{"effectiveTime": "2026-01-01T00:00:00Z", "pricingExpression": expression}],
    }  # fmt: skip
    token = f"token-{number + 1}" if number + 1 < PAGES else ""
    return json.dumps({"skus": [sku], "nextPageToken": token}).encode()


def serve_google(fake: FakeCloud, route: Callable[[Asked], Reply]) -> None:
    fake.serve("/gcp", route)
    for path in ("/tpu", "/vertex"):
        fake.serve_json(path, {"skus": []})


def test_google_goes_on_with_the_token_of_the_page_where_it_was_killed(fake: FakeCloud, cache: Path) -> None:
    before = current(cache, "gcp")
    serve_google(fake, pages("pageToken", [CUT], google))
    killed(fake, "gcp", lambda: any(asked.query.get("pageToken") == f"token-{CUT}" for asked in fake.asked))
    kept = [path for path in (cache / FOLDER).rglob("*") if path.is_file()]
    assert len(kept) >= CUT
    assert not [path for path in kept if b"canary-8d11fe20" in path.read_bytes()]
    assert current(cache, "gcp") == before
    assert run("refresh", "gcp", "--accept").code == 0
    asked = [a.query.get("pageToken", "token-0") for a in fake.asked if a.path == "/gcp"]
    assert asked == [f"token-{number}" for number in range(CUT, PAGES)]
    resumed = current(cache, "gcp")
    assert resumed != before
    assert run("refresh", "gcp", "--accept").code == 0
    assert current(cache, "gcp") == resumed


def test_a_token_that_no_longer_holds_makes_the_list_begin_anew(fake: FakeCloud, cache: Path) -> None:
    """He would have believed that a refresh is stuck: the same half list, and the same refusal, each time."""
    serve_google(fake, pages("pageToken", [CUT], google))
    killed(fake, "gcp", lambda: any(asked.query.get("pageToken") == f"token-{CUT}" for asked in fake.asked))
    calls: list[str] = []

    def route(asked: Asked) -> Reply:
        token = asked.query.get("pageToken", "token-0")
        calls.append(token)
        if token == f"token-{CUT}" and len(calls) == 1:
            return Reply(status=400, body=b"invalid page token")
        return Reply(body=google(int(token.removeprefix("token-"))))

    serve_google(fake, route)
    assert run("refresh", "gcp", "--accept").code == 0
    assert calls == [f"token-{CUT}", *(f"token-{number}" for number in range(PAGES))]


@pytest.fixture
def table(fake: FakeCloud, tmp_path: Path) -> bytes:
    """Amazon's file of one region, of three of the steps in which it is noted how far one was read."""
    bulk.build(tmp_path / "aws", 24 << 20)
    for path in (tmp_path / "aws").rglob("*.json"):
        fake.serve(f"/{path.relative_to(tmp_path / 'aws')}", path.read_bytes())
    return bulk.price_file(tmp_path / "aws").read_bytes()


def test_aws_goes_on_within_the_file_where_it_was_killed(fake: FakeCloud, cache: Path, table: bytes) -> None:
    before = current(cache, "aws")
    fake.serve(TABLE, lambda _: Reply(body=table, headers={"ETag": '"v1"'}, fault="hang"))
    killed(fake, "aws", lambda: any(path.stat().st_size > 2000 for path in (cache / FOLDER).rglob("*.part")))
    assert current(cache, "aws") == before
    fake.serve_file(TABLE, table, '"v1"')
    assert run("refresh", "aws", "--accept").code == 0
    (asked,) = [a for a in fake.asked if a.path == TABLE]
    begin = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 4 << 20 <= begin <= len(table) // 2
    assert asked.headers["if-range"] == '"v1"'
    resumed = current(cache, "aws")
    assert resumed != before
    assert run("refresh", "aws", "--accept").code == 0
    assert current(cache, "aws") == resumed


def test_a_file_of_another_version_is_read_from_its_start(fake: FakeCloud, cache: Path, table: bytes) -> None:
    """He would have believed prices of two versions of one list, side by side."""
    fake.serve(TABLE, lambda _: Reply(body=table, headers={"ETag": '"v1"'}, fault="hang"))
    killed(fake, "aws", lambda: any(path.stat().st_size > 2000 for path in (cache / FOLDER).rglob("*.part")))
    newer = table.replace(b'"13.1090400000"', b'"13.1190000000"')
    fake.serve_file(TABLE, newer, '"v2"')
    assert run("refresh", "aws", "--accept").code == 0
    (asked,) = [a for a in fake.asked if a.path == TABLE]
    assert "range" in asked.headers
    (price,) = [o["price_per_hour"] for o in current(cache, "aws") if of_dl1(o)]
    assert price == "13.119"


def of_dl1(row: Mapping[str, str]) -> bool:
    return (row["instance"], row["region"], row["market"]) == ("dl1.24xlarge", "us-east-1", "on_demand")
