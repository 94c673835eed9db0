"""The verb `plan` on the bundled catalog: what it says, what it saves, and how it ends."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest

from cloudaccel import export, registry
from cloudaccel.api.planning import plan
from cloudaccel.cli import provision
from cloudaccel.cli.provision_request import build
from cloudaccel.decide.check_lock import check
from cloudaccel.provision.money import deadline
from cloudaccel.provision.values import Candidate, Limits
from tests.support import Answer, run

JOB = """\
task: finetune
model: meta-llama/Llama-3-70B
method: lora
dtype: bf16
tokens: 200e6
seq: 4096
requires: [bf16, flash-attn]
deadline: 24h
budget: 300 USD
policy: {residency: EU}
disk: 500GB
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "job.yaml"
    path.write_text(JOB, encoding="utf-8")
    return path


def lock_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "plan.lock.json").read_text(encoding="utf-8"))


def planned(*words: str) -> Answer:
    return run("plan", *words)


def test_a_plan_shows_its_sums_and_saves_a_lock(job: Path) -> None:
    answer = planned(str(job), "--explain")
    assert answer.code == 0, answer.err
    assert "fits, cheapest" in answer.out
    assert "FLOP ÷" in answer.out
    lock = json.loads((job.parent / "plan.lock.json").read_text(encoding="utf-8"))
    chosen = lock["chosen"]
    assert Decimal(chosen["total"]) == sum(Decimal(line["amount"]) for line in chosen["lines"])
    assert Decimal(chosen["total"]) <= 300
    assert chosen["country"] in ("SE", "DE", "FR", "FI", "NL", "IE", "BE", "ES", "IT", "PL", "AT", "DK", "CZ")


def test_the_same_question_gives_the_same_bytes(job: Path) -> None:
    first, second = planned(str(job), "--json", "--lock", "-"), planned(str(job), "--json", "--lock", "-")
    assert first.out == second.out
    assert not (job.parent / "plan.lock.json").exists()


def keys_of(value: object) -> set[str]:
    """Every key in a JSON value, however deep; those of `request` are the user's own, those of `packs` are ids."""
    if isinstance(value, list):
        return {key for item in cast(list[object], value) for key in keys_of(item)}
    if not isinstance(value, dict):
        return set()
    items = cast(dict[str, object], value).items()
    return {key for key, _ in items} | {
        key for name, inner in items if name not in ("request", "packs") for key in keys_of(inner)
    }


