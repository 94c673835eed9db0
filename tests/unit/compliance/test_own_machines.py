"""Rules that leave no public cloud: owned machines are the candidates, and are judged like any other place."""

import json
from pathlib import Path

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
TURKEY = ["--policy", "tr-2019-12", "--headquarters", "TR", "--users", "none"]
ROWS = "machine,machines,site,country,accelerator,count,price_per_hour\nbig,4,ankara,{},H100-SXM,8,20\n"


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    path = tmp_path / "own.csv"
    path.write_text(ROWS.format("TR"), encoding="utf-8")
    return str(path)


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object], str]:
    code = main([*JOB, *words, "--lock", "-", "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def test_owned_machines_are_the_answer_where_no_cloud_is_allowed(
    capsys: pytest.CaptureFixture[str], inventory: str
) -> None:
    code, lock, _ = planned(capsys, *TURKEY, "--inventory", inventory)
    assert code == 0
    chosen = lock["chosen"]
    assert isinstance(chosen, dict)
    assert (chosen["provider"], chosen["country"], chosen["market"]["type"]) == ("own", "TR", "owned")
    assert chosen["policy"]["state"] == "compliant"
    assert planned(capsys, *TURKEY, "--inventory", inventory)[1] == lock  # the same inputs, the same lock


def test_the_inventory_of_the_settings_is_taken_by_itself_only_then(
    capsys: pytest.CaptureFixture[str], inventory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDACCEL_INVENTORY", inventory)
    code, lock, _ = planned(capsys, *TURKEY)
    assert (code, lock["chosen"]["provider"]) == (0, "own")  # type: ignore[index]
    code, lock, _ = planned(capsys, "--headquarters", "TR", "--users", "none")
    assert (code, lock["chosen"]["provider"] == "own") == (0, False)  # type: ignore[index]


def test_without_an_inventory_machines_to_buy_are_the_answer_judged_where_they_would_stand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who is told only that no cloud is allowed does not know what it takes instead."""
    code, lock, _ = planned(capsys, *TURKEY)
    chosen = lock["chosen"]
    assert isinstance(chosen, dict)
    assert (code, chosen["provider"], chosen["region"], chosen["country"]) == (0, "own", "to buy", "TR")
    assert chosen["policy"]["state"] == "compliant"

    code = main([*JOB, *TURKEY, "--lock", "-"])
    text = capsys.readouterr().out
    assert "tr-2019-12 leaves no public cloud: name machines of your own with --inventory CSV" in text
    assert f"cloudaccel compare --option own:{chosen['instance']} --explain" in text
    assert "at the world's average price, for want of a tariff there" in text
    assert "USD each" in text
    assert "which is in no wall time" in text

    code, lock, _ = planned(capsys, *TURKEY, "--country", "DE")
    assert (code, lock["chosen"]) == (4, None), "it would stand where the rule forbids it"


def test_a_machine_of_the_inventory_without_a_cost_is_named_with_the_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An inventory in Germany gave no option and no word of why: its tariff is in euros."""
    path = tmp_path / "own.csv"
    path.write_text("machine,machines,country,system\ndgx,2,DE,dgx-h100\n", encoding="utf-8")
    code, _, err = planned(capsys, "--inventory", str(path))
    assert code == 3
    assert "Unpriced dgx: unknown: the electricity tariff of Germany is in EUR" in err


@pytest.mark.parametrize(
    ("country", "rules", "rule"),
    [
        ("DE", TURKEY, "tr-2019-12/loc"),  # owning it does not move it
        ("CN", ["--policy", "us-ear", "--headquarters", "DE", "--users", "none"], "us-ear/dest"),  # nor does it export
        ("US", ["--policy", "us-dod-il6", "--headquarters", "US", "--users", "none"], "us-dod-il6/ato"),
        ("", TURKEY, "tr-2019-12/loc"),  # not said is not known
    ],
)
def test_an_owned_machine_is_judged_like_any_other_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, country: str, rules: list[str], rule: str
) -> None:
    """On-premises is taken for exempt: buying the machines is the very transaction that export control covers."""
    path = tmp_path / "own.csv"
    path.write_text(ROWS.format(country), encoding="utf-8")
    code, lock, _ = planned(capsys, *rules, "--inventory", str(path))
    assert (code, lock["chosen"]) == (4, None)
    assert rule in lock["near"][0]["policy"]["rules"]  # type: ignore[index]


def test_an_inventory_is_all_there_is(capsys: pytest.CaptureFixture[str], inventory: str) -> None:
    code, _, err = planned(capsys, "--inventory", inventory, "--price-file", inventory)
    assert code == 2
    assert "leave --catalog and --price-file out" in err
