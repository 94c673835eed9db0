"""The verbs over HTTP: the answers of the command line, no file of this machine, and limits that are said."""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cloudaccel.api import deciding, planning
from cloudaccel.output import compare_json
from cloudaccel.service.app import create_app
from cloudaccel.service.around import MOST_BODY_BYTES, Allowance
from cloudaccel.service.guard import Busy, Heavy

JOB = {"task": "finetune", "method": "lora", "model": "llama-3-8b", "tokens": "50e6"}
CANARY = "canary-93"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(), base_url="http://localhost", raise_server_exceptions=False) as made:
        yield made


def test_plan_is_the_lock_of_the_command_line(client: TestClient) -> None:
    answer = client.post("/v1/plan", json={"job": JOB, "filters": {"residency": "EU"}, "limit": 3})
    assert answer.status_code == 200, answer.text
    model = planning.plan({**JOB, "model": answer.json()["model"]["id"]}, residency="EU", options=3)
    assert answer.json()["chosen"] == json.loads(planning.lock_text(model))["chosen"]
    assert answer.json()["chosen"]["country"] != "US"


def test_plan_that_nothing_fits_is_an_answer_with_reasons(client: TestClient) -> None:
    body = client.post("/v1/plan", json={"job": JOB, "accelerators": "T4:1", "filters": {"market": ["spot"]}}).json()
    tight = client.post("/v1/plan", json={"job": {**JOB, "budget": "0.01 USD"}})
    assert tight.status_code == 200
    assert tight.json()["chosen"] is None
    assert tight.json()["near"]
    assert body["chosen"] is None or body["chosen"]["market"]["type"] == "spot"


