"""``cloudaccel refresh --coverage``: what the catalog in use covers, as a page of Markdown or as JSON."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from cloudaccel.api.coverage import Cover, RegionCover, SourceCover, coverage
from cloudaccel.cli import answers, common
from cloudaccel.errors import QueryError


def show(a: argparse.Namespace) -> int:
    """Write the page."""
    if a.source or a.out or a.status or a.diff or a.accept or a.schedule or a.verify or a.sign_with or a.trusted_key:
        raise QueryError("--coverage only shows; with it go PROVIDER, --catalog and --json.")
    found = coverage(a.provider, catalog=a.catalog)
    if a.output == "json":
        answers.write(a, "refresh.coverage", {"providers": [asdict(one) for one in found]})
    else:
        common.write("\n".join(page(found)) + "\n")
    return 0


def page(found: Sequence[Cover]) -> Iterator[str]:
    """Lines of Markdown: a table of providers, then for each its sources and its regions."""
    yield from _table(
        ("provider", "regions", "accelerators", "offers", "without a price", "seen"),
        (
            (
                one.provider, f"{len(one.regions)}", f"{len(one.accelerators)}", f"{one.offers:,}",
                f"{sum(region.unpriced for region in one.regions):,}", _seen(one.regions),
            )
            for one in found
        ),
    )  # fmt: skip
    for one in found:
        yield ""
        yield f"## {one.provider}"
        yield ""
        yield from _table(("source", "licence", "offers", "seen"), map(_source, one.sources))
        yield ""
        yield from _table(
            ("region", "accelerators", "markets", "offers", "seen"),
            (_region(region, one.provider) for region in one.regions),
        )


def _source(source: SourceCover) -> tuple[str, ...]:
    revision = f" @ {source.revision[:12]}" if source.revision else ""
    return f"{source.name} {source.path}{revision}", source.licence, f"{source.offers:,}", _seen((source,))


def _region(region: RegionCover, provider: str) -> tuple[str, ...]:
    apart = f" ({region.partition})" if region.partition != provider else ""
    markets = ", ".join(market.replace("_", "-") for market in region.markets)
    offers = f"{region.offers:,}" + (f", {region.unpriced:,} without a price" if region.unpriced else "")
    return f"{region.region}{apart}", ", ".join(region.accelerators), markets, offers, _seen((region,))


def _seen(parts: Iterable[RegionCover | SourceCover]) -> str:
    days = sorted({day for part in parts for day in (part.oldest, part.newest) if day})
    if not days:
        return "no date"
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
