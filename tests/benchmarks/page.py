"""The first view of the page: ``python -m tests.benchmarks.page`` (needs Chromium, or its path in CLOUDACCEL_CHROMIUM).

A row for each catalog and question: the server's time for the page, the time until Chromium has loaded all of it, what
travelled (compressed, with style, script and pictures), requests, and what axe-core finds in both colour schemes.
"""

import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.benchmarks.synthetic import make_catalog

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Response

GOAL_MS, GOAL_KB = 1000, 300
OFFERS = 50_000
TIMES = 7
QUESTIONS = {
    "first view": "/",
    "a family, any market": "/?accelerator=H100&market=any",
    "all, by age": "/?market=any&sort=age",
}


def main() -> int:
    """Measure and print; exit 1 when a goal of the first view is missed or axe finds something, 3 without a browser."""
    try:
        from axe_playwright_python.sync_playwright import Axe  # pyright: ignore[reportMissingTypeStubs]
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.stderr.write("needs the packages playwright and axe-playwright-python\n")
        return 3
    chromium = os.environ.get("CLOUDACCEL_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.stderr.write("needs Chromium, or its path in CLOUDACCEL_CHROMIUM\n")
        return 3
    missed = False
    print(
        f"load average {os.getloadavg()[0]:.1f}; goals of the first view: {GOAL_MS} ms, {GOAL_KB} kB, none found by axe"
    )
    print(f"{'catalog':<14} {'question':<22} {'server ms':>9} {'loaded ms':>9} {'kB':>5} {'requests':>8} {'axe':>4}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        many = Path(folder) / "many.sqlite"
        make_catalog(many, OFFERS)
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for catalog, words in (("bundled", ()), (f"{OFFERS:,} offers", ("--catalog", str(many)))):
            with served(*words) as address:
                for name, path in QUESTIONS.items():
                    loaded, size, requests = _load(browser, address + path)
                    found = _faults(browser, address + path, Axe())
                    server = _server_ms(address + path)
                    figures = f"{server:>9.0f} {loaded:>9.0f} {size / 1000:>5.0f} {requests:>8} {found:>4}"
                    print(f"{catalog:<14} {name:<22} {figures}", flush=True)
                    first = name == "first view"
                    missed |= found > 0 or (first and (loaded > GOAL_MS or size > GOAL_KB * 1000))
        browser.close()
    return 1 if missed else 0


@contextlib.contextmanager
def served(*words: str) -> Generator[str]:
    """The address of a service of our own; `words` come before the verb."""
    command = [sys.executable, "-m", "cloudaccel", *words, "serve", "--port", "0", "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
        assert found, "the service does not start"
        yield found.group()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        if process.stderr is not None:
            process.stderr.close()


def _server_ms(url: str) -> float:
    """Median time until the whole page is here, compressed as for a browser, milliseconds."""
    times: list[float] = []
    for _ in range(TIMES):
        start = time.perf_counter()
        asked = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})  # noqa: S310
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            answer.read()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def _load(browser: "Browser", url: str) -> tuple[float, int, int]:
    """Median milliseconds until a browser that knows nothing has loaded the page; its bytes and requests."""
    loads = [_load_once(browser, url) for _ in range(TIMES)]
    return statistics.median(ms for ms, _, _ in loads), loads[-1][1], loads[-1][2]


def _load_once(browser: "Browser", url: str) -> tuple[float, int, int]:
    answers: list[Response] = []

    def note(answer: "Response") -> None:
        answers.append(answer)

    context = browser.new_context()
    page = context.new_page()
    page.on("response", note)
    start = time.perf_counter()
    page.goto(url, wait_until="load")
    took_ms = (time.perf_counter() - start) * 1000
    sizes = [answer.request.sizes() for answer in answers]
    context.close()
    return took_ms, sum(one["responseBodySize"] + one["responseHeadersSize"] for one in sizes), len(answers)


def _faults(browser: "Browser", url: str, axe: Any) -> int:
    found = 0
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(url)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        found += int(axe.run(page).violations_count)
        context.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
