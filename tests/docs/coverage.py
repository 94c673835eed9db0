"""Writes docs/reference/coverage.md from the prices that ship with cloudaccel: ``python -m tests.docs.coverage``."""

import sys
from pathlib import Path

from cloudaccel.api.coverage import coverage
from cloudaccel.cli.refresh_coverage import page as table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "coverage.md"
_HEAD = """\
# What the prices cover

The prices that ship with cloudaccel, by provider, region and accelerator: how old they are, from which source, and
under which licence. What was decided about doubtful rows is told in
[the prices that ship](../explanation/price-data.md), and which list each seller's own prices come from in
[where prices come from](../explanation/price-sources.md); what must travel with the data is in `NOTICE`. "seen" is from
the oldest to the newest date of the offers; a source without a date gives an interval. Markets are those of the whole
region, not of each accelerator in it: ask `cloudaccel quote`.

`cloudaccel refresh --coverage` says the same of the catalog that you use, with `--json` for programs. This page is
written by `python -m tests.docs.coverage`.

"""


def page() -> str:
    """The whole page."""
    return _HEAD + "\n".join(table(coverage(catalog=ROOT / "pricing_cache"))) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
