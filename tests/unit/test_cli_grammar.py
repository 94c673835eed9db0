"""One grammar over every verb and action: the same flags, with the same meaning, wherever they can mean anything."""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

from cloudaccel.cli import VERBS
from tests.support import Answer, price_file, run
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
        for action in parser._actions:
            choices: object = action.choices
            if isinstance(choices, dict):
                for name, sub in cast(dict[str, argparse.ArgumentParser], choices).items():
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
