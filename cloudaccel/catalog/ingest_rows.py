"""One row of a price table becomes one offer row of a snapshot, or a reason why it cannot."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cache

from cloudaccel.catalog.ingest_cards import card_rule, named_card
from cloudaccel.catalog.ingest_notes import DATA_FOLDER, Reading, read_notes
from cloudaccel.catalog.ingest_prices import price_rule
from cloudaccel.catalog.ingest_sources import Sources
from cloudaccel.catalog.rows import OFFER_COLUMNS, Row
from cloudaccel.facts import places
from cloudaccel.facts.accelerators import all_accelerators
from cloudaccel.facts.loader import read_table
from cloudaccel.model import Accelerator
from cloudaccel.model.quarantine import WORDS

# price_kind -> market, term, offering class
_KINDS = {
    "on_demand": ("on_demand", "", ""),
    "spot": ("spot", "", ""),
    "reserved_1y": ("reserved", "1y", "standard"),
    "reserved_3y": ("reserved", "3y", "standard"),
    "reserved_1y_convertible": ("reserved", "1y", "convertible"),
    "reserved_3y_convertible": ("reserved", "3y", "convertible"),
    "capacity_block": ("capacity_block", "", ""),
    "flex_start": ("flex_start", "", ""),
    "calendar": ("capacity_block", "", "calendar"),
}
_OFFERED = {"yes": "offered", "not_seen": "not_seen", "no": "not_sold", "": "listed"}
_COUNT = re.compile(r"\d{1,6}(?:\.\d{1,6}|/[1-9]\d{0,2})?", re.ASCII)
_GB_IN_GIB = 1e9 / 2**30
_MOST_DIGITS = 12  # before the point, and zeros behind it
_SAME_MEMORY = 0.015  # 15.62 for 16 is the same card read by other software; 180 for 270 is not


class RowRefusedError(Exception):
    """The row cannot become an offer; the message is the reason, in a few words that can be counted."""


@dataclass(frozen=True, slots=True)
class SoldAs:
    """How a provider and payment option of the tables read in a snapshot."""

    provider: str
    service: str
    payment: str
    offering_class: str


def offer_row(table: Mapping[str, str], sources: Sources) -> Row:
    """The offer row of one row of a price table.

    Raises
    ------
    RowRefusedError
        If a value makes no sense, the region is in no table of places, or the price is not above 0.
    """
    reading = read_notes(table["notes"], table["instance_type"])
    rule = price_rule(table)
    if rule and rule.becomes:  # whether the thing is sold was said of the other way to buy it
        table = {**table, "price_kind": rule.becomes, "offered": ""}
    sold = sold_as(table["provider"], table["payment_option"])
    market, term, offering_class = _market(table["price_kind"])
    zone = places.zone(sold.provider, table["zone"]) if table["zone"] else None
    moved = zone is not None and zone.region != table["region"]  # a table that files a data centre under its neighbour
    provider, partition, region = _place(sold.provider, zone.region if zone and moved else table["region"])
    row: Row = dict.fromkeys(OFFER_COLUMNS, "")
    row |= {
        "provider": provider,
        "partition": partition,
        "region": region,
        "zone": table["zone"],
        "service": reading.fields.get("service", sold.service),
        "instance": instance_of(table["instance_type"]),
        "vcpus": _number(table["vcpus"], "vcpus"),
        "memory_gib": _number(table["memory_gib"], "memory_gib"),
        "sold_per": reading.fields.get("sold_per", "instance"),
        "market": market,
        "term": reading.fields.get("term", term),
        "payment": sold.payment,
        "offering_class": reading.fields.get("class", sold.offering_class or offering_class),
        "currency": table["currency"],
        "upfront": reading.fields.get("upfront", "") if market == "capacity_block" else "",
        "availability": reading.fields.get("availability") or _one_of(_OFFERED, table["offered"], "offered"),
        "effective_at": table["published_at"],
        "source": sources.of(table["source_repo"], table["source_path"], table["source_commit"]).id,
        "note": reading.note,
    }
    _set_accelerator(row, table, reading)
    _set_price(row, table, reading)
    row["as_of"], row["as_of_until"] = _dates(table, reading)
    if rule:
        add_note(row, rule.say)
    if moved:
        add_note(row, f"its source files the zone under {table['region']}")
    return row


def sold_as(provider: str, payment_option: str) -> SoldAs:
    """The snapshot's words for a provider and payment option; those without a row of their own stay as they are."""
    return _sold_as().get((provider, payment_option), SoldAs(provider, "vm", payment_option, ""))


