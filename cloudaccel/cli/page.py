"""A page of HTML: no network, no script, light and dark, prints on A4."""

from collections.abc import Iterator, Sequence
from html import escape

from cloudaccel.cli import charts

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d5dbe3;--page:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa7b6;--line:#38424f;--page:#14181e}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);
  max-width:62rem;margin:2rem auto;padding:0 1rem;overflow-wrap:break-word}
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}.soft{color:var(--soft)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
td+td,th+th{text-align:right;font-variant-numeric:tabular-nums}.left td,.left th{text-align:left}
svg{width:100%;height:auto;background:#fff;border-radius:4px}svg text{font-family:system-ui,sans-serif}
pre{white-space:pre-wrap;font-size:12px}
@page{size:A4;margin:15mm}
@media print{:root{color-scheme:light;--ink:#000;--soft:#444;--line:#bbb;--page:#fff}
  body{margin:0;padding:0;max-width:none;font-size:10px}pre{font-size:9px}
  h2,h3{break-after:avoid}tr,svg{break-inside:avoid}th,td{padding:.15rem .35rem}}
"""


def page(title: str, body: Sequence[str]) -> str:
    """The page around `body`, which is HTML already; the title is escaped."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    inside = f"<h1>{escape(title)}</h1>{''.join(body)}"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{inside}</body></html>\n'


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; what stands in it is escaped."""
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    lines = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def drawn(panels: Sequence[charts.Panel]) -> Iterator[str]:
    """Each chart under its heading; without the library that draws, how to get it."""
    if panels and not charts.is_installed():
        yield f'<p class="soft">Charts are left out: {escape(charts.INSTALL)}.</p>'
        return
    for panel in panels:
        yield f"<h2>{escape(panel.title)}</h2>{charts.svg(panel)}"
