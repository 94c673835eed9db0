"""Google's Cloud Billing Catalog: no machine has a price there, so each is put together from its parts.

A machine is vCPUs + memory + accelerators + the local disks that come with it. One missing part and the whole is
unpriced: a host without its accelerators is no price. What a machine holds is ``data/machine_types.csv``; which part a
SKU is, ``skus.py`` reads. Vertex AI sells the same machines at prices of its own for each part.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import product
from typing import NamedTuple

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.listing import (
    NANO_UNIT,
    Listed,
    Place,
    PriceList,
    Shape,
    Terms,
    amount,
    api_key,
    make_offer,
    malformed,
    mapping,
    one_accelerator,
    sequence,
    text,
)
from cloudaccel.facts.loader import read_table
from cloudaccel.facts.names import slices
from cloudaccel.model import HOURS_PER_MONTH, Availability, Offer, PricePart, Source
from cloudaccel.protocols import Scope
from cloudaccel_gcp import offered
from cloudaccel_gcp.sdk import Sdk
from cloudaccel_gcp.skus import FLEX, Named, gpu_key, named

PROVIDER = "gcp"
OPERATION = "services.skus.list"
# cloud.google.com/billing/docs/reference/rest/v1/services.skus/list; the endpoint itself was not called.
BASE_URL = "https://cloudbilling.googleapis.com/v1/services/6F81-5844-456A/skus"  # Compute Engine
TPU_URL = "https://cloudbilling.googleapis.com/v1/services/E000-3F24-B8AA/skus"  # Cloud TPU: v2 to v4 alone
VERTEX_URL = "https://cloudbilling.googleapis.com/v1/services/C7E2-9256-1C43/skus"  # Vertex AI
KEYS = ("CLOUDACCEL_GCP_API_KEY", "GOOGLE_API_KEY")  # environment variables, the first that is set
MAX_PAGES = 200  # of 5,000 SKUs; Compute Engine has some 30,000
_GIB_IN_GB = Decimal("1.073741824")
_TPU_IDS = {
    version: f"google-tpu-{version}" for version in ("v2", "v3", "v4", "v5e", "v5p", "v6e", "v7x")
}  # fmt: skip
_CHIPS = 4  # of the eight cores that v2 to v4 are sold by, two a chip (cloud.google.com/tpu/docs, v4; read 2026-11)
# Sizes of N1 that accelerators are attached to (cloud.google.com/compute/docs/general-purpose-machines, as of 2026-07).
_N1 = "N1"
_N1_VCPUS = (4, 8, 16, 32, 64, 96)
_N1_GIB = {"standard": 3.75, "highmem": 6.5}  # for each vCPU
_NO_PRICE = "no price per hour in the catalog"
_SOURCE = Source(
    id="gcp-billing-catalog", name="Google Cloud Billing Catalog", path="services/6F81-5844-456A/skus", revision="v1",
    licence="public price list", url=BASE_URL,
)  # fmt: skip


class _Unit(NamedTuple):
    """Price of one vCPU, GiB of memory, accelerator or GiB of local disk; None where it is disputed."""

    price: Decimal | None
    sku: str
    currency: str
    effective_at: str
    disputed: bool = False


class _Machine(NamedTuple):
    """`series` "": the accelerators' price is that of the machine. `not_sold`: markets that have no such machine."""

    shape: Shape
    series: str
    gpu: str
    local_ssd_gib: Decimal
    not_sold: frozenset[str]


class _Part(NamedTuple):
    """A part of a machine: which unit it is, what it is called, and how many there are."""

    what: Named
    name: str
    quantity: Decimal


@dataclass(slots=True)
class _Book:
    """Unit prices by region and by what they are of."""

    units: dict[tuple[str, Named], _Unit] = field(default_factory=dict[tuple[str, Named], _Unit])

    def put(self, key: tuple[str, Named], unit: _Unit) -> None:
        """Keep `unit`; a SKU with another price makes the resource disputed, in whatever order they come."""
        known = self.units.get(key)
        if known is None or (known.price is None and not known.disputed):
            self.units[key] = unit
        elif unit.price not in (None, known.price):
            # A SKU without a price is no second opinion.
            self.units[key] = known._replace(price=None, sku=f"{known.sku}|{unit.sku}"[:200], disputed=True)


