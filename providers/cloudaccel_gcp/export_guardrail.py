"""The places of a plan as an organisation policy: whoever tries another location is refused by Google Cloud itself."""

import yaml

from cloudaccel.model.deployment import Deployment, Exported, regions_of, whole_plan_warnings

PROJECT = "REPLACE-WITH-PROJECT"


def export(plan: Deployment) -> Exported:
    """``org-policy.yaml``: ``gcp.resourceLocations`` with the regions of the plan and nothing else."""
    policy = {
        "name": f"projects/{PROJECT}/policies/gcp.resourceLocations",
        "spec": {
            "inheritFromParent": False,
            "rules": [{"values": {"allowedValues": [f"in:{region}-locations" for region in regions_of(plan)]}}],
        },
    }
    head = f"# Places of the plan {plan.name}; judged by {', '.join(plan.packs) or 'no pack'}.\n"
    text = head + str(yaml.safe_dump(policy, sort_keys=False, width=120))
    return Exported(file="org-policy.yaml", text=text, warnings=(*_LIMITS, *whole_plan_warnings(plan)))


# docs.cloud.google.com, "Restricting resource locations", read 2026-11-25.
_LIMITS = (
    f"put your project in place of {PROJECT}, or a folder or organisation",
    "it binds new resources only, not global ones, and not what Cloud Storage and Dataproc make below a resource",
    "Google calls it no commitment on where data is stored",
)
