"""The Python door: the same words as the command line, typed answers, nothing global."""

import ast
import inspect
import threading
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import pytest

import cloudaccel as ca
from cloudaccel.api import quoting
from cloudaccel.api.judging import Rules
from cloudaccel.api.quoting import build_query
from cloudaccel.cli import quote as quote_verb
from cloudaccel.errors import CloudAccelError, QueryError, UnknownName
from tests.support import price_file

ROW = "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on-demand,{},USD,2026-07-20,list"
OF_THE_SHELL = {
    "accelerators", "help", "catalog", "offline", "config", "profile", "price_file", "strict", "output", "no_color",
    "quiet", "columns", "per", "jq", "explain", "show_hidden", "show_filtered", "history",
}  # fmt: skip
SHOWN_IN = {"fx_file", "tax", "disk"}  # how prices are shown: parameters of `quote` beside the filters


def test_the_filters_are_the_flags() -> None:
    flags = {action.dest for action in quote_verb.parser()._actions} - OF_THE_SHELL - _of_the_rules()
    assert set(inspect.signature(quoting.quote).parameters) >= SHOWN_IN
    flags -= SHOWN_IN
    parameters = set(inspect.signature(build_query).parameters) - {"session", "accelerators"}
    assert flags == parameters == _typed_filters()


def _of_the_rules() -> set[str]:
    """Flags of the group "rules": they are the fields of `Rules`, but for the two that have a shorter name there."""
    (group,) = (g for g in quote_verb.parser()._action_groups if g.title == "rules")
    flags = {action.dest for action in group._group_actions}
    named = {{"packs": "policy", "data": "data_class"}.get(field.name, field.name) for field in fields(Rules)}
    assert flags == named - {"always", "file"}
    return flags


def _typed_filters() -> set[str]:
    """Fields of the class that type checkers alone see."""
    tree = ast.parse(inspect.getsource(quoting))
    (filters,) = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "Filters")
    targets = (node.target for node in filters.body if isinstance(node, ast.AnnAssign))
    return {field.id for field in targets if isinstance(field, ast.Name)}


def test_the_example_of_the_readme() -> None:
    answer = ca.quote("H100-SXM:8", residency="EU")
    assert answer.offers
    for offer in answer.offers:
        assert isinstance(offer.price.amount, Decimal)
        assert offer.country is not None
        assert offer.accelerator_id == "nvidia-h100-sxm-80gb"


def test_lists_and_text_say_the_same() -> None:
    listed = ca.quote(
        "H100:8", provider=["aws", "gcp"], market=["on-demand", "spot"], min_mem=80, max_price=Decimal(20)
    )
    text = ca.quote("H100:8", provider="aws,gcp", market="on-demand, spot", min_mem="80GB", max_price="20 USD")
    assert [o.id for o in listed.offers] == [o.id for o in text.offers]
    assert listed.total == text.total


@pytest.mark.parametrize("empty", [{"residency": ""}, {"provider": []}, {"region": None}, {"country": ()}])
def test_an_empty_text_is_refused_and_an_empty_list_is_no_filter(empty: dict[str, str]) -> None:
    if "residency" in empty:
        with pytest.raises(QueryError, match="--residency"):
            ca.quote("H100", **empty)  # pyright: ignore[reportArgumentType]
    else:
        assert ca.quote("H100", **empty).total == ca.quote("H100").total  # pyright: ignore[reportArgumentType]


def test_every_refusal_is_one_family_of_errors(tmp_path: Path) -> None:
    for attempt in (
        lambda: ca.quote("L4Os"),
        lambda: ca.quote("H100", catalog=tmp_path / "none"),
        lambda: ca.quote("H100", price_file=tmp_path / "none"),
        lambda: ca.quote("H100", limit=0),
        lambda: ca.quote(instance="nosuch.type"),
        lambda: ca.explain("nosuch"),
        ca.refresh,
        lambda: ca.refresh(tmp_path / "none"),
    ):
        with pytest.raises(CloudAccelError) as caught:
            attempt()
        assert caught.value.exit_code in (2, 5, 6)
    with pytest.raises(UnknownName) as unknown:
        ca.quote(instance="p5.48xlarg")
    assert unknown.value.choices[0] == "p5.48xlarge"


def test_nothing_is_global(tmp_path: Path) -> None:
    """Four threads, each with its own catalog, all at once."""
    paths = [price_file(tmp_path, ROW.format(n), name=f"{n}.csv") for n in range(1, 5)]
    seen: dict[int, set[Decimal | None]] = {}

    def ask(number: int) -> None:
        seen[number] = {ca.quote("H100:8", catalog=paths[number]).offers[0].price.amount for _ in range(20)}

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {n: {Decimal(n + 1)} for n in range(4)}


def test_answers_cannot_be_changed() -> None:
    answer = ca.quote("H100:8", limit=1)
    with pytest.raises(AttributeError):
        answer.total = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AttributeError):
        answer.offers[0].price.amount = Decimal(0)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_nodes_of_a_request_are_those_of_the_term_that_fits() -> None:
    answer = ca.quote("H100:4+x2", limit=None)
    assert {answer.nodes(offer) for offer in answer.offers} == {2}
    mixed = ca.quote("H100:8x3,L4:1", limit=None)
    assert {(offer.count, mixed.nodes(offer)) for offer in mixed.offers} == {(8, 3), (1, 1)}


def test_status_and_cost() -> None:
    status = ca.status()
    assert sum(provider.offers for provider in status.providers) > 15_000
    assert status.catalog_id == ca.quote("H100").catalog_id
    assert ca.cost_of("p5.48xlarge", region="us-east-1") == Decimal("55.04")
