"""Writes the pictures of the page in docs/images: ``python -m tests.docs.screenshots [FOLDER]`` (needs Chromium).

The question and the window are fixed; the prices and their ages are those of the bundled snapshot on the day.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Literal

from tests.benchmarks.page import served

FOLDER = Path(__file__).parents[2] / "docs" / "images"
QUESTION = "/?count=8&accelerator=H100-SXM&residency=EU&market=any&model=llama-3-70b"
_WINDOW = (1280, 900)
_SHOTS: tuple[tuple[str, Literal["light", "dark"]], ...] = (("page-light.png", "light"), ("page-dark.png", "dark"))


def main(folder: Path = FOLDER) -> int:
    """Write every picture; exit 3 without a browser."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CLOUDACCEL_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.stderr.write("needs Chromium, or its path in CLOUDACCEL_CHROMIUM\n")
        return 3
    folder.mkdir(parents=True, exist_ok=True)
    with served() as address, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=120_000)
        for name, scheme in _SHOTS:
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": _WINDOW[0], "height": _WINDOW[1]}, reduced_motion="reduce"
            )
            context.set_default_timeout(120_000)
            page = context.new_page()
            page.goto(address + QUESTION, wait_until="load")
            page.screenshot(path=str(folder / name))
            context.close()
        browser.close()
    sys.stdout.write(f"{folder} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
