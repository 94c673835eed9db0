"""Price tables in, the rows of a snapshot out, with a count of what was left out and why.

The tables are described in docs/reference/price-tables.md. A table is known by its columns, not by its file name:

    offers        ``price_kind`` and ``accelerator``     one offer a row
    hosts         ``price_kind``, no ``accelerator``     machines that an accelerator is attached to
    advice        ``savings_pct``                        spot savings, from which prices are estimated
    history/      first and last date, or a past table   price versions
    availability  ``zone_id``                            what is sold where, and when that was seen
"""

import csv
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal
from pathlib import Path

from cloudaccel.catalog.ingest_history import KnownInstances, changes, per_chip, strays, superseded
from cloudaccel.catalog.ingest_joins import (
    ATTACHED,
    Host,
    HostKey,
    Limits,
    attachable,
    attached_offers,
    estimated_spot,
    host_of,
)
from cloudaccel.catalog.ingest_notes import read_notes
from cloudaccel.catalog.ingest_rows import RowRefusedError, add_note, offer_row
from cloudaccel.catalog.ingest_sources import Sources
from cloudaccel.catalog.rows import HISTORY_KEY, OFFER_KEY, Row, history_checker, offer_checker
from cloudaccel.errors import ConfigError
from cloudaccel.model import Source
from cloudaccel.model.quarantine import WORDS

TABLE_COLUMNS = (
    "provider", "region", "zone", "instance_type", "accelerator", "accelerator_count", "accelerator_memory_gib",
    "vcpus", "memory_gib", "price_kind", "price_usd_per_hour", "currency", "source_repo", "source_path",
    "source_commit", "as_of", "accelerator_id", "price_native_per_hour", "payment_option", "offered", "published_at",
    "notes",
)  # fmt: skip
_CHANGES = frozenset({"first_commit_date", "last_commit_date", "price_native_per_hour"})
_OBSERVED = frozenset({"first_seen", "last_seen", "price_usd_per_hour"})
_PER_CHIP = frozenset({"tpu", "on_demand_usd_per_chip_hour", "spot_usd"})
_ADVICE = frozenset({"savings_pct", "interruption_range", "os"})
_HOSTS = frozenset({"instance_type", "vcpus", "memory_gib", "price_kind", "price_usd_per_hour"})
_OFFERS = frozenset(TABLE_COLUMNS)
_AVAILABILITY = frozenset({"provider", "region", "zone_id", "instance_type", "as_of"})

