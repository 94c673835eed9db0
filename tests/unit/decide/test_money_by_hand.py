"""Questions of a finance department about `compare`, each with its sum written out beside it.

Every test names what a reader of the answer would have believed wrongly.
"""

from datetime import date
from decimal import Decimal
from math import isclose
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.api import deciding
from cloudaccel.model.decision import Comparison
from tests.support import price_file, run

DAYS = Decimal(365) / 12  # of a month: 730 h
MILLION = Decimal(1_000_000)


def asked(*options: str, **more: Any) -> Comparison:
    return deciding.compare(options, **more)


def near(found: Decimal | None, wanted: Decimal | float | int, *, within: float = 1e-9) -> bool:
    return found is not None and isclose(found, wanted, rel_tol=within)


# -- rents that fall --------------------------------------------------------------------------------------------------


def test_a_rent_falls_year_by_year_where_it_is_said() -> None:
    """Believed: three years of 10 an hour are 262,800. Falling by 10 % a year they are 87,600 × (1 + 0.9 + 0.81)."""
    falling, level = asked("rent:H100-SXM:8,price=10/h,decline=10%", "vm:box,price=10/h", years="3").ways
    assert near(falling.total, 87_600 * Decimal("2.71"))  # 237,396
    assert near(level.total, 87_600 * 3)
    assert near(falling.per_month, 87_600 * Decimal("2.71") / 36)
    assert near(falling.per_accelerator_hour, Decimal("1.25") * Decimal("2.71") / 3)
    half, short, free = (
        asked("rent:H100-SXM:8,price=10/h,decline=10%", years="1.5").ways[0].total,
        asked("rent:H100-SXM:8,price=10/h,decline=10%", years="1").ways[0].total,
        asked("rent:H100-SXM:8,price=10/h,decline=100%", years="3").ways[0].total,
    )
    assert near(half, 87_600 * (1 + Decimal("0.45")))
    assert near(short, 87_600), "no year is over"
    assert near(free, 87_600), "free after the first"
    text = run("compare", "--option", "rent:H100-SXM:8,price=10/h,decline=10%", "--years", "3", "--explain").out
    assert "of today's price, mean of 36 months" in text
    assert "changes of prices over the horizon but decline=" in text


@pytest.mark.parametrize(("market", "share"), [("reserved-1y", Decimal("2.71")), ("reserved-3y", Decimal(3))])
def test_a_commitment_keeps_its_price_until_it_is_over(tmp_path: Path, market: str, share: Decimal) -> None:
    """Believed: what falls on the market falls in the contract. Three years of one contract cost what they say."""
    row = f"aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,{market},10,USD,2026-11-01,l"
    option = f"rent:H100-SXM:8,market={market},decline=10%"
    (way,) = asked(option, years="3", catalog=price_file(tmp_path, row)).ways
    assert near(way.total, 87_600 * share)


def test_a_fall_moves_the_break_even_of_owning() -> None:
    """Believed: owning breaks even against the rent of today. Against 6.88 that falls by half a year it is 5.16."""
    rent = "rent:H100-SXM:8@6.88"
    found = asked(f"{BOX},years=3", f"{rent},decline=50%", years="2")
    use = (Decimal(255_000) / 36 + 5 * 730) / (8 * 730 * Decimal("5.16"))
    (even,) = [b for b in found.break_evens if b.unit == "use"]
    assert near(even.at, use)


@pytest.mark.parametrize("value", ["13", "101%", "-5%", "much"])
def test_a_fall_that_cannot_be_is_refused(value: str) -> None:
    assert run("compare", "--option", f"rent:H100-SXM:8,price=10/h,decline={value}").code == 2
    assert run("compare", "--option", "api:price=1/Mtok,decline=13%").code == 2


# -- owning against renting --------------------------------------------------------------------------------------------

BOX = "own:8xH100,capex=255000,opex=5/h"  # 255,000 USD, and 5 USD an hour to run


