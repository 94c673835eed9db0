"""The sizing box: the memory that a model takes on each shape of the table, with the verdict."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from markupsafe import Markup

from cloudaccel.catalog.session import accelerator_table
from cloudaccel.model import Accelerator, Offer
from cloudaccel.model.workload import Fit
from cloudaccel.output.columns import display_name
from cloudaccel.service.guard import job_without_files
from cloudaccel.workloads import size, supports
from cloudaccel.workloads.job import Job

METHODS = {"serve": "serve", "full": "fine-tune, all weights", "lora": "fine-tune, LoRA", "qlora": "fine-tune, QLoRA"}
_SHAPES = 12  # of the table that are sized
_BAR = 300
_PARTS = ("weights", "gradients", "optimizer", "kv_cache")  # parts with a colour of their own; the rest is one


class Sized(NamedTuple):
    """One shape: its name, the verdict, what needs saying, and the bar of one card's memory."""

    name: str
    verdict: str
    text: str
    bar: Markup


def sized(offers: Iterable[Offer], model: str, method: str, context: str) -> list[Sized]:
    """Each shape among `offers` that has whole accelerators, the first few, in the order of the table.

    Raises
    ------
    QueryError, ConfigError, UnknownName
        If the model is not in the registry, or the context no number.
    """
    job = _job(model, method, context)
    table = accelerator_table()
    found: dict[tuple[str, int], Sized] = {}
    for offer in offers:
        row = table.get(offer.accelerator_id or "")
        if row is None or offer.count is None or offer.count < 1 or len(found) == _SHAPES:
            continue
        key = (row.id, int(offer.count))
        if key not in found:
            found[key] = _one(job, row, int(offer.count), f"{display_name(offer)} × {offer.count}")
    return list(found.values())


def _job(model: str, method: str, context: str) -> Job:
    given: dict[str, Any] = {"model": model}
    if method == "serve":
        given |= {"task": "serve", "context": context}
    else:
        given |= {"task": "finetune", "method": method, "seq": context, "tokens": "1e6"}  # memory follows the sequence
    return job_without_files(given)


def _one(job: Job, row: Accelerator, count: int, name: str) -> Sized:
    runs = supports(job.workload, row, job.model)
    if runs.answer is not True:
        return Sized(name, "no", runs.reason, Markup(""))
    fit = size(job.workload, job.model, row, per_node=count, nodes=1)
    memory = fit.memory
    if memory is None:
        return Sized(name, fit.verdict, _reason(fit) or "the memory is unknown", Markup(""))
    text = f"{memory.peak_gib:.1f} of {memory.available_gib:.1f} GiB on each card"
    reason = _reason(fit)
    return Sized(name, fit.verdict, f"{text}; {reason}" if reason else text, _bar(fit, name))


def _reason(fit: Fit) -> str:
    return "" if fit.verdict == "fits" or not fit.reasons else fit.reasons[0].text


def _bar(fit: Fit, name: str) -> Markup:
    """The parts of the working step to the scale of the card; an upright line is the card's end."""
    memory = fit.memory
    if memory is None:
        return Markup("")
    full = max(memory.available_gib, memory.step_gib, memory.peak_gib)
    x, parts = 0.0, list[Markup]()
    for part, gib in memory.parts:
        width = gib / full * _BAR
        css = f"p{_PARTS.index(part)}" if part in _PARTS else "p4"
        parts.append(
            Markup('<rect class="{}" x="{}" width="{}" height="14"><title>{}</title></rect>').format(
                css, round(x, 1), round(width, 1), f"{part.replace('_', ' ')} {gib:.1f} GiB"
            )
        )
        x += width
    end = round(memory.available_gib / full * _BAR, 1)
    parts.append(Markup('<line class="end" x1="{}" x2="{}" y1="0" y2="14"/>').format(end, end))
    said = "; ".join(f"{part.replace('_', ' ')} {gib:.1f} GiB" for part, gib in memory.parts)
    return Markup('<svg class="bar" viewBox="0 0 {} 14" role="img" aria-label="{}">{}</svg>').format(
        _BAR + 2, f"Memory of one card of {name}: {said}", Markup("").join(parts)
    )
