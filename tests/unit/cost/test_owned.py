"""What owned machines cost: identities that others published, the tables behind them, and money over time."""

from decimal import Decimal
from math import isclose

import pytest

from cloudaccel.cost import npv
from cloudaccel.cost.owned import (
    Owned,
    capex_of,
    cost_by_year,
    facility_of,
    monthly_lines,
    npv_against_rent,
    per_accelerator_hour,
)
from cloudaccel.errors import UnknownName
from cloudaccel.facts import accelerators, owned
from cloudaccel.facts.owned import find_system, owning, systems, systems_with, tariff, tariffs
from cloudaccel.model.decision import Estimate, total_of_lines


def number(name: str, value: object) -> Estimate:
    v = Decimal(str(value))
    return Estimate(name, v, v, v, "", "the test", "2026-11-25", True)


def machines(accelerators: int, systems: int = 1, per: dict[str, str] | None = None, **values: object) -> Owned:
    inputs = {name: number(name, value) for name, value in values.items()}
    return Owned(accelerators=accelerators, systems=systems, inputs=inputs, periodic=per or {})


PER = {"colo": "kW-month", "staff": "y", "maintenance": "fraction/y", "insurance": "fraction/y"}


@pytest.mark.parametrize(
    ("price", "kw", "accelerators", "full", "at_70", "at_40"),
    [
        (199_000, "6.5", 8, "1.50", "2.15", "3.76"),  # DGX A100
        (255_000, "10.2", 8, "1.99", "2.85", "4.98"),  # HGX H100
        (315_000, "10.2", 8, "2.35", "3.35", "5.87"),  # HGX H200
        (450_000, "14.3", 8, "3.32", "4.74", "8.29"),  # DGX B200
        (3_100_000, "132", 72, "2.66", "3.80", "6.65"),  # GB200 NVL72
        (265_000, "11", 8, "2.08", "2.98", "5.21"),  # MI300X
        (190_000, "12", 8, "1.68", "2.40", "4.21"),  # Gaudi 3
        (110_000, "4.5", 8, "0.89", "1.28", "2.24"),  # L40S
    ],
)
def test_the_table_of_the_research_comes_out(
    price: int, kw: str, accelerators: int, full: str, at_70: str, at_40: str
) -> None:
    """4 years, 20 % residual, 9 % WACC, 12 % network, colo 196, 0.086 per kWh, load 0.8, maintenance 10 %."""
    staff = 3800 * accelerators // 8 if accelerators == 72 else 3800
    case = machines(
        accelerators, 1, PER, server=price, network="0.12", residual="0.2", years=4, wacc="0.09", kw=kw, load="0.8",
        kwh="0.086", colo=196, staff=staff, maintenance="0.1", insurance="0.005",
    )  # fmt: skip
    month = total_of_lines(monthly_lines(case))
    assert month is not None
    for use, expected in (("1", full), ("0.7", at_70), ("0.4", at_40)):
        assert isclose(per_accelerator_hour(month, accelerators, Decimal(use)), Decimal(expected), rel_tol=0.02), use


def test_500_dgx_a100_of_the_founding_article() -> None:
    system = find_system("DGX A100 320GB")
    assert system.price is not None
    assert system.max_kw is not None
    case = machines(
        4000, 500, server=system.price.likely, kw=system.max_kw * 500, load="0.8", pue="1.54", kwh="0.086", years=4
    )
    assert capex_of(case) == 99_500_000
    room = facility_of(case, Decimal(30))
    assert room is not None
    assert room.it_kw == 3250
    assert round(room.site_kw) == 5005
    assert round(room.cooling_tons) == 924
    assert room.racks == 125
    assert room.electricity_per_year is not None
    assert round(room.electricity_per_year) == 3_016_453  # 3 % of the servers' price


def test_lenovo_break_even_to_the_hour() -> None:
    """LP2225: 833,806 USD of 8 H100 against 98.32 an hour on demand, at 0.87 an hour to run."""
    hours = npv.payback_hours(Decimal(833_806), rent_per_hour=Decimal("98.32"), opex_per_hour=Decimal("0.87"))
    assert hours is not None
    assert round(hours) == 8556
    assert npv.payback_hours(Decimal(833_806), rent_per_hour=Decimal("0.87"), opex_per_hour=Decimal("0.87")) is None


