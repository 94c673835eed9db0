"""Rules: which places are allowed, why, and at what cost. Packs are data, logic has three values; not legal advice."""

from cloudaccel.compliance.circumstances import (
    Assertion,
    Circumstances,
    OrganisationFacts,
    Waiver,
    WorkloadFacts,
    organisation_facts,
)
from cloudaccel.compliance.evaluate import Judge, conflicts, evaluate, judge
from cloudaccel.compliance.packs import Check, Pack, Rule
from cloudaccel.compliance.placement import NO_ACCELERATOR, Placement, placement_of
from cloudaccel.compliance.shipped import ALWAYS_ON, always_on, load_packs, shipped_packs, with_always_on

__all__ = [
    "ALWAYS_ON",
    "NO_ACCELERATOR",
    "Assertion",
    "Check",
    "Circumstances",
    "Judge",
    "OrganisationFacts",
    "Pack",
    "Placement",
    "Rule",
    "Waiver",
    "WorkloadFacts",
    "always_on",
    "conflicts",
    "evaluate",
    "judge",
    "load_packs",
    "organisation_facts",
    "placement_of",
    "shipped_packs",
    "with_always_on",
]
