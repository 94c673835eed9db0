"""A quote as CSV: RFC 4180, plain numbers, ISO dates."""

import csv
import io
from collections.abc import Sequence

from cloudaccel.api import quoting as api
from cloudaccel.output.columns import COLUMNS, PER, View, heading, plain


def render(answer: api.Quote, columns: Sequence[str], per: str) -> str:
    """The heading and a line for each offer. Lines end in a newline, which stdout turns into what the system uses."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heading(column, per) for column in columns)
    view = View(answer, PER[per])
    for offer in answer.offers:
        writer.writerow(plain(COLUMNS[column](offer, view)) for column in columns)
    return out.getvalue()
