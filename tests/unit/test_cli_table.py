"""What people see: whole tables as files, rewritten with REWRITE_GOLDEN=1 and reviewed like code."""

import json
import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import pytest

from cloudaccel.api import quoting
from cloudaccel.cli import common
from tests.support import price_file, run

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"
HEADER = (
    "provider,region,zone,instance,accelerator,count,mem_gb_each,vcpus,memory_gib,market,payment,class,hourly,currency,"
    "as_of,availability,last_seen,source"
)
ROWS = (
    "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,2048,on-demand,,,55.04,USD,2026-07-20,offered,2026-08-01,list",
    "aws,eu-north-1,,p5.48xlarge,H100-SXM,8,80,192,2048,on-demand,,,58.89,USD,2026-07-20,offered,2026-08-01,list",
    "aws,us-east-1,use1-az4,p5.48xlarge,H100-SXM,8,80,192,2048,spot,,,55.04,USD,2026-09-01,listed,,advisor",
    "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,2048,reserved-1y,no_upfront,standard,43.1,USD,2025-04-04,listed,,list",
    "gcp,europe-west4,,a3-highgpu-8g,H100-SXM,8,80,208,1872,on-demand,,,112.54,USD,2026-07-30,offered,,list",
    "gcp,europe-west4,,a3-highgpu-1g,H100-SXM,1,80,26,234,on-demand,,,14.0675,USD,2026-07-30,not_seen,,list",
    "azure,westeurope,,Standard_NC40ads_H100_v5,H100-NVL,1,94,40,320,on-demand,,,,USD,2026-07-30,listed,,list",
    "alibaba,cn-beijing,,ecs.gn8.48xlarge,H100-SXM,8,80,192,1024,on-demand,,,400,CNY,2024-10-09,listed,,list",
    "vast-ai,global,,host-1,H100-PCIe,1,80,,,on-demand,,community,1.49,USD,2026-05-24,listed,,market",
    "gcp,us-west4,,v5litepod-8,v5e,8,16,,,on-demand,,,9.6,USD,,listed,,list",
    "azure,westus,,Standard_NV6ads_A10_v5,A10,1/6,4,6,55,on-demand,,,0.454,USD,2026-06-18,listed,,list",
)
CASES = {
    "family": ["quote", "H100"],
    "eight": ["quote", "H100:8"],
    "two-nodes": ["quote", "H100-SXM:8x2", "--max-hourly", "200"],
    "eu-hidden": ["quote", "H100:8", "--residency", "EU", "--show-hidden"],
    "any-market": ["quote", "H100-SXM:8", "--market", "any", "--limit", "4"],
    "stale": ["quote", "H100:8", "--max-age", "60d", "--provider", "aws,gcp"],
    "undated": ["quote", "tpu-v5e:8"],
    "share": ["quote", "A10", "--allow-fraction", "--explain"],
    "wide": ["quote", "H100:8", "-o", "wide", "--limit", "2"],
    "columns": ["quote", "H100:8", "--columns", "provider,price,as_of"],
    "month": ["quote", "H100:8", "--per", "month", "--currency", "CNY"],
    "csv": ["quote", "H100", "--csv"],
    "json": ["quote", "H100:8", "--limit", "1", "--json"],
    "nothing": ["quote", "H100:12"],
    "explain-name": ["explain", "v5litepod-8", "A800", "--provider", "gcp"],
    "explain-instance": ["explain", "p5.48xlarge"],
}


class Clock(datetime):
    """A day on which nothing changes any more."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Clock":
        """The same moment always."""
        return cls(2026, 9, 24, 6, 10, tzinfo=UTC).astimezone(tz)


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    from cloudaccel.output import quote_json

    monkeypatch.setattr(quoting, "datetime", Clock)
    monkeypatch.setattr(quote_json, "datetime", Clock)


@pytest.fixture
def catalog(tmp_path: Path) -> str:
    return str(price_file(tmp_path, *ROWS, header=HEADER))


def check(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("REWRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "look at the difference; REWRITE_GOLDEN=1 accepts it"


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_answer_looks_the_same(name: str, catalog: str) -> None:
    answer = run("--catalog", catalog, *CASES[name])
    out = json.dumps(answer.json, indent=1, ensure_ascii=False) + "\n" if "--json" in CASES[name] else answer.out
    said = f"$ cloudaccel {' '.join(CASES[name])}\n{out}"
    said += f"-- stderr --\n{answer.err}" if answer.err else ""
    said += f"-- exit {answer.code} --\n"
    check(f"{name}.txt", said.replace(catalog, "prices.csv"))


def test_every_golden_file_belongs_to_a_case() -> None:
    extra = {"screen-80.txt", "screen-color.txt"}
    assert {path.name for path in GOLDEN.glob("*.txt")} == {f"{name}.txt" for name in CASES} | extra


def screen(monkeypatch: pytest.MonkeyPatch, width: int, *, color: bool) -> None:
    """A terminal of that width, whatever the test is run in."""
    monkeypatch.setattr(common, "screen_width", lambda: width)
    monkeypatch.setattr(common, "wants_color", lambda no_color: color and not no_color)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]


def test_a_narrow_screen(catalog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen(monkeypatch, 80, color=False)
    out = run("--catalog", catalog, "quote", "H100").out
    check("screen-80.txt", out)
    table = out.split("\n\n")[1]
    assert all(len(line) <= 80 for line in table.splitlines())


def test_color_is_bold_dim_and_yellow(catalog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen(monkeypatch, 200, color=True)
    words = ["--catalog", catalog, "quote", "H100:8", "--max-age", "60d"]
    out = run(*words).out
    check("screen-color.txt", out.replace("\x1b", "<ESC>"))
    assert "\x1b" not in run(*words, "--no-color").out


@pytest.mark.parametrize(
    ("variables", "terminal", "wanted"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_when_color_is_welcome(
    variables: dict[str, str], terminal: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    assert common.wants_color(no_color=False) is wanted
    assert common.wants_color(no_color=True) is False
