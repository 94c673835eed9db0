"""``cloudaccel calibrate``: one measured rate in place of the prior."""

import argparse
from dataclasses import asdict

from cloudaccel.api import calibrating as api
from cloudaccel.cli import answers, common, flags

EXAMPLES = """\
  cloudaccel calibrate train.log --accelerators 8
  cloudaccel calibrate train.log --pattern 'rate=([0-9.]+)' --accelerators 8
  cloudaccel calibrate deepspeed.log --accelerators 8 --seq 4096
  cloudaccel plan job.yaml --accel H100-SXM --measured 1480
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser(
        "calibrate",
        "Read tokens per second and accelerator out of the log of a short run, for 'plan --measured'.",
        EXAMPLES,
    )
    p.add_argument("log", metavar="LOG", help="what the trainer printed; fifty steps are enough")
    p.add_argument(
        "--accelerators", type=int, metavar="N", help="accelerators of that run (default: as the log says, else 1)"
    )
    flags.add(p, "--seq", ", where the trainer prints samples", type=flags.count)
    p.add_argument("--pattern", metavar="REGEX", help="how the rate of the whole run is printed: one group, a number")
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Print the rate, and what to do with it."""
    found = api.calibrate(a.log, accelerators=a.accelerators, pattern=a.pattern, seq=a.seq)
    if a.output == "json":
        answers.write(a, "calibrate", {**asdict(found), "steady": found.steady})
        return 0
    rate = found.tokens_per_s_per_accelerator
    common.write(
        f"{rate:,.1f} tokens per second and accelerator: median of {found.used} of {found.readings} readings after "
        f"warm-up, {found.low:,.1f} to {found.high:,.1f}\n"
        f"  use it: cloudaccel plan … --accel NAME --measured {rate:.1f}\n"
    )
    if not found.steady:
        common.note("warning: the readings spread by more than a quarter; measure a longer run.", quiet=a.quiet)
    return 0
