"""Runs from plan to verified end, through the real SDK against a fake cloud on loopback."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.loopback import CANARIES, on_loopback
from tests.one_clock import PROGRAM, OneClock
from tests.support import PATIENCE_S, Answer, holds_self_test_of_a_fake, price_file, run

if TYPE_CHECKING:
    from cloudaccel_aws.fake import FakeAws

pytestmark = pytest.mark.network


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: OneClock) -> Iterator["FakeAws"]:
    """A fake cloud that the SDK of this process and of its children talks to."""
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    with on_loopback("aws", monkeypatch, now=clock.now) as fake:
        yield fake


def provision(*words: str) -> Answer:
    return run("provision", *words)


def up(*words: str) -> Answer:
    return provision("up", "g5.xlarge", "--region", "us-east-1", "--yes", *words)


def script(cloud: "FakeAws", action: str, **fault: Any) -> None:
    from cloudaccel_aws.fake import Fault

    cloud.faults.append(Fault(action, **fault))


def errors(answer: Answer) -> list[str]:
    """Its lines on stderr but notes, and what is waited for, which a busy machine says."""
    return [line for line in answer.err.splitlines() if not line.startswith(("note: ", "waiting "))]


def only_run(answer: Answer | None = None) -> str:
    listed: list[dict[str, Any]] = (answer or provision("list", "--json")).json["runs"]
    (one,) = listed
    return str(one["id"])


def machines(cloud: "FakeAws") -> list[dict[str, Any]]:
    return [thing for thing in cloud.live() if thing["kind"] == "machine"]


def test_a_lora_job_is_planned_brought_up_and_taken_down(cloud: "FakeAws") -> None:
    planned = run(
        "plan", "--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "20e6",
        "--provider", "aws", "--region", "us-east-1", "--deadline", "24h", "--budget", "500 USD", "--startable",
        "--headquarters", "DE", "--users", "none",
    )  # fmt: skip
    assert planned.code == 0, planned.err
    rehearsed = provision("up", "plan.lock.json", "--dry-run")
    assert rehearsed.code == 0, rehearsed.err
    assert "Nothing was created" in rehearsed.out
    assert not cloud.live()
    started = provision("up", "plan.lock.json", "--yes")
    assert started.code == 0, started.err
    chosen = json.loads(Path("plan.lock.json").read_text(encoding="utf-8"))["chosen"]
    assert len(machines(cloud)) == chosen["nodes"]
    identity = only_run()
    assert "running" in provision("show", identity).out
    assert "frozen at launch" in provision("cost", identity).out
    ended = provision("down", identity)
    assert ended.code == 0, ended.err
    assert "GONE" in ended.out
    assert not cloud.live()
    assert "Nothing is left over" in provision("reap", "--reconcile").out


def test_piped_without_yes_nothing_starts(cloud: "FakeAws") -> None:
    answer = provision("up", "g5.xlarge", "--region", "us-east-1")
    assert answer.code == 2
    assert "--yes" in answer.err
    assert not cloud.live()


def test_u23_a_family_is_ambiguous(cloud: "FakeAws") -> None:
    answer = provision("up", "H100:8", "--yes")
    assert answer.code == 5
    assert "H100-SXM:8" in answer.err
    assert not cloud.live()


@pytest.mark.parametrize("limit", [("--max-hourly", "0.5"), ("--max-total", "0.01")])
def test_a_limit_in_money_is_kept(cloud: "FakeAws", limit: tuple[str, str]) -> None:
    answer = up(*limit)
    assert answer.code == 4, answer.err
    assert not cloud.live()


def test_u80_capacity_moves_on_to_the_next_zone(cloud: "FakeAws") -> None:
    script(cloud, "RunInstances", code="InsufficientInstanceCapacity", status=500, where={"zone": "us-east-1a"})
    answer = up()
    assert answer.code == 0, answer.err
    assert "InsufficientInstanceCapacity" in answer.err
    assert len(machines(cloud)) == 1


def _zones_asked(cloud: "FakeAws") -> list[str]:
    """Zones in which machines were asked for in earnest, in order."""
    sent = [p for _, action, p in cloud.calls if action == "RunInstances" and p.get("DryRun") != "true"]
    return [p["Placement.AvailabilityZone"] for p in sent]


def test_u80_a_spot_price_of_a_zone_starts_in_that_zone_by_its_name(cloud: "FakeAws") -> None:
    """He would have believed that a zone is full: prices call it use1-az6, and no subnet has that name."""
    answer = provision("up", "p4d.24xlarge", "--region", "us-east-1", "--market", "spot", "--yes", "--places", "1")
    assert answer.code == 0, answer.err
    (asked,) = _zones_asked(cloud)
    found = run("quote", "p4d.24xlarge", "--region", "us-east-1", "--market", "spot", "--json", "--limit", "1")
    (cheapest,) = found.json["offers"]
    assert cheapest["zone"].startswith("use1-az")
    names = {"use1-az6": "us-east-1a", "use1-az1": "us-east-1b", "use1-az2": "us-east-1c", "use1-az4": "us-east-1d"}
    assert asked == names[cheapest["zone"]]  # as the fake's account names its zones


def test_a_zone_that_the_account_has_not_enabled_says_so(cloud: "FakeAws") -> None:
    """He would have believed that Santiago has no machine, or would have got one in Virginia at its price."""
    answer = provision("up", "g4dn.2xlarge", "--region", "us-east-1-scl-1", "--yes")
    assert answer.code == 10, answer.err
    assert "not offered in us-east-1-scl-1, or the account has not enabled that zone" in answer.err
    assert not cloud.live()


def test_u80_three_errors_have_three_reactions(cloud: "FakeAws") -> None:
    """He would have believed that one text means one cause: a zone without the type was asked again and again."""
    script(cloud, "RunInstances", code="Unsupported", status=400, times=99, where={"zone": "us-east-1a"})
    script(
        cloud, "RunInstances", code="InsufficientInstanceCapacity", status=500, times=1, where={"zone": "us-east-1b"}
    )
    for zone in ("us-east-1c", "us-east-1d", "us-east-1e", "us-east-1f"):
        script(cloud, "RunInstances", code="InsufficientInstanceCapacity", status=500, times=99, where={"zone": zone})
    answer = up("--wait", "10m")
    assert answer.code == 0, answer.err
    asked = _zones_asked(cloud)
    assert asked.count("us-east-1a") == 1, "a zone that does not have the type is never asked again"
    assert asked.count("us-east-1b") == 2, "one without capacity is asked again on the next round"
    until = re.search(r"not asked again before (\d{4}-\d\d-\d\d) [\d:]+Z: aws: RunInstances: Unsupported", answer.err)
    assert until is not None, "the hour alone looks past: it is tomorrow's"
    assert provision("down", "--all", "--yes").code == 0


def test_u81_no_capacity_ends_in_time_with_nothing_left(cloud: "FakeAws", clock: OneClock) -> None:
    script(cloud, "RunInstances", code="InsufficientInstanceCapacity", status=500, times=999)
    started = clock.seconds()
    answer = up("--wait", "2s")
    assert answer.code == 10, answer.err
    assert clock.seconds() - started < 30
    assert not cloud.live()


def test_credentials_that_are_refused_end_with_7(cloud: "FakeAws") -> None:
    script(cloud, "RunInstances", code="UnauthorizedOperation", status=403, times=99, dry_run=True)
    answer = up()
    assert answer.code == 7, answer.err
    assert not machines(cloud)


def test_a_quota_is_named(cloud: "FakeAws") -> None:
    cloud.quotas["L-DB2E81BA"] = 0.0
    answer = up()
    assert answer.code == 7, answer.err
    assert "L-DB2E81BA" in answer.err
    assert not machines(cloud)


def test_u73_the_quota_of_one_market_is_not_that_of_the_other(cloud: "FakeAws", tmp_path: Path) -> None:
    """He would have believed that the quota of spot, which was raised, is the one that on demand lacks."""
    cloud.quotas |= {"L-DB2E81BA": 0.0, "L-3819A6DF": 64.0}
    spot = price_file(tmp_path, "aws,us-east-1,,g5.xlarge,A10G,1,24,4,spot,0.45,USD,2026-07-01,l")
    answer = up("--market", "on-demand,spot", "--price-file", str(spot))
    assert answer.code == 0, answer.err
    assert "L-DB2E81BA" in answer.err
    assert len(machines(cloud)) == 1
    assert provision("down", only_run()).code == 0
    assert not cloud.live()


def test_an_answer_that_is_lost_starts_one_machine_and_not_two(cloud: "FakeAws") -> None:
    script(cloud, "RunInstances", lost=True)
    answer = up()
    assert answer.code == 0, answer.err
    assert len(machines(cloud)) == 1
    assert provision("down", only_run()).code == 0
    assert not cloud.live()


@pytest.mark.parametrize(("action", "times"), [
    ("GetCallerIdentity", 1), ("GetServiceQuota", 1), ("CreateSecurityGroup", 1), ("RunInstances", 1),
    ("DescribeInstances", 2),
])  # fmt: skip
def test_u95_killed_at_any_moment_everything_is_found_again(cloud: "FakeAws", action: str, times: int) -> None:
    """Killed as soon as the cloud has this call; the last one is that of a machine that runs."""
    words = ["provision", "up", "g5.xlarge", "--region", "us-east-1", "--yes"]
    process = subprocess.Popen(
        [*PROGRAM, *words], env=dict(os.environ), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while [a for _, a, _ in list(cloud.calls)].count(action) < times and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(machines(cloud)) <= 1
    if (
        '"ready"' not in provision("list", "--json").out
    ):  # it was killed before it was done: the same words go on with it
        answer = up()
        assert answer.code == 0, answer.err
    assert len(machines(cloud)) == 1
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_u84_nothing_is_sent_outside_the_region(cloud: "FakeAws") -> None:
    assert up().code == 0
    assert {region for region, _, _ in cloud.calls} == {"us-east-1"}
    assert provision("down", "--all", "--yes").code == 0


def test_u86_a_machine_in_another_place_is_taken_down(cloud: "FakeAws") -> None:
    for zone in ("us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d", "us-east-1e", "us-east-1f"):
        cloud.lie_about_zone(zone, "us-west-2a")
    answer = up()
    assert answer.code in (4, 10), answer.err
    assert not machines(cloud)


def test_u09_the_price_of_the_launch_stays(cloud: "FakeAws", tmp_path: Path) -> None:
    assert up().code == 0
    identity = only_run()
    before = provision("cost", identity, "--json").json
    empty = tmp_path / "other.csv"
    empty.write_text(
        "provider,region,instance,accelerator,count,hourly,as_of\naws,us-east-1,g4dn.xlarge,T4,1,9,2026-01-01\n",
        encoding="utf-8",
    )
    after = run("--catalog", str(empty), "provision", "cost", identity, "--json").json
    prices = [re.findall(r'"price_per_hour": "([^"]+)"', json.dumps(body)) for body in (before, after)]
    assert prices[0] == prices[1] == ["1.006"]
    assert provision("down", identity).code == 0


def test_the_lease_can_be_extended_inside_the_deadline(cloud: "FakeAws") -> None:
    assert up("--max-total", "40").code == 0
    assert provision("extend", only_run(), "2h").code == 0
    assert provision("extend", only_run(), "900h").code == 4
    assert provision("down", "--all", "--yes").code == 0


def test_a_machine_ends_by_itself_when_nobody_is_left(cloud: "FakeAws") -> None:
    assert up().code == 0
    cloud.advance(4.5 * 3600)  # half an hour past the lease
    assert not machines(cloud)
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_what_is_sent_is_closed_encrypted_tagged_and_ends(cloud: "FakeAws") -> None:
    assert up().code == 0
    (sent,) = [p for _, action, p in cloud.calls if action == "RunInstances" and p.get("DryRun") != "true"]
    text = json.dumps(sent)
    assert '"MetadataOptions.HttpTokens": "required"' in text
    assert '"InstanceInitiatedShutdownBehavior": "terminate"' in text
    assert "Ebs.Encrypted" in text
    assert "0.0.0.0/0" not in text
    assert all(value != "true" for key, value in sent.items() if key.endswith("AssociatePublicIpAddress"))
    assert "ClientToken" in sent
    assert not [
        p for _, action, p in cloud.calls if action == "AuthorizeSecurityGroupIngress" and "0.0.0.0/0" in str(p)
    ]
    assert provision("down", "--all", "--yes").code == 0


def test_the_whole_world_may_not_come_in(cloud: "FakeAws") -> None:
    answer = up("--ssh-cidr", "0.0.0.0/0")
    assert answer.code == 2
    assert not cloud.live()


def test_no_secret_is_written_or_said(cloud: "FakeAws", tmp_path: Path) -> None:
    answers = [up(), provision("list"), provision("show", only_run()), provision("down", "--all", "--yes")]
    said = "".join(answer.out + answer.err for answer in answers)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for canary in CANARIES:
        assert canary not in said
        assert not any(canary.encode() in content for content in files)


def test_another_installs_machine_is_left_alone(cloud: "FakeAws") -> None:
    ec2: Any = import_module("boto3").client("ec2", region_name="us-east-1")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)
    before = len(machines(cloud))
    assert up().code == 0
    assert provision("down", "--all", "--yes").code == 0
    assert provision("reap", "--reconcile", "--yes").code == 0
    assert len(machines(cloud)) == before


def test_down_all_also_ends_what_turned_up_after_a_run_was_over(cloud: "FakeAws") -> None:
    """A run that is over and still has a machine was passed over by the words "every run that is not proved gone"."""
    from cloudaccel import state
    from cloudaccel.provision.clock import SystemClock
    from cloudaccel.provision.journal import Journal

    assert up().code == 0
    identity = only_run()
    with state.opened() as engine:
        journal = Journal(engine, SystemClock())
        run_of = journal.take(journal.run(identity))
        journal.let_go(journal.update(run_of, state="deleted"))
    assert machines(cloud)
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_what_cannot_be_ended_is_named_and_ends_with_11(cloud: "FakeAws") -> None:
    """An ending that was refused looked like an ending."""
    assert up().code == 0
    (machine,) = machines(cloud)
    script(cloud, "TerminateInstances", code="UnauthorizedOperation", status=403, times=99)
    answer = provision("down", "--all", "--yes", "--wait", "1s")
    assert answer.code == 11, answer.err
    assert "MAY STILL BE BILLING" in answer.err
    assert machine["id"] in answer.err
    assert "maybe" in provision("list").out
    cloud.faults.clear()
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ending_says_what_it_waits_for_and_can_be_left(cloud: "FakeAws", number: int) -> None:
    """He would have sat before a silent screen, and after Ctrl-C have known neither what bills nor how to end it.

    It waits in earnest: under the one clock it would be over before the signal comes.
    """
    assert up().code == 0
    (machine,) = machines(cloud)
    script(cloud, "TerminateInstances", code="RequestLimitExceeded", status=503, times=999)
    words = ["provision", "down", "--all", "--yes"]
    with subprocess.Popen(
        [sys.executable, "-m", "cloudaccel", *words], env=dict(os.environ), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("waiting, until ")
        assert "RequestLimitExceeded" in said or "throttl" in said
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(timeout=PATIENCE_S) == 11
    assert "interrupted" in rest
    assert machine["id"] in rest
    assert f"provision down {only_run()}" in rest
    cloud.faults.clear()
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_a_cloud_that_cannot_be_reached_ends_with_8(cloud: "FakeAws", monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers: that says nothing about rights, quota or capacity."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    answer = provision("up", "g5.xlarge", "--region", "us-east-1", "--places", "1", "--dry-run")
    assert answer.code == 8, answer.err
    assert not cloud.live()


def test_a_lost_journal_is_replaced_by_the_tags(
    cloud: "FakeAws", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the journal gone, the machine looked like somebody else's for ever."""
    assert up().code == 0
    (machine,) = machines(cloud)
    install = machine["tags"]["cloudaccel-install"]
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path / "another"))
    looked = provision("reap", "--reconcile", "--region", "us-east-1", "--provider", "aws")
    assert "left alone" in looked.out, looked.out + looked.err
    words = ("reap", "--adopt", install, "--region", "us-east-1", "--provider", "aws")
    listed = provision(*words)
    assert listed.code == 11
    assert machine["id"] in listed.out
    assert machines(cloud)
    assert provision(*words, "--yes").code == 0
    assert not cloud.live()


