"""Area L, disks: they are paid until they are gone, whatever their machine does."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.provision.values import Candidate, Options


@pytest.mark.parametrize(("disk_gib", "amount"), [(500, Decimal("39.45")), (None, None)])
def test_u98_a_disk_without_a_machine_is_paid_and_of_unknown_size_is_no_nought(
    tmp_path: Path, disk_gib: int | None, amount: Decimal | None
) -> None:
    """A stopped machine was thought to cost nothing: 500 GiB at 0.08 for 30 days are 39.45 in months of 730 hours."""
    pytest.importorskip("sqlalchemy")
    from cloudaccel import state
    from cloudaccel.cli import provision_disks
    from cloudaccel.provision.cost import cost
    from cloudaccel.provision.disks import disk_lines
    from cloudaccel.provision.journal import Journal
    from cloudaccel.testing.crashes import VirtualClock, spec_for

    candidate = Candidate(
        provider="fake", partition="fake", region="here", zone="here-a", instance="big", accelerator_id=None,
        accelerator_count=None, nodes=1, market="on_demand", price_per_hour=Decimal(1), currency="USD",
        price_as_of=None, offer_id="", catalog_id="",
    )  # fmt: skip
    clock = VirtualClock()
    journal = Journal(state.open_state(f"sqlite:///{tmp_path / 'state.db'}"), clock)
    run = journal.open_run(replace(spec_for([candidate]), options=Options(disk_gib=disk_gib)))
    journal.seen(run.id, "fake", "here", [("machine", "i-1"), ("disk", "vol-1")])
    journal.gone(run.id, "machine", "i-1")
    clock.sleep(30 * 24 * 3600)
    run = journal.run(run.id)
    (line,) = disk_lines(journal, run, clock.now(), Decimal("0.08"))
    assert line.hours == 720
    assert (None if line.amount is None else round(line.amount, 2)) == amount
    assert line.ended_at is None
    said = provision_disks.text({run.id: (line,)}, Decimal("0.08"), True)
    assert ("39.45  (is there)" in said) is (amount is not None)
    assert ("1 of unknown size not in it" in said) is (amount is None)
    assert cost(journal, run, clock.now()).lines[0].ended_at is not None  # the machine's own line ended
    journal.gone(run.id, "disk", "vol-1")
    clock.sleep(3600)
    (ended,) = disk_lines(journal, run, clock.now(), Decimal("0.08"))
    assert (ended.hours, ended.ended_at is not None) == (720, True)
