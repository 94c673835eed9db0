"""`explain`: what a name means, and where an offer's price comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from cloudaccel.catalog.history import PriceVersion, offer_by_id, versions
from cloudaccel.catalog.query import could_be
from cloudaccel.catalog.session import Session, accelerator_table, open_session
from cloudaccel.errors import UnknownName
from cloudaccel.facts import names, places
from cloudaccel.facts.accelerators import by_id
from cloudaccel.model import MARKETS, Accelerator, Offer, Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a name means. `accelerators` has several rows when the name is a family.

    `count`, `hosts`, `memory_gib` and `virtualized` are what the name itself says; `spellings` are the words of the
    provider that was asked about, by id. `offers` are those of the instance type or id that it names (the first few;
    `more` are left out), `history` the versions of a single offer's price.
    """

    name: str
    accelerators: tuple[Accelerator, ...]
    count: Fraction | None = None
    hosts: int | None = None
    memory_gib: float | None = None
    virtualized: bool = False
    instance: str | None = None
    spellings: Mapping[str, str] = field(default_factory=dict[str, str])
    note: str = ""
    offers: tuple[Offer, ...] = ()
    more: int = 0
    history: tuple[PriceVersion, ...] = ()

    @property
    def spelling(self) -> str | None:
        """The provider's one word for the name; None when it has none, or several."""
        words = set(self.spellings.values())
        return words.pop() if len(words) == 1 else None


_EXPLAINED_OFFERS = 12


def explain(
    name: str, *, provider: str | None = None, price_file: str | Path | None = None, catalog: str | Path | None = None
) -> Explanation:
    """What `name` means: an accelerator, a cloud's spelling of one, an instance type, or the id of an offer.

    Raises
    ------
    UnknownName
        If it is none of these; `choices` are the nearest names.
    """
    with open_session(catalog, price_file) as session:
        if _is_offer_id(name):
            return _explained_offer(session, name)
        found = names.resolve(name, instance_lookup=session.instance)
        table = accelerator_table()
        rows = tuple(table[i] for i in found.accelerator_ids if i in table)
        seller = None if provider is None else places.resolve_provider(provider)
        spelled = {row.id: names.provider_spelling(row.id, seller) for row in rows} if seller else {}
        instance = found.instance or (name if session.instance(name) else None)
        offers, more = _offers_of(session, instance) if instance else ((), 0)
        return Explanation(
            name=name, accelerators=rows, count=found.count, hosts=found.hosts, memory_gib=found.memory_gib,
            virtualized=found.virtualized, instance=instance, note=found.note, offers=offers,
            more=more, spellings={key: word for key, word in spelled.items() if word},
        )  # fmt: skip


def _offer(session: Session, offer_id: str) -> Offer | None:
    own = offer_by_id(session.overlay.db, offer_id) if session.overlay else None
    return own or session.read(lambda db: offer_by_id(db, offer_id))


def _is_offer_id(text: str) -> bool:
    return len(text) == 16 and all(character in "0123456789abcdef" for character in text)


def _explained_offer(session: Session, name: str) -> Explanation:
    offer = _offer(session, name)
    if offer is None:
        raise UnknownName(f"no offer of this catalog has the id {name}. 'cloudaccel quote … --json' shows ids.")
    rows = tuple(by_id(i) for i in could_be(offer))
    said = f"{offer.accelerator_name!r}" + (f", {memory:g} GB" if (memory := offer.accelerator_memory_gib) else "")
    note = f"its seller says {said}: " + ("one of these, and not which" if rows else "in no table")
    return Explanation(
        name=name,
        accelerators=rows,
        note="" if offer.accelerator_id else note,
        count=offer.count,
        hosts=offer.hosts,
        instance=offer.instance,
        offers=(offer,),
        history=session.read(lambda db: versions(db, offer.id)),
    )


def _offers_of(session: Session, instance: str) -> tuple[tuple[Offer, ...], int]:
    markets = tuple((market, None) for market in MARKETS)
    query = Query(instance=instance, markets=markets, allow_fraction=True, limit=_EXPLAINED_OFFERS)
    result = session.query(query)
    return result.offers, result.total - len(result.offers)
