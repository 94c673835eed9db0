"""A quote does not slow down as the catalog grows: steps are counted, no stopwatch is needed."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cloudaccel.api.quoting import build_query
from cloudaccel.catalog.query import on_demand_not_above, run_query
from cloudaccel.catalog.session import accelerator_table, open_session
from cloudaccel.model import Query
from tests.benchmarks.synthetic import make_catalog

SIZES = (20_000, 200_000)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("synthetic")
    paths = {size: folder / f"{size}.sqlite" for size in SIZES}
    for size, path in paths.items():
        make_catalog(path, size)
    return paths


@contextmanager
def question(path: Path) -> Generator[tuple[sqlite3.Connection, Query]]:
    with open_session(path) as session:
        query = build_query(session, "H100-SXM:8", residency="EU", market="spot", limit=10)
    with closing(sqlite3.connect(path)) as db:
        yield db, query


def statements(path: Path) -> list[str]:
    seen: list[str] = []
    with question(path) as (db, query):
        db.set_trace_callback(seen.append)
        run_query(db, query, accelerator_table())
    return [sql for sql in seen if "FROM offer" in sql]


def test_g4_every_statement_searches_the_quote_index(catalogs: dict[int, Path]) -> None:
    for sql in statements(catalogs[SIZES[0]]):
        with question(catalogs[SIZES[0]]) as (db, _):
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
        searches = [step for step in plan if " o " in f" {step} "]
        assert searches
        if "o.oid IN" in sql:  # rows that the index has chosen, by their number: as many as are shown, ties included
            assert all("INTEGER PRIMARY KEY (rowid=?)" in step for step in searches), plan
            continue
        assert all("ix_quote" in step for step in searches), plan
        if sql.startswith(("SELECT o.rank_price", "SELECT count")):
            assert all("COVERING INDEX ix_quote" in step for step in searches), plan


def test_g4_steps_per_match_do_not_grow(catalogs: dict[int, Path]) -> None:
    per_match: list[float] = []
    for path in catalogs.values():
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        with question(path) as (db, query):
            db.set_progress_handler(count, 1)
            total = run_query(db, query, accelerator_table()).total
            db.set_progress_handler(None, 0)
        per_match.append(steps / total)
    assert per_match[1] <= per_match[0] * 1.3


def test_the_price_beside_a_spot_offer_is_found_by_the_index(catalogs: dict[int, Path]) -> None:
    seen: list[str] = []
    with question(catalogs[SIZES[0]]) as (db, query):
        offer = run_query(db, query, accelerator_table()).offers[0]
        db.set_trace_callback(seen.append)
        on_demand_not_above(db, [offer.id])
        plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {seen[0]}"))
    assert "SCAN" not in plan
    assert "ix_quote" in plan
