"""Amazon Web Services: machines and quotas through boto3, which is imported when the first call is made."""

from typing import Any

from cloudaccel.protocols import Instances, Quotas
from cloudaccel_aws.instances import AwsInstances
from cloudaccel_aws.quotas import AwsQuotas
from cloudaccel_aws.sdk import Sdk


class AwsProvider:
    """One set of credentials. `consistency_s`: how long a listing may lag; `session`: boto3's, else a new one of it."""

    def __init__(self, *, consistency_s: float = 300.0, session: Any = None) -> None:
        sdk = Sdk(session)
        self._instances = AwsInstances(sdk, consistency_s=consistency_s)
        self._quotas = AwsQuotas(sdk)

    @property
    def name(self) -> str:
        """The entry-point name."""
        return "aws"

    @property
    def quotas(self) -> Quotas | None:
        """Service Quotas, in vCPUs."""
        return self._quotas

    @property
    def instances(self) -> Instances | None:
        """EC2."""
        return self._instances


def provider() -> AwsProvider:
    """The entry point."""
    return AwsProvider()


__all__ = ["AwsProvider", "provider"]
