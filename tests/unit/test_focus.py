"""Bills in the FOCUS format: what was really paid becomes a price, and every other row is counted with its reason."""

import csv
import gzip
import io
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudaccel.api.importing import import_focus, imported_text
from cloudaccel.catalog import focus, focus_rows
from cloudaccel.errors import ConfigError
from tests.support import price_file, run

TYPICAL = {
    "BillingCurrency": "USD", "ChargeCategory": "Usage", "ChargeClass": "", "ChargeDescription": "an hour of big.8x",
    "ChargePeriodStart": "2026-10-01T00:00:00Z", "CommitmentDiscountCategory": "", "CommitmentDiscountStatus": "",
    "CapacityReservationStatus": "", "EffectiveCost": "40", "ListCost": "50", "PricingCategory": "Standard",
    "PricingQuantity": "1", "PricingUnit": "Hours", "ProviderName": "Lambda", "RegionId": "us-east-1",
    "SkuPriceDetails": '{"InstanceType":"big.8x"}', "SkuMeter": "",
}  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    rows = (
        "lambda,us-east-1,,big.8x,H100-SXM,8,80,96,on-demand,50,USD,2026-09-01,list",
        "lambda,us-east-1,,big.8x,H100-SXM,8,80,96,reserved-1y,35,USD,2026-09-01,list",
        "lambda,us-east-1,,small.1x,H100-SXM,1,80,12,on-demand,7,USD,2026-09-01,list",
        "lambda,us-east-1,,plain.4,,,,4,on-demand,1,USD,2026-09-01,list",
    )
    return price_file(tmp_path, *rows, name="catalog.csv")


def bill(folder: Path, *rows: dict[str, str], name: str = "bill.csv") -> Path:
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, TYPICAL)
        writer.writeheader()
        writer.writerows({**TYPICAL, **row} for row in rows)
    return path


def priced(folder: Path, catalog: Path, *rows: dict[str, str]) -> list[tuple[str, str, str]]:
    done = import_focus([bill(folder, *rows)], catalog=catalog)
    return [(p.row["instance"], p.row["market"], p.row["price_per_hour"]) for p in done.prices]


def counted(folder: Path, catalog: Path, *rows: dict[str, str]) -> dict[str, int]:
    """Reasons of `rows`, beside one row that is in a price."""
    done = import_focus([bill(folder, {}, *rows)], catalog=catalog)
    assert done.used == 1
    assert [p.row["price_per_hour"] for p in done.prices] == ["40"]
    return {s.reason: s.rows for s in done.skipped}


def test_the_price_is_the_effective_cost_of_an_hour(tmp_path: Path, catalog: Path) -> None:
    """Two hours at 40 and one at 46: 42, and not the mean of the lines nor the list price."""
    rows = ({"EffectiveCost": "80", "PricingQuantity": "2", "ListCost": "100"}, {"EffectiveCost": "46"})
    done = import_focus([bill(tmp_path, *rows)], catalog=catalog)
    (price,) = done.prices
    assert (price.row["price_per_hour"], price.hours, price.cost) == ("42", 3, 126)
    assert price.under_list == Decimal(24) / 150
    assert price.row["note"] == "paid 2026-10-01 to 2026-10-01 for 3 h, 16.0% under list"
    assert (price.row["accelerator"], price.row["count"], price.row["vcpus"]) == ("nvidia-h100-sxm-80gb", "8", "96")


@pytest.mark.parametrize(
    ("unit", "quantity", "price"),
    [
        ("Hours", "1", "40"), ("Hour", "1", "40"), ("hrs", "1", "40"), ("10 Hours", "0.1", "40"),
        ("Minutes", "60", "40"), ("Seconds", "3600", "40"), ("Days", "1", "1.666666667"),
    ],
)  # fmt: skip
def test_units_of_time_become_hours(tmp_path: Path, catalog: Path, unit: str, quantity: str, price: str) -> None:
    assert priced(tmp_path, catalog, {"PricingUnit": unit, "PricingQuantity": quantity})[0][2] == price


