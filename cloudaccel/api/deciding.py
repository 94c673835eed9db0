"""`compare`, `advise`, `roadmap`: many plans side by side, with prices from the catalog."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudaccel.api.quoting import quote
from cloudaccel.decide.compare import compare as _compare
from cloudaccel.decide.options import OptionSpec, parse_number, parse_option
from cloudaccel.decide.owning import Place, named_accelerators
from cloudaccel.decide.ways import Circumstances, Found, make_candidate
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.model import HOURS_PER_MONTH
from cloudaccel.model.decision import Comparison, Estimate
from cloudaccel.model.unknown import Unknown

if TYPE_CHECKING:
    from cloudaccel.facts.inventory import OwnedMachine
    from cloudaccel.model import Offer
    from cloudaccel.model.advice import Advice
    from cloudaccel.model.roadmap import Roadmap

_DEMAND = re.compile(r"^([0-9][0-9_.]*(?:[eE]\+?[0-9]+)?)\s*([kMB]?)[\s-]*(?:tok|tokens)\s*/\s*(?:month|mo)$")
_SCALE = {"": 1, "k": 1_000, "M": 1_000_000, "B": 1_000_000_000}
_MIX = ("in", "cached", "out")
SCOPES = ("full", "marginal")


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
    data: str | None = None,
    country: str | None = None,
    fx: str | None = None,
    scope: str = "full",
    sensitivity: bool = False,
    samples: int = 0,
    seed: int = 0,
    price_file: str | Path | None = None,
    catalog: str | Path | None = None,
    today: date | None = None,
) -> Comparison:
    """Ways of getting the same result, costed side by side; docs/reference/compare.md has the words of an option.

    Parameters
    ----------
    options
        ``kind:what,key=value,…``, as after ``--option``.
    demand
        ``400M-tokens/month``.
    hours
        Hours a month that rented machines are on; None: all 730.
    years
        Horizon of the totals.
    rents
        Prices per accelerator-hour to compare owning with, as ``2.19,3.00`` or numbers.
    samples, seed
        Draws of the Monte Carlo (0: none), and its seed.

    Raises
    ------
    QueryError
        If an option cannot be read, or lacks what nobody can invent (the throughput of machines that serve).
    """
    if not options:
        raise QueryError("name at least one --option, such as --option api:price=0.90/Mtok.")
    if scope not in SCOPES:
        raise QueryError(f"--scope: {scope!r} is none of {', '.join(SCOPES)}.")
    day = (today or datetime.now(UTC).date()).isoformat()
    specs = [parse_option(text, today=day) for text in options]
    tokens = _tokens(demand)
    around = Circumstances(
        tokens_per_month=tokens,
        hours=_number("--hours", hours) if hours is not None else Decimal(HOURS_PER_MONTH),
        months=_number("--years", years) * 12,
        mix=_mix(mix),
        everyone=_everyone(people, data, day),
        place=Place(country=country, rates=_rates(fx)),
        scope=scope,
        today=day,
        find_price=_price_finder(price_file, catalog, today),
        find_speed=_speed_finder(model, dtype, day),
        find_hours=_hours_finder(model, dtype, day),
        measured=tuple(_measured(specs)),
    )
    candidates = [make_candidate(spec, around) for spec in specs]
    labels = [c.label for c in candidates]
    named = [
        replace(c, label=f"{c.label} ({i})") if labels.count(c.label) > 1 else c for i, c in enumerate(candidates, 1)
    ]
    return _compare(
        named, tokens_per_month=tokens, demand_text=demand or f"{around.hours:g} h/month", months=around.months,
        rents=_rents(rents), with_swings=sensitivity, samples=samples, seed=seed,
    )  # fmt: skip


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
        raise QueryError(f"--demand: {demand!r} is no demand. Write it as 400M-tokens/month.")
    return _number("--demand", match.group(1).replace("_", "")) * _SCALE[match.group(2)]


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


def _everyone(people: str | None, data: str | None, day: str) -> Mapping[str, tuple[Estimate, str]]:
    shared: dict[str, tuple[Estimate, str]] = {}
    if people is not None:
        shared["people"] = parse_number("--people", "people", people, day)
    if data is not None:
        shared["data"] = parse_number("--data", "data", data, day)[0], "once"
    return shared


def _rates(text: str | None) -> Mapping[str, Decimal]:
    """Rates by currency out of ``EURUSD=1.10,GBPUSD=1.30``."""
    rates: dict[str, Decimal] = {}
    for word in filter(None, (text or "").split(",")):
        pair, _equals, rate = word.partition("=")
        pair = pair.strip().upper()
        if len(pair) != 6 or not pair.endswith("USD"):
            raise QueryError(f"--fx: {word!r} is no rate. Write EURUSD=1.10: dollars for one euro.")
        rates[pair[:3]] = _number("--fx", rate)
    return rates


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


# -- prices and speeds -------------------------------------------------------------------------------------------------


def _price_finder(
    price_file: str | Path | None, catalog: str | Path | None, today: date | None
) -> Callable[[OptionSpec], Found | Unknown]:
    """Looks the cheapest price of an option up in the catalog: the same answer as ``quote`` gives."""

    def find(spec: OptionSpec) -> Found | Unknown:
        if not spec.what:
            return Unknown("nothing says what is rented", "name accelerators, or give price=")
        filters: dict[str, Any] = {
            key: spec.words[key] for key in ("market", "region", "residency", "country") if key in spec.words
        }
        provider = spec.place or spec.words.get("provider")
        if provider:
            filters["provider"] = provider
        by_instance = spec.kind in ("vm", "managed")
        expression = {"instance": spec.what} if by_instance else {"accelerators": _expression(spec.what)}
        try:
            answer = quote(
                **expression, price_file=price_file, catalog=catalog, today=today, limit=50 if by_instance else 1,
                **filters,
            )  # fmt: skip
        except UnknownName:
            if not by_instance:
                raise
            return Unknown(f"no price of {spec.what} is loaded", "give price=…/h, or a row in --price-file")
        offers = [o for o in answer.offers if not o.apart and _is_service(o, spec)]
        if not offers:
            return Unknown(_no_price(spec, provider), "; ".join(answer.hints[:2]) or "give price=…/h or --price-file")
        return _found(offers[0], answer.nodes(offers[0]))

    return find


def _expression(what: str) -> str:
    leading = re.match(r"^(\d+)[x×](.+)$", what)
    return f"{leading.group(2)}:{leading.group(1)}" if leading else what


def _is_service(offer: "Offer", spec: OptionSpec) -> bool:
    raw = offer.service in ("vm", "bare-metal", "hosting")
    wanted = spec.words.get("service")
    if spec.kind == "managed":
        return not raw and (wanted is None or wanted in offer.service)
    return raw or spec.kind != "vm"


def _no_price(spec: OptionSpec, provider: str | None) -> str:
    service = " as a managed service" if spec.kind == "managed" else ""
    return f"no price of {spec.what}{service} {f'at {provider} ' if provider else ''}is loaded".replace("  ", " ")


def _found(offer: "Offer", nodes: int) -> Found:
    price = (offer.price.amount or Decimal(0)) * nodes
    where = f"{offer.provider} {offer.region} {offer.instance}{f' x{nodes}' if nodes > 1 else ''}"
    seen = offer.price.as_of or "an unknown day"
    if offer.price.as_of_until:
        seen = f"{offer.price.as_of} to {offer.price.as_of_until}"
    estimate = Estimate(
        "price", price, price, price, "USD/h", f"{offer.price.source.name}: {where}, {offer.price.status}", seen,
        offer.price.status == "exact", "price=",
    )  # fmt: skip
    commitment = "none" if offer.term is None else f"{offer.term} {(offer.payment or '').replace('_', ' ')}".strip()
    return Found(
        price=estimate,
        accelerators=int(offer.count * nodes) if offer.count and offer.count >= 1 else None,
        label=f"{where}, {offer.market.replace('_', '-')}, seen {seen}",
        commitment=commitment,
        accelerator_ids=frozenset({offer.accelerator_id}) if offer.accelerator_id else frozenset(),
    )


def _speed_finder(
    model: str | None, dtype: str | None, day: str
) -> Callable[[frozenset[str], int], Estimate | Unknown]:
    """Sizes `model` on accelerators; unknown when no model is named or it does not fit."""

    def find(ids: frozenset[str], count: int) -> Estimate | Unknown:
        if model is None:
            return Unknown("no --model to size", "or name one with --model")
        if not ids:
            return Unknown("the accelerator is not known", "or name it")
        # Imported here: the sizing tables are heavy, and most comparisons state their throughput.
        from cloudaccel.facts.accelerators import by_id
        from cloudaccel.facts.models import resolve_model
        from cloudaccel.model.workload import ServeDemand, Workload
        from cloudaccel.workloads import size

        demand = ServeDemand()
        job = Workload(task="serve", model=model, precision=dtype or "bf16", serve=demand)
        fit = size(job, resolve_model(model), by_id(min(ids)), per_node=min(count, 8), nodes=max(1, count // 8))
        if fit.serving is None or fit.verdict == "no":
            why = fit.reasons[0].text if fit.reasons else "it does not fit"
            return Unknown(f"{model} on {count} x {min(ids)}: {why}", "or take other machines")
        serving = fit.serving
        replicas = Decimal(count // serving.accelerators_per_replica)
        per_output = (demand.input_tokens + demand.output_tokens) / demand.output_tokens
        low, rate, high = (
            Decimal(str(round(output * per_output, 3))) * replicas
            for output in (
                serving.output_tokens_per_s_low,
                serving.output_tokens_per_s,
                serving.output_tokens_per_s_high,
            )
        )
        source = (
            f"sized: {model}, {demand.input_tokens} tokens in and {demand.output_tokens} out, batch {serving.batch}, "
            f"{replicas} replicas; an estimate, so measure it"
        )
        return Estimate("throughput", low, rate, high, "tok/s", source, day, False, "throughput=")

    return find


_TASKS = {"pretrain": ("pretrain", None), "adapt": ("continued_pretrain", None), "finetune": ("finetune", "full"),
          "lora": ("finetune", "lora")}  # fmt: skip


def _hours_finder(model: str | None, dtype: str | None, day: str) -> Callable[[OptionSpec], Estimate | Unknown]:
    """Sizes a training run: accelerator-hours with their interval, from tokens, model and accelerators."""

    def find(spec: OptionSpec) -> Estimate | Unknown:
        name, params, tokens = spec.words.get("model", model), spec.likely("params"), spec.likely("tokens")
        if tokens is None or not spec.what or (name is None and params is None):
            return Unknown("tokens, model or accelerators are missing")
        # Imported here: the sizing tables are heavy, and most comparisons state their hours.
        from cloudaccel.facts.accelerators import by_id
        from cloudaccel.workloads import size
        from cloudaccel.workloads.job import parse_job

        task, method = _TASKS[spec.kind]
        given = {"task": task, "tokens": str(tokens), "method": method, "dtype": dtype, "seq": spec.likely("seq")}
        job = parse_job({**given, **({"params": str(params)} if params is not None else {"model": name})})
        ids, count = named_accelerators(spec.what)
        accelerator = by_id(min(ids))
        # Chips of a slice are joined whole; of anything else, eight stand in a machine.
        per_node = count if accelerator.kind == "tpu" else min(count, 8)
        fit = size(job.workload, job.model, accelerator, per_node=per_node, nodes=max(1, count // per_node))
        hours = (fit.hours_low, fit.hours_likely, fit.hours_high)
        if fit.verdict == "no" or None in hours:
            why = fit.reasons[0].text if fit.reasons else "its speed is not known"
            return Unknown(f"on {count} x {accelerator.id}: {why}")
        low, likely, high = (Decimal(str(round((h or 0) * count, 1))) for h in hours)
        source = f"sized on {count} x {accelerator.id}, {(fit.hours_likely or 0) / 24:.1f} days; measure it"
        return Estimate("accel-hours", low, likely, high, "h", source, day, False, "accel-hours=")

    return find


# -- advice ------------------------------------------------------------------------------------------------------------


def advise(answers: Mapping[str, object], *, context: int = 0, max_params: float | None = None) -> "Advice":
    """Call an API, adapt an open model or build one; rent or own: what the rules recommend, and what would change it.

    Parameters
    ----------
    answers
        By question (``docs/reference/compare.md`` lists them), with ``_`` or ``-`` in the name.
    context, max_params
        What the open models that are listed must take, in tokens, and may have, in parameters.

    Raises
    ------
    QueryError
        If a question or an answer is not known.
    """
    from cloudaccel.decide.advise import advise as by_rules

    given = {name.replace("_", "-"): str(value) for name, value in answers.items()}
    return by_rules(given, context=context, most_params=max_params)


# -- the months ahead --------------------------------------------------------------------------------------------------


def roadmap(
    case: str | Path | Mapping[str, Any],
    *,
    seconds: float = 60.0,
    gap: float = 1e-4,
    price_file: str | Path | None = None,
    catalog: str | Path | None = None,
    today: date | None = None,
) -> "Roadmap":
    """When to rent, commit, buy and retire, for a demand by month: a ``roadmap.yaml``, or a mapping with its keys.

    Parameters
    ----------
    seconds
        For the solver; 0 gives the rounded LP with its proven gap.
    gap
        Share of the total at which the search stops.

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
    find = _price_finder(price_file, catalog, today)
    from_file = isinstance(case, str | Path)
    read = read_case(Path(case), find, today=day) if from_file else parse_case(case, find, today=day)
    return plan_months(read, seconds=seconds, good_enough=gap, clock=monotonic)


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
    place = Place(country=country, rates=_rates(fx))
    return tuple(_priced(machine, Path(path), place, day) for machine in read_inventory(Path(path)))


