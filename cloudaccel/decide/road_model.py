"""The roadmap as a linear program: variables by meaning, rows by what they hold, and the call of the solver.

Exact reductions come first: machines of the same relative speeds share one pool, of unlimited rents only the cheapest a
month and workload is kept, and an option that another one beats at every start is left out.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import import_module
from threading import Thread
from typing import Any

from cloudaccel.decide.road_prices import (
    cash_of,
    commit_cost,
    early_cost,
    early_sale,
    hour_price,
    keep_value,
    month_fee,
    purchase_cost,
    sale_months,
)
from cloudaccel.errors import ConfigError
from cloudaccel.model import HOURS_PER_MONTH
from cloudaccel.model.roadmap import RoadCase, RoadOption

CENT = 1e-6  # below this a quantity of the solver is nothing
SCALE = 1000.0  # the solver sees thousands of the currency
INSTALL = "pip install 'cloudaccel[plan]'"
Key = tuple[Any, ...]
_TURNS: Mapping[str, Callable[[float], int]] = {
    "floor": lambda v: math.floor(v + CENT),
    "round": round,
    "ceil": lambda v: math.ceil(v - CENT),
}


@dataclass(frozen=True, slots=True)
class Solution:
    """What the solver says: values by column (None: no plan), objective and proven bound in thousands."""

    status: str
    message: str
    values: Any  # array of floats, or None
    objective: float
    bound: float
    marginals: Any = None


@dataclass(slots=True)
class Model:
    """Columns and rows of one case; `keys` names every column: (kind, option or workload, month …)."""

    case: RoadCase
    keys: list[Key] = field(default_factory=list[Key])
    index: dict[Key, int] = field(default_factory=dict[Key, int])
    cost: list[float] = field(default_factory=list[float])
    upper: list[float] = field(default_factory=list[float])
    whole: list[int] = field(default_factory=list[int])
    rows: list[tuple[dict[int, float], float]] = field(default_factory=list[tuple[dict[int, float], float]])
    constant: Decimal = Decimal(0)  # what selling everything at once would bring: no column holds it
    row_keys: list[Key] = field(default_factory=list[Key])  # each row: sum of coefficients x columns <= bound

    def column(self, key: Key, cost: float, *, upper: float = math.inf, whole: bool = False) -> int:
        """A new column; `cost` is in thousands."""
        self.index[key] = len(self.keys)
        self.keys.append(key)
        self.cost.append(cost)
        self.upper.append(upper)
        self.whole.append(int(whole))
        return len(self.keys) - 1

    def at_most(self, key: Key, coefficients: dict[int, float], bound: float) -> None:
        """A new row."""
        self.rows.append((coefficients, bound))
        self.row_keys.append(key)

    def option(self, name: str) -> RoadOption:
        """The option of that name."""
        return next(option for option in self.case.options if option.name == name)

    # -- solving -------------------------------------------------------------------------------------------------------

    def solve(
        self, *, relaxed: bool, seconds: float = 60.0, gap: float = 1e-4, fixed: Mapping[int, float] | None = None
    ) -> Solution:
        """Minimise; `relaxed` lets machines be fractions, `fixed` holds columns at a value."""
        np, optimize, sparse = _libraries()
        lower = np.zeros(len(self.keys))
        upper = np.array(self.upper)
        for column, value in (fixed or {}).items():
            lower[column] = upper[column] = value
        matrix, bounds = self._matrix(np, sparse)
        if relaxed:
            found = optimize.linprog(
                self.cost, A_ub=matrix, b_ub=bounds, bounds=np.column_stack((lower, upper)), method="highs"
            )
            status = {0: "optimal", 2: "infeasible"}.get(found.status, "no answer")
            if found.status != 0:
                return Solution(status, str(found.message), None, math.inf, -math.inf)
            return Solution(status, "", found.x, float(found.fun), float(found.fun), found.ineqlin.marginals)
        found = _interruptible(
            lambda: optimize.milp(
                self.cost,
                constraints=optimize.LinearConstraint(matrix, -np.inf, bounds),
                bounds=optimize.Bounds(lower, upper),
                integrality=np.array(self.whole),
                options={"time_limit": seconds, "mip_rel_gap": gap},
            )
        )
        bound = -math.inf if found.mip_dual_bound is None else float(found.mip_dual_bound)
        if found.x is None:
            return Solution("no answer", str(found.message), None, math.inf, bound)
        return Solution("feasible", str(found.message), self._whole_values(np, found.x), float(found.fun), bound)

    def _whole_values(self, np: Any, values: Any) -> Any:
        """Values with the integers made exact: a solver's 2.9999999 is 3."""
        return np.where(np.array(self.whole) == 1, np.round(values), values)

    def _matrix(self, np: Any, sparse: Any) -> tuple[Any, Any]:
        at: list[int] = []
        columns: list[int] = []
        values: list[float] = []
        for number, (coefficients, _bound) in enumerate(self.rows):
            at.extend([number] * len(coefficients))
            columns.extend(coefficients)
            values.extend(coefficients.values())
        shape = (len(self.rows), len(self.keys))
        return sparse.csr_matrix((values, (at, columns)), shape=shape), np.array([bound for _, bound in self.rows])

    def rounded(self, found: Solution, how: str, *, sell: bool = False) -> dict[int, float]:
        """Whole machines near those of an LP: sums since the start are rounded, so fractions add up over months.

        `sell`: early sales are rounded down, else there are none.
        """
        turn = _TURNS[how]
        fixed: dict[int, float] = {}
        sums: dict[str, float] = {}
        for column, key in enumerate(self.keys):
            value = float(found.values[column])
            if key[0] == "start":
                before = sums.get(key[1], 0.0)
                sums[key[1]] = before + value
                fixed[column] = float(turn(before + value) - turn(before))
            elif key[0] == "keep":
                fixed[column] = float(turn(value))
            elif key[0] == "sell":
                fixed[column] = float(math.floor(value + CENT)) if sell else 0.0
        return fixed

    # -- reading -------------------------------------------------------------------------------------------------------

    def _of(self, found: Solution, kind: str) -> Iterator[tuple[Key, float]]:
        for column, key in enumerate(self.keys):
            if key[0] == kind:
                yield key, float(found.values[column])

    def starts(self, found: Solution) -> dict[tuple[str, int], int]:
        """Machines started by option and month of the order."""
        return {(key[1], key[2]): round(value) for key, value in self._of(found, "start") if round(value)}

    def sold(self, found: Solution) -> dict[tuple[str, int, int], int]:
        """Machines bought inside the horizon and sold before its end, by option, month of the order and of the sale."""
        return {(key[1], key[2], key[3]): round(value) for key, value in self._of(found, "sell") if round(value)}

    @property
    def sells(self) -> bool:
        """Whether anything that is bought can be sold early."""
        return any(key[0] == "sell" for key in self.keys)

    def kept(self, found: Solution) -> dict[tuple[str, int], int]:
        """Machines from before the start that are still there, by option and month."""
        return {(key[1], key[2]): round(value) for key, value in self._of(found, "keep")}

    def retired(self, found: Solution) -> dict[tuple[str, int], int]:
        """Machines from before the start that are given up, by option and month."""
        kept = self.kept(found)
        gone: dict[tuple[str, int], int] = {}
        for (name, month), count in kept.items():
            before = kept.get((name, month - 1), self.option(name).have)
            if before > count:
                gone[name, month] = before - count
        return gone

    def rented(self, found: Solution) -> dict[tuple[str, str, int], float]:
        """Machine-months rented, by option, workload ("" when it is pooled) and month."""
        merged = {(key[3], key[1], key[2]): value for key, value in self._of(found, "rent")}
        return {**merged, **{(key[1], "", key[2]): value for key, value in self._of(found, "hold")}}

    def switching_at(self, found: Solution, month: int) -> Decimal:
        """Paid in a month for rented machines that are newly taken up."""
        total = Decimal(0)
        for key, value in self._of(found, "take"):
            if key[2] == month and value > CENT:
                total += (Decimal(str(value)) * self.option(key[1]).switching).quantize(Decimal("0.01"))
        return total

    def slack(self, found: Solution) -> dict[tuple[str, int], float]:
        """How far a limit would have to give, by what and when."""
        return {(key[1], key[2]): value for key, value in self._of(found, "slack")}

    def what_binds(self, relaxed: Solution) -> list[str]:
        """Limits whose loosening would make the plan cheaper, by how much for one unit more, from the LP's duals."""
        if relaxed.marginals is None:
            return []
        words = {
            "power": "site power: 1 kW more",
            "budget": "budget: 1,000 more",
            "limit": "limit of {}: 1 machine more",
        }
        best: dict[tuple[str, str], float] = {}
        for key, value in zip(self.row_keys, relaxed.marginals, strict=True):
            if key[0] in words and value < -CENT:
                name = str(key[1]) if key[0] == "limit" else ""
                best[key[0], name] = best.get((key[0], name), 0.0) - float(value)
        ranked = sorted(best.items(), key=lambda item: -item[1])
        return [f"{words[k].format(n)} would save about {v * SCALE:,.0f} over the horizon" for (k, n), v in ranked[:5]]


