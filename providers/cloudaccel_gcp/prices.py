"""Google's Cloud Billing Catalog: no machine has a price there, so each is put together from its parts.

A machine is vCPUs + memory + accelerators + the local disks that come with it. One missing part and the whole is
unpriced: a host without its accelerators is no price. What a machine holds is ``data/machine_types.csv``.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
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
    sequence,
)
from cloudaccel.facts.loader import read_table
from cloudaccel.model import HOURS_PER_MONTH, Offer, PricePart, Source
from cloudaccel.protocols import Scope

PROVIDER = "gcp"
OPERATION = "services.skus.list"
# cloud.google.com/billing/docs/reference/rest/v1/services.skus/list; the endpoint itself was not called.
BASE_URL = "https://cloudbilling.googleapis.com/v1/services/6F81-5844-456A/skus"
KEYS = ("CLOUDACCEL_GCP_API_KEY", "GOOGLE_API_KEY")  # environment variables, the first that is set
MAX_PAGES = 200  # of 5,000 SKUs; Compute Engine has some 30,000
_GIB_IN_GB = Decimal("1.073741824")
_TERMS = {
    "OnDemand": Terms(),
    "Preemptible": Terms(market="spot"),
    "Commit1Yr": Terms(market="reserved", term="1y", payment="monthly", offering_class="committed_use"),
    "Commit3Yr": Terms(market="reserved", term="3y", payment="monthly", offering_class="committed_use"),
}
_SPOT = re.compile(r"\b(Spot|Preemptible)\b")
# Other ways to buy, and rights of use on top: never the price of a machine on demand.
_OTHER_WAY = re.compile(r"\bDWS\b|^Reserved |Sole Tenancy|Custom|Extended|\bvWS\b|Workstation", re.IGNORECASE)
_HOST = re.compile(r"^(?:Spot Preemptible )?(\w+) Instance (Core|Ram) running in ")
_HOST_COMMITMENT = re.compile(r"^Commitment v1: (A2|A3|A3Plus|G2|G4) (?:Instance )?(Cpu|Core|Ram)\b", re.IGNORECASE)
# Most names begin with the maker and end with GPU; the newer ones do one of the two, or neither.
_GPU = re.compile(
    r"^(?:Commitment v1: )?((?:Nvidia|RTX|[HB]\d{3}|GB\d{3}|A4 Nvidia) .+?)"
    r" (?:running in|attached to Spot Preemptible VMs|in) ?"
)
# Said of SKUs of the group TPU; those of v5e and newer stand in this service, and each is of one chip.
_TPU = re.compile(r"\bTpu-?(v?\d+[a-z]*)", re.IGNORECASE)
_TPU_IDS = {"v5e": "google-tpu-v5e", "v5p": "google-tpu-v5p", "v6e": "google-tpu-v6e", "v7x": "google-tpu-v7x"}
_BY_CORES = ("v2", "v3", "v4")  # sold by eight cores, of a device or a pod, in a service of their own
_SSD = re.compile(r"^(?:SSD backed Local Storage|Commitment v1: Local SSD)\b")
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
    shape: Shape
    series: str
    gpu: str
    local_ssd_gib: Decimal


@dataclass(slots=True)
class _Book:
    """Unit prices by region, terms and resource (``core A2``, ``ram A2``, ``ssd``, or the accelerator's name)."""

    units: dict[tuple[str, Terms, str], _Unit] = field(default_factory=dict[tuple[str, Terms, str], _Unit])

    def put(self, key: tuple[str, Terms, str], unit: _Unit) -> None:
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
    sources = (BASE_URL,)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """Offers of `scope`. The catalog is one for all regions: a region is picked out of it.

        Raises
        ------
        MalformedResponse
            If a page has not the documented shape, or pages never end.
        """
        if scope.partition == "gcp":
            yield from offers_of_skus(self._skus(), now=self._now(), region=scope.region)

    def _skus(self) -> Iterator[Mapping[str, object]]:
        headers = {"X-Goog-Api-Key": api_key(PROVIDER, *KEYS)}
        query = {"pageSize": "5000", "currencyCode": self._currency}
        for _ in range(MAX_PAGES):
            page = self.page(query, headers)
            yield from skus_of_page(page)
            if not (token := _text(page, "nextPageToken")):
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
        if (named := _resource(sku)) is None:
            continue
        unit = _unit(sku, named[1])
        for place in sequence(sku.get("serviceRegions"), provider=PROVIDER, operation=OPERATION, what="serviceRegions"):
            if isinstance(place, str) and place != "global" and region in (None, place):
                book.put((place, *named), unit)
    for (place, terms, resource), unit in book.units.items():
        if resource.startswith("tpu "):
            yield _chip(place, terms, resource.removeprefix("tpu "), unit, now)
        elif not resource.startswith(("core ", "ram ")) and resource != "ssd":
            yield from _with_accelerator(book, place, terms, resource, unit, now)


def _resource(sku: Mapping[str, object]) -> tuple[Terms, str] | None:
    """Terms and resource of a SKU; None for what no machine with accelerators is made of."""
    text = _text(sku, "description")
    usage = _text(mapping(sku.get("category"), provider=PROVIDER, operation=OPERATION, what="category"), "usageType")
    if usage == "OnDemand" and _SPOT.search(text):
        usage = "Preemptible"  # some spot SKUs say it in the description alone
    if usage not in _TERMS or _OTHER_WAY.search(text) or text.startswith("Commitment") != usage.startswith("Commit"):
        return None
    if host := _HOST.match(text) or _HOST_COMMITMENT.match(text):
        return _TERMS[usage], f"{'ram' if host[2].lower() == 'ram' else 'core'} {host[1]}"
    if gpu := _GPU.match(text):
        return _TERMS[usage], gpu[1]
    if _group(sku) == "TPU" and (tpu := _TPU.search(text)):
        version = "v" + tpu[1].lower().removeprefix("v")
        return None if version in _BY_CORES else (_TERMS[usage], f"tpu {version}")
    return (_TERMS[usage], "ssd") if _SSD.match(text) else None


def _group(sku: Mapping[str, object]) -> str:
    category = mapping(sku.get("category"), provider=PROVIDER, operation=OPERATION, what="category")
    return _text(category, "resourceGroup")


def _chip(region: str, terms: Terms, version: str, unit: _Unit, now: datetime) -> Offer:
    """One chip: its machine comes with it, and how many there are is the slice's to say."""
    shape = Shape(
        instance=f"tpu-{version}", accelerator_id=_TPU_IDS.get(version), accelerator_name=f"TPU{version}",
        count=Fraction(1), sold_per="accelerator", hosts=None,
    )  # fmt: skip
    note = "for one chip, its part of the machine included" if unit.price else "no price per hour in the catalog"
    place = Place(provider=PROVIDER, partition="gcp", region=region)
    return make_offer(place, shape, terms, _listed(unit, unit.price, now, note=note))


def _unit(sku: Mapping[str, object], resource: str) -> _Unit:
    name = _text(sku, "skuId")
    entries = sequence(sku.get("pricingInfo"), provider=PROVIDER, operation=OPERATION, what="pricingInfo")
    if not entries:
        return _Unit(None, name, "USD", "")
    entry = mapping(entries[-1], provider=PROVIDER, operation=OPERATION, what="pricingInfo")
    expression = mapping(
        entry.get("pricingExpression"), provider=PROVIDER, operation=OPERATION, what="pricingExpression"
    )
    rate, currency = _rate(expression, name)
    factor = _per_hour_factor(_text(expression, "usageUnit"), resource)
    return _Unit(rate * factor if rate and factor else None, name, currency, _text(entry, "effectiveTime"))


def _rate(expression: Mapping[str, object], sku: str) -> tuple[Decimal | None, str]:
    """The rate of the first tier that is not free, and its currency."""
    currency = "USD"
    for entry in sequence(expression.get("tieredRates"), provider=PROVIDER, operation=OPERATION, what="tieredRates"):
        tier = mapping(entry, provider=PROVIDER, operation=OPERATION, what="a tier")
        price = mapping(tier.get("unitPrice"), provider=PROVIDER, operation=OPERATION, what="unitPrice")
        currency = _text(price, "currencyCode") or currency
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


def _with_accelerator(book: _Book, region: str, terms: Terms, gpu: str, unit: _Unit, now: datetime) -> Iterator[Offer]:
    place = Place(provider=PROVIDER, partition="gcp", region=region)
    machines = machine_types().get(gpu, ())
    for machine in machines:
        yield make_offer(place, machine.shape, terms, _assembled(book, region, terms, machine, unit, now))
    if not machines:
        shape = Shape(
            instance=f"attach/{gpu}", accelerator_id=None, accelerator_name=gpu, count=None, sold_per="accelerator",
            hosts=None,
        )  # fmt: skip
        note = "for one accelerator without its host" if unit.price else "no price per hour in the catalog"
        yield make_offer(place, shape, terms, _listed(unit, unit.price, now, note=note))


def _assembled(book: _Book, region: str, terms: Terms, machine: _Machine, gpu: _Unit, now: datetime) -> Listed:
    shape = machine.shape
    wanted = [
        (f"core {machine.series}", "vCPU", Decimal(f"{shape.vcpus:g}")),
        (f"ram {machine.series}", "memory GiB", Decimal(f"{shape.memory_gib:g}")),
        (machine.gpu, shape.accelerator_name, _decimal(shape.count)),
        ("ssd", "local disk GiB", machine.local_ssd_gib),
    ]
    found = [(book.units.get((region, terms, key)), name, quantity) for key, name, quantity in wanted if quantity]
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
    """Machine types by the name that their accelerator has in the catalog."""
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
        machine = _Machine(shape, row["series"], row["gpu"], Decimal(row["local_ssd_gib"]))
        grouped.setdefault(machine.gpu, []).append(machine)
    return {gpu: tuple(machines) for gpu, machines in grouped.items()}


def _text(item: Mapping[str, object], name: str) -> str:
    """The text of a field, "" where it is missing."""
    value = item.get(name)
    return value if isinstance(value, str) else ""


__all__ = ["BASE_URL", "GcpPrices", "machine_types", "offers_of_skus", "skus_of_page"]
