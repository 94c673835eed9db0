"""Every verb at once, several times, on one cache that nobody has built yet."""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudaccel.catalog import store
from cloudaccel.testing.cloud import FakeCloud
from cloudaccel_oci.prices import BASE_URL as OCI
from tests.e2e.test_refresh_live import products
from tests.support import PATIENCE_S, run

pytestmark = [pytest.mark.network, pytest.mark.slow]
TUNE = ("plan", "--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "200e6",
        "--deadline", "12h", "--provider", "aws")  # fmt: skip
EACH = 2


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    with FakeCloud() as fake:
        fake.serve("/oci/", products(B98415=11))
        monkeypatch.setenv("CLOUDACCEL_MIRRORS", f"{OCI}={fake.url}/oci/")
        yield fake


def test_every_verb_at_once_on_a_cache_that_is_not_built(
    cloud: FakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that builds must not give another half a catalog, nor a refresh be lost to who builds after it."""
    assert cloud.url
    lock, cache = tmp_path / "plan.lock.json", tmp_path / "cache"
    assert run(*TUNE, "--lock", str(lock)).code == 0
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(cache))
    verbs = (
        ("quote", "H100:8", "--json"), ("explain", "p5.48xlarge"), (*TUNE, "--json", "--lock", "-"),
        ("compare", "--option", "rent:H100-SXM:8", "--option", "own:8xH100", "--country", "FR"), ("policy", "list"),
        ("refresh", "--status"), ("doctor",), ("verify", str(lock)), ("refresh", "oci"),
    )  # fmt: skip
    started = [
        (words, subprocess.Popen(
            [sys.executable, "-m", "cloudaccel", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ))
        for _ in range(EACH) for words in verbs
    ]  # fmt: skip
    for words, process in started:
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, bool(out)) == (0, True), (words, out[-500:], err)
        assert "Traceback" not in err
        assert "damaged" not in err
    assert sorted(path.name.partition("-")[0] for path in cache.iterdir()) == [
        "bundled", "catalog.sqlite", "refresh.json", "refresh.lock",
    ]  # fmt: skip
    for path in cache.glob("*.sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        opened = store.open_file(path)
        assert opened is not None
        opened.close()
    (offer,) = run("quote", "H100:8", "--provider", "oci", "--json").json["offers"]
    assert offer["price"]["price_per_hour"] == "88"