def sent_launches(cloud: "FakeAws") -> list[dict[str, str]]:
    """Parameters of each RunInstances call that was no rehearsal."""
    return [p for _, action, p in cloud.calls if action == "RunInstances" and p.get("DryRun") != "true"]


def test_u73_a_spot_quota_is_not_the_on_demand_quota(cloud: "FakeAws") -> None:
    """An on-demand quota of 0 also ruled out the spot machines of that region, which another quota counts."""
    cloud.quotas.update({"L-DB2E81BA": 0.0, "L-3819A6DF": 8.0})
    rehearsed = up("--market", "on-demand,spot", "--dry-run")
    assert rehearsed.code == 0, rehearsed.err
    assert "(L-DB2E81BA) in us-east-1: needs 4 vCPU, 0 of 0 left" in rehearsed.out
    assert "(L-3819A6DF) in us-east-1: needs 4 vCPU, 8 of 8 left" in rehearsed.out
    answer = up("--market", "on-demand,spot")
    assert answer.code == 0, answer.err
    assert "(L-DB2E81BA) in us-east-1: needs 4 vCPU, 0 of 0 left" in answer.err
    (launch,) = sent_launches(cloud)
    assert launch["InstanceMarketOptions.MarketType"] == "spot"


def test_u73_a_quota_of_one_family_does_not_stop_another(cloud: "FakeAws") -> None:
    """Trainium has its own quota: that of the G machines says nothing of it."""
    cloud.quotas["L-DB2E81BA"] = 0.0
    answer = provision("up", "g5.xlarge,trn1.2xlarge", "--region", "us-east-1", "--yes")
    assert answer.code == 0, answer.err
    assert [p["InstanceType"] for p in sent_launches(cloud)] == ["trn1.2xlarge"]


