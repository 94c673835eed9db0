"""Verdicts of the shipped packs on real places, and what must hold of every one of them."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.compliance import (
    Assertion,
    Circumstances,
    Judge,
    OrganisationFacts,
    Pack,
    Placement,
    Waiver,
    WorkloadFacts,
    conflicts,
    evaluate,
    load_packs,
    with_always_on,
    yaml12,
)
from cloudaccel.compliance.tables import Attestation, load_tables, shipped_tables
from cloudaccel.model.verdict import COMPLIANT, NON_COMPLIANT, UNKNOWN, VERDICT_STATES

_FILE = Path(__file__).with_name("scenarios.yaml")
_DATA = yaml12.read(_FILE.read_text(encoding="utf-8"), _FILE.name)
TODAY = date.fromisoformat(_DATA["today"])
SCENARIOS: list[dict[str, Any]] = _DATA["scenarios"]
by_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=[s["id"] for s in SCENARIOS])


def packs_of(scenario: dict[str, Any]) -> tuple[Pack, ...]:
    return with_always_on(load_packs(scenario["packs"], allow_status=("draft",)))


def place_of(scenario: dict[str, Any]) -> Placement:
    return Placement(accelerator=scenario["accelerator"], **scenario["place"])


def circumstances_of(scenario: dict[str, Any]) -> Circumstances:
    return Circumstances(
        workload=WorkloadFacts(
            data_classes=tuple(scenario["data"]), training_flop=scenario.get("training_flop"), acquisition=None
        ),
        organisation=OrganisationFacts(headquarters=scenario["headquarters"], users=()),
        assertions=tuple(Assertion(need=need) for need in scenario["assert"]),
        today=TODAY,
    )


def scenario(name: str) -> dict[str, Any]:
    return next(s for s in SCENARIOS if s["id"] == name)


@by_scenario
def test_scenario_gives_the_expected_verdict_and_rules(scenario: dict[str, Any]) -> None:
    verdict = evaluate(packs_of(scenario), place_of(scenario), circumstances_of(scenario))
    assert verdict.state == scenario["expect"], verdict.deciding
    assert set(scenario["rules"]) <= set(verdict.deciding)
    if verdict.state != COMPLIANT:
        assert scenario["rules"], "a verdict that is not compliant names its rules"
    assert [f.rule for f in verdict.obligations if f.rule in scenario.get("obligations", ())] == scenario.get(
        "obligations", []
    )


@by_scenario
def test_masking_any_single_fact_never_makes_a_verdict_compliant(scenario: dict[str, Any]) -> None:
    packs, place, around = packs_of(scenario), place_of(scenario), circumstances_of(scenario)
    before = evaluate(packs, place, around).state
    if before == COMPLIANT:
        return
    masked: list[tuple[Placement, Circumstances]] = [
        (replace(place, **{name: None}), around)
        for name in ("provider", "partition", "region", "country", "tier", "deployment", "service", "accelerator")
    ]
    masked += [(place, replace(around, workload=replace(around.workload, data_classes=None)))]
    masked += [(place, replace(around, organisation=replace(around.organisation, headquarters=None)))]
    masked += [(place, replace(around, organisation=replace(around.organisation, users=None)))]
    states = [evaluate(packs, p, c).state for p, c in masked]
    assert COMPLIANT not in states
    tables = shipped_tables()
    for key, rows in tables.attestations.items():
        if key[0] != place.provider:
            continue
        for row in rows:
            rest: tuple[Attestation, ...] = tuple(r for r in rows if r is not row)
            less = replace(tables, attestations={**tables.attestations, key: rest})
            assert evaluate(packs, place, around, less).state != COMPLIANT
    for key in [k for k in tables.law if k[0] in (place.country, scenario["headquarters"])]:
        less = replace(tables, law={k: v for k, v in tables.law.items() if k != key})
        assert evaluate(packs, place, around, less).state != COMPLIANT
    for key in [k for k in tables.owners if k[0] == place.provider]:
        less = replace(tables, owners={k: v for k, v in tables.owners.items() if k != key})
        assert evaluate(packs, place, around, less).state != COMPLIANT
    for key in [k for k in tables.silicon if k[0] == place.accelerator]:
        less = replace(tables, silicon={k: v for k, v in tables.silicon.items() if k != key})
        assert evaluate(packs, place, around, less).state != COMPLIANT


@by_scenario
def test_order_of_rules_and_packs_is_irrelevant(scenario: dict[str, Any]) -> None:
    packs, place, around = packs_of(scenario), place_of(scenario), circumstances_of(scenario)
    turned = tuple(replace(pack, rules=pack.rules[::-1]) for pack in packs[::-1])
    first, second = evaluate(packs, place, around), evaluate(turned, place, around)
    assert (first.state, first.findings) == (second.state, second.findings)


@by_scenario
def test_one_more_assertion_never_worsens_a_verdict(scenario: dict[str, Any]) -> None:
    packs, place, around = packs_of(scenario), place_of(scenario), circumstances_of(scenario)
    verdict = evaluate(packs, place, around)
    needs = {*verdict.asks, "license:bis", "counsel:ear-iaas", "external_key_control", "rbi-delete-24h"}
    for need in sorted(needs):
        more = replace(around, assertions=(*around.assertions, Assertion(need=need)))
        state = evaluate(packs, place, more).state
        assert VERDICT_STATES.index(state) >= VERDICT_STATES.index(verdict.state), need


def test_one_judge_for_many_places_says_the_same_as_one_for_each() -> None:
    around = circumstances_of(SCENARIOS[0])
    packs = with_always_on(load_packs(["eu-gdpr", "fr-secnumcloud", "us-hipaa", "us-dod-il5"]))
    ready = Judge(packs, around)
    for place in [place_of(s) for s in SCENARIOS] * 2:
        assert ready.verdict(place) == evaluate(packs, place, around)


# -- what the scenarios do not hold ------------------------------------------------------------------------------------


def test_a_pack_past_its_review_date_warns() -> None:
    case = scenario("S05")
    late = replace(circumstances_of(case), today=date(2027, 5, 26))
    assert any(
        "eu-gdpr" in text and "2027-05-25" in text for text in evaluate(packs_of(case), place_of(case), late).warnings
    )
    assert not evaluate(packs_of(case), place_of(case), circumstances_of(case)).warnings


def test_an_expired_pack_satisfies_nothing() -> None:
    case = scenario("S05")
    packs = tuple(replace(pack, expires="2026-11-24") for pack in packs_of(case))
    assert evaluate(packs, place_of(case), circumstances_of(case)).state == UNKNOWN


def test_an_assertion_that_expired_yesterday_no_longer_counts() -> None:
    case = scenario("S01b")
    for until, state in ((date(2026, 11, 24), UNKNOWN), (TODAY, COMPLIANT)):
        around = replace(circumstances_of(case), assertions=(Assertion(need="baa:aws", until=until),))
        assert evaluate(packs_of(case), place_of(case), around).state == state


def test_two_packs_in_conflict_are_named() -> None:
    packs = with_always_on(load_packs(["cn-mainland", "org-us-only"]))
    around = replace(circumstances_of(scenario("S07b")))
    verdicts = [evaluate(packs, place_of(scenario(name)), around) for name in ("S07b", "S01a")]
    assert {v.state for v in verdicts} == {NON_COMPLIANT}
    assert conflicts(verdicts) == (("cn-mainland", "org-us-only"),)


def test_a_service_outside_the_boundary_is_not_the_boundary() -> None:
    packs = load_packs(["us-dod-il5"])
    base = place_of(scenario("S10c"))
    around = replace(circumstances_of(scenario("S10c")), assertions=(Assertion(need="ato:us-dod-il5"),))
    managed = evaluate(packs, replace(base, service="ml_service"), around)
    assert managed.state == UNKNOWN
    assert "us-dod-il5/pa" in managed.deciding


def test_an_overlay_row_that_downgrades_a_grade_turns_compliant_into_unknown(tmp_path: Path) -> None:
    case = scenario("S05")
    (tmp_path / "country_law.csv").write_bytes(
        b"\xef\xbb\xbfcode,topic,value,source,as_of,grade,note\r\nBR,eu_adequacy,full,hearsay,2026-01-26,D,\r\n"
    )
    verdict = evaluate(packs_of(case), place_of(case), circumstances_of(case), load_tables(tmp_path))
    assert (verdict.state, verdict.deciding) == (UNKNOWN, ("eu-gdpr/ch5",))


def test_norway_is_a_country_and_inside_the_eea() -> None:
    case = scenario("S05")
    place = replace(place_of(case), region="eu-north-9", country="NO")
    assert evaluate(packs_of(case), place, circumstances_of(case)).state == COMPLIANT


def test_storage_elsewhere_is_judged_where_it_is() -> None:
    case = scenario("S13a")
    place = replace(place_of(case), roles={"storage": ("SG",)})
    verdict = evaluate(packs_of(case), place, circumstances_of(case))
    assert (verdict.state, verdict.deciding) == (NON_COMPLIANT, ("in-rbi/storage",))


def test_a_waiver_accepts_an_unknown_and_never_a_failure() -> None:
    def waived(name: str, rule: str) -> str:
        case = scenario(name)
        waiver = Waiver(rule=rule, reason="pilot", by="CISO", until=date(2026, 12, 31))
        around = replace(circumstances_of(case), waivers=(waiver,))
        return evaluate(packs_of(case), place_of(case), around).state

    assert waived("S01a", "us-hipaa/baa") == "accepted_risk"
    assert waived("S16b", "fr-hds/exi28") == NON_COMPLIANT


def test_a_legal_opinion_overrides_only_an_interpretive_rule() -> None:
    def opined(name: str, *rules: str) -> str:
        case = scenario(name)
        stated = tuple(Assertion(need=f"legal_opinion:{rule}", by="counsel") for rule in rules)
        around = replace(circumstances_of(case), assertions=stated)
        return evaluate(packs_of(case), place_of(case), around).state

    assert opined("S14a", "tr-2019-12/art3", "tr-2019-12/loc") == NON_COMPLIANT
    assert opined("S12b", "ch-finma/79", "ch-finma/audit") == UNKNOWN


def test_export_control_residency_and_ownership_are_three_different_things() -> None:
    """U87, U89: a place in the EU, owned from the US, with an accelerator that another buyer may not acquire."""
    place = place_of(scenario("S03a"))
    around = circumstances_of(scenario("S03a"))
    assert evaluate(load_packs(["eu-gdpr"]), place, around).state == COMPLIANT
    assert evaluate(load_packs(["org-no-us-parent"]), place, around).state == NON_COMPLIANT
    from_china = replace(around, organisation=replace(around.organisation, headquarters="CN"))
    assert evaluate(load_packs(["us-ear"]), place, from_china).deciding == ("us-ear/hq",)


def test_no_verdict_says_that_somebody_is_compliant_with_a_law() -> None:
    verdict = evaluate(packs_of(SCENARIOS[0]), place_of(SCENARIOS[0]), circumstances_of(SCENARIOS[0]))
    assert "not legal advice" in verdict.disclaimer
    assert all("compliant" not in f"{f.why} {f.remedy}".lower() for f in verdict.findings)
