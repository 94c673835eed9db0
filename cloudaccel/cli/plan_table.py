"""A plan for people: what is needed, the options with their sums, what was rejected, what was assumed."""

from collections.abc import Iterator
from decimal import Decimal

from cloudaccel import export
from cloudaccel.api import quoting
from cloudaccel.cli import common, plan_serving
from cloudaccel.facts.machines import network_gbit_per_s
from cloudaccel.model.plan import EXPORT_ONLY, Option, Plan
from cloudaccel.output.columns import accelerator_of, amount_in, display_name, part_text, plain
from cloudaccel.planner.reasons import duration
from cloudaccel.workloads.memory import saved


def render(plan: Plan, *, explain: bool, saved: str | None) -> str:
    """The text of the answer."""
    lines = [*_needs(plan), *holding_lines(plan), ""]
    shown = [*plan.options, *plan.near[: max(0, 5 - len(plan.options))]]
    if shown:
        lines += [*_table(plan, shown), ""]
    lines += shown_lines(plan)
    lines += [*_notes(plan), *_data_turns(plan)]
    if plan.options:  # else why_not says it, on stderr
        lines += _rejected(plan)
        lines += [f"Or       {relaxation.text}" for relaxation in plan.relaxations]
        lines += rules_lines(plan)
    lines += _elsewhere(plan)
    lines += left_out_lines(plan)
    lines += _assumed(plan, explain)
    if explain and plan.best is not None:
        lines += _explained(plan, plan.best)
    if saved:
        lines.append(f"Saved    {saved} (catalog {plan.catalog_id[:19]}, {plan.evaluated:,} candidates)")
    return "\n".join(lines) + "\n"


def shown_lines(plan: Plan) -> list[str]:
    """The total of option 1 in the currency and with the tax that were asked for, each on a line of its own."""
    shown, best = plan.shown, plan.best
    if shown is None or best is None:
        return []
    code, own = shown.currency, best.offer.price.currency
    amount, tax = shown.amount(best.total), shown.tax(best.total)
    lines: list[str] = []
    if shown.source is not None:
        rate = f"1 {own} = {plain(shown.rate)} {code}"
        lines.append(f"In {code}   option 1: {in_money(amount, code)}, at {rate}, {shown.source} of {shown.as_of}")
    if tax is not None and amount is not None:
        percent = plain(shown.tax_percent)
        both = in_money(amount + tax, code)
        lines.append(f"Tax      {percent}% (as you state): {in_money(tax, code)}, in no total; with it {both}")
    return lines


def _buying(plan: Plan) -> Iterator[str]:
    """What the machines of the first option cost before they cost anything by the hour."""
    from cloudaccel.facts.owned import find_system, owning  # only for machines to buy

    first = plan.best or next(iter(plan.near), None)
    if first is None:
        return
    yield f"         shown here: machines to buy, by the hour of owning them: {first.offer.price.note}"
    system, weeks = find_system(first.offer.instance), owning()["lead_time_weeks"]
    price, site = system.price, first.offer.country
    if price is not None:
        each = f"{_money(price.likely)} USD each ({_money(price.low)} to {_money(price.high)})"
        sure = "" if system.verified else ", not verified"
        source = system.source.partition(" (")[0]
        yield f"Buy      {first.nodes} × {system.name}: {each}, {source}, {system.as_of}{sure}"
    yield f"         delivery takes {weeks.low} to {weeks.high} weeks (an estimate), which is in no wall time"
    where = f" --country {site}" if site and "average price" not in first.offer.price.note else ""
    yield f"         all that owning takes: cloudaccel compare --option own:{system.id}{where} --explain"


def in_money(amount: Decimal | None, code: str) -> str:
    """An amount with its currency."""
    return "unknown" if amount is None else f"{amount_in(amount, code)} {code}"


