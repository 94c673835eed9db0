"""``policy assert``, ``ask`` and ``diff``: what you have, what to find out, what a new version changes."""

import json
import stat
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from cloudaccel.api.judging import Rules, explain_place, judge_by
from cloudaccel.api.policies import questions
from cloudaccel.api.quoting import quote
from cloudaccel.cli import main
from cloudaccel.compliance import Assertion, Waiver
from cloudaccel.compliance.statements import Stated, read_log, read_statements, stated_of, to_json, write_statements
from tests.support import PATIENCE_S

GDPR = ["--policy", "eu-gdpr", "--data-class", "personal_eu", "--headquarters", "FR", "--users", "none"]
PACK = """\
id: {name}
title: Mine
version: "{version}"
status: organisation
kind: organisation
jurisdiction: organisation
as_of: 2026-11-25
review_by: 2027-05-25
sources: [board decision]
rules:
- {{id: mine/place, effect: require, cite: board decision, check: location, roles: [processing], in: [{where}]}}
"""


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "statements.json"
    monkeypatch.setenv("CLOUDACCEL_STATEMENTS", str(file))
    return file


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def later(days: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def test_a_statement_allows_its_seller_until_its_last_day(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    ask = ["quote", "H100:8", "--residency", "EU", *GDPR, "--json"]
    assert said(capsys, *ask)[0] == 4
    assert said(capsys, "policy", "assert", "dpa:nebius", "--until", later(30), "--by", "legal")[0] == 0
    code, out, _ = said(capsys, *ask)
    assert (code, {offer["provider"] for offer in json.loads(out)["offers"]}) == (0, {"nebius"})
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    write_statements(path, Stated((Assertion(need="dpa:nebius", until=yesterday),)))
    assert said(capsys, *ask)[0] == 4
    assert "expired" in said(capsys, "policy", "assert")[1]


def test_a_risk_that_is_accepted_is_shown_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--accept-unknown", "eu-gdpr/art28", "--reason", "pilot", "--by", "ciso", "--until", later(9)]
    assert said(capsys, "policy", "assert", *words)[0] == 0
    code, out, _ = said(capsys, "quote", "H100:8", "--residency", "EU", *GDPR, "--limit", "2")
    assert code == 0
    assert "2 of those shown rest on a risk that was accepted" in out
    assert said(capsys, "policy", "assert", "--withdraw", "eu-gdpr/art28")[0] == 0
    assert said(capsys, "quote", "H100:8", "--residency", "EU", *GDPR)[0] == 4


def test_a_statement_counts_in_the_lock_and_comes_back_out_of_it() -> None:
    stated = Stated(
        (Assertion(need="dpa:x", on=date(2026, 1, 1), until=date(2027, 1, 1)),),
        (Waiver(rule="r/1", reason="pilot", by="me", until=date(2027, 1, 1)),),
    )
    assert stated_of(json.loads(json.dumps(to_json(stated)))) == stated


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["dpa:x"], "--until"),
        (["dpa:x", "--until", "soon"], "is no date"),
        (["dpa:x", "--until", "2020-01-01"], "is over"),
        (["we are fine", "--until", "2099-01-01"], "is no statement"),
        (["--accept-unknown", "eu-gdpr/art28", "--until", "2099-01-01"], "--reason"),
        (["--accept-unknown", "none/such", "--until", "2099-01-01", "--reason", "a", "--by", "b"], "none/such"),
        (["--withdraw", "dpa:x"], "nothing was stated"),
    ],
)
def test_what_is_no_statement_is_refused(
    capsys: pytest.CaptureFixture[str], path: Path, words: list[str], text: str
) -> None:
    code, out, err = said(capsys, "policy", "assert", *words)
    assert (code, out) == (2, "")
    assert text in err
    assert not path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"schema": "cloudaccel.statements/1", "statements": [{"need": "a:x", "who": "me"}], "accept_unknown": []}',
        '{"schema": "cloudaccel.statements/1", "statements": [{"need": "a:x", "until": "soon"}], "accept_unknown": []}',
        '{"schema": "cloudaccel.statements/1", "statements": [], "accept_unknown": [{"rule": "r/1"}]}',
        '{"schema": "cloudaccel.statements/9", "statements": [], "accept_unknown": []}',
    ],
)
def test_a_damaged_file_stops_everything_that_rests_on_it(
    capsys: pytest.CaptureFixture[str], path: Path, text: str
) -> None:
    path.write_text(text, encoding="utf-8")
    code, out, err = said(capsys, "quote", "H100:8", *GDPR)
    assert (code, out) == (2, "")
    assert "is no file of statements" in err
    assert path.read_text(encoding="utf-8") == text


