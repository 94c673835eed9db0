"""From words or a lock file to a request: places in order, each with its price from the catalog of now."""

import argparse
import ipaddress
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from cloudaccel import registry, units
from cloudaccel.api import quoting
from cloudaccel.api.starting import UNUSABLE, Where, candidate_of, check_startable, places_of_lock
from cloudaccel.cli import common
from cloudaccel.errors import AmbiguousName, LimitExceeded, NothingFits, QueryError
from cloudaccel.model import Offer
from cloudaccel.provision.lock import RESERVATION, Lock, read_lock
from cloudaccel.provision.userdata import public_key
from cloudaccel.provision.values import MARKETS, Candidate, Limits, Options, Spec

if TYPE_CHECKING:
    from cloudaccel.api.judging import Rules

DEFAULT_LEASE = "4h"
DEFAULT_PLACES = 5
MOST_PLACES = 1000
MOST_OWNER = 63
SHORTEST_IDLE_S = 300.0


class Request:
    """A spec, how the prices of a lock have moved since, and what was left out or is open, and why."""

    def __init__(self, spec: Spec, said: dict[str, Decimal], notes: Sequence[str]) -> None:
        self.spec = spec
        self.said = said
        self.notes = tuple(notes)


def build(a: argparse.Namespace) -> Request:
    """The request of ``provision up``'s arguments.

    Raises
    ------
    AmbiguousName
        If the name covers several accelerators; `choices` are those.
    NothingFits
        If nothing on offer can be started.
    LimitExceeded
        If the rules of the lock do not allow one of its places on the facts of now, or do not know.
    """
    _check_words(a)
    lock = read_lock(Path(a.what[0])) if _is_file(a.what) else None
    said: dict[str, Decimal] = {}
    if lock is not None:
        candidates, notes = _from_lock(lock, a, said), []
    else:
        candidates, notes = _from_words(a)
    lease_s = units.parse_duration_s(a.lease, "--lease") if a.lease else (lock.lease_s if lock else None)
    spec = Spec(
        asked=" ".join(a.what),
        candidates=tuple(candidates),
        limits=_limits(a, lock),
        options=_options(a, _reservation_id(a, lock)),
        lease_s=lease_s or units.parse_duration_s(DEFAULT_LEASE, "--lease"),
    )
    check_startable(spec)
    return Request(spec, said, notes)


def _check_words(a: argparse.Namespace) -> None:
    """Refuse what no cloud would take, before one is asked."""
    if not 1 <= a.places <= MOST_PLACES:
        raise QueryError(f"--places {a.places}: from 1 to {MOST_PLACES}.")
    if a.owner is not None and not 1 <= len(a.owner) <= MOST_OWNER:
        raise QueryError(f"--owner: 1 to {MOST_OWNER} characters, which is what a tag holds.")
    if a.reservation is not None and not RESERVATION.fullmatch(a.reservation):
        raise QueryError(f"--reservation {a.reservation!r}: no id of a reservation. Copy it from your provider.")
    for text in a.ssh_cidr or ():
        _check_network(text)


def _check_network(text: str) -> None:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise QueryError(f"--ssh-cidr: {error}. Write a network such as 203.0.113.7/32.") from None
    if network.prefixlen < (8 if network.version == 4 else 32):
        raise QueryError(f"--ssh-cidr {text} is (half) the world: name the network that you come from.")


def _is_file(what: Sequence[str]) -> bool:
    return len(what) == 1 and (what[0].endswith(".json") or os.sep in what[0])


def _limits(a: argparse.Namespace, lock: Lock | None) -> Limits:
    hourly, currency = units.parse_money(a.max_hourly, "--max-hourly") if a.max_hourly else (None, None)
    total, named = units.parse_money(a.max_total, "--max-total") if a.max_total else (None, None)
    if currency and named and currency != named:
        raise QueryError("--max-hourly and --max-total are in two currencies; none is converted.")
    if total is None and lock is not None:
        total, named = lock.budget, lock.currency
    regions = [word for value in a.region or () for word in value.split(",")]
    start_from, start_by, end_by = lock.window if lock is not None else (None, None, None)
    return Limits(
        start_from=start_from,
        start_by=start_by,
        end_by=end_by,
        max_hourly=hourly,
        max_total=total,
        currency=currency or named or "USD",
        allow_unpriced=a.allow_unpriced,
        regions=tuple(regions) or None,
    )


