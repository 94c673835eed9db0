"""What a launch is refused for before it is tried: rights that are missing, held capacity that ends too early."""

from pathlib import Path

import pytest

from tests.loopback import on_loopback
from tests.support import Answer, run

pytestmark = pytest.mark.network


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A folder and a journal of the test's own."""
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def rehearse(what: str, provider: str, region: str, *words: str) -> Answer:
    return run("provision", "up", what, "--provider", provider, "--region", region, "--dry-run", *words)


def test_permissions_that_lack_in_google_cloud_are_named_before_a_launch(place: pytest.MonkeyPatch) -> None:
    """He would have believed that a rehearsal that says "permitted" has asked for his permissions."""
    with on_loopback("gcp", place) as fake:
        assert rehearse("g2-standard-4", "gcp", "us-central1").code == 0
        fake.withheld = {"compute.instances.create", "compute.firewalls.create"}
        answer = rehearse("g2-standard-4", "gcp", "us-central1")
        assert answer.code == 7
        assert "lack compute.instances.create;" in answer.out
        wider = rehearse("g2-standard-4", "gcp", "us-central1", "--ssh-cidr", "203.0.113.0/24")
        assert "compute.firewalls.create" in wider.out
        assert not fake.live()


def test_a_tpu_slice_is_not_said_to_be_missing_in_a_region(place: pytest.MonkeyPatch) -> None:
    """He would have believed that the region has no TPU, when it only wants to hear that nothing ends one there."""
    with on_loopback("gcp", place):
        refused = rehearse("v5litepod-8", "gcp", "us-central1")
        accepted = rehearse("v5litepod-8", "gcp", "us-central1", "--accept-no-deadline")
    assert (refused.code, accepted.code) == (7, 0)
    assert "the TPU API has no deadline" in refused.out
    assert "not offered" not in refused.out + accepted.out


@pytest.mark.parametrize(("ends", "code"), [("", 0), ("2099-01-01T00:00:00.000Z", 0), ("2026-01-01T00:00:00.000Z", 2)])
def test_u66_a_reservation_that_ends_before_the_lease_is_refused(
    place: pytest.MonkeyPatch, ends: str, code: int
) -> None:
    """He would have believed that his machines stay in what he holds, and paid for them anew at its end."""
    with on_loopback("aws", place) as fake:
        fake.reserve("cr-1", "p4d.24xlarge", "us-east-1a", 1, ends=ends)
        answer = rehearse("p4d.24xlarge", "aws", "us-east-1", "--reservation", "cr-1")
    assert answer.code == code, answer.out + answer.err
    if code:
        assert "ends 2026-01-01" in answer.out
