"""What an organisation negotiated: steps in order, commitments that end, nothing adjusted twice or silently."""

import json
import os
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudaccel.api.planning import plan
from cloudaccel.api.quoting import Quote, quote
from cloudaccel.catalog.adjust_file import read_adjustments
from cloudaccel.errors import ConfigError
from tests.support import hidden, price_file, run

DAY = date(2026, 11, 1)
ROWS = (
    "lambda,us-east-1,,big.8x,H100-SXM,8,80,96,on-demand,50,USD,2026-09-01,list",
    "lambda,us-west-1,,big.8x,H100-SXM,8,80,96,on-demand,52,USD,2026-09-01,list",
    "lambda,us-east-1,,big.8x,H100-SXM,8,80,96,spot,20,USD,2026-09-01,list",
    "runpod,global,,one,A100-SXM4-80GB,1,80,12,on-demand,2,USD,2026-09-01,list",
    "ovh,GRA,,h100-8,H100-PCIe,8,80,96,on-demand,24,EUR,2026-09-01,list",
)
DISCOUNT = '[[adjustment]]\nname = "agreement"\npercent = -10\nprovider = "lambda"\n'
FEE = '[[adjustment]]\nname = "agent"\nper_machine_hour = "0.12 USD"\n'
POOL = (
    '[[commitment]]\nname = "pool"\nprovider = "lambda"\nregion = "us-east-1"\ninstance = "BIG.8x"\nmachines = 2\n'
    'price_per_hour = "30 USD"\n'
)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return price_file(tmp_path, *ROWS)


@pytest.fixture
def negotiated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "negotiated.toml"
    monkeypatch.setenv("CLOUDACCEL_ADJUSTMENTS", str(path))
    return path


def prices(answer: Quote) -> dict[tuple[str, str, str], str]:
    return {(o.provider, o.region, o.offering_class or o.market): str(o.price.amount) for o in answer.offers}


def test_steps_are_applied_in_the_order_of_the_file(catalog: Path, negotiated: Path) -> None:
    """10 % off and then a fee is not a fee and then 10 % off."""
    negotiated.write_text(DISCOUNT + FEE)
    first = quote("H100:8", provider="lambda", region="us-east-1", catalog=catalog, today=DAY).offers[0]
    negotiated.write_text(FEE + DISCOUNT)
    other = quote("H100:8", provider="lambda", region="us-east-1", catalog=catalog, today=DAY).offers[0]
    assert (first.price.amount, other.price.amount) == (Decimal("45.12"), Decimal("45.108"))
    assert [(p.name, p.amount) for p in first.price.parts] == [
        ("list", Decimal(50)), ("agreement -10%", Decimal(-5)), ("agent", Decimal("0.12")),
    ]  # fmt: skip
    assert first.price.note.startswith("adjusted by negotiated.toml; list 50 USD")
    assert first.price_per_accelerator_hour == Decimal("5.64")


def test_only_what_is_named_is_adjusted(catalog: Path, negotiated: Path) -> None:
    negotiated.write_text(DISCOUNT + 'market = "spot"\naccelerator = "H100"\n')
    found = prices(quote(market="any", catalog=catalog, today=DAY))
    assert found["lambda", "us-east-1", "spot"] == "18"
    assert (found["lambda", "us-east-1", "on_demand"], found["runpod", "global", "on_demand"]) == ("50", "2")


def test_the_order_of_offers_follows_the_adjusted_price(catalog: Path, negotiated: Path) -> None:
    negotiated.write_text('[[adjustment]]\nname = "west"\npercent = -50\nregion = "us-west-1"\n')
    answer = quote("H100-SXM:8", catalog=catalog, today=DAY)
    assert [o.region for o in answer.offers] == ["us-west-1", "us-east-1"]
    assert quote("H100-SXM:8", catalog=catalog, today=DAY, max_price="3.25").total == 1


def test_what_a_fee_cannot_be_added_to_is_counted(catalog: Path, negotiated: Path) -> None:
    negotiated.write_text(FEE)
    answer = quote(market="any", catalog=catalog, today=DAY)
    assert prices(answer)["ovh", "GRA", "on_demand"] == "24"
    assert any("'agent' is in USD is not added" in n.text or "is not added to offers in EUR" in n.text
               for n in answer.notices)  # fmt: skip


