"""The back-test on the bundled price history: hindsight is a bound, and the page keeps what the command prints."""

from decimal import Decimal
from pathlib import Path

import pytest

pytest.importorskip("scipy")
from tests.benchmarks import backtest

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "owning.md"
P5 = backtest.SERIES[0]


def test_nothing_beats_hindsight_and_the_price_cut_is_in_it() -> None:
    found = backtest.worlds(*P5)
    prices = {price for _, world in found for price in world.on_demand}
    assert prices == {Decimal("98.32"), Decimal("55.04")}
    for _, world in found:
        for use in (Decimal(1), Decimal("0.2")):
            best = backtest.hindsight(world, use)
            assert all(way(world, use) >= best for way in backtest.WAYS.values())


def test_the_page_keeps_the_table_of_the_command() -> None:
    """One row is made again here; all of them by ``python -m tests.benchmarks.backtest``."""
    page = PAGE.read_text(encoding="utf-8")
    found = [world for _, world in backtest.worlds(*P5)]
    for use in (Decimal(1), Decimal("0.2")):
        cells = [backtest._cell(way, found, use) for way in backtest.WAYS.values()]  # pyright: ignore[reportPrivateUsage]
        row = f"| {P5[0]} {P5[1]} / {P5[2]} | yes | {use * 100:.0f} % | {len(found)} | " + " | ".join(cells) + " |"
        assert row in page, "run: python -m tests.benchmarks.backtest"


def test_advice_is_better_than_any_fixed_habit() -> None:
    """Over all starts and uses, the worst regret of following `compare` is below that of every habit."""
    found = [world for _, world in backtest.worlds(*P5)]
    uses = (Decimal(1), Decimal("0.5"), Decimal("0.2"))
    worst = {
        name: max(r for use in uses for r in backtest.regrets(way, found, use)) for name, way in backtest.WAYS.items()
    }
    assert worst["compare"] <= min(worst[h] for h in ("always rent", "always commit", "always buy")) + 1e-9
    assert worst["roadmap"] <= min(worst[h] for h in ("always rent", "always commit")) + 1e-9
