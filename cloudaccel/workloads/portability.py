"""Which accelerators run which software, as dated facts. What no source says is unknown, never a quiet yes.

The facts are in ``portability.csv``: feature, model or method, where it holds, yes / no / unknown, source and date.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from cloudaccel.errors import ConfigError
from cloudaccel.facts.loader import numbered_rows, table_path
from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.workload import ModelShape, Support, Workload

PORTABILITY_TABLE = "portability.csv"
CORES_TABLE = "core_counts.csv"

_ANSWERS = {"yes": True, "no": False, "unknown": None}
_SPELLINGS = {
    "flash-attention": "flash-attn",
    "flashattention": "flash-attn",
    "fa2": "flash-attn",
    "nf4": "bitsandbytes",
}
_CODES = {"feature": "feature_unsupported", "model": "arch_unsupported", "method": "method_unsupported"}


@dataclass(frozen=True, slots=True)
class Fact:
    """One row: `name` (``*``: any) works, or does not, for `task` (``train``, ``serve``, ``*``) where `where` holds."""

    subject: str
    name: str
    task: str
    where: str
    answer: bool | None
    reason: str
    source: str
    as_of: str


@cache
def _facts() -> dict[str, tuple[Fact, ...]]:
    found: dict[str, list[Fact]] = {}
    columns = ("subject", "name", "task", "where", "answer", "reason", "source", "as_of")
    for line, row in numbered_rows(PORTABILITY_TABLE, columns):
        if row["answer"] not in _ANSWERS or not row["source"]:
            raise ConfigError(f"{table_path(PORTABILITY_TABLE)}, line {line}: answer or source is wrong or missing")
        answer = _ANSWERS[row["answer"]]
        about = row["subject"], row["name"], row["task"], row["where"]
        fact = Fact(*about, answer, row["reason"], row["source"], row["as_of"])
        found.setdefault(fact.subject, []).append(fact)
    return {subject: tuple(rows) for subject, rows in found.items()}


def holds(where: str, accelerator: Accelerator) -> bool:
    """Whether a condition covers an accelerator: ``sm>=80``, ``kind=tpu``, ``runtime=gfx942|gfx950``, ``*``."""
    if where == "*":
        return True
    if found := re.fullmatch(r"sm(>=|<)(\d+)", where):
        capability = re.fullmatch(r"sm_(\d+)", accelerator.runtime_id or "")
        if capability is None:
            return False
        at_least = int(capability[1]) >= int(found[2])
        return at_least if found[1] == ">=" else not at_least
    field, _, values = where.partition("=")
    own = {"kind": accelerator.kind, "runtime": accelerator.runtime_id, "family": accelerator.family}
    own |= {"link": accelerator.link, "id": accelerator.id}
    if field not in own:
        raise ConfigError(f"{table_path(PORTABILITY_TABLE)}: cannot read the condition {where!r}")
    return own[field] in values.split("|")


def feature_support(name: str, accelerator: Accelerator, task: str = "*") -> Support:
    """Whether a feature (``bf16``, ``flash-attn``, ``bitsandbytes`` …) is there, with source and date."""
    key = name.lower().replace("_", "-")
    return _look_up("feature", _SPELLINGS.get(key, key), accelerator, task)


FEATURES = ("bf16", "fp8", "fp4", "flash-attn", "bitsandbytes")  # what people ask of an accelerator by name


def features_of(accelerator: Accelerator) -> tuple[tuple[str, Support], ...]:
    """What is known of `FEATURES` on an accelerator, each with source and date."""
    return tuple((name, feature_support(name, accelerator)) for name in FEATURES)


@lru_cache(maxsize=8192)
def _look_up(subject: str, name: str, accelerator: Accelerator, task: str) -> Support:
    for fact in _facts()[subject]:
        same_task = "*" in (fact.task, task) or fact.task == task
        if fact.name in (name, "*") and same_task and holds(fact.where, accelerator):
            reason = fact.reason or f"{name or 'the model'} works on {accelerator.family}"
            code = "supported" if fact.answer else _CODES[subject] if fact.answer is False else f"{subject}_unknown"
            return Support(fact.answer, code, reason, fact.source, fact.as_of)
    what = name or "this model"
    return Support(None, f"{subject}_unknown", f"no source says whether {what} works on {accelerator.family}")


def supports(workload: Workload, accelerator: Accelerator, model: ModelShape | None = None) -> Support:
    """Whether `accelerator` can run the workload's software: yes, no, or no source says (then `answer` is None).

    Checked are the precision, what the workload requires, the method, the model's architecture (when `model` is given)
    and the number of cores. The first no wins, then the first unknown.
    """
    answers = list(_answers(workload, accelerator, model))
    for wanted in (False, None):
        for support in answers:
            if support.answer is wanted:
                return support
    return answers[0]


def _answers(workload: Workload, accelerator: Accelerator, model: ModelShape | None) -> Iterator[Support]:
    task = "serve" if workload.task == "serve" else "train"
    yield feature_support(workload.precision, accelerator, task)
    for name in workload.requires:
        yield feature_support(name, accelerator, task)
    if workload.method == "qlora":
        yield feature_support("bitsandbytes", accelerator, task)
    elif task == "train":
        yield _look_up("method", workload.method, accelerator, task)
    if model is not None:
        yield _look_up("model", model.architecture, accelerator, task)
    if workload.cores is not None:
        yield core_count(workload.cores, accelerator)


@cache
def _core_rules() -> dict[str, tuple[int, tuple[int, ...], int, str, str]]:
    columns = ("family", "cores_per_unit", "allowed", "multiple_of", "source", "as_of")
    return {
        row["family"]: (
            int(row["cores_per_unit"]),
            tuple(int(count) for count in row["allowed"].split("|")),
            int(row["multiple_of"]),
            row["source"],
            row["as_of"],
        )
        for _line, row in numbered_rows(CORES_TABLE, columns)
    }


def core_count(cores: int, accelerator: Accelerator) -> Support:
    """Whether that many cores can work together; the reason of a no lists the counts that can."""
    rule = _core_rules().get(accelerator.family)
    if rule is None:
        return Support(None, "cores_unknown", f"no source says which core counts {accelerator.family} allows")
    _per_unit, allowed, multiple, source, as_of = rule
    if cores in allowed or (cores > 0 and cores % multiple == 0):
        return Support(True, "supported", f"{cores} cores can work together", source, as_of)
    counts = f"{', '.join(map(str, allowed))} or a multiple of {multiple}"
    more = next(count for count in (*allowed, -(-cores // multiple) * multiple) if count > cores)
    reason = f"{cores} cores cannot work together on {accelerator.family}: allowed are {counts}; the next is {more}"
    return Support(False, "core_count", reason, source, as_of)
