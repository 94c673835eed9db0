"""Price tables become snapshot rows: what is kept, what is refused, and what each seller's notes mean."""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.catalog import snapshot
from cloudaccel.catalog.ingest import TABLE_COLUMNS, Ingested, ingest
from cloudaccel.catalog.ingest_joins import attachable
from cloudaccel.catalog.ingest_notes import month_span, read_notes
from cloudaccel.catalog.ingest_rows import RowRefusedError, count_of
from cloudaccel.catalog.ingest_sources import Sources
from cloudaccel.catalog.rows import HISTORY_COLUMNS, OFFER_COLUMNS, Row
from cloudaccel.catalog.snapshot_write import write_snapshot
from cloudaccel.errors import ConfigError

GOLDEN = Path(__file__).parents[1] / "golden/ingest"
HOST_COLUMNS = (
    "provider", "region", "instance_type", "vcpus", "memory_gib", "price_kind", "price_usd_per_hour", "source_repo",
    "source_path", "source_commit", "as_of",
)  # fmt: skip
ADVICE_COLUMNS = (
    "provider", "region", "instance_type", "os", "savings_pct", "interruption_range", "source_repo", "source_path",
    "source_commit", "as_of",
)  # fmt: skip


@pytest.fixture(scope="module")
def golden() -> Ingested:
    return ingest(GOLDEN / "prices")


def table_row(**changes: str) -> dict[str, str]:
    row = dict.fromkeys(TABLE_COLUMNS, "")
    row |= {
        "provider": "aws", "region": "us-east-1", "instance_type": "p5.48xlarge", "accelerator": "H100",
        "accelerator_count": "8", "accelerator_memory_gib": "80", "vcpus": "192", "memory_gib": "2048",
        "price_kind": "on_demand", "price_usd_per_hour": "55.04", "currency": "USD", "source_repo": "yeo/ec2.shop",
        "source_path": "a.json", "source_commit": "951cd0d", "as_of": "2026-07-20",
        "accelerator_id": "nvidia-h100-sxm-80gb", "price_native_per_hour": "55.04",
    }  # fmt: skip
    return row | changes


