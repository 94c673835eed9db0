"""Properties of decisions: signs change, totals equal their factors, the solver equals brute force."""

import time
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cloudaccel.api import deciding
from cloudaccel.cost.npv import capital_recovery, payback_hours, sinking_fund
from cloudaccel.decide.breakeven import break_even_use, find_root
from cloudaccel.model.decision import total_of_lines
from cloudaccel.model.roadmap import RoadCase, RoadOption

cents = st.integers(1, 10_000_000).map(lambda n: Decimal(n) / 100)
rents = st.integers(10, 5000).map(lambda n: Decimal(n) / 100)


@given(month=cents, accelerators=st.integers(1, 4096), rent=rents)
def test_break_even_use_is_where_owning_and_renting_change_places(
    month: Decimal, accelerators: int, rent: Decimal
) -> None:
    use = break_even_use(month, accelerators, rent)
    full_rent = accelerators * 730 * rent
    if use is None:
        assert month > full_rent or month / full_rent < Decimal("1e-8")
        return
    assert abs(full_rent * use - month) <= month * Decimal("1e-6") + Decimal("0.001")
    assert full_rent * use * Decimal("1.01") > month  # more use: owning is cheaper
    assert full_rent * use * Decimal("0.99") < month  # less: renting is


@given(root=st.integers(-1000, 1000), slope=st.sampled_from([-3, -1, 2, 7]))
def test_root_finder(root: int, slope: int) -> None:
    found = find_root(lambda x: slope * (x - root), Decimal(-1001), Decimal(1001))
    assert found is not None
    assert abs(found - root) < Decimal("1e-6")
    assert find_root(lambda x: x * x + 1, Decimal(-1), Decimal(1)) is None


@given(rate=st.integers(0, 30), years=st.integers(1, 10))
def test_annuities(rate: int, years: int) -> None:
    r, y = Decimal(rate) / 100, Decimal(years)
    recovery, fund = capital_recovery(r, y), sinking_fund(r, y)
    assert recovery >= fund >= 0
    grown = sum(fund * (1 + r) ** k for k in range(years))
    assert abs(grown - 1) < Decimal("1e-9")


@given(capex=cents, rent=rents, opex=rents)
def test_payback_is_never_exactly_when_running_costs_the_rent(capex: Decimal, rent: Decimal, opex: Decimal) -> None:
    hours = payback_hours(capex, rent_per_hour=rent, opex_per_hour=opex)
    assert (hours is None) == (opex >= rent)
    if hours is not None:
        assert abs(hours * (rent - opex) - capex) < Decimal("1e-9") * capex


def own_against(rent: Decimal, hours: int = 730) -> tuple[str, Decimal, Decimal]:
    found = deciding.compare(["own:annual=160000,gpus=8", f"rent:H100:8@{rent}"], hours=str(hours))
    own, rented = found.ways
    assert found.cheapest is not None
    return found.ways[found.cheapest].kind, own.total or Decimal(0), rented.total or Decimal(0)


@settings(max_examples=30)
@given(rent=st.integers(50, 900).map(lambda n: Decimal(n) / 100), hours=st.integers(1, 730))
def test_the_answer_changes_sign_with_rent_and_use(rent: Decimal, hours: int) -> None:
    kind, own, rented = own_against(rent, hours)
    assert (kind == "own") == (Decimal(160_000) <= rent * 8 * hours * 12)
    assert abs(own - 160_000) < Decimal("0.001")
    assert rented == rent * 8 * hours * 12


@settings(max_examples=20)
@given(capex=st.integers(10_000, 900_000), kw=st.integers(1, 20), years=st.integers(1, 6), wacc=st.integers(0, 20))
def test_every_factor_multiplies_to_the_total(capex: int, kw: int, years: int, wacc: int) -> None:
    option = (
        f"own:8xH100,capex={capex},kw={kw},kwh=0.11,pue=1.4,years={years},wacc={wacc}%,residual=20%,colo=99/kW-month"
    )
    (way,) = deciding.compare([option]).ways
    assert way.per_month == total_of_lines(way.lines)
    by_year = sum((y.total for y in way.years), Decimal(0))
    running = sum((line.amount or 0 for line in way.lines if line.name in ("power", "colo")), Decimal(0))
    assert abs(by_year - (capex * Decimal("0.8") + running * 12 * years)) < Decimal("0.001")


@settings(max_examples=25)
@given(
    price=st.integers(1, 400).map(lambda n: Decimal(n) / 100),
    rate=st.integers(100, 20_000),
    rent=st.integers(50, 1000).map(lambda n: Decimal(n) / 100),
)
def test_break_even_volume_is_where_api_and_machines_change_places(price: Decimal, rate: int, rent: Decimal) -> None:
    options = [f"api:price={price}/Mtok", f"rent:H100:8@{rent},throughput={rate}"]
    (b,) = [x for x in deciding.compare(options, demand="1M-tokens/month").break_evens if x.unit == "tokens/month"]
    full = rent * 8 * 730 / (Decimal(rate) * 3600 * 730) * 1_000_000
    if b.at is None:
        assert full >= price * Decimal("0.999")
        return
    costs = [w.per_month or 0 for w in deciding.compare(options, demand=f"{b.at:.0f}-tokens/month").ways]
    assert abs(costs[0] - costs[1]) <= price + Decimal("0.01")


