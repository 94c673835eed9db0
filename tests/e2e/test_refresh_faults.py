"""What can go wrong while a list is read, one test for each: the old rows stay whole, and the exit code says why."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.catalog import fetch, store
from cloudaccel.catalog.web import Connection, HttpWeb, Limits
from cloudaccel.errors import ProviderUnavailable
from cloudaccel.protocols import Scope
from cloudaccel.testing.cloud import Asked, FakeCloud, Reply, Route
from cloudaccel_aws.prices import GLOBAL, AwsPrices
from cloudaccel_aws.savings import HOME
from cloudaccel_lambda.prices import BASE_URL as LAMBDA
from cloudaccel_oci.prices import BASE_URL as OCI
from tests.benchmarks import bulk
from tests.e2e.test_refresh_live import CANARY, SAMPLE, cache, cloud, products
from tests.support import run

__all__ = ["cache", "cloud"]  # fixtures
pytestmark = pytest.mark.network
LIMITS = Limits(tries=1)


@pytest.fixture
def taken(cloud: FakeCloud, cache: Path) -> bytes:
    """The catalog after one good refresh, as bytes."""
    assert run("refresh", "oci").code == 0
    return (cache / "catalog.sqlite").read_bytes()


def unslept(_: float) -> None:
    """Between attempts, no time."""


def always(reply: Reply) -> Route:
    """A route that never says anything else."""

    def route(_: Asked) -> Reply:
        return reply

    return route


def of_another_shape(value: object) -> bytes:
    return json.dumps(value).encode()


FAULTS = {
    "cut mid-page": Reply(body=products(), fault="cut"),
    "reset": Reply(fault="reset"),
    "a page for people": Reply(fault="html"),
    "wrong JSON": Reply(body=b'{"items": [}'),
    "JSON of another shape": Reply(body=of_another_shape({"items": {"0": 1}})),
    "a list of nothing": Reply(body=of_another_shape({"items": []})),
    "a number": Reply(body=b"17"),
    "deep nesting": Reply(body=b'{"items":' + b"[" * 100_000),
    "NaN": Reply(body=products().replace(b'"value": ', b'"value": NaN, "x": ')),
    "429 storm": Reply(status=429, headers={"Retry-After": "0"}),
    "503 storm": Reply(status=503),
    "a redirect without end": Reply(status=302, headers={"Location": "/oci/"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_the_catalog_is_byte_for_byte_the_old_one(
    cloud: FakeCloud, cache: Path, taken: bytes, fault: str
) -> None:
    cloud.serve("/oci/", always(FAULTS[fault]))
    answer = run("refresh", "oci")
    assert answer.code in (0, 8), answer.err
    assert answer.code == 8 or "rejected" in answer.out  # read whole, and not believed
    assert ", keeping 2" in answer.out
    assert (cache / "catalog.sqlite").read_bytes() == taken
    assert run("refresh", "oci", "--strict").code == 6
    said = [line for line in run("refresh", "--status").out.splitlines() if line.startswith("oci")]
    assert any("last taken" in line and "tried" in line for line in said)
    assert run("refresh", "--verify").code == 0


def test_a_name_that_nobody_resolves_is_a_failure_of_that_seller_alone(
    cloud: FakeCloud, cache: Path, taken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDACCEL_MIRRORS", f"{OCI}=https://prices.invalid/oci/")

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr("time.sleep", unslept)
    answer = run("refresh", "oci")
    assert answer.code == 8
    assert "prices.invalid" in answer.err
    assert (cache / "catalog.sqlite").read_bytes() == taken


@pytest.mark.parametrize("value", [-1, 0, 1e300, 1e-300, "1,5", "x", None, True, {}, [], "9" * 400])
def test_a_price_that_cannot_be_is_no_price(cloud: FakeCloud, cache: Path, taken: bytes, value: object) -> None:
    body = json.loads(json.dumps(SAMPLE))
    for item in body["items"]:
        for local in item["currencyCodeLocalizations"]:
            for price in local["prices"]:
                price["value"] = value
    cloud.serve("/oci/", json.dumps(body).encode())
    answer = run("refresh", "oci", "--accept")
    assert answer.code in (0, 8), answer.err
    assert "Traceback" not in answer.err
    opened = store.open_catalog(str(cache / "catalog.sqlite"), cache)
    amounts = opened.db.execute(
        "SELECT o.amount FROM offer o JOIN place p ON p.id = o.place WHERE p.provider = 'oci' AND o.current"
    ).fetchall()
    opened.close()
    assert all(amount is None or 0 < amount < 10**15 for (amount,) in amounts)


@pytest.mark.parametrize("name", ["x" * 20_000, "a\x1b[31mred", "a\x00b", "../../etc/passwd", "\u202eevil"])
def test_a_hostile_name_reaches_no_terminal_and_no_path(cloud: FakeCloud, cache: Path, taken: bytes, name: str) -> None:
    body = json.loads(json.dumps(SAMPLE))
    for item in body["items"]:
        item["displayName"] = item["displayName"] + name
        item["partNumber"] = name
    cloud.serve("/oci/", json.dumps(body).encode())
    answer = run("refresh", "oci")
    assert "\x1b" not in answer.out + answer.err
    assert "\x00" not in answer.out + answer.err
    assert max(map(len, answer.err.splitlines() or [""])) < 2000


def test_u116_a_key_that_comes_back_inside_valid_json_is_kept_nowhere(
    cloud: FakeCloud, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He would have believed that only errors repeat a key: a list may carry it as the name of a machine."""
    monkeypatch.setenv("LAMBDA_API_KEY", CANARY)
    kind: dict[str, Any] = {"name": f"gpu_{CANARY}", "description": CANARY, "price_cents_per_hour": 100, "specs": {}}
    good: dict[str, Any] = {"data": {f"gpu_{CANARY}": {"instance_type": kind, "regions_with_capacity_available": []}}}
    cloud.serve("/lambda", json.dumps(good).encode())
    cloud.serve("/lambda/instance-types", json.dumps(good).encode())
    answer = run("refresh", "lambda", "--json")
    assert any(CANARY in str(asked.headers) for asked in cloud.asked)
    assert answer.code == 8
    assert CANARY not in answer.out + answer.err
    assert not [path for path in cache.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeCloud, Path]]:
    folder = tmp_path_factory.mktemp("aws")
    bulk.build(folder, 1 << 20)
    with FakeCloud(hang_s=5) as fake:
        for path in folder.rglob("*.json"):
            fake.serve(f"/{path.relative_to(folder)}", path.read_bytes())
        yield fake, bulk.price_file(folder)


