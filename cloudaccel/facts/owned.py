"""Machines that can be bought, what owning them takes, and what electricity costs: tables with a source on each row."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from functools import cache
from typing import TypeVar

from cloudaccel.errors import ConfigError, UnknownName
from cloudaccel.facts import places
from cloudaccel.facts.loader import numbered_rows, table_path
from cloudaccel.model.decision import Estimate

_Row = TypeVar("_Row")

HARDWARE_TABLE = "owned_hardware.csv"
OWNING_TABLE = "owning.csv"
ELECTRICITY_TABLE = "electricity.csv"
_HARDWARE = (
    "id", "name", "vendor", "accelerator_id", "family", "accelerators", "price_low", "price_likely", "price_high",
    "max_kw", "typical_kw", "network", "cooling", "buyable", "complete", "source", "as_of", "verified", "note",
)  # fmt: skip
_OWNING = ("name", "low", "likely", "high", "unit", "source", "as_of", "verified", "note")
_ELECTRICITY = (
    "country", "area", "name", "low", "likely", "high", "currency", "source", "as_of", "verified", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedSystem:
    """A server or rack. `price` None: it is not sold (`buyable` False). `max_kw` is of one system, None when unknown.

    `complete` is False for a kit that still needs a host.
    """

    id: str
    name: str
    vendor: str
    accelerator_id: str
    family: str
    accelerators: int
    price: Estimate | None
    max_kw: Decimal | None
    typical_kw: Decimal | None
    network: str
    cooling: str
    buyable: bool
    complete: bool
    source: str
    as_of: str
    verified: bool
    note: str


@cache
def systems() -> tuple[OwnedSystem, ...]:
    """Every row of the hardware table, in its order; raises `ConfigError` with file and line for a wrong one."""
    return tuple(_checked(HARDWARE_TABLE, _HARDWARE, _system))


@cache
def owning() -> dict[str, Estimate]:
    """What owning takes, by name: ``pue``, ``colo``, ``wacc``, ``maintenance``, ``residual`` …"""
    return {estimate.name: estimate for estimate in _checked(OWNING_TABLE, _OWNING, _owning)}


@dataclass(frozen=True, slots=True)
class Tariff:
    """Electricity of a country or a part of it, per kWh in `currency`."""

    country: str
    area: str
    name: str
    price: Estimate
    currency: str


@cache
def tariffs() -> tuple[Tariff, ...]:
    """Every row of the electricity table."""
    return tuple(_checked(ELECTRICITY_TABLE, _ELECTRICITY, _tariff))


def tariff(place: str) -> Tariff:
    """Electricity in a country, a state (``US Iowa``), a continent, or the world.

    Raises
    ------
    UnknownName
        If there is no row for the place; `choices` are names that the table has.
    """
    wanted = place.strip().lower()
    for row in tariffs():
        if wanted == row.name.lower() or (row.area and wanted == row.area.lower()):
            return row
    try:
        codes = places.resolve_countries(place)
    except UnknownName:
        codes = frozenset[str]()
    for row in tariffs():
        if len(codes) == 1 and row.country in codes and not row.area:
            return row
    names = [row.name for row in tariffs()]
    raise UnknownName(
        f"no electricity tariff for {place!r}. Give one with kwh=, or name one of the table.",
        choices=get_close_matches(place, names, 5, 0.3) or names[:5],
    )


def find_system(name: str) -> OwnedSystem:
    """The system with that id or name: ``dgx-h100``, ``DGX H100``.

    Raises
    ------
    UnknownName
        If the table has none; `choices` are the nearest.
    """
    wanted = _slug(name)
    found = [s for s in systems() if wanted in (s.id, _slug(s.name))]
    if found:
        return found[0]
    ids = [s.id for s in systems() if s.buyable]
    raise UnknownName(
        f"no server {name!r} in the table of hardware that can be bought. Name an accelerator, or give capex= and kw=.",
        choices=get_close_matches(wanted, ids, 5, 0.3),
    )


def systems_with(accelerator_ids: frozenset[str]) -> tuple[OwnedSystem, ...]:
    """Systems with any of the accelerators, the best known first: verified, complete, cheapest.

    What is not sold comes last, as rows with `buyable` False.
    """
    fitting = [s for s in systems() if s.accelerator_id in accelerator_ids]
    return tuple(sorted(fitting, key=_known_first))


def _known_first(system: OwnedSystem) -> tuple[bool, bool, bool, Decimal]:
    price = system.price.likely if system.price else Decimal(0)
    return not system.buyable, not system.complete, not system.verified, price


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


# -- reading -----------------------------------------------------------------------------------------------------------


def _checked(table: str, columns: tuple[str, ...], read: Callable[[dict[str, str]], _Row]) -> Iterator[_Row]:
    for line, row in numbered_rows(table, columns):
        try:
            yield read(row)
        except (ValueError, InvalidOperation) as error:
            raise ConfigError(f"{table_path(table)}, line {line}: {error}.") from error


def _verified(row: dict[str, str]) -> bool:
    if row["verified"] not in ("yes", "no"):
        raise ValueError(f"verified {row['verified']!r} is neither yes nor no")
    if not row["source"] or not row["as_of"]:
        raise ValueError("a row needs its source and its date")
    return row["verified"] == "yes"


def _estimate(row: dict[str, str], name: str, unit: str, change: str, prefix: str = "") -> Estimate:
    low, likely, high = (Decimal(row[prefix + end]) for end in ("low", "likely", "high"))
    return Estimate(
        name, low, likely, high, unit, row["source"], row["as_of"], _verified(row), change, note=row["note"]
    )  # fmt: skip


def _system(row: dict[str, str]) -> OwnedSystem:
    buyable = row["buyable"] == "yes"
    price = _estimate(row, "server", "USD per system", "server=", "price_") if buyable else None
    texts = {name: row[name] for name in ("id", "name", "vendor", "accelerator_id", "family", "network", "cooling")}
    return OwnedSystem(
        **texts,
        accelerators=int(row["accelerators"] or 0),
        price=price,
        max_kw=Decimal(row["max_kw"]) if row["max_kw"] else None,
        typical_kw=Decimal(row["typical_kw"]) if row["typical_kw"] else None,
        buyable=buyable,
        complete=row["complete"] == "yes",
        source=row["source"],
        as_of=row["as_of"],
        verified=_verified(row),
        note=row["note"],
    )


def _owning(row: dict[str, str]) -> Estimate:
    return _estimate(row, row["name"], row["unit"], f"{row['name']}=")


def _tariff(row: dict[str, str]) -> Tariff:
    unit = f"{row['currency']} per kWh"
    return Tariff(row["country"], row["area"], row["name"], _estimate(row, "kwh", unit, "kwh="), row["currency"])
