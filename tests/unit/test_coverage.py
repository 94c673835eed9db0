"""`refresh --coverage`: what a catalog holds of whom, where, from which source; and what it does not know."""

from pathlib import Path

import pytest

from cloudaccel.api.coverage import coverage
from tests.support import run

HEADER = "provider,region,zone,instance,accel_raw,count,mem_gb_each,vcpu,market,hourly,currency,as_of,source\n"


@pytest.fixture
def prices(tmp_path: Path) -> str:
    file = tmp_path / "prices.csv"
    rows = (
        "aws,us-east-1,,p5.48xlarge,nvidia-h100-sxm-80gb,8,80,192,on_demand,55.04,USD,2026-11-01,list a",
        "aws,us-east-1,,p5.48xlarge,nvidia-h100-sxm-80gb,8,80,192,spot,30,USD,2026-11-20,list b",
        "aws,us-gov-west-1,,p5.48xlarge,nvidia-h100-sxm-80gb,8,80,192,on_demand,66.04,USD,2026-10-01,list a",
        "lambda,us-east-1,,gpu_1x_a10,nvidia-a10,1,24,30,on_demand,0.75,USD,2026-11-02,list c",
    )
    file.write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    return str(file)


def test_a_region_says_its_accelerators_markets_and_dates(prices: str) -> None:
    aws, other = coverage(catalog=prices)
    assert (aws.provider, aws.offers, aws.accelerators, other.provider) == ("aws", 3, ("H100-SXM",), "lambda")
    east, gov = aws.regions
    assert (east.region, east.markets, east.oldest, east.newest) == (
        "us-east-1", ("on_demand", "spot"), "2026-11-01", "2026-11-20",
    )  # fmt: skip
    assert (gov.region, gov.partition) == ("us-gov-west-1", "aws-us-gov")
    assert sum(source.offers for source in aws.sources) == 3


def test_the_page_is_markdown_of_the_named_provider(prices: str) -> None:
    answer = run("refresh", "lambda", "--coverage", "--catalog", prices)
    assert answer.code == 0
    assert "| lambda | 1 | 1 | 1 | 0 | 2026-11-02 |" in answer.out
    assert "| us-east-1 | A10 | on-demand | 1 | 2026-11-02 |" in answer.out
    assert "aws" not in answer.out


def test_the_json_has_every_source_with_its_licence() -> None:
    body = run("refresh", "oci", "--coverage", "--json").json
    (oci,) = body["providers"]
    assert body["kind"] == "refresh.coverage"
    assert {source["licence"] for source in oci["sources"]} == {"licence file not seen"}
    assert sum(source["offers"] for source in oci["sources"]) == sum(region["offers"] for region in oci["regions"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--coverage", "--diff"), 2, "--coverage only shows"),
        (("--coverage", "--compare", "x"), 2, "--compare only shows"),
        (("nobody", "--coverage"), 5, "nobody"),
    ],
)
def test_what_does_not_go_together_is_said(words: tuple[str, ...], code: int, said: str) -> None:
    answer = run("refresh", *words)
    assert answer.code == code
    assert said in answer.err
