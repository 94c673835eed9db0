"""`quote`: offers for an accelerator expression, with what was hidden and what could be asked instead."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cloudaccel import units
from cloudaccel.catalog import store
from cloudaccel.catalog.query import SORTS, could_be
from cloudaccel.catalog.session import Session, accelerator_table, open_session
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.facts import expressions, names
from cloudaccel.model import MARKETS, Accelerator, AcceleratorTerm, Hidden, Offer, PlaceZone, Query, from_nano

if TYPE_CHECKING:
    from typing import TypedDict, Unpack

    from cloudaccel.api.converting import Conversion
    from cloudaccel.api.judging import Judged, Rules
    from cloudaccel.cost.currency import Rates
    from cloudaccel.cost.disk import Disk

    class Filters(TypedDict, total=False):
        """The filters of a query. Sizes are nominal GB, `max_price` is per accelerator-hour, `limit` None for all.

        `max_hourly` is for the whole request per hour; lists may be given as text with commas.
        """

        instance: str | None
        kind: "Words"
        provider: "Words"
        region: "Words"
        country: "Words"
        residency: "Words"
        market: "Words"
        min_mem: str | float | None
        min_total_mem: str | float | None
        host_mem: str | float | None
        vcpu: str | float | None
        interconnect: str | None
        max_price: str | Decimal | None
        max_hourly: str | Decimal | None
        max_age: str | None
        require_available: bool
        allow_fraction: bool
        currency: str | None
        sort: str
        limit: int | None


DEFAULT_LIMIT = 20
COMMITMENTS = ("reserved", "savings_plan")  # markets whose price depends on a term
LINKS = ("nvlink", "nvlink-bridge", "pcie", "infinity-fabric", "ici", "neuronlink", "roce", "any")
KINDS = ("gpu", "tpu", "neuron", "hpu", "npu", "fpga", "media")
_DAY_S = 86_400
_EVERYTHING = 10**9  # more rows than a catalog has; SQLite refuses numbers of more than 64 bits

Words = str | Sequence[str] | None


class Notice(NamedTuple):
    """Something the reader of an answer should know. `offer` is the id of the offer it is about, or None."""

    code: str
    text: str
    offer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quote:
    """The answer of `quote`.

    Attributes
    ----------
    offers
        In rank order; rows that are never ranked first (`Offer.apart`) come last. At most ``limit`` of `total`.
    hidden
        What the filters hid, by the first filter that a row failed.
    examples
        With ``show_hidden``: the cheapest few rows that each reason hid.
    hints
        What could be asked instead, when nothing was found.
    today
        The day that ages are counted to.
    judged
        What the rules say, when rules were asked for; `hidden` then counts what each of them left out.
    adjusted
        What the settings' file of adjustments and commitments did to list prices, in a few words; None: there is none.
    conversion
        The rates that prices of other currencies were converted by, and the listed prices; None: nothing was converted.
    tax_percent
        Tax that the user stated, to be shown beside the prices, which are all without it; None: not stated.
    disk
        What a disk of the size that the user stated costs beside each machine; no price has it in itself.
    """

    query: Query
    offers: tuple[Offer, ...]
    total: int
    hidden: tuple[Hidden, ...]
    notices: tuple[Notice, ...]
    hints: tuple[str, ...]
    examples: Mapping[str, Sequence[Offer]]
    catalog_id: str
    catalog_as_of: str | None
    catalog_until: str | None
    today: date
    judged: "Judged | None" = None
    adjusted: str | None = None
    conversion: "Conversion | None" = None
    tax_percent: Decimal | None = None
    disk: "Disk | None" = None

    def nodes(self, offer: Offer) -> int:
        """Machines of that shape that the request asks for, 1 or more."""
        term = self._term(offer)
        return 1 if term is None else term.nodes

    def rank(self, offer: Offer) -> int:
        """Place of the offer's accelerator in the user's order (``A>B``), the first is 0."""
        term = self._term(offer)
        return 0 if term is None else term.rank

    @property
    def machines(self) -> tuple[int, ...]:
        """How many machines the offers shown are of, each number once, rising: ``8x2`` asks for two."""
        return tuple(sorted({self.nodes(offer) for offer in self.offers}))

    def _term(self, offer: Offer) -> AcceleratorTerm | None:
        for term in self.query.terms:
            if offer.accelerator_id in term.accelerator_ids and _is_count(term, offer.count):
                return term
        return None

    def is_stale(self, offer: Offer) -> bool:
        """Whether the price is not known to be as young as ``max_age``: older, undated or ahead; False: no limit."""
        limit = self.query.max_age_days
        if limit is None:
            return False
        age = age_days(offer, self.today)
        return age is None or age[0] > limit


def _is_count(term: AcceleratorTerm, count: Fraction | None) -> bool:
    if term.count is None:
        return True
    return count is not None and (count >= term.count if term.at_least else count == term.count)


AHEAD = "ahead"  # of a price that is dated after today


def age_days(offer: Offer, today: date) -> tuple[int, int] | None:
    """Age of the price in days, at most and at least; the two differ when its date is an interval.

    None: not known, since the price is undated, or dated after today, where this clock is behind or that one was ahead.
    """
    if offer.price.as_of is None:
        return None
    oldest = (today - date.fromisoformat(offer.price.as_of)).days
    newest = (today - date.fromisoformat(offer.price.as_of_until or offer.price.as_of)).days
    return None if oldest < 0 else (oldest, max(newest, 0))


def age_text(offer: Offer, today: date, *, undated: str = "?") -> str:
    """The age for people: ``3 d``, ``117–420 d`` where its date is an interval, ``ahead`` where it is after today."""
    age = age_days(offer, today)
    if age is None:
        return AHEAD if offer.price.as_of else undated
    return f"{age[0]} d" if age[0] == age[1] else f"{age[1]}–{age[0]} d"


def quote(
    accelerators: str | None = None,
    *,
    price_file: str | Path | None = None,
    catalog: str | Path | None = None,
    today: date | None = None,
    show_hidden: bool = False,
    rules: "Rules | None" = None,
    fx_file: str | Path | None = None,
    tax: str | None = None,
    disk: str | None = None,
    **filters: "Unpack[Filters]",
) -> Quote:
    """Offers for an accelerator expression, cheapest per accelerator-hour first.

    `filters` are the flags of ``cloudaccel quote``, with the same names and units (see `Filters`). `show_hidden` adds
    the cheapest few of the rows that each filter hid. `rules` leave only places that satisfy them on the facts given.
    `fx_file` is a file of euro reference rates (else the setting of that name, when a currency is named): prices of
    other currencies are then converted by them. `tax` (``19%``) is kept beside the prices, which stay without it,
    and so is what a disk of `disk` (``500GB``) costs for each machine.

    Raises
    ------
    QueryError
        If a value cannot be read. `UnknownName` (a kind of it) if a name is not known; `choices` are the nearest.
    PricingError
        If there is no usable catalog.
    """
    with open_session(catalog, price_file, today=today) as session:
        return quote_in(
            session,
            accelerators,
            today=today,
            show_hidden=show_hidden,
            rules=rules,
            fx_file=fx_file,
            tax=tax,
            disk=disk,
            **filters,
        )


def quote_in(
    session: Session,
    accelerators: str | None = None,
    *,
    today: date | None = None,
    show_hidden: bool = False,
    rules: "Rules | None" = None,
    fx_file: str | Path | None = None,
    tax: str | None = None,
    disk: str | None = None,
    **filters: "Unpack[Filters]",
) -> Quote:
    """`quote` from a catalog that is open already, for who is asked many times; raises as that does."""
    query = build_query(session, accelerators, **filters)
    day = today or datetime.now(UTC).date()
    rates = _rates(session, query, fx_file, named=bool(filters.get("currency")))
    if rules is None and rates is None:
        return _beside(_answer(session, query, day, show_hidden), tax, disk)
    free = query if rates is None else replace(query, max_price=None, max_hourly=None)
    whole = _answer(session, replace(free, limit=None), day, show_hidden)
    if rates is not None:
        from cloudaccel.api.converting import converted_quote

        asked = query if rules is None else replace(query, limit=None)
        whole = converted_quote(whole, rates, asked, show_hidden=show_hidden)
    if rules is not None:
        from cloudaccel.api.judged_quote import judged_quote  # only a quote that is judged pays for the tables of facts

        whole = judged_quote(whole, rules, query.limit)
    return _beside(whole, tax, disk)


def _rates(session: Session, query: Query, fx_file: str | Path | None, *, named: bool) -> "Rates | None":
    """The rates to convert by; None when the user asked for none, by a file or by naming a currency."""
    path = fx_file or (session.fx_file if named or query.currency != "USD" else "")
    if not path:
        return None
    from cloudaccel.api.converting import check_currency
    from cloudaccel.cost.currency import read_rates

    rates = read_rates(Path(path))
    check_currency(rates, query.currency)
    return rates


def _beside(answer: Quote, tax: str | None, disk: str | None) -> Quote:
    """The answer with what is shown beside its prices; who asks for neither pays for neither."""
    if tax is not None:
        from cloudaccel.cost.currency import parse_percent

        answer = replace(answer, tax_percent=parse_percent(tax, "--tax"))
    if disk is not None:
        from cloudaccel.cost.disk import disk_of

        answer = replace(answer, disk=disk_of(disk))
    return answer


def build_query(
    session: Session,
    accelerators: str | None = None,
    *,
    instance: str | None = None,
    kind: Words = None,
    provider: Words = None,
    region: Words = None,
    country: Words = None,
    residency: Words = None,
    market: Words = "on-demand",
    min_mem: str | float | None = None,
    min_total_mem: str | float | None = None,
    host_mem: str | float | None = None,
    vcpu: str | float | None = None,
    interconnect: str | None = None,
    max_price: str | Decimal | None = None,
    max_hourly: str | Decimal | None = None,
    max_age: str | None = None,
    require_available: bool = False,
    allow_fraction: bool = False,
    currency: str | None = None,
    sort: str = "price",
    limit: int | None = DEFAULT_LIMIT,
) -> Query:
    """The query of an expression and filters, with names resolved against the open catalog; raises as `quote` does."""
    if limit is not None and limit < 1:
        raise QueryError(f"--limit: {limit} must be 1 or more. Leave it out for {DEFAULT_LIMIT}, or say 'all'.")
    place = {"providers": _providers(session, provider), **_regions(session, region)}
    place |= _place(country, residency)
    if any("(" in str(value) for value in (max_price, max_hourly)):
        from cloudaccel.api.limiting import limits_of  # only for a limit that is another offer's price

        max_price, max_hourly = limits_of(session, max_price, max_hourly, place)
    return Query(
        terms=_terms(session, accelerators, instance, allow_fraction),
        instance=_known_instance(session, instance),
        kinds=frozenset(_chosen("--kind", kind, KINDS)),
        markets=_markets(market),
        interconnect=_one("--interconnect", interconnect, LINKS),
        require_available=require_available,
        allow_fraction=allow_fraction,
        sort=_one("--sort", sort, tuple(SORTS)) or "price",
        limit=None if limit is not None and limit > _EVERYTHING else limit,
        **place,
        **_sizes(min_mem, min_total_mem, host_mem, vcpu),
        **_money(max_price, max_hourly, currency),
        max_age_days=_days_of(max_age, "--max-age") if max_age else _days_of(session.max_age, "max_age"),
    )


def _days_of(age: str | None, flag: str) -> float | None:
    return units.parse_duration_s(age, flag) / _DAY_S if age else None


def cost_of(instance: str, *, region: str | None = None, market: str = "on-demand") -> Decimal | None:
    """Cheapest known USD per hour of an instance type; None, and a logged warning, when no source has one."""
    try:
        offers = quote(instance=instance, region=region, market=market, allow_fraction=True, limit=1).offers
    except UnknownName:
        offers = ()
    amount = next((offer.price.amount for offer in offers if not offer.apart), None)
    if amount is None:
        import logging  # only when there is something to say

        logging.getLogger("cloudaccel").warning("no source has a price of %s (%s)", instance, market)
    return amount


def _answer(session: Session, query: Query, today: date, show_hidden: bool) -> Quote:
    result = session.query(query)
    examples: Mapping[str, Sequence[Offer]] = {}
    if show_hidden:
        examples = session.hidden_examples(query)
    meta = session.catalog.meta
    answer = Quote(
        query=query,
        offers=result.offers,
        total=result.total,
        hidden=result.hidden,
        notices=(),
        examples=examples,
        hints=() if result.total else tuple(hints(session, query)),
        catalog_id=meta["catalog_id"],
        catalog_as_of=meta["as_of"] or None,
        catalog_until=meta["as_of_until"] or None,
        adjusted=meta.get("adjusted"),
        today=today,
    )
    notices = [*(Notice(code="catalog", text=text) for text in session.warnings), *_notices(session, answer)]
    notices += [Notice(code="limit", text=text) for text in session.said]
    if not result.total and (query.providers or query.regions or query.zones):
        notices += _without_prices(session, query)
    return replace(answer, notices=tuple(notices))


def _terms(
    session: Session, accelerators: str | None, instance: str | None, allow_fraction: bool
) -> tuple[AcceleratorTerm, ...]:
    if accelerators is None:
        return ()
    if instance is not None:
        raise QueryError("give an accelerator or --instance, not both.")
    terms = expressions.parse_expression(accelerators, session.instance)
    for term in terms:
        if term.count is not None and term.count < 1 and not allow_fraction:
            raise QueryError(
                f"{term.text!r} asks for a share of an accelerator. Add --allow-fraction to be shown offers of shares."
            )
    return terms


def _known_instance(session: Session, instance: str | None) -> str | None:
    if instance is None or session.instance(instance) is not None:
        return instance
    import difflib  # only for a name that is unknown

    known = [row[0] for row in _in_catalog(session, "SELECT DISTINCT instance FROM shape WHERE instance <> ?", "")]
    near = difflib.get_close_matches(instance, known, n=5)
    raise UnknownName(f"--instance: no instance type is called {instance!r} in this catalog.", choices=near)


def _words(flag: str, values: Words) -> list[str]:
    """The words of a list; a value without any is refused, since an unset variable must not lift a filter."""
    listed = [values] if isinstance(values, str) else list(values or ())
    words = [word.strip() for value in listed for word in value.split(",") if word.strip()]
    if listed and not words:
        raise QueryError(f"{flag}: the value is empty. Give one, or leave {flag} out.")
    return words


def _chosen(flag: str, values: Words, allowed: Sequence[str]) -> list[str]:
    words = [word.lower() for word in _words(flag, values)]
    for word in words:
        _one(flag, word, allowed)
    return words


def _one(flag: str, value: str | None, allowed: Sequence[str]) -> str | None:
    if value is not None and value not in allowed:
        raise QueryError(f"{flag}: {value!r} is none of {', '.join(allowed)}.")
    return value


def _providers(session: Session, values: Words) -> frozenset[tuple[str, str]]:
    words = _words("--provider", values)
    if not words:
        return frozenset()
    from cloudaccel.facts import places  # the tables of places are read only for a filter on them

    pairs: set[tuple[str, str]] = set()
    for word in words:
        own = _in_catalog(session, "SELECT DISTINCT provider, partition FROM place WHERE provider = ?", word.lower())
        pairs.update((row[0], row[1]) for row in own)
        try:
            pairs.update(places.resolve_partitions(word))
        except UnknownName:
            if not own:
                raise
    return frozenset(pairs)


def _regions(session: Session, values: Words) -> dict[str, frozenset[Any]]:
    """`regions` and `zones` of a query: what a table shows as the place of an offer can be asked for."""
    words = _words("--region", values)
    if not words:
        return {}
    from cloudaccel.facts import places

    regions: set[str] = set()
    zones: set[PlaceZone] = set()
    for word in words:
        own = _in_catalog(session, "SELECT DISTINCT region FROM place WHERE region = ? COLLATE NOCASE", word)
        regions.update(region for (region,) in own)
        try:
            regions.update(region for _, region in places.resolve_region(word))
        except UnknownName:
            found: set[PlaceZone] = set() if own else _zones(session, word)
            if not own and not found:
                raise
            zones |= found
    return {"regions": frozenset(regions), "zones": frozenset(zones)}


_ZONES = (
    "SELECT DISTINCT o.zone, p.provider, p.region FROM offer o JOIN place p ON p.id = o.place "
    "WHERE o.current AND o.zone = ? COLLATE NOCASE"
)


def _zones(session: Session, word: str) -> set[PlaceZone]:
    """The zones called `word`: one apart from its region by all its names, another with the prices of its region."""
    from cloudaccel.facts import places

    apart = places.zones_called(word)
    found = {PlaceZone(name) for zone in apart for name in zone.names}
    return found or {PlaceZone(*row) for row in _in_catalog(session, _ZONES, word)}


def _in_catalog(session: Session, sql: str, word: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = session.read(lambda db: db.execute(sql, (word,)).fetchall())
    if session.overlay is not None:
        found += session.overlay.db.execute(sql, (word,)).fetchall()
    return found


def _place(country: Words, residency: Words) -> dict[str, Any]:
    named = [words for words in (_words("--residency", residency), _words("--country", country)) if words]
    if not named:
        return {}
    from cloudaccel.facts import places

    wanted = [places.resolve_countries(",".join(words)) for words in named]
    text = " and ".join(",".join(words) for words in named)
    return {"countries": frozenset[str].intersection(*wanted), "place_text": text}


def _markets(values: Words) -> tuple[tuple[str, str | None], ...]:
    markets: list[tuple[str, str | None]] = []
    for word in _words("--market", values):
        market, commitment = _market(word)
        if market == "any":
            return tuple((name, None) for name in MARKETS)
        if market not in MARKETS or (commitment and market not in COMMITMENTS):
            allowed = ", ".join(name.replace("_", "-") for name in MARKETS)
            raise QueryError(f"--market: {word!r} is none of {allowed}, reserved-1y, reserved-3y, flex, any.")
        markets.append((market, commitment))
    if not markets:
        raise QueryError("--market: name at least one market, such as on-demand or spot, or 'any'.")
    return tuple(dict.fromkeys(markets))


def _market(word: str) -> tuple[str, str | None]:
    """Market and term of ``spot``, ``reserved-1y``, ``savings-plan-3y``, ``flex`` …"""
    name, _, last = word.lower().replace("_", "-").rpartition("-")
    name, term = (name, last) if last in ("1y", "3y") else (f"{name}-{last}".lstrip("-"), None)
    return {"flex": "flex_start"}.get(name, name.replace("-", "_")), term


def _sizes(
    min_mem: str | float | None,
    min_total_mem: str | float | None,
    host_mem: str | float | None,
    vcpu: str | float | None,
) -> dict[str, Any]:
    def size(value: str | float | None, flag: str) -> float | None:
        return None if value is None else units.parse_size(str(value), flag)[0]

    return {
        "min_mem_gb": size(min_mem, "--min-mem"),
        "min_total_mem_gb": size(min_total_mem, "--min-total-mem"),
        "min_host_mem_gb": size(host_mem, "--host-mem"),
        "min_vcpus": None if vcpu is None else units.parse_minimum(str(vcpu), "--vcpu"),
    }


def _money(max_price: str | Decimal | None, max_hourly: str | Decimal | None, currency: str | None) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    code = None if currency is None else currency.upper()
    for name, value in (("max_price", max_price), ("max_hourly", max_hourly)):
        if value is None:
            continue
        flag = "--" + name.replace("_", "-")
        limits[name], named = units.parse_money(str(value), flag)
        if named and code and named != code:
            raise QueryError(f"{flag} is in {named}, and the answer in {code}. Use one currency; none is converted.")
        code = named or code
    if code is not None and (len(code) != 3 or not code.isalpha()):
        raise QueryError(f"--currency: {currency!r} is no currency code. Write USD, EUR, CNY …")
    return {**limits, "currency": code or "USD"}


def _notices(session: Session, answer: Quote) -> Iterator[Notice]:
    newest = max((o.price.as_of_until or o.price.as_of or "" for o in answer.offers), default="")
    newest = max(newest, answer.catalog_until or "")
    if text := store.clock_warning(newest, answer.today.isoformat()):
        yield Notice(code="clock", text=text)
    stale = sum(answer.is_stale(offer) for offer in answer.offers)
    if stale:
        aged = [age_days(offer, answer.today) for offer in answer.offers if answer.is_stale(offer)]
        why = "older than --max-age" if all(aged) else "not known to be younger than --max-age"
        yield Notice(code="stale_price", text=f"{stale} of the prices shown are {why}, marked STALE.")
    beside = _on_demand_beside(session, answer.offers)
    for offer in answer.offers:
        if (on_demand := beside.get(offer.id)) is not None:
            where = " ".join(filter(None, (offer.provider, offer.region, offer.zone, offer.instance)))
            seen = f"seen {offer.price.as_of or 'on an unknown day'}, in {offer.price.source.name}"
            text = f"{where}: spot {offer.price.amount} ({seen}) is not below on-demand {on_demand}: no saving."
            yield Notice(code="spot_not_cheaper", text=text, offer=offer.id)
        if offer.accelerator_id is None:
            text = f"{offer.provider} {offer.region} {offer.instance}: {_which(offer)}."
            yield Notice(code="accelerator_unknown", text=text, offer=offer.id)
    for term in answer.query.terms:
        if term.note:
            yield Notice(code="name", text=term.note)
    if text := _zones_apart(answer.offers):
        yield Notice(code="zone_apart", text=text)


def _zones_apart(offers: Sequence[Offer]) -> str:
    """Says which of the zones shown are none of their region's own, and may be in another country."""
    found = list(dict.fromkeys(name for offer in offers if (name := zone_apart(offer))))
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{', '.join(found[:_NAMED])}{more}: {APART}." if found else ""