def test_u77_a_rehearsal_says_how_many_vcpus_to_ask_for(cloud: "FakeAws") -> None:
    """Sixteen GPUs do not count as 16: two p4d.24xlarge are 192 vCPUs of one quota."""
    words = ("up", "A100-SXM-40GB:8x2", "--region", "us-east-1", "--dry-run")
    rehearsed = provision(*words)
    assert rehearsed.code == 0, rehearsed.err
    expected = "Quota Running On-Demand P instances (L-417A185B) in us-east-1: needs 192 vCPU"
    assert expected in rehearsed.out
    assert provision(*words, "--json").json["places"][0]["quota"]["needed"] == "192"
    assert not sent_launches(cloud)


def test_u78_a_quota_of_32_is_eight_small_machines_and_no_large_one(cloud: "FakeAws") -> None:
    """32 is vCPUs: eight g4dn.xlarge of 4, and not one p4d of 96."""
    cloud.quotas.update({"L-DB2E81BA": 32.0, "L-417A185B": 32.0})
    large = provision("up", "p4d.24xlarge", "--region", "us-east-1", "--yes")
    assert large.code == 7
    assert "(L-417A185B) in us-east-1: needs 96 vCPU, 32 of 32 left" in large.err
    words = ("--region", "us-east-1", "--yes", "--places", "1")
    assert provision("up", "T4:1x8", *words).code == 0
    assert len(machines(cloud)) == 8
    ninth = provision("up", "T4:1", *words)
    assert ninth.code == 7
    assert "needs 4 vCPU, 0 of 32 left" in ninth.err
    assert len(machines(cloud)) == 8


