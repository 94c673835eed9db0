"""What a catalog covers: provider, region and accelerator, how old, from which source and under which licence."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudaccel import settings
from cloudaccel.catalog import store
from cloudaccel.facts.names import short_name
from cloudaccel.facts.places import resolve_provider

_ROWS = """\
SELECT p.provider, p.partition, p.region, s.accelerator_id, s.accelerator_name, o.market, count(*),
    sum(o.amount IS NULL), min(o.as_of), max(COALESCE(o.as_of_until, o.as_of))
FROM offer o JOIN place p ON p.id = o.place JOIN shape s ON s.id = o.shape
WHERE o.current GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3
"""
_SOURCES = """\
SELECT p.provider, r.name, r.path, r.revision, r.licence, r.url, count(*), min(o.as_of),
    max(COALESCE(o.as_of_until, o.as_of))
FROM offer o JOIN place p ON p.id = o.place LEFT JOIN source r ON r.key = o.source
WHERE o.current GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 7 DESC, 2, 3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionCover:
    """One region: its accelerators by short name, the markets, and how many offers have no price."""

    partition: str
    region: str
    accelerators: tuple[str, ...]
    markets: tuple[str, ...]
    offers: int
    unpriced: int
    oldest: str | None
    newest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCover:
    """One source of a provider's prices, and how many offers come from it."""

    name: str
    path: str
    revision: str | None
    licence: str
    url: str | None
    offers: int
    oldest: str | None
    newest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """One provider: regions in order of partition and name, sources with most offers first."""

    provider: str
    regions: tuple[RegionCover, ...]
    sources: tuple[SourceCover, ...]

    @property
    def accelerators(self) -> tuple[str, ...]:
        """All of its accelerators, sorted."""
        return tuple(sorted({name for region in self.regions for name in region.accelerators}))

    @property
    def offers(self) -> int:
        """How many it has."""
        return sum(region.offers for region in self.regions)


def coverage(providers: Sequence[str] = (), *, catalog: str | Path | None = None) -> tuple[Cover, ...]:
    """What the catalog in use covers, of `providers` (none: of all), by name.

    Raises
    ------
    UnknownName
        If nobody is called as a named provider.
    """
    wanted = {resolve_provider(name) for name in providers}
    opened = store.open_catalog(None if catalog is None else str(catalog), settings.cache_dir())
    try:
        rows = opened.db.execute(_ROWS).fetchall()
        sources = opened.db.execute(_SOURCES).fetchall()
    finally:
        opened.close()
    by_region: dict[tuple[str, str, str], list[tuple[object, ...]]] = defaultdict(list)
    for provider, partition, region, *rest in rows:
        if not wanted or provider in wanted:
            by_region[provider, partition, region].append(tuple(rest))
    regions: dict[str, list[RegionCover]] = defaultdict(list)
    for (provider, partition, region), found in by_region.items():
        regions[provider].append(_region(partition, region, found))
    by_provider: dict[str, list[SourceCover]] = defaultdict(list)
    for provider, name, path, revision, licence, url, offers, oldest, newest in sources:
        by_provider[provider].append(
            SourceCover(
                name=name or "unknown", path=path or "", revision=revision, licence=licence or "unknown", url=url,
                offers=offers, oldest=oldest, newest=newest,
            )
        )  # fmt: skip
    return tuple(
        Cover(provider=name, regions=tuple(found), sources=tuple(by_provider[name]))
        for name, found in sorted(regions.items())
    )


def _region(partition: str, region: str, found: Iterable[tuple[object, ...]]) -> RegionCover:
    names: set[str] = set()
    markets: set[str] = set()
    days: set[str] = set()
    offers = unpriced = 0
    for identity, name, market, count, without, oldest, newest in found:
        names.add(short_name(str(identity)) if identity else str(name))
        markets.add(str(market))
        offers += int(str(count))
        unpriced += int(str(without))
        days |= {str(day) for day in (oldest, newest) if day}
    return RegionCover(
        partition=partition, region=region, accelerators=tuple(sorted(names)), markets=tuple(sorted(markets)),
        offers=offers, unpriced=unpriced, oldest=min(days, default=None), newest=max(days, default=None),
    )  # fmt: skip


__all__ = ["Cover", "RegionCover", "SourceCover", "coverage"]
