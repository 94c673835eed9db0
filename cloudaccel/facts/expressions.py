"""The accelerator expression: ``H100-SXM:8x2``, ``amd:128GB+``, ``A100-80GB:8,H100:8``, ``trn2:16>v5p-8``.

    EXPRESSION  RANK [> RANK]...                      in this order
    RANK        TERM [, TERM]...                      any of, equal
    TERM        [VENDOR:|KIND:] WHAT [:COUNT[+]] [xNODES]
    WHAT        a name (H100-SXM, A100-80GB, v5p-8, trn2.48xlarge) or a need (80GB+, 80GiB+, 80+)
    COUNT       8, or a share of one: 1/6, 0.5
    NODES       machines of that shape; only after a COUNT or a name that has one

``8`` is exactly eight on one machine, ``8+`` eight or more. TPU and Neuron counts are chips. A need covers what trains
or serves models (kinds gpu, tpu, neuron, hpu) and can be bought; another kind is asked for by name: ``npu:16GB+``.
"""

from dataclasses import replace
from fractions import Fraction
from functools import cache

from cloudaccel.errors import NothingFits, QueryError, UnknownName
from cloudaccel.facts.accelerators import all_accelerators, by_id, families
from cloudaccel.facts.names import InstanceLookup, Resolution, group_name, resolve, resolved_ids, short_name
from cloudaccel.model import Accelerator, AcceleratorTerm

NEED_KINDS = frozenset({"gpu", "tpu", "neuron", "hpu"})
SHARE_TOLERANCE = Fraction(1, 2000)  # a share is written with three digits or more: 0.167 is 1/6
_MAX_DENOMINATOR = 16  # the finest share on sale is 1/8 (L4, MI25)
_MAX_DIGITS = 6  # the largest pod has 9,216 chips
_GIB_OF_A_GB = 10**9 / 2**30  # nominal memory may be decimal: an L4 of 24 GB reports 22.35 GiB
_HELP = "Write it like H100-SXM:8, A100-80GB:8x2, 80GB+:8 or v5p-8."


def parse_expression(text: str, instance_lookup: InstanceLookup | None = None) -> tuple[AcceleratorTerm, ...]:
    """The terms of an accelerator expression, resolved, in the order in which they were written.

    Raises
    ------
    QueryError
        If it does not follow the grammar, or a count is no count.
    UnknownName
        If a name is unknown; `choices` are the nearest.
    NothingFits
        If no accelerator has the memory that a term needs.
    """
    terms: list[AcceleratorTerm] = []
    for rank, part in enumerate(text.split(">")):
        for written in part.split(","):
            if not written.strip():
                raise QueryError(f"an accelerator is missing in {text!r}. {_HELP}")
            term = _term(written.strip(), instance_lookup)
            terms.append(replace(term, rank=rank, canonical=_canonical(term)))
    return tuple(terms)


def format_term(term: AcceleratorTerm) -> str:
    """The term in one spelling, which reads back as the same term: ``H100-SXM:8x2``, ``TPUv5p:4``, ``amd:128GB+:8``.

    Raises
    ------
    ValueError
        If no name covers just these accelerators, which happens only for a share of several families.
    """
    count = "" if term.count is None else f":{term.count}{'+' if term.at_least else ''}"
    nodes = f"x{term.nodes}" if term.nodes > 1 else ""
    if term.instance is not None:
        return f"{term.instance}{count if nodes else ''}{nodes}"
    what = _need_text(term) or _name_text(term.accelerator_ids)
    if what is None:
        raise ValueError(f"no name covers just {', '.join(term.accelerator_ids)}")
    return f"{what}{count}{nodes}"


def _canonical(term: AcceleratorTerm) -> str:
    try:
        return format_term(term)
    except ValueError:
        return term.text


# --- one term --------------------------------------------------------------------------------------------------------


def _term(written: str, instance_lookup: InstanceLookup | None) -> AcceleratorTerm:
    prefix, what, amount = _split(written)
    count, at_least, nodes = _amount(written, amount)
    need = _needed_memory(written, what)
    if need is not None:
        size, reported = need
        return AcceleratorTerm(
            text=written,
            accelerator_ids=_require_fitting(written, prefix, size, reported=reported),
            count=count,
            at_least=at_least,
            nodes=nodes,
            min_memory_gib=None if reported else size,
            min_reported_memory_gib=size if reported else None,
        )
    found, times = _resolve(written, what, instance_lookup, bare=amount is None)
    found = _of_prefix(found, prefix)
    return AcceleratorTerm(
        text=written,
        accelerator_ids=found.accelerator_ids,
        count=_agreed_count(written, found, count, at_least=at_least),
        at_least=at_least,
        nodes=times or nodes,
        instance=found.instance,
        note=found.note,
    )