def test_the_years_add_up_to_the_months() -> None:
    case = machines(8, 1, PER, capex=300_000, residual="0.25", years=4, kw=10, kwh="0.1", colo=150, staff=9000,
                    maintenance="0.1", insurance="0.01")  # fmt: skip
    month = total_of_lines(monthly_lines(case))
    years = cost_by_year(case)
    assert month is not None
    assert abs(sum(y.total for y in years) - month * 48) < Decimal("0.0001")
    assert [y.year for y in years] == [0, 1, 2, 3, 4]
    assert all(
        sum((line.amount or Decimal(0) for line in y.lines), Decimal(0)) == pytest.approx(y.total) for y in years
    )  # pyright: ignore[reportUnknownMemberType]


def test_capital_recovered_with_interest_is_worth_the_capital() -> None:
    """The yearly payment discounted is the capex less the discounted resale: CRF and NPV are one model."""
    case = machines(8, 1, capex=300_000, residual="0.2", years=5, wacc="0.09")
    year = (total_of_lines(monthly_lines(case)) or Decimal(0)) * 12
    worth = npv.npv(Decimal("0.09"), [Decimal(0), *[year] * 5])
    expected = 300_000 - 60_000 * npv.discount_factor(Decimal("0.09"), 5)
    assert isclose(worth, expected, rel_tol=1e-9)


def test_npv_against_rent_changes_sign_with_use_and_with_the_fall_of_rents() -> None:
    case = machines(8, 1, PER, capex=300_000, residual="0.2", years=4, wacc="0.09", kw=10, kwh="0.1", colo=150,
                    staff=9000, maintenance="0.1", insurance="0.01")  # fmt: skip
    full, idle = npv_against_rent(case, Decimal(3)), npv_against_rent(case, Decimal(3), use=Decimal("0.3"))
    falling = npv_against_rent(case, Decimal("2.4"), rent_decline=Decimal("0.19"))
    still = npv_against_rent(case, Decimal("2.4"))
    assert None not in (full, idle, falling, still)
    assert (full or 0) > 0 > (idle or 0)
    assert (still or 0) > (falling or 0)


def test_every_row_has_source_date_and_range() -> None:
    for system in systems():
        assert system.source
        assert system.as_of
        assert system.buyable == (system.price is not None)
        assert accelerators.by_id(system.accelerator_id).family == system.family
    assert len([s for s in systems() if s.buyable]) >= 20
    for estimate in (*owning().values(), *(t.price for t in tariffs())):
        assert estimate.source
        assert estimate.as_of
        assert estimate.low <= estimate.likely <= estimate.high


def test_what_cannot_be_bought_is_said() -> None:
    unsold = {s.family for s in systems() if not s.buyable}
    rented_only = {
        a.family for a in accelerators.all_accelerators() if a.kind in ("tpu", "neuron") and a.status == "ga"
    }
    assert rented_only <= unsold
    assert systems_with(frozenset({"google-tpu-v5e"}))[0].price is None


def test_systems_are_chosen_verified_and_cheapest_first() -> None:
    found = systems_with(frozenset({"nvidia-h100-sxm-80gb"}))
    assert found[0].id == "hgx-h100-8"
    assert all(s.verified for s in found[:2])
    assert systems_with(frozenset({"intel-gaudi3"}))[0].complete


def test_tariffs_by_country_state_and_continent() -> None:
    assert tariff("Germany") == tariff("DE")
    assert tariff("DE").currency == "EUR"
    assert tariff("US Iowa").price.likely == Decimal("0.0604")
    assert tariff("US").name == "United States average"
    with pytest.raises(UnknownName) as caught:
        tariff("Atlantis")
    assert caught.value.choices
    with pytest.raises(UnknownName):
        owned.find_system("dgx-z900")


def test_use_must_be_a_share() -> None:
    for use in ("0", "1.01", "-1"):
        with pytest.raises(ValueError):
            per_accelerator_hour(Decimal(1), 8, Decimal(use))
