"""The lines of a plan's bill by hand: disks, data from elsewhere, terms, spot; and what is in no total."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.api.energy import read_energy
from cloudaccel.cost import CostBasis, lines_beside, machine_hours, total_of
from cloudaccel.errors import QueryError
from tests.support import price_file, run

RUN = ("plan", "--task", "finetune", "--method", "lora", "--model", "llama-3.1-70b", "--tokens", "2e9", "--lock", "-")


def test_fifty_terabytes_from_elsewhere() -> None:
    """Believed: 50 TB are 50,000 GiB, or free. They are 50,000 GB at 0.09, which is 4,500 USD, once."""
    (transfer,) = lines_beside(CostBasis(hours=Decimal(10), nodes=8, transfer_gb=Decimal(50_000)))
    assert transfer.amount == 4500


def test_storage_of_a_run_of_six_months() -> None:
    """Believed: a disk of 2 TB is 160 USD. That is a month; six are 960, and eight machines have eight of them."""
    six_months = Decimal(6 * 730)
    (one,) = lines_beside(CostBasis(hours=six_months, nodes=1, disk_gb=Decimal(2000)))
    assert one.amount == 2000 * 6 * Decimal("0.08") == 960
    (eight,) = lines_beside(CostBasis(hours=six_months, nodes=8, disk_gb=Decimal(2000)))
    assert eight.amount == 8 * 960
    assert eight.name == "disks of 8 machines"


@pytest.mark.parametrize(
    ("term", "hours", "paid"),
    [("1y", 24, 8760), ("1y", 8760, 8760), ("1y", 8761, 17_520), ("3y", 8760, 26_280), (None, 24, 24)],
)
def test_a_commitment_is_paid_in_whole_terms(term: str | None, hours: int, paid: int) -> None:
    """Believed: 13 months on one-year reservations are 13 months of them. The second year binds as the first did."""
    assert machine_hours(term, CostBasis(hours=Decimal(hours), nodes=1)) == paid


def test_a_total_with_an_unknown_line_is_unknown() -> None:
    """Believed: what nobody priced is 0. The total is unknown, and no number."""
    lines = lines_beside(CostBasis(hours=Decimal(730), nodes=1, disk_gb=Decimal(100)))
    assert total_of(lines) == 8
    assert total_of((lines[0]._replace(amount=None),)) is None


@pytest.fixture
def market(tmp_path: Path) -> Path:
    rows = (
        "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,spot,11,USD,2026-11-01,l",
        "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on-demand,55,USD,2026-11-01,l",
    )
    return price_file(tmp_path, *rows)


def test_spot_says_what_interruptions_may_take_before_it_is_the_dearer_one(market: Path) -> None:
    """Believed: spot at a fifth is a fifth, however often it is interrupted. Up to 80 % of its time, it is less."""
    words = ("--catalog", str(market), *RUN, "--market", "spot,on-demand")
    text = run(*words).out
    assert "Left out interruptions of spot (work that is done again, hours without a machine), disks (--disk)" in text
    assert "Spot     is the cheaper one until interruptions take 80 % of its time" in text  # 1 - 11 / 55
    with_data = run(*words, "--data", "50TB@gcp:us-central1").out
    assert "until interruptions take 80 %" in with_data, "what is brought in once is paid by both"
    alone = run("--catalog", str(market), *RUN).out
    assert "interruptions" not in alone
    assert "Left out disks (--disk), transfer of data (--data), people, tax: in no total" in alone


def test_u91_every_factor_of_energy_can_be_replaced(market: Path) -> None:
    """Believed: the energy of a run is what the table says. Load, PUE and grid are the caller's, where known."""
    words = ("--catalog", str(market), *RUN, "--explain")
    given = run(*words, "--power-load", "60%", "--pue", "1.3", "--grid", "56").out
    (power,) = [line for line in given.splitlines() if line.startswith("  energy ")]
    hours = float(power.split()[1].replace(",", ""))
    kwh = hours * 0.7 * 0.6 * 1.3
    assert power.endswith(f"× load 0.6 × PUE 1.3 = {kwh:,.0f} kWh")
    assert f"56 g/kWh (given by you) = {kwh * 0.056:,.0f} kg CO2e" in given
    assert "load 0.8: estimate; no source (--power-load)" in run(*words).out


