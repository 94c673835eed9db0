"""The places of a plan as a service control policy: whoever tries another region is refused by AWS itself."""

import json

from cloudaccel.model.deployment import Deployment, Exported, regions_of, whole_plan_warnings

# Actions of services that have no region, or answer from one of their own: denying them by region locks an account up.
# After the region example of the AWS Organizations user guide, as known in 2026-11; not read again, so try it first.
GLOBAL_ACTIONS = (
    "account:*", "aws-marketplace:*", "billing:*", "budgets:*", "ce:*", "cloudfront:*", "cur:*", "ec2:DescribeRegions",
    "globalaccelerator:*", "health:*", "iam:*", "organizations:*", "pricing:*", "route53:*", "route53domains:*",
    "s3:GetAccountPublicAccessBlock", "s3:ListAllMyBuckets", "s3:PutAccountPublicAccessBlock", "shield:*", "sts:*",
    "support:*", "sustainability:*", "trustedadvisor:*", "waf:*",
)  # fmt: skip
MAX_CHARACTERS = 5120  # of one policy; AWS Organizations quotas, as known in 2026-11


def export(plan: Deployment) -> Exported:
    """``scp.json``: everything that has a region is denied outside those of the plan."""
    statement = {
        "Sid": "CloudaccelRegions",
        "Effect": "Deny",
        "NotAction": list(GLOBAL_ACTIONS),
        "Resource": "*",
        "Condition": {"StringNotEquals": {"aws:RequestedRegion": list(regions_of(plan))}},
    }
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=1) + "\n"
    return Exported(file="scp.json", text=text, warnings=(*_LIMITS, *whole_plan_warnings(plan)))


_LIMITS = (
    "attach it to an organisational unit for trial first: it denies every other region to all that is in the account",
    "a service control policy does not bind the management account, and says nothing of data that is there already",
    "services without a region stay open; read the list under NotAction",
)
