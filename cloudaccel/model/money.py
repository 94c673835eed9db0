"""Money: `Decimal` outside, integer nano-units inside files, text in JSON.

One nano-unit is 1e-9 of the currency unit. The finest published price seen is 1e-9 (Google's `nanos`), so nothing
is lost by it, and SQLite compares and sums integers exactly.
"""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

NANO = 1_000_000_000
MAX_AMOUNT = Decimal(9_000_000_000)  # keeps nano-units inside SQLite's signed 64-bit integer


def parse_amount(text: str) -> Decimal | None:
    """The amount in `text`, or None when it is empty (unknown).

    Raises
    ------
    ValueError
        If the text is no plain, finite, non-negative decimal number below 9e9.
    """
    text = text.strip()
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount of money") from None
    if not amount.is_finite() or amount < 0 or amount >= MAX_AMOUNT:
        raise ValueError(f"{text!r} is not an amount between 0 and {MAX_AMOUNT}")
    return amount


def to_nano(amount: Decimal | None) -> int | None:
    """Whole nano-units of `amount`, rounded half to even beyond the ninth decimal; None stays None."""
    if amount is None:
        return None
    return int((amount * NANO).to_integral_value(rounding=ROUND_HALF_EVEN))


def from_nano(nano: int | None) -> Decimal | None:
    """The amount of `nano` nano-units, without trailing zeros; None stays None."""
    if nano is None:
        return None
    amount = (Decimal(nano) / NANO).normalize()
    # normalize() writes 100 as 1E+2, which is no plain number in a CSV.
    return amount.quantize(Decimal(1)) if amount == amount.to_integral_value() else amount