def _interruptible(solve: Callable[[], Any]) -> Any:
    """What `solve` returns or raises, from a thread of its own: in C++ it would hold Ctrl-C back until its end."""
    done = Future[Any]()

    def run() -> None:
        try:
            done.set_result(solve())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done.result()


def _libraries() -> tuple[Any, Any, Any]:
    """numpy and scipy, which only this verb pays for."""
    try:
        return import_module("numpy"), import_module("scipy.optimize"), import_module("scipy.sparse")
    except ImportError as error:
        raise ConfigError(f"roadmap needs a solver that is not installed ({error}). {INSTALL}.") from error


# -- building ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pool:
    """Options whose machines differ only in how many units of one speed profile they are worth."""

    serves: tuple[tuple[str, float], ...]
    members: list[tuple[RoadOption, float]]


def build(case: RoadCase, *, elastic: str | None = None) -> Model:
    """The model of a case; `elastic` (``demand``, ``power``, ``budget``) lets that limit give, and only that costs."""
    model = Model(case)
    model.column(("nothing",), 0.0, upper=0.0)  # a solver wants a column even where no option serves anything
    free = [o for o in case.options if o.kind == "rent" and o.limit is None and not o.switching]
    others = _undominated(case, [o for o in case.options if o not in free])
    cover = _cover_rents(model, free)
    cash: dict[int, dict[int, float]] = {}
    power: dict[int, dict[int, float]] = {}
    for number, pool in enumerate(_pools(case, others)):
        _cover_pool(model, number, pool, cover, power)
    _add_cash(model, cash)
    _add_limits(model, cover, power, cash, elastic)
    if elastic is not None:
        model.cost = [1.0 if key[0] == "slack" else 0.0 for key in model.keys]
    return model


