"""The page without a browser: what it says is the quote's, unknown stays unknown, and nothing a seller writes runs."""

import csv
import io
import re
import shlex
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from html import unescape
from importlib.resources import files
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from cloudaccel.api.quoting import quote
from cloudaccel.catalog.history import PriceVersion
from cloudaccel.service.app import create_app
from cloudaccel.service.asked import Money
from cloudaccel.service.page_history import chart
from cloudaccel.service.page_query import parse
from tests.support import price_file, run

_MOST_BYTES = 300_000  # of the first view, with its files


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(), base_url="http://localhost", raise_server_exceptions=False) as made:
        yield made


def _served(path: Path) -> TestClient:
    return TestClient(create_app(path), base_url="http://localhost", raise_server_exceptions=False)


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def test_first_view_is_small_and_needs_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/", headers={"Accept-Encoding": "identity"})
    assert page.status_code == 200
    files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text))
    assert files
    assert len(page.content) + sum(len(client.get(file).content) for file in files) < _MOST_BYTES
    assert not re.findall(r'(?:href|src)="(?:https?:)?//', page.text)
    assert " style=" not in page.text
    assert "<script>" not in page.text


def test_table_has_the_rows_of_the_quote_in_order(client: TestClient) -> None:
    found = quote("H100:8", residency="EU", limit=50)
    page = client.get("/", params={"accelerator": "H100", "count": "8", "residency": "EU"}).text
    assert re.findall(r'name="pick" value="(\w+)"', page) == [offer.id for offer in found.offers]
    assert f"{found.total} offers match" in _text(page)
    assert "cloudaccel quote H100:8 --residency EU" in unescape(page)


def test_downloads_are_exactly_what_is_shown(client: TestClient) -> None:
    page = client.get("/?accelerator=H100&market=any&limit=7").text
    shown = re.findall(r'name="pick" value="(\w+)"', page)
    second = client.get(unescape(re.findall(r'rel="next" href="([^"]+)"', page)[0])).text
    shown_second = re.findall(r'name="pick" value="(\w+)"', second)
    assert len(shown) == len(shown_second) == 7
    assert not set(shown) & set(shown_second)
    for html, ids in ((page, shown), (second, shown_second)):
        as_csv, as_json = (unescape(link) for link in re.findall(r'href="(/offers\.csv[^"]*|/v1/offers\?[^"]*)"', html))
        assert [offer["id"] for offer in client.get(as_json).json()["offers"]] == ids
        rows = list(csv.DictReader(io.StringIO(client.get(as_csv).text)))
        assert len(rows) == 7
        assert [r["price_per_accelerator_hour"] for r in rows] == [
            o["price"]["price_per_accelerator_hour"] for o in client.get(as_json).json()["offers"]
        ]


def test_what_a_seller_writes_is_text_and_never_runs(tmp_path: Path) -> None:
    """A name in a price file is shown as its letters: nobody's page runs what a seller typed."""
    bad = "<script>alert(1)</script>"
    file = price_file(
        tmp_path, f'mine,{bad},,"a""><img src=x onerror=alert(1)>",H100-SXM,8,80,,on_demand,8,USD,2026-09-01,{bad}'
    )
    with _served(file) as client:
        page = client.get("/?accelerator=H100").text
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "&lt;script&gt;" in page
        asked = client.get("/", params={"accelerator": bad})
        assert asked.status_code == 400
        assert "<script>alert" not in asked.text


def test_u_page_unknown_price_is_said_and_last(tmp_path: Path) -> None:
    """An offer without a price would have been believed free, or first, or not there at all."""
    rows = (
        "mine,here,,known,H100-SXM,8,80,,on_demand,80,USD,2026-09-01,list",
        "mine,here,,ask,H100-SXM,8,80,,on_demand,,USD,2026-09-01,list",
    )
    with _served(price_file(tmp_path, *rows)) as client:
        text = _text(client.get("/?accelerator=H100").text)
    assert text.index("known") < text.index("not ranked: without a price")
    assert "unknown" in text
    assert "the cheapest of 2 offers" in text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("accelerator=H1000", "H100"),
        ("colour=red", "colour"),
        ("market=free", "market: 'free' is none of"),
        ("days=7", "days"),
        ("col=shoes", "col"),
        ("policy=./own.yaml", "policy: no pack"),
        ("policy=/etc/passwd.json", "policy: no pack"),
        ("cursor=zzz", "cursor"),
        ("limit=100000", "limit"),
        ("residency=Atlantis", "Atlantis"),
    ],
)
def test_bad_question_is_said_on_the_page_with_a_way_back(client: TestClient, query: str, said: str) -> None:
    answer = client.get(f"/?{query}")
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert said in unescape(answer.text)
    assert 'href="/"' in answer.text


