"""Prices in the reader's currency, by rates that he carried in, and tax beside them."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.api.quoting import quote
from cloudaccel.cost.currency import converted_price, parse_percent, read_rates, tax_on
from cloudaccel.errors import QueryError
from cloudaccel.model import Price, Source
from tests.support import hidden, names, price_file, run

# The layout of the bank's files (2026-11); the figures are made up, so that results can be redone by head.
ONE_DAY = "Date, USD, JPY, CNY, \n26 November 2026, 1.25, 150.0, 8.0, \n"
ALL_DAYS = "Date,USD,JPY,CNY,CYP,\n2026-11-26,1.25,150.0,8.0,N/A,\n2026-11-25,9.0,9.0,9.0,N/A,\n"
XML = """<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01"
  xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
  <Cube><Cube time='2026-11-26'><Cube currency='USD' rate='1.25'/><Cube currency='JPY' rate='150.0'/>
  <Cube currency='CNY' rate='8.0'/></Cube></Cube></gesmes:Envelope>"""
DAY = date(2026, 11, 27)
ROWS = (
    "a,r,,usd,L40S,1,48,9,on-demand,2.50,USD,2026-07-01,l",
    "b,r,,eur,L40S,1,48,9,on-demand,1.90,EUR,2026-07-01,l",
    "c,r,,cny,L40S,1,48,9,on-demand,12,CNY,2026-07-01,l",
    "d,r,,chf,L40S,1,48,9,on-demand,1,CHF,2026-07-01,l",
    "e,r,,none,L40S,1,48,9,on-demand,,USD,2026-07-01,l",
)


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    path = tmp_path / "eurofxref.csv"
    path.write_text(ONE_DAY, encoding="utf-8")
    return path


def offers(body: Any) -> Mapping[str, Any]:
    return {offer["instance"]: offer for offer in body["offers"]}


@pytest.mark.parametrize(("name", "text"), [("d.csv", ONE_DAY), ("h.csv", ALL_DAYS), ("d.xml", XML)])
def test_u119_each_form_of_the_table_gives_its_newest_day(tmp_path: Path, name: str, text: str) -> None:
    """He would have believed that the rate of the last line, an old day, is today's."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found = read_rates(path)
    assert found.as_of == date(2026, 11, 26)
    assert found.per_euro == {"EUR": 1, "USD": Decimal("1.25"), "JPY": 150, "CNY": 8}
    assert name in found.source
    assert found.rate("USD", "JPY") == 120
    assert found.rate("CYP", "EUR") is None


def test_u119_yen_with_tax_as_its_own_line(tmp_path: Path, rates: Path) -> None:
    """He would have believed that 300 yen are what he pays, or that the list is in yen."""
    words = ["--catalog", str(price_file(tmp_path, *ROWS)), "quote", "L40S", "--currency", "JPY", "--tax", "10%"]
    body = run(*words, "--fx-file", str(rates), "--json").json
    price = offers(body)["usd"]["price"]
    assert (price["price_per_hour"], price["currency"], price["tax"]) == ("300", "JPY", "excluded")
    assert price["listed"] == {"price_per_hour": "2.5", "currency": "USD"}
    assert (price["converted"], price["tax_per_hour"], price["price_with_tax_per_hour"]) == (True, "30", "330")
    assert body["tax"] == "excluded"
    assert body["tax_percent"] == "10"
    dollar = next(fx for fx in body["currency"]["fx"] if fx["pair"] == "USDJPY")
    assert dollar["rate"] == "120"
    assert dollar["as_of"] == "2026-11-26"
    assert "ECB" in dollar["source"]
    table = run(*words, "--fx-file", str(rates)).out
    assert "≈300 " in table
    assert "225 + 22 tax = 247 JPY per hour" in table  # half to even: 22.5
    assert "1 USD = 120 JPY" in table
    assert "2026-11-26" in table