Cover = dict[tuple[str, int], dict[int, float]]  # workload, month -> column -> units carried by one of it


def _cover_rents(model: Model, rents: list[RoadOption]) -> Cover:
    cover: Cover = {}
    for workload in model.case.demand:
        for t in range(model.case.months):
            cover[workload, t] = {}
            able = [o for o in rents if workload in o.serves and t >= o.from_month + o.lead_months]
            if not able:
                continue
            best = min(able, key=lambda o: hour_price(o, t) / o.serves[workload])
            column = model.column(("rent", workload, t, best.name), _month_of(best, t))
            cover[workload, t][column] = float(best.serves[workload])
    return cover


def _month_of(option: RoadOption, month: int) -> float:
    return float(hour_price(option, month) * HOURS_PER_MONTH) / SCALE


def _undominated(case: RoadCase, options: list[RoadOption]) -> list[RoadOption]:
    """Options without those that another one replaces at no greater cost, start by start, in whole machines."""
    groups: dict[Key, list[tuple[RoadOption, float, list[float]]]] = {}
    for option in options:
        serves = {w: u for w, u in option.serves.items() if w in case.demand}
        if not serves:
            continue
        scale = float(max(serves.values()))
        profile = tuple(sorted((w, round(float(u) / scale, 12)) for w, u in serves.items()))
        key = (profile, option.kind, option.term_months, option.lead_months, option.from_month)
        alone = option.have or option.limit is not None or option.switching or option.sell_early is not None
        if alone or option.kind == "rent":
            key = (*key, option.name)
        costs = [_start_cost(option, t, case.months) for t in range(case.months)]
        groups.setdefault(key, []).append((option, scale, costs))
    kept: list[RoadOption] = []
    for members in groups.values():
        members.sort(key=lambda m: (sum(m[2]) / m[1], m[1]))
        chosen: list[tuple[RoadOption, float, list[float]]] = []
        for member in members:
            if not any(_replaces(case, other, member) for other in chosen):
                chosen.append(member)
        kept += [option for option, _, _ in chosen]
    return kept


