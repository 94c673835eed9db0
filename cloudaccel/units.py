"""Numbers with a unit, as people type them: money, sizes, durations. Each function refuses what it cannot read."""

import re
from decimal import Decimal, InvalidOperation

from cloudaccel.errors import QueryError
from cloudaccel.model.money import MAX_AMOUNT

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_GB = {"": 1.0, "gb": 1.0, "tb": 1000.0, "gib": 1.0, "tib": 1024.0}


_AMOUNT_THEN_CURRENCY = re.compile(r"([0-9.])([A-Za-z]{3})$")


def parse_money(text: str, what: str) -> tuple[Decimal, str | None]:
    """Amount and currency (None when not named) of ``300``, ``300 USD``, ``300USD``, ``$2.50`` or ``USD 300``."""
    apart = _AMOUNT_THEN_CURRENCY.sub(r"\1 \2", text.strip())
    words = apart.replace("$", " USD ").replace("\u20ac", " EUR ").split()
    numbers = [word for word in words if not word.isalpha()]
    currencies = [word.upper() for word in words if word.isalpha()]
    try:
        (number,) = numbers
        amount = Decimal(number)
    except (ValueError, InvalidOperation):
        raise QueryError(
            f"{what}: {text!r} is no amount of money. Write a number, such as 2.50 or '2.50 USD'."
        ) from None
    if len(currencies) > 1 or any(len(c) != 3 for c in currencies):
        raise QueryError(f"{what}: {text!r} names no single currency. Write it as '2.50 USD'.")
    if not amount.is_finite() or not 0 <= amount < MAX_AMOUNT:
        raise QueryError(f"{what}: {text!r} must be 0 or more, and below {MAX_AMOUNT}.")
    return amount, currencies[0] if currencies else None


def parse_size(text: str, what: str) -> tuple[float, bool]:
    """A size and whether it was binary: ``640``, ``640GB`` and ``0.64TB`` are (640, False), ``640GiB`` is (640, True).

    A bare number is GB. A trailing ``+`` ("at least") is allowed, since every size flag is a minimum.
    """
    cleaned = text.strip().removesuffix("+").replace(" ", "").lower()
    digits = cleaned.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = cleaned[len(digits) :]
    try:
        value = float(digits) * _GB[unit]
    except (ValueError, KeyError):
        raise QueryError(f"{what}: {text!r} is no size. Write GB or GiB, such as 640GB or 80GiB.") from None
    if not 0 < value < 1e9:
        raise QueryError(f"{what}: {text!r} must be a size above 0.")
    return value, unit.endswith("ib")


def parse_duration_s(text: str, what: str) -> float:
    """Seconds in ``300ms``, ``90m``, ``24h``, ``7d`` or ``2w``. A number alone is refused: it could mean either."""
    cleaned = text.strip().lower()
    digits = cleaned.rstrip("mshdw")
    try:
        seconds = float(digits) * _SECONDS[cleaned[len(digits) :]]
    except (ValueError, KeyError):
        raise QueryError(f"{what}: {text!r} is no duration. Write a number and a unit, such as 24h or 7d.") from None
    if not 0 < seconds < 1e12:
        raise QueryError(f"{what}: {text!r} must be a duration above 0.")
    return seconds


def parse_minimum(text: str, what: str) -> float:
    """A plain number above 0, with or without a trailing ``+``: ``64``, ``64+``."""
    try:
        value = float(text.strip().removesuffix("+"))
    except ValueError:
        raise QueryError(f"{what}: {text!r} is no number. Write it as 64.") from None
    if not 0 < value < 1e9:
        raise QueryError(f"{what}: {text!r} must be above 0.")
    return value


_BITS = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[gt])?(bps|b/s|bit/s|bit)?\+?")


def parse_gbit_per_s(text: str | float, what: str) -> float:
    """Gbit/s of ``400``, ``400Gbps``, ``400 Gbit/s`` or ``3.2Tbps``, each with or without a + behind it.

    Raises `QueryError` for anything else, and for bytes: 400 GB/s are eight times 400 Gbit/s.
    """
    found = _BITS.fullmatch(str(text).strip().lower()) if "B/" not in str(text) and "Bps" not in str(text) else None
    if found is None or not float(found["number"]) > 0:
        raise QueryError(f"{what}: {text!r} is no speed of a network. Write gigabits per second, such as 400Gbps.")
    return float(found["number"]) * (1000 if found["unit"] == "t" else 1)


def counted(number: int, word: str) -> str:
    """``1 run``, ``2 runs``, ``2 addresses``: a number with its English word."""
    ending = "" if number == 1 else "es" if word.endswith("s") else "s"
    return f"{number} {word}{ending}"