def test_empty_fields_of_the_form_are_fields_left_out() -> None:
    asked = parse([("accelerator", "H100"), ("count", ""), ("residency", " "), ("provider", "")])
    assert asked.pairs() == [("accelerator", "H100")]


def test_rules_choose_the_card_and_name_what_was_cheaper(client: TestClient) -> None:
    """The cheapest row is not the answer when a rule forbids it; the card says which rule."""
    params = {"accelerator": "H100", "count": "8", "policy": "org-no-us-parent", "headquarters": "DE", "users": "none"}
    text = _text(client.get("/", params=params).text)
    assert "Cheapest compliant offer" in text
    assert "org-no-us-parent" in text
    assert "not legal advice" in text.lower()


def test_no_model_of_the_sizing_box_is_a_file(tmp_path: Path, client: TestClient) -> None:
    """A visitor could otherwise learn which files this machine has, and what is in them."""
    config = tmp_path / "config.json"
    config.write_text('{"hidden_size": "canary-77"}', encoding="utf-8")
    for model in (str(config), str(tmp_path), "./config.json", "../../etc/passwd"):
        answer = client.get("/", params={"accelerator": "H100", "model": model})
        assert answer.status_code == 200
        assert "canary-77" not in answer.text
        assert "no model" in answer.text.lower() or "unknown" in answer.text.lower()


def test_sizing_says_fits_or_no_for_each_machine(client: TestClient) -> None:
    text = _text(client.get("/", params={"accelerator": "H100-SXM", "model": "llama-3-70b", "method": "serve"}).text)
    assert re.search(r"H100-SXM 80GB × 1 no .*H100-SXM 80GB × 8 fits", text)


def test_break_even_lines_are_those_of_compare(client: TestClient) -> None:
    asked = {"accelerator": "H100-SXM", "count": "8", "capex": "250000", "kwh": "0.10"}
    text = _text(client.get("/", params=asked).text)
    assert re.search(r"Owning 8 × H100\S* 80GB: [\d.]+ USD per accelerator-hour at full use", text)
    wrong = client.get("/", params={**asked, "years": "soon"})
    assert wrong.status_code == 200
    assert "soon" in wrong.text


def _version(start: str, end: str, amount: str | None) -> PriceVersion:
    return PriceVersion(start, end, None if amount is None else Decimal(amount), "list")


def test_history_is_not_drawn_over_days_that_nobody_saw() -> None:
    """A line over a gap says that the price held in between, which nobody knows."""
    seen = [_version("2026-01-01", "2026-01-10", "4"), _version("2026-03-01", "2026-03-05", "3")]
    drawn = chart({"a": seen}, "all", date(2026, 3, 10), "USD")
    assert drawn.picture is not None
    assert str(drawn.picture).count('<path class="c0"') == 2
    joined = [_version("2026-01-01", "2026-01-10", "4"), _version("2026-01-11", "2026-01-20", "3")]
    steps = str(chart({"a": joined}, "all", date(2026, 3, 10), "USD").picture)
    first = re.findall(r'<path class="c0" d="([^"]+)"', steps)[0]
    assert first.count("L") == 3
    assert chart({"a": seen}, "30", date(2026, 9, 1), "USD").picture is None
    assert chart({"a": [_version("2026-01-01", "2026-01-10", None)]}, "all", date(2026, 3, 1), "USD").picture is None


def test_one_offer_has_its_parts_and_its_history(client: TestClient) -> None:
    first = client.get("/v1/offers?accelerator=H100:8").json()["offers"][0]
    body = client.get(f"/v1/offers/{first['id']}").json()
    assert body["offer"]["price"] == first["price"]
    assert body["history"][-1]["price_per_hour"] == first["price"]["price_per_hour"]
    for wrong in ("0" * 16, "H100", "..%2f..%2fetc%2fpasswd"):
        assert client.get(f"/v1/offers/{wrong}").status_code == 404


def test_files_of_the_page_are_a_closed_list(client: TestClient) -> None:
    for wrong in ("page.html", "../app.py", "..%2fapp.py", "%2e%2e/app.py", "page.css%00"):
        assert client.get(f"/static/{wrong}").status_code == 404


