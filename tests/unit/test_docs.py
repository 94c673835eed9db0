"""The pages that are made from code are current, and the README's commands answer."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from cloudaccel.catalog.pricefile import COLUMNS
from cloudaccel.errors import CloudAccelError
from tests.docs import cli, coverage, python
from tests.support import run

DOCS = Path(__file__).parents[2] / "docs"
README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("made", [cli, coverage, python], ids=["cli", "coverage", "python"])
def test_a_page_that_is_made_from_code_is_current(made: ModuleType) -> None:
    assert made.PAGE.read_text(encoding="utf-8") == made.page(), f"run: python -m {made.__name__}"


@pytest.mark.slow
def test_the_site_is_built_without_a_dead_link(tmp_path: Path) -> None:
    kept = ["-d", str(tmp_path / "read"), ".", str(tmp_path / "site")]
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", *kept]
    built = subprocess.run(words, check=False, cwd=DOCS.parent, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    menu = (tmp_path / "site" / "docs" / "index.html").read_text(encoding="utf-8")
    assert menu.count("toctree-l1") >= len(list(DOCS.rglob("*.md"))) - 1, "a page is not listed in docs/index.md"


def test_every_column_of_a_price_file_is_documented() -> None:
    text = (DOCS / "reference" / "price-file.md").read_text(encoding="utf-8")
    assert all(f"`{column}`" in text for column in COLUMNS)


def fields(value: object) -> Iterator[str]:
    """Every key of a JSON answer."""
    if isinstance(value, dict):
        for key, inner in cast(dict[str, object], value).items():
            yield key
            yield from fields(inner)
    elif isinstance(value, list):
        for inner in cast(list[object], value):
            yield from fields(inner)


def test_every_field_of_the_json_is_documented() -> None:
    text = (DOCS / "reference" / "json.md").read_text(encoding="utf-8")
    words = ["--provider", "gcp", "--region", "us-central1", "--market", "any", "--per", "month", "--limit", "1"]
    body = run("quote", "T4:1", *words, "--json").json
    inner = {"accelerators", "instance", "markets", "providers", "regions", "place", "sort", "limit", "code", "fx"}
    assert body["offers"][0]["price"]["parts"]
    assert {field for field in fields(body) if f"`{field}`" not in text and f"`{field}[]`" not in text} <= inner


def test_every_exit_code_is_documented() -> None:
    text = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    kinds = [CloudAccelError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        assert f"| {kind.exit_code} |" in text, kind


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
