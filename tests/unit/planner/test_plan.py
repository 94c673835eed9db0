"""The planner on small catalogs with a sizing that can be worked out in the head."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudaccel.catalog.load import build_rows_in_memory
from cloudaccel.catalog.rows import OFFER_COLUMNS, Row
from cloudaccel.catalog.session import accelerator_table
from cloudaccel.decide.check_lock import check
from cloudaccel.model import Accelerator, Offer, Query, Source
from cloudaccel.model.plan import Judgement, Plan
from cloudaccel.model.workload import Fit, Machine, ModelShape, Reason, Workload
from cloudaccel.planner.lock import lock, lock_text
from cloudaccel.planner.plan import make_plan
from cloudaccel.planner.request import NODE_STEPS, Context, Judge, Request

SPEED = {"nvidia-h100-sxm-80gb": 10.0, "nvidia-a100-sxm-80gb": 4.0}  # jobs per thousand accelerator-hours
REGIONS = {"DE": "eu-central-1", "US": "us-east-1"}
MODEL = ModelShape(
    id="toy", family="toy", architecture="", params=1e9, params_active=1e9, layers=1, hidden=1, heads=1, kv_heads=1,
    head_dim=1, ffn=1, vocab=1, context=1,
)  # fmt: skip


def row(instance: str, accelerator: str, count: int, price: str, **more: str) -> Row:
    return {
        **dict.fromkeys(OFFER_COLUMNS, ""), "provider": "acme", "partition": "acme", "region": "r1", "service": "vm",
        "instance": instance, "accelerator_id": accelerator, "accelerator_name": accelerator, "count": str(count),
        "sold_per": "instance", "hosts": "1", "market": "on_demand", "price_per_hour": price, "currency": "USD",
        "status": "exact" if price else "unknown", "availability": "listed", "as_of": "2026-01-01", "source": "t",
        **more,
    }  # fmt: skip


ROWS = [
    row("h8", "nvidia-h100-sxm-80gb", 8, "24"),
    row("a8", "nvidia-a100-sxm-80gb", 8, "8"),
    row("a8", "nvidia-a100-sxm-80gb", 8, "9", region="r2"),
    row("v8", "nvidia-v100-sxm2-16gb", 8, "1"),
    row("h8-new", "nvidia-h100-sxm-80gb", 8, ""),
]


def sizer(accelerator: Accelerator, per_node: int, nodes: int, machine: Machine) -> Fit:
    speed = SPEED.get(accelerator.id)
    if speed is None:
        return Fit(verdict="no", reasons=(Reason("feature", "no bf16"),))
    hours = 1000 / (speed * per_node * nodes)
    return Fit(verdict="fits", hours_low=hours * 0.8, hours_likely=hours, hours_high=hours * 1.2)


def planned(
    rows: Sequence[Row],
    judge: Judge | None = None,
    rank_by: str = "cost",
    query: Query | None = None,
    setup_h: Decimal = Decimal(0),
    **limits: object,
) -> Plan:
    source = Source(id="t", name="t", path="", revision=None, licence="MIT", url=None)
    workload = Workload(task="finetune", method="lora", model="toy", tokens=1e6, **limits)  # pyright: ignore[reportArgumentType]
    request = Request(workload=workload, model=MODEL, query=query or Query(), setup_h=setup_h, rank_by=rank_by)
    with closing(build_rows_in_memory(rows, [source], built_from="test")) as catalog:
        return make_plan(request, Context(catalog.db, accelerator_table(), sizer, judge))


def test_the_cheaper_card_per_hour_can_be_dearer_per_job() -> None:
    plan = planned([row("h8", "nvidia-h100-sxm-80gb", 8, "24"), row("a8", "nvidia-a100-sxm-80gb", 8, "12")])
    assert plan.best is not None
    assert plan.best.offer.instance == "h8"  # 12.5 h x 24 = 300, against 31.25 h x 12 = 375
    assert plan.best.total == Decimal(300)


def test_a_total_is_the_sum_of_its_lines() -> None:
    for option in planned(ROWS, disk_gb=500.0).options:
        assert option.total == sum(line.amount or 0 for line in option.lines)
        (disk,) = option.lines[1:]
        assert disk.name == ("disk" if option.nodes == 1 else f"disks of {option.nodes} machines")
        assert float(disk.amount or 0) == pytest.approx(500 * option.nodes * float(option.hours) / 730 * 0.08, rel=1e-4)


def test_an_unknown_price_is_no_plan() -> None:
    plan = planned(ROWS)
    assert "h8-new" not in {o.offer.instance for o in (*plan.options, *plan.near)}


def test_a_deadline_buys_more_machines() -> None:
    slow, fast = planned(ROWS), planned(ROWS, deadline_s=5 * 3600.0)
    assert slow.best is not None
    assert fast.best is not None
    assert fast.best.hours <= 5 < slow.best.hours
    assert (fast.best.total or 0) >= (slow.best.total or 0)


def test_what_misses_a_limit_is_near_and_says_by_how_much() -> None:
    plan = planned(ROWS, budget=Decimal(100))
    assert plan.best is None
    assert "over budget by" in plan.near[0].blocked[0][1]
    assert [dict(r.change) for r in plan.relaxations] == [{"budget": f"{plan.near[0].total:.2f} USD"}]


def test_rejected_hardware_is_counted_with_its_reason() -> None:
    reasons = {r.reason: r for r in planned(ROWS).rejected}
    assert reasons["feature"].count == 1
    assert "no bf16" in reasons["feature"].examples[0]


@pytest.mark.parametrize("state", ["non_compliant", "unknown"])
def test_what_a_policy_does_not_allow_is_never_chosen(state: str) -> None:
    def judge(offers: Sequence[Offer]) -> list[Judgement]:
        return [Judgement(state if o.region == "r1" else "compliant", ("rule-1",)) for o in offers]

    plan = planned(ROWS, judge)
    assert {o.offer.region for o in plan.options} == {"r2"}
    assert [r.unit for r in plan.rejected if r.reason == "policy"] == ["offer"]


def test_rules_are_asked_once_for_offers_that_they_cannot_tell_apart() -> None:
    asked: list[Offer] = []

    def judge(offers: Sequence[Offer]) -> list[Judgement]:
        asked.extend(offers)
        return [Judgement("non_compliant" if o.accelerator_name == "odd" else "compliant") for o in offers]

    sizes = [row(f"h{n}", "nvidia-h100-sxm-80gb", n, str(n)) for n in (1, 2, 4, 8)]
    odd = row("h16", "nvidia-h100-sxm-80gb", 16, "1", accelerator_name="odd")
    managed = row("h8-m", "nvidia-h100-sxm-80gb", 8, "9", service="serverless")
    plan = planned([*sizes, odd, managed], judge)
    assert len(asked) == 3
    assert plan.best is not None
    assert plan.best.offer.instance != "h16"


def test_what_the_rules_cost_is_a_number_and_what_would_settle_it_is_named() -> None:
    def judge(offers: Sequence[Offer]) -> list[Judgement]:
        return [
            Judgement("unknown", ("r/1",), ("dpa:s",)) if o.region == "r1" else Judgement("compliant") for o in offers
        ]

    free, ruled = planned(ROWS), planned(ROWS, judge)
    assert free.best is not None
    assert ruled.best is not None
    assert free.best.offer.region == "r1"
    assert ruled.without_rules is not None
    assert ruled.without_rules.offer.id == free.best.offer.id
    assert ruled.rules_cost == (ruled.best.total or 0) - (free.best.total or 0)
    assert ruled.if_settled is not None
    assert ruled.if_settled.asks == ("dpa:s",)
    assert free.rules_cost is None
    assert Decimal(lock(ruled)["rules_cost"]["difference"]) == ruled.rules_cost


def test_a_surcharge_of_a_regime_is_a_line_of_its_own_and_counts_in_the_order() -> None:
    def judge(offers: Sequence[Offer]) -> list[Judgement]:
        return [
            Judgement("compliant", surcharges=(("il5", Decimal(5)),)) if o.region == "r1" else Judgement("compliant")
            for o in offers
        ]

    free, ruled = planned(ROWS), planned(ROWS, judge)
    assert free.best is not None
    assert ruled.best is not None
    assert free.best.offer.region == "r1"
    assert ruled.best.offer.region == "r2"
    dear = next(o for o in ruled.options if o.offer.region == "r1")
    assert dear.lines[-1].name == "surcharge for il5"
    assert dear.lines[-1].amount == 5 * (dear.lines[0].amount or 0)
    assert not check({**lock(ruled), "request": {"job": {}}}).wrong


def test_ranking_by_time_puts_the_fastest_first() -> None:
    plan = planned(ROWS, rank_by="time")
    assert plan.best is not None
    assert plan.best.hours == min(o.hours for o in plan.options)


def test_the_lock_is_the_same_bytes_for_the_same_inputs() -> None:
    assert lock_text(planned(ROWS)) == lock_text(planned(list(reversed(ROWS))))
    data = json.loads(lock_text(planned(ROWS)))
    assert data["schema"] == "cloudaccel-lock/1"
    assert data["chosen"]["price"]["source"]["name"] == "t"
    assert Decimal(data["chosen"]["total"]) == sum(Decimal(line["amount"]) for line in data["chosen"]["lines"])


def test_failover_is_the_same_shape_elsewhere() -> None:
    data = lock(planned(ROWS))
    assert [(o["region"], o["instance"], o["nodes"]) for o in data["failover"]] == [
        ("r2", "a8", data["chosen"]["nodes"])
    ]


prices = st.lists(st.tuples(st.sampled_from(sorted(SPEED)), st.integers(1, 500)), min_size=1, max_size=12)


def offers_of(pairs: Sequence[tuple[str, int]]) -> list[Row]:
    return [row(f"i{n}", accelerator, 8, str(price)) for n, (accelerator, price) in enumerate(pairs)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_the_pareto_set_is_what_nothing_beats(points: Sequence[tuple[int, int]]) -> None:
    plan = planned(ROWS)
    assert plan.best is not None
    options = tuple(replace(plan.best, total=Decimal(total), hours=Decimal(hours)) for total, hours in points)
    beaten = {
        (total, hours)
        for total, hours in points
        for t, h in points
        if t <= total and h <= hours and (t, h) != (total, hours)
    }
    front = [(o.total, o.hours) for o in replace(plan, options=options).pareto()]
    assert front == sorted(set(points) - beaten)


@given(prices)
def test_brute_force_finds_the_same_cost(pairs: Sequence[tuple[str, int]]) -> None:
    plan = planned(offers_of(pairs))
    hours = {a: Decimal(str(1000 / (s * 8))) for a, s in SPEED.items()}
    assert plan.best is not None
    assert plan.best.total == min(hours[a] * price for a, price in pairs)


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(SPEED)), st.integers(1, 500), st.sampled_from(["DE", "US"])),
        min_size=1, max_size=8,
    ),
    st.none() | st.integers(1, 60),
    st.none() | st.integers(50, 60_000),
    st.sampled_from([None, frozenset({"DE"})]),
)  # fmt: skip
def test_brute_force_over_machines_and_limits_finds_the_same(
    offered: Sequence[tuple[str, int, str]],
    deadline_h: int | None,
    budget: int | None,
    countries: frozenset[str] | None,
) -> None:
    rows = [
        row(f"i{n}", a, 8, str(price), provider="aws", partition="aws", region=REGIONS[country])
        for n, (a, price, country) in enumerate(offered)
    ]
    best = planned(
        rows,
        query=Query(countries=countries),
        deadline_s=None if deadline_h is None else deadline_h * 3600.0,
        budget=None if budget is None else Decimal(budget),
    ).best
    costs = [
        hours * nodes * price
        for accelerator, price, country in offered
        if countries is None or country in countries
        for nodes in NODE_STEPS
        if (hours := rounded_hours(accelerator, nodes)) <= (deadline_h or hours)
    ]
    within = [cost for cost in costs if budget is None or cost <= budget]
    assert (None if best is None else best.total) == min(within, default=None)


def test_the_time_to_start_counts_before_the_deadline() -> None:
    # One machine takes 12.5 h: in time for 13 h by itself, and not with an hour of start-up, so it takes two.
    plan = planned([row("h8", "nvidia-h100-sxm-80gb", 8, "24")], setup_h=Decimal(1), deadline_s=13 * 3600.0)
    assert plan.best is not None
    assert (plan.best.nodes, plan.best.hours) == (2, Decimal("7.25"))


def rounded_hours(accelerator: str, nodes: int) -> Decimal:
    hours = Decimal(str(1000 / (SPEED[accelerator] * 8 * nodes)))
    return hours.quantize(Decimal("0.0001"), rounding=ROUND_CEILING)


@given(prices, st.integers(50, 5000), st.integers(50, 5000))
def test_a_tighter_budget_is_never_cheaper(pairs: Sequence[tuple[str, int]], one: int, other: int) -> None:
    loose = planned(offers_of(pairs), budget=Decimal(max(one, other))).best
    tight = planned(offers_of(pairs), budget=Decimal(min(one, other))).best
    if tight is not None:
        assert loose is not None
        assert loose.total == tight.total


@given(prices, st.tuples(st.sampled_from(sorted(SPEED)), st.integers(1, 500)))
def test_one_more_offer_never_makes_the_best_dearer(pairs: Sequence[tuple[str, int]], more: tuple[str, int]) -> None:
    before, after = planned(offers_of(pairs)).best, planned(offers_of([*pairs, more])).best
    assert before is not None
    assert after is not None
    assert (after.total or 0) <= (before.total or 0)


@given(prices, st.integers(2, 60), st.integers(2, 60))
def test_a_tighter_deadline_is_never_cheaper(pairs: Sequence[tuple[str, int]], one: int, other: int) -> None:
    loose = planned(offers_of(pairs), deadline_s=max(one, other) * 3600.0).best
    tight = planned(offers_of(pairs), deadline_s=min(one, other) * 3600.0).best
    if tight is not None:
        assert loose is not None
        assert (loose.total or 0) <= (tight.total or 0)