@pytest.mark.parametrize("unit", ["vCPU-Hours", "GB-Hours", "Requests", "Units", "", "Normalized Units", "-1 Hours"])
def test_blended_units_are_no_price_of_an_hour(tmp_path: Path, catalog: Path, unit: str) -> None:
    """He would have believed that an hour of a machine costs what an hour of one of its cores costs."""
    assert counted(tmp_path, catalog, {"PricingUnit": unit}) == {"not billed by time": 1}


def test_markets_are_kept_apart(tmp_path: Path, catalog: Path) -> None:
    spend = {"PricingCategory": "Committed", "CommitmentDiscountCategory": "Spend", "EffectiveCost": "31"}
    usage = {"PricingCategory": "Committed", "CommitmentDiscountCategory": "Usage", "EffectiveCost": "30"}
    spot = {"PricingCategory": "Dynamic", "EffectiveCost": "20"}
    assert priced(tmp_path, catalog, {}, spend, usage, spot) == [
        ("big.8x", "on-demand", "40"), ("big.8x", "reserved", "30"), ("big.8x", "savings-plan", "31"),
        ("big.8x", "spot", "20"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ChargeCategory": "Credit", "EffectiveCost": "-40"}, "credits"),
        ({"ChargeCategory": "Tax"}, "tax"),
        ({"ChargeCategory": "Purchase"}, "purchases, such as a commitment's own payment"),
        ({"ChargeCategory": "Adjustment"}, "adjustments"),
        ({"ChargeCategory": "usage?"}, "cannot be read: ChargeCategory"),
        ({"ChargeClass": "Correction", "EffectiveCost": "-12"}, "corrections of an earlier period"),
        ({"CommitmentDiscountStatus": "Unused", "PricingCategory": "Committed"}, "unused hours of a commitment"),
        ({"CapacityReservationStatus": "Unused"}, "unused hours of a capacity reservation"),
        ({"EffectiveCost": "-40"}, "refunds without hours"),
        ({"PricingQuantity": "-1"}, "a cost for negative hours"),
        ({"EffectiveCost": "0"}, "free of charge, or without hours"),
        ({"PricingQuantity": "0"}, "free of charge, or without hours"),
        ({"PricingCategory": "Other"}, "a pricing category that names no market"),
        ({"PricingCategory": "Committed"}, "a pricing category that names no market"),
        ({"SkuPriceDetails": "", "ChargeDescription": "an hour of plain.4"},
         "not of an instance type with accelerators that the catalog knows"),
        ({"ChargeDescription": "small.1x or big.8x"}, "names more than one instance type"),
        ({"ProviderName": "Acme"}, "of a seller that no table knows"),
        ({"SkuMeter": "Windows big.8x"}, "with an operating system's licence, or on a dedicated host"),
        ({"EffectiveCost": "NaN"}, "cannot be read: EffectiveCost"),
        ({"EffectiveCost": "1e400"}, "cannot be read: EffectiveCost"),
        ({"EffectiveCost": "4,0"}, "cannot be read: EffectiveCost"),
        ({"PricingQuantity": ""}, "cannot be read: PricingQuantity"),
        ({"ChargePeriodStart": "yesterday", "BillingCurrency": "$"},
         "cannot be read: BillingCurrency, ChargePeriodStart"),
        ({"RegionId": ""}, "cannot be read: RegionId"),
        ({"RegionId": "=cmd()\x1b[31m"}, "cannot be read: RegionId"),
    ],
)  # fmt: skip
def test_what_is_no_price_of_an_hour_is_counted_with_its_reason(
    tmp_path: Path, catalog: Path, change: dict[str, str], reason: str
) -> None:
    assert counted(tmp_path, catalog, change) == {reason: 1}


def test_a_refund_with_its_hours_cancels_what_it_refunds(tmp_path: Path, catalog: Path) -> None:
    back = {"EffectiveCost": "-90", "PricingQuantity": "-1"}
    assert priced(tmp_path, catalog, {}, {"EffectiveCost": "90"}, back)[0][2] == "40"
    done = run("prices", "import", "--focus", str(bill(tmp_path, {}, {**back, "EffectiveCost": "-40"})))
    assert done.code == 3


