"""A comparison for people: one column a way, what breaks even where, and every factor when asked."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from cloudaccel.cli import common
from cloudaccel.decide.judged import duty_lines, judged_reasons, judged_words, may_be_chosen
from cloudaccel.model.decision import Comparison, Estimate, Facility, Line, Swing, Way
from cloudaccel.output.columns import amount_in
from cloudaccel.output.compare_json import formula
from cloudaccel.units import counted

if TYPE_CHECKING:
    from cloudaccel.api.deciding import PricedMachine

_MOST_TURNS = 4  # of who is cheapest: steps of rented machines make many


def render(found: Comparison, *, explain: bool) -> str:
    """The text of the answer."""
    lines = [f"{found.demand_text} · horizon {found.months:f} months · {found.currency} excl. tax", ""]
    lines += _side_by_side(*way_rows(found), common.screen_width())
    lines += ["", *shown_note(found), *verdict_lines(found), *_facilities(found)]
    lines += _swings(found) + _spreads(found)
    lines += [f"Read      {line}" for line in note_lines(found)]
    lines += [f"Not counted in {way.label}: {', '.join(way.not_counted)}." for way in found.ways if way.not_counted]
    lines.append(f"Not counted anywhere: {'; '.join(found.not_counted)}.")
    lines += _explained(found) if explain else _assumed(found)
    return "\n".join(lines) + "\n"


def _side_by_side(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """The columns of the ways, under one another where the screen has no room for all of them."""
    widths = common.column_widths(headings, rows)
    start = 1
    while start < len(headings):
        end, used = start + 1, widths[0] + widths[start] + 4
        while end < len(headings) and (width is None or used + widths[end] + 2 <= width):
            used += widths[end] + 2
            end += 1
        picked = [(line[0], *line[start:end]) for line in (headings, *rows)]
        yield from common.table(picked[0], picked[1:], frozenset(range(1, len(picked[0]))), None)
        if end < len(headings):
            yield ""
        start = end


def note_lines(found: Comparison) -> list[str]:
    """What was read for each way, and what its figures rest on."""
    return [f"{way.label}: {note}" for way in found.ways for note in way.notes]


def way_rows(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the comparison, without rows that say nothing."""
    ways = found.ways
    rows = [
        ["per month", *(_money(w.per_month) for w in ways)],
        ["paid once", *(_money(_sum(w.once)) if w.once else "—" for w in ways)],
        [f"total, {found.months:f} months", *(_money(w.total, unknown=w.unknown is not None) for w in ways)],
        *_paid_rows(found),
        ["per million tokens", *(_money(w.per_million) for w in ways)],
        ["idle part of a month", *(_money(w.idle_per_month) for w in ways)],
        ["load", *("—" if w.load is None else f"{_copies(w)}{w.load * 100:.1f} %" for w in ways)],
        ["$/accel-h at full use", *(_money(w.per_accelerator_hour) for w in ways)],
        ["commitment", *(w.commitment for w in ways)],
        ["lead time", *(w.lead_time for w in ways)],
        ["rules", *("—" if w.verdict is None else judged_words(w.verdict) for w in ways)],
    ]
    if any(w.premium for w in ways):
        rows.insert(1, ["over the raw machine", *(_premium(w) for w in ways)])
    rows += _shown_rows(found)
    kept = [row for row in rows if any(cell != "—" for cell in row[1:])]
    return ["", *(w.label for w in ways)], kept


def _paid_rows(found: Comparison) -> list[list[str]]:
    """Money that is out when the horizon ends, where that is something else than the total."""
    if all(w.money_out == w.total for w in found.ways):
        return []
    cells = [_money(w.money_out, unknown=w.unknown is not None) for w in found.ways]
    return [["money out by then", *cells]]


def _shown_rows(found: Comparison) -> list[list[str]]:
    """Month and total in the currency that was asked for, and with the stated tax, each on a row of its own."""
    shown = found.shown
    if shown is None:
        return []
    rows: list[list[str]] = []
    for name, sums in (("per month", [w.per_month for w in found.ways]), ("total", [w.total for w in found.ways])):
        if shown.source is not None:
            rows.append([f"{name}, {shown.currency}", *(amount_in(shown.amount(s), shown.currency) for s in sums)])
        if shown.tax_percent is not None:
            rows.append([f"tax on it, {shown.currency}", *(amount_in(shown.tax(s), shown.currency) for s in sums)])
    return rows


def shown_note(found: Comparison) -> list[str]:
    """By which rate sums were converted, and whose word the tax is."""
    shown = found.shown
    if shown is None:
        return []
    lines: list[str] = []
    if shown.source is not None:
        lines.append(
            f"{shown.currency} at 1 {found.currency} = {shown.rate.normalize():f} {shown.currency}, {shown.source} of "
            f"{shown.as_of}; what is cheapest is the same."
        )
    if shown.tax_percent is not None:
        lines.append(f"Tax of {shown.tax_percent.normalize():f}% (as you state) is in no sum but its own row.")
    return lines


