"""Area K, region and law: what a user would have believed wrongly, one test a case."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.api.quoting import quote
from cloudaccel.cli import main
from cloudaccel.compliance.placement import deployment_of
from cloudaccel.compliance.tables import shipped_tables
from cloudaccel.facts import places

JOB = ["plan", "--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "2e8", "--lock", "-"]
FACTS = ["--headquarters", "DE", "--users", "none"]
DENY = """\
id: our-export
title: Our own reading of export control
version: "1"
status: organisation
kind: organisation
jurisdiction: organisation
as_of: 2026-11-25
review_by: 2027-05-25
sources: [counsel, 2026-11-20]
rules:
- id: our-export/h200
  effect: require
  cite: counsel, 2026-11-20
  check: any_of
  of:
  - {check: accelerator, not_in: [H200]}
  - {check: location, roles: [users], not_in: [AE, VN]}
"""


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def deny(tmp_path: Path) -> str:
    path = tmp_path / "our-export.yaml"
    path.write_text(DENY, encoding="utf-8")
    return str(path)


def test_u84_a_plan_for_some_countries_names_no_place_outside_them(capsys: pytest.CaptureFixture[str]) -> None:
    """U84: a team that may not use US regions is given them by a default."""
    code, out, _ = said(capsys, *JOB, "--accel", "H100", "--country", "DE,FR,NL", *FACTS, "--json")
    lock: dict[str, Any] = json.loads(out)
    found = [lock["chosen"], *lock["options"], *lock["near"], *lock["failover"]]
    assert code == 0
    assert {place["country"] for place in found} <= {"DE", "FR", "NL"}


def test_u88_a_chinese_part_of_a_seller_is_not_the_seller(capsys: pytest.CaptureFixture[str]) -> None:
    """U88: a contract, an owner or an attestation of the public part is taken for one of the part in China."""
    ask = ["policy", "explain", "aws:cn-north-1", "aws:eu-central-1", "--accel", "none", *FACTS, "--json"]
    gdpr = ["--policy", "eu-gdpr", "--data-class", "personal_eu", "--stated", "dpa:aws", "--stated", "scc:aws"]
    china, europe = json.loads(said(capsys, *ask, *gdpr, "--stated", "tia:aws")[1])["verdicts"]
    assert europe["state"] == "compliant"
    assert china["state"] == "unknown"
    assert "dpa:aws-cn" in china["asks"]


def test_u89_a_rule_of_your_own_forbids_an_accelerator_for_some_users(
    capsys: pytest.CaptureFixture[str], deny: str
) -> None:
    """U89: a dated flag is taken for clearance; here the organisation's rule decides, and is named."""
    rules = ["--policy", deny, "--headquarters", "DE"]
    code, out, err = said(capsys, "quote", "H200:8", *rules, "--users", "AE")
    assert (code, out) == (4, "")
    assert "not allowed by our-export/h200" in err
    assert said(capsys, "quote", "H200:8", *rules, "--users", "DE")[0] == 0
    code, out, _ = said(capsys, "quote", "H100:8", *rules, "--users", "DE")
    assert code == 0
    assert "not legal advice" in out


def test_u89_users_that_nobody_named_are_not_taken_for_none(capsys: pytest.CaptureFixture[str], deny: str) -> None:
    """U89: a rule about users that is not asked is a rule that fails open."""
    code, _, err = said(capsys, "quote", "H200:8", "--policy", deny, "--headquarters", "DE")
    assert code == 4
    assert "not known under our-export/h200" in err


def test_two_packs_that_leave_nothing_together_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each alone leaves places, so both look harmless."""
    path = tmp_path / "eu-only.yaml"
    rule = "{id: eu-only/loc, effect: require, cite: board, check: location, roles: [processing], in: [EU]}"
    path.write_text(
        f"{DENY.partition('rules:')[0].replace('our-export', 'eu-only')}rules:\n- {rule}\n", encoding="utf-8"
    )
    code, _, err = said(capsys, "quote", "H100:8", "--provider", "lambda", "--policy", f"{path},org-us-only", *FACTS)
    assert code == 4
    assert "eu-only and org-us-only leave no place together" in err


@pytest.mark.parametrize(
    ("place", "near"),
    [("aws:eu-west-33", "eu-west-3"), ("lambda:us-est-1", "us-east-1"), ("lambda:atlantis", "asia-south-1")],
)
def test_a_region_that_is_in_no_table_is_met_with_those_that_are(
    capsys: pytest.CaptureFixture[str], place: str, near: str
) -> None:
    code, out, err = said(capsys, "policy", "explain", place, *FACTS)
    assert (code, out) == (5, "")
    assert near in err


def test_every_seller_with_prices_has_an_owner_and_a_kind_of_place() -> None:
    """A seller that the tables do not know would be unknown for ever, and nobody would see why."""
    parts = {(offer.provider, offer.partition) for offer in quote(None, kind="gpu", market="any", limit=None).offers}
    assert {provider for provider, _ in parts} <= set(places.providers())
    assert [part for part in sorted(parts) if not shipped_tables().chain(*part)] == []
    assert [part for part in sorted(parts) if deployment_of(*part) is None] == []
