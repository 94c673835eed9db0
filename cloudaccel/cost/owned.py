"""What owned machines cost: per month, by year, per delivered accelerator-hour; and what they ask of a room.

Every cost is a line of factors that multiply to its amount. Formulas: docs/explanation/owning.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from cloudaccel.cost.npv import capital_recovery, discount_factor, npv_of_buying, sinking_fund
from cloudaccel.model import HOURS_PER_MONTH
from cloudaccel.model.decision import Estimate, Facility, Factor, Line, YearCost

Values = Mapping[str, Decimal]

# Heat: 1 kW is 3,412.14 BTU/h, and a ton of refrigeration takes 3.51685 kW away (both by definition).
BTU_PER_H_PER_KW = Decimal("3412.14")
KW_PER_TON = Decimal("3.51685")
_MONTHS = Decimal(12)
_HOURS = Decimal(HOURS_PER_MONTH)
HOURS_PER_YEAR = _MONTHS * _HOURS

# What a cost that comes back is charged by.
PERIODS = ("y", "month", "term", "kW-month", "fraction/y", "accel-y", "h", "accel-h")
# Lines of the price of the machines, spread over their life: all others are running costs.
CAPITAL = ("capital", "resale")
# Shares of the servers' price, and money per kW, that come on top of the servers.
ADDED_SHARES = ("network", "storage", "spares")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """Machines of one's own, and every number that their cost rests on.

    Attributes
    ----------
    inputs
        By name. ``capex`` (all of it), or ``server`` (one system) with ``network``, ``storage`` and ``spares`` (shares
        of the servers) and ``retrofit`` (USD per kW); ``years``, ``residual`` (share of capex, or money), ``wacc``;
        ``kw`` (most that all draw), ``load``, ``pue``, ``kwh``; and the costs named in `periodic`.
    periodic
        Names of costs that come back, each with one of `PERIODS`.
    residual_is_money
        Whether ``residual`` is money rather than a share of the capex.
    counted
        ``full``, or ``marginal``: power only, of a machine that is there anyway.
    """

    accelerators: int
    systems: int
    inputs: Mapping[str, Estimate]
    periodic: Mapping[str, str] = field(default_factory=dict[str, str])
    residual_is_money: bool = False
    counted: str = "full"
    cooling: str = ""

    def likely(self) -> dict[str, Decimal]:
        """The likely value of every input."""
        return {name: estimate.likely for name, estimate in self.inputs.items()}


def capex_lines(owned: Owned, values: Values | None = None) -> tuple[Line, ...]:
    """What is paid before the first hour: servers, network, storage, spares, room; or the capex as it was given."""
    v = values or owned.likely()
    if "capex" in v:
        return (Line("capex", (Factor(v["capex"], "USD"),)),)
    if "server" not in v:
        return ()
    servers = (Factor(Decimal(owned.systems), "systems"), Factor(v["server"], "USD/system"))
    lines = [Line("servers", servers)]
    lines += [Line(name, (*servers, Factor(v[name], "of servers"))) for name in ADDED_SHARES if name in v]
    if "retrofit" in v and "kw" in v:
        lines.append(Line("room", (Factor(v["kw"], "kW"), Factor(v["retrofit"], "USD/kW"))))
    return tuple(lines)


def capex_of(owned: Owned, values: Values | None = None) -> Decimal | None:
    """The sum of `capex_lines`; None when nothing says what the machines cost."""
    lines = capex_lines(owned, values)
    return sum((line.amount or Decimal(0) for line in lines), Decimal(0)) if lines else None


def residual_of(owned: Owned, values: Values | None = None) -> Decimal:
    """What the machines are sold for at the end of their life, USD; 0 when no residual is counted."""
    v = values or owned.likely()
    if "residual" not in v:
        return Decimal(0)
    return v["residual"] if owned.residual_is_money else v["residual"] * (capex_of(owned, v) or 0)


def monthly_lines(owned: Owned, values: Values | None = None) -> tuple[Line, ...]:
    """Cost per month of 730 hours, whether the machines are used or not."""
    v = values or owned.likely()
    power = _power(v)
    if owned.counted == "marginal":
        return power
    periodic = tuple(_periodic(owned, v, name, per) for name, per in owned.periodic.items())
    return (*_capital(owned, v), *power, *periodic)


def _capital(owned: Owned, v: Values) -> tuple[Line, ...]:
    """Capital paid back over the life, and what the sale brings back, negative. With interest when there is a wacc."""
    capex = capex_of(owned, v)
    if capex is None or "years" not in v:
        return ()
    rate, years = v.get("wacc", Decimal(0)), v["years"]
    spread: tuple[Factor, ...] = (Factor(years, "years", divide=True), Factor(_MONTHS, "months/year", divide=True))
    back = spread
    if rate:
        month = Factor(_MONTHS, "months/year", divide=True)
        spread = (Factor(capital_recovery(rate, years), "recovery/year"), month)
        back = (Factor(sinking_fund(rate, years), "sinking fund/year"), month)
    lines = [Line("capital", (Factor(capex, "USD capex"), *spread))]
    if v.get("residual"):
        sold = (Factor(-v["residual"], "USD"),)
        if not owned.residual_is_money:
            sold = (Factor(-capex, "USD capex"), Factor(v["residual"], "residual share"))
        lines.append(Line("resale", (*sold, *back)))
    return tuple(lines)


def _power(v: Values) -> tuple[Line, ...]:
    if "energy" in v:  # kWh that somebody metered over a month
        return (Line("power", (Factor(v["energy"], "kWh"), Factor(v.get("kwh"), "USD/kWh"))),)
    if "kw" not in v or "kwh" not in v:
        return ()
    factors = [Factor(v["kw"], "kW"), Factor(v.get("load", Decimal(1)), "load")]
    factors += [Factor(v.get("pue", Decimal(1)), "PUE"), Factor(_HOURS, "h"), Factor(v["kwh"], "USD/kWh")]
    return (Line("power", tuple(f for f in factors if f.unit not in ("load", "PUE") or f.value != 1)),)


def _periodic(owned: Owned, v: Values, name: str, per: str) -> Line:
    value = v[name]
    month = Factor(_MONTHS, "months/year", divide=True)
    factors: tuple[Factor, ...]
    if per == "fraction/y":
        factors = (Factor(capex_of(owned, v), "USD capex"), Factor(value, "of capex/year"), month)
    elif per == "accel-y":
        factors = (Factor(Decimal(owned.accelerators), "accelerators"), Factor(value, "USD/accelerator-year"), month)
    elif per == "accel-h":
        each = Factor(Decimal(owned.accelerators), "accelerators")
        factors = (each, Factor(value, "USD/accelerator-hour"), Factor(_HOURS, "h"))
    elif per == "kW-month":
        factors = (Factor(v.get("kw"), "kW"), Factor(value, "USD/kW-month"))
    elif per == "term":
        years = Factor(v.get("years"), "years", divide=True)
        factors = (Factor(value, "USD over the term"), years, month)
    elif per == "h":
        factors = (Factor(value, "USD/h"), Factor(_HOURS, "h"))
    else:
        factors = (Factor(value, "USD/y"), month) if per == "y" else (Factor(value, "USD/month"),)
    return Line(name, factors)


def running_per_month(owned: Owned, values: Values | None = None) -> Decimal | None:
    """Cost per month without the capital; None when a part is unknown."""
    total = Decimal(0)
    for line in monthly_lines(owned, values):
        if line.name in CAPITAL:
            continue
        if line.amount is None:
            return None
        total += line.amount
    return total


def per_accelerator_hour(per_month: Decimal, accelerators: int, use: Decimal = Decimal(1)) -> Decimal:
    """Cost of an accelerator-hour that is delivered: the month over accelerators x 730 h x share of hours used."""
    if not 0 < use <= 1:
        raise ValueError(f"use {use} must be above 0 and at most 1")
    return per_month / (accelerators * _HOURS * use)


def cost_by_year(owned: Owned, values: Values | None = None) -> tuple[YearCost, ...]:
    """Money out by year: the capex at the start, running costs each year, the resale in the last one."""
    v = values or owned.likely()
    running = running_per_month(owned, v)
    if "years" not in v or running is None:
        return ()
    rate, years = v.get("wacc", Decimal(0)), int(v["years"].to_integral_value(rounding=ROUND_CEILING))
    capex = capex_lines(owned, v)
    costs = [YearCost(0, capex, capex_of(owned, v) or Decimal(0), capex_of(owned, v) or Decimal(0))]
    monthly = tuple(line for line in monthly_lines(owned, v) if line.name not in CAPITAL)
    year_lines = tuple(Line(line.name, (*line.factors, Factor(_MONTHS, "months"))) for line in monthly)
    for year in range(1, years + 1):
        lines, total = year_lines, running * _MONTHS
        if year == years and (residual := residual_of(owned, v)):
            lines, total = (*lines, Line("resale", (Factor(-residual, "USD"),))), total - residual
        costs.append(YearCost(year, lines, total, total * discount_factor(rate, year)))
    return tuple(costs)


def npv_against_rent(
    owned: Owned,
    rent_per_accelerator_hour: Decimal,
    *,
    use: Decimal = Decimal(1),
    rent_decline: Decimal = Decimal(0),
    values: Values | None = None,
) -> Decimal | None:
    """Present value of owning instead of renting the hours that are used; None when the cost is not known.

    Cloud hours are paid only when used, so use multiplies the rent that is avoided and not the cost of owning.
    """
    v = values or owned.likely()
    capex, running = capex_of(owned, v), running_per_month(owned, v)
    if capex is None or running is None or "years" not in v:
        return None
    return npv_of_buying(
        capex,
        rent_avoided_per_year=rent_per_accelerator_hour * owned.accelerators * HOURS_PER_YEAR * use,
        opex_per_year=running * _MONTHS,
        residual=residual_of(owned, v),
        rate=v.get("wacc", Decimal(0)),
        years=int(v["years"].to_integral_value(rounding=ROUND_CEILING)),
        rent_decline=rent_decline,
    )


def facility_of(owned: Owned, rack_kw: Decimal, values: Values | None = None) -> Facility | None:
    """Power, heat, cooling and racks of the machines; None when nobody has said what they draw.

    `racks` is None when one system draws more than a rack of `rack_kw` may.
    """
    v = values or owned.likely()
    if "kw" not in v:
        return None
    kw = v["kw"]
    each = kw / owned.systems
    fit = int(rack_kw // each)
    kwh = kw * v.get("load", Decimal(1)) * v.get("pue", Decimal(1)) * HOURS_PER_YEAR
    return Facility(
        systems=owned.systems,
        servers_cost=v["server"] * owned.systems if "server" in v else None,
        it_kw=kw,
        site_kw=kw * v.get("pue", Decimal(1)),
        heat_btu_per_h=kw * BTU_PER_H_PER_KW,
        cooling_tons=kw / KW_PER_TON,
        systems_per_rack=fit,
        racks=-(-owned.systems // fit) if fit else None,
        cooling=owned.cooling,
        kwh_per_year=kwh,
        rack_kw=rack_kw,
        electricity_per_year=kwh * v["kwh"] if "kwh" in v else None,
        g_per_kwh=v.get("grid"),
        carbon_kg_per_year=kwh * v["grid"] / 1000 if "grid" in v else None,
    )
