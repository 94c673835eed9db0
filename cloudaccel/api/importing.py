"""`prices import`: an organisation's own prices out of its bills, as a price file to lay over the catalog."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from cloudaccel.catalog.session import open_session
from cloudaccel.errors import ConfigError, NothingFits, QueryError

if TYPE_CHECKING:
    from cloudaccel.catalog.focus import Machine, Paid, PriceKey, Reading

COLUMNS = (
    "provider", "region", "instance", "accelerator", "count", "vcpus", "memory_gib", "market", "payment",
    "price_per_hour", "currency", "as_of", "source", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPrice:
    """What was paid per hour for a whole machine.

    Attributes
    ----------
    row
        The line of the price file, by `COLUMNS`.
    hours, cost
        Machine hours that were billed, and the effective cost of them in `row`'s currency.
    first, last
        Days of the first and last charge.
    under_list
        Share by which that is under the list price of the same hours; None when the file does not say.
    """

    row: dict[str, str]
    hours: Decimal
    cost: Decimal
    first: date
    last: date
    under_list: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedRows:
    """Rows that are in no price: why, how many, and their effective cost by currency."""

    reason: str
    rows: int
    cost: dict[str, Decimal]
    unreadable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Prices, and what became of every other row: `used` and the rows of `skipped` add up to `rows`."""

    prices: tuple[ImportedPrice, ...]
    skipped: tuple[SkippedRows, ...]
    rows: int
    used: int


def import_focus(files: Sequence[str | Path], *, catalog: str | Path | None = None) -> Imported:
    """Effective prices per machine and hour from FOCUS cost and usage files (CSV, ``.gz``, Parquet).

    `catalog` says which instance types have accelerators; else the catalog in use does.

    Raises
    ------
    ConfigError
        If a file cannot be read whole, or is not FOCUS.
    NothingFits
        If no row is of a machine with accelerators; says what the rows are instead.
    """
    if not files:
        raise QueryError("prices import: name a FOCUS file with --focus.")
    try:
        from cloudaccel.catalog import focus, focus_rows
    except ImportError as error:
        raise ConfigError("FOCUS files are read with pydantic. Install it: pip install 'cloudaccel[plan]'.") from error
    paths = [Path(file) for file in files]
    if len({os.path.realpath(path) for path in paths}) != len(paths):
        raise QueryError("prices import: a file is named twice, and would be counted twice. Name it once.")
    machines = _machines(catalog)
    found = focus.read_charges((row for path in paths for row in focus_rows.charges(path)), machines)
    if not found.paid:
        raise NothingFits(f"prices import: no row of {found.rows:,} gives a price. {'; '.join(_reasons(found))[:600]}.")
    names = ", ".join(path.name for path in paths)
    return Imported(
        prices=tuple(_price(key, found.paid[key], names[:80]) for key in sorted(found.paid)),
        skipped=tuple(
            SkippedRows(reason=reason, rows=s.rows, cost=s.cost, unreadable=reason.startswith(focus.UNREADABLE))
            for reason, s in sorted(found.skipped.items(), key=lambda item: (-item[1].rows, item[0]))
        ),
        rows=found.rows,
        used=sum(paid.rows for paid in found.paid.values()),
    )


def imported_text(done: Imported) -> str:
    """The price file of an import: the same files give the same text."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([price.row[column] for column in COLUMNS] for price in done.prices)
    return text.getvalue()


def _reasons(found: "Reading") -> list[str]:
    counted = sorted(found.skipped.items(), key=lambda item: -item[1].rows)
    return [f"{skipped.rows:,} rows: {reason}" for reason, skipped in counted]


def _price(key: "PriceKey", paid: "Paid", files: str) -> ImportedPrice:
    under = 1 - paid.cost / paid.listed if paid.listed and paid.listed > 0 else None
    words = [f"paid {paid.first} to {paid.last} for {paid.hours:,.0f} h"]
    if under is not None:
        words.append(f"{abs(under):.1%} {'under' if under >= 0 else 'over'} list")
    machine = paid.machine
    row = {
        "provider": key.provider, "region": key.region, "instance": key.instance,
        "accelerator": machine.accelerator, "count": machine.count, "vcpus": machine.vcpus,
        "memory_gib": machine.memory_gib, "market": key.market, "payment": key.payment,
        "price_per_hour": format(paid.per_hour() or 0, "f"), "currency": key.currency, "as_of": paid.last.isoformat(),
        "source": f"FOCUS {files}", "note": ", ".join(words),
    }  # fmt: skip
    return ImportedPrice(
        row=row, hours=paid.hours, cost=paid.cost, first=paid.first, last=paid.last, under_list=under
    )  # fmt: skip


_SHAPES = (
    "SELECT provider, instance, COALESCE(accelerator_id, accelerator_name), count, vcpus, memory_gib FROM shape "
    "WHERE sold_per = 'instance' AND accelerator_id IS NOT NULL ORDER BY count IS NULL, vcpus IS NULL, id"
)


def _machines(catalog: str | Path | None) -> "dict[tuple[str, str], Machine]":
    from cloudaccel.catalog.focus import Machine

    def number(value: object) -> str:
        return f"{value:.10g}" if isinstance(value, float) else str(value or "")

    found: dict[tuple[str, str], Machine] = {}
    with open_session(catalog) as session:
        for provider, instance, accelerator, count, vcpus, memory in session.read(lambda db: db.execute(_SHAPES)):
            found.setdefault(
                (provider, instance.lower()),
                Machine(
                    provider=provider, instance=instance, accelerator=accelerator, count=str(count or ""),
                    vcpus=number(vcpus), memory_gib=number(memory),
                ),
            )  # fmt: skip
    return found


def unreadable(done: Imported) -> Iterator[SkippedRows]:
    """Those of the rows left out that could not be read at all."""
    return (skipped for skipped in done.skipped if skipped.unreadable)
