"""Random histories of crashes, lag and lost answers over TPU slices: the real SDK on the fake, in this process."""

import pytest


@pytest.mark.network  # importing the SDK tries a socket
def test_u95_no_crash_leaves_a_slice_or_a_request_in_the_queue() -> None:
    """Whatever was killed where, the last process that is left alone proves an empty project, and it is empty."""
    for module in ("google.cloud.tpu_v2", "sqlalchemy"):
        pytest.importorskip(module)
    from tests.benchmarks import orphans

    count = orphans.run("tpu", range(10))
    assert count.crashes
    assert not count.bad
