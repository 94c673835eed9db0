"""The manners of the command line: streams, pipes, help, errors, completion."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cloudaccel.cli import VERBS, common
from cloudaccel.cli import completion as completion_verb
from cloudaccel.cli import doctor as doctor_verb
from cloudaccel.cli import explain as explain_verb
from cloudaccel.cli import quote as quote_verb
from tests.support import on_a_terminal, price_file, run

ROW = "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on-demand,55.04,USD,2026-07-20,list"
PROGRAM = f"{shlex.quote(sys.executable)} -m cloudaccel"
on_unix = pytest.mark.skipif(sys.platform == "win32", reason="needs a Unix shell")


@pytest.fixture
def catalog(tmp_path: Path) -> str:
    return str(price_file(tmp_path, ROW))


def shell(command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `command` with ``cloudaccel`` in it as a shell would."""
    answer = subprocess.run(
        ["bash", "-c", command.replace("cloudaccel", PROGRAM, 1)], env={**os.environ, **variables},
        capture_output=True, text=True, check=False, encoding="utf-8",
    )  # fmt: skip
    assert "Traceback" not in answer.stderr, answer.stderr
    assert "Exception ignored" not in answer.stderr, answer.stderr
    return answer


# -- streams -------------------------------------------------------------------------------------------------------


@on_unix
@pytest.mark.parametrize("form", ["", "--json", "--csv", "-o wide", "--explain"])
def test_a_closed_stdout_is_nobody_listening(form: str, catalog: str) -> None:
    assert shell(f"cloudaccel --catalog {catalog} quote H100 {form} >&-").returncode == 0


@on_unix
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", ">&- --json"])
def test_a_closed_stderr_keeps_the_exit_code(closed: str) -> None:
    assert shell(f"cloudaccel quote L4Os {closed}").returncode == 5


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "words", ["quote H100", "quote H100 --json", "quote H100 --csv", "explain H100", "doctor", "--help"]
)
def test_a_full_disk_under_stdout_is_said(words: str, catalog: str) -> None:
    answer = shell(f"cloudaccel --catalog {catalog} {words} >/dev/full")
    assert answer.returncode == 2
    assert answer.stderr.count("the answer cannot be written: No space left on device") == 1
    assert shell(f"cloudaccel --catalog {catalog} {words} >/dev/full 2>&1").returncode == 2


@on_unix
@pytest.mark.parametrize(
    "words", ["quote H100 --market any --limit all", "explain p5.48xlarge", "doctor", "quote --help"]
)
def test_a_reader_that_has_enough(words: str) -> None:
    assert shell(f"cloudaccel {words} | head -1; exit ${{PIPESTATUS[0]}}").returncode == 0


NOT_ALLOWED = "policy explain aws:us-east-1 --policy eu-gdpr --headquarters FR --users none"


@on_unix
@pytest.mark.parametrize("form", ["", "--json"])
def test_what_was_found_is_in_the_exit_code_though_nobody_reads_on(form: str) -> None:
    """`provision down RUN | head -1` said 0 while a machine may still have been billing."""
    answer = shell(f"cloudaccel {NOT_ALLOWED} {form} | true; exit ${{PIPESTATUS[0]}}")
    assert (answer.returncode, answer.stderr) == (4, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    ("words", "code"), [(NOT_ALLOWED, 4), (f"{NOT_ALLOWED} --json", 4), ("quote L4Os --json", 5), ("quote --help", 2)]
)
def test_a_full_disk_hides_no_other_exit_code(words: str, code: int) -> None:
    """A full disk under `provision down` hid that something may still bill; an error under --json was a stack trace."""
    answer = shell(f"cloudaccel {words} >/dev/full")
    assert answer.returncode == code, answer.stderr
    assert answer.stderr.count("the answer cannot be written: No space left on device") == 1
    assert shell(f"cloudaccel {words} >/dev/full 2>/dev/full").returncode == code


@on_unix
def test_an_expression_without_an_end_ends_with_its_reader(catalog: str) -> None:
    pytest.importorskip("jq")
    command = f"cloudaccel --catalog {catalog} quote H100 --jq 'repeat(1)' | head -1; exit ${{PIPESTATUS[0]}}"
    assert shell(command).returncode == 0