def zone_apart(offer: Offer) -> str:
    """``us-east-1-scl-1 (Santiago, CL)`` of an offer in a zone that does not stand with its region; else empty."""
    if not offer.zone:
        return ""
    from cloudaccel.facts import places  # only where a price is of a zone

    zone = places.zone(offer.provider, offer.zone)
    if zone is None or zone.kind not in _APART_ZONES:
        return ""
    return f"{offer.zone} ({', '.join(filter(None, (zone.city, offer.country)))})"


APART = "apart from the data centres of the region; an account has to enable it"
_APART_ZONES = ("local", "wavelength")  # docs.aws.amazon.com/local-zones and /wavelength, getting started; 2026-11-25
_NAMED = 3  # zones that one sentence names


def _which(offer: Offer) -> str:
    """What is known of the accelerator of an offer that has no row in the table."""
    if offer.accelerator_name == "unknown":
        return "no source names its accelerator"
    may_be = [names.short_name(i) for i in could_be(offer)]
    if not may_be:
        return f"its accelerator, {offer.accelerator_name!r}, is in no table"
    return f"its seller says {offer.accelerator_name!r}, which is {' or '.join(may_be)}"


def _without_prices(session: Session, query: Query) -> Iterator[Notice]:
    """Says so when no source has any price of the sellers, their parts, or the places that were asked about."""
    from cloudaccel.facts import places

    sellers = {(key, found.partition) for key, found in places.regions().items() if key[1] in query.regions}
    asked = set(query.providers) or {(provider, partition) for (provider, _), partition in sellers}
    priced: set[tuple[str, ...]] = set(session.read(lambda db: db.execute(_PRICED).fetchall()))
    if session.overlay is not None:
        priced.update(session.overlay.db.execute(_PRICED).fetchall())
    if asked and asked.isdisjoint((provider, partition) for provider, partition, _ in priced):
        without = ", ".join(sorted(partition for _, partition in asked))
    else:
        # A region that the sellers asked do not have is a wrong question, and not a gap of the sources.
        regions = {name for (provider, name), partition in sellers if (provider, partition) in asked}
        zones = {places.zones_called(zone.name)[0].name for zone in query.zones if places.zones_called(zone.name)}
        if not (regions or zones) or _any_priced(session, query, priced):
            return
        without = ", ".join(sorted(regions | zones))
    text = (
        f"no source of this catalog has any price of {without}: that says nothing of what is sold there. "
        "Carry prices in by --price-file."
    )
    yield Notice(code="no_price_source", text=text)


