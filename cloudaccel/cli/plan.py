"""``cloudaccel plan``: what to rent for a model and a deadline, with the sums shown."""

import argparse
import json
from decimal import Decimal, InvalidOperation
from pathlib import Path

from cloudaccel.api import planning as api
from cloudaccel.api.energy import read_energy
from cloudaccel.api.quoting import LINKS
from cloudaccel.cli import answers, common, flags, plan_certificate, plan_export, plan_quota, plan_table
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.model.certificate import Certificate
from cloudaccel.model.plan import Option, Plan
from cloudaccel.untrusted import json_of
from cloudaccel.workloads.job_keys import JOB_KEYS

EXAMPLES = """\
  cloudaccel plan job.yaml --explain
  cloudaccel plan --task finetune --method lora --model llama-3-70b --tokens 200e6 --deadline 24h --residency EU
  cloudaccel plan --task pretrain --params 7e9 --tokens 1e12 --accel A100-80GB --mfu 0.40
  cloudaccel plan job.yaml --against main.lock.json --max-increase 5%        for continuous integration
  cloudaccel plan job.yaml --accel p4d.24xlarge --region us-east-1 --reservation cr-1 --window 2027-01-10T11:30Z/24h
  cloudaccel plan job.yaml --startable --export terraform --export-to infra
  cloudaccel plan --accel V100:8x2 --quota-report                      what to ask the sellers for
  cloudaccel plan plan.lock.json --export kubernetes --export-to -          from a lock, without planning again
"""
_ALL = 1_000_000  # more options than any catalog gives
LOCK_NAME = "plan.lock.json"
# What a launch configuration can be written for, and the file that it becomes.
TARGETS = {
    "fsdp": "launch-fsdp.sh", "deepspeed": "deepspeed.json", "megatron": "launch-megatron.sh", "vllm": "launch-vllm.sh",
    "maxtext": "maxtext.yml", "neuronx": "neuronx.yaml",
}  # fmt: skip
_METAVARS = {  # of keys of a job that no other verb has
    "params": "N", "params-active": "N", "tokens": "TOKENS", "batch": "N", "rank-lora": "N", "requires": "[A,B]",
    "cores": "N", "deadline": "TIME", "data": "SIZE@PLACE", "requests-per-s": "N", "tokens-per-month": "TOKENS",
    "cached-share": "SHARE", "ttft": "TIME", "tpot": "SECONDS", "concurrency": "N", "utilization": "SHARE",
    "hours-on": "N", "dtype-kv": "TYPE", "prefill-chunk": "TOKENS",
}  # fmt: skip
_JOB_FLAGS = tuple(key for key in JOB_KEYS if key not in ("shape", "policy"))


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser("plan", "What to rent for a model and a deadline, cheapest first, with the sums.", EXAMPLES)
    p.add_argument("job", nargs="?", metavar="FILE", help="job.yaml or .json; flags go over it. With --export: a lock")
    j = p.add_argument_group("the job")
    for flag in _JOB_FLAGS:
        metavar = flags.FLAGS.get(f"--{flag}", {}).get("metavar") or _METAVARS.get(flag, "NAME")
        j.add_argument(f"--{flag}", metavar=metavar, dest=f"job_{flag.replace('-', '_')}", help=flags.job_help(flag))
    _add_assumptions(p)
    _add_energy(p)
    f = p.add_argument_group("filters")
    flags.add(f, "--accel", ": nothing else is considered")
    f.add_argument("--max-nodes", type=int, default=api.NODE_STEPS[-1], metavar="N", help="most machines to consider")
    flags.add_places(f)
    flags.add(f, "--market")
    flags.add(f, "--interconnect", f": {', '.join(LINKS)}", choices=LINKS)
    f.add_argument(
        "--inter-node", metavar="SPEED", help="several machines only with so much between them: 400Gbps; unknown is out"
    )
    flags.add(f, "--require-available")
    f.add_argument("--startable", action="store_true", help="only what 'cloudaccel provision' can start")
    flags.add(f, "--price-file")
    flags.add(f, "--inventory", ": plan on them, instead of what is for rent")
    _add_holding(p)
    plan_quota.add(p)
    common.add_money(p)
    common.add_rules(p)
    v = p.add_argument_group("answer")
    v.add_argument("--rank", default="cost", metavar="BY", help="cost (default), time or carbon")
    flags.add(v, "--limit", " (default 10)", default=10)
    v.add_argument("--lock", metavar="FILE", help=f"where to write the lock (default {LOCK_NAME}); - for none")
    v.add_argument("--against", metavar="LOCK", help="compare with an earlier lock")
    v.add_argument("--max-increase", metavar="PERCENT", help="with --against: exit 4 when dearer by more than this")
    flags.add(v, "--html")
    v.add_argument("--launch", metavar="DIR", help="also write the launch configuration of option 1 into a folder")
    v.add_argument("--target", metavar="NAME", default=None, help="what --launch writes for: " + ", ".join(TARGETS))
    _add_export(p)
    v.add_argument(
        "--certify", action="store_true", help="say how sure option 1 is, what flips it, what is worth knowing"
    )
    flags.add(v, "--samples", " of --certify (default 2000)", default=2000)
    flags.add(v, "--seed", " (default 1)", default=1)
    v.add_argument(
        "--legal-odds", type=float, default=0.5, metavar="SHARE",
        help="with --certify: odds that an open rule is settled in favour (default 0.5)",
    )  # fmt: skip
    flags.add(v, "--explain", ", formulas with numbers, and what was rejected")
    common.add_output(p)
    return p


