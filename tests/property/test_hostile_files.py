"""Every file that a command reads, changed at random: it is used or refused with one message, and never a stack trace.

``CLOUDACCEL_TEST_EXAMPLES=500 pytest tests/property/test_hostile_files.py`` looks deeper than the usual run does.
"""

import json
import os
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.support import HEADER, Answer, run

EXAMPLES = int(os.environ.get("CLOUDACCEL_TEST_EXAMPLES", "0")) or 6
TUNE = ("--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "200e6")
PRICES = f"""{HEADER}
lambda,us-east-1,,big.8x,H100-SXM,8,80,96,on-demand,50,USD,2026-09-01,list
own,,,box,L40S,1/2,48,9,reserved-1y,1.90,EUR,2026-07-01,"a, b"
"""
JOB = """task: finetune
model: llama-3-8b
method: lora
tokens: 200e6
seq: 4096
requires: [bf16]
deadline: 24h
budget: 300 USD
policy: {residency: EU, country: NO}
disk: 500GB
"""
SERVE = """task: serve
shape: {layers: 32, hidden: 4096, heads: 32, kv_heads: 8, ffn: 14336, vocab: 128256}
concurrency: 8
input-tokens: 1000
output-tokens: 200
"""
ROADMAP = """start: 2027-01
demand:
  training: 0*3, 64*9
  serving: {from: 8, growth: 5%, months: 12}
options:
  - {name: od, rent: 'H100-SXM:8', price: 24/h}
  - {name: year, commit: 'H100-SXM:8', term: 12, price: 15/h, decline: 10%}
  - {name: dgx, buy: dgx-h100, lead: 6, speed: {training: 1.0}}
site-kw: 60
"""
INVENTORY = """machine,machines,site,country,system,accelerator,count,capex,years,kwh,annual,price_per_hour,as_of
dgx-1,4,Paris,FR,dgx-h100,,,,,0.16,,,2026-11-01
old,2,Paris,FR,,A100-80GB-SXM,8,,,,160000,,2026-11-01
finance,1,Lyon,FR,,L40S,8,,,,,6.10,2026-11-01
"""
PACK = """id: mine
title: Mine
version: "1"
status: organisation
kind: organisation
jurisdiction: organisation
as_of: 2026-11-25
review_by: 2027-05-25
sources: [board decision]
rules:
- {id: mine/place, effect: require, cite: board decision, check: location, roles: [processing], in: [NO, EU]}
"""
ADJUSTMENTS = """[[adjustment]]
name = "enterprise agreement"
percent = -12.5
provider = "aws"
market = ["on-demand", "spot"]
[[adjustment]]
name = "security agent"
per_machine_hour = "0.12 USD"
until = 2027-06-30
[[commitment]]
name = "H100 pool"
provider = "aws"
region = "us-east-1"
instance = "p5.48xlarge"
machines = 4
price_per_hour = "30.10 USD"
from = 2026-01-01
until = 2028-12-31
"""
RATES = "Date,USD,JPY,CNY,CYP,\n2026-11-26,1.25,150.0,8.0,N/A,\n2026-11-25,9.0,9.0,9.0,N/A,\n"
RATES_XML = """<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01"
  xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
  <Cube><Cube time='2026-11-26'><Cube currency='USD' rate='1.25'/><Cube currency='JPY' rate='150.0'/>
  </Cube></Cube></gesmes:Envelope>"""
BILL = (
    "BillingCurrency,ChargeCategory,ChargeClass,ChargeDescription,ChargePeriodStart,EffectiveCost,ListCost,"
    "PricingCategory,PricingQuantity,PricingUnit,ProviderName,RegionId,SkuPriceDetails,SkuMeter\n"
    "USD,Usage,,an hour,2026-10-01T00:00:00Z,40,50,Standard,1,Hours,AWS,us-east-1,"
    '"{""InstanceType"":""p5.48xlarge""}",\n'
)
STATEMENTS = json.dumps(
    {
        "schema": "cloudaccel.statements/1",
        "statements": [{"need": "dpa:lambda", "by": "legal", "on": "2026-11-01", "until": "2027-06-30"}],
        "accept_unknown": [{"rule": "mine/place", "reason": "small", "by": "me", "until": "2027-06-30"}],
    }
)
CONFIG = """max_age = "30d"
headquarters = "FR"
users = "none"
history_days = "90"
max_hourly = "100 USD"
mirrors = "https://a.example=https://b.example"
proxy = "http://proxy.example:3128"
[profile.work]
sector = "bank"
"""
ANSWERS = '{"data-may-leave": "no", "params": 8e9, "tokens-per-month": 1e9}'
MODEL = json.dumps(
    {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    }
)  # fmt: skip
LOG = "  seq_length ........ 4096\n  world_size ........ 128\n" + "\n".join(
    f" [2026-11-02 10:00:{n:02}] iteration {n:8d}/  500000 | consumed samples: {n * 64:12d} | elapsed time per "
    "iteration (ms): 812.4 | global batch size:    64 | lm loss: 2.1E+00 |"
    for n in range(20)
)  # fmt: skip


class Door(NamedTuple):
    """A file that a command reads: its name, how it looks when it is right, and the words that read FILE."""

    file: str
    good: str | Callable[[], str]
    words: tuple[str, ...]


def read_by(door: Door, path: Path) -> Answer:
    return run(*(str(path) if word == "FILE" else word for word in door.words))


@cache
def lock() -> str:
    answer = run("plan", *TUNE, "--deadline", "12h", "--provider", "aws", "--json", "--lock", "-")
    assert answer.code == 0, answer.err
    return answer.out


@cache
def quotas() -> str:
    answer = run(
        "plan", "--quota-report", "--accel", "V100:8", "--provider", "aws", "--quota", "aws::L-417A185B=64", "--json"
    )
    assert answer.code == 0, answer.err
    return answer.out


DOORS = {
    "price file": Door("p.csv", PRICES, ("quote", "H100", "--price-file", "FILE", "--json")),
    "catalog": Door("c.csv", PRICES, ("--catalog", "FILE", "quote", "H100", "--json")),
    "job": Door("job.yaml", JOB, ("plan", "FILE", "--provider", "aws", "--json", "--lock", "-")),
    "job of serving": Door("job.yaml", SERVE, ("plan", "FILE", "--provider", "aws", "--json", "--lock", "-")),
    "job in JSON": Door(
        "job.json", '{"task": "finetune", "method": "lora", "model": "llama-3-8b", "tokens": 2e8, "policy": {}}',
        ("plan", "FILE", "--provider", "aws", "--json", "--lock", "-"),
    ),
    "roadmap": Door("r.yaml", ROADMAP, ("roadmap", "FILE", "--seconds", "0", "--json")),
    "inventory": Door("i.csv", INVENTORY, ("compare", "--inventory", "FILE", "--json")),
    "pack": Door("mine.yaml", PACK, ("policy", "verify", "FILE", "--json")),
    "pack in a quote": Door("mine.yaml", PACK, ("quote", "H100:8", "--policy", "FILE", "--json")),
    "adjustments": Door("a.toml", ADJUSTMENTS, ("quote", "H100:8", "--json")),
    "quotas": Door(
        "q.json", quotas,
        ("plan", "--quota-report", "--accel", "V100:8", "--provider", "aws", "--quota", "FILE", "--json"),
    ),
    "rates": Door("fx.csv", RATES, ("quote", "H100", "--currency", "JPY", "--fx-file", "FILE", "--json")),
    "rates in XML": Door(
        "fx.xml", RATES_XML, ("quote", "H100", "--currency", "JPY", "--fx-file", "FILE", "--json")
    ),
    "bill": Door("b.csv", BILL, ("prices", "import", "--focus", "FILE", "--json")),
    "statements": Door("s.json", STATEMENTS, ("policy", "assert", "--statements", "FILE", "--json")),
    "configuration": Door("config.toml", CONFIG, ("--config", "FILE", "quote", "H100:8", "--json")),
    "answers": Door("a.json", ANSWERS, ("advise", "FILE", "--json")),
    "model": Door(
        "config.json", MODEL, ("plan", *TUNE[:4], "--model", "FILE", *TUNE[6:], "--json", "--lock", "-"),
    ),
    "log": Door("train.log", LOG, ("calibrate", "FILE", "--json")),
    "lock": Door("plan.lock.json", lock, ("verify", "FILE", "--json")),
    "lock to export": Door("plan.lock.json", lock, ("plan", "FILE", "--export", "dstack")),
}  # fmt: skip
_SET = {"adjustments": "CLOUDACCEL_ADJUSTMENTS"}  # read because a setting names it

NASTY = (
    "", "nan", "inf", "-inf", "-1", "0", "0.0", "1e400", "1e999999999", "-0", "1e-400", "9" * 5000, "1/0", "0x10",
    "1_000", "\u0663", "\u00bd", "\u202e", "\x00", "\x1b[31m", "\U0001f4a5", "\\ud800", "null", "~", "true", "[]",
    "{}", "[[[[", "]", "}", "&a [*a, *a]", "*a", "!!python/object/apply:os.system ['true']", "<<: {}", "2026-13-45",
    "0000-00-00", "9999-12-31", "0001-01-01", "'", '"', ",", ";", "=", ":", "%", "%s", "{0}", "\n", "\r", "\t",
    "\ufeff", "-" * 300, "x" * 70_000, "[" * 3000, '{"a":' * 3000, "../../etc/passwd", "/dev/zero", "=cmd()",
    "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>", "H100:999999999999999999", "H100:1/0", "1e99h",
    "1e99 USD", "USD", "NO", "no", "on", "1:30", "2026-11-26T00:00:00+99:99",
)  # fmt: skip


def changed(good: str, rng: random.Random) -> str:
    """The text with one to three places of it cut, doubled, or replaced."""
    text = good
    for _ in range(rng.randint(1, 3)):
        words = [m.span() for m in _words(text)]
        if not words:
            return text
        start, end = rng.choice(words)
        how = rng.random()
        if how < 0.6:
            text = text[:start] + rng.choice(NASTY) + text[end:]
        elif how < 0.7:
            text = text[:start] + rng.choice(NASTY) + text[start:]
        elif how < 0.8:
            text = text[:start] + text[rng.choice(words)[1] :]
        elif how < 0.9:
            lines = text.splitlines(keepends=True)
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            text = "".join(lines)
        else:
            other = rng.choice(words)
            text = text[:start] + text[other[0] : other[1]] + text[end:]
    return text


def _words(text: str) -> Iterator[re.Match[str]]:
    return re.finditer(r"[^\s,:;=\[\]{}\"'|]+", text)


def in_bytes(text: str, rng: random.Random) -> bytes:
    """The text as a file: now and then in another encoding, cut off, or with bytes that are no text."""
    data = text.encode("utf-8", "surrogatepass")
    how = rng.random()
    if how < 0.05:
        return text.encode("utf-16", "surrogatepass")
    if how < 0.1:
        return data[: rng.randrange(len(data) + 1)]
    if how < 0.15:
        at = rng.randrange(len(data) + 1)
        return data[:at] + rng.randbytes(rng.randint(1, 40)) + data[at:]
    return data


def not_a_number(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def holds(answer: Answer, what: object) -> None:
    """What every answer must be: an exit code that is documented and no bug, words that help, JSON that is JSON."""
    assert answer.code in (0, 2, 3, 4, 5, 6, 7), (answer, what)
    assert "Traceback" not in answer.err, what
    assert "\x1b" not in answer.err, ("a terminal would have obeyed", answer.err, what)
    if answer.code:
        assert len(answer.err.strip()) > 10, (answer, what)
    if answer.out.startswith("{"):
        json.loads(answer.out, parse_constant=not_a_number)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DOORS)
@hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=(hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow),
)
@hypothesis.given(seed=st.integers(0, 2**32))
def test_a_file_that_was_changed_is_used_or_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    door, rng = DOORS[name], random.Random(seed)  # noqa: S311 - guards nothing
    good = door.good if isinstance(door.good, str) else door.good()
    path = tmp_path / door.file
    monkeypatch.chdir(tmp_path)
    path.write_bytes(in_bytes(changed(good, rng), rng))
    if name in _SET:
        monkeypatch.setenv(_SET[name], str(path))
    holds(read_by(door, path), path.read_bytes()[:3000])