def _any_priced(session: Session, query: Query, priced: Iterable[tuple[str, ...]]) -> bool:
    """Whether anything at all is on offer in the regions and zones of a query."""
    wanted = {region.lower() for region in query.regions}
    sellers = [p for p in priced if not query.providers or (p[0], p[1]) in query.providers]
    if any(region.lower() in wanted for _, _, region in sellers):
        return True
    return any(_in_catalog(session, _ZONES, zone.name) for zone in query.zones)


_PRICED = (
    "SELECT DISTINCT provider, partition, region FROM place "
    "WHERE EXISTS (SELECT 1 FROM offer WHERE offer.place = place.id AND offer.current)"
)


def _on_demand_beside(session: Session, offers: Sequence[Offer]) -> dict[str, Decimal | None]:
    """The on-demand price of the same thing in the same place, by id, where a spot price is not below it."""
    spot = [offer.id for offer in offers if offer.market == "spot" and offer.price.amount is not None]
    return {offer_id: from_nano(amount) for offer_id, amount in session.on_demand_beside(spot).items()}


def hints(session: Session, query: Query) -> Iterator[str]:
    """What would find something, nearest first. Each is tried before it is said."""
    found_any = False
    for term in query.terms:
        counts = _counts_on_offer(session, query, term)
        found_any |= bool(counts)
        yield from _other_counts(term, counts)
    for words in _relaxed(session, query):
        found_any = True
        yield words
    if not found_any:
        for term in query.terms:
            yield from _lookalikes(term)
        if query.terms and not any(_counts_on_offer(session, Query(markets=_ANY_MARKET), term) for term in query.terms):
            yield from _nearest(session, query)