def test_u83_a_group_stands_in_one_zone(cloud: "FakeAws") -> None:
    """One machine in zone b and two in c would have been three, and no network between them."""
    cloud.capacity.update({("trn1.32xlarge", "us-east-1b"): 1, ("trn1.32xlarge", "us-east-1c"): 3})
    answer = provision("up", "trn1:16x3", "--region", "us-east-1", "--yes", "--places", "1")
    assert answer.code == 0, answer.err
    launches = sent_launches(cloud)
    assert [(p["Placement.AvailabilityZone"], p["MinCount"], p["MaxCount"]) for p in launches] == [
        ("us-east-1b", "3", "3"), ("us-east-1c", "3", "3"),
    ]  # fmt: skip
    assert all(p["Placement.GroupName"] for p in launches)
    assert len(machines(cloud)) == 3
    assert cloud.capacity["trn1.32xlarge", "us-east-1b"] == 1


def test_u93_a_limit_per_hour_is_for_all_machines(cloud: "FakeAws") -> None:
    """Each machine costs less than the limit, and the two together more."""
    words = ("up", "A10G:1x2", "--region", "us-east-1", "--yes", "--max-hourly")
    answer = provision(*words, "2.0")
    assert answer.code == 4
    assert "2.01 USD an hour is over --max-hourly 2.00" in answer.err
    assert not sent_launches(cloud)
    assert provision(*words, "2.1").code == 0
    assert len(machines(cloud)) == 2