@pytest.mark.slow
def test_fifty_thousand_offers_are_counted_and_the_page_stays_small(tmp_path: Path) -> None:
    from tests.benchmarks.synthetic import make_catalog

    make_catalog(tmp_path / "big.sqlite", 50_000)
    with _served(tmp_path / "big.sqlite") as client:
        page = client.get("/?market=any", headers={"Accept-Encoding": "identity"})
    assert "50,000 offers match; 50 on this page" in _text(page.text)
    assert len(page.content) < _MOST_BYTES


_RATES = "Date, USD, JPY, EUR, \n20 November 2026, 1.1000, 170.00, 1, \n"


def test_u119_service_answers_in_its_own_money_where_a_question_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opens the page of a company in Japan would take the dollars of a list for its yen."""
    (tmp_path / "rates.csv").write_text(_RATES, encoding="utf-8")
    monkeypatch.setenv("CLOUDACCEL_FX_FILE", str(tmp_path / "rates.csv"))
    own = TestClient(create_app(money=Money("JPY", "10%")), base_url="http://localhost")
    asked = {"accelerator": "H100:8", "residency": "EU", "limit": 1}

    offers = own.get("/v1/offers", params=asked).json()
    dollars = own.get("/v1/offers", params={**asked, "currency": "USD"}).json()
    price, listed = offers["offers"][0]["price"], dollars["offers"][0]["price"]
    assert (offers["currency"]["code"], offers["tax_percent"]) == ("JPY", "10")
    assert [rate["pair"] for rate in offers["currency"]["fx"]] == ["USDJPY"]
    assert price["listed"] == {"price_per_hour": listed["price_per_hour"], "currency": "USD"}
    assert abs(Decimal(price["price_per_hour"]) - Decimal(listed["price_per_hour"]) * 170 / Decimal("1.1")) < 1

    job = {"task": "finetune", "method": "lora", "model": "llama-3-8b", "tokens": 20e6, "deadline": "24h"}
    assert own.post("/v1/plan", json={"job": job}).json()["shown"]["currency"] == "JPY"

    page = own.get("/", params={"accelerator": "H100", "count": "8", "residency": "EU"}).text
    words = _text(page)
    assert "With tax, JPY" in words
    assert "--currency JPY --tax 10%" in words
    assert "converted by ECB euro reference rates (rates.csv) of 2026-11-20" in words
    assert "3,647" in words
    assert re.search(r"azure westeurope: from 2,222, allowed", unescape(page)), "the map is in yen too"


def test_no_line_of_the_map_crosses_it() -> None:
    """An outline that goes on at the other edge was drawn through all that lies between: a sea across Russia."""
    text = (files("cloudaccel.service") / "static/land.svg").read_text(encoding="utf-8")
    (drawn,) = re.findall(r' d="([^"]*)"', text)
    for ring in re.findall(r"M([^z]*)z", drawn):
        steps = [int(number) for number in re.findall(r"-?\d+", ring)][2:]
        assert max(map(abs, steps[::2])) <= 60, ring[:40]
        assert abs(sum(steps[::2])) <= 60, ring[:40]  # the last line, back to where it began


def test_a_telephone_shows_the_price_without_being_pushed_aside(client: TestClient) -> None:
    """Its owner saw names of sellers and regions, and no price."""
    page = client.get("/", params={"accelerator": "H100-SXM"}).text
    shown = re.findall(r'<th scope="col"(?: class="n")?(?: aria-sort="\w+")?>(?:<a [^>]*>)?([\w -]+)', page)
    assert [name.strip() for name in shown[:5]] == [
        "Provider",
        "Region",
        "Accelerator",
        "Accelerator-hour",
        "Price age",
    ]
    chosen = client.get("/", params={"accelerator": "H100-SXM", "col": ["instance", "hourly"]}).text
    assert "roomy" not in chosen  # what is asked for is shown


def test_the_command_beside_it_asks_the_rules_too() -> None:
    """Who copied it got a list without them, and took the first row for allowed."""
    asked = [("accelerator", "H100-SXM"), ("count", "8"), ("policy", "eu-gdpr"), ("policy", "us-ear")]
    command = parse([*asked, ("headquarters", "DE"), ("users", "none")]).command()
    assert command == "cloudaccel quote H100-SXM:8 --policy eu-gdpr,us-ear --headquarters DE --users none"
    assert run(*shlex.split(command)[1:], "--limit", "1").code in (0, 4)
    assert "--headquarters" not in parse([("accelerator", "H100-SXM"), ("headquarters", "DE")]).command()
