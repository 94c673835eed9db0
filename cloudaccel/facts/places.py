"""Who sells capacity, and where it stands: providers, partitions, regions, zones and countries, and their names.

Five tables lie beside this file, each row with its source and `as_of`, the day it was last checked against that source:
``providers.csv``, ``partitions.csv``, ``places.csv`` (regions), ``zones.csv`` (zones that stand elsewhere than their
region) and ``countries.csv``. They are read when first asked for, once per process. An empty cell is unknown.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from cloudaccel.errors import ConfigError, QueryError, UnknownName
from cloudaccel.facts.loader import numbered_rows, table_path
from cloudaccel.model.place import Country, Provider, Region

_Row = TypeVar("_Row")

_ZONE_COLUMNS = ("provider", "region", "zone", "kind", "country", "city", "aliases", "source", "as_of", "note")
_COUNTRY_COLUMNS = ("code", "name", "continent", "eu", "eea", "aliases", "source", "as_of", "note")

# Continents go by full name only: their two-letter codes are country codes too (NA is Namibia, SA Saudi Arabia,
# AF Afghanistan, AS American Samoa) or a union (EU).
_CONTINENTS = {
    "africa": "AF",
    "antarctica": "AN",
    "asia": "AS",
    "europe": "EU",
    "northamerica": "NA",
    "oceania": "OC",
    "southamerica": "SA",
}
_UNIONS = ("EU", "EEA")
_CONTINENT_TITLES = ("Africa", "Antarctica", "Asia", "Europe", "North America", "Oceania", "South America")
_PUNCTUATION = str.maketrans("", "", " -_.'’")


class Partition(NamedTuple):
    """A part of a provider with accounts, prices and rules of its own (public, government, China, sovereign).

    `operator` and `operator_country` are None where they are the provider's; if `operator` is given and
    `operator_country` is None, the country is unknown. (A named tuple: one more frozen dataclass would cost every
    command a millisecond of import.)
    """

    name: str
    provider: str
    title: str
    kind: str  # commercial, government, china, classified, sovereign, dedicated_or_alloy
    operator: str | None
    operator_country: str | None
    aliases: tuple[str, ...]
    source: str
    as_of: str
    note: str


class Zone(NamedTuple):
    """A zone that the table lists, since it does not stand where its region does.

    `kind` is ``local`` or ``wavelength`` (apart from the region, and of no use until an account enables it) or
    ``datacentre`` (one of several in a region that is a country). `names` are all that lists call it.
    """

    provider: str
    region: str
    name: str
    kind: str
    country: str | None
    city: str
    names: tuple[str, ...]


class _Zones(NamedTuple):
    """The zones of one provider: those that are listed, by any name, and the shapes of names that follow the region."""

    listed: Mapping[str, Zone]
    ordinary: tuple[re.Pattern[str], ...]
    ids: tuple[re.Pattern[str], ...]  # those of `ordinary` that are no name: each account calls the zone otherwise


@cache
def providers() -> Mapping[str, Provider]:
    """Every provider by canonical name, in file order.

    `operator_country` is that of the ultimate parent, None where no source was found: it is never guessed.
    """
    return MappingProxyType({p.name: p for p in _read("providers.csv", _columns(Provider), _provider)})


@cache
def partitions() -> Mapping[str, Partition]:
    """Every partition that differs from its provider as a whole, by canonical name.

    A provider absent here has one partition, of the provider's own name.
    """
    return MappingProxyType({p.name: p for p in _read("partitions.csv", Partition._fields, _partition)})


@cache
def regions() -> Mapping[tuple[str, str], Region]:
    """Every region by provider and name, both as the provider spells them.

    A region without a country (None) is a pseudo-region of a price list that names no place, such as ``global``, or
    one whose provider does not say. Where the table names no operator, the provider runs the region itself.
    """
    return MappingProxyType({(r.provider, r.name): r for r in _read("places.csv", _columns(Region), _region)})


@cache
def countries() -> Mapping[str, Country]:
    """Every country and territory by ISO 3166-1 alpha-2 code.

    `continent` is UN M49's (AF, AN, AS, EU, NA, OC, SA): Russia is in Europe, Cyprus and Türkiye are in Asia. `eu` is
    membership of the Union, outermost regions with a code of their own (RE, GP, MQ, GF, YT, MF) and Åland included.
    """
    return MappingProxyType({c.code: c for c, _ in _country_rows()})


def region(provider: str, name: str) -> Region | None:
    """The region called `name` at `provider`, or None; spelling as in `resolve_provider` and `resolve_region`."""
    return _region_index().get((_provider_index().get(_key(provider), provider), _region_key(name)))


@cache
def country_grid(country: str) -> tuple[float, str] | None:
    """Grams of CO2e of a kWh of the grid of a country, and what they are the average of; None when no source has it.

    It is what the table says of regions there: the newest average of the country.
    """
    known = {
        (r.carbon_scope or "", r.carbon_g_per_kwh)
        for r in regions().values()
        if r.country == country
        and r.carbon_g_per_kwh is not None
        and (r.carbon_scope or "").startswith("country average")
    }
    if not known:
        return None
    scope, grams = max(known)
    return grams or 0.0, scope


def country_of(provider: str, region: str, zone: str | None) -> str | None:
    """Country (ISO 3166-1 alpha-2) where a zone stands, or None when that is unknown.

    A zone can stand outside the country of its region: us-east-1 has zones in Mexico, Peru and Chile, eu-west-3 one
    in Morocco. A listed zone has the country of its row, whatever region it was sold under. At a provider with such
    zones, one that is neither listed nor shaped like an ordinary zone is unknown: never the region's country.
    """
    canonical = _provider_index().get(_key(provider), provider)
    zones = _zones().get(canonical) if zone else None
    if zone and zones:
        key = zone.casefold()
        if key in zones.listed:
            return zones.listed[key].country
        if not any(shape.fullmatch(key) for shape in zones.ordinary):
            return None
    found = _region_index().get((canonical, _region_key(region)))
    return found.country if found else None


def zone(provider: str, name: str) -> Zone | None:
    """The listed zone that `name` is at `provider`; None for one that stands with its region, and for no zone."""
    zones = _zones().get(_provider_index().get(_key(provider), provider))
    return zones.listed.get(name.casefold()) if zones else None


def zone_name(provider: str, name: str) -> str | None:
    """What an account calls the zone that a price list calls `name`; None where accounts call it differently.

    ``use1-az6`` is another letter in each account, and ``us-west-2-lax-1`` is two zones.
    """
    zones = _zones().get(_provider_index().get(_key(provider), provider))
    if zones is None:
        return name
    listed = zones.listed.get(name.casefold())
    if listed is None:
        return None if any(shape.fullmatch(name.casefold()) for shape in zones.ids) else name
    if listed.kind == "datacentre":
        return listed.name
    own = [other for other in listed.names[1:] if other.startswith(listed.region)]
    return name if name in own else own[0] if len(own) == 1 else None


def zones_called(name: str) -> tuple[Zone, ...]:
    """The listed zones of that name, of every provider."""
    return tuple(found for zones in _zones().values() if (found := zones.listed.get(name.casefold())))


def resolve_provider(text: str) -> str:
    """Canonical name of the provider that `text` names: a name, title or alias, in any case and punctuation.

    Raises
    ------
    UnknownName
        If there is none, with the nearest names as `choices`. A partition (``aws-gov``) is refused as well, with its
        provider as the choice, because the whole provider is more than was asked for: see `resolve_partitions`.
    """
    found = _provider_index().get(_key(text))
    if found is not None:
        return found
    parts = sorted(_partition_index().get(_key(text), ()))
    if not parts:
        raise _unknown("provider", text, _spellings(providers().values()), _SELLERS)
    owner = parts[0][0]
    raise UnknownName(
        f"'{text}' is not a provider but a part of {owner} (partition {', '.join(name for _, name in parts)}). "
        f"Name {owner}, and narrow the request by region.",
        choices=(owner,),
    )


def resolve_partitions(text: str) -> frozenset[tuple[str, str]]:
    """The (provider, partition) pairs that `text` names; a provider's name gives all of its partitions.

    ``aws-gov`` gives one pair, ``oci-gov`` the four government realms. Where a provider and its public partition
    share a name, that name means the provider; the partition alone is ``aws-commercial``, ``gcp-public``.

    Raises
    ------
    UnknownName
        If neither a provider nor a partition has that name.
    """
    provider = _provider_index().get(_key(text))
    if provider is not None:
        named = frozenset((p.provider, p.name) for p in partitions().values() if p.provider == provider)
        return named or frozenset({(provider, provider)})
    found = _partition_index().get(_key(text))
    if found is None:
        known = _spellings((*providers().values(), *partitions().values()))
        raise _unknown("provider or partition", text, known, _SELLERS)
    return found


def resolve_region(text: str) -> frozenset[tuple[str, str]]:
    """The (provider, region) pairs called `text`; several providers may use one name (``us-east-1``).

    Case and spaces do not matter (``East US`` is ``eastus``); hyphens do: ``us-east1`` and ``us-east-1`` differ.

    Raises
    ------
    UnknownName
        If no provider has such a region, with the nearest names as `choices`.
    """
    found = _regions_by_name().get(_region_key(text))
    if found is None:
        raise _unknown("region", text, sorted({name for _, name in regions()}), _REGIONS)
    return found


def resolve_countries(text: str) -> frozenset[str]:
    """ISO 3166-1 alpha-2 codes of what a comma-separated list names, in any case.

    Each part is a country code (``NO`` is Norway, ``NA`` is Namibia), ``UK``, a country's name, a union (``EU``,
    ``EEA``) or a continent by its full name (``Europe``, ``North America``). ``EU`` is the European Union, never the
    continent; the continent Europe has Switzerland, the United Kingdom and Russia in it.

    Raises
    ------
    UnknownName
        If a part names nothing here; nothing is dropped in silence.
    QueryError
        If the list is empty or has an empty part.
    """
    whole = _country_index().get(_key(text))
    if whole is not None:
        return whole
    return frozenset[str]().union(*(_countries_named(part.strip()) for part in text.split(",")))


def _countries_named(part: str) -> frozenset[str]:
    if not part:
        raise QueryError("A country list has an empty part. Give codes, names, EU, EEA or continents: DE,Norway.")
    found = _country_index().get(_key(part))
    if found is None:
        names = [*_UNIONS, *_CONTINENT_TITLES, *(c.name for c in countries().values())]
        raise _unknown(
            "country", part, names, "Give an ISO code, a country's name, EU, EEA or a continent's full name."
        )
    return found


def _key(text: str) -> str:
    return text.casefold().translate(_PUNCTUATION)


def _region_key(text: str) -> str:
    return text.casefold().replace(" ", "")


_SELLERS = "'cloudaccel refresh --status' lists those with prices."
_REGIONS = "'cloudaccel quote ACCELERATOR --limit all' shows those where it is on offer."


def _unknown(what: str, text: str, names: Iterable[str], remedy: str) -> UnknownName:
    # Here and not above: only a mistyped name should pay for the import.
    from difflib import get_close_matches

    spelled = {name.casefold(): name for name in names}
    near = tuple(spelled[hit] for hit in get_close_matches(text.casefold(), list(spelled), n=5))
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    return UnknownName(f"no {what} is called '{text}'. {hint}{remedy}", choices=near)


def _spellings(places: Iterable[Provider | Partition]) -> list[str]:
    return [name for place in places for name in (place.name, *place.aliases)]


def _read(name: str, columns: tuple[str, ...], parse: Callable[[dict[str, str]], _Row]) -> Iterable[_Row]:
    for line, row in numbered_rows(name, columns):
        try:
            parsed = parse(row)
        except (ValueError, KeyError, re.error) as error:
            raise ConfigError(f"{table_path(name)}, line {line}: {error}. Reinstall cloudaccel.") from error
        yield parsed


def _columns(kind: type[Provider | Region]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _names(cell: str) -> tuple[str, ...]:
    return tuple(cell.split("|")) if cell else ()


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _provider(row: dict[str, str]) -> Provider:
    return Provider(
        name=row["name"],
        title=row["title"],
        operator=row["operator"] or None,
        operator_country=row["operator_country"] or None,
        kind=row["kind"],
        aliases=_names(row["aliases"]),
        source=row["source"],
        as_of=row["as_of"],
        note=row["note"],
    )


def _partition(row: dict[str, str]) -> Partition:
    return Partition(
        name=row["name"],
        provider=row["provider"],
        title=row["title"],
        kind=row["kind"],
        operator=row["operator"] or None,
        operator_country=row["operator_country"] or None,
        aliases=_names(row["aliases"]),
        source=row["source"],
        as_of=row["as_of"],
        note=row["note"],
    )


def _region(row: dict[str, str]) -> Region:
    # Who runs a region is inherited as one fact: another operator's unknown country is not the provider's.
    seller = providers()[row["provider"]]
    elsewhere = row["operator"] or None
    return Region(
        provider=seller.name,
        partition=row["partition"],
        name=row["name"],
        title=row["title"],
        country=row["country"] or None,
        city=row["city"] or None,
        operator=elsewhere or seller.operator,
        operator_country=(row["operator_country"] or None) if elsewhere else seller.operator_country,
        latitude=_number(row["latitude"]),
        longitude=_number(row["longitude"]),
        carbon_g_per_kwh=_number(row["carbon_g_per_kwh"]),
        carbon_scope=row["carbon_scope"] or None,
        pue=_number(row["pue"]),
        aliases=_names(row["aliases"]),
        source=row["source"],
        as_of=row["as_of"],
        note=row["note"],
    )


def _country(row: dict[str, str]) -> tuple[Country, tuple[str, ...]]:
    flag = {"y": True, "n": False}
    country = Country(
        code=row["code"],
        name=row["name"],
        continent=row["continent"],
        eu=flag[row["eu"]],
        eea=flag[row["eea"]],
        source=row["source"],
    )
    return country, _names(row["aliases"])


@cache
def _country_rows() -> tuple[tuple[Country, tuple[str, ...]], ...]:
    return tuple(_read("countries.csv", _COUNTRY_COLUMNS, _country))


@cache
def _country_index() -> Mapping[str, frozenset[str]]:
    index: dict[str, frozenset[str]] = {}
    for country, aliases in _country_rows():
        for name in (country.code, country.name, *aliases):
            index[_key(name)] = frozenset({country.code})
    for word, continent in _CONTINENTS.items():
        index[word] = frozenset(c.code for c in countries().values() if c.continent == continent)
    index["eu"] = index["europeanunion"] = frozenset(c.code for c in countries().values() if c.eu)
    index["eea"] = index["europeaneconomicarea"] = frozenset(c.code for c in countries().values() if c.eea)
    return index


@cache
def _provider_index() -> Mapping[str, str]:
    return {_key(name): p.name for p in providers().values() for name in (p.name, p.title, *p.aliases)}


@cache
def _partition_index() -> Mapping[str, frozenset[tuple[str, str]]]:
    index: dict[str, frozenset[tuple[str, str]]] = {}
    for part in partitions().values():
        for name in {_key(name) for name in (part.name, *part.aliases)}:
            index[name] = index.get(name, frozenset()) | {(part.provider, part.name)}
    return index


@cache
def _region_index() -> Mapping[tuple[str, str], Region]:
    return {(r.provider, _region_key(name)): r for r in regions().values() for name in (r.name, *r.aliases)}


@cache
def _regions_by_name() -> Mapping[str, frozenset[tuple[str, str]]]:
    index: dict[str, set[tuple[str, str]]] = {}
    for (provider, name), found in _region_index().items():
        index.setdefault(name, set()).add((provider, found.name))
    return {name: frozenset(pairs) for name, pairs in index.items()}


@cache
def _zones() -> Mapping[str, _Zones]:
    listed: dict[str, dict[str, Zone]] = {}
    shapes: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for row in _read("zones.csv", _ZONE_COLUMNS, dict[str, str]):
        own = listed.setdefault(row["provider"], {})
        if row["kind"] in ("ordinary", "ordinary-id"):  # a regular expression: such zones stand where their region does
            shapes.setdefault(row["provider"], []).append((row["kind"], re.compile(row["zone"])))
            continue
        found = Zone(
            provider=row["provider"], region=row["region"], name=row["zone"], kind=row["kind"],
            country=row["country"] or None, city=row["city"], names=(row["zone"], *_names(row["aliases"])),
        )  # fmt: skip
        own.update((name.casefold(), found) for name in found.names)
    return {
        name: _Zones(
            listed=zones,
            ordinary=tuple(shape for _, shape in shapes.get(name, ())),
            ids=tuple(shape for kind, shape in shapes.get(name, ()) if kind == "ordinary-id"),
        )
        for name, zones in listed.items()
    }