def instance_of(name: str) -> str:
    """The provider's own spelling: price lists of brokers write ``tpu-v5p-8`` for its ``v5p-8``."""
    bare = name.removeprefix("tpu-")
    return bare if bare in _hosts_by_name() else name


def accelerators() -> Mapping[str, Accelerator]:
    """The accelerator table by id."""
    return _accelerators()


def add_note(row: Row, text: str) -> None:
    """Append a remark to the note of `row`."""
    row["note"] = f"{row['note']}; {text}" if row["note"] else text


def plain(amount: Decimal) -> str:
    """`amount` without an exponent and without trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _market(kind: str) -> tuple[str, str, str]:
    if kind not in _KINDS:
        raise RowRefusedError("price_kind not known")
    return _KINDS[kind]


def _one_of(names: Mapping[str, str], value: str, column: str) -> str:
    if value not in names:
        raise RowRefusedError(f"{column} not known")
    return names[value]


def _place(provider: str, name: str) -> tuple[str, str, str]:
    found = places.region(provider, name)
    if found is None:
        raise RowRefusedError("region not in the table of places")
    return found.provider, found.partition, found.name


def count_of(text: str) -> Fraction | None:
    """The count in `text`; a rounded decimal share such as 0.1667 is the simple fraction it stands for.

    Raises
    ------
    RowRefusedError
        If it is no count, or a share that no fraction with a denominator up to 16 explains.
    """
    if not text:
        return None
    if not _COUNT.fullmatch(text):
        raise RowRefusedError("accelerator_count is no number")
    count = Fraction(text)
    simple = count.limit_denominator(16)
    if count <= 0 or abs(simple - count) > Fraction(1, 2000):
        raise RowRefusedError("accelerator_count is no simple fraction above 0")
    return simple


def _set_accelerator(row: Row, table: Mapping[str, str], reading: Reading) -> None:
    count = count_of(table["accelerator_count"])
    known = _card(row, table, reading, count)
    row["accelerator_id"] = known.id if known else ""
    row["accelerator_name"] = table["accelerator"] + (" modified" if reading.other_card else "")
    if table["accelerator_id"] and table["accelerator_id"] not in accelerators():
        add_note(row, f"accelerator id {table['accelerator_id']} is not in the table")
    row["count"] = str(count) if count is not None else ""
    row["accelerator_memory_gib"] = _memory(row, table, reading, known, count)
    row["hosts"] = _hosts(row, known, count)


def _card(row: Row, table: Mapping[str, str], reading: Reading, count: Fraction | None) -> Accelerator | None:
    """The row of the accelerator table: the one that the price table names, unless a rule says what the seller said."""
    if reading.other_card:
        return None
    rule = card_rule(table)
    if rule is not None:
        add_note(row, rule.say)
        return rule.becomes
    whole = count is None or count >= 1  # the memory of a share names no card
    return accelerators().get(table["accelerator_id"]) or (
        named_card(table["accelerator"], table["accelerator_memory_gib"] if whole else "")
        if not table["accelerator_id"]
        else None
    )


def _memory(
    row: Row, table: Mapping[str, str], reading: Reading, known: Accelerator | None, count: Fraction | None
) -> str:
    """Nominal memory of one accelerator or of the share; a seller's figure that differs goes into the note."""
    if "share_memory_gib" in reading.fields:
        return reading.fields["share_memory_gib"]
    rule = card_rule(table)
    if rule is not None and rule.memory_unsaid:
        return ""
    stated = _number(table["accelerator_memory_gib"], "accelerator_memory_gib")
    if known is None or known.memory_gib is None:
        return stated
    share = min(1.0, float(count)) if count is not None else 1.0
    nominal = known.memory_gib * share
    readings = (known.memory_gib, known.memory_gib * _GB_IN_GIB, nominal, nominal * _GB_IN_GIB)
    if stated and all(abs(float(stated) - value) > value * _SAME_MEMORY for value in readings):
        add_note(row, f"the source says {stated} GB for one")
    return f"{nominal:.4f}".rstrip("0").rstrip(".")


