"""The contract suite, on an adapter that keeps it and on adapters that break it in the ways that adapters do."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import pytest

from cloudaccel.errors import MalformedResponse
from cloudaccel.model import Availability, Offer, Price, Source, identified
from cloudaccel.protocols import Prices, Scope, Web
from cloudaccel.testing.cloud import Asked, FakeCloud, Reply
from cloudaccel.testing.prices import PricesContract, Refuse

HOME = "https://prices.acme.example"
PAGES: Mapping[str, Any] = {
    "": {"items": [{"region": "north", "type": "a8", "usd": "16.10"}], "next": "2"},
    "2": {"items": [{"region": "north", "type": "a4", "usd": "8.05"}], "next": None},
}


class AcmePrices:
    """Two pages of one region."""

    sources: Sequence[str] = (HOME,)

    def __init__(self, web: Web | None = None) -> None:
        self._web = web or Refuse()

    def over(self, web: Web) -> Prices:
        return type(self)(web)

    def scopes(self) -> Sequence[Scope]:
        return (Scope(provider="acme", partition="acme", region="north"),)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        page: str | None = ""
        while page is not None:
            items, page = self.page(page)
            for item in items:
                yield self.offer(scope, item)

    def page(self, name: str) -> tuple[list[dict[str, str]], str | None]:
        with self._web.ask(f"{HOME}/v1/list", query={"page": name}) as answer:
            body = answer.json()
        if not isinstance(body, dict) or "items" not in body:
            raise MalformedResponse("acme: a page without items", provider="acme")
        found = cast("dict[str, Any]", body)
        return found["items"], found["next"]

    def offer(self, scope: Scope, item: Mapping[str, str]) -> Offer:
        source = Source(id="acme", name="Acme", path="list", revision=None, licence="public", url=HOME)
        return identified(
            Offer(
                id="", provider=scope.provider, partition=scope.partition, region=item["region"], zone=None,
                country=None, operator_country=None, service="vm", instance=item["type"],
                accelerator_id="nvidia-h100-sxm-80gb",
                accelerator_name="H100", count=Fraction(item["type"][1:]), accelerator_memory_gib=80.0, hosts=1,
                sold_per="instance", vcpus=None, memory_gib=None, market="on_demand", term=None, payment=None,
                offering_class=None, availability=Availability("listed"),
                price=Price(
                    amount=Decimal(item["usd"]), currency="USD", status="exact", as_of="2026-11-25", as_of_until=None,
                    source=source,
                ),
            )
        )  # fmt: skip


def serve(cloud: FakeCloud) -> None:
    def route(asked: Asked) -> Reply:
        return Reply(body=json.dumps(PAGES[asked.query.get("page", "")]).encode())

    cloud.serve("/v1/list", route)


class TestAcme(PricesContract):
    def prices(self) -> Prices:
        return AcmePrices()

    def serve(self, cloud: FakeCloud) -> None:
        serve(cloud)


class Forgiving(AcmePrices):
    """Takes a page that cannot be had for the end of the list."""

    def page(self, name: str) -> tuple[list[dict[str, str]], str | None]:
        try:
            return super().page(name)
        except Exception:
            return [], None


class Twice(AcmePrices):
    """Reads each page twice."""

    def offers(self, scope: Scope) -> Iterator[Offer]:
        yield from super().offers(scope)
        yield from super().offers(scope)


class Nameless(AcmePrices):
    """Does not finish its offers."""

    def offer(self, scope: Scope, item: Mapping[str, str]) -> Offer:
        return replace(super().offer(scope, item), id="1")


class Stray(AcmePrices):
    """Hands on a row of another region."""

    def offer(self, scope: Scope, item: Mapping[str, str]) -> Offer:
        return super().offer(scope, {**item, "region": "south"})


@pytest.mark.network
@pytest.mark.parametrize(
    ("adapter", "test", "said"),
    [
        (Forgiving, "test_a_fault_on_any_call_is_an_error_never_a_shorter_list", "handed on"),
        (Twice, "test_no_two_offers_have_one_key", "one offer"),
        (Nameless, "test_offers_are_well_formed", "identified"),
        (Stray, "test_offers_belong_to_their_scope", "south"),
    ],
)
def test_the_suite_finds_what_an_adapter_does_wrong(adapter: type[AcmePrices], test: str, said: str) -> None:
    class Suite(PricesContract):
        def prices(self) -> Prices:
            return adapter()

        def serve(self, cloud: FakeCloud) -> None:
            serve(cloud)

    with pytest.raises((AssertionError, pytest.fail.Exception), match=said):
        getattr(Suite(), test)(*(["cut"] if adapter is Forgiving else []))
