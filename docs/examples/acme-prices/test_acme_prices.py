"""The contract of every price adapter, on Acme's documented answer; and what is Acme's own."""

import json
from decimal import Decimal

import pytest
from acme_prices import KEY, AcmePrices

from cloudaccel.protocols import Prices
from cloudaccel.testing.cloud import Asked, FakeCloud, Reply
from cloudaccel.testing.prices import PricesContract

A8 = {
    "name": "a8", "gpus": 8, "gpu": "H100 SXM", "gpu_memory_gb": 80, "vcpus": 192, "ram_gib": 2048,
    "usd_per_hour": "16.10", "spot_usd_per_hour": None, "regions": ["north", "south"],
}  # fmt: skip
X2 = {**A8, "name": "x2", "gpus": 2, "gpu": "X900", "usd_per_hour": "0.00", "regions": []}


def route(asked: Asked) -> Reply:
    """Two pages, as docs.acme.example/api has them."""
    if asked.headers.get("authorization") != "Bearer a-token":
        return Reply(status=401)
    first = asked.query["page"] == "1"
    body = {"machine_types": [A8 if first else X2], "more": first}
    return Reply(body=json.dumps(body).encode())


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token that the fake wants."""
    monkeypatch.setenv(KEY, "a-token")


class TestAcme(PricesContract):
    """The whole suite that our own adapters pass."""

    def prices(self) -> Prices:
        """The adapter, as the entry point makes it."""
        return AcmePrices()

    def serve(self, cloud: FakeCloud) -> None:
        """The address of the source itself; what is below it would begin with a slash."""
        cloud.serve("", route)

    def test_a_price_of_0_is_none_and_an_unknown_gpu_is_told(self) -> None:
        """What only this list can get wrong."""
        with self.cloud() as cloud:
            north, south, x2 = self.read(cloud)
        assert (north.region, south.region, north.price.amount) == ("north", "south", Decimal("16.10"))
        assert (north.accelerator_id, north.count) == ("nvidia-h100-sxm-80gb", 8)
        assert (x2.price.amount, x2.accelerator_id, x2.accelerator_name, x2.region) == (None, None, "X900", "global")
