"""Area G of the collected cases (rent or own), the break-even cases of F, and U52, U106, through the command line."""

import re
from decimal import Decimal
from math import isclose
from pathlib import Path
from typing import Any

import pytest

from tests.support import price_file, run


def compare(*options: str, more: tuple[str, ...] = ()) -> Any:
    words = [word for option in options for word in ("--option", option)]
    answer = run("compare", *words, *more, "--json")
    assert answer.code == 0, answer.err
    return answer.json


def test_u60_every_factor_is_printed_and_the_rent_can_be_redone() -> None:
    """Believed from a page: three years of rent cost what it prints. Its own hours and price make another sum."""
    own = "own:8xH100,capex=350000,colo=65000/term,ops=40000/term,years=3"
    found = compare(own, "rent:H100:8@9.00", more=("--years", "3"))
    owned, rent = found["ways"]
    assert Decimal(rent["total"]) == Decimal(1_892_160)  # 8 x 26,280 h x 9.00
    assert Decimal(owned["total"]).quantize(Decimal("0.01")) == Decimal(455_000)
    for way in found["ways"]:
        for line in way["lines"]:
            product = Decimal(1)
            for factor in line["factors"]:
                value = Decimal(factor["value"])
                product = product / value if factor["divide"] else product * value
            assert isclose(product, Decimal(line["amount"]), rel_tol=1e-20)


def test_u60_the_sources_own_table_does_not_add_up() -> None:
    """15 to 30 an hour for three years is 3.15 to 6.31 million, not the 1.5 to 2.5 that the page prints."""
    for price, expected in (("15", 3_153_600), ("30", 6_307_200), ("7.13", 1_498_955), ("11.89", 2_499_754)):
        rent = compare(f"rent:H100:8@{price}", more=("--years", "3"))["ways"][0]
        assert isclose(Decimal(rent["total"]), expected, rel_tol=1e-4)


def test_u61_break_even_use_and_the_curve() -> None:
    """Believed: owning wins once it is bought. It wins above a use, and only against the rent it is compared with."""
    found = compare("own:annual=160000,gpus=8", more=("--rents", "3.00"))
    (use,) = [b for b in found["break_evens"] if b["unit"] == "use"]
    assert isclose(Decimal(use["at"]), Decimal(160_000) / (8 * 8760 * 3), abs_tol=1e-6)
    assert "76 % use" in use["text"]
    curve = found["curves"]["OWN"]
    assert len(curve) == 20
    at_half = next(point for point in curve if Decimal(point["use"]) == Decimal("0.5"))
    assert isclose(Decimal(at_half["per_accelerator_hour"]), Decimal(160_000) / (8 * 8760) * 2, rel_tol=1e-9)
    assert Decimal(use["rent"]) == 3, "always beside the rent that it was compared with"
    said = run("compare", "--option", "own:annual=160000,gpus=8", "--rents", "3.00").out
    assert "breaks even with rent at   3.00: 76 % use" in said
    assert "payback" not in said, "nobody knows what of a yearly sum is paid at first"


def test_u61_ways_that_cost_the_same_at_first_break_even_where_they_part() -> None:
    """Believed: the dearer break-even is at 0 tokens, since at one copy each two machines cost the same."""
    ways = ("rent:H100@2.50,throughput=700tok/s", "rent:H200@2.50,throughput=900tok/s")
    for options in (ways, ways[::-1]):
        (turn,) = compare(*options, more=("--demand", "100M-tokens/month"))["break_evens"]
        assert (turn["first"], turn["second"]) == ("RENT H100", "RENT H200")
        assert isclose(Decimal(turn["at"]), 700 * 3600 * 730, rel_tol=1e-6)  # where a second H100 is needed
    assert compare(ways[0], ways[0], more=("--demand", "100M-tokens/month"))["break_evens"] == []


OWN_ROWS = "provider,label,accelerator,market,hourly,as_of\n"


def test_u63_own_prices_by_generation(tmp_path: Path) -> None:
    """Believed: one price for every machine of a site. Each generation has its own, as the file gives it."""
    own = price_file(
        tmp_path,
        "own,node_type=perf;board=RTX_3090,RTX3090,1,owned,0.33,,2026-11-01",
        "own,board=H100,H100-SXM,8,owned,9.60,,2026-11-01",
        header="provider,label,accelerator,count,market,hourly,monthly,as_of",
    )
    answer = run("quote", "RTX3090", "--provider", "own", "--market", "owned", "--price-file", str(own), "--json")
    (offer,) = answer.json["offers"]
    assert Decimal(offer["price"]["price_per_hour"]) == Decimal("0.33")


