"""What is asked of runs over HTTP, and what is believed of it: of a lock, only what it asks for."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from pydantic import Field

from cloudaccel import units
from cloudaccel.access.people import Principal
from cloudaccel.api.starting import Where, check_startable, places_of_lock
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.provision import money
from cloudaccel.provision.lock import parse_lock
from cloudaccel.provision.values import Limits, Options, Spec
from cloudaccel.service.asked import Body, Text
from cloudaccel.service.guard import known_packs

_LEASE = "4h"


class RunRequest(Body):
    """A lock of ``cloudaccel plan``, and the limits of its run. The list ``considered`` may be left out."""

    lock: dict[str, Any] = Field(description="the JSON of plan.lock.json; prices and verdicts in it are found again")
    max_total: Text | None = Field(default=None, description="what it may cost (default: the budget in the lock)")
    max_hourly: Text | None = Field(default=None, description="for all machines, per hour")
    lease: Text | None = Field(default=None, description="how long it is wanted (default: the plan's hours, or 4h)")
    project: Text | None = Field(default=None, description="must be the one of your token, when given")
    key_name: Text | None = Field(default=None, description="key pair that the cloud has already")
    ssh_cidr: list[Text] = Field(default=[], max_length=8, description="networks that may reach port 22")


class ExtendRequest(Body):
    """Until when the lease lasts. Asked twice, it ends at the same time."""

    until: datetime = Field(description="with its offset: 2026-12-01T18:00:00Z")


class DecideRequest(Body):
    """What the second person says."""

    approve: bool
    note: Text = ""


def spec_of(body: RunRequest, who: Principal, *, catalog: str | Path | None, packs: Sequence[str]) -> Spec:
    """What to start, with prices, images and verdicts of now; `packs` are asked beside those of the lock.

    Raises
    ------
    QueryError, LimitExceeded, NothingFits
        If the lock or a limit cannot be read, the rules do not allow it, or nothing in it is on offer.
    """
    from cloudaccel.api.judging import Rules  # the tables of facts, only for who starts something

    lock = parse_lock(_without_statements(body.lock), "lock")
    total, currency = units.parse_money(body.max_total, "max_total") if body.max_total else (lock.budget, None)
    hourly, other = units.parse_money(body.max_hourly, "max_hourly") if body.max_hourly else (None, None)
    currency = currency or lock.currency
    if total is None:
        raise QueryError("max_total: every run has a budget, and neither the request nor the lock gives one.")
    if other not in (None, currency):
        raise QueryError("max_total and max_hourly are in two currencies; none is converted.")
    try:
        places = places_of_lock(lock, Rules(packs=tuple(packs)), Where(catalog=catalog), {})
    except ConfigError as error:  # of the caller's own lock
        raise QueryError(str(error)) from error
    start_from, start_by, end_by = lock.window
    spec = Spec(
        asked=f"a lock over HTTP, catalog {str(lock.body.get('catalog_id', ''))[:19]}", candidates=tuple(places),
        limits=Limits(
            max_total=total, max_hourly=hourly, currency=currency, start_from=start_from, start_by=start_by,
            end_by=end_by,
        ),
        # Where a cloud keeps no deadline of its own, the watch of the service ends the run.
        options=Options(
            owner=who.name, reservation_id=lock.reservation_id, ssh_cidrs=tuple(body.ssh_cidr),
            key_name=body.key_name, accept_no_deadline=True,
        ),
        lease_s=units.parse_duration_s(body.lease or _LEASE, "lease") if body.lease or not lock.lease_s
        else lock.lease_s,
    )  # fmt: skip
    if spec.lease_s > money.LONGEST.total_seconds():
        raise QueryError(f"lease: at most {money.LONGEST.days} days. Extend it, or take a longer budget.")
    check_startable(spec)
    return spec


def _without_statements(lock: Mapping[str, Any]) -> Mapping[str, Any]:
    """The lock without what its author states about the organisation, and with packs that are no files."""
    request = lock.get("request")
    rules = cast(dict[str, Any], request).get("rules") if isinstance(request, dict) else None
    if not isinstance(rules, dict):
        raise QueryError("lock: request.rules must be an object. Make it again with 'cloudaccel plan'.")
    given = cast(dict[str, Any], rules)
    packs: Any = given.get("packs") or []
    if not isinstance(packs, list) or not all(isinstance(name, str) for name in cast(list[Any], packs)):
        raise QueryError("lock: request.rules.packs must be a list of names.")
    known_packs(cast(list[str], packs))
    bare: dict[str, Any] = {
        **given,
        "stated": [],
    }  # its file of statements does not count either: `gate_of_lock` leaves it out
    return {**lock, "request": {**cast(dict[str, Any], request), "rules": bare}}