def read_aws(fake: FakeCloud, limits: Limits = LIMITS) -> Any:
    web = HttpWeb("aws", Connection(mirrors={GLOBAL: f"{fake.url}/aws", HOME: f"{fake.url}/plans"}), limits)
    scope = Scope(provider="aws", partition="aws", region="us-east-1")
    return fetch.read_scope(AwsPrices().over(web), scope)


@pytest.mark.parametrize("fault", ["cut", "hang"])
def test_half_a_csv_gives_no_row_of_its_region(served: tuple[FakeCloud, Path], fault: str) -> None:
    """A CSV has no closing bracket: half of one reads like a shorter list."""
    fake, path = served
    where = "/aws/AmazonEC2/1/us-east-1/index.csv"
    fake.serve(where, path.read_bytes())
    assert len(read_aws(fake).rows) == bulk.kept()
    fake.serve(where, always(Reply(body=path.read_bytes(), fault=fault)))
    with pytest.raises(ProviderUnavailable, match="Nothing of it is used"):
        read_aws(fake, replace(LIMITS, silence_s=0.5))


def test_the_calls_of_a_refresh_are_few_and_counted(served: tuple[FakeCloud, Path]) -> None:
    """An accelerator refresh of one region: index, its file, and the indexes of what is sold beside machines."""
    fake, path = served
    fake.serve("/aws/AmazonEC2/1/us-east-1/index.csv", path.read_bytes())
    fake.asked.clear()
    read_aws(fake)
    assert 2 <= len(fake.asked) <= 25, [asked.path for asked in fake.asked]
    assert len({asked.path for asked in fake.asked}) == len(fake.asked)  # nothing is asked twice


def test_the_calls_of_a_small_sellers_refresh_are_counted(cloud: FakeCloud) -> None:
    cloud.asked.clear()
    assert run("refresh", "oci").code == 0
    assert len(cloud.asked) <= 2, [asked.path for asked in cloud.asked]


def test_the_lambda_mirror_is_the_published_one() -> None:
    assert LAMBDA.startswith("https://")
