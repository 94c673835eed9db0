"""The Azure SDK behind one typed call: no retries of its own, our errors, plain dictionaries in and out.

Long-running operations are not followed with the SDK's pollers: what a machine or group became is read from itself, so
that another process can go on where one was killed.
"""

import ipaddress
import os
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlsplit

from cloudaccel.errors import AuthError, ConfigError, OutcomeUnknown, ProviderError, ProviderUnavailable, RequestInvalid
from cloudaccel.protocols import http_time
from cloudaccel_azure.failures import NAME, from_answer

ENDPOINT_ENV = "CLOUDACCEL_AZURE_ENDPOINT"
GROUP_ENV = "CLOUDACCEL_AZURE_RESOURCE_GROUP"
SUBSCRIPTION_ENV = "AZURE_SUBSCRIPTION_ID"
TIMEOUT_S = 60


class Sdk:
    """Clients of compute, network and authorization, made when first used.

    `transport`: azure-core's, to ask in place of the network and without credentials, in `subscription` and `group`.
    """

    def __init__(self, *, transport: Any = None, subscription: str = "", group: str = "") -> None:
        self._transport = transport
        self._subscription = subscription
        self._group = group
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def real(self) -> bool:
        """Whether no fake is named."""
        return not os.environ.get(ENDPOINT_ENV)

    @property
    def subscription(self) -> str:
        """Id of the subscription. Raises `AuthError` when none is named."""
        return self._subscription or _named(SUBSCRIPTION_ENV, "a subscription's id")

    @property
    def group(self) -> str:
        """The resource group that everything is made in, and that exists already."""
        return self._group or _named(GROUP_ENV, "an existing resource group, in which everything is made")

    def call(self, path: str, *positional: Any, **more: Any) -> dict[str, Any]:
        """The answer of ``compute.virtual_machines.get`` or the like, sent once. Raises `ProviderError`."""
        answer = self._send(path, positional, more)
        return _plain(answer) if hasattr(answer, "as_dict") else {}

    def pages(self, path: str, *positional: Any, **more: Any) -> list[dict[str, Any]]:
        """All entries of a listing, over every page."""
        return [_plain(found) for found in self._send(path, positional, more, every=True)]

    def time(self, region: str) -> datetime | None:
        """What time it is there, by the answer to a listing, a refusal too. Raises `ProviderError` for no answer."""
        dates: list[str | None] = []

        def note(answer: Any) -> None:
            dates.append(answer.http_response.headers.get("Date"))

        try:
            self.pages("compute.usage.list", region, raw_response_hook=note)
        except ProviderError:
            if not dates:
                raise
        return http_time(dates[-1] if dates else None)

    def text_at(self, address: str) -> str | None:
        """The text behind an address that carries its own key, which is never repeated; None: there is none.

        Raises `ProviderUnavailable`.
        """
        from azure.core import exceptions
        from azure.core.pipeline.transport import HttpRequest, RequestsTransport

        request: Any = HttpRequest("GET", address)
        try:
            with RequestsTransport() as own:
                answer: Any = (self._transport or own).send(request, connection_timeout=10, read_timeout=TIMEOUT_S)
                return str(answer.text("utf-8")) if answer.status_code == 200 else None
        except exceptions.AzureError as error:
            raise ProviderUnavailable(
                "azure: what a machine wrote could not be fetched.",
                provider=NAME, operation="serial_log", code=type(error).__name__,
            ) from None  # fmt: skip  # its text has the address, and that has the key

    def _send(self, path: str, positional: tuple[Any, ...], more: Mapping[str, Any], *, every: bool = False) -> Any:
        service, operations, method = path.split(".")
        client = self._client(service)
        from azure.core import exceptions

        try:
            answer = getattr(getattr(client, operations), method)(*positional, **more)
            return list(answer) if every else answer
        except exceptions.ClientAuthenticationError as error:
            raise _no_credentials(path, error) from error
        except exceptions.HttpResponseError as error:
            raise _refused(path, error) from error
        except exceptions.ServiceRequestError as error:
            raise _silent(ProviderUnavailable, path, error) from error
        except exceptions.AzureError as error:
            raise _silent(OutcomeUnknown, path, error) from error
        except (TypeError, ValueError) as error:
            raise _silent(RequestInvalid, path, error) from error

    def _client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def _make(self, service: str) -> Any:
        try:
            from azure.identity import DefaultAzureCredential
            from azure.mgmt.authorization import AuthorizationManagementClient
            from azure.mgmt.compute import ComputeManagementClient
            from azure.mgmt.network import NetworkManagementClient
        except ImportError as error:
            raise ConfigError("azure: the SDK is not installed: pip install 'cloudaccel[azure]'.") from error
        kinds: dict[str, Any] = {
            "authorization": AuthorizationManagementClient,
            "compute": ComputeManagementClient,
            "network": NetworkManagementClient,
        }
        kind: Any = kinds[service]
        always: dict[str, Any] = {"retry_total": 0, "connection_timeout": 10, "read_timeout": TIMEOUT_S}
        fake = os.environ.get(ENDPOINT_ENV, "")
        if self._transport is not None:
            fake, always["transport"] = "http://fake.invalid", self._transport
        elif fake:
            _check_loopback(fake)
        else:
            return kind(DefaultAzureCredential(), self.subscription, **always)
        from azure.core.pipeline.policies import SansIOHTTPPolicy

        # A policy that adds nothing: the usual one refuses to send a token without TLS, and a fake needs none.
        policy = cast(Any, SansIOHTTPPolicy)()
        return kind(
            _NoCredential(), self.subscription, base_url=fake, authentication_policy=policy,
            credential_scopes=[f"{fake}/.default"], **always,
        )  # fmt: skip


class _NoCredential:
    def get_token(self, *scopes: str, **_: Any) -> Any:
        """Nothing is asked for it."""
        raise NotImplementedError(scopes)


def _named(variable: str, what: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise AuthError(
            f"azure: set {variable} to {what}.", provider=NAME, operation="credentials", code=variable, scope="provider"
        )
    return value


def _check_loopback(endpoint: str) -> None:
    """Only a fake is talked to without credentials and TLS, and a fake is on this machine."""
    host = urlsplit(endpoint).hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ConfigError(f"{ENDPOINT_ENV}={endpoint} is not on this machine: it is for the fake cloud only. Unset it.")


def _plain(message: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", message.as_dict())


def _refused(operation: str, error: Any) -> ProviderError:
    code = str(getattr(error.error, "code", "") or "")
    said = str(getattr(error.error, "message", "") or error.message)
    return from_answer(operation, code, said, int(error.status_code or 0))


def _no_credentials(operation: str, error: Exception) -> AuthError:
    return AuthError(
        f"azure: no usable credentials: {str(error).rstrip('. ')}. Run 'az login', or set AZURE_CLIENT_ID and what "
        "goes with it.",
        provider=NAME, operation=operation, code=type(error).__name__, scope="provider",
    )  # fmt: skip


def _silent(kind: type[ProviderError], operation: str, error: Exception) -> ProviderError:
    return kind(f"azure: {operation}: {error}", provider=NAME, operation=operation, code=type(error).__name__)
