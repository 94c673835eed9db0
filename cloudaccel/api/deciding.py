"""`compare`, `advise`, `roadmap`: many plans side by side, with prices from the catalog."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudaccel.api.finding import hours_finder, price_finder, speed_finder
from cloudaccel.api.money import read_money
from cloudaccel.cost.lines import CURRENCY
from cloudaccel.decide.compare import compare as _compare
from cloudaccel.decide.judged import JudgeFor, judge_for
from cloudaccel.decide.options import OptionSpec, parse_number, parse_option, parse_rates
from cloudaccel.decide.owning import Place, named_accelerators
from cloudaccel.decide.ways import Candidate, Circumstances, PriceFinder, make_candidate
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.model import HOURS_PER_MONTH
from cloudaccel.model.decision import Comparison, Estimate
from cloudaccel.units import parse_money

if TYPE_CHECKING:
    from cloudaccel.api.judging import Rules
    from cloudaccel.cost.currency import Rates
    from cloudaccel.facts.inventory import OwnedMachine
    from cloudaccel.model import Offer
    from cloudaccel.model.advice import Advice, Derived
    from cloudaccel.model.roadmap import Roadmap

_DEMAND = re.compile(
    r"^([0-9][0-9_.]*(?:[eE]\+?[0-9]+)?)\s*([kMBT]?)[\s-]*(?:tok|tokens)\s*/\s*(month|mo|day|d|year|y)$"
)
_SCALE = {"": 1, "k": 1_000, "M": 1_000_000, "B": 1_000_000_000, "T": 1_000_000_000_000}
_A_MONTH = {"m": Decimal(1), "d": Decimal(HOURS_PER_MONTH) / 24, "y": 1 / Decimal(12)}  # by the first letter
_MIX = ("in", "cached", "out")
SCOPES = ("full", "marginal")
REQUEST = (1024, 256)  # tokens in and out of a request when nobody says
# Where a number comes from that the caller left open.
_DEFAULTS = {
    "hours": "all hours of a month of 730 h (8,760 / 12)",
    "horizon": "one year, chosen here",
    "input_tokens": "a request chosen here, no measurement; yours decides the speed",
    "output_tokens": "a request chosen here, no measurement; yours decides the speed",
}
_DEFAULTS_AS_OF = "2026-11-27"


def compare(
    options: Sequence[str],
    *,
    demand: str | None = None,
    hours: str | Decimal | None = None,
    years: str | Decimal = "1",
    model: str | None = None,
    dtype: str | None = None,
    mix: str | None = None,
    rents: str | Sequence[Decimal] = (),
    people: str | None = None,
    data_work: str | None = None,
    country: str | None = None,
    fx: str | None = None,
    counted: str = "full",
    sensitivity: bool = False,
    samples: int = 0,
    seed: int = 0,
    price_file: str | Path | None = None,
    catalog: str | Path | None = None,
    today: date | None = None,
    rules: "Rules | None" = None,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    currency: str | None = None,
    fx_file: str | Path | None = None,
    tax: str | None = None,
) -> Comparison:
    """Ways of getting the same result, costed side by side; docs/reference/compare.md has the words of an option.

    Parameters
    ----------
    options
        ``kind:what,key=value,…``, as after ``--option``.
    demand
        ``400M-tokens/month``, ``10B-tokens/day``.
    hours
        Hours a month that rented machines are on; None: all 730.
    years
        Horizon of the totals.
    rents
        Prices per accelerator-hour to compare owning with, as ``2.19,3.00`` or numbers.
    samples, seed
        Draws of the Monte Carlo (0: none), and its seed.
    input_tokens, output_tokens
        Of one request, for machines that are sized; None: 1,024 and 256.
    currency, fx_file, tax
        Show sums in this currency too, by the ECB's rates in `fx_file` (else those of the settings), which then also
        convert offers in other currencies; and the tax on them (``19%``), which no sum has in itself.
    rules
        Packs to judge the place of every way by; what they do not show to be allowed is never the cheapest.

    Raises
    ------
    QueryError
        If an option cannot be read, or lacks what nobody can invent (the throughput of machines that serve).
    """
    if not options:
        raise QueryError("name at least one --option, such as --option api:price=0.90/Mtok.")
    if counted not in SCOPES:
        raise QueryError(f"--counted: {counted!r} is none of {', '.join(SCOPES)}.")
    day = (today or datetime.now(UTC).date()).isoformat()
    money = read_money(currency, fx_file, tax)
    specs = [parse_option(text, today=day) for text in options]
    tokens = _tokens(demand)
    judge = None if rules is None else _judge_for(rules, today)
    tokens_in, tokens_out = input_tokens or REQUEST[0], output_tokens or REQUEST[1]
    around = Circumstances(
        tokens_per_month=tokens,
        hours=_number("--hours", hours) if hours is not None else Decimal(HOURS_PER_MONTH),
        months=_number("--years", years) * 12,
        mix=_mix(mix),
        everyone=_everyone(people, data_work, day),
        place=_place(country, parse_rates("--fx", fx), money.rates),
        scope=counted,
        today=day,
        find_price=price_finder(price_file, catalog, today, judge, money.file),
        find_speed=speed_finder(model, dtype, day, tokens_in=tokens_in, tokens_out=tokens_out),
        find_hours=hours_finder(model, dtype, day),
        measured=tuple(_measured(specs)),
        judge=judge,
    )
    compared = _compare(
        _told_apart([make_candidate(spec, around) for spec in specs]), tokens_per_month=tokens,
        demand_text=_demand_text(demand, tokens) or f"{around.hours:g} h/month", months=around.months,
        rents=_rents(rents), with_swings=sensitivity, samples=samples, seed=seed,
        shared=_shared(day, around, model, years=years, hours=hours, tokens_in=input_tokens, tokens_out=output_tokens),
    )  # fmt: skip
    return replace(compared, shown=money.shown)


def _told_apart(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates of one label are told apart by their sellers, else numbered."""
    labels = [c.label for c in candidates]
    sold = {label: {c.offer.provider for c in candidates if c.label == label and c.offer} for label in labels}
    candidates = [
        replace(c, label=f"{c.label} {c.offer.provider}")
        if c.offer and len(sold[c.label]) == labels.count(c.label) > 1
        else c
        for c in candidates
    ]
    labels = [c.label for c in candidates]
    return [
        replace(c, label=f"{c.label} ({i})") if labels.count(c.label) > 1 else c for i, c in enumerate(candidates, 1)
    ]


