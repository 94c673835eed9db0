"""Runs on Google Cloud from plan to verified end, through the real SDK against a fake on loopback."""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.loopback import on_loopback
from tests.one_clock import PROGRAM, OneClock
from tests.support import Answer, holds_self_test_of_a_fake, run

if TYPE_CHECKING:
    from cloudaccel_gcp.fake import FakeGcp

pytestmark = pytest.mark.network


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: OneClock) -> Iterator["FakeGcp"]:
    """A fake cloud that the SDK of this process and of its children talks to."""
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    with on_loopback("gcp", monkeypatch, now=clock.now) as fake:
        yield fake


def provision(*words: str) -> Answer:
    return run("provision", *words)


def up(*words: str) -> Answer:
    return provision("up", "g2-standard-4", "--provider", "gcp", "--region", "us-central1", "--yes", *words)


def gang() -> Answer:
    return provision("up", "L4:1x3", "--provider", "gcp", "--region", "us-central1", "--yes")


def up_slice(*words: str) -> Answer:
    place = ("--provider", "gcp", "--region", "us-central1")
    return provision("up", "v5litepod-8", *place, "--yes", "--accept-no-deadline", *words)


def script(cloud: "FakeGcp", action: str, **fault: Any) -> None:
    from cloudaccel_gcp.fake import Fault

    cloud.faults.append(Fault(action, **fault))


def only_run() -> str:
    listed: list[dict[str, Any]] = provision("list", "--json").json["runs"]
    (one,) = listed
    return str(one["id"])


def machines(cloud: "FakeGcp") -> list[dict[str, Any]]:
    return [thing for thing in cloud.live() if thing["kind"] == "machine"]


def test_a_job_is_planned_brought_up_shown_extended_and_taken_down(cloud: "FakeGcp") -> None:
    planned = run(
        "plan", "--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "20e6",
        "--provider", "gcp", "--region", "us-central1", "--deadline", "24h", "--budget", "500 USD", "--startable",
        "--headquarters", "DE", "--users", "none",
    )  # fmt: skip
    assert planned.code == 0, planned.err
    rehearsed = provision("up", "plan.lock.json", "--dry-run")
    assert rehearsed.code == 0, rehearsed.err
    assert "Nothing was created" in rehearsed.out
    assert not cloud.live()
    started = provision("up", "plan.lock.json", "--yes", "--max-total", "300")
    assert started.code == 0, started.err
    identity = only_run()
    assert "running" in provision("show", identity).out
    assert provision("extend", identity, "1h").code == 0
    ended = provision("down", identity)
    assert ended.code == 0, ended.err
    assert "GONE" in ended.out
    assert not cloud.live()
    assert "Nothing is left over" in provision("reap", "--reconcile").out


def test_a_gang_is_one_call_and_all_or_none(cloud: "FakeGcp") -> None:
    answer = gang()
    assert answer.code == 0, answer.err
    assert len(machines(cloud)) == 3
    assert [c.action for c in cloud.calls if "nsert" in c.action] == ["instances.bulkInsert"]
    assert provision("down", only_run()).code == 0
    assert not cloud.live()


def test_a_gang_that_does_not_fit_starts_nowhere(cloud: "FakeGcp") -> None:
    for zone in ("us-central1-a", "us-central1-b"):
        for vcpus in (4, 8, 12, 16, 32):
            cloud.capacity[f"g2-standard-{vcpus}", zone] = 2
    answer = gang()
    assert answer.code == 10, answer.err
    assert not cloud.live()


def test_no_capacity_in_one_zone_moves_to_the_next(cloud: "FakeGcp") -> None:
    cloud.capacity["g2-standard-4", "us-central1-a"] = 0
    answer = up()
    assert answer.code == 0, answer.err
    assert "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS" in answer.err
    assert [m["id"].partition("/")[0] for m in machines(cloud)] == ["us-central1-b"]
    assert provision("down", "--all", "--yes").code == 0


