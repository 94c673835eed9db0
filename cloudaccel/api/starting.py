"""From an offer or a lock file to the places where a run may start, each with its price from the catalog of now."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from cloudaccel import registry
from cloudaccel.api import quoting
from cloudaccel.errors import NothingFits, QueryError
from cloudaccel.model import Offer
from cloudaccel.model.plan import MOST_MACHINES
from cloudaccel.provision.lock import Lock, LockedPlace
from cloudaccel.provision.values import MARKETS, Candidate, Spec

if TYPE_CHECKING:
    from cloudaccel.api.judging import Rules

UNUSABLE = ("quarantined", "other_currency")  # rows whose price is no price of the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What the offers are looked up in, and what narrows the places beyond the lock.

    `held_is_paid`: a lock's reservation adds nothing to what is spent. Only where who starts it also holds it: else a
    lock that names somebody's reservation would pass every budget.
    """

    country: list[str] | None = None
    residency: str | None = None
    price_file: str | None = None
    catalog: str | Path | None = None
    held_is_paid: bool = False


def places_of_lock(lock: Lock, rules: "Rules", where: Where, said: dict[str, Decimal]) -> list[Candidate]:
    """The places of a lock, each allowed by its rules and by `rules`; `said` gets what its plan said of their prices.

    Raises
    ------
    LimitExceeded
        If the rules do not allow one of the places on the facts of now, or do not know.
    NothingFits
        If nothing in the lock is on offer any more.
    """
    from cloudaccel.api.permitting import gate_of_lock  # the tables of facts, only for a lock

    permit = gate_of_lock(lock.body, rules)
    found: list[Candidate] = []
    for place in lock.places:
        for offer, listed in _look_up(place, where):
            permit(offer)
            paid = where.held_is_paid and lock.reservation is not None  # already, whether it is used or not
            candidate = replace(listed, price_per_hour=Decimal(0)) if paid else listed
            if candidate not in found:
                found.append(candidate)
                if place.said_price_per_hour is not None and not paid:
                    said[candidate.offer_id] = place.said_price_per_hour
    if not found:
        raise NothingFits("nothing in the lock file is on offer in the catalog of now. Plan again.")
    return found


def _look_up(place: LockedPlace, where: Where) -> Iterator[tuple[Offer, Candidate]]:
    """The offer of now that the place means, with its price of now; a price unknown when nothing is listed."""
    registry.load(place.provider)
    if place.market not in MARKETS:
        raise QueryError(f"market {place.market!r} cannot be started: only {', '.join(MARKETS)}.")
    answer = quoting.quote(
        instance=place.instance, provider=place.provider, region=place.region, country=where.country,
        residency=where.residency, market=place.market.replace("_", "-"), limit=None, price_file=where.price_file,
        catalog=where.catalog,
    )  # fmt: skip
    same = [
        o
        for o in answer.offers
        if o.partition == place.partition and o.sold_per == "instance" and not set(o.apart) & set(UNUSABLE)
    ]
    exact = [o for o in same if o.zone == place.zone] or [o for o in same if o.zone is None]
    for offer in exact[:1]:
        yield offer, candidate_of(offer, place.nodes, answer.catalog_id)


def candidate_of(offer: Offer, nodes: int, catalog_id: str) -> Candidate:
    """The place of an offer, for that many machines."""
    return Candidate(
        provider=offer.provider,
        partition=offer.partition,
        region=offer.region,
        zone=offer.zone,
        instance=offer.instance,
        accelerator_id=offer.accelerator_id,
        accelerator_count=None if offer.count is None else str(offer.count),
        nodes=nodes,
        market=offer.market,
        price_per_hour=offer.price.amount,
        currency=offer.price.currency,
        price_as_of=offer.price.as_of,
        offer_id=offer.id,
        catalog_id=catalog_id,
    )


def check_startable(spec: Spec) -> None:
    """Refuse what is never started: too many machines, a capacity block that nobody holds, what no cloud would take.

    Raises `QueryError`. Where one place of several is refused, it is `Instances.settle` that says so in its turn.
    """
    nodes = max(c.nodes for c in spec.candidates)
    if nodes > MOST_MACHINES:
        raise QueryError(
            f"{nodes} machines: this program starts 1 to {MOST_MACHINES} of one type. "
            "For more, export the plan to an engine for clusters."
        )
    if any(c.market == "capacity_block" for c in spec.candidates) and not spec.options.reservation_id:
        raise QueryError(
            "a capacity block is used by the id of one that you hold: --reservation ID. None is ever bought."
        )
    reasons = [(c, registry.refusal(c.provider, c.instance, c.market, c.nodes)) for c in spec.candidates]
    if reasons and all(why is not None for _, why in reasons):
        c, why = reasons[0]
        raise QueryError(
            f"{c.what} at {c.provider} cannot be started as {c.market.replace('_', '-')}: {why}. "
            "Choose another market or machine; 'cloudaccel plan --startable' shows what can be."
        )
