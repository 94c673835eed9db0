"""What a run may cost: the limits, checked before every place, and what it has cost."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

from cloudaccel.errors import LimitExceeded
from cloudaccel.facts import places
from cloudaccel.provision.values import Candidate, Limits

LONGEST = timedelta(days=30)
_HOUR_S = 3600


def hours(seconds: float) -> Decimal:
    """Seconds as exact hours."""
    return Decimal(str(seconds)) / _HOUR_S


def check_limits(candidate: Candidate, limits: Limits, lease_s: float) -> None:
    """Refuse a place that is too dear, in a currency that the limits are not in, or not allowed.

    Raises
    ------
    LimitExceeded
        With the figures. An unknown price exceeds every limit, unless `Limits.allow_unpriced`.
    """
    where = f"{candidate.provider} {candidate.region} {candidate.what}"
    allowed = limits.regions
    if allowed is not None and candidate.region not in allowed and not _zone_among(candidate, allowed):
        raise LimitExceeded(f"{where}: region {candidate.region} is not among the allowed: {', '.join(allowed)}.")
    hourly = candidate.request_price_per_hour
    if hourly is None:
        if limits.allow_unpriced:
            return
        raise LimitExceeded(
            f"{where}: its price is unknown, which no limit allows. Add --allow-unpriced to accept that."
        )
    limited = limits.max_hourly is not None or limits.max_total is not None
    if limited and candidate.currency != limits.currency:
        raise LimitExceeded(
            f"{where}: the price is in {candidate.currency}, the limit in {limits.currency}; none is converted."
        )
    _check(where, "an hour", hourly, limits.max_hourly, "--max-hourly", candidate.currency)
    _check(where, "for the lease", hourly * hours(lease_s), limits.max_total, "--max-total", candidate.currency)


def _zone_among(candidate: Candidate, allowed: Sequence[str]) -> bool:
    """Whether the zone that the candidate is bound to is one of `allowed`, by any name of it."""
    if candidate.zone is None:
        return False
    listed = places.zone(candidate.provider, candidate.zone)
    names = {name.casefold() for name in (candidate.zone, *(listed.names if listed else ()))}
    return any(word.casefold() in names for word in allowed)


def check_window(limits: Limits, now: datetime) -> None:
    """Refuse a run in held capacity outside its window. Raises `LimitExceeded`."""
    if limits.start_from is not None and now < datetime.fromisoformat(limits.start_from):
        begins = datetime.fromisoformat(limits.start_from)
        raise LimitExceeded(
            f"the reservation begins {begins:%Y-%m-%d %H:%MZ}: before that nothing is held. Start then."
        )
    if limits.start_by is not None and now > datetime.fromisoformat(limits.start_by):
        latest, ends = datetime.fromisoformat(limits.start_by), datetime.fromisoformat(limits.end_by or limits.start_by)
        raise LimitExceeded(
            f"the plan's high estimate does not end within the reservation any more: its machines are gone by "
            f"{ends:%Y-%m-%d %H:%MZ}, so the latest start was {latest:%Y-%m-%d %H:%MZ}. Plan again for what is left."
        )


def _check(where: str, per: str, cost: Decimal, limit: Decimal | None, flag: str, currency: str) -> None:
    if limit is not None and cost > limit:
        raise LimitExceeded(
            f"{where}: {amount(cost)} {currency} {per} is over {flag} {amount(limit)} (+{amount(cost - limit)})."
        )


def deadline(candidate: Candidate, limits: Limits, lease_s: float, now: datetime) -> datetime:
    """When the machines end themselves: with the lease, or later as far as `max_total` pays for it. Whole seconds.

    Never after `Limits.end_by`.
    """
    seconds = Decimal(str(lease_s))
    hourly = candidate.request_price_per_hour
    if limits.max_total is not None and hourly:
        seconds = max(seconds, (limits.max_total / hourly * _HOUR_S).to_integral_value(ROUND_FLOOR))
    span = min(timedelta(seconds=int(seconds)), max(LONGEST, timedelta(seconds=int(lease_s))))
    if limits.end_by is not None:
        span = min(span, max(datetime.fromisoformat(limits.end_by) - now, timedelta(minutes=1)))
    return (now + span).replace(microsecond=0)


def most_per_machine(candidate: Candidate, limits: Limits) -> str | None:
    """What one spot machine may come to cost per hour, in USD as text; None: no such limit, or not in USD."""
    if candidate.market != "spot" or limits.max_hourly is None or limits.currency != "USD":
        return None
    return str(limits.max_hourly / candidate.nodes)


def worst_case(candidate: Candidate, until: datetime, now: datetime) -> Decimal | None:
    """Cost of all machines from `now` to `until`; None when the price is unknown. Disks and traffic are not in it."""
    hourly = candidate.request_price_per_hour
    return None if hourly is None else hourly * hours((until - now).total_seconds())


def amount(value: Decimal | None) -> str:
    """Money for people: two decimals, or four below one cent's reach; a dash when unknown."""
    if value is None:
        return "—"
    places = "0.01" if value == 0 or abs(value) >= 1 else "0.0001"
    return f"{value.quantize(Decimal(places)):,}"
