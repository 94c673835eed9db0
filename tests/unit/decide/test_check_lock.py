"""The independent checker of locks: it accepts what the planner writes and refuses what anybody has touched."""

import ast
import copy
import json
import sys
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.decide import check_lock
from cloudaccel.decide.check_lock import NotALock, check
from tests.support import run

TUNE = ("--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "200e6", "--deadline", "12h")
JOBS = {
    "tune": (*TUNE, "--budget", "60 USD", "--disk", "500GB", "--residency", "EU"),
    "time": (*TUNE, "--rank", "time", "--provider", "aws"),
    "carbon": (*TUNE, "--rank", "carbon", "--provider", "gcp"),
    "committed": (*TUNE, "--market", "any", "--provider", "azure", "--data", "1TB@aws:us-east-1"),
    "serve": ("--task", "serve", "--model", "llama-3-8b", "--concurrency", "8", "--residency", "EU"),
    "startable": (*TUNE, "--startable"),
}


@cache
def text_of(job: str) -> str:
    answer = run("plan", *JOBS[job], "--json", "--lock", "-")
    assert answer.code == 0, answer.err
    return answer.out


def lock_of(job: str = "tune") -> dict[str, Any]:
    return json.loads(text_of(job))


@pytest.mark.parametrize("job", JOBS)
def test_what_the_planner_writes_is_proved(job: str) -> None:
    found = check(lock_of(job))
    assert found.wrong == []
    assert found.proved["sums"] > 20
    assert found.proved["optimality"] > 3


def test_a_plan_without_an_answer_is_proved_to_have_none() -> None:
    answer = run("plan", *TUNE, "--budget", "1 USD", "--json", "--lock", "-")
    assert answer.code == 4
    lock = json.loads(answer.out)
    assert lock["chosen"] is None
    assert check(lock).wrong == []
    lock["limits"]["budget"] = "100000"
    assert any("blocked by budget, should be nothing" in text for text in check(lock).wrong)
    rows = lock["considered"]["rows"]
    lock["considered"]["rows"] = [
        text.removesuffix("budget") + "-" if text.endswith(" budget") else text for text in rows
    ]
    assert any("break no limit" in text for text in check(lock).wrong)


def _second_is_chosen(lock: dict[str, Any]) -> None:
    lock["options"].pop(0)
    lock["chosen"] = lock["options"][0]
    lock["failover"] = []


def _choice_is_dearer(lock: dict[str, Any]) -> None:
    for option in (lock["chosen"], lock["options"][0]):
        option["total"] = str(Decimal(option["total"]) + 1)


def _machine_is_dearer(lock: dict[str, Any]) -> None:
    """Consistent in itself: price, line and total all changed."""
    for option in (lock["chosen"], lock["options"][0]):
        line = option["lines"][0]
        option["price"]["price_per_hour"] = line["unit_price"] = str(Decimal(line["unit_price"]) * 2)
        before, line["amount"] = Decimal(line["amount"]), str(Decimal(line["quantity"]) * Decimal(line["unit_price"]))
        option["total"] = str(Decimal(option["total"]) - before + Decimal(line["amount"]))


def _other_price(lock: dict[str, Any]) -> None:
    lock["chosen"]["price"]["price_per_hour"] = "0.01"


def _more_machines(lock: dict[str, Any]) -> None:
    lock["chosen"]["nodes"] += 1


def _shorter(lock: dict[str, Any]) -> None:
    lock["chosen"]["hours"] = lock["options"][0]["hours"] = "0.1"


def _tighter_deadline(lock: dict[str, Any]) -> None:
    lock["limits"]["deadline_s"] = 60


def _smaller_budget(lock: dict[str, Any]) -> None:
    lock["limits"]["budget"] = "0.01"


def _forbidden(lock: dict[str, Any]) -> None:
    lock["chosen"]["policy"]["state"] = "non_compliant"


def _too_large(lock: dict[str, Any]) -> None:
    for option in (lock["chosen"], lock["options"][0]):
        option["fit"] = {
            **option["fit"],
            "verdict": "fits",
            "memory_gib": {**option["fit"]["memory_gib"], "step": 9999},
        }


def _unblocked(lock: dict[str, Any]) -> None:
    lock["near"][0]["blocked"] = []


def _other_hardware(lock: dict[str, Any]) -> None:
    lock["failover"] = [{**lock["chosen"], "accelerator": {"id": "x", "count": "1"}}]


def _row_missing(lock: dict[str, Any]) -> None:
    lock["considered"]["rows"].pop(0)


EDITS: tuple[Callable[[dict[str, Any]], None], ...] = (
    _second_is_chosen, _choice_is_dearer, _machine_is_dearer, _other_price, _more_machines, _shorter, _tighter_deadline,
    _smaller_budget, _forbidden, _too_large, _unblocked, _other_hardware, _row_missing,
)  # fmt: skip


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__.strip("_"))
def test_an_edited_lock_is_refused(edit: Callable[[dict[str, Any]], None]) -> None:
    lock = lock_of()
    edit(lock)
    assert lock != lock_of()
    assert check(lock).wrong


@pytest.mark.parametrize("column", ["machine_hours", "price_per_hour", "other", "total"])
def test_no_number_of_a_considered_row_can_be_changed_alone(column: str) -> None:
    lock = lock_of()
    place = lock["considered"]["columns"].split().index(column)
    assert len(lock["considered"]["rows"]) > 10
    for number, text in enumerate(lock["considered"]["rows"]):
        words = text.split(" ")
        words[place] = str(Decimal(words[place]) * 3 + 1)
        edited = copy.deepcopy(lock)
        edited["considered"]["rows"][number] = " ".join(words)
        assert check(edited).wrong, text


@pytest.mark.parametrize("broken", ["considered", "limits", "options", "schema", "hours"])
def test_a_lock_that_lacks_what_the_proof_needs_says_so(broken: str) -> None:
    lock = lock_of()
    del lock[broken]
    with pytest.raises(NotALock):
        check(lock)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "many"])
def test_what_is_no_number_proves_nothing(number: str) -> None:
    lock = lock_of()
    lock["chosen"]["lines"][0]["amount"] = number
    with pytest.raises(NotALock):
        check(lock)


def test_the_checker_is_short_and_shares_nothing_with_the_planner() -> None:
    source = Path(check_lock.__file__).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
    modules = {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    assert modules <= sys.stdlib_module_names | {"collections.abc"}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(ast.parse(source)))


def test_the_verb_says_what_was_proved_and_ends_with_6_when_it_is_false(tmp_path: Path) -> None:
    path = tmp_path / "plan.lock.json"
    path.write_text(text_of("tune"), encoding="utf-8")
    answer = run("verify", str(path))
    assert answer.code == 0
    assert "none considered comes before" in answer.out
    assert "Taken as given" in answer.out
    lock = lock_of()
    _choice_is_dearer(lock)
    path.write_text(json.dumps(lock), encoding="utf-8")
    answer = run("verify", str(path), "--json")
    assert answer.code == 6
    assert answer.json["holds"] is False
    assert answer.json["wrong"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "cloudaccel-lock/1"}'])
def test_a_file_that_is_no_lock_is_said_to_be_none(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    answer = run("verify", str(path))
    assert answer.code == 2
    assert "cloudaccel plan" in answer.err
    assert run("verify", str(tmp_path / "none.json")).code == 2
