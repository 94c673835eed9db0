"""The price file: what people write into a CSV is read as they meant it, or refused with its line."""

from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.catalog.pricefile import COLUMNS, read_price_file
from cloudaccel.errors import ConfigError
from tests.support import price_file

GOOD = {
    "provider": "aws", "region": "us-east-1", "instance": "p5.48xlarge", "accelerator": "H100-SXM", "count": "8",
    "mem_gb_each": "80", "vcpus": "192", "memory_gib": "2048", "market": "on-demand", "price_per_hour": "55.04",
    "currency": "USD", "as_of": "2026-07-20",
}  # fmt: skip


def written(folder: Path, **changes: str) -> Path:
    cells = {**GOOD, **changes}
    return price_file(folder, ",".join(f'"{value}"' for value in cells.values()), header=",".join(cells))


def read(folder: Path, **changes: str) -> dict[str, str]:
    (row,), _, _ = read_price_file(written(folder, **changes))
    return row


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("count", "eight", "count 'eight' is no number"),
        ("count", "nan", "count 'nan' is no number"),
        ("count", "1/0", "count '1/0' is no number"),
        ("count", "1e400", "is not a count"),
        ("count", "-1", "below 0"),
        ("mem_gb_each", "eighty", "mem_gb_each: 'eighty' is no size"),
        ("mem_gb_each", "-80", "above 0"),
        ("vcpus", "inf", "vcpus: 'inf'"),
        ("memory_gib", "2TB", "memory_gib: '2TB'"),
        ("market", "barter", "market 'barter'"),
        ("market", "reserved-2y", "market 'reserved-2y'"),
        ("price_per_hour", "3,5", "'3,5' is not an amount"),
        ("price_per_hour", "-3", "'-3' is not an amount"),
        ("price_per_hour", "9e9", "'9e9' is not an amount"),
        ("price_per_hour", "1e-12", "too small"),
        ("currency", "dollars", "currency: 'DOLLARS'"),
        ("as_of", "2026-13-45", "as_of: '2026-13-45'"),
        ("as_of", "yesterday", "as_of: 'yesterday'"),
        ("availability", "maybe", "availability: 'maybe'"),
        ("instance", "\x1b[31m", "cannot be printed"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path: Path, column: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match="line 2") as caught:
        read_price_file(written(tmp_path, **{column: value}))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("column", "value", "into", "meaning"),
    [
        ("count", "0.125", "count", "1/8"),
        ("count", "8.0", "count", "8"),
        ("mem_gb_each", "80GB", "accelerator_memory_gib", "80"),
        ("provider", "AWS", "provider", "aws"),
        ("market", " Spot ", "market", "spot"),
        ("market", "flex", "market", "flex_start"),
        ("market", "capacity_block", "market", "capacity_block"),
        ("price_per_hour", "", "status", "unknown"),
        ("price_per_hour", "0", "price_per_hour", ""),
        ("price_per_hour", "5.5E+1", "price_per_hour", "55"),
        ("currency", "eur", "currency", "EUR"),
        ("currency", "", "currency", "USD"),
        ("as_of", "2026-07-20T10:00:00Z", "as_of", "2026-07-20"),
        ("accelerator", "nvidia-h100-sxm-80gb", "accelerator_id", "nvidia-h100-sxm-80gb"),
        ("region", "", "region", "global"),
    ],
)
def test_a_value_is_read_as_it_was_meant(tmp_path: Path, column: str, value: str, into: str, meaning: str) -> None:
    assert read(tmp_path, **{column: value})[into] == meaning


@pytest.mark.parametrize(
    ("market", "expected"),
    [
        ("reserved-1y", ("reserved", "1y")),
        ("Reserved_3Y", ("reserved", "3y")),
        ("savings-plan-3y", ("savings_plan", "3y")),
    ],
)
def test_a_term_is_read_out_of_the_market(tmp_path: Path, market: str, expected: tuple[str, str]) -> None:
    row = read(tmp_path, market=market)
    assert (row["market"], row["term"]) == expected