@on_unix
def test_warnings_into_a_broken_pipe() -> None:
    command = "cloudaccel quote H100 --market any --limit all 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}"
    assert shell(command).returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("form", ["--json", "--csv", "-o table", "--explain"])
def test_names_survive_a_poor_encoding(tmp_path: Path, encoding: str, form: str) -> None:
    path = price_file(
        tmp_path, "vast-ai,größe→,L4,1,1,2026-01-01", header="provider,instance,accelerator,count,hourly,as_of"
    )
    answer = subprocess.run(
        [sys.executable, "-m", "cloudaccel", "--catalog", str(path), "quote", "L4", *form.split()],
        env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    text = answer.stdout.decode(encoding)
    if form == "--json":
        assert json.loads(text)["offers"][0]["instance"] == "größe→"
    elif form == "--csv":
        assert "gr\\u00f6\\u00dfe\\u2192" in text
    else:
        assert "gr" in text


def _no_sign(_text: str, _encoding: str | None) -> bool:
    return False


def test_what_json_cannot_show_is_escaped_in_pairs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "_can_show", _no_sign)
    common.write_data(json.dumps("a→😀", ensure_ascii=False))
    assert json.loads(capsys.readouterr().out) == "a→😀"


def test_signs_have_stand_ins(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "_can_show", _no_sign)
    common.write("8×H100 → 2 ÷ 3 · — … ≤")
    assert capsys.readouterr().out == "8xH100 -> 2 / 3 - - ... <="


def test_piped_output_is_not_cut_and_not_coloured(tmp_path: Path) -> None:
    name = "a-very-long-instance-name-" * 8
    path = price_file(tmp_path, ROW.replace("p5.48xlarge", name))
    answer = subprocess.run(
        [sys.executable, "-m", "cloudaccel", "--catalog", str(path), "quote", "H100"],
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm-256color"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert name in answer.stdout
    assert "\x1b" not in answer.stdout


@on_unix
def test_on_a_terminal_it_fits_and_is_coloured(catalog: str) -> None:
    def looks(**variables: str) -> str:
        words = ("--catalog", catalog, "quote", "H100:8", "--max-age", "1d")
        code, seen = on_a_terminal(*words, env=variables)
        assert code == 0
        return seen

    colourful = looks(TERM="xterm")
    assert "\x1b[1m" in colourful
    assert "\x1b[33mSTALE" in colourful
    plain = looks(TERM="xterm", NO_COLOR="1")
    assert "\x1b" not in plain
    assert "\x1b" not in looks(TERM="dumb")
    assert all(len(line) <= 80 for line in plain.splitlines()[2:5])


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a verb"),
        (["--offline"], "name a verb"),
        (["H100:8"], "For prices: cloudaccel quote H100:8."),
        (["expalin", "H100"], "Did you mean explain?"),
        (
            ["quote", "H100", "--jso"],
            "unrecognized arguments: --jso. Did you mean --json? See 'cloudaccel quote --help'.",
        ),
        (["quote", "H100", "-o", "xml"], "invalid choice: 'xml'"),
        (["quote", "H100", "--config"], "expected one argument"),
        (["explain"], "the following arguments are required: NAME"),
        (["explain", "H100", "--csv"], "unrecognized arguments: --csv"),
        (["quote", "H100", "--spot"], "unrecognized arguments: --spot. Did you mean --market spot?"),
        (["plan", "--qps=5"], "unrecognized arguments: --qps=5. Did you mean --requests-per-s?"),
        (["provision", "up", "H100", "--autostop", "1h"], "Did you mean --lease?"),
        (["provision", "up", "H100", "--max-cost", "9"], "Did you mean --max-total?"),
        (["policy", "ask", "--residency", "DE"], "unrecognized arguments: --residency DE. See"),
        (["quote", "H100", "--headquarters", "CN"], "--headquarters: no rules are named"),
        (
            ["compare", "--option", "api:price=1/Mtok", "--option", "rent:H100", "--users", "RU"],
            "--users: no rules are",
        ),
        (["advise", "--data-class", "personal_eu", "--stated", "dpa:aws"], "--data-class, --stated: no rules are"),
        (["quote", "H100", "--zzz"], "unrecognized arguments: --zzz. See"),
        (["roadmap", "/dev/null"], "no roadmap. It is 'key: value' lines"),
        (["plan", "--inventory", "/dev/null", "--task", "serve", "--model", "llama-3-8b"], "/dev/null is empty"),
        (["--offline", "refresh"], "--offline was given"),
        (["refresh", "oci", "--from", "x"], "PROVIDER reads a seller's price list"),
        (["refresh", "oci", "--diff", "--out", "x"], "--diff writes nothing"),
        (["refresh", "--out", "x", "--accept"], "are for the sellers' price lists"),
        (["refresh", "--schedule", "5s"], "from 1m to 366d"),
        (["refresh", "--schedule", "61 6 * * *"], "is no cron line"),
        (["refresh", "--schedule", "6h", "--diff"], "--schedule refreshes the user's catalog"),
        (["refresh", "--schedule", "6h", "--from", "x"], "--schedule are for the sellers' price lists"),
        (["refresh", "--status", "--out", "x"], "--status only shows"),
        (["--catalog", "x.csv", "refresh", "--from", "y"], "Leave one out"),
        (["--catalog", "", "quote", "H100"], "--catalog: the value is empty"),
        (["quote", ""], "an accelerator is missing"),
        (["quote", "H100", "--residency", ""], "--residency: the value is empty"),
        (["quote", "H100", "--country", " , "], "--country: the value is empty"),
        (["quote", "H100", "--region", ""], "--region: the value is empty"),
        (["quote", "H100", "--provider", ""], "--provider: the value is empty"),
        (["quote", "H100", "--kind", ""], "--kind: the value is empty"),
        (["quote", "H100", "--market", ""], "--market: the value is empty"),
        (["quote", "H100", "--currency", ""], "no currency code"),
        (["quote", "H100", "--columns", ","], "--columns: the value is empty"),
        (["quote", "H100", "--max-price", "1e30"], "below 9000000000"),
        (["quote", "H100", "--instance", "p5.48xlarge"], "not both"),
        (["quote", "A10:1/6"], "--allow-fraction"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(words: list[str], message: str) -> None:
    answer = run(*words)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.startswith("error: ")
    assert not answer.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["quote", "--instance", "p5.48xlrage"], "p5.48xlarge"),
        (["explain", "0123456789abcdef"], "no offer of this catalog has the id"),
        (["explain", "H100", "--provider", "acme"], "acme"),
        (["explain", ""], "no accelerator is called ''"),
        (["quote", "X900"], "no accelerator is called 'X900'. Did you mean RX7900XTX?"),
        (["quote", "RTX7000x2"], "no accelerator is called 'RTX7000x2'. Did you mean RTX"),
    ],
)
def test_unknown_names_are_exit_5(words: list[str], message: str) -> None:
    answer = run(*words)
    assert answer.code == 5
    assert message in answer.err


