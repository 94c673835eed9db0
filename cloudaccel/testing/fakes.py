"""What the fakes of clouds share: time that may be set forward, scripted faults, how long machines lived, and a server.

A fake that speaks JSON over HTTP subclasses `RestFake`. `Server` puts it on a loopback port; `in_process` lets a
session of requests ask it without a socket, for a great many calls or where no socket may be.
"""

import argparse
import json
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlsplit

from cloudaccel.testing.cloud import Asked

if TYPE_CHECKING:
    import requests

Body = dict[str, Any]
IN_PROCESS = "http://fake.invalid"  # an address that nothing answers: what `in_process` serves


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call gets: JSON, or plain text. `lost`: it has run, and its answer never arrives."""

    status: int
    body: Body | str
    lost: bool = False


@dataclass
class Life:
    """How long one machine lived, and the tags it was made with; `ended` None: it lives."""

    born: datetime
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    ended: datetime | None = None

    def seconds(self, now: datetime) -> float:
        """For how long it has lived by `now`, seconds."""
        return ((self.ended or now) - self.born).total_seconds()


class Account:
    """One account of a fake cloud. Attributes may be set at any time; calls are served one at a time.

    `lag_s`: for how long a listing does not show what is new. `ending_s`: how long a machine takes to end.
    """

    def __init__(
        self, *, lag_s: float = 0.0, ending_s: float = 0.0, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.lag_s = lag_s
        self.ending_s = ending_s
        self.lives: dict[str, Life] = {}  # every machine that ever was, by id
        self.lock = threading.RLock()
        self._clock = now
        self._ahead = timedelta()

    def now(self) -> datetime:
        """What time it is in this cloud."""
        return self._clock() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass for this cloud alone: machines whose deadline is over end."""
        with self.lock:
            self._ahead += timedelta(seconds=seconds)
            self.settle()

    def settle(self) -> None:
        """Let happen what time has brought: slow endings, and deadlines."""

    def ended(self, identifier: str, at: datetime | None = None) -> None:
        """Note the end of a machine, now unless said otherwise; the first end counts."""
        life = self.lives.get(identifier)
        if life is not None and life.ended is None:
            life.ended = at or self.now()


class RestFake(Account, ABC):
    """An account that answers JSON over HTTP."""

    @abstractmethod
    def serve(self, asked: Asked) -> Answer:
        """Serve one call."""


class Server:
    """A fake on a loopback port, in a thread. As a context manager it is up inside the block."""

    def __init__(self, fake: RestFake, port: int = 0) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each answer waits 40 ms for the packet before it to be confirmed

            def _any(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = fake.serve(_asked(self.command, self.path, dict(self.headers.items()), data))
                if answer.lost:
                    self.close_connection = True
                    return
                text = _text(answer)
                self.send_response_only(answer.status)
                self.send_header("Date", format_datetime(fake.now(), usegmt=True))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815  # names that http.server looks for

            def log_message(self, *_: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                """Say nothing."""

        self.fake = fake
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def in_process(fake: RestFake, session: "requests.Session") -> "requests.Session":
    """`session`, whose calls to `IN_PROCESS` are answered by `fake` without a socket."""
    import io

    import requests
    from requests.adapters import BaseAdapter
    from urllib3 import HTTPResponse

    class Adapter(BaseAdapter):
        def send(self, request: Any, *_: Any, **__: Any) -> requests.Response:
            data = request.body.encode() if isinstance(request.body, str) else request.body or b""
            answer = fake.serve(_asked(request.method, request.url, request.headers, data))
            if answer.lost:
                raise requests.ReadTimeout(request=request)
            response = requests.Response()
            response.status_code, response.url, response.request = answer.status, request.url, request
            response.headers["Content-Type"] = "application/json"
            response.headers["Date"] = format_datetime(fake.now(), usegmt=True)
            response.raw = HTTPResponse(
                io.BytesIO(_text(answer)), cast(Any, response.headers), answer.status, preload_content=False
            )
            return response

        def close(self) -> None:
            """Nothing is open."""

    session.mount(IN_PROCESS, Adapter())
    session.trust_env = False  # no proxy stands between the two
    return session


def serve_forever(
    module: str, text: str | None, port: int, fake: Callable[[float], RestFake], exports: Sequence[str],
    argv: list[str] | None = None,
) -> int:  # fmt: skip
    """The command line of a fake: serve until interrupted, and say which variables to set. The exit code.

    `fake` makes one whose listings lag by so many seconds; ``{url}`` in `exports` is where it listens.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=text)
    parser.add_argument("--port", type=int, default=port, help="port on 127.0.0.1 (default %(default)s)")
    parser.add_argument("--lag", type=float, default=0.0, metavar="S", help="seconds in which listings lag behind")
    arguments = parser.parse_args(argv)
    try:
        server = Server(fake(arguments.lag), arguments.port)
    except OSError as error:
        sys.stderr.write(
            f"error: port {arguments.port} cannot be used: {error.strerror}. Choose another with --port.\n"
        )
        return 2
    with server, suppress(KeyboardInterrupt):
        lines = "".join(f"  export {line.format(url=server.url)}\n" for line in exports)
        sys.stdout.write(
            f"A fake cloud is on {server.url}; nothing in it is real or costs anything. In another terminal:\n{lines}"
        )
        sys.stdout.flush()
        threading.Event().wait()
    return 0


def _asked(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Asked:
    parts = urlsplit(target)
    return Asked(
        method=method, path=parts.path, query=dict(parse_qsl(parts.query)),
        headers={name.lower(): value for name, value in headers.items()}, body=body,
    )  # fmt: skip


def _text(answer: Answer) -> bytes:
    if isinstance(answer.body, str):
        return answer.body.encode()
    return b"" if answer.status == 204 else json.dumps(answer.body).encode()


__all__ = ["IN_PROCESS", "Account", "Answer", "Life", "RestFake", "Server", "in_process", "serve_forever"]
