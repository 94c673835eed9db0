"""Oracle's price list: a part number per kind of accelerator, the same price in every commercial region.

The list needs no account. ``data/shapes.csv`` says which shape is billed by which part and how many accelerators it
has; a part that no shape is known for is offered as one accelerator, its machine unknown.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache

from cloudaccel.facts.listing import (
    Listed,
    Place,
    PriceList,
    Shape,
    Terms,
    amount,
    make_offer,
    malformed,
    mapping,
    sequence,
)
from cloudaccel.facts.loader import read_table
from cloudaccel.model import Offer, PricePart, Source
from cloudaccel.protocols import Scope

PROVIDER = "oci"
OPERATION = "cetools/products"
# As opencost/opencost@f21a777c (2024-01-19) calls it; the endpoint itself was not called.
BASE_URL = "https://apexapps.oracle.com/pls/apex/cetools/api/v1/products/"
_PLACE = Place(provider=PROVIDER, partition="oc1", region="global")
_METRIC = "GPU Per Hour"
_SOURCE = Source(
    id="oci-price-list", name="Oracle Cloud price list", path="cetools/api/v1/products", revision="v1",
    licence="public price list", url=BASE_URL,
)  # fmt: skip


class OciPrices(PriceList):
    """The public price list, in one currency."""

    provider = PROVIDER
    operation = OPERATION
    sources = (BASE_URL,)

    def scopes(self) -> Sequence[Scope]:
        """The one list, of realm ``oc1``."""
        return (Scope(provider=PROVIDER, partition=_PLACE.partition, region=_PLACE.region),)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of realm ``oc1``, in region ``global``: the list has no regions.

        Raises
        ------
        MalformedResponse
            If the answer has not the documented shape.
        """
        if scope.partition != _PLACE.partition or scope.region not in (None, _PLACE.region):
            return
        page = self.page({"currencyCode": self._currency})
        yield from offers_of_products(products_of_page(page), now=self._now(), currency=self._currency)


def products_of_page(page: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The products of a decoded answer. Raises `MalformedResponse`."""
    for item in sequence(page.get("items"), provider=PROVIDER, operation=OPERATION, what="items"):
        yield mapping(item, provider=PROVIDER, operation=OPERATION, what="a product")


def offers_of_products(
    products: Iterable[Mapping[str, object]], *, now: datetime, currency: str = "USD"
) -> Iterator[Offer]:
    """Offers of shapes billed per accelerator-hour. Another currency than the one asked for is no price.

    Raises
    ------
    MalformedResponse
        If the price of such a product is no amount of money.
    """
    for product in products:
        if product.get("metricName") != _METRIC:
            continue
        part, name = str(product.get("partNumber", "")), str(product.get("displayName", ""))[:120]
        price = _unit_price(product, part, currency)
        for shape in shapes().get(part) or (_unknown_shape(part, name),):
            yield make_offer(_PLACE, shape, Terms(), _listed(shape, part, price, currency, now))


def _unit_price(product: Mapping[str, object], part: str, currency: str) -> Decimal | None:
    """Pay-as-you-go price of one accelerator-hour; None when the list has none in `currency`."""
    found: set[Decimal] = set()
    localizations = product.get("currencyCodeLocalizations")
    for entry in sequence(localizations, provider=PROVIDER, operation=OPERATION, what="currencyCodeLocalizations"):
        local = mapping(entry, provider=PROVIDER, operation=OPERATION, what="a currency")
        if local.get("currencyCode") != currency:
            continue
        for one in sequence(local.get("prices"), provider=PROVIDER, operation=OPERATION, what="prices"):
            price = mapping(one, provider=PROVIDER, operation=OPERATION, what="a price")
            try:
                value = amount(price.get("value"))
            except ValueError as error:
                raise malformed(PROVIDER, OPERATION, f"part {part[:40]}: {error}") from None
            # A free tier stands as 0 beside the price.
            if price.get("model") == "PAY_AS_YOU_GO" and value is not None:
                found.add(value)
    return found.pop() if len(found) == 1 else None


def _listed(shape: Shape, part: str, price: Decimal | None, currency: str, now: datetime) -> Listed:
    if price is None:
        note = f"the list has no single price of part {part} in {currency}"
        return Listed(amount=None, currency=currency, observed_at=now, source=_SOURCE, note=note)
    if shape.sold_per == "accelerator" or shape.count is None:
        return Listed(amount=price, currency=currency, observed_at=now, source=_SOURCE, note="for one accelerator")
    quantity = Decimal(shape.count.numerator)
    line = PricePart(shape.accelerator_name, quantity, price, quantity * price, part)
    return Listed(amount=line.amount, currency=currency, observed_at=now, source=_SOURCE, parts=(line,))


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


__all__ = ["BASE_URL", "OciPrices", "offers_of_products", "products_of_page", "shapes"]
