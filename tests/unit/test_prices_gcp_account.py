"""What a project is told of machine types, through google-cloud-compute over HTTP from 127.0.0.1."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudaccel.errors import ProviderError
from cloudaccel.model import Offer
from cloudaccel.testing.cloud import Asked, FakeCloud, Reply

pytest.importorskip("google.cloud.compute_v1")

from cloudaccel_gcp import offered
from cloudaccel_gcp.prices import offers_of_skus
from cloudaccel_gcp.sdk import ENDPOINT_ENV, Sdk
from tests.unit.test_prices_gcp import CORE, GPU, RAM, SSD

pytestmark = pytest.mark.network
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PATH = "/compute/v1/projects/fake-project/aggregated/machineTypes"


def machine(name: str, kind: str, count: int, cpus: int = 208, memory: int = 1_916_928, **more: Any) -> dict[str, Any]:
    """One type in the shape of a recorded answer of 2021 and of names seen until 2026."""
    held = [{"guestAcceleratorType": kind, "guestAcceleratorCount": count}]
    return {"name": name, "guestCpus": cpus, "memoryMb": memory, "accelerators": held, **more}


EIGHT = machine("a3-highgpu-8g", "nvidia-h100-80gb", 8)
EMPTY = {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "none"}}


@pytest.fixture(name="cloud")
def _cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    with FakeCloud() as cloud:
        monkeypatch.setenv(ENDPOINT_ENV, cloud.url)
        monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
        yield cloud


def told(cloud: FakeCloud, *pages: dict[str, Any]) -> offered.Offered:
    def route(asked: Asked) -> Reply:
        number = int(asked.query.get("pageToken", 0))
        following = {"nextPageToken": str(number + 1)} if number + 1 < len(pages) else {}
        items = {f"zones/{zone}": answer for zone, answer in pages[number].items()}
        return Reply(body=json.dumps({"id": "x", "items": items, **following}).encode())

    cloud.serve(PATH, route)
    return offered.ask(Sdk(), NOW)


def priced() -> dict[str, Offer]:
    return {offer.instance: offer for offer in offers_of_skus([GPU, CORE, RAM, SSD], now=NOW)}


def test_a_machine_that_no_zone_of_the_region_offers_is_not_seen_there(cloud: FakeCloud) -> None:
    """The catalog prices A2 in regions that never had one: a plan there would have waited for ever."""
    pages = ({"us-central1-a": {"machineTypes": [EIGHT]}}, {"us-central1-b": EMPTY, "us-east4-a": EMPTY})
    here = told(cloud, *pages)
    assert here.seen(priced()["a3-highgpu-8g"]).availability == ("offered", "2026-11-25")
    elsewhere = told(cloud, {"us-central1-a": EMPTY})
    seen = elsewhere.seen(priced()["a3-highgpu-8g"])
    assert (seen.availability.state, seen.apart) == ("not_seen", ("not_seen",))
    assert here.seen(priced()["a3-highgpu-4g"]).availability.state == "not_sold"


def test_trap_57_a_zone_that_does_not_answer_says_nothing_of_its_region_and_stops_no_other(cloud: FakeCloud) -> None:
    silent = {"warning": {"code": "UNREACHABLE", "message": "503"}}
    here = told(cloud, {"us-central1-a": silent, "us-east4-a": {"machineTypes": [EIGHT]}})
    assert here.asked == {"us-east4"}
    assert here.seen(priced()["a3-highgpu-8g"]).availability.state == "listed"


def test_trap_58_a_new_series_is_shown_on_the_day_it_is_offered(cloud: FakeCloud) -> None:
    """A list of known series hides the next one until the next release."""
    new = machine("a5-highgpu-8g", "nvidia-r200", 8, cpus=256, memory=4_194_304)
    tpu = machine("ct6e-standard-8t", "ct6e", 8)
    gone = machine("a2-oldgpu-1g", "nvidia-tesla-a100", 1, deprecated={"state": "OBSOLETE"})
    here = told(cloud, {"us-central1-a": {"machineTypes": [EIGHT, new, tpu, gone]}})
    (offer,) = here.unpriced({("us-central1", "a3-highgpu-8g")}, None)
    assert (offer.instance, offer.accelerator_id, offer.count, offer.vcpus) == ("a5-highgpu-8g", None, 8, 256)
    assert (offer.price.amount, offer.availability.state) == (None, "offered")
    assert list(here.unpriced(set(), "us-east4")) == []


def test_a_refused_call_is_an_error_and_nobody_is_asked_unless_wanted(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.serve(PATH, lambda _: Reply(status=403, body=b'{"error": {"code": 403, "message": "no"}}'))
    with pytest.raises(ProviderError):
        offered.ask(Sdk(), NOW)
    monkeypatch.delenv(offered.WANTED, raising=False)
    assert not offered.wanted()