def rules_lines(plan: Plan) -> list[str]:
    """What the rules cost, what would settle the cheapest that is unknown, and what was not answered."""
    lines: list[str] = []
    if plan.no_public_cloud:
        packs = ", ".join(plan.no_public_cloud)
        lines.append(f"Rules    {packs} leaves no public cloud: name machines of your own with --inventory CSV")
    if plan.to_buy:
        lines.extend(_buying(plan))
    else:
        lines += [f"Unpriced {one}; its row may give kwh, annual or price_per_hour" for one in plan.unpriced]
    for one, another in plan.conflicts:
        lines.append(f"Rules    {one} and {another} leave no place together that is known to satisfy both;")
        lines.append("         each of them alone leaves some")
    best, other, settled = plan.best, plan.without_rules, plan.if_settled
    if other is not None:
        cost = "" if plan.rules_cost is None else f"cost {_money(plan.rules_cost)}: "
        lines.append(f"Rules    {cost}{_ruled_out(other)}")
    if settled is not None:
        if other is None or settled.offer.id != other.offer.id:
            lines.append(f"Unknown  {_ruled_out(settled)}")
        asks = ", ".join(settled.asks)
        lines.append(f"         {f'to settle it: {asks}' if asks else 'no statement of yours would settle it'}")
    if best is not None and best.verdict == "unanswered":
        lines.append(f"Open     {', '.join(best.rules)}: unknown until you answer {', '.join(best.asks)}")
    elif best is not None and best.verdict is not None:
        how = "satisfied on the facts given"
        if best.verdict == "accepted_risk":
            how = f"not all satisfied: the risk of {', '.join(best.rules)} was accepted"
        judged_by = ", ".join(sorted(set(plan.pack_digests) - set(plan.packs_idle)))
        lines.append(f"Rules    of {judged_by} {how}; not legal advice")
    for duty in plan.duties:
        lines.append(f"{'Duty' if duty.effect == 'oblige' else 'Advice':<8} {duty.rule}: {duty.text} [{duty.cite}]")
    return lines


def _ruled_out(option: Option) -> str:
    words = (option.verdict or "").replace("_", " ")
    total = f"{_money(option.total)} {option.offer.price.currency}"
    return f"{place(option)} for {total}, {words}: {', '.join(option.rules)}"


def holding_lines(plan: Plan) -> list[str]:
    """The reservation that is planned in, and what was paid for it, which is part of no total."""
    held = plan.reservation
    if held is None:
        return []
    count = f"{held.machines} machine{'' if held.machines == 1 else 's'}"
    lines = [f"Held     {held.id}: {count}, {held.start:%Y-%m-%d %H:%M} to {held.end:%Y-%m-%d %H:%M} UTC; 0.00 to use"]
    if held.sunk is None or held.sunk_per_hour is None:
        return [*lines, f"Sunk     unknown: {held.source}"]
    sums = f"{_money(held.sunk)} {held.currency}, {_money(held.sunk_per_hour)} an hour, used or not"
    return [*lines, f"Sunk     {sums}; in no total", f"         {held.source}"]


def market_words(option: Option, plan: Plan) -> str:
    """How the machines are got: the market, or that they are held."""
    return option.offer.market.replace("_", "-") if plan.reservation is None else "held"


def why_not(plan: Plan) -> str:
    """Why there is no option, and the nearest thing that would do; for stderr."""
    lines = ["error: no option satisfies this job."]
    if plan.near:
        option = plan.near[0]
        reasons = "; ".join(text for _, text in option.blocked)
        lines.append(f"  nearest: {place(option)} ×{option.nodes}: {reasons}")
    lines += [f"  {r.counted}, {r.reason}: {r.examples[0]}" for r in plan.rejected[:6]]
    lines += [f"  try: {relaxation.text}" for relaxation in plan.relaxations]
    lines += [f"  {text}" for text in rules_lines(plan)]
    return "\n".join(lines)


def _needs(plan: Plan) -> list[str]:
    workload, model = plan.workload, plan.model
    task = workload.task if workload.task != "finetune" else f"finetune ({workload.method})"
    size = f"{model.params / 1e9:.4g} B parameters"
    if model.params_active != model.params:
        size += f", {model.params_active / 1e9:.4g} B active"
    made = "shape made up: a decoder of text" if model.arithmetic == "guessed" else ""
    named = (task, model.id or workload.model, size, made, workload.precision)
    lines = [f"Job      {' · '.join(part for part in named if part)}"]
    option = plan.best or (plan.near[0] if plan.near else None)
    if workload.serve is not None:
        lines.append(f"         {plan_serving.load_words(workload.serve)}")
    if workload.tokens is not None:
        flop = f" · {option.fit.flops:.3g} FLOP" if option and option.fit.flops else ""
        lines.append(f"         {tokens_words(workload.tokens)} in sequences of {workload.sequence_tokens}{flop}")
    if option is not None and option.fit.memory is not None:
        memory = option.fit.memory
        saving = "" if workload.serve is not None else f"{memory.checkpoint_gib:.1f} at checkpoint, "  # never saves
        lines.append(
            f"Needs    {memory.step_gib:.1f} GiB an accelerator at work, {saving}"
            f"{memory.load_gib:.1f} at load (has {memory.available_gib:.1f}, on {what(option)})"
        )
    if workload.serve is None:
        lines.append(_saves(plan))
    elif option is not None:
        lines += plan_serving.serves_lines(option, workload.serve)
    if option is not None and option.nodes > 1 and not _apart(option):
        lines.append(_links(option))
    if model.commercial_use and model.commercial_use != "yes":
        lines.append(f"Licence  {model.licence}: commercial use {model.commercial_use}")
    return lines


