"""Google Cloud: machines and quotas through google-cloud-compute, TPU slices through google-cloud-tpu.

Both are imported when the first call is made.

``data/attachable_gpus.csv`` is the table of GPUs that are attached to a host, from which whole machines are priced.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cloudaccel.protocols import Instances, Quotas
from cloudaccel_gcp.instances import GcpInstances
from cloudaccel_gcp.quotas import GcpQuotas
from cloudaccel_gcp.sdk import Sdk
from cloudaccel_gcp.tpu import Slices


class GcpProvider:
    """One project. `consistency_s`: how long a listing may lag behind a create whose answer was lost.

    `endpoint`, `dress`: an address to ask without credentials, and what each new client of the SDK is given to first.
    `monotonic`, `sleep`: time to wait by, in seconds; `now`: the time of day.
    """

    def __init__(
        self, *, consistency_s: float = 60.0, endpoint: str = "", dress: Callable[[Any], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        sdk = Sdk(endpoint=endpoint, dress=dress)
        slices = Slices(sdk, monotonic=monotonic, sleep=sleep)
        self._instances = GcpInstances(sdk, slices, consistency_s=consistency_s, now=now)
        self._quotas = GcpQuotas(sdk)

    @property
    def name(self) -> str:
        """The entry-point name."""
        return "gcp"

    @property
    def quotas(self) -> Quotas | None:
        """Regional quotas, in GPUs."""
        return self._quotas

    @property
    def instances(self) -> Instances | None:
        """Compute Engine, and TPU slices."""
        return self._instances


def provider() -> GcpProvider:
    """The entry point."""
    return GcpProvider()


__all__ = ["GcpProvider", "provider"]
