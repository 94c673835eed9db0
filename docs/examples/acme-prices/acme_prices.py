"""Acme Cloud's machine types: on demand and spot, by region. The list needs a token."""

from collections.abc import Iterator, Mapping

from cloudaccel.facts.listing import Line, LineList, Shape, Terms, api_key, count_of, one_accelerator, size
from cloudaccel.model import Source

BASE_URL = "https://api.acme.example/v1/machine-types"  # docs.acme.example/api, read on 2026-11-27
KEY = "ACME_TOKEN"  # the environment variable
_MARKETS = {"on_demand": "usd_per_hour", "spot": "spot_usd_per_hour"}


class AcmePrices(LineList):
    """The list of machine types."""

    provider = "acme"
    operation = "machine-types"  # what its errors call the call
    sources = (BASE_URL,)
    source = Source(
        id="acme-machine-types", name="Acme machine types", path="v1/machine-types", revision="v1",
        licence="the seller's own API", url=BASE_URL,
    )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every machine type with accelerators, in each market that it is sold in."""
        headers = {"Authorization": f"Bearer {api_key(self.provider, KEY)}"}
        for page in self.pages(_following, {"page": "1"}, headers):
            for kind in self.mappings(page.get("machine_types"), "machine_types"):
                if kind.get("gpus") != 0:
                    yield from self._lines(kind)

    def _lines(self, kind: Mapping[str, object]) -> Iterator[Line]:
        shape = _shape(kind)
        for market, field in _MARKETS.items():
            price = self.money(kind.get(field), shape.instance)
            if price is not None or market == "on_demand":  # not every type is sold as spot
                yield Line(
                    shape=shape,
                    amount=price,
                    terms=Terms(market=market),
                    regions=self.texts(kind.get("regions"), "regions"),
                )


def _following(page: Mapping[str, object], number: int) -> Mapping[str, str] | None:
    return {"page": str(number)} if page.get("more") is True else None


def _shape(kind: Mapping[str, object]) -> Shape:
    name, memory = str(kind.get("gpu") or "unknown"), size(kind.get("gpu_memory_gb"))
    known = one_accelerator(name, memory)
    return Shape(
        instance=str(kind.get("name"))[:120],
        accelerator_id=known,
        accelerator_name=name[:80],
        count=count_of(kind.get("gpus")),
        accelerator_memory_gib=None if known else memory,  # of a known one the table says it
        vcpus=size(kind.get("vcpus")),
        memory_gib=size(kind.get("ram_gib")),
    )
