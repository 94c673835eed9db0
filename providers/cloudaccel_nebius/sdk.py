"""Nebius's SDK behind three typed calls, which ask and change nothing. The package `nebius` is imported when used."""

import ipaddress
import logging
import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Self, cast

from cloudaccel.errors import (
    AuthError,
    ConfigError,
    MalformedResponse,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
)

NAME = "nebius"
ENDPOINT_ENV = "CLOUDACCEL_NEBIUS_ENDPOINT"  # host:port of a fake on this machine
TIMEOUT_S = 30.0
MOST_PAGES = 100
_NO_OTHER = ("UNAUTHENTICATED", "PERMISSION_DENIED")
# gRPC's codes that speak of the request and not of the service (grpc.io, status codes; read 2026-11-27).
_REFUSED = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "OUT_OF_RANGE", "UNIMPLEMENTED"})

logging.getLogger("nebius").addHandler(logging.NullHandler())  # it writes tracebacks of what it will repeat


class Sdk:
    """One channel, open within a ``with``. `token` is an IAM token."""

    def __init__(self, token: str) -> None:
        try:
            from nebius.sdk import SDK
        except ImportError as error:
            raise ConfigError("nebius: the SDK is not installed: pip install 'cloudaccel[nebius]'.") from error
        self._channel: Any = cast(Any, SDK)(credentials=token, user_agent_prefix="cloudaccel", **_fake())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.sync_close()

    def region(self, project: str) -> str:
        """The region of a project. Raises `ProviderError`."""
        v2 = api("iam.v2")
        answer = _asked("GetProject", v2.ProjectServiceClient(self._channel).get, v2.GetProjectRequest(id=project))
        region = str(answer.spec.region)
        if not region:
            raise MalformedResponse(
                f"nebius: {project[:60]} names no region. Prices stay as they were.",
                provider=NAME, operation="GetProject", scope="provider",
            )  # fmt: skip
        return region

    def platforms(self, project: str) -> Iterator[Any]:
        """Every platform that the project sees, with its presets. Raises `ProviderError`."""
        v1 = api("compute.v1")
        client, token = v1.PlatformServiceClient(self._channel), ""
        for _ in range(MOST_PAGES):
            request = v1.ListPlatformsRequest(parent_id=project, page_size=100, page_token=token)
            answer = _asked("ListPlatforms", client.list, request)
            yield from answer.items
            token = str(answer.next_page_token)
            if not token:
                return
        raise MalformedResponse(
            "nebius: the pages of platforms do not end. Prices stay as they were.",
            provider=NAME, operation="ListPlatforms", scope="provider",
        )  # fmt: skip

    def estimate(self, project: str, platform: str, preset: str, *, preemptible: bool) -> str | None:
        """What a machine costs per hour, without its disks; None where the calculator refuses to say, or says nothing.

        Raises `ProviderError` where it cannot be asked.
        """
        v1, v1alpha1, common = api("compute.v1"), api("billing.v1alpha1"), api("common.v1")
        machine = v1.InstanceSpec(
            resources=v1.ResourcesSpec(platform=platform, preset=preset),
            preemptible=v1.PreemptibleSpec(on_preemption=v1.PreemptibleSpec.PreemptionPolicy.STOP)
            if preemptible
            else None,
        )
        wanted = v1.CreateInstanceRequest(metadata=common.ResourceMetadata(parent_id=project), spec=machine)
        request = v1alpha1.EstimateRequest(resource_spec=v1alpha1.ResourceSpec(compute_instance_spec=wanted))
        try:
            answer = _asked("Estimate", v1alpha1.CalculatorServiceClient(self._channel).estimate, request)
        except RequestInvalid:
            return None
        general = answer.hourly_cost.general
        return str(general.total.cost) or None if general else None


def api(room: str) -> Any:
    """Messages and clients of one part of Nebius's API, such as ``iam.v2``; its stubs are none for a type checker."""
    return import_module(f"nebius.api.nebius.{room}")


def _asked(operation: str, call: Any, request: Any) -> Any:
    """The answer of one call; the SDK repeats what a service that is busy did not do."""
    from nebius.aio.service_error import RequestError
    from nebius.base.error import SDKError

    try:
        return call(request, timeout=TIMEOUT_S).wait()
    except RequestError as error:
        code = str(cast(Any, error.status.code).name)
        raise _failure(operation, code, str(error.status.message or "")) from error
    except (SDKError, OSError, TimeoutError) as error:
        raise _failure(operation, type(error).__name__, "") from error


def _failure(operation: str, code: str, message: str) -> ProviderError:
    kind, then = ProviderUnavailable, "Prices stay as they were; try again later."
    if code in _NO_OTHER:
        kind, then = AuthError, "Renew NEBIUS_IAM_TOKEN (nebius iam get-access-token); the account needs to read only."
    elif code == "RESOURCE_EXHAUSTED":
        kind = RateLimited
    elif code in _REFUSED:
        kind, then = RequestInvalid, "Look at CLOUDACCEL_NEBIUS_PROJECTS."
    said = f" ({message[:200]})" if message else ""
    return kind(f"nebius: {operation} failed: {code}{said}. {then}", provider=NAME, operation=operation, code=code)


def _fake() -> dict[str, Any]:
    """What leads a channel to the fake, without TLS; nothing where none is named."""
    address = os.environ.get(ENDPOINT_ENV, "")
    if not address:
        return {}
    host = address.rpartition(":")[0]
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ConfigError(f"{ENDPOINT_ENV}={address} is not on this machine: it is for a fake only. Unset it.")
    from nebius.base.options import INSECURE
    from nebius.base.resolver import Resolver

    class Everywhere(Resolver):
        def resolve(self, service_id: str) -> str:  # noqa: ARG002  # every service is there
            return address

    return {"resolver": Everywhere(), "options": [(INSECURE, True)]}
