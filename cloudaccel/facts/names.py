"""What a name means: raw names of drivers, clouds and people, resolved to rows of the accelerator table.

A name is cut into whole tokens; nothing is ever found inside a token, so ``A4000`` cannot become ``A40``. The most
specific reading wins: an id, a cloud's own spelling, a machine or slice name, a full name, a family narrowed by form
and memory, a share of a card (MIG, vGPU), and last whatever `instance_lookup` knows. A bare family name stays a family.

Cloud names live in data only: ``spellings.csv``, ``instance_names.csv``, ``names.csv``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

from cloudaccel.errors import UnknownName
from cloudaccel.facts.accelerators import all_accelerators, by_id, families
from cloudaccel.facts.loader import read_table
from cloudaccel.model import Accelerator

MEMORY_TOLERANCE = 0.07  # sellers write 262, 270 and 288 GB for one B300; gpuhunt matches by the same 7 %

_SEPARATORS = str.maketrans(dict.fromkeys("-_/():,*\t\n", " "))
_BRANDS = frozenset({"tesla", "geforce", "instinct", "grid"})  # product lines that tell no two accelerators apart
_NOISE = frozenset({"gpu", "gpus", "card", "generation", "edition"})
_FORMS = frozenset({"sxm", "pcie", "nvl", "oam", "superchip"})
_MEMORY_KINDS = frozenset({"hbm2", "hbm2e", "hbm3", "hbm3e", "gddr6", "gddr7"})
_VGPU_SERIES = frozenset("qabc")  # NVIDIA vGPU types: Q workstation, A applications, B desktops, C compute


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What a catalog knows of an instance type: its accelerator, how many of it, on how many machines.

    `instance` is the name in its own spelling, when it differs from what was asked.
    """

    accelerator_id: str
    count: Fraction | None
    hosts: int | None = 1
    instance: str | None = None