def test_u64_hourly_and_monthly_are_the_same_price(tmp_path: Path) -> None:
    """Believed: 730 an hour, or 0.00. The column says the unit, and a month is 730 h."""
    own = price_file(
        tmp_path,
        "own,a,H100-SXM,1,owned,1,,2026-11-01",
        "own,b,H100-SXM,1,owned,,730,2026-11-01",
        header="provider,label,accelerator,count,market,hourly_usd,monthly_usd,as_of",
    )
    answer = run("quote", "H100", "--market", "owned", "--price-file", str(own), "--json")
    assert [Decimal(o["price"]["price_per_hour"]) for o in answer.json["offers"]] == [1, 1]


def test_u64_a_price_that_looks_like_another_unit_is_warned_of(tmp_path: Path) -> None:
    """Believed: 0.001 an hour is a bargain. It is a price in another unit, and the warning asks which."""
    own = price_file(
        tmp_path, "own,a,H100-SXM,1,owned,0.001,,2026-11-01",
        header="provider,label,accelerator,count,market,hourly_usd,monthly_usd,as_of",
    )  # fmt: skip
    answer = run("quote", "H100", "--market", "owned", "--price-file", str(own))
    assert "less than a cent per accelerator. Is it per month, or in cents?" in answer.err


def test_u65_marginal_cost_is_labelled() -> None:
    """Believed: a million tokens cost 1.3 cents. That is the power alone, and the label says so."""
    own = "own:power_kwh=64,kwh_price=0.227,tokens=1.136e9"
    (way,) = compare(own, more=("--counted", "marginal"))["ways"]
    assert isclose(Decimal(way["per_million"]), Decimal("0.0128"), abs_tol=0.0001)
    assert "marginal" in way["label"]
    assert "power only" in way["label"]
    (spelled,) = compare(own.replace("=64,", "=64kWh,"), more=("--counted", "marginal"))["ways"]
    assert spelled["per_million"] == way["per_million"], "64 of a kWh, and not 64,000 of a unit that nobody knows"


def test_u53_use_is_a_factor_of_the_price_per_million() -> None:
    """Believed: 0.99 a million, whatever the use. At a tenth of the use it is ten times that."""
    for use, expected in (("100%", "0.992"), ("10%", "9.92")):
        (way,) = compare(f"rent:price=2.50/h,throughput=700tok/s,use={use}")["ways"]
        assert isclose(Decimal(way["per_million"]), Decimal(expected), rel_tol=0.001)


def test_u54_per_class_prices_against_machines() -> None:
    """Believed: caching makes one's own machines cheaper too. It changes the API's bill and not the rent."""
    found = compare(
        "api:in=3,cached=0.30,out=15", "self:H100:8@2.50,throughput=5000tok/s",
        more=("--mix", "in=0.7,cached=0.2,out=0.1", "--demand", "1B-tokens/month"),
    )  # fmt: skip
    api, machines = found["ways"]
    assert Decimal(api["per_month"]) == 2100 + 60 + 1500
    assert Decimal(machines["per_month"]) == 14_600
    used = Decimal(machines["per_month"]) - Decimal(machines["idle_per_month"])
    assert isclose(
        used, Decimal(20) / (5000 * 3600) * Decimal("1e9"), rel_tol=1e-9
    )  # cost/h over tokens/h: idle is apart
    uncached = compare(
        "api:in=3,cached=0.30,out=15", "self:H100:8@2.50,throughput=5000tok/s",
        more=("--mix", "in=0.9,out=0.1", "--demand", "1B-tokens/month"),
    )["ways"]  # fmt: skip
    assert Decimal(uncached[0]["per_month"]) == 2700 + 1500
    assert uncached[1]["per_month"] == machines["per_month"]


def test_u58_the_mix_is_a_partition() -> None:
    """Believed: cached tokens come on top of the input. They are a part of it, and a mix above 1 is refused."""
    words = ("--option", "api:in=3,cached=0.3,out=15", "--demand", "1M-tokens/month", "--mix")
    answer = run("compare", *words, "in=1,cached=0.983,out=0.1")
    assert answer.code == 2
    assert "part of the input" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("--option", "self:custom-model"),
        ("--option", "rent:H100-SXM:8@2.00", "--demand", "1B-tokens/month"),
    ],
)
def test_u57_throughput_is_asked_for_and_never_invented(words: tuple[str, ...]) -> None:
    """Believed: 50 a million for a model that no table knows. Nothing is invented: it is asked for."""
    answer = run("compare", *words)
    assert answer.code == 2
    assert "throughput=" in answer.err


