"""A service that does things by itself: alerts arrive signed, its second process ends with it, faults are one line."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import PATIENCE_S, command_of, until

pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")
pytest.importorskip("fastapi", reason="needs cloudaccel[service]")
pytestmark = [pytest.mark.network, pytest.mark.slow]


class Hook:
    """A receiver of webhooks on loopback."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "CLOUDACCEL_DATA_DIR": str(tmp_path / "data")}


def cloudaccel(env: dict[str, str], *words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "cloudaccel", *words, "--json"], env=env, check=True, capture_output=True, text=True,
        timeout=PATIENCE_S,
    )  # fmt: skip
    return json.loads(done.stdout)


def children(pid: int) -> list[int]:
    """The processes that any thread of it has started."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended since
            found += map(int, path.read_text(encoding="utf-8").split())
    return found


@pytest.fixture
def served(env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "cloudaccel", "serve", "--port", "0", "-q", "--alerts", "--alert-private"]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "serving http://" in process.stderr.readline()
    yield process
    process.kill()
    process.wait(PATIENCE_S)
    process.stderr.close()


def test_a_price_alert_arrives_once_and_its_signature_holds(env: dict[str, str], hook: Hook) -> None:
    words = ["alert", "add", "H100-SXM:8", "--below", "1000 USD", "--private", "--to", hook.url]
    alert = cloudaccel(env, *words)["alert"]
    command = [sys.executable, "-m", "cloudaccel", "serve", "--port", "0", "-q", "--alerts", "--alert-private"]
    for _ in range(2):  # a second start finds the same price, which is no news
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            assert "serving" in process.stderr.readline()
            until(lambda: hook.got)
            time.sleep(2)
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
            assert "Traceback" not in process.stderr.read()
            process.stderr.close()
    assert len(hook.got) == 1
    headers, body = hook.got[0]
    said = json.loads(body)
    assert said["offer"]["price_per_accelerator_hour"]
    assert said["offer"]["source"]
    key = base64.b64decode(alert["secret"].removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 120


def test_a_hook_on_a_private_network_is_a_dead_letter_unless_allowed(env: dict[str, str], hook: Hook) -> None:
    words = ["alert", "add", "--on", "runs", "--private", "--to", hook.url]
    alert = cloudaccel(env, *words)["alert"]
    refused = subprocess.run(
        [sys.executable, "-m", "cloudaccel", "alert", "test", alert["id"]], env=env, check=False, capture_output=True,
        text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (refused.returncode, refused.stderr.count("\n")) == (8, 1)
    assert hook.got == []
    assert cloudaccel(env, "alert", "test", alert["id"], "--private")["delivered"] is True
    assert json.loads(hook.got[0][1])["kind"] == "test"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_process_of_the_jobs_ends_with_the_service(served: subprocess.Popen[str], number: signal.Signals) -> None:
    started = until(lambda: children(served.pid))
    served.send_signal(number)
    served.wait(PATIENCE_S)
    until(lambda: not any(_runs(child) for child in started))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_of_the_jobs_is_started_again_when_it_dies(served: subprocess.Popen[str]) -> None:
    (jobs,) = until(lambda: [one for one in children(served.pid) if "spawn_main" in command_of(one)])
    os.kill(jobs, signal.SIGKILL)
    until(lambda: any("spawn_main" in command_of(one) for one in children(served.pid) if one != jobs))


def _runs(pid: int) -> bool:
    try:
        return not re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--refresh", "soon"], "--refresh"),
        (["--refresh", "1s"], "--refresh"),
        (["--watch", "often"], "--watch"),
        (["--alert-private"], "--alerts"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_starts(words: list[str], said: str, env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cloudaccel", "serve", "--port", "0", *words], env=env, check=False,
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
    assert "--schedule" not in done.stderr
