"""Exchange rates from a file that the user carries in, and prices turned into another currency by them.

The file is the European Central Bank's table of euro reference rates, as CSV or XML, of one day or of many:
units of each currency for one euro. Nothing is fetched and no rate ships with the product, since a rate of another day
is a wrong price that looks right.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from pathlib import Path

from cloudaccel.errors import QueryError
from cloudaccel.model import Price, PricePart
from cloudaccel.model.shown import Shown

_MAX_BYTES = 50_000_000  # the file of every day since 1999 has about 8 MB
_RATE = Context(prec=12)  # digits of a rate: what is printed is what was multiplied by
_NANO = Decimal("1E-9")  # prices are kept to the ninth decimal, converted ones too
_CODE = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Euro reference rates of one day.

    Attributes
    ----------
    per_euro
        Units of each currency that one euro buys, by code; EUR itself is 1.
    as_of
        The day that the file dates them.
    source
        What the rates are, and the name of the file they were read from.
    """

    per_euro: Mapping[str, Decimal]
    as_of: date
    source: str

    def rate(self, listed: str, wanted: str) -> Decimal | None:
        """Units of `wanted` for one unit of `listed`, 12 digits; None when the file lacks either."""
        one, other = self.per_euro.get(listed), self.per_euro.get(wanted)
        return None if one is None or other is None else _plain(_RATE.divide(other, one))


def converted_price(price: Price, wanted: str, rate: Decimal) -> Price:
    """`price` in `wanted` at `rate` units of it for one unit of the list currency; unknown amounts stay unknown."""

    def part(old: PricePart) -> PricePart:
        return old._replace(unit_price=_times(old.unit_price, rate), amount=_times(old.amount, rate))

    amount = _times(price.amount, rate)
    return replace(
        price,
        amount=_NANO if amount == 0 else amount,  # never rounded to 0, which would be free
        upfront=_times(price.upfront, rate),
        parts=tuple(part(old) for old in price.parts),
        currency=wanted,
    )


def parse_percent(text: str, what: str) -> Decimal:
    """The number in ``19%``; the sign is asked for, so that 0.19 is never taken for a fifth of a percent.

    Raises
    ------
    QueryError
        If the text is no percentage from 0 to 100.
    """
    number = text.strip()
    try:
        percent = Decimal(number.removesuffix("%").strip())
    except InvalidOperation:
        percent = Decimal("NaN")
    if not number.endswith("%") or not percent.is_finite() or not 0 <= percent <= 100:
        raise QueryError(f"{what}: {text!r} is no percentage from 0% to 100%. Write it with the sign, such as 19%.")
    return percent


def shown_in(currency: str | None, rates: Rates | None, tax: str | None, sums_in: str) -> Shown | None:
    """How sums in `sums_in` are shown: in `currency` by `rates`, with the user's `tax`; None when neither is asked for.

    Raises
    ------
    QueryError
        If there is no rate, or `tax` is no percentage.
    """
    percent = None if tax is None else parse_percent(tax, "--tax")
    code = (currency or sums_in).upper()
    if code == sums_in:
        return None if percent is None else Shown(currency=code, tax_percent=percent)
    if rates is None:
        raise QueryError(
            f"--currency {code}: the sums are in {sums_in}, and no exchange rate is loaded. Name the ECB's table with "
            "--fx-file or CLOUDACCEL_FX_FILE, or leave --currency out."
        )
    rate = rates.rate(sums_in, code)
    if rate is None:
        raise QueryError(f"--currency: {rates.source} of {rates.as_of} has no rate for {code}.")
    return Shown(currency=code, rate=rate, as_of=rates.as_of.isoformat(), source=rates.source, tax_percent=percent)


def tax_on(amount: Decimal | None, percent: Decimal) -> Decimal | None:
    """The tax beside `amount`, in its currency; None when the amount is unknown."""
    return _times(amount, percent / 100)


def read_rates(path: Path) -> Rates:
    """The newest day of a file of euro reference rates (CSV or XML).

    Raises
    ------
    QueryError
        If the file cannot be read, or has no day with rates.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise QueryError(f"--fx-file {path}: more than {_MAX_BYTES // 1_000_000} MB; such a table has 8.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text; unpack a .zip first"
        raise QueryError(f"--fx-file {path} cannot be read: {why}. Name {_WANTED}.") from error
    days = _xml_days(path, text) if text.lstrip().startswith("<") else _csv_days(path, text)
    newest = max(days, key=lambda day: day[0], default=None)
    if newest is None:
        raise QueryError(f"--fx-file {path} has no day with rates. Name {_WANTED}.")
    as_of, quoted = newest
    per_euro = {code.strip(): _rate(path, code, value) for code, value in quoted.items() if value.strip() not in _NONE}
    return Rates(
        per_euro={**per_euro, "EUR": Decimal(1)}, as_of=as_of, source=f"ECB euro reference rates ({path.name})"
    )


_WANTED = "the ECB's table of euro reference rates, eurofxref.csv or eurofxref-daily.xml"
_NONE = ("", "N/A")  # a currency that had no rate on that day
_Day = tuple[date, Mapping[str, str]]


def _rate(path: Path, code: str, value: str) -> Decimal:
    try:
        rate = Decimal(value.strip())
    except InvalidOperation:
        rate = Decimal(0)
    if not _CODE.fullmatch(code.strip()) or not rate.is_finite() or not 0 < rate < 10**9:
        raise QueryError(f"--fx-file {path}: {code.strip()!r} with {value.strip()!r} is no rate. Name {_WANTED}.")
    return rate


def _day(path: Path, text: str) -> date:
    for form in ("%Y-%m-%d", "%d %B %Y"):  # the table of all days, and that of one
        try:
            return datetime.strptime(text.strip(), form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    raise QueryError(f"--fx-file {path}: {text.strip()!r} is no day. Name {_WANTED}.")


def _csv_days(path: Path, text: str) -> Iterator[_Day]:
    try:
        lines = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise QueryError(f"--fx-file {path} is no table: {error}. Name {_WANTED}.") from error
    head = [word.strip() for word in (lines[0] if lines else ())]
    if head[:1] != ["Date"]:
        raise QueryError(f"--fx-file {path}: its first column is not Date. Name {_WANTED}.")
    for line in lines[1:]:
        if line and line[0].strip():
            # The lines end in a comma: a column without a name.
            yield _day(path, line[0]), {c: v for c, v in zip(head[1:], line[1:], strict=False) if c}


def _xml_days(path: Path, text: str) -> Iterator[_Day]:
    from xml.etree import ElementTree as ET  # only for a file that is XML

    if "<!" in text.replace("<!--", ""):
        # Entities can make a small file fill the memory; the real table declares none.
        raise QueryError(f"--fx-file {path}: declares a document type, which the table has not. Name {_WANTED}.")
    try:
        root = ET.fromstring(text)  # noqa: S314 - without a document type there are no entities to expand
    except ET.ParseError as error:
        raise QueryError(f"--fx-file {path} is no XML: {error}. Name {_WANTED}.") from error
    for cube in root.iter():
        if "time" in cube.attrib:
            yield _day(path, cube.attrib["time"]), {c.get("currency", ""): c.get("rate", "") for c in cube}


def _times(amount: Decimal | None, factor: Decimal) -> Decimal | None:
    if amount is None:
        return None
    return _plain((amount * factor).quantize(_NANO, rounding=ROUND_HALF_EVEN))


def _plain(number: Decimal) -> Decimal:
    short = number.normalize()
    return short.quantize(Decimal(1)) if short == short.to_integral_value() else short
