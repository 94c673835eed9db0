"""``cloudaccel policy`` and ``plan --policy``, as a user meets them."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.cli import main

JOB = [
    "plan",
    "--task",
    "finetune",
    "--method",
    "lora",
    "--model",
    "llama-3-8b",
    "--tokens",
    "200e6",
    "--accel",
    "H100",
]
FACTS = ["--headquarters", "DE", "--users", "none"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_list_shows_every_pack_and_claims_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "policy", "list")
    assert code == 0
    assert "fr-secnumcloud" in out
    assert "not legal advice" in out
    assert len(json.loads(said(capsys, "policy", "list", "--json")[1])["packs"]) >= 22


def test_show_gives_the_citation_of_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "policy", "show", "de-sgb5-393")
    assert code == 0
    assert out.count("SGB V s.393") >= 3


def test_explain_names_rule_fact_source_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """U87: an EU region of a seller with an owner elsewhere."""
    ask = ["policy", "explain", "aws:eu-west-3", "--policy", "fr-secnumcloud", "--accel", "H100-SXM", *FACTS]
    code, out, _ = said(capsys, *ask)
    assert code == 4
    assert "NOT satisfied  fr-secnumcloud/19.6.b" in out
    assert "grade B" in out
    assert "compliant" not in out
    verdict = json.loads(said(capsys, *ask, "--json")[1])["verdicts"][0]
    assert verdict["state"] == "non_compliant"
    assert "fr-secnumcloud/visa" in verdict["deciding"]


def test_explain_asks_for_what_nobody_said(capsys: pytest.CaptureFixture[str]) -> None:
    """U89: export rules ask who acquires; unsaid is unknown and never allowed."""
    code, out, _ = said(capsys, "policy", "explain", "aws:eu-central-1", "--accel", "H100-SXM")
    assert code == 4
    assert "headquarters=COUNTRY" in out
    assert said(capsys, "policy", "explain", "aws:eu-central-1", "--accel", "H100-SXM", *FACTS)[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["policy", "show", "eu-gdrp"], 5, "eu-gdpr"),
        (["policy", "explain"], 2, "name a place"),
        (["policy", "explain", "aws:nowhere"], 5, "PROVIDER:REGION"),
        (["policy", "explain", "aws:us-east-1", "--policy", "eu-eucs"], 2, "--allow-status draft"),
        (["policy", "explain", "aws:us-east-1", "--headquarters", "EU"], 2, "name the one"),
        (["policy", "verify", "no-such-file.yaml"], 2, "cannot be read"),
        ([*JOB, "--policy", " "], 2, "--policy: the value is empty"),
    ],
)
def test_bad_input_is_one_message(capsys: pytest.CaptureFixture[str], words: list[str], code: int, says: str) -> None:
    found, out, err = said(capsys, *words)
    assert (found, out) == (code, "")
    assert says in err


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = said(capsys, *JOB, "--lock", "-", "--json", *words)
    return code, json.loads(out)


def test_a_plan_obeys_the_rules_and_its_whole_failover_set_does(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, lock = plan(capsys, "--policy", "org-no-us-parent", *FACTS)
    assert code == 0
    assert set(lock["packs"]) == {"org-no-us-parent", "us-ear", "us-ofac", "eu-ai-act-gpai"}
    assert lock["request"]["rules"]["headquarters"] == "DE"
    places = [lock["chosen"], *lock["options"], *lock["failover"]]
    assert {place["policy"]["state"] for place in places} == {"compliant"}
    assert "policy" in {rejected["reason"] for rejected in lock["rejected"]}
    path = tmp_path / "plan.lock.json"
    path.write_text(json.dumps(lock), encoding="utf-8")
    assert said(capsys, "verify", str(path))[0] == 0
    path.write_text(json.dumps({**lock, "chosen": None}), encoding="utf-8")
    assert said(capsys, "verify", str(path))[0] == 6


def test_a_plan_that_the_rules_forbid_everywhere_is_exit_4(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, lock = plan(capsys, "--policy", "tr-2019-12", *FACTS)
    assert (code, lock["chosen"]) == (4, None)


def test_without_a_named_pack_an_open_question_is_ranked_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Export control and sanctions are judged always; what only you can answer keeps no place out, and is no yes."""
    code, lock = plan(capsys)
    assert (code, set(lock["packs"])) == (0, {"us-ear", "us-ofac", "eu-ai-act-gpai"})
    assert lock["chosen"]["policy"]["state"] == "unanswered"
    assert set(lock["chosen"]["policy"]["asks"]) == {"headquarters=COUNTRY", "users=COUNTRIES"}
    code, lock = plan(capsys, *FACTS)
    assert (code, lock["chosen"]["policy"]["state"]) == (0, "compliant")
    code, lock = plan(capsys, "--policy", "us-ofac")
    assert (code, lock["chosen"]) == (4, None)


