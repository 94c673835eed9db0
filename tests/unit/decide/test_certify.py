"""The certificate of a plan: chances from draws with a seed, flips solved, and what each fact is worth."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from cloudaccel.api import planning
from cloudaccel.decide.certify import certify
from cloudaccel.errors import QueryError
from cloudaccel.model.plan import Option, Plan
from tests.support import run

TUNE: Mapping[str, str] = {"task": "finetune", "method": "lora", "model": "llama-3-70b", "tokens": "200e6"}
DAY = date(2026, 11, 25)
WORDS = ("--task", "finetune", "--method", "lora", "--model", "llama-3-70b", "--tokens", "200e6", "--lock", "-")


@cache
def planned(deadline: str = "24h", providers: tuple[str, ...] = ("aws", "gcp", "azure")) -> Plan:
    return planning.plan({**TUNE, "deadline": deadline}, provider=list(providers))


def only(plan: Plan, *options: Option) -> Plan:
    """The plan with these options and nothing else."""
    return replace(plan, options=options, near=(), considered=())


def priced(option: Option, factor: str) -> Option:
    """The option at another price, with lines and total to match."""
    line, price = option.lines[0], option.offer.price
    assert line.unit_price is not None
    unit_price = line.unit_price * Decimal(factor)
    amount = line.quantity * unit_price
    lines = (line._replace(unit_price=unit_price, amount=amount), *option.lines[1:])
    offer = replace(option.offer, price=replace(price, amount=unit_price))
    total = sum((x.amount or Decimal(0) for x in lines), Decimal(0))
    return replace(option, offer=offer, lines=lines, total=total)


def test_the_same_seed_gives_the_same_certificate_and_another_does_not() -> None:
    first = certify(planned(), today=DAY, samples=300)
    assert first == certify(planned(), today=DAY, samples=300)
    assert first.winners != certify(planned(), today=DAY, samples=300, seed=2).winners


def test_the_chances_add_up() -> None:
    found = certify(planned(), today=DAY, samples=300)
    assert sum(share for _, share in found.winners) + found.chance_none == pytest.approx(1)
    assert 0 < found.chance_first < 1
    assert dict(found.winners).get(found.first, 0) >= found.chance_first


def test_a_lone_option_is_first_in_every_draw_and_no_fact_is_worth_anything() -> None:
    plan = planned()
    assert plan.best is not None
    found = certify(only(plan, plan.best), today=DAY, samples=100)
    assert (found.chance_first, found.chance_none) == (1, 0)
    assert found.facts == ()


def test_two_options_of_one_cost_are_even_and_the_facts_that_tell_them_apart_are_worth_money() -> None:
    plan = planned()
    a, b = (
        plan.options[0],
        next(o for o in plan.options if o.offer.accelerator_id != plan.options[0].offer.accelerator_id),
    )
    assert a.total is not None
    assert b.total is not None
    even = only(plan, a, priced(b, str(a.total / b.total)))
    found = certify(even, today=DAY, samples=1000)
    assert 0.2 < found.chance_first < 0.8
    assert found.facts[0].saving > 0.01 * float(a.total)
    assert "fifty steps" in found.facts[0].how
    far = certify(only(plan, a, priced(b, str(4 * a.total / b.total))), today=DAY, samples=1000)
    assert far.chance_first == 1
    assert far.facts == ()


@pytest.mark.parametrize(("beyond", "cheapest"), [("0.999", 0), ("1.001", 1)])
def test_the_choice_changes_exactly_where_the_price_flips(beyond: str, cheapest: int) -> None:
    plan = planned()
    a, b = plan.options[0], next(o for o in plan.options if o.offer.provider != plan.options[0].offer.provider)
    flip = certify(only(plan, a, b), today=DAY, samples=1).flips[0]
    assert flip.name.startswith("price of")
    moved = priced(a, str(Decimal(str(flip.at / flip.value)) * Decimal(beyond)))
    totals = [o.total or Decimal(0) for o in (moved, b)]
    assert totals.index(min(totals)) == cheapest


def test_a_deadline_close_to_the_estimate_is_kept_in_some_draws_only() -> None:
    loose = certify(planned("240h"), today=DAY, samples=300)
    best = planned("240h").best
    assert best is not None
    tight = certify(planned(f"{best.hours}h"), today=DAY, samples=300)
    assert loose.chance_within_limits > tight.chance_within_limits > 0
    assert any(flip.to == "the deadline is missed" for flip in tight.flips)


def test_older_prices_are_less_certain() -> None:
    new, old = (certify(planned(), today=day, samples=600) for day in (date(2025, 1, 1), date(2040, 1, 1)))
    prices = [sum(f.saving for f in found.facts if f.name.startswith("price")) for found in (new, old)]
    assert prices[0] < prices[1]


def open_rule(option: Option) -> Option:
    return replace(option, verdict="unknown", rules=("rule-1",), blocked=(("policy", "unknown: rule-1"),))


@pytest.mark.parametrize("odds", [0.0, 0.5, 1.0])
def test_an_open_rule_is_worth_its_odds_times_the_saving(odds: float) -> None:
    plan = planned()
    assert plan.best is not None
    cheap = open_rule(priced(plan.best, "0.5"))
    cheap = replace(cheap, offer=replace(cheap.offer, id="other"))
    found = certify(replace(only(plan, plan.best), near=(cheap,)), today=date(2025, 1, 1), samples=600, legal_odds=odds)
    facts = {fact.name: fact.saving for fact in found.facts}
    fit = plan.best.fit
    assert fit.hours_low is not None
    assert fit.hours_likely is not None
    assert fit.hours_high is not None
    longer = (fit.hours_low + fit.hours_likely + fit.hours_high) / 3 - fit.hours_likely  # mean of a triangle
    expected = float(plan.best.total or 0) * (1 + longer / float(plan.best.hours))
    assert facts.get("rule rule-1", 0.0) == pytest.approx(odds * 0.5 * expected, rel=0.05)
    assert found.chance_first == pytest.approx(1 - odds, abs=0.06)
    assert any(a.flag == "--legal-odds" for a in found.assumptions)


def test_what_is_forbidden_never_wins() -> None:
    plan = planned()
    assert plan.best is not None
    gone = replace(priced(plan.best, "0.1"), verdict="non_compliant", blocked=(("policy", "no"),))
    assert certify(replace(only(plan, plan.best), near=(gone,)), today=DAY, samples=50).chance_first == 1


@pytest.mark.parametrize("given", [{"samples": 0}, {"legal_odds": 2.0}])
def test_arguments_out_of_range_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(QueryError):
        certify(planned(), today=DAY, **given)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_the_verb_prints_the_certificate_and_keeps_it_out_of_the_saved_lock(tmp_path: Path) -> None:
    lock = tmp_path / "a.json"
    words = (*WORDS[:-2], "--lock", str(lock), "--certify", "--samples", "50", "--provider", "azure")
    answer = run("plan", *words, "--explain")
    assert answer.code == 0, answer.err
    for word in ("Certain  ", "Flips    ", "Worth    ", "329 changes in 6,270 offer-years"):
        assert word in answer.out
    assert run("plan", *words, "--json").json["certificate"]["seed"] == 1
    assert "certificate" not in lock.read_text(encoding="utf-8")
    assert run("verify", str(lock)).code == 0


def test_a_ranking_that_is_no_cost_is_refused() -> None:
    answer = run("plan", *WORDS, "--certify", "--rank", "time", "--provider", "azure")
    assert answer.code == 2
    assert "--rank" in answer.err