def _judge_for(rules: "Rules", today: date | None) -> JudgeFor:
    from cloudaccel.api.judging import judge_by  # the tables of facts, only for who asks to be judged

    return judge_for(lambda flop: judge_by(rules, training_flop=flop, today=today))


def _rules_of(policy: Mapping[str, Any]) -> "Rules":
    """The rules of a roadmap file, whose keys are named as the flags are."""
    from cloudaccel.api.judging import Rules

    given = {key.replace("-", "_"): value for key, value in policy.items()}
    data = given.pop("data_class", None)
    return Rules(**given, data=data, always="packs" in given)


def _shared(
    day: str,
    around: Circumstances,
    model: str | None,
    *,
    years: str | Decimal,
    hours: str | Decimal | None,
    tokens_in: int | None,
    tokens_out: int | None,
) -> tuple[Estimate, ...]:
    """Numbers that every way rests on: given by the caller, or what holds when nothing is said."""
    rows: list[tuple[str, Decimal | int, str, str, bool]] = [
        ("hours", around.hours, "h/month", "--hours", hours is not None),
        ("horizon", around.months, "months", "--years", str(years) != "1"),
    ]
    if model is not None:
        rows += [
            ("input_tokens", tokens_in or REQUEST[0], "tok/request", "--input-tokens", tokens_in is not None),
            ("output_tokens", tokens_out or REQUEST[1], "tok/request", "--output-tokens", tokens_out is not None),
        ]
    return tuple(_stated(*row, day=day) for row in rows)


def _stated(name: str, number: Decimal | int, unit: str, flag: str, given: bool, *, day: str) -> Estimate:
    value = Decimal(number)
    source, as_of = ("given by you", day) if given else (_DEFAULTS[name], _DEFAULTS_AS_OF)
    return Estimate(name, value, value, value, unit, source, as_of, True, flag, given)


# -- what the flags say ------------------------------------------------------------------------------------------------


def _number(flag: str, value: str | Decimal) -> Decimal:
    try:
        number = Decimal(str(value).strip().removesuffix("y").removesuffix("h"))
    except InvalidOperation:
        raise QueryError(f"{flag}: {value!r} is no number. Write it as 3.") from None
    if not number.is_finite() or number <= 0:
        raise QueryError(f"{flag}: {value!r} must be above 0.")
    return number


