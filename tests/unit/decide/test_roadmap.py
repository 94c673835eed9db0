"""The roadmap: brute force on small cases, totals that can be redone, limits explained, words of the file."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.api import deciding
from cloudaccel.decide import road_model
from cloudaccel.decide.road_file import parse_case, read_case
from cloudaccel.decide.road_prices import commit_cost, hour_price, purchase_cost
from cloudaccel.decide.roadmap import machines_at, roadmap
from cloudaccel.decide.ways import Found
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.model import HOURS_PER_MONTH
from cloudaccel.model.decision import Estimate
from cloudaccel.model.roadmap import RoadCase, Roadmap, RoadOption
from cloudaccel.model.unknown import Unknown
from tests.support import run
from tests.unit.decide.brute import brute_force

pytest.importorskip("scipy")
D8 = Decimal(8)
ON_DEMAND = RoadOption(name="on-demand", kind="rent", serves={"w": D8}, price_per_hour=Decimal(24))
YEAR = RoadOption(name="commit", kind="commit", serves={"w": D8}, price_per_hour=Decimal(15), term_months=3)
BUY = RoadOption(
    name="buy", kind="buy", serves={"w": D8}, price=Decimal(60_000), running_per_month=Decimal(3000), term_months=12,
    lead_months=1, residual=Decimal("0.2"), kw=Decimal(10),
)  # fmt: skip


def case(demand: list[int], *options: RoadOption, **limits: Decimal) -> RoadCase:
    return RoadCase(start="m", demand={"w": tuple(map(Decimal, demand))}, options=options, **limits)  # pyright: ignore[reportArgumentType]


def solve(what: RoadCase, **more: float) -> Roadmap:
    return roadmap(what, clock=time.monotonic, **more)


@pytest.mark.parametrize("demand", [[8, 8, 8, 8], [0, 16, 16, 4], [4, 20, 0, 12], [16, 8, 8, 1]])
def test_the_solver_equals_brute_force(demand: list[int]) -> None:
    what = case(demand, ON_DEMAND, YEAR, BUY)
    found = solve(what)
    assert found.status == "optimal"
    assert found.total is not None
    # Rented hours are whole hours: at most one hour a month dearer than the fraction that brute force rents.
    cheapest = brute_force(what, 3)
    assert cheapest is not None
    assert -0.02 <= float(found.total) - cheapest <= 4 * 24
    assert (found.bound or 0) <= float(found.total) + 0.01


def recomputed(found: Roadmap) -> Decimal:
    """The total from nothing but actions and rented hours."""
    total = Decimal(0)
    by_name = {o.name: o for o in found.case.options}
    for action in found.actions:
        option = by_name[action.option]
        price = {"commit": commit_cost, "buy": purchase_cost}[action.verb]
        total += action.machines * price(option, action.month, found.case.months)
    for month in found.months:
        for name, hours in month.rented_hours.items():
            total += hours * hour_price(by_name[name.split(" for ")[0]], month.month)
    return total


def test_total_equals_its_actions_and_hours_and_the_demand_is_carried() -> None:
    found = solve(case([3, 9, 17, 20, 20, 20, 18, 30, 2, 8, 8, 8], ON_DEMAND, YEAR, BUY))
    assert found.total == recomputed(found)
    for t, wanted in enumerate(found.case.demand["w"]):
        there = machines_at(found.case, found.actions, {}, t)
        assert there == found.months[t].machines
        hours = sum(found.months[t].rented_hours.values())
        assert sum(there.values()) * 8 + hours * Decimal(8) / HOURS_PER_MONTH >= wanted - Decimal("0.00001")


def test_first_answer_has_a_proven_gap_and_the_solver_only_improves_it() -> None:
    what = case([3, 9, 17, 20, 20, 20, 18, 30, 2, 8, 8, 8], ON_DEMAND, YEAR, BUY)
    first, refined = solve(what, seconds=0), solve(what)
    assert first.total is not None and refined.total is not None  # noqa: PT018
    assert first.total >= refined.total - Decimal("0.01")
    assert (first.bound or 0) <= float(refined.total) + 0.01
    assert [stage[0] for stage in first.stages] == ["LP and rounding"]


def test_site_power_holds_and_says_what_it_costs() -> None:
    cheap = replace(BUY, price=Decimal(10_000))
    free = solve(case([40] * 12, ON_DEMAND, cheap))
    tight = solve(case([40] * 12, ON_DEMAND, cheap, site_kw=Decimal(25)))
    assert max(m.machines.get("buy", 0) for m in free.months) == 5
    assert max(m.machines.get("buy", 0) for m in tight.months) == 2
    assert (tight.total or 0) > (free.total or 0)
    assert any("site power" in text for text in tight.limits)


def test_a_budget_holds_in_every_quarter() -> None:
    budget = Decimal(45_000)
    found = solve(case([4] * 6, ON_DEMAND, YEAR, BUY, budget_per_quarter=budget))
    assert found.total is not None
    for quarter in (found.months[:3], found.months[3:]):
        assert sum((m.cost for m in quarter), Decimal(0)) <= budget + 3 * 24


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (case([8, 8], replace(BUY, lead_months=0), site_kw=Decimal(5)), "site power is too tight"),
        (case([8, 8], ON_DEMAND, budget_per_quarter=Decimal(100)), "budget per quarter is too tight"),
        (case([80, 8], replace(ON_DEMAND, limit=2)), "limits on machines is too tight"),
        (case([8, 8], BUY), "lead times is too tight"),
        (case([8, 8], replace(ON_DEMAND, serves={"other": D8})), "units of w have nothing to run on"),
    ],
)
def test_infeasible_is_explained(what: RoadCase, words: str) -> None:
    found = solve(what)
    assert found.status == "infeasible"
    assert found.total is None
    assert words.replace("limits on machines is", "limits on machines is") in " ".join(found.limits)


def test_what_is_there_is_kept_or_retired() -> None:
    have = replace(BUY, have=2, have_months=12, resale=Decimal(1000), lead_months=0)
    kept = solve(case([16] * 6, ON_DEMAND, have))
    assert kept.actions == ()
    retired = solve(case([0] * 6, ON_DEMAND, have))
    assert [(a.month, a.verb, a.machines) for a in retired.actions] == [(0, "retire", 2)]
    assert retired.total == -2000
    bound = solve(case([0] * 6, ON_DEMAND, replace(YEAR, have=1, have_months=4)))
    assert bound.total == 4 * 15 * HOURS_PER_MONTH, "a commitment that was made is paid"


def test_switching_costs_keep_what_is_there() -> None:
    old = RoadOption(
        name="old", kind="rent", serves={"w": D8}, price_per_hour=Decimal(24), have=1, switching=Decimal(1)
    )
    new = RoadOption(name="new", kind="rent", serves={"w": D8}, price_per_hour=Decimal(23), switching=Decimal(9000))
    stay = solve(case([8] * 6, old, new))
    assert all("old" in m.rented_hours for m in stay.months)
    move = solve(case([8] * 6, old, replace(new, switching=Decimal(1000))))
    assert all("new" in m.rented_hours for m in move.months)


def test_workloads_share_machines_where_each_is_fast() -> None:
    """Two kinds of machine, each twice as fast at one of two workloads: one of each carries both."""
    fast = {"x": {"a": D8, "b": Decimal(16)}, "y": {"a": Decimal(16), "b": D8}}
    options = [
        RoadOption(name=n, kind="commit", serves=s, price_per_hour=Decimal(10), term_months=3) for n, s in fast.items()
    ]
    demand = {"a": (Decimal(16),) * 3, "b": (Decimal(16),) * 3}
    found = solve(RoadCase(start="m", demand=demand, options=tuple(options)))
    assert found.total == 2 * 10 * 3 * HOURS_PER_MONTH
    assert {(a.option, a.machines) for a in found.actions} == {("x", 1), ("y", 1)}


def test_machines_bought_inside_the_horizon_are_given_up_when_a_sale_pays() -> None:
    """Six months of work, then none: kept to the end without a price for an early sale, sold with one."""
    demand = [8] * 6 + [0] * 6
    buy = replace(BUY, lead_months=0)
    keeps = solve(case(demand, ON_DEMAND, buy))
    sells = solve(case(demand, ON_DEMAND, replace(buy, sell_early=Decimal("0.8"))))
    assert [a.verb for a in keeps.actions] == ["buy"]
    assert [(a.month, a.verb, a.machines, a.bought) for a in sells.actions] == [
        (0, "buy", 1, None),
        (6, "retire", 1, 0),
    ]
    # 60,000 less 80 % of 60,000 x (1 - 0.8 x 6/12), and six months of upkeep
    assert sells.total == 60_000 - Decimal("0.8") * 36_000 + 6 * 3000
    assert sells.months[6].machines == {}
    assert sum((m.cost for m in sells.months), Decimal(0)) == sells.total
    assert keeps.total == 60_000 * Decimal("0.8") + 12 * 3000


def test_nothing_wanted_costs_nothing() -> None:
    assert solve(case([0, 0], ON_DEMAND, YEAR)).total == 0


def test_machines_that_are_there_need_a_time() -> None:
    with pytest.raises(ValueError, match="have-months"):
        replace(BUY, have=2)


def test_one_more_option_never_makes_it_dearer() -> None:
    few = solve(case([8, 16, 16, 8], ON_DEMAND, YEAR))
    more = solve(case([8, 16, 16, 8], ON_DEMAND, YEAR, BUY))
    assert (more.total or 0) <= (few.total or 0) + Decimal(100)


def test_ctrl_c_is_heard_while_the_solver_works() -> None:
    release = threading.Event()

    def solve() -> None:
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()  # when he waits for it, not before
        release.wait(30)

    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            road_model._interruptible(solve)  # pyright: ignore[reportPrivateUsage]
    finally:
        release.set()
    assert time.monotonic() - started < 20


# -- the file ----------------------------------------------------------------------------------------------------------


def find(_spec: object) -> Found | Unknown:
    price = Estimate("price", D8, D8, D8, "USD/h", "a list", "2026-11-01", True)
    return Found(price=price, accelerators=8, label="x")


FILE = """\
start: 2027-01
demand:
  training: 0*3, 64*9
  serving: {from: 8, growth: 5%, months: 12}