@pytest.mark.parametrize("asked", [["--json"], ["-o", "json"], ["-ojson"], ["--output=json"]])
def test_wrong_usage_is_json_under_json(asked: list[str]) -> None:
    answer = run("quote", "H100", "--nonsense", *asked)
    assert (answer.code, answer.json["error"]["code"], answer.json["error"]["exit"]) == (2, "usage", 2)


def test_the_word_json_alone_asks_for_nothing() -> None:
    assert run("quote", "json").out == ""


def test_a_limit_of_any_size_is_everything(catalog: str) -> None:
    answer = run("--catalog", catalog, "quote", "H100", "--limit", "9" * 30, "--json")
    assert (answer.code, answer.json["complete"]) == (0, True)


def test_global_options_go_before_or_after_the_verb(catalog: str) -> None:
    before = run("--catalog", catalog, "--offline", "quote", "H100", "--csv")
    after = run("quote", "H100", "--csv", f"--catalog={catalog}", "--offline")
    assert before == after
    assert before.code == 0


def test_many_warnings_of_one_kind_are_summed_up(tmp_path: Path) -> None:
    rows = [
        f"runpod,US,,pod-{n},A40,1,48,9,{market},{price},USD,2026-07-01,l"
        for n in range(8)
        for market, price in (("spot", 0.5 + n), ("on-demand", 0.4 + n))
    ]
    words = ["--catalog", str(price_file(tmp_path, *rows)), "quote", "A40", "--market", "spot"]
    answer = run(*words)
    assert answer.err.count("is not below on-demand") == 3
    assert "5 more like this" in answer.err
    warnings = run("--catalog", str(tmp_path / "prices.csv"), "quote", "A40", "--market", "spot", "--json").json[
        "warnings"
    ]
    assert len(warnings) == 8
    assert all(warning["offer"] for warning in warnings)