def test_a_month_has_730_hours_and_prices_nine_decimals(tmp_path: Path) -> None:
    path = price_file(tmp_path, "L4,100,2026-07-01", header="accelerator,monthly,as_of")
    (row,), _, _ = read_price_file(path)
    assert row["price_per_hour"] == "0.136986301"


def test_a_price_under_a_cent_is_doubted(tmp_path: Path) -> None:
    _, _, warnings = read_price_file(written(tmp_path, price_per_hour="0.05"))
    assert ["less than a cent" in warning for warning in warnings] == [True]


def test_a_family_is_narrowed_by_memory_and_else_doubted(tmp_path: Path) -> None:
    _, _, warnings = read_price_file(written(tmp_path, accelerator="A100", mem_gb_each="40"))
    assert all("40gb" in word for warning in warnings for word in warning.split() if word.startswith("nvidia-a100"))
    _, _, warnings = read_price_file(written(tmp_path, accelerator="A100", mem_gb_each=""))
    assert "Write the full name" in warnings[0]


def test_names_that_no_table_has_are_kept_and_said(tmp_path: Path) -> None:
    (row,), _, warnings = read_price_file(written(tmp_path, accelerator="Foo 9000", provider="nobody"))
    assert (row["accelerator_name"], row["accelerator_id"], row["provider"]) == ("Foo 9000", "", "nobody")
    assert len(warnings) == 2


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("accelerator,hourly,price_per_hour", "price_per_hour twice"),
        ("accelerator,accelerator", "accelerator twice"),
        ("accelerator,colour", "unknown column 'colour'"),
        (",,", "is empty"),
    ],
)
def test_a_heading_that_cannot_be_meant(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_price_file(price_file(tmp_path, ",".join("1" * len(header.split(","))), header=header))


def test_hour_and_month_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not both"):
        read_price_file(price_file(tmp_path, "L4,1,730", header="accelerator,hourly,monthly"))


def test_of_two_sources_the_newer_counts_and_the_other_is_noted(tmp_path: Path) -> None:
    rows = ["gcp,i,L4,1,2.0,2026-01-01,old", "gcp,i,L4,1,1.0,2026-06-01,new"]
    path = price_file(tmp_path, *rows, header="provider,instance,accelerator,count,hourly,as_of,source")
    (row,), _, _ = read_price_file(path)
    assert row["price_per_hour"] == "1"
    assert "another source says 2 (2026-01-01, from old)" in row["note"]


def test_parts_of_two_regions_are_two_offers(tmp_path: Path) -> None:
    rows = [f"gcp,{r},i,{a},{n},{p},2026-01-01,{part}" for r in ("us-east1", "us-east4")
            for a, n, p, part in (("L4", "1", "0.5", "accelerator"), ("", "", "0.25", "host"))]  # fmt: skip
    path = price_file(tmp_path, *rows, header="provider,region,instance,accelerator,count,hourly,as_of,part")
    found, _, _ = read_price_file(path)
    assert [(row["region"], Decimal(row["price_per_hour"])) for row in found] == [
        ("us-east1", Decimal("0.75")),
        ("us-east4", Decimal("0.75")),
    ]


@pytest.mark.parametrize("alias", [alias for aliases in COLUMNS.values() for alias in aliases])
def test_an_alias_is_understood(tmp_path: Path, alias: str) -> None:
    (name,) = (column for column, aliases in COLUMNS.items() if alias in aliases)
    cells = {**GOOD, "monthly": "", "offering_class": "standard", "last_seen": "2026-07-01"}
    if name == "monthly":
        cells.update(monthly="40000", price_per_hour="")
    straight, turned = (
        price_file(tmp_path, ",".join(cells.values()), header=",".join(heading), name="prices.csv").read_text("utf-8")
        for heading in (cells, [alias if column == name else column for column in cells])
    )
    assert straight != turned
    rows: list[list[dict[str, str]]] = []
    for text in (straight, turned):
        (tmp_path / "prices.csv").write_text(text, encoding="utf-8")
        rows.append(read_price_file(tmp_path / "prices.csv")[0])
    assert rows[0] == rows[1]
