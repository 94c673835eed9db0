"""`plan`: from a workload to the cheapest offer that fits, with the sums shown."""

import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache, partial
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cloudaccel import units
from cloudaccel.api.energy import GivenEnergy
from cloudaccel.api.holding import Holding, hold, read_holding
from cloudaccel.api.judging import Rules, judge_by, row_judge
from cloudaccel.api.money import Money, job_money
from cloudaccel.api.quotas import read_given
from cloudaccel.api.quoting import build_query, hints, relaxations
from cloudaccel.catalog.session import accelerator_table, open_session, own_session
from cloudaccel.compliance import conflicts, placement_of
from cloudaccel.cost.lines import CURRENCY, DISK_PRICE, SETUP_HOURS, TRANSFER_PRICE
from cloudaccel.errors import QueryError
from cloudaccel.facts import places
from cloudaccel.facts.licences import not_granted
from cloudaccel.model import Accelerator, Offer, Query
from cloudaccel.model.plan import (
    EXPORT_ONLY,
    MOST_MACHINES,
    QUOTE_ONLY,
    STARTABLE,
    Duty,
    Option,
    Plan,
    Rejected,
    Relaxation,
)
from cloudaccel.model.workload import Assumption, Fit, Machine, Reason, Support
from cloudaccel.planner.plan import make_plan
from cloudaccel.planner.reasons import duration
from cloudaccel.planner.request import NODE_STEPS, RANKS, Context, Request
from cloudaccel.settings import load_settings
from cloudaccel.workloads import size, supports
from cloudaccel.workloads.flops import training_flops
from cloudaccel.workloads.job import POLICY_FILTERS, Job, parse_job, read_job

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Unpack

    from cloudaccel.api.deciding import PricedMachine
    from cloudaccel.api.quoting import Filters
    from cloudaccel.catalog.session import Session
    from cloudaccel.compliance import Judge
    from cloudaccel.model.certificate import Certificate
    from cloudaccel.planner.request import Judge as RowJudge

JobLike = Mapping[str, Any] | str | Path | None
_MOST_RELAXATIONS = 3


