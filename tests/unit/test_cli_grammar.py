"""One grammar over every verb and action: the same flags, with the same meaning, wherever they can mean anything."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from cloudaccel.cli import VERBS, common
from cloudaccel.cli import flags as common_flags
from tests.support import Answer, on_a_terminal, price_file, run
from tests.unit.decide.test_judged import road
from tests.unit.test_focus import bill

BILLED = "lambda,us-east-1,,big.8x,H100-SXM,8,80,96,on-demand,50,USD,2026-09-01,list"
NO_JSON = {"serve", "mcp", "completion", "provision", "alert"}  # the last two have actions, which answer
JOB = "plan --task finetune --method lora --model llama-3-8b --tokens 20e6 --accel H100"
ASKED = {  # every verb, and every action that answers, in words that need no network and no account
    "quote": "quote H100",
    "plan": f"{JOB} --lock -",
    "verify": "verify {lock}",
    "policy list": "policy list",
    "policy show": "policy show eu-gdpr",
    "policy explain": "policy explain aws:us-east-1 --policy eu-gdpr --headquarters FR --users none",
    "policy ask": "policy ask --accel H100 --policy eu-gdpr --headquarters FR --users none --data-class personal_eu",
    "policy assert": "policy assert",
    "policy diff": "policy diff eu-gdpr us-ear",
    "policy verify": "policy verify eu-gdpr",
    "compare": "compare --demand 400M-tokens/month --option api:price=0.90/Mtok --option rent:H100-SXM:8,"
               "throughput=6000tok/s",
    "advise": "advise --data-may-leave yes --need facts --skills none --tokens-per-month 50e6 --api-price 0.60",
    "roadmap": "roadmap {roadmap} --seconds 0",
    "calibrate": "calibrate {log} --pattern 'rate=([0-9.]+)'",
    "explain": "explain H100",
    "refresh": "refresh --status",
    "prices import": "prices import --focus {bills} --catalog {catalog}",
    "alert add": "alert add H100 --below 2 --to https://hooks.example.org/x",
    "alert list": "alert list",
    "alert retry": "alert retry",
    "provision list": "provision list",
    "provision cost": "provision cost",
    "provision reap": "provision reap",
    "provision watch": "provision watch --once",
    "token create": "token create alice",
    "token list": "token list",
    "token project": "token project",
    "token audit": "token audit",
    "doctor": "doctor",
}  # fmt: skip


def surfaces() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each verb and each action with a parser of its own."""
    for verb in VERBS:
        parser: argparse.ArgumentParser = import_module(f"cloudaccel.cli.{verb}").parser()
        yield verb, parser
        for name, sub in common.actions_of(parser).items():
            yield f"{verb} {name}", sub