def put(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def ingested(folder: Path, *rows: Mapping[str, str]) -> Ingested:
    put(folder / "prices/table.csv", TABLE_COLUMNS, rows)
    return ingest(folder / "prices")


def one(result: Ingested, **wanted: str) -> Row:
    found = [row for row in result.offers if wanted.items() <= row.items()]
    assert len(found) == 1, f"{len(found)} offers have {wanted}"
    return found[0]


# -- the golden tables -------------------------------------------------------------------------------------------------


def _csv(columns: tuple[str, ...], rows: Iterable[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def test_golden_tables_become_the_golden_rows(golden: Ingested) -> None:
    made = {
        "offers.csv": _csv(OFFER_COLUMNS, golden.offers),
        "history.csv": _csv(HISTORY_COLUMNS, golden.history),
        "report.json": json.dumps(golden.report.as_dict(), indent=1) + "\n",
    }
    for name, content in made.items():
        if os.environ.get("REWRITE_GOLDEN"):
            (GOLDEN / name).write_text(content, encoding="utf-8", newline="")
        assert content == (GOLDEN / name).read_text(encoding="utf-8"), name


def test_golden_rows_make_a_snapshot(golden: Ingested, tmp_path: Path) -> None:
    when = datetime(2026, 11, 25, tzinfo=UTC)
    write_snapshot(tmp_path, offers=golden.offers, history=golden.history, sources=golden.sources, created_at=when)
    manifest = snapshot.verify(tmp_path)
    assert sum(file.rows for file in manifest.files) == len(golden.offers) + len(golden.history)
    assert {source.id for source in manifest.sources} == {source.id for source in golden.sources}


@pytest.mark.parametrize(
    ("region", "instance", "price", "count", "accelerator"),
    [
        ("us-east-1", "p5.48xlarge", "55.04", "8", "nvidia-h100-sxm-80gb"),
        ("us-east-1", "trn1.32xlarge", "21.5", "16", "aws-trainium1"),
        ("us-east-2", "trn2.48xlarge", "85.964", "16", "aws-trainium2"),
        ("us-east-1", "dl1.24xlarge", "13.10904", "8", "intel-gaudi1"),
        ("us-gov-west-1", "p5.48xlarge", "66.048", "8", "nvidia-h100-sxm-80gb"),
        ("us-central1", "a3-highgpu-8g", "88.4899999", "8", "nvidia-h100-sxm-80gb"),
        ("eastus", "Standard_ND96isr_H100_v5", "98.32", "8", "nvidia-h100-sxm-80gb"),
        ("swedencentral", "Standard_ND96isr_MI300X_v5", "67.2", "8", "amd-mi300x"),
        ("global", "BM.GPU.MI300X.8", "48", "8", "amd-mi300x"),
    ],
)
def test_known_prices_keep_the_digits_of_the_source(
    golden: Ingested, region: str, instance: str, price: str, count: str, accelerator: str
) -> None:
    row = one(golden, region=region, instance=instance, zone="", market="on_demand")
    assert (row["price_per_hour"], row["count"], row["accelerator_id"]) == (price, count, accelerator)
    assert (row["status"], row["sold_per"], row["hosts"]) == ("exact", "instance", "1")


@pytest.mark.parametrize(
    ("instance", "price", "chips", "hosts"), [("v5litepod-8", "9.6", "8", "1"), ("v5p-8", "16.8", "4", "1")]
)
def test_tpu_slices_go_by_the_vendors_name_and_count_chips(
    golden: Ingested, instance: str, price: str, chips: str, hosts: str
) -> None:
    rows = [row for row in golden.offers if row["instance"] == instance and row["market"] == "on_demand"]
    assert rows
    assert {(row["price_per_hour"], row["count"], row["hosts"]) for row in rows} == {(price, chips, hosts)}


def test_a_big_slice_has_several_hosts(golden: Ingested) -> None:
    assert {int(row["hosts"]) for row in golden.offers if row["instance"] == "v5litepod-64"} <= {8, 16}


def test_places_give_the_partition(golden: Ingested) -> None:
    partitions = {row["region"]: row["partition"] for row in golden.offers}
    assert (partitions["us-east-1"], partitions["cn-north-1"]) == ("aws", "aws-cn")
    assert partitions["us-gov-west-1"] not in ("aws", "")
    assert {row["currency"] for row in golden.offers if row["region"] == "cn-north-1"} == {"CNY"}


# -- U01: the whole price or none --------------------------------------------------------------------------------------


def test_u01_an_attached_accelerator_is_sold_with_its_host(golden: Ingested) -> None:
    row = one(golden, instance="n1-standard-8+nvidia-tesla-t4x2", market="on_demand")
    assert row["parts"] == "nvidia-tesla-t4=2*0.35;n1-standard-8=1*0.379998"
    assert row["price_per_hour"] == "1.079998"
    assert (row["vcpus"], row["memory_gib"], row["count"], row["hosts"]) == ("8", "30", "2", "1")
    assert not [row for row in golden.offers if row["instance"].startswith("attach/")]


def test_hosts_stay_within_the_limits_of_the_accelerator(golden: Ingested) -> None:
    hosts = {row["instance"].partition("+")[0] for row in golden.offers if row["instance"].endswith("-v100x1")}
    # A V100 takes 12 vCPUs and 78 GB at most; highcpu hosts are none that we offer.
    assert hosts == {"n1-standard-4", "n1-standard-8", "n1-highmem-8", "host"}


def test_a_host_without_a_price_leaves_the_whole_unknown(golden: Ingested) -> None:
    row = one(golden, instance="host+nvidia-tesla-t4x2", market="spot")
    assert (row["status"], row["price_per_hour"]) == ("unknown", "")
    assert row["parts"] == "nvidia-tesla-t4=2*0.175;host=1*?"


def test_the_older_of_two_dates_counts(tmp_path: Path) -> None:
    host = {
        "provider": "gcp", "region": "us-central1", "instance_type": "n1-standard-4", "vcpus": "4", "memory_gib": "15",
        "price_kind": "on_demand", "price_usd_per_hour": "0.19", "as_of": "2024-01-01",
        "source_repo": "Cyclenerd/google-cloud-pricing-cost-calculator",
    }  # fmt: skip
    put(tmp_path / "prices/hosts.csv", HOST_COLUMNS, [host])
    t4 = table_row(
        provider="gcp", region="us-central1", instance_type="attach/nvidia-tesla-t4x1", accelerator="T4",
        accelerator_id="nvidia-t4", accelerator_count="1", price_usd_per_hour="0.35", price_native_per_hour="",
        source_repo="skypilot-org/skypilot-catalog",
    )  # fmt: skip
    row = ingested(tmp_path, t4).offers[0]
    assert (row["as_of"], row["as_of_until"], row["price_per_hour"]) == ("2024-01-01", "", "0.54")
    assert row["source"].startswith("skypilot-catalog")  # of two licences the narrower


def test_u01_a_price_without_its_host_is_no_price(golden: Ingested) -> None:
    for provider in ("coreweave", "modal", "salad"):
        row = one(golden, provider=provider)
        assert (row["status"], row["price_per_hour"], row["sold_per"]) == ("unknown", "", "accelerator")
        assert row["parts"].startswith("accelerator=1*")
        assert row["parts"].endswith(";host=1*?")


def test_an_accelerator_that_no_table_attaches_is_refused(tmp_path: Path) -> None:
    row = table_row(instance_type="attach/nvidia-tesla-t4x3")
    assert ingested(tmp_path, row).report.refused == {"no table says which hosts may carry the accelerator": 1}


def test_every_attachment_has_one_limit_that_holds_in_any_zone() -> None:
    limits = attachable()
    assert len(limits) == 13
    assert all(sum(not limit.zones for limit in each) == 1 for each in limits.values())


# -- U04, U05: no price is 0 -------------------------------------------------------------------------------------------


def test_u04_an_empty_price_is_unknown(tmp_path: Path) -> None:
    row = ingested(tmp_path, table_row(price_usd_per_hour="", price_native_per_hour="")).offers[0]
    assert (row["status"], row["price_per_hour"]) == ("unknown", "")


@pytest.mark.parametrize("price", ["0", "0.00", "-1"])
def test_u05_a_price_of_zero_is_refused_and_counted(tmp_path: Path, price: str) -> None:
    free = table_row(instance_type="p4d.24xlarge", price_usd_per_hour=price, price_native_per_hour="")
    report = ingested(tmp_path, table_row(), free).report
    assert report.refused == {"price is not above 0": 1}
    assert (report.refusals[0].file, report.refusals[0].line) == ("table.csv", 3)
    assert report.offers == {"aws": 1}


def test_u05_capacity_blocks_are_a_market_of_their_own(golden: Ingested) -> None:
    blocks = [row for row in golden.offers if row["market"] == "capacity_block" and row["provider"] == "aws"]
    assert {(row["term"], row["upfront"], row["price_per_hour"]) for row in blocks if row["status"] == "exact"} == {
        ("24h", "283", "11.79166667"),
        ("19h", "228", "12"),
        ("43h", "511", "11.88372093"),
    }
    assert {row["payment"] for row in blocks} == {"all_upfront"}
    assert {row["price_per_hour"] for row in blocks if row["status"] == "quarantined"} == {""}


# -- what is kept apart ------------------------------------------------------------------------------------------------


def test_a_price_of_before_the_cut_is_quarantined_and_becomes_history(golden: Ingested) -> None:
    row = one(golden, instance="p5.48xlarge", region="us-east-1", offering_class="convertible")
    assert (row["status"], row["price_per_hour"], row["upfront"]) == ("quarantined", "", "")
    assert "the price was 77.427 USD" in row["note"]
    past = [v for v in golden.history if v["instance"] == "p5.48xlarge" and v["offering_class"] == "convertible"]
    assert [(v["price_per_hour"], v["from_at"], v["until_at"]) for v in past] == [
        ("77.427", "2025-04-05", "2025-04-05")
    ]


def test_u02_spot_dearer_than_on_demand_is_kept_and_marked(golden: Ingested) -> None:
    row = one(golden, instance="runpod-a100-sxm-spot")
    assert row["price_per_hour"] == "2.17"
    assert "spot_not_cheaper: on demand it is 1.49" in row["note"]
    assert golden.report.flags["spot_not_cheaper"] >= 1


def test_two_prices_for_one_offer_are_both_kept_out(tmp_path: Path) -> None:
    result = ingested(tmp_path, table_row(), table_row(price_usd_per_hour="1", price_native_per_hour="1"))
    assert [(row["status"], row["price_per_hour"]) for row in result.offers] == [("quarantined", "")]
    assert "another row says 1, this one said 55.04" in result.offers[0]["note"]
    assert result.report.refused == {"two prices for one offer": 1}


def test_the_same_row_twice_counts_once(tmp_path: Path) -> None:
    result = ingested(tmp_path, table_row(), table_row())
    assert (len(result.offers), result.report.refused) == (1, {"the same offer twice": 1})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"region": "us-nowhere-9"}, "region not in the table of places"),
        ({"provider": "nobody"}, "region not in the table of places"),
        ({"price_kind": "lease"}, "price_kind not known"),
        ({"accelerator_count": "many"}, "accelerator_count is no number"),
        ({"accelerator_count": "0"}, "accelerator_count is no simple fraction above 0"),
        ({"accelerator_count": "0.29"}, "accelerator_count is no simple fraction above 0"),
        ({"vcpus": "-3"}, "vcpus is no number"),
        ({"offered": "perhaps"}, "offered not known"),
        ({"price_usd_per_hour": "cheap", "price_native_per_hour": ""}, "price is no number"),
        ({"price_native_per_hour": "54"}, "two prices that differ"),
        ({"price_usd_per_hour": "nan", "price_native_per_hour": ""}, "price is not above 0"),
        ({"price_usd_per_hour": "1e999999999", "price_native_per_hour": ""}, "price is beyond any machine's"),
        ({"price_usd_per_hour": "1e-999999999", "price_native_per_hour": ""}, "price is beyond any machine's"),
        ({"as_of": "yesterday"}, "as_of: 'yesterday' is not a date such as 2026-07-30"),
        ({"currency": "$"}, "currency: '$' is not a currency code such as USD"),
        ({"accelerator": ""}, "accelerator_name: is empty"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused_with_its_reason(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    result = ingested(tmp_path, table_row(**changes))
    assert not result.offers
    assert result.report.refused == {reason: 1}


# -- which card --------------------------------------------------------------------------------------------------------


def test_a_row_without_an_id_is_of_the_card_that_its_name_and_memory_name(tmp_path: Path) -> None:
    """The table of accelerators grew, and offers that had been there before it were in no answer."""
    row = ingested(tmp_path, table_row(accelerator="RTX3060", accelerator_memory_gib="12", accelerator_id="")).offers[0]
    assert row["accelerator_id"] == "nvidia-rtx-3060-12gb"
    for name, memory in (("H100", "80"), ("RTX4090", "48"), ("X9000", "12")):  # two forms; not the maker's; no card
        changes = {"accelerator": name, "accelerator_memory_gib": memory, "accelerator_id": ""}
        row = ingested(tmp_path, table_row(**changes)).offers[0]
        assert (row["accelerator_id"], row["accelerator_name"], row["accelerator_memory_gib"]) == ("", name, memory)


def test_traps_72_92_a_card_that_the_seller_left_open_is_not_chosen_for_him(tmp_path: Path) -> None:
    """U03: each H100 of a market was shown as SXM, at 989 TFLOP/s, since the table needs a row to point to."""
    where = {"provider": "akash", "region": "global", "payment_option": ""}
    row = ingested(tmp_path, table_row(**where, instance_type="akash-h100-marketplace")).offers[0]
    assert (row["accelerator_id"], row["accelerator_name"]) == ("", "H100")
    assert row["note"].endswith("its form is not stated")
    where["provider"] = "hyperstack"
    row = ingested(tmp_path, table_row(**where, instance_type="hyperstack-h100-nvlink-on-demand")).offers[0]
    assert row["accelerator_id"] == "nvidia-h100-pcie-80gb"


def test_a_data_centre_that_is_filed_under_two_regions_is_one_offer_where_it_stands(tmp_path: Path) -> None:
    """U03: the same machine stood in two rows at one price, and one of them was said to be in Norway."""
    row = table_row(provider="runpod", region="NO", zone="EU-SE-1", instance_type="8x_H100_SECURE")
    result = ingested(tmp_path, row, {**row, "region": "SE"})
    assert [(offer["region"], offer["zone"]) for offer in result.offers] == [("SE", "EU-SE-1")]
    assert "its source files the zone under NO" in result.offers[0]["note"]
    assert result.report.refused == {"the same offer twice": 1}


def test_a_past_price_that_came_and_went_is_left_out_with_its_place(tmp_path: Path) -> None:
    """U03: eight A100 in Poland stood at 7.69 for a month between 46.86 and 46.89, as the cheapest there ever were."""
    columns = (
        "provider", "region", "instance_type", "price_kind", "currency", "price_native_per_hour", "first_commit_date",
        "last_commit_date", "source_repo", "source_path",
    )  # fmt: skip
    plain = {
        "provider": "aws", "region": "us-east-1", "instance_type": "p5.48xlarge", "price_kind": "on_demand",
        "currency": "USD", "source_repo": "aws/karpenter-provider-aws", "source_path": "a.go",
    }  # fmt: skip
    seen = (("46.861", "2023-11-07"), ("7.692", "2025-05-16"), ("46.89", "2026-04-02"))
    for kind in ("on_demand", "spot"):  # spot moves freely, and may come back
        rows = [
            {**plain, "price_kind": kind, "price_native_per_hour": price, "first_commit_date": d, "last_commit_date": d}
            for price, d in seen
        ]
        folder = tmp_path / kind
        put(folder / "prices/history/changes.csv", columns, rows)
        found = ingested(folder, table_row())
        prices = [row["price_per_hour"] for row in found.history]
        assert prices == (["46.861", "46.89"] if kind == "on_demand" else ["46.861", "7.692", "46.89"])
        assert [(r.file, r.line) for r in found.report.refusals] == (
            [("history/changes.csv", 3)] if kind == "on_demand" else []
        )


# -- counts, memory, dates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [("8", "8"), ("0.5", "1/2"), ("0.3333", "1/3"), ("0.1667", "1/6"), ("0.125", "1/8"), ("1/6", "1/6"), ("", "None")],
)
def test_u34_shares_are_exact(text: str, count: str) -> None:
    assert str(count_of(text)) == count


@pytest.mark.parametrize("text", ["0.15", "-1", "1/0", "nan", "1e400"])
def test_a_count_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RowRefusedError):
        count_of(text)


@pytest.mark.parametrize(
    ("instance", "count", "memory"),
    [("Standard_NV6ads_A10_v5", "1/6", "4"), ("g6f.large", "1/8", "3"), ("g4-standard-6", "1/8", "12")],
)
def test_u34_the_memory_of_a_share_is_that_of_the_share(
    golden: Ingested, instance: str, count: str, memory: str
) -> None:
    # The first and third source give the whole card's memory, the second the share's.
    rows = [row for row in golden.offers if row["instance"] == instance]
    assert {(row["count"], row["accelerator_memory_gib"]) for row in rows} == {(count, memory)}


def test_a_slice_of_unknown_size_keeps_its_stated_memory(golden: Ingested) -> None:
    row = one(golden, provider="netcup")
    assert (row["count"], row["accelerator_memory_gib"], row["hosts"]) == ("", "7", "")


def test_nominal_memory_stands_and_a_sellers_other_figure_is_noted(golden: Ingested) -> None:
    row = one(golden, provider="akash")
    assert row["accelerator_memory_gib"] == "270"
    assert "the source says 180 GB for one" in row["note"]


def test_a_modified_card_is_not_the_makers_card(golden: Ingested) -> None:
    row = one(golden, instance="gpuhub-rtx-4090-48gb-on-demand")
    assert (row["accelerator_id"], row["accelerator_name"], row["accelerator_memory_gib"]) == (
        "",
        "RTX4090 modified",
        "48",
    )


def test_a_count_that_no_source_states_stays_unknown(golden: Ingested) -> None:
    row = one(golden, instance="Standard_NC128ds_xl_RTXPRO6000BSE_v6")
    assert (row["count"], row["hosts"], row["status"]) == ("", "", "exact")


@pytest.mark.parametrize(
    ("changes", "dates"),
    [
        ({}, ("2026-07-20", "")),
        ({"published_at": "2026-06-18T03:43:41Z"}, ("2026-06-18", "")),
        ({"published_at": "2026-08-01T00:00:00Z"}, ("2026-07-20", "")),
        ({"as_of": "", "published_at": "2026-06-18T03:43:41Z"}, ("2026-06-18", "")),
        ({"as_of": "", "notes": "source commit date unknown"}, ("2025-11-01", "2026-08-31")),
        (
            {"as_of": "", "notes": "source commit date unknown: content lies between 2025-08 and 2026-02"},
            ("2025-08-01", "2026-02-28"),
        ),
        ({"notes": "Provider page references July 2024; prices may be stale"}, ("2024-07-01", "2026-07-20")),
        ({"as_of": ""}, ("", "")),
    ],
)
def test_the_older_date_is_the_honest_one(tmp_path: Path, changes: dict[str, str], dates: tuple[str, str]) -> None:
    row = ingested(tmp_path, table_row(**changes)).offers[0]
    assert (row["as_of"], row["as_of_until"]) == dates


def test_rows_without_a_date_are_counted(tmp_path: Path) -> None:
    report = ingested(
        tmp_path, table_row(as_of=""), table_row(region="us-east-2", as_of="", notes="source commit date unknown")
    ).report
    assert (report.undated, report.intervals) == (1, 1)


def test_a_month_ends_on_its_last_day() -> None:
    assert month_span("2025-11", "2028-02") == ("2025-11-01", "2028-02-29")


# -- what notes mean ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("note", "fields", "left"),
    [
        ("price per GPU-hour; tier community; Hopper", {"sold_per": "accelerator", "class": "community"}, "Hopper"),
        ("price per GPU-hour; tier secure; x", {"sold_per": "accelerator", "class": "secure"}, "x"),
        ("tier spot; Spot price estimated (-56%)", {"status": "estimated"}, "Spot price estimated (-56%)"),
        ("Serverless billing per second", {"service": "serverless"}, "Serverless billing per second"),
        ("a; ; b;", {}, "a; b"),
    ],
)
def test_notes_are_read_and_what_columns_say_is_dropped(note: str, fields: dict[str, str], left: str) -> None:
    reading = read_notes(note, "x")
    assert (reading.fields, reading.note) == (fields, left)


