"""``cloudaccel serve`` as a process: it listens, answers many at once, sees new prices, and stops when told."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import PATIENCE_S, command_of, run, until

pytestmark = [pytest.mark.network, pytest.mark.slow]
ROW = "provider,instance,accelerator,count,price_per_hour,as_of\nmine,box,H100-SXM,8,{},2026-09-01\n"


def listening(process: subprocess.Popen[str]) -> str:
    """The address that a started service says it listens on."""
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, line + process.stderr.read()
    return found.group()


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    file = tmp_path / "prices.csv"
    file.write_text(ROW.format("4"), encoding="utf-8")
    return file


@pytest.fixture
def two(prices: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service of two processes."""
    command = [sys.executable, "-m", "cloudaccel", "--catalog", str(prices), "serve", "--port", "0", "-q"]
    process = subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.PIPE, text=True, env={**os.environ})
    yield process, listening(process)
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.stderr is not None
    process.stderr.close()


@pytest.fixture
def served(prices: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "cloudaccel", "--catalog", str(prices), "serve", "--port", "0", "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})
    yield process, listening(process)
    process.kill()
    process.wait(PATIENCE_S)
    assert process.stderr is not None
    process.stderr.close()


def _price(address: str) -> str:
    with urllib.request.urlopen(f"{address}/v1/offers?accelerator=H100:8", timeout=PATIENCE_S) as answer:  # noqa: S310
        return json.load(answer)["offers"][0]["price"]["price_per_hour"]


def test_answers_many_at_once_and_sees_new_prices(served: tuple[subprocess.Popen[str], str], prices: Path) -> None:
    _, address = served
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(_price, [address] * 64)) == {"4"}
    prices.write_text(ROW.format("5"), encoding="utf-8")
    assert _price(address) == "5"


def test_port_in_use_is_one_clear_line(served: tuple[subprocess.Popen[str], str]) -> None:
    port = served[1].rpartition(":")[2]
    command = [sys.executable, "-m", "cloudaccel", "serve", "--port", port]
    second = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert second.returncode == 2
    assert second.stderr.startswith(f"error: cannot listen on 127.0.0.1 port {port}:")


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals on Windows")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_when_told_without_a_traceback(served: tuple[subprocess.Popen[str], str], number: signal.Signals) -> None:
    process, address = served
    assert _price(address) == "4"
    process.send_signal(number)
    process.wait(PATIENCE_S)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in listed.split() if "spawn_main" in command_of(int(child))]


def _counted(address: str) -> float:
    """The requests for offers that were answered, as whichever process tells it."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=PATIENCE_S) as answer:  # noqa: S310
        lines = re.findall(r'cloudaccel_requests_total\{.*route="/v1/offers".*\} ([\d.]+)', answer.read().decode())
    return sum(map(float, lines))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_share_a_port_and_their_figures_and_one_that_dies_is_replaced(
    two: tuple[subprocess.Popen[str], str],
) -> None:
    process, address = two
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(_price, [address] * 40)) == {"4"}
    # A request is counted when its answer is out: whoever got the last one may ask the other process before it is.
    assert until(lambda: (counted := _counted(address)) >= 40 and counted) == 40
    first = _children(process.pid)
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    until(lambda: set(_children(process.pid)) - set(first))
    assert _price(address) == "4"
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    assert not any("spawn_main" in command_of(child) for child in first)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_that_is_long_in_beginning_is_let_begin(prices: Path, tmp_path: Path) -> None:
    """On a busy machine each process was ended before it could answer, and the next one too, for ever."""
    late = 'import sys, time\nif "spawn_main" in str(sys.orig_argv):\n    time.sleep(7)\n'
    (tmp_path / "sitecustomize.py").write_text(late, encoding="utf-8")
    command = [sys.executable, "-m", "cloudaccel", "--catalog", str(prices), "serve", "--port", "0", "-q"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            address = listening(process)
            begun = until(lambda: (found := _children(process.pid))[1:] and found)
            assert _price(address) == "4"
            assert _children(process.pid) == begun
        finally:
            process.terminate()


@pytest.mark.parametrize("number", ["0", "-1", "65", "many", "1.5", ""])
def test_workers_that_cannot_be_are_refused(number: str) -> None:
    command = [sys.executable, "-m", "cloudaccel", "serve", "--port", "0", f"--workers={number}"]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert "--workers" in said.stderr


def test_ctrl_c_is_heard_before_the_service_listens_for_it(monkeypatch: pytest.MonkeyPatch, prices: Path) -> None:
    """He would have pressed Ctrl-C right after "serving", and believed that the service ends: it was never heard."""
    import uvicorn

    heard: list[object] = []

    def listen(_server: object, **_: object) -> None:
        heard.append(signal.getsignal(signal.SIGINT))

    monkeypatch.setattr(uvicorn.Server, "run", listen)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert run("--catalog", str(prices), "serve", "--port", "0").code == 0
        (handler,) = heard
        assert handler is not signal.default_int_handler  # asyncio would put its own in the place of this one alone
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        for number, found in before.items():
            signal.signal(number, found)
