"""What a plan is made from: the request, and those that the planner asks."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from cloudaccel.model import Accelerator, Offer, Query
from cloudaccel.model.plan import Energy, Judgement, Reservation
from cloudaccel.model.workload import Assumption, Fit, Machine, ModelShape, Workload

Sizer = Callable[[Accelerator, int, int, Machine], Fit]
Judge = Callable[[Sequence[Offer]], Sequence[Judgement]]

# Machines of one shape that are tried. Real clusters are sold in these steps; the last is 16,384 accelerators of eight.
NODE_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
RANKS = ("cost", "time", "carbon")


class Held(NamedTuple):
    """A reservation to plan in: the row number of the offer that is its machine, and the hours that its window has."""

    reservation: Reservation
    oid: int
    left_h: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the planner is asked.

    Attributes
    ----------
    query
        Filters over the catalog; its terms narrow the hardware (none: everything that trains or serves).
    max_nodes
        Most machines to consider.
    rank_by
        One of `RANKS`.
    setup_h
        Hours of start, load and saving that are paid beside the run.
    startable_only
        Leave out what no provider package can start.
    inter_node_gbit_per_s
        The least between machines where there are several, one direction; an unknown network is below it.
    held
        Plan on these machines alone, whose hours cost nothing more.
    """

    workload: Workload
    model: ModelShape
    query: Query
    rank_by: str = "cost"
    max_nodes: int = NODE_STEPS[-1]
    setup_h: Decimal = Decimal("0.75")
    disk_price: Decimal = Decimal("0.08")
    transfer_price: Decimal = Decimal("0.09")
    limit: int = 10
    startable_only: bool = False
    held: Held | None = None
    inter_node_gbit_per_s: float | None = None
    assumptions: tuple[Assumption, ...] = ()
    described: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Context:
    """What the planner asks others: the catalog, the sizing, the rules, and how machines are got."""

    def __init__(
        self,
        db: sqlite3.Connection,
        accelerators: Mapping[str, Accelerator],
        size: Sizer,
        judge: Judge | None = None,
        channel: Callable[[Offer, int], str] | None = None,
        energy: Callable[[Offer, Accelerator, int, Decimal], Energy | None] | None = None,
        most: Callable[[Offer], int | None] | None = None,
        warnings: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.db = db
        self.accelerators = accelerators
        self.size = size
        self.judge = judge
        self.channel = channel
        self.energy = energy
        self.warnings = warnings  # asked when the plan is made
        self.most = most  # machines that a quota leaves; None of an offer: no quota is known to count it
