"""Situations whose answer a specialist knows: the verdict, the rule that makes it, and what would settle what is open.

Each row says the law, and what its user would have believed wrongly with another answer.
"""

from datetime import date
from typing import NamedTuple

import pytest

from cloudaccel.api.judging import Rules, explain_place, judge_by
from cloudaccel.cli import main
from cloudaccel.compliance import load_packs, shipped_packs
from cloudaccel.compliance.vocabulary import classes_known
from cloudaccel.errors import QueryError
from cloudaccel.facts.licences import exclusions, not_granted
from cloudaccel.facts.models import models
from cloudaccel.model.verdict import COMPLIANT, NON_COMPLIANT, UNKNOWN, Verdict

TODAY = date(2026, 11, 27)
YES, NO, OPEN = COMPLIANT, NON_COMPLIANT, UNKNOWN


class Situation(NamedTuple):
    """Packs and place -> state, the rules that decide, and statements that would settle it."""

    law: str
    wrongly: str
    packs: str
    place: str
    state: str
    rules: str = ""
    asks: str = ""
    data: str = "none"
    stated: str = ""
    headquarters: str = "DE"
    users: str = "none"
    accelerator: str = "H100-SXM"


SITUATIONS = (
    Situation("SGB V s.393(3), (4): C5 type 2 since 2025-07-01", "a German region is enough for a hospital",
              "de-sgb5-393", "gcp:europe-west3", OPEN, "de-sgb5-393/abs3-c5", "evidence:de-bsi-c5:gcp",
              stated="establishment-de:gcp"),
    Situation("SGB V s.393(2)", "Ireland is abroad for a German hospital", "de-sgb5-393", "aws:eu-west-1", OPEN,
              "de-sgb5-393/abs2-niederlassung", "establishment-de:aws"),
    Situation("SGB V s.393(2): an adequacy decision is needed", "a report makes India lawful", "de-sgb5-393",
              "aws:ap-south-1", NO, "de-sgb5-393/abs2", stated="establishment-de:aws evidence:de-bsi-c5:aws"),
    Situation("SGB V s.393 is on clouds", "a hospital's own room needs a C5 report", "de-sgb5-393", "own:DE", YES),
    Situation("CSP L.1111-8; HDS v2.0", "a place in France is enough for health data", "fr-hds", "scaleway:FR",
              OPEN, "fr-hds/cert", "evidence:fr-hds:scaleway"),
    Situation("HDS v2.0 EXI 28", "a copy abroad is no storage", "fr-hds", "ovh:GRA11", NO, "fr-hds/exi28",
              stated="evidence:fr-hds:ovh backup=US", accelerator="L40S"),
    Situation("GDPR Art. 45; Decision (EU) 2023/1795", "the USA are adequate for everybody", "eu-gdpr", "aws:us-east-1",
              OPEN, "eu-gdpr/ch5", "dpf:aws", data="personal_eu", stated="dpa:aws"),
    Situation("Decision (EU) 2023/1795", "a certified seller is not enough", "eu-gdpr", "aws:us-east-1", YES,
              data="personal_eu", stated="dpa:aws dpf:aws"),
    Situation("C-311/18: clauses and an assessment", "clauses alone are enough for India", "eu-gdpr", "aws:ap-south-1",
              OPEN, "eu-gdpr/ch5", "tia:aws", data="personal_eu", stated="dpa:aws scc:aws"),
    Situation("GDPR Art. 44", "data in a bucket in the USA stays in the EU", "eu-gdpr", "aws:eu-central-1", OPEN,
              "eu-gdpr/ch5", "dpf:aws", data="personal_eu", stated="dpa:aws storage=US"),
    Situation("18 U.S.C. 2713; GDPR Art. 48", "a German region escapes an owner in the USA", "eu-gdpr,org-no-us-parent",
              "aws:eu-central-1", NO, "org-no-us-parent/parent", data="personal_eu", stated="dpa:aws"),
    Situation("FADP Art. 16; DPO Annex 1", "Germany is abroad for Switzerland", "ch-fadp", "aws:eu-central-1", YES,
              data="personal_ch", stated="dpa:aws"),
    Situation("DPO Annex 1 since 2024-09-15", "the EU's framework covers Switzerland", "ch-fadp", "aws:us-east-1", OPEN,
              "ch-fadp/art16", "ch-us-dpf:aws", data="personal_ch", stated="dpa:aws dpf:aws"),
    Situation("DPO Annex 1 has no Korea", "what is adequate in the EU is adequate in Switzerland", "ch-fadp",
              "aws:ap-northeast-2", OPEN, "ch-fadp/art16", "scc:aws", data="personal_ch", stated="dpa:aws"),
    Situation("UK GDPR Art. 45; DPA 2018 Sch. 21", "the EU is abroad for the UK", "uk-gdpr", "aws:eu-west-1", YES,
              data="personal_gb", stated="dpa:aws"),
    Situation("SI 2023/1028", "the UK needs its own bridge, the EU's is not enough", "uk-gdpr", "aws:us-east-1", OPEN,
              "uk-gdpr/ch5", "uk-bridge:aws", data="personal_gb", stated="dpa:aws dpf:aws"),
    Situation("DORA Art. 30", "a region in the EU is enough for a bank", "eu-dora", "aws:eu-west-1", OPEN, "eu-dora/30",
              "dora-art30:aws"),
    Situation("45 CFR 164.504(e)", "a US region is enough for PHI", "us-hipaa", "aws:us-east-1", OPEN, "us-hipaa/baa",
              "baa:aws", data="phi_us", headquarters="US"),
    Situation("45 CFR 164.504(e)", "an agreement with the public part covers GovCloud", "us-hipaa", "aws:us-gov-west-1",
              OPEN, "us-hipaa/baa", "baa:aws-us-gov", data="phi_us", headquarters="US", stated="baa:aws"),
    Situation("FedRAMP Marketplace", "CoreWeave is authorised, as its page says", "us-fedramp-high",
              "coreweave:US", NO, "us-fedramp-high/listed", headquarters="US", stated="ato:us-fedramp-high"),
    Situation("48 CFR 252.204-7012(b)(2)(ii)(D)", "any US region may hold CUI", "us-dfars-cui", "coreweave:US",
              NO, "us-dfars-cui/moderate", data="cui_us", headquarters="US", stated="dfars-7012-c-g:coreweave"),
    Situation("48 CFR 252.204-7012(b)(2)(ii)(D), (c)-(g)", "authorised is enough, without the seller's word",
              "us-dfars-cui", "aws:us-gov-west-1", OPEN, "us-dfars-cui/c-g", "dfars-7012-c-g:aws-us-gov", data="cui_us",
              headquarters="US"),
    Situation("CJIS Security Policy, cloud computing", "Ireland will do when it is encrypted", "us-cjis",
              "aws:eu-west-1", NO, "us-cjis/loc", data="cji_us", headquarters="US", stated="cjis-addendum:aws"),
    Situation("22 CFR 120.54", "a GPU in Ireland may see technical data", "us-itar", "aws:eu-west-1", NO, "us-itar/loc",
              headquarters="US", stated="us-persons-only:aws"),
    Situation("DoD CC SRG", "GovCloud may hold secrets", "us-dod-il6", "aws:us-gov-west-1", NO, "us-dod-il6/model",
              headquarters="US", stated="ato:us-dod-il6"),
    Situation("15 CFR 742.6(a)(6)(iii)", "an H100 may stand in Beijing", "org-owned-only", "own:CN", NO, "us-ear/dest"),
    Situation("BIS guidance of 2026-05-31", "Singapore is open to a buyer from China", "org-owned-only", "own:SG", NO,
              "us-ear/hq", headquarters="CN"),
    Situation("15 CFR 744.6; no law on renting yet", "renting needs no question for a parent in China", "org-us-only",
              "aws:us-east-1", OPEN, "us-ear/hq", "counsel:ear-iaas", headquarters="CN"),
    Situation("15 CFR 742.6(a)(6)(iii): D:4", "an H100 may be bought for the Emirates without a question",
              "org-owned-only", "own:AE", OPEN, "us-ear/dest", "license:bis"),
    Situation("31 CFR ch. V", "users in Iran are not asked about", "org-us-only", "aws:us-east-1", NO, "us-ofac/loc",
              headquarters="US", users="IR"),
    Situation("31 CFR 587; E.O. 14071", "Russia is as free as any country", "org-us-only", "aws:us-east-1", OPEN,
              "us-ofac/loc", "counsel:ofac", headquarters="US", users="RU"),
    Situation("28 CFR 202.211", "a seller owned in China may hold genomes of US persons", "us-doj-dsp",
              "alibaba:ap-southeast-1", OPEN, "us-doj-dsp/covered", "cisa-requirements:alibaba",
              data="bulk_us_sensitive", headquarters="US"),
    Situation("PIPL Art. 40", "Hong Kong is inside for an operator of critical infrastructure", "cn-mainland",
              "aws:ap-east-1", NO, "cn-mainland/loc", data="personal_cn", accelerator="T4"),
    Situation("PIPL Art. 38", "no personal data may ever leave China", "cn-pipl", "aws:eu-central-1", OPEN,
              "cn-pipl/art38", "cn-scc:aws", data="personal_cn", accelerator="T4"),
    Situation("PIPL Art. 38; CAC Provisions of 2024-03-22", "the standard contract is not enough", "cn-pipl",
              "aws:eu-central-1", YES, data="personal_cn", accelerator="T4", stated="cn-scc:aws"),
    Situation("RBI DPSS.CO.OD 2785", "processing and storage of payments are one thing", "in-rbi-payments",
              "aws:ap-southeast-1", NO, "in-rbi/storage", stated="rbi-delete-24h"),
    Situation("PDPL (M/19) Art. 29", "Frankfurt is adequate for the Kingdom", "sa-pdpl", "aws:eu-central-1", OPEN,
              "sa-pdpl/29", "sa-transfer:aws", data="personal_sa"),
    Situation("CST regulations", "government content may leave with a contract", "sa-gov", "aws:eu-central-1", NO,
              "sa-gov/loc"),
    Situation("Federal Law 2/2019 Art. 13", "health data of Dubai may be trained on in Frankfurt", "ae-health",
              "aws:eu-central-1", OPEN, "ae-health/13", "ae-health-exception", data="health_ae"),
    Situation("152-FZ Art. 18(5) since 2025-07-01", "Frankfurt may hold the first copy of Russian citizens' data",
              "ru-152fz", "aws:eu-central-1", OPEN, "ru-152fz/18.5", "ru-primary-database", data="personal_ru",
              stated="ru-transfer-notice"),
    Situation("LGPD Art. 33; Resolucao CD/ANPD 32/2026", "the EU is abroad for Brazil", "br-lgpd", "aws:eu-central-1",
              YES, data="personal_br"),
    Situation("LGPD Art. 33; Resolucao CD/ANPD 19/2024", "a US region is free for Brazil", "br-lgpd", "aws:us-east-1",
              OPEN, "br-lgpd/art33", "br-scc:aws", data="personal_br"),
    Situation("HCF; ISM", "an IRAP row of a compilation is a report", "au-protected", "aws:ap-southeast-2", OPEN,
              "au-protected/irap", "evidence:au-irap:aws", stated="ato:au-protected"),
    Situation("APRA CPS 230 since 2025-07-01", "a region in Sydney is enough for a bank", "au-apra",
              "aws:ap-southeast-2", OPEN, "au-apra/cps230", "cps230:aws"),
    Situation("CQLR c P-39.1 s. 17", "Canada is Quebec", "ca-qc-law25", "aws:ca-central-1", OPEN, "ca-qc-law25/s17",
              "pia-qc:aws", data="personal_qc", stated="dpa:aws"),
    Situation("Directive on Service and Digital", "Protected B may stand in the USA", "ca-pbmm", "aws:us-east-1", NO,
              "ca-pbmm/loc"),
    Situation("PIPA Art. 28-8", "a region in Korea needs a basis of transfer", "kr-pipa", "aws:ap-northeast-2", YES,
              data="personal_kr", stated="dpa:aws"),
    Situation("PIPA Art. 28-8", "Tokyo is free for Korea", "kr-pipa", "aws:ap-northeast-1", OPEN, "kr-pipa/28-8",
              "kr-transfer-basis:aws", data="personal_kr", stated="dpa:aws"),
    Situation("APPI Art. 28; PPC 2019-01-23", "the EEA is not designated", "jp-appi", "aws:eu-central-1", YES,
              data="personal_jp"),
    Situation("MAS Notice 658 since 2024-12-11", "a region in Singapore is enough for a bank", "sg-mas",
              "aws:ap-southeast-1", OPEN, "sg-mas/658", "mas-658:aws"),
    Situation("34 CFR 99.31(a)(1)(i)(B)", "pupils' records need no contract", "us-ferpa", "aws:us-east-1", OPEN,
              "us-ferpa/99.31", "ferpa:aws", data="education_us", headquarters="US"),
    Situation("16 CFR 312.8(c)", "children's data needs no assurance in writing", "us-coppa", "aws:us-east-1", OPEN,
              "us-coppa/312.8", "coppa:aws", data="children_us", headquarters="US"),
    Situation("VSA", "a sovereign cloud may hold VS-VERTRAULICH", "de-vsa", "aws:eusc-de-east-1", NO, "de-vsa/place",
              stated="bsi-approval"),
    Situation("VSA", "a room of one's own needs no approval", "de-vsa", "own:DE", OPEN, "de-vsa/approval",
              "bsi-approval"),
    Situation("Government Security Classifications Policy", "SECRET may go to a UK region", "gb-secret",
              "aws:eu-west-2", NO, "gb-secret/place", headquarters="GB", stated="ato:gb-secret"),
    Situation("Circular 2019/12 Art. 3", "a Turkish ministry may use a cloud abroad", "tr-2019-12", "gcp:europe-west3",
              NO, "tr-2019-12/art3", headquarters="TR"),
    Situation("SecNumCloud 3.2 s.19.6", "Paris is enough for a qualified service", "fr-secnumcloud", "aws:eu-west-3",
              NO, "fr-secnumcloud/19.6.b"),
)  # fmt: skip


