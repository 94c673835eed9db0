"""What a machine is told at boot, and what its script writes to the console."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloudaccel.errors import QueryError
from cloudaccel.provision.reports import read_report
from cloudaccel.provision.userdata import public_key, user_data
from tests.support import PATIENCE_S

END = datetime(2026, 12, 1, tzinfo=UTC)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx5z3Kq2mWc0eJm3Qd5mC7m1F9lB1pXh0q4n1Jb0t1v me@desk"
SCRIPT = Path(__file__).parents[2] / "cloudaccel/provision/data/report.sh"


def test_the_same_run_gets_the_same_bytes_and_they_fit() -> None:
    """A replay sends exactly what was sent; the smallest limit of a cloud is 16 KiB."""
    text = user_data("abc", END, announced="true", ssh_key=KEY)
    assert text == user_data("abc", END, announced="true", ssh_key=KEY)
    assert len(text.encode()) < 8_000
    config = json.loads("".join(line for line in text.splitlines(keepends=True) if not line.startswith("#")))
    assert config["ssh_authorized_keys"] == [KEY]
    assert str(int(END.timestamp())) in config["bootcmd"][0][2]
    assert "ssh_authorized_keys" not in user_data("abc", END)


def test_cloud_init_itself_takes_it(tmp_path: Path) -> None:
    tool = shutil.which("cloud-init")
    if tool is None:
        pytest.skip("needs the cloud-init program")
    file = tmp_path / "user-data"
    file.write_text(user_data("abc", END, announced="a 'quoted' \"word\"", ssh_key=KEY), encoding="utf-8")
    done = subprocess.run([tool, "schema", "--config-file", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Valid" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "text", ["", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc", f"{KEY}\n{KEY}", 'command="rm" ' + KEY]
)
def test_only_one_public_key_is_taken(text: str) -> None:
    with pytest.raises(QueryError, match=r"id_x") as refused:
        public_key(text, "id_x")
    assert ("private" in str(refused.value)) is ("PRIVATE" in text)


def said(tmp_path: Path, *, announced: str = "", **tools: str) -> str:
    """What the script writes, with only these tools on its path besides the system's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in tools.items():
        tool = folder / name.replace("_", "-")
        tool.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        tool.chmod(0o755)
    console = tmp_path / "console"
    places = {"PATH": f"{folder}:/usr/bin:/bin", "CLOUDACCEL_CONSOLE": str(console), "CLOUDACCEL_PAUSE": "0"}
    subprocess.run(
        ["sh", str(SCRIPT), announced],
        env={**os.environ, **places, "CLOUDACCEL_ONCE": "1"},
        check=True,
        timeout=PATIENCE_S,
    )
    return console.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("tool", "text", "accelerators", "use"),
    [
        ("nvidia_smi", "printf '12\\n80\\n0\\n'", 3, 80),
        ("nvidia_smi", "printf '[N/A]\\n5\\n'", 2, None),
        ("nvidia_smi", "echo 'No devices were found'; exit 6", None, None),
        ("rocm_smi", "printf 'device,GPU use (%%)\\ncard0,0\\ncard1,33\\n\\n'", 2, 33),
        ("hl_smi", "printf '0 %%\\n7 %%\\n'", 2, 7),
        ("neuron_ls", 'printf \'[{\\n"neuron_device": 0},\\n{"neuron_device": 1}]\'', 2, None),
    ],
)
def test_each_kind_of_accelerator_is_counted_and_its_use_read(
    tmp_path: Path, tool: str, text: str, accelerators: int | None, use: int | None
) -> None:
    report = read_report(said(tmp_path, **{tool: text}), datetime.now(UTC))
    assert report is not None
    assert (report.accelerators, report.use_percent, report.notice) == (accelerators, use, False)


def test_a_notice_is_passed_on_at_once(tmp_path: Path) -> None:
    report = read_report(said(tmp_path, announced="echo terminate"), datetime.now(UTC))
    assert report is not None
    assert report.notice


def test_what_is_no_report_is_none() -> None:
    now = datetime.now(UTC)
    assert read_report(None, now) is None
    assert read_report("cloudaccel-report 2 at=1 whatever", now) is None
    assert read_report(f"x cloudaccel-report 1 at={int(now.timestamp())} accelerators=1 use=0 busy=1", now) is None
