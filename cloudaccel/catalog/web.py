"""The one way to a price source: retries, deadlines, mirrors, proxies and limits; no adapter has any of them."""

import io
import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode, urlsplit

from cloudaccel.catalog.spool import Keeping, Page, Part, Shared, Spool, key_of
from cloudaccel.errors import (
    AuthError,
    ConfigError,
    MalformedResponse,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
)

if TYPE_CHECKING:
    from typing import Self

    from urllib3 import BaseHTTPResponse, PoolManager

    from cloudaccel.protocols import Json

_RETRIED = (429, 500, 502, 503, 504)
_CHUNK = 1 << 18  # bytes read at once: as much as a small processor has nearest at hand
_AT_ONCE = 8  # connections to one host that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one call. `json_bytes` and `line_bytes` bound memory, `body_bytes` what a zip bomb can unfold to.

    `deadline_s` is for the whole answer, `silence_s` for the longest pause within it, both seconds.
    """

    tries: int = 5
    backoff_s: float = 0.5
    longest_wait_s: int = 60
    silence_s: float = 30.0
    deadline_s: float = 900.0
    body_bytes: int = 16 << 30
    json_bytes: int = 32 << 20
    line_bytes: int = 1 << 20


CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # OpenSSL's, Requests', curl's


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where calls go. `mirrors`: published address → address to ask instead, the longest match wins.

    `proxy` None: as ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` say. `ca_file` None: the first of `CA_VARIABLES`
    that is set, else the system's own authorities.
    """

    mirrors: Mapping[str, str] = field(default_factory=dict[str, str])
    proxy: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer that was read: its address with the query, and what tells the next version from it ("" when nothing).

    `condition` is the header (``If-None-Match`` or ``If-Modified-Since``), `validator` its value.
    """

    url: str
    condition: str = ""
    validator: str = ""


class HttpWeb:
    """A `cloudaccel.protocols.Web` over urllib3, to be closed by `close` or by ``with``.

    Opens nothing before the first call; threads may share it.
    `asked` are the calls that were answered, in order. What is in `spool` or `shared` is not asked again, and what is
    read is kept there.
    """

    def __init__(
        self,
        provider: str,
        connection: Connection | None = None,
        limits: Limits | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        spool: Spool | None = None,
        shared: Shared | None = None,
    ) -> None:
        if find_spec("urllib3") is None:
            raise ConfigError("prices are read with urllib3. Install it: pip install 'cloudaccel[refresh]'.")
        self._provider = provider
        self._connection = connection or Connection()
        self._limits = limits or Limits()
        self._now = now
        self._spool = spool
        self._shared = shared
        self._pools: dict[str | None, PoolManager] = {}
        self.asked: list[Asked] = []

    def __enter__(self) -> "Self":
        """The same, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """As `close`."""
        self.close()

    def close(self) -> None:
        """Close the connections that are kept for a next call; one that still comes opens another."""
        while self._pools:
            self._pools.popitem()[1].clear()

    @contextmanager
    def ask(
        self,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: "Json" = None,
    ) -> "Generator[HttpAnswer]":
        """See `cloudaccel.protocols.Web.ask`."""
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        address = self._mirrored(url)
        deadline = self._now() + self._limits.deadline_s
        # What goes by POST or with a key cannot be asked again by address alone.
        plain = body is None and not headers
        sent = {"Accept-Encoding": "gzip", **(headers or {})}
        key = key_of(address, sent) if body is None and (self._spool or self._shared) else ""
        response, part = self._opened(address, sent, body, key)
        try:
            self._judge(200 if part else response.status, address)
            noted = _noted(url, response.headers)
            self.asked.append(noted if plain else Asked(_bare(url)))
            whole = not response.headers.get("Content-Encoding")
            keeps = key and not isinstance(response, _KeptResponse)
            yield HttpAnswer(
                response, self._limits, self._provider, address, lambda: self._now() > deadline,
                secrets=_secrets(headers or {}, body),
                keeping=Keeping(self._spool, self._shared, key, noted.condition, noted.validator, whole, part)
                if keeps else None,
            )  # fmt: skip
        finally:
            response.close()

    def _opened(
        self, address: str, headers: dict[str, str], body: "Json", key: str
    ) -> "tuple[BaseHTTPResponse | _KeptResponse, Part | None]":
        """What answers a call: what is kept of it, the rest of a file of which a part is kept, or its owner."""
        for place in filter(None, (self._spool, self._shared) if key else ()):
            if (page := place.page(key)) is not None:
                return _KeptResponse(page), None
        part = self._spool.part(key) if self._spool and key else None
        return self._go_on(address, headers, part) if part else (self._send(address, headers, body), None)

    def _go_on(self, address: str, headers: dict[str, str], part: Part) -> "tuple[BaseHTTPResponse, Part | None]":
        """The rest of a file, or, where it is another file by now or its owner sends no parts, all of it."""
        rest = {"Range": f"bytes={part.at}-", "If-Range": part.validator, "Accept-Encoding": "identity"}
        response = self._send(address, {**headers, **rest}, None)
        if response.status == 206 and _is_rest(response.headers, part):
            return response, part
        if response.status in (206, 416):
            response.close()
            response = self._send(address, headers, None)
        return response, None

    def unchanged(self, asked: Sequence[Asked]) -> bool:
        """Whether every answer is still the one that was read: each source is asked, and sends no list again.

        False at the first that is not, or cannot be asked so.
        """
        return bool(asked) and all(one.validator and self._is_still(one) for one in asked)

    def _is_still(self, one: Asked) -> bool:
        response = self._send(self._mirrored(one.url), {one.condition: one.validator, "Accept-Encoding": "gzip"}, None)
        status = response.status
        response.close()
        return status == 304

    def _send(self, address: str, headers: dict[str, str], body: "Json") -> "BaseHTTPResponse":
        import urllib3

        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **headers}
        try:
            return self._pool(address).request(
                "GET" if payload is None else "POST", address, headers=headers, body=payload, preload_content=False
            )
        except urllib3.exceptions.HTTPError as error:
            # The text of the library's error holds the address with its query, so only its kind is told.
            raise ProviderUnavailable(
                f"{self._provider}: {_place(address)} does not answer ({_kind(error)}). Try again later; behind a "
                "proxy or a company's own authority set HTTPS_PROXY and SSL_CERT_FILE.",
                provider=self._provider,
                operation="prices",
                code=_kind(error),
            ) from None

    def _pool(self, address: str) -> "PoolManager":
        import urllib3

        proxy = self._connection.proxy or _proxy_of(address)
        if proxy not in self._pools:
            limits = self._limits
            retry = urllib3.Retry(
                total=limits.tries - 1,
                status_forcelist=_RETRIED,
                allowed_methods=frozenset({"GET", "POST"}),  # every call of a price list only reads
                backoff_factor=limits.backoff_s,
                backoff_max=limits.longest_wait_s,
                backoff_jitter=limits.backoff_s,
                retry_after_max=limits.longest_wait_s,
                redirect=3,
                raise_on_status=False,
            )
            timeout = urllib3.Timeout(connect=limits.silence_s, read=limits.silence_s)
            ca_file = self._connection.ca_file or next(filter(None, map(os.environ.get, CA_VARIABLES)), None)
            made = (
                urllib3.ProxyManager(proxy, maxsize=_AT_ONCE, retries=retry, timeout=timeout, ca_certs=ca_file)
                if proxy
                else urllib3.PoolManager(maxsize=_AT_ONCE, retries=retry, timeout=timeout, ca_certs=ca_file)
            )
            self._pools[proxy] = made
        return self._pools[proxy]

    def _mirrored(self, url: str) -> str:
        mirrors = self._connection.mirrors
        known = [b for b in mirrors if url == b or url.startswith((b.rstrip("/") + "/", b + "?"))]
        if not known:
            return url
        base = max(known, key=len)
        return self._connection.mirrors[base].rstrip("/") + url[len(base.rstrip("/")) :]

    def _judge(self, status: int, address: str) -> None:
        if status == 200:
            return
        kind, advice = _meaning(status)
        raise kind(
            f"{self._provider}: {_place(address)} answered {status}. {advice}",
            provider=self._provider,
            operation="prices",
            code=str(status),
        )