def _hosts(row: Row, known: Accelerator | None, count: Fraction | None) -> str:
    if row["sold_per"] == "accelerator" or count is None:
        return ""
    listed = _hosts_by_name().get(row["instance"])
    if listed:
        return listed
    return "" if known is not None and known.kind == "tpu" else "1"


def _set_price(row: Row, table: Mapping[str, str], reading: Reading) -> None:
    price = _price(table)
    if not price:
        row["status"] = "unknown"
        return
    if reading.quarantine:
        row["status"] = "quarantined"
        row["upfront"] = ""
        add_note(row, WORDS["source_noted"].format(why=reading.quarantine, price=f"{price} {row['currency']}"))
    elif reading.host_unpriced:
        row["status"] = "unknown"
        row["parts"] = f"accelerator=1*{price};host=1*?"
    else:
        row["status"] = reading.fields.get("status", "exact")
        row["price_per_hour"] = price


def _price(table: Mapping[str, str]) -> str:
    dollars, native = table["price_usd_per_hour"], table["price_native_per_hour"]
    if table["currency"] == "USD" and dollars and native and Decimal(dollars) != Decimal(native):
        raise RowRefusedError("two prices that differ")
    text = (dollars or native) if table["currency"] == "USD" else native
    if not text:
        return ""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise RowRefusedError("price is no number") from None
    if not amount.is_finite() or amount <= 0:
        raise RowRefusedError("price is not above 0")
    if (
        not -_MOST_DIGITS <= amount.adjusted() < _MOST_DIGITS
    ):  # 1e999999999 would be written out in a thousand million digits
        raise RowRefusedError("price is beyond any machine's")
    return text if re.fullmatch(r"\d+(?:\.\d+)?", text) else plain(amount)


def _dates(table: Mapping[str, str], reading: Reading) -> tuple[str, str]:
    """When the price was seen: one date, or the first and last of an interval; the older of commit and publication."""
    seen = min((date for date in (table["as_of"], table["published_at"][:10]) if date), default="")
    if "since" in reading.fields:
        return reading.fields["since"], seen
    if not seen and reading.span:
        return reading.span
    return seen, ""


def _number(text: str, column: str) -> str:
    if text and not re.fullmatch(r"\d+(?:\.\d+)?", text):
        raise RowRefusedError(f"{column} is no number")
    return text if text.strip("0.") else ""


@cache
def _accelerators() -> dict[str, Accelerator]:
    return {accelerator.id: accelerator for accelerator in all_accelerators()}


@cache
def _hosts_by_name() -> dict[str, str]:
    rows = read_table("instance_names.csv")
    return {name: row["hosts"] for row in rows for name in row["names"].split("|")}


@cache
def _sold_as() -> dict[tuple[str, str], SoldAs]:
    columns = ("provider", "payment_option", "becomes_provider", "service", "payment", "offering_class", "why")
    return {
        (row["provider"], row["payment_option"]): SoldAs(
            row["becomes_provider"], row["service"], row["payment"], row["offering_class"]
        )
        for row in read_table(os.path.join(DATA_FOLDER, "sold_as.csv"), columns)
    }