def judged(case: Situation) -> Verdict:
    rules = Rules(
        packs=tuple(case.packs.split(",")), headquarters=case.headquarters, users=case.users, data=(case.data,),
        stated=tuple(case.stated.split()),
    )  # fmt: skip
    return explain_place(judge_by(rules, today=TODAY), case.place, case.accelerator)


@pytest.mark.parametrize("case", SITUATIONS, ids=[f"{s.packs} {s.place} {s.wrongly}" for s in SITUATIONS])
def test_a_situation_has_the_answer_that_a_specialist_knows(case: Situation) -> None:
    """What the user would have believed wrongly stands in the row."""
    found = judged(case)
    assert found.state == case.state, [f.why for f in found.failed or found.unknown]
    assert set(filter(None, [case.rules])) <= set(found.deciding), case.law
    assert set(filter(None, [case.asks])) <= set(found.asks)
    assert all(finding.cite for finding in found.findings)
    if found.state == OPEN:
        assert found.asks, "what is open has a question that would settle it"


def test_what_is_asked_settles_it() -> None:
    """A question whose answer changes nothing sends the user to lawyers for nothing."""
    for case in (s for s in SITUATIONS if s.state == OPEN):
        needs = [need for need in judged(case).asks if "=" not in need]
        said = case._replace(stated=" ".join((case.stated, *needs)))
        assert judged(said).state != OPEN, case


