"""Vultr's plans with accelerators: virtual machines with whole or shared ones, by location. No account is needed.

A plan names its accelerator and the memory of all of it; the count follows from the memory of one. Bare metal is not
read: the list does not say what such a plan holds.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.listing import Line, LineList, Shape, one_accelerator, size
from cloudaccel.model import Source

PROVIDER = "vultr"
# www.vultr.com/api (list plans); fields as dstackai/gpuhunt@099365c reads them. The endpoint itself was not called.
BASE_URL = "https://api.vultr.com/v2/plans"
_TOLERANCE = 0.07  # makers count memory in several ways
# Names without a form factor: the seller's price page (read by tardellirs/gpu-pricing@8f09a68, 2026-05-24).
_FORMS = {"NVIDIA_A100": "nvidia-a100-pcie-80gb", "NVIDIA_GH200": "nvidia-gh200-96gb"}


class VultrPrices(LineList):
    """The list of plans of cloud GPUs."""

    provider = PROVIDER
    operation = "plans"
    sources = (BASE_URL,)
    source = Source(
        id="vultr-plans", name="Vultr plans", path="v2/plans", revision="v2", licence="public price list", url=BASE_URL
    )

    def lines(self) -> Iterator[Line]:
        """Every plan with accelerators."""
        for page in self.pages(self._following, {"type": "vcg", "per_page": "500"}):
            for plan in self.mappings(page.get("plans"), "plans"):
                if plan.get("gpu_type"):
                    shape = _shape(plan)
                    price = self.money(plan.get("hourly_cost"), shape.instance)
                    yield Line(shape=shape, amount=price, regions=self.texts(plan.get("locations"), "locations"))

    def _following(self, page: Mapping[str, object], _number: int) -> Mapping[str, str] | None:
        links = self.mapping(self.mapping(page.get("meta"), "meta").get("links"), "links")
        return {"cursor": str(links["next"])} if links.get("next") else None


def _shape(plan: Mapping[str, object]) -> Shape:
    name, memory = str(plan["gpu_type"]), size(plan.get("ram"))
    video = plan.get("gpu_vram_gb")
    known = _FORMS.get(name) or one_accelerator(name.replace("_", " "))
    count = _count(known, video) if isinstance(video, int | Decimal) and video > 0 else None
    return Shape(
        instance=str(plan.get("id"))[:120],
        accelerator_id=known,
        accelerator_name=name[:80],
        count=count,
        accelerator_memory_gib=size(video) if count is not None and count < 1 else None,
        vcpus=size(plan.get("vcpu_count")),
        memory_gib=memory / 1024 if memory else None,  # the list has MiB
    )


def _count(accelerator_id: str | None, video: int | Decimal) -> Fraction | None:
    """How many accelerators, or which part of one, have `video` GiB; None where it fits no whole number and no part."""
    one = by_id(accelerator_id).memory_gib if accelerator_id else None
    if not one:
        return None
    whole = round(float(video) / one)
    if whole >= 1:
        return Fraction(whole) if abs(float(video) / whole - one) <= one * _TOLERANCE else None
    part = Fraction(video) / Fraction(one).limit_denominator(100)
    return part if part.denominator <= 64 else None


__all__ = ["BASE_URL", "VultrPrices"]
