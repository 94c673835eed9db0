"""A quote as CSV: RFC 4180, plain numbers, ISO dates."""

import csv
import sys
from collections.abc import Sequence
from typing import Any

from cloudaccel.api import quoting as api
from cloudaccel.cli.columns import COLUMNS, PER, View, heading, plain


def write(answer: api.Quote, columns: Sequence[str], per: str) -> None:
    """Write the heading and a line for each offer to stdout."""
    out: Any = sys.stdout
    if hasattr(out, "reconfigure"):  # a text stream over bytes; a test's stream is none
        out.reconfigure(newline="")  # the csv module ends lines itself
    writer = csv.writer(out, lineterminator="\r\n" if sys.platform == "win32" else "\n")
    writer.writerow(heading(column, per) for column in columns)
    view = View(answer, PER[per])
    for offer in answer.offers:
        writer.writerow(plain(COLUMNS[column](offer, view)) for column in columns)
