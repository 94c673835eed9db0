"""Ways under rules: what is not shown to be allowed is shown, explained and never recommended."""

from pathlib import Path

import pytest

from tests.support import price_file, run

FACTS = ("--headquarters", "FR", "--users", "none", "--data-class", "personal_eu")
RULES = ("--policy", "eu-gdpr", *FACTS)
OWN = "own:8xH100,capex=300000,years=4,country=FR"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    rows = (
        "hyperstack,CANADA-1,,h100x8,H100-SXM,8,80,,on-demand,8.00,USD,2026-09-24,a list",
        "aws,eu-west-3,,p5.48xlarge,H100-SXM,8,80,,on-demand,44.00,USD,2026-09-24,a list",
        "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,,on-demand,40.00,USD,2026-09-24,a list",
    )
    return price_file(tmp_path, *rows)


def test_owned_machines_and_rents_are_judged_alike_and_the_cost_of_the_rules_is_said(catalog: Path) -> None:
    words = ("compare", "--option", "rent:H100-SXM:8", "--option", OWN, "--catalog", str(catalog))
    free = run(*words)
    assert "Cheapest at 730 h/month: RENT 8×H100-SXM." in free.out
    judged = run(*words, *RULES)
    assert judged.code == 0, judged.err
    assert "Cheapest of those whose rules are satisfied at 730 h/month: OWN 8×H100." in judged.out
    assert "RENT 8×H100-SXM: unknown, eu-gdpr/art28: dpa:aws is not stated" in judged.out
    assert "--stated dpa:aws" in judged.out
    assert "not legal advice" in judged.out


def test_a_rent_takes_the_cheapest_offer_that_the_rules_allow(catalog: Path) -> None:
    answer = run(
        "compare", "--option", "rent:H100-SXM:8", "--option", OWN, "--catalog", str(catalog), *RULES,
        "--stated", "dpa:aws",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "aws eu-west-3 p5.48xlarge" in answer.out
    assert "satisfied" in answer.out
    assert "Keeping the rules costs" not in answer.out


def test_what_the_rules_refuse_is_never_the_cheapest(tmp_path: Path) -> None:
    rows = ("aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,,on-demand,8.00,USD,2026-09-24,a list",)
    words = ("compare", "--option", "rent:H100-SXM:8", "--catalog", str(price_file(tmp_path, *rows)))
    alone = run(*words, "--policy", "fr-secnumcloud", *FACTS)
    assert alone.code == 4
    assert "NOT allowed" in alone.out
    assert "none is recommended" in alone.out
    both = run(*words, "--option", OWN, "--policy", "fr-secnumcloud", *FACTS, "--json")
    assert both.json["cheapest"] in (None, "OWN 8×H100")
    assert both.json["ways"][0]["rules"]["state"] == "non_compliant"


def test_a_place_that_nobody_named_is_unknown_and_not_allowed() -> None:
    answer = run("compare", "--option", "own:8xH100,capex=300000,years=4", "--policy", "eu-gdpr", *FACTS)
    assert answer.code == 4
    assert "unknown" in answer.out
    assert "country" in answer.out


def test_a_pack_that_is_not_there_is_one_message() -> None:
    answer = run("compare", "--option", OWN, "--policy", "eu-gdprr")
    assert answer.code in (2, 5)
    assert "eu-gdpr" in answer.err
