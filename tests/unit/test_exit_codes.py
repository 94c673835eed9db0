"""Every exit code of docs/reference/exit-codes.md by the real command: for each verb, those that it can end with."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from cloudaccel.cli import VERBS
from tests.support import price_file, run
from tests.unit.decide.test_judged import road
from tests.unit.test_focus import bill

ROOT = Path(__file__).parents[2]
JOB = "plan --task finetune --method lora --model llama-3-8b --tokens 20e6 --lock -"
EU = "--policy eu-gdpr --headquarters FR --users none"
BILLED = "lambda,us-east-1,,big.8x,H100-SXM,8,80,96,on-demand,50,USD,2026-09-01,list"
HERE = {  # verb or action, and code → words that end so, on what `files` lays out
    ("quote", 0): "quote H100",
    ("quote", 2): "quote H100 --max-price much",
    ("quote", 3): "quote H100 --max-price 0.0001",
    ("quote", 4): "quote H100 --provider aws --policy org-no-us-parent --headquarters FR --users none",
    ("quote", 5): "quote L4Os",
    ("quote", 6): "quote H100 --max-age 1h --strict",
    ("plan", 0): f"{JOB} --accel H100",
    ("plan", 2): "plan nowhere.yaml",
    ("plan", 3): f"{JOB} --accel H100 --deadline 1s",
    ("plan", 4): f"{JOB} --accel H100 --budget '0.01 USD'",
    ("plan", 5): "plan --task finetune --model no-such-model --tokens 1e6",
    ("plan", 6): f"--catalog nowhere.sqlite {JOB}",
    ("verify", 0): "verify good.lock",
    ("verify", 2): "verify nowhere.lock",
    ("verify", 6): "verify false.lock",
    ("policy list", 0): "policy list",
    ("policy list", 2): "policy list eu-gdpr",
    ("policy show", 2): "policy show",
    ("policy show", 5): "policy show no-such-pack",
    ("policy verify", 2): "policy verify broken.yaml",
    ("policy explain", 4): f"policy explain aws:us-east-1 {EU}",
    ("policy explain", 5): f"policy explain aws:nowhere-1 {EU}",
    ("policy ask", 2): "policy ask",
    ("policy ask", 5): f"policy ask --accel L4Os {EU}",
    ("policy assert", 2): "policy assert dpa:lambda",
    ("policy diff", 2): "policy diff eu-gdpr",
    ("policy diff", 5): "policy diff eu-gdpr no-such-pack",
    ("compare", 0): "compare --option rent:H100-SXM:8 --option own:8xH100 --country FR",
    ("compare", 2): "compare --option rent",
    ("compare", 3): "compare --option rent:H100-SXM:8 --price-file nothing.csv --catalog nothing.csv",
    ("compare", 4): f"compare --option rent:H100-SXM:8@aws --country US {EU} --data-class personal_eu",
    ("compare", 5): "compare --option rent:L4Os:8,throughput=100tok/s",
    ("advise", 0): "advise --data-may-leave yes --need facts --skills none",
    ("advise", 2): "advise --skills many",
    ("roadmap", 0): "roadmap allowed.yaml --seconds 0",
    ("roadmap", 2): "roadmap nowhere.yaml",
    ("roadmap", 4): "roadmap ruled.yaml --seconds 0",
    ("calibrate", 0): "calibrate train.log --pattern 'rate=([0-9.]+)'",
    ("calibrate", 2): "calibrate nowhere.log",
    ("explain", 0): "explain H100",
    ("explain", 2): "explain",
    ("explain", 5): "explain H100 L4Os",
    ("refresh", 0): "refresh --status",
    ("refresh", 2): "--offline refresh",
    ("refresh", 5): "refresh no-such-seller",
    ("refresh", 6): "refresh --from nowhere.zip",
    ("prices import", 0): "prices import --focus bill.csv --catalog catalog.csv",
    ("prices import", 2): "prices import --focus nowhere.csv",
    ("prices import", 3): "prices import --focus bill.csv",
    ("alert list", 0): "alert list",
    ("alert add", 2): "alert add H100 --to https://hooks.example.org/x",
    ("alert add", 5): "alert add L4Os --below 2 --to https://hooks.example.org/x",
    ("alert test", 2): "--offline alert test 3fa2c1d0",
    ("alert test", 5): "alert test 3fa2c1d0",
    ("alert remove", 5): "alert remove 3fa2c1d0",
    ("provision list", 0): "provision list",
    ("provision show", 5): "provision show 7f3a9c21",
    ("provision cost", 5): "provision cost 7f3a9c21",
    ("provision extend", 5): "provision extend 7f3a9c21 2h",
    ("provision down", 2): "provision down",
    ("provision down", 5): "provision down 7f3a9c21",
    ("provision ssh", 5): "provision ssh 7f3a9c21",
    ("provision reap", 2): "provision reap --all-regions",
    ("provision watch", 2): "provision watch --interval 1s",
    ("provision selftest", 2): "--offline provision selftest aws",
    ("provision up", 2): "provision up H100-SXM:8 --provider aws --lease soon",
    ("provision up", 3): "provision up H100-SXM:8 --provider aws --region us-east-1 --max-hourly 60 --country JP",
    ("provision up", 5): "provision up L4Os",
    ("token list", 0): "token list",
    ("token create", 2): "token create",
    ("token revoke", 5): "token revoke cafe0000",
    ("token project", 4): "token project vision",
    ("doctor", 0): "doctor",
    ("doctor", 6): "--catalog broken.sqlite doctor",
    ("serve", 2): "serve --port many",
    ("mcp", 2): "mcp --port 1",
    ("completion", 0): "completion bash",
    ("completion", 2): "completion csh",
}
AWS, LIVE = "tests/e2e/test_provision_aws.py", "tests/e2e/test_refresh_live.py"
ELSEWHERE = {  # what needs a cloud, a seller's list, a signal or an account: the file and the test that ends so
    ("plan", 7): ("tests/unit/test_plan_quota.py", "test_u78_a_quota_of_32_is_eight_small_machines_and_not_one_large"),
    ("policy diff", 4): (
        "tests/unit/compliance/test_statements.py", "test_diff_names_rules_and_offers_whose_verdict_changes"
    ),
    ("refresh", 8): (LIVE, "test_u110_a_blocked_host_is_named_and_quotes_go_on"),
    ("refresh", 130): (LIVE, "test_ctrl_c_while_a_seller_hangs_ends_at_once"),
    ("provision up", 4): (AWS, "test_a_limit_in_money_is_kept"),
    ("provision up", 7): (AWS, "test_credentials_that_are_refused_end_with_7"),
    ("provision up", 8): (AWS, "test_a_cloud_that_cannot_be_reached_ends_with_8"),
    ("provision up", 10): (AWS, "test_u81_no_capacity_ends_in_time_with_nothing_left"),
    ("provision down", 11): (AWS, "test_what_cannot_be_ended_is_named_and_ends_with_11"),
    ("provision reap", 11): (AWS, "test_a_lost_journal_is_replaced_by_the_tags"),
    ("provision extend", 4): (AWS, "test_the_lease_can_be_extended_inside_the_deadline"),
    ("provision selftest", 4): (AWS, "test_a_self_test_needs_a_yes_and_keeps_its_cap"),
    ("provision selftest", 10): (AWS, "test_a_self_test_that_fails_says_so_and_leaves_nothing"),
}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the words of `HERE` name; what they call nowhere is not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "train.log").write_text("".join(f"rate={1000 + n}\n" for n in range(40)), encoding="utf-8")
    (tmp_path / "broken.yaml").write_text("rules: [", encoding="utf-8")
    (tmp_path / "broken.sqlite").write_bytes(b"no database")
    road(tmp_path, "8*6").rename("ruled.yaml")
    road(tmp_path, "0*3, 8*6", ", stated: ['dpa:aws']").rename("allowed.yaml")
    bill(tmp_path, {})
    price_file(tmp_path, BILLED, name="catalog.csv")
    price_file(tmp_path, BILLED.replace("H100-SXM", "L4"), name="nothing.csv")
    return tmp_path


@pytest.mark.parametrize(("name", "code"), HERE, ids=lambda part: str(part).replace(" ", "-"))
def test_a_command_ends_with_the_code_of_what_happened(name: str, code: int, files: Path) -> None:
    """A script that goes on after a code which means something else starts machines on wrong prices."""
    pytest.importorskip("scipy")
    if name == "verify" and code != 2:
        assert run(*shlex.split(JOB.replace("--lock -", "--lock good.lock")), "--accel", "H100").code == 0
        text = Path("good.lock").read_text(encoding="utf-8")
        total = re.search(r'"total": "([0-9.]+)"', text)
        assert total is not None
        Path("false.lock").write_text(text.replace(total[0], '"total": "0.01"'), encoding="utf-8")
    answer = run(*shlex.split(HERE[name, code]))
    assert answer.code == code, answer.err or answer.out
    assert "Traceback" not in answer.err
    if code and (name, code) not in IN_THE_ANSWER:
        message = next(line for line in answer.err.splitlines() if line.startswith("error: ")).removeprefix("error: ")
        assert len(message) > 20, message
        assert re.search(r"[:;,.] \S", message), f"{message}: what is wrong, and what to do?"


IN_THE_ANSWER = {("doctor", 6), ("policy explain", 4), ("roadmap", 4), ("compare", 3), ("compare", 4), ("quote", 6),
                 ("quote", 3), ("quote", 4), ("plan", 3), ("plan", 4)}  # it is in the lines around  # fmt: skip


@pytest.mark.parametrize(("file", "test"), ELSEWHERE.values())
def test_a_test_that_proves_a_code_is_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == test]
    assert found, f"{file} has no {test}"
    codes = {code for (_, code), where in ELSEWHERE.items() if where == (file, test)}
    said = {node.value for node in ast.walk(found[0]) if isinstance(node, ast.Constant)}
    assert codes <= said, f"{test} does not say {codes - said}"


def test_every_documented_code_is_proved_for_some_verb_and_every_verb_has_one() -> None:
    text = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    documented = set(map(int, re.findall(r"^\| (\d+) \|", text, re.MULTILINE)))
    proved = {code for _, code in (*HERE, *ELSEWHERE)}
    assert documented - proved == {1}, "1 is a fault of this program, which no command is known to bring about"
    assert proved - documented == set()
    assert {name.split()[0] for name, _ in HERE} == set(VERBS)