def test_u52_adapt_against_from_scratch() -> None:
    """ChipNeMo: 2,710 / 5,100 / 21,340 A100-hours at 100 USD for 24; under 1.5 % of training from scratch."""
    rate = "4.1666666667"
    for hours, scratch, most in ((2710, 184_320, 11_300), (5100, 368_640, 21_300), (21_340, 1_720_320, 89_000)):
        found = compare(
            f"pretrain:accel-hours={scratch},rate={rate}",
            f"adapt:accel-hours={hours},rate={rate},data=40000,labour=90000",
            "api:price=3/Mtok",
            more=("--demand", "50M-tokens/month"),
        )
        from_scratch, adapted, api = found["ways"]
        lines = {line["name"]: Decimal(line["amount"]) for line in adapted["once"]}
        assert lines["training"] <= most
        assert lines["training"] / Decimal(from_scratch["once"][0]["amount"]) < Decimal("0.015")
        assert (lines["data"], lines["labour"]) == (40_000, 90_000)  # lines of their own
        assert Decimal(api["total"]) == 50 * 3 * 12


def test_u106_what_a_managed_service_adds() -> None:
    """Believed: the service costs what the machine does. The premium is shown, in money and as a share."""
    found = compare("vm:m5.12xlarge,price=2.304/h", "managed:m5.12xlarge,price=2.574/h", more=("--hours", "1"))
    premium = found["ways"][1]["premium"]
    assert Decimal(premium["per_month"]) == Decimal("0.27")
    assert isclose(Decimal(premium["share"]), Decimal("0.1171875"))
    (endpoint,) = compare("managed:ml.g5.2xlarge,price=1.515/h", more=("--hours", "730"))["ways"]
    assert Decimal(endpoint["per_month"]) == Decimal("1105.95")


def test_u106_a_price_that_nobody_loaded_is_unknown() -> None:
    """Believed: no row, so free, or a crash. It is unknown, says what would settle it, and is never the cheapest."""
    words = ("--option", "vm:m5.12xlarge,price=2.304/h", "--option", "managed:ml.brandnew", "--hours", "730")
    answer = run("compare", *words)
    assert answer.code == 0
    assert "unknown, no price of ml.brandnew" in answer.out
    assert "To settle it: give price=" in answer.out
    assert run("compare", "--option", "managed:ml.brandnew").code == 3


# -- a worked example: API, rent or own --------------------------------------------------------------------------------

API, RENT = "api:price=0.90/Mtok", "rent:H100-SXM:2@datacrunch,throughput=1500tok/s"
OWN = "own:8xH100,capex=379500,{residual},years=3,kw=10.2,pue=1.3,kwh=0.15,colo=120/kW-month,staff=30000/y"
SESSION = ("--demand", "400M-tokens/month", "--model", "llama-3.1-70b", "--dtype", "fp8", "--rents", "3.00,6.88")


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    row = "datacrunch,FIN-01,,2H100.80S,H100-SXM,2,80,,on-demand,4.38,USD,2026-09-24,worked example"
    return price_file(tmp_path, row)


@pytest.mark.parametrize(
    ("residual", "month", "full", "at_60", "use_3", "use_6_88"),
    [
        # As its inputs say: 20 % of the whole capex.
        ("residual=20%", "13609.30", "2.33", "3.88", "78 %", "34 %"),
        # As it prints: 20 % of the servers alone (330,000), 66,000.
        ("residual=66000", "13884.30", "2.38", "3.96", "79 %", "35 %"),
    ],
)
def test_session_3(catalog: Path, residual: str, month: str, full: str, at_60: str, use_3: str, use_6_88: str) -> None:
    options = [w for o in (API, RENT, OWN.format(residual=residual)) for w in ("--option", o)]
    answer = run("compare", *options, *SESSION, "--catalog", str(catalog))
    assert answer.code == 0, answer.err
    text = answer.out
    for figure in ("360.00", "3,197.40", f"{Decimal(month):,.2f}", "0.90", "7.99", "10.1 %", "2.5 %"):
        assert figure in text, figure
    assert "Cheapest at 400M-tokens/month: API." in text
    assert "breaks even at 3.55 B tokens/month (90 % load" in text
    assert f"{full} $/accel-h at 100 % use, {at_60} at 60 %" in text
    assert f"2.19: never    3.00: {use_3} use    6.88: {use_6_88} use" in text


