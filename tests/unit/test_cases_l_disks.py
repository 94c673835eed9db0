"""Area L, disks: they are paid until they are gone, whatever their machine does."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from cloudaccel.provision.values import Candidate, Options
from tests.support import run


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
    with state.opened(f"sqlite:///{tmp_path / 'state.db'}") as engine:
        journal = Journal(engine, clock)
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


def test_u98_a_quote_shows_the_disk_beside_the_machine() -> None:
    """He would have believed that the price of the machine is all, and that a stopped one costs nothing."""
    base = ("quote", "--instance", "p5.48xlarge")
    body = run(*base, "--disk", "500GB", "--json").json
    disk, *others = body["beside"]
    assert (disk["size_gb"], disk["price_per_month"], disk["status"]) == ("500", "40", "estimated")
    assert disk["source"]
    assert disk["as_of"]
    assert [(other["name"], other["price_per_month"]) for other in others] == [
        ("snapshots", None), ("static_address", None),
    ]  # fmt: skip
    bare = run(*base, "--json").json
    assert "beside" not in bare
    assert [o["price"] for o in bare["offers"]] == [o["price"] for o in body["offers"]]
    table = run(*base, "--disk", "500GB").out
    assert "500 GB × 0.08 = 40.00 USD a month\n  (0.0548/h)" in table
    assert "Snapshots and static addresses: price not known." in table


def test_u98_every_machine_of_a_quote_has_its_disk() -> None:
    """Believed: two machines share the 40.00 of one disk. Each has its own: 80.00 a month, 80 / 730 an hour."""
    words = ("quote", "--disk", "500GB", "--limit", "all", "H100-SXM:8x2,A100-80GB:8")
    body = run(*words, "--json").json
    disk = body["beside"][0]
    assert disk["price_per_month"] == "40", "of each machine, as before"
    one, two = disk["of_request"]
    assert (one["machines"], one["price_per_month"]) == (1, "40")
    assert (two["machines"], two["price_per_month"]) == (2, "80")
    assert Decimal(two["price_per_hour"]) == pytest.approx(Decimal(80) / 730)
    said = run("quote", "--disk", "500GB", "H100-SXM:8x2").out
    assert "  The disks of 2 machines: 2 × 40.00 = 80.00 USD a month (0.1096/h)." in said
    assert "The disks of" not in run("quote", "--disk", "500GB", "H100-SXM:8").out


@pytest.mark.parametrize("size", ["0GB", "-5GB", "soon", "", "2000000TB"])
def test_u98_a_disk_that_cannot_be_is_refused(size: str) -> None:
    answer = run("quote", "--instance", "p5.48xlarge", f"--disk={size}")
    assert answer.code == 2
    assert "--disk" in answer.err


def test_u98_a_static_address_is_paid_at_a_price_that_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that outlived its machine was not named where costs are, and looked as if it were free."""
    pytest.importorskip("sqlalchemy")
    from cloudaccel import state
    from cloudaccel.provision.clock import SystemClock
    from cloudaccel.provision.journal import Journal
    from cloudaccel.testing.crashes import spec_for

    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path))
    candidate = Candidate(
        provider="fake", partition="fake", region="here", zone="here-a", instance="big", accelerator_id=None,
        accelerator_count=None, nodes=1, market="on_demand", price_per_hour=Decimal(1), currency="USD",
        price_as_of=None, offer_id="", catalog_id="",
    )  # fmt: skip
    with state.opened() as engine:
        journal = Journal(engine, SystemClock())
        made = journal.open_run(spec_for([candidate]))
        journal.seen(made.id, "fake", "here", [("address", "eipalloc-1"), ("address", "eipalloc-2")])
        journal.gone(made.id, "address", "eipalloc-2")
    said = run("provision", "cost")
    assert said.code == 0, said.err
    there, released = [line for line in said.out.splitlines() if "eipalloc" in line]
    assert "not known" in there
    assert "(is there)" in there
    assert "(is there)" not in released
    first, second = run("provision", "cost", "--json").json["costs"][0]["addresses"]
    assert (first["address"], first["price_per_hour"], first["amount"], first["ended_at"]) == (
        "eipalloc-1", None, None, None,
    )  # fmt: skip
    assert second["ended_at"] is not None
