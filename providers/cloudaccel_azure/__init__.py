"""Microsoft Azure: machines through azure-mgmt-compute and azure-mgmt-network, imported when the first call is made."""

import time
from collections.abc import Callable
from typing import Any

from cloudaccel.protocols import Instances, Quotas
from cloudaccel_azure.instances import AzureInstances
from cloudaccel_azure.sdk import Sdk
from cloudaccel_azure.skus import AzureQuotas, Skus


class AzureProvider:
    """One resource group. `consistency_s`: how long a read by name may lag behind a create, seconds.

    `transport`, `subscription`, `group`: what `sdk.Sdk` takes. `monotonic`, `sleep`: time to wait by, in seconds.
    """

    def __init__(
        self, *, consistency_s: float = 5.0, transport: Any = None, subscription: str = "", group: str = "",
        monotonic: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        sdk = Sdk(transport=transport, subscription=subscription, group=group)
        skus = Skus(sdk)
        self._instances = AzureInstances(sdk, skus, consistency_s=consistency_s, monotonic=monotonic, sleep=sleep)
        self._quotas = AzureQuotas(sdk, skus)

    @property
    def name(self) -> str:
        """The entry-point name."""
        return "azure"

    @property
    def quotas(self) -> Quotas | None:
        """vCPUs of the family and of the region."""
        return self._quotas

    @property
    def instances(self) -> Instances | None:
        """Virtual machines."""
        return self._instances


def provider() -> AzureProvider:
    """The entry point."""
    return AzureProvider()


__all__ = ["AzureProvider", "provider"]