@pytest.mark.parametrize(
    ("dates", "price"),
    [("from = 2026-11-02", "50"), ("from = 2026-11-01", "45"), ("until = 2026-10-31", "50"),
     ("until = 2026-11-01", "45")],
)  # fmt: skip
def test_an_adjustment_begins_and_ends_with_its_days(catalog: Path, negotiated: Path, dates: str, price: str) -> None:
    negotiated.write_text(DISCOUNT + dates + "\n")
    answer = quote("H100:8", region="us-east-1", catalog=catalog, today=DAY)
    assert str(answer.offers[0].price.amount) == price
    assert any("begins later or has ended: agreement" in n.text for n in answer.notices) == (price == "50")


def test_a_commitment_has_so_many_machines_and_no_more(catalog: Path, negotiated: Path) -> None:
    """He would have believed that five machines cost what two of them cost."""
    negotiated.write_text(POOL)
    two, five = (quote(f"H100:8x{n}", provider="lambda", catalog=catalog, today=DAY) for n in (2, 5))
    assert prices(two)["lambda", "us-east-1", "commitment pool"] == "30"
    assert two.offers[0].offering_class == "commitment pool"
    assert not any((o.offering_class or "").startswith("commitment") for o in five.offers)
    assert hidden(five)["commitment"] == 1
    assert prices(five)["lambda", "us-east-1", "on_demand"] == "50"


def test_a_commitment_for_nothing_is_said(catalog: Path, negotiated: Path) -> None:
    negotiated.write_text(POOL.replace("BIG.8x", "bigger"))
    assert any("matches nothing" in n.text for n in quote("H100", catalog=catalog, today=DAY).notices)


def test_adjustments_do_not_touch_a_committed_price_nor_the_overlay(
    tmp_path: Path, catalog: Path, negotiated: Path
) -> None:
    negotiated.write_text(DISCOUNT + POOL)
    own = price_file(tmp_path, "lambda,us-west-1,big.8x,33,2026-09-01", header="provider,region,instance,hourly,as_of",
                     name="own.csv")  # fmt: skip
    found = prices(quote("H100-SXM:8", catalog=catalog, price_file=own, today=DAY))
    assert found == {
        ("lambda", "us-east-1", "commitment pool"): "30", ("lambda", "us-west-1", "on_demand"): "33",
        ("lambda", "us-east-1", "on_demand"): "45",
    }  # fmt: skip


JOB = {"task": "finetune", "model": "llama-3.1-8b", "method": "lora", "tokens": "200e6"}


def test_a_plan_reckons_with_what_is_paid(tmp_path: Path, catalog: Path, negotiated: Path) -> None:
    negotiated.write_text(DISCOUNT + POOL)
    found = plan(JOB, accelerators="H100:8", catalog=catalog, rules=None, provider="lambda", max_nodes=1)
    best = found.best
    assert best is not None
    assert (best.offer.offering_class, best.offer.price.amount) == ("commitment pool", 30)
    hurry = {**JOB, "tokens": "20e9", "method": "full", "deadline": "24h"}
    found = plan(hurry, accelerators="H100:8", catalog=catalog, provider="lambda", region="us-east-1", options=50)
    machines = {bool(o.offer.offering_class): o.nodes for o in found.options}
    assert found.best is not None
    assert (found.best.offer.offering_class, found.best.nodes > 2) == (None, True), machines
    assert max((o.nodes for o in found.options if o.offer.offering_class), default=0) <= 2


def test_a_plan_takes_the_overlay_in_place_of_the_list(tmp_path: Path, catalog: Path) -> None:
    """He would have believed that a plan counts with the contract's price that a quote shows."""
    own = price_file(tmp_path, "lambda,us-west-1,big.8x,33,2026-09-01", header="provider,region,instance,hourly,as_of",
                     name="own.csv")  # fmt: skip
    best = plan(JOB, accelerators="H100:8", catalog=catalog, price_file=own, provider="lambda").best
    assert best is not None
    assert (best.offer.region, best.offer.price.amount) == ("us-west-1", 33)
    assert "price from overlay" in best.offer.price.note


