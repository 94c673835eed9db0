"""The price file: a small CSV that a person keeps, read as a catalog (``--catalog``) or overlay (``--price-file``).

docs/reference/price-file.md is the format. The file is only ever read.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from cloudaccel import units
from cloudaccel.catalog.rows import OFFER_COLUMNS, OFFER_KEY, Row, offer_checker
from cloudaccel.errors import ConfigError, QueryError, UnknownName
from cloudaccel.facts import accelerators, names, places
from cloudaccel.model import HOURS_PER_MONTH, MARKETS, Source
from cloudaccel.model.money import from_nano, parse_amount, to_nano

# Each column with the other headings that are understood.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "provider": (),
    "region": (),
    "zone": (),
    "instance": ("instance_type",),
    "label": (),
    "accelerator": ("accel", "accel_raw"),
    "count": (),
    "mem_gb_each": (),
    "vcpus": ("vcpu",),
    "memory_gib": ("host_mem", "host_mem_gb"),
    "market": (),
    "term": (),
    "payment": (),
    "offering_class": ("class", "plan"),
    "price_per_hour": ("hourly", "hourly_usd"),
    "monthly": ("monthly_usd",),
    "currency": (),
    "part": (),
    "availability": (),
    "last_seen": ("last_seen_available",),
    "as_of": (),
    "source": (),
    "note": (),
}
MAX_BYTES = 16 * 1024 * 1024
_IMPLAUSIBLE_BELOW = Decimal("0.01")  # per accelerator-hour: less is more often a monthly price or a unit mistake


def read_price_file(path: Path, text: str | None = None) -> tuple[list[Row], list[Source], list[str]]:
    """Offer rows in the columns of the snapshot, their sources, and warnings; of `text` when it is given.

    Raises
    ------
    ConfigError
        If the file cannot be read, has an unknown heading, or has a row that is no offer; says file and line.
    """
    warnings: list[str] = []
    source = Source(id="file", name=path.name, path=str(path), revision=None, licence="the user's own", url=None)
    numbered = [(line, _row(path, line, cells, warnings)) for line, cells in _records(path, text)]
    if not numbered:
        raise ConfigError(f"price file {path} has no rows. Write a header line and at least one price under it.")
    rows = _alternatives_settled(_parts_summed(numbered))
    check = offer_checker()
    for line, row in rows:
        fault = check(row)
        if fault:
            raise ConfigError(f"price file {path}, line {line}: {fault}.")
    return [row for _, row in rows], [source], warnings


def _records(path: Path, text: str | None) -> Iterator[tuple[int, dict[str, str]]]:
    text = _text(path) if text is None else text
    reader = csv.reader(text.splitlines(keepends=True))
    try:
        first = next(reader, list[str]())
    except csv.Error as error:
        raise ConfigError(f"price file {path}, line 1: {error}.") from error
    heading = [cell.strip().lower() for cell in first]
    known = {alias: name for name, aliases in COLUMNS.items() for alias in [name, *aliases]}
    if not any(heading):
        raise ConfigError(f"price file {path} is empty. Write a header line and at least one price under it.")
    unknown = [cell for cell in heading if cell not in known]
    if unknown:
        named = ", ".join(repr(cell) for cell in unknown)
        raise ConfigError(f"price file {path}: unknown column {named}. Known: {', '.join(COLUMNS)}.")
    twice = {known[cell] for cell in heading if sum(known[other] == known[cell] for other in heading) > 1}
    if twice:
        raise ConfigError(f"price file {path}: the heading names {', '.join(sorted(twice))} twice. Keep one of them.")
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(heading):
                raise ConfigError(
                    f"price file {path}, line {reader.line_num}: {len(cells)} values for {len(heading)} columns."
                )
            yield reader.line_num, {known[name]: cell.strip() for name, cell in zip(heading, cells, strict=True)}
    except csv.Error as error:
        raise ConfigError(f"price file {path}, line {reader.line_num}: {error}.") from error


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"price file {path} is larger than {MAX_BYTES} bytes. Split it, or make a snapshot.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"price file {path} is not UTF-8 (byte {error.start}). Save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"price file {path} cannot be read: {error.strerror}. Check the path.") from error


def _row(path: Path, line: int, cells: Mapping[str, str], warnings: list[str]) -> Row:
    where = f"price file {path}, line {line}"
    row: Row = dict.fromkeys(map(str, OFFER_COLUMNS), "")
    provider = (cells.get("provider") or "own").lower()
    try:
        provider = places.resolve_provider(provider)
    except UnknownName:
        warnings.append(f"{where}: provider {provider!r} is not in the table of providers; kept as it is.")
    region = cells.get("region") or "global"
    place = places.region(provider, region)
    accelerator_id, count, memory, taken = _accelerator(where, cells, warnings)
    amount = _amount(where, cells)
    row.update(
        provider=provider,
        partition=place.partition if place else provider,
        region=place.name if place else region,
        zone=cells.get("zone", ""),
        service=(cells.get("part") and "part") or "vm",
        instance=cells.get("instance") or cells.get("label") or f"{count or 1}x {cells.get('accelerator', '')}",
        accelerator_id=accelerator_id or "",
        accelerator_name=cells.get("accelerator") or "unknown",
        count=str(count) if count else "",
        accelerator_memory_gib=memory,
        sold_per="instance",
        vcpus=cells.get("vcpus", ""),
        memory_gib=cells.get("memory_gib", ""),
        price_per_hour=format(amount, "f") if amount else "",
        currency=(cells.get("currency") or "USD").upper(),
        status="exact" if amount else "unknown",
        availability=cells.get("availability") or "listed",
        last_seen=cells.get("last_seen", ""),
        as_of=cells.get("as_of", "")[:10],
        source="file",
        note="; ".join(filter(None, (cells.get("note", ""), _from(cells), taken))),
    )
    row["market"], row["term"] = market_and_term(cells.get("market") or "on-demand", where)
    row.update({key: cells.get(key, "") or row[key] for key in ("term", "payment", "offering_class")})
    row["parts"] = f"{cells['part']}=1*{row['price_per_hour'] or '?'}" if cells.get("part") else ""
    if amount and count and amount * count.denominator / count.numerator < _IMPLAUSIBLE_BELOW:
        warnings.append(
            f"{where}: {amount} per hour is less than a cent per accelerator. Is it per month, or in cents?"
        )
    return row


def _from(cells: Mapping[str, str]) -> str:
    return f"from {cells['source']}" if cells.get("source") else ""


def _accelerator(
    where: str, cells: Mapping[str, str], warnings: list[str]
) -> tuple[str | None, Fraction | None, str, str]:
    """Id, count and memory of what a row names; and that one of several variants was taken, when it was."""
    raw = cells.get("accelerator", "")
    count = _count(where, cells.get("count", ""))
    memory = _memory(where, cells.get("mem_gb_each", ""))
    try:
        resolution = names.resolve(raw) if raw else None
    except UnknownName:
        warnings.append(f"{where}: accelerator {raw!r} is not in the table of accelerators; kept as it is.")
        return None, count, memory, ""
    candidates = resolution.accelerator_ids if resolution else ()
    table = accelerators.by_id
    fitting = [i for i in candidates if memory and table(i).memory_gib == float(memory)] or list(candidates)
    if not fitting:
        return None, count, memory, ""
    chosen, taken = fitting[0], ""
    if len(fitting) > 1:
        warnings.append(f"{where}: {raw!r} may be {' or '.join(fitting)}; taken as {chosen}. Write the full name.")
        taken = f"{raw!r} is taken as {chosen}, and may be {' or '.join(fitting[1:])}"
    nominal = table(chosen).memory_gib
    return chosen, count, memory or (f"{nominal:g}" if nominal else ""), taken


def _memory(where: str, text: str) -> str:
    if not text:
        return ""
    try:
        size, _ = units.parse_size(text, "mem_gb_each")
    except QueryError as error:
        raise ConfigError(f"{where}: {error}") from None
    return f"{size:g}"


def _count(where: str, text: str) -> Fraction | None:
    if not text:
        return None
    try:
        count = Fraction(text).limit_denominator(64)
    except (ValueError, ZeroDivisionError):
        raise ConfigError(f"{where}: count {text!r} is no number. Write 8, 0.125 or 1/8.") from None
    if count < 0:
        raise ConfigError(f"{where}: count {text!r} is below 0.")
    return count or None


def _amount(where: str, cells: Mapping[str, str]) -> Decimal | None:
    hourly, monthly = cells.get("price_per_hour", ""), cells.get("monthly", "")
    if hourly and monthly:
        raise ConfigError(f"{where}: give the price per hour or per month, not both.")
    try:
        amount = parse_amount(hourly or monthly)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}.") from None
    if not amount:
        return None  # nobody gives an accelerator away: 0 stands for "no price" in every feed that has it
    # To nine decimals, which is what a catalog keeps.
    kept = from_nano(to_nano(amount / HOURS_PER_MONTH if monthly else amount))
    if not kept:
        raise ConfigError(f"{where}: {hourly or monthly} is too small to be a price.")
    return kept


def market_and_term(text: str, where: str) -> tuple[str, str]:
    """Market and term of ``on-demand``, ``spot``, ``reserved-1y``, ``capacity-block``, ``flex`` …"""
    word = text.strip().lower().replace("_", "-")
    base, _, last = word.rpartition("-")
    base, term = (base, last) if base in ("reserved", "savings-plan") and last in ("1y", "3y") else (word, "")
    market = {"flex": "flex_start"}.get(base, base.replace("-", "_"))
    if market not in MARKETS:
        allowed = ", ".join(m.replace("_", "-") for m in MARKETS)
        raise ConfigError(f"{where}: market {text!r} is none of {allowed}, reserved-1y, reserved-3y.")
    return market, term


def _parts_summed(numbered: Iterable[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """Rows that are parts of one offer become one row: the price is their sum, unknown when one of them is."""
    whole: list[tuple[int, Row]] = []
    parts: dict[tuple[str, ...], list[tuple[int, Row]]] = {}
    for line, row in numbered:
        if row["service"] != "part":
            whole.append((line, row))
            continue
        key = tuple(row[c] for c in ("provider", "region", "zone", "instance", "market", "term", "payment", "currency"))
        parts.setdefault(key, []).append((line, row))
    for members in parts.values():
        line, main = next((m for m in members if m[1]["accelerator_id"] or m[1]["count"]), members[0])
        prices = [row["price_per_hour"] for _, row in members]
        total = sum((Decimal(price) for price in prices), Decimal(0)) if all(prices) else None
        main = {**main, "service": "vm", "parts": ";".join(row["parts"] for _, row in members)}
        main["price_per_hour"] = format(total, "f") if total else ""
        main["status"] = "exact" if total else "unknown"
        main["as_of"] = min((row["as_of"] for _, row in members), default="")
        whole.append((line, main))
    return whole


def _alternatives_settled(rows: list[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """One row per offer: of several prices the newest is used, on the same day the dearest; the others are noted."""
    by_key: dict[tuple[str, ...], list[tuple[int, Row]]] = {}
    for line, row in rows:
        by_key.setdefault(tuple(row[column] for column in OFFER_KEY), []).append((line, row))
    settled: list[tuple[int, Row]] = []
    for members in by_key.values():
        members.sort(key=lambda m: (m[1]["as_of"], Decimal(m[1]["price_per_hour"] or 0)), reverse=True)
        (line, first), *others = members
        rule = ["the newer of two prices counts, of the same day the dearer"] if others else []
        also = [
            f"another source says {r['price_per_hour'] or 'no price'} ({r['as_of']}, {r['note']})" for _, r in others
        ]
        settled.append((line, {**first, "note": "; ".join(filter(None, (first["note"], *also, *rule)))}))
    return settled