def _tokens(demand: str | None) -> Decimal | None:
    if demand is None:
        return None
    match = _DEMAND.match(demand.strip())
    if match is None:
        raise QueryError(f"--demand: {demand!r} is no demand. Write it as 400M-tokens/month, or 10B-tokens/day.")
    tokens = _number("--demand", match.group(1).replace("_", "")) * _SCALE[match.group(2)]
    return tokens if match.group(3)[0] == "m" else (tokens * _A_MONTH[match.group(3)[0]]).quantize(Decimal(1))


def _demand_text(demand: str | None, tokens: Decimal | None) -> str | None:
    """As it was typed; by the month too, where it was by something else."""
    if demand is None or tokens is None or demand.rstrip().endswith(("month", "mo")):
        return demand
    return f"{demand} ({tokens / 1_000_000:,.6g} M a month)"


def _place(country: str | None, given: Mapping[str, Decimal], file: "Rates | None") -> Place:
    """Where owned machines stand, with the rates that were given, else those of a file of the ECB."""
    if given or file is None:
        return Place(country=country, rates=given)
    rates = {code: rate for code in file.per_euro if (rate := file.rate(code, CURRENCY)) is not None}
    return Place(country=country, rates=rates, rates_said=f"by {file.source} of {file.as_of}")


def _mix(text: str | None) -> Mapping[str, Decimal]:
    """Shares of the token classes; they are a partition, so they add up to 1."""
    if text is None:
        return {}
    shares: dict[str, Decimal] = {}
    for word in text.split(","):
        key, _equals, value = word.strip().partition("=")
        if key not in _MIX or key in shares:
            raise QueryError(f"--mix: {word!r} is not one of in=, cached=, out=, each once.")
        shares[key] = _number("--mix", value)
    if sum(shares.values()) != 1:
        raise QueryError(
            f"--mix: the shares add up to {sum(shares.values())}, not 1. Cached tokens are a part of the input: "
            "write in= for those that no cache answered."
        )
    return shares


def _everyone(people: str | None, data_work: str | None, day: str) -> Mapping[str, tuple[Estimate, str]]:
    shared: dict[str, tuple[Estimate, str]] = {}
    if people is not None:
        shared["people"] = parse_number("--people", "people", people, day)
    if data_work is not None:
        shared["data"] = parse_number("--data-work", "data", data_work, day)[0], "once"
    return shared


def _rents(rents: str | Sequence[Decimal]) -> tuple[Decimal, ...]:
    if isinstance(rents, str):
        return tuple(_number("--rents", word) for word in rents.split(",") if word.strip())
    return tuple(rents)


def _measured(specs: Sequence[OptionSpec]) -> list[tuple[frozenset[str], Estimate]]:
    """Tokens per second of one accelerator, as the options that state a throughput have it."""
    found: list[tuple[frozenset[str], Estimate]] = []
    for spec in specs:
        given = spec.numbers.get("throughput")
        if given is None or not spec.what or spec.kind not in ("rent", "own"):
            continue
        try:
            ids, count = named_accelerators(spec.what)
        except UnknownName:
            continue
        if spec.units["throughput"] == "tok/s/accel":
            count = 1
        low, likely, high = (value / count for value in (given.low, given.likely, given.high))
        source = f"as in {spec.kind}:{spec.what}"
        found.append((ids, replace(given, low=low, likely=likely, high=high, source=source)))
    return found


# -- advice ------------------------------------------------------------------------------------------------------------