@pytest.mark.parametrize(
    ("flop", "tuning", "duties"),
    [
        (9e22, None, ()),
        (2e23, None, ("eu-ai-act/53",)),
        (1e25, None, ("eu-ai-act/53",)),
        (1.2e25, None, ("eu-ai-act/51.2", "eu-ai-act/53")),
        (None, 1e21, ()),
        (None, 4e22, ("eu-ai-act/modifier",)),
        (None, None, ()),
    ],
)
def test_the_operations_of_training_bring_the_duties_of_the_ai_act(
    flop: float | None, tuning: float | None, duties: tuple[str, ...]
) -> None:
    """Regulation (EU) 2024/1689 Art. 51(2), 53; guidelines C(2025) 5045: 10^25, 10^23, and a third of it to adapt."""
    judge = judge_by(Rules(headquarters="FR", users="none"), training_flop=flop, tuning_flop=tuning, today=TODAY)
    found = explain_place(judge, "scaleway:FR", "H100-SXM")
    assert tuple(f.rule for f in found.obligations) == duties
    assert found.state == YES, "a duty forbids no place"


def test_a_plan_says_the_duties_that_arise(capsys: pytest.CaptureFixture[str]) -> None:
    """A run of 3.6e25 operations was planned without a word on the AI Office."""
    job = [
        "plan",
        "--task",
        "pretrain",
        "--params",
        "400e9",
        "--tokens",
        "15e12",
        "--accel",
        "H100",
        "--max-nodes",
        "1024",
    ]
    assert main([*job, "--headquarters", "FR", "--users", "none", "--lock", "-"]) == 0
    out = capsys.readouterr().out
    assert "Duty     eu-ai-act/51.2" in out
    assert "Rules    of us-ear, us-ofac satisfied" in out


