"""From an ``own:`` option to machines with every input settled: given, from the tables, or not counted."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal

from cloudaccel.cost.owned import ADDED_SHARES, Owned
from cloudaccel.decide.options import PERIODIC, OptionSpec
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.facts import expressions, names, owned, places
from cloudaccel.facts.owned import OwnedSystem
from cloudaccel.model.decision import Estimate
from cloudaccel.model.unknown import Unknown

_LEADING_COUNT = re.compile(r"^(\d+)\s*[x×]\s*(.+)$")
# Input -> the words under which it is listed when it is not counted.
_COUNTABLE = {
    "wacc": "cost of capital (wacc=)", "network": "network (network=)", "storage": "storage (storage=)",
    "spares": "spares (spares=)", "maintenance": "maintenance (maintenance=)", "insurance": "insurance (insurance=)",
    "staff": "staff (staff=)", "colo": "colocation or a room (colo=, room=)", "kwh": "electricity (kw= and kwh=)",
}  # fmt: skip
WORLD = "World average (business)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where owned machines would stand: a tariff by `country` (None: not said), and rates of other currencies."""

    country: str | None = None
    rates: Mapping[str, Decimal] | None = None  # currency -> USD for one unit
    rates_said: str = "as given by you"  # who says so, and of which day


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedCase:
    """Machines as they will be costed, with what could not be settled and what is left out."""

    owned: Owned
    system: OwnedSystem | None
    accelerator_ids: frozenset[str]
    unknown: Unknown | None
    not_counted: tuple[str, ...]
    notes: tuple[str, ...]
    staff_by_systems: bool = False  # the people come from the table, which has few for many systems


def named_accelerators(what: str) -> tuple[frozenset[str], int]:
    """Accelerators that an expression names and how many in all: ``H100-SXM:8x2`` is 16, ``8xH100`` is 8.

    Raises
    ------
    UnknownName
        If no accelerator has that name.
    """
    leading = _LEADING_COUNT.match(what)
    written = f"{leading.group(2)}:{leading.group(1)}" if leading else what
    terms = expressions.parse_expression(written)
    ids = frozenset(i for term in terms for i in term.accelerator_ids)
    count = terms[0].count
    return ids, int(count) * terms[0].nodes if count is not None and count >= 1 else 1


def owned_case(spec: OptionSpec, place: Place, scope: str) -> OwnedCase:
    """The machines of an option.

    When the caller gives no capex, price, opex or energy, everything comes from the tables and can be changed by its
    key. When the caller does, only what the caller names is counted, and the rest is listed; ``fill=yes`` adds it.
    """
    system, ids, count, notes = _machines(spec)
    if system is not None and not system.buyable:
        return _not_sold(spec, system, ids, count)
    given = dict(spec.numbers)
    priced = any(key in given for key in ("capex", "annual", "energy", "opex"))
    fill = spec.words.get("fill", "no" if priced else "yes").lower() in ("yes", "y", "true")
    systems = _systems(spec, system, count)
    inputs = _own_inputs(given, system, systems, count, bare=priced and not fill)
    for name, row in (("rack_kw", "rack_kw"), ("lead_weeks", "lead_time_weeks")):
        inputs.setdefault(name, replace(owned.owning()[row], name=name, change=f"{name}="))
    if (grid := _grid(spec, place)) is not None:
        inputs.setdefault("grid", grid)
    periodic = {key: spec.units[key] for key in PERIODIC if key in given}
    if "annual" in given:
        periodic["annual"] = "y"
    unknown = _tariff(inputs, spec, place, fill)
    if fill:
        _fill(inputs, periodic, spec, systems, notes)
    elif "capex" in inputs and "years" not in inputs:
        inputs["years"] = owned.owning()["years"]
        notes.append(f"life of {inputs['years'].likely} years is assumed; change it with years=")
    if "capex" not in inputs and "server" not in inputs and not priced:
        unknown = Unknown(f"nobody has said what {spec.what or 'it'} costs", "give capex=, or the id of a server")
    case = Owned(
        accelerators=count, systems=systems, inputs=inputs, periodic=periodic,
        residual_is_money=spec.units.get("residual") == "USD", counted=scope, cooling=system.cooling if system else "",
    )  # fmt: skip
    return OwnedCase(
        owned=case, system=system, unknown=unknown,
        accelerator_ids=frozenset({system.accelerator_id}) if system and "server" in inputs else ids,
        not_counted=_left_out(case, scope), notes=tuple(notes),
        staff_by_systems=fill and "staff" not in given,
    )  # fmt: skip


