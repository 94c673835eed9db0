"""Words of an option: units are never guessed, ranges rise, and every number has its source."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.api import deciding
from cloudaccel.decide.options import parse_option
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.facts.inventory import read_inventory
from tests.support import price_file, run

DAY = "2026-11-25"


@pytest.mark.parametrize(
    "text",
    [
        "H100:8", "lease:H100", "rent:H100:8,price=3", "own:8xH100,colo=65000", "own:8xH100,capex=1,wacc=9",
        "own:8xH100,residual=0.2", "own:8xH100,capex=abc", "own:8xH100,kwh=-1", "own:8xH100,kwh=3..2",
        "own:8xH100,kwh=1..2..3..4", "own:8xH100,load=120%", "own:8xH100,capx=1", "own:8xH100,kw=1,kw=2",
        "api:price=3/h", "own:8xH100,staff=3/fortnight", "rent:H100:8@2,throughput=5/h",
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused(text: str) -> None:
    answer = run("compare", "--option", text, "--demand", "1M-tokens/month")
    assert answer.code == 2, answer.out
    assert "--option" in answer.err


def test_ranges_units_and_shares() -> None:
    spec = parse_option("own:8xH100,kwh=0.10..0.15..0.25,residual=10%..20%,staff=30k/y,capex=$379_500", today=DAY)
    kwh = spec.numbers["kwh"]
    assert (kwh.low, kwh.likely, kwh.high) == (Decimal("0.10"), Decimal("0.15"), Decimal("0.25"))
    assert spec.numbers["residual"].likely == Decimal("0.15")
    assert spec.units["residual"] == "%"
    assert spec.likely("staff") == 30_000
    assert spec.units["staff"] == "y"
    assert spec.likely("capex") == 379_500
    assert kwh.given
    assert kwh.as_of == DAY


def test_a_number_after_at_is_a_price_and_a_name_a_place() -> None:
    assert parse_option("rent:H100:8@9.00", today=DAY).likely("price") == 9
    assert parse_option("rent:H100:8@lambda", today=DAY).place == "lambda"


def test_no_assumption_without_name_value_unit_source_date_and_a_way_to_change_it() -> None:
    found = deciding.compare(["own:8xH100", "own:16xH100,site=room,country=US", "rent:H100-SXM:8"])
    for way in found.ways:
        for name, e in way.inputs.items():
            assert all((name, e.unit, e.source, e.as_of, e.change)), e
    text = run("compare", "--option", "own:8xH100", "--explain").out
    assert "NOT VERIFIED" in text
    assert "wacc = 0.09" in text
    short = run("compare", "--option", "own:8xH100").out
    assert "Assumed, not verified:" in short
    assert "wacc 0.09" in short


def test_what_is_given_replaces_the_assumption() -> None:
    (way,) = deciding.compare(["own:8xH100,wacc=0%,staff=0/y,maintenance=1%/y,kwh=0.05,colo=0/month,spares=0"]).ways
    names = {name for name, e in way.inputs.items() if e.given}
    assert {"wacc", "staff", "maintenance", "kwh", "colo", "spares"} <= names


def test_a_tariff_in_another_currency_is_not_converted_by_itself() -> None:
    (way,) = deciding.compare(["own:8xH100"], country="DE").ways
    assert way.unknown is not None
    assert "EUR" in way.unknown.reason
    assert "EURUSD" in way.unknown.how_to_settle
    (way,) = deciding.compare(["own:8xH100"], country="DE", fx="EURUSD=1.10").ways
    assert way.inputs["kwh"].likely == Decimal("0.231")


def test_part_of_a_system_is_refused() -> None:
    with pytest.raises(QueryError, match="whole systems"):
        deciding.compare(["own:12xH100"])


def test_the_same_seed_gives_the_same_spread_and_it_is_ordered() -> None:
    def spreads(seed: int) -> object:
        return deciding.compare(["own:8xH100", "rent:H100-SXM:8@3"], samples=200, seed=seed).spreads

    assert spreads(1) == spreads(1)
    assert spreads(1) != spreads(2)
    for spread in deciding.compare(["own:8xH100", "rent:H100-SXM:8@3"], samples=200).spreads:
        assert spread.p10 <= spread.p50 <= spread.p90


def test_swings_are_widest_first_and_say_when_the_answer_flips() -> None:
    found = deciding.compare(["own:8xH100,staff=0..0..400000/y", "rent:H100-SXM:8@3.5"], sensitivity=True)
    sizes = [s.size for s in found.swings]
    assert sizes == sorted(sizes, reverse=True)
    assert found.swings[0].name == "staff"
    assert found.swings[0].flips
    turn = found.swings[0].flips_at
    assert turn is not None
    at_turn = deciding.compare([f"own:8xH100,staff={turn:.6f}/y", "rent:H100-SXM:8@3.5"]).ways
    assert abs((at_turn[0].per_month or 0) - (at_turn[1].per_month or 0)) < 1


def test_cheapest_from_the_catalog_names_offer_and_age() -> None:
    (way,) = deciding.compare(["rent:H100-SXM:8@lambda"]).ways
    assert way.per_month is not None
    assert "lambda" in way.notes[0]
    assert "seen" in way.notes[0]


def test_every_hour_of_a_commitment_is_paid(tmp_path: Path) -> None:
    rows = (
        "aws,us-east-1,p5,H100-SXM,8,reserved-1y,40,2026-11-01",
        "aws,us-east-1,p5,H100-SXM,8,on-demand,60,2026-11-01",
    )
    own = price_file(tmp_path, *rows, header="provider,region,instance,accelerator,count,market,hourly,as_of")
    bound, free = deciding.compare(
        ["rent:H100-SXM:8,market=reserved-1y", "rent:H100-SXM:8"], hours="100", catalog=own
    ).ways
    assert bound.per_month == 40 * 730
    assert "350,400 in all" in bound.commitment
    assert free.per_month == 60 * 100


def test_comparing_loads_no_solver_and_no_arrays() -> None:
    code = (
        "import sys; from cloudaccel.cli import main; main(['compare', '--option', 'own:8xH100', '--option', "
        "'rent:H100-SXM:8@2.5']); print([m for m in ('numpy', 'scipy', 'yaml', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_sizing_fills_the_throughput_when_a_model_is_named() -> None:
    (way,) = deciding.compare(
        ["rent:H100-SXM:8@2.5"], demand="1B-tokens/month", model="llama-3.1-70b", dtype="fp8"
    ).ways
    e = way.inputs["throughput"]
    assert not e.verified
    assert "sized" in e.source
    assert e.low < e.likely < e.high


def test_more_demand_than_a_machine_carries_takes_more_machines() -> None:
    (one,) = deciding.compare(["rent:H100-SXM:8@2.5,throughput=1000"], demand="2B-tokens/month").ways
    (two,) = deciding.compare(["rent:H100-SXM:8@2.5,throughput=1000"], demand="4B-tokens/month").ways
    assert (one.copies, two.copies) == (1, 2)
    assert two.per_month == 2 * (one.per_month or 0)


# -- the inventory -----------------------------------------------------------------------------------------------------

INVENTORY = """\
machine,machines,site,country,system,accelerator,count,capex,years,kwh,annual,price_per_hour,as_of
dgx-1,4,Paris,FR,dgx-h100,,,,,0.16,,,2026-11-01
old,2,Paris,FR,,A100-80GB-SXM,8,,,,160000,,2026-11-01
finance,1,Lyon,FR,,L40S,8,,,,,6.10,2026-11-01
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.csv"
    path.write_text(INVENTORY, encoding="utf-8")
    return path


