"""What a verdict asks can be answered, also where data and people are; and packs in conflict are named in a plan."""

import json
from pathlib import Path

import pytest

from cloudaccel.api.judging import Rules, explain_place, judge_by
from cloudaccel.cli import main
from cloudaccel.compliance.statements import STATED_ROLES, stated_roles
from cloudaccel.errors import QueryError

PACK = """\
id: {id}
title: A test
version: "1"
status: organisation
kind: organisation
jurisdiction: organisation
as_of: 2026-11-25
review_by: 2099-05-25
sources: [a test]
rules:
- id: {id}/place
  effect: require
  cite: a test
  check: location
  roles: [{roles}]
  in: [{area}]
"""


def pack(folder: Path, name: str, roles: str, area: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(PACK.format(id=name, roles=roles, area=area), encoding="utf-8")
    return str(path)


def verdict(path: str, *stated: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    rules = Rules(packs=(path,), headquarters="DE", users="none", data=(), stated=stated)
    found = explain_place(judge_by(rules), "aws:eu-central-1", "none")
    return found.state, found.asks, found.assumptions


@pytest.mark.parametrize("role", STATED_ROLES)
def test_every_role_that_a_verdict_asks_for_can_be_stated(tmp_path: Path, role: str) -> None:
    path = pack(tmp_path, "our-data", role, "EU")
    state, asks, _ = verdict(path)
    if state == "unknown":
        assert asks == (f"{role}=COUNTRIES",)
    assert verdict(path, f"{role}=FR", f"{role}=Germany")[0] == "compliant"
    assert verdict(path, f"{role}=none")[0] == "compliant"
    assert verdict(path, f"{role}=FR,US")[0] == "non_compliant"


def test_a_role_that_was_stated_is_not_assumed(tmp_path: Path) -> None:
    """The verdict would say that storage stands beside the machines, right after it was told otherwise."""
    path = pack(tmp_path, "our-data", "storage", "EU")
    assert "storage" in verdict(path)[2][0]
    assert "storage" not in verdict(path, "storage=FR")[2][0]


@pytest.mark.parametrize("word", ["processing=DE", "users=DE", "disk=DE", "keys=", "FR", "dpa", "keys=Nowhere"])
def test_what_is_no_statement_is_refused(word: str) -> None:
    """A misspelt statement would be carried along, and satisfy nothing."""
    if word == "dpa":
        assert stated_roles([word]) == ({}, ("dpa",))
        return
    with pytest.raises(QueryError):
        stated_roles([word])


def test_no_message_shows_a_placeholder(capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("aws:eu-central-1", "lambda:us-east-1"):
        main(["policy", "explain", place, "--policy", "eu-gdpr", "--accel", "H100-SXM", "--json"])
        out, _ = capsys.readouterr()
        found = json.loads(out)["verdicts"][0]
        assert "data-class=NAME" in found["asks"]
        assert "{" not in "".join([*found["asks"], *(finding["why"] for finding in found["findings"])])


def test_packs_that_leave_no_place_together_are_named_in_a_plan(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each pack alone leaves places; the user would look for the fault in the job."""
    both = ",".join(pack(tmp_path, f"only-{area.lower()}", "processing", area) for area in ("DE", "US"))
    code = main([
        "plan", "--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "20e6",
        "--accel", "H100", "--policy", both, "--headquarters", "DE", "--users", "none", "--lock", "-",
    ])  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 4
    assert "only-de and only-us leave no place together" in " ".join((out + err).split())