def _add_assumptions(p: argparse.ArgumentParser) -> None:
    s = p.add_argument_group("speed and price assumptions")
    s.add_argument(
        "--mfu",
        type=float,
        metavar="SHARE",
        help="MFU to assume, 0..1: share of the dense peak over the whole clock, in place of the prior",
    )
    flags.add(s, "--measured", "; of output, to serve")
    s.add_argument(
        "--conservative",
        action="store_true",
        help="plan with the upper end of the estimated hours, not the likely ones",
    )
    s.add_argument("--setup", metavar="TIME", help="start, load and saving paid beside the run (default 45m)")
    flags.add(s, "--disk-price")
    s.add_argument("--transfer-price", metavar="MONEY", help="per GB brought in from elsewhere (default 0.09)")


def _add_energy(p: argparse.ArgumentParser) -> None:
    e = p.add_argument_group("energy and carbon, in place of the tables")
    e.add_argument(
        "--power-load", metavar="SHARE", help="share of the rated power that is drawn (default 0.8, estimated)"
    )
    e.add_argument(
        "--pue", metavar="RATIO", help="PUE of the site, such as 1.3: at the meter for each kWh of the machines"
    )
    e.add_argument("--grid", metavar="GRAMS", help="g CO2e of a kWh where they stand, such as 56")


def _add_holding(p: argparse.ArgumentParser) -> None:
    h = p.add_argument_group("capacity that you hold")
    flags.add(h, "--reservation", ", on the machines that --accel and --region name: it costs nothing more")
    h.add_argument("--window", metavar="START/TIME", help="when it is yours, such as 2027-01-10T11:30Z/24h")
    h.add_argument(
        "--paid", metavar="MONEY", help="paid for all of it (default: as the catalog's capacity blocks cost)"
    )


def _add_export(p: argparse.ArgumentParser) -> None:
    e = p.add_argument_group("for other engines")
    e.add_argument(
        "--export", action="append", metavar="NAME",
        help="also write option 1 for another engine: terraform, kubernetes, karpenter, guardrail …; may be repeated",
    )  # fmt: skip
    e.add_argument("--export-to", default=".", metavar="DIR", help="folder of --export (default .); - prints only it")
    flags.add(e, "--lease", ", with --export (default: high estimate × 1.2 + 30m)")


def run(a: argparse.Namespace) -> int:
    """Plan, show, write the lock; exit 0, 3 nothing fits, 4 budget or policy forbids it or it got too dear, 7 quota."""
    overrides = {f: v for f in _JOB_FLAGS if (v := getattr(a, f"job_{f.replace('-', '_')}")) is not None}
    if a.job is None and not overrides and a.quota_report and a.accel:
        return plan_quota.without_job(a)
    if a.job is None and not overrides:
        raise QueryError(
            "name a job file, such as 'cloudaccel plan job.yaml', or say what is to be done: --task --model …"
        )
    if (lock := plan_export.planned_already(a)) is not None:
        plan_export.write(lock, a)
        return 0
    max_increase = _max_increase(a)
    found = api.plan(
        a.job, overrides=overrides, accelerators=a.accel, rank_by=a.rank, mfu=a.mfu, measured=a.measured,
        max_nodes=a.max_nodes, setup=a.setup, disk_price=a.disk_price, transfer_price=a.transfer_price,
        options=_ALL if a.limit is None else a.limit, startable=a.startable, price_file=a.price_file, catalog=a.catalog,
        provider=a.provider, region=a.region,
        country=a.country, market=a.market or "on-demand", residency=a.residency, interconnect=a.interconnect,
        inter_node=a.inter_node, conservative=a.conservative,
        require_available=a.require_available, rules=common.rules_of(a),
        inventory=a.inventory, reservation=a.reservation, window=a.window, paid=a.paid,
        currency=a.currency, fx_file=a.fx_file, tax=a.tax, quota=a.quota or (),
        energy=read_energy(a.power_load, a.pue, a.grid),
    )  # fmt: skip
    if a.quota_report and found.best:
        plan_quota.of_plan(found, a)
        return 0
    text = api.lock_text(found)
    saved = _save(text, a.lock) if found.best else None
    _write_more(found, a)
    certificate = _certificate(found, a) if a.certify and found.best else None
    if a.export and found.best:
        plan_export.write(found, a)
        if a.export_to == "-":
            return _exit_code(found, a, max_increase)
    if a.output == "json":
        answers.write_text(a, text if certificate is None else _with_certificate(text, certificate))
    else:
        common.write(plan_table.render(found, explain=a.explain, saved=saved))
        if certificate is not None:
            common.write(plan_certificate.render(certificate, explain=a.explain))
    return _exit_code(found, a, max_increase)