def plan(
    job: JobLike = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    accelerators: str | None = None,
    rank_by: str = "cost",
    mfu: float | None = None,
    measured: float | None = None,
    conservative: bool = False,
    max_nodes: int = NODE_STEPS[-1],
    setup: str | None = None,
    disk_price: str | Decimal | None = None,
    transfer_price: str | Decimal | None = None,
    options: int = 10,
    startable: bool = False,
    inter_node: str | float | None = None,
    price_file: str | Path | None = None,
    inventory: str | Path | None = None,
    catalog: str | Path | None = None,
    rules: "Rules | None" = None,
    reservation: str | None = None,
    window: str | None = None,
    paid: str | Decimal | None = None,
    now: datetime | None = None,
    fx_file: str | Path | None = None,
    tax: str | None = None,
    quota: Sequence[str] = (),
    energy: GivenEnergy = GivenEnergy(),  # noqa: B008  (frozen)
    **filters: "Unpack[Filters]",
) -> Plan:
    """The cheapest way (or the fastest, or of least carbon) to do a workload with what the catalog has on offer.

    Parameters
    ----------
    job
        A ``job.yaml`` or ``.json``, or a mapping with the same keys; `overrides` go over it.
    accelerators
        Accelerator expression that narrows the hardware; None: everything that trains or serves models.
    mfu, measured
        MFU over the wall clock (0..1), or tokens per second and accelerator, in place of the prior.
    conservative
        Plan with the upper end of the estimated hours: deadline, budget, order and total. Of runs alone.
    setup
        Time of start, load and saving that is paid beside the run, such as ``45m``.
    inter_node
        Several machines only where so much is between them, one direction, such as ``400Gbps``; a number is Gbit/s.
        What no source says of a machine is below it.
    inventory
        Plan on the machines of this inventory, which you own, instead of on what is for rent. None: that of the
        settings when a pack leaves no public cloud, or without one the machines that can be bought (`Plan.to_buy`);
        else what is for rent.
    rules
        Packs to judge every place by (`cloudaccel.api.judging.Rules`); None: those that are always on, with the
        organisation's facts of the settings. ``Rules(always=False)`` judges by none.
    reservation, window, paid
        Id of capacity that you hold, its window such as ``2027-01-10T11:30Z/24h``, and what you paid for it (None: as
        the catalog's capacity blocks cost). The run is planned on the machines that `accelerators`, provider and region
        name: their hours cost nothing more, and what does not end within the window is no answer.
    fx_file
        Euro reference rates (else the setting of that name, when a currency is named): offers in other currencies are
        then converted, a budget in one is read, and totals are shown in ``currency`` beside USD.
    tax
        Tax to show beside totals (``19%``); no total has it in itself.
    quota
        Limits of an account to plan within: saved reports, or words such as ``PROVIDER:us-west-2:L-DB2E81BA=32``. What
        they do not speak of is not limited.
    energy
        Load, PUE and grid (`cloudaccel.api.energy.read_energy`) in place of those of the tables, for every place: what
        the run draws and emits. They change no price.
    now
        From when a window that has begun is counted; None: the clock's.
    filters
        The filters of `quote`: provider, region, country, residency, market, interconnect …

    Raises
    ------
    QueryError, ConfigError
        If the job or a flag cannot be read. A job that nothing fits is no error: the plan has no options.
    """
    parsed, money = job_money(_job(job, overrides or {}, filters), filters.pop("currency", None), fx_file, tax)
    speed = Assumed(mfu, measured, conservative)
    _check_numbers(parsed, rank_by, speed, options, max_nodes)
    wanted = _wanted(parsed, filters)
    holding = read_holding(reservation, window, paid, now=now, owned=inventory is not None)
    by, judge = _judge(rules, parsed)
    closed = [pack.id for pack in judge.applying if pack.forbids_public_cloud]
    own = _own_machines(inventory, wanted, by, closed=bool(closed) and not (catalog or price_file or holding))
    wanted |= {} if own is None else {"market": "owned"}
    with _session(catalog, price_file, own) as session:
        request = Request(
            workload=parsed.workload, model=parsed.model,
            query=build_query(session, accelerators, **wanted, limit=None),
            rank_by=rank_by, max_nodes=max_nodes, setup_h=_setup_hours(setup),
            disk_price=_price(disk_price, DISK_PRICE, "--disk-price", money),
            transfer_price=_price(transfer_price, TRANSFER_PRICE, "--transfer-price", money),
            limit=options, startable_only=startable,
            inter_node_gbit_per_s=None if inter_node is None else units.parse_gbit_per_s(inter_node, "--inter-node"),
            assumptions=tuple(_assumed(parsed, setup, disk_price, transfer_price)),
            described=_described(
                parsed, wanted, holding, speed, **energy.said,
                accelerators=accelerators, rank=rank_by, inter_node=inter_node, quota=quota,
            ),
        )  # fmt: skip
        judged = row_judge(judge, named=by.named) if judge.packs else None
        context = partial(_context, job=parsed, speed=speed, judged=judged, holding=holding, quota=quota, energy=energy)
        found = session.read_laid(lambda db: _planned(request, context(db), holding), money.convert)
        found = replace(found, rejected=(*found.rejected, *_not_on_offer(session, request.query, found)))
    return replace(_ruled(found, by, judge, closed, own), shown=money.shown)


def _not_on_offer(session: "Session", query: Query, found: Plan) -> Iterator[Rejected]:
    """Where there is no option: accelerators that were named and that nobody sells so, each with what is sold."""
    for term in () if found.best is not None else query.terms:
        alone = replace(query, terms=(term,), limit=1)
        if not session.query(alone).total:
            instead = "; ".join(islice(hints(session, alone), 1))
            said = f"not on offer as asked{f': {instead}' if instead else ''}"
            yield Rejected("not_on_offer", 1, (f"{term.text} ({said})",), "expression")


