"""The inventory: a small CSV of machines that one owns, read into values and, with a price, into offers.

docs/how-to/own-hardware.md is the format. The file is only ever read.
"""

import csv
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

from cloudaccel.errors import ConfigError, UnknownName
from cloudaccel.facts import accelerators, names, places
from cloudaccel.facts.owned import OwnedSystem, find_system, systems, systems_with
from cloudaccel.model import Availability, Offer, Price, Source, identified
from cloudaccel.model.money import parse_amount

PROVIDER = "own"  # as the price file names it; the entry point of the provider is onprem
# Column -> what it is. The first three columns that a row needs: machine, and system or accelerator.
COLUMNS = {
    "machine": "your name for it", "machines": "how many of them (1)", "site": "where it stands",
    "country": "ISO code or name: the electricity tariff", "system": "id in the table of owned hardware",
    "accelerator": "any spelling that 'cloudaccel explain' understands", "count": "accelerators in one machine",
    "capex": "what one machine cost, USD", "years": "its life", "residual": "USD, or a share such as 20%",
    "kw": "most that one machine draws", "load": "share of it that is drawn", "pue": "of the site",
    "kwh": "USD per kWh", "annual": "what one machine costs a year, USD, all in",
    "price_per_hour": "USD per hour that you charge for it, instead of a cost", "vcpus": "of the host",
    "memory_gib": "of the host", "available_from": "first day, ISO", "available_until": "last day, ISO",
    "hours_per_week": "hours in a week that it is free", "as_of": "day of the row, ISO", "note": "anything",
}  # fmt: skip
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedMachine:
    """Machines of one kind at one site. Empty text and None: the file does not say.

    Attributes
    ----------
    costs
        What the file says of their cost, as text by column: ``capex``, ``years``, ``residual``, ``kw``, ``load``,
        ``pue``, ``kwh``, ``annual``.
    hours_per_week
        Hours that the machine is free for the work that is planned; None: always.
    """

    machine: str
    machines: int
    site: str
    country: str | None
    system: OwnedSystem | None
    accelerator_id: str
    count: int
    costs: dict[str, str]
    price_per_hour: Decimal | None
    vcpus: float | None
    memory_gib: float | None
    available_from: str
    available_until: str
    hours_per_week: Decimal | None
    as_of: str
    note: str

    def free_on(self, day: str) -> bool:
        """Whether the schedule lets the machine be used on an ISO day."""
        return (not self.available_from or self.available_from <= day) and (
            not self.available_until or day <= self.available_until
        )


def read_inventory(path: Path) -> tuple[OwnedMachine, ...]:
    """The machines in a file.

    Raises
    ------
    ConfigError
        If the file cannot be read, has an unknown column, or has a row that is no machine, or one of a kind that nobody
        can buy; says file and line.
    """
    lines: dict[tuple[str, str, str], int] = {}
    machines: list[OwnedMachine] = []
    for line, cells in _records(path):
        machine = _machine(path, line, cells)
        before = lines.setdefault((machine.site, machine.machine, machine.accelerator_id), line)
        if before != line:
            raise ConfigError(
                f"inventory {path}, line {line}: {machine.machine} at {machine.site} is on line {before} too. "
                "Give one of them another name, or add up their machines."
            )
        machines.append(machine)
    if not machines:
        raise ConfigError(f"inventory {path} has no rows. Write a header line and at least one machine under it.")
    return tuple(machines)