def test_u79_community_and_secure_are_told_apart(golden: Ingested) -> None:
    classes = {row["instance"]: row["offering_class"] for row in golden.offers if row["provider"] == "runpod"}
    assert classes == {
        "1x_A100-80GB_SECURE": "secure",
        "runpod-a100-sxm-spot": "",
        "runpod-a100-sxm-secure": "secure",
        "runpod-a100-sxm-community": "community",
    }


def test_u76_marketplace_rows_say_so(golden: Ingested) -> None:
    row = one(golden, instance="vast-ai-h100-sxm-on-demand")
    assert (row["service"], row["offering_class"], row["sold_per"]) == ("marketplace", "marketplace", "accelerator")
    assert "cheapest live offer" in row["note"]
    assert one(golden, instance="vast-ai-h100-sxm-spot")["status"] == "estimated"


def test_services_of_one_provider_are_services(golden: Ingested) -> None:
    rows = [row for row in golden.offers if row["service"].startswith("sagemaker")]
    assert {(row["provider"], row["service"], row["payment"]) for row in rows} == {
        ("aws", "sagemaker-hosting", ""),
        ("aws", "sagemaker-async-inference", ""),
    }


def test_u69_commitments_of_unlike_kinds_are_told_apart(golden: Ingested) -> None:
    reserved = {
        (r["provider"], r["term"], r["payment"], r["offering_class"])
        for r in golden.offers
        if r["market"] == "reserved"
    }
    assert reserved == {
        ("aws", "1y", "no_upfront", "convertible"),
        ("aws", "3y", "no_upfront", "standard"),
        ("gcp", "1y", "monthly", "committed_use"),
        ("gcp", "3y", "monthly", "committed_use"),
    }