def _apart(option: Option) -> bool:
    """Whether its machines have nothing to say to each other: replicas that each fit into one."""
    serving, there = option.fit.serving, option.offer.count
    return serving is not None and there is not None and serving.accelerators_per_replica <= there


def _saves(plan: Plan) -> str:
    """What the run writes, and whether the disk that was asked for holds it."""
    written, disk = saved(plan.workload, plan.model), plan.workload.disk_gb
    checkpoint, whole = _gb(written.checkpoint_gb), _gb(written.model_gb)
    text = f"Saves    {checkpoint} a checkpoint to go on from, {whole} the model in 16 bits"
    if disk is None:
        return f"{text}; on no disk that is paid here (--disk)"
    least = max(written)
    return text if disk >= least else f"{text}: more than --disk {_gb(disk)}"


def _gb(size: float) -> str:
    return f"{size:,.0f} GB" if size >= 10 else f"{size:.2g} GB"


def _links(option: Option) -> str:
    """What is between the accelerators of one machine, and between the machines."""
    row = accelerator_of(option.offer)
    inside = "not known"
    if row is not None and row.link:
        rate = f" {row.interconnect_gb_per_s:g} GB/s" if row.interconnect_gb_per_s else ""
        inside = f"{row.link}{rate}"
    between = network_gbit_per_s(option.offer.provider, option.offer.instance)
    outside = "not known, and taken for a thin network" if between is None else f"{between:g} Gbit/s"
    return f"Links    inside a machine: {inside}; between machines: {outside}"


def tokens_words(tokens: float) -> str:
    """Tokens as people say them: ``200 M tokens``, ``1.5 T tokens``."""
    size, unit = next(((size, f" {unit}") for size, unit in _SIZES if tokens >= size), (1.0, ""))
    return f"{tokens / size:,.4g}{unit} tokens"


_SIZES = ((1e12, "T"), (1e9, "B"), (1e6, "M"))


def place(option: Option) -> str:
    """Seller, zone or region, and machine of an option."""
    return f"{option.offer.provider} {option.offer.zone or option.offer.region} {option.offer.instance}"


def what(option: Option) -> str:
    """The hardware of an option: ``H100-SXM 80GB:8x2``."""
    nodes = f"x{option.nodes}" if option.nodes > 1 else ""
    return f"{display_name(option.offer)}:{option.offer.count}{nodes}"


def _table(plan: Plan, shown: list[Option]) -> list[str]:
    demand = plan.workload.serve
    other_money = plan.shown if plan.shown is not None and plan.shown.source is not None else None
    figures = plan_serving.HEADINGS if demand is not None else ("WALL", "COMPUTE", "OTHER")
    headings = [
        *("", "OPTION", "HARDWARE", "MARKET", *figures, "TOTAL"),
        *([f"TOTAL {other_money.currency}"] if other_money else []),
        "VERDICT",
    ]
    rows: list[list[str]] = []
    for number, option in enumerate(shown, 1):
        rows.append([
            str(number) if not option.blocked else "·",
            place(option) + (f" (+{len(option.also)})" if option.also else ""),
            what(option), market_words(option, plan), *figures_of(option, plan), _money(option.total),
            *([amount_in(other_money.amount(option.total), other_money.currency)] if other_money else []),
            verdict_words(option, number, plan),
        ])  # fmt: skip
    right = {0, 4, 5, 6, 7, *([8] if other_money else [])}
    return common.table(headings, rows, frozenset(right), common.screen_width())


def figures_of(option: Option, plan: Plan) -> list[str]:
    """Three figures of an option: time and parts of the cost of a run; latencies and the cost of a token of serving."""
    if plan.workload.serve is not None:
        return plan_serving.cells(option, plan.workload.serve)
    compute = option.lines[0].amount
    other = None if option.total is None or compute is None else option.total - compute
    return [duration(option.hours), _money(compute), _money(other)]


def _money(amount: Decimal | None) -> str:
    return "—" if amount is None else f"{amount:,.2f}"


