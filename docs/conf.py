"""How the pages become a site: ``sphinx-build -c docs . FOLDER``. They are plain Markdown, and read as well unbuilt."""

import re
from importlib.metadata import version as installed

from sphinx.application import Sphinx

project = "cloudaccel"
author = "the cloudaccel authors"
version = release = installed("cloudaccel")
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "deploy/*.md", "docs/**.md"]  # the pages link to README and CHANGELOG as they lie
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"cloudaccel {release}"
html_show_sourcelink = False
highlight_language = "text"
suppress_warnings = ["misc.highlighting_failure"]  # a shown command may have an apostrophe, CSV has no lexer

_PAGE = re.compile(r"\]\(([\w/.-]+\.md)\)")


def _menu(_app: Sphinx, page: str, source: list[str]) -> None:
    """The index lists every page by hand; the menu is made from that list, so there is no second one to forget."""
    if page != root_doc:
        return
    menus: list[str] = []
    for part in source[0].removeprefix("# ").split("\n## "):
        title, _, text = part.partition("\n")
        menus.append("\n".join(["\n```{toctree}", ":hidden:", f":caption: {title}\n", *_PAGE.findall(text), "```\n"]))
    source[0] += "".join(menus)


def setup(app: Sphinx) -> None:
    """What Sphinx calls first."""
    app.connect("source-read", _menu)