def test_no_file_states_nothing(path: Path) -> None:
    assert read_statements(path) == Stated()


def test_every_question_could_change_the_cheapest_choice() -> None:
    """Asked for everything that is unknown, a lawyer answers two hundred questions for nothing."""
    rules = Rules(packs=("eu-gdpr",), data=("personal_eu",), headquarters="FR", users="none", stated=("dpa:nebius",))
    best = quote("H100:8", rules=rules).offers[0].price_per_accelerator_hour
    found = questions("H100:8", rules)
    assert found
    for question in found:
        price = question.offer.price_per_accelerator_hour
        assert price is not None
        assert best is not None
        assert price < best
        assert question.saves == best - price
        answered = Rules(
            packs=rules.packs, data=rules.data, headquarters="FR", users="none",
            stated=(*rules.stated, question.need, *question.with_others),
        )  # fmt: skip
        assert quote("H100:8", rules=answered).offers[0].price_per_accelerator_hour <= price  # type: ignore[operator]
    asked = {question.need for question in found}
    # Each need stands beside the rules that ask for it, and no other: "dpa" is no question of export control.
    assert {q.rules for q in found if q.need.startswith("dpa:")} == {("eu-gdpr/art28",)}
    unasked = quote("H100:8", limit=None, rules=rules)
    assert asked < {need for v in unasked.judged.verdicts.values() for need in v.asks}  # type: ignore[union-attr]


def test_ask_prints_and_is_silent_when_nothing_would_change(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "policy", "ask", "--accel", "H100:8", *GDPR)
    assert code == 0
    offers = [line for line in out.splitlines()[:-1] if not line.startswith(" ")]
    assert len(offers) == len(set(offers))
    assert "\n    dpa:" in out
    assert json.loads(said(capsys, "policy", "ask", "--accel", "H100:8", *GDPR, "--json")[1])["questions"]
    code, out, _ = said(capsys, "policy", "ask", "--accel", "H100:8", "--headquarters", "FR", "--users", "none")
    assert (code, out) == (0, "No answer of yours would change the cheapest choice.\n")


def test_diff_names_rules_and_offers_whose_verdict_changes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(PACK.format(name="mine", version="1", where="EU, US"), encoding="utf-8")
    new.write_text(PACK.format(name="mine", version="2", where="EU"), encoding="utf-8")
    facts = ["--accel", "H100:8", "--headquarters", "FR", "--users", "none"]
    code, out, _ = said(capsys, "policy", "diff", str(old), str(new), *facts)
    assert code == 4
    assert "~ mine/place: check" in out
    assert "compliant → non compliant" in out
    assert said(capsys, "policy", "diff", str(old), str(old), *facts)[0] == 0
    body = json.loads(said(capsys, "policy", "diff", str(old), str(new), "--json")[1])
    assert body["changed"] == {"mine/place": ["check"]}


@pytest.mark.parametrize("words", [["diff", "us-ear"], ["ask"], ["ask", "us-ear"]])
def test_what_is_missing_is_said(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, out, err = said(capsys, "policy", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: policy ")


# -- the file: two at once, rights, log, clock -------------------------------------------------------------------------


def test_two_processes_that_state_at_once_lose_nothing(path: Path) -> None:
    """Each read the file, added its own and wrote it back: one of two contracts was gone, and nobody was told."""
    program = (
        "import sys; from cloudaccel.cli import main; "
        "words = ['--until', '2099-01-01', '-q']; "
        "sys.exit(max(main(['policy', 'assert', f'dpa:s{sys.argv[1]}x{n}', *words]) for n in range(8)))"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(number)]) for number in range(4)]
    assert [process.wait(PATIENCE_S) for process in running] == [0] * 4
    assert len(read_statements(path).statements) == 32
    assert len(read_log(path)) == 32


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_the_file_keeps_its_rights_and_stays_a_link(
    capsys: pytest.CaptureFixture[str], path: Path, tmp_path: Path
) -> None:
    """A file that the team reads became its last writer's alone, and a link into a shared folder became a copy."""
    shared = tmp_path / "team" / "statements.json"
    write_statements(shared, Stated())
    shared.chmod(0o664)
    path.symlink_to(shared)
    assert said(capsys, "policy", "assert", "dpa:aws", "--until", later(3))[0] == 0
    assert path.is_symlink()
    assert [s.need for s in read_statements(shared).statements] == ["dpa:aws"]
    assert {stat.S_IMODE(f.stat().st_mode) for f in shared.parent.iterdir()} == {0o664}