def _records(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"inventory {path} is larger than {MAX_BYTES} bytes.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"inventory {path} cannot be read ({error}). Check the path; save it as UTF-8.") from error
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    records: list[tuple[int, dict[str, str]]] = []
    try:
        if not reader.fieldnames:
            raise ConfigError(f"inventory {path} is empty. Write a header line and at least one machine under it.")
        unknown = [name for name in reader.fieldnames if name not in COLUMNS]
        if unknown:
            raise ConfigError(f"inventory {path}: unknown column {', '.join(unknown)}. Known: {', '.join(COLUMNS)}.")
        for row in reader:
            if None in row or None in row.values():
                raise ConfigError(f"inventory {path}, line {reader.line_num}: not as many cells as columns.")
            records.append((reader.line_num, {key: value.strip() for key, value in row.items()}))
    except csv.Error as error:
        raise ConfigError(f"inventory {path}, line {reader.line_num}: {error}.") from error
    return records


def _machine(path: Path, line: int, cells: dict[str, str]) -> OwnedMachine:
    where = f"inventory {path}, line {line}"
    try:
        system, accelerator_id, count = _hardware(cells)
        country = cells.get("country") or None
        if country is not None:
            (country,) = places.resolve_countries(country)
        return OwnedMachine(
            machine=cells.get("machine") or (system.id if system else accelerator_id),
            machines=int(cells.get("machines") or 1),
            site=cells.get("site") or "own site",
            country=country,
            system=system,
            accelerator_id=accelerator_id,
            count=count,
            costs={
                k: cells[k]
                for k in ("capex", "years", "residual", "kw", "load", "pue", "kwh", "annual")
                if cells.get(k)
            },
            price_per_hour=parse_amount(cells.get("price_per_hour", "")),
            vcpus=_float(cells, "vcpus"),
            memory_gib=_float(cells, "memory_gib"),
            available_from=cells.get("available_from", ""),
            available_until=cells.get("available_until", ""),
            hours_per_week=Decimal(cells["hours_per_week"]) if cells.get("hours_per_week") else None,
            as_of=cells.get("as_of", ""),
            note=cells.get("note", ""),
        )
    except (ValueError, InvalidOperation, UnknownName) as error:
        raise ConfigError(f"{where}: {error}.") from error


def _float(cells: dict[str, str], name: str) -> float | None:
    return float(cells[name]) if cells.get(name) else None


def _hardware(cells: dict[str, str]) -> tuple[OwnedSystem | None, str, int]:
    """System, accelerator and how many in one machine; refuses what nobody sells."""
    if cells.get("system"):
        system = find_system(cells["system"])
        _refuse_unsold(system)
        return system, system.accelerator_id, int(cells.get("count") or system.accelerators)
    if not cells.get("accelerator"):
        raise ValueError("neither system nor accelerator is given")
    ids = names.resolve(cells["accelerator"]).accelerator_ids
    known = systems_with(frozenset(ids))
    for system in known:
        _refuse_unsold(system)
    if not cells.get("count"):
        raise ValueError("count is missing: accelerators in one machine")
    count = int(cells["count"])
    fitting = [s for s in known if s.accelerators == count]
    if len(ids) > 1 and not fitting:
        raise ValueError(f"{cells['accelerator']!r} may be {', '.join(ids)}: write the full name")
    if fitting:
        return fitting[0], fitting[0].accelerator_id, count
    return None, next(iter(ids)), count


def _refuse_unsold(system: OwnedSystem) -> None:
    if not system.buyable:
        raise ValueError(f"{names.short_name(system.accelerator_id)} cannot be owned: {system.source}")


def for_sale(country: str | None) -> tuple[OwnedMachine, ...]:
    """Every system that is sold whole, as a machine that stands in `country` (None: nobody said where)."""
    return tuple(
        OwnedMachine(
            machine=system.id, machines=1, site="to buy", country=country, system=system,
            accelerator_id=system.accelerator_id, count=system.accelerators, costs={}, price_per_hour=None, vcpus=None,
            memory_gib=None, available_from="", available_until="", hours_per_week=None, as_of="", note="",
        )
        for system in systems() if system.buyable and system.complete
    )  # fmt: skip


def offer_of(machine: OwnedMachine, path: Path, *, price: Decimal | None = None, status: str = "estimated") -> Offer:
    """The machine as an offer of market ``owned``: at its own price, else at `price` per hour, else at none."""
    amount = machine.price_per_hour or price
    known = "exact" if machine.price_per_hour else status
    source = Source(
        id="inventory", name=path.name, path=str(path), revision=None, licence="the user's own", url=None
    )  # fmt: skip
    accelerator = accelerators.by_id(machine.accelerator_id)
    offer = Offer(
        id="",
        provider=PROVIDER, partition=PROVIDER, region=machine.site, zone=None, country=machine.country,
        operator_country=None, service="bare-metal", instance=machine.machine, accelerator_id=machine.accelerator_id,
        accelerator_name=accelerator.family, count=Fraction(machine.count),
        accelerator_memory_gib=accelerator.memory_gib,
        hosts=1, sold_per="instance", vcpus=machine.vcpus, memory_gib=machine.memory_gib, market="owned", term=None,
        payment=None, offering_class=None,
        price=Price(
            amount=amount, currency="USD", status=known if amount else "unknown", as_of=machine.as_of or None,
            as_of_until=None, source=source, note=machine.note,
        ),
        availability=Availability("offered", machine.as_of or None),
        apart=() if amount and machine.as_of else ("unknown_price",) if not amount else ("undated",),
    )  # fmt: skip
    return identified(offer)