def flags(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {name: action for action in parser._actions for name in action.option_strings}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """What the words of `ASKED` name, and an empty place for what they keep."""
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "train.log"
    log.write_text("".join(f"rate={1000 + n}\n" for n in range(40)), encoding="utf-8")
    plan_of_months = road(tmp_path, "0*3, 8*6", ", stated: ['dpa:aws']")
    catalog = price_file(tmp_path, BILLED, name="catalog.csv")
    return {"lock": tmp_path / "made.lock.json", "roadmap": plan_of_months, "log": log, "bills": bill(tmp_path, {}),
            "catalog": catalog}  # fmt: skip


def ask(name: str, files: dict[str, Path], *more: str) -> Answer:
    if "{lock}" in ASKED[name]:
        assert run(*shlex.split(JOB), "--lock", str(files["lock"])).code == 0
    return run(*shlex.split(ASKED[name].format(**files)), *more)


# -- JSON, YAML and jq -------------------------------------------------------------------------------------------------


def test_whatever_answers_in_json_is_asked_here() -> None:
    """A verb that nobody asks below could print anything under --json."""
    answering = {name for name, parser in surfaces() if "--json" in flags(parser)}
    unasked = {"alert test", "alert remove", "provision up", "provision show", "provision extend", "provision down",
               "provision selftest", "provision ssh"}  # these need an alert, or a run: tests/e2e has them  # fmt: skip
    assert {name.split()[0] for name in answering} == {name.split()[0] for name in ASKED}
    assert {name for name in answering if " " in name} - set(ASKED) == unasked
    assert {name for name, parser in surfaces() if "--json" not in flags(parser)} == NO_JSON


@pytest.mark.parametrize("name", ASKED)
def test_one_document_of_json_and_the_same_as_yaml_and_through_jq(name: str, files: dict[str, Path]) -> None:
    pytest.importorskip("jq")
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("scipy")
    whole = ask(name, files, "--json")
    assert whole.code == (4 if name == "policy explain" else 0), whole.err
    assert whole.json["schema"].startswith("cloudaccel")
    assert whole.json.get("kind", name) in (name, name.replace(" ", "."), *OTHER_KINDS.get(name, ())), name
    keys = json.dumps(sorted(whole.json)).replace(", ", ",")
    through = ask(name, files, "--jq", "keys | tojson")
    assert (through.code, through.out) == (whole.code, keys + "\n"), through.err
    as_yaml = ask(name, files, "-o", "yaml")
    assert sorted(yaml.safe_load(as_yaml.out)) == sorted(whole.json), as_yaml.err
    assert as_yaml.out.startswith("---\n")


OTHER_KINDS = {"refresh": ("refresh.status",), "prices import": ("prices",)}


@pytest.mark.parametrize("name", ASKED)
def test_a_wrong_expression_is_refused_before_anything_is_done(name: str, files: dict[str, Path]) -> None:
    """A start, a token or an alert that is made and then not told would have to be found and ended by hand."""
    pytest.importorskip("jq")
    for words in (("--jq", ".["), ("--jq", ".", "-o", "yaml")):
        answer = ask(name, files, *words)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("error: --jq")
        assert len(answer.err.splitlines()) == 1
    assert run("token", "list", "--json").json["tokens"] == []
    assert run("alert", "list", "--json").json["alerts"] == []


@pytest.mark.parametrize("name", [name for name in ASKED if name not in ("token create", "alert add")])
def test_an_expression_that_fails_on_the_answer_is_one_message(name: str, files: dict[str, Path]) -> None:
    pytest.importorskip("jq")
    pytest.importorskip("scipy")
    answer = ask(name, files, "--jq", '.schema, error("of mine")')
    assert (answer.code, answer.out.count("\n")) == (2, 1), answer.err
    assert "error: --jq: of mine." in answer.err


def test_what_is_told_once_is_not_lost_to_an_expression(files: dict[str, Path]) -> None:
    """The secret of a token is shown once; with a slip in the expression nobody would have it."""
    pytest.importorskip("jq")
    answer = ask("token create", files, "--jq", ".tokn.x[]")
    assert (answer.code, answer.out) == (2, "")
    first, _, rest = answer.err.partition("\n")
    assert "What was asked for is done" in first
    assert json.loads(rest)["token"].startswith("cloudaccel_")


def test_text_comes_without_quotes_and_other_values_as_json() -> None:
    pytest.importorskip("jq")
    answer = run("policy", "list", "--jq", '"a b", 1.50, null, {"a":["ü"]}')
    assert answer.out == 'a b\n1.5\nnull\n{"a": ["ü"]}\n'


def test_an_error_is_never_among_what_an_expression_makes() -> None:
    """`price=$(cloudaccel quote … --jq …)` with an error document in it would be compared as if it were a price."""
    for more in ([], ["--json"]):
        answer = run("quote", "L4Os", "--jq", ".offers[0].price.price_per_hour", *more)
        assert (answer.code, answer.out) == (5, "")
        assert "L40S" in answer.err


def test_a_package_that_is_not_there_is_named_before_anything_is_done(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, words, extra in (("jq", ("--jq", "."), "[jq]"), ("yaml", ("-o", "yaml"), "[plan]")):
        monkeypatch.setitem(sys.modules, module, None)
        answer = ask("token create", files, *words)
        assert (answer.code, answer.out) == (2, "")
        assert f"pip install 'cloudaccel{extra}'" in answer.err
    assert run("token", "list", "--json").json["tokens"] == []


@pytest.mark.parametrize("name", sorted(NO_JSON - {"provision", "alert"}))
def test_a_verb_without_json_refuses_jq(name: str) -> None:
    answer = run(name, *(["bash"] if name == "completion" else []), "--jq", ".")
    assert (answer.code, answer.out) == (2, "")
    assert "unrecognized arguments: --jq" in answer.err


def test_an_export_alone_is_no_json(files: dict[str, Path]) -> None:
    answer = run(*shlex.split(JOB), "--provider", "aws", "--startable", "--lock", "-", "--export", "kubernetes",
                 "--export-to", "-", "-o", "yaml")  # fmt: skip
    assert (answer.code, answer.out) == (2, "")
    assert "--export-to - prints the export and nothing else" in answer.err


def test_a_statement_that_is_written_down_is_told_as_json(files: dict[str, Path]) -> None:
    words = ("policy", "assert", "dpa:lambda", "--until", "2099-01-01", "--by", "legal", "--json", "--statements", "s")
    answer = run(*words)
    assert answer.code == 0, answer.err
    assert [s["need"] for s in answer.json["statements"]] == ["dpa:lambda"]


def test_an_inventory_is_told_as_json(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("machine,accelerator,count,price_per_hour\nrack-1,H100-SXM,8,12.5\n", encoding="utf-8")
    answer = run("compare", "--inventory", str(path), "--json")
    assert answer.code == 0, answer.err
    (machine,) = answer.json["machines"]
    assert (machine["machine"], machine["count"], machine["price_per_hour"]) == ("rack-1", 8, "12.5")


# -- one flag, one meaning ---------------------------------------------------------------------------------------------

ONE_VALUE = {  # flags that are given several times elsewhere, and what one of them asks for here
    ("--country", "compare"): "the electricity tariff of one place",
    ("--provider", "explain"): "one spelling",
    ("--region", "provision selftest"): "the one place where a machine is started",
}
OWN_WORDS = {  # flags whose words belong to the verb: the questions of advise, and forms that only quote can write
    ("--budget", "advise"), ("--params", "advise"), ("--tokens-per-month", "advise"), ("--out", "refresh"),
    ("--out", "prices"), ("--quiet", "serve"), ("-q", "serve"),
}  # fmt: skip


def shape(name: str, action: argparse.Action) -> dict[str, object]:
    """What a person must know of a flag to write it; a job's are text, read by the reader of job files."""
    flag = action.option_strings[0]
    several = type(action).__name__ if (flag, name) not in ONE_VALUE else "_AppendAction"
    asked = None if action.dest.startswith("job_") or action.type is common_flags.count else action.type
    choices = None if flag in ("-o", "--output") else action.choices
    return {"value": action.metavar, "several": several, "type": asked, "choices": choices, "nargs": action.nargs}


def test_a_flag_is_written_the_same_way_wherever_it_is() -> None:
    """What works in quote and is refused in plan, or means another unit there, is found out in the middle of work."""
    seen: dict[str, tuple[str, dict[str, object], str]] = {}
    for name, parser in surfaces():
        for flag, action in flags(parser).items():
            base = str(common_flags.FLAGS.get(flag, {}).get("help") or action.help)
            before, known, words = seen.setdefault(flag, (name, shape(name, action), base))
            assert shape(name, action) == known, f"{flag} of {name} and of {before}"
            if (flag, name) not in OWN_WORDS:
                assert words in (action.help or ""), f"{flag} of {name} says something else than in {before}"


def test_what_is_shared_is_defined_once() -> None:
    """A flag of several verbs that is written out in each of them is no longer the same after the next change."""
    homes: dict[str, set[str]] = {}
    for name, parser in surfaces():
        for flag, action in flags(parser).items():
            if not action.dest.startswith("job_") and action.help not in EVERYWHERE:
                homes.setdefault(flag, set()).add(name.split()[0])
    several = {flag for flag, verbs in homes.items() if len(verbs) > 1 and (flag, min(verbs)) not in OWN_WORDS}
    assert several - set(common_flags.FLAGS) == set()
    assert set(common_flags.FLAGS) <= {flag for _, parser in surfaces() for flag in flags(parser)}


def _everywhere() -> set[str]:
    """Words of the flags that the builders of common.py add: to every verb, or to those that judge, answer or draw."""
    parser = common.verb_parser("x", "", "")
    common.add_output(parser, ("table", "wide", "json", "csv", "yaml"))
    common.add_rules(parser)
    return {action.help for action in parser._actions if action.help and action.option_strings[0] != "--policy"}


EVERYWHERE = _everywhere()
SHOULD_HAVE: dict[
    str, Callable[[dict[str, argparse.Action]], bool]
] = {  # a flag that makes sense for a command, and how to tell that the command is one of those
    "--catalog": lambda _: True,
    "--offline": lambda _: True,
    "--config": lambda _: True,
    "--profile": lambda _: True,
    "--jq": lambda known: "--json" in known,
    "--no-color": lambda known: "--json" in known,
    "--quiet": lambda known: "--json" in known,
    "--region": lambda known: "--country" in known and "--residency" in known,
    "--provider": lambda known: "--country" in known and "--residency" in known,
    "--market": lambda known: "--country" in known and "--residency" in known,
    "--fx-file": lambda known: "--currency" in known,
    "--tax": lambda known: "--currency" in known,
    "--price-file": lambda known: (
        "--policy" in known and "--stated" in known and "--users" in known and "--cloud-allowed" not in known
    ),  # advise, which has that question, judges the places of the tables and reads no price
}


@pytest.mark.parametrize("flag", SHOULD_HAVE)
def test_a_flag_is_there_wherever_it_makes_sense(flag: str) -> None:
    without = [name for name, parser in surfaces() if SHOULD_HAVE[flag](flags(parser)) and flag not in flags(parser)]
    assert without == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("policy", "diff", "--accel", "H100", "eu-gdpr", "us-ear"), None),
        (("policy", "diff", "eu-gdpr", "--accel", "H100", "us-ear"), None),
        (("--offline", "policy", "diff", "eu-gdpr", "us-ear", "--accel", "H100"), None),
        (("policy", "show", "--json", "eu-gdpr"), None),
        (("quote", "H100", "--provider", "aws", "A100"), None),
        (("quote", "--limit", "1", "H100", "--json", "--", "A100"), None),
        (("explain", "H100", "--json", "L4"), None),
        (("token", "create", "--scope", "read", "alice"), None),
        (("provision", "cost", "--json", "nothing-of-that-name"), "nothing-of-that-name"),
        (("provision", "down", "a1", "--wait", "1s", "b2"), "a1"),
        (("quote", "H100", "--nonsense", "A100"), "unrecognized arguments: --nonsense"),
        (("policy", "list", "--", "--json"), "policy list takes no name"),
        (("refresh", "oci", "--offline", "aws"), "--offline was given"),
    ],
)
def test_flags_and_words_stand_in_any_order(words: tuple[str, ...], said: str | None, files: dict[str, Path]) -> None:
    """A word after a flag was refused, or taken in one verb and not in the next."""
    answer = run(*words)
    assert "unrecognized" not in answer.err or "unrecognized" in str(said), answer.err
    if said is None:
        assert answer.code in (0, 4), answer.err
        assert answer.out
    else:
        assert answer.code != 0
        assert said in answer.err
    if words[0] == "quote" and said is None:
        assert "A100" in answer.out
        assert "H100" in answer.out