@pytest.mark.parametrize("years", [1, 3])
def test_break_even_of_eight_h100_against_on_demand(years: int) -> None:
    """Believed: a box pays off at one use whatever its life. Over one year it takes 452 h a month, over three 195."""
    found = asked(f"{BOX},years={years}", rents="6.88")
    month = Decimal(255_000) / (12 * years) + 5 * 730  # 24,900 or 10,733.33
    use = month / (8 * 730 * Decimal("6.88"))  # of 40,179.20 a month
    (even,) = [b for b in found.break_evens if b.unit == "use"]
    assert near(even.at, use, within=1e-9)
    assert round(use * 730) == {1: 452, 3: 195}[years]
    (payback,) = [b for b in found.break_evens if b.unit == "hours"]
    assert near(payback.at, Decimal(255_000) / (Decimal("55.04") - 5))  # 5,095.9 h
    for side, kind in ((Decimal("0.999"), "rent"), (Decimal("1.001"), "own")):  # put the figure in: the answer turns
        turned = asked(f"{BOX},years={years}", "rent:H100-SXM:8@6.88", hours=use * 730 * side)
        assert turned.cheapest is not None
        assert turned.ways[turned.cheapest].kind == kind


def test_a_cluster_that_works_at_two_fifths() -> None:
    """Believed: an owned accelerator-hour costs 1.21. At 40 % of the hours it costs 3.03, and the answer says that."""
    words = ("--option", "own:8xH100,capex=255000,years=3,use=40%", "--rents", "6.88")
    answer = run("compare", *words)
    full = Decimal(255_000) / 36 / (8 * 730)
    assert f"{full:.2f} $/accel-h at 100 % use, {full / Decimal('0.4'):.2f} at 40 %" in answer.out


def test_what_is_paid_at_first_has_network_storage_and_spares_in_it() -> None:
    """Believed: 99.5 million up front for 500 systems. With 15 % network, 5 % storage and 3 % spares it is 122.4."""
    (way,) = asked("own:dgx-a100-320gb,systems=500", country="US").ways
    servers = 500 * Decimal(199_000)
    assert servers == 99_500_000  # "about 100 million", before power and heat
    assert way.facility is not None
    assert way.facility.servers_cost == servers
    assert way.years[0].total == servers * Decimal("1.23")
    assert "122,385,000 up front" in way.commitment
    assert way.facility.it_kw == 500 * Decimal("6.5")
    assert near(way.facility.heat_btu_per_h, 3250 * Decimal("3412.14"))
    assert near(way.facility.electricity_per_year, 3250 * Decimal("0.8") * Decimal("1.54") * 8760 * Decimal("0.086"))


def test_money_out_is_not_the_total_of_what_is_owned() -> None:
    """Believed: owning costs 42,000 in the first year. 132,000 are paid in it, and the machine has three more."""
    box = "own:8xH100,capex=120000,years=4,opex=1000/month"
    (way,) = asked(box).ways
    assert near(way.total, (120_000 / 48 + 1000) * 12)  # 42,000
    assert near(way.money_out, 120_000 + 12 * 1000)
    assert "bought for 48 months: the total has 12 of them" in " ".join(way.notes)
    (whole,) = asked(f"{box},residual=25%", years="4").ways
    assert near(whole.total, 120_000 - 30_000 + 48 * 1000)
    assert whole.money_out == pytest.approx(whole.total)
    assert not any("bought for" in note for note in whole.notes)
    (longer,) = asked(box, years="6").ways  # a second one is bought in the fifth year
    assert near(longer.money_out, 2 * 120_000 + 72 * 1000)
    assert "money out by then" in run("compare", "--option", box).out


def test_power_by_hand() -> None:
    """Believed: power is 10.2 kW at the tariff, whatever the cooling. It is what is drawn, by PUE and tariff."""
    (way,) = asked("own:hgx-h100-8", country="US").ways
    (power,) = [line for line in way.lines if line.name == "power"]
    drawn = Decimal("10.2") * Decimal("0.8") * Decimal("1.54")
    assert near(power.amount, drawn * 730 * Decimal("0.086"))  # 788.90 a month


def test_present_value_of_owning() -> None:
    """Believed: 4 years of 10,000 are 40,000 today. At 9 % they are worth 32,397, beside the 100,000 of the start."""
    (way,) = asked("own:8xH100,capex=100000,years=4,wacc=9%,opex=10000/y").ways
    discounted = sum((y.discounted for y in way.years), Decimal(0))
    by_hand = Decimal(100_000) + sum(Decimal(10_000) / Decimal("1.09") ** y for y in range(1, 5))
    assert near(discounted, by_hand)
    recovered = Decimal("0.09") * Decimal("1.09") ** 4 / (Decimal("1.09") ** 4 - 1)
    assert near(way.per_month, (100_000 * recovered + 10_000) / 12)


