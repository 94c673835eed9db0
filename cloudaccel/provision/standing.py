"""Limits that stand for an installation, over all its runs: of one request, of one user, and of a calendar month.

They guard against mistakes, not against a user who may change the settings or the journal.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from cloudaccel import settings, units
from cloudaccel.errors import ConfigError, LimitExceeded
from cloudaccel.provision import identity, money
from cloudaccel.provision.cost import cost
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.values import ENDED, Candidate, Run, Spec

NAMES = ("max_hourly", "max_hourly_spot", "max_hourly_user", "max_monthly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The limits, None where there is none; equality is allowed.

    Attributes
    ----------
    max_hourly, max_hourly_spot
        Per hour of one request, all machines; for spot the second, where it is set.
    max_hourly_user
        Per hour of everything that one user has running.
    max_monthly
        Of all runs in a calendar month (UTC): spent, promised to the ends of leases, and asked for now.
    currency
        Of all four; a price in another is never under them.
    """

    max_hourly: Decimal | None = None
    max_hourly_spot: Decimal | None = None
    max_hourly_user: Decimal | None = None
    max_monthly: Decimal | None = None
    currency: str = "USD"

    @property
    def is_set(self) -> bool:
        """Whether there is any limit."""
        return any(getattr(self, name) is not None for name in NAMES)


def of_settings() -> Standing:
    """The limits of the settings. Raises `ConfigError` when they are in several currencies."""
    values = settings.load_settings()
    said = {name: units.parse_money(values[name], name) for name in NAMES if values[name]}
    found: dict[str, Decimal] = {name: value for name, (value, _) in said.items()}
    currencies: list[str] = sorted({currency or "USD" for _, currency in said.values()})
    if len(currencies) > 1:
        raise ConfigError(f"{', '.join(found)} are in {' and '.join(currencies)}; none is converted. Use one.")
    return Standing(**found, currency="".join(currencies) or "USD")


class Guard:
    """Checks places against `standing` by what the journal has at `now`; `own`: the id of the run that asks."""

    def __init__(self, standing: Standing, journal: Journal, now: datetime, own: str | None = None) -> None:
        self._standing = standing
        self._journal = journal
        self._now = now
        self._own = own

    def check(self, spec: Spec, candidate: Candidate) -> None:
        """Refuse a place that would take the installation over a limit.

        Raises
        ------
        LimitExceeded
            With the figures. An unknown price, of the place or of a run that counts, exceeds every limit.
        """
        limits = self._standing
        if not limits.is_set:
            return
        hourly = self._priced(candidate.request_price_per_hour, candidate.currency, f"{candidate.what} costs")
        spot = candidate.market == "spot" and limits.max_hourly_spot is not None
        self._hold("max_hourly_spot" if spot else "max_hourly", Decimal(0), hourly, f"{candidate.what} an hour")
        others = self._others()
        if limits.max_hourly_user is not None:
            user = spec.options.owner
            mine = [run for run in others if run.owner == user and run.state not in ENDED]
            running = sum((self._hourly(run) for run in mine), Decimal(0))
            self._hold("max_hourly_user", running, hourly, f"all that {user or 'this user'} runs an hour")
        if limits.max_monthly is not None:
            _, end = month_of(self._now)
            used = sum((self._this_month(run) for run in others), Decimal(0))
            used += Decimal(0) if self._own is None else self._spent(self._journal.run(self._own))
            asked = hourly * money.hours(min(spec.lease_s, (end - self._now).total_seconds()))
            self._hold("max_monthly", used, asked, f"all runs of {self._now:%B %Y} to the ends of their leases")

    def _hold(self, name: str, there: Decimal, asked: Decimal, what: str) -> None:
        limit: Decimal | None = getattr(self._standing, name)
        if limit is None or there + asked <= limit:
            return
        parts = f" ({money.amount(there)} without this request)" if there else ""
        raise LimitExceeded(
            f"{what}: {money.amount(there + asked)} {self._standing.currency}{parts} is over {name} "
            f"{money.amount(limit)} (+{money.amount(there + asked - limit)}). End runs, ask for less, or have the "
            "setting raised."
        )

    def _others(self) -> list[Run]:
        """Runs that count: of two that begin at once, the older counts for the younger."""
        runs = self._journal.runs()
        own = next((n for n, run in enumerate(runs) if run.id == self._own), len(runs))
        return [run for n, run in enumerate(runs) if run.id != self._own and self._counts(run, n < own)]

    def _counts(self, run: Run, older: bool) -> bool:
        if self._journal.operations(run.id):
            return True
        return older and run.state not in ENDED and self._is_held(run)

    def _is_held(self, run: Run) -> bool:
        """Whether a living process is at it, this one included; what nobody holds made nothing yet."""
        if run.holder is None or run.held_until is None:
            return False
        return run.held_until > self._now and not identity.holder_is_dead(run.holder)

    def _hourly(self, run: Run) -> Decimal:
        """Of all its machines; before a place is chosen, that of the dearest that these limits let it take."""
        if run.price_per_hour is None and run.provider is None:
            places = run.spec.candidates
            known = [c.request_price_per_hour for c in places if c.currency == self._standing.currency]
            prices = [price for price in known if price is not None]
            if prices:
                return max(prices)
            return self._priced(places[0].request_price_per_hour, places[0].currency, f"run {run.id} costs")
        return self._priced(run.request_price_per_hour, run.currency or "", f"run {run.id} costs")

    def _this_month(self, run: Run) -> Decimal:
        """Spent and, until its lease ends, promised."""
        spent = self._spent(run)
        if run.state in ENDED:
            return spent
        _, end = month_of(self._now)
        if run.lease_until is None:  # it begins just now
            promised = min(run.spec.lease_s, (end - self._now).total_seconds())
        else:
            promised = max((min(run.lease_until, end) - self._now).total_seconds(), 0.0)
        return spent + self._hourly(run) * money.hours(promised)

    def _spent(self, run: Run) -> Decimal:
        """For all machines that it ever had, in this month."""
        start, _ = month_of(self._now)
        spent = Decimal(0)
        for line in cost(self._journal, run, self._now).lines:
            until, began = min(line.ended_at or self._now, self._now), max(line.began_at, start)
            if until > began:
                price = self._priced(line.price_per_hour, run.currency or self._standing.currency, f"run {run.id} cost")
                spent += price * money.hours((until - began).total_seconds())
        return spent

    def _priced(self, price: Decimal | None, currency: str, what: str) -> Decimal:
        limits = self._standing
        if price is None:
            raise LimitExceeded(
                f"what {what} is unknown, which no standing limit allows. Have the limit lifted for it."
            )
        if currency != limits.currency:
            raise LimitExceeded(f"{what} {currency}, and the limits are in {limits.currency}; none is converted.")
        return price


def month_of(now: datetime) -> tuple[datetime, datetime]:
    """The calendar month in UTC that `now` is in: its first moment, and that of the next."""
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return start, start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