def test_u119_rows_of_every_currency_with_a_rate_are_ranked_together(tmp_path: Path, rates: Path) -> None:
    """He would have believed that 12 yuan are dearer than 2.50 dollars, or that 1 franc is the cheapest euro."""
    answer = quote("L40S", currency="EUR", fx_file=rates, catalog=price_file(tmp_path, *ROWS), today=DAY)
    assert names(answer)[:3] == ["cny", "eur", "usd"]
    assert [str(o.price.amount) for o in answer.offers[:3]] == ["1.5", "1.9", "2"]
    apart = {offer.instance: offer for offer in answer.offers[3:]}
    assert apart["chf"].price.currency == "CHF"
    assert apart["chf"].apart == ("other_currency",)
    assert apart["none"].price.amount is None
    assert "unknown_price" in apart["none"].apart


def test_u119_limits_are_in_the_currency_of_the_answer(tmp_path: Path, rates: Path) -> None:
    """He would have believed that nothing is below 1.95 EUR but the one list in euros."""
    path = price_file(tmp_path, *ROWS)
    answer = quote("L40S", max_price="1.95 EUR", fx_file=rates, catalog=path, today=DAY, show_hidden=True)
    assert names(answer) == ["cny", "eur"]
    assert hidden(answer) == {"max_price": 3}
    assert next(offer.instance for offer in answer.examples["max_price"]) == "chf"
    two = quote("L40S:1x2", max_hourly="3 EUR", fx_file=rates, catalog=path, today=DAY, limit=1)
    assert names(two) == ["cny"]
    assert two.total == 1


def test_u119_without_rates_nothing_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """He would have believed that the yuan price was turned into euros by some rate of ours."""
    path = price_file(tmp_path, *ROWS)
    answer = quote("L40S", currency="EUR", catalog=path, today=DAY)
    assert names(answer)[0] == "eur"
    assert answer.conversion is None
    assert sum("other_currency" in offer.apart for offer in answer.offers) == 4
    rates = tmp_path / "fx.csv"
    rates.write_text(ONE_DAY, encoding="utf-8")
    monkeypatch.setenv("CLOUDACCEL_FX_FILE", str(rates))
    assert quote("L40S", catalog=path, today=DAY).conversion is None
    assert names(quote("L40S", currency="EUR", catalog=path, today=DAY))[0] == "cny"


def test_u119_old_rates_are_said(tmp_path: Path, rates: Path) -> None:
    """He would have believed that euros by a rate of last year are today's."""
    path = price_file(tmp_path, *ROWS)
    for day, count in ((date(2026, 12, 3), 0), (date(2026, 12, 4), 1), (date(2026, 11, 25), 1)):
        answer = quote("L40S", currency="EUR", fx_file=rates, catalog=path, today=day)
        assert sum(notice.code == "fx" for notice in answer.notices) == count


def test_u119_a_csv_has_the_list_price_and_the_tax(tmp_path: Path, rates: Path) -> None:
    """He would have believed that the column of prices is what the seller lists."""
    words = ["--catalog", str(price_file(tmp_path, *ROWS)), "quote", "L40S", "--csv", "--limit", "3"]
    out = run(*words, "--currency", "EUR", "--fx-file", str(rates), "--tax", "19%").out
    head, first = out.splitlines()[:2]
    assert head.endswith("list_price_per_hour,list_currency,tax_per_hour,price_with_tax_per_hour")
    assert first.endswith("12,CNY,0.285,1.785")
    assert "tax" not in run(*words).out.splitlines()[0]


def test_u119_explain_shows_the_rate(tmp_path: Path, rates: Path) -> None:
    """He would have believed that 1.5 EUR stands in the document that is named as the source."""
    words = ["--catalog", str(price_file(tmp_path, *ROWS)), "quote", "L40S", "--currency", "EUR"]
    assert "listed 12 CNY × 0.125" in run(*words, "--fx-file", str(rates), "--explain").out
    refused = run(*words, "--fx-file", str(rates), "--history", "30d")
    assert refused.code == 2
    assert "not converted" in refused.err


