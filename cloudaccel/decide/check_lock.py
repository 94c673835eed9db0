"""An independent check of ``plan.lock.json``: total, verdicts and optimality proved again from the file alone.

It shares no code with the planner, on purpose: a mistake in the planner is not repeated here. Standard library only.
What it cannot prove is what the lock takes as given: that the prices are those of the catalog it names, and that the
sizing is right.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, cast

SCHEMA = "cloudaccel-lock/1"
# The hours in the lock are rounded upwards to 0.0001 h, the estimate that they come from to 0.001 h.
_HOURS_ROUNDING = Decimal("0.0011")
_CENT_FRACTION = Decimal("0.000001")  # USD by the hour, to which a paid sum is divided
# None: no rule was asked for. Unanswered: nobody named a pack, and only facts about the organisation are missing.
_ALLOWED = (None, "compliant", "accepted_risk", "unanswered")


class NotALock(Exception):
    """The file is no lock that can be checked; the text says why."""


@dataclass(slots=True)
class Checked:
    """What was proved: the number of statements by kind, and every statement that is false."""

    proved: dict[str, int] = field(default_factory=dict[str, int])
    wrong: list[str] = field(default_factory=list[str])

    def that(self, kind: str, holds: bool, otherwise: str) -> None:
        """Count one statement; a false one is kept with `otherwise`, which says what the file has instead."""
        if holds:
            self.proved[kind] = self.proved.get(kind, 0) + 1
        else:
            self.wrong.append(f"{kind}: {otherwise}")


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of ``considered``; None is unknown."""

    offer_id: str
    accelerator: str
    count: str
    machines: Decimal
    verdict: str
    hours: Decimal
    machine_hours: Decimal
    price: Decimal | None
    other: Decimal | None
    total: Decimal | None
    carbon: Decimal | None
    policy: str | None
    blocked: tuple[str, ...]


def check(lock: Mapping[str, Any]) -> Checked:
    """Prove a lock again.

    Raises
    ------
    NotALock
        If the schema is another, or something that the proof needs is missing or unreadable.
    """
    if lock.get("schema") != SCHEMA:
        raise NotALock(f"its schema is {lock.get('schema')!r}, not {SCHEMA!r}")
    found = Checked()
    try:
        rows = [_row(cast(str, lock["considered"]["columns"]).split(), text) for text in lock["considered"]["rows"]]
        if (held := lock.get("reservation")) is not None:
            _held(found, lock, held)
        for option, name in _options(lock):
            _sums(found, option, name, held)
            _judged(found, option, name, lock["limits"], _serving(lock))
        for number, row in enumerate(rows, 1):
            _row_holds(found, row, f"row {number}", lock["limits"], _serving(lock))
        _hours(found, lock)
        _choice(found, lock, rows)
        _failover(found, lock)
        _rules_cost(found, lock)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise NotALock(
            f"something the proof needs is missing or unreadable ({type(error).__name__}: {error})"
        ) from error
    return found