class HttpAnswer:
    """A `cloudaccel.protocols.Answer`: bounded in size and time, whatever is sent."""

    def __init__(
        self,
        response: "BaseHTTPResponse | _KeptResponse",
        limits: Limits,
        provider: str,
        address: str,
        late: Callable[[], bool],
        *,
        secrets: Sequence[bytes] = (),
        keeping: Keeping | None = None,
    ) -> None:
        self._secrets = secrets
        self._keeping = keeping
        self._response = response
        self._limits = limits
        self._provider = provider
        self._address = address
        self._late = late

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, unpacked."""
        import urllib3

        size = 0
        try:
            # One read from the wire at a time: a source that drips must not keep us from looking at the clock.
            while chunk := self._response.read1(_CHUNK, decode_content=True):
                size += len(chunk)
                if size > self._limits.body_bytes:
                    raise self._malformed(f"is longer than {self._limits.body_bytes} bytes")
                if self._late():
                    raise self._broken(f"took longer than {self._limits.deadline_s:g} s")
                yield chunk
        except urllib3.exceptions.DecodeError:
            raise self._malformed("is not packed as it says") from None
        except urllib3.exceptions.HTTPError as error:
            raise self._broken(f"broke off after {size} bytes ({_kind(error)})") from None

    def blocks(self) -> Iterator[bytes]:
        """The body in pieces that end with a line; only the last may lack its end."""
        rest = b""
        for chunk in self.chunks():
            end = chunk.rfind(b"\n") + 1
            if end:
                block = rest + chunk[:end]
                self._keep_out(block)
                yield block
                rest = chunk[end:]
            else:
                rest += chunk
            if len(rest) > self._limits.line_bytes:
                raise self._malformed(f"has a line of more than {self._limits.line_bytes} bytes")
        if rest:
            self._keep_out(rest)
            yield rest

    def picked(self, pick: Callable[[bytes], Iterable[bytes]]) -> Iterator[bytes]:
        """The lines that `pick` finds in each block; of a file that was left half read, those that were found then."""
        part = self._keeping.reached() if self._keeping else None
        if part is not None:
            found, part.lines = part.lines, []
            yield from found
        for block in self.blocks():
            found = list(pick(block))
            yield from found
            if part is not None:
                part.add(len(block), found)

    def lines(self) -> Iterator[str]:
        """The body's lines without their ends."""
        for block in self.blocks():
            # Whole lines are decoded together: one call for some hundred of them. A newline is no part of a letter.
            yield from self._text(block.removesuffix(b"\n")).split("\n")

    def json(self) -> "Json":
        """The body as JSON."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > self._limits.json_bytes:
                raise self._malformed(f"is longer than {self._limits.json_bytes} bytes of JSON")
        self._keep_out(body)
        try:
            found = decoded(body)
            if self._keeping is not None:
                self._keeping.page(bytes(body))
            return found
        except ValueError:
            # Not quoted: an error page may repeat the header that held a key.
            what = (
                "a page for people (HTML)" if body.lstrip().startswith(b"<") else f"{len(body)} bytes of something else"
            )
            raise self._malformed(f"is no JSON but {what}") from None

    def _keep_out(self, body: bytes | bytearray) -> None:
        """Refuse an answer that repeats a key: it would be kept as the name of something."""
        if any(secret in body for secret in self._secrets):
            raise self._malformed("repeats the key that it was asked with")

    def _text(self, lines: bytes) -> str:
        try:
            return lines.replace(b"\r\n", b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise self._malformed("is no UTF-8") from None

    def _malformed(self, what: str) -> ProviderError:
        message = f"{self._provider}: the answer of {_place(self._address)} {what}. Prices stay as they were."
        return MalformedResponse(message, provider=self._provider, operation="prices")

    def _broken(self, what: str) -> ProviderError:
        message = (
            f"{self._provider}: the answer of {_place(self._address)} {what}. Nothing of it is used; try again later."
        )
        return ProviderUnavailable(message, provider=self._provider, operation="prices")


class _KeptResponse:
    """A page of the spool, read as if it had just been sent."""

    status = 200

    def __init__(self, page: Page) -> None:
        self._body = io.BytesIO(page.body)
        title = {"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"}.get(page.condition, "")
        self.headers: Mapping[str, str] = {title: page.validator} if title else {}

    def read1(self, size: int, *, decode_content: bool) -> bytes:  # noqa: ARG002 - as the other one has it
        """Some of it."""
        return self._body.read1(size)

    def close(self) -> None:
        """Nothing is open."""


def decoded(body: bytes | bytearray) -> "Json":
    """`body` as JSON, numbers with a point as `Decimal`. Raises ValueError, also for NaN and for nesting too deep."""
    try:
        return cast("Json", json.loads(body, parse_float=Decimal, parse_constant=_no_number))
    except (RecursionError, ArithmeticError) as error:  # Decimal refuses an exponent beyond any number so
        raise ValueError(f"no JSON ({type(error).__name__})") from None


_PLAIN_HEADERS = ("accept", "accept-encoding", "content-type", "user-agent")
_LEAST_SECRET = 8  # characters; less is no key, and would be met by chance


def _secrets(headers: Mapping[str, str], body: "Json") -> tuple[bytes, ...]:
    """What of a call is a key: the last word of each header that is none of the usual, and secrets of a body."""
    found = [value.split()[-1] for name, value in headers.items() if value and name.lower() not in _PLAIN_HEADERS]
    if isinstance(body, dict):
        found += [v for name, v in body.items() if isinstance(v, str) and ("secret" in name or "token" in name)]
    return tuple(word.encode() for word in found if len(word) >= _LEAST_SECRET)


def _bare(url: str) -> str:
    return url.partition("?")[0]


def _noted(url: str, headers: Mapping[str, str]) -> Asked:
    if etag := headers.get("ETag", ""):
        return Asked(url, "If-None-Match", etag)
    modified = headers.get("Last-Modified", "")
    return Asked(url, "If-Modified-Since", modified) if modified else Asked(url)


def _is_rest(headers: Mapping[str, str], part: Part) -> bool:
    """Whether a 206 is what was asked for: an intermediary may send another part, or one of another version."""
    begins = headers.get("Content-Range", "").startswith(f"bytes {part.at}-")
    same = _noted("", headers).validator in (part.validator, "")
    return begins and same and not headers.get("Content-Encoding")


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _meaning(status: int) -> tuple[type[ProviderError], str]:
    if status in (401, 403):
        return AuthError, "Check the key or the credentials of this source."
    if status == 429:
        return RateLimited, "It was asked too often; try again later."
    if status >= 500:
        return ProviderUnavailable, "Try again later."
    return RequestInvalid, "The address may have changed; look for a newer version of this program."


def _place(address: str) -> str:
    """Host and path of an address: no user, no password, no query."""
    parts = urlsplit(address)
    return f"{parts.hostname}{parts.path}"


def _kind(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return type(reason if isinstance(reason, BaseException) else error).__name__


def _proxy_of(address: str) -> str | None:
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(address)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


__all__ = ["Asked", "Connection", "HttpAnswer", "HttpWeb", "Limits", "decoded"]
