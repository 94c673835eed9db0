"""Verda's instance types: on demand and spot, in the locations that have one free now.

The list needs the client id and secret of an account. A type that is free nowhere keeps its price.
"""

import re
from collections.abc import Iterator, Mapping

from cloudaccel.facts.listing import Line, LineList, Shape, Terms, api_key, count_of, one_accelerator, size
from cloudaccel.model import Source
from cloudaccel.protocols import Json

PROVIDER = "verda"
# api.verda.com/v1/docs; an answer stands in dstackai/gpuhunt@4149df9 (2026). The endpoint itself was not called.
BASE_URL = "https://api.verda.com/v1"
ID, SECRET = "VERDA_CLIENT_ID", "VERDA_CLIENT_SECRET"  # environment variables
_MARKETS = {"on_demand": "price_per_hour", "spot": "spot_price"}


class VerdaPrices(LineList):
    """The list of instance types, which needs an account (`ID`, `SECRET`)."""

    provider = PROVIDER
    operation = "instance-types"
    sources = (BASE_URL,)
    source = Source(
        id="verda-instance-types", name="Verda instance types", path="v1/instance-types", revision="v1",
        licence="the seller's own API", url=f"{BASE_URL}/instance-types",
    )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every type with accelerators, on demand and, where it is sold so, spot."""
        headers = {"Authorization": f"Bearer {self._token()}"}
        types = self._get("instance-types", headers)
        free = {market: self._free(market, headers) for market in _MARKETS}
        for kind in self.mappings(types, "the types"):
            gpu = self.mapping(kind.get("gpu"), "gpu")
            if gpu.get("number_of_gpus") == 0:
                continue
            shape = self._shape(kind, gpu)
            for market, field in _MARKETS.items():
                price = self.money(kind.get(field), shape.instance)
                if price is not None or market != "spot":  # not every type is sold so
                    yield Line(
                        shape=shape, amount=price, currency=self._currency_of(kind), terms=Terms(market=market),
                        regions=free[market].get(shape.instance, ()),
                    )  # fmt: skip

    def _token(self) -> str:
        body: Json = {
            "grant_type": "client_credentials",
            "client_id": api_key(PROVIDER, ID),
            "client_secret": api_key(PROVIDER, SECRET),
        }
        with self.web.ask(f"{BASE_URL}/oauth2/token", body=body) as answer:
            token = self.mapping(answer.json(), "the token").get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self.malformed("no access token")
        return token

    def _get(self, path: str, headers: Mapping[str, str], query: Mapping[str, str] | None = None) -> Json:
        with self.web.ask(f"{BASE_URL}/{path}", query=query, headers=headers) as answer:
            return answer.json()

    def _free(self, market: str, headers: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        """Locations by the types that are free there."""
        found: dict[str, tuple[str, ...]] = {}
        answer = self._get("instance-availability", headers, {"is_spot": "true" if market == "spot" else "false"})
        for location in self.mappings(answer, "availability"):
            code = location.get("location_code")
            if not isinstance(code, str) or not code:
                raise self.malformed("a location without a code")
            for name in self.texts(location.get("availabilities"), "availabilities"):
                found[name] = (*found.get(name, ()), code)
        return found

    def _currency_of(self, kind: Mapping[str, object]) -> str:
        currency = str(kind.get("currency") or "").upper()
        if not re.fullmatch("[A-Z]{3}", currency):
            raise self.malformed(f"{str(kind.get('instance_type'))[:60]}: no currency")
        return currency

    def _shape(self, kind: Mapping[str, object], gpu: Mapping[str, object]) -> Shape:
        title = re.sub(r"^\d+x ", "", str(gpu.get("description") or kind.get("name") or ""))
        counted = count_of(gpu.get("number_of_gpus"))
        total = size(self.mapping(kind.get("gpu_memory"), "gpu_memory").get("size_in_gigabytes"))
        each = total / float(counted) if total and counted else None  # the list has the memory of the whole machine
        known = one_accelerator(title, each)
        return Shape(
            instance=str(kind.get("instance_type"))[:120],
            accelerator_id=known,
            accelerator_name=title[:80] or "unknown",
            count=counted,
            accelerator_memory_gib=None if known else each,
            vcpus=size(self.mapping(kind.get("cpu"), "cpu").get("number_of_cores")),
            memory_gib=size(self.mapping(kind.get("memory"), "memory").get("size_in_gigabytes")),
        )


__all__ = ["BASE_URL", "ID", "SECRET", "VerdaPrices"]
