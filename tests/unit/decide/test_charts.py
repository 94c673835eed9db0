"""Charts: a picture and a page that say what the answer says, refer to nothing outside, and fail in one sentence."""

import re
import struct
from pathlib import Path

import pytest

from cloudaccel.cli import charts
from tests.support import run

pytest.importorskip("matplotlib")
COMPARE = (
    "compare", "--demand", "400M-tokens/month", "--rents", "3.00", "--sensitivity",
    "--option", "api:price=0.60..0.90..1.20/Mtok,label=$5 & <b>",
    "--option", "own:8xH100,capex=379500,residual=20%,years=3,kw=10.2,kwh=0.15,throughput=6000",
)  # fmt: skip
ROAD = """\
start: 2027-01
demand: {training: '0*2, 64*4', serving: '8*6'}
options:
  - {name: od, rent: 'H100-SXM:8', price: 24/h}
  - {name: year, commit: 'H100-SXM:8', term: 3, price: 15/h}
"""


@pytest.fixture
def road(tmp_path: Path) -> str:
    pytest.importorskip("scipy")
    path = tmp_path / "roadmap.yaml"
    path.write_text(ROAD, encoding="utf-8")
    return str(path)


def size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n")
    return struct.unpack(">II", head[16:24])


def test_pictures_are_the_same_every_time_and_as_wide_as_a_page(tmp_path: Path, road: str) -> None:
    for words in (COMPARE, ("roadmap", road)):
        first, second = tmp_path / "1.png", tmp_path / "2.png"
        for path in (first, second):
            answer = run(*words, "--png", str(path))
            assert answer.code == 0, answer.err
        assert size(first)[0] == 1200
        assert first.read_bytes() == second.read_bytes()


def test_the_page_of_a_roadmap_has_its_figures_and_charts_and_nothing_from_outside(tmp_path: Path, road: str) -> None:
    page = tmp_path / "r.html"
    answer = run("roadmap", road, "--html", str(page))
    text = page.read_text(encoding="utf-8")
    (total,) = re.findall(r"^Total ([\d,.]+) USD", answer.out, re.MULTILINE)
    assert total in text
    assert text.count("<svg") == 3
    assert "@page{size:A4" in text
    assert not re.search(r"https?://|<link|@import|url\(|<script|\bnan\b", text)
    ids = re.findall(r' id="([^"]+)"', text)
    assert all("_" not in name for name in ids), "ids of different charts would be the same"


def test_a_roadmap_without_a_plan_is_drawn_too(tmp_path: Path, road: str) -> None:
    path = Path(road)
    path.write_text(ROAD.replace("24/h", "24/h, limit: 1").replace("15/h", "15/h, limit: 1"), encoding="utf-8")
    answer = run("roadmap", road, "--html", str(tmp_path / "r.html"), "--png", str(tmp_path / "r.png"))
    assert answer.code == 3
    assert "There is no plan." in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert size(tmp_path / "r.png")[0] == 1200


def test_a_picture_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    answer = run(*COMPARE, "--png", str(tmp_path / "no" / "x.png"))
    assert answer.code == 2
    assert "cannot be written" in answer.err


def test_without_the_library_a_page_says_so_and_a_picture_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise ImportError(f"no {name}")

    monkeypatch.setattr(charts, "import_module", missing)
    page = tmp_path / "c.html"
    assert run(*COMPARE, "--html", str(page)).code == 0
    assert "Charts are left out: pip install" in page.read_text(encoding="utf-8")
    refused = run(*COMPARE, "--png", str(tmp_path / "c.png"))
    assert refused.code == 2
    assert charts.INSTALL in refused.err


def test_nothing_with_a_known_cost_has_no_picture(tmp_path: Path) -> None:
    answer = run("compare", "--option", "own:tpu-v5e:8", "--png", str(tmp_path / "c.png"))
    assert answer.code == 3
    assert "nothing to draw" in answer.err
    assert not (tmp_path / "c.png").exists()