Table = list[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row that was left out: where it stands, and why."""

    file: str
    line: int
    reason: str


@dataclass(slots=True)
class IngestReport:
    """What became of the rows that were read.

    Attributes
    ----------
    read
        Rows of every table, by file.
    offers, history
        Rows written, by provider.
    joined
        Offers made from two tables, by kind: ``attached`` and ``estimated_spot``.
    quarantined, unknown, intervals, undated
        Offers whose price must not be used, whose price is not known, that are dated by an interval, not at all.
    refused
        Rows left out, by reason; `refusals` says where each stands.
    unused
        Rows of advice that gave no estimate, by reason.
    flags
        Offers that are kept and marked, by mark: ``spot_not_cheaper``, ``reserved_not_cheaper``.
    skipped
        Files that hold nothing that can be mapped, with the reason.
    """

    read: Counter[str] = field(default_factory=Counter[str])
    offers: Counter[str] = field(default_factory=Counter[str])
    history: Counter[str] = field(default_factory=Counter[str])
    joined: Counter[str] = field(default_factory=Counter[str])
    quarantined: int = 0
    unknown: int = 0
    intervals: int = 0
    undated: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    unused: Counter[str] = field(default_factory=Counter[str])
    flags: Counter[str] = field(default_factory=Counter[str])
    skipped: dict[str, str] = field(default_factory=dict[str, str])

    def as_dict(self) -> dict[str, object]:
        """The report as plain values, for JSON."""
        values: dict[str, object] = {item.name: getattr(self, item.name) for item in fields(self)}
        values["refusals"] = [asdict(refusal) for refusal in self.refusals]
        return values

    def refuse(self, file: str, line: int, reason: str) -> None:
        """Count one row that is left out."""
        self.refused[reason] += 1
        self.refusals.append(Refusal(file, line, reason))


@dataclass(frozen=True, slots=True)
class Ingested:
    """Rows for `write_snapshot`, the sources they name, and the report."""

    offers: tuple[Row, ...]
    history: tuple[Row, ...]
    sources: tuple[Source, ...]
    report: IngestReport


def ingest(folder: Path, *, limits: Limits | None = None) -> Ingested:
    """Read every price table in `folder`, its ``history/`` and the ``availability/`` beside it.

    Parameters
    ----------
    limits
        Which hosts may carry which attached accelerator; None takes the tables of the provider packages.

    Raises
    ------
    ConfigError
        If `folder` holds no price table, or a file is no CSV table in UTF-8. A row that makes no sense is no error:
        it is left out and counted in the report.
    """
    run = _Run(attachable() if limits is None else limits)
    tables = _tables(folder, run.report)
    if not any(_is(rows, _OFFERS) for rows in tables.values()):
        raise ConfigError(f"{folder} holds no price table. See docs/reference/price-tables.md for the columns.")
    for reads, read in ((_is_hosts, run.add_hosts), (_is_offers, run.add_offers), (_is_advice, run.add_advice)):
        for name, rows in tables.items():
            if reads(rows):
                read(name, rows)
    run.mark_availability(_rows_of(_tables(folder.parent / "availability", run.report), _is_availability))
    run.mark_prices_above_on_demand()
    for name, rows in _tables(folder / "history", run.report).items():
        run.add_history(f"history/{name}", rows)
    return run.finish()


class _Run:
    """The state of one ingest: rows so far, the sources named, the report."""

    def __init__(self, limits: Limits) -> None:
        self.sources = Sources()
        self.report = IngestReport()
        self._limits = limits
        self._offers: list[Row] = []
        self._history: list[tuple[Row, str, int]] = []  # with where each stands
        self._at = ("", 0)
        self._hosts: dict[HostKey, list[Host]] = {}
        self._by_key: dict[tuple[str, ...], Row] = {}
        self._versions: set[tuple[str, ...]] = set()
        self._check = offer_checker()
        self._check_version = history_checker()
        self._known: KnownInstances | None = None

    def add_hosts(self, name: str, rows: Table) -> None:
        for line, table in enumerate(rows, start=2):
            key = (table["provider"], table["region"], table["price_kind"])
            with self._refusing(name, line):
                self._hosts.setdefault(key, []).append(host_of(table, self.sources))
        for hosts in self._hosts.values():
            hosts.sort(key=lambda host: (float(host.vcpus), float(host.memory_gib)))

    def add_offers(self, name: str, rows: Table) -> None:
        for line, table in enumerate(rows, start=2):
            with self._refusing(name, line):
                if table["instance_type"].startswith(ATTACHED):
                    for row in attached_offers(table, self._hosts, self._limits, self.sources):
                        self._keep(row)
                        self.report.joined["attached"] += 1
                else:
                    self._keep(offer_row(table, self.sources))
                    self._keep_former_price(table)

    def add_advice(self, name: str, rows: Table) -> None:
        """Estimate a spot price where an on-demand price is known and no spot price is."""
        by_id = {source.id: source for source in self.sources.all()}
        priced = {_type_key(row) for row in self._offers if row["market"] == "spot"}
        bases = {_type_key(row): row for row in self._offers if _is_base(row)}
        for line, table in enumerate(rows, start=2):
            key = (table["provider"], table["region"], table["instance_type"])
            if table["os"] != "Linux":
                self.report.unused["advice for another system than Linux"] += 1
            elif key in priced:
                self.report.unused["advice where a spot price is known"] += 1
            elif key not in bases:
                self.report.unused["advice where no on-demand price is known"] += 1
            else:
                with self._refusing(name, line):
                    self._keep(estimated_spot(table, bases[key], self.sources, by_id))
                    self.report.joined["estimated_spot"] += 1

    def mark_availability(self, seen: Iterable[Mapping[str, str]]) -> None:
        """Offers of an instance type that a list of what is sold names for the region are offered, as of that list."""
        dates = {(row["provider"], row["region"], row["instance_type"]): row["as_of"] for row in seen}
        for row in self._offers:
            found = dates.get((row["provider"], row["region"], row["instance"]))
            if found and row["availability"] in ("listed", "offered"):
                row["availability"], row["last_seen"] = "offered", found

    def mark_prices_above_on_demand(self) -> None:
        """Note spot and reserved prices that are no saving: a true state of the market, so the price stays."""
        on_demand: dict[tuple[str, ...], Decimal] = {}
        for row in self._offers:
            if row["market"] == "on_demand" and row["price_per_hour"] and row["offering_class"] != "community":
                price = Decimal(row["price_per_hour"])
                key = _compared(row)
                on_demand[key] = min(price, on_demand.get(key, price))
        for row in self._offers:
            base = on_demand.get(_compared(row))
            if base is None or not row["price_per_hour"] or row["market"] not in ("spot", "reserved"):
                continue
            if Decimal(row["price_per_hour"]) > base:
                mark = f"{row['market']}_not_cheaper"
                self.report.flags[mark] += 1
                add_note(row, f"{mark}: on demand it is {base}")

    def add_history(self, name: str, rows: Table) -> None:
        version = self._version_reader(rows)
        if version is None:
            self.report.skipped[name] = "no region or no way to tell one offer from another"
            return
        for line, table in enumerate(rows, start=2):
            with self._refusing(name, line):
                for row in version(table):
                    self._keep_version(row)

    def finish(self) -> Ingested:
        report = self.report
        for row in self._offers:
            report.offers[row["provider"]] += 1
            report.quarantined += row["status"] == "quarantined"
            report.unknown += row["status"] == "unknown"
            report.intervals += bool(row["as_of_until"])
            report.undated += not row["as_of"]
        history = self._believed()
        report.history.update(row["provider"] for row in history)
        used = {row["source"] for row in (*self._offers, *history)}
        sources = tuple(source for source in self.sources.all() if source.id in used)
        return Ingested(tuple(self._offers), history, sources, report)

    def _believed(self) -> tuple[Row, ...]:
        """The history without prices that came and went: what a refresh would not have believed is no past price."""
        stray = strays([row for row, _, _ in self._history])
        for row, name, line in self._history:
            if id(row) in stray:
                self.report.refuse(name, line, "a past price far from those before and after it")
        return tuple(row for row, _, _ in self._history if id(row) not in stray)

    def _keep(self, row: Row) -> None:
        if fault := self._check(row):
            raise RowRefusedError(fault)
        key = tuple(row[column] for column in OFFER_KEY)
        first = self._by_key.setdefault(key, row)
        if first is row:
            self._offers.append(row)
            return
        if first["price_per_hour"] == row["price_per_hour"]:
            raise RowRefusedError("the same offer twice")
        # Neither the lower nor the later one is known to be right: nobody may plan with either.
        other, own = (entry["price_per_hour"] or "nothing" for entry in (row, first))
        add_note(first, WORDS["rows_disagree"].format(other=other, own=own))
        first.update(price_per_hour="", upfront="", parts="", status="quarantined")
        raise RowRefusedError("two prices for one offer")

    @contextmanager
    def _refusing(self, name: str, line: int) -> Generator[None]:
        self._at = (name, line)
        try:
            yield
        except RowRefusedError as error:
            self.report.refuse(name, line, str(error))

    def _keep_former_price(self, table: Mapping[str, str]) -> None:
        """A price that is quarantined because it is superseded was true on its day: keep it as history."""
        if read_notes(table["notes"], table["instance_type"]).former:
            self._keep_version(superseded(table, self.sources))

    def _keep_version(self, row: Row) -> None:
        if fault := self._check_version(row):
            raise RowRefusedError(fault)
        key = tuple(row[column] for column in HISTORY_KEY)
        if key in self._versions:
            raise RowRefusedError("the same price version twice")
        self._versions.add(key)
        self._history.append((row, self._at[0], self._at[1]))

    def _version_reader(self, rows: Table) -> Callable[[Mapping[str, str]], Iterable[Row]] | None:
        if self._known is None:
            self._known = KnownInstances(self._offers)
        known, sources = self._known, self.sources
        if _is(rows, _CHANGES):
            names = {"first": "first_commit_date", "last": "last_commit_date", "price": "price_native_per_hour"}
            return lambda table: (changes(table, known, sources, **names),)
        if _is(rows, _OBSERVED):
            names = {"first": "first_seen", "last": "last_seen", "price": "price_usd_per_hour"}
            return lambda table: (changes(table, known, sources, **names),)
        if _is(rows, _PER_CHIP):
            return lambda table: per_chip(table, sources)
        if _is(rows, _OFFERS):
            return lambda table: (superseded(table, sources),)
        return None


def _type_key(row: Row) -> tuple[str, str, str]:
    return row["provider"], row["region"], row["instance"]


def _is_base(row: Row) -> bool:
    plain_vm = not row["zone"] and row["sold_per"] == "instance" and row["currency"] == "USD"
    return plain_vm and row["market"] == "on_demand" and row["status"] == "exact"


def _compared(row: Row) -> tuple[str, ...]:
    """What two markets of one thing have in common; a seller of single accelerators names each market's row anew."""
    what = row["instance"] if row["sold_per"] == "instance" else row["accelerator_id"] or row["accelerator_name"]
    return (row["provider"], row["region"], row["service"], what, row["currency"], row["sold_per"])


def _is(rows: Table, columns: frozenset[str]) -> bool:
    return bool(rows) and columns <= rows[0].keys()


def _is_hosts(rows: Table) -> bool:
    return _is(rows, _HOSTS) and "accelerator" not in rows[0]


def _is_offers(rows: Table) -> bool:
    return _is(rows, _OFFERS)


def _is_advice(rows: Table) -> bool:
    return _is(rows, _ADVICE)


def _is_availability(rows: Table) -> bool:
    return _is(rows, _AVAILABILITY)


def _rows_of(tables: Mapping[str, Table], wanted: Callable[[Table], bool]) -> Iterator[Mapping[str, str]]:
    for rows in tables.values():
        if wanted(rows):
            yield from rows


def _tables(folder: Path, report: IngestReport) -> dict[str, Table]:
    """Every CSV file of `folder` by name, in order; none when there is no such folder."""
    tables: dict[str, Table] = {}
    for path in sorted(folder.glob("*.csv")):
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream, strict=True, restkey="", restval="")
                tables[path.name] = [_full(row, path, line) for line, row in enumerate(reader, start=2)]
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}. Mend its mode, or take it away.") from error
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no CSV table in UTF-8 ({error}). Mend the file, or take it away.") from error
        report.read[path.name] = len(tables[path.name])
    return tables


def _full(row: dict[str, str], path: Path, line: int) -> Mapping[str, str]:
    if "" in row:
        raise ConfigError(f"{path}, line {line}: more cells than the header has. Quote cells that hold a comma.")
    return {name: (value or "").strip() for name, value in row.items()}