# -- an API against machines -------------------------------------------------------------------------------------------

RENT, API = "rent:H100-SXM:8@2.40,throughput=6000tok/s", "api:price=0.90/Mtok"


@pytest.mark.parametrize(
    ("a_day", "api", "machines", "copies"),
    [
        ("1M", Decimal(1) * DAYS * Decimal("0.90"), 14_016, 1),  # 27.38 against 8 x 2.40 x 730
        ("100M", Decimal(100) * DAYS * Decimal("0.90"), 14_016, 1),  # 2,737.50
        ("10B", Decimal(10_000) * DAYS * Decimal("0.90"), 20 * 14_016, 20),  # 273,750; a machine makes 15,768 M a month
    ],
)
def test_tokens_a_day(a_day: str, api: Decimal, machines: int, copies: int) -> None:
    """Believed: a demand by the day has to be turned into months first, and by 30. A month has 30.42 days of 24 h."""
    bill, rent = asked(API, RENT, demand=f"{a_day}-tokens/day").ways
    assert near(bill.per_month, api, within=1e-6)
    assert rent.per_month == machines
    assert rent.copies == copies
    assert near(rent.load, api / Decimal("0.90") / (15_768 * copies), within=1e-6)


def test_a_demand_by_the_day_says_the_month_too() -> None:
    """Believed: 10 B a day is what the columns are for. They are by the month, which is said beside it."""
    answer = run("compare", "--option", API, "--demand", "10B-tokens/day")
    assert answer.out.startswith("10B-tokens/day (304,167 M a month)")
    assert run("compare", "--option", API, "--demand", "10B-tokens/week").code == 2


def test_people_beside_a_way_are_there_once() -> None:
    """Believed: 20 machines take 20 times the people that were typed. They are beside the way, and paid once."""
    bill, rent = asked(API, RENT, demand="10B-tokens/day", people="5000/month").ways
    without = asked(API, RENT, demand="10B-tokens/day").ways
    assert (bill.per_month or 0) - (without[0].per_month or 0) == 5000
    assert (rent.per_month or 0) - (without[1].per_month or 0) == 5000


def test_twenty_servers_have_the_people_of_the_table_and_not_twenty_times_those_of_one() -> None:
    """Believed: 20 owned servers take 20 people (3.8 million a year). By the table one person runs fifty."""
    for copies, people in ((1, 1), (20, 1), (50, 1), (100, 2)):
        (way,) = asked("own:8xH100,throughput=6000", demand=f"{15_768 * copies - 1}M-tokens/month", country="US").ways
        assert way.copies == copies
        (staff,) = [line for line in way.lines if line.name == "staff"]
        assert near(staff.amount, Decimal(190_000) * people / 12)
        assert near(way.years[1].lines[-1].amount, Decimal(190_000) * people)
        assert way.facility is not None
        assert way.facility.it_kw == Decimal("10.2") * copies
        assert f"{262_650 * copies:,} up front" in way.commitment


def test_twenty_servers_break_even_as_twenty() -> None:
    """Believed: owned machines never pay against 2.40, by the people of a single one. Twenty cost 1.96 an hour each."""
    found = asked("own:8xH100,throughput=6000", demand="10B-tokens/day", country="US", rents="2.40")
    (way,) = found.ways
    (even,) = [b for b in found.break_evens if b.unit == "use"]
    assert way.per_accelerator_hour is not None
    assert near(way.per_accelerator_hour, (way.per_month or Decimal(0)) / (160 * 730))
    assert near(even.at, way.per_accelerator_hour / Decimal("2.40"))


def test_people_beside_a_way_are_no_cost_of_an_accelerator_hour() -> None:
    """Believed: 5.39 an accelerator-hour at full use and even with 6.88 at 66 %. Both leave the same people out."""
    found = asked("own:8xH100,capex=255000,years=3", people="5000/month", rents="6.88")
    (even,) = [b for b in found.break_evens if b.unit == "use"]
    full = found.ways[0].per_accelerator_hour
    assert near(full, Decimal(255_000) / 36 / 5840)
    assert near(even.at, (full or Decimal(0)) / Decimal("6.88"))