def _options(lock: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    if lock["chosen"] is not None:
        yield lock["chosen"], "chosen"
    for name in ("without_rules", "if_settled"):
        if lock["rules_cost"][name] is not None:
            yield lock["rules_cost"][name], name
    for group in ("options", "near", "failover"):
        for number, option in enumerate(lock[group], 1):
            yield option, f"{group} {number}"


def _serving(lock: Mapping[str, Any]) -> bool:
    return lock["request"]["job"].get("task") == "serve"


def _sums(found: Checked, option: Mapping[str, Any], name: str, held: Mapping[str, Any] | None) -> None:
    """Every line multiplies to its amount, the first is machines x hours at the offer's price, and all add up.

    Machines of a reservation are paid, used or not: their hours are at 0.
    """
    total: Decimal | None = Decimal(0)
    for line in option["lines"]:
        quantity, price, amount = Decimal(line["quantity"]), _decimal(line["unit_price"]), _decimal(line["amount"])
        product = None if price is None else quantity * price
        found.that(
            "sums", product == amount, f"{name}, {line['name']}: {quantity} × {price} is {product}, not {amount}"
        )
        total = None if total is None or amount is None else total + amount
    stated = _decimal(option["total"])
    found.that("sums", total == stated, f"{name}: the lines add up to {total}, not {stated}")
    compute, price = option["lines"][0], "0" if held is not None else option["price"]["price_per_hour"]
    found.that("sums", compute["unit_price"] == price, f"{name} is paid at {compute['unit_price']}, offered at {price}")
    least = Decimal(option["hours"]) * Decimal(option["nodes"])
    exact = (
        held is not None or option["market"]["term"] is None
    )  # a commitment is paid for its whole term, so never less than the run
    paid = Decimal(compute["quantity"])
    holds = paid == least if exact else paid >= least
    found.that(
        "sums", holds, f"{name}: {option['nodes']} machines for {option['hours']} h are {least}, paid are {paid}"
    )


def _held(found: Checked, lock: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """All is planned on the held machines, within the window, and what was paid is by the hour what it is in all."""
    hours, sunk, each = Decimal(held["hours"]), _decimal(held["sunk"]), _decimal(held["sunk_per_hour"])
    off = None if sunk is None or each is None else abs(sunk - each * hours)
    same = sunk is each if off is None else off <= _CENT_FRACTION * hours
    found.that("sums", same, f"the reservation: {each} an hour for {hours} h is not {sunk}")
    length = (datetime.fromisoformat(held["end"]) - datetime.fromisoformat(held["start"])).total_seconds()
    limit = lock["limits"]["deadline_s"]
    within = abs(Decimal(str(length)) - hours * 3600) < 1 and limit is not None and limit <= length
    found.that("verdicts", within, f"the window has {length} s, said to be {hours} h, and the deadline is {limit} s")
    used = {(option["offer_id"], option["nodes"] <= held["machines"]) for option, _ in _options(lock)}
    found.that("verdicts", len(used) < 2 and all(few for _, few in used), f"not all is held in {held['id']}")


def _judged(found: Checked, option: Mapping[str, Any], name: str, limits: Mapping[str, Any], serving: bool) -> None:
    """Memory, deadline, budget and policy: what is said to be against the option is, and nothing else."""
    reasons = {entry["reason"] for entry in option["blocked"]}
    memory, verdict = option["fit"]["memory_gib"], option["fit"]["verdict"]
    found.that("verdicts", verdict in ("fits", "tight"), f"{name}: its verdict is {verdict!r}")
    if memory is not None and verdict == "fits":
        peak = max(memory["step"], memory["checkpoint"], memory["load"])
        holds = peak <= memory["available"]
        found.that("verdicts", holds, f"{name} needs {peak} GiB and has {memory['available']}, and is said to fit")
    expected = _against(Decimal(option["hours"]), _decimal(option["total"]), option["policy"]["state"], limits, serving)
    found.that(
        "verdicts", reasons == expected, f"{name} is blocked by {_names(reasons)}, and should be {_names(expected)}"
    )


def _against(
    hours: Decimal, total: Decimal | None, policy: str | None, limits: Mapping[str, Any], serving: bool
) -> set[str]:
    """The limits that an option breaks, worked out from the numbers."""
    broken: set[str] = set()
    budget = _decimal(limits["budget"])
    if policy not in _ALLOWED:
        broken.add("policy")
    if limits["deadline_s"] is not None and not serving and hours * 3600 > Decimal(str(limits["deadline_s"])):
        broken.add("deadline")
    if budget is not None and (total is None or total > budget):
        broken.add("budget")
    return broken


def _row_holds(found: Checked, row: _Row, name: str, limits: Mapping[str, Any], serving: bool) -> None:
    total = None if row.price is None or row.other is None else row.machine_hours * row.price + row.other
    found.that("sums", total == row.total, f"considered {name}: its parts make {total}, not {row.total}")
    enough = row.machine_hours >= row.hours * row.machines
    found.that(
        "sums", enough, f"considered {name} pays {row.machine_hours} machine-hours of {row.hours * row.machines}"
    )
    expected = _against(row.hours, row.total, row.policy, limits, serving)
    holds = set(row.blocked) == expected
    found.that(
        "verdicts", holds, f"considered {name} is blocked by {_names(set(row.blocked))}, should be {_names(expected)}"
    )


def _hours(found: Checked, lock: Mapping[str, Any]) -> None:
    """The hours that are paid are the likely estimate and the start-up, and the range holds its likely value."""
    hours, chosen = lock["hours"], lock["chosen"]
    if chosen is None or hours is None or hours["likely"] is None:
        return
    likely = Decimal(str(hours["likely"]))
    setup = next((Decimal(a["value"]) for a in lock["assumptions"] if a["name"] == "setup_h"), None)
    if setup is not None:
        off = abs(Decimal(chosen["hours"]) - likely - setup)
        text = f"{chosen['hours']} h are paid, the estimate of {likely} and {setup} of start-up are {likely + setup}"
        found.that("verdicts", off <= _HOURS_ROUNDING, text)
    if hours["low"] is not None and hours["high"] is not None:
        ordered = hours["low"] <= hours["likely"] <= hours["high"]
        found.that(
            "verdicts", ordered, f"the hours {hours['low']}, {hours['likely']}, {hours['high']} are out of order"
        )


def _choice(found: Checked, lock: Mapping[str, Any], rows: list[_Row]) -> None:
    """The choice is the first option, it stands in the rows, and no allowed row comes before it."""
    chosen, options = lock["chosen"], lock["options"]
    free = [row for row in rows if not row.blocked]
    if chosen is None:
        found.that("optimality", not free, f"nothing was chosen, and {len(free)} rows break no limit")
        return
    found.that("optimality", bool(options) and options[0] == chosen, "what was chosen is not the first option")
    own = [row for row in free if row.offer_id == chosen["offer_id"] and row.machines == Decimal(chosen["nodes"])]
    same = any(row.total == _decimal(chosen["total"]) and row.hours == Decimal(chosen["hours"]) for row in own)
    found.that("optimality", same, "what was chosen does not stand among what was considered")
    key = _RANKS[lock["rank_by"]]
    if not own:
        return
    best = key(own[0])
    for row in free:
        text = (
            f"{row.offer_id} ({row.accelerator}:{row.count} ×{row.machines}, total {row.total}) comes before the choice"
        )
        found.that("optimality", key(row) >= best, text)
    order = [_rank_of(lock["rank_by"], option) for option in options]
    found.that("optimality", order == sorted(order), "the options are not in the order that was asked for")


def _failover(found: Checked, lock: Mapping[str, Any]) -> None:
    """A launch may only move to the same hardware, with nothing against it."""
    chosen = lock["chosen"]
    for number, option in enumerate(lock["failover"], 1):
        same = chosen is not None and all(option[key] == chosen[key] for key in ("accelerator", "nodes"))
        found.that("failover", same and not option["blocked"], f"place {number} is other hardware, or is not allowed")


def _rules_cost(found: Checked, lock: Mapping[str, Any]) -> None:
    """What the rules cost is the choice less what they keep out, and they alone keep that out."""
    cost, chosen = lock["rules_cost"], lock["chosen"]
    for name in ("without_rules", "if_settled"):
        if cost[name] is not None:
            alone = [entry["reason"] for entry in cost[name]["blocked"]] == ["policy"]
            found.that("verdicts", alone, f"{name} is kept out by more than a rule, or by none")
    other, stated = cost["without_rules"], _decimal(cost["difference"])
    totals = [_decimal(option["total"]) for option in (chosen, other) if option is not None]
    known = [total for total in totals if total is not None]
    difference = known[0] - known[1] if len(known) == 2 else None
    found.that("sums", stated == difference, f"the rules are said to cost {stated}, the totals say {difference}")


def _unknown_last(value: Decimal | None) -> tuple[bool, Decimal]:
    return value is None, value or Decimal(0)


_RANKS: Mapping[str, Callable[[_Row], tuple[object, ...]]] = {
    "cost": lambda row: (*_unknown_last(row.total), row.hours),
    "time": lambda row: (row.hours, *_unknown_last(row.total)),
    "carbon": lambda row: (*_unknown_last(row.carbon),),
}


def _rank_of(rank_by: str, option: Mapping[str, Any]) -> tuple[bool, Decimal]:
    """The first thing that an option is ranked by."""
    if rank_by == "time":
        return False, Decimal(option["hours"])
    return _unknown_last(_decimal(option["total"] if rank_by == "cost" else option["carbon_kg"]))


def _row(columns: list[str], text: str) -> _Row:
    words = text.split(" ")
    if len(words) != len(columns):
        raise ValueError(f"a considered row has {len(words)} words for {len(columns)} columns")
    cell = dict(zip(columns, words, strict=True))
    return _Row(
        offer_id=cell["offer_id"], accelerator=cell["accelerator_id"], count=cell["count"],
        machines=Decimal(cell["machines"]), verdict=cell["verdict"], hours=Decimal(cell["hours"]),
        machine_hours=Decimal(cell["machine_hours"]), price=_decimal(cell["price_per_hour"]),
        other=_decimal(cell["other"]), total=_decimal(cell["total"]), carbon=_decimal(cell["carbon_kg"]),
        policy=None if cell["policy"] == "-" else cell["policy"],
        blocked=() if cell["blocked"] == "-" else tuple(cell["blocked"].split(",")),
    )  # fmt: skip


def _decimal(value: object) -> Decimal | None:
    """A number of the file; null and '-' are unknown. Not-a-number and infinity are no numbers here."""
    if value is None or value == "-":
        return None
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError(f"{value!r} is no number")
    return number


def _names(reasons: set[str]) -> str:
    return ", ".join(sorted(reasons)) or "nothing"
