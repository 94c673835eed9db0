"""Ways that can be costed: an option with its prices found, as a function from inputs and demand to lines."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal
from functools import partial

from cloudaccel.cost.npv import mean_share
from cloudaccel.cost.owned import Owned, capex_of, monthly_lines
from cloudaccel.decide.judged import JudgeFor, verdict_of_option
from cloudaccel.decide.options import PERIODIC, TRAINED, OptionSpec
from cloudaccel.decide.owning import Place, named_accelerators, owned_case, staff_times
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.model import HOURS_PER_MONTH, Offer
from cloudaccel.model.decision import Estimate, Factor, Line, total_of_lines
from cloudaccel.model.unknown import Unknown
from cloudaccel.model.verdict import Verdict

Values = Mapping[str, Decimal]
MILLION = Decimal(1_000_000)
_HOURS = Decimal(HOURS_PER_MONTH)
_S_PER_H = Decimal(3600)
_PER_MACHINE = 8  # accelerators, of what has no machine that large


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A price that somebody found: of `accelerators` for one hour, with who offers it and how it binds.

    `bound` is set for a commitment, whose every hour is paid, used or not, for `term_hours`; `upfront` is paid once
    beside the hours.
    """

    price: Estimate
    accelerators: int | None
    label: str
    commitment: str = "none"
    accelerator_ids: frozenset[str] = frozenset()
    market: str = "on_demand"
    bound: bool = False
    upfront: Estimate | None = None
    offer: Offer | None = None
    term_hours: Decimal | None = None


