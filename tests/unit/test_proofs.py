"""What self-tests have shown, and what is said of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from cloudaccel.provision.proofs import Record, Step, proved, read_record, write_record

RECORD = Record(
    provider="aws", real=True, region="us-east-1", instance="t3.micro", version="1",
    began_at="2026-11-27T10:00:00+00:00",
    steps=(
        Step(name="create", state="ok", detail="", seconds=1), Step(name="lease", state="failed", detail="", seconds=1),
    ),
    most="0.02", currency="USD",
)  # fmt: skip


def test_only_what_held_on_the_real_cloud_is_proved_there() -> None:
    assert proved(None)["create"] == "fake"
    assert proved(RECORD)["create"] == "real (2026-11-27)"
    assert proved(RECORD)["lease"] == "fake"
    assert proved(replace(RECORD, real=False))["create"] == "fake"
    assert not RECORD.ok


def test_a_fake_never_replaces_the_record_of_the_real_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path))
    write_record(RECORD)
    file = write_record(replace(RECORD, real=False))
    assert read_record("aws") == RECORD
    file.write_text("{", encoding="utf-8")
    assert read_record("aws") is None