class GcpPrices(PriceList):
    """The public catalog, which needs an API key of its project and no right at all (`KEYS`)."""

    provider = PROVIDER
    operation = OPERATION
    sources = (BASE_URL, TPU_URL, VERTEX_URL)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of `scope`. The catalog is one for all regions: a region is picked out of it.

        Raises
        ------
        MalformedResponse
            If a page has not the documented shape, or pages never end.
        """
        if scope.partition != "gcp":
            return
        found = offers_of_skus(self._skus(), now=self._now(), region=scope.region)
        if not offered.wanted():
            yield from found
            return
        told, priced = offered.ask(Sdk(), self._now()), set[tuple[str, str]]()
        for offer in found:
            priced.add((offer.region, offer.instance))
            yield told.seen(offer)
        yield from told.unpriced(priced, scope.region)

    def _skus(self) -> Iterator[Mapping[str, object]]:
        headers = {"X-Goog-Api-Key": api_key(PROVIDER, *KEYS)}
        for url in self.sources:
            yield from self._skus_of(url, headers)

    def _skus_of(self, url: str, headers: Mapping[str, str]) -> Iterator[Mapping[str, object]]:
        query = {"pageSize": "5000", "currencyCode": self._currency}
        for _ in range(MAX_PAGES):
            page = self.page(query, headers, url=url)
            yield from skus_of_page(page)
            if not (token := text(page, "nextPageToken")):
                return
            query["pageToken"] = token
        raise self.malformed("the pages do not end")


def skus_of_page(page: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The SKUs of one decoded page. Raises `MalformedResponse`."""
    for sku in sequence(page.get("skus"), provider=PROVIDER, operation=OPERATION, what="skus"):
        yield mapping(sku, provider=PROVIDER, operation=OPERATION, what="a SKU")


def offers_of_skus(
    skus: Iterable[Mapping[str, object]], *, now: datetime, region: str | None = None
) -> Iterator[Offer]:
    """Offers of machines with accelerators, and of accelerators that no machine of the table has, one each.

    Keeps one unit price of each resource and region, not the SKUs.

    Raises
    ------
    MalformedResponse
        If a SKU of such a resource has a price that is no amount of money.
    """
    book = _Book()
    for sku in skus:
        if (what := _named(sku)) is None:
            continue
        unit = _unit(sku, what.resource)
        for place in sequence(sku.get("serviceRegions"), provider=PROVIDER, operation=OPERATION, what="serviceRegions"):
            if isinstance(place, str) and place != "global" and region in (None, place):
                book.put((place, what), unit)
    for (place, what), unit in book.units.items():
        kind, _, name = what.resource.partition(" ")
        where = Place(provider=PROVIDER, partition="gcp", region=place)
        if kind == "gpu":
            yield from _with_accelerator(book, where, what, unit, now)
        elif kind in ("tpu", "device", "pod"):
            yield from _tpu(where, what.terms, kind, name, unit, now)


def _named(sku: Mapping[str, object]) -> Named | None:
    """What a SKU is of; None for what no machine with accelerators is made of."""
    category = mapping(sku.get("category"), provider=PROVIDER, operation=OPERATION, what="category")
    found = named(text(sku, "description"), text(category, "usageType"), text(category, "resourceGroup"))
    if found is None:
        return None
    kind, _, name = found.resource.partition(" ")
    if kind in ("core", "ram"):
        return found if name in _series() else None
    # The table's spelling stands for all spellings of the same accelerator.
    known = machine_types().get(gpu_key(name), ()) if kind == "gpu" else ()
    return found._replace(resource=f"gpu {known[0].gpu}") if known else found


def _tpu(place: Place, terms: Terms, kind: str, version: str, unit: _Unit, now: datetime) -> Iterator[Offer]:
    """A chip, its part of the machine included, and the slices that are so many chips; or a device of four."""
    model = _TPU_IDS.get(version)
    known = slices(model) if model else ()
    if kind == "device":
        device = [found for found in known if found[1] == _CHIPS][:1]
        yield from (_slice(place, terms, version, one, _listed(unit, unit.price, now)) for one in device)
        return
    price = (unit.price / _CHIPS).quantize(NANO_UNIT) if unit.price and kind == "pod" else unit.price
    shape = Shape(
        # Of v2 and v3 a chip of a pod has another price than one of a device.
        instance=f"tpu-{version}" + ("-pod" if version in ("v2", "v3") else ""),
        accelerator_id=model, accelerator_name=f"TPU{version}", count=Fraction(1), sold_per="accelerator", hosts=None,
    )  # fmt: skip
    note = "for one chip, its part of the machine included" if price else _NO_PRICE
    yield make_offer(place, shape, terms, _listed(unit, price, now, note=note))
    for one in known:
        if version not in ("v2", "v3") or one[1] > _CHIPS:
            note = f"{one[1]} chips at the price of one" if price else _NO_PRICE
            yield _slice(place, terms, version, one, _listed(unit, price * one[1] if price else None, now, note=note))


