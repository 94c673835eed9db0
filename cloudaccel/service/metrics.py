"""Figures for Prometheus: requests and how long they took, and how old each seller's prices are."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

TEXT = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"})
Dates = Callable[[], dict[str, tuple[int, str | None, str | None]]]


class Figures:
    """The figures of one service. Routes are named by their pattern, so that nobody can make up new series.

    Where ``PROMETHEUS_MULTIPROC_DIR`` is set, requests are counted over all processes that share that folder.
    """

    def __init__(self) -> None:
        self.registry = self._shown = CollectorRegistry()
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            self._shown = CollectorRegistry()
            MultiProcessCollector(self._shown)
        self._requests = Counter(
            "cloudaccel_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "cloudaccel_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=self.registry
        )

    def request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count one request."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(took_s)

    def watch(self, dates: Dates, quarantined: Callable[[], int]) -> None:
        """Also tell the age of each seller's prices and the rows in quarantine, read when somebody asks."""
        self._shown.register(_Catalog(dates, quarantined))

    def watch_store(self, stored: Collector) -> None:
        """Also tell what the state store has; see `cloudaccel.service.stored`."""
        self._shown.register(stored)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._shown)


class _Catalog:
    """Days since the oldest price of each seller; one without a date, or with one after today, has no figure."""

    def __init__(self, dates: Dates, quarantined: Callable[[], int]) -> None:
        self._dates = dates
        self._quarantined = quarantined

    def collect(self) -> Iterator[Metric]:
        """The figures of the catalog that answers now."""
        today = datetime.now(UTC).date()
        age = GaugeMetricFamily("cloudaccel_price_age_days", "Days since the oldest price", labels=["provider"])
        rows = GaugeMetricFamily("cloudaccel_price_rows", "Rows in the catalog", labels=["provider"])
        for provider, (number, first, _) in self._dates().items():
            rows.add_metric([provider], number)
            if first is not None and (days := (today - date.fromisoformat(first[:10])).days) >= 0:
                age.add_metric([provider], days)
        yield age
        yield rows
        yield GaugeMetricFamily(
            "cloudaccel_quarantined_rows", "Prices held back as implausible", value=self._quarantined()
        )
