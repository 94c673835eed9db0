"""boto3 behind one typed call: no retries of its own on writes, our errors, plain dictionaries.

boto3 would send RunInstances again by itself on a capacity error (it comes as HTTP 500): two useless calls before the
answer is seen. Repeating is the core's business, so every client is told to send each call once.
"""

import threading
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlsplit

from cloudaccel.errors import AuthError, ConfigError, OutcomeUnknown, ProviderError, ProviderUnavailable, RequestInvalid
from cloudaccel.protocols import http_time
from cloudaccel_aws.failures import NAME, from_answer

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
_OWN_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


class Sdk:
    """Clients by service and region, made when first used. `session`: boto3's, else a new one with its own defaults.

    `attempts`: how often a call is sent at most; more than once only where every call reads.
    """

    def __init__(self, session: Any = None, *, attempts: int = 1) -> None:
        self._attempts = attempts
        self._clients: dict[tuple[str, str], Any] = {}
        self._session: Any = session
        self._given = session is not None
        self._lock = threading.Lock()

    @property
    def real(self) -> bool:
        """Whether calls go to AWS: no session was handed in, and no endpoint is set that is not one of its own."""
        if self._given:
            return False
        host = str(urlsplit(str(self._client("ec2", "us-east-1").meta.endpoint_url)).hostname)
        return host.endswith(_OWN_HOSTS)

    def call(self, service: str, region: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer of one call, sent once. Raises `ProviderError`."""
        from botocore import exceptions
        from botocore.parsers import ResponseParserError

        try:
            client = self._client(service, region)
            return cast(dict[str, Any], client._make_api_call(operation, parameters))
        except exceptions.ClientError as error:
            raise _refused(operation, error) from error
        except (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.TokenRetrievalError,
            exceptions.ProfileNotFound,
        ) as error:
            raise AuthError(
                f"aws: no usable credentials: {str(error).rstrip('. ')}. Set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY.",
                provider=NAME, operation=operation, code=type(error).__name__, scope="provider",
            ) from error  # fmt: skip
        except (
            exceptions.EndpointConnectionError,
            exceptions.ConnectTimeoutError,
            exceptions.ProxyConnectionError,
        ) as error:
            raise _silent(ProviderUnavailable, operation, error) from error
        except (exceptions.HTTPClientError, ResponseParserError, exceptions.IncompleteReadError) as error:
            raise _silent(OutcomeUnknown, operation, error) from error
        except exceptions.BotoCoreError as error:
            raise _silent(RequestInvalid, operation, error) from error

    def time(self, region: str) -> datetime | None:
        """What time it is there, by the answer to a call that needs no rights, a refusal too: a clock that is wrong
        makes signatures that are refused. Raises `ProviderError` when nothing is answered.
        """
        try:
            said = self.call("sts", region, "GetCallerIdentity")
        except ProviderError as error:
            said = cast("dict[str, Any] | None", getattr(error.__cause__, "response", None))
            if said is None:
                raise
        return http_time(said.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))

    def pages(self, service: str, region: str, operation: str, key: str, **parameters: Any) -> list[dict[str, Any]]:
        """All entries of `key`, over every page."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.call(service, region, operation, **parameters)
            found.extend(answer.get(key, ()))
            token = answer.get("NextToken")
            if not token:
                return found
            parameters["NextToken"] = token

    def _client(self, service: str, region: str) -> Any:
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._make(service, region)
            return self._clients[service, region]

    def _make(self, service: str, region: str) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise ConfigError("aws: boto3 is not installed: pip install 'cloudaccel[aws]'.") from error
        if self._session is None:
            self._session = cast(Any, boto3.session.Session())
        config = Config(
            retries={"mode": "standard", "total_max_attempts": self._attempts},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            user_agent_appid="cloudaccel",  # pyright: ignore[reportCallIssue] - newer than the stubs
        )
        return self._session.client(service, region_name=region, config=config)


def _refused(operation: str, error: Any) -> ProviderError:
    body = cast(dict[str, Any], error.response)
    fault = cast(dict[str, Any], body.get("Error", {}))
    status = int(body.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return from_answer(operation, str(fault.get("Code", "")), str(fault.get("Message", "")), status)


def _silent(kind: type[ProviderError], operation: str, error: Exception) -> ProviderError:
    return kind(f"aws: {operation}: {error}", provider=NAME, operation=operation, code=type(error).__name__)