def test_an_inventory_becomes_offers_in_quote(inventory: Path, tmp_path: Path) -> None:
    prices = tmp_path / "own.csv"
    answer = run("compare", "--inventory", str(inventory), "--write-prices", str(prices))
    assert answer.code == 0, answer.err
    quoted = run("quote", "L40S:8,A100:8", "--market", "owned", "--price-file", str(prices), "--json")
    found = {o["instance"]: Decimal(o["price"]["price_per_hour"]) for o in quoted.json["offers"]}
    assert found["finance"] == Decimal("6.10")
    assert found["old"] == (Decimal(160_000) / 8760).quantize(Decimal("0.000001"))
    owned = deciding.price_inventory(inventory)[0].offer
    assert owned.price.status == "estimated"
    assert owned.market == "owned"


def test_the_provider_reads_the_same_file(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloudaccel import registry
    from cloudaccel.protocols import Scope
    from cloudaccel_onprem import Inventory

    monkeypatch.setenv("CLOUDACCEL_INVENTORY", str(inventory))
    provider = registry.load("onprem")
    assert provider.quotas is not None
    assert provider.instances is None
    offers = list(Inventory().offers(Scope(provider="own", partition="own")))
    assert [o.instance for o in offers] == ["dgx-1", "old", "finance"]
    assert offers[0].price.amount is None  # unknown until it is costed, never 0
    quota = provider.quotas.remaining("Paris", "dgx-1", "owned")
    assert quota is not None
    assert quota.remaining == 4


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",1,A,FR,,tpu-v5e,4,,,,,,", "cannot be owned"),
        (",1,A,FR,,trn2,16,,,,,,", "cannot be owned"),
        (",1,A,FR,,H100,,,,,,,", "count is missing"),
        (",1,A,FR,,,8,,,,,,", "neither system nor accelerator"),
        (",1,A,FR,dgx-z,,,,,,,,", "no server"),
        (",1,A,FR,dgx-h100", "not as many cells"),
    ],
)
def test_a_row_that_is_no_machine_is_refused_with_its_line(tmp_path: Path, row: str, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(INVENTORY.splitlines()[0] + "\n" + row + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as caught:
        read_inventory(path)
    assert "line 2" in str(caught.value)


def test_the_schedule_says_when_a_machine_is_free(tmp_path: Path) -> None:
    path = tmp_path / "i.csv"
    path.write_text("system,available_from,available_until\ndgx-h100,2026-12-01,2027-06-30\n", encoding="utf-8")
    (machine,) = read_inventory(path)
    assert not machine.free_on("2026-11-25")
    assert machine.free_on("2027-01-01")
    assert not machine.free_on("2027-07-01")
