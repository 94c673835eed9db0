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
# accelerator. Formats of 2026-11: Megatron-LM, torchtitan, NeMo, Hugging Face Trainer, DeepSpeed, MaxText, plain JSON.
_PATTERNS: tuple[tuple[str, bool], ...] = (
    (r"tokens[ _/]*per[ _]*(?:second|sec|s)[ _/]*per[ _]*(?:gpu|device|chip|rank|accelerator)\W+([\d,.]+)", True),
    (r"(?:tok|token|tokens)/s(?:ec)?/(?:gpu|device|chip|rank)\W+([\d,.]+)", True),
    (r"\btps\W+([\d,.]+)", True),  # torchtitan prints it per device
    (r"(?:train_)?tokens[ _/]*per[ _]*(?:second|sec)\W+([\d,.]+)", False),
    (r"\b(?:tok|token|tokens)/s(?:ec)?\W+([\d,.]+)", False),
)


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


def calibrate(log: str | Path, *, accelerators: int = 1, pattern: str | None = None) -> Calibration:
    """Read the rate out of a training log.

    Parameters
    ----------
    accelerators
        Accelerators of the run: a rate of the whole run is divided by it, one per accelerator is not.
    pattern
        Regular expression with one group, the rate of the whole run, for a log that no known trainer wrote.

    Raises
    ------
    ConfigError
        If the log cannot be read, or has fewer than five readings.
    """
    if accelerators < 1:
        raise ConfigError(f"--accelerators: {accelerators} must be 1 or more.")
    text = _text(Path(log))
    try:
        patterns = ((pattern, False),) if pattern else _PATTERNS
        found = [
            (p, [float(n.replace(",", "")) for n in re.findall(p, text, re.IGNORECASE)], per) for p, per in patterns
        ]
    except (re.error, ValueError) as error:
        raise ConfigError(f"--pattern: {pattern!r} does not find a number: {error}.") from error
    chosen, rates, per_accelerator = max(found, key=lambda item: len(item[1]))
    rates = [rate if per_accelerator else rate / accelerators for rate in rates if rate > 0]
    if len(rates) < FEWEST:
        raise ConfigError(
            f"{log}: {len(rates)} rates found, at least {FEWEST} are needed. "
            "Let the run print tokens per second on more steps, or say how it prints them with --pattern."
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


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes. Cut out the steady part.")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
