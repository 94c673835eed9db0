"""What the address of the page says: the filters of ``/v1/offers``, and what each panel shows."""

import shlex
from collections.abc import Iterable
from typing import Annotated, Any, cast
from urllib.parse import urlencode

from pydantic import Field, ValidationError

from cloudaccel.errors import QueryError
from cloudaccel.service.asked import OfferFilters, Text, Texts
from cloudaccel.service.page_history import WINDOWS
from cloudaccel.service.page_owning import FIELDS
from cloudaccel.service.page_sizing import METHODS
from cloudaccel.service.page_table import COLUMNS, STANDARD

_LISTS = frozenset({"kind", "provider", "region", "country", "market", "policy", "pick", "col"})
_ROWS = 50
_PICKED = 5


class PageQuery(OfferFilters):
    """The filters with the fields of the panels. `count` is put behind an accelerator that names none."""

    limit: int = Field(default=_ROWS, ge=1, le=200)
    count: Text | None = None
    policy: Texts = Field(default=[])
    headquarters: Text | None = None
    users: Text | None = None
    pick: Annotated[list[Text], Field(max_length=_PICKED)] = Field(default=[])
    days: Text = "all"
    col: Texts = Field(default=[])
    layer: Text | None = None
    model: Text | None = None
    method: Text = "serve"
    context: Text = "8192"
    capex: Text | None = None
    years: Text | None = None
    residual: Text | None = None
    kwh: Text | None = None
    staff: Text | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to show, in the order of the table."""
        wanted = self.col or [*STANDARD, *(["taxed"] if self.tax else [])]
        return tuple(name for name in COLUMNS if name in wanted)

    @property
    def owning(self) -> dict[str, str]:
        """The fields of the break-even panel that are filled in."""
        return {name: value for name in FIELDS if (value := getattr(self, name))}

    def offers(self) -> OfferFilters:
        """The same question to ``/v1/offers``."""
        given = {name: getattr(self, name) for name in OfferFilters.model_fields}
        if self.count and self.accelerator and ":" not in self.accelerator:
            given["accelerator"] = f"{self.accelerator}:{self.count}"
        return OfferFilters(**given)

    def pairs(self, *, api: bool = False, **changed: str | None) -> list[tuple[str, str]]:
        """Names and values for an address, defaults left out; `changed` go over them, None takes one out."""
        source = self.offers() if api else self
        plain = source.model_dump(exclude_defaults=True)
        plain = {key: value for key, value in {**plain, **changed}.items() if value is not None}
        return [(key, _text(one)) for key, value in plain.items() for one in _each(value)]

    def href(self, path: str = "/", *, api: bool = False, **changed: str | None) -> str:
        """An address of this service with the same question."""
        query = urlencode(self.pairs(api=api, **changed))
        return f"{path}?{query}" if query else path

    def command(self) -> str:
        """The same question to the command line."""
        words = ["cloudaccel", "quote"]
        offers = self.offers()
        if offers.accelerator:
            words.append(offers.accelerator)
        plain = offers.model_dump(exclude_defaults=True, exclude={"accelerator", "limit", "cursor"})
        for key, value in plain.items():
            flag = f"--{key.replace('_', '-')}"
            words += [flag] if value is True else [flag, ",".join(_each(value))]
        if self.policy:
            stated = {"policy": ",".join(self.policy), "headquarters": self.headquarters, "users": self.users}
            words += [word for key, value in stated.items() if value for word in (f"--{key}", value)]
        return shlex.join(words)


def _each(value: object) -> list[str]:
    return [_text(one) for one in cast(list[object], value)] if isinstance(value, list) else [_text(value)]


def _text(value: object) -> str:
    return "true" if value is True else str(value)


def parse(pairs: Iterable[tuple[str, str]]) -> PageQuery:
    """The question of an address; empty fields of a form are fields left out.

    Raises
    ------
    QueryError
        If a field is unknown, too long, or not one of those it allows.
    """
    given: dict[str, Any] = {}
    for key, value in pairs:
        if not value.strip():
            continue
        if key in _LISTS:
            given.setdefault(key, []).append(value.strip())
        else:
            given[key] = value.strip()
    try:
        query = PageQuery(**given)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise QueryError(f"{where}: {fault['msg']}. Change it, or start again at /.") from error
    for name, value, allowed in (("days", query.days, WINDOWS), ("method", query.method, tuple(METHODS))):
        if value not in allowed:
            raise QueryError(f"{name}: {value!r} is none of {', '.join(allowed)}.")
    if wrong := [name for name in query.col if name not in COLUMNS]:
        raise QueryError(f"col: {wrong[0]!r} is none of {', '.join(COLUMNS)}.")
    return query
