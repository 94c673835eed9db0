"""What surrounds every answer: its id, headers, log line and figures; and what is refused before it is looked at."""

import json
import logging
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloudaccel.service.metrics import Figures

_LOG = logging.getLogger("cloudaccel.service")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
HEADERS: Mapping[bytes, bytes] = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
MOST_BODY_BYTES = 256 * 1024
_TOO_LARGE = (413, "too_large", f"a body may have {MOST_BODY_BYTES:,} bytes. Send less.")
_BUG = "an unexpected error. The log of the service has it under this request id."
_CLIENTS = 10_000  # addresses whose allowance is remembered


class Around:
    """The outermost layer. `rate` is requests a second for one address, None for any number."""

    def __init__(
        self, app: ASGIApp, figures: Figures, rate: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._figures = figures
        self._allowance = None if rate is None else Allowance(rate, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode()
        start = time.perf_counter()
        body, seen = Body(receive), {"status": 0}

        async def sent(message: Message) -> None:
            if body.too_large and not seen["status"]:
                return  # what the routes say of half a body is not the reason; that is said below
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                _add_headers(message, request_id)
            await send(message)

        async def refused(status: int, code: str, detail: str) -> None:
            body.too_large = False
            await refuse(sent, request_id.decode(), status, code, detail)

        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, body.receive, sent)
            if refusal or body.too_large:
                await refused(*(refusal or _TOO_LARGE))
        except Exception:  # the boundary of the process: the log has the details, the answer only the id
            _LOG.exception("%s", request_id.decode())
            if seen["status"]:
                raise  # half an answer is out: the connection is cut, so that nobody takes it for whole
            await refused(500, "error", _BUG)
        finally:
            self._note(scope, seen["status"] or 500, time.perf_counter() - start)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > MOST_BODY_BYTES:
            return _TOO_LARGE
        who = (scope.get("client") or ("", 0))[0]
        if self._allowance is not None and not self._allowance.take(who):
            return 429, "rate_limited", "too many requests from your address. Ask again in a second."
        return None

    def _note(self, scope: Scope, status: int, took_s: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._figures.request(scope["method"], route, status, took_s)
        if _LOG.isEnabledFor(logging.INFO):
            # The query is left out: what is asked may be nobody else's business.
            line = {
                "request_id": scope["state"]["request_id"], "method": scope["method"], "route": route, "status": status,
                "took_ms": round(took_s * 1000, 1),
            }  # fmt: skip
            if (who := scope["state"].get("principal")) is not None:
                line["who"] = who.name
            _LOG.info("%s", json.dumps(line))


def _add_headers(message: MutableMapping[str, Any], request_id: bytes) -> None:
    headers: list[tuple[bytes, bytes]] = list(message.get("headers", []))
    have = {name.lower() for name, _ in headers}
    headers += [(name, value) for name, value in HEADERS.items() if name not in have]  # the page has its own policy
    message["headers"] = [*headers, (b"x-request-id", request_id)]


class Body:
    """A request's body, cut off beyond the limit: one sent in pieces may never have said its length."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._got = 0
        self.too_large = False

    async def receive(self) -> Message:
        """The next piece."""
        message = await self._receive()
        self._got += len(message.get("body", b""))
        if self._got > MOST_BODY_BYTES:
            self.too_large = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return message


async def refuse(
    send: Send, request_id: str, status: int, code: str, detail: str, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Send one problem document; `more` are headers."""
    said = {
        "type": "about:blank", "title": code.replace("_", " "), "status": status, "code": code, "detail": detail,
        "request_id": request_id,
    }  # fmt: skip
    body = json.dumps(said).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    headers += more
    if status in (429, 503):
        headers.append((b"retry-after", b"1"))
    if status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Allowance:
    """Requests that an address may still make: `rate` more each second, up to two seconds' worth."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._most = max(1.0, 2 * rate)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str) -> bool:
        """Take one; False when none is left."""
        now = self._clock()
        left, before = self._left.pop(who, (self._most, now))
        left = min(self._most, left + (now - before) * self._rate)
        allowed = left >= 1
        self._left[who] = (left - 1 if allowed else left, now)
        while len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return allowed
