"""DigitalOcean's sizes with accelerators: price per hour of the machine, and the regions that have it.

The list needs a token. A size that no region has keeps its price: sold out is not unpriced.
"""

from collections.abc import Iterator, Mapping

from cloudaccel.facts.listing import Line, LineList, Shape, api_key, count_of, one_accelerator, size
from cloudaccel.model import Source

PROVIDER = "digitalocean"
# docs.digitalocean.com/reference/api (list all droplet sizes); an answer of 2025 stands in dstackai/gpuhunt@10755df.
BASE_URL = "https://api.digitalocean.com/v2/sizes"
KEYS = ("DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_TOKEN")  # environment variables
PAGE = 200  # the most that one call gives
# Names without a form factor, as the seller's own price page has them (tardellirs/gpu-pricing@8f09a68, 2026-05-24).
_SXM = {"nvidia_h100": "nvidia-h100-sxm-80gb", "nvidia_h200": "nvidia-h200-sxm"}


class DigitalOceanPrices(LineList):
    """The list of droplet sizes, which needs a token (`KEYS`)."""

    provider = PROVIDER
    operation = "sizes"
    sources = (BASE_URL,)
    source = Source(
        id="digitalocean-sizes", name="DigitalOcean sizes", path="v2/sizes", revision="v2",
        licence="the seller's own API", url=BASE_URL,
    )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every size with accelerators."""
        headers = {"Authorization": f"Bearer {api_key(PROVIDER, *KEYS)}"}
        for page in self.pages(self._following, {"per_page": str(PAGE), "page": "1"}, headers):
            for kind in self.mappings(page.get("sizes"), "sizes"):
                if kind.get("gpu_info"):
                    gpu = self.mapping(kind["gpu_info"], "gpu_info")
                    shape = _shape(str(kind.get("slug")), kind, gpu, self.mapping(gpu.get("vram"), "vram"))
                    price = self.money(kind.get("price_hourly"), shape.instance)
                    yield Line(shape=shape, amount=price, regions=self.texts(kind.get("regions"), "regions"))

    def _following(self, page: Mapping[str, object], number: int) -> Mapping[str, str] | None:
        # Only whether there is a next page is taken from the link: no list sends us to another host.
        links = self.mapping(page.get("links") or {}, "links")
        return {"page": str(number)} if self.mapping(links.get("pages") or {}, "pages").get("next") else None


def _shape(slug: str, kind: Mapping[str, object], gpu: Mapping[str, object], vram: Mapping[str, object]) -> Shape:
    total, memory, counted = size(vram.get("amount")), size(kind.get("memory")), count_of(gpu.get("count"))
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