def test_u100_a_group_gets_every_efa_interface_and_says_so(cloud: "FakeAws") -> None:
    """One interface of four was attached, and the machines talked at a quarter of the speed."""
    words = ("up", "A100-SXM-40GB:8x2", "--region", "us-east-1", "--provider", "aws", "--places", "1")
    assert "4 EFA interfaces on each machine." in provision(*words, "--dry-run").out
    answer = provision(*words, "--yes")
    assert answer.code == 0, answer.err
    (launch,) = sent_launches(cloud)
    cards = {key: value for key, value in launch.items() if key.endswith(".InterfaceType")}
    assert sorted(cards.values()) == ["efa", "efa-only", "efa-only", "efa-only"]
    assert launch["Placement.GroupName"]


def test_u66_a_reservation_is_used_and_its_price_is_spent_already(cloud: "FakeAws") -> None:
    """Held capacity looked like money that is spent once more, and was not found beside an empty open market."""
    cloud.reserve("cr-1", "p4d.24xlarge", "us-east-1b", 1)
    cloud.quotas["L-417A185B"] = 0.0  # what is held is counted already
    words = ("up", "p4d.24xlarge", "--region", "us-east-1", "--reservation", "cr-1")
    rehearsed = provision(*words, "--dry-run")
    assert rehearsed.code == 0, rehearsed.err
    assert "Taken from reservation cr-1" in rehearsed.out
    assert "add 0.00" in rehearsed.out
    assert provision(*words, "--dry-run", "--json").json["reservation"] == "cr-1"
    answer = provision(*words, "--yes")
    assert answer.code == 0, answer.err
    key = "CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId"
    assert {p.get(key) for p in sent_launches(cloud)} == {"cr-1"}
    assert cloud.reservations["cr-1"]["left"] == 0


def test_u66_a_reservation_that_is_used_up_says_nothing_of_the_open_market(cloud: "FakeAws") -> None:
    """The block list took "cr-1 has no room" for "this zone has none", and passed over the zone for everybody."""
    cloud.reserve("cr-1", "p4d.24xlarge", "us-east-1f", 0)
    words = ("up", "p4d.24xlarge", "--region", "us-east-1", "--yes")
    used_up = provision(*words, "--reservation", "cr-1")
    assert used_up.code == 10
    assert "ReservationCapacityExceeded" in used_up.err
    answer = provision(*words)
    assert answer.code == 0, answer.err
    assert "blocked" not in answer.err
    assert sent_launches(cloud)[-1]["Placement.AvailabilityZone"] == "us-east-1a"


def test_u72_larger_machines_stand_in_only_below_the_price_of_the_small_one(cloud: "FakeAws") -> None:
    """With no small one to be had, a larger one at twice the price was as good."""
    script(
        cloud, "RunInstances", code="InsufficientInstanceCapacity", status=500, times=99,
        where={"InstanceType": "g4dn.xlarge"},
    )  # fmt: skip
    words = ("up", "T4:1", "--provider", "aws", "--region", "us-east-1", "--yes")
    answer = provision(*words, "--max-hourly", "0.526")
    assert answer.code == 10, answer.err
    assert "--max-hourly" in answer.err
    assert {p["InstanceType"] for p in sent_launches(cloud)} == {"g4dn.xlarge"}
    assert not machines(cloud)