def _machines(spec: OptionSpec) -> tuple[OwnedSystem | None, frozenset[str], int, list[str]]:
    """The system, its accelerators, how many of them, and how the name was read."""
    said = spec.likely("accelerators")
    if not spec.what:
        return None, frozenset(), int(said or 1), []
    system = _system_named(spec.what)
    if system is not None:
        count = int(said or (spec.likely("systems") or 1) * system.accelerators)
        return system, frozenset({system.accelerator_id}), count, []
    ids, count = named_accelerators(spec.what)
    if said is not None:
        count = int(said)
    known = owned.systems_with(ids)
    if not known:
        return None, ids, count, [f"no server with {spec.what} is in the table of owned hardware"]
    notes: list[str] = []
    others = [s.id for s in known[1:4] if s.buyable]
    if "capex" not in spec.numbers and others:
        notes.append(f"{spec.what} is read as {known[0].id} ({known[0].name}); also {', '.join(others)}")
    return known[0], ids, count, notes


def _system_named(what: str) -> OwnedSystem | None:
    try:
        return owned.find_system(what)
    except UnknownName:
        return None


def _not_sold(spec: OptionSpec, system: OwnedSystem, ids: frozenset[str], count: int) -> OwnedCase:
    others = [s.name for s in owned.systems() if s.buyable and s.verified][:3]
    unknown = Unknown(
        f"{names.short_name(system.accelerator_id)} cannot be bought: {system.source}",
        f"rent it, or own something that is sold, such as {', '.join(others)}",
    )
    case = Owned(accelerators=count, systems=1, inputs=spec.numbers)
    return OwnedCase(owned=case, system=system, accelerator_ids=ids, unknown=unknown, not_counted=(), notes=())


def _systems(spec: OptionSpec, system: OwnedSystem | None, count: int) -> int:
    said = spec.likely("systems")
    if said is not None:
        return int(said)
    if system is None or not system.accelerators:
        return 1
    return int((Decimal(count) / system.accelerators).to_integral_value(rounding=ROUND_CEILING))


_OTHER_KEYS = ("accelerators", "systems", "annual", "tokens", "throughput", "use", "hours", "data", "labour")


def _own_inputs(
    given: Mapping[str, Estimate], system: OwnedSystem | None, systems: int, count: int, *, bare: bool
) -> dict[str, Estimate]:
    """Inputs that are given, with price and power of the system where the caller left them open (`bare`: not)."""
    inputs = {key: value for key, value in given.items() if key not in _OTHER_KEYS}
    if "annual" in given:
        inputs["annual"] = given["annual"]
    if system is None:
        return inputs
    capital = {"capex", "annual", "opex", "energy", "server"} & set(inputs)
    if not bare and not capital and system.price is not None:
        inputs["server"] = system.price
    if system.accelerators and count % system.accelerators and "capex" not in inputs:
        raise QueryError(
            f"{system.name} has {system.accelerators} accelerators, and {count} were asked for: "
            f"own whole systems, such as {systems * system.accelerators}."
        )
    if "kw" not in inputs and system.max_kw is not None and not bare:
        kw = system.max_kw * systems
        inputs["kw"] = Estimate(
            "kw", kw, kw, kw, "kW", f"{systems} x {system.max_kw} kW: {system.source}", system.as_of, system.verified,
            "kw=",
        )  # fmt: skip
    return inputs


def _tariff(inputs: dict[str, Estimate], spec: OptionSpec, place: Place, fill: bool) -> Unknown | None:
    """Electricity from the table when a place is named, or when everything is to be filled."""
    country = spec.words.get("country") or place.country
    if "kwh" in inputs or not (country or fill) or not ("kw" in inputs or "energy" in inputs):
        return None
    row = owned.tariff(country or WORLD)
    price = replace(row.price, source=f"{row.name}: {row.price.source}", change="kwh= or country=")
    if row.currency != "USD":
        rate = (place.rates or {}).get(row.currency)
        if rate is None:
            return Unknown(
                f"the electricity tariff of {row.name} is in {row.currency} ({row.price.likely} per kWh)",
                f"give the rate {row.currency}USD=… (--fx, or fx in a roadmap), the ECB's (--fx-file), or kwh= in USD",
            )
        low, likely, high = (value * rate for value in (price.low, price.likely, price.high))
        price = replace(
            price,
            low=low,
            likely=likely,
            high=high,
            unit="USD per kWh",
            source=f"{price.source}, at {rate} USD for one {row.currency} {place.rates_said}",
        )
    inputs["kwh"] = price
    return None


