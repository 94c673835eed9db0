"""What following `compare` and `roadmap` would have cost: replayed on the bundled price history.

``python -m tests.benchmarks.backtest``; docs/explanation/owning.md keeps the table. One machine is needed from a start
month for 24 months (or until the history ends), at 100 %, 50 % or 20 % of the hours, where one may buy or may not. At
every start each way sees only that month's prices; *hindsight* sees all of them, and is the cheapest of every sequence
of renting, committing and buying. Regret is what a way paid above hindsight.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from cloudaccel.catalog.history import price_on
from cloudaccel.catalog.session import open_session
from cloudaccel.cost.owned import running_per_month
from cloudaccel.decide.options import parse_option
from cloudaccel.decide.owning import Place, owned_case
from cloudaccel.decide.road_prices import purchase_cost
from cloudaccel.decide.roadmap import roadmap
from cloudaccel.facts.owned import owning
from cloudaccel.model import HOURS_PER_MONTH, Query
from cloudaccel.model.roadmap import RoadCase, RoadOption

HORIZON, LEAD, TERM, LIFE, REPLAN = 24, 6, 12, 48, 3
LAST = date(2026, 7, 1)
# One-year price over the on-demand price of the same day: p5.48xlarge ap-northeast-1, 97.01603 of 123.19496 USD an
# hour, 2025-04-04/05 (pricing_cache/history/aws.csv). Before and after, that share is assumed.
COMMIT_SHARE = Decimal("0.7875")
# Street price of eight in a server, USD, by the month from which it held: Epoch AI hardware price table, price of one
# accelerator x 8.
SERVERS: Mapping[str, Sequence[tuple[date, int]]] = {
    "hgx-h100-8": ((date(2022, 9, 1), 355_919), (date(2023, 12, 1), 329_580), (date(2024, 3, 1), 296_644),
                   (date(2025, 1, 1), 255_237)),
    "hgx-a100-8": ((date(2021, 6, 1), 300_000), (date(2023, 9, 1), 148_390), (date(2025, 3, 1), 138_788)),
}  # fmt: skip
# Instance, region, server that does the same, first month of the replay.
SERIES = (
    ("p5.48xlarge", "us-east-1", "hgx-h100-8", date(2023, 11, 1)),
    ("p4de.24xlarge", "us-east-1", "hgx-a100-8", date(2023, 11, 1)),
    ("a3-highgpu-8g", "us-central1", "hgx-h100-8", date(2024, 6, 1)),
    ("a2-ultragpu-8g", "us-central1", "hgx-a100-8", date(2022, 10, 1)),
)


@dataclass(frozen=True, slots=True)
class World:
    """Prices that really held, by month: on demand per hour, the server (none: it may not be bought), its upkeep."""

    on_demand: tuple[Decimal, ...]
    server: tuple[Decimal, ...]
    upkeep: Decimal

    def commit(self, month: int) -> Decimal:
        """Fee of a month of a one-year commitment made in `month`."""
        return self.on_demand[month] * COMMIT_SHARE * HOURS_PER_MONTH

    def buy(self, month: int) -> RoadOption:
        """The server as it is sold in `month`."""
        return RoadOption(
            name="buy", kind="buy", serves={"w": Decimal(1)}, price=self.server[month], running_per_month=self.upkeep,
            term_months=LIFE, lead_months=LEAD, residual=owning()["residual"].likely,
            decline=owning()["rent_decline"].likely,
        )  # fmt: skip


def months_from(start: date, count: int) -> list[date]:
    """First days of `count` months."""
    numbers = (start.year * 12 + start.month - 1 + i for i in range(count))
    return [date(n // 12, n % 12 + 1, 1) for n in numbers]


def worlds(instance: str, region: str, server: str, first: date) -> list[tuple[date, World]]:
    """The world from each quarter's start on."""
    span = (LAST.year - first.year) * 12 + LAST.month - first.month + 1
    days = months_from(first, span)
    with open_session() as session:
        found = session.query(Query(instance=instance, regions=frozenset({region}), limit=None))
        offer = next(o for o in found.offers if not o.apart)
        versions = [session.read(lambda db, d=day: price_on(db, offer.id, d)) for day in days]
    prices = [v.amount for v in versions if v is not None and v.amount is not None]
    if len(prices) != span:
        raise SystemExit(f"{instance}: {span - len(prices)} months without a price")
    servers = [Decimal(next(p for d, p in reversed(SERVERS[server]) if d <= day)) for day in days]
    staff = owning()["fte_cost"].likely / owning()["machines_per_fte"].likely
    case = owned_case(parse_option(f"own:{server},staff={staff:f}/y", today="2026-11-25"), Place(), "full")
    upkeep = running_per_month(case.owned) or Decimal(0)
    starts = range(0, span - 12, 3)
    return [
        (days[s], World(tuple(prices[s : s + HORIZON]), tuple(servers[s : s + HORIZON]), upkeep)) for s in starts
    ]  # fmt: skip


# -- ways of deciding, each priced in the real world -------------------------------------------------------------------


def rent(world: World, use: Decimal) -> Decimal:
    """Rent by the hour, all the time."""
    return sum((p * HOURS_PER_MONTH * use for p in world.on_demand), Decimal(0))


