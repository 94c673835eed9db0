"""The way through the rules that the documentation shows can be walked."""

import re
import shlex
from pathlib import Path

import pytest

from tests.support import run

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "rules.md"


def test_every_command_of_the_page_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (written,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("board.yaml").write_text(written, encoding="utf-8")
    lines = [line for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    ran = 0
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if not line.startswith("$ cloudaccel "):
            continue
        answer = run(*shlex.split(line)[2:])
        assert answer.code == int(after.removeprefix("exit ") if after.startswith("exit ") else 0), answer.err
        ran += 1
    assert ran == 15
    assert {path.name for path in Path().iterdir()} == {"board.yaml", "plan.lock.json", "statements.json", "guard"}