def _grid(spec: OptionSpec, place: Place) -> Estimate | None:
    """What a kWh emits in the country that is named, by the average of its grid; None when nobody says."""
    named = spec.words.get("country") or place.country
    codes = places.resolve_countries(named) if named else frozenset[str]()
    found = places.country_grid(next(iter(codes))) if len(codes) == 1 else None
    if found is None:
        return None
    grams, scope = Decimal(str(found[0])), found[1]
    source = f"{scope}, as for the regions of clouds there"
    return Estimate("grid", grams, grams, grams, "g CO2e per kWh", source, scope.rpartition(" ")[2], True, "grid=")


def _fill(
    inputs: dict[str, Estimate], periodic: dict[str, str], spec: OptionSpec, systems: int, notes: list[str]
) -> None:
    """Everything that the caller left open, from the table of owning."""
    table = owned.owning()
    site = spec.words.get("site", "colo")
    if site not in ("colo", "room"):
        raise QueryError(f"--option {spec.text!r}: site={site!r} is neither colo nor room.")
    plain = ["years", "residual", "wacc", "load", "spares"]
    plain += list(ADDED_SHARES) if systems > 1 else []
    if site == "room":
        plain.append("retrofit")
    for name in plain:
        inputs.setdefault(name, table[name])
    pue = table["pue_room" if site == "room" and systems < 10 else "pue"]
    inputs.setdefault("pue", replace(pue, name="pue", change="pue="))
    for name, per in (("maintenance", "fraction/y"), ("insurance", "fraction/y"), ("software", "accel-y")):
        _recurring(inputs, periodic, name, per, table[name])
    if site == "colo":
        _recurring(inputs, periodic, "colo", "kW-month", table["colo"])
    _recurring(inputs, periodic, "staff", "y", _staff(systems))
    if systems == 1:
        notes.append(
            "one system a copy: no network between systems and no shared storage is counted (network=, storage=)"
        )


def _recurring(inputs: dict[str, Estimate], periodic: dict[str, str], name: str, per: str, estimate: Estimate) -> None:
    if name not in inputs:
        inputs[name] = estimate
        periodic[name] = per


def _staff(systems: int) -> Estimate:
    """Yearly cost of the people who run so many systems: a minimum for a site, more with the machines."""
    table = owned.owning()
    least, each, cost = table["staff_minimum_fte"], table["machines_per_fte"], table["fte_cost"]
    values = [
        max(few, systems / many) * pay
        for few, many, pay in (
            (least.low, each.high, cost.low), (least.likely, each.likely, cost.likely),
            (least.high, each.low, cost.high),
        )
    ]  # fmt: skip
    source = (
        f"max({least.likely} FTE, {systems} systems / {each.likely}) x {cost.likely:,} USD; {least.source}; "
        f"{each.source}; {cost.source}"
    )
    low, likely, high = values
    return Estimate("staff", low, likely, high, "USD/y", source, least.as_of, False, "staff=")


def staff_times(systems: int, copies: int) -> Decimal:
    """How many times the people of `systems` so many copies of them take: by the table, one person runs many."""
    table = owned.owning()
    least, each = table["staff_minimum_fte"].likely, table["machines_per_fte"].likely
    return max(least, systems * copies / each) / max(least, systems / each)


def _left_out(case: Owned, scope: str) -> tuple[str, ...]:
    if scope == "marginal":
        return ("everything but power: marginal cost of machines that are there anyway",)
    covered: set[str] = set(case.inputs)
    if "room" in covered or "retrofit" in covered:
        covered.add("colo")
    if "annual" in covered or "opex" in covered:
        return ("what the yearly or running sum that was given does not include",)
    return tuple(_names_of(set(_COUNTABLE) - covered))


def _names_of(missing: Iterable[str]) -> list[str]:
    wanted = set(missing)
    return [text for key, text in _COUNTABLE.items() if key in wanted]
