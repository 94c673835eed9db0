"""What machines count against quotas: the report, the text to ask with, and plans within limits written down."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel import registry
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.protocols import QuotaLine, Sold
from tests.support import Answer, run

TUNE = ("plan", "--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "20e6", "--lock", "-")
G = "aws:us-west-2:L-DB2E81BA"
P = "aws:us-west-2:L-417A185B"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def report(*words: str) -> Answer:
    return run("plan", "--quota-report", *words)


def sold(instance: str, market: str = "on_demand", *, vcpus: int | None = None, gpus: int | None = 8) -> Sold:
    return Sold(
        instance_type=instance, count=2, region="somewhere", market=market,
        vcpus=None if vcpus is None else Decimal(vcpus), accelerators=None if gpus is None else Decimal(gpus),
    )  # fmt: skip


def lines(provider: str, machines: Sold) -> Iterator[QuotaLine]:
    quotas = registry.load(provider).quotas
    assert quotas is not None
    yield from quotas.lines(machines, ask=False)


def test_u77_how_many_vcpus_to_ask_for_is_said_without_an_account() -> None:
    """He would have asked for 2, one for each machine, or for 16, one for each GPU: AWS counts vCPUs by family."""
    answer = report("--accel", "V100:8x2", "--provider", "aws", "--quota", "aws:us-east-1:L-0=1")
    assert answer.code == 0, answer.err
    assert "2 × p3.16xlarge" in answer.out
    assert "Running On-Demand P instances (L-417A185B): needs 128 vCPU, limit ?" in answer.out
    assert "leaves 128 vCPU beside what is in use" in answer.out


def test_u78_a_quota_of_32_is_eight_small_machines_and_not_one_large() -> None:
    """He would have planned on a p4d.24xlarge, 96 vCPUs, with a quota of 32 that was granted."""
    there = ("--provider", "aws", "--region", "us-west-2")
    work = ("--tokens", "1e9", "--accel", "L4:1", "--limit", "60", "--json")

    def best(deadline: str, *limit: str) -> tuple[str, int]:
        answer = run(*TUNE, *there, *work, "--deadline", deadline, *limit)
        assert answer.code == 0, answer.err
        first = answer.json["options"][0]
        return first["instance"], first["nodes"]

    assert best("35h") == ("g6.xlarge", 12)
    assert best("35h", "--quota", f"{G}=32")[0] != "g6.xlarge", "4 vCPUs each"
    assert best("40h", "--quota", f"{G}=32") == ("g6.xlarge", 8)
    assert best("40h", "--quota", f"{G}=31")[0] != "g6.xlarge"
    large = run(*TUNE, *there, "--accel", "p4d.24xlarge", "--quota", f"{P}=32")
    assert large.code == 7, (large.out, large.err)
    assert "quota" in large.err


def test_what_no_limit_speaks_of_is_not_limited() -> None:
    """A limit of another region, or of spot, would have left nothing."""
    words = (*TUNE, "--provider", "aws", "--region", "us-west-2", "--accel", "p4d.24xlarge")
    for limit in ("aws:us-east-1:L-417A185B=0", "aws:us-west-2:L-7212CCBC=0", "gcp:us-west-2:L-417A185B=0"):
        assert run(*words, "--quota", limit).code == 0


def test_a_saved_report_is_read_where_there_are_no_credentials() -> None:
    first = report("--accel", "T4:1", "--provider", "aws", "--region", "us-west-2", "--limit", "1", "--quota",
                   f"{G}=2", "--json")  # fmt: skip
    assert first.code == 0, first.err
    Path("saved.json").write_text(first.out, encoding="utf-8")
    second = report("--accel", "T4:1", "--provider", "aws", "--region", "us-west-2", "--limit", "1", "--quota",
                    "saved.json", "--json")  # fmt: skip
    assert second.json["options"] == first.json["options"]
    (line,) = second.json["options"][0]["quotas"]
    assert line["limit"] == "2"
    assert line["enough"] is False
    (asked,) = second.json["requests"]
    assert asked["raise_to"] == "4"
    assert "L-DB2E81BA" in asked["text"]
    planned = run(*TUNE, "--provider", "aws", "--region", "us-west-2", "--accel", "g6.xlarge", "--quota", "saved.json")
    assert planned.code == 7, planned.err
    assert "with more quota" in planned.err


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("nowhere.json", QueryError), ("aws:us-west-2:L-1", QueryError), ("aws:us-west-2:L-1=1.2.3", ConfigError),
        ("list.json", ConfigError), ("other.json", ConfigError), ("bad.json", ConfigError), ("half.json", ConfigError),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be_read_is_refused_in_one_line(word: str, error: type[Exception]) -> None:
    del error
    Path("list.json").write_text("[]", encoding="utf-8")
    Path("other.json").write_text('{"kind": "quote"}', encoding="utf-8")
    Path("bad.json").write_text("{", encoding="utf-8")
    Path("half.json").write_text('{"kind": "quota_report", "options": [{}]}', encoding="utf-8")
    answer = report("--accel", "T4:1", "--provider", "aws", "--quota", word)
    assert answer.code == 2, answer.err
    assert "--quota" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_a_report_needs_a_job_or_an_accelerator() -> None:
    assert report().code == 2
    assert report("--accel", "T4:1", "--csv", "--quota", f"{G}=1").code == 2


def test_each_cloud_names_what_counts_and_what_it_does_not_know_stays_unknown() -> None:
    """H200s were taken to have no quota, because the table did not have it."""
    assert [(q.code, q.needed) for q in lines("gcp", sold("a3-highgpu-8g"))] == [
        ("NVIDIA_H100_GPUS", 16), ("GPUS_ALL_REGIONS", 16)
    ]  # fmt: skip
    assert [q.code for q in lines("gcp", sold("a3-highgpu-8g", "flex_start"))] == ["PREEMPTIBLE_NVIDIA_H100_GPUS"]
    for instance in ("a3-ultragpu-8g", "a4-highgpu-8g", "g4-standard-384"):
        family, everywhere = lines("gcp", sold(instance))
        assert "GPUS-PER-GPU-FAMILY" in family.name
        assert family.needed == everywhere.needed == 16
        assert family.why
        assert family.enough is None
    (slices,) = lines("gcp", sold("v5litepod-8"))
    assert slices.needed is None
    assert slices.why
    assert [(q.code, q.needed) for q in lines("azure", sold("Standard_NC24ads_A100_v4", vcpus=24))] == [
        ("Standard_NC*ads_A100_v4", 48), ("cores", 48)
    ]  # fmt: skip
    (spot,) = lines("azure", sold("Standard_NC24ads_A100_v4", "spot"))
    assert (spot.code, spot.needed) == ("lowPriorityCores", None)
    (odd,) = lines("aws", sold("x9.large", vcpus=4))
    assert odd.why
    assert odd.enough is None


def test_what_would_not_run_with_more_quota_either_is_not_blamed_on_it() -> None:
    """He would have asked for a quota, waited a week for it, and then read that a T4 has no BF16."""
    answer = run(*TUNE, "--provider", "aws", "--region", "us-west-2", "--accel", "T4:1", "--quota", f"{G}=0")
    assert answer.code == 3, answer.err
