"""Money over time: present value, annuities, payback. Rates are per year, as fractions."""

from collections.abc import Sequence
from decimal import Decimal

# Factors are rounded to what is printed, so that a reader's product is ours: 1e-12 of 100 million is a ten-thousandth
# of a cent.
_PLACES = Decimal("1e-12")


def discount_factor(rate: Decimal, years: int) -> Decimal:
    """What 1 paid after `years` is worth now."""
    return (1 / (1 + rate) ** years).quantize(_PLACES)


def npv(rate: Decimal, flows: Sequence[Decimal]) -> Decimal:
    """Present value of yearly flows; the first is paid at the start."""
    return sum((flow * discount_factor(rate, year) for year, flow in enumerate(flows)), Decimal(0))


def capital_recovery(rate: Decimal, years: Decimal) -> Decimal:
    """Yearly payment that pays back 1 with interest over `years` (CRF); 1/years at no interest.

    Source: w(1+w)^y / ((1+w)^y - 1).
    """
    if rate == 0:
        return (1 / years).quantize(_PLACES)
    growth = (1 + rate) ** years
    return (rate * growth / (growth - 1)).quantize(_PLACES)


def sinking_fund(rate: Decimal, years: Decimal) -> Decimal:
    """Yearly payment that grows to 1 over `years`: recovery less interest."""
    return capital_recovery(rate, years) - rate


def npv_of_buying(
    capex: Decimal,
    *,
    rent_avoided_per_year: Decimal,
    opex_per_year: Decimal,
    residual: Decimal,
    rate: Decimal,
    years: int,
    rent_decline: Decimal = Decimal(0),
) -> Decimal:
    """Present value of buying instead of renting; above 0: buying is worth it.

    The rent that is avoided falls by `rent_decline` a year: a rent of today is not the rent of year four.
    """
    flows = [-capex]
    for year in range(1, years + 1):
        avoided = rent_avoided_per_year * (1 - rent_decline) ** (year - 1)
        flows.append(avoided - opex_per_year + (residual if year == years else 0))
    return npv(rate, flows)


def mean_share(decline: Decimal, months: Decimal, term: Decimal | None = None) -> Decimal:
    """Mean over so many months of a price that falls by `decline` a year, as a share of today's; 1: it does not fall.

    It is paid as it is until `term` months are over, a year when nobody is bound, and then is what it has fallen to:
    after k terms (1 - decline)^(k x term / 12). So a commitment that outlasts the months keeps its price.
    """
    term = term or Decimal(12)
    terms = int(months / term)
    if not decline or not terms:
        return Decimal(1)
    left = (1 - decline) ** (term / 12)  # of a term's price in the next one
    summed = term * (1 - left**terms) / (1 - left) + (months - terms * term) * left**terms
    return (summed / months).quantize(_PLACES)


def payback_hours(capex: Decimal, *, rent_per_hour: Decimal, opex_per_hour: Decimal) -> Decimal | None:
    """Hours of use after which `capex` is earned back; None: never, as running costs what the rent does, or more."""
    saved = rent_per_hour - opex_per_hour
    return capex / saved if saved > 0 else None
