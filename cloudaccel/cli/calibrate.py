"""``cloudaccel calibrate``: one measured rate in place of the prior, and the MFU that it implies."""

import argparse
from dataclasses import asdict
from typing import Any

from cloudaccel.api import calibrating as api
from cloudaccel.cli import answers, common, flags
from cloudaccel.errors import QueryError

EXAMPLES = """\
  cloudaccel calibrate train.log --accelerators 8
  cloudaccel calibrate train.log --pattern 'rate=([0-9.]+)' --accelerators 8
  cloudaccel calibrate deepspeed.log --accelerators 8 --seq 4096
  cloudaccel calibrate train.log --model llama-3-8b --accel H100-SXM:8         the MFU too, and whether it can be
  cloudaccel calibrate --measured 5400 --model llama-3-8b --accel H100-SXM:8
  cloudaccel calibrate --accel-hours 2.79e6 --tokens 14.8e12 --params 671e9 --params-active 37e9 --peak 1513
  cloudaccel plan job.yaml --accel H100-SXM --measured 1480
"""
_JOB = {
    "model": "model", "dtype": "dtype", "params": "job_params", "params-active": "job_params_active",
    "method": "job_method", "tokens": "job_tokens",
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser(
        "calibrate",
        "Read tokens per second and accelerator out of the log of a short run, for 'plan --measured'.",
        EXAMPLES,
    )
    p.add_argument("log", nargs="?", metavar="LOG", help="what the trainer printed; fifty steps are enough")
    p.add_argument(
        "--accelerators", type=int, metavar="N", help="accelerators of that run (default: as the log says, else 1)"
    )
    flags.add(p, "--seq", ", where the trainer prints samples", type=flags.count)
    p.add_argument("--pattern", metavar="REGEX", help="how the rate of the whole run is printed: one group, a number")
    m = p.add_argument_group("the MFU that a rate implies")
    flags.add(m, "--model")
    for key, metavar in (("params", "N"), ("params-active", "N"), ("method", "NAME"), ("tokens", "TOKENS")):
        m.add_argument(f"--{key}", metavar=metavar, dest=f"job_{key.replace('-', '_')}", help=flags.job_help(key))
    flags.add(m, "--dtype")
    flags.add(m, "--accel")
    m.add_argument("--peak", type=float, metavar="N", help="dense 16-bit TFLOP/s of an accelerator that no table has")
    flags.add(m, "--measured", ", instead of a log")
    m.add_argument("--accel-hours", type=float, metavar="N", help="accelerator-hours of a whole run, with its --tokens")
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Print the rate, what to do with it, and the MFU where a model is named."""
    found = api.calibrate(a.log, accelerators=a.accelerators, pattern=a.pattern, seq=a.seq) if a.log else None
    job = {key: value for key, name in _JOB.items() if (value := getattr(a, name)) is not None}
    if found is not None and (a.measured or a.accel_hours):
        raise QueryError("give one of a log, --measured (tokens per second and accelerator) and --accel-hours.")
    implied: dict[str, Any] | None = None
    if found is None or job or a.accel or a.peak:
        implied = _implied(a, job, a.measured if found is None else found.tokens_per_s_per_accelerator)
    if a.output == "json":
        rate = {} if found is None else {**asdict(found), "steady": found.steady}
        answers.write(a, "calibrate", rate | ({} if implied is None else {"implied": implied}))
        return 0
    if found is not None:
        _write_rate(found)
    if implied is not None:
        _write_implied(implied)
    if found is not None and not found.steady:
        common.note("warning: the readings spread by more than a quarter; measure a longer run.", quiet=a.quiet)
    return 0


def _implied(a: argparse.Namespace, job: dict[str, Any], measured: float | None) -> dict[str, Any]:
    from cloudaccel.api.implying import implied_use  # the sizing tables are heavy, and a log alone needs none

    job |= {} if a.seq is None else {"seq": a.seq}
    return asdict(implied_use(job, measured=measured, accel_hours=a.accel_hours, accelerators=a.accel, peak=a.peak))


def _write_rate(found: api.Calibration) -> None:
    rate = found.tokens_per_s_per_accelerator
    common.write(
        f"{rate:,.1f} tokens per second and accelerator: median of {found.used} of {found.readings} readings after "
        f"warm-up, {found.low:,.1f} to {found.high:,.1f}\n"
        f"  use it: cloudaccel plan … --accel NAME --measured {rate:.1f}\n"
    )


def _write_implied(found: dict[str, Any]) -> None:
    rate, each, peak = (found[name] for name in ("tokens_per_s_per_accelerator", "flops_per_token", "peak_tflops"))
    common.write(
        f"MFU {found['mfu']:.1%}: {rate:,.1f} tokens per second and accelerator × {each:.4g} FLOP a token ÷ "
        f"{peak:g} TFLOP/s dense{' of ' + found['accelerator'] if found['accelerator'] else ''}\n  {found['text']}\n"
    )
    if found["source"]:
        common.write(f"  by {found['source']}\n")
