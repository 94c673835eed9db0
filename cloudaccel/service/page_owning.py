"""The break-even panel: an accelerator-hour of one's own over use, against what renting it costs."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from markupsafe import Markup

from cloudaccel.api.deciding import compare
from cloudaccel.errors import QueryError
from cloudaccel.model import Offer
from cloudaccel.model.decision import Comparison
from cloudaccel.output.columns import display_name
from cloudaccel.output.compare_json import formula
from cloudaccel.service import svg

_HOW = re.compile(r" \((?:--[a-z-]+|[a-z]+=)\)")  # how the command line is told of it
_WHOLE = "8"  # accelerators of the servers in the table of owned hardware
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 300, 64, 170, 12, 36
# Words of an option that the panel's fields set; docs/reference/compare.md has their units.
FIELDS = {
    "capex": "Servers, all that is paid at first (USD)",
    "years": "Life (years)",
    "residual": "Left of it at the end (%)",
    "kwh": "Electricity (USD per kWh)",
    "staff": "Staff (USD a year)",
}


class Panel(NamedTuple):
    """The chart, sentences on where the lines cross, and the sum behind them."""

    picture: Markup | None
    lines: tuple[str, ...]
    formulas: tuple[str, ...]


def panel(offer: Offer, rents: Mapping[str, Decimal], given: Mapping[str, str]) -> Panel:
    """The panel for the accelerators of `offer`; `rents` are prices per accelerator-hour by name, in USD.

    Raises
    ------
    QueryError
        If a field cannot be read.
    """
    if offer.accelerator_id is None or offer.count is None or offer.count.denominator != 1:
        return Panel(None, ("Owning is costed for whole accelerators of the table only.",), ())
    found = _compared(offer, [f"{key}={_value(key, text)}" for key, text in given.items()], rents)
    way = found.ways[0]
    if way.unknown is not None or way.label not in found.curves:
        reason = way.unknown.reason if way.unknown is not None else "no curve of its cost is known"
        settle = f" To settle it: {way.unknown.how_to_settle}." if way.unknown is not None else ""
        return Panel(None, (f"Unknown: {reason}.{settle}",), ())
    what = way.label.replace("OWN ", "Owning ").replace(f"×{offer.accelerator_id}", f" × {display_name(offer)}")
    lines = [f"{what}: {way.per_accelerator_hour:,.2f} USD per accelerator-hour at full use."]
    for name, price in rents.items():
        at = next((b for b in found.break_evens if b.unit == "use" and b.rent == price), None)
        if at is not None:
            even = f"even at {at.text}" if at.at is not None else f"owning is {at.text.replace(':', ' cheaper:', 1)}"
            lines.append(f"{name}, {price:,.2f}: {even}.")
    uncounted = [_HOW.sub("", name) for name in (*way.not_counted, *found.not_counted)]
    left = [f"Not counted: {', '.join(uncounted)}."] if way.not_counted else []
    sums = tuple(f"{line.name}: {formula(line)}" for line in (*way.lines, *way.once))
    return Panel(_picture(found, way.label, rents), (*lines, *left), sums)


def _compared(offer: Offer, words: Sequence[str], rents: Mapping[str, Decimal]) -> Comparison:
    """The owned machine of that size against the rents; a part of a server is costed as the whole of eight."""
    fault: QueryError | None = None
    for count in dict.fromkeys((str(offer.count), _WHOLE)):
        option = ",".join([f"own:{count}x{offer.accelerator_id}", *words])
        try:
            found = compare([option], rents=list(dict.fromkeys(rents.values())))
        except QueryError as error:
            fault = fault or error
            continue
        if found.ways[0].unknown is None or count == _WHOLE:
            return found
    raise fault or QueryError("owning it cannot be costed.")


def _value(key: str, text: str) -> str:
    """The field as the option's word has it; a comma would start the next word."""
    clean = text.replace(",", "").strip()
    return f"{clean}%" if key == "residual" and not clean.endswith("%") else clean


def _picture(found: Comparison, label: str, rents: Mapping[str, Decimal]) -> Markup:
    points = found.curves[label]
    top = svg.nice_ceiling(max(*(float(r) for r in rents.values()), float(points[-1][1])) * 1.5)
    frame = svg.Frame(_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM, 0.0, 1.0, 0.0, top)
    inside = [(frame.x(float(u)), frame.y(float(y))) for u, y in points if float(y) <= top]
    parts = [svg.axes(frame, [(u / 4, f"{u * 25} % use") for u in range(5)]), svg.path(inside, "c0")]
    ends = [inside[-1][1], *(frame.y(float(price)) for price in rents.values())]
    right = frame.width - frame.right
    for i, price in enumerate(rents.values(), 1):
        parts.append(svg.path([(frame.left, frame.y(float(price))), (right, frame.y(float(price)))], f"c{i % 5}"))
    names = ["owned", *(f"{name} {price:,.2f}" for name, price in rents.items())]
    for i, (y, name) in enumerate(zip(svg.spread(ends, 16), names, strict=True)):
        parts.append(
            Markup('<text class="t{}" x="{}" y="{}">{}</text>').format(i % 5, right + 6, round(y + 4, 1), name)
        )
    for crossing in found.break_evens:
        if crossing.unit == "use" and crossing.at is not None and crossing.rent is not None:
            x, y = frame.x(float(crossing.at)), frame.y(float(crossing.rent))
            parts.append(
                Markup('<circle class="cross" cx="{}" cy="{}" r="4.5"/><text x="{}" y="{}">{}</text>').format(
                    round(x, 1), round(y, 1), round(x + 7, 1), round(y - 7, 1), f"{float(crossing.at):.0%}"
                )
            )
    said = (
        f"Cost of an accelerator-hour over use, owned against {len(rents)} rents; the sentences below have the figures"
    )
    return svg.picture(frame, said, *parts)
