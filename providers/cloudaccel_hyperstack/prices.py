"""Hyperstack's flavors with accelerators, each at its count times the pricebook's price of one accelerator.

Both lists need an API key. The pricebook prices accelerators by name, with the host's vCPUs, memory and disks included;
a name that ends in ``-spot`` is the same card sold as spot. What an account has a discount on is shown at list price.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from cloudaccel.facts.listing import Line, LineList, Shape, Terms, api_key, count_of, one_accelerator, size, text
from cloudaccel.model import PricePart, Source

PROVIDER = "hyperstack"
# docs.hyperstack.cloud/docs/api-reference (list flavors; retrieve pricebook), read 2026-11-27. Names and amounts in
# texts ("1.9", "0E-9") as public programs that read both have them. The endpoints themselves were not called.
BASE_URL = "https://infrahub-api.nexgencloud.com/v1"
KEY = "HYPERSTACK_API_KEY"  # environment variable
_SPOT, _BRIDGED = "-spot", "-NVLink"  # the bridge joins PCIe cards; it makes no other card of them


class HyperstackPrices(LineList):
    """The flavors of every region and the pricebook, which need an API key (`KEY`)."""

    provider = PROVIDER
    operation = "pricebook"
    sources = (BASE_URL,)
    source = Source(
        id="hyperstack-pricebook", name="Hyperstack pricebook", path="v1/pricebook", revision="v1",
        licence="the seller's own API", url=f"{BASE_URL}/pricebook",
    )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every flavor with accelerators, in the region that lists it; without a price where the pricebook has none."""
        headers = {"api_key": api_key(PROVIDER, KEY)}
        each = self._pricebook(headers)
        page = self.page(url=f"{BASE_URL}/core/flavors", headers=headers)
        if page.get("status") is False:
            raise self.malformed(f"flavors: {text(page, 'message')[:120]}")
        for group in self.mappings(page.get("data"), "the flavors"):
            for flavor in self.mappings(group.get("flavors"), "flavors"):
                name = text(flavor, "gpu") or text(group, "gpu")
                region = text(flavor, "region_name") or text(group, "region_name")
                if name and region:
                    yield self._line(flavor, name, region, each.get(name))

    def _line(self, flavor: Mapping[str, object], name: str, region: str, each: Decimal | None) -> Line:
        count, card = count_of(flavor.get("gpu_count")), name.removesuffix(_SPOT)
        shape = Shape(
            instance=text(flavor, "name")[:120],
            accelerator_id=one_accelerator(card.removesuffix(_BRIDGED)),
            accelerator_name=card[:80],
            count=count,
            vcpus=size(flavor.get("cpu")),
            memory_gib=size(flavor.get("ram")),
        )
        amount, parts = None, ()
        if each is not None and count is not None:
            amount = each * int(count)
            parts = (PricePart(name[:80], Decimal(int(count)), each, amount),)
        terms = Terms(market="on_demand" if card == name else "spot")
        return Line(shape=shape, amount=amount, regions=(region,), terms=terms, parts=parts)

    def _pricebook(self, headers: Mapping[str, str]) -> Mapping[str, Decimal | None]:
        """List price of one accelerator by name; None for a name with two of them in force that differ."""
        with self.web.ask(f"{BASE_URL}/pricebook", headers=headers) as answer:
            entries = answer.json()
        found: dict[str, Decimal | None] = {}
        for entry in self.mappings(entries, "the pricebook"):
            name = text(entry, "name")
            field = "original_value" if entry.get("discount_applied") is True else "value"
            price = self.money(entry.get(field), name)
            if price is not None and self._in_force(entry, name):
                found[name] = price if found.get(name, price) == price else None  # once None, always
        return found

    def _in_force(self, entry: Mapping[str, object], name: str) -> bool:
        start, end = (self._moment(entry.get(field), name) for field in ("start_time", "end_time"))
        return (start is None or start <= self._now()) and (end is None or self._now() < end)

    def _moment(self, value: object, name: str) -> datetime | None:
        if value is None or value == "":
            return None
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            raise self.malformed(f"{name[:60]}: {str(value)[:40]!r} is no time") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


__all__ = ["BASE_URL", "KEY", "HyperstackPrices"]