def _replaces(
    case: RoadCase,
    one: tuple[RoadOption, float, list[float]],
    other: tuple[RoadOption, float, list[float]],
) -> bool:
    times = other[1] / one[1]
    if abs(times - round(times)) > 1e-9 or round(times) < 1:
        return False
    if case.site_kw is not None and float(one[0].kw) * times > float(other[0].kw) + 1e-9:
        return False
    if case.budget_per_quarter is not None and not _pays_no_sooner(one[0], other[0], times):
        return False
    return all(a * times <= b + 1e-12 for a, b in zip(one[2], other[2], strict=True))


def _pays_no_sooner(one: RoadOption, other: RoadOption, times: float) -> bool:
    price, running = float(one.price) * times, float(one.running_per_month) * times
    return price <= float(other.price) and running <= float(other.running_per_month) and one.decline >= other.decline


def _start_cost(option: RoadOption, month: int, months: int) -> float:
    if option.kind == "rent":
        return _month_of(option, month)
    cost = commit_cost if option.kind == "commit" else purchase_cost
    return float(cost(option, month, months)) / SCALE


def _pools(case: RoadCase, options: list[RoadOption]) -> list[_Pool]:
    pools: dict[tuple[tuple[str, float], ...], _Pool] = {}
    for option in options:
        serves = {w: float(u) for w, u in option.serves.items() if w in case.demand}
        scale = max(serves.values())
        profile = tuple(sorted((w, round(u / scale, 12)) for w, u in serves.items()))
        pools.setdefault(profile, _Pool(profile, [])).members.append((option, scale))
    return list(pools.values())


def _cover_pool(model: Model, number: int, pool: _Pool, cover: Cover, power: dict[int, dict[int, float]]) -> None:
    """Columns of a pool's machines, their limits and power, and the workloads that they carry."""
    months = model.case.months
    there: list[dict[int, float]] = [{} for _ in range(months)]
    for option, scale in pool.members:
        machines = _machines(model, option)
        for t in range(months):
            for column, count in machines[t].items():
                there[t][column] = there[t].get(column, 0.0) + scale * count
                if option.kw:
                    power.setdefault(t, {})[column] = float(option.kw) * count
            if option.limit is not None and machines[t]:
                model.at_most(("limit", option.name, t), dict(machines[t]), float(option.limit))
    for t in range(months):
        if not there[t]:
            continue
        if len(pool.serves) == 1:
            workload, speed = pool.serves[0]
            for column, units in there[t].items():
                cover[workload, t][column] = units * speed
            continue
        use = {column: -units for column, units in there[t].items()}
        for workload, speed in pool.serves:
            share = model.column(("share", number, workload, t), 0.0)
            use[share] = 1.0
            cover[workload, t][share] = speed
        model.at_most(("pool", number, t), use, 0.0)


def _machines(model: Model, option: RoadOption) -> list[dict[int, float]]:
    """Per month: the columns whose machines are there."""
    months = model.case.months
    there: list[dict[int, float]] = [{} for _ in range(months)]
    if option.kind == "rent":
        _held(model, option, there)
        return there
    for t in range(months):
        arrives = t + option.lead_months
        if arrives >= months or arrives < option.from_month:
            continue
        column = model.column(("start", option.name, t), _start_cost(option, t, months), whole=True)
        for month in range(arrives, min(arrives + option.term_months, months)):
            there[month][column] = 1.0
        _sold(model, option, t, there)
    _kept(model, option, there)
    return there


def _sold(model: Model, option: RoadOption, start: int, there: list[dict[int, float]]) -> None:
    """Sales before the end of what is ordered in `start`: no more than that, and gone from then on."""
    months = model.case.months
    end = min(start + option.lead_months + option.term_months, months)
    row = {model.index["start", option.name, start]: -1.0}
    for month in sale_months(option, start, months):
        saved = early_cost(option, start, month) - purchase_cost(option, start, months)
        column = model.column(("sell", option.name, start, month), float(saved) / SCALE, whole=True)
        row[column] = 1.0
        for later in range(month, end):
            there[later][column] = -1.0
    if len(row) > 1:
        model.at_most(("sold", option.name, start), row, 0.0)


