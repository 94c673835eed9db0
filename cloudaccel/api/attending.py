"""What a service does by itself: prices are refreshed, runs watched, leftovers looked for, alerts sent."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudaccel import registry
from cloudaccel.api import alerting
from cloudaccel.api.pulling import pull_catalog
from cloudaccel.api.renewing import renew_prices
from cloudaccel.client import Client
from cloudaccel.errors import CloudAccelError, ProviderUnavailable
from cloudaccel.jobs import parse_schedule
from cloudaccel.jobs.runner import Job, run_jobs
from cloudaccel.protocols import Provider

if TYPE_CHECKING:
    from cloudaccel.jobs.alerts import Alerts

_LOG = logging.getLogger("cloudaccel.jobs")
_ALERTS_EVERY = "1m"
_PULL_EVERY_S = 60.0
_PULL_TIMEOUT_S = 60.0
_REAP_EVERY = "1h"
Still = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """What to do by itself.

    Attributes
    ----------
    refresh
        Schedule of reading the sellers' price lists; None: never.
    watch
        How often runs are looked at; with it, leftovers are looked for every hour. None: never.
    reap
        Whether leftovers are also ended, once the deadline in their tag is over.
    alerts
        Whether price alerts are asked and messages sent, every minute.
    private
        Whether messages may go to addresses of private networks.
    source
        Address of a service whose catalog is taken whenever it changes, asked every minute; None: none. This is done by
        each process for itself, since each has a file of its own.
    """

    refresh: str | None = None
    watch: str | None = None
    reap: bool = False
    alerts: bool = False
    private: bool = False
    source: str | None = None

    @property
    def shared(self) -> bool:
        """Whether there is anything that the processes on a state store share."""
        return bool(self.refresh or self.watch or self.alerts)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return self.shared or self.source is not None


def attend(tasks: Tasks, *, catalog: str | None = None, stop: threading.Event) -> None:
    """Do `tasks` until `stop` is set, as one of any number of processes on the same state store.

    Raises
    ------
    QueryError
        If a schedule cannot be read.
    ConfigError, StorageError
        If a package is missing, or the state store cannot be opened.
    """
    puller = threading.Thread(target=_pull, args=(tasks.source, stop)) if tasks.source else None
    try:
        if puller is not None:
            puller.start()
        if tasks.shared:
            _attend_together(tasks, catalog, stop)
        while puller is not None and puller.is_alive():
            puller.join(1.0)
    finally:
        stop.set()


def _attend_together(tasks: Tasks, catalog: str | None, stop: threading.Event) -> None:
    from cloudaccel import state  # SQLAlchemy, for who keeps jobs
    from cloudaccel.jobs.alerts import Alerts
    from cloudaccel.jobs.leases import Leases

    with state.opened() as engine:
        run_jobs(Leases(engine), jobs_of(tasks, Alerts(engine), engine, catalog), stop, told=_told)


def source_of(address: str) -> Client:
    """The service whose catalog is taken; its token, if it wants one, is in ``CLOUDACCEL_SERVICE_TOKEN``.

    Raises
    ------
    ConfigError
        If the address cannot be used.
    """
    return Client(address, token=os.environ.get("CLOUDACCEL_SERVICE_TOKEN"), timeout_s=_PULL_TIMEOUT_S)


def _pull(address: str, stop: threading.Event) -> None:
    with source_of(address) as service:
        while not stop.is_set():
            try:
                found = pull_catalog(service)
            except CloudAccelError as error:
                _told("pull", error)
            else:
                if found is not None:
                    _LOG.info("pull: catalog %s", found[:19])
            stop.wait(_PULL_EVERY_S)


def jobs_of(tasks: Tasks, alerts: "Alerts", engine: Any, catalog: str | None) -> Sequence[Job]:
    """The jobs that `tasks` ask for. Raises `QueryError` for a schedule that cannot be read."""
    jobs: list[Job] = []
    if tasks.refresh:
        jobs.append(
            Job(name="refresh", schedule=parse_schedule(tasks.refresh), work=lambda still: _refresh(alerts, still))
        )
    if tasks.watch:
        watch, reap = _run_jobs_of(engine, alerts, tasks.watch, ends=tasks.reap)
        jobs.append(Job(name="watch", schedule=parse_schedule(tasks.watch), work=watch))
        jobs.append(Job(name="reap", schedule=parse_schedule(_REAP_EVERY), work=reap))
    if tasks.alerts:
        send = alerting.sender(private=tasks.private)

        def speak(still: Still) -> None:
            alerting.tell_prices(alerts, catalog)
            alerts.deliver(send, still)

        jobs.append(Job(name="alerts", schedule=parse_schedule(_ALERTS_EVERY), work=speak))
    return jobs


def _refresh(alerts: "Alerts", still: Still) -> None:
    done = renew_prices(still=still)
    for one in done.providers:
        _LOG.info("refresh %s: %s, %d offers", one.provider, one.status, one.offers)
        if one.status in ("failed", "refused"):
            _LOG.warning("refresh %s: %s", one.provider, " ".join(one.messages))
            text = f"The prices of {one.provider} were not refreshed ({one.status}): {' '.join(one.messages)}"
            day = datetime.now(UTC).date().isoformat()
            alerting.tell(alerts, "refresh", f"{one.provider} {one.status} {day}", text, {"provider": one.provider})
    tried = [one for one in done.providers if one.status != "skipped"]
    if tried and all(one.status in ("failed", "refused") for one in tried):
        raise ProviderUnavailable(f"none of {len(tried)} price lists could be taken; the old prices stay.")


def _run_jobs_of(
    engine: Any, alerts: "Alerts", every: str, *, ends: bool
) -> tuple[Callable[[Still], None], Callable[[Still], None]]:
    from cloudaccel.api.reaping import reap_once  # the journal, for who watches over runs
    from cloudaccel.provision.clock import SystemClock
    from cloudaccel.provision.journal import Journal
    from cloudaccel.provision.reap import Reaper
    from cloudaccel.provision.watching import Watcher

    providers: dict[str, Provider] = {}

    def load(name: str) -> Provider:
        if name not in providers:
            providers[name] = registry.load(name)
        return providers[name]

    clock = SystemClock()
    journal = Journal(engine, clock)
    next_look_s = parse_schedule(every).interval_s or 3600.0
    watcher = Watcher(journal, load, clock, next_look_s=next_look_s)

    def watch(_still: Still) -> None:
        # A run is claimed before anything is decided about it, so that two looks at once do no harm.
        for notice in watcher.look().notices:
            _LOG.warning("run %s: %s", notice.run, notice.text)
            facts = {"run": notice.run, "news": notice.kind, "may_bill": list(notice.may_bill)}
            alerting.tell(alerts, "runs", notice.key, f"Run {notice.run}: {notice.text}", facts)

    def reap(still: Still) -> None:
        reap_once(Reaper(journal, load, clock), alerts, engine, clock, still, ends=ends)

    return watch, reap


def _told(job: str, error: CloudAccelError | None) -> None:
    if error is None:
        _LOG.info("%s: done", job)
    else:
        _LOG.error("%s: %s", job, error)
