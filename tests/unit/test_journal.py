"""The journal's facts: what is live, what is gone, and what lives again."""

from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.provision.values import Candidate


def test_a_group_made_again_by_a_later_attempt_is_live_again(tmp_path: Path) -> None:
    """Groups have names, so the second attempt of a run makes the one that the first removed; a machine has an id."""
    pytest.importorskip("sqlalchemy")
    from cloudaccel import state
    from cloudaccel.provision.journal import Journal
    from cloudaccel.testing.crashes import VirtualClock, spec_for

    candidate = Candidate(
        provider="fake", partition="fake", region="here", zone="here-a", instance="big", accelerator_id=None,
        accelerator_count=None, nodes=1, market="on_demand", price_per_hour=Decimal(1), currency="USD",
        price_as_of=None, offer_id="", catalog_id="",
    )  # fmt: skip
    with state.opened(f"sqlite:///{tmp_path / 'state.db'}") as engine:
        journal = Journal(engine, VirtualClock())
        run = journal.open_run(spec_for([candidate]))
        things = [("placement_group", "cloudaccel-1"), ("machine", "i-1")]
        journal.seen(run.id, "fake", "here", things)
        for kind, identifier in things:
            journal.gone(run.id, kind, identifier)
        assert not journal.resources(run.id, live=True)
        journal.seen(run.id, "fake", "here", things)
        assert [(r.kind, r.id) for r in journal.resources(run.id, live=True)] == things[:1]