def test_duties_alone_are_no_rule_that_a_place_satisfies() -> None:
    """NIS 2 asks of the entity, not of the place: "rules of eu-nis2 satisfied" was what a plan would have said."""
    judge = judge_by(Rules(packs=("eu-nis2",), headquarters="DE", users="none"), today=TODAY)
    assert "pack eu-nis2 has duties only: it requires nothing of a place" in judge.warnings
    assert "eu-nis2" not in {pack.id for pack in judge.requiring}


def test_a_law_that_is_not_in_force_yet_says_so() -> None:
    """India's act binds from 2027-05-13: judged before, it must not look like law of today."""
    case = Situation("", "", "in-dpdp", "aws:ap-south-1", OPEN, data="personal_in")
    assert any("in force only from 2027-05-13" in text for text in judged(case).warnings)


def test_a_law_that_is_not_enforced_is_refused() -> None:
    """The tiers of the AI Diffusion Rule would have barred half of the world, a year after their end."""
    with pytest.raises(QueryError, match="us-ai-diffusion is not_enforced"):
        load_packs(["us-ai-diffusion"])
    assert shipped_packs()["us-ai-diffusion"].effective_to == "2025-05-13"


def test_secrets_are_planned_on_machines_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no cloud may hold the data, the answer is not "nothing", but what to own, and what is still to be shown."""
    job = ["plan", "--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "20e6", "--lock", "-"]
    assert main([*job, "--policy", "de-vsa", "--headquarters", "DE", "--users", "none"]) == 4
    said = capsys.readouterr()
    assert "de-vsa leaves no public cloud" in said.err
    assert "bsi-approval" in said.err
    assert (
        main([*job, "--policy", "de-vsa", "--headquarters", "DE", "--users", "none", "--stated", "bsi-approval"]) == 0
    )
    assert "own to buy" in capsys.readouterr().out


def test_a_licence_that_leaves_out_the_seat_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """ "Commercial use conditions" does not tell a company in Berlin that Llama 4 grants it nothing."""
    assert set(exclusions()) <= {model.licence for model in models().values()}
    assert not_granted("Llama 4 Community", "US") == not_granted("Apache-2.0", "DE") == ""
    assert "grants nothing" in not_granted("Llama 4 Community", "FR")
    assert "--headquarters" in not_granted("Llama 4 Community", None)
    job = ["plan", "--task", "finetune", "--method", "lora", "--model", "Llama-4-Scout-17B-16E", "--tokens", "20e6"]
    main([*job, "--headquarters", "DE", "--users", "none", "--lock", "-"])
    assert "grants nothing to a person domiciled" in capsys.readouterr().err


def test_every_class_of_data_has_a_pack_and_every_rule_a_text_or_a_remedy() -> None:
    """A rule that only cites leaves its reader with an article number and nothing to do."""
    assert {"personal_eu", "personal_gb", "cui_us", "cji_us", "children_us"} <= set(classes_known())
    for pack in shipped_packs().values():
        for rule in pack.rules:
            assert rule.text or rule.remedy, rule.id
