"""Reads one ``--option kind:what,key=value,…``: numbers with their unit, ranges ``low..likely..high``, words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches

from cloudaccel.errors import QueryError
from cloudaccel.model.decision import Estimate

RENTED = ("rent", "vm", "managed")
TRAINED = ("pretrain", "adapt", "finetune", "lora")
KINDS = ("api", *RENTED, "own", *TRAINED)
_ALIASES = {"self": "rent", "raw": "vm", "onprem": "own", "buy": "own"}

# Costs that come back: what they are charged by is part of the value, never guessed.
PERIODIC = (
    "colo",
    "room",
    "staff",
    "ops",
    "maintenance",
    "insurance",
    "software",
    "support",
    "opex",
    "people",
    "serve",
    "other",
)
_PER = {
    "y": "y", "year": "y", "month": "month", "mo": "month", "term": "term", "kw-month": "kW-month", "h": "h",
    "hour": "h", "accel-y": "accel-y", "accel-h": "accel-h", "%": "fraction/y", "%/y": "fraction/y",
}  # fmt: skip
# Key -> the units it may carry, the first being what a bare number means ("!": a bare number is refused).
NUMBERS: Mapping[str, tuple[str, ...]] = {
    "price": ("!", "/Mtok", "/h", "/accel-h", "/month"),
    "in": ("/Mtok",), "out": ("/Mtok",), "cached": ("/Mtok",),
    "throughput": ("tok/s", "tok/s/accel"),
    "capex": ("USD",), "server": ("USD",), "residual": ("USD", "%"), "years": ("y",), "wacc": ("!", "%"),
    "kw": ("kW",), "load": ("fraction", "%"), "pue": ("ratio",), "kwh": ("/kWh",), "energy": ("kWh",),
    "grid": ("g/kWh",),
    "network": ("fraction", "%"), "storage": ("fraction", "%"), "spares": ("fraction", "%"), "retrofit": ("/kW",),
    "systems": ("",), "accelerators": ("",), "use": ("fraction", "%"), "hours": ("h",), "tokens": ("tok",),
    "accel-hours": ("h",), "rate": ("/accel-h",), "data": ("USD",), "labour": ("USD",), "upfront": ("USD",),
    "params": ("",), "seq": ("tok",), "annual": ("y",), "rack_kw": ("kW",),
    "lead_weeks": ("weeks",), "decline": ("!", "%"),
}  # fmt: skip
_KEY_ALIASES = {
    "gpus": "accelerators", "count": "accelerators", "kwh_price": "kwh", "power_kwh": "energy", "utilisation": "use",
    "utilization": "use", "tps": "throughput",
}  # fmt: skip
WORDS = ("market", "region", "residency", "country", "provider", "site", "fill", "label", "service", "model")
_LOOKED_UP = ("market", "region", "residency", "country", "provider")
_ONCE = ("data", "labour")
# What each kind takes, beside `PERIODIC` and a label: a key that would be ignored is refused.
TAKES: Mapping[str, tuple[str, ...]] = {
    "api": ("price", "in", "cached", "out", *_ONCE),
    **dict.fromkeys(
        RENTED,
        ("price", "throughput", "use", "hours", "accelerators", "upfront", "decline", "service", *_LOOKED_UP, *_ONCE),
    ),
    "own": (
        "throughput", "use", "capex", "server", "residual", "years", "wacc", "kw", "load", "pue", "kwh", "energy",
        "grid", "network", "storage", "spares", "retrofit", "systems", "accelerators", "tokens", "annual", "country",
        "site", "fill", "rack_kw", "lead_weeks", *_ONCE,
    ),
    **dict.fromkeys(TRAINED, ("accel-hours", "rate", "params", "tokens", "seq", "model", *_LOOKED_UP, *_ONCE)),
}  # fmt: skip
_SHARES = ("load", "network", "storage", "spares", "use", "residual", "wacc", "decline")
_ABOVE_ZERO = (
    "years", "systems", "accelerators", "throughput", "hours", "use", "pue", "accel-hours", "tokens", "params", "seq",
    "kw", "rack_kw",
)  # fmt: skip
_WHOLE = ("systems", "accelerators", "seq")
_MOST = Decimal("1e18")
_NUMBER = re.compile(r"^\$?([0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+)([kMB]?)(.*)$")
_SCALE = {"": 1, "k": 1_000, "M": 1_000_000, "B": 1_000_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionSpec:
    """An option as it was typed.

    Attributes
    ----------
    what, place
        What is named (an accelerator expression, an instance type, an API) and what followed ``@``.
    numbers, units
        Numbers by key, each with its unit: ``per`` codes for what comes back, else one of the units of `NUMBERS`.
    """

    text: str
    kind: str
    what: str
    place: str
    numbers: Mapping[str, Estimate]
    units: Mapping[str, str]
    words: Mapping[str, str]

    def likely(self, key: str) -> Decimal | None:
        """The likely value of a number; None when it was not given."""
        return self.numbers[key].likely if key in self.numbers else None


def parse_option(text: str, *, today: str) -> OptionSpec:
    """The option in ``kind:what@place,key=value,…``.

    Raises
    ------
    QueryError
        If the kind or a key is unknown, or a value has no number or no unit where it needs one.
    """
    kind, colon, rest = text.strip().partition(":")
    kind = _ALIASES.get(kind.lower(), kind.lower())
    if not colon or kind not in KINDS:
        raise QueryError(
            f"--option {text!r}: write it as kind:key=value,… with kind one of {', '.join(KINDS)}.",
            choices=get_close_matches(kind, KINDS, 2),
        )
    named: list[str] = []
    pairs: dict[str, str] = {}
    for word in filter(None, (w.strip() for w in rest.split(","))):
        key, equals, value = word.partition("=")
        if not equals:
            named.append(word)
            continue
        key = _key(text, key)
        if key not in (*TAKES[kind], *PERIODIC, "label"):
            raise QueryError(f"--option {text!r}: {kind} takes no {key}. It takes {', '.join(TAKES[kind])}.")
        if key in pairs:
            raise QueryError(f"--option {text!r}: {key} is there twice.")
        pairs[key] = value.strip()
    what, _at, place = ",".join(named).partition("@")
    numbers, units = _numbers(text, pairs, today)
    words = {key: pairs[key] for key in WORDS if key in pairs}
    if _is_price(place):
        numbers["price"], units["price"] = parse_number(text, "price", f"{place}/accel-h", today)
        place = ""
    return OptionSpec(
        text=text, kind=kind, what=what.strip(), place=place.strip(), numbers=numbers, units=units, words=words
    )


def _key(text: str, key: str) -> str:
    key = key.strip().lower().replace("accel_hours", "accel-hours")
    key = _KEY_ALIASES.get(key, key)
    known = (*NUMBERS, *PERIODIC, *WORDS)
    if key not in known:
        near = get_close_matches(key, known, 2)
        hint = f" Did you mean {' or '.join(near)}?" if near else f" Known: {', '.join(known)}."
        raise QueryError(f"--option {text!r}: unknown key {key!r}.{hint}", choices=near)
    return key


def _numbers(text: str, pairs: Mapping[str, str], today: str) -> tuple[dict[str, Estimate], dict[str, str]]:
    numbers: dict[str, Estimate] = {}
    units: dict[str, str] = {}
    for key, value in pairs.items():
        if key not in WORDS:
            numbers[key], units[key] = parse_number(text, key, value, today)
    return numbers, units


def _is_price(place: str) -> bool:
    try:
        return bool(place) and Decimal(place) > 0
    except InvalidOperation:
        return False


def parse_rates(where: str, text: str | None) -> Mapping[str, Decimal]:
    """Dollars for one unit of each currency, out of ``EURUSD=1.10,GBPUSD=1.30``; errors name `where`."""
    rates: dict[str, Decimal] = {}
    for word in filter(None, (text or "").split(",")):
        pair, _equals, rate = (part.strip() for part in word.partition("="))
        try:
            number = Decimal(rate)
        except InvalidOperation:
            number = Decimal("NaN")
        if len(pair) != 6 or not pair.upper().endswith("USD") or not number.is_finite() or number <= 0:
            raise QueryError(f"{where}: {word!r} is no rate. Write EURUSD=1.10: dollars for one euro.")
        rates[pair[:3].upper()] = number
    return rates


def parse_number(where: str, key: str, text: str, today: str) -> tuple[Estimate, str]:
    """A value, or a range of two or three, with its unit: ``0.10..0.15..0.25``, ``20%``, ``120/kW-month``.

    The unit follows the last number. Of a range of two, the middle is taken as likely.
    """
    pieces = text.replace("USD", "").strip().split("..")
    if not 1 <= len(pieces) <= 3:
        raise QueryError(f"--option {where!r}: {key}={text!r} is no range. Write low..likely..high.")
    found = [_one(where, key, piece) for piece in pieces]
    suffix = found[-1][1]
    unit, scale = _unit(where, key, suffix, text)
    values = [value * scale for value, _ in found]
    if len(values) == 2:
        values.insert(1, (values[0] + values[1]) / 2)
    low, likely, high = values if len(values) == 3 else values * 3
    if not low <= likely <= high:
        raise QueryError(f"--option {where!r}: {key}={text!r} does not rise from low to high.")
    if high > _MOST or (key in _ABOVE_ZERO and low <= 0):
        raise QueryError(f"--option {where!r}: {key}={text!r} must be above 0 and at most {_MOST:.0e}.")
    if key in _WHOLE and any(value != int(value) for value in values):
        raise QueryError(f"--option {where!r}: {key}={text!r} must be a whole number.")
    if key in _SHARES and unit != "USD" and high > 1:
        raise QueryError(f"--option {where!r}: {key}={text!r} is a share: at most 100 %.")
    if key == "residual" and unit == "USD" and 0 < high <= 1:
        raise QueryError(f"--option {where!r}: {key}={text!r}: write a share as 20%, or an amount of money.")
    shown = _shown(key, unit)
    estimate = Estimate(key, low, likely, high, shown, "given by you", today, True, f"{key}=", given=True)
    return estimate, unit


def _shown(key: str, unit: str) -> str:
    """The unit in full, for explanations."""
    if unit in ("%", "fraction", "fraction/y"):
        return unit.replace("%", "fraction")
    if key in PERIODIC or unit.startswith("/"):
        return f"USD/{unit.lstrip('/')}"
    return unit


def _one(where: str, key: str, text: str) -> tuple[Decimal, str]:
    match = _NUMBER.match(text.strip())
    if match is None:
        raise QueryError(f"--option {where!r}: {key}={text!r} is no number of 0 or more.")
    digits, scale, rest = match.groups()
    if scale and scale + rest.strip() in NUMBERS.get(key, ()):  # 64kWh are 64 of a kWh, and not 64,000 of a Wh
        scale, rest = "", scale + rest
    if scale and rest.lower().startswith("tok"):  # 0.9/Mtok has no scale; 400Mtok has
        rest = rest[3:]
    return Decimal(digits.replace("_", "")) * _SCALE[scale], rest.strip()


def _unit(where: str, key: str, suffix: str, text: str) -> tuple[str, Decimal]:
    """The unit that a suffix stands for, and what a number in it is multiplied by."""
    if key in PERIODIC:
        per = _PER.get(suffix.removeprefix("/").lower().replace(" ", ""))
        if per is None:
            raise QueryError(
                f"--option {where!r}: {key}={text!r}: per what? "
                f"Write {key}={text}/y, /month, /kW-month, /term, or a share of the capex such as 5%/y."
            )
        return per, Decimal("0.01") if per == "fraction/y" else Decimal(1)
    allowed = NUMBERS[key]
    if not suffix:
        if allowed[0] == "!":
            shown = ", ".join(unit for unit in allowed[1:])
            raise QueryError(f"--option {where!r}: {key}={text!r}: in what? Write the unit: {shown}.")
        return allowed[0], Decimal(1)
    for unit in allowed:
        if suffix.lower().replace(" ", "").lstrip("/") == unit.lower().lstrip("/"):
            return unit, Decimal("0.01") if unit == "%" else Decimal(1)
    raise QueryError(
        f"--option {where!r}: {key}={text!r}: unit {suffix!r} is none of {', '.join(filter(None, allowed))}."
    )
