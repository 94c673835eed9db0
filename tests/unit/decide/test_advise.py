"""Advice: rules are data that can be checked, unknown answers stay open, and what would change it really does."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.api import deciding
from cloudaccel.api.judging import Rules
from cloudaccel.decide.advise import DERIVED, holds, questions, rules
from cloudaccel.errors import QueryError
from cloudaccel.model.advice import DECISIONS
from tests.support import run


def test_every_rule_can_be_read_and_has_a_source() -> None:
    assert len(rules()) > 40
    assert len({rule.id for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule.source
        assert rule.ask, "whom to decide it with"
        assert rule.forbids != bool(rule.points), rule.id
        assert all(c.name in questions() or c.name in DERIVED for c in rule.when)


def test_every_question_is_used_and_every_way_can_win_or_is_named() -> None:
    used = {c.name for rule in rules() for c in rule.when}
    behind = {"api-price", "machines-per-month", "tokens-per-month", "data-tokens", "params", "place"}
    assert set(questions()) <= used | behind
    assert {rule.way for rule in rules()} == {way for ways in DECISIONS.values() for way in ways}


def best(**answers: object) -> tuple[str | None, str | None]:
    found = deciding.advise(answers)
    model, machines = found.best("model"), found.best("machines")
    return model.way if model else None, machines.way if machines else None


@pytest.mark.parametrize(
    ("answers", "model", "machines"),
    [
        # A small shop with little use: an API, and nobody to run machines.
        ({"data_may_leave": "yes", "need": "facts", "skills": "none", "tokens_per_month": "50e6", "api_price": "0.6"},
         "api", "managed"),
        # Style and vocabulary of one's own, data must stay: LoRA on an open model.
        ({"data_may_leave": "no", "own_data": "yes", "need": "behaviour", "data_tokens": "2e8", "skills": "some"},
         "lora", "on-demand"),
        # 24 B tokens of chip design and both needs: continued pretraining, as ChipNeMo did.
        ({"data_may_leave": "no", "own_data": "yes", "need": "both", "data_tokens": "24e9", "skills": "team",
          "language_covered": "no"}, "adapt", "on-demand"),
        # Law forbids the cloud: own machines.
        ({"cloud_allowed": "no", "skills": "team", "need": "facts", "site_kw": "60"}, "rag", "own"),
        # Steady use for two years, and room for machines.
        ({"load": "0.8", "months": "36", "site_kw": "60", "skills": "team"}, "api", "own"),
        ({"load": "0.8", "months": "9"}, "api", "reserved"),
        ({"interruptible": "yes", "nodes": "1"}, "api", "spot"),
    ],
)  # fmt: skip
def test_known_situations(answers: dict[str, str], model: str, machines: str) -> None:
    assert best(**answers) == (model, machines)


def test_never_buy_for_one_run_or_at_little_use() -> None:
    for answers in ({"months": "3", "load": "0.9"}, {"months": "36", "load": "0.4"}, {"skills": "none"}):
        found = deciding.advise(answers)
        own = next(c for c in found.choices["machines"] if c.way == "own")
        assert own.forbidden


def test_from_scratch_needs_twenty_tokens_for_a_parameter() -> None:
    few = deciding.advise({"data_tokens": "100e9", "params": "7e9"})
    assert next(c for c in few.choices["model"] if c.way == "pretrain").forbidden
    enough = deciding.advise({"data_tokens": "150e9", "params": "7e9"})
    assert not next(c for c in enough.choices["model"] if c.way == "pretrain").forbidden


def test_bloomberg_50b_is_told_that_general_models_caught_up() -> None:
    """363 B + 345 B tokens for 50 B parameters: 14 for each, and a covered domain."""
    found = deciding.advise({"data_tokens": "708e9", "params": "50.6e9", "language_covered": "yes", "own_data": "yes"})
    scratch = next(c for c in found.choices["model"] if c.way == "pretrain")
    assert scratch.forbidden
    assert any("BloombergGPT" in rule.reason for rule in scratch.rules)


def test_an_unknown_answer_decides_nothing_and_is_listed() -> None:
    found = deciding.advise({})
    assert all(holds(rule, {}) is None for rule in rules())
    assert not any(choice.rules for choices in found.choices.values() for choice in choices)
    assert "data-may-leave" in {q.name for q in found.open}


def test_what_would_change_it_changes_it() -> None:
    answers = {
        "data-may-leave": "yes",
        "need": "facts",
        "skills": "none",
        "tokens-per-month": "5e7",
        "api-price": "0.6",
    }
    found = deciding.advise(answers)
    assert found.flips
    for flip in found.flips:
        other = deciding.advise({**answers, flip.question: flip.answer})
        after = other.best(flip.decision)
        assert after is not None
        assert after.way == flip.way != getattr(found.best(flip.decision), "way", None)
    volume = [f for f in found.flips if f.question == "tokens-per-month"]
    assert 6.0e9 < float(volume[0].answer) < 6.2e9, "3,650 a month over 0.60 a million is 6.08 B tokens"


def test_open_models_fit_licence_size_and_context() -> None:
    found = deciding.advise({"data_may_leave": "no", "need": "facts"}, context=100_000, max_params=80e9)
    assert found.models
    assert all(m.context >= 100_000 and m.params_b <= 80 and m.commercial_use != "no" for m in found.models)


def test_command_file_and_flags(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"data-may-leave": "no", "need": "facts"}), encoding="utf-8")
    answer = run("advise", str(path), "--skills", "some", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["recommended"]["model"] == "rag"
    text = run("advise", str(path), "--explain").out
    assert "What would change it" in text
    assert "Decide it with:" in text
    assert "(not verified)" in text
    for words in (["--skills", "many"], ["--budget", "lots"], ["--months", "-3"]):
        assert run("advise", *words).code == 2
    path.write_text("[]", encoding="utf-8")
    assert run("advise", str(path)).code == 2
    with pytest.raises(QueryError):
        deciding.advise({"colour": "red"})


def test_law_that_rules_everything_out_is_said() -> None:
    answer = run("advise", "--cloud-allowed", "no", "--skills", "none")
    assert "every way is ruled out" in answer.out


def test_the_sum_behind_a_rule_on_volume_is_shown() -> None:
    """Believed: "the API costs less" is a judgement. It is 30.00 against 3,650.00, which can be redone."""
    found = deciding.advise({"tokens-per-month": "50e6", "api-price": "0.60"})
    assert found.bill is not None
    assert found.bill.amount == 50 * Decimal("0.60")
    said = run("advise", "--tokens-per-month", "50e6", "--api-price", "0.60").out
    assert "50 M tokens × 0.6 = 30.00 USD a month, against 3,650.00 of machines" in said
    assert deciding.advise({"tokens-per-month": "50e6"}).bill is None


def test_answers_in_other_money_are_read_by_a_rate_with_a_day(tmp_path: Path) -> None:
    """Believed: 0.60 EUR is 0.60. At 1.10 it is 0.66 USD, and without a rate it is no figure at all."""
    rates = tmp_path / "ecb.csv"
    rates.write_text("Date, USD,\n26 November 2026, 1.1000,\n", encoding="utf-8")
    words = ("advise", "--tokens-per-month", "50e6", "--api-price", "0.60 EUR")
    body = run(*words, "--currency", "EUR", "--fx-file", str(rates), "--json").json
    assert body["answers"]["api-price"] == "0.66"
    assert body["bill"]["amount"] == "33"
    assert body["bill"]["shown"]["amount"]["amount"] == "30"
    assert body["shown"]["as_of"] == "2026-11-26"
    said = run(*words, "--currency", "EUR", "--fx-file", str(rates)).out
    assert "in EUR: 30.00 against 3,318.18" in said
    assert "api-price = 73.07 USD/Mtok (66.43 EUR/Mtok)" in said
    assert run(*words).code == 2
    assert "Decimal" not in run("advise", "--api-price", "cheap").err


def test_a_rule_that_leaves_no_cloud_answers_the_question_itself() -> None:
    """Believed: advise asks what the packs know. Under VSA no machine of others is left, and it says by which rule."""
    found = deciding.advise({"need": "facts"}, rules=Rules(packs=("de-vsa",), headquarters="DE"))
    (derived,) = found.derived
    assert (derived.question, derived.answer, derived.given) == ("cloud-allowed", "no", None)
    assert [(f.rule, bool(f.cite)) for f in derived.by] == [("de-vsa/place", True)]
    assert "cloud-allowed" not in {q.name for q in found.open} | {f.question for f in found.flips}
    machines = found.best("machines")
    assert machines is not None
    assert machines.way == "own"
    assert not any("rent:" in step or "api:" in step for step in found.next_steps)


def test_an_answer_against_the_rules_is_a_conflict_and_the_rules_hold() -> None:
    """Believed: --cloud-allowed yes lifts a pack. It lifts nothing, and is said to be a conflict."""
    words = ("advise", "--policy", "org-owned-only", "--cloud-allowed", "yes")
    body = run(*words, "--json").json
    assert body["recommended"]["machines"] == "own"
    assert body["answers"]["cloud-allowed"] == "yes"
    assert body["derived"][0]["given"] == "yes"
    assert body["derived"][0]["conflict"] is True
    assert "CONFLICT: you answer --cloud-allowed yes" in run(*words).out
    agreed = run("advise", "--policy", "org-owned-only", "--cloud-allowed", "no")
    assert "CONFLICT" not in agreed.out
    assert run("advise", "--policy", "org-owned-only", "--cloud-allowed", "maybe").code == 2


def test_what_rules_leave_open_stays_a_question() -> None:
    """Believed: what no pack forbids is allowed. Another law may forbid it, and what is unknown is not forbidden."""
    for words in (("--policy", "eu-gdpr"), ("--policy", "org-us-only"), ("--policy", "us-cjis", "--residency", "LI")):
        answer = run("advise", *words, "--json")
        assert not answer.json["derived"], words
        assert "cloud-allowed" in answer.json["open"], words
        assert any("cloud-allowed" in note for note in answer.json["notes"]), words
        assert "rules: cloud-allowed" in answer.err


def test_rules_and_an_area_that_leave_nothing_together() -> None:
    """Believed: only a pack that bars the cloud can answer. A pack for the US and machines in the EU bar it too."""
    body = run("advise", "--policy", "org-us-only", "--residency", "EU", "--json").json
    assert [one["answer"] for one in body["derived"]] == ["no"]
    assert "in EU" in body["derived"][0]["why"]
    alone = run("advise", "--residency", "EU")
    assert alone.code == 2
    assert "--policy" in alone.err