def test_u82_what_is_priced_but_not_sold_says_so(golden: Ingested) -> None:
    states = {
        (row["instance"], row["region"]): row["availability"] for row in golden.offers if row["market"] == "on_demand"
    }
    assert states["a2-highgpu-1g", "africa-south1"] == "not_seen"
    assert states["a3-ultragpu-8g", "us-central1"] == "not_sold"
    assert states["Standard_NC12_Promo", "australiaeast"] == "not_sold"
    assert states["Standard_ND96isr_H100_v5", "eastus"] == "listed"


def test_traps_40_42_a_price_that_its_source_calls_wrongly_has_its_own_way_to_buy(golden: Ingested) -> None:
    """He would have believed that eight B200 cost 90.22 on demand, and a v6e slice 10.80 as spot."""
    a4 = one(golden, instance="a4-highgpu-8g", offering_class="calendar")
    assert (a4["market"], a4["price_per_hour"], a4["availability"]) == ("capacity_block", "90.216", "listed")
    assert "its source calls it on demand" in a4["note"]
    assert not [r for r in golden.offers if r["instance"] == "a4-highgpu-8g" and r["market"] == "on_demand"]
    flex = one(golden, instance="v6e-8", region="us-east5")
    assert (flex["market"], flex["price_per_hour"], flex["availability"]) == ("flex_start", "10.8", "listed")