def test_what_is_paid_once_is_in_the_break_even_and_in_a_million_tokens() -> None:
    """Believed: a fee of 36,000 at the start moves no break-even. It is 3,000 of every month of the year."""
    fee = "rent:H100-SXM:8,price=10/h,upfront=36000,throughput=6000"
    found = asked("api:price=1/Mtok", fee, demand="10.3B-tokens/month")
    (even,) = found.break_evens
    assert near(even.at, Decimal(10 * 730 + 36_000 // 12) * MILLION)  # 10.3 B tokens at 1.00 a million
    api, rent = found.ways
    assert rent.total == 10 * 8760 + 36_000 == api.total
    assert near(rent.per_million, 1)


def test_an_api_that_is_never_beaten_is_compared_at_the_same_volume() -> None:
    """Believed: the API costs 5,000.90 a million "when full", by the people beside it over one million tokens."""
    found = asked(API, "rent:H100-SXM:8@9,throughput=6000", demand="1B-tokens/month", people="5000/month")
    (even,) = found.break_evens
    full = 15_768  # million tokens that the machines make in a month
    assert f"API {Decimal('0.90') + Decimal(5000) / full:.2f}" in even.text
    assert f"RENT 8×H100-SXM {(Decimal(72) * 730 + 5000) / full:.2f}" in even.text


# -- commitments and spot ----------------------------------------------------------------------------------------------


def test_a_commitment_says_what_it_goes_on_to_cost(tmp_path: Path) -> None:
    """Believed: a three-year commitment costs 350,400, as its first year does. 700,800 more are bound."""
    row = "aws,us-east-1,p5,H100-SXM,8,reserved-3y,40,2026-11-01"
    own = price_file(tmp_path, row, header="provider,region,instance,accelerator,count,market,hourly,as_of")
    (way,) = asked("rent:H100-SXM:8,market=reserved-3y", catalog=own).ways
    assert way.total == 40 * 8760
    assert "1,051,200 in all" in way.commitment
    assert "bound for 24 months after the horizon: 700,800.00 more, in no total" in way.notes
    (whole,) = asked("rent:H100-SXM:8,market=reserved-3y", catalog=own, years="3").ways
    assert whole.total == 1_051_200
    assert not any("bound" in note for note in whole.notes)


def test_spot_says_that_interruptions_are_not_in_it() -> None:
    """Believed: spot at half the price is half the cost. What interruptions cost is in no sum, and said."""
    (way,) = asked("rent:H100-SXM:8,market=spot").ways
    assert any("interruptions" in text for text in way.not_counted)
    (firm,) = asked("rent:H100-SXM:8").ways
    assert firm.not_counted == ()


def test_a_commitment_for_four_machines_is_not_the_price_of_twenty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Believed: 20 machines at the 30.10 of a pool of four, 439,460 a month. The list price is that of so many."""
    terms = tmp_path / "terms.toml"
    terms.write_text(
        '[[commitment]]\nname = "pool"\nprovider = "aws"\nregion = "us-east-1"\ninstance = "p5.48xlarge"\n'
        'machines = 4\n'
        'price_per_hour = "30.10 USD"\nfrom = 2026-01-01\nuntil = 2028-12-31\n', encoding="utf-8",
    )  # fmt: skip
    monkeypatch.setenv("CLOUDACCEL_ADJUSTMENTS", str(terms))
    day = date(2026, 11, 27)
    option = "rent:H100-SXM:8@aws,region=us-east-1,throughput=6000"
    for tokens, copies, hourly in (("10B", 1, "30.10"), ("60B", 4, "30.10"), ("300B", 20, "55.04")):
        (way,) = asked(option, demand=f"{tokens}-tokens/month", today=day).ways
        assert way.copies == copies
        assert way.per_month == copies * Decimal(hourly) * 730
        assert ("has fewer than 20 machines" in " ".join(way.notes)) is (copies == 20)


# -- from scratch, adapted, called -------------------------------------------------------------------------------------


def test_a_run_from_scratch_is_priced_by_machines_of_eight() -> None:
    """Believed: nobody sells 512 H100, so the run has no price. It runs on 64 machines of eight, which have one."""
    for words, flop in (("64@aws,params=7e9,tokens=1e12", 4.2e22), ("512@aws,params=70e9,tokens=1.4e12", 5.88e23)):
        (way,) = asked(f"pretrain:H100-SXM:{words}").ways
        (training,) = way.once
        count, rate = training.factors
        assert count.value is not None
        assert rate.value == Decimal("6.88")
        assert way.total == count.value * Decimal("6.88")
        used = Decimal(flop) / (count.value * 3600 * Decimal("989.5e12"))  # 6 N D over what those hours could have done
        assert Decimal("0.2") < used < Decimal("0.5"), "no network that is a guess makes it 0.14"


def test_the_machines_that_are_priced_are_those_whose_network_is_sized() -> None:
    """Believed: 70B on 512 H100 takes 94 days at every seller. On a fabric it takes 35."""
    plan = run("plan", "--task", "pretrain", "--params", "70e9", "--tokens", "1.4e12", "--accel", "H100-SXM:8x64",
               "--provider", "aws", "--setup", "1s", "--lock", "-", "--json")  # fmt: skip
    (way,) = asked("pretrain:H100-SXM:512@aws,params=70e9,tokens=1.4e12").ways
    assert isclose(Decimal(plan.json["chosen"]["total"]), way.total or 0, rel_tol=1e-5)
    (thin,) = asked("pretrain:H100-SXM:512@hyperstack,params=70e9,tokens=1.4e12").ways
    assert any("network unknown, 100 Gbit/s between machines assumed" in note for note in thin.notes)


def test_palm_from_scratch_against_adapting_against_an_api() -> None:
    """Believed: a 540B model of one's own is a question of patience. 6,144 chips for 57 days are 27 million."""
    chips = 6144 * 1368  # hours of 57 days: 8,404,992
    found = asked(
        f"pretrain:accel-hours={chips},rate=3.22", "adapt:accel-hours=21340,rate=3.22,serve=3000/month",
        "api:price=3/Mtok", demand="50M-tokens/month",
    )  # fmt: skip
    scratch, adapted, api = found.ways
    assert scratch.total == chips * Decimal("3.22")  # 27,064,074
    assert adapted.total == 21_340 * Decimal("3.22") + 36_000
    assert api.total == 50 * 3 * 12
    assert found.cheapest == 2
    assert near(adapted.per_million, (adapted.total or Decimal(0)) / (50 * 12))


def test_adapting_pays_from_a_volume_on() -> None:
    """Believed: adapting never pays, or always. 60,000 once and 3,000 a month are 2.67 B tokens at 3.00 a million."""
    words = ("adapt:accel-hours=15000,rate=4,serve=3000/month", "api:price=3/Mtok")
    (even,) = asked(*words, demand="1B-tokens/month").break_evens
    month = Decimal(15_000 * 4) / 12 + 3000  # 8,000 over a year
    assert near(even.at, month / 3 * MILLION)
    assert "if what serve= pays for carries them" in even.text
    for side, wins in ((Decimal("0.999"), "api"), (Decimal("1.001"), "adapt")):
        turned = asked(*words, demand=f"{(even.at or 0) * side:.0f}-tokens/month")
        assert turned.cheapest is not None
        assert turned.ways[turned.cheapest].kind == wins
    assert asked(words[0].replace(",serve=3000/month", ""), words[1], demand="1B-tokens/month").break_evens == ()


def test_a_month_of_what_nobody_counted_is_not_zero() -> None:
    """Believed: a model of one's own costs 0.00 a month. Its serving is not counted, and no figure says so."""
    answer = run(
        "compare", "--option", "adapt:accel-hours=100,rate=4", "--option", API, "--demand", "1B-tokens/month", "--json"
    )
    assert answer.json["ways"][0]["per_month"] is None
    shown = run(
        "compare", "--option", "adapt:accel-hours=100,rate=4", "--option", API, "--demand", "1B-tokens/month"
    ).out
    assert "0.00 " not in next(line for line in shown.splitlines() if "per month" in line).replace("900.00", "")


def test_runs_without_serving_turn_no_swing() -> None:
    """Believed: another way wins at the low end. That way was a run whose serving is not counted, which cannot win."""
    found = asked(
        "adapt:accel-hours=10..100..1000,rate=1", "api:price=0.90..1.00..1.10/Mtok", "api:price=1.05/Mtok,label=other",
        demand="1B-tokens/month", sensitivity=True, samples=50,
    )  # fmt: skip
    assert {s.way for s in found.swings} == {"API"}
    assert {s.way for s in found.spreads} == {"API", "other"}
    (swing,) = found.swings
    assert swing.flips
    assert near(swing.flips_at, Decimal("1.05"), within=1e-6)


# -- currencies and doors ----------------------------------------------------------------------------------------------


@pytest.fixture
def ecb(tmp_path: Path) -> Path:
    path = tmp_path / "ecb.csv"
    path.write_text("Date, USD, JPY,\n26 November 2026, 1.1000, 165.00,\n", encoding="utf-8")
    return path


def test_a_tariff_in_euros_takes_the_rate_of_the_file_and_its_day(ecb: Path) -> None:
    """Believed: French electricity is unknown though the rates of the day are there. 0.16 EUR are 0.176 USD."""
    (way,) = asked("own:hgx-h100-8", country="FR", fx_file=ecb).ways
    kwh = way.inputs["kwh"]
    assert kwh.likely == Decimal("0.16") * Decimal("1.1")
    assert "2026-11-26" in kwh.source
    (given,) = asked("own:hgx-h100-8", country="FR", fx="EURUSD=1.20").ways
    assert given.inputs["kwh"].likely == Decimal("0.16") * Decimal("1.2")
    (unknown,) = asked("own:hgx-h100-8", country="FR").ways
    assert unknown.total is None
    assert unknown.unknown is not None


def test_another_currency_beside_the_sums(ecb: Path) -> None:
    """Believed: the total is in yen. It is in dollars, and beside it in yen, at a rate of a day that is named."""
    words = ("--option", RENT, "--demand", "1B-tokens/month", "--currency", "JPY", "--fx-file", str(ecb))
    shown = run("compare", *words, "--json").json["ways"][0]
    assert isclose(Decimal(shown["shown"]["total"]["amount"]), 14_016 * 12 * 150, rel_tol=1e-9)  # 165 / 1.1
    assert "JPY at 1 USD = 150 JPY" in run("compare", *words).out


def test_the_same_question_has_one_answer_at_every_door() -> None:
    """Believed: the page, the program and the shell may differ. The same words give the same figures."""
    testing = pytest.importorskip("fastapi.testclient")
    from cloudaccel.service.app import create_app

    options = [API, RENT, "own:8xH100"]
    words = [w for option in options for w in ("--option", option)]
    more = {"demand": "10B-tokens/day", "people": "5000/month", "country": "US", "sensitivity": True}
    typed = run("compare", *words, "--demand", "10B-tokens/day", "--people", "5000/month", "--country", "US",
                "--sensitivity", "--json").json  # fmt: skip
    with testing.TestClient(create_app(), base_url="http://localhost") as client:
        served = client.post("/v1/compare", json={"options": options, **more}).json()
    program = asked(*options, **more)
    for body in (typed, served):
        body.pop("generated_at")
    assert typed == served
    assert [Decimal(w["total"]) for w in typed["ways"]] == [w.total for w in program.ways]


def test_what_no_way_counts_is_said() -> None:
    """Believed: the total is all there is. Storage, transfer, tax and a fall of prices are in none, which is said."""
    out = run("compare", "--option", RENT, "--demand", "1B-tokens/month").out
    assert "Not counted anywhere: people" in out
    for word in ("storage and transfer of data", "tax", "changes of prices"):
        assert word in out


def test_interruptions_of_spot_are_said_to_be_left_out(tmp_path: Path) -> None:
    """Believed: a spot rent has its interruptions in it. No source says how often there are any, so none is counted."""
    row = "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,spot,10,USD,2026-11-01,l"
    (way,) = asked("rent:H100-SXM:8,market=spot", catalog=price_file(tmp_path, row)).ways
    assert near(way.total, 87_600)
    assert any(text.startswith("interruptions") for text in way.not_counted)