def _split(written: str) -> tuple[str | None, str, str | None]:
    """Prefix (vendor or kind), what, and amount (count and nodes): the three parts of ``amd:MI300X:8x2``."""
    parts = [part.strip() for part in written.split(":")]
    prefix = parts.pop(0).lower() if len(parts) > 1 and parts[0].lower() in _prefixes() else None
    if len(parts) > 2 or not all(parts):
        raise QueryError(f"{written!r} is not an accelerator term. {_HELP}")
    return prefix, parts[0], parts[1] if len(parts) == 2 else None


@cache
def _prefixes() -> frozenset[str]:
    return frozenset(word for accelerator in all_accelerators() for word in (accelerator.vendor, accelerator.kind))


# --- counts ----------------------------------------------------------------------------------------------------------


def _amount(written: str, amount: str | None) -> tuple[Fraction | None, bool, int]:
    """Count, whether more will do, and nodes, of ``8``, ``8+``, ``1/6`` or ``8x2``."""
    if amount is None:
        return None, False, 1
    text, sign, times = amount.lower().replace("×", "x").partition("x")
    text = text.strip()
    count = _count(written, text.removesuffix("+").strip())
    return count, text.endswith("+"), _whole(written, times, "a number of machines") if sign else 1


def _count(written: str, text: str) -> Fraction:
    """Whole accelerators, or an exact share of one; a decimal near a simple fraction is that fraction."""
    top, slash, bottom = text.partition("/")
    if slash:
        count = Fraction(_whole(written, top, "a count"), _whole(written, bottom, "a count"))
    elif "." in text:
        count = _share(written, text)
    else:
        return Fraction(_whole(written, text, "a count"))
    if count > 1 and count.denominator != 1:
        raise QueryError(f"{written!r} asks for {text} accelerators: only a part of one can be a fraction. {_HELP}")
    return count


def _share(written: str, text: str) -> Fraction:
    if not text.isascii() or not text.replace(".", "", 1).isdigit() or len(text) > 2 * _MAX_DIGITS or not float(text):
        raise _no_number(written, text, "a count")
    exact = Fraction(text)
    simple = exact.limit_denominator(_MAX_DENOMINATOR)
    return simple if simple and abs(simple - exact) <= SHARE_TOLERANCE else exact


