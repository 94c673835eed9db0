"""In which money an answer is read: sums stay in one currency, and are shown in another beside it, and with tax."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

_PLACES = Decimal("0.0001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How sums are shown beside themselves.

    Attributes
    ----------
    currency
        Code of the currency they are shown in.
    rate
        Units of it for one unit of the currency that sums are in; 1 when it is the same.
    as_of, source
        Day and source of the rate; None when nothing is converted.
    tax_percent
        Tax that the user stated; None when not stated. No sum has it in itself.
    """

    currency: str
    rate: Decimal = Decimal(1)
    as_of: str | None = None
    source: str | None = None
    tax_percent: Decimal | None = None

    def amount(self, sum_: Decimal | None) -> Decimal | None:
        """`sum_` in `currency`, to four decimals; None stays unknown."""
        return None if sum_ is None else (sum_ * self.rate).quantize(_PLACES, rounding=ROUND_HALF_EVEN)

    def tax(self, sum_: Decimal | None) -> Decimal | None:
        """The tax on `sum_`, in `currency`; None when either is unknown."""
        amount = self.amount(sum_)
        if amount is None or self.tax_percent is None:
            return None
        return (amount * self.tax_percent / 100).quantize(_PLACES, rounding=ROUND_HALF_EVEN)

    def plain(self) -> dict[str, str | None]:
        """As JSON has it: money and rates are text."""
        tax = None if self.tax_percent is None else f"{self.tax_percent.normalize():f}"
        rate = f"{self.rate.normalize():f}"
        return {
            "currency": self.currency, "rate": rate, "as_of": self.as_of, "source": self.source, "tax_percent": tax,
        }  # fmt: skip

    def of(self, sum_: Decimal | None) -> dict[str, str | None]:
        """A sum as JSON has it: in `currency`, the tax on it, and both together."""
        amount, tax = self.amount(sum_), self.tax(sum_)
        both = None if amount is None or tax is None else amount + tax
        return {name: None if value is None else f"{value.normalize():f}"
                for name, value in (("amount", amount), ("tax", tax), ("with_tax", both))}  # fmt: skip
