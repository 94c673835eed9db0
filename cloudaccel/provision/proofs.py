"""What self-tests have shown on this installation, kept in a file each: on a real cloud, or on a fake one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from cloudaccel import settings
from cloudaccel.catalog.locking import locked
from cloudaccel.files import replace_text
from cloudaccel.untrusted import json_of

STEPS = ("create", "lost_answer", "lease", "deadline", "teardown")
_FOLDER = "selftest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `state` is ``ok``, ``failed`` or ``skipped``; `detail` says what was seen, or why not."""

    name: str
    state: str
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One self-test. `real` False: a fake cloud answered, and nothing is proved of the real one."""

    provider: str
    real: bool
    region: str
    instance: str
    version: str
    began_at: str
    steps: tuple[Step, ...]
    most: str
    currency: str
    may_bill: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no step failed and nothing may be left."""
        return not self.may_bill and all(step.state != "failed" for step in self.steps)


def write_record(record: Record) -> Path:
    """Keep the record for `proved`; one on a real cloud is never replaced by one on a fake."""
    file = _file(record.provider)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(file.with_suffix(".lock")):  # one that ends at the same moment may be real
        before = read_record(record.provider)
        if before is not None and before.real and not record.real:
            return file
        replace_text(file, json.dumps(asdict(record), indent=1) + "\n")
    return file


def read_record(provider: str) -> Record | None:
    """The last record of this installation; None when there is none that can be read."""
    try:
        data = cast("dict[str, Any]", json_of(_file(provider).read_text(encoding="utf-8")))
        steps = tuple(Step(**step) for step in data.pop("steps"))
        left = tuple(str(one) for one in data.pop("may_bill", ()))
        return Record(**data, steps=steps, may_bill=left)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def proved(record: Record | None) -> Mapping[str, str]:
    """Step to ``fake`` or ``real (date)``: what was seen on a real cloud, and what only in tests on a fake one."""
    seen: Sequence[Step] = record.steps if record is not None and record.real else ()
    day = record.began_at[:10] if record is not None else ""
    real = {step.name: f"real ({day})" for step in seen if step.state == "ok"}
    return {name: real.get(name, "fake") for name in STEPS}


def _file(provider: str) -> Path:
    return settings.data_dir() / _FOLDER / f"{provider}.json"


__all__ = ["STEPS", "Record", "Step", "proved", "read_record", "write_record"]