@pytest.mark.parametrize("words", ["list --policy x", "show a --accel H100", "explain aws:x --until 2099-01-01",
                                   "diff a b --note x", "assert --accel H100"])  # fmt: skip
def test_a_flag_that_an_action_would_not_read_is_refused(words: str) -> None:
    """A rule that is named and not applied looks like one that is satisfied."""
    answer = run("policy", *words.split())
    assert (answer.code, answer.out) == (2, "")
    assert f"is not for policy {words.split()[0]}." in answer.err


def test_every_row_is_shown_with_all(files: dict[str, Path]) -> None:
    job = shlex.split(JOB.replace("--accel H100", "--provider aws"))
    few = run(*job, "--lock", "-", "--limit", "2", "--json").json
    every = run(*job, "--lock", "-", "--limit", "all", "--json").json
    assert (len(few["options"]), few["options"]) == (2, every["options"][:2])
    assert len(every["options"]) > 10
    assert run("token", "audit", "--limit", "all").code == 0
    for words in (("plan", "job.yaml"), ("quote", "H100"), ("token", "audit")):
        answer = run(*words, "--limit", "few")
        assert (answer.code, "a number of rows, or 'all'" in answer.err) == (2, True), answer.err


def test_a_number_of_tokens_is_written_as_in_a_job() -> None:
    words = ("compare", "--model", "llama-3-8b", "--option", "rent:L4:1", "--demand", "1M-tokens/month", "--json")
    assert run(*words, "--input-tokens", "2e3").json["ways"] == run(*words, "--input-tokens", "2000").json["ways"]
    for wrong in ("2.5", "many"):
        answer = run(*words, "--input-tokens", wrong)
        assert (answer.code, "--input-tokens" in answer.err) == (2, True)


