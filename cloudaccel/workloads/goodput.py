"""What failures, checkpoints and reclaimed machines leave of the time.

Young and Daly: with a blocking checkpoint of d hours, a mean time between failures of M and a restart of R hours, the
best interval is sqrt(2 d M) and the share lost d / interval + interval / (2 M) + R / M (docs/explanation/sizing.md).
"""

import math

# Unexpected interruptions per accelerator and day: Llama-3.1-405B on 16,384 H100 (419 in 54 days); research clusters
# are worse, arXiv:2410.21680 (2026-08): low, likely, high.
FAILURES_PER_ACCELERATOR_DAY = (4.7e-4, 1e-3, 3e-3)
CHECKPOINT_H = 10 / 3600  # blocking time of an asynchronous checkpoint
RESTART_H = 5 / 60  # to notice, replace, load and warm up on a cluster that keeps spares
SPOT_CHECKPOINT_H = 2 / 60  # the notice that most clouds give
SPOT_RESTART_H = 20 / 60  # to find a machine again, load and warm up


def mean_time_between_failures_h(accelerators: int, per_accelerator_day: float) -> float:
    """Hours between interruptions of the whole job."""
    return 24.0 / (accelerators * per_accelerator_day)


def lost_share(mtbf_h: float, checkpoint_h: float, restart_h: float) -> float:
    """Share of the time lost at the best checkpoint interval, 0 to 1; 1 means that the job never gets anywhere."""
    interval = math.sqrt(2 * checkpoint_h * mtbf_h)
    return min(1.0, checkpoint_h / interval + interval / (2 * mtbf_h) + restart_h / mtbf_h)


def spot_lost_share(
    reclaims_per_node_hour: float,
    nodes: int,
    *,
    checkpoint_h: float = SPOT_CHECKPOINT_H,
    restart_h: float = SPOT_RESTART_H,
) -> float:
    """Share lost to reclaimed machines. A gang stops when any machine goes, so the rate grows with the machines."""
    if reclaims_per_node_hour <= 0:
        return 0.0
    return lost_share(1.0 / (reclaims_per_node_hour * nodes), checkpoint_h, restart_h)
