"""Our prices beside those of a catalog that somebody else hosts: what is equal, what differs, what only one has."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from cloudaccel import settings
from cloudaccel.catalog import store
from cloudaccel.catalog.export import offer_rows
from cloudaccel.catalog.rows import Row
from cloudaccel.errors import QueryError, UnknownName
from cloudaccel.facts.hosted import NAMESAKES, HostedRow, hosted_rows
from cloudaccel.facts.listing import ANYWHERE
from cloudaccel.facts.places import resolve_provider

FILE = "vms.csv"
NEAR = Decimal("0.005")  # of the lower price: the files round to cents, and a cent of 2 USD is no difference
_Key = tuple[str, str, str]  # region, instance, market; lower case
_MARKETS = ("on_demand", "spot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One offer on which the two disagree: `here` and `there` in USD per hour, None where that side has no price.

    `as_of` is the day (or the last day of the interval) of our price.
    """

    provider: str
    region: str
    instance: str
    market: str
    here: Decimal | None
    there: Decimal | None
    as_of: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """One provider's prices here and there."""

    provider: str
    file: Path
    compared: int
    differences: tuple[Difference, ...]
    only_here: tuple[Difference, ...]
    only_there: tuple[Difference, ...]


def side_by_side(
    path: str | Path, providers: Sequence[str] = (), *, catalog: str | Path | None = None
) -> tuple[SideBySide, ...]:
    """Compare the catalog in use with hosted files (``<cloud>/vms.csv``) below `path`, by provider.

    Parameters
    ----------
    path
        A folder of folders with a ``vms.csv``, or one such file, for which one provider is named.
    providers
        Compare these only; none: all whose folder is there.

    Raises
    ------
    QueryError
        If nothing is there to compare, or a file is not such a file.
    UnknownName
        If nobody is called as a named provider.
    """
    wanted = [resolve_provider(name) for name in providers]
    files = _files(Path(path).expanduser(), wanted)
    opened = store.open_catalog(None if catalog is None else str(catalog), settings.cache_dir())
    try:
        return tuple(
            _beside(provider, file, offer_rows(opened.db, "o.current AND p.provider = ?", (provider,)))
            for provider, file in sorted(files.items())
        )
    finally:
        opened.close()


def _files(path: Path, wanted: Sequence[str]) -> Mapping[str, Path]:
    if path.is_file():
        if len(wanted) != 1:
            raise QueryError(f"{path} is one file: name the one provider whose prices it holds.")
        return {wanted[0]: path}
    found: dict[str, Path] = {}
    for file in path.glob(f"*/{FILE}"):
        try:
            name = resolve_provider(file.parent.name)
        except UnknownName:
            continue  # a cloud that we do not know
        if file.parent.name.lower() not in NAMESAKES:
            found[name] = file
    files = {name: file for name, file in found.items() if not wanted or name in wanted}
    if not files:
        raise QueryError(
            f"{path} has no folder with a {FILE} of {', '.join(wanted) or 'a provider that we know'}. Name the folder "
            "of the catalogs (as catalogs/v8 of skypilot-org/skypilot-catalog), or one file and its provider."
        )
    return files


def _beside(provider: str, file: Path, rows: Iterable[Row]) -> SideBySide:
    here: dict[_Key, list[Row]] = defaultdict(list)
    for row in rows:
        if row["currency"] == "USD" and row["price_per_hour"] and row["market"] in _MARKETS:
            here[row["region"].lower(), row["instance"].lower(), row["market"]].append(row)
    there = _there(file)
    compared = 0
    differences: list[Difference] = []
    only_there: list[Difference] = []
    met: set[_Key] = set()
    for key, (named, prices) in there.items():
        ours = here.get(key) or here.get((ANYWHERE, *key[1:]))
        if not ours:
            only_there.append(_difference(provider, named, key[2], None, min(prices)))
            continue
        met |= {key, (ANYWHERE, *key[1:])}
        compared += 1
        pairs = [(row, Decimal(row["price_per_hour"]), price) for row in ours for price in prices]
        row, own, other = min(pairs, key=lambda pair: abs(pair[1] - pair[2]))
        if abs(own - other) > min(own, other) * NEAR:
            differences.append(_difference(provider, named, key[2], own, other, row))
    only_here = [
        Difference(
            provider=provider, region=row["region"], instance=row["instance"], market=row["market"],
            here=Decimal(row["price_per_hour"]), there=None, as_of=row["as_of_until"] or row["as_of"],
            source=row["source"],
        )
        for key, found in here.items() if key not in met
        for row in found if row["sold_per"] == "instance" and row["availability"] != "not_seen"
    ]  # fmt: skip
    return SideBySide(
        provider=provider, file=file, compared=compared, differences=_by_size(differences),
        only_here=tuple(only_here), only_there=tuple(only_there),
    )  # fmt: skip


def _there(file: Path) -> Mapping[_Key, tuple[HostedRow, list[Decimal]]]:
    """Prices of each offer by key; zones of one region come together."""
    found: dict[_Key, tuple[HostedRow, list[Decimal]]] = {}
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            for row, market, price in _priced(hosted_rows(lines)):
                found.setdefault((row.region.lower(), row.instance.lower(), market), (row, []))[1].append(price)
    except (ValueError, OSError) as error:
        raise QueryError(f"{file} cannot be compared: {error}. It is to be a {FILE} of a hosted catalog.") from None
    return found


def _priced(rows: Iterable[HostedRow]) -> Iterator[tuple[HostedRow, str, Decimal]]:
    for row in rows:
        for market, price in row.prices.items():
            if price is not None:
                yield row, market, price


def _difference(
    provider: str, named: HostedRow, market: str, here: Decimal | None, there: Decimal, row: Row | None = None
) -> Difference:
    return Difference(
        provider=provider, region=named.region, instance=named.instance, market=market, here=here, there=there,
        as_of=(row["as_of_until"] or row["as_of"]) if row else "", source=row["source"] if row else "",
    )  # fmt: skip


def _by_size(found: Iterable[Difference]) -> tuple[Difference, ...]:
    """The largest first, as a part of the lower price."""

    def size(one: Difference) -> Decimal:
        low, high = sorted((one.here or Decimal(1), one.there or Decimal(1)))
        return high / low

    return tuple(sorted(found, key=lambda one: (-size(one), one.region, one.instance, one.market)))


__all__ = ["Difference", "SideBySide", "side_by_side"]
