"""The contract of a price adapter as a test suite: subclass `PricesContract`, fake your source, run pytest.

    class TestAcme(PricesContract):
        def prices(self) -> Prices:
            return AcmePrices()

        def serve(self, cloud: FakeCloud) -> None:
            cloud.serve_json("/v1/prices", SAMPLE)

Each test reads the adapter through the product's own client, with the first of its `sources` sent to the fake. Tests
open sockets on 127.0.0.1 only. An adapter without `sources` (it reads a file) skips what is about the network.
"""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager

import pytest

from cloudaccel.catalog.offers import row_of
from cloudaccel.catalog.rows import offer_checker
from cloudaccel.catalog.web import Connection, HttpWeb, Limits
from cloudaccel.errors import ProviderError
from cloudaccel.model import Offer, identified
from cloudaccel.protocols import Answer, Json, Prices, Web
from cloudaccel.testing.cloud import FakeCloud, Reply

QUICK = Limits(tries=2, backoff_s=0, longest_wait_s=1, silence_s=2.0, deadline_s=10.0)


class Refuse:
    """A `Web` that no one may use."""

    def ask(
        self,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> AbstractContextManager[Answer]:
        """Fail: nothing may be asked now."""
        raise AssertionError(f"asked {url} ({query}, {headers}, {body}) where nothing may be asked")


class Note:
    """A `Web` that notes every address and asks another."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self.urls: list[str] = []

    def ask(
        self,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> AbstractContextManager[Answer]:
        """Note `url`, then ask."""
        self.urls.append(url)
        return self.web.ask(url, query=query, headers=headers, body=body)


class PricesContract:
    """What every price adapter keeps. `prices` and `serve` are yours to give; `web` may be changed too."""

    def prices(self) -> Prices:
        """The adapter under test, as its provider makes it."""
        raise NotImplementedError("return the adapter")

    def serve(self, cloud: FakeCloud) -> None:
        """Give the fake what your source answers. Needs at least one offer."""
        raise NotImplementedError("give the fake its routes")

    def web(self, cloud: FakeCloud) -> Web:
        """A client that asks the fake in place of each source."""
        mirrors = dict.fromkeys(self.prices().sources, cloud.url)
        return HttpWeb("contract", Connection(mirrors=mirrors), QUICK)

    @contextmanager
    def cloud(self) -> Generator[FakeCloud]:
        """The fake, serving."""
        with FakeCloud(hang_s=10) as cloud:
            self.serve(cloud)
            yield cloud

    def read(self, cloud: FakeCloud) -> list[Offer]:
        """Every offer of every scope."""
        prices = self.prices().over(self.web(cloud))
        return [offer for scope in prices.scopes() for offer in prices.offers(scope)]

    def test_making_one_asks_nobody(self) -> None:
        prices = self.prices().over(Refuse())
        strange = [source for source in prices.sources if not source.startswith("https://")]
        assert not strange, f"no https address: {strange}"

    @pytest.mark.network
    def test_scopes_are_apart(self) -> None:
        with self.cloud() as cloud:
            scopes = self.prices().over(self.web(cloud)).scopes()
        assert scopes, "an adapter without a scope can never be read"
        assert len(set(scopes)) == len(scopes), f"a scope is there twice: {scopes}"
        whole = {(s.provider, s.partition) for s in scopes if s.region is None}
        assert not [s for s in scopes if s.region and (s.provider, s.partition) in whole], (
            "a region would be read twice"
        )

    @pytest.mark.network
    def test_offers_belong_to_their_scope(self) -> None:
        with self.cloud() as cloud:
            prices = self.prices().over(self.web(cloud))
            for scope in prices.scopes():
                for offer in prices.offers(scope):
                    where = (offer.provider, offer.partition, scope.region and offer.region)
                    asked = (scope.provider, scope.partition, scope.region)
                    assert where == asked, f"{offer.instance} is of {where}, the scope is {asked}"

    @pytest.mark.network
    def test_offers_are_well_formed(self) -> None:
        check = offer_checker()
        with self.cloud() as cloud:
            offers = self.read(cloud)
        assert offers, "the fake must serve at least one offer"
        faults = [f"{offer.instance}: {fault}" for offer in offers if (fault := check(row_of(offer)))]
        assert not faults, faults
        assert [offer.instance for offer in offers if not offer.price.as_of] == [], "a price needs the date it was read"
        assert [offer.id for offer in offers if identified(offer).id != offer.id] == [], (
            "finish offers with identified()"
        )

    @pytest.mark.network
    def test_no_two_offers_have_one_key(self) -> None:
        with self.cloud() as cloud:
            ids = [offer.id for offer in self.read(cloud)]
        assert sorted(ids) == sorted(set(ids)), "two raw rows became one offer: tell them apart, or refuse both"

    @pytest.mark.network
    def test_the_same_answer_gives_the_same_offers(self) -> None:
        with self.cloud() as cloud:
            assert self.read(cloud) == self.read(cloud), "two readings of one answer differ"

    @pytest.mark.network
    def test_only_its_sources_are_asked(self) -> None:
        with self.cloud() as cloud:
            note = Note(self.web(cloud))
            prices = self.prices().over(note)
            for scope in prices.scopes():
                list(prices.offers(scope))
        strange = [url for url in note.urls if not url.startswith(tuple(prices.sources))]
        assert not strange, f"not below its sources: {strange}"

    @pytest.mark.network
    @pytest.mark.parametrize("fault", ["cut", "html", "empty", "error", "reset"])
    def test_a_fault_on_any_call_is_an_error_never_a_shorter_list(self, fault: str) -> None:
        if not self.prices().sources:
            pytest.skip("asks no network")
        with self.cloud() as cloud:
            self.read(cloud)
            calls = len(cloud.asked)
            for place in range(calls):
                with Broken(cloud, place, fault):
                    self._must_fail(cloud, f"call {place} was broken ({fault}) and the rest was handed on as the whole")

    def _must_fail(self, cloud: FakeCloud, otherwise: str) -> None:
        try:
            self.read(cloud)
        except ProviderError:
            return
        pytest.fail(otherwise)


class Broken:
    """While entered, call number `place` and all after it, so also each repeat of it, fail in one way."""

    def __init__(self, cloud: FakeCloud, place: int, fault: str) -> None:
        self._cloud = cloud
        self._place = place
        self._fault = fault

    def __enter__(self) -> None:
        self._cloud.asked.clear()
        self._cloud.damage = self._damage

    def __exit__(self, *_: object) -> None:
        self._cloud.damage = None

    def _damage(self, number: int, reply: Reply) -> Reply:
        if number < self._place:
            return reply
        if self._fault == "empty":
            return Reply()
        if self._fault == "error":
            return Reply(status=503, body=b"{}")
        return Reply(body=reply.body, headers=reply.headers, fault=self._fault)


__all__ = ["QUICK", "Note", "PricesContract", "Refuse"]
