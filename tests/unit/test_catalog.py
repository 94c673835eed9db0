"""The catalog over time: segments replaced one by one, versions of a price, and the id of it all."""

import contextlib
import sqlite3
from collections.abc import Generator, Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.catalog.build import Builder, offer_id, publishing, segments
from cloudaccel.catalog.export import offer_rows
from cloudaccel.catalog.history import offer_by_id, price_on, versions
from cloudaccel.catalog.load import build_rows_in_memory
from cloudaccel.catalog.query import run_query
from cloudaccel.catalog.rows import OFFER_COLUMNS, Row
from cloudaccel.catalog.session import accelerator_table
from cloudaccel.errors import StorageError
from cloudaccel.facts import places
from cloudaccel.model import Query, Source

SOURCE = Source(id="s", name="list", path="", revision=None, licence="MIT", url=None)


def row(region: str, price: str, as_of: str = "2026-07-01", instance: str = "p5.48xlarge", **more: str) -> Row:
    cells = {
        "provider": "aws", "partition": "aws", "region": region, "service": "vm", "instance": instance,
        "accelerator_id": "nvidia-h100-sxm-80gb", "accelerator_name": "H100", "count": "8", "hosts": "1",
        "sold_per": "instance", "market": "on_demand", "price_per_hour": price, "currency": "USD",
        "status": "exact" if price else "unknown", "availability": "listed", "as_of": as_of, "source": "s",
    }  # fmt: skip
    return {**dict.fromkeys(OFFER_COLUMNS, ""), **cells, **more}


def _unknown(_provider: str, _region: str) -> None:
    return None


def builder(db: sqlite3.Connection) -> Builder:
    return Builder(db, places.country_of, _unknown)


def build(path: Path, rows: Iterable[Mapping[str, str]], *, start_from: Path | None = None) -> tuple[str, list[bool]]:
    """Publish a catalog; its id, and which segments changed."""
    with publishing(path, start_from=start_from) as db:
        making = builder(db)
        making.add_sources([SOURCE])
        changed = [making.replace_segment(key, members) for key, members in segments(rows)]
        return making.finish(built_from="test"), changed


@contextlib.contextmanager
def opened(path: Path) -> Generator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        yield db


def prices(path: Path) -> dict[str, Decimal | None]:
    with opened(path) as db:
        found = run_query(db, Query(limit=None), accelerator_table()).offers
    return {f"{offer.region}/{offer.instance}": offer.price.amount for offer in found}


EAST, WEST = row("us-east-1", "55.04"), row("us-west-2", "60")


def test_only_what_changed_is_replaced(tmp_path: Path) -> None:
    first, second = tmp_path / "1.sqlite", tmp_path / "2.sqlite"
    _, changed = build(first, [EAST, WEST])
    assert changed == [True, True]
    cheaper = row("us-west-2", "50", "2026-08-01")
    identity, changed = build(second, [EAST, cheaper], start_from=first)
    assert changed == [False, True]
    assert prices(second) == {"us-east-1/p5.48xlarge": Decimal("55.04"), "us-west-2/p5.48xlarge": Decimal(50)}
    assert prices(first)["us-west-2/p5.48xlarge"] == 60  # readers of the old file go on
    assert identity == build(tmp_path / "3.sqlite", [EAST, cheaper])[0]  # the same as built from nothing


def test_the_id_is_of_the_content(tmp_path: Path) -> None:
    small = row("us-east-1", "6.88", instance="p5.4xlarge", count="1")
    one = build(tmp_path / "1.sqlite", [EAST, small, WEST])[0]
    assert one == build(tmp_path / "2.sqlite", [WEST, small, EAST])[0]
    assert one != build(tmp_path / "3.sqlite", [EAST, WEST])[0]


def test_what_is_gone_keeps_its_history(tmp_path: Path) -> None:
    first, second = tmp_path / "1.sqlite", tmp_path / "2.sqlite"
    small = row("us-east-1", "6.88", instance="p5.4xlarge", count="1")
    build(first, [EAST, small])
    build(second, [EAST], start_from=first)
    assert "us-east-1/p5.4xlarge" not in prices(second)
    with opened(second) as db:
        gone = offer_by_id(db, offer_id(small))
        assert gone is not None
        assert [v.amount for v in versions(db, gone.id)] == [Decimal("6.88")]
        assert [r["instance"] for r in offer_rows(db)] == ["p5.48xlarge"]


