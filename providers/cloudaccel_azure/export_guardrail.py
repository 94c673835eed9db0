"""The places of a plan as an Azure Policy definition: whoever tries another location is refused by Azure itself."""

import json

from cloudaccel.model.deployment import Deployment, Exported, regions_of, whole_plan_warnings


def export(plan: Deployment) -> Exported:
    """``azure-policy.json``: the body of a policy definition that denies every location but those of the plan."""
    allowed = [*regions_of(plan), "global"]  # what has no location, such as a DNS zone, says "global"
    body = {
        "properties": {
            "displayName": f"Locations of {plan.name}",
            "policyType": "Custom",
            "mode": "Indexed",
            "description": f"Only the places of the plan {plan.name}{_by_packs(plan)}.",
            "metadata": {"category": "General", "cloudaccel-export": plan.name},
            "policyRule": {
                "if": {"field": "location", "notIn": allowed},
                "then": {"effect": "deny"},
            },
        }
    }
    warnings = (*_LIMITS, *whole_plan_warnings(plan))
    return Exported(file="azure-policy.json", text=json.dumps(body, indent=1) + "\n", warnings=warnings)


def _by_packs(plan: Deployment) -> str:
    return f", judged by {', '.join(plan.packs)}" if plan.packs else ""


_LIMITS = (
    "a definition does nothing until it is assigned to a subscription or management group",
    "mode Indexed leaves resource groups alone, and what stands elsewhere already is only reported",
)
