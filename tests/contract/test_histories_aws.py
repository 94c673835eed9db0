"""Random histories of crashes, lag and lost answers on EC2: the real SDK on the fake, in this process."""

import pytest


@pytest.mark.network  # importing the SDK tries a socket
def test_u95_no_crash_leaves_anything() -> None:
    """Whatever was killed where, the last process that is left alone proves an empty account, and it is empty."""
    for module in ("boto3", "moto", "sqlalchemy"):
        pytest.importorskip(module)
    from tests.benchmarks import orphans

    count = orphans.run("aws", [0, 29, 42, 159, 163])  # all but the first left something once
    assert count.crashes
    assert not count.bad
