"""The HTTP service: its answers are the quote's, page by page, and every refusal is one clear document."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cloudaccel.api.quoting import quote
from cloudaccel.cli import main
from cloudaccel.output import quote_json
from cloudaccel.service.app import create_app
from cloudaccel.service.asked import OfferFilters
from cloudaccel.service.offers import OfferPages


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(), base_url="http://localhost", raise_server_exceptions=False) as made:
        yield made


def _pages(client: TestClient, **params: Any) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        answer = client.get("/v1/offers", params={**params, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        yield body
        cursor = body["next_cursor"]
        if cursor is None:
            return


def test_pages_together_are_the_whole_quote(client: TestClient) -> None:
    whole = quote_json.envelope(quote("H100:8", market="any", limit=None))
    pages = list(_pages(client, accelerator="H100:8", market="any", limit=37))
    assert len(pages) > 1
    assert [offer for page in pages for offer in page["offers"]] == whole["offers"]
    assert {page["total"] for page in pages} == {whole["total"]}
    assert {page["catalog"]["id"] for page in pages} == {whole["catalog"]["id"]}
    assert all(page["query"]["limit"] == 37 for page in pages)
    assert not any(page["complete"] for page in pages)


def test_without_filters_every_offer_on_demand_is_listed(client: TestClient) -> None:
    body = client.get("/v1/offers", params={"limit": 5}).json()
    assert body["total"] == quote(limit=None).total
    assert len(body["offers"]) == 5


def test_what_hides_and_hints_is_said(client: TestClient) -> None:
    body = client.get("/v1/offers", params={"accelerator": "H100:7"}).json()
    assert body["offers"] == []
    assert body["total"] == 0
    assert body["next_cursor"] is None
    assert body["hints"] == list(quote("H100:7").hints) != []


@pytest.mark.parametrize("sent", ['W/"{}"', '"{}"', 'W/"other", "{}"', "*"])
def test_unchanged_answer_is_304_without_a_body(client: TestClient, sent: str) -> None:
    first = client.get("/v1/offers?accelerator=H100:8")
    tag = first.headers["etag"].removeprefix('W/"').removesuffix('"')
    again = client.get("/v1/offers?accelerator=H100:8", headers={"If-None-Match": sent.format(tag)})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])


def test_other_question_has_another_tag(client: TestClient) -> None:
    first = client.get("/v1/offers?accelerator=H100:8").headers["etag"]
    other = client.get("/v1/offers?accelerator=H100:4", headers={"If-None-Match": first})
    assert other.status_code == 200
    assert other.headers["etag"] != first


def test_answer_is_kept_until_the_catalog_changes_or_room_runs_out() -> None:
    pages = OfferPages(cache_bytes=1_000_000)
    filters = OfferFilters(accelerator="H100:8", limit=2)
    assert pages.page(filters) is pages.page(filters)
    none = OfferPages(cache_bytes=0)
    first, second = none.page(filters), none.page(filters)
    assert first is not second
    assert first.etag == second.etag


def test_own_price_file_is_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = tmp_path / "prices.csv"
    head = "provider,region,instance,accelerator,count,market,price_per_hour,currency"
    row = head + "\nmine,here,box,H100-SXM,8,on_demand,{},USD\n"
    prices.write_text(row.format("4.00"), encoding="utf-8")
    monkeypatch.setenv("CLOUDACCEL_PRICE_FILE", str(prices))
    pages = OfferPages()
    filters = OfferFilters(provider=["mine"])
    before = json.loads(pages.page(filters).body)
    prices.write_text(row.format("5.00"), encoding="utf-8")
    after = json.loads(pages.page(filters).body)
    assert [b["offers"][0]["price"]["price_per_hour"] for b in (before, after)] == ["4", "5"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("accelerator=H1000", "H1000"),
        ("accelerator=H100:8&accelerators=x", "accelerators"),
        ("market=free", "market: 'free' is none of"),
        ("provider=", "provider: the value is empty"),
        ("max_price=cheap", "max_price"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("accelerator=" + "x" * 201, "accelerator"),
        ("sort=colour", "sort"),
        ("cursor=zzz", "cursor: not one of ours"),
        ("cursor=%C3%A4", "cursor: not one of ours"),
        ("cursor=" + base64.urlsafe_b64encode(b'[-1, "x", "y"]').decode(), "cursor: not one of ours"),
        ("cursor=" + base64.urlsafe_b64encode(b'[0, "x", "y"]').decode(), "another question"),
        ("cursor=" + base64.urlsafe_b64encode(b"{}").decode(), "cursor: not one of ours"),
    ],
)
def test_bad_question_is_a_problem_document(client: TestClient, query: str, said: str) -> None:
    answer = client.get(f"/v1/offers?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert said in body["detail"]
    assert "--" not in body["detail"]
    assert (body["status"], body["request_id"]) == (400, answer.headers["x-request-id"])


def test_cursor_of_another_catalog_is_gone(client: TestClient) -> None:
    first = client.get("/v1/offers?accelerator=H100:8&limit=2").json()
    offset, _, digest = json.loads(base64.urlsafe_b64decode(first["next_cursor"]))
    old = base64.urlsafe_b64encode(json.dumps([offset, "sha256:old", digest]).encode()).decode()
    answer = client.get("/v1/offers", params={"accelerator": "H100:8", "limit": 2, "cursor": old})
    assert (answer.status_code, answer.json()["code"]) == (410, "cursor_outdated")


def test_accelerators_are_listed_and_explained(client: TestClient) -> None:
    listed = client.get("/v1/accelerators").json()["accelerators"]
    assert "nvidia-h100-sxm-80gb" in {row["id"] for row in listed}
    assert all(row["source"] for row in listed)
    found = client.get("/v1/accelerators/v5p-8").json()["names"][0]
    assert found["count"] == "4"
    assert [row["id"] for row in found["accelerators"]] == ["google-tpu-v5p"]
    unknown = client.get("/v1/accelerators/H1000")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_name")
    assert "H100" in " ".join(unknown.json()["choices"])


def test_unknown_page_and_wrong_method_are_problems(client: TestClient) -> None:
    for answer, status in ((client.get("/v1/nothing"), 404), (client.post("/v1/offers"), 405)):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.post("/v1/offers").headers["allow"] == "GET"


def test_every_answer_has_an_id_and_the_security_headers(client: TestClient) -> None:
    for path in ("/healthz", "/v1/offers?limit=1", "/v1/nothing"):
        headers = client.get(path, headers={"X-Request-ID": "abc-1"}).headers
        assert headers["x-request-id"] == "abc-1"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
    assert client.get("/healthz", headers={"X-Request-ID": "a b\t<"}).headers["x-request-id"] != "a b\t<"


def test_large_answers_travel_compressed(client: TestClient) -> None:
    answer = client.get("/v1/offers?limit=50", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in answer.headers["vary"].lower()


def test_strangers_name_for_this_machine_is_refused(client: TestClient) -> None:
    assert client.get("/v1/offers", headers={"Host": "evil.example"}).status_code == 400


def test_ready_says_when_prices_are_too_old() -> None:
    for limit, status in ((None, 200), (100_000.0, 200), (0.0, 503)):
        with TestClient(create_app(max_age_days=limit), base_url="http://localhost") as client:
            answer = client.get("/readyz")
            assert answer.status_code == status
            assert bool(answer.json()["reason"]) is (status == 503)
            assert client.get("/healthz").status_code == 200


def test_missing_prices_are_503_and_no_path_leaks(tmp_path: Path) -> None:
    app = create_app(tmp_path / "secret" / "gone.sqlite")
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        for path in ("/v1/offers", "/readyz"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "snapshot_missing")
            assert "secret" not in answer.text


def test_openapi_in_the_docs_is_current() -> None:
    from tests.docs.openapi import PAGE, page

    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.openapi"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "http"], "--port"),
        (["--port", "65536"], "--port"),
        (["--host", "0.0.0.0"], "nobody would be asked"),  # noqa: S104 - it is refused
        (["--host", "0.0.0.0", "--allow-host", "x"], "nobody would be asked"),  # noqa: S104
        (["--host", "0.0.0.0", "--auth", "token"], "say by which name"),  # noqa: S104
        (["--enable-provision"], "who starts machines must be known"),
        (["--enable-provision", "--auth", "proxy"], "who starts machines must be known"),
        (["--policy", "eu-gdpr"], "needs --enable-provision"),
        (["--auth", "token", "--enable-provision", "--policy", "/etc/passwd"], "no pack is called"),
        (["--auth", "password"], "none of token, jwt, proxy"),
        (["--auth", ""], "none of token, jwt, proxy"),
        (["--auth", "proxy,token"], "stands alone"),
        (["--auth", "jwt"], "belong together"),
        (["--jwt-issuer", "x"], "belong together"),
        (["--auth", "jwt", "--jwt-issuer", "x"], "needs --jwt-issuer"),
        (["--auth", "jwt", "--jwt-issuer", "x", "--jwt-audience", "y", "--jwt-keys", "/nowhere"], "cannot be read"),
        (["--max-age", "3"], "--max-age"),
        (["--catalog", "/nowhere"], "/nowhere"),
    ],
)
def test_serve_refuses_what_it_cannot_do(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *words]) in (2, 5, 6)
    assert said in capsys.readouterr().err