def _whole(written: str, text: str, what: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS or not int(text):
        raise _no_number(written, text, what)
    return int(text)


def _no_number(written: str, text: str, what: str) -> QueryError:
    return QueryError(
        f"{written!r}: {text!r} is not {what}. Write a whole number above 0 (8), at least so many (8+), "
        "a share of one (1/6, 0.5), or machines behind it (8x2)."
    )


def _agreed_count(written: str, found: Resolution, count: Fraction | None, *, at_least: bool) -> Fraction | None:
    """The count that is written, or that the name stands for; when there are both, they must agree."""
    if found.count is None or count is None:
        return found.count if count is None else count
    if count != found.count or at_least:
        raise QueryError(
            f"{written!r} gives two counts: {found.text} stands for {found.count}. "
            f"Leave the count out, or write {found.text}x2 for two of them."
        )
    return count


# --- names -----------------------------------------------------------------------------------------------------------


def _resolve(
    written: str, name: str, instance_lookup: InstanceLookup | None, *, bare: bool
) -> tuple[Resolution, int | None]:
    """What the name means, and the nodes when they hang on it (``v5p-8x2``); `bare`: no count was written."""
    try:
        return resolve(name, instance_lookup=instance_lookup), None
    except UnknownName:
        _refuse_leading_count(written, name)
        head, times = _cut_nodes(name)
        if not bare or not times or not _is_name(head, instance_lookup):
            raise  # of the name as it was written: the X of an RTX 7000 counts nothing
    nodes = _whole(written, times, "a number of machines")
    found = resolve(head, instance_lookup=instance_lookup)
    if found.count is None:
        raise QueryError(
            f"{written!r} is unclear: x counts machines, and {head} does not say how many are in one. "
            f"Write {head}:{times} for {times} in one machine, or {head}:8x{times} for {times} machines of 8."
        )
    return replace(found, note=f"{nodes} times {head}; {found.note}" if found.note else ""), nodes


def _cut_nodes(name: str) -> tuple[str, str]:
    """``v5p-8x2`` cut into ``v5p-8`` and ``2``; the second is empty when the name does not end so."""
    head, sign, times = name.lower().replace("×", "x").rpartition("x")
    times = times.strip()
    return (name[: len(head)].strip(), times) if sign and times.isdecimal() else (name, "")


def _is_name(head: str, instance_lookup: InstanceLookup | None) -> bool:
    """Whether an x behind `head` can count machines: it is a known name, or a slice of a size that is not sold."""
    try:
        return bool(resolve(head, instance_lookup=instance_lookup))
    except UnknownName:
        stem, _, size = head.rpartition("-")
        return bool(stem) and size.isdecimal()


def _refuse_leading_count(written: str, name: str) -> None:
    count, sign, rest = name.lower().replace("×", "x").partition("x")
    if sign and count.strip().isdecimal() and resolved_ids(rest):
        raise QueryError(f"{written!r} begins with a count. Write {name[-len(rest) :].strip()}:{count.strip()}.")


def _of_prefix(found: Resolution, prefix: str | None) -> Resolution:
    ids = tuple(name for name in found.accelerator_ids if prefix is None or _matches(by_id(name), prefix))
    if ids:
        return replace(found, accelerator_ids=ids)
    first = by_id(found.accelerator_ids[0])
    raise UnknownName(
        f"{prefix} has no accelerator called {found.text!r}: that is {first.vendor}, kind {first.kind}. "
        f"Write {first.vendor}:{found.text}, or leave the prefix out.",
        choices=tuple(short_name(name) for name in found.accelerator_ids),
    )


def _matches(accelerator: Accelerator, prefix: str) -> bool:
    return prefix in (accelerator.vendor, accelerator.kind)


def _name_text(ids: tuple[str, ...]) -> str | None:
    """A name that covers just these rows: of the row, of the family, or of the family with a form or a memory."""
    if len(ids) == 1:
        return short_name(ids[0])
    members = [by_id(name) for name in ids]
    family = members[0].family
    if tuple(member.id for member in families()[family]) == ids:
        return family
    words = [(member.form or "").upper() for member in members] + [f"{member.memory_gib:g}GB" for member in members]
    for word in dict.fromkeys(words):
        if word and resolved_ids(f"{family}-{word}") == ids:
            return f"{family}-{word}"
    return group_name(ids)


# --- needs -----------------------------------------------------------------------------------------------------------


def _needed_memory(written: str, what: str) -> tuple[float, bool] | None:
    """Size and whether the reported memory counts (``80GiB+``), not the nominal (``80GB+``); None for a name."""
    text, plus = what.lower().removesuffix("+").strip(), what.endswith("+")
    number = text.removesuffix("gib").removesuffix("gb").strip()
    is_size = number.isascii() and number.replace(".", "", 1).isdigit() and len(number) <= _MAX_DIGITS
    if not plus:
        if is_size and number != text:
            raise QueryError(f"{written!r} is a memory size. Write {what}+ for every accelerator with that or more.")
        return None
    if not is_size or not float(number):
        raise QueryError(f"{written!r}: + follows a memory in GB or GiB (80GB+), or a count (H100:8+). {_HELP}")
    return float(number), text.endswith("gib")


def _require_fitting(written: str, prefix: str | None, size: float, *, reported: bool) -> tuple[str, ...]:
    ids = _fitting(prefix, size, reported=reported)
    if ids:
        return ids
    candidates = [by_id(name) for name in _fitting(prefix, 0, reported=False)]
    most = max((candidate.memory_gib or 0 for candidate in candidates), default=0)
    raise NothingFits(f"{written!r}: no such accelerator has that memory; the most is {most:g} GB. Ask for less.")


def _fitting(prefix: str | None, size: float, *, reported: bool) -> tuple[str, ...]:
    """Ids on sale with at least that memory, of the kinds that a need covers, in table order."""
    memory = _reported_gib if reported else _nominal_gb
    return tuple(
        candidate.id
        for candidate in all_accelerators()
        if (candidate.kind in NEED_KINDS or candidate.kind == prefix)
        and (prefix is None or _matches(candidate, prefix))
        and candidate.status != "announced"
        and memory(candidate) >= size
    )


def _nominal_gb(accelerator: Accelerator) -> float:
    return accelerator.memory_gib or 0


def _reported_gib(accelerator: Accelerator) -> float:
    """GiB that software will see, at least: what was reported, and never more than the nominal memory.

    EC2 prints 512 GiB for the 96 of a Trainium2. Where nothing is reported, the nominal figure is taken as decimal GB.
    """
    nominal = _nominal_gb(accelerator)
    if accelerator.memory_mib_seen is None:
        return nominal * _GIB_OF_A_GB
    return min(accelerator.memory_mib_seen / 1024, nominal)


def _need_text(term: AcceleratorTerm) -> str | None:
    reported = term.min_reported_memory_gib is not None
    size = term.min_reported_memory_gib if reported else term.min_memory_gib
    if size is None:
        return None
    for prefix in (None, *sorted(_prefixes())):
        if _fitting(prefix, size, reported=reported) == term.accelerator_ids:
            number = int(size) if size == int(size) else size
            return f"{f'{prefix}:' if prefix else ''}{number}{'GiB' if reported else 'GB'}+"
    return None