def test_explain_can_be_redone_by_hand(catalog: Path) -> None:
    options = [w for o in (API, RENT, OWN.format(residual="residual=20%")) for w in ("--option", o)]
    text = run("compare", *options, *SESSION, "--catalog", str(catalog), "--explain").out
    sections = re.findall(r"\n(\S[^\n]*): per month\n((?:  [^\n]*\n)+)", text)
    assert [name.split()[0] for name, _ in sections] == ["API", "RENT", "OWN"]
    for _, body in sections:
        total = Decimal(0)
        for formula, amount in re.findall(r"^  [\w ]+: (.*[×÷].*) = (-?[\d,.]+)$", body, re.MULTILINE):
            product = Decimal(1)
            for sign, value in re.findall(r"(^|× |÷ )(-?[\d,.]+)", formula):
                number = Decimal(value.replace(",", ""))
                product = product / number if sign == "÷ " else product * number
            assert abs(product - Decimal(amount.replace(",", ""))) < Decimal("0.000001")
            total += product
        (printed,) = re.findall(r"^  total ([\d,.]+)$", body, re.MULTILINE)
        assert abs(total - Decimal(printed.replace(",", ""))) <= Decimal("0.005")


def test_lenovo_through_the_command() -> None:
    found = compare("own:8xH100,capex=833806,opex=0.87/h,years=5", "rent:H100:8,price=98.32/h")
    (hours,) = [b for b in found["break_evens"] if b["unit"] == "hours"]
    assert round(Decimal(hours["at"])) == 8556
    assert Decimal(hours["rent"]) == Decimal("12.29")


def test_500_dgx_a100_through_the_command() -> None:
    answer = run("compare", "--option", "own:dgx-a100-320gb,systems=500,kwh=0.086")
    assert "servers 99,500,000 USD" in answer.out
    assert "IT load 3,250.0 kW" in answer.out
    assert "924 tons of cooling" in answer.out
    assert "3,016,453 USD" in answer.out


def test_what_cannot_be_bought_is_no_zero() -> None:
    answer = run("compare", "--option", "own:tpu-v5e:8", "--option", "rent:H100-SXM:8@2.40")
    assert "cannot be bought" in answer.out
    assert "unknown" in answer.out
    assert "Cheapest of those with a known cost" in answer.out


def test_the_cheapest_of_three_ways_by_volume_changes_where_their_costs_do() -> None:
    """API, two rented H100 in steps, a server: after each turn the way that is named is the cheapest there."""
    words = (API, "rent:H100-SXM:2@2.19,throughput=1500tok/s", "own:8xH100,capex=379500,years=3,throughput=6000")
    leaders = compare(*words, more=("--demand", "400M-tokens/month"))["cheapest_by_volume"]
    assert leaders[0] == {"from_tokens_per_month": "0", "way": "API"}
    assert len({turn["way"] for turn in leaders}) == 3
    for turn, after in zip(leaders, [*leaders[1:], None], strict=True):
        start = Decimal(turn["from_tokens_per_month"])
        end = Decimal(after["from_tokens_per_month"]) if after else start * Decimal("1.01")
        middle = (start + end) / 2
        found = compare(*words, more=("--demand", f"{middle:.0f}-tokens/month"))
        costs = {way["label"]: Decimal(way["per_month"]) for way in found["ways"]}
        assert costs[turn["way"]] <= min(costs.values()) * Decimal("1.000001"), (turn, costs)


def test_every_assumption_has_value_unit_source_date_and_the_word_that_changes_it() -> None:
    """Nothing stands behind a figure that its reader cannot see and change."""
    words = ("own:dgx-h100", "own:8xH100,site=room", "lora:H100-SXM:8,model=llama-3-70b,tokens=100e6,rate=2.50", API)
    rented = "rent:H100-SXM:8@2.19"
    found = compare(*words, rented, more=("--demand", "400M-tokens/month", "--model", "llama-3.1-70b"))
    inputs = [*found["shared"], *(e for way in found["ways"] for e in way["inputs"])]
    assert {"hours", "horizon", "input_tokens", "output_tokens"} <= {e["name"] for e in inputs}
    for e in inputs:
        assert e["unit"], e
        assert e["source"], e
        assert e["as_of"], e
        assert e["change"].startswith("--") or "=" in e["change"], e
    sized = next(e for e in found["ways"][-1]["inputs"] if e["name"] == "throughput")
    assert "1024 tokens in and 256 out" in sized["source"]
    other = compare(rented, more=("--demand", "1B-tokens/month", "--model", "llama-3.1-70b", "--output-tokens", "2048"))
    assert "1024 tokens in and 2048 out" in next(
        e["source"] for e in other["ways"][0]["inputs"] if e["name"] == "throughput"
    )
    assert run("compare", "--option", API, "--input-tokens", "0").code == 2