# -- streams -----------------------------------------------------------------------------------------------------------

WRITERS = [("quote", ""), ("policy explain", "--json"), ("token create", "--json")]  # each writes in its own way
STREAMS = {  # what stands after the words → whether what cannot be written is no success
    "{} | true; exit ${{PIPESTATUS[0]}}": False,
    "{} >&-": False,
    "{} 2>&-": False,
    "{} 2>/dev/full": False,
    "{} >/dev/full": True,
}


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize(("name", "form"), WRITERS)
def test_every_stream_may_be_cut_off(name: str, form: str, files: dict[str, Path]) -> None:
    """A stack trace, or a 0 for an answer that never arrived."""
    pytest.importorskip("jq")
    good = ask(name, files, *form.split()).code
    program = f"{shlex.quote(sys.executable)} -m cloudaccel {ASKED[name].format(**files)} {form}"
    for stream, fails in STREAMS.items():
        cut = subprocess.run(
            ["bash", "-c", stream.format(program)], capture_output=True, text=True, check=False, errors="replace"
        )
        assert cut.returncode == (good or (2 if fails else 0)), (stream, cut.stderr)
        assert "Traceback" not in cut.stderr
        assert "Exception ignored" not in cut.stderr
        assert cut.stderr.count("the answer cannot be written") == (1 if fails else 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a Unix terminal")
@pytest.mark.parametrize("name", ["quote", "policy explain"])
def test_poor_letters_and_narrow_windows_are_no_trouble(name: str, files: dict[str, Path]) -> None:
    words = shlex.split(ASKED[name].format(**files))
    code = ask(name, files).code
    for columns in (40, 120):
        shown, seen = on_a_terminal(*words, columns=columns, env={"TERM": "xterm", "NO_COLOR": "1"})
        assert shown in (0, 4)
        assert "Traceback" not in seen
    poor = subprocess.run(
        [sys.executable, "-m", "cloudaccel", *words, "--json"], capture_output=True, check=False,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    assert poor.returncode == code
    assert json.loads(poor.stdout.decode("ascii"))["schema"]
