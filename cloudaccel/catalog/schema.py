"""The tables of the catalog file. One immutable SQLite file: current offers, and every price version.

The index that keeps a quote flat in the number of rows is ``ix_quote``; it answers filters and counts alone. A row
that must never be ranked first (`APART`) has no `rank_price`, so no ordering can put it on top.
"""

from fractions import Fraction

SCHEMA_VERSION = 2

DDL = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE source(
    key TEXT PRIMARY KEY, name TEXT NOT NULL, path TEXT NOT NULL, revision TEXT, licence TEXT NOT NULL, url TEXT
) WITHOUT ROWID;
CREATE TABLE place(
    id INTEGER PRIMARY KEY, provider TEXT NOT NULL, partition TEXT NOT NULL, region TEXT NOT NULL,
    country TEXT, operator_country TEXT
);
CREATE TABLE segment(
    provider TEXT, partition TEXT, region TEXT, hash TEXT NOT NULL, rows INTEGER NOT NULL,
    as_of TEXT, as_of_until TEXT, PRIMARY KEY(provider, partition, region)
) WITHOUT ROWID;
CREATE TABLE shape(
    id INTEGER PRIMARY KEY, provider TEXT NOT NULL, service TEXT NOT NULL, instance TEXT NOT NULL,
    accelerator TEXT NOT NULL, accelerator_id TEXT, accelerator_name TEXT NOT NULL, count TEXT,
    accelerator_memory_gib REAL, hosts INTEGER, sold_per TEXT NOT NULL, vcpus REAL, memory_gib REAL
);
CREATE TABLE offer(
    oid INTEGER PRIMARY KEY, id TEXT NOT NULL, current INTEGER NOT NULL, place INTEGER NOT NULL, shape INTEGER NOT NULL,
    zone TEXT, accelerator TEXT NOT NULL, market TEXT NOT NULL, count REAL, rank_price INTEGER,
    amount INTEGER, currency TEXT NOT NULL, upfront INTEGER, status TEXT NOT NULL,
    term TEXT, payment TEXT, offering_class TEXT, parts TEXT, availability TEXT NOT NULL, last_seen TEXT,
    as_of TEXT, as_of_until TEXT, effective_at TEXT, source TEXT NOT NULL, note TEXT, flags INTEGER NOT NULL
);
CREATE TABLE price_version(
    oid INTEGER NOT NULL, from_at TEXT NOT NULL, until_at TEXT NOT NULL, amount INTEGER, source TEXT NOT NULL,
    PRIMARY KEY(oid, from_at)
) WITHOUT ROWID;
CREATE UNIQUE INDEX offer_id ON offer(id);
"""

# Made after a full load; a load into empty tables is three times as fast without them.
INDEXES = """
CREATE INDEX IF NOT EXISTS ix_quote
    ON offer(accelerator, market, count, rank_price, place, flags, current) WHERE current;
CREATE INDEX IF NOT EXISTS ix_shape ON offer(shape);
CREATE INDEX IF NOT EXISTS ix_place ON offer(place);
CREATE INDEX IF NOT EXISTS ix_instance ON shape(instance COLLATE NOCASE);
"""

# Why a row is never ranked first: bit in offer.flags -> code and words for people.
APART = (
    ("unknown_price", "without a price"),
    ("unknown_count", "with an unknown number of accelerators"),
    ("undated", "without a date"),
    ("not_seen", "priced, but not seen for sale there"),
    ("community", "on community hosts"),
    ("other_currency", "in another currency (no exchange rate loaded: --fx-file)"),
    ("upfront", "with a payment at the start that the price per hour leaves out"),
)
APART_BIT = {code: 1 << bit for bit, (code, _) in enumerate(APART)}
APART_MASK = (1 << len(APART)) - 1
# Two further facts that the index has to answer alone.
NOT_SOLD = 1 << 8
PER_ACCELERATOR = 1 << 9

UNNAMED = "?"  # an accelerator that the table has no row of begins so, and no id does
_SIZE = "|"


def accelerator_key(accelerator_id: str | None, name: str, memory_gib: float | None, count: Fraction | None) -> str:
    """What `shape.accelerator` and `offer.accelerator` hold: the id, else the seller's name and the memory of one.

    Where there is less than one, or nobody says how many, the memory is that of a share and tells no card.
    """
    if accelerator_id:
        return accelerator_id
    return f"{UNNAMED}{name}{_SIZE}{memory_gib:g}" if memory_gib and count and count >= 1 else UNNAMED + name


def card_of(key: str) -> tuple[str, float | None]:
    """Name and memory of one, GiB, in a key without an id; files of earlier versions have no memory there."""
    name, size, memory = key.removeprefix(UNNAMED).rpartition(_SIZE)
    try:
        return (name, float(memory)) if size else (memory, None)
    except ValueError:  # the mark is of the seller's own name
        return key.removeprefix(UNNAMED), None


def apart_codes(flags: int) -> tuple[str, ...]:
    """The codes of `APART` that `offer.flags` carries."""
    return tuple(code for code, _ in APART if flags & APART_BIT[code])