def test_every_field_of_the_json_is_in_the_reference(job: Path) -> None:
    reference = (Path(__file__).parents[2] / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
    lock = planned(str(job), "--budget", "9000 USD", "--certify", "--samples", "50", "--json").json
    proof = run("verify", "plan.lock.json", "--json").json
    known = set(re.findall(r"`([a-z_0-9]+)(?:\[\])?`", reference)) | set(lock["considered"]["columns"].split())
    shape = {"tp", "pp", "cp", "ep", "dp", "zero", "micro_batch", "accumulation", "recompute"}
    assert keys_of(lock) | keys_of(proof) <= known | shape


def test_too_small_a_budget_ends_with_4_and_the_nearest_change(job: Path) -> None:
    answer = planned(str(job), "--budget", "20 USD")
    assert answer.code == 4
    assert "of budget" in answer.err
    assert "over budget by" in answer.err


def test_an_impossible_deadline_ends_with_3(job: Path) -> None:
    answer = planned(str(job), "--deadline", "1m", "--budget", "1000000 USD")
    assert answer.code == 3
    assert "misses the deadline" in answer.err


def test_u94_a_plan_that_got_dearer_fails_the_gate(job: Path) -> None:
    assert planned(str(job), "--lock", "main.lock.json").code == 0
    same = planned(str(job), "--against", "main.lock.json", "--max-increase", "0%")
    assert same.code == 0
    assert "+0.0 %" in same.err
    longer = planned(str(job), "--tokens", "300e6", "--against", "main.lock.json", "--max-increase", "5%", "--json")
    assert longer.code == 4
    json.loads(longer.out)
    assert planned(str(job), "--against", "nothing.json").code == 2


@pytest.mark.parametrize("words", ["nan%", "inf", "dear", "", "5%%"])
def test_a_limit_that_is_no_percentage_is_refused_before_any_work(job: Path, words: str) -> None:
    answer = planned(str(job), "--against", "main.lock.json", f"--max-increase={words}")
    assert answer.code == 2
    assert "is no percentage" in answer.err
    assert not (job.parent / "plan.lock.json").exists()


def test_a_limit_needs_something_to_compare_with(job: Path) -> None:
    answer = planned(str(job), "--max-increase", "5%")
    assert answer.code == 2
    assert "--against" in answer.err


@pytest.mark.parametrize(
    ("total", "currency", "code", "message"),
    [
        ("0", "USD", 4, "from nothing"),
        ("NaN", "USD", 2, "its total is NaN"),
        ("-5", "USD", 2, "its total is -5"),
        ("10", "EUR", 2, "in EUR, and this plan's in USD"),
        ("100000", "USD", 0, "-9"),
    ],
)
def test_an_earlier_total_is_compared_only_when_it_can_be(
    job: Path, total: str, currency: str, code: int, message: str
) -> None:
    old = {"chosen": {"total": total, "price": {"currency": currency}}}
    (job.parent / "old.lock.json").write_text(json.dumps(old), encoding="utf-8")
    answer = planned(str(job), "--against", "old.lock.json", "--max-increase", "5%")
    assert answer.code == code, answer.err
    assert message in answer.err


@pytest.mark.parametrize("flag", ["--mfu", "--measured", "--limit", "--max-nodes"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_a_number_that_means_nothing_is_refused_by_its_flag(job: Path, flag: str, value: str) -> None:
    answer = planned(str(job), f"{flag}={value}", "--lock", "-")
    assert answer.code == 2
    assert flag in answer.err


@pytest.mark.parametrize(
    "words", [("--budget", "300 EUR"), ("--disk-price", "0.08 EUR"), ("--transfer-price", "0.09 JPY")]
)
def test_money_in_a_currency_without_a_rate_is_refused(job: Path, words: tuple[str, str]) -> None:
    answer = planned(str(job), *words)
    assert answer.code == 2
    assert "no exchange rate is loaded" in answer.err


def test_every_count_of_the_rejected_says_what_it_counts(job: Path) -> None:
    answer = planned(str(job), "--budget", "20 USD", "--json", "--lock", "-")
    units = {r["reason"]: r["unit"] for r in answer.json["rejected"]}
    assert units["budget"] == "option"
    assert units["unsupported"] == "hardware shape"
    assert "options, budget: " in answer.err


def test_each_option_says_whether_it_can_be_started(job: Path) -> None:
    answer = planned(str(job), "--limit", "40", "--budget", "5000 USD", "--json", "--lock", "-")
    channels = {
        (
            registry.starts(o["provider"]) and o["nodes"] <= 8,  # as many as one run has
            bool(export.starting(o["provider"], o["partition"], o["region"])),
            o["channel"],
        )
        for o in answer.json["options"]
    }
    assert {channel for ours, _, channel in channels if ours} == {"startable"}
    others = {row for row in channels if not row[0]}
    assert (False, True, "export-only") in others
    assert others <= {(False, True, "export-only"), (False, False, "quote-only")}
    assert "export-only" in planned(str(job), "--lock", "-").out


def test_u103_a_cheap_card_without_bf16_is_rejected_with_its_source(job: Path) -> None:
    answer = planned(str(job), "--accel", "V100", "--lock", "-")
    assert answer.code == 3
    assert "no BF16 before Ampere" in answer.err


def test_what_no_source_supports_is_not_offered(job: Path) -> None:
    answer = planned(str(job), "--accel", "tpu:16GB+", "--lock", "-")
    assert answer.code == 3
    assert "no source says whether lora works" in answer.err


def test_u48_accelerator_hours_of_seven_billion_on_a_trillion(job: Path) -> None:
    answer = planned(
        "--task", "pretrain", "--params", "7e9", "--tokens", "1e12", "--accel", "A100-80GB:8x16", "--mfu", "0.40",
        "--setup", "1s", "--json", "--lock", "-",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    chosen = answer.json["chosen"]
    hours = float(chosen["hours"]) * chosen["nodes"] * int(chosen["accelerator"]["count"])
    assert hours == pytest.approx(93_500, rel=0.02)  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "name a job file"),
        (["missing.yaml"], 2, "missing.yaml"),
        (["--task", "finetune", "--method", "lora", "--model", "llama-9-70b", "--tokens", "1e6"], 5, "llama"),
        (["--task", "juggle", "--model", "llama-3-70b"], 2, "juggle"),
        (["--task", "finetune", "--model", "llama-3-70b"], 2, "tokens"),
        (["--task", "finetune", "--model", "llama-3-8b", "--tokens", "1e6", "--rank", "beauty"], 2, "beauty"),
    ],
)  # fmt: skip
def test_bad_jobs_get_one_clear_message(job: Path, words: list[str], code: int, message: str) -> None:
    answer = planned(*words)
    assert answer.code == code, answer.err
    assert message in answer.err


def test_u92_bringing_the_data_can_turn_the_choice(job: Path) -> None:
    here = planned(str(job), "--data", "10TB@nebius:eu-north1", "--budget", "5000 USD", "--json", "--lock", "-").json
    lines = {line["name"]: line["amount"] for line in here["chosen"]["lines"]}
    moved = [o for o in here["options"] if any(line["name"] == "data transfer" for line in o["lines"])]
    assert here["chosen"]["provider"] == "nebius" or Decimal(lines["data transfer"]) == 900
    assert all(Decimal(line["amount"]) == 900 for o in moved for line in o["lines"] if line["name"] == "data transfer")


def test_the_page_and_the_launch_configuration_are_written(job: Path) -> None:
    answer = planned(str(job), "--html", "plan.html", "--launch", "launch", "--lock", "-")
    assert answer.code == 0, answer.err
    page = (job.parent / "plan.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<svg" in page
    assert "rules open" in page, "a page that is passed on says what nobody has answered"
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "<script" not in page
    assert "torchrun" in (job.parent / "launch" / "launch-fsdp.sh").read_text(encoding="utf-8")


def test_the_page_draws_cost_against_time_when_there_is_a_choice(job: Path) -> None:
    answer = planned(str(job), "--budget", "5000 USD", "--html", "plan.html", "--lock", "-", "--limit", "30")
    assert answer.code == 0, answer.err
    page = (job.parent / "plan.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert page.count("<circle") == 30
    assert 'class="front" d="M' in page


def test_u91_energy_and_carbon_show_every_factor(job: Path) -> None:
    answer = planned(str(job), "--explain", "--rank", "carbon", "--lock", "-")
    assert "least carbon" in answer.out
    (energy,) = [line for line in answer.out.splitlines() if line.startswith("  energy ")]
    (carbon,) = [line for line in answer.out.splitlines() if line.startswith("  carbon ")]
    assert all(word in energy for word in ("accelerator-hours", "kW", "load", "PUE", "kWh"))
    assert "g/kWh" in carbon


@pytest.mark.parametrize(
    ("line", "accelerators", "rate"),
    [
        ("step {n} tokens per second per gpu: {r}", 8, 1000.0),
        ("iteration {n} | tokens/s/device {r} | loss 2.1", 8, 1000.0),
        ('{{"step": {n}, "train_tokens_per_second": {r}}}', 8, 125.0),
        ("step: {n}  loss: 3.2  memory: 40GiB  tps: {r}  mfu: 40%", 8, 1000.0),
    ],
)
def test_a_log_becomes_one_rate(tmp_path: Path, line: str, accelerators: int, rate: float) -> None:
    log = tmp_path / "train.log"
    rates = [200, 400, *([1000] * 18)]  # the first steps are slow
    log.write_text("\n".join(line.format(n=n, r=r) for n, r in enumerate(rates)), encoding="utf-8")
    answer = run("calibrate", str(log), "--accelerators", str(accelerators), "--json")
    assert answer.code == 0, answer.err
    assert answer.json["tokens_per_s_per_accelerator"] == rate
    assert answer.json["steady"] is True


MEGATRON = (
    " [2026-11-02 10:00:10] iteration {n:8d}/  500000 | consumed samples: {n:12d} | elapsed time per iteration (ms): "
    "4096.0 | throughput per GPU (TFLOP/s/GPU): 412.3 | learning rate: 1.5E-04 | global batch size:  1024 | lm loss: 2"
)
DEEPSPEED = (
    "[2026-11-02 10:00:10,123] [INFO] [timer.py:260:stop] epoch=0/micro_step={n}/global_step={n}, "
    "RunningAvgSamplesPerSec=11.3, CurrSamplesPerSec=32.0, MemAllocated=14.2GB, MaxMemAllocated=60.1GB"
)


@pytest.mark.parametrize(
    ("head", "line", "flags", "rate"),
    [
        ("  seq_length ........ 4096\n  world_size ........ 128\n", MEGATRON, (), 8000.0),
        ("", MEGATRON, ("--seq", "4096", "--accelerators", "128"), 8000.0),
        ("", DEEPSPEED, ("--seq", "2048", "--accelerators", "8"), 8192.0),
    ],
)
def test_samples_become_tokens(tmp_path: Path, head: str, line: str, flags: tuple[str, ...], rate: float) -> None:
    """Believed wrongly: that the two most used trainers print tokens per second."""
    log = tmp_path / "train.log"
    log.write_text(head + "\n".join(line.format(n=n) for n in range(20)), encoding="utf-8")
    answer = run("calibrate", str(log), *flags, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["tokens_per_s_per_accelerator"] == rate


def test_samples_of_unknown_length_are_refused(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("\n".join(DEEPSPEED.format(n=n) for n in range(20)), encoding="utf-8")
    answer = run("calibrate", str(log))
    assert answer.code == 2
    assert "--seq" in answer.err


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe" * 999, b"tokens/s: nan\n" * 30, b"tokens/s: ...\n" * 30])
def test_garbage_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    log = tmp_path / "train.log"
    log.write_bytes(content)
    answer = run("calibrate", str(log))
    assert answer.code == 2
    assert answer.err.count("\n") == 1


def test_a_log_without_rates_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("loss 3.2\n" * 50, encoding="utf-8")
    answer = run("calibrate", str(log))
    assert answer.code == 2
    assert "--pattern" in answer.err


# -- capacity that the user holds --------------------------------------------------------------------------------------

HELD = (
    "--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "50e6", "--disk", "500GB",
    "--accel", "p4d.24xlarge", "--provider", "aws", "--region", "us-east-2", "--reservation", "cr-123",
)  # fmt: skip


@pytest.mark.usefixtures("job")
def test_u66_a_reservation_costs_nothing_more_and_its_sunk_sum_stands_apart(tmp_path: Path) -> None:
    """They would have believed that the run costs the list price again, or that what was paid is free."""
    answer = planned(*HELD, "--window", "2099-01-10T11:30Z/24h", "--paid", "354 USD")
    assert answer.code == 0, answer.err
    assert "Held     cr-123: 1 machine, 2099-01-10 11:30 to 2099-01-11 11:30 UTC; 0.00 to use" in answer.out
    assert "Sunk     354.00 USD, 14.75 an hour" in answer.out
    lock = json.loads((tmp_path / "plan.lock.json").read_text(encoding="utf-8"))
    held, chosen = lock["reservation"], lock["chosen"]
    assert (held["id"], held["hours"], held["sunk"], held["sunk_per_hour"]) == ("cr-123", "24", "354", "14.75")
    assert (held["start"], held["end"]) == ("2099-01-10T11:30:00+00:00", "2099-01-11T11:30:00+00:00")
    compute, disk = chosen["lines"]
    assert (compute["unit_price"], compute["amount"]) == ("0", "0")
    assert Decimal(chosen["total"]) == Decimal(disk["amount"]) > 0
    assert lock["failover"] == []
    proof = run("verify", "plan.lock.json")
    assert proof.code == 0, proof.out + proof.err


@pytest.mark.usefixtures("job")
def test_u66_without_a_word_of_what_was_paid_the_sunk_sum_is_a_blocks_or_unknown() -> None:
    """They would have believed that a reservation whose price nobody knows cost nothing."""
    window = ("--window", "2099-01-10T11:30Z/24h", "--lock", "-", "--json")
    held = planned(*HELD, *window).json["reservation"]
    offers = run("quote", "p4d.24xlarge", "--market", "capacity-block", "--json").json["offers"]
    (block,) = [offer for offer in offers if offer["market"]["term"] == "24h" and offer["region"] == "us-east-2"]
    assert (held["sunk_per_hour"], held["sunk"]) == (block["price"]["price_per_hour"], block["price"]["upfront"])
    two = [word.replace("p4d.24xlarge", "p4d.24xlarge:8x2") for word in HELD]
    assert Decimal(planned(*two, *window).json["reservation"]["sunk"]) == 2 * Decimal(held["sunk"])
    elsewhere = [word.replace("us-east-2", "us-west-2") for word in HELD]
    unknown = planned(*elsewhere, *window).json["reservation"]
    assert (unknown["sunk"], unknown["sunk_per_hour"]) == (None, None)
    assert "no capacity block" in unknown["source"]


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("window", "why"),
    [
        ("2099-01-10T11:30Z/60m", "needs 1.1 h, and the window of cr-123 has 1.0 h, until 2099-01-10 12:30 UTC"),
        ("2026-01-10T11:30Z/24h", "the window of cr-123 ended 2026-01-11 11:30 UTC"),
    ],
)
def test_u66_a_reservation_expires_with_its_window(window: str, why: str) -> None:
    """They would have believed that a run goes on where the block has ended."""
    answer = planned(*HELD, "--window", window)
    assert answer.code == 3
    assert why in answer.err
    assert "try:" not in answer.err  # no deadline lengthens a window


@pytest.mark.usefixtures("job")
def test_u66_a_window_that_has_begun_has_only_what_is_left() -> None:
    """They would have believed that the whole window is still theirs."""
    words = dict(zip([word.removeprefix("--") for word in HELD[:10:2]], HELD[1:10:2], strict=True))
    now = datetime(2027, 1, 11, 10, 29, 30, tzinfo=UTC)
    found = plan(words, accelerators="p4d.24xlarge", region="us-east-2", reservation="cr-1",
                 window="2027-01-10T11:30Z/24h", now=now)  # fmt: skip
    assert found.workload.deadline_s == 3600
    assert [reason for reason, _ in found.near[0].blocked] == ["deadline"]


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Say --window"),
        (("--window", "2099-01-10T11:30/24h"), "Write Z for UTC"),
        (("--window", "2099-01-10T11:30Z"), "is no window"),
        (("--window", "9999-12-31T11:30Z/40d"), "outside the calendar"),
        (("--window", "2099-01-10T11:30Z/1s"), "below a minute"),
        (("--window", "2099-01-10T11:30Z/1h", "--paid", "3 EUR"), "no exchange rate"),
        (("--window", "2099-01-10T11:30Z/1h", "--market", "spot"), "holds on-demand machines"),
        (("--window", "2099-01-10T11:30Z/1h", "--region", "us-east-1"), "one machine type in one region, and 2"),
        (("--window", "2099-01-10T11:30Z/24h", "--export", "terraform"), "would be paid again"),
    ],
)
def test_u66_what_cannot_be_planned_in_a_reservation_says_what_to_do(words: tuple[str, ...], message: str) -> None:
    """They would have believed that a guess at the machine, the zone or the currency is their reservation."""
    answer = planned(*HELD, *words)
    assert answer.code == 2
    assert message in answer.err


@pytest.mark.usefixtures("job")
def test_u66_a_lock_is_started_in_its_reservation_and_in_no_other() -> None:
    """They would have believed that they start inside what they hold, and paid the list price."""
    assert planned(*HELD, "--window", "2099-01-10T11:30Z/24h").code == 0
    asked = build(provision.parser().parse_args(["up", "plan.lock.json", "--headquarters", "US", "--users", "US"])).spec
    assert [(c.instance, c.region) for c in asked.candidates] == [("p4d.24xlarge", "us-east-2")]
    assert asked.options.reservation_id == "cr-123"
    assert [c.price_per_hour for c in asked.candidates] == [0]  # paid already: no limit counts it again
    assert asked.limits.start_from == "2099-01-10T11:30:00+00:00"
    known = ("--headquarters", "US", "--users", "US")
    other = run("provision", "up", "plan.lock.json", "--dry-run", "--reservation", "cr-9", *known)
    assert other.code == 2
    assert "planned in cr-123" in other.err


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("sunk", "1", "is not 1"),
        ("hours", "48", "the window has"),
        ("end", "2099-01-10T12:00:00+00:00", "the window has"),
        ("machines", 0, "not all is held"),
    ],
)
def test_u66_a_reservation_that_somebody_touched_is_not_proved(key: str, value: object, wrong: str) -> None:
    """They would have believed a lock whose window, machines or sunk sum are not those of its plan."""
    lock = planned(*HELD, "--window", "2099-01-10T11:30Z/24h", "--json").json
    assert check(lock).wrong == []
    lock["reservation"][key] = value
    assert any(wrong in text for text in check(lock).wrong)
    lock["reservation"] = None
    assert any("is paid at 0, offered at" in text for text in check(lock).wrong)


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("window", "said"),
    [("2099-01-10T11:30Z/24h", "begins 2099-01-10 11:30Z"), ("2026-01-10T11:30Z/24h", "Plan again for what is left")],
)
def test_u66_nothing_starts_outside_the_window_of_its_reservation(window: str, said: str) -> None:
    """They would have believed that a start before the window, or too late in it, is inside what they hold."""
    assert planned(*HELD, "--window", "2099-01-10T11:30Z/24h").code == 0
    lock = json.loads(Path("plan.lock.json").read_text(encoding="utf-8"))
    start = datetime.fromisoformat(window.partition("/")[0])
    lock["reservation"] |= {"start": start.isoformat(), "end": (start + timedelta(hours=24)).isoformat()}
    Path("plan.lock.json").write_text(json.dumps(lock), encoding="utf-8")
    known = ("--headquarters", "US", "--users", "US")
    answer = run("provision", "up", "plan.lock.json", "--yes", "--max-hourly", "0.01", *known)
    assert answer.code == 4
    assert said in answer.err


def test_u66_a_lease_ends_with_the_reservation_and_a_block_before_its_end() -> None:
    """They would have believed that four hours are held, when the block gives back its machines in two."""
    now = datetime(2026, 12, 1, 10, tzinfo=UTC)
    place = Candidate(
        provider="p", partition="p", region="r", zone=None, instance="i", accelerator_id=None, accelerator_count=None,
        nodes=1, market="capacity_block", price_per_hour=Decimal(0), currency="USD", price_as_of=None, offer_id="",
        catalog_id="",
    )  # fmt: skip
    limits = Limits(end_by=(now + timedelta(hours=2)).isoformat(), max_total=Decimal(100))
    assert deadline(place, limits, 4 * 3600, now) == now + timedelta(hours=2)
