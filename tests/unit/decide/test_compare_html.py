"""The page of a comparison: its figures, nothing from outside, and text that cannot break out."""

import re
from pathlib import Path

from tests.support import run

WORDS = (
    "compare", "--demand", "400M-tokens/month", "--rents", "3.00,6.88", "--sensitivity",
    "--option", "api:price=0.60..0.90..1.20/Mtok,label=<script>alert(1)</script>",
    "--option", "rent:H100-SXM:2@2.19,throughput=1500tok/s",
    "--option", "own:8xH100,capex=379500,residual=20%,years=3,kw=10.2,pue=1.3,kwh=0.15,staff=30000/y",
)  # fmt: skip


def page(tmp_path: Path, *words: str) -> str:
    path = tmp_path / "page.html"
    answer = run(*words, "--html", str(path))
    assert answer.code == 0, answer.err
    return path.read_text(encoding="utf-8")


def test_page_has_the_figures_and_the_charts(tmp_path: Path) -> None:
    text = page(tmp_path, *WORDS)
    for figure in ("360.00", "3,197.40", "10.2 kW × 1.3 PUE", "3.55 B", "What moves it"):
        assert figure in text, figure
    assert text.count("<svg") == 4
    assert "0e-" not in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_page_needs_nothing_from_outside_and_escapes_words(tmp_path: Path) -> None:
    text = page(tmp_path, *WORDS)
    assert not re.search(r"https?://|<link|@import|url\(", text)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_page_of_unknown_costs_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    answer = run("compare", "--option", "own:tpu-v5e:8", "--option", "managed:ml.none", "--html", str(path))
    assert answer.code == 3
    assert "cannot be bought" in path.read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "no").write_text("a file, and no folder", encoding="utf-8")
    answer = run("compare", "--option", "own:8xH100", "--html", str(tmp_path / "no" / "page.html"))
    assert answer.code == 2
    assert "cannot be written" in answer.err