def _certificate(found: Plan, a: argparse.Namespace) -> Certificate:
    return api.certify(found, samples=a.samples, seed=a.seed, legal_odds=a.legal_odds)


def _with_certificate(text: str, certificate: Certificate) -> str:
    """The lock with its certificate, for stdout only: the saved lock does not change from day to day."""
    body = {**json.loads(text), "certificate": plan_certificate.to_json(certificate)}
    return json.dumps(body, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _write_more(found: Plan, a: argparse.Namespace) -> None:
    """The page and the launch configuration, when they are asked for."""
    if a.html:
        from cloudaccel.cli.plan_html import render

        common.save(a.html, render(found))
    if a.launch and found.best is not None:
        from cloudaccel.workloads.launch import launch

        target = a.target or ("vllm" if found.workload.serve is not None else "fsdp")
        best = found.best
        text = launch(target, found.workload, found.model, best.fit, per_node=int(best.offer.count or 1))
        common.save(Path(a.launch) / TARGETS.get(target, target), text)


def _save(text: str, where: str | None) -> str | None:
    if where == "-":
        return None
    path = Path(where or LOCK_NAME)
    common.save(path, text, otherwise="Name another with --lock, or '-'.")
    return str(path)


def _exit_code(found: Plan, a: argparse.Namespace, max_increase: Decimal | None) -> int:
    for warning in found.warnings:
        common.note(f"warning: {warning}", quiet=a.quiet)
    if found.best is None:
        common.note(plan_table.why_not(found))
        if any("quota" in relaxation.reasons for relaxation in found.relaxations):
            return 7
        blocked = {reason for option in found.near for reason, _ in option.blocked}
        return 4 if blocked and blocked <= {"budget", "policy"} else 3
    return _compared(found.best, a.against, max_increase) if a.against else 0


def _compared(best: Option, against: str, max_increase: Decimal | None) -> int:
    old, currency = _old_total(against)
    new = best.total
    if new is None:
        common.note("error: the cost is unknown now, so it cannot be compared.")
        return 4
    if currency != best.offer.price.currency:
        raise ConfigError(
            f"--against {against}: its total is in {currency}, and this plan's in {best.offer.price.currency}: they do "
            "not compare. Make the earlier lock again in the same currency."
        )
    if old == 0:  # from nothing, any increase is without limit
        change, words = (Decimal(0), "+0.0 %") if new == 0 else (Decimal("Infinity"), "from nothing")
    else:
        change = (new - old) / old * 100
        words = f"{change:+.1f} %"
    common.note(f"total {new:,.2f} {currency} against {old:,.2f} in {against}: {words}")
    return 4 if max_increase is not None and change > max_increase else 0


def _max_increase(a: argparse.Namespace) -> Decimal | None:
    """The limit of ``--max-increase`` in percent, read before any work is done."""
    if a.max_increase is None:
        return None
    if a.against is None:
        raise QueryError("--max-increase compares with an earlier lock. Name it with --against.")
    try:
        limit = Decimal(a.max_increase.strip().removesuffix("%").strip())
    except InvalidOperation:
        limit = Decimal("NaN")
    if not limit.is_finite():
        raise QueryError(f"--max-increase: {a.max_increase!r} is no percentage. Write it as 5%.")
    return limit


def _old_total(path: str) -> tuple[Decimal, str]:
    """Total of the choice in an earlier lock, and its currency."""
    try:
        chosen = json_of(Path(path).read_text(encoding="utf-8"))["chosen"]
        total, currency = Decimal(chosen["total"]), str(chosen["price"]["currency"])
    except (OSError, ValueError, KeyError, TypeError, InvalidOperation) as error:
        raise ConfigError(
            f"--against {path} is not a plan lock with a total ({error}). Make one with 'plan --lock'."
        ) from error
    if not total.is_finite() or total < 0:
        raise ConfigError(f"--against {path}: its total is {total}. Make the lock again with 'plan --lock'.")
    return total, currency