def _relaxed(session: Session, query: Query) -> Iterator[str]:
    for words, relaxed in relaxations(query):
        found = session.query(replace(relaxed, limit=1))
        best = next((o for o in found.offers if not o.apart), None)
        if best is not None:
            price = best.price_per_accelerator_hour
            cheapest = f"{price:.4g} {best.price.currency} per accelerator-hour ({best.provider})"
            yield f"{words}: {found.total} offers, from {cheapest}"
        elif found.total:
            yield f"{words}: {found.total} offers, none with a usable price"


def relaxations(query: Query) -> Iterator[tuple[str, Query]]:
    """Every filter of a query lifted, one at a time, with the words for it."""
    on_offer = [(m, None) for m in MARKETS if (m, None) not in query.markets]
    for market in on_offer:
        yield f"--market {market[0].replace('_', '-')}", replace(query, markets=(market,))
    if query.countries is not None:
        yield f"outside {query.place_text}", replace(query, countries=None)
    if query.providers:
        yield "without --provider", replace(query, providers=frozenset())
    if query.regions or query.zones:
        yield "without --region", replace(query, regions=frozenset(), zones=frozenset())
    for field in (
        "max_price",
        "max_hourly",
        "interconnect",
        "min_mem_gb",
        "min_total_mem_gb",
        "min_host_mem_gb",
        "min_vcpus",
    ):
        if getattr(query, field) is not None:
            yield f"without --{field.removesuffix('_gb').replace('_', '-')}", replace(query, **{field: None})
    if query.require_available:
        yield "without --require-available", replace(query, require_available=False)