def verdict_words(option: Option, number: int, plan: Plan) -> str:
    """What speaks against an option, or how it stands: ``fits, cheapest, startable``."""
    if option.blocked:
        return "; ".join(text for _, text in option.blocked)
    words = [option.fit.verdict]
    if number == 1 and plan.reservation is None:  # what is held is compared with nothing
        words.append({"cost": "cheapest", "time": "fastest", "carbon": "least carbon"}[plan.rank_by])
    if option.verdict == "unanswered":
        words.append("rules open")
    words.append(option.channel)
    return ", ".join(words)


def _notes(plan: Plan) -> Iterator[str]:
    """Why an option is tight, and what else its figures rest on, each sentence once with the options it is about."""
    about: dict[str, list[str]] = {}
    for number, option in enumerate(plan.options, 1):
        for reason in option.fit.reasons:
            about.setdefault(reason.text, []).append(str(number))
    for number, option in enumerate(plan.near, 1):
        for reason in () if plan.options else option.fit.reasons:
            about.setdefault(reason.text, []).append(f"·{number}")
    best = plan.best
    if best is not None and best.offer.availability == ("listed", None):
        text = "listed with a price; no source has seen it for sale (--require-available leaves such offers out)"
        about.setdefault(text, []).append("1")
    for number, option in enumerate(plan.options, 1):
        if where := quoting.zone_apart(option.offer):
            about.setdefault(f"{where}: {quoting.APART}", []).append(str(number))
    for text, numbers in list(about.items())[:_MOST_NOTES]:
        yield f"Note     {', '.join(numbers)}: {text}"
    if len(about) > _MOST_NOTES:
        yield f"         and {len(about) - _MOST_NOTES} more like these (--json)"


_MOST_NOTES = 5


def _data_turns(plan: Plan) -> Iterator[str]:
    """How long a run must be for the way that brings data in, or not, to change places with option 1."""
    best = plan.best
    if best is None or plan.workload.data_gb is None or plan.workload.serve is not None:
        return
    compute, beside = _compute_and_rest(best)
    for other in plan.options[1:]:
        more, rest = _compute_and_rest(other)
        if (rest - beside) * (compute - more) > 0:  # dearer in the one and cheaper in the other
            hours = best.hours * (rest - beside) / (compute - more)
            which = "longer" if hours > best.hours else "shorter"
            yield f"Data     {place(other)} is cheaper for runs {which} than {duration(hours)}"
            return


def _compute_and_rest(option: Option) -> tuple[Decimal, Decimal]:
    compute = option.lines[0].amount or Decimal(0)
    return compute, (option.total or Decimal(0)) - compute


def _elsewhere(plan: Plan) -> list[str]:
    """Who can start option 1, when we cannot."""
    best = plan.best
    if best is None or best.channel != EXPORT_ONLY:
        return []
    names = export.starting(best.offer.provider, best.offer.partition, best.offer.region)
    return [f"Start    option 1 by another engine, from a file: --export {' or '.join(names)}"]


def left_out_lines(plan: Plan) -> list[str]:
    """What is in no sum, so that nobody thinks it was; and how much of spot's time interruptions may take."""
    left = [left.what if left.flag is None else f"{left.what} ({left.flag})" for left in plan.left_out]
    return [f"Left out {', '.join(left)}: in no total", *_spot_turn(plan)] if left else []


def _spot_turn(plan: Plan) -> Iterator[str]:
    """How much of its time spot may lose before the cheapest other option costs the same."""
    best = plan.best
    others = [o for o in plan.options if o.offer.market != "spot" and o.total is not None]
    if best is None or best.offer.market != "spot" or not best.total or not others or plan.workload.serve is not None:
        return
    other = others[0]
    running, more = best.total - _transfer(best), (other.total or Decimal(0)) - best.total
    share = more / (running + more)
    words = f"{place(other)} ({other.offer.market.replace('_', '-')}, {_money(other.total)})"
    yield f"Spot     is the cheaper one until interruptions take {share * 100:.0f} % of its time; then {words}"


def _transfer(option: Option) -> Decimal:
    """What is paid once, however long the run takes."""
    return sum((line.amount or Decimal(0) for line in option.lines if line.name == "data transfer"), Decimal(0))


def _rejected(plan: Plan) -> list[str]:
    return [
        f"Rejected {r.counted}, {r.reason}: {r.examples[0]}"
        for r in plan.rejected
        if r.reason not in ("deadline", "budget") or not plan.options
    ]


def _assumed(plan: Plan, explain: bool) -> list[str]:
    if explain:
        lines = ["Assumed"]
        for a in plan.assumptions:
            flag = f" [{a.flag}]" if a.flag else ""
            lines.append(f"  {a.name} = {_short(a.value, 6)} {a.unit}{flag}  ({a.source}, {a.as_of})")
        return lines
    if not plan.assumptions:
        return []
    names = ", ".join(f"{a.name} {_short(a.value)}" for a in plan.assumptions[:5])
    return [f"Assumed  {names}{' …' if len(plan.assumptions) > 5 else ''}   --explain for all, with sources"]


