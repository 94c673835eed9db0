"""The how-to page on exports: every format is on it, and what it shows to type works in that order."""

import re
import shlex
from pathlib import Path

import pytest

from cloudaccel import export
from tests.support import run

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "export.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_every_format_is_on_the_page_with_what_proves_it() -> None:
    """A format without a row would be found by nobody, and one without proof believed by everybody."""
    what, _, proved = PAGE.partition("## What was proved")
    for text in (what, proved):
        rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `") and "--" not in line[:5]]
        assert {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)} == set(export.names())


def test_what_the_page_shows_to_type_works_in_that_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page whose commands fail is worse than none."""
    monkeypatch.chdir(tmp_path)
    commands = [line for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) == 3
    for command in commands:
        answer = run(*shlex.split(command)[2:])
        assert answer.code == 0, f"{command}\n{answer.err}"
    for name in ("infra/main.tf.json", "skypilot.yaml", "fleet.dstack.yml", "task.dstack.yml"):
        assert (tmp_path / name).exists()
    (code,) = blocks("python")
    exec(code, {})  # noqa: S102 - the page's own lines
    assert capsys.readouterr().out.startswith("skypilot.yaml ")
