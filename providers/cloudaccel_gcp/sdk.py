"""google-cloud-compute behind one typed call: no retries of its own, our errors, plain dictionaries.

Operations are not followed by the SDK: its pollers ask another endpoint than the client does and forget the
operation's own error codes. Here the operation comes back as it is, and `finished` waits for it by name.
"""

import ipaddress
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

from cloudaccel.errors import (
    AuthError,
    ConfigError,
    MalformedResponse,
    OutcomeUnknown,
    ProviderError,
    ProviderUnavailable,
    RequestInvalid,
)
from cloudaccel.protocols import http_time
from cloudaccel_gcp.failures import NAME, from_answer

ENDPOINT_ENV = "CLOUDACCEL_GCP_ENDPOINT"
PROJECT_ENV = "GOOGLE_CLOUD_PROJECT"
TIMEOUT_S = 130.0  # a wait for an operation is held open for up to two minutes (Compute Engine API, operations.wait)
PATIENCE_S = 600.0
CHECK_TIMEOUT_S = 15.0
_RESOURCE_MANAGER = "https://cloudresourcemanager.googleapis.com"


class Sdk:
    """Clients by service, made when first used. The project is the environment's or the credentials' own.

    `endpoint`, `dress`: an address to ask without credentials, and what each new client is given to first.
    """

    def __init__(self, *, endpoint: str = "", dress: Callable[[Any], None] = lambda _: None) -> None:
        self._endpoint = endpoint
        self._dress = dress
        self._clients: dict[str, Any] = {}
        self._options: dict[str, Any] | None = None
        self._project = ""
        self._lock = threading.RLock()

    @property
    def real(self) -> bool:
        """Whether no fake is named."""
        return not os.environ.get(ENDPOINT_ENV)

    @property
    def project(self) -> str:
        """Id of the project that is asked. Raises `AuthError` when none is named."""
        self._found()
        return self._project

    def call(self, service: str, method: str, /, **request: Any) -> dict[str, Any]:
        """The answer of one call, sent once. Raises `ProviderError`."""
        return _plain(self._send(service, method, request))

    def pages(self, service: str, method: str, /, **request: Any) -> list[dict[str, Any]]:
        """All entries of a listing, over every page."""
        return [_plain(found) for found in self._send(service, method, request, every=True)]

    def by_zone(self, service: str, method: str, /, **request: Any) -> dict[str, list[dict[str, Any]]]:
        """Answers of an aggregated listing by zone, over every page; each answer is what one page says of a zone."""
        found: dict[str, list[dict[str, Any]]] = {}
        for place, answer in self._send(service, method, request, every=True):
            found.setdefault(str(place).removeprefix("zones/"), []).append(_plain(answer))
        return found

    def time(self) -> datetime | None:
        """What time it is there, by the answer to a read of the project, a refusal too.

        Raises `ProviderError` when nothing is answered.
        """
        session: Any = self._client("Projects").transport._session  # the SDK hands on no headers, its session does
        dates: list[str | None] = []

        def note(answer: Any, *_: Any, **__: Any) -> None:
            dates.append(answer.headers.get("Date"))

        with self._lock:
            session.hooks["response"].append(note)
        try:
            self.call("Projects", "get", project=self.project)
        except ProviderError:
            if not dates:
                raise
        finally:
            with self._lock:
                session.hooks["response"].remove(note)
        return http_time(dates[-1] if dates else None)

    def locations(self) -> frozenset[str]:
        """Zones in which the TPU API serves the project. Raises `ProviderError`."""
        found: set[str] = set()
        token = ""
        while True:
            answer = self._send("Tpu", "list_locations", {"name": f"projects/{self.project}", "page_token": token})
            found.update(str(place.location_id) for place in answer.locations)
            token = str(answer.next_page_token)
            if not token:
                return frozenset(found)

    def granted(self, rights: Sequence[str]) -> frozenset[str] | None:
        """Which of `rights` the credentials have in the project; None: nobody says (that API may be off there)."""
        options = self._found()
        from google.auth import exceptions
        from google.auth.transport.requests import AuthorizedSession
        from requests import exceptions as http

        base = os.environ.get(ENDPOINT_ENV) or _RESOURCE_MANAGER
        url = f"{base}/v1/projects/{self.project}:testIamPermissions"
        session = cast(Any, AuthorizedSession)(options["credentials"])
        try:
            answer: Any = session.post(url, json={"permissions": list(rights)}, timeout=CHECK_TIMEOUT_S)
            body: Any = answer.json() if answer.status_code == 200 else None
        except (exceptions.GoogleAuthError, http.RequestException, ValueError):
            return None
        finally:
            session.close()
        return None if body is None else frozenset(str(right) for right in body.get("permissions") or ())

    def finished(self, operation: dict[str, Any]) -> dict[str, Any]:
        """The operation once it is done, failed ones included.

        Raises
        ------
        OutcomeUnknown
            If that could not be seen: what it does may have happened.
        """
        name = str(operation["name"])
        zone = str(operation.get("zone", "")).rpartition("/")[2]
        until = time.monotonic() + PATIENCE_S
        try:
            while operation.get("status") != "DONE":
                if time.monotonic() > until:
                    raise OutcomeUnknown(f"gcp: {name} is not done.", provider=NAME, operation="wait", code="TIMEOUT")
                if zone:
                    operation = self.call("ZoneOperations", "wait", project=self.project, zone=zone, operation=name)
                else:
                    operation = self.call("GlobalOperations", "wait", project=self.project, operation=name)
        except ProviderError as error:
            raise OutcomeUnknown(
                f"gcp: nobody knows how {name} ended: {error}", provider=NAME, operation="wait", code=error.raw_code
            ) from error
        return operation

    def _send(self, service: str, operation: str, request: dict[str, Any], *, every: bool = False) -> Any:
        client = self._client(service)
        from google.api_core import exceptions
        from google.auth import exceptions as auth
        from google.protobuf import json_format
        from requests import exceptions as http

        try:
            answer = getattr(client, operation)(request=request, timeout=TIMEOUT_S, retry=None)
            return list(answer) if every else answer
        except exceptions.GoogleAPICallError as error:
            raise _refused(operation, error) from error
        except (auth.RefreshError, auth.DefaultCredentialsError) as error:
            raise _no_credentials(operation, error) from error
        except (http.ConnectTimeout, auth.TransportError) as error:
            raise _silent(ProviderUnavailable, operation, error) from error
        except http.ConnectionError as error:
            never = "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error)
            raise _silent(ProviderUnavailable if never else OutcomeUnknown, operation, error) from error
        except (http.RequestException, json_format.ParseError) as error:
            raise _silent(OutcomeUnknown, operation, error) from error
        except (TypeError, ValueError) as error:
            raise _silent(RequestInvalid, operation, error) from error

    def _client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = _made(service, self._found())
                self._dress(self._clients[service])
            return self._clients[service]

    def _found(self) -> dict[str, Any]:
        """Arguments of every client: credentials, and the endpoint of a fake if one is named."""
        with self._lock:
            if self._options is None:
                self._options = self._find()
            return self._options

    def _find(self) -> dict[str, Any]:
        try:
            import google.auth
            from google.api_core.client_options import ClientOptions
            from google.auth.credentials import AnonymousCredentials
            from google.auth.exceptions import DefaultCredentialsError
            from google.cloud import compute_v1  # noqa: F401  # pyright: ignore[reportUnusedImport]  # is it there?
        except ImportError as error:
            raise ConfigError("gcp: google-cloud-compute is not installed: pip install 'cloudaccel[gcp]'.") from error
        fake = os.environ.get(ENDPOINT_ENV, "")
        named = os.environ.get(PROJECT_ENV, "")
        if fake:
            _check_loopback(fake)
        fake = self._endpoint or fake
        if fake:
            self._project = named or "fake-project"
            return {"credentials": AnonymousCredentials(), "client_options": ClientOptions(api_endpoint=fake)}
        try:
            credentials, project = cast("tuple[Any, str | None]", cast(Any, google.auth).default())
        except DefaultCredentialsError as error:
            raise _no_credentials("credentials", error) from error
        self._project = named or project or ""
        if not self._project:
            raise AuthError(
                f"gcp: no project is named. Set {PROJECT_ENV}.", provider=NAME, operation="credentials", code="project"
            )
        return {"credentials": credentials}