@pytest.mark.parametrize("tax", ["19", "0.19", "-1%", "101%", "NaN%", "%", "x%"])
def test_u119_a_tax_without_its_sign_is_refused(tax: str) -> None:
    """He would have believed that 0.19 is 19 %, and got a fifth of a percent."""
    with pytest.raises(QueryError, match="such as 19%"):
        parse_percent(tax, "--tax")


def test_u119_no_amount_has_no_tax_and_no_amount_becomes_free() -> None:
    """He would have believed that an unknown price is free of tax, or that a tiny one is free."""
    assert tax_on(None, Decimal(19)) is None
    assert tax_on(Decimal(5), Decimal(0)) == 0
    source = Source(id="s", name="s", path="", revision=None, licence="", url=None)
    price = Price(amount=Decimal("1E-9"), currency="JPY", status="exact", as_of=None, as_of_until=None, source=source)
    assert converted_price(price, "USD", Decimal("0.006")).amount == Decimal("1E-9")


@pytest.mark.parametrize(
    "text",
    [
        "", "Date,USD\n", "USD,JPY\n1,2\n", "Date,USD\ntomorrow,1\n", "Date,USD\n2026-11-26,0\n",
        "Date,USD\n2026-11-26,NaN\n", "Date,USD\n2026-11-26,-1\n", "Date,dollar\n2026-11-26,1\n", "<html>", "<a/>",
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "<!-- x --><!DOCTYPE a><a/>",
    ],
)  # fmt: skip
def test_u119_a_file_that_is_no_table_of_rates_is_refused(tmp_path: Path, text: str) -> None:
    """He would have believed that prices were converted, by whatever the file said."""
    path = tmp_path / "fx"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(QueryError, match="eurofxref"):
        read_rates(path)


def test_u119_bad_files_and_currencies_end_with_2(tmp_path: Path, rates: Path) -> None:
    """He would have believed that francs were converted, though the table of that day has none."""
    words = ["--catalog", str(price_file(tmp_path, *ROWS)), "quote", "L40S"]
    unknown = run(*words, "--currency", "CHF", "--fx-file", str(rates))
    assert unknown.code == 2
    assert "no rate for CHF. It has CNY, EUR, JPY, USD." in unknown.err
    packed = tmp_path / "eurofxref.zip"
    packed.write_bytes(b"PK\x03\x04\xff\xfe")
    assert "unpack a .zip" in run(*words, "--fx-file", str(packed)).err
    assert run(*words, "--fx-file", str(tmp_path)).code == 2


PLANNED = (
    "lambda,us-east-1,,big,H100-SXM,8,80,96,on-demand,20,USD,2026-07-01,l",
    "ovh,GRA,,gros,H100-SXM,8,80,96,on-demand,12,EUR,2026-07-01,l",
    "alibaba,cn-beijing,,chf,H100-SXM,8,80,96,on-demand,1,CHF,2026-07-01,l",
)
JOB = ("--task", "finetune", "--method", "lora", "--model", "llama-3.1-8b", "--tokens", "200e6", "--accel", "H100:8")