def _held(model: Model, option: RoadOption, there: list[dict[int, float]]) -> None:
    """Rented machines that are limited, or cost something to take up."""
    before: int | None = None
    for t in range(option.from_month + option.lead_months, model.case.months):
        upper = math.inf if option.limit is None else float(option.limit)
        column = model.column(("hold", option.name, t), _month_of(option, t), upper=upper)
        there[t][column] = 1.0
        if option.switching:
            taken = model.column(("take", option.name, t), float(option.switching) / SCALE)
            row = {column: 1.0, taken: -1.0}
            if before is not None:
                row[before] = -1.0
            model.at_most(("take", option.name, t), row, float(option.have) if before is None else 0.0)
        before = column


def _kept(model: Model, option: RoadOption, there: list[dict[int, float]]) -> None:
    """Machines that are there at the start: a commitment binds, a machine may be kept or sold."""
    last = min(option.have_months, model.case.months)
    before: int | None = None
    if option.have and last and option.kind == "buy":
        model.constant -= option.have * keep_value(option, 0)
    for t in range(last if option.have else 0):
        value = keep_value(option, t)
        if option.kind == "commit":
            column = model.column(("keep", option.name, t), float(month_fee(option, 0)) / SCALE, upper=option.have)
            model.at_most(("bound", option.name, t), {column: -1.0}, -float(option.have))
        else:
            # Selling in t is worth value(t) x (kept before - kept now): each month's keeping costs the value forgone.
            later = keep_value(option, t + 1) if t + 1 <= last else Decimal(0)
            cost = float(option.running_per_month + value - later) / SCALE
            column = model.column(("keep", option.name, t), cost, upper=float(option.have), whole=True)
            if before is not None:
                model.at_most(("keep", option.name, t), {column: 1.0, before: -1.0}, 0.0)
        there[t][column] = 1.0
        before = column


def _add_cash(model: Model, cash: dict[int, dict[int, float]]) -> None:
    """Money out by quarter of every column, in thousands, when there is a budget."""
    if model.case.budget_per_quarter is None:
        return
    for column, key in enumerate(model.keys):
        if key[0] == "start":
            option = model.option(key[1])
            for t in range(key[2], model.case.months):
                amount = float(cash_of(option, key[2], t, model.case.months)) / SCALE
                if amount:
                    row = cash.setdefault(t // 3, {})
                    row[column] = row.get(column, 0.0) + amount
        elif key[0] == "sell":
            _add_sale(model, column, cash)
        elif key[0] in ("rent", "hold", "take"):
            cash.setdefault(key[2] // 3, {})[column] = model.cost[column]
        elif key[0] == "keep":
            option = model.option(key[1])
            fee = month_fee(option, 0) if option.kind == "commit" else option.running_per_month
            cash.setdefault(key[2] // 3, {})[column] = float(fee) / SCALE


def _add_sale(model: Model, column: int, cash: dict[int, dict[int, float]]) -> None:
    """Money that an early sale brings, and the upkeep that is no longer paid."""
    _kind, name, start, month = model.keys[column]
    option = model.option(name)
    end = min(start + option.lead_months + option.term_months, model.case.months)
    for t in range(month, end):
        amount = option.running_per_month + (early_sale(option, start, month) if t == month else 0)
        row = cash.setdefault(t // 3, {})
        row[column] = row.get(column, 0.0) - float(amount) / SCALE


def _add_limits(
    model: Model,
    cover: Cover,
    power: dict[int, dict[int, float]],
    cash: dict[int, dict[int, float]],
    elastic: str | None,
) -> None:
    case = model.case
    for (workload, t), columns in cover.items():
        row = {column: -units for column, units in columns.items()}
        if elastic == "demand":
            row[model.column(("slack", workload, t), 0.0)] = -1.0
        model.at_most(("demand", workload, t), row, -float(case.demand[workload][t]))
    limits = (
        ("power", case.site_kw, power, 1.0),
        ("budget", case.budget_per_quarter, cash, SCALE),
    )
    for name, limit, rows, unit in limits:
        if limit is None:
            continue
        for when, row in sorted(rows.items()):
            given = {model.column(("slack", name, when), 0.0): -1.0} if elastic == name else {}
            model.at_most((name, when), {**row, **given}, float(limit) / unit)


__all__ = ["CENT", "Model", "Solution", "build"]