options:
  - {name: od, rent: 'H100-SXM:8', price: 24/h}
  - {name: year, commit: 'H100-SXM:8', term: 12, price: 15/h, decline: 10%}
  - {name: dgx, buy: dgx-h100, lead: 6, speed: {training: 1.0}}
site_kw: 60
"""


def test_a_file_is_read_and_what_it_leaves_open_is_said(tmp_path: Path) -> None:
    path = tmp_path / "roadmap.yaml"
    path.write_text(FILE, encoding="utf-8")
    read = read_case(path, find, today="2026-11-25")
    assert read.months == 12
    assert read.demand["training"][2:4] == (0, 64)
    dgx = read.options[2]
    assert (dgx.lead_months, dgx.term_months, dgx.kw) == (6, 48, Decimal("10.2"))
    assert set(dgx.serves) == {"training"}
    names = {name for name, _, _ in read.assumptions}
    assert {"price of dgx", "running_per_month of dgx", "decline"} <= names
    assert all(source for _, _, source in read.assumptions)
    answer = run("roadmap", str(path))
    assert answer.code == 0, answer.err
    assert "no plan can cost less than" in answer.out
    assert "NOT VERIFIED" in answer.out


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"demand": {"w": "8*2"}},
        {"demand": {"w": "8*2"}, "options": []},
        {"demand": {"w": "8*2"}, "options": [{"rent": "H100:8", "buy": "dgx-h100"}]},
        {"demand": {"w": "8*2"}, "options": [{"commit": "H100:8", "price": 3}]},
        {"demand": {"w": "8*2"}, "options": [{"buy": "tpu-v5e:8"}]},
        {"demand": {"w": "8*2"}, "options": [{"rent": "H100:8", "price": -3}]},
        {"demand": {"w": "8*2"}, "options": [{"rent": "H100:8", "colour": "red"}]},
        {"demand": {"w": "8*2", "v": "8*3"}, "options": [{"rent": "H100:8", "price": 3}]},
        {"demand": {"w": "8*2"}, "options": [{"rent": "H100:8", "price": 3, "residual": "5%"}]},
        {"demand": {"w": "8*2"}, "options": [{"commit": "H100:8", "price": 3, "term": "1.5"}]},
        {"demand": {"w": "8*2"}, "options": [{"rent": "H100:8", "price": "1e400"}]},
        {"demand": {"w": "eight"}, "options": [{"rent": "H100:8", "price": 3}]},
        {"demand": {"w": "8*2"}, "options": [{"rent": "H100:8", "price": 3}], "budjet": 3},
    ],
)
def test_what_cannot_be_read_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        parse_case(given, find, today="2026-11-25")


def test_the_tariff_of_another_currency_takes_the_rate_of_the_file() -> None:
    case: dict[str, Any] = {"start": "2027-01", "demand": {"serving": "8*6"}, "country": "DE",
        "options": [{"name": "own", "buy": "8xH100", "lead": 0, "life": 48}]}  # fmt: skip
    with pytest.raises(ConfigError, match="EURUSD"):
        deciding.roadmap(case, seconds=0)
    assert deciding.roadmap({**case, "fx": "EURUSD=1.10"}, seconds=0).total is not None
    with pytest.raises((ConfigError, QueryError), match="fx"):
        deciding.roadmap({**case, "fx": "EUR=1.10"}, seconds=0)


# -- sums by hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fall", "wins"), [("30%", "rent"), ("10%", "commit")])
def test_a_commitment_of_three_years_and_a_fall_of_prices(fall: str, wins: str) -> None:
    """Believed: 7.50 committed beats 10.00 on demand. Not when prices fall by 30 % a year: 163,770 against 197,100."""
    options = [
        {"name": "od", "rent": "H100-SXM:8", "price": 10, "decline": fall},
        {"name": "three", "commit": "H100-SXM:8", "price": 7.5, "term": 36, "decline": 0},
    ]
    found = deciding.roadmap({"demand": {"w": "8*36"}, "options": options})
    left = 1 - float(fall[:-1]) / 100
    falling = 7300 * (1 - left**3) / (1 - left ** (1 / 12))  # 7,300 a month, each month cheaper: a geometric row
    assert round(falling, -1) == {"rent": 163_770, "commit": 226_310}[wins]
    assert float(found.total or 0) == pytest.approx(min(falling, 7.5 * 730 * 36), rel=1e-6)
    assert bool(found.actions) == (wins == "commit")


def test_a_small_start_and_then_growth() -> None:
    """Believed: the total is all that is signed for. Half of the last commitment runs on after it, which is said."""
    options = [
        {"name": "od", "rent": "H100-SXM:8", "price": 20, "decline": 0},
        {"name": "year", "commit": "H100-SXM:8", "price": 12, "term": 12, "decline": 0},
    ]
    found = deciding.roadmap({"demand": {"w": "8*6, 32*12"}, "options": options})
    year = 12 * 730 * 12  # of one machine, 105,120
    assert found.total == 4 * year + year / 2  # one from the start, three from month 7, one more from month 13
    assert [(a.month, a.machines) for a in found.actions] == [(0, 1), (6, 3), (12, 1)]
    assert found.beyond == year / 2


def test_a_purchase_is_what_is_paid_less_what_it_is_worth() -> None:
    """Believed: the total is the bill. It is the bill less what stands in the room, and both are said."""
    buy = {"name": "own", "buy": "8xH100", "price": 240_000, "running": 3000, "residual": "25%", "life": 48, "lead": 0,
           "decline": 0}  # fmt: skip
    found = deciding.roadmap({"demand": {"w": "8*24"}, "options": [buy]})
    assert found.money_out == 240_000 + 24 * 3000  # 312,000
    assert found.worth == 240_000 - 240_000 * Decimal("0.75") * 24 / 48  # 150,000: half its life is gone
    assert found.total == found.money_out - found.worth == 162_000
    assert found.people_beyond == 0, "its running cost was given: nobody knows what people are in it"


def test_the_people_of_a_site_are_said_where_machines_are_few(tmp_path: Path) -> None:
    """Believed: one owned machine costs 5,402 a month to run. By the table a site has a person, which is 15,833."""
    demand = {"w": "8*24"}
    own = {"name": "own", "buy": "hgx-h100-8", "lead": 0}
    od = {"name": "od", "rent": "H100-SXM:8", "price": 26, "decline": 0}
    case = {"demand": demand, "options": [od, own], "country": "US"}
    found = deciding.roadmap(case)
    assert [a.verb for a in found.actions] == ["buy"]
    assert found.case.least_people == Decimal(190_000) / 12
    assert float(found.people_beyond) == pytest.approx(24 * (190_000 - 190_000 / 50) / 12)
    assert found.without_buying == 26 * 730 * 24
    file = tmp_path / "road.json"
    file.write_text(json.dumps(case), encoding="utf-8")
    said = run("roadmap", str(file)).out
    assert f"Without buying it is {26 * 730 * 24:,.2f}: less than the" in said
    assert "Not counted: interest, people beside what is rented" in said


def test_a_roadmap_in_another_currency_has_the_rate_of_the_file_and_its_day(tmp_path: Path) -> None:
    """Believed: --currency turns the plan into euros. The total stands beside it, at a rate of a day that is named."""
    rates = tmp_path / "ecb.csv"
    rates.write_text("Date, USD, JPY,\n26 November 2026, 1.1000, 165.00,\n", encoding="utf-8")
    case = {"demand": {"w": "8*2"}, "options": [{"name": "od", "rent": "H100-SXM:8", "price": 11, "decline": 0}]}
    file = tmp_path / "road.json"
    file.write_text(json.dumps(case), encoding="utf-8")
    words = ("roadmap", str(file), "--currency", "EUR", "--fx-file", str(rates), "--tax", "19%")
    answer = run(*words)
    assert "Total 16,060.00 USD" in answer.out  # 11 x 730 x 2
    assert "In EUR: 14,600.00, at 1 USD = 0.909090909091 EUR" in answer.out
    assert "of 2026-11-26" in answer.out
    assert "Tax of 19% (as you state), EUR: 2,774.00, with it 17,374.00" in answer.out
    assert run(*words, "--json").json["shown"]["total"]["with_tax"] == "17374"
    assert run("roadmap", str(file), "--currency", "CHF", "--fx-file", str(rates)).code == 2
    french = {**case, "country": "FR", "options": [{"name": "own", "buy": "hgx-h100-8", "lead": 0}]}
    assert deciding.roadmap(french, fx_file=rates).total is not None, "the tariff is read by the file"
    with pytest.raises(ConfigError, match="EUR"):
        deciding.roadmap(french)