def test_plan_is_judged_by_packs(client: TestClient) -> None:
    rules = {"policy": ["org-no-us-parent"], "headquarters": "DE", "users": "none", "data_class": ["none"]}
    body = client.post("/v1/plan", json={"job": JOB, **rules}).json()
    assert "org-no-us-parent" in body["packs"]
    assert body["chosen"] is None or body["chosen"]["policy"]["state"] != "non_compliant"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/plan", {"job": {**JOB, "model": "{file}"}}),
        ("/v1/plan", {"job": {**JOB, "Model": "{file}"}}),
        ("/v1/plan", {"job": {**JOB, " MODEL ": "{folder}"}}),
        ("/v1/plan", {"job": {**JOB, "model": "./config.json"}}),
        ("/v1/plan", {"job": {**JOB, "model": ["{file}"]}}),
        ("/v1/plan", {"job": JOB, "policy": ["{pack}"]}),
        ("/v1/plan", {"job": JOB, "policy": ["../pack.yaml"]}),
        ("/v1/plan", {"job": {**JOB, "policy": "{pack}"}}),
        ("/v1/plan", {"job": {**JOB, "Policy": ["{pack}"]}}),
        ("/v1/plan", {"job": {**JOB, "policy": {"packs": "eu-gdpr,{pack}"}}}),
        ("/v1/plan", {"job": {**JOB, "policy": {"packs": ["{pack}"]}}}),
        ("/v1/plan", {"job": "{file}"}),
        ("/v1/plan", {"job": JOB, "price_file": "{file}"}),
        ("/v1/plan", {"job": JOB, "catalog": "{file}"}),
        ("/v1/compare", {"options": ["finetune:H100:8,tokens=1e9,model={file}"]}),
        ("/v1/compare", {"options": ["finetune:H100:8,tokens=1e9, model={file}"]}),
        ("/v1/compare", {"options": ["rent:H100:8"], "model": "{file}"}),
        ("/v1/compare", {"options": ["rent:H100:8"], "inventory": "{file}"}),
        ("/v1/advise", {"answers": {"file": "{file}"}}),
    ],
)
def test_no_request_names_a_file_of_this_machine(
    client: TestClient, tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    """Whoever can ask could otherwise read configurations, policies and inventories, or learn which files there are."""
    file, pack = tmp_path / "config.json", tmp_path / "pack.yaml"
    file.write_text(json.dumps({"hidden_size": CANARY}), encoding="utf-8")
    pack.write_text(f"id: {CANARY}", encoding="utf-8")
    text = json.dumps(body)
    for word, value in (("{file}", file), ("{folder}", tmp_path), ("{pack}", pack)):
        text = text.replace(word, str(value))
    answer = client.post(path, content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert CANARY not in answer.text
    there = answer.json()["detail"]
    file.unlink()
    again = client.post(path, content=text, headers={"Content-Type": "application/json"})
    assert again.json()["detail"] == there, "the answer tells whether the file is there"


def test_compare_is_that_of_the_command_line(client: TestClient) -> None:
    options = ["api:price=0.90/Mtok", "rent:H100-SXM:8,throughput=6000tok/s"]
    found = deciding.compare(options, demand="400M-tokens/month")
    answer = client.post("/v1/compare", json={"options": options, "demand": "400M-tokens/month"})
    assert answer.json() == json.loads(compare_json.text(found))


def test_advice_answers_and_says_what_is_open(client: TestClient) -> None:
    body = client.post("/v1/advise", json={"answers": {}}).json()
    assert body["kind"] == "advise"
    assert body["open"]
    ruled = client.post("/v1/advise", json={"policy": ["de-vsa"], "answers": {"cloud-allowed": True}}).json()
    assert ruled["derived"][0]["conflict"] is True
    assert client.post("/v1/advise", json={"policy": ["./pack.yaml"]}).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/plan", {"job": {"task": "bake"}}, "task"),
        ("/v1/plan", {"job": {**JOB, "colour": "red"}}, "colour"),
        ("/v1/plan", {"job": JOB, "rank": "luck"}, "rank"),
        ("/v1/plan", {"job": JOB, "mfu": 7}, "mfu"),
        ("/v1/plan", {}, "job"),
        ("/v1/compare", {"options": []}, "options"),
        ("/v1/compare", {"options": ["gift:free"]}, "gift"),
        ("/v1/compare", {"options": ["rent:H100:8"], "samples": 10**7}, "samples"),
        ("/v1/advise", {"answers": {"mood": "good"}}, "mood"),
    ],
)
def test_bad_request_is_the_callers_to_mend(client: TestClient, path: str, body: dict[str, Any], said: str) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["detail"]
    assert "--" not in answer.json()["detail"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"job": ' + "[" * 50_000, "\x00", "NaN", '{"job":{"a":1e999}}']
)
def test_what_is_no_request_is_400(client: TestClient, text: str) -> None:
    assert client.post("/v1/plan", content=text, headers={"Content-Type": "application/json"}).status_code == 400


