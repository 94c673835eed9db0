"""A PostgreSQL of the tests' own, on loopback, gone with them: started from the binaries that the system has."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt/postgresql")
_TRIES = 5  # ports
_USERS = ("postgres", "nobody")  # PostgreSQL refuses to be run by root


class Postgres:
    """One server in a folder of its own; `url` is its address for SQLAlchemy."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._user = next((u for u in _USERS if _exists(u)), None) if os.getuid() == 0 else None
        self._port = 0
        self.url = ""

    def create(self) -> None:
        """Make the files of the server."""
        if self._user:
            shutil.chown(self._folder, self._user)
        self._run("initdb", "-D", str(self._folder / "data"), "-U", "cloudaccel", "-A", "trust", "-N", "-E", "UTF8")

    def start(self) -> None:
        """Start it, and wait until it answers; where it was before, once it was anywhere."""
        if self._port:
            assert self._started(self._port), f"it did not start again; see {self._folder}"
            return
        tried: set[int] = set()
        while len(tried) < _TRIES:
            port = _free_port(tried)
            if self._started(port):
                self._port = port
                self.url = f"postgresql+psycopg://cloudaccel@127.0.0.1:{port}/postgres"
                return
            tried.add(port)  # another server took it in the meantime
        raise OSError(f"it did not start on any of the ports {sorted(tried)}; see {self._folder}")

    def _started(self, port: int) -> bool:
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        data, log = str(self._folder / "data"), str(self._folder / "log")
        return self._ends_well("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "-t", "100", "start")

    @contextmanager
    def guarded(self) -> Generator[None]:
        """Have another process end the server and remove its files when this one ends, however that is."""
        ending = 'read _; "$0" -D "$1/data" -m immediate stop; rm -rf "$1"'
        command = ["sh", "-c", ending, str(self._binaries / "pg_ctl"), str(self._folder)]
        with subprocess.Popen(
            command, user=self._user, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd="/", start_new_session=True,
        ) as guard:  # fmt: skip
            assert guard.stdin is not None
            try:
                yield
            finally:
                guard.stdin.close()  # what it reads until we are gone

    def stop(self, mode: str = "fast") -> None:
        """Stop it; ``immediate`` is as if the machine had lost its power."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", mode, "-w", "stop")

    def fresh(self, like: str = "template1") -> str:
        """The address of a new database on the server, empty, or a copy of the one called `like`."""
        import sqlalchemy as sa

        name = f"t{uuid.uuid4().hex[:12]}"
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as db:
            db.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {like}"))
        engine.dispose()
        return self.url.removesuffix("postgres") + name

    def _run(self, program: str, *words: str) -> None:
        assert self._ends_well(program, *words), f"{program} failed; see {self._folder}"

    def _ends_well(self, program: str, *words: str) -> bool:
        done = subprocess.run(
            [str(self._binaries / program), *words], user=self._user, stdin=subprocess.DEVNULL, capture_output=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=120, cwd=self._folder,
        )  # fmt: skip
        return done.returncode == 0


@contextmanager
def running() -> Generator[Postgres]:
    """A started server; the test is skipped where there is none."""
    pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")
    pytest.importorskip("psycopg", reason="needs cloudaccel[postgres]")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine (initdb is not found)")
    with tempfile.TemporaryDirectory(prefix="cloudaccel-pg", ignore_cleanup_errors=True) as name:
        server = Postgres(binaries, Path(name))
        server.create()
        with server.guarded():
            server.start()
            yield server


def _free_port(without: set[int]) -> int:
    """A port that stays free until the server takes it, and while it is restarted.

    Below those that systems give to outgoing connections, and begun elsewhere by each process that runs tests.
    """
    for step in range(1000):
        port = 20_000 + (os.getpid() * 7 + step) % 12_000
        if port in without:
            continue
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port between 20000 and 32000")


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    places = (p.parent for place in _PLACES for p in sorted(Path(place).glob("**/bin/initdb"), reverse=True))
    return next(places, None)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