PriceFinder = Callable[[OptionSpec], "Found | Unknown"]
HoursFinder = Callable[[OptionSpec, Offer | None], "Estimate | Unknown"]
SpeedFinder = Callable[[frozenset[str], int], "Estimate | Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What all options share.

    Attributes
    ----------
    tokens_per_month
        What is wanted; None: no demand in tokens.
    hours
        Hours a month that rented machines are on, unless the option says its own.
    months
        Over which totals are taken.
    mix
        Shares of tokens: ``in``, ``cached``, ``out``, adding up to 1; empty when not said.
    everyone
        Costs that every option bears unless it states its own: ``people``, ``data`` … with their units.
    find_price, find_speed, find_hours
        Look a rent up in the catalog; size a model on accelerators (tokens per second of all of them); size a training
        run on the machines of an offer, None: of nobody in particular (accelerator-hours).
    judge
        Rules to judge every way by; None: nothing is judged.
    """

    tokens_per_month: Decimal | None
    hours: Decimal
    months: Decimal
    mix: Mapping[str, Decimal]
    everyone: Mapping[str, tuple[Estimate, str]]
    place: Place
    scope: str
    today: str
    find_price: PriceFinder
    find_speed: SpeedFinder
    find_hours: HoursFinder
    measured: tuple[tuple[frozenset[str], Estimate], ...] = ()  # tokens/s of one accelerator, from another option
    judge: JudgeFor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way as a function: `monthly` gives the lines of one copy from values of `inputs` and tokens per month.

    `throughput` is an input name; capacity is what it makes in the hours that the machines are on. `serves` is False
    for a run whose serving is not counted: it is no rival of ways that serve. `commitment` says what so many copies
    bind to. `at_scale` has the lines that do not grow with the copies: how often so many take the line of one.
    `term_hours` is how long a commitment binds, `horizon` the months over which what is paid once is spread.
    """

    kind: str
    label: str
    inputs: Mapping[str, Estimate]
    monthly: Callable[[Values, Decimal | None], tuple[Line, ...]]
    once: Callable[[Values], tuple[Line, ...]] = lambda _values: ()
    accelerators: int | None = None
    hours: Decimal = _HOURS
    use: Decimal | None = None
    rent_per_accelerator_hour: Decimal | None = None
    commitment: Callable[[int], str] = lambda _copies: "none"
    term_hours: Decimal | None = None
    horizon: Decimal = Decimal(12)
    at_scale: Mapping[str, Callable[[int], Decimal]] = field(default_factory=dict[str, Callable[[int], Decimal]])
    lead_time: str = "minutes"
    owned: Owned | None = None
    unknown: Unknown | None = None
    own_tokens: Decimal | None = None
    serves: bool = True
    not_counted: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    accelerator_ids: frozenset[str] = frozenset()
    offer: Offer | None = None
    verdict: Verdict | None = None
    beside: frozenset[str] = frozenset()  # lines of people beside the machines, which are no cost of the machines

    def likely(self) -> dict[str, Decimal]:
        """The likely value of every input."""
        return {name: estimate.likely for name, estimate in self.inputs.items()}

    def capacity(self, values: Values) -> Decimal | None:
        """Tokens per month of one copy that is always full; None when it has no known rate."""
        rate = values.get("throughput")
        return None if rate is None else rate * _S_PER_H * self.hours

    def copies(self, values: Values, tokens: Decimal | None) -> int:
        """How many copies carry so many tokens per month, at least 1."""
        capacity = self.capacity(values)
        if tokens is None or not capacity:
            return 1
        return max(1, int((tokens / capacity).to_integral_value(rounding=ROUND_CEILING)))

    def lines(self, values: Values, tokens: Decimal | None) -> tuple[Line, ...]:
        """Lines of a month for as many copies as the demand needs."""
        return self.for_copies(self.monthly(values, tokens), self.copies(values, tokens))

    def for_copies(self, lines: tuple[Line, ...], copies: int) -> tuple[Line, ...]:
        """Lines of one copy as those of so many: people beside a way are there once."""
        if copies == 1:
            return lines
        return tuple(self._grown(line, copies) for line in lines)

    def _grown(self, line: Line, copies: int) -> Line:
        times = self.at_scale[line.name](copies) if line.name in self.at_scale else Decimal(copies)
        if times == 1:
            return line
        unit = "copies" if times == copies else f"times, for {copies} copies"
        return Line(line.name, (*line.factors, Factor(times, unit)))

    def paid_once(self, values: Values, tokens: Decimal | None) -> tuple[Line, ...]:
        """Lines that are paid once; what is paid up front for machines, for each copy."""
        copies = Factor(Decimal(self.copies(values, tokens)), "copies")
        return tuple(
            Line(line.name, (*line.factors, copies)) if line.name == "up front" and copies.value != 1 else line
            for line in self.once(values)
        )

    def cost(self, values: Values, tokens: Decimal | None) -> Decimal | None:
        """Cost of a month, with what is paid once spread over the horizon; None when a part is unknown.

        It is what ways are ranked by, and what breaks even: the total over the horizon, by the month.
        """
        month, once = total_of_lines(self.lines(values, tokens)), total_of_lines(self.paid_once(values, tokens))
        return None if self.unknown is not None or month is None or once is None else month + once / self.horizon


def make_candidate(spec: OptionSpec, around: Circumstances) -> Candidate:
    """The way of an option.

    Raises
    ------
    QueryError
        If the option lacks something that nobody can invent, such as the throughput of machines that are to serve.
    """
    makers = {"api": _api, "own": _own, **dict.fromkeys(TRAINED, _trained)}
    made = replace(makers.get(spec.kind, _rented)(spec, around), horizon=around.months)
    if around.judge is None:
        return made
    verdict = verdict_of_option(around.judge, spec, made.accelerator_ids, around.place.country, made.offer)
    return replace(made, verdict=verdict)


# -- an API ------------------------------------------------------------------------------------------------------------


def _api(spec: OptionSpec, around: Circumstances) -> Candidate:
    inputs = {key: spec.numbers[key] for key in ("price", "in", "cached", "out") if key in spec.numbers}
    label = spec.words.get("label") or " ".join(filter(None, ("API", spec.what)))
    unknown = None
    if "price" in inputs and spec.units["price"] != "/Mtok":
        raise QueryError(f"--option {spec.text!r}: an API is priced per million tokens: price=0.90/Mtok.")
    if not inputs:
        unknown = Unknown(f"no price of {spec.what or 'the API'} is loaded", "give price=…/Mtok, or in=, cached=, out=")
    elif around.tokens_per_month is None:
        unknown = Unknown("no demand in tokens to price an API with", "give --demand 400M-tokens/month")
    elif "price" not in inputs:
        unknown = _missing_class(spec, around)
    classes = {key: share for key, share in around.mix.items() if share}

    def monthly(values: Values, tokens: Decimal | None) -> tuple[Line, ...]:
        millions = (tokens or Decimal(0)) / MILLION
        if "price" in values:
            return (Line("tokens", (Factor(millions, "M tokens"), Factor(values["price"], "USD/M tokens"))),)
        return tuple(
            Line(
                f"{key} tokens",
                (Factor(millions, "M tokens"), Factor(share, "share"), Factor(values.get(key), "USD/M tokens")),
            )
            for key, share in classes.items()
        )

    return _with_everyone(
        Candidate(kind="api", label=label, inputs=inputs, monthly=monthly, unknown=unknown), spec, around
    )


def _missing_class(spec: OptionSpec, around: Circumstances) -> Unknown | None:
    if not around.mix:
        raise QueryError(
            f"--option {spec.text!r}: prices by class need the mix of tokens: --mix in=0.7,cached=0.2,out=0.1."
        )
    missing = [key for key, share in around.mix.items() if share and key not in spec.numbers]
    if missing:
        return Unknown(f"no price of {', '.join(missing)} tokens", f"give {missing[0]}=, per million tokens")
    return None


# -- machines of others ------------------------------------------------------------------------------------------------


def _rented(spec: OptionSpec, around: Circumstances) -> Candidate:
    ids, count = _what_is_rented(spec)
    found = _beyond_pool(_price_of(spec, count, around), spec, ids, count, around)
    inputs = {key: spec.numbers[key] for key in ("use", "decline") if key in spec.numbers}
    unknown = found if isinstance(found, Unknown) else None
    accelerators = count
    label = f"{spec.kind.upper()} {_shown(spec)}"
    if isinstance(found, Found):
        inputs["price"] = found.price
        accelerators = found.accelerators or count
        ids = found.accelerator_ids or ids
    _add_throughput(inputs, spec, ids, accelerators, around)
    hours = spec.likely("hours") or around.hours
    upfront = spec.numbers.get("upfront")
    market = found.market.replace("_", "-") if isinstance(found, Found) else spec.words.get("market", "on-demand")
    label += "" if market == "on-demand" else f" {market}"
    if isinstance(found, Found):
        hours = _HOURS if found.bound else hours
        upfront = upfront or found.upfront
    if upfront is not None:
        inputs["upfront"] = upfront

    def monthly(values: Values, _tokens: Decimal | None) -> tuple[Line, ...]:
        fall = _fall(values, found, around.months)
        return (Line("rent", (*_rent_factors(spec, accelerators, values.get("price"), hours), *fall)),)

    def once(values: Values) -> tuple[Line, ...]:
        return (Line("up front", (Factor(values["upfront"], "USD"),)),) if "upfront" in values else ()

    each = _per_accelerator(spec, accelerators, inputs.get("price"))
    for factor in _fall({key: estimate.likely for key, estimate in inputs.items()}, found, around.months):
        each = None if each is None or factor.value is None else each * factor.value
    candidate = Candidate(
        kind=spec.kind, label=spec.words.get("label") or label, inputs=inputs, monthly=monthly, once=once,
        accelerators=accelerators, hours=hours, use=spec.likely("use"), rent_per_accelerator_hour=each,
        commitment=_binding(found if isinstance(found, Found) else None, upfront),
        term_hours=found.term_hours if isinstance(found, Found) else None,
        unknown=unknown, notes=(found.label,) if isinstance(found, Found) else (),
        not_counted=_INTERRUPTED if market == "spot" else (),
        accelerator_ids=ids, offer=found.offer if isinstance(found, Found) else None,
    )  # fmt: skip
    return _with_everyone(candidate, spec, around)


def _fall(values: Values, found: "Found | Unknown", months: Decimal) -> tuple[Factor, ...]:
    """What ``decline=`` makes of today's price over the horizon; of a commitment without a known term, nothing."""
    if "decline" not in values or isinstance(found, Unknown):
        return ()
    term = found.term_hours / _HOURS if found.term_hours is not None else None
    share = Decimal(1) if found.bound and term is None else mean_share(values["decline"], months, term)
    return (Factor(share, f"of today's price, mean of {months:f} months"),)


def _beyond_pool(
    found: "Found | Unknown", spec: OptionSpec, ids: frozenset[str], count: int | None, around: Circumstances
) -> "Found | Unknown":
    """The price of as many machines as the demand needs, where a commitment of the user's has fewer of them."""
    if isinstance(found, Unknown) or found.offer is None or not (found.offer.offering_class or "").startswith(_POOL):
        return found
    inputs: dict[str, Estimate] = {}
    _add_throughput(inputs, spec, found.accelerator_ids or ids, found.accelerators or count, around)
    one = Candidate(
        kind=spec.kind, label="", inputs=inputs, monthly=lambda _v, _t: (), hours=spec.likely("hours") or around.hours
    )
    copies = one.copies(one.likely(), around.tokens_per_month)
    named = _NODES.match(spec.what)
    if copies == 1:
        return found
    if named is None:
        return replace(found, label=f"{found.label}, whose commitment may have fewer than {copies} machines")
    all_of_them = f"{named.group(1)}x{int(named.group(2) or 1) * copies}"
    more = around.find_price(replace(spec, what=all_of_them))
    if isinstance(more, Unknown) or more.offer is None or more.offer.id == found.offer.id:
        return found if isinstance(more, Found) else more
    p = more.price
    low, likely, high = (value / copies for value in (p.low, p.likely, p.high))
    label = f"{more.label}; {found.offer.offering_class} has fewer than {copies} machines"
    return replace(
        more, price=replace(p, low=low, likely=likely, high=high), accelerators=found.accelerators, label=label
    )


_POOL = "commitment "  # how an offer is classed that is a commitment of the user's own
_NODES = re.compile(r"^(.+:\d+)(?:x(\d+))?$")
_INTERRUPTED = ("interruptions: work that is lost and done again, and hours in which there is no machine",)


def _binding(found: "Found | None", upfront: Estimate | None) -> Callable[[int], str]:
    """What a rent binds to: what is paid at the start, the term, and all that the commitment will have cost."""

    def said(copies: int) -> str:
        words = [] if upfront is None else [f"{upfront.likely * copies:,.0f} up front"]
        if found is not None and found.commitment != "none":
            words.append(found.commitment)
            if found.term_hours is not None:
                words.append(f"{found.price.likely * found.term_hours * copies:,.0f} in all")
        return ", ".join(words) or "none"

    return said


def _shown(spec: OptionSpec) -> str:
    name, _colon, count = spec.what.partition(":")
    return f"{count}×{name}" if count.isdigit() else spec.what


def _what_is_rented(spec: OptionSpec) -> tuple[frozenset[str], int | None]:
    """Accelerators and how many; of an instance type whose price is given or looked up, nothing need be known."""
    said = spec.likely("accelerators")
    if not spec.what or spec.kind in ("vm", "managed"):
        return frozenset(), int(said) if said else None
    try:
        ids, count = named_accelerators(spec.what)
    except UnknownName:
        if spec.kind == "rent" and "throughput" not in spec.numbers:
            raise QueryError(
                f"--option {spec.text!r}: {spec.what!r} is no accelerator. What machines cost per token comes from "
                "their rent and what they make: name them and give throughput=…tok/s. Nothing is assumed for it."
            ) from None
        raise
    return ids, int(said) if said else count


def _price_of(spec: OptionSpec, count: int | None, around: Circumstances) -> "Found | Unknown":
    if "price" not in spec.numbers:
        return around.find_price(spec)
    unit = spec.units["price"]
    if unit == "/Mtok":
        raise QueryError(f"--option {spec.text!r}: a machine is priced per hour: price=…/h or …/accel-h.")
    if unit == "/accel-h" and count is None:
        raise QueryError(f"--option {spec.text!r}: a price per accelerator needs their number: count=8.")
    return Found(price=spec.numbers["price"], accelerators=count, label="price given by you")


def _rent_factors(
    spec: OptionSpec, accelerators: int | None, price: Decimal | None, hours: Decimal
) -> tuple[Factor, ...]:
    unit = spec.units.get("price", "/h")
    if unit == "/month":
        return (Factor(price, "USD/month"),)
    if unit == "/accel-h":
        each = Factor(price, "USD/accelerator-hour")
        return (Factor(Decimal(accelerators or 1), "accelerators"), each, Factor(hours, "h"))
    return (Factor(price, "USD/h"), Factor(hours, "h"))


def _per_accelerator(spec: OptionSpec, accelerators: int | None, price: Estimate | None) -> Decimal | None:
    if price is None or not accelerators:
        return None
    unit = spec.units.get("price", "/h")
    if unit == "/accel-h":
        return price.likely
    return price.likely / accelerators / (_HOURS if unit == "/month" else 1)


def _add_throughput(
    inputs: dict[str, Estimate], spec: OptionSpec, ids: frozenset[str], accelerators: int | None, around: Circumstances
) -> None:
    """What the machines make: given, else as measured on the same accelerator, else sized, else it is asked for."""
    given = spec.numbers.get("throughput")
    if given is not None:
        inputs["throughput"] = _scaled(given, accelerators or 1) if spec.units["throughput"] == "tok/s/accel" else given
        return
    if around.tokens_per_month is None:
        return
    for measured_ids, each in around.measured:
        if measured_ids & ids:
            inputs["throughput"] = _scaled(each, accelerators or 1)
            return
    sized = around.find_speed(ids, accelerators or 1)
    if isinstance(sized, Unknown):
        raise QueryError(
            f"--option {spec.text!r}: how many tokens a second does it make? Give throughput=…tok/s ({sized.reason}; "
            f"{sized.how_to_settle})."
        )
    inputs["throughput"] = sized


def _scaled(each: Estimate, accelerators: int) -> Estimate:
    low, likely, high = (value * accelerators for value in (each.low, each.likely, each.high))
    return Estimate(
        "throughput", low, likely, high, "tok/s", f"{each.likely:.4g} tok/s of one accelerator x {accelerators}; "
        f"{each.source}", each.as_of, each.verified, "throughput=", each.given,
    )  # fmt: skip


# -- machines of one's own ---------------------------------------------------------------------------------------------


def _own(spec: OptionSpec, around: Circumstances) -> Candidate:
    case = owned_case(spec, around.place, around.scope)
    machines = case.owned
    inputs = dict(machines.inputs)
    if "tokens" not in spec.numbers and case.unknown is None:
        _add_throughput(inputs, spec, case.accelerator_ids, machines.accelerators, around)
    label = f"OWN {spec.what.replace('x', '×', 1) if spec.what[:1].isdigit() else spec.what}".strip()
    if machines.systems > 1:
        label += f" ×{machines.systems}"

    if around.scope == "marginal":
        label += " (marginal: power only)"

    def monthly(values: Values, _tokens: Decimal | None) -> tuple[Line, ...]:
        return monthly_lines(machines, values)

    capex, years = capex_of(machines), inputs.get("years")

    def commitment(copies: int) -> str:
        return (
            "the machines"
            if capex is None or years is None
            else f"{years.likely} years, {capex * copies:,.0f} up front"
        )

    scaled = {"staff": partial(staff_times, machines.systems)} if case.staff_by_systems else {}
    return _with_everyone(
        Candidate(
            kind="own", label=spec.words.get("label") or label, inputs=inputs, monthly=monthly,
            accelerators=machines.accelerators, use=spec.likely("use"), commitment=commitment,
            lead_time=_lead_time(inputs.get("lead_weeks")),
            owned=machines, at_scale=scaled, unknown=case.unknown, own_tokens=spec.likely("tokens"),
            not_counted=case.not_counted, notes=case.notes, accelerator_ids=case.accelerator_ids,
        ),
        spec, around,
    )  # fmt: skip


def _lead_time(weeks: Estimate | None) -> str:
    if weeks is None:
        return "unknown"
    span = f"{weeks.low:f}-{weeks.high:f}" if weeks.is_range else f"{weeks.likely:f}"
    return f"{span} weeks" + ("" if weeks.verified else " (unverified)")


# -- making a model ----------------------------------------------------------------------------------------------------


def _trained(spec: OptionSpec, around: Circumstances) -> Candidate:
    """A run that is paid once: accelerator-hours times a rate, with data and people beside it."""
    inputs = {key: spec.numbers[key] for key in ("accel-hours", "rate", "data", "labour") if key in spec.numbers}
    unknown: Unknown | None = None
    notes: tuple[str, ...] = ()
    offer: Offer | None = None
    if "rate" not in inputs:
        rate = _rate_of(spec, around)
        if isinstance(rate, Unknown):
            unknown = rate
        else:
            inputs["rate"], notes, offer = rate.price, (rate.label,), rate.offer
    if "accel-hours" not in inputs:
        inputs["accel-hours"] = sized = _sized_hours(spec, around, offer)
        notes = (*notes, *filter(None, (sized.note,)))

    def once(values: Values) -> tuple[Line, ...]:
        hours = Factor(values["accel-hours"], "accelerator-hours")
        lines = [Line("training", (hours, Factor(values.get("rate"), "USD/accelerator-hour")))]
        lines += [Line(key, (Factor(values[key], "USD"),)) for key in ("data", "labour") if key in values]
        return tuple(lines)

    label = spec.words.get("label") or f"{spec.kind.upper()} {spec.what}".strip()
    return _with_everyone(
        Candidate(
            kind=spec.kind, label=label, inputs=inputs, monthly=lambda _v, _t: (), once=once, unknown=unknown,
            lead_time="the run", notes=notes, offer=offer, accelerator_ids=_ids_named(spec),
            serves="serve" in spec.numbers,
            not_counted=() if "serve" in spec.numbers else ("serving what was trained (serve=…/month)",),
        ),
        spec, around,
    )  # fmt: skip


def _in_machines(what: str) -> str | None:
    """``H100-SXM:1024`` as machines of eight, ``H100-SXM:8x128``; None for what is no whole number of them."""
    name, _colon, count = what.rpartition(":")
    if not name or not count.isdecimal() or int(count) <= _PER_MACHINE or int(count) % _PER_MACHINE:
        return None
    return f"{name}:{_PER_MACHINE}x{int(count) // _PER_MACHINE}"


def _ids_named(spec: OptionSpec) -> frozenset[str]:
    try:
        return named_accelerators(spec.what)[0] if spec.what else frozenset()
    except UnknownName:
        return frozenset()


def _sized_hours(spec: OptionSpec, around: Circumstances, offer: Offer | None) -> Estimate:
    sized = around.find_hours(spec, offer)
    if isinstance(sized, Unknown):
        raise QueryError(
            f"--option {spec.text!r}: how long the run is, is not known ({sized.reason}). Give accel-hours=, other "
            "accelerators, or what is missing of tokens= and model= or params=, to have it sized."
        )
    return sized


def _rate_of(spec: OptionSpec, around: Circumstances) -> "Found | Unknown":
    if not spec.what:
        return Unknown("no rate per accelerator-hour", "give rate=…/accel-h, or name the accelerator")
    found = around.find_price(spec)
    if isinstance(found, Unknown) and (parts := _in_machines(spec.what)) is not None:
        found = around.find_price(replace(spec, what=parts))
    if isinstance(found, Unknown) or not found.accelerators:
        return found
    p, n = found.price, found.accelerators
    each = Estimate(
        "rate", p.low / n, p.likely / n, p.high / n, "USD/accelerator-hour", p.source, p.as_of, p.verified, "rate="
    )
    return Found(price=each, accelerators=1, label=found.label, offer=found.offer)


# -- what every way bears ----------------------------------------------------------------------------------------------


def _with_everyone(candidate: Candidate, spec: OptionSpec, around: Circumstances) -> Candidate:
    """Adds people and data: the option's own, else those that were given for all."""
    own: dict[str, tuple[Estimate, str]] = {}
    if candidate.kind not in TRAINED:
        own = {key: (spec.numbers[key], "once") for key in ("data", "labour") if key in spec.numbers}
    if candidate.kind != "own":
        own |= {key: (spec.numbers[key], spec.units[key]) for key in PERIODIC if key in spec.numbers}
    return _with_shared(candidate, own, around)


def _with_shared(candidate: Candidate, own: Mapping[str, tuple[Estimate, str]], around: Circumstances) -> Candidate:
    shared = {} if around.scope == "marginal" else dict(around.everyone)
    added = {k: v for k, v in {**shared, **own}.items() if k not in candidate.inputs}
    if not added:
        return candidate
    before, before_once = candidate.monthly, candidate.once

    def monthly(values: Values, tokens: Decimal | None) -> tuple[Line, ...]:
        extra = tuple(_extra(k, values[k], per) for k, (_e, per) in added.items() if per != "once")
        return (*before(values, tokens), *extra)

    def once(values: Values) -> tuple[Line, ...]:
        extra = tuple(Line(k, (Factor(values[k], "USD"),)) for k, (_e, per) in added.items() if per == "once")
        return (*before_once(values), *extra)

    inputs = {**candidate.inputs, **{k: e for k, (e, _per) in added.items()}}
    beside = {k: _once_for_all for k, (_e, per) in added.items() if k in shared or (k == "people" and per != "once")}
    at_scale = {**candidate.at_scale, **beside}
    return replace(candidate, inputs=inputs, monthly=monthly, once=once, at_scale=at_scale, beside=frozenset(beside))


def _once_for_all(_copies: int) -> Decimal:
    return Decimal(1)


def _extra(name: str, value: Decimal, per: str) -> Line:
    if per == "y":
        return Line(name, (Factor(value, "USD/y"), Factor(Decimal(12), "months/year", divide=True)))
    if per == "h":
        return Line(name, (Factor(value, "USD/h"), Factor(_HOURS, "h")))
    if per != "month":
        raise QueryError(f"{name}: a cost per {per} is only known for machines of one's own. Write /month or /y.")
    return Line(name, (Factor(value, "USD/month"),))
