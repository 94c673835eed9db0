"""What a user states is heard, or it is said that nobody hears it: classes of data, sellers, roles, packs not named."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.api.judging import Rules, explain_place, judge_by
from cloudaccel.cli import main
from cloudaccel.compliance import shipped_packs, vocabulary
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.model.verdict import COMPLIANT, UNKNOWN, Verdict

TODAY = date(2026, 11, 27)
GDPR = Rules(packs=("eu-gdpr",), headquarters="DE", users="none", data=("personal_eu",), stated=("dpa:aws",))


def verdict(place: str, rules: Rules = GDPR, /, accelerator: str = "H100-SXM", **more: Any) -> Verdict:
    from dataclasses import replace

    return explain_place(judge_by(replace(rules, **more), today=TODAY), place, accelerator)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("word", ["personal-eu", "PERSONAL_EU", "none,personal_eu", " personal_eu "])
def test_a_class_of_data_is_heard_in_any_spelling(word: str) -> None:
    """With a hyphen the pack did not apply, and a place in the USA was "satisfied"."""
    assert verdict("aws:us-east-1", data=(word,)).state == UNKNOWN


def test_a_class_of_data_that_no_pack_knows_is_refused() -> None:
    """A misspelt class kept every pack from applying, which reads like "all rules satisfied"."""
    with pytest.raises(UnknownName, match="no pack knows data of class 'personel_eu'") as refused:
        verdict("aws:us-east-1", data=("personel_eu",))
    assert "personal_eu" in refused.value.choices


@pytest.mark.parametrize(
    ("packs", "word", "said", "choices"),
    [
        (("de-sgb5-393",), "health", "Of the packs named, de-sgb5-393 asks for no class.", ()),
        (("de-sgb5-393", "eu-gdpr"), "health", "eu-gdpr asks for personal_eu; de-sgb5-393 asks for no class.", ()),
        (("de-sgb5-393",), "personal", "de-sgb5-393 asks for no class.", ("personal_eu",)),
        (("us-hipaa",), "phi", "us-hipaa asks for phi_us.", ("phi_us",)),
        (("ae-health",), "health", "ae-health asks for health_ae.", ("health_ae",)),
        ((), "helth_ae", "'helth_ae'. All classes:", ("health_ae",)),
        ((), "health", "'health'. All classes:", ()),
    ],
)
def test_no_class_of_another_country_is_suggested(
    packs: tuple[str, ...], word: str, said: str, choices: tuple[str, ...]
) -> None:
    """Believed by a German hospital that asked about health data: health_ae, of the Emirates, is what it has to say."""
    with pytest.raises(UnknownName) as refused:
        vocabulary.data_classes([word], [shipped_packs()[name] for name in packs])
    assert refused.value.choices == choices
    assert all(part in str(refused.value) for part in said.rstrip(".").split("; "))


def test_a_pack_that_was_named_and_does_not_apply_is_not_called_satisfied(capsys: pytest.CaptureFixture[str]) -> None:
    """ "Rules of eu-gdpr satisfied" was printed for what eu-gdpr had not looked at."""
    found = verdict("aws:us-east-1", data=("none",))
    assert found.state == COMPLIANT
    assert "pack eu-gdpr does not apply (data.classes: none): nothing was judged by it" in found.warnings
    rules = ["--policy", "eu-gdpr", "--data-class", "none", "--headquarters", "DE", "--users", "none"]
    code, out, err = said(capsys, "quote", "H100:8", *rules, "--limit", "1")
    assert (code, "eu-gdpr" in out) == (0, False)
    assert "eu-gdpr does not apply" in err
    job = ["--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "20e6", "--lock", "-"]
    code, out, err = said(capsys, "plan", *job, *rules)
    assert (code, "eu-gdpr" in out) == (0, False)
    assert "eu-gdpr does not apply" in err


def test_a_pack_about_the_data_that_was_not_named_is_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    """A plan over health data of US patients said "rules satisfied", and no word of HIPAA."""
    found = verdict("aws:us-east-1", Rules(headquarters="US", users="none", data=("phi_us",)))
    assert any("pack us-hipaa is about phi_us and was not named" in text for text in found.warnings)
    job = ["--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "20e6", "--lock", "-"]
    facts = ["--headquarters", "US", "--users", "none", "--data-class", "phi_us"]
    assert "us-hipaa is about phi_us" in said(capsys, "plan", *job, *facts)[2]


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("dpa:AWS", "dpa:aws"),
        ("dpa:azure-public", "dpa:azure"),
        ("baa:aws-gov", "baa:aws-us-gov"),
        ("evidence:fr-hds:OVHcloud", "evidence:fr-hds:ovh"),
        ("dpa:acme", "dpa:acme"),
        ("license:bis", "license:bis"),
        ("ato:us-dod-il5", "ato:us-dod-il5"),
    ],
)
def test_a_seller_in_a_statement_is_known_by_any_of_its_names(said: str, heard: str) -> None:
    """``dpa:AWS`` satisfied nothing, and a BAA with the government's part must not become one with the public part."""
    assert vocabulary.canonical_need(said) == heard


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("dpa:awss", "no table knows a seller called awss"),
        ("bbb:aws", "no rule of the packs judged by asks for it"),
        ("legal_opinion:eu-gdpr/art28", "leaves no room for another reading"),
    ],
)
def test_a_statement_that_no_rule_hears_is_named(word: str, text: str) -> None:
    assert any(text in warning for warning in verdict("aws:eu-central-1", stated=("dpa:aws", word)).warnings)
    assert not verdict("aws:eu-central-1").warnings


