"""DigitalOcean's sizes with accelerators: price per hour of the machine, and the regions that have it.

The list needs a token. A size that no region has keeps its price: sold out is not unpriced.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction

from cloudaccel.facts.listing import Listed, Place, PriceList, Shape, Terms, api_key, make_offer, one_accelerator, size
from cloudaccel.model import Offer, Source
from cloudaccel.protocols import Scope

PROVIDER = "digitalocean"
# docs.digitalocean.com/reference/api (list all droplet sizes); an answer of 2025 stands in dstackai/gpuhunt@10755df.
BASE_URL = "https://api.digitalocean.com/v2/sizes"
KEYS = ("DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_TOKEN")  # environment variables
ANYWHERE = "global"
PAGE = 200  # the most that one call gives
_MAX_PAGES = 50
# Names without a form factor, as the seller's own price page has them (tardellirs/gpu-pricing@8f09a68, 2026-05-24).
_SXM = {"nvidia_h100": "nvidia-h100-sxm-80gb", "nvidia_h200": "nvidia-h200-sxm"}
_SOURCE = Source(
    id="digitalocean-sizes", name="DigitalOcean sizes", path="v2/sizes", revision="v2", licence="the seller's own API",
    url=BASE_URL,
)  # fmt: skip


class DigitalOceanPrices(PriceList):
    """The list of droplet sizes, which needs a token (`KEYS`)."""

    provider = PROVIDER
    operation = "sizes"
    sources = (BASE_URL,)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of `scope`; a size that no region has is offered in region ``global``.

        Raises
        ------
        ProviderError
            If a page cannot be had, or has not the documented shape.
        """
        if scope.partition != PROVIDER:
            return
        for kind in self._sizes():
            gpu = self.mapping(kind["gpu_info"], "gpu_info")
            shape = _shape(str(kind.get("slug")), kind, gpu, self.mapping(gpu.get("vram"), "vram"))
            price = self.money(kind.get("price_hourly"), shape.instance)
            listed = Listed(amount=price, currency="USD", observed_at=self._now(), source=_SOURCE)
            for region in self._regions(kind) or (ANYWHERE,):
                if scope.region in (None, region):
                    place = Place(provider=PROVIDER, partition=PROVIDER, region=region)
                    yield make_offer(place, shape, Terms(), listed)

    def _sizes(self) -> Iterator[Mapping[str, object]]:
        key = api_key(PROVIDER, *KEYS)
        for number in range(1, _MAX_PAGES + 1):
            query = {"per_page": str(PAGE), "page": str(number)}
            page = self.page(query, {"Authorization": f"Bearer {key}"})
            for entry in self.sequence(page.get("sizes"), "sizes"):
                kind = self.mapping(entry, "a size")
                if kind.get("gpu_info"):
                    yield kind
            # Only whether there is a next page is taken from the link: no list sends us to another host.
            links = self.mapping(page.get("links") or {}, "links")
            if not self.mapping(links.get("pages") or {}, "pages").get("next"):
                return
        raise self.malformed("the pages do not end")

    def _regions(self, kind: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(str(region) for region in self.sequence(kind.get("regions"), "regions") if region)


def _shape(slug: str, kind: Mapping[str, object], gpu: Mapping[str, object], vram: Mapping[str, object]) -> Shape:
    count, total, memory = gpu.get("count"), size(vram.get("amount")), size(kind.get("memory"))
    counted = Fraction(count) if isinstance(count, int) and 0 < count <= 64 else None
    each = total / float(counted) if total and counted and vram.get("unit") == "gib" else None
    model = str(gpu.get("model") or slug)
    known = _SXM.get(model) or one_accelerator(model.replace("_", " "), each)
    return Shape(
        instance=slug,
        accelerator_id=known,
        accelerator_name=model[:80],
        count=counted,
        accelerator_memory_gib=None if known else each,
        vcpus=size(kind.get("vcpus")),
        memory_gib=memory / 1024 if memory else None,  # the list has MiB
    )


__all__ = ["BASE_URL", "KEYS", "DigitalOceanPrices"]
