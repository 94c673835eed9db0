"""What `quote` prints: forms, columns, limits, and the manners of a pipe."""

import csv
import io
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.support import column, price_file, run

ROWS = (
    "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on-demand,55.04,USD,2026-07-20,list",
    "gcp,europe-west4,,a3-highgpu-8g,H100-SXM,8,80,208,on-demand,88.49,USD,2026-07-30,list",
    "azure,westeurope,,Standard_NC40ads_H100_v5,H100-NVL,1,94,40,on-demand,,USD,2026-07-30,list",
    "alibaba,cn-beijing,,ecs.gn8,H100-SXM,8,80,192,on-demand,100,CNY,2026-07-30,list",
)


@pytest.fixture
def catalog(tmp_path: Path) -> str:
    return str(price_file(tmp_path, *ROWS))


def test_u113_csv_obeys_columns_and_time(catalog: str) -> None:
    answer = run(
        "--catalog", catalog, "quote", "H100:8", "--columns", "provider,region,price", "--per", "month", "--csv"
    )
    rows = list(csv.reader(io.StringIO(answer.out)))
    assert rows[0] == ["provider", "region", "price_per_month"]
    assert Decimal(rows[1][2]) == Decimal("55.04") * 730


def test_csv_is_plain(catalog: str) -> None:
    rows = list(csv.DictReader(io.StringIO(run("--catalog", catalog, "quote", "H100", "--csv").out)))
    assert [row["price_per_hour"] for row in rows] == ["55.04", "88.49", "100", ""]
    assert {row["currency"] for row in rows} == {"USD", "CNY"}


def test_the_envelope(catalog: str) -> None:
    body = run("--catalog", catalog, "quote", "H100:8", "--residency", "EU", "--json").json
    assert body["schema"] == "cloudaccel/v1"
    assert body["complete"] is True
    assert body["catalog"]["id"].startswith("sha256:")
    assert column(body["offers"], "country") == ["NL"]
    assert body["offers"][0]["price"]["price_per_accelerator_hour"] == "11.06125"
    assert body["hidden"] == [{"reason": "residency", "count": 2, "text": "outside EU"}]


def test_other_currencies_are_apart_until_they_are_asked_for(catalog: str) -> None:
    offers = run("--catalog", catalog, "quote", "H100:8", "--json").json["offers"]
    assert offers[-1]["apart"] == ["other_currency"]
    first = run("--catalog", catalog, "quote", "H100:8", "--currency", "CNY", "--json").json["offers"][0]
    assert (first["price"]["currency"], first["apart"]) == ("CNY", [])


def test_several_nodes_multiply_the_request_and_its_limit(catalog: str) -> None:
    offers = run("--catalog", catalog, "quote", "H100-SXM:8x2", "--json").json["offers"]
    assert offers[0]["price"]["request_price_per_hour"] == "110.08"
    limited = run("--catalog", catalog, "quote", "H100-SXM:8x2", "--max-hourly", "110", "--json")
    assert limited.code == 3


def test_show_hidden_lists_the_reasons(catalog: str) -> None:
    answer = run("--catalog", catalog, "quote", "H100:8", "--provider", "aws", "--show-hidden")
    assert "from other providers" in answer.out


