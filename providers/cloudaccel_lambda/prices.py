"""Lambda's instance types: price in cents per hour of the machine, and the regions that have one free now.

The list needs an API key. A type with no free machine keeps its price: sold out is not unpriced.
"""

import re
from collections.abc import Iterator, Mapping

from cloudaccel.facts.listing import Line, LineList, Shape, api_key, count_of, one_accelerator, size
from cloudaccel.model import Source

PROVIDER = "lambda"
# As dstackai/gpuhunt@3584151 (2026-08-19) calls it; the endpoint itself was not called.
BASE_URL = "https://cloud.lambdalabs.com/api/v1/instance-types"
KEY = "LAMBDA_API_KEY"  # the environment variable


class LambdaPrices(LineList):
    """The list of instance types, which needs an API key (`KEY`)."""

    provider = PROVIDER
    operation = "instance-types"
    sources = (BASE_URL,)
    source = Source(
        id="lambda-instance-types", name="Lambda instance types", path="api/v1/instance-types", revision="v1",
        licence="the seller's own API", url=BASE_URL,
    )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every type with accelerators, in the regions that have one free."""
        page = self.page(headers={"Authorization": f"Bearer {api_key(PROVIDER, KEY)}"})
        for name, value in self.mapping(page.get("data"), "data").items():
            entry = self.mapping(value, name)
            kind = self.mapping(entry.get("instance_type"), "instance_type")
            specs = self.mapping(kind.get("specs"), "specs")
            if specs.get("gpus") == 0:
                continue
            cents = self.money(kind.get("price_cents_per_hour"), name)
            free = self.mappings(entry.get("regions_with_capacity_available", []), "regions")
            regions = self.texts([region.get("name") for region in free], "regions")
            yield Line(shape=_shape(name, kind, specs), amount=cents / 100 if cents else None, regions=regions)


def _shape(name: str, kind: Mapping[str, object], specs: Mapping[str, object]) -> Shape:
    raw = str(kind.get("gpu_description") or name)
    # "H100 (80 GB SXM5)" → "H100 80GB SXM5"
    plain = re.sub(r"\((\d+) GB", r"\1GB", raw).rstrip(")")
    return Shape(
        instance=name,
        accelerator_id=one_accelerator(plain),
        accelerator_name=raw[:80],
        count=count_of(specs.get("gpus")),
        vcpus=size(specs.get("vcpus")),
        memory_gib=size(specs.get("memory_gib")),
    )


__all__ = ["BASE_URL", "KEY", "LambdaPrices"]