def test_personal_data_in_a_backup_abroad_is_a_transfer() -> None:
    """A copy in the USA, stated by the user, left the verdict "satisfied" (GDPR Art. 44: any transfer)."""
    assert verdict("aws:eu-central-1").state == COMPLIANT
    for role in ("backup=US", "checkpoints=IN", "logs=US", "support=IN"):
        found = verdict("aws:eu-central-1", stated=("dpa:aws", role))
        assert (found.state, found.deciding) == (UNKNOWN, ("eu-gdpr/ch5",)), role
    assert verdict("aws:eu-central-1", stated=("dpa:aws", "support=FR,NO")).state == COMPLIANT
    assert any(
        "logs, support see none of the data elsewhere" in text for text in verdict("aws:eu-central-1").assumptions
    )


def test_machines_of_ones_own_are_explained_as_any_place(capsys: pytest.CaptureFixture[str]) -> None:
    """``own`` had "no region in the tables": the default answer for what no cloud may hold could not be asked about."""
    rules = Rules(packs=("de-sgb5-393",), headquarters="DE", users="none")
    assert verdict("own:DE", rules).state == COMPLIANT
    assert str(verdict("own:IN", rules).deciding) == "('de-sgb5-393/abs2',)"
    assert verdict("own:SG", Rules(headquarters="CN", users="none")).deciding == ("us-ear/hq",)
    with pytest.raises(QueryError, match="such as own:DE"):
        verdict("own:EU", rules)
    given = ["--policy", "de-sgb5-393", "--headquarters", "DE", "--users", "none", "--accel", "H100-SXM"]
    code, out, _ = said(capsys, "policy", "explain", "own:DE", "own:IN", *given)
    assert code == 4
    assert "own/DE: rules satisfied" in out
    assert "own/IN: not allowed" in out


def test_a_seller_whose_regions_no_table_has_is_explained_by_country() -> None:
    """``scaleway:fr-par`` was refused, though its offers are in the catalog and its owner in the tables."""
    rules = Rules(packs=("org-no-us-parent",), headquarters="FR", users="none")
    assert verdict("scaleway:FR", rules).state == COMPLIANT
    assert verdict("coreweave:US", rules).deciding == ("org-no-us-parent/parent",)
    with pytest.raises(UnknownName, match="such as scaleway:FR"):
        verdict("scaleway:fr-par", rules)
    with pytest.raises(UnknownName, match="aws has no region"):
        verdict("aws:DE", rules)


def test_a_fact_is_printed_once_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "policy", "explain", "aws:eu-central-1", "--accel", "H100-SXM", "--headquarters", "DE",
                     "--users", "none")  # fmt: skip
    assert out.count("TPP =") == 1


def test_the_packs_of_a_job_are_heard_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = {"packs": "eu-gdpr", "data-class": "personel_eu", "headquarters": "DE", "users": "none"}
    job = {"task": "finetune", "method": "lora", "model": "llama-3-8b", "tokens": "20e6", "policy": rules}
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    code, _, err = said(capsys, "plan", str(tmp_path / "job.json"), "--lock", "-")
    assert (code, "no pack knows data of class" in err) == (5, True)


def test_a_sector_that_no_pack_asks_for_is_named() -> None:
    """``--sector bank`` reads like a question about banks; without eu-dora nothing of the sort was asked."""
    assert any("sector bank counts for nothing" in text for text in verdict("aws:eu-central-1", sector="bank").warnings)


def test_judging_many_places_compares_no_packs() -> None:
    """Which packs require nothing is settled once: asked at each place it took ten times the time of the rules."""
    judge = judge_by(Rules(packs=("eu-gdpr", "eu-nis2"), headquarters="DE", users="none", data=("none",)), today=TODAY)
    assert judge.idle == ("eu-gdpr", "eu-nis2", "eu-ai-act-gpai")
    assert explain_place(judge, "aws:eu-central-1", "H100-SXM").idle is judge.idle
