"""A fake price source on this machine: routes that answer in a cloud's shape, faults on request, every call counted.

``with FakeCloud() as cloud: cloud.serve("/v1/prices", b"{}")``; then read it through a web whose mirrors send the
published address to `FakeCloud.url`. Not imitated: TLS, HTTP/2, rates by account.
"""

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

FAULTS = ("cut", "drip", "hang", "html", "reset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call that arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is sent back.

    `cut` sends half and closes, `hang` sends half and waits, `drip` sends a byte at a time, `reset` sends nothing.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] | None = None
    fault: str = ""


Route = Callable[[Asked], Reply]


class FakeCloud:
    """Serves on 127.0.0.1 while it is entered. A path without a route answers 404."""

    def __init__(self, *, hang_s: float = 30.0) -> None:
        self.asked: list[Asked] = []
        self.damage: Callable[[int, Reply], Reply] | None = None  # by number of the call since `asked` was emptied
        self._routes: dict[str, Route] = {}
        self._next: list[Reply] = []
        self._hang_s = hang_s
        self._closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> "FakeCloud":
        self._server = _server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        if not self._server:
            raise RuntimeError("enter the fake cloud first: with FakeCloud() as cloud")
        return f"http://127.0.0.1:{self._server.server_port}"

    def serve(self, path: str, answer: bytes | Route) -> None:
        """Answer `path` with a body, or with what a function of the call says; ``""`` is the address itself."""
        self._routes[path or "/"] = answer if callable(answer) else lambda _: Reply(body=answer)

    def serve_json(self, path: str, answer: object) -> None:
        """Answer `path` with `answer` as JSON."""
        self.serve(path, json.dumps(answer).encode())

    def serve_file(self, path: str, body: bytes, tag: str) -> None:
        """Answer `path` with a file of the version `tag` (in quotes), from a byte on, or not at all, where asked so."""

        def route(asked: Asked) -> Reply:
            headers = {"ETag": tag, "Accept-Ranges": "bytes"}
            if asked.headers.get("if-none-match") == tag:
                return Reply(status=304, headers=headers)
            begin = asked.headers.get("range", "").removeprefix("bytes=").removesuffix("-")
            if not begin.isdigit() or asked.headers.get("if-range", tag) != tag:
                return Reply(body=body, headers=headers)
            if int(begin) >= len(body):
                return Reply(status=416, headers=headers)
            rest = {"Content-Range": f"bytes {begin}-{len(body) - 1}/{len(body)}"}
            return Reply(body=body[int(begin) :], status=206, headers=headers | rest)

        self.serve(path, route)

    def then(self, *replies: Reply) -> None:
        """Answer the next calls with `replies`, whatever is asked; afterwards the routes answer again."""
        self._next.extend(replies)

    def reply(self, asked: Asked) -> Reply:
        """What this call gets."""
        number = len(self.asked)
        self.asked.append(asked)
        if self._next:
            return self._next.pop(0)
        route = self._routes.get(asked.path or "/")
        reply = route(asked) if route else Reply(status=404)
        return self.damage(number, reply) if self.damage else reply

    def drip(self, send: Callable[[bytes], object], body: bytes) -> None:
        """Send `body` slower than anybody waits, but no longer than the fake lives."""
        for byte in body:
            if self._closing.wait(0.05):
                return
            send(bytes((byte,)))

    def pause(self) -> None:
        """Wait as a hanging cloud does, but no longer than the fake lives."""
        self._closing.wait(self._hang_s)


def _server(cloud: FakeCloud) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(
                method=self.command, path=parts.path, query=dict(parse_qsl(parts.query)),
                headers={name.lower(): value for name, value in self.headers.items()}, body=body,
            )  # fmt: skip
            reply = cloud.reply(asked)
            if reply.fault == "reset":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            body = b"<!DOCTYPE html><title>Sign in</title>" if reply.fault == "html" else reply.body
            self.send_response(reply.status)
            for name, value in (reply.headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if reply.fault == "drip":
                cloud.drip(self.wfile.write, body)
            elif reply.fault in ("cut", "hang"):
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                if reply.fault == "hang":
                    cloud.pause()
            else:
                self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that went away is no news."""

    return Server(("127.0.0.1", 0), Handler)


__all__ = ["FAULTS", "Asked", "FakeCloud", "Reply", "Route"]
