"""``quote`` with rules: what they leave, what each of them hid, and what nothing was asked about."""

import json
import subprocess
import sys

import pytest

from cloudaccel.api.judging import Rules
from cloudaccel.api.quoting import quote
from cloudaccel.cli import main
from cloudaccel.facts import places

GDPR = ["--policy", "eu-gdpr", "--data-class", "personal_eu", "--headquarters", "FR", "--users", "none"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["quote", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_u87_residency_is_not_sovereignty() -> None:
    """U87: an EU region of a seller owned elsewhere is taken for one that only EU law reaches."""
    where = quote("H100", residency="EU", limit=None)
    who = quote("H100", residency="EU", limit=None, rules=Rules(operator_jurisdiction="EU", always=False))
    assert {offer.id for offer in who.offers} < {offer.id for offer in where.offers}
    assert {"aws", "azure", "gcp"} & {offer.provider for offer in where.offers}
    union = places.resolve_countries("EU")
    assert {places.providers()[offer.provider].operator_country for offer in who.offers} <= union
    assert {offer.country for offer in who.offers} <= union
    assert any(h.reason == "policy:operator-jurisdiction:unknown" for h in who.hidden)  # unknown is not allowed


def test_u87_a_certificate_without_dated_evidence_hides() -> None:
    """U87: a keyword on a trust page is taken for a certificate."""
    answer = quote("H100", rules=Rules(require_cert=("fr-hds",), always=False))
    assert answer.total == 0
    assert all(verdict.state != "compliant" for verdict in answer.judged.verdicts.values())  # type: ignore[union-attr]


def test_hidden_rows_add_up_to_everything_that_was_on_offer() -> None:
    whole = quote("H100:8", limit=None)
    ruled = quote("H100:8", limit=None, rules=Rules(packs=("org-no-us-parent",), headquarters="DE", users="none"))
    by_rules = sum(h.rows for h in ruled.hidden if h.reason.startswith("policy:"))
    assert ruled.total + by_rules == whole.total
    assert 0 < ruled.total < whole.total


def test_limit_counts_what_the_rules_leave() -> None:
    rules = Rules(packs=("org-no-us-parent",), headquarters="DE", users="none")
    everything = quote("H100:8", limit=None, rules=rules)
    three = quote("H100:8", limit=3, rules=rules)
    assert [offer.id for offer in three.offers] == [offer.id for offer in everything.offers[:3]]
    assert three.total == everything.total


def test_rules_that_leave_nothing_exit_4_and_say_what_would_settle(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "H100:8", *GDPR)
    assert (code, out) == (4, "")
    assert "not known under eu-gdpr/art28" in err
    assert "would settle it: dpa:" in err


def test_a_statement_for_one_seller_allows_that_seller_only(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "H100:8", *GDPR, "--residency", "EU", "--stated", "dpa:nebius", "--json")
    body = json.loads(out)
    assert code == 0
    assert {offer["provider"] for offer in body["offers"]} == {"nebius"}
    assert set(body["policy"]["packs"]) == {"eu-gdpr", "us-ear", "us-ofac", "eu-ai-act-gpai"}
    assert all(verdict["state"] == "compliant" for verdict in body["policy"]["verdicts"].values())


def test_the_table_says_what_was_judged_and_what_it_costs(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["H100:8", "--policy", "org-no-us-parent", "--headquarters", "DE", "--users", "none"]
    code, out, _ = said(capsys, *words)
    assert code == 0
    assert "satisfied on the facts given; not legal advice" in out
    assert "not allowed by org-no-us-parent/parent" in out


def test_a_plain_quote_says_that_nothing_was_assessed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "H100:8")
    assert "Not assessed: export control, sanctions" in out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--operator-jurisdiction", "Atlantis"], 5, "Atlantis"),
        (["--operator-jurisdiction", ""], 2, "empty"),
        (["--require-cert", "soc3000"], 5, "--require-cert: nothing is known of 'soc3000'"),
        (["--require-cert", ","], 2, "--require-cert: the value is empty"),
        (["--policy", ""], 2, "--policy: the value is empty"),
        (["--policy", "eu-gdrp"], 5, "no pack is called 'eu-gdrp'"),
        (["--policy", "us-ear", "--headquarters", "EU"], 2, "countries"),
    ],
)
def test_what_cannot_be_read_is_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, text: str
) -> None:
    got, out, err = said(capsys, "H100:8", *words)
    assert (got, out) == (code, "")
    assert text in err


def test_a_plain_quote_loads_no_rules() -> None:
    """Half of a quote's time would go to tables that it does not look at."""
    script = (
        "import sys; from cloudaccel.cli import main; main(['quote', 'H100:8', '--json']);"
        "print([m for m in sys.modules if 'compliance' in m or 'judg' in m], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
