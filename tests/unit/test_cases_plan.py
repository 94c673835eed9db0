"""Users' cases asked of `plan` as they would type them; each test is named after the case in the tracker."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.catalog.session import accelerator_table
from cloudaccel.export import deployment_of
from cloudaccel.provision.lock import parse_lock
from tests.support import HEADER, Answer, price_file, run

TUNE = ("--task", "finetune", "--model", "llama-2-70b", "--tokens", "10e6", "--lock", "-")
SERVE = ("--task", "serve", "--model", "llama-3.1-8b", "--lock", "-")


def planned(catalog: Path | None, *words: str) -> Answer:
    return run(*(("--catalog", str(catalog)) if catalog else ()), "plan", *words)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    rows = (
        "aws,us-east-1,,g5.48xlarge,A10G,8,24,192,on-demand,16.288,USD,2026-07-01,l",
        "aws,us-east-1,,a5000-8,RTX-A5000,8,24,192,on-demand,2.16,USD,2026-07-01,l",
        "aws,us-east-1,,p4de.24xlarge,A100-80GB-SXM,8,80,96,on-demand,27.447,USD,2026-07-01,l",
        "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on-demand,55.04,USD,2026-07-01,l",
        "aws,us-east-1,,trn1.2xlarge,trn1,1,32,8,on-demand,1.34,USD,2026-07-01,l",
        "azure,eastus,,rtx,RTX3090,1,24,8,on-demand,0.30,USD,2026-07-01,l",
    )
    header = f"{HEADER},host_mem"
    return price_file(tmp_path, *(f"{row},{32 if 'trn1' in row else 1024}" for row in rows), header=header)


def test_u40_hardware_that_fits_and_whose_speed_nobody_knows_is_named(catalog: Path) -> None:
    """He would have believed that no such card is on offer, or that it does not fit: it was left out unsaid."""
    answer = planned(catalog, *TUNE, "--method", "lora", "--seq", "2048", "--accel", "RTX-A5000:8")
    assert answer.code == 3
    assert "speed_unknown: RTX A5000 24GB:8 (it fits; no source gives the dense peak of RTX A5000 24GB" in answer.err
    assert "--measured" in answer.err
    measured = planned(
        catalog, *TUNE, "--method", "lora", "--seq", "2048", "--accel", "RTX-A5000:8", "--measured", "20", "--json"
    )
    assert measured.code == 0, measured.err
    chosen = measured.json["chosen"]
    run_h = 10e6 / (8 * 20 * 0.97) / 3600
    assert float(chosen["hours"]) == pytest.approx(run_h + 0.75, rel=0.001)  # pyright: ignore[reportUnknownMemberType]
    assert {reason["code"] for reason in chosen["fit"]["reasons"]} == {"shape_assumed"}


def test_u40_what_is_not_sold_in_that_number_is_said_with_what_is() -> None:
    """He would have believed that sixteen A10 in one box are for sale and too small."""
    answer = planned(None, *TUNE, "--method", "lora", "--accel", "A10:16")
    assert answer.code == 3
    assert (
        "not_on_offer: A10:16 (not on offer as asked: no single machine has 16; 4 nodes of 4 would do: A10:4x4"
        in answer.err
    )
    assert "not_on_offer: H800 (not on offer as asked" in planned(None, *SERVE, "--accel", "H800").err


def test_u76_offers_that_no_plan_is_made_on_are_counted() -> None:
    """He would have believed that nobody sells an RTX 3090, which the price list shows."""
    answer = planned(None, *SERVE, "--accel", "RTX3090", "--json")
    assert answer.code == 3
    left_out = {row["reason"]: row["count"] for row in answer.json["rejected"]}
    assert left_out["no_machine"] + left_out["not_ranked"] == run("quote", "RTX3090", "--json").json["total"]


def test_u23_no_plan_is_made_on_a_card_that_the_seller_does_not_name(tmp_path: Path) -> None:
    """He would have sized a job on an SXM card, and been given a PCIe one."""
    answer = planned(None, *SERVE, "--accel", "A100", "--provider", "civo", "--json")
    assert answer.code == 3
    left_out = {row["reason"]: row["count"] for row in answer.json["rejected"]}
    shown = run("quote", "A100", "--provider", "civo", "--json", "--limit", "all").json["offers"]
    assert left_out["card_unknown"] == len(shown) == 8
    assert {offer["accelerator"]["id"] for offer in shown} == {None}


def test_u39_full_fine_tuning_of_70b_on_eight_cards_says_what_would_fit(catalog: Path) -> None:
    """He would have believed that eight cards of 80 GB can do nothing with 70B."""
    answer = planned(catalog, *TUNE, "--method", "full", "--accel", "A100-80GB:8", "--max-nodes", "1")
    assert answer.code == 3
    assert "A100 has 80.0 GiB; lora or qlora would fit" in answer.err


def test_u45_a_tight_cache_says_from_where_to_where(catalog: Path) -> None:
    """He would have believed that 29,000 tokens either fit or do not."""
    words = (*SERVE, "--accel", "RTX3090", "--headquarters", "DE", "--users", "none")
    tight = planned(catalog, *words, "--context", "29000")
    assert tight.code == 0, tight.err
    assert "tight, cheapest" in tight.out
    (low, high) = re.findall(r"the cache holds ([\d,]+) to ([\d,]+) tokens", tight.out)[0]
    assert 22_000 <= int(low.replace(",", "")) < 29_000 <= int(high.replace(",", "")) <= 33_500
    assert "fits, cheapest" in planned(catalog, *words, "--context", "20000").out


def test_u46_host_memory_for_compiling_is_said(catalog: Path) -> None:
    """He would have believed that it compiles where it fits, and be killed for 32 GB of host memory."""
    answer = planned(catalog, *SERVE, "--accel", "trn1.2xlarge", "--json")
    reasons = answer.json["chosen"]["fit"]["reasons"]
    assert "host_mem_for_compile" in {reason["code"] for reason in reasons}
    table = planned(catalog, *SERVE, "--accel", "trn1.2xlarge").out
    assert "Note     1: compiling needs about" in table
    assert "host memory, there are 32" in table


@pytest.mark.parametrize(
    "words",
    [
        ("--method", "qlora", "--accel", "H100:8"),
        ("--method", "full", "--accel", "A100-80GB:8x4"),
        ("--method", "lora", "--accel", "H100:8", "--mfu", "0.3"),
    ],
)
def test_u48_the_hours_can_be_redone_by_hand(catalog: Path, words: tuple[str, ...]) -> None:
    """He would have believed that the tool cannot divide: recomputation was counted twice in what it printed."""
    said = planned(catalog, *TUNE, *words, "--explain").out
    (line,) = [line for line in said.splitlines() if "FLOP ÷" in line]
    numbers = re.fullmatch(
        r"  (\S+) FLOP ÷ \((\d+) accelerators × (\S+) TFLOP/s dense × step MFU (\S+) × goodput (\S+)"
        r"(?: ÷ waiting for the network (\S+))?(?: ÷ cutting for a slow network (\S+))?\) = (\S+) h .*",
        line,
    )
    assert numbers is not None, line
    flop, accelerators, peak, mfu, goodput, wait, cutting, hours = (float(part or 1) for part in numbers.groups())
    redone = flop / (accelerators * peak * 1e12 * mfu * goodput / (wait * cutting)) / 3600
    assert redone == pytest.approx(hours, rel=0.01)  # pyright: ignore[reportUnknownMemberType]


def test_a_lease_is_longer_than_the_run_with_its_start_up(catalog: Path, tmp_path: Path) -> None:
    """He would have believed in the plan's 53 minutes, and his machine would have ended after 41: still loading."""
    lock = tmp_path / "plan.json"
    words = ("--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "20e6", "--accel", "H100:8")
    assert planned(catalog, *words, "--lock", str(lock)).code == 0
    body = json.loads(lock.read_text(encoding="utf-8"))
    high_h = Decimal(body["chosen"]["hours"]) + Decimal(str(body["hours"]["high"] - body["hours"]["likely"]))
    wanted_s = pytest.approx(float(high_h) * 1.2 * 3600 + 1800, abs=60)  # pyright: ignore[reportUnknownMemberType]
    assert parse_lock(body, "plan.json").lease_s == wanted_s
    assert deployment_of(body, accelerator_table()).lease_s == wanted_s


def test_u42_a_model_published_in_fp8_is_served_in_fp8(tmp_path: Path) -> None:
    """He would have believed that one machine of eight H200 cannot hold DeepSeek-R1, or that one of eight A100 can."""
    path = price_file(
        tmp_path,
        "aws,us-east-1,,p5en.48xlarge,H200,8,141,192,on-demand,63.3,USD,2026-07-01,l",
        "azure,eastus,,mi300x,MI300X,8,192,96,on-demand,48,USD,2026-07-01,l",
        "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on-demand,55.04,USD,2026-07-01,l",
        "aws,us-east-1,,p4de.24xlarge,A100-80GB-SXM,8,80,96,on-demand,27.447,USD,2026-07-01,l",
    )
    words = ("--task", "serve", "--model", "deepseek-r1", "--lock", "-", "--json")
    body = planned(path, *words).json
    shapes = {(o["accelerator"]["id"], o["nodes"]) for o in body["options"]}
    assert shapes == {("nvidia-h200-sxm", 1), ("amd-mi300x", 1), ("nvidia-h100-sxm-80gb", 2)}
    assert any("A100" in text and "no FP8 units" in text for row in body["rejected"] for text in row["examples"])
    assert next(a["value"] for a in body["assumptions"] if a["name"] == "dtype") == "fp8"
    given = planned(path, *words, "--dtype", "bf16").json
    assert ("nvidia-h200-sxm", 1) not in {(o["accelerator"]["id"], o["nodes"]) for o in given["options"]}
    assert not [a for a in given["assumptions"] if a["name"] == "dtype"]


def test_u78_a_limit_that_limits_nothing_is_said() -> None:
    """He would have believed that his plan keeps to four vCPUs, whose name nobody at the cloud knows."""
    words = (*SERVE, "--dtype", "fp16", "--accel", "T4", "--provider", "aws", "--region", "us-west-2")
    answer = planned(None, *words, "--quota", "aws:us-west-2:P_and_G=4")
    assert answer.code == 0, answer.err
    said = "--quota aws:us-west-2:P_and_G=4 limits nothing: what was looked at there counts against L-DB2E81BA"
    assert said in answer.err
    known = planned(None, *words, "--quota", "aws:us-west-2:L-DB2E81BA=4", "--json")
    assert known.code == 7
    assert known.json["warnings"] == []


def test_u82_the_first_option_that_is_only_listed_says_so(tmp_path: Path) -> None:
    """He would have believed that what a price list names can be had."""
    path = price_file(
        tmp_path,
        "ovh,GRA11,,h100-380,H100-PCIe,1,80,30,on-demand,2.8,USD,2026-11-01,l,listed,",
        "aws,us-east-1,,p5.4xlarge,H100-SXM,1,80,16,on-demand,6.88,USD,2026-11-01,l,offered,2026-11-20",
        header=f"{HEADER},availability,last_seen_available",
    )
    said = planned(path, *SERVE)
    assert "Note     1: listed with a price; no source has seen it for sale" in said.out
    best = planned(path, *SERVE, "--require-available", "--json").json["chosen"]
    assert (best["provider"], best["availability"]) == ("aws", {"state": "offered", "last_seen": "2026-11-20"})
    assert "listed with a price" not in planned(path, *SERVE, "--require-available").out


@pytest.mark.parametrize(("tokens", "first", "which"), [("40e9", "gcp", "longer"), ("400e9", "aws", "shorter")])
def test_u92_the_length_at_which_bringing_the_data_pays_is_printed(
    tmp_path: Path, tokens: str, first: str, which: str
) -> None:
    """He would have believed that the cheaper hour is the cheaper run, whatever it costs to bring 10 TB there."""
    path = price_file(
        tmp_path,
        "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on-demand,45,USD,2026-11-01,l",
        "gcp,us-central1,,a3-highgpu-8g,H100-SXM,8,80,208,on-demand,50,USD,2026-11-01,l",
    )
    job = ("--task", "pretrain", "--params", "7e9", "--tokens", tokens, "--mfu", "0.4", "--max-nodes", "1")
    answer = planned(path, *job, "--data", "10TB@gcp:us-central1", "--lock", "-")
    assert answer.code == 0, answer.err
    (line,) = [line for line in answer.out.splitlines() if line.startswith("Data ")]
    assert line.endswith(f"is cheaper for runs {which} than 7.5 d")  # 900 USD ÷ 5 USD an hour = 180 h
    assert re.search(rf"^  1  {first} ", answer.out, re.MULTILINE)


def test_u41_what_is_saved_is_sized_and_held_against_the_disk(catalog: Path) -> None:
    """He would have believed that what fits while it trains also fits when it is saved."""
    full = planned(catalog, *TUNE, "--method", "full", "--accel", "A100-80GB:8x4", "--disk", "500GB")
    assert full.code == 0, full.err
    # 68.98 billion parameters of 14 bytes: weights in 16 bits, and in Adam a copy and two moments in 32
    assert (
        "Saves    966 GB a checkpoint to go on from, 138 GB the model in 16 bits: more than --disk 500 GB" in full.out
    )
    enough = planned(catalog, *TUNE, "--method", "full", "--accel", "A100-80GB:8x4", "--disk", "1TB")
    assert "more than --disk" not in enough.out
    adapters = planned(catalog, *TUNE, "--method", "lora", "--accel", "A100-80GB:8", "--json").json["saves"]
    assert adapters == {"checkpoint_gb": 2.9, "model_gb": 137.96}
    assert planned(catalog, *SERVE, "--accel", "RTX3090", "--json").json["saves"] is None


def test_u12_conservative_plans_with_the_upper_end(catalog: Path, tmp_path: Path) -> None:
    """He would have believed that a deadline is kept which the likely hours just keep."""
    job = "--task finetune --method lora --model llama-3-8b --tokens 200e6 --accel H100:8"
    words = (*job.split(), "--lock", str(tmp_path / "l.json"))
    likely, careful = (planned(catalog, *words, *more, "--json").json for more in ((), ("--conservative",)))
    assert careful["hours"]["likely"] == careful["hours"]["high"] == likely["hours"]["high"]
    assert careful["hours"]["low"] == likely["hours"]["low"]
    assert Decimal(careful["chosen"]["total"]) > Decimal(likely["chosen"]["total"])
    assert careful["chosen"]["fit"]["speed"]["step_mfu"] < likely["chosen"]["fit"]["speed"]["step_mfu"]
    assert "conservative" in {a["name"] for a in careful["assumptions"]}
    deadline = f"{float(likely['chosen']['hours']) + 0.1:.2f}h"
    one = (*words, "--max-nodes", "1", "--deadline", deadline)
    assert planned(catalog, *one).code == 0
    assert planned(catalog, *one, "--conservative").code == 3
    told = planned(catalog, *SERVE, "--conservative")
    assert told.code == 2
    assert "For serving lower --utilization" in told.err


def test_nothing_trains_in_four_bit_integers(catalog: Path) -> None:
    """He would have believed that int4 trains as fast as BF16 and in its memory."""
    told = planned(catalog, *TUNE, "--dtype", "int4", "--accel", "H100:8")
    assert told.code == 2
    assert "qlora keeps frozen weights in 4 bits" in told.err


def test_one_slice_comes_before_two_that_cost_the_same() -> None:
    """He would have believed that two slices of 16 chips over a network are better than one of 32 at the same price."""
    words = ("--task", "pretrain", "--model", "llama-2-13b", "--tokens", "20e9", "--accel", "v5e", "--lock", "-")
    chosen = run("plan", *words, "--json").json["chosen"]
    assert (chosen["nodes"], chosen["instance"]) == (1, "v5litepod-32")


@pytest.mark.parametrize(
    ("words", "mfu", "judgement"),
    [
        ("--accel-hours 2.79e6 --tokens 14.8e12 --params 671e9 --params-active 37e9 --peak 1513", 0.216, "unknown"),
        (
            "--accel-hours 30.84e6 --tokens 15.6e12 --model llama-3.1-405b --seq 8192 --accel H100-SXM:16384",
            0.375,
            "usual",
        ),
        ("--measured 6667 --model llama-3.1-8b --seq 8192 --accel H100-SXM:8", 0.412, "usual"),
        ("--measured 1600 --model llama-3.1-8b --seq 8192 --accel H100-SXM:8", 0.0988, "low"),
        ("--measured 11000 --model llama-3.1-8b --seq 8192 --accel H100-SXM:8", 0.679, "high"),
        ("--measured 53336 --model llama-3.1-8b --seq 8192 --accel H100-SXM:8", 3.293, "impossible"),
    ],
)
def test_u49_the_mfu_of_a_rate_and_whether_it_can_be(words: str, mfu: float, judgement: str) -> None:
    """He would have believed 7.2 % (2ND) of DeepSeek-V3, and the rate of eight accelerators for that of one."""
    implied = run("calibrate", *words.split(), "--json").json["implied"]
    assert implied["mfu"] == pytest.approx(mfu, rel=0.01)  # pyright: ignore[reportUnknownMemberType]
    assert implied["judgement"] == judgement
    said = run("calibrate", *words.split()).out
    assert said.startswith("MFU ")
    assert "FLOP a token" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--measured 100", "name the accelerator with --accel"),
        ("--measured 100 --accel H100", "an MFU needs the model"),
        ("--measured 100 --accel-hours 5 --model llama-3-8b --accel H100", "give one of a log, --measured"),
        ("--model llama-3-8b --accel H100", "give one of a log, --measured"),
        ("--accel-hours 5 --model llama-3-8b --accel H100", "needs the --tokens"),
        ("--measured -1 --model llama-3-8b --accel H100", "--measured: -1.0 must be a number above 0"),
        ("--measured 100 --model llama-3-8b --accel 80GB+:8", "accelerators of different peaks"),
        ("--measured 100 --model llama-3-8b --accel H100:8", "nvidia-h100-sxm-80gb"),
        ("--measured 100 --model llama-3-8b --accel A2:1", "no source gives the dense peak of A2:1"),
        ("", "give one of a log"),
    ],
)
def test_u49_what_is_missing_is_said(words: str, said: str) -> None:
    answer = run("calibrate", *words.split())
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


def test_u49_a_log_gives_the_mfu_too(tmp_path: Path) -> None:
    """He would have had to work the MFU out by hand from the rate of his log."""
    log = tmp_path / "train.log"
    log.write_text("\n".join(f"step {n} tps: 5,400 mfu" for n in range(50)), encoding="utf-8")
    words = ("calibrate", str(log), "--model", "llama-3-8b", "--seq", "4096", "--accel", "H100-SXM:8")
    body = run(*words, "--json").json
    assert body["tokens_per_s_per_accelerator"] == 5400
    assert body["implied"]["judgement"] == "usual"
    assert "MFU 29" in run(*words).out
    assert "implied" not in run("calibrate", str(log), "--json").json
