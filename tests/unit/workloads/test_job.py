"""Jobs are read strictly."""

from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.errors import ConfigError, UnknownName
from cloudaccel.workloads.job import parse_job, read_job

JOB = """\
task: finetune
model: meta-llama/Llama-3-70B
method: lora
dtype: bf16
tokens: 200e6
seq: 4096
requires: [bf16, flash-attn]
deadline: 24h
budget: 300 USD
policy: {residency: EU, country: NO}
disk: 500GB
"""


def write(folder: Path, text: str, name: str = "job.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_job_of_the_documentation(tmp_path: Path) -> None:
    job = read_job(write(tmp_path, JOB))
    w = job.workload
    assert (w.task, w.method, w.precision, w.tokens, w.sequence_tokens) == ("finetune", "lora", "bf16", 2e8, 4096)
    assert (w.deadline_s, w.budget, w.budget_currency, w.disk_gb) == (86_400, Decimal(300), "USD", 500)
    assert w.requires == ("bf16", "flash-attn")
    assert w.policy == (("residency", "EU"), ("country", "NO"))  # Norway, not false
    assert job.model.id == "meta-llama/Meta-Llama-3-70B"


def test_json_is_the_same_job(tmp_path: Path) -> None:
    text = '{"task": "finetune", "model": "llama-3-70b", "method": "lora", "tokens": 200e6, "requires": ["bf16"]}'
    assert read_job(write(tmp_path, text, "job.json")).workload.tokens == 2e8


def test_overrides_go_over_the_file(tmp_path: Path) -> None:
    job = read_job(write(tmp_path, JOB), {"tokens": "1e9", "requires": "bf16,fp8", "rank_lora": 64})
    assert (job.workload.tokens, job.workload.requires, job.workload.lora_rank) == (1e9, ("bf16", "fp8"), 64)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("tokenz: 5", "Did you mean tokens"),
        ("task: serve", "there twice"),
        ("batch: 1.5", "whole number"),
        ("batch: yes", "no number"),
        ("context: 4096", "only a serve job"),
        ("dtype: bf61", "there twice"),
        ("recompute: half", "none of none, selective, full"),
        ("params: 7e9", "keep one"),
        ("stack: [a]", "no text"),
        ("cores: -2", "0 or more"),
        ("cores: .nan", "no number"),
        ("data: 5 parsecs@x", "no size"),
        ("seq2: 1", "unknown key"),
        ("seq: &a 1", "anchors and aliases"),
    ],
)
def test_refused_lines(tmp_path: Path, line: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as error:
        read_job(write(tmp_path, JOB + line + "\n"))
    assert "job.yaml" in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    "text", ["", "- a\n- b", "just words", "a: &x [1]\nb: *x", "a: {", "\t", "!!python/object:os.x {}"]
)
def test_files_that_are_no_jobs(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        read_job(write(tmp_path, text))


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_job(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_job(tmp_path / "bytes.yaml")
    with pytest.raises(ConfigError, match="not JSON"):
        read_job(write(tmp_path, "[" * 100_000, "deep.json"))


def test_unknown_model_keeps_its_exit_code() -> None:
    with pytest.raises(UnknownName) as error:
        parse_job({"task": "finetune", "model": "llama-3-71b", "tokens": 1e6})
    assert error.value.exit_code == 5


def test_serving_job() -> None:
    job = parse_job(
        {"task": "serve", "model": "llama-3.1-8b", "dtype": "fp8", "tokens-per-month": "4e8", "utilization": "30%"}
    )
    assert job.workload.serve is not None
    assert (job.workload.serve.tokens_per_month, job.workload.serve.utilisation) == (4e8, 0.3)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"model": "x"}, "task is missing"),
        ({"task": "pretrain", "params": 7e9}, "tokens is missing"),
        ({"task": "pretrain", "tokens": 1}, "model is missing"),
        ({"task": "pretrain", "tokens": 1, "params": 1e9, "method": "lora"}, "only a finetune"),
        ({"task": "pretrain", "tokens": True, "params": 1e9}, "no number"),
        ({"task": "serve", "params": 1e9, "utilization": 1.5}, "share"),
        ({"task": "pretrain", "params": 1e9, "tokens": 1, "deadline": 24}, "no duration"),
        ({"task": "pretrain", "params": 1e9, "tokens": 1, "dtype": "bf61"}, "Did you mean bf16"),
    ],
)
def test_what_is_missing_or_misplaced(given: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        parse_job(given)


@pytest.mark.parametrize("key", ["tokens", "seq", "rank-lora", "batch"])
@pytest.mark.parametrize("value", [1e308, "9" * 60, "1e-320"])
def test_a_number_beyond_any_job_is_refused_by_its_key(key: str, value: object) -> None:
    job = {"task": "finetune", "method": "lora", "model": "llama-3-8b", "tokens": "1e6"}
    with pytest.raises(ConfigError, match=key):
        parse_job({**job, key: value})


def test_policy_of_a_job_names_packs_in_three_ways() -> None:
    """A pack that is read and not applied would make a place look allowed that no rule has looked at."""
    for said in ("eu-gdpr,fr-hds", ["eu-gdpr", "fr-hds"], {"packs": ["eu-gdpr", "fr-hds"]}):
        job = parse_job({"task": "finetune", "model": "llama-3-70b", "method": "lora", "tokens": 1e8, "policy": said})
        assert job.workload.policy == (("packs", "eu-gdpr,fr-hds"),)


def test_a_policy_key_that_nobody_reads_is_refused() -> None:
    with pytest.raises(ConfigError, match="no key 'pack'") as caught:
        parse_job(
            {"task": "finetune", "model": "llama-3-70b", "method": "lora", "tokens": 1e8, "policy": {"pack": "eu-gdpr"}}
        )
    assert list(caught.value.choices) == ["packs"]


@pytest.mark.parametrize(("said", "seconds"), [("30ms", 0.03), ("0.03", 0.03), (0.03, 0.03), ("1.5s", 1.5)])
def test_a_latency_may_carry_its_unit(said: object, seconds: float) -> None:
    """Believed wrongly: a unit that everybody writes is no duration."""
    serve = parse_job({"task": "serve", "model": "llama-3.1-8b", "tpot": said, "ttft": "500ms"}).workload.serve
    assert serve is not None
    assert serve.tpot_s == seconds
    assert serve.ttft_s == 0.5