def test_what_is_not_proved_of_a_price_is_said_and_changes_nothing(golden: Ingested) -> None:
    for name, place in (("v6e-8", "asia-south1"), ("v5litepod-8", "us-east5")):
        row = one(golden, instance=name, region=place)
        assert (row["market"], row["status"], row["availability"]) == ("spot", "exact", "offered")
        assert "it may be that price and not spot" in row["note"]


def test_a_rule_holds_for_its_price_alone(tmp_path: Path) -> None:
    prices = {"10.8": "8", "11.2264": "8", "10.80": "4", "1e999999999": "8", "10.8000": "", "10.800": "1/0"}
    slices = [
        table_row(
            provider="gcp", region="us-east5", zone=f"z{n}", instance_type="tpu-v6e-8", price_kind="spot",
            accelerator="TPUv6e", accelerator_id="google-tpu-v6e", accelerator_count=count, price_usd_per_hour=price,
            price_native_per_hour="", accelerator_memory_gib="", vcpus="", memory_gib="",
        )
        for n, (price, count) in enumerate(prices.items())
    ]  # fmt: skip
    found = {row["zone"]: row["market"] for row in ingested(tmp_path, *slices).offers}
    assert found.pop("z0") == "flex_start"
    assert set(found.values()) == {"spot"}


