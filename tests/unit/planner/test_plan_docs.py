"""The tutorial of the plan runs as it stands, and the reference of the job file is what is read."""

from pathlib import Path

import pytest

from cloudaccel.errors import ConfigError
from cloudaccel.workloads import job
from cloudaccel.workloads.job_keys import JOB_KEYS
from tests.docs.job import PAGE, page
from tests.support import walk

TUTORIAL = Path(__file__).parents[3] / "docs" / "tutorial" / "plan-a-fine-tune.md"


def test_every_command_of_the_tutorial_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert walk(TUTORIAL, "job.yaml") == 9
    assert {p.name for p in Path().iterdir()} == {
        "job.yaml", "plan.lock.json", "main.lock.json", "plan.html", "launch", "infra",
    }  # fmt: skip


def test_the_reference_of_the_job_file_is_what_is_read() -> None:
    assert list(JOB_KEYS) == list(job._KEYS)  # pyright: ignore[reportPrivateUsage]
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.job"


@pytest.mark.parametrize("key", sorted(JOB_KEYS))
def test_the_example_of_every_key_can_be_read(key: str) -> None:
    example = JOB_KEYS[key][1]
    value: object = example
    if example.startswith("["):
        value = example.strip("[]").split(", ")
    elif example.startswith("{"):
        value = dict(pair.split(": ") for pair in example.strip("{}").split(", "))
    job._KEYS[key](key, value)  # pyright: ignore[reportPrivateUsage]


def test_a_misspelt_filter_is_refused_and_not_passed_over() -> None:
    """The user would have believed that the data stays in the EU, while every place was let in."""
    given = {"task": "finetune", "model": "llama-3-8b", "tokens": 1e7, "policy": {"residancy": "EU"}}
    with pytest.raises(ConfigError, match="Did you mean residency"):
        job.parse_job(given)
