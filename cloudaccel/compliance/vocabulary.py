"""The words that a user states: classes of data, and statements. What no rule knows is never taken in silence."""

from collections.abc import Iterable, Iterator, Sequence

from cloudaccel.compliance.export_control import COUNSEL, LICENCE
from cloudaccel.compliance.packs import Check, Pack
from cloudaccel.compliance.shipped import shipped_packs
from cloudaccel.errors import UnknownName
from cloudaccel.facts import places

CLASSES, SECTOR, NONE = "data.classes", "organisation.sector", "none"
_SELLER = ":{provider}"


def classes_known(packs: Iterable[Pack] = ()) -> tuple[str, ...]:
    """Every class of data that a pack that ships, or one of `packs`, is about; sorted."""
    every = (*shipped_packs().values(), *packs)
    return tuple(sorted({name for pack in every for name in pack.applies_if.get(CLASSES, ())}))


def data_classes(words: Sequence[str], packs: Sequence[Pack]) -> tuple[str, ...]:
    """Classes of data as packs spell them, each once; () for ``none``. A word may be a list with commas.

    Raises
    ------
    UnknownName
        If no pack knows such a class. A misspelt one would keep every pack from applying, and so satisfy them all.
    """
    known = classes_known(packs)
    found: dict[str, None] = {}
    for word in (part.strip() for text in words for part in text.split(",")):
        name = next((k for k in known if _plain(k) == _plain(word)), None)
        if name is None and _plain(word) != NONE:
            raise _no_class(word, known, [pack for pack in packs if not pack.always_on])
        if name is not None:
            found[name] = None
    return tuple(found)


def _no_class(word: str, known: Sequence[str], named: Sequence[Pack]) -> UnknownName:
    """The refusal: what the packs that were named ask for, and what is meant most likely in their countries."""
    import difflib  # only for a name that is unknown

    asked = {pack.id: pack.applies_if.get(CLASSES, ()) for pack in named}
    asking = [f"{name} asks for {' or '.join(classes)}" for name, classes in asked.items() if classes]
    silent = [name for name, classes in asked.items() if not classes]
    asking += [f"{', '.join(silent)} {'asks' if len(silent) == 1 else 'ask'} for no class"] if silent else []
    text = f" Of the packs named, {'; '.join(asking)}." if asking else ""
    # 0.85: the same word with a slip of the pen. Less is another word, which is meant only in the same country.
    near = difflib.get_close_matches(_plain(word), known, n=3, cutoff=0.85)
    near += difflib.get_close_matches(_plain(word), _classes_beside(named), n=3, cutoff=0.4)
    return UnknownName(
        f"--data-class: no pack knows data of class {word!r}.{text} All classes: {', '.join(known)}; or none.",
        choices=tuple(dict.fromkeys(near)),
    )


def _classes_beside(named: Sequence[Pack]) -> list[str]:
    """Classes of the packs named, and of others for the same country or union."""
    where = [_countries(pack) for pack in named]
    packs = (*named, *(p for p in shipped_packs().values() if any(_countries(p) & area for area in where)))
    return sorted({name for pack in packs for name in pack.applies_if.get(CLASSES, ())})


def _countries(pack: Pack) -> frozenset[str]:
    """Where a pack is law; empty for that of an organisation."""
    try:
        return places.resolve_countries(pack.jurisdiction)
    except UnknownName:
        return frozenset()


def _plain(word: str) -> str:
    return word.strip().casefold().replace("-", "_").replace(" ", "_")


# -- statements --------------------------------------------------------------------------------------------------------


def canonical_need(need: str, packs: Iterable[Pack] = ()) -> str:
    """A statement with its seller spelt as the tables do: ``dpa:AWS`` is ``dpa:aws``. Others stay as they are."""
    head, colon, name = need.rpartition(":")
    if not colon or not _takes_seller(head, packs):
        return need
    return f"{head}:{_seller(name) or name}"


def _takes_seller(head: str, packs: Iterable[Pack]) -> bool:
    return head.startswith("evidence:") or f"{head}{_SELLER}" in {
        need for pack in (*shipped_packs().values(), *packs) for need in _asked_by(pack)
    }


def _seller(name: str) -> str | None:
    """Whom a contract is with: a seller, or the part of it which has its own contracts; None when no table knows it."""
    try:
        found = places.resolve_partitions(name)
    except UnknownName:
        return None
    sellers = {provider for provider, _ in found}
    try:
        return places.resolve_provider(name)
    except UnknownName:
        provider, partition = next(iter(found))
        if len(found) > 1:
            return None  # several parts, each with contracts of its own
        part = places.partitions().get(partition)
        return provider if len(sellers) == 1 and part is not None and part.kind == "commercial" else partition


def _asked_by(pack: Pack) -> Iterator[str]:
    """Every statement that a rule of the pack may ask for, with ``{provider}`` for the seller."""
    for rule in pack.rules:
        if rule.interpretive:
            yield f"legal_opinion:{rule.id}"
        for check in rule.check.walk():
            yield from _asked_in(check)


def _asked_in(check: Check) -> Iterator[str]:
    yield from (str(check.arguments[key]) for key in ("need", "settled_by") if key in check.arguments)
    for key in ("all", "any"):
        names = check.arguments.get(key, ())
        if check.name == "attestation" and isinstance(names, tuple):
            yield from (f"evidence:{name}{_SELLER}" for name in names)  # pyright: ignore[reportUnknownVariableType]
    if check.name.startswith("ear_"):
        yield from (LICENCE, COUNSEL)


def unheard(needs: Iterable[str], packs: Sequence[Pack]) -> Iterator[str]:
    """In words, which of some statements no rule of `packs` hears, and why."""
    asked = {need for pack in packs for need in _asked_by(pack)}
    rules = {rule.id: rule for pack in packs for rule in pack.rules}
    for need in dict.fromkeys(needs):
        head, _, name = need.rpartition(":")
        rule = rules.get(name)
        if head == "legal_opinion" and rule is not None and not rule.interpretive:
            yield f"{need} counts for nothing: {name} leaves no room for another reading"
        elif need not in asked and f"{head}{_SELLER}" not in asked:
            yield f"{need} counts for nothing here: no rule of the packs judged by asks for it"
        elif need not in asked and _seller(name) is None:
            yield f"{need}: no table knows a seller called {name}"


def not_asked(said: Sequence[str] | None, sector: str | None, packs: Sequence[Pack]) -> Iterator[str]:
    """In words, which packs that ship are about the data or the sector that was said, and were not named."""
    have = {pack.id for pack in packs}
    facts = {CLASSES: tuple(said or ()), SECTOR: (sector,) if sector else ()}
    for pack in shipped_packs().values():
        words = [word for name, values in pack.applies_if.items() for word in facts[name] if word in values]
        if words and pack.id not in have:
            yield f"pack {pack.id} is about {', '.join(words)} and was not named: nothing was judged by it"
