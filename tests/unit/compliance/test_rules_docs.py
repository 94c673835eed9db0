"""The way through the rules that the documentation shows can be walked."""

from pathlib import Path

import pytest

from tests.support import walk

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "rules.md"


def test_every_command_of_the_page_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert walk(PAGE, "board.yaml") == 15
    written = {path.name for path in Path().iterdir() if not path.name.startswith(".")}
    assert written == {"board.yaml", "plan.lock.json", "statements.json", "statements.json.log", "guard"}