def test_an_organisation_under_the_hq_rule_gets_nothing_controlled(capsys: pytest.CaptureFixture[str]) -> None:
    code, lock = plan(capsys, "--headquarters", "CN", "--users", "none")
    assert (code, lock["chosen"]) == (4, None)


def test_the_configuration_file_answers_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('headquarters = "DE"\nusers = "none"\n', encoding="utf-8")
    monkeypatch.setenv("CLOUDACCEL_CONFIG", str(config))
    _, lock = plan(capsys)
    assert lock["chosen"]["policy"]["state"] == "compliant"
    assert lock["request"]["rules"]["headquarters"] == "DE"


def test_what_the_rules_cost_is_in_the_lock_and_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--policy", "org-no-us-parent", *FACTS]
    _, lock = plan(capsys, *words)
    cost = lock["rules_cost"]
    without = cost["without_rules"]
    assert Decimal(cost["difference"]) == Decimal(lock["chosen"]["total"]) - Decimal(without["total"]) > 0
    assert [entry["reason"] for entry in without["blocked"]] == ["policy"]
    out = said(capsys, *JOB, *words, "--lock", "-")[1]
    assert f"Rules    cost {Decimal(cost['difference']):,.2f}" in out
    assert "satisfied on the facts given; not legal advice" in out


def test_verify_asks_the_rules_of_a_lock_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """U86: a plan that was allowed is taken for one that still is; each place to move to is judged as the first was."""
    path = tmp_path / "a.lock.json"
    words = ["--policy", "org-no-us-parent", *FACTS, "--lock", str(path)]
    assert said(capsys, *JOB, *words)[0] == 0
    code, out, _ = said(capsys, "verify", str(path))
    assert code == 0, out
    assert " rules" in out
    lock = json.loads(path.read_text(encoding="utf-8"))
    lock["near"][0]["policy"] = {"state": "compliant", "rules": [], "asks": []}
    path.write_text(json.dumps(lock), encoding="utf-8")
    code, out, _ = said(capsys, "verify", str(path))
    assert code == 6
    assert "is said to be compliant, is unknown (org-no-us-parent/parent)" in out


def test_verify_sees_another_pack_and_a_statement_that_ran_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated, path = tmp_path / "statements.json", tmp_path / "a.lock.json"
    monkeypatch.setenv("CLOUDACCEL_STATEMENTS", str(stated))
    assert said(capsys, "policy", "assert", "dpa:nebius", "--until", "2099-01-01")[0] == 0
    gdpr = ["--policy", "eu-gdpr", "--data-class", "personal_eu", *FACTS, "--residency", "EU", "--lock", str(path)]
    assert said(capsys, *JOB, *gdpr)[0] == 0
    assert said(capsys, "verify", str(path))[0] == 0
    lock = json.loads(path.read_text(encoding="utf-8"))
    lock["packs"]["eu-gdpr"] = "0" * 64
    lock["request"]["rules"]["file"]["statements"][0]["until"] = "2020-01-01"
    path.write_text(json.dumps(lock), encoding="utf-8")
    code, out, _ = said(capsys, "verify", str(path))
    assert code == 6
    assert "pack eu-gdpr is another than the plan was judged by" in out
    assert "is unknown (eu-gdpr/art28)" in out


@pytest.mark.parametrize("rules", [None, {}, {"packs": ["/etc/passwd"]}, {"file": 1, "who": 2}])
def test_odd_rules_in_a_lock_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, rules: object) -> None:
    path = tmp_path / "a.lock.json"
    assert said(capsys, *JOB, "--lock", str(path))[0] == 0
    lock = json.loads(path.read_text(encoding="utf-8"))
    lock["request"]["rules"] = rules
    path.write_text(json.dumps(lock), encoding="utf-8")
    code, out, err = said(capsys, "verify", str(path))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


def test_every_place_that_a_launch_may_move_to_satisfies_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    """U86: a retry in another region is where residency breaks."""
    _, lock = plan(capsys, "--policy", "org-no-us-parent", *FACTS, "--market", "any", "--limit", "50")
    assert all(option["policy"]["state"] == "compliant" for option in lock["failover"])
    for option in (lock["chosen"], *lock["failover"]):
        words = ["policy", "explain", f"{option['provider']}:{option['region']}", "--policy", "org-no-us-parent"]
        assert said(capsys, *words, "--accel", "H100-SXM", *FACTS)[0] == 0
