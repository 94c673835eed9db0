"""Runs on Azure from start to verified end, through the real SDK against a fake on loopback."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.loopback import on_loopback
from tests.one_clock import OneClock
from tests.support import Answer, holds_self_test_of_a_fake, run

if TYPE_CHECKING:
    from cloudaccel_azure.fake import FakeAzure

pytestmark = pytest.mark.network


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: OneClock) -> Iterator["FakeAzure"]:
    """A fake cloud that the SDK of this process talks to."""
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    with on_loopback("azure", monkeypatch, now=clock.now) as fake:
        yield fake


def provision(*words: str) -> Answer:
    return run("provision", *words)


def up(*words: str, what: str = "Standard_NC4as_T4_v3") -> Answer:
    return bare_up(what, "--accept-no-deadline", *words)


def bare_up(what: str, *words: str) -> Answer:
    return provision("up", what, "--provider", "azure", "--region", "eastus", "--yes", *words)


def script(cloud: "FakeAzure", action: str, **fault: Any) -> None:
    from cloudaccel_azure.fake import Fault

    cloud.faults.append(Fault(action, **fault))


def machines(cloud: "FakeAzure") -> list[str]:
    return [name for kind, name in cloud.live() if kind == "virtualMachines"]


def run_id() -> str:
    (one,) = provision("list", "--json").json["runs"]
    return str(one["id"])


def puts(cloud: "FakeAzure") -> list[dict[str, Any]]:
    return [call.body for call in cloud.calls if call.action == "PUT virtualMachines"]


def test_a_machine_comes_up_is_shown_and_goes_with_all_that_it_has(cloud: "FakeAzure") -> None:
    answer = up()
    assert answer.code == 0, answer.err
    assert {kind for kind, _ in cloud.live()} == {
        "virtualMachines", "disks", "networkInterfaces", "networkSecurityGroups",
    }  # fmt: skip
    assert "running" in provision("show", provision("list", "--json").json["runs"][0]["id"]).out
    ended = provision("down", "--all", "--yes")
    assert ended.code == 0, ended.err
    assert not cloud.live()
    assert "Nothing is left over" in provision("reap", "--reconcile").out


def test_without_a_word_about_the_missing_deadline_nothing_starts(cloud: "FakeAzure") -> None:
    answer = bare_up("Standard_NC4as_T4_v3")
    assert answer.code == 7, answer.err
    assert "--accept-no-deadline" in answer.err
    assert not cloud.live()


def test_no_deadline_is_promised_where_its_absence_was_accepted(cloud: "FakeAzure") -> None:
    told = bare_up("Standard_NC4as_T4_v3", "--accept-no-deadline", "--dry-run").out
    assert "they run on and bill, beyond this worst case" in told
    assert "whether or not this program still runs" not in told
    assert not cloud.live()


def test_a_machine_that_failed_is_removed_before_the_next_zone(cloud: "FakeAzure") -> None:
    cloud.capacity["Standard_NC4as_T4_v3", "1"] = 0
    answer = up()
    assert answer.code == 0, answer.err
    assert "ZonalAllocationFailed" in answer.err
    assert [body["zones"] for body in puts(cloud)] == [["1"], ["2"]]
    assert len(machines(cloud)) == 1
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_of_a_gang_all_or_none_stay(cloud: "FakeAzure") -> None:
    for zone in ("1", "2"):
        cloud.capacity["Standard_NC4as_T4_v3", zone] = 1
    for size in ("Standard_NC8as_T4_v3",):
        for zone in ("1", "2"):
            cloud.capacity[size, zone] = 0
    answer = up(what="T4:1x2")
    assert answer.code in (10, 7), answer.err
    assert not cloud.live()


def test_an_answer_that_is_lost_starts_one_machine_and_not_two(cloud: "FakeAzure") -> None:
    script(cloud, "PUT virtualMachines", lost=True)
    answer = up()
    assert answer.code == 0, answer.err
    assert len(machines(cloud)) == 1
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


@pytest.mark.parametrize(
    ("code", "message", "exit_code"),
    [
        ("OperationNotAllowed", "exceeding approved standardNCASv3Family Cores quota", 7),
        ("SkuNotAvailable", "not available in location", 10),
        ("AuthorizationFailed", "no permission", 7),
        ("RequestDisallowedByPolicy", "denied by policy", 7),
    ],
)
def test_a_refusal_is_named_and_leaves_nothing(cloud: "FakeAzure", code: str, message: str, exit_code: int) -> None:
    script(cloud, "PUT virtualMachines", code=code, message=message, times=9)
    answer = up()
    assert code in answer.err
    assert answer.code == exit_code, answer.err
    assert not cloud.live()


def test_what_is_sent_is_closed_tagged_and_goes_with_the_machine(cloud: "FakeAzure") -> None:
    assert up("--market", "spot", "--ssh-cidr", "203.0.113.0/24").code in (0, 3)
    if not puts(cloud):  # the catalog has no spot price of it
        assert up("--ssh-cidr", "203.0.113.0/24").code == 0
    (sent,) = puts(cloud)
    properties = sent["properties"]
    assert properties["storageProfile"]["osDisk"]["deleteOption"] == "Delete"
    (card,) = properties["networkProfile"]["networkInterfaceConfigurations"]
    assert card["properties"]["deleteOption"] == "Delete"
    assert "publicIPAddressConfiguration" not in str(card)
    assert properties["osProfile"]["linuxConfiguration"]["disablePasswordAuthentication"] is True
    assert {"cloudaccel-install", "cloudaccel-run", "cloudaccel-token"} <= set(sent["tags"])
    (group,) = [c.body for c in cloud.calls if c.action == "PUT networkSecurityGroups"]
    assert group["properties"]["securityRules"][0]["properties"]["sourceAddressPrefixes"] == ["203.0.113.0/24"]
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_the_whole_world_may_not_come_in(cloud: "FakeAzure") -> None:
    assert up("--ssh-cidr", "0.0.0.0/0").code == 2
    assert not cloud.live()


def test_a_slow_ending_is_waited_for(cloud: "FakeAzure") -> None:
    cloud.ending_s = 1.5
    assert up().code == 0
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_spot_is_evicted_by_deletion_and_never_dearer_than_on_demand() -> None:
    from datetime import UTC, datetime

    from cloudaccel.protocols import InstanceRequest
    from cloudaccel_azure.launching import machine

    settled = {"subnet": "s", "image": {"id": "i"}, "key": "k", "group": "g"}
    request = InstanceRequest(
        token="t",  # noqa: S106
        name="n", provider="azure", region="eastus", zone="eastus-1", instance_type="x", count=1,
        market="spot", deadline=datetime(2030, 1, 1, tzinfo=UTC), settled=settled,
    )  # fmt: skip
    properties = machine(request, "n")["properties"]
    assert properties["priority"] == "Spot"
    assert properties["evictionPolicy"] == "Delete"
    assert properties["billingProfile"] == {"maxPrice": -1}
    capped = machine(replace(request, max_price_per_hour="0.25"), "n")["properties"]
    assert capped["billingProfile"] == {"maxPrice": 0.25}


GROUP_ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/mine"


def test_held_capacity_is_used_by_the_id_of_its_group(cloud: "FakeAzure") -> None:
    assert up("--reservation", GROUP_ID).code == 0
    (sent,) = puts(cloud)
    assert sent["properties"]["capacityReservation"] == {"capacityReservationGroup": {"id": GROUP_ID}}
    assert sent["properties"]["priority"] == "Regular"


def test_a_reservation_that_is_no_groups_id_is_refused_with_an_example(cloud: "FakeAzure") -> None:
    answer = up("--reservation", "mine")
    assert answer.code != 0
    assert "capacityReservationGroups/NAME" in answer.err
    assert not cloud.live()


def test_a_quota_that_is_too_small_is_named_before_anything_is_created(cloud: "FakeAzure") -> None:
    cloud.quotas["Standard NCASv3_T4 Family"] = 3
    answer = up()
    assert answer.code == 7, answer.err
    assert "Standard NCASv3_T4 Family" in answer.err
    assert "needs 4 vCPU, 3 of 3 left" in answer.err
    assert not puts(cloud)


def test_u79_the_second_quota_of_the_whole_region_is_named(cloud: "FakeAzure") -> None:
    cloud.quotas["cores"] = 2
    answer = up()
    assert answer.code == 7, answer.err
    assert "quota cores" in answer.err
    assert not puts(cloud)


def test_machines_with_infiniband_stand_in_one_availability_set_that_goes_with_them(cloud: "FakeAzure") -> None:
    answer = up("--allow-unpriced", what="Standard_ND96isr_H100_v5:8x2")
    assert answer.code == 0, answer.err
    first, second = puts(cloud)
    assert first["properties"]["availabilitySet"] == second["properties"]["availabilitySet"]
    assert "zones" not in first
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_listings_that_lag_hide_nothing_from_down(cloud: "FakeAzure") -> None:
    cloud.lag_s = 3600.0
    assert up().code == 0
    assert provision("down", "--all", "--yes").code == 0
    assert not cloud.live()


def test_a_group_that_no_listing_shows_yet_is_found_by_the_name_of_its_run(cloud: "FakeAzure") -> None:
    from cloudaccel.provision import identity
    from cloudaccel_azure import provider

    assert up().code == 0
    cloud.lag_s = 3600.0
    (run_id,) = [listed["id"] for listed in provision("list", "--json").json["runs"]]
    instances = provider().instances
    assert instances is not None
    found = list(instances.resources(tags={identity.TAG_RUN: run_id}, region="eastus"))
    assert [(thing.kind, thing.id) for thing in found] == [("security_group", identity.group_name(run_id, "eastus"))]


def test_throttling_is_waited_out(cloud: "FakeAzure") -> None:
    script(cloud, "PUT virtualMachines", code="TooManyRequests", status=429, times=2)
    answer = up()
    assert answer.code == 0, answer.err
    assert len(machines(cloud)) == 1


def test_a_machine_of_others_with_the_same_name_is_left_alone(cloud: "FakeAzure") -> None:
    assert up().code == 0
    (mine,) = machines(cloud)
    cloud.things["virtualMachines", mine]["tags"] = {"cloudaccel-token": "theirs"}
    from cloudaccel_azure import provider

    instances = provider().instances
    assert instances is not None
    assert not instances.find(mine.removeprefix("ca-").removesuffix("-0"), region="eastus")


# What calls need, where it is more than the method on the type itself (Azure: resource provider operations).
_TYPES = {
    "virtualMachines": "Microsoft.Compute/virtualMachines", "disks": "Microsoft.Compute/disks",
    "availabilitySets": "Microsoft.Compute/availabilitySets", "skus": "Microsoft.Compute/skus",
    "usages": "Microsoft.Compute/locations/usages", "virtualNetworks": "Microsoft.Network/virtualNetworks",
    "networkInterfaces": "Microsoft.Network/networkInterfaces",
    "publicIPAddresses": "Microsoft.Network/publicIPAddresses",
    "networkSecurityGroups": "Microsoft.Network/networkSecurityGroups",
    "bastionHosts": "Microsoft.Network/bastionHosts",
    "permissions": "Microsoft.Authorization/permissions",
    "retrieveBootDiagnosticsData": "Microsoft.Compute/virtualMachines/retrieveBootDiagnosticsData",
}  # fmt: skip
_VERBS = {"GET": "read", "PUT": "write", "DELETE": "delete", "POST": "action"}
# A machine makes its disk and interface with the caller's rights, and joins a subnet, a group and a set.
_WITH_A_MACHINE = {
    "Microsoft.Compute/disks/write", "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Network/networkInterfaces/join/action", "Microsoft.Network/virtualNetworks/subnets/join/action",
    "Microsoft.Network/networkSecurityGroups/join/action",
}  # fmt: skip


def test_the_role_that_is_shipped_allows_every_call_that_is_made_and_no_more(cloud: "FakeAzure") -> None:
    assert up("--allow-unpriced", "--ssh-cidr", "203.0.113.0/24", what="Standard_ND96isr_H100_v5:8x2").code == 0
    assert provision("watch", "--once").code == 0
    assert up("--dry-run").code == 0
    assert provision("down", "--all", "--yes").code == 0
    assert provision("reap", "--reconcile").code == 0
    role = json.loads((Path(__file__).parents[2] / "deploy" / "azure" / "role.json").read_text(encoding="utf-8"))
    needed = {f"{_TYPES[k]}/{_VERBS[v]}" for v, k in (call.action.split() for call in cloud.calls)} | _WITH_A_MACHINE
    allowed = set(role["Actions"])
    assert needed <= allowed
    leftovers = {f"{_TYPES[k]}/delete" for k in ("disks", "networkInterfaces", "publicIPAddresses")}  # strays
    options = {"Microsoft.Compute/sshPublicKeys/read"}
    options |= {"Microsoft.Compute/capacityReservationGroups/deploy/action"}
    assert allowed - needed <= leftovers | options
    assert not role["DataActions"]


def test_a_bastion_of_the_network_is_the_way_in(cloud: "FakeAzure") -> None:
    assert up().code == 0
    closed = provision("ssh", run_id(), "--print")
    assert closed.code == 3
    assert "no Bastion in the network net" in closed.err
    subnet = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/fake-group/providers/"
    subnet += "Microsoft.Network/virtualNetworks/net/subnets/AzureBastionSubnet"
    properties = {"ipConfigurations": [{"name": "ip", "properties": {"subnet": {"id": subnet}}}]}
    cloud.bastions = [{"name": "door", "id": "/b/door", "location": "eastus", "properties": properties}]
    assert "native client" in provision("ssh", run_id(), "--print").err
    cloud.bastions[0]["properties"]["enableTunneling"] = True
    assert "--identity" in provision("ssh", run_id(), "--print").err
    opened = provision("ssh", run_id(), "--print", "--identity", "key")
    assert opened.out.startswith("az network bastion ssh --name door "), opened.err
    assert "no single command" in provision("ssh", run_id(), "--print", "--identity", "key", "--", "uptime").err


def test_a_self_test_holds_and_says_that_the_cloud_was_a_fake(cloud: "FakeAzure", tmp_path: Path) -> None:
    """He would have believed that his account was proved, by a fake that answered in its place."""
    holds_self_test_of_a_fake("azure", tmp_path / "data")
    assert not cloud.live()


def test_u77_a_report_names_the_familys_and_the_regions_vcpus(cloud: "FakeAzure") -> None:
    cloud.quotas |= {"cores": 100, "standardNCADSA100v4Family": 24}
    said = run(
        "plan", "--accel", "Standard_NC24ads_A100_v4", "--provider", "azure", "--region", "eastus", "--limit", "1",
        "--quota-report",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "(standardNCADSA100v4Family)" in said.out
    assert "needs 24 vCPU, 24 of 24 left: enough" in said.out
    assert "regional vCPUs (cores): needs 24 vCPU, 100 of 100 left: enough" in said.out


def test_rights_that_a_launch_lacks_are_named_before_it(cloud: "FakeAzure") -> None:
    """He would have read of the missing right with a security group made and a machine refused."""
    everything = ["Microsoft.Compute/*", "Microsoft.Network/*"]
    lacking = ["Microsoft.Network/networkSecurityGroups/*", "microsoft.compute/disks/WRITE"]
    for granted, right in (
        ([{"actions": ["*/read"], "notActions": []}], "Microsoft.Compute/virtualMachines/write"),
        ([{"actions": everything, "notActions": lacking}], "Microsoft.Network/networkSecurityGroups/join/action"),
        ([{"actions": everything, "notActions": lacking}], "Microsoft.Compute/disks/write"),
        ([], "Microsoft.Compute/virtualMachines/write"),
    ):
        cloud.granted = granted
        answer = up("--dry-run")
        assert answer.code == 7, answer.out
        assert right in answer.out + answer.err
    assert not puts(cloud)
    role = json.loads((Path(__file__).parents[2] / "deploy" / "azure" / "role.json").read_text(encoding="utf-8"))
    enough: tuple[list[dict[str, Any]], ...] = (
        [{"actions": role["Actions"], "notActions": []}],
        [{"actions": ["*"], "notActions": ["Microsoft.Authorization/*/write"]}],
        [{"actions": everything, "notActions": lacking}, {"actions": ["*"], "notActions": []}],
    )
    for granted in enough:
        cloud.granted = granted
        assert up("--dry-run").code == 0


def test_rights_that_nobody_may_read_are_not_called_missing(cloud: "FakeAzure") -> None:
    cloud.granted = None
    answer = up("--dry-run")
    assert answer.code == 0, answer.out
    assert not puts(cloud)


def test_what_machines_say_on_their_serial_port_is_read_and_its_key_told_to_nobody(
    cloud: "FakeAzure", clock: OneClock
) -> None:
    """An idle machine on Azure was never ended: what it said was not read."""
    from cloudaccel_azure.fake import SECRET

    assert up("--end-idle", "1h").code == 0
    (machine,) = machines(cloud)
    assert [b["properties"]["diagnosticsProfile"] for b in puts(cloud)] == [{"bootDiagnostics": {"enabled": True}}]
    assert "not known" in provision("show", run_id()).out, "nothing is written yet"
    now = int(clock.now().timestamp())
    cloud.consoles[machine] = (
        f"{'x' * 80_000}\ncloudaccel-report 1 at={now} accelerators=1 use=0 busy={now - 7200} notice=no\n"
    )
    shown = provision("show", run_id())
    assert "1 accelerators answer, 0 % busy" in shown.out or "0 % busy" in shown.out
    watched = provision("watch", "--once")
    assert "nothing was computed since" in watched.out
    assert not machines(cloud)
    said = "".join((shown.out, shown.err, watched.out, watched.err))
    assert SECRET not in said
    assert not [file for file in Path("data").rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


def test_a_serial_log_that_cannot_be_fetched_says_nothing_and_keeps_its_key(
    cloud: "FakeAzure", monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloudaccel_azure import fake

    assert up("--end-idle", "1h").code == 0
    address = "http://127.0.0.1:1/serial-logs/x?sig=" + fake.SECRET

    def nowhere(*_: object) -> tuple[int, dict[str, str]]:
        return 200, {"serialConsoleLogBlobUri": address}

    monkeypatch.setattr(cloud, "_log_address", nowhere)
    for answer in (provision("show", run_id()), provision("watch", "--once")):
        assert fake.SECRET not in answer.out + answer.err
    assert machines(cloud)
