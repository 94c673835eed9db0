"""The Terraform export, planned, applied and destroyed by the real binary and provider on the fake of AWS."""

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.orphans_terraform import PLUGINS, left_in, prepare, terraform

pytestmark = [pytest.mark.network, pytest.mark.slow]


def test_what_is_applied_is_closed_encrypted_and_tagged_and_destroy_leaves_nothing(tmp_path: Path) -> None:
    """A file that only validates may be refused by the cloud, or leave behind what destroy does not know."""
    for module in ("boto3", "moto"):
        pytest.importorskip(module)
    if not shutil.which("terraform") or not list(PLUGINS.glob("*/*/aws")):
        pytest.skip(f"no terraform here, or no aws plugin in {PLUGINS} (CLOUDACCEL_TERRAFORM_PLUGINS)")
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
        if applied_and_destroyed(tmp_path / name):
            return
    pytest.fail("terraform sent a call that had been answered again, three times over")


def applied_and_destroyed(folder: Path) -> bool:
    """All of it once; False where it failed since terraform's client did not wait for an answer.

    On a busy machine that client closes a connection between the head of an answer and its body, about once in 2,000
    calls, and sends the call again. That a cloud refuses to make a thing twice says nothing of the file.
    """
    from cloudaccel_aws.fake import FakeAws, Server

    class Noting(FakeAws):
        again = False

        def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
            self.again |= not environ.get("HTTP_AMZ_SDK_REQUEST", "attempt=1;").startswith("attempt=1;")
            return super().__call__(environ, start_response)

    fake = Noting()
    fake.forget()
    with Server(fake) as server:
        environment = prepare(folder, server.url)
        terraform(folder, environment, "init")
        assert "0 to destroy" in terraform(folder, environment, "plan", "-input=false", "-out=made")
        assert not [action for _, action, _ in fake.calls if action.startswith(("Run", "Create"))]
        try:
            terraform(folder, environment, "apply", "-input=false", "made")
        except RuntimeError as error:
            if fake.again and "Duplicate" in str(error):
                return False
            raise
        ec2: Any = fake.session().client("ec2", region_name="us-east-1")
        check_machines(ec2)
        check_groups(ec2)
        check_calls({action: parameters for _, action, parameters in fake.calls})
        terraform(folder, environment, "destroy", "-auto-approve", "-input=false")
    assert left_in(fake) == []
    return True


def check_machines(ec2: Any) -> None:
    machines = [m for r in ec2.describe_instances()["Reservations"] for m in r["Instances"]]
    assert [(m["InstanceType"], m["State"]["Name"]) for m in machines] == [("g5.xlarge", "running")] * 2
    for machine in machines:
        tags = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
        assert tags["managed-by"] == "terraform"
        assert tags["cloudaccel-export"] == tags["Name"]
        assert machine["MetadataOptions"]["HttpTokens"] == "required"
        (mapping,) = machine["BlockDeviceMappings"]
        assert mapping["Ebs"]["DeleteOnTermination"]
        (disk,) = ec2.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"]
        assert disk["Encrypted"]
        end = ec2.describe_instance_attribute(
            InstanceId=machine["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
        )
        assert end["InstanceInitiatedShutdownBehavior"] == {"Value": "terminate"}


def check_groups(ec2: Any) -> None:
    (group,) = [g for g in ec2.describe_security_groups()["SecurityGroups"] if g["GroupName"].startswith("cloudaccel-")]
    assert [(rule["IpRanges"], len(rule["UserIdGroupPairs"])) for rule in group["IpPermissions"]] == [([], 1)]


def check_calls(calls: dict[str, dict[str, str]]) -> None:
    """What the fake does not carry out: interfaces of a launch template, and user data."""
    card = "LaunchTemplateData.NetworkInterface.1"
    made = calls["CreateLaunchTemplate"]
    assert made[f"{card}.AssociatePublicIpAddress"] == "false"
    assert made[f"{card}.DeleteOnTermination"] == "true"
    assert made[f"{card}.SecurityGroupId.1"].startswith("sg-")
    assert calls["CreatePlacementGroup"]["Strategy"] == "cluster"
    assert calls["RunInstances"]["Placement.GroupName"] == calls["CreatePlacementGroup"]["GroupName"]
    user_data = base64.b64decode(calls["RunInstances"]["UserData"]).decode()
    assert f"+ {int((4 * 1.2 + 0.5) * 3600)} ))" in user_data
    assert "shutdown -P" in user_data