@pytest.mark.parametrize(("market", "paid"), [("any", "16.12"), ("spot", "20.12")])  # 50 × 0.32 + 0.12; 20 + 0.12
def test_trap_95_quote_plan_and_lock_reckon_with_one_price(
    tmp_path: Path, catalog: Path, negotiated: Path, market: str, paid: str
) -> None:
    """He would have believed that what is ranked cheapest is what is launched: the one was adjusted, the other not.

    68 % off what is on demand makes it cheaper than spot, so all of them take it, unless spot alone is asked for.
    """
    negotiated.write_text(DISCOUNT.replace("-10", "-68") + 'market = "on_demand"\n' + FEE)
    lock = tmp_path / "job.lock"
    asked = ("--provider", "lambda", "--market", market, "--json")
    job = ("--task", "finetune", "--model", "llama-3.1-8b", "--method", "lora", "--tokens", "200e6", "--max-nodes", "1")
    quoted = run("--catalog", str(catalog), "quote", "H100:8", *asked).json["offers"][0]
    planned = run("--catalog", str(catalog), "plan", *job, "--accel", "H100:8", "--lock", str(lock), *asked)
    assert planned.code == 0, planned.err
    best, locked = planned.json["options"][0], json.loads(lock.read_text())["chosen"]
    assert quoted["id"] == best["offer_id"] == locked["offer_id"]
    assert [offer["price"]["price_per_hour"] for offer in (quoted, best, locked)] == [paid] * 3
    assert [option["lines"][0]["unit_price"] for option in (best, locked)] == [paid] * 2


