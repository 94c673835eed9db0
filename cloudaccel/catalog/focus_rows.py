"""Opens a FOCUS file (CSV, also packed with gzip, or Parquet) and gives its rows as text, in bounded memory."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

from cloudaccel.errors import ConfigError

MAX_LINE = 1 << 20
_BATCH = 4096
_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"

# What a price needs; the provider is ProviderName up to FOCUS 1.2 and ServiceProviderName from 1.3 on.
NEEDED = (
    "ChargeCategory", "ChargePeriodStart", "EffectiveCost", "PricingCategory", "PricingQuantity", "PricingUnit",
    "BillingCurrency", "RegionId",
)  # fmt: skip
PROVIDERS = ("ServiceProviderName", "ProviderName")

Charge = Mapping[str, str]


def charges(path: Path) -> Iterator[Charge | None]:
    """Each row by FOCUS column name, whatever the case of the headings; None for a line of another length.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not FOCUS, or breaks off: a file is used whole or not at all.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            yield from _parquet(path, file) if head == _PARQUET else _csv(path, file, packed=head[:2] == _GZIP)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{path}: it breaks off or is damaged ({error}). Export it again.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: it is not UTF-8 (byte {error.start}). Export it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be read: {error.strerror or error}. Check the path.") from error


def _csv(path: Path, file: IO[bytes], *, packed: bool) -> Iterator[Charge | None]:
    unpacked = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
    with io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(_lines(path, text))
        try:
            names = _names(path, next(reader, list[str]()))
            for cells in reader:
                if cells:
                    yield dict(zip(names, cells, strict=True)) if len(cells) == len(names) else None
        except csv.Error as error:
            raise ConfigError(f"{path}, line {reader.line_num}: {error}. Export it again.") from error


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(MAX_LINE):
        if len(line) >= MAX_LINE:
            raise ConfigError(f"{path}: it has a line of more than {MAX_LINE} characters. It is no FOCUS file.")
        yield line


def _parquet(path: Path, file: IO[bytes]) -> Iterator[Charge | None]:
    try:
        arrow: Any = import_module("pyarrow")  # it ships no types
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading Parquet needs pyarrow. Install it: pip install 'cloudaccel[focus]', or export CSV."
        ) from error
    try:
        opened = parquet.ParquetFile(file)
        headings = cast("list[str]", opened.schema_arrow.names)
        names = _names(path, headings)
        for batch in opened.iter_batches(batch_size=_BATCH):
            for row in cast("list[dict[str, object]]", batch.to_pylist()):
                yield {name: _text(row[heading]) for name, heading in zip(names, headings, strict=True)}
    except (arrow.ArrowException, OSError) as error:  # a damaged page shows only when it is read
        raise ConfigError(f"{path}: it is no whole Parquet file ({type(error).__name__}). Export it again.") from error


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _names(path: Path, headings: Sequence[str]) -> list[str]:
    """FOCUS names of the columns; others keep their own."""
    known = {name.casefold(): name for name in (*NEEDED, *PROVIDERS, *_OTHERS)}
    names = [known.get(heading.strip().casefold(), heading.strip()) for heading in headings]
    missing = [name for name in NEEDED if name not in names]
    if not set(PROVIDERS) & set(names):
        missing.append(" or ".join(PROVIDERS))
    if missing:
        raise ConfigError(
            f"{path}: it is no FOCUS cost and usage file: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Export FOCUS 1.0 or newer, with a header line."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{path}: the heading names {', '.join(twice)[:200]} twice. Export it again.")
    return names


_OTHERS = (
    "CapacityReservationStatus", "ChargeClass", "ChargeDescription", "CommitmentDiscountCategory",
    "CommitmentDiscountStatus", "ListCost", "ResourceType", "SkuMeter", "SkuPriceDetails",
)  # fmt: skip