def advise(
    answers: Mapping[str, object],
    *,
    context: int = 0,
    max_params: float | None = None,
    currency: str | None = None,
    fx_file: str | Path | None = None,
    tax: str | None = None,
    rules: "Rules | None" = None,
    residency: str | None = None,
    today: date | None = None,
) -> "Advice":
    """Call an API, adapt an open model or build one; rent or own: what the rules recommend, and what would change it.

    Parameters
    ----------
    answers
        By question (``docs/reference/compare.md`` lists them), with ``_`` or ``-`` in the name.
    context, max_params
        What the open models that are listed must take, in tokens, and may have, in parameters.
    currency, fx_file, tax
        Show money in this currency too, by the ECB's rates in `fx_file` (else those of the settings), by which answers
        in other money (``0.60 EUR``) are read as well; and the tax on the API's bill, which is in no sum.
    rules, residency
        Packs that say whether machines of others are allowed at all, and the area in which those stand: where they
        forbid all of them, ``cloud-allowed`` is derived and holds whatever is answered.

    Raises
    ------
    QueryError
        If a question or an answer is not known, or there is no rate for its currency.
    """
    from cloudaccel.decide.advise import advise as by_rules

    given = {name.replace("_", "-"): str(value) for name, value in answers.items()}
    amounts = {name: amount for name, text in given.items() if (amount := _amount(name, text)) is not None}
    money = read_money(currency, fx_file, tax, foreign=any(code != CURRENCY for _, code in amounts.values()))
    given |= {name: f"{money.in_sums(*amount, f'--{name}').normalize():f}" for name, amount in amounts.items()}
    derived, notes = _derived(rules, residency, given, today)
    found = by_rules(given, context=context, most_params=max_params, derived=derived)
    return replace(found, shown=money.shown, notes=notes)


def _derived(
    rules: "Rules | None", residency: str | None, given: Mapping[str, str], today: date | None
) -> "tuple[tuple[Derived, ...], tuple[str, ...]]":
    if rules is None:
        if residency is not None:
            raise QueryError("--residency says of which places the rules are asked. Name rules too, with --policy.")
        return (), ()
    from cloudaccel.api.allowing import QUESTION, cloud_allowed  # the tables of facts, only for who is judged

    found, notes = cloud_allowed(rules, residency, given.get(QUESTION, "").lower() or None, today=today)
    return (() if found is None else (found,)), notes


def _amount(name: str, text: str) -> tuple[Decimal, str] | None:
    """An amount and its currency, where money is asked for and its currency is said."""
    from cloudaccel.decide.advise import questions

    question = questions().get(name)
    if question is None or not question.unit.startswith(CURRENCY) or not text.strip("0123456789.eE+-_ "):
        return None
    amount, code = parse_money(text.strip().removesuffix(question.unit.removeprefix(CURRENCY)), f"--{name}")
    return amount, code or CURRENCY


# -- the months ahead --------------------------------------------------------------------------------------------------


def roadmap(
    case: str | Path | Mapping[str, Any],
    *,
    seconds: float = 60.0,
    gap: float = 1e-4,
    price_file: str | Path | None = None,
    catalog: str | Path | None = None,
    today: date | None = None,
    currency: str | None = None,
    fx_file: str | Path | None = None,
    tax: str | None = None,
) -> "Roadmap":
    """When to rent, commit, buy and retire, for a demand by month: a ``roadmap.yaml``, or a mapping with its keys.

    Parameters
    ----------
    seconds
        For the solver; 0 gives the rounded LP with its proven gap.
    gap
        Share of the total at which the search stops.
    currency, fx_file, tax
        As in `compare`: the total in this currency too, and the tax on it. The rates also convert offers in other
        currencies, and a tariff where the file has no ``fx``.

    Raises
    ------
    ConfigError
        If the case cannot be read, or the solver is not installed. A case without a plan is no error.
    """
    # Imported here: only this verb needs the solver.
    from time import monotonic

    from cloudaccel.decide.road_file import parse_case, read_case
    from cloudaccel.decide.roadmap import roadmap as plan_months

    day = (today or datetime.now(UTC).date()).isoformat()
    money = read_money(currency, fx_file, tax)
    find = price_finder(price_file, catalog, today, fx_file=money.file)
    rates = None if money.rates is None else _place(None, {}, money.rates)
    from_file = isinstance(case, str | Path)

    def judging(policy: Mapping[str, Any]) -> tuple[JudgeFor, PriceFinder]:
        judge = _judge_for(_rules_of(policy), today)
        return judge, price_finder(price_file, catalog, today, judge, money.file)

    if from_file:
        read = read_case(Path(case), find, today=day, judging=judging, more_rates=rates)
    else:
        read = parse_case(case, find, today=day, judging=judging, more_rates=rates)
    return replace(plan_months(read, seconds=seconds, good_enough=gap, clock=monotonic), shown=money.shown)


# -- machines that one owns --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PricedMachine:
    """A machine of an inventory as an offer at what it costs per hour; `said` says where the price is from."""

    offer: "Offer"
    said: str