@pytest.mark.parametrize("name", DOORS)
def test_the_file_as_it_should_be_is_used(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would only see files that are refused at their first line."""
    door = DOORS[name]
    path = tmp_path / door.file
    path.write_text(door.good if isinstance(door.good, str) else door.good(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    if name in _SET:
        monkeypatch.setenv(_SET[name], str(path))
    answer = read_by(door, path)
    assert answer.code in (0, 3, 4), answer.err


WHOLE = {
    "empty": b"",
    "zeros": b"\0" * 100,
    "no text": b"\xff\xfe\x00\xd8",
    "a mark alone": b"\xef\xbb\xbf",
    "lists": b"[" * 100_000,
    "mappings": b'{"a":' * 100_000,
    "a list in TOML": b"a = " + b"[" * 100_000,
    "a figure": b"9" * 5000,
    "a figure in TOML": b"max_age = " + b"9" * 5000,
    "a figure in JSON": b'{"schema": ' + b"9" * 5000 + b"}",
    "a figure in YAML": b"task: " + b"9" * 5000,
    "a line": b"x" * 1_000_000,
    "commas": b"," * 100_000,
    "a page": b"<html></html>",
    "surrogates": b'{"\\ud800": "\\udfff"}',
    "numbers": b'{"a": NaN, "b": Infinity, "c": 1e999}',
    "null": b"null",
}  # fmt: skip


@pytest.mark.parametrize("what", [*WHOLE, "a folder", "nothing", "a link to itself"])
@pytest.mark.parametrize("name", DOORS)
def test_a_file_of_anything_is_refused(name: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door = DOORS[name]
    path = tmp_path / door.file
    if what == "a folder":
        path.mkdir()
    elif what == "a link to itself":
        path.symlink_to(path)
    elif what != "nothing":
        path.write_bytes(WHOLE[what])
    monkeypatch.chdir(tmp_path)
    if name in _SET:
        monkeypatch.setenv(_SET[name], str(path))
    answer = read_by(door, path)
    holds(answer, what)
    assert len(answer.err) < 5000, answer.err[:500]
