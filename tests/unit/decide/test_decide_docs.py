"""Pages about deciding: the tutorial's commands print the figures that it shows, and every key is documented."""

import re
import shlex
from pathlib import Path

import pytest

from cloudaccel.decide import options, road_file
from cloudaccel.decide.advise import questions
from cloudaccel.facts.inventory import COLUMNS
from tests.support import run

pytest.importorskip("scipy")
pytest.importorskip("yaml")
DOCS = Path(__file__).parents[3] / "docs"
TUTORIAL = (DOCS / "tutorial" / "build-tune-or-call.md").read_text(encoding="utf-8")


def steps() -> list[tuple[str, list[str]]]:
    """Commands of the tutorial, each with the lines that it must print."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", TUTORIAL, flags=re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            elif line.strip():
                found[-1][1].append(line)
    return [(command, shown) for command, shown in found if command.startswith("cloudaccel ")]


@pytest.mark.parametrize(("command", "shown"), steps(), ids=range(len(steps())))
def test_the_tutorial_prints_what_it_shows(
    command: str, shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (road,) = re.findall(r"```yaml\n(.*?)```", TUTORIAL, flags=re.DOTALL)
    (tmp_path / "roadmap.yaml").write_text(road, encoding="utf-8")
    answer = run(*shlex.split(command)[1:])
    assert answer.code == 0, answer.err
    for line in shown:
        assert line in answer.out, answer.out


def test_what_the_tutorial_says_of_the_roadmap_is_so(tmp_path: Path) -> None:
    (road,) = re.findall(r"```yaml\n(.*?)```", TUTORIAL, flags=re.DOTALL)
    path = tmp_path / "r.yaml"
    path.write_text(road.replace("price: 16.00/h", "price: 30.00/h").replace("19.20/h", "30.00/h"), encoding="utf-8")
    assert "  buy " in run("roadmap", str(path)).out
    path.write_text(path.read_text(encoding="utf-8").replace("site-kw: 60", "site-kw: 1"), encoding="utf-8")
    assert "  buy " not in run("roadmap", str(path)).out


def test_the_how_to_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "how-to" / "own-hardware.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (rows,) = re.findall(r"```csv\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "inventory.csv").write_text(rows, encoding="utf-8")
    (block,) = re.findall(r"```console\n(.*?)```", page, flags=re.DOTALL)
    for line in block.splitlines():
        answer = run(*shlex.split(line.removeprefix("$ "))[1:])
        assert answer.code == 0, answer.err
    assert all(f"`{column}`" in page for column in COLUMNS)
    keys = set(road_file._NUMBERS) | set(road_file._WORDS) | set(road_file._TOP)  # pyright: ignore[reportPrivateUsage]
    assert [key for key in sorted(keys - {"fx"}) if f"`{key}`" not in page] == []


def test_every_key_and_question_is_documented() -> None:
    page = (DOCS / "reference" / "compare.md").read_text(encoding="utf-8")
    keys = (*options.NUMBERS, *options.PERIODIC, *options.WORDS, *options.KINDS)
    assert [key for key in keys if f"`{key}`" not in page] == []
    for question in questions().values():
        assert f"| `{question.name}` | " in page
        assert question.question in page