InstanceLookup = Callable[[str], InstanceFacts | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """How a name was read.

    Attributes
    ----------
    text
        The name as it was given.
    accelerator_ids
        All rows that it covers, in table order; more than one when the name is a family.
    count
        Accelerators when the name itself says it (``v5p-8``: 4 chips; a MIG share: below 1), else None.
    hosts
        Machines in one such purchase (``v5litepod-64``: 16); None when the name does not say or no source does.
    memory_gib
        Memory of the share, for MIG and vGPU names; else None, and the row's own memory holds.
    virtualized
        True for a vGPU profile: the card is shared by time, only its memory is set apart.
    licence
        ``vws`` when the spelling includes a licence that is billed on top; else empty.
    instance
        The instance type that the name is, when it narrows the offers to that type.
    note
        One sentence on the reading, empty when it is plain.
    """

    text: str
    accelerator_ids: tuple[str, ...]
    count: Fraction | None = None
    hosts: int | None = None
    memory_gib: float | None = None
    virtualized: bool = False
    licence: str = ""
    instance: str | None = None
    note: str = ""


def resolve(raw: str, *, memory_gb: float | None = None, instance_lookup: InstanceLookup | None = None) -> Resolution:
    """The rows that `raw` names, and what else the name says.

    Parameters
    ----------
    raw
        ``H100``, ``A100-80GB``, ``nvidia:H100``, ``NVIDIA A100-SXM4-80GB``, ``v5p-8``, ``trn2.48xlarge`` …
    memory_gb
        Memory of one accelerator when the source has it in a column of its own; it narrows a family within 7 %.
    instance_lookup
        Asked last, for machine names that only a catalog knows.

    Raises
    ------
    UnknownName
        If nothing has that name; `choices` are the nearest names, best first.
    """
    found = _spelled(raw) or _described(raw)
    if found is None and instance_lookup is not None:
        facts = instance_lookup(raw.strip())
        if facts is not None:
            return Resolution(
                text=raw,
                accelerator_ids=(facts.accelerator_id,),
                count=facts.count,
                hosts=facts.hosts,
                instance=facts.instance or raw.strip(),
            )
    if found is None:
        raise _unknown(raw)
    if memory_gb is not None and len(found.accelerator_ids) > 1:
        found = replace(found, accelerator_ids=_with_memory(found.accelerator_ids, memory_gb))
        if not found.accelerator_ids:
            raise _unknown(f"{raw.strip()}-{memory_gb:g}GB")
    return _with_status(found)


def provider_spelling(accelerator_id: str, provider: str, system: str | None = None) -> str | None:
    """How `provider` itself writes that accelerator; None when no source says.

    `system` picks one of the provider's vocabularies (``gke``, ``tpu``, ``ec2`` …); without it the first listed counts.
    Nothing is built by rule: a spelling is in ``spellings.csv`` or unknown.
    """
    for row in _spelling_rows():
        same = row["accelerator_id"] == accelerator_id and row["provider"] == provider and not row["licence"]
        if same and system in (None, row["system"]):
            return row["spelling"]
    return None


def lookalikes(family: str) -> tuple[tuple[str, str], ...]:
    """Families that are easily taken for `family`, each with a sentence that says why it is another thing."""
    return tuple((row["target"], row["note"]) for row in _name_rows("lookalike") if row["name"] == family)


@cache
def short_name(accelerator_id: str) -> str:
    """The shortest name that resolves to this row alone: ``TPUv5p``, ``H100-SXM``, ``A100-PCIE-80GB``, or the id."""
    accelerator = by_id(accelerator_id)
    forms = [form.upper() for form in sorted(_form_words(accelerator))]
    memory = [f"{accelerator.memory_gib:g}GB"] if accelerator.memory_gib else []
    candidates = [accelerator.family]
    candidates += [f"{accelerator.family}-{word}" for word in forms + memory]
    candidates += [f"{accelerator.family}-{form}-{size}" for form in forms for size in memory]
    for candidate in candidates:
        if resolved_ids(candidate) == (accelerator_id,):
            return candidate
    return accelerator_id


def group_name(ids: tuple[str, ...]) -> str | None:
    """The name that people use for just these rows of several families (``RTX6000``, ``Gaudi``); None when none is."""
    joined = "|".join(ids)
    return next((row["name"] for row in _name_rows("group") if row["target"] == joined), None)


@cache
def slices(accelerator_id: str) -> tuple[tuple[str, int, int], ...]:
    """Name, chips and hosts of each slice that a pod of the accelerator is sold by; no machine types."""
    return tuple(
        (name, int(row["count"]), int(row["hosts"]))
        for row in read_table("instance_names.csv")
        if row["accelerator_id"] == accelerator_id and row["hosts"]
        for name in row["names"].split("|")[:1]
        if re.fullmatch(r"[a-z]+\d\w*-\d+", name)
    )


def resolved_ids(name: str) -> tuple[str, ...]:
    """The rows that a plain accelerator name covers, without any machine or share; empty when it is none."""
    found = _spelled(name) or _described(name)
    if found is None or found.count is not None or found.memory_gib is not None:
        return ()
    return found.accelerator_ids


# --- reading a name as it is written ---------------------------------------------------------------------------------


def _spelled(raw: str) -> Resolution | None:
    """An id, a cloud's spelling or a machine name, letter by letter but for case."""
    text = " ".join(raw.split()).lower()
    if text in _ids():
        return Resolution(text=raw, accelerator_ids=(text,))
    row = _spellings().get(text)
    if row is not None:
        return Resolution(text=raw, accelerator_ids=(row["accelerator_id"],), licence=row["licence"], note=row["note"])
    for name in (text, text.removeprefix("tpu-"), text.removeprefix("tpu ")):
        machine = _machines().get(name)
        if machine is not None:
            return _machine(raw, name, machine)
    return None


def _machine(raw: str, name: str, row: dict[str, str]) -> Resolution:
    count, hosts = int(row["count"]), int(row["hosts"]) if row["hosts"] else None
    where = f" on {hosts} host{'s' if hosts != 1 else ''}" if hosts else ""
    unit = by_id(row["accelerator_id"]).unit
    return Resolution(
        text=raw,
        accelerator_ids=(row["accelerator_id"],),
        count=Fraction(count),
        hosts=hosts,
        instance=name if row["narrows"] == "yes" else None,
        note=f"{name} is {count} {unit}{'s' if count != 1 else ''}{where}: {row['note']}",
    )


@cache
def _ids() -> frozenset[str]:
    return frozenset(accelerator.id for accelerator in all_accelerators())


@cache
def _spelling_rows() -> tuple[dict[str, str], ...]:
    return tuple(read_table("spellings.csv"))


@cache
def _spellings() -> dict[str, dict[str, str]]:
    return {row["spelling"].lower(): row for row in _spelling_rows() if row["resolves"] == "yes"}


@cache
def _machines() -> dict[str, dict[str, str]]:
    return {name: row for row in read_table("instance_names.csv") for name in row["names"].split("|")}


@cache
def _all_name_rows() -> tuple[dict[str, str], ...]:
    return tuple(read_table("names.csv"))


def _name_rows(kind: str) -> list[dict[str, str]]:
    return [row for row in _all_name_rows() if row["kind"] == kind]


# --- reading a name by its tokens ------------------------------------------------------------------------------------


def _parts(text: str) -> tuple[list[str], list[str]]:
    """The vendors that a name mentions, and the tokens that tell accelerators apart."""
    vendors: list[str] = []
    words: list[str] = []
    makers = _vendors()
    for word in text.lower().translate(_SEPARATORS).split():
        if word in makers:
            vendors.append(makers[word])
        elif word not in _BRANDS and word not in _NOISE:
            words.append(word)
    return vendors, words


def _key(text: str) -> str:
    """What two spellings of one name have in common: ``RTX PRO 6000``, ``rtx_pro_6000`` and ``RTXPRO6000``."""
    return "".join(_parts(text)[1])


@cache
def _vendors() -> dict[str, str]:
    words = {accelerator.vendor: accelerator.vendor for accelerator in all_accelerators()}
    return words | {row["name"]: row["target"] for row in _name_rows("vendor")}


@cache
def _index() -> dict[str, tuple[str, ...]]:
    """Ids by key (all tokens of a name, joined). Families and groups come first and are never narrowed by an alias."""
    index = {_key(family): tuple(a.id for a in members) for family, members in families().items()}
    for row in _name_rows("group"):
        index[_key(row["name"])] = tuple(row["target"].split("|"))
    for accelerator in all_accelerators():
        for name in (accelerator.id, accelerator.name, *accelerator.aliases):
            index.setdefault(_key(name), (accelerator.id,))
    return index


@cache
def _group_notes() -> dict[str, str]:
    return {_key(row["name"]): row["note"] for row in _name_rows("group")}


def _described(raw: str) -> Resolution | None:
    vendors, words = _parts(raw)
    found = _named(raw, words) or _vgpu_share(raw, words) or _mig_share(raw, words)
    if found is None or not vendors:
        return found
    ids = tuple(name for name in found.accelerator_ids if by_id(name).vendor in vendors)
    return replace(found, accelerator_ids=ids) if ids else None


def _named(raw: str, words: list[str]) -> Resolution | None:
    """A full name, or a family (or group) narrowed by the form and memory that were written with it."""
    key = "".join(words)
    ids = _index().get(key)
    if ids is not None:
        return Resolution(text=raw, accelerator_ids=ids, note=_group_notes().get(key, ""))
    rest, forms, memory = _split_form_and_memory(words)
    ids = _index().get(rest, ())
    if forms:
        ids = tuple(name for name in ids if forms <= _form_words(by_id(name)))
    if memory is not None:
        ids = _with_memory(ids, memory)
    return Resolution(text=raw, accelerator_ids=ids) if ids else None


def _split_form_and_memory(words: list[str]) -> tuple[str, set[str], float | None]:
    rest: list[str] = []
    forms: set[str] = set()
    memory: float | None = None
    for word in words:
        size = _memory_word(word)
        if word in _FORMS or (word[:3] == "sxm" and word[3:].isdigit()):
            forms.add(word)
        elif size is not None and memory is None:
            memory = size
        elif word not in _MEMORY_KINDS:
            rest.append(word)
    return "".join(rest), forms, memory


def _memory_word(word: str) -> float | None:
    """Nominal GB of ``80gb``, ``80gib`` or ``80g``; None when the word is no memory size."""
    for unit in ("gib", "gb", "g"):
        number = word.removesuffix(unit)
        if number != word:
            return float(number) if number.isascii() and number.isdigit() else None
    return None


def _form_words(accelerator: Accelerator) -> frozenset[str]:
    """How people write the form: ``sxm``, and ``sxm5`` where the name has it. Nobody calls an NVL card PCIe."""
    if "nvl" in accelerator.id.split("-"):
        return frozenset({"nvl"})
    numbered = [word for word in accelerator.name.lower().split() if word.startswith("sxm")]
    return frozenset([accelerator.form, *numbered] if accelerator.form in _FORMS else ())


def _with_memory(ids: tuple[str, ...], memory_gb: float) -> tuple[str, ...]:
    """Those whose nominal memory is nearest to `memory_gb`, within the tolerance."""
    distance = {name: abs(memory / memory_gb - 1) for name in ids if (memory := by_id(name).memory_gib)}
    nearest = min(distance.values(), default=1.0)
    if nearest > MEMORY_TOLERANCE:
        return ()
    return tuple(name for name, apart in distance.items() if apart == nearest)


# --- shares of a card ------------------------------------------------------------------------------------------------


def _vgpu_share(raw: str, words: list[str]) -> Resolution | None:
    """``L40-48Q``: a vGPU profile, the physical card with so many GB of its memory set apart."""
    if len(words) < 2:
        return None
    profile = words[-1]
    if profile[-1] not in _VGPU_SERIES or not profile[:-1].isdecimal():
        return None
    card = _named(raw, words[:-1])
    memory = float(profile[:-1])
    ids = tuple(name for name in card.accelerator_ids if (by_id(name).memory_gib or 0) >= memory) if card else ()
    if not ids or any(by_id(name).vendor != "nvidia" for name in ids):
        return None
    note = f"vGPU profile {profile.upper()}: {memory:g} GB of the card's memory; its cores are shared by time"
    return Resolution(text=raw, accelerator_ids=ids, memory_gib=memory, virtualized=True, note=note)


def _mig_share(raw: str, words: list[str]) -> Resolution | None:
    """``A100 MIG 1g.10gb``: that many of the card's compute slices, with memory of their own."""
    profile = next((word for word in words if "g." in word), "")
    slices, _, size = profile.partition("g.")
    memory = _memory_word(size.removesuffix("+me"))
    if not slices.isdecimal() or memory is None:
        return None
    card = _named(raw, [word for word in words if word not in (profile, "mig")])
    if card is None:
        return None
    whole = _mig_slices(card.accelerator_ids)
    if not whole or not 0 < int(slices) <= whole:
        return None
    share = Fraction(int(slices), whole)
    ids = tuple(name for name in card.accelerator_ids if _holds(by_id(name), share, memory))
    if not ids:
        return None
    note = f"MIG profile {profile}: {share} of the compute slices of one card and {memory:g} GB of its memory"
    return Resolution(text=raw, accelerator_ids=ids, count=share, hosts=1, memory_gib=memory, note=note)


def _mig_slices(ids: tuple[str, ...]) -> int | None:
    """Compute slices of one card; None when a card has no MIG (as far as the table knows) or the cards differ."""
    slices = {row["name"]: int(row["value"]) for row in _name_rows("mig")}
    counts = {slices.get(by_id(name).family) for name in ids}
    return counts.pop() if len(counts) == 1 else None


def _holds(accelerator: Accelerator, share: Fraction, memory_gb: float) -> bool:
    """Whether that card can have such a profile: all slices take all the memory, fewer slices less."""
    memory = accelerator.memory_gib or 0
    return memory >= memory_gb if share == 1 else memory > memory_gb


# --- notes and errors ------------------------------------------------------------------------------------------------


def _with_status(found: Resolution) -> Resolution:
    if found.note or any(by_id(name).status != "announced" for name in found.accelerator_ids):
        return found
    return replace(found, note="announced, not on sale: its figures are not from a shipped product")


def _unknown(raw: str) -> UnknownName:
    name = " ".join(raw.split())
    variants = _variants(name)
    if variants:
        text = f"{name!r} is no accelerator as it is written. Known: {', '.join(variants)}."
        return UnknownName(f"{text} Check vendor, form, memory or share.", choices=variants)
    choices = _nearest_machines(name) or _nearest(name)
    if not choices:
        return UnknownName(f"no accelerator is called {name!r}. Names look like H100-SXM, A100-80GB, TPUv5e, trn2.")
    *others, last = choices
    nearest = f"{', '.join(others)} or {last}" if others else last
    return UnknownName(f"no accelerator is called {name!r}. Did you mean {nearest}?", choices=choices)


def _variants(name: str) -> tuple[str, ...]:
    """The members of the family that was named, when only vendor, form, memory or share do not fit."""
    words = [word for word in _parts(name)[1] if word != "mig" and "g." not in word]
    rest, _, _ = _split_form_and_memory(words)
    return tuple(short_name(found) for found in _index().get(rest, ()))


def _nearest_machines(name: str) -> tuple[str, ...]:
    """For a slice size that is not in the table (``v5p-24``): the next smaller and the next larger one."""
    stem, _, size = name.lower().removeprefix("tpu-").rpartition("-")
    if not (size.isascii() and size.isdigit()):
        return ()
    tails = [known.removeprefix(f"{stem}-") for known in _machines() if known.startswith(f"{stem}-")]
    sizes = sorted(int(tail) for tail in tails if tail.isdecimal())
    below, above = [n for n in sizes if n < int(size)], [n for n in sizes if n > int(size)]
    return tuple(f"{stem}-{n}" for n in below[-1:] + above[:1])


def _nearest(name: str) -> tuple[str, ...]:
    """Up to three known names like `name`; the letter O and the digit 0 count as one, because people mix them."""
    import difflib  # here, because only a wrong name needs it

    names = [*families(), *(row["name"] for row in _name_rows("group")), *_machines()]
    known = {_key(candidate).replace("o", "0"): candidate for candidate in reversed(names)}
    return tuple(known[match] for match in difflib.get_close_matches(_key(name).replace("o", "0"), known, n=3))
