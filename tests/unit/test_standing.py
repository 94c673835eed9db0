"""Limits over all runs: what counts, in which month, and what is never under a limit."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudaccel.errors import LimitExceeded
from cloudaccel.provision.values import Candidate, Limits, Options, Spec

pytest.importorskip("sqlalchemy")

from cloudaccel.provision.standing import Guard, Standing, month_of

if TYPE_CHECKING:
    from cloudaccel.provision.journal import Journal

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
PLACE = Candidate(
    provider="aws", partition="aws", region="us-east-1", zone=None, instance="g5.xlarge", accelerator_id=None,
    accelerator_count=None, nodes=2, market="on_demand", price_per_hour=Decimal(1), currency="USD", price_as_of=None,
    offer_id="", catalog_id="",
)  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> "Iterator[Journal]":
    from cloudaccel import state
    from cloudaccel.provision.journal import Journal
    from cloudaccel.testing.crashes import VirtualClock

    clock = VirtualClock()
    clock.sleep((NOW - clock.now()).total_seconds())
    with state.opened(f"sqlite:///{tmp_path / 'state.db'}") as engine:
        yield Journal(engine, clock)


def spec(place: Candidate = PLACE, *, owner: str = "ann", lease_h: float = 4) -> Spec:
    return Spec(
        asked="x", candidates=(place,), limits=Limits(), options=Options(owner=owner), lease_s=lease_h * 3600
    )  # fmt: skip


def check(journal: "Journal", asked: Spec, standing: Standing, own: str | None = None) -> None:
    Guard(standing, journal, NOW, own).check(asked, asked.candidates[0])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (replace(PLACE, price_per_hour=None), "is unknown, which no standing limit allows"),
        (replace(PLACE, currency="EUR"), "and the limits are in USD; none is converted"),
    ],
)
def test_u93_what_cannot_be_compared_is_over_every_limit(journal: "Journal", place: Candidate, words: str) -> None:
    """An unknown price counted as nothing is the dearest of all."""
    for name in ("max_hourly", "max_hourly_user", "max_monthly"):
        with pytest.raises(LimitExceeded, match=words):
            check(journal, spec(place), replace(Standing(), **{name: Decimal(1_000_000)}))


def test_u93_equality_is_allowed_and_a_cent_more_is_not(journal: "Journal") -> None:
    """A limit that refuses its own figure is another limit."""
    check(journal, spec(), Standing(max_hourly=Decimal(2), max_hourly_user=Decimal(2), max_monthly=Decimal(8)))
    for name, limit in (("max_hourly", "1.99"), ("max_hourly_user", "1.99"), ("max_monthly", "7.99")):
        with pytest.raises(LimitExceeded, match=rf"over {name} {limit} "):
            check(journal, spec(), replace(Standing(), **{name: Decimal(limit)}))


def test_u93_of_two_that_begin_at_once_one_is_let_in(journal: "Journal") -> None:
    """Two that each see the other as not there go over the limit together."""
    for _ in range(2):
        journal.open_run(spec())
    first, second = journal.runs()
    check(journal, first.spec, Standing(max_hourly_user=Decimal(2)), first.id)
    with pytest.raises(LimitExceeded, match=r"2\.00 without this request"):
        check(journal, second.spec, Standing(max_hourly_user=Decimal(2)), second.id)
    journal.let_go(first)  # its process went away before it made anything
    check(journal, second.spec, Standing(max_hourly_user=Decimal(2)), second.id)


def test_u93_a_lease_over_the_end_of_the_month_is_shared(journal: "Journal") -> None:
    """What is paid in December is no money of November."""
    check(journal, spec(lease_h=24 * 30), Standing(max_monthly=Decimal(2 * 84)))  # the 27th at noon: 84 hours are left
    with pytest.raises(LimitExceeded, match="all runs of November 2026"):
        check(journal, spec(lease_h=24 * 30), Standing(max_monthly=Decimal(2 * 84 - 1)))


def test_a_month_ends_where_the_next_begins() -> None:
    start, end = month_of(datetime(2026, 12, 31, 23, 59, tzinfo=UTC) + timedelta(seconds=59))
    assert (start, end) == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
