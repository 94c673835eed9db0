"""The tutorial, command by command, as a newcomer types it; the cloud is the fake one that it names."""

import re
import shlex
from pathlib import Path

import pytest

from tests.loopback import on_loopback
from tests.one_clock import OneClock
from tests.support import run

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "first-job.md"
NOT_OURS = ("pip ", "python -m cloudaccel_aws.fake", "export ")


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.mark.network
def test_every_command_works_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: OneClock) -> None:
    pytest.importorskip("sqlalchemy")
    with on_loopback("aws", monkeypatch, now=clock.now) as fake:
        monkeypatch.chdir(tmp_path)
        said = ""
        for command in commands():
            if command.startswith(NOT_OURS):
                continue
            answer = run(*shlex.split(command)[1:])
            assert answer.code == 0, f"{command}\n{answer.err}"
            said += answer.out
        assert "GONE  verified" in said
        assert "Nothing is left over." in said
        assert not fake.live()