class _Own(NamedTuple):
    """Machines to plan on in place of what is for rent; `to_buy`: nobody has them yet."""

    path: Path
    machines: tuple["PricedMachine", ...]
    to_buy: bool = False

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The machines whose hour has no known cost, and why."""
        lacking = [one for one in self.machines if one.offer.price.amount is None]
        return tuple(f"{one.offer.instance}: {one.said}" for one in lacking)


def _own_machines(inventory: str | Path | None, wanted: Mapping[str, Any], by: Rules, *, closed: bool) -> _Own | None:
    """Those of `inventory`; where rules have `closed` the clouds, of that in the settings, else those to be bought."""
    if not (inventory or closed):
        return None
    from cloudaccel.api.deciding import price_for_sale, price_inventory  # the rooms of owning: only who needs them
    from cloudaccel.facts.owned import HARDWARE_TABLE

    path = inventory or load_settings()["inventory"]
    if path:
        return _Own(Path(path), price_inventory(path))
    return _Own(Path(HARDWARE_TABLE), price_for_sale(_site(wanted, by)), to_buy=True)


def _site(wanted: Mapping[str, Any], by: Rules) -> str | None:
    """The country that machines to buy would stand in: the only one that was asked for, else the headquarters."""
    named = wanted.get("country") or ()
    countries = (
        places.resolve_countries(named if isinstance(named, str) else ",".join(named)) if named else frozenset[str]()
    )
    return next(iter(countries)) if len(countries) == 1 else by.headquarters


def _ruled(found: Plan, by: Rules, judge: "Judge", closed: Sequence[str], own: _Own | None) -> Plan:
    """The plan with what the rules are, which of them leave nothing, and what was planned on instead."""
    against = conflicts(tuple(judge.known.values())) if found.best is None else ()
    found = replace(found, no_public_cloud=tuple(closed) if own is None or own.to_buy else (), conflicts=against)
    if own is not None:
        found = replace(found, to_buy=own.to_buy, unpriced=own.unpriced)
    unlicensed = not_granted(found.model.licence, by.organisation().headquarters)
    return replace(
        found,
        pack_digests=_digests(judge),
        packs_idle=judge.idle,
        request={**found.request, "rules": by.plain()},
        duties=tuple(_duties(found, judge)),
        warnings=(*found.warnings, *judge.warnings, *((unlicensed,) if unlicensed else ())),
    )


def _duties(found: Plan, judge: "Judge") -> Iterator[Duty]:
    """What the rules ask of whoever runs the first option."""
    option = found.best or next(iter(found.near), None)
    if option is not None:
        for duty in judge.verdict(placement_of(option.offer)).obligations:
            yield Duty(duty.rule, duty.effect, duty.why, duty.cite)


def _session(
    catalog: str | Path | None, price_file: str | Path | None, own: _Own | None
) -> "AbstractContextManager[Session]":
    if own is None:
        return open_session(catalog, price_file)
    if catalog or price_file:
        raise QueryError("--inventory plans on your own machines alone: leave --catalog and --price-file out.")
    from cloudaccel.api.deciding import price_file_text

    countries = {machine.offer.region: machine.offer.country for machine in own.machines if machine.offer.country}
    return own_session(own.path, price_file_text(own.machines), countries)


def _planned(request: Request, context: Context, holding: Holding | None) -> Plan:
    """The plan; when nothing is feasible and no limit alone is to blame, with the filters that are."""
    if holding is not None:
        return make_plan(hold(request, context, holding), context)
    found = make_plan(request, context)
    if found.best is None and context.most is not None:
        found = replace(found, relaxations=(*_without_quota(request, context), *found.relaxations))
    if found.best is not None or found.relaxations:
        return found
    return replace(found, relaxations=tuple(islice(_without_filters(request, context), _MOST_RELAXATIONS)))


def _without_quota(request: Request, context: Context) -> Iterator[Relaxation]:
    """What would be planned if the quota were no limit, when that is what stands against every option."""
    free = copy(context)
    free.most = None
    best = make_plan(request, free).best
    if best is not None and best.total is not None:
        text = f"with more quota (--quota-report says how much): {_named(best)} for {best.total:,.2f} {CURRENCY}"
        yield Relaxation(reasons=("quota",), change=(("without --quota", ""),), text=text)


def _without_filters(request: Request, context: Context) -> Iterator[Relaxation]:
    """Filters that leave nothing: each is lifted alone, and what is then planned is said, cheapest first."""
    answers: list[tuple[Decimal, str, str]] = []
    for words, relaxed in _lifted(request):
        best = make_plan(relaxed, context).best
        if best is not None and best.total is not None:
            when = "a month" if request.workload.serve is not None else f"in {duration(best.hours)}"
            text = f"{_named(best)} for {best.total:,.2f} {CURRENCY} {when}"
            answers.append((best.total, words, text))
    for _, words, text in sorted(answers):
        yield Relaxation(reasons=("filter",), change=((words, ""),), text=f"{words}: {text}")


def _named(option: Option) -> str:
    return f"{option.offer.provider} {option.offer.region} {option.offer.instance} ×{option.nodes}"


def _lifted(request: Request) -> Iterator[tuple[str, Request]]:
    for words, query in relaxations(request.query):
        yield words, replace(request, query=query)
    if request.query.terms:
        yield "without --accel", replace(request, query=replace(request.query, terms=()))
    if request.max_nodes < NODE_STEPS[-1]:
        yield "without --max-nodes", replace(request, max_nodes=NODE_STEPS[-1])
    if request.inter_node_gbit_per_s is not None:
        yield "without --inter-node", replace(request, inter_node_gbit_per_s=None)
    if request.startable_only:
        yield "without --startable", replace(request, startable_only=False)


def _digests(judge: "Judge") -> dict[str, str]:
    return {name: digest for name, _version, digest in judge.identities}


def _judge(rules: Rules | None, job: Job) -> tuple[Rules, "Judge"]:
    by = (rules or Rules()).completed(dict(job.workload.policy)).settled()
    return by, judge_by(by, training_flop=_training_flop(job), tuning_flop=_tuning_flop(job))


def _training_flop(job: Job) -> float | None:
    """Operations of a pre-training, 6 x active parameters x tokens; None where it adds to an unknown sum."""
    work = job.workload
    if work.task != "pretrain" or work.tokens is None:
        return None
    return 6.0 * float(job.model.params_active or job.model.params) * work.tokens


def _tuning_flop(job: Job) -> float | None:
    """Operations of a run that adapts a model; None for other work."""
    if job.workload.task != "finetune" or job.workload.tokens is None:
        return None
    return training_flops(job.workload, job.model)


def _check_keywords(filters: Mapping[str, object]) -> None:
    unknown = next((name for name in filters if name not in signature(build_query).parameters), None)
    if unknown is not None:
        raise TypeError(
            f"plan() got an unexpected keyword argument {unknown!r}. Keys of a job go into its mapping, as in "
            "plan({'task': 'finetune', ...}), or into overrides; the other keywords are the filters of quote."
        )


def _check_numbers(job: Job, rank_by: str, speed: "Assumed", options: int, max_nodes: int) -> None:
    """Refuse what would divide by zero, run for ever, or answer nonsense; a nan passes no comparison."""
    if rank_by not in RANKS:
        raise QueryError(f"--rank: {rank_by!r} is none of {', '.join(RANKS)}.")
    mfu, measured = speed.mfu, speed.measured
    if mfu is not None and not 0 < mfu <= 1:
        raise QueryError(f"--mfu: {mfu} is no share of the peak. Write a number above 0 and up to 1, such as 0.40.")
    if measured is not None and not 0 < measured < math.inf:
        raise QueryError(f"--measured: {measured} is no rate. Write tokens per second and accelerator, above 0.")
    for flag, number in (("--limit", options), ("--max-nodes", max_nodes)):
        if number < 1:
            raise QueryError(f"{flag}: {number} must be at least 1.")
    if job.workload.serve is None:
        return
    if mfu is not None:
        raise QueryError("--mfu is of training. For serving give --measured: output tokens per second and accelerator.")
    if speed.conservative:
        raise QueryError("--conservative takes the upper end of a run's hours. For serving lower --utilization.")


def _job(job: JobLike, overrides: Mapping[str, Any], filters: Mapping[str, object]) -> Job:
    _check_keywords(filters)  # a key of the job among them would else be called missing
    if job is None:
        return parse_job(overrides)
    if isinstance(job, str | Path):
        return read_job(Path(job), overrides)
    return parse_job({**job, **overrides})


def _described(
    job: Job, wanted: Mapping[str, Any], holding: Holding | None, speed: "Assumed", **flags: object
) -> dict[str, Any]:
    """What was asked, for the lock."""
    filters = {name: str(value) for name, value in sorted(wanted.items())}
    for flag in ("inter_node", "quota"):
        if flags.get(flag) in (None, ()):
            flags.pop(flag, None)
    return {
        "job": dict(job.given),
        **flags,
        **speed.said(),
        "filters": filters,
        **(holding.said if holding is not None else {}),
    }


def _wanted(job: Job, filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that were given, over the part of the job's policy that is a plain filter on places."""
    policy: dict[str, Any] = {key: value for key, value in job.workload.policy if key in POLICY_FILTERS}
    return policy | {name: value for name, value in filters.items() if value and name != "limit"}