def test_the_money_of_rows_left_out_is_shown(tmp_path: Path, catalog: Path) -> None:
    rows = ({**TYPICAL}, {"ChargeCategory": "Credit", "EffectiveCost": "-12.5"}, {"ChargeCategory": "Credit",
            "EffectiveCost": "-3", "BillingCurrency": "EUR"})  # fmt: skip
    answer = run("--catalog", str(catalog), "prices", "import", "--focus", str(bill(tmp_path, *rows)))
    assert answer.code == 0
    assert "2  credits (-3.00 EUR, -12.50 USD)" in answer.err
    assert "1 of 3 rows are in a price" in answer.err


ODD = st.sampled_from(
    ["", "Usage", "Credit", "-1", "0", "1", "40", "NaN", "Hours", "Unused", "Standard", "big.8x", "x"]
)
ROWS = st.lists(st.one_of(st.none(), st.dictionaries(st.sampled_from(list(TYPICAL)), ODD)), max_size=30)
MACHINE = focus.Machine(provider="lambda", instance="big.8x", accelerator="H100", count="8", vcpus="", memory_gib="")


@given(ROWS)
def test_every_row_is_in_a_price_or_counted_once(rows: list[dict[str, str] | None]) -> None:
    found = focus.read_charges((None if r is None else {**TYPICAL, **r} for r in rows), {("lambda", "big.8x"): MACHINE})
    used = sum(paid.rows for paid in found.paid.values())
    assert used + sum(s.rows for s in found.skipped.values()) == found.rows == len(rows)
    assert all((paid.per_hour() or 0) > 0 for paid in found.paid.values())


def test_the_prices_are_an_overlay_that_a_quote_takes(tmp_path: Path, catalog: Path) -> None:
    """The contract's price replaces the list; the amortised one stands beside the list's own commitments."""
    committed = {"PricingCategory": "Committed", "CommitmentDiscountCategory": "Usage", "EffectiveCost": "30"}
    out = tmp_path / "own.csv"
    words = ["prices", "import", "--focus", str(bill(tmp_path, {}, committed)), "--out", str(out)]
    assert "2 prices written" in run("--catalog", str(catalog), *words).out
    asked = ("--catalog", str(catalog), "quote", "H100:8", "--market", "any", "--price-file", str(out), "--json")
    offers = run(*asked).json["offers"]
    shown = [(o["market"]["type"], o["market"]["payment"], o["price"]["price_per_hour"]) for o in offers]
    assert shown == [("reserved", "amortised", "30"), ("reserved", None, "35"), ("on_demand", None, "40")]
    again = run("--catalog", str(catalog), *words)
    assert again.code == 2
    assert "--replace" in again.err
    assert run("--catalog", str(catalog), *words, "--replace").code == 0


def test_the_same_bills_give_the_same_file(tmp_path: Path, catalog: Path) -> None:
    first, second = bill(tmp_path, {}, name="a.csv"), bill(tmp_path, {"PricingCategory": "Dynamic"}, name="b.csv")
    assert imported_text(import_focus([first, second], catalog=catalog)) == imported_text(
        import_focus([first, second], catalog=catalog)
    )
    with pytest.raises(Exception, match="named twice"):
        import_focus([first, tmp_path / "." / "a.csv"], catalog=catalog)


def test_newer_columns_and_other_headings_are_understood(tmp_path: Path, catalog: Path) -> None:
    """FOCUS 1.3 names the seller ServiceProviderName; a warehouse may lower the case of headings and write UTC."""
    path = bill(tmp_path, {"ChargePeriodStart": "2026-10-01 05:00:00 UTC", "SkuPriceDetails": ""})
    text = path.read_text().replace("ProviderName", "serviceprovidername").replace("ChargeDescription", "x_UsageType")
    path.write_text("\ufeff" + text.replace("an hour of big.8x", "USE1-Box:big.8x"))
    (price,) = import_focus([path], catalog=catalog).prices
    assert (price.row["price_per_hour"], price.row["as_of"]) == ("40", "2026-10-01")


def parquet(folder: Path, *rows: dict[str, Any]) -> Path:
    arrow = pytest.importorskip("pyarrow")
    path = folder / "bill.parquet"
    table = arrow.Table.from_pylist([{**TYPICAL, **row} for row in rows])
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    return path