def test_u111_no_account_and_no_home(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # root may make any folder, but none below a file
    answer = subprocess.run(
        [sys.executable, "-m", "cloudaccel", "quote", "H100:8", "--json"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "file" / "home"), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["offers"]
    assert "Answering from memory" in answer.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs knows the folders")
def test_u111_a_user_id_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers often run so."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CLOUDACCEL_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    answer = run("quote", "H100:8")
    assert answer.code == 0
    assert "Answering from memory" in answer.err


def test_u112_nothing_of_unix_alone_is_imported(catalog: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only one kind of system has is imported where it is used, or not at all."""
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(tmp_path / "cache"))  # a lock in it is looked at as each system does
    probe = (
        "import sys; sys.modules.update(dict.fromkeys(['fcntl', 'pwd', 'grp', 'resource', 'termios', 'tty', 'pty']));"
        "from cloudaccel.cli import VERBS, main;"
        f"sys.exit(main(['--catalog', {catalog!r}, 'quote', 'H100:8', '--json']) or main(['explain', 'H100', '--json'])"
        " or main(['refresh', '--status', '--json']))"
    )
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8", "latin-1"])
def test_u112_a_console_that_cannot_show_signs(catalog: str, encoding: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "cloudaccel", "--catalog", catalog, "quote", "H100", "--explain"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    answer.stdout.decode(encoding)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["quote", "L4Os"], 5, "L40S"),
        (["quote", "H100:-8"], 2, "'-8'"),
        (["quote", "H100:0"], 2, "'0'"),
        (["quote", "H100:x"], 2, "H100:x"),
        (["quote", "H100", "--min-mem", "80XB"], 2, "80XB"),
        (["quote", "H100", "--max-price", "cheap"], 2, "cheap"),
        (["quote", "H100", "--max-age", "24"], 2, "24h"),
        (["quote", "H100", "--market", "barter"], 2, "barter"),
        (["quote", "H100", "--residency", "Atlantis"], 5, "Atlantis"),
        (["quote", "H100", "--provider", "acme"], 5, "acme"),
        (["quote", "H100", "--region", "middle-earth-1"], 5, "middle-earth-1"),
        (["quote", "H100", "--columns", "colour"], 2, "colour"),
        (["quote", "H100", "--limit", "0"], 2, "--limit"),
        (["quote"], 2, "name an accelerator"),
        (["quotes", "H100"], 2, "Did you mean quote"),
        (["--catalog", "/no/such/file", "quote", "H100"], 6, "no such file"),
        (["--config", "/no/such/file.toml", "quote", "H100"], 2, "does not exist"),
        (["explain", "A100X"], 5, "A100X"),
    ],
)
def test_bad_input_gets_one_clear_message(words: list[str], code: int, message: str) -> None:
    answer = run(*words)
    assert answer.code == code, answer.err
    assert message in answer.err
    assert answer.err.startswith("error: ")
    assert "Traceback" not in answer.err


def test_jq_takes_a_part_of_the_json(catalog: str) -> None:
    pytest.importorskip("jq")
    words = ("quote", "H100", "--catalog", catalog, "--jq")
    providers = run(*words, ".offers[].provider").out.split()
    assert providers == [offer["provider"] for offer in run(*words[:-1], "--json").json["offers"]]
    wrong = run(*words, ".offers[")
    assert wrong.code == 2
    assert len(wrong.err.splitlines()) == 1


def test_an_error_is_json_under_json() -> None:
    answer = run("quote", "L4Os", "--json")
    assert answer.json["error"]["code"] == "unknown_name"
    assert answer.json["error"]["exit"] == 5
    assert answer.json["error"]["choices"][0] == "L40S"


def test_every_verb_has_help_with_examples() -> None:
    from cloudaccel.cli import VERBS

    for verb in VERBS:
        answer = run(verb, "--help")
        assert answer.code == 0
        assert "examples:" in answer.out, verb


def test_g14_a_quote_loads_no_heavy_library(catalog: str) -> None:
    probe = (
        "import sys; from cloudaccel.cli import main;"
        f"main(['--catalog', {catalog!r}, 'quote', 'H100:8', '--json']); main(['quote', 'H100:8', '--json']);"
        "sys.stderr.write('\\n' + ' '.join(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in answer.stderr.splitlines()[-1].split()}
    heavy = """
        boto3 botocore google azure oci numpy pandas pyarrow polars duckdb pydantic rich click typer sqlalchemy yaml jq
        asyncio urllib3 requests httpx logging multiprocessing concurrent ssl platformdirs shtab
    """
    assert not loaded & (set(heavy.split()) - ({"platformdirs"} if sys.platform != "linux" else set[str]()))
    modules = set(answer.stderr.splitlines()[-1].split())
    assert not modules & {"importlib.metadata", "urllib.request", "http.client", "email", "difflib", "tomllib"}


def test_a_price_for_memory_and_for_speed_is_of_what_is_sold(tmp_path: Path) -> None:
    """Six threads asked for the dollar by the GB and by the TFLOP/s; a share costs its share of both."""
    path = price_file(
        tmp_path,
        "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on-demand,55.04,USD,2026-07-01,l",
        "aws,us-east-1,,g6f.large,L4,1/8,3,2,on-demand,0.202,USD,2026-07-01,l",
        "aws,us-east-1,,g7e.2xlarge,T4,1,16,2,on-demand,,USD,2026-07-01,l",
    )
    words = ("--columns", "instance,price_per_gb,price_per_tflop", "--allow-fraction", "--csv", "-q")
    answer = run("--catalog", str(path), "quote", "H100-SXM,L4,T4", *words)
    assert answer.out.splitlines() == [
        "instance,price_per_gb_hour,price_per_tflop_hour",
        "g6f.large,0.067333,0.013355",
        "p5.48xlarge,0.086,0.006957",
        "g7e.2xlarge,,",
    ]
    month = run("--catalog", str(path), "quote", "--instance", "p5.48xlarge", "--per", "month", *words).out
    assert month.splitlines() == ["instance,price_per_gb_month,price_per_tflop_month", "p5.48xlarge,62.78,5.078261"]
