"""Licences of model weights that leave out whole countries, whatever the weights are used for."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from cloudaccel.facts import places
from cloudaccel.facts.loader import numbered_rows, table_path

_TABLE = "licences.csv"
_COLUMNS = ("licence", "excludes", "text", "source", "as_of")


class Exclusion(NamedTuple):
    """Countries (ISO 3166-1 alpha-2) whose people and companies a licence grants nothing, in words, by a source."""

    countries: frozenset[str]
    text: str
    source: str
    as_of: str


@cache
def exclusions() -> Mapping[str, Exclusion]:
    """What licences leave out, by the name that the table of models has for them.

    Raises
    ------
    ValueError
        If a row of the table is wrong.
    """
    found: dict[str, Exclusion] = {}
    for line, row in numbered_rows(_TABLE, _COLUMNS):
        if not (row["text"] and row["source"] and row["as_of"]):
            raise ValueError(f"{table_path(_TABLE)}, line {line}: text, source and as_of must be there.")
        countries = places.resolve_countries(row["excludes"].replace("|", ","))
        found[row["licence"]] = Exclusion(countries, row["text"], row["source"], row["as_of"])
    return found


def not_granted(licence: str, headquarters: str | None) -> str:
    """Why a licence may grant nothing to whoever is seated in a country (None: not said); "" when it does.

    Source: licences.csv, with a source and a date beside each row.
    """
    rule = exclusions().get(licence)
    if rule is None or (headquarters is not None and headquarters not in rule.countries):
        return ""
    who = "yours is not said: --headquarters COUNTRY" if headquarters is None else f"headquarters {headquarters}"
    return f"the licence {licence} {rule.text} ({who}) [{rule.source}]"
