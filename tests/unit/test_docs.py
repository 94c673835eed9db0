"""The pages that are made from code are current, and the README's commands answer."""

import re
from pathlib import Path

import pytest

from cloudaccel.catalog.pricefile import COLUMNS
from tests.docs.cli import PAGE, page
from tests.support import run

DOCS = Path(__file__).parents[2] / "docs"
README = Path(__file__).parents[2] / "README.md"


def test_the_page_of_flags_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.cli"


def test_every_column_of_a_price_file_is_documented() -> None:
    text = (DOCS / "reference" / "price-file.md").read_text(encoding="utf-8")
    assert all(f"`{column}`" in text for column in COLUMNS)


def commands() -> list[str]:
    text = README.read_text(encoding="utf-8")
    shown = re.findall(r"^\$ (cloudaccel [^\n]+)$|`(cloudaccel [^`]+)`", text, flags=re.MULTILINE)
    return [line or inline for line, inline in shown if "snap.zip" not in (line or inline)]


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_answers(command: str) -> None:
    import shlex

    answer = run(*shlex.split(command)[1:])
    assert answer.code == 0, answer.err
    assert answer.out


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(code, {})  # noqa: S102 - our own text
    assert "USD" in capsys.readouterr().out