def _made(service: str, options: dict[str, Any]) -> Any:
    """A client. That of the TPU API is told to speak JSON, as those of Compute Engine do."""
    if service != "Tpu":
        from google.cloud import compute_v1

        return getattr(compute_v1, f"{service}Client")(**options)
    try:
        from google.cloud import tpu_v2
    except ImportError as error:
        raise ConfigError("gcp: google-cloud-tpu is not installed: pip install 'cloudaccel[gcp]'.") from error
    return cast(Any, tpu_v2.TpuClient)(transport="rest", **options)


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
    """A message as a dictionary; an operation of the TPU API as its name, `done`, and what it failed with."""
    operation = getattr(message, "operation", message)
    if hasattr(operation, "done") and hasattr(operation, "HasField"):
        return _operation(operation)
    kind = cast(Any, type(message))
    return cast("dict[str, Any]", kind.to_dict(message, use_integers_for_enums=False))


def _operation(operation: Any) -> dict[str, Any]:
    from google.rpc import code_pb2  # pyright: ignore[reportMissingTypeStubs]

    error: dict[str, Any] | None = None
    if operation.HasField("error"):
        name = cast(Any, code_pb2.Code).Name(operation.error.code)
        error = {"code": str(name), "message": str(operation.error.message)}
    return {"name": str(operation.name), "done": bool(operation.done), "error": error}


