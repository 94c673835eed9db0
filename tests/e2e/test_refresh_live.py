"""`cloudaccel refresh` against sellers' lists on this machine: what it takes, refuses, keeps and never says."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.api.renewing import renew_prices
from cloudaccel.catalog import build, fetch, store
from cloudaccel.errors import StorageError
from cloudaccel.testing.cloud import Asked, FakeCloud, Reply
from cloudaccel_lambda.prices import BASE_URL as LAMBDA
from cloudaccel_oci.prices import BASE_URL as OCI
from tests.support import PATIENCE_S, run, until

pytestmark = pytest.mark.network
SAMPLE = json.loads((Path(__file__).parents[1] / "golden/prices/oci_gpu_2023.json").read_text())
NOW = datetime(2026, 11, 27, 6, tzinfo=UTC)
CANARY = "canary-5f1b90"
HANG_S = 10 * PATIENCE_S  # a seller that hangs does so for longer than any test


def products(**prices: float) -> bytes:
    """The real parts, those named with another price per accelerator-hour."""
    body = json.loads(json.dumps(SAMPLE))
    for item in body["items"]:
        for local in item["currencyCodeLocalizations"]:
            for price in local["prices"]:
                if item["partNumber"] in prices and price["value"]:
                    price["value"] = prices[item["partNumber"]]
    return json.dumps(body).encode()


@pytest.fixture
def cache(tmp_path: Path, built_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own with the bundled catalog in it."""
    assert run("quote", "H100", "--limit", "1").code == 0
    folder = tmp_path / "cache"
    shutil.copytree(built_cache, folder)
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def cloud(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    """Oracle's list, and Lambda's, which asks for a key."""
    with FakeCloud(hang_s=HANG_S) as fake:
        fake.serve("/oci/", products())
        fake.serve("/lambda", lambda _: Reply(status=401, body=CANARY.encode()))
        monkeypatch.setenv("CLOUDACCEL_MIRRORS", f"{OCI}={fake.url}/oci/, {LAMBDA}={fake.url}/lambda")
        yield fake


def h100() -> dict[str, Any]:
    (offer,) = run("quote", "H100:8", "--provider", "oci", "--json").json["offers"]
    price: dict[str, Any] = offer["price"]
    return price


def live(*words: str) -> tuple[int, Mapping[str, Any], str]:
    answer = run("refresh", *words, "--json")
    return answer.code, answer.json, answer.err


def test_a_refresh_brings_the_sellers_price_and_its_date(cloud: FakeCloud) -> None:
    cloud.serve("/oci/", products(B98415=11))
    code, body, _ = live("oci")
    assert code == 0
    assert h100()["price_per_hour"] == "88"
    assert h100()["as_of"][:10] == datetime.now(UTC).date().isoformat()
    assert h100()["source"]["name"] == "Oracle Cloud price list"
    assert body["providers"][0]["moved"] == 1


def test_a_list_that_says_the_same_writes_nothing(cloud: FakeCloud, cache: Path) -> None:
    assert live("oci")[0] == 0
    before = (cache / "catalog.sqlite").stat()
    code, body, _ = live("oci")
    assert (code, body["catalog_id"]) == (0, None)
    after = (cache / "catalog.sqlite").stat()  # reading alone changes the time of the last access
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_snapshot_is_written_and_said_to_be_where_no_price_changed(cloud: FakeCloud, tmp_path: Path) -> None:
    assert live("oci")[0] == 0
    done = run("refresh", "oci", "--out", str(tmp_path / "snap.zip"))
    assert (tmp_path / "snap.zip").exists()
    assert done.out.splitlines()[-1] == f"written to {tmp_path / 'snap.zip'}; no price changed"


def test_a_list_that_its_source_says_is_unchanged_is_not_sent_again_and_is_as_of_today(
    cloud: FakeCloud, cache: Path
) -> None:
    def route(asked: Asked) -> Reply:
        if asked.headers.get("if-none-match") == '"v1"':
            return Reply(status=304)
        return Reply(body=products(B98415=11), headers={"ETag": '"v1"'})

    cloud.serve("/oci/", route)
    assert renew_prices(["oci"], now=NOW).providers[0].status == "ok"
    assert h100()["as_of"] == "2026-11-27"
    cloud.asked.clear()
    (same,) = renew_prices(["oci"], now=NOW + timedelta(hours=1)).providers
    assert (same.status, same.moved, len(cloud.asked)) == ("ok", 0, 1)
    (later,) = renew_prices(["oci"], now=NOW + timedelta(days=1)).providers
    assert (later.status, len(cloud.asked)) == ("ok", 2)
    assert (h100()["price_per_hour"], h100()["as_of"]) == ("88", "2026-11-28")
    # Prices that were replaced since are read again, whatever the source says of its list.
    (cache / "catalog.sqlite").unlink()
    assert renew_prices(["oci"], now=NOW + timedelta(days=1)).catalog_id is not None
    assert h100()["price_per_hour"] == "88"


def test_diff_shows_and_writes_nothing(cloud: FakeCloud, cache: Path) -> None:
    cloud.serve("/oci/", products(B98415=11))
    answer = run("refresh", "oci", "--diff")
    assert "  oci global BM.GPU.H100.8 on-demand  80 USD/h → 88 USD/h" in answer.out
    assert "Nothing was written." in answer.out
    assert not (cache / "catalog.sqlite").exists()


@pytest.mark.parametrize("fault", ["cut", "html", "reset", "error", "empty", "hostile"])
def test_a_list_that_cannot_be_had_leaves_every_old_row(cloud: FakeCloud, cache: Path, fault: str) -> None:
    """A failed reading must neither empty the cloud nor pass for fresh prices."""
    assert live("oci")[0] == 0
    before = (cache / "catalog.sqlite").read_bytes()
    body = {"hostile": b'{"items": [' + b"[" * 50_000, "empty": b""}.get(fault, products(B98415=9))
    damaged = Reply(body=body, fault=fault if fault in ("cut", "html", "reset") else "")
    cloud.damage = lambda _number, _reply: Reply(status=404) if fault == "error" else damaged
    code, found, err = live("oci")
    assert code == 8
    assert found["providers"][0]["status"] == "failed"
    assert found["providers"][0]["kept_as_of"]
    assert "oci" in err
    assert (cache / "catalog.sqlite").read_bytes() == before


def test_one_seller_failing_leaves_the_others_alone_and_strict_says_so(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDA_API_KEY", CANARY)
    cloud.serve("/oci/", products(B98415=11))
    code, body, _ = live("oci", "lambda")
    assert {p["provider"]: p["status"] for p in body["providers"]} == {"oci": "ok", "lambda": "failed"}
    assert code == 0
    assert h100()["price_per_hour"] == "88"
    assert live("oci", "lambda", "--strict")[0] == 6
    assert live("lambda")[0] == 7


def test_a_key_that_is_not_set_is_said_and_skipped_unless_the_seller_was_named(cloud: FakeCloud) -> None:
    assert live("lambda")[0] == 7
    answer = run("refresh", "lambda", "oci")
    assert "LAMBDA_API_KEY" in answer.err


def test_u116_no_credential_is_in_any_output_or_file(
    cloud: FakeCloud, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDA_API_KEY", CANARY)
    said = ""
    for reply in (Reply(status=401, body=CANARY.encode()), Reply(body=b"<" + CANARY.encode()), Reply(fault="reset")):
        cloud.then(*[reply] * 5)
        for words in (("lambda", "oci"), ("lambda", "--json"), ("--status",)):
            answer = run("refresh", *words)
            said += answer.out + answer.err
    assert any(asked.headers.get("authorization") == f"Bearer {CANARY}" for asked in cloud.asked)
    assert CANARY not in said
    assert not [path for path in cache.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_a_poisoned_price_is_shown_without_an_amount_and_believed_when_seen_on_another_day(
    cloud: FakeCloud, cache: Path
) -> None:
    """One row of 0.10 for an H100 must not be anybody's cheapest offer."""
    cloud.serve("/oci/", products(B98415=0.1))
    (first,) = renew_prices(["oci"], now=NOW).providers
    assert (first.status, first.held) == ("ok", 1)
    assert h100()["price_per_hour"] is None
    assert h100()["status"] == "quarantined"
    assert renew_prices(["oci"], now=NOW + timedelta(hours=1)).providers[0].held == 1
    assert run("refresh", "--status").code == 0
    assert renew_prices(["oci"], now=NOW + timedelta(days=1)).providers[0].held == 0
    assert h100()["price_per_hour"] == "0.8"


def test_u109_offline_opens_no_socket(cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(socket.socket):
        def __init__(self, *_: object, **__: object) -> None:
            raise AssertionError("a socket was opened under --offline")

    monkeypatch.setattr(socket, "socket", Refused)
    for words in (["refresh"], ["refresh", "oci"], ["refresh", "--status"], ["quote", "H100:8"]):
        answer = run("--offline", *words)
        assert answer.code == (0 if "--status" in words or "quote" in words else 2)
    assert "--offline was given" in run("--offline", "refresh").err
    assert cloud.asked == []


def test_a_full_disk_leaves_the_old_catalog(cloud: FakeCloud, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert live("oci")[0] == 0
    before = (cache / "catalog.sqlite").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build, "_sync", full)
    cloud.serve("/oci/", products(B98415=11))
    answer = run("refresh", "oci")
    assert answer.code == 2
    assert "No space left" in answer.err
    assert (cache / "catalog.sqlite").read_bytes() == before


def start(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "cloudaccel", "refresh", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_zip_bomb_is_refused_with_bounded_memory(cloud: FakeCloud) -> None:
    """A megabyte that unfolds to a gigabyte: read whole, it would take the machine with it."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(pack.compress(b" " * (1 << 20)) for _ in range(1024)) + pack.flush()
    cloud.damage = lambda _number, _reply: Reply(body=bomb, headers={"Content-Encoding": "gzip"})
    # Not ru_maxrss: that begins with what the process that started this one had.
    script = (
        "import sys; from cloudaccel.cli import main; code = main(['refresh', 'oci']); "
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 8, done.stderr
    assert "is longer than" in done.stderr
    assert int(done.stderr.split()[-1]) / 1024 <= 128  # MiB; the same bound holds for a good list


@pytest.mark.slow
def test_killed_at_any_moment_the_catalog_is_whole_and_old_or_new(cloud: FakeCloud, cache: Path) -> None:
    assert live("oci")[0] == 0
    whole = 0
    for number in range(12):
        price = 10 + number % 2
        cloud.serve("/oci/", products(B98415=price))
        refresh = start("oci")
        time.sleep(0.1 + number * 0.08)
        refresh.send_signal(signal.SIGKILL)
        refresh.communicate()
        opened = store.open_catalog(None, cache)
        assert not opened.warnings
        assert opened.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        opened.close()
        assert h100()["price_per_hour"] in ("80", "88")
        whole += 1
    assert whole == 12


def test_prices_put_in_place_while_a_refresh_stood_still_are_not_replaced_by_older_ones(
    cloud: FakeCloud, cache: Path
) -> None:
    """Machines that share a folder without locks: one is frozen after its last look at its lease, and wakes up late."""
    assert live("oci")[0] == 0
    newer = cache / "newer"
    shutil.copy(cache / "catalog.sqlite", newer)

    def frozen() -> None:
        os.replace(newer, cache / "catalog.sqlite")

    cloud.serve("/oci/", products(B98415=11))
    there = newer.stat().st_ino
    with pytest.raises(StorageError, match="stood still"):
        renew_prices(["oci"], still=frozen)
    assert (cache / "catalog.sqlite").stat().st_ino == there
    assert h100()["price_per_hour"] == "80"
    assert not list(cache.glob(".building-*"))
    assert live("oci")[0] == 0
    assert h100()["price_per_hour"] == "88"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="nothing freezes a process there")
def test_on_one_machine_a_refresh_waits_for_a_frozen_one_and_no_price_goes_back(cloud: FakeCloud, cache: Path) -> None:
    """Stopped within its write, it has the lock still: the second neither overtakes it nor is overtaken."""
    assert live("oci")[0] == 0
    cloud.serve("/oci/", products(B98415=11))
    script = (
        "import os, signal; from cloudaccel.api.renewing import renew_prices;"
        "renew_prices(['oci'], still=lambda: os.kill(os.getpid(), signal.SIGSTOP))"
    )
    frozen = subprocess.Popen([sys.executable, "-c", script])
    try:
        while os.waitid(os.P_PID, frozen.pid, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is None:
            assert frozen.poll() is None
            time.sleep(0.02)
        cloud.serve("/oci/", products(B98415=12))
        second = start("oci")
        time.sleep(1.5)
        assert second.poll() is None
        assert h100()["price_per_hour"] == "80"
    finally:
        frozen.send_signal(signal.SIGCONT)
    assert frozen.wait(PATIENCE_S) == 0
    second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0
    assert h100()["price_per_hour"] == "96"


@pytest.mark.slow
def test_ctrl_c_while_a_seller_hangs_ends_at_once(cloud: FakeCloud) -> None:
    cloud.then(Reply(body=b"{}" * 100, fault="hang"))
    refresh = start("oci")
    until(lambda: cloud.asked or refresh.poll() is not None)
    refresh.send_signal(signal.SIGINT)
    _, err = refresh.communicate(timeout=PATIENCE_S)  # the seller hangs for longer
    assert refresh.returncode == 130
    assert "interrupted" in err


@pytest.mark.slow
def test_two_refreshes_at_once_lose_no_seller(cloud: FakeCloud, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def types(_asked: Asked) -> Reply:
        specs = {"vcpus": 208, "memory_gib": 1800, "gpus": 8}
        kind = {"gpu_description": "H100 (80 GB SXM5)", "price_cents_per_hour": 2392, "specs": specs}
        entry = {"instance_type": kind, "regions_with_capacity_available": [{"name": "us-east-1"}]}
        return Reply(body=json.dumps({"data": {"gpu_8x_h100_sxm5": entry}}).encode())

    monkeypatch.setenv("LAMBDA_API_KEY", CANARY)
    cloud.serve("/lambda", types)
    both = [start("oci"), start("lambda", "--accept")]
    said = [process.communicate(timeout=PATIENCE_S) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    today = datetime.now(UTC).date().isoformat()
    newest = {p.split()[0]: today in p for p in run("refresh", "--status").out.splitlines() if p.strip()}
    assert newest["oci"]
    assert newest["lambda"]


@pytest.mark.slow
def test_a_schedule_runs_at_the_start_shows_the_next_run_and_ends_on_sigterm(cloud: FakeCloud, cache: Path) -> None:
    cloud.serve("/oci/", products(B98415=11))
    keeper = start("oci", "--schedule", "6h")
    try:
        until(lambda: h100()["price_per_hour"] == "88")
        # The prices are there a moment before it says when it comes again.
        until(lambda: f"schedule '6h' by process {keeper.pid}, next at" in run("refresh", "--status").out)
        assert run("refresh", "--status", "--json").json["schedule"]["process"] == keeper.pid
        second = run("refresh", "oci", "--schedule", "6h")
        assert second.code == 2
        assert "another process" in second.err
        assert h100()["price_per_hour"] == "88"
    finally:
        keeper.send_signal(signal.SIGTERM)
        out, err = keeper.communicate(timeout=PATIENCE_S)
    assert (keeper.returncode, err) == (0, "")
    assert "moved  ok" in out
    assert "by process" not in run("refresh", "--status").out
    # Started over and over, it does not ask the seller over and over.
    asked = len(cloud.asked)
    again = start("oci", "--schedule", "6h")
    try:
        until(lambda: f"by process {again.pid}, next at" in run("refresh", "--status").out)
    finally:
        again.send_signal(signal.SIGTERM)
        assert again.communicate(timeout=PATIENCE_S) == ("", "")
    assert (again.returncode, len(cloud.asked)) == (0, asked)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("CLOUDACCEL_MIRRORS", "prices.azure.com", "PUBLISHED=MIRROR"),
        ("CLOUDACCEL_CA_FILE", "/nowhere.pem", "is no file"),
        ("CLOUDACCEL_PROXY", "proxy:3128", "http://proxy.example:3128"),
    ],
)
def test_a_setting_that_cannot_be_is_said(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    monkeypatch.setenv(setting, value)
    answer = run("refresh", "oci")
    assert answer.code == 2
    assert said in answer.err


def test_u110_a_blocked_host_is_named_and_quotes_go_on(cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.environ["CLOUDACCEL_MIRRORS"]
    monkeypatch.setenv("CLOUDACCEL_MIRRORS", f"{OCI}=http://127.0.0.1:1/")
    answer = run("refresh", "oci")
    assert answer.code == 8
    assert "127.0.0.1" in answer.err
    assert "verif" not in answer.err
    assert run("quote", "H100:8", "--provider", "oci").code == 0


def test_u115_a_feed_that_goes_bad_over_night_keeps_yesterdays_rows(cloud: FakeCloud, cache: Path) -> None:
    """A list with a few of yesterday's rows parses well, and would have emptied the cloud."""
    assert live("oci")[0] == 0
    before = (cache / "catalog.sqlite").read_bytes()
    cloud.serve("/oci/", json.dumps({"items": SAMPLE["items"][:1]}).encode())
    code, body, err = live("oci", "--strict")
    assert (code, body["providers"][0]["status"]) == (6, "refused")
    assert live("oci")[0] == 0
    assert "shrank" in err
    assert (cache / "catalog.sqlite").read_bytes() == before
    assert "shrank" in run("refresh", "--status").out


def test_u121_a_page_that_hangs_ends_at_its_deadline(cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a source hangs on, the refresh ends and the old rows stay."""
    monkeypatch.setattr(fetch, "DEADLINE_S", 0.5)
    monkeypatch.setattr(fetch.run_all, "__kwdefaults__", {"workers": 2, "deadline_s": 0.5})
    cloud.then(Reply(status=429, headers={"Retry-After": "0"}), Reply(body=b"{}" * 99, fault="hang"))
    began = time.monotonic()
    code, body, err = live("oci")
    assert (code, body["providers"][0]["status"]) == (8, "failed")
    assert "deadline" in err
    assert time.monotonic() - began < PATIENCE_S  # the page hangs for longer
