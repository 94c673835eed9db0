"""Small helpers that tests share: price files as catalogs, and the command line run in this process."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cloudaccel.api.quoting import Quote, quote
from cloudaccel.catalog.web import decoded
from cloudaccel.cli import main
from cloudaccel.errors import MalformedResponse
from cloudaccel.protocols import Json

T = TypeVar("T")
PATIENCE_S = 120.0  # for what has to come, on a machine however busy: a test that passes never waits so long
HEADER = "provider,region,zone,instance,accel_raw,count,mem_gb_each,vcpu,market,hourly,currency,as_of,source"


class Answer(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)


def run(*words: str) -> Answer:
    """Run one command of ``cloudaccel`` and catch what it says."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as stop:  # argparse ends --help and wrong flags so
            code = int(stop.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())


def on_a_terminal(*words: str, columns: int = 80, env: Mapping[str, str]) -> tuple[int, str]:
    """The exit code of a command of ``cloudaccel``, and what a person sees whose window is so wide."""
    import fcntl
    import pty
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "cloudaccel", *words], stdout=child, stderr=subprocess.DEVNULL,
        env={**os.environ, **env},
    ) as process:  # fmt: skip
        os.close(child)
        seen = b""
        try:
            while piece := os.read(parent, 65536):
                seen += piece
        except OSError:  # the other end is closed
            pass
        code = process.wait()
    os.close(parent)
    return code, seen.decode()


def until(found: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """What `found` gives, as soon as it is anything."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"after {seconds:g} s there is still {value!r}"
        time.sleep(0.02)
    return value


@contextmanager
def standing_still(*words: str, at: str, env: Mapping[str, str] = {}) -> Generator["subprocess.Popen[str]"]:
    """A command of ``cloudaccel`` that has stopped itself where it first was about to call the function `at`.

    What a test does to it there, it does at that moment on every machine. It goes on with SIGCONT. Not on Windows.
    """
    module, _, name = at.rpartition(".")
    program = (
        f"import os, signal, sys, {module} as module; from cloudaccel.cli import main; call = module.{name}\n"
        f"def stop(*args):\n    module.{name} = call\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    return call(*args)\n"
        f"module.{name} = stop; sys.exit(main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *words], env={**os.environ, **env}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            until(lambda: os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG))
            assert process.poll() is None, process.communicate()
            yield process
        finally:
            process.kill()


def command_of(pid: int) -> str:
    """The command line of a process (Linux); empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def holds_self_test_of_a_fake(cloud: str, data: Path) -> None:
    """The self-test passes on a fake, says and records that it was one, and the doctor says no more than that."""
    answer = run("provision", "selftest", cloud, "--yes", "--lease", "6s")
    assert answer.code == 0, (answer.out, answer.err)
    assert f"FAKE {cloud}" in answer.out
    record = json.loads((data / "selftest" / f"{cloud}.json").read_text(encoding="utf-8"))
    assert record["real"] is False
    assert {s["name"]: s["state"] for s in record["steps"]} == {
        "create": "ok", "lost_answer": "ok", "lease": "ok", "deadline": "skipped", "teardown": "ok",
    }  # fmt: skip
    assert "machines proved: fake: create, lost answer" in run("doctor").out


def walk(page: Path, file: str) -> int:
    """Do what a page of the documentation says, in this folder, and count its commands.

    Its one block of YAML is written to `file` first; the line ``exit N`` after a command says how that one ends.
    """
    text = page.read_text(encoding="utf-8")
    (written,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    Path(file).write_text(written, encoding="utf-8")
    lines = [line for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    ran = 0
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if not line.startswith("$ cloudaccel "):
            continue
        expected = int(after.removeprefix("exit ")) if after.startswith("exit ") else 0
        answer = run(*shlex.split(line)[2:])
        assert answer.code == expected, f"{line}\n{answer.err}"
        ran += 1
    return ran


class Canned:
    """A `Web` that answers every call with one body, or with what a function of address, query and headers says."""

    def __init__(self, body: bytes | Callable[[str, Mapping[str, str], Mapping[str, str]], bytes]) -> None:
        self._body = body

    @contextlib.contextmanager
    def ask(
        self, url: str, *, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None,
        body: Json = None,  # noqa: ARG002
    ) -> "Generator[CannedAnswer]":  # fmt: skip
        yield CannedAnswer(self._body if isinstance(self._body, bytes) else self._body(url, query or {}, headers or {}))


class CannedAnswer:
    """A body that is there already."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def chunks(self) -> Iterator[bytes]:
        """The body in one."""
        yield self._body

    def blocks(self) -> Iterator[bytes]:
        """The body in one."""
        yield self._body

    def picked(self, pick: Callable[[bytes], Iterable[bytes]]) -> Iterator[bytes]:
        """What is found in it."""
        yield from pick(self._body)

    def lines(self) -> Iterator[str]:
        """Its lines."""
        yield from self._body.decode().splitlines()

    def json(self) -> Json:
        """The body as the product's own client reads it."""
        try:
            return decoded(self._body)
        except ValueError:
            raise MalformedResponse("canned: no JSON. Prices stay as they were.") from None


def own_env(cache: Path) -> dict[str, str]:
    """The environment for a program that several tests share: nothing of the user, nor of the test that ran before."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDACCEL_")}
    return {**kept, "CLOUDACCEL_CACHE_DIR": str(cache), "CLOUDACCEL_CONFIG": os.devnull}


def price_file(folder: Path, *rows: str, header: str = HEADER, name: str = "prices.csv") -> Path:
    """A price file of `rows` under `header`."""
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def names(answer: Quote) -> list[str]:
    """Instance types of the offers, in order."""
    return [offer.instance for offer in answer.offers]


def hidden(answer: Quote) -> dict[str, int]:
    """Number of hidden rows by reason."""
    return {h.reason: h.rows for h in answer.hidden}


def offers_of(path: Path, expression: str | None = None, **filters: Any) -> list[str]:
    """Instance types that a query over a price file finds, in order."""
    return names(quote(expression, catalog=path, **filters))


def column(answers: Sequence[dict[str, Any]], *path: str) -> list[Any]:
    """One nested value of each JSON offer."""
    values: list[Any] = []
    for answer in answers:
        value: Any = answer
        for key in path:
            value = value[key]
        values.append(value)
    return values
