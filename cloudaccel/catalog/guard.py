"""Judges a price list that was just read against what was known, and joins the two. It never guesses.

A price that moved too far is quarantined: shown without an amount until it is seen again on another day. A list that
shrank or moved as a whole is refused, and the old rows stay with their date. What a list no longer names is gone from
that list; what other sources said of it stays, marked as not seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from statistics import median

from cloudaccel.catalog.rows import Row
from cloudaccel.model import offer_id
from cloudaccel.model.quarantine import WORDS

Segment = tuple[str, str, str]  # provider, partition, region

# The widest true moves known: AWS cut P5 by 44 % (2025-06), A100 lists fell by half within a year. Spot moves freely.
MOST_MOVED = {"spot": Decimal(10)}
MOST_MOVED_ELSE = Decimal(3)
SPOT_ABOVE = Decimal(3)  # times on-demand: spot may be dearer, but not so much
_COMPARED = ("on_demand", "spot")  # what is paid at the start makes prices of commitments unlike
_SHRUNK = 0.5  # a list of fewer rows than this part of the last one is refused
_FEW = 10  # lists shorter than this may halve
_MOVED_PART = 0.2  # of the comparable prices
_PEERS = 5  # offers of one accelerator in one market, from which on a new one is compared with their median
_FAR_BELOW = Decimal("0.05")  # of that median: no seller is so cheap; a minimum bid, or cents, is


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One offer that is new (`before` None), gone (`after` None), or has another price."""

    before: Row | None
    after: Row | None


@dataclass(slots=True, kw_only=True)
class Judged:
    """What becomes of one scope: new rows by segment, or the reason for which nothing changes."""

    refused: str = ""
    segments: dict[Segment, list[Row]] = field(default_factory=dict[Segment, list[Row]])
    changes: list[Change] = field(default_factory=list[Change])
    held: dict[str, str] = field(default_factory=dict[str, str])  # offer id → the amount that is not believed yet
    unknown_accelerators: tuple[str, ...] = ()


def judge(
    old: Iterable[Row],
    new: Sequence[Row],
    *,
    known: Mapping[str, str] | None = None,
    confirmed: Mapping[str, str] | None = None,
    believe: bool = False,
) -> Judged:
    """Join `new`, a whole scope as it was read, to `old`, every current row of the same scope.

    Parameters
    ----------
    known
        Last believed amounts by offer id, for offers whose row has none.
    confirmed
        Amounts by offer id that were not believed, and have now been seen on two days.
    believe
        Take the list as it is: the user has looked at it.
    """
    before = {offer_id(row): row for row in old}
    after = {offer_id(row): row for row in new}
    own = frozenset(row["source"] for row in new)
    judged = Judged(unknown_accelerators=tuple(sorted({r["accelerator_name"] for r in new if not r["accelerator_id"]})))
    if not before and not after:
        return judged  # a region that sells none, as before: nothing is lost
    if not believe:
        judged.refused = _shrunk(sum(row["source"] in own for row in before.values()), len(after))
        judged.refused = judged.refused or _strange(before, after, own)
        if not judged.refused:
            after = _hold(before, after, known or {}, confirmed or {}, judged)
    if judged.refused:
        return judged
    _join(before, after, own, judged)
    judged.changes = _changes(before, judged.segments)
    return judged


def _shrunk(before: int, after: int) -> str:
    if after == 0:
        return "the list is empty"
    if before >= _FEW and after < before * _SHRUNK:
        return f"the list shrank from {before} to {after} offers"
    return ""


def _strange(before: Mapping[str, Row], after: Mapping[str, Row], own: frozenset[str]) -> str:
    """Whether a list that is read for the first time misses most of what other sources say of its accelerators."""
    if any(row["source"] in own for row in before.values()):
        return ""
    covered = {_covers(row) for row in after.values()}
    listed = {(_segment(row), *_what(row)) for row in after.values()}
    known = [row for row in before.values() if _covers(row) in covered and row["availability"] != "not_seen"]
    # A price of one accelerator names no machine, and whoever calls every machine otherwise cannot be compared by name.
    comparable = [row for row in known if row["sold_per"] == "instance"]
    if {row["instance"].lower() for row in comparable}.isdisjoint(row["instance"].lower() for row in after.values()):
        return ""
    missing = sum((_segment(row), *_what(row)) not in listed for row in comparable)
    if len(comparable) >= _FEW and missing > len(comparable) * _SHRUNK:
        return f"the list misses {missing} of {len(comparable)} known offers of the accelerators that it names"
    return ""


