"""Runpod's types of accelerator: the price of one, in its own data centres and on hosts of others.

No account is needed. A price is of one accelerator, whatever the machine; it is never multiplied into one.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction

from cloudaccel.facts.listing import Line, LineList, Shape, Terms, one_accelerator, size
from cloudaccel.model import Source

PROVIDER = "runpod"
# Query and fields as dstackai/gpuhunt@0272c27 and others use them; the endpoint itself was not called.
BASE_URL = "https://api.runpod.io/graphql"
_FIELDS = "id displayName memoryInGb secureCloud communityCloud"
_PRICES = "securePrice communityPrice secureSpotPrice communitySpotPrice"
_QUERY = f"query GpuTypes {{ gpuTypes {{ {_FIELDS} {_PRICES} }} }}"
_TIERS = ("secure", "community")


class RunpodPrices(LineList):
    """The list of GPU types: on demand in each tier that a type is sold in, and spot where it has a price."""

    provider = PROVIDER
    operation = "gpuTypes"
    sources = (BASE_URL,)
    source = Source(
        id="runpod-gpu-types", name="Runpod GPU types", path="graphql", revision=None, licence="the seller's own API",
        url=BASE_URL,
    )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every type in every tier and market that it is sold in."""
        page = self.page(body={"query": _QUERY})
        data = self.mapping(page.get("data"), "data")
        for kind in self.mappings(data.get("gpuTypes"), "gpuTypes"):
            for tier in _TIERS:
                if kind.get(f"{tier}Cloud") is True:
                    yield from self._lines(kind, tier)

    def _lines(self, kind: Mapping[str, object], tier: str) -> Iterator[Line]:
        shape = _shape(kind)
        for market, field in (("on_demand", f"{tier}Price"), ("spot", f"{tier}SpotPrice")):
            price = self.money(kind.get(field), shape.instance)
            if price is not None or market != "spot":  # not every type can be bid for
                yield Line(shape=shape, amount=price, terms=Terms(market=market, offering_class=tier))


def _shape(kind: Mapping[str, object]) -> Shape:
    identity, title = str(kind.get("id") or ""), str(kind.get("displayName") or "")
    memory = size(kind.get("memoryInGb"))
    known = one_accelerator(identity, memory) or one_accelerator(title, memory)
    return Shape(
        instance=identity[:120] or title[:120],
        accelerator_id=known,
        accelerator_name=(title or identity)[:80],
        count=Fraction(1),
        accelerator_memory_gib=None if known else memory,
        sold_per="accelerator",
        hosts=None,
    )


__all__ = ["BASE_URL", "RunpodPrices"]
