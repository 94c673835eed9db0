"""What the catalog and the sizing know, as answers to an option: a price, tokens per second, hours of a run."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from cloudaccel.api.quoting import quote
from cloudaccel.cost.lines import term_hours
from cloudaccel.decide.judged import JudgeFor, may_be_chosen, training_flop
from cloudaccel.decide.options import OptionSpec
from cloudaccel.decide.owning import named_accelerators
from cloudaccel.decide.ways import Found
from cloudaccel.errors import UnknownName
from cloudaccel.facts.accelerators import all_accelerators
from cloudaccel.model import Accelerator, Offer
from cloudaccel.model.decision import Estimate
from cloudaccel.model.unknown import Unknown

_TASKS = {"pretrain": ("pretrain", None), "adapt": ("continued_pretrain", None), "finetune": ("finetune", "full"),
          "lora": ("finetune", "lora")}  # fmt: skip
_MOST = 100_000  # offers that are judged in turn: more than one accelerator has


def price_finder(
    price_file: str | Path | None,
    catalog: str | Path | None,
    today: date | None,
    judge: JudgeFor | None = None,
    fx_file: str | Path | None = None,
) -> Callable[[OptionSpec], Found | Unknown]:
    """Looks the cheapest price of an option up in the catalog: the same answer as ``quote`` gives.

    With `fx_file`, rates of the ECB, offers in other currencies are converted. With `judge`, the cheapest that the
    rules allow; where they allow none, the one with the fewest open questions.
    """

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
        limit = _MOST if judge is not None else 50 if by_instance else 1
        try:
            answer = quote(
                **expression, price_file=price_file, catalog=catalog, today=today, limit=limit,
                fx_file=fx_file, **filters,
            )  # fmt: skip
        except UnknownName:
            if not by_instance:
                raise
            return Unknown(f"no price of {spec.what} is loaded", "give price=…/h, or a row in --price-file")
        offers = [o for o in answer.offers if not o.apart and _is_service(o, spec)]
        if not offers:
            return Unknown(_no_price(spec, provider), "; ".join(answer.hints[:2]) or "give price=…/h or --price-file")
        best = offers[0] if judge is None else _allowed(offers, judge, training_flop(spec))
        return _found(best, answer.nodes(best))

    return find


def _allowed(offers: Sequence[Offer], judge: JudgeFor, flop: float | None) -> Offer:
    from cloudaccel.compliance import placement_of  # the tables of facts, only for who asks to be judged

    def distance(offer: Offer) -> tuple[bool, int]:
        verdict = judge(flop).verdict(placement_of(offer))
        return bool(verdict.failed), 0 if may_be_chosen(verdict) else len(verdict.unknown)

    return min(offers, key=distance)  # of equals the first, which is the cheapest


def _expression(what: str) -> str:
    leading = re.match(r"^(\d+)[x×](.+)$", what)
    return f"{leading.group(2)}:{leading.group(1)}" if leading else what


def _is_service(offer: Offer, spec: OptionSpec) -> bool:
    raw = offer.service in ("vm", "bare-metal", "hosting")
    wanted = spec.words.get("service")
    if spec.kind == "managed":
        return not raw and (wanted is None or wanted in offer.service)
    return raw or spec.kind != "vm"


def _no_price(spec: OptionSpec, provider: str | None) -> str:
    service = " as a managed service" if spec.kind == "managed" else ""
    return f"no price of {spec.what}{service} {f'at {provider} ' if provider else ''}is loaded".replace("  ", " ")


def _found(offer: Offer, nodes: int) -> Found:
    price = (offer.price.amount or Decimal(0)) * nodes
    where = f"{offer.provider} {offer.region} {offer.instance}{f' x{nodes}' if nodes > 1 else ''}"
    seen = offer.price.as_of or "an unknown day"
    if offer.price.as_of_until:
        seen = f"{offer.price.as_of} to {offer.price.as_of_until}"
    estimate = Estimate(
        "price", price, price, price, "USD/h", f"{offer.price.source.name}: {where}, {offer.price.status}", seen,
        offer.price.status == "exact", "price=",
    )  # fmt: skip
    commitment = "none" if offer.term is None else _bound(offer)
    upfront = offer.price.upfront if offer.market == "reserved" else None  # a block's fee is in its hours already
    return Found(
        price=estimate,
        accelerators=int(offer.count * nodes) if offer.count and offer.count >= 1 else None,
        label=f"{where}, {offer.market.replace('_', '-')}{_negotiated(offer)}, seen {seen}",
        commitment=commitment,
        market=offer.market,
        bound=offer.term is not None,
        term_hours=term_hours(offer.term) if offer.term else None,
        upfront=replace(
            estimate, name="upfront", low=upfront * nodes, likely=upfront * nodes, high=upfront * nodes, unit="USD"
        )
        if upfront
        else None,
        accelerator_ids=frozenset({offer.accelerator_id}) if offer.accelerator_id else frozenset(),
        offer=offer,
    )


def _negotiated(offer: Offer) -> str:
    """Whether it is a price of the user's own, where the list's is another."""
    if (offer.offering_class or "").startswith("commitment "):
        return f", {offer.offering_class}"
    return ", adjusted" if offer.price.note.startswith("adjusted by ") else ""


def _bound(offer: Offer) -> str:
    """Term and payment of a commitment."""
    paid = f" {offer.payment.replace('_', ' ')}" if offer.payment else ""
    return f"{offer.term or ''}{paid}"


def _first(ids: frozenset[str]) -> Accelerator:
    """Of a family, the variant that the table names first; what is sized names it."""
    return next(a for a in all_accelerators() if a.id in ids)


def speed_finder(
    model: str | None, dtype: str | None, day: str, *, tokens_in: int, tokens_out: int
) -> Callable[[frozenset[str], int], Estimate | Unknown]:
    """Sizes `model` on accelerators; unknown when no model is named or it does not fit.

    `tokens_in` and `tokens_out` are of one request.
    """

    def find(ids: frozenset[str], count: int) -> Estimate | Unknown:
        if model is None:
            return Unknown("no --model to size", "or name one with --model")
        if not ids:
            return Unknown("the accelerator is not known", "or name it")
        # Imported here: the sizing tables are heavy, and most comparisons state their throughput.
        from cloudaccel.facts.models import resolve_model
        from cloudaccel.model.workload import ServeDemand, Workload
        from cloudaccel.workloads import size

        demand = ServeDemand(input_tokens=tokens_in, output_tokens=tokens_out)
        job = Workload(task="serve", model=model, precision=dtype or "bf16", serve=demand)
        fit = size(job, resolve_model(model), _first(ids), per_node=min(count, 8), nodes=max(1, count // 8))
        if fit.serving is None or fit.verdict == "no":
            why = fit.reasons[0].text if fit.reasons else "it does not fit"
            return Unknown(f"{model} on {count} x {_first(ids).id}: {why}", "or take other machines")
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
        sequence = f"{demand.input_tokens} tokens in and {demand.output_tokens} out"
        where = f"{model} on {_first(ids).id}, {sequence}, batch {serving.batch}, {replicas} replicas"
        source = f"sized in {dtype or 'bf16'} (--dtype): {where}; an estimate, so measure it"
        return Estimate("throughput", low, rate, high, "tok/s", source, day, False, "throughput=")

    return find


def hours_finder(
    model: str | None, dtype: str | None, day: str
) -> Callable[[OptionSpec, Offer | None], Estimate | Unknown]:
    """Sizes a run: accelerator-hours with their interval, from tokens, model, accelerators and their network."""

    def find(spec: OptionSpec, offer: Offer | None) -> Estimate | Unknown:
        name, params, tokens = spec.words.get("model", model), spec.likely("params"), spec.likely("tokens")
        if tokens is None or not spec.what or (name is None and params is None):
            return Unknown("tokens, model or accelerators are missing")
        # Imported here: the sizing tables are heavy, and most comparisons state their hours.
        from cloudaccel.facts.machines import network_gbit_per_s
        from cloudaccel.model.workload import Machine
        from cloudaccel.workloads import size
        from cloudaccel.workloads.job import parse_job

        task, method = _TASKS[spec.kind]
        given = {"task": task, "tokens": str(tokens), "method": method, "dtype": dtype, "seq": spec.likely("seq")}
        job = parse_job({**given, **({"params": str(params)} if params is not None else {"model": name})})
        ids, count = named_accelerators(spec.what)
        accelerator = _first(ids)
        # Chips of a slice are joined whole; of anything else, eight stand in a machine.
        per_node = count if accelerator.kind == "tpu" else min(count, 8)
        network = None if offer is None else network_gbit_per_s(offer.provider, offer.instance)
        machine = Machine(network, None if offer is None else offer.memory_gib)
        nodes = max(1, count // per_node)
        fit = size(job.workload, job.model, accelerator, per_node=per_node, nodes=nodes, machine=machine)
        hours = (fit.hours_low, fit.hours_likely, fit.hours_high)
        if fit.verdict == "no" or None in hours:
            why = fit.reasons[0].text if fit.reasons else "its speed is not known"
            return Unknown(f"on {count} x {accelerator.id}: {why}")
        low, likely, high = (Decimal(str(round((h or 0) * count, 1))) for h in hours)
        source = f"sized on {count} x {accelerator.id}, {(fit.hours_likely or 0) / 24:.1f} days; measure it"
        note = "; ".join(reason.text for reason in fit.reasons)
        return Estimate("accel-hours", low, likely, high, "h", source, day, False, "accel-hours=", note=note)

    return find