def commit(world: World, use: Decimal) -> Decimal:
    """A one-year commitment, renewed at the price of its day; only the months inside count."""
    months = len(world.on_demand)
    return sum((world.commit(t - t % TERM) for t in range(months)), Decimal(0)) + 0 * use


def buy(world: World, use: Decimal, month: int = 0) -> Decimal:
    """Buy in `month`, and rent until the machine is there."""
    months = len(world.on_demand)
    there = min(month + LEAD, months)
    before = sum((p * HOURS_PER_MONTH * use for p in world.on_demand[month:there]), Decimal(0))
    return before + purchase_cost(_undated(world.buy(month)), month, months)


def _undated(option: RoadOption) -> RoadOption:
    """The option at its price as given: the world says what it costs in a month, not a rate of decline."""
    return replace(option, decline=Decimal(0))


def hindsight(world: World, use: Decimal) -> Decimal:
    """The cheapest sequence of renting by the month, committing for a year and buying once, with all prices known."""
    months = len(world.on_demand)
    best = [Decimal(0)] * (months + 1)
    for t in reversed(range(months)):
        choices = [world.on_demand[t] * HOURS_PER_MONTH * use + best[t + 1]]
        term = min(TERM, months - t)
        choices.append(world.commit(t) * term + best[t + term])
        if world.server:
            choices.append(buy(world, use, t))
        best[t] = min(choices)
    return best[0]


def by_compare(world: World, use: Decimal) -> Decimal:
    """What `compare` ranks first at the start, at the prices of that day, and then kept."""
    months = len(world.on_demand)
    today = World((world.on_demand[0],) * months, world.server[:1] * months, world.upkeep)
    ways = (rent, commit, buy) if world.server else (rent, commit)
    return min(ways, key=lambda way: way(today, use))(world, use)


def by_roadmap(world: World, use: Decimal) -> Decimal:
    """`roadmap` with its assumed fall of prices, made anew every quarter from what is there."""
    months = len(world.on_demand)
    paid, committed, bought = Decimal(0), 0, -1  # months for which a commitment still runs; month of the order
    fee = Decimal(0)
    for t in range(months):
        there = bought >= 0 and t >= bought + LEAD
        if t % REPLAN == 0 and not there and bought < 0 and committed == 0:
            action = _first_action(world, use, t)
            if action == "buy":
                bought = t
                paid += purchase_cost(_undated(world.buy(t)), t, months)
            elif action == "commit":
                committed, fee = TERM, world.commit(t)
        if bought >= 0 and t >= bought + LEAD:
            continue
        if committed:
            paid, committed = paid + fee, committed - 1
        else:
            paid += world.on_demand[t] * HOURS_PER_MONTH * use
    return paid


def _first_action(world: World, use: Decimal, month: int) -> str | None:
    fall = owning()["rent_decline"].likely
    serves = {"w": Decimal(1)}
    now = world.on_demand[month]
    options = (
        RoadOption(name="rent", kind="rent", serves=serves, price_per_hour=now, decline=fall),
        RoadOption(name="commit", kind="commit", serves=serves, price_per_hour=now * COMMIT_SHARE, decline=fall,
                   term_months=TERM),
        *([world.buy(month)] if world.server else []),
    )  # fmt: skip
    left = len(world.on_demand) - month
    case = RoadCase(start=str(month), demand={"w": (use,) * left}, options=options)
    found = roadmap(case, clock=time.monotonic)
    return next((a.verb for a in found.actions if a.month < REPLAN), None)


Way = Callable[[World, Decimal], Decimal]
WAYS: Mapping[str, Way] = {
    "always rent": rent,
    "always commit": commit,
    "always buy": buy,
    "compare": by_compare,
    "roadmap": by_roadmap,
}


def main() -> int:
    """Print the table of regrets."""
    out = sys.stdout.write
    out("| price series | may buy | use | starts | " + " | ".join(f"{w}: median, worst" for w in WAYS) + " |\n")
    out("|---|---|--:|--:|" + "--:|" * len(WAYS) + "\n")
    for instance, region, server, first in SERIES:
        found = [world for _, world in worlds(instance, region, server, first)]
        rented = [replace(world, server=()) for world in found]
        for worlds_of, may in ((found, "yes"), (rented, "no")):
            for use in (Decimal(1), Decimal("0.5"), Decimal("0.2")):
                cells = [_cell(way, worlds_of, use) for way in WAYS.values()]
                series = f"{instance} {region} / {server}"
                out(f"| {series} | {may} | {use * 100:.0f} % | {len(found)} | " + " | ".join(cells) + " |\n")
    return 0


def regrets(way: Way, worlds_of: Sequence[World], use: Decimal) -> list[float]:
    """What a way paid above hindsight, for each start, as a share."""
    return [float(way(world, use) / hindsight(world, use) - 1) for world in worlds_of]


def _cell(way: Way, worlds_of: Sequence[World], use: Decimal) -> str:
    if way is buy and not worlds_of[0].server:
        return "—"
    found = regrets(way, worlds_of, use)
    return f"{statistics.median(found) * 100:.0f} %, {max(found) * 100:.0f} %"


if __name__ == "__main__":
    raise SystemExit(main())