def rows(value: Any) -> list[dict[str, Any]]:
    """A list of an answer; empty when it is missing."""
    return cast("list[dict[str, Any]]", [*value] if value else [])


def _refused(operation: str, error: Any) -> ProviderError:
    none: dict[str, Any] = {}
    first = next(iter(rows(error.errors)), none)
    code = str(first.get("reason") or getattr(error, "reason", None) or _status(error) or error.code or "")
    return from_answer(operation, code, str(error.message), int(error.code or 0))


def _status(error: Any) -> str:
    """The name of the status in an answer's body, such as ``RESOURCE_EXHAUSTED``; empty: it has none."""
    try:
        return str(error.response.json()["error"]["status"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""


def raise_failed(name: str, operation: dict[str, Any]) -> NoReturn:
    """Raise what a finished operation says went wrong: its own code, not the HTTP status."""
    failure = cast("dict[str, Any]", operation.get("error") or {})
    errors = rows(failure.get("errors"))
    if not errors:
        raise MalformedResponse(f"gcp: {name} failed without a reason.", provider=NAME, operation=name, code="unknown")
    status = int(operation.get("http_error_status_code") or 0)
    raise from_answer(name, str(errors[0].get("code", "")), str(errors[0].get("message", "")), status)


def _no_credentials(operation: str, error: Exception) -> AuthError:
    return AuthError(
        f"gcp: no usable credentials: {str(error).rstrip('. ')}. Run 'gcloud auth application-default login', or set "
        "GOOGLE_APPLICATION_CREDENTIALS.",
        provider=NAME, operation=operation, code=type(error).__name__, scope="provider",
    )  # fmt: skip


def _silent(kind: type[ProviderError], operation: str, error: Exception) -> ProviderError:
    return kind(f"gcp: {operation}: {error}", provider=NAME, operation=operation, code=type(error).__name__)