def _slice(place: Place, terms: Terms, version: str, one: tuple[str, int, int], listed: Listed) -> Offer:
    name, chips, hosts = one
    shape = Shape(
        instance=name, accelerator_id=_TPU_IDS[version], accelerator_name=f"TPU{version}", count=Fraction(chips),
        hosts=hosts,
    )  # fmt: skip
    return make_offer(place, shape, terms, listed)


def _unit(sku: Mapping[str, object], resource: str) -> _Unit:
    name = text(sku, "skuId")
    entries = sequence(sku.get("pricingInfo"), provider=PROVIDER, operation=OPERATION, what="pricingInfo")
    if not entries:
        return _Unit(None, name, "USD", "")
    entry = mapping(entries[-1], provider=PROVIDER, operation=OPERATION, what="pricingInfo")
    expression = mapping(
        entry.get("pricingExpression"), provider=PROVIDER, operation=OPERATION, what="pricingExpression"
    )
    rate, currency = _rate(expression, name)
    factor = _per_hour_factor(text(expression, "usageUnit"), resource)
    return _Unit(rate * factor if rate and factor else None, name, currency, text(entry, "effectiveTime"))


def _rate(expression: Mapping[str, object], sku: str) -> tuple[Decimal | None, str]:
    """The rate of the first tier that is not free, and its currency."""
    currency = "USD"
    for entry in sequence(expression.get("tieredRates"), provider=PROVIDER, operation=OPERATION, what="tieredRates"):
        tier = mapping(entry, provider=PROVIDER, operation=OPERATION, what="a tier")
        price = mapping(tier.get("unitPrice"), provider=PROVIDER, operation=OPERATION, what="unitPrice")
        currency = text(price, "currencyCode") or currency
        try:
            whole, nanos = amount(price.get("units")) or Decimal(0), amount(price.get("nanos")) or Decimal(0)
        except ValueError as error:
            raise malformed(PROVIDER, OPERATION, f"SKU {sku[:40]}: {error}") from None
        if rate := whole + nanos * NANO_UNIT:
            return rate, currency
    return None, currency


def _per_hour_factor(unit: str, resource: str) -> Decimal | None:
    """What a price per `unit` is multiplied by to be per hour (and per GiB of memory or disk); None: not so priced."""
    if resource.startswith("ram"):
        return {"GiBy.h": Decimal(1), "GBy.h": _GIB_IN_GB}.get(unit)
    if resource == "ssd":
        month = Decimal(1) / HOURS_PER_MONTH
        return {"GiBy.mo": month, "GBy.mo": month * _GIB_IN_GB, "GiBy.h": Decimal(1)}.get(unit)
    return Decimal(1) if unit == "h" else None


def _with_accelerator(book: _Book, place: Place, what: Named, unit: _Unit, now: datetime) -> Iterator[Offer]:
    gpu = what.resource.removeprefix("gpu ")
    machines = machine_types().get(gpu_key(gpu), ())
    for machine in machines:
        if machine.series == _N1 and what.service != "vm":
            continue  # nobody says whether Vertex AI's price of an N1 is with its fee or without
        # Of a machine that waits for capacity Vertex AI bills a fee, and Compute Engine the machine.
        terms = FLEX if what.fee else what.terms
        parts = _parts(machine, what._replace(terms=FLEX, service="vm", fee=False)) if what.fee else []
        parts += _parts(machine, what)
        shape = replace(machine.shape, service=what.service)
        offer = make_offer(place, shape, terms, _assembled(book, place.region, parts, unit, now))
        sold = terms.market not in machine.not_sold or what.service == "vertex-prediction"
        yield offer if sold else replace(offer, availability=Availability("not_sold"))
    if not machines and not what.fee:
        shape = Shape(
            instance=f"attach/{gpu}", accelerator_id=None, accelerator_name=gpu, count=None, sold_per="accelerator",
            hosts=None, service=what.service,
        )  # fmt: skip
        note = "for one accelerator without its host" if unit.price else _NO_PRICE
        yield make_offer(place, shape, what.terms, _listed(unit, unit.price, now, note=note))