def _priced(machine: "OwnedMachine", path: Path, place: Place, day: str) -> PricedMachine:
    from cloudaccel.cost.owned import monthly_lines
    from cloudaccel.decide.owning import owned_case
    from cloudaccel.facts.inventory import offer_of
    from cloudaccel.model.decision import total_of_lines

    dated = replace(machine, as_of=machine.as_of or day)
    if machine.price_per_hour is not None:
        return PricedMachine(offer_of(dated, path), "stated in the inventory")
    what = machine.system.id if machine.system else f"{machine.count}x{machine.accelerator_id}"
    words = [f"own:{what}", *(f"{key}={value}" for key, value in machine.costs.items())]
    if machine.country and "kwh" not in machine.costs:
        words.append(f"country={machine.country}")
    case = owned_case(parse_option(",".join(words), today=day), place, "full")
    month = None if case.unknown is not None else total_of_lines(monthly_lines(case.owned))
    if month is None:
        reason = case.unknown.reason if case.unknown is not None else "a part of its cost is unknown"
        return PricedMachine(offer_of(dated, path), f"unknown: {reason}")
    price = (month / HOURS_PER_MONTH).quantize(Decimal("0.000001"))
    left = f"; without {', '.join(case.not_counted)}" if case.not_counted else ""
    return PricedMachine(offer_of(dated, path, price=price), f"{month:,.2f} a month ÷ 730 h at full use{left}")


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


__all__ = ["SCOPES", "PricedMachine", "advise", "compare", "price_file_text", "price_inventory", "roadmap"]
