"""``cloudaccel refresh --compare``: our prices beside those of a catalog that somebody else hosts."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from cloudaccel.api.hosted import Difference, SideBySide, side_by_side
from cloudaccel.cli import answers, common
from cloudaccel.errors import QueryError

SHOWN = 20  # lines for each provider; --json has all


def compare(a: argparse.Namespace) -> int:
    """Say what differs; 6 with --strict when anything does."""
    if (
        a.source
        or a.out
        or a.status
        or a.coverage
        or a.diff
        or a.accept
        or a.schedule
        or a.verify
        or a.sign_with
        or a.trusted_key
    ):
        raise QueryError("--compare only shows; with it go PROVIDER, --catalog, --strict and --json.")
    done = side_by_side(a.compare, a.provider, catalog=a.catalog)
    if a.output == "json":
        answers.write(a, "refresh.compare", {"providers": [_plain(asdict(one)) for one in done]})
    else:
        common.write("".join(f"{line}\n" for one in done for line in _lines(one)))
    return 6 if a.strict and any(one.differences for one in done) else 0


def _lines(one: SideBySide) -> Sequence[str]:
    equal = one.compared - len(one.differences)
    head = (
        f"{one.provider}: {one.compared:,} compared, {equal:,} equal, {len(one.differences):,} differ; "
        f"{len(one.only_here):,} only here, {len(one.only_there):,} only there ({one.file})"
    )
    rest = len(one.differences) - SHOWN
    more = [f"  … and {rest:,} more; --json has all"] if rest > 0 else []
    return [head, *map(_line, one.differences[:SHOWN]), *more]


def _line(found: Difference) -> str:
    market = found.market.replace("_", "-")
    return (
        f"  {found.region} {found.instance} {market}  here {found.here} ({found.as_of or 'no date'}), "
        f"there {found.there} USD/h"
    )


def _plain(value: Any) -> Any:
    """Amounts and paths as text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return (
        format(value, "f") if isinstance(value, Decimal) else value if isinstance(value, int) else value and str(value)
    )