def test_body_without_end_is_413(client: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(MOST_BODY_BYTES // 1000 + 2):
            yield b" " * 1000

    for content in (b" " * (MOST_BODY_BYTES + 1), pieces()):
        answer = client.post("/v1/plan", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["code"] == "too_large"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_rate_is_kept_for_each_address() -> None:
    now = [0.0]
    allowance = Allowance(2, lambda: now[0])
    assert [allowance.take("a") for _ in range(5)] == [True, True, True, True, False]
    assert allowance.take("b")
    now[0] = 1.0
    assert [allowance.take("a") for _ in range(3)] == [True, True, False]


def test_too_many_requests_are_told_when_to_come_again() -> None:
    with TestClient(create_app(rate=1), base_url="http://localhost") as client:
        answers = [client.get("/healthz") for _ in range(4)]
    assert [answer.status_code for answer in answers].count(429) >= 1
    assert answers[-1].headers["retry-after"] == "1"
    assert answers[-1].json()["code"] == "rate_limited"


def test_work_beyond_what_the_machine_does_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudaccel.service.guard._PATIENCE_S", 0.01)
    heavy = Heavy(1)
    with heavy, pytest.raises(Busy), heavy:
        pass
    with heavy:
        pass


def test_tables_say_their_source_and_unknown_is_null(client: TestClient) -> None:
    sellers = {row["id"]: row for row in client.get("/v1/providers").json()["providers"]}
    assert sellers["aws"]["rows"] > 0
    assert all(row["as_of"] is None or row["age_days"] >= 0 for row in sellers.values())
    rows = client.get("/v1/regions", params={"provider": "aws"}).json()["regions"]
    assert {row["provider"] for row in rows} == {"aws"}
    assert all(row["source"] and row["as_of"] for row in rows)
    assert all(row["carbon_g_per_kwh"] != 0 for row in rows)
    assert client.get("/v1/regions", params={"provider": "nobody"}).status_code == 400
    state = client.get("/v1/catalog").json()
    assert state["sources"]
    assert state["catalog"]["id"].startswith("sha256:")


def test_history_gives_each_version_with_its_days(client: TestClient) -> None:
    ids = [offer["id"] for offer in client.get("/v1/offers?accelerator=H100:8&limit=2").json()["offers"]]
    body = client.get("/v1/history", params={"offer": ids}).json()
    assert [row["offer"] for row in body["histories"]] == ids
    assert all(v["from"] <= v["until"] for row in body["histories"] for v in row["versions"])
    assert client.get("/v1/history").status_code == 400
    assert client.get("/v1/history", params={"offer": "../x"}).status_code == 400
    assert client.get("/v1/history", params={"offer": "0" * 16}).status_code == 400


def test_accelerators_unchanged_are_304(client: TestClient) -> None:
    tag = client.get("/v1/accelerators").headers["etag"]
    assert client.get("/v1/accelerators", headers={"If-None-Match": tag}).status_code == 304


def test_figures_have_routes_and_ages_and_no_made_up_series(client: TestClient) -> None:
    for path in ("/v1/offers?limit=1", "/nobody/made/this", "/v1/accelerators/H100"):
        client.get(path)
    text = client.get("/metrics").text
    assert 'cloudaccel_requests_total{method="GET",route="/v1/offers",status="200"} 1.0' in text
    assert 'route="/v1/accelerators/{name}"' in text
    assert "nobody" not in text
    assert 'cloudaccel_price_age_days{provider="aws"}' in text
    assert re.search(r"^cloudaccel_quarantined_rows \d+\.0$", text, re.MULTILINE)


def test_unforeseen_error_is_a_problem_with_the_id_of_the_log(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr("cloudaccel.service.app.explain", broken)
    answer = client.get("/v1/accelerators/H100", headers={"X-Request-ID": "id-7"})
    assert (answer.status_code, answer.json()["code"]) == (500, "error")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert CANARY not in answer.text
    assert "id-7" in caplog.text


def test_same_letters_again_are_the_same_answer(client: TestClient) -> None:
    path = "/v1/offers?accelerator=H100:8&limit=3"
    first, second = client.get(path), client.get(path)
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    assert client.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == first.json()
    assert client.get(path, headers={"Host": "evil.example"}).status_code == 400
    assert client.head(path).status_code == 405


def test_refreshed_catalog_answers_the_next_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is kept would be believed to be of today's prices."""
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(tmp_path))
    with TestClient(create_app(), base_url="http://localhost") as client:
        path = "/v1/offers?accelerator=H100:8&limit=3"
        client.get(path)
        before = client.get(path).json()["catalog"]["id"]
        new = tmp_path / "new"
        shutil.copy(next(tmp_path.glob("bundled-*.sqlite")), new)
        with closing(sqlite3.connect(new)) as db, db:
            db.execute("UPDATE meta SET value = 'sha256:other' WHERE key = 'catalog_id'")
        new.replace(tmp_path / "catalog.sqlite")
        after = client.get(path).json()["catalog"]["id"]
        assert before != after == "sha256:other"
