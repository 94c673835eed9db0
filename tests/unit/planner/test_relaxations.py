"""What is said to help is tried: planned again with that one change, the job has an answer."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudaccel.api import planning
from cloudaccel.model import Query
from cloudaccel.model.plan import Plan
from cloudaccel.units import parse_duration_s, parse_money
from tests.unit.planner.test_plan import ROWS, offers_of, planned, prices

JOB: Mapping[str, Any] = {"task": "finetune", "method": "lora", "model": "llama-3-70b", "tokens": 200e6}


@given(prices, st.none() | st.integers(1, 30), st.none() | st.decimals(1, 3000, places=1), st.integers(0, 2))
def test_every_change_that_is_named_makes_it_feasible(
    pairs: list[tuple[str, int]], deadline_h: int | None, budget: Decimal | None, setup: int
) -> None:
    def tried(deadline_s: float | None, most: Decimal | None) -> Plan:
        return planned(offers_of(pairs), setup_h=Decimal(setup), deadline_s=deadline_s, budget=most)

    deadline_s = None if deadline_h is None else deadline_h * 3600.0
    found = tried(deadline_s, budget)
    assert found.best is not None or found.relaxations
    for relaxation in found.relaxations:
        change = dict(relaxation.change)
        best = tried(
            parse_duration_s(change["deadline"], "deadline") if "deadline" in change else deadline_s,
            parse_money(change["budget"], "budget")[0] if "budget" in change else budget,
        ).best
        assert best is not None, relaxation
        assert found.best is None or (best.total or 0) < (found.best.total or 0)


@pytest.mark.parametrize(
    ("limits", "filters"),
    [
        ({"budget": "50 USD"}, {}),
        ({"deadline": "1h"}, {"max_nodes": 2}),
        ({"deadline": "1h", "budget": "5 USD"}, {}),
        ({"deadline": "24h", "budget": "300 USD"}, {"market": "reserved-3y", "provider": "gcp"}),
    ],
)
def test_a_limit_that_is_loosened_as_told_gives_an_answer(
    limits: Mapping[str, str], filters: Mapping[str, Any]
) -> None:
    found = planning.plan({**JOB, **limits}, **filters)
    assert found.best is None
    assert found.relaxations
    for relaxation in found.relaxations:
        again = planning.plan({**JOB, **limits, **dict(relaxation.change)}, **filters)
        assert again.best is not None, relaxation.text


@pytest.mark.parametrize(
    ("filters", "lifted"),
    [
        ({"country": "IS", "accelerators": "B200"}, ("outside IS", "country")),
        ({"accelerators": "H100:8", "max_nodes": 1}, ("without --max-nodes", "max_nodes")),
        ({"provider": "gcp", "region": "eu-west-1"}, ("without --region", "region")),
    ],
)
def test_a_filter_that_leaves_nothing_is_named(filters: Mapping[str, Any], lifted: tuple[str, str]) -> None:
    job: Mapping[str, Any] = JOB if "max_nodes" not in filters else {"task": "pretrain", "params": 1e12, "tokens": 1e12}
    found = planning.plan(job, **filters)
    words, name = lifted
    assert found.best is None
    text = next(r.text for r in found.relaxations if r.text.startswith(words))
    best = planning.plan(job, **{k: v for k, v in filters.items() if k != name}).best
    assert best is not None
    assert f"{best.total:,.2f} USD" in text


def test_one_reason_is_said_once_with_what_differs() -> None:
    found = planning.plan(JOB)
    for rejected in found.rejected:
        sentences = [example.partition(" (")[2] for example in rejected.examples]
        assert len(set(sentences)) == len(sentences)


def test_nothing_on_offer_and_no_filter_to_blame_says_no_change() -> None:
    found = planned(ROWS[3:], query=Query())
    assert found.best is None
    assert found.relaxations == ()