def _counts_on_offer(session: Session, query: Query, term: AcceleratorTerm) -> list[Fraction]:
    """Whole numbers of the accelerator that a machine on offer has, rising."""
    return sorted(session.ranked_counts(replace(query, terms=(replace(term, count=None, at_least=False),))))


def _other_counts(term: AcceleratorTerm, counts: Sequence[Fraction]) -> Iterator[str]:
    wanted = term.count
    if wanted is None or wanted in counts or not counts:
        return  # the count is not what hides it
    smaller = [count for count in counts if count < wanted]
    if not smaller:
        yield f"machines on offer have {', '.join(map(str, counts))} of them"
        return
    name = term.canonical.partition(":")[0]
    ways = dict.fromkeys([smaller[-1], *(c for c in reversed(smaller) if wanted % c == 0)])  # fewest machines first
    words: list[str] = []
    for each in list(ways)[:2]:
        nodes = -(-wanted // each)
        spare = f" ({nodes * each} in all)" if nodes * each != wanted else ""
        words.append(f"{nodes} nodes of {each}{spare} would do: {name}:{each}x{nodes * term.nodes}")
    yield f"no single machine has {wanted}; {'; '.join(words)}"


_ANY_MARKET = tuple((market, None) for market in MARKETS)
_TRIED = 8  # accelerators beside one that nobody lists


def _nearest(session: Session, query: Query) -> Iterator[str]:
    """Of accelerators that no seller lists: the one on offer that comes nearest, by kind, maker and memory."""
    table, known = accelerator_table(), frozenset[str]().union(*(term.accelerator_ids for term in query.terms))
    unlisted = " or ".join(dict.fromkeys(term.canonical.partition(":")[0] for term in query.terms))
    wanted = table[min(known)]

    def distance(other: Accelerator) -> tuple[bool, float]:
        have, want = other.memory_gib, wanted.memory_gib
        return other.vendor != wanted.vendor, abs(have - want) if have and want else _EVERYTHING

    alike = [a for a in table.values() if a.kind == wanted.kind and a.id not in known]
    for other in sorted(alike, key=distance)[:_TRIED]:
        term = AcceleratorTerm(text=other.family, canonical=other.family, accelerator_ids=(other.id,))
        found = session.query(Query(terms=(term,), markets=_ANY_MARKET, limit=1))
        best = next((o for o in found.offers if not o.apart), None)
        if best is not None and best.price_per_accelerator_hour is not None:
            price = f"from {best.price_per_accelerator_hour:.4g} {best.price.currency} per accelerator-hour"
            yield f"{names.short_name(other.id)} ({other.name}), {price} ({best.provider})"
            break
    yield f"'cloudaccel refresh', for no seller in this catalog lists {unlisted}"


def _lookalikes(term: AcceleratorTerm) -> Iterator[str]:
    for other, note in names.lookalikes(term.canonical.partition(":")[0]):
        yield f"{other} exists ({note})"


__all__ = [
    "AHEAD",
    "APART",
    "DEFAULT_LIMIT",
    "KINDS",
    "LINKS",
    "Notice",
    "Quote",
    "age_days",
    "age_text",
    "build_query",
    "cost_of",
    "quote",
    "zone_apart",
]
