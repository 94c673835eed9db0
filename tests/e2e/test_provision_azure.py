"""Runs on Azure from start to verified end, through the real SDK against a fake on loopback."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Answer, run

if TYPE_CHECKING:
    from cloudaccel_azure.fake import FakeAzure

pytestmark = pytest.mark.network


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator["FakeAzure"]:
    """A fake cloud that the SDK of this process talks to."""
    for module in ("azure.mgmt.compute", "azure.mgmt.network", "sqlalchemy"):
        pytest.importorskip(module)
    from cloudaccel_azure.fake import GROUP, SUBSCRIPTION, FakeAzure, Server

    fake = FakeAzure()
    with Server(fake) as server:
        monkeypatch.setenv("CLOUDACCEL_AZURE_ENDPOINT", server.url)
        monkeypatch.setenv("CLOUDACCEL_AZURE_RESOURCE_GROUP", GROUP)
        monkeypatch.setenv("CLOUDACCEL_AZURE_ACCEPT_NO_DEADLINE", "yes")
        monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)
        monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.chdir(tmp_path)
        yield fake


def provision(*words: str) -> Answer:
    return run("provision", *words)


def up(*words: str, what: str = "Standard_NC4as_T4_v3") -> Answer:
    return provision("up", what, "--provider", "azure", "--region", "eastus", "--yes", *words)


def script(cloud: "FakeAzure", action: str, **fault: Any) -> None:
    from cloudaccel_azure.fake import Fault

    cloud.faults.append(Fault(action, **fault))


def machines(cloud: "FakeAzure") -> list[str]:
    return [name for kind, name in cloud.live() if kind == "virtualMachines"]


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


def test_without_a_word_about_the_missing_deadline_nothing_starts(
    cloud: "FakeAzure", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDACCEL_AZURE_ACCEPT_NO_DEADLINE")
    answer = up()
    assert answer.code != 0
    assert "CLOUDACCEL_AZURE_ACCEPT_NO_DEADLINE" in answer.err
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
    assert up("--ssh-cidr", "0.0.0.0/0").code != 0
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