def test_a_list_of_what_is_sold_dates_the_sale(golden: Ingested) -> None:
    row = one(golden, instance="trn1.32xlarge", region="us-east-1", market="on_demand")
    assert (row["availability"], row["last_seen"]) == ("offered", "2026-08-01")
    assert one(golden, instance="dl1.24xlarge")["availability"] == "not_seen"


# -- estimates ---------------------------------------------------------------------------------------------------------


def _advised(folder: Path, *offers: dict[str, str], **changes: str) -> Ingested:
    advice = {
        "provider": "aws", "region": "us-east-1", "instance_type": "p5.48xlarge", "os": "Linux", "savings_pct": "87",
        "interruption_range": "<5%", "source_repo": "alexei-led/spotinfo", "source_path": "advisor.json",
        "source_commit": "5eedf20", "as_of": "2025-06-28",
    }  # fmt: skip
    put(folder / "prices/advice.csv", ADVICE_COLUMNS, [advice | changes])
    return ingested(folder, *offers)


def test_a_spot_price_is_estimated_only_where_none_is_known(tmp_path: Path) -> None:
    spot = one(_advised(tmp_path, table_row()), market="spot")
    assert (spot["price_per_hour"], spot["status"], spot["as_of"]) == ("7.1552", "estimated", "2025-06-28")
    assert Decimal("55.04") * Decimal("0.13") == Decimal(spot["price_per_hour"])
    assert "interrupted <5%" in spot["note"]
    known = _advised(tmp_path, table_row(), table_row(price_kind="spot", zone="use1-az1"))
    assert [row["status"] for row in known.offers] == ["exact", "exact"]
    assert known.report.unused == {"advice where a spot price is known": 1}


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"os": "Windows"}, {"advice for another system than Linux": 1}),
        ({"region": "us-east-2"}, {"advice where no on-demand price is known": 1}),
    ],
)
def test_advice_that_gives_no_estimate_is_counted(tmp_path: Path, changes: dict[str, str], counted: object) -> None:
    assert _advised(tmp_path, table_row(), **changes).report.unused == counted