class Assumed(NamedTuple):
    """What the caller says of the speed; the names are those of `cloudaccel.workloads.size`."""

    mfu: float | None
    measured: float | None
    conservative: bool

    def said(self) -> dict[str, Any]:
        """For the lock."""
        return {"mfu": self.mfu, "measured": self.measured} | ({"conservative": True} if self.conservative else {})


def _context(
    db: sqlite3.Connection,
    job: Job,
    speed: "Assumed",
    judged: "RowJudge | None",
    holding: Holding | None,
    quota: Sequence[str],
    energy: GivenEnergy,
) -> Context:
    table = accelerator_table()

    @cache
    def support(accelerator_id: str) -> Support:
        return supports(job.workload, table[accelerator_id], job.model)

    def sizer(accelerator: Accelerator, per_node: int, nodes: int, machine: Machine) -> Fit:
        # What nobody says works is not offered: cheaper and unsupported is no answer.
        runs = support(accelerator.id)
        if runs.answer is not True:
            return Fit(verdict="no", reasons=(Reason("unsupported", f"{runs.reason}{_cited(runs)}"),))
        return size(
            job.workload,
            job.model,
            accelerator,
            per_node=per_node,
            nodes=nodes,
            machine=machine,
            **speed._asdict(),
        )

    given = read_given(quota)
    most = None if given is None else given.most_by()
    warnings = tuple if given is None else given.unused
    channels = _channels(held=holding is not None)
    return Context(db, table, sizer, judged, channel=channels, energy=energy.of, most=most, warnings=warnings)


