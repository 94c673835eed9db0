"""Reading ``plan.lock.json``: an untrusted file, of which only the request is taken.

Which machine, where, how many, and the limits are read. Price, image, user data and verdict are found again from the
catalog and the rules of now, whatever the file says of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

from cloudaccel.errors import QueryError
from cloudaccel.model.deployment import lease_h, with_start_up
from cloudaccel.untrusted import json_of

SCHEMA = "cloudaccel-lock/1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/ -]{0,127}")
RESERVATION = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._:/()-]{0,511}")  # some are the whole path of a resource
# A capacity block's machines are taken back from half an hour before its end (EC2 user guide: Capacity Blocks, 2026-09)
BLOCK_ENDS_EARLY = timedelta(minutes=35)
_MAX_BYTES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPlace:
    """One place of the file: what to look up. `said_price_per_hour` is only for showing how the price has moved."""

    provider: str
    partition: str
    region: str
    zone: str | None
    instance: str
    nodes: int
    market: str
    accelerator_count: str | None
    said_price_per_hour: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedReservation:
    """Capacity that the plan is for: its id, and from when until when it is held."""

    id: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The request in a lock file: places in order, hours of the high estimate with start-up, budget.

    `body` is the whole file as it was read, for whoever asks its rules again.
    """

    places: tuple[LockedPlace, ...]
    high_hours: Decimal | None
    budget: Decimal | None
    currency: str
    body: Mapping[str, Any]
    reservation: "LockedReservation | None" = None

    @property
    def reservation_id(self) -> str | None:
        """Id of the capacity that the plan is for."""
        return None if self.reservation is None else self.reservation.id

    @property
    def window(self) -> tuple[str | None, str | None, str | None]:
        """From when and by when a run in the reservation starts, and by when it must be gone; ISO text, or None."""
        if self.reservation is None:
            return None, None, None
        blocks = any(place.market == "capacity_block" for place in self.places)
        end = self.reservation.end - (BLOCK_ENDS_EARLY if blocks else timedelta())
        latest = end - timedelta(hours=float(self.high_hours or 0))
        return self.reservation.start.isoformat(), latest.isoformat(), end.isoformat()

    @property
    def lease_s(self) -> float | None:
        """The high estimate with its margin, seconds; None when the file has no estimate."""
        return None if self.high_hours is None else float(lease_h(self.high_hours) * 3600)


def read_lock(path: Path) -> Lock:
    """The request in `path`. Raises `QueryError` when it is no lock file, or a value in it cannot be."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise QueryError(f"{path}: too large for a lock file.")
        data = json_of(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QueryError(f"{path} does not exist. 'cloudaccel plan' writes one.") from None
    except (OSError, ValueError) as error:
        raise QueryError(f"{path} cannot be read as JSON: {error}.") from error
    return parse_lock(data, str(path))


def parse_lock(data: object, name: str) -> Lock:
    """The request in the JSON of a lock file, called `name` in messages. Raises `QueryError` as `read_lock` does."""
    if not isinstance(data, dict) or cast(dict[str, Any], data).get("schema") != SCHEMA:
        raise QueryError(f"{name} is no lock file of schema {SCHEMA}. Make it again with 'cloudaccel plan'.")
    body = cast(dict[str, Any], data)
    return _lock(_Reader(name, body), body)


class _Reader:
    """One object of the file, with the path to it for messages."""

    def __init__(self, name: str, data: dict[str, Any], where: str = "") -> None:
        self._name = name
        self._data = data
        self._where = where

    def fail(self, key: str, wanted: str) -> QueryError:
        return QueryError(f"{self._name}: {self._where}{key} must be {wanted}. Make it again with 'cloudaccel plan'.")

    def has(self, key: str) -> bool:
        return self._data.get(key) is not None

    def object(self, key: str) -> "_Reader":
        value = self._data.get(key)
        if not isinstance(value, dict):
            raise self.fail(key, "an object")
        return _Reader(self._name, cast(dict[str, Any], value), f"{self._where}{key}.")

    def objects(self, key: str) -> list["_Reader"]:
        value = self._data.get(key, [])
        if not isinstance(value, list) or len(cast(list[Any], value)) > 1000:
            raise self.fail(key, "a list of at most 1000 objects")
        found: list[_Reader] = []
        for i, item in enumerate(cast(list[Any], value)):
            if not isinstance(item, dict):
                raise self.fail(f"{key}[{i}]", "an object")
            found.append(_Reader(self._name, cast(dict[str, Any], item), f"{self._where}{key}[{i}]."))
        return found

    def name(self, key: str, pattern: re.Pattern[str] = _NAME) -> str:
        value = self._data.get(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.fail(key, "a name")
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        value = self._data.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.fail(key, f"a whole number from {low} to {high}")
        return value

    def moment(self, key: str) -> datetime:
        try:
            value = datetime.fromisoformat(str(self._data.get(key)))
        except ValueError:
            raise self.fail(key, "a time") from None
        if value.tzinfo is None:
            raise self.fail(key, "a time with its zone")
        return value.astimezone(UTC)

    def number(self, key: str) -> Decimal:
        try:
            value = Decimal(str(self._data.get(key)))
        except InvalidOperation:
            raise self.fail(key, "a number") from None
        if not value.is_finite() or not 0 <= value < 10**9:
            raise self.fail(key, "a number from 0 to 1e9")
        return value


def _lock(reader: _Reader, body: Mapping[str, Any]) -> Lock:
    places = [_place(reader.object("chosen")), *(_place(item) for item in reader.objects("failover"))]
    hours = reader.object("hours") if reader.has("hours") else None
    limits = reader.object("limits") if reader.has("limits") else None
    held = reader.object("reservation") if reader.has("reservation") else None
    has_budget = limits is not None and limits.has("budget")
    return Lock(
        places=tuple(dict.fromkeys(places)),
        high_hours=None if hours is None else _high_hours(hours, reader.object("chosen")),
        budget=limits.number("budget") if limits is not None and has_budget else None,
        currency=limits.name("currency") if limits is not None and limits.has("currency") else "USD",
        body=body,
        reservation=None if held is None else _reservation(held),
    )


def _high_hours(hours: _Reader, chosen: _Reader) -> Decimal | None:
    """The high estimate with its start-up; None when there is none, as for a service."""
    if not hours.has("high"):
        return None
    likely = hours.number("likely") if hours.has("likely") else None
    return with_start_up(hours.number("high"), likely, chosen.number("hours") if chosen.has("hours") else None)


def _reservation(held: _Reader) -> LockedReservation:
    return LockedReservation(id=held.name("id", RESERVATION), start=held.moment("start"), end=held.moment("end"))


def _place(reader: _Reader) -> LockedPlace:
    market = reader.object("market")
    accelerator = reader.object("accelerator") if reader.has("accelerator") else None
    price = reader.object("price") if reader.has("price") else None
    count = accelerator is not None and accelerator.has("count")
    return LockedPlace(
        provider=reader.name("provider"),
        partition=reader.name("partition"),
        region=reader.name("region"),
        zone=reader.name("zone") if reader.has("zone") else None,
        instance=reader.name("instance"),
        nodes=reader.whole("nodes", 1, 8) if reader.has("nodes") else 1,
        market=market.name("type").replace("-", "_"),
        accelerator_count=str(accelerator.number("count")) if accelerator is not None and count else None,
        said_price_per_hour=price.number("price_per_hour")
        if price is not None and price.has("price_per_hour")
        else None,
    )