def test_u119_a_plan_ranks_every_currency_with_a_rate_and_shows_its_total_in_euros(
    tmp_path: Path, rates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He would have believed that the cheapest is the dollar offer, since the one in euros was left out."""
    monkeypatch.chdir(tmp_path)
    base = ("--catalog", str(price_file(tmp_path, *PLANNED)), "plan", *JOB)
    plain = run(*base, "--json").json
    assert plain["chosen"]["instance"] == "big"
    assert plain["shown"] is None
    body = run(*base, "--currency", "EUR", "--fx-file", str(rates), "--tax", "20%", "--json").json
    chosen, shown = body["chosen"], body["shown"]
    assert (chosen["instance"], chosen["price"]["price_per_hour"], chosen["price"]["currency"]) == ("gros", "15", "USD")
    assert (shown["currency"], shown["rate"], shown["as_of"], shown["tax_percent"]) == (
        "EUR",
        "0.8",
        "2026-11-26",
        "20",
    )
    total = Decimal(chosen["total"]) * Decimal("0.8")
    first = shown["totals"][0]
    assert Decimal(first["amount"]) == total.quantize(Decimal("0.0001"))
    assert Decimal(first["with_tax"]) == Decimal(first["amount"]) + Decimal(first["tax"])
    assert "chf" not in {option["instance"] for option in body["options"]}
    said = run(*base, "--currency", "JPY", "--fx-file", str(rates), "--tax", "10%", "--explain").out
    assert "TOTAL JPY" in said
    (line,) = [line for line in said.splitlines() if line.startswith("In JPY")]
    assert "." not in line.split(" JPY, at ")[0]  # yen have no decimals
    assert "1 USD = 120 JPY" in line
    assert "Tax      10% (as you state)" in said
    assert "listed EUR: 12 × 1.25 = 15" in said
    assert run("verify", "plan.lock.json").code == 0


def test_u119_a_budget_in_euros_needs_rates_and_is_kept_to(
    tmp_path: Path, rates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = ("--catalog", str(price_file(tmp_path, *PLANNED)), "plan", *JOB, "--lock", "-", "--json")
    total = Decimal(run(*base, "--fx-file", str(rates)).json["chosen"]["total"])
    euros = (total * Decimal("0.8")).quantize(Decimal("0.01"))
    refused = run(*base, "--budget", f"{euros} EUR")
    assert refused.code == 2
    assert "--fx-file" in refused.err
    enough, little = (run(*base, "--fx-file", str(rates), "--budget", f"{euros + cent} EUR")
                      for cent in (Decimal("0.01"), Decimal("-0.01")))  # fmt: skip
    assert (enough.code, little.code) == (0, 4)
    monkeypatch.setenv("CLOUDACCEL_FX_FILE", str(rates))
    assert run(*base, "--budget", f"{euros + 1} EUR").code == 0
    assert run(*base, "--disk-price", "1 CHF", "--disk", "1GB").code == 2


def test_u119_a_comparison_shows_month_total_and_tax_in_yen(tmp_path: Path, rates: Path) -> None:
    base = ("--catalog", str(price_file(tmp_path, *PLANNED)), "compare", "--demand", "400M-tokens/month")
    options = ("--option", "rent:H100-SXM:8@ovh,throughput=1500tok/s", "--option", "api:price=1/Mtok")
    money = ("--currency", "JPY", "--fx-file", str(rates), "--tax", "10%")
    said = run(*base, *options, *money).out
    assert [line.split()[-1] for line in said.splitlines() if "JPY  " in line] == [
        "48,000", "4,800", "576,000", "57,600",
    ]  # fmt: skip
    body = run(*base, *options, *money, "--json").json
    assert body["shown"]["rate"] == "120"
    assert body["ways"][1]["shown"]["total"] == {"amount": "576000", "tax": "57600", "with_tax": "633600"}
    assert body["ways"][0]["per_month"] == "10950"  # 12 EUR × 1.25 × 730 h
    assert run(*base, *options, "--currency", "JPY").code == 2


def test_u119_the_service_answers_in_the_currency_that_it_has_rates_for(
    tmp_path: Path, rates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from cloudaccel.service.asked import CompareRequest, PlanRequest, compare_text, plan_text

    catalog = price_file(tmp_path, *PLANNED)
    monkeypatch.setenv("CLOUDACCEL_FX_FILE", str(rates))
    job = {"task": "finetune", "method": "lora", "model": "llama-3.1-8b", "tokens": "200e6"}
    asked = PlanRequest(job=job, accelerators="H100:8", currency="EUR", tax="19%")
    body = json.loads(plan_text(asked, catalog))
    assert (body["shown"]["currency"], body["shown"]["tax_percent"]) == ("EUR", "19")
    compared = json.loads(
        compare_text(CompareRequest(options=["api:price=1/Mtok"], demand="400M-tokens/month", currency="EUR"), catalog)
    )
    assert compared["ways"][0]["shown"]["per_month"]["amount"] == "320"
    with pytest.raises(QueryError, match="no rate for XXX"):
        plan_text(PlanRequest(job=job, currency="XXX"), catalog)


def test_u119_offers_over_http_are_converted_by_the_services_rates_and_never_mixed(
    tmp_path: Path, rates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He would have believed that 12 is dollars, because the page before was in euros."""
    import json

    from cloudaccel.service.asked import OfferFilters
    from cloudaccel.service.offers import OfferPages

    monkeypatch.setenv("CLOUDACCEL_FX_FILE", str(rates))
    pages = OfferPages()  # the bundled catalog, whose answers are kept

    def first(**asked: str) -> tuple[str, str, str | None]:
        filters = OfferFilters.model_validate({"accelerator": "H100-SXM:8", "provider": ["aws"], "limit": 1, **asked})
        price = json.loads(pages.page(filters).body)["offers"][0]["price"]
        return price["price_per_hour"], price["currency"], price.get("tax_per_hour")

    dollars = first()
    assert dollars[1:] == ("USD", None)
    euros = first(currency="EUR", tax="10%")
    assert euros == (
        f"{(Decimal(dollars[0]) * Decimal('0.8')).normalize():f}", "EUR",
        f"{(Decimal(dollars[0]) * Decimal('0.08')).normalize():f}",
    )  # fmt: skip
    assert first() == dollars
    assert first(tax="10%")[2] == f"{(Decimal(dollars[0]) / 10).normalize():f}"
    rates.write_text(ONE_DAY.replace("1.25", "2.5"))
    assert first(currency="EUR")[0] == f"{(Decimal(dollars[0]) * Decimal('0.4')).normalize():f}"


def test_what_runs_have_cost_in_the_readers_currency(
    tmp_path: Path, rates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He would have added dollars to euros, taken a disk at 0.08 EUR for one at 0.08 USD, and tax for included."""
    pytest.importorskip("sqlalchemy")
    from cloudaccel import state
    from cloudaccel.provision.journal import Journal
    from cloudaccel.testing.crashes import VirtualClock, spec_for

    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path))
    clock = VirtualClock()
    with state.opened() as engine:
        journal = Journal(engine, clock)
        for price, listed in ((Decimal(10), "USD"), (Decimal(8), "EUR"), (None, "USD"), (Decimal(3), "CHF")):
            made = journal.open_run(spec_for([]))
            journal.update(made, price_per_hour=price, currency=listed, provider="fake", instance="big")
            journal.seen(made.id, "fake", "here", [("machine", f"i-{listed}-{price}")])
            clock.sleep(3600)
            journal.gone(made.id, "machine", f"i-{listed}-{price}")
    assert all("shown" not in cost for cost in run("provision", "cost", "--json").json["costs"])
    words = ("provision", "cost", "--currency", "JPY", "--fx-file", str(rates), "--tax", "10%")
    shown = {(cost["currency"], cost["total"]): cost["shown"] for cost in run(*words, "--json").json["costs"]}
    assert shown["USD", "10"]["total"] == {"amount": "1200", "tax": "120", "with_tax": "1320"}  # 150 / 1.25 a dollar
    assert shown["EUR", "8"]["total"]["amount"] == "1200"  # 150 a euro
    assert shown["USD", "10"]["as_of"] == "2026-11-26"
    assert shown["USD", None]["total"]["amount"] is None, "unknown stays unknown, and is no 0"
    assert shown["CHF", "3"]["total"] is None
    assert "has none from CHF" in shown["CHF", "3"]["reason"]
    text = run(*words).out
    assert "1 EUR = 150 JPY, ECB euro reference rates" in text
    assert "10% as you state; with it 1,320" in text
    together = text.partition("all 4 runs; 1 with a price that nobody knows not in it")[2]
    assert [line.split()[:3] for line in together.splitlines() if "total," in line] == [
        ["total,", "USD", "10.00"], ["total,", "EUR", "8.00"], ["total,", "CHF", "3.00"],
    ]  # fmt: skip
    assert run(*words[:4]).code == 2, "no rates: said, and nothing is converted"
    assert run("provision", "cost", "--disk-price", "0.08 EUR").code == 2
    assert run("provision", "cost", "--disk-price", "0.08 EUR", "--fx-file", str(rates)).code == 0