def test_a_quota_is_named_before_anything_is_sent(cloud: "FakeGcp") -> None:
    cloud.quotas["NVIDIA_L4_GPUS"] = 0
    answer = up()
    assert answer.code == 7, answer.err
    assert "NVIDIA_L4_GPUS" in answer.err
    assert not [c for c in cloud.calls if "nsert" in c.action]


def test_u79_the_second_quota_over_all_regions_is_named(cloud: "FakeGcp") -> None:
    cloud.quotas |= {"NVIDIA_L4_GPUS": 4, "GPUS_ALL_REGIONS": 0}
    answer = up()
    assert answer.code == 7, answer.err
    assert "GPUS_ALL_REGIONS" in answer.err
    assert not cloud.live()


def test_a_quota_that_only_the_operation_tells_is_a_quota(cloud: "FakeGcp") -> None:
    script(cloud, "instances.insert", code="QUOTA_EXCEEDED", status=403, in_operation=True, times=9)
    answer = up()
    assert answer.code in (7, 10), answer.err
    assert "QUOTA_EXCEEDED" in answer.err
    assert len([c for c in cloud.calls if c.action == "instances.insert"]) == 1, "the region was not tried again"
    assert not cloud.live()


def test_permissions_that_lack_end_with_7(cloud: "FakeGcp") -> None:
    script(cloud, "instances.insert", code="forbidden", status=403, times=9)
    answer = up()
    assert answer.code == 7, answer.err
    assert len([c for c in cloud.calls if c.action == "instances.insert"]) == 1
    assert not cloud.live()


@pytest.mark.parametrize("times", [1, 2])
def test_an_answer_that_is_lost_starts_one_machine_and_not_two(cloud: "FakeGcp", times: int) -> None:
    script(cloud, "instances.insert", lost=True, times=times)
    answer = up()
    assert answer.code == 0, answer.err
    assert len(machines(cloud)) == 1
    assert len({c.query["requestId"] for c in cloud.calls if c.action == "instances.insert"}) == 1
    assert provision("down", only_run()).code == 0
    assert not cloud.live()


