"""`calibrate`: from the log of a short run to the one number that replaces the prior."""

import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cloudaccel.errors import ConfigError

MAX_BYTES = 256 * 1024 * 1024
WARM_UP_SHARE = 0.2  # of the readings: compilation, caches and allocators make the first steps slow
FEWEST = 5  # fewer readings than this say little

# How the usual trainers print their rate. The group is the rate; the flag says whether it is already per
# accelerator. Formats of 2026-11: torchtitan, NeMo, MaxText, plain JSON.
_NUMBER = r"\W+(\d[\d,]*(?:\.\d+)?)"
_PATTERNS: tuple[tuple[str, bool], ...] = (
    (rf"tokens[ _/]*per[ _]*(?:second|sec|s)[ _/]*per[ _]*(?:gpu|device|chip|rank|accelerator){_NUMBER}", True),
    (rf"(?:tok|token|tokens)/s(?:ec)?/(?:gpu|device|chip|rank){_NUMBER}", True),
    (rf"\btps{_NUMBER}", True),  # torchtitan prints it per device
    (rf"(?:train_)?tokens[ _/]*per[ _]*(?:second|sec){_NUMBER}", False),
    (rf"\b(?:tok|token|tokens)/s(?:ec)?{_NUMBER}", False),
)


# Trainers that print samples: the groups of a line are numbers, from which and from the tokens of a sample the rate of
# the whole run is worked out. Megatron-LM: milliseconds of a step and its sequences. DeepSpeed: sequences per second.
_SAMPLES: tuple[str, ...] = (
    r"elapsed time per iteration \(ms\): *([\d.]+).*?global batch size: *(\d+)",
    r"\bCurrSamplesPerSec=([\d.]+)",
)
_SEQUENCE = r"^\W*(?:seq_length|seq_len|max_seq_length|max_seq_len)\W+(\d+)"
_WORLD = r"^\W*world_size\W+(\d+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a log says.

    Attributes
    ----------
    tokens_per_s_per_accelerator
        The median after warm-up: hand it to ``plan --measured``.
    readings, used
        Rates found in the log, and those after warm-up.
    low, high
        Tenth and ninetieth percentile of the used ones.
    steady
        Whether the spread is small enough (a quarter of the median) for the number to mean something.
    """

    tokens_per_s_per_accelerator: float
    readings: int
    used: int
    low: float
    high: float
    pattern: str

    @property
    def steady(self) -> bool:
        """Whether the spread is at most a quarter of the median."""
        return self.high - self.low <= self.tokens_per_s_per_accelerator / 4


def calibrate(
    log: str | Path, *, accelerators: int | None = None, pattern: str | None = None, seq: int | None = None
) -> Calibration:
    """Read the rate out of a training log.

    Parameters
    ----------
    accelerators
        Accelerators of the run: a rate of the whole run is divided by it, one per accelerator is not. None: the
        ``world_size`` that the log states, else 1.
    pattern
        Regular expression with one group, the rate of the whole run, for a log that no known trainer wrote.

    seq
        Tokens of a sample, for trainers that print samples (Megatron-LM, DeepSpeed); None: what the log states.

    Raises
    ------
    ConfigError
        If the log cannot be read, has fewer than five readings, or counts samples of unknown length.
    """
    for flag, value in (("--accelerators", accelerators), ("--seq", seq)):
        if value is not None and value < 1:
            raise ConfigError(f"{flag}: {value} must be 1 or more.")
    text = _text(Path(log))
    accelerators = accelerators or _stated(_WORLD, text) or 1
    try:
        patterns = ((pattern, False),) if pattern else _PATTERNS
        found = [
            (p, [float(n.replace(",", "")) for n in re.findall(p, text, re.IGNORECASE)], per) for p, per in patterns
        ]
    except (re.error, ValueError) as error:
        raise ConfigError(f"--pattern: {pattern!r} does not find a number: {error}.") from error
    chosen, rates, per_accelerator = max(found, key=lambda item: len(item[1]))
    if len(rates) < FEWEST and not pattern:
        counted = _from_samples(log, text, seq)
        if counted is not None:
            (chosen, rates), per_accelerator = counted, False
    rates = [rate if per_accelerator else rate / accelerators for rate in rates if rate > 0]
    if len(rates) < FEWEST:
        raise ConfigError(
            f"{log}: {len(rates)} rates found, at least {FEWEST} are needed. "
            "Let the run print tokens per second on more steps, or say how it prints them with --pattern. "
            "(Hugging Face's Trainer prints a rate at its end only.)"
        )
    used = rates[int(len(rates) * WARM_UP_SHARE) :]
    ordered = sorted(used)
    return Calibration(
        tokens_per_s_per_accelerator=median(used),
        readings=len(rates),
        used=len(used),
        low=ordered[len(ordered) // 10],
        high=ordered[-1 - len(ordered) // 10],
        pattern=chosen,
    )


def _stated(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) or None if found else None


def _from_samples(log: str | Path, text: str, seq: int | None) -> tuple[str, list[float]] | None:
    """Tokens per second of the whole run, where the log counts samples; None where it does not."""
    for pattern in _SAMPLES:
        found = [tuple(float(n) for n in match.groups()) for match in re.finditer(pattern, text)]
        if len(found) < FEWEST:
            continue
        tokens = seq or _stated(_SEQUENCE, text)
        if tokens is None:
            raise ConfigError(f"{log}: it counts samples and does not say their length. Give it with --seq TOKENS.")
        rates = [n[0] if len(n) == 1 else n[1] / n[0] * 1000 if n[0] else 0.0 for n in found]
        return pattern, [rate * tokens for rate in rates]
    return None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes. Cut out the steady part.")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