def test_prices_of_several_currencies_are_never_without_them(tmp_path: Path) -> None:
    path = price_file(tmp_path, ROW, ROW.replace("USD", "CNY").replace("us-east-1", "cn-north-1"))
    words = ["--catalog", str(path), "quote", "H100", "--columns", "region,price"]
    assert "55.04 CNY" in run(*words).out
    assert "add the column currency" in run(*words, "--csv").err
    assert "add the column" not in run(*words[:-1], "price,currency", "--csv").err


# -- help ----------------------------------------------------------------------------------------------------------


def test_help_names_every_verb() -> None:
    for words in (["--help"], ["help"], ["-h"]):
        answer = run(*words)
        assert answer.code == 0
        assert all(f"\n  {verb} " in answer.out for verb in VERBS)
    assert run("help", "quote").out == run("quote", "--help").out
    assert run("--version").out.startswith("cloudaccel ")


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_its_width_and_has_examples(verb: str) -> None:
    text = run(verb, "--help").out
    assert [line for line in text.splitlines() if len(line) > 100] == []
    assert f"  cloudaccel {verb}" in text.partition("examples:")[2]


def examples() -> list[str]:
    texts = [verb.EXAMPLES for verb in (quote_verb, explain_verb, doctor_verb, completion_verb)]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [line.split("  ")[0].split(" > ")[0] for line in [*lines, "cloudaccel refresh --status"] if line]


@pytest.mark.parametrize("command", examples())
def test_every_example_of_the_help_works(command: str) -> None:
    answer = run(*shlex.split(command)[1:])
    assert answer.code == 0, answer.err
    assert answer.out


@pytest.mark.parametrize("shell_name", completion_verb.SHELLS)
def test_completion_knows_the_verbs_and_flags(shell_name: str) -> None:
    script = run("completion", shell_name).out
    assert "quote" in script
    assert "residency" in script


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
def test_the_script_for_bash_completes(tmp_path: Path) -> None:
    (tmp_path / "cloudaccel.bash").write_text(run("completion", "bash").out, encoding="utf-8")
    words = (
        f"source {tmp_path}/cloudaccel.bash; COMP_WORDS=(cloudaccel qu); COMP_CWORD=1;"
        "$(complete -p cloudaccel | sed 's/.*-F \\([^ ]*\\).*/\\1/') cloudaccel qu; echo ${COMPREPLY[@]}"
    )
    answer = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert answer.stdout.split() == ["quote"], answer.stderr


# -- doctor --------------------------------------------------------------------------------------------------------


def test_the_doctor_never_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "hunter2hunter2")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter3@proxy")
    answer = run("doctor")
    assert "AWS_ACCESS_KEY_ID" in answer.out
    assert "HTTPS_PROXY" in answer.out
    assert "hunter" not in answer.out + answer.err


def test_the_doctor_looks_at_the_catalog_that_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"no database")
    answer = run("--catalog", str(broken), "doctor", "--json")
    assert answer.code == 6
    assert [c["name"] for c in answer.json["checks"] if c["state"] == "bad"] == ["catalog"]


def test_the_doctor_says_when_a_setting_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text("colour = 'red'", encoding="utf-8")
    monkeypatch.setenv("CLOUDACCEL_CONFIG", str(config))
    answer = run("doctor", "--json")
    assert answer.code == 6
    assert "configuration" in [c["name"] for c in answer.json["checks"] if c["state"] == "bad"]


def test_the_doctor_reads_every_page(tmp_path: Path, built_cache: Path) -> None:
    run("quote", "H100")
    data = next(built_cache.glob("bundled-*.sqlite")).read_bytes()
    path = tmp_path / "flipped.sqlite"
    path.write_bytes(data[: len(data) // 2] + bytes(8192) + data[len(data) // 2 + 8192 :])
    answer = run("--catalog", str(path), "doctor")
    assert answer.code == 6
    assert "is damaged" in answer.out