def _reservation_id(a: argparse.Namespace, lock: Lock | None) -> str | None:
    """The reservation to start in: a lock's own, which no flag turns into another that its plan does not speak of."""
    planned = None if lock is None else lock.reservation_id
    if planned is not None and a.reservation not in (None, planned):
        raise QueryError(
            f"--reservation {a.reservation}: the lock was planned in {planned}. Leave the flag out, or plan again."
        )
    return planned or a.reservation


def _options(a: argparse.Namespace, reservation_id: str | None) -> Options:
    return Options(
        owner=(a.owner or os.environ.get("USER", "") or os.environ.get("USERNAME", ""))[:MOST_OWNER],
        reservation_id=reservation_id,
        image=a.image,
        disk_gib=_disk_gib(a.disk),
        ssh_cidrs=tuple(a.ssh_cidr or ()),
        key_name=a.key_name,
        accept_no_deadline=a.accept_no_deadline,
        ssh_key=_ssh_key(a.ssh_key),
        end_idle_s=_end_idle_s(a.end_idle),
        on_interruption=a.on_interruption,
    )


def _ssh_key(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise QueryError(f"--ssh-key {path} cannot be read: {error}.") from error
    return public_key(text, path)


def _end_idle_s(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = units.parse_duration_s(text, "--end-idle")
    if seconds < SHORTEST_IDLE_S:
        raise QueryError(f"--end-idle {text}: at least 5m, since a job that loads its data computes nothing either.")
    return seconds


def _disk_gib(text: str | None) -> int | None:
    if text is None:
        return None
    size, binary = units.parse_size(text, "--disk")
    return int(size if binary else -(-size * 10**9 // 2**30))  # disks are sold in GiB: at least what was asked


# -- from words --------------------------------------------------------------------------------------------------------


def _from_words(a: argparse.Namespace) -> tuple[list[Candidate], list[str]]:
    markets = [word.strip() for value in a.market or ["on-demand"] for word in value.split(",")]
    answer = quoting.quote(
        ",".join(a.what), provider=a.provider, region=a.region, country=a.country, residency=a.residency,
        market=markets, allow_fraction=False, limit=None, price_file=a.price_file, catalog=a.catalog,
    )  # fmt: skip
    startable = [name for name in registry.names() if registry.starts(name)]
    usable, notes = _startable(answer, startable)
    _refuse_ambiguous(answer, a.any_variant)
    if not usable:
        raise NothingFits(_nothing(answer, startable))
    usable, open_questions = _permitted(usable, common.rules_of(a))
    order = [{"flex": "flex_start"}.get(m, m.replace("-", "_")) for m in markets]
    usable.sort(key=lambda o: order.index(o.market) if o.market in order else len(order))  # stable: price inside
    places = [candidate_of(offer, answer.nodes(offer), answer.catalog_id) for offer in usable]
    return list(dict.fromkeys(places))[: a.places], notes + open_questions


def _permitted(offers: Sequence[Offer], rules: "Rules") -> tuple[list[Offer], list[str]]:
    """What the rules leave of offers, with what they left out and what is open; all refused: the first refusal."""
    from cloudaccel.api.permitting import (  # the tables of facts, only for who starts something
        gate_of_words,
        warnings_of,
    )

    gate = gate_of_words(rules)
    permitted: list[Offer] = []
    open_questions: dict[str, None] = {}
    refusals: list[LimitExceeded] = []
    for offer in offers:
        try:
            open_questions[gate(offer)] = None
            permitted.append(offer)
        except LimitExceeded as error:
            refusals.append(error)
    if not permitted:
        raise refusals[0]
    out = units.counted(len(refusals), "offer")
    notes = [*warnings_of(rules)]
    notes += [f"left out {out} that the rules do not allow, such as: {refusals[0]}"] if refusals else []
    return permitted, notes + [text for text in open_questions if text][:1]


def _startable(answer: quoting.Quote, startable: Sequence[str]) -> tuple[list[Offer], list[str]]:
    usable: list[Offer] = []
    elsewhere: dict[str, int] = {}
    odd = 0
    for offer in answer.offers:
        if offer.provider not in startable:
            elsewhere[offer.provider] = elsewhere.get(offer.provider, 0) + 1
        elif not _is_machine(offer):
            odd += 1
        else:
            usable.append(offer)
    notes: list[str] = []
    if elsewhere:
        offers = units.counted(sum(elsewhere.values()), "offer")
        sellers = f"{offers} of {units.counted(len(elsewhere), 'provider')}"
        notes.append(f"left out {sellers} whose machines cannot be started from here")
    if odd:
        notes.append(f"left out {units.counted(odd, 'offer')} without a machine or a region, or only a commitment")
    return usable, notes


def _is_machine(offer: Offer) -> bool:
    """Whether the row names a machine in a region, in a market that can be started."""
    usable = offer.market in MARKETS and offer.sold_per == "instance" and not set(offer.apart) & set(UNUSABLE)
    return usable and _is_region(offer)


def _is_region(offer: Offer) -> bool:
    """Whether the place is a region that the tables know; some sources give a zone's id there."""
    from cloudaccel.facts import places

    try:
        return (offer.provider, offer.region) in set(places.resolve_region(offer.region))
    except QueryError:
        return False


def _refuse_ambiguous(answer: quoting.Quote, any_variant: bool) -> None:
    for term in answer.query.terms:
        if len(term.accelerator_ids) < 2 or any_variant or term.instance:
            continue
        tail = term.text.partition(":")[2]
        seen = {o.accelerator_id for o in answer.offers if o.accelerator_id}
        named = [i for i in term.accelerator_ids if i in seen] or list(term.accelerator_ids)
        choices = [_spelled(i) + (f":{tail}" if tail else "") for i in named]
        only = ", though only one is on offer there" if len(named) == 1 else ""
        raise AmbiguousName(
            f"{term.text!r} covers {len(term.accelerator_ids)} accelerators{only}, and machines are started of one: "
            "name it, or add --any-variant.",
            choices=choices,
        )


def _spelled(accelerator_id: str) -> str:
    """What a person types for an accelerator: the shortest expression that means only it."""
    from cloudaccel.catalog.session import accelerator_table
    from cloudaccel.facts import expressions

    row = accelerator_table()[accelerator_id]
    forms = [row.family, f"{row.family}-{(row.form or '').upper()}", f"{row.family}-{row.memory_gib or 0:g}GB"]
    forms.append(f"{row.family}-{(row.form or '').upper()}-{row.memory_gib or 0:g}GB")
    for text in forms:
        try:
            if expressions.parse_expression(text)[0].accelerator_ids == (accelerator_id,):
                return text
        except QueryError:
            continue
    return accelerator_id


def _nothing(answer: quoting.Quote, startable: Sequence[str]) -> str:
    others = sorted({offer.provider for offer in answer.offers} - set(startable))
    if others:
        return (
            f"nothing on offer for this can be started from here (startable: {', '.join(startable) or 'no provider'}). "
            f"On offer at {', '.join(others[:6])}: see 'cloudaccel quote'."
        )
    hints = "; ".join(answer.hints[:2])
    return f"nothing on offer satisfies this request. {f'Try {hints}.' if hints else ''}"


# -- from a lock file --------------------------------------------------------------------------------------------------


def _from_lock(lock: Lock, a: argparse.Namespace, said: dict[str, Decimal]) -> list[Candidate]:
    if a.market:
        raise QueryError("--market is for a request in words; a lock file has its own. Plan again with --market.")
    where = Where(
        country=a.country, residency=a.residency, price_file=a.price_file, catalog=a.catalog, held_is_paid=True
    )  # fmt: skip
    return places_of_lock(lock, common.rules_of(a), where, said)


__all__ = ["DEFAULT_LEASE", "DEFAULT_PLACES", "Request", "build"]