def test_u91_owned_machines_have_the_grid_of_their_country(tmp_path: Path) -> None:
    """Believed: a machine of one's own emits nothing, since no table has its room. Its country has a grid."""
    inventory = tmp_path / "inv.csv"
    row = "dgx,4,Paris,FR,dgx-h100,0.16,1.3,60%,2026-11-01"
    inventory.write_text(f"machine,machines,site,country,system,kwh,pue,load,as_of\n{row}\n", encoding="utf-8")
    text = run(*RUN, "--inventory", str(inventory), "--explain").out
    assert "g/kWh (country average, 20" in text
    assert "PUE 1.54: Uptime Institute" in text
    listed = run("compare", "--inventory", str(inventory)).out
    assert "people shared by 4 machines" in listed, "190,000 a year for one site, and not for each machine"


def test_u91_compare_says_what_owned_machines_emit() -> None:
    """Believed: compare knows no carbon. What is owned draws power by PUE and load, and a kWh emits grid= grams."""
    own = "own:hgx-h100-8,kw=10,load=50%,pue=1.2,kwh=0.10"
    (way,) = run("compare", "--option", f"{own},grid=56", "--json").json["ways"]
    assert Decimal(way["facility"]["kwh_per_year"]) == 10 * Decimal("0.5") * Decimal("1.2") * 8760
    assert Decimal(way["facility"]["carbon_kg_per_year"]) == Decimal(52560) * 56 / 1000
    assert "52,560 kWh × 56 g/kWh (grid=) = 2.9 t CO2e a year" in run("compare", "--option", f"{own},grid=56").out
    (unknown,) = run("compare", "--option", own, "--json").json["ways"]
    assert unknown["facility"]["carbon_kg_per_year"] is None, "nobody said where it stands"


@pytest.mark.parametrize("given", [{"pue": "0.5"}, {"load": "0"}, {"load": "much"}, {"grid": "-1"}, {"load": "200%"}])
def test_a_factor_that_cannot_be_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(QueryError, match="is not"):
        read_energy(**{"load": None, "pue": None, "grid": None, **given})  # pyright: ignore[reportArgumentType]


def test_what_is_in_no_total_is_in_the_lock_and_in_python_too(market: Path, tmp_path: Path) -> None:
    """Believed by a program that reads the lock: the total is all. It names what the table does, and old locks hold."""
    lock = tmp_path / "plan.lock.json"
    words = ("--catalog", str(market), *RUN, "--market", "spot", "--disk", "500GB")
    text = run(*words, "--json").out
    lock.write_text(text, encoding="utf-8")
    body = json.loads(text)
    whats = [left["what"].split(" (")[0] for left in body["left_out"]]
    assert whats == ["interruptions of spot", "transfer of data", "people", "tax"]
    assert [left["flag"] for left in body["left_out"]] == [None, "--data", None, None]
    assert run("verify", str(lock)).code == 0
    before = {key: value for key, value in body.items() if key != "left_out"}
    lock.write_text(json.dumps(before), encoding="utf-8")
    assert run("verify", str(lock)).code == 0, "a lock written before it was said"
    nothing = run(*words, "--budget", "0.01 USD", "--json").json
    assert nothing["chosen"] is None
    assert nothing["left_out"] == []


def test_the_page_of_a_plan_says_what_is_in_no_total_too(market: Path, tmp_path: Path) -> None:
    """Believed: the page that the board reads is complete. It leaves out what the table does, and says so."""
    page = tmp_path / "plan.html"
    run("--catalog", str(market), *RUN, "--market", "spot,on-demand", "--html", str(page))
    text = page.read_text(encoding="utf-8")
    assert "Left out interruptions of spot" in text
    assert "until interruptions take 80 % of its time" in text
