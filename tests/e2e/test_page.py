"""The page in Chromium: accessible in both colour schemes, quick, and usable with and without its script."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.benchmarks.page import served
from tests.benchmarks.synthetic import make_catalog
from tests.docs import screenshots
from tests.e2e.test_serve import listening
from tests.support import PATIENCE_S, own_env

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CLOUDACCEL_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the package axe-playwright-python")

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (set CLOUDACCEL_CHROMIUM)"),
]
QUESTION = "/?accelerator=H100-SXM&market=any&model=llama-3-70b"
_FIRST_VIEW_BYTES = 300_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    env = own_env(tmp_path_factory.mktemp("cache"))
    command = [sys.executable, "-m", "cloudaccel", "serve", "--port", "0", "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    yield listening(process)
    process.terminate()
    process.wait(PATIENCE_S)
    assert process.stderr is not None
    process.stderr.close()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as started:
        # A container gives a browser no sandbox of its own; the page is ours and the machine has no other network.
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE_S * 1000)
        yield found
        found.close()


@pytest.fixture
def opened(browser: "Browser") -> Iterator[Callable[..., "Page"]]:
    """Opens an empty page in a window of its own, with the settings of `Browser.new_context`."""
    with ExitStack() as stack:

        def fresh(**settings: Any) -> "Page":
            context = browser.new_context(**settings)
            stack.callback(context.close)
            context.set_default_timeout(PATIENCE_S * 1000)
            return context.new_page()

        yield fresh


@pytest.mark.parametrize(
    "settings",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
        {"color_scheme": "dark", "java_script_enabled": True, "reduced_motion": "reduce"},
    ],
    ids=["light", "dark", "mobile", "still"],
)
@pytest.mark.parametrize("path", ["/", QUESTION, "/?accelerator=H1000"], ids=["first", "question", "fault"])
def test_axe_finds_nothing(opened: Callable[..., "Page"], address: str, settings: dict[str, Any], path: str) -> None:
    page = opened(**settings)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address + path)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = axe.Axe().run(page)
    wide = page.evaluate("document.documentElement.scrollWidth > innerWidth + 1")
    assert found.violations_count == 0, found.generate_report()
    assert not faults
    assert not wide, "the page scrolls sideways"


def test_first_view_is_light(opened: Callable[..., "Page"], address: str) -> None:
    answers: list[Any] = []

    def note(answer: Any) -> None:  # a method of a list cannot be kept there
        answers.append(answer)

    page = opened()
    page.on("response", note)
    page.goto(address + "/", wait_until="load")
    measured = [answer.request.sizes() for answer in answers]
    sizes = [one["responseBodySize"] + one["responseHeadersSize"] for one in measured]
    assert len(sizes) > 1
    assert sum(sizes) < _FIRST_VIEW_BYTES


def test_with_fifty_thousand_offers_the_page_shows_the_cheapest_and_counts_all(
    opened: Callable[..., "Page"], tmp_path: Path
) -> None:
    catalog = tmp_path / "many.sqlite"
    make_catalog(catalog, 50_000)
    db = sqlite3.connect(catalog)
    market = "current AND market = 'spot' AND accelerator = 'nvidia-h100-sxm-80gb' AND count >= 1"
    total, cheapest = db.execute(f"SELECT count(*), min(rank_price) FROM offer WHERE {market}").fetchone()  # noqa: S608
    db.close()
    assert total > 100
    with served("--catalog", str(catalog)) as address:
        page = opened()
        page.goto(f"{address}/?accelerator=H100-SXM&market=spot")
        assert f"{total:,} offers match" in page.locator("#said").inner_text() + page.content()
        shown = page.locator("table.offers tbody tr").first.locator("strong, b, td.price, td").all_inner_texts()
    wanted = f"{cheapest / 10**9:.4f}".rstrip("0")
    assert any(text.startswith(wanted[:6]) for text in shown), (wanted, shown)


def test_the_pictures_of_the_documentation_can_be_made_again(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "tests.docs.screenshots", str(tmp_path)], check=False, capture_output=True, text=True,
        cwd=Path(__file__).parents[2], timeout=PATIENCE_S,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in screenshots.FOLDER.iterdir()}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())


def test_answer_follows_the_form_as_it_is_typed(opened: Callable[..., "Page"], address: str) -> None:
    page = opened()
    page.goto(address + "/")
    page.get_by_label("accelerator", exact=True).fill("A100-80GB")
    page.wait_for_url("**accelerator=A100-80GB**")
    assert page.locator("#command").inner_text() == "cloudaccel quote A100-80GB"
    page.get_by_label("market", exact=True).select_option("spot")
    page.wait_for_url("**market=spot**")
    assert page.get_by_label("accelerator", exact=True).input_value() == "A100-80GB"
    said = page.locator("#said").inner_text()
    page.reload()
    assert page.locator("#said").inner_text() == said


def test_keyboard_alone_asks_a_question(opened: Callable[..., "Page"], address: str) -> None:
    page = opened()
    page.goto(address + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.type("8")
    page.keyboard.press("Tab")
    page.keyboard.type("H100")
    page.keyboard.press("Enter")
    page.wait_for_url("**count=8**accelerator=H100**")


def test_without_script_the_form_is_sent(opened: Callable[..., "Page"], address: str) -> None:
    page = opened(java_script_enabled=False)
    page.goto(address + "/")
    page.locator("#accelerator").fill("H100")
    page.locator("#ask button").click()
    page.wait_for_url("**accelerator=H100**")
    assert page.locator("tbody tr").count() > 10


def test_prints_on_a4_without_cutting_the_prices_off(opened: Callable[..., "Page"], address: str) -> None:
    page = opened(viewport={"width": 718, "height": 1000})  # A4 less the margins, at 96 dots an inch
    page.goto(address + QUESTION)
    page.emulate_media(media="print")
    assert page.evaluate("document.querySelector('table').getBoundingClientRect().right <= innerWidth + 1")
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("path", ["/?accelerator=H100:8", QUESTION, "/?accelerator=A100&market=spot"])
def test_the_table_fits_a_small_screen_of_a_desk(opened: Callable[..., "Page"], address: str, path: str) -> None:
    page = opened(viewport={"width": 1280, "height": 800})
    page.goto(address + path)
    table = page.locator("table.offers")
    assert table.evaluate("t => t.scrollWidth <= t.parentElement.clientWidth"), "the last column is cut"
    kept = table.locator("td.keep").first.evaluate("cell => getComputedStyle(cell).whiteSpace")
    assert kept == "nowrap"