def test_killed_in_the_middle_of_the_call_the_same_words_go_on(cloud: "FakeGcp") -> None:
    cloud.lag_s = 2
    words = ["provision", "up", "g2-standard-4", "--provider", "gcp", "--region", "us-central1", "--yes"]
    process = subprocess.Popen(
        [*PROGRAM, *words], env=dict(os.environ), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not cloud.instances and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(machines(cloud)) == 1
    if '"ready"' not in provision("list", "--json").out:
        answer = up()
        assert answer.code == 0, answer.err
    assert len(machines(cloud)) == 1
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_a_disk_that_outlives_its_machine_is_removed(cloud: "FakeGcp") -> None:
    cloud.stray_disks = True
    assert up().code == 0
    answer = provision("down", only_run())
    assert answer.code == 0, answer.err
    assert not cloud.live()


def test_a_slow_ending_is_waited_for(cloud: "FakeGcp") -> None:
    cloud.ending_s = 1.5
    assert up().code == 0
    answer = provision("down", only_run())
    assert answer.code == 0, answer.err
    assert not cloud.live()


def test_what_is_sent_is_closed_labelled_and_ends(cloud: "FakeGcp") -> None:
    assert up("--market", "spot").code == 0
    (sent,) = [c.body for c in cloud.calls if c.action == "instances.insert"]
    assert sent["scheduling"]["provisioningModel"] == "SPOT"
    assert sent["scheduling"]["instanceTerminationAction"] == "DELETE"
    assert sent["scheduling"]["terminationTime"]
    assert sent["disks"][0]["autoDelete"] is True
    assert {"cloudaccel-install", "cloudaccel-run", "cloudaccel-token"} <= set(sent["labels"])
    assert sent["disks"][0]["initializeParams"]["labels"] == sent["labels"]
    assert not any(card.get("accessConfigs") for card in sent["networkInterfaces"])
    assert sent["shieldedInstanceConfig"]["enableSecureBoot"] is True
    assert not sent.get("serviceAccounts")
    assert sent["reservationAffinity"]["consumeReservationType"] == "NO_RESERVATION"
    assert not [c for c in cloud.calls if c.action == "firewalls.insert"]
    assert provision("down", "--all", "--yes").code == 0


def test_a_named_network_may_come_in_and_the_rule_goes_too(cloud: "FakeGcp") -> None:
    answer = up("--ssh-cidr", "203.0.113.0/24")
    assert answer.code == 0, answer.err
    (rule,) = [c.body for c in cloud.calls if c.action == "firewalls.insert"]
    assert rule["sourceRanges"] == ["203.0.113.0/24"]
    assert rule["allowed"] == [{"IPProtocol": "tcp", "ports": ["22"]}]
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_the_whole_world_may_not_come_in(cloud: "FakeGcp") -> None:
    assert up("--ssh-cidr", "0.0.0.0/0").code == 2
    assert not cloud.live()


def test_a_machine_ends_by_itself_when_nobody_is_left(cloud: "FakeGcp") -> None:
    assert up().code == 0
    cloud.advance(40 * 24 * 3600)
    assert not cloud.live()
    assert provision("down", "--all", "--yes").code == 0


def test_a_spot_machine_that_is_taken_back_is_known_to_be_gone(cloud: "FakeGcp") -> None:
    assert up("--market", "spot").code == 0
    (machine,) = machines(cloud)
    cloud.interrupt(machine["id"])
    answer = provision("down", "--all", "--yes")
    assert answer.code == 0, answer.err
    assert not cloud.live()


def test_nothing_is_sent_outside_the_region(cloud: "FakeGcp") -> None:
    assert up().code == 0
    assert provision("down", "--all", "--yes").code == 0
    assert {c.zone.rpartition("-")[0] for c in cloud.calls if c.zone} == {"us-central1"}


def test_another_installs_machine_is_left_alone(cloud: "FakeGcp") -> None:
    assert up().code == 0
    (mine,) = machines(cloud)
    theirs = json.loads(json.dumps(mine["body"]))
    theirs["labels"]["cloudaccel-install"] = "somebody-else"
    theirs["name"] = "theirs"
    cloud.instances["us-central1-a", "theirs"] = theirs
    assert provision("down", "--all", "--yes").code == 0
    assert provision("reap", "--reconcile", "--yes").code == 0
    assert [m["id"] for m in machines(cloud)] == ["us-central1-a/theirs"]


def test_a_fake_is_only_talked_to_on_this_machine(cloud: "FakeGcp", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDACCEL_GCP_ENDPOINT", "http://192.0.2.1:80")
    answer = up()
    assert answer.code == 2, answer.err
    assert "not on this machine" in answer.err


# What the API's methods need, where the permission is not the method's own name (IAM permissions reference).
_NEEDED = {
    "instances.insert": "instances.create",
    "instances.bulkInsert": "instances.create",
    "firewalls.insert": "firewalls.create",
    "zoneOperations.wait": "zoneOperations.get",
    "globalOperations.wait": "globalOperations.get",
}


# What making a machine needs besides, by what its body says (Compute Engine API: instances.insert, IAM permissions).
_SAID: dict[str, tuple[str, ...]] = {
    "disks": ("disks.create",), "labels": ("instances.setLabels", "disks.setLabels"), "metadata":
    ("instances.setMetadata",), "tags": ("instances.setTags",), "networkInterfaces": ("subnetworks.use",),
}  # fmt: skip
_IMAGES = "images.useReadOnly"  # of the project that the image is in
_NETWORK = "networks.updatePolicy"  # a firewall rule is a change of its network
_NEVER_ON_THE_FAKE = {"compute.addresses.delete"}  # it has no addresses; one that a failed launch left is deleted


# Of the TPU API: its permissions are written without capitals where they are old (IAM permissions reference).
_OF_TPUS: dict[str, tuple[str, ...]] = {
    "locations.list": ("locations.list",), "acceleratorTypes.get": ("acceleratortypes.get",),
    "runtimeVersions.get": ("runtimeversions.get",), "operations.get": ("operations.get",),
    "queuedResources.create": ("queuedResources.create", "nodes.create"),
    "queuedResources.delete": ("queuedResources.delete", "nodes.delete"),
    **{f"{kind}.{how}": (f"{kind}.{how}",) for kind in ("queuedResources", "nodes") for how in ("get", "list")},
    "nodes.delete": ("nodes.delete",),
}  # fmt: skip


def needed_by(call: Any) -> set[str]:
    """Permissions of one call, with those that its body asks for."""
    if call.action in _OF_TPUS:
        return {f"tpu.{permission}" for permission in _OF_TPUS[call.action]}
    return {f"compute.{permission}" for permission in needed_of_compute(call)}


def needed_of_compute(call: Any) -> set[str]:
    """Permissions of one call of Compute Engine."""
    found: set[str] = {str(_NEEDED.get(call.action, call.action))}
    if call.action.startswith("firewalls.") and call.action != "firewalls.list":
        found.add(_NETWORK)
    if call.action in ("instances.insert", "instances.bulkInsert"):
        body = call.body.get("instanceProperties", call.body)
        found.add(_IMAGES)
        found.update(permission for key, asked in _SAID.items() if body.get(key) for permission in asked)
    return found


def test_the_role_that_is_shipped_allows_every_call_that_is_made_and_no_more(cloud: "FakeGcp") -> None:
    """A refusal sends the reader to this role, which must not lack the right; one too many is a risk for nothing."""
    cloud.reserve("held", "g2-standard-4", "us-central1-a", 1)
    cloud.stray_disks = True
    assert up("--ssh-cidr", "203.0.113.0/24").code == 0
    assert provision("down", "--all", "--yes").code == 0
    cloud.stray_disks = False
    assert up("--reservation", "held", "--image", "projects/fake-project/global/images/mine").code == 0
    assert provision("up", "g2-standard-4", "--provider", "gcp", "--region", "us-central1", "--dry-run").code == 0
    assert provision("watch", "--once").code == 0
    assert gang().code == 0
    assert up("--market", "spot").code == 0
    cloud.interrupt(machines(cloud)[-1]["id"])
    assert provision("down", "--all", "--yes").code == 0
    assert provision("reap", "--reconcile", "--provider", "gcp", "--region", "us-central1", "--all-regions").code == 0
    assert up_slice().code == 0
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()
    role = (Path(__file__).parents[2] / "deploy" / "gcp" / "role.yaml").read_text(encoding="utf-8")
    allowed = {line.strip("- \n") for line in role.splitlines() if line.startswith("  - ")}
    needed = {permission for call in cloud.calls for permission in needed_by(call)}
    assert needed <= allowed
    assert allowed - needed == _NEVER_ON_THE_FAKE


def test_what_machines_say_on_their_serial_port_is_read(cloud: "FakeGcp", clock: OneClock) -> None:
    assert up("--end-idle", "1h").code == 0
    (machine,) = machines(cloud)
    now = int(clock.now().timestamp())
    noise = "x" * 80_000 + "\n"  # only the end is asked for
    cloud.consoles[machine["id"].rpartition("/")[2]] = (
        f"{noise}cloudaccel-report 1 at={now} accelerators=8 use=0 busy={now - 7200} notice=no\n"
    )
    assert "8 accelerators answer, 0 % busy" in provision("show", only_run()).out
    assert "nothing was computed since" in provision("watch", "--once").out
    assert not cloud.live()


def test_a_tunnel_is_taken_where_a_rule_of_the_network_lets_it_in(cloud: "FakeGcp") -> None:
    assert up().code == 0
    identity, (machine,) = only_run(), machines(cloud)
    closed = provision("ssh", identity, "--print")
    assert closed.code == 3
    assert "35.235.240.0/20" in closed.err
    network = "https://www.googleapis.com/compute/v1/projects/fake-project/global/networks/default"
    rule = {"name": "from-iap", "id": "7", "network": network, "direction": "INGRESS"}
    for sources, ports, opened in (
        (["10.0.0.0/8"], ["22"], False),
        (["35.235.240.0/20"], ["80-443"], False),
        (["35.235.240.0/20"], ["20-25"], True),
        (["0.0.0.0/0"], [], True),
    ):
        allowed = {"IPProtocol": "tcp", **({"ports": ports} if ports else {})}
        cloud.rules = [{**rule, "sourceRanges": sources, "allowed": [allowed]}]
        answer = provision("ssh", identity, "--print")
        assert (answer.code == 0) is opened, (sources, ports, answer)
    cloud.rules[0]["targetTags"] = ["others"]
    assert provision("ssh", identity, "--print").code == 3
    del cloud.rules[0]["targetTags"]
    zone, _, name = machine["id"].partition("/")
    said = provision("ssh", identity, "--print").out
    assert said == f"gcloud compute ssh {name} --zone {zone} --project fake-project --tunnel-through-iap\n"
    assert not cloud.firewalls


def test_a_rehearsal_says_how_one_comes_in_and_out(cloud: "FakeGcp") -> None:
    words = ("up", "g2-standard-4", "--provider", "gcp", "--region", "us-central1", "--dry-run")
    said = provision(*words).out
    assert "Way in: none by IAP tunnel" in said
    assert "Way out: none by the internet: no Cloud NAT" in said
    network = "https://www.googleapis.com/compute/v1/projects/fake-project/global/networks/default"
    nat = {"name": "nat-1", "sourceSubnetworkIpRangesToNat": "ALL_SUBNETWORKS_ALL_IP_RANGES"}
    cloud.routers = [{"name": "r", "id": "9", "network": network, "nats": [nat]}]
    assert "Way out: the internet: through Cloud NAT nat-1" in provision(*words).out


def test_a_self_test_holds_and_says_that_the_cloud_was_a_fake(cloud: "FakeGcp", tmp_path: Path) -> None:
    """He would have believed that his account was proved, by a fake that answered in its place."""
    holds_self_test_of_a_fake("gcp", tmp_path / "data")
    assert not cloud.live()


def test_a_tpu_slice_is_started_shown_and_taken_down(cloud: "FakeGcp") -> None:
    """`plan --startable` offered slices that nothing could start."""
    refused = provision("up", "v5litepod-8", "--provider", "gcp", "--region", "us-central1", "--yes")
    assert refused.code == 7, refused.err
    assert "--accept-no-deadline" in refused.err
    assert not cloud.live()
    cloud.rules = [{
        "name": "from-iap", "id": "7", "direction": "INGRESS", "sourceRanges": ["35.235.240.0/20"],
        "network": "https://www.googleapis.com/compute/v1/projects/fake-project/global/networks/default",
        "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}],
    }]  # fmt: skip
    answer = up_slice("--ssh-cidr", "203.0.113.0/24")
    assert answer.code == 0, answer.err
    (slice_,) = machines(cloud)
    zone, _, name = str(slice_["id"]).partition("/tpu/")
    identity = only_run()
    assert "running" in provision("show", identity).out
    said = provision("ssh", identity, "--print").out
    assert said == (
        f"gcloud compute tpus tpu-vm ssh {name} --zone {zone} --project fake-project --tunnel-through-iap\n"
    )
    (sent,) = [c.body for c in cloud.calls if c.action == "queuedResources.create"]
    (spec,) = sent["tpu"]["nodeSpec"]
    assert spec["node"]["networkConfig"].get("enableExternalIps", False) is False
    assert {"cloudaccel-install", "cloudaccel-run", "cloudaccel-token"} <= set(spec["node"]["labels"])
    assert sent["queueingPolicy"] == {"validUntilDuration": "600s"}
    ended = provision("down", identity)
    assert ended.code == 0, ended.err
    assert "GONE" in ended.out
    assert not cloud.live()


def test_a_tpu_slice_is_rehearsed_with_what_it_needs(cloud: "FakeGcp") -> None:
    place = ("--provider", "gcp", "--region", "us-central1")
    answer = provision("up", "v6e-8", *place, "--accept-no-deadline", "--dry-run")
    assert answer.code == 0, answer.err
    assert "Nothing ends it there by itself" in answer.out
    assert "v2-alpha-tpuv6e" in answer.out
    assert "No cloud ends these machines by itself" in answer.out
    assert "run on and bill, beyond this worst case" in answer.out
    closed = provision("up", "v6e-8", *place, "--dry-run")
    assert closed.code == 7
    assert "whether or not this program still runs" not in closed.out
    cloud.withheld = {"tpu.queuedResources.create"}
    lacking = provision("up", "v6e-8", *place, "--accept-no-deadline", "--dry-run")
    assert lacking.code == 7
    assert "tpu.queuedResources.create" in lacking.out + lacking.err


def test_a_slice_that_no_journal_knows_is_swept(cloud: "FakeGcp") -> None:
    """A request in the queue of a machine whose journal was lost: it would start one day, and bill."""
    assert up_slice().code == 0
    (install,) = {thing["tags"]["cloudaccel-install"] for thing in cloud.live()}
    Path("data/state.db").unlink()
    words = ("reap", "--reconcile", "--provider", "gcp", "--region", "us-central1")
    assert "/tpu/" in provision(*words).out
    assert len(machines(cloud)) == 1
    swept = provision(*words, "--adopt", install, "--yes")
    assert swept.code == 0, swept.err
    assert not cloud.live()


FLEX = """\
provider,region,instance,accelerator,count,market,price_per_hour,currency
gcp,us-central1,a2-highgpu-1g,A100-40GB,1,flex,1.80,USD
"""


def flex(*words: str) -> Answer:
    Path("flex.csv").write_text(FLEX, encoding="utf-8")
    place = ("--provider", "gcp", "--region", "us-central1", "--price-file", "flex.csv", "--market", "flex")
    return provision("up", "a2-highgpu-1g", *place, "--yes", *words)


def test_flex_start_waits_runs_for_a_set_time_and_is_deleted_by_google(cloud: "FakeGcp") -> None:
    """A flex-start price was shown, and what started would have been a machine at the full price."""
    answer = flex("--lease", "4h")
    assert answer.code == 0, answer.err
    (sent,) = [c.body for c in cloud.calls if c.action == "instances.insert"]
    assert sent["scheduling"]["provisioningModel"] == "FLEX_START"
    assert sent["scheduling"]["instanceTerminationAction"] == "DELETE"
    assert 4 * 3600 - 480 - 60 < int(sent["scheduling"]["maxRunDuration"]["seconds"]) <= 4 * 3600 - 480
    assert "terminationTime" not in sent["scheduling"]
    assert sent["params"] == {"requestValidForDuration": {"seconds": "480"}}
    cloud.advance(4 * 3600)
    assert not cloud.live(), "nobody was watching"
    assert provision("down", "--all", "--yes").code == 0


def test_flex_start_counts_against_the_quota_of_what_may_be_ended(cloud: "FakeGcp") -> None:
    cloud.quotas["PREEMPTIBLE_NVIDIA_A100_GPUS"] = 0
    answer = flex()
    assert answer.code == 7, answer.err
    assert "PREEMPTIBLE_NVIDIA_A100_GPUS" in answer.err


@pytest.mark.parametrize("words", [("--lease", "8d"), ("--lease", "15m"), ("--reservation", "held")])
def test_what_flex_start_cannot_be_is_said_before_anything_is_sent(cloud: "FakeGcp", words: tuple[str, ...]) -> None:
    answer = flex(*words)
    assert answer.code != 0
    assert "flex-start" in answer.err
    assert not [c for c in cloud.calls if "nsert" in c.action]


def test_a_gang_in_flex_start_is_refused_in_one_line(cloud: "FakeGcp") -> None:
    """Two of four machines of a gang, waiting for the others, bill for nothing."""
    Path("flex.csv").write_text(FLEX, encoding="utf-8")
    place = ("--provider", "gcp", "--region", "us-central1", "--price-file", "flex.csv", "--market", "flex")
    answer = provision("up", "A100-SXM-40GB:1x2", *place, "--yes")
    assert answer.code == 2, answer.err
    assert "one machine at a time" in answer.err
    assert not cloud.calls


def test_an_old_flex_start_request_is_not_sent_again_to_outlive_its_deadline(cloud: "FakeGcp") -> None:
    """Its end counts from its start: what was begun three hours ago would have run three hours too long."""
    from dataclasses import replace
    from datetime import UTC, datetime, timedelta

    from cloudaccel.errors import CapacityUnavailable
    from cloudaccel.protocols import InstanceRequest
    from cloudaccel_gcp import GcpProvider

    now = datetime.now(UTC)
    request = InstanceRequest(
        token=str(uuid.uuid5(uuid.NAMESPACE_OID, "flex")), name="flex", provider="gcp", region="us-central1",
        zone="us-central1-a", instance_type="a2-highgpu-1g", count=1, market="flex_start",
        deadline=now + timedelta(hours=4), tags={"cloudaccel-run": "r"},
    )  # fmt: skip
    clouds = [GcpProvider(now=lambda at=now + timedelta(hours=h): at).instances for h in (0, 3)]
    early, late = clouds
    assert early is not None
    assert late is not None
    settled = early.settle(request)
    with pytest.raises(CapacityUnavailable, match="too old"):
        late.create(settled)
    assert not cloud.live()
    made = early.create(settled)
    assert [m.id for m in late.create(settled)] == [m.id for m in made], "a lost answer is found by its name"
    with pytest.raises(CapacityUnavailable, match="too old"):
        late.create(replace(settled, token=str(uuid.uuid5(uuid.NAMESPACE_OID, "other"))))


def test_u77_a_report_says_what_is_left_of_both_quotas_and_what_to_ask_for(cloud: "FakeGcp") -> None:
    """The region had enough; that all regions together had not was read in a refusal, a week later."""
    cloud.quotas |= {"NVIDIA_L4_GPUS": 4, "GPUS_ALL_REGIONS": 1}
    words = ("plan", "--accel", "L4:1x2", "--provider", "gcp", "--region", "us-central1", "--limit", "1")
    said = run(*words, "--quota-report")
    assert said.code == 0, said.err
    assert "NVIDIA_L4_GPUS: needs 2 GPUs, 4 of 4 left: enough" in said.out
    assert "GPUS_ALL_REGIONS, over all regions: needs 2 GPUs, 1 of 1 left: too little, ask for 2" in said.out
    saved = run(*words, "--quota-report", "--json")
    Path("quota.json").write_text(saved.out, encoding="utf-8")
    calls = len(cloud.calls)
    again = run(*words, "--quota-report", "--quota", "quota.json", "--json")
    assert again.json["options"] == saved.json["options"]
    assert len(cloud.calls) == calls, "nobody was asked"


def test_a_quota_that_nobody_may_read_is_not_known(cloud: "FakeGcp") -> None:
    script(cloud, "regions.get", code="forbidden", status=403, times=9)
    said = run(
        "plan", "--accel", "L4:1", "--provider", "gcp", "--region", "us-central1", "--limit", "1", "--quota-report"
    )
    assert said.code == 0
    assert "needs 1 GPUs, limit ? [1]" in said.out
    assert "forbidden" in said.out
