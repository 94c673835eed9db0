"""What a measured rate says of how busy accelerators were: the MFU, and whether anybody can have reached it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudaccel.decide.owning import named_accelerators
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.facts.accelerators import all_accelerators
from cloudaccel.model import Accelerator
from cloudaccel.workloads.flops import flops_per_token
from cloudaccel.workloads.job import Job, parse_job
from cloudaccel.workloads.priors import prior, question
from cloudaccel.workloads.runs import RECOMPUTE_FACTOR, bf16_peak, goodput_prior


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpliedUse:
    """The MFU of a rate or of a whole run.

    Attributes
    ----------
    mfu
        Model FLOPs over the dense 16-bit peak, 0..1; above 1 when the figures cannot be right.
    judgement
        ``impossible``, ``high``, ``usual``, ``low``, or ``unknown`` where only a peak is given.
    text
        The judgement in a sentence.
    low, likely, high
        What published runs make expect; None where only a peak is given.
    """

    tokens_per_s_per_accelerator: float
    flops_per_token: float
    peak_tflops: float
    accelerator: str
    mfu: float
    judgement: str
    text: str
    low: float | None
    likely: float | None
    high: float | None
    source: str


def implied_use(
    job: Mapping[str, Any],
    *,
    measured: float | None = None,
    accel_hours: float | None = None,
    accelerators: str | None = None,
    peak: float | None = None,
) -> ImpliedUse:
    """How busy accelerators are at a measured rate, or were in a run that is over.

    Parameters
    ----------
    job
        Model, method, sequence length and number format, with the keys of ``job.yaml``; with `accel_hours` the
        ``tokens`` of the run.
    measured
        Tokens per second and accelerator.
    accel_hours
        Accelerator-hours of the whole run, stops included.
    accelerators
        Accelerator and how many, such as ``H100-SXM:64``.
    peak
        Dense 16-bit TFLOP/s of one accelerator, where it is not in the table.

    Raises
    ------
    QueryError, ConfigError
        If something needed is missing or cannot be read, with what to give.
    """
    _check(measured, accel_hours, accelerators, peak, job)
    read = parse_job({"task": "pretrain" if accel_hours else "finetune", "tokens": 1, **job})
    chip, count = _chip(accelerators)
    known = peak or (bf16_peak(chip) if chip else None)
    if known is None:
        raise QueryError(f"no source gives the dense peak of {accelerators}. Give it with --peak, in TFLOP/s.")
    each = flops_per_token(read.model, read.workload.sequence_tokens, read.workload.method)
    rate = measured or (read.workload.tokens or 0.0) / ((accel_hours or 1.0) * 3600.0)
    mfu = rate * each / (known * 1e12)
    low, likely, high, ceiling, source = _expected(read, chip, count, whole=accel_hours is not None)
    judgement, text = _judged(mfu, low, high, ceiling)
    return ImpliedUse(
        tokens_per_s_per_accelerator=rate,
        flops_per_token=each,
        peak_tflops=known,
        accelerator=chip.id if chip else "",
        mfu=mfu,
        judgement=judgement,
        text=text,
        low=low,
        likely=likely,
        high=high,
        source=source,
    )


def _check(
    measured: float | None,
    accel_hours: float | None,
    accelerators: str | None,
    peak: float | None,
    job: Mapping[str, Any],
) -> None:
    for flag, value in (("--measured", measured), ("--accel-hours", accel_hours), ("--peak", peak)):
        if value is not None and not 0 < value < math.inf:
            raise QueryError(f"{flag}: {value} must be a number above 0.")
    if (measured is None) == (accel_hours is None):
        raise QueryError("give one of a log, --measured (tokens per second and accelerator) and --accel-hours.")
    if accel_hours is not None and "tokens" not in job:
        raise QueryError("--accel-hours needs the --tokens that the run processed.")
    if accelerators is None and peak is None:
        raise QueryError("an MFU is a share of a peak: name the accelerator with --accel, or its peak with --peak.")
    if "model" not in job and "params" not in job:
        raise ConfigError("an MFU needs the model: --model NAME, or --params N.")


def _chip(accelerators: str | None) -> tuple[Accelerator | None, int]:
    if accelerators is None:
        return None, 1
    ids, count = named_accelerators(accelerators)
    named = [a for a in all_accelerators() if a.id in ids]
    peaks = {bf16_peak(a) for a in named}
    if len(peaks) > 1:
        some = ", ".join(a.id for a in named[:4])
        raise QueryError(
            f"--accel: {accelerators} is {len(named)} accelerators of different peaks ({some} …). Name one."
        )
    return named[0], count


def _expected(
    job: Job, chip: Accelerator | None, count: int, *, whole: bool
) -> tuple[float | None, float | None, float | None, float, str]:
    """Low, likely, high, the ceiling, and where they are from; the whole runs of the table where a run is judged."""
    if chip is None:
        return None, None, None, 1.0, ""
    asked = question(job.workload, job.model, chip, count)
    found, kept = prior(asked), goodput_prior(count) if whole else 1.0
    words = f"{found.rows} published runs ({found.level}); table training_runs.csv"
    low = found.low * kept / RECOMPUTE_FACTOR["full"]  # whether something was computed again is not known
    return low, found.use * kept, found.high * kept, asked.ceiling, words


def _judged(mfu: float, low: float | None, high: float | None, ceiling: float) -> tuple[str, str]:
    if mfu > ceiling:
        most = f"a large matrix product alone reaches {ceiling:.0%}" if ceiling != 1 else "that is more than the peak"
        return "impossible", (
            f"impossible: {most}. Is the rate of one accelerator, in tokens and not samples, and the peak dense?"
        )
    if low is None or high is None:
        return "unknown", "no published runs to compare with: name the accelerator with --accel"
    span = f"published runs make expect {low:.0%} to {high:.0%}"
    if mfu > high:
        return "high", f"high: {span}. Check that padding is not counted as tokens, and name FP8 with --dtype fp8"
    if mfu < low:
        return "low", f"low: {span}. Look at data loading, batch, recomputation and the network"
    return "usual", f"usual: {span}"