def _short(value: object, digits: int = 3) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _explained(plan: Plan, option: Option) -> list[str]:
    fit = option.fit
    lines = ["", f"How option 1 comes about: {place(option)}"]
    lines += _hours_explained(option)
    if fit.memory is not None:
        parts = " + ".join(f"{name} {gib:.2f}" for name, gib in fit.memory.parts)
        lines.append(f"  memory of one accelerator, GiB: {parts} = {fit.memory.step_gib:.2f}")
    if fit.shape is not None:
        s = fit.shape
        lines.append(
            f"  shape: tensor {s.tp} × pipeline {s.pp} × context {s.cp} × data {s.dp}, expert {s.ep}, ZeRO {s.zero}, "
            f"micro-batch {s.micro_batch} × {s.accumulation}, recompute {s.recompute}"
        )
    lines += plan_serving.explained(plan, option)
    for line in option.lines:
        unit = plain(line.unit_price) or "?"
        lines.append(f"  {line.name}: {plain(line.quantity)} {line.unit} × {unit} = {plain(line.amount) or 'unknown'}")
    lines.append(f"  total {plain(option.total) or 'unknown'} {option.offer.price.currency}")
    price = option.offer.price
    seen = f"between {price.as_of} and {price.as_of_until}" if price.as_of_until else price.as_of
    lines += [f"  price: {part_text(part)}" for part in price.parts]
    lines.append(f"  price seen {seen} in {price.source.name} {price.source.path}")
    lines += [f"  like {run.name}: {run.source}" for run in fit.nearest_runs]
    lines += _energy(option)
    lines += _pareto(plan)
    return lines


def _hours_explained(option: Option) -> list[str]:
    """The hours with every factor, so that they can be redone by hand."""
    fit, row = option.fit, accelerator_of(option.offer)
    peak = None if row is None else row.peak_tflops_bf16_dense or row.peak_tflops_fp16_dense
    if not (fit.flops and fit.hours_likely and fit.hours_low and fit.hours_high):
        return []
    speed = f"{peak:g} TFLOP/s dense × step MFU {fit.step_mfu:.4g}" if peak and fit.step_mfu else "speed measured"
    wait = f" ÷ waiting for the network {fit.network_stretch:.4g}" if fit.network_stretch > 1 else ""
    if fit.link_stretch > fit.network_stretch:
        wait = f" ÷ waiting for the link between cards {fit.link_stretch:.4g}"
    if fit.pipeline_stretch > 1:
        wait += f" ÷ idle pipeline {fit.pipeline_stretch:.4g}"
    if fit.cutting_stretch != 1:
        wait += f" ÷ cutting for a slow network {fit.cutting_stretch:.4g}"
    made = f"{option.accelerators} accelerators × {speed} × goodput {fit.goodput or 1:.4g}{wait}"
    likely, low, high = (
        f"{h:.2f}" if h >= 1 else f"{h:.3g}" for h in (fit.hours_likely, fit.hours_low, fit.hours_high)
    )
    return [f"  {fit.flops:.4g} FLOP ÷ ({made}) = {likely} h (between {low} and {high})"]


def _energy(option: Option) -> list[str]:
    """Energy and carbon with every factor, so that each can be replaced."""
    e = option.energy
    if e is None:
        return ["  energy and carbon unknown: no source has the rated power, or what a kWh emits there (--grid)"]
    power = f"{e.accelerator_hours:,.1f} accelerator-hours × {e.rated_kw:g} kW × load {e.load:g} × PUE {e.pue:g}"
    return [
        f"  energy {power} = {e.kwh:,.0f} kWh",
        f"  carbon {e.kwh:,.0f} kWh × {e.g_per_kwh:g} g/kWh ({e.scope}) = {e.kg:,.0f} kg CO2e",
        f"  load {e.load:g}: {e.load_source} (--power-load); PUE {e.pue:g}: {e.pue_source} (--pue); g/kWh: --grid",
    ]


def _pareto(plan: Plan) -> list[str]:
    front = plan.pareto()
    if len(front) < 2:
        return []
    lines = ["", "Cheaper is slower: no option beats these in both"]
    lines += [f"  {_money(o.total):>12} USD  {duration(o.hours):>8}  {place(o)} ×{o.nodes}" for o in front]
    return lines