def _parts(machine: _Machine, what: Named) -> list[_Part]:
    """What a machine is billed for under the terms and by the service of `what`; Vertex AI bills no local disks."""
    shape, fee = machine.shape, "fee for " if what.fee else ""
    found = [
        _Part(what._replace(resource=f"core {machine.series}"), f"{fee}vCPU", Decimal(f"{shape.vcpus:g}")),
        _Part(what._replace(resource=f"ram {machine.series}"), f"{fee}memory GiB", Decimal(f"{shape.memory_gib:g}")),
    ] if machine.series else []  # fmt: skip
    found.append(_Part(what, fee + shape.accelerator_name, _decimal(shape.count)))
    if machine.local_ssd_gib and what.service == "vm":
        found.append(_Part(what._replace(resource="ssd"), "local disk GiB", machine.local_ssd_gib))
    return found


def _assembled(book: _Book, region: str, wanted: list[_Part], gpu: _Unit, now: datetime) -> Listed:
    found = [(book.units.get((region, part.what)), part.name, part.quantity) for part in wanted]
    missing = [name for unit, name, _ in found if unit is None or unit.price is None]
    if not missing and len({unit.currency for unit, _, _ in found if unit}) > 1:
        missing = ["one currency"]
    if missing:
        return _listed(gpu, None, now, note=f"the catalog has no price of {', '.join(missing)} there")
    parts = tuple(
        PricePart(name, quantity, unit.price, (unit.price * quantity).quantize(NANO_UNIT), unit.sku)
        for unit, name, quantity in found
        if unit is not None and unit.price is not None
    )
    return _listed(gpu, sum((part.amount or Decimal(0) for part in parts), Decimal(0)), now, parts=parts)


def _decimal(count: Fraction | None) -> Decimal:
    return Decimal(count.numerator) / count.denominator if count else Decimal(0)


def _listed(
    unit: _Unit, price: Decimal | None, now: datetime, *, note: str = "", parts: tuple[PricePart, ...] = ()
) -> Listed:
    return Listed(
        amount=price, currency=unit.currency, observed_at=now, source=_SOURCE, effective_at=unit.effective_at or None,
        parts=parts, note=note,
    )  # fmt: skip


@cache
def machine_types() -> Mapping[str, tuple[_Machine, ...]]:
    """Machine types by the key (`gpu_key`) of the name that their accelerator has in the catalog."""
    table = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "machine_types.csv")
    grouped: dict[str, list[_Machine]] = {}
    for row in read_table(table):
        count, whole = Fraction(row["count"]), by_id(row["accelerator_id"]).memory_gib
        shape = Shape(
            instance=row["machine_type"], accelerator_id=row["accelerator_id"],
            accelerator_name=row["accelerator_name"], count=count, vcpus=float(row["vcpus"]),
            memory_gib=float(row["memory_gib"]),
            # An eighth of a G4's card has an eighth of its memory (docs.cloud.google.com/compute/docs/gpus, 2026-08).
            accelerator_memory_gib=float(count) * whole if whole and count < 1 else None,
        )  # fmt: skip
        machine = _Machine(
            shape, row["series"], row["gpu"], Decimal(row["local_ssd_gib"]), frozenset(row["not_sold"].split())
        )
        grouped.setdefault(gpu_key(machine.gpu), []).append(machine)
    for machine in _hosts_with_attached():
        grouped.setdefault(gpu_key(machine.gpu), []).append(machine)
    return {gpu: tuple(machines) for gpu, machines in grouped.items()}


def _hosts_with_attached() -> Iterator[_Machine]:
    """N1 hosts with the accelerators that Google allows on them, four vCPUs and more for each (attachable_gpus.csv)."""
    table = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "attachable_gpus.csv")
    for row in read_table(table):
        if row["zones"]:
            continue  # tighter in single zones: the catalog has prices of regions
        name = row["attachment"].rpartition("-")[2].upper()
        for (size, each), vcpus in product(_N1_GIB.items(), _N1_VCPUS):
            memory = vcpus * each
            if int(row["min_vcpus"]) <= vcpus <= int(row["max_vcpus"]) and memory <= float(row["max_memory_gib"]):
                shape = Shape(
                    instance=f"n1-{size}-{vcpus}+{row['attachment']}x{row['count']}",
                    accelerator_id=one_accelerator(row["attachment"]), accelerator_name=name,
                    count=Fraction(row["count"]), vcpus=float(vcpus), memory_gib=memory,
                )  # fmt: skip
                yield _Machine(shape, _N1, f"Nvidia Tesla {name} GPU", Decimal(0), frozenset())


@cache
def _series() -> frozenset[str]:
    """Series of machines whose vCPUs and memory are parts of a price."""
    return frozenset(machine.series for machines in machine_types().values() for machine in machines)


__all__ = ["BASE_URL", "TPU_URL", "VERTEX_URL", "GcpPrices", "machine_types", "offers_of_skus", "skus_of_page"]
