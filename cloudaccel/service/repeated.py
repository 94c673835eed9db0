"""The short way for ``/v1/offers`` asked in the same letters again: no parsing, no thread, the bytes that are kept."""

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from cloudaccel.service.offers import OfferPages, Rendered

PATH = "/v1/offers"
Headers = list[tuple[bytes, bytes]]


class _Route:
    path = PATH


def has_tag(header: str, etag: str) -> bool:
    """Whether ``If-None-Match`` names the entity tag; tags are compared weakly, as that header asks."""
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def answer_of(rendered: Rendered, sent: dict[bytes, bytes]) -> tuple[int, Headers, bytes]:
    """Status, headers and body of an answer to a request with the headers `sent`."""
    headers: Headers = [
        (b"etag", rendered.etag.encode()),
        (b"cache-control", b"no-cache"),
        (b"vary", b"Accept-Encoding"),
    ]
    if has_tag(sent.get(b"if-none-match", b"").decode("latin-1"), rendered.etag):
        return 304, headers, b""
    headers.append((b"content-type", b"application/json"))
    body = rendered.body
    if b"gzip" in sent.get(b"accept-encoding", b""):
        headers.append((b"content-encoding", b"gzip"))
        body = rendered.packed
    headers.append((b"content-length", str(len(body)).encode()))
    return 200, headers, body


class Repeated:
    """Answers what `pages` keeps; everything else goes on to `app`."""

    def __init__(self, app: ASGIApp, pages: OfferPages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        kept = None
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "GET":
            kept = self._pages.again(scope["query_string"])
        if kept is None:
            await self._app(scope, receive, send)
            return
        sent: dict[bytes, Any] = dict(scope["headers"])
        status, headers, body = answer_of(kept, sent)
        scope["route"] = _Route
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
