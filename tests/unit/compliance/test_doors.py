"""The same question has the same answer wherever it is asked: owned machines, ways, months, words without a plan."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudaccel import compare, plan, roadmap
from cloudaccel.api.judging import Rules, explain_place, judge_by
from cloudaccel.cli import main

FACTS = ["--headquarters", "DE", "--users", "none"]
SGB = ["--policy", "de-sgb5-393", *FACTS]
JOB = {"task": "finetune", "method": "lora", "model": "llama-3-8b", "tokens": "20e6"}
INVENTORY = """\
machine,machines,site,country,system,accelerator,count,capex,years,kwh,annual,price_per_hour,as_of
a,1,Pune,IN,,H100-SXM,8,,,,,9.10,2026-11-01
b,1,Berlin,DE,,H100-SXM,8,,,,,19.10,2026-11-01
"""
ROAD = """\
start: 2027-01
demand: {{train: "0, 2, 2"}}
country: {country}
policy: {{packs: [{packs}], headquarters: DE, users: none, data-class: [none]}}
options:
- {{name: rented, rent: "H100-SXM:8", provider: aws, region: us-east-1}}
- {{name: own, buy: hgx-h100-8, running: 3000}}
"""


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(("country", "state"), [("IN", "non_compliant"), ("DE", "compliant")])
def test_machines_of_ones_own_are_judged_alike_at_every_door(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, country: str, state: str
) -> None:
    """One door that does not ask would recommend a room in Pune for the patients of a German hospital."""
    rules = Rules(packs=("de-sgb5-393",), headquarters="DE", users="none")
    assert explain_place(judge_by(rules), f"own:{country}", "H100-SXM").state == state
    found = compare(["own:hgx-h100-8,kwh=0.2"], country=country, rules=rules)
    verdict = found.ways[0].verdict
    assert verdict is not None
    assert verdict.state == state
    (tmp_path / "inventory.csv").write_text(INVENTORY, encoding="utf-8")
    planned = plan(JOB, rules=rules, inventory=str(tmp_path / "inventory.csv"))
    (option,) = [o for o in planned.considered if o.offer.country == country]
    assert option.verdict == state
    (tmp_path / "road.yaml").write_text(ROAD.format(country=country, packs="de-sgb5-393"), encoding="utf-8")
    road = roadmap(str(tmp_path / "road.yaml"), seconds=0)
    left = [text for text in road.left_out if text.startswith("own: NOT allowed, de-sgb5-393/abs2")]
    kept = [o.verdict.state for o in road.case.options if o.name == "own" and o.verdict is not None]
    assert (len(left), kept) == ((1, []) if state == "non_compliant" else (0, [state]))


def test_what_the_rules_warn_of_is_said_at_every_door(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A pack that does not apply was "satisfied" in a comparison, a roadmap and a start, with no word of it."""
    told = "pack eu-gdpr does not apply (data.classes: none)"
    idle = ["--policy", "eu-gdpr", "--data-class", "none", *FACTS]
    (tmp_path / "road.yaml").write_text(ROAD.format(country="DE", packs="eu-gdpr, eu-nis2"), encoding="utf-8")
    asked: list[list[str]] = [
        ["policy", "explain", "own:DE", "--accel", "H100-SXM", *idle],
        ["quote", "H100-SXM:8", *idle],
        ["plan", *(f"--{k}={v}" for k, v in JOB.items()), *idle, "--lock", "-"],
        ["compare", "--option", "rent:H100-SXM:8@aws", "--option", "own:hgx-h100-8,kwh=0.2", "--country", "DE", *idle],
        ["roadmap", str(tmp_path / "road.yaml"), "--seconds", "0"],
    ]
    for words in asked:
        _, out, err = said(capsys, *words)
        assert told in err, words[0]
        assert "eu-gdpr" not in out, words[0]
    _, out, _ = said(capsys, *asked[-1])
    assert "Duty eu-nis2/21.2.d" in out
    assert "Judged by us-ear" in out


def test_what_no_answer_settles_has_another_way(capsys: pytest.CaptureFixture[str]) -> None:
    """ "No answer of yours would change the cheapest choice" left whoever keeps secrets with nothing to do."""
    code, out, _ = said(capsys, "policy", "ask", "--accel", "H100:8", "--policy", "de-vsa", *FACTS)
    assert code == 0
    assert "de-vsa leaves no public cloud" in out
    assert "policy explain own:DE" in out


def test_words_without_a_plan_are_warned_too(capsys: pytest.CaptureFixture[str]) -> None:
    """``provision up H100-SXM:8`` with a class of data that nothing is judged by would start without a word."""
    from cloudaccel.api.permitting import warnings_of

    rules = Rules(headquarters="US", users="none", data=("phi_us",))
    assert any("us-hipaa is about phi_us" in text for text in warnings_of(rules))


def test_http_hears_the_facts_without_a_pack() -> None:
    """The headquarters of a body without a pack was read and passed over: a parent in China was "unanswered"."""
    pytest.importorskip("pydantic")
    from cloudaccel.service.asked import PlanRequest, plan_text

    def asked(**more: Any) -> dict[str, Any]:
        return json.loads(plan_text(PlanRequest(job=dict(JOB), accelerators="H100", users="none", **more), None))

    assert asked()["chosen"]["policy"]["state"] == "unanswered"
    assert asked(headquarters="DE")["chosen"]["policy"]["state"] == "compliant"
    assert asked(headquarters="CN")["chosen"] is None
    assert asked(headquarters="DE", data_class=["phi_us"])["warnings"]
    assert asked(headquarters="DE", operator_jurisdiction="EU")["chosen"]["provider"] not in ("aws", "gcp", "azure")


def test_http_refuses_facts_that_nobody_hears() -> None:
    """A company under a parent in China saw H100 priced, and nothing said that its parent had not been looked at."""
    from cloudaccel.errors import QueryError
    from cloudaccel.service.asked import CompareRequest, asked_rules

    body = CompareRequest.model_validate({"options": ["api:price=1/Mtok", "rent:H100"], "headquarters": "CN"})
    with pytest.raises(QueryError, match="--headquarters: no rules are named"):
        asked_rules(body)
    assert asked_rules(body.model_copy(update={"policy": ["us-ear"]})) is not None