def test_the_log_says_who_stated_and_withdrew_what(capsys: pytest.CaptureFixture[str]) -> None:
    """Withdrawn, a waiver was gone without a trace: an auditor could not see that it ever held."""
    words = ["--accept-unknown", "eu-gdpr/art28", "--reason", "pilot", "--by", "ciso", "--until", later(9)]
    assert said(capsys, "policy", "assert", *words)[0] == 0
    assert said(capsys, "policy", "assert", "dpa:aws", "--until", later(9), "--by", "legal")[0] == 0
    assert said(capsys, "policy", "assert", "dpa:AWS", "--until", later(19), "--by", "legal")[0] == 0
    assert said(capsys, "policy", "assert", "--withdraw", "eu-gdpr/art28")[0] == 0
    code, out, _ = said(capsys, "policy", "assert", "--log", "--json")
    lines = json.loads(out)["history"]
    assert code == 0
    assert [(line["action"], line["name"]) for line in lines] == [
        ("stated", "unknown eu-gdpr/art28"), ("stated", "dpa:aws"), ("replaced", "dpa:aws"),
        ("withdrawn", "unknown eu-gdpr/art28"),
    ]  # fmt: skip
    assert lines[2]["old"]["until"] != lines[2]["new"]["until"]
    assert lines[3]["old"]["by"] == "ciso"
    assert said(capsys, "policy", "assert", "--log", "--withdraw", "dpa:aws")[0] == 2
    assert "withdrawn  unknown eu-gdpr/art28" in said(capsys, "policy", "assert", "--log")[1]


def test_a_clock_that_is_set_back_makes_no_statement_hold_again(path: Path, tmp_path: Path) -> None:
    """A contract that was over counted again on a machine whose clock was back by a year."""
    ended = date.fromisoformat(later(-30))
    write_statements(path, Stated((Assertion(need="dpa:aws", until=ended),)))
    rules = Rules(packs=("eu-gdpr",), headquarters="DE", users="none", data=("personal_eu",))
    log = path.with_name("statements.json.log")
    noted = '{"at": "2099-01-01T00:00:00+00:00", "login": "me", "action": "stated", "name": "dpa:aws", "new": {}}'
    log.write_text(noted + "\n", encoding="utf-8")
    found = explain_place(judge_by(rules), "aws:eu-central-1", "H100-SXM")
    assert found.state == "unknown"
    assert any("something was stated on 2099-01-01" in text for text in found.warnings)
    log.write_text("half a li", encoding="utf-8")
    assert not any("was stated on" in text for text in judge_by(rules).warnings)


@pytest.mark.parametrize("text", ["half a li", "[1]", '{"at": 1}', '{"at": "2026-01-01"}', "null", "\xff"])
def test_a_damaged_log_is_one_message_and_stops_no_verdict(
    capsys: pytest.CaptureFixture[str], path: Path, text: str
) -> None:
    """A line cut short by a crash was a stack trace from every verb that judges."""
    path.with_name("statements.json.log").write_bytes(text.encode("latin-1") + b"\n")
    code, out, err = said(capsys, "policy", "assert", "--log")
    assert (code, out) == (2, "")
    assert "statements.json.log cannot be read" in err
    explain = ["policy", "explain", "own:DE", "--accel", "H100-SXM", "--headquarters", "DE", "--users", "none"]
    assert said(capsys, *explain)[0] == 0


def test_a_risk_accepted_of_what_is_not_satisfied_is_said_to_lift_nothing(path: Path) -> None:
    """The waiver was written without a word; who read it in the file would have taken the place for allowed."""
    waiver = Waiver(rule="fr-hds/exi28", reason="pilot", by="ciso", until=date.fromisoformat(later(9)))
    write_statements(path, Stated(waivers=(waiver,)))
    rules = Rules(packs=("fr-hds",), headquarters="FR", users="none")
    found = explain_place(judge_by(rules), "aws:us-east-1", "H100-SXM")
    assert found.state == "non_compliant"
    assert "that of ciso lifts nothing" in found.failed[0].why


def test_a_risk_is_accepted_only_of_a_rule_that_there_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With --policy any name was taken for a rule, and the waiver of a misspelt one waived nothing."""
    words = ["--accept-unknown", "mine/plaice", "--reason", "pilot", "--by", "ciso", "--until", later(9)]
    (tmp_path / "mine.yaml").write_text(PACK.format(name="mine", version="1", where="EU"), encoding="utf-8")
    assert said(capsys, "policy", "assert", *words, "--policy", str(tmp_path / "mine.yaml"))[0] == 2
    words[1] = "mine/place"
    assert said(capsys, "policy", "assert", *words, "--policy", str(tmp_path / "mine.yaml"))[0] == 0
