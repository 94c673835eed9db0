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


ROAD = """\
start: 2027-01
country: FR
policy: {packs: [eu-gdpr], headquarters: FR, users: none, data-class: [personal_eu]STATED}
demand: {w: 'DEMAND'}
options:
  - {name: paris, rent: 'H100-SXM:8', price: 10/h, provider: aws, region: eu-west-3}
  - {name: dgx, buy: dgx-h100, price: 300000, running: 6000, lead: 3}
"""


def road(tmp_path: Path, demand: str, stated: str = "") -> Path:
    path = tmp_path / "roadmap.yaml"
    path.write_text(ROAD.replace("DEMAND", demand).replace("STATED", stated), encoding="utf-8")
    return path


def test_a_roadmap_leaves_out_what_the_rules_do_not_show_to_be_allowed(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    asked = run("roadmap", str(road(tmp_path, "0*3, 8*6")))
    assert asked.code == 0, asked.err
    assert "Left out  paris: unknown, eu-gdpr/art28: dpa:aws is not stated" in asked.out
    assert "h paris" not in asked.out
    assert "1 × dgx" in asked.out
    stated = run("roadmap", str(road(tmp_path, "0*3, 8*6", ", stated: ['dpa:aws']")), "--json")
    assert [o["state"] for o in stated.json["rules"]] == ["compliant", "compliant"]
    assert stated.json["months"][3]["rented_hours"] == {"paris for w": 730}


def test_rules_that_leave_no_plan_are_named_as_the_reason(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    answer = run("roadmap", str(road(tmp_path, "8*6")))
    assert answer.code == 4
    assert "the rules are too tight: with the options that they leave out there is a plan." in answer.out
    assert "dpa:aws" in answer.out


@pytest.mark.parametrize(
    "policy", ["[eu-gdprr]", "{pack: eu-gdpr}", "{packs: [eu-gdpr], headquarters: Nowhere}", "[]", "{packs: ''}"]
)
def test_a_policy_that_cannot_be_read_is_refused(tmp_path: Path, policy: str) -> None:
    pytest.importorskip("scipy")
    path = road(tmp_path, "8*6")
    lines = [f"policy: {policy}" if x.startswith("policy") else x for x in path.read_text("utf-8").splitlines()]
    path.write_text("\n".join(lines), encoding="utf-8")
    answer = run("roadmap", str(path))
    assert answer.code in (2, 5)
    assert answer.err.startswith("error: ")