def _copies(way: Way) -> str:
    return f"{way.copies} × " if way.copies > 1 else ""


def _premium(way: Way) -> str:
    return "—" if way.premium is None else f"{way.premium[0]:+,.2f} ({way.premium[1] * 100:+.1f} %)"


def verdict_lines(found: Comparison) -> list[str]:
    """What is cheapest, what is unknown, and where ways break even."""
    return [*_verdict(found), *_rules(found), *_break_evens(found)]


def _money(amount: Decimal | None, *, unknown: bool = False) -> str:
    if unknown:
        return "unknown"
    if amount is None:
        return "—"
    return f"{amount:,.2f}" if abs(amount) >= Decimal("0.1") or not amount else f"{amount:.4f}"


def _sum(lines: Sequence[Line]) -> Decimal | None:
    amounts = [line.amount for line in lines]
    return None if None in amounts else sum((a for a in amounts if a is not None), Decimal(0))


def _verdict(found: Comparison) -> Iterator[str]:
    for way in found.ways:
        if way.unknown is not None:
            yield f"{way.label}: unknown, {way.unknown.reason}. To settle it: {way.unknown.how_to_settle}."
    if found.without_rules is None:
        yield "No way has a known cost, so none is cheapest."
    elif found.cheapest is None:
        yield "The rules are not shown to allow any way with a known cost, so none is recommended."
    elif len(found.ways) > 1:
        also = " of those with a known cost" if any(w.unknown is not None for w in found.ways) else ""
        if any(not may_be_chosen(w.verdict) for w in found.ways):
            also += " and satisfied rules" if also else " of those whose rules are satisfied"
        if any("serving what was trained" in text for w in found.ways for text in w.not_counted):
            also += ", runs without their serving left out," if found.ways[found.cheapest].lines else ""
        yield f"Cheapest{also} at {found.demand_text}: {found.ways[found.cheapest].label}."


def _rules(found: Comparison) -> Iterator[str]:
    """What the rules do not allow and why, what would settle what is open, and what keeping them costs."""
    judged = [(way, way.verdict) for way in found.ways if way.verdict is not None]
    for way, verdict in judged:
        if not may_be_chosen(verdict):
            yield f"{way.label}: {judged_words(verdict)}, {judged_reasons(verdict)}."
    if found.cheapest != found.without_rules and found.cheapest is not None and found.without_rules is not None:
        kept, free = found.ways[found.cheapest], found.ways[found.without_rules]
        more = (kept.total or Decimal(0)) - (free.total or Decimal(0))
        yield f"Keeping the rules costs {more:,.2f} more over the horizon than {free.label}."
    if judged:
        yield f"Judged by {judged[0][1].judged_by}. {judged[0][1].disclaimer}"
        yield from dict.fromkeys(text for _, verdict in judged for text in duty_lines(verdict))


def _break_evens(found: Comparison) -> Iterator[str]:
    for b in found.break_evens:
        if b.unit == "tokens/month":
            words = b.text if b.at is None else f"breaks even at {b.text}"
            yield f"{b.first} → {b.second}: {words}."
    if len({label for _, label in found.leaders}) > 1 and len(found.volumes) > 2:
        more = len(found.leaders) - _MOST_TURNS
        turns = "; ".join(_leader(at, label) for at, label in found.leaders[:_MOST_TURNS])
        yield f"Cheapest by volume: {turns}{f'; and {more} more turns (--json)' if more > 0 else ''}."
    for way in found.ways:
        own = [b for b in found.break_evens if b.first == way.label and b.unit == "use"]
        if own:
            use = way.use or Decimal("0.6")
            at_use = f"{_money((way.per_accelerator_hour or Decimal(0)) / use)} at {float(use) * 100:g} %"
            many = f" x{way.copies}" if way.copies > 1 else ""
            yield f"{way.label}{many}: {_money(way.per_accelerator_hour)} $/accel-h at 100 % use, {at_use}."
            points = "    ".join(f"{b.rent:.2f}: {b.text.partition(':')[0]}" for b in own)
            yield f"  breaks even with rent at   {points}"
            hours = [b for b in found.break_evens if b.first == way.label and b.unit == "hours"]
            points = "    ".join(f"{b.rent:.2f}: {b.text.partition(':')[0]}" for b in hours)
            if hours:  # of a yearly sum nobody knows what is paid at first
                yield f"  simple payback, hours of full use, with rent at   {points}"


def _leader(at: Decimal, label: str) -> str:
    return f"{label} from {at / 1_000_000_000:.2f} B tokens/month" if at else f"{label} at first"


def _facilities(found: Comparison) -> Iterator[str]:
    for way in found.ways:
        if way.facility is not None and (way.facility.systems > 1 or way.facility.g_per_kwh is not None):
            yield from facility_lines(way.label, way.facility)


