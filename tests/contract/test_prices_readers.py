"""The contract suite on the price lists that come with the product, each over its own shape."""

import json
from pathlib import Path

import pytest

from cloudaccel.protocols import Prices
from cloudaccel.testing.cloud import Asked, FakeCloud, Reply
from cloudaccel.testing.prices import PricesContract
from cloudaccel_azure import china
from cloudaccel_azure.prices import BASE_URL, AzurePrices
from cloudaccel_gcp.prices import GcpPrices
from cloudaccel_lambda.prices import LambdaPrices
from cloudaccel_oci.prices import OciPrices

GOLDEN = Path(__file__).parents[1] / "golden/prices"


class TestAzure(PricesContract):
    def prices(self) -> Prices:
        return AzurePrices()

    def serve(self, cloud: FakeCloud) -> None:
        """Two pages of real items; the list of the government's regions, and China's sheet, have assembled ones."""
        first = json.loads((GOLDEN / "azure_westus_2026.json").read_text())["Items"]
        second = json.loads((GOLDEN / "azure_h100_eastus_2026-09-16.json").read_text())["Items"]
        gov = [{**second[0], "armRegionName": "usgovvirginia"}]
        pages = {"": (first, f"{BASE_URL}?$skip=1000"), "1000": (second, None), "gov": (gov, None)}

        named = {"DownloadUrl": f"{china.FILES}/2026/AzureRetailPrices.csv?sig=a%2Bb", "LastRefreshedAt": "2026-11-01"}

        def route(asked: Asked) -> Reply:
            if "$filter" not in asked.query and "$skip" not in asked.query:
                return Reply(body=json.dumps(named).encode())
            name = "gov" if "usgov" in asked.query.get("$filter", "") else asked.query.get("$skip", "")
            items, following = pages[name]
            return Reply(body=json.dumps({"Items": items, "NextPageLink": following}).encode())

        cloud.serve("", route)
        cloud.serve("/2026/AzureRetailPrices.csv", (GOLDEN / "azure_china_2026.csv").read_bytes())


class TestGcp(PricesContract):
    @pytest.fixture(autouse=True)
    def key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CLOUDACCEL_GCP_API_KEY", "canary-7c")

    def prices(self) -> Prices:
        return GcpPrices()

    def serve(self, cloud: FakeCloud) -> None:
        """A real page, and a last one that is empty."""
        page = json.loads((GOLDEN / "gcp_a100_2023.json").read_text())

        def route(asked: Asked) -> Reply:
            if asked.headers.get("x-goog-api-key") != "canary-7c":
                return Reply(status=403)
            last = bool(asked.query.get("pageToken"))
            body: object = {"skus": [], "nextPageToken": ""} if last else {**page, "nextPageToken": "2"}
            return Reply(body=json.dumps(body).encode())

        cloud.serve("", route)


class TestOci(PricesContract):
    def prices(self) -> Prices:
        return OciPrices()

    def serve(self, cloud: FakeCloud) -> None:
        cloud.serve("/", (GOLDEN / "oci_gpu_2023.json").read_bytes())


class TestLambda(PricesContract):
    @pytest.fixture(autouse=True)
    def key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LAMBDA_API_KEY", "canary-7c")

    def prices(self) -> Prices:
        return LambdaPrices()

    def serve(self, cloud: FakeCloud) -> None:
        """One type that is free in two regions, and one that is sold out; assembled."""
        data = {
            name: {
                "instance_type": {
                    "gpu_description": gpu,
                    "price_cents_per_hour": cents,
                    "specs": {"vcpus": 208, "memory_gib": 1800, "gpus": 8},
                },
                "regions_with_capacity_available": [{"name": region} for region in regions],
            }
            for name, gpu, cents, regions in (
                ("gpu_8x_h100_sxm5", "H100 (80 GB SXM5)", 2392, ("us-east-1", "us-west-2")),
                ("gpu_8x_a100_80gb_sxm4", "A100 (80 GB SXM4)", 1432, ()),
            )
        }
        cloud.serve_json("", {"data": data})