def price_inventory(
    path: str | Path, *, country: str | None = None, fx: str | None = None, today: date | None = None
) -> tuple[PricedMachine, ...]:
    """What an hour of each machine of an inventory costs: as the file states it, else the cost of owning it.

    Raises
    ------
    ConfigError
        If the file cannot be read or has a row that is no machine.
    """
    from cloudaccel.facts.inventory import read_inventory

    day = (today or datetime.now(UTC).date()).isoformat()
    place = Place(country=country, rates=parse_rates("--fx", fx))
    return tuple(_priced(machine, Path(path), place, day) for machine in read_inventory(Path(path)))


def price_for_sale(country: str | None = None, *, today: date | None = None) -> tuple[PricedMachine, ...]:
    """What an hour of each machine that can be bought whole costs its owner in `country`, at full use.

    Where the country has no tariff in USD, electricity is at the world's average price, and each machine says so.
    """
    from cloudaccel.facts.inventory import for_sale
    from cloudaccel.facts.owned import HARDWARE_TABLE, tariff

    day = (today or datetime.now(UTC).date()).isoformat()
    try:
        tariffed = country if tariff(country or "").currency == "USD" else None
    except UnknownName:
        tariffed = None
    said = "" if tariffed else "; electricity at the world's average price, for want of a tariff there in USD"
    found = (_priced(machine, Path(HARDWARE_TABLE), Place(), day) for machine in for_sale(tariffed))
    return tuple(PricedMachine(replace(one.offer, country=country), one.said + said) for one in found)


def _priced(machine: "OwnedMachine", path: Path, place: Place, day: str) -> PricedMachine:
    from cloudaccel.cost.owned import monthly_lines
    from cloudaccel.decide.owning import owned_case, staff_times
    from cloudaccel.facts.inventory import offer_of
    from cloudaccel.model.decision import Factor, Line, total_of_lines

    dated = replace(machine, as_of=machine.as_of or day)
    if machine.price_per_hour is not None:
        return PricedMachine(offer_of(dated, path), "stated in the inventory")
    what = machine.system.id if machine.system else f"{machine.count}x{machine.accelerator_id}"
    words = [f"own:{what}", *(f"{key}={value}" for key, value in machine.costs.items())]
    if machine.country and "kwh" not in machine.costs:
        words.append(f"country={machine.country}")
    case = owned_case(parse_option(",".join(words), today=day), place, "full")
    lines, shared = monthly_lines(case.owned), ""
    if case.staff_by_systems and machine.machines > 1:  # the people of a site are there once for all its machines
        part = staff_times(case.owned.systems, machine.machines) / machine.machines
        people = Factor(part, f"of the people of one, for each of {machine.machines}")
        lines = tuple(Line(x.name, (*x.factors, people)) if x.name == "staff" else x for x in lines)
        shared = f", people shared by {machine.machines} machines"
    month = None if case.unknown is not None else total_of_lines(lines)
    if month is None:
        reason = case.unknown.reason if case.unknown is not None else "a part of its cost is unknown"
        return PricedMachine(offer_of(dated, path), f"unknown: {reason}")
    price = (month / HOURS_PER_MONTH).quantize(Decimal("0.000001"))
    left = f"; without {', '.join(case.not_counted)}" if case.not_counted else ""
    return PricedMachine(offer_of(dated, path, price=price), f"{month:,.2f} a month ÷ 730 h at full use{shared}{left}")


def price_file_text(machines: Sequence[PricedMachine]) -> str:
    """The machines as a price file for ``--price-file``: market owned, provider ``own``."""
    import csv
    import io

    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("provider", "region", "instance", "accelerator", "count", "vcpus", "memory_gib", "market",
                   "price_per_hour", "currency", "availability", "as_of", "source", "note"))  # fmt: skip
    for machine in machines:
        o = machine.offer
        rows.writerow((o.provider, o.region, o.instance, o.accelerator_id, o.count, o.vcpus or "", o.memory_gib or "",
                       "owned", o.price.amount or "", "USD", "offered", o.price.as_of, o.price.source.name,
                       machine.said))  # fmt: skip
    return out.getvalue()


__all__ = [
    "SCOPES", "PricedMachine", "advise", "compare", "price_file_text", "price_for_sale", "price_inventory", "roadmap",
]  # fmt: skip
