"""The policy that is shipped for AWS allows every call that is made, and no change without our tag."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.provision.values import Candidate
from cloudaccel.testing.crashes import VirtualClock, open_world, spec_for

ROOT = Path(__file__).parents[2]
OTHER_SERVICES = {"GetServiceQuota": "servicequotas", "GetCallerIdentity": "sts", "GetParameter": "ssm"}
# Asked for by AWS itself while something is made with tags (EC2 user guide: tag resources on creation, 2026-09).
BY_AWS = {"ec2:CreateTags"}


def statements() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((ROOT / "deploy/aws/policy.json").read_text(encoding="utf-8"))["Statement"]
    return found


def allowed() -> set[str]:
    return {action for statement in statements() for action in statement["Action"]}


def named(action: str) -> str:
    return f"{OTHER_SERVICES.get(action, 'ec2')}:{action}"


@pytest.mark.network
def test_every_call_that_is_made_is_allowed(tmp_path: Path) -> None:
    """With a missing right, the refusal would send the reader to a policy that lacks it as well."""
    for module in ("boto3", "moto", "sqlalchemy"):
        pytest.importorskip(module)
    from cloudaccel_aws import AwsProvider
    from cloudaccel_aws.fake import FakeAws

    clock = VirtualClock()
    fake = FakeAws(now=clock.now)
    fake.forget()
    world = open_world(tmp_path, AwsProvider(session=fake.session()), clock)
    for market in ("on_demand", "spot"):
        candidate = Candidate(
            provider="aws", partition="aws", region="us-east-1", zone=None, instance="g5.xlarge", accelerator_id=None,
            accelerator_count=None, nodes=2, market=market, price_per_hour=Decimal(1), currency="USD",
            price_as_of=None, offer_id="", catalog_id="",
        )  # fmt: skip
        assert world.up(spec_for([candidate])).exit_code == 0
        assert not world.down()
    assert not world.reap()
    needed = {named(action) for _, action, _ in fake.calls}
    assert {"ec2:RunInstances", "ec2:DeletePlacementGroup", "ssm:GetParameter"} <= needed
    assert needed <= allowed()


def test_nothing_is_allowed_that_the_adapter_never_asks() -> None:
    """A right that nobody needs is a risk for nothing."""
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "providers/cloudaccel_aws").glob("*.py"))
    asked = set(re.findall(r'"([A-Z][A-Za-z]+)"', code))
    assert {action.partition(":")[2] for action in allowed() - BY_AWS} <= asked


def test_no_change_without_our_tag() -> None:
    """What others run in the same account cannot be ended with these rights."""
    assert not any("*" in action for action in allowed())
    for statement in statements():
        changes = [a for a in statement["Action"] if not re.match(r"\w+:(Describe|Get)", a)]
        inputs_only = statement["Action"] == ["ec2:RunInstances"] or statement["Sid"] == "MakeGroupsInAnyNetwork"
        if changes and not inputs_only:
            assert statement["Condition"], statement["Sid"]
    (made,) = [s for s in statements() if s["Sid"] == "StartOnlyWhatCarriesOurTag"]
    assert made["Condition"] == {"StringEquals": {"aws:RequestTag/cloudaccel-managed": "true"}}
    assert {arn.split(":")[-1] for arn in made["Resource"]} >= {"instance/*", "volume/*"}