def _cited(support: Support) -> str:
    return f"; {support.source}, {support.as_of}" if support.source else ""


def _channels(*, held: bool) -> Callable[[Offer, int], str]:
    """How an offer is got: what the provider packages and the exports can do, asked once for each place.

    What is `held` can be started by the id of its reservation, and exported to nothing.
    """
    from cloudaccel import export, registry

    refusal = cache(registry.refusal)
    exports = cache(export.starting)

    def channel(offer: Offer, machines: int) -> str:
        # Neither starts what needs a capacity that was bought before, nor a service that is no machine.
        markets = ("on_demand", "capacity_block") if held else ("on_demand", "spot", "flex_start")
        plain = offer.service == "vm" and offer.market in markets and offer.sold_per == "instance"
        if not plain:
            return QUOTE_ONLY
        if machines <= MOST_MACHINES and refusal(offer.provider, offer.instance, offer.market, machines) is None:
            return STARTABLE
        if offer.market == "flex_start":
            return QUOTE_ONLY
        return EXPORT_ONLY if not held and exports(offer.provider, offer.partition, offer.region) else QUOTE_ONLY

    return channel


def _setup_hours(setup: str | None) -> Decimal:
    if setup is None:
        return Decimal(str(SETUP_HOURS.value))
    return Decimal(str(units.parse_duration_s(setup, "--setup"))) / 3600


def _price(given: str | Decimal | None, default: Assumption, flag: str, money: Money) -> Decimal:
    if given is None:
        return Decimal(str(default.value))
    amount, currency = units.parse_money(str(given), flag)
    return money.in_sums(amount, currency or CURRENCY, flag)


def _assumed(job: Job, setup: str | None, disk: object, transfer: object) -> Iterator[Assumption]:
    """The planner's own assumptions that this plan rests on; those that the user set are marked so."""
    used = (
        (SETUP_HOURS, setup, job.workload.serve is None),
        (DISK_PRICE, disk, job.workload.disk_gb),
        (TRANSFER_PRICE, transfer, job.workload.data_gb),
    )
    for assumption, given, applies in used:
        if applies:
            yield assumption if given is None else replace(assumption, value=str(given), source="given", flag="user")
    if job.workload.serve is not None and job.model.published and "dtype" not in job.given:
        source = f"as its weights are published; {job.model.note}"
        yield Assumption("dtype", job.model.published, "", source, job.model.as_of, "--dtype")


def lock_text(found: Plan) -> str:
    """The text of ``plan.lock.json`` for a plan: the same inputs give the same bytes."""
    from cloudaccel.planner.lock import lock_text as text

    return text(found)


def certify(
    found: Plan, *, today: date | None = None, samples: int = 2000, seed: int = 1, legal_odds: float = 0.5
) -> "Certificate":
    """How sure the first option of a plan is, where the choice flips, and which fact is worth most.

    `today` is the day that prices are aged to (None: the clock's, UTC). Raises `QueryError` when nothing can be judged.
    """
    from cloudaccel.decide.certify import certify as judge

    return judge(found, today=today or datetime.now(UTC).date(), samples=samples, seed=seed, legal_odds=legal_odds)