def test_the_words_of_quote_plan_and_compare_say_so(
    tmp_path: Path, catalog: Path, negotiated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    negotiated.write_text(DISCOUNT)
    base = ("--catalog", str(catalog))
    asked = run(*base, "quote", "H100:8", "--provider", "lambda", "--region", "us-east-1", "--explain")
    assert "with 1 adjustment of negotiated.toml" in asked.out
    assert "part agreement -10%: 1 × -5 = -5" in asked.out
    body = run(*base, "quote", "H100:8", "--provider", "lambda", "--json").json
    assert body["catalog"]["adjusted"] == "1 adjustment of negotiated.toml"
    job = ("--task", "finetune", "--model", "llama-3.1-8b", "--tokens", "200e6", "--accel", "H100:8", "--explain")
    planned = run(*base, "plan", *job, "--provider", "lambda")
    assert "price: agreement -10%: 1 × -5 = -5" in planned.out
    compared = run(*base, "compare", "--demand", "400M-tokens/month", "--option",
                   "rent:H100-SXM:8@lambda,throughput=1500tok/s", "--option", "api:price=0.9/Mtok")  # fmt: skip
    assert compared.code == 0, compared.err
    assert "on-demand, adjusted, seen" in compared.out
    assert "32,850.00" in compared.out  # 45 × 730


def test_the_cache_holds_one_adjusted_catalog_and_its_id_follows_the_file(
    tmp_path: Path, built_cache: Path, negotiated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = tmp_path / "cache"
    assert run("quote", "H100", "--limit", "1").code == 2  # the file is not there
    negotiated.write_text(DISCOUNT)
    shutil.copytree(built_cache, folder, ignore=shutil.ignore_patterns("adjusted-*"))  # of other tests
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(folder))
    first = quote("H100:8")
    (made,) = folder.glob("adjusted-*.sqlite")
    assert quote("H100:8").catalog_id == first.catalog_id
    negotiated.write_text(DISCOUNT.replace("-10", "-20"))
    assert quote("H100:8").catalog_id != first.catalog_id
    os.utime(made, (0, 0))
    negotiated.write_text(FEE)
    quote("H100:8")
    assert not made.exists()
    (newest,) = [p for p in folder.glob("adjusted-*.sqlite") if p.stat().st_mtime > 0 and p != made][-1:]
    newest.write_bytes(newest.read_bytes()[: 1 << 20])  # cut short: made again
    assert all(o.price.note for o in quote("H100:8", provider="lambda").offers if not o.apart)
    monkeypatch.delenv("CLOUDACCEL_ADJUSTMENTS")
    assert quote("H100:8").adjusted is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no [[adjustment]]"), ("x", "not valid TOML"), ("a = 1", "unknown key 'a'"),
        ("adjustment = 1", "under its own"), ('[[adjustment]]\npercent = 1', "name must be"),
        ('[[adjustment]]\nname = "a;b"\npercent = 1', "name must be"),
        ('[[adjustment]]\nname = "a"', "either percent"),
        ('[[adjustment]]\nname = "a"\npercent = -100', "above -100"),
        ('[[adjustment]]\nname = "a"\npercent = nan', "above -100"),
        ('[[adjustment]]\nname = "a"\npercent = "12"', "above -100"),
        ('[[adjustment]]\nname = "a"\npercent = true', "above -100"),
        ('[[adjustment]]\nname = "a"\npercent = 0', "above -100"),
        ('[[adjustment]]\nname = "a"\nper_machine_hour = 1', "needs its currency"),
        ('[[adjustment]]\nname = "a"\npercent = 1\nprovider = "nobody"', "nobody"),
        ('[[adjustment]]\nname = "a"\npercent = 1\naccelerator = "XXL9"', "XXL9"),
        ('[[adjustment]]\nname = "a"\npercent = 1\nmarket = "odd"', "market 'odd'"),
        ('[[adjustment]]\nname = "a"\npercent = 1\nprovider = []', "a word or a list"),
        ('[[adjustment]]\nname = "a"\npercent = 1\nfrom = "2026-01-01"', "without quotes"),
        ('[[adjustment]]\nname = "a"\npercent = 1\nfrom = 2026-02-01\nuntil = 2026-01-01', "is after until"),
        ('[[adjustment]]\nname = "a"\npercent = 1\nprovder = "aws"', "unknown key 'provder'"),
        ('[[commitment]]\nname = "a"', "provider is missing"),
        (POOL.replace("= 2", "= 0"), "whole number from 1"), (POOL.replace("= 2", "= true"), "whole number from 1"),
        (POOL.replace("30 USD", "0 USD"), "above 0"),
        ('[[adjustment]]\nname = "too much"\nper_machine_hour = "-50 USD"', "'too much' makes the price of lambda"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(catalog: Path, negotiated: Path, text: str, said: str) -> None:
    negotiated.write_text(text)
    answer = run("--catalog", str(catalog), "quote", "H100")
    assert (answer.code, said in answer.err) == (2, True), answer.err
    assert len(answer.err.splitlines()) == 1


STEP = st.one_of(
    st.decimals(min_value=-60, max_value=200, places=2).filter(bool).map(lambda p: f"percent = {p}"),
    st.decimals(min_value=0, max_value=3, places=3).map(lambda a: f'per_machine_hour = "{a} USD"'),
)


@given(st.lists(STEP, min_size=1, max_size=6))
def test_the_parts_of_an_adjusted_price_add_up_to_it(steps: list[str]) -> None:
    import sqlite3

    from cloudaccel.catalog import adjust
    from cloudaccel.catalog.load import build_rows_in_memory
    from cloudaccel.catalog.offers import parse_parts
    from cloudaccel.catalog.pricefile import read_price_file

    text = "provider,region,instance,accel_raw,count,hourly,as_of\nlambda,us-east-1,x,H100,8,49.123456789,2026-09-01\n"
    rows, sources, _ = read_price_file(Path("p.csv"), text)
    content = "".join(f'[[adjustment]]\nname = "s{n}"\n{step}\n' for n, step in enumerate(steps)).encode()
    file = Path("n.toml")
    assert len(read_adjustments(file, content, DAY).adjustments) == len(steps)
    with closing(build_rows_in_memory(rows, sources, built_from="p.csv")) as base:
        db: sqlite3.Connection = base.db
        adjust.apply(db, base.meta, file, content, DAY)
        amount, parts, rank = db.execute("SELECT amount, parts, rank_price FROM offer").fetchone()
        assert sum(p.amount or 0 for p in parse_parts(parts)) == Decimal(amount) / 10**9
        assert rank == amount // 8
        assert json.loads(dict(db.execute("SELECT * FROM meta"))["adjusted_warnings"]) == []


def test_a_date_is_no_time(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a day without quotes"):
        read_adjustments(tmp_path / "n.toml", (DISCOUNT + "from = 2026-01-01T00:00:00Z").encode(), DAY)