def test_a_run_that_is_not_proved_gone_is_named_before_another_is_started(cloud: "FakeAws") -> None:
    """The same words again started a second machine, with no word of the first that nobody could end."""
    assert up().code == 0
    first = only_run()
    script(cloud, "TerminateInstances", code="UnauthorizedOperation", status=403, times=99)
    assert provision("down", first, "--wait", "1s").code == 11
    answer = up()
    assert answer.code == 0, answer.err
    assert f"warning: run {first} of the same request is not proved gone" in answer.err


def test_a_look_leaves_alone_what_runs_and_ends_what_is_over(cloud: "FakeAws") -> None:
    assert up("--max-total", "40").code == 0
    identity = only_run()
    calm = provision("watch", "--once")
    assert (calm.code, calm.out) == (0, "Nothing to do: 1 open run.\n"), calm.err
    soon = provision("watch", "--once", "--json", "--warn", "5h").json["notices"]
    assert [(n["kind"], n["run"]) for n in soon] == [("lease_soon", identity)]
    for machine in machines(cloud):
        cloud.interrupt(machine["id"])
    lost = provision("watch", "--once")
    assert lost.code == 0, lost.err
    assert "ended" in lost.out
    assert not cloud.live()


def test_a_watch_ends_at_the_first_signal(cloud: "FakeAws") -> None:
    assert up().code == 0
    with subprocess.Popen(
        [*PROGRAM, "provision", "watch", "--warn", "5h"], env=dict(os.environ),
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert "lease_soon" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0
    assert provision("down", "--all", "--yes").code == 0


@pytest.mark.parametrize(("flag", "value"), [("--interval", "1s"), ("--interval", "soon"), ("--warn", "-5m")])
def test_a_watch_that_cannot_be_is_refused(cloud: "FakeAws", flag: str, value: str) -> None:
    answer = provision("watch", f"{flag}={value}")
    assert answer.code == 2
    assert flag in answer.err


# -- limits that stand -------------------------------------------------------------------------------------------------


def test_u93_what_one_user_runs_counts_together(cloud: "FakeAws", monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request was small, and ten of them were not."""
    monkeypatch.setenv("CLOUDACCEL_MAX_HOURLY_USER", "2.1")
    words = ("up", "A10G:1", "--region", "us-east-1", "--yes", "--new", "--places", "1", "--owner")
    assert provision(*words, "ann").code == 0
    assert provision(*words, "ann").code == 0
    third = provision(*words, "ann")
    assert third.code == 4
    assert "all that ann runs an hour: 3.02 USD (2.01 without this request) is over max_hourly_user 2.10" in third.err
    assert len(machines(cloud)) == 2
    assert provision(*words, "bea").code == 0  # another user has a limit of her own
    assert provision("down", "--all", "--yes").code == 0
    assert provision(*words, "ann").code == 0  # what is gone counts no more


def test_u93_spot_has_a_limit_of_its_own(cloud: "FakeAws", monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit for on-demand lets spot be dearer than anybody meant."""
    monkeypatch.setenv("CLOUDACCEL_MAX_HOURLY", "2.0")
    monkeypatch.setenv("CLOUDACCEL_MAX_HOURLY_SPOT", "0.1 USD")
    words = ("up", "g5.xlarge", "--region", "us-east-1", "--yes", "--places", "1")
    spot = provision(*words, "--market", "spot")
    assert spot.code == 4
    assert "over max_hourly_spot 0.1" in spot.err
    assert not sent_launches(cloud)
    assert provision(*words).code == 0


def test_u93_a_month_has_a_budget_over_all_runs(cloud: "FakeAws", monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of one run says nothing of the sum: what runs is promised to the end of its lease."""
    monkeypatch.setenv("CLOUDACCEL_MAX_MONTHLY", "10 USD")
    words = ("up", "A10G:1", "--region", "us-east-1", "--yes", "--new", "--places", "1", "--lease")
    assert provision(*words, "6h").code == 0
    refused = provision(*words, "6h")
    assert refused.code == 4
    assert "without this request) is over max_monthly 10.00" in refused.err
    assert provision(*words, "6h", "--dry-run").code == 4
    assert provision(*words, "2h").code == 0
    assert len(machines(cloud)) == 2


def test_u93_limits_in_two_currencies_are_refused(cloud: "FakeAws", monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit in euros, read as dollars, is another limit."""
    monkeypatch.setenv("CLOUDACCEL_MAX_MONTHLY", "1000 USD")
    monkeypatch.setenv("CLOUDACCEL_MAX_HOURLY", "20 EUR")
    answer = provision("up", "A10G:1", "--region", "us-east-1", "--yes")
    assert answer.code == 2
    assert "max_hourly, max_monthly are in EUR and USD" in answer.err
    monkeypatch.setenv("CLOUDACCEL_MAX_HOURLY", "much")
    assert "max_hourly" in provision("up", "A10G:1", "--region", "us-east-1", "--yes").err
    assert not sent_launches(cloud)


def test_u98_the_report_has_the_disks_beside_the_machines(cloud: "FakeAws") -> None:
    """A report of machines alone says nothing of what goes on to be paid when they are stopped."""
    assert up("--disk", "500GB").code == 0
    said = provision("cost").out
    assert "Disks, paid until they are gone, also while nothing runs; 0.08 USD per GiB and month (estimated:" in said
    assert "466 GiB" in said
    assert "0.10 USD per GiB and month (yours)" in provision("cost", "--disk-price", "0.10 USD").out
    (disk,) = provision("cost", "--json").json["costs"][0]["disks"]
    assert (disk["size_gib"], disk["ended_at"]) == (466, None)
    assert provision("cost", "--disk-price", "cheap").code == 2
    assert provision("down", "--all", "--yes").code == 0
    (disk,) = provision("cost", "--json").json["costs"][0]["disks"]
    assert disk["ended_at"] is not None


def test_what_machines_say_on_their_console_is_read(cloud: "FakeAws", tmp_path: Path, clock: OneClock) -> None:
    """He would have paid for a machine that computes nothing until its lease ends, with nobody to tell him."""
    key = tmp_path / "id_ed25519.pub"
    key.write_text(f"ssh-ed25519 {'A' * 68} me@desk\n", encoding="utf-8")
    assert up("--end-idle", "1h", "--ssh-key", str(key)).code == 0
    identity, (machine,) = only_run(), machines(cloud)
    assert "use not known" in provision("show", identity).out
    now = int(clock.now().timestamp())
    line = "cloudaccel-report 1 at={} accelerators=1 use={} busy={} notice=no\n"
    cloud.consoles[machine["id"]] = line.format(now - 60, 93, now - 60)
    assert "1 accelerator answers, 93 % busy" in provision("show", identity).out
    assert provision("watch", "--once").out.startswith("Nothing to do")
    cloud.consoles[machine["id"]] += line.format(now, 0, now - 7200)
    ended = provision("watch", "--once")
    assert "nothing was computed since" in ended.out, ended.err
    assert not cloud.live()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--end-idle", "10s"), "at least 5m"),
        (("--ssh-key", "missing.pub"), "cannot be read"),
        (("--ssh-key", "id"), "is a private key"),
        (("--on-interruption", "pray"), "invalid choice"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_starts(
    cloud: "FakeAws", flags: tuple[str, ...], said: str
) -> None:
    Path("id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n", encoding="utf-8")
    answer = up(*flags)
    assert answer.code == 2
    assert said in answer.err
    assert "canary" not in answer.err
    assert not cloud.live()


def shell(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A program on the path that says what it was started with, and ends with 7."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text('#!/bin/sh\nprintf "%s|" "$@"; echo; exit 7\n', encoding="utf-8")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_there_is_a_way_in_only_where_one_is_open(
    cloud: "FakeAws", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He would have believed that a machine without a role, in a closed network, can be reached all the same."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "aws").symlink_to(sys.executable)  # it is looked for, and never run here
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert up().code == 0
    identity, (machine,) = only_run(), machines(cloud)
    closed = provision("ssh", identity, "--print")
    assert closed.code == 3
    assert "Default Host Management" in closed.err
    assert "--ssh-cidr" in closed.err
    assert len(errors(closed)) == 1
    cloud.agents[machine["id"]] = "ConnectionLost"
    assert "ConnectionLost" in provision("ssh", identity, "--print").err
    cloud.agents[machine["id"]] = "Online"
    opened = provision("ssh", identity, "--print")
    assert opened.out == f"aws ssm start-session --region us-east-1 --target {machine['id']}\n", opened.err
    command = provision("ssh", identity, "--json", "--", "nvidia-smi", "-L").json["commands"][0]["argv"]
    said = json.loads(command[-1])["command"][0]
    assert said.endswith("; nvidia-smi -L")
    assert "export NODE_RANK=0" in said
    calls = {action for _, action, _ in cloud.calls}
    assert not any(action.startswith(("Authorize", "Modify")) for action in calls)


def test_ssh_meets_the_key_that_the_console_showed(
    cloud: "FakeAws", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert up("--ssh-cidr", "203.0.113.0/24").code == 0
    identity, (machine,) = only_run(), machines(cloud)
    shell(tmp_path / "bin", monkeypatch, "ssh")
    assert provision("ssh", identity).code == 7  # the program's own code
    assert "StrictHostKeyChecking=ask" in capfd.readouterr().out
    cloud.consoles[machine["id"]] = f"cloudaccel-hostkey ssh-ed25519 {'A' * 68}\n"
    assert provision("ssh", identity, "--user", "me", "--", "uptime").code == 7
    said = capfd.readouterr().out
    assert "StrictHostKeyChecking=yes" in said
    assert "|--|me@10." in said or "|--|me@" in said
    file = Path(re.findall(r"UserKnownHostsFile=([^|]+)", said)[0])
    assert file.read_text(encoding="utf-8").endswith(f" ssh-ed25519 {'A' * 68}\n")


def test_each_machine_is_told_its_rank_and_where_the_first_is(
    cloud: "FakeAws", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert provision("up", "A10G:1x2", "--region", "us-east-1", "--yes", "--ssh-cidr", "203.0.113.0/24").code == 0
    shell(tmp_path / "bin", monkeypatch, "ssh")
    answer = provision("ssh", only_run(), "--each", "--", "torchrun --nnodes=2 --rdzv-endpoint=$HEAD_NODE:29500 t.py")
    assert answer.code == 7
    lines = sorted(line for line in answer.out.splitlines() if "torchrun" in line)
    assert [line[:3] for line in lines] == ["[1]", "[2]"]
    assert [re.findall(r"NODE_RANK=(\d)", line) for line in lines] == [["0"], ["1"]]
    assert len({re.findall(r"HEAD_NODE=([0-9.]+)", line)[0] for line in lines}) == 1


@pytest.mark.parametrize(("words", "said"), [(("--node", "2"), "machines 1 to 1"), (("--each",), "needs a command")])
def test_a_way_that_cannot_be_meant_is_refused(cloud: "FakeAws", words: tuple[str, ...], said: str) -> None:
    assert up().code == 0
    answer = provision("ssh", only_run(), *words)
    assert answer.code == 2
    assert said in answer.err


def test_a_run_that_is_over_has_no_way_in(cloud: "FakeAws") -> None:
    assert up().code == 0
    identity = only_run()
    assert provision("down", identity).code == 0
    answer = provision("ssh", identity)
    assert answer.code == 2
    assert "is deleted" in answer.err


def test_a_rehearsal_says_how_one_comes_in_and_out(cloud: "FakeAws") -> None:
    """He would have paid for machines that nobody can enter and that cannot download anything."""
    rehearsed = provision("up", "g5.xlarge", "--region", "us-east-1", "--dry-run")
    assert rehearsed.code == 0, rehearsed.err
    assert "Way in: none by Session Manager" in rehearsed.out
    assert "Way out: none by the internet" in rehearsed.out
    cloud.host_management = "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole"
    places = provision("up", "g5.xlarge", "--region", "us-east-1", "--dry-run", "--json").json["places"]
    assert [way["state"] for way in places[0]["ways"] if way["direction"] == "in"] == ["open"]


def test_a_self_test_holds_and_says_that_the_cloud_was_a_fake(cloud: "FakeAws", tmp_path: Path) -> None:
    """He would have believed that his account was proved, by a fake that answered in its place."""
    holds_self_test_of_a_fake("aws", tmp_path / "data")
    assert not cloud.live()


def test_a_self_test_needs_a_yes_and_keeps_its_cap(cloud: "FakeAws") -> None:
    assert provision("selftest", "aws").code == 2
    assert provision("selftest", "aws", "--yes", "--max-total", "0.001").code == 4
    assert provision("selftest", "aws", "--yes", "--max-total", "1 EUR").code == 2
    assert provision("selftest", "onprem", "--yes").code == 2
    assert not cloud.live()


def test_a_self_test_that_fails_says_so_and_leaves_nothing(cloud: "FakeAws") -> None:
    script(cloud, "RunInstances", code="InsufficientInstanceCapacity", status=500, times=999)
    answer = provision("selftest", "aws", "--yes", "--json")
    assert answer.code == 10
    assert answer.json["ok"] is False
    assert [step["state"] for step in answer.json["steps"]] == ["failed"]
    assert not cloud.live()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("up", "g5.xlarge", "--yes", "--places", "0"), 2, "from 1 to"),
        (("up", "g5.xlarge", "--yes", "--owner", "a" * 64), 2, "1 to 63 characters"),
        (("up", "g5.xlarge", "--yes", "--ssh-cidr", "here"), 2, "203.0.113.7/32"),
        (("up", "g5.xlarge", "--yes", "--reservation", "cr 1"), 2, "no id of a reservation"),
        (("down", "x", "--all"), 2, "not both"),
        (("reap", "--all-regions"), 2, "add --reconcile"),
        (("reap", "--adopt", "nonsense"), 2, "no id of an installation"),
        (("show", "zz"), 5, "no run 'zz'"),
        (("cost", "zz"), 5, "no run 'zz'"),
        (("extend", "zz", "1h"), 5, "no run 'zz'"),
        (("ssh", "zz"), 5, "no run 'zz'"),
        (("down", "zz"), 5, "no run 'zz'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    cloud: "FakeAws", words: tuple[str, ...], code: int, said: str
) -> None:
    answer = provision(*words)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert len(errors(answer)) == 1
    assert not cloud.live()


def test_with_nothing_open_down_says_so(cloud: "FakeAws") -> None:
    answer = provision("down", "--all")
    assert (answer.code, answer.out) == (0, "No run is open: nothing to end.\n")


def test_a_run_that_is_named_twice_is_ended_and_counted_once(cloud: "FakeAws") -> None:
    assert up().code == 0
    identity = only_run()
    assert provision("cost", identity, identity[:6]).out.count(f"run {identity}  aws") == 1
    assert provision("down", identity, identity[:6]).out.count("GONE") == 1
