"""Packs x placement -> verdict."""

from collections.abc import Sequence
from datetime import date

from cloudaccel.compliance.circumstances import (
    Assertion,
    Circumstances,
    OrganisationFacts,
    Waiver,
    WorkloadFacts,
)
from cloudaccel.compliance.packs import Pack
from cloudaccel.compliance.placement import Placement
from cloudaccel.model import Offer
from cloudaccel.model.verdict import Verdict


def evaluate(packs: Sequence[Pack], placement: Placement, circumstances: Circumstances) -> Verdict:
    """What `packs` say about one placement."""
    raise NotImplementedError


def judge(
    offers: Sequence[Offer],
    packs: Sequence[Pack],
    workload: WorkloadFacts,
    organisation: OrganisationFacts,
    assertions: Sequence[Assertion] = (),
    *,
    waivers: Sequence[Waiver] = (),
    today: date,
) -> list[Verdict]:
    """One verdict for each offer, in order; offers that no rule can tell apart share one."""
    raise NotImplementedError