def test_versions_of_a_price_and_the_price_on_a_day(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    build(path, [row("us-east-1", "98.32", "2025-06-01")])
    for number, (price, day) in enumerate([("98.32", "2025-06-04"), ("55.04", "2025-06-05"), ("55.04", "2026-07-20")]):
        build(tmp_path / f"{number}.sqlite", [row("us-east-1", price, day)], start_from=path)
        path = tmp_path / f"{number}.sqlite"
    identity = offer_id(EAST)
    with opened(path) as db:
        assert [(v.from_at, v.until_at, v.amount) for v in versions(db, identity)] == [
            ("2025-06-01", "2025-06-04", Decimal("98.32")),
            ("2025-06-05", "2026-07-20", Decimal("55.04")),
        ]
        days = ("2025-05-31", "2025-06-04", "2030-01-01")
        held = {day: price_on(db, identity, date.fromisoformat(day)) for day in days}
    assert held["2025-05-31"] is None
    assert [v.amount for v in held.values() if v] == [Decimal("98.32"), Decimal("55.04")]


def test_past_prices_of_what_is_not_sold_any_more(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    past = {**row("us-east-1", "24.48", instance="p3.16xlarge"), "from_at": "2020-01-01", "until_at": ""}
    with publishing(path) as db:
        making = builder(db)
        assert making.add_history([past]) == 1
        making.finish(built_from="test")
    with opened(path) as db:
        (version,) = versions(db, offer_id(past))
        assert (version.from_at, version.until_at, version.amount) == ("2020-01-01", "2020-01-01", Decimal("24.48"))
        assert run_query(db, Query(), accelerator_table()).total == 0


def test_a_build_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    build(path, [EAST])
    before = path.read_bytes()
    broken = {**EAST, "count": "1/0"}
    with pytest.raises(ZeroDivisionError):
        build(path, [WEST, broken])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.sqlite"]


def test_a_source_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        build(tmp_path / "c.sqlite", [EAST], start_from=tmp_path / "gone.sqlite")


def test_an_unchanged_row_that_is_put_again_is_the_same_offer(tmp_path: Path) -> None:
    first, second = tmp_path / "1.sqlite", tmp_path / "2.sqlite"
    build(first, [EAST])
    build(second, [{**EAST, "note": "seen again"}], start_from=first)
    with opened(second) as db:
        assert db.execute("SELECT count(*) FROM offer").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM price_version").fetchone() == (1,)


def test_a_quarantined_price_is_never_an_amount() -> None:
    rows = [row("us-east-1", "0.01", status="quarantined")]
    with contextlib.closing(build_rows_in_memory(rows, [SOURCE], built_from="test")) as catalog:
        (offer,) = run_query(catalog.db, Query(), accelerator_table()).offers
    assert (offer.price.amount, offer.price.status, offer.apart) == (None, "quarantined", ("unknown_price",))


def test_a_reservation_that_is_partly_paid_at_the_start_never_ranks_by_its_hours_alone() -> None:
    """The user would have taken half the cost of a machine for all of it: the rest is paid on the first day."""
    terms = {"market": "reserved", "term": "1y", "offering_class": "standard"}
    part = row("us-east-1", "15", payment="partial_upfront", upfront="130000", **terms)
    none = row("us-east-1", "31", payment="no_upfront", **terms)
    block = row("us-east-1", "40", market="capacity_block", upfront="960")
    asked = Query(markets=(("reserved", None), ("capacity_block", None)))
    with contextlib.closing(build_rows_in_memory([part, none, block], [SOURCE], built_from="test")) as catalog:
        found = run_query(catalog.db, asked, accelerator_table())
    assert [(offer.price.amount, offer.apart) for offer in found.offers] == [
        (Decimal(31), ()), (Decimal(40), ()), (Decimal(15), ("upfront",)),
    ]  # fmt: skip
