"""``provision up`` and rules: what is unknown, or no longer allowed, is not started."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.api.judging import Rules
from cloudaccel.api.permitting import gate_of_lock, gate_of_words, how_to_answer
from cloudaccel.api.quoting import quote
from cloudaccel.cli import main
from cloudaccel.errors import ConfigError, LimitExceeded
from cloudaccel.model import Offer

JOB = ["plan", "--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "20e6",
       "--accel", "H100", "--provider", "aws", "--startable"]  # fmt: skip
FACTS = ["--headquarters", "DE", "--users", "none"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def planned(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> dict[str, Any]:
    code, _, err = said(capsys, *JOB, "--lock", str(path), *words)
    assert code == 0, err
    return json.loads(path.read_text(encoding="utf-8"))


def chosen(lock: dict[str, Any]) -> Offer:
    place = lock["chosen"]
    found = quote(instance=place["instance"], provider=place["provider"], region=place["region"], limit=None)
    return found.offers[0]


def test_a_plan_whose_choice_is_unanswered_is_not_started(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A plan ranks what only the organisation can settle; whoever starts it would take that for a yes."""
    lock = planned(capsys, tmp_path / "a.lock.json")
    assert lock["chosen"]["policy"]["state"] == "unanswered"
    for more in (["--yes"], ["--dry-run"]):
        code, out, err = said(capsys, "provision", "up", str(tmp_path / "a.lock.json"), *more)
        assert (code, out) == (4, "")
        assert len(err.strip().splitlines()) == 1
        assert "us-ear/hq" in err
        assert "--headquarters COUNTRY, --users COUNTRIES (headquarters, users in the configuration file)" in err
    gate_of_lock(lock, Rules(headquarters="DE", users="none"))(chosen(lock))  # answered: nothing is raised


def test_settings_answer_and_go_before_what_a_lock_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock from elsewhere that says another headquarters would lift export control."""
    lock = planned(capsys, tmp_path / "a.lock.json", *FACTS)
    gate_of_lock(lock, Rules())(chosen(lock))
    monkeypatch.setenv("CLOUDACCEL_HEADQUARTERS", "CN")
    code, _, err = said(capsys, "provision", "up", str(tmp_path / "a.lock.json"), "--yes")
    assert code == 4
    assert "us-ear/hq" in err


def test_a_contract_that_was_taken_back_stops_the_plan_that_relied_on_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of the statements in the lock would go on satisfying the rule for ever."""
    monkeypatch.setenv("CLOUDACCEL_STATEMENTS", str(tmp_path / "statements.json"))
    needs = [f"{name}:aws" for name in ("dpa", "dpf", "scc", "tia")]
    assert said(capsys, "policy", "assert", *needs, "--until", "2099-01-01")[0] == 0
    gdpr = ["--policy", "eu-gdpr", "--data-class", "personal_eu"]
    lock = planned(capsys, tmp_path / "a.lock.json", *FACTS, *gdpr)
    gate_of_lock(lock, Rules())(chosen(lock))
    assert said(capsys, "policy", "assert", "--withdraw", "dpa:aws")[0] == 0
    code, _, err = said(capsys, "provision", "up", str(tmp_path / "a.lock.json"), "--yes")
    assert code == 4
    assert "eu-gdpr/art28" in err
    assert "--stated dpa:aws" in err


def test_a_lock_cannot_switch_the_rules_off(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.lock.json"
    lock = planned(capsys, path)
    lock["request"]["rules"]["always"] = False
    lock["chosen"]["policy"]["state"] = "compliant"
    path.write_text(json.dumps(lock), encoding="utf-8")
    assert said(capsys, "provision", "up", str(path), "--yes")[0] == 4
    bad: list[Any] = [{}, [], {"rules": {"file": 3}}]
    for request in bad:
        path.write_text(json.dumps({**lock, "request": request}), encoding="utf-8")
        code, _, err = said(capsys, "provision", "up", str(path), "--yes")
        assert code == 2
        assert "Plan again" in err


def test_a_pack_named_at_the_start_is_added_to_those_of_the_plan(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.lock.json"
    planned(capsys, path, *FACTS)
    code, _, err = said(capsys, "provision", "up", str(path), "--yes", "--policy", "org-no-us-parent")
    assert code == 4
    assert "is not allowed by org-no-us-parent" in err


def test_words_are_judged_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a plan, the flags of the rules would be read and passed over."""
    offer = quote("H100-SXM:8", provider="aws", region="us-east-1").offers[0]
    assert gate_of_words(Rules())(offer).startswith("not assessed: us-ear/hq")
    assert gate_of_words(Rules(headquarters="DE", users="none"))(offer) == ""
    for rules in (Rules(packs=("us-ofac",)), Rules(headquarters="CN", users="none")):
        with pytest.raises(LimitExceeded, match="p5"):
            gate_of_words(rules)(offer)
    words = ["provision", "up", "H100-SXM:8", "--provider", "aws", "--yes", "--policy", "org-no-us-parent", *FACTS]
    code, _, err = said(capsys, *words)
    assert code == 4
    assert "org-no-us-parent" in err


def test_how_to_answer_names_flags_settings_and_statements() -> None:
    assert how_to_answer(["users=COUNTRIES", "dpa:aws", "data-class=NAME", "keys=COUNTRIES"]) == (
        "--users COUNTRIES, --data-class NAME, --stated keys=COUNTRIES (users in the configuration file); "
        "--stated dpa:aws ('policy assert' writes it down)"
    )


def test_a_lock_with_a_pack_that_is_gone_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lock = planned(capsys, tmp_path / "a.lock.json", *FACTS)
    lock["request"]["rules"]["packs"] = [str(tmp_path / "gone.yaml")]
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        gate_of_lock(lock, Rules())