def _hold(
    before: Mapping[str, Row],
    after: Mapping[str, Row],
    known: Mapping[str, str],
    confirmed: Mapping[str, str],
    judged: Judged,
) -> dict[str, Row]:
    """`after`, with each price that moved too far quarantined; refused as a whole when too many did."""
    found: dict[str, Row] = {}
    compared = 0
    on_demand = {_twin(row): row["price_per_hour"] for row in after.values() if row["market"] == "on_demand"}
    medians = _medians(before, after)
    for identity, row in after.items():
        last = (before[identity]["price_per_hour"] if identity in before else "") or known.get(identity, "")
        compared += bool(last and row["price_per_hour"])
        kept = row
        why = _moved(row, last) or _above(row, on_demand.get(_twin(row), ""))
        why = why or ("" if last else _far_below(row, medians.get(_kind(row))))
        if why and confirmed.get(identity) != row["price_per_hour"]:
            judged.held[identity] = row["price_per_hour"]
            note = f"{row['price_per_hour']} is not believed yet: {why}"
            kept = {**row, "price_per_hour": "", "status": "quarantined", "parts": "", "note": note}
        found[identity] = kept
    if len(judged.held) > max(5, compared * _MOVED_PART):
        judged.refused = f"{len(judged.held)} of {len(after)} prices moved too far at once"
    return found


def _twin(row: Row) -> tuple[str, str, str]:
    return row["region"], row["instance"], row["currency"]


def _moved(row: Row, last: str) -> str:
    if not (last and row["price_per_hour"]):
        return ""
    one, other = sorted((Decimal(last), Decimal(row["price_per_hour"])))
    most = MOST_MOVED.get(row["market"], MOST_MOVED_ELSE)
    return WORDS["price_moved"].format(last=last, most=most) if one * most < other else ""


def _above(row: Row, on_demand: str) -> str:
    if row["market"] != "spot" or not (on_demand and row["price_per_hour"]):
        return ""
    above = Decimal(row["price_per_hour"]) > Decimal(on_demand) * SPOT_ABOVE
    return WORDS["spot_above_on_demand"].format(on_demand=on_demand) if above else ""


def _kind(row: Row) -> tuple[str, ...]:
    return row["accelerator_id"], row["market"], row["currency"]


def _each(row: Row) -> Decimal | None:
    """Price of one accelerator; None when unknown, or when a part is paid at the start."""
    if not (row["accelerator_id"] and row["price_per_hour"]) or row["upfront"]:
        return None
    count = Fraction(row["count"] or 0)
    return Decimal(row["price_per_hour"]) * count.denominator / count.numerator if count > 0 else None


def _medians(before: Mapping[str, Row], after: Mapping[str, Row]) -> dict[tuple[str, ...], Decimal]:
    """Median price of one accelerator over the offers of its kind, where there are enough to tell."""
    prices: dict[tuple[str, ...], list[Decimal]] = {}
    for row in {**before, **after}.values():
        each = _each(row)
        if each is not None and row["market"] in _COMPARED:
            prices.setdefault(_kind(row), []).append(each)
    return {kind: median(found) for kind, found in prices.items() if len(found) > _PEERS}


def _far_below(row: Row, middle: Decimal | None) -> str:
    each = _each(row)
    if middle is None or each is None or each >= middle * _FAR_BELOW:
        return ""
    return WORDS["outlier_low"].format(each=f"{each:.4g}", middle=f"{middle:.4g}")


def _join(before: Mapping[str, Row], after: Mapping[str, Row], own: frozenset[str], judged: Judged) -> None:
    for row in after.values():
        judged.segments.setdefault(_segment(row), []).append(row)
    replaced = {(_segment(row), *_what(row)) for row in after.values()}
    # What the list is able to name: an accelerator that it never has in a market, it may simply not cover.
    covered = {_covers(row) for row in after.values()}
    listed = frozenset(judged.segments)
    for identity, row in before.items():
        if identity in after:
            continue
        segment = _segment(row)
        if row["source"] in own and segment in listed:
            continue  # its own list no longer has it
        if (segment, *_what(row)) in replaced:
            continue  # an older source's word on what the list now prices
        unseen = (row["source"] in own or _covers(row) in covered) and row["availability"] != "not_sold"
        judged.segments.setdefault(segment, []).append({**row, "availability": "not_seen"} if unseen else row)


def _segment(row: Row) -> Segment:
    return row["provider"], row["partition"], row["region"]


def _what(row: Row) -> tuple[str, ...]:
    return row["service"], row["instance"].lower(), row["market"], row["term"]


def _covers(row: Row) -> tuple[str, ...]:
    return row["service"], row["accelerator_id"] or row["accelerator_name"], row["market"]


def _changes(before: Mapping[str, Row], segments: Mapping[Segment, Sequence[Row]]) -> list[Change]:
    now = {offer_id(row): row for rows in segments.values() for row in rows}
    found = [Change(before=before.get(i), after=row) for i, row in now.items() if _differs(before.get(i), row)]
    found += [Change(before=row, after=None) for identity, row in before.items() if identity not in now]
    return sorted(found, key=_place)


def _differs(before: Row | None, after: Row) -> bool:
    if before is None:
        return True
    if any(before[field] != after[field] for field in ("status", "availability")):
        return True
    return any(Decimal(before[field] or -1) != Decimal(after[field] or -1) for field in ("price_per_hour", "upfront"))


def _place(change: Change) -> tuple[str, ...]:
    row = change.after or change.before or {}
    return tuple(row[name] for name in ("provider", "region", "instance", "market", "term"))