def facility_lines(label: str, f: Facility) -> Iterator[str]:
    """What the machines ask of a room."""
    servers = "" if f.servers_cost is None else f" · servers {f.servers_cost:,.0f} USD"
    power = f"IT load {f.it_kw:,.1f} kW · at the meter {f.site_kw:,.1f} kW"
    yield f"{label}: {counted(f.systems, 'system')}{servers} · {power}"
    yield (
        f"  heat {f.heat_btu_per_h:,.0f} BTU/h = {f.cooling_tons:,.0f} tons of cooling "
        f"({f.cooling or 'kind of cooling unknown'})"
    )
    racks = f"{counted(f.racks or 0, 'rack')} of {f.rack_kw:f} kW (rack_kw=), {f.systems_per_rack} in each"
    if f.racks is None:
        racks = f"a rack of {f.rack_kw:f} kW cannot feed one system of {f.it_kw / f.systems:,.1f} kW (rack_kw=)"
    cost = "tariff unknown" if f.electricity_per_year is None else f"{f.electricity_per_year:,.0f} USD"
    yield f"  {racks} · electricity {f.kwh_per_year:,.0f} kWh a year = {cost}"
    if f.carbon_kg_per_year is not None:
        tonnes = f.carbon_kg_per_year / 1000
        yield f"  {f.kwh_per_year:,.0f} kWh × {f.g_per_kwh:f} g/kWh (grid=) = {tonnes:,.1f} t CO2e a year at that load"


def _swings(found: Comparison) -> list[str]:
    if not found.swings:
        return []
    lines = ["", "What moves it (each input from low to high, all others likely; per month)"]
    rows = [
        [s.way, s.name, _short(s.low), _short(s.high), _money(s.cost_at_low), _money(s.cost_at_high),
         _money(s.size), _flip(s)]
        for s in found.swings
    ]  # fmt: skip
    headings = ["WAY", "INPUT", "LOW", "HIGH", "AT LOW", "AT HIGH", "SWING", ""]
    return lines + common.table(headings, rows, frozenset({2, 3, 4, 5, 6}), None) + [""]


def _flip(s: Swing) -> str:
    if not s.flips:
        return ""
    return "another way wins" if s.flips_at is None else f"changes places at {_short(Decimal(f'{s.flips_at:.4g}'))}"


def _spreads(found: Comparison) -> list[str]:
    if not found.spreads:
        return []
    lines = ["", f"All ranges at once (seed {found.seed}; per month)"]
    rows = [[s.way, _money(s.p10), _money(s.p50), _money(s.p90), f"{s.cheapest * 100:.1f} %"] for s in found.spreads]
    return lines + common.table(["WAY", "P10", "P50", "P90", "CHEAPEST"], rows, frozenset({1, 2, 3, 4}), None) + [""]


def _all_inputs(found: Comparison) -> list[tuple[str, Estimate]]:
    return [(way.label, estimate) for way in found.ways for estimate in way.inputs.values()]


def _short(value: Decimal) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value.normalize():f}"


def _assumed(found: Comparison) -> list[str]:
    unverified = [f"{e.name} {_short(e.likely)} {e.unit}" for _, e in _all_inputs(found) if not e.verified]
    lines = ["Every factor, source and date: --explain."]
    if unverified:
        lines.insert(0, f"Assumed, not verified: {'; '.join(dict.fromkeys(unverified))}.")
    return lines


def _explained(found: Comparison) -> list[str]:
    lines = ["", "Shared by all ways", *(f"  {_input(estimate)}" for estimate in found.shared)]
    for way in found.ways:
        lines += ["", f"{way.label}: per month"]
        if way.years and len(way.years[0].lines) > 1:
            lines += [f"  at first, {line.name}: {formula(line)}" for line in way.years[0].lines]
        lines += [f"  {line.name}: {formula(line)}" for line in way.lines]
        lines.append(f"  total {_money(way.per_month)}")
        lines += [f"  once, {line.name}: {formula(line)}" for line in way.once]
        lines += [f"  year {y.year}: {y.total:,.2f}, worth {y.discounted:,.2f} at the start" for y in way.years]
        if way.years:
            lines.append(f"  present value of owning: {sum(y.discounted for y in way.years):,.2f}")
        lines += [f"  {_input(estimate)}" for estimate in way.inputs.values()]
    return lines


def _input(e: Estimate) -> str:
    span = f" ({e.low:f} to {e.high:f})" if e.is_range else ""
    state = "" if e.verified else " NOT VERIFIED"
    return f"{e.name} = {e.likely:f} {e.unit}{span}{state} [{e.change}]  {e.source}, {e.as_of}"


def inventory(priced: "Sequence[PricedMachine]") -> str:
    """Machines of an inventory, with what an hour of each costs."""
    rows = [
        [m.offer.instance, m.offer.region, f"{m.offer.count}×{m.offer.accelerator_name}", _money(m.offer.price.amount),
         _money(m.offer.price_per_accelerator_hour), m.said]
        for m in priced
    ]  # fmt: skip
    headings = ["MACHINE", "PLACE", "ACCELERATORS", "$/H", "$/ACCEL-H", "FROM"]
    return "\n".join(common.table(headings, rows, frozenset({3, 4}), common.screen_width())) + "\n"
