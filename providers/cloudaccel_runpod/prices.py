"""Runpod's types of accelerator: the price of one, in its own data centres and on hosts of others.

No account is needed. A price is of one accelerator, whatever the machine; it is never multiplied into one.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction

from cloudaccel.facts.listing import Listed, Place, PriceList, Shape, Terms, make_offer, one_accelerator, size
from cloudaccel.model import Offer, Source
from cloudaccel.protocols import Scope

PROVIDER = "runpod"
# Query and fields as dstackai/gpuhunt@0272c27 and others use them; the endpoint itself was not called.
BASE_URL = "https://api.runpod.io/graphql"
ANYWHERE = "global"
_FIELDS = "id displayName memoryInGb secureCloud communityCloud"
_PRICES = "securePrice communityPrice secureSpotPrice communitySpotPrice"
_QUERY = f"query GpuTypes {{ gpuTypes {{ {_FIELDS} {_PRICES} }} }}"
_TIERS = ("secure", "community")
_SOURCE = Source(
    id="runpod-gpu-types", name="Runpod GPU types", path="graphql", revision=None, licence="the seller's own API",
    url=BASE_URL,
)  # fmt: skip


class RunpodPrices(PriceList):
    """The list of GPU types."""

    provider = PROVIDER
    operation = "gpuTypes"
    sources = (BASE_URL,)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of `scope`: on demand in each tier that a type is sold in, and spot where it has a price.

        Raises
        ------
        MalformedResponse
            If the answer has not the documented shape.
        """
        if scope.partition != PROVIDER or scope.region not in (None, ANYWHERE):
            return
        with self.web.ask(BASE_URL, body={"query": _QUERY}) as answer:
            page = self.mapping(answer.json(), "the page")
        data = self.mapping(page.get("data"), "data")
        for entry in self.sequence(data.get("gpuTypes"), "gpuTypes"):
            kind = self.mapping(entry, "a type")
            for tier in _TIERS:
                if kind.get(f"{tier}Cloud") is True:
                    yield from self._offers(kind, tier)

    def _offers(self, kind: Mapping[str, object], tier: str) -> Iterator[Offer]:
        shape = _shape(kind)
        place = Place(provider=PROVIDER, partition=PROVIDER, region=ANYWHERE)
        for market, field in (("on_demand", f"{tier}Price"), ("spot", f"{tier}SpotPrice")):
            price = self.money(kind.get(field), shape.instance)
            if price is None and market == "spot":
                continue  # not every type can be bid for
            listed = Listed(amount=price, currency="USD", observed_at=self._now(), source=_SOURCE)
            yield make_offer(place, shape, Terms(market=market, offering_class=tier), listed)


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