def test_advice_that_is_no_percentage_is_refused(tmp_path: Path) -> None:
    report = _advised(tmp_path, table_row(), savings_pct="100").report
    assert report.refused == {"savings_pct is no percentage below 100": 1}


def test_nothing_is_estimated_from_a_quarantined_price(tmp_path: Path) -> None:
    before = table_row(notes="before the June 2025 P4/P5 price cut")
    assert len(_advised(tmp_path, before).offers) == 1


# -- history -----------------------------------------------------------------------------------------------------------


def test_history_has_the_key_of_the_current_offer(golden: Ingested) -> None:
    current = one(golden, instance="p5.48xlarge", region="us-east-1", market="on_demand", zone="")
    versions = [v for v in golden.history if v["instance"] == "p5.48xlarge" and v["market"] == "on_demand"]
    assert all(v[column] == current[column] for v in versions for column in ("service", "accelerator_id", "count"))
    observed = {(v["price_per_hour"], v["from_at"], v["until_at"]) for v in versions if "tracker" in v["source"]}
    assert observed == {("98.32", "2025-04-23", "2025-06-04"), ("55.04", "2025-06-05", "2026-08-22")}


def test_a_retired_type_is_kept_without_an_accelerator(golden: Ingested) -> None:
    retired = [v for v in golden.history if v["instance"] == "Standard_NC6"]
    assert retired
    assert {v["accelerator_id"] for v in retired} == {""}