def test_parquet_with_typed_columns_is_read(tmp_path: Path, catalog: Path) -> None:
    from datetime import UTC, datetime

    when = datetime(2026, 10, 3, 7, tzinfo=UTC)
    path = parquet(tmp_path, {"EffectiveCost": Decimal("41.5"), "PricingQuantity": 2.5, "ChargePeriodStart": when})
    (price,) = import_focus([path], catalog=catalog).prices
    assert (price.row["price_per_hour"], price.row["as_of"]) == ("16.6", "2026-10-03")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ConfigError, match="no whole Parquet"):
        import_focus([path], catalog=catalog)


def test_parquet_without_its_reader_says_what_to_install(
    tmp_path: Path, catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.parquet").write_bytes(b"PAR1....")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"cloudaccel\[focus\]"):
        import_focus([tmp_path / "b.parquet"], catalog=catalog)


def test_a_packed_file_that_breaks_off_is_refused_whole(tmp_path: Path, catalog: Path) -> None:
    """He would have believed prices of half a month."""
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(bill(tmp_path, *[{**TYPICAL}] * 500).read_bytes()))
    assert import_focus([packed], catalog=catalog).used == 500
    packed.write_bytes(packed.read_bytes()[:-30])
    with pytest.raises(ConfigError, match="breaks off"):
        import_focus([packed], catalog=catalog)


def test_a_line_cut_short_is_counted(tmp_path: Path, catalog: Path) -> None:
    path = bill(tmp_path, {}, {})
    path.write_text(path.read_text()[:-60])
    done = import_focus([path], catalog=catalog)
    assert [(s.reason, s.rows, s.unreadable) for s in done.skipped] == [
        ("cannot be read: the line has another number of cells", 1, True)
    ]
    words = ("--catalog", str(catalog), "prices", "import", "--focus", str(path))
    assert (run(*words).code, run(*words, "--strict").code) == (0, 6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is no FOCUS"), (b"a,b\n1,2\n", "EffectiveCost"), (b"\xff\xfe\x00", "not UTF-8"),
        (b"x" * (focus_rows.MAX_LINE + 1), "a line of more than"), (b"<html>", "it is no FOCUS"),
        ((",".join([*TYPICAL, "EffectiveCost"]) + "\n").encode(), "twice"), (b"\x1f\x8bxx", "damaged"),
        ((",".join(TYPICAL) + "\n" + '"' + "y" * 200_000).encode(), "field larger"),
    ],
)  # fmt: skip
def test_what_is_no_focus_file_is_refused(tmp_path: Path, catalog: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bill.csv"
    path.write_bytes(content)
    answer = run("--catalog", str(catalog), "prices", "import", "--focus", str(path))
    assert (answer.code, said in answer.err) == (2, True), answer.err
    assert len(answer.err.splitlines()) == 1


def test_no_machine_with_accelerators_is_said_with_what_the_rows_are(tmp_path: Path, catalog: Path) -> None:
    path = bill(tmp_path, {"ChargeCategory": "Tax"}, {"ChargeCategory": "Tax"})
    answer = run("--catalog", str(catalog), "prices", "import", "--focus", str(path))
    assert answer.code == 3
    assert "no row of 2 gives a price. 2 rows: tax." in answer.err
    assert run("prices", "import", "--focus", str(tmp_path / "none.csv")).code == 2


def test_the_json_has_every_count(tmp_path: Path, catalog: Path) -> None:
    path = bill(tmp_path, {}, {"ChargeCategory": "Tax", "EffectiveCost": "7"})
    body = run("--catalog", str(catalog), "prices", "import", "--focus", str(path), "--json").json
    assert (body["kind"], body["rows"], body["used"], body["target"]) == ("prices", 2, 1, None)
    assert body["skipped"] == [{"reason": "tax", "rows": 1, "cost": {"USD": "7"}, "unreadable": False}]
    assert next(csv.reader(io.StringIO(run("--catalog", str(catalog), "prices", "import", "--focus", str(path)).out)))