def options_at(values: Mapping[str, Decimal], ranged: str = "") -> list[str]:
    """An API, a rent with a fee at the start and a server; of `ranged` a range around its value, of the others none."""

    def word(name: str) -> str:
        v = values[name]
        return f"{v / 3:f}..{v:f}..{v * 3:f}" if name == ranged else f"{v:f}"

    return [
        f"api:price={word('api')}/Mtok",
        f"rent:H100-SXM:8,price={word('rent')}/h,upfront={word('fee')},throughput=6000",
        f"own:8xH100,capex={word('capex')},years=3,opex={word('opex')}/month,throughput=6000",
    ]  # fmt: skip


def winner(values: Mapping[str, Decimal], demand: str) -> str:
    found = deciding.compare(options_at(values), demand=demand)
    assert found.cheapest is not None
    return found.ways[found.cheapest].label


figures = st.fixed_dictionaries({
    "api": st.integers(10, 300).map(lambda n: Decimal(n) / 100), "rent": st.integers(4, 60).map(Decimal),
    "fee": st.integers(1, 200_000).map(Decimal), "capex": st.integers(50_000, 500_000).map(Decimal),
    "opex": st.integers(500, 20_000).map(Decimal),
})  # fmt: skip


@settings(max_examples=60)
@given(values=figures, ranged=st.sampled_from(["api", "rent", "fee", "capex", "opex"]), billions=st.integers(1, 60))
def test_a_flip_that_is_printed_flips_and_none_is_hidden(
    values: dict[str, Decimal], ranged: str, billions: int
) -> None:
    demand = f"{billions}B-tokens/month"
    found = deciding.compare(options_at(values, ranged), demand=demand, sensitivity=True)
    now = winner(values, demand)
    ends = {winner({**values, ranged: end}, demand) for end in (values[ranged] / 3, values[ranged] * 3)}
    costs = sorted(w.total or Decimal(0) for w in found.ways)
    assume(costs[1] - costs[0] > costs[0] / 10_000)  # of equals either is the cheapest
    (swing,) = found.swings
    assert swing.flips == (ends != {now})
    if swing.flips_at is not None:
        sides = [winner({**values, ranged: swing.flips_at * side}, demand) for side in _BESIDE]
        assert now in sides
        assert sides[0] != sides[1]


_BESIDE = (Decimal("0.9999"), Decimal("1.0001"))


@settings(max_examples=40)
@given(values=figures, billions=st.integers(1, 60))
def test_who_is_cheapest_from_a_volume_on_is_so_there(values: dict[str, Decimal], billions: int) -> None:
    turns = deciding.compare(options_at(values), demand=f"{billions}B-tokens/month").leaders
    for (_, before), (at, label) in pairwise(turns):
        assert winner(values, f"{at * _BESIDE[1]:.0f}-tokens/month") == label
        assert winner(values, f"{at * _BESIDE[0]:.0f}-tokens/month") == before


months = st.integers(2, 3)
few = st.integers(0, 2)


@st.composite
def road_cases(draw: st.DrawFn) -> RoadCase:
    """One workload, one way of each kind, and at times a limit, machines from before, early sales, power, a budget."""
    serves, fall = {"w": Decimal(8)}, Decimal(draw(st.integers(0, 30))) / 100
    length = draw(months)
    demand = draw(st.lists(st.integers(0, 16), min_size=length, max_size=length))
    here = draw(st.integers(0, 1))
    buy = RoadOption(
        name="b", kind="buy", serves=serves, price=Decimal(draw(st.integers(10, 200))) * 1000,
        running_per_month=Decimal(draw(st.integers(1, 9000))), term_months=draw(st.sampled_from([2, 24])),
        lead_months=draw(few), decline=fall, residual=Decimal("0.2"), kw=Decimal(10),
        sell_early=draw(st.sampled_from([None, Decimal("0.7"), Decimal(1)])), limit=draw(st.sampled_from([None, 1])),
        have=here, have_months=here * draw(st.integers(1, 3)), resale=Decimal(draw(st.integers(0, 40))) * 1000,
    )  # fmt: skip
    commit = RoadOption(
        name="c", kind="commit", serves=serves, price_per_hour=Decimal(draw(st.integers(5, 40))),
        term_months=draw(st.integers(1, 4)), decline=fall, switching=Decimal(draw(st.sampled_from([0, 500]))),
    )  # fmt: skip
    rent = RoadOption(
        name="r", kind="rent", serves=serves, price_per_hour=Decimal(draw(st.integers(5, 40))),
        from_month=draw(st.integers(0, 1)),
    )  # fmt: skip
    power, budget = draw(st.sampled_from([None, 15])), draw(st.sampled_from([None, 60_000.5]))
    return RoadCase(
        start="m", demand={"w": tuple(map(Decimal, demand))}, options=(rent, commit, buy),
        site_kw=None if power is None else Decimal(power),
        budget_per_quarter=None if budget is None else Decimal(str(budget)),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(case=road_cases())
def test_the_solver_equals_brute_force(case: RoadCase) -> None:
    pytest.importorskip("scipy")
    from cloudaccel.decide.roadmap import roadmap
    from tests.unit.decide.brute import brute_force

    found = roadmap(case, clock=time.monotonic)
    cheapest = brute_force(case, 2)
    if cheapest is None:
        assert found.total is None
        return
    assert found.total is not None, found.limits
    hours = 40 * case.months  # rented hours are whole: at most one hour a month dearer
    assert -0.02 * 6 <= float(found.total) - cheapest <= hours + abs(cheapest) / 5000 + 0.12
