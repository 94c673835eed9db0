"""Figures of the state store, read when somebody asks: runs and what they cost, jobs of all processes, messages."""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import DBAPIError

from cloudaccel.errors import StorageError
from cloudaccel.jobs.alerts import Alerts
from cloudaccel.jobs.leases import JobState, Leases
from cloudaccel.provision import lease
from cloudaccel.provision.clock import Clock, SystemClock
from cloudaccel.provision.values import Run

_LOG = logging.getLogger("cloudaccel.service")
Spent = Callable[[], Iterable[tuple[Run, Decimal | None, bool]]]
# Name of a figure, what it is, and where it is found in a job; a time before the first run is absent, never 0.
_TIMES: tuple[tuple[str, str, Callable[[JobState], datetime | None]], ...] = (
    ("cloudaccel_job_started_timestamp_seconds", "When the job was last begun", lambda job: job.started_at),
    ("cloudaccel_job_succeeded_timestamp_seconds", "When the job last ended well", lambda job: job.ok_at),
    ("cloudaccel_job_next_timestamp_seconds", "When the job is due next", lambda job: job.next_at),
)


class Stored(Collector):
    """`spent` None: nothing is started here, and no runs are told. A store that does not answer is told as that."""

    def __init__(self, engine: sa.Engine, spent: Spent | None = None, clock: Clock | None = None) -> None:
        self._leases = Leases(engine)
        self._alerts = Alerts(engine)
        self._spent = spent
        self._clock = clock or SystemClock()

    def collect(self) -> Iterator[Metric]:
        """The figures of the store as it is now."""
        found: list[Metric] = []
        try:
            found += _jobs(self._leases.jobs())
            found.append(_messages(self._alerts.counts()))
            found += [] if self._spent is None else _runs(self._spent(), self._clock.now())
        except (StorageError, DBAPIError) as error:
            _LOG.warning("the state store does not answer, so that its figures are missing: %s", error)
            found = []
        yield GaugeMetricFamily("cloudaccel_state_store_up", "Whether the state store answers", value=bool(found))
        yield from found


def _jobs(jobs: Iterable[JobState]) -> Iterator[Metric]:
    known = list(jobs)
    for name, text, at in _TIMES:
        family = GaugeMetricFamily(name, text, labels=["job"])
        for job in known:
            if (moment := at(job)) is not None:
                family.add_metric([job.job], moment.timestamp())
        yield family
    failed = GaugeMetricFamily("cloudaccel_job_failed", "Whether its last run that ended has failed", labels=["job"])
    held = GaugeMetricFamily("cloudaccel_job_held", "Whether a living process is at the job", labels=["job"])
    claims = CounterMetricFamily("cloudaccel_job_claims", "How often a process has taken the job", labels=["job"])
    for job in known:
        if job.error is not None or job.ok_at is not None:  # else it has never ended
            failed.add_metric([job.job], job.error is not None)
        held.add_metric([job.job], job.owner is not None)
        claims.add_metric([job.job], job.token)
    yield from (failed, held, claims)


def _messages(counts: Iterable[tuple[str, int]]) -> Metric:
    family = GaugeMetricFamily(
        "cloudaccel_messages", "Messages of alerts; a dead one is not tried again by itself", labels=["state"]
    )
    for name, number in counts:
        family.add_metric([name], number)
    return family


def _runs(spent: Iterable[tuple[Run, Decimal | None, bool]], now: datetime) -> Iterator[Metric]:
    """A run whose price is unknown is counted apart, never as 0."""
    states: dict[str, int] = {}
    sums: dict[tuple[str, str], Decimal] = {}
    unknown = may_bill = overdue = 0
    for run, total, lives in spent:
        states[run.state] = states.get(run.state, 0) + 1
        may_bill += lives
        overdue += bool(lease.due([run], now))
        unknown += total is None
        if total is not None:
            key = (run.project or "none", run.currency or run.spec.limits.currency)
            sums[key] = sums.get(key, Decimal(0)) + total
    runs = GaugeMetricFamily("cloudaccel_runs", "Runs in the journal", labels=["state"])
    for name, number in states.items():
        runs.add_metric([name], number)
    money = GaugeMetricFamily(
        "cloudaccel_spent", "Cost of machines until now, list prices without tax", labels=["project", "currency"]
    )
    for (project, currency), total in sums.items():
        money.add_metric([project, currency], float(total))
    yield runs
    yield money
    yield GaugeMetricFamily("cloudaccel_runs_unpriced", "Runs whose cost is not known", value=unknown)
    yield GaugeMetricFamily("cloudaccel_runs_that_may_bill", "Runs with something not proved gone", value=may_bill)
    yield GaugeMetricFamily("cloudaccel_runs_past_lease", "Runs that should have ended and run on", value=overdue)