def test_chip_prices_are_for_one_chip_and_mixed_units_are_refused(golden: Ingested) -> None:
    chips = [v for v in golden.history if v["note"] == "per chip"]
    assert {(v["market"], v["count"], v["price_per_hour"]) for v in chips} == {
        ("on_demand", "1", "1.2"),
        ("spot", "1", "0.51"),
    }
    assert golden.report.refused == {"the source mixes units": 1}


def test_a_table_that_cannot_be_mapped_is_reported(golden: Ingested) -> None:
    assert list(golden.report.skipped) == ["history/full_stack_cloud_gpus_2025-03.csv"]


# -- sources and folders -----------------------------------------------------------------------------------------------


def test_sources_have_short_names_a_licence_and_an_address() -> None:
    sources = Sources()
    known = sources.of("yeo/ec2.shop", "data/ec2/us-east-1-ondemand.json", "951cd0d425fd")
    assert (known.id, known.licence) == ("ec2.shop@951cd0d/ec2/us-east-1-ondemand", "MIT")
    assert known.url == "https://github.com/yeo/ec2.shop/blob/951cd0d425fd/data/ec2/us-east-1-ondemand.json"
    assert sources.of("yeo/ec2.shop", "data/ec2/us-east-1-ondemand.json", "951cd0d425fd") is known
    stranger = sources.of("who/ever", "x.csv", "")
    assert (stranger.licence, stranger.revision) == ("unknown", None)
    assert sources.stricter(known, stranger) is stranger
    assert sources.stricter(stranger, known) is stranger
    assert sources.of("public source (repository not recorded)", "", "").url is None


def test_sources_whose_short_names_agree_stay_apart() -> None:
    sources = Sources()
    paths = ("a/x/y.csv", "b/x/y.csv")
    assert len({sources.of("who/ever", path, "abcdef0").id for path in paths}) == 2


@pytest.mark.parametrize("content", [None, "a,b\n1,2\n", ""])
def test_a_folder_without_a_price_table_is_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "x.csv").write_text(content)
    with pytest.raises(ConfigError, match=r"price-tables\.md"):
        ingest(tmp_path)


@pytest.mark.parametrize("content", [b"provider,region\naws,\xff\n", b'provider\n"open\n', b"provider\naws,more\n"])
def test_a_file_that_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"odd\.csv"):
        ingest(tmp_path)


def test_a_byte_order_mark_in_a_price_table_does_no_harm(tmp_path: Path) -> None:
    ingested(tmp_path, table_row())
    path = tmp_path / "prices/table.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(ingest(tmp_path / "prices").offers) == 1


def test_the_same_tables_give_the_same_rows(tmp_path: Path, golden: Ingested) -> None:
    shutil.copytree(GOLDEN, tmp_path / "copy")
    again = ingest(tmp_path / "copy/prices")
    assert (again.offers, again.history, again.sources) == (golden.offers, golden.history, golden.sources)


# -- the snapshot that ships -------------------------------------------------------------------------------------------

BUNDLED = Path(__file__).parents[2] / "pricing_cache"


@pytest.mark.skipif(not BUNDLED.exists(), reason="not a checkout")
def test_the_bundled_snapshot_is_whole_and_attributed() -> None:
    manifest = snapshot.verify(BUNDLED)
    assert {"aws", "azure", "gcp", "oci"} <= set(manifest.providers())
    notice = (BUNDLED.parent / "NOTICE").read_text(encoding="utf-8")
    assert [source.name for source in manifest.sources if source.name not in notice] == []
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) < 8_000_000
