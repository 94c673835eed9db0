"""Properties of every plan, over small random catalogs of several sellers, markets and terms."""

import json
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloudaccel.catalog.rows import Row
from cloudaccel.decide.check_lock import check
from cloudaccel.model import Query
from cloudaccel.model.plan import Plan
from cloudaccel.planner.lock import lock_text
from tests.unit.planner.test_plan import SPEED, planned, row

MARKETS = (("on_demand", ""), ("spot", ""), ("reserved", "1y"), ("reserved", "1m"), ("capacity_block", "1d"))
ANY = Query(markets=tuple((market, term or None) for market, term in MARKETS))

offered = st.tuples(
    st.sampled_from(sorted(SPEED)), st.integers(1, 500), st.sampled_from(MARKETS), st.sampled_from(["acme", "bolt"])
)
catalogs = st.lists(offered, min_size=1, max_size=14)
limits = st.fixed_dictionaries({
    "deadline_s": st.none() | st.integers(2, 60).map(lambda hours: hours * 3600.0),
    "budget": st.none() | st.integers(50, 50_000).map(Decimal),
    "disk_gb": st.none() | st.integers(1, 5000).map(float),
    "data_gb": st.none() | st.integers(1, 20_000).map(float),
    "data_place": st.sampled_from(["acme:r1", "bolt", "elsewhere"]),
    "rank_by": st.sampled_from(["cost", "time"]),
})  # fmt: skip


def rows_of(catalog: Sequence[tuple[str, int, tuple[str, str], str]]) -> list[Row]:
    return [
        row(f"i{n}", accelerator, 8, str(Decimal(price) / 8), market=market, term=term, provider=who, partition=who)
        for n, (accelerator, price, (market, term), who) in enumerate(catalog)
    ]


def plan_of(catalog: Sequence[Any], given: dict[str, Any]) -> Plan:
    return planned(rows_of(catalog), query=ANY, setup_h=Decimal("0.5"), **given)


@given(catalogs, limits)
def test_a_total_is_the_sum_of_its_lines_and_each_line_a_product(catalog: Sequence[Any], given: dict[str, Any]) -> None:
    found = plan_of(catalog, given)
    for option in (*found.options, *found.near, *found.considered):
        amounts = [line.quantity * line.unit_price for line in option.lines if line.unit_price is not None]
        assert amounts == [line.amount for line in option.lines]
        assert option.total == sum(amounts, Decimal(0))


@given(catalogs, limits, offered)
def test_one_more_offer_never_makes_the_best_dearer(catalog: Sequence[Any], given: dict[str, Any], more: Any) -> None:
    given = {**given, "rank_by": "cost"}
    before, after = plan_of(catalog, given).best, plan_of([*catalog, more], given).best
    if before is not None:
        assert after is not None
        assert (after.total or 0) <= (before.total or 0)


@given(catalogs, limits, st.integers(2, 60), st.integers(2, 60))
def test_a_shorter_deadline_is_never_cheaper(
    catalog: Sequence[Any], given: dict[str, Any], one: int, other: int
) -> None:
    given = {**given, "rank_by": "cost"}
    short, long = (plan_of(catalog, {**given, "deadline_s": hours * 3600.0}).best for hours in sorted((one, other)))
    if short is not None:
        assert long is not None
        assert (long.total or 0) <= (short.total or 0)


def test_many_prices_of_a_commitment_hide_no_price_without_one() -> None:
    """The user would have believed that a day costs a year: eight cheaper hours of a term filled the list."""
    term = [("nvidia-h100-sxm-80gb", 8 + n, ("reserved", "1y"), "acme") for n in range(9)]
    best = plan_of([*term, ("nvidia-h100-sxm-80gb", 100, ("on_demand", ""), "acme")], {}).best
    assert best is not None
    assert best.offer.market == "on_demand"


def test_many_prices_elsewhere_hide_no_price_beside_the_data() -> None:
    """The user would have believed that the data has to be moved: eight cheaper sellers elsewhere filled the list."""
    away = [("nvidia-h100-sxm-80gb", 80 + n, ("on_demand", ""), "bolt") for n in range(9)]
    given = {"data_gb": 10_000.0, "data_place": "acme:r1"}
    best = plan_of([*away, ("nvidia-h100-sxm-80gb", 100, ("on_demand", ""), "acme")], given).best
    assert best is not None
    assert best.offer.provider == "acme"


@given(catalogs, limits, st.randoms(use_true_random=False))
def test_a_lock_is_the_same_bytes_whatever_the_order_of_the_rows(
    catalog: Sequence[Any], given: dict[str, Any], order: random.Random
) -> None:
    rows = rows_of(catalog)
    text = lock_text(planned(rows, query=ANY, **given))
    assert lock_text(planned(rows, query=ANY, **given)) == text
    order.shuffle(rows)
    assert lock_text(planned(rows, query=ANY, **given)) == text


@given(catalogs, limits)
def test_a_lock_is_proved_again_without_the_catalog(catalog: Sequence[Any], given: dict[str, Any]) -> None:
    lock = json.loads(lock_text(plan_of(catalog, given)))
    lock["request"] = {"job": {"task": "finetune"}}
    found = check(lock)
    assert found.wrong == []
    assert found.proved
