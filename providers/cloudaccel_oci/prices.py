"""Oracle's price list: a part number per kind of accelerator, the same price in every commercial region.

The list needs no account. ``data/shapes.csv`` says which shape is billed by which part and how many accelerators it
has; a part that no shape is known for is offered as one accelerator, its machine unknown.
"""

import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache

from cloudaccel.facts.listing import Line, LineList, Shape
from cloudaccel.facts.loader import read_table
from cloudaccel.model import PricePart, Source

PROVIDER = "oci"
# As opencost/opencost@f21a777c (2024-01-19) calls it; the endpoint itself was not called.
BASE_URL = "https://apexapps.oracle.com/pls/apex/cetools/api/v1/products/"
_METRIC = "GPU Per Hour"


class OciPrices(LineList):
    """The public price list, in one currency; it has no regions."""

    provider = PROVIDER
    partition = "oc1"
    operation = "cetools/products"
    sources = (BASE_URL,)
    source = Source(
        id="oci-price-list", name="Oracle Cloud price list", path="cetools/api/v1/products", revision="v1",
        licence="public price list", url=BASE_URL,
    )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every shape billed per accelerator-hour. Another currency than the one asked for is no price."""
        page = self.page({"currencyCode": self._currency})
        for product in self.mappings(page.get("items"), "items"):
            if product.get("metricName") == _METRIC:
                part, name = str(product.get("partNumber", "")), str(product.get("displayName", ""))[:120]
                price = self._unit_price(product, part)
                for shape in shapes().get(part) or (_unknown_shape(part, name),):
                    yield self._line(shape, part, price)

    def _unit_price(self, product: Mapping[str, object], part: str) -> Decimal | None:
        """Pay-as-you-go price of one accelerator-hour; None when the list has none in the currency, or several."""
        found: set[Decimal] = set()
        for local in self.mappings(product.get("currencyCodeLocalizations"), "currencyCodeLocalizations"):
            if local.get("currencyCode") != self._currency:
                continue
            for price in self.mappings(local.get("prices"), "prices"):
                value = self.money(price.get("value"), f"part {part}")
                # A free tier stands as 0 beside the price.
                if price.get("model") == "PAY_AS_YOU_GO" and value is not None:
                    found.add(value)
        return found.pop() if len(found) == 1 else None

    def _line(self, shape: Shape, part: str, price: Decimal | None) -> Line:
        if price is None:
            note = f"the list has no single price of part {part} in {self._currency}"
            return Line(shape=shape, amount=None, currency=self._currency, note=note)
        if shape.sold_per == "accelerator" or shape.count is None:
            return Line(shape=shape, amount=price, currency=self._currency, note="for one accelerator")
        quantity = Decimal(shape.count.numerator)
        line = PricePart(shape.accelerator_name, quantity, price, quantity * price, part)
        return Line(shape=shape, amount=line.amount, currency=self._currency, parts=(line,))


def _unknown_shape(part: str, name: str) -> Shape:
    return Shape(
        instance=f"part/{part}", accelerator_id=None, accelerator_name=name, count=None, sold_per="accelerator",
        hosts=None,
    )  # fmt: skip


@cache
def shapes() -> Mapping[str, tuple[Shape, ...]]:
    """Shapes by the part number that bills their accelerators."""
    table = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "shapes.csv")
    grouped: dict[str, list[Shape]] = {}
    for row in read_table(table):
        shape = Shape(
            instance=row["shape"], service=row["service"], accelerator_id=row["accelerator_id"],
            accelerator_name=row["accelerator_name"], count=Fraction(row["count"]), vcpus=float(row["vcpus"]),
            memory_gib=float(row["memory_gib"]),
        )  # fmt: skip
        grouped.setdefault(row["part_number"], []).append(shape)
    return {part: tuple(members) for part, members in grouped.items()}


__all__ = ["BASE_URL", "OciPrices", "shapes"]
